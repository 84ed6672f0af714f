// Writing instructions. Every method checks nothing: validate.ts does, where it matters (the tests).
//
// Where function indices were written is noted: they move when a module is finished (renumber.ts), and nobody has to look for them then. So
// are branches with a hint (hints.ts).
import { Row, Writer } from './bytes.ts'
import { BLOCK_EMPTY } from './instructions.ts'
import type { ValueType } from './module.ts'
import { Imm, immediates, OP, widths } from './opcode-table.ts'

const GET = OP['local.get']
const SET = OP['local.set']
const TEE = OP['local.tee']

/** A Writer of instructions. Opcodes are our numbers (opcodes.ts). Each method answers the Code, so that lines of code chain. */
export class Code extends Writer {
  /** The places of function indices in what was written, ascending. */
  readonly functions: Row = new Row()
  /** Branches with a hint, as in Func.hints. */
  readonly hints: Row = new Row()

  /** Begins anew. */
  clear(): void {
    this.length = 0
    this.functions.length = this.hints.length = 0
  }
  /** All that another has written. */
  append(other: Code): void {
    for (let n = 0; n < other.functions.length; n++)
      this.functions.push(this.length + (other.functions.at[n] as number))
    for (let n = 0; n < other.hints.length; n++)
      this.hints.push(2 * this.length + (other.hints.at[n] as number))
    this.bytes(other.view())
  }
  /** The instruction that comes now is an `if` or a br_if whose condition is nearly always so. */
  hint(condition: boolean): this {
    this.hints.push(2 * this.length + (condition ? 1 : 0))
    return this
  }
  /** An instruction without immediates, or the opcode of one whose immediates follow. */
  op(op: number): this {
    if (op < 0x100) this.byte(op)
    else {
      this.byte(op < 0x200 ? 0xfc : op < 0x400 ? 0xfd : 0xfe)
      this.u32(op < 0x200 ? op - 0x100 : op < 0x400 ? op - 0x200 : op - 0x400)
    }
    return this
  }
  /** An instruction with one index: call, br_if, global.get, memory.size, … */
  with(op: number, index: number): this {
    this.op(op)
    if (immediates[op] === Imm.func) this.functions.push(this.length)
    this.u32(index)
    return this
  }
  /** Two indices: memory.copy (to, from), call_indirect (type, table), memory.init (data, memory), … */
  with2(op: number, index: number, index2: number): this {
    this.with(op, index)
    this.u32(index2)
    return this
  }
  /** A load or a store. `align` is log2 of bytes; if not given the natural one. */
  access(
    op: number,
    offset: number,
    memory = 0,
    align: number = 31 - Math.clz32(widths[op] as number),
  ): this {
    this.op(op)
    if (memory === 0) this.byte(align)
    else {
      this.byte(align | 0x40)
      this.u32(memory)
    }
    this.u64(Math.min(offset, 2 ** 63))
    return this
  }
  get(local: number): this {
    this.byte(GET)
    this.u32(local)
    return this
  }
  set(local: number): this {
    this.byte(SET)
    this.u32(local)
    return this
  }
  tee(local: number): this {
    this.byte(TEE)
    this.u32(local)
    return this
  }
  getGlobal(global: number): this {
    return this.with(OP['global.get'], global)
  }
  setGlobal(global: number): this {
    return this.with(OP['global.set'], global)
  }
  call(func: number): this {
    return this.with(OP.call, func)
  }
  i32(value: number): this {
    this.byte(OP['i32.const'])
    this.s32(value)
    return this
  }
  i64(value: bigint): this {
    this.byte(OP['i64.const'])
    this.s64(value)
    return this
  }
  /** block, loop or if; `type` as Cursor.blockType: BLOCK_EMPTY, a value type - 0x80, or the index of a type. */
  block(op: number, type: number = BLOCK_EMPTY): this {
    this.byte(op)
    if (type < 0) this.byte(type & 0x7f)
    else this.s64(BigInt(type))
    return this
  }
  br(label: number): this {
    return this.with(OP.br, label)
  }
  brIf(label: number): this {
    return this.with(OP.br_if, label)
  }
  else(): this {
    this.byte(OP.else)
    return this
  }
  end(): this {
    this.byte(OP.end)
    return this
  }
}

/** The block type of one result. */
export function resultType(type: ValueType): number {
  return type - 0x80
}
