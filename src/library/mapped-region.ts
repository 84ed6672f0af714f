/** A region whose memory is served by the pager thread. */
import { bytesOfElement, type Element } from '../lens/element.ts'
import { type Counter, counter, type Counters } from './counters.ts'
import { MemoryError, type PlainError, revived } from './errors.ts'
import type { Mode, RangeRequest } from './protocol.ts'
import { type ArrayOf, elementsIn, roomFor, type ValueOf } from './records.ts'
import { type PinOptions, type Range, Region, type RegionStats } from './region.ts'

const PAGE = 4096
/** Bytes that a read brings before it copies them. */
const STEP = 2 ** 20

/** What a region asks of the memory it belongs to. */
export interface Host {
  ask(ask: RangeRequest): Promise<unknown>
  /** A view of our memory that does not own it. */
  bufferAt(address: number, length: number): ArrayBuffer
  /** Mode 'shared': what was written goes to the file. */
  writeBack(): Promise<void>
  /** The region is not served any more: its address range ends. */
  retire(region: MappedRegion): Promise<void>
}

export interface Mapping<E extends Element> {
  readonly id: number
  readonly address: number
  readonly pages: number
  readonly element: E
  readonly length: number
  readonly mode: Mode
  readonly name: string
  readonly counters: Counters
}

export class MappedRegion<E extends Element = Element> extends Region<E> {
  readonly #host: Host
  readonly #mapping: Mapping<E>
  readonly #width: number
  #flushing: Promise<void> = Promise.resolve()
  #buffer: ArrayBuffer
  #array: ReturnType<typeof elementsIn<E>>

  constructor(host: Host, mapping: Mapping<E>) {
    super(mapping.element, mapping.mode, mapping.name)
    this.#host = host
    this.#mapping = mapping
    this.#width = bytesOfElement(mapping.element)
    this.#buffer = host.bufferAt(mapping.address, mapping.pages * PAGE)
    this.#array = elementsIn(mapping.element, this.#buffer, 0, mapping.length)
  }

  get length(): number {
    return this.#mapping.length
  }

  /** For `Memory.share`. */
  get mapping(): Mapping<E> {
    return this.#mapping
  }

  get array(): ArrayOf<E> {
    this.check()
    return this.#array
  }

  at(i: number): ValueOf<E> | undefined {
    const index = this.index(i)
    if (index < 0) return undefined
    const value = this.#array.at(index) as ValueOf<E>
    // The fault that made it may have found that the backing is lost.
    if (this.#mapping.counters.failed) this.check()
    return value
  }

  async read(from?: number, to?: number): Promise<ArrayOf<E>> {
    const range = this.range({ ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) })
    const out = roomFor(this.element, range.to - range.from)
    const start = range.from * this.#width
    for (let done = 0; done < out.length; done += STEP) {
      const part = Math.min(STEP, out.length - done)
      await this.#bring(start + done, start + done + part)
      this.check()
      out.set(new Uint8Array(this.#buffer, start + done, part), done)
    }
    this.check()
    return elementsIn(this.element, out.buffer, 0, range.to - range.from)
  }

  async prefetch(range?: Partial<Range>): Promise<void> {
    const { from, to } = this.range(range)
    await this.#bring(from * this.#width, to * this.#width)
    this.check()
  }

  async pin(range?: Partial<Range>, { writable = false }: PinOptions = {}): Promise<Disposable> {
    const { from, to } = this.range(range)
    const pages = this.#pages(from * this.#width, to * this.#width)
    const { id } = this.#mapping
    await this.#host.ask({ kind: 'pin', id, ...pages, writable })
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held && !this.closed) this.#host.ask({ kind: 'unpin', id, ...pages }).catch(() => undefined)
        held = false
      },
    }
  }

  async flush(): Promise<void> {
    this.check()
    if (this.mode !== 'shared')
      throw new MemoryError('option', `flush: ${this.name} is mapped with mode '${this.mode}', not 'shared'`)
    // One after the other: each begins with what the last one has made of the file.
    const before = this.#flushing.catch(() => undefined)
    this.#flushing = before.then(() => this.#host.writeBack())
    await this.#flushing
  }

  stats(): RegionStats {
    return statsOf(this.#mapping.counters)
  }

  protected async chunk(from: number, to: number): Promise<ArrayOf<E>> {
    await this.#bring(from * this.#width, to * this.#width)
    this.check()
    return this.#array.subarray(from, to) as ArrayOf<E>
  }

  /** Something happened that the pager has told of. */
  tell(plain: PlainError, fatal: boolean): void {
    const error = revived(plain)
    if (fatal) {
      this.failure ??= error
      this.#detach()
    }
    if (this.listenerCount('error') === 0) return
    if (fatal) this.told = true
    this.emit('error', error)
  }

  /** The owner ends the region: this thread lets go of it. */
  takenAway(): void {
    this.abandon().catch(() => undefined)
  }

  protected override lookForFailure(): void {
    const { failure } = this.#mapping.counters
    if (failure !== undefined) this.failure ??= revived(failure)
  }

  protected async end(): Promise<void> {
    this.#detach()
    await this.#host.retire(this)
  }

  // Whatever still holds the array finds it empty from now on. The memory stays the host's.
  #detach(): void {
    if (this.#buffer.detached) return
    this.#buffer.transfer(0)
  }

  #pages(start: number, end: number): Range {
    return { from: Math.floor(start / PAGE), to: Math.ceil(end / PAGE) }
  }

  async #bring(start: number, end: number): Promise<void> {
    await this.#host.ask({ kind: 'prefetch', id: this.#mapping.id, ...this.#pages(start, end) })
  }
}

/** What the counters of a region say, in bytes where they are pages. */
function statsOf(counters: Counters): RegionStats {
  const bytes = (which: Counter): number => counters.get(which) * PAGE
  return {
    resident: bytes(counter.resident),
    dirty: bytes(counter.dirty),
    spilled: bytes(counter.spilled),
    pinned: bytes(counter.pinned),
    huge: bytes(counter.huge),
    refilled: bytes(counter.refilled),
    evicted: bytes(counter.evicted),
    faults: counters.get(counter.faults),
    writes: counters.get(counter.writes),
  }
}
