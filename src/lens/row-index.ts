/**
 * Where the rows of a text lie (lines of a table, records that a format describes): the offset of a row every 32 KiB of text,
 * found by going through it once, as far as was asked for up to now.
 *
 *   reach(rows)   goes on until so many rows are known, or the end
 *   near(row)     a row at or before it, and its offset
 *   walk(row, n)  goes through rows that are known, some at a time
 *
 * A *scanner* knows what a row is. Going through the rows checks them, so an error is found here and not when a page is
 * made. `saved` is of use when the index is complete. Two f64 a checkpoint: row, offset; the last one is the end.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'

const SPACING = 2 ** 15
/** Bytes of text that are looked at together. */
export const TEXT: number = 2 ** 18
/** A row has so many bytes at most. */
export const MOST_ROW: number = 2 ** 24

/** Finds rows in the text that it holds. */
export interface RowScanner {
  /** Made anew by `grow`. */
  readonly input: Uint8Array
  /** Rows that one call can find. */
  readonly room: number
  /** Where in the input the last call ended: the beginning of a row. */
  readonly position: number
  /** done: at the end, or the room is full. more: the row at `position` goes on beyond the limit. Anything else is wrong with that row. */
  readonly end: string
  /** Whether the last row of a text must be closed by a line end. */
  readonly needsLineEnd: boolean
  /** Makes room for more text. */
  grow(text: number): void
  /** The rows that begin in [from, end) of a text that ends at `limit`; how many. `last`: nothing follows. */
  rows(from: number, end: number, limit: number, room: number, last: boolean): number
}

/** How an index is made of a text. */
export interface Reaching<K extends RowScanner> {
  /** What is wrong with row `row` (from 1) at `offset`: what the scanner says, or that it has no end. */
  problem(kernel: K, row: number, offset: number): LensError
  /** Called with the rows that were found; `first` is the number of the first of them. */
  onRows?(kernel: K, rows: number, limit: number, first: number): void
  tick?(): void
}

export class RowIndex<K extends RowScanner> {
  /** Rows known, and whether these are all. */
  rows = 0
  complete = false
  /** A row in whose neighbourhood somebody just was, behind its checkpoint. */
  #recentRow = 0
  #recentOffset: number
  #points = new Float64Array(128)
  #used = 0
  /** Offset of the first row that is not known. */
  #offset: number
  #text = TEXT

  constructor(start: number) {
    this.#offset = start
    this.#recentOffset = start
    this.#point(0, start)
  }

  /** A finished index as it was saved; undefined if it makes no sense. */
  static restore<K extends RowScanner>(start: number, saved: Uint8Array): RowIndex<K> | undefined {
    if (saved.length < 32 || saved.length % 16 !== 0) return undefined
    const points = new Float64Array(saved.slice().buffer)
    if (points[0] !== 0 || points[1] !== start) return undefined
    for (let i = 2; i < points.length; i++)
      if (!((points[i] as number) >= (points[i - 2] as number))) return undefined
    const index = new RowIndex<K>(start)
    index.#points = points
    index.#used = points.length
    index.rows = points[points.length - 2] ?? 0
    index.#offset = points[points.length - 1] ?? 0
    index.complete = true
    return index
  }

