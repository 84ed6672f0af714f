/**
 * Blocks of the list allocators, as the lecture draws them.
 *
 *        -4        0                                  size-8      size-4
 *   | header |  payload ... (free: links of the index)  | footer |        next block's payload begins at +size
 *
 * Header and footer are the same word (the boundary tags): the size of the whole block with both tags, a multiple of the
 * alignment, and in bit 0 whether the block is allocated. A block is named by the address of its payload. The
 * heap begins with an allocated prologue block and ends with an allocated header of size 0, so that a block always has
 * neighbours.
 *
 * Variables, by their distance from state(): */
export const FIRST: i32 = 0
export const END: i32 = 4
export const ALIGN: i32 = 8
export const SMALLEST: i32 = 12
export const INDEX: i32 = 16
export const PLACEMENT: i32 = 20
export const ORDER: i32 = 24
export const COALESCING: i32 = 28
export const SPLIT: i32 = 32
export const THRESHOLD: i32 = 36
export const PENDING: i32 = 40
export const ROVER: i32 = 44
export const ERRNO: i32 = 60
/** Where an index keeps its own variables. */
export const OWN: i32 = 64

/** Indexes: what knows the free blocks. */
export const IMPLICIT: i32 = 0
export const EXPLICIT: i32 = 1
export const SEGREGATED: i32 = 2
export const TREE: i32 = 3
export const TLSF: i32 = 4
/** Placements: which of the blocks that are large enough is taken. */
export const FIRST_FIT: i32 = 0
export const NEXT_FIT: i32 = 1
export const BEST_FIT: i32 = 2
/** Orders of a list: the last freed first, or by address. */
export const LIFO: i32 = 0
export const BY_ADDRESS: i32 = 1
/** When free neighbours are merged: at free; when a search scans or fails; when enough was freed; never. */
export const IMMEDIATE: i32 = 0
export const ON_SEARCH: i32 = 1
export const AT_THRESHOLD: i32 = 2
export const NEVER: i32 = 3

export const ENOMEM: i32 = 12
/** The largest request. */
export const MOST: i32 = 0x7ffe0000
/** Steps of the break. */
export const STEP: i32 = 4096

import { load32, state, store32 } from './words.ts'

export function variable(name: i32): i32 {
  return load32(state() + name)
}
export function setVariable(name: i32, value: i32): void {
  store32(state() + name, value)
}

export function sizeOf(p: i32): i32 {
  return load32(p - 4) & -8
}
export function isAllocated(p: i32): boolean {
  return (load32(p - 4) & 1) !== 0
}
export function setBlock(p: i32, size: i32, allocated: i32): void {
  store32(p - 4, size | allocated)
  store32(p + size - 8, size | allocated)
}
export function nextOf(p: i32): i32 {
  return p + sizeOf(p)
}
/** The block before, found through its footer. */
export function previousOf(p: i32): i32 {
  return p - (load32(p - 8) & -8)
}
/** The size of the block that a request of `bytes` takes. */
export function blockSize(bytes: i32): i32 {
  const mask = variable(ALIGN) - 1
  const size = (bytes + 8 + mask) & ~mask
  const smallest = variable(SMALLEST)
  return size < smallest ? smallest : size
}
