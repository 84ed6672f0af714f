// The explanations of a journal: for each block a list of {next, first page, pages, backing, lens, offset}, newest first.
// Written by the server alone; who only reads sees each record whole, for it is linked in last.
import { blockPages, extentsAt, h, type JournalFile, maxExtents, pageBytes } from './journal-file.ts'
import { PagerError } from './errors.ts'

/** Where an explanation says that the bytes of a page are. */
export interface Place {
  backing: number
  offset: number
  /** Pages from the asked one up to which the same explanation holds. */
  pages: number
}

export class Extents {
  readonly #file: JournalFile
  readonly #words: Uint32Array
  readonly #offsets: Float64Array
  #free: number[] = []

  constructor(file: JournalFile) {
    this.#file = file
    const { buffer } = file.memory.bytes
    this.#words = new Uint32Array(buffer, extentsAt, maxExtents * 6)
    this.#offsets = new Float64Array(buffer, extentsAt, maxExtents * 3)
  }

  /** Finds the records that none of the lists beginning at `heads` uses. */
  collect(heads: Iterable<number>): void {
    const used = new Set<number>()
    for (const head of heads) for (let e = head; e !== 0; e = this.#words[e * 6] as number) used.add(e)
    for (let e = 1; e < (this.#file.memory.u32[h.extents] as number); e++)
      if (!used.has(e)) this.#free.push(e)
  }

  /** Forgets what is free, after the file has been emptied. */
  reset(): void {
    this.#free = []
  }

  /** Gives back the whole list that begins at `head`. */
  release(head: number): void {
    for (let e = head; e !== 0; e = this.#words[e * 6] as number) this.#free.push(e)
  }

  /** Adds an explanation of `count` pages from page `first` of a block; `link` makes it the head of the list. */
  add(
    head: number,
    first: number,
    count: number,
    backing: number,
    offset: number,
    link: (record: number) => void,
  ): void {
    const x = this.#words
    const record = this.#free.pop() ?? this.#new()
    x[record * 6] = head
    x[record * 6 + 1] = first | (count << 16)
    x[record * 6 + 2] = backing
    x[record * 6 + 3] = 0 // lens: verbatim
    this.#offsets[record * 3 + 2] = offset
    link(record)
    // Older records that the new one hides completely go back.
    let before = record
    for (let e = head; e !== 0; ) {
      const next = x[e * 6] as number
      const span = x[e * 6 + 1] as number
      const f = span & 0xffff
      if (f >= first && f + (span >>> 16) <= first + count) {
        x[before * 6] = next
        this.#free.push(e)
      } else before = e
      e = next
    }
  }

  #new(): number {
    const { u32 } = this.#file.memory
    const n = Math.max(1, u32[h.extents] as number)
    if (n >= maxExtents) throw new PagerError('journal', `The journal is full: ${maxExtents} explanations`)
    if (n === 1 || n % 1024 === 0) this.#file.reserve(extentsAt + Math.floor(n / 1024) * 1024 * 24, 1024 * 24)
    u32[h.extents] = n + 1
    return n
  }

  /** The newest explanation of a block's page `page`, written to `into`; false when it has none. */
  place(head: number, page: number, into: Place): boolean {
    const x = this.#words
    let limit = blockPages
    for (let e = head; e !== 0; e = x[e * 6] as number) {
      const span = x[e * 6 + 1] as number
      const first = span & 0xffff
      const end = first + (span >>> 16)
      if (page >= first && page < end) {
        into.backing = x[e * 6 + 2] as number
        into.offset = (this.#offsets[e * 3 + 2] as number) + (page - first) * pageBytes
        into.pages = Math.min(end, limit) - page
        return true
      }
      // A newer explanation that begins behind this page hides the older ones from there on.
      if (first > page && first < limit) limit = first
    }
    return false
  }
}
