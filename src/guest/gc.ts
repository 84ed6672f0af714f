// A guest without free: its heap is collected from outside, conservatively, by the mark and sweep of src/heap.
//
//   malloc, calloc, realloc, aligned_alloc → an object of the collector's, or a collection first when one is due
//   free                                   → counted; nothing else
//
// Roots are all words that may hold a pointer: what the guest had of memory at first (data, bss, stack), what it has grown itself, its mutable
// globals, and what its functions under way still need (gc-roots.ts). A pointer to any byte of a block keeps it; so do the address just behind it, if
// that is on a stack, and whatever only looks like a pointer. What of the memory was stack and is below the stack pointer now is left out.
//
// Not seen: pointers at addresses that are not a multiple of 4, pointers that are coded (XOR lists, offsets), or kept outside (a file).
import { Collector, type RootMarker } from '../heap/collector.ts'
import { I32, importCount, type Module } from '../wasm/module.ts'
import { Cursor } from '../wasm/instructions.ts'
import { readNames } from '../wasm/names.ts'
import { OP } from '../wasm/opcode-table.ts'
import { engine, type EngineGlobal, type EngineInstance, type EngineMemory } from './engine.ts'
import { GuestError } from './errors.ts'
import { globalName, rootsName, spillRoots, topName } from './gc-roots.ts'
import type { RunOptions } from './instance.ts'
import { limitsOf, most, wasmPage } from './malloc.ts'
import type { MallocFunctions } from './malloc-functions.ts'
import { importedMemory, mallocImports, replaceMalloc } from './malloc-passes.ts'

/** Allocated before a first collection, and between two: a smaller heap is not worth the time. */
const worthwhile = 4 << 20

/** What came of a run. Bytes are those that the guest can use; milliseconds. */
export interface GcCounts {
  readonly mallocs: number
  /** Frees that were not done. */
  readonly frees: number
  readonly collections: number
  readonly reclaimed: number
  readonly reclaimedBytes: number
  /** Alive or not yet found to be garbage, at the end. */
  readonly objects: number
  readonly bytes: number
  /** The heap's size: it never shrinks, so this is also the most it was. */
  readonly heap: number
  readonly longestPause: number
  readonly pauses: number
  readonly marked: number
  readonly markedPerSecond: number
  /** Words of roots that the last collection looked at in locals and operands. */
  readonly rootWords: number
}

/** Where the stack pointer is, and where the stack begins: it grows down from there. */
interface StackPointer {
  readonly global: number
  readonly top: number
}

/** A guest's heap without free, for one run. */
export class GuestCollector {
  readonly options: RunOptions
  readonly #collector: Collector
  readonly #memory
  #rootWords = new Int32Array(0)
  /** Bytes of the memory that the guest had at first. */
  readonly #initial: number
  readonly #stack: StackPointer | undefined
  readonly #globals: EngineGlobal[] = []
  /** Memory that the guest has grown itself: nothing of it is ever freed, all of it is roots. */
  readonly #grown: { readonly from: number; readonly to: number }[] = []
  #top: EngineGlobal = { value: 0 }
  #stackPointer: EngineGlobal | undefined
  /** The lowest that the stack pointer was seen at. */
  #lowest: number
  /** A block that is being resized. */
  #held = 0
  #mallocs = 0
  #frees = 0
  #seen = 0

