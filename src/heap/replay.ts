/**
 * Runs a trace against a heap and measures it: P_k (payload after operation k), H_k (heap size), utilisation, fragmentation at
 * the peak, searches. With `verify` every block is filled, looked at when it is freed or moved, and the heap is checked after
 * every `checkEvery` operations.
 */
import { type Heap } from './heap.ts'
import type { Fragmentation } from './inspect.ts'
import { takeLooked } from './code/words.ts'
import { kindOf, type Trace } from './trace.ts'

export interface ReplayOptions {
  /** Fill blocks and compare their contents. */
  readonly verify?: boolean
  /** Check the whole heap after every n-th operation; 0: never. */
  readonly checkEvery?: number
  /** Keep P_k and H_k of every operation. */
  readonly curve?: boolean
  /** Called after operation k. */
  readonly each?: (k: number, heap: Heap) => void
}

export interface Replay {
  readonly operations: number
  /** The largest P_k, in bytes, and the operation after which it was first reached. */
  readonly peakPayload: number
  readonly peakAt: number
  /** H at the end; the heap never shrinks. */
  readonly heapSize: number
  /** Peak payload / heap size. */
  readonly utilisation: number
  /** Where the heap's bytes were after the operation `peakAt`. */
  readonly atPeak: Fragmentation
  /** Blocks and list nodes that searches looked at: in all, and at most in one operation. Of heaps that run as TypeScript. */
  readonly looked: number
  readonly mostLooked: number
  readonly payload?: Float64Array
  readonly heap?: Float64Array
}

/** The allocator did not keep its promise, or memory ran out; `operation` counts from 0. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError'
  readonly operation: number
  constructor(operation: number, message: string) {
    super(message)
    this.operation = operation
  }
}

/** Runs a trace. Throws ReplayError. */
export function replay(trace: Trace, heap: Heap, options: ReplayOptions = {}): Replay {
  return new Runner(trace, heap, options).run()
}

// What blocks are filled with: byte i of block b is 7i + 31b, so each byte tells its block and its place. 183 is 1 / 7 modulo 256.
const SPAN = 65_536
const pattern: Uint8Array = Uint8Array.from({ length: SPAN + 256 }, (_, i) => i * 7)
const contents = (block: number, bytes: number): Uint8Array => {
  const from = (block * 31 * 183) & 255
  return pattern.subarray(from, from + bytes)
}

class Runner {
  readonly #trace: Trace
  readonly #heap: Heap
  readonly #options: ReplayOptions
  readonly #pointer: Int32Array
  readonly #size: Int32Array
  readonly #asked = new Map<number, number>()
  #payload = 0
  #peak = 0
  #peakAt = 0

  constructor(trace: Trace, heap: Heap, options: ReplayOptions) {
    this.#trace = trace
    this.#heap = heap
    this.#options = options
    this.#pointer = new Int32Array(trace.ids)
    this.#size = new Int32Array(trace.ids)
  }

