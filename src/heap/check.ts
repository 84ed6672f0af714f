/**
 * The heap checker: every invariant of an allocator's blocks and of its index of free ones, from the memory alone.
 *   1. Blocks follow each other without gaps up to the heap's end, at the alignment.
 *   2. Boundary tags agree (lists); the flags and the last word tell of a free neighbour (best).
 *   3. Under immediate coalescing no two neighbours are free.
 *   4. Every free block is in the index once, in the right list, and nothing else is.
 */
import type { Policy } from './allocator.ts'
import * as bins from './code/best-bins.ts'
import * as best from './code/best.ts'
import {
  QUICK,
  QUICK_BARE,
  QUICK_BITS,
  QUICK_BYTES,
  QUICK_HEADED,
  QUICK_MAP,
  QUICK_MOST,
} from './code/best-quick.ts'
import * as runs from './code/best-runs.ts'
import * as zone from './code/best-zone.ts'
import * as lists from './code/blocks.ts'
import * as buddy from './code/buddy.ts'
import { headOfClass } from './code/segregated.ts'
import { headOfTlsf } from './code/tlsf.ts'
import { bind } from './code/words.ts'
import { type Block, heapSize, quickBlocks, settled, slots, tagged } from './inspect.ts'
import type { HeapMemory } from './memory.ts'

class Broken extends Error {}

function demand(truth: boolean, sentence: string): void {
  if (!truth) throw new Broken(sentence)
}

/** What is wrong with a heap, in one sentence with the address; undefined if nothing is. */
export function check(memory: HeapMemory, policy: Policy): string | undefined {
  bind(memory)
  try {
    if (policy.allocator === 'best') checkBest(memory, policy)
    else if (policy.allocator === 'buddy') checkBuddy(memory, policy)
    else checkLists(memory, policy)
  } catch (error) {
    return (error as Error).message
  }
  return undefined
}

const word = (memory: HeapMemory, at: number): number => {
  if (at < memory.base || at + 4 > memory.brk || at % 4 !== 0)
    throw new Broken(`The address ${at} is not one of the heap's`)
  return memory.load32(at)
}

