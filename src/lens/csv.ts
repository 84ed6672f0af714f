/**
 * Columns of tables of text: CSV (RFC 4180), TSV, and what blanks divide, as numbers.
 *
 *   csv?as=f64&column=price              one value a row
 *   csv?as=f32&index=0&index=2           rows of values, row after row; without column and index: all columns
 *
 * A field is what csv-parse makes of it, its value what Number() says (correctly rounded; f32 rounds that once more), also inf,
 * infinity and nan in any case. Fields that are empty or no such number are missing: NaN, a value that the lens names,
 * or an error. Integers that don't fit their type are missing too. Empty lines are no rows. src/lens/csv-syntax.ts has the
 * parameters, src/lens/row-index.ts says how a row is found.
 *
 * The first values need no more than the first rows: get and extent go through the table only as far as they must;
 * size goes to the end.
 *
 * `put` writes into a field a text that means the number, of the same length if there is one, else of another
 * (Edit.removes).
 */
import type { Backing } from '../backing/backing.ts'
import { TEXT, type TableKernel, tableKernels } from '../kernels/table.ts'
import { type CsvOptions, type CsvType, csvName, csvOptions, readTable, type Table } from './csv-syntax.ts'
import { elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { ticker } from './indexed.ts'
import type { Edit, IndexStore, Lens } from './lens.ts'
import { numberText } from './number-text.ts'
import { loadText, type OnRows, RowIndex } from './row-index.ts'

const VERSION = 1
interface Known {
  readonly table: Table
  readonly index: RowIndex
}

/** What is known of the rows of a backing, whatever is made of them: by syntax, and by column where fields are checked. */
const known = new WeakMap<Backing, Map<string, RowIndex>>()

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

export function csvLens<T extends CsvType>(options: CsvOptions & { readonly as: T }): TypedLens<T> {
  const name = csvName(options)
  const { missing } = options
  const type: CsvType = options.as
  const width = elementBytes[type]
  const integer = type === 'i64' || type === 'i32'
  const quote = options.quote.charCodeAt(0)
  const tables = new WeakMap<Backing, Known>()

  /** What the rows depend on. */
  function indexName({ syntax, columns, start }: Table): string {
    const checked = missing === 'error' ? { type, columns } : {}
    return `csv-rows ${JSON.stringify({ ...syntax, start, ...checked })}`
  }

  function of(backing: Backing, store?: IndexStore): Known {
    let found = tables.get(backing)
    if (found) return found
    const table = readTable(name, options, backing)
    const indexes = known.get(backing) ?? new Map<string, RowIndex>()
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
      index = RowIndex.restore(name, table.start, bytes)
    }
    index ??= new RowIndex(name, table.start)
    indexes.set(key, index)
    found = { table, index }
    tables.set(backing, found)
    return found
  }

  /** Text of the field at an offset of the kernel's input, and where it ends. */
  function field(
    input: Uint8Array,
    at: number,
    limit: number,
    delimiter: number,
  ): { from: number; to: number } {
    let from = at
    if (input[from] === quote) {
      for (let to = ++from; to < limit; to++)
        if (input[to] === quote) {
          if (input[to + 1] !== quote) return { from, to }
          to++
        }
    }
    let to = from
    while (
      to < limit &&
      input[to] !== delimiter &&
      input[to] !== 10 &&
      !(delimiter === 32 && input[to] === 9)
    )
      to++
    if (to > from && input[to - 1] === 13) to--
    return { from, to }
  }

  /** Judges what the kernel could not make a number of; `first` is the number of the first row. */
  function mend(kernel: TableKernel, { table }: Known, limit: number, first: number): void {
    const { starts, hards, input, output } = kernel
    const view = new DataView(output.buffer, output.byteOffset)
    for (let i = 0; i < kernel.hard; i++) {
      const n = hards[i] ?? 0
      const start = starts[n] ?? 0
      const { from, to } =
        start === 0
          ? { from: 0, to: 0 }
          : field(input, start - input.byteOffset, limit, table.syntax.delimiter)
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

  function reach(backing: Backing, of: Known, rows: number, tick?: () => void): void {
    const { table, index } = of
    if (index.complete || index.rows >= rows) return
    const kernel = tableKernels.take()
    try {
      const check: OnRows | undefined =
        missing === 'error'
          ? (k, n, limit, first) => {
              k.values(n * table.columns.length, type, limit)
              if (k.hard > 0) mend(k, of, limit, first)
            }
          : undefined
      kernel.want(table.syntax, check ? table.columns : [])
      index.reach(kernel, backing, rows, check, tick)
    } finally {
      tableKernels.give(kernel)
    }
  }

  /** Goes through `count` rows from `row` on, which are known, some at a time. */
  function walk(
    backing: Backing,
    { table, index }: Known,
    row: number,
    count: number,
    visit: (kernel: TableKernel, rows: number, limit: number, offset: number) => void,
  ): void {
    const kernel = tableKernels.take()
    try {
      const near = index.near(row)
      let { offset } = near
      let skip = row - near.row
      let left = count
      kernel.want(table.syntax, skip > 0 ? [] : table.columns)
      let most = Math.min(TEXT, Math.ceil((skip + count) * index.rowBytes * 1.25) + 4096)
      while (left > 0) {
        const { limit, last } = loadText(kernel, backing, offset, most)
        let from = 0
        while (left > 0 && from < limit) {
          if (skip > 0) {
            skip -= kernel.rows(from, limit, limit, skip)
            if (skip === 0) kernel.want(table.syntax, table.columns)
          } else {
            const n = kernel.rows(from, limit, limit, Math.min(left, kernel.room))
            if (n > 0) visit(kernel, n, limit, offset)
            left -= n
          }
          from = kernel.position
          if (kernel.end !== 'done') break
        }
        if (from === 0 || (last && left > 0 && from < limit) || (last && limit === 0)) {
          if (kernel.end !== 'more' || last)
            throw new LensError('io', name, 'the backing has changed; look at it again', offset)
          most *= 2
        }
        offset += from
      }
      index.recentRow = row + count
      index.recentOffset = offset
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
    const rowBytes = all.table.columns.length * width
    const first = Math.floor(at / rowBytes)
    const end = Math.ceil((at + bytes) / rowBytes)
    let skip = at - first * rowBytes
    let done = 0
    let row = first
    walk(backing, all, first, end - first, (kernel, n, limit) => {
      kernel.values(n * all.table.columns.length, type, limit)
      if (kernel.hard > 0) mend(kernel, all, limit, row)
      const part = Math.min(bytes - done, n * rowBytes - skip)
      out.set(kernel.output.subarray(skip, skip + part), done)
      done += part
      row += n
      skip = 0
    })
  }

  function valueAt(view: DataView, at: number): number | bigint {
    if (type === 'f64') return view.getFloat64(at, true)
    if (type === 'f32') return view.getFloat32(at, true)
    return type === 'i64' ? view.getBigInt64(at, true) : view.getInt32(at, true)
  }

  /** An f32's shortest text is that of the shortest double which rounds to it. */
  function textOf(value: number | bigint, room: number): string {
    if (type !== 'f32' || typeof value === 'bigint') return numberText(value, room, integer)
    for (let digits = 1; digits <= 9; digits++) {
      const short = Number(value.toPrecision(digits))
      if (Math.fround(short) === value) return numberText(short, room, false)
    }
    return numberText(value, room, false)
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
      const { starts, input } = kernel
      for (let i = 0; i < n * columns; i++, done++) {
        const value = valueAt(wanted, done * width)
        if (Object.is(value, valueAt(was, done * width))) continue
        const start = starts[i] ?? 0
        if (start === 0)
          throw new LensError(
            'range',
            name,
            `row ${first + Math.floor(done / columns) + 1} has no such field to write to`,
          )
        const { from, to } = field(input, start - input.byteOffset, limit, all.table.syntax.delimiter)
        edits.push(edit(offset + from, to - from, textOf(value, to - from)))
      }
    })
    return edits.toSorted((a, b) => a.offset - b.offset)
  }

  function edit(offset: number, room: number, text: string): Edit {
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'))
    return bytes.length === room ? { offset, bytes } : { offset, bytes, removes: room }
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    const all = of(backing, store)
    if (all.index.complete) return
    reach(backing, all, Number.POSITIVE_INFINITY, ticker(pause))
    const maker = store.make({ identity: backing.identity, lens: indexName(all.table), version: VERSION })
    maker.append(all.index.saved())
    maker.commit().close()
  }

  return {
    name,
    size,
    extent,
    get,
    put,
    prepare,
    element: options.as,
  }
}

export function csvNamed(name: string): Lens | undefined {
  const options = csvOptions(name)
  return options && csvLens(options)
}
