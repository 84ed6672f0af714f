/**
 * 2Q, full version (Johnson and Shasha, VLDB 1994): new pages queue in A1in, a quarter of the frames; what leaves it is remembered in A1out,
 * half as many as there are frames; a page that is wanted again while it is remembered has proved itself and goes to Am, an LRU stack.
 */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const IN = 1
const OUT = 2
const MAIN = 3

export class TwoQ implements Policy {
  readonly name = '2q'
  readonly exactOrder = true
  readonly frames: number
  readonly #lists = new Lists(3)
  readonly #inTarget: number
  readonly #outTarget: number

  constructor(frames: number) {
    this.frames = frames
    this.#inTarget = Math.floor(frames * 0.25)
    this.#outTarget = Math.floor(frames * 0.5)
  }
  get residents(): number {
    return (this.#lists.size[IN] as number) + (this.#lists.size[MAIN] as number)
  }
  resident(page: number): boolean {
    if (page >= this.#lists.in.length) return false
    const list = this.#lists.in[page] as number
    return list === IN || list === MAIN
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    this.touch(page)
    return HIT
  }
  touch(page: number): void {
    if (this.#lists.in[page] === MAIN) this.#lists.renew(page)
  }

  admit(page: number): number {
    const lists = this.#lists
    lists.fit(page)
    const known = lists.in[page] === OUT
    if (known) lists.remove(page)
    const victim = this.residents < this.frames ? NONE : this.evict()
    lists.push(known ? MAIN : IN, page)
    return victim
  }

  evict(): number {
    const lists = this.#lists
    const fromIn = (lists.size[IN] as number) > this.#inTarget || lists.size[MAIN] === 0
    const victim = lists.oldest(fromIn ? IN : MAIN)
    if (victim === NONE) return NONE
    if (fromIn && this.#outTarget > 0) {
      if ((lists.size[OUT] as number) >= this.#outTarget) lists.remove(lists.oldest(OUT))
      lists.move(OUT, victim)
    } else lists.remove(victim)
    return victim
  }

  forget(page: number): void {
    if (page < this.#lists.in.length && this.#lists.in[page] !== 0) this.#lists.remove(page)
  }
  queues(): Queue[] {
    const { frames } = this
    return [
      { name: 'A1in', pages: this.#lists.pages(IN), ghost: false, target: this.#inTarget },
      { name: 'Am', pages: this.#lists.pages(MAIN), ghost: false, target: frames - this.#inTarget },
      { name: 'A1out', pages: this.#lists.pages(OUT), ghost: true, target: this.#outTarget },
    ]
  }
}
