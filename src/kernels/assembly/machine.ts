/**
 * A simulated machine's hardware for traces: TLBs, page-table walks and caches, record by record. The same machine as src/machine (mmu.ts, tlb.ts,
 * cache.ts, sets.ts), without records of what happened: counters only. The host (src/machine/engine.ts) makes the descriptors and serves page faults.
 *
 * Record, 64 bits:    address 0..47 | size 48..59 | kind 60..63 (0 and 3 read, 1 write, 2 fetch, 15: the address is the process that goes on);
 *                     or as Dinero IV writes it: address 0..31 | size 32..47 | kind 48..55
 * Cache descriptor:   0 line shift, 4 set mask, 8 ways, 12 policy, 16 write-back, 20 allocate, 24 next (0: memory), 28 keys, 32 tree,
 *                     36 random state, 40 level, 48 counters of 64 bits: references by kind (4), misses by kind (4), evictions, write-backs,
 *                     references that went on in another line, bytes from and to the next level
 * TLB descriptor:     0 set mask, 4 ways, 8 policy, 12 entries, 16 tree, 20 random state,
 *                     40 counters of 64 bits: hits, misses, evictions
 * Key of a line:      line number × 2 + dirty; all ones is empty. With LRU and FIFO a set's ways stand in order, the next victim last;
 *                     with PLRU and random they stay where they are.
 * Entry of a TLB:     64 bits process × 2^40 + page, then the frame
 *
 * Most references go where the last of their stream (fetches, or data) went: to the line that is the newest of its set, in a page whose entry is
 * the newest of its set. There nothing moves, only counters do, so `run` looks no further. `codeLine` and `dataLine` are those lines, by virtual
 * address, `codeKey` and `dataKey` those pages; whatever could make them no longer the newest forgets them. Most of the others hit as well, and
 * become the newest of their sets: `run` does that too. `one` does what is left: misses, faults, what is in several lines, other policies than LRU.
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

import { below, EMPTY, oldest, place, point, startMap } from './machine-map'

export { mapDelete, mapSet } from './machine-map'

const READ: u32 = 0
const WRITE: u32 = 1
const FETCH: u32 = 2
const OTHER: u32 = 3
const SWITCH: u32 = 15
// Replacement: 0 LRU, 3 random.
const FIFO: u32 = 1
const PLRU: u32 = 2
const PROCESS_SHIFT: u64 = 40
const LEVEL_SHIFT: u64 = 60

let translates = false
let pageShift: u64 = 12
let space: u64 = 0
let dataTlb: usize = 0
let codeTlb: usize = 0
let dataCache: usize = 0
let codeCache: usize = 0
/** Number of cache levels: what comes from memory has this level. */
let memoryLevel: u32 = 0
let walkDepth: u32 = 1
let entryBytes: u64 = 4
let cachedTables = false
/** Per table level: shift and mask, 32 bits each. */
let levelsAt: usize = 0
/** 64-bit counters: accesses by kind (4), demand by level (4), walk steps by level (4), walks. */
let sums: usize = 0
let stamps: usize = 0
let dirty: usize = 0
let outAt: usize = 0
let process: u64 = 0
let root: u64 = 0

let now: u64 = 0

/** Where a fault has interrupted a record: the part's address, and that its translation has been looked up. */
let resumeAt: u64 = 0
let resumes = false
let outCount: u32 = 0

/** By virtual address, shifted; EMPTY if there is none. `dirty`: a write changes nothing there. */
let codeLine: u64 = EMPTY
let dataLine: u64 = EMPTY
let dataDirty = false
let codeShift: u64 = 0
let dataShift: u64 = 0
/** The same lines by physical address. */
let codeAt: u64 = EMPTY
let dataAt: u64 = EMPTY
let codeKey: u64 = EMPTY
let dataKey: u64 = EMPTY
let codeFrame: u32 = 0
let dataFrame: u32 = 0

export function setup(
  withTranslation: bool,
  pageBits: u32,
  addressBits: u32,
  tlb: usize,
  itlb: usize,
  data: usize,
  code: usize,
  levels: u32,
  tables: u32,
  bytes: u32,
  throughCaches: bool,
  levelTable: usize,
  counters: usize,
  stampTable: usize,
  dirtyTable: usize,
  out: usize,
  end: usize,
): void {
  translates = withTranslation
  pageShift = pageBits
  space = (<u64>1) << (<u64>addressBits)
  dataTlb = tlb
  codeTlb = itlb
  dataCache = data
  codeCache = code
  memoryLevel = levels
  walkDepth = tables
  entryBytes = bytes
  cachedTables = throughCaches
  levelsAt = levelTable
  sums = counters
  stamps = stampTable
  dirty = dirtyTable
  outAt = out
  codeShift = code ? <u64>load<u32>(code) : 0
  dataShift = data ? <u64>load<u32>(data) : 0
  forgetAll()
  startMap(end)
}

