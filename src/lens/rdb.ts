/**
 * 'rdb': a dump of Redis or Valkey, or the base of its append-only file, with its compressed strings (LZF) as they are in memory: what
 * the server would have written with `rdbcompression no`, but for the lengths before them.
 *
 * Strings of more than 2 MiB stay as they are. Random access by blocks of about 64 KiB, for which
 * the index keeps where in the dump's structure each begins.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import { type Block, frameLens, MOST_BLOCK } from './frames.ts'
import type { Lens } from './lens.ts'
import { isDump, type Place, Walk } from './rdb-walk.ts'

const LENS = 'rdb'
const GROUP = 65_536
/** How far into a dump it is looked for a compressed string. */
const LOOK = 2 ** 22

// A place is kept as a block's head: what is left; and its kind with what is skipped.
const KINDS = 16
const headOf = ({ kind, left, skip }: Place): Pick<Block, 'head' | 'headBytes'> => ({
  head: left,
  headBytes: skip * KINDS + kind,
})
const placeOf = ({ source, head, headBytes }: Block): Place => ({
  at: source,
  kind: headBytes % KINDS,
  left: head,
  skip: Math.floor(headBytes / KINDS),
})

function* blocksOf(backing: Backing, tick: () => void): Generator<Block> {
  let made = 0
  const walk = Walk.begin(backing, {
    plain(_, length) {
      made += length
    },
    unpacked(bytes) {
      made += bytes.length
    },
  })
  let start = walk.place
  const block = (): Block => ({
    source: start.at,
    sourceBytes: walk.at - start.at,
    bytes: made,
    ...headOf(start),
  })
  for (;;) {
    tick()
    if (walk.skip > 0) walk.pass(GROUP - Math.min(made, GROUP - 1))
    else if (!walk.step()) break
    if (made < GROUP) continue
    yield block()
    start = walk.place
    made = 0
  }
  if (made > 0) yield block()
}

/** Gives what a walk makes to `sink`, piece by piece, until it says false or the walk comes to `end`. */
function decode(
  backing: Backing,
  place: Place,
  end: number,
  sink: (bytes: Uint8Array) => boolean | void,
): void {
  let on = true
  const window = new Uint8Array(GROUP)
  let windowAt = 0
  let windowBytes = 0
  const give = (bytes: Uint8Array): void => {
    if (on) on = sink(bytes) !== false
  }
  const walk = new Walk(
    backing,
    {
      plain(at, length) {
        for (let from = at; from < at + length && on; ) {
          if (from < windowAt || from >= windowAt + windowBytes) {
            windowAt = from
            windowBytes = backing.read(from, window)
            if (windowBytes === 0)
              throw new LensError('io', LENS, 'the file became shorter while it was read', from)
          }
          const part = window.subarray(from - windowAt, Math.min(windowBytes, at + length - windowAt))
          give(part)
          from += part.length
        }
      },
      unpacked: give,
    },
    place,
  )
  while (on && walk.at < end)
    if (walk.skip > 0) walk.pass(end - walk.at)
    else if (!walk.step()) return
}

const checkDump = (backing: Backing): void => {
  if (!isDump(backing)) throw new LensError('corrupt', LENS, 'this is no dump of Redis', 0)
}

/** A dump, its compressed strings decompressed. */
export const rdb: Lens = frameLens({
  lens: LENS,
  quick: MOST_BLOCK * 2,
  blocks(backing, tick) {
    checkDump(backing)
    return [...blocksOf(backing, tick)]
  },
  block(backing, block, into) {
    let done = 0
    decode(backing, placeOf(block), block.source + block.sourceBytes, bytes => {
      if (done + bytes.length > into.length)
        throw new LensError('corrupt', LENS, 'the file has changed', block.source)
      into.set(bytes, done)
      done += bytes.length
    })
    if (done !== into.length) throw new LensError('corrupt', LENS, 'the file has changed', block.source)
  },
  all(backing, sink, tick) {
    checkDump(backing)
    const { place } = Walk.begin(backing, { plain: () => undefined, unpacked: () => undefined })
    decode(backing, place, backing.size, bytes => {
      tick()
      return sink(bytes)
    })
  },
  suits(backing) {
    if (!isDump(backing)) return false
    let packed = false
    const walk = Walk.begin(backing, {
      plain: () => undefined,
      unpacked: () => {
        packed = true
      },
    })
    while (!packed && walk.at < LOOK) {
      if (walk.skip > 0) walk.pass(Number.POSITIVE_INFINITY)
      else if (!walk.step()) break
    }
    return packed
  },
})
