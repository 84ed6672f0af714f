/**
 * An indexed binary heap of pages, the smallest key on top; equal keys in order of `set` and `raise`, the older first.
 *
 * A page that was raised stays where it is until it comes to the top: a page that is used a thousand times in between moves once.
 */
import { grown } from './lists.ts'

export class Priorities {
  readonly #heap: Int32Array
  #size = 0
  /** Of each page its place in the heap + 1, or 0. */
  #place = new Int32Array(1024)
  #key = new Float64Array(1024)
  #stamp = new Float64Array(1024)
  /** Key and stamp by which a page stands where it does in the heap: not greater than its own. */
  #oldKey = new Float64Array(1024)
  #oldStamp = new Float64Array(1024)
  #now = 0

  constructor(capacity: number) {
    this.#heap = new Int32Array(capacity)
  }

  get size(): number {
    return this.#size
  }
  has(page: number): boolean {
    return page < this.#place.length && this.#place[page] !== 0
  }
  key(page: number): number {
    return this.#key[page] as number
  }
  /** The page with the smallest key, or -1. */
  top(): number {
    while (this.#size > 0) {
      const page = this.#heap[0] as number
      if (this.#oldStamp[page] === this.#stamp[page]) return page
      this.#stand(page)
      this.#down(page, 0)
    }
    return -1
  }

  /** Adds a page or gives it another key. */
  set(page: number, key: number): void {
    if (page >= this.#place.length) {
      this.#place = grown(this.#place, page)
      this.#key = grown(this.#key, page)
      this.#stamp = grown(this.#stamp, page)
      this.#oldKey = grown(this.#oldKey, page)
      this.#oldStamp = grown(this.#oldStamp, page)
    }
    this.raise(page, key)
    this.#stand(page)
    const place = this.#place[page] as number
    if (place === 0) this.#up(page, this.#size++)
    else if (!this.#down(page, place - 1)) this.#up(page, place - 1)
  }

  /** Gives a page that is there a key that is not smaller than the one it has. */
  raise(page: number, key: number): void {
    this.#key[page] = key
    this.#stamp[page] = this.#now++
  }

  #stand(page: number): void {
    this.#oldKey[page] = this.#key[page] as number
    this.#oldStamp[page] = this.#stamp[page] as number
  }

  remove(page: number): void {
    const at = (this.#place[page] as number) - 1
    this.#place[page] = 0
    const last = this.#heap[--this.#size] as number
    if (last === page) return
    if (!this.#down(last, at)) this.#up(last, at)
  }

  /** All pages, the smallest key first. */
  pages(): number[] {
    const key = this.#key
    const stamp = this.#stamp
    return [...this.#heap.subarray(0, this.#size)].sort(
      (a, b) => (key[a] as number) - (key[b] as number) || (stamp[a] as number) - (stamp[b] as number),
    )
  }

  #before(a: number, b: number): boolean {
    const difference = (this.#oldKey[a] as number) - (this.#oldKey[b] as number)
    return difference === 0 ? (this.#oldStamp[a] as number) < (this.#oldStamp[b] as number) : difference < 0
  }

  #put(page: number, at: number): void {
    this.#heap[at] = page
    this.#place[page] = at + 1
  }

  #up(page: number, from: number): void {
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      const other = this.#heap[parent] as number
      if (!this.#before(page, other)) break
      this.#put(other, at)
      at = parent
    }
    this.#put(page, at)
  }

  #down(page: number, from: number): boolean {
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      if (
        child + 1 < this.#size &&
        this.#before(this.#heap[child + 1] as number, this.#heap[child] as number)
      )
        child++
      const other = this.#heap[child] as number
      if (!this.#before(other, page)) break
      this.#put(other, at)
      at = child
    }
    this.#put(page, at)
    return at !== from
  }
}
