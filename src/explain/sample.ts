/**
 * How much of a process files explain, estimated from a part of its pages: what `lethe top` shows. The sample is clusters of neighbouring
 * pages at equal distances from a random start, so that a big copy counts by its size; it is searched like the whole would be. Its
 * cost is bounded by the sample and by the files, whose indexes are cached.
 */
import { SearchKernel } from '../kernels/index.ts'
import { firstCandidates, secondCandidates } from '../process/candidates.ts'
import { readMaps } from '../process/maps.ts'
import type { Run } from '../process/pagemap.ts'
import { explainable, presentRuns, ProcessMemory } from '../process/snapshot.ts'
import { explain } from './explain.ts'
import { IndexCache } from './index-cache.ts'
import type { Candidate } from './pool.ts'
import { indexStore } from './stores.ts'

const PAGE = 4096
/** Pages of a cluster, and clusters: 12 MiB in all. Neighbours help each other: a page with few anchors is found by the next. */
const CLUSTER = 16
const CLUSTERS = 192
/** Files of the second tier: so many, and so many bytes, the largest first; they are many and small, and hold little. */
const MOST_FILES = 300
const MOST_BYTES = 2 ** 29
/** Bytes of memory that are looked through for paths. */
const MOST_FOR_PATHS = 2 ** 28

export interface SampleOptions {
  /** Folder of the index cache; false for none. */
  readonly cacheFolder?: string | false
  /** Called every few milliseconds of work: the place to sleep. */
  readonly pause?: () => void
}

export interface Estimate {
  /** Of the private anonymous pages that are there: the share that files explain, 0 to 1. */
  readonly explained: number
  /** Pages that were looked at, and all of them. */
  readonly sampled: number
  readonly pages: number
}

/** Clusters of the runs, evenly from `phase` (0 to 1) on; all of the runs when they are few. */
export function clustersOf(runs: readonly Run[], phase: number): Run[] {
  const pages = runs.reduce((sum, run) => sum + run.pages, 0)
  if (pages <= CLUSTER * CLUSTERS) return [...runs]
  const step = pages / CLUSTERS
  const chosen: Run[] = []
  let before = 0
  let next = Math.floor(phase * step)
  let k = 0
  // A cluster that reaches over the end of a run goes on in the next.
  let wanted = CLUSTER
  for (const run of runs) {
    while (next < before + run.pages) {
      const from = next - before
      const taken = Math.min(wanted, run.pages - from)
      chosen.push({ start: run.start + from * PAGE, pages: taken })
      wanted -= taken
      if (wanted > 0) {
        next = before + run.pages
        break
      }
      wanted = CLUSTER
      k++
      next = Math.max(next + taken, Math.floor((phase + k) * step))
    }
    before += run.pages
  }
  return chosen
}

// Files that could matter to so many bytes of memory.
function likeliest(candidates: readonly Candidate[], bytes: number): Candidate[] {
  let left = MOST_BYTES
  return candidates
    .filter(({ identity }) => identity.size <= 4 * bytes)
    .toSorted((a, b) => b.identity.size - a.identity.size)
    .slice(0, MOST_FILES)
    .filter(({ identity }) => {
      left -= identity.size
      return left >= 0
    })
}

function headOf(runs: readonly Run[]): Run[] {
  let left = MOST_FOR_PATHS / PAGE
  return runs.flatMap(({ start, pages }) => {
    const taken = Math.min(pages, left)
    left -= taken
    return taken > 0 ? [{ start, pages: taken }] : []
  })
}

/** Throws what reading a process that is gone, or not ours to read, throws. */
export function sampleProcess(pid: number, options: SampleOptions = {}): Estimate {
  const { cacheFolder, pause } = options
  const all = presentRuns(pid, explainable(readMaps(pid)))
  const pages = all.reduce((sum, run) => sum + run.pages, 0)
  if (pages === 0) return { explained: 0, sampled: 0, pages }
  const runs = clustersOf(all, Math.random())
  using memory = new ProcessMemory(pid, runs)
  // Paths of files stand anywhere in memory, not just in the sample.
  const second = (_: readonly Run[], kernel: SearchKernel): readonly Candidate[] =>
    likeliest(secondCandidates(pid, memory, headOf(all), kernel, pause), pages * PAGE)
  const sampled = runs.reduce((sum, run) => sum + run.pages, 0)
  const { counts } = explain(memory, [() => firstCandidates(pid), second], {
    store: indexStore(cacheFolder),
    standsFor: pages / sampled,
    ...(cacheFolder === false ? {} : { cache: new IndexCache(cacheFolder) }),
    ...(pause ? { pause } : {}),
  })
  const read = counts.pages - counts.absent
  return { explained: read === 0 ? 0 : counts.explained / read, sampled: counts.pages, pages }
}
