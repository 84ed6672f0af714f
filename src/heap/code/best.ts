/**
 * Lethe's own allocator, and the default: the highest utilisation at high speed.
 *
 *        -4        0                               size-4
 *   | header |  payload ...                          |    next block's header
 *
 * Header: size | flags. Only the header is spent on an allocated block: the footer that finds a free block before it is in that free
 * block's last word, and a flag says whether it is there. So blocks are multiples of 8 with payloads of size - 4, from 8 bytes on.
 *
 * Blocks without headers: all in the first 64 KiB, the *zone* (best-zone.ts), and small ones of which there are many, which are slots of
 * runs (best-runs.ts). A small block that is freed waits in a quick list (best-quick.ts). A request has two sizes: `size`, with a
 * header, and `bare`, without; they are the same or 8 bytes apart.
 *
 * What makes it tight: 1. best fit over all sizes (best-bins.ts). 2. The last block of the heap, the *top*, is not in the bins; it is
 * used when nothing else fits, and the break moves only by what is missing. 3. A block is cut from the low end of a free
 * block if the request is smaller than usual, else from the high end: what is alike lies together, and is free together.
 * 4. realloc grows into what follows, into the top, or down into a free block before it.
 *
 * Variables, by their distance from state(); those of the bins begin at 8: */
export const FIRST: i32 = 0
/** The top's payload; the break itself when there is no top. */
export const TOP: i32 = 4
export const END: i32 = 20
export const ALIGN: i32 = 24
/** 16 times the usual size of blocks: a mean that forgets, in which nothing counts for more than 64 KiB. */
export const USUAL: i32 = 28
export const ERRNO: i32 = 60

const ENOMEM: i32 = 12
export const MOST: i32 = 0x7ffe0000
const STEP: i32 = 4096
/** Where a run may come from: free blocks; the top too; new memory too. */
const FROM_FREE: i32 = 0
const FROM_TOP: i32 = 1
const GROW: i32 = 2
/** Bytes of headers that a first run must promise to save, for half of it may stay empty. */
const WORTH: i32 = 64

import { AFTER, ALLOCATED, freeSize, insert, leastInZone, remove, takeBest, takeExact } from './best-bins.ts'
import {
  CLASS_UNITS,
  COUNTS,
  freeSlot,
  hasLots,
  makeRun,
  MAPPED,
  mapBytes,
  moveMap,
  runOf,
  slotsIn,
  setPaged,
  setupRuns,
  slotOf,
  SMALL,
  takeEmptyRun,
  takeLargerSlot,
  takeSlot,
  UNIT,
  bestUnits,
  useSpare,
} from './best-runs.ts'
import {
  grew,
  putQuick,
  putQuickHeaded,
  QUICK_BARE,
  QUICK_BITS,
  QUICK_BYTES,
  QUICK_FROM,
  QUICK_MAP,
  QUICK_MOST,
  QUICK_TO,
  isCalm,
  SETTLE_FROM,
  takeListed,
  takeListedHeaded,
  takeQuick,
  takeQuickHeaded,
  turn,
} from './best-quick.ts'
import {
  clearStart,
  inZone,
  isZoneFree,
  LIMIT,
  ownZone,
  setStart,
  setupZone,
  sizeAt,
  zoneBest,
  zoneExact,
  zoneFreeBefore,
  zoneSize,
  zoneSizeFar,
  zoneSizeNear,
} from './best-zone.ts'
import { ctz32, load32, sbrk, state, store32, zero } from './words.ts'

// Setup

/** Lays out an empty heap, which takes no memory before the first malloc. False where there is no room. */
export function setup(align: i32): boolean {
  const s = state()
  zero(s, 8192)
  store32(s + ALIGN, align)
  setupZone()
  setupRuns()
  return true
}

export function errno(): i32 {
  return load32(state() + ERRNO)
}

// The first bytes of the heap.
function begin(): boolean {
  const s = state()
  const start = sbrk(STEP)
  if (start < 0) return false
  store32(s + FIRST, start)
  store32(s + END, start + STEP)
  grew(STEP, STEP)
  setTop(start)
  return true
}

