/** A program's mallocs and frees on a heap, operation by operation, with its blocks, its free list and what happened after each. */
import { parsePolicy } from '../../heap/allocator.ts'
import { OWN } from '../../heap/code/blocks.ts'
import { Heap } from '../../heap/heap.ts'
import { type Fragmentation, tagBytes } from '../../heap/inspect.ts'
import { ArrayMemory, STATE } from '../../heap/memory.ts'

/** Memory that notes which words are read. */
class WatchedMemory extends ArrayMemory {
  #reads: number[] = []
  override load32(at: number): number {
    this.#reads.push(at)
    return super.load32(at)
  }
  /** What was read since the last call. */
  take(): number[] {
    const reads = this.#reads
    this.#reads = []
    return reads
  }
}

export interface BlockShot {
  readonly at: number
  readonly size: number
  readonly allocated: boolean
  /** Bytes before `at` that are the block's: 4 of a header, or 0. */
  readonly header: number
  /** What the program asked for. */
  readonly asked: number
  readonly id: string
}

export interface HeapShot {
  readonly operation: string
  readonly pointer: number
  readonly failed: boolean
  readonly blocks: readonly BlockShot[]
  /** Free blocks in the order of the free list, if there is one list. */
  readonly list: readonly number[]
  /** Blocks whose headers a malloc looked at, in order, up to the one that it took. */
  readonly path: readonly number[]
  readonly effect: string
  readonly payload: number
  readonly heap: number
  readonly fragmentation: Fragmentation
}

export interface HeapFilm {
  readonly policy: string
  readonly tag: number
  readonly begin: number
  readonly shots: readonly HeapShot[]
}

/** `a NAME BYTES`, `r NAME BYTES` and `f NAME`, one a line or with semicolons; names may be numbers. */
export function run(policyText: string, program: string): HeapFilm {
  const policy = parsePolicy(policyText)
  const memory = new WatchedMemory(new ArrayBuffer(1 << 20))
  const heap = new Heap({ ...policy, memory })
  const pointers = new Map<string, number>()
  const asked = new Map<number, number>()
  const names = new Map<number, string>()
  const snapshot = (): BlockShot[] =>
    [...heap.blocks()].map(({ at, size, allocated, bare }) => ({
      at,
      size,
      allocated,
      header: bare ? 0 : 4,
      asked: allocated ? (asked.get(at) ?? 0) : 0,
      id: names.get(at) ?? '',
    }))
  const freeList = (): number[] => (policy.allocator === 'explicit' ? [...walk(heap)] : [])
  const sum = (): number => [...asked.values()].reduce((a, b) => a + b, 0)
  const shot = (
    operation: string,
    pointer: number,
    failed: boolean,
    before: HeapShot | undefined,
  ): HeapShot => {
    const path = searched(operation, pointer, memory.take(), before)
    const blocks = snapshot()
    return {
      operation,
      pointer,
      failed,
      blocks,
      list: freeList(),
      path,
      effect: effectOf(operation, pointer, blocks, before),
      payload: sum(),
      heap: heap.size,
      fragmentation: heap.fragmentation(at => asked.get(at)),
    }
  }
  const shots: HeapShot[] = [shot('', 0, false, undefined)]
  for (const line of program.split(/[\n;]/)) {
    const [what = '', name = '', size = ''] = line.trim().split(/\s+/)
    const bytes = Number(size)
    const before = shots.at(-1)
    const old = pointers.get(name) ?? 0
    let pointer = 0
    let failed = false
    memory.take()
    if (what === 'f' && old !== 0) {
      heap.free(old)
      pointer = old
      asked.delete(old)
      names.delete(old)
      pointers.delete(name)
    } else if ((what === 'a' || what === 'r') && Number.isInteger(bytes) && bytes > 0 && bytes < 1 << 16) {
      pointer = what === 'a' ? heap.malloc(bytes) : heap.realloc(old, bytes)
      failed = pointer === 0
      if (!failed) {
        if (what === 'r') {
          asked.delete(old)
          names.delete(old)
        }
        pointers.set(name, pointer)
        asked.set(pointer, bytes)
        names.set(pointer, name)
      }
    } else continue
    shots.push(shot(line.trim(), pointer, failed, before))
    if (shots.length > 300) break
  }
  return { policy: heap.name, tag: tagBytes(policy), begin: memory.base + STATE, shots }
}

/** The explicit free list, from its head: the next free block's address is the first word of a free block. */
function* walk(heap: Heap): Generator<number> {
  const head = heap.memory.load32(heap.memory.base + OWN)
  let at = head
  for (let i = 0; at !== 0 && i < 1000; i++) {
    yield at
    at = heap.memory.load32(at)
    if (at === head) return
  }
}