  /**
   * Collects when `growth` (1) times the bytes that survived have been allocated, and `least` at least. GuestError 'option' for a guest whose heap
   * can't be collected.
   */
  constructor(
    module: Module,
    functions: MallocFunctions,
    { growth = 1, least = worthwhile }: { readonly growth?: number; readonly least?: number } = {},
  ) {
    const { min, max } = limitsOf(module)
    const maximum = module.memories.length > 0 || max === undefined ? {} : { maximum: max }
    this.#memory = new engine.Memory({ initial: min, ...maximum })
    this.#initial = min * wasmPage
    this.#stack = stackPointerOf(module, this.#initial)
    this.#lowest = this.#stack?.top ?? 0
    this.#collector = new Collector({
      mode: 'conservative',
      interior: true,
      memory: this.#memory,
      from: this.#initial,
      limit: heapLimit(this.#initial),
      align: 16,
      growth,
      least,
      markRoots: mark => this.#markRoots(mark),
    })
    const k = this.#collector.functions
    if (k === undefined) throw new GuestError('impossible', 'The collector is not compiled')
    const sure = (allocate: () => number): number => {
      this.#mallocs++
      const p = allocate()
      if (p !== 0) return p
      this.#collector.collect()
      return allocate()
    }
    const malloc = (bytes: number): number => sure(() => k.allocateUnlessDue(bytes))
    this.options = {
      passes: [spillRoots(functions), replaceMalloc(functions)],
      memory: this.#memory,
      imports: {
        [mallocImports]: {
          [importedMemory]: this.#memory,
          malloc,
          calloc: malloc,
          free: (pointer: number) => {
            if (pointer !== 0) this.#frees++
          },
          realloc: (pointer: number, bytes: number) => {
            this.#held = pointer
            const p = sure(() => k.reallocateUnlessDue(pointer, bytes))
            this.#held = 0
            return p
          },
          alignedAlloc: (align: number, bytes: number) =>
            sure(() => k.allocateAlignedUnlessDue(align, bytes)),
          usableSize: k.usableSize,
          pages: (bytes: number) => {
            const from = k.alignedAlloc(wasmPage, bytes)
            if (from !== 0) this.#grown.push({ from, to: from + bytes })
            return from
          },
        },
      },
      ready: ({ instance }) => this.#attach(instance),
    }
  }

  #attach({ exports }: EngineInstance): void {
    this.#top = exports[topName] as EngineGlobal
    this.#rootWords = new Int32Array((exports[rootsName] as EngineMemory).buffer)
    for (const [name, value] of Object.entries(exports))
      if (name.startsWith(globalName(0).slice(0, -1))) this.#globals.push(value as EngineGlobal)
    if (this.#stack !== undefined)
      this.#stackPointer = exports[globalName(this.#stack.global)] as EngineGlobal | undefined
  }

  #markRoots(mark: RootMarker): void {
    const word = (value: number): void => {
      mark.word(value)
      mark.word(value - 1)
    }
    word(this.#held)
    for (const { value } of this.#globals) {
      const bits = BigInt(value)
      word(Number(BigInt.asIntN(32, bits)))
      if (typeof value === 'bigint') word(Number(BigInt.asIntN(32, bits >> 32n)))
    }
    const words = (this.#top.value as number) >> 2
    for (let i = 0; i < words; i++) word(this.#rootWords[i] as number)
    this.#seen = words
    for (const { from, to } of this.#grown) mark.range(from, to)
    this.#markStatic(mark)
  }

  // What the guest had at first: data and stack, but not what was stack and is none now.
  #markStatic(mark: RootMarker): void {
    const now = Number(this.#stackPointer?.value ?? 0) >>> 0
    const { top } = this.#stack ?? { top: 0 }
    if (now === 0 || now > top || now % 4 !== 0) return mark.range(0, this.#initial)
    this.#lowest = Math.min(this.#lowest, now)
    mark.range(0, this.#lowest)
    mark.stack(now, top)
    mark.range(top, this.#initial)
  }

  /** What came of it, so far. */
  counts(): GcCounts {
    const { statistics, objects, liveBytes, size } = this.#collector
    return {
      mallocs: this.#mallocs,
      frees: this.#frees,
      collections: statistics.collections,
      reclaimed: statistics.reclaimedInAll,
      reclaimedBytes: statistics.reclaimedBytesInAll,
      objects,
      bytes: liveBytes,
      heap: size,
      longestPause: statistics.longestPause,
      pauses: statistics.pauses,
      marked: statistics.marked,
      markedPerSecond: statistics.markedPerSecond,
      rootWords: this.#seen,
    }
  }

  /** What is broken in the heap; undefined if nothing is. */
  check(): string | undefined {
    return this.#collector.check()
  }
}

// The heap and its tables (a bit twice for 8 bytes, and less) have to end below 2 GiB.
function heapLimit(initial: number): number {
  const room = most - initial - (8 << 20)
  const limit = Math.floor(((room / 34) * 32) / 4096) * 4096
  if (limit >= 1 << 20) return limit
  throw new GuestError(
    'option',
    '--gc: the guest has so much memory of its own that there is no room for a heap below 2 GiB',
  )
}

// By its name; or the first global, as LLVM has it, if it can be one. A guest that exchanges its stack for others is looked at whole.
function stackPointerOf(module: Module, initial: number): StackPointer | undefined {
  if (module.exports.some(({ name }) => name.startsWith('asyncify_'))) return undefined
  const first = importCount(module, 'global')
  const named = [...readNames(module).globals].find(([, name]) => name === '__stack_pointer')?.[0]
  const exported = module.exports.find(one => one.kind === 'global' && one.name === '__stack_pointer')?.index
  const global = named ?? exported ?? first
  const { type, mutable, init } = module.globals[global - first] ?? {}
  if (type !== I32 || mutable !== true || init === undefined) return undefined
  const cursor = new Cursor(init.bytes, 0)
  if (!cursor.next() || cursor.op !== OP['i32.const']) return undefined
  const top = cursor.i32 >>> 0
  return top > 0 && top % 16 === 0 && top <= initial ? { global, top } : undefined
}