/** The process that goes on, and the frame of its first table. */
export function enter(pid: u32, table: u32): void {
  process = (<u64>pid) << PROCESS_SHIFT
  root = table
  forgetAll()
}

/** From now on the frames that are touched are written to `out`. */
export function note(out: usize): void {
  outAt = out
}

/** Frames that were touched since the last call, in `out`: how many. */
export function touched(): u32 {
  const n = outCount
  outCount = 0
  return n
}

/** Address of the part that a fault has stopped. */
export function faultAddress(): u64 {
  return resumeAt
}

// --- caches ---

function bump(at: usize): void {
  store<u64>(at, load<u64>(at) + 1)
}

function add(at: usize, n: u64): void {
  store<u64>(at, load<u64>(at) + n)
}

/** A reference within one line: the level that had it. */
function reference(d: usize, kind: u32, at: u64, size: u64): u32 {
  const shift = <u64>load<u32>(d)
  const line = at >> shift
  const wanted = line << 1
  const ways = load<u32>(d, 8)
  const set = <usize>(<u32>line & load<u32>(d, 4))
  const base = <usize>load<u32>(d, 28) + ((set * ways) << 3)
  bump(d + 48 + ((<usize>kind) << 3))
  let slot = base
  if ((load<u64>(base) & ~1) != wanted) {
    const end = base + ((<usize>ways) << 3)
    do slot += 8
    while (slot < end && (load<u64>(slot) & ~1) != wanted)
    if (slot >= end) return miss(d, kind, at, size, line, set, base, end)
    if (load<u32>(d, 12) == 0) {
      const key = load<u64>(slot)
      for (; slot > base; slot -= 8) store<u64>(slot, load<u64>(slot - 8))
      store<u64>(base, key)
    }
  }
  if (load<u32>(d, 12) == PLRU) point(<usize>load<u32>(d, 32) + set * ways, ways, <u32>((slot - base) >> 3))
  if (kind == WRITE) {
    if (load<u32>(d, 16)) store<u64>(slot, load<u64>(slot) | 1)
    else {
      add(d + 144, size)
      if (load<u32>(d, 24)) part(<usize>load<u32>(d, 24), WRITE, at, size)
    }
  }
  return load<u32>(d, 40)
}

function miss(d: usize, kind: u32, at: u64, size: u64, line: u64, set: usize, base: usize, end: usize): u32 {
  bump(d + 80 + ((<usize>kind) << 3))
  const write = kind == WRITE
  const allocates = load<u32>(d, 20) != 0
  const keeps = !write || allocates
  const shift = <u64>load<u32>(d)
  const lineBytes = (<u64>1) << shift
  const next = <usize>load<u32>(d, 24)
  let level = memoryLevel
  let back: u64 = EMPTY
  if (keeps) {
    const policy = load<u32>(d, 12)
    const ways = load<u32>(d, 8)
    let slot = base
    let old = load<u64>(end - 8)
    if (policy <= FIFO) {
      for (slot = end - 8; slot > base; slot -= 8) store<u64>(slot, load<u64>(slot - 8))
    } else {
      while (slot < end && load<u64>(slot) != EMPTY) slot += 8
      const tree = <usize>load<u32>(d, 32) + set * ways
      if (slot >= end) {
        const way = policy == PLRU ? oldest(tree, ways) : below(d + 36, ways)
        slot = base + ((<usize>way) << 3)
      }
      old = load<u64>(slot)
      if (policy == PLRU) point(tree, ways, <u32>((slot - base) >> 3))
    }
    if (old != EMPTY) {
      bump(d + 112)
      if (old & 1) {
        bump(d + 120)
        back = (old >> 1) << shift
      }
    }
    store<u64>(slot, (line << 1) | (write && load<u32>(d, 16) ? 1 : 0))
  }
  if (!write || (allocates && size < lineBytes)) {
    add(d + 136, lineBytes)
    if (next) level = part(next, write ? READ : kind, line << shift, lineBytes)
  }
  if (write && !(keeps && load<u32>(d, 16))) {
    add(d + 144, size)
    if (next) {
      const reached = part(next, WRITE, at, size)
      if (!keeps) level = reached
    }
  }
  if (back != EMPTY) {
    add(d + 144, lineBytes)
    if (next) part(next, WRITE, back, lineBytes)
  }
  return level
}

