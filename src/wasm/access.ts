// What passes over memory accesses share: the types around an access, the sum of address and offset, what they refuse.
import type { Body } from './bodies.ts'
import type { Code } from './code.ts'
import { WasmError } from './errors.ts'
import type { Cursor } from './instructions.ts'
import { F32, F64, I32, I64, V128, type ValueType } from './module.ts'
import { effects, isAccess, OP, OPCODES } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

const letters: Readonly<Record<string, ValueType>> = { i: I32, I: I64, f: F32, F: F64, v: V128 }

/** All opcodes that access memory at an address with an offset. */
export const accessOps: readonly number[] = Array.from({ length: OPCODES }, (_, op) => op).filter(isAccess)
/** The instructions that touch a whole piece of memory. */
export const bulkOps: readonly number[] = [OP['memory.copy'], OP['memory.fill'], OP['memory.init']]

export interface AccessTypes {
  /** What an access takes behind the address, the first one first. */
  readonly operands: readonly ValueType[]
  /** What it leaves; `undefined`: nothing. */
  readonly result: ValueType | undefined
}

const typesOf = accessOps.reduce<AccessTypes[]>((types, op) => {
  const [operands = '', results = ''] = (effects[op] as string).split(':')
  types[op] = {
    operands: Array.from(operands.slice(1), letter => letters[letter] as ValueType),
    result: letters[results],
  }
  return types
}, [])

/** The types around an access, by its opcode. */
export function accessTypes(op: number): AccessTypes {
  return typesOf[op] as AccessTypes
}

/** Refuses a memory that a pass can't work on: one with 64-bit addresses. */
export function need32Bits(rewriter: Rewriter, memory: number, pass: string): void {
  if (rewriter.count('memory') <= memory) return
  if (rewriter.memoryType(memory).is64)
    throw new WasmError('unsupported', 0, `a memory of 64-bit addresses is not supported by ${pass}`)
}

/** With the address on the stack: the address that the access begins at, modulo 2^32. */
export function addOffset(out: Code, i: Cursor): void {
  if (i.offset > 0) out.i32(i.offset | 0).op(OP['i32.add'])
}

/**
 * Takes what an access has behind its address into scratch locals, and answers these in an array: a new one, or the first of `values`.
 * Scratch 0 of i32 and of i64 stay free for the address.
 */
export function save(op: number, out: Code, body: Body, values: number[] = []): number[] {
  const { operands } = accessTypes(op)
  for (let n = 0; n < operands.length; n++) {
    const type = operands[n] as ValueType
    let before = type === I32 || type === I64 ? 1 : 0
    for (let other = 0; other < n; other++) if (operands[other] === type) before++
    values[n] = body.scratch(type, before)
  }
  for (let n = operands.length - 1; n >= 0; n--) out.set(values[n] as number)
  return values
}
