/**
 * Caches as Dinero IV models them, for whoever has its options and its results: sub-blocks, prefetching, classified misses (compulsory, capacity,
 * conflict), several levels. Our own machine's caches (cache.ts) are a part of this: no sub-blocks, no prefetching. dinero-engine.ts runs that part.
 *
 * A reference to a cache may make others: of its rest in the next block, a prefetch, the write of a replaced block, a write through, the fetch
 * of what is missing. They wait on a stack; the last one made goes first.
 */
import { type RandomName, randomSource, type RandomSource } from './dinero-random.ts'
import { MachineError } from './errors.ts'
import { Sets } from './sets.ts'

/** Kinds of references. A prefetch is the kind that has caused it, and 8. */
export const kind = { read: 0, write: 1, fetch: 2, other: 3, copyBack: 4, invalidate: 5 } as const
const PREFETCH = 8

export interface DineroCache {
  readonly name: string
  /** Unified, instructions, data. */
  readonly type: 'u' | 'i' | 'd'
  readonly size: number
  readonly block: number
  readonly subBlock: number
  readonly ways: number
  /** LRU, FIFO, random, and the tree of bits (PLRU) that later versions have. */
  readonly replacement: 'l' | 'f' | 'r' | 'p'
  /** demand, always, miss, tagged, load forward, sub-block. */
  readonly prefetch: 'd' | 'a' | 'm' | 't' | 'l' | 's'
  /** In sub-blocks. */
  readonly distance: number
  /** Per cent of prefetches that are given up. */
  readonly abort: number
  readonly allocate: 'a' | 'n' | 'f'
  readonly writeBack: 'a' | 'n' | 'f'
  /** Whether misses are told apart: compulsory, capacity, conflict. */
  readonly classify: boolean
}

interface Reference {
  readonly kind: number
  readonly address: number
  readonly size: number
  /** For the next level; else the rest of a reference, or a prefetch, for this one. */
  readonly below: boolean
}

interface Block {
  readonly number: number
  /** With PLRU; else 0. */
  readonly way: number
  valid: number
  dirty: number
  referenced: number
}

/** Sums by kind, prefetches from 8 on. */
const sums = (): Float64Array => new Float64Array(16)

export class DineroSimulator {
  readonly levels: readonly Level[]
  // Undefined: straight to memory.
  readonly #instruction: Level | undefined
  readonly #data: Level | undefined
  readonly #flushEvery: number
  #left: number

  /**
   * Per level one cache, or one for instructions and one for data. Where a level has only one of these two, the others go to the next level.
   * `flushEvery`: references after which all is written back and forgotten; 0: never.
   */
  constructor(
    levels: readonly (readonly DineroCache[])[],
    flushEvery = 0,
    randomName: RandomName = 'minstd',
  ) {
    const random = randomSource(randomName)
    let instruction: Level | undefined
    let data: Level | undefined
    const all: Level[] = []
    for (const caches of levels.toReversed()) {
      const made = caches.map(cache => new Level(cache, cache.type === 'd' ? data : instruction, random))
      for (const level of made) {
        if (level.cache.type !== 'd') instruction = level
        if (level.cache.type !== 'i') data = level
      }
      all.unshift(...made)
    }
    if (all.length === 0) throw new MachineError('config', 'There is no cache: give at least one')
    this.levels = all
    this.#instruction = instruction
    this.#data = data
    this.#flushEvery = flushEvery
    this.#left = flushEvery
  }

  /** Runs records; a Sink. */
  run(words: Uint32Array, count: number): void {
    for (let i = 0; i < count; i++) {
      const high = words[i * 2 + 1] as number
      this.reference(high >>> 28, (high & 0xffff) * 2 ** 32 + (words[i * 2] as number), (high >>> 16) & 0xfff)
    }
  }