// Blocks, in the zone or not

/** The size of an allocated block that is no slot. */
export function sizeOf(p: i32): i32 {
  return inZone(p) ? zoneSize(p) : load32(p - 4) & -8
}

/** Whether a block that is no slot, and not the top, is free. */
export function isFree(p: i32): boolean {
  return inZone(p) ? isZoneFree(p) : (load32(p - 4) & ALLOCATED) === 0
}

/** The size of the free block before p, or 0. */
export function freeBefore(p: i32): i32 {
  if (inZone(p)) return zoneFreeBefore(p)
  if ((load32(p - 4) & AFTER) !== 0) return 0
  const tag = load32(p - 8)
  return (tag & 1) !== 0 ? 8 : tag
}

/** Makes `size` bytes at p an allocated block. `after` is AFTER if the block before is allocated, else 0. */
export function own(p: i32, size: i32, after: i32): void {
  if (inZone(p)) ownZone(p, size)
  else store32(p - 4, size | ALLOCATED | after)
}

/** Tells the block at p whether the one before it is allocated: AFTER or 0. */
export function tell(p: i32, after: i32): void {
  if (!inZone(p)) store32(p - 4, (load32(p - 4) & ~AFTER) | after)
}

/** Sets an allocated block's size. */
export function resize(p: i32, size: i32): void {
  if (inZone(p)) ownZone(p, size)
  else store32(p - 4, size | (load32(p - 4) & 7))
}

/** Makes p the top. The block before it is allocated. */
export function setTop(p: i32): void {
  const s = state()
  const old = load32(s + TOP)
  if (old !== 0 && inZone(old)) clearStart(old)
  store32(s + TOP, p)
  if (inZone(p)) setStart(p)
  else store32(p - 4, AFTER)
}

// malloc

/** What a request takes with a header. */
export function blockSize(bytes: i32): i32 {
  const mask = load32(state() + ALIGN) - 1
  return (bytes + 4 + mask) & ~mask
}
/** What it takes without. */
export function bareSize(bytes: i32): i32 {
  const mask = load32(state() + ALIGN) - 1
  return (bytes + (bytes === 0 ? 1 : 0) + mask) & ~mask
}

export function malloc(bytes: i32): i32 {
  const s = state()
  const align = load32(s + ALIGN)
  const bare = (bytes + align - 1) & -align
  let p = 0
  if (bare > 0 && bare <= SMALL) p = takeQuick(bare)
  else if (bare > SMALL && bytes <= QUICK_MOST - 16) p = takeQuickHeaded((bytes + 3 + align) & -align)
  return p !== 0 ? p : mallocSlow(bytes)
}

// A request that the quick lists have nothing for, or one of a size that they are not for.
function mallocSlow(bytes: i32): i32 {
  if (bytes < 0 || bytes > MOST) return refuse()
  const mask = load32(state() + ALIGN) - 1
  const size = (bytes + 4 + mask) & ~mask
  const bare = (bytes + (bytes === 0 ? 1 : 0) + mask) & ~mask
  if (bare <= SMALL) {
    let p = takeQuick(bare)
    if (p !== 0) return p
    p = takeSlot(bare)
    if (p !== 0) return p
    p = takeQuickHeaded(size)
    if (p !== 0) return p
    if (isCalm()) {
      if (inZone(load32(state() + TOP))) p = takeTopNow(size, bare)
      if (p !== 0) return p
    }
    return mallocSmall(bare, size)
  }
  if (size <= QUICK_MOST) {
    const p = takeQuickHeaded(size)
    if (p !== 0) return p
  }
  if (bytes >= load32(state() + SETTLE_FROM)) settle()
  else if (size <= QUICK_MOST && isCalm()) {
    const p = takeTopNow(size, bare)
    if (p !== 0) return p
  }
  let p = mallocFree(size, bare)
  if (p === 0 && !fitsTop(size, bare) && settle()) p = mallocBest(size, bare)
  if (p === 0) p = mallocTop(size, bare)
  return p
}

