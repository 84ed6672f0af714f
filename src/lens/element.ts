/**
 * What the bytes that a lens makes are elements of: numbers of one type, or records with the layout of a C struct. A lens
 * says it by `element`; for the older families it follows from the name ('f16-f32', 'numbers-i64/2', 'utf8-utf16').
 */
import type { Lens } from './lens.ts'

/** Bytes of an element, by type; little endian. */
export const elementBytes = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  f32: 4,
  f64: 8,
} as const

export type ElementType = keyof typeof elementBytes

/** The typed array of an element type. */
export interface ElementArrays {
  u8: Uint8Array
  i8: Int8Array
  u16: Uint16Array
  i16: Int16Array
  u32: Uint32Array
  i32: Int32Array
  u64: BigUint64Array
  i64: BigInt64Array
  f32: Float32Array
  f64: Float64Array
}

export interface RecordField {
  readonly name: string
  readonly type: ElementType
  /** Bytes from the start of the record; a multiple of the type's size. */
  readonly offset: number
  /** Elements, where the field is a short array (text of fixed width is `u8`). */
  readonly count?: number
}

/** A C struct: its fields in order, padded as a C compiler does. */
export interface RecordLayout {
  /** Of one record, with its padding at the end. */
  readonly bytes: number
  readonly fields: readonly RecordField[]
}

export type Element = ElementType | RecordLayout

/** A lens that says what it makes. */
export interface TypedLens<E extends Element = Element> extends Lens {
  readonly element: E
}

export const bytesOfElement = (element: Element): number =>
  typeof element === 'string' ? elementBytes[element] : element.bytes

const TARGET = /-(u8|i8|u16|i16|u32|i32|u64|i64|f32|f64|utf16|utf32)(?:$|[+:/])/

/** What a lens makes; bytes where nothing says more. */
export function elementOf(lens: Lens | undefined): Element {
  if (lens?.element !== undefined) return lens.element
  const last = lens?.name.slice(lens.name.lastIndexOf('|') + 1) ?? ''
  const target = TARGET.exec(last)?.[1]
  if (target === undefined) return 'u8'
  return target === 'utf16' ? 'u16' : target === 'utf32' ? 'u32' : (target as ElementType)
}
