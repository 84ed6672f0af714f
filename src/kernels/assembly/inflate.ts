/**
 * Inflate (RFC 1951) that can stop after any symbol and go on from any bit.
 *
 * The caller lays compressed bytes and room for output into this memory and calls `run` again and again. Whatever
 * it returns, the place is exact: `position` is the byte, `bit` the bit in it, where the next symbol begins.
 * To go on from a place inside a block later: put the 32 KiB before it in front of the output, `begin` at the
 * block's header, `run` with no room for output (that reads the header), then `jump` to the place.
 *
 * Behind the input lie PAD readable bytes, behind the output SLACK writable ones: so one loop does for all.
 * Table entries (u32): bits 0-5 bits to consume · 8-9 number of literals, which are in bits 16-31 · 10-13 length of
 * the code without its extra bits · 14 something else: 15 a second table (at bits 16-31, its size in 10-13),
 * 6 end of block, otherwise invalid. Else bits 16-31 are the base of a length or distance.
 * Shifts count modulo 64, so an entry can be a shift count as it is, and `left` (bits in the buffer) is only right modulo 64.
 */

// What `run` returns. Errors have the names that zlib gives them in inflate.ts of the callers.
const ROOM: i32 = 0
const INPUT: i32 = 1
const DONE: i32 = 2
const BAD_BLOCK: i32 = 3
const BAD_STORED: i32 = 4
const BAD_LENGTHS: i32 = 5
const BAD_SYMBOL: i32 = 6
const BAD_DISTANCE: i32 = 7

const HEADER: i32 = 0
const CODED: i32 = 1
const STORED: i32 = 2
const END: i32 = 3

/** A symbol has at most 48 bits and a refill reads 8 bytes beyond; a header has at most 580 bytes. */
const MARGIN: usize = 32
const HEADER_MARGIN: usize = 640

const LITERAL_BITS: u32 = 11
const DISTANCE_BITS: u32 = 8
const CODE_BITS: u32 = 7
const SECOND: u64 = 0x8000
const OTHER: u64 = 0x4000
const END_OF_BLOCK: u32 = 0x4040
const INVALID: u32 = 0x4080

const literals: usize = memory.data(2342 * 4, 64)
const distances: usize = memory.data(402 * 4, 64)
const codes: usize = memory.data(128 * 4, 64)
const lengths: usize = memory.data(512, 16)
const sorted: usize = memory.data(320 * 2, 16)
const counts: usize = memory.data(16 * 4, 16)
const starts: usize = memory.data(17 * 4, 16)
const order = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])
const lengthBase = memory.data<u16>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
])
const lengthExtra = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
])
/** For distances under 16: how the first bytes repeat in 16, and how far 16 bytes go without breaking the period. */
const patterns: usize = memory.data(16 * 16, 16)
const strides: usize = memory.data(16, 16)

let mode: i32 = HEADER
let last: bool = false
let storedLeft: u32 = 0
let fixedTables: bool = false
let at: usize = 0
let bits: u32 = 0
let to: usize = 0
let headerAt: usize = 0
let headerBit: u32 = 0

export function setup(): void {
  for (let distance: u32 = 1; distance < 16; distance++) {
    for (let i: u32 = 0; i < 16; i++) store<u8>(patterns + distance * 16 + i, i % distance)
    store<u8>(strides + distance, 16 - (16 % distance))
  }
}

/** A stream, or one of its blocks, begins at the next `run`. */
export function begin(): void {
  mode = HEADER
}

/** After its header was read: go on inside the block. `stored` is what is left of it if it is a stored one. */
export function jump(stored: u32): void {
  storedLeft = stored
}

export function position(): usize {
  return at
}
export function bit(): u32 {
  return bits
}
export function output(): usize {
  return to
}
/** Where the header of the block was found; 0 if not in the last `run`. */
export function blockAt(): usize {
  return headerAt
}
export function blockBit(): u32 {
  return headerBit
}
/** 0 between blocks, 1 in a coded one, 2 in a stored one, 3 after the last. */
export function inside(): i32 {
  return mode
}
export function storedRest(): u32 {
  return storedLeft
}

/**
 * Decodes from bit `bitAt` of byte `from` until the output reaches `stop` (a match may end up to 258 bytes beyond), the stream
 * ends, or fewer than the margin of bytes are left before `end` and more can come (`more`). Matches reach back to `history`.
 */
export function run(
  from: usize,
  bitAt: u32,
  end: usize,
  more: bool,
  out: usize,
  stop: usize,
  history: usize,
): i32 {
  at = from
  bits = bitAt
  to = out
  headerAt = 0
  while (true) {
    if (mode === HEADER) {
      if (more && at + HEADER_MARGIN > end) return INPUT
      const status = header(end)
      if (status !== ROOM) return status
    }
    if (mode === CODED) {
      const status = decode(end, more, stop, history)
      if (status !== DONE) return status
    } else {
      const status = copyStored(end, stop)
      if (status !== DONE) return status
    }
    mode = last ? END : HEADER
    if (last) return DONE
  }
}

