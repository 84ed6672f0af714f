/**
 * One pass over the memory that is not yet explained, with an index of some candidate files.
 *
 * Page by page: zero? — else does the copy that we are in go on (comparison, in growing blocks)? — else where could
 * this page come from (the kernel's `probe`)? Each place is compared; of several the one that goes on longest wins.
 * A new copy is followed backwards too, over pages that were given up before. Nothing is called explained that
 * was not compared byte for byte with what a read of the file gave just then.
 */
import { SCAN_PAGES, type SearchKernel } from '../kernels/index.ts'
import type { MemorySource } from '../process/snapshot.ts'
import { ABSENT, EXPLAINED, type Findings, UNEXPLAINED, UNKNOWN, ZERO } from './extents.ts'
import type { FileIndex } from './file-index.ts'
import type { Pool } from './pool.ts'

const PAGE = 4096
/** Pages compared at most when places compete. */
const LOOK_AHEAD = 64
/** Of so many places that are right the longest is taken; more are not tried. */
const ENOUGH_EQUAL = 8
/** A copy is still tried after this many pages that did not belong to it. */
const PATIENCE = 16

export class Scanner {
  /** Bytes of memory read. */
  bytesRead = 0
  readonly #memory: MemorySource
  readonly #findings: Findings
  readonly #kernel: SearchKernel
  readonly #pool: Pool
  readonly #index: FileIndex
  readonly #pause: () => void
  readonly #key: number
  #back: Uint8Array = new Uint8Array(LOOK_AHEAD * PAGE)
  // The copy that we are in: its file, and file offset minus address; -1 for none.
  #file = -1
  #shift = 0
  #misses = 0
  #ahead = 1
  #first = true

  constructor(
    memory: MemorySource,
    findings: Findings,
    kernel: SearchKernel,
    pool: Pool,
    index: FileIndex,
    key: number,
    pause: () => void,
  ) {
    this.#memory = memory
    this.#findings = findings
    this.#kernel = kernel
    this.#pool = pool
    this.#index = index
    this.#key = key
    this.#pause = pause
  }

  pass(): void {
    this.#file = -1
    const { state } = this.#findings
    for (const [r, run] of this.#findings.runs.entries()) {
      const first = this.#findings.firsts[r] ?? 0
      let i = 0
      while (i < run.pages) {
        const s = state[first + i]
        if (s !== UNKNOWN && s !== UNEXPLAINED) {
          i++
          continue
        }
        let n = 1
        while (
          n < SCAN_PAGES &&
          i + n < run.pages &&
          (state[first + i + n] === UNKNOWN || state[first + i + n] === UNEXPLAINED)
        )
          n++
        i += this.#block(run.start, first, i, n)
        this.#pause()
      }
    }
    this.#first = false
  }

  /** Looks at up to n pages from page i of a run on; how many it has dealt with. */
  #block(runStart: number, first: number, i: number, n: number): number {
    const address = runStart + i * PAGE
    const got = this.#memory.read(address, this.#kernel.memory.subarray(0, n * PAGE))
    this.bytesRead += got
    const pages = Math.floor(got / PAGE)
    if (pages === 0) {
      this.#findings.set(first + i, ABSENT)
      return 1
    }
    let j = 0
    while (j < pages) {
      if (this.#kernel.isZero(j)) {
        this.#findings.set(first + i + j, ZERO)
        j++
        continue
      }
      const matched = this.#goOn(address, j, pages) || this.#search(runStart, first, i, j, pages)
      if (matched === 0) {
        const ordinal = first + i + j
        if (this.#first) this.#kernel.hash(j, this.#key, this.#findings.hashes, 2 * ordinal)
        this.#findings.set(ordinal, UNEXPLAINED)
        j++
        continue
      }
      this.#mark(address, first + i, j, matched)
      j += matched
    }
    return pages
  }

