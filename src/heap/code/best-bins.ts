/**
 * The free blocks of `best`, by size, so that the best fit is found in constant time.
 *
 * Sizes below 4096 have a list each. A word of bits tells which of 32 lists have blocks, and one more word which of those words have bits. From
 * 4096 on there are two bitwise tries for each power of two (as in Doug Lea's malloc): a node's children are told apart by the next lower bit
 * of the size, so a path has at most as many steps as the size has bits. Blocks of equal size form a ring; one of them stands in the trie.
 *
 * The block that became free last is *held*: it has its header and its last word, but is in no list. Neighbours that are freed one after the other
 * grow it, and requests are cut from it, without a list being touched; a search compares it with the best of the lists.
 *
 *   8 bytes:     header: previous << 0 | MINI | flags · next | 1
 *   16 to 4088:  header: size | flags · next · previous … size          (the last word of a free block is its size)
 *   from 4096:   header: size | flags · next · previous · size · child 0 · child 1 · parent · trie … size
 *
 * What is before the first block of a list is the list's head. In the zone (best-zone.ts) there are no headers; its blocks below 256
 * bytes have lists of their own, its larger ones tries.
 *
 * Variables, by their distance from state(): */
/** Which words of the map have bits. */
export const SUMMARY: i32 = 8
export const TRIES: i32 = 12
/** The first free block of 8 bytes. */
export const MINIS: i32 = 16
/** The block that is held, or 0. */
export const HELD: i32 = 48
/** 16 words of bits: there is a free block of size / 8. */
export const MAP: i32 = 64
/** The first block of each size, by size / 8. */
export const BINS: i32 = 4096
/** 32 tries' roots. */
export const ROOTS: i32 = 320
/** The same for the large free blocks of the zone: bits, roots. */
export const ZONE_TRIES: i32 = 1292
export const ZONE_ROOTS: i32 = 832

/** Flags in a header: this block is allocated, the block before it is, this is a free block of 8 bytes. */
export const ALLOCATED: i32 = 1
export const AFTER: i32 = 2
export const MINI: i32 = 4
/** From this size on blocks are in tries; in the zone from the other. */
export const LARGE: i32 = 4096
export const ZONE_LARGE: i32 = 256

const NEXT: i32 = 0
const PREVIOUS: i32 = 4
const SIZE: i32 = 8
const CHILD: i32 = 12
const PARENT: i32 = 20
const TRIE: i32 = 24
const IS_ROOT: i32 = 1

import { inZone, insertZone, removeZone, zoneFreeSize } from './best-zone.ts'
import { clz32, ctz32, load32, look, state, store32 } from './words.ts'

/** The size of a free block. */
export function freeSize(p: i32): i32 {
  if (inZone(p)) return zoneFreeSize(p)
  const word = load32(p - 4)
  return (word & MINI) !== 0 ? 8 : word & -8
}

// Insert

/** Makes a block free: it is held, and the one that was held goes to its list. The block before it is allocated. */
export function insert(p: i32, size: i32): void {
  if (inZone(p)) {
    insertZone(p, size)
    if (size >= ZONE_LARGE) insertLarge(p, size)
    return
  }
  const s = state()
  const held = load32(s + HELD)
  store32(s + HELD, p)
  if (size === 8) {
    store32(p - 4, MINI | AFTER)
    store32(p, 1)
  } else {
    store32(p - 4, size | AFTER)
    store32(p + size - 8, size)
  }
  if (held !== 0) link(held, freeSize(held))
}

function link(p: i32, size: i32): void {
  if (size >= LARGE) {
    insertLarge(p, size)
    return
  }
  if (size === 8) {
    insertMini(p)
    return
  }
  const s = state()
  const head = s + BINS + (size >> 1)
  const first = load32(head)
  store32(head, p)
  store32(p, first)
  store32(p + 4, head)
  if (first !== 0) store32(first + 4, p)
  else {
    const at = s + MAP + ((size >> 8) << 2)
    store32(at, load32(at) | (1 << ((size >> 3) & 31)))
    store32(s + SUMMARY, load32(s + SUMMARY) | (1 << (size >> 8)))
  }
}

function insertMini(p: i32): void {
  const s = state()
  const first = load32(s + MINIS)
  store32(p, first | 1)
  if (first !== 0) store32(first - 4, load32(first - 4) | p)
  store32(s + MINIS, p)
}

function trieOf(size: i32): i32 {
  const power = 31 - clz32(size)
  return power > 23 ? 31 : ((power - 8) << 1) + ((size >> (power - 1)) & 1)
}
// The size's bits below those that the trie's number tells, at the top of the word; the last trie has all large sizes.
function keyOf(size: i32, trie: i32): i32 {
  return trie === 31 ? size : size << (25 - (trie >> 1))
}

