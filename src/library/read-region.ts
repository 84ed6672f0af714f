/**
 * A region where page faults can't be served: the same lenses and the same budget, without `array`. Elements are made in the
 * calling thread, block by block; the blocks used last are kept.
 */
import type { Backing } from '../backing/backing.ts'
import { bytesOfElement, type Element } from '../lens/element.ts'
import { MemoryError } from './errors.ts'
import { type ArrayOf, elementsIn, roomFor, type ValueOf } from './records.ts'
import { type Range, Region, type RegionStats } from './region.ts'

const BLOCK = 65536

/** Blocks of all regions of a memory, the least recently used first. */
export class Blocks {
  readonly #most: number
  readonly #kept = new Map<string, Uint8Array<ArrayBuffer>>()

  constructor(budget: number) {
    this.#most = Math.max(1, Math.floor(budget / BLOCK))
  }

  get(key: string, make: (into: Uint8Array) => void): Uint8Array<ArrayBuffer> {
    let block = this.#kept.get(key)
    if (block === undefined) {
      // The memory of a block that goes serves the one that comes.
      const oldest = this.#kept.size >= this.#most ? this.#kept.keys().next().value : undefined
      block = (oldest === undefined ? undefined : this.#kept.get(oldest)) ?? new Uint8Array(BLOCK)
      if (oldest !== undefined) this.#kept.delete(oldest)
      make(block)
    } else this.#kept.delete(key)
    this.#kept.set(key, block)
    return block
  }

  forget(prefix: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(prefix)) this.#kept.delete(key)
  }

  get bytes(): number {
    return this.#kept.size * BLOCK
  }
}

export interface Reading<E extends Element> {
  readonly id: number
  readonly element: E
  readonly length: number
  readonly mode: 'private' | 'readonly'
  readonly name: string
  readonly view: Backing
  readonly blocks: Blocks
  /** Says why the backing is not what it was, after each read from it. */
  readonly changed: () => string | undefined
  /** Why there is no `array`. */
  readonly why: string
  readonly gone: () => void
}

export class ReadRegion<E extends Element = Element> extends Region<E> {
  readonly #reading: Reading<E>
  readonly #width: number
  #refilled = 0

  constructor(reading: Reading<E>) {
    super(reading.element, reading.mode, reading.name)
    this.#reading = reading
    this.#width = bytesOfElement(reading.element)
  }

  get length(): number {
    return this.#reading.length
  }

  get array(): ArrayOf<E> {
    this.check()
    throw new MemoryError(
      'no-mmu',
      `There is no array here, because page faults can't be served (${this.#reading.why}); use at, read or iteration`,
    )
  }

  at(i: number): ValueOf<E> | undefined {
    const index = this.index(i)
    if (index < 0) return undefined
    const start = index * this.#width
    const block = Math.floor(start / BLOCK)
    // A record can lie in two blocks.
    if (Math.floor((start + this.#width - 1) / BLOCK) === block) {
      const { buffer } = this.#block(block)
      const offset = start % BLOCK
      if (offset % this.#alignment() === 0)
        return elementsIn(this.element, buffer, offset, 1).at(0) as ValueOf<E>
    }
    return elementsIn(this.element, this.#copy(start, this.#width).buffer, 0, 1).at(0) as ValueOf<E>
  }

  async read(from?: number, to?: number): Promise<ArrayOf<E>> {
    const range = this.range({ ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) })
    return this.#array(range)
  }

  async prefetch(range?: Partial<Range>): Promise<void> {
    const { from, to } = this.range(range)
    const end = Math.min(to * this.#width, from * this.#width + this.#reading.blocks.bytes)
    for (let at = from * this.#width; at < end; at += BLOCK) this.#block(Math.floor(at / BLOCK))
  }

  async pin(range?: Partial<Range>): Promise<Disposable> {
    this.range(range)
    throw new MemoryError('no-mmu', `Nothing can be pinned here: there is no array (${this.#reading.why})`)
  }

  async flush(): Promise<void> {
    this.check()
    throw new MemoryError('option', `flush: ${this.name} is mapped with mode '${this.mode}', not 'shared'`)
  }

  stats(): RegionStats {
    const resident = this.#reading.blocks.bytes
    return {
      resident,
      dirty: 0,
      spilled: 0,
      pinned: 0,
      huge: 0,
      refilled: this.#refilled,
      evicted: 0,
      faults: 0,
      writes: 0,
    }
  }

  protected async chunk(from: number, to: number): Promise<ArrayOf<E>> {
    return this.#array(this.range({ from, to }))
  }

  protected async end(): Promise<void> {
    this.#reading.blocks.forget(`${this.#reading.id}:`)
    this.#reading.view.close()
    this.#reading.gone()
  }

  #array({ from, to }: Range): ArrayOf<E> {
    const out = roomFor(this.element, to - from)
    this.#make(from * this.#width, out)
    return elementsIn(this.element, out.buffer, 0, to - from)
  }

  #alignment(): number {
    return typeof this.element === 'string' ? this.#width : 1
  }

  #block(block: number): Uint8Array<ArrayBuffer> {
    const { id, blocks } = this.#reading
    return blocks.get(`${id}:${block}`, into => this.#make(block * BLOCK, into))
  }

  #copy(start: number, length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length)
    this.#make(start, out)
    return out
  }

  /** The view's bytes from `start` on, or the region fails. */
  #make(start: number, into: Uint8Array): void {
    const { view, changed } = this.#reading
    const wanted = Math.min(into.length, Math.max(0, this.length * this.#width - start))
    try {
      const got = view.read(start, wanted === into.length ? into : into.subarray(0, wanted))
      const why = changed()
      if (why !== undefined) throw new MemoryError('changed', why)
      if (got !== wanted)
        throw new MemoryError('io', `The backing gave ${got} of ${wanted} bytes at ${start} of ${this.name}`)
    } catch (error) {
      const why = changed()
      throw this.fail(why === undefined ? error : new MemoryError('changed', why, error))
    }
    into.fill(0, wanted)
    this.#refilled += into.length
  }
}