  run(): Replay {
    const { length } = this.#trace
    const { checkEvery = 0, curve = false } = this.#options
    const heap = this.#heap
    const payload = new Float64Array(curve ? length : 0)
    const sizes = new Float64Array(curve ? length : 0)
    const peakAt = this.#findPeak()
    let atPeak: Fragmentation | undefined
    let looked = 0
    let mostLooked = 0
    takeLooked()
    for (let k = 0; k < length; k++) {
      this.#step(k)
      const now = takeLooked()
      looked += now
      if (now > mostLooked) mostLooked = now
      if (this.#payload > this.#peak || k === 0) {
        this.#peak = this.#payload
        this.#peakAt = k
      }
      if (curve) {
        payload[k] = this.#payload
        sizes[k] = heap.size
      }
      if (k === peakAt) atPeak = heap.fragmentation(at => this.#asked.get(at))
      if (checkEvery > 0 && k % checkEvery === 0) this.#check(k)
      this.#options.each?.(k, heap)
    }
    if (checkEvery > 0) this.#check(length - 1)
    const heapSize = heap.size
    return {
      operations: length,
      peakPayload: this.#peak,
      peakAt: this.#peakAt,
      heapSize,
      utilisation: heapSize === 0 ? 0 : this.#peak / heapSize,
      atPeak: atPeak ?? heap.fragmentation(at => this.#asked.get(at)),
      looked,
      mostLooked,
      ...(curve ? { payload, heap: sizes } : {}),
    }
  }

  // The operation after which the payload is largest, known beforehand.
  #findPeak(): number {
    const { length, id, bytes, ids } = this.#trace
    const size = new Int32Array(ids)
    let sum = 0
    let most = -1
    let at = 0
    for (let k = 0; k < length; k++) {
      const block = id[k] as number
      sum += (bytes[k] as number) - (size[block] as number)
      size[block] = bytes[k] as number
      if (sum <= most) continue
      most = sum
      at = k
    }
    return at
  }

  #step(k: number): void {
    const { id, bytes, align } = this.#trace
    const block = id[k] as number
    const size = bytes[k] as number
    const old = this.#pointer[block] as number
    const kind = kindOf(this.#trace, k)
    const { verify = false } = this.#options
    if (verify && old !== 0) this.#verify(k, block)
    const before = this.#size[block] as number
    let pointer = 0
    if (kind === 'free' || (kind === 'realloc' && size === 0 && old !== 0)) this.#heap.free(old)
    else {
      if (kind === 'alloc') pointer = this.#heap.malloc(size)
      else if (kind === 'calloc') pointer = this.#heap.calloc(size)
      else if (kind === 'aligned') pointer = this.#heap.alignedAlloc(align[k] as number, size)
      else pointer = this.#heap.realloc(old, size)
      if (pointer === 0)
        this.#fail(k, `${kind} of ${size} bytes found no memory; the heap has ${this.#heap.size} bytes`)
    }
    if (old !== 0) this.#asked.delete(old)
    if (pointer !== 0) this.#asked.set(pointer, size)
    if (verify && pointer !== 0) {
      const wanted = kind === 'aligned' ? (align[k] as number) : this.#heap.policy.align
      if (pointer % wanted !== 0) this.#fail(k, `${kind} gave ${pointer}, not a multiple of ${wanted}`)
      if (kind === 'realloc') this.#compare(k, block, pointer, Math.min(before, size))
      if (
        kind === 'calloc' &&
        this.#heap
          .bytes()
          .subarray(pointer, pointer + size)
          .some(byte => byte !== 0)
      )
        this.#fail(k, `calloc gave bytes that are not zero at ${pointer}`)
      this.#fill(block, pointer, size)
    }
    this.#payload += (pointer === 0 ? 0 : size) - before
    this.#pointer[block] = pointer
    this.#size[block] = pointer === 0 ? 0 : size
  }

  #fill(block: number, pointer: number, size: number): void {
    const view = this.#heap.bytes()
    for (let i = 0; i < size; i += SPAN) view.set(contents(block, Math.min(SPAN, size - i)), pointer + i)
  }
  #compare(k: number, block: number, pointer: number, size: number): void {
    const view = this.#heap.bytes()
    for (let i = 0; i < size; i += SPAN) {
      const wanted = contents(block, Math.min(SPAN, size - i))
      const found = view.subarray(pointer + i, pointer + i + wanted.length)
      if (Buffer.compare(wanted, found) === 0) continue
      const at = i + wanted.findIndex((byte, j) => found[j] !== byte)
      this.#fail(k, `byte ${at} of block ${block} at ${pointer} is not what was written there`)
    }
  }
  #verify(k: number, block: number): void {
    this.#compare(k, block, this.#pointer[block] as number, this.#size[block] as number)
  }
  #check(k: number): void {
    const wrong = this.#heap.check()
    if (wrong !== undefined) this.#fail(k, wrong)
  }
  #fail(k: number, message: string): never {
    throw new ReplayError(k, `operation ${k} with ${this.#heap.name}: ${message}`)
  }
}
