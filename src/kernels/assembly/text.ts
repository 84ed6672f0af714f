/**
 * Text from one encoding to another, little endian throughout. Conversions by number, as src/kernels/text.ts lists them.
 *
 * `convert` and `measure` look at the characters that begin in [at, end) and read on to `limit`, where the backing ends
 * or at least four bytes follow. `stopped` says where the next character begins.
 */
import {
  careful,
  fast as fastUtf8,
  foreign,
  isFast,
  makeTables,
  measure as measureUtf8,
  next,
  setForeign,
  setNext,
} from './utf8'

export { encode16, encode32, encodeLatin1, toCrlf, narrow16, widen8, utf32To16 } from './encode'
import { crlf } from './encode'

makeTables()

/** Units of the target made by the characters that begin in [at, end); the scratch at `out` may be written. */
export function measure(conversion: i32, at: usize, end: usize, limit: usize, out: usize): u32 {
  switch (conversion) {
    case 0:
      return measureUtf8<u16>(at, end, limit)
    case 1:
      return measureUtf8<u32>(at, end, limit)
    case 2:
      return measureUtf8<u8>(at, end, limit)
  }
  const bytes = <u32>(convert(conversion, at, end, limit, out, true) - out)
  return conversion == 4 ? bytes >> 2 : bytes
}

/** Whether what was measured may be converted without care: it is valid. */
export function fast(): bool {
  return isFast
}

export function stopped(): usize {
  return next
}

/** Whether the last call stopped before its end, at a character that the target does not have. */
export function stoppedEarly(): bool {
  return foreign
}

/** Converts; the end of what was written. Up to 64 bytes behind it are overwritten. Not careful: valid, and `end` is a boundary. */
export function convert(
  conversion: i32,
  at: usize,
  end: usize,
  limit: usize,
  out: usize,
  withCare: bool,
): usize {
  switch (conversion) {
    case 0:
      return withCare ? careful<u16>(at, end, limit, out) : fastUtf8<u16>(at, end, out)
    case 1:
      return withCare ? careful<u32>(at, end, limit, out) : fastUtf8<u32>(at, end, out)
    case 2:
      return withCare ? careful<u8>(at, end, limit, out) : fastUtf8<u8>(at, end, out)
    case 3:
      return utf16To8(at, end, limit, out)
    case 4:
      return utf16To32(at, end, limit, out)
    case 5:
      return utf16ToLatin1(at, end, out)
    case 6:
      return crlf(at, end, limit, out, false)
    default:
      return crlf(at, end, limit, out, true)
  }
}

let unitEnd: usize = 0

/** The character that begins with the unit at `at`; half a pair, or what is incomplete at the very end, is U+FFFD. */
function unit(at: usize, limit: usize): u32 {
  if (at + 2 > limit) {
    unitEnd = limit
    return 0xfffd
  }
  unitEnd = at + 2
  const first = <u32>load<u16>(at)
  if ((first & 0xf800) != 0xd800) return first
  if (first >= 0xdc00) return 0xfffd
  if (at + 4 > limit) {
    unitEnd = limit
    return 0xfffd
  }
  const second = <u32>load<u16>(at, 2)
  if ((second & 0xfc00) != 0xdc00) return 0xfffd
  unitEnd = at + 4
  return 0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff)
}

function utf16To8(at: usize, end: usize, limit: usize, out: usize): usize {
  setForeign(false)
  while (at < end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      if (!v128.any_true(v128.and(v, i16x8.splat(-128)))) {
        v128.store(out, i8x16.narrow_i16x8_u(v, v))
        at += 16
        out += 8
        continue
      }
    }
    const point = unit(at, limit)
    at = unitEnd
    if (point < 0x80) {
      store<u8>(out, <u8>point)
      out++
    } else if (point < 0x800) {
      store<u16>(out, <u16>(0x80c0 | (point >> 6) | ((point & 0x3f) << 8)))
      out += 2
    } else if (point < 0x10000) {
      store<u32>(out, 0x8080e0 | (point >> 12) | ((point << 2) & 0x3f00) | ((point & 0x3f) << 16))
      out += 3
    } else {
      store<u32>(
        out,
        0x808080f0 |
          (point >> 18) |
          ((point >> 4) & 0x3f00) |
          ((point << 10) & 0x3f0000) |
          ((point & 0x3f) << 24),
      )
      out += 4
    }
  }
  setNext(at)
  return out
}

function utf16To32(at: usize, end: usize, limit: usize, out: usize): usize {
  setForeign(false)
  while (at < end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      const surrogate = i16x8.eq(v128.and(v, i16x8.splat(<i16>0xf800)), i16x8.splat(<i16>0xd800))
      if (!v128.any_true(surrogate)) {
        v128.store(out, i32x4.extend_low_i16x8_u(v))
        v128.store(out, i32x4.extend_high_i16x8_u(v), 16)
        at += 16
        out += 32
        continue
      }
    }
    store<u32>(out, unit(at, limit))
    at = unitEnd
    out += 4
  }
  setNext(at)
  return out
}

function utf16ToLatin1(at: usize, end: usize, out: usize): usize {
  setForeign(false)
  while (at < end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      if (!v128.any_true(v128.and(v, i16x8.splat(<i16>0xff00)))) {
        v128.store(out, i8x16.narrow_i16x8_u(v, v))
        at += 16
        out += 8
        continue
      }
    }
    if (at + 2 > end || load<u8>(at, 1) != 0) {
      setForeign(true)
      break
    }
    store<u8>(out, load<u8>(at))
    at += 2
    out++
  }
  setNext(at)
  return out
}