/** A reference of any size: the farthest level of its lines. */
function part(d: usize, kind: u32, at: u64, size: u64): u32 {
  const lineBytes = (<u64>1) << (<u64>load<u32>(d))
  const room = lineBytes - (at & (lineBytes - 1))
  if (size <= room) return reference(d, kind, at, size)
  // Several sets: none of them is looked at below, so that no line is held any more.
  codeLine = EMPTY
  dataLine = EMPTY
  let level = reference(d, kind, at, room)
  const end = at + size
  for (let p = at + room; p < end; p += lineBytes) {
    bump(d + 128)
    const reached = reference(d, kind, p, min(lineBytes, end - p))
    if (reached > level) level = reached
  }
  return level
}

/** Writes all dirty lines of a cache to the next level, and of that one to its next. The last set first, the next victim first. */
export function flush(d: usize): void {
  const shift = <u64>load<u32>(d)
  const lines = <usize>(load<u32>(d, 4) + 1) * load<u32>(d, 8)
  const next = <usize>load<u32>(d, 24)
  const lineBytes = (<u64>1) << shift
  for (let slot = <usize>load<u32>(d, 28) + (lines << 3); slot > <usize>load<u32>(d, 28); ) {
    slot -= 8
    const key = load<u64>(slot)
    if (key == EMPTY || !(key & 1)) continue
    store<u64>(slot, key & ~1)
    add(d + 144, lineBytes)
    if (next) part(next, WRITE, (key >> 1) << shift, lineBytes)
  }
  if (next) flush(next)
  forgetAll()
}

// --- what the last references were to ---

function forgetAll(): void {
  codeLine = EMPTY
  dataLine = EMPTY
  codeKey = EMPTY
  dataKey = EMPTY
}

/** A page's entry is now the newest of its set: that of the other stream may no longer be. */
function holdPage(t: usize, fetch: bool, key: u64, frame: u32): void {
  if (!t) return
  const other = fetch ? dataKey : codeKey
  if (other != key && other != EMPTY && (!codeTlb || codeTlb == dataTlb)) {
    if (((other ^ key) & <u64>load<u32>(t)) == 0) {
      if (fetch) {
        dataKey = EMPTY
        dataLine = EMPTY
      } else {
        codeKey = EMPTY
        codeLine = EMPTY
      }
    }
  }
  if (fetch) {
    codeKey = key
    codeFrame = frame
  } else {
    dataKey = key
    dataFrame = frame
  }
}

/** The same for the line that a reference ended in. */
function holdLine(fetch: bool, kind: u32, at: u64, physical: u64): void {
  const d = fetch ? codeCache : dataCache
  if (!d) return
  const shift = fetch ? codeShift : dataShift
  const line = physical >> shift
  if (codeCache == dataCache) {
    const other = fetch ? dataAt : codeAt
    if (other != line && ((other ^ line) & <u64>load<u32>(d, 4)) == 0) {
      if (fetch) dataLine = EMPTY
      else codeLine = EMPTY
    }
  }
  // Without a TLB each reference walks, and a page that is smaller than a line may end inside of it.
  if (translates && (shift > pageShift || !(dataTlb || (fetch && codeTlb)))) return
  if (fetch) {
    codeLine = at >> shift
    codeAt = line
    return
  }
  if (kind == WRITE) {
    if (!load<u32>(d, 20)) {
      dataLine = EMPTY
      return
    }
    dataDirty = load<u32>(d, 16) != 0
  } else if (line != dataAt || dataLine == EMPTY) dataDirty = false
  dataLine = at >> shift
  dataAt = line
}

// --- translation ---

