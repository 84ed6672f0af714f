/** The ways back, strict: they stop (see `next`) at what no text of the encoding holds. And line ends. */
import { setForeign, setNext } from './utf8'

function put(point: u32, out: usize): usize {
  if (point < 0x80) {
    store<u8>(out, <u8>point)
    return out + 1
  }
  if (point < 0x800) {
    store<u16>(out, <u16>(0x80c0 | (point >> 6) | ((point & 0x3f) << 8)))
    return out + 2
  }
  if (point < 0x10000) {
    store<u32>(out, 0x8080e0 | (point >> 12) | ((point << 2) & 0x3f00) | ((point & 0x3f) << 16))
    return out + 3
  }
  store<u32>(
    out,
    0x808080f0 |
      (point >> 18) |
      ((point >> 4) & 0x3f00) |
      ((point << 10) & 0x3f0000) |
      ((point & 0x3f) << 24),
  )
  return out + 4
}

/** UTF-16 to UTF-8; stops at half a pair. */
export function encode16(at: usize, end: usize, out: usize): usize {
  while (at + 2 <= end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      if (!v128.any_true(v128.and(v, i16x8.splat(-128)))) {
        v128.store(out, i8x16.narrow_i16x8_u(v, v))
        at += 16
        out += 8
        continue
      }
    }
    let point = <u32>load<u16>(at)
    if ((point & 0xf800) == 0xd800) {
      if (point >= 0xdc00 || at + 4 > end) break
      const second = <u32>load<u16>(at, 2)
      if ((second & 0xfc00) != 0xdc00) break
      point = 0x10000 + ((point & 0x3ff) << 10) + (second & 0x3ff)
      at += 2
    }
    at += 2
    out = put(point, out)
  }
  setNext(at)
  return out
}

/** UTF-32 to UTF-8; stops at what is no character. */
export function encode32(at: usize, end: usize, out: usize): usize {
  while (at + 4 <= end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      if (!v128.any_true(v128.and(v, i32x4.splat(-128)))) {
        const half = i16x8.narrow_i32x4_u(v, v)
        v128.store(out, i8x16.narrow_i16x8_u(half, half))
        at += 16
        out += 4
        continue
      }
    }
    const point = load<u32>(at)
    if (point > 0x10ffff || (point & 0xfffff800) == 0xd800) break
    at += 4
    out = put(point, out)
  }
  setNext(at)
  return out
}

/** UTF-32 to UTF-16; stops at what is no character. */
export function utf32To16(at: usize, end: usize, out: usize): usize {
  while (at + 4 <= end) {
    const point = load<u32>(at)
    if (point > 0x10ffff || (point & 0xfffff800) == 0xd800) break
    at += 4
    if (point < 0x10000) {
      store<u16>(out, <u16>point)
      out += 2
    } else {
      store<u32>(out, (0xd800 + ((point - 0x10000) >> 10)) | ((0xdc00 + (point & 0x3ff)) << 16))
      out += 4
    }
  }
  setNext(at)
  return out
}

/** Latin-1 to UTF-8. */
export function encodeLatin1(at: usize, end: usize, out: usize): usize {
  while (at < end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      if (!v128.any_true(v128.and(v, i8x16.splat(-128)))) {
        v128.store(out, v)
        at += 16
        out += 16
        continue
      }
    }
    out = put(<u32>load<u8>(at), out)
    at++
  }
  setNext(at)
  return out
}

/** Latin-1 to UTF-16. */
export function widen8(at: usize, end: usize, out: usize): usize {
  for (; at < end; at++, out += 2) store<u16>(out, <u16>load<u8>(at))
  setNext(at)
  return out
}

/** UTF-16 to Latin-1; stops at what Latin-1 does not have. */
export function narrow16(at: usize, end: usize, out: usize): usize {
  while (at + 2 <= end && load<u8>(at, 1) == 0) {
    store<u8>(out, load<u8>(at))
    at += 2
    out++
  }
  setNext(at)
  return out
}

/** LF to CR LF. */
export function toCrlf(at: usize, end: usize, out: usize): usize {
  for (; at < end; at++) {
    const byte = load<u8>(at)
    if (byte == 10) {
      store<u8>(out, 13)
      out++
    }
    store<u8>(out, byte)
    out++
  }
  setNext(at)
  return out
}

/** CR LF to LF; with `every`, a CR alone to LF too. */
export function crlf(at: usize, end: usize, limit: usize, out: usize, every: bool): usize {
  setForeign(false)
  while (at < end) {
    if (at + 16 <= end) {
      const v = v128.load(at)
      v128.store(out, v)
      const returns = i8x16.bitmask(i8x16.eq(v, i8x16.splat(13)))
      if (returns == 0) {
        at += 16
        out += 16
        continue
      }
      const plain = <usize>ctz(returns)
      at += plain
      out += plain
    } else if (load<u8>(at) != 13) {
      store<u8>(out, load<u8>(at))
      at++
      out++
      continue
    }
    // A CR lies at `at`.
    at++
    if (at < limit && load<u8>(at) == 10) continue
    store<u8>(out, every ? 10 : 13)
    out++
  }
  setNext(at)
  return out
}
