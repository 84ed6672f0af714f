// Helper functions for accesses that are not simple (accesses.ts), one for each opcode of a load or store: the address is looked at
// again, then the words of the shadow; what is unaddressable, out of its object or across words goes to JavaScript.
import type { ValueType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import { effects, isStore, widths } from '../wasm/opcode-table.ts'
import type { Context, Helper, HelperName } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import { EXCHANGE_T, EXCHANGE_V, MIXED, MIXED_ADDRESSABLE, ORIGIN_MASK, TAG_LIMIT } from './layout.ts'
import { effectTypes, shadowType } from './values.ts'

/** The loads that extend by the sign. */
const extending: ReadonlySet<number> = new Set([0x2c, 0x2e, 0x30, 0x32, 0x34])
const LOW_WORDS = 0x0000000400000004n
const SIGN_BITS_64 = -0x7fffffff80000000n // 0x8000000080000000

const shadowOf = (type: ValueType | undefined): ValueType => shadowType(type ?? I32) ?? I32

// Parameters of a load: address, T and V of the address, site. Leaves V and T.
const AT = 0
function load(op: number): Helper {
  const width = widths[op] as number
  const shadow = shadowOf(effectTypes(effects[op] as string).results[0])
  const [t, v, site, s] = [1, 2, 3, 4]
  return {
    type: { params: [I32, I32, I32, I32], results: [shadow, I32] },
    locals: [{ count: 1, type: width === 8 ? I64 : I32 }],
    emit(out, { helpers, hooks, hosted }) {
      out.block()
      refuseAddress(out, helpers, width, t, v)
      unaligned(out, width, () => {
        refuseRange(out, helpers.isDefined, width, 1)
        answer(
          out,
          () => out.i32(0),
          () => out.zero(shadow),
        )
      })
      if (width === 8) loadTwo(out, s)
      else loadOne(out, op, width, shadow, s)
      out.end()
      for (const one of [AT, t, v, site]) out.get(one)
      out.call(hooks.load)
      out.i32(0)
      out.memory(shadow === I64 ? 0x29 : 0x28, CONTROL, EXCHANGE_V)
      out.i32(0)
      if (!hosted) out.memory(0x28, CONTROL, EXCHANGE_T)
    },
  }
}

// Leaves the block if the address is undefined or outside of its object.
function refuseAddress(out: Emitter, helpers: Context['helpers'], width: number, t: number, v: number): void {
  out.get(v)
  out.brIf(0)
  out.get(AT)
  out.i32(width)
  out.get(t)
  out.call(helpers.inObject)
  out.op(0x45)
  out.brIf(0)
}

// What is to be done with an address across words, which ends the function or leaves the block by label 1.
function unaligned(out: Emitter, width: number, then: () => void): void {
  if (width === 1) return
  out.get(AT)
  out.i32(Math.min(width, 4) - 1)
  out.op(0x71)
  out.if()
  then()
  out.end()
}

// Leaves the block by a label if a helper for ranges refuses the bytes.
function refuseRange(out: Emitter, range: number, width: number, label: number): void {
  out.get(AT)
  out.get(AT)
  out.i32(width)
  out.op(0x6a)
  out.call(range)
  out.op(0x45)
  out.brIf(label)
}

// Leaves the block by a label if a value has undefined bits among those that are written.
function refuseUndefined(out: Emitter, width: number, shadow: ValueType, value: number, label: number): void {
  out.get(value)
  if (width === 8) out.op(0x50, 0x45)
  else if (shadow === I64) out.op(0xa7)
  if (width < 4) {
    out.i32(width === 1 ? 0xff : 0xffff)
    out.op(0x71)
  }
  out.brIf(label)
}

// Returns V and T from what these push.
function answer(out: Emitter, t: () => void, v: () => void): void {
  v()
  t()
  out.op(0x0f)
}

function loadTwo(out: Emitter, s: number): void {
  out.get(AT)
  out.toShadow()
  out.memory(0x29, SHADOW, 0)
  out.tee(s)
  out.i64(LOW_WORDS)
  out.op(0x7d)
  out.i64(SIGN_BITS_64)
  out.op(0x83, 0x50, 0x45)
  out.brIf(0)
  const half = (high: boolean): void => {
    out.get(s)
    if (high) {
      out.i64(32n)
      out.op(0x88)
    }
    out.op(0xa7)
  }
  const undefined_ = (high: boolean): void => {
    half(high)
    out.i32(TAG_LIMIT)
    out.op(0x71)
  }
  answer(
    out,
    () => {
      // The origin of the first half that has one.
      half(false)
      half(true)
      undefined_(false)
      out.op(0x1b)
      out.i32(-8)
      out.op(0x71)
      out.i32(0)
      undefined_(false)
      undefined_(true)
      out.op(0x72, 0x1b)
    },
    () => {
      out.get(s)
      out.i64(30n)
      out.op(0x88)
      out.i64(0x100000001n)
      out.op(0x83)
      out.i64(0xffffffffn)
      out.op(0x7e)
    },
  )
}

function loadOne(out: Emitter, op: number, width: number, shadow: ValueType, s: number): void {
  wordAt(out)
  out.tee(s)
  out.op(0x45)
  out.brIf(0)
  out.get(s)
  out.i32(MIXED)
  out.op(0x49)
  out.if()
  // All of the word is defined, or nothing: V is bit 30, spread.
  answer(
    out,
    () => {
      out.get(s)
      out.i32(-8)
      out.op(0x71)
      if (width === 4) return
      // A part of a pointer is none.
      out.i32(0)
      out.get(s)
      out.i32(TAG_LIMIT)
      out.op(0x71, 0x1b)
    },
    () => {
      out.i32(0)
      out.get(s)
      out.i32(30)
      out.op(0x76, 0x6b)
      if (width < 4 && !extending.has(op)) {
        out.i32(width === 1 ? 0xff : 0xffff)
        out.op(0x71)
      }
      if (shadow === I64) out.op(extending.has(op) ? 0xac : 0xad)
    },
  )
  out.end()
  // The word at the end of a block may have other bytes that nobody may touch. The bits lie ready in the bits memory, to be read by the
  // same instruction.
  out.get(s)
  out.i32(MIXED_ADDRESSABLE)
  out.get(AT)
  out.i32(3)
  out.op(0x71, 0x6a, 0x76)
  const all = (1 << width) - 1
  out.i32(all)
  out.op(0x71)
  out.i32(all)
  out.op(0x47)
  out.brIf(0)
  const bits = (): void => {
    out.get(AT)
    out.toBits()
    out.memory(op === 0x2a ? 0x28 : op, BITS, 0)
  }
  answer(
    out,
    () => {
      out.get(s)
      out.i32(ORIGIN_MASK)
      out.op(0x71)
      out.i32(TAG_LIMIT)
      out.op(0x72)
      out.i32(0)
      bits()
      if (shadow === I64) out.op(0x50, 0x45)
      out.op(0x1b)
    },
    bits,
  )
}

// Leaves the word of the shadow that the address is in.
function wordAt(out: Emitter): void {
  out.get(AT)
  out.i32(-4)
  out.op(0x71)
  out.toShadow()
  out.memory(0x28, SHADOW, 0)
}

// Parameters of a store: address, V and T of the value, T and V of the address, site.
function store(op: number): Helper {
  const width = widths[op] as number
  const shadow = shadowOf(effectTypes(effects[op] as string).params[1])
  const [value, valueT, t, v, site] = [1, 2, 3, 4, 5]
  return {
    type: { params: [I32, shadow, I32, I32, I32, I32], results: [] },
    locals: [],
    emit(out, { helpers, hooks }) {
      out.block()
      refuseAddress(out, helpers, width, t, v)
      if (width < 4) {
        refuseUndefined(out, width, shadow, value, 0)
        unaligned(out, width, () => {
          refuseRange(out, helpers.settle, width, 1)
          out.op(0x0f)
        })
        out.get(AT)
        out.i32(width === 1 ? 0xff : 0xffff)
        out.call(helpers.define)
        out.op(0x45)
        out.brIf(0)
      } else {
        unaligned(out, width, () => {
          refuseUndefined(out, width, shadow, value, 1)
          refuseRange(out, helpers.settle, width, 1)
          out.op(0x0f)
        })
        // Of a value that was not one word T is no tag.
        if (shadow === I64) {
          out.get(valueT)
          out.i32(0)
          out.get(valueT)
          out.i32(TAG_LIMIT)
          out.op(0x71, 0x1b)
          out.set(valueT)
        }
        for (let at = 0; at < width; at += 4) {
          out.get(AT)
          out.i32(at)
          out.op(0x6a)
          out.get(value)
          if (at === 4) {
            out.i64(32n)
            out.op(0x88)
          }
          if (shadow === I64) out.op(0xa7)
          out.get(valueT)
          out.call(helpers.storeWord)
          out.op(0x45)
          out.brIf(0)
        }
      }
      out.op(0x0f)
      out.end()
      out.i32(0)
      out.get(value)
      out.memory(shadow === I64 ? 0x37 : 0x36, CONTROL, EXCHANGE_V)
      out.i32(0)
      out.get(valueT)
      out.memory(0x36, CONTROL, EXCHANGE_T)
      for (const one of [AT, t, v, site]) out.get(one)
      out.call(hooks.store)
    },
  }
}

/** For the loads and stores of WebAssembly 1. */
export const wordHelpers: Readonly<Partial<Record<HelperName, Helper>>> = Object.fromEntries(
  Array.from({ length: 0x3f - 0x28 }, (_, i) => i + 0x28).map(op =>
    isStore(op) ? [`store ${op}`, store(op)] : [`load ${op}`, load(op)],
  ),
)
