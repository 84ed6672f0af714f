/**
 * Finds the pieces of a page: which parts of it lie in which source.
 *
 * Three ways to a piece. *It goes on*: programs put what they read next to each other, so where one piece ends in a source,
 * the next one in memory mostly begins, behind a separator. *Nearby*: what is left out between them is elsewhere. *An
 * anchor*: at most four places are looked at, and the longest wins. Either is followed both ways by comparison. Whatever is found is equal to what a read of the
 * source gave just then.
 */
import { type PieceKernel, WINDOW } from '../kernels/pieces.ts'
import type { Step } from '../lens/recipe-program.ts'
import type { Pool } from './pool.ts'
import { columnsOf, PLANES, type Source, SourceReader } from './trial.ts'

const PAGE = 4096
const MIB = 2 ** 20
const BLOCK = 262_144
/** Shortest pieces. */
const LEAST = 16
const LEAST_ELEMENTS = 4
/** A piece up to this long must not be mostly zeros. */
const SHORT = 256
/** A page is searched this far for what goes on. */
const REACH = 320
/**
 * What a program has read piece by piece lies nearly in its order: allocators keep sizes apart, and hand out some at a time in
 * another order. So a piece is looked for in the neighbourhood of where the last that was ENOUGH bytes long ended, whether
 * the index knows it or not, as long as that finds some: CREDIT is how often it may be in vain. One of SURELY bytes is not looked
 * for further.
 */
const ENOUGH = 64
const SURELY = 160
const CREDIT = 16
/** Anchors that the index may have; its table takes 13 bytes for each. */
const MOST_ANCHORS = 6 * MIB
const MOST_BITS = 12
const LEAST_BITS = 3

/** Bytes from `at` on are those of a source from `offset` on. */
interface Piece {
  readonly at: number
  readonly length: number
  readonly source: number
  readonly offset: number
}

export class PieceFinder {
  readonly #sources: readonly Source[]
  /** What a program calls source n, by a source's index in the pool. */
  readonly #numbers: ReadonlyMap<number, number>
  readonly #reader: SourceReader
  readonly #kernel: PieceKernel
  readonly #bases: Float64Array
  readonly #planes: readonly number[]
  readonly #plain: boolean
  #bits = LEAST_BITS
  // Where the last long piece of a page's own bytes ended, and for how many anchors it is still worth looking near there.
  #home: { readonly source: number; readonly offset: number } | undefined
  #credit = CREDIT
  // Where the last piece ended, by plane (-1: the page's own bytes).
  readonly #flow = new Map<number, { readonly source: number; readonly offset: number }>()

