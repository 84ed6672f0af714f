/**
 * A column of numbers of a Parquet file.
 *
 *   parquet?as=f64&column=price           a nested one by its path: &column=a&column=b
 *
 * hyparquet reads the file's metadata; pages are found by their headers, and decoded one at a time (parquet-page.ts). Values are
 * hyparquet's: a DECIMAL is scaled, other logical types (dates, times) are the numbers that are stored. Booleans are 0 and
 * 1. Lists and text are refused. What is null is missing (column-pages.ts).
 */
import type { ColumnMetaData, FileMetaData, SchemaTree } from 'hyparquet'
import type { Backing } from '../backing/backing.ts'
import type { StoredType } from './arrays.ts'
import { type BlockCodec, decodeBlock } from './block-codecs.ts'
import { type PagedColumn, pagedLens } from './column-pages.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { hyparquet } from './hyparquet.ts'
import type { Lens } from './lens.ts'
import { decodePage, type PageHeader, pageHeader, type Physical } from './parquet-page.ts'

const CODECS: Readonly<Record<string, BlockCodec>> = {
  UNCOMPRESSED: 'none',
  SNAPPY: 'snappy',
  GZIP: 'gzip',
  BROTLI: 'brotli',
  ZSTD: 'zstd',
  LZ4_RAW: 'lz4',
}
const STORED: Readonly<Record<string, readonly [StoredType, number]>> = {
  BOOLEAN: ['u8', 1],
  INT32: ['i32', 4],
  INT64: ['i64', 8],
  FLOAT: ['f32', 4],
  DOUBLE: ['f64', 8],
}
const MOST_HEADER = 2 ** 16

export interface ParquetOptions<T extends ElementType = ElementType> {
  readonly as: T
  /** Names from the outside inwards. */
  readonly column: readonly string[]
  readonly missing?: number | bigint
}

interface PagePlace {
  readonly at: number
  readonly header: PageHeader
}

/** Pages of one column in one row group. */
interface Chunk {
  readonly meta: ColumnMetaData
  /** Number of its first row. */
  readonly first: number
  readonly pages: readonly PagePlace[]
  dictionary: Uint8Array | undefined
}

function metadataOf(lens: string, backing: Backing): FileMetaData {
  const tail = Buffer.alloc(8)
  const magic = backing.size < 12 ? 0 : backing.read(backing.size - 8, tail)
  if (magic !== 8 || tail.toString('latin1', 4) !== 'PAR1')
    throw new LensError(
      'corrupt',
      lens,
      'this is no Parquet file, or it is cut off: there is no PAR1 at its end',
      backing.size,
    )
  const length = tail.readUInt32LE(0)
  if (length + 12 > backing.size)
    throw new LensError('corrupt', lens, 'its metadata are longer than it is', backing.size - 8)
  const footer = new Uint8Array(length + 8)
  backing.read(backing.size - 8 - length, footer)
  try {
    return hyparquet().parquetMetadata(footer, { geoparquet: false })
  } catch (error) {
    throw new LensError('corrupt', lens, 'its metadata are damaged', backing.size - 8 - length, error)
  }
}

function leaves(tree: SchemaTree): SchemaTree[] {
  return tree.children.length === 0 ? [tree] : tree.children.flatMap(leaves)
}

interface Leaf {
  readonly of: StoredType
  readonly width: number
  readonly physical: Physical
  /** Definition level of what is there. */
  readonly most: number
  readonly scale: number | undefined
}

