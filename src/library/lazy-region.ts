/**
 * A region whose first scan goes on while its first elements are already used: `map` with `lazy`. Until it is `ready`, `at` and small
 * reads make their elements in this thread, going through the backing only as far as they must (Lens.extent); what
 * needs the length waits, or throws 'pending' where it can't.
 */
import type { Backing } from '../backing/backing.ts'
import { bytesOfElement, type Element } from '../lens/element.ts'
import { MemoryError } from './errors.ts'
import type { Mode } from './protocol.ts'
import { type ArrayOf, elementsIn, roomFor, type ValueOf } from './records.ts'
import { type PinOptions, type Range, Region, type RegionStats } from './region.ts'

/** Bytes that `read` makes in the calling thread before the region is ready. */
const mostAhead = 2 ** 20

export interface Lazy<E extends Element> {
  readonly element: E
  readonly mode: Mode
  readonly name: string
  /** Opened by this thread, without an index. */
  readonly view: Backing
  readonly region: Promise<Region<E>>
  /** Ends the scan. */
  readonly stop: () => void
}

export class LazyRegion<E extends Element = Element> extends Region<E> {
  readonly #lazy: Lazy<E>
  readonly #ready: Promise<Region<E>>
  #region: Region<E> | undefined

  constructor(lazy: Lazy<E>) {
    super(lazy.element, lazy.mode, lazy.name)
    this.#lazy = lazy
    this.#ready = lazy.region.then(
      region => {
        this.#region = region
        lazy.view.close()
        region.on('error', error => {
          if (this.listenerCount('error') > 0) this.emit('error', error)
        })
        return region
      },
      (error: unknown) => {
        lazy.view.close()
        throw this.fail(error)
      },
    )
    // Whoever waits hears of it, and `close` does where nobody has.
    this.#ready.catch(() => {
      this.told = false
    })
  }

  override async ready(): Promise<void> {
    this.told = true
    await this.#ready
  }

  /** The region behind it, once it is there. */
  get region(): Region<E> {
    this.check()
    if (this.#region !== undefined) return this.#region
    throw new MemoryError(
      'pending',
      `The first scan of ${this.name} goes on, so its length is not known; await region.ready() first`,
    )
  }

  get length(): number {
    return this.region.length
  }

  get array(): ArrayOf<E> {
    return this.region.array
  }

  at(i: number): ValueOf<E> | undefined {
    if (this.#region !== undefined || i < 0) return this.region.at(i)
    this.check()
    return Number.isInteger(i) ? (this.#ahead(i, i + 1).at(0) as ValueOf<E> | undefined) : undefined
  }

  async read(from = 0, to?: number): Promise<ArrayOf<E>> {
    this.check()
    const near = to !== undefined && (to - from) * bytesOfElement(this.element) <= mostAhead
    if (this.#region === undefined && near && Number.isInteger(from) && from >= 0 && to >= from) {
      const array = this.#ahead(from, to)
      if (array.length === to - from) return array
    }
    return (await this.#ready).read(from, to)
  }

  async prefetch(range?: Partial<Range>): Promise<void> {
    await (await this.#ready).prefetch(range)
  }

  async pin(range?: Partial<Range>, options?: PinOptions): Promise<Disposable> {
    return (await this.#ready).pin(range, options)
  }

  async flush(): Promise<void> {
    await (await this.#ready).flush()
  }

  stats(): RegionStats {
    return this.region.stats()
  }

  override async *[Symbol.asyncIterator](): AsyncGenerator<ArrayOf<E>> {
    yield* await this.#ready
  }

  protected async chunk(from: number, to: number): Promise<ArrayOf<E>> {
    return (await this.#ready).read(from, to)
  }

  protected async end(): Promise<void> {
    this.#lazy.stop()
    const region = await this.#ready.catch(() => undefined)
    // That it was closed is no news to who closes it.
    if (this.failure?.code === 'closed') this.told = true
    await region?.close()
  }

  /** Elements [from, to), as many of them as there are. */
  #ahead(from: number, to: number): ReturnType<typeof elementsIn<E>> {
    const width = bytesOfElement(this.element)
    const out = roomFor(this.element, to - from)
    try {
      const got = this.#lazy.view.read(from * width, out)
      return elementsIn(this.element, out.buffer, 0, Math.floor(got / width))
    } catch (error) {
      throw this.fail(error)
    }
  }
}
