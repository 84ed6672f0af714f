/**
 * The byte loops, in WebAssembly. Each class is one instance with its own memory; callers read() straight into
 * the views it shows, then call. Nothing here allocates after construction except `SearchKernel.reset`, which
 * may grow the memory for a larger index and so replaces every view: take views after it, not before.
 *
 * Built by scripts/build.mjs into this folder (and beside the compiled file in dist/).
 */
import { readFileSync } from 'node:fs'

export const PAGE = 4096

/** What we use of WebAssembly; neither es2024 nor @types/node declares it. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => WasmModule
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, Readonly<Record<string, () => never>>>>,
  ) => { readonly exports: unknown }
}

type WasmModule = object

export interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(wasmPages: number): number
}

interface PagesExports {
  readonly memory: WasmMemory
  equalPages(a: number, b: number, out: number, pages: number): number
  equalPrefix(a: number, b: number, pages: number): number
  equalSuffix(a: number, b: number, pages: number): number
  isZero(at: number, length: number): number
  zeroPages(at: number, out: number, pages: number): number
  hashPage(at: number, key: number, out: number): void
}

interface SearchExports extends PagesExports {
  setup(table: number, slots: number, level: number, ladder: number, scratch: number, records: number): void
  entries(): number
  isFull(): number
  resetLadder(): void
  resetRuns(): void
  sample(at: number, positions: number, toPosition: bigint, out: number): number
  sampleBlock(
    at: number,
    positions: number,
    position: number,
    level: number,
    out: number,
    spare: number,
  ): number
  insertRecords(at: number, end: number, base: number): void
  probePage(at: number, out: number): number
  findPaths(at: number, length: number, out: number, most: number): number
}

const modules = new Map<string, WasmModule>()

/** A new instance of a kernel, as its exports. */
export function instantiate(name: string): unknown {
  let module = modules.get(name)
  if (!module) {
    module = new WebAssembly.Module(readFileSync(new URL(`./${name}.wasm`, import.meta.url)))
    modules.set(name, module)
  }
  const abort = (): never => {
    throw new Error(`lethe: the ${name} kernel aborted`)
  }
  return new WebAssembly.Instance(module, { env: { abort } }).exports
}

/** Where our buffers begin: below lies what the kernel's own constants take. */
export const START = 65536

export function reserve(memory: WasmMemory, bytes: number): void {
  const missing = Math.ceil((bytes - memory.buffer.byteLength) / 65536)
  if (missing > 0) memory.grow(missing)
}

/** Two buffers of `capacity` pages and a byte a page for answers, all in one memory: the pager's comparison. */
export class PageKernel {
  readonly capacity: number
  readonly a: Uint8Array
  readonly b: Uint8Array
  /** One byte a page: 1 where `equalPages` or `zeroPages` found what it looks for. */
  readonly out: Uint8Array
  readonly #wasm: PagesExports

  constructor(capacity: number) {
    this.capacity = capacity
    this.#wasm = instantiate('pages') as PagesExports
    const bytes = capacity * PAGE
    reserve(this.#wasm.memory, START + 2 * bytes + capacity + 64)
    const { buffer } = this.#wasm.memory
    this.a = new Uint8Array(buffer, START, bytes)
    this.b = new Uint8Array(buffer, START + bytes, bytes)
    this.out = new Uint8Array(buffer, START + 2 * bytes, capacity)
  }

  /** Compares the first `pages` pages of `a` and `b` into `out`; the number of equal ones. */
  equalPages(pages: number): number {
    this.#check(pages)
    return this.#wasm.equalPages(this.a.byteOffset, this.b.byteOffset, this.out.byteOffset, pages)
  }

  /** Marks the zero pages among the first `pages` pages of `a` in `out`; their number. */
  zeroPages(pages: number): number {
    this.#check(pages)
    return this.#wasm.zeroPages(this.a.byteOffset, this.out.byteOffset, pages)
  }

  #check(pages: number): void {
    if (pages > this.capacity) throw new RangeError(`${pages} pages in a kernel for ${this.capacity}`)
  }
}

/** Bytes of a record of the index, as sampleBlock writes them and insertRecords takes them. */
export const RECORD = 12
/** Bytes of a file looked at in one go, and of memory. */
export const BLOCK = 262144
export const SCAN_PAGES = 256
/** A block is followed by this many bytes that belong to the next, so that anchors at its end have their tag. */
export const OVERLAP = 31
const SLACK = 128
/** As in assembly/sample.ts: positions of a window, and echoes that one without anchors can have. */
const WINDOW = 2048
const MOST_ECHOES = 160
const MOST_PLACES = 32
export const MOST_PATHS = 4096

/** The search: memory and file buffers, the index of anchors, the question where a page could come from. */
export class SearchKernel {
  /** Bytes of the table that `reset` was last asked for. */
  tableBytes = 0
  readonly #wasm: SearchExports
  readonly #memory: number
  readonly #file: number
  readonly #records: number
  readonly #spare: number
  readonly #ladder: number
  readonly #scratch: number
  readonly #places: number
  readonly #table: number
  #buffer: ArrayBuffer
  #views: Views