function leafOf(lens: string, metadata: FileMetaData, column: readonly string[]): Leaf {
  const root = hyparquet().parquetSchema(metadata)
  let tree: SchemaTree = root
  let most = 0
  for (const name of column) {
    const next = tree.children.find(({ element }) => element.name === name)
    if (!next) {
      const names = leaves(root).map(({ path }) => JSON.stringify(path.join('.')))
      const shown =
        names.slice(0, 50).join(', ') + (names.length > 50 ? ` and ${names.length - 50} more` : '')
      throw new LensError(
        'range',
        lens,
        `there is no column ${JSON.stringify(column.join('.'))}; the columns are ${shown}`,
      )
    }
    tree = next
    const repetition = tree.element.repetition_type
    if (repetition === 'REPEATED') return refuse(lens, column, 'lists')
    if (repetition === 'OPTIONAL') most++
  }
  const { type, type_length, converted_type, logical_type, scale } = tree.element
  if (tree.children.length > 0) return refuse(lens, column, 'several columns; name one of them')
  const kind = logical_type?.type
  if (type === 'FIXED_LEN_BYTE_ARRAY' && type_length === 2 && kind === 'FLOAT16')
    return { of: 'f16', width: 2, physical: type, most, scale: undefined }
  const [of, width] =
    STORED[type ?? ''] ?? refuse(lens, column, `${type ?? 'nothing'}, which are no numbers of 8 to 64 bits`)
  const unsigned =
    (converted_type ?? '').startsWith('UINT') || (logical_type?.type === 'INTEGER' && !logical_type.isSigned)
  const decimal = converted_type === 'DECIMAL' || kind === 'DECIMAL'
  return {
    of: unsigned ? (of === 'i64' ? 'u64' : 'u32') : of,
    width,
    physical: type as Physical,
    most,
    scale: decimal ? 10 ** -(scale ?? 0) : undefined,
  }
}

function refuse(lens: string, column: readonly string[], what: string): never {
  throw new LensError('unsupported', lens, `the column ${JSON.stringify(column.join('.'))} holds ${what}`)
}

function bytesAt(lens: string, backing: Backing, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  if (backing.read(at, bytes) !== length) throw new LensError('corrupt', lens, 'the file is cut off', at)
  return bytes
}

function headerAt(lens: string, backing: Backing, at: number): PageHeader {
  for (let most = 256; ; most *= 8) {
    const bytes = new Uint8Array(most)
    try {
      return pageHeader(bytes.subarray(0, backing.read(at, bytes)))
    } catch (error) {
      if (most >= MOST_HEADER) throw new LensError('corrupt', lens, 'a page has no good header', at, error)
    }
  }
}

function chunkOf(lens: string, backing: Backing, meta: ColumnMetaData, first: number): Chunk {
  const offsets = [meta.dictionary_page_offset, meta.data_page_offset].filter(
    each => each !== undefined && each > 0n,
  )
  let at = Math.min(...offsets.map(Number))
  const end = at + Number(meta.total_compressed_size)
  const pages: PagePlace[] = []
  let values = 0
  while (at < end && values < Number(meta.num_values)) {
    const header = headerAt(lens, backing, at)
    if (header.size > 2 ** 30 || header.values > 2 ** 28 || at + header.length + header.packed > backing.size)
      throw new LensError('corrupt', lens, 'a page has no good header', at)
    pages.push({ at, header })
    if (header.kind !== 'dictionary' && header.kind !== 'other') values += header.values
    at += header.length + header.packed
  }
  if (values !== Number(meta.num_values))
    throw new LensError('corrupt', lens, `a chunk has ${values} values and not ${meta.num_values}`, end)
  return { meta, first, pages, dictionary: undefined }
}

