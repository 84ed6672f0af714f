/**
 * realloc of `best`: in place, into what follows, down into a free block before, at the heap's end by the break; else elsewhere.
 * Variables and words are those of best.ts.
 */

/** Bytes that are left free before a block that grows at the heap's end. */
const SPARE: i32 = 512

import {
  bareSize,
  blockSize,
  count,
  cut,
  END,
  freeBefore,
  freeBlock,
  free,
  isFree,
  malloc,
  mallocTop,
  MOST,
  own,
  reach,
  refuse,
  resize,
  setTop,
  settle,
  sizeOf,
  takeZone,
  tell,
  TOP,
  trim,
  usable,
} from './best.ts'
import { AFTER, freeSize, insert, remove, takeBest } from './best-bins.ts'
import { slotOf, SMALL } from './best-runs.ts'
import { clearStart, inZone, LIMIT, sizeAt, zoneBest } from './best-zone.ts'
import { load32, move, state } from './words.ts'

export function realloc(p: i32, bytes: i32): i32 {
  if (p === 0) return malloc(bytes)
  if (bytes < 0 || bytes > MOST) return refuse()
  if (!inZone(p)) {
    const slot = slotOf(p)
    if (slot !== 0) return reallocSlot(p, slot, bytes)
  }
  const old = sizeOf(p)
  const q = reallocBlock(p, old, blockSize(bytes), bareSize(bytes))
  if (q !== 0) {
    count(p, old, -1)
    count(q, sizeOf(q), 1)
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

function reallocBlock(p: i32, old: i32, size: i32, bare: i32): i32 {
  const wanted = sizeAt(p, size, bare)
  if (wanted <= old) {
    trim(p, old, wanted)
    return p
  }
  if (growInPlace(p, old, wanted)) return p
  if (settle() && growInPlace(p, old, wanted)) return p
  const s = state()
  const room = usable(p, old)
  const small = bare <= SMALL ? zoneBest(bare) : 0
  let q = small !== 0 ? takeZone(small, size, bare) : takeBest(size)
  if (q !== 0) {
    if (small === 0) q = cut(q, freeSize(q), size, bare)
  } else if (p + old === load32(s + TOP)) return growLast(p, old, size, bare)
  else {
    q = growDown(p, old, size, bare)
    if (q !== 0) return q
    q = mallocTop(size, bare)
    if (q === 0) return 0
  }
  move(q, p, room)
  freeBlock(p)
  return q
}

// Into the free block, or the part of the top, that follows.
function growInPlace(p: i32, old: i32, size: i32): boolean {
  const s = state()
  const next = p + old
  if (next === load32(s + TOP)) {
    if (p + size > load32(s + END)) return false
    setTop(p + size)
    resize(p, size)
    return true
  }
  if (!isFree(next)) return false
  const whole = old + freeSize(next)
  if (whole < size) return false
  remove(next, whole - old)
  if (inZone(next)) clearStart(next)
  keep(p, whole, size)
  return true
}

// p owns `whole` bytes and needs `size` of them; the block behind it is allocated.
function keep(p: i32, whole: i32, size: i32): void {
  const next = p + whole
  resize(p, size)
  if (whole === size) tell(next, AFTER)
  else {
    tell(next, 0)
    insert(p + size, whole - size)
  }
}

/** Makes a block at least `bytes` large where it is; whether that could be done. What it has beyond stays its own. */
export function expand(p: i32, bytes: i32): boolean {
  if (bytes < 0 || bytes > MOST) return false
  if (!inZone(p)) {
    const slot = slotOf(p)
    if (slot !== 0) return bytes <= slot
  }
  const size = sizeAt(p, blockSize(bytes), bareSize(bytes))
  const old = sizeOf(p)
  if (size <= old) return true
  if (p + old === load32(state() + TOP) && !reach(p + size)) return false
  if (!growInPlace(p, old, size)) return false
  count(p, old, -1)
  count(p, sizeOf(p), 1)
  return true
}

// The last block before the top, or the break: moves down into a free block before it, then the break moves. What grows, grows on; so some of
// that free block is left for small requests, which would else be put in the way.
function growLast(last: i32, old: i32, size: i32, bare: i32): i32 {
  const hole = freeBefore(last)
  let left = hole - SPARE > old >> 3 ? SPARE : hole
  if (last - hole + left - state() === LIMIT - 8) left += 8
  const p = last - hole + left
  const wanted = sizeAt(p, size, bare)
  if (!reach(p + wanted)) return refuse()
  if (left === hole) {
    setTop(p + wanted)
    resize(p, wanted)
    return p
  }
  remove(last - hole, hole)
  move(p, last, usable(last, old))
  if (inZone(last)) clearStart(last)
  setTop(p + wanted)
  own(p, wanted, 0)
  insert(last - hole, left)
  return p
}

// Into the free block before, with what follows: the contents move down.
function growDown(p: i32, old: i32, size: i32, bare: i32): i32 {
  const before = freeBefore(p)
  if (before === 0) return 0
  const q = p - before
  const next = p + old
  const following = isFree(next) ? freeSize(next) : 0
  const wanted = sizeAt(q, size, bare)
  if (before + old + following < wanted) return 0
  remove(q, before)
  if (inZone(p)) clearStart(p)
  if (following !== 0) {
    remove(next, following)
    if (inZone(next)) clearStart(next)
  }
  move(q, p, usable(p, old))
  own(q, old, AFTER)
  keep(q, before + old + following, wanted)
  return q
}
