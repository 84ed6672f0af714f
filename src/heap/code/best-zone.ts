/**
 * The zone: the first 64 KiB of a `best` heap, whose blocks have no headers.
 *
 * What a header would say stands in two tables among the heap's variables, with a bit for every 8 bytes:
 *   STARTS   a block begins here (the top too)
 *   FREES    the first or the last 8 bytes of a free block
 * and WORDS has a bit for every word of STARTS that is not 0.
 * So a block's size is the distance to the next start, the block before is free if FREES has the 8 bytes before, and payloads are whole
 * multiples of 8: a small heap spends nothing on tags.
 *
 *   free, 8 bytes:   next · previous
 *   free, larger:    next · previous · size … size        (from 256 bytes on the rest of a trie's node, see best-bins.ts)
 *
 * Sizes below 256 have lists of their own here, larger blocks stand in the tries with all others. The last block of the zone may reach out of it: CROSS
 * says where it ends, its last 4 bytes are the header of the block that follows, and so it is listed as 8 bytes smaller. No block begins
 * in the last 8 bytes of the zone, for there would be no room for two links.
 *
 * Variables, by their distance from state(): */
/** The first block's begin that is not in the zone, where a block of the zone ends there or behind. */
export const CROSS: i32 = 40
/** Bit n: there is a free block of class n. */
export const ZONE_MAP: i32 = 44
/** 32 rings' heads of two words, by size / 8. */
export const ZONE_BINS: i32 = 1024
export const STARTS: i32 = 2048
export const FREES: i32 = 3072

/** Up to this size the next start is in the same word as a block's, or in the one behind. */
const NEAR: i32 = 256

/** Which words of STARTS have bits; behind the eight there is one without. */
export const WORDS: i32 = 220

/** The heap begins at this distance from state(), the zone ends at the other. */
export const BEGIN: i32 = 8192
export const LIMIT: i32 = 73728

import { ctz32, load32, nextBit, state, store32 } from './words.ts'

export function setupZone(): void {
  const s = state()
  for (let head = s + ZONE_BINS; head < s + ZONE_BINS + 256; head += 8) {
    store32(head, head)
    store32(head + 4, head)
  }
}

export function inZone(p: i32): boolean {
  return p - state() < LIMIT
}

/** What a request takes at p: `size` with a header behind it, `bare` without. */
export function sizeAt(p: i32, size: i32, bare: i32): i32 {
  const end = p + bare - state()
  if (end >= LIMIT) return size
  return end === LIMIT - 8 ? bare + 8 : bare
}

// Bits

// The word of STARTS that an address has its bit in; that of FREES is 1024 bytes behind.
function wordOf(p: i32): i32 {
  const s = state()
  return s + STARTS + (((p - s - BEGIN) >> 8) << 2)
}
function bitOf(p: i32): i32 {
  return 1 << (((p - state()) >> 3) & 31)
}

export function setStart(p: i32): void {
  const word = wordOf(p)
  store32(word, load32(word) | bitOf(p))
  const words = wordsOf(p)
  store32(words, load32(words) | wordBitOf(p))
}
export function clearStart(p: i32): void {
  const word = wordOf(p)
  const bits = load32(word) & ~bitOf(p)
  store32(word, bits)
  if (bits !== 0) return
  const words = wordsOf(p)
  store32(words, load32(words) & ~wordBitOf(p))
}
// The word of WORDS that says whether an address's word has bits, and the bit that does.
function wordsOf(p: i32): i32 {
  const s = state()
  return s + WORDS + (((p - s - BEGIN) >> 13) << 2)
}
function wordBitOf(p: i32): i32 {
  return 1 << (((p - state()) >> 8) & 31)
}
function isStart(p: i32): boolean {
  return (load32(wordOf(p)) & bitOf(p)) !== 0
}
/** Whether the first or the last 8 bytes of a free block are at p. */
export function isZoneFree(p: i32): boolean {
  return (load32(wordOf(p) + 1024) & bitOf(p)) !== 0
}
function setFree(p: i32): void {
  const word = wordOf(p) + 1024
  store32(word, load32(word) | bitOf(p))
}
function clearFree(p: i32): void {
  const word = wordOf(p) + 1024
  store32(word, load32(word) & ~bitOf(p))
}

