// The keeper's answers: a page that the guest touches, and that is not there, is made by its lens. What the replay has made besides, or is next, comes
// with it. What came back may stay while it is not too much (pressure.ts), and goes again in the order in which it came.
//
//   virtual → made, hashed, put there: clean        anything else → was never there: zero
//
// Before a page is made all that the guest has sent is heard: what it moved was moved before it is touched. Pages that come along are there before the
// guest is woken.
import { arena, call3, getAddress, nr } from '../sys/ffi.ts'
import { EEXIST, EINTR } from '../sys/errno.ts'
import * as uffd from '../sys/uffd.ts'
import type { KeptEpoch } from './epochs.ts'
import { type Lenses, pageBytes, type Piece, putPiece, type Recipe } from './lenses.ts'
import { Pressure } from './pressure.ts'
import { isTracking, type KeeperData, pageState, type Shared, word } from './protocol.ts'
import type { Replayer } from './replayer.ts'
import type { Requests } from './requests.ts'
import { leastAhead, mostAhead, Streams } from './streams.ts'

const inboxSlots = 16
/** All that a replay has made comes back with the page that it was made for if that is not more: an array's records, and the strings that they name. */
const fewPages = 24
/** While the guest loads it waits for a page until the keeper is done with an epoch: who has come back for pages in order gets those of so many replays. */
const manyAhead = 32
const mostReplays = 3
/** How often a page that came out wrong is made again before the run is given up. */
const mostAttempts = 3

const keyOf = ({ epoch, from, length }: Piece): string => `${epoch} ${from} ${length}`

/** What it needs of the keeper. */
export interface RestorerParts {
  readonly data: KeeperData
  readonly shared: Shared
  readonly lenses: Lenses
  readonly epochs: ReadonlyMap<number, KeptEpoch>
  readonly replayer: Replayer
  readonly requests: Requests
  readonly counts: { rebuilds: number; rebuiltPages: number; mismatches: number }
  /** Hears what the guest has sent. */
  readonly messages: () => void
  /** False if it could not be replayed. */
  readonly replay: (kept: KeptEpoch) => boolean
  /** Whether all that is proved may go. */
  readonly calm: () => boolean
}

export class Restorer {
  readonly #parts: RestorerParts
  readonly #inbox = arena(inboxSlots * uffd.messageSize)
  /** The page that the guest waits for, another, and the recipe of which the last one holds the outcome. */
  readonly #page = arena(pageBytes)
  readonly #other = arena(pageBytes)
  readonly #made = new Uint8Array(pageBytes)
  #madeOf: Recipe | undefined
  /** What epochs have made that are replayed for several pages at once. */
  readonly #slices = new Map<string, Uint8Array>()
  /** Clean pages in the order in which they came back, and before which epoch each did. */
  readonly #came: number[] = []
  readonly #before: Uint32Array
  readonly #streams = new Streams()
  readonly pressure: Pressure
  /** When the last one was answered, and how long each of them took (ms). */
  faultedAt = 0
  readonly times: number[] = []

  constructor(parts: RestorerParts) {
    this.#parts = parts
    this.#before = new Uint32Array(parts.data.pages)
    this.pressure = new Pressure(parts.shared.control, parts.data.budget)
  }