/** Frame of a page from the TLB, or -1. */
function look(t: usize, key: u64, fetch: bool): i64 {
  if ((fetch ? codeKey : dataKey) == key) {
    bump(t + 40)
    return fetch ? codeFrame : dataFrame
  }
  const ways = load<u32>(t, 4)
  const set = <usize>(<u32>key & load<u32>(t))
  const base = <usize>load<u32>(t, 12) + ((set * ways) << 4)
  const end = base + ((<usize>ways) << 4)
  for (let slot = base; slot < end; slot += 16) {
    if (load<u64>(slot) != key) continue
    const frame = load<u32>(slot, 8)
    const policy = load<u32>(t, 8)
    if (policy == 0) {
      for (; slot > base; slot -= 16) copyEntry(slot, slot - 16)
      store<u64>(base, key)
      store<u32>(base, frame, 8)
    } else if (policy == PLRU) point(<usize>load<u32>(t, 16) + set * ways, ways, <u32>((slot - base) >> 4))
    bump(t + 40)
    holdPage(t, fetch, key, frame)
    return frame
  }
  bump(t + 48)
  return -1
}

function copyEntry(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from))
  store<u32>(to, load<u32>(from, 8), 8)
}

function fill(t: usize, key: u64, frame: u32, fetch: bool): void {
  const ways = load<u32>(t, 4)
  const set = <usize>(<u32>key & load<u32>(t))
  const base = <usize>load<u32>(t, 12) + ((set * ways) << 4)
  const end = base + ((<usize>ways) << 4)
  const policy = load<u32>(t, 8)
  let slot = base
  if (policy <= FIFO) {
    if (load<u64>(end - 16) != EMPTY) bump(t + 56)
    for (slot = end - 16; slot > base; slot -= 16) copyEntry(slot, slot - 16)
  } else {
    while (slot < end && load<u64>(slot) != EMPTY) slot += 16
    const tree = <usize>load<u32>(t, 16) + set * ways
    if (slot >= end) {
      bump(t + 56)
      const way = policy == PLRU ? oldest(tree, ways) : below(t + 20, ways)
      slot = base + ((<usize>way) << 4)
    }
    if (policy == PLRU) point(tree, ways, <u32>((slot - base) >> 4))
  }
  store<u64>(slot, key)
  store<u32>(slot, frame, 8)
  // What was there may be what the other stream holds: it has the same set.
  holdPage(t, fetch, key, frame)
}

/** Forgets a page in one TLB. */
export function tlbDrop(t: usize, key: u64): void {
  const ways = load<u32>(t, 4)
  const set = <usize>(<u32>key & load<u32>(t))
  const base = <usize>load<u32>(t, 12) + ((set * ways) << 4)
  const end = base + ((<usize>ways) << 4)
  forgetAll()
  for (let slot = base; slot < end; slot += 16) {
    if (load<u64>(slot) != key) continue
    // With ways in order the empty one is the last.
    if (load<u32>(t, 8) <= FIFO) for (; slot < end - 16; slot += 16) copyEntry(slot, slot + 16)
    store<u64>(slot, EMPTY)
    return
  }
}

export function tlbFlush(t: usize): void {
  forgetAll()
  const entries = <usize>(load<u32>(t) + 1) * load<u32>(t, 4)
  for (let i: usize = 0; i < entries; i++) store<u64>(<usize>load<u32>(t, 12) + (i << 4), EMPTY)
}

/** The walk: the page's frame, or -1 where an entry is not valid. */
function walk(vpn: u64): i64 {
  bump(sums + 96)
  // Its entries come through the cache for data.
  if (cachedTables && dataCache) {
    dataLine = EMPTY
    if (codeCache == dataCache) codeLine = EMPTY
  }
  let table = root
  for (let level: u32 = 0; level < walkDepth; level++) {
    const at = levelsAt + ((<usize>level) << 3)
    const shift = <u64>load<u32>(at)
    let reached = memoryLevel
    if (cachedTables && dataCache) {
      const index = (vpn >> shift) & <u64>load<u32>(at, 4)
      reached = part(dataCache, READ, (table << pageShift) + index * entryBytes, entryBytes)
    }
    bump(sums + 64 + ((<usize>reached) << 3))
    const last = level + 1 == walkDepth
    const key = last ? process | vpn : process | (vpn >> shift) | ((<u64>(level + 1)) << LEVEL_SHIFT)
    const found = place(key)
    if (load<u64>(found) == EMPTY) return -1
    table = load<u32>(found, 8)
  }
  return <i64>table
}

/**
 * Runs records [from, to) of the buffer at `records`, Dinero's or ours. Gives `to`; or the number of a record that has met a page fault, to be run
 * again when that has been served; or that of a switch to another process (enter, then go on behind it); or -1 - n for record n, whose address
 * is out of range.
 */
