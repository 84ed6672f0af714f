/**
 * The random numbers of Dinero IV, for replacement and for prefetches that are given up. Versions to 7 took the C library's, so that counts
 * depended on the system; later ones (atos-tools/dineroIV) have a generator of their own.
 */

export const randomNames = ['minstd', 'libc'] as const
export type RandomName = (typeof randomNames)[number]

/** Whole numbers from 0 to 2^31 - 1. */
export interface RandomSource {
  next(): number
}

export function randomSource(name: RandomName): RandomSource {
  return name === 'minstd' ? new Minstd() : new LibcRandom()
}

/** Park, Miller and Stockmeyer's minimal standard, seed 1. */
class Minstd implements RandomSource {
  #state = 1

  next(): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647
    return this.#state
  }
}

/** The additive generator of the GNU C library's random(), seed 1. */
class LibcRandom implements RandomSource {
  readonly #ring = new Uint32Array(34)
  #at = 0

  constructor() {
    const state = [1]
    for (let i = 1; i < 31; i++) state[i] = (16_807 * (state[i - 1] as number)) % 2_147_483_647
    for (let i = 31; i < 34; i++) state[i] = state[i - 31] as number
    this.#ring.set(state)
    this.#at = 34
    for (let i = 34; i < 344; i++) this.next()
  }

  next(): number {
    const ring = this.#ring
    const i = this.#at++ % 34
    const value = ((ring[(i + 34 - 31) % 34] as number) + (ring[(i + 34 - 3) % 34] as number)) >>> 0
    ring[i] = value
    return value >>> 1
  }
}
