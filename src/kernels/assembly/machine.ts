/**
 * A simulated machine's hardware for traces: TLBs, page-table walks and caches, record by record. The same machine as src/machine (mmu.ts, tlb.ts,
 * cache.ts, sets.ts), without records of what happened: counters only. The host (src/machine/engine.ts) makes the descriptors and serves page faults.
 *
 * Record, 64 bits:    address 0..47 | size 48..59 | kind 60..63 (0 read, 1 write, 2 fetch, 15: the address is the process that goes on)
 * Cache descriptor:   0 line shift, 4 set mask, 8 ways, 12 policy, 16 write-back, 20 allocate, 24 next (0: memory), 28 keys, 32 tree,
 *                     36 random state, 40 level, 48 counters of 64 bits: reads, writes, fetches, misses of each, evictions, write-backs
 * TLB descriptor:     0 set mask, 4 ways, 8 policy, 12 entries, 16 tree, 20 random state, 24 frame of the last key, 32 last key,
 *                     40 counters of 64 bits: hits, misses, evictions
 * Key of a line:      line number × 2 + dirty; all ones is empty. With LRU and FIFO a set's ways stand in order, the next victim last;
 *                     with PLRU and random they stay where they are.
 * Entry of a TLB:     64 bits process × 2^40 + page, then the frame
 * Map:                64-bit key, 32-bit value, 16 bytes a place; linear probing. Level 0 maps pages to frames, level k (in bits 60 to 63)
 *                     the upper bits of pages to the frame of their table.
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

const READ: u32 = 0
const WRITE: u32 = 1
const FETCH: u32 = 2
const SWITCH: u32 = 15
// Replacement: 0 LRU, 3 random.
const FIFO: u32 = 1
const PLRU: u32 = 2
const EMPTY: u64 = u64.MAX_VALUE
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

let mapAt: usize = 0
let mapMask: u32 = 0
let mapUsed: u32 = 0
let top: usize = 0
let now: u64 = 0

/** Where a fault has interrupted a record: the part's address, and that its translation has been looked up. */
let resumeAt: u64 = 0
let resumes = false
let outCount: u32 = 0

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
  top = end
  mapUsed = 0
  makeMap(1 << 12)
}

/** The process that goes on, and the frame of its first table. */
export function enter(pid: u32, table: u32): void {
  process = (<u64>pid) << PROCESS_SHIFT
  root = table
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

// --- map ---

function makeMap(places: u32): void {
  mapAt = (top + 15) & ~15
  top = mapAt + ((<usize>places) << 4)
  const missing = <i32>((top + 0xffff) >> 16) - memory.size()
  if (missing > 0) memory.grow(missing)
  memory.fill(mapAt, 0xff, (<usize>places) << 4)
  mapMask = places - 1
}

function hash(key: u64): u32 {
  const x = (key ^ (key >> 29)) * 0x9e3779b97f4a7c15
  return <u32>(x >> 32)
}

/** Place of a key in the map, or of the empty place where it would be. */
function place(key: u64): usize {
  let i = hash(key) & mapMask
  let at = mapAt + ((<usize>i) << 4)
  while (load<u64>(at) != key && load<u64>(at) != EMPTY) {
    i = (i + 1) & mapMask
    at = mapAt + ((<usize>i) << 4)
  }
  return at
}

export function mapSet(key: u64, value: u32): void {
  if (mapUsed * 2 > mapMask) {
    const old = mapAt
    const places = mapMask + 1
    makeMap(places * 2)
    for (let i: u32 = 0; i < places; i++) {
      const at = old + ((<usize>i) << 4)
      const moved = load<u64>(at)
      if (moved == EMPTY) continue
      const to = place(moved)
      store<u64>(to, moved)
      store<u32>(to, load<u32>(at, 8), 8)
    }
  }
  const at = place(key)
  if (load<u64>(at) == EMPTY) mapUsed++
  store<u64>(at, key)
  store<u32>(at, value, 8)
}

export function mapDelete(key: u64): void {
  let at = place(key)
  if (load<u64>(at) == EMPTY) return
  mapUsed--
  let hole = <u32>((at - mapAt) >> 4)
  let i = hole
  for (;;) {
    i = (i + 1) & mapMask
    const next = mapAt + ((<usize>i) << 4)
    const moved = load<u64>(next)
    if (moved == EMPTY) break
    // Whoever has passed the hole on the way to its place may move into it.
    if (((i - (hash(moved) & mapMask)) & mapMask) < ((i - hole) & mapMask)) continue
    at = mapAt + ((<usize>hole) << 4)
    store<u64>(at, moved)
    store<u32>(at, load<u32>(next, 8), 8)
    hole = i
  }
  store<u64>(mapAt + ((<usize>hole) << 4), EMPTY)
}

// --- replacement of ways that stay where they are ---

function point(tree: usize, ways: u32, way: u32): void {
  let node: u32 = 1
  for (let half = ways >> 1; half > 0; half >>= 1) {
    const right = way & half ? 1 : 0
    store<u8>(tree + node, 1 - right)
    node = node * 2 + right
  }
}

function oldest(tree: usize, ways: u32): u32 {
  let node: u32 = 1
  let way: u32 = 0
  for (let half = ways >> 1; half > 0; half >>= 1) {
    const right = load<u8>(tree + node)
    if (right) way |= half
    node = node * 2 + right
  }
  return way
}

function below(stateAt: usize, bound: u32): u32 {
  let x = load<u32>(stateAt)
  x ^= x << 13
  x ^= x >> 17
  x ^= x << 5
  store<u32>(stateAt, x)
  return x % bound
}

// --- caches ---

function bump(at: usize): void {
  store<u64>(at, load<u64>(at) + 1)
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
    else if (load<u32>(d, 24)) part(<usize>load<u32>(d, 24), WRITE, at, size)
  }
  return load<u32>(d, 40)
}

