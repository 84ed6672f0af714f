/** Base64 and hex, either way. A character outside the alphabet counts as the digit zero. */

/** The base64 character of each of 16 values below 64. */
function characters(v: v128): v128 {
  // The distance from value to character, by range: A-Z, a-z, 0-9, +, /.
  let shift = i8x16.splat(65)
  shift = i8x16.add(shift, v128.and(i8x16.gt_s(v, i8x16.splat(25)), i8x16.splat(6)))
  shift = i8x16.sub(shift, v128.and(i8x16.gt_s(v, i8x16.splat(51)), i8x16.splat(75)))
  shift = i8x16.sub(shift, v128.and(i8x16.eq(v, i8x16.splat(62)), i8x16.splat(15)))
  shift = i8x16.sub(shift, v128.and(i8x16.eq(v, i8x16.splat(63)), i8x16.splat(12)))
  return i8x16.add(v, shift)
}

/** The value of each of 16 base64 characters; 0 for what is none. By nibbles: Muła, "Base64 decoding with SIMD instructions". */
function values(v: v128): v128 {
  const high = i8x16.shr_u(v, 4)
  // The distance from character to value, by the high nibble; '/' shares its with '+'.
  const distances = i8x16(0, 0, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0)
  const slash = v128.and(i8x16.eq(v, i8x16.splat(47)), i8x16.splat(-3))
  const shift = i8x16.add(i8x16.swizzle(distances, high), slash)
  // A bit in common: the low nibble does not occur with this high nibble.
  const lows = i8x16(21, 17, 17, 17, 17, 17, 17, 17, 17, 17, 19, 26, 27, 27, 27, 26)
  const highs = i8x16(16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16)
  const clash = v128.and(i8x16.swizzle(lows, v128.and(v, i8x16.splat(15))), i8x16.swizzle(highs, high))
  return v128.and(i8x16.add(v, shift), i8x16.eq(clash, i8x16.splat(0)))
}

function between(v: v128, low: i8, high: i8): v128 {
  return v128.and(i8x16.ge_s(v, i8x16.splat(low)), i8x16.le_s(v, i8x16.splat(high)))
}

/** `lines` lines of `groups` groups: three bytes to four characters, then `gap` bytes of line end (LF, or CR LF) each. */
export function bytesToBase64(at: usize, lines: usize, groups: usize, gap: usize, out: usize): void {
  for (let line: usize = 0; line < lines; line++) {
    for (let g: usize = 0; g < groups; g += 4) {
      // In each lane of four bytes: the second, first, third, second byte of a group.
      // prettier-ignore
      const v = i8x16.swizzle(v128.load(at + 3 * g), i8x16(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10))
      const first = v128.and(i32x4.shr_u(v, 10), i32x4.splat(0x3f))
      const second = v128.and(i32x4.shl(v, 4), i32x4.splat(0x3f00))
      const third = v128.and(i32x4.shr_u(v, 6), i32x4.splat(0x3f0000))
      const fourth = v128.and(i32x4.shl(v, 8), i32x4.splat(0x3f000000))
      v128.store(out + 4 * g, characters(v128.or(v128.or(first, second), v128.or(third, fourth))))
    }
    at += 3 * groups
    out += 4 * groups
    if (gap == 2) store<u8>(out, 13)
    if (gap > 0) store<u8>(out + gap - 1, 10)
    out += gap
  }
}

/** The way back; `gap` bytes after each line are passed over. */
export function base64ToBytes(at: usize, lines: usize, groups: usize, gap: usize, out: usize): void {
  for (let line: usize = 0; line < lines; line++) {
    for (let g: usize = 0; g < groups; g += 4) {
      const v = values(v128.load(at + 4 * g))
      const bits = v128.or(
        v128.or(i32x4.shl(v, 18), i32x4.shl(v128.and(v, i32x4.splat(0x3f00)), 4)),
        v128.or(i32x4.shr_u(v128.and(v, i32x4.splat(0x3f0000)), 10), i32x4.shr_u(v, 24)),
      )
      // prettier-ignore
      v128.store(
        out + 3 * g,
        i8x16.swizzle(bits, i8x16(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 16, 16, 16, 16)),
      )
    }
    at += 4 * groups + gap
    out += 3 * groups
  }
}

/** n bytes to 2n digits; `letter` is what 10 is written as ('a' or 'A'). */
export function bytesToHex(at: usize, n: usize, letter: i32, out: usize): void {
  const more = i8x16.splat(<i8>(letter - 58))
  for (let i: usize = 0; i < n; i += 8) {
    const v = i16x8.extend_low_i8x16_u(v128.load64_zero(at + i))
    const digits = v128.or(i16x8.shr_u(v, 4), v128.and(i16x8.shl(v, 8), i16x8.splat(0x0f00)))
    const wide = v128.and(i8x16.gt_s(digits, i8x16.splat(9)), more)
    v128.store(out + 2 * i, i8x16.add(i8x16.add(digits, i8x16.splat(48)), wide))
  }
}

/** 2n digits of either case to n bytes. */
export function hexToBytes(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 8) {
    const v = v128.load(at + 2 * i)
    const folded = v128.or(v, i8x16.splat(32))
    const letters = between(folded, 97, 102)
    const digits = v128.or(
      v128.and(i8x16.sub(v, i8x16.splat(48)), between(v, 48, 57)),
      v128.and(i8x16.sub(folded, i8x16.splat(87)), letters),
    )
    const bytes = v128.and(v128.or(i16x8.shl(digits, 4), i16x8.shr_u(digits, 8)), i16x8.splat(0xff))
    v128.store(out + i, i8x16.narrow_i16x8_u(bytes, bytes))
  }
}
