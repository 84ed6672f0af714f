/**
 * UTF-8 to UTF-16, UTF-32 and Latin-1.
 *
 * A *boundary* is a position at which a character begins. What is not UTF-8 is read as WHATWG says: each maximal
 * part of a sequence that can't be completed is one U+FFFD. So a boundary can be told from the four bytes around it.
 *
 * The target is T: u8 (Latin-1), u16 or u32.
 *
 * Valid text goes 12 bytes at a time: a table says, for each pattern of character ends in 12 bytes, how the bytes of
 * the next six characters (of at most two bytes), four (of at most three) or three are to be spread over lanes.
 */

/** Where the last call stopped: the first boundary at or after the end it was given. */
export let next: usize = 0
/** Whether the last call met a character that the target does not have: it stopped there. */
export let foreign: bool = false

export function setNext(at: usize): void {
  next = at
}
export function setForeign(is: bool): void {
  foreign = is
}

const SIXES: u32 = 64
const FOURS: u32 = 64 + 81
const NONE: u32 = 64 + 81 + 64
/** 16 bytes for each way to spread characters: which byte goes where. */
const spreads: usize = memory.data(209 * 16, 16)
/** For each of 4096 patterns of ends: bytes consumed, and 16 times the spread. */
const patterns: usize = memory.data(4096 * 2, 16)
const padded: usize = memory.data(48, 16)

/** Bytes of character `i` from the ends in `mask`; 0 if it is not whole. */
function lengthOf(mask: u32, from: u32): u32 {
  const rest = mask >> from
  return rest == 0 ? 0 : ctz(rest) + 1
}

/** Whether `count` characters of at most `most` bytes begin `mask`. */
function fits(mask: u32, count: i32, most: u32): bool {
  let at: u32 = 0
  for (let i = 0; i < count; i++) {
    const length = lengthOf(mask, at)
    if (length == 0 || length > most) return false
    at += length
  }
  return true
}

/** Writes the spread of `count` characters over lanes of `lane` bytes, last byte first; bytes consumed. */
function spread(mask: u32, count: i32, lane: i32, to: usize): u32 {
  memory.fill(to, 0x80, 16)
  let at: u32 = 0
  for (let i = 0; i < count; i++) {
    const length = lengthOf(mask, at)
    for (let b: u32 = 0; b < length; b++) store<u8>(to + i * lane + b, <u8>(at + length - 1 - b))
    at += length
  }
  return at
}

/** The number of a pattern among those of `count` characters of up to `most` bytes. */
function rank(mask: u32, count: i32, most: u32): u32 {
  let at: u32 = 0
  let sum: u32 = 0
  for (let i = 0; i < count; i++) {
    const length = lengthOf(mask, at)
    sum = sum * most + length - 1
    at += length
  }
  return sum
}

export function makeTables(): void {
  for (let mask: u32 = 0; mask < 4096; mask++) {
    let entry: u32 = NONE << 4
    if (fits(mask, 6, 2)) {
      const way = rank(mask, 6, 2)
      entry = (way << 4) | spread(mask, 6, 2, spreads + 16 * way)
    } else if (fits(mask, 4, 3)) {
      const way = SIXES + rank(mask, 4, 3)
      entry = (way << 4) | spread(mask, 4, 4, spreads + 16 * way)
    } else if (fits(mask, 3, 4)) {
      const way = FOURS + rank(mask, 3, 4)
      entry = (way << 4) | spread(mask, 3, 4, spreads + 16 * way)
    }
    store<u16>(patterns + 2 * mask, <u16>entry)
  }
}

let stepped: usize = 0

/** The character at `at`, and where the next begins in `stepped`. Nothing is read from `limit` on. */
export function step(at: usize, limit: usize): u32 {
  const lead = <u32>load<u8>(at)
  stepped = at + 1
  if (lead < 0x80) return lead
  if (lead < 0xc2 || lead > 0xf4) return 0xfffd
  let low: u32 = 0x80
  let high: u32 = 0xbf
  if (lead == 0xe0) low = 0xa0
  else if (lead == 0xed) high = 0x9f
  else if (lead == 0xf0) low = 0x90
  else if (lead == 0xf4) high = 0x8f
  let more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3
  let point = lead & (0x3f >> more)
  while (more > 0) {
    if (stepped >= limit) return 0xfffd
    const byte = <u32>load<u8>(stepped)
    if (byte < low || byte > high) return 0xfffd
    low = 0x80
    high = 0xbf
    point = (point << 6) | (byte & 0x3f)
    stepped++
    more--
  }
  return point
}

