/**
 * Anchors: the positions that memory and files agree on without talking to each other.
 *
 * Position p is an anchor when the top 8 bits of a hash of the 8 bytes at p are zero and the bytes there do
 * not repeat with a period of 8 or less. Every position is hashed on its own (four 16-bit products, summed), four
 * to a vector. An anchor's *level* is the number of further leading zero bits: the anchors of level 1 and up
 * are half of all, and so on, so a coarser rule picks a subset of a finer one. Its *tag* is a 32-bit hash of
 * the 32 bytes at p. All rules look at content only, never at where the content lies.
 *
 * A window of 2048 positions without an anchor (one byte repeated, one line repeated) gives a *forced* anchor:
 * the position with the smallest hash. Where content repeats with a period up to 2048 every such window
 * has the same smallest hash, so memory and file still meet. If that hash occurs up to MOST_ECHOES times in the window,
 * all its occurrences are *echoes*: a second sequence of anchors, told apart by their surroundings.
 *
 * Record, 12 bytes: u32 tag · u32 position, low · u16 position, high · u8 level · u8 kind
 * Kinds: 0 anchor · 1 forced · 2 forced, run of 32 KiB · 3 forced, run of 1 MiB · 4 echo
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

const M1: u32 = 0x9e3779b1
const M2: u32 = 0x85ebca6b
const ADD: u32 = 0x5bd1e995

export const RECORD: usize = 12
export const WINDOW: i32 = 2048
/** Windows count as without anchors if they have none of the index's level, up to this: beyond, most have none. */
const GAP_LEVEL: u32 = 2
/** More than half of a window of 8-byte numbers: of two or three different ones, as flags are, one is that frequent. */
const MOST_ECHOES: i32 = 160

// Loaded from memory, not spelled as constants: V8 makes a vector constant anew at every use, which took
// two thirds of the time.
export const FACTORS: usize = memory.data<u32>([M1, M1, M1, M1, M2, M2, M2, M2, ADD, ADD, ADD, ADD], 16)

export function hashFour(p: usize, m1: v128, m2: v128, add: v128): v128 {
  return i32x4.shl(
    i32x4.add(i32x4.add(i32x4.dot_i16x8_s(v128.load(p), m1), i32x4.dot_i16x8_s(v128.load(p, 4), m2)), add),
    9,
  )
}

function halves(p: usize, m: u32): i32 {
  return <i32>load<i16>(p) * <i32>(<i16>m) + <i32>load<i16>(p, 2) * (<i32>m >> 16)
}

export function hashOne(p: usize): u32 {
  return <u32>((halves(p, M1) + halves(p + 4, M2) + <i32>ADD) << 9)
}

/** The 32-bit tag of the 32 bytes at p. */
export function tagAt(p: usize): u32 {
  const M: u64 = 0x9e3779b97f4a7c15
  let a: u64 = (load<u64>(p) ^ 0x2545f4914f6cdd1d) * M
  let b: u64 = (load<u64>(p, 16) ^ 0xd6e8feb86659fd93) * M
  a = (rotl(a, 31) ^ load<u64>(p, 8)) * 0xbf58476d1ce4e5b9
  b = (rotl(b, 29) ^ load<u64>(p, 24)) * 0x94d049bb133111eb
  let h = rotl(a, 27) + b
  h = (h ^ (h >> 32)) * M
  return <u32>(h >> 32)
}

export function repeats(p: usize): bool {
  const a = v128.load(p)
  for (let d: usize = 1; d <= 8; d++) if (!v128.any_true(v128.xor(a, v128.load(p + d)))) return true
  return false
}

function write(out: usize, tag: u32, position: u64, level: u32, kind: u32): void {
  store<u32>(out, tag)
  store<u32>(out, <u32>position, 4)
  store<u32>(out, <u32>(position >> 32) | (level << 16) | (kind << 24), 8)
}

function anchorsOf16(p: usize, end: usize, toPosition: u64, out: usize): usize {
  const m1 = v128.load(FACTORS)
  const m2 = v128.load(FACTORS, 16)
  const add = v128.load(FACTORS, 32)
  const zero = i32x4.splat(0)
  const c0 = i32x4.eq(i32x4.shr_u(hashFour(p, m1, m2, add), 24), zero)
  const c1 = i32x4.eq(i32x4.shr_u(hashFour(p + 1, m1, m2, add), 24), zero)
  const c2 = i32x4.eq(i32x4.shr_u(hashFour(p + 2, m1, m2, add), 24), zero)
  const c3 = i32x4.eq(i32x4.shr_u(hashFour(p + 3, m1, m2, add), 24), zero)
  const lanes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(c0, c1), i16x8.narrow_i32x4_s(c2, c3))
  let mask = i8x16.bitmask(i8x16.shuffle(lanes, lanes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))
  while (mask) {
    const q = p + <usize>ctz(mask)
    mask &= mask - 1
    if (q >= end) break
    if (repeats(q)) continue
    write(out, tagAt(q), <u64>q + toPosition, clz(hashOne(q)) - 8, 0)
    out += RECORD
  }
  return out
}

/**
 * Writes the records of all anchors among `positions` positions from `at`, whose position is their address
 * plus `toPosition`. Reads up to 64 bytes beyond. Gives the end of what it wrote.
 */