  reference(of: number, address: number, size: number): void {
    const cache = of === kind.fetch ? this.#instruction : this.#data
    cache?.reference(of, address, size)
    if (this.#flushEvery === 0 || --this.#left > 0) return
    this.#left = this.#flushEvery
    this.#data?.reference(kind.copyBack, 0, 0)
    this.#instruction?.reference(kind.invalidate, 0, 0)
    if (this.#instruction !== this.#data) this.#data?.reference(kind.invalidate, 0, 0)
  }

  /** All dirty blocks are written back at the end. */
  finish(): void {
    this.#data?.reference(kind.copyBack, 0, 0)
  }
}

/** What the references to one cache came to; sums by kind, prefetches from 8 on. */
export interface LevelCounts {
  readonly cache: DineroCache
  readonly fetches: Float64Array
  readonly misses: Float64Array
  readonly blockMisses: Float64Array
  readonly compulsory: Float64Array
  readonly capacity: Float64Array
  readonly conflict: Float64Array
  readonly compulsoryBlocks: Float64Array
  readonly capacityBlocks: Float64Array
  readonly conflictBlocks: Float64Array
  readonly multiBlock: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

export class Level implements LevelCounts {
  readonly cache: DineroCache
  readonly fetches: Float64Array = sums()
  readonly misses: Float64Array = sums()
  readonly blockMisses: Float64Array = sums()
  readonly compulsory: Float64Array = sums()
  readonly capacity: Float64Array = sums()
  readonly conflict: Float64Array = sums()
  readonly compulsoryBlocks: Float64Array = sums()
  readonly capacityBlocks: Float64Array = sums()
  readonly conflictBlocks: Float64Array = sums()
  multiBlock = 0
  bytesRead = 0
  bytesWritten = 0
  readonly #below: Level | undefined
  readonly #random: RandomSource
  /** Blocks of each set, the next victim last; behind them the fully associative one. */
  readonly #sets: Block[][]
  /** Which way a block is in, where the order of ways does not say who goes. */
  readonly #tree: Sets | undefined
  readonly #count: number
  readonly #seen = new Set<number>()
  readonly #pending: Reference[] = []

  constructor(cache: DineroCache, below: Level | undefined, random: RandomSource) {
    this.cache = cache
    this.#below = below
    this.#random = random
    this.#count = cache.size / cache.block / cache.ways
    this.#sets = Array.from({ length: this.#count + 1 }, () => [])
    if (cache.replacement === 'p') this.#tree = new Sets(this.#count, cache.ways, 'plru', 0)
  }

  reference(of: number, address: number, size: number): void {
    this.#one(of, address, size)
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      if (!next.below) {
        this.#one(next.kind, next.address, next.size)
        continue
      }
      const basic = next.kind & 7
      if (basic === kind.write) this.bytesWritten += next.size
      else if (basic < kind.copyBack) this.bytesRead += next.size
      this.#below?.reference(next.kind, next.address, next.size)
    }
  }

  #push(of: number, address: number, size: number, below: boolean): void {
    this.#pending.push({ kind: of, address, size, below })
  }

  /** Bits of the sub-blocks that a reference within one block touches, and their number. */
  #mask(address: number, size: number): { bits: number; count: number; first: number } {
    const { block, subBlock } = this.cache
    const first = Math.floor((address % block) / subBlock)
    const last = Math.floor(((address % block) + size - 1) / subBlock)
    const count = last - first + 1
    return { bits: (2 ** count - 1) * 2 ** first, count, first }
  }

