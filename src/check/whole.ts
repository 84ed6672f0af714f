// The bodies of functions that are checked as a whole: malloc and its family, the string functions. What nearly always happens needs
// no JavaScript (take.ts, ranges.ts); the rest goes to runtime.ts, with the shadow of the arguments in the exchange.
import type { Func, FuncType } from '../wasm/module.ts'
import { I32 } from '../wasm/module.ts'
import { type AllocatorFunction, allocators } from './allocators.ts'
import type { Context } from './context.ts'
import { CONTROL, Emitter } from './emitter.ts'
import { heapKinds } from './heap.ts'
import { EXCHANGE_CALLS, EXCHANGE_T, EXCHANGE_V } from './layout.ts'
import { HEADER, header } from './heap-code.ts'
import { MOST_BYTES } from './take.ts'
import { shadowType } from './values.ts'

/** In the exchange, V and T of the argument with this index. */
export const argumentPlace = (index: number): number => 32 + 16 * index

/** The body of a function of this type and name; `to` is the import behind it. */
export function wholeFunction(
  context: Context,
  type: FuncType,
  name: string,
  to: number,
): Pick<Func, 'locals' | 'body'> {
  const out = new Emitter(64)
  const way = shortWays[name]
  const allocator = allocators[name]
  let locals: Func['locals'] = []
  if (allocator !== undefined) locals = heapWay(out, context, type, allocator)
  else if (way !== undefined && type.results.length === 1)
    shortWay(out, context, type.params.length, way, name === 'strcmp')
  handOver(out, context, type, to)
  return { locals, body: out.take() }
}

// ---- malloc, free and the others

// Its locals.
function heapWay(
  out: Emitter,
  context: Context,
  type: FuncType,
  { role, kind, alignmentLast }: AllocatorFunction,
): Func['locals'] {
  const { helpers } = context
  const answers = type.results.length === 1
  const kindNumber = heapKinds.indexOf(kind)
  const first = type.params.length
  const [result, head, kept] = [first, first + 1, first + 2]
  const locals = [{ count: 3, type: I32 }]
  const capture = (): void => {
    out.globalGet(context.calls)
    out.call(helpers.capture)
  }
  const refuseUndefined = (count: number): void => {
    for (let i = 0; i < count; i++) {
      out.globalGet(context.parameterV(i, I32))
      out.brIf(0)
    }
  }
  const refuseLarge = (size: number): void => {
    out.get(size)
    out.i32(MOST_BYTES)
    out.op(0x4b)
    out.brIf(0)
  }
  // Leaves the block, by this label, if there is no memory.
  const take = (size: number, label: number): void => {
    out.get(size)
    out.i32(16)
    out.i32(kindNumber)
    capture()
    out.call(helpers.take)
    out.tee(result)
    out.op(0x45)
    out.brIf(label)
  }
  const give = (at: number): void => {
    out.get(at)
    capture()
    out.call(helpers.give)
  }
  const done = (): void => {
    out.i32(0)
    out.globalSet(context.resultV(0, I32))
    header(out, result, HEADER.tag)
    out.i32(-8)
    out.op(0x71)
    out.globalSet(context.resultT(0))
    out.get(result)
    out.op(0x0f)
  }
  // Leaves the block if nothing that lives and was made by a partner of this function begins at an address.
  const refuseOther = (at: number): void => {
    out.get(at)
    out.call(helpers.blockAt)
    out.tee(head)
    out.op(0x45)
    out.brIf(0)
    out.get(head)
    out.i32(3)
    out.op(0x71)
    out.i32(kindNumber)
    out.op(0x47)
    out.brIf(0)
  }
  out.block()
  if (role === 'take' && answers && alignmentLast !== true) {
    refuseUndefined(1)
    refuseLarge(0)
    take(0, 0)
    done()
  } else if (role === 'zeroed' && answers) {
    refuseUndefined(2)
    // Both below 64 Ki, or one of them is 1: nearly all are.
    out.get(0)
    out.get(1)
    out.op(0x72)
    out.i32(16)
    out.op(0x76)
    out.get(0)
    out.i32(1)
    out.op(0x47)
    out.get(1)
    out.i32(1)
    out.op(0x47, 0x71, 0x71)
    out.brIf(0)
    out.get(0)
    out.get(1)
    out.op(0x6c)
    out.tee(kept)
    out.i32(MOST_BYTES)
    out.op(0x4b)
    out.brIf(0)
    take(kept, 0)
    out.get(result)
    out.call(helpers.blank)
    done()
  } else if (role === 'give' && !answers) {
    refuseUndefined(1)
    out.get(0)
    out.op(0x45)
    out.if()
    out.op(0x0f)
    out.end()
    refuseOther(0)
    give(0)
    out.op(0x0f)
  } else if (role === 'resize' && answers) {
    refuseUndefined(2)
    refuseLarge(1)
    out.get(0)
    out.op(0x45)
    out.if()
    take(1, 1)
    done()
    out.end()
    refuseOther(0)
    out.get(0)
    out.get(1)
    capture()
    out.call(helpers.stretch)
    out.if()
    out.get(0)
    out.set(result)
    done()
    out.end()
    take(1, 0)
    out.get(1)
    header(out, 0, HEADER.size)
    out.tee(kept)
    out.get(1)
    out.get(kept)
    out.op(0x49, 0x1b)
    out.set(kept)
    const range = (): void => {
      for (const one of [result, 0, kept]) out.get(one)
    }
    range()
    out.i32(0)
    out.i32(0)
    out.call(helpers.copyBytes)
    out.op(0x45)
    out.if()
    range()
    out.op(0xfc, 0x0a, 0, 0)
    range()
    for (let i = 0; i < 3; i++) out.i32(0)
    out.call(context.hooks.copy)
    out.end()
    give(0)
    done()
  }
  out.end()
  return locals
}