  saved(): Uint8Array {
    return new Uint8Array(this.#points.buffer, 0, this.#used * 8)
  }

  /** Bytes of text that a row takes, on average of what is known. */
  get #rowBytes(): number {
    const [, start = 0] = this.#points
    return this.rows === 0 ? 64 : (this.#offset - start) / this.rows
  }

  near(row: number): { readonly row: number; readonly offset: number } {
    let low = 0
    let high = this.#used / 2 - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#points[2 * middle] as number) <= row) low = middle
      else high = middle - 1
    }
    const found = this.#points[2 * low] ?? 0
    if (this.#recentRow <= row && this.#recentRow > found)
      return { row: this.#recentRow, offset: this.#recentOffset }
    return { row: found, offset: this.#points[2 * low + 1] ?? 0 }
  }

  /** Goes on until `rows` rows are known, or all. */
  reach(kernel: K, backing: Backing, rows: number, how: Reaching<K>): void {
    while (!this.complete && this.rows < rows) {
      const before = [this.rows, this.#used] as const
      try {
        this.#step(kernel, backing, how)
      } catch (error) {
        // Who asks again finds the same error.
        ;[this.rows, this.#used] = before
        throw error
      }
      how.tick?.()
    }
  }

  /** Goes through what one buffer of text holds. */
  #step(kernel: K, backing: Backing, how: Reaching<K>): void {
    const { text, limit, last } = loadText(kernel, backing, this.#offset, this.#text)
    let from = 0
    while (from < limit) {
      const n = kernel.rows(from, Math.min(limit, from + SPACING), limit, kernel.room, last)
      if (n > 0) how.onRows?.(kernel, n, limit, this.rows)
      this.rows += n
      from = kernel.position
      if (kernel.end !== 'done' && kernel.end !== 'more')
        throw how.problem(kernel, this.rows + 1, this.#offset + from)
      if (kernel.end === 'more') break
      this.#point(this.rows, this.#offset + from)
    }
    if (from < limit) {
      if (last || (from === 0 && text >= MOST_ROW))
        throw how.problem(kernel, this.rows + 1, this.#offset + from)
      if (from === 0) this.#text = text * 2
    } else if (last) {
      this.complete = true
      this.#point(this.rows, this.#offset + from)
    }
    this.#offset += from
  }

  #point(row: number, offset: number): void {
    if (this.#used === this.#points.length) {
      const more = new Float64Array(this.#used * 2)
      more.set(this.#points)
      this.#points = more
    }
    this.#points[this.#used++] = row
    this.#points[this.#used++] = offset
  }

  /**
   * Goes through `count` rows from `row` on, which are known. `select` tells the kernel whether rows are only passed over;
   * `visit` gets those that are wanted, of a text that lies at `offset` in the backing.
   */
  walk(
    kernel: K,
    backing: Backing,
    row: number,
    count: number,
    select: (wanted: boolean) => void,
    visit: (rows: number, limit: number, offset: number) => void,
  ): void {
    const near = this.near(row)
    let { offset } = near
    let skip = row - near.row
    let left = count
    select(skip === 0)
    let most = Math.min(TEXT, Math.ceil((skip + count) * this.#rowBytes * 1.25) + 4096)
    while (left > 0) {
      const { limit, last } = loadText(kernel, backing, offset, most)
      let from = 0
      while (left > 0 && from < limit) {
        const n = kernel.rows(from, limit, limit, Math.min(skip > 0 ? skip : left, kernel.room), last)
        if (skip > 0) {
          skip -= n
          if (skip === 0) select(true)
        } else {
          if (n > 0) visit(n, limit, offset)
          left -= n
        }
        from = kernel.position
        if (kernel.end !== 'done') break
      }
      if (left > 0 && (last || from === 0)) {
        if (last || kernel.end !== 'more')
          throw new LensError('io', 'rows', 'the backing has changed; look at it again', offset + from)
        most *= 2
      }
      offset += from
    }
    this.#recentRow = row + count
    this.#recentOffset = offset
  }
}

export interface Loaded {
  /** Bytes that were asked for. */
  readonly text: number
  /** Bytes of text in the kernel's input, with a line end behind the last row where it needs one. */
  readonly limit: number
  /** Whether the backing ends there. */
  readonly last: boolean
}

/** Reads up to `text` bytes from `offset` on into the kernel's input. */
function loadText(kernel: RowScanner, backing: Backing, offset: number, text: number): Loaded {
  if (kernel.input.length < text + 64) kernel.grow(text)
  const { input } = kernel
  const limit = backing.read(offset, input.subarray(0, text))
  const last = limit < text
  if (!kernel.needsLineEnd || !last || limit === 0 || input[limit - 1] === 10) return { text, limit, last }
  input[limit] = 10
  return { text, limit: limit + 1, last }
}
