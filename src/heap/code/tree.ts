/**
 * A balanced tree of free blocks with the size as key (red-black; Cormen et al., chapter 13). Best fit in O(log n).
 * Blocks of equal size hang in a list behind the one that stands in the tree; the list's head is taken last.
 * Node: +0 left · +4 right · +8 parent · +12 colour · +16 next of the same size · +20 previous of the same size.
 * Own variables: +0 root · +16 the nil node, which stands for every missing child.
 */
import { OWN, sizeOf } from './blocks.ts'
import { load32, look, state, store32 } from './words.ts'

const LEFT: i32 = 0
const RIGHT: i32 = 4
const PARENT: i32 = 8
const COLOUR: i32 = 12
const NEXT: i32 = 16
const PREVIOUS: i32 = 20
const BLACK: i32 = 0
const RED: i32 = 1

function nil(): i32 {
  return state() + OWN + 16
}
function get(p: i32, field: i32): i32 {
  return load32(p + field)
}
function set(p: i32, field: i32, value: i32): void {
  store32(p + field, value)
}
function root(): i32 {
  return load32(state() + OWN)
}
function setRoot(p: i32): void {
  store32(state() + OWN, p)
}

export function setupTree(): void {
  const n = nil()
  setRoot(n)
  set(n, LEFT, n)
  set(n, RIGHT, n)
  set(n, PARENT, n)
  set(n, COLOUR, BLACK)
}

// Insert

export function insertTree(p: i32): void {
  const n = nil()
  const size = sizeOf(p)
  set(p, NEXT, 0)
  set(p, PREVIOUS, 0)
  let parent = n
  let at = root()
  while (at !== n) {
    look()
    const own = sizeOf(at)
    if (own === size) {
      const after = get(at, NEXT)
      set(p, NEXT, after)
      set(p, PREVIOUS, at)
      if (after !== 0) set(after, PREVIOUS, p)
      set(at, NEXT, p)
      return
    }
    parent = at
    at = get(at, size < own ? LEFT : RIGHT)
  }
  set(p, LEFT, n)
  set(p, RIGHT, n)
  set(p, PARENT, parent)
  set(p, COLOUR, RED)
  if (parent === n) setRoot(p)
  else set(parent, size < sizeOf(parent) ? LEFT : RIGHT, p)
  repairAfterInsert(p)
}

function repairAfterInsert(inserted: i32): void {
  let p = inserted
  while (get(get(p, PARENT), COLOUR) === RED) {
    let parent = get(p, PARENT)
    const grand = get(parent, PARENT)
    const side = parent === get(grand, LEFT) ? LEFT : RIGHT
    const uncle = get(grand, RIGHT - side)
    if (get(uncle, COLOUR) === RED) {
      set(parent, COLOUR, BLACK)
      set(uncle, COLOUR, BLACK)
      set(grand, COLOUR, RED)
      p = grand
      continue
    }
    if (p === get(parent, RIGHT - side)) {
      p = parent
      rotate(p, side)
      parent = get(p, PARENT)
    }
    set(parent, COLOUR, BLACK)
    set(grand, COLOUR, RED)
    rotate(grand, RIGHT - side)
  }
  set(root(), COLOUR, BLACK)
}

// p's child on the other side comes up; p goes down on `side`.
function rotate(p: i32, side: i32): void {
  const n = nil()
  const other = RIGHT - side
  const up = get(p, other)
  const inner = get(up, side)
  set(p, other, inner)
  if (inner !== n) set(inner, PARENT, p)
  replaceChild(p, up)
  set(up, side, p)
  set(p, PARENT, up)
}

function replaceChild(old: i32, by: i32): void {
  const parent = get(old, PARENT)
  if (parent === nil()) setRoot(by)
  else set(parent, get(parent, LEFT) === old ? LEFT : RIGHT, by)
  set(by, PARENT, parent)
}

// Remove

export function removeTree(p: i32): void {
  const before = get(p, PREVIOUS)
  const after = get(p, NEXT)
  if (before !== 0) {
    set(before, NEXT, after)
    if (after !== 0) set(after, PREVIOUS, before)
    return
  }
  if (after === 0) {
    removeNode(p)
    return
  }
  // The next of the same size takes p's place in the tree.
  const n = nil()
  set(after, PREVIOUS, 0)
  set(after, LEFT, get(p, LEFT))
  set(after, RIGHT, get(p, RIGHT))
  set(after, COLOUR, get(p, COLOUR))
  replaceChild(p, after)
  if (get(p, LEFT) !== n) set(get(p, LEFT), PARENT, after)
  if (get(p, RIGHT) !== n) set(get(p, RIGHT), PARENT, after)
}

function removeNode(p: i32): void {
  const n = nil()
  let colour = get(p, COLOUR)
  let hole = n
  if (get(p, LEFT) === n) {
    hole = get(p, RIGHT)
    replaceChild(p, hole)
  } else if (get(p, RIGHT) === n) {
    hole = get(p, LEFT)
    replaceChild(p, hole)
  } else {
    let least = get(p, RIGHT)
    while (get(least, LEFT) !== n) least = get(least, LEFT)
    colour = get(least, COLOUR)
    hole = get(least, RIGHT)
    if (get(least, PARENT) === p) set(hole, PARENT, least)
    else {
      replaceChild(least, hole)
      set(least, RIGHT, get(p, RIGHT))
      set(get(least, RIGHT), PARENT, least)
    }
    replaceChild(p, least)
    set(least, LEFT, get(p, LEFT))
    set(get(least, LEFT), PARENT, least)
    set(least, COLOUR, get(p, COLOUR))
  }
  if (colour === BLACK) repairAfterRemove(hole)
}

function repairAfterRemove(hole: i32): void {
  let p = hole
  while (p !== root() && get(p, COLOUR) === BLACK) {
    const parent = get(p, PARENT)
    const side = p === get(parent, LEFT) ? LEFT : RIGHT
    const other = RIGHT - side
    let sibling = get(parent, other)
    if (get(sibling, COLOUR) === RED) {
      set(sibling, COLOUR, BLACK)
      set(parent, COLOUR, RED)
      rotate(parent, side)
      sibling = get(parent, other)
    }
    if (get(get(sibling, LEFT), COLOUR) === BLACK && get(get(sibling, RIGHT), COLOUR) === BLACK) {
      set(sibling, COLOUR, RED)
      p = parent
      continue
    }
    if (get(get(sibling, other), COLOUR) === BLACK) {
      set(get(sibling, side), COLOUR, BLACK)
      set(sibling, COLOUR, RED)
      rotate(sibling, other)
      sibling = get(parent, other)
    }
    set(sibling, COLOUR, get(parent, COLOUR))
    set(parent, COLOUR, BLACK)
    set(get(sibling, other), COLOUR, BLACK)
    rotate(parent, side)
    p = root()
  }
  set(p, COLOUR, BLACK)
}

// Search

/** The smallest block that is large enough, or 0. */
export function findTree(size: i32): i32 {
  const n = nil()
  let best = 0
  let at = root()
  while (at !== n) {
    look()
    const own = sizeOf(at)
    if (own >= size) best = at
    if (own === size) break
    at = get(at, own > size ? LEFT : RIGHT)
  }
  if (best === 0) return 0
  const same = get(best, NEXT)
  return same !== 0 ? same : best
}