// In a calm heap what the top has is taken first: that costs least, and what is freed last there goes back to it.
function takeTopNow(size: i32, bare: i32): i32 {
  const s = state()
  const top = load32(s + TOP)
  const next = top + sizeAt(top, size, bare)
  if (top === 0 || next > load32(s + END)) return 0
  setTop(next)
  own(top, next - top, AFTER)
  return top
}

// A request for which no slot of its size is free.
function mallocSmall(bare: i32, size: i32): i32 {
  let p = zoneExact(bare)
  if (p === 0 && !inZone(load32(state() + TOP))) {
    p = zoneBest(bare)
    if (p === 0) p = leastInZone(size)
    if (p !== 0 && spoils(size, freeSize(p))) p = 0
  }
  if (p !== 0) {
    note(size)
    p = takeZone(p, size, bare)
    // The high end of the zone's last block may lie outside.
    count(p, size, 1)
    return p
  }
  p = takeExact(size)
  if (p !== 0) {
    note(size)
    allocate(p, size)
    count(p, size, 1)
    return p
  }
  const wanted = wantsRun(bare, size)
  if (wanted) {
    const units = bestUnits(bare, size)
    if (openUnits(bare, units, FROM_FREE)) return takeSlot(bare)
    if (settle()) return mallocAgain(bare, size)
    if (openUnits(bare, units, FROM_TOP) || (units > 1 && openUnits(bare, 1, FROM_FREE)))
      return takeSlot(bare)
    if (units > 1 && openUnits(bare, units, GROW)) return takeSlot(bare)
  }
  p = mallocBest(size, bare)
  if (p === 0 && !fitsTop(size, bare)) {
    if (settle()) return mallocAgain(bare, size)
    p = takeLargerSlot(bare)
    if (p !== 0) return p
    if (wanted && openUnits(bare, bestUnits(bare, size), GROW)) return takeSlot(bare)
  }
  if (p === 0) p = mallocTop(size, bare)
  if (p !== 0) count(p, size, 1)
  return p
}

function mallocAgain(bare: i32, size: i32): i32 {
  const p = takeSlot(bare)
  return p !== 0 ? p : mallocSmall(bare, size)
}

/** A block from a free one of the zone's lists. */
export function takeZone(p: i32, size: i32, bare: i32): i32 {
  const whole = freeSize(p)
  remove(p, whole)
  return cut(p, whole, size, bare)
}

/** One block more or less of this size, with a header. */
export function count(p: i32, size: i32, by: i32): void {
  if (size > SMALL || inZone(p)) return
  const at = state() + COUNTS + (size >> 1)
  store32(at, load32(at) + by)
}

// Whether requests of this size are better served from runs: there are some already, or so many blocks that the headers which as many
// more would save are worth a run that is half empty.
function wantsRun(slot: i32, size: i32): boolean {
  const s = state()
  if (size > SMALL || inZone(load32(s + TOP))) return false
  if (size === slot) return hasLots(slot, size, bestUnits(slot, size))
  const some = load32(s + CLASS_UNITS + (slot >> 1)) > 0
  const there = load32(s + COUNTS + (size >> 1))
  // A slot saves at most what a header costs.
  if (!some && there * (size - slot) < WORTH) return false
  const units = bestUnits(slot, size)
  const slots = slotsIn(units, slot)
  const gain = slots * size - units * UNIT
  return gain > 0 && (some || there * gain >= slots * WORTH)
}

