/**
 * Lethe's own allocator, and the default: the highest utilisation at high speed.
 *
 *        -4        0                               size-4
 *   | header |  payload ...                          |    next block's header
 *
 * Header: size | flags. Only the header is spent on an allocated block: the footer that finds a free block before it is in that free
 * block's last word, and a flag says whether it is there. So blocks are multiples of 8 with payloads of size - 4, from 8 bytes on.
 *
 * Small blocks of which there are many have no header: they are slots of runs (best-runs.ts).
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
const MOST: i32 = 0x7ffe0000
const STEP: i32 = 4096
/** Where a run may come from: free blocks; the top too; new memory too. */
const FROM_FREE: i32 = 0
const FROM_TOP: i32 = 1
const GROW: i32 = 2
/** Bytes of headers that a first run must promise to save, for half of it may stay empty. */
const WORTH: i32 = 64

import { AFTER, ALLOCATED, BINS, freeSize, insert, remove, takeBest, takeExact } from './best-bins.ts'
import {
  CLASS_UNITS,
  COUNTS,
  freeSlot,
  leafOf,
  makeRun,
  runOf,
  setupRuns,
  slotsIn,
  slotSize,
  SMALL,
  takeEmptyRun,
  takeLargerSlot,
  takeSlot,
  UNIT,
  bestUnits,
} from './best-runs.ts'
import { load32, move, sbrk, state, store32, zero } from './words.ts'

// Setup

/** Lays out an empty heap, which takes no memory before the first malloc. False where there is no room. */
export function setup(align: i32): boolean {
  const s = state()
  zero(s, 4096)
  store32(s + ALIGN, align)
  for (let head = s + BINS; head < s + BINS + 256; head += 8) {
    store32(head, head)
    store32(head + 4, head)
  }
  setupRuns()
  return true
}

export function errno(): i32 {
  return load32(state() + ERRNO)
}

// The first bytes of the heap: blocks begin 4 bytes before a multiple of the alignment.
function begin(): boolean {
  const s = state()
  const start = sbrk(STEP)
  if (start < 0) return false
  const first = start + load32(s + ALIGN)
  store32(s + FIRST, first)
  store32(s + TOP, first)
  store32(s + END, start + STEP)
  store32(first - 4, AFTER)
  return true
}

// malloc

function blockSize(bytes: i32): i32 {
  const mask = load32(state() + ALIGN) - 1
  return (bytes + 4 + mask) & ~mask
}

export function malloc(bytes: i32): i32 {
  if (bytes < 0 || bytes > MOST) return refuse()
  const s = state()
  const mask = load32(s + ALIGN) - 1
  const size = (bytes + 4 + mask) & ~mask
  if (bytes <= SMALL) {
    const slot = (bytes + (bytes === 0 ? 1 : 0) + mask) & ~mask
    const p = takeSlot(slot)
    if (p !== 0) return p
    return mallocSmall(slot, size)
  }
  let p = mallocFree(size)
  if (p === 0) p = mallocTop(size)
  return p
}

// A request for which no slot of its size is free.
function mallocSmall(slot: i32, size: i32): i32 {
  let p = takeExact(size)
  if (p !== 0) {
    note(size)
    allocate(p, size)
    count(size, 1)
    return p
  }
  const wanted = wantsRun(slot, size)
  if (wanted && openRun(slot, size)) return takeSlot(slot)
  p = mallocBest(size)
  if (p === 0 && !fitsTop(size)) {
    p = takeLargerSlot(slot)
    if (p !== 0) return p
    if (wanted && openUnits(slot, bestUnits(slot, size), GROW)) return takeSlot(slot)
  }
  if (p === 0) p = mallocTop(size)
  if (p !== 0) count(size, 1)
  return p
}

// One block more or less of this size, with a header.
function count(size: i32, by: i32): void {
  if (size > SMALL) return
  const at = state() + COUNTS + (size >> 1)
  store32(at, load32(at) + by)
}

// Whether requests of this size are better served from runs: there are some already, or so many blocks that the headers which as many
// more would save are worth a run that is half empty.
function wantsRun(slot: i32, size: i32): boolean {
  if (size === slot || size > SMALL) return false
  const s = state()
  const some = load32(s + CLASS_UNITS + (slot >> 1)) > 0
  const there = load32(s + COUNTS + (size >> 1))
  // A slot saves at most what a header costs.
  if (!some && there * (size - slot) < WORTH) return false
  const units = bestUnits(slot, size)
  const slots = slotsIn(units, slot)
  const gain = slots * size - units * UNIT
  return gain > 0 && (some || there * gain >= slots * WORTH)
}

