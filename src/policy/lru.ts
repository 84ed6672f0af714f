/** LRU: the page that was not used for the longest time goes. A stack policy: more frames never miss more. */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

export class Lru implements Policy {
  readonly name = 'lru'
  readonly exactOrder = true
  readonly frames: number
  readonly #lists = new Lists(1)

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
    this.#lists.renew(page)
    return HIT
  }
  touch(page: number): void {
    this.#lists.renew(page)
  }

  admit(page: number): number {
    const victim = this.residents < this.frames ? NONE : this.evict()
    this.#lists.fit(page)
    this.#lists.push(1, page)
    return victim
  }

  evict(): number {
    const victim = this.#lists.oldest(1)
    if (victim !== NONE) this.#lists.remove(victim)
    return victim
  }

  forget(page: number): void {
    if (this.resident(page)) this.#lists.remove(page)
  }
  queues(): Queue[] {
    return [{ name: 'stack', pages: this.#lists.pages(1), ghost: false }]
  }
}
