// Reading and writing the binary format's atoms: bytes, LEB128 numbers, names.
import { WasmError } from './errors.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** Reads from `bytes` up to `end`. `base` is where bytes[0] is in the module: errors name that place. */
export class Reader {
  readonly bytes: Uint8Array
  readonly base: number
  at: number
  end: number

  constructor(bytes: Uint8Array, base = 0) {
    this.bytes = bytes
    this.base = base
    this.at = 0
    this.end = bytes.length
  }

  fail(message: string, at: number = this.at): never {
    throw new WasmError('malformed', this.base + at, message)
  }

  byte(what: string): number {
    if (this.at >= this.end) this.fail(`the ${what} is missing: the section or the file ends here`)
    return this.bytes[this.at++] as number
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  u32(what: string): number {
    const start = this.at
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte(what)
      if (shift === 28 && byte > 0x0f)
        this.fail(
          byte >= 0x80 ? `the ${what} has more than 5 bytes` : `the ${what} has more than 32 bits`,
          start,
        )
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }

  /** An unsigned LEB128 number of at most 64 bits. Above 2^53 the number is the nearest double. */
  u64(what: string): number {
    const start = this.at
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte(what)
      if (shift === 63 && byte > 1)
        this.fail(
          byte >= 0x80 ? `the ${what} has more than 10 bytes` : `the ${what} has more than 64 bits`,
          start,
        )
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }

  /** A count of things that take at least `atLeast` bytes each: one that can't fit is refused here. */
  count(what: string, atLeast = 1): number {
    const start = this.at
    const count = this.u32(`number of ${what}`)
    if (count * atLeast > this.end - this.at)
      this.fail(`${count} ${what} can't be in the ${this.end - this.at} bytes that are left`, start)
    return count
  }

  /** The next `length` bytes, not copied. */
  view(length: number, what: string): Uint8Array {
    if (length > this.end - this.at)
      this.fail(`the ${what} should have ${length} bytes, but only ${this.end - this.at} are left`)
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  name(what: string): string {
    const length = this.count(`bytes of the ${what}`)
    const start = this.at
    const bytes = this.view(length, what)
    try {
      return decoder.decode(bytes)
    } catch {
      return this.fail(`the ${what} is not UTF-8`, start)
    }
  }
}

/** A buffer that grows. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>
  length = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
  }

  /** What was written, as a view: the next write may change it. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length)
  }
  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }

  #reserve(more: number): void {
    const need = this.length + more
    if (need <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }

  byte(value: number): void {
    if (this.length === this.#bytes.length) this.#reserve(1)
    this.#bytes[this.length++] = value
  }

  /** bytes[from, to). */
  bytes(bytes: Uint8Array, from = 0, to: number = bytes.length): void {
    const length = to - from
    this.#reserve(length)
    const out = this.#bytes
    // A view costs as much as a loop over so many.
    if (length < 96) {
      for (let i = 0; i < length; i++) out[this.length + i] = bytes[from + i] as number
    } else {
      out.set(bytes.subarray(from, to), this.length)
    }
    this.length += length
  }

  u32(value: number): void {
    if (value >= 0 && value < 0x80) return this.byte(value)
    this.#reserve(5)
    const out = this.#bytes
    let rest = value >>> 0
    while (rest >= 0x80) {
      out[this.length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    out[this.length++] = rest
  }

  /** Unsigned, up to 2^64 (exact up to 2^53). */
  u64(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.byte(rest)
  }

  s32(value: number): void {
    if (value >= -64 && value < 64) return this.byte(value & 0x7f)
    this.#reserve(5)
    const out = this.#bytes
    let rest = value | 0
    while (rest < -64 || rest > 63) {
      out[this.length++] = (rest & 0x7f) | 0x80
      rest >>= 7
    }
    out[this.length++] = rest & 0x7f
  }

  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value)
    while (rest < -64n || rest > 63n) {
      this.byte(Number(rest & 0x7fn) | 0x80)
      rest >>= 7n
    }
    this.byte(Number(rest & 0x7fn))
  }

  /** A length and UTF-8. */
  name(name: string): void {
    const bytes = encoder.encode(name)
    this.u32(bytes.length)
    this.bytes(bytes)
  }
}

/** Numbers in a row that grows. One is used again and again: each use begins with length 0. */
export class Row {
  at: Int32Array<ArrayBuffer> = new Int32Array(256)
  length = 0
  push(value: number): void {
    if (this.length === this.at.length) {
      const grown = new Int32Array(this.length * 2)
      grown.set(this.at)
      this.at = grown
    }
    this.at[this.length++] = value
  }
  /** A copy of the numbers, none of which is negative. */
  take(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.at.subarray(0, this.length))
  }
}
