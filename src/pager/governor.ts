// Holds the stall share of a target (the part of the time in which it waits for refills, or for us in a stop) under a limit, and
// gives back as much as that allows. The law, in units of seconds of waiting per second:
//
//   A drop is a *risk*: the time that the target would wait if it wanted all of it back at once (prices.ts).
//   Risk may be taken at `rate` × (1 − share ÷ aim), cheapest first; the aim is a little below the limit, for prices are guesses. So as the share comes near the limit dropping stops by
//   itself, and at `rate` = limit even a target that wants everything back at once stays below it.
//   A drop is put off until its risk is ten times what the stop costs that it takes, so that stops are no more than a tenth of it.
//   While the share is below half of the limit and all that was allowed is used, the rate doubles every period: what
//   is dropped does not come back. As soon as the share exceeds the limit the rate is the limit again.
//
// The first is Meta's senpai (reclaim in proportion to 1 − pressure ÷ limit), the second TCP's slow start.

/** Where the share is to be while there is something to drop that comes back, as a part of the limit. */
const margin = 0.7
/** Milliseconds of a period. */
const period = 250
/** Milliseconds over which the share is averaged. */
const memory = 1000

export class Governor {
  /** 0 to 1. */
  readonly limit: number
  /** Stall share of the last second or so, 0 to 1 and more. */
  share = 0
  /** Seconds of risk per second. */
  rate: number
  #credit = 0
  #exhausted = false
  #then: number | undefined
  #waited = 0
  #stop = 0

  constructor(limit: number) {
    this.limit = limit
    this.rate = limit
  }

  /**
   * Seconds of risk that may be taken now; 0 most of the time. `now`: milliseconds. `waited`: seconds that the target has waited
   * since some time in the past.
   */
  allowance(now: number, waited: number): number {
    if (this.#then === undefined) {
      this.#then = now
      this.#waited = waited
      return 0
    }
    const elapsed = now - this.#then
    if (elapsed < period) return 0
    const latest = Math.max(0, waited - this.#waited) / (elapsed / 1000)
    this.share += (latest - this.share) * (1 - Math.exp(-elapsed / memory))
    this.#then = now
    this.#waited = waited
    if (this.share >= this.limit) {
      this.rate = this.limit
      this.#credit = 0
      return 0
    }
    if (this.#exhausted && this.share < this.limit / 2) this.rate *= 2
    this.#exhausted = false
    const earned = this.rate * Math.max(0, 1 - this.share / (margin * this.limit))
    const worthwhile = 10 * this.#stop
    if (earned === 0) return 0
    // What has not been used for a second is not saved up.
    this.#credit = Math.min(this.#credit + earned * (elapsed / 1000), Math.max(earned, worthwhile))
    return this.#credit >= worthwhile ? this.#credit : 0
  }

  /** So much risk was taken; `exhausted`: more would have been if it had been allowed. */
  took(risk: number, exhausted: boolean): void {
    this.#credit -= risk
    // Forgotten slowly: the machine may have been busy for a moment.
    this.#stop *= 0.9
    this.#exhausted = exhausted
    // Where there is little to drop a high rate means nothing, and would be a danger later.
    if (!exhausted) this.rate = Math.max(this.limit, Math.min(this.rate, 4 * risk))
  }

  /** The target was stopped for so many seconds, and would have run. */
  stopped(seconds: number): void {
    this.#stop += (seconds - this.#stop) / 4
  }
}
