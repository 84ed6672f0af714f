/** Record kernel: what a format of scanf describes, as C structs. */
import { fillDecimalTables } from './decimal-tables.ts'
import { instantiate, reserve, type WasmMemory } from './index.ts'
import { Pool } from './pool.ts'

const TEXT = 2 ** 18
const OUTPUT = 2 ** 18
const STEP = 16
/** Bytes of a program with its sets. */
const PROGRAM = 2 ** 16
/** A record has so many bytes at most. */
export const MOST_RECORD: number = 2 ** 14
/** The longest text of a number that its kernel could not round, in bytes. */
const HARD = 16

export const operations = {
  space: 0,
  byte: 1,
  integer: 2,
  float: 3,
  word: 4,
  bytes: 5,
  set: 6,
  count: 7,
} as const

/** What a step keeps, as the kernel has it. */
export const recordTypes = {
  i8: 0,
  i16: 1,
  i32: 2,
  i64: 3,
  u8: 0,
  u16: 1,
  u32: 2,
  u64: 3,
  f32: 4,
  f64: 5,
} as const

export interface RecordStep {
  readonly operation: keyof typeof operations
  /** Absent: what is read is not kept. */
  readonly type?: keyof typeof recordTypes
  /** Whether an integer is read as strtoul does it. */
  readonly unsigned?: boolean
  /** Bytes that are read at most, 0 for any number. */
  readonly width: number
  /** In the record. */
  readonly offset: number
  /** The byte, the base, the count or the room. */
  readonly argument: number
  /** Bytes that are in the set, 256 bits. */
  readonly set?: Uint8Array
}

/** Steps, and the bytes of a record. */
export interface RecordProgram {
  readonly steps: readonly RecordStep[]
  readonly bytes: number
}

interface RecordExports {
  readonly memory: WasmMemory
  fivesTable(): number
  tensTable(): number
  getPosition(): number
  getStatus(): number
  getStopped(): number
  getHards(): number
  setup(at: number, count: number, bytes: number, kept: number): void
  rows(
    at: number,
    end: number,
    limit: number,
    out: number,
    room: number,
    last: number,
    hardAt: number,
  ): number
}

/** What is left to exact arithmetic: text of a number, and where in `output` it goes. */
export interface HardNumber {
  readonly at: number
  readonly text: string
  readonly single: boolean
}

export type RecordsEnd = 'done' | 'more' | 'mismatch'
const ENDS: readonly RecordsEnd[] = ['done', 'more', 'mismatch']

export class RecordKernel {
  /** Views are made anew by `grow`. */
  input!: Uint8Array
  output!: Uint8Array
  position = 0
  end: RecordsEnd = 'done'
  /** mismatch: where in the input reading stopped. */
  stopped = 0
  readonly needsLineEnd = false
  readonly #wasm: RecordExports
  readonly #base: number
  #bytes = 1

  constructor() {
    this.#wasm = instantiate('records') as RecordExports
    this.#base = this.#wasm.memory.buffer.byteLength
    this.grow(TEXT)
    fillDecimalTables(this.#wasm.memory.buffer, this.#wasm.fivesTable(), this.#wasm.tensTable())
  }

  /** Makes room for `text` bytes of input; what was in the views is lost. */
  grow(text: number): void {
    const { memory } = this.#wasm
    const output = this.#base + PROGRAM
    const input = output + OUTPUT + this.#hardBytes
    reserve(memory, input + text + 128)
    this.output = new Uint8Array(memory.buffer, output, OUTPUT)
    this.input = new Uint8Array(memory.buffer, input, text + 128)
  }

  /** A record has a number every four bytes at most. */
  get #hardBytes(): number {
    return (OUTPUT / 4) * HARD
  }

  /** What is to be read from now on: the first `steps` of a program, or all. */
  want({ steps, bytes }: RecordProgram, count: number = steps.length): void {
    const view = new DataView(this.#wasm.memory.buffer, this.#base, PROGRAM)
    let sets = steps.length * STEP
    for (const [i, { operation, type, unsigned, width, offset, argument, set }] of steps.entries()) {
      const at = i * STEP
      view.setUint8(at, operations[operation])
      view.setUint8(at + 1, type === undefined ? 255 : recordTypes[type] | (unsigned ? 128 : 0))
      view.setUint16(at + 2, width, true)
      view.setUint32(at + 4, offset, true)
      view.setUint32(at + 8, argument, true)
      view.setUint32(at + 12, set ? this.#base + sets : 0, true)
      if (!set) continue
      new Uint8Array(view.buffer, this.#base + sets, 32).set(set)
      sets += 32
    }
    const kept = steps.slice(0, count).filter(({ type }) => type !== undefined).length
    this.#bytes = bytes
    this.#wasm.setup(this.#base, count, bytes, kept)
  }

  get room(): number {
    return Math.floor(OUTPUT / this.#bytes)
  }

  /** Reads the records that begin in [from, end), `room` at most, to `output`; how many. `last`: nothing follows the limit. */
  rows(from: number, end: number, limit: number, room: number, last: boolean): number {
    const { input, output } = this
    const text = input.byteOffset
    input.fill(0, limit, limit + 64)
    const n = this.#wasm.rows(
      text + from,
      text + end,
      text + limit,
      output.byteOffset,
      room,
      last ? 1 : 0,
      output.byteOffset + OUTPUT,
    )
    this.position = this.#wasm.getPosition() - text
    this.end = ENDS[this.#wasm.getStatus()] ?? 'done'
    this.stopped = this.#wasm.getStopped() - text
    return n
  }

  /** Numbers of the last rows that the kernel could not round for sure. */
  *hards(): Generator<HardNumber, void> {
    const { buffer } = this.#wasm.memory
    const list = new Uint32Array(buffer, this.output.byteOffset + OUTPUT, 4 * this.#wasm.getHards())
    for (let i = 0; i < list.length; i += 4) {
      const [to = 0, at = 0, length = 0, type] = list.subarray(i, i + 4)
      const text = Buffer.from(buffer, at, length).toString('latin1')
      yield { at: to - this.output.byteOffset, text, single: type === recordTypes.f32 }
    }
  }
}

export const recordKernels: Pool<RecordKernel> = new Pool(() => new RecordKernel())
