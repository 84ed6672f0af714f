/**
 * A kernel at work on one deflated view: what it has decoded last is in `output`, from where it can go on.
 *
 *   start(stream) or resume(stream, points, point) → advance(index)… → the bytes in output, whose position is `base` + index
 *
 * There are few of these, each for whoever needs it (src/lens/deflate.ts); all that is known is in here, so that a
 * decoder can be taken away from one view and given to another at any time.
 */
import type { Backing } from '../backing/backing.ts'
import { InflateKernel, WINDOW } from '../kernels/inflate.ts'
import { type Framing, headerLength, isGzip, trailerLength, trailerMatches } from './deflate-framing.ts'
import type { Point, Points } from './deflate-points.ts'
import { LensError } from './errors.ts'

const INPUT = 2 ** 17
/** More input is fetched when less than this is there. Headers of members must fit. */
const LOW = 2 ** 15
/** Bytes that stay in `output` beside the window. */
export const ROOM: number = 2 ** 20 + 2 ** 18

export interface DeflatedView {
  readonly backing: Backing
  readonly framing: Framing
}

/** What `advance` came to: as far as was asked, the end of a member, or the end of the view. */
export type Advance = 'room' | 'member' | 'end'

export class DeflateDecoder {
  /** Whose bytes these are. */
  view: DeflatedView | undefined
  /** Position in the view of output[0]; negative before the start. */
  base = 0
  /** What of `output` is valid. */
  from: number = WINDOW
  to: number = WINDOW
  /** When it was last used, by the count of its user. */
  used = 0
  /** Whether it is at work: backings can be views that need a decoder themselves. */
  busy = false
  /** Whether all of the view has been decoded. */
  ended = false
  readonly #kernel = new InflateKernel(INPUT, WINDOW + ROOM)
  /** Offset in the backing of input[0]; how much of the input is there, and where in it we are. */
  #source = 0
  #filled = 0
  #at = 0
  #bit = 0
  /** Where the current block's header is, in bits of the backing. */
  #block = 0
  /** 0: before a member, 1: in its blocks, 2: before its trailer. */
  #stage: 0 | 1 | 2 = 0
  #history = WINDOW

  get output(): Uint8Array {
    return this.#kernel.output
  }

  /** Position in the view of the end of `output`. */
  get position(): number {
    return this.base + this.to
  }

  /** At the start of a view, or at a later member of it. */
  start(view: DeflatedView, byte: number = view.framing.start, position = 0): void {
    this.#take(view, position)
    this.#stage = 0
    this.#load(byte)
  }

