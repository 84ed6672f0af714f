// What it costs to bring back a page, learned for each backing (a file, or what a lens makes of it). Shared by the two
// threads: the server notes what refills took, the controller what trial reads took before anything was dropped; the
// controller asks when it decides what goes first. A price that is a little old or lost in a race does no harm.

/** What is known of a backing's price: its index, seconds that a read took, and its bytes. */
export type KnownPrice = readonly [index: number, seconds: number, bytes: number]

/** Backings beyond so many share the last place. */
const places = 4096
/** How much the last refill counts. */
const weight = 1 / 8
/** So many times as slow as the reads before it one can be and still count as it is. */
const likely = 16
/** A price is of so many bytes. */
export const priced = 65_536
/** Seconds that a refill takes beside making the bytes: message, wake-up, copy. */
const handOff = 15e-6

export class Prices {
  readonly memory: SharedArrayBuffer
  /** Two for each backing: seconds that a read took, and its bytes. */
  readonly #known: Float64Array

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(16 * places + 8)) {
    this.memory = memory
    this.#known = new Float64Array(memory)
  }

  /** Notes that it took `seconds` to make `bytes` of a backing at once. */
  note(backing: number, bytes: number, seconds: number): void {
    const at = 2 * Math.min(backing, places - 1)
    const known = this.#known
    const first = known[at + 1] === 0
    const oldSeconds = known[at] as number
    const oldBytes = known[at + 1] as number
    // One read can be a thousand times as slow: code that is cold when a pager has just woken, a busy disk. That is no price.
    const counted = first ? seconds : Math.min(seconds, likely * oldSeconds)
    known[at] = first ? counted : oldSeconds + (counted - oldSeconds) * weight
    known[at + 1] = first ? bytes : oldBytes + (bytes - oldBytes) * weight
  }

  /** What is known of these backings, for a successor. */
  known(backings: readonly number[]): KnownPrice[] {
    const known = this.#known
    return backings
      .filter(index => index < places - 1 && this.has(index))
      .map(index => [index, known[2 * index] as number, known[2 * index + 1] as number])
  }

  /** Takes up what a predecessor knew. */
  learn(prices: readonly KnownPrice[]): void {
    for (const [index, seconds, bytes] of prices) this.#known.set([seconds, bytes], 2 * index)
  }

  /** The target waits for more of its time than it should: a fault should bring more than one page. */
  get urgent(): boolean {
    return this.#known[2 * places] !== 0
  }
  set urgent(is: boolean) {
    this.#known[2 * places] = is ? 1 : 0
  }

  has(backing: number): boolean {
    return this.#known[2 * Math.min(backing, places - 1) + 1] !== 0
  }

  /** Seconds that one read takes, of as many bytes as are usually wanted. */
  read(backing: number): number {
    return this.#known[2 * Math.min(backing, places - 1)] as number
  }

  /** Seconds that the target waits in all for 64 KiB of a backing, in as many refills as it lately took. */
  of(backing: number): number {
    const bytes = this.#known[2 * Math.min(backing, places - 1) + 1] as number
    const refills = bytes === 0 ? 1 : priced / bytes
    return refills * (this.read(backing) + handOff)
  }
}
