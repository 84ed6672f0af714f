// The heap's code is written with these: small pieces of instructions, and what a block's header has where.
import type { FuncType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import type { Helper } from './context.ts'
import { BITS, CONTROL, type Emitter, SHADOW } from './emitter.ts'
import { BITS_APART, SHADOW_APART } from './layout.ts'

export const i32s = (params: number, results = 1): FuncType => ({
  params: Array.from({ length: params }, () => I32),
  results: Array.from({ length: results }, () => I32),
})
/** Locals of 32 bits, and of 64. */
export const locals = (count: number, more = 0): Helper['locals'] => [
  { count, type: I32 },
  ...(more === 0 ? [] : [{ count: more, type: I64 }]),
]

/** What lengths of runs are multiples of, and what both redzones of a block take. */
export const GRANULE = 16
export const REDZONES: number = 2 * GRANULE
/** Of a block's header: where its words are, from its start. */
export const HEADER = { tag: -16, taken: -12, freed: -8, size: -4, run: -20, length: -24 } as const
/** In the tag's word. */
export const SLACK = 4

export const state = (out: Emitter, at: number): void => {
  out.i32(0)
  out.memory(0x28, CONTROL, at)
}
export const setState = (out: Emitter, at: number, value: () => void): void => {
  out.i32(0)
  value()
  out.memory(0x36, CONTROL, at)
}
export const sum = (out: Emitter, local: number, more: number): void => {
  out.get(local)
  out.i32(more)
  out.op(0x6a)
}
/** Leaves a word of the header of the block in a local. */
export const header = (out: Emitter, at: number, place: number): void => {
  sum(out, at, BITS_APART + place)
  out.memory(0x28, BITS, 0)
}
export const setHeader = (out: Emitter, at: number, place: number, value: () => void): void => {
  sum(out, at, BITS_APART + place)
  value()
  out.memory(0x36, BITS, 0)
}
export const when = (out: Emitter, then: () => void, otherwise?: () => void): void => {
  out.if()
  then()
  if (otherwise !== undefined) {
    out.else()
    otherwise()
  }
  out.end()
}
export const answer = (out: Emitter, value: () => void): void => {
  value()
  out.op(0x0f)
}
// Label 0 in the body is the next round, label 1 leaves.
export const forever = (out: Emitter, body: () => void): void => {
  out.block()
  out.op(0x03, 0x40)
  body()
  out.br(0)
  out.end()
  out.end()
}
/** for (; at < end; at += 8) the words of the shadow of the heap there become the pair in an i64. May go one word too far. */
export const fillWords = (out: Emitter, at: number, end: () => void, pair: () => void): void =>
  forever(out, () => {
    out.get(at)
    end()
    out.op(0x4f)
    out.brIf(1)
    out.get(at)
    pair()
    out.memory(0x37, SHADOW, SHADOW_APART)
    sum(out, at, 8)
    out.set(at)
  })
