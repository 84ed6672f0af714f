/**
 * CLOCK-Pro (Jiang, Chen and Zhang, USENIX 2005), as in the author's clock-pro.c with its own settings: LIRS made from reference bits. One ring holds
 * hot pages, cold pages and, in their test period, pages that have gone. Three hands run from old to new: the cold hand evicts,
 * the hot hand makes the oldest unused hot page cold, the test hand ends test periods. Cold pages keep 5 % of the frames, at least 2.
 * A second reference to the same page in a row sets no bit, as there. With under 3 frames there can be no hot page: it is FIFO.
 *
 * In the ring, `next` runs from the newest page (the head) to older ones, `prev` from old to new, round from the head to the oldest page.
 */
import { grown } from './lists.ts'
import { HIT, NONE, type Policy, type Queue } from './policy.ts'

const RESIDENT = 1
const COLD = 2
const IN_RING = 4
const TEST = 8
const REFERENCED = 16

export class ClockPro implements Policy {
  readonly name = 'clock-pro'
  readonly exactOrder = false
  readonly frames: number
  #flags = new Uint8Array(1024)
  #next = new Int32Array(1024)
  #prev = new Int32Array(1024)
  readonly #coldTarget: number
  #count = 0
  #hot = 0
  #ghosts = 0
  #head: number = NONE
  #handHot: number = NONE
  #handCold: number = NONE
  #handTest: number = NONE
  #last: number = NONE

