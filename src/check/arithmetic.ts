// Operations on values while a function is translated: V by the rules of operators.ts, and what becomes of tags.
import { Blocks } from './blocks.ts'
import { Cursor } from '../wasm/instructions.ts'
import type { ValueType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import { effects, OP } from '../wasm/opcode-table.ts'
import { pushT, pushTag, pushV } from './accesses.ts'
import { combine, placeAt } from './frames.ts'
import type { Emitter } from './emitter.ts'
import { any, binary, isUndefined, needsOperands, unary } from './operators.ts'
import { TAG_LIMIT } from './layout.ts'
import { effectTypes, isPointer, NONE, shadowType, type Symbol, type Value } from './values.ts'

export class Arithmetic extends Blocks {
  /** A float has been compared with a limit of the integers. */
  protected guarded = false
  /** To look at what comes next. */
  protected readonly ahead: Cursor = new Cursor(new Uint8Array(0), 0)

  /** Reports a decision by the value on the machine's stack. `truth`: it is taken as true or false, not as a number. */
  protected decide(value: Value, site: number, truth: boolean): void {
    if (value.v < 0) return
    const out = this.out
    const { helpers, hooks } = this.context
    const c = this.scratch('c', I32)
    if (truth) out.tee(c)
    out.get(value.v)
    out.ifRarely()
    if (truth) {
      out.get(c)
      out.get(value.v)
    }
    pushT(out, value.t)
    out.i32(site)
    // As a comparison with 0.
    out.call(truth ? (helpers[`judge ${OP['i32.eqz']}`] as number) : hooks.decided)
    out.end()
  }

  /** Leaves whether the truth of an i32 is not defined: it has undefined bits, and none that is set for certain. */
  protected truth(c: number, v: number): void {
    const out = this.out
    out.get(v)
    out.ifRarely(I32)
    this.noDefinedOne(c, v)
    out.else()
    out.i32(0)
    out.end()
  }

  // Leaves whether no bit of an i32 is set for certain.
  protected noDefinedOne(c: number, v: number): void {
    const out = this.out
    out.get(c)
    out.get(v)
    out.i32(-1)
    out.op(0x73, 0x71, 0x45)
  }

  // ---- operations on values

  protected operandV(value: Value, x: number): { v: number; x: number; constant: number | undefined } {
    return { v: value.v, x, constant: value.symbol?.kind === 'constant' ? value.symbol.value : undefined }
  }

  protected numeric(cursor: Cursor): void {
    const { op } = cursor
    const { params, results } = effectTypes(effects[op] as string)
    const result = results[0] as ValueType
    const out = this.out
    const b = params.length === 2 ? this.pop() : undefined
    const a = this.pop()
    const pure = (a.v < 0 && (b === undefined || b.v < 0)) || this.isGuard(op, b)
    const symbol = this.symbol(op, a, b)
    if (op === 0x6b && this.plain && symbol === undefined && isStackPointer(a))
      return this.alloca(cursor, b?.symbol)
    const room = this.room(cursor, a, b)
    if (room > 0) return this.alloca(cursor, { kind: 'constant', value: room })
    if (symbol?.kind === 'frame') {
      this.raw(cursor)
      return this.push(I32, NONE, this.derivedT(symbol.offset, a, b), symbol)
    }
    const tagged = isPointer(a) || (b !== undefined && isPointer(b))
    if (pure && !(op >= 0x6a && op <= 0x73 && tagged)) {
      this.raw(cursor)
      return this.push(result, NONE, NONE, symbol)
    }
    const x = this.scratch('xa', a.type)
    const y = b === undefined ? -1 : this.scratch('xb', b.type)
    if (!pure && needsOperands(op)) {
      if (b !== undefined) out.set(y)
      out.tee(x)
      if (b !== undefined) out.get(y)
    }
    this.raw(cursor)
    const branch = pure || !isComparison(op) ? undefined : branchBehind(cursor)
    if (branch !== undefined) {
      this.judge(cursor, a, b, x, y, branch)
      return this.push(I32)
    }
    let v = NONE
    if (!pure && b !== undefined && isCostly(op, a, b)) {
      // Nearly always all is defined: then the rule costs more than to ask.
      v = this.locals.named('rv', shadowType(result) as number)
      anyBit(out, a, b)
      out.ifRarely()
      if (a.type === I32 || a.type === I64)
        binary(out, op, this.operandV(a, x), this.operandV(b, y), this.scratch, this.context.helpers)
      else any(out, [a, b], op, result, this.scratch)
      out.set(v)
      const t = this.numericT(cursor, a, b, v, result)
      const own = t === NONE ? NONE : this.locals.slotT(this.stack.length)
      if (t !== own) {
        pushT(out, t)
        out.set(own)
      }
      out.else()
      out.zero(shadowType(result) as number)
      out.set(v)
      if (own !== NONE) {
        out.i32(0)
        out.set(own)
      }
      out.end()
      out.get(v)
      return this.push(result, this.setV(result), own, symbol, undefined, true)
    }
    if (!pure) {
      if (b === undefined) unary(out, op, a.type, a.v, x, result, this.scratch)
      else if (op === 0x6a && isLoadBehind(cursor)) union(out, a, b)
      else if (a.type === I32 || a.type === I64)
        binary(out, op, this.operandV(a, x), this.operandV(b, y), this.scratch, this.context.helpers)
      else any(out, [a, b], op, result, this.scratch)
      v = this.locals.named('rv', shadowType(result) as number)
      out.set(v)
    }
    let t = this.numericT(cursor, a, b, v, result)
    if (v !== NONE) {
      out.get(v)
      v = this.setV(result)
    }
    // What comes next on the stack has its T where the second operand's was.
    if (t >= 0 && t === b?.t && t === this.locals.slotT(this.stack.length + 1)) {
      out.get(t)
      t = this.setT()
    }
    this.push(result, v, t, symbol, undefined, isNumber(op, a, b))
  }

  // A comparison that only decides the branch behind it, at `site`: that is reported here, and nothing is kept. Mostly all bits are
  // defined, and that is all that is asked.
  protected judge(cursor: Cursor, a: Value, b: Value | undefined, x: number, y: number, site: number): void {
    const out = this.out
    const { op } = cursor
    const { helpers, hooks } = this.context
    anyBit(out, a, b)
    out.ifRarely()
    // Of floats any undefined bit counts.
    const helper = helpers[`judge ${op}`]
    if (helper !== undefined) {
      out.get(x)
      if (b !== undefined) out.get(y)
      pushV(out, a.type, a.v)
      if (b !== undefined) pushV(out, b.type, b.v)
    }
    pushT(out, this.numericT(cursor, a, b, a.v >= 0 ? a.v : (b as Value).v, I32))
    out.i32(site)
    out.call(helper ?? hooks.decided)
    out.end()
  }

  // Whether a comparison is the compiler's: without saturating conversions it asks if a float fits before it makes it an integer, and
  // what comes of an undefined float is only undefined.
  protected isGuard(op: number, b: Value | undefined): boolean {
    if (op === 0x5d || op === 0x63) {
      this.guarded ||= b?.symbol?.kind === 'float limit'
      return b?.symbol?.kind === 'float limit'
    }
    return (op === 0x60 || op === 0x66) && this.guarded && b?.symbol?.kind === 'float zero'
  }

  /** The tag of the place in the frame that an address is in, in a local, or NONE. */
  protected placeT(at: number): number {
    const i = this.placeAt(at)
    if (i < 0) return NONE
    const out = this.out
    out.get(this.locals.named('tags', I32))
    out.i32(8 * i)
    out.op(0x6a)
    return this.setT()
  }

  // What is computed from a variable's address is an address of this variable.
  protected derivedT(at: number, a: Value, b: Value | undefined): number {
    const base = a.symbol?.kind === 'frame' ? a : (b as Value)
    if (!this.isVariable(base)) return this.placeT(at)
    pushT(this.out, base.t)
    return this.setT()
  }

  protected isVariable({ symbol, t }: Value): boolean {
    if (!this.plain || t === NONE || symbol?.kind !== 'frame' || symbol.of === undefined) return false
    return this.places[this.placeAt(symbol.of)]?.name !== undefined
  }

  protected placeAt(at: number): number {
    return placeAt(this.places, at, this.plain)
  }

  // Room is taken on the stack, of a size that the compiler knew or that is known only now. The two operands are popped, but still on the
  // machine's stack.
  protected alloca(cursor: Cursor, size: Symbol | undefined): void {
    const out = this.out
    this.written()
    const start = this.scratch('base', I32)
    const length = this.scratch('x0', I32)
    out.tee(length)
    const mask = this.roundedDown(cursor)
    this.raw(cursor)
    out.tee(start)
    out.get(start)
    if (mask < -1) {
      out.i32(mask)
      out.op(0x71)
    }
    if (size?.kind === 'constant') out.i32(size.value)
    else out.get(size?.kind === 'room' && size.rounded ? size.bytes : length)
    out.i32(cursor.place)
    out.call(this.context.hooks.alloca)
    this.push(I32, NONE, this.setT())
  }

  // The mask that is put on what an instruction leaves, next or by way of locals: of what asks for more than the stack's alignment. -1: none.
  protected roundedDown({ bytes, end, base }: Cursor): number {
    const ahead = this.ahead.reset(bytes, base)
    ahead.end = end
    const held = new Map<number, 'address' | number>()
    const stack: ('address' | number)[] = ['address']
    while (ahead.next()) {
      const { op, index } = ahead
      if (op === 0x41) stack.push(ahead.i32)
      else if (op === 0x21 && stack.length > 0) held.set(index, stack.pop()!)
      else if (op === 0x20 && held.has(index)) stack.push(held.get(index)!)
      else {
        const [address, mask] = stack.splice(-2)
        return op === 0x71 && address === 'address' && typeof mask === 'number' && mask < 0 ? mask : -1
      }
    }
    return -1
  }

  // Bytes below the stack pointer that this sum takes after the prologue: an alloca whose size the compiler knows. Or 0. The stack pointer is
  // set to it; else it is an address in front of the variable that lies lowest.
  protected room(cursor: Cursor, a: Value, b: Value | undefined): number {
    const { op } = cursor
    if (!this.plain || !this.moved || (op !== 0x6a && op !== 0x6b) || !isStackPointer(a)) return 0
    if (b?.symbol?.kind !== 'constant' || !this.becomesStackPointer(cursor)) return 0
    return op === 0x6a ? -b.symbol.value : b.symbol.value
  }

  // Whether what an instruction leaves goes to the stack pointer next, or by other locals to one that does.
  protected becomesStackPointer({ bytes, end, base }: Cursor): boolean {
    const ahead = this.ahead.reset(bytes, base)
    ahead.end = end
    for (;;) {
      if (!ahead.next()) return false
      const { op, index } = ahead
      if (op === 0x24) return index === this.context.stackPointer
      if (op !== 0x21 && op !== 0x22) return false
      if (this.use.stackPointers.has(index)) return true
      if (op === 0x21 && !(ahead.next() && ahead.op === 0x20 && ahead.index === index)) return false
    }
  }

  // What a frame is counted from is its lower end after this, if it is rounded.
  protected roundsFrame({ symbol }: Value, b: Value | undefined): boolean {
    if (!this.entry || this.moved || symbol?.kind !== 'frame' || symbol.offset !== 0) return false
    return this.use.align > 1 && b?.symbol?.kind === 'constant' && b.symbol.value === -this.use.align
  }

  protected isSetOnce(local: number): boolean {
    return local >= this.type.params.length && this.use.sets[local] === 1
  }

  protected symbol(op: number, a: Value, b: Value | undefined): Symbol | undefined {
    if (op === 0x71 && this.roundsFrame(a, b)) return a.symbol
    const constant = b?.symbol?.kind === 'constant' ? b.symbol.value : 0
    if (op === 0x6a && constant === 15 && this.plain && a.local !== undefined && this.isSetOnce(a.local))
      return { kind: 'room', bytes: a.local, rounded: false }
    if (op === 0x71 && constant === -16 && a.symbol?.kind === 'room') return { ...a.symbol, rounded: true }
    if ((op !== 0x6a && op !== 0x6b) || b === undefined) return undefined
    const known = (value: Value): { frame?: number; constant?: number } | undefined =>
      value.symbol?.kind === 'frame'
        ? { frame: value.symbol.offset }
        : value.symbol?.kind === 'constant'
          ? { constant: value.symbol.value }
          : undefined
    const sum = combine(op, known(a), known(b))
    if (sum?.frame !== undefined) {
      const from = a.symbol?.kind === 'frame' ? a : b
      if (this.isVariable(from) && from.symbol?.kind === 'frame')
        return { kind: 'frame', offset: sum.frame, of: from.symbol.of }
      return { kind: 'frame', offset: sum.frame, of: sum.frame === 0 ? undefined : sum.frame }
    }
    return sum?.constant === undefined ? undefined : { kind: 'constant', value: sum.constant }
  }

  /** T of a result, in a local (or NONE). `v` is the local with its V, or NONE. */
  protected numericT(cursor: Cursor, a: Value, b: Value | undefined, v: number, result: ValueType): number {
    const out = this.out
    const { op } = cursor
    const ta = a.t
    const tb = b?.t ?? NONE
    if (ta === NONE && tb === NONE) return NONE
    if (b !== undefined && result === I32 && (op === 0x6a || op === 0x6b)) return this.sumT(op, a, b)
    if (isAligning(op, b)) return ta
    if (op === 0x73 && b !== undefined && !isNumber(op, a, b)) {
      if (b.number === true) return this.indexT(a, b)
      return a.number === true ? this.indexT(b, a) : this.mixT(a, b)
    }
    if (v === NONE) return NONE
    // Otherwise only the origin of undefined bits goes on.
    if (b === undefined || tb === NONE || b.v < 0) return ta
    if (ta === NONE || a.v < 0) return tb
    pushT(out, ta)
    pushT(out, tb)
    isUndefined(out, a.type, a.v)
    out.op(0x1b)
    return this.setT()
  }

  // The T on the machine's stack, or 0 if it is a tag: t & -(t >> 30).
  protected originOnly(): void {
    const out = this.out
    const t = this.scratch('ot', I32)
    out.tee(t)
    out.i32(0)
    out.get(t)
    out.i32(30)
    out.op(0x76, 0x6b, 0x71)
  }

  protected sumT(op: number, a: Value, b: Value): number {
    const out = this.out
    if (b.t !== NONE && b.number === true) return this.indexT(a, b)
    if (b.t === NONE || (a.t >= 0 && b.t < NONE)) return a.t
    if (op === 0x6a && a.t !== NONE && a.number === true) return this.indexT(b, a)
    if (a.t === NONE && op === 0x6a) return b.t
    if (op === 0x6a && b.t >= 0 && a.t < NONE) {
      // A constant that may be the address of a global, and something with a T of its own if it is a pointer.
      out.get(b.t)
      out.op(0x45)
      out.if(I32)
      pushT(out, a.t)
      out.else()
      pushT(out, a.t)
      out.get(b.t)
      out.call(this.context.helpers.addTags)
      out.end()
      return this.setT()
    }
    if (op === 0x6a) return this.mixT(a, b)
    pushT(out, b.t)
    out.ifRarely(I32)
    pushTag(out, a)
    pushT(out, b.t)
    out.call(this.context.helpers.subTags)
    out.else()
    pushTag(out, a)
    out.end()
    return this.setT()
  }

  // T of a pointer or number and a number that is hardly ever undefined: the first origin, or T of the first.
  protected indexT(a: Value, b: Value): number {
    if (b.v < 0) return a.t
    const out = this.out
    out.get(b.v)
    out.ifRarely(I32)
    pushT(out, b.t)
    this.originOnly()
    if (a.t !== NONE) {
      const t = this.scratch('ot', I32)
      out.set(t)
      pushT(out, a.t)
      out.get(t)
      pushT(out, a.t)
      out.get(t)
      out.op(0x1b)
      pushT(out, a.t)
      out.i32(TAG_LIMIT)
      out.op(0x4f, 0x1b)
    }
    out.else()
    pushT(out, a.t)
    out.end()
    return this.setT()
  }

  // Of two values that are hardly ever both pointers: the T that is one. Pointers mixed bit by bit are not checked any more.
  protected mixT(a: Value, b: Value): number {
    const out = this.out
    pushT(out, a.t)
    out.op(0x45)
    pushT(out, b.t)
    out.op(0x45, 0x72, 0x45)
    out.ifRarely(I32)
    pushT(out, a.t)
    pushT(out, b.t)
    out.call(this.context.helpers.addTags)
    out.else()
    pushT(out, a.t)
    pushT(out, b.t)
    out.op(0x72)
    out.end()
    return this.setT()
  }

  protected select(cursor: Cursor): void {
    const out = this.out
    const condition = this.pop()
    const b = this.pop()
    const a = this.pop()
    const shadow = shadowType(a.type)
    const dirty = shadow !== undefined && (a.v >= 0 || b.v >= 0 || condition.v >= 0)
    const tagged = a.t !== NONE || b.t !== NONE || (dirty && condition.t !== NONE)
    const number = !isPointer(a) && !isPointer(b)
    const part = (value: Value): void => (number ? pushT(out, value.t) : pushTag(out, value))
    const c = this.scratch('c', I32)
    if (dirty || tagged) out.tee(c)
    this.raw(cursor)
    let v = NONE
    if (dirty) {
      const rv = this.locals.named('rv', shadow)
      pushV(out, a.type, a.v)
      pushV(out, b.type, b.v)
      out.get(c)
      out.op(0x1b)
      if (condition.v >= 0) {
        this.truth(c, condition.v)
        const w = this.scratch('w', I32)
        out.set(w)
        if (shadow === I32 || shadow === I64) {
          out.i32(0)
          out.get(w)
          out.op(0x6b)
          if (shadow === I64) out.op(0xac, 0x84)
          else out.op(0x72)
        }
      }
      out.set(rv)
      v = rv
    }
    let t = NONE
    if (tagged) {
      part(a)
      part(b)
      out.get(c)
      out.op(0x1b)
      if (condition.v >= 0 && condition.t !== NONE) {
        const st = this.scratch('ot', I32)
        out.set(st)
        part(condition)
        out.get(st)
        this.truth(c, condition.v)
        out.op(0x1b)
      }
      t = this.setT()
    }
    if (v !== NONE) {
      out.get(v)
      v = this.setV(a.type)
    }
    this.push(a.type, v, t, undefined, undefined, number)
  }

  /** Constants, conversions, vectors, tables: undefined altogether if any operand is. */
  protected other(cursor: Cursor): void {
    const { op } = cursor
    const out = this.out
    const special = specialTypes(op)
    const effect = effects[op] as string
    const { params, results } = special ?? effectTypes(effect)
    const values = params.map(() => this.pop()).reverse()
    this.raw(cursor)
    if (results.length !== 1 || values.every(value => value.v < 0))
      return results.forEach(type => this.push(type))
    const type = results[0] as ValueType
    if (shadowType(type) === undefined) return this.push(type)
    const vectors = values.filter(value => value.type === 0x7b && value.v >= 0)
    if (type === 0x7b && vectors.length === values.length) {
      // Lanes stay lanes: the union.
      vectors.forEach((value, i) => {
        out.get(value.v)
        if (i > 0) out.op(0xfd, 0x50)
      })
    } else any(out, values, op, type, this.scratch)
    const v = this.locals.named('rv', shadowType(type) as number)
    out.set(v)
    const from = values.find(value => value.v >= 0 && value.t !== NONE)
    let t = NONE
    if (from !== undefined) {
      pushT(out, from.t)
      t = this.setT()
    }
    out.get(v)
    this.push(type, this.setV(type), t, undefined, undefined, true)
  }
}

/**
 * Whether the rule of an operation with two operands, both undefined at times, is long: more than a union, and there are two origins to choose
 * from. T of its result is nothing but an origin.
 */
function isCostly(op: number, a: Value, b: Value): boolean {
  if (op < 0x67 || a.v < 0 || b.v < 0) return false
  return op !== 0x6a && op !== 0x6b && op !== 0x73 && !isAligning(op, b)
}

/** Those of integers, with 0 too, and of floats. */
const isComparison = (op: number): boolean => op >= 0x45 && op <= 0x66

// Where the branch is that comes right behind an instruction, or behind i32.eqz after it.
function branchBehind({ bytes, at, end, place }: Cursor): number | undefined {
  const next = bytes[end] === 0x45 ? end + 1 : end
  return bytes[next] === 0x0d || bytes[next] === 0x04 ? place + next - at : undefined
}

// Leaves something that is not 0 if any bit of the operands is undefined.
function anyBit(out: Emitter, a: Value, b: Value | undefined): void {
  const values = [a, b].filter(value => value !== undefined && value.v >= 0) as Value[]
  const joined = values.every(({ type }) => type === values[0]?.type)
  values.forEach(({ type, v }, i) => {
    if (joined && shadowType(type) === I32) out.get(v)
    else isUndefined(out, type, v)
    if (i > 0) out.op(0x72)
  })
}

/** Alignment keeps the object: p & -16, p | 1. */
function isAligning(op: number, b: Value | undefined): boolean {
  const constant = b?.symbol?.kind === 'constant' ? b.symbol.value : 0
  return (op === 0x71 && constant < 0) || (op === 0x72 && constant > 0)
}

/** Whether the result of an operation is no pointer: of pointers only sums, differences and what is aligned are. */
function isNumber(op: number, a: Value, b: Value | undefined): boolean {
  if (isAligning(op, b)) return !isPointer(a)
  // Of a number and a constant that may be a global's address sumT takes the first.
  if (op === 0x6a && a.t >= 0 && b !== undefined && b.t < NONE) return !isPointer(a)
  return (op !== 0x6a && op !== 0x6b && op !== 0x73) || b === undefined || !(isPointer(a) || isPointer(b))
}

/** Whether a load takes the result of an instruction as its address: only whether that is defined counts. */
const isLoadBehind = ({ bytes, end }: Cursor): boolean =>
  (bytes[end] as number) >= 0x28 && (bytes[end] as number) <= 0x35

// Leaves V of a sum that nobody takes apart.
function union(out: Emitter, a: Value, b: Value): void {
  if (a.v >= 0) out.get(a.v)
  if (b.v >= 0) out.get(b.v)
  if (a.v >= 0 && b.v >= 0) out.op(0x72)
}

/** The stack pointer as it is: the frame's lower end, or what was taken from it later. */
const isStackPointer = ({ symbol }: Value): boolean =>
  symbol?.kind === 'stack pointer' || (symbol?.kind === 'frame' && symbol.offset === 0)

/** The stack effect of what opcode-table.ts leaves to the validator. */
function specialTypes(op: number): { params: ValueType[]; results: ValueType[] } | undefined {
  switch (op) {
    case 0x25:
      return { params: [I32], results: [0x70] }
    case 0x26:
      return { params: [I32, 0x70], results: [] }
    case 0xd0:
      return { params: [], results: [0x70] }
    case 0xd1:
      return { params: [0x70], results: [I32] }
    case 0x10c:
    case 0x10e:
      return { params: [I32, I32, I32], results: [] }
    case 0x10f:
      return { params: [0x70, I32], results: [I32] }
    case 0x110:
      return { params: [], results: [I32] }
    case 0x111:
      return { params: [I32, 0x70, I32], results: [] }
    default:
      return undefined
  }
}