// A run from a free block, or from the top, or from new memory.
function openUnits(slot: i32, units: i32, from: i32): boolean {
  const s = state()
  if (useSpare(units, slot)) return true
  const bytes = units * UNIT
  // A free block of as many bytes holds so many whole units only if it begins well; one that is a unit larger always does.
  let p = takeBest(bytes)
  for (let ask = bytes + UNIT; p !== 0 && !holdsUnits(p, freeSize(p), bytes); ask += UNIT) {
    insert(p, freeSize(p))
    p = ask <= bytes + UNIT ? takeBest(ask) : 0
  }
  let run = 0
  if (p !== 0) {
    run = unitAt(p)
    carve(p, freeSize(p), run, bytes)
  } else {
    const top = load32(s + TOP)
    if (from === FROM_FREE || inZone(top)) return false
    run = unitAt(top)
    if (run + bytes > load32(s + END)) {
      if (from !== GROW) return false
      if (giveBack()) return openUnits(slot, units, GROW)
      if (!reach(run + bytes)) return false
    }
    if (run !== top) insert(top, run - top)
    store32(run - 4, bytes | ALLOCATED | (run === top ? AFTER : 0))
    setTop(run + bytes)
  }
  if (!mapped(run + bytes)) {
    freeBlock(run)
    return false
  }
  makeRun(run, units, slot)
  return true
}

// Whether the map has bytes for the units before an address, or can have them.
function mapped(end: i32): boolean {
  const s = state()
  const units = (end - s) >> 10
  let most = load32(s + MAPPED)
  if (units <= most) return true
  while (units > most) most <<= 1
  const bytes = mapBytes(most)
  const size = blockSize(bytes)
  let p = mallocFree(size, bytes)
  if (p === 0) p = mallocTop(size, bytes)
  if (p === 0) return false
  const old = moveMap(p, most)
  if (old !== 0) freeBlock(old)
  return true
}

// The first unit that begins at p or behind it, and behind the zone.
function unitAt(p: i32): i32 {
  const s = state()
  return inZone(p) ? s + LIMIT : s + ((p - s + UNIT - 1) & -UNIT)
}
function holdsUnits(p: i32, whole: i32, bytes: i32): boolean {
  return unitAt(p) + bytes <= p + whole
}

// Allocates `size` bytes at q of a free block that is in no list; what is left on both sides becomes free.
function carve(p: i32, whole: i32, q: i32, size: i32): void {
  const rest = p + whole - q - size
  if (q !== p) insert(p, q - p)
  store32(q - 4, size | ALLOCATED | (q === p ? AFTER : 0))
  const next = q + size
  if (rest !== 0) insert(next, rest)
  else tell(next, AFTER)
}

// Marks a free block that is in no list as allocated, all of it.
function allocate(p: i32, size: i32): void {
  own(p, size, AFTER)
  tell(p + size, AFTER)
}

// Counts a request into the usual size.
function note(size: i32): void {
  const s = state()
  const usual = load32(s + USUAL)
  store32(s + USUAL, usual + (size < 65536 ? size : 65536) - (usual >> 4))
}

// A block from the free ones, or 0.
function mallocFree(size: i32, bare: i32): i32 {
  const p = takeExact(size)
  if (p === 0) return mallocBest(size, bare)
  note(size)
  allocate(p, size)
  return p
}

// The same where no free block is of just this size.
function mallocBest(size: i32, bare: i32): i32 {
  note(size)
  const small = bare <= SMALL ? zoneBest(bare) : 0
  if (small !== 0) return takeZone(small, size, bare)
  const p = takeBest(size)
  if (p === 0) return 0
  const whole = freeSize(p)
  if (!spoils(size, whole)) return cut(p, whole, size, bare)
  insert(p, whole)
  return 0
}

function fitsTop(size: i32, bare: i32): boolean {
  const s = state()
  const top = load32(s + TOP)
  return top + sizeAt(top, size, bare) <= load32(s + END)
}

/** A block from the top; before the heap grows, empty runs are given back. */
export function mallocTop(size: i32, bare: i32): i32 {
  if (!fitsTop(size, bare) && giveBack()) {
    const p = takeBest(size)
    if (p !== 0) return cut(p, freeSize(p), size, bare)
  }
  return takeTop(size, bare)
}

// Makes free blocks of all empty runs; whether there were any.
function giveBack(): boolean {
  let run = takeEmptyRun()
  if (run === 0) return false
  for (; run !== 0; run = takeEmptyRun()) freeBlock(run)
  return true
}

