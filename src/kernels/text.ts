/** Text kernel: conversions between encodings, from a buffer of RUN blocks to one that holds whatever they make. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'
import { Pool } from './pool.ts'

/** Bytes of a backing between two checkpoints. */
export const BLOCK = 4096
/** Blocks that are converted at a time. */
export const RUN = 8
/** A conversion looks at most this many bytes beyond the end of what it converts. */
export const AHEAD = 8

/** What can be converted, with the kernel's number for it and the bytes of a unit of the target. */
export const conversions = {
  'utf8-utf16': { number: 0, unit: 2 },
  'utf8-utf32': { number: 1, unit: 4 },
  'utf8-latin1': { number: 2, unit: 1 },
  'utf16-utf8': { number: 3, unit: 1 },
  'utf16-utf32': { number: 4, unit: 4 },
  'utf16-latin1': { number: 5, unit: 1 },
  'crlf-lf': { number: 6, unit: 1 },
  'newlines-lf': { number: 7, unit: 1 },
} as const

export type Conversion = keyof typeof conversions

export type Encoder =
  | 'encode16'
  | 'encode32'
  | 'encodeLatin1'
  | 'utf32To16'
  | 'widen8'
  | 'narrow16'
  | 'toCrlf'

type Encode = (at: number, end: number, out: number) => number

interface TextExports extends Readonly<Record<Encoder, Encode>> {
  readonly memory: WasmMemory
  measure(conversion: number, at: number, end: number, limit: number, out: number): number
  convert(conversion: number, at: number, end: number, limit: number, out: number, withCare: number): number
  fast(): number
  stopped(): number
  stoppedEarly(): number
}

export class TextKernel {
  /** Bytes to be converted: RUN blocks and what the last of them looks at. Positions below are in this. */
  readonly input: Uint8Array
  readonly output: Uint8Array
  readonly #wasm: TextExports

  constructor() {
    this.#wasm = instantiate('text') as TextExports
    const room = RUN * BLOCK + 64
    reserve(this.#wasm.memory, START + room + 4 * room + 128)
    this.input = new Uint8Array(this.#wasm.memory.buffer, START, room)
    this.output = new Uint8Array(this.#wasm.memory.buffer, START + room, 4 * room)
  }

  /**
   * Units that the characters make which begin in [from, end). Nothing is read from `limit` on, which is the end
   * of the backing or at least four bytes behind `end`. Overwrites the output.
   */
  measure(conversion: Conversion, from: number, end: number, limit: number): number {
    const { number } = conversions[conversion]
    const out = this.output.byteOffset
    return this.#wasm.measure(number, START + from, START + end, START + limit, out)
  }

  /** Whether what was measured is valid, so that it may be converted without care. */
  get fast(): boolean {
    return this.#wasm.fast() !== 0
  }

  /** Where the next character begins after what was measured, converted or encoded. */
  get stopped(): number {
    return this.#wasm.stopped() - START
  }

  /** Whether the last call met a character that the target does not have, and stopped there. */
  get stoppedEarly(): boolean {
    return this.#wasm.stoppedEarly() !== 0
  }

  /** Converts into the output; the bytes written. Without care only what measure found valid, up to a boundary. */
  convert(conversion: Conversion, from: number, end: number, limit: number, withCare: boolean): number {
    const { number } = conversions[conversion]
    const out = this.output.byteOffset
    return this.#wasm.convert(number, START + from, START + end, START + limit, out, withCare ? 1 : 0) - out
  }

  /** Encodes strictly into the output; the bytes written. `stopped` says how far it came. */
  encode(encoder: Encoder, from: number, end: number): number {
    const out = this.output.byteOffset
    return this.#wasm[encoder](START + from, START + end, out) - out
  }
}

export const textKernels: Pool<TextKernel> = new Pool(() => new TextKernel())
