/**
 * malloc over boundary-tagged blocks with an exchangeable index of the free ones: the allocators of the lecture. Splitting,
 * the four cases of coalescing, growth and realloc are here, once; an index only inserts, removes and finds.
 */
import {
  ALIGN,
  AT_THRESHOLD,
  blockSize,
  COALESCING,
  END,
  ENOMEM,
  ERRNO,
  EXPLICIT,
  FIRST,
  IMMEDIATE,
  IMPLICIT,
  INDEX,
  isAllocated,
  MOST,
  NEVER,
  nextOf,
  ON_SEARCH,
  ORDER,
  PENDING,
  PLACEMENT,
  previousOf,
  ROVER,
  SEGREGATED,
  setBlock,
  setVariable,
  sizeOf,
  SMALLEST,
  SPLIT,
  STEP,
  THRESHOLD,
  TLSF,
  TREE,
  variable,
} from './blocks.ts'
import { findExplicit, insertExplicit, removeExplicit } from './explicit.ts'
import { findImplicit } from './implicit.ts'
import { findSegregated, insertSegregated, removeSegregated } from './segregated.ts'
import { findTlsf, insertTlsf, removeTlsf } from './tlsf.ts'
import { findTree, insertTree, removeTree, setupTree } from './tree.ts'
import { load32, move, sbrk, state, store32, zero } from './words.ts'

// Setup

/**
 * Lays out an empty heap. `split` is the smallest remainder in bytes that becomes a block of its own (0: the smallest
 * block), `threshold` the percentage of the heap that must have been freed before AT_THRESHOLD merges. False where
 * there is no room.
 */
export function setup(
  index: i32,
  placement: i32,
  order: i32,
  coalescing: i32,
  split: i32,
  threshold: i32,
  align: i32,
): boolean {
  zero(state(), 8192)
  const links = index === TREE ? 32 : 16
  const smallest = links > align ? links : align
  setVariable(INDEX, index)
  setVariable(PLACEMENT, placement)
  setVariable(ORDER, order)
  setVariable(COALESCING, coalescing)
  setVariable(ALIGN, align)
  setVariable(SMALLEST, smallest)
  setVariable(SPLIT, split > smallest ? split : smallest)
  setVariable(THRESHOLD, threshold)
  if (index === TREE) setupTree()
  const start = sbrk(STEP)
  if (start < 0) return false
  setBlock(start + align, align, 1)
  const first = start + 2 * align
  setVariable(FIRST, first)
  setVariable(ROVER, index === IMPLICIT ? first : 0)
  setVariable(END, start + STEP)
  store32(start + STEP - 4, 1)
  setBlock(first, start + STEP - first, 0)
  insert(first)
  return true
}

export function errno(): i32 {
  return variable(ERRNO)
}

// The index

function insert(p: i32): void {
  const index = variable(INDEX)
  if (index === EXPLICIT) insertExplicit(p)
  else if (index === SEGREGATED) insertSegregated(p)
  else if (index === TREE) insertTree(p)
  else if (index === TLSF) insertTlsf(p)
}

function remove(p: i32): void {
  const index = variable(INDEX)
  if (index === EXPLICIT) removeExplicit(p)
  else if (index === SEGREGATED) removeSegregated(p)
  else if (index === TREE) removeTree(p)
  else if (index === TLSF) removeTlsf(p)
}

function find(size: i32): i32 {
  const index = variable(INDEX)
  if (index === EXPLICIT) return findExplicit(size)
  if (index === SEGREGATED) return findSegregated(size)
  if (index === TREE) return findTree(size)
  if (index === TLSF) return findTlsf(size)
  return findImplicit(size)
}

// malloc

export function malloc(bytes: i32): i32 {
  if (bytes < 0 || bytes > MOST) return refuse()
  const size = blockSize(bytes)
  let p = find(size)
  const coalescing = variable(COALESCING)
  if (p === 0 && (coalescing === ON_SEARCH || coalescing === AT_THRESHOLD) && mergeAll()) p = find(size)
  if (p === 0) p = grow(size)
  if (p === 0) return refuse()
  remove(p)
  allocate(p, sizeOf(p), size)
  return p
}

function refuse(): i32 {
  setVariable(ERRNO, ENOMEM)
  return 0
}

// Makes the first `size` of the `whole` bytes at p an allocated block, and of the rest a free one if it is large enough.
function allocate(p: i32, whole: i32, size: i32): void {
  const rest = whole - size
  if (rest < variable(SPLIT)) {
    setBlock(p, whole, 1)
    return
  }
  setBlock(p, size, 1)
  setBlock(p + size, rest, 0)
  insert(p + size)
}

