// Call stacks of the guest: sites (byte offsets of instructions in the module as it came), each stack kept once and named by a number.
// They lie in the control memory, where code of the module's finds those that came lately (runs.ts: capture).
import type { EngineGlobal } from '../guest/engine.ts'
import { CALLS, MOST_STACKS, ORIGIN_MASK, RECENT, STACK_COUNT, STACK_DEPTH, STACKS } from './layout.ts'

export class CallStacks {
  readonly #top: EngineGlobal
  readonly #words: Uint32Array
  #count = 0
  readonly #hashes: number[] = []
  /** Open addressing: number of a stack + 1 by its hash; at most half full. */
  #table = new Int32Array(1 << 12)
  readonly #firstOrigin: number
  /** As it is kept: the innermost site last, zeros before the outermost. */
  readonly #scratch = new Uint32Array(STACK_DEPTH)

  /** `words`: the control memory. Origins below `functions` are those of the functions' frames. */
  constructor(words: Uint32Array, top: EngineGlobal, functions: number) {
    this.#top = top
    this.#words = words
    this.#firstOrigin = functions
  }

  /**
   * The stack as it is now. `site` is where the running function is, and `calls` whether that function has an entry of
   * its own on the stack (of a call that it made before); undefined: the innermost frame is the last call. `top`: where the stack ends,
   * if that is known.
   */
  capture(site?: number, calls = false, top: number = this.#top.value as number): number {
    const end = (site !== undefined && calls ? top - 4 : top) >>> 2
    const own = site === undefined ? 0 : 1
    const { length } = this.#scratch
    const count = Math.min(length, end - (CALLS >>> 2) + own)
    this.#scratch.fill(0)
    const kept = this.#words.subarray(end - count + own, end)
    this.#scratch.set(kept, length - count)
    if (site !== undefined) this.#scratch[length - 1] = site
    return this.#intern(count)
  }

  /** The same for code of the module's, which looks at the place `slot` in the table of recent ones the next time. */
  captureRecent(top: number, slot: number): number {
    const id = this.capture(undefined, false, top)
    this.#words[(RECENT + slot) >>> 2] = id + 1
    return id
  }

  // The number of the stack in the scratch array.
  #intern(count: number): number {
    let hash = 17
    for (const site of this.#scratch) hash = (Math.imul(hash, 0x01000193) ^ site) | 0
    hash ^= hash >>> 15
    let mask = this.#table.length - 1
    let slot = hash & mask
    for (let id = this.#table[slot] as number; id !== 0; id = this.#table[slot] as number) {
      if (this.#hashes[id - 1] === hash && this.#isScratch(id - 1)) return id - 1
      slot = (slot + 1) & mask
    }
    if (this.#count === MOST_STACKS) return this.#count - 1
    const id = this.#count++
    this.#words.set(this.#scratch, place(id))
    this.#words[place(id) + (STACK_COUNT >>> 2)] = count
    this.#hashes.push(hash)
    if (this.#count * 2 > this.#table.length) {
      this.#table = new Int32Array(this.#table.length * 2)
      mask = this.#table.length - 1
      this.#hashes.forEach((one, i) => this.#put(one, i, mask))
    } else this.#put(hash, id, mask)
    return id
  }

  #isScratch(id: number): boolean {
    const at = place(id)
    return this.#scratch.every((site, i) => this.#words[at + i] === site)
  }

  #put(hash: number, id: number, mask: number): void {
    let slot = hash & mask
    while (this.#table[slot] !== 0) slot = (slot + 1) & mask
    this.#table[slot] = id + 1
  }

  /** The innermost first. */
  sites(id: number): Uint32Array {
    if (id < 0 || id >= this.#count) return new Uint32Array(0)
    const end = place(id) + STACK_DEPTH
    const count = this.#words[place(id) + (STACK_COUNT >>> 2)] as number
    return this.#words.slice(end - count, end).reverse()
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

/** Where a stack is, in words. */
const place = (id: number): number => (STACKS >>> 2) + 16 * id
