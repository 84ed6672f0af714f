/**
 * A lens over a backing is a backing, so lenses compose.
 *
 * The view lives as long as the backing: it has no state of its own but its size, which is asked of the lens when
 * somebody first wants it (that can cost a pass over the backing, see Lens.prepare).
 */
import type { Backing, Hold, Identity } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Edit, IndexStore, Lens, Narrowed, Pass } from './lens.ts'

/**
 * The backing that a lens makes of another. Its identity is the other's with the lens's name behind the inode;
 * `identity.size` stays the size of the bytes that the view is made of, so that asking for it costs nothing.
 */
export class View implements Backing {
  readonly backing: Backing
  readonly lens: Lens
  readonly identity: Identity
  readonly costly: boolean
  #size = -1
  #pass: Pass | undefined
  #again: (() => Pass | undefined) | undefined

  constructor(backing: Backing, lens: Lens) {
    this.backing = backing
    this.lens = lens
    this.identity = { ...backing.identity, inode: `${backing.identity.inode}|${lens.name}` }
    this.costly = lens.costly === true || backing.costly === true
  }

  /**
   * From now on reads in order are made by a pass that makes the lens's index on the way, until `settle`. A read of what lies
   * behind ends the pass as `settle` does; or, `restarting`, begins it again.
   */
  share(begin: () => Pass | undefined, { restarting = false }: { readonly restarting?: boolean } = {}): void {
    this.#pass = begin()
    this.#again = restarting ? begin : undefined
  }

  /** Ends the pass: goes to the end, and keeps the index. */
  settle(): void {
    const pass = this.#pass
    this.#pass = this.#again = undefined
    pass?.finish()
  }

  /** Ends the pass without its index. */
  abandon(): void {
    this.#pass?.abandon()
    this.#pass = this.#again = undefined
  }

  get size(): number {
    this.settle()
    if (this.#size < 0) this.#size = this.lens.size(this.backing)
    return this.#size
  }

  read(offset: number, into: Uint8Array): number {
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new LensError('range', this.lens.name, `invalid offset ${offset} in a view of ${this.size} bytes`)
    const passed = this.#readPassing(offset, into)
    if (passed !== undefined) return passed
    const { lens, backing } = this
    // Once the size is known it is the cheaper answer.
    const wanted =
      lens.extent && this.#size < 0
        ? lens.extent(backing, offset, into.length)
        : Math.min(into.length, this.size - offset)
    if (wanted <= 0) return 0
    lens.get(backing, offset, wanted === into.length ? into : into.subarray(0, wanted))
    return wanted
  }

  #readPassing(offset: number, into: Uint8Array): number | undefined {
    if (this.#pass === undefined) return undefined
    try {
      const got = this.#pass.read(offset, into)
      if (got !== undefined) return got
      if (this.#again === undefined) {
        this.settle()
        return undefined
      }
      this.#pass.abandon()
      this.#pass = this.#again()
      return this.#pass?.read(offset, into)
    } catch (error) {
      // Who reads again finds the same error, by the lens itself.
      this.#pass = this.#again = undefined
      throw error
    }
  }

  hold(): Hold {
    return this.backing.hold()
  }

  close(): void {
    this.abandon()
    this.lens.close?.(this.backing)
    this.backing.close()
  }
}

export function through(backing: Backing, lens: Lens): View {
  return new View(backing, lens)
}

/** Has the lens of a view, and the one above it, make their indexes; what both read in order is decoded once. */
export function prepareBelow(below: View, above: Lens, store: IndexStore, pause?: () => void): void {
  const { lens, backing } = below
  if (lens.begin && above.prepare) below.share(() => lens.begin?.(backing, store, pause))
  else lens.prepare?.(backing, store, pause)
  try {
    above.prepare?.(below, store, pause)
    below.settle()
  } finally {
    below.abandon()
  }
}

/** Room for what the outer lens of a composition narrows to. Grows once to the largest memory it is asked about. */
let between = new Uint8Array(0)

/** First `inner` over the backing, then `outer` over that view: the lens 'inner|outer'. */
export function compose(inner: Lens, outer: Lens): Lens {
  const name = `${inner.name}|${outer.name}`
  const views = new WeakMap<Backing, View>()

  function view(backing: Backing): View {
    let made = views.get(backing)
    if (!made) {
      made = through(backing, inner)
      views.set(backing, made)
    }
    return made
  }

  function narrow(memory: Uint8Array, into: Uint8Array): Narrowed | undefined {
    const room = memory.length * 4 + 64
    const middle = between.length < room ? new Uint8Array(room) : between
    between = new Uint8Array(0)
    try {
      const first = outer.narrow?.(memory, middle)
      const second = first && inner.narrow?.(middle.subarray(0, first.bytes), into)
      // Where in memory a later byte of the middle begins is not known without the backing.
      return first && second?.from === 0 ? { from: first.from, bytes: second.bytes } : undefined
    } finally {
      between = middle
    }
  }

  function locate(backing: Backing, offset: number): number | undefined {
    const middle = inner.locate?.(backing, offset)
    return middle === undefined ? undefined : outer.locate?.(view(backing), middle)
  }

  function invert(memory: Uint8Array): Uint8Array | undefined {
    const middle = outer.invert?.(memory)
    return middle && inner.invert?.(middle)
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    const edits: Edit[] = []
    for (const edit of outer.put?.(view(backing), at, bytes) ?? []) {
      const { offset, removes } = edit
      if (removes !== undefined && removes !== edit.bytes.length)
        throw new LensError(
          'unsupported',
          name,
          `${edit.bytes.length} bytes in the place of ${removes} would move what follows; write numbers that take the room they had`,
          offset,
        )
      edits.push(...(inner.put?.(backing, offset, edit.bytes) ?? []))
    }
    return edits.toSorted((a, b) => a.offset - b.offset)
  }

  function prepare(backing: Backing, store: IndexStore, pause?: () => void): void {
    prepareBelow(view(backing), outer, store, pause)
  }

  function close(backing: Backing): void {
    outer.close?.(view(backing))
    inner.close?.(backing)
  }

  return {
    name,
    size: backing => outer.size(view(backing)),
    get: (backing, at, out) => outer.get(view(backing), at, out),
    ...(inner.put && outer.put ? { put } : {}),
    ...(outer.extent ? { extent: (backing, at, most) => outer.extent?.(view(backing), at, most) ?? 0 } : {}),
    ...(inner.costly || outer.costly ? { costly: true } : {}),
    ...(outer.element === undefined ? {} : { element: outer.element }),
    ...(inner.invert && outer.invert ? { invert } : {}),
    ...(inner.narrow && outer.narrow ? { narrow } : {}),
    ...(inner.locate && outer.locate ? { locate } : {}),
    suits: backing => (inner.suits?.(backing) ?? true) && (outer.suits?.(view(backing)) ?? true),
    prepare,
    close,
  }
}