// Sizes

/** The size of a block if that is at most NEAR, else something that is more. No branch depends on the size. */
export function zoneSizeNear(p: i32): i32 {
  const s = state()
  const far = p - s
  if (far >= LIMIT - 256) return NEAR + 8
  return nextBit(s + STARTS - (BEGIN >> 6) + ((far >> 8) << 2), (far >> 3) & 31) << 3
}

/** The size of a block, which may be allocated. */
export function zoneSize(p: i32): i32 {
  const near = zoneSizeNear(p)
  return near <= NEAR ? near : zoneSizeFar(p)
}
/** The size of a block that is larger than NEAR, or among the last ones of the zone. */
export function zoneSizeFar(p: i32): i32 {
  const s = state()
  const far = p - s
  if (far >= LIMIT - 256) {
    const rest = load32(wordOf(p)) & (-2 << ((far >> 3) & 31))
    return rest === 0 ? load32(s + CROSS) - p : (ctz32(rest) << 3) - (far & 248)
  }
  let word = (far - BEGIN) >> 8
  let ahead = nextBit(s + WORDS + ((word >> 5) << 2), word & 31)
  while (ahead > 64) {
    // Neither those up to the next multiple of 32, nor the 32 behind.
    word = (word | 31) + 32
    if (word >= 255) return load32(s + CROSS) - p
    ahead = nextBit(s + WORDS + ((word >> 5) << 2), 31)
  }
  word += ahead
  return (word << 8) + (ctz32(load32(s + STARTS + (word << 2))) << 3) + BEGIN - far
}

export function zoneFreeSize(p: i32): i32 {
  return isStart(p + 8) ? 8 : load32(p + 8)
}

/** The size of the free block before p, or 0. */
export function zoneFreeBefore(p: i32): i32 {
  if (p - state() === BEGIN || !isZoneFree(p - 8)) return 0
  return isStart(p - 8) ? 8 : load32(p - 8)
}

// Blocks

/** Says that an allocated block begins at p and has `size` bytes. */
export function ownZone(p: i32, size: i32): void {
  setStart(p)
  if (p + size - state() >= LIMIT) store32(state() + CROSS, p + size)
}

/** Says that a free block begins at p; from 256 bytes on it is still to be put into a trie. */
export function insertZone(p: i32, size: i32): void {
  const s = state()
  const end = p + size - s
  const out = end >= LIMIT
  setStart(p)
  setFree(p)
  if (size > 8) {
    store32(p + 8, size)
    store32(p + size - 8, size)
    if (end <= LIMIT) setFree(p + size - 8)
  }
  if (out) store32(s + CROSS, p + size)
  if (size >= 256) return
  const listed = out ? size - 8 : size
  const head = s + ZONE_BINS + listed
  const first = load32(head)
  store32(p, first)
  store32(p + 4, head)
  store32(first + 4, p)
  store32(head, p)
  store32(s + ZONE_MAP, load32(s + ZONE_MAP) | (1 << (listed >> 3)))
}

/** Takes back what insertZone has said but the start. */
export function removeZone(p: i32, size: i32): void {
  const s = state()
  clearFree(p)
  if (size > 8 && p + size - s <= LIMIT) clearFree(p + size - 8)
  if (size >= 256) return
  const after = load32(p)
  const before = load32(p + 4)
  store32(before, after)
  store32(after + 4, before)
  if (after === before) store32(s + ZONE_MAP, load32(s + ZONE_MAP) & ~(1 << ((after - s - ZONE_BINS) >> 3)))
}

/** A free block for `bare` bytes and less than 8 more, or 0. It stays where it is. */
export function zoneExact(bare: i32): i32 {
  const head = state() + ZONE_BINS + bare
  const first = load32(head)
  return first === head ? 0 : first
}

/** The smallest free block below 256 bytes for `bare` bytes, or 0. It stays where it is. */
export function zoneBest(bare: i32): i32 {
  const s = state()
  const bins = load32(s + ZONE_MAP) & (-1 << (bare >> 3))
  return bins === 0 ? 0 : load32(s + ZONE_BINS + (ctz32(bins) << 3))
}
