/**
 * Doubly linked lists of pages in typed arrays. A page is in one list at most; lists are numbered from 1.
 *
 *   node       0        1 … k            k + 1 + page
 *   is         unused   head of list n   page
 *
 * `next` runs from the newest page (the head's next) to the oldest (the head's prev), round to the head.
 */
export class Lists {
  /** Of each page, the list it is in, or 0. Read it, never write it. */
  in: Uint8Array
  /** Pages in each list. */
  readonly size: Int32Array
  readonly #first: number
  #next: Int32Array
  #prev: Int32Array

  constructor(lists: number) {
    this.#first = lists + 1
    this.size = new Int32Array(lists + 1)
    this.in = new Uint8Array(1024)
    this.#next = new Int32Array(1024 + this.#first)
    this.#prev = new Int32Array(1024 + this.#first)
    for (let list = 1; list <= lists; list++) this.#next[list] = this.#prev[list] = list
  }

  /** Makes room for a page. */
  fit(page: number): void {
    if (page < this.in.length) return
    this.in = grown(this.in, page)
    this.#next = grown(this.#next, page + this.#first)
    this.#prev = grown(this.#prev, page + this.#first)
  }

  /** Puts a page that is in no list at the newest end. */
  push(list: number, page: number): void {
    const node = page + this.#first
    const next = this.#next[list] as number
    this.#next[node] = next
    this.#prev[node] = list
    this.#prev[next] = node
    this.#next[list] = node
    this.in[page] = list
    ;(this.size[list] as number)++
  }

  /** Takes a page out of its list. */
  remove(page: number): void {
    const node = page + this.#first
    const next = this.#next[node] as number
    const prev = this.#prev[node] as number
    this.#prev[next] = prev
    this.#next[prev] = next
    ;(this.size[this.in[page] as number] as number)--
    this.in[page] = 0
  }

  /** Moves a page to the newest end of its own list. */
  renew(page: number): void {
    const list = this.in[page] as number
    const node = page + this.#first
    const prev = this.#prev[node] as number
    if (prev === list) return
    const next = this.#next[node] as number
    this.#prev[next] = prev
    this.#next[prev] = next
    const first = this.#next[list] as number
    this.#next[node] = first
    this.#prev[node] = list
    this.#prev[first] = node
    this.#next[list] = node
  }

  /** The oldest page, or -1. */
  oldest(list: number): number {
    const node = this.#prev[list] as number
    return node < this.#first ? -1 : node - this.#first
  }

  /** The next newer page of the same list, or -1. */
  newer(page: number): number {
    const node = this.#prev[page + this.#first] as number
    return node < this.#first ? -1 : node - this.#first
  }

  /** The pages of a list, newest first. */
  pages(list: number): number[] {
    const pages = []
    for (let node = this.#next[list] as number; node !== list; node = this.#next[node] as number)
      pages.push(node - this.#first)
    return pages
  }
}

/** A copy with room for `index`, at least twice as long. */
export function grown<T extends Uint8Array | Int32Array | Float64Array>(array: T, index: number): T {
  const larger = new (array.constructor as new (length: number) => T)(Math.max(array.length * 2, index + 1))
  larger.set(array)
  return larger
}