function emit<T>(point: u32, out: usize): usize {
  if (sizeof<T>() == 4) {
    store<u32>(out, point)
    return out + 4
  }
  if (sizeof<T>() == 1) {
    store<u8>(out, <u8>point)
    return out + 1
  }
  if (point < 0x10000) {
    store<u16>(out, <u16>point)
    return out + 2
  }
  store<u32>(out, (0xd800 + ((point - 0x10000) >> 10)) | ((0xdc00 + (point & 0x3ff)) << 16))
  return out + 4
}

/** Any bytes: the characters that begin before `end`; the end of what was written. */
export function careful<T>(at: usize, end: usize, limit: usize, out: usize): usize {
  foreign = false
  while (at < end) {
    const point = step(at, limit)
    if (sizeof<T>() == 1 && point > 0xff) {
      foreign = true
      break
    }
    out = emit<T>(point, out)
    at = stepped
  }
  next = at
  return out
}

/** Valid text that begins and ends at a boundary. Writes up to 64 bytes too many. */
export function fast<T>(at: usize, end: usize, out: usize): usize {
  let ends: u64 = 0
  // Pieces that start here or before have all 12 bits of their pattern in `ends`, or lack the last, which makes them shorter.
  let last = at
  for (;;) {
    if (at >= last) {
      if (at + 64 > end) break
      const a = v128.load(at)
      const b = v128.load(at, 16)
      const c = v128.load(at, 32)
      const d = v128.load(at, 48)
      const all = v128.or(v128.or(a, b), v128.or(c, d))
      if (!v128.any_true(v128.and(all, i8x16.splat(-128)))) {
        ascii<T>(d, ascii<T>(c, ascii<T>(b, ascii<T>(a, out))))
        out += 64 * sizeof<T>()
        at += 64
        last = at
        continue
      }
      ends =
        ~(
          continuations(a) |
          (continuations(b) << 16) |
          (continuations(c) << 32) |
          (continuations(d) << 48)
        ) >> 1
      last = at + 53
    }
    const v = v128.load(at)
    if ((ends & 0xffff) == 0xffff) {
      out = ascii<T>(v, out)
      at += 16
      ends >>= 16
      continue
    }
    const pattern = <usize>(ends & 0xfff)
    if (sizeof<T>() > 1 && pattern == 0x924) {
      // Four of three bytes, as Chinese is from end to end: nothing to look up, so nothing to wait for.
      const p = i8x16.swizzle(v, i8x16(2, 1, 0, 16, 5, 4, 3, 16, 8, 7, 6, 16, 11, 10, 9, 16))
      out = threes<T>(p, out)
      at += 12
      ends >>= 12
      continue
    }
    const entry = <u32>load<u16>(patterns + 2 * pattern)
    const way = entry >> 4
    if (way == NONE) {
      // Longer than what is left of `ends`, or not valid text after all.
      if (last == at + 53) break
      last = at
      continue
    }
    at += entry & 15
    ends >>= entry & 15
    if (way < SIXES) {
      const p = i8x16.swizzle(v, v128.load(spreads + 16 * <usize>way))
      const lanes = v128.or(v128.and(p, i16x8.splat(0x7f)), i16x8.shr_u(v128.and(p, i16x8.splat(0x1f00)), 2))
      if (sizeof<T>() == 2) {
        v128.store(out, lanes)
        out += 12
      } else if (sizeof<T>() == 4) {
        v128.store(out, i32x4.extend_low_i16x8_u(lanes))
        v128.store(out, i32x4.extend_high_i16x8_u(lanes), 16)
        out += 24
      } else {
        v128.store(out, i8x16.narrow_i16x8_u(lanes, lanes))
        out += 6
      }
    } else if (way < FOURS) {
      out = threes<T>(i8x16.swizzle(v, v128.load(spreads + 16 * <usize>way)), out)
    } else {
      const p = i8x16.swizzle(v, v128.load(spreads + 16 * <usize>way))
      // The third byte from the end is a continuation, or the lead of three: then its bit 6 is set, and bit 5 too much.
      const third = v128.xor(
        v128.and(p, i32x4.splat(0x3f0000)),
        i32x4.shr_u(v128.and(p, i32x4.splat(0x400000)), 1),
      )
      const lanes = v128.or(
        v128.or(v128.and(p, i32x4.splat(0x7f)), i32x4.shr_u(v128.and(p, i32x4.splat(0x3f00)), 2)),
        v128.or(i32x4.shr_u(third, 4), i32x4.shr_u(v128.and(p, i32x4.splat(0x07000000)), 6)),
      )
      if (sizeof<T>() == 4) {
        v128.store(out, lanes)
        out += 12
      } else {
        out = emit<T>(i32x4.extract_lane(lanes, 0), out)
        out = emit<T>(i32x4.extract_lane(lanes, 1), out)
        out = emit<T>(i32x4.extract_lane(lanes, 2), out)
      }
    }
  }
  return careful<T>(at, end, end, out)
}