function copyStored(end: usize, stop: usize): i32 {
  const room: usize = to < stop ? stop - to : 0
  const input: usize = at < end ? end - at : 0
  const n = min(<usize>storedLeft, min(room, input))
  memory.copy(to, at, n)
  to += n
  at += n
  storedLeft -= <u32>n
  if (storedLeft === 0) return DONE
  return to >= stop ? ROOM : INPUT
}

/** Takes `n` bits (32 at most) in the slow way. */
function take(n: u32): u32 {
  const value = <u32>((load<u64>(at) >> bits) & ((1 << (<u64>n)) - 1))
  const total = bits + n
  at += total >> 3
  bits = total & 7
  return value
}

/** Reads the header of a block and builds its tables. */
function header(end: usize): i32 {
  headerAt = at
  headerBit = bits
  last = take(1) !== 0
  const type = take(2)
  if (type === 0) {
    if (bits > 0) {
      at++
      bits = 0
    }
    const length = take(16)
    if ((length ^ take(16)) !== 0xffff) return at > end ? INPUT : BAD_STORED
    if (at > end) return INPUT
    storedLeft = length
    mode = STORED
    return ROOM
  }
  if (type === 3) return at > end ? INPUT : BAD_BLOCK
  if (type === 1) {
    if (!fixedTables) {
      memory.fill(lengths, 8, 144)
      memory.fill(lengths + 144, 9, 112)
      memory.fill(lengths + 256, 7, 24)
      memory.fill(lengths + 280, 8, 8)
      build(lengths, 288, literals, LITERAL_BITS, 0)
      pairLiterals()
      memory.fill(lengths, 5, 32)
      build(lengths, 32, distances, DISTANCE_BITS, 1)
      fixedTables = true
    }
  } else {
    fixedTables = false
    if (!dynamic()) return at > end ? INPUT : BAD_LENGTHS
  }
  mode = CODED
  return at > end ? INPUT : ROOM
}

function dynamic(): bool {
  const literalCount = take(5) + 257
  const distanceCount = take(5) + 1
  const codeCount = take(4) + 4
  if (literalCount > 286 || distanceCount > 30) return false
  memory.fill(lengths, 0, 19)
  for (let i: u32 = 0; i < codeCount; i++) store<u8>(lengths + load<u8>(order + i), <u8>take(3))
  if (!build(lengths, 19, codes, CODE_BITS, 2)) return false
  const count = literalCount + distanceCount
  let i: u32 = 0
  while (i < count) {
    const entry = load<u32>(codes + (((load<u32>(at) >> bits) & 127) << 2))
    if (entry & <u32>OTHER) return false
    take(entry & 63)
    const symbol = entry >> 16
    if (symbol < 16) {
      store<u8>(lengths + i, <u8>symbol)
      i++
      continue
    }
    let value: u8 = 0
    let repeat: u32
    if (symbol === 16) {
      if (i === 0) return false
      value = load<u8>(lengths + i - 1)
      repeat = 3 + take(2)
    } else repeat = symbol === 17 ? 3 + take(3) : 11 + take(7)
    if (i + repeat > count) return false
    memory.fill(lengths + i, value, repeat)
    i += repeat
  }
  if (load<u8>(lengths + 256) === 0) return false
  if (!build(lengths, literalCount, literals, LITERAL_BITS, 0)) return false
  pairLiterals()
  return build(lengths + literalCount, distanceCount, distances, DISTANCE_BITS, 1)
}

/** What the table says for a symbol whose code has `length` bits here. Kinds: 0 literals and lengths, 1 distances, 2 code lengths. */
function entryFor(kind: i32, symbol: u32, length: u32): u32 {
  if (kind === 0) {
    if (symbol < 256) return (symbol << 16) | 0x100 | length
    if (symbol === 256) return END_OF_BLOCK | length
    if (symbol > 285) return INVALID | length
    const extra = <u32>load<u8>(lengthExtra + symbol - 257)
    const base = <u32>load<u16>(lengthBase + ((symbol - 257) << 1))
    return (base << 16) | (length << 10) | (length + extra)
  }
  if (kind === 1) {
    if (symbol > 29) return INVALID | length
    const extra: u32 = symbol < 4 ? 0 : (symbol >> 1) - 1
    const base: u32 = symbol < 4 ? symbol + 1 : ((2 + (symbol & 1)) << extra) + 1
    return (base << 16) | (length << 10) | (length + extra)
  }
  return (symbol << 16) | length
}