// Moves the break so that the last block is free and has at least `size` bytes; that block, or 0.
function grow(size: i32): i32 {
  const end = variable(END)
  let p = end
  if (variable(COALESCING) !== NEVER && (load32(end - 8) & 1) === 0) p = previousOf(end)
  const missing = size - (end - p)
  const bytes = (missing + STEP - 1) & -STEP
  if (bytes < 0 || sbrk(bytes) < 0) return 0
  if (p !== end) remove(p)
  setVariable(END, end + bytes)
  store32(end + bytes - 4, 1)
  setBlock(p, end + bytes - p, 0)
  insert(p)
  return p
}

// free

export function free(p: i32): void {
  if (p === 0) return
  const size = sizeOf(p)
  setBlock(p, size, 0)
  const coalescing = variable(COALESCING)
  if (coalescing === IMMEDIATE) {
    insert(coalesce(p))
    return
  }
  insert(p)
  if (coalescing !== AT_THRESHOLD) return
  const pending = variable(PENDING) + size
  setVariable(PENDING, pending)
  // In units of 128 bytes, so that the product fits 32 bits.
  if ((pending >> 7) * 100 >= ((variable(END) - variable(FIRST)) >> 7) * variable(THRESHOLD)) mergeAll()
}

// The four cases: no neighbour is free, the next, the previous, both. Gives the merged block, which is in no index.
function coalesce(p: i32): i32 {
  const next = nextOf(p)
  const previousFree = (load32(p - 8) & 1) === 0
  const nextFree = !isAllocated(next)
  if (!previousFree && !nextFree) return p
  let from = p
  let to = next
  if (nextFree) {
    remove(next)
    to = nextOf(next)
  }
  if (previousFree) {
    from = previousOf(p)
    remove(from)
  }
  join(from, to)
  return from
}

// One free block from `from` to `to`.
function join(from: i32, to: i32): void {
  setBlock(from, to - from, 0)
  if (variable(INDEX) !== IMPLICIT) return
  const rover = variable(ROVER)
  if (rover > from && rover < to) setVariable(ROVER, from)
}

/** Merges all free neighbours; whether there were any. */
function mergeAll(): boolean {
  let merged = false
  const end = variable(END)
  setVariable(PENDING, 0)
  for (let p = variable(FIRST); p < end; p = nextOf(p)) {
    if (isAllocated(p) || isAllocated(nextOf(p))) continue
    let q = p
    while (!isAllocated(q)) {
      remove(q)
      q = nextOf(q)
    }
    join(p, q)
    insert(p)
    merged = true
  }
  return merged
}

// realloc and the others

export function realloc(p: i32, bytes: i32): i32 {
  if (p === 0) return malloc(bytes)
  if (bytes < 0 || bytes > MOST) return refuse()
  const size = blockSize(bytes)
  const old = sizeOf(p)
  if (size <= old) {
    trim(p, size)
    return p
  }
  if (variable(COALESCING) !== NEVER) {
    let next = nextOf(p)
    if (next === variable(END) && grow(size - old) === 0) return refuse()
    next = nextOf(p)
    if (!isAllocated(next) && old + sizeOf(next) >= size) {
      const whole = old + sizeOf(next)
      remove(next)
      join(p, p + whole)
      allocate(p, whole, size)
      return p
    }
  }
  const q = malloc(bytes)
  if (q === 0) return 0
  move(q, p, old - 8)
  free(p)
  return q
}

// Gives back what an allocated block has beyond `size` bytes.
function trim(p: i32, size: i32): void {
  const rest = sizeOf(p) - size
  if (rest < variable(SPLIT)) return
  setBlock(p, size, 1)
  setBlock(p + size, rest, 1)
  free(p + size)
}

export function calloc(bytes: i32): i32 {
  const p = malloc(bytes)
  if (p !== 0) zero(p, bytes)
  return p
}

/** Memory at a multiple of `align`, a power of two. */
export function alignedAlloc(align: i32, bytes: i32): i32 {
  if (align <= variable(ALIGN)) return malloc(bytes)
  if (bytes < 0 || bytes > MOST - align) return refuse()
  const smallest = variable(SMALLEST)
  const size = blockSize(bytes)
  const p = malloc(size + align + smallest)
  if (p === 0) return 0
  if ((p & (align - 1)) === 0) {
    trim(p, size)
    return p
  }
  const q = (p + smallest + align - 1) & -align
  const whole = sizeOf(p)
  setBlock(q, whole - (q - p), 1)
  setBlock(p, q - p, 1)
  free(p)
  trim(q, size)
  return q
}

export function usableSize(p: i32): i32 {
  return sizeOf(p) - 8
}
