// The journal: everything that must survive our death at any instant, as one file mapped shared.
//
// A store into a shared file mapping is in the page cache at once: `kill -9` can't lose it, and stores are seen by
// the successor in program order. So there is no log to replay; the structures themselves are the journal, and
// each update is ordered so that every prefix of it is consistent. Blocks of the file are allocated
// before they are touched: a full disk is an error of `grow`, never a SIGBUS.
//
//   header     what lies in the target (Footing), the scratch range of a drop in progress, counters
//   inbox      userfaultfd messages: the kernel writes them straight into the journal, so an event that was taken
//              from the kernel is on record before anybody can act on it. A slot is zeroed when it is done.
//   directory  one entry per 2 MiB block of the target that we know: block number, first extent
//   pages      per block 512 state bytes, then per 64 KiB: age (16 bits) and level (8 bits), for reclaim
//   extents    explanations: {next, first page, pages, backing, lens, offset}, newest first per block
//
// Threads: the server allocates and writes extents; states are changed by both threads, always by
// compare-and-exchange (see `state`), except that filling of a run while the target stands still is plain.
import { closeSync, openSync, renameSync } from 'node:fs'
import { state } from './decide.ts'
import { PagerError } from './errors.ts'
import { Extents, type Place } from './extents.ts'
import {
  agePages,
  agesPerBlock,
  blockBytes,
  blockPages,
  counter,
  directoryAt,
  h,
  JournalFile,
  maxBlocks,
  pageBytes,
  pageRecord,
  pagesAt,
} from './journal-file.ts'

export { state } from './decide.ts'
export type { Place } from './extents.ts'
export {
  agePages,
  blockBytes,
  blockPages,
  counter,
  inboxSlots,
  pageBytes,
  zeroBacking,
} from './journal-file.ts'

/** A block of pages that are all in one state, by state: to compare with. */
const uniform: readonly Uint8Array[] = Array.from({ length: 8 }, (_, s) => new Uint8Array(blockPages).fill(s))
const nothing = new Uint8Array(0)

export class Journal extends JournalFile {
  /** State bytes of all blocks: index with `stateIndex`. */
  readonly pages: Uint8Array
  readonly #directory: Float64Array
  readonly #heads: Uint32Array
  readonly #extents: Extents
  readonly #ages: Uint16Array
  readonly #words: Int32Array
  readonly #blocks = new Map<number, number>()
  // None at first: a slot that nobody has taken has no room on disk, and to read it could be a bus error.
  #lastSlot = -1
  #generation = 0
  #freeBlocks: number[] = []

  private constructor(path: string, fd: number) {
    super(path, fd)
    const { buffer } = this.memory.bytes
    this.pages = new Uint8Array(buffer, pagesAt, maxBlocks * pageRecord)
    this.#words = new Int32Array(buffer, pagesAt, (maxBlocks * pageRecord) / 4)
    this.#ages = new Uint16Array(buffer, pagesAt, (maxBlocks * pageRecord) / 2)
    this.#directory = new Float64Array(buffer, directoryAt, maxBlocks * 2)
    this.#heads = new Uint32Array(buffer, directoryAt, maxBlocks * 4)
    this.#extents = new Extents(this)
  }

  /** A new journal for a process. Throws PagerError `journal` when the disk is full. */
  static create(path: string, pid: number, startTime: number): Journal {
    const journal = new Journal(path, JournalFile.make(path))
    journal.begin(pid, startTime)
    return journal
  }

  /** Opens one that exists. `readonly` views of other processes use this too: they must not write. */
  static open(path: string): Journal {
    const fd = openSync(path, 'r+')
    const journal = new Journal(path, fd)
    if (!journal.valid) {
      closeSync(fd)
      throw new PagerError('journal', `${path} is no journal of this version of lethe`)
    }
    journal.refresh()
    return journal
  }