function miss(d: usize, kind: u32, at: u64, size: u64, line: u64, set: usize, base: usize, end: usize): u32 {
  bump(d + 72 + ((<usize>kind) << 3))
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
      bump(d + 96)
      if (old & 1) {
        bump(d + 104)
        back = (old >> 1) << shift
      }
    }
    store<u64>(slot, (line << 1) | (write && load<u32>(d, 16) ? 1 : 0))
  }
  if (!write || (allocates && size < lineBytes)) {
    if (next) level = part(next, kind == FETCH ? FETCH : READ, line << shift, lineBytes)
  }
  if (write && !(keeps && load<u32>(d, 16)) && next) {
    const reached = part(next, WRITE, at, size)
    if (!keeps) level = reached
  }
  if (back != EMPTY && next) part(next, WRITE, back, lineBytes)
  return level
}

/** A reference of any size: the farthest level of its lines. */
function part(d: usize, kind: u32, at: u64, size: u64): u32 {
  const lineBytes = (<u64>1) << (<u64>load<u32>(d))
  const room = lineBytes - (at & (lineBytes - 1))
  if (size <= room) return reference(d, kind, at, size)
  let level = reference(d, kind, at, room)
  const end = at + size
  for (let p = at + room; p < end; p += lineBytes) {
    const reached = reference(d, kind, p, min(lineBytes, end - p))
    if (reached > level) level = reached
  }
  return level
}

// --- translation ---

/** Frame of a page from the TLB, or -1. */
function look(t: usize, key: u64): i64 {
  if (load<u64>(t, 32) == key) {
    bump(t + 40)
    return load<u32>(t, 24)
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
    store<u64>(t, key, 32)
    store<u32>(t, frame, 24)
    return frame
  }
  bump(t + 48)
  return -1
}

function copyEntry(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from))
  store<u32>(to, load<u32>(from, 8), 8)
}

function fill(t: usize, key: u64, frame: u32): void {
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
  store<u64>(t, key, 32)
  store<u32>(t, frame, 24)
}

/** Forgets a page in one TLB. */
export function tlbDrop(t: usize, key: u64): void {
  const ways = load<u32>(t, 4)
  const set = <usize>(<u32>key & load<u32>(t))
  const base = <usize>load<u32>(t, 12) + ((set * ways) << 4)
  const end = base + ((<usize>ways) << 4)
  store<u64>(t, EMPTY, 32)
  for (let slot = base; slot < end; slot += 16) {
    if (load<u64>(slot) != key) continue
    // With ways in order the empty one is the last.
    if (load<u32>(t, 8) <= FIFO) for (; slot < end - 16; slot += 16) copyEntry(slot, slot + 16)
    store<u64>(slot, EMPTY)
    return
  }
}

export function tlbFlush(t: usize): void {
  store<u64>(t, EMPTY, 32)
  const entries = <usize>(load<u32>(t) + 1) * load<u32>(t, 4)
  for (let i: usize = 0; i < entries; i++) store<u64>(<usize>load<u32>(t, 12) + (i << 4), EMPTY)
}

/** The walk: the page's frame, or -1 where an entry is not valid. */
function walk(vpn: u64): i64 {
  bump(sums + 96)
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
 * Runs records [from, to) of the buffer at `records`. Gives `to`; or the number of a record that has met a page fault, to be run
 * again when that has been served; or that of a switch to another process (enter, then go on behind it); or -1 - n for record n, whose address
 * is out of range.
 */
export function run(records: usize, from: i32, to: i32): i32 {
  for (let i = from; i < to; i++) {
    const record = load<u64>(records + ((<usize>i) << 3))
    const kind = <u32>(record >> 60)
    let at = record & 0xffffffffffff
    if (kind > FETCH) {
      if (kind == SWITCH) return i
      return -1 - i
    }
    const end = at + ((record >> 48) & 0xfff)
    if (end > space || end == at) return -1 - i
    if (!translates) {
      bump(sums + ((<usize>kind) << 3))
      access(kind, at, end - at)
      continue
    }
    if (resumes) at = resumeAt
    do {
      const vpn = at >> pageShift
      const pageEnd = (vpn + 1) << pageShift
      const stop = min(end, pageEnd)
      const key = process | vpn
      const t = kind == FETCH && codeTlb ? codeTlb : dataTlb
      let frame: i64 = -1
      if (resumes) {
        resumes = false
        frame = <i64>load<u32>(place(key), 8)
        if (t) fill(t, key, <u32>frame)
      } else {
        bump(sums + ((<usize>kind) << 3))
        if (t) frame = look(t, key)
        if (frame < 0) {
          frame = walk(vpn)
          if (frame < 0) {
            resumeAt = at
            resumes = true
            return i
          }
          if (t) fill(t, key, <u32>frame)
        }
      }
      store<u64>(stamps + ((<usize>frame) << 3), ++now)
      if (kind == WRITE) store<u8>(dirty + <usize>frame, 1)
      if (outAt) {
        store<u32>(outAt + ((<usize>outCount) << 2), <u32>frame)
        outCount++
      }
      access(kind, ((<u64>frame) << pageShift) | (at & (((<u64>1) << pageShift) - 1)), stop - at)
      at = stop
    } while (at < end)
  }
  return to
}

function access(kind: u32, physical: u64, size: u64): void {
  const cache = kind == FETCH ? codeCache : dataCache
  const level = cache ? part(cache, kind, physical, size) : memoryLevel
  bump(sums + 32 + ((<usize>level) << 3))
}
