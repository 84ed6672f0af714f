/** Number kernel: parses a chunk of a table or of JSON to the binary values of the wanted columns. */
import { fillDecimalTables } from './decimal-tables.ts'
import { instantiate, reserve, START, type WasmMemory } from './index.ts'
import { Pool } from './pool.ts'

/** Bytes of text between two checkpoints. */
export const TEXT_CHUNK = 16_384
/** The longest number, in bytes, that is surely seen whole; a longer one may be taken for text. */
export const TOKEN = 512
/** Columns from this one on are in no column layout. */
export const MOST_COLUMNS = 4096
const FULL = 131_072
const MOST_HARD = 1024

export const numberTypes = {
  f64: { number: 0, bytes: 8 },
  f32: { number: 1, bytes: 4 },
  i64: { number: 2, bytes: 8 },
  i32: { number: 3, bytes: 4 },
} as const

export type NumberType = keyof typeof numberTypes

/** nearest: correctly rounded. high, legacy: as pandas reads by default since 1.2, and before. */
export const methods = { nearest: 0, high: 1, legacy: 2 } as const

export type Method = keyof typeof methods

/** What is wanted of a text. No columns: all numbers. */
export interface Wanted {
  readonly type: NumberType
  readonly method: Method
  readonly columns: readonly number[] | undefined
}

/** Where parsing stands: a position in the input, a column, and the kernel's note of what it is in the middle of. */
export interface ParseState {
  position: number
  column: number
  inside: number
  /** Tokens that begin here or later are left alone. */
  end: number
  /** Bytes of the input. */
  limit: number
  /** Whether the backing ends at `limit`: a line end is put there, and `end` may be one more than `limit`. */
  lineEnd: boolean
}

interface NumberExports {
  readonly memory: WasmMemory
  columnsTable(): number
  fivesTable(): number
  tensTable(): number
  setup(all: number, last: number, type: number, method: number, delimiter: number, hardAt: number): void
  parse(
    at: number,
    end: number,
    limit: number,
    column: number,
    inside: number,
    to: number,
    room: number,
  ): number
  getPosition(): number
  getColumn(): number
  getInside(): number
  getHards(): number
}

export class NumberKernel {
  readonly input: Uint8Array
  readonly output: Uint8Array
  readonly state: ParseState = {
    position: 0,
    column: 0,
    inside: 0,
    end: 0,
    limit: 0,
    lineEnd: false,
  }
  readonly #wasm: NumberExports
  readonly #hardAt: number
  readonly #hards: Uint32Array
  readonly #view: DataView
  #wanted: Wanted | undefined
  #delimiter = -1

  constructor() {
    this.#wasm = instantiate('numbers') as NumberExports
    const room = TEXT_CHUNK + 2 * TOKEN + 64
    const space = FULL + 8 * MOST_COLUMNS + 64
    this.#hardAt = START + room + space
    reserve(this.#wasm.memory, this.#hardAt + 12 * MOST_HARD)
    const { buffer } = this.#wasm.memory
    this.input = new Uint8Array(buffer, START, room)
    this.output = new Uint8Array(buffer, START + room, space)
    this.#hards = new Uint32Array(buffer, this.#hardAt, 3 * MOST_HARD)
    this.#view = new DataView(buffer)
    fillDecimalTables(buffer, this.#wasm.fivesTable(), this.#wasm.tensTable())
  }

  /** What is to be parsed from now on. Delimiter: a byte; 32 for runs of blanks, 0 for JSON. */
  want(wanted: Wanted, delimiter: number): void {
    if (this.#wanted === wanted && this.#delimiter === delimiter) return
    this.#wanted = wanted
    this.#delimiter = delimiter
    const { type, method, columns } = wanted
    const table = new Uint8Array(this.#wasm.memory.buffer, this.#wasm.columnsTable(), MOST_COLUMNS)
    table.fill(0)
    for (const column of columns ?? []) table[column] = 1
    const last = columns?.at(-1) ?? -1
    this.#wasm.setup(
      columns ? 0 : 1,
      last,
      numberTypes[type].number,
      methods[method],
      delimiter,
      this.#hardAt,
    )
  }

  /**
   * Parses tokens that begin in [state.position, state.end) and moves the state on; the number of values at the start
   * of the output. With a full output it stops early: call again until `done`.
   */
  parse(): number {
    const { state, input, output } = this
    const { end, limit, lineEnd } = state
    input[limit] = lineEnd ? 10 : 0
    const wasm = this.#wasm
    const n = wasm.parse(
      START + state.position,
      START + end,
      START + limit + (lineEnd ? 1 : 0),
      state.column,
      state.inside,
      output.byteOffset,
      FULL,
    )
    state.position = wasm.getPosition() - START
    state.column = wasm.getColumn()
    state.inside = wasm.getInside()
    const hards = wasm.getHards()
    for (let i = 0; i < hards; i++) this.#judge(i)
    return n
  }

  get done(): boolean {
    return this.state.position >= this.state.end
  }

  /** A number that the kernel could not round for sure: JavaScript's conversion is exact. */
  #judge(i: number): void {
    const [to = 0, at = 0, bytes = 0] = this.#hards.subarray(3 * i, 3 * i + 3)
    const value = Number(Buffer.from(this.#view.buffer, at, bytes).toString('latin1'))
    if (this.#wanted?.type === 'f32') this.#view.setFloat32(this.output.byteOffset + to, value, true)
    else this.#view.setFloat64(this.output.byteOffset + to, value, true)
  }
}

export const numberKernels: Pool<NumberKernel> = new Pool(() => new NumberKernel())
