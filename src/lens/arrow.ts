/**
 * A column of numbers of an Arrow file (Feather 2 is one) or stream.
 *
 *   arrow?as=f64&column=price             a field of a struct by its path: &column=a&column=b
 *
 * Buffers are as they are, or compressed by LZ4 or zstd. Dates and times are the numbers that are stored; booleans are 0 and 1. Text,
 * lists and dictionaries are refused. What is null is missing (column-pages.ts).
 */
import type { Backing } from '../backing/backing.ts'
import { type StoredType, storedBytes } from './arrays.ts'
import { type BlockCodec, decodeBlock, decodeUpTo } from './block-codecs.ts'
import { type DecodedPage, type PagedColumn, pagedLens } from './column-pages.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { Table } from './flatbuffers.ts'
import type { Lens } from './lens.ts'

const MAGIC = 'ARROW1'
const MOST_BYTES = 2 ** 31
/** Rows of buffers that are not compressed are taken so many at a time. */
const ROWS = 2 ** 16

export interface ArrowOptions<T extends ElementType = ElementType> {
  readonly as: T
  readonly column: readonly string[]
  readonly missing?: number | bigint
}

/** Type numbers of the schema's union. */
const TYPE = {
  null: 1,
  int: 2,
  float: 3,
  bool: 6,
  date: 8,
  time: 9,
  timestamp: 10,
  struct: 13,
  union: 14,
  duration: 18,
  runs: 22,
  binaryView: 23,
  utf8View: 24,
}
const NAMES: Readonly<Record<number, string>> = {
  4: 'bytes',
  5: 'text',
  7: 'decimals',
  12: 'lists',
  13: 'structs; name a field',
  19: 'bytes',
  20: 'text',
  23: 'bytes',
  24: 'text',
}
/** Buffers of a field, where they are not two: validity and values. */
const BUFFERS: Readonly<Record<number, number>> = {
  1: 0,
  4: 3,
  5: 3,
  13: 1,
  16: 1,
  19: 3,
  20: 3,
  22: 0,
  25: 3,
  26: 3,
}

/** A record batch: its metadata, and where its body begins. */
interface Message {
  readonly batch: Table
  readonly body: number
}

interface Parts {
  readonly schema: Table
  readonly messages: readonly Message[]
}

function bytesAt(lens: string, backing: Backing, at: number, length: number): Uint8Array {
  const isThere = at >= 0 && length >= 0 && length <= MOST_BYTES && at + length <= backing.size
  const bytes = new Uint8Array(isThere ? length : 0)
  if (!isThere || backing.read(at, bytes) !== length)
    throw new LensError('corrupt', lens, 'the file is cut off or damaged', at)
  return bytes
}

/** The message at an offset; undefined at the end of a stream. */
function messageAt(
  lens: string,
  backing: Backing,
  at: number,
):
  | { readonly kind: number; readonly header: Table; readonly body: number; readonly end: number }
  | undefined {
  const head = Buffer.alloc(8)
  const got = backing.read(at, head)
  if (got < 4) return undefined
  const continues = head.readUInt32LE(0) === 0xffff_ffff
  const start = at + (continues ? 8 : 4)
  const length = head.readUInt32LE(continues ? 4 : 0)
  if (length === 0 || (continues && got < 8)) return undefined
  const message = Table.root(bytesAt(lens, backing, start, length))
  const header = message.table(2)
  if (!header) throw new LensError('corrupt', lens, 'a message is empty', at)
  const body = start + length
  return { kind: message.u8(1), header, body, end: body + message.i64(3) }
}

function partsOf(lens: string, backing: Backing): Parts {
  const head = Buffer.alloc(8)
  const isFile = backing.read(0, head) === 8 && head.toString('latin1', 0, 6) === MAGIC
  const messages: Message[] = []
  if (isFile) {
    const tail = Buffer.from(bytesAt(lens, backing, backing.size - 10, 10))
    if (tail.toString('latin1', 4) !== MAGIC)
      throw new LensError('corrupt', lens, 'the file is cut off: it does not end with ARROW1', backing.size)
    const length = tail.readInt32LE(0)
    const footer = Table.root(bytesAt(lens, backing, backing.size - 10 - length, length))
    const schema = footer.table(1)
    if (!schema) throw new LensError('corrupt', lens, 'there is no schema', backing.size)
    const blocks = footer.structs(3, 3)
    for (let i = 0; i < blocks.length; i += 3) {
      const found = messageAt(lens, backing, blocks[i] ?? 0)
      if (found?.kind !== 3)
        throw new LensError('corrupt', lens, 'a record batch is not where it should be', blocks[i])
      messages.push({ batch: found.header, body: found.body })
    }
    return { schema, messages }
  }
  const first = messageAt(lens, backing, 0)
  if (first?.kind !== 1) throw new LensError('corrupt', lens, 'this is no Arrow file and no Arrow stream', 0)
  for (let at = first.end; ; ) {
    const found = messageAt(lens, backing, at)
    if (!found) return { schema: first.header, messages }
    if (found.kind === 3) messages.push({ batch: found.header, body: found.body })
    at = found.end
  }
}

