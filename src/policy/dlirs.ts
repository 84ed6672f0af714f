/**
 * Dynamic LIRS (Li, SYSTOR 2018), Lethe's default: LIRS (lirs.ts) whose split between pages with short reuse distances (LIR) and the others
 * (HIR) follows the program. A page that went from Q and is wanted while S remembers it says that Q was too short; an LIR page that
 * was demoted to Q and is wanted there says that it was too long. So it resists scans and loops as LIRS does and follows recency
 * where LRU is right. The steps are the paper's; it remembers two pages for each frame instead of one.
 */
import { grown, Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const LIR = 1
const RESIDENT = 2
/** In Q, and was LIR before. */
const DEMOTED = 4

export class Dlirs implements Policy {
  readonly name = 'dlirs'
  readonly exactOrder = true
  readonly frames: number
  readonly #stack = new Lists(1)
  /** List 1 is Q; list 2 the pages that S remembers and that are not resident. */
  readonly #queue = new Lists(2)
  #flags = new Uint8Array(1024)
  /** Frames for HIR pages, a real number; from `#least` to all but one. */
  #hirTarget: number
  readonly #least: number
  #lir = 0
  #demoted = 0
  #count = 0
  #last: number = NONE

  constructor(frames: number) {
    this.frames = frames
    this.#least = Math.max(1, Math.min(Math.max(2, Math.floor(frames / 100)), frames - 1))
    this.#hirTarget = this.#least
  }
  get residents(): number {
    return this.#count
  }
  resident(page: number): boolean {
    return page < this.#flags.length && ((this.#flags[page] as number) & RESIDENT) !== 0
  }
  access(page: number): number {
    if (page === this.#last) return HIT
    if (!this.resident(page)) return this.admit(page)
    this.touch(page)
    return HIT
  }

  touch(page: number): void {
    if (page === this.#last) return
    this.#last = page
    const flags = this.#flags[page] as number
    if ((flags & LIR) === 0) {
      this.#queue.remove(page)
      if ((flags & DEMOTED) !== 0) {
        const step = Math.max(1, (this.#queue.size[2] as number) / this.#demoted)
        this.#hirTarget = Math.max(this.#least, this.#hirTarget - step)
        this.#demoted--
        this.#flags[page] = RESIDENT
      }
    }
    this.#reference(page)
  }

  admit(page: number): number {
    this.#last = page
    this.#stack.fit(page)
    this.#queue.fit(page)
    if (page >= this.#flags.length) this.#flags = grown(this.#flags, page)
    const known = this.#queue.in[page] === 2
    if (known) {
      const step = Math.max(1, this.#demoted / (this.#queue.size[2] as number))
      this.#hirTarget = Math.max(this.#least, Math.min(this.frames - 1, this.#hirTarget + step))
      this.#queue.remove(page)
    }
    const victim = this.#count < this.frames ? NONE : this.evict()
    // The first pages are LIR, until they have their share.
    const target = this.#lirTarget()
    const lir = !known && this.#count < target && this.#lir < target
    if (lir) this.#lir++
    this.#flags[page] = lir ? LIR | RESIDENT : RESIDENT
    this.#count++
    this.#reference(page)
    return victim
  }

  #lirTarget(): number {
    return this.frames - Math.round(this.#hirTarget)
  }

  /** The page goes to the top of S, and a HIR page that was in S becomes LIR; else it goes to Q, in which it is not. */
  #reference(page: number): void {
    const stack = this.#stack
    const known = stack.in[page] === 1
    if (known) stack.renew(page)
    else stack.push(1, page)
    const target = this.#lirTarget()
    if (((this.#flags[page] as number) & LIR) === 0) {
      if (known && target > 0) {
        this.#flags[page] = LIR | RESIDENT
        this.#lir++
      } else this.#queue.push(1, page)
    }
    while (this.#lir > target) this.#demote()
    this.#prune()
    while ((this.#queue.size[2] as number) > 2 * this.frames) this.#unremember(this.#queue.oldest(2))
  }

  /** The oldest LIR page becomes HIR. */
  #demote(): void {
    this.#prune()
    const page = this.#stack.oldest(1)
    this.#stack.remove(page)
    this.#flags[page] = RESIDENT | DEMOTED
    this.#queue.push(1, page)
    this.#demoted++
    this.#lir--
  }

  /** The oldest page of S must be LIR. Without LIR pages S is empty. */
  #prune(): void {
    for (;;) {
      const page = this.#stack.oldest(1)
      if (page === NONE || ((this.#flags[page] as number) & LIR) !== 0) return
      if (this.#queue.in[page] === 2) this.#unremember(page)
      else this.#stack.remove(page)
    }
  }

  #unremember(page: number): void {
    this.#queue.remove(page)
    this.#stack.remove(page)
  }

  evict(): number {
    if (this.#count === 0) return NONE
    if (this.#queue.size[1] === 0) {
      this.#demote()
      this.#prune()
    }
    const victim = this.#queue.oldest(1)
    this.#queue.remove(victim)
    if (((this.#flags[victim] as number) & DEMOTED) !== 0) this.#demoted--
    this.#flags[victim] = 0
    this.#count--
    if (victim === this.#last) this.#last = NONE
    if (this.#stack.in[victim] === 1) this.#queue.push(2, victim)
    return victim
  }

  forget(page: number): void {
    if (page >= this.#flags.length) return
    const flags = this.#flags[page] as number
    this.#flags[page] = 0
    if (this.#queue.in[page] !== 0) this.#queue.remove(page)
    if (this.#stack.in[page] === 1) this.#stack.remove(page)
    if (page === this.#last) this.#last = NONE
    if ((flags & RESIDENT) !== 0) this.#count--
    if ((flags & DEMOTED) !== 0) this.#demoted--
    if ((flags & LIR) !== 0) {
      this.#lir--
      this.#prune()
    }
  }
  queues(): Queue[] {
    const stack = this.#stack.pages(1)
    // Marks: 2 for LIR, 1 for HIR resident, 0 for a page that is only remembered.
    const marks = stack.map(page => {
      const flags = this.#flags[page] as number
      return (flags & LIR) !== 0 ? 2 : flags === 0 ? 0 : 1
    })
    return [
      { name: 'S', pages: stack, ghost: false, marks, target: this.#lirTarget() },
      { name: 'Q', pages: this.#queue.pages(1), ghost: false, target: Math.round(this.#hirTarget) },
    ]
  }
}
