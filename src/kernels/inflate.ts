/** The inflate kernel: one stream at a time, stopped and resumed anywhere. See assembly/inflate.ts. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'

interface InflateExports {
  readonly memory: WasmMemory
  setup(): void
  begin(): void
  jump(stored: number): void
  position(): number
  bit(): number
  output(): number
  blockAt(): number
  blockBit(): number
  inside(): number
  storedRest(): number
  run(
    from: number,
    bit: number,
    end: number,
    more: number,
    out: number,
    stop: number,
    history: number,
  ): number
  adler(sum: number, from: number, length: number): number
}

/** Bytes that matches reach back at most. */
export const WINDOW = 32768
/** Readable bytes behind the input, which `run` wants zero where no input follows. */
const PAD = 1024
const SLACK = 512

/** Why `run` stopped: no room left, no input left, the end of the stream, or what is wrong with it. */
export type InflateStop =
  | 'room'
  | 'input'
  | 'end'
  | 'bad block type'
  | 'bad stored length'
  | 'bad code lengths'
  | 'bad symbol'
  | 'bad distance'

const STOPS: readonly InflateStop[] = [
  'room',
  'input',
  'end',
  'bad block type',
  'bad stored length',
  'bad code lengths',
  'bad symbol',
  'bad distance',
]

export class InflateKernel {
  readonly inputCapacity: number
  readonly outputCapacity: number
  /** Compressed bytes. */
  readonly input: Uint8Array
  /** What they make; up to 258 bytes more than asked for. */
  readonly output: Uint8Array
  readonly #pad: Uint8Array
  readonly #wasm: InflateExports

  /** Room for `inputCapacity` compressed bytes and for `outputCapacity` bytes made of them (a little more is there). */
  constructor(inputCapacity: number, outputCapacity: number) {
    this.inputCapacity = inputCapacity
    this.outputCapacity = outputCapacity
    const wasm = instantiate('inflate') as InflateExports
    const out = START + inputCapacity + PAD
    reserve(wasm.memory, out + outputCapacity + SLACK)
    const { buffer } = wasm.memory
    this.input = new Uint8Array(buffer, START, inputCapacity)
    this.#pad = new Uint8Array(buffer, START, inputCapacity + PAD)
    this.output = new Uint8Array(buffer, out, outputCapacity + SLACK)
    this.#wasm = wasm
    wasm.setup()
  }

  /** A block, the first of a stream or any, begins where the next `run` does. */
  begin(): void {
    this.#wasm.begin()
  }

  /** After a run without room for output has read a block's header: the next run goes on inside that block. */
  jump(storedRest: number): void {
    this.#wasm.jump(storedRest)
  }

  /**
   * Decodes from bit `bit` of `input[from]`, until `output` is filled from `out` up to `stop` or a bit beyond. `end` is where
   * the input ends; `more` says whether it goes on after that. Matches reach back to `history` in `output`.
   */
  run(
    from: number,
    bit: number,
    end: number,
    more: boolean,
    out: number,
    stop: number,
    history: number,
  ): InflateStop {
    if (!more) this.#pad.fill(0, end, end + PAD)
    const base = this.output.byteOffset
    const status = this.#wasm.run(
      START + from,
      bit,
      START + end,
      more ? 1 : 0,
      base + out,
      base + stop,
      base + history,
    )
    return STOPS[status] as InflateStop
  }

  /** Where the last run stopped: byte of `input`, and bit in it. */
  get position(): number {
    return this.#wasm.position() - START
  }

  get bit(): number {
    return this.#wasm.bit()
  }

  /** The end of what is made, in `output`. */
  get made(): number {
    return this.#wasm.output() - this.output.byteOffset
  }

  /** Where in `input` the last run read the header of the block that it stopped in; -1 if it read none. */
  get blockAt(): number {
    return Math.max(-1, this.#wasm.blockAt() - START)
  }

  get blockBit(): number {
    return this.#wasm.blockBit()
  }

  /** Whether the last run stopped inside a block, not before one. */
  get insideBlock(): boolean {
    const mode = this.#wasm.inside()
    return mode === 1 || mode === 2
  }

  /** Bytes that are left of a stored block; 0 in others. */
  get storedRest(): number {
    return this.#wasm.inside() === 2 ? this.#wasm.storedRest() : 0
  }

  /** Adler-32 of `length` bytes of `output` at `from`, going on from `sum` (1 at first). */
  adler(sum: number, from: number, length: number): number {
    return this.#wasm.adler(sum, this.output.byteOffset + from, length) >>> 0
  }
}
