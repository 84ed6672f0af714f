/**
 * Numbers parsed from text, as numpy, pandas, R and typed arrays hold them.
 *
 *   numbers-f64            all values, row after row (numpy loadtxt, genfromtxt; JSON: all numbers in order)
 *   numbers-f64/3          column 3 (from 0), one value a row: a column-major block is such columns one after the other
 *   numbers-f64/0,2,5      these columns, row after row
 *   numbers-f64:high       rounded as pandas' read_csv does by default since 1.2; :legacy as it did before
 *
 * and the same for f32 (the f64 rounded once more, as numpy casts), i64 and i32. The text is CSV, TSV, separated by
 * semicolons or blanks, or JSON; which one, and whether there is a header, is read off its start (src/lens/table-sniff.ts).
 * Empty lines and lines that begin with '#' are not rows. Fields may be quoted. A field that is no number is NaN (0 as an
 * integer), and so is one that a row lacks, in layouts by column. In JSON a row is the innermost array or object, a column
 * the position in it, and what is no number is passed over where all numbers are wanted. A number of more than
 * 512 characters may be taken for text.
 *
 * One pass notes for every 16 KiB of text how many values and rows come before and where the parser stands; that depends
 * neither on the type nor, in a table, on the columns, so that all lenses of a table share it. A refill parses at most 16 KiB too many.
 */
import type { Backing } from '../backing/backing.ts'
import {
  MOST_COLUMNS,
  type Method,
  methods,
  type NumberKernel,
  numberKernels,
  type NumberType,
  numberTypes,
  TEXT_CHUNK,
  TOKEN,
  type Wanted,
} from '../kernels/numbers.ts'
import { LensError } from './errors.ts'
import type { IndexStore, Lens } from './lens.ts'
import { sniff, type TableKind } from './table-sniff.ts'

/** Words of a chunk's record: values before it (low, high), column, offset in the chunk with what it is inside of, rows before it. */
const WORDS = 5

interface RowIndex {
  readonly kind: TableKind
  /** A record for each chunk, and one for the end. */
  readonly records: Uint32Array
}

const JSON_TEXT = 0
/** The kernel's notes that it is in the middle of a field whose value has been counted. */
const QUOTED = 1
const REST = 2

type Columns = readonly number[] | undefined

/** Values of a layout that come before a chunk. Every row of a table has one of each wanted column, whether it is there or not. */
function valuesBefore({ kind, records }: RowIndex, chunk: number, columns: Columns): number {
  const at = WORDS * chunk
  if (columns === undefined || kind.delimiter === JSON_TEXT)
    return (records[at] ?? 0) + (records[at + 1] ?? 0) * 2 ** 32
  const inside = (records[at + 3] ?? 0) & 3
  const reached = (records[at + 2] ?? 0) + (inside === QUOTED || inside === REST ? 1 : 0)
  let values = (records[at + 4] ?? 0) * columns.length
  for (let i = 0; i < columns.length && (columns[i] ?? 0) < reached; i++) values++
  return values
}

const totalOf = (index: RowIndex, columns: Columns): number =>
  valuesBefore(index, index.records.length / WORDS - 1, columns)

/** Indexes by layout, whatever the type; of tables, by none. */
const layouts = new Map<string, WeakMap<Backing, RowIndex>>()

const EVERYTHING: Wanted = { type: 'f64', method: 'nearest', columns: undefined }
const NOTHING: TableKind = { delimiter: 44, start: 0, columns: 0, numeric: [] }