/** 0, for out of memory. */
export function refuse(): i32 {
  store32(state() + ERRNO, ENOMEM)
  return 0
}

// Whether a request is to be served from the high end of a free block.
function goesHigh(size: i32): boolean {
  return size > load32(state() + USUAL) >> 4
}

// Whether it is to be served from the high end of the top. That makes what is below a hole that only smaller requests can fill, so it must
// be clearly larger than usual, the hole less than a page and large enough for some, and the heap not so small that a page counts.
function goesHighInTop(size: i32, rest: i32): boolean {
  const s = state()
  const usual = load32(s + USUAL) >> 4
  return (
    rest < STEP &&
    rest >> 2 >= size &&
    size > usual + (usual >> 1) &&
    load32(s + END) - load32(s + FIRST) > 4 * STEP
  )
}

// Whether a small request would be cut from a free block of more than a quarter of the heap, though the top has room: such a block is
// what a large buffer left, and the next one needs it whole.
function spoils(size: i32, whole: i32): boolean {
  if (whole < 4 * STEP || size >= whole >> 3) return false
  const s = state()
  const end = load32(s + END)
  return load32(s + TOP) + size <= end && whole > (end - load32(s + FIRST)) >> 2
}

/** Allocates a block of a free one that is in no list; what is left becomes free. */
export function cut(p: i32, whole: i32, size: i32, bare: i32): i32 {
  const next = p + whole
  if (goesHigh(size)) {
    let q = next - (inZone(next) ? bare : size)
    if (q - state() === LIMIT - 8) q -= 8
    if (q > p) {
      insert(p, q - p)
      own(q, next - q, 0)
      tell(next, AFTER)
      return q
    }
  } else {
    const taken = sizeAt(p, size, bare)
    if (taken < whole) {
      own(p, taken, AFTER)
      insert(p + taken, whole - taken)
      return p
    }
  }
  allocate(p, whole)
  return p
}

function takeTop(size: i32, bare: i32): i32 {
  const s = state()
  if (load32(s + TOP) === 0 && !begin()) return refuse()
  const top = load32(s + TOP)
  const taken = sizeAt(top, size, bare)
  if (!reach(top + taken)) return refuse()
  const end = load32(s + END)
  let q = end - (inZone(end) ? bare : size)
  if (q - s === LIMIT - 8) q -= 8
  if (q > top && goesHighInTop(size, q - top)) {
    // The top becomes an ordinary free block below the new one.
    setTop(end)
    insert(top, q - top)
    own(q, end - q, 0)
    return q
  }
  setTop(top + taken)
  own(top, taken, AFTER)
  return top
}

/** Moves the break to `end` or just behind, if it is before. */
export function reach(end: i32): boolean {
  const s = state()
  const missing = end - load32(s + END)
  if (missing <= 0) return true
  const bytes = (missing + STEP - 1) & -STEP
  if (bytes < 0 || sbrk(bytes) < 0) return false
  const grown = load32(s + END) + bytes
  store32(s + END, grown)
  grew(bytes, grown - load32(s + FIRST))
  return true
}

// free

export function free(p: i32): void {
  if (p === 0) return
  const zone = inZone(p)
  const size = zone ? zoneSizeNear(p) : slotOf(p)
  const full = size !== 0 && size <= QUICK_BARE ? putQuick(p, size) : zone ? freeInZone(p) : freeHeaded(p)
  if (full) settle()
}

// A block of the zone that is larger than those in the lists of bare ones, or the last one, which has a header in its end.
function freeInZone(p: i32): boolean {
  const s = state()
  const size = zoneSizeFar(p)
  if (p + size === load32(s + TOP) && isCalm() && zoneFreeBefore(p) === 0) {
    setTop(p)
    return false
  }
  if (size <= load32(s + QUICK_TO) && inZone(p + size))
    return size > QUICK_BARE ? putQuickHeaded(p, size) : putQuick(p, size)
  turn(size, load32(s + END) - load32(s + FIRST))
  freeBlock(p)
  return false
}

