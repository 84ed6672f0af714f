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

// Sources. u8 is 0.
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
// More sources: samples of sound, and pictures for networks.
const I16_OVER_32768 = 17
const I16_OVER_32767 = 18
const U16_OVER_65535 = 19
const U8_OVER_256 = 20
const U8_OVER_HALF = 21 // x / 127.5 - 1
const I8_OVER_128 = 22
const I8_OVER_127 = 23

/** Four integers of type T, widened to i32. */
function load4<T>(at: usize): v128 {
  if (sizeof<T>() == 1) {
    const v = v128.load32_zero(at)
    if (isSigned<T>()) return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v))
    return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v))
  }
  if (sizeof<T>() == 2) return isSigned<T>() ? v128.load16x4_s(at) : v128.load16x4_u(at)
  return v128.load(at)
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

function halvesToFloats(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) v128.store(out + 4 * i, halves(at + 2 * i))
}

function brainsToFloats(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) v128.store(out + 4 * i, brains(at + 2 * i))
}

function demote(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) {
    v128.store(out + 4 * i, f32x4.demote_f64x2_zero(v128.load(at + 8 * i)))
    v128.store(out + 4 * i, f32x4.demote_f64x2_zero(v128.load(at + 8 * i, 16)), 8)
  }
}

function toFloats<T>(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) {
    const v = load4<T>(at + sizeof<T>() * i)
    v128.store(
      out + 4 * i,
      isSigned<T>() || sizeof<T>() < 4 ? f32x4.convert_i32x4_s(v) : f32x4.convert_i32x4_u(v),
    )
  }
}

/** x / by, or with `times` x × (1 / by), or with `centred` x / by − 1, in f32. */
function scaledToFloats<T>(by: f32, times: bool, centred: bool, at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) {
    const f = f32x4.convert_i32x4_s(load4<T>(at + sizeof<T>() * i))
    let g = times ? f32x4.mul(f, f32x4.splat(<f32>1 / by)) : f32x4.div(f, f32x4.splat(by))
    if (centred) g = f32x4.sub(g, f32x4.splat(1))
    v128.store(out + 4 * i, g)
  }
}

/** The upper two lanes of four, as the lower two. */
function upper(v: v128): v128 {
  return i64x2.shuffle(v, v, 1, 1)
}

/** Four f32 to four f64. */
function promote(f: v128, out: usize): void {
  v128.store(out, f64x2.promote_low_f32x4(f))
  v128.store(out, f64x2.promote_low_f32x4(upper(f)), 16)
}

function toDoubles<T>(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) {
    const v = load4<T>(at + sizeof<T>() * i)
    if (isSigned<T>() || sizeof<T>() < 4) {
      v128.store(out + 8 * i, f64x2.convert_low_i32x4_s(v))
      v128.store(out + 8 * i, f64x2.convert_low_i32x4_s(upper(v)), 16)
    } else {
      v128.store(out + 8 * i, f64x2.convert_low_i32x4_u(v))
      v128.store(out + 8 * i, f64x2.convert_low_i32x4_u(upper(v)), 16)
    }
  }
}

/** As scaledToFloats, in f64. */
function scaledToDoubles<T>(by: f64, times: bool, centred: bool, at: usize, n: usize, out: usize): void {
  const factor = f64x2.splat(times ? 1.0 / by : by)
  for (let i: usize = 0; i < n; i += 4) {
    const v = load4<T>(at + sizeof<T>() * i)
    let low = f64x2.convert_low_i32x4_s(v)
    let high = f64x2.convert_low_i32x4_s(upper(v))
    low = times ? f64x2.mul(low, factor) : f64x2.div(low, factor)
    high = times ? f64x2.mul(high, factor) : f64x2.div(high, factor)
    if (centred) {
      low = f64x2.sub(low, f64x2.splat(1))
      high = f64x2.sub(high, f64x2.splat(1))
    }
    v128.store(out + 8 * i, low)
    v128.store(out + 8 * i, high, 16)
  }
}

/** What a scaled source is divided by. */
function divisor(source: i32): f64 {
  switch (source) {
    case I16_OVER_32768:
      return 32768
    case I16_OVER_32767:
      return 32767
    case U16_OVER_65535:
      return 65535
    case U8_OVER_256:
      return 256
    case U8_OVER_HALF:
      return 127.5
    case I8_OVER_128:
      return 128
    case I8_OVER_127:
      return 127
    default:
      return 255
  }
}

function scaled<T>(source: i32, target: i32, at: usize, n: usize, out: usize): void {
  const by = divisor(source)
  const times = source == U8_TIMES_255TH
  const centred = source == U8_OVER_HALF
  if (target == F32) scaledToFloats<T>(<f32>by, times, centred, at, n, out)
  else scaledToDoubles<T>(by, times, centred, at, n, out)
}

function toShorts<T>(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 16) {
    const v = v128.load(at + i)
    v128.store(out + 2 * i, isSigned<T>() ? i16x8.extend_low_i8x16_s(v) : i16x8.extend_low_i8x16_u(v))
    v128.store(out + 2 * i, isSigned<T>() ? i16x8.extend_high_i8x16_s(v) : i16x8.extend_high_i8x16_u(v), 16)
  }
}

