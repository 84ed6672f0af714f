/**
 * Runs: where `best` keeps small blocks without headers.
 *
 * A request of a multiple of 8 bytes costs 8 more with a header, which for small blocks is a third. So once a program has several blocks
 * of a size, further ones come from a *run*: slots of one size, whose address alone says what they are. A run is an allocated block of `best`
 * that fills whole *units* of 1 KiB, counted from the heap's begin.
 *
 *   | used, size, units | first free slot | next run | previous run | slot | slot | … (slot) … | next block's header |
 *     0                   4                 8          12             16
 *
 * A free slot's first word names the next one. A class's runs with a free slot are in a list. At most one run of a class
 * is empty, and then it is the only one in its list; all of those go when the heap would have to grow.
 *
 * The *map* has two bits for each unit: 0 is no run, n > 0 that a run begins n - 1 units before. A word of it is about 16 KiB, a leaf about
 * 4 MiB; the first leaf is here, others are blocks of the heap.
 *
 * Variables, by their distance from state(): */
/** Bit n: class n has a free slot. */
export const OPEN: i32 = 32
/** Empty runs. */
export const EMPTY: i32 = 36
/** The lists of runs with free slots, by size / 8. */
export const RUNS: i32 = 448
/** Allocated blocks with headers, by size / 8. */
export const COUNTS: i32 = 576
/** Units in runs, by slot size / 8. */
export const CLASS_UNITS: i32 = 704
/** Slots in a run of one unit, by slot size / 8: a division costs more than most of what malloc does. */
export const SLOTS: i32 = 832
/** The map's first leaf, and all leaves. */
export const LEAF: i32 = 1024
export const LEAVES: i32 = 2048

/** The largest slot. */
export const SMALL: i32 = 248
export const UNIT: i32 = 1024
/** Bytes of a run's own words, before its slots. */
export const RUN: i32 = 16

/** From so many units of blocks of one size on, runs have several. */
const MANY: i32 = 8
const FREE: i32 = 4
const NEXT: i32 = 8
const PREVIOUS: i32 = 12
/** Shifts of size and units in a run's first word; below is the number of used slots. */
const SIZE: i32 = 10
const UNITS: i32 = 20

import { ctz32, load32, state, store32 } from './words.ts'

export function setupRuns(): void {
  const s = state()
  store32(s + LEAVES, s + LEAF)
  for (let size = 8; size <= SMALL; size += 8) store32(s + SLOTS + (size >> 1), ((UNIT - RUN - 4) / size) | 0)
}

// The map

/** The run that an address is in, or 0. */
export function runOf(p: i32): i32 {
  const s = state()
  const far = p - s
  const leaf = load32(s + LEAVES + ((far >>> 22) << 2))
  if (leaf === 0) return 0
  const bits = (load32(leaf + ((far >> 12) & 0x3fc)) >>> ((far >> 9) & 30)) & 3
  if (bits === 0) return 0
  return s + ((far >> 10) - bits + 1) * UNIT
}

/** Where the leaf for an address is to be named. */
export function leafOf(p: i32): i32 {
  const s = state()
  return s + LEAVES + (((p - s) >>> 22) << 2)
}

function setBits(p: i32, bits: i32): void {
  const far = p - state()
  const at = load32(leafOf(p)) + ((far >> 12) & 0x3fc)
  const shift = (far >> 9) & 30
  store32(at, (load32(at) & ~(3 << shift)) | (bits << shift))
}

// Slots

export function slotSize(run: i32): i32 {
  return (load32(run) >> SIZE) & 0x3ff
}
export function usedSlots(run: i32): i32 {
  return load32(run) & 0x3ff
}
export function unitsOf(run: i32): i32 {
  return load32(run) >> UNITS
}
/** How many slots of `size` bytes a run of `units` has. */
export function slotsIn(units: i32, size: i32): i32 {
  if (units === 1) return load32(state() + SLOTS + (size >> 1))
  return ((units * UNIT - RUN - 4) / size) | 0
}

/** How many units the next run is to have: many where there are many blocks, so that less is left at the end. */
export function bestUnits(size: i32, headed: i32): i32 {
  const s = state()
  const units = load32(s + CLASS_UNITS + (size >> 1)) + ((load32(s + COUNTS + (headed >> 1)) * headed) >> 10)
  if (units < MANY) return 1
  let best = 1
  for (let units = 2; units <= 3; units++)
    if (slotsIn(units, size) * best > slotsIn(best, size) * units) best = units
  return best
}

