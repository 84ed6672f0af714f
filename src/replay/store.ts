// Many small records in few large buffers: an array of its own for each would take more than what is in it.
//
// Nothing is ever moved or written again where it is, so what was read stays right; who knows all that is alive makes a new store of it when too much is not.

const chunkBytes = 2 ** 16
/** Less that is not needed any more is not worth copying the rest. */
const leastWaste = 2 ** 18

export class Store {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = []
  #end = chunkBytes
  #live = 0

  /** Where a record of at most 64 KiB is: more than 0. */
  put(record: Uint8Array): number {
    if (this.#end + record.length > chunkBytes) {
      this.#chunks.push(new Uint8Array(chunkBytes))
      // No record is at 0.
      this.#end = this.#chunks.length === 1 ? 1 : 0
    }
    const place = (this.#chunks.length - 1) * chunkBytes + this.#end
    ;(this.#chunks.at(-1) as Uint8Array).set(record, this.#end)
    this.#end += record.length
    this.#live += record.length
    return place
  }

  /** The bytes from a place on, to the end of their buffer. */
  at(place: number): Uint8Array {
    return (this.#chunks[Math.floor(place / chunkBytes)] as Uint8Array).subarray(place % chunkBytes)
  }

  /** A record of so many bytes is not needed any more. */
  free(length: number): void {
    this.#live -= length
  }

  /** Nothing in it is needed any more: its memory is free at once, not when V8 finds it. */
  release(): void {
    for (const chunk of this.#chunks.splice(0)) chunk.buffer.transfer(0)
  }

  /** Whether most of what is here is needed no more. */
  get wasteful(): boolean {
    const all = this.#chunks.length * chunkBytes
    return all - this.#live > Math.max(leastWaste, all / 2)
  }
}
