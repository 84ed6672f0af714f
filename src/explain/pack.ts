/**
 * Packs what no file explains and what stays cold: looks at the pages twice, some seconds apart, compresses those that have not
 * changed, says where in the pack they are. Like every explanation this is a guess, for the target runs: a page that is
 * written meanwhile will not compare equal and stays as it is.
 *
 * Whether a page is *read* can't be seen while it is there (this needs idle page tracking, which few kernels have): that is
 * learned by dropping it. What comes back soon stays longer each time, see pager/reclaim.ts.
 */
import { statSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { identityOf } from '../backing/file.ts'
import { CELL, PackWriter } from '../lens/packed.ts'
import { readMaps } from '../process/maps.ts'
import type { Run } from '../process/pagemap.ts'
import {
  explainable,
  type MemorySource,
  presentRuns,
  ProcessMemory,
  type Range,
  subtract,
} from '../process/snapshot.ts'
import type { Extent } from './extents.ts'
import type { Candidate } from './pool.ts'
import { throttle } from './throttle.ts'

const PAGE = 4096
/** Seconds in which a page must not change. */
const COLD = 5

export interface PackOptions {
  /** Where the pack is to be. */
  readonly path: string
  /** Bytes that it may have. */
  readonly most: number
  readonly skip?: readonly Range[]
  /** Of one CPU, 0 to 1. */
  readonly cpuShare?: number
}

export interface Packed {
  /** The pack, if anything is in it. */
  readonly candidate?: Candidate
  readonly extents: readonly Extent[]
  readonly pages: number
}

export function packProcess(pid: number, options: PackOptions): Packed {
  const ranges = subtract(explainable(readMaps(pid, { flags: true })), options.skip ?? [])
  const runs = presentRuns(pid, ranges, { present: 0, swapped: 0, file: 0, protected: 0 })
  using memory = new ProcessMemory(pid, runs)
  const pause = throttle(options.cpuShare)
  const writer = new PackWriter(options.path)
  const extents: Extent[] = []
  const buffer = new Uint8Array(CELL)
  const sums = checksums(memory, runs, pause)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, COLD * 1000)
  let pages = 0
  let first = 0
  /** Adds pages [from, to) of the buffer, which lie at \`start\`. */
  const add = (start: number, from: number, to: number): void => {
    const offset = to > from ? writer.add(buffer.subarray(from * PAGE, to * PAGE)) : undefined
    if (offset !== undefined)
      extents.push({ start: start + from * PAGE, pages: to - from, backing: 0, offset })
  }
  try {
    for (const run of runs) {
      for (let at = 0; at < run.pages && writer.bytes < options.most; at += CELL / PAGE) {
        const start = run.start + at * PAGE
        const wanted = Math.min(CELL, (run.pages - at) * PAGE)
        const got = Math.floor(memory.read(start, buffer.subarray(0, wanted)) / PAGE)
        pages += got
        let from = 0
        for (let page = 0; page <= got; page++) {
          const cold = page < got && sumOf(buffer, page) === sums[first + at + page]
          if (cold) continue
          add(start, from, page)
          from = page + 1
        }
        pause()
      }
      first += run.pages
    }
    if (extents.length === 0) {
      writer.abandon()
      return { extents, pages }
    }
    writer.commit()
  } catch (error) {
    writer.abandon()
    throw error
  }
  const identity = identityOf(statSync(options.path, { bigint: true }))
  const candidate = {
    path: options.path,
    openPath: options.path,
    identity,
    how: 'compressed',
    lens: 'packed',
  }
  return { candidate, extents, pages }
}

const sumOf = (pages: Uint8Array, page: number): number =>
  crc32(pages.subarray(page * PAGE, (page + 1) * PAGE))

/** A checksum of each page, in order; that of a page which can't be read says nothing. */
function checksums(memory: MemorySource, runs: readonly Run[], pause: () => void): Uint32Array {
  const sums = new Uint32Array(runs.reduce((sum, run) => sum + run.pages, 0))
  const buffer = new Uint8Array(64 * PAGE)
  let first = 0
  for (const run of runs) {
    for (let at = 0; at < run.pages; ) {
      const wanted = Math.min(buffer.length, (run.pages - at) * PAGE)
      const got = Math.floor(memory.read(run.start + at * PAGE, buffer.subarray(0, wanted)) / PAGE)
      for (let page = 0; page < got; page++) sums[first + at + page] = sumOf(buffer, page)
      at += Math.max(1, got)
      pause()
    }
    first += run.pages
  }
  return sums
}