  /** Marks n pages from page j of the block on as belonging to the copy; zero pages among them are only zero. */
  #mark(address: number, firstOrdinal: number, j: number, n: number): void {
    let open = j
    for (let k = j; k <= j + n; k++) {
      const zero = k < j + n && this.#kernel.isZero(k)
      if (k < j + n && !zero) {
        this.#findings.set(firstOrdinal + k, EXPLAINED)
        continue
      }
      if (k > open)
        this.#findings.add(address + open * PAGE, k - open, this.#file, address + open * PAGE + this.#shift)
      if (zero) this.#findings.set(firstOrdinal + k, ZERO)
      open = k + 1
    }
  }

  /** How many pages from page j of the block on are the continuation of the copy that we are in. */
  #goOn(address: number, j: number, pages: number): number {
    if (this.#file < 0) return 0
    const n = Math.min(pages - j, this.#misses > 0 ? 1 : this.#ahead)
    const matched = this.#compare(this.#file, address + j * PAGE + this.#shift, j, n)
    if (matched === 0) {
      this.#ahead = 1
      if (++this.#misses > PATIENCE) this.#file = -1
      return 0
    }
    this.#ahead = matched === n ? Math.min(SCAN_PAGES, this.#ahead * 4) : 1
    this.#misses = 0
    return matched
  }

  /** Pages of the block from page j on that equal the file from `offset` on; at most n. */
  #compare(file: number, offset: number, j: number, n: number): number {
    if (offset < 0) return 0
    const whole = Math.min(n, Math.floor((this.#pool.size(file) - offset) / PAGE))
    if (whole <= 0) return 0
    const got = this.#pool.read(file, offset, this.#kernel.file.subarray(0, whole * PAGE))
    return this.#kernel.prefix(j, Math.floor(got / PAGE))
  }

  /** The same, reading in growing steps, for a place that may well be wrong. */
  #length(file: number, offset: number, j: number, most: number): number {
    let length = 0
    let step = 1
    while (length < most) {
      const n = Math.min(step, most - length)
      const matched = this.#compare(file, offset + length * PAGE, j + length, n)
      length += matched
      if (matched < n) break
      step *= 4
    }
    return length
  }

  /** Asks the index about page j of the block, enters the longest copy and follows it backwards. */
  #search(runStart: number, first: number, i: number, j: number, pages: number): number {
    const { places } = this.#kernel
    const found = this.#kernel.probe(j)
    const address = runStart + (i + j) * PAGE
    let longest = 0
    let file = -1
    let shift = 0
    const most = found === 1 ? 1 : Math.min(pages - j, LOOK_AHEAD)
    let equal = 0
    for (let k = 0; k < found && longest < most && equal < ENOUGH_EQUAL; k++) {
      const place = this.#index.locate(places[k] ?? 0)
      if (!place) continue
      const length = this.#length(place.file, place.offset, j, most)
      if (length > 0) equal++
      if (length <= longest) continue
      longest = length
      file = place.file
      shift = place.offset - address
    }
    if (longest === 0) return 0
    this.#file = file
    this.#shift = shift
    this.#misses = 0
    this.#ahead = Math.max(4, longest)
    this.#follow(runStart, first, i, j)
    return longest
  }

  /** Follows the copy backwards from the page before page j of the block, as far as it goes. */
  #follow(runStart: number, first: number, i: number, j: number): void {
    const { state } = this.#findings
    let before = i + j - 1 // page of the run
    let step = 1
    const saved = this.#kernel.memory
    while (before >= 0) {
      let n = 0
      while (
        n < step &&
        before - n >= 0 &&
        (state[first + before - n] === UNEXPLAINED || state[first + before - n] === ZERO)
      )
        n++
      if (n === 0) return
      let from = before - n + 1
      let address = runStart + from * PAGE
      const short = Math.ceil(-Math.min(0, address + this.#shift) / PAGE)
      n -= short
      from += short
      address += short * PAGE
      if (n <= 0) return
      const matched =
        from >= i ? this.#suffixHere(address, from - i, n) : this.#suffixElsewhere(address, n, saved)
      for (let k = before; k > before - matched; k--) {
        if (state[first + k] !== UNEXPLAINED) continue
        this.#findings.set(first + k, EXPLAINED)
        const start = runStart + k * PAGE
        this.#findings.add(start, 1, this.#file, start + this.#shift)
      }
      if (matched < n || short > 0) return
      before -= n
      step = Math.min(LOOK_AHEAD, step * 4)
    }
  }

  #suffixHere(address: number, at: number, n: number): number {
    const got = this.#pool.read(this.#file, address + this.#shift, this.#kernel.file.subarray(0, n * PAGE))
    return got === n * PAGE ? this.#kernel.suffix(at, n) : 0
  }

  /** The same for pages before the block: they take its place in the kernel's memory for a moment. */
  #suffixElsewhere(address: number, n: number, memory: Uint8Array): number {
    const bytes = n * PAGE
    this.#back.set(memory.subarray(0, bytes))
    const read = this.#memory.read(address, memory.subarray(0, bytes))
    this.bytesRead += read
    const matched = read === bytes ? this.#suffixHere(address, 0, n) : 0
    memory.set(this.#back.subarray(0, bytes))
    return matched
  }
}
