/** RANDOM: any page goes, each with the same probability. The same seed makes the same choices. */
import { grown } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

export class Random implements Policy {
  readonly name = 'random'
  readonly exactOrder = false
  readonly frames: number
  readonly #pages: Int32Array
  #count = 0
  /** Of each page its place in `#pages` + 1, or 0. */
  #place = new Int32Array(1024)
  #state: number

  constructor(frames: number, seed = 1) {
    this.frames = frames
    this.#pages = new Int32Array(frames)
    this.#state = seed | 0
  }
  get residents(): number {
    return this.#count
  }
  resident(page: number): boolean {
    return page < this.#place.length && this.#place[page] !== 0
  }
  access(page: number): number {
    return this.resident(page) ? HIT : this.admit(page)
  }
  touch(_page: number): void {}

  admit(page: number): number {
    const victim = this.#count < this.frames ? NONE : this.evict()
    if (page >= this.#place.length) this.#place = grown(this.#place, page)
    this.#pages[this.#count] = page
    this.#place[page] = ++this.#count
    return victim
  }

  evict(): number {
    if (this.#count === 0) return NONE
    const victim = this.#pages[Math.floor(this.#fraction() * this.#count)] as number
    this.forget(victim)
    return victim
  }

  forget(page: number): void {
    if (!this.resident(page)) return
    const last = this.#pages[--this.#count] as number
    const place = this.#place[page] as number
    this.#pages[place - 1] = last
    this.#place[last] = place
    this.#place[page] = 0
  }

  // mulberry32
  #fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  queues(): Queue[] {
    return [{ name: 'pages', pages: [...this.#pages.subarray(0, this.#count)], ghost: false }]
  }
}
