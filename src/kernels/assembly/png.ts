/** Undoes the filters of PNG rows (PNG specification, 9.2), exactly. */

function paeth(a: i32, b: i32, c: i32): i32 {
  const p = b - c
  const q = a - c
  const pa = p < 0 ? -p : p
  const pb = q < 0 ? -q : q
  const pc = p + q < 0 ? -(p + q) : p + q
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c
}

/**
 * `rows` rows at `from`, each a filter byte and `length` bytes, become rows of `length` bytes at `to`. Before `to` lies the row
 * before them (zeros before the first). `step` is the bytes of a pixel. The number of rows done: fewer where a filter is unknown.
 */
export function unfilter(from: usize, rows: u32, length: u32, step: u32, to: usize): u32 {
  for (let row: u32 = 0; row < rows; row++) {
    const filter = load<u8>(from++)
    const above = to - length
    const first = min(step, length)
    if (filter === 0) memory.copy(to, from, length)
    else if (filter === 1) {
      memory.copy(to, from, first)
      for (let i: usize = step; i < length; i++)
        store<u8>(to + i, load<u8>(from + i) + load<u8>(to + i - step))
    } else if (filter === 2) {
      let i: usize = 0
      for (; i + 16 <= length; i += 16)
        v128.store(to + i, i8x16.add(v128.load(from + i), v128.load(above + i)))
      for (; i < length; i++) store<u8>(to + i, load<u8>(from + i) + load<u8>(above + i))
    } else if (filter === 3) {
      for (let i: usize = 0; i < first; i++)
        store<u8>(to + i, load<u8>(from + i) + (load<u8>(above + i) >> 1))
      for (let i: usize = step; i < length; i++) {
        const sum = <u32>load<u8>(to + i - step) + <u32>load<u8>(above + i)
        store<u8>(to + i, <u8>(<u32>load<u8>(from + i) + (sum >> 1)))
      }
    } else if (filter === 4) {
      for (let i: usize = 0; i < first; i++) store<u8>(to + i, load<u8>(from + i) + load<u8>(above + i))
      for (let i: usize = step; i < length; i++) {
        const value = paeth(load<u8>(to + i - step), load<u8>(above + i), load<u8>(above + i - step))
        store<u8>(to + i, <u8>(<i32>load<u8>(from + i) + value))
      }
    } else return row
    from += length
    to += length
  }
  return rows
}
