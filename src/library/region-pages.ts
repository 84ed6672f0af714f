/**
 * The pages of one region, as the pager sees them.
 *
 *              touch: made by the lens, protected            write
 *   virtual ───────────────────────────────────> clean ──────────────> dirty
 *      ↑          over the budget, dropped         │                    │ over the budget:
 *      └───────────────────────────────────────────┘                    │ written to the spill file, dropped
 *                 write                    touch: read back, protected  ↓
 *   dirty <──────────────────── kept <──────────────────────────── spilled
 *
 * In a region of mode 'shared' `collect` makes dirty pages `settled`, which are dirty ones that are protected, and `commit` makes
 * what was collected and not written since clean or virtual, when it is in the backing.
 *
 * In a region of mode 'readonly' a write makes a clean page `touched` instead: the writer goes on, and the page is
 * dropped as soon as it differs from what the lens makes.
 *
 * `decide` says what a fault means, from the page's state alone; `fault` carries it out. One thread does all of this, so
 * that no state changes under it. A page is protected before it is dropped or compared: a write that comes then is a
 * fault, and waits in the userfaultfd until we read it.
 */
import type { Backing } from '../backing/backing.ts'
import { isPending } from '../backing/object.ts'
import { pageBytes } from '../pager/journal.ts'
import { Streams } from '../pager/streams.ts'
import { EAGAIN, EEXIST, errnoName } from '../sys/errno.ts'
import { type Arena, bufferAt } from '../sys/ffi.ts'
import { discard } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import type { Drops } from './drops.ts'
import { type Frames, unitPages } from './frames.ts'
import { MemoryError, plain, type PlainError } from './errors.ts'
import { type Counter, counter, Counters } from './counters.ts'
import type { ByteRange, Mode } from './protocol.ts'
import { type HugePages, spanPages, Spans } from './spans.ts'
import { Spill } from './spill.ts'
import type { TraceKind } from './trace.ts'

export const state = { virtual: 0, clean: 1, dirty: 2, spilled: 3, kept: 4, touched: 5, settled: 6 } as const

/** What a fault calls for. */
export type Decision =
  /** made by the lens */
  | 'refill'
  /** read back from the spill file */
  | 'restore'
  /** a write to a page that the lens could make again: it is the program's from now on */
  | 'unprotect'
  /** a write that is not allowed: it is let through and undone */
  | 'undo'
  /** another fault has been faster */
  | 'wake'

/** The fault decision: from the state of the page and the kind of fault, nothing else. */
export function decide(pageState: number, protectedWrite: boolean, readonly: boolean): Decision {
  switch (pageState) {
    case state.virtual:
      return 'refill'
    case state.spilled:
      return 'restore'
    case state.clean:
    case state.kept:
    case state.settled:
      return !protectedWrite ? 'wake' : readonly ? 'undo' : 'unprotect'
    default:
      return protectedWrite ? 'unprotect' : 'wake'
  }
}

/** What the pages of all regions share. */
export interface Pages {
  readonly uffd: number
  readonly frames: Frames
  readonly drops: Drops
  readonly huge: HugePages
  /** mostPages pages, to make a cluster in. */
  readonly buffer: Arena
  /** Something happened that the region's user has to know. */
  trouble(region: RegionPages, error: PlainError, fatal: boolean): void
  /** Something was done with bytes [from, to) of a region, for whoever traces it. */
  readonly trace:
    | ((kind: TraceKind, region: number, from: number, to: number, value: number) => void)
    | undefined
}

export interface RegionOptions {
  readonly id: number
  readonly address: number
  readonly pages: number
  /** Bytes that the view makes; the rest of the last page is zeros. */
  readonly size: number
  readonly view: Backing
  readonly mode: Mode
  readonly counters: SharedArrayBuffer
  /** Says why the backing is not what it was, after each read from it. */
  readonly changed: () => string | undefined
  /** First of the region's numbers among all units. */
  readonly firstUnit: number
}

