/** The search put to work on a process: which memory, which candidates, in which order. */
import { firstCandidates, secondCandidates, type SeenFile } from '../process/candidates.ts'
import { SearchKernel } from '../kernels/index.ts'
import { readMaps } from '../process/maps.ts'
import type { PageCounts } from '../process/pagemap.ts'
import { explainable, presentRuns, ProcessMemory, type Range, subtract } from '../process/snapshot.ts'
import { explain, type Explanations, type Tier } from './explain.ts'
import { defaultCacheFolder, IndexCache } from './index-cache.ts'
import { Spool } from '../lens/spool.ts'
import { FolderIndexStore, type IndexStore, MemoryIndexStore } from '../lens/index-store.ts'
import { join } from 'node:path'
import { findRecipes, type RecipeOptions, type Recipes } from './recipe.ts'
import { throttle } from './throttle.ts'

export interface ExplainProcessOptions {
  /** Address ranges to look at; all private anonymous writable mappings if not given. */
  readonly ranges?: readonly Range[]
  readonly skip?: readonly Range[]
  readonly backings?: readonly string[]
  readonly seen?: readonly SeenFile[]
  /** Folder of the index cache; false for none. */
  readonly cacheFolder?: string | false
  /** 'quick' stops after the first tier of candidates. Default 'second'. */
  readonly level?: 'quick' | 'second'
  /** Of one CPU, 0 to 1. */
  readonly cpuShare?: number
}

/** Where lenses keep their indexes, so that a pager finds what a search has made. */
export function indexStore(folder: string | false = defaultCacheFolder()): IndexStore {
  if (folder === false) return new MemoryIndexStore()
  return new FolderIndexStore(join(folder, 'lens'), undefined, new Spool(join(folder, 'spool')))
}

export interface ProcessExplanations extends Explanations {
  /** Of the ranges looked at. */
  readonly present: PageCounts
}

export function explainProcess(pid: number, options: ExplainProcessOptions = {}): ProcessExplanations {
  const ranges = options.ranges ?? explainable(readMaps(pid, { flags: true }))
  const present: PageCounts = { present: 0, swapped: 0, file: 0, protected: 0 }
  const runs = presentRuns(pid, subtract(ranges, options.skip ?? []), present)
  using memory = new ProcessMemory(pid, runs)
  const pause = throttle(options.cpuShare)
  const cache = options.cacheFolder === false ? undefined : new IndexCache(options.cacheFolder)
  const tiers: Tier[] = [() => firstCandidates(pid, options)]
  if (options.level !== 'quick')
    tiers.push((left, kernel) => secondCandidates(pid, memory, left, kernel, pause))
  const explanations = explain(memory, tiers, {
    pause,
    store: indexStore(options.cacheFolder),
    ...(cache ? { cache } : {}),
  })
  return { ...explanations, present }
}

/** Recipes for the pages of a process that are not skipped, from the candidates of both tiers. */
export function recipesOfProcess(
  pid: number,
  options: ExplainProcessOptions & Pick<RecipeOptions, 'path' | 'most'>,
): Recipes {
  const ranges = options.ranges ?? explainable(readMaps(pid, { flags: true }))
  const runs = presentRuns(pid, subtract(ranges, options.skip ?? []))
  using memory = new ProcessMemory(pid, runs)
  const pause = throttle(options.cpuShare)
  const files = firstCandidates(pid, options)
  if (options.level !== 'quick') files.push(...secondCandidates(pid, memory, runs, new SearchKernel(), pause))
  const { path, most } = options
  return findRecipes(memory, runs, files, { path, most, store: indexStore(options.cacheFolder), pause })
}
