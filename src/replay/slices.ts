// What the last epochs that were replayed have made of some pages, in a few buffers that are used again: a fault is not to leave garbage behind.
import type { Piece } from './lenses.ts'

/** So many epochs are remembered. */
const most = 3

interface Made {
  readonly epoch: number
  readonly buffer: Uint8Array
  /** Where in the buffer each piece is. */
  readonly places: Map<number, number>
}

// An epoch's memory has at most 4 GiB, and a piece at most a page.
const keyOf = ({ from, length }: Piece): number => from * 8192 + length

export class Slices {
  /** Those used last are the last. */
  #all: Made[] = []

  get(piece: Piece): Uint8Array | undefined {
    const made = this.#all.find(({ epoch }) => epoch === piece.epoch)
    const at = made?.places.get(keyOf(piece))
    return made === undefined || at === undefined ? undefined : made.buffer.subarray(at, at + piece.length)
  }

  /** Remembers pieces of what an epoch has left in `memory`, in the place of another one's if there are too many. Those of `but` stay. */
  put(epoch: number, pieces: readonly Piece[], memory: Uint8Array, but: readonly number[]): void {
    const places = new Map<number, number>()
    const wanted: Piece[] = []
    let size = 0
    for (const piece of pieces) {
      const key = keyOf(piece)
      if (places.has(key)) continue
      places.set(key, size)
      wanted.push(piece)
      size += piece.length
    }
    let old = this.#all.findIndex(made => made.epoch === epoch)
    if (old < 0 && this.#all.length >= most) old = this.#all.findIndex(made => !but.includes(made.epoch))
    const [before] = old < 0 ? [] : this.#all.splice(old, 1)
    const buffer = before !== undefined && before.buffer.length >= size ? before.buffer : new Uint8Array(size)
    size = 0
    for (const { from, length } of wanted) {
      buffer.set(memory.subarray(from, from + length), size)
      size += length
    }
    this.#all.push({ epoch, buffer, places })
  }

  clear(): void {
    this.#all = []
  }
}
