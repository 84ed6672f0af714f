/**
 * Pages of a Parquet column of numbers (the format's README and Encodings.md): header, levels, values.
 *
 * Encodings: PLAIN, dictionary (RLE and bit-packed indices), DELTA_BINARY_PACKED, BYTE_STREAM_SPLIT, RLE for booleans. Values come as
 * they lie in a PLAIN page: little endian, without those that are missing.
 */

export type Physical = 'BOOLEAN' | 'INT32' | 'INT64' | 'FLOAT' | 'DOUBLE' | 'FIXED_LEN_BYTE_ARRAY'

export interface PageHeader {
  readonly kind: 'data' | 'data2' | 'dictionary' | 'other'
  /** Bytes of the header, of what follows it, and of what that makes. */
  readonly length: number
  readonly packed: number
  readonly size: number
  /** With the missing ones. */
  readonly values: number
  readonly encoding: number
  /** data2: bytes of levels before the values, which are not compressed, and whether the values are. */
  readonly repetitionBytes: number
  readonly definitionBytes: number
  readonly compressed: boolean
}

type Struct = Map<number, unknown>

/** Thrift's compact protocol, as far as page headers need it. */
class Compact {
  at = 0
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  #byte(): number {
    const byte = this.#bytes[this.at++]
    if (byte === undefined) throw new RangeError('a page header has no end')
    return byte
  }

  #varint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#byte()
      value += (byte & 127) * scale
      if (byte < 128) return value
      if (scale > 2 ** 60) throw new RangeError('a number in a page header has no end')
    }
  }

  #signed(): number {
    const value = this.#varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  #value(type: number): unknown {
    switch (type) {
      case 1:
      case 2:
        return type === 1
      case 3:
        return this.#byte()
      case 4:
      case 5:
      case 6:
        return this.#signed()
      case 7:
        this.at += 8
        return undefined
      case 8:
        this.at += this.#varint()
        return undefined
      case 9:
      case 10: {
        const head = this.#byte()
        const count = head >> 4 === 15 ? this.#varint() : head >> 4
        for (let i = 0; i < count; i++) this.#value(head & 15)
        return undefined
      }
      case 12:
        return this.struct()
      default:
        throw new RangeError('a page header makes no sense')
    }
  }

  struct(): Struct {
    const fields: Struct = new Map()
    for (let id = 0; ; ) {
      const head = this.#byte()
      if (head === 0) return fields
      id = head >> 4 === 0 ? this.#signed() : id + (head >> 4)
      fields.set(id, this.#value(head & 15))
    }
  }
}

/** Reads the header at the start of `bytes`. RangeError if it is none. */
export function pageHeader(bytes: Uint8Array): PageHeader {
  const reader = new Compact(bytes)
  const header = reader.struct()
  const number = (struct: unknown, id: number): number => {
    const value = struct instanceof Map ? struct.get(id) : undefined
    return typeof value === 'number' ? value : 0
  }
  const one = header.get(5)
  const two = header.get(8)
  const dictionary = header.get(7)
  const inner = one ?? two ?? dictionary
  const kinds = ['data', 'other', 'dictionary', 'data2'] as const
  return {
    kind: kinds[number(header, 1)] ?? 'other',
    length: reader.at,
    size: number(header, 2),
    packed: number(header, 3),
    values: number(inner, 1),
    encoding: number(inner, two ? 4 : 2),
    definitionBytes: number(two, 5),
    repetitionBytes: number(two, 6),
    compressed: !(two instanceof Map && two.get(7) === false),
  }
}

/** Runs of equal numbers and bit-packed numbers, `count` of them, from `at` on. */
function hybrid(bytes: Uint8Array, at: number, end: number, width: number, count: number): Int32Array {
  const out = new Int32Array(count)
  const valueBytes = (width + 7) >> 3
  let position = at
  let made = 0
  while (made < count) {
    if (position >= end) throw new RangeError('runs end too early')
    let head = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[position++] ?? 0
      head |= (byte & 127) << shift
      if (byte < 128) break
    }
    if (head & 1) {
      const values = Math.min((head >>> 1) * 8, count - made)
      let bit = position * 8
      for (let i = 0; i < values; i++, bit += width) {
        let value = 0
        for (let got = 0; got < width; ) {
          const from = (bit + got) & 7
          const part = Math.min(8 - from, width - got)
          value |= (((bytes[(bit + got) >> 3] ?? 0) >> from) & ((1 << part) - 1)) << got
          got += part
        }
        out[made++] = value
      }
      position += (head >>> 1) * width
    } else {
      let value = 0
      for (let i = 0; i < valueBytes; i++) value |= (bytes[position++] ?? 0) << (8 * i)
      const run = Math.min(head >>> 1, count - made)
      out.fill(value, made, made + run)
      made += run
    }
  }
  return out
}

const levelWidth = (most: number): number => 32 - Math.clz32(most)

