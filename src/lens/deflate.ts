/**
 * Deflated data as a view with random access: what the lenses gunzip, zlib@ and inflate@ do.
 *
 * One pass decodes everything, checks the checksums and notes a point about every MiB. A get goes on with a decoder
 * that stands a little before, or has the bytes already; else it takes the one that was not used for longest to the point before.
 */
import { crc32 } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { WINDOW } from '../kernels/inflate.ts'
import { DeflateDecoder, type DeflatedView, ROOM } from './deflate-decoder.ts'
import type { Framing } from './deflate-framing.ts'
import { PointMaker, Points } from './deflate-points.ts'
import { LensError } from './errors.ts'
import type { IndexMaker, IndexStore } from './index-store.ts'
import { Indexed } from './indexed.ts'
import type { Lens } from './lens.ts'

/** Decoders, for all views of this thread; each has some 1.5 MiB. */
const MOST_DECODERS = 3
/** Bytes decoded between two looks at the clock and the index. */
const STEP = 2 ** 18
const decoders: DeflateDecoder[] = []
let uses = 0

/** Takes a decoder away from whoever used it longest ago, and marks it as busy. */
function takeDecoder(): DeflateDecoder {
  let taken: DeflateDecoder | undefined
  if (decoders.length === MOST_DECODERS)
    for (const decoder of decoders)
      if (!decoder.busy && (!taken || decoder.used < taken.used)) taken = decoder
  if (!taken) {
    taken = new DeflateDecoder()
    if (decoders.length < MOST_DECODERS) decoders.push(taken)
  }
  taken.view = undefined
  taken.busy = true
  taken.used = ++uses
  return taken
}

/** The decoder that can give the byte at `position` of a view soonest. */
function decoderFor(view: DeflatedView, points: Points, position: number): DeflateDecoder {
  let best: DeflateDecoder | undefined
  for (const decoder of decoders) {
    if (decoder.view !== view || decoder.base + decoder.from > position) continue
    if (decoder.position > position) return decoder
    if (!best || decoder.position > best.position) best = decoder
  }
  const point = points.before(position)
  if (best && best.position >= point.out) return best
  const decoder = takeDecoder()
  try {
    decoder.resume(view, points, point)
  } catch (error) {
    decoder.view = undefined
    throw error
  } finally {
    decoder.busy = false
  }
  return decoder
}

/** Decodes all of a view once: checks it, gives the points to `maker`, and yields what it decodes. */
function* indexView(view: DeflatedView, maker: IndexMaker, tick: () => void): Generator<Uint8Array> {
  const { kind } = view.framing
  const useCrc = kind === 'gzip' || view.framing.sum !== undefined
  const points = new PointMaker(maker)
  const decoder = takeDecoder()
  try {
    decoder.start(view)
    while (!decoder.ended) {
      points.member(decoder.position, decoder.member)
      const began = decoder.position
      let sum = kind === 'zlib' ? 1 : 0
      for (;;) {
        if (decoder.to > WINDOW + ROOM - STEP) decoder.slide()
        const from = decoder.to
        const got = decoder.advance(from + STEP)
        if (useCrc) sum = crc32(decoder.output.subarray(from, decoder.to), sum)
        if (kind === 'zlib') sum = decoder.adler(sum, from)
        tick()
        yield decoder.output.subarray(from, decoder.to)
        if (got === 'end') break
        if (got === 'member') {
          decoder.verify(sum, decoder.position - began)
          break
        }
        if (!points.wants(decoder.position)) continue
        const place = decoder.place()
        if (place) points.inside(decoder.position, place.bit, place.block, place.stored, decoder.window())
      }
    }
    points.finish(decoder.position)
  } finally {
    decoder.view = undefined
    decoder.busy = false
  }
}

interface Opened {
  readonly view: DeflatedView
  readonly points: Points
}

function fill({ view, points }: Opened, at: number, out: Uint8Array): void {
  for (let done = 0; done < out.length; ) {
    const position = at + done
    const decoder = decoderFor(view, points, position)
    decoder.used = ++uses
    decoder.busy = true
    try {
      const wanted = position + (out.length - done)
      while (decoder.position < wanted && decoder.position - decoder.base < WINDOW + ROOM) {
        const stop = Math.min(wanted - decoder.base, WINDOW + ROOM)
        if (decoder.advance(stop) === 'end') break
      }
    } catch (error) {
      decoder.view = undefined
      throw error
    } finally {
      decoder.busy = false
    }
    if (decoder.position > position) {
      const from = position - decoder.base
      const n = Math.min(out.length - done, decoder.to - from)
      out.set(decoder.output.subarray(from, from + n), done)
      done += n
    } else if (decoder.ended) {
      decoder.view = undefined
      throw new LensError('corrupt', view.framing.lens, 'the stream ends before its size')
    }
    if (done < out.length) decoder.slide()
  }
}

/** The lens of deflated data that lies as `framing` says. */
export function deflateLens(
  name: string,
  framing: (backing: Backing) => Framing,
  suits: (backing: Backing) => boolean,
): Lens {
  const indexed = new Indexed<Opened>({
    lens: name,
    version: 1,
    make: (backing, maker, tick) => indexView({ backing, framing: framing(backing) }, maker, tick),
    open(backing, index) {
      return { view: { backing, framing: framing(backing) }, points: new Points(index) }
    },
  })

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    indexed.use(backing, opened => {
      const wanted = Math.max(0, Math.min(out.length, opened.points.size - at))
      if (wanted > 0) fill(opened, at, wanted === out.length ? out : out.subarray(0, wanted))
      out.fill(0, wanted)
    })
  }

  function head(backing: Backing, out: Uint8Array): number {
    const decoder = takeDecoder()
    try {
      decoder.start({ backing, framing: framing(backing) })
      let done = 0
      while (done < out.length && !decoder.ended) {
        if (decoder.to > WINDOW + ROOM - STEP) decoder.slide()
        const from = decoder.to
        const got = decoder.advance(from + Math.min(STEP, out.length - done))
        // It may have made a bit more than it was asked for.
        const part = decoder.output.subarray(from, Math.min(decoder.to, from + out.length - done))
        out.set(part, done)
        done += part.length
        if (got === 'end') break
      }
      return done
    } finally {
      decoder.view = undefined
      decoder.busy = false
    }
  }

  return {
    name,
    size: backing => indexed.of(backing).points.size,
    head,
    get,
    suits,
    prepare: (backing: Backing, store: IndexStore, pause?: () => void) =>
      indexed.prepare(backing, store, pause),
    begin: (backing: Backing, store: IndexStore, pause?: () => void) => indexed.begin(backing, store, pause),
    close: backing => indexed.close(backing),
    costly: true,
  }
}
