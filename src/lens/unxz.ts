/**
 * 'unxz': what an .xz file holds. A file of blocks of up to 64 KiB (`xz --block-size=64KiB`) has random access by block. Others are
 * spooled: a block of xz is 24 MiB unless somebody asked for less, and even 256 KiB can take longer than a program should
 * wait for a page. Where a spool has no room, blocks of up to 4 MiB are decoded all the same.
 *
 * File: streams, each 12 bytes of header, blocks, an index of them, 12 bytes of footer; zeros may lie between streams.
 */
import { crc32 } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import { type Block, frameLens, MOST_BLOCK } from './frames.ts'
import type { Lens } from './lens.ts'
import { decodeBlock, decodeFrames } from './native-stream.ts'

const LENS = 'unxz'
const HEADER = 12
const QUICK = 2 ** 16
/** An index of more bytes belongs to no file whose blocks we would want. */
const MOST_INDEX = 2 ** 26

function isStream(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, 6)).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]))
}

const corrupt = (what: string, offset: number): LensError => new LensError('corrupt', LENS, what, offset)

function read(backing: Backing, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (at < 0 || backing.read(at, bytes) !== length) throw corrupt('the file is truncated', at)
  return bytes
}

/** The numbers of an index: seven bits a byte, the lowest first. */
function* numbers(bytes: Uint8Array): Generator<number, void> {
  for (let at = 0; at < bytes.length; ) {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128) break
    }
    yield value
  }
}

/** The blocks of the stream that ends at `end`, and where it begins. */
function streamBlocks(backing: Backing, end: number): { readonly start: number; readonly blocks: Block[] } {
  const footer = read(backing, end - HEADER, HEADER)
  if (footer.toString('latin1', 10) !== 'YZ' || footer.readUInt32LE(0) !== crc32(footer.subarray(4, 10)))
    throw corrupt('the footer is damaged', end - HEADER)
  const indexBytes = (footer.readUInt32LE(4) + 1) * 4
  const indexAt = end - HEADER - indexBytes
  if (indexBytes > MOST_INDEX) throw corrupt('the index is too large', indexAt)
  const index = read(backing, indexAt, indexBytes)
  if (index[0] !== 0 || index.readUInt32LE(indexBytes - 4) !== crc32(index.subarray(0, indexBytes - 4)))
    throw corrupt('the index is damaged', indexAt)
  const values = numbers(index.subarray(1, indexBytes - 4))
  const count = values.next().value ?? 0
  const blocks: Block[] = []
  let used = 0
  for (let i = 0; i < count; i++) {
    const unpadded = values.next().value ?? 0
    const bytes = values.next().value ?? 0
    const sourceBytes = Math.ceil(unpadded / 4) * 4
    blocks.push({ source: used, sourceBytes, bytes, head: 0, headBytes: HEADER })
    used += sourceBytes
  }
  const start = indexAt - used - HEADER
  const header = read(backing, start, HEADER)
  if (!isStream(header) || header[7] !== footer[9]) throw corrupt('the header is not the footer’s', start)
  return {
    start,
    blocks: blocks.map(block => ({ ...block, source: block.source + start + HEADER, head: start })),
  }
}

/** From the end to the start: footers say where indexes are. undefined where a block is too large. */
function blocks(backing: Backing, tick: () => void): readonly Block[] | undefined {
  if (!isStream(read(backing, 0, HEADER))) throw corrupt('this is no xz file', 0)
  const streams: Block[][] = []
  let end = backing.size
  while (end > 0) {
    tick()
    while (end >= 4 && read(backing, end - 4, 4).readUInt32LE(0) === 0) end -= 4
    if (end === 0) break
    const stream = streamBlocks(backing, end)
    if (stream.blocks.some(({ bytes }) => bytes > MOST_BLOCK)) return undefined
    streams.push(stream.blocks)
    end = stream.start
  }
  return streams.toReversed().flat()
}

export const unxz: Lens = frameLens({
  lens: LENS,
  quick: QUICK,
  blocks,
  block(backing, block, into) {
    decodeBlock('xz', LENS, backing, block, into)
  },
  all(backing, sink, tick) {
    decodeFrames('xz', LENS, backing, isStream, sink, tick)
  },
  suits(backing) {
    const head = new Uint8Array(HEADER)
    return isStream(head.subarray(0, backing.read(0, head)))
  },
})
