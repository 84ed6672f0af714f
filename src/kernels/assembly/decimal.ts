/**
 * Decimal text to numbers.
 *
 *   nearest  correctly rounded: Clinger's exact case, else Eisel and Lemire (Lemire, "Number parsing at a gigabyte per second",
 *            2021). What these cannot decide is left to the caller: `isHard` is then set.
 *   high     pandas' default since 1.2: 17 digits into a double, then one multiplication or division by a power of ten
 *   legacy   pandas before: all digits into a double, then powers of ten by repeated squaring
 */
export const NEAREST = 0
export const HIGH = 1
export const LEGACY = 2

/** 128-bit powers of five from -342 to 308, most significant bit set: high word, low word. Filled by the caller. */
export const fives: usize = memory.data(651 * 16, 16)
/** 10^0 to 10^308 as doubles. Filled by the caller. */
export const tens: usize = memory.data(309 * 8, 16)

/** Where the last number ended; where it began, if there was none. */
export let ended: usize = 0
/** Whether the last number is too close to the middle between two doubles to be decided here. */
export let isHard: bool = false

function isDigit(c: u32): bool {
  return c - 48 < 10
}

/** The number at `at` by one of the methods. There is a byte that ends it before the buffer does. */
export function decimal(at: usize, method: i32): f64 {
  const start = at
  isHard = false
  let c = <u32>load<u8>(at)
  const negative = c == 45
  if (negative || c == 43) c = load<u8>(++at)
  if (!isDigit(c) && c != 46) return named(start, at, negative)
  const value = method == NEAREST ? exact(at) : rounded(at, method)
  if (ended == at) ended = start
  return negative ? -value : value
}

/** nan, inf, infinity in any case. */
function named(start: usize, at: usize, negative: bool): f64 {
  ended = start
  const word = load<u8>(at) | ((<u32>load<u8>(at, 1)) << 8) | ((<u32>load<u8>(at, 2)) << 16) | 0x202020
  if (word == 0x6e616e) {
    ended = at + 3
    return NaN
  }
  if (word != 0x666e69) return NaN
  ended = at + 3
  if ((load<u32>(at, 3) | 0x20202020) == 0x74696e69 && (load<u8>(at, 7) | 32) == 121) ended = at + 8
  return negative ? -Infinity : Infinity
}

let exponentEnd: usize = 0

/** The exponent behind 'e' at `at`; 0 if there are no digits, and then the 'e' does not belong to the number. */
function exponentAt(at: usize): i32 {
  exponentEnd = at
  if ((load<u8>(at) | 32) != 101) return 0
  at++
  let c = <u32>load<u8>(at)
  const negative = c == 45
  if (negative || c == 43) c = load<u8>(++at)
  if (!isDigit(c)) return 0
  let n = 0
  do {
    if (n < 100000) n = n * 10 + (c - 48)
    c = load<u8>(++at)
  } while (isDigit(c))
  exponentEnd = at
  return negative ? -n : n
}

function exact(at: usize): f64 {
  const start = at
  let w: u64 = 0
  let digits = 0 // significant, in w
  let dropped = 0 // behind the 19th
  let lost = false
  let c = <u32>load<u8>(at)
  let seen = 0
  let q = 0
  while (isDigit(c)) {
    seen++
    if (digits < 19) {
      w = w * 10 + (c - 48)
      if (w != 0) digits++
    } else {
      dropped++
      lost = lost || c != 48
    }
    c = load<u8>(++at)
  }
  q = dropped
  if (c == 46) {
    c = load<u8>(++at)
    while (isDigit(c)) {
      seen++
      if (digits < 19) {
        w = w * 10 + (c - 48)
        if (w != 0) digits++
        q--
      } else lost = lost || c != 48
      c = load<u8>(++at)
    }
  }
  if (seen == 0) {
    ended = start
    return NaN
  }
  ended = at
  if ((c | 32) == 101) {
    q += exponentAt(at)
    ended = exponentEnd
  }
  if (!lost && w <= 0x20000000000000 && q >= -22 && q <= 22) {
    const scale = load<f64>(tens + 8 * abs(q))
    return q < 0 ? <f64>w / scale : <f64>w * scale
  }
  const value = scaled(w, q)
  if (lost && (isHard || value != scaled(w + 1, q))) isHard = true
  return value
}

