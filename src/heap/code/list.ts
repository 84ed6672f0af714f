/**
 * A doubly linked list of free blocks, last freed first or by address, for the explicit and the segregated allocators.
 * `head` is the address of the word that names the first block. Links: +0 next, +4 previous, 0 at the ends.
 */
import { BY_ADDRESS, ORDER, sizeOf, variable } from './blocks.ts'
import { load32, look, store32 } from './words.ts'

export function insertIntoList(head: i32, p: i32): void {
  let before = 0
  let after = load32(head)
  if (variable(ORDER) === BY_ADDRESS)
    while (after !== 0 && after < p) {
      look()
      before = after
      after = load32(after)
    }
  store32(p, after)
  store32(p + 4, before)
  if (before === 0) store32(head, p)
  else store32(before, p)
  if (after !== 0) store32(after + 4, p)
}

export function removeFromList(head: i32, p: i32): void {
  const after = load32(p)
  const before = load32(p + 4)
  if (before === 0) store32(head, after)
  else store32(before, after)
  if (after !== 0) store32(after + 4, before)
}

/** The first block from `from` up to, not with, `until` that is large enough, or 0. */
export function firstInList(from: i32, until: i32, size: i32): i32 {
  for (let p = from; p !== until; p = load32(p)) {
    look()
    if (sizeOf(p) >= size) return p
  }
  return 0
}

/** The smallest block that is large enough; of equals the first; or 0. */
export function bestInList(from: i32, size: i32): i32 {
  let best = 0
  let least = 0x7fffffff
  for (let p = from; p !== 0; p = load32(p)) {
    look()
    const own = sizeOf(p)
    if (own < size || own >= least) continue
    best = p
    least = own
    if (own === size) break
  }
  return best
}
