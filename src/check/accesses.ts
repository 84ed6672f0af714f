// The checks around one load or store: the address is defined, inside of the object that its pointer was made from, and the bytes may
// be touched; then the shadow of the bytes becomes the shadow of the value, or the other way. What is not simple goes to a slow path.
import type { ValueType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import type { Context } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import {
  EXCHANGE_T,
  EXCHANGE_V,
  FRAME_TAGS,
  MIXED_ADDRESSABLE,
  ORIGIN_MASK,
  TABLE,
  TAG_LIMIT,
} from './layout.ts'
import type { Locals, Value } from './values.ts'
import { NONE, shadowType } from './values.ts'

export interface Access {
  readonly opcode: number
  /** Bytes. */
  readonly width: number
  /** Of a load: the value is extended by its sign. */
  readonly signed: boolean
  readonly offset: number
  /** The place in the module, for reports. */
  readonly site: number
  /** The local that the base address was put in. */
  readonly base: number
  readonly address: Value
  /** Certainly inside of the function's own frame, at so many bytes from its lower end (which is aligned to 16). */
  readonly inFrame: number | undefined
  /** Certainly outside of the object of its tag. */
  readonly stray: boolean
}

const HIGH_BITS = -0x40000000 // 0xc0000000
const LOW_WORDS = 0x0000000400000004n
const SIGN_BITS_64 = -0x7fffffff80000000n // 0x8000000080000000

/** Leaves a T on the stack. */
export function pushT(out: Emitter, t: number): void {
  if (t >= 0) out.get(t)
  else out.i32(t === NONE ? 0 : -2 - t)
}

/** Leaves a V on the stack. */
export function pushV(out: Emitter, type: ValueType, v: number): void {
  if (v >= 0) out.get(v)
  else out.zero(shadowType(type) ?? I32)
}

function effective(out: Emitter, { base, offset }: Access): void {
  out.get(base)
  if (offset === 0) return
  out.i32(offset | 0)
  out.op(0x6a)
}

// Leaves for the label `slow` if the address is undefined or outside of its object.
function checkAddress(out: Emitter, access: Access, slow: number): void {
  const { address, width, offset } = access
  if (access.inFrame !== undefined) return
  if (address.v >= 0) {
    out.get(address.v)
    out.brIf(slow)
  }
  if (address.t === NONE || address.t === -2) return
  // An address that is a constant and an offset that is one: the offset is the object, the constant an index.
  if (address.t < NONE && offset >= 1024) return
  if (address.t >= 0) {
    out.get(address.t)
    out.i32(8)
    out.op(0x6b)
    out.i32(TAG_LIMIT - 8)
    out.op(0x49)
    if (offset >= 1024) {
      out.get(address.t)
      out.i32(FRAME_TAGS)
      out.op(0x4f, 0x71)
    }
    out.if()
  }
  effective(out, access)
  pushT(out, address.t)
  out.memory(0x28, CONTROL, TABLE)
  out.op(0x6b, 0xad)
  out.i64(BigInt(width))
  out.op(0x7c)
  pushT(out, address.t)
  out.memory(0x35, CONTROL, TABLE + 4)
  out.op(0x56)
  out.brIf(address.t >= 0 ? slow + 1 : slow)
  if (address.t >= 0) out.end()
}

const scratch = (locals: Locals, name: string, type: ValueType): number => locals.named(name, type)

// Leaves the shadow word of a byte or two on the stack.
function wordOfPart(out: Emitter, access: Access): void {
  if (access.offset % 4 === 0) {
    out.get(access.base)
    out.i32(-4)
    out.op(0x71)
    out.memory(0x28, SHADOW, access.offset)
  } else {
    effective(out, access)
    out.i32(-4)
    out.op(0x71)
    out.memory(0x28, SHADOW, 0)
  }
}

// Leaves the bits of the address that have to be 0 for the simple path. False: it is known to be aligned.
function misaligned(out: Emitter, access: Access, mask: number): boolean {
  if (access.inFrame !== undefined && access.inFrame % (mask + 1) === 0) return false
  if (access.offset % (mask + 1) === 0) out.get(access.base)
  else effective(out, access)
  out.i32(mask)
  out.op(0x71)
  return true
}

function slowArguments(out: Emitter, access: Access): void {
  effective(out, access)
  pushT(out, access.inFrame === undefined ? access.address.t : NONE)
  pushV(out, I32, access.inFrame === undefined ? access.address.v : NONE)
  out.i32(access.site)
}

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
  // Vectors and atomics take the slow path.
  const simple = width <= 8 && access.opcode < 0x100 && !access.stray
  const inWord = simple && width <= 4
  out.block()
  out.block()
  if (inWord) out.block()
  checkAddress(out, access, inWord ? 1 : 0)
  // A word that is altogether defined or undefined: its V is bit 30, spread, and its T what it holds.
  const s = scratch(locals, 's', I32)
  if (!simple) {
    out.br(0)
  } else if (width === 8) {
    const s64 = scratch(locals, 's', I64)
    out.get(access.base)
    out.memory(0x29, SHADOW, access.offset)
    out.tee(s64)
    out.i64(LOW_WORDS)
    out.op(0x7d)
    out.i64(SIGN_BITS_64)
    out.op(0x83, 0x50, 0x45)
    if (misaligned(out, access, 3)) out.op(0x72)
    out.brIf(0)
    out.get(s64)
    out.i64(30n)
    out.op(0x88)
    out.i64(0x100000001n)
    out.op(0x83)
    out.i64(0xffffffffn)
    out.op(0x7e)
    out.set(v)
    // The origin of the first half that has one.
    out.get(s64)
    out.op(0xa7)
    out.tee(s)
    out.get(s64)
    out.i64(32n)
    out.op(0x88, 0xa7)
    out.get(s)
    out.i32(TAG_LIMIT)
    out.op(0x71, 0x1b)
    out.i32(-8)
    out.op(0x71)
    out.set(t)
  } else {
    if (width === 4) {
      out.get(access.base)
      out.memory(0x28, SHADOW, access.offset)
    } else wordOfPart(out, access)
    out.tee(s)
    out.i32(4)
    out.op(0x6b)
    out.i32(-0x80000000)
    out.op(0x71)
    if (width > 1 && misaligned(out, access, width - 1)) out.op(0x72)
    out.brIf(0)
    out.i32(0)
    out.get(s)
    out.i32(30)
    out.op(0x76, 0x6b)
    if (width === 4) {
      if (shadowType(type) === I64) out.op(access.signed ? 0xac : 0xad)
      out.set(v)
      out.get(s)
      out.i32(-8)
      out.op(0x71)
      out.set(t)
    } else {
      out.tee(t)
      if (!access.signed) {
        out.i32(width === 1 ? 0xff : 0xffff)
        out.op(0x71)
      }
      if (shadowType(type) === I64) out.op(access.signed ? 0xac : 0xad)
      out.set(v)
      out.get(s)
      out.i32(-8)
      out.get(t)
      out.op(0x71, 0x71)
      out.set(t)
    }
  }
  if (simple) out.br(inWord ? 2 : 1)
  if (inWord) mixedLoad(out, access, type, s, v, t)
  out.end()
  slowArguments(out, access)
  out.call(context.hooks.load)
  out.i32(0)
  if (type === I32 || type === 0x7d) out.memory(0x28, CONTROL, EXCHANGE_V)
  else if (type === I64 || type === 0x7c) out.memory(0x29, CONTROL, EXCHANGE_V)
  else {
    out.op(0xfd, 0x00, 0x40)
    out.u32(CONTROL)
    out.u32(EXCHANGE_V)
  }
  out.set(v)
  out.i32(0)
  out.memory(0x28, CONTROL, EXCHANGE_T)
  out.set(t)
  out.end()
}

