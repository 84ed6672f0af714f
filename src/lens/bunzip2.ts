/**
 * 'bunzip2': what a .bz2 file holds. It is spooled: even one block takes tens of milliseconds. Where a spool has no room, streams of
 * up to 4 MiB (pbzip2, joined files) are decoded for a get. Where they end is only known by decoding them once.
 */
import { framesAsBlocks, decodeBlock, decodeFrames } from './native-stream.ts'
import { frameLens, MOST_BLOCK } from './frames.ts'
import type { Lens } from './lens.ts'

const LENS = 'bunzip2'

/** What follows 'BZh' and a level: the first block or, in an empty stream, the end. */
const FOLLOWERS = ['314159265359', '177245385090']

function isStream(head: Uint8Array): boolean {
  const bytes = Buffer.from(head.subarray(0, 10))
  return /^BZh[1-9]$/.test(bytes.toString('latin1', 0, 4)) && FOLLOWERS.includes(bytes.toString('hex', 4))
}

export const bunzip2: Lens = frameLens({
  lens: LENS,
  quick: 0,
  blocks: (backing, tick) => framesAsBlocks('bzip2', LENS, backing, isStream, MOST_BLOCK, tick),
  block(backing, block, into) {
    decodeBlock('bzip2', LENS, backing, block, into)
  },
  all(backing, sink, tick) {
    decodeFrames('bzip2', LENS, backing, isStream, sink, tick)
  },
  suits(backing) {
    const head = new Uint8Array(10)
    return isStream(head.subarray(0, backing.read(0, head)))
  },
})
