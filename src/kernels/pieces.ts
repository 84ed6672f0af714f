/** Pieces kernel: which parts of a page lie in a file, which of its words count or stay the same. */
import { instantiate, PAGE, reserve, START, type WasmMemory } from './index.ts'

/** Pages of memory that are looked at in one go. */
export const PIECE_PAGES = 64
/** Bytes of a file that are indexed in one go. */
export const PIECE_BLOCK = 262_144
/** A window of a file: this many bytes, and a page more on both sides. */
export const WINDOW = 65_536
const WINDOWS = 48
const SLACK = 64
const PROBE = 40
const SEQUENCE = 24

interface PiecesExports {
  readonly memory: WasmMemory
  setup(table: number, slots: number, list: number): void
  isFull(): number
  isZero(at: number, length: number): number
  hashPage(at: number, key: number, out: number): void
  insertBlock(at: number, length: number, position: number, bits: number, align: number): void
  probe(at: number, length: number, bits: number, align: number, out: number): number
  tryMemory(at: number, length: number, plane: number, bits: number, align: number): number
  tryFile(at: number, length: number, bits: number, align: number, counts: number): void
  extend(m: number, low: number, high: number, f: number, fileLow: number, fileHigh: number): number
  goesOn(m: number, high: number, f: number, fileHigh: number, reach: number): number
  nearby(m: number, low: number, high: number, fileLow: number, fileHigh: number): number
  gather(at: number, length: number, stride: number, column: number, width: number, out: number): number
  sequences(at: number, mask: number, out: number): number
  leftOver(at: number, mask: number, out: number): number
  zeros(at: number, length: number): number
}

/** A part of a file in the kernel's memory: byte `from` of it stands at `address`. */
export interface Window {
  readonly address: number
  from: number
  to: number
}

/** Words of a page that count up or stay the same: word `first + i × step` is `value + i × difference`. */
export interface Counting {
  readonly first: number
  readonly step: number
  readonly count: number
  readonly value: bigint
  readonly difference: bigint
}

export class PieceKernel {
  readonly #wasm: PiecesExports
  readonly #memory: number
  readonly #gathered: number
  readonly #mask: number
  readonly #file: number
  readonly #list: number
  readonly #out: number
  readonly #counts: number
  readonly #windows: number
  readonly #table: number
  #tableBytes = 0
  #all: Uint8Array
  #words: DataView
  #words32: Uint32Array
  #words64: Float64Array
  readonly #open = new Map<number, Window>()
  #latest = -1