function toInts<T>(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) v128.store(out + 4 * i, load4<T>(at + sizeof<T>() * i))
}

function toLongs<T>(at: usize, n: usize, out: usize): void {
  for (let i: usize = 0; i < n; i += 4) {
    const v = load4<T>(at + sizeof<T>() * i)
    if (isSigned<T>() || sizeof<T>() < 4) {
      v128.store(out + 8 * i, i64x2.extend_low_i32x4_s(v))
      v128.store(out + 8 * i, i64x2.extend_high_i32x4_s(v), 16)
    } else {
      v128.store(out + 8 * i, i64x2.extend_low_i32x4_u(v))
      v128.store(out + 8 * i, i64x2.extend_high_i32x4_u(v), 16)
    }
  }
}

/** From integers of type T to a number or a wider integer. */
function widen<T>(target: i32, at: usize, n: usize, out: usize): void {
  if (target == F32) toFloats<T>(at, n, out)
  else if (target == F64) toDoubles<T>(at, n, out)
  else if (target == U16) toShorts<T>(at, n, out)
  else if (target == I32) toInts<T>(at, n, out)
  else toLongs<T>(at, n, out)
}

function swap(size: i32, at: usize, n: usize, out: usize): void {
  const order =
    size == 2
      ? i8x16(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
      : size == 4
        ? i8x16(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)
        : i8x16(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8)
  const bytes = n * size
  for (let i: usize = 0; i < bytes; i += 16) v128.store(out + i, i8x16.swizzle(v128.load(at + i), order))
}

function colours(blueFirst: bool, at: usize, n: usize, out: usize): void {
  const order = blueFirst
    ? i8x16(2, 1, 0, 16, 5, 4, 3, 16, 8, 7, 6, 16, 11, 10, 9, 16)
    : i8x16(0, 1, 2, 16, 3, 4, 5, 16, 6, 7, 8, 16, 9, 10, 11, 16)
  for (let i: usize = 0; i < n; i += 4)
    v128.store(out + 4 * i, v128.or(i8x16.swizzle(v128.load(at + 3 * i), order), i32x4.splat(0xff000000)))
}

export function convert(source: i32, target: i32, at: usize, n: usize, out: usize): void {
  if (target == RGBA || target == BGRA) return colours(target == BGRA, at, n, out)
  if (target == SWAPPED) return swap(source == U16 ? 2 : source == I32 ? 4 : 8, at, n, out)
  switch (source) {
    case I8:
      return widen<i8>(target, at, n, out)
    case U16:
      return widen<u16>(target, at, n, out)
    case I16:
      return widen<i16>(target, at, n, out)
    case I32:
      return widen<i32>(target, at, n, out)
    case U32:
      return widen<u32>(target, at, n, out)
    case F16:
      if (target == F32) return halvesToFloats(at, n, out)
      for (let i: usize = 0; i < n; i += 4) promote(halves(at + 2 * i), out + 8 * i)
      return
    case BF16:
      if (target == F32) return brainsToFloats(at, n, out)
      for (let i: usize = 0; i < n; i += 4) promote(brains(at + 2 * i), out + 8 * i)
      return
    case F32:
      for (let i: usize = 0; i < n; i += 4) promote(v128.load(at + 4 * i), out + 8 * i)
      return
    case F64:
      return demote(at, n, out)
    case U8_OVER_255:
    case U8_TIMES_255TH:
    case U8_OVER_256:
    case U8_OVER_HALF:
      return scaled<u8>(source, target, at, n, out)
    case I8_OVER_127:
    case I8_OVER_128:
      return scaled<i8>(source, target, at, n, out)
    case I16_OVER_32767:
    case I16_OVER_32768:
      return scaled<i16>(source, target, at, n, out)
    case U16_OVER_65535:
      return scaled<u16>(source, target, at, n, out)
    default:
      return widen<u8>(target, at, n, out)
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
  if (source >= I16_OVER_32768 || source == U8_OVER_255 || source == U8_TIMES_255TH) {
    const by = divisor(source)
    const add: f64 = source == U8_OVER_HALF ? 1 : 0
    if (source == I16_OVER_32768 || source == I16_OVER_32767 || source == U16_OVER_65535) {
      for (let i: usize = 0; i < n; i++)
        store<u16>(out + 2 * i, <u16>(<i64>nearest((number(target, at, i) + add) * by)))
    } else {
      for (let i: usize = 0; i < n; i++)
        store<u8>(out + i, <u8>(<i64>nearest((number(target, at, i) + add) * by)))
    }
    return
  }
  if (source == I32 || source == U32) {
    for (let i: usize = 0; i < n; i++) store<u32>(out + 4 * i, <u32>(<i64>number(target, at, i)))
  } else if (source == U16 || source == I16) {
    for (let i: usize = 0; i < n; i++) store<u16>(out + 2 * i, <u16>(<i64>number(target, at, i)))
  } else {
    for (let i: usize = 0; i < n; i++) store<u8>(out + i, <u8>(<i64>number(target, at, i)))
  }
}

/** Whether n bytes are equal. */
export function equal(a: usize, b: usize, n: usize): bool {
  return memory.compare(a, b, n) == 0
}
