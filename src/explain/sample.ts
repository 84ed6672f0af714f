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
import { indexStore } from './stores.ts'

const PAGE = 4096
/** Pages of a cluster, and clusters: 12 MiB in all. Neighbours help each other: a page with few anchors is found by the next. */
const CLUSTER = 16
const CLUSTERS = 192

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

/** Throws what reading a process that is gone, or not ours to read, throws. */
export function sampleProcess(pid: number, options: SampleOptions = {}): Estimate {
  const { cacheFolder, pause } = options
  const all = presentRuns(pid, explainable(readMaps(pid)))
  const pages = all.reduce((sum, run) => sum + run.pages, 0)
  if (pages === 0) return { explained: 0, sampled: 0, pages }
  const runs = clustersOf(all, Math.random())
  using memory = new ProcessMemory(pid, runs)
  // Paths of files stand anywhere in memory: they are looked for in all of it.
  const second = (_: readonly Run[], kernel: SearchKernel): ReturnType<typeof secondCandidates> =>
    secondCandidates(pid, memory, all, kernel, pause)
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
