// Epochs that the keeper has not looked at yet, in their order. What they have read takes memory: when the guest is calm, it is packed until it is wanted.
import { zstdCompressSync, zstdDecompressSync, constants } from 'node:zlib'
import type { Epoch } from './protocol.ts'

const params = { [constants.ZSTD_c_compressionLevel]: 1 }
/** Less is not worth it. */
const leastPacked = 4096

interface Entry {
  readonly epoch: Epoch
  /** Its inputs, packed; the epoch has none then. */
  packed: Uint8Array | undefined
}

export class Backlog {
  #entries: Entry[] = []
  /** Entries before this one are packed, or not worth it. */
  #packed = 0

  get length(): number {
    return this.#entries.length
  }

  /** The number of the next one. */
  get next(): number | undefined {
    return this.#entries[0]?.epoch.id
  }

  push(epoch: Epoch): void {
    this.#entries.push({ epoch, packed: undefined })
  }

  shift(): Epoch | undefined {
    const entry = this.#entries.shift()
    if (entry === undefined) return undefined
    this.#packed = Math.max(0, this.#packed - 1)
    const { epoch, packed } = entry
    if (packed === undefined) return epoch
    const inputs = zstdDecompressSync(packed)
    // Those who read it want words: a copy is aligned.
    return { ...epoch, inputs: inputs.byteOffset % 8 === 0 ? inputs : Uint8Array.from(inputs) }
  }

  /** All of them, without their inputs; none are left. */
  clear(): readonly Epoch[] {
    const all = this.#entries.map(({ epoch }) => epoch)
    this.#entries = []
    this.#packed = 0
    return all
  }

  /** Whether there are some to be packed. */
  get waits(): boolean {
    return this.#packed < this.#entries.length
  }

  /** Packs the next one. */
  pack(): void {
    const at = this.#packed++
    const entry = this.#entries[at]
    if (entry === undefined || entry.epoch.inputs.length < leastPacked) return
    const { epoch } = entry
    const packed = zstdCompressSync(epoch.inputs, { params })
    this.#entries[at] = { epoch: { ...epoch, inputs: new Uint8Array(0) }, packed: Uint8Array.from(packed) }
  }
}
