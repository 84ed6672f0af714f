/**
 * Sets of ways, with replacement: what a TLB and a cache have in common.
 *
 * Slot s × ways + w is way w of set s. A key of -1 is an empty way. An empty way is taken first, the lowest one; only then does
 * the policy choose. `lru` and `fifo` go by a clock that ticks with each use, `plru` by the tree of bits that hardware uses, `random` by
 * a generator with a seed, so that a run can be had again.
 */
import type { Replacement } from './config.ts'

/** xorshift32. A seed of 0 would stay 0. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0 || 0x9e3779b9
  }

  /** A whole number from 0 to below `bound`. */
  below(bound: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x >>> 0
    return this.#state % bound
  }
}

export class Sets {
  readonly count: number
  readonly ways: number
  readonly keys: Float64Array
  readonly #policy: Replacement
  readonly #stamps: Float64Array
  /** Per set, the inner nodes of the tree: 0 says that the left half is older. */
  readonly #tree: Uint8Array
  readonly #random: Random
  #clock = 0

  constructor(count: number, ways: number, policy: Replacement, seed: number) {
    this.count = count
    this.ways = ways
    this.keys = new Float64Array(count * ways).fill(-1)
    this.#policy = policy
    this.#stamps = new Float64Array(policy === 'lru' || policy === 'fifo' ? count * ways : 0)
    this.#tree = new Uint8Array(policy === 'plru' ? count * ways : 0)
    this.#random = new Random(seed)
  }

  /** The way that holds `key`, or -1. */
  find(set: number, key: number): number {
    const { keys, ways } = this
    for (let slot = set * ways, way = 0; way < ways; way++, slot++) if (keys[slot] === key) return way
    return -1
  }

  /** A use of what is there. */
  touch(set: number, way: number): void {
    if (this.#policy === 'lru') this.#stamps[set * this.ways + way] = ++this.#clock
    else if (this.#policy === 'plru') this.#point(set, way)
  }

  /** The way that the next new key of this set gets. */
  victim(set: number): number {
    const { keys, ways } = this
    const first = set * ways
    for (let way = 0; way < ways; way++) if (keys[first + way] === -1) return way
    if (this.#policy === 'random') return this.#random.below(ways)
    if (this.#policy === 'plru') return this.#oldest(set)
    let way = 0
    for (let i = 1; i < ways; i++)
      if ((this.#stamps[first + i] as number) < (this.#stamps[first + way] as number)) way = i
    return way
  }

  /** Puts a key into a way. */
  put(set: number, way: number, key: number): void {
    this.keys[set * this.ways + way] = key
    if (this.#policy === 'plru') this.#point(set, way)
    else if (this.#policy !== 'random') this.#stamps[set * this.ways + way] = ++this.#clock
  }

  drop(set: number, way: number): void {
    this.keys[set * this.ways + way] = -1
  }

  clear(): void {
    this.keys.fill(-1)
  }

  // Every node on the way from the root to the leaf points to the other half.
  #point(set: number, way: number): void {
    const base = set * this.ways
    let node = 1
    for (let half = this.ways >> 1; half > 0; half >>= 1) {
      const right = (way & half) !== 0
      this.#tree[base + node] = right ? 0 : 1
      node = node * 2 + (right ? 1 : 0)
    }
  }

  #oldest(set: number): number {
    const base = set * this.ways
    let node = 1
    let way = 0
    for (let half = this.ways >> 1; half > 0; half >>= 1) {
      const right = this.#tree[base + node] === 1
      if (right) way |= half
      node = node * 2 + (right ? 1 : 0)
    }
    return way
  }
}