function insertLarge(p: i32, size: i32): void {
  const s = state()
  const zone = inZone(p)
  const set = s + (zone ? ZONE_TRIES : TRIES)
  const trie = trieOf(size)
  const root = s + (zone ? ZONE_ROOTS : ROOTS) + trie * 4
  store32(p + SIZE, size)
  store32(p + CHILD, 0)
  store32(p + CHILD + 4, 0)
  store32(p + TRIE, trie)
  store32(p + NEXT, p)
  store32(p + PREVIOUS, p)
  const tries = load32(set)
  if ((tries & (1 << trie)) === 0) {
    store32(set, tries | (1 << trie))
    store32(root, p)
    store32(p + PARENT, IS_ROOT)
    return
  }
  let at = load32(root)
  let key = keyOf(size, trie)
  while (load32(at + SIZE) !== size) {
    look()
    const child = at + CHILD + ((key >>> 31) << 2)
    key <<= 1
    const below = load32(child)
    if (below === 0) {
      store32(child, p)
      store32(p + PARENT, at)
      return
    }
    at = below
  }
  const after = load32(at + NEXT)
  store32(at + NEXT, p)
  store32(after + PREVIOUS, p)
  store32(p + NEXT, after)
  store32(p + PREVIOUS, at)
  store32(p + PARENT, 0)
}

// Remove

/** Takes a free block out of its list or trie. Its words stay. */
export function remove(p: i32, size: i32): void {
  if (inZone(p)) {
    removeZone(p, size)
    if (size >= ZONE_LARGE) removeLarge(p)
    return
  }
  const s = state()
  if (load32(s + HELD) === p) {
    store32(s + HELD, 0)
    return
  }
  if (size >= LARGE) {
    removeLarge(p)
    return
  }
  if (size === 8) {
    removeMini(p)
    return
  }
  const after = load32(p)
  const before = load32(p + 4)
  store32(before, after)
  if (after !== 0) store32(after + 4, before)
  else if (before === s + BINS + (size >> 1)) clearBit(size)
}

// The list of a size has become empty.
function clearBit(size: i32): void {
  const s = state()
  const word = size >> 8
  const at = s + MAP + (word << 2)
  const bits = load32(at) & ~(1 << ((size >> 3) & 31))
  store32(at, bits)
  if (bits === 0) store32(s + SUMMARY, load32(s + SUMMARY) & ~(1 << word))
}

function removeMini(p: i32): void {
  const after = load32(p) & -8
  const before = load32(p - 4) & -8
  if (before === 0) store32(state() + MINIS, after)
  else store32(before, after | 1)
  if (after !== 0) store32(after - 4, before | (load32(after - 4) & 7))
}

function removeLarge(p: i32): void {
  const parent = load32(p + PARENT)
  let by = load32(p + PREVIOUS)
  if (by !== p) {
    const after = load32(p + NEXT)
    store32(by + NEXT, after)
    store32(after + PREVIOUS, by)
    if (parent === 0) return
  } else by = takeLeaf(p)
  if (parent === IS_ROOT) {
    const s = state()
    const trie = load32(p + TRIE)
    const zone = inZone(p)
    store32(s + (zone ? ZONE_ROOTS : ROOTS) + trie * 4, by)
    if (by === 0) {
      const set = s + (zone ? ZONE_TRIES : TRIES)
      store32(set, load32(set) & ~(1 << trie))
      return
    }
  } else if (load32(parent + CHILD) === p) store32(parent + CHILD, by)
  else store32(parent + CHILD + 4, by)
  if (by === 0) return
  store32(by + PARENT, parent)
  adopt(by, p, CHILD)
  adopt(by, p, CHILD + 4)
}

function adopt(by: i32, from: i32, field: i32): void {
  const child = load32(from + field)
  store32(by + field, child)
  if (child !== 0) store32(child + PARENT, by)
}

// Cuts off a leaf below p, which may stand anywhere on its path; 0 if p is a leaf itself.
function takeLeaf(p: i32): i32 {
  let at = p + CHILD + 4
  let leaf = load32(at)
  if (leaf === 0) {
    at = p + CHILD
    leaf = load32(at)
    if (leaf === 0) return 0
  }
  for (;;) {
    let below = leaf + CHILD + 4
    if (load32(below) === 0) below = leaf + CHILD
    if (load32(below) === 0) break
    at = below
    leaf = load32(at)
  }
  store32(at, 0)
  return leaf
}

// Search

/** A free block of just this size, below LARGE, taken out; or 0. */
export function takeExact(size: i32): i32 {
  const s = state()
  const held = load32(s + HELD)
  if (held !== 0 && freeSize(held) === size) {
    store32(s + HELD, 0)
    return held
  }
  if (size >= LARGE) return 0
  if (size === 8) {
    const mini = load32(s + MINIS)
    if (mini !== 0) removeMini(mini)
    return mini
  }
  return load32(s + BINS + (size >> 1)) === 0 ? 0 : takeFirst(size)
}