  #one(of: number, address: number, given: number): void {
    if (of === kind.copyBack) return this.#copyBack(address, given)
    if (of === kind.invalidate) return this.#invalidate(address, given)
    const { cache } = this
    const { block: blockBytes, subBlock } = cache
    const number = Math.floor(address / blockBytes)
    let size = given
    const room = blockBytes - (address % blockBytes)
    if (size > room) {
      this.#push(of, address + room, size - room, false)
      this.multiBlock++
      size = room
    }
    const basic = of & 7
    const write = basic === kind.write
    const { bits, count, first } = this.#mask(address, size)
    const covers = size === count * subBlock
    const allocates = write && (cache.allocate === 'a' || (cache.allocate === 'f' && covers))
    const index = number % this.#count
    const set = this.#sets[index] as Block[]
    let block = set.find(one => one.number === number)
    const blockMiss = block === undefined
    const miss = block === undefined || (bits & ~block.valid) !== 0
    if (of === kind.read || of === kind.fetch) this.#prefetch(of, address, number, miss, bits, block)
    let writesBack = false
    if (!write || !blockMiss || allocates) {
      block =
        this.#tree === undefined
          ? this.#use(set, cache.ways, number, block)
          : this.#point(this.#tree, index, number, block)
      block.valid |= bits
      if ((of & PREFETCH) === 0) block.referenced |= bits
      writesBack =
        write &&
        (cache.writeBack === 'a' || (cache.writeBack === 'f' && ((bits & ~block.valid) === 0 || covers)))
      if (writesBack) block.dirty |= bits
      if (set.length > cache.ways) this.#writeBlock(set.pop() as Block)
    }
    if (write && !writesBack) this.#push(of, address, size, true)
    if (miss && (!write || (allocates && !covers)))
      this.#push(write ? kind.read : basic, number * blockBytes + first * subBlock, count * subBlock, true)
    if (cache.classify) this.#classify(of, number, bits, first, count, miss, blockMiss, write, allocates)
    this.#count1(this.fetches, of)
    if (!miss) return
    this.#count1(this.misses, of)
    if (blockMiss) this.#count1(this.blockMisses, of)
  }

  #count1(of: Float64Array, at: number): void {
    of[at] = (of[at] as number) + 1
  }

  /** The block comes to its place in the order of replacement; one more than `ways` may be there afterwards, the last being replaced. */
  #use(set: Block[], ways: number, number: number, there: Block | undefined): Block {
    const { replacement } = this.cache
    if (there !== undefined) {
      if (replacement === 'l' && set[0] !== there) {
        set.splice(set.indexOf(there), 1)
        set.unshift(there)
      }
      return there
    }
    const block: Block = { number, way: 0, valid: 0, dirty: 0, referenced: 0 }
    set.unshift(block)
    if (replacement === 'r' && set.length > ways) {
      const [victim] = set.splice(1 + (this.#random.next() % ways), 1)
      set.push(victim as Block)
    }
    return block
  }

  /** The same with a tree of bits. */
  #point(tree: Sets, index: number, number: number, there: Block | undefined): Block {
    if (there !== undefined) {
      tree.touch(index, there.way)
      return there
    }
    const set = this.#sets[index] as Block[]
    const way = tree.victim(index)
    tree.put(index, way, number)
    const block: Block = { number, way, valid: 0, dirty: 0, referenced: 0 }
    const at = set.findIndex(one => one.way === way)
    if (at >= 0) set.push(...set.splice(at, 1))
    set.unshift(block)
    return block
  }

  #prefetch(
    of: number,
    address: number,
    number: number,
    miss: boolean,
    bits: number,
    there: Block | undefined,
  ): void {
    const { prefetch, distance, subBlock, block, abort } = this.cache
    if (prefetch === 'd' || (prefetch === 'm' && !miss)) return
    if (prefetch === 't' && !miss && ((there as Block).referenced & bits) !== 0) return
    const ahead = address + distance * subBlock
    let at = ahead - (ahead % subBlock)
    const leaves = Math.floor(at / block) !== number
    if (prefetch === 'l' && leaves) return
    if (prefetch === 's' && leaves) at -= block
    if (abort > 0 && Math.floor(this.#random.next() / Math.floor(0x7fffffff / 100)) < abort) return
    this.#push(of | PREFETCH, at, subBlock, false)
  }

  /** Every run of dirty sub-blocks is one write. */
  #writeBlock(block: Block): void {
    const { block: bytes, subBlock } = this.cache
    let dirty = block.valid & block.dirty
    block.dirty = 0
    for (let at = 0; dirty !== 0; ) {
      while ((dirty & 1) === 0) {
        dirty >>>= 1
        at++
      }
      const first = at
      while ((dirty & 1) === 1) {
        dirty >>>= 1
        at++
      }
      this.#push(kind.write, block.number * bytes + first * subBlock, (at - first) * subBlock, true)
    }
  }

  #classify(
    of: number,
    number: number,
    bits: number,
    first: number,
    count: number,
    miss: boolean,
    blockMiss: boolean,
    write: boolean,
    allocates: boolean,
  ): void {
    const set = this.#sets[this.#count] as Block[]
    const ways = this.cache.size / this.cache.block
    let block = set[0]?.number === number ? set[0] : set.find(one => one.number === number)
    const fullBlockMiss = block === undefined
    const fullMiss = block === undefined || (bits & ~block.valid) !== 0
    if (!write || !fullBlockMiss || allocates) {
      block = this.#use(set, ways, number, block)
      block.valid |= bits
      if (set.length > ways) set.pop()
    }
    if (!miss) return
    let unseen = 0
    if (!fullMiss) this.#count1(this.conflict, of)
    else {
      unseen = this.#infinite(number, first, count)
      this.#count1(unseen === 0 ? this.capacity : this.compulsory, of)
    }
    if (!blockMiss) return
    if (!fullBlockMiss) this.#count1(this.conflictBlocks, of)
    else this.#count1(unseen === 1 ? this.compulsoryBlocks : this.capacityBlocks, of)
  }

  /** What a cache without end would have: 0 all of it, 1 nothing of the block, -1 not all of it. */
  #infinite(number: number, first: number, count: number): number {
    const per = this.cache.block / this.cache.subBlock
    const base = number * per
    let had = 0
    for (let i = 0; i < count; i++) if (this.#seen.has(base + first + i)) had++
    if (had === count) return 0
    let ofBlock = 0
    for (let i = 0; i < per; i++) if (this.#seen.has(base + i)) ofBlock++
    for (let i = 0; i < count; i++) this.#seen.add(base + first + i)
    return ofBlock === 0 ? 1 : -1
  }

  #copyBack(address: number, size: number): void {
    this.#push(kind.copyBack, address, size, true)
    if (size > 0) {
      const number = Math.floor(address / this.cache.block)
      const block = this.#sets[number % this.#count]?.find(one => one.number === number)
      if (block !== undefined) this.#writeBlock(block)
      return
    }
    for (const set of this.#sets.slice(0, this.#count)) for (const block of set) this.#writeBlock(block)
  }

  #invalidate(address: number, size: number): void {
    this.#push(kind.invalidate, address, size, true)
    const number = Math.floor(address / this.cache.block)
    this.#sets.forEach((set, i) => {
      if (size === 0) set.length = 0
      else if (i === number % this.#count || i === this.#count) {
        const at = set.findIndex(one => one.number === number)
        if (at < 0) return
        const [gone] = set.splice(at, 1)
        this.#tree?.drop(i, (gone as Block).way)
      }
    })
    if (size > 0) return
    this.#seen.clear()
    this.#tree?.clear()
  }
}

