/**
 * Arrays of numbers from one element type to another, four elements at a time. Counts are rounded up to four: buffers
 * have room (and readable bytes) for the rest.
 *
 * `convert` and its way back `candidates` take a conversion by number: 64 × source + target (src/kernels/elements.ts).
 * A candidate is what the element must have been if it was made by the conversion at all; whoever asks converts the
 * candidates and compares.
 *
 * NaN: f16 and bf16 keep sign and payload and become quiet, as vcvtph2ps makes them; between f32 and f64 as cvtps2pd
 * and cvtpd2ps do (quiet, payload shifted).
 */
export { bytesToBase64, base64ToBytes, bytesToHex, hexToBytes } from './codes'

// Sources.
const U8 = 0
const I8 = 1
const U16 = 2
const I16 = 3
const I32 = 4
const U32 = 5
const F16 = 6
const BF16 = 7
const F32 = 8
const F64 = 9
const U8_OVER_255 = 10 // x / 255
const U8_TIMES_255TH = 11 // x * (1/255)
// RGB is 12: its targets say all. Targets: the numbers of sources that are types, i64 (13), and these.
const RGBA = 14
const BGRA = 15
const SWAPPED = 16

/** Four source elements that fit an i32, widened to it. */
function load4(source: i32, at: usize, i: usize): v128 {
  switch (source) {
    case I8:
      return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at + i)))
    case U16:
      return v128.load16x4_u(at + 2 * i)
    case I16:
      return v128.load16x4_s(at + 2 * i)
    case I32:
    case U32:
      return v128.load(at + 4 * i)
    default:
      return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at + i)))
  }
}

function halves(at: usize): v128 {
  const h = v128.load16x4_u(at)
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16)
  const magnitude = v128.and(h, i32x4.splat(0x7fff))
  const normal = i32x4.add(i32x4.shl(magnitude, 13), i32x4.splat(112 << 23))
  const small = f32x4.mul(f32x4.convert_i32x4_u(magnitude), f32x4.splat(5.9604644775390625e-8))
  let f = v128.bitselect(small, normal, i32x4.lt_s(magnitude, i32x4.splat(0x400)))
  // Infinity and NaN: another 112 in the exponent, and the quiet bit.
  const special = i32x4.gt_s(magnitude, i32x4.splat(0x7bff))
  f = i32x4.add(f, v128.and(special, i32x4.splat(112 << 23)))
  f = v128.or(f, v128.and(i32x4.gt_s(magnitude, i32x4.splat(0x7c00)), i32x4.splat(0x400000)))
  return v128.or(f, sign)
}

function brains(at: usize): v128 {
  const f = i32x4.shl(v128.load16x4_u(at), 16)
  return v128.or(f, v128.and(f32x4.ne(f, f), i32x4.splat(0x400000)))
}

/** Four elements as f32. */
function floats(source: i32, at: usize, i: usize): v128 {
  switch (source) {
    case F16:
      return halves(at + 2 * i)
    case BF16:
      return brains(at + 2 * i)
    case F32:
      return v128.load(at + 4 * i)
    case F64:
      return i8x16.shuffle(
        f32x4.demote_f64x2_zero(v128.load(at + 8 * i)),
        f32x4.demote_f64x2_zero(v128.load(at + 8 * i, 16)),
        // prettier-ignore
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        16,
        17,
        18,
        19,
        20,
        21,
        22,
        23,
      )
    case U32:
      return f32x4.convert_i32x4_u(load4(source, at, i))
    case U8_OVER_255:
      return f32x4.div(f32x4.convert_i32x4_s(load4(source, at, i)), f32x4.splat(255))
    case U8_TIMES_255TH:
      return f32x4.mul(f32x4.convert_i32x4_s(load4(source, at, i)), f32x4.splat(<f32>1 / <f32>255))
    default:
      return f32x4.convert_i32x4_s(load4(source, at, i))
  }
}

function toFloats(source: i32, at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) v128.store(out + 4 * i, floats(source, at, i))
}

/** The upper two lanes of four, as the lower two. */
function upper(v: v128): v128 {
  return i64x2.shuffle(v, v, 1, 1)
}

function toDoubles(source: i32, at: usize, n: usize, out: usize): void {
  if (source == F16 || source == BF16 || source == F32) {
    for (let i: usize = 0; i < n; i += 4) {
      const f = floats(source, at, i)
      v128.store(out + 8 * i, f64x2.promote_low_f32x4(f))
      v128.store(out + 8 * i, f64x2.promote_low_f32x4(upper(f)), 16)
    }
    return
  }
  for (let i: usize = 0; i < n; i += 4) {
    const v = load4(source, at, i)
    let low: v128
    let high: v128
    if (source == U32) {
      low = f64x2.convert_low_i32x4_u(v)
      high = f64x2.convert_low_i32x4_u(upper(v))
    } else {
      low = f64x2.convert_low_i32x4_s(v)
      high = f64x2.convert_low_i32x4_s(upper(v))
    }
    if (source == U8_OVER_255) {
      low = f64x2.div(low, f64x2.splat(255))
      high = f64x2.div(high, f64x2.splat(255))
    } else if (source == U8_TIMES_255TH) {
      low = f64x2.mul(low, f64x2.splat(1.0 / 255.0))
      high = f64x2.mul(high, f64x2.splat(1.0 / 255.0))
    }
    v128.store(out + 8 * i, low)
    v128.store(out + 8 * i, high, 16)
  }
}