// The first of the list of a size, which has one.
function takeFirst(size: i32): i32 {
  const head = state() + BINS + (size >> 1)
  const p = load32(head)
  const after = load32(p)
  store32(head, after)
  if (after !== 0) store32(after + 4, head)
  else clearBit(size)
  return p
}

/** The smallest free block that is large enough, taken out; or 0. takeExact has found none; the zone's small blocks are not looked at. */
export function takeBest(size: i32): i32 {
  const other = leastInZone(size)
  const p = takeBestOutside(size)
  if (other === 0) return p
  const whole = load32(other + SIZE)
  if (p !== 0) {
    const own = freeSize(p)
    if (own <= whole) return p
    insert(p, own)
  }
  remove(other, whole)
  return other
}

/** The smallest free block of the zone, of those from ZONE_LARGE on, that has `size` bytes; or 0. It stays where it is. */
export function leastInZone(size: i32): i32 {
  const s = state()
  const tries = load32(s + ZONE_TRIES)
  if (tries === 0) return 0
  if (size >= ZONE_LARGE) return findLarge(size, tries, s + ZONE_ROOTS)
  return ring(leastBelow(load32(s + ZONE_ROOTS + ctz32(tries) * 4)))
}

function takeBestOutside(size: i32): i32 {
  const s = state()
  const held = load32(s + HELD)
  const own = held === 0 ? 0 : freeSize(held)
  if (size < LARGE) {
    const bin = binFor(size)
    if (bin !== 0) return own >= size && own <= bin ? takeHeld(held) : takeFirst(bin)
    if (own >= size && own < LARGE) return takeHeld(held)
  }
  const tries = load32(s + TRIES)
  if (tries === 0) return own >= size ? takeHeld(held) : 0
  // The held block is the best unless a trie of smaller sizes, or its own, has one that is large enough.
  if (own >= size) {
    const from = size < LARGE ? 0 : trieOf(size)
    if ((tries & (-1 << from) & ((2 << trieOf(own)) - 1)) === 0) return takeHeld(held)
  }
  const p =
    size < LARGE ? ring(leastBelow(load32(s + ROOTS + ctz32(tries) * 4))) : findLarge(size, tries, s + ROOTS)
  if (own >= size && (p === 0 || own <= load32(p + SIZE))) return takeHeld(held)
  if (p !== 0) removeLarge(p)
  return p
}

// The smallest size from `size` on, below LARGE, of which there is a block in a list; or 0.
function binFor(size: i32): i32 {
  const s = state()
  let word = size >> 8
  let bits = load32(s + MAP + (word << 2)) & (-1 << ((size >> 3) & 31))
  if (bits === 0) {
    const words = load32(s + SUMMARY) & (-2 << word)
    if (words === 0) return 0
    word = ctz32(words)
    bits = load32(s + MAP + (word << 2))
  }
  look()
  return (word << 8) + (ctz32(bits) << 3)
}

function takeHeld(held: i32): i32 {
  store32(state() + HELD, 0)
  return held
}

// Of a ring, a block that does not stand in the trie is cheaper to take.
function ring(p: i32): i32 {
  return p === 0 ? 0 : load32(p + NEXT)
}

// The smallest block of a trie: it is on the leftmost path.
function leastBelow(from: i32): i32 {
  let best = from
  let least = load32(from + SIZE)
  let at = leftmost(from)
  while (at !== 0) {
    look()
    const own = load32(at + SIZE)
    if (own < least) {
      least = own
      best = at
    }
    at = leftmost(at)
  }
  return best
}
function leftmost(p: i32): i32 {
  const left = load32(p + CHILD)
  return left !== 0 ? left : load32(p + CHILD + 4)
}

function findLarge(size: i32, tries: i32, roots: i32): i32 {
  const trie = trieOf(size)
  let best = 0
  let least = 0x7fffffff
  if ((tries & (1 << trie)) !== 0) {
    let at = load32(roots + trie * 4)
    let key = keyOf(size, trie)
    // The deepest subtree that was passed on the side of larger sizes: all in it are larger, so it is the next candidate.
    let larger = 0
    while (at !== 0) {
      look()
      const own = load32(at + SIZE)
      if (own >= size && own < least) {
        best = at
        least = own
        if (own === size) return ring(best)
      }
      const right = load32(at + CHILD + 4)
      at = load32(at + CHILD + ((key >>> 31) << 2))
      if (right !== 0 && right !== at) larger = right
      key <<= 1
    }
    if (larger !== 0) {
      const candidate = leastBelow(larger)
      const own = load32(candidate + SIZE)
      if (own < least) best = candidate
    }
    if (best !== 0) return ring(best)
  }
  const above = tries & (-2 << trie)
  if (trie === 31 || above === 0) return 0
  return ring(leastBelow(load32(roots + ctz32(above) * 4)))
}
