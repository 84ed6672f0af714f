// Events that come late. The kernel queues the events of two threads when each has let go of the lock on the address space, so
// they may come in another order than the calls were made: one thread unmaps a range, another moves memory to just there, and
// we hear of the move first. To forget the range then would be to forget what has been moved.
//
// It shows in the move: nothing can be moved to where something is. If we know of pages there, the word that they are gone is
// still to come, and speaks of what was there before. That much of it is passed over, once. If it is the word of another
// move, what we knew of its pages has been overwritten: they are called present, and one that is not is a loud failure.
import { type Journal, state } from './journal.ts'

interface Owed {
  readonly start: number
  readonly end: number
  /** Time of performance.now() at which it is given up: no thread waits so long for a processor. */
  readonly until: number
}

const latest = 10_000

export class LateEvents {
  readonly #journal: Journal
  #owed: Owed[] = []

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** Memory is about to be noted at [start, end), where it has been moved to. */
  moving(start: number, end: number): void {
    const now = performance.now()
    this.#owed = this.#owed.filter(owed => owed.until > now)
    this.#journal.runs(start, end, (from, to, s) => {
      if (s !== state.none) this.#owed.push({ start: from, end: to, until: now + latest })
    })
  }

  /** Whether what we know of a page is not of what was there when the event that is handled now happened. */
  overtaken(page: number): boolean {
    return this.#owed.some(owed => page >= owed.start && page < owed.end && owed.until > performance.now())
  }

  /** What was at [start, end) is gone: forgets it, but for what has been moved there since. */
  gone(start: number, end: number): void {
    if (this.#owed.length === 0) {
      this.#journal.forget(start, end)
      return
    }
    let at = start
    const now = performance.now()
    const left: Owed[] = []
    for (const owed of this.#owed.filter(o => o.until > now).sort((a, b) => a.start - b.start)) {
      if (owed.end <= start || owed.start >= end) {
        left.push(owed)
        continue
      }
      if (owed.start > at) this.#journal.forget(at, owed.start)
      if (owed.start < start) left.push({ ...owed, end: start })
      if (owed.end > end) left.push({ ...owed, start: end })
      at = Math.max(at, Math.min(owed.end, end))
    }
    if (at < end) this.#journal.forget(at, end)
    this.#owed = left
  }
}