function toIntegers(source: i32, target: i32, at: usize, n: usize, out: usize): void {
  if (target == U16) {
    // From one byte, signed or not.
    for (let i: usize = 0; i < n; i += 8) {
      const v = v128.load64_zero(at + i)
      v128.store(out + 2 * i, source == I8 ? i16x8.extend_low_i8x16_s(v) : i16x8.extend_low_i8x16_u(v))
    }
  } else if (target == I32) {
    for (let i: usize = 0; i < n; i += 4) v128.store(out + 4 * i, load4(source, at, i))
  } else {
    for (let i: usize = 0; i < n; i += 4) {
      const v = load4(source, at, i)
      if (source == U32) {
        v128.store(out + 8 * i, i64x2.extend_low_i32x4_u(v))
        v128.store(out + 8 * i, i64x2.extend_high_i32x4_u(v), 16)
      } else {
        v128.store(out + 8 * i, i64x2.extend_low_i32x4_s(v))
        v128.store(out + 8 * i, i64x2.extend_high_i32x4_s(v), 16)
      }
    }
  }
}

function swap(size: i32, at: usize, n: usize, out: usize): void {
  const bytes = n * size
  // prettier-ignore
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = v128.load(at + i)
    if (size == 2)
      v128.store(out + i, i8x16.shuffle(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))
    else if (size == 4)
      v128.store(out + i, i8x16.shuffle(v, v, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12))
    else v128.store(out + i, i8x16.shuffle(v, v, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8))
  }
}

function colours(blueFirst: bool, at: usize, n: usize, out: usize): void {
  const order = blueFirst
    ? i8x16(2, 1, 0, 16, 5, 4, 3, 16, 8, 7, 6, 16, 11, 10, 9, 16)
    : i8x16(0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11, 16)
  for (let i: usize = 0; i < n; i += 4)
    v128.store(out + 4 * i, v128.or(i8x16.swizzle(v128.load(at + 3 * i), order), i32x4.splat(0xff000000)))
}

export function convert(source: i32, target: i32, at: usize, n: usize, out: usize): void {
  // One loop for each source, so that what depends on it is decided before the loop.
  switch (target) {
    case F32:
      switch (source) {
        case U8:
          return toFloats(U8, at, n, out)
        case I8:
          return toFloats(I8, at, n, out)
        case U16:
          return toFloats(U16, at, n, out)
        case I16:
          return toFloats(I16, at, n, out)
        case F16:
          return toFloats(F16, at, n, out)
        case BF16:
          return toFloats(BF16, at, n, out)
        default:
          return toFloats(source, at, n, out)
      }
    case F64:
      return toDoubles(source, at, n, out)
    case RGBA:
      return colours(false, at, n, out)
    case BGRA:
      return colours(true, at, n, out)
    case SWAPPED:
      return swap(source == U16 ? 2 : source == I32 ? 4 : 8, at, n, out)
    default:
      return toIntegers(source, target, at, n, out)
  }
}

/** The f16 that this f32 was made of, if it was. */
function half(f: u32): u16 {
  const sign = (f >> 16) & 0x8000
  const magnitude = f & 0x7fffffff
  if (magnitude >= 0x7f800000) return <u16>(sign | 0x7c00 | ((magnitude >> 13) & 0x3ff))
  if (magnitude >= 0x38800000) return <u16>(sign | ((magnitude - (112 << 23)) >> 13))
  return <u16>(sign | <u32>(reinterpret<f32>(magnitude) * 16777216.0))
}

/** The number of a target element, as what its source type may hold. */
function number(target: i32, at: usize, i: usize): f64 {
  if (target == F32) return <f64>load<f32>(at + 4 * i)
  if (target == F64) return load<f64>(at + 8 * i)
  if (target == U16) return <f64>load<i16>(at + 2 * i)
  if (target == I32) return <f64>load<i32>(at + 4 * i)
  return <f64>load<i64>(at + 8 * i)
}

/** What the n target elements at `at` must have been, written to `out` as source elements. */
export function candidates(source: i32, target: i32, at: usize, n: usize, out: usize): void {
  if (target == SWAPPED) return convert(source, target, at, n, out)
  if (target == RGBA || target == BGRA) {
    const first: usize = target == RGBA ? 0 : 2
    for (let i: usize = 0; i < n; i++) {
      store<u8>(out + 3 * i, load<u8>(at + 4 * i + first))
      store<u8>(out + 3 * i, load<u8>(at + 4 * i, 1), 1)
      store<u8>(out + 3 * i, load<u8>(at + 4 * i + 2 - first), 2)
    }
    return
  }
  if (source == F32) {
    for (let i: usize = 0; i < n; i++) store<f32>(out + 4 * i, <f32>load<f64>(at + 8 * i))
    return
  }
  if (source == F64) {
    for (let i: usize = 0; i < n; i++) store<f64>(out + 8 * i, <f64>load<f32>(at + 4 * i))
    return
  }
  if (source == F16 || source == BF16) {
    for (let i: usize = 0; i < n; i++) {
      const f = target == F32 ? load<u32>(at + 4 * i) : reinterpret<u32>(<f32>load<f64>(at + 8 * i))
      store<u16>(out + 2 * i, source == F16 ? half(f) : <u16>(f >> 16))
    }
    return
  }
  const scale: f64 = source == U8_OVER_255 || source == U8_TIMES_255TH ? 255 : 1
  if (source == I32 || source == U32) {
    for (let i: usize = 0; i < n; i++) store<u32>(out + 4 * i, <u32>(<i64>number(target, at, i)))
  } else if (source == U16 || source == I16) {
    for (let i: usize = 0; i < n; i++) store<u16>(out + 2 * i, <u16>(<i64>number(target, at, i)))
  } else {
    for (let i: usize = 0; i < n; i++) store<u8>(out + i, <u8>(<i64>nearest(number(target, at, i) * scale)))
  }
}

/** Whether n bytes are equal. */
export function equal(a: usize, b: usize, n: usize): bool {
  return memory.compare(a, b, n) == 0
}
