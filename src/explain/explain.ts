/**
 * Memory in, explanations out. Knows nothing of how pages are dropped.
 *
 * Candidates come in *tiers*, the likely ones first; a tier is asked for only when the ones before left much
 * unexplained. Within a tier there are batches of files, each with an index of its own (search.ts):
 *   1. all files, sparsely sampled: finds whole-file copies at a small part of the work
 *   2. files fully sampled, best first, in batches that grow. The sparse pass has found one in sixteen of the short copies too: where
 *      that says that next to nothing is missing, the file is left out
 * Then views of the same files: what lenses make of them (views.ts), in rounds, sparsely first; of a large view the rest only if
 * that found something. After each batch one pass over the pages that are still unexplained. The search ends as soon as finding
 * all that is left would not change the result by a thousandth. A *deep* search leaves out nothing.
 *
 * What is to be searched fully, and views, is shared out among threads, if there is a crew (crew.ts).
 *
 * Cost: a page that is in no file is given up after two or three anchors, so a pass over unexplained memory runs at
 * the speed of reading it.
 */
import { randomInt } from 'node:crypto'
import type { SearchKernel } from '../kernels/index.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import { type Crew, shares } from './crew.ts'
import { ABSENT, EXPLAINED, type Extent, type Findings, UNEXPLAINED, UNKNOWN, ZERO } from './extents.ts'
import { promising } from './glance.ts'
import type { Candidate } from './pool.ts'
import { ENOUGH, type Kind, NEARLY, Search, type SearchOptions } from './search.ts'
import { allMarks, costOf, marks, ROUNDS, type View, viewsOf } from './views.ts'

const PAGE = 4096
const MIB = 2 ** 20
/** Unexplained bytes that are worth a look at views, if they are this share of all. */
const LEAST_FOR_VIEWS = MIB
const SHARE_FOR_VIEWS = 0.03
/** Files that are looked at through lenses: from this size on, and so many. */
const VIEWED_FROM = 65536
/** The same for files of the later tiers, of which there are many. */
const VIEWED_LATER_FROM = MIB
const MOST_VIEWED = 200
/** Milliseconds between two words on how far it is. */
const TELL_EVERY = 200
/** Bytes of candidates (weighed by what their lenses cost) from which on a second thread is worth its own pass over memory. */
const SHARED_FROM = 16 * MIB

export interface ExplainOptions extends SearchOptions {
  /** Other threads that search with this one. */
  readonly crew?: Crew
  /** Told now and then how far the search is. */
  readonly progress?: (progress: Progress) => void
}

/** How far a search is. */
export interface Progress {
  readonly stage: 'files' | 'views'
  /** Of this stage's work, 0 to 1: an estimate. */
  readonly done: number
  /** Until the end of this stage, an estimate; undefined while there is too little to tell from. */
  readonly secondsLeft: number | undefined
  /** Pages. */
  readonly explained: number
  readonly pages: number
  /** Since the search began. */
  readonly seconds: number
}

export interface ExplainCounts {
  readonly pages: number
  readonly zero: number
  readonly explained: number
  readonly unexplained: number
  /** Of the unexplained: pages that hold the same as another one. */
  readonly duplicate: number
  /** Could not be read. */
  readonly absent: number
  /** Bytes of the memory under search, each counted once. */
  readonly bytesScanned: number
  readonly memoryBytesRead: number
  readonly fileBytesIndexed: number
  readonly seconds: number
}

export interface Explanations {
  /** Every candidate that was considered; extents point into it. */
  readonly candidates: readonly Candidate[]
  readonly extents: readonly Extent[]
  readonly zero: readonly Run[]
  readonly unexplained: readonly Run[]
  readonly findings: Findings
  readonly counts: ExplainCounts
}

/** Gives the candidates of a tier, best first. Gets what is still unexplained. */
export type Tier = (unexplained: readonly Run[], kernel: SearchKernel) => readonly Candidate[]