export class RegionPages {
  readonly id: number
  readonly start: number
  readonly end: number
  readonly pages: number
  readonly firstUnit: number
  readonly mode: Mode
  readonly counters: Counters
  readonly #shared: Pages
  #view: Backing
  readonly #size: number
  #changed: () => string | undefined
  readonly #states: Uint8Array
  /** Resident pages of each unit, and how often it is pinned. */
  readonly #resident: Uint8Array
  readonly #pins: Uint16Array
  readonly #spans: Spans
  readonly #streams = new Streams()
  readonly #writeStreams = new Streams()
  /** Our own sight of the region. Only pages that are there are touched through it. */
  readonly #memory: Uint8Array
  readonly #undo: { page: number; offset: number; until: number }[] = []
  /** Of each page, whether the write-back that goes on has it as it is. */
  #collected: Uint8Array | undefined
  #spill: Spill | undefined
  #spillFull = false
  failed = false
  /** What it costs to bring a unit, in microseconds, lately. */
  cost = 10

  constructor(shared: Pages, options: RegionOptions) {
    this.#shared = shared
    this.id = options.id
    this.start = options.address
    this.pages = options.pages
    this.end = options.address + options.pages * pageBytes
    this.firstUnit = options.firstUnit
    this.mode = options.mode
    this.#view = options.view
    this.#size = options.size
    this.#changed = options.changed
    this.counters = new Counters(options.counters)
    this.#states = new Uint8Array(options.pages)
    this.#resident = new Uint8Array(this.units)
    this.#pins = new Uint16Array(this.units)
    this.#spans = new Spans(options.pages)
    this.#memory = new Uint8Array(bufferAt(options.address, options.pages * pageBytes))
  }

  get units(): number {
    return Math.ceil(this.pages / unitPages)
  }

