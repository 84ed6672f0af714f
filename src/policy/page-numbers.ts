/**
 * Sparse page numbers to dense ones and back: open addressing with linear probing in typed arrays. Numbers are given out from 0 in
 * order of first use, so a trace's dense numbers are as many as its footprint.
 */
import { grown } from './lists.ts'

export class PageNumbers {
  /** Of each dense number, the page. */
  #pages = new Float64Array(1024)
  /** Dense number + 1, or 0. */
  #table = new Int32Array(4096)
  #count = 0
  // Neighbours in a trace are often the same page.
  #last = -1
  #lastDense = -1

  /** How many different pages have been seen. */
  get count(): number {
    return this.#count
  }

  /** The dense number of a page (an integer from 0 to 2^53), a new one if it is new. */
  of(page: number): number {
    if (page !== this.#last) {
      this.#lastDense = this.#find(page)
      this.#last = page
    }
    return this.#lastDense
  }

  #find(page: number): number {
    const mask = this.#table.length - 1
    let at = hash(page) & mask
    for (;;) {
      const dense = this.#table[at] as number
      if (dense === 0) return this.#add(page, at)
      if (this.#pages[dense - 1] === page) return dense - 1
      at = (at + 1) & mask
    }
  }

  /** The page of a dense number. */
  page(dense: number): number {
    return this.#pages[dense] as number
  }

  #add(page: number, at: number): number {
    const dense = this.#count++
    if (dense >= this.#pages.length) this.#pages = grown(this.#pages, dense)
    this.#pages[dense] = page
    this.#table[at] = dense + 1
    if (this.#count * 2 > this.#table.length) this.#rehash()
    return dense
  }

  #rehash(): void {
    const table = new Int32Array(this.#table.length * 2)
    const mask = table.length - 1
    for (let dense = 0; dense < this.#count; dense++) {
      let at = hash(this.#pages[dense] as number) & mask
      while (table[at] !== 0) at = (at + 1) & mask
      table[at] = dense + 1
    }
    this.#table = table
  }
}

// Pages come in runs: neighbours must not collide with other runs' neighbours, so all bits are mixed.
function hash(page: number): number {
  let h = Math.imul(page | 0, 0x9e3779b1) ^ Math.imul((page / 0x100000000) | 0, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}
