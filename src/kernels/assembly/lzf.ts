/** LZF, as liblzf makes it: literals of up to 32 bytes, and copies of 3 to 264 bytes from up to 8 KiB back. */

/** Decodes `length` bytes at `from` to `to`, `room` bytes at most. What was made; -1 where they are not good. */
export function unlzf(from: usize, length: u32, to: usize, room: u32): i32 {
  const end = from + length
  const start = to
  const limit = to + room
  while (from < end) {
    const control = <u32>load<u8>(from++)
    if (control < 32) {
      const count: usize = control + 1
      if (from + count > end || to + count > limit) return -1
      // Both areas have 32 bytes behind their end.
      v128.store(to, v128.load(from))
      v128.store(to, v128.load(from, 16), 16)
      from += count
      to += count
      continue
    }
    let count: usize = (control >> 5) + 2
    if (count === 9) {
      if (from >= end) return -1
      count += <usize>load<u8>(from++)
    }
    if (from >= end) return -1
    const back: usize = <usize>((control & 31) << 8) + <usize>load<u8>(from++) + 1
    if (back > to - start || to + count > limit) return -1
    if (back >= 16 && count <= 32) {
      v128.store(to, v128.load(to - back))
      v128.store(to, v128.load(to - back, 16), 16)
    } else if (back >= count) memory.copy(to, to - back, count)
    else for (let i: usize = 0; i < count; i++) store<u8>(to + i, load<u8>(to + i - back))
    to += count
  }
  return <i32>(to - start)
}
