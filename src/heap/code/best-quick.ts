/**
 * The quick lists of `best`: blocks that were freed last, by size. There are lists for slots and blocks of the zone up to 248 bytes, by their
 * size without a header, and lists for all else, by size with one (of the zone, from 256 bytes on, without: that is at least as much).
 *
 * A program mostly asks soon for what it has just freed, so free only puts such a block in front of a list, and malloc takes the first: a few
 * words are touched and no neighbour is looked at. To all else a quick block is allocated. What is in the lists is *settled*, that is really freed
 * and merged, at the latest before the heap grows.
 *
 * In a heap that is larger than a processor's caches each block that is touched is waited for. There the lists are in *pages*, and don't
 * touch what is in them: every so many-th block is a page with the addresses of as many others as it has room for.
 *
 *   head, edge -> | edge of the page before | address | address | (head) … | (edge)
 *                   0                         4
 *
 * `head` is where the next address goes, `edge` is the newest page's end. In a full page these are the same, and in an empty list both are 0.
 *
 * How much may wait, and when it is settled, is a matter of the heap's age. While it grows, what is free should be merged soon, as
 * the next request may need it: blocks of 256 to 480 bytes and bare ones wait until as much as a quarter of the heap was put there, and a
 * request of 500 bytes or more settles all. Once as many bytes as the heap has, and EARLY more, were freed, it is *calm*: it has found its size, and what is freed now will
 * be asked for again. Then blocks up to 4088 bytes wait without limit, a request takes one that is a little too large, and the top is used
 * before a search. Each byte
 * that it grows must be made up for by 64 freed ones before it is calm again.
 *
 * Variables, by their distance from state(): */
/** Lists of bare blocks, by size / 8: the first one, whose first word names the next; or in pages. */
export const QUICK: i32 = 1292
/** Lists of blocks with headers, by size / 8, likewise. */
export const QUICK_HEADED: i32 = 6144
/** Bits: the list of bare blocks of size / 8 has one. 16 words of them for headed blocks; the word behind is 0. */
export const QUICK_BITS: i32 = 256
export const QUICK_MAP: i32 = 128
/** Edges, by size / 8 and by their distance from what PAGED says, of bare blocks and of others. */
export const EDGE: i32 = 0
export const EDGE_HEADED: i32 = 128
/** In a calm heap -1, so that a request takes a block that is a little too large; else 0. */
export const NEAR: i32 = 260
/** Bytes put into lists since all were settled: what was taken again is not subtracted, which saves each malloc a sum. */
export const QUICK_BYTES: i32 = 56
/** The limits of the day: for the bytes in all lists, for sizes with headers, for sizes that settle. */
export const QUICK_LIMIT: i32 = 196
export const QUICK_FROM: i32 = 200
export const QUICK_TO: i32 = 204
export const SETTLE_FROM: i32 = 208
/** Bytes that were freed, up to what makes the heap calm; less 64 times what it grew since. */
export const TURNED: i32 = 212
/** The largest size of a bare block in a list, and of any. */
export const QUICK_BARE: i32 = 248
export const QUICK_MOST: i32 = 4088

const NEVER: i32 = 0x7fffffff
/** What may be put into lists in a calm heap until all is settled after all: so that the sum does not overflow. */
const LONG: i32 = 0x40000000
/** So many bytes more, for a small heap is turned over soon, and most that are small are still growing. */
const EARLY: i32 = 524288

import { PAGED } from './best-runs.ts'
import { choose, ctz32, firstBit, load32, state, store32 } from './words.ts'

/**
 * The bare block freed last of `size` bytes, up to 248, or 0; in a calm heap of the smallest size from there up to 8 bytes and an eighth more.
 * The lists are found by their bits, and bits are set and cleared without asking what they were: with sizes at random a processor
 * guesses wrong whether a list is empty, which costs more than all else here.
 */