/** Four characters of at most three bytes, spread over lanes. */
function threes<T>(p: v128, out: usize): usize {
  const lanes = v128.or(
    v128.or(v128.and(p, i32x4.splat(0x7f)), i32x4.shr_u(v128.and(p, i32x4.splat(0x3f00)), 2)),
    i32x4.shr_u(v128.and(p, i32x4.splat(0x0f0000)), 4),
  )
  if (sizeof<T>() == 4) v128.store(out, lanes)
  else {
    const half = i16x8.narrow_i32x4_u(lanes, lanes)
    // Latin-1 comes here too: when the last end of six characters of two bytes is not known yet.
    v128.store(out, sizeof<T>() == 2 ? half : i8x16.narrow_i16x8_u(half, half))
  }
  return out + 4 * sizeof<T>()
}

function continuations(v: v128): u64 {
  return <u64>i8x16.bitmask(i8x16.lt_s(v, i8x16.splat(-64)))
}

function ascii<T>(v: v128, out: usize): usize {
  if (sizeof<T>() == 1) {
    v128.store(out, v)
    return out + 16
  }
  const low = i16x8.extend_low_i8x16_u(v)
  const high = i16x8.extend_high_i8x16_u(v)
  if (sizeof<T>() == 2) {
    v128.store(out, low)
    v128.store(out, high, 16)
    return out + 32
  }
  v128.store(out, i32x4.extend_low_i16x8_u(low))
  v128.store(out, i32x4.extend_high_i16x8_u(low), 16)
  v128.store(out, i32x4.extend_low_i16x8_u(high), 32)
  v128.store(out, i32x4.extend_high_i16x8_u(high), 48)
  return out + 64
}

/** The first boundary at or after `end`, where `at` is one before it. */
function boundary(at: usize, end: usize, limit: usize): usize {
  if (end >= limit) return limit
  for (let back: usize = 1; back <= 3 && at + back <= end; back++) {
    const byte = load<u8>(end - back)
    if ((byte & 0xc0) == 0x80) continue
    step(end - back, limit)
    return max(end, stepped)
  }
  return end
}

const TOO_SHORT: i8 = 1
const TOO_LONG: i8 = 2
const OVERLONG_3: i8 = 4
const TOO_LARGE: i8 = 8
const SURROGATE: i8 = 16
const OVERLONG_2: i8 = 32
const OVERLONG_4: i8 = 64 // and too large with a second nibble of 8
const TWO_CONTINUATIONS: i8 = -128
const CARRY: i8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS
const BIG: i8 = CARRY | TOO_LARGE | OVERLONG_4