// The end of the block `simple`: a word with bytes that are undefined, or that nobody may touch, but not those that are read. Its bits lie ready in the bits memory, to be read
// by the same instruction. Goes to the end of the load (label 1 from here), or on to the slow path.
function mixedLoad(out: Emitter, access: Access, type: ValueType, s: number, v: number, t: number): void {
  const { width, opcode, base, offset } = access
  out.end()
  out.get(s)
  out.i32(MIXED_ADDRESSABLE)
  if (width < 4) {
    // The word at the end of a block may have other bytes that nobody may touch.
    effective(out, access)
    out.i32(3)
    out.op(0x71, 0x6a, 0x76)
    out.i32(width === 1 ? 1 : 3)
    out.op(0x71)
    out.i32(width === 1 ? 1 : 3)
  } else {
    out.op(0x76)
    out.i32(31)
  }
  out.op(0x46)
  if (width > 1 && misaligned(out, access, width - 1)) out.op(0x45, 0x71)
  out.if()
  out.get(base)
  out.memory(opcode === 0x2a ? 0x28 : opcode, BITS, offset)
  out.set(v)
  out.get(s)
  out.i32(ORIGIN_MASK)
  out.op(0x71)
  out.i32(TAG_LIMIT)
  out.op(0x72)
  out.i32(0)
  out.get(v)
  if (shadowType(type) === I64) out.op(0x50, 0x45)
  out.op(0x1b)
  out.set(t)
  out.br(2)
  out.end()
}