/** The free blocks by address, each taken out when the index names it. */
class Free {
  readonly #blocks = new Map<number, number>()
  add({ at, size }: Block): void {
    this.#blocks.set(at, size)
  }
  /** The size of a free block that an index names. */
  take(at: number, where: string): number {
    const size = this.#blocks.get(at)
    if (size === undefined)
      throw new Broken(`${where} names ${at}, which is not a free block, or names it twice`)
    this.#blocks.delete(at)
    return size
  }
  none(): void {
    for (const [at, size] of this.#blocks)
      throw new Broken(`The free block of ${size} bytes at ${at} is in no list`)
  }
}

// Walks the blocks; gives the free ones.
function walk(memory: HeapMemory, policy: Policy, end: number, each: (block: Block) => void): Free {
  const free = new Free()
  const merged = policy.coalescing === 'immediate' && policy.allocator !== 'buddy'
  let before = true
  let at = -1
  for (const block of tagged(memory, policy)) {
    demand(at === -1 || block.at === at, `The blocks leave a gap before ${block.at}`)
    demand(block.at % policy.align === 0, `The payload at ${block.at} is not aligned to ${policy.align}`)
    demand(
      block.at + block.size <= end,
      `The block of ${block.size} bytes at ${block.at} ends behind the heap`,
    )
    demand(!merged || block.allocated || before, `The free block at ${block.at} follows a free block`)
    each(block)
    if (!block.allocated) free.add(block)
    before = block.allocated
    at = block.at + block.size
  }
  demand(at === -1 || at === end, `The last block ends at ${at}, the heap at ${end}`)
  return free
}

function checkLists(memory: HeapMemory, policy: Policy): void {
  const own = memory.base + lists.OWN
  const end = word(memory, memory.base + lists.END)
  demand(end === memory.brk, `The heap ends at ${end}, the break is ${memory.brk}`)
  const free = walk(memory, policy, end, ({ at, size }) =>
    demand(
      word(memory, at - 4) === word(memory, at + size - 8),
      `The boundary tags of the block of ${size} bytes at ${at} differ`,
    ),
  )
  demand(word(memory, end - 4) === 1, `The header at the heap's end is ${word(memory, end - 4)}, not 1`)
  const list = (head: number, where: string, belongs: (size: number) => boolean): void => {
    let before = 0
    for (let p = word(memory, head); p !== 0; p = word(memory, p)) {
      const size = free.take(p, where)
      demand(belongs(size), `${where} has a block of ${size} bytes`)
      demand(word(memory, p + 4) === before, `The links at ${p} in ${where} don't agree`)
      demand(
        policy.order !== 'address' || before < p || before === 0,
        `${where} is not ordered by address at ${p}`,
      )
      before = p
    }
  }
  if (policy.allocator === 'implicit') return
  if (policy.allocator === 'explicit') list(own, 'The free list', () => true)
  else if (policy.allocator === 'segregated')
    for (let i = 0; i < 64; i++)
      list(own + i * 4, `The list of class ${i}`, size => headOfClass(size) === own + i * 4)
  else if (policy.allocator === 'tlsf')
    for (let i = 0; i < 26 * 16; i++) {
      const head = own + 128 + i * 4
      list(head, `The list ${i >> 4}.${i & 15}`, size => headOfTlsf(size) === head)
      const bit = (word(memory, own + 4 + (i >> 4) * 4) >> (i & 15)) & 1
      demand(bit === Number(word(memory, head) !== 0), `The bit of list ${i >> 4}.${i & 15} is wrong`)
    }
  else checkTree(memory, own, free)
  free.none()
}

// Red-black: a red node has no red child, all paths have equally many black nodes, keys are in order.
function checkTree(memory: HeapMemory, own: number, free: Free): void {
  const nil = own + 16
  const below = (at: number, parent: number, low: number, high: number): number => {
    if (at === nil) return 1
    const size = free.take(at, 'The tree')
    demand(
      size > low && size < high,
      `The tree's node at ${at} has ${size} bytes, between ${low} and ${high}`,
    )
    demand(word(memory, at + 8) === parent, `The tree's node at ${at} names another parent than ${parent}`)
    const red = word(memory, at + 12) === 1
    demand(
      !(red && parent !== nil && word(memory, parent + 12) === 1),
      `The red node at ${at} has a red parent`,
    )
    let before = at
    for (let p = word(memory, at + 16); p !== 0; p = word(memory, p + 16)) {
      demand(free.take(p, 'The tree') === size, `The block at ${p} hangs at a node of another size`)
      demand(word(memory, p + 20) === before, `The links at ${p} don't agree`)
      before = p
    }
    const left = below(word(memory, at), at, low, size)
    const right = below(word(memory, at + 4), at, size, high)
    demand(left === right, `The paths below ${at} have ${left} and ${right} black nodes`)
    return left + (red ? 0 : 1)
  }
  below(word(memory, own), nil, 0, 2 ** 31)
}

function checkBuddy(memory: HeapMemory, policy: Policy): void {
  const origin = word(memory, memory.base + buddy.ORIGIN)
  const sizes = new Map<number, boolean>()
  const free = walk(memory, policy, word(memory, memory.base + buddy.MANAGED), ({ at, size, allocated }) => {
    demand(
      size >= 16 && (at - origin) % size === 0,
      `The block of ${size} bytes at ${at} is not aligned to its size`,
    )
    sizes.set(at, !allocated)
    const other = origin + ((at - origin) ^ size)
    const twin = other < at && sizes.get(other) && word(memory, other - 4) === word(memory, at - 4)
    demand(allocated || !twin, `The buddies at ${other} and ${at} are both free`)
  })
  for (let order = buddy.LEAST; order < 31; order++) {
    let before = 0
    for (let p = word(memory, memory.base + buddy.HEADS + order * 4); p !== 0; p = word(memory, p)) {
      demand(free.take(p, `The list of order ${order}`) === 2 ** order, `A list of order ${order} has ${p}`)
      demand(word(memory, p + 4) === before, `The links at ${p} don't agree`)
      before = p
    }
  }
  free.none()
}

function checkBest(memory: HeapMemory, policy: Policy): void {
  const { base } = memory
  const end = word(memory, base + best.END)
  if (end === 0) {
    demand(heapSize(memory) === 0, `A heap without blocks has ${heapSize(memory)} bytes`)
    return
  }
  demand(end === memory.brk, `The heap ends at ${end}, the break is ${memory.brk}`)
  const top = word(memory, base + best.TOP)
  let before: Block | undefined
  let lastInZone: Block | undefined
  const found: number[] = []
  const counts = new Map<number, number>()
  const free = walk(memory, policy, end, block => {
    bind(memory)
    const told = best.freeBefore(block.at)
    const there = before === undefined || before.allocated ? 0 : before.size
    demand(
      told === there,
      `The block at ${block.at} says that ${told} bytes before it are free: ${there} are`,
    )
    before = block
    if (block.bare) {
      if (block.at !== top) lastInZone = block
      checkStarts(memory, block, top)
      return
    }
    if (!block.allocated) return
    if (runs.runOf(block.at) === block.at) found.push(block.at)
    else counts.set(block.size, (counts.get(block.size) ?? 0) + 1)
  })
  checkRuns(memory, found)
  checkQuick(memory, policy)
  for (let size = policy.align; size <= runs.SMALL; size += policy.align) {
    const counted = word(memory, base + runs.COUNTS + (size >> 1))
    const there = counts.get(size) ?? 0
    demand(counted === there, `The count of blocks of ${size} bytes is ${counted}; there are ${there}`)
  }
  if (top < end) free.take(top, 'The top')
  else
    demand(zone.inZone(end) || word(memory, end - 4) === bins.AFTER, `The header at the heap's end is wrong`)
  checkZone(memory, free, lastInZone)
  const held = word(memory, base + bins.HELD)
  if (held !== 0) free.take(held, 'The held block')
  for (let size = 16; size < bins.LARGE; size += 8) {
    const head = base + bins.BINS + (size >> 1)
    let link = head
    for (let p = word(memory, head); p !== 0; p = word(memory, p)) {
      demand(free.take(p, `The list of ${size} bytes`) === size, `The list of ${size} bytes has ${p}`)
      demand(word(memory, p + 4) === link, `The links at ${p} don't agree`)
      link = p
    }
    const bits = word(memory, base + bins.MAP + (size >> 8) * 4)
    const bit = (bits >>> ((size >> 3) & 31)) & 1
    demand(bit === Number(link !== head), `The bit of the list of ${size} bytes is wrong`)
    const known = (word(memory, base + bins.SUMMARY) >>> (size >> 8)) & 1
    demand(known === Number(bits !== 0), `The bit of the lists of ${size & -256} bytes and more is wrong`)
  }
  let mini = 0
  for (let p = word(memory, base + bins.MINIS); p !== 0; p = word(memory, p) & -8) {
    demand(free.take(p, 'The list of 8 bytes') === 8, `The list of 8 bytes has ${p}`)
    demand((word(memory, p - 4) & -8) === mini, `The links at ${p} don't agree`)
    mini = p
  }
  checkTries(memory, free)
  free.none()
}

// Between a block's begin and end nothing else begins, and only a free block's first and last 8 bytes are marked as such.
function checkStarts(memory: HeapMemory, { at, size, allocated }: Block, top: number): void {
  const { base } = memory
  for (let p = at; p < at + size && zone.inZone(p); p += 8) {
    const bit = (p - base - zone.BEGIN) >> 3
    const flags = base + ((bit >> 5) << 2)
    const starts = ((word(memory, flags + zone.STARTS) >>> (bit & 31)) & 1) === 1
    const free = ((word(memory, flags + zone.FREES) >>> (bit & 31)) & 1) === 1
    demand(starts === (p === at), `The bit of STARTS for ${p} is wrong in the block at ${at}`)
    const marked = !allocated && at !== top && (p === at || p === at + size - 8)
    demand(free === marked, `The bit of FREES for ${p} is wrong in the block at ${at}`)
  }
}

// What is in a quick list is a block of its size, allocated to all else.
function checkQuick(memory: HeapMemory, policy: Policy): void {
  const quick = quickBlocks(memory)
  let bytes = 0
  for (const { at, size, allocated } of settled(memory, policy)) {
    const listed = quick.get(at)
    if (listed === undefined) continue
    demand(allocated && size === listed, `The quick list of ${listed} bytes has a block of ${size} at ${at}`)
    quick.delete(at)
    bytes += size
  }
  for (const at of quick.keys()) throw new Broken(`A quick list has ${at}, where no block begins`)
  const { base } = memory
  const demandBit = (list: number, map: number, size: number): void => {
    const bit = (word(memory, base + map + (size >> 8) * 4) >>> ((size >> 3) & 31)) & 1
    const some = word(memory, base + list + (size >> 1)) !== 0
    demand(bit === Number(some), `The bit of the quick list of ${size} bytes is wrong`)
  }
  for (let size = 8; size <= QUICK_BARE; size += 8) demandBit(QUICK, QUICK_BITS, size)
  for (let size = 16; size <= QUICK_MOST; size += 8) demandBit(QUICK_HEADED, QUICK_MAP, size)
  const counted = word(memory, base + QUICK_BYTES)
  demand(counted >= bytes, `The quick lists have ${bytes} bytes; ${counted} were put there`)
}

// The lists of the zone, and where it ends.
function checkZone(memory: HeapMemory, free: Free, last: Block | undefined): void {
  const { base } = memory
  const end = last === undefined ? 0 : last.at + last.size
  if (end >= base + zone.LIMIT) {
    const cross = word(memory, base + zone.CROSS)
    demand(cross === end, `The zone's last block ends at ${end}, not at ${cross}`)
  }
  for (let i = 0; i < 256; i++) {
    const bit = (word(memory, base + zone.WORDS + (i >> 5) * 4) >>> (i & 31)) & 1
    const some = word(memory, base + zone.STARTS + i * 4) !== 0
    demand(bit === Number(some), `The bit of word ${i} of STARTS is wrong`)
  }
  for (let i = 1; i < 32; i++) {
    const head = base + zone.ZONE_BINS + i * 8
    let link = head
    for (let p = word(memory, head); p !== head; p = word(memory, p)) {
      const size = free.take(p, `The zone's list of ${i * 8} bytes`)
      const listed = p + size >= base + zone.LIMIT ? size - 8 : size
      demand(listed === i * 8, `The zone's list of ${i * 8} bytes has one of ${size} at ${p}`)
      demand(word(memory, p + 4) === link, `The links at ${p} don't agree`)
      link = p
    }
    const bit = (word(memory, base + zone.ZONE_MAP) >>> i) & 1
    demand(bit === Number(link !== head), `The bit of the zone's list of ${i * 8} bytes is wrong`)
  }
}

// Each run is in the map, and in its list if it has a free slot; the map names nothing else.
function checkRuns(memory: HeapMemory, found: readonly number[]): void {
  const { base } = memory
  const open = new Set<number>()
  let empty = 0
  let units = 0
  for (const run of found) {
    const size = runs.slotSize(run)
    demand(size >= 8 && size <= runs.SMALL && size % 8 === 0, `The run at ${run} has slots of ${size} bytes`)
    const all = [...slots(memory, run)]
    const free = new Set(all.filter(slot => !slot.allocated).map(slot => slot.at))
    demand(
      all.length - free.size === runs.usedSlots(run),
      `The run at ${run} counts ${runs.usedSlots(run)} used slots`,
    )
    let steps = 0
    for (let p = word(memory, run + 4); p !== 0; p += size + word(memory, p)) {
      demand(free.has(p) && steps++ < all.length, `The free slots of the run at ${run} lead to ${p}`)
    }
    for (let i = 0; i < runs.unitsOf(run); i++, units++)
      demand(runs.runOf(run + i * runs.UNIT) === run, `The map does not name the run at ${run} for unit ${i}`)
    if (free.size > 0) open.add(run)
    if (free.size === all.length) empty++
  }
  for (let size = 8; size <= runs.SMALL; size += 8) {
    let before = 0
    const head = word(memory, base + runs.RUNS + (size >> 1))
    const bit = (word(memory, base + runs.OPEN) >>> (size >> 3)) & 1
    demand(bit === Number(head !== 0), `The bit of the runs of ${size} bytes is wrong`)
    for (let run = head; run !== 0; run = word(memory, run + 8)) {
      demand(
        open.delete(run),
        `The list of runs of ${size} bytes names ${run}, which is full, or names it twice`,
      )
      demand(
        runs.slotSize(run) === size,
        `The list of runs of ${size} bytes has one of ${runs.slotSize(run)}`,
      )
      demand(word(memory, run + 12) === before, `The links at ${run} don't agree`)
      const alone = before === 0 && word(memory, run + 8) === 0
      demand(runs.usedSlots(run) > 0 || alone, `The run at ${run} is empty, and there are others`)
      before = run
    }
  }
  for (let count = 1; count <= runs.MOST_UNITS; count++)
    for (
      let run = word(memory, base + runs.SPARES + (count - 1) * 4);
      run !== 0;
      run = word(memory, run + 8)
    ) {
      demand(open.delete(run), `The list of spare runs names ${run}, which is full, or names it twice`)
      demand(
        runs.usedSlots(run) === 0 && runs.unitsOf(run) === count,
        `The spare run at ${run} is used, or has not ${count} units`,
      )
    }
  for (const run of open) throw new Broken(`The run at ${run} has free slots and is in no list`)
  const counted = word(memory, base + runs.EMPTY)
  demand(counted === empty, `There are ${empty} empty runs; ${counted} are counted`)
  for (let at = base; at < memory.brk; at += runs.UNIT) if (runs.runOf(at) !== 0) units--
  demand(units === 0, `The map names ${-units} units too many`)
}

function checkTries(memory: HeapMemory, free: Free): void {
  const { base } = memory
  const below = (at: number, parent: number, trie: number, sizes: number[]): void => {
    if (at === 0) return
    const size = free.take(at, `Trie ${trie}`)
    sizes.push(size)
    demand(word(memory, at + 20) === parent, `The node at ${at} names another parent than ${parent}`)
    demand(word(memory, at + 24) === trie, `The node at ${at} names another trie than ${trie}`)
    let before = at
    for (let p = word(memory, at); p !== at; p = word(memory, p)) {
      demand(free.take(p, `Trie ${trie}`) === size, `The block at ${p} is in a ring of another size`)
      demand(word(memory, p + 4) === before && word(memory, p + 20) === 0, `The links at ${p} don't agree`)
      before = p
    }
    const left: number[] = []
    const right: number[] = []
    below(word(memory, at + 12), at, trie, left)
    below(word(memory, at + 16), at, trie, right)
    demand(Math.max(0, ...left) < Math.min(2 ** 31, ...right), `The children of ${at} are not in order`)
    sizes.push(...left, ...right)
  }
  for (const [set, roots] of [
    [bins.TRIES, bins.ROOTS],
    [bins.ZONE_TRIES, bins.ZONE_ROOTS],
  ] as const)
    for (let trie = 0; trie < 32; trie++) {
      const root = word(memory, base + roots + trie * 4)
      const bit = (word(memory, base + set) >>> trie) & 1
      demand(bit === Number(root !== 0), `The bit of trie ${trie} is wrong`)
      below(root, 1, trie, [])
    }
}
