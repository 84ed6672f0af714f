/**
 * Mark and sweep over the blocks of `best`.
 *
 * An *object* is a block that allocateObject gave. Two bitmaps beside the heap have a bit for every 8 bytes: *start* says that an
 * object begins there, *mark* that it was reached. Marking takes objects from a stack, looks for pointers in them and marks and
 * pushes what they name; what did not fit the stack is found again by going over the marked objects. Sweeping goes over the bitmaps and frees what
 * has a start and no mark, so it touches nothing that stays.
 *
 * Precise: an object's first word is its type, and a type is a list of the distances of its pointers, or ARRAY: every word
 * but the first is one. Conservative: every word that names an object's begin (or, as an option, any byte of it) counts as a pointer.
 * To find the begin of an object from its inside, *cover*, which is there for this option only, has a word for each 4 KiB of heap: the object that had its first byte, last.
 *
 *   tables:  start bits · mark bits · types (TYPES words) · cover · stack
 *
 * Both marking and sweeping can be done in steps. While marking goes on, new objects are marked, and writePointer marks what is
 * written (Dijkstra's barrier). While sweeping goes on, new objects that the sweep has yet to pass are marked.
 *
 * Variables, by their distance from state(): */
export const TABLES: i32 = 960
export const BITS: i32 = 964
export const STACK: i32 = 968
export const STACK_END: i32 = 972
export const DEPTH: i32 = 976
export const OVERFLOWED: i32 = 980
export const MODE: i32 = 984
export const PHASE: i32 = 988
export const CURSOR: i32 = 992
/** Objects marked, reclaimed, and bytes reclaimed since the collection began; bytes allocated since it ended. */
export const MARKED: i32 = 996
export const RECLAIMED: i32 = 1000
export const RECLAIMED_BYTES: i32 = 1004
export const ALLOCATED_BYTES: i32 = 1008
/** Objects that are alive or not yet reclaimed, and the bytes that they can use. */
export const OBJECTS: i32 = 1012
export const LIVE_BYTES: i32 = 1020
/** Once so many bytes have been allocated since a collection ended, what asks with `UnlessDue` gets 0. */
export const DUE: i32 = 1016

export const PRECISE: i32 = 0
export const CONSERVATIVE: i32 = 1
export const INTERIOR: i32 = 2
/** Phases: nothing under way, marking, sweeping. */
export const IDLE: i32 = 0
export const MARKING: i32 = 1
export const SWEEPING: i32 = 2
/** Words for types. */
export const TYPES: i32 = 16384
export const ARRAY: i32 = -1
const MOST: i32 = 0x7fffffff

import { expand } from './best-realloc.ts'
import { alignedAlloc, free, malloc, usableSize } from './best.ts'
import { ctz32, clz32, load32, move, state, store32, zero } from './words.ts'

/** The begin of what the bits are about. */
function origin(): i32 {
  return state() + 8192
}
function get(name: i32): i32 {
  return load32(state() + name)
}
function set(name: i32, value: i32): void {
  store32(state() + name, value)
}

/** Bytes of the tables for a heap of at most `limit` bytes, with a stack of `stack` bytes. */
export function tablesSize(limit: i32, stack: i32, mode: i32): i32 {
  return 2 * bitsSize(limit) + 4 * TYPES + coverSize(limit, mode) + stack
}
function bitsSize(limit: i32): i32 {
  return (limit >>> 6) + 4
}
function coverSize(limit: i32, mode: i32): i32 {
  return mode === INTERIOR ? ((limit >>> 12) + 2) << 2 : 0
}

/** The tables at `tables`. */
export function setupCollector(tables: i32, limit: i32, stack: i32, mode: i32): void {
  const bits = bitsSize(limit)
  set(TABLES, tables)
  set(BITS, bits)
  set(DUE, MOST)
  const at = tables + 2 * bits + 4 * TYPES + coverSize(limit, mode)
  set(STACK, at)
  set(STACK_END, at + stack)
  set(DEPTH, at)
  set(MODE, mode)
  set(PHASE, IDLE)
}

// Objects

/** A new object of zeros, or 0. */
export function allocateObject(bytes: i32): i32 {
  const p = malloc(bytes)
  return p === 0 ? 0 : adopt(p)
}

// Makes an object of a block.
function adopt(p: i32): i32 {
  const usable = usableSize(p)
  zero(p, usable)
  const index = (p - origin()) >> 3
  const word = get(TABLES) + ((index >> 5) << 2)
  const bit = 1 << (index & 31)
  store32(word, load32(word) | bit)
  const phase = get(PHASE)
  if (phase === MARKING || (phase === SWEEPING && index >> 5 >= get(CURSOR))) {
    const mark = word + get(BITS)
    store32(mark, load32(mark) | bit)
  }
  grown(p, usable, usable)
  set(OBJECTS, get(OBJECTS) + 1)
  return p
}

