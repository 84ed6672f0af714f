/**
 * The lenses of the library, as functions: what `through` and `map` take.
 *
 *   bytes to bytes      verbatim slice gunzip zlib unzstd unlz4 unxz bunzip2 rdb base64 toBase64 hex toHex crlf
 *   to characters       utf16 utf32 latin1 (of UTF-8), widen16 widen32 (of Latin-1), utf8 (of UTF-16)
 *   to numbers          elements csv tsv whitespace matrix ndjson parquet arrow hdf5 npy npz safetensors, to records scanf
 *
 * Each gives a Lens, whose name says all about it; docs/lenses.md has them in a table.
 */
import { type ArrayOptions, arrayLens, storedBytes, type StoredType } from '../lens/arrays.ts'
import { arrowLens } from '../lens/arrow.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { csvDefaults, csvName, type CsvOptions } from '../lens/csv-syntax.ts'
import {
  type Element,
  elementBytes,
  type ElementType,
  type RecordLayout,
  type TypedLens,
} from '../lens/element.ts'
import { hdf5Lens } from '../lens/hdf5.ts'
import { ndjsonLens } from '../lens/ndjson.ts'
import { parquetLens } from '../lens/parquet.ts'
import { range } from '../lens/range.ts'
import { scanfLens } from '../lens/scanf.ts'
import type { ScanfFields } from '../lens/scanf-format.ts'
import type { TableType } from '../lens/table-lens.ts'
import { type TensorFormat, tensorLens } from '../lens/tensors.ts'
import { MemoryError } from './errors.ts'

/** The one lens of a name: what it knows of a backing is then known to all who use it. */
function shared<E extends Element>(name: string): TypedLens<E> {
  return lensNamed(name) as TypedLens<E>
}

// Who calls these from JavaScript may have forgotten something.

function asked<T extends object>(lens: string, options: T): T {
  if (typeof options === 'object' && options !== null) return options
  throw new MemoryError('option', `${lens}: '${String(options)}' are no options; give an object`)
}

function typed<T extends string>(lens: string, what: string, type: T, types: object): T {
  if (Object.hasOwn(types, type)) return type
  throw new MemoryError(
    'option',
    `${lens}: ${what} is '${type}'; give one of ${Object.keys(types).join(', ')}`,
  )
}

function column<T>(lens: string, name: T): T {
  if (name !== undefined && name !== null) return name
  throw new MemoryError('option', `${lens}: no column is asked for; give its name (column)`)
}

/** The bytes as they are, from `offset` on. */
export const verbatim = (offset = 0): TypedLens<'u8'> =>
  shared(offset === 0 ? 'verbatim' : `verbatim@${offset}`)

/** `length` bytes from `offset` on. */
export const slice = (offset: number, length: number): TypedLens<'u8'> => shared(range(offset, length).name)

/** A gzip file of any number of members. */
export const gunzip = (): TypedLens<'u8'> => shared('gunzip')

/** A zlib stream that begins at `offset`. */
export const zlib = (offset = 0): TypedLens<'u8'> => shared(`zlib@${offset}`)

export const unzstd = (): TypedLens<'u8'> => shared('unzstd')
export const unlz4 = (): TypedLens<'u8'> => shared('unlz4')
export const unxz = (): TypedLens<'u8'> => shared('unxz')
export const bunzip2 = (): TypedLens<'u8'> => shared('bunzip2')
/** A dump of Redis or Valkey, its compressed strings decompressed. */
export const rdb = (): TypedLens<'u8'> => shared('rdb')

export interface Base64Options {
  /** Characters of a line, if there are lines. */
  readonly width?: number
  /** Whether lines end with CR LF. */
  readonly crlf?: boolean
}

const lines = ({ width, crlf }: Base64Options): string =>
  width === undefined ? '' : `/${width}${crlf ? 'crlf' : ''}`

/** Decodes base64. */
export const base64 = (options: Base64Options = {}): TypedLens<'u8'> =>
  shared(`base64-bytes${lines(options)}`)
/** Encodes to base64. */
export const toBase64 = (options: Base64Options = {}): TypedLens<'u8'> =>
  shared(`bytes-base64${lines(options)}`)
/** Decodes hexadecimal digits of either case. */
export const hex = (): TypedLens<'u8'> => shared('hex-bytes')
/** Encodes to hexadecimal digits. */
export const toHex = ({ upper = false }: { readonly upper?: boolean } = {}): TypedLens<'u8'> =>
  shared(upper ? 'bytes-HEX' : 'bytes-hex')