  /** Puts what a piece says into a page. False if its epoch could not be replayed. */
  copy(piece: Piece, into: Uint8Array): boolean {
    const slice = this.#slices.size > 0 ? this.#slices.get(keyOf(piece)) : undefined
    if (slice !== undefined) {
      putPiece({ ...piece, from: 0 }, slice, into)
      return true
    }
    const kept = this.#parts.epochs.get(piece.epoch)
    if (kept === undefined || !this.#parts.replay(kept)) return false
    putPiece(piece, this.#parts.replayer.bytes, into)
    return true
  }

  /** Answers all that waits. */
  faults(): void {
    const { u32, address } = this.#inbox
    for (;;) {
      const n = call3(nr.read, this.#parts.data.uffd, address, inboxSlots * uffd.messageSize)
      if (n === -EINTR) continue
      if (n <= 0) return
      for (let slot = 0; slot < n / uffd.messageSize; slot++) {
        if (((u32[slot * 8] as number) & 0xff) !== uffd.event.pagefault) continue
        this.#fault(Math.floor((getAddress(u32, slot * 8 + 4) - this.#parts.data.base) / pageBytes))
      }
    }
  }

  #fault(page: number): void {
    const start = performance.now()
    const at = this.#parts.data.base + page * pageBytes
    // What is moved was moved before it is touched.
    this.#parts.messages()
    if (this.#parts.shared.states[page] !== pageState.virtual) {
      uffd.zeropage(this.#parts.data.uffd, at, pageBytes)
      uffd.wake(this.#parts.data.uffd, at, pageBytes)
      return
    }
    this.#parts.counts.rebuilds++
    const again = this.#before[page] !== 0
    const stream = this.#streams.of(page)
    const together = this.#together(page, stream.ahead)
    this.#assemble(page, this.#page.bytes)
    const epoch = this.#parts.lenses.epochOf(page)
    if (together.length > 0) {
      for (const next of together) {
        this.#assemble(next, this.#other.bytes)
        this.#install(next, this.#other.address)
      }
      this.#slices.clear()
    } else if (epoch === undefined || !this.#allOf(epoch, page, this.pressure.high ? Infinity : fewPages))
      this.#next(page, stream.ahead)
    // What came with it counts as asked for.
    while (this.#parts.shared.states[stream.last + 1] === pageState.clean && stream.last < page + mostAhead)
      stream.last++
    this.#install(page, this.#page.address)
    const end = (this.faultedAt = performance.now())
    if (this.times.length < 1e6) this.times.push(end - start)
    if (!again && stream.ahead !== leastAhead) return
    this.pressure.waited(start, end)
    if (this.#parts.shared.control[word.tracking] === isTracking.yes) this.#parts.requests.missed()
  }

  // Pages behind a faulting one that the replay has made too; while the guest loads, and goes on in one direction, those of some more replays.
  #next(page: number, ahead: number): void {
    let replays =
      this.#parts.shared.control[word.tracking] === isTracking.yes && ahead >= manyAhead ? mostReplays : 0
    for (let next = page + 1; next <= page + ahead; next++) {
      if (next >= this.#parts.data.pages || this.#parts.shared.states[next] !== pageState.virtual) break
      const packed = this.#parts.lenses.epochOf(next) === undefined
      if (!packed && !this.#parts.lenses.madeBy(next, this.#parts.replayer.holds) && replays-- === 0) break
      this.#assemble(next, this.#other.bytes)
      this.#install(next, this.#other.address)
    }
  }

  // Several epochs make the page: those behind it that the same ones make, and what these make of all of them. Each is replayed once, not for each page.
  #together(page: number, ahead: number): number[] {
    const pieces = [...this.#parts.lenses.pieces(page)]
    const epochs = new Set(pieces.map(piece => piece.epoch))
    const most = epochs.size + 1
    const pages: number[] = []
    if (epochs.size < 2) return pages
    for (let next = page + 1; next <= page + ahead && next < this.#parts.data.pages; next++) {
      if (this.#parts.shared.states[next] !== pageState.virtual) break
      const more = this.#parts.lenses.pieces(next)
      for (const { epoch } of more) epochs.add(epoch)
      if (epochs.size > most) break
      pages.push(next)
      pieces.push(...more)
    }
    if (pages.length === 0) return pages
    for (const piece of pieces.sort((a, b) => a.epoch - b.epoch)) {
      const kept = this.#parts.epochs.get(piece.epoch)
      if (kept === undefined || !this.#parts.replay(kept)) continue
      const { from, length } = piece
      this.#slices.set(keyOf(piece), this.#parts.replayer.bytes.slice(from, from + length))
    }
    return pages
  }

  // Every page that the replay has made, if these are not more than `most`: what was written together is read together.
  #allOf(epoch: number, but: number, most: number): boolean {
    const { states, control } = this.#parts.shared
    const pages = this.#parts.lenses.pagesOf(epoch, control[word.top] as number, most + 1)
    if (pages.length > most) return false
    for (const page of pages) {
      if (page === but || states[page] !== pageState.virtual || !this.#parts.lenses.madeBy(page, epoch))
        continue
      this.#assemble(page, this.#other.bytes)
      this.#install(page, this.#other.address)
    }
    return true
  }

  // The bytes of a virtual page.
  #assemble(page: number, into: Uint8Array): void {
    for (const { recipe, from, at, length } of this.#parts.lenses.parts(page)) {
      if (this.#madeOf !== recipe) this.#make(page, recipe)
      into.set(this.#made.subarray(from, from + length), at)
    }
  }

  #make(page: number, recipe: Recipe): void {
    this.#madeOf = undefined
    // Code that was optimized meanwhile may have given a NaN another payload; the next time may not.
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      this.#made.fill(0)
      const done = recipe.pieces.every(piece => this.copy(piece, this.#made))
      if (done && this.#parts.lenses.finish(recipe, this.#made)) {
        this.#madeOf = recipe
        return
      }
      this.#parts.replayer.holds = -1
      this.#slices.clear()
      this.#parts.counts.mismatches++
    }
    this.#fail(page)
  }

  #install(page: number, from: number): void {
    this.#before[page] = Atomics.load(this.#parts.shared.control, word.open)
    this.#parts.shared.states[page] = pageState.clean
    this.#came.push(page)
    this.#parts.counts.rebuiltPages++
    const at = this.#parts.data.base + page * pageBytes
    const done = uffd.copy(this.#parts.data.uffd, at, from, pageBytes, true)
    if (done < 0) {
      if (done !== -EEXIST) throw new Error(`lethe: UFFDIO_COPY failed (${done})`)
      uffd.wake(this.#parts.data.uffd, at, pageBytes)
    }
  }

  // Never wrong bytes: the guest can't go on without this page.
  #fail(page: number): never {
    throw new Error(
      `the page at ${page * pageBytes} of the guest's memory could not be made again as it was; run the program without --explain`,
    )
  }

  /** What came back, and is too much, is to go again. */
  evict(): void {
    const limit = this.pressure.pages
    if (this.#came.length <= limit) return
    const going = this.#came.splice(0, Math.max(32, Math.floor(limit / 4)))
    for (const page of going) {
      if (this.#parts.requests.hot(page)) {
        this.#came.push(page)
        continue
      }
      // The guest may be writing it, or moving another to its place.
      const { clean, asked } = pageState
      this.#parts.shared.proved[page] = this.#before[page] as number
      if (Atomics.compareExchange(this.#parts.shared.states, page, clean, asked) === clean)
        this.#parts.requests.add(page)
    }
    this.#parts.requests.send(this.#parts.calm())
  }
}