export function takeQuick(size: i32): i32 {
  const s = state()
  const more = ctz32(load32(s + QUICK_BITS) >>> (size >> 3)) << 3
  const most = ((size >> 3) + 8) & load32(s + NEAR)
  return most < more ? 0 : takeListed(size + more)
}
/** The bare block put last into the list of a size, which has one. */
export function takeListed(size: i32): i32 {
  const s = state()
  const edges = load32(s + PAGED)
  const edge = edges === 0 ? 0 : edges + EDGE + (size >> 1)
  return take(s + QUICK + (size >> 1), edge, size, s + QUICK_BITS, size >> 3)
}
/** A block with a header, of sizes up to 4088, from a list for its size or up to an eighth more; or 0. */
export function takeQuickHeaded(size: i32): i32 {
  const s = state()
  const more = firstBit(s + QUICK_MAP + ((size >> 8) << 2), (size >> 3) & 31) << 3
  const most = (size >> 3) & load32(s + NEAR)
  return most < more ? 0 : takeListedHeaded(size + more)
}
/** A block with a header from the list for its size, which has one. */
export function takeListedHeaded(size: i32): i32 {
  const s = state()
  const edges = load32(s + PAGED)
  const edge = edges === 0 ? 0 : edges + EDGE_HEADED + (size >> 1)
  const bits = s + QUICK_MAP + ((size >> 8) << 2)
  return take(s + QUICK_HEADED + (size >> 1), edge, size - 4, bits, (size >> 3) & 31)
}

/** Puts a bare block into its list; whether that makes too much. */
export function putQuick(p: i32, size: i32): boolean {
  const s = state()
  const edges = load32(s + PAGED)
  const edge = edges === 0 ? 0 : edges + EDGE + (size >> 1)
  put(p, s + QUICK + (size >> 1), edge, size, s + QUICK_BITS, size >> 3)
  return countQuick(size)
}
/** The same with one that has a header, or is as large as if it had. */
export function putQuickHeaded(p: i32, size: i32): boolean {
  const s = state()
  const edges = load32(s + PAGED)
  const edge = edges === 0 ? 0 : edges + EDGE_HEADED + (size >> 1)
  const bits = s + QUICK_MAP + ((size >> 8) << 2)
  put(p, s + QUICK_HEADED + (size >> 1), edge, size - 4, bits, (size >> 3) & 31)
  return countQuick(size)
}
function countQuick(size: i32): boolean {
  const s = state()
  const bytes = load32(s + QUICK_BYTES) + size
  store32(s + QUICK_BYTES, bytes)
  return bytes > load32(s + QUICK_LIMIT)
}

// The list at `at`, with its edge at `edgeAt` and blocks of `bytes`, or without pages if that is 0; it has `bit` of the word at `bits`.

function take(at: i32, edgeAt: i32, bytes: i32, bits: i32, bit: i32): i32 {
  let p = load32(at)
  let left = 0
  if (edgeAt === 0) left = load32(p)
  else {
    const edge = load32(edgeAt)
    const head = p - 4
    const word = load32(head)
    // What is left last of a page is the page itself.
    const last = head + bytes === edge
    store32(edgeAt, choose(last, word, edge))
    left = choose(last, word, head)
    p = choose(last, head, word)
  }
  store32(at, left)
  store32(bits, load32(bits) & ~((left === 0 ? 1 : 0) << bit))
  return p
}

function put(p: i32, at: i32, edgeAt: i32, bytes: i32, bits: i32, bit: i32): void {
  const head = load32(at)
  if (edgeAt === 0) {
    store32(p, head)
    store32(at, p)
  } else {
    const edge = load32(edgeAt)
    const full = head === edge
    const to = choose(full, p, head)
    store32(to, choose(full, head, p))
    store32(at, to + 4)
    store32(edgeAt, choose(full, p + bytes, edge))
  }
  store32(bits, load32(bits) | (1 << bit))
}

// The age of the heap

/** `bytes` of a heap of `whole` were freed. */
export function turn(bytes: i32, whole: i32): void {
  const s = state()
  const turned = load32(s + TURNED)
  const enough = whole + EARLY
  if (turned >= enough) return
  const now = bytes < enough - turned ? turned + bytes : enough
  store32(s + TURNED, now)
  if (now === enough) setCalm(true, whole)
}

/** The heap grew by `bytes`, to `whole`. */
export function grew(bytes: i32, whole: i32): void {
  const s = state()
  let turned = load32(s + TURNED)
  turned = bytes > turned >> 6 ? 0 : turned - (bytes << 6)
  store32(s + TURNED, turned)
  setCalm(turned >= whole + EARLY, whole)
}

/** Whether the heap has found its size. */
export function isCalm(): boolean {
  return load32(state() + SETTLE_FROM) === NEVER
}

function setCalm(calm: boolean, whole: i32): void {
  const s = state()
  store32(s + QUICK_LIMIT, calm ? LONG : whole >> 2)
  store32(s + QUICK_FROM, calm ? 16 : 256)
  store32(s + QUICK_TO, calm ? QUICK_MOST : 480)
  store32(s + SETTLE_FROM, calm ? NEVER : 500)
  store32(s + NEAR, calm ? -1 : 0)
}