  /** Takes note of blocks that the other thread, or a predecessor, has added or given back. */
  refresh(): void {
    const generation = this.memory.u32[h.generation] as number
    if (generation === this.#generation) return
    this.#generation = generation
    this.#blocks.clear()
    this.#freeBlocks = []
    const count = this.memory.u32[h.blocks] as number
    for (let slot = 0; slot < count; slot++) {
      const block = this.#directory[slot * 2] as number
      if (block !== 0) this.#blocks.set(block, slot)
      else this.#freeBlocks.push(slot)
    }
  }

  /** For who writes extents: finds the records that no block uses. Call once after `open`. */
  collect(): void {
    this.#extents.collect([...this.#blocks.values()].map(slot => this.#head(slot)))
  }

  /** Slot of the block that holds `address`, or -1. Most look-ups are of the block of the one before. */
  #slotOf(address: number): number {
    const block = Math.floor(address / blockBytes)
    // The other thread may have given a slot to another block since we looked.
    if (this.#lastSlot >= 0 && this.#directory[this.#lastSlot * 2] === block) return this.#lastSlot
    const slot = this.#blocks.get(block)
    if (slot === undefined || this.#directory[slot * 2] !== block) return -1
    this.#lastSlot = slot
    return slot
  }

  /** Index into `pages` of the page at `address`, or -1 when its block is unknown. */
  stateIndex(address: number): number {
    const slot = this.#slotOf(address)
    return slot < 0 ? -1 : slot * pageRecord + (Math.floor(address / pageBytes) & (blockPages - 1))
  }

  stateOf(address: number): number {
    const at = this.stateIndex(address)
    return at < 0 ? state.none : (this.pages[at] as number)
  }

  /** Changes one page's state if it still is `from`. */
  exchange(address: number, from: number, to: number): boolean {
    const at = this.stateIndex(address)
    if (at < 0 || Atomics.compareExchange(this.pages, at, from, to) !== from) return false
    this.#count(from, to)
    return true
  }

  /**
   * Changes the leading pages of [start, end) that are in state `from`, four at a time where it can.
   * Returns the address of the first page that was not changed.
   */
  exchangeRun(start: number, end: number, from: number, to: number): number {
    const four = (s: number): number => (s * 0x0101_0101) | 0
    let at = start
    while (at < end) {
      const index = this.stateIndex(at)
      if (index < 0) break
      const limit = index + (Math.min(end, (Math.floor(at / blockBytes) + 1) * blockBytes) - at) / pageBytes
      let i = index
      while (i < limit) {
        if ((i & 3) === 0 && i + 4 <= limit && this.#cas4(i >> 2, four(from), four(to))) i += 4
        else if (Atomics.compareExchange(this.pages, i, from, to) === from) i++
        else break
      }
      this.#count(from, to, i - index)
      at += (i - index) * pageBytes
      if (i < limit) break
    }
    return at
  }

  /**
   * Marks the pages of [start, end) that are in state `from`, without locking: only while the other thread is held.
   * Calls `found` for each run that was changed.
   */
  markRuns(
    start: number,
    end: number,
    from: number,
    to: number,
    found: (start: number, end: number) => void,
  ): void {
    let open = -1
    for (let at = start; at < end; ) {
      const stop = Math.min(end, (Math.floor(at / blockBytes) + 1) * blockBytes)
      const first = this.stateIndex(at)
      const states = first < 0 ? nothing : this.pages.subarray(first, first + (stop - at) / pageBytes)
      if (
        states.length > 0 &&
        Buffer.compare(states, (uniform[from] as Uint8Array).subarray(0, states.length)) === 0
      ) {
        states.fill(to)
        this.#count(from, to, states.length)
        if (open < 0) open = at
      } else
        for (let i = 0, here = at; here < stop; i++, here += pageBytes)
          if (states[i] === from) {
            states[i] = to
            this.#count(from, to)
            if (open < 0) open = here
          } else if (open >= 0) {
            found(open, here)
            open = -1
          }
      at = stop
    }
    if (open >= 0) found(open, end)
  }

  #cas4(index: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, index, from, to) === from
  }

  set(address: number, to: number): void {
    const at = this.stateIndex(address)
    if (at < 0) return
    this.#count(Atomics.exchange(this.pages, at, to), to)
  }

  /** Adds to a counter that the server alone writes. */
  tally(which: number, n: number): void {
    this.counters[which] = (this.counters[which] as number) + n
  }

  #count(from: number, to: number, pages = 1): void {
    if (from === to) return
    if (from === state.clean) Atomics.sub(this.counters, counter.clean, pages)
    else if (from === state.virtual) Atomics.sub(this.counters, counter.virtual, pages)
    if (to === state.clean) Atomics.add(this.counters, counter.clean, pages)
    else if (to === state.virtual) Atomics.add(this.counters, counter.virtual, pages)
  }

  /** Counts anew after a predecessor died in the middle of a change. */
  recount(): void {
    let clean = 0
    let virtual = 0
    for (const slot of this.#blocks.values())
      for (let i = slot * pageRecord; i < slot * pageRecord + blockPages; i++) {
        if (this.pages[i] === state.clean) clean++
        else if (this.pages[i] === state.virtual) virtual++
      }
    this.counters[counter.clean] = clean
    this.counters[counter.virtual] = virtual
  }

  /** Calls `run(start, end, state)` for the runs of equal state in [start, end); unknown blocks are `none`. */
  runs(start: number, end: number, run: (start: number, end: number, state: number) => void): void {
    let from = start
    let current = -1
    for (let at = start; at < end; ) {
      const stop = Math.min(end, (Math.floor(at / blockBytes) + 1) * blockBytes)
      const index = this.stateIndex(at)
      const pages = (stop - at) / pageBytes
      for (let i = 0; i < pages; i++) {
        const s = index < 0 ? state.none : (this.pages[index + i] as number)
        if (s === current) {
          if (index < 0) break
          continue
        }
        const here = at + i * pageBytes
        if (current >= 0 && here > from) run(from, here, current)
        from = here
        current = s
        if (index < 0) break
      }
      at = stop
    }
    if (current >= 0) run(from, end, current)
  }

  /** Numbers of the blocks that have an entry, in no order. */
  blocks(): IterableIterator<number> {
    return this.#blocks.keys()
  }

  /** Makes entries for all blocks of [start, end). Throws PagerError `journal` when the disk is full. */
  grow(start: number, end: number): void {
    for (let block = Math.floor(start / blockBytes); block * blockBytes < end; block++) {
      if (this.#blocks.has(block)) continue
      const slot = this.#freeBlocks.pop() ?? this.#newBlock()
      this.pages.fill(0, slot * pageRecord, (slot + 1) * pageRecord)
      this.#heads[slot * 4 + 2] = 0
      this.#directory[slot * 2] = block
      this.#blocks.set(block, slot)
      this.#changed()
    }
  }

  #changed(): void {
    this.#generation = ((this.memory.u32[h.generation] as number) + 1) >>> 0
    this.memory.u32[h.generation] = this.#generation
  }

  #newBlock(): number {
    const slot = this.memory.u32[h.blocks] as number
    if (slot >= maxBlocks)
      throw new PagerError('journal', `The journal is full: ${maxBlocks} blocks of 2 MiB`)
    if (slot % 64 === 0) {
      this.reserve(directoryAt + slot * 16, 64 * 16)
      this.reserve(pagesAt + slot * pageRecord, 64 * pageRecord)
    }
    this.memory.u32[h.blocks] = slot + 1
    return slot
  }

  #head(slot: number): number {
    return this.#heads[slot * 4 + 2] as number
  }

