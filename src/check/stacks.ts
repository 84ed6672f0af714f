// Call stacks of the guest: sites (byte offsets of instructions in the module as it came), each stack kept once and named by a number.
import type { EngineGlobal, EngineMemory } from '../guest/engine.ts'
import { CALLS, ORIGIN_MASK } from './layout.ts'

/** Frames that are kept of a stack. */
const DEPTH = 24

export class CallStacks {
  readonly #control: EngineMemory
  readonly #top: EngineGlobal
  #words: Uint32Array
  readonly #stacks: Uint32Array[] = []
  readonly #byHash = new Map<number, number[]>()
  readonly #firstOrigin: number
  readonly #scratch = new Uint32Array(DEPTH)

  /** Origins below `functions` are those of the functions' frames. */
  constructor(control: EngineMemory, top: EngineGlobal, functions: number) {
    this.#control = control
    this.#top = top
    this.#words = new Uint32Array(control.buffer)
    this.#firstOrigin = functions
  }

  /**
   * The stack as it is now, innermost first. `site` is where the running function is, and `calls` whether that function has an entry of
   * its own on the stack (of a call that it made before); undefined: the innermost frame is the last call.
   */
  capture(site?: number, calls = false): number {
    if (this.#words.buffer !== this.#control.buffer) this.#words = new Uint32Array(this.#control.buffer)
    let at = ((this.#top.value as number) - CALLS) >>> 2
    const base = CALLS >>> 2
    const { length } = this.#scratch
    let count = 0
    let hash = 17
    if (site !== undefined) {
      this.#scratch[count++] = site
      hash = (hash * 31 + site) | 0
      if (calls) at--
    }
    while (at > 0 && count < length) {
      const one = this.#words[base + --at] as number
      this.#scratch[count++] = one
      hash = (Math.imul(hash, 31) + one) | 0
    }
    const known = this.#byHash.get(hash)
    if (known !== undefined)
      for (const id of known) if (same(this.#stacks[id] as Uint32Array, this.#scratch, count)) return id
    const id = this.#stacks.push(this.#scratch.slice(0, count)) - 1
    if (known === undefined) this.#byHash.set(hash, [id])
    else known.push(id)
    return id
  }

  sites(id: number): Uint32Array {
    return this.#stacks[id] ?? new Uint32Array(0)
  }

  /** The origin of what a heap block holds that was taken at this stack. */
  origin(id: number): number {
    return ((this.#firstOrigin + id) << 3) & ORIGIN_MASK
  }

  /** The stack that an origin stands for, or undefined: it is a function's frame. */
  ofOrigin(origin: number): number | undefined {
    const number = (origin & ORIGIN_MASK) >>> 3
    return number >= this.#firstOrigin ? number - this.#firstOrigin : undefined
  }
}

function same(one: Uint32Array, other: Uint32Array, count: number): boolean {
  if (one.length !== count) return false
  for (let i = 0; i < count; i++) if (one[i] !== other[i]) return false
  return true
}
