/**
 * The pages of a guest's memory under a budget, as the pager sees them.
 *
 *              touch: zeros
 *   empty ─────────────────────> there ── over the budget: all zeros ──> empty
 *     ↑        released            │
 *     └────────────────────────────┤ over the budget: a recipe is made
 *                touch: made by it  ↓
 *   there <─────────────────────── gone
 *
 * A recipe is a range of a file, and packed bytes for the rest of the page if that is not zeros. The file's range was compared with
 * the page before it was dropped, and the file is under a lease: who wants to write it waits until no page needs it any more. A page that came
 * back keeps its recipe as long as nobody writes to it; then it can go again for nothing.
 */
import type { Paged } from '../library/frames.ts'
import { Frames, mostPages, unitPages } from '../library/frames.ts'
import { pageBytes } from '../pager/journal.ts'
import { Streams } from '../pager/streams.ts'
import type { PolicyName } from '../policy/index.ts'
import { EAGAIN, EEXIST, ENOENT, errnoName } from '../sys/errno.ts'
import { arena, bufferAt } from '../sys/ffi.ts'
import { readFully } from '../sys/fd.ts'
import { discard, page as category, scanPages } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { PageStore } from './budget-store.ts'
import { type Origins, pageKind } from './budget-protocol.ts'
import { GuestError } from './errors.ts'
import { countStates } from './timeline.ts'

/** A memory that still fits is only served, which costs with each page that comes, if so many pages can go at once. */
const worthServing = 256

const state = { empty: 0, there: 1, gone: 2 } as const

/** Pages unless it says otherwise. */
export interface BudgetCounts {
  resident: number
  /** most that were resident at a time */
  peak: number
  faults: number
  /** brought: as zeros, from files alone, with packed bytes */
  zeros: number
  fromFile: number
  unpacked: number
  /** dropped: all zeros, to be had from a file alone, packed, and such as had not changed since they came */
  droppedZero: number
  droppedFile: number
  droppedPacked: number
  droppedClean: number
  /** given back because the guest freed them */
  released: number
  /** dropped because no block was left on them */
  trimmed: number
  /** kept on the side now, with their bytes there */
  packedPages: number
  packedBytes: number
}

/** A file that pages can come from again. `fd` is -1 when it can't be used any more. */
interface File {
  fd: number
  readonly end: () => void
}

/** What all memories under one budget share. */
export class BudgetShare {
  readonly frames: Frames
  readonly limit: number
  readonly store: PageStore = new PageStore()
  readonly counts: BudgetCounts = noCounts()

  constructor(limit: number, policy: PolicyName) {
    this.limit = Math.floor(limit / pageBytes)
    this.frames = new Frames(this.limit, policy)
  }

  /** As of now. */
  count(): BudgetCounts {
    return { ...this.counts, packedPages: this.store.pages, packedBytes: this.store.bytes }
  }
}

export const noCounts = (): BudgetCounts => ({
  resident: 0,
  peak: 0,
  faults: 0,
  zeros: 0,
  fromFile: 0,
  unpacked: 0,
  droppedZero: 0,
  droppedFile: 0,
  droppedPacked: 0,
  droppedClean: 0,
  released: 0,
  trimmed: 0,
  packedPages: 0,
  packedBytes: 0,
})

export interface BudgetPagesOptions {
  readonly share: BudgetShare
  /** The only memory: it is served when it no longer fits. */
  readonly alone: boolean
  readonly uffd: number
  readonly pagemap: number
  readonly address: number
  readonly bytes: number
  readonly size: number
  readonly origins: Origins
}

export class BudgetPages implements Paged {
  readonly firstUnit: number
  readonly units: number
  readonly cost = 10
  readonly counts: BudgetCounts
  readonly #options: BudgetPagesOptions
  readonly #pages: number
  readonly #frames: Frames
  readonly #streams = new Streams()
  readonly #store: PageStore
  readonly #files: (File | undefined)[] = [undefined]
  readonly #buffer = arena(mostPages * pageBytes)
  readonly #compared = arena(pageBytes)
  readonly #zero = new Uint8Array(pageBytes)
  /** The guest's memory. Only pages that are there are touched. */
  readonly #memory: Uint8Array
  readonly #states: Uint8Array
  /** Recipes: number of a file or 0, the page's bytes that it has and where; place in the store or -1, and bytes there. */
  readonly #file: Uint16Array
  readonly #from: Uint16Array
  readonly #to: Uint16Array
  readonly #at: Float64Array
  readonly #packedAt: Float64Array
  readonly #packedLength: Uint16Array
  readonly #written = new Uint8Array(unitPages)
  /** To be trimmed when it is worth it. */
  readonly #postponed: (readonly [number, number])[] = []
  /** Pages from here on are served; those before only once there are more than fit. */
  #served: number
  /** Highest page that ever came, plus one. */
  #top = 0

