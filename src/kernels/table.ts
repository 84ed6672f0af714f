/** Table kernel: rows and fields of CSV and the like, and the numbers in them. */
import { fillDecimalTables } from './decimal-tables.ts'
import { instantiate, reserve, type WasmMemory } from './index.ts'
import { type NumberType, numberTypes } from './numbers.ts'
import { Pool } from './pool.ts'

/** Bytes of text that `input` holds until `grow`. */
const TEXT = 2 ** 18
/** Columns from this one on can't be asked for. */
export const MOST_FIELDS = 65_536
/** Fields that one call finds at most: so many rows of one column. */
const STARTS = 65_536
/** Kernels read up to this many bytes beyond the text. */
const SLACK = 128
const NONE = 256
/** Bytes of a path's keys. */
export const MOST_PATH = 4096

/** Bytes; a delimiter of 32 is any run of blanks. */
export interface TableSyntax {
  readonly delimiter: number
  readonly quote: number | undefined
  readonly comment: number | undefined
  /** Fields of a row; 0 if rows may have any number. */
  readonly fields: number
}

/** done: up to the end, or the room is full. more: the row at `position` goes on beyond the limit. */
export type RowsEnd = 'done' | 'more' | 'ragged' | 'quote'
const ENDS: readonly RowsEnd[] = ['done', 'more', 'ragged', 'quote']

interface TableExports {
  readonly memory: WasmMemory
  slotsTable(): number
  fivesTable(): number
  tensTable(): number
  getPosition(): number
  getStatus(): number
  getDetail(): number
  getHards(): number
  pathTable(): number
  fields(starts: number, n: number, limit: number, keys: number): void
  setup(
    delimiter: number,
    quote: number,
    comment: number,
    expected: number,
    only: number,
    wanted: number,
  ): void
  rows(at: number, end: number, limit: number, out: number, room: number): number
  values(starts: number, n: number, type: number, limit: number, out: number, hardAt: number): void
}

export class TableKernel {
  /** Views are made anew by `grow`. */
  input!: Uint8Array
  /** After `rows`: the address (input.byteOffset is that of the text) of each wanted field of each row; 0 where there is none. */
  starts!: Uint32Array
  /** What `values` made. */
  output!: Uint8Array
  /** Numbers of the fields that `values` could not make, of which there are `hard`. */
  hards!: Uint32Array
  hard = 0
  /** Where in the input `rows` ended: the beginning of a row. */
  position = 0
  end: RowsEnd = 'done'
  /** ragged: fields of the row; quote: where in the input it is. */
  detail = 0
  readonly needsLineEnd = true
  readonly #wasm: TableExports
  readonly #base: number
  #wanted = 0
  #keys = 0

  constructor() {
    this.#wasm = instantiate('table') as TableExports
    this.#base = this.#wasm.memory.buffer.byteLength
    this.grow(TEXT)
    fillDecimalTables(this.#wasm.memory.buffer, this.#wasm.fivesTable(), this.#wasm.tensTable())
  }

  /** Makes room for `text` bytes of input; what was in the views is lost. */
  grow(text: number): void {
    const base = this.#base
    const { memory } = this.#wasm
    reserve(memory, base + STARTS * 16 + text + SLACK)
    const { buffer } = memory
    this.starts = new Uint32Array(buffer, base, STARTS)
    this.hards = new Uint32Array(buffer, base + STARTS * 4, STARTS)
    this.output = new Uint8Array(buffer, base + STARTS * 8, STARTS * 8)
    this.input = new Uint8Array(buffer, base + STARTS * 16, text + SLACK)
  }

  /** Columns whose fields `rows` finds from now on, in the order in which it gives them; none to count rows only. */
  want({ delimiter, quote, comment, fields }: TableSyntax, columns: readonly number[]): void {
    const only = columns.length === 1 ? (columns[0] ?? 0) : -1
    if (columns.length > 1) {
      const slots = new Int32Array(this.#wasm.memory.buffer, this.#wasm.slotsTable(), MOST_FIELDS)
      slots.fill(-1)
      for (const [slot, column] of columns.entries()) slots[column] = slot
    }
    this.#wanted = columns.length
    this.#wasm.setup(delimiter, quote ?? NONE, comment ?? NONE, fields, only, columns.length)
  }

  /** Rows whose wanted fields fit into `starts`. */
  get room(): number {
    return this.#wanted === 0 ? 2 ** 30 : Math.floor(STARTS / this.#wanted)
  }

  /**
   * Finds the rows that begin in [from, end) of the input, whose text ends at `limit`: at most `room`; how many. A line
   * end must close the last row, if it is to count.
   */
  rows(from: number, end: number, limit: number, room: number): number {
    const wasm = this.#wasm
    const text = this.input.byteOffset
    const n = wasm.rows(text + from, text + end, text + limit, this.starts.byteOffset, room)
    this.position = wasm.getPosition() - text
    this.end = ENDS[wasm.getStatus()] ?? 'done'
    this.detail = wasm.getDetail() - (this.end === 'quote' ? text : 0)
    return n
  }

  /** Keys that lead to a field of a JSON object, for `fields`: as they are in the text, in UTF-8. */
  wantPath(path: readonly string[]): void {
    const table = new Uint8Array(this.#wasm.memory.buffer, this.#wasm.pathTable(), MOST_PATH)
    const bytes = Buffer.concat(path.map(key => Buffer.from(`${JSON.stringify(key)}\0`)))
    table.set(bytes)
    this.#keys = path.length
  }

  /** Replaces the first `n` of `starts`, at which JSON objects begin, by where the field of the path does. */
  fields(n: number, limit: number): void {
    this.#wasm.fields(this.starts.byteOffset, n, this.input.byteOffset + limit, this.#keys)
  }

  /** Makes numbers of the first `n` fields of `starts`, in text that ends at `limit`. */
  values(n: number, type: NumberType, limit: number): void {
    const { starts, output, hards } = this
    const text = this.input.byteOffset
    this.#wasm.values(
      starts.byteOffset,
      n,
      numberTypes[type].number,
      text + limit,
      output.byteOffset,
      hards.byteOffset,
    )
    this.hard = this.#wasm.getHards()
  }
}

export const tableKernels: Pool<TableKernel> = new Pool(() => new TableKernel())