/** The bits of an error in a vector of bytes that follow `before` (Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte"). */
function faults(v: v128, before: v128): v128 {
  const one = i8x16.shuffle(before, v, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
  const two = i8x16.shuffle(before, v, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
  const three = i8x16.shuffle(before, v, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28)
  const firstHigh = i8x16.swizzle(
    // prettier-ignore
    i8x16(
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TOO_LONG,
      TWO_CONTINUATIONS,
      TWO_CONTINUATIONS,
      TWO_CONTINUATIONS,
      TWO_CONTINUATIONS,
      TOO_SHORT | OVERLONG_2,
      TOO_SHORT,
      TOO_SHORT | OVERLONG_3 | SURROGATE,
      TOO_SHORT | TOO_LARGE | OVERLONG_4,
    ),
    i8x16.shr_u(one, 4),
  )
  const firstLow = i8x16.swizzle(
    // prettier-ignore
    i8x16(
      CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4,
      CARRY | OVERLONG_2,
      CARRY,
      CARRY,
      CARRY | TOO_LARGE,
      BIG,
      BIG,
      BIG,
      BIG,
      BIG,
      BIG,
      BIG,
      BIG,
      BIG | SURROGATE,
      BIG,
      BIG,
    ),
    v128.and(one, i8x16.splat(15)),
  )
  const secondHigh = i8x16.swizzle(
    // prettier-ignore
    i8x16(
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | OVERLONG_4,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
      TOO_SHORT,
    ),
    i8x16.shr_u(v, 4),
  )
  const special = v128.and(v128.and(firstHigh, firstLow), secondHigh)
  const must = v128.or(i8x16.sub_sat_u(two, i8x16.splat(0x60)), i8x16.sub_sat_u(three, i8x16.splat(0x70)))
  return v128.xor(v128.and(must, i8x16.splat(-128)), special)
}

/** Whether [at, end), which begins at a boundary, is valid and ends with a whole character. */
export function valid(at: usize, end: usize): bool {
  let before = i8x16.splat(0)
  let errors = i8x16.splat(0)
  let wasAscii = true
  for (let more = true; more; at += 16) {
    let from = at
    if (at + 16 > end) {
      // The rest, and zeros: they end what is not complete.
      memory.fill(padded, 0, 16)
      memory.copy(padded, at, end - at)
      from = padded
      more = false
    }
    const v = v128.load(from)
    const isAscii = !v128.any_true(v128.and(v, i8x16.splat(-128)))
    if (!(isAscii && wasAscii)) errors = v128.or(errors, faults(v, before))
    wasAscii = isAscii
    before = v
  }
  return !v128.any_true(errors)
}

function units<T>(point: u32): u32 {
  return sizeof<T>() == 2 && point >= 0x10000 ? 2 : 1
}

/**
 * How many units of the target the characters make that begin in [at, end). `isFast` then says whether they are
 * valid, so that the fast function may convert them up to `next`.
 */
export let isFast: bool = false

export function measure<T>(at: usize, end: usize, limit: usize): u32 {
  const stop = boundary(at, end, limit)
  foreign = false
  isFast = valid(at, stop) && !(sizeof<T>() == 1 && above(at, stop, 0xc3))
  if (isFast) {
    next = stop
    return count<T>(at, stop)
  }
  let sum: u32 = 0
  while (at < end) {
    const point = step(at, limit)
    if (sizeof<T>() == 1 && point > 0xff) {
      foreign = true
      break
    }
    sum += units<T>(point)
    at = stepped
  }
  next = at
  return sum
}

function above(at: usize, end: usize, most: u8): bool {
  for (; at + 16 <= end; at += 16)
    if (v128.any_true(i8x16.gt_u(v128.load(at), i8x16.splat(<i8>most)))) return true
  for (; at < end; at++) if (load<u8>(at) > most) return true
  return false
}

function count<T>(at: usize, end: usize): u32 {
  let sum: u32 = 0
  for (; at + 16 <= end; at += 16) {
    const v = v128.load(at)
    sum += popcnt(i8x16.bitmask(i8x16.gt_s(v, i8x16.splat(-65))))
    if (sizeof<T>() == 2) sum += popcnt(i8x16.bitmask(i8x16.gt_u(v, i8x16.splat(-17))))
  }
  for (; at < end; at++) {
    const byte = load<u8>(at)
    if ((byte & 0xc0) != 0x80) sum += units<T>(byte >= 0xf0 ? 0x10000 : 0)
  }
  return sum
}