/** A free slot of `size` bytes, taken; or 0. */
export function takeSlot(size: i32): i32 {
  const s = state()
  const run = load32(s + RUNS + (size >> 1))
  if (run === 0) return 0
  const p = load32(run + FREE)
  const next = load32(p)
  const word = load32(run)
  store32(run + FREE, next)
  store32(run, word + 1)
  if ((word & 0x3ff) === 0) store32(s + EMPTY, load32(s + EMPTY) - 1)
  if (next === 0) unlink(run, size)
  return p
}

/** The smallest free slot of at least `size` bytes, taken; or 0. */
export function takeLargerSlot(size: i32): i32 {
  if (size > SMALL) return 0
  const open = load32(state() + OPEN) & (-1 << (size >> 3))
  return open === 0 ? 0 : takeSlot(ctz32(open) << 3)
}

/** Frees a slot. A run that is to be given back to the heap, or 0. */
export function freeSlot(run: i32, p: i32): i32 {
  const s = state()
  const free = load32(run + FREE)
  const word = load32(run) - 1
  store32(p, free)
  store32(run + FREE, p)
  store32(run, word)
  const size = (word >> SIZE) & 0x3ff
  let spare = 0
  if (free === 0) spare = linkRun(run, size)
  if ((word & 0x3ff) !== 0) return spare
  store32(s + EMPTY, load32(s + EMPTY) + 1)
  if (load32(run + NEXT) === 0 && load32(run + PREVIOUS) === 0) return spare
  closeRun(run)
  return run
}

// Runs

/** Makes a run of an allocated block; its leaf is there. Nothing is taken of it yet. */
export function makeRun(run: i32, units: i32, size: i32): void {
  const s = state()
  store32(run, (size << SIZE) | (units << UNITS))
  countUnits(size, units)
  for (let i = 0; i < units; i++) setBits(run + i * UNIT, i + 1)
  let p = run + RUN
  store32(run + FREE, p)
  for (let left = slotsIn(units, size) - 1; left > 0; left--) {
    store32(p, p + size)
    p += size
  }
  store32(p, 0)
  store32(s + EMPTY, load32(s + EMPTY) + 1)
  linkRun(run, size)
}

function countUnits(size: i32, by: i32): void {
  const at = state() + CLASS_UNITS + (size >> 1)
  store32(at, load32(at) + by)
}

// Puts a run that has a free slot into its list; a run that is to be given back, or 0.
function linkRun(run: i32, size: i32): i32 {
  const s = state()
  const head = s + RUNS + (size >> 1)
  const first = load32(head)
  store32(run + PREVIOUS, 0)
  store32(run + NEXT, first)
  store32(head, run)
  if (first === 0) {
    store32(s + OPEN, load32(s + OPEN) | (1 << (size >> 3)))
    return 0
  }
  store32(first + PREVIOUS, run)
  if ((load32(first) & 0x3ff) !== 0) return 0
  closeRun(first)
  return first
}

function unlink(run: i32, size: i32): void {
  const s = state()
  const next = load32(run + NEXT)
  const previous = load32(run + PREVIOUS)
  if (next !== 0) store32(next + PREVIOUS, previous)
  if (previous !== 0) {
    store32(previous + NEXT, next)
    return
  }
  store32(s + RUNS + (size >> 1), next)
  if (next === 0) store32(s + OPEN, load32(s + OPEN) & ~(1 << (size >> 3)))
}

// An empty run is one no more: it is only the block that it was made of.
function closeRun(run: i32): void {
  const s = state()
  unlink(run, slotSize(run))
  countUnits(slotSize(run), -unitsOf(run))
  for (let i = 0; i < unitsOf(run); i++) setBits(run + i * UNIT, 0)
  store32(s + EMPTY, load32(s + EMPTY) - 1)
}

/** An empty run, which is one no more; or 0. */
export function takeEmptyRun(): i32 {
  const s = state()
  if (load32(s + EMPTY) === 0) return 0
  for (let size = 8; size <= SMALL; size += 8) {
    const run = load32(s + RUNS + (size >> 1))
    if (run !== 0 && usedSlots(run) === 0) {
      closeRun(run)
      return run
    }
  }
  return 0
}
