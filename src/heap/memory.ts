/**
 * The memory that a heap lies in, whatever it is: bytes, a WebAssembly memory, a process of a simulated machine.
 *
 * Addresses are byte offsets. The first STATE bytes from `base` on are the allocator's own variables (list heads,
 * bitmaps); the heap begins behind them and ends at the break. Only `sbrk` moves the break, always up. Everything
 * that an allocator knows is in this memory, so a copy of the memory is a copy of the heap.
 */

/** Bytes of the allocator's variables, in front of the heap; they don't count as heap. */
export const STATE = 8192

export interface HeapMemory {
  /** Where the allocator's variables lie: a multiple of 16. The heap begins STATE bytes later. */
  readonly base: number
  /** The end of the heap. */
  readonly brk: number
  /** The word at an address that is a multiple of 4, as a signed number. */
  load32(at: number): number
  store32(at: number, word: number): void
  /** Moves the break up by `bytes`; the address of the new bytes, or -1 where there is no room. */
  sbrk(bytes: number): number
  /** Copies as memmove does. */
  move(to: number, from: number, bytes: number): void
  zero(at: number, bytes: number): void
  /** The bytes themselves. A view ends to be good when the break moves. */
  bytes(): Uint8Array
}

/** A heap in an array of bytes that can't grow. */
export class ArrayMemory implements HeapMemory {
  readonly base: number
  readonly limit: number
  #brk: number
  readonly #words: Int32Array
  readonly #bytes: Uint8Array

  /**
   * The heap lies in `bytes` from `base` up to `limit`. RangeError where the bytes don't begin at a multiple of 4 of
   * their buffer, or have no room for the allocator's variables.
   */
  constructor(bytes: Uint8Array | ArrayBuffer, base = 0, limit?: number) {
    this.#bytes = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes)
    const length = this.#bytes.length
    const end = limit ?? length
    if (base % 16 !== 0) throw new RangeError(`Invalid base ${base}: not a multiple of 16`)
    if (this.#bytes.byteOffset % 4 !== 0)
      throw new RangeError(
        `Invalid bytes at offset ${this.#bytes.byteOffset} of their buffer: not a multiple of 4`,
      )
    if (end > length || base + STATE > end)
      throw new RangeError(
        `Invalid heap from ${base} to ${end} in ${length} bytes: it needs ${STATE} and more`,
      )
    this.base = base
    this.limit = Math.min(end, 0x7ffff000)
    this.#brk = base + STATE
    this.#words = new Int32Array(this.#bytes.buffer, this.#bytes.byteOffset, length >> 2)
  }

  get brk(): number {
    return this.#brk
  }
  load32(at: number): number {
    return this.#words[at >> 2] as number
  }
  store32(at: number, word: number): void {
    this.#words[at >> 2] = word
  }
  sbrk(bytes: number): number {
    const old = this.#brk
    if (old + bytes > this.limit) return -1
    this.#brk = old + bytes
    return old
  }
  move(to: number, from: number, bytes: number): void {
    this.#bytes.copyWithin(to, from, from + bytes)
  }
  zero(at: number, bytes: number): void {
    this.#bytes.fill(0, at, at + bytes)
  }
  bytes(): Uint8Array {
    return this.#bytes
  }
}

/** Any memory, with every access of the allocator counted by page and by cache line. */
export class FootprintMemory implements HeapMemory {
  readonly inner: HeapMemory
  readonly #pages = new Set<number>()
  readonly #lines = new Set<number>()
  accesses = 0

  constructor(inner: HeapMemory) {
    this.inner = inner
  }
  /** Distinct pages of 4096 bytes that were touched since the last reset. */
  get pages(): number {
    return this.#pages.size
  }
  /** Distinct cache lines of 64 bytes, likewise. */
  get lines(): number {
    return this.#lines.size
  }
  reset(): void {
    this.#pages.clear()
    this.#lines.clear()
    this.accesses = 0
  }
  /** Counts a range that the program itself touches. */
  touch(at: number, bytes: number): void {
    this.accesses++
    for (let page = at >> 12; page <= (at + bytes - 1) >> 12; page++) this.#pages.add(page)
    for (let line = at >> 6; line <= (at + bytes - 1) >> 6; line++) this.#lines.add(line)
  }
  get base(): number {
    return this.inner.base
  }
  get brk(): number {
    return this.inner.brk
  }
  load32(at: number): number {
    this.touch(at, 4)
    return this.inner.load32(at)
  }
  store32(at: number, word: number): void {
    this.touch(at, 4)
    this.inner.store32(at, word)
  }
  sbrk(bytes: number): number {
    return this.inner.sbrk(bytes)
  }
  move(to: number, from: number, bytes: number): void {
    if (bytes > 0) {
      this.touch(from, bytes)
      this.touch(to, bytes)
    }
    this.inner.move(to, from, bytes)
  }
  zero(at: number, bytes: number): void {
    if (bytes > 0) this.touch(at, bytes)
    this.inner.zero(at, bytes)
  }
  bytes(): Uint8Array {
    return this.inner.bytes()
  }
}
