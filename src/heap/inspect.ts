// A heap as its blocks, read from the memory alone.
import { type Policy } from './allocator.ts'
import * as best from './code/best.ts'
import { freeSize } from './code/best-bins.ts'
import { EDGE, EDGE_HEADED, QUICK, QUICK_BARE, QUICK_HEADED, QUICK_MOST } from './code/best-quick.ts'
import { PAGED, RUN, runOf, slotAfter, slotSize, slotsIn, unitsOf } from './code/best-runs.ts'
import { inZone } from './code/best-zone.ts'
import * as lists from './code/blocks.ts'
import * as buddy from './code/buddy.ts'
import { bind } from './code/words.ts'
import { type HeapMemory, STATE } from './memory.ts'

export interface Block {
  /** Address of the payload; the block itself begins 4 bytes before it, at its header, unless it is `bare`. */
  readonly at: number
  /** Bytes of the whole block. */
  readonly size: number
  readonly allocated: boolean
  /** It has no header: a slot of a run (best-runs.ts), or a block of the zone (best-zone.ts). */
  readonly bare?: true
  readonly slot?: true
  /** It is free, in a quick list (best-quick.ts), and not yet merged. */
  readonly quick?: true
}

/** Bytes of header and footer of an allocated block. */
export const tagBytes = (policy: Policy): number =>
  policy.allocator === 'best' || policy.allocator === 'buddy' ? 4 : 8

/** All blocks, in order of address; of a run its slots. Corrupt headers end it early or with an Error; see check(). */
export function* blocks(memory: HeapMemory, policy: Policy): Generator<Block> {
  if (policy.allocator !== 'best') {
    yield* tagged(memory, policy)
    return
  }
  const quick = quickBlocks(memory)
  for (const block of settled(memory, policy))
    yield quick.has(block.at) ? { ...block, allocated: false, quick: true } : block
}

/** All blocks of `best`, those in quick lists as the allocated ones that they are to all else. */
export function* settled(memory: HeapMemory, policy: Policy): Generator<Block> {
  for (const block of tagged(memory, policy)) {
    bind(memory)
    if (block.allocated && runOf(block.at) === block.at) yield* slots(memory, block.at)
    else yield block
  }
}

/** What is in the quick lists of `best`, with the sizes that the lists are for. Error where a list goes in circles. */
export function quickBlocks(memory: HeapMemory): Map<number, number> {
  const found = new Map<number, number>()
  const add = (p: number, size: number): void => {
    if (found.has(p) || p < memory.base || p >= memory.brk)
      throw new Error(`The quick list of ${size} bytes leads to ${p}`)
    found.set(p, size)
  }
  const word = (at: number): number => memory.load32(at)
  const list = (first: number, size: number): void => {
    for (let p = first; p !== 0; p = word(p)) add(p, size)
  }
  const pages = (first: number, last: number, size: number, bytes: number): void => {
    let head = first
    for (let edge = last; edge !== 0; edge = head) {
      const page = edge - bytes
      add(page, size)
      if (head <= page || head > edge) throw new Error(`The quick list of ${size} bytes goes on at ${head}`)
      for (head -= 4; head > page; head -= 4) add(word(head), size)
      head = word(page)
    }
  }
  const edges = word(memory.base + PAGED)
  for (let size = 8; size <= QUICK_BARE; size += 8) {
    const head = word(memory.base + QUICK + (size >> 1))
    if (edges !== 0) pages(head, word(edges + EDGE + (size >> 1)), size, size)
    else list(head, size)
  }
  for (let size = 16; size <= QUICK_MOST; size += 8) {
    const head = word(memory.base + QUICK_HEADED + (size >> 1))
    if (edges !== 0) pages(head, word(edges + EDGE_HEADED + (size >> 1)), size, size - 4)
    else list(head, size)
  }
  return found
}

/** The slots of a run of `best`. */
export function* slots(memory: HeapMemory, run: number): Generator<Block> {
  bind(memory)
  const size = slotSize(run)
  const count = slotsIn(unitsOf(run), size)
  const free = new Set<number>()
  for (let p = memory.load32(run + 4); p !== 0 && !free.has(p); p = slotAfter(p, size)) free.add(p)
  for (let i = 0, at = run + RUN; i < count; i++, at += size)
    yield { at, size, allocated: !free.has(at), bare: true, slot: true }
}

