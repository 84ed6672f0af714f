// How undefined bits go through an operation: V of the result from the operands and their V. Bit-precise for what programs do with
// bits (and, or, shifts by constants, comparisons against bits that are defined), and on the safe side elsewhere:
// a sum is undefined from its lowest undefined bit up, a quotient or a float altogether. As in memcheck (Seward, Nethercote: Using
// Valgrind to detect undefined value errors with bit-precision, 2005).
import type { ValueType } from '../wasm/module.ts'
import { F64, I32, I64, V128 } from '../wasm/module.ts'
import type { Helper, HelperIndices, HelperName } from './context.ts'
import type { Emitter } from './emitter.ts'

/** Where V of an operand is (NONE: defined), where the operand itself was put, and what it is if it is a constant. */
export interface Operand {
  readonly v: number
  readonly x: number
  readonly constant: number | undefined
}

/** The opcodes of one integer width that the rules are made of. */
interface Width {
  readonly type: ValueType
  readonly or: number
  readonly and: number
  readonly xor: number
  readonly sub: number
  readonly ne: number
  readonly eqz: number
  constant(out: Emitter, value: number): void
}

const width32: Width = {
  type: I32,
  or: 0x72,
  and: 0x71,
  xor: 0x73,
  sub: 0x6b,
  ne: 0x47,
  eqz: 0x45,
  constant: (out, value) => out.i32(value),
}
const width64: Width = {
  type: I64,
  or: 0x84,
  and: 0x83,
  xor: 0x85,
  sub: 0x7d,
  ne: 0x52,
  eqz: 0x50,
  constant: (out, value) => out.i64(BigInt(value)),
}

/** The opcodes of a 64-bit operation are those of the 32-bit one plus this. */
const TO_64 = 0x12

/** Leaves on the stack whether any bit of V is set, as an i32 of 0 or 1. */
export function isUndefined(out: Emitter, type: ValueType, v: number): void {
  out.get(v)
  if (type === I64 || type === F64) {
    out.i64(0n)
    out.op(0x52)
  } else if (type === V128) {
    out.op(0xfd, 0x53)
  } else {
    out.i32(0)
    out.op(0x47)
  }
}

/** From an i32 of 0 or 1: no bit or all bits of a V of this type. */
export function spread(out: Emitter, type: ValueType, scratch: number): void {
  out.set(scratch)
  out.i32(0)
  out.get(scratch)
  out.op(0x6b)
  if (type === I64 || type === F64) out.op(0xac)
  else if (type === V128) out.op(0xfd, 0x11)
}

/** Leaves Va | Vb; at least one is undefined at times. */
function union(out: Emitter, w: Width, a: Operand, b: Operand): void {
  if (a.v >= 0) out.get(a.v)
  if (b.v >= 0) out.get(b.v)
  if (a.v >= 0 && b.v >= 0) out.op(w.or)
}

/** Whether the rule of an opcode looks at the operands themselves. */
export function needsOperands(opcode: number): boolean {
  if (opcode >= 0x45 && opcode <= 0x5a) return true
  const op = opcode >= 0x7c && opcode <= 0x8a ? opcode - TO_64 : opcode
  return op >= 0x71 && op <= 0x78 && op !== 0x73
}

/**
 * Emits V of an integer operation with two operands (0x46 ... 0x8a without the unary ones) and leaves it on the stack. `scratch` gives locals
 * to work in.
 */
export function binary(
  out: Emitter,
  opcode: number,
  a: Operand,
  b: Operand,
  scratch: (name: string, type: ValueType) => number,
  helpers: HelperIndices,
): void {
  if (opcode < 0x67) return comparison(out, opcode, a, b, helpers)
  const wide = opcode >= 0x79
  const w = wide ? width64 : width32
  const op = wide ? opcode - TO_64 : opcode
  const u = scratch('u', w.type)
  switch (op) {
    case 0x6a:
    case 0x6b:
    case 0x6c:
      // Everything from the lowest undefined bit up: u | -u.
      union(out, w, a, b)
      out.tee(u)
      w.constant(out, 0)
      out.get(u)
      out.op(w.sub, w.or)
      return
    case 0x71:
    case 0x72:
      return andOr(out, w, op === 0x72, a, b)
    case 0x73:
      return union(out, w, a, b)
    case 0x74:
    case 0x75:
    case 0x76:
    case 0x77:
    case 0x78:
      return shift(out, w, opcode, a, b, scratch)
    default:
      union(out, w, a, b)
      w.constant(out, 0)
      out.op(w.ne)
      return spread(out, w.type, scratch('w', I32))
  }
}

