/** The filters of PNG rows. See assembly/png.ts. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'

interface PngExports {
  readonly memory: WasmMemory
  unfilter(from: number, rows: number, length: number, step: number, to: number): number
}

export class PngKernel {
  /** Bytes of a row, without its filter. */
  readonly length: number
  /** Rows that can be done at once. */
  readonly rows: number
  /** Filtered rows, each with its filter before it. */
  readonly filtered: Uint8Array
  /** The row before, then what is made of them. */
  readonly made: Uint8Array
  readonly #step: number
  readonly #wasm: PngExports

  /** For rows of `length` bytes whose pixels have `step` bytes (1 for less). */
  constructor(length: number, step: number, rows: number) {
    this.length = length
    this.rows = rows
    this.#step = step
    const wasm = instantiate('png') as PngExports
    const made = START + rows * (length + 1) + 64
    reserve(wasm.memory, made + (rows + 1) * length + 64)
    this.filtered = new Uint8Array(wasm.memory.buffer, START, rows * (length + 1))
    this.made = new Uint8Array(wasm.memory.buffer, made, (rows + 1) * length)
    this.#wasm = wasm
  }

  /** Undoes the filters of the first `rows` rows; how many were good. */
  unfilter(rows: number): number {
    return this.#wasm.unfilter(START, rows, this.length, this.#step, this.made.byteOffset + this.length)
  }
}