function freeHeaded(p: i32): boolean {
  const s = state()
  const header = load32(p - 4)
  const size = header & -8
  if (p + size === load32(s + TOP) && (header & AFTER) !== 0 && isCalm()) {
    count(p, size, -1)
    setTop(p)
    return false
  }
  if (size >= load32(s + QUICK_FROM) && size <= load32(s + QUICK_TO)) return putQuickHeaded(p, size)
  turn(size, load32(s + END) - load32(s + FIRST))
  count(p, size, -1)
  freeBlock(p)
  return false
}

/** Frees what is in the quick lists; whether there was something. */
export function settle(): boolean {
  const s = state()
  const bytes = load32(s + QUICK_BYTES)
  if (bytes !== 0) settleAll()
  // Only while all lists are empty they can become others.
  setPaged()
  if (bytes === 0) return false
  turn(bytes, load32(s + END) - load32(s + FIRST))
  return true
}

function settleAll(): void {
  const s = state()
  store32(s + QUICK_BYTES, 0)
  while (load32(s + QUICK_BITS) !== 0) {
    const p = takeListed(ctz32(load32(s + QUICK_BITS)) << 3)
    const run = inZone(p) ? 0 : runOf(p)
    if (run === 0) freeBlock(p)
    else freeSlot(run, p)
  }
  for (let word = 0; word < 16; word++) {
    const map = s + QUICK_MAP + (word << 2)
    while (load32(map) !== 0) {
      const p = takeListedHeaded((word << 8) + (ctz32(load32(map)) << 3))
      count(p, sizeOf(p), -1)
      freeBlock(p)
    }
  }
}

/** A block that is no slot. */
export function freeBlock(p: i32): void {
  let size = sizeOf(p)
  let from = p
  const next = p + size
  const before = freeBefore(p)
  if (before !== 0) {
    from = p - before
    size += before
    remove(from, before)
    if (inZone(p)) clearStart(p)
  }
  if (next === load32(state() + TOP)) {
    setTop(from)
    return
  }
  if (isFree(next)) {
    const after = freeSize(next)
    remove(next, after)
    size += after
    if (inZone(next)) clearStart(next)
  } else tell(next, 0)
  insert(from, size)
}

// The others

export { realloc } from './best-realloc.ts'

/** Gives back what an allocated block of `old` bytes has beyond `size`. */
export function trim(p: i32, old: i32, size: i32): void {
  if (old === size) return
  own(p + size, old - size, AFTER)
  resize(p, size)
  freeBlock(p + size)
}

export function calloc(bytes: i32): i32 {
  const p = malloc(bytes)
  if (p !== 0) zero(p, bytes)
  return p
}

/** Memory at a multiple of `align`, a power of two. */
export function alignedAlloc(align: i32, bytes: i32): i32 {
  if (align <= load32(state() + ALIGN)) return mallocSlow(bytes)
  if (bytes < 0 || bytes > MOST - align) return refuse()
  const size = blockSize(bytes)
  let p = mallocFree(size + align, size + align)
  if (p === 0) p = mallocTop(size + align, size + align)
  if (p === 0) return 0
  const q = (p + align - 1) & -align
  let whole = sizeOf(p)
  if (q !== p) {
    whole -= q - p
    own(q, whole, AFTER)
    resize(p, q - p)
    freeBlock(p)
  }
  trim(q, whole, sizeAt(q, size, bareSize(bytes)))
  count(q, sizeOf(q), 1)
  return q
}

export function usableSize(p: i32): i32 {
  if (inZone(p)) return usable(p, zoneSize(p))
  const slot = slotOf(p)
  return slot !== 0 ? slot : (load32(p - 4) & -8) - 4
}

/** What a block of `size` bytes that is no slot has for the program: all but the header of what follows. */
export function usable(p: i32, size: i32): i32 {
  return inZone(p + size) ? size : size - 4
}