function deltas(bytes: Uint8Array, start: number, count: number, width: 4 | 8): Uint8Array {
  let at = start
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw new RangeError('deltas end too early')
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  const signed = (): bigint => {
    const value = varint()
    return (value >> 1n) ^ -(value & 1n)
  }
  const block = Number(varint())
  const minis = Number(varint())
  varint()
  const out = new Uint8Array(count * width)
  const view = new DataView(out.buffer)
  const put = (i: number, value: bigint): void =>
    width === 4
      ? view.setInt32(i * 4, Number(BigInt.asIntN(32, value)), true)
      : view.setBigInt64(i * 8, value, true)
  let value = signed()
  if (count > 0) put(0, value)
  const each = block / minis
  for (let made = 1; made < count; ) {
    const least = signed()
    const widths = bytes.subarray(at, at + minis)
    at += minis
    for (let m = 0; m < minis && made < count; m++) {
      const bits = widths[m] ?? 0
      for (let i = 0, bit = at * 8; i < each && made < count; i++, bit += bits) {
        value = BigInt.asIntN(64, value + least + packed(bytes, bit, bits))
        put(made++, value)
      }
      at += (each * bits) / 8
    }
  }
  return out
}

/** `bits` bits from bit `bit` on. */
function packed(bytes: Uint8Array, bit: number, bits: number): bigint {
  let low = 0
  let high = 0
  for (let got = 0; got < bits; ) {
    const from = (bit + got) & 7
    const part = Math.min(8 - from, bits - got, got < 32 ? 32 - got : 64)
    const value = ((bytes[(bit + got) >> 3] ?? 0) >> from) & ((1 << part) - 1)
    if (got < 32) low = (low | (value << got)) >>> 0
    else high = (high | (value << (got - 32))) >>> 0
    got += part
  }
  return (BigInt(high) << 32n) | BigInt(low)
}

export interface PageOptions {
  readonly physical: Physical
  /** Bytes of a value; 1 for a boolean. */
  readonly width: number
  /** The definition level of a value that is there. */
  readonly most: number
  readonly dictionary: Uint8Array | undefined
}

export interface Page {
  /** Values that are there, in order. */
  readonly values: Uint8Array
  /** For each value, with the missing ones, 1 if it is there; undefined if all are. */
  readonly there: Uint8Array | undefined
}

/** Decodes a page whose bytes are decompressed (levels and values). RangeError or an Error with a text if that can't be. */
export function decodePage(
  header: PageHeader,
  bytes: Uint8Array,
  { physical, width, most, dictionary }: PageOptions,
): Page {
  let at = 0
  let there: Uint8Array | undefined
  let count = header.values
  if (header.kind === 'data2') at = header.repetitionBytes
  if (most > 0) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const length = header.kind === 'data2' ? header.definitionBytes : view.getUint32(at, true)
    if (header.kind === 'data') at += 4
    const levels = hybrid(bytes, at, at + length, levelWidth(most), header.values)
    at += length
    count = 0
    for (const level of levels) if (level === most) count++
    if (count < header.values) there = Uint8Array.from(levels, level => (level === most ? 1 : 0))
  } else if (header.kind === 'data2') at += header.definitionBytes
  return { values: valuesOf(header.encoding, bytes, at, count, physical, width, dictionary), there }
}

function valuesOf(
  encoding: number,
  bytes: Uint8Array,
  at: number,
  count: number,
  physical: Physical,
  width: number,
  dictionary: Uint8Array | undefined,
): Uint8Array {
  const plain = bytes.subarray(at, at + count * width)
  switch (encoding) {
    case 0:
      if (physical === 'BOOLEAN')
        return Uint8Array.from({ length: count }, (_, i) => ((bytes[at + (i >> 3)] ?? 0) >> (i & 7)) & 1)
      if (plain.length < count * width) throw new RangeError('values end too early')
      return plain
    case 3: {
      if (physical !== 'BOOLEAN') break
      const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
      return Uint8Array.from(hybrid(bytes, at + 4, at + 4 + length, 1, count))
    }
    case 2:
    case 8: {
      if (!dictionary) throw new RangeError('there is no dictionary')
      const bits = bytes[at] ?? 0
      const indices = bits === 0 ? new Int32Array(count) : hybrid(bytes, at + 1, bytes.length, bits, count)
      return looked(dictionary, indices, width)
    }
    case 5:
      return deltas(bytes, at, count, width === 4 ? 4 : 8)
    case 9: {
      const out = new Uint8Array(count * width)
      for (let part = 0; part < width; part++)
        for (let i = 0; i < count; i++) out[i * width + part] = bytes[at + part * count + i] ?? 0
      return out
    }
    default:
  }
  throw new RangeError(`encoding ${encoding} of ${physical} is not read`)
}

function looked(dictionary: Uint8Array, indices: Int32Array, width: number): Uint8Array {
  const entries = dictionary.length / width
  const out = new Uint8Array(indices.length * width)
  // A copy begins at a multiple of eight, wherever the dictionary does.
  const [from, to] = [new Uint8Array(dictionary).buffer, out.buffer]
  if (width === 8 || width === 4) {
    const source = new Int32Array(from)
    const made = new Int32Array(to)
    const words = width / 4
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i] as number
      if (index >= entries) throw new RangeError('a value is not in the dictionary')
      made[i * words] = source[index * words] as number
      if (words === 2) made[i * 2 + 1] = source[index * 2 + 1] as number
    }
    return out
  }
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i] ?? 0
    if (index >= entries) throw new RangeError('a value is not in the dictionary')
    out.set(dictionary.subarray(index * width, (index + 1) * width), i * width)
  }
  return out
}
