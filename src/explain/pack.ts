/**
 * Packs what no file explains: reads the pages, compresses them, says where in the pack they are. Like every explanation
 * this is a guess, for the target runs: a page that is written meanwhile will not compare equal and stays as it is.
 */
import { statSync } from 'node:fs'
import { identityOf } from '../backing/file.ts'
import { CELL, PackWriter } from '../lens/packed.ts'
import { readMaps } from '../process/maps.ts'
import { explainable, presentRuns, ProcessMemory, type Range, subtract } from '../process/snapshot.ts'
import type { Extent } from './extents.ts'
import type { Candidate } from './pool.ts'
import { throttle } from './throttle.ts'

const PAGE = 4096

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
  let pages = 0
  try {
    for (const run of runs) {
      for (let at = 0; at < run.pages && writer.bytes < options.most; at += CELL / PAGE) {
        const start = run.start + at * PAGE
        const wanted = Math.min(CELL, (run.pages - at) * PAGE)
        const got = Math.floor(memory.read(start, buffer.subarray(0, wanted)) / PAGE)
        pages += got
        const offset = got === 0 ? undefined : writer.add(buffer.subarray(0, got * PAGE))
        if (offset !== undefined) extents.push({ start, pages: got, backing: 0, offset })
        pause()
      }
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
