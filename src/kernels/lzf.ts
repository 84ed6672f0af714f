/** Strings compressed by LZF. See assembly/lzf.ts. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'

interface LzfExports {
  readonly memory: WasmMemory
  unlzf(from: number, length: number, to: number, room: number): number
}

/** A copy of 32 bytes may begin at the last byte. */
const SLACK = 64

export class LzfKernel {
  readonly #wasm: LzfExports
  readonly #most: number

  /** For strings of up to `most` bytes, compressed and not. */
  constructor(most: number) {
    this.#wasm = instantiate('lzf') as LzfExports
    this.#most = most
  }

  /** What `packed` holds, if that is `size` bytes; good until the next call. */
  decode(packed: Uint8Array, size: number): Uint8Array | undefined {
    if (packed.length > this.#most || size > this.#most) return undefined
    const { memory, unlzf } = this.#wasm
    const to = START + packed.length + SLACK
    reserve(memory, to + size + SLACK)
    new Uint8Array(memory.buffer, START, packed.length).set(packed)
    return unlzf(START, packed.length, to, size) === size
      ? new Uint8Array(memory.buffer, to, size)
      : undefined
  }
}
