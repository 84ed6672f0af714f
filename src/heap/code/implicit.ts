/**
 * The implicit free list: no index at all. A search walks over all blocks, allocated ones too, by their sizes.
 * Placement: first, next or best fit. Merging while scanning costs nothing extra, so ON_SEARCH does it here.
 */
import {
  BEST_FIT,
  COALESCING,
  END,
  FIRST,
  isAllocated,
  nextOf,
  NEXT_FIT,
  ON_SEARCH,
  PLACEMENT,
  ROVER,
  setBlock,
  setVariable,
  sizeOf,
  variable,
} from './blocks.ts'
import { look } from './words.ts'

// Search

/** A free block of at least `size` bytes, or 0. */
export function findImplicit(size: i32): i32 {
  const placement = variable(PLACEMENT)
  const first = variable(FIRST)
  const end = variable(END)
  if (placement === BEST_FIT) return bestBetween(first, end, size)
  if (placement !== NEXT_FIT) return firstBetween(first, end, size)
  const rover = variable(ROVER)
  let p = firstBetween(rover, end, size)
  if (p === 0) p = firstBetween(first, rover, size)
  if (p !== 0) setVariable(ROVER, p)
  return p
}

function firstBetween(from: i32, to: i32, size: i32): i32 {
  const merge = variable(COALESCING) === ON_SEARCH
  for (let p = from; p < to; p = nextOf(p)) {
    look()
    if (isAllocated(p)) continue
    if (merge) mergeFollowing(p)
    if (sizeOf(p) >= size) return p
  }
  return 0
}

function bestBetween(from: i32, to: i32, size: i32): i32 {
  const merge = variable(COALESCING) === ON_SEARCH
  let best = 0
  let least = 0x7fffffff
  for (let p = from; p < to; p = nextOf(p)) {
    look()
    if (isAllocated(p)) continue
    if (merge) mergeFollowing(p)
    const own = sizeOf(p)
    if (own < size || own >= least) continue
    best = p
    least = own
    if (own === size) break
  }
  return best
}

function mergeFollowing(p: i32): void {
  let q = nextOf(p)
  while (!isAllocated(q)) q = nextOf(q)
  if (q === nextOf(p)) return
  setBlock(p, q - p, 0)
  const rover = variable(ROVER)
  if (rover > p && rover < q) setVariable(ROVER, p)
}