/** Builds a table; false where zlib would refuse the lengths: codes too many, or too few (but for a single one of one bit). */
function build(lens: usize, n: u32, table: usize, tableBits: u32, kind: i32): bool {
  memory.fill(counts, 0, 64)
  for (let i: u32 = 0; i < n; i++) {
    const slot = counts + ((<usize>load<u8>(lens + i)) << 2)
    store<u32>(slot, load<u32>(slot) + 1)
  }
  let longest: u32 = 15
  while (longest > 0 && load<u32>(counts + (longest << 2)) === 0) longest--
  let left: i32 = 1
  let start: u32 = 0
  for (let length: u32 = 1; length <= 15; length++) {
    left = (left << 1) - load<i32>(counts + (length << 2))
    if (left < 0) return false
    store<u32>(starts + (length << 2), start)
    start += load<u32>(counts + (length << 2))
  }
  const size: u32 = 1 << tableBits
  if (left > 0) {
    if (longest > 0 && (kind === 2 || longest !== 1)) return false
    for (let i: u32 = 0; i < size; i++) store<u32>(table + (i << 2), INVALID | 1)
    if (longest === 0) return true
  }
  for (let i: u32 = 0; i < n; i++) {
    const length = <u32>load<u8>(lens + i)
    if (length === 0) continue
    const slot = starts + (length << 2)
    const place = load<u32>(slot)
    store<u16>(sorted + (place << 1), <u16>i)
    store<u32>(slot, place + 1)
  }
  let code: u32 = 0 // with its bits reversed
  let next: u32 = 0
  let free: u32 = size // where the next second table goes
  let prefix: u32 = 0xffffffff
  let second: u32 = 0
  let secondBits: u32 = 0
  for (let length: u32 = 1; length <= longest; length++) {
    for (let remaining = load<u32>(counts + (length << 2)); remaining > 0; remaining--) {
      const symbol = <u32>load<u16>(sorted + (next << 1))
      next++
      if (length <= tableBits) {
        const entry = entryFor(kind, symbol, length)
        for (let i = code; i < size; i += 1 << length) store<u32>(table + (i << 2), entry)
      } else {
        if ((code & (size - 1)) !== prefix) {
          prefix = code & (size - 1)
          second = free
          secondBits = length - tableBits
          let used = remaining
          while (used < (<u32>1) << secondBits) {
            secondBits++
            used = (used << 1) + load<u32>(counts + ((tableBits + secondBits) << 2))
          }
          free += 1 << secondBits
          store<u32>(
            table + (prefix << 2),
            (second << 16) | (secondBits << 10) | <u32>OTHER | <u32>SECOND | tableBits,
          )
        }
        const entry = entryFor(kind, symbol, length - tableBits)
        for (let i = code >> tableBits; i < (<u32>1) << secondBits; i += 1 << (length - tableBits))
          store<u32>(table + ((second + i) << 2), entry)
      }
      let bit: u32 = 1 << (length - 1)
      while (code & bit) bit >>= 1
      code = bit ? (code & (bit - 1)) | bit : 0
    }
  }
  return true
}

/** Two literals whose codes fit the table together get one entry. */
function pairLiterals(): void {
  for (let i: i32 = (1 << LITERAL_BITS) - 1; i >= 0; i--) {
    const first = load<u32>(literals + ((<usize>i) << 2))
    if ((first & 0x300) !== 0x100) continue
    const used = first & 63
    const second = load<u32>(literals + ((<usize>(<u32>i >> used)) << 2))
    if ((second & 0x300) !== 0x100 || (i === 0 && used === 0)) continue
    const total = used + (second & 63)
    if (total > LITERAL_BITS) continue
    store<u32>(literals + ((<usize>i) << 2), (first & 0xff0000) | ((second & 0xff0000) << 8) | 0x200 | total)
  }
}

