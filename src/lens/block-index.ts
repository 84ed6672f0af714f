/**
 * Checkpoints of a variable-width text: for each block of BLOCK backing bytes, two bytes.
 *
 *   bits 0 to 12   units of the view that the characters make which begin in the block
 *   bits 13 to 14  bytes at the block's start that belong to a character of the block before
 *   bit 15         the block is not valid text, or ends early: it must be converted with care
 *
 * A sum every 64 blocks makes it a search of a few steps; 1 GB of text has 0.5 MB of index.
 */
import { BLOCK } from '../kernels/text.ts'

const GROUP = 64

export class BlockIndex {
  readonly entries: Uint16Array
  /** Units of the whole view. */
  readonly total: number
  /** What the last `find` found: the block, and the units before it. */
  block = 0
  before = 0
  readonly #sums: Float64Array

  constructor(entries: Uint16Array) {
    this.entries = entries
    this.#sums = new Float64Array(Math.ceil(entries.length / GROUP) + 1)
    let sum = 0
    for (const [i, entry] of entries.entries()) {
      if (i % GROUP === 0) this.#sums[i / GROUP] = sum
      sum += entry & 0x1fff
    }
    this.total = sum
  }

  units(block: number): number {
    return (this.entries[block] ?? 0) & 0x1fff
  }

  /** Where in the backing the first character of a block begins; a block behind the last begins at `size`. */
  start(block: number, size: number): number {
    const entry = this.entries[block]
    return entry === undefined ? size : block * BLOCK + ((entry >> 13) & 3)
  }

  careful(block: number): boolean {
    return ((this.entries[block] ?? 0) & 0x8000) !== 0
  }

  /** The block in which unit `unit` (less than total) is made. */
  find(unit: number): void {
    let low = 0
    let high = Math.max(0, Math.ceil(this.entries.length / GROUP) - 1)
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#sums[middle] ?? 0) <= unit) low = middle
      else high = middle - 1
    }
    this.block = low * GROUP
    this.before = this.#sums[low] ?? 0
    while (this.before + this.units(this.block) <= unit) this.before += this.units(this.block++)
  }

  /** Makes `block` and `before` those of a block. */
  goTo(block: number): void {
    const group = Math.floor(block / GROUP)
    this.block = group * GROUP
    this.before = this.#sums[group] ?? 0
    while (this.block < block) this.before += this.units(this.block++)
  }
}

/** An entry of the index. */
export function entry(units: number, skipped: number, careful: boolean): number {
  return units | (skipped << 13) | (careful ? 0x8000 : 0)
}
