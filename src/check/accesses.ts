// The checks around one load or store: the address is defined, inside of the object that its pointer was made from, and the bytes may
// be touched; then the shadow of the bytes becomes the shadow of the value, or the other way. Inline is only what nearly always happens:
// bytes that are defined, and a value that is. All else is a call: helpers of words.ts, which know what is undefined or mixed, and behind
// them JavaScript.
import { OP } from '../wasm/opcode-table.ts'
import type { ValueType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import type { Context } from './context.ts'
import { CONTROL, type Emitter, SHADOW } from './emitter.ts'
import { DEFINED, EXCHANGE_T, EXCHANGE_V, FRAME_TAGS, TABLE, TAG_LIMIT, UNDEFINED } from './layout.ts'
import type { Locals, Value } from './values.ts'
import { isPointer, NONE, shadowType } from './values.ts'

export interface Access {
  readonly opcode: number
  /** Bytes. */
  readonly width: number
  readonly offset: number
  /** The place in the module, for reports. */
  readonly site: number
  /** The local that the base address was put in. */
  readonly base: number
  readonly address: Value
  /** Certainly inside of the function's own frame, at so many bytes from its lower end (which is aligned to 16). */
  readonly inFrame: number | undefined
  /** What the code before has made certain of this address: it was looked at; it is inside of its object. */
  readonly seen: boolean
  readonly inside: boolean
  /** Certainly outside of the object of its tag. */
  readonly stray: boolean
  /** The offset is where a global begins, and the address may be a number: its tag has been chosen by that. */
  readonly indexed: boolean
  /**
   * A local for the shadow word of this very place as a load has found it (0: in no simple way), for a store that follows it with nothing
   * between that could change it. The load sets it, the store asks it.
   */
  readonly word?: number | undefined
}

const LOW_WORDS = 0x0000000400000004n
const SIGN_BITS_64 = -0x7fffffff80000000n // 0x8000000080000000
const NOT_DEFINED_64 = -0x3fffffff40000000n // 0xc0000000c0000000

/** Leaves a T on the stack. */
export function pushT(out: Emitter, t: number): void {
  if (t >= 0) out.get(t)
  else out.i32(t === NONE ? 0 : -2 - t)
}

/** Leaves a T on the stack, but no tag of a global: where a constant may be an index, and what is added to it the global. */
export function pushPointerTag(out: Emitter, t: number): void {
  pushT(out, t)
  out.i32(0)
  pushT(out, t)
  out.i32(FRAME_TAGS)
  out.op(0x4f, 0x1b)
}

/** Leaves the T of a value on the stack, but no tag if it is no pointer: t & -(t >> 30). */
export function pushTag(out: Emitter, { t, number }: Value): void {
  pushT(out, t)
  if (number !== true || t < 0) return
  out.i32(0)
  out.get(t)
  out.i32(30)
  out.op(0x76, 0x6b, 0x71)
}

/** Leaves a V on the stack. */
export function pushV(out: Emitter, type: ValueType, v: number): void {
  if (v >= 0) out.get(v)
  else out.zero(shadowType(type) ?? I32)
}

function effective(out: Emitter, { base, offset }: Access, more = 0): void {
  out.get(base)
  if (offset + more === 0) return
  out.i32((offset + more) | 0)
  out.op(0x6a)
}

// Leaves the simple path if the address is not defined, or not inside of its object. An access that
// begins before the object and ends in it passes if it is no multiple of its width away: such a one takes the slow path for its
// alignment, or the object has none. What is no tag is looked up, too: that costs less than to ask. 0 has an entry that holds everything;
// what another T finds decides nothing, for the slow path asks.
function refuseAddress(out: Emitter, locals: Locals, access: Access): void {
  const { address, width, offset } = access
  if (access.inFrame !== undefined) return
  if (address.v >= 0 && !access.seen) {
    out.get(address.v)
    out.brIfRarely(0)
  }
  // An address that is a constant and an offset that is one: the offset is the object, the constant an index.
  const far = offset >= 1024
  if (
    access.inside ||
    address.number === true ||
    address.t === NONE ||
    address.t === -2 ||
    (address.t < NONE && far)
  )
    return
  // Where the object begins and how long it is, in one word of 64 bits.
  const object = locals.named('object', I64)
  effective(out, access, width - 1)
  if (far && !access.indexed) pushPointerTag(out, address.t)
  else pushT(out, address.t)
  out.memory(0x29, CONTROL, TABLE)
  out.tee(object)
  out.op(0xa7, 0x6b)
  out.get(object)
  out.i64(32n)
  out.op(0x88, 0xa7, 0x4f)
  out.brIfRarely(0)
}

// Leaves the shadow word that the first byte is in.
function wordOf(out: Emitter, access: Access): void {
  const { base, offset, width } = access
  out.get(base)
  out.toShadow(offset)
  if (width < 4) {
    out.i32(-4)
    out.op(0x71)
  }
  out.memory(0x28, SHADOW, 0)
}

// Leaves the simple path if the address is not aligned.
function refuseMisaligned(out: Emitter, access: Access, mask: number): void {
  if (mask === 0 || (access.inFrame !== undefined && access.inFrame % (mask + 1) === 0)) return
  if (access.offset % (mask + 1) === 0) out.get(access.base)
  else effective(out, access)
  out.i32(mask)
  out.op(0x71)
  out.brIfRarely(0)
}

// What a slow path is told of the address: T, V, the site.
function slowArguments(out: Emitter, access: Access): void {
  const known = access.inFrame !== undefined
  if (known) out.i32(0)
  else pushTag(out, access.address)
  pushV(out, I32, known || access.seen ? NONE : access.address.v)
  out.i32(access.site)
}

/** Not vectors and atomics. */
const isScalar = ({ width, opcode }: Access): boolean => width <= 8 && opcode < 0x100

/**
 * Checks a load whose base address is in `access.base`, and sets the locals v and t to the shadow of what will be read.
 */
export function checkLoad(
  out: Emitter,
  context: Context,
  locals: Locals,
  access: Access,
  type: ValueType,
  v: number,
  t: number,
): void {
  const { width } = access
  const helper = isScalar(access) && !access.stray ? context.helpers[`load ${access.opcode}`] : undefined
  if (helper !== undefined) {
    out.block()
    out.block()
    refuseAddress(out, locals, access)
    const wide = width === 8
    const s = access.word ?? locals.named('s', wide ? I64 : I32)
    if (wide) {
      out.get(access.base)
      out.toShadow(access.offset)
      out.memory(0x29, SHADOW, 0)
      out.i64(LOW_WORDS)
      out.op(0x7d)
      out.i64(NOT_DEFINED_64)
      out.op(0x83, 0x50, 0x45)
      out.brIfRarely(0)
      refuseMisaligned(out, access, 3)
    } else {
      if (width < 4) refuseMisaligned(out, access, width - 1)
      wordOf(out, access)
      if (width === 4 || access.word !== undefined) out.tee(s)
      out.i32(DEFINED)
      out.op(0x6b)
      out.i32(UNDEFINED - DEFINED)
      out.op(0x4f)
      if (width === 4) {
        out.brIfRarely(0)
        refuseMisaligned(out, access, 3)
      } else {
        // A part of a word of which other bytes are undefined, or nobody's.
        out.ifRarely()
        effective(out, access)
        out.i32(width === 1 ? 0xff : 0xffff)
        out.call(context.helpers.isPartDefined)
        out.op(0x45)
        out.brIf(1)
        out.end()
      }
    }
    out.zero(shadowType(type) ?? I32)
    out.set(v)
    if (width === 4 && !context.hosted) {
      out.get(s)
      out.i32(-8)
      out.op(0x71)
    } else out.i32(0)
    out.set(t)
    out.br(1)
    out.end()
  }
  effective(out, access)
  slowArguments(out, access)
  if (helper !== undefined) {
    out.call(helper)
    out.set(t)
    out.set(v)
  } else {
    out.call(context.hooks.load)
    out.i32(0)
    exchanged(out, type, true)
    out.set(v)
    out.i32(0)
    if (!context.hosted) out.memory(0x28, CONTROL, EXCHANGE_T)
    out.set(t)
  }
  if (helper === undefined) return
  if (access.word !== undefined) {
    out.i32(0)
    out.set(access.word)
  }
  out.end()
}

// Reads or writes V in the exchange.
function exchanged(out: Emitter, type: ValueType, read: boolean): void {
  const shadow = shadowType(type) ?? I32
  if (shadow === I32) out.memory(read ? OP['i32.load'] : OP['i32.store'], CONTROL, EXCHANGE_V)
  else if (shadow === I64) out.memory(read ? OP['i64.load'] : OP['i64.store'], CONTROL, EXCHANGE_V)
  else {
    out.op(0xfd, read ? 0x00 : 0x0b, 0x40)
    out.u32(CONTROL)
    out.u32(EXCHANGE_V)
  }
}

// Leaves the simple path if the value has undefined bits among those that are written, or its T is an origin.
function refuseValue(out: Emitter, value: Value, width: number): void {
  const { v, t, type } = value
  if (v >= 0) {
    out.get(v)
    if (shadowType(type) === I64) {
      if (width === 8) out.op(0x50, 0x45)
      else out.op(0xa7)
    }
    if (width < 4) {
      out.i32(width === 1 ? 0xff : 0xffff)
      out.op(0x71)
    }
    out.brIfRarely(0)
  }
  if (t >= 0 && width === 4 && isPointer(value)) {
    out.get(t)
    out.i32(TAG_LIMIT)
    out.op(0x71)
    out.brIfRarely(0)
  }
}

/** Checks a store whose base address is in `access.base`, and writes the shadow of `value` for what will be written. */
export function checkStore(
  out: Emitter,
  context: Context,
  locals: Locals,
  access: Access,
  value: Value,
): void {
  const { width } = access
  const { v, t, type } = value
  const helper = isScalar(access) && !access.stray ? context.helpers[`store ${access.opcode}`] : undefined
  if (helper !== undefined) {
    const aligned = access.inFrame !== undefined && access.inFrame % Math.min(width, 4) === 0
    out.block()
    out.block()
    refuseAddress(out, locals, access)
    // What was there may be undefined, too, if all of it is written. A part of a word that is defined and no pointer stays so.
    if (width < 4) {
      const { word } = access
      if (word === undefined) refuseMisaligned(out, access, width - 1)
      refuseValue(out, value, width)
      if (word === undefined) wordOf(out, access)
      else out.get(word)
      out.i32(DEFINED)
      out.op(0x47)
      out.ifRarely()
      if (word !== undefined) {
        out.get(word)
        out.op(0x45)
        out.brIf(1)
      }
      effective(out, access)
      out.i32(width === 1 ? 0xff : 0xffff)
      out.call(context.helpers.define)
      out.op(0x45)
      out.brIf(1)
      out.end()
    } else if (access.word !== undefined) {
      out.get(access.word)
      out.op(0x45)
      out.brIfRarely(0)
    } else if (!aligned) {
      if (width === 8) {
        out.get(access.base)
        out.toShadow(access.offset)
        out.memory(0x29, SHADOW, 0)
        out.i64(LOW_WORDS)
        out.op(0x7d)
        out.i64(SIGN_BITS_64)
        out.op(0x83, 0x50, 0x45)
      } else {
        wordOf(out, access)
        out.i32(DEFINED)
        out.op(0x6b)
        out.i32(0)
        out.op(0x48)
      }
      out.brIfRarely(0)
      refuseMisaligned(out, access, 3)
    }
    if (width >= 4) refuseValue(out, value, width)
    if (width === 8) {
      out.get(access.base)
      out.toShadow(access.offset)
      out.i64(LOW_WORDS)
      out.memory(0x37, SHADOW, 0)
    } else if (width === 4) {
      out.get(access.base)
      out.toShadow(access.offset)
      out.i32(DEFINED)
      if (isPointer(value)) {
        pushT(out, t)
        out.op(0x72)
      }
      out.memory(0x36, SHADOW, 0)
    }
    out.br(1)
    out.end()
    effective(out, access)
    pushV(out, type, v)
    pushTag(out, value)
    slowArguments(out, access)
    out.call(helper)
    out.end()
    return
  }
  out.i32(0)
  pushV(out, type, v)
  exchanged(out, type, false)
  out.i32(0)
  pushTag(out, value)
  out.memory(0x36, CONTROL, EXCHANGE_T)
  effective(out, access)
  slowArguments(out, access)
  out.call(context.hooks.store)
}