interface Field {
  readonly name: string
  readonly kind: number
  readonly table: Table
  readonly children: readonly Field[]
  /** Numbers of its first node and buffer in a batch. */
  readonly node: number
  readonly buffer: number
}

/** Fields in the order in which batches have them. */
function fieldsOf(tables: readonly Table[], next: { node: number; buffer: number }): Field[] {
  return tables.map(table => {
    const kind = table.u8(2)
    const { node, buffer } = next
    next.node++
    const isDictionary = table.table(4) !== undefined
    const sparse = kind === TYPE.union && table.table(3)?.i16(0) === 0
    next.buffer += isDictionary ? 2 : sparse ? 1 : (BUFFERS[kind] ?? 2)
    const children = isDictionary ? [] : fieldsOf(table.tables(5), next)
    return { name: table.text(0), kind: isDictionary ? 0 : kind, table, children, node, buffer }
  })
}

function typeOf({ kind, table }: Field): StoredType | undefined {
  const type = table.table(3)
  if (!type) return undefined
  switch (kind) {
    case TYPE.int:
      return `${type.u8(1) === 0 ? 'u' : 'i'}${type.i32(0)}` as StoredType
    case TYPE.float:
      return (['f16', 'f32', 'f64'] as const)[type.i16(0)]
    case TYPE.bool:
      return 'u8'
    case TYPE.date:
      return type.i16(0, 1) === 0 ? 'i32' : 'i64'
    case TYPE.time:
      return type.i32(1, 32) === 32 ? 'i32' : 'i64'
    case TYPE.timestamp:
    case TYPE.duration:
      return 'i64'
    default:
      return undefined
  }
}

function paths(fields: readonly Field[], above: readonly string[] = []): string[] {
  return fields.flatMap(field =>
    field.kind === TYPE.struct
      ? paths(field.children, [...above, field.name])
      : [JSON.stringify([...above, field.name].join('.'))],
  )
}

/** The fields of a path, from the outside inwards. */
function find(lens: string, schema: Table, column: readonly string[]): readonly Field[] {
  const all = fieldsOf(schema.tables(1), { node: 0, buffer: 0 })
  const found: Field[] = []
  let among = all
  for (const name of column) {
    const field = among.find(each => each.name === name)
    if (!field) {
      const names = paths(all)
      const shown =
        names.slice(0, 50).join(', ') + (names.length > 50 ? ` and ${names.length - 50} more` : '')
      throw new LensError(
        'range',
        lens,
        `there is no column ${JSON.stringify(column.join('.'))}; the columns are ${shown}`,
      )
    }
    found.push(field)
    among = field.kind === TYPE.struct ? [...field.children] : []
  }
  return found
}