let productHigh: u64 = 0

/** The low word of a product of two words; the high word in `productHigh`. */
function multiply(a: u64, b: u64): u64 {
  const al = a & 0xffffffff
  const ah = a >> 32
  const bl = b & 0xffffffff
  const bh = b >> 32
  const low = al * bl
  const middle = ah * bl + (low >> 32)
  const other = al * bh + (middle & 0xffffffff)
  productHigh = ah * bh + (middle >> 32) + (other >> 32)
  return (other << 32) | (low & 0xffffffff)
}

/** w × 10^q, correctly rounded. */
function scaled(w: u64, q: i32): f64 {
  if (w == 0 || q < -342) return 0
  if (q > 308) return Infinity
  const zeros = <i32>clz(w)
  const shifted = w << zeros
  const entry = fives + 16 * <usize>(q + 342)
  let low = multiply(shifted, load<u64>(entry))
  let high = productHigh
  if ((high & 0x1ff) == 0x1ff) {
    multiply(shifted, load<u64>(entry, 8))
    low += productHigh
    if (low < productHigh) high++
  }
  if (low == u64.MAX_VALUE && (q < -27 || q > 55)) isHard = true
  const upper = <i32>(high >> 63)
  let mantissa = high >> (upper + 9)
  let power = (((152170 + 65536) * q) >> 16) + 63 + upper - zeros + 1023
  if (power <= 0) {
    if (1 - power >= 64) return 0
    mantissa >>= 1 - power
    mantissa = (mantissa + (mantissa & 1)) >> 1
    return reinterpret<f64>(mantissa)
  }
  if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << (upper + 9) == high) mantissa &= ~1
  mantissa = (mantissa + (mantissa & 1)) >> 1
  if (mantissa >= 0x20000000000000) {
    mantissa = 0x10000000000000
    power++
  }
  if (power >= 0x7ff) return Infinity
  return reinterpret<f64>((mantissa & 0xfffffffffffff) | ((<u64>power) << 52))
}

/** As pandas does it. */
function rounded(at: usize, method: i32): f64 {
  const start = at
  const most = method == HIGH ? 17 : i32.MAX_VALUE
  let number: f64 = 0
  let exponent = 0
  let digits = 0
  let c = <u32>load<u8>(at)
  while (isDigit(c)) {
    if (digits < most) {
      number = number * 10 + <f64>(c - 48)
      digits++
    } else exponent++
    c = load<u8>(++at)
  }
  if (c == 46) {
    c = load<u8>(++at)
    while (isDigit(c)) {
      if (digits < most) {
        number = number * 10 + <f64>(c - 48)
        digits++
        exponent--
      }
      c = load<u8>(++at)
    }
  }
  if (digits == 0) {
    ended = start
    return NaN
  }
  exponent += exponentAt(at)
  ended = exponentEnd
  if (method == HIGH) {
    if (exponent > 308) return number == 0 ? 0 : Infinity
    if (exponent > 0) return number * load<f64>(tens + 8 * exponent)
    if (exponent < -616) return 0
    if (exponent < -308) return number / load<f64>(tens + 8 * (-308 - exponent)) / load<f64>(tens + 8 * 308)
    return number / load<f64>(tens - 8 * exponent)
  }
  let n = abs(exponent)
  for (let power: f64 = 10; n > 0; n >>= 1, power *= power) {
    if ((n & 1) != 0) number = exponent < 0 ? number / power : number * power
  }
  return number
}

/** The integer at `at`, modulo 2^64; no number if something else than an integer is there. */
export function integer(at: usize): i64 {
  const start = at
  let c = <u32>load<u8>(at)
  const negative = c == 45
  if (negative || c == 43) c = load<u8>(++at)
  ended = start
  if (!isDigit(c)) return 0
  let w: u64 = 0
  do {
    w = w * 10 + (c - 48)
    c = load<u8>(++at)
  } while (isDigit(c))
  ended = at
  return negative ? -(<i64>w) : <i64>w
}
