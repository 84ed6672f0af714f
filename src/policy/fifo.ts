/** FIFO: the page that came first goes first, however often it was used since. */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

export class Fifo implements Policy {
  readonly name = 'fifo'
  readonly exactOrder = false
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
    return this.resident(page) ? HIT : this.admit(page)
  }
  touch(_page: number): void {}

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
    return [{ name: 'queue', pages: this.#lists.pages(1), ghost: false }]
  }
}
