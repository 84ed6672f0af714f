/**
 * What allocators use of the machine: words, the break, bit counts. This is the TypeScript side, over any HeapMemory;
 * the build puts ../assembly/words.ts in its place when it compiles the allocators to WebAssembly.
 */
import type { HeapMemory } from '../memory.ts'

let memory: HeapMemory
let base = 0
let looked = 0

/** Makes `next` the memory that all allocators work on, until the next call. */
export function bind(next: HeapMemory): void {
  memory = next
  base = next.base
}
/** Blocks and list nodes looked at in searches since the last call. */
export function takeLooked(): number {
  const count = looked
  looked = 0
  return count
}

/** Where the allocator's variables lie. */
export function state(): i32 {
  return base
}
export function load32(at: i32): i32 {
  return memory.load32(at)
}
export function store32(at: i32, word: i32): void {
  memory.store32(at, word)
}
export function load8(at: i32): i32 {
  return (load32(at & -4) >>> ((at & 3) << 3)) & 255
}
export function store8(at: i32, byte: i32): void {
  const shift = (at & 3) << 3
  store32(at & -4, (load32(at & -4) & ~(255 << shift)) | (byte << shift))
}
/** How far the first bit that is set is behind the bit `from` of the word at `at`, 0 for that bit itself; 64 where neither this word nor the next one has one. */
export function firstBit(at: i32, from: i32): i32 {
  return ((load32(at) >>> from) & 1) !== 0 ? 0 : Math.min(nextBit(at, from), 64)
}
/** How far the next bit that is set is behind the bit `from` of the word at `at`; 65 where neither this word nor the next one has one. */
export function nextBit(at: i32, from: i32): i32 {
  const low = load32(at) & (-2 << from)
  if (low !== 0) return ctz32(low) - from
  const high = load32(at + 4)
  return high === 0 ? 65 : 32 + ctz32(high) - from
}
/** Moves the break up; the address of the new bytes, or -1. */
export function sbrk(bytes: i32): i32 {
  return memory.sbrk(bytes)
}
export function move(to: i32, from: i32, bytes: i32): void {
  memory.move(to, from, bytes)
}
export function zero(at: i32, bytes: i32): void {
  memory.zero(at, bytes)
}
/** Zeros above the highest bit that is set; 32 for 0. */
export function clz32(word: i32): i32 {
  return Math.clz32(word)
}
/** Zeros below the lowest bit that is set; 32 for 0. */
export function ctz32(word: i32): i32 {
  return word === 0 ? 32 : 31 - Math.clz32(word & -word)
}
/** One of two words, without a jump. */
export function choose(first: boolean, one: i32, other: i32): i32 {
  return first ? one : other
}
/** A search looks at a block: counted here, nothing in WebAssembly. */
export function look(): void {
  looked++
}
