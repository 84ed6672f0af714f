/** The compressions of TIFF. See assembly/tiff.ts. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'

interface TiffExports {
  readonly memory: WasmMemory
  unpackBits(from: number, length: number, to: number, room: number): number
  unlzw(from: number, length: number, to: number, room: number, table: number): number
  swap(at: number, bytes: number, width: number): void
  undoDifferences(at: number, rows: number, row: number, channels: number, width: number): void
  undoFloats(at: number, rows: number, row: number, channels: number, width: number, spare: number): void
}

/** Rows of samples of one strip or tile. */
export interface SampleRows {
  readonly rows: number
  /** Bytes of a row. */
  readonly row: number
  readonly channels: number
  /** Bytes of a sample. */
  readonly width: number
}

const TABLE = 8 * 4096

export class TiffKernel {
  /** What is compressed. */
  readonly packed: Uint8Array
  /** What is made of it. */
  readonly made: Uint8Array
  readonly #spare: number
  readonly #wasm: TiffExports

  /** Room for bytes of a strip or tile, compressed and not, and of its rows. */
  constructor(packed: number, made: number, row: number) {
    const wasm = instantiate('tiff') as TiffExports
    const from = START + TABLE
    const to = (from + packed + 63) & ~63
    this.#spare = to + made + 64
    reserve(wasm.memory, this.#spare + row + 64)
    this.packed = new Uint8Array(wasm.memory.buffer, from, packed)
    this.made = new Uint8Array(wasm.memory.buffer, to, made)
    this.#wasm = wasm
  }

  /** Bytes of `made`, up to `wanted`, that the first `length` bytes of `packed` give. */
  unpackBits(length: number, wanted: number): number {
    return this.#wasm.unpackBits(this.packed.byteOffset, length, this.made.byteOffset, wanted)
  }

  /** The same of LZW. */
  unlzw(length: number, wanted: number): number {
    return this.#wasm.unlzw(this.packed.byteOffset, length, this.made.byteOffset, wanted, START)
  }

  /** Turns the first `bytes` bytes of `made` from big-endian to little-endian. */
  swap(bytes: number, width: number): void {
    this.#wasm.swap(this.made.byteOffset, bytes, width)
  }

  /** Undoes a predictor, 2 or 3, in the rows that `made` begins with. */
  undo(predictor: 2 | 3, { rows, row, channels, width }: SampleRows): void {
    const at = this.made.byteOffset
    if (predictor === 2) this.#wasm.undoDifferences(at, rows, row, channels, width)
    else this.#wasm.undoFloats(at, rows, row, channels, width, this.#spare)
  }
}