/** Of the words that a malloc read, the headers of free blocks; the last is the block that it took. */
function searched(
  operation: string,
  pointer: number,
  reads: readonly number[],
  before: HeapShot | undefined,
): number[] {
  if (!operation.startsWith('a') || before === undefined) return []
  const blocks = new Set(before.blocks.map(({ at }) => at))
  const path = [...new Set(reads.map(word => word + 4).filter(at => blocks.has(at)))]
  const end = path.indexOf(pointer)
  return end < 0 ? path : path.slice(0, end + 1)
}

function effectOf(
  operation: string,
  pointer: number,
  blocks: readonly BlockShot[],
  before: HeapShot | undefined,
): string {
  if (before === undefined || pointer === 0) return ''
  const grown =
    (blocks.at(-1)?.at ?? 0) +
    (blocks.at(-1)?.size ?? 0) -
    ((before.blocks.at(-1)?.at ?? 0) + (before.blocks.at(-1)?.size ?? 0))
  if (operation.startsWith('f')) {
    const was = before.blocks.findIndex(({ at }) => at === pointer)
    const previous = before.blocks[was - 1]?.allocated === false
    const next = before.blocks[was + 1]?.allocated === false
    const merged = !blocks.some(({ at, size }) => at === pointer && size === before.blocks[was]?.size)
    if (!merged)
      return previous || next
        ? 'Not merged with its free neighbour'
        : 'Case 1: both neighbours are allocated; the block alone becomes free'
    if (previous && next) return 'Case 4: both neighbours are free; the three become one'
    if (previous) return 'Case 3: the block before is free; the two become one'
    if (next) return 'Case 2: the block behind is free; the two become one'
    return 'The block becomes free'
  }
  const now = blocks.find(({ at }) => at === pointer)
  const old = before.blocks.find(({ at }) => at === pointer)
  if (grown > 0) return `No free block fits: the heap grows by ${grown} bytes`
  if (old !== undefined && now !== undefined && old.size > now.size)
    return `Split: ${old.size} bytes into ${now.size} and a free rest of ${old.size - now.size}`
  return old === undefined ? '' : 'The whole block is taken'
}

export const programs: readonly { id: string; name: string; say: string; program: string }[] = [
  {
    id: 'cases',
    name: 'The four cases of coalescing',
    say: 'Freeing a block looks at its two neighbours. Boundary tags make all four cases take constant time.',
    program:
      'a a 120;a b 120;a c 120;a d 120;a e 120;a f 120;a g 120;a h 120;a i 120;f b;f a;f c;f e;f d;f g;f h;f f;f i',
  },
  {
    id: 'fit',
    name: 'First, next, best fit',
    say: 'Holes of several sizes, and requests that fit in more than one. Change the policy and watch which hole is taken.',
    program:
      'a p1 400;a k1 24;a p2 120;a k2 24;a p3 260;a k3 24;a p4 180;a k4 24;f p1;f p2;f p3;f p4;a x 110;a y 170;a z 250;a u 60;f y;a v 90;a w 150',
  },
  {
    id: 'false',
    name: 'False fragmentation',
    say: 'Enough is free, but in small pieces: without coalescing the large request makes the heap grow.',
    program:
      'a a 500;a b 500;a c 500;a d 500;a e 500;a f 500;a g 500;f a;f b;f c;f d;f e;f f;a big 2400;f g;f big;a again 2900',
  },
  {
    id: 'realloc',
    name: 'A buffer that grows',
    say: 'realloc extends in place while the block behind is free; else the contents move and leave a hole.',
    program:
      'a buf 64;r buf 128;r buf 256;a note 40;r buf 512;r buf 700;a n2 90;r buf 1000;f note;f n2;r buf 1500;f buf',
  },
  {
    id: 'mix',
    name: 'A program’s mix',
    say: 'Short-lived and long-lived blocks of many sizes. The free bytes between the long-lived ones are external fragmentation.',
    program: mix(),
  },
]

function mix(): string {
  let state = 11
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
  const live: string[] = []
  const out: string[] = []
  for (let i = 0; i < 110; i++) {
    if (live.length > 6 && next() < 0.48) out.push(`f ${live.splice(Math.floor(next() * live.length), 1)[0]}`)
    else {
      live.push(`b${i}`)
      out.push(`a b${i} ${Math.floor(16 + 480 * next() ** 3)}`)
    }
  }
  return out.join(';')
}
