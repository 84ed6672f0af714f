/**
 * GreedyDual with frequency (GDSF; Cherkasova 1998) for pages of one size: a page is worth what its refill costs, times how often it was used
 * since it came, above the worth of the last page that went. So what is cheap to make again goes first, and nothing stays for ever.
 * A loop over a page is one use, and more than four uses count as four: a program's references come in bursts of thousands, and
 * counting them all keeps for ever what was hot once.
 */
import { NONE, HIT, type Policy, type Queue } from './policy.ts'
import { grown } from './lists.ts'
import { Priorities } from './priorities.ts'

const MOST_USES = 4

export class Gdsf implements Policy {
  readonly name = 'gdsf'
  readonly exactOrder = true
  readonly frames: number
  readonly #worth: Priorities
  #cost = new Float64Array(1024)
  #uses = new Uint8Array(1024)
  #last: number = NONE
  /** The worth of the last page that went. */
  #age = 0

  constructor(frames: number) {
    this.frames = frames
    this.#worth = new Priorities(frames)
  }
  get residents(): number {
    return this.#worth.size
  }
  resident(page: number): boolean {
    return this.#worth.has(page)
  }
  access(page: number, cost = 1): number {
    if (!this.#worth.has(page)) return this.admit(page, cost)
    this.touch(page)
    return HIT
  }
  touch(page: number): void {
    if (page === this.#last) return
    this.#last = page
    const uses = Math.min((this.#uses[page] as number) + 1, MOST_USES)
    this.#uses[page] = uses
    this.#worth.raise(page, this.#age + uses * (this.#cost[page] as number))
  }

  admit(page: number, cost = 1): number {
    const victim = this.residents < this.frames ? NONE : this.evict()
    if (page >= this.#cost.length) {
      this.#cost = grown(this.#cost, page)
      this.#uses = grown(this.#uses, page)
    }
    this.#last = page
    this.#cost[page] = cost
    this.#uses[page] = 1
    this.#worth.set(page, this.#age + cost)
    return victim
  }

  evict(): number {
    const victim = this.#worth.top()
    if (victim === NONE) return NONE
    this.#age = this.#worth.key(victim)
    this.#worth.remove(victim)
    return victim
  }

  forget(page: number): void {
    if (this.#worth.has(page)) this.#worth.remove(page)
  }
  queues(): Queue[] {
    const pages = this.#worth.pages().reverse()
    return [{ name: 'worth', pages, ghost: false, marks: pages.map(p => this.#worth.key(p) - this.#age) }]
  }
}
