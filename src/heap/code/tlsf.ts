/**
 * TLSF (two-level segregated fit; Masmano, Ripoll, Crespo, Real 2004): lists by power of two and 16 steps within it,
 * found through two levels of bitmaps. Insert, remove and search take constant time. The search rounds the request
 * up to the next list's lower bound, so any block of that list is large enough (good fit). Only if there is none is the first block of the
 * request's own list looked at: else a size that is freed and asked for again would always be taken anew.
 * Own variables: +0 first-level bitmap · +4 26 second-level bitmaps · +128 26 × 16 list heads.
 */
import { OWN, sizeOf } from './blocks.ts'
import { clz32, ctz32, load32, look, state, store32 } from './words.ts'

const SECOND: i32 = OWN + 4
const HEADS: i32 = OWN + 128

// Sizes below 128 are in the first level's row 0, by 8 bytes.
function rowOf(size: i32): i32 {
  return size < 128 ? 0 : 31 - clz32(size) - 6
}
function columnOf(size: i32): i32 {
  return size < 128 ? size >> 3 : (size >> (27 - clz32(size))) & 15
}
function headAt(row: i32, column: i32): i32 {
  return state() + HEADS + (row * 16 + column) * 4
}

// Insert

export function insertTlsf(p: i32): void {
  const size = sizeOf(p)
  const row = rowOf(size)
  const column = columnOf(size)
  const head = headAt(row, column)
  const after = load32(head)
  store32(p, after)
  store32(p + 4, 0)
  if (after !== 0) store32(after + 4, p)
  store32(head, p)
  const s = state()
  store32(s + OWN, load32(s + OWN) | (1 << row))
  store32(s + SECOND + row * 4, load32(s + SECOND + row * 4) | (1 << column))
}

// Remove

export function removeTlsf(p: i32): void {
  const size = sizeOf(p)
  const row = rowOf(size)
  const column = columnOf(size)
  const after = load32(p)
  const before = load32(p + 4)
  if (after !== 0) store32(after + 4, before)
  if (before !== 0) {
    store32(before, after)
    return
  }
  store32(headAt(row, column), after)
  if (after !== 0) return
  const s = state()
  const columns = load32(s + SECOND + row * 4) & ~(1 << column)
  store32(s + SECOND + row * 4, columns)
  if (columns === 0) store32(s + OWN, load32(s + OWN) & ~(1 << row))
}

// Search

export function findTlsf(size: i32): i32 {
  let least = size
  if (size >= 128) {
    const step = 1 << (27 - clz32(size))
    if (size > 0x7fffffff - step) return 0
    least = size + step - 1
  }
  const s = state()
  let row = rowOf(least)
  const column = columnOf(least)
  let columns = load32(s + SECOND + row * 4) & (-1 << column)
  look()
  if (columns === 0) {
    const rows = load32(s + OWN) & (-2 << row)
    if (rows === 0) return ownFirst(size)
    row = ctz32(rows)
    columns = load32(s + SECOND + row * 4)
  }
  return load32(headAt(row, ctz32(columns)))
}

function ownFirst(size: i32): i32 {
  const p = load32(headAt(rowOf(size), columnOf(size)))
  return p !== 0 && sizeOf(p) >= size ? p : 0
}

/** The address of the head of the list for blocks of `size` bytes: for the checker. */
export function headOfTlsf(size: i32): i32 {
  return headAt(rowOf(size), columnOf(size))
}
