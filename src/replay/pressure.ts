// How much of what came back may stay, and whether more may be dropped: what the guest waits for is weighed against the memory.
//
// A tenth of what the guest has written may stay, unless somebody said otherwise; less, down to half of that, where there are many pages
// that were never proved. When a guest waits for more than half of its time for pages here and there, or for such that had come back before
// (to keep more does not help who goes once over everything in order), it may keep twice as much, up to all of it; then nothing is dropped
// either, and pages come back a whole epoch at a time. When it has been calm for some time, that is taken back. A guest for which it did
// not help more than a few times is left alone.
import { pageState, type Shared, word } from './protocol.ts'

const pageBytes = 4096
/** Milliseconds over which waiting is looked at: a guest that goes through everything is to notice little of it. */
const window = 50
/** Parts of the time. */
const tooMuch = 0.5
const calm = 0.1
/** Calm windows until less may stay: twice as many every time that it was wrong. */
const firstPatience = 32
const mostRelapses = 5
/** Milliseconds. */
const countEvery = 500
const least = 64

export class Pressure {
  readonly #control: Int32Array
  readonly #states: Uint8Array
  readonly #lastWritten: Uint32Array
  readonly #budget: number
  /** Pages that the guest has, and that did not come back: how many there were when they were last counted. */
  #own = 0
  #counted = -Infinity
  /** Times ten percent. */
  #factor = 1
  #since = performance.now()
  #waited = 0
  #quiet = 0
  #patience = firstPatience
  #relapses = 0
  /** How often nothing was dropped for a while. */
  held = 0

  /** `budget`: bytes that may stay; 0: a tenth of what is written. */
  constructor({ control, states, lastWritten }: Shared, budget: number) {
    this.#control = control
    this.#states = states
    this.#lastWritten = lastWritten
    this.#budget = budget
  }

  /** It was given up: the guest comes back for everything again and again. */
  get off(): boolean {
    return this.#relapses > mostRelapses
  }

  /** More comes back than should. */
  get high(): boolean {
    return this.#factor > 1
  }

  /** Pages that may stay. */
  get pages(): number {
    const top = this.#control[word.top] as number
    const base =
      this.#budget > 0
        ? this.#budget / pageBytes
        : Math.max(top / 20, Math.min(top / 10, top / 8 - this.#own))
    return Math.max(least, Math.floor(Math.min(base * this.#factor, top)))
  }

  /** The guest has waited, from `start` to `end` (ms), for a page that had come back before, or that did not follow the last one. */
  waited(start: number, end: number): void {
    this.#waited += end - start
    this.look(end)
  }

  /** To be called now and then. */
  look(now: number): void {
    if (now > this.#counted + countEvery) this.#count(now)
    const time = now - this.#since
    if (time < window) return
    const part = this.#waited / time
    this.#since = now
    this.#waited = 0
    if (part > tooMuch) {
      this.#quiet = 0
      this.#more()
    } else if (part > calm) this.#quiet = 0
    else if (this.high && ++this.#quiet >= this.#patience && !this.off) this.#less()
  }

  #count(now: number): void {
    this.#counted = now
    const top = this.#control[word.top] as number
    this.#own = 0
    for (let page = 0; page < top; page++)
      if (this.#states[page] === pageState.physical && this.#lastWritten[page] !== 0) this.#own++
  }

  /** The guest has ended: whatever waits may be dropped. */
  release(): void {
    this.#counted = -Infinity
    this.#factor = 1
    Atomics.store(this.#control, word.hold, 0)
  }

  get #all(): boolean {
    return this.pages >= (this.#control[word.top] as number)
  }

  #more(): void {
    if (this.#all) return
    this.#factor *= 2
    if (!this.#all) return
    this.held++
    this.#relapses++
    this.#patience *= 2
    Atomics.store(this.#control, word.hold, 1)
  }

  #less(): void {
    this.#quiet = 0
    this.#factor = Math.max(1, this.#factor / 2)
    if (!this.#all) Atomics.store(this.#control, word.hold, 0)
  }
}
