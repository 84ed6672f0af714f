/**
 * The search as one thread does it: candidates in batches, an index of each batch, a pass over what is unexplained.
 *
 * Two ways to go through candidates, by what they are: *files* in an order of likelihood, sparsely first if they are many; *views*
 * sparsely always, and fully only those that a sparse pass has found something of.
 */
import { SearchKernel } from '../kernels/index.ts'
import type { IndexStore } from '../lens/lens.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import { EXPLAINED, Findings, UNEXPLAINED, UNKNOWN } from './extents.ts'
import { type Batch, FileIndex, isSampledWhole, SPARSE_SAMPLING } from './file-index.ts'
import type { IndexCache } from './index-cache.ts'
import { type Candidate, Pool } from './pool.ts'
import { Scanner } from './scanner.ts'

const PAGE = 4096
const MIB = 2 ** 20
const SPARSE_FROM = 32 * MIB
const FIRST_BATCH = 1024 * MIB
/** Files are positions below 2^40 together. */
const MOST_BYTES = 2 ** 39
/** The search ends when all that is left is at most this share of what is found. */
export const ENOUGH = 0.001
/** And costly parts of it are left out when it is this one. */
export const NEARLY = 0.008
/** Where what is left is at most this share of what is found, files that nothing was found of are left out too. */
const LITTLE = 0.05
/** Pages of a file that only long copies can have brought. */
const LONG_COPIES = 256
/** A sparse index is of so small a part of the bytes. */
const SPARSENESS = 16

export type Kind = 'files' | 'views'

export interface SearchOptions {
  readonly cache?: IndexCache
  /** Where lenses keep what they need to know of a file. */
  readonly store?: IndexStore
  /** Called between blocks of work, some hundred times a second: the place to sleep. */
  readonly pause?: () => void
  /** Searches all bytes of all views of all files, however unlikely. */
  readonly deep?: boolean
}

export class Search {
  readonly findings: Findings
  readonly kernel: SearchKernel = new SearchKernel()
  readonly pool: Pool
  readonly #index: FileIndex
  readonly #scanner: Scanner
  readonly #deep: boolean

  /** `key` is the hashes'. */
  constructor(memory: MemorySource, key: number, options: SearchOptions) {
    const pause = options.pause ?? ((): void => undefined)
    this.#deep = options.deep === true
    this.pool = new Pool(options.store, pause)
    this.findings = new Findings(memory.runs)
    this.#index = new FileIndex(this.kernel, this.pool, options.cache, pause)
    this.#scanner = new Scanner(memory, this.findings, this.kernel, this.pool, this.#index, key, pause)
  }

  get memoryBytesRead(): number {
    return this.#scanner.bytesRead
  }
  get fileBytesIndexed(): number {
    return this.#index.bytesRead
  }

  /** Bytes read of memory and of candidates: a measure of what has been done. */
  get work(): number {
    return this.#scanner.bytesRead + this.#index.bytesRead
  }

  /** About how much work it is to search candidates in memory of which `left` is unexplained. */
  plan(candidates: readonly Candidate[], kind: Kind, left: readonly Run[]): number {
    const memory = left.reduce((sum, run) => sum + run.pages * PAGE, 0)
    const bytes = candidates.reduce((sum, candidate) => sum + candidate.identity.size, 0)
    return memory + (kind === 'views' && !this.#deep ? bytes / SPARSENESS : bytes)
  }

  /** Whether all that is left is at most this share of what is found; never so if the search is to be complete. */
  settled(share: number): boolean {
    const { findings } = this
    return (
      !this.#deep &&
      findings.count(UNKNOWN) + findings.count(UNEXPLAINED) <= share * findings.count(EXPLAINED)
    )
  }

  /**
   * Searches files sparsely, if they are many, and gives those that are worth a full search: of files that long copies were found of
   * only those of which short ones seem to be missing.
   */
  sift(files: readonly number[]): readonly number[] {
    const usable = this.#usable(files)
    const total = usable.reduce((sum, file) => sum + this.pool.size(file), 0)
    if (this.#deep || total <= SPARSE_FROM) return usable
    this.#batch({ files: usable, sparse: true })
    const missed = this.findings.missed(SPARSE_SAMPLING)
    const few = ENOUGH * this.findings.count(EXPLAINED)
    return usable.filter(file => {
      if (isSampledWhole(this.pool.size(file))) return false
      const long = this.findings.pagesOf(file) >= LONG_COPIES
      return long || this.settled(LITTLE) ? (missed.get(file) ?? 0) > few : true
    })
  }

  /** Searches candidates, by their indices in the pool, best first: files fully, views as they deserve. */
  through(candidates: readonly number[], kind: Kind): void {
    for (const batch of this.#batches(candidates, kind)) {
      this.#batch(batch)
      if (this.settled(ENOUGH)) return
    }
  }

  /** Looks at pages that nobody has looked at, for want of candidates. */
  complete(): void {
    if (this.findings.count(UNKNOWN) === 0) return
    this.#index.build({ files: [], sparse: false })
    this.#scanner.pass()
  }

  #batch(batch: Batch): void {
    if (batch.files.length === 0) return
    this.#index.build(batch)
    this.#scanner.pass()
  }

  #usable(candidates: readonly number[]): number[] {
    let total = 0
    return candidates.filter(file => {
      const size = this.pool.size(file)
      if (size < PAGE || total + size > MOST_BYTES) return false
      total += size
      return true
    })
  }

  // Of later batches what the ones before have made superfluous is left out.
  *#batches(candidates: readonly number[], kind: Kind): Generator<Batch> {
    const files = this.#usable(candidates)
    const sparse = kind === 'views' && !this.#deep
    if (files.length > 0 && sparse) yield { files, sparse: true }
    const missed = sparse ? this.findings.missed(SPARSE_SAMPLING) : undefined
    const few = ENOUGH * this.findings.count(EXPLAINED)
    const isWanted = (file: number): boolean =>
      this.#deep || (missed === undefined ? !this.settled(NEARLY) : (missed.get(file) ?? 0) > few)
    let limit = FIRST_BATCH
    let group: number[] = []
    let bytes = 0
    for (const file of files) {
      group.push(file)
      bytes += this.pool.size(file)
      if (bytes < limit) continue
      yield { files: group.filter(isWanted), sparse: false }
      group = []
      bytes = 0
      limit *= 4
    }
    if (group.length > 0) yield { files: group.filter(isWanted), sparse: false }
  }

  close(): void {
    this.pool.close()
  }
}
