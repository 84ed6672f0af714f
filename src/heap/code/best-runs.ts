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
 * A free slot's first word says how far behind its own end the next one is: zeros are a list of all slots in order, so a new run is filled with
 * zeros. A class's runs with a free slot are in a list. At most one run of a class is empty, and then it is the only one in its list. Others that
 * become empty are *spare*, to be runs of any class again. All that are empty go when the heap would have to grow.
 *
 * The *map* has a byte for each unit, so that free knows what an address is without looking at its run: 0 is no run, else the size of the
 * slots, and in its low bits how many units before the run begins. The first 496 KiB have theirs among the variables; a
 * larger map is a block of the heap.
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
/** The map, and how many units it has; the first one, of so many bytes. */
export const MAP: i32 = 52
export const MAPPED: i32 = 216
export const FIRST_MAP: i32 = 1552
export const FIRST_MAPPED: i32 = 496

/** A map of so many units, or more, has the edges of the quick lists behind it (best-quick.ts): the heap is larger than what a core has for itself in its caches. */
export const BIG_MAP: i32 = 3968
export const EDGES: i32 = 2176
/** Where they are if the quick lists use them, or 0. */
export const PAGED: i32 = 268

/** The lists of spare runs, by units from 1 on. */
export const SPARES: i32 = 1424

/** The largest slot. */
export const SMALL: i32 = 248
export const UNIT: i32 = 1024
/** Bytes of a run's own words, before its slots. */
export const RUN: i32 = 16

/** From so many units of blocks of one size on, runs have several. */
const MANY: i32 = 8
/** From so many on in a heap larger than caches, as many as the map can tell. */
const LOTS: i32 = 64
export const MOST_UNITS: i32 = 8
const FREE: i32 = 4
const NEXT: i32 = 8
const PREVIOUS: i32 = 12
/** Shifts of size and units in a run's first word; below is the number of used slots. */
const SIZE: i32 = 10
const UNITS: i32 = 20

import { ctz32, load32, load8, move, state, store32, store8, zero } from './words.ts'

// The map

export function setupRuns(): void {
  const s = state()
  store32(s + MAP, s + FIRST_MAP)
  store32(s + MAPPED, FIRST_MAPPED)
}

/** What the map says of the unit that an address is in. */
function unitByte(p: i32): i32 {
  const s = state()
  const unit = (p - s) >> 10
  return unit < load32(s + MAPPED) ? load8(load32(s + MAP) + unit) : 0
}

/** The size of the slots of the run that an address is in, or 0. */
export function slotOf(p: i32): i32 {
  return unitByte(p) & 0xf8
}

/** The run that an address is in, or 0. */
export function runOf(p: i32): i32 {
  const byte = unitByte(p)
  return byte === 0 ? 0 : ((p - state()) & -UNIT) + state() - (byte & 7) * UNIT
}

/** Bytes of a map of so many units. */
export function mapBytes(units: i32): i32 {
  return units < BIG_MAP ? units : units + EDGES
}

/** A map of `units` at `to` instead; gives the old one, if that was a block of the heap, or 0. */
export function moveMap(to: i32, units: i32): i32 {
  const s = state()
  const old = load32(s + MAP)
  const mapped = load32(s + MAPPED)
  move(to, old, mapped)
  zero(to + mapped, mapBytes(units) - mapped)
  if (mapped >= BIG_MAP) move(to + units, old + mapped, EDGES)
  store32(s + MAP, to)
  store32(s + MAPPED, units)
  if (load32(s + PAGED) !== 0) store32(s + PAGED, to + units)
  return old === s + FIRST_MAP ? 0 : old
}

/** Lets the quick lists, which are all empty, use the edges behind the map, if there are some. */
export function setPaged(): void {
  const s = state()
  const mapped = load32(s + MAPPED)
  if (mapped >= BIG_MAP) store32(s + PAGED, load32(s + MAP) + mapped)
}

function setUnits(run: i32, units: i32, size: i32): void {
  const s = state()
  const at = load32(s + MAP) + ((run - s) >> 10)
  for (let i = 0; i < units; i++) store8(at + i, size === 0 ? 0 : size | i)
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
  return ((units * UNIT - RUN - 4) / size) | 0
}

/** How many units the next run is to have: many where there are many blocks, so that less is left at the end. */
export function bestUnits(size: i32, headed: i32): i32 {
  const units = unitsOfSize(size, headed)
  if (units < MANY) return 1
  const most = units >= LOTS && load32(state() + PAGED) !== 0 ? MOST_UNITS : 3
  let best = 1
  for (let units = 2; units <= most; units++)
    if (slotsIn(units, size) * best > slotsIn(best, size) * units) best = units
  return best
}

