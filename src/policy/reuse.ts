/**
 * Cost over reuse: what goes is the page whose next use is far away for what it costs to bring back. When it will be used next is
 * guessed from the intervals between its uses so far, remembered also while it is away (inter-reference recency, as LIRS takes it; here a
 * moving mean), and from how long it has not been used:
 *
 *   interval known      max(interval, since); thrice `since` when that is over four intervals: it has gone out of use
 *   used only once      2 × since + frames
 *
 * A page goes if of some 64 that are drawn it is worth least: cost / next use. Drawing is what makes it cheap, for worths change with time
 * (Hyperbolic caching; Blankstein 2017). The generator is part of the policy, so it is deterministic.
 */
import { NONE, HIT, type Policy, type Queue } from './policy.ts'
import { grown } from './lists.ts'

const DRAWN = 64

export class Reuse implements Policy {
  readonly name = 'reuse'
  readonly exactOrder = true
  readonly frames: number
  /** Resident pages, in no order, and the place of each among them; -1: not resident. */
  readonly #pages: Int32Array
  #residents = 0
  #place = new Int32Array(1024).fill(-1)
  #cost = new Float64Array(1024)
  /** The time of the last use, 0: never. */
  #used = new Float64Array(1024)
  /** Mean interval between uses, 0: not known. */
  #interval = new Float64Array(1024)
  /** Uses so far, of all pages. */
  #now = 0
  #last: number = NONE
  #seed = 1

  constructor(frames: number) {
    this.frames = frames
    this.#pages = new Int32Array(frames)
  }
  get residents(): number {
    return this.#residents
  }
  resident(page: number): boolean {
    return (this.#place[page] ?? -1) >= 0
  }
  access(page: number, cost = 1): number {
    if (!this.resident(page)) return this.admit(page, cost)
    this.touch(page)
    return HIT
  }

  touch(page: number): void {
    // A loop over a page is one use.
    if (page === this.#last) return
    this.#last = page
    this.#now++
    const before = this.#used[page] as number
    if (before > 0) {
      const interval = this.#now - before
      const known = this.#interval[page] as number
      this.#interval[page] = known === 0 ? interval : (known + interval) / 2
    }
    this.#used[page] = this.#now
  }

  admit(page: number, cost = 1): number {
    const victim = this.#residents < this.frames ? NONE : this.evict()
    if (page >= this.#cost.length) {
      const length = this.#place.length
      this.#place = grown(this.#place, page)
      this.#place.fill(-1, length)
      this.#cost = grown(this.#cost, page)
      this.#used = grown(this.#used, page)
      this.#interval = grown(this.#interval, page)
    }
    this.#cost[page] = cost
    this.#place[page] = this.#residents
    this.#pages[this.#residents++] = page
    this.#last = NONE
    this.touch(page)
    return victim
  }

  evict(): number {
    if (this.#residents === 0) return NONE
    let victim = NONE
    let least = Number.POSITIVE_INFINITY
    const all = this.#residents <= DRAWN
    for (let i = 0; i < (all ? this.#residents : DRAWN); i++) {
      const page = this.#pages[all ? i : this.#draw()] as number
      const worth = this.#worth(page)
      if (worth >= least) continue
      least = worth
      victim = page
    }
    this.#remove(victim)
    return victim
  }

  #draw(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0
    return Math.floor((this.#seed / 4294967296) * this.#residents)
  }

  #worth(page: number): number {
    const since = this.#now - (this.#used[page] as number)
    const interval = this.#interval[page] as number
    const next =
      interval === 0 ? 2 * since + this.frames : since > 4 * interval ? 3 * since : Math.max(interval, since)
    return (this.#cost[page] as number) / next
  }

  #remove(page: number): void {
    const at = this.#place[page] as number
    const moved = this.#pages[--this.#residents] as number
    this.#pages[at] = moved
    this.#place[moved] = at
    this.#place[page] = -1
    if (page === this.#last) this.#last = NONE
  }

  forget(page: number): void {
    if (!this.resident(page)) {
      if (page < this.#used.length) this.#used[page] = this.#interval[page] = 0
      return
    }
    this.#remove(page)
    this.#used[page] = this.#interval[page] = 0
  }

  queues(): Queue[] {
    const pages = [...this.#pages.subarray(0, this.#residents)].sort(
      (a, b) => this.#worth(b) - this.#worth(a),
    )
    return [{ name: 'worth', pages, ghost: false, marks: pages.map(page => this.#worth(page)) }]
  }
}
