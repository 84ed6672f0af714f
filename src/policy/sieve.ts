/**
 * SIEVE (Zhang, Yang et al., NSDI 2024): a queue in order of arrival, one bit for each page, and a hand that moves from old to new, clears
 * bits and takes the first page whose bit is clear. Survivors stay where they are, so new pages are sifted quickly.
 */
import { grown, Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

export class Sieve implements Policy {
  readonly name = 'sieve'
  readonly exactOrder = false
  readonly frames: number
  readonly #lists = new Lists(1)
  #bit = new Uint8Array(1024)
  /** The next page to look at, or -1: the oldest. */
  #hand: number = NONE

  constructor(frames: number) {
    this.frames = frames
  }
  get residents(): number {
    return this.#lists.size[1] as number
  }
  resident(page: number): boolean {
    return page < this.#lists.in.length && this.#lists.in[page] !== 0
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    this.#bit[page] = 1
    return HIT
  }
  touch(page: number): void {
    this.#bit[page] = 1
  }

  admit(page: number): number {
    const victim = this.residents < this.frames ? NONE : this.evict()
    this.#lists.fit(page)
    if (page >= this.#bit.length) this.#bit = grown(this.#bit, page)
    this.#lists.push(1, page)
    this.#bit[page] = 0
    return victim
  }

  evict(): number {
    let page = this.#hand === NONE ? this.#lists.oldest(1) : this.#hand
    if (page === NONE) return NONE
    while (this.#bit[page] === 1) {
      this.#bit[page] = 0
      page = this.#lists.newer(page)
      if (page === NONE) page = this.#lists.oldest(1)
    }
    this.#hand = this.#lists.newer(page)
    this.#lists.remove(page)
    return page
  }

  forget(page: number): void {
    if (!this.resident(page)) return
    if (page === this.#hand) this.#hand = this.#lists.newer(page)
    this.#lists.remove(page)
  }
  queues(): Queue[] {
    const pages = this.#lists.pages(1)
    const hand = this.#hand === NONE ? pages.length - 1 : pages.indexOf(this.#hand)
    return [
      { name: 'queue', pages, ghost: false, marks: pages.map(p => this.#bit[p] as number), hands: { hand } },
    ]
  }
}
