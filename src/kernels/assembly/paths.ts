/** Absolute paths in memory: `/`, not preceded by a path character, then path characters up to an end mark. */

function isPathByte(c: u8): bool {
  return (
    c > 0x20 &&
    c != 0x22 &&
    c != 0x27 &&
    c != 0x60 &&
    c != 0x3a &&
    c != 0x2c &&
    c != 0x3b &&
    c != 0x7f &&
    c != 0x3c &&
    c != 0x3e &&
    c != 0x28 &&
    c != 0x29 &&
    c != 0x5b &&
    c != 0x5d &&
    c != 0x7b &&
    c != 0x7d
  )
}

/**
 * Writes (u32 address, u32 length) of what looks like an absolute path of 4 to 1024 bytes with a
 * second slash or an extension. Gives the number found, at most `most`.
 */
export function findPaths(at: usize, length: i32, out: usize, most: i32): i32 {
  const slash = i8x16.splat(0x2f)
  const end = at + <usize>length
  let found = 0
  let past = at
  for (let p = at; p < end; p += 16) {
    let mask = i8x16.bitmask(i8x16.eq(v128.load(p), slash))
    while (mask) {
      const q = p + <usize>ctz(mask)
      mask &= mask - 1
      if (q < past) continue
      if (q > at) {
        const before = load<u8>(q - 1)
        if (before == 0x2f || (isPathByte(before) && before != 0x3d)) continue
      }
      let r = q + 1
      let marks = 0
      while (r < end && r - q < 1024 && isPathByte(load<u8>(r))) {
        const c = load<u8>(r)
        if (c == 0x2f || c == 0x2e) marks++
        r++
      }
      past = r
      if (r - q < 4 || r - q >= 1024 || marks == 0) continue
      if (found == most) return found
      store<u32>(out + ((<usize>found) << 3), <u32>q)
      store<u32>(out + ((<usize>found) << 3), <u32>(r - q), 4)
      found++
    }
  }
  return found
}
