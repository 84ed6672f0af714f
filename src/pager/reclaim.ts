// What to drop: which clean pages have gone cold, and which go when a budget is exceeded. Decides by clusters of 64 KiB, whose
// ages and levels stand in the journal.
import type { Run } from './drop.ts'
import { blockBytes, counter, type Journal, pageBytes, state } from './journal.ts'
import { tickAt } from './protocol.ts'

/** Seconds that a refilled cluster stays before it is dropped again, by how often it came back soon. */
const patience = [20, 80, 320, 1280, 3600]
/** Milliseconds between two looks for what has gone cold. */
const interval = 5000
const cluster = 16 * pageBytes

/** Calls `run(start, end, state)` for the runs of equal state of a whole journal, ascending. */
export function eachRun(journal: Journal, run: (start: number, end: number, state: number) => void): void {
  journal.refresh()
  for (const block of [...journal.blocks()].sort((a, b) => a - b))
    journal.runs(block * blockBytes, (block + 1) * blockBytes, run)
}

export class Reclaim {
  readonly #journal: Journal
  readonly #tickMs: number
  readonly #limit: number | undefined
  #next = 0

  /** `limit`: bytes of clean pages at which room is made, or undefined; `tickMs`: milliseconds of a tick of the ages. */
  constructor(journal: Journal, tickMs: number, limit: number | undefined) {
    this.#journal = journal
    this.#tickMs = tickMs
    this.#limit = limit
  }

  /** Ticks since the 64 KiB around `at` were last refilled or removed. Ticks wrap; a time a little ahead of ours is now. */
  age(at: number): number {
    const ticks = (tickAt(performance.now(), this.#tickMs) - this.#journal.ageOf(at)) & 0xffff
    return ticks > 0x10000 - 60_000 / this.#tickMs ? 0 : ticks
  }

  /** The clean pages whose 64 KiB cluster `cold` accepts, up to about `atMost` bytes. */
  clean(cold: (address: number) => boolean, atMost: number = Number.POSITIVE_INFINITY): Run[] {
    const runs: { start: number; end: number }[] = []
    let bytes = 0
    eachRun(this.#journal, (start, end, s) => {
      if (s !== state.clean) return
      for (let at = start; at < end && bytes < atMost; ) {
        const stop = Math.min(end, (Math.floor(at / cluster) + 1) * cluster)
        if (cold(at)) {
          const last = runs.at(-1)
          if (last?.end === at) last.end = stop
          else runs.push({ start: at, end: stop })
          bytes += stop - at
        }
        at = stop
      }
    })
    return runs
  }

  /** What is over the budget now; without a budget, what has not been touched for as long as its history asks. */
  due(): Run[] {
    const clean = (this.#journal.counters[counter.clean] as number) * pageBytes
    if (this.#limit !== undefined) return clean < this.#limit ? [] : this.#over(clean, this.#limit)
    if (performance.now() < this.#next || clean < 1 << 20) return []
    this.#next = performance.now() + interval
    return this.#cold()
  }

  // Oldest first, down to two thirds of the budget: an episode has its price, whatever it drops.
  #over(clean: number, limit: number): Run[] {
    const target = clean - limit + limit / 3
    const byAge = new Map<number, number>()
    eachRun(this.#journal, (start, end, s) => {
      if (s !== state.clean) return
      for (let at = start; at < end; at += pageBytes) {
        const age = this.age(at)
        byAge.set(age, (byAge.get(age) ?? 0) + pageBytes)
      }
    })
    let enough = 0
    let sum = 0
    for (const [age, bytes] of [...byAge].sort((x, y) => y[0] - x[0])) {
      enough = age
      sum += bytes
      if (sum >= target) break
    }
    return this.clean((at: number) => this.age(at) >= enough, target)
  }

  #cold(): Run[] {
    const journal = this.#journal
    const waitFor = (at: number): number =>
      patience[Math.min(journal.levelOf(at), patience.length - 1)] as number
    return this.clean((at: number) => {
      if (this.age(at) < waitFor(at)) return false
      // It has come back once: it waits longer the next time.
      journal.setLevel(at, Math.min(patience.length - 1, journal.levelOf(at) + 1))
      return true
    })
  }
}
