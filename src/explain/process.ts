/** The search put to work on a process: which memory, which candidates, in which order. */
import { availableParallelism } from 'node:os'
import { firstCandidates, secondCandidates, type SeenFile } from '../process/candidates.ts'
import { SearchKernel } from '../kernels/index.ts'
import { readMaps } from '../process/maps.ts'
import type { PageCounts } from '../process/pagemap.ts'
import { explainable, presentRuns, ProcessMemory, type Range, subtract } from '../process/snapshot.ts'
import { explain, type Explanations, type Progress, type Tier } from './explain.ts'
import { IndexCache } from './index-cache.ts'
import { Crew } from './crew.ts'
import { indexStore } from './stores.ts'
import { findRecipes, type RecipeOptions, type Recipes } from './recipe.ts'
import { throttle } from './throttle.ts'

/** Pages of memory from which on a second thread is worth its start. */
const CREW_FROM = 8192

/** Pages that are not yet explained from which on pieces of files are worth a search through all of them. */
const PIECES_FROM = 512

export type Level = 'quick' | 'second' | 'deep'

export interface ExplainProcessOptions {
  /** Address ranges to look at; all private anonymous writable mappings if not given. */
  readonly ranges?: readonly Range[]
  readonly skip?: readonly Range[]
  readonly backings?: readonly string[]
  readonly seen?: readonly SeenFile[]
  /** Folder of the index cache; false for none. */
  readonly cacheFolder?: string | false
  /**
   * 'quick' stops after the first tier of candidates, 'second' looks for files in memory and folders too, 'deep' searches all
   * views of all of these without sampling. Default 'second'.
   */
  readonly level?: Level
  /** CPUs that the search may use, at most: 0.5 is half of one, 2 (the default) two threads. */
  readonly cpuShare?: number
  readonly progress?: (progress: Progress) => void
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
  const { cpuShare = 2, cacheFolder, level, progress } = options
  const threads = Math.max(1, Math.min(Math.ceil(cpuShare), availableParallelism()))
  const pause = throttle(cpuShare, threads)
  const deep = level === 'deep'
  const cache = cacheFolder === false ? undefined : new IndexCache(cacheFolder)
  const tiers: Tier[] = [() => firstCandidates(pid, options)]
  if (level !== 'quick') tiers.push((left, kernel) => secondCandidates(pid, memory, left, kernel, pause))
  const pages = runs.reduce((sum, run) => sum + run.pages, 0)
  const crew =
    threads > 1 && pages >= CREW_FROM
      ? new Crew(threads - 1, { pid, cacheFolder, deep, cpuShare, threads })
      : undefined
  try {
    const explanations = explain(memory, tiers, {
      pause,
      store: indexStore(cacheFolder),
      deep,
      ...(cache ? { cache } : {}),
      ...(crew ? { crew } : {}),
      ...(progress ? { progress } : {}),
    })
    return { ...explanations, present }
  } finally {
    crew?.close()
  }
}

export interface RecipesOfProcessOptions extends ExplainProcessOptions, Pick<RecipeOptions, 'path' | 'most'> {
  /** Files that can't serve: a recipe that names one of them would be of no use. */
  readonly without?: readonly string[]
}

/** Recipes for the pages of a process that are not skipped, from the candidates of both tiers. */
export function recipesOfProcess(pid: number, options: RecipesOfProcessOptions): Recipes {
  const ranges = options.ranges ?? explainable(readMaps(pid, { flags: true }))
  const runs = presentRuns(pid, subtract(ranges, options.skip ?? []))
  const pages = runs.reduce((sum, run) => sum + run.pages, 0)
  if (pages < PIECES_FROM) return { candidates: [], extents: [], pages }
  using memory = new ProcessMemory(pid, runs)
  const pause = throttle(options.cpuShare)
  const files = firstCandidates(pid, options)
  if (options.level !== 'quick') files.push(...secondCandidates(pid, memory, runs, new SearchKernel(), pause))
  const { path, most, without = [] } = options
  const usable = files.filter(file => !without.includes(file.path))
  return findRecipes(memory, runs, usable, { path, most, store: indexStore(options.cacheFolder), pause })
}
