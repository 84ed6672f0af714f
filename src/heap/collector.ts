/**
 * A heap that frees by itself: mark and sweep on top of `best`, as the lecture has it.
 *
 *   const gc = new Collector()
 *   const node = gc.defineType({ size: 12, pointers: [4, 8] })     // word 0 of an object is its type
 *   const a = gc.allocate(node)
 *   gc.roots.add(a)
 *   gc.write(a, 4, gc.allocate(node))                              // the barrier: needed while marking goes on in steps
 *   gc.collect()
 *
 * A pointer that is only in a JavaScript variable keeps nothing alive: what must live is a root, lies in a root range, or is named by
 * something that lives. Allocation collects when the heap has grown by `growth` since the last collection, and when memory is out.
 *
 * Life cycle of a collection: 1. mark from the roots; 2. once more from the roots, as they are now; 3. weak references to what was not
 * reached become 0; 4. finalisers of what was not reached are queued, and what they name is marked; 5. sweep; 6. the queue runs.
 * 1 and 5 can be done in steps (`incremental`, `lazy`); 2 to 4 are one pause.
 */
import * as kernel from './code/collector.ts'
import * as best from './code/best.ts'
import { bind } from './code/words.ts'
import { policy } from './allocator.ts'
import { check } from './check.ts'
import { ArrayMemory, type HeapMemory, STATE } from './memory.ts'
import { instantiate, type LinearMemory, linearMemory, WasmMemory } from './wasm.ts'

export interface CollectorOptions {
  /** 'precise': types say where pointers are. 'conservative': every word that looks like one is one. */
  readonly mode?: 'precise' | 'conservative'
  /** Conservative: pointers into the middle of an object count too. */
  readonly interior?: boolean
  /** Most bytes of heap. Default 1 GiB; as TypeScript 16 MiB. */
  readonly limit?: number
  /** Collect when so many times the bytes that survived were allocated, but not before `least` bytes. Default 1 and 1 MiB. */
  readonly growth?: number
  readonly least?: number
  /** Mark this many objects at each allocation instead of all at once; 0: all at once. */
  readonly incremental?: number
  /** Sweep this many words of the bitmaps (256 bytes of heap each) at each allocation instead of all at once; 0: all at once. */
  readonly lazy?: number
  /** Bytes of the mark stack. Default 4 MiB. */
  readonly stack?: number
  /** Run as TypeScript. */
  readonly script?: boolean
  /** The memory that heap and tables lie in, from `from` (a multiple of 16) on: a wasm program's own. */
  readonly memory?: LinearMemory
  readonly from?: number
  /** 8 or 16. */
  readonly align?: 8 | 16
  /** More roots than `roots` and `rootRanges` have: called when they are marked, twice in a collection. */
  readonly markRoots?: (mark: RootMarker) => void
}

/** Marks what words name. */
export interface RootMarker {
  word(word: number): void
  /** Words of memory. */
  range(from: number, to: number): void
  /** The same for words of a stack: what ends where one points to counts too. */
  stack(from: number, to: number): void
}

/** The compiled functions for a program that allocates without us, as wasm exports: `UnlessDue` answer 0 when it is time for `collect`. */
export interface CollectorFunctions {
  allocateUnlessDue(bytes: number): number
  allocateAlignedUnlessDue(align: number, bytes: number): number
  reallocateUnlessDue(pointer: number, bytes: number): number
  /** A block that is no object: it stays, and nothing in it counts. */
  alignedAlloc(align: number, bytes: number): number
  usableSize(pointer: number): number
}

export interface ObjectType {
  /** Bytes, the type's word included. */
  readonly size: number
  /** Distances of the pointers from the object's begin: multiples of 4, from 4 on. */
  readonly pointers: readonly number[]
}

export interface CollectorStatistics {
  collections: number
  /** Objects and bytes of blocks that the last collection freed; and all did. */
  reclaimed: number
  reclaimedBytes: number
  reclaimedInAll: number
  reclaimedBytesInAll: number
  /** Objects that the last collection marked, and how many a second that was. */
  marked: number
  markedPerSecond: number
  /** Milliseconds: the longest time that one call took for collecting, and all such times. */
  longestPause: number
  pauses: number
}

