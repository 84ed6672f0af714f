// The heap of a checked guest: blocks between redzones, and freed blocks kept for a while, so that whoever still has their address is
// seen. It takes its memory by growing the guest's; the guest's own allocator is not used.
import type { EngineMemory } from '../guest/engine.ts'
import type { CallStacks } from './stacks.ts'
import { HEAP_TAGS, TABLE, TAG_LIMIT } from './layout.ts'
import type { Shadow } from './shadow.ts'

/** Which pair of functions a block belongs to. */
export type HeapKind = 'malloc' | 'new' | 'new[]'

export interface Block {
  readonly start: number
  readonly size: number
  readonly kind: HeapKind
  /** Bytes from the redzone in front to the next block's. */
  readonly footprint: number
  /** Where the memory begins that it was cut from: start - footprint's front part. */
  readonly place: number
  /** Which call stack took it, and which gave it back (-1: nobody). */
  readonly stack: number
  freed: number
  readonly tag: number
}

type Slot = { -readonly [K in keyof Block]: Block[K] }

export interface HeapOptions {
  /** Bytes of freed blocks that are kept. */
  readonly quarantine: number
  /** Called when a memory has grown. */
  readonly grown: () => void
}

const REDZONE = 16
const GRANULE = 16
/** Grown at a time, at least. */
const STEP = 16

export class CheckedHeap {
  /** What the summary counts. */
  allocations = 0
  frees = 0
  bytes = 0
  readonly #memory: EngineMemory
  readonly #shadow: Shadow
  readonly #control: EngineMemory
  #table: Uint32Array
  readonly #options: HeapOptions
  readonly #stacks: CallStacks
  readonly #quarantine: (Slot | undefined)[] = []
  #oldest = 0
  #kept = 0
  readonly #byTag: (Block | undefined)[] = []
  /** By its start in granules: a block's place in #byTag + 1. */
  #starts = new Int32Array(1 << 16)
  /** Blocks that nobody knows any more: made anew for others. */
  readonly #spare: Slot[] = []
  /** By the number of a call stack: the size of the blocks that it took; -1: they differ. */
  readonly #sizes: number[] = []
  readonly #freeTags: number[] = []
  readonly #places = new Map<number, number[]>()
  #top = 0
  #end = 0
  /** Memory that is the heap's, [start, end) each, ascending. */
  readonly ranges: { start: number; end: number }[] = []

  constructor(
    memory: EngineMemory,
    control: EngineMemory,
    shadow: Shadow,
    stacks: CallStacks,
    options: HeapOptions,
  ) {
    this.#memory = memory
    this.#control = control
    this.#table = new Uint32Array(control.buffer)
    this.#shadow = shadow
    this.#stacks = stacks
    this.#options = options
  }

  /** A new block, its bytes undefined since the origin of `stack`; undefined: there is no memory. */
  allocate(size: number, alignment: number, kind: HeapKind, stack: number): Block | undefined {
    if (size > 0x7fff0000) return undefined
    const align = Math.max(alignment, GRANULE)
    const slack = align - GRANULE
    const footprint = Math.ceil((REDZONE + slack + size + REDZONE) / GRANULE) * GRANULE
    const place = this.#place(footprint)
    if (place === undefined) return undefined
    const start = Math.ceil((place + REDZONE) / align) * align
    const tag = this.#newTag(start, size)
    const block = this.#spare.pop() ?? { start, size, kind, footprint, place, stack, freed: -1, tag }
    block.start = start
    block.size = size
    block.kind = kind
    block.footprint = footprint
    block.place = place
    block.stack = stack
    block.freed = -1
    block.tag = tag
    const index = (tag - HEAP_TAGS) / 8
    this.#byTag[index] = block
    this.#setStart(start, index + 1)
    this.#shadow.newBlock(start, size, this.#stacks.origin(stack))
    const same = this.#sizes[stack]
    if (same !== size) this.#sizes[stack] = same === undefined ? size : -1
    this.allocations++
    this.bytes += size
    return block
  }

  #setStart(start: number, value: number): void {
    const granule = start / GRANULE
    if (granule >= this.#starts.length) {
      const longer = new Int32Array(2 ** Math.ceil(Math.log2(granule + 1)))
      longer.set(this.#starts)
      this.#starts = longer
    }
    this.#starts[granule] = value
  }

