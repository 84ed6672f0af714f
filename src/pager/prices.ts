// What it costs to bring back a page, learned for each backing (a file, or what a lens makes of it). Shared by the two
// threads: the server notes what refills took, the controller what trial reads took before anything was dropped; the
// controller asks when it decides what goes first. A price that is a little old or lost in a race does no harm.

/** What is known of a backing's price: its index, seconds that a read took, its bytes, and seconds for 64 KiB read calmly. */
export type KnownPrice = readonly [index: number, seconds: number, bytes: number, calm?: number]

/** Backings beyond so many share the last place. */
const places = 4096
/** How much the last refill counts. */
const weight = 1 / 8
/** So many times as slow as the reads before it, byte for byte, one can be and still count as it is. */
const likely = 2
/**
 * 64 KiB that come back in small refills cost at most so many times what they cost at once: what takes long is to get at a block,
 * and a block that has been made serves its neighbours too.
 */
const piecemeal = 4
/** Numbers for each backing: seconds that a read took, its bytes, seconds that 64 KiB took before anything was dropped. */
const numbers = 3
/** A price is of so many bytes. */
export const priced = 65_536
const page = 4096
/** Seconds that a refill takes beside making the bytes: message, wake-up, copy. */
const handOff = 15e-6

export class Prices {
  readonly memory: SharedArrayBuffer
  readonly #known: Float64Array

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8 * (numbers * places + 1))) {
    this.memory = memory
    this.#known = new Float64Array(memory)
  }

  /** Notes that it took `seconds` to make `bytes` of a backing at once. */
  note(backing: number, bytes: number, seconds: number): void {
    const at = numbers * Math.min(backing, places - 1)
    const known = this.#known
    const first = known[at + 1] === 0
    const oldSeconds = known[at] as number
    const oldBytes = known[at + 1] as number
    // One read can be a thousand times as slow: code that is cold when a pager has just woken, a busy disk. That is no price. So the
    // number moves as a median does, a step at a time; of what is really slow now every refill says so.
    const usual = oldSeconds * Math.max(1, bytes / oldBytes)
    const counted = first ? seconds : Math.min(seconds, likely * usual)
    known[at] = first ? counted : oldSeconds + (counted - oldSeconds) * weight
    known[at + 1] = first ? bytes : oldBytes + (bytes - oldBytes) * weight
  }

  /** Notes what 64 KiB of a backing took that nobody waited for: its first price, and what bounds the later ones. */
  appraise(backing: number, seconds: number): void {
    this.note(backing, priced, seconds)
    this.#known[numbers * Math.min(backing, places - 1) + 2] = seconds
  }

  /** What is known of these backings, for a successor. */
  known(backings: readonly number[]): KnownPrice[] {
    const known = this.#known
    return backings
      .filter(index => index < places - 1 && this.has(index))
      .map(index => {
        const [seconds = 0, bytes = 0, calm = 0] = known.subarray(numbers * index, numbers * index + numbers)
        return [index, seconds, bytes, calm]
      })
  }

  /** Takes up what a predecessor knew. */
  learn(prices: readonly KnownPrice[]): void {
    for (const [index, seconds, bytes, calm = 0] of prices)
      this.#known.set([seconds, bytes, calm], numbers * index)
  }

  /** The target waits for more of its time than it should: a fault should bring more than one page. */
  get urgent(): boolean {
    return this.#known[numbers * places] !== 0
  }
  set urgent(is: boolean) {
    this.#known[numbers * places] = is ? 1 : 0
  }

  has(backing: number): boolean {
    return this.#known[numbers * Math.min(backing, places - 1) + 1] !== 0
  }

  /** Seconds that one read takes, of as many bytes as are usually wanted. */
  read(backing: number): number {
    return this.#known[numbers * Math.min(backing, places - 1)] as number
  }

  /** Seconds that the target waits in all for 64 KiB of a backing, in as many refills as it lately took. */
  of(backing: number): number {
    const bytes = this.#known[numbers * Math.min(backing, places - 1) + 1] as number
    const calm = this.#known[numbers * Math.min(backing, places - 1) + 2] as number
    const refills = bytes === 0 ? 1 : priced / bytes
    const price = refills * (this.read(backing) + handOff)
    return calm === 0 ? price : Math.min(price, piecemeal * (calm + (priced / page) * handOff))
  }
}
