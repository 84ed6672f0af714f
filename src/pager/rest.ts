// When a pager goes to sleep, that is, becomes a sleeper (sleeper.ts), which has another started when there is something to do. That costs the target
// one wait of some 0.25 s, so it stays awake the longer the sooner it was woken for the target's sake.
import type { Nap } from './nap.ts'

/**
 * Milliseconds without anything to do after which it sleeps, at first: what the first pass has left behind goes with it, before anybody
 * has asked what attaching costs; once the target has woken it; and at most.
 */
const first = 250
const again = 2000
const longest = 600_000
/** A nap of so many times the calm before it was worth its while. */
const worth = 20
/** From so many bytes on it waits for what has come back to go cold, milliseconds. */
const warm = 1 << 20
const cooling = 30_000
/** Milliseconds in which what woke it is served, and who did can ask. */
const waking = 1000

/** Whatever changes when a pager has something to do. */
export interface Doings {
  /** There is something to do. */
  readonly busy: boolean
  /** Grows with every fault of the target's. */
  readonly target: number
  /** Grows with everything else. */
  readonly others: number
  /** Bytes of clean pages. */
  readonly clean: number
}

export class Rest {
  /** How long nothing must happen, milliseconds. */
  calm: number = first
  readonly #nap: Nap | undefined
  readonly #given: number | undefined
  readonly #began = performance.now()
  #since = performance.now()
  #target: number
  #others = -1
  #judged = false

  /** `target`: as in `Doings`, when it woke or was born; `given`: the calm, whatever happens, 0 for one that never comes. */
  constructor(nap: Nap | undefined, target: number, given?: number) {
    this.#nap = nap
    this.#given = given
    this.#target = nap?.wanted ?? target
    if (nap !== undefined) this.calm = nap.calm
  }

  /** Whether it is time. Called some times a second. */
  beat({ busy, target, others, clean }: Doings): boolean {
    const now = performance.now()
    if (busy || target !== this.#target || others !== this.#others) {
      if (target !== this.#target) this.#judge(now)
      this.#target = target
      this.#others = others
      this.#since = now
    }
    if (this.#nap !== undefined && now - this.#began < waking) return false
    if (this.#given !== undefined) return this.#given > 0 && now - this.#since >= this.#given
    const calm = clean >= warm ? Math.max(this.calm, cooling) : this.calm
    return now - this.#since >= calm
  }

  #judge(now: number): void {
    if (this.#judged) return
    this.#judged = true
    const nap = this.#nap
    if (nap === undefined || now - this.#began > waking) return
    if (Date.now() - nap.at > worth * nap.calm) this.calm = Math.max(again, nap.calm)
    else this.calm = Math.min(longest, Math.max(again, 2 * nap.calm))
  }
}
