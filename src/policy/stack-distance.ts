/**
 * LRU for every number of frames in one pass (Mattson et al. 1970): a reference hits with c frames if fewer than c other pages were used since
 * the last reference to its page. Those are counted in a Fenwick tree over the times of last use, which is made anew with small
 * times whenever it is full, so that memory follows the footprint and not the length of the trace.
 */
import { grown } from './lists.ts'

export class StackDistances {
  /** Of each page the time of its last use, from 1; 0: never. */
  #last = new Int32Array(1024)
  #tree = new Int32Array(4097)
  /** Which page was used at a time, if that was its last use; else -1. */
  #page = new Int32Array(4097).fill(-1)
  #now = 0
  #live = 0
  /** References by stack distance, 1 being the page that was used last. */
  #histogram = new Float64Array(1024)
  #references = 0

  get references(): number {
    return this.#references
  }
  /** Different pages. */
  get footprint(): number {
    return this.#live
  }

  /** A reference to a page, by its dense number. */
  access(page: number): void {
    this.#references++
    if (page >= this.#last.length) this.#last = grown(this.#last, page)
    if (this.#now + 1 >= this.#tree.length) this.#compact()
    const last = this.#last[page] as number
    if (last === 0) this.#live++
    else {
      if (last === this.#now) {
        ;(this.#histogram[1] as number)++
        return
      }
      const distance = this.#live - this.#countTo(last) + 1
      if (distance >= this.#histogram.length) this.#histogram = grown(this.#histogram, distance)
      ;(this.#histogram[distance] as number)++
      this.#add(last, -1)
      this.#page[last] = -1
    }
    const now = ++this.#now
    this.#add(now, 1)
    this.#page[now] = page
    this.#last[page] = now
  }

  /** Misses of LRU with each of these numbers of frames. */
  misses(frames: readonly number[]): number[] {
    const hits = new Float64Array(this.#histogram.length)
    for (let d = 1; d < hits.length; d++) hits[d] = (hits[d - 1] as number) + (this.#histogram[d] as number)
    return frames.map(count => this.#references - (hits[Math.min(count, hits.length - 1)] as number))
  }

  #add(at: number, by: number): void {
    for (let i = at; i < this.#tree.length; i += i & -i) (this.#tree[i] as number) += by
  }

  #countTo(at: number): number {
    let sum = 0
    for (let i = at; i > 0; i -= i & -i) sum += this.#tree[i] as number
    return sum
  }

  #compact(): void {
    const size = Math.max(4096, this.#live * 4) + 1
    const page = new Int32Array(size).fill(-1)
    let now = 0
    for (let time = 1; time <= this.#now; time++) {
      const used = this.#page[time] as number
      if (used < 0) continue
      page[++now] = used
      this.#last[used] = now
    }
    const tree = new Int32Array(size)
    for (let i = 1; i < size; i++) {
      if (i <= now) (tree[i] as number)++
      const parent = i + (i & -i)
      if (parent < size) (tree[parent] as number) += tree[i] as number
    }
    this.#page = page
    this.#tree = tree
    this.#now = now
  }
}
