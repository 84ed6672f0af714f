// Call stacks of the guest: sites (byte offsets of instructions in the module as it came), each stack kept once and named by a number.
import type { EngineGlobal, EngineMemory } from '../guest/engine.ts'
import { CALLS, ORIGIN_MASK } from './layout.ts'

/** Frames that are kept of a stack. */
const DEPTH = 16

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

  /** Origins below `functions` are those of the functions' frames. */
  constructor(control: EngineMemory, top: EngineGlobal, functions: number) {
    this.#top = top
    this.words = new Uint32Array(control.buffer)
    this.#firstOrigin = functions
  }

  /**
   * The stack as it is now, innermost first. `site` is where the running function is, and `calls` whether that function has an entry of
   * its own on the stack (of a call that it made before); undefined: the innermost frame is the last call.
   */
  capture(site?: number, calls = false): number {
    let at = ((this.#top.value as number) - CALLS) >>> 2
    const base = CALLS >>> 2
    const { length } = this.#scratch
    let count = 0
    let hash = 17
    if (site !== undefined) {
      this.#scratch[count++] = site
      hash = (Math.imul(hash, 0x01000193) ^ site) | 0
      if (calls) at--
    }
    while (at > 0 && count < length) {
      const one = this.words[base + --at] as number
      this.#scratch[count++] = one
      hash = (Math.imul(hash, 0x01000193) ^ one) | 0
    }
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
