// DWARF's atoms: numbers, strings, attributes by form. Versions 2 to 5, as clang and rustc write them into WebAssembly.
import type { Module } from './module.ts'

const utf8 = new TextDecoder()

/** Attribute forms whose values are not what they say at once: an index into a table of the unit. */
export interface UnitTables {
  readonly offsetSize: 4 | 8
  readonly version: number
  readonly addressSize: number
  /** Where the unit's strings and addresses begin in .debug_str_offsets and .debug_addr. */
  stringBase: number
  addressBase: number
}

export type AttributeValue = number | string | Uint8Array | undefined

/** A cursor over one section. Reading behind its end throws a RangeError. */
export class SectionReader {
  readonly bytes: Uint8Array
  readonly #view: DataView
  at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.at = at
  }
  get ended(): boolean {
    return this.at >= this.bytes.length
  }
  u8(): number {
    return this.#view.getUint8(this.at++)
  }
  s8(): number {
    return this.#view.getInt8(this.at++)
  }
  u16(): number {
    this.at += 2
    return this.#view.getUint16(this.at - 2, true)
  }
  u24(): number {
    return this.u8() | (this.u16() << 8)
  }
  u32(): number {
    this.at += 4
    return this.#view.getUint32(this.at - 4, true)
  }
  /** Exact up to 2^53. */
  u64(): number {
    const low = this.u32()
    return low + this.u32() * 2 ** 32
  }
  sized(size: number): number {
    if (size === 1) return this.u8()
    if (size === 2) return this.u16()
    if (size === 4) return this.u32()
    return this.u64()
  }
  uleb(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.u8()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  sleb(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.u8()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return byte & 0x40 ? value - 2 ** (shift + 7) : value
    }
  }
  string(): string {
    const end = this.bytes.indexOf(0, this.at)
    if (end < 0) throw new RangeError('a string without an end')
    const text = utf8.decode(this.bytes.subarray(this.at, end))
    this.at = end + 1
    return text
  }
  block(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw new RangeError('a block behind the end')
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }
  /** A unit's length: its offset size and where it ends. */
  unit(): { offsetSize: 4 | 8; end: number } {
    const first = this.u32()
    if (first < 0xffff_fff0) return { offsetSize: 4, end: this.at + first }
    const length = this.u64()
    return { offsetSize: 8, end: this.at + length }
  }
}

/** The debug sections of a module. */
export class DebugSections {
  readonly #sections = new Map<string, Uint8Array>()
  /** Added to an address of DWARF, it is a byte of the module. */
  readonly codeOffset: number

  constructor(module: Module) {
    for (const { name, bytes } of module.customs)
      if (name.startsWith('.debug_')) this.#sections.set(name.slice(7), bytes)
    this.codeOffset = module.codeOffset
  }

  has(name: string): boolean {
    return this.#sections.has(name)
  }
  /** A reader of a section; of nothing if the module doesn't have it. */
  reader(name: string, at = 0): SectionReader {
    return new SectionReader(this.#sections.get(name) ?? new Uint8Array(0), at)
  }
  string(section: 'str' | 'line_str', at: number): string {
    return this.reader(section, at).string()
  }

  /** The value of an attribute: a number (also a flag, an offset, an address), a string, a block. */
  value(r: SectionReader, form: number, unit: UnitTables, unitStart: number, implicit = 0): AttributeValue {
    const { offsetSize } = unit
    switch (form) {
      case 0x01:
        return r.sized(unit.addressSize)
      case 0x03:
        return r.block(r.u16())
      case 0x04:
        return r.block(r.u32())
      case 0x05:
        return r.u16()
      case 0x06:
        return r.u32()
      case 0x07:
        return r.u64()
      case 0x08:
        return r.string()
      case 0x09:
      case 0x18:
        return r.block(r.uleb())
      case 0x0a:
        return r.block(r.u8())
      case 0x0b:
      case 0x0c:
        return r.u8()
      case 0x0d:
        return r.sleb()
      case 0x0e:
        return this.string('str', r.sized(offsetSize))
      case 0x0f:
      case 0x22:
      case 0x23:
        return r.uleb()
      case 0x10:
        return r.sized(unit.version === 2 ? unit.addressSize : offsetSize)
      case 0x11:
        return unitStart + r.u8()
      case 0x12:
        return unitStart + r.u16()
      case 0x13:
        return unitStart + r.u32()
      case 0x14:
        return unitStart + r.u64()
      case 0x15:
        return unitStart + r.uleb()
      case 0x16:
        return this.value(r, r.uleb(), unit, unitStart)
      case 0x17:
        return r.sized(offsetSize)
      case 0x19:
        return 1
      case 0x1a:
        return this.#indexedString(r.uleb(), unit)
      case 0x1b:
        return this.#indexedAddress(r.uleb(), unit)
      case 0x1c:
      case 0x1d:
        r.sized(offsetSize)
        return undefined
      case 0x1e:
        return r.block(16)
      case 0x1f:
        return this.string('line_str', r.sized(offsetSize))
      case 0x20:
      case 0x24:
        r.u64()
        return undefined
      case 0x21:
        return implicit
      case 0x25:
        return this.#indexedString(r.u8(), unit)
      case 0x26:
        return this.#indexedString(r.u16(), unit)
      case 0x27:
        return this.#indexedString(r.u24(), unit)
      case 0x28:
        return this.#indexedString(r.u32(), unit)
      case 0x29:
        return this.#indexedAddress(r.u8(), unit)
      case 0x2a:
        return this.#indexedAddress(r.u16(), unit)
      case 0x2b:
        return this.#indexedAddress(r.u24(), unit)
      case 0x2c:
        return this.#indexedAddress(r.u32(), unit)
      default:
        throw new RangeError(`DWARF form 0x${form.toString(16)}`)
    }
  }

  #indexedString(index: number, { offsetSize, stringBase }: UnitTables): string | undefined {
    const base = stringBase < 0 ? 2 * offsetSize : stringBase
    return this.string('str', this.reader('str_offsets', base + index * offsetSize).sized(offsetSize))
  }
  #indexedAddress(index: number, { addressSize, addressBase }: UnitTables): number {
    const base = addressBase < 0 ? 8 : addressBase
    return this.reader('addr', base + index * addressSize).sized(addressSize)
  }
}

/** Linkers give the code that they removed one of these addresses. */
export function isRemoved(address: number): boolean {
  return address === 0 || address >= 0xffff_fffe
}
