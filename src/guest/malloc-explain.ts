// How much of a guest's blocks is in the files that it has read: src/explain on the guest's memory.
import { fstatSync, readlinkSync } from 'node:fs'
import { identityOf } from '../backing/file.ts'
import { explain } from '../explain/explain.ts'
import type { Candidate } from '../explain/pool.ts'
import type { Run } from '../process/pagemap.ts'
import type { Observer } from './instance.ts'
import type { ExplainBlocks } from './malloc-sites.ts'
import type { Provenance } from './memory.ts'

const page = 4096

/** The files that a guest reads. */
export class GuestFiles {
  readonly observer: Observer
  readonly #files = new Map<string, Candidate>()
  #known = new WeakSet<object>()

  constructor() {
    this.observer = { brings: (_at, _length, provenance) => this.#note(provenance) }
  }

  #note({ fd, opened }: Provenance): void {
    if (this.#known.has(opened)) return
    this.#known.add(opened)
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      const identity = identityOf(fstatSync(fd, { bigint: true }))
      this.#files.set(path, { path, openPath: path, identity, how: 'read' })
    } catch {
      // One that can't be looked at explains nothing.
    }
  }

  /** Page by page, as memory would be given back: a block has what lies on its pages that a file, or a view of it, explains. */
  readonly explain: ExplainBlocks = (memory, blocks) => {
    const pages = new Uint8Array(Math.ceil(memory.length / page))
    for (const [at, bytes] of blocks) pages.fill(1, Math.floor(at / page), Math.ceil((at + bytes) / page))
    const runs = runsOf(pages, 1)
    const read = (address: number, into: Uint8Array): number => {
      const some = memory.subarray(address, address + into.length)
      into.set(some)
      return some.length
    }
    const { extents } = explain({ runs, read }, [() => [...this.#files.values()]])
    for (const { start, pages: length } of extents) pages.fill(2, start / page, start / page + length)
    return blocks.map(([at, bytes]) => {
      let sum = 0
      for (let from = at; from < at + bytes; ) {
        const to = Math.min(at + bytes, (Math.floor(from / page) + 1) * page)
        if (pages[Math.floor(from / page)] === 2) sum += to - from
        from = to
      }
      return sum
    })
  }
}

function runsOf(pages: Uint8Array, wanted: number): Run[] {
  const runs: Run[] = []
  for (let from = pages.indexOf(wanted); from >= 0; ) {
    let to = from
    while (pages[to] === wanted) to++
    runs.push({ start: from * page, pages: to - from })
    from = pages.indexOf(wanted, to)
  }
  return runs
}