/** The blocks with tags, in order of address: a run is one. */
export function* tagged(memory: HeapMemory, policy: Policy): Generator<Block> {
  const variable = (name: number): number => memory.load32(memory.base + name)
  const header = (p: number): number => memory.load32(p - 4)
  if (policy.allocator === 'buddy') {
    const end = variable(buddy.MANAGED)
    for (let at = variable(buddy.ORIGIN); at < end; ) {
      const size = 2 ** ((header(at) >> 3) & 31)
      yield { at, size, allocated: (header(at) & 1) !== 0 }
      at += size
    }
    return
  }
  if (policy.allocator === 'best') {
    const top = variable(best.TOP)
    let at = variable(best.FIRST)
    const known = (block: number, size: number, allocated: boolean): Block => {
      const bare = inZone(block)
      return { at: block, size, allocated, ...(bare ? { bare } : {}) }
    }
    while (at < top) {
      bind(memory)
      const allocated = !best.isFree(at)
      const size = allocated ? best.sizeOf(at) : freeSize(at)
      if (size < 8) throw new Error(`The block at ${at} has ${size} bytes`)
      yield known(at, size, allocated)
      at += size
    }
    bind(memory)
    if (top < variable(best.END)) yield known(top, variable(best.END) - top, false)
    return
  }
  const end = variable(lists.END)
  for (let at = variable(lists.FIRST); at < end; ) {
    const size = header(at) & -8
    if (size < 8) throw new Error(`The header at ${at - 4} says ${size} bytes`)
    yield { at, size, allocated: (header(at) & 1) !== 0 }
    at += size
  }
}

/** Bytes between the heap's begin and its break. */
export const heapSize = (memory: HeapMemory): number => memory.brk - memory.base - STATE

/** Where the bytes of a heap are. All add up to `heap`. */
export interface Fragmentation {
  readonly heap: number
  /** What the program asked for and has. */
  readonly payload: number
  /** Headers and footers of allocated blocks. */
  readonly tags: number
  /** What alignment and the smallest block's size add to requests. */
  readonly padding: number
  /** What the policy leaves in a block beyond that: powers of two, remainders that were not split off. */
  readonly policy: number
  /** The heap's two ends, and what runs have besides their slots. */
  readonly frame: number
  /** tags + padding + policy + frame: heap = payload + internal + external. */
  readonly internal: number
  /** Bytes in free blocks. */
  readonly external: number
  /** Free blocks, and those of them below 32 bytes that are no slots. */
  readonly freeBlocks: number
  readonly splinters: number
  /** The largest free block. */
  readonly largestFree: number
}

/** Where the bytes are, exactly; `asked` gives what was asked for the block at an address. */
export function fragmentation(
  memory: HeapMemory,
  policy: Policy,
  asked: (at: number) => number | undefined,
): Fragmentation {
  const heap = heapSize(memory)
  const tag = tagBytes(policy)
  const least = policy.allocator === 'best' ? policy.align : policy.allocator === 'tree' ? 32 : 16
  let payload = 0
  let tags = 0
  let padding = 0
  let extra = 0
  let external = 0
  let freeBlocks = 0
  let splinters = 0
  let largestFree = 0
  for (const { at, size, allocated, bare, slot } of blocks(memory, policy)) {
    if (allocated) {
      const bytes = asked(at) ?? 0
      const own = bare ? 0 : tag
      const need = Math.max(least, Math.ceil((bytes + own) / policy.align) * policy.align)
      payload += bytes
      tags += own
      padding += Math.min(need, size) - own - bytes
      extra += Math.max(0, size - need)
    } else {
      external += size
      freeBlocks++
      if (size < 32 && !slot) splinters++
      largestFree = Math.max(largestFree, size)
    }
  }
  const frame = heap - payload - tags - padding - extra - external
  const internal = tags + padding + extra + frame
  return {
    heap,
    payload,
    tags,
    padding,
    policy: extra,
    frame,
    internal,
    external,
    freeBlocks,
    splinters,
    largestFree,
  }
}