function open(lens: string, column: readonly string[], backing: Backing): PagedColumn {
  const metadata = metadataOf(lens, backing)
  const { of, width, physical, most, scale } = leafOf(lens, metadata, column)
  const chunks: Chunk[] = []
  const pages: { readonly chunk: Chunk; readonly place: PagePlace }[] = []
  const starts: number[] = []
  let row = 0
  for (const { columns } of metadata.row_groups) {
    const path = column.join('\0')
    const meta = columns.find(each => each.meta_data?.path_in_schema.join('\0') === path)?.meta_data
    if (!meta) throw new LensError('corrupt', lens, 'a row group lacks the column', backing.size)
    const chunk = chunkOf(lens, backing, meta, row)
    chunks.push(chunk)
    for (const place of chunk.pages)
      if (place.header.kind === 'data' || place.header.kind === 'data2') {
        starts.push(row)
        pages.push({ chunk, place })
        row += place.header.values
      }
  }
  starts.push(row)

  /** Levels and values of a page, decompressed. */
  function contents({ meta }: Chunk, { at, header }: PagePlace): Uint8Array {
    const codec = CODECS[meta.codec]
    if (!codec)
      throw new LensError('unsupported', lens, `pages are compressed by ${meta.codec}, which is not read`, at)
    const packed = bytesAt(lens, backing, at + header.length, header.packed)
    if (header.kind !== 'data2') return decodeBlock(lens, codec, packed, header.size, at)
    const levels = header.repetitionBytes + header.definitionBytes
    if (!header.compressed) return packed
    const values = decodeBlock(lens, codec, packed.subarray(levels), header.size - levels, at)
    return Buffer.concat([packed.subarray(0, levels), values])
  }

  function dictionaryOf(chunk: Chunk): Uint8Array | undefined {
    const place = chunk.pages.find(({ header }) => header.kind === 'dictionary')
    if (place && !chunk.dictionary) {
      // One dictionary at a time: they can be as large as pages.
      for (const each of chunks) each.dictionary = undefined
      chunk.dictionary = contents(chunk, place).subarray(0, place.header.values * width)
    }
    return chunk.dictionary
  }

  return {
    of,
    starts: Float64Array.from(starts),
    ...(scale === undefined ? {} : { scale }),
    page(number) {
      const { chunk, place } = pages[number] as (typeof pages)[number]
      const bytes = contents(chunk, place)
      try {
        return decodePage(place.header, bytes, { physical, width, most, dictionary: dictionaryOf(chunk) })
      } catch (error) {
        if (error instanceof LensError) throw error
        const why = error instanceof Error ? error.message : String(error)
        throw new LensError('corrupt', lens, `a page can't be decoded: ${why}`, place.at, error)
      }
    },
  }
}

export function parquetLens<T extends ElementType>({ as, column, missing }: ParquetOptions<T>): TypedLens<T> {
  const parameters = new URLSearchParams({ as })
  for (const name of column) parameters.append('column', name)
  if (missing !== undefined) parameters.append('missing', String(missing))
  const name = `parquet?${parameters}`
  return pagedLens({
    name,
    as,
    ...(missing === undefined ? {} : { missing }),
    open: backing => open(name, column, backing),
  })
}

/** Columns of numbers that a Parquet file has, by their paths; none if it is no Parquet file. */
export function parquetColumns(
  backing: Backing,
): { readonly column: readonly string[]; readonly of: StoredType; readonly scaled: boolean }[] {
  const head = Buffer.alloc(4)
  if (backing.read(0, head) !== 4 || head.toString('latin1') !== 'PAR1') return []
  const metadata = metadataOf('parquet', backing)
  return leaves(hyparquet().parquetSchema(metadata)).flatMap(({ path }) => {
    try {
      const { of, scale } = leafOf('parquet', metadata, path)
      return [{ column: path, of, scaled: scale !== undefined }]
    } catch {
      return []
    }
  })
}

export function parquetNamed(name: string): Lens | undefined {
  if (!name.startsWith('parquet?')) return undefined
  const parameters = new URLSearchParams(name.slice(8))
  const as = parameters.get('as') ?? ''
  if (!Object.hasOwn(elementBytes, as))
    throw new LensError('unsupported', name, `${as} is no type of numbers`)
  const missing = parameters.get('missing')
  return parquetLens({
    as: as as ElementType,
    column: parameters.getAll('column'),
    ...(missing === null ? {} : { missing: /^-?[0-9]+$/.test(missing) ? BigInt(missing) : Number(missing) }),
  })
}
