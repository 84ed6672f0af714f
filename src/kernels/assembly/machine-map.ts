/**
 * What the simulated machine's hardware (machine.ts) keeps beside TLBs and caches: the map of pages and tables to frames, and the orders of ways that stay
 * where they are.
 *
 * Map: 64-bit key, 32-bit value, 16 bytes a place; linear probing. Level 0 maps pages to frames, level k (in bits 60 to 63) the upper bits of
 * pages to the frame of their table.
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

/** No key. */
export const EMPTY: u64 = u64.MAX_VALUE

let mapAt: usize = 0
let mapMask: u32 = 0
let mapUsed: u32 = 0
let top: usize = 0

/** An empty map; memory from `end` on is its. */
export function startMap(end: usize): void {
  top = end
  mapUsed = 0
  makeMap(1 << 12)
}

function makeMap(places: u32): void {
  mapAt = (top + 15) & ~15
  top = mapAt + ((<usize>places) << 4)
  const missing = <i32>((top + 0xffff) >> 16) - memory.size()
  if (missing > 0) memory.grow(missing)
  memory.fill(mapAt, 0xff, (<usize>places) << 4)
  mapMask = places - 1
}

function hash(key: u64): u32 {
  const x = (key ^ (key >> 29)) * 0x9e3779b97f4a7c15
  return <u32>(x >> 32)
}

/** Place of a key in the map, or of the empty place where it would be. */
export function place(key: u64): usize {
  let i = hash(key) & mapMask
  let at = mapAt + ((<usize>i) << 4)
  while (load<u64>(at) != key && load<u64>(at) != EMPTY) {
    i = (i + 1) & mapMask
    at = mapAt + ((<usize>i) << 4)
  }
  return at
}

export function mapSet(key: u64, value: u32): void {
  if (mapUsed * 2 > mapMask) {
    const old = mapAt
    const places = mapMask + 1
    makeMap(places * 2)
    for (let i: u32 = 0; i < places; i++) {
      const at = old + ((<usize>i) << 4)
      const moved = load<u64>(at)
      if (moved == EMPTY) continue
      const to = place(moved)
      store<u64>(to, moved)
      store<u32>(to, load<u32>(at, 8), 8)
    }
  }
  const at = place(key)
  if (load<u64>(at) == EMPTY) mapUsed++
  store<u64>(at, key)
  store<u32>(at, value, 8)
}

export function mapDelete(key: u64): void {
  let at = place(key)
  if (load<u64>(at) == EMPTY) return
  mapUsed--
  let hole = <u32>((at - mapAt) >> 4)
  let i = hole
  for (;;) {
    i = (i + 1) & mapMask
    const next = mapAt + ((<usize>i) << 4)
    const moved = load<u64>(next)
    if (moved == EMPTY) break
    // Whoever has passed the hole on the way to its place may move into it.
    if (((i - (hash(moved) & mapMask)) & mapMask) < ((i - hole) & mapMask)) continue
    at = mapAt + ((<usize>hole) << 4)
    store<u64>(at, moved)
    store<u32>(at, load<u32>(next, 8), 8)
    hole = i
  }
  store<u64>(mapAt + ((<usize>hole) << 4), EMPTY)
}

// --- replacement of ways that stay where they are ---

export function point(tree: usize, ways: u32, way: u32): void {
  let node: u32 = 1
  for (let half = ways >> 1; half > 0; half >>= 1) {
    const right = way & half ? 1 : 0
    store<u8>(tree + node, 1 - right)
    node = node * 2 + right
  }
}

export function oldest(tree: usize, ways: u32): u32 {
  let node: u32 = 1
  let way: u32 = 0
  for (let half = ways >> 1; half > 0; half >>= 1) {
    const right = load<u8>(tree + node)
    if (right) way |= half
    node = node * 2 + right
  }
  return way
}

export function below(stateAt: usize, bound: u32): u32 {
  let x = load<u32>(stateAt)
  x ^= x << 13
  x ^= x >> 17
  x ^= x << 5
  store<u32>(stateAt, x)
  return x % bound
}