// How many units blocks of this size fill, with headers and without.
function unitsOfSize(size: i32, headed: i32): i32 {
  const s = state()
  return load32(s + CLASS_UNITS + (size >> 1)) + ((load32(s + COUNTS + (headed >> 1)) * headed) >> 10)
}

/**
 * Whether runs are worth it where they save nothing but that free looks at a header: in a heap larger than caches, for a size with so many blocks that
 * neither a run that is half empty counts nor what is left at a run's end.
 */
export function hasLots(size: i32, headed: i32, units: i32): boolean {
  if (load32(state() + PAGED) === 0 || unitsOfSize(size, headed) < LOTS) return false
  return slotsIn(units, size) * size * 64 >= units * UNIT * 63
}

/** A free slot of `size` bytes, taken; or 0. */
export function takeSlot(size: i32): i32 {
  const s = state()
  const run = load32(s + RUNS + (size >> 1))
  if (run === 0) return 0
  const p = load32(run + FREE)
  const next = p + size + load32(p)
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

/** The free slot behind a free slot, or 0. */
export function slotAfter(p: i32, size: i32): i32 {
  return p + size + load32(p)
}

/** Frees a slot. */
export function freeSlot(run: i32, p: i32): void {
  const s = state()
  const free = load32(run + FREE)
  const word = load32(run) - 1
  const size = (word >> SIZE) & 0x3ff
  store32(p, free - p - size)
  store32(run + FREE, p)
  store32(run, word)
  if (free === 0) linkRun(run, size)
  if ((word & 0x3ff) !== 0) return
  store32(s + EMPTY, load32(s + EMPTY) + 1)
  if (load32(run + NEXT) !== 0 || load32(run + PREVIOUS) !== 0) spareRun(run, size)
}

// Runs

/** Makes a run of an allocated block, for which the map has bytes. Nothing is taken of it yet. */
export function makeRun(run: i32, units: i32, size: i32): void {
  store32(state() + EMPTY, load32(state() + EMPTY) + 1)
  layOut(run, units, size)
}

/** Makes a run of a spare one, if there is one of so many units. */
export function useSpare(units: i32, size: i32): boolean {
  const head = state() + SPARES + ((units - 1) << 2)
  const run = load32(head)
  if (run === 0) return false
  store32(head, load32(run + NEXT))
  layOut(run, units, size)
  return true
}

function layOut(run: i32, units: i32, size: i32): void {
  setUnits(run, units, size)
  store32(run, (size << SIZE) | (units << UNITS))
  countUnits(size, units)
  const p = run + RUN
  const slots = slotsIn(units, size) * size
  zero(p, slots)
  store32(run + FREE, p)
  // The last one has no next.
  store32(p + slots - size, -(p + slots))
  linkRun(run, size)
}

function countUnits(size: i32, by: i32): void {
  const at = state() + CLASS_UNITS + (size >> 1)
  store32(at, load32(at) + by)
}

// Puts a run that has a free slot into its list.
function linkRun(run: i32, size: i32): void {
  const s = state()
  const head = s + RUNS + (size >> 1)
  const first = load32(head)
  store32(run + PREVIOUS, 0)
  store32(run + NEXT, first)
  store32(head, run)
  if (first === 0) {
    store32(s + OPEN, load32(s + OPEN) | (1 << (size >> 3)))
    return
  }
  store32(first + PREVIOUS, run)
  if ((load32(first) & 0x3ff) === 0) spareRun(first, size)
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

// An empty run of a class becomes a spare one.
function spareRun(run: i32, size: i32): void {
  const units = unitsOf(run)
  unlink(run, size)
  countUnits(size, -units)
  const head = state() + SPARES + ((units - 1) << 2)
  store32(run + NEXT, load32(head))
  store32(head, run)
}

/** An empty run, which is one no more but only the block that it was made of; or 0. */
export function takeEmptyRun(): i32 {
  const s = state()
  const empty = load32(s + EMPTY)
  if (empty === 0) return 0
  for (let head = s + SPARES; head < s + SPARES + (MOST_UNITS << 2); head += 4) {
    const run = load32(head)
    if (run === 0) continue
    store32(head, load32(run + NEXT))
    return closeRun(run, empty)
  }
  for (let size = 8; size <= SMALL; size += 8) {
    const run = load32(s + RUNS + (size >> 1))
    if (run !== 0 && usedSlots(run) === 0) {
      unlink(run, size)
      countUnits(size, -unitsOf(run))
      return closeRun(run, empty)
    }
  }
  return 0
}

function closeRun(run: i32, empty: i32): i32 {
  setUnits(run, unitsOf(run), 0)
  store32(state() + EMPTY, empty - 1)
  return run
}