  constructor() {
    this.#wasm = instantiate('search') as SearchExports
    let at = START
    const take = (bytes: number): number => {
      const here = at
      at += Math.ceil(bytes / 64) * 64
      return here
    }
    this.#memory = take(SCAN_PAGES * PAGE + SLACK)
    this.#file = take(SCAN_PAGES * PAGE + SLACK)
    this.#records = take((BLOCK + 16384) * RECORD)
    this.#spare = take((BLOCK / WINDOW + 1) * (MOST_ECHOES + 1) * RECORD)
    this.#ladder = take(2 * (256 * 32 + 256 * 8))
    this.#scratch = take(2 * MOST_PLACES * 8)
    this.#places = take(MOST_PLACES * 8)
    this.#table = take(0)
    reserve(this.#wasm.memory, this.#table + 8 * 4096)
    this.#buffer = this.#wasm.memory.buffer
    this.#views = this.#makeViews()
    this.reset(4096, 0)
  }

  /** SCAN_PAGES pages of the memory under search. */
  get memory(): Uint8Array {
    return this.#views.memory
  }

  /** Bytes of a file: a block with its overlap to be sampled, or pages to be compared with `memory`. */
  get file(): Uint8Array {
    return this.#views.file
  }

  /** The places that the last `probe` found: positions in the index of the page's first byte. */
  get places(): Float64Array {
    return this.#views.places
  }

  /** Starts an empty index of `slots` entries that takes anchors of `level` and up. */
  reset(slots: number, level: number): void {
    const before = this.tableBytes
    this.tableBytes = slots * 8
    reserve(this.#wasm.memory, this.#table + this.tableBytes)
    if (this.#buffer !== this.#wasm.memory.buffer) {
      this.#buffer = this.#wasm.memory.buffer
      this.#views = this.#makeViews()
    }
    new Uint8Array(this.#buffer, this.#table, Math.min(before, this.tableBytes)).fill(0)
    if (before > this.tableBytes)
      new Uint8Array(this.#buffer, this.#table + this.tableBytes, before - this.tableBytes).fill(0)
    this.#wasm.setup(this.#table, slots, level, this.#ladder, this.#scratch, this.#records)
  }

  get entries(): number {
    return this.#wasm.entries()
  }

  /** Whether the table had no room for an anchor: what it answers is then not to be relied on. */
  get full(): boolean {
    return this.#wasm.isFull() !== 0
  }

  /** A new file begins: what was before has nothing to do with what comes. */
  beginFile(): void {
    this.#wasm.resetLadder()
    this.#wasm.resetRuns()
  }

  /** Whether the first `bytes` bytes of `file` (up to a multiple of 64) are all zero. */
  fileIsZero(bytes: number): boolean {
    return this.#wasm.isZero(this.#file, bytes & ~63) !== 0 && (bytes & 63) === 0
  }

  /** Samples `positions` positions of `file`, which lie at `position` of the file. The records, until the next call. */
  sampleFile(positions: number, position: number, level: number): Uint8Array {
    const end = this.#wasm.sampleBlock(this.#file, positions, position, level, this.#records, this.#spare)
    return this.#views.all.subarray(this.#records, end)
  }

  /** Puts records into the index. They may be what `sampleFile` gave, or read from a cache. */
  insert(records: Uint8Array, base: number): void {
    let at = records.byteOffset
    if (records.buffer !== this.#buffer) {
      this.#views.all.set(records, this.#records)
      at = this.#records
    }
    this.#wasm.insertRecords(at, at + records.length, base)
  }

  /** How many records `insert` takes at once. */
  get mostRecords(): number {
    return BLOCK
  }

  /** Where could page `page` of `memory` come from? The number of places put in `places`. */
  probe(page: number): number {
    return this.#wasm.probePage(this.#memory + page * PAGE, this.#places)
  }

  isZero(page: number): boolean {
    return this.#wasm.isZero(this.#memory + page * PAGE, PAGE) !== 0
  }

  /** The keyed 64-bit hash of a page of `memory`, into two words at `at` of `into`. */
  hash(page: number, key: number, into: Uint32Array, at: number): void {
    this.#wasm.hashPage(this.#memory + page * PAGE, key, this.#scratch)
    const words = this.#views.hash
    into[at] = words[0] ?? 0
    into[at + 1] = words[1] ?? 0
  }

  /** Pages of `memory` from `page` on that equal those of `file` from its start, before the first that differs. */
  prefix(page: number, pages: number): number {
    return this.#wasm.equalPrefix(this.#memory + page * PAGE, this.#file, pages)
  }

  /** Pages that are equal, counted backwards from the last of `pages`. */
  suffix(page: number, pages: number): number {
    return this.#wasm.equalSuffix(this.#memory + page * PAGE, this.#file, pages)
  }

  /** Calls back for each absolute path in the first `bytes` bytes of `memory`. */
  paths(bytes: number, found: (path: string) => void): void {
    const count = this.#wasm.findPaths(this.#memory, bytes, this.#records, MOST_PATHS)
    const pairs = new Uint32Array(this.#buffer, this.#records, count * 2)
    for (let i = 0; i < count; i++) {
      const at = pairs[2 * i] ?? 0
      found(Buffer.from(this.#buffer, at, pairs[2 * i + 1] ?? 0).toString())
    }
  }

  /** Anchors among the first `bytes` bytes of `file`: for the benchmark. */
  countAnchors(bytes: number): number {
    return (this.#wasm.sample(this.#file, bytes, 0n, this.#records) - this.#records) / RECORD
  }

  #makeViews(): Views {
    const { buffer } = this.#wasm.memory
    return {
      all: new Uint8Array(buffer),
      memory: new Uint8Array(buffer, this.#memory, SCAN_PAGES * PAGE),
      file: new Uint8Array(buffer, this.#file, SCAN_PAGES * PAGE + SLACK),
      places: new Float64Array(buffer, this.#places, MOST_PLACES),
      hash: new Uint32Array(buffer, this.#scratch, 2),
    }
  }
}

interface Views {
  readonly all: Uint8Array
  readonly memory: Uint8Array
  readonly file: Uint8Array
  readonly places: Float64Array
  readonly hash: Uint32Array
}
