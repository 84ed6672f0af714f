/**
 * 'unzstd': what a zstd file holds (RFC 8878). A file of frames of up to 4 MiB that say how long they are (pzstd, the
 * seekable format, logs compressed in pieces) has random access by frame; others are spooled.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import { type Block, frameLens, MOST_BLOCK } from './frames.ts'
import type { Lens } from './lens.ts'
import { decodeBlock, decodeFrames } from './native-stream.ts'

const LENS = 'unzstd'

const word = (bytes: Uint8Array, at = 0): number =>
  ((bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)) >>>
  0

const isSkippable = (head: Uint8Array): boolean =>
  head.length >= 8 && (word(head) & 0xfffffff0) >>> 0 === 0x184d2a50
const isData = (head: Uint8Array): boolean => head.length >= 5 && word(head) === 0xfd2fb528
const isFrame = (head: Uint8Array): boolean => isData(head) || isSkippable(head)

interface FrameHeader {
  readonly length: number
  /** undefined if it does not say. */
  readonly content: number | undefined
  readonly checksum: boolean
}

function frameHeader(head: Uint8Array): FrameHeader {
  const descriptor = head[4] ?? 0
  const single = (descriptor & 32) !== 0
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0
  const at = 5 + (single ? 0 : 1) + dictionary
  const flag = descriptor >> 6
  const bytes = flag === 0 ? (single ? 1 : 0) : 2 ** flag
  let content: number | undefined
  if (bytes === 1) content = head[at]
  if (bytes === 2) content = (head[at] ?? 0) + ((head[at + 1] ?? 0) << 8) + 256
  if (bytes === 4) content = word(head, at)
  if (bytes === 8) content = word(head, at) + word(head, at + 4) * 2 ** 32
  return { length: at + bytes, content, checksum: (descriptor & 4) !== 0 }
}

/** Goes from header to header. undefined where a frame is too large or does not say how large it is. */
function blocks(backing: Backing, tick: () => void): readonly Block[] | undefined {
  const found: Block[] = []
  const head = new Uint8Array(32)
  const read = (at: number): Uint8Array => head.subarray(0, backing.read(at, head))
  if (!isFrame(read(0))) throw new LensError('corrupt', LENS, 'this is no zstd file', 0)
  let at = 0
  for (;;) {
    tick()
    const bytes = at < backing.size ? read(at) : head.subarray(0, 0)
    if (!isFrame(bytes)) return found
    if (isSkippable(bytes)) {
      at += 8 + word(bytes, 4)
      continue
    }
    const { length, content, checksum } = frameHeader(bytes)
    if (content === undefined || content > MOST_BLOCK) return undefined
    let end = at + length
    for (let last = false; !last; ) {
      const header = backing.read(end, head.subarray(0, 3)) === 3 ? word(head) & 0xffffff : -1
      if (header < 0) throw new LensError('corrupt', LENS, 'the file is truncated', end)
      last = (header & 1) !== 0
      end += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3)
    }
    if (checksum) end += 4
    if (end > backing.size) throw new LensError('corrupt', LENS, 'the file is truncated', backing.size)
    found.push({ source: at, sourceBytes: end - at, bytes: content, head: at, headBytes: 0 })
    at = end
  }
}

export const unzstd: Lens = frameLens({
  lens: LENS,
  quick: MOST_BLOCK,
  blocks,
  block(backing, block, into) {
    decodeBlock('zstd', LENS, backing, block, into)
  },
  all(backing, sink, tick) {
    decodeFrames('zstd', LENS, backing, isFrame, sink, tick)
  },
  suits(backing) {
    const head = new Uint8Array(32)
    return isFrame(head.subarray(0, backing.read(0, head)))
  },
})
