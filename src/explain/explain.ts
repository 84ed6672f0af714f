/**
 * Memory in, explanations out. Knows nothing of how pages are dropped.
 *
 * Candidates come in *tiers*, the likely ones first; a tier is asked for only when the ones before left much
 * unexplained. Within a tier there are batches of files, each with an index of its own:
 *   1. all files, sparsely sampled: finds whole-file copies at a small part of the work
 *   2. all files, fully sampled, best first, in batches that grow
 * Then views of the same files: what lenses make of them (views.ts), sparsely first; of a large view the rest only if that
 * found something. After each batch one pass over the pages that are still unexplained. The search ends as soon as finding all that is
 * left would not change the result by a thousandth. Where it would not by eight, files that are already found
 * whole are not sampled fully; the libraries beside a big file are, the big file is not.
 *
 * Cost: a page that is in no file is given up after two or three anchors, so a pass over unexplained memory runs at
 * the speed of reading it.
 */
import { randomInt } from 'node:crypto'
import type { IndexStore } from '../lens/lens.ts'
import { SearchKernel } from '../kernels/index.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import { ABSENT, EXPLAINED, type Extent, Findings, UNEXPLAINED, UNKNOWN, ZERO } from './extents.ts'
import { type Batch, FileIndex } from './file-index.ts'
import type { IndexCache } from './index-cache.ts'
import { type Candidate, Pool } from './pool.ts'
import { Scanner } from './scanner.ts'
import { marks, viewsOf } from './views.ts'

const PAGE = 4096
const MIB = 2 ** 20
const SPARSE_FROM = 32 * MIB
const FIRST_BATCH = 1024 * MIB
/** Files are positions below 2^40 together. */
const MOST_BYTES = 2 ** 39
const ENOUGH = 0.001
const NEARLY = 0.008
const WHOLE = 0.95
/** Unexplained bytes that are worth a look at views, if they are this share of all. */
const LEAST_FOR_VIEWS = MIB
const SHARE_FOR_VIEWS = 0.03
/** Files that are looked at through lenses: from this size on, and so many. */
const VIEWED_FROM = 65536
/** The same for files of the later tiers, of which there are many. */
const VIEWED_LATER_FROM = MIB
const MOST_VIEWED = 200

export interface ExplainOptions {
  readonly cache?: IndexCache
  /** Where lenses keep what they need to know of a file. */
  readonly store?: IndexStore
  /** Called between blocks of work, some hundred times a second: the place to sleep. */
  readonly pause?: () => void
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
  const pause = options.pause ?? ((): void => undefined)
  const kernel = new SearchKernel()
  const pool = new Pool(options.store, pause)
  const findings = new Findings(memory.runs)
  const index = new FileIndex(kernel, pool, options.cache, pause)
  const scanner = new Scanner(memory, findings, kernel, pool, index, randomInt(2 ** 32), pause)
  const isMissing = (file: number): boolean => findings.pagesOf(file) * PAGE < WHOLE * pool.size(file)
  try {
    for (const tier of tiers) {
      if (findings.pages === 0 || isLeft(findings, ENOUGH)) break
      const before = pool.candidates.length
      for (const candidate of tier(findings.runsOf(UNEXPLAINED), kernel)) {
        if (candidate.identity.size >= PAGE) pool.add(candidate)
      }
      const after = pool.candidates.length
      for (const batch of batches(pool, before)) {
        const files = batch.sparse || !isLeft(findings, NEARLY) ? batch.files : batch.files.filter(isMissing)
        if (files.length === 0) continue
        index.build({ files, sparse: batch.sparse })
        scanner.pass()
        if (isLeft(findings, ENOUGH)) break
      }
      if (isLeft(findings, NEARLY)) continue
      const least = tier === tiers[0] ? VIEWED_FROM : VIEWED_LATER_FROM
      for (const round of views(pool, before, after, least, memory, findings, pause)) {
        const from = pool.candidates.length
        for (const candidate of round) pool.add(candidate)
        for (const batch of batches(pool, from, true)) {
          const files = batch.sparse
            ? batch.files
            : batch.files.filter(file => findings.pagesOf(file) > 0 && isMissing(file))
          if (files.length === 0) continue
          index.build({ files, sparse: batch.sparse })
          scanner.pass()
          if (isLeft(findings, ENOUGH)) break
        }
        if (isLeft(findings, NEARLY)) break
      }
    }
    if (findings.count(UNKNOWN) > 0) {
      index.build({ files: [], sparse: false })
      scanner.pass()
    }
  } finally {
    pool.close()
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
      memoryBytesRead: scanner.bytesRead,
      fileBytesIndexed: index.bytesRead,
      seconds: (performance.now() - began) / 1000,
    },
  }
}

/** Whether all that is left is at most this share of what is found. */
function isLeft(findings: Findings, share: number): boolean {
  return findings.count(UNKNOWN) + findings.count(UNEXPLAINED) <= share * findings.count(EXPLAINED)
}

/** The views of candidates [from, to), of files from `least` bytes on, that are worth a search; in two rounds. */
function views(
  pool: Pool,
  from: number,
  to: number,
  least: number,
  memory: MemorySource,
  findings: Findings,
  pause: () => void,
): Candidate[][] {
  const left = findings.runsOf(UNEXPLAINED)
  const bytes = left.reduce((sum, run) => sum + run.pages * PAGE, 0)
  if (bytes < LEAST_FOR_VIEWS || bytes < SHARE_FOR_VIEWS * findings.pages * PAGE) return []
  const first: Candidate[] = []
  const second: Candidate[] = []
  const marked = marks(memory, left)
  const most = Math.max(VIEWED_FROM * 1024, 4 * bytes)
  let files = 0
  for (let i = from; i < to && files < MOST_VIEWED; i++) {
    const candidate = pool.candidates[i]
    if (!candidate || candidate.program === true || candidate.lens !== undefined) continue
    if (candidate.identity.size < least || candidate.identity.size > most) continue
    const file = pool.open(i)
    if (!file) continue
    files++
    const found = viewsOf(file, marked, pause)
    for (const lens of found.first) first.push({ ...candidate, lens })
    for (const lens of found.second) second.push({ ...candidate, lens })
  }
  return second.length > 0 ? [first, second] : [first]
}

function* batches(pool: Pool, from: number, always = false): Generator<Batch> {
  const files: number[] = []
  let total = 0
  for (let i = from; i < pool.candidates.length; i++) {
    if (total + pool.size(i) > MOST_BYTES) continue
    files.push(i)
    total += pool.size(i)
  }
  if (files.length > 0 && (always || total > SPARSE_FROM)) yield { files, sparse: true }
  let limit = FIRST_BATCH
  let group: number[] = []
  let bytes = 0
  for (const file of files) {
    group.push(file)
    bytes += pool.size(file)
    if (bytes < limit) continue
    yield { files: group, sparse: false }
    group = []
    bytes = 0
    limit *= 4
  }
  if (group.length > 0) yield { files: group, sparse: false }
}
