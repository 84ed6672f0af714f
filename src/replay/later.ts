// Pages that the epoch which wrote them last does not make by itself: another epoch made most of them, or they were copied from elsewhere.
// For each page the epoch that made most of it, or the pieces of a large copy, are remembered while epochs go by; when
// the page has not been written for a while, that is tried.
import { onTop, pageBytes, type Piece, whole } from './lenses.ts'
import { type Epoch, pageState, type Shared, word, type Written } from './protocol.ts'

/** Pages in one go. */
export const mostTrials = 512

export interface Trial {
  readonly page: number
  readonly pieces: readonly Piece[]
}

export class Later {
  /** The epoch that made most of a page's bytes since they were last overwritten, and how many words it made. */
  readonly #epoch: Uint32Array
  readonly #gain: Uint16Array
  /** The last one that made anything of it, since it was copied there. */
  readonly #last: Uint32Array
  readonly #copied = new Map<number, readonly Piece[]>()
  /** Pages to be tried, with the epoch of the write before which they were last tried. */
  readonly #wanted = new Set<number>()
  readonly #tried: Uint32Array
  readonly #proved: (page: number) => readonly Piece[] | undefined
  readonly #unproved: (page: number) => boolean
  #ready: number[] = []
  /** Pages for which nothing is left to try. */
  #hopeless: number[] = []

  /** `proved`: what makes a page that is proved, and was not written since. `unproved`: whether a page is to be proved. */
  constructor(
    pages: number,
    proved: (page: number) => readonly Piece[] | undefined,
    unproved: (page: number) => boolean,
  ) {
    this.#proved = proved
    this.#unproved = unproved
    this.#epoch = new Uint32Array(pages)
    this.#gain = new Uint16Array(pages)
    this.#last = new Uint32Array(pages)
    this.#tried = new Uint32Array(pages)
  }

  get ready(): number {
    return this.#ready.length
  }

  wanted(page: number): void {
    this.#wanted.add(page)
  }

  /** Pages were written by an epoch that is not to be replayed, or by none. */
  written({ written }: Epoch | Written): void {
    for (let r = 0; r < written.length; r += 2) {
      const first = written[r] as number
      for (let p = first; p < first + (written[r + 1] as number); p++) this.#wanted.add(p)
    }
  }

