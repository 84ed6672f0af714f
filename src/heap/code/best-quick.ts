/**
 * The quick lists of `best`: blocks below 500 bytes that were freed last, by size. Small ones are slots and blocks of the zone, from
 * 256 bytes on there are headed ones too; so a request looks for its size without a header up to 248 bytes, and with one above.
 *
 * A program mostly asks soon for what it has just freed, so free only puts such a block in front of a list, and malloc takes the first: a few
 * words are touched and no neighbour is looked at. To all else a quick block is allocated. What is in the lists is *settled*, that is really freed
 * and merged, before the heap grows, before a large request is served, and when it is too much.
 *
 * Variables, by their distance from state(): */
/** The lists, by size / 8. A block's first word names the next one. */
export const QUICK: i32 = 1292
/** Bytes in them. */
export const QUICK_BYTES: i32 = 56
/** The largest size. */
export const QUICK_MOST: i32 = 480

import { load32, state, store32 } from './words.ts'

/** The block of `size` bytes that was freed last, or 0. */
export function takeQuick(size: i32): i32 {
  const s = state()
  const head = s + QUICK + (size >> 1)
  const p = load32(head)
  if (p === 0) return 0
  store32(head, load32(p))
  store32(s + QUICK_BYTES, load32(s + QUICK_BYTES) - size)
  return p
}

/** Puts a block into its list; the bytes in all of them. */
export function putQuick(p: i32, size: i32): i32 {
  const s = state()
  const head = s + QUICK + (size >> 1)
  store32(p, load32(head))
  store32(head, p)
  const bytes = load32(s + QUICK_BYTES) + size
  store32(s + QUICK_BYTES, bytes)
  return bytes
}