  /** The live block that begins at an address. */
  at(start: number): Block | undefined {
    const index = start % GRANULE === 0 ? (this.#starts[start / GRANULE] ?? 0) : 0
    return index === 0 ? undefined : this.#byTag[index - 1]
  }

  /** How long the blocks are that a call stack took; undefined: some are longer than others. */
  sizeOf(stack: number): number | undefined {
    const size = this.#sizes[stack] ?? -1
    return size < 0 ? undefined : size
  }

  /** The blocks that were not given back, in the order of their tags. */
  live(): Block[] {
    return this.#byTag.filter(block => block !== undefined && block.freed < 0) as Block[]
  }

  // A run of bytes that nobody uses: one of the same length that was freed, or new memory.
  #place(footprint: number): number | undefined {
    const free = this.#places.get(footprint)?.pop()
    if (free !== undefined) return free
    if (this.#top + footprint > this.#end && !this.#grow(footprint)) return this.#fit(footprint)
    const place = this.#top
    this.#top += footprint
    return place
  }

  // Out of memory: a longer free run is better than none.
  #fit(footprint: number): number | undefined {
    let best: number | undefined
    for (const [length, places] of this.#places)
      if (length >= footprint && places.length > 0 && (best === undefined || length < best)) best = length
    return best === undefined ? undefined : this.#places.get(best)?.pop()
  }

  #grow(bytes: number): boolean {
    const size = this.#memory.buffer.byteLength
    const need = Math.ceil(bytes / 65536)
    // With the size of the heap, so that a big one doesn't grow in small steps.
    for (const pages of [Math.max(need, STEP, Math.floor(size / 65536 / 8)), need])
      try {
        const before = this.#memory.grow(pages) * 65536
        const last = this.ranges.at(-1)
        if (last?.end === before) last.end += pages * 65536
        else {
          this.ranges.push({ start: before, end: before + pages * 65536 })
          this.#top = before
        }
        this.#end = before + pages * 65536
        this.#options.grown()
        return true
      } catch {
        // Less, then, or nothing.
      }
    return false
  }

  #newTag(start: number, size: number): number {
    const tag = this.#freeTags.pop() ?? HEAP_TAGS + 8 * this.#byTag.length
    const place = (TABLE + tag) / 4
    if (tag >= TAG_LIMIT) return 0
    if (place + 1 >= this.#table.length) {
      this.#control.grow(Math.max(128, this.#control.buffer.byteLength >>> 18))
      this.#table = new Uint32Array(this.#control.buffer)
      this.#options.grown()
    }
    this.#table[place] = start
    this.#table[place + 1] = size
    return tag
  }

  /** The block is given back: nobody may touch it, and its place is not used again for a while. */
  free(block: Slot, stack: number): void {
    block.freed = stack
    this.#starts[block.start / GRANULE] = 0
    this.#shadow.endBlock(block.start, block.size)
    this.#table[(TABLE + block.tag) / 4 + 1] = 0
    this.frees++
    this.#quarantine.push(block)
    this.#kept += block.footprint
    while (this.#kept > this.#options.quarantine && this.#oldest < this.#quarantine.length - 1)
      this.#release()
  }

  #release(): void {
    const block = this.#quarantine[this.#oldest] as Slot
    this.#quarantine[this.#oldest++] = undefined
    this.#kept -= block.footprint
    const places = this.#places.get(block.footprint)
    if (places === undefined) this.#places.set(block.footprint, [block.place])
    else places.push(block.place)
    this.#byTag[(block.tag - HEAP_TAGS) / 8] = undefined
    this.#freeTags.push(block.tag)
    this.#spare.push(block)
    if (this.#oldest > 1024 && this.#oldest * 2 > this.#quarantine.length) {
      this.#quarantine.splice(0, this.#oldest)
      this.#oldest = 0
    }
  }

  /** The block that a tag stands for, alive or kept. */
  ofTag(tag: number): Block | undefined {
    return tag >= HEAP_TAGS && tag < TAG_LIMIT ? this.#byTag[(tag - HEAP_TAGS) / 8] : undefined
  }

  /** The block that an address is in or next to (within its redzones), alive first, then the one freed last. */
  near(at: number): Block | undefined {
    let found: Block | undefined
    for (const block of this.#byTag) {
      if (block === undefined || at < block.place || at >= block.place + block.footprint + REDZONE) continue
      if (found === undefined || better(block, found, at)) found = block
    }
    return found
  }

  /** Whether an address is in memory of the heap's. */
  owns(at: number): boolean {
    return this.ranges.some(({ start, end }) => at >= start && at < end)
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