  /** Indexes the sources. `views`: their indexes in the pool, in the order in which programs number them. */
  constructor(
    sources: readonly Source[],
    views: readonly number[],
    pool: Pool,
    kernel: PieceKernel,
    pause: () => void,
  ) {
    this.#sources = sources
    this.#numbers = new Map(views.map((index, number) => [index, number]))
    this.#reader = new SourceReader(pool)
    this.#kernel = kernel
    this.#bases = new Float64Array(sources.length + 1)
    let position = PAGE
    for (const [i, { size }] of sources.entries()) {
      this.#bases[i] = position
      position += size + 2 * PAGE
    }
    this.#bases[sources.length] = position
    this.#planes = [...new Set(sources.flatMap(source => source.planes))]
    this.#plain = sources.some(source => source.plain)
    const positions = sources.reduce((sum, { size, align }) => sum + size / align, 0)
    while (this.#bits < MOST_BITS && positions / 2 ** this.#bits > MOST_ANCHORS) this.#bits++
    kernel.reset(Math.max(65_536, Math.ceil((positions / 2 ** this.#bits) * 1.6)))
    // The columns of a view side by side: each is made of all its bytes.
    for (const group of Map.groupBy(sources.keys(), i => sources[i]?.index).values())
      this.#index(group, pause)
  }

  #index(group: readonly number[], pause: () => void): void {
    const sources = group.flatMap(i => this.#sources[i] ?? [])
    const size = Math.max(...sources.map(source => source.size))
    const block = Math.min(BLOCK, ...sources.map(source => SourceReader.reach(source)))
    // Blocks overlap by what an anchor looks at.
    for (let at = 0; at < size; at += block - 32)
      for (const [n, source] of sources.entries()) {
        const length = Math.min(block, source.size - at)
        if (length <= 0) continue
        const got = this.#reader.read(source, at, this.#kernel.file.subarray(0, length))
        this.#kernel.insert(got, (this.#bases[group[n] ?? 0] ?? 0) + at, this.#bits, source.align)
        pause()
      }
  }

  /** The steps that make parts of page `page` of the kernel's memory; the kernel's mask then tells what they cover. */
  steps(page: number): Step[] {
    const { mask } = this.#kernel
    mask.fill(0)
    const steps: Step[] = []
    for (const plane of this.#planes) this.#strided(page, plane, mask, steps)
    if (this.#plain) this.#copies(page, mask, steps)
    for (const { first, step, count, value, difference } of this.#kernel.sequences(page))
      steps.push({ kind: 'sequence', at: first * 8, count, stride: step * 8, value, difference })
    return steps
  }

  #strided(page: number, number: number, mask: Uint8Array, steps: Step[]): void {
    const plane = PLANES[number]
    if (!plane) return
    const { stride, width } = plane
    for (const column of columnsOf(plane)) {
      const count = this.#kernel.gather(page, stride, column, width)
      for (const { at, length, source, offset } of this.#elements(
        count * width,
        width,
        number * 1024 + column,
      )) {
        const skip = -at & (width - 1)
        const end = (at + length) & -width
        // Runs of elements that nothing covers yet.
        let from = -1
        for (let i = at + skip; i <= end; i += width) {
          const here = column + (i / width) * stride
          const free = i < end && mask[here] === 0 && mask[here + width - 1] === 0
          if (free && from < 0) from = i
          if (free || from < 0) continue
          if (i - from >= LEAST_ELEMENTS * width) {
            const start = column + (from / width) * stride
            const n = (i - from) / width
            steps.push({
              kind: 'strided',
              at: start,
              count: n,
              stride,
              width,
              ...this.#placeOf(source, offset + from - at),
            })
            for (let k = 0; k < n; k++) mask.fill(1, start + k * stride, start + k * stride + width)
          }
          from = -1
        }
      }
    }
  }

  /** A place in a source, as programs call it. */
  #placeOf(number: number, offset: number): { source: number; offset: number; step: number } {
    const source = this.#sources[number]
    if (!source) throw new RangeError(`Invalid source ${number} of ${this.#sources.length}`)
    const { index, step, column, align } = source
    return {
      source: this.#numbers.get(index) ?? 0,
      offset: step === 1 ? offset : offset * step + column * align,
      step,
    }
  }

  /** Pieces among the elements that were gathered. */
  #elements(length: number, width: number, key: number): Piece[] {
    const kernel = this.#kernel
    const anchors = kernel.probeGathered(length, this.#bits, width)
    const flow = this.#flow.get(key)
    if (anchors === 0 && !flow) return []
    const extend = (at: number, low: number, source: number, offset: number): Piece | undefined => {
      const window = this.#window(source, offset)
      if (!window) return undefined
      const [before, after] = kernel.extendGathered(length, at, low, window, offset)
      return { at: at - before, length: before + after, source, offset: offset - before }
    }
    const found: Piece[] = []
    let end = 0
    if (flow) {
      const piece = extend(0, 0, flow.source, flow.offset)
      if (piece && piece.length >= LEAST) {
        found.push(piece)
        end = piece.length
      }
    }
    for (let i = 0; i < anchors; i++) {
      if (kernel.anchor(i) < end) continue
      const piece = this.#longest(i, end, extend)
      if (!piece) continue
      found.push(piece)
      end = piece.at + piece.length
    }
    const last = found.at(-1)
    if (last) this.#flow.set(key, { source: last.source, offset: last.offset + last.length })
    return found
  }

  /** The page's own bytes. */
  #copies(page: number, mask: Uint8Array, steps: Step[]): void {
    const kernel = this.#kernel
    const anchors = kernel.probe(page, this.#bits)
    let flow = this.#flow.get(-1)
    let end = 0
    let next = 0
    const extend = (at: number, low: number, source: number, offset: number): Piece | undefined => {
      // A column lies in its view with the others between.
      const window = this.#sources[source]?.step === 1 ? this.#window(source, offset) : undefined
      if (!window) return undefined
      const [before, after] = kernel.extend(page, at, low, window, offset)
      return { at: at - before, length: before + after, source, offset: offset - before }
    }
    while (end < PAGE) {
      while (next < anchors && (kernel.anchor(next) < end || mask[kernel.anchor(next)] === 1)) next++
      const anchor = next < anchors ? kernel.anchor(next) : PAGE
      let piece: Piece | undefined
      if (flow) {
        const reach = Math.min(REACH, anchor + 1 - end)
        const window = this.#window(flow.source, flow.offset)
        const on = window && kernel.goesOn(page, end, window, flow.offset, reach)
        if (on) piece = extend(on[0], end, flow.source, on[1])
        if (piece && !this.#isWorth(piece, page)) piece = undefined
      }
      if (!piece) {
        if (anchor === PAGE) break
        piece = this.#nearby(page, anchor, end, extend) ?? this.#longest(next, end, extend)
        if (!piece || !this.#isWorth(piece, page)) {
          next++
          continue
        }
      }
      flow = { source: piece.source, offset: piece.offset + piece.length }
      if (piece.length >= ENOUGH) {
        this.#home = flow
        this.#credit = Math.min(CREDIT, this.#credit + 1)
      }
      end = piece.at + piece.length
      this.#take(piece, mask, steps)
    }
    if (flow) this.#flow.set(-1, flow)
  }

  /** A long piece with an anchor in it that lies where the last long one ended, or not far from there. */
  #nearby(
    page: number,
    at: number,
    low: number,
    extend: (at: number, low: number, source: number, offset: number) => Piece | undefined,
  ): Piece | undefined {
    const home = this.#home
    if (!home || this.#credit <= 0) return undefined
    let best: Piece | undefined
    for (const beside of [0, WINDOW, -WINDOW]) {
      if (home.offset + beside < 0) continue
      const window = this.#window(home.source, home.offset + beside)
      const offset = window && this.#kernel.nearby(page, at, low, window)
      const piece = offset === undefined ? undefined : extend(at, low, home.source, offset)
      if (piece && piece.length > (best?.length ?? ENOUGH - 1)) best = piece
      if (best && best.length >= SURELY) break
    }
    this.#credit += best ? CREDIT / 4 : -1
    return best
  }

  /** A step for each part of a piece that nothing covers yet. */
  #take({ at, length, source, offset }: Piece, mask: Uint8Array, steps: Step[]): void {
    let from = -1
    for (let i = at; i <= at + length; i++) {
      const free = i < at + length && mask[i] === 0
      if (free && from < 0) from = i
      if (free || from < 0) continue
      if (i - from >= LEAST) {
        const number = this.#numbers.get(this.#sources[source]?.index ?? -1) ?? 0
        steps.push({ kind: 'copy', at: from, length: i - from, source: number, offset: offset + from - at })
        mask.fill(1, from, i)
      }
      from = -1
    }
  }

  /** The longest of the pieces that an anchor of the last probe is part of. */
  #longest(
    anchor: number,
    low: number,
    extend: (at: number, low: number, source: number, offset: number) => Piece | undefined,
  ): Piece | undefined {
    const kernel = this.#kernel
    let best: Piece | undefined
    for (let k = 0; k < kernel.places(anchor); k++) {
      const place = kernel.place(anchor, k)
      const source = this.#sourceAt(place)
      if (source < 0) continue
      const piece = extend(kernel.anchor(anchor), low, source, place - (this.#bases[source] ?? 0))
      if (piece && piece.length > (best?.length ?? LEAST - 1)) best = piece
    }
    return best
  }

  /** What is short and mostly zeros could come from anywhere, and costs nothing where it is. */
  #isWorth({ at, length }: Piece, page: number): boolean {
    if (length < LEAST) return false
    if (length >= SHORT) return true
    return this.#kernel.zeros(page, at, length) * 2 < length
  }

  #window(source: number, offset: number): ReturnType<PieceKernel['window']> {
    const from = this.#sources[source]
    return from && this.#kernel.window(source, offset, (at, into) => this.#reader.read(from, at, into))
  }

  #sourceAt(place: number): number {
    let low = 0
    let high = this.#sources.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#bases[middle + 1] ?? 0) <= place) low = middle + 1
      else high = middle
    }
    return low < this.#sources.length ? low : -1
  }
}
