/**
 * What the pager counts, in memory that every thread sees. Only the pager writes, nobody waits.
 *
 *   0   Float64 words, see `counter`
 *   128 Int32: bytes of the failure's text, 0 as long as the region has not failed; written last
 *   132 the failure: {code, message} as JSON
 */
import type { PlainError } from './errors.ts'

/** Numbers of the words. Those of pages unless they say something else. */
export const counter = {
  resident: 0,
  dirty: 1,
  spilled: 2,
  pinned: 3,
  refilled: 4,
  evicted: 5,
  writes: 6,
  /** A number of faults. */
  faults: 7,
  huge: 8,
} as const

export type Counter = (typeof counter)[keyof typeof counter]

const WORDS = 16
const TEXT = WORDS * 8 + 4
const ROOM = 1024

export class Counters {
  readonly shared: SharedArrayBuffer
  readonly #words: Float64Array
  readonly #length: Int32Array

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(TEXT + ROOM)) {
    this.shared = shared
    this.#words = new Float64Array(shared, 0, WORDS)
    this.#length = new Int32Array(shared, WORDS * 8, 1)
  }

  get(which: Counter): number {
    return this.#words[which] as number
  }

  add(which: Counter, n: number): void {
    this.#words[which] = (this.#words[which] as number) + n
  }

  get failed(): boolean {
    return Atomics.load(this.#length, 0) !== 0
  }

  fail(error: PlainError): void {
    const text = Buffer.from(JSON.stringify({ code: error.code, message: error.message.slice(0, ROOM / 8) }))
    const whole = error.message.length > ROOM / 8 ? text : Buffer.from(JSON.stringify(error))
    const fits = whole.length <= ROOM ? whole : text
    new Uint8Array(this.shared, TEXT).set(fits)
    Atomics.store(this.#length, 0, fits.length)
  }

  /** Why the region failed. */
  get failure(): PlainError | undefined {
    const length = Atomics.load(this.#length, 0)
    if (length === 0) return undefined
    const text = Buffer.from(new Uint8Array(this.shared, TEXT, length).slice()).toString()
    return JSON.parse(text) as PlainError
  }
}
