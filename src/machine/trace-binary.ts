/** Binary traces' records, decoded by loops that call nothing: long traces are binary, and some 100 million records a second go through here. */
export type BinaryFormat = 'dinb' | 'u32' | 'u64' | 'lethe'

/** Bytes of a record. */
export const recordBytes: Readonly<Record<BinaryFormat, 4 | 8>> = { dinb: 8, u32: 4, u64: 8, lethe: 8 }

/**
 * Decodes `count` records of `given`, from word `from` on, to records of ours in `words`, from word `to` on. How many it has decoded: what comes
 * next, if that is not all, is no record.
 */
export function decodeRecords(
  format: BinaryFormat,
  given: Int32Array,
  from: number,
  count: number,
  words: Int32Array,
  to: number,
): number {
  if (format === 'u32') return reads32(given, from, count, words, to)
  if (format === 'u64') return reads64(given, from, count, words, to)
  if (format === 'dinb') return dinero(given, from, count, words, to)
  const good = own(given, from, count)
  words.set(given.subarray(from, from + good * 2), to)
  return good
}

function reads32(given: Int32Array, from: number, count: number, words: Int32Array, to: number): number {
  for (let i = 0; i < count; i++) {
    words[to + i * 2] = given[from + i] as number
    words[to + i * 2 + 1] = 1 << 16
  }
  return count
}

function reads64(given: Int32Array, from: number, count: number, words: Int32Array, to: number): number {
  for (let i = 0; i < count; i++) {
    const high = given[from + i * 2 + 1] as number
    if (high >>> 16 !== 0) return i
    words[to + i * 2] = given[from + i * 2] as number
    words[to + i * 2 + 1] = high | (1 << 16)
  }
  return count
}

function dinero(given: Int32Array, from: number, count: number, words: Int32Array, to: number): number {
  for (let i = 0; i < count; i++) {
    const high = given[from + i * 2 + 1] as number
    const size = high & 0xffff
    const label = (high >>> 16) & 0xff
    if (label > 3 || size === 0 || size > 4095) return i
    words[to + i * 2] = given[from + i * 2] as number
    words[to + i * 2 + 1] = (size << 16) | (label << 28)
  }
  return count
}

// The same words; but kinds are 0 to 3 or 15, and an access has a size.
function own(given: Int32Array, from: number, count: number): number {
  for (let i = 0; i < count; i++) {
    const high = given[from + i * 2 + 1] as number
    const kind = high >>> 28
    if (kind === 15) continue
    if (kind > 3 || (high & 0x0fff_0000) === 0) return i
  }
  return count
}
