/**
 * What allocators use of the machine, on WebAssembly's own memory: see ../code/words.ts, which this replaces.
 * The memory is imported as env.memory.
 */
let base: i32 = 0
let brk: i32 = 0
let limit: i32 = 0

/** The heap's variables lie at `at`, a multiple of 16; the heap follows and ends at `end` at the latest. */
export function place(at: i32, end: i32): void {
  base = at
  brk = at + 8192
  limit = end
}
export function currentBreak(): i32 {
  return brk
}

export function state(): i32 {
  return base
}
export function load32(at: i32): i32 {
  return load<i32>(at)
}
export function store32(at: i32, word: i32): void {
  store<i32>(at, word)
}
export function load8(at: i32): i32 {
  return <i32>load<u8>(at)
}
export function store8(at: i32, byte: i32): void {
  store<u8>(at, <u8>byte)
}
export function firstBit(at: i32, from: i32): i32 {
  // As two words: one of them has often just been stored, and waits for the cache if both are loaded as one.
  const bits = <u64>load<u32>(at) | ((<u64>load<u32>(at + 4)) << 32)
  return <i32>ctz<u64>(bits >> <u64>from)
}
export function nextBit(at: i32, from: i32): i32 {
  return <i32>ctz<u64>(load<u64>(at) >> (<u64>from + 1)) + 1
}
export function sbrk(bytes: i32): i32 {
  const old = brk
  if (<u32>old + <u32>bytes > <u32>limit) return -1
  const missing = ((old + bytes + 65535) >>> 16) - memory.size()
  if (missing > 0) {
    // An eighth more than there is: a call to grow costs more than many a malloc.
    const ahead = min(max(missing, memory.size() >> 3), 1024)
    if (memory.grow(ahead) < 0 && memory.grow(missing) < 0) return -1
  }
  brk = old + bytes
  return old
}
export function move(to: i32, from: i32, bytes: i32): void {
  memory.copy(to, from, bytes)
}
export function zero(at: i32, bytes: i32): void {
  memory.fill(at, 0, bytes)
}
export function clz32(word: i32): i32 {
  return clz<i32>(word)
}
export function ctz32(word: i32): i32 {
  return ctz<i32>(word)
}
export function choose(first: boolean, one: i32, other: i32): i32 {
  return select<i32>(one, other, first)
}
export function look(): void {}
