// One address space that we serve: its userfaultfd, its journal, and what to do about each message.
//
// A fault is decided by `decide` (decide.ts, which the simulated machine uses too), from the page's state alone, and carried out by `serve`. After every ioctl that
// says EAGAIN an event waits that may change the answer: the caller reads it and asks again. States change
// *after* a page has been filled and *before* a protection is taken away, so that at every instant the journal
// promises no more than what is true:
//
//   virtual            → refill a cluster, protected; the page of a write is left unprotected and becomes present. If the
//                        page is there after all (its bringer died before he said so), it is the program's
//   missing, absent    → zero pages
//   missing, dropping  → wait: who drops wakes
//   protected, clean or verifying → present, then the protection goes
//   missing, present or clean → another fault has brought it, or else poison: a bug, or memory that vanished without an
//                        event; loud (SIGBUS), never a page of zeros
// See server.ts.
import { performance } from 'node:perf_hooks'
import type { Backing } from '../backing/backing.ts'
import { EAGAIN, EEXIST, ENOENT, ESRCH, errnoName } from '../sys/errno.ts'
import { readFully } from '../sys/fd.ts'
import { type Arena, getAddress } from '../sys/ffi.ts'
import { page, scanPages } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import {
  agePages,
  blockBytes,
  counter,
  type Journal,
  pageBytes,
  type Place,
  state,
  zeroBacking,
} from './journal.ts'
import { LateEvents } from './late.ts'
import type { Prices } from './prices.ts'
import { decide } from './decide.ts'
import { Streams } from './streams.ts'

/** A file that pages are refilled from. */
export interface OpenBacking {
  readonly fd: number
  readonly path: string
  /** What a lens makes of the file, if pages do not hold the file's own bytes. */
  readonly view?: Backing
  /** Backings that it depends on besides its own file. */
  readonly sources?: readonly number[]
  /** Why it can't serve any more, once it can't. */
  lost?: string
}

/** How serving went. `again`: an event has to be read first; `gone`: the address space is no more. */
export type Served = 'done' | 'again' | 'gone'

/** Seconds from which on a read is slow. */
const slow = 200e-6

/** Pages that one refill brings at most. */
export const maxCluster = 256

export class Space {
  readonly fd: number
  readonly journal: Journal
  /** A forked child: its pages are served and never dropped again. */
  readonly child: boolean
  readonly late: LateEvents
  readonly #pagemap: number
  readonly #backings: ReadonlyMap<number, OpenBacking>
  readonly #buffer: Arena
  readonly #most: number
  readonly #streams = new Streams()
  readonly #zeroStreams = new Streams()
  readonly #writeStreams = new Streams()
  readonly #place: Place = { backing: 0, offset: 0, pages: 0 }
  readonly #prices: Prices
  readonly #report: (message: string) => void
  /** A fill has failed in a way that nothing explains but want of memory, and it was said. */
  #failing = false
  #untimed = 0
  /** Current tick, for the ages of refilled pages. */
  tick = 0

  /** `pagemap`: /proc/PID/pagemap, open, or -1 when the pid is not known. `buffer`: maxCluster pages. */
  constructor(
    fd: number,
    journal: Journal,
    child: boolean,
    pagemap: number,
    backings: ReadonlyMap<number, OpenBacking>,
    buffer: Arena,
    limit: number,
    prices: Prices,
    report: (message: string) => void,
  ) {
    this.fd = fd
    this.journal = journal
    this.child = child
    this.late = new LateEvents(journal)
    this.#pagemap = pagemap
    this.#backings = backings
    this.#buffer = buffer
    // Under a budget one cluster must not push out much of the rest.
    this.#most = limit === 0 ? maxCluster : Math.max(1, Math.min(maxCluster, Math.floor(limit / 16)))
    this.#prices = prices
    this.#report = report
  }

