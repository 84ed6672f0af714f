// A guest's memory as the host sees it: the one place through which the host reads and writes it, so that whoever looks
// after the memory (a budget, the checker, the machine, a recorder) hears of all that the guest's own code did not do.
//
// A range that leaves the memory is a RangeError, which a WASI call answers with EFAULT.

import type { EngineMemory } from './engine.ts'

/** Where bytes that the host wrote came from: `length` bytes of a regular file, whose descriptor is open, from `offset` on. */
export interface Provenance {
  /** the host's descriptor, and what stands for it until it is closed (numbers are used again) */
  readonly fd: number
  readonly opened: object
  readonly offset: number
}

/**
 * Hears of what the host does. `wrote` comes after the bytes are there, `reads` before they are read. `brings` comes before a file is
 * read: as many bytes as `length` may come from there. `waits` comes before the host waits for input or for time on the guest's behalf: who has
 * something to do meanwhile does so, and returns when `ready`, which itself waits for so many milliseconds, is true.
 */
export interface MemoryObserver {
  waits?(ready: (milliseconds: number) => boolean): void
  brings?(at: number, length: number, provenance: Provenance): void
  wrote?(at: number, length: number, provenance?: Provenance): void
  reads?(at: number, length: number): void
}

export class GuestMemory {
  readonly memory: EngineMemory
  /** System calls can't touch it. */
  bounces = false
  readonly #observer: MemoryObserver | undefined
  #end = Infinity
  #buffer: ArrayBuffer
  #bytes: Uint8Array
  #view: DataView

  constructor(memory: EngineMemory, observer?: MemoryObserver) {
    this.memory = memory
    this.#observer = observer
    this.#buffer = memory.buffer
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
  }

  /** All of it, as it is now: the guest may make another by growing. */
  get bytes(): Uint8Array {
    this.#look()
    return this.#bytes
  }

  // A memory that has grown has a new buffer; a shared one keeps the old one valid but short.
  #look(): void {
    const { buffer } = this.memory
    if (buffer !== this.#buffer) this.#see(buffer)
  }

  #see(buffer: ArrayBuffer): void {
    const length = Math.min(this.#end, buffer.byteLength)
    this.#buffer = buffer
    this.#bytes = new Uint8Array(buffer, 0, length)
    this.#view = new DataView(buffer, 0, length)
  }

  /** The guest's memory has so many bytes now, though the engine's may have more, which nobody may touch. */
  endsAt(end: number): void {
    this.#end = end
    this.#see(this.memory.buffer)
  }

  /** Whether somebody has something to do while the guest waits. */
  get observed(): boolean {
    return this.#observer?.waits !== undefined
  }

  /** To be called before the host waits. */
  waits(ready: (milliseconds: number) => boolean): void {
    this.#observer?.waits?.(ready)
  }

  /** The host is going to write there what it reads from a file. */
  brings(at: number, length: number, provenance: Provenance): void {
    this.#observer?.brings?.(at, length, provenance)
  }

  /** The host has written there. */
  wrote(at: number, length: number, provenance?: Provenance): void {
    this.#observer?.wrote?.(at, length, provenance)
  }

  /** The host is going to read there. */
  reads(at: number, length: number): void {
    this.#observer?.reads?.(at, length)
  }

  /** Checks that [at, at + length) is in the memory. */
  check(at: number, length: number): void {
    if (at + length > this.bytes.length) throw new RangeError('outside of the memory')
  }

  getU8(at: number): number {
    this.#look()
    this.reads(at, 1)
    return this.#view.getUint8(at)
  }

  getU16(at: number): number {
    this.#look()
    this.reads(at, 2)
    return this.#view.getUint16(at, true)
  }

  getU32(at: number): number {
    this.#look()
    this.reads(at, 4)
    return this.#view.getUint32(at, true)
  }

  getU64(at: number): bigint {
    this.#look()
    this.reads(at, 8)
    return this.#view.getBigUint64(at, true)
  }

  setU8(at: number, value: number): void {
    this.#look()
    this.#view.setUint8(at, value)
    this.wrote(at, 1)
  }

  setU16(at: number, value: number): void {
    this.#look()
    this.#view.setUint16(at, value, true)
    this.wrote(at, 2)
  }

  setU32(at: number, value: number): void {
    this.#look()
    this.#view.setUint32(at, value, true)
    this.wrote(at, 4)
  }

  setU64(at: number, value: bigint): void {
    this.#look()
    this.#view.setBigUint64(at, value, true)
    this.wrote(at, 8)
  }

  set(at: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, at)
    this.wrote(at, bytes.length)
  }

  fill(at: number, length: number): void {
    this.check(at, length)
    this.#bytes.fill(0, at, at + length)
    this.wrote(at, length)
  }

  /** A copy. */
  get(at: number, length: number): Uint8Array {
    this.check(at, length)
    this.reads(at, length)
    return this.#bytes.slice(at, at + length)
  }
}
