/**
 * Doubly linked lists of pages in typed arrays. A page is in one list at most; lists are numbered from 1.
 *
 *   node       0        1 … k            k + 1 + page
 *   is         unused   head of list n   page
 *
 * A node's two links lie side by side, at twice its number: next, then previous, so that what is far apart costs one line of the cache. Links
 * are such places. `next` runs from the newest page (the head's next) to the oldest (the head's previous), round to the head.
 */
export class Lists {
  /** Of each page, the list it is in, or 0. Read it, never write it. */
  in: Uint8Array
  /** Pages in each list. */
  readonly size: Int32Array
  /** Place of page 0. */
  readonly #first: number
  #links: Int32Array

  constructor(lists: number) {
    this.#first = (lists + 1) * 2
    this.size = new Int32Array(lists + 1)
    this.in = new Uint8Array(1024)
    this.#links = new Int32Array(2048 + this.#first)
    for (let head = 2; head <= lists * 2; head += 2) this.#links[head] = this.#links[head + 1] = head
  }

  /** Makes room for a page. */
  fit(page: number): void {
    if (page < this.in.length) return
    this.in = grown(this.in, page)
    this.#links = grown(this.#links, this.in.length * 2 + this.#first)
  }

  /** Puts a page that is in no list at the newest end. */
  push(list: number, page: number): void {
    this.#link(list, page)
    this.in[page] = list
    ;(this.size[list] as number)++
  }

  /** Takes a page out of its list. */
  remove(page: number): void {
    this.#unlink(page)
    ;(this.size[this.in[page] as number] as number)--
    this.in[page] = 0
  }

  /** Moves a page to the newest end of another list. */
  move(list: number, page: number): void {
    this.#unlink(page)
    ;(this.size[this.in[page] as number] as number)--
    this.push(list, page)
  }

  /** Moves a page to the newest end of its own list. */
  renew(page: number): void {
    const links = this.#links
    const list = this.in[page] as number
    const head = list * 2
    const node = page * 2 + this.#first
    const prev = links[node + 1] as number
    if (prev === head) return
    const next = links[node] as number
    links[prev] = next
    links[next + 1] = prev
    const first = links[head] as number
    links[node] = first
    links[node + 1] = head
    links[first + 1] = node
    links[head] = node
  }

  #link(list: number, page: number): void {
    const links = this.#links
    const head = list * 2
    const node = page * 2 + this.#first
    const next = links[head] as number
    links[node] = next
    links[node + 1] = head
    links[next + 1] = node
    links[head] = node
  }

  #unlink(page: number): void {
    const links = this.#links
    const node = page * 2 + this.#first
    const next = links[node] as number
    const prev = links[node + 1] as number
    links[prev] = next
    links[next + 1] = prev
  }

  /** The oldest page, or -1. */
  oldest(list: number): number {
    return this.#page(this.#links[list * 2 + 1] as number)
  }

  /** The next newer page of the same list, or -1. */
  newer(page: number): number {
    return this.#page(this.#links[page * 2 + this.#first + 1] as number)
  }

  #page(node: number): number {
    return node < this.#first ? -1 : (node - this.#first) >> 1
  }

  /** The pages of a list, newest first. */
  pages(list: number): number[] {
    const pages = []
    for (let node = this.#links[list * 2] as number; node !== list * 2; node = this.#links[node] as number)
      pages.push(this.#page(node))
    return pages
  }
}

/** A copy with room for `index`, at least twice as long. */
export function grown<T extends Uint8Array | Int32Array | Float64Array>(array: T, index: number): T {
  const larger = new (array.constructor as new (length: number) => T)(Math.max(array.length * 2, index + 1))
  larger.set(array)
  return larger
}
