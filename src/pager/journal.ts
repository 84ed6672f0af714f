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
import { closeSync, ftruncateSync, openSync, readSync, renameSync } from 'node:fs'
import { errnoName } from '../sys/errno.ts'
import { allocate } from '../sys/fd.ts'
import { type Arena, arenaOfFile } from '../sys/ffi.ts'
import type { Footing } from '../process/agent.ts'
import { PagerError } from './errors.ts'

/** What a page is to us. One byte each. */
export const state = {
  /** not ours */
  none: 0,
  /** was absent when we came, or has been removed by the program: a fault brings zeros */
  absent: 1,
  /** was present when we came, or has been written: ours to leave alone */
  present: 2,
  /** write-protected, being compared */
  verifying: 3,
  /** present, write-protected, equal to its explanation */
  clean: 4,
  /** being dropped: faults wait */
  dropping: 5,
  /** dropped: a fault brings what its explanation says */
  virtual: 6,
  /** its backing was destroyed while nobody held it: a fault is SIGBUS */
  lost: 7,
} as const

export const blockPages = 512
export const blockBytes: number = 512 * 4096
export const pageBytes = 4096
/** Pages of one age entry. */
export const agePages = 16
const agesPerBlock = blockPages / agePages
const pageRecord = 640 // 512 states, 32 × 2 ages, 32 levels, padding
const maxBlocks = 131072 // 256 GiB
const maxExtents = 1 << 22
const inboxAt = 4096
/** Messages that one read takes at most. */
export const inboxSlots = 64
const directoryAt = 8192
const pagesAt: number = directoryAt + maxBlocks * 16
const extentsAt: number = pagesAt + maxBlocks * pageRecord
const fileBytes: number = extentsAt + maxExtents * 24
const version = 3

/** The backing of pages that hold nothing but zeros: no file. */
export const zeroBacking = 0xffff_fffe

/** 32-bit words of the header that both threads count in. */
export const counter = {
  clean: 64,
  virtual: 65,
  faults: 66,
  refilledPages: 67,
  zeroPages: 68,
  writes: 69,
  stallMicroseconds: 70,
  droppedPages: 71,
  lostPages: 72,
  events: 73,
  waiting: 74,
} as const

const h = {
  magic: 0,
  version: 1,
  pid: 2,
  blocks: 3,
  extents: 4,
  tid: 5,
  uffd: 6,
  parkIn: 7,
  parkOut: 8,
  control: 9,
  generation: 10,
  moving: 11,
}
const hf = {
  startTime: 16,
  area: 17,
  scratch: 18,
  scratchLength: 19,
  park: 20,
  keeper: 21,
  keeperStart: 22,
  own: 23,
  leaving: 26,
} // 64-bit words
/** Where the keepers of `started` are, in 64-bit words, and how many there can be. */
const startedAt = 64
const mostStarted = 32
const magic = 0x4548544c

/** A block of pages that are all in one state, by state: to compare with. */
const uniform: readonly Uint8Array[] = Array.from({ length: 8 }, (_, s) => new Uint8Array(blockPages).fill(s))
const nothing = new Uint8Array(0)

/** Where an explanation says that the bytes of a page are. */
export interface Place {
  backing: number
  offset: number
  /** Pages from the asked one up to which the same explanation holds. */
  pages: number
}

export class Journal {
  path: string
  readonly memory: Arena
  /** State bytes of all blocks: index with `stateIndex`. */
  readonly pages: Uint8Array
  readonly inbox: Uint32Array
  readonly inboxAddress: number
  readonly counters: Int32Array
  readonly #fd: number
  readonly #directory: Float64Array
  readonly #heads: Uint32Array
  readonly #extents: Uint32Array
  readonly #offsets: Float64Array
  readonly #ages: Uint16Array
  readonly #words: Int32Array
  readonly #blocks = new Map<number, number>()
  // None at first: a slot that nobody has taken has no room on disk, and to read it could be a bus error.
  #lastSlot = -1
  #generation = 0
  #freeBlocks: number[] = []
  #freeExtents: number[] = []