// ---- string functions

/** What needs no JavaScript: the helper, the pointers among the arguments, what comes behind (and whether the result is the first argument). */
interface ShortWay {
  readonly helper: 'copyBytes' | 'fillBytes' | 'textLength' | 'difference'
  readonly pointers: readonly number[]
  readonly more?: readonly number[]
  readonly first?: boolean
}
const shortWays: Readonly<Record<string, ShortWay | undefined>> = {
  memcpy: { helper: 'copyBytes', pointers: [0, 1], first: true },
  memmove: { helper: 'copyBytes', pointers: [0, 1], first: true },
  memset: { helper: 'fillBytes', pointers: [0], first: true },
  strlen: { helper: 'textLength', pointers: [0] },
  memcmp: { helper: 'difference', pointers: [0, 1], more: [0] },
  bcmp: { helper: 'difference', pointers: [0, 1], more: [0] },
  strncmp: { helper: 'difference', pointers: [0, 1], more: [1] },
  strcmp: { helper: 'difference', pointers: [0, 1], more: [1] },
}

function shortWay(out: Emitter, context: Context, params: number, way: ShortWay, endless: boolean): void {
  const arguments_ = Array.from({ length: params }, (_, i) => i)
  out.block()
  for (const i of arguments_) {
    out.globalGet(context.parameterV(i, I32))
    if (i > 0) out.op(0x72)
  }
  out.brIf(0)
  for (const i of arguments_) out.get(i)
  if (endless) out.i32(-1)
  for (const i of way.pointers) out.globalGet(context.parameterT(i))
  for (const value of way.more ?? []) out.i32(value)
  out.call(context.helpers[way.helper])
  out.op(0x45)
  out.brIf(0)
  out.i32(0)
  out.globalSet(context.resultV(0, I32))
  if (way.first === true) {
    out.globalGet(context.parameterT(0))
    out.globalSet(context.resultT(0))
    out.get(0)
  } else {
    out.i32(0)
    out.globalSet(context.resultT(0))
    out.i32(0)
    out.memory(0x28, CONTROL, EXCHANGE_V)
  }
  out.op(0x0f)
  out.end()
}

// ---- the way to JavaScript

// The shadow of the arguments goes to the exchange, that of the result comes from there.
function handOver(out: Emitter, context: Context, type: FuncType, to: number): void {
  type.params.forEach((param, i) => {
    const shadow = shadowType(param)
    if (shadow === undefined || shadow === 0x7b) return
    out.i32(0)
    out.globalGet(context.parameterV(i, shadow))
    out.memory(shadow === I32 ? 0x36 : 0x37, CONTROL, argumentPlace(i))
    out.i32(0)
    out.globalGet(context.parameterT(i))
    out.memory(0x36, CONTROL, argumentPlace(i) + 8)
  })
  out.i32(0)
  out.globalGet(context.calls)
  out.memory(0x36, CONTROL, EXCHANGE_CALLS)
  type.params.forEach((_, i) => out.get(i))
  out.call(to)
  const result = type.results[0]
  const shadow = result === undefined ? undefined : shadowType(result)
  if (shadow !== undefined) {
    out.i32(0)
    out.memory(shadow === I32 ? 0x28 : 0x29, CONTROL, EXCHANGE_V)
    out.globalSet(context.resultV(0, shadow))
    out.i32(0)
    out.memory(0x28, CONTROL, EXCHANGE_T)
    out.globalSet(context.resultT(0))
  }
  out.end()
}
