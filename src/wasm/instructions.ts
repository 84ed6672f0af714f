// Reading instructions: a Cursor goes over a body and shows one instruction after the other in its fields. It allocates nothing.
//
//   for (const i of instructions(func)) if (i.op === OP['call']) calls.push(i.index)
//
// or, where it has to be fast, `while (cursor.next())`. Opcodes are our numbers: opcodes.ts. The cursor checks the format of each
// instruction (a WasmError says where), not that it makes sense: that is validate.ts.
import { WasmError } from './errors.ts'
import type { Func, ValueType } from './module.ts'
import { EXNREF, EXTERNREF, F32, F64, FUNCREF, I32, I64, V128 } from './module.ts'
import { Imm, immediates, OPCODES } from './opcode-table.ts'

/** A block type that is no type at all, or one value's; otherwise `blockType` is an index of Module.types. */
export const BLOCK_EMPTY = -64

/** One catch clause of a try_table: 0 catch, 1 catch_ref, 2 catch_all, 3 catch_all_ref. `tag` is -1 for the last two. */
export interface CatchClause {
  readonly kind: number
  readonly tag: number
  readonly label: number
}

export class Cursor {
  bytes: Uint8Array
  /** Where bytes[0] is in the module (for errors). */
  base: number
  /** Where in `bytes` the instruction begins, and where the next one does. */
  at = 0
  end = 0
  op = 0
  /** The first index (opcode-table.ts: Imm says which), the second, and what else the instruction has. */
  index = 0
  index2 = 0
  /** log2 of an access's alignment. */
  align = 0
  /** An access's offset in bytes (of a 64-bit memory above 2^53: the nearest double). */
  offset = 0
  lane = 0
  /** The value of i32.const, signed. */
  i32 = 0
  /** BLOCK_EMPTY, a value type as a negative number (`blockType & 0x7f` is its byte), or the index of a type (0 or more). */
  blockType = 0
  valueType: ValueType = 0
  /** Where the immediates that are read on demand begin. */
  #immediates = 0

  constructor(bytes: Uint8Array, base: number) {
    this.bytes = bytes
    this.base = base
  }

  /** The cursor at the start of other bytes. */
  reset(bytes: Uint8Array, base: number): this {
    this.bytes = bytes
    this.base = base
    this.at = this.end = 0
    return this
  }

  fail(message: string, at: number = this.at): never {
    throw new WasmError('malformed', this.base + at, message)
  }

  /** Where the instruction is in the module. */
  get place(): number {
    return this.base + this.at
  }

  /** Goes to the next instruction; false at the end of the bytes. */
  next(): boolean {
    const bytes = this.bytes
    if (this.end >= bytes.length) return false
    this.at = this.end++
    const first = bytes[this.at] as number
    this.op = first
    if (first >= 0xfb) this.#prefixed(first)
    const kind = this.op < OPCODES ? (immediates[this.op] as number) : 255
    if (kind !== 0) this.#read(kind)
    return true
  }