  /** Serves a fault at an address of this region. Throws a Pending when it can't be served yet. */
  fault(address: number, flags: number): void {
    const page = Math.floor((address - this.start) / pageBytes)
    const write = (flags & uffd.fault.write) !== 0
    const protectedWrite = (flags & uffd.fault.wp) !== 0
    this.#count(counter.faults, 1)
    this.#trace('fault', page, page + 1, write || protectedWrite ? 1 : 0)
    const was = this.#states[page] as number
    switch (decide(was, protectedWrite, this.mode === 'readonly')) {
      case 'refill':
      case 'restore':
        return this.#bring(page, was, write && this.mode !== 'readonly')
      case 'unprotect':
        return this.#unprotect(page)
      case 'undo':
        return this.#letThrough(page, address)
      case 'wake':
        uffd.wake(this.#shared.uffd, this.#at(page), pageBytes)
    }
  }

  /** Brings the page and, in the direction in which the program walks, what lies in the same state beside it. */
  #bring(page: number, was: number, write: boolean): void {
    const states = this.#states
    const want = this.#streams.next(this.#at(page))
    const most = Math.min(want.pages, this.#shared.frames.cluster)
    let from = page
    let to = page + 1
    if (want.backward) while (to - from < most && from > 0 && states[from - 1] === was) from--
    else while (to - from < most && to < this.pages && states[to] === was) to++
    // What comes is counted in units.
    while (from % unitPages !== 0 && states[from - 1] === was) from--
    while (to % unitPages !== 0 && to < this.pages && states[to] === was) to++
    this.#streams.brought(this.#at(from), this.#at(to))
    if (write) {
      // The written page alone, and writable: the thread goes on while the rest is made.
      this.#fill(page, page + 1, was, true)
      if (from < page) this.#fill(from, page, was, false)
      if (to > page + 1) this.#fill(page + 1, to, was, false)
    } else this.#fill(from, to, was, false)
  }

  /** After a fault of a long forward stream: brings more before it is asked for. False when there is nothing to bring. */
  readAhead(): boolean {
    const at = this.#streams.ahead()
    if (at < this.start || at >= this.end) return false
    const page = (at - this.start) / pageBytes
    const was = this.#states[page] as number
    if (was !== state.virtual && was !== state.spilled) return false
    const most = Math.max(1, this.#shared.frames.cluster >> 2)
    let to = page + 1
    while (to - page < most && to < this.pages && this.#states[to] === was) to++
    this.#fill(page, to, was, false)
    this.#streams.extended(this.#at(to))
    return true
  }

  /** Whether the last fault belongs to a long forward stream. */
  get streaming(): boolean {
    return this.#streams.ahead() >= 0
  }

  /** Brings those of [from, to) that are not there, at most mostPages of them. Where to go on. */
  ensure(from: number, to: number): number {
    let at = from
    while (at < to && !this.#isAbsent(at)) at++
    if (at >= to) return to
    const was = this.#states[at] as number
    let stop = at + 1
    while (stop < to && stop - at < this.#shared.frames.cluster && this.#states[stop] === was) stop++
    this.#fill(at, stop, was, false)
    return stop
  }

  #isAbsent(page: number): boolean {
    const s = this.#states[page]
    return s === state.virtual || s === state.spilled
  }

  // Fills pages [from, to), all in state `was`, which is virtual or spilled.
  #fill(from: number, to: number, was: number, writable: boolean): void {
    const { frames, drops } = this.#shared
    for (let at = from; at < to; ) {
      const pages = Math.min(to - at, frames.cluster)
      for (let unit = Math.floor(at / unitPages); unit * unitPages < at + pages; unit++)
        if (this.#resident[unit] === 0 && this.#pins[unit] === 0) frames.admit(this, unit)
      drops.flush()
      const began = performance.now()
      if (was === state.spilled) this.#restore(at, pages)
      else this.#make(at, pages)
      const present = writable ? state.dirty : was === state.spilled ? state.kept : state.clean
      this.#copyIn(at, pages, present, was)
      const microseconds = (performance.now() - began) * 1000
      this.#trace('refill', at, at + pages, microseconds)
      this.cost += ((microseconds * unitPages) / pages - this.cost) / 16
      at += pages
    }
  }

  // Written pages, in the buffer.
  #restore(page: number, pages: number): void {
    const { buffer } = this.#shared
    try {
      ;(this.#spill as Spill).read(page, pages, buffer)
    } catch (error) {
      this.fail(error)
      buffer.bytes.fill(0xff, 0, pages * pageBytes)
    }
  }

  // The lens's bytes of some pages, in the buffer. When they can't be had, all ones: NaN as a float, and the region has failed.
  #make(page: number, pages: number): void {
    const bytes = this.#shared.buffer.bytes.subarray(0, pages * pageBytes)
    const offset = page * pageBytes
    const wanted = Math.max(0, Math.min(bytes.length, this.#size - offset))
    if (!this.failed && wanted > 0) {
      try {
        const got = this.#view.read(offset, wanted === bytes.length ? bytes : bytes.subarray(0, wanted))
        const why = this.#changed()
        if (why !== undefined) throw new MemoryError('changed', why)
        if (got !== wanted)
          throw new MemoryError('io', `The backing gave ${got} of ${wanted} bytes at ${offset} of the view`)
      } catch (error) {
        // Nothing has changed but that the bytes are on their way.
        if (isPending(error)) throw error
        const why = this.#changed()
        // A lens that met other bytes than it knew says so in words of its own.
        this.fail(why === undefined ? error : new MemoryError('changed', why, error))
      }
    }
    if (this.failed) bytes.fill(0xff)
    else if (wanted < bytes.length) bytes.fill(0, wanted)
  }

  /** Nothing more can be made: from now on pages that are not there come as all ones, never as other bytes. */
  fail(error: unknown): void {
    if (this.failed) return
    this.failed = true
    const why = plain(error)
    this.counters.fail(why)
    this.#shared.trouble(this, why, true)
  }

  #copyIn(page: number, pages: number, present: number, was: number): void {
    const { uffd: fd, buffer } = this.#shared
    const length = pages * pageBytes
    for (let done = 0, tries = 0; done < length; ) {
      const target = this.#at(page) + done
      const result = uffd.copy(fd, target, buffer.address + done, length - done, present !== state.dirty)
      const first = page + done / pageBytes
      const brought = uffd.completed / pageBytes
      this.#become(first, first + brought, present)
      this.#count(counter.refilled, brought)
      done += uffd.completed
      if (result === 0 || done >= length) continue
      if (result === -EEXIST) {
        // A page that we took for absent is there: it can only be the program's.
        const p = page + done / pageBytes
        if (this.#states[p] === was) this.#become(p, p + 1, state.dirty)
        this.#protect(p, p + 1, false)
        done += pageBytes
      } else if (result !== -EAGAIN || ++tries > 1000) {
        this.fail(new MemoryError('internal', `Filling a page failed: ${errnoName(result)}`))
        uffd.poison(fd, this.#at(page) + done, pageBytes)
        return
      }
    }
  }

  #unprotect(page: number): void {
    const states = this.#states
    let to = page + 1
    // Who writes page after page gets a run of them.
    const want = this.#writeStreams.next(this.#at(page))
    if (!want.backward && !want.first)
      while (to - page < want.pages && to < this.pages && isProtected(states[to] as number)) to++
    this.#writeStreams.brought(this.#at(page), this.#at(to))
    for (let p = page; p < to; p++) this.#become(p, p + 1, state.dirty)
    this.#count(counter.writes, to - page)
    this.#protect(page, to, false)
  }

  #letThrough(page: number, address: number): void {
    const offset = address - this.start
    this.#shared.trouble(
      this,
      {
        code: 'readonly',
        message: `A write at byte ${offset} of a region of mode 'readonly' was undone; map it with mode 'private'`,
      },
      false,
    )
    this.#become(page, page + 1, state.touched)
    this.#undo.push({ page, offset, until: performance.now() + 200 })
    this.#protect(page, page + 1, false)
  }

  /** Takes back writes that were let through. Whether there are some left. */
  undoWrites(): boolean {
    const { buffer } = this.#shared
    for (let n = this.#undo.length; n > 0; n--) {
      const one = this.#undo.shift() as { page: number; offset: number; until: number }
      if (this.#states[one.page] !== state.touched) continue
      this.#protect(one.page, one.page + 1, true)
      try {
        this.#make(one.page, 1)
      } catch {
        // What it was is on its way.
        this.#protect(one.page, one.page + 1, false)
        this.#undo.push(one)
        continue
      }
      const now = this.#memory.subarray(one.page * pageBytes, (one.page + 1) * pageBytes)
      const written = Buffer.compare(now, buffer.bytes.subarray(0, pageBytes)) !== 0
      if (written || performance.now() > one.until) {
        this.drop(one.page, one.page + 1)
        this.#leaveIfEmpty(one.page)
      } else {
        // The writer has not come to it yet.
        this.#protect(one.page, one.page + 1, false)
        this.#undo.push(one)
      }
    }
    return this.#undo.length > 0
  }

  /** Lets go of a unit; what can go is dropped with the next flush of `drops`. Whether all of it could go. */
  evict(unit: number): boolean {
    const first = unit * unitPages
    const last = Math.min(this.pages, first + unitPages)
    const states = this.#states
    let whole = true
    for (let at = first; at < last; ) {
      const was = states[at] as number
      let to = at + 1
      while (to < last && states[to] === was) to++
      const written = was === state.dirty || was === state.settled
      if (was === state.clean || was === state.kept || (written && this.#keep(at, to)))
        this.#shared.drops.add(this, states[at] as number, at, to)
      else if (written || was === state.touched) whole = false
      at = to
    }
    return whole
  }

  // Puts dirty pages into the spill file. They are protected first, so that what is written is what they hold when they go.
  #keep(from: number, to: number): boolean {
    const was = this.#states[from]
    this.#protect(from, to, true)
    try {
      this.#spill ??= new Spill()
      this.#spill.write(from, this.#at(from), (to - from) * pageBytes)
      this.#become(from, to, state.kept)
      return true
    } catch (error) {
      if (was === state.dirty) this.#protect(from, to, false)
      if (!this.#spillFull) {
        this.#spillFull = true
        this.#shared.trouble(this, plain(error), false)
      }
      return false
    }
  }

  /** Gives back pages that are in the same state, and protected. */
  drop(from: number, to: number): void {
    this.#scatter(from, to, true)
    discard(this.#at(from), (to - from) * pageBytes)
    this.#become(from, to, this.#states[from] === state.kept ? state.spilled : state.virtual)
    this.#count(counter.evicted, to - from)
    this.#trace('evict', from, to, 0)
  }

  /** Keeps the pages [from, to) from being dropped, from when they come. */
  pin(from: number, to: number): void {
    // From now on they are never absent, not even for the moment that it would take to drop a part of their spans.
    this.#scatter(from, to, false)
    for (let unit = Math.floor(from / unitPages); unit * unitPages < to; unit++) {
      if (this.#pins[unit] === 0) this.#shared.frames.pin(this, unit)
      this.#pins[unit] = (this.#pins[unit] as number) + 1
    }
    this.#shared.drops.flush()
    this.#count(counter.pinned, to - from)
  }

  /** Writes to those of [from, to) that are there are no faults from now on. */
  makeWritable(from: number, to: number): void {
    for (let p = from; p < to; p++)
      if (isProtected(this.#states[p] as number)) {
        this.#become(p, p + 1, state.dirty)
        this.#protect(p, p + 1, false)
      }
  }

  unpin(from: number, to: number): void {
    for (let unit = Math.floor(from / unitPages); unit * unitPages < to; unit++) {
      this.#pins[unit] = (this.#pins[unit] as number) - 1
      if (this.#pins[unit] === 0) this.#shared.frames.unpin(this, unit, (this.#resident[unit] as number) > 0)
    }
    this.#shared.drops.flush()
    this.#count(counter.pinned, from - to)
  }

  isPinned(unit: number): boolean {
    return (this.#pins[unit] as number) > 0
  }

  /** Protects all written pages; where they are, in bytes. */
  collect(): ByteRange[] {
    const states = this.#states
    const collected = new Uint8Array(this.pages)
    const runs: ByteRange[] = []
    for (let at = 0; at < this.pages; ) {
      const was = states[at] as number
      let to = at + 1
      while (to < this.pages && states[to] === was) to++
      if (was === state.dirty) {
        this.#protect(at, to, true)
        this.#become(at, to, state.settled)
      }
      if (was === state.dirty || was === state.settled || was === state.kept || was === state.spilled) {
        collected.fill(1, at, to)
        runs.push({ from: at * pageBytes, to: to * pageBytes })
      }
      at = to
    }
    this.#collected = collected
    return runs
  }

  /** What was collected, and not written since, is what the view makes now. */
  commit(view: Backing, changed: () => string | undefined): void {
    if (view !== this.#view) this.#view.close()
    this.#view = view
    this.#changed = changed
    for (let p = 0; p < this.pages; p++) {
      if (this.#collected?.[p] !== 1) continue
      const was = this.#states[p]
      if (was === state.settled || was === state.kept) this.#become(p, p + 1, state.clean)
      else if (was === state.spilled) this.#become(p, p + 1, state.virtual)
    }
    this.#collected = undefined
  }

  /** Whether `settle` has something to do. */
  get unsettled(): boolean {
    return this.#spans.waiting && !this.failed
  }

  /** Puts a span that is all there on a huge page. False if there was no huge page to be had. */
  settle(): boolean {
    const span = this.#spans.take()
    if (span === undefined) return true
    const first = span * spanPages
    const was = this.#states[first] as number
    if ((was !== state.dirty && !isProtected(was)) || !this.#isAlike(first, was)) return true
    const bytes = this.#memory.subarray(first * pageBytes, (first + spanPages) * pageBytes)
    if (was === state.dirty) this.#protect(first, first + spanPages, true)
    const gathered = this.#shared.huge.gather(this.#at(first), bytes, was !== state.dirty)
    if (gathered === undefined) {
      if (was === state.dirty) this.#protect(first, first + spanPages, false)
      return false
    }
    if (gathered.huge) this.#spans.gathered(span)
    else this.#spans.scattered(span)
    this.#countHuge()
    for (const n of gathered.written) {
      const page = first + n
      this.#count(counter.writes, 1)
      if (this.mode === 'readonly') this.#letThrough(page, this.#at(page))
      else {
        this.#become(page, page + 1, state.dirty)
        this.#protect(page, page + 1, false)
      }
    }
    return true
  }

  // Whether the pages of a span are all in one state, and none is pinned.
  #isAlike(first: number, was: number): boolean {
    for (let p = first; p < first + spanPages; p++) if (this.#states[p] !== was) return false
    for (let unit = first / unitPages; unit * unitPages < first + spanPages; unit++)
      if (this.isPinned(unit)) return false
    return true
  }

  // Spans that hold some of [from, to) leave their huge pages. `gone`: what lies in [from, to) need not come back.
  #scatter(from: number, to: number, gone: boolean): void {
    const spans = this.#spans
    for (let first = from - (from % spanPages); first < to; first += spanPages) {
      const span = first / spanPages
      if (!spans.onHuge(span)) continue
      spans.scattered(span)
      const begin = gone ? Math.max(0, from - first) : 0
      const end = gone ? Math.min(spanPages, to - first) : 0
      if (end - begin === spanPages) continue
      const bytes = this.#memory.subarray(first * pageBytes, (first + spanPages) * pageBytes)
      const isProtectedHere = (n: number): boolean => isProtected(this.#states[first + n] as number)
      if (!this.#shared.huge.scatter(this.#at(first), bytes, begin, end, isProtectedHere))
        this.fail(new MemoryError('internal', 'The kernel has no memory for pages that were there'))
    }
    this.#countHuge()
  }

  /** Protects pages, or takes that away and wakes who waits to write to them. */
  #protect(from: number, to: number, on: boolean): void {
    uffd.writeprotect(this.#shared.uffd, this.#at(from), (to - from) * pageBytes, on)
    this.#spans.protect(from, to)
    this.#countHuge()
  }

  #countHuge(): void {
    const more = this.#spans.huge * spanPages - this.counters.get(counter.huge)
    if (more !== 0) this.#count(counter.huge, more)
  }

  /** Ends it: the caller takes the memory away. */
  close(): void {
    for (let unit = 0; unit < this.units; unit++)
      if (this.isPinned(unit)) this.#shared.frames.unpin(this, unit, false)
    this.#spill?.close()
    this.#view.close()
  }

  #at(page: number): number {
    return this.start + page * pageBytes
  }

  #trace(kind: TraceKind, from: number, to: number, value: number): void {
    this.#shared.trace?.(kind, this.id, from * pageBytes, to * pageBytes, value)
  }

  #count(which: Counter, n: number): void {
    this.counters.add(which, n)
  }

  // The only place where states change, and with them all that is counted. All of [from, to) are in the same state before.
  #become(from: number, to: number, now: number): void {
    const was = this.#states[from] as number
    if (was === now || to <= from) return
    this.#states.fill(now, from, to)
    const pages = to - from
    const written = isWritten(now) - isWritten(was)
    if (written !== 0) this.#count(counter.dirty, written * pages)
    if (now === state.dirty) this.#collected?.fill(0, from, to)
    const spilled = isSpilled(now) - isSpilled(was)
    if (spilled !== 0) this.#count(counter.spilled, spilled * pages)
    const there = isThere(now) - isThere(was)
    if (there === 0) return
    this.#count(counter.resident, there * pages)
    for (let at = from; at < to; ) {
      const unit = Math.floor(at / unitPages)
      const stop = Math.min(to, (unit + 1) * unitPages)
      this.#resident[unit] = (this.#resident[unit] as number) + there * (stop - at)
      this.#spans.count(at, there * (stop - at))
      at = stop
    }
  }

  #leaveIfEmpty(page: number): void {
    const unit = Math.floor(page / unitPages)
    if (this.#resident[unit] === 0 && this.#pins[unit] === 0) this.#shared.frames.left(this, unit)
  }
}

const isProtected = (s: number): boolean => s === state.clean || s === state.kept || s === state.settled
const isThere = (s: number): number => (s === state.virtual || s === state.spilled ? 0 : 1)
const isWritten = (s: number): number => (s === state.dirty || s === state.settled ? 1 : 0)
const isSpilled = (s: number): number => (s === state.spilled || s === state.kept ? 1 : 0)
