// Unmapped, or moved there since? The kernel queues the events of two threads when each has let go of the lock on the address
// space, so they may come in another order than the calls were made: one thread unmaps a range, another moves memory to just
// there, and we hear of the move first. To forget the range then would be to forget what has been moved.
//
// So what is unmapped where something has been moved to lately is not forgotten but in *doubt*, until the kernel is asked what
// is registered there now. It answers when every event that is under way has been read; a doubt stands in the journal, and
// nothing new is registered before it is settled.
import { EAGAIN, ENOENT, ESRCH } from '../sys/errno.ts'
import * as uffd from '../sys/uffd.ts'
import { blockBytes, type Journal, pageBytes, state } from './journal.ts'

interface Range {
  readonly start: number
  readonly end: number
}

/** For how long a late event is thought possible, milliseconds: a thread can wait for a processor that long. */
const late = 10_000

export class Doubts {
  readonly #fd: number
  readonly #journal: Journal
  /** The mappings of the process as they are now; undefined when it is not known which process it is. */
  readonly #mappings: (() => readonly Range[]) | undefined
  #moves: { start: number; end: number; until: number }[] = []

  constructor(fd: number, journal: Journal, mappings: (() => readonly Range[]) | undefined) {
    this.#fd = fd
    this.#journal = journal
    this.#mappings = mappings
    // A predecessor may have heard of moves to anywhere.
    if (mappings !== undefined) this.moved(0, Number.MAX_SAFE_INTEGER)
  }

  get open(): boolean {
    return this.#journal.doubt.end !== 0
  }

  /** Memory has been moved to [start, end). */
  moved(start: number, end: number): void {
    const now = performance.now()
    if (this.#moves.length > 64) this.#moves = this.#moves.filter(m => m.until > now)
    this.#moves.push({ start, end, until: now + late })
  }

  /** [start, end) has been unmapped: forgets it, or says that it is in doubt. */
  unmapped(start: number, end: number): void {
    const now = performance.now()
    if (!this.#moves.some(m => m.until > now && m.start < end && m.end > start)) {
      this.#journal.forget(start, end)
      return
    }
    if (![...this.#journal.blocks()].some(b => b * blockBytes < end && (b + 1) * blockBytes > start)) return
    const before = this.#journal.doubt
    this.#journal.doubt =
      before.end === 0
        ? { start, end }
        : { start: Math.min(before.start, start), end: Math.max(before.end, end) }
  }

  /** Forgets what is in doubt and not registered. `again`: not all events have been read. */
  settle(): 'done' | 'again' | 'gone' {
    const { end } = this.#journal.doubt
    const settled = end === 0 ? 'done' : this.#settle()
    if (end !== 0 && settled !== 'again') this.#journal.doubt = { start: 0, end: 0 }
    return settled
  }

  #settle(): 'done' | 'again' | 'gone' {
    const { start, end } = this.#journal.doubt
    if (this.#changing(start)) return 'again'
    const known: { start: number; end: number }[] = []
    for (const block of [...this.#journal.blocks()].sort((a, b) => a - b)) {
      const from = Math.max(start, block * blockBytes)
      const to = Math.min(end, (block + 1) * blockBytes)
      if (from >= to) continue
      this.#journal.runs(from, to, (first, last, s) => {
        if (s === state.none) return
        const before = known.at(-1)
        if (before?.end === first) before.end = last
        else known.push({ start: first, end: last })
      })
    }
    const gone: Range[] = []
    const mappings = this.#mappings?.()
    for (const range of known)
      for (const part of mappings === undefined ? [range] : within(range, mappings, gone)) {
        const asked = this.#ask(part, gone)
        if (asked !== 'done') return asked
      }
    // What a move under way has left must be known when we hear of the move. None is, if none was after we looked.
    if (this.#changing(start)) return 'again'
    for (const range of gone) this.#journal.forget(range.start, range.end)
    return 'done'
  }

  // Whether an event is under way that we have not read.
  #changing(at: number): boolean {
    return uffd.isRegistered(this.#fd, at, pageBytes) === -EAGAIN
  }

  // The kernel answers for a range that lies in one mapping; any other is asked for in halves.
  #ask({ start, end }: Range, gone: Range[]): 'done' | 'again' | 'gone' {
    const answer = uffd.isRegistered(this.#fd, start, end - start)
    if (answer === -EAGAIN) return 'again'
    if (answer === -ESRCH) return 'gone'
    if (answer !== -ENOENT) return 'done'
    if (end - start === pageBytes) {
      gone.push({ start, end })
      return 'done'
    }
    const middle = start + Math.ceil((end - start) / 2 / pageBytes) * pageBytes
    const first = this.#ask({ start, end: middle }, gone)
    return first === 'done' ? this.#ask({ start: middle, end }, gone) : first
  }
}

// The parts of a range that are mapped; what is not mapped is not registered, and goes to `gone`.
function within({ start, end }: Range, mappings: readonly Range[], gone: Range[]): Range[] {
  const parts: Range[] = []
  let at = start
  for (const m of mappings) {
    if (m.end <= at || m.start >= end) continue
    if (m.start > at) gone.push({ start: at, end: m.start })
    parts.push({ start: Math.max(at, m.start), end: Math.min(end, m.end) })
    at = Math.min(end, m.end)
  }
  if (at < end) gone.push({ start: at, end })
  return parts
}
