// Something that is tried less and less often while it does not help.

/** It is put off for so many times at most. */
const longestPause = 255

export class Tries {
  #pause = 0
  #left = 0

  /** Whether it is to be tried now. */
  next(): boolean {
    return this.#left-- <= 0
  }

  was(good: boolean): void {
    this.#pause = good ? 0 : Math.min(longestPause, 2 * this.#pause + 1)
    this.#left = this.#pause
  }
}