type Functions = Pick<
  typeof kernel,
  | 'allocateObject'
  | 'beginMarking'
  | 'beginSweeping'
  | 'mark'
  | 'markRange'
  | 'markSome'
  | 'markStack'
  | 'markWord'
  | 'objectAt'
  | 'setupCollector'
  | 'sweepSome'
  | 'tablesSize'
  | 'writePointer'
> & { isObject(p: number): boolean | number; isMarked(p: number): boolean | number }

/** Does not keep its object alive. */
export interface WeakReference {
  /** The object, or 0 once it was found unreachable. */
  pointer: number
}

const EVERYTHING = 0x7fffffff
const LEAST = 1 << 20

export class Collector {
  readonly memory: HeapMemory
  readonly statistics: CollectorStatistics = {
    collections: 0,
    reclaimed: 0,
    reclaimedBytes: 0,
    reclaimedInAll: 0,
    reclaimedBytesInAll: 0,
    marked: 0,
    markedPerSecond: 0,
    longestPause: 0,
    pauses: 0,
  }
  /** Objects that live because the program says so. */
  readonly roots: Set<number> = new Set()
  /** Words of memory that may be pointers: stacks, static variables. Conservative. */
  readonly rootRanges: Set<{ readonly from: number; readonly to: number }> = new Set()
  /** Undefined for one that runs as TypeScript. */
  readonly functions: CollectorFunctions | undefined
  readonly #k: Functions
  readonly #precise: boolean
  readonly #extra: ((mark: RootMarker) => void) | undefined
  readonly #options: Required<Pick<CollectorOptions, 'growth' | 'incremental' | 'lazy' | 'least'>>
  readonly #types: ObjectType[] = []
  #typeWords = 0
  #typesAt: number
  #markTime = 0
  readonly #weak = new Set<WeakReference>()
  readonly #finalisers = new Map<number, (pointer: number) => void>()
  #queue: (() => void)[] = []

  constructor(options: CollectorOptions = {}) {
    const { growth = 1, incremental = 0, lazy = 0, stack = 1 << 22, script = false } = options
    const { from = 16, align = 8, least = LEAST, memory: given } = options
    this.#options = { growth, incremental, lazy, least }
    this.#extra = options.markRoots
    this.#precise = options.mode !== 'conservative'
    const limit = options.limit ?? (script ? 1 << 24 : 1 << 30)
    const tables = kernel.tablesSize(limit, stack)
    const base = from + Math.ceil(tables / 4096) * 4096
    if (script) {
      const memory = new ArrayMemory(new ArrayBuffer(base + STATE + limit), base)
      this.memory = memory
      this.#k = bound(memory)
      bind(memory)
      best.setup(align)
    } else {
      const memory = given ?? linearMemory()
      const missing = Math.ceil((base + STATE - memory.buffer.byteLength) / 65_536)
      if (missing > 0) memory.grow(missing)
      const wasm = instantiate('collector', memory) as Functions &
        CollectorFunctions & {
          place(base: number, limit: number): void
          currentBreak(): number
          setup(align: number): void
        }
      wasm.place(base, base + STATE + limit)
      wasm.setup(align)
      this.memory = new WasmMemory(memory, base, wasm.currentBreak)
      this.#k = wasm
      this.functions = wasm
    }
    const mode = this.#precise ? kernel.PRECISE : options.interior ? kernel.INTERIOR : kernel.CONSERVATIVE
    this.#k.setupCollector(from, limit, stack, mode)
    this.#typesAt = from + 2 * ((limit >>> 6) + 4)
    this.#noteDue()
    // Type 0: an array of pointers.
    this.#writeType([kernel.ARRAY])
    this.#types.push({ size: 0, pointers: [] })
  }

  /** The number of an array's type: every word but the first is a pointer. */
  readonly array = 0

