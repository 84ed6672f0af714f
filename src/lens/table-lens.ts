/**
 * Numbers in the fields of lines of text: what `csv` and `ndjson` have in common. One says where the fields are (a `Fields`), this
 * finds the rows, makes the numbers, and writes them.
 *
 * `put` writes into a field a text that means the number, of the same length if there is one, else of another
 * (Edit.removes).
 *
 * Where the text itself is costly to have (it is compressed), a pass keeps the numbers in the store's spool, if there is room: a
 * page made from the text would take decompressing up to 1 MiB of it again. The first pass over the text does it on the way; a
 * column that is wanted later takes a pass of its own, where there is time for it (IndexStore.thorough). Where there is, the
 * numbers of a text that is there are kept too if they take much less of it: a page of one column of many is
 * then read, instead of parsed out of a text many times its size.
 */
import type { Backing } from '../backing/backing.ts'
import { type TableKernel, type TableSyntax, tableKernels } from '../kernels/table.ts'
import { elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { ticker } from './indexed.ts'
import type { IndexKey, IndexMaker, StoredIndex } from './index-store.ts'
import type { Edit, IndexStore } from './lens.ts'
import { RowIndex } from './row-index.ts'

export const TABLE_TYPES = ['f64', 'f32', 'i64', 'i32'] as const
export type TableType = (typeof TABLE_TYPES)[number]

/** Where the fields of a backing's rows are. */
export interface Fields {
  readonly syntax: TableSyntax
  /** Numbers of the wanted columns. */
  readonly columns: readonly number[]
  /** What they are called, for errors. */
  readonly names: readonly string[]
  /** Offset at which the rows begin. */
  readonly start: number
  /** Rows are JSON objects, and the one column is what these keys lead to. */
  readonly path?: readonly string[]
}

export interface TableLensOptions<T extends TableType> {
  readonly name: string
  readonly as: T
  readonly missing: number | bigint | 'error'
  /** Looks at the start of a backing. */
  fields(backing: Backing): Fields
  /** The bytes of the field at `at` of a text that ends at `limit`: what a number is written over. undefined: none may be. */
  extent(
    input: Uint8Array,
    at: number,
    limit: number,
    fields: Fields,
  ): { readonly from: number; readonly to: number } | undefined
  /** A text that means `value`, of `room` bytes where there is one. */
  write(value: number | bigint, room: number): string
}

const VERSION = 1
/** Numbers of a text that is not costly are kept from so many times their bytes of text on. */
const SPARSE = 4
/** Bytes of a text that are looked at for how long its rows are. */
const SAMPLE = 2 ** 16
const NOTHING = { from: 0, to: 0 }
interface Known {
  readonly table: Fields
  readonly index: RowIndex<TableKernel>
  /** All that `get` gives, kept in a file. */
  values?: StoredIndex | undefined
}

/** What is known of the rows of a backing, whatever is made of them: by syntax, and by column where fields are checked. */
const known = new WeakMap<Backing, Map<string, RowIndex<TableKernel>>>()

/** A number that the kernel left to us; undefined if it is none of the type. */
function judged(text: string, integer: boolean): number | undefined {
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  const value = Number(trimmed)
  if (integer) return Number.isSafeInteger(value) ? value : undefined
  if (!Number.isNaN(value)) return value
  const named = /^([-+]?)inf(?:inity)?$/i.exec(trimmed)
  if (named) return named[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  return /^[-+]?nan$/i.test(trimmed) ? Number.NaN : undefined
}

export function tableLens<T extends TableType>(options: TableLensOptions<T>): TypedLens<T> {
  const { name, missing } = options
  const type: TableType = options.as
  const width = elementBytes[type]
  const integer = type === 'i64' || type === 'i32'
  const tables = new WeakMap<Backing, Known>()

  /** What the rows depend on. */
  function indexName({ syntax, columns, start, path }: Fields): string {
    const checked = missing === 'error' ? { type, columns, path } : {}
    return `rows ${JSON.stringify({ ...syntax, start, ...checked })}`
  }

  function of(backing: Backing, store?: IndexStore): Known {
    let found = tables.get(backing)
    if (found) return found
    const table = options.fields(backing)
    const indexes = known.get(backing) ?? new Map<string, RowIndex<TableKernel>>()
    known.set(backing, indexes)
    const key = indexName(table)
    const saved = indexes.has(key)
      ? undefined
      : store?.find({ identity: backing.identity, lens: key, version: VERSION })
    let index = indexes.get(key)
    if (saved) {
      const bytes = new Uint8Array(saved.size)
      saved.read(0, bytes)
      saved.close()
      index = RowIndex.restore(table.start, bytes)
    }
    index ??= new RowIndex(table.start)
    indexes.set(key, index)
    found = { table, index }
    tables.set(backing, found)
    return found
  }

  /** Judges what the kernel could not make a number of; `first` is the number of the first row. */
  function mend(kernel: TableKernel, { table }: Known, limit: number, first: number): void {
    const { starts, hards, input, output } = kernel
    const view = new DataView(output.buffer, output.byteOffset)
    for (let i = 0; i < kernel.hard; i++) {
      const n = hards[i] ?? 0
      const start = starts[n] ?? 0
      const { from, to } =
        (start === 0 ? undefined : options.extent(input, start - input.byteOffset, limit, table)) ?? NOTHING
      const text =
        to - from > 400
          ? ''
          : Buffer.from(input.buffer, input.byteOffset + from, to - from).toString('latin1')
      let value: number | bigint | undefined = judged(text, integer)
      if (type === 'i32' && value !== undefined && value !== (value | 0)) value = undefined
      if (value === undefined) {
        if (missing === 'error') {
          const column = table.names[n % table.columns.length]
          throw new LensError(
            'corrupt',
            name,
            `row ${first + Math.floor(n / table.columns.length) + 1} has ${text.trim() === '' ? 'nothing' : JSON.stringify(text)} in column ${column}, which is no ${type}; say what stands for it (missing)`,
          )
        }
        value = missing
      }
      if (type === 'f64') view.setFloat64(n * 8, value as number, true)
      else if (type === 'f32') view.setFloat32(n * 4, value as number, true)
      else if (type === 'i64') view.setBigInt64(n * 8, BigInt(value), true)
      else view.setInt32(n * 4, value as number, true)
    }
  }

  /** The fields of the rows that the kernel has just found, as numbers in its output. */
  function make(kernel: TableKernel, all: Known, rows: number, limit: number, first: number): void {
    const n = rows * all.table.columns.length
    if (all.table.path) kernel.fields(n, limit)
    kernel.values(n, type, limit)
    if (kernel.hard > 0) mend(kernel, all, limit, first)
  }

  function select(kernel: TableKernel, { syntax, columns, path }: Fields, wanted: boolean): void {
    kernel.want(syntax, wanted ? columns : [])
    if (wanted && path) kernel.wantPath(path)
  }

  function reach(
    backing: Backing,
    all: Known,
    rows: number,
    { tick, keep }: { readonly tick?: () => void; readonly keep?: (values: Uint8Array) => void } = {},
  ): void {
    const { table, index } = all
    if (index.complete || index.rows >= rows) return
    const kernel = tableKernels.take()
    const wanted = missing === 'error' || keep !== undefined
    const onRows = (k: TableKernel, n: number, limit: number, first: number): void => {
      make(k, all, n, limit, first)
      keep?.(k.output.subarray(0, n * table.columns.length * width))
    }
    try {
      select(kernel, table, wanted)
      index.reach(kernel, backing, rows, {
        problem,
        ...(wanted ? { onRows } : {}),
        ...(tick ? { tick } : {}),
      })
    } finally {
      tableKernels.give(kernel)
    }
  }

  function problem(kernel: TableKernel, row: number, offset: number): LensError {
    const { end, detail, position } = kernel
    const corrupt = (what: string, at = offset): LensError => new LensError('corrupt', name, what, at)
    if (end === 'quote')
      return corrupt(
        `in row ${row} a quote opens within a field; where quotes mean nothing, say so (quote: '')`,
        offset - position + detail,
      )
    if (end === 'ragged')
      return corrupt(
        `row ${row} has ${detail} field${detail === 1 ? '' : 's'}, other than the first row of the table; mend it, or take what it lacks for missing (ragged: 'missing')`,
      )
    return corrupt(`row ${row} has no end: its quote is not closed, or this is no table of text`)
  }

  function walk(
    backing: Backing,
    { table, index }: Known,
    row: number,
    count: number,
    visit: (kernel: TableKernel, rows: number, limit: number, offset: number) => void,
  ): void {
    const kernel = tableKernels.take()
    try {
      index.walk(
        kernel,
        backing,
        row,
        count,
        wanted => select(kernel, table, wanted),
        (rows, limit, offset) => visit(kernel, rows, limit, offset),
      )
    } finally {
      tableKernels.give(kernel)
    }
  }

  function extent(backing: Backing, at: number, most: number): number {
    const all = of(backing)
    const rowBytes = all.table.columns.length * width
    if (rowBytes === 0) return 0
    reach(backing, all, Math.ceil((at + most) / rowBytes))
    return Math.max(0, Math.min(most, all.index.rows * rowBytes - at))
  }

  function size(backing: Backing): number {
    const all = of(backing)
    reach(backing, all, Number.POSITIVE_INFINITY)
    return all.index.rows * all.table.columns.length * width
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const bytes = extent(backing, at, out.length)
    if (bytes < out.length) out.fill(0, bytes)
    if (bytes === 0) return
    const all = of(backing)
    if (readKept(all, at, out.subarray(0, bytes))) return
    const rowBytes = all.table.columns.length * width
    const first = Math.floor(at / rowBytes)
    const end = Math.ceil((at + bytes) / rowBytes)
    let skip = at - first * rowBytes
    let done = 0
    let row = first
    walk(backing, all, first, end - first, (kernel, n, limit) => {
      make(kernel, all, n, limit, row)
      const part = Math.min(bytes - done, n * rowBytes - skip)
      out.set(kernel.output.subarray(skip, skip + part), done)
      done += part
      row += n
      skip = 0
    })
  }

  /** Whether the bytes are there as they were kept. */
  function readKept(all: Known, at: number, out: Uint8Array): boolean {
    try {
      all.values?.read(at, out)
      return all.values !== undefined
    } catch (error) {
      if (!(error instanceof LensError) || error.code !== 'io') throw error
      all.values?.close()
      all.values = undefined
      return false
    }
  }

  function valueAt(view: DataView, at: number): number | bigint {
    if (type === 'f64') return view.getFloat64(at, true)
    if (type === 'f32') return view.getFloat32(at, true)
    return type === 'i64' ? view.getBigInt64(at, true) : view.getInt32(at, true)
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    if (at < 0 || extent(backing, at, bytes.length) < bytes.length)
      throw new RangeError(
        `Invalid put of ${bytes.length} bytes at ${at} in memory of ${size(backing)} bytes`,
      )
    if (bytes.length === 0) return []
    const all = of(backing)
    const columns = all.table.columns.length
    const rowBytes = columns * width
    const first = Math.floor(at / rowBytes)
    const count = Math.ceil((at + bytes.length) / rowBytes) - first
    const before = new Uint8Array(count * rowBytes)
    get(backing, first * rowBytes, before)
    const after = before.slice()
    after.set(bytes, at - first * rowBytes)
    const was = new DataView(before.buffer)
    const wanted = new DataView(after.buffer)
    const edits: Edit[] = []
    let done = 0
    walk(backing, all, first, count, (kernel, n, limit, offset) => {
      if (all.table.path) kernel.fields(n * columns, limit)
      const { starts, input } = kernel
      for (let i = 0; i < n * columns; i++, done++) {
        const value = valueAt(wanted, done * width)
        if (Object.is(value, valueAt(was, done * width))) continue
        const start = starts[i] ?? 0
        const place =
          start === 0 ? undefined : options.extent(input, start - input.byteOffset, limit, all.table)
        if (!place)
          throw new LensError(
            'unsupported',
            name,
            `row ${first + Math.floor(done / columns) + 1} has no such number that could be written over`,
          )
        const { from, to } = place
        edits.push(edit(offset + from, to - from, options.write(value, to - from)))
      }
    })
    return edits.toSorted((a, b) => a.offset - b.offset)
  }

  function edit(offset: number, room: number, text: string): Edit {
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'))
    return bytes.length === room ? { offset, bytes } : { offset, bytes, removes: room }
  }

  /** Whether the numbers of a row take much less than its text. */
  function isSparse(backing: Backing, { table }: Known): boolean {
    const text = new Uint8Array(SAMPLE)
    const length = backing.read(table.start, text)
    let lines = 0
    for (let at = text.indexOf(10); at >= 0 && at < length; at = text.indexOf(10, at + 1)) lines++
    return length >= SPARSE * table.columns.length * width * Math.max(1, lines)
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    const all = of(backing, store)
    const { index, table } = all
    const key: IndexKey = { identity: backing.identity, lens: name, version: VERSION }
    const costly = backing.costly === true
    const wanted = costly || isSparse(backing, all)
    if (wanted) all.values ??= store.spool?.find(key)
    const thorough = wanted && store.thorough === true
    if (index.complete) {
      // Another column of it was made before.
      if (thorough && !all.values) keepAll(backing, all, store, key, ticker(pause))
      return
    }
    const tick = ticker(pause)
    const keeping = (costly || thorough) && index.rows === 0 ? keeper(store, key) : undefined
    try {
      reach(backing, all, Number.POSITIVE_INFINITY, { tick, ...(keeping ? { keep: keeping.keep } : {}) })
      all.values = keeping?.commit()
    } catch (error) {
      keeping?.abandon()
      throw error
    }
    const maker = store.make({ identity: backing.identity, lens: indexName(table), version: VERSION })
    maker.append(index.saved())
    maker.commit().close()
  }

  /** Makes all values of rows that are known, if there is room for them in the spool. */
  function keepAll(backing: Backing, all: Known, store: IndexStore, key: IndexKey, tick: () => void): void {
    const { table, index } = all
    const rowBytes = table.columns.length * width
    const keeping = keeper(store, key, index.rows * rowBytes)
    if (!keeping) return
    let row = 0
    try {
      walk(backing, all, 0, index.rows, (kernel, n, limit) => {
        make(kernel, all, n, limit, row)
        keeping.keep(kernel.output.subarray(0, n * rowBytes))
        row += n
        tick()
      })
      all.values = keeping.commit()
    } catch (error) {
      keeping.abandon()
      throw error
    }
  }

  /** Keeps values in the spool, `expected` bytes if that is known. Where there is no room, they are made from the text. */
  function keeper(
    store: IndexStore,
    key: IndexKey,
    expected = 0,
  ): { keep(values: Uint8Array): void; commit(): StoredIndex | undefined; abandon(): void } | undefined {
    let maker: IndexMaker | undefined
    function tried<T>(action: (maker: IndexMaker) => T): T | undefined {
      try {
        return maker && action(maker)
      } catch (error) {
        if (!(error instanceof LensError)) throw error
        maker?.abandon()
        maker = undefined
        return undefined
      }
    }
    try {
      maker = store.spool?.make(key, expected)
    } catch (error) {
      if (!(error instanceof LensError)) throw error
    }
    if (!maker) return undefined
    return {
      keep: values => tried(into => into.append(values)),
      commit: () => tried(into => into.commit()),
      abandon: () => maker?.abandon(),
    }
  }

  return {
    name,
    size,
    extent,
    get,
    put,
    prepare,
    close(backing) {
      tables.get(backing)?.values?.close()
      tables.delete(backing)
    },
    element: options.as,
  }
}