// An object has `usable` bytes now, `by` more than it had.
function grown(p: i32, usable: i32, by: i32): void {
  set(ALLOCATED_BYTES, get(ALLOCATED_BYTES) + by)
  set(LIVE_BYTES, get(LIVE_BYTES) + by)
  if (get(MODE) !== INTERIOR) return
  const from = origin()
  const last = (p + usable - 1 - from) >> 12
  for (let chunk = ((p - from) >> 12) + 1; chunk <= last; chunk++) store32(coverOf(chunk), p)
}
function coverOf(chunk: i32): i32 {
  return get(TABLES) + 2 * get(BITS) + 4 * TYPES + (chunk << 2)
}

function isDue(): boolean {
  return get(ALLOCATED_BYTES) >= get(DUE)
}

/** As allocateObject; also 0 where a collection is due. */
export function allocateUnlessDue(bytes: i32): i32 {
  return isDue() ? 0 : allocateObject(bytes)
}

/** The same at a multiple of `align`, a power of two. */
export function allocateAlignedUnlessDue(align: i32, bytes: i32): i32 {
  if (isDue()) return 0
  const p = alignedAlloc(align, bytes)
  return p === 0 ? 0 : adopt(p)
}

/**
 * An object of at least `bytes` bytes with what `p` has: `p` itself if there is room and not far too much, else a new one, and `p` stays
 * as it is. Or 0, as above.
 */
export function reallocateUnlessDue(p: i32, bytes: i32): i32 {
  if (p === 0) return allocateUnlessDue(bytes)
  const old = usableSize(p)
  if (bytes >= old >> 1 && expand(p, bytes)) {
    const usable = usableSize(p)
    if (usable > old) {
      zero(p + old, usable - old)
      grown(p, usable, usable - old)
    }
    return p
  }
  const q = allocateUnlessDue(bytes)
  if (q === 0) return bytes <= old ? p : 0
  move(q, p, old < bytes ? old : bytes)
  return q
}

/** Whether an object begins at `p`. */
export function isObject(p: i32): boolean {
  const from = origin()
  if (p < from || p >= load32(state() + 4) || (p & 7) !== 0) return false
  const index = (p - from) >> 3
  return ((load32(get(TABLES) + ((index >> 5) << 2)) >> (index & 31)) & 1) !== 0
}

/** The object that begins at `p` or, in the interior mode, that has a byte at `p`; or 0. */
export function objectAt(p: i32): i32 {
  if (isObject(p)) return p
  const from = origin()
  if (get(MODE) !== INTERIOR || p < from || p >= load32(state() + 4)) return 0
  // The nearest start below in these 4 KiB, or else what covers their begin.
  const index = (p - from) >> 3
  const first = get(TABLES)
  const last = first + (((p - from) >> 12) << 6)
  let word = first + ((index >> 5) << 2)
  let bits = load32(word) & (-1 >>> (31 - (index & 31)))
  while (bits === 0 && word > last) {
    word -= 4
    bits = load32(word)
  }
  const start =
    bits === 0
      ? load32(coverOf((p - from) >> 12))
      : from + (((((word - first) >> 2) << 5) + (31 - clz32(bits))) << 3)
  return isObject(start) && p < start + usableSize(start) ? start : 0
}

export function isMarked(p: i32): boolean {
  const index = (p - origin()) >> 3
  return ((load32(get(TABLES) + get(BITS) + ((index >> 5) << 2)) >> (index & 31)) & 1) !== 0
}

// Marking

export function beginMarking(): void {
  set(PHASE, MARKING)
  set(MARKED, 0)
  set(RECLAIMED, 0)
  set(RECLAIMED_BYTES, 0)
}

/** Marks an object and has it scanned later; nothing if it is marked. `p` is an object. */
export function mark(p: i32): void {
  const index = (p - origin()) >> 3
  const word = get(TABLES) + get(BITS) + ((index >> 5) << 2)
  const bit = 1 << (index & 31)
  const bits = load32(word)
  if ((bits & bit) !== 0) return
  store32(word, bits | bit)
  push(p)
}

function push(p: i32): void {
  const s = state()
  const depth = load32(s + DEPTH)
  if (depth >= load32(s + STACK_END)) {
    store32(s + OVERFLOWED, 1)
    return
  }
  store32(depth, p)
  store32(s + DEPTH, depth + 4)
}

/** Marks what a word names, if it names an object. */
export function markWord(word: i32): void {
  const p = objectAt(word)
  if (p !== 0) mark(p)
}

/** Marks what the words from `from` up to `to` name. */
export function markRange(from: i32, to: i32): void {
  for (let at = from; at + 4 <= to; at += 4) markWord(load32(at))
}

