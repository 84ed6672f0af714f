// How many pages a fault should bring. Sixteen streams are remembered; a fault next to the end (or the start) of
// what one of them brought last continues it, and the next cluster is twice as large, up to 256 pages. A fault that
// continues none starts a new stream with the base size, which shrinks to one page while faults are random
// (a cluster that nobody reads is wasted time) and recovers as soon as streams are found again.
import { pageBytes } from './journal.ts'

const count = 16
const most = 256
const baseMost = 16

/** What to bring: `pages` from the faulting one on, or up to it when `backward`. `first`: no stream was continued. */
export interface Want {
  pages: number
  backward: boolean
  first: boolean
}

export class Streams {
  readonly #start = new Float64Array(count).fill(-1)
  readonly #end = new Float64Array(count).fill(-1)
  readonly #size = new Uint16Array(count)
  readonly #used = new Uint32Array(count)
  readonly #matched = new Uint8Array(count)
  #clock = 0
  #base = baseMost
  #current = 0
  readonly #want: Want = { pages: 1, backward: false, first: true }

  /** Sizes the cluster for a fault on the page at `at`. The result is valid until the next call. */
  next(at: number): Want {
    const want = this.#want
    this.#clock++
    let oldest = 0
    for (let i = 0; i < count; i++) {
      const forward = this.#end[i] === at
      if (forward || this.#start[i] === at + pageBytes) {
        this.#current = i
        this.#used[i] = this.#clock
        this.#matched[i] = 1
        if (this.#base < baseMost) this.#base *= 2
        this.#size[i] = Math.min(most, (this.#size[i] as number) * 2)
        want.pages = this.#size[i] as number
        want.backward = !forward
        want.first = false
        return want
      }
      if ((this.#used[i] as number) < (this.#used[oldest] as number)) oldest = i
    }
    if (this.#used[oldest] !== 0 && this.#matched[oldest] === 0 && this.#base > 1) this.#base /= 2
    this.#current = oldest
    this.#used[oldest] = this.#clock
    this.#matched[oldest] = 0
    this.#size[oldest] = this.#base
    want.pages = this.#base
    want.backward = false
    want.first = true
    return want
  }

  /** Where the current stream goes on, if it is a long forward one; else -1. */
  ahead(): number {
    const i = this.#current
    return this.#size[i] === most && this.#want.backward === false ? (this.#end[i] as number) : -1
  }

  /** Tells that the current stream has been brought up to `end`. */
  extended(end: number): void {
    this.#end[this.#current] = end
  }

  /** Tells what the last `next` led to: [start, end) is there now. */
  brought(start: number, end: number): void {
    this.#start[this.#current] = start
    this.#end[this.#current] = end
  }
}