function decode(end: usize, more: bool, stop: usize, history: usize): i32 {
  let input = at
  let out = to
  let buffer: u64 = load<u64>(input) >> bits
  let left: u64 = 56 - <u64>(bits & 7) + 0
  let status = ROOM
  const inputStop = more ? end - MARGIN : end + 8
  input += 7
  // The buffer now holds the bits of bytes up to `input`: 56 less those already used.
  while (true) {
    if (out >= stop) break
    if (input > inputStop) {
      status = INPUT
      break
    }
    buffer |= load<u64>(input) << left
    input += <usize>(((left ^ 63) & 63) >> 3)
    left |= 56
    let entry: u64 = load<u32>(literals + ((<usize>(buffer & 2047)) << 2))
    let n = (entry >> 8) & 3
    if (n) {
      store<u16>(out, <u16>(entry >> 16))
      out += <usize>n
      buffer >>= entry
      left -= entry
      entry = load<u32>(literals + ((<usize>(buffer & 2047)) << 2))
      n = (entry >> 8) & 3
      if (n) {
        store<u16>(out, <u16>(entry >> 16))
        out += <usize>n
        buffer >>= entry
        left -= entry
        entry = load<u32>(literals + ((<usize>(buffer & 2047)) << 2))
        n = (entry >> 8) & 3
        if (n) {
          store<u16>(out, <u16>(entry >> 16))
          out += <usize>n
          buffer >>= entry
          left -= entry
          continue
        }
      }
    }
    // Not a literal of the first table. 22 of 56 bits are used at most.
    const keptBuffer = buffer
    const keptLeft = left
    if (entry & OTHER) {
      if (entry & SECOND) {
        buffer >>= entry
        left -= entry
        const index = (entry >> 16) + (buffer & ((1 << ((entry >> 10) & 15)) - 1))
        entry = load<u32>(literals + ((<usize>index) << 2))
        if (entry & 0x300) {
          store<u8>(out, <u8>(entry >> 16))
          out++
          buffer >>= entry
          left -= entry
          continue
        }
      }
      if (entry & OTHER) {
        if ((entry & 0x40) === 0) {
          buffer = keptBuffer
          left = keptLeft
          status = BAD_SYMBOL
          break
        }
        buffer >>= entry
        left -= entry
        status = DONE
        break
      }
    }
    let length = <usize>(entry >> 16) + <usize>((buffer & ((1 << (entry & 63)) - 1)) >> ((entry >> 10) & 15))
    buffer >>= entry
    left -= entry
    if ((left & 63) < 28) {
      buffer |= load<u64>(input) << left
      input += <usize>(((left ^ 63) & 63) >> 3)
      left |= 56
    }
    entry = load<u32>(distances + ((<usize>(buffer & 255)) << 2))
    if (entry & OTHER) {
      if (entry & SECOND) {
        buffer >>= entry
        left -= entry
        const index = (entry >> 16) + (buffer & ((1 << ((entry >> 10) & 15)) - 1))
        entry = load<u32>(distances + ((<usize>index) << 2))
      }
      if (entry & OTHER) {
        status = BAD_DISTANCE
        break
      }
    }
    const distance =
      <usize>(entry >> 16) + <usize>((buffer & ((1 << (entry & 63)) - 1)) >> ((entry >> 10) & 15))
    buffer >>= entry
    left -= entry
    if (distance > out - history) {
      status = BAD_DISTANCE
      break
    }
    let source = out - distance
    let target = out
    out += length
    if (distance >= 16) {
      v128.store(target, v128.load(source))
      if (length > 16) {
        v128.store(target + 16, v128.load(source + 16))
        if (length > 32) {
          target += 32
          source += 32
          do {
            v128.store(target, v128.load(source))
            target += 16
            source += 16
          } while (target < out)
        }
      }
    } else {
      const value = i8x16.swizzle(v128.load(source), v128.load(patterns + (distance << 4)))
      const stride = <usize>load<u8>(strides + distance)
      do {
        v128.store(target, value)
        target += stride
      } while (target < out)
    }
  }
  // Whole bytes that were not used go back.
  const rest = <u32>(left & 63)
  at = input - (rest >> 3)
  bits = (8 - (rest & 7)) & 7
  if (bits !== 0) at--
  to = out
  // Beyond the end there are only zeros: what came of them is not of the stream.
  if (!more && (at > end || (at === end && bits > 0))) return INPUT
  return status
}

/** Adler-32 of `length` bytes at `from`, which goes on from `sum`. */
export function adler(sum: u32, from: usize, length: usize): u32 {
  let a = sum & 0xffff
  let b = sum >> 16
  const weights = i8x16(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
  const low = i16x8.extend_low_i8x16_s(weights)
  const high = i16x8.extend_high_i8x16_s(weights)
  while (length > 0) {
    let n = min(length, <usize>5552)
    length -= n
    if (n >= 16) {
      const blocks = <u32>(n >> 4)
      let sums = i32x4.splat(0)
      let before = i32x4.splat(0)
      let weighted = i32x4.splat(0)
      for (let i: u32 = 0; i < blocks; i++) {
        const bytes = v128.load(from)
        before = i32x4.add(before, sums)
        sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(bytes)))
        weighted = i32x4.add(weighted, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(bytes), low))
        weighted = i32x4.add(weighted, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(bytes), high))
        from += 16
      }
      b += a * (blocks << 4) + (across(before) << 4) + across(weighted)
      a += across(sums)
      n &= 15
    }
    for (; n > 0; n--) {
      a += load<u8>(from++)
      b += a
    }
    a %= 65521
    b %= 65521
  }
  return (b << 16) | a
}

function across(v: v128): u32 {
  return (
    i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3)
  )
}