export function explain(
  memory: MemorySource,
  tiers: readonly Tier[],
  options: ExplainOptions = {},
): Explanations {
  const began = performance.now()
  const { crew, deep = false, progress } = options
  let stage = { kind: 'files' as Kind, planned: 1, before: 0, began }
  let told = began
  const tell = (): void => {
    const now = performance.now()
    if (progress === undefined || now - told < TELL_EVERY) return
    told = now
    const done = Math.min(0.99, (search.work - stage.before) / stage.planned)
    const secondsLeft = done < 0.05 ? undefined : (((now - stage.began) / 1000) * (1 - done)) / done
    const { pages } = findings
    progress({
      stage: stage.kind,
      done,
      secondsLeft,
      explained: findings.count(EXPLAINED),
      pages,
      seconds: (now - began) / 1000,
    })
  }
  const pause = (): void => {
    options.pause?.()
    tell()
  }
  const search = new Search(memory, randomInt(2 ** 32), { ...options, pause })
  const { findings, pool } = search
  const others = { memory: 0, files: 0 }
  const runs = (): Run[] => [...findings.runsOf(UNKNOWN), ...findings.runsOf(UNEXPLAINED)]
  /** Searches candidates, with the crew if they are enough for more than one. */
  const through = (candidates: readonly Candidate[], kind: Kind, cost: (c: Candidate) => number): void => {
    const total = candidates.reduce((sum, candidate) => sum + cost(candidate), 0)
    const hands = crew === undefined || total < SHARED_FROM ? 0 : crew.size
    const [mine = [], ...theirs] = shares(candidates, hands + 1, cost)
    const left = runs()
    const planned = search.plan(mine, kind, left)
    stage = { kind, planned, before: search.work, began: performance.now() }
    crew?.begin(theirs.map(share => ({ runs: left, candidates: share, kind })))
    search.through(
      mine.map(candidate => pool.add(candidate)),
      kind,
    )
    for (const [task, result] of crew?.finish() ?? []) {
      const indices = task.candidates.map(candidate => pool.add(candidate))
      if (result === undefined) search.through(indices, kind)
      else
        for (const extent of result.extents)
          findings.adopt({ ...extent, backing: indices[extent.backing] ?? 0 })
      others.memory += result?.memoryBytesRead ?? 0
      others.files += result?.fileBytesIndexed ?? 0
    }
  }
  try {
    for (const tier of tiers) {
      if (findings.pages === 0 || search.settled(ENOUGH)) break
      const before = pool.candidates.length
      const candidates = tier(findings.runsOf(UNEXPLAINED), search.kernel).filter(
        ({ identity }) => identity.size >= PAGE,
      )
      for (const candidate of candidates) pool.add(candidate)
      const files = pool.candidates.slice(before)
      stage = {
        kind: 'files',
        planned: search.plan(files, 'files', runs()),
        before: search.work,
        began: performance.now(),
      }
      const rest = search.sift(files.map(candidate => pool.add(candidate)))
      if (!search.settled(ENOUGH))
        through(
          rest.flatMap(index => pool.candidates[index] ?? []),
          'files',
          ({ identity }) => identity.size,
        )
      if (search.settled(NEARLY)) continue
      const least = deep ? PAGE : tier === tiers[0] ? VIEWED_FROM : VIEWED_LATER_FROM
      for (const round of views(search, files, least, memory, deep, pause)) {
        through(round, 'views', costOf)
        if (search.settled(NEARLY)) break
      }
    }
    search.complete()
  } finally {
    search.close()
  }
  return {
    candidates: pool.candidates,
    extents: findings.extents(),
    zero: findings.runsOf(ZERO),
    unexplained: findings.runsOf(UNEXPLAINED),
    findings,
    counts: {
      pages: findings.pages,
      zero: findings.count(ZERO),
      explained: findings.count(EXPLAINED),
      unexplained: findings.count(UNEXPLAINED),
      duplicate: findings.duplicates(),
      absent: findings.count(ABSENT),
      bytesScanned: (findings.pages - findings.count(ABSENT)) * PAGE,
      memoryBytesRead: search.memoryBytesRead + others.memory,
      fileBytesIndexed: search.fileBytesIndexed + others.files,
      seconds: (performance.now() - began) / 1000,
    },
  }
}

/**
 * The views of files that are worth a search, of files from `least` bytes on; round by round, for what one
 * explains the next need not look for.
 */
function* views(
  { pool, findings, kernel }: Search,
  files: readonly Candidate[],
  least: number,
  memory: MemorySource,
  deep: boolean,
  pause: () => void,
): Generator<Candidate[]> {
  let known: (readonly [Candidate, View])[] | undefined
  for (let round = 0; round < ROUNDS; round++) {
    const left = findings.runsOf(UNEXPLAINED)
    const bytes = left.reduce((sum, run) => sum + run.pages * PAGE, 0)
    if (!deep && (bytes < LEAST_FOR_VIEWS || bytes < SHARE_FOR_VIEWS * findings.pages * PAGE)) return
    const marked = deep ? allMarks : marks(memory, left)
    const most = deep ? Number.POSITIVE_INFINITY : Math.max(VIEWED_FROM * 1024, 4 * bytes)
    known ??= files
      .filter(({ program, lens, identity: { size } }) => !program && !lens && size >= least && size <= most)
      .slice(0, deep ? files.length : MOST_VIEWED)
      .flatMap(candidate => {
        const file = pool.open(pool.add(candidate))
        const found = file === undefined ? [] : viewsOf(file, marked, { gates: !deep, pause })
        return found.map(view => [candidate, view] as const)
      })
    const wanted = known.filter(
      ([, view]) => view.round === round && (view.mark === undefined || marked.has(view.mark)),
    )
    const all = wanted.map(([candidate, { lens }]): Candidate => ({ ...candidate, lens }))
    const worth = deep ? all : promising(memory, left, all, kernel, pool, pause)
    if (worth.length > 0) yield worth
  }
}
