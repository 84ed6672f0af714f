// Call stacks of the guest: sites (byte offsets of instructions in the module as it came), each stack kept once and named by a number.
import type { EngineGlobal, EngineMemory } from '../guest/engine.ts'
import { CALLS, ORIGIN_MASK } from './layout.ts'

/** Frames that are kept of a stack. */
const DEPTH = 12
/** A power of 2. */
const RECENT = 1 << 12

export class CallStacks {
  readonly #top: EngineGlobal
  /** The control memory; the runtime sets it again when it has grown. */
  words: Uint32Array
  readonly #stacks: Uint32Array[] = []
  readonly #hashes: number[] = []
  /** Open addressing: number of a stack + 1 by its hash; at most half full. */
  #table = new Int32Array(1 << 12)
  readonly #firstOrigin: number
  readonly #scratch = new Uint32Array(DEPTH)
  /** Numbers of stacks + 1, by their innermost sites and depth. */
  readonly #recent = new Int32Array(RECENT)

  /** Origins below `functions` are those of the functions' frames. */
  constructor(control: EngineMemory, top: EngineGlobal, functions: number) {
    this.#top = top
    this.words = new Uint32Array(control.buffer)
    this.#firstOrigin = functions
  }

  /**
   * The stack as it is now, innermost first. `site` is where the running function is, and `calls` whether that function has an entry of
   * its own on the stack (of a call that it made before); undefined: the innermost frame is the last call. `top`: where the stack ends,
   * if that is known: to ask the instance takes longer than the rest.
   */
  capture(site?: number, calls = false, top: number = this.#top.value as number): number {
    const { words } = this
    const { length } = this.#scratch
    const base = CALLS >>> 2
    let at = top >>> 2
    if (site !== undefined && calls) at--
    // Whoever takes memory takes it often: the stack with these innermost sites that came last is looked at first.
    const first = site ?? (at > base ? (words[at - 1] as number) : 0)
    const second = at - 2 >= base ? (words[at - 2] as number) : 0
    const third = at - 3 >= base ? (words[at - 3] as number) : 0
    const fourth = at - 4 >= base ? (words[at - 4] as number) : 0
    const mixed = Math.imul(first, 31) ^ Math.imul(second, 17) ^ Math.imul(third, 7) ^ Math.imul(fourth, 5)
    const near = (mixed ^ (mixed >>> 9) ^ at) & (RECENT - 1)
    const recent = this.#recent[near] as number
    if (recent > 0 && this.#isNow(this.#stacks[recent - 1] as Uint32Array, at, site)) return recent - 1
    let count = 0
    let hash = 17
    if (site !== undefined) {
      this.#scratch[count++] = site
      hash = (Math.imul(hash, 0x01000193) ^ site) | 0
    }
    for (let i = at; i > base && count < length; ) {
      const one = words[--i] as number
      this.#scratch[count++] = one
      hash = (Math.imul(hash, 0x01000193) ^ one) | 0
    }
    const id = this.#intern(hash, count)
    this.#recent[near] = id + 1
    return id
  }

  // Whether a stack that is kept is the one on the control memory below `at`, with `site` before it.
  #isNow(stack: Uint32Array, at: number, site: number | undefined): boolean {
    const base = CALLS >>> 2
    const own = site === undefined ? 0 : 1
    if (stack.length !== Math.min(DEPTH, at - base + own)) return false
    if (site !== undefined && stack[0] !== site) return false
    for (let i = own; i < stack.length; i++) if (stack[i] !== this.words[at - 1 - i + own]) return false
    return true
  }

  // The number of the stack in the scratch array.
  #intern(hashed: number, count: number): number {
    let hash = hashed
    hash ^= hash >>> 15
    let mask = this.#table.length - 1
    let slot = hash & mask
    for (let id = this.#table[slot] as number; id !== 0; id = this.#table[slot] as number) {
      if (this.#hashes[id - 1] === hash && same(this.#stacks[id - 1] as Uint32Array, this.#scratch, count))
        return id - 1
      slot = (slot + 1) & mask
    }
    const id = this.#stacks.push(this.#scratch.slice(0, count)) - 1
    this.#hashes.push(hash)
    if (this.#stacks.length * 2 > this.#table.length) {
      this.#table = new Int32Array(this.#table.length * 2)
      mask = this.#table.length - 1
      this.#hashes.forEach((one, i) => this.#put(one, i, mask))
    } else this.#put(hash, id, mask)
    return id
  }

  #put(hash: number, id: number, mask: number): void {
    let slot = hash & mask
    while (this.#table[slot] !== 0) slot = (slot + 1) & mask
    this.#table[slot] = id + 1
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
