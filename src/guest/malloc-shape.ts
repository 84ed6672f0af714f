// The malloc of a program without names: by its shape. wasi-libc and Emscripten have Doug Lea's, and that has marks:
//
//   malloc      takes and answers one i32, and writes the magic number of its parameters (nobody else does)
//   its state   the addresses in malloc's code: bins and tops, some fifty
//   free        the one other function without a result that works on the state and takes one i32
//   dispose     takes two i32: gives a chunk's rest back. Who calls it is
//   realloc     if it works on the state too, and gives malloc its second argument as it came, else the common part of aligned_alloc, memalign and posix_memalign
//   calloc      calls malloc, and looks at two flags in the word before the block: whether it is zero anyway
//   usable size looks at these flags, too, and calls nobody
//
// An optimiser may put realloc into the only function that calls it, which then looks like it, but takes other addresses (SQLite's wrapper gives
// out what lies 8 bytes behind a block's start). That one asks malloc for another size than it was asked for, and so is not taken for realloc.
//
// All others of the family come to these. If anything is not as expected (as where a linker has made functions of its own of these),
// nothing was found: half a family would be worse than none, but for one half. malloc and free alone can be exchanged if each block has the
// head that Doug Lea's malloc gives to one that it has mapped (replaceMalloc): all others of the family, also what a linker has put
// into the program's functions of them, leave such a block to malloc, memcpy and free.
import { Cursor } from '../wasm/instructions.ts'
import { I32, importCount, type Module } from '../wasm/module.ts'
import { isAccess, OP } from '../wasm/opcode-table.ts'
import type { MallocFunctions, MallocRole } from './malloc-functions.ts'

const magic = 0x55555558
/** Functions below know so many of the state's addresses. */
const some = 5

interface Shape {
  readonly index: number
  /** `params:result`, of i32 alone. */
  readonly type: string
  readonly numbers: ReadonlySet<number>
  readonly calls: ReadonlySet<number>
  /** Those that it gives its second parameter as the last argument, as it came. */
  readonly passes: ReadonlySet<number>
  /** Whether it looks at the flags of a block. */
  readonly looks: boolean
}

/** The family by its shape; undefined where it is not surely that. */
export function findMallocByShape(module: Module): MallocFunctions | undefined {
  const { malloc, free, heap, shapes } = coreOf(module)
  if (malloc === undefined || free === undefined) return undefined
  const of = (type: string): Shape | undefined => only(heap.filter(one => one.type === type))
  const [dispose, realloc] = [of('2:0'), of('2:1')]
  if (realloc !== undefined && (dispose === undefined || !realloc.passes.has(malloc.index))) return undefined
  if (heap.length !== [free, dispose, realloc].filter(one => one !== undefined).length) return undefined
  const found = new Map<number, MallocRole>([
    [malloc.index, 'malloc'],
    [free.index, 'free'],
  ])
  if (realloc !== undefined) found.set(realloc.index, 'realloc')
  for (const one of shapes) {
    if (found.has(one.index) || one === dispose) continue
    const { index, type, calls, looks } = one
    if (dispose !== undefined && calls.has(dispose.index)) {
      if (type !== '2:1' || !calls.has(malloc.index)) return undefined
      found.set(index, 'aligned_alloc')
    } else if (looks) {
      const role: MallocRole = type === '2:1' ? 'calloc' : 'malloc_usable_size'
      const fits = role === 'calloc' ? calls.has(malloc.index) : type === '1:1' && calls.size === 0
      if (!fits || [...found.values()].includes(role)) return undefined
      found.set(index, role)
    }
  }
  return found
}

/** malloc and free alone, where the rest of the family can't be told; undefined where they are not surely Doug Lea's. */
export function findMallocAndFree(module: Module): MallocFunctions | undefined {
  const { malloc, free } = coreOf(module)
  if (malloc === undefined || free === undefined) return undefined
  return new Map<number, MallocRole>([
    [malloc.index, 'malloc'],
    [free.index, 'free'],
  ])
}

interface Core {
  readonly malloc: Shape | undefined
  readonly free: Shape | undefined
  /** All but malloc that work on its state. */
  readonly heap: readonly Shape[]
  readonly shapes: readonly Shape[]
}

function coreOf(module: Module): Core {
  const shapes = shapesOf(module)
  const malloc = only(shapes.filter(one => one.type === '1:1' && one.numbers.has(magic)))
  if (malloc === undefined) return { malloc, free: undefined, heap: [], shapes }
  const state = new Set([...malloc.numbers].filter(number => number >= 1024 && number !== magic))
  const known = (one: Shape): number => [...one.numbers].filter(number => state.has(number)).length
  const heap = shapes.filter(one => one !== malloc && known(one) >= some)
  return { malloc, free: only(heap.filter(one => one.type === '1:0')), heap, shapes }
}

const only = (found: readonly Shape[]): Shape | undefined => (found.length === 1 ? found[0] : undefined)

function shapesOf(module: Module): Shape[] {
  const first = importCount(module, 'func')
  const cursor = new Cursor(new Uint8Array(0), 0)
  return module.functions.map(({ type, body, offset }, n) => {
    const numbers = new Set<number>()
    const calls = new Set<number>()
    const passes = new Set<number>()
    let second = true
    let last = -1
    let looks = 0
    cursor.reset(body, offset)
    while (cursor.next()) {
      const { op } = cursor
      looks = looked(cursor, looks)
      if (op === OP['i32.const']) numbers.add(cursor.i32)
      else if (op === OP.call) {
        calls.add(cursor.index)
        if (second && last === 1) passes.add(cursor.index)
      } else if (isAccess(op) && cursor.offset >= 1024) numbers.add(cursor.offset)
      if (op === OP['local.set'] || op === OP['local.tee']) second &&= cursor.index !== 1
      last = op === OP['local.get'] ? cursor.index : -1
    }
    const { params = [], results = [] } = module.types[type] ?? {}
    const words = [...params, ...results].every(one => one === I32)
    return {
      index: first + n,
      type: words ? `${params.length}:${results.length}` : '',
      numbers,
      calls,
      passes,
      looks: looks === done,
    }
  })
}

const done = 5

// How far the instructions up to this one have come in: -4, add (or 4, sub), load, 3, and. A local may keep what is on the way.
function looked(i: Cursor, before: number): number {
  const { op } = i
  if (before === done || op === OP['local.tee']) return before
  const number = op === OP['i32.const']
  if (before === 3 && number && i.i32 === 3) return 4
  if (number) return i.i32 === -4 ? 1 : i.i32 === 4 ? -1 : 0
  if ((before === 1 && op === OP['i32.add']) || (before === -1 && op === OP['i32.sub'])) return 2
  if (before === 2 && (op === OP['i32.load'] || op === OP['i32.load8_u'])) return 3
  return before === 4 && op === OP['i32.and'] ? done : 0
}
