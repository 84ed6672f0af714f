/** Which block owns which bytes: disjoint intervals, by address. */
import type { Block } from './table.ts'

export interface Piece {
  readonly start: number
  readonly end: number
  /** Undefined: nobody's. */
  readonly owner: Block | undefined
}

export class Owners {
  readonly #pieces: { start: number; end: number; owner: Block }[] = []

  /** Blocks that come first own what later ones claim too. In order of address they cost nothing. */
  constructor(blocks: Iterable<Block>) {
    for (const block of blocks) this.#add(block)
  }

  #add(block: Block): void {
    const start = block.address
    const end = start + block.bytes
    if (start >= (this.#pieces.at(-1)?.end ?? 0)) {
      this.#pieces.push({ start, end, owner: block })
      return
    }
    // All of them first: what is put in changes what is split.
    const pieces = Array.from(this.split(start, end))
    for (const free of pieces)
      if (free.owner === undefined)
        this.#pieces.splice(this.#behind(free.start), 0, { start: free.start, end: free.end, owner: block })
  }

  // Index of the first piece that ends behind an address.
  #behind(address: number): number {
    let low = 0
    let high = this.#pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#pieces[middle]?.end ?? 0) <= address) low = middle + 1
      else high = middle
    }
    return low
  }

  /** All of [start, end), cut where owners change. */
  *split(start: number, end: number): Generator<Piece> {
    let at = start
    for (let i = this.#behind(start); at < end; i++) {
      const piece = this.#pieces[i]
      if (piece === undefined || piece.start >= end) break
      if (piece.start > at) yield { start: at, end: piece.start, owner: undefined }
      const from = Math.max(at, piece.start)
      at = Math.min(end, piece.end)
      yield { start: from, end: at, owner: piece.owner }
    }
    if (at < end) yield { start: at, end, owner: undefined }
  }
}