  #variable(name: number): number {
    return this.memory.load32(this.memory.base + name)
  }
  #writeType(words: readonly number[]): number {
    if (this.#typeWords + words.length > kernel.TYPES)
      throw new RangeError(`No room for another type: ${kernel.TYPES} words are used`)
    const type = this.#typeWords
    for (const word of words) this.memory.store32(this.#typesAt + 4 * this.#typeWords++, word)
    return type
  }

  /** The number of a new type, which `allocate` writes into the first word of its objects. RangeError for impossible distances. */
  defineType(type: ObjectType): number {
    for (const at of type.pointers)
      if (!Number.isInteger(at) || at % 4 !== 0 || at < 4 || at + 4 > type.size)
        throw new RangeError(`Invalid pointer at ${at} in a type of ${type.size} bytes`)
    const number = this.#writeType([type.pointers.length, ...type.pointers])
    this.#types[number] = type
    return number
  }

  /** A new object of a type, its fields zero; 0 where memory is out even after a collection. For arrays, `bytes` with the type's word. */
  allocate(type: number, bytes?: number): number {
    const known = this.#types[type]
    if (known === undefined) throw new RangeError(`Invalid type ${type}`)
    const p = this.allocateBytes(bytes ?? known.size)
    if (p !== 0) this.memory.store32(p, type)
    return p
  }

  /** A new object of zeros without a type, for conservative collectors; 0 where memory is out. */
  allocateBytes(bytes: number): number {
    this.#work()
    let p = this.#k.allocateObject(bytes)
    if (p === 0) {
      this.collect()
      p = this.#k.allocateObject(bytes)
    }
    return p
  }

  // What is due at an allocation.
  #work(): void {
    const phase = this.#variable(kernel.PHASE)
    if (phase === kernel.IDLE) {
      if (this.#variable(kernel.ALLOCATED_BYTES) >= this.#variable(kernel.DUE)) this.#begin()
      return
    }
    const began = performance.now()
    if (phase === kernel.MARKING) this.step(this.#options.incremental)
    else this.#sweep(this.#options.lazy)
    this.#paused(performance.now() - began)
  }

  // After so many bytes more the next collection begins.
  #noteDue(): void {
    const { growth, least } = this.#options
    const due = Math.max(least, this.liveBytes * growth)
    this.memory.store32(this.memory.base + kernel.DUE, Math.min(EVERYTHING, due))
  }

  #begin(): void {
    if (this.#options.incremental === 0) this.collect(this.#options.lazy > 0)
    else this.startMarking()
  }

  /** Begins a collection whose marking goes on with `step`, or by itself at allocations. */
  startMarking(): void {
    if (this.#variable(kernel.PHASE) === kernel.SWEEPING) this.#sweep(EVERYTHING)
    if (this.#variable(kernel.PHASE) === kernel.MARKING) return
    this.#markTime = 0
    this.#k.beginMarking()
    this.#markRoots()
  }

  /** Marks up to `budget` objects; when none is left, ends the marking and begins to sweep. Whether the marking has ended. */
  step(budget: number): boolean {
    if (this.#variable(kernel.PHASE) !== kernel.MARKING) return true
    const began = performance.now()
    const more = this.#k.markSome(budget)
    this.#markTime += performance.now() - began
    if (more) return false
    this.#finishMarking()
    if (this.#options.lazy === 0) this.#sweep(EVERYTHING)
    return true
  }

  /** A whole collection; with `lazy` the sweep is left to the allocations that follow. */
  collect(lazy = false): void {
    const began = performance.now()
    this.startMarking()
    this.#finishMarking()
    if (!lazy) this.#sweep(EVERYTHING)
    this.#paused(performance.now() - began)
  }

  #markRoots(): void {
    for (const root of this.roots) if (this.#k.isObject(root)) this.#k.mark(root)
    for (const { from, to } of this.rootRanges) this.#k.markRange(from, to)
    this.#extra?.({ word: this.#k.markWord, range: this.#k.markRange, stack: this.#k.markStack })
  }

  #finishMarking(): void {
    const began = performance.now()
    this.#markRoots()
    this.#k.markSome(EVERYTHING)
    this.#markTime += performance.now() - began
    const { statistics } = this
    statistics.marked = this.#variable(kernel.MARKED)
    statistics.markedPerSecond = (statistics.marked / this.#markTime) * 1000
    for (const weak of this.#weak)
      if (!this.#k.isMarked(weak.pointer)) {
        weak.pointer = 0
        this.#weak.delete(weak)
      }
    for (const [pointer, callback] of this.#finalisers)
      if (!this.#k.isMarked(pointer)) {
        this.#finalisers.delete(pointer)
        this.#queue.push(() => callback(pointer))
        this.#k.mark(pointer)
      }
    this.#k.markSome(EVERYTHING)
    this.#k.beginSweeping()
  }

  #sweep(budget: number): void {
    if (this.#variable(kernel.PHASE) !== kernel.SWEEPING) return
    if (this.#k.sweepSome(budget)) return
    const { statistics } = this
    statistics.collections++
    statistics.reclaimed = this.#variable(kernel.RECLAIMED)
    statistics.reclaimedBytes = this.#variable(kernel.RECLAIMED_BYTES)
    statistics.reclaimedInAll += statistics.reclaimed
    statistics.reclaimedBytesInAll += statistics.reclaimedBytes
    this.#noteDue()
    const due = this.#queue
    this.#queue = []
    for (const run of due) run()
  }

  #paused(milliseconds: number): void {
    this.statistics.pauses += milliseconds
    this.statistics.longestPause = Math.max(this.statistics.longestPause, milliseconds)
  }

  /** The word at a distance in an object. */
  read(object: number, distance: number): number {
    return this.memory.load32(object + distance)
  }
  /** Writes a pointer into an object. */
  write(object: number, distance: number, pointer: number): void {
    this.#k.writePointer(object, distance, pointer)
  }

  /** A reference that becomes 0 when its object is found unreachable. */
  weak(pointer: number): WeakReference {
    const reference = { pointer }
    this.#weak.add(reference)
    return reference
  }
  /**
   * `callback` runs once, after the collection that finds the object unreachable; the object and what it names are still whole
   * then, and are freed by a later collection unless the callback makes them reachable.
   */
  finalise(pointer: number, callback: (pointer: number) => void): void {
    this.#finalisers.set(pointer, callback)
  }

  /** Whether an object begins at `pointer` (reachable, or garbage that is not freed yet). */
  isObject(pointer: number): boolean {
    return Boolean(this.#k.isObject(pointer))
  }
  /** The object that a word would keep alive, or 0. */
  objectAt(word: number): number {
    return this.#k.objectAt(word)
  }
  /** Objects that are alive or not yet freed. */
  get objects(): number {
    return this.#variable(kernel.OBJECTS)
  }
  /** Bytes that these objects can use. */
  get liveBytes(): number {
    return this.#variable(kernel.LIVE_BYTES)
  }
  /** Bytes of heap. */
  get size(): number {
    return this.memory.brk - this.memory.base - STATE
  }
  /** What is broken in the heap, in one sentence; undefined if nothing is. */
  check(): string | undefined {
    return check(this.memory, policy())
  }
  /** The pointers in an object, as a collection sees them: distances and the objects that they name. */
  *pointersOf(object: number): Generator<readonly [distance: number, target: number]> {
    bind(this.memory)
    const usable = best.usableSize(object)
    const known = this.#precise ? this.#types[this.memory.load32(object)] : undefined
    const pointers = known === undefined || known.size === 0 ? undefined : known.pointers
    if (pointers !== undefined) {
      for (const at of pointers) if (this.read(object, at) !== 0) yield [at, this.read(object, at)]
      return
    }
    for (let at = this.#precise ? 4 : 0; at + 4 <= usable; at += 4) {
      const target = this.objectAt(this.read(object, at))
      if (target !== 0) yield [at, target]
    }
  }
}

// The functions as TypeScript, on this memory.
function bound(memory: HeapMemory): Functions {
  const on =
    <A extends unknown[], R>(f: (...given: A) => R): ((...given: A) => R) =>
    (...given) => {
      bind(memory)
      return f(...given)
    }
  return {
    allocateObject: on(kernel.allocateObject),
    beginMarking: on(kernel.beginMarking),
    beginSweeping: on(kernel.beginSweeping),
    isMarked: on(kernel.isMarked),
    isObject: on(kernel.isObject),
    mark: on(kernel.mark),
    markRange: on(kernel.markRange),
    markSome: on(kernel.markSome),
    markStack: on(kernel.markStack),
    markWord: on(kernel.markWord),
    objectAt: on(kernel.objectAt),
    setupCollector: on(kernel.setupCollector),
    sweepSome: on(kernel.sweepSome),
    tablesSize: kernel.tablesSize,
    writePointer: on(kernel.writePointer),
  }
}
