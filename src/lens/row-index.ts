/**
 * Where the rows of a table lie: the offset of a row every 32 KiB of text, found by going through it once, as far as was
 * asked for up to now.
 *
 *   reach(row)     goes on until that row is known, or the end
 *   finish(pause)  goes on to the end
 *   near(row)      a row at or before it, and its offset
 *
 * Going through the rows checks their number of fields and their quotes, so an error is found here and not when a page is
 * made. What is known is only of use whole on disk: `save` is for a finished index. Two f64 a checkpoint: row, offset; the last
 * one is the end.
 */
import type { Backing } from '../backing/backing.ts'
import { MOST_ROW, TEXT, type TableKernel } from '../kernels/table.ts'
import { LensError } from './errors.ts'

const SPACING = 2 ** 15

/** Called with the rows found, whose wanted fields are in `kernel.starts`; `first` is the number of the first of them. */
export type OnRows = (kernel: TableKernel, rows: number, limit: number, first: number) => void

export class RowIndex {
  /** Rows known, and whether these are all. */
  rows = 0
  complete = false
  /** A row in whose neighbourhood somebody just was, behind its checkpoint. */
  recentRow = 0
  recentOffset: number
  readonly #lens: string
  #points = new Float64Array(128)
  #used = 0
  /** Offset of the first row that is not known. */
  #offset: number
  #text = TEXT

  constructor(lens: string, start: number) {
    this.#lens = lens
    this.#offset = start
    this.recentOffset = start
    this.#point(0, start)
  }

  /** A finished index as it was saved; undefined if it makes no sense. */
  static restore(lens: string, start: number, saved: Uint8Array): RowIndex | undefined {
    if (saved.length < 32 || saved.length % 16 !== 0) return undefined
    const points = new Float64Array(saved.slice().buffer)
    if (points[0] !== 0 || points[1] !== start) return undefined
    for (let i = 2; i < points.length; i++)
      if (!((points[i] as number) >= (points[i - 2] as number))) return undefined
    const index = new RowIndex(lens, start)
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
  get rowBytes(): number {
    const [, start = 0] = this.#points
    return this.rows === 0 ? 64 : (this.#offset - start) / this.rows
  }

  /** The number of the last point at or before a row. */
  near(row: number): { readonly row: number; readonly offset: number } {
    let low = 0
    let high = this.#used / 2 - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#points[2 * middle] as number) <= row) low = middle
      else high = middle - 1
    }
    const found = this.#points[2 * low] ?? 0
    if (this.recentRow <= row && this.recentRow > found)
      return { row: this.recentRow, offset: this.recentOffset }
    return { row: found, offset: this.#points[2 * low + 1] ?? 0 }
  }

  /** Goes on until `rows` rows are known, or all. The kernel has been told what is wanted: nothing, if nobody looks at the rows. */
  reach(kernel: TableKernel, backing: Backing, rows: number, onRows?: OnRows, tick?: () => void): void {
    while (!this.complete && this.rows < rows) {
      this.#step(kernel, backing, onRows)
      tick?.()
    }
  }

  /** Goes through what one buffer of text holds. */
  #step(kernel: TableKernel, backing: Backing, onRows: OnRows | undefined): void {
    const { text, limit, last } = loadText(kernel, backing, this.#offset, this.#text)
    let from = 0
    while (from < limit) {
      const first = this.rows
      const n = kernel.rows(from, Math.min(limit, from + SPACING), limit, kernel.room)
      if (n > 0) onRows?.(kernel, n, limit, first)
      this.rows += n
      if (kernel.end === 'ragged' || kernel.end === 'quote') throw this.#bad(kernel)
      from = kernel.position
      if (kernel.end === 'more') break
      this.#point(this.rows, this.#offset + from)
    }
    if (from < limit) {
      if (last) throw this.#endless('its quote is not closed', from)
      if (from === 0) {
        if (text >= MOST_ROW)
          throw this.#endless(`it has more than ${MOST_ROW} bytes; is its quote not closed?`, 0)
        this.#text = text * 2
      }
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

  #bad(kernel: TableKernel): LensError {
    const row = `row ${this.rows + 1}`
    if (kernel.end === 'quote')
      return new LensError(
        'corrupt',
        this.#lens,
        `in ${row} a quote opens within a field; where quotes mean nothing, say so (quote: '')`,
        this.#offset + kernel.detail,
      )
    return new LensError(
      'corrupt',
      this.#lens,
      `${row} has ${kernel.detail} field${kernel.detail === 1 ? '' : 's'}, other than the first row of the table; mend it, or take what it lacks for missing (ragged: 'missing')`,
      this.#offset + kernel.position,
    )
  }

  #endless(why: string, from: number): LensError {
    return new LensError(
      'corrupt',
      this.#lens,
      `row ${this.rows + 1} has no end: ${why}`,
      this.#offset + from,
    )
  }
}

export interface Loaded {
  /** Bytes that were asked for. */
  readonly text: number
  /** Bytes of text in the kernel's input, with a line end behind the last row. */
  readonly limit: number
  /** Whether the backing ends there. */
  readonly last: boolean
}

/** Reads up to `text` bytes from `offset` on into the kernel's input. */
export function loadText(kernel: TableKernel, backing: Backing, offset: number, text: number): Loaded {
  if (kernel.input.length < text + 1) kernel.grow(text)
  const { input } = kernel
  const limit = backing.read(offset, input.subarray(0, text))
  const last = limit < text
  if (!last || limit === 0 || input[limit - 1] === 10) return { text, limit, last }
  input[limit] = 10
  return { text, limit: limit + 1, last }
}
