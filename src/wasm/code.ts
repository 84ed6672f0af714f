// Writing instructions. Every method checks nothing: validate.ts does, where it matters (the tests).
import { Writer } from './bytes.ts'
import { BLOCK_EMPTY } from './instructions.ts'
import type { ValueType } from './module.ts'
import { OP, widths } from './opcode-table.ts'

/** A Writer of instructions. Opcodes are our numbers (opcodes.ts). Each method answers the Code, so that lines of code chain. */
export class Code extends Writer {
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
    return this.with(OP['local.get'], local)
  }
  set(local: number): this {
    return this.with(OP['local.set'], local)
  }
  tee(local: number): this {
    return this.with(OP['local.tee'], local)
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
