// What to drop: which clean pages have gone cold, and which go when a budget is exceeded or a pressure limit allows it. Decides by
// clusters of 64 KiB, whose ages and levels stand in the journal, and by what they cost to bring back (prices.ts):
//
//   A cluster stays for a time in proportion to its price, as in Gray and Putzolu's five-minute rule: memory that costs ten
//   times as much to bring back is kept ten times as long. What is *dear* is dropped only if a budget or a limit asks for it.
//   Where a choice must be made, what costs least for its age goes first; what came back soon counts as twice as dear each time.
import type { Run } from './drop.ts'
import type { Governor } from './governor.ts'
import { blockBytes, counter, type Journal, pageBytes, type Place, state, zeroBacking } from './journal.ts'
import type { Prices } from './prices.ts'
import { tickAt } from './protocol.ts'

/** Seconds that a refilled cluster of usual price stays before it is dropped again, by how often it came back soon. */
const patience = [20, 80, 320, 1280, 3600]
/** Seconds: the price up to which that holds. */
const usual = 200e-6
/** Seconds: from this price on a cluster is dear. */
const dear = 250e-3
const longest = 3600
/** Milliseconds between two looks for what has gone cold. */
const interval = 5000
/** Under a pressure limit: milliseconds that a refilled cluster stays in any case, and after which one that stays away is forgiven. */
const least = 2000
const forgiving = 10_000
const mostLevel = 8
const cluster = 16 * pageBytes

/** Calls `run(start, end, state)` for the runs of equal state of a whole journal, ascending. */
export function eachRun(journal: Journal, run: (start: number, end: number, state: number) => void): void {
  journal.refresh()
  for (const block of [...journal.blocks()].sort((a, b) => a - b))
    journal.runs(block * blockBytes, (block + 1) * blockBytes, run)
}

interface Aim {
  /** Milliseconds of a tick of the ages. */
  readonly tickMs: number
  /** Bytes of clean pages at which room is made. */
  readonly limit?: number
  readonly governor?: Governor
  /** Seconds that the target has waited for us since some time in the past. */
  readonly waited: () => number
}

/** A clean part of a cluster. */
interface Piece extends Run {
  /** Seconds. */
  readonly price: number
  /** What is dropped first has the least. */
  readonly rank: number
}

export class Reclaim {
  readonly #journal: Journal
  readonly #prices: Prices
  readonly #aim: Aim
  readonly #tickMs: number
  readonly #place: Place = { backing: 0, offset: 0, pages: 0 }
  #next = 0

  constructor(journal: Journal, prices: Prices, aim: Aim) {
    this.#journal = journal
    this.#prices = prices
    this.#aim = aim
    this.#tickMs = aim.tickMs
  }