export function run(records: usize, from: i32, to: i32, dinero: bool): i32 {
  const addressMask: u64 = dinero ? 0xffffffff : 0xffffffffffff
  const sizeShift: u64 = dinero ? 32 : 48
  const sizeMask: u64 = dinero ? 0xffff : 0xfff
  const kindShift: u64 = dinero ? 48 : 60
  const kindMask: u32 = dinero ? 0xff : 0xf
  const codeRoom = (<u64>1) << codeShift
  const dataRoom = (<u64>1) << dataShift
  const codeT = codeTlb ? codeTlb : dataTlb
  const dataT = dataTlb
  const codeSet = firstSet(codeT, codeCache, codeShift)
  const dataSet = firstSet(dataT, dataCache, dataShift)
  const codeKeys = codeSet ? <usize>load<u32>(codeCache, 28) : 0
  const dataKeys = dataSet ? <usize>load<u32>(dataCache, 28) : 0
  const codeMask = codeSet ? <u64>load<u32>(codeCache, 4) : 0
  const dataMask = dataSet ? <u64>load<u32>(dataCache, 4) : 0
  const writesBack = dataSet && load<u32>(dataCache, 16) != 0
  const codeMoves = codeSet && load<u32>(codeCache, 12) == 0 && codeCache != dataCache
  const dataMoves = dataSet && load<u32>(dataCache, 12) == 0 && codeCache != dataCache
  // References that hit, and to which there was no more to do, by kind.
  let reads: u64 = 0
  let writes: u64 = 0
  let fetches: u64 = 0
  let others: u64 = 0
  let i = from
  for (; i < to; i++) {
    const record = load<u64>(records + ((<usize>i) << 3))
    const kind = <u32>(record >> kindShift) & kindMask
    const at = record & addressMask
    const size = (record >> sizeShift) & sizeMask
    if (kind == FETCH) {
      if (size - 1 < codeRoom - (at & (codeRoom - 1))) {
        if (at >> codeShift == codeLine) {
          fetches++
          if (translates) touch(codeFrame)
          continue
        }
        if (codeSet && at < space) {
          const key = process | (at >> pageShift)
          const frame = newest(codeT, key, true)
          if (frame >= 0) {
            const line = physicalOf(frame, at) >> codeShift
            const slot = codeKeys + <usize>(line & codeMask) * codeSet
            if ((load<u64>(slot) & ~1) == line << 1 || (codeMoves && renew(slot, codeSet, line << 1))) {
              fetches++
              codeKey = key
              codeFrame = <u32>frame
              codeLine = at >> codeShift
              codeAt = line
              if (translates) touch(<u32>frame)
              continue
            }
          }
        }
      }
    } else if (kind <= OTHER && size - 1 < dataRoom - (at & (dataRoom - 1))) {
      if (at >> dataShift == dataLine && (kind != WRITE || dataDirty)) {
        if (kind == READ) reads++
        else if (kind == WRITE) writes++
        else others++
        if (translates) touch(dataFrame)
        continue
      }
      if (dataSet && at < space && (kind != WRITE || writesBack)) {
        const key = process | (at >> pageShift)
        const frame = newest(dataT, key, false)
        if (frame >= 0) {
          const line = physicalOf(frame, at) >> dataShift
          const slot = dataKeys + <usize>(line & dataMask) * dataSet
          if ((load<u64>(slot) & ~1) == line << 1 || (dataMoves && renew(slot, dataSet, line << 1))) {
            const held = load<u64>(slot)
            dataDirty = (held & 1) != 0
            if (kind == READ) reads++
            else if (kind == WRITE) {
              writes++
              dataDirty = true
              store<u64>(slot, held | 1)
              if (translates) store<u8>(dirty + <usize>frame, 1)
            } else others++
            dataKey = key
            dataFrame = <u32>frame
            dataLine = at >> dataShift
            dataAt = line
            if (translates) touch(<u32>frame)
            continue
          }
        }
      }
    }
    if (kind > OTHER) {
      if (kind != SWITCH || dinero) i = -1 - i
      break
    }
    if (at + size > space || size == 0 || size > 4095) {
      i = -1 - i
      break
    }
    if (!one(kind, at, at + size)) break
  }
  if (reads + writes + others) {
    count(dataCache, READ, reads)
    count(dataCache, WRITE, writes)
    count(dataCache, OTHER, others)
    if (translates) add(dataTlb + 40, reads + writes + others)
  }
  if (fetches) {
    count(codeCache, FETCH, fetches)
    if (translates) add((codeTlb ? codeTlb : dataTlb) + 40, fetches)
  }
  return i
}