function andOr(out: Emitter, w: Width, or: boolean, a: Operand, b: Operand): void {
  // A bit of `and` is defined if both are, or if one is a defined 0 (of `or`: a defined 1).
  const side = (one: Operand, other: Operand): void => {
    // The bits in which `other` lets `one` through.
    if (other.constant !== undefined) {
      w.constant(out, or ? ~other.constant : other.constant)
    } else {
      out.get(other.x)
      if (or) {
        w.constant(out, -1)
        out.op(w.xor)
      }
      if (other.v >= 0) {
        out.get(other.v)
        out.op(w.or)
      }
    }
    out.get(one.v)
    out.op(w.and)
  }
  if (a.v >= 0) side(a, b)
  if (b.v >= 0) side(b, a)
  if (a.v >= 0 && b.v >= 0) out.op(w.or)
}

function shift(
  out: Emitter,
  w: Width,
  opcode: number,
  a: Operand,
  b: Operand,
  scratch: (name: string, type: ValueType) => number,
): void {
  if (a.v >= 0) {
    out.get(a.v)
    out.get(b.x)
    out.op(opcode)
  }
  if (b.v < 0) return
  // More bits of the distance are not looked at.
  out.get(b.v)
  w.constant(out, w === width64 ? 63 : 31)
  out.op(w.and)
  w.constant(out, 0)
  out.op(w.ne)
  spread(out, w.type, scratch('w', I32))
  if (a.v >= 0) out.op(w.or)
}

// Mostly both are defined: the rest is a call.
function comparison(out: Emitter, opcode: number, a: Operand, b: Operand, helpers: HelperIndices): void {
  const w = opcode >= 0x50 ? width64 : width32
  union(out, w, a, b)
  if (w === width64) out.op(w.eqz, 0x45)
  out.ifRarely(I32)
  out.get(a.x)
  out.get(b.x)
  for (const { v } of [a, b])
    if (v >= 0) out.get(v)
    else w.constant(out, 0)
  out.call(helpers[`compare ${opcode}`] as number)
  out.else()
  out.i32(0)
  out.end()
}

// (the operands, their V) -> V
function comparisonHelper(opcode: number): Helper {
  const w = opcode >= 0x50 ? width64 : width32
  const a = { x: 0, v: 2, constant: undefined }
  const b = { x: 1, v: 3, constant: undefined }
  const op = opcode >= 0x50 ? opcode - 11 : opcode
  return {
    type: { params: [w.type, w.type, w.type, w.type], results: [I32] },
    locals: [],
    emit(out) {
      if (op <= 0x47) {
        // Equality is decided if two defined bits differ.
        out.get(a.x)
        out.get(b.x)
        out.op(w.xor)
        union(out, w, a, b)
        w.constant(out, -1)
        out.op(w.xor, w.and, w.eqz)
        return
      }
      // Order is decided if the least and the greatest values that the operands may have agree.
      const signed = op % 2 === 0
      extreme(out, w, a, signed, false)
      extreme(out, w, b, signed, true)
      out.op(opcode)
      extreme(out, w, a, signed, true)
      extreme(out, w, b, signed, false)
      out.op(opcode, 0x73)
    },
  }
}

