/** Arrays of elements over memory: a typed array where the element is a number, `Records` where it is a C struct. */
import {
  bytesOfElement,
  type Element,
  type ElementArrays,
  type ElementType,
  elementBytes,
  type RecordField,
  type RecordLayout,
} from '../lens/element.ts'

export type FieldValue = number | bigint | readonly (number | bigint)[]
/** One record, by the names of its fields. It is a copy. */
export type RecordValue = Readonly<Record<string, FieldValue>>

/** An array of C structs. */
export class Records {
  readonly length: number
  readonly layout: RecordLayout
  /** The records' own memory. */
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(layout: RecordLayout, buffer: ArrayBuffer, byteOffset: number, length: number) {
    this.layout = layout
    this.length = length
    this.bytes = new Uint8Array(buffer, byteOffset, length * layout.bytes)
    this.#view = new DataView(buffer, byteOffset, length * layout.bytes)
  }

  /** Record `i`; undefined outside, as in any array. A negative number counts from the end. */
  at(i: number): RecordValue | undefined {
    const index = i < 0 ? this.length + i : i
    if (!Number.isInteger(index) || index < 0 || index >= this.length) return undefined
    const start = index * this.layout.bytes
    return Object.fromEntries(
      this.layout.fields.map(field => [field.name, this.#field(start + field.offset, field)]),
    )
  }

  /** One field of record `i`, without making the others. */
  get(i: number, name: string): FieldValue {
    return this.#field(i * this.layout.bytes, this.#named(name), true)
  }

  /** Writes a field of record `i`. */
  set(i: number, name: string, value: number | bigint): void {
    const field = this.#named(name)
    setters[field.type](this.#view, i * this.layout.bytes + field.offset, value)
  }

  subarray(from: number, to: number): Records {
    const { bytes } = this.layout
    return new Records(
      this.layout,
      this.bytes.buffer as ArrayBuffer,
      this.bytes.byteOffset + from * bytes,
      to - from,
    )
  }

  *[Symbol.iterator](): Generator<RecordValue> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as RecordValue
  }

  #named(name: string): RecordField {
    const field = this.layout.fields.find(one => one.name === name)
    if (field !== undefined) return field
    const names = this.layout.fields.map(one => one.name).join(', ')
    throw new RangeError(`There is no field '${name}'; the record has ${names}`)
  }

  #field(at: number, { type, offset, count }: RecordField, inside = false): FieldValue {
    const start = inside ? at + offset : at
    const get = getters[type]
    if (count === undefined) return get(this.#view, start)
    return Array.from({ length: count }, (_, i) => get(this.#view, start + i * elementBytes[type]))
  }
}

const getters: Readonly<Record<ElementType, (view: DataView, at: number) => number | bigint>> = {
  u8: (view, at) => view.getUint8(at),
  i8: (view, at) => view.getInt8(at),
  u16: (view, at) => view.getUint16(at, true),
  i16: (view, at) => view.getInt16(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i32: (view, at) => view.getInt32(at, true),
  u64: (view, at) => view.getBigUint64(at, true),
  i64: (view, at) => view.getBigInt64(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  f64: (view, at) => view.getFloat64(at, true),
}

const setters: Readonly<Record<ElementType, (view: DataView, at: number, value: number | bigint) => void>> = {
  u8: (view, at, value) => view.setUint8(at, Number(value)),
  i8: (view, at, value) => view.setInt8(at, Number(value)),
  u16: (view, at, value) => view.setUint16(at, Number(value), true),
  i16: (view, at, value) => view.setInt16(at, Number(value), true),
  u32: (view, at, value) => view.setUint32(at, Number(value), true),
  i32: (view, at, value) => view.setInt32(at, Number(value), true),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  i64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  f32: (view, at, value) => view.setFloat32(at, Number(value), true),
  f64: (view, at, value) => view.setFloat64(at, Number(value), true),
}

/** What an array of such elements is. */
export type ArrayOf<E extends Element> = E extends ElementType
  ? ElementArrays[E]
  : E extends RecordLayout
    ? Records
    : never

/** What `at` gives. */
export type ValueOf<E extends Element> = E extends 'i64' | 'u64'
  ? bigint
  : E extends ElementType
    ? number
    : RecordValue

type AnyArray = {
  readonly length: number
  at(i: number): unknown
  subarray(from: number, to: number): unknown
}

const constructors: {
  readonly [T in ElementType]: new (
    buffer: ArrayBuffer,
    byteOffset: number,
    length: number,
  ) => ElementArrays[T]
} = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
}

/** `length` elements that lie at `byteOffset` of a buffer. */
export function elementsIn<E extends Element>(
  element: E,
  buffer: ArrayBuffer,
  byteOffset: number,
  length: number,
): ArrayOf<E> & AnyArray {
  const array: AnyArray =
    typeof element === 'string'
      ? new constructors[element as ElementType](buffer, byteOffset, length)
      : new Records(element as RecordLayout, buffer, byteOffset, length)
  return array as ArrayOf<E> & AnyArray
}

/** New memory for `length` elements, as bytes. */
export const roomFor = (element: Element, length: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(length * bytesOfElement(element))
