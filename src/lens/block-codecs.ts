/** Blocks that formats compress each by itself, decompressed at once: those of Parquet, Arrow and HDF5. */
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import { LensError } from './errors.ts'
import { hyparquet } from './hyparquet.ts'

export type BlockCodec = 'none' | 'snappy' | 'gzip' | 'zlib' | 'brotli' | 'zstd' | 'lz4' | 'lz4-frame'

/** A block of LZ4 without a frame around it (the format's "block format"). */
function lz4Block(from: Uint8Array, to: Uint8Array, at = 0, start = 0): number {
  let position = at
  let made = start
  const length = (nibble: number): number => {
    let total = nibble
    if (nibble === 15)
      for (let more = 255; more === 255; ) {
        more = from[position++] ?? 0
        total += more
      }
    return total
  }
  while (position < from.length) {
    const token = from[position++] ?? 0
    const literals = length(token >> 4)
    if (position + literals > from.length || made + literals > to.length) throw new RangeError('LZ4 literals')
    to.set(from.subarray(position, position + literals), made)
    position += literals
    made += literals
    if (position >= from.length) break
    const distance = (from[position] ?? 0) | ((from[position + 1] ?? 0) << 8)
    position += 2
    const matched = length(token & 15) + 4
    if (distance === 0 || distance > made || made + matched > to.length) throw new RangeError('LZ4 match')
    if (distance >= matched) to.copyWithin(made, made - distance, made - distance + matched)
    else for (let i = 0; i < matched; i++) to[made + i] = to[made + i - distance] ?? 0
    made += matched
  }
  return made
}

/** The blocks of one LZ4 frame. Checksums are not looked at. */
function lz4Frame(from: Uint8Array, to: Uint8Array): number {
  const view = new DataView(from.buffer, from.byteOffset, from.length)
  if (view.getUint32(0, true) !== 0x184d2204) throw new RangeError('no LZ4 frame')
  const flags = from[4] ?? 0
  let at = 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0)
  let made = 0
  for (;;) {
    const size = view.getUint32(at, true)
    at += 4
    if (size === 0) return made
    const block = from.subarray(at, at + (size & 0x7fff_ffff))
    if (size & 0x8000_0000) {
      to.set(block, made)
      made += block.length
    } else made = lz4Block(block, to, 0, made)
    at += block.length + (flags & 16 ? 4 : 0)
  }
}

function decode(codec: BlockCodec, from: Uint8Array, size: number): Uint8Array {
  const options = { maxOutputLength: Math.max(1, size) }
  switch (codec) {
    case 'none':
      return from
    case 'gzip':
      return gunzipSync(from, options)
    case 'zlib':
      return inflateSync(from, options)
    case 'brotli':
      return brotliDecompressSync(from, options)
    case 'zstd':
      return zstdDecompressSync(from, options)
    default: {
      const to = new Uint8Array(size)
      if (codec === 'snappy') {
        hyparquet().snappyUncompress(from, to)
        return to
      }
      return to.subarray(0, codec === 'lz4' ? lz4Block(from, to) : lz4Frame(from, to))
    }
  }
}

/** What a block makes, `most` bytes at most; LensError 'corrupt' if it is damaged. `offset` is where in the backing it lies. */
export function decodeUpTo(
  lens: string,
  codec: BlockCodec,
  from: Uint8Array,
  most: number,
  offset: number,
): Uint8Array {
  try {
    return decode(codec, from, most)
  } catch (error) {
    throw new LensError(
      'corrupt',
      lens,
      `a block of ${from.length} bytes is damaged (${codec})`,
      offset,
      error,
    )
  }
}

/** The `size` bytes that a block makes; LensError 'corrupt' if it makes others. */
export function decodeBlock(
  lens: string,
  codec: BlockCodec,
  from: Uint8Array,
  size: number,
  offset: number,
): Uint8Array {
  const made = decodeUpTo(lens, codec, from, size, offset)
  if (made.length === size) return made
  throw new LensError(
    'corrupt',
    lens,
    `a block makes ${made.length} bytes and not ${size} (${codec})`,
    offset,
  )
}
