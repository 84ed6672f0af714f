/**
 * S3-FIFO (Yang et al., SOSP 2023): a small FIFO of a tenth of the frames filters pages that are used once; pages that were used twice there
 * move to the main FIFO, which goes round with a counter up to 3; a ghost FIFO remembers what the small one let go. With
 * under 20 frames the small FIFO is one frame (libCacheSim, whose counts ours are, takes no page at all then).
 */
import { grown, Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const SMALL = 1
const MAIN = 2
const GHOST = 3

export class S3Fifo implements Policy {
  readonly name = 's3-fifo'
  readonly exactOrder = false
  readonly frames: number
  readonly #lists = new Lists(3)
  /** References since a page came to its queue; more than 3 count as 3. */
  #uses = new Uint8Array(1024)
  readonly #mainTarget: number
  readonly #ghosts: number

  constructor(frames: number) {
    this.frames = frames
    this.#mainTarget = frames - Math.max(1, Math.floor(frames * 0.1))
    this.#ghosts = Math.floor(frames * 0.9)
  }
  get residents(): number {
    return (this.#lists.size[SMALL] as number) + (this.#lists.size[MAIN] as number)
  }
  resident(page: number): boolean {
    if (page >= this.#lists.in.length) return false
    const list = this.#lists.in[page] as number
    return list === SMALL || list === MAIN
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    if ((this.#uses[page] as number) < 3) (this.#uses[page] as number)++
    return HIT
  }
  touch(page: number): void {
    if ((this.#uses[page] as number) < 3) (this.#uses[page] as number)++
  }

  admit(page: number): number {
    const lists = this.#lists
    lists.fit(page)
    if (page >= this.#uses.length) this.#uses = grown(this.#uses, page)
    const known = lists.in[page] === GHOST
    if (known) lists.remove(page)
    const victim = this.residents < this.frames ? NONE : this.evict()
    lists.push(known ? MAIN : SMALL, page)
    this.#uses[page] = 0
    return victim
  }

  evict(): number {
    const { size } = this.#lists
    if ((size[MAIN] as number) <= this.#mainTarget && (size[SMALL] as number) > 0) {
      const victim = this.#fromSmall()
      if (victim !== NONE) return victim
    }
    return this.#fromMain()
  }

  #fromSmall(): number {
    const lists = this.#lists
    for (;;) {
      const page = lists.oldest(SMALL)
      if (page === NONE) return NONE
      if ((this.#uses[page] as number) < 2) {
        if (this.#ghosts > 0) {
          if ((lists.size[GHOST] as number) >= this.#ghosts) lists.remove(lists.oldest(GHOST))
          lists.move(GHOST, page)
        } else lists.remove(page)
        return page
      }
      lists.move(MAIN, page)
      this.#uses[page] = 0
    }
  }

  #fromMain(): number {
    const lists = this.#lists
    for (;;) {
      const page = lists.oldest(MAIN)
      if (page === NONE) return (lists.size[SMALL] as number) > 0 ? this.#fromSmall() : NONE
      if (this.#uses[page] === 0) {
        lists.remove(page)
        return page
      }
      ;(this.#uses[page] as number)--
      lists.renew(page)
    }
  }

  forget(page: number): void {
    if (page < this.#lists.in.length && this.#lists.in[page] !== 0) this.#lists.remove(page)
  }
  queues(): Queue[] {
    const queue = (name: string, list: number, target: number): Queue => {
      const pages = this.#lists.pages(list)
      const ghost = list === GHOST
      return {
        name,
        pages,
        ghost,
        target,
        ...(ghost ? {} : { marks: pages.map(p => this.#uses[p] as number) }),
      }
    }
    return [
      queue('small', SMALL, this.frames - this.#mainTarget),
      queue('main', MAIN, this.#mainTarget),
      queue('ghost', GHOST, this.#ghosts),
    ]
  }
}
