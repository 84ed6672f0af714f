/** Written pages of a region that had to leave memory: an unlinked file of ours, where a page lies at its place in the region. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pageBytes } from '../pager/journal.ts'
import { EINTR, errnoName } from '../sys/errno.ts'
import { readFully, writeAt } from '../sys/fd.ts'
import type { Arena } from '../sys/ffi.ts'
import { MemoryError } from './errors.ts'

const folder = (): string => process.env.LETHE_SPILL ?? tmpdir()

/** A new file without a name, open for both. */
export function unlinkedFile(): number {
  const made = mkdtempSync(join(folder(), 'lethe-spill-'))
  try {
    return openSync(join(made, 'pages'), 'wx+', 0o600)
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
}

export class Spill {
  readonly #descriptor: number

  constructor() {
    try {
      this.#descriptor = unlinkedFile()
    } catch (error) {
      throw this.#failed((error as NodeJS.ErrnoException).code ?? 'error', error)
    }
  }

  /** Writes `length` bytes at an address, the pages from `page` on. */
  write(page: number, address: number, length: number): void {
    for (let done = 0; done < length; ) {
      const n = writeAt(this.#descriptor, address + done, length - done, page * pageBytes + done)
      if (n === -EINTR) continue
      if (n <= 0) throw this.#failed(n === 0 ? 'nothing was written' : errnoName(n))
      done += n
    }
  }

  /** Reads pages that were written. Fails loudly: these bytes can't be had again. */
  read(page: number, pages: number, into: Arena): void {
    const length = pages * pageBytes
    const got = readFully(this.#descriptor, into.address, length, page * pageBytes)
    if (got !== length) throw this.#failed(got < 0 ? errnoName(got) : `${got} of ${length} bytes`)
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #failed(what: string, cause?: unknown): MemoryError {
    return new MemoryError(
      'spill',
      `Written pages can't be kept in ${folder()} (${what}); they stay in memory. Make room there, or set LETHE_SPILL`,
      cause,
    )
  }
}