  /** Records an explanation for [start, start + pages): byte 0 of `start` is byte `offset` of the backing. */
  explain(start: number, pages: number, backing: number, offset: number): void {
    for (let done = 0; done < pages; ) {
      const address = start + done * pageBytes
      const block = Math.floor(address / blockBytes)
      const slot = this.#blocks.get(block)
      if (slot === undefined) throw new PagerError('invariant', `explained an unknown block ${block}`)
      const first = Math.floor(address / pageBytes) & (blockPages - 1)
      const count = Math.min(pages - done, blockPages - first)
      this.#extents.add(this.#head(slot), first, count, backing, offset + done * pageBytes, record => {
        this.#heads[slot * 4 + 2] = record
      })
      done += count
    }
  }

  /** The newest explanation of the page at `address`, written to `into`; false when it has none. */
  place(address: number, into: Place): boolean {
    const slot = this.#slotOf(address)
    if (slot < 0) return false
    return this.#extents.place(this.#head(slot), Math.floor(address / pageBytes) & (blockPages - 1), into)
  }

  /** Forgets [start, end): states become `none`; blocks that are empty then are given back. */
  forget(start: number, end: number): void {
    for (let block = Math.floor(start / blockBytes); block * blockBytes < end; block++) {
      const slot = this.#blocks.get(block)
      if (slot === undefined) continue
      const base = block * blockBytes
      const from = Math.max(start, base)
      const to = Math.min(end, base + blockBytes)
      for (let at = from; at < to; at += pageBytes) this.set(at, state.none)
      const record = this.pages.subarray(slot * pageRecord, slot * pageRecord + blockPages)
      if (record.some(s => s !== state.none)) continue
      this.#directory[slot * 2] = 0
      this.#extents.release(this.#head(slot))
      this.#heads[slot * 4 + 2] = 0
      this.#blocks.delete(block)
      this.#freeBlocks.push(slot)
      this.#changed()
    }
  }

  /** Age entry of the 64 KiB around `address`: the tick at which it was last refilled. */
  ageOf(address: number): number {
    const at = this.#ageIndex(address)
    return at < 0 ? 0 : (this.#ages[at >> 1] as number)
  }
  setAge(address: number, tick: number): void {
    const at = this.#ageIndex(address)
    if (at >= 0) this.#ages[at >> 1] = tick
  }
  /** How often the 64 KiB around `address` came back soon after a drop. */
  levelOf(address: number): number {
    const at = this.#levelIndex(address)
    return at < 0 ? 0 : (this.pages[at] as number)
  }
  setLevel(address: number, level: number): void {
    const at = this.#levelIndex(address)
    if (at >= 0) this.pages[at] = level
  }
  #ageIndex(address: number): number {
    const index = this.stateIndex(address)
    if (index < 0) return -1
    const slot = Math.floor(index / pageRecord)
    return slot * pageRecord + blockPages + 2 * Math.floor((index - slot * pageRecord) / agePages)
  }
  #levelIndex(address: number): number {
    const index = this.stateIndex(address)
    if (index < 0) return -1
    const slot = Math.floor(index / pageRecord)
    return (
      slot * pageRecord + blockPages + 2 * agesPerBlock + Math.floor((index - slot * pageRecord) / agePages)
    )
  }

  /**
   * Makes an empty journal of this one, under another path. The memory of a journal is never unmapped, so one
   * that has done its service is used again for the next child.
   */
  reuse(path: string, pid: number): void {
    const used = this.memory.u32[h.blocks] as number
    this.blank()
    this.memory.f64.fill(0, directoryAt / 8, (directoryAt + used * 16) / 8)
    this.#blocks.clear()
    this.#freeBlocks = []
    this.#extents.reset()
    this.#generation = 0
    this.begin(pid, 0)
    renameSync(this.path, path)
    this.path = path
  }
}