export function sample(at: usize, positions: i32, toPosition: u64, out: usize): usize {
  const m1 = v128.load(FACTORS)
  const m2 = v128.load(FACTORS, 16)
  const add = v128.load(FACTORS, 32)
  const end = at + <usize>positions
  for (let p = at; p < end; p += 16) {
    const low = i32x4.min_u(
      i32x4.min_u(hashFour(p, m1, m2, add), hashFour(p + 1, m1, m2, add)),
      i32x4.min_u(hashFour(p + 2, m1, m2, add), hashFour(p + 3, m1, m2, add)),
    )
    if (!i32x4.all_true(i32x4.shr_u(low, 24))) out = anchorsOf16(p, end, toPosition, out)
  }
  return out
}

/** The first of the WINDOW positions from `at` whose hash is the smallest. */
export function smallest(at: usize): usize {
  const m1 = v128.load(FACTORS)
  const m2 = v128.load(FACTORS, 16)
  const add = v128.load(FACTORS, 32)
  let low = i32x4.splat(-1)
  for (let p = at; p < at + <usize>WINDOW; p += 16) {
    low = i32x4.min_u(
      low,
      i32x4.min_u(
        i32x4.min_u(hashFour(p, m1, m2, add), hashFour(p + 1, m1, m2, add)),
        i32x4.min_u(hashFour(p + 2, m1, m2, add), hashFour(p + 3, m1, m2, add)),
      ),
    )
  }
  let least: u32 = <u32>i32x4.extract_lane(low, 0)
  least = min(least, <u32>i32x4.extract_lane(low, 1))
  least = min(least, <u32>i32x4.extract_lane(low, 2))
  least = min(least, <u32>i32x4.extract_lane(low, 3))
  let p = at
  while (hashOne(p) != least) p++
  return p
}

let runTag: u32 = 0
let runNext: u64 = 0
let runLength: u64 = 0
let runSecond: u64 = 0

/** Forgets what the last file ended with. */
export function resetRuns(): void {
  runLength = 0
}

/**
 * Writes the records of the positions among `positions` from `at` that hash like the one at p; none if the first
 * WINDOW has more than MOST_ECHOES.
 */
export function echoes(p: usize, at: usize, positions: i32, toPosition: u64, out: usize): usize {
  const least = hashOne(p)
  const begin = out
  const room = out + RECORD * MOST_ECHOES
  const m1 = v128.load(FACTORS)
  const m2 = v128.load(FACTORS, 16)
  const add = v128.load(FACTORS, 32)
  const wanted = i32x4.splat(least)
  for (let q = at; q < at + <usize>positions; q += 16) {
    const c0 = i32x4.eq(hashFour(q, m1, m2, add), wanted)
    const c1 = i32x4.eq(hashFour(q + 1, m1, m2, add), wanted)
    const c2 = i32x4.eq(hashFour(q + 2, m1, m2, add), wanted)
    const c3 = i32x4.eq(hashFour(q + 3, m1, m2, add), wanted)
    if (!v128.any_true(v128.or(v128.or(c0, c1), v128.or(c2, c3)))) continue
    for (let r = q; r < q + 16 && r < at + <usize>positions; r++) {
      if (hashOne(r) != least) continue
      if (out == room) return q < at + <usize>WINDOW ? begin : out
      write(out, tagAt(r), <u64>r + toPosition, 24, 4)
      out += RECORD
    }
  }
  return out
}

/** Writes the records that a window without anchors gives: its echoes, and the first two windows and lengths of a run. */
function force(at: usize, toPosition: u64, out: usize): usize {
  const p = smallest(at)
  const tag = tagAt(p)
  const here = <u64>at + toPosition
  const position = <u64>p + toPosition
  if (runLength && runTag == tag && runNext == here) {
    runLength += WINDOW
  } else {
    if (isBlank(at)) return out
    runTag = tag
    runLength = WINDOW
  }
  runNext = here + WINDOW
  out = echoes(p, at, WINDOW, toPosition, out)
  if (runLength <= 2 * WINDOW) {
    runSecond = position
    write(out, tag, position, 24, 1)
    return out + RECORD
  }
  if (runLength == 32768 || runLength == 1048576) {
    write(out, tag, runSecond, 24, runLength == 32768 ? 2 : 3)
    return out + RECORD
  }
  return out
}

function isBlank(at: usize): bool {
  for (let p = at; p < at + <usize>WINDOW; p += 16) if (v128.any_true(v128.load(p))) return false
  return true
}

/**
 * Writes the records that a block of a file puts into the index: its anchors of `level` and up, then
 * the forced ones. `spare` is room for the forced ones meanwhile. Gives the end of what it wrote.
 */
export function sampleBlock(
  at: usize,
  positions: i32,
  position: f64,
  level: u32,
  out: usize,
  spare: usize,
): usize {
  const toPosition = <u64>position - <u64>at
  const end = sample(at, positions, toPosition, out)
  const gapLevel = min(level, GAP_LEVEL)
  let gap = at
  let kept = out
  let forced = spare
  for (let r = out; r < end; r += RECORD) {
    const where = load<u32>(r, 4)
    const rest = load<u32>(r, 8)
    const q = <usize>((((<u64>(rest & 0xffff)) << 32) | <u64>where) - toPosition)
    if (((rest >> 16) & 0xff) < gapLevel) continue
    while (q - gap >= <usize>WINDOW) {
      forced = force(gap, toPosition, forced)
      gap += WINDOW
    }
    gap = q + 1
    if (((rest >> 16) & 0xff) < level) continue
    store<u32>(kept, load<u32>(r))
    store<u32>(kept, where, 4)
    store<u32>(kept, rest, 8)
    kept += RECORD
  }
  while (at + <usize>positions >= gap + <usize>WINDOW) {
    forced = force(gap, toPosition, forced)
    gap += WINDOW
  }
  memory.copy(kept, spare, forced - spare)
  return kept + (forced - spare)
}
