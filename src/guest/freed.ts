// Which pages of a guest's heap hold no block that lives: known from its mallocs and frees alone, for any allocator.
//
//   malloc → taken: marks where the block ends, counts it on its pages       free → given: finds the end again, counts it off
//
// A page without a living block is given back, but not at once, because the next malloc is likely to take it: when a round of some
// such pages has passed and it still holds none, or when the guest begins to wait. How: pages wholly inside of one large block that was freed
// are not needed any more, whatever the allocator (its own words are at the ends of blocks). In others lie words of the allocator, which can't
// be told from what was freed: such pages leave memory as any page does that is over the budget, and come back with all that they held. So
// even a guest that reads what it has freed reads what it would have read.
import { pageBytes } from '../pager/journal.ts'

/** A block is at a multiple of this, in every allocator that gives what C promises for wasm32. */
const granule = 8
const pageGranules = pageBytes / granule
/** Blocks of fewer bytes have too few whole pages. */
const large = 32_768
/** What an allocator may note in a free block, at its ends. */
const margin = 64
/** Pages without a living block that make a round, at first and at most. */
const firstRound = 64
const lastRound = 16_384

/** What becomes of ranges of the memory, in bytes. */
export interface Freed {
  /** Nobody needs its bytes any more. */
  release(at: number, length: number): void
  /** Nobody will need these pages soon: [first, behind the last). */
  trim(ranges: readonly (readonly [number, number])[]): void
}

export class FreedPages {
  readonly #freed: Freed
  /** A bit for each granule: the first one, and the last one, of a block that lives. */
  #starts = new Uint32Array(0)
  #ends = new Uint32Array(0)
  /** Living blocks that have bytes on each page. */
  #live = new Uint16Array(0)
  #dead = new Set<number>()
  /** Dead since the round before. */
  #older = new Set<number>()
  #trimmed = new Set<number>()
  #round = firstRound
  #regrets = 0

  constructor(freed: Freed) {
    this.#freed = freed
  }