/** A row of results: total, instructions, data, reads, writes, others. */
export type Row = readonly [name: string, ...values: number[]]

const row = (name: string, of: Float64Array, from = 0): Row => {
  const [read = 0, write = 0, fetch = 0, other = 0] = of.subarray(from, from + 4)
  return [name, read + write + other + fetch, fetch, read + write + other, read, write, other]
}

/** What a cache's references came to, under Dinero's names. */
export function results(level: LevelCounts): {
  rows: Row[]
  multiBlock: number
  bytesRead: number
  bytesWritten: number
} {
  const { cache } = level
  const add = (a: Float64Array): Float64Array => a.map((n, i) => n + (a[(i + 8) % 16] as number))
  const rows: Row[] = [row('Demand Fetches', level.fetches)]
  const prefetches = cache.prefetch !== 'd'
  if (prefetches)
    rows.push(row('Prefetch Fetches', level.fetches, 8), row('Total Fetches', add(level.fetches)))
  const classes = (from: number): void => {
    if (!cache.classify) return
    rows.push(
      row(from === 0 ? 'Compulsory misses' : 'PF compulsory misses', level.compulsory, from),
      row(from === 0 ? 'Capacity misses' : 'PF capacity misses', level.capacity, from),
      row(from === 0 ? 'Conflict misses' : 'PF conflict misses', level.conflict, from),
    )
  }
  rows.push(row('Demand Misses', level.misses))
  classes(0)
  if (prefetches) {
    rows.push(row('Prefetch Misses', level.misses, 8))
    classes(8)
    rows.push(row('Total Misses', add(level.misses)))
  }
  if (cache.subBlock !== cache.block) {
    rows.push(row('Demand Block Misses', level.blockMisses))
    if (cache.classify)
      rows.push(
        row('DB compulsory misses', level.compulsoryBlocks),
        row('DB capacity misses', level.capacityBlocks),
        row('DB conflict misses', level.conflictBlocks),
      )
    if (prefetches) rows.push(row('Prefetch Block Misses', level.blockMisses, 8))
    if (prefetches && cache.classify)
      rows.push(
        row('PFB comp misses', level.compulsoryBlocks, 8),
        row('PFB cap misses', level.capacityBlocks, 8),
        row('PFB conf misses', level.conflictBlocks, 8),
      )
    if (prefetches) rows.push(row('Total Block Misses', add(level.blockMisses)))
  }
  return {
    rows,
    multiBlock: level.multiBlock,
    bytesRead: level.bytesRead,
    bytesWritten: level.bytesWritten,
  }
}