  private constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
    const m = arenaOfFile(fd, fileBytes)
    this.memory = m
    const buffer = m.bytes.buffer
    this.pages = new Uint8Array(buffer, pagesAt, maxBlocks * pageRecord)
    this.#words = new Int32Array(buffer, pagesAt, (maxBlocks * pageRecord) / 4)
    this.#ages = new Uint16Array(buffer, pagesAt, (maxBlocks * pageRecord) / 2)
    this.inbox = new Uint32Array(buffer, inboxAt, inboxSlots * 8)
    this.inboxAddress = m.address + inboxAt
    this.counters = new Int32Array(buffer, 0, 1024)
    this.#directory = new Float64Array(buffer, directoryAt, maxBlocks * 2)
    this.#heads = new Uint32Array(buffer, directoryAt, maxBlocks * 4)
    this.#extents = new Uint32Array(buffer, extentsAt, maxExtents * 6)
    this.#offsets = new Float64Array(buffer, extentsAt, maxExtents * 3)
  }

  /** A new journal for a process. Throws PagerError `journal` when the disk is full. */
  static create(path: string, pid: number, startTime: number): Journal {
    const fd = openSync(path, 'wx+', 0o600)
    ftruncateSync(fd, fileBytes)
    must(allocate(fd, 0, directoryAt), path)
    const journal = new Journal(path, fd)
    const { u32, f64 } = journal.memory
    u32[h.version] = version
    u32[h.pid] = pid
    f64[hf.startTime] = startTime
    u32[h.magic] = magic
    return journal
  }

  /** Opens one that exists. `readonly` views of other processes use this too: they must not write. */
  static open(path: string): Journal {
    const fd = openSync(path, 'r+')
    const journal = new Journal(path, fd)
    const { u32 } = journal.memory
    if (u32[h.magic] !== magic || u32[h.version] !== version) {
      closeSync(fd)
      throw new PagerError('journal', `${path} is no journal of this version of lethe`)
    }
    journal.refresh()
    return journal
  }

  get pid(): number {
    return this.memory.u32[h.pid] as number
  }
  get startTime(): number {
    return this.memory.f64[hf.startTime] as number
  }
  get footing(): Footing {
    const { u32, f64 } = this.memory
    const word = (i: number): number => u32[i] as number
    return {
      area: f64[hf.area] as number,
      uffd: word(h.uffd),
      parkIn: word(h.parkIn),
      parkOut: word(h.parkOut),
      control: word(h.control),
      tid: word(h.tid),
    }
  }
  set footing(f: Footing) {
    const { u32, f64 } = this.memory
    f64[hf.area] = f.area
    u32[h.parkIn] = f.parkIn
    u32[h.parkOut] = f.parkOut
    u32[h.control] = f.control
    u32[h.tid] = f.tid
    u32[h.uffd] = f.uffd
  }
  /**
   * Keepers of successors that have not come to serve yet: pid and start. The one that serves, `keeper`, is apart, for
   * only it can have descriptors that a message in the inbox speaks of.
   */
  get started(): { pid: number; start: number }[] {
    const { f64 } = this.memory
    const list: { pid: number; start: number }[] = []
    for (let i = startedAt; i < startedAt + 2 * mostStarted; i += 2)
      if (f64[i] !== 0) list.push({ pid: f64[i] as number, start: f64[i + 1] as number })
    return list
  }
  set started(list: readonly { pid: number; start: number }[]) {
    const { f64 } = this.memory
    for (let i = 0; i < mostStarted; i++) {
      const at = startedAt + 2 * i
      f64[at + 1] = list[i]?.start ?? 0
      f64[at] = list[i]?.pid ?? 0
    }
  }
  /** The keeper of the descriptors of who serves, and their numbers there: userfaultfd, parkIn, parkOut. */
  get keeper(): { pid: number; start: number; own: readonly [number, number, number] } {
    const { f64 } = this.memory
    const word = (i: number): number => f64[i] as number
    return {
      pid: word(hf.keeper),
      start: word(hf.keeperStart),
      own: [word(hf.own), word(hf.own + 1), word(hf.own + 2)],
    }
  }
  set keeper(k: { pid: number; start: number; own: readonly [number, number, number] }) {
    const { f64 } = this.memory
    // Never zero again: that would say that nothing has been served yet.
    f64[hf.keeperStart] = k.start
    k.own.forEach((fd, i) => {
      f64[hf.own + i] = fd
    })
    f64[hf.keeper] = k.pid
  }
  /** Everything has been refilled and nothing is registered any more: what is left is to take our things out. */
  get leaving(): boolean {
    return this.memory.f64[hf.leaving] === 1
  }
  set leaving(yes: boolean) {
    this.memory.f64[hf.leaving] = yes ? 1 : 0
  }
  /** Inode of the park's socket: by it a process is known that has inherited the park. */
  get park(): number {
    return this.memory.f64[hf.park] as number
  }
  set park(inode: number) {
    this.memory.f64[hf.park] = inode
  }
  /** Whether what is moved to the scratch range is moved by us. Never once the range may be the program's. */
  get moving(): boolean {
    return this.memory.u32[h.moving] !== 0
  }
  set moving(yes: boolean) {
    this.memory.u32[h.moving] = yes ? 1 : 0
  }
  /** The range of the target's addresses that a drop in progress moves pages to. */
  get scratch(): { start: number; length: number } {
    const { f64 } = this.memory
    return { start: f64[hf.scratch] as number, length: f64[hf.scratchLength] as number }
  }
  set scratch(range: { start: number; length: number }) {
    const { f64 } = this.memory
    f64[hf.scratchLength] = 0
    f64[hf.scratch] = range.start
    f64[hf.scratchLength] = range.length
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
    const used = new Set<number>()
    for (const slot of this.#blocks.values())
      for (let e = this.#head(slot); e !== 0; e = this.#extents[e * 6] as number) used.add(e)
    for (let e = 1; e < (this.memory.u32[h.extents] as number); e++)
      if (!used.has(e)) this.#freeExtents.push(e)
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
      must(allocate(this.#fd, directoryAt + slot * 16, 64 * 16), this.path)
      must(allocate(this.#fd, pagesAt + slot * pageRecord, 64 * pageRecord), this.path)
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
      this.#add(slot, first, count, backing, offset + done * pageBytes)
      done += count
    }
  }

  #add(slot: number, first: number, count: number, backing: number, offset: number): void {
    const x = this.#extents
    const head = this.#head(slot)
    const record = this.#freeExtents.pop() ?? this.#newExtent()
    x[record * 6] = head
    x[record * 6 + 1] = first | (count << 16)
    x[record * 6 + 2] = backing
    x[record * 6 + 3] = 0 // lens: verbatim
    this.#offsets[record * 3 + 2] = offset
    this.#heads[slot * 4 + 2] = record
    // Older records that the new one hides completely go back.
    let before = record
    for (let e = head; e !== 0; ) {
      const next = x[e * 6] as number
      const span = x[e * 6 + 1] as number
      const f = span & 0xffff
      if (f >= first && f + (span >>> 16) <= first + count) {
        x[before * 6] = next
        this.#freeExtents.push(e)
      } else before = e
      e = next
    }
  }

  #newExtent(): number {
    const n = Math.max(1, this.memory.u32[h.extents] as number)
    if (n >= maxExtents) throw new PagerError('journal', `The journal is full: ${maxExtents} explanations`)
    if (n === 1 || n % 1024 === 0)
      must(allocate(this.#fd, extentsAt + Math.floor(n / 1024) * 1024 * 24, 1024 * 24), this.path)
    this.memory.u32[h.extents] = n + 1
    return n
  }

  /** The newest explanation of the page at `address`, written to `into`; false when it has none. */
  place(address: number, into: Place): boolean {
    const slot = this.#slotOf(address)
    if (slot < 0) return false
    const page = Math.floor(address / pageBytes) & (blockPages - 1)
    const x = this.#extents
    let limit = blockPages
    for (let e = this.#head(slot); e !== 0; e = x[e * 6] as number) {
      const span = x[e * 6 + 1] as number
      const first = span & 0xffff
      const end = first + (span >>> 16)
      if (page >= first && page < end) {
        into.backing = x[e * 6 + 2] as number
        into.offset = (this.#offsets[e * 3 + 2] as number) + (page - first) * pageBytes
        into.pages = Math.min(end, limit) - page
        return true
      }
      // A newer explanation that begins behind this page hides the older ones from there on.
      if (first > page && first < limit) limit = first
    }
    return false
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
      for (let e = this.#head(slot); e !== 0; e = this.#extents[e * 6] as number) this.#freeExtents.push(e)
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
    const { u32, f64 } = this.memory
    u32[h.magic] = 0
    const used = u32[h.blocks] as number
    u32.fill(0, 0, directoryAt / 4)
    f64.fill(0, directoryAt / 8, (directoryAt + used * 16) / 8)
    u32[h.version] = version
    u32[h.pid] = pid
    this.#blocks.clear()
    this.#freeBlocks = []
    this.#freeExtents = []
    this.#generation = 0
    u32[h.magic] = magic
    renameSync(this.path, path)
    this.path = path
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Where to look for the park of a journal, without opening it: descriptor and inode. Undefined: no journal, or no park. */
export function parkOf(path: string): { fd: number; inode: number } | undefined {
  try {
    const fd = openSync(path, 'r')
    const head = Buffer.alloc(256)
    readSync(fd, head, 0, 256, 0)
    closeSync(fd)
    const inode = head.readDoubleLE(hf.park * 8)
    return head.readUInt32LE(h.magic * 4) === magic && inode !== 0
      ? { fd: head.readUInt32LE(h.parkIn * 4), inode }
      : undefined
  } catch {
    return undefined
  }
}

function must(result: number, path: string): void {
  if (result < 0)
    throw new PagerError(
      'journal',
      `The journal ${path} could not grow (${errnoName(result)}): make room on its disk or choose another with --state DIR`,
    )
}