/**
 * The same for words of a stack. A pointer behind the last byte of an object is all that a loop over it may have of it: so what ends
 * where a word points to counts too.
 */
export function markStack(from: i32, to: i32): void {
  for (let at = from; at + 4 <= to; at += 4) {
    const word = load32(at)
    markWord(word)
    markWord(word - 1)
  }
}

/** Scans up to `budget` objects; whether there are more. */
export function markSome(budget: i32): boolean {
  const s = state()
  const stack = load32(s + STACK)
  let left = budget
  while (left > 0) {
    const depth = load32(s + DEPTH) - 4
    if (depth >= stack) {
      store32(s + DEPTH, depth)
      store32(s + MARKED, load32(s + MARKED) + 1)
      scan(load32(depth))
      left--
      continue
    }
    if (load32(s + OVERFLOWED) === 0) return false
    store32(s + OVERFLOWED, 0)
    rescan()
  }
  return true
}

function scan(p: i32): void {
  if (get(MODE) !== PRECISE) {
    markRange(p, p + usableSize(p))
    return
  }
  const tables = get(TABLES)
  const bits = get(BITS)
  const types = tables + 2 * bits
  const from = origin()
  let at = types + load32(p) * 4
  const count = load32(at)
  if (count === ARRAY) {
    const end = p + usableSize(p)
    for (let field = p + 4; field + 4 <= end; field += 4) {
      const child = load32(field)
      if (child !== 0) mark(child)
    }
    return
  }
  const end = at + count * 4
  while (at < end) {
    at += 4
    const child = load32(p + load32(at))
    if (child === 0) continue
    const index = (child - from) >> 3
    const word = tables + bits + ((index >> 5) << 2)
    const bit = 1 << (index & 31)
    const marks = load32(word)
    if ((marks & bit) !== 0) continue
    store32(word, marks | bit)
    push(child)
  }
}

// The stack was too small: scans all marked objects again, for what they name that is not marked.
function rescan(): void {
  const first = get(TABLES)
  const bits = get(BITS)
  const from = origin()
  const words = ((load32(state() + 20) - from) >> 8) + 1
  for (let i = 0; i < words; i++) {
    let live = load32(first + i * 4) & load32(first + bits + i * 4)
    while (live !== 0) {
      const bit = ctz32(live)
      live &= live - 1
      scan(from + ((i * 32 + bit) << 3))
    }
    if (load32(state() + OVERFLOWED) !== 0) drain()
  }
}

// Empties the stack; what does not fit meanwhile asks for another round.
function drain(): void {
  const s = state()
  const stack = load32(s + STACK)
  while (load32(s + DEPTH) > stack) {
    const depth = load32(s + DEPTH) - 4
    store32(s + DEPTH, depth)
    store32(s + MARKED, load32(s + MARKED) + 1)
    scan(load32(depth))
  }
}

/** The barrier: writes a pointer into an object, and marks it while marking goes on. */
export function writePointer(object: i32, distance: i32, pointer: i32): void {
  store32(object + distance, pointer)
  if (pointer !== 0 && get(PHASE) === MARKING) mark(pointer)
}

// Sweeping

export function beginSweeping(): void {
  set(PHASE, SWEEPING)
  set(CURSOR, 0)
}

/** Looks at `budget` words of the bitmaps, each 256 bytes of heap, and frees what is not marked; whether there are more. */
export function sweepSome(budget: i32): boolean {
  const s = state()
  const first = get(TABLES)
  const bits = get(BITS)
  const from = origin()
  const words = ((load32(s + 20) - from) >> 8) + 1
  let cursor = get(CURSOR)
  const end = budget < words - cursor ? cursor + budget : words
  for (; cursor < end; cursor++) {
    const at = first + cursor * 4
    const starts = load32(at)
    if (starts === 0) continue
    const marks = load32(at + bits)
    store32(at, starts & marks)
    store32(at + bits, 0)
    let dead = starts & ~marks
    while (dead !== 0) {
      const bit = ctz32(dead)
      dead &= dead - 1
      const p = from + ((cursor * 32 + bit) << 3)
      const bytes = usableSize(p)
      store32(s + RECLAIMED, load32(s + RECLAIMED) + 1)
      store32(s + RECLAIMED_BYTES, load32(s + RECLAIMED_BYTES) + bytes)
      store32(s + LIVE_BYTES, load32(s + LIVE_BYTES) - bytes)
      store32(s + OBJECTS, load32(s + OBJECTS) - 1)
      free(p)
    }
  }
  set(CURSOR, cursor)
  if (cursor < words) return true
  set(PHASE, IDLE)
  set(ALLOCATED_BYTES, 0)
  return false
}
