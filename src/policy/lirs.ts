/**
 * LIRS (Jiang and Zhang, SIGMETRICS 2002), as in the authors' lirs.c: pages whose last two references were close together (LIR) keep 99 % of
 * the frames; the others (HIR) pass through the queue Q. The stack S holds the LIR pages and the HIR pages, resident or not, that
 * were used after the oldest LIR page: a HIR page that is wanted again while in S becomes LIR, and the oldest LIR page HIR.
 * A reference to the page that was referenced last is no reference, as there. Under 10 frames, which lirs.c refuses, at
 * least one frame is left to each kind.
 */
import { grown, Lists } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const LIR = 1
const RESIDENT = 2
/** S never holds more than this many pages for each frame. */
const STACK_LIMIT = 2500

export class Lirs implements Policy {
  readonly name = 'lirs'
  readonly exactOrder = true
  readonly frames: number
  readonly #stack = new Lists(1)
  readonly #queue = new Lists(1)
  #flags = new Uint8Array(1024)
  readonly #lirTarget: number
  #lir = 0
  #count = 0
  #last: number = NONE

  constructor(frames: number) {
    this.frames = frames
    const hir = Math.max(2, Math.floor((frames * 1) / 100))
    this.#lirTarget = frames - Math.max(1, Math.min(hir, frames - 1))
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
    if (((this.#flags[page] as number) & LIR) === 0) this.#queue.remove(page)
    this.#reference(page)
  }

  admit(page: number): number {
    this.#last = page
    this.#stack.fit(page)
    this.#queue.fit(page)
    if (page >= this.#flags.length) this.#flags = grown(this.#flags, page)
    const victim = this.#count < this.frames ? NONE : this.evict()
    // The first pages are LIR, until they have their share.
    const lir = this.#count < this.#lirTarget && this.#lir < this.#lirTarget
    if (lir) this.#lir++
    this.#flags[page] = lir ? LIR | RESIDENT : RESIDENT
    this.#count++
    this.#reference(page)
    return victim
  }

  /** The page goes to the top of S, and a HIR page that was in S becomes LIR; else it goes to Q, in which it is not. */
  #reference(page: number): void {
    const stack = this.#stack
    const known = stack.in[page] === 1
    const hir = ((this.#flags[page] as number) & LIR) === 0
    if (known) stack.renew(page)
    else stack.push(1, page)
    if (hir && known && this.#lirTarget > 0) {
      this.#flags[page] = LIR | RESIDENT
      if (this.#lir === this.#lirTarget) this.#demote()
      else this.#lir++
    } else if (hir) this.#queue.push(1, page)
    this.#prune()
    if ((stack.size[1] as number) > STACK_LIMIT * this.frames) this.#limitStack()
  }

  /** The oldest LIR page becomes HIR. */
  #demote(): void {
    const page = this.#stack.oldest(1)
    this.#stack.remove(page)
    this.#flags[page] = RESIDENT
    this.#queue.push(1, page)
  }

  /** The oldest page of S must be LIR. Without LIR pages S is empty. */
  #prune(): void {
    for (;;) {
      const page = this.#stack.oldest(1)
      if (page === NONE || ((this.#flags[page] as number) & LIR) !== 0) return
      this.#stack.remove(page)
    }
  }

  #limitStack(): void {
    let page = this.#stack.oldest(1)
    while (((this.#flags[page] as number) & LIR) !== 0) page = this.#stack.newer(page)
    this.#stack.remove(page)
  }

  evict(): number {
    if (this.#count === 0) return NONE
    if (this.#queue.size[1] === 0) {
      this.#demote()
      this.#lir--
      this.#prune()
    }
    const victim = this.#queue.oldest(1)
    this.#queue.remove(victim)
    this.#flags[victim] = 0
    this.#count--
    if (victim === this.#last) this.#last = NONE
    return victim
  }

  forget(page: number): void {
    if (page >= this.#flags.length) return
    const flags = this.#flags[page] as number
    this.#flags[page] = 0
    if (this.#queue.in[page] === 1) this.#queue.remove(page)
    if (this.#stack.in[page] === 1) this.#stack.remove(page)
    if (page === this.#last) this.#last = NONE
    if ((flags & RESIDENT) !== 0) this.#count--
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
      { name: 'S', pages: stack, ghost: false, marks },
      { name: 'Q', pages: this.#queue.pages(1), ghost: false, target: this.frames - this.#lirTarget },
    ]
  }
}
