/**
 * A region: elements that a lens makes of a backing, as if they were all in memory.
 *
 * Life cycle: 1. `memory.map` gives it. 2. `array` is a typed array over its memory; what is touched and not there is made
 * by a page fault. 3. If its backing can't be had any more, or is not what it was, it has *failed*: `error` is emitted, pages
 * that are not there come as all ones (NaN as a float), every method throws, and in the next turn of the event loop
 * `array` is detached. 4. `close` detaches `array`, so that what uses it afterwards finds it empty, never a crash.
 *
 * Two kinds: `MappedRegion` (mapped-region.ts) and, where page faults can't be served, `ReadRegion` (read-region.ts).
 */
import { EventEmitter } from 'node:events'
import { bytesOfElement, type Element } from '../lens/element.ts'
import { MemoryError, memoryError } from './errors.ts'
import type { Mode } from './protocol.ts'
import type { ArrayOf, ValueOf } from './records.ts'

/** In bytes, of one region or all. */
export interface RegionStats {
  /** Made by the lens and written pages that are in memory. */
  readonly resident: number
  /** Written, and in memory. */
  readonly dirty: number
  /** Written, and in the spill file. */
  readonly spilled: number
  readonly pinned: number
  /** On huge pages of 2 MiB, in one piece. */
  readonly huge: number
  /** Bytes brought into memory, and dropped from it, since the start. */
  readonly refilled: number
  readonly evicted: number
  /** Page faults, and pages whose first write was one, since the start. */
  readonly faults: number
  readonly writes: number
}

export interface RegionEvents {
  /** The region failed, or something else went wrong that no call could tell. */
  error: [error: MemoryError]
}

export interface PinOptions {
  /** Writes to the elements are no faults either. */
  readonly writable?: boolean
}

/** Elements [from, to). */
export interface Range {
  readonly from: number
  readonly to: number
}

/** Bytes of a chunk that iteration gives. */
export const chunkBytes: number = 2 ** 20

export abstract class Region<E extends Element = Element>
  extends EventEmitter<RegionEvents>
  implements AsyncDisposable, AsyncIterable<ArrayOf<E>>
{
  readonly element: E
  readonly mode: Mode
  /** What it is mapped on, for messages. */
  readonly name: string
  protected failure: MemoryError | undefined
  /** Whether somebody has been told of the failure. */
  protected told = false
  #closed = false

  protected constructor(element: E, mode: Mode, name: string) {
    super()
    this.element = element
    this.mode = mode
    this.name = name
  }

  /** In elements. */
  abstract get length(): number
  /** The elements, all of them. MemoryError 'no-mmu' where page faults can't be served. */
  abstract get array(): ArrayOf<E>
  /** Element `i`, or undefined if there is none; a negative number counts from the end. */
  abstract at(i: number): ValueOf<E> | undefined
  /** A copy of the elements [from, to). This thread is not blocked while they are made. */
  abstract read(from?: number, to?: number): Promise<ArrayOf<E>>
  /** Brings elements into memory, as far as the budget allows. */
  abstract prefetch(range?: Partial<Range>): Promise<void>
  /**
   * Brings elements into memory and keeps them there until the pin is disposed of: for system calls, where faults are only
   * served in user mode. `writable`: writes to them are no faults either. MemoryError 'budget' if that is too much.
   */
  abstract pin(range?: Partial<Range>, options?: PinOptions): Promise<Disposable>
  /** Mode 'shared': writes what was changed back to the file. */
  abstract flush(): Promise<void>
  abstract stats(): RegionStats
  protected abstract end(): Promise<void>
  /** The next chunk; an array over the region where there is one, else a new array. */
  protected abstract chunk(from: number, to: number): Promise<ArrayOf<E>>

  /** Throws if the region is closed or has failed: after a loop over `array`, this says whether what it saw was right. */
  check(): void {
    if (this.#closed) throw new MemoryError('closed', `The region over ${this.name} is closed`)
    this.lookForFailure()
    if (this.failure === undefined) return
    this.told = true
    throw this.failure
  }

  /** The region has failed; the error to be thrown. */
  protected fail(error: unknown): MemoryError {
    this.failure ??= memoryError(error)
    this.told = true
    return this.failure
  }

  /** Learns of a failure before its message has come. */
  protected lookForFailure(): void {
    // Where reads are synchronous there is nothing to learn.
  }

  /** Resolves when the length is known: at once, except for a lazy region, whose first scan it waits for. */
  async ready(): Promise<void> {
    this.check()
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Chunks of some MiB, in order. A chunk is made before it is asked for. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ArrayOf<E>> {
    const step = Math.max(1, Math.floor(chunkBytes / bytesOfElement(this.element)))
    for (let from = 0; from < this.length; from += step) {
      const chunk = await this.chunk(from, Math.min(this.length, from + step))
      this.check()
      yield chunk
    }
  }

  /** Ends it. Mode 'shared': flushes first. Rejects with the failure that nobody has been told of. */
  async close(): Promise<void> {
    if (this.#closed) return
    let trouble: unknown
    if (this.mode === 'shared' && this.failure === undefined)
      await this.flush().catch((error: unknown) => {
        trouble = error
      })
    this.#closed = true
    await this.end()
    this.lookForFailure()
    if (trouble !== undefined) throw trouble
    if (this.failure !== undefined && !this.told) throw this.failure
  }

  /** Ends it without a flush. */
  protected async abandon(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  protected range({ from = 0, to = this.length }: Partial<Range> = {}): Range {
    this.check()
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > this.length)
      throw new MemoryError(
        'range',
        `[${from}, ${to}) is not within the ${this.length} elements of ${this.name}`,
      )
    return { from, to }
  }

  protected index(i: number): number {
    this.check()
    const index = i < 0 ? this.length + i : i
    return Number.isInteger(index) && index >= 0 && index < this.length ? index : -1
  }
}
