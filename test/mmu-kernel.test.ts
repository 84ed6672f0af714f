/** The pager's contract on the kernel's MMU: our own memory, served through userfaultfd while another thread touches it. */
import { mkdtempSync, openSync, readSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { test } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { through } from '../src/lens/through.ts'
import { state } from '../src/pager/decide.ts'
import { Journal } from '../src/pager/journal.ts'
import { Prices } from '../src/pager/prices.ts'
import { maxCluster, type OpenBacking, Space } from '../src/pager/space.ts'
import { arena } from '../src/sys/ffi.ts'
import { advise, page, scanPages } from '../src/sys/memory.ts'
import * as uffd from '../src/sys/uffd.ts'
import { mmuContract, type PagedMemory } from './mmu-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const pageSize = 4096
const MADV_DONTNEED = 4
const MADV_NOHUGEPAGE = 15
const O_CLOEXEC_NONBLOCK = 0o2000000 | 0o4000

function descriptor(): number {
  const fd = uffd.create(O_CLOEXEC_NONBLOCK)
  return fd < 0 || uffd.api(fd, uffd.feature.pagefaultFlagWp) < 0 ? -1 : fd
}

class KernelMemory implements PagedMemory {
  readonly pageSize = pageSize
  readonly #folder = mkdtempSync(join(tmpdir(), 'lethe-mmu-'))
  readonly #length = 128 * pageSize
  readonly #memory = arena(this.#length).address
  readonly #pagemap = openSync('/proc/self/pagemap', 'r')
  readonly #backings = new Map<number, OpenBacking>()
  readonly #journal = Journal.create(join(this.#folder, 'journal'), process.pid, 0)
  readonly #worker = new Worker(new URL('./targets/toucher.ts', import.meta.url), {
    workerData: { address: this.#memory, length: this.#length },
  })
  readonly #message = arena(uffd.messageSize)
  readonly #fd: number
  readonly #space: Space
  #next = 0
  #failure: Error | undefined

  constructor(fd: number) {
    this.#worker.on('error', (error: Error) => {
      this.#failure = error
    })
    this.#fd = fd
    advise(this.#memory, this.#length, MADV_NOHUGEPAGE)
    this.#space = new Space(
      fd,
      this.#journal,
      false,
      this.#pagemap,
      this.#backings,
      arena(maxCluster * pageSize),
      0,
      new Prices(),
      message => {
        throw new Error(message)
      },
    )
    if (this.#space.register(this.#memory, this.#memory + this.#length) < 0)
      throw new Error('the memory can not be registered')
  }

  #take(pages: number): number {
    const at = this.#memory + this.#next
    // A page that nobody maps lies between two areas.
    this.#next += (pages + 1) * pageSize
    return at
  }

  zeros(pages: number): number {
    return this.#take(pages)
  }

  explained(file: Uint8Array): number {
    const pages = (file.length * 2) / pageSize
    const at = this.#take(pages)
    const id = this.#backings.size + 1
    const path = join(this.#folder, String(id))
    writeFileSync(path, file)
    const view = through(new FileBacking(path), lensNamed('latin1-utf16'))
    this.#backings.set(id, { fd: -1, path, view })
    // A fault before them may have brought zeros for these pages too.
    advise(at, pages * pageSize, MADV_DONTNEED)
    this.#journal.explain(at, pages, id, 0)
    for (let i = 0; i < pages; i++) this.#journal.set(at + i * pageSize, state.virtual)
    return at
  }

  async #touch(wish: { at: number; length: number; data?: Uint8Array }): Promise<Uint8Array> {
    let answer: Uint8Array | undefined
    this.#worker.once('message', (bytes: Uint8Array) => {
      answer = bytes
    })
    this.#worker.postMessage({ ...wish, at: wish.at - this.#memory })
    while (answer === undefined) {
      if (this.#failure !== undefined) throw this.#failure
      this.#serve()
      await new Promise<void>(resolve => setImmediate(resolve))
    }
    return answer
  }

  #serve(): void {
    const { bytes, u32 } = this.#message
    try {
      while (readSync(this.#fd, bytes, 0, uffd.messageSize, null) === uffd.messageSize) {
        if (bytes[0] !== uffd.event.pagefault) throw new Error(`message ${bytes[0]}`)
        const address = (u32[4] as number) + (u32[5] as number) * 2 ** 32
        this.#space.fault(address, u32[2] as number)
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }

  read(at: number, length: number): Promise<Uint8Array> {
    return this.#touch({ at, length })
  }

  async write(at: number, data: Uint8Array): Promise<void> {
    await this.#touch({ at, length: 0, data })
  }

  // As drop.ts does it for another process: first the state, then the memory.
  drop(at: number): void {
    if (!this.#journal.exchange(at, state.clean, state.dropping)) return
    advise(at, pageSize, MADV_DONTNEED)
    this.#journal.set(at, state.virtual)
  }

  remove(at: number, pages: number): void {
    advise(at, pages * pageSize, MADV_DONTNEED)
    this.#space.removed(at, at + pages * pageSize)
  }

  state(at: number): keyof typeof state {
    const now = this.#journal.stateOf(at)
    return (Object.keys(state) as (keyof typeof state)[]).find(name => state[name] === now) ?? 'none'
  }

  resident(at: number): boolean {
    let there = false
    scanPages(this.#pagemap, at, at + pageSize, 0, 0, page.present | page.swapped, () => {
      there = true
    })
    return there
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
    removeFolder(this.#folder)
  }
}

const fd = process.platform === 'linux' ? descriptor() : -1
if (fd < 0) test.skip('the contract on the kernel’s MMU: this process may not use userfaultfd', () => {})
else mmuContract('the kernel’s MMU', () => Promise.resolve(new KernelMemory(fd)))