/**
 * Bytes from one set of a first cache to the next, if a line that is the newest of its set can be used without anything else: 0 if not. PLRU notes
 * every use; without a TLB each reference walks; a page that is smaller than a line may end inside of it.
 */
function firstSet(t: usize, d: usize, shift: u64): usize {
  if (!d || load<u32>(d, 12) == PLRU) return 0
  if (translates && (!t || load<u32>(t, 8) == PLRU || shift > pageShift)) return 0
  return (<usize>load<u32>(d, 8)) << 3
}

/** Frame of a page that is the newest of its set, or becomes it if that is all that a hit does; else -1. */
function newest(t: usize, key: u64, fetch: bool): i64 {
  if (!translates) return 0
  const ways = load<u32>(t, 4)
  const at = <usize>load<u32>(t, 12) + ((<usize>(<u32>key & load<u32>(t)) * ways) << 4)
  if (load<u64>(at) == key) return <i64>load<u32>(at, 8)
  if (load<u32>(t, 8) != 0) return -1
  const end = at + ((<usize>ways) << 4)
  for (let slot = at + 16; slot < end; slot += 16) {
    if (load<u64>(slot) != key) continue
    const frame = load<u32>(slot, 8)
    for (; slot > at; slot -= 16) copyEntry(slot, slot - 16)
    store<u64>(at, key)
    store<u32>(at, frame, 8)
    holdPage(t, fetch, key, frame)
    return <i64>frame
  }
  return -1
}

/** Whether a set whose newest line is another one has a line; it is the newest then. */
function renew(set: usize, bytes: usize, wanted: u64): bool {
  const end = set + bytes
  let slot = set + 8
  while (slot < end && (load<u64>(slot) & ~1) != wanted) slot += 8
  if (slot >= end) return false
  const key = load<u64>(slot)
  for (; slot > set; slot -= 8) store<u64>(slot, load<u64>(slot - 8))
  store<u64>(set, key)
  return true
}

function physicalOf(frame: i64, at: u64): u64 {
  return translates ? ((<u64>frame) << pageShift) | (at & (((<u64>1) << pageShift) - 1)) : at
}

/** References to a line of a first cache. */
function count(d: usize, kind: u32, n: u64): void {
  add(sums + ((<usize>kind) << 3), n)
  add(sums + 32 + ((<usize>load<u32>(d, 40)) << 3), n)
  add(d + 48 + ((<usize>kind) << 3), n)
}

/** A frame has been referred to. */
function touch(frame: u32): void {
  store<u64>(stamps + ((<usize>frame) << 3), ++now)
  if (outAt) {
    store<u32>(outAt + ((<usize>outCount) << 2), frame)
    outCount++
  }
}

/** One reference; false: a page fault has stopped it. */
function one(kind: u32, from: u64, end: u64): bool {
  const fetch = kind == FETCH
  if (!translates) {
    bump(sums + ((<usize>kind) << 3))
    access(kind, from, end - from)
    holdLine(fetch, kind, end - 1, end - 1)
    return true
  }
  const t = fetch && codeTlb ? codeTlb : dataTlb
  let at = resumes ? resumeAt : from
  do {
    const vpn = at >> pageShift
    const stop = min(end, (vpn + 1) << pageShift)
    const key = process | vpn
    let frame: i64 = -1
    if (resumes) {
      resumes = false
      frame = <i64>load<u32>(place(key), 8)
      if (t) fill(t, key, <u32>frame, fetch)
    } else {
      bump(sums + ((<usize>kind) << 3))
      if (t) frame = look(t, key, fetch)
      if (frame < 0) {
        frame = walk(vpn)
        if (frame < 0) {
          resumeAt = at
          resumes = true
          return false
        }
        if (t) fill(t, key, <u32>frame, fetch)
      }
    }
    touch(<u32>frame)
    if (kind == WRITE) store<u8>(dirty + <usize>frame, 1)
    const physical = ((<u64>frame) << pageShift) | (at & (((<u64>1) << pageShift) - 1))
    access(kind, physical, stop - at)
    holdLine(fetch, kind, stop - 1, physical + (stop - 1 - at))
    at = stop
  } while (at < end)
  return true
}

function access(kind: u32, physical: u64, size: u64): void {
  const cache = kind == FETCH ? codeCache : dataCache
  const level = cache ? part(cache, kind, physical, size) : memoryLevel
  bump(sums + 32 + ((<usize>level) << 3))
}
