/**
 * Segmented LRU (Karedla, Love and Wherry 1994) with four segments, as in libCacheSim: a page enters the lowest segment that has room, a hit
 * moves it one segment up, what overflows a segment goes down to the next, and the oldest of the lowest one goes. Frames that four
 * does not divide belong to the lowest segment (there a hit would make a page go then; a pager's hit can't).
 */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const SEGMENTS = 4

export class Slru implements Policy {
  readonly name = 'slru'
  readonly exactOrder = true
  readonly frames: number
  readonly #lists = new Lists(SEGMENTS)
  readonly #limit = new Int32Array(SEGMENTS + 1)
  #count = 0

  constructor(frames: number) {
    this.frames = frames
    const each = Math.floor(frames / SEGMENTS)
    this.#limit.fill(each, 1)
    this.#limit[1] = frames - each * (SEGMENTS - 1)
  }
  get residents(): number {
    return this.#count
  }
  resident(page: number): boolean {
    return page < this.#lists.in.length && this.#lists.in[page] !== 0
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    this.touch(page)
    return HIT
  }
  touch(page: number): void {
    const lists = this.#lists
    const segment = lists.in[page] as number
    if (segment === SEGMENTS || this.#limit[segment + 1] === 0) return lists.renew(page)
    lists.remove(page)
    lists.push(segment + 1, page)
    for (let s = segment + 1; s > 1 && (lists.size[s] as number) > (this.#limit[s] as number); s--) {
      const down = lists.oldest(s)
      lists.remove(down)
      lists.push(s - 1, down)
    }
  }

  admit(page: number): number {
    const lists = this.#lists
    const victim = this.#count < this.frames ? NONE : this.evict()
    lists.fit(page)
    let segment = 1
    while (segment < SEGMENTS && (lists.size[segment] as number) >= (this.#limit[segment] as number))
      segment++
    lists.push(segment, page)
    this.#count++
    return victim
  }

  evict(): number {
    for (let segment = 1; segment <= SEGMENTS; segment++) {
      const victim = this.#lists.oldest(segment)
      if (victim === NONE) continue
      this.#lists.remove(victim)
      this.#count--
      return victim
    }
    return NONE
  }

  forget(page: number): void {
    if (!this.resident(page)) return
    this.#lists.remove(page)
    this.#count--
  }
  queues(): Queue[] {
    return [4, 3, 2, 1].map(segment => ({
      name: `segment ${segment}`,
      pages: this.#lists.pages(segment),
      ghost: false,
      target: this.#limit[segment] as number,
    }))
  }
}