export function numbers(type: NumberType, columns?: readonly number[], method: Method = 'nearest'): Lens {
  const { bytes: width } = numberTypes[type]
  const layout = columns ? `/${columns.join(',')}` : ''
  const name = `numbers-${type}${method === 'nearest' ? '' : `:${method}`}${layout}`
  const wanted: Wanted = { type, method, columns }
  const mine = new WeakMap<Backing, RowIndex>()

  const layoutOf = (kind: TableKind): string => (kind.delimiter === JSON_TEXT ? layout : '')

  function indexesOf(kind: TableKind): WeakMap<Backing, RowIndex> {
    const key = layoutOf(kind)
    const indexes = layouts.get(key) ?? new WeakMap<Backing, RowIndex>()
    layouts.set(key, indexes)
    return indexes
  }

  /** What has been prepared, or else is made now. */
  function indexOf(backing: Backing): RowIndex {
    const known = mine.get(backing)
    if (known) return known
    const kind = sniff(backing) ?? NOTHING
    const indexes = indexesOf(kind)
    const index = indexes.get(backing) ?? build(backing, kind)
    indexes.set(backing, index)
    mine.set(backing, index)
    return index
  }

  function build(backing: Backing, kind: TableKind, pause?: () => void): RowIndex {
    if (kind === NOTHING) return { kind, records: new Uint32Array(WORDS) }
    const chunks = Math.ceil(backing.size / TEXT_CHUNK)
    const records = new Uint32Array(WORDS * (chunks + 1))
    const kernel = numberKernels.take()
    try {
      // All columns: then no number of any is ever divided by the end of a chunk.
      kernel.want(kind.delimiter === JSON_TEXT ? wanted : EVERYTHING, kind.delimiter)
      let position = kind.start
      let column = 0
      let inside = 0
      let values = 0
      let rows = 0
      for (let chunk = 0; chunk <= chunks; chunk++) {
        const skipped = Math.max(0, position - chunk * TEXT_CHUNK)
        records.set(
          [values >>> 0, Math.floor(values / 2 ** 32), column, skipped * 16 + inside, rows],
          WORDS * chunk,
        )
        if (position >= Math.min(backing.size, (chunk + 1) * TEXT_CHUNK)) continue
        load(kernel, backing, chunk, position, column, inside)
        while (!kernel.done) {
          values += kernel.parse()
          rows += kernel.rows
        }
        const { state } = kernel
        position += state.position
        column = state.column
        inside = state.inside
        if (chunk % 64 === 0) pause?.()
      }
      records.set([values >>> 0, Math.floor(values / 2 ** 32), 0, 0, rows], WORDS * chunks)
    } finally {
      numberKernels.give(kernel)
    }
    return { kind, records }
  }

  /** Reads what follows `position` up to the end of the chunk, and some more for the last token. */
  function load(
    kernel: NumberKernel,
    backing: Backing,
    chunk: number,
    position: number,
    column: number,
    inside: number,
    until = (chunk + 1) * TEXT_CHUNK,
  ): void {
    const stop = Math.min(backing.size, until + TOKEN)
    const got = backing.read(position, kernel.input.subarray(0, stop - position))
    if (got < stop - position)
      throw new LensError('io', name, 'the backing gave fewer bytes than it has; look at it again', position)
    const { state } = kernel
    state.position = 0
    state.column = column
    state.inside = inside
    state.limit = got
    state.lineEnd = stop === backing.size
    state.end = until >= backing.size ? got + 1 : until - position
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const index = indexOf(backing)
    const bytes = Math.max(0, Math.min(out.length, totalOf(index, columns) * width - at))
    if (bytes < out.length) out.fill(0, bytes)
    if (bytes === 0) return
    const { records, kind } = index
    let chunk = chunkOf(index, Math.floor(at / width), columns)
    let skip = at - valuesBefore(index, chunk, columns) * width
    const kernel = numberKernels.take()
    try {
      kernel.want(wanted, kind.delimiter)
      for (let filled = 0; filled < bytes; chunk++) {
        const state = records[WORDS * chunk + 3] ?? 0
        const position = chunk * TEXT_CHUNK + (state >> 4)
        let left = valuesBefore(index, chunk + 1, columns) - valuesBefore(index, chunk, columns)
        if (left === 0) continue
        load(kernel, backing, chunk, position, records[WORDS * chunk + 2] ?? 0, state & 15)
        while (!kernel.done && filled < bytes) {
          const n = kernel.parse()
          left -= n
          const part = Math.min(bytes - filled, n * width - skip)
          if (part > 0) out.set(kernel.output.subarray(skip, skip + part), filled)
          filled += Math.max(0, part)
          skip = Math.max(0, skip - n * width)
        }
        if (filled < bytes && left !== 0)
          throw new LensError('io', name, 'the backing has changed; look at it again', position)
      }
    } finally {
      numberKernels.give(kernel)
    }
  }

  function locate(backing: Backing, offset: number): number | undefined {
    const index = indexOf(backing)
    const { kind, records } = index
    if (offset < kind.start || offset >= backing.size || totalOf(index, columns) === 0) return undefined
    let chunk = Math.floor(offset / TEXT_CHUNK)
    const start = (): number => chunk * TEXT_CHUNK + ((records[WORDS * chunk + 3] ?? 0) >> 4)
    while (chunk > 0 && start() > offset) chunk--
    if (start() > offset) return undefined
    const kernel = numberKernels.take()
    try {
      kernel.want(wanted, kind.delimiter)
      // Blanks and a quote before a field belong to it.
      const before = new Uint8Array(Math.min(64, offset - start()))
      backing.read(offset - before.length, before)
      let from = offset
      for (let i = before.length - 1; i >= 0; i--, from--) {
        const byte = before[i]
        if (byte !== 32 && byte !== 34 && !(byte === 9 && kind.delimiter !== 9)) break
        if (kind.delimiter === 32 && byte !== 34) break
      }
      const state = records[WORDS * chunk + 3] ?? 0
      load(kernel, backing, chunk, start(), records[WORDS * chunk + 2] ?? 0, state & 15, from)
      let values = valuesBefore(index, chunk, columns)
      while (!kernel.done) values += kernel.parse()
      const { column, inside } = kernel.state
      const isField = (inside & 7) === 0 && kernel.state.position === from - start()
      if (!isField || values >= totalOf(index, columns)) return undefined
      return columns && !columns.includes(column) ? undefined : values * width
    } finally {
      numberKernels.give(kernel)
    }
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    if (mine.has(backing)) return
    const kind = sniff(backing) ?? NOTHING
    const indexes = indexesOf(kind)
    const known = indexes.get(backing)
    if (known) {
      mine.set(backing, known)
      return
    }
    const stored = `rows${layoutOf(kind)}`
    const saved = store.load(backing.identity, stored)
    const words = WORDS * (Math.ceil(backing.size / TEXT_CHUNK) + 1)
    const index =
      saved?.length === 4 * words
        ? { kind, records: new Uint32Array(saved.slice().buffer) }
        : build(backing, kind, pause)
    indexes.set(backing, index)
    mine.set(backing, index)
    if (saved?.length === 4 * words) return
    const { buffer, byteOffset, byteLength } = index.records
    store.save(backing.identity, stored, new Uint8Array(buffer, byteOffset, byteLength))
  }

  return {
    name,
    size: backing => totalOf(indexOf(backing), columns) * width,
    get,
    locate,
    suits: backing => sniff(backing) !== undefined,
    prepare,
  }
}