/** UTF-8 as UTF-16, as UTF-32, and as Latin-1 up to the first character that is none. */
export const utf16 = (): TypedLens<'u16'> => shared('utf8-utf16')
export const utf32 = (): TypedLens<'u32'> => shared('utf8-utf32')
export const latin1 = (): TypedLens<'u8'> => shared('utf8-latin1')
/** Latin-1 as UTF-16, and as UTF-32. */
export const widen16 = (): TypedLens<'u16'> => shared('latin1-utf16')
export const widen32 = (): TypedLens<'u32'> => shared('latin1-utf32')
/** UTF-16 as UTF-8. */
export const utf8 = (): TypedLens<'u8'> => shared('utf16-utf8')
/** CR LF as LF. */
export const crlf = (): TypedLens<'u8'> => shared('crlf-lf')

/** Options of `elements`: `of` is what the file holds, and `as` what memory holds. */
export type ElementsOptions<T extends ElementType> = ArrayOptions<T>

/**
 * Numbers of one type, one after another: `elements('f32')`, `elements({ of: 'bf16', as: 'f32' })`,
 * `elements({ of: 'i16', as: 'f32', order: 'big', at: 44, scale: 1 / 32768 })`.
 */
export function elements<T extends ElementType>(type: T | ElementsOptions<T>): TypedLens<NoInfer<T>> {
  const options = typeof type === 'string' ? { of: type as StoredType, as: type } : asked('elements', type)
  typed('elements', 'of', options.of, storedBytes)
  typed('elements', 'as', options.as, elementBytes)
  return shared(arrayLens(options).name)
}

export interface TableOptions<T extends TableType = TableType> {
  /** f64, where it is not given. */
  readonly as?: T
  /** A character; a comma for csv, where it is not given. */
  readonly delimiter?: string
  /** '"' where it is not given; '' where quotes mean nothing. */
  readonly quote?: string
  /** Lines that begin with this character are no rows. */
  readonly comment?: string
  /** Whether the first row has the names of the columns. Not given: it does if a name is asked for, or a wanted field of it is no number. */
  readonly header?: boolean
  /** What stands for a field that is empty or no number: NaN and 'error' (integers) where it is not given. */
  readonly missing?: number | bigint | 'error'
  /** What a row with another number of fields than the first is: an 'error' where it is not given. */
  readonly ragged?: 'error' | 'missing'
}

export interface ColumnOptions<T extends TableType = TableType> extends TableOptions<T> {
  /** Its name, or its number from 0. */
  readonly column: string | number
}

export interface MatrixOptions<T extends TableType = TableType> extends TableOptions<T> {
  /** Names or numbers of columns, in the order in which a row has them in memory; all where it is not given. */
  readonly columns?: readonly (string | number)[]
}

function table<T extends TableType>(
  columns: readonly (string | number)[],
  { as, header, missing, ...more }: TableOptions<T>,
  usual: Partial<CsvOptions>,
): TypedLens<NoInfer<T>> {
  const type: TableType = as ?? 'f64'
  const options: CsvOptions = {
    ...csvDefaults(type),
    ...usual,
    ...more,
    columns,
    ...(header === undefined ? {} : { header }),
    ...(missing === undefined
      ? {}
      : { missing: type === 'i64' && missing !== 'error' ? BigInt(missing) : missing }),
  }
  return shared(csvName(options))
}

function tableColumn<T extends TableType>(
  lens: string,
  options: ColumnOptions<T>,
  usual: Partial<CsvOptions>,
): TypedLens<NoInfer<T>> {
  const { column: wanted, ...more } = asked(lens, options)
  return table([column(lens, wanted)], more, usual)
}

/** A column of a CSV file: RFC 4180, any delimiter. */
export const csv = <T extends TableType = 'f64'>(options: ColumnOptions<T>): TypedLens<NoInfer<T>> =>
  tableColumn('csv', options, {})

/** A column of a file whose fields are divided by tabs. */
export const tsv = <T extends TableType = 'f64'>(options: ColumnOptions<T>): TypedLens<NoInfer<T>> =>
  tableColumn('tsv', options, { delimiter: '\t' })

