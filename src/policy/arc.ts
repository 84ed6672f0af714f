/**
 * ARC (Megiddo and Modha, FAST 2003): T1 holds pages seen once, T2 pages seen again, both LRU stacks; B1 and B2 remember what left them. A hit in
 * B1 says that T1 was too small, one in B2 that T2 was: the target `p` of T1 follows.
 */
import { Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const T1 = 1
const T2 = 2
const B1 = 3
const B2 = 4

export class Arc implements Policy {
  readonly name = 'arc'
  readonly exactOrder = true
  readonly frames: number
  readonly #lists = new Lists(4)
  /** The target size of T1, a real number as in the paper. */
  #p = 0
  /** The page at the newest end of T2: most references are to it again. */
  #newest: number = NONE

  constructor(frames: number) {
    this.frames = frames
  }
  get residents(): number {
    return (this.#lists.size[T1] as number) + (this.#lists.size[T2] as number)
  }
  resident(page: number): boolean {
    if (page >= this.#lists.in.length) return false
    const list = this.#lists.in[page] as number
    return list === T1 || list === T2
  }
  access(page: number): number {
    if (page === this.#newest) return HIT
    const lists = this.#lists
    const list = page < lists.in.length ? (lists.in[page] as number) : 0
    if (list !== T1 && list !== T2) return this.admit(page)
    this.touch(page)
    return HIT
  }
  // Case I of the paper.
  touch(page: number): void {
    const lists = this.#lists
    if (lists.in[page] === T2) lists.renew(page)
    else lists.move(T2, page)
    this.#newest = page
  }

  admit(page: number): number {
    const lists = this.#lists
    lists.fit(page)
    const { size } = lists
    const ghost = lists.in[page] as number
    if (ghost !== 0) {
      // Cases II and III: a ghost's page is wanted again.
      const b1 = size[B1] as number
      const b2 = size[B2] as number
      if (ghost === B1) this.#p = Math.min(this.#p + Math.max(b2 / b1, 1), this.frames)
      else this.#p = Math.max(this.#p - Math.max(b1 / b2, 1), 0)
      lists.remove(page)
      const victim = this.residents < this.frames ? NONE : this.#replace(ghost === B2)
      lists.push(T2, page)
      this.#newest = page
      return victim
    }
    // Case IV: nothing is known of the incoming page.
    const full = this.residents >= this.frames
    let victim: number = NONE
    if ((size[T1] as number) + (size[B1] as number) >= this.frames) {
      if (size[B1] === 0) {
        victim = lists.oldest(T1)
        lists.remove(victim)
      } else {
        lists.remove(lists.oldest(B1))
        if (full) victim = this.#replace(false)
      }
    } else {
      const all = this.residents + (size[B1] as number) + (size[B2] as number)
      if (all >= 2 * this.frames && (size[B2] as number) > 0) lists.remove(lists.oldest(B2))
      if (full) victim = this.#replace(false)
    }
    lists.push(T1, page)
    return victim
  }

  #replace(inB2: boolean): number {
    const lists = this.#lists
    const t1 = lists.size[T1] as number
    const fromT1 = (t1 > 0 && (t1 > this.#p || (inB2 && t1 === this.#p))) || lists.size[T2] === 0
    const victim = lists.oldest(fromT1 ? T1 : T2)
    if (victim === NONE) return NONE
    lists.move(fromT1 ? B1 : B2, victim)
    if (victim === this.#newest) this.#newest = NONE
    return victim
  }

  evict(): number {
    const { size } = this.#lists
    if (this.residents > 0 && this.residents + (size[B1] as number) + (size[B2] as number) >= 2 * this.frames)
      this.#lists.remove(this.#lists.oldest((size[B2] as number) > 0 ? B2 : B1))
    return this.#replace(false)
  }

  forget(page: number): void {
    if (page < this.#lists.in.length && this.#lists.in[page] !== 0) this.#lists.remove(page)
    if (page === this.#newest) this.#newest = NONE
  }
  queues(): Queue[] {
    const lists = this.#lists
    return [
      { name: 'T1', pages: lists.pages(T1), ghost: false, target: this.#p },
      { name: 'T2', pages: lists.pages(T2), ghost: false, target: this.frames - this.#p },
      { name: 'B1', pages: lists.pages(B1), ghost: true },
      { name: 'B2', pages: lists.pages(B2), ghost: true },
    ]
  }
}