  #prefixed(first: number): void {
    if (first === 0xff) return
    const n = this.#u32()
    if (first === 0xfb) this.#unsupported(`the GC proposal's instruction 0xfb ${n}`)
    const limit = first === 0xfd ? 0x200 : first === 0xfe ? 0x80 : 0x100
    if (n >= limit) this.fail(`there is no instruction 0x${first.toString(16)} ${n}`)
    this.op = (first === 0xfc ? 0x100 : first === 0xfd ? 0x200 : 0x400) + n
  }

  #unsupported(what: string): never {
    throw new WasmError('unsupported', this.base + this.at, `${what} is not supported`)
  }

  #read(kind: number): void {
    switch (kind) {
      case Imm.local:
      case Imm.label:
      case Imm.func:
      case Imm.global:
      case Imm.table:
      case Imm.memory:
      case Imm.tag:
      case Imm.data:
      case Imm.element:
        this.index = this.#u32()
        return
      case Imm.mem:
      case Imm.atomic:
        this.#memarg()
        return
      case Imm.i32:
        this.i32 = this.#s32()
        return
      case Imm.block:
        this.#blockType()
        return
      case Imm.indirect:
      case Imm.dataMemory:
      case Imm.memoryMemory:
      case Imm.elementTable:
      case Imm.tableTable:
        this.index = this.#u32()
        this.index2 = this.#u32()
        return
      case Imm.i64:
        this.#immediates = this.end
        this.#skipS64()
        return
      case Imm.f32:
        this.#bytes(4)
        return
      case Imm.f64:
        this.#bytes(8)
        return
      case Imm.v128:
        this.#bytes(16)
        return
      case Imm.shuffle:
        this.#bytes(16)
        return
      case Imm.lane:
        this.lane = this.#byte()
        return
      case Imm.memLane:
        this.#memarg()
        this.lane = this.#byte()
        return
      case Imm.labels:
        this.index = this.#u32()
        this.#immediates = this.end
        if (this.index > this.bytes.length - this.end)
          this.fail(`a br_table of ${this.index} labels can't be in the bytes left`)
        for (let left = this.index; left >= 0; left--) this.#u32()
        return
      case Imm.heap:
        this.valueType = this.#heapType()
        return
      case Imm.types:
        this.index = this.#u32()
        if (this.index > this.bytes.length - this.end)
          this.fail(`a select of ${this.index} types can't be in the bytes left`)
        for (let i = 0; i < this.index; i++) {
          const type = valueType(this.#byte(), this.base + this.end - 1)
          if (i === 0) this.valueType = type
        }
        return
      case Imm.catches:
        this.#blockType()
        this.index = this.#u32()
        this.#immediates = this.end
        if (this.index > this.bytes.length - this.end)
          this.fail(`${this.index} catch clauses can't be in the bytes left`)
        for (let left = this.index; left > 0; left--) this.#clause()
        return
      case Imm.fence:
        if (this.#byte() !== 0) this.fail('the byte behind atomic.fence is not 0')
        return
      default:
        this.#unknown()
    }
  }

  #unknown(): never {
    const { op } = this
    if (op === 0x14 || op === 0x15 || (op >= 0xd3 && op <= 0xd6))
      this.#unsupported(`the typed function references' instruction 0x${op.toString(16)}`)
    const hex =
      op < 0x100
        ? `0x${op.toString(16)}`
        : `0x${op < 0x200 ? 'fc' : op < 0x400 ? 'fd' : 'fe'} ${op & (op < 0x200 ? 0xff : 0x1ff)}`
    this.fail(`there is no instruction ${hex}`)
  }

  #byte(): number {
    if (this.end >= this.bytes.length) this.fail('the function ends inside an instruction')
    return this.bytes[this.end++] as number
  }

  #bytes(length: number): void {
    if (this.end + length > this.bytes.length) this.fail('the function ends inside an instruction')
    this.#immediates = this.end
    this.end += length
  }

  #u32(): number {
    const first = this.bytes[this.end] as number
    if (first < 0x80) {
      this.end++
      return first
    }
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte()
      if (shift === 28 && byte > 0x0f) this.fail('a number has more than 32 bits', this.end - 1)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
  }

  #s32(): number {
    const first = this.bytes[this.end] as number
    if (first < 0x80) {
      this.end++
      return (first << 25) >> 25
    }
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte()
      if (shift === 28 && (byte >= 0x80 || (byte & 0x78) !== (byte & 8 ? 0x78 : 0)))
        this.fail('a number has more than 32 bits', this.end - 1)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return shift < 28 ? (value << (25 - shift)) >> (25 - shift) : value
    }
  }

  #skipS64(): void {
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte()
      if (shift === 63 && byte !== 0 && byte !== 0x7f)
        this.fail('a number has more than 64 bits', this.end - 1)
      if (byte < 0x80) return
    }
  }

  #u64(): number {
    const first = this.bytes[this.end] as number
    if (first < 0x80) {
      this.end++
      return first
    }
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte()
      if (shift === 63 && byte > 1) this.fail('a number has more than 64 bits', this.end - 1)
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }

  #memarg(): void {
    const flags = this.#u32()
    if (flags >= 0x80) this.fail(`an access's alignment is 2^${flags}`)
    this.align = flags & 0x3f
    this.index = flags & 0x40 ? this.#u32() : 0
    this.offset = this.#u64()
  }

  #blockType(): void {
    const first = this.bytes[this.end] as number
    if (first === 0x40) {
      this.end++
      this.blockType = BLOCK_EMPTY
    } else if (first > 0x40 && first < 0x80) {
      this.blockType = valueType(first, this.base + this.end) - 0x80
      this.end++
      if (first === 0x63 || first === 0x64) this.#unsupported('a typed function reference')
    } else {
      // A signed number of 33 bits that is not negative.
      let value = 0
      for (let shift = 0; ; shift += 7) {
        const byte = this.#byte()
        if (shift === 28 && byte > 0x0f) this.fail('a block type is no type', this.end - 1)
        value += (byte & 0x7f) * 2 ** shift
        if (byte >= 0x80) continue
        if (shift < 28 && byte & 0x40) this.fail('a block type is a negative number', this.end - 1)
        break
      }
      this.blockType = value
    }
  }

  #heapType(): ValueType {
    const at = this.end
    const byte = this.#byte()
    if (byte === FUNCREF || byte === EXTERNREF || byte === EXNREF) return byte
    if (byte >= 0x40 && byte < 0x80) return valueType(byte, this.base + at)
    return this.#unsupported('a typed function reference')
  }

  #clause(): CatchClause {
    const kind = this.#byte()
    if (kind > 3) this.fail(`there is no catch clause of kind ${kind}`, this.end - 1)
    const tag = kind < 2 ? this.#u32() : -1
    return { kind, tag, label: this.#u32() }
  }

  /** The value of i64.const, signed. */
  i64(): bigint {
    let value = 0n
    let at = this.#immediates
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[at++] as number
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(Math.min(64, Number(shift) + 7), value)
    }
  }

  /** The bytes of an f32, f64 or v128 constant or of a shuffle's lanes, as a view. */
  constant(): Uint8Array {
    return this.bytes.subarray(this.#immediates, this.end)
  }

  /** The labels of a br_table, the default last. */
  labels(): number[] {
    const { end } = this
    this.end = this.#immediates
    const labels = Array.from({ length: this.index + 1 }, () => this.#u32())
    this.end = end
    return labels
  }

  /** The catch clauses of a try_table. */
  clauses(): CatchClause[] {
    const { end } = this
    this.end = this.#immediates
    const clauses = Array.from({ length: this.index }, () => this.#clause())
    this.end = end
    return clauses
  }
}

/** The value type of a byte, or an error at `place`. */
export function valueType(byte: number, place: number): ValueType {
  switch (byte) {
    case I32:
    case I64:
    case F32:
    case F64:
    case V128:
    case FUNCREF:
    case EXTERNREF:
    case EXNREF:
      return byte
    case 0x63:
    case 0x64:
      throw new WasmError('unsupported', place, 'typed function references are not supported')
    default:
      if (byte >= 0x6a && byte <= 0x74)
        throw new WasmError(
          'unsupported',
          place,
          `the GC proposal's type 0x${byte.toString(16)} is not supported`,
        )
      throw new WasmError('malformed', place, `there is no value type 0x${byte.toString(16)}`)
  }
}

/** The instructions of a function or of a constant expression; every step yields the same cursor. */
export function* instructions(
  code: Func | { readonly bytes: Uint8Array; readonly offset: number },
): Generator<Cursor, void, void> {
  const cursor = 'body' in code ? new Cursor(code.body, code.offset) : new Cursor(code.bytes, code.offset)
  while (cursor.next()) yield cursor
}
