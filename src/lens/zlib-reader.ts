/** Short zlib streams in a file, read one after the other: the objects of a git pack. */
import type { Backing } from '../backing/backing.ts'
import { InflateKernel, WINDOW } from '../kernels/inflate.ts'
import { headerLength } from './deflate-framing.ts'
import { LensError } from './errors.ts'

const INPUT = 2 ** 17
const OUTPUT = 2 ** 18
const LOW = 2048

export class ZlibReader {
  readonly #lens: string
  readonly #backing: Backing
  readonly #kernel = new InflateKernel(INPUT, WINDOW + OUTPUT)
  /** Offset in the backing of input[0], and how much is there. */
  #source = 0
  #filled = 0

  constructor(lens: string, backing: Backing) {
    this.#lens = lens
    this.#backing = backing
  }

  /** Up to `length` bytes (at most 64 KiB) of the backing from `offset` on, until the next call. */
  peek(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.#backing.size)
    if (offset < this.#source || end > this.#source + this.#filled) {
      this.#source = offset
      this.#filled = this.#backing.read(offset, this.#kernel.input)
    }
    const at = offset - this.#source
    return this.#kernel.input.subarray(at, Math.max(at, Math.min(at + length, this.#filled)))
  }

  /**
   * Decodes the stream at `offset`, which must make `size` bytes with the right checksum; `into`, if given, gets them. The offset
   * behind it.
   */
  inflate(offset: number, size: number, into?: Uint8Array): number {
    const length = headerLength('zlib', this.peek(offset, 2))
    if (typeof length === 'string') throw this.#corrupt(length, offset)
    const kernel = this.#kernel
    let position = offset + length
    let bit = 0
    let to = 0
    let made = 0
    let sum = 1
    kernel.begin()
    for (;;) {
      this.peek(position, LOW)
      const more = this.#source + this.#filled < this.#backing.size
      const from = to
      const got = kernel.run(position - this.#source, bit, this.#filled, more, from, WINDOW + OUTPUT, 0)
      position = this.#source + kernel.position
      bit = kernel.bit
      to = kernel.made
      sum = kernel.adler(sum, from, to - from)
      if (made + to - from > size) throw this.#corrupt('it is longer than it says', offset)
      into?.set(kernel.output.subarray(from, to), made)
      made += to - from
      if (got === 'end') break
      if (got === 'room') {
        kernel.output.copyWithin(0, to - WINDOW, to)
        to = WINDOW
      } else if (got !== 'input' || !more) throw this.#corrupt(got, position)
    }
    if (bit > 0) position++
    const trailer = Buffer.from(this.peek(position, 4))
    if (made !== size || trailer.length < 4 || trailer.readUInt32BE(0) !== sum)
      throw this.#corrupt('its size or checksum is wrong', offset)
    return position + 4
  }

  #corrupt(what: string, offset: number): LensError {
    return new LensError('corrupt', this.#lens, `a zlib stream is damaged: ${what}`, offset)
  }
}
