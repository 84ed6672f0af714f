// The shadow of values while a function is translated: what is on the operand stack, what is known about it before the program
// runs, and in which local its shadow values are.
import type { ValueType } from '../wasm/module.ts'
import { F32, F64, I32, I64, V128 } from '../wasm/module.ts'

/** No shadow value: every bit is defined (of V), no tag (of T). A T below NONE is a constant: -2 - tag. */
export const NONE = -1

/**
 * What a value is for certain: a constant, or so many bytes above the frame's lower end. `of`: where the variable is whose
 * address it was computed from; undefined: it is the frame's own.
 */
export type Symbol =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'frame'; readonly offset: number; readonly of: number | undefined }
  | { readonly kind: 'stack pointer' }
  /** Room for so many bytes as a local holds, up to 15 more: `rounded`, these are taken off again, down to a multiple of 16. */
  | { readonly kind: 'room'; readonly bytes: number; readonly rounded: boolean }
  /** A float: the least that is no integer of a type any more (2 to the 31, 32, 63, 64), or 0. */
  | { readonly kind: 'float limit' | 'float zero' }

/** A value on the operand stack. `v` and `t` are locals, or NONE. */
export interface Value {
  readonly type: ValueType
  v: number
  t: number
  readonly symbol?: Symbol | undefined
  /** The local that holds it, too. */
  local?: number | undefined
  /** No pointer: `t` counts only where it is an origin, and may be the tag of what the value was made from. */
  readonly number?: boolean
}

/** Whether a value may be a pointer: it is of the type of one, and its T may be a tag that counts. */
export const isPointer = ({ type, t, number }: Value): boolean =>
  type === I32 && t !== NONE && number !== true

/** The type of the V of a value, or undefined if a value of this type is always defined (references). */
export function shadowType(type: ValueType): ValueType | undefined {
  if (type === I32 || type === F32) return I32
  if (type === I64 || type === F64) return I64
  return type === V128 ? V128 : undefined
}

/** The locals of one function: its own, and those that the translation adds. */
export class Locals {
  readonly types: ValueType[]
  readonly #own: number
  /** By type, then by name. The shadows of locals and of what lies on the operand stack are asked for all the time: they have no names. */
  readonly #kept = new Map<ValueType, Map<string, number>>()
  readonly #v: number[] = []
  readonly #t: number[] = []
  readonly #slotV = new Map<ValueType, number[]>()
  readonly #slotT: number[] = []

  constructor(types: readonly ValueType[]) {
    this.types = [...types]
    this.#own = types.length
  }

  #made(type: ValueType): number {
    return this.types.push(type) - 1
  }

  /** The local that goes by this name, made on the first call. */
  named(name: string, type: ValueType): number {
    let kept = this.#kept.get(type)
    if (kept === undefined) this.#kept.set(type, (kept = new Map()))
    let local = kept.get(name)
    if (local === undefined) kept.set(name, (local = this.#made(type)))
    return local
  }

  /** The shadow values of a local of the program's. */
  v(local: number): number {
    return (this.#v[local] ??= this.#made(shadowType(this.types[local] as ValueType) ?? I32))
  }
  t(local: number): number {
    return (this.#t[local] ??= this.#made(I32))
  }
  /** The shadow values of a value that lies so deep on the operand stack. */
  slotV(depth: number, type: ValueType): number {
    const shadow = shadowType(type) ?? I32
    let slots = this.#slotV.get(shadow)
    if (slots === undefined) this.#slotV.set(shadow, (slots = []))
    return (slots[depth] ??= this.#made(shadow))
  }
  slotT(depth: number): number {
    return (this.#slotT[depth] ??= this.#made(I32))
  }

  /** The added ones as runs of one type. */
  runs(): { count: number; type: ValueType }[] {
    const runs: { count: number; type: ValueType }[] = []
    for (const type of this.types.slice(this.#own)) {
      const last = runs.at(-1)
      if (last?.type === type) last.count++
      else runs.push({ count: 1, type })
    }
    return runs
  }
}

const letters: Readonly<Record<string, ValueType>> = { i: I32, I: I64, f: F32, F: F64, v: V128, a: I32 }

const parsed = new Map<string, { readonly params: ValueType[]; readonly results: ValueType[] }>()

/** `ii:i` as value types. */
export function effectTypes(effect: string): { readonly params: ValueType[]; readonly results: ValueType[] } {
  let types = parsed.get(effect)
  if (types === undefined) {
    const [params = '', results = ''] = effect.split(':')
    const of = (word: string): ValueType[] => [...word].map(letter => letters[letter] as ValueType)
    types = { params: of(params), results: of(results) }
    parsed.set(effect, types)
  }
  return types
}
