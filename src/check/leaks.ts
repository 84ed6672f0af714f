// The search for leaks at the end: which blocks can still be reached from what the program has left. Conservative, as in memcheck: every
// aligned word that is defined may be a pointer.
//
//   reachable   a pointer to its start leads there from a root
//   possible    only a pointer into its middle does, somewhere on the way, unless that is where a block is held that has its size or
//               its number of elements in front (memcheck's heuristics length64 and newarray)
//   definite    nothing leads there
//   indirect    only blocks that are lost lead there
import type { Block } from './heap.ts'
import { MIXED, UNADDRESSABLE, UNDEFINED } from './layout.ts'
import type { Shadow } from './shadow.ts'

export type LeakKind = 'definite' | 'indirect' | 'possible' | 'reachable'

export interface LeakedBlock {
  readonly block: Block
  readonly kind: LeakKind
  /** Of a definitely lost one: bytes of the blocks that are lost with it. */
  indirect: number
  indirectBlocks: number
}

/** Where a search starts: words in [start, end) of memory, and single values (globals, locals). */
export interface Roots {
  readonly ranges: readonly { readonly start: number; readonly end: number }[]
  readonly values: readonly number[]
}

export function findLeaks(
  memory: ArrayBuffer,
  shadow: Shadow,
  live: Iterable<Block>,
  roots: Roots,
): LeakedBlock[] {
  const blocks = [...live].sort((a, b) => a.start - b.start)
  const starts = Uint32Array.from(blocks, block => block.start)
  const words = new Uint32Array(memory)
  const state = new Uint8Array(blocks.length) // 0 unseen, 1 possible, 2 reachable, 3 definite, 4 indirect
  const indirect = new Float64Array(blocks.length)
  const indirectBlocks = new Uint32Array(blocks.length)

  // The block that an address is in, as an index; -1: none.
  const find = (at: number): number => {
    let low = 0
    let high = blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((starts[middle] as number) <= at) low = middle + 1
      else high = middle
    }
    const block = blocks[low - 1]
    if (block === undefined) return -1
    return at < block.start + Math.max(block.size, 1) ? low - 1 : -1
  }
  const scan = (start: number, end: number, see: (at: number) => void): void => {
    const last = Math.min(end, memory.byteLength)
    for (let at = start + ((4 - (start % 4)) % 4); at + 4 <= last; at += 4) {
      const word = shadow.word(at)
      if (word === UNADDRESSABLE || (word >= UNDEFINED && word < MIXED)) continue
      see(words[at >>> 2] as number)
    }
  }

  // Whether whoever holds a block holds it by this address.
  const holds = (at: number, i: number): boolean => {
    const { start, size } = blocks[i] as Block
    if (at === start) return true
    const first = words[start >>> 2] as number
    const second = words[(start >>> 2) + 1] as number
    if (at === start + 8 && first === size - 8 && second === 0) return true
    const elements = at === start + 8 ? second : first
    if (at !== start + 4 && at !== start + 8) return false
    return elements > 0 && elements <= size && (size - (at - start)) % elements === 0
  }

  let queue: number[] = []
  const reach = (at: number, from: number): void => {
    const i = find(at)
    if (i < 0) return
    const to = from === 2 && holds(at, i) ? 2 : 1
    if ((state[i] as number) >= to) return
    state[i] = to
    queue.push(i)
  }
  for (const value of roots.values) reach(value >>> 0, 2)
  for (const { start, end } of roots.ranges) scan(start, end, at => reach(at, 2))
  while (queue.length > 0) {
    const i = queue.pop() as number
    const { start, size } = blocks[i] as Block
    const own = state[i] as number
    scan(start, start + size, at => reach(at, own))
  }

  // What is left is lost. Each block that is not reached from an earlier one leads a group.
  for (let leader = 0; leader < blocks.length; leader++) {
    if (state[leader] !== 0) continue
    state[leader] = 3
    queue = [leader]
    while (queue.length > 0) {
      const { start, size } = blocks[queue.pop() as number] as Block
      scan(start, start + size, at => {
        const i = find(at)
        if (i < 0 || i === leader) return
        if (state[i] === 3) {
          // It led a group that now belongs to this one.
          indirect[leader]! += indirect[i] as number
          indirectBlocks[leader]! += indirectBlocks[i] as number
          indirect[i] = 0
          indirectBlocks[i] = 0
        } else if (state[i] === 0) queue.push(i)
        else return
        state[i] = 4
        indirect[leader]! += (blocks[i] as Block).size
        indirectBlocks[leader]!++
      })
    }
  }
  const kinds: readonly LeakKind[] = ['definite', 'possible', 'reachable', 'definite', 'indirect']
  return blocks.map((block, i) => ({
    block,
    kind: kinds[state[i] as number] as LeakKind,
    indirect: indirect[i] as number,
    indirectBlocks: indirectBlocks[i] as number,
  }))
}
