/**
 * Which blocks of memory stand in files, at any offset, for blocks far smaller than a page.
 *
 * Memory is a sample of pages, cut into blocks of 16 bytes. Each distinct content is in a hash table; blocks of the same
 * content are chained behind the first. Files go past; at every byte the 16 bytes there are looked up, and
 * what is found is extended forwards by comparison. `best` is, for each block, the longest run of bytes from it to the end of
 * its page at most that some file holds: an aligned block of any size is in a file if `best` at its first block is
 * at least that size.
 *
 * Blocks of one repeated byte are not looked up (they need no file); a match takes in those before it.
 *
 * Layout, from `base`: table u32[SLOTS] block + 1 · filter u8[FILTER] bits · next u32[blocks] block + 1 · first
 * u32[blocks] · best u16[blocks] · pages
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

const M1: u64 = 0x9e3779b97f4a7c15
const M2: u64 = 0xd6e8feb86659fd93
const PAGE: usize = 4096
const SLOT_BITS: u64 = 20
const SLOTS: usize = 1 << 20
const FILTER_BITS: u64 = 23
const FILTER: usize = 1 << 20
/** Blocks of the same content that are extended one by one; the rest count as 16 bytes. */
const MOST_ALIKE = 32

let table: usize = 0
let filter: usize = 0
let next: usize = 0
let first: usize = 0
let best: usize = 0
let sample: usize = 0
let blocks: u32 = 0

function hash(a: u64, b: u64): u64 {
  const h = (a * M1) ^ rotl((b ^ M1) * M2, 29)
  return h ^ (h >> 32)
}

function isConstant(a: u64, b: u64): bool {
  return a === b && rotl(a, 8) === a
}

/** Where the pages are to be put, for `pages` of them; they follow the tables. */
export function layout(base: usize, pages: u32): usize {
  blocks = pages << 8
  table = base
  filter = table + 4 * SLOTS
  next = filter + FILTER
  first = next + 4 * <usize>blocks
  best = first + 4 * <usize>blocks
  sample = (best + 2 * <usize>blocks + 63) & ~(<usize>63)
  return sample
}

/** Enters the blocks of the pages, which must stand at their place. */
export function enter(): void {
  memory.fill(table, 0, sample - table)
  for (let block: u32 = 0; block < blocks; block++) {
    const q = sample + ((<usize>block) << 4)
    const a = load<u64>(q)
    const b = load<u64>(q, 8)
    store<u32>(first + ((<usize>block) << 2), block)
    if (isConstant(a, b)) continue
    const h = hash(a, b)
    let slot = <usize>(h & (SLOTS - 1))
    for (;;) {
      const known = load<u32>(table + (slot << 2))
      if (known === 0) {
        store<u32>(table + (slot << 2), block + 1)
        const bit = <usize>((h >> SLOT_BITS) & ((1 << FILTER_BITS) - 1))
        const at = filter + (bit >> 3)
        store<u8>(at, load<u8>(at) | <u8>(1 << (<u8>bit & 7)))
        break
      }
      const k = sample + ((<usize>(known - 1)) << 4)
      if (load<u64>(k) === a && load<u64>(k, 8) === b) {
        store<u32>(first + ((<usize>block) << 2), known - 1)
        store<u32>(next + ((<usize>block) << 2), load<u32>(next + ((<usize>(known - 1)) << 2)))
        store<u32>(next + ((<usize>(known - 1)) << 2), block + 1)
        break
      }
      slot = (slot + 1) & (SLOTS - 1)
    }
  }
}

function raise(block: u32, to: u32): void {
  const at = best + ((<usize>block) << 1)
  if (load<u16>(at) < <u16>to) store<u16>(at, <u16>to)
}

// The bytes at p, of a file, are those of the block at q. `start` and `end` bound what there is of the file.
function extend(p: usize, q: usize, start: usize, end: usize): void {
  const page = q - ((q - sample) & (PAGE - 1))
  const block = <u32>((q - sample) >> 4)
  const room = min<usize>(page + PAGE - q, end - p)
  if (<usize>load<u16>(best + ((<usize>block) << 1)) >= page + PAGE - q) return
  // A block in the middle of a longer match was dealt with when the match began.
  if (q > page && p >= start + 16) {
    const a = load<u64>(q - 16)
    const b = load<u64>(q - 8)
    if (!isConstant(a, b) && load<u64>(p - 16) === a && load<u64>(p - 8) === b) {
      if (<usize>load<u16>(best + ((<usize>(block - 1)) << 1)) > 16) return
    }
  }
  let length: usize = 16
  while (length + 8 <= room && load<u64>(p + length) === load<u64>(q + length)) length += 8
  while (length < room && load<u8>(p + length) === load<u8>(q + length)) length++
  for (let done: usize = 0; length - done >= 16; done += 16)
    raise(block + <u32>(done >> 4), <u32>(length - done))
  let before: usize = 16
  while (q >= page + before && p >= start + before) {
    const a = load<u64>(q - before)
    const b = load<u64>(q - before + 8)
    if (!isConstant(a, b) || load<u64>(p - before) !== a || load<u64>(p - before + 8) !== b) break
    raise(block - <u32>(before >> 4), <u32>(length + before))
    before += 16
  }
}

/** Looks up all positions from `from` to `to`; bytes of the file are there from `start` to `end`, and 16 more may be read. */
export function scan(from: usize, to: usize, start: usize, end: usize): void {
  for (let p = from; p < to; p++) {
    const a = load<u64>(p)
    const b = load<u64>(p, 8)
    const h = hash(a, b)
    const bit = <usize>((h >> SLOT_BITS) & ((1 << FILTER_BITS) - 1))
    if (!(load<u8>(filter + (bit >> 3)) & (1 << (<u8>bit & 7)))) continue
    if (p + 16 > end) return
    let slot = <usize>(h & (SLOTS - 1))
    for (;;) {
      let known = load<u32>(table + (slot << 2))
      if (known === 0) break
      const k = sample + ((<usize>(known - 1)) << 4)
      if (load<u64>(k) === a && load<u64>(k, 8) === b) {
        for (let alike = 0; known !== 0 && alike < MOST_ALIKE; alike++) {
          extend(p, sample + ((<usize>(known - 1)) << 4), start, end)
          known = load<u32>(next + ((<usize>(known - 1)) << 2))
        }
        break
      }
      slot = (slot + 1) & (SLOTS - 1)
    }
  }
}

/** How many aligned blocks of `size` bytes, a power of two from 16 to 4096, are wholly in some file. */
export function covered(size: u32): u32 {
  const step = size >> 4
  let found: u32 = 0
  for (let block: u32 = 0; block < blocks; block += step) {
    if (<u32>load<u16>(best + ((<usize>block) << 1)) >= size) found++
    else if (size === 16 && load<u16>(best + ((<usize>load<u32>(first + ((<usize>block) << 2))) << 1)) >= 16)
      found++
  }
  return found
}

/** How many aligned blocks of `size` bytes hold one byte over and over, and are in no file as a whole. */
export function constant(size: u32): u32 {
  const step = size >> 4
  let found: u32 = 0
  for (let block: u32 = 0; block < blocks; block += step) {
    if (<u32>load<u16>(best + ((<usize>block) << 1)) >= size) continue
    const q = sample + ((<usize>block) << 4)
    const a = load<u64>(q)
    let same = rotl(a, 8) === a
    for (let i: usize = 8; same && i < <usize>size; i += 8) same = load<u64>(q + i) === a
    if (same) found++
  }
  return found
}
