/**
 * What the search has found: a state for each page and a list of extents.
 *
 * Pages are numbered through all runs of the memory (their *ordinal*). Columns, a value a page: state (u8) ·
 * keyed hash (2 × u32, set for pages that were looked up in vain, for counting duplicates).
 */
import type { Run } from '../process/pagemap.ts'

const PAGE = 4096

export const UNKNOWN = 0
export const ZERO = 1
export const EXPLAINED = 2
export const UNEXPLAINED = 3
/** Could not be read: gone, or served by somebody else. */
export const ABSENT = 4

/** A run of whole pages that hold a candidate's bytes; `offset` is the candidate's byte at `start`. */
export interface Extent {
  readonly start: number
  readonly pages: number
  /** Index of the candidate. */
  readonly backing: number
  readonly offset: number
}

/** Pages of a sparse sample, and how many pages apart they begin: what a copy's chance to be found follows from. */
export interface Sampling {
  readonly pages: number
  readonly every: number
}

export class Findings {
  readonly runs: readonly Run[]
  readonly pages: number
  readonly #state: Uint8Array
  /** Pages in each state. */
  readonly #counts: number[]
  readonly hashes: Uint32Array
  /** Ordinal of each run's first page. */
  readonly firsts: readonly number[]
  #extents: Extent[] = []
  readonly #pagesOf: number[] = []

  constructor(runs: readonly Run[]) {
    this.runs = runs
    const firsts: number[] = []
    let pages = 0
    for (const run of runs) {
      firsts.push(pages)
      pages += run.pages
    }
    this.firsts = firsts
    this.pages = pages
    this.#state = new Uint8Array(pages)
    this.#counts = [pages, 0, 0, 0, 0]
    this.hashes = new Uint32Array(2 * pages)
  }

  /** The state of each page, by its ordinal. */
  get state(): Readonly<Uint8Array> {
    return this.#state
  }

  set(ordinal: number, state: number): void {
    const before = this.#state[ordinal] ?? UNKNOWN
    this.#counts[before] = this.count(before) - 1
    this.#counts[state] = this.count(state) + 1
    this.#state[ordinal] = state
  }

  /** Pages explained by a backing so far. */
  pagesOf(backing: number): number {
    return this.#pagesOf[backing] ?? 0
  }

  add(start: number, pages: number, backing: number, offset: number): void {
    this.#pagesOf[backing] = this.pagesOf(backing) + pages
    this.#append(start, pages, backing, offset)
  }

  /** Takes over what somebody else has found, for pages that nobody has explained yet. */
  adopt({ start, pages, backing, offset }: Extent): void {
    let ordinal = this.#ordinal(start)
    for (let i = 0; i < pages; i++, ordinal++) {
      if (this.#state[ordinal] !== UNKNOWN && this.#state[ordinal] !== UNEXPLAINED) continue
      this.set(ordinal, EXPLAINED)
      this.add(start + i * PAGE, 1, backing, offset + i * PAGE)
    }
  }

  // Of the page at an address in one of the runs.
  #ordinal(address: number): number {
    let low = 0
    let high = this.runs.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.runs[middle]?.start ?? 0) <= address) low = middle
      else high = middle - 1
    }
    return (this.firsts[low] ?? 0) + (address - (this.runs[low]?.start ?? 0)) / PAGE
  }

  #append(start: number, pages: number, backing: number, offset: number): void {
    const last = this.#extents.at(-1)
    if (
      last &&
      last.backing === backing &&
      last.start + last.pages * PAGE === start &&
      last.offset + last.pages * PAGE === offset
    ) {
      this.#extents[this.#extents.length - 1] = { ...last, pages: last.pages + pages }
    } else {
      this.#extents.push({ start, pages, backing, offset })
    }
  }

  /** The extents, ascending, neighbours joined. */
  extents(): Extent[] {
    const sorted = this.#extents.toSorted((a, b) => a.start - b.start)
    this.#extents = []
    for (const { start, pages, backing, offset } of sorted) this.#append(start, pages, backing, offset)
    return this.#extents
  }

  /** Pages in a state. */
  count(state: number): number {
    return this.#counts[state] ?? 0
  }

  /**
   * After a sparse search: about how many pages of each backing stand in memory as copies too short to have been found
   * all. A copy of p pages is found with the chance (p + pages) / every; each that was found stands for its like that were not.
   */
  missed({ pages: sampled, every }: Sampling): Map<number, number> {
    const copies = new Map<number, Map<number, number>>()
    for (const { backing, start, pages, offset } of this.#extents) {
      let shifts = copies.get(backing)
      if (!shifts) copies.set(backing, (shifts = new Map()))
      shifts.set(offset - start, (shifts.get(offset - start) ?? 0) + pages)
    }
    const missed = new Map<number, number>()
    for (const [backing, shifts] of copies) {
      let sum = 0
      for (const pages of shifts.values()) sum += pages * Math.max(0, every / (pages + sampled) - 1)
      missed.set(backing, sum)
    }
    return missed
  }

  /** Runs of pages in a state, ascending. */
  runsOf(state: number): Run[] {
    const found: Run[] = []
    for (const [r, run] of this.runs.entries()) {
      const first = this.firsts[r] ?? 0
      let open = -1
      for (let i = 0; i <= run.pages; i++) {
        const wanted = i < run.pages && this.#state[first + i] === state
        if (wanted && open < 0) open = i
        if (!wanted && open >= 0) {
          found.push({ start: run.start + open * PAGE, pages: i - open })
          open = -1
        }
      }
    }
    return found
  }

  /** Unexplained pages that hold the same as another that is counted as unexplained: all of a kind but one. */
  duplicates(): number {
    return this.duplicateFlags().reduce((sum, flag) => sum + flag, 0)
  }

  /** 1 for each page that `duplicates` counts. */
  duplicateFlags(): Uint8Array {
    const flags = new Uint8Array(this.pages)
    const wide = new BigUint64Array(this.hashes.buffer)
    const order = new Uint32Array(this.count(UNEXPLAINED))
    let n = 0
    for (let i = 0; i < this.pages; i++) if (this.#state[i] === UNEXPLAINED) order[n++] = i
    const keys = new BigUint64Array(n)
    for (let i = 0; i < n; i++) keys[i] = wide[order[i] ?? 0] ?? 0n
    keys.sort()
    const repeated = new Set<bigint>()
    for (let i = 1; i < n; i++) if (keys[i] === keys[i - 1]) repeated.add(keys[i] ?? 0n)
    const seen = new Set<bigint>()
    for (let i = 0; i < n; i++) {
      const ordinal = order[i] ?? 0
      const key = wide[ordinal] ?? 0n
      if (!repeated.has(key)) continue
      if (seen.has(key)) flags[ordinal] = 1
      else seen.add(key)
    }
    return flags
  }
}
