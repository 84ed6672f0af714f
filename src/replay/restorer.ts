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
import { Slices } from './slices.ts'
import { leastAhead, mostAhead, Streams } from './streams.ts'

const inboxSlots = 16
/** So many pages that hold nothing come with the one that is wanted. */
const mostZeros = 256
/** All that a replay has made comes back with the page that it was made for if that is not more: an array's records, and the strings that they name. */
const fewPages = 24
/** While the guest loads it waits for a page until the keeper is done with an epoch: who has come back for pages in order gets those of so many replays. */
const manyAhead = 32
const mostReplays = 3
/** Until the keeper runs when the guest has touched a page, and the guest when the page is there (ms): an estimate. */
const wakeUps = 0.04
/** How often a page that came out wrong is made again before the run is given up. */
const mostAttempts = 3

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
  /** Whether a virtual page is all zeros: it was given back, or proved to be. */
  readonly holdsNothing: (page: number) => boolean
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
  readonly #zero = arena(pageBytes)
  readonly #made = new Uint8Array(pageBytes)
  #madeOf: Recipe | undefined
  /** What the last epochs that were replayed have made of pages that came, or may come next. */
  readonly #slices = new Slices()
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
    this.pressure = new Pressure(parts.shared, parts.data.budget)
  }

  /** Puts what a piece says into a page. False if its epoch could not be replayed. */
  copy(piece: Piece, into: Uint8Array): boolean {
    const slice = this.#slices.get(piece)
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
    if (this.#parts.holdsNothing(page)) return this.#zeros(page)
    this.#parts.counts.rebuilds++
    const again = this.#before[page] !== 0
    const stream = this.#streams.of(page)
    const epochs = [...new Set(this.#parts.lenses.pieces(page).map(piece => piece.epoch))].sort(
      (x, y) => x - y,
    )
    const companions = this.#companions(page, epochs, stream.ahead)
    this.#gather([page, ...companions], epochs)
    this.#assemble(page, this.#page.bytes)
    for (const other of companions)
      if (this.#isGathered(other)) {
        this.#assemble(other, this.#other.bytes)
        this.#install(other, this.#other.address)
      }
    this.#next(page, this.pressure.high ? mostAhead : stream.ahead)
    // What came with it counts as asked for.
    while (this.#parts.shared.states[stream.last + 1] === pageState.clean && stream.last < page + mostAhead)
      stream.last++
    this.#install(page, this.#page.address)
    const end = (this.faultedAt = performance.now())
    if (this.times.length < 1e6) this.times.push(end - start)
    if (!again && stream.ahead !== leastAhead) return
    this.pressure.waited(start - wakeUps, end)
    if (this.#parts.shared.control[word.tracking] === isTracking.yes) this.#parts.requests.missed()
  }

  // A page of memory that was given back, and those behind it that hold nothing either: who takes the memory again goes on there.
  #zeros(page: number): void {
    const { states } = this.#parts.shared
    let end = page + 1
    while (
      end < page + mostZeros &&
      end < this.#parts.data.pages &&
      states[end] === pageState.virtual &&
      this.#parts.holdsNothing(end)
    )
      end++
    // The one that is waited for is the last.
    for (let other = page + 1; other < end; other++) this.#install(other, this.#zero.address)
    this.#install(page, this.#zero.address)
  }

  // Packed pages behind a faulting one; while the guest loads, and goes on in one direction, those of some more replays.
  #next(page: number, ahead: number): void {
    const { states, control } = this.#parts.shared
    let replays = control[word.tracking] === isTracking.yes && ahead >= manyAhead ? mostReplays : 0
    for (let next = page + 1; next <= page + ahead; next++) {
      if (next < this.#parts.data.pages && states[next] === pageState.clean) continue
      if (next >= this.#parts.data.pages || states[next] !== pageState.virtual) break
      const packed = this.#parts.lenses.epochOf(next) === undefined
      if (!packed && !this.#parts.lenses.madeBy(next, this.#parts.replayer.holds) && replays-- === 0) break
      this.#assemble(next, this.#other.bytes)
      this.#install(next, this.#other.address)
    }
  }

  // Pages that the epochs have to do with as well, if these are few: what was written together is read together. Else those behind the page that the
  // same epochs make.
  #companions(page: number, epochs: readonly number[], ahead: number): number[] {
    const { shared, lenses } = this.#parts
    const { states, control } = shared
    const most = this.pressure.high ? Infinity : fewPages
    const pages = new Set<number>()
    for (const epoch of epochs) {
      const all = lenses.pagesOf(epoch, control[word.top] as number, most + 1)
      if (all.length <= most) for (const other of all) pages.add(other)
    }
    for (let next = page + 1; next <= page + ahead && next < this.#parts.data.pages; next++) {
      if (states[next] !== pageState.virtual) break
      const pieces = lenses.pieces(next)
      if (pieces.length === 0 || pieces.some(piece => !epochs.includes(piece.epoch))) break
      pages.add(next)
    }
    pages.delete(page)
    return [...pages].filter(other => states[other] === pageState.virtual)
  }

  // What epochs make of pages, for the first of which they are replayed. Of an epoch that was replayed for the page before, what it made of this one is
  // there still: an epoch mostly ends within a page.
  #gather(pages: readonly number[], epochs: readonly number[]): void {
    const { lenses, replayer } = this.#parts
    const pieces = pages.map(page => lenses.pieces(page))
    for (const epoch of epochs) {
      if (pieces[0]?.every(piece => piece.epoch !== epoch || this.#slices.get(piece) !== undefined)) continue
      const kept = this.#parts.epochs.get(epoch)
      if (kept === undefined || !this.#parts.replay(kept)) continue
      const own = pieces.flat().filter(piece => piece.epoch === epoch)
      this.#slices.put(epoch, own, replayer.bytes, epochs)
    }
  }

  #isGathered(page: number): boolean {
    return this.#parts.lenses.pieces(page).every(piece => this.#slices.get(piece) !== undefined)
  }

  /** What was made for pages that did not come is forgotten. */
  forget(): void {
    this.#slices.clear()
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
