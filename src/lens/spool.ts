/**
 * Views that have no random access (a zstd, xz, bzip2 or lz4 file of one large frame), decoded once and kept in files.
 *
 *   maker = spool.make(key) → append(bytes)… → commit() → SpooledView → read(offset, into)… → close()
 *   spool.find(key) → SpooledView, if it is still there
 *
 * <folder>/v1/<hash of key>.view: a checked file (src/lens/checked-file.ts), private to the user. It is shared by all
 * processes of the user that need the view. Beside it lies an empty <hash of key>.<process id>.use for each process that has it
 * open. When there is no room, the longest unused go first, never one that a living process has open; where that
 * does not help, making one is refused (LensError 'unsupported'). A view damaged on disk is a LensError 'io' when it is read.
 */
import { mkdirSync, readdirSync, renameSync, statfsSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  CheckedFile,
  type CheckedKind,
  type CheckedName,
  CheckedWriter,
  discard,
  uniquePart,
} from './checked-file.ts'
import { LensError } from './errors.ts'
import { type IndexKey, type IndexMaker, keyHash, type StoredIndex } from './index-store.ts'

const VERSION = 1
const KIND: CheckedKind = { magic: 'LETHEVIW', version: VERSION, block: 16_384 }
/** Bytes made between two looks at the room that is left. */
const LOOK = 2 ** 24

export interface SpoolOptions {
  /** Bytes of all views together, at most. */
  readonly limit?: number
  /** Bytes that stay free on the disk. */
  readonly keepFree?: number
}

interface Entry {
  readonly name: string
  readonly size: number
  readonly time: number
}

function isAlive(process_: number): boolean {
  try {
    process.kill(process_, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`

export class Spool {
  readonly #folder: string
  readonly #limit: number
  readonly #keepFree: number
  /** How often this process has each view open. */
  readonly #open = new Map<string, number>()

  constructor(folder: string, { limit = 8 * 2 ** 30, keepFree = 2 ** 29 }: SpoolOptions = {}) {
    this.#folder = join(folder, `v${VERSION}`)
    this.#limit = limit
    this.#keepFree = keepFree
  }

  find(key: IndexKey): StoredIndex | undefined {
    const name = this.#name(key)
    this.#use(name)
    const view = CheckedFile.open(this.#path(name), this.#named(key))
    if (!view) {
      this.#unuse(name)
      discard(this.#path(name))
      return undefined
    }
    const now = new Date()
    utimesSync(this.#path(name), now, now)
    return this.#counted(name, view)
  }

  forget(key: IndexKey): void {
    discard(this.#path(this.#name(key)))
  }

  /** `expected`: bytes that it will have, where that is known: it is refused before anything is made where they don't fit. */
  make(key: IndexKey, expected = 0): IndexMaker {
    const name = this.#name(key)
    const part = join(this.#folder, `${name}-${uniquePart()}.${process.pid}.part`)
    let writer: CheckedWriter
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      if (expected > 0) this.#makeRoom(key, 0, expected + LOOK)
      writer = new CheckedWriter(part, this.#named(key))
    } catch (error) {
      throw this.#failed(key, error)
    }
    let looked = 0
    return {
      get size() {
        return writer.size
      },
      append: bytes => {
        try {
          if (looked === 0 || writer.size + bytes.length > looked) {
            looked = writer.size + bytes.length + LOOK
            this.#makeRoom(key, writer.size, bytes.length + LOOK)
          }
          writer.append(bytes)
        } catch (error) {
          throw this.#failed(key, error)
        }
      },
      commit: () => {
        try {
          const view = writer.finish()
          this.#use(name)
          renameSync(part, this.#path(name))
          return this.#counted(name, view)
        } catch (error) {
          this.#unuse(name)
          writer.abandon()
          throw this.#failed(key, error)
        }
      },
      abandon: () => writer.abandon(),
    }
  }

  #name(key: IndexKey): string {
    return keyHash(key).toString('hex', 0, 16)
  }

  #path(name: string): string {
    return join(this.#folder, `${name}.view`)
  }

  #named(key: IndexKey): CheckedName {
    return { kind: KIND, name: keyHash(key), about: key.lens }
  }

  #mark(name: string): string {
    return join(this.#folder, `${name}.${process.pid}.use`)
  }

  #use(name: string): void {
    const count = this.#open.get(name) ?? 0
    this.#open.set(name, count + 1)
    try {
      if (count === 0) writeFileSync(this.#mark(name), '', { mode: 0o600 })
    } catch {
      // Then it may be evicted under us; an open file stays readable.
    }
  }

  #unuse(name: string): void {
    const count = (this.#open.get(name) ?? 1) - 1
    if (count > 0) {
      this.#open.set(name, count)
      return
    }
    this.#open.delete(name)
    discard(this.#mark(name))
  }

  #counted(name: string, view: CheckedFile): StoredIndex {
    let open = true
    return {
      size: view.size,
      read: (offset, into) => view.read(offset, into),
      close: () => {
        if (open) this.#unuse(name)
        open = false
        view.close()
      },
    }
  }

  /** Everything in the folder that takes room, and who uses what; marks and parts of the dead are removed on the way. */
  #look(): { readonly views: Entry[]; readonly used: Set<string> } {
    const views: Entry[] = []
    const used = new Set<string>()
    for (const file of readdirSync(this.#folder)) {
      const [name = '', process_ = '', kind] = file.split('.')
      if (kind !== undefined) {
        const alive = isAlive(Number(process_))
        if (!alive) discard(join(this.#folder, file))
        else if (kind === 'use') used.add(name)
        if (!alive || kind === 'use') continue
      }
      const stats = statSync(join(this.#folder, file), { throwIfNoEntry: false })
      if (!stats) continue
      views.push({ name: kind === undefined ? name : '', size: stats.size, time: stats.mtimeMs })
    }
    return { views, used }
  }

  /** Evicts until `more` bytes can be added to a view of which `there` bytes are there. */
  #makeRoom(key: IndexKey, there: number, more: number): void {
    const { views, used } = this.#look()
    let total = views.reduce((sum, { size }) => sum + size, 0)
    const { bavail, bsize } = statfsSync(this.#folder)
    let free = bavail * bsize
    const evictable = views
      .filter(({ name }) => name !== '' && !used.has(name))
      .toSorted((a, b) => b.time - a.time)
    while (total + more - LOOK > this.#limit || free - more < this.#keepFree) {
      const oldest = evictable.pop()
      if (!oldest)
        throw new LensError(
          'unsupported',
          key.lens,
          free - more < this.#keepFree
            ? `no room for the decompressed view: ${gibibytes(free)} free in ${this.#folder}, and ${gibibytes(this.#keepFree)} are to stay so; free some, or put the spool elsewhere`
            : `the decompressed view does not fit: ${gibibytes(there)} of it are made, and the spool may hold ${gibibytes(this.#limit)}; raise its limit, or compress the file in blocks (xz --block-size=64KiB, zstd in frames, bgzip)`,
        )
      discard(this.#path(oldest.name))
      total -= oldest.size
      free += oldest.size
    }
  }

  #failed(key: IndexKey, error: unknown): LensError {
    return error instanceof LensError
      ? error
      : new LensError('io', key.lens, `cannot write its spool file in ${this.#folder}`, undefined, error)
  }
}
