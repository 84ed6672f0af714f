/**
 * Segmented LRU (Karedla, Love and Wherry 1994) with four segments, as in libCacheSim: a page enters the lowest segment that has room, a hit
 * moves it one segment up, what overflows a segment goes down to the next, and the oldest of the lowest one goes.
 *
 * Each segment has a quarter of the frames, rounded down. Up to three are left, by which the lowest segment overflows when all are
 * full. A hit there that sends a page down ends that: libCacheSim then evicts what is too much. Whoever hits has no frame to
 * fill, so here such pages are *given up*: they stay, and are the first to go. `access` counts a reference to one as the miss that
 * it is in libCacheSim; a `touch` finds it in memory, and saves it.
 *
 * With fewer than four frames segments would have none, and libCacheSim takes no page at all. Here all is one segment then: LRU.
 */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const SEGMENTS = 4
const GIVEN_UP = 5

export class Slru implements Policy {
  readonly name = 'slru'
  readonly exactOrder = true
  readonly frames: number
  readonly #lists = new Lists(GIVEN_UP)
  /** Pages of a segment, at most; the lowest may have more. */
  readonly #each: number
  /** The highest segment. */
  readonly #top: number
  #count = 0
  /** The page at the newest end of the highest segment: most references are to it again. */
  #newest: number = NONE

  constructor(frames: number) {
    this.frames = frames
    this.#each = Math.floor(frames / SEGMENTS)
    this.#top = frames < SEGMENTS ? 1 : SEGMENTS
  }
  get residents(): number {
    return this.#count
  }
  resident(page: number): boolean {
    return page < this.#lists.in.length && this.#lists.in[page] !== 0
  }
  access(page: number): number {
    if (page === this.#newest) return HIT
    const lists = this.#lists
    const list = page < lists.in.length ? (lists.in[page] as number) : 0
    if (list === 0) return this.admit(page)
    this.touch(page)
    return list === GIVEN_UP ? NONE : HIT
  }
  touch(page: number): void {
    const lists = this.#lists
    const segment = lists.in[page] as number
    if (segment === this.#top) {
      lists.renew(page)
      this.#newest = page
      return
    }
    if (segment === GIVEN_UP) {
      lists.remove(page)
      return this.#enter(page)
    }
    lists.move(segment + 1, page)
    if (segment + 1 === this.#top) this.#newest = page
    if ((lists.size[segment + 1] as number) <= this.#each) return
    lists.move(segment, lists.oldest(segment + 1))
    if (segment > 1) return
    while ((lists.size[1] as number) > this.#each) lists.move(GIVEN_UP, lists.oldest(1))
  }

  /** Into the lowest segment that has room; if none has, the lowest. */
  #enter(page: number): void {
    const { size } = this.#lists
    let segment = 1
    while (segment <= SEGMENTS && (size[segment] as number) >= this.#each) segment++
    if (segment > SEGMENTS) segment = 1
    this.#lists.push(segment, page)
    if (segment === this.#top) this.#newest = page
  }

  admit(page: number): number {
    const lists = this.#lists
    const victim = this.#count < this.frames ? NONE : this.evict()
    lists.fit(page)
    this.#enter(page)
    this.#count++
    return victim
  }

  evict(): number {
    const lists = this.#lists
    let victim = lists.oldest(GIVEN_UP)
    for (let segment = 1; victim === NONE && segment <= SEGMENTS; segment++) victim = lists.oldest(segment)
    if (victim === NONE) return NONE
    lists.remove(victim)
    this.#count--
    if (victim === this.#newest) this.#newest = NONE
    return victim
  }

  forget(page: number): void {
    if (!this.resident(page)) return
    this.#lists.remove(page)
    this.#count--
    if (page === this.#newest) this.#newest = NONE
  }
  queues(): Queue[] {
    const segments = [4, 3, 2, 1].slice(-this.#top)
    const queue = (name: string, list: number): Queue => ({
      name,
      pages: this.#lists.pages(list),
      ghost: false,
    })
    const rest = this.frames - this.#each * SEGMENTS
    return [
      ...segments.map(segment => ({
        ...queue(`segment ${segment}`, segment),
        target: this.#each + (segment === 1 ? rest : 0),
      })),
      ...(rest === 0 || this.#top === 1 ? [] : [queue('given up', GIVEN_UP)]),
    ]
  }
}