  constructor() {
    this.#wasm = instantiate('pieces') as PiecesExports
    let at = START
    const take = (bytes: number): number => {
      const here = at
      at += Math.ceil(bytes / 64) * 64
      return here
    }
    this.#memory = take(PIECE_PAGES * PAGE + SLACK)
    this.#gathered = take(PAGE + SLACK)
    this.#mask = take(PAGE)
    this.#file = take(PIECE_BLOCK + SLACK)
    this.#list = take(PIECE_BLOCK * 4)
    this.#out = take(PAGE * PROBE)
    this.#counts = take(256 * 4)
    this.#windows = take(WINDOWS * (WINDOW + 2 * PAGE + SLACK))
    this.#table = take(0)
    reserve(this.#wasm.memory, this.#table + 8 * 4096)
    this.#all = new Uint8Array(this.#wasm.memory.buffer)
    this.#words = new DataView(this.#wasm.memory.buffer)
    this.#words32 = new Uint32Array(this.#wasm.memory.buffer)
    this.#words64 = new Float64Array(this.#wasm.memory.buffer)
    this.reset(4096)
  }

  /** An empty table of `slots` entries: for `insert` and `probe`, or for `tryMemory` and `tryFile`. */
  reset(slots: number): void {
    const before = this.#tableBytes
    this.#tableBytes = slots * 8
    reserve(this.#wasm.memory, this.#table + this.#tableBytes)
    this.#all = new Uint8Array(this.#wasm.memory.buffer)
    this.#words = new DataView(this.#wasm.memory.buffer)
    this.#words32 = new Uint32Array(this.#wasm.memory.buffer)
    this.#words64 = new Float64Array(this.#wasm.memory.buffer)
    this.#all.fill(0, this.#table, this.#table + Math.max(before, this.#tableBytes))
    this.#wasm.setup(this.#table, slots, this.#list)
    this.#open.clear()
    this.#latest = -1
  }

  /** Whether the table had no room for an anchor. */
  get full(): boolean {
    return this.#wasm.isFull() !== 0
  }

  /** PIECE_PAGES pages of the memory under search. Valid until the next `reset`, as are all views. */
  get memory(): Uint8Array {
    return this.#all.subarray(this.#memory, this.#memory + PIECE_PAGES * PAGE)
  }

  /** PIECE_BLOCK bytes of a file, to be indexed. */
  get file(): Uint8Array {
    return this.#all.subarray(this.#file, this.#file + PIECE_BLOCK)
  }

  /** What `gather` has gathered. */
  get gathered(): Uint8Array {
    return this.#all.subarray(this.#gathered, this.#gathered + PAGE)
  }

  /** A byte for each of a page: 1 where it is covered. */
  get mask(): Uint8Array {
    return this.#all.subarray(this.#mask, this.#mask + PAGE)
  }

  isZero(page: number): boolean {
    return this.#wasm.isZero(this.#memory + page * PAGE, PAGE) !== 0
  }

  /** The keyed 64-bit hash of a page. */
  hash(page: number, key: number): bigint {
    this.#wasm.hashPage(this.#memory + page * PAGE, key, this.#out)
    return this.#words.getBigUint64(this.#out, true)
  }

  /** Indexes the first `length` bytes of `file`, which lie at `position`: one anchor in 2^bits, at multiples of `align`. */
  insert(length: number, position: number, bits: number, align: number): void {
    this.#wasm.insertBlock(this.#file, length, position, bits, align)
  }

  /** Puts a page's own bytes (`plane` 0) or what was gathered of it on trial; the number of new anchors. */
  tryMemory(page: number, bits: number): number {
    return this.#wasm.tryMemory(this.#memory + page * PAGE, PAGE, 0, bits, 1)
  }

  tryGathered(length: number, plane: number, bits: number, align: number): number {
    return this.#wasm.tryMemory(this.#gathered, length, plane, bits, align)
  }

  /** Adds to `counts` the anchors on trial that the first `length` bytes of `file` are the first to hit. */
  tryFile(length: number, bits: number, align: number): void {
    this.#wasm.tryFile(this.#file, length, bits, align, this.#counts)
  }

  /** Anchors hit by plane, since they were last cleared. */
  get counts(): Uint32Array {
    return new Uint32Array(this.#wasm.memory.buffer, this.#counts, 256)
  }

  /** Looks up the anchors of a page; how many are in the index. `anchor` and `place` tell of them, until the next probe. */
  probe(page: number, bits: number): number {
    return this.#wasm.probe(this.#memory + page * PAGE, PAGE, bits, 1, this.#out)
  }

  probeGathered(length: number, bits: number, align: number): number {
    return this.#wasm.probe(this.#gathered, length, bits, align, this.#out)
  }

  /** Where anchor `i` begins, ascending. */
  anchor(i: number): number {
    return this.#words32[(this.#out + i * PROBE) / 4] ?? 0
  }

  /** How many places anchor `i` has in the index. */
  places(i: number): number {
    return this.#words32[(this.#out + i * PROBE) / 4 + 1] ?? 0
  }

  place(i: number, k: number): number {
    return this.#words64[(this.#out + i * PROBE) / 8 + 1 + k] ?? 0
  }

  /** How many of a page's bytes [at, at + length) are zero. */
  zeros(page: number, at: number, length: number): number {
    return this.#wasm.zeros(this.#memory + page * PAGE + at, length)
  }

  /** The window of a source that holds `position`; `load(offset, into)` reads it, and gives the bytes that it had. */
  window(
    source: number,
    position: number,
    load: (offset: number, into: Uint8Array) => number,
  ): Window | undefined {
    const number = Math.floor(position / WINDOW)
    const key = source * 2 ** 32 + number
    let window = this.#open.get(key)
    if (window && key === this.#latest) return position < window.to ? window : undefined
    this.#latest = key
    if (window) {
      // The one used last stands last.
      this.#open.delete(key)
      this.#open.set(key, window)
      return position < window.to ? window : undefined
    }
    if (this.#open.size < WINDOWS)
      window = { address: this.#windows + this.#open.size * (WINDOW + 2 * PAGE + SLACK), from: 0, to: 0 }
    else
      for (const [oldest, one] of this.#open) {
        this.#open.delete(oldest)
        window = one
        break
      }
    if (!window) return undefined
    window.from = Math.max(0, number * WINDOW - PAGE)
    const wanted = (number + 1) * WINDOW + PAGE - window.from
    const into = this.#all.subarray(window.address, window.address + wanted)
    window.to = window.from + load(window.from, into)
    this.#open.set(key, window)
    return position < window.to ? window : undefined
  }

  /**
   * How far a page's bytes around `at` equal the file's around `position`, not below `low` and `fileLow`; [before, from
   * there on].
   */
  extend(page: number, at: number, low: number, window: Window, position: number): [number, number] {
    return this.#extend(this.#memory + page * PAGE, at, low, PAGE, window, position)
  }

  extendGathered(
    length: number,
    at: number,
    low: number,
    window: Window,
    position: number,
  ): [number, number] {
    return this.#extend(this.#gathered, at, low, length, window, position)
  }

  #extend(
    base: number,
    at: number,
    low: number,
    high: number,
    window: Window,
    position: number,
  ): [number, number] {
    const file = window.address + position - window.from
    const both = this.#wasm.extend(
      base + at,
      base + low,
      base + high,
      file,
      window.address,
      window.address + window.to - window.from,
    )
    return [both >>> 16, both & 0xffff]
  }

  /**
   * Where from `at` on, within `reach` bytes, a page goes on with what the file has at `position` or up to three bytes
   * behind it: [offset in the page, position in the file].
   */
  goesOn(
    page: number,
    at: number,
    window: Window,
    position: number,
    reach: number,
  ): [number, number] | undefined {
    const base = this.#memory + page * PAGE
    const both = this.#wasm.goesOn(
      base + at,
      base + PAGE,
      window.address + position - window.from,
      window.address + window.to - window.from,
      reach,
    )
    return both < 0 ? undefined : [at + (both & 0xffff), position + (both >>> 16)]
  }

  /** Where in a window do the 16 bytes at `at` of a page stand in the longest piece? */
  nearby(page: number, at: number, low: number, window: Window): number | undefined {
    if (at + 16 > PAGE) return undefined
    const base = this.#memory + page * PAGE
    const end = window.address + window.to - window.from
    const distance = this.#wasm.nearby(base + at, base + low, base + PAGE, window.address, end)
    return distance < 0 ? undefined : window.from + distance
  }

  /** Gathers the elements of a page that stand every `stride` bytes from `column` on; their number. */
  gather(page: number, stride: number, column: number, width: number): number {
    return this.#wasm.gather(this.#memory + page * PAGE, PAGE, stride, column, width, this.#gathered)
  }

  /** The arithmetic sequences among the words of a page that `mask` leaves, which it then covers. */
  sequences(page: number): Counting[] {
    const n = this.#wasm.sequences(this.#memory + page * PAGE, this.#mask, this.#out)
    const words = this.#words
    return Array.from({ length: n }, (_, i) => {
      const at = this.#out + i * SEQUENCE
      return {
        first: words.getUint16(at, true),
        step: words.getUint16(at + 2, true),
        count: words.getUint16(at + 4, true),
        value: words.getBigUint64(at + 8, true),
        difference: words.getBigUint64(at + 16, true),
      }
    })
  }

  /** The bytes of a page that `mask` leaves, until the next call, and how many of them are not zero. */
  leftOver(page: number): { readonly bytes: Uint8Array; readonly notZero: number } {
    const both = this.#wasm.leftOver(this.#memory + page * PAGE, this.#mask, this.#out)
    return { bytes: this.#all.subarray(this.#out, this.#out + (both & 0xffff)), notZero: both >>> 16 }
  }
}