  /** What an epoch made of a page. How many words of four bytes. */
  candidate(page: number, epoch: number, made: Uint8Array): number {
    const words = new Uint32Array(made.buffer, made.byteOffset + page * pageBytes, pageBytes / 4)
    let gain = 0
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) gain++
    if (this.#epoch[page] === 0 || gain >= (this.#gain[page] as number)) {
      this.#epoch[page] = epoch
      this.#gain[page] = gain
      // Most of it is new: what was copied there is gone.
      if (gain > 512) this.#copied.delete(page)
    }
    if (gain > 0) this.#last[page] = epoch
    this.#wanted.add(page)
    return gain
  }

  /** The large copies of an epoch, in their order. */
  copies({ copies, id }: Epoch): void {
    for (let i = 0; i < copies.length; i += 3) {
      const [to, from, length] = [copies[i] as number, copies[i + 1] as number, copies[i + 2] as number]
      const added: [number, readonly Piece[]][] = []
      for (let page = Math.floor(to / pageBytes); page * pageBytes < to + length; page++) {
        const start = Math.max(to, page * pageBytes)
        const end = Math.min(to + length, (page + 1) * pageBytes)
        const before = end - start < pageBytes ? this.#piecesOf(page, 0, pageBytes, id) : []
        const kept = before.flatMap(p => cutOut(p, start - page * pageBytes, end - page * pageBytes))
        const moved = this.#range(start - to + from, end - start, id).map(p => ({
          ...p,
          at: p.at + start - page * pageBytes,
        }))
        added.push([page, [...kept, ...moved]])
      }
      for (const [page, pieces] of added) {
        if (pieces.length === 0 || pieces.length > 16) continue
        this.#copied.set(page, pieces)
        this.#epoch[page] = 0
        this.#gain[page] = 0
        this.#last[page] = 0
        this.#wanted.add(page)
      }
    }
  }

  // Where the bytes at [at, at + length) came from, as pieces whose `at` counts from the start of the range.
  #range(at: number, length: number, now: number): Piece[] {
    const pieces: Piece[] = []
    for (let from = at; from < at + length; ) {
      const page = Math.floor(from / pageBytes)
      const end = Math.min(at + length, (page + 1) * pageBytes)
      for (const p of this.#piecesOf(page, from - page * pageBytes, end - page * pageBytes, now))
        pieces.push({ ...p, at: p.at - (from - page * pageBytes) + (from - at) })
      from = end
    }
    return pieces
  }

  // The pieces of a part of a page, in the page's own offsets.
  #piecesOf(page: number, start: number, end: number, now: number): Piece[] {
    const pieces: Piece[] = []
    for (const p of this.#proved(page) ?? this.#guessed(page, now)) {
      const from = Math.max(start, p.at)
      const to = Math.min(end, p.at + p.length)
      if (from < to) pieces.push({ ...p, from: p.from + from - p.at, at: from, length: to - from })
    }
    return pieces
  }

  // Memory that was freed and is used again shows what was there between what the last epoch made.
  #guessed(page: number, now: number): Piece[] {
    const copied = this.#copied.get(page)
    const epoch = this.#epoch[page] as number
    const last = this.#last[page] as number
    const pieces = [...(copied ?? (epoch > 0 && epoch <= now ? [whole(page, epoch)] : []))]
    if (last > 0 && last <= now && (copied !== undefined || last !== epoch)) pieces.push(onTop(page, last))
    return pieces
  }

  /** Of what could be tried still nobody hopes for an epoch that makes it. */
  giveUp(): void {
    for (const page of [...this.#ready, ...this.#wanted]) this.#hopeless.push(page)
    this.#ready = []
    this.#wanted.clear()
  }

  /** Nothing is to be tried any more. */
  forget(): void {
    this.#ready = []
    this.#hopeless = []
    this.#wanted.clear()
  }

  /** Whether pages may be tried still that were not written lately. */
  get idle(): boolean {
    return this.#ready.length === 0 && this.#wanted.size === 0
  }

  /** No epochs make the page well. */
  failed(page: number): void {
    this.#hopeless.push(page)
  }

  get hopeless(): number {
    return this.#hopeless.length
  }

  /** Some of the pages for which nothing is left to try. */
  takeHopeless(): number[] {
    return this.#hopeless.splice(0, mostTrials)
  }

  /** Finds pages that can be tried now. Not those that an epoch from `next` on wrote last: it makes them best, and nobody has looked at it yet. */
  look(shared: Shared, quiet: number, next: number = Infinity): void {
    const open = Math.min(Atomics.load(shared.control, word.open), next - 1 + quiet)
    for (const page of this.#wanted) {
      if (!this.#unproved(page)) {
        // Its drop may be refused, because it was written meanwhile.
        if (shared.states[page] !== pageState.asked) this.#wanted.delete(page)
        continue
      }
      const last = shared.lastWritten[page] as number
      if (last + quiet > open) continue
      this.#wanted.delete(page)
      if (this.#tried[page] === last) continue
      this.#tried[page] = last
      this.#ready.push(page)
    }
    this.#ready.sort((a, b) => this.#firstEpoch(a) - this.#firstEpoch(b))
  }

  /** For each epoch that makes most of one of these pages, which can be tried now, what they count for together. */
  worth(pages: ReadonlyMap<number, number>): Map<number, number> {
    const worth = new Map<number, number>()
    for (const page of this.#ready) {
      const count = pages.get(page)
      if (count === undefined) continue
      const epoch = this.#firstEpoch(page)
      worth.set(epoch, (worth.get(epoch) ?? 0) + count)
    }
    return worth
  }

  /** Puts the pages that some epochs make before the others that can be tried. How many these are. */
  first(epochs: ReadonlySet<number>): number {
    const is = (page: number): boolean => epochs.has(this.#firstEpoch(page))
    const before = this.#ready.filter(is)
    this.#ready = [...before, ...this.#ready.filter(page => !is(page))]
    return before.length
  }

  #firstEpoch(page: number): number {
    return this.#copied.get(page)?.[0]?.epoch ?? (this.#epoch[page] as number)
  }

  /** The first of these, with what may make them. */
  take(have: (epoch: number) => boolean, most: number = mostTrials): Trial[] {
    const trials: Trial[] = []
    for (const page of this.#ready.splice(0, most)) {
      if (!this.#unproved(page)) continue
      const copied = this.#copied.get(page)
      const epoch = this.#epoch[page] as number
      const pieces = copied ?? (epoch > 0 ? [whole(page, epoch)] : [])
      const usable = pieces.filter(p => have(p.epoch))
      if (usable.length > 0) trials.push({ page, pieces: usable })
      else this.#hopeless.push(page)
    }
    return trials
  }
}

// A piece without what lies in [from, to) of its page.
function cutOut(p: Piece, from: number, to: number): Piece[] {
  const out: Piece[] = []
  if (p.at < from) out.push({ ...p, length: Math.min(p.length, from - p.at) })
  const end = p.at + p.length
  if (end > to) {
    const at = Math.max(p.at, to)
    out.push({ epoch: p.epoch, from: p.from + at - p.at, at, length: end - at })
  }
  return out
}