// A run for slots of a size, in the memory that there is.
function openRun(slot: i32, size: i32): boolean {
  const units = bestUnits(slot, size)
  return (
    openUnits(slot, units, FROM_TOP) ||
    (units > 1 && (openUnits(slot, 1, FROM_FREE) || openUnits(slot, units, GROW)))
  )
}

// A run from a free block, or from the top, or from new memory.
function openUnits(slot: i32, units: i32, from: i32): boolean {
  const s = state()
  const bytes = units * UNIT
  // A free block of as many bytes holds so many whole units only if it begins well; one that is a unit larger always does.
  let p = takeBest(bytes)
  for (let ask = bytes + (UNIT >> 3); p !== 0 && !holdsUnits(p, freeSize(p), bytes); ask += UNIT >> 3) {
    insert(p, freeSize(p))
    p = takeBest(ask)
  }
  let run = 0
  if (p !== 0) {
    run = unitAt(p)
    carve(p, freeSize(p), run, bytes)
  } else {
    if (from === FROM_FREE || load32(s + TOP) === 0) return false
    const top = load32(s + TOP)
    run = unitAt(top)
    if (run + bytes > load32(s + END)) {
      if (from !== GROW) return false
      if (giveBack()) return openUnits(slot, units, GROW)
      if (!grow(run - top + bytes)) return false
    }
    if (run !== top) insert(top, run - top)
    store32(run - 4, bytes | ALLOCATED | (run === top ? AFTER : 0))
    store32(run + bytes - 4, AFTER)
    store32(s + TOP, run + bytes)
  }
  if (!mapped(run) || !mapped(run + bytes - UNIT)) {
    freeBlock(run)
    return false
  }
  makeRun(run, units, slot)
  return true
}

// Whether the map has a leaf for an address, or can have one.
function mapped(at: i32): boolean {
  const leaf = leafOf(at)
  if (load32(leaf) !== 0) return true
  const size = blockSize(UNIT)
  let p = mallocFree(size)
  if (p === 0) p = mallocTop(size)
  if (p === 0) return false
  zero(p, UNIT)
  store32(leaf, p)
  return true
}

// The first unit that begins at p or behind it.
function unitAt(p: i32): i32 {
  const s = state()
  return s + ((p - s + UNIT - 1) & -UNIT)
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
  else store32(next - 4, load32(next - 4) | AFTER)
}

// Marks a free block that is in no list as allocated, all of it.
function allocate(p: i32, size: i32): void {
  store32(p - 4, size | AFTER | ALLOCATED)
  const next = p + size
  store32(next - 4, load32(next - 4) | AFTER)
}

// Counts a request into the usual size.
function note(size: i32): void {
  const s = state()
  const usual = load32(s + USUAL)
  store32(s + USUAL, usual + (size < 65536 ? size : 65536) - (usual >> 4))
}

// A block from the free ones, or 0.
function mallocFree(size: i32): i32 {
  const p = takeExact(size)
  if (p === 0) return mallocBest(size)
  note(size)
  allocate(p, size)
  return p
}

// The same where no free block is of just this size.
function mallocBest(size: i32): i32 {
  note(size)
  const p = takeBest(size)
  if (p === 0) return 0
  const whole = freeSize(p)
  if (!spoils(size, whole)) return cut(p, whole, size)
  insert(p, whole)
  return 0
}

function fitsTop(size: i32): boolean {
  const s = state()
  return load32(s + TOP) + size <= load32(s + END)
}

// A block from the top; before the heap grows, empty runs are given back.
function mallocTop(size: i32): i32 {
  if (!fitsTop(size) && giveBack()) {
    const p = takeBest(size)
    if (p !== 0) return cut(p, freeSize(p), size)
  }
  return takeTop(size)
}

// Makes free blocks of all empty runs; whether there were any.
function giveBack(): boolean {
  let run = takeEmptyRun()
  if (run === 0) return false
  for (; run !== 0; run = takeEmptyRun()) freeBlock(run)
  return true
}

