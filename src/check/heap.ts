// The heap of a checked guest from outside: blocks between redzones, and freed blocks kept for a while, so that whoever still has their
// address is seen. The code that takes and gives back is the module's own (take.ts); this reads what it has written down (layout.ts).
import type { EngineInstance } from '../guest/engine.ts'
import {
  BITS_APART,
  CONTROL_PAGES,
  EXPORTS,
  HEAP_RANGES,
  HEAP_STATE,
  HEAP_TAGS,
  MOST_KEPT,
  STACK_SIZE,
  STACKS,
  TABLE,
  TAG_LIMIT,
} from './layout.ts'
import { HEADER, REDZONES } from './heap-code.ts'

/** Which pair of functions a block belongs to. */
export type HeapKind = 'malloc' | 'new' | 'new[]'

/** In the order of their numbers. */
export const heapKinds: readonly HeapKind[] = ['malloc', 'new', 'new[]']

export interface Block {
  readonly start: number
  readonly size: number
  readonly kind: HeapKind
  /** Which call stack took it, and which gave it back (-1: nobody). */
  readonly stack: number
  readonly freed: number
  readonly tag: number
}

type Code = (...args: number[]) => number

/** Around each block. */
const REDZONE = 16
/** What a block of no bytes takes. */
const LEAST_RUN = REDZONES

export class CheckedHeap {
  readonly #control: Uint32Array
  /** The bits memory as words: headers. */
  readonly #words: Uint32Array
  readonly #take: Code
  readonly #give: Code
  readonly #blockAt: Code

  /** `quarantine`: how many bytes of freed blocks are kept. */
  constructor({ exports }: EngineInstance, control: Uint32Array, words: Uint32Array, quarantine: number) {
    if (control.length !== CONTROL_PAGES * 0x4000) throw new RangeError('the control memory has another size')
    this.#control = control
    this.#words = words
    this.#take = exports[EXPORTS.take] as Code
    this.#give = exports[EXPORTS.give] as Code
    this.#blockAt = exports[EXPORTS.blockAt] as Code
    control[HEAP_STATE.limit >>> 2] = Math.min(quarantine, 0xffffffff)
    // As many as may be kept, and those that come before the first go.
    const most = Math.min(quarantine / LEAST_RUN + 2, MOST_KEPT)
    control[HEAP_STATE.ring >>> 2] = 2 ** Math.ceil(Math.log2(most)) - 1
    control[HEAP_STATE.nextTag >>> 2] = HEAP_TAGS
  }

  #state(at: number): number {
    return this.#control[at >>> 2] as number
  }

  /** What the summary counts. */
  get allocations(): number {
    return this.#state(HEAP_STATE.allocations)
  }
  get frees(): number {
    return this.#state(HEAP_STATE.frees)
  }
  get bytes(): number {
    return this.#state(HEAP_STATE.bytes) + this.#state(HEAP_STATE.bytes + 4) * 0x100000000
  }

  /** Memory that the heap has from the start, instead of what it would grow. */
  use(start: number, end: number): void {
    const words = [
      [HEAP_STATE.top, start],
      [HEAP_STATE.end, end],
      [HEAP_STATE.ranges, 1],
      [HEAP_RANGES, start],
      [HEAP_RANGES + 4, end],
    ] as const
    for (const [at, word] of words) this.#control[at >>> 2] = word
  }

  /** Memory that is the heap's, [start, end) each, ascending. */
  get ranges(): { start: number; end: number }[] {
    return Array.from({ length: this.#state(HEAP_STATE.ranges) }, (_, i) => {
      const at = HEAP_RANGES + 8 * i
      return { start: this.#state(at), end: this.#state(at + 4) || 0x100000000 }
    })
  }

  /** A new block, its bytes undefined since the origin of `stack`; undefined: there is no memory. `alignment`: a power of 2. */
  allocate(size: number, alignment: number, kind: HeapKind, stack: number): Block | undefined {
    const start = this.#take(size, alignment, heapKinds.indexOf(kind), stack) >>> 0
    return start === 0 ? undefined : this.at(start)
  }

  /** A block that lives is given back: nobody may touch it, and its place is not used again for a while. */
  free(block: Block, stack: number): void {
    this.#give(block.start, stack)
  }

  /** The live block that begins at an address. */
  at(start: number): Block | undefined {
    const head = this.#blockAt(start)
    return head === 0 ? undefined : this.ofTag((head & ~7) >>> 0)
  }

  /** The block that a tag stands for, alive or kept. */
  ofTag(tag: number): Block | undefined {
    if (tag < HEAP_TAGS || tag >= Math.min(TAG_LIMIT, this.#state(HEAP_STATE.nextTag))) return undefined
    const start = this.#state(TABLE + tag)
    // Of a tag that is not used any more the entry is a link.
    if (start % 8 !== 0) return undefined
    const word = (at: number): number => this.#words[(start + BITS_APART + at) >>> 2] as number
    return {
      start,
      size: word(HEADER.size),
      kind: heapKinds[word(HEADER.tag) & 3] as HeapKind,
      stack: word(HEADER.taken),
      freed: word(HEADER.freed) - 1,
      tag,
    }
  }

  *#blocks(): Generator<Block> {
    const end = this.#state(HEAP_STATE.nextTag)
    for (let tag = HEAP_TAGS; tag < end; tag += 8) {
      const block = this.ofTag(tag)
      if (block !== undefined) yield block
    }
  }

  /** The blocks that were not given back, in the order of their tags. */
  live(): Block[] {
    const found: Block[] = []
    const end = this.#state(HEAP_STATE.nextTag)
    for (let tag = HEAP_TAGS; tag < end; tag += 8) {
      const start = this.#state(TABLE + tag)
      // Of those in quarantine, which are many, no object is made.
      if (start % 8 !== 0 || this.#words[(start + BITS_APART + HEADER.freed) >>> 2] !== 0) continue
      const block = this.ofTag(tag)
      if (block !== undefined) found.push(block)
    }
    return found
  }

  /** How long the blocks are that a call stack took; undefined: some are longer than others. */
  sizeOf(stack: number): number | undefined {
    const size = this.#state(STACKS + 64 * stack + STACK_SIZE)
    return size === 0 || size === 0xffffffff ? undefined : size - 1
  }

  /** The block that an address is in or next to (within its redzones), alive first, then the one freed last. */
  near(at: number): Block | undefined {
    let found: Block | undefined
    for (const block of this.#blocks()) {
      if (at < block.start - REDZONE || at >= block.start + block.size + 3 * REDZONE) continue
      if (found === undefined || better(block, found, at)) found = block
    }
    return found
  }
}

// Inside goes before beside, alive before freed, later before earlier.
function better(one: Block, other: Block, at: number): boolean {
  const inside = (block: Block): boolean => at >= block.start && at < block.start + block.size
  if (inside(one) !== inside(other)) return inside(one)
  if (one.freed < 0 !== other.freed < 0) return one.freed < 0
  const distance = (block: Block): number =>
    at < block.start ? block.start - at : at - (block.start + block.size) + 1
  return inside(one) ? one.tag > other.tag : distance(one) < distance(other)
}