  constructor(frames: number) {
    this.frames = frames
    this.#coldTarget = Math.min(frames, Math.max(2, Math.floor((5 / 100) * frames)))
  }
  get residents(): number {
    return this.#count
  }
  resident(page: number): boolean {
    return page < this.#flags.length && ((this.#flags[page] as number) & RESIDENT) !== 0
  }
  access(page: number): number {
    if (!this.resident(page)) return this.admit(page)
    this.touch(page)
    return HIT
  }
  touch(page: number): void {
    if (page === this.#last) return
    this.#last = page
    if (this.#coldTarget < this.frames) this.#flags[page] = (this.#flags[page] as number) | REFERENCED
  }

  admit(page: number): number {
    this.#last = page
    if (page >= this.#flags.length) {
      this.#flags = grown(this.#flags, page)
      this.#next = grown(this.#next, page)
      this.#prev = grown(this.#prev, page)
    }
    const free = this.frames - this.#count
    if (free > 0) {
      // Frames fill with hot pages first. A ghost is here only after forget() or evict().
      if (this.#is(page, IN_RING)) this.#leave(page)
      const hot = free > this.#coldTarget
      this.#insert(page, hot ? RESIDENT : RESIDENT | COLD | TEST)
      if (hot) this.#hot++
      else if (this.#handCold === NONE) this.#handCold = page
      this.#count++
      return NONE
    }
    const victim = this.evict()
    // The hands may have ended the test period of the incoming page just now.
    if (!this.#is(page, IN_RING) || !this.#promote(page)) this.#insert(page, RESIDENT | COLD | TEST)
    this.#count++
    return victim
  }

  /** A page that came back in its test period becomes hot. No, if the hot hand ended the period just now. */
  #promote(page: number): boolean {
    const met = this.#runHot(page)
    if (met === 'met') return false
    if (met === 'no') this.#leave(page)
    this.#insert(page, RESIDENT)
    this.#hot++
    return true
  }

  /**
   * Makes one hot page cold, the first whose bit is clear, and stops at a hot page. If the hand meets `trigger`, the cold page for
   * which a place is wanted, that page has been colder than any hot one.
   */
  #runHot(trigger: number): 'no' | 'met' | 'met and demoted' {
    let done = this.#hot === 0
    let met = false
    let demoted = false
    while (!done || (this.#hot > 0 && this.#is(this.#handHot, COLD))) {
      const page = this.#handHot
      if (!this.#is(page, COLD)) {
        let flags = RESIDENT
        if (!this.#is(page, REFERENCED)) {
          flags |= COLD
          done = true
          demoted = true
          this.#hot--
        }
        if (this.#handTest === page) this.#handTest = this.#prev[page] as number
        this.#handHot = this.#prev[page] as number
        this.#unlink(page)
        this.#insert(page, flags)
      } else {
        if (page === trigger) {
          done = true
          met = true
        }
        this.#handHot = this.#prev[page] as number
      }
      if (this.#next[this.#handHot] === this.#handTest) this.#stepTest()
    }
    return met ? (demoted ? 'met and demoted' : 'met') : 'no'
  }

  /** Ends the test period of one page. */
  #stepTest(): void {
    const page = this.#handTest
    this.#handTest = this.#prev[page] as number
    if (this.#is(page, COLD)) {
      if (this.#is(page, RESIDENT)) this.#clear(page, TEST | REFERENCED)
      else this.#leave(page)
    }
    this.#limitGhosts()
  }

  #limitGhosts(): void {
    if (this.#ghosts <= this.frames) return
    while (this.#is(this.#handTest, RESIDENT)) {
      if (this.#is(this.#handTest, COLD)) this.#clear(this.#handTest, TEST | REFERENCED)
      this.#handTest = this.#prev[this.#handTest] as number
    }
    const page = this.#handTest
    this.#handTest = this.#prev[page] as number
    this.#leave(page)
  }

  /** Evicts a cold page; cold pages that were used in their test period change places with hot ones on the way. */
  #runCold(): number {
    for (;;) {
      const page = this.#handCold
      if (!this.#is(page, REFERENCED) || !this.#is(page, TEST)) {
        this.#count--
        this.#handCold = this.#prev[page] as number
        this.#clear(page, RESIDENT)
        if (this.#is(page, TEST)) this.#ghosts++
        else {
          this.#unlinkKeepingHands(page)
          this.#flags[page] = 0
        }
        this.#seekCold()
        this.#limitGhosts()
        return page
      }
      if (this.#runHot(page) !== 'met') {
        this.#handCold = this.#prev[page] as number
        this.#unlinkKeepingHands(page)
        this.#insert(page, RESIDENT)
        this.#hot++
      }
      this.#seekCold()
    }
  }

  /** Moves the cold hand to a resident cold page, if there is one. */
  #seekCold(): void {
    if (this.#count === this.#hot) this.#handCold = NONE
    else while (!this.#isResidentCold(this.#handCold)) this.#handCold = this.#prev[this.#handCold] as number
  }
  #isResidentCold(page: number): boolean {
    return ((this.#flags[page] as number) & (RESIDENT | COLD)) === (RESIDENT | COLD)
  }

  evict(): number {
    if (this.#count === 0) return NONE
    if (this.#handCold === NONE) {
      this.#runHot(NONE)
      this.#handCold = this.#head
      this.#seekCold()
    }
    return this.#runCold()
  }

  forget(page: number): void {
    if (page >= this.#flags.length || !this.#is(page, IN_RING)) return
    if (page === this.#last) this.#last = NONE
    if (this.#is(page, RESIDENT)) {
      this.#count--
      if (!this.#is(page, COLD)) this.#hot--
      this.#unlinkKeepingHands(page)
      this.#flags[page] = 0
      if (this.#handCold !== NONE) this.#seekCold()
    } else this.#leave(page)
  }

  #is(page: number, flag: number): boolean {
    return ((this.#flags[page] as number) & flag) !== 0
  }
  #clear(page: number, flags: number): void {
    this.#flags[page] = (this.#flags[page] as number) & ~flags
  }

  /** A ghost leaves the ring. */
  #leave(page: number): void {
    this.#unlinkKeepingHands(page)
    this.#flags[page] = 0
    this.#ghosts--
  }

  #insert(page: number, flags: number): void {
    this.#flags[page] = flags | IN_RING
    if (this.#head === NONE) {
      this.#next[page] = this.#prev[page] = page
      this.#handHot = this.#handTest = page
    } else {
      const head = this.#head
      const oldest = this.#prev[head] as number
      this.#next[page] = head
      this.#prev[page] = oldest
      this.#next[oldest] = page
      this.#prev[head] = page
    }
    this.#head = page
  }

  #unlink(page: number): void {
    const next = this.#next[page] as number
    const prev = this.#prev[page] as number
    if (next === page) {
      this.#head = this.#handHot = this.#handTest = this.#handCold = NONE
      return
    }
    this.#next[prev] = next
    this.#prev[next] = prev
    if (this.#head === page) this.#head = next
  }

  #unlinkKeepingHands(page: number): void {
    const prev = this.#prev[page] as number
    if (this.#handHot === page) this.#handHot = prev
    if (this.#handTest === page) this.#handTest = prev
    if (this.#handCold === page) this.#handCold = prev
    this.#unlink(page)
  }

  queues(): Queue[] {
    const pages: number[] = []
    if (this.#head !== NONE) {
      let page = this.#head
      do {
        pages.push(page)
        page = this.#next[page] as number
      } while (page !== this.#head)
    }
    // Marks: 4 for hot, 2 for cold, 0 for gone; 1 more with the reference bit set.
    const marks = pages.map(
      page =>
        (this.#is(page, COLD) ? (this.#is(page, RESIDENT) ? 2 : 0) : 4) +
        (this.#is(page, REFERENCED) ? 1 : 0),
    )
    const hands: Record<string, number> = {}
    for (const [name, page] of [
      ['hot', this.#handHot],
      ['cold', this.#handCold],
      ['test', this.#handTest],
    ] as const)
      if (page !== NONE) hands[name] = pages.indexOf(page)
    return [{ name: 'ring', pages, ghost: false, marks, hands }]
  }
}