  /** At a point of the index. */
  resume(view: DeflatedView, points: Points, point: Point): void {
    if (point.block < 0) return this.start(view, point.bit / 8, point.out)
    this.#take(view, point.out)
    const kernel = this.#kernel
    this.from = WINDOW - point.windowLength
    points.window(point, kernel.input.subarray(0, point.windowBytes))
    kernel.begin()
    const got = kernel.run(0, 0, point.windowBytes, false, this.from, WINDOW + 1, this.from)
    if (got !== 'end' || kernel.made !== WINDOW)
      throw new LensError('io', view.framing.lens, 'a window of the index is damaged')
    this.#history = this.from
    this.#load(Math.floor(point.block / 8))
    kernel.begin()
    const header = kernel.run(0, point.block % 8, this.#filled, this.#more(), WINDOW, 0, this.#history)
    if (header !== 'room') throw this.#corrupt(header)
    kernel.jump(point.stored)
    this.#block = point.block
    const byte = Math.floor(point.bit / 8)
    if (byte - this.#source <= this.#filled - LOW || !this.#more()) this.#at = byte - this.#source
    else this.#load(byte)
    this.#bit = point.bit % 8
    this.#stage = 1
  }

  /** Decodes until `output` is filled up to index `stop` (at most WINDOW + ROOM) or a bit beyond, or something ends. */
  advance(stop: number): Advance {
    if (this.ended) return 'end'
    if (this.#stage === 2) this.#skip(trailerLength[this.#framing.kind])
    if (this.#stage !== 1 && !this.#enterMember()) return 'end'
    const kernel = this.#kernel
    for (;;) {
      if (this.#filled - this.#at < LOW) this.#fetch()
      const got = kernel.run(this.#at, this.#bit, this.#filled, this.#more(), this.to, stop, this.#history)
      this.#at = kernel.position
      this.#bit = kernel.bit
      this.to = kernel.made
      if (kernel.blockAt >= 0) this.#block = (this.#source + kernel.blockAt) * 8 + kernel.blockBit
      if (got === 'room') return 'room'
      if (got === 'end') {
        if (this.#bit > 0) this.#at++
        this.#bit = 0
        this.#stage = 2
        return 'member'
      }
      if (got !== 'input' || !this.#more()) throw this.#corrupt(got === 'input' ? 'truncated' : got)
    }
  }

  /** Makes room in `output`: only the window stays. */
  slide(): void {
    if (this.to <= WINDOW) return
    const moved = this.to - WINDOW
    this.output.copyWithin(0, moved, this.to)
    this.base += moved
    this.to = WINDOW
    this.from = Math.max(0, this.from - moved)
    this.#history = Math.max(0, this.#history - moved)
  }

  /** Offset in the backing of the member that comes next. */
  get member(): number {
    return this.#source + this.#at + (this.#stage === 2 ? trailerLength[this.#framing.kind] : 0)
  }

  /** Whether a member was found to end in the last `advance`: checks its trailer against what was decoded of it. */
  verify(sum: number, length: number): void {
    const { kind, lens, sum: expected = sum } = this.#framing
    const n = trailerLength[kind]
    if (kind === 'raw' && sum !== expected)
      throw new LensError('corrupt', lens, 'the checksum of the data is wrong', this.#source + this.#at)
    if (this.#filled - this.#at < n) this.#fetch()
    const trailer = this.#kernel.input.subarray(this.#at, Math.min(this.#at + n, this.#filled))
    if (trailer.length < n || !trailerMatches(kind, trailer, sum, length))
      throw new LensError(
        'corrupt',
        lens,
        trailer.length < n
          ? 'the stream is truncated in its checksum'
          : 'the checksum of the stream is wrong',
        this.#source + this.#at,
      )
  }

  /** The place where decoding stands, for an index: bit of the backing, bit of the block's header, rest of a stored block. */
  place(): { readonly bit: number; readonly block: number; readonly stored: number } | undefined {
    if (this.#stage !== 1 || !this.#kernel.insideBlock) return undefined
    return {
      bit: (this.#source + this.#at) * 8 + this.#bit,
      block: this.#block,
      stored: this.#kernel.storedRest,
    }
  }

  /** Up to 32 KiB of the member before the end of `output`. */
  window(): Uint8Array {
    return this.output.subarray(Math.max(this.#history, this.to - WINDOW), this.to)
  }

  adler(sum: number, from: number): number {
    return this.#kernel.adler(sum, from, this.to - from)
  }

  get #framing(): Framing {
    if (!this.view) throw new Error('lethe: a decoder without a view')
    return this.view.framing
  }

  #take(view: DeflatedView, position: number): void {
    this.view = view
    this.base = position - WINDOW
    this.from = this.to = this.#history = WINDOW
    this.ended = false
    this.#bit = 0
  }

  /** Whether the backing has more than what is in `input`. */
  #more(): boolean {
    return this.#source + this.#filled < this.#framing.end
  }

  #load(byte: number): void {
    this.#source = byte
    this.#filled = 0
    this.#at = 0
    this.#fetch()
  }

  /** Moves what is left of the input to its front and reads what follows. */
  #fetch(): void {
    const { input } = this.#kernel
    const rest = this.#filled - this.#at
    if (rest > 0) input.copyWithin(0, this.#at, this.#filled)
    this.#source += this.#at
    this.#at = 0
    this.#filled = Math.max(0, rest)
    const wanted = Math.min(INPUT - this.#filled, this.#framing.end - this.#source - this.#filled)
    if (wanted <= 0) return
    const got = this.view?.backing.read(
      this.#source + this.#filled,
      input.subarray(this.#filled, this.#filled + wanted),
    )
    if (got !== wanted)
      throw new LensError('io', this.#framing.lens, 'the backing is shorter than it was', this.#source)
    this.#filled += wanted
  }

  #skip(bytes: number): void {
    this.#at += bytes
    this.#stage = 0
  }

  /** Reads the header of the next member; false where there is none. */
  #enterMember(): boolean {
    const { kind, start, lens } = this.#framing
    if (this.#filled - this.#at < LOW) this.#fetch()
    const bytes = this.#kernel.input.subarray(this.#at, this.#filled)
    const first = this.#source + this.#at === start
    if (!first && (kind !== 'gzip' || !isGzip(bytes))) {
      this.ended = true
      return false
    }
    const length = headerLength(kind, bytes)
    if (typeof length === 'string') throw new LensError('corrupt', lens, length, this.#source + this.#at)
    this.#at += length
    this.#bit = 0
    this.#stage = 1
    this.#history = this.to
    this.#kernel.begin()
    return true
  }

  #corrupt(what: string): LensError {
    return new LensError(
      'corrupt',
      this.#framing.lens,
      `the deflated stream is damaged: ${what}`,
      this.#source + this.#at,
    )
  }
}
