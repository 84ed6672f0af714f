/**
 * Whole pages compared, tested and hashed, 4096 bytes at a time. AssemblyScript; every pointer is an offset
 * into this module's own memory, so that read() can fill a buffer that is compared without another copy.
 */
// oxlint-disable no-loss-of-precision -- these are 64-bit integers of AssemblyScript

const PAGE: usize = 4096

/** Whether the page at `a` equals the page at `b`. */
function samePage(a: usize, b: usize): bool {
  for (let i: usize = 0; i < PAGE; i += 128) {
    const x = v128.or(
      v128.or(
        v128.or(
          v128.xor(v128.load(a + i), v128.load(b + i)),
          v128.xor(v128.load(a + i, 16), v128.load(b + i, 16)),
        ),
        v128.or(
          v128.xor(v128.load(a + i, 32), v128.load(b + i, 32)),
          v128.xor(v128.load(a + i, 48), v128.load(b + i, 48)),
        ),
      ),
      v128.or(
        v128.or(
          v128.xor(v128.load(a + i, 64), v128.load(b + i, 64)),
          v128.xor(v128.load(a + i, 80), v128.load(b + i, 80)),
        ),
        v128.or(
          v128.xor(v128.load(a + i, 96), v128.load(b + i, 96)),
          v128.xor(v128.load(a + i, 112), v128.load(b + i, 112)),
        ),
      ),
    )
    if (v128.any_true(x)) return false
  }
  return true
}

/** Writes one byte a page to `out`: 1 where the pages are equal, else 0. Gives the number of equal pages. */
export function equalPages(a: usize, b: usize, out: usize, pages: i32): i32 {
  let equal = 0
  for (let i = 0; i < pages; i++) {
    const same = samePage(a + ((<usize>i) << 12), b + ((<usize>i) << 12)) ? 1 : 0
    store<u8>(out + i, same)
    equal += same
  }
  return equal
}

/** How many pages are equal before the first that differs. */
export function equalPrefix(a: usize, b: usize, pages: i32): i32 {
  let i = 0
  while (i < pages && samePage(a + ((<usize>i) << 12), b + ((<usize>i) << 12))) i++
  return i
}

/** How many pages are equal at the end, counted backwards. */
export function equalSuffix(a: usize, b: usize, pages: i32): i32 {
  let i = pages
  while (i > 0 && samePage(a + ((<usize>(i - 1)) << 12), b + ((<usize>(i - 1)) << 12))) i--
  return pages - i
}

/** Whether `length` bytes (a multiple of 64) are all zero. */
export function isZero(at: usize, length: i32): bool {
  const end = at + <usize>length
  for (let p = at; p < end; p += 64) {
    const x = v128.or(v128.or(v128.load(p), v128.load(p, 16)), v128.or(v128.load(p, 32), v128.load(p, 48)))
    if (v128.any_true(x)) return false
  }
  return true
}

/** Writes one byte a page to `out`: 1 where the page is all zero, else 0. Gives the number of zero pages. */
export function zeroPages(at: usize, out: usize, pages: i32): i32 {
  let zero = 0
  for (let i = 0; i < pages; i++) {
    const z = isZero(at + ((<usize>i) << 12), 4096) ? 1 : 0
    store<u8>(out + i, z)
    zero += z
  }
  return zero
}

/** A keyed 64-bit hash of a page, stored at `out`: four lanes of multiply and rotate, folded at the end. */
export function hashPage(at: usize, key: u32, out: usize): void {
  const M: u64 = 0x9e3779b97f4a7c15
  let a: u64 = M ^ <u64>key
  let b: u64 = a * 0xbf58476d1ce4e5b9
  let c: u64 = b * 0x94d049bb133111eb
  let d: u64 = c * 0xd6e8feb86659fd93
  for (let p = at; p < at + PAGE; p += 32) {
    a = rotl((a ^ load<u64>(p)) * M, 29)
    b = rotl((b ^ load<u64>(p, 8)) * M, 31)
    c = rotl((c ^ load<u64>(p, 16)) * M, 33)
    d = rotl((d ^ load<u64>(p, 24)) * M, 37)
  }
  let h = a ^ rotl(b, 13) ^ rotl(c, 27) ^ rotl(d, 41)
  h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93
  h = (h ^ (h >> 29)) * M
  store<u64>(out, h ^ (h >> 32))
}