  /** Registers a whole mapping and records which of its pages are there. 0, or a negative errno. */
  register(start: number, end: number): number {
    const { journal } = this
    journal.grow(start, end)
    const done = uffd.register(this.fd, start, end - start)
    if (done < 0) return done
    // Only what is new to us: a page that the program has just removed may be there still, until its thread runs on.
    const fresh: [number, number][] = []
    journal.runs(start, end, (from, to, s) => {
      if (s === state.none) fresh.push([from, to])
    })
    for (const [from, to] of fresh) {
      for (let at = from; at < to; at += pageBytes) journal.set(at, state.absent)
      scanPages(this.#pagemap, from, to, 0, 0, page.present | page.swapped, (first, last) => {
        for (let at = first; at < last; at += pageBytes) journal.exchange(at, state.absent, state.present)
      })
    }
    return 0
  }

  /** Whether serving this fault would bring explained memory back. */
  brings(address: number, flags: number): boolean {
    const at = address - (address % pageBytes)
    return decide(this.journal.stateOf(at), (flags & uffd.fault.wp) !== 0) === 'refill'
  }

  /** Serves one page fault message. */
  fault(address: number, flags: number): Served {
    const at = address - (address % pageBytes)
    const protectedWrite = (flags & uffd.fault.wp) !== 0
    const decision = decide(this.journal.stateOf(at), protectedWrite)
    switch (decision) {
      case 'refill':
        return this.#refillAround(at, (flags & uffd.fault.write) !== 0)
      case 'zero':
        return this.#zero(at)
      case 'unprotect':
        return this.#unprotect(at)
      case 'wait':
        return this.#wait(address, flags)
      case 'check':
        // Protected, so it is there after all: the fill finds that out, and takes the protection away.
        if (protectedWrite) return this.#refillAround(at, true)
        return this.#poison(at, 'it vanished without an event')
      case 'poison':
        return this.#poison(at, 'its backing is lost')
    }
  }

  // Who drops wakes, if it sees that somebody waits. It may have looked for that between our look at the state and now.
  #wait(address: number, flags: number): Served {
    Atomics.add(this.journal.counters, counter.waiting, 1)
    const at = address - (address % pageBytes)
    return this.journal.stateOf(at) === state.dropping ? 'done' : this.fault(address, flags)
  }

  #refillAround(at: number, write: boolean): Served {
    const { journal } = this
    const want = this.#streams.next(at)
    const most = Math.min(this.#worth(at, want.pages), this.#most)
    const inside = (p: number): boolean => journal.stateOf(p) === state.virtual
    let start = at
    let end = at + pageBytes
    // A cluster lies in the direction in which the stream moves.
    if (want.backward) while (end - start < most * pageBytes && inside(start - pageBytes)) start -= pageBytes
    else while (end - start < most * pageBytes && inside(end)) end += pageBytes
    this.#streams.brought(start, end)
    if (!write || this.child) return this.#answered(at, this.refill(start, end, !this.child))
    // The written page first, unprotected and alone, then the rest.
    const first = this.refill(at, at + pageBytes, false)
    if (first !== 'done') return first
    if (start < at) return this.refill(start, at, true)
    return end > at + pageBytes ? this.refill(at + pageBytes, end, true) : 'done'
  }

  // Who waits for one page is not woken by a refill that came to nothing at another page of the cluster.
  #answered(at: number, served: Served): Served {
    if (served !== 'done') return served
    const now = this.journal.stateOf(at)
    if (now === state.virtual) return this.refill(at, at + pageBytes, !this.child)
    return now === state.lost ? this.#poison(at, 'its backing is lost') : 'done'
  }

  // Where it takes long to get at a place, its neighbours come along even if nobody may want them.
  #worth(at: number, pages: number): number {
    if (pages >= agePages || !this.journal.place(at, this.#place)) return pages
    if (this.#prices.urgent) return agePages
    return this.#prices.read(this.#place.backing) > slow ? agePages : pages
  }

  /** Whether the last fault belongs to a long forward stream. */
  get streaming(): boolean {
    return this.#streams.ahead() >= 0
  }

  /**
   * After a fault of a long forward stream: brings the next cluster before it is asked for, while the thread that
   * was woken runs on another CPU. False when there is nothing to bring.
   */
  readAhead(): boolean {
    const start = this.#streams.ahead()
    if (start < 0 || this.journal.stateOf(start) !== state.virtual) return false
    const step = Math.max(1, Math.floor(this.#most / 4))
    let end = start + pageBytes
    while (end - start < step * pageBytes && this.journal.stateOf(end) === state.virtual) end += pageBytes
    if (this.refill(start, end, !this.child) !== 'done') return false
    this.#streams.extended(end)
    return true
  }

  /** Fills the virtual pages of [start, end) from their backings. `protect`: they stay clean. */
  refill(start: number, end: number, protect: boolean): Served {
    const { journal } = this
    const place = this.#place
    for (let at = start; at < end; ) {
      if (journal.stateOf(at) !== state.virtual) {
        at += pageBytes
        continue
      }
      if (!journal.place(at, place)) return this.#poison(at, 'it is virtual without an explanation')
      let pages = 1
      const most = Math.min(place.pages, (end - at) / pageBytes, maxCluster)
      while (pages < most && journal.stateOf(at + pages * pageBytes) === state.virtual) pages++
      if (place.backing === zeroBacking) {
        const served = this.#fill(at, pages * pageBytes, false, true)
        if (served !== 'done') return served
        at += pages * pageBytes
        continue
      }
      const backing = this.#backings.get(place.backing)
      if (backing === undefined || backing.lost !== undefined)
        return this.#lose(at, pages, backing?.lost ?? `backing ${place.backing} is not open`)
      const length = pages * pageBytes
      const taken = this.#take(backing, place, at, length, protect)
      if (typeof taken === 'string')
        return this.#lose(at, pages, `${backing.path} gave ${taken} at ${place.offset}`)
      const served = this.#fill(at, length, protect, false, taken)
      if (served !== 'done') return served
      at += length
    }
    return 'done'
  }

  /**
   * Reads what belongs at `at` into the buffer: what was wrong, if not all of it came. If it could be copied in by the same
   * call: what that copy said.
   */
  #take(
    backing: OpenBacking,
    { backing: index, offset }: Place,
    at: number,
    length: number,
    protect: boolean,
  ): string | number | undefined {
    // Two looks at the clock cost as much as to read a page: what files give as they are is timed one time in eight.
    if (backing.view === undefined && (this.#untimed++ & 7) !== 0) {
      const { address } = this.#buffer
      const copied = uffd.copyFromFile(this.fd, at, backing.fd, offset, address, length, protect)
      return copied ?? this.#read(backing, offset, length)
    }
    const began = performance.now()
    const wrong = this.#read(backing, offset, length)
    this.#prices.note(index, length, (performance.now() - began) / 1000)
    return wrong
  }

  /** Reads into the buffer; what was wrong, if not all of it came. */
  #read({ fd, view }: OpenBacking, offset: number, length: number): string | undefined {
    if (view === undefined) {
      const got = readFully(fd, this.#buffer.address, length, offset)
      return got === length ? undefined : got < 0 ? errnoName(got) : `${got} of ${length} bytes`
    }
    try {
      const got = view.read(offset, this.#buffer.bytes.subarray(0, length))
      return got === length ? undefined : `${got} of ${length} bytes`
    } catch (error) {
      return (error as Error).message
    }
  }

  // Puts the buffer's bytes, or zeros, in place. Zero pages are the kernel's from then on, as if nobody had touched them.
  // `first`: what a first copy of all of it, just made, has said.
  #fill(at: number, length: number, protect: boolean, zeros: boolean, first?: number): Served {
    const { journal } = this
    let copied = 0
    let most = length
    let made = first
    while (copied < length) {
      const size = Math.min(length - copied, most)
      const result =
        made ??
        (zeros
          ? uffd.zeropage(this.fd, at + copied, size)
          : uffd.copy(this.fd, at + copied, this.#buffer.address + copied, size, protect))
      made = undefined
      const bytes = uffd.completed
      const to = zeros ? state.absent : protect ? state.clean : state.present
      for (let p = at + copied; p < at + copied + bytes; p += pageBytes)
        p = journal.exchangeRun(p, at + copied + bytes, state.virtual, to)
      if (bytes > 0) {
        for (let p = at + copied; p < at + copied + bytes; p += 16 * pageBytes) journal.setAge(p, this.tick)
        if (bytes > pageBytes) journal.setAge(at + copied + bytes - pageBytes, this.tick)
        journal.tally(counter.refilledPages, bytes / pageBytes)
      }
      copied += bytes
      if (result === 0 || copied >= length) continue
      if (result === -EAGAIN && bytes === 0) return 'again'
      if (result === -ESRCH) return 'gone'
      if (result === -ENOENT) {
        // The range goes from one mapping into the next (mprotect, madvise and mlock split them): in smaller steps then.
        if (size > pageBytes) most = Math.ceil(size / 2 / pageBytes) * pageBytes
        else if (this.#foreign(at + copied)) copied += pageBytes
        else return 'again'
        continue
      }
      if (result === -EEXIST || result === -EAGAIN) {
        // The page is there although we took it for virtual: it is the program's.
        if (result === -EEXIST) {
          journal.exchange(at + copied, state.virtual, state.present)
          // Which wakes too, unless it is refused.
          if (uffd.writeprotect(this.fd, at + copied, pageBytes, false) < 0)
            uffd.wake(this.fd, at + copied, pageBytes)
          this.#disown(at + copied, at + copied + pageBytes)
          copied += pageBytes
        }
        continue
      }
      // No memory for now: whoever waits asks again.
      if (!this.#failing) this.#report(`refill of ${at.toString(16)}: ${errnoName(result)}`)
      this.#failing = true
      uffd.wake(this.fd, at, length)
      return 'done'
    }
    return 'done'
  }

  /**
   * After an ENOENT for one page: whether it is registered no more, and no event can be on its way that says what became
   * of it (then the kernel would say EAGAIN). It is forgotten, and who waits looks for himself.
   */
  #foreign(at: number): boolean {
    if (uffd.writeprotect(this.fd, at, pageBytes, false) !== -ENOENT) return false
    this.journal.forget(at, at + pageBytes)
    uffd.wake(this.fd, at, pageBytes)
    return true
  }

  #zero(at: number): Served {
    const { journal } = this
    if (journal.stateIndex(at) < 0) {
      // A registered mapping that has grown in place.
      journal.grow(at, at + pageBytes)
    }
    const want = this.#zeroStreams.next(at)
    let start = at
    let end = at + pageBytes
    // Pages of a mapping that has grown in place are not known yet; the kernel tells if they are not registered.
    const inside = (p: number): boolean => {
      const s = journal.stateOf(p)
      return s === state.absent || (s === state.none && journal.stateIndex(p) >= 0)
    }
    if (want.backward)
      while (end - start < want.pages * pageBytes && inside(start - pageBytes)) start -= pageBytes
    else while (end - start < want.pages * pageBytes && inside(end)) end += pageBytes
    this.#zeroStreams.brought(start, end)
    const result = uffd.zeropage(this.fd, start, end - start)
    const pages = uffd.completed / pageBytes
    for (let p = start; p < start + uffd.completed; p += pageBytes)
      journal.exchange(p, state.none, state.absent)
    if (pages > 0) journal.tally(counter.zeroPages, pages)
    if (result === 0) return 'done'
    if (result === -ESRCH) return 'gone'
    if (result === -EAGAIN && pages === 0) return 'again'
    if (result === -ENOENT && start + pages * pageBytes <= at) return this.#zeroOne(at)
    if (result === -EEXIST || result === -EAGAIN || result === -ENOENT) return this.#zeroOne(at)
    if (!this.#failing) this.#report(`zero page at ${at.toString(16)}: ${errnoName(result)}`)
    this.#failing = true
    uffd.wake(this.fd, at, pageBytes)
    return 'done'
  }

  #zeroOne(at: number): Served {
    const result = uffd.zeropage(this.fd, at, pageBytes)
    if (result === 0) this.journal.exchange(at, state.none, state.absent)
    if (result === -ESRCH) return 'gone'
    if (result === -EAGAIN) return 'again'
    if (result < 0) uffd.wake(this.fd, at, pageBytes)
    return 'done'
  }

  #unprotect(at: number): Served {
    const { journal } = this
    const was = journal.stateOf(at)
    let end = at + pageBytes
    // Who writes page after page gets a run of them unprotected, at the price of their explanations.
    if (was === state.clean) {
      const want = this.#writeStreams.next(at)
      if (!want.backward && !want.first)
        while (end - at < want.pages * pageBytes && journal.stateOf(end) === state.clean) end += pageBytes
      this.#writeStreams.brought(at, end)
    }
    this.#disown(at, end)
    if (journal.stateOf(at) === state.dropping) return this.#wait(at, uffd.fault.wp)
    for (;;) {
      let stop = at
      while (stop < end && journal.stateOf(stop) !== state.dropping) stop += pageBytes
      const result = uffd.writeprotect(this.fd, at, stop - at, false)
      if (result === -EAGAIN) return 'again'
      if (result === -ESRCH) return 'gone'
      if (result === -ENOENT && stop > at + pageBytes) {
        end = at + pageBytes
        continue
      }
      this.#disown(at, stop)
      if (result < 0) uffd.wake(this.fd, at, pageBytes)
      journal.tally(counter.writes, (stop - at) / pageBytes)
      return 'done'
    }
  }

  // These pages are the program's. Before the protection goes, so that the journal promises nothing any more; and after,
  // because who verifies may have taken them up between the two, and what it compared can have changed since.
  #disown(start: number, end: number): void {
    const { journal } = this
    for (let p = start; p < end; p += pageBytes)
      if (!journal.exchange(p, state.clean, state.present))
        journal.exchange(p, state.verifying, state.present)
  }

  #lose(at: number, pages: number, why: string): Served {
    for (let i = 0; i < pages; i++) this.journal.exchange(at + i * pageBytes, state.virtual, state.lost)
    this.journal.tally(counter.lostPages, pages)
    return this.#poison(at, why)
  }

  // The kernel poisons missing pages only: one that another thread's fault has just brought is there, and who waits is woken.
  #poison(at: number, why: string): Served {
    const result = uffd.poison(this.fd, at, pageBytes)
    if (result === -EAGAIN) return 'again'
    if (result === -ESRCH) return 'gone'
    if (result === 0)
      this.#report(`page ${at.toString(16)} can't be rebuilt: ${why}; whoever touches it gets SIGBUS`)
    uffd.wake(this.fd, at, pageBytes)
    return 'done'
  }

  /** The program removed [start, end): zeros from now on. */
  removed(start: number, end: number): void {
    this.journal.runs(start, end, (from, to, s) => {
      if (s === state.none) return
      // The age first: who takes an absent page for present looks at it again afterwards.
      for (let at = from; at < to; at += pageBytes)
        if (at % (16 * pageBytes) === 0 || at === from) this.journal.setAge(at, this.tick)
      for (let at = from; at < to; at += pageBytes) this.journal.set(at, state.absent)
    })
  }

  /** The program moved a mapping. `progress` is this message's, 0 at first; the caller keeps it in the inbox. */
  moved(from: number, to: number, length: number, progress: number, note: (progress: number) => void): void {
    const { journal } = this
    if (progress < 2) {
      journal.grow(to, to + length)
      const place: Place = { backing: 0, offset: 0, pages: 0 }
      const shift = to - from
      const overtaken: number[] = []
      for (let at = from; at < from + length; at += pageBytes)
        if (this.late.overtaken(at)) overtaken.push(at + shift)
      // What a predecessor has begun to note there is not what was there before.
      if (progress === 0) this.late.moving(to, to + length)
      note(1)
      journal.runs(from, from + length, (start, end, s) => {
        // A predecessor may have died in a drop: what it left `dropping` is virtual if the move came first.
        const explained =
          s === state.clean || s === state.virtual || s === state.verifying || s === state.dropping
        for (let at = start; at < end; ) {
          let pages = (end - at) / pageBytes
          if (explained && journal.place(at, place)) {
            pages = Math.min(pages, place.pages)
            journal.explain(at + shift, pages, place.backing, place.offset)
          } else if (explained) pages = 1
          at += pages * pageBytes
        }
        const moved = s === state.verifying ? state.present : s === state.none ? state.absent : s
        for (let at = start; at < end; at += pageBytes) journal.set(at + shift, moved)
      })
      for (const at of overtaken) journal.set(at, state.present)
      note(2)
    }
    this.late.gone(from, from + length)
  }

  /** Virtual runs of the whole space. */
  virtualRuns(run: (start: number, end: number) => void): void {
    for (const block of [...this.journal.blocks()].sort((a, b) => a - b))
      this.journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
        if (s === state.virtual) run(start, end)
      })
  }
}

/** Address of the message's page and its flags, from the words of a message. */
export const faultAddress = (words: Uint32Array, at: number): number => getAddress(words, at + 4)
