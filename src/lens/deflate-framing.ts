/** What lies around deflated data: the headers and trailers of gzip (RFC 1952) and zlib (RFC 1950), or nothing. */
import { crc32 } from 'node:zlib'

export type FramingKind = 'gzip' | 'zlib' | 'raw'

/** Where in a backing deflated data lies, and what is around it. `end` is the first byte that is not part of it at most. */
export interface Framing {
  readonly lens: string
  readonly kind: FramingKind
  readonly start: number
  readonly end: number
  /** The CRC-32 of what raw data makes, if that is known from elsewhere. */
  readonly sum?: number
}

/** A header that is no header, with what is wrong with it. */
export type HeaderLength = number | string

/** Bytes of a member's header at the start of `bytes`; what is wrong with it if it is none. */
export function headerLength(kind: FramingKind, bytes: Uint8Array): HeaderLength {
  if (kind === 'raw') return 0
  return kind === 'zlib' ? zlibHeader(bytes) : gzipHeader(bytes)
}

function zlibHeader(bytes: Uint8Array): HeaderLength {
  const [method = 0, flags = 0] = bytes
  if (bytes.length < 2 || (method & 15) !== 8 || method >> 4 > 7 || ((method << 8) | flags) % 31 !== 0)
    return 'no zlib header'
  return flags & 32 ? 'it needs a preset dictionary' : 2
}

export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 3 && bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8
}

function gzipHeader(bytes: Uint8Array): HeaderLength {
  if (!isGzip(bytes)) return 'no gzip header'
  const flags = bytes[3] ?? 0
  if (flags & 0xe0) return 'unknown gzip flags'
  let at = 10
  if (flags & 4) at += 2 + (bytes[10] ?? 0) + ((bytes[11] ?? 0) << 8)
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue
    const zero = bytes.indexOf(0, at)
    if (zero < 0) return 'gzip header without end'
    at = zero + 1
  }
  if (flags & 2) {
    const sum = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
    if (sum !== (crc32(bytes.subarray(0, at)) & 0xffff)) return 'wrong checksum of the gzip header'
    at += 2
  }
  return at <= bytes.length ? at : 'truncated gzip header'
}

/** Bytes of a member's trailer. */
export const trailerLength: Readonly<Record<FramingKind, number>> = { gzip: 8, zlib: 4, raw: 0 }

/** Whether the trailer is that of a member of `length` bytes with this checksum. */
export function trailerMatches(kind: FramingKind, bytes: Uint8Array, sum: number, length: number): boolean {
  if (kind === 'raw') return true
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (kind === 'zlib') return view.getUint32(0) === sum
  return view.getUint32(0, true) === sum && view.getUint32(4, true) === length % 2 ** 32
}
