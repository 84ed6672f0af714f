/** The compressions of TIFF that have no other home (TIFF 6.0, sections 9, 13 and 14; Technical Note 3), exactly. */

/** PackBits: bytes made at `to`, `room` at most; what would be more is left out. */
export function unpackBits(from: usize, length: u32, to: usize, room: u32): u32 {
  const end = from + length
  const start = to
  const last = to + room
  while (from < end && to < last) {
    const n = <i32>load<i8>(from++)
    if (n >= 0) {
      const count = min(<usize>n + 1, min(end - from, last - to))
      memory.copy(to, from, count)
      from += count
      to += count
    } else if (n !== -128 && from < end) {
      const count = min(<usize>(1 - n), last - to)
      memory.fill(to, load<u8>(from++), count)
      to += count
    }
  }
  return <u32>(to - start)
}

const CLEAR: u32 = 256
const END: u32 = 257
const FIRST: u32 = 258
const MOST: u32 = 4096

/**
 * LZW: codes of 9 to 12 bits, the highest first, that grow one code early. Every string of the table stands somewhere in what
 * has been made: `table` has room for 8 × 4096 bytes, position and length of each. Bytes made; those before it where a code
 * is none of the table.
 */
export function unlzw(from: usize, length: u32, to: usize, room: u32, table: usize): u32 {
  const end = from + length
  const start = to
  const last = to + room
  let bits: u64 = 0
  let have: u32 = 0
  let width: u32 = 9
  let next = FIRST
  // The string before, which with the first byte of this one makes a new one of the table; none after a clear.
  let before: usize = 0
  let beforeLength: u32 = 0
  while (to < last) {
    while (have < width) {
      if (from >= end) return <u32>(to - start)
      bits = (bits << 8) | <u64>load<u8>(from++)
      have += 8
    }
    have -= width
    const code = <u32>(bits >> have) & ((1 << width) - 1)
    if (code === END) break
    if (code === CLEAR) {
      width = 9
      next = FIRST
      beforeLength = 0
      continue
    }
    const made = to
    let size: u32 = 1
    if (code < CLEAR) store<u8>(to++, <u8>code)
    else {
      // A code that is just being defined is the string before and its own first byte: its bytes stand there, but for the last.
      if (code > next || (code === next && beforeLength === 0)) return <u32>(to - start)
      let source = before
      size = beforeLength + 1
      if (code < next) {
        source = load<u32>(table + (code << 3))
        size = load<u32>(table + (code << 3), 4)
      }
      // No further than `room`; byte for byte, for the two may overlap.
      const stop = min(to + size, last)
      if (source + 8 <= to && to + ((<usize>size + 7) & ~(<usize>7)) <= last)
        for (; to < stop; to += 8, source += 8) store<u64>(to, load<u64>(source))
      else for (; to < stop; to++, source++) store<u8>(to, load<u8>(source))
      to = stop
    }
    if (beforeLength > 0 && next < MOST) {
      store<u32>(table + (next << 3), <u32>before)
      store<u32>(table + (next << 3), beforeLength + 1, 4)
      if (++next >= <u32>((1 << width) - 1) && width < 12) width++
    }
    before = made
    beforeLength = size
  }
  return <u32>(to - start)
}

/** Turns numbers of `width` bytes from big-endian to little-endian. */
export function swap(at: usize, bytes: u32, width: u32): void {
  const end = at + bytes
  if (width === 2) for (; at + 2 <= end; at += 2) store<u16>(at, bswap<u16>(load<u16>(at)))
  else if (width === 4) for (; at + 4 <= end; at += 4) store<u32>(at, bswap<u32>(load<u32>(at)))
  else if (width === 8) for (; at + 8 <= end; at += 8) store<u64>(at, bswap<u64>(load<u64>(at)))
}

function addUp<T>(at: usize, row: u32, channels: u32): void {
  const step = <usize>channels * sizeof<T>()
  const end = at + row
  for (let to = at + step; to + sizeof<T>() <= end; to += sizeof<T>())
    store<T>(to, load<T>(to) + load<T>(to - step))
}

/** Undoes horizontal differencing (predictor 2) in rows of `row` bytes whose samples have `width` bytes. */
export function undoDifferences(at: usize, rows: u32, row: u32, channels: u32, width: u32): void {
  for (; rows > 0; rows--, at += row) {
    if (width === 1) addUp<u8>(at, row, channels)
    else if (width === 2) addUp<u16>(at, row, channels)
    else if (width === 4) addUp<u32>(at, row, channels)
    else addUp<u64>(at, row, channels)
  }
}

/**
 * Undoes the floating point predictor (3): each row has the highest bytes of all samples first, and is of differences. `spare` has room
 * for a row.
 */
export function undoFloats(at: usize, rows: u32, row: u32, channels: u32, width: u32, spare: usize): void {
  const samples = row / width
  for (; rows > 0; rows--, at += row) {
    addUp<u8>(at, row, channels)
    memory.copy(spare, at, row)
    for (let byte: u32 = 0; byte < width; byte++) {
      let from = spare + <usize>(width - 1 - byte) * samples
      let to = at + byte
      for (let i: u32 = 0; i < samples; i++, to += width) store<u8>(to, load<u8>(from++))
    }
  }
}
