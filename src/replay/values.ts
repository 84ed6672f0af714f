// What a local or a place on the stack may hold, as far as it helps to follow pointers: the domain that facts.ts computes in.
export type Value =
  | { readonly kind: 'constant'; readonly value: number }
  /** A parameter, or so far from where it points to. */
  | { readonly kind: 'param'; readonly index: number }
  /** In the frame of the function `owner`. */
  | { readonly kind: 'frame'; readonly owner: number }
  | { readonly kind: 'load'; readonly base: Value; readonly offset: number }
  /** So far from an address that is written in the code: an element of a static array. */
  | { readonly kind: 'static'; readonly value: number }
  | { readonly kind: 'unknown' }
export const unknown: Value = { kind: 'unknown' }

/** Where the module's constant data lies. */
export interface Range {
  readonly from: number
  readonly to: number
}
const within = ({ from, to }: Range, at: number): boolean => at >= from && at < to && at >= 64

/** Whether what lies so far from a value is constant data. */
export function isConstantData(base: Value, offset: number, data: Range): boolean {
  return within(data, base.kind === 'static' || base.kind === 'constant' ? base.value + offset : offset)
}

/** What is one of two values. It only gets less when it is done again, so loops come to rest. */
export function join(a: Value, b: Value, data: Range): Value {
  if (same(a, b)) return a
  // Nobody reads or calls through a null pointer.
  if (isNull(b) && isPointer(a)) return a
  if (isNull(a) && isPointer(b)) return b
  const known = (v: Value): v is Value & { value: number } =>
    (v.kind === 'constant' || v.kind === 'static') && within(data, v.value)
  // A pointer that walks through constant data.
  if (known(a) && known(b) && (a.kind === 'constant' || b.kind === 'constant'))
    return a.kind === 'static' ? a : b.kind === 'static' ? b : { kind: 'static', value: a.value }
  return unknown
}

const isNull = (v: Value): boolean => v.kind === 'constant' && v.value === 0
const isPointer = (v: Value): boolean => v.kind === 'frame' || v.kind === 'param' || v.kind === 'load'

export function same(a: Value, b: Value): boolean {
  if (a === b) return true
  switch (a.kind) {
    case 'constant':
    case 'static':
      return b.kind === a.kind && b.value === a.value
    case 'param':
      return b.kind === 'param' && b.index === a.index
    case 'frame':
      return b.kind === 'frame' && b.owner === a.owner
    case 'load':
      return b.kind === 'load' && b.offset === a.offset && same(a.base, b.base)
    case 'unknown':
      return b.kind === 'unknown'
  }
}

export function sum(a: Value, b: Value, minus: boolean): Value {
  if (a.kind === 'constant' && b.kind === 'constant')
    return { kind: 'constant', value: (minus ? a.value - b.value : a.value + b.value) | 0 }
  // The difference of two pointers is none.
  if (minus && isPointer(a) && isPointer(b)) return unknown
  if (a.kind === 'frame') return a
  if (b.kind === 'frame' && !minus) return b
  if (a.kind === 'static') return minus && b.kind === 'static' ? unknown : a
  if (b.kind === 'static' && !minus) return b
  // Where a parameter points to, more or less.
  if (a.kind === 'param') return a
  if (b.kind === 'param' && !minus && a.kind === 'unknown') return b
  if (b.kind === 'constant' && !minus) return { kind: 'static', value: b.value }
  if (a.kind === 'constant' && !minus) return { kind: 'static', value: a.value }
  return unknown
}

/** Bits set or cleared: an address in the frame that is aligned stays there. */
export function aligned(a: Value, b: Value, clear: boolean): Value {
  if (a.kind === 'frame' && (!clear || (b.kind === 'constant' && b.value < 0))) return a
  return unknown
}