/** A column of a file whose fields are divided by any number of blanks. */
export const whitespace = <T extends TableType = 'f64'>(options: ColumnOptions<T>): TypedLens<NoInfer<T>> =>
  tableColumn('whitespace', options, { delimiter: ' ', quote: '' })

/** Several columns of a table, or all, row after row. */
export function matrix<T extends TableType = 'f64'>({
  columns = [],
  ...options
}: MatrixOptions<T> = {}): TypedLens<NoInfer<T>> {
  return table(columns, options, options.delimiter === ' ' ? { quote: '' } : {})
}

export interface NdjsonFieldOptions<T extends TableType = TableType> {
  /** A key of each line's object, or a path of keys from outside inwards. */
  readonly field: string | readonly string[]
  /** f64, where it is not given. */
  readonly as?: T
  /** As for csv. */
  readonly missing?: number | bigint | 'error'
}

/** A field of each line of JSON. */
export function ndjson<T extends TableType = 'f64'>(options: NdjsonFieldOptions<T>): TypedLens<NoInfer<T>> {
  const { field, as, missing } = asked('ndjson', options)
  if (field === undefined)
    throw new MemoryError('option', 'ndjson: no field is asked for; give its key, or a path of keys (field)')
  const path = typeof field === 'string' ? [field] : field
  const lens = ndjsonLens({ as: as ?? ('f64' as T), path, ...(missing === undefined ? {} : { missing }) })
  return shared(lens.name)
}

/**
 * Records that a format of scanf reads, as C structs: `scanf('%d=%f;\n', { key: 'i32', value: 'f32' })`. `packed` leaves no
 * padding between fields.
 */
export const scanf = (
  format: string,
  fields: ScanfFields,
  { packed = false }: { readonly packed?: boolean } = {},
): TypedLens<RecordLayout> => shared(scanfLens({ format, fields, packed }).name)

const tensor = <T extends ElementType>(format: TensorFormat, as: T, name?: string): TypedLens<NoInfer<T>> =>
  shared(
    tensorLens(format, {
      as: typed(format, 'as', as, elementBytes),
      ...(name === undefined ? {} : { name }),
    }).name,
  )

export interface FileColumnOptions<T extends ElementType> {
  /** What memory holds: the column's own type, or one to which it converts. */
  readonly as: T
  /** Its name; names from the outside inwards, if it lies in a struct. */
  readonly column: string | readonly string[]
  /** What stands for null: NaN where it is not given, and an error for integers. */
  readonly missing?: number | bigint
}

/** The options with the column as a path. */
function byPath<T extends ElementType>(
  lens: string,
  options: FileColumnOptions<T>,
): FileColumnOptions<T> & { readonly column: readonly string[] } {
  typed(lens, 'as', asked(lens, options).as, elementBytes)
  const name = column(lens, options.column)
  return { ...options, column: typeof name === 'string' ? [name] : name }
}

/** A column of numbers of a Parquet file. */
export const parquet = <T extends ElementType>(options: FileColumnOptions<T>): TypedLens<NoInfer<T>> =>
  shared(parquetLens(byPath('parquet', options)).name)

/** A column of numbers of an Arrow file (Feather 2 is one) or stream. */
export const arrow = <T extends ElementType>(options: FileColumnOptions<T>): TypedLens<NoInfer<T>> =>
  shared(arrowLens(byPath('arrow', options)).name)

/** A dataset of an HDF5 file, by its path: row-major, contiguous or in chunks. */
export const hdf5 = <T extends ElementType>(options: {
  readonly as: T
  readonly dataset: string
}): TypedLens<T> => {
  typed('hdf5', 'as', asked('hdf5', options).as, elementBytes)
  return shared(hdf5Lens(options).name)
}

/** The array of a NumPy .npy file. */
export const npy = <T extends ElementType>(options: { readonly as: T }): TypedLens<NoInfer<T>> =>
  tensor('npy', asked('npy', options).as)
/** An array of a NumPy .npz archive. */
export const npz = <T extends ElementType>(options: {
  readonly as: T
  readonly name: string
}): TypedLens<NoInfer<T>> => tensor('npz', asked('npz', options).as, options.name)
/** A tensor of a safetensors file. */
export const safetensors = <T extends ElementType>(options: {
  readonly as: T
  readonly name: string
}): TypedLens<NoInfer<T>> => tensor('safetensors', asked('safetensors', options).as, options.name)

export { ownLens as lens, type LensSource, type OwnLens } from '../lens/own.ts'
