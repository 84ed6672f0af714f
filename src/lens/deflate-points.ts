/**
 * The index of deflated data: places where decoding can begin. Layout: windows, each deflated; then the points,
 * POINT_FIELDS f64 each; then the trailer of f64: mark, size of the view, number of points, zero.
 *
 * A point lies before a member's header (its block is -1, it needs no window) or inside a block: then decoding reads that
 * block's header again, takes the window, and goes on at the point's bit.
 */
import { deflateRawSync } from 'node:zlib'
import { WINDOW } from '../kernels/inflate.ts'
import type { IndexMaker, StoredIndex } from './index-store.ts'

const POINT_FIELDS = 7
const TRAILER = 32
const MARK = 20_261_122

/** Bytes of output between points, at least and at most, and between members that get one. */
const SPACING = 2 ** 20
const WIDEST = 2 ** 21
const MEMBER_SPACING = 2 ** 18
/** Bytes of index for a byte of output that we are content with. */
const SHARE = 0.0092

export interface Point {
  /** Position in the view. */
  readonly out: number
  /** Position in the backing, in bits. */
  readonly bit: number
  /** Where the block's header is, in bits; -1: a member begins at `bit`. */
  readonly block: number
  /** Bytes left of a stored block. */
  readonly stored: number
  /** Where in the index its window lies, how many bytes, and how many it makes. */
  readonly window: number
  readonly windowBytes: number
  readonly windowLength: number
}

const bytesOf = (words: Float64Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Collects points while a stream is decoded once. */
export class PointMaker {
  readonly #maker: IndexMaker
  readonly #fields: number[] = []
  #last = Number.NEGATIVE_INFINITY
  #windows = 0

  constructor(maker: IndexMaker) {
    this.#maker = maker
  }

  /** A member begins. */
  member(out: number, byte: number): void {
    if (out - this.#last < MEMBER_SPACING) return
    this.#fields.push(out, byte * 8, -1, 0, 0, 0, 0)
    this.#last = out
  }

  /** Whether there should be a point at `out`: not too near the last, and not where windows cost too much. */
  wants(out: number): boolean {
    const since = out - this.#last
    return since >= SPACING && (since >= WIDEST || this.#windows + WINDOW / 3 <= SHARE * out)
  }

  inside(out: number, bit: number, block: number, stored: number, window: Uint8Array): void {
    const packed = deflateRawSync(window, { level: 6 })
    this.#fields.push(out, bit, block, stored, this.#maker.size, packed.length, window.length)
    this.#maker.append(packed)
    this.#windows += packed.length
    this.#last = out
  }

  finish(size: number): void {
    this.#maker.append(bytesOf(Float64Array.from(this.#fields)))
    this.#maker.append(bytesOf(Float64Array.of(MARK, size, this.#fields.length / POINT_FIELDS, 0)))
  }
}

export class Points {
  /** Of the view, in bytes. */
  readonly size: number
  readonly #index: StoredIndex
  readonly #fields: Float64Array

  constructor(index: StoredIndex) {
    const trailer = new Float64Array(TRAILER / 8)
    index.read(index.size - TRAILER, bytesOf(trailer))
    const [mark, size = 0, count = 0] = trailer
    if (mark !== MARK) throw new Error('not an index of points')
    this.#fields = new Float64Array(count * POINT_FIELDS)
    index.read(index.size - TRAILER - this.#fields.byteLength, bytesOf(this.#fields))
    this.size = size
    this.#index = index
  }

  /** The last point at or before a position of the view. */
  before(position: number): Point {
    const fields = this.#fields
    let low = 0
    let high = fields.length / POINT_FIELDS
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((fields[middle * POINT_FIELDS] as number) <= position) low = middle
      else high = middle
    }
    const at = low * POINT_FIELDS
    return {
      out: fields[at] as number,
      bit: fields[at + 1] as number,
      block: fields[at + 2] as number,
      stored: fields[at + 3] as number,
      window: fields[at + 4] as number,
      windowBytes: fields[at + 5] as number,
      windowLength: fields[at + 6] as number,
    }
  }

  /** Reads the deflated window of a point. */
  window(point: Point, into: Uint8Array): void {
    this.#index.read(point.window, into)
  }
}