function open(lens: string, column: readonly string[], backing: Backing): PagedColumn {
  const { schema, messages } = partsOf(lens, backing)
  if (schema.i16(0) !== 0) throw new LensError('unsupported', lens, 'the file is big-endian')
  const path = find(lens, schema, column)
  const field = path.at(-1)
  const of = field && typeOf(field)
  if (!field || !of || !Object.hasOwn(storedBytes, of)) {
    const what = field?.kind === 0 ? 'values of a dictionary' : (NAMES[field?.kind ?? 0] ?? 'no numbers')
    throw new LensError('unsupported', lens, `the column ${JSON.stringify(column.join('.'))} holds ${what}`)
  }
  const isBool = field.kind === TYPE.bool
  const width = storedBytes[of]
  const pages: { readonly message: Message; readonly from: number; readonly rows: number }[] = []
  const starts: number[] = [0]
  for (const message of messages) {
    const length = message.batch.i64(0)
    const isPacked = message.batch.table(3) !== undefined
    if (!(length >= 0 && length <= (isPacked ? MOST_BYTES / 8 : backing.size * 8)))
      throw new LensError('corrupt', lens, `a batch has ${length} rows`, message.body)
    const step = isPacked ? length : ROWS
    for (let from = 0; from < length; from += step) {
      const rows = Math.min(step, length - from)
      pages.push({ message, from, rows })
      starts.push((starts.at(-1) ?? 0) + rows)
    }
  }

  /** Bytes [from, to) of a buffer of a batch, decompressed. */
  function part({ batch, body }: Message, buffer: number, from: number, to: number): Uint8Array {
    const places = batch.structs(2, 2)
    const offset = places[2 * buffer]
    const length = places[2 * buffer + 1] ?? 0
    if (offset === undefined) throw new LensError('corrupt', lens, 'a batch lacks a buffer', body)
    const compression = batch.table(3)
    const at = body + offset
    if (!compression) {
      if (to > length) throw new LensError('corrupt', lens, 'a buffer is too short', at)
      return bytesAt(lens, backing, at + from, to - from)
    }
    const packed = bytesAt(lens, backing, at, length)
    const size = length < 8 ? 0 : Number(Buffer.from(packed.buffer).readBigInt64LE(0))
    const codec = size === -1 ? 'none' : compression.u8(0) === 1 ? 'zstd' : 'lz4-frame'
    if (size > 2 ** 31) throw new LensError('corrupt', lens, 'a buffer is too large', at)
    const content = packed.subarray(8)
    const bytes = length === 0 ? content : unpack(codec, content, size, at, to)
    if (to > bytes.length) throw new LensError('corrupt', lens, 'a buffer is too short', at)
    return bytes.subarray(from, to)
  }

  /** The size before a buffer is that of what it makes; apache-arrow for JavaScript (21) writes that of the buffer. */
  function unpack(codec: BlockCodec, content: Uint8Array, size: number, at: number, to: number): Uint8Array {
    if (codec === 'none') return content
    if (size !== content.length) return decodeBlock(lens, codec, content, size, at)
    return decodeUpTo(lens, codec, content, Math.max(size, to + 64), at)
  }

  const bit = (bytes: Uint8Array, i: number): number => ((bytes[i >> 3] ?? 0) >> (i & 7)) & 1

  function bits(message: Message, buffer: number, from: number, rows: number): Uint8Array {
    const first = from >> 3
    const bytes = part(message, buffer, first, Math.ceil((from + rows) / 8))
    return Uint8Array.from({ length: rows }, (_, i) => bit(bytes, from + i - first * 8))
  }

  function page(number: number): DecodedPage {
    const { message, from, rows } = pages[number] as (typeof pages)[number]
    const nodes = message.batch.structs(1, 2)
    let there: Uint8Array | undefined
    for (const each of path) {
      if ((nodes[2 * each.node + 1] ?? 0) === 0) continue
      const own = bits(message, each.buffer, from, rows)
      there = there ? there.map((value, i) => value & (own[i] ?? 0)) : own
    }
    const buffer = (field as Field).buffer + 1
    const values = isBool
      ? bits(message, buffer, from, rows)
      : part(message, buffer, from * width, (from + rows) * width)
    if (!there) return { values, there }
    // Arrow leaves room for what is missing.
    const kept: number[] = []
    for (let i = 0; i < rows; i++) if (there[i] === 1) kept.push(i)
    const packed = new Uint8Array(kept.length * width)
    for (const [i, row] of kept.entries())
      packed.set(values.subarray(row * width, (row + 1) * width), i * width)
    return { values: packed, there }
  }

  return { of, starts: Float64Array.from(starts), page }
}

/** Metadata that point beyond themselves are damaged. */
function guarded<R>(lens: string, action: () => R): R {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new LensError('corrupt', lens, 'its metadata are damaged', undefined, error)
  }
}

export function arrowLens<T extends ElementType>({ as, column, missing }: ArrowOptions<T>): TypedLens<T> {
  const parameters = new URLSearchParams({ as })
  for (const name of column) parameters.append('column', name)
  if (missing !== undefined) parameters.append('missing', String(missing))
  const name = `arrow?${parameters}`
  return pagedLens({
    name,
    as,
    ...(missing === undefined ? {} : { missing }),
    open: backing => {
      const found = guarded(name, () => open(name, column, backing))
      return { ...found, page: number => guarded(name, () => found.page(number)) }
    },
  })
}

/** Columns of numbers that an Arrow file (not a stream) has, by their names; none if it is none. */
export function arrowColumns(
  backing: Backing,
): { readonly column: readonly string[]; readonly of: StoredType }[] {
  const head = Buffer.alloc(8)
  if (backing.read(0, head) !== 8 || head.toString('latin1', 0, 6) !== MAGIC) return []
  const { schema } = guarded('arrow', () => partsOf('arrow', backing))
  const fields = fieldsOf(schema.tables(1), { node: 0, buffer: 0 })
  return fields.flatMap(field => {
    const of = typeOf(field)
    return of && Object.hasOwn(storedBytes, of) ? [{ column: [field.name], of }] : []
  })
}

export function arrowNamed(name: string): Lens | undefined {
  if (!name.startsWith('arrow?')) return undefined
  const parameters = new URLSearchParams(name.slice(6))
  const as = parameters.get('as') ?? ''
  if (!Object.hasOwn(elementBytes, as))
    throw new LensError('unsupported', name, `${as} is no type of numbers`)
  const missing = parameters.get('missing')
  return arrowLens({
    as: as as ElementType,
    column: parameters.getAll('column'),
    ...(missing === null ? {} : { missing: /^-?[0-9]+$/.test(missing) ? BigInt(missing) : Number(missing) }),
  })
}
