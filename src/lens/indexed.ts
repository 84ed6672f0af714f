/**
 * What a lens knows of a backing: an index that is made once, by one pass, and kept.
 *
 * `of` gives it, making it in memory if nobody called `prepare` before. An index that turns out to be damaged while
 * it is read (LensError 'io' of the store) is made again by `again`.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Pass } from './lens.ts'
import { ForwardPass } from './pass.ts'
import {
  type IndexKey,
  type IndexMaker,
  type IndexStore,
  MemoryIndexStore,
  type StoredIndex,
} from './index-store.ts'

/** Called in every turn of a loop; calls `pause` when some milliseconds of work have gone by. */
export function ticker(pause: (() => void) | undefined): () => void {
  if (!pause) return () => undefined
  let last = performance.now()
  return () => {
    if (performance.now() - last < 4) return
    pause()
    last = performance.now()
  }
}

export interface IndexKind<T> {
  readonly lens: string
  /** Of the layout of what `make` appends. */
  readonly version: number
  /**
   * Reads the backing once and appends the index. Fails with a LensError where the backing is not good. Where that decodes
   * the view in order, it is a generator that yields the view.
   */
  make(backing: Backing, maker: IndexMaker, tick: () => void, store: IndexStore): void | Iterator<Uint8Array>
  /** Makes what the lens works with. Fails in any way where the index is not as it should be. */
  open(backing: Backing, index: StoredIndex, store: IndexStore): T
  /** Gives back what `open` took. */
  close?(value: T): void
}

interface Known<T> {
  readonly value: T
  readonly index: StoredIndex
  readonly store: IndexStore
}

export class Indexed<T> {
  readonly #kind: IndexKind<T>
  readonly #known = new WeakMap<Backing, Known<T>>()

  constructor(kind: IndexKind<T>) {
    this.#kind = kind
  }

  of(backing: Backing): T {
    const known = this.#known.get(backing)
    if (known) return known.value
    return this.#obtain(backing, new MemoryIndexStore(), undefined)
  }

  prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    if (!this.#known.has(backing)) this.#obtain(backing, store, pause)
  }

  /** As prepare, in a pass; undefined where nothing is left to be decoded. */
  begin(backing: Backing, store: IndexStore, pause?: () => void): Pass | undefined {
    if (this.#known.has(backing) || this.#find(backing, store) !== undefined) return undefined
    const maker = store.make(this.#key(backing))
    const pieces = this.#kind.make(backing, maker, ticker(pause), store)
    const done = (): void => {
      this.#keep(backing, maker.commit(), store)
    }
    if (pieces) return new ForwardPass({ pieces, done, failed: () => maker.abandon() })
    done()
    return undefined
  }

  /** Closes what is open for a backing. */
  close(backing: Backing): void {
    const known = this.#known.get(backing)
    if (!known) return
    this.#known.delete(backing)
    this.#kind.close?.(known.value)
    known.index.close()
  }

  /** Throws away what is known of a backing and makes it again. */
  again(backing: Backing): T {
    const known = this.#known.get(backing)
    if (!known) return this.of(backing)
    this.close(backing)
    known.store.forget(this.#key(backing))
    return this.#obtain(backing, known.store, undefined)
  }

  /** Does `action`, and once more with a new index if the store's was damaged. */
  use(backing: Backing, action: (value: T) => void): void {
    try {
      action(this.of(backing))
    } catch (error) {
      if (!(error instanceof LensError) || error.code !== 'io') throw error
      action(this.again(backing))
    }
  }

  #key(backing: Backing): IndexKey {
    return { identity: backing.identity, lens: this.#kind.lens, version: this.#kind.version }
  }

  #find(backing: Backing, store: IndexStore): T | undefined {
    const key = this.#key(backing)
    const found = store.find(key)
    if (!found) return undefined
    try {
      return this.#keep(backing, found, store)
    } catch {
      found.close()
      store.forget(key)
      return undefined
    }
  }

  #obtain(backing: Backing, store: IndexStore, pause: (() => void) | undefined): T {
    const found = this.#find(backing, store)
    if (found !== undefined) return found
    const maker = store.make(this.#key(backing))
    try {
      const pieces = this.#kind.make(backing, maker, ticker(pause), store)
      while (pieces && !pieces.next().done);
    } catch (error) {
      maker.abandon()
      throw error
    }
    return this.#keep(backing, maker.commit(), store)
  }

  #keep(backing: Backing, index: StoredIndex, store: IndexStore): T {
    const value = this.#kind.open(backing, index, store)
    this.#known.set(backing, { value, index, store })
    return value
  }
}