function refuse(): i32 {
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

// Allocates `size` bytes of a free block that is in no list; what is left becomes free.
function cut(p: i32, whole: i32, size: i32): i32 {
  const rest = whole - size
  const next = p + whole
  if (rest === 0) {
    store32(p - 4, size | AFTER | ALLOCATED)
    store32(next - 4, load32(next - 4) | AFTER)
    return p
  }
  if (goesHigh(size)) {
    const q = p + rest
    insert(p, rest)
    store32(q - 4, size | ALLOCATED)
    store32(next - 4, load32(next - 4) | AFTER)
    return q
  }
  store32(p - 4, size | AFTER | ALLOCATED)
  insert(p + size, rest)
  return p
}

function takeTop(size: i32): i32 {
  const s = state()
  if (load32(s + TOP) + size > load32(s + END) && !grow(size)) return refuse()
  const top = load32(s + TOP)
  const rest = load32(s + END) - top - size
  if (goesHighInTop(size, rest)) {
    // The top becomes an ordinary free block below the new one.
    const q = top + rest
    insert(top, rest)
    store32(q - 4, size | ALLOCATED)
    store32(q + size - 4, AFTER)
    store32(s + TOP, q + size)
    return q
  }
  store32(top - 4, size | AFTER | ALLOCATED)
  store32(top + size - 4, AFTER)
  store32(s + TOP, top + size)
  return top
}

// Moves the break so that the top has at least `size` bytes.
function grow(size: i32): boolean {
  const s = state()
  if (load32(s + TOP) === 0 && !begin()) return false
  const missing = load32(s + TOP) + size - load32(s + END)
  if (missing <= 0) return true
  const bytes = (missing + STEP - 1) & -STEP
  if (bytes < 0 || sbrk(bytes) < 0) return false
  store32(s + END, load32(s + END) + bytes)
  return true
}

// free

export function free(p: i32): void {
  if (p === 0) return
  const run = runOf(p)
  if (run !== 0) {
    const spare = freeSlot(run, p)
    if (spare !== 0) freeBlock(spare)
    return
  }
  count(load32(p - 4) & -8, -1)
  freeBlock(p)
}

// A block with a header.
function freeBlock(p: i32): void {
  const word = load32(p - 4)
  let size = word & -8
  let from = p
  const next = p + size
  if ((word & AFTER) === 0) {
    const tag = load32(p - 8)
    const before = (tag & 1) !== 0 ? 8 : tag
    from = p - before
    size += before
    remove(from, before)
  }
  const s = state()
  if (next === load32(s + TOP)) {
    store32(from - 4, AFTER)
    store32(s + TOP, from)
    return
  }
  const following = load32(next - 4)
  if ((following & ALLOCATED) === 0) {
    const after = freeSize(next)
    remove(next, after)
    size += after
  } else store32(next - 4, following & ~AFTER)
  insert(from, size)
}

// realloc and the others

export function realloc(p: i32, bytes: i32): i32 {
  if (p === 0) return malloc(bytes)
  if (bytes < 0 || bytes > MOST) return refuse()
  const run = runOf(p)
  if (run !== 0) return reallocSlot(p, slotSize(run), bytes)
  const size = blockSize(bytes)
  const old = load32(p - 4) & -8
  const q = reallocBlock(p, old, size)
  if (q !== 0) {
    count(old, -1)
    count(load32(q - 4) & -8, 1)
  }
  return q
}

function reallocSlot(p: i32, old: i32, bytes: i32): i32 {
  if (bytes <= old && bytes > old >> 1) return p
  const q = malloc(bytes)
  if (q === 0) return bytes <= old ? p : 0
  move(q, p, old < bytes ? old : bytes)
  free(p)
  return q
}

function reallocBlock(p: i32, old: i32, size: i32): i32 {
  if (size <= old) {
    trim(p, size)
    return p
  }
  if (growInPlace(p, old, size)) return p
  const s = state()
  let q = takeBest(size)
  if (q !== 0) q = cut(q, freeSize(q), size)
  else if (p + old === load32(s + TOP)) return growLast(p, old, size)
  else {
    q = growDown(p, old, size)
    if (q !== 0) return q
    q = mallocTop(size)
    if (q === 0) return 0
  }
  move(q, p, old - 4)
  freeBlock(p)
  return q
}

// Into the free block, or the part of the top, that follows.
function growInPlace(p: i32, old: i32, size: i32): boolean {
  const s = state()
  const next = p + old
  if (next === load32(s + TOP)) {
    if (p + size > load32(s + END)) return false
    resize(p, size)
    store32(p + size - 4, AFTER)
    store32(s + TOP, p + size)
    return true
  }
  if ((load32(next - 4) & ALLOCATED) !== 0) return false
  const whole = old + freeSize(next)
  if (whole < size) return false
  remove(next, whole - old)
  settle(p, whole, size)
  return true
}

// Sets the size, keeps the flags.
function resize(p: i32, size: i32): void {
  store32(p - 4, size | (load32(p - 4) & 7))
}

// p owns `whole` bytes and needs `size` of them; the block behind it is allocated.
function settle(p: i32, whole: i32, size: i32): void {
  const next = p + whole
  resize(p, size)
  if (whole === size) store32(next - 4, load32(next - 4) | AFTER)
  else {
    store32(next - 4, load32(next - 4) & ~AFTER)
    insert(p + size, whole - size)
  }
}

/** Makes a block at least `bytes` large where it is; whether that could be done. What it has beyond stays its own. */
export function expand(p: i32, bytes: i32): boolean {
  if (bytes < 0 || bytes > MOST) return false
  const run = runOf(p)
  if (run !== 0) return bytes <= slotSize(run)
  const size = blockSize(bytes)
  const old = load32(p - 4) & -8
  if (size <= old) return true
  if (p + old === load32(state() + TOP) && !grow(size - old)) return false
  if (!growInPlace(p, old, size)) return false
  count(old, -1)
  count(load32(p - 4) & -8, 1)
  return true
}

// The last block before the top, or the break: moves down into a free block before it, then the break moves.
function growLast(last: i32, old: i32, size: i32): i32 {
  const s = state()
  let p = last
  if ((load32(p - 4) & AFTER) === 0) {
    const tag = load32(p - 8)
    const before = (tag & 1) !== 0 ? 8 : tag
    if (load32(s + END) - p + before < size && !grow(size - before - old)) return refuse()
    p -= before
    remove(p, before)
    move(p, last, old - 4)
    store32(p - 4, AFTER | ALLOCATED)
  } else if (!grow(size - old)) return refuse()
  resize(p, size)
  store32(p + size - 4, AFTER)
  store32(s + TOP, p + size)
  return p
}

// Into the free block before, with what follows: the contents move down.
function growDown(p: i32, old: i32, size: i32): i32 {
  if ((load32(p - 4) & AFTER) !== 0) return 0
  const tag = load32(p - 8)
  const before = (tag & 1) !== 0 ? 8 : tag
  const next = p + old
  const following = (load32(next - 4) & ALLOCATED) === 0 ? freeSize(next) : 0
  if (before + old + following < size) return 0
  const q = p - before
  remove(q, before)
  if (following !== 0) remove(next, following)
  move(q, p, old - 4)
  store32(q - 4, old | AFTER | ALLOCATED)
  settle(q, before + old + following, size)
  return q
}

// Gives back what an allocated block has beyond `size` bytes.
function trim(p: i32, size: i32): void {
  const rest = (load32(p - 4) & -8) - size
  if (rest === 0) return
  resize(p, size)
  store32(p + size - 4, rest | AFTER | ALLOCATED)
  freeBlock(p + size)
}

export function calloc(bytes: i32): i32 {
  const p = malloc(bytes)
  if (p !== 0) zero(p, bytes)
  return p
}

/** Memory at a multiple of `align`, a power of two. */
export function alignedAlloc(align: i32, bytes: i32): i32 {
  if (align <= load32(state() + ALIGN)) return malloc(bytes)
  if (bytes < 0 || bytes > MOST - align) return refuse()
  const size = blockSize(bytes)
  let p = mallocFree(size + align)
  if (p === 0) p = mallocTop(size + align)
  if (p === 0) return 0
  const q = (p + align - 1) & -align
  if (q !== p) {
    const whole = load32(p - 4) & -8
    resize(p, q - p)
    store32(q - 4, (whole - (q - p)) | AFTER | ALLOCATED)
    freeBlock(p)
  }
  trim(q, size)
  count(size, 1)
  return q
}

export function usableSize(p: i32): i32 {
  const run = runOf(p)
  if (run !== 0) return slotSize(run)
  return (load32(p - 4) & -8) - 4
}