  /** Ticks since the 64 KiB around `at` were last refilled or removed. Ticks wrap; a time a little ahead of ours is now. */
  age(at: number): number {
    const ticks = (tickAt(performance.now(), this.#tickMs) - this.#journal.ageOf(at)) & 0xffff
    return ticks > 0x10000 - 60_000 / this.#tickMs ? 0 : ticks
  }

  /** The clean pages whose 64 KiB cluster `cold` accepts. */
  clean(cold: (address: number) => boolean): Run[] {
    const runs: { start: number; end: number }[] = []
    eachRun(this.#journal, (start, end, s) => {
      if (s !== state.clean) return
      for (let at = start; at < end; ) {
        const stop = Math.min(end, (Math.floor(at / cluster) + 1) * cluster)
        if (cold(at)) {
          const last = runs.at(-1)
          if (last?.end === at) last.end = stop
          else runs.push({ start: at, end: stop })
        }
        at = stop
      }
    })
    return runs
  }

  /**
   * What is over the budget now; under a pressure limit, what may be risked now; else what has not been touched for as long as its
   * price and its history ask.
   */
  due(): Run[] {
    const { limit, governor } = this.#aim
    const clean = (this.#journal.counters[counter.clean] as number) * pageBytes
    if (limit !== undefined && clean >= limit) return this.#over(clean, limit)
    if (governor !== undefined) return this.#allowed(governor)
    if (limit !== undefined || performance.now() < this.#next || clean < 1 << 20) return []
    this.#next = performance.now() + interval
    return this.#cold()
  }

  /** What can be dropped as soon as it is proved; none of it if dropping is governed. */
  fresh(): Run[] {
    if (this.#aim.governor !== undefined) return []
    return this.clean(at => this.#aim.limit !== undefined || this.#price(at) < dear)
  }

  #price(at: number): number {
    if (!this.#journal.place(at, this.#place) || this.#place.backing === zeroBacking) return 0
    return this.#prices.of(this.#place.backing)
  }

  // Cheapest first. `youngest`: milliseconds.
  #pieces(youngest = 0): Piece[] {
    const pieces: Piece[] = []
    for (const run of this.clean(at => this.age(at) * this.#tickMs >= youngest))
      for (let start = run.start; start < run.end; ) {
        const end = Math.min(run.end, (Math.floor(start / cluster) + 1) * cluster)
        const price = this.#price(start)
        const seconds = (this.age(start) * this.#tickMs) / 1000 + 1
        pieces.push({ start, end, price, rank: (price * 2 ** this.#journal.levelOf(start)) / seconds })
        start = end
      }
    return pieces.sort((a, b) => a.rank - b.rank)
  }

  // Down to two thirds of the budget: an episode has its price, whatever it drops.
  #over(clean: number, limit: number): Run[] {
    const target = clean - limit + limit / 3
    const runs: Run[] = []
    let sum = 0
    for (const piece of this.#pieces()) {
      if (sum >= target) break
      runs.push(piece)
      sum += piece.end - piece.start
    }
    return joined(runs)
  }

  #allowed(governor: Governor): Run[] {
    const now = performance.now()
    const allowance = governor.allowance(now, this.#aim.waited())
    this.#prices.urgent = governor.share >= governor.limit
    if (allowance <= 0) return []
    const journal = this.#journal
    if (now >= this.#next) {
      this.#next = now + forgiving
      this.#forgive()
    }
    const runs: Run[] = []
    let risk = 0
    let exhausted = false
    for (const piece of this.#pieces(least)) {
      exhausted = risk + piece.price > allowance
      if (exhausted) break
      risk += piece.price
      runs.push(piece)
      // It came back once: else it would not be clean and of some age. Not so at first.
      journal.setLevel(piece.start, Math.min(mostLevel, journal.levelOf(piece.start) + 1))
    }
    governor.took(risk, exhausted)
    return joined(runs)
  }

  // What stays virtual is less and less likely to be wanted.
  #forgive(): void {
    const journal = this.#journal
    eachRun(journal, (start, end, s) => {
      if (s !== state.virtual) return
      for (let at = start; at < end; at = (Math.floor(at / cluster) + 1) * cluster) {
        const level = journal.levelOf(at)
        if (level > 0) journal.setLevel(at, level - 1)
      }
    })
  }

  #cold(): Run[] {
    const journal = this.#journal
    return this.clean((at: number) => {
      const price = this.#price(at)
      const level = Math.min(journal.levelOf(at), patience.length - 1)
      const wait = Math.min(longest, (patience[level] as number) * Math.max(1, price / usual))
      if (price >= dear || this.age(at) * this.#tickMs < wait * 1000) return false
      // It has come back once: it waits longer the next time.
      journal.setLevel(at, Math.min(patience.length - 1, journal.levelOf(at) + 1))
      return true
    })
  }
}

/** Runs in order of their addresses, neighbours joined. */
function joined(runs: readonly Run[]): Run[] {
  const all: { start: number; end: number }[] = []
  for (const { start, end } of runs.toSorted((a, b) => a.start - b.start)) {
    const last = all.at(-1)
    if (last?.end === start) last.end = end
    else all.push({ start, end })
  }
  return all
}