/** The last chunk before which there are no more than `value` values, and in which some are. */
function chunkOf(index: RowIndex, value: number, columns: Columns): number {
  let low = 0
  let high = index.records.length / WORDS - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (valuesBefore(index, middle, columns) <= value) low = middle
    else high = middle - 1
  }
  return low
}

/** 'numbers-f64', 'numbers-i64/2', 'numbers-f64:high/0,3'. */
export function numbersNamed(name: string): Lens | undefined {
  const match = /^numbers-(f64|f32|i64|i32)(?::(high|legacy))?(?:\/([0-9]+(?:,[0-9]+)*))?$/.exec(name)
  if (!match) return undefined
  const columns = match[3]?.split(',').map(Number)
  const ascending = columns?.every(
    (column, i) => column < MOST_COLUMNS && (i === 0 || column > (columns[i - 1] ?? 0)),
  )
  if (ascending === false || (columns && columns.join(',') !== match[3])) return undefined
  const method = match[2] ?? 'nearest'
  return numbers(
    match[1] as NumberType,
    columns,
    Object.hasOwn(methods, method) ? (method as Method) : 'nearest',
  )
}

/**
 * The lenses that are worth a try on a backing, best first: all values, then the numeric columns together if others are
 * text, then each numeric column, as the types of so many bits that programs give them. `most` bounds the number of columns tried.
 */
export function numberLenses(backing: Backing, most = 64, bits: 32 | 64 = 64): string[] {
  const kind = sniff(backing)
  if (!kind) return []
  const [float, whole] = bits === 64 ? ['numbers-f64', 'numbers-i64'] : ['numbers-f32', 'numbers-i32']
  const names = [float]
  const { numeric, columns } = kind
  if (numeric.length > 1 && numeric.length < columns)
    names.push(`${float}/${numeric.map(field => field.column).join(',')}`)
  if (numeric.every(field => field.integer)) names.push(whole)
  for (const { column, integer } of columns > 1 ? numeric.slice(0, most) : [])
    names.push(integer ? `${whole}/${column}` : `${float}:high/${column}`, `${float}/${column}`)
  return names
}
