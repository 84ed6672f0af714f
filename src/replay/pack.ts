// Small blocks packed with zstd, with contexts and buffers that are used again: what is kept for replays comes in thousands of blocks of some hundred
// bytes. A first byte says whether the rest is packed.
import { type BlockCodec, blockCodec } from '../sys/codecs.ts'
import { arena } from '../sys/ffi.ts'

const room = 2 ** 17
const plain = 0
/** Else: the second to fourth byte are the length of what is packed. */
const packed = 1

export class Packer {
  readonly #codec: BlockCodec = blockCodec()
  readonly #in = arena(room)
  readonly #out = arena(room)

  pack(bytes: Uint8Array): Uint8Array {
    if (bytes.length >= 48 && bytes.length <= room) {
      this.#in.bytes.set(bytes)
      const size = this.#codec.compress(this.#in.address, bytes.length, this.#out.address, room)
      if (size > 0 && size + 4 < bytes.length + 1) {
        const out = new Uint8Array(size + 4)
        out[0] = packed
        out[1] = bytes.length & 255
        out[2] = (bytes.length >> 8) & 255
        out[3] = bytes.length >> 16
        out.set(this.#out.bytes.subarray(0, size), 4)
        return out
      }
    }
    const out = new Uint8Array(bytes.length + 1)
    out.set(bytes, 1)
    return out
  }

  /** What was packed; valid until the next call. */
  unpack(block: Uint8Array): Uint8Array {
    if (block[0] === plain) return block.subarray(1)
    const length = (block[1] as number) | ((block[2] as number) << 8) | ((block[3] as number) << 16)
    this.#in.bytes.set(block.subarray(4))
    const got = this.#codec.decompress(this.#in.address, block.length - 4, this.#out.address, room)
    if (got !== length) throw new Error(`lethe: a packed block of ${length} bytes came out with ${got}`)
    return this.#out.bytes.subarray(0, length)
  }
}
