/**
 * 'unlz4': what an .lz4 file holds (frames, not the legacy format). Where blocks do not depend on those before them, which
 * is what the lz4 command makes, there is random access by block (64 KiB to 4 MiB); frames of up to 4 MiB of
 * linked blocks have it by frame; larger ones are spooled.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import { type Block, frameLens, MOST_BLOCK } from './frames.ts'
import type { Lens } from './lens.ts'
import { lz4Decoder } from '../sys/codecs.ts'
import { decodeBlock, decodeFrames, framesAsBlocks, fromLibrary, NativeReader } from './native-stream.ts'

const LENS = 'unlz4'

const word = (bytes: Uint8Array, at = 0): number =>
  ((bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)) >>>
  0

const isSkippable = (head: Uint8Array): boolean =>
  head.length >= 8 && (word(head) & 0xfffffff0) >>> 0 === 0x184d2a50
const isData = (head: Uint8Array): boolean => head.length >= 7 && word(head) === 0x184d2204
const isFrame = (head: Uint8Array): boolean => isData(head) || isSkippable(head)

interface FrameHeader {
  readonly length: number
  readonly independent: boolean
  readonly blockSum: boolean
  readonly contentSum: boolean
}

function frameHeader(head: Uint8Array): FrameHeader {
  const flags = head[4] ?? 0
  return {
    length: 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0),
    independent: (flags & 32) !== 0,
    blockSum: (flags & 16) !== 0,
    contentSum: (flags & 4) !== 0,
  }
}

/** Decodes everything once, block by block, to know what each makes; undefined where blocks depend on each other. */
function independentBlocks(backing: Backing, tick: () => void): readonly Block[] | undefined {
  const found: Block[] = []
  const head = new Uint8Array(32)
  const read = (at: number): Uint8Array => head.subarray(0, backing.read(at, head))
  const reader = new NativeReader('lz4', LENS, backing, 0, 0)
  /** Bytes that the bytes of the backing from `start` to `end` make. */
  const decode = (start: number, end: number): number => {
    if (end > backing.size) throw new LensError('corrupt', LENS, 'the file is truncated', backing.size)
    reader.follow(start, end)
    let made = 0
    for (;;) {
      const step = reader.next(false)
      if (!step) return made
      made += step.made
      if (step.ended) return made
    }
  }
  try {
    for (let at = 0; at < backing.size; ) {
      const bytes = read(at)
      if (isSkippable(bytes)) {
        at += 8 + word(bytes, 4)
        continue
      }
      if (!isData(bytes)) break
      const frame = frameHeader(bytes)
      if (!frame.independent) return undefined
      const headAt = at
      reader.begin()
      decode(at, at + frame.length)
      at += frame.length
      for (;;) {
        tick()
        const size = word(read(at))
        if (size === 0) break
        const end = at + 4 + (size & 0x7fffffff) + (frame.blockSum ? 4 : 0)
        const made = decode(at, end)
        found.push({
          source: at,
          sourceBytes: end - at,
          bytes: made,
          head: headAt,
          headBytes: frame.length,
        })
        at = end
      }
      const end = at + 4 + (frame.contentSum ? 4 : 0)
      decode(at, end)
      at = end
    }
    return found
  } finally {
    reader.release()
  }
}

let decoder: ReturnType<typeof lz4Decoder> | undefined
let scratch: Uint8Array = new Uint8Array(0)

/** Blocks that depend on no others and have no sums of their own: in one call each, to where they are wanted. False for any other. */
function decodedAtOnce(backing: Backing, block: Block, into: Uint8Array): boolean {
  const flags = new Uint8Array(5)
  if (block.headBytes === 0 || backing.read(block.head, flags) < flags.length) return false
  const { independent, blockSum } = frameHeader(flags)
  if (!independent || blockSum) return false
  if (scratch.length < block.sourceBytes) scratch = new Uint8Array(block.sourceBytes)
  const bytes = scratch.subarray(0, block.sourceBytes)
  decoder ??= fromLibrary('lz4', LENS, lz4Decoder)
  let made = backing.read(block.source, bytes) === bytes.length ? 0 : -1
  for (let at = 0; at + 4 <= bytes.length && made >= 0; ) {
    const size = word(bytes, at)
    const from = bytes.subarray(at + 4, at + 4 + (size & 0x7fffffff))
    const to = into.subarray(made)
    at += 4 + from.length
    if (size >>> 31 === 0) {
      const more = decoder(from, to)
      made = more < 0 ? -1 : made + more
    } else if (from.length <= to.length) {
      to.set(from)
      made += from.length
    } else made = -1
  }
  if (made !== into.length)
    throw new LensError('corrupt', LENS, 'a block does not make what its index says', block.source)
  return true
}

export const unlz4: Lens = frameLens({
  lens: LENS,
  quick: MOST_BLOCK,
  group: 2 ** 18,
  blocks(backing, tick) {
    const head = new Uint8Array(32)
    if (!isFrame(head.subarray(0, backing.read(0, head))))
      throw new LensError('corrupt', LENS, 'this is no lz4 file', 0)
    return independentBlocks(backing, tick) ?? framesAsBlocks('lz4', LENS, backing, isFrame, MOST_BLOCK, tick)
  },
  block(backing, block, into) {
    if (!decodedAtOnce(backing, block, into)) decodeBlock('lz4', LENS, backing, block, into)
  },
  all(backing, sink, tick) {
    decodeFrames('lz4', LENS, backing, isFrame, sink, tick)
  },
  suits(backing) {
    const head = new Uint8Array(32)
    return isFrame(head.subarray(0, backing.read(0, head)))
  },
})