  /** A block of so many bytes has been taken at an address. */
  taken(at: number, bytes: number): void {
    if (at === 0) return
    const last = at + Math.max(bytes, 1) - 1
    if (last >= this.#live.length * pageBytes) this.#fit(last)
    this.#clear(at / granule, Math.floor(last / granule))
    set(this.#starts, at / granule)
    set(this.#ends, Math.floor(last / granule))
    for (let page = Math.floor(at / pageBytes); page * pageBytes <= last; page++) {
      const before = this.#live[page] as number
      this.#live[page] = before + 1
      if (before === 0 && this.#trimmed.size > 0 && this.#trimmed.delete(page)) this.#regrets++
    }
  }

  /** The block at an address has been given back. `kept`: a range that is of a block that lives. */
  given(at: number, keptFrom = 0, keptBytes = 0): void {
    if (at % granule !== 0 || !isSet(this.#starts, at / granule)) return
    // Now, while all that live are counted: of a block that is resized it is said first that it is given back.
    if (this.#dead.size >= this.#round) this.#sweep(false)
    const to = this.#uncount(at)
    const overlaps = keptFrom < to && at < keptFrom + keptBytes
    if (to - at >= large && !overlaps) {
      for (let page = Math.ceil((at + margin) / pageBytes); (page + 1) * pageBytes <= to - margin; page++)
        this.#dead.delete(page)
      this.#freed.release(at + margin, to - at - 2 * margin)
    }
  }

  /** The guest is going to wait for somebody: nothing of what is dead will be taken soon. */
  waits(): void {
    if (this.#dead.size + this.#older.size >= firstRound) this.#sweep(true)
  }

  #sweep(all: boolean): void {
    // Most of what went last time came again at once: wait longer.
    const wrong = this.#regrets * 2 > this.#trimmed.size + this.#regrets
    this.#round = Math.max(firstRound, Math.min(lastRound, wrong ? this.#round * 2 : this.#round >> 1))
    this.#regrets = 0
    this.#trimmed.clear()
    const pages = [...this.#older, ...(all ? this.#dead : [])].filter(page => this.#live[page] === 0)
    this.#older = all ? new Set() : this.#dead
    this.#dead = new Set()
    pages.sort((a, b) => a - b)
    const ranges: [number, number][] = []
    for (let i = 0; i < pages.length; ) {
      const from = pages[i] as number
      let to = from
      while (pages[i] === to || pages[i] === to - 1) {
        to = (pages[i++] as number) + 1
        this.#trimmed.add(to - 1)
      }
      ranges.push([from * pageBytes, to * pageBytes])
    }
    if (ranges.length > 0) this.#freed.trim(ranges)
  }

  // Blocks that have some of these granules were given back by a function that we don't know: they live no more. So no two blocks ever
  // overlap, and the end that follows a block's start is its own.
  #clear(first: number, last: number): void {
    const before = this.#covering(first)
    if (before >= 0) this.#uncount(before * granule)
    for (let page = Math.floor(first / pageGranules); page * pageGranules <= last; page++) {
      if (this.#live[page] === 0) continue
      const from = Math.max(first, page * pageGranules)
      const to = Math.min(last, (page + 1) * pageGranules - 1)
      for (let start = nextSet(this.#starts, from, to); start >= 0; start = nextSet(this.#starts, start, to))
        this.#uncount(start * granule)
    }
  }

  // The first granule of the living block that has this one, or -1.
  #covering(at: number): number {
    const page = Math.floor(at / pageGranules)
    if (this.#live[page] === 0) return -1
    const behind = (page + 1) * pageGranules - 1
    const start = nextSet(this.#starts, at, behind)
    if (start === at) return at
    const end = nextSet(this.#ends, at, start < 0 ? behind : start - 1)
    if (end >= 0) return previousSet(this.#starts, at, 0)
    // What has it would have to end before the next start.
    if (start >= 0) return -1
    const first = page * pageGranules
    const begun = previousSet(this.#starts, at, first)
    const ended = previousSet(this.#ends, at, first)
    if (begun < 0 && ended < 0) return previousSet(this.#starts, first, 0)
    return begun > ended ? begun : -1
  }

  // A block that we know of lives no more; the byte behind it.
  #uncount(at: number): number {
    let word = (at / granule) >>> 5
    let bits = (this.#ends[word] as number) & (-1 << ((at / granule) & 31))
    while (bits === 0) bits = this.#ends[++word] as number
    const end = word * 32 + (31 - Math.clz32(bits & -bits))
    clear(this.#starts, at / granule)
    clear(this.#ends, end)
    const to = (end + 1) * granule
    for (let page = Math.floor(at / pageBytes); page * pageBytes < to; page++) {
      const left = (this.#live[page] as number) - 1
      this.#live[page] = left
      if (left === 0) this.#dead.add(page)
    }
    return to
  }

  #fit(last: number): void {
    const pages = Math.max(1024, 2 ** Math.ceil(Math.log2(Math.floor(last / pageBytes) + 1)))
    const live = new Uint16Array(pages)
    live.set(this.#live)
    this.#live = live
    const words = (pages * pageBytes) / granule / 32
    const [starts, ends] = [new Uint32Array(words), new Uint32Array(words)]
    starts.set(this.#starts)
    ends.set(this.#ends)
    this.#starts = starts
    this.#ends = ends
  }
}

/** The first bit that is set in [from, to], or -1. */
function nextSet(bits: Uint32Array, from: number, to: number): number {
  for (let word = from >>> 5; word * 32 <= to; word++) {
    const some = (bits[word] as number) & (word === from >>> 5 ? -1 << (from & 31) : -1)
    if (some === 0) continue
    const bit = word * 32 + (31 - Math.clz32(some & -some))
    return bit <= to ? bit : -1
  }
  return -1
}
/** The last bit that is set in [from, to], or -1. */
function previousSet(bits: Uint32Array, to: number, from: number): number {
  for (let word = to >>> 5; word >= from >>> 5; word--) {
    const some = (bits[word] as number) & (word === to >>> 5 ? -1 >>> (31 - (to & 31)) : -1)
    if (some === 0) continue
    const bit = word * 32 + (31 - Math.clz32(some))
    return bit >= from ? bit : -1
  }
  return -1
}

const isSet = (bits: Uint32Array, i: number): boolean =>
  i >>> 5 < bits.length && ((bits[i >>> 5] as number) & (1 << (i & 31))) !== 0
const set = (bits: Uint32Array, i: number): void => {
  bits[i >>> 5] = (bits[i >>> 5] as number) | (1 << (i & 31))
}
const clear = (bits: Uint32Array, i: number): void => {
  bits[i >>> 5] = (bits[i >>> 5] as number) & ~(1 << (i & 31))
}