  constructor(options: BudgetPagesOptions) {
    const { share, alone, bytes, address, size } = options
    this.#options = options
    this.counts = share.counts
    this.#store = share.store
    this.#pages = Math.ceil(bytes / pageBytes)
    this.units = Math.ceil(this.#pages / unitPages)
    this.#frames = share.frames
    this.firstUnit = this.#frames.number(this.units)
    this.#frames.add(this)
    this.#memory = new Uint8Array(bufferAt(address, bytes))
    this.#states = new Uint8Array(this.#pages)
    this.#file = new Uint16Array(this.#pages)
    this.#from = new Uint16Array(this.#pages)
    this.#to = new Uint16Array(this.#pages)
    this.#at = new Float64Array(this.#pages)
    // Place 0 is none: places count from 1.
    this.#packedAt = new Float64Array(this.#pages)
    this.#packedLength = new Uint16Array(this.#pages)
    const fit = Math.floor(share.limit / unitPages) * unitPages
    this.#served = alone ? Math.min(this.#pages, fit) : this.#pages
    if (this.#served < this.#pages) this.#register(this.#served, this.#pages)
    if (!alone || size > this.#served * pageBytes) this.serveAll()
  }

  /** Whether an address is in this memory. */
  has(address: number): boolean {
    const at = address - this.#options.address
    return at >= 0 && at < this.#pages * pageBytes
  }

  #address(page: number): number {
    return this.#options.address + page * pageBytes
  }

  #register(from: number, to: number): void {
    const done = uffd.register(this.#options.uffd, this.#address(from), (to - from) * pageBytes)
    if (done < 0)
      throw new GuestError('impossible', `userfaultfd refuses a guest's memory (${errnoName(done)})`)
  }

  /** From now on all of it is served, and what is there already counts. */
  serveAll(): void {
    if (this.#served === 0) return
    const { pagemap, address } = this.#options
    this.#register(0, this.#served)
    this.#served = 0
    const runs: [number, number][] = []
    scanPages(pagemap, address, this.#address(this.#pages), category.present, 0, 0, (start, end) => {
      runs.push([(start - address) / pageBytes, (end - address) / pageBytes])
    })
    for (const [from, to] of runs)
      for (let page = from; page < to; page++) {
        this.#states[page] = state.there
        this.#top = Math.max(this.#top, page + 1)
        this.counts.resident++
        this.#frames.admit(this, Math.floor(page / unitPages))
      }
    this.counts.peak = Math.max(this.counts.peak, this.counts.resident)
  }

  /** A file that is under a lease, or another that nobody writes; `end` gives it back. Its number; 0 when there are too many. */
  addFile(fd: number, end: () => void): number {
    if (this.#files.length > 0xffff) return 0
    return this.#files.push({ fd, end }) - 1
  }

  /** Somebody wants to write the file: what needs it is packed, and it is given back. */
  giveUp(number: number): void {
    const file = this.#files[number]
    if (file === undefined || file.fd < 0) return
    const page = this.#buffer.bytes.subarray(0, pageBytes)
    for (let p = 0; p < this.#pages; p++) {
      if (this.#file[p] !== number) continue
      if (this.#states[p] === state.gone) {
        this.#make(p, page)
        this.#forget(p)
        this.#pack(p, page)
      } else this.#forget(p)
    }
    file.fd = -1
    file.end()
  }

  /** A thread waits for this address. */
  fault(address: number): void {
    const page = Math.floor((address - this.#options.address) / pageBytes)
    this.counts.faults++
    this.serveAll()
    if (this.#states[page] === state.there) {
      uffd.wake(this.#options.uffd, this.#address(page), pageBytes)
      return
    }
    const want = this.#streams.next(this.#address(page))
    const pages = Math.min(want.pages, this.#frames.cluster)
    const backward = want.backward
    let from = page
    let to = page + 1
    const same = (p: number): boolean => p >= 0 && p < this.#pages && this.#states[p] === this.#states[page]
    if (backward) while (page - from + 1 < pages && same(from - 1)) from--
    else while (to - page < pages && same(to)) to++
    this.#bring(from, to)
    // Backwards over the border of two mappings: at least this one.
    if (this.#states[page] !== state.there) this.#bring(page, page + 1)
    if (this.#states[page] !== state.there) throw new Error(`page ${page} can't be filled`)
    this.#streams.brought(this.#address(from), this.#address(to))
  }

  // All are empty, or all are gone. Only those up to the end of a mapping come: the memory may end there.
  #bring(from: number, to: number): void {
    const gone = this.#states[from] === state.gone
    const { bytes } = this.#buffer
    for (let unit = Math.floor(from / unitPages); unit * unitPages < to; unit++)
      this.#frames.admit(this, unit)
    if (gone) for (let p = from; p < to; p++) this.#make(p, bytes.subarray((p - from) * pageBytes))
    else bytes.fill(0, 0, (to - from) * pageBytes)
    let end = to
    while (end > from && !this.#fill(from, end, gone)) end = from + ((end - from) >> 1)
    const { counts } = this
    if (gone) for (let p = from; p < end; p++) counts[this.#packedAt[p] === 0 ? 'fromFile' : 'unpacked']++
    else counts.zeros += end - from
  }

  // False where [from, to) is not within one mapping.
  #fill(from: number, to: number, protect: boolean): boolean {
    const { uffd: fd } = this.#options
    const length = (to - from) * pageBytes
    for (let done = 0, tries = 0; done < length; ) {
      const target = this.#address(from) + done
      const result = uffd.copy(fd, target, this.#buffer.address + done, length - done, protect)
      const first = from + done / pageBytes
      const pages = uffd.completed / pageBytes
      this.#states.fill(state.there, first, first + pages)
      this.#top = Math.max(this.#top, first + pages)
      this.counts.resident += pages
      done += uffd.completed
      if (done >= length) break
      if (result === -ENOENT && done === 0) return false
      if (result === -EEXIST) throw new Error(`page ${first + pages} is there already`)
      if (result !== 0 && (result !== -EAGAIN || ++tries > 1000))
        throw new Error(`filling a page failed: ${errnoName(result)}`)
    }
    this.counts.peak = Math.max(this.counts.peak, this.counts.resident)
    return true
  }

  // Makes a page that is gone.
  #make(p: number, into: Uint8Array): void {
    const packed = this.#packedAt[p] as number
    const page = into.subarray(0, pageBytes)
    if (packed === 0) page.fill(0)
    else if (!this.#store.bring(packed - 1, this.#packedLength[p] as number, page))
      throw new Error('what was kept of a page can not be read again')
    const file = this.#files[this.#file[p] as number]
    if (file === undefined) return
    const from = this.#from[p] as number
    const bytes = (this.#to[p] as number) - from
    if (readFully(file.fd, this.#compared.address, bytes, this.#at[p] as number) !== bytes)
      throw new Error('a file that pages came from can not be read again')
    page.set(this.#compared.bytes.subarray(0, bytes), from)
  }

  /** Drops what is there of a unit. */
  evict(unit: number): boolean {
    const first = unit * unitPages
    this.#drop(first, Math.min(this.#pages, first + unitPages))
    return true
  }

  // Drops those of [first, last) that are there: pages of one unit.
  #drop(first: number, last: number): void {
    const { pagemap, uffd: fd } = this.#options
    const start = this.#address(first)
    this.#written.fill(0)
    scanPages(pagemap, start, this.#address(last), category.present, 0, 0, (from, to, categories) => {
      if ((categories & category.written) !== 0)
        this.#written.fill(1, (from - start) / pageBytes, (to - start) / pageBytes)
    })
    for (let at = first; at < last; ) {
      let to = at
      while (to < last && this.#states[to] === state.there) this.#leave(to, this.#written[to++ - first] === 1)
      if (to > at) {
        const done = discard(this.#address(at), (to - at) * pageBytes)
        if (done < 0) throw new Error(`dropping pages of descriptor ${fd} failed: ${errnoName(done)}`)
        this.counts.resident -= to - at
      }
      at = Math.max(to, at + 1)
    }
  }

  /** The guest will not need these ranges of addresses soon: they leave memory, as what is over the budget does. */
  trim(ranges: readonly (readonly [number, number])[]): void {
    const { address } = this.#options
    this.#postponed.push(...ranges)
    if (this.#served > 0) {
      const pages = this.#postponed.reduce((sum, [from, to]) => sum + (to - from) / pageBytes, 0)
      if (pages < worthServing) return
      this.serveAll()
    }
    const { resident } = this.counts
    for (const [from, to] of this.#postponed.splice(0)) {
      const end = Math.min(this.#pages, (to - address) / pageBytes)
      for (let page = (from - address) / pageBytes; page < end; ) {
        const unit = Math.floor(page / unitPages)
        const next = Math.min(end, (unit + 1) * unitPages)
        this.#drop(page, next)
        if (!this.#states.subarray(unit * unitPages, (unit + 1) * unitPages).includes(state.there))
          this.#frames.left(this, unit)
        page = next
      }
    }
    this.counts.trimmed += resident - this.counts.resident
  }

  // Finds out how a page can be made again.
  #leave(p: number, written: boolean): void {
    const { counts } = this
    const known = this.#file[p] !== 0 || this.#packedAt[p] !== 0
    if (known && !written) {
      this.#states[p] = state.gone
      counts.droppedClean++
      return
    }
    this.#forget(p)
    const page = this.#memory.subarray(p * pageBytes, (p + 1) * pageBytes)
    if (Buffer.compare(page, this.#zero) === 0) {
      this.#states[p] = state.empty
      counts.droppedZero++
      return
    }
    this.#states[p] = state.gone
    if (!this.#explain(p, page)) {
      this.#pack(p, page)
      counts.droppedPacked++
      return
    }
    const from = this.#from[p] as number
    const to = this.#to[p] as number
    const rest = this.#compared.bytes
    rest.set(page)
    rest.fill(0, from, to)
    if (Buffer.compare(rest.subarray(0, pageBytes), this.#zero) === 0) counts.droppedFile++
    else {
      this.#pack(p, rest)
      counts.droppedPacked++
    }
  }

  // Whether bytes of the page are those of the file that they came from.
  #explain(p: number, page: Uint8Array): boolean {
    const { origins } = this.#options
    const number = origins.file[p] as number
    const file = this.#files[number]
    if (file === undefined || file.fd < 0) return false
    const from = origins.from[p] as number
    const to = origins.to[p] as number
    const at = origins.at[p] as number
    if (readFully(file.fd, this.#compared.address, to - from, at) !== to - from) return false
    if (Buffer.compare(this.#compared.bytes.subarray(0, to - from), page.subarray(from, to)) !== 0) {
      // It was written: until the next read it is not looked at again.
      origins.file[p] = 0
      return false
    }
    this.#file[p] = number
    this.#from[p] = from
    this.#to[p] = to
    this.#at[p] = at
    return true
  }

  #pack(p: number, page: Uint8Array): void {
    this.#store.add(page.subarray(0, pageBytes))
    this.#packedAt[p] = this.#store.at + 1
    this.#packedLength[p] = this.#store.length
  }

  #forget(p: number): void {
    const packed = this.#packedAt[p] as number
    if (packed !== 0) this.#store.drop(packed - 1, this.#packedLength[p] as number)
    this.#packedAt[p] = 0
    this.#file[p] = 0
  }

  /** The guest needs none of the whole pages in a range of addresses any more: they are zeros from now on. */
  release(address: number, length: number): void {
    const at = address - this.#options.address
    const from = Math.ceil(at / pageBytes)
    const to = Math.min(this.#pages, Math.floor((at + length) / pageBytes))
    if (to <= from) return
    discard(this.#address(from), (to - from) * pageBytes)
    this.counts.released += to - from
    if (this.#served > 0) return
    for (let p = from; p < to; p++) {
      if (this.#states[p] === state.there) this.counts.resident--
      this.#forget(p)
      this.#options.origins.file[p] = 0
      this.#states[p] = state.empty
    }
    const whole = Math.ceil(from / unitPages)
    for (let unit = whole; (unit + 1) * unitPages <= to; unit++) this.#frames.left(this, unit)
  }

  /** See Timeline: what is resident, into cells of `pages` pages. */
  count(into: Uint32Array, pages: number): number {
    if (this.#served === 0) return countStates(this.#states, this.#top, s => s === state.there, into, pages)
    // What fits is not followed page by page: the kernel knows.
    const { pagemap, address } = this.#options
    let top = 0
    scanPages(pagemap, address, this.#address(this.#served), category.present, 0, 0, (start, end) => {
      top = (end - address) / pageBytes
      for (let page = (start - address) / pageBytes; page < top; page++) {
        const cell = Math.floor(page / pages)
        if (cell < into.length) into[cell] = (into[cell] as number) + 1
      }
    })
    return top
  }

  /** What each page is, of pageKind. */
  picture(into: Uint8Array): void {
    if (this.#served > 0) {
      const { pagemap, address } = this.#options
      const end = this.#address(Math.min(into.length, this.#served))
      scanPages(pagemap, address, end, category.present, 0, 0, (start, stop) =>
        into.fill(pageKind.resident, (start - address) / pageBytes, (stop - address) / pageBytes),
      )
    }
    for (let p = 0; p < Math.min(into.length, this.#pages); p++) {
      if (this.#states[p] === state.there) into[p] = pageKind.resident
      if (this.#states[p] !== state.gone) continue
      const packed = this.#packedAt[p] !== 0
      into[p] = this.#file[p] === 0 ? pageKind.packed : packed ? pageKind.mixed : pageKind.file
    }
  }

  /** Gives its files back. */
  close(): void {
    for (const file of this.#files) if (file !== undefined && file.fd >= 0) file.end()
  }
}