// (the operands, their V, T, site): it decides a branch, which is reported if the result is undefined. V is, of one operand.
function judgeHelper(opcode: number): Helper {
  const w = opcode >= 0x50 ? width64 : width32
  const operands = opcode === 0x45 || opcode === 0x50 ? 1 : 2
  return {
    type: { params: [...Array.from({ length: 2 * operands }, () => w.type), I32, I32], results: [] },
    locals: [],
    emit(out, { helpers, hooks }) {
      if (operands === 1) {
        // Not zero for certain if a defined bit is set.
        out.get(0)
        out.get(1)
        w.constant(out, -1)
        out.op(w.xor, w.and, w.eqz)
      } else {
        for (let i = 0; i < 4; i++) out.get(i)
        out.call(helpers[`compare ${opcode}`] as number)
      }
      out.if()
      out.get(2 * operands)
      out.get(2 * operands + 1)
      out.call(hooks.decided)
      out.end()
    },
  }
}

/** The comparisons of integers. */
export const comparisonHelpers: Readonly<Partial<Record<HelperName, Helper>>> = Object.fromEntries(
  Array.from({ length: 0x5b - 0x45 }, (_, i) => i + 0x45).flatMap(opcode => [
    ...(opcode === 0x45 || opcode === 0x50 ? [] : [[`compare ${opcode}`, comparisonHelper(opcode)]]),
    [`judge ${opcode}`, judgeHelper(opcode)],
  ]),
)

/** The least or greatest value that an operand may have. */
function extreme(out: Emitter, w: Width, a: Operand, signed: boolean, greatest: boolean): void {
  out.get(a.x)
  if (a.v < 0) return
  const sign = (): void => {
    if (w.type === I32) out.i32(-0x80000000)
    else out.i64(-0x8000000000000000n)
  }
  const mask = (): void => {
    out.get(a.v)
    if (!signed) return
    sign()
    w.constant(out, -1)
    out.op(w.xor, w.and)
  }
  // The bits below the sign go up or down; the sign goes the other way.
  mask()
  if (greatest) out.op(w.or)
  else {
    w.constant(out, -1)
    out.op(w.xor, w.and)
  }
  if (!signed) return
  out.get(a.v)
  sign()
  out.op(w.and)
  if (greatest) {
    w.constant(out, -1)
    out.op(w.xor, w.and)
  } else out.op(w.or)
}

/**
 * Emits V of an operation with one operand and leaves it on the stack; `x` is the operand. False: there is no such rule, nothing was emitted.
 */
export function unary(
  out: Emitter,
  opcode: number,
  type: ValueType,
  v: number,
  x: number,
  result: ValueType,
  scratch: (name: string, type: ValueType) => number,
): void {
  switch (opcode) {
    case 0x45:
    case 0x50: {
      // Not zero for certain if a defined bit is set.
      const w = opcode === 0x45 ? width32 : width64
      isUndefined(out, type, v)
      out.get(x)
      out.get(v)
      w.constant(out, -1)
      out.op(w.xor, w.and, w.eqz, 0x71)
      return
    }
    case 0x8b: // abs, neg: bits stay where they are
    case 0x8c:
    case 0x99:
    case 0x9a:
    case 0xbc: // reinterpret
    case 0xbd:
    case 0xbe:
    case 0xbf:
      out.get(v)
      return
    case 0xa7: // wrap, extend: what happens to the bits happens to V
    case 0xac:
    case 0xad:
    case 0xc0:
    case 0xc1:
    case 0xc2:
    case 0xc3:
    case 0xc4:
      out.get(v)
      out.op(opcode)
      return
    default:
      isUndefined(out, type, v)
      if (isComparison(opcode)) return
      spread(out, result, scratch('w', I32))
  }
}

const isComparison = (opcode: number): boolean => opcode >= 0x5b && opcode <= 0x66

/** V of anything with several operands: altogether undefined if any bit of one is. */
export function any(
  out: Emitter,
  operands: readonly { readonly type: ValueType; readonly v: number }[],
  opcode: number,
  result: ValueType,
  scratch: (name: string, type: ValueType) => number,
): void {
  let first = true
  for (const { type, v } of operands) {
    if (v < 0) continue
    isUndefined(out, type, v)
    if (!first) out.op(0x72)
    first = false
  }
  if (!isComparison(opcode)) spread(out, result, scratch('w', I32))
}
