/**
 * What could be done about the pages that no file explains as a whole: put together from pieces of files (recipes), or packed.
 *
 * Told from a sample: groups of neighbouring pages from all over what is left are given to the very search that `attach`
 * makes, and what that leaves is packed as `attach --pack` would. So these are estimates, of what would be tried where
 * as much is left that attach would look for pieces at all.
 */
import { mkdtempSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ProcessExplanations, recipesOfProcess } from '../explain/process.ts'
import type { RecipesOfProcessOptions } from '../explain/process.ts'
import { UNEXPLAINED } from '../explain/extents.ts'
import { CELL, PackWriter } from '../lens/packed.ts'
import type { Run } from '../process/pagemap.ts'
import { ProcessMemory, subtract } from '../process/snapshot.ts'
import { removeFolder } from '../sys/folder.ts'

const PAGE = 4096
/** Less is not worth the time of an audit. */
const WORTH_BYTES = 2 * 2 ** 20
const WORTH_SHARE = 1 / 20
/** The sample: pages, and neighbours in a group. */
const SAMPLE = 4096
const GROUP = 64

/** Pages that could be made in a way, and the bytes that would be kept for that. */
export interface Way {
  readonly pages: number
  readonly kept: number
}

export interface Rest {
  /** Unexplained pages that were looked at. */
  readonly sampled: number
  /** Of all unexplained pages, by what the sample says. */
  readonly pieces: Way
  /** What is left then, with `--pack`. */
  readonly packed: Way
  /** Files that the pieces are of. */
  readonly files: readonly string[]
}

/** undefined: too little is left. */
export function restOf(
  pid: number,
  { findings, counts }: ProcessExplanations,
  options: Omit<RecipesOfProcessOptions, 'path' | 'most' | 'skip' | 'ranges'>,
): Rest | undefined {
  const left = findings.runsOf(UNEXPLAINED)
  const pages = left.reduce((sum, run) => sum + run.pages, 0)
  if (pages * PAGE < Math.max(WORTH_BYTES, WORTH_SHARE * counts.explained * PAGE)) return undefined
  const groups = sample(left, pages)
  const sampled = groups.reduce((sum, run) => sum + run.pages, 0)
  const folder = mkdtempSync(join(tmpdir(), 'lethe-audit-'))
  try {
    const ranges = groups.map(rangeOf)
    const path = join(folder, 'recipe')
    const found = recipesOfProcess(pid, { ...options, ranges, path, most: sampled * PAGE })
    const made = found.extents.reduce((sum, extent) => sum + extent.pages, 0)
    const kept = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    const packed = pack(pid, subtract(ranges, found.extents.map(rangeOf)), join(folder, 'pack'))
    const all = (n: number): number => Math.round((n * pages) / sampled)
    return {
      sampled,
      pieces: { pages: all(made), kept: all(kept) },
      packed: { pages: all(packed.pages), kept: all(packed.kept) },
      files: [...new Set(found.candidates.filter(one => one.lens !== 'recipe').map(one => one.path))],
    }
  } finally {
    removeFolder(folder)
  }
}

const rangeOf = ({ start, pages }: Run): [number, number] => [start, start + pages * PAGE]

/** Groups of pages at equal distances. */
function sample(runs: readonly Run[], pages: number): Run[] {
  const step = Math.max(GROUP, (pages / SAMPLE) * GROUP)
  const groups: Run[] = []
  let next = 0
  let before = 0
  for (const run of runs) {
    for (; next < before + run.pages; next += step) {
      const first = Math.max(0, Math.floor(next) - before)
      groups.push({ start: run.start + first * PAGE, pages: Math.min(GROUP, run.pages - first) })
    }
    before += run.pages
  }
  return groups
}

function pack(pid: number, ranges: readonly (readonly [number, number])[], path: string): Way {
  using memory = new ProcessMemory(pid, [])
  const writer = new PackWriter(path)
  const cell = new Uint8Array(CELL)
  let pages = 0
  for (const [start, end] of ranges)
    for (let at = start; at < end; at += CELL) {
      const got = memory.read(at, cell.subarray(0, Math.min(CELL, end - at)))
      const whole = cell.subarray(0, got - (got % PAGE))
      if (whole.length > 0 && writer.add(whole) !== undefined) pages += whole.length / PAGE
    }
  writer.abandon()
  return { pages, kept: writer.bytes }
}