// Leaves what has to be 0 for a store of a byte or two to be simple, apart from the shadow that is there. 0: nothing has.
function shortReasons(out: Emitter, access: Access, { v, type }: Value): number {
  let parts = 0
  if (v >= 0) {
    // Only the bits that are written count.
    out.get(v)
    if (shadowType(type) === I64) out.op(0xa7)
    out.i32(access.width === 1 ? 0xff : 0xffff)
    out.op(0x71)
    parts++
  }
  if (access.width === 2 && misaligned(out, access, 1) && parts++ > 0) out.op(0x72)
  return parts
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
  const shadow = shadowType(type) ?? I32
  const aligned = access.inFrame !== undefined && access.inFrame % 4 === 0
  out.block()
  out.block()
  checkAddress(out, access, 0)
  const simple = access.opcode < 0x100 && !(width === 4 && type === I64) && !access.stray
  if (!simple) {
    out.br(0)
  } else if (width === 4) {
    let parts = 0
    if (!aligned) {
      out.get(access.base)
      out.memory(0x28, SHADOW, access.offset)
      out.i32(4)
      out.op(0x6b)
      out.i32(-0x80000000)
      out.op(0x71)
      misaligned(out, access, 3)
      out.op(0x72)
      parts++
    }
    if (v >= 0) {
      // All bits or none: v ^ (v >> 31) is 0.
      out.get(v)
      out.get(v)
      out.i32(31)
      out.op(0x75, 0x73)
      if (parts++ > 0) out.op(0x72)
    }
    if (t >= 0) {
      // A defined value takes no origin with it.
      out.get(t)
      out.i32(TAG_LIMIT)
      out.op(0x71)
      if (v >= 0) {
        out.get(v)
        out.i32(-1)
        out.op(0x73, 0x71)
      }
      if (parts++ > 0) out.op(0x72)
    }
    if (parts > 0) out.brIf(0)
    out.get(access.base)
    out.i32(4)
    if (t !== NONE) {
      pushT(out, t)
      out.op(0x72)
    }
    if (v >= 0) {
      out.get(v)
      out.i32(TAG_LIMIT)
      out.op(0x71, 0x72)
    }
    out.memory(0x36, SHADOW, access.offset)
  } else if (width === 8) {
    let parts = 0
    if (!aligned) {
      out.get(access.base)
      out.memory(0x29, SHADOW, access.offset)
      out.i64(LOW_WORDS)
      out.op(0x7d)
      out.i64(SIGN_BITS_64)
      out.op(0x83, 0x50, 0x45)
      misaligned(out, access, 3)
      out.op(0x72)
      parts++
    }
    if (v >= 0) {
      out.get(v)
      out.get(v)
      out.i64(63n)
      out.op(0x87, 0x85, 0x50, 0x45)
      if (parts++ > 0) out.op(0x72)
    }
    if (parts > 0) out.brIf(0)
    out.get(access.base)
    out.i64(LOW_WORDS)
    if (v >= 0) {
      pushT(out, t)
      out.op(0xad)
      out.i64(0x100000001n)
      out.op(0x7e)
      out.i64(0x4000000040000000n)
      out.op(0x84)
      out.get(v)
      out.op(0x83, 0x84)
    }
    out.memory(0x37, SHADOW, access.offset)
  } else {
    const s = scratch(locals, 'a', I32)
    out.block()
    effective(out, access)
    out.i32(-4)
    out.op(0x71)
    out.tee(s)
    out.memory(0x28, SHADOW, 0)
    out.i32(4)
    out.op(0x6b)
    out.i32(HIGH_BITS)
    out.op(0x71)
    if (shortReasons(out, access, value) > 0) out.op(0x72)
    out.brIf(0)
    out.get(s)
    out.i32(4)
    out.memory(0x36, SHADOW, 0)
    out.br(2)
    out.end()
    if (shortReasons(out, access, value) > 0) out.brIf(0)
    effective(out, access)
    out.i32(width)
    out.call(context.helpers.define)
    out.op(0x45)
    out.brIf(0)
  }
  if (simple) out.br(1)
  out.end()
  out.i32(0)
  pushV(out, type, v)
  if (shadow === I32) out.memory(0x36, CONTROL, EXCHANGE_V)
  else if (shadow === I64) out.memory(0x37, CONTROL, EXCHANGE_V)
  else {
    out.op(0xfd, 0x0b, 0x40)
    out.u32(CONTROL)
    out.u32(EXCHANGE_V)
  }
  out.i32(0)
  pushT(out, t)
  out.memory(0x36, CONTROL, EXCHANGE_T)
  slowArguments(out, access)
  out.call(context.hooks.store)
  out.end()
}
