// Pages of blocks that the guest has given back. A page that is virtual is zeros at once: who uses the memory again does not wait for what was there. But
// epochs that wait for the keeper may have copied it: what made it is remembered until the epoch in which it was given back has been looked at. One
// that is not virtual is left alone until then.
import type { Piece } from './lenses.ts'

interface Block {
  readonly epoch: number
  readonly first: number
  readonly count: number
}

export class FreedBlocks {
  /** In the order in which they were given back. */
  readonly #blocks: Block[] = []
  /** Pages of them: in which epoch they were given back, and what made those that are zeros by now. */
  readonly #pages = new Map<number, { readonly epoch: number; readonly made: readonly Piece[] | undefined }>()

  add(epoch: number, first: number, count: number): void {
    this.#blocks.push({ epoch, first, count })
    for (let page = first; page < first + count; page++)
      if (this.before(page) === undefined) this.#pages.set(page, { epoch, made: undefined })
  }

  /** Whether a page that was last written in an epoch was given back later, in one that was not looked at yet, and is not known to be zeros. */
  has(page: number, written: number): boolean {
    const found = this.#pages.get(page)
    return found !== undefined && found.made === undefined && written < found.epoch
  }

  /** The page is zeros from now on. `made`: what made it. */
  emptied(page: number, made: readonly Piece[] = []): void {
    this.#pages.set(page, { epoch: this.#pages.get(page)?.epoch ?? 0, made })
  }

  /** What made a page that is zeros by now, while an epoch that waits may have copied it. */
  before(page: number): readonly Piece[] | undefined {
    return this.#pages.get(page)?.made
  }

  /** An epoch was looked at: `goes` is told of the pages that were given back up to then, each with the epoch in which it was. */
  looked(epoch: number, goes: (page: number, epoch: number) => void): void {
    while ((this.#blocks[0]?.epoch ?? Infinity) <= epoch) {
      const { epoch: id, first, count } = this.#blocks.shift() as Block
      for (let page = first; page < first + count; page++) {
        this.#pages.delete(page)
        goes(page, id)
      }
    }
  }
}
