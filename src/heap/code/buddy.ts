/**
 * The buddy system (Knowlton 1965): blocks of 2^order bytes at multiples of 2^order from the heap's origin. A block is
 * split into two halves; a free block is merged with its buddy, whose address differs in one bit, so neither footers
 * nor searches are needed. What is above the power of two is lost inside the block.
 *
 *   | header | payload ... |    a block begins at its header, 4 bytes before the payload
 *
 * Header: order << 3 | allocated. In an aligned block, 4 more than its distance from the block that it lies in, << 3.
 * Free blocks: payload +0 next, +4 previous of the order's list. The break grows in steps of 4 KiB; new bytes are cut
 * into the largest aligned blocks that fit. Blocks are named by the address of their payload.
 *
 * Variables, by their distance from state(): */
export const ORIGIN: i32 = 0
export const MANAGED: i32 = 4
export const END: i32 = 8
export const ALIGN: i32 = 12
export const ERRNO: i32 = 60
/** 32 list heads, by order. */
export const HEADS: i32 = 64
/** The smallest block: 16 bytes. */
export const LEAST: i32 = 4

const ENOMEM: i32 = 12
const MOST: i32 = 0x3ffffff0
const STEP: i32 = 4096

import { clz32, ctz32, load32, look, move, sbrk, state, store32, zero } from './words.ts'

function variable(name: i32): i32 {
  return load32(state() + name)
}
function setVariable(name: i32, value: i32): void {
  store32(state() + name, value)
}

// Setup

/** Lays out an empty heap; false where there is no room. */
export function setup(align: i32): boolean {
  zero(state(), 4096)
  const start = sbrk(STEP)
  if (start < 0) return false
  setVariable(ALIGN, align)
  setVariable(ORIGIN, start + align)
  setVariable(MANAGED, start + align)
  setVariable(END, start + STEP)
  manage()
  return true
}

export function errno(): i32 {
  return variable(ERRNO)
}

// Cuts the bytes up to the break into free blocks. Distances are from the origin's header, so the last block may end at
// the break itself.
function manage(): void {
  const origin = variable(ORIGIN)
  const end = variable(END) - (origin - 4)
  let at = variable(MANAGED) - origin
  while (end - at >= 1 << LEAST) {
    let order = 31 - clz32(end - at)
    while ((at & ((1 << order) - 1)) !== 0) order--
    setVariable(MANAGED, origin + at + (1 << order))
    release(origin + at, order)
    at += 1 << order
  }
}

// The lists

function insert(p: i32, order: i32): void {
  const head = state() + HEADS + order * 4
  const after = load32(head)
  store32(p - 4, order << 3)
  store32(p, after)
  store32(p + 4, 0)
  if (after !== 0) store32(after + 4, p)
  store32(head, p)
}

function remove(p: i32, order: i32): void {
  const after = load32(p)
  const before = load32(p + 4)
  if (before === 0) store32(state() + HEADS + order * 4, after)
  else store32(before, after)
  if (after !== 0) store32(after + 4, before)
}

// Merges a free block with its buddy as long as that is free and whole, and puts it into its list.
function release(free: i32, lowest: i32): void {
  const origin = variable(ORIGIN)
  const managed = variable(MANAGED)
  let p = free
  let order = lowest
  while (order < 30) {
    const buddy = origin + ((p - origin) ^ (1 << order))
    if (buddy + (1 << order) > managed || load32(buddy - 4) !== order << 3) break
    remove(buddy, order)
    if (buddy < p) p = buddy
    order++
  }
  insert(p, order)
}

// malloc

function orderOf(bytes: i32): i32 {
  const order = 32 - clz32(bytes + 3)
  return order < LEAST ? LEAST : order
}

export function malloc(bytes: i32): i32 {
  if (bytes < 0 || bytes > MOST) return refuse()
  const order = orderOf(bytes)
  let p = take(order)
  while (p === 0) {
    if (!grow(order)) return refuse()
    p = take(order)
  }
  return p
}

// A block from the lowest list that has one, split down to the order; or 0.
function take(order: i32): i32 {
  for (let have = order; have < 31; have++) {
    look()
    const p = variable(HEADS + have * 4)
    if (p === 0) continue
    remove(p, have)
    split(p, have, order)
    store32(p - 4, (order << 3) | 1)
    return p
  }
  return 0
}

function refuse(): i32 {
  setVariable(ERRNO, ENOMEM)
  return 0
}

// Halves a block until it has the order that is wanted; the upper halves become free.
function split(p: i32, have: i32, wanted: i32): void {
  for (let order = have - 1; order >= wanted; order--) insert(p + (1 << order), order)
}

// Moves the break so that an aligned block of this order fits at the end, together with what is free there.
function grow(order: i32): boolean {
  const origin = variable(ORIGIN)
  const size = 1 << order
  // What is managed falls into aligned roots, one for each bit of its length: the last roots may be free as a whole.
  let tail = variable(MANAGED) - origin
  while (tail > 0) {
    const root = ctz32(tail)
    if (load32(origin + tail - (1 << root) - 4) !== root << 3) break
    tail -= 1 << root
  }
  const at = (tail + size - 1) & -size
  const bytes = (origin - 4 + at + size - variable(END) + STEP - 1) & -STEP
  if (bytes < 0 || sbrk(bytes) < 0) return false
  setVariable(END, variable(END) + bytes)
  manage()
  return true
}

// free

// The block that an aligned payload lies in.
function blockOf(p: i32): i32 {
  const word = load32(p - 4)
  return (word & 4) !== 0 ? p - (word >> 3) : p
}

export function free(p: i32): void {
  if (p === 0) return
  const block = blockOf(p)
  release(block, load32(block - 4) >> 3)
}

// realloc and the others

export function realloc(p: i32, bytes: i32): i32 {
  if (p === 0) return malloc(bytes)
  if (bytes < 0 || bytes > MOST) return refuse()
  const usable = usableSize(p)
  if (blockOf(p) === p) {
    const old = load32(p - 4) >> 3
    const order = orderOf(bytes)
    if (order <= old) {
      store32(p - 4, (order << 3) | 1)
      for (let half = old - 1; half >= order; half--) release(p + (1 << half), half)
      return p
    }
  } else if (bytes <= usable) return p
  const q = malloc(bytes)
  if (q === 0) return 0
  move(q, p, usable)
  free(p)
  return q
}

export function calloc(bytes: i32): i32 {
  const p = malloc(bytes)
  if (p !== 0) zero(p, bytes)
  return p
}

/** Memory at a multiple of `align`, a power of two: inside a block that is larger by that much. */
export function alignedAlloc(align: i32, bytes: i32): i32 {
  if (align <= variable(ALIGN)) return malloc(bytes)
  if (bytes < 0 || bytes > MOST - align) return refuse()
  const p = malloc(bytes + align)
  if (p === 0) return 0
  const q = (p + align - 1) & -align
  if (q !== p) store32(q - 4, ((q - p) << 3) | 5)
  return q
}

export function usableSize(p: i32): i32 {
  const block = blockOf(p)
  return block + (1 << (load32(block - 4) >> 3)) - 4 - p
}
