/**
 * One pass over a view in order that two lenses share: the one below makes its index, the one above reads what is decoded on the way.
 *
 *   begin → read(offset, into)… → finish (the index is kept) or abandon
 *
 * What was decoded last stays for a while, because who reads in order goes back a little: to the row that was cut.
 */
import type { Pass } from './lens.ts'

/** Bytes that stay at least; twice as many are held. */
const KEPT = 2 ** 20

export interface PassOptions {
  /** Decodes: the view's bytes, piece by piece. A piece is gone when the next is asked for. */
  readonly pieces: Iterator<Uint8Array>
  /** All was decoded. */
  readonly done: () => void
  /** It failed, or was given up. */
  readonly failed: () => void
}

export class ForwardPass implements Pass {
  readonly #options: PassOptions
  readonly #kept = new Uint8Array(2 * KEPT)
  /** Position in the view of kept[0], and how much is there. */
  #base = 0
  #length = 0
  #state: 'going' | 'done' | 'failed' = 'going'

  constructor(options: PassOptions) {
    this.#options = options
  }

  read(offset: number, into: Uint8Array): number | undefined {
    let given = 0
    while (given < into.length) {
      const at = offset + given - this.#base
      if (at < 0) return undefined
      const part = this.#kept.subarray(at, Math.min(this.#length, at + into.length - given))
      into.set(part, given)
      given += part.length
      if (part.length === 0 && !this.#more()) break
    }
    return given
  }

  finish(): void {
    while (this.#more());
  }

  abandon(): void {
    if (this.#state !== 'going') return
    this.#state = 'failed'
    this.#options.pieces.return?.()
    this.#options.failed()
  }

  /** Decodes another piece; false where there is none. */
  #more(): boolean {
    if (this.#state !== 'going') return false
    try {
      const { done, value } = this.#options.pieces.next()
      if (done) {
        this.#state = 'done'
        this.#options.done()
        return false
      }
      this.#keep(value)
      return true
    } catch (error) {
      if (this.#state === 'going') this.#options.failed()
      this.#state = 'failed'
      throw error
    }
  }

  #keep(piece: Uint8Array): void {
    const kept = this.#kept
    for (let done = 0; done < piece.length; ) {
      if (this.#length === kept.length) {
        kept.copyWithin(0, KEPT)
        this.#base += KEPT
        this.#length = KEPT
      }
      const part = piece.subarray(done, done + kept.length - this.#length)
      kept.set(part, this.#length)
      this.#length += part.length
      done += part.length
    }
  }
}
