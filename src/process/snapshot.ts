/**
 * Reads a process's memory through /proc/PID/mem, whatever its state. Pages that are gone, never were, or belong to
 * a userfaultfd give EIO there: such a page ends a read early, and never fails it. The target is not stopped; what is
 * read is what each page held at some moment.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { isPrivateAnonymous, type Mapping } from './maps.ts'
import { type PageCounts, Pagemap, type Run } from './pagemap.ts'

/** Memory to be searched: where pages are, and what they hold. */
export interface MemorySource {
  /** Ascending, not overlapping. */
  readonly runs: readonly Run[]
  /** Bytes read into `into` from `address` on: fewer where a page could not be read, 0 if that is the first. */
  read(address: number, into: Uint8Array): number
}

export class ProcessMemory implements MemorySource {
  readonly runs: readonly Run[]
  readonly #descriptor: number

  constructor(pid: number, runs: readonly Run[]) {
    this.runs = runs
    this.#descriptor = openSync(`/proc/${pid}/mem`, 'r')
  }

  read(address: number, into: Uint8Array): number {
    let done = 0
    while (done < into.length) {
      let n: number
      try {
        n = readSync(this.#descriptor, into, done, into.length - done, address + done)
      } catch {
        break
      }
      if (n <= 0) break
      done += n
    }
    return done
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

export type Range = readonly [start: number, end: number]

/** `ranges` without what `skip` covers; both sorted or not, the result ascending. */
export function subtract(ranges: readonly Range[], skip: readonly Range[]): Range[] {
  const holes = skip.filter(([from, to]) => to > from).toSorted((a, b) => a[0] - b[0])
  const left: Range[] = []
  for (const [start, end] of ranges.toSorted((a, b) => a[0] - b[0])) {
    let at = start
    for (const [from, to] of holes) {
      if (to <= at) continue
      if (from >= end) break
      if (from > at) left.push([at, from])
      at = Math.max(at, to)
    }
    if (at < end) left.push([at, end])
  }
  return left
}

/** The mappings that can be explained, as ranges. */
export function explainable(mappings: readonly Mapping[]): Range[] {
  return mappings.filter(isPrivateAnonymous).map(({ start, end }): Range => [start, end])
}

/** The runs of present private pages in the ranges. */
export function presentRuns(pid: number, ranges: readonly Range[], counts?: PageCounts): Run[] {
  using pagemap = new Pagemap(pid)
  return ranges.flatMap(([start, end]) => pagemap.present(start, end, counts))
}
