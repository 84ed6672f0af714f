// What all lanes of a stress share: its options, its figures, its randomness.
import { generator } from '../explain-helpers.ts'
import { Lab } from '../safety/lab.ts'
import type { MaterialName } from '../safety/materials.ts'

export interface StressOptions {
  readonly rounds: number
  readonly seed: number
  /** What all targets hold; undefined: now this, now that. */
  readonly material?: MaterialName
  /** The kinds of operation that the C targets do, see `Lane`; undefined: all. */
  readonly kinds?: readonly number[]
  /** Ends after so many seconds too. */
  readonly seconds?: number
  readonly lanes?: number
  /** Lanes of Python and Node. */
  readonly interpreters?: boolean
  readonly say?: (line: string) => void
}

export interface Mismatch {
  readonly lane: string
  readonly round: number
  readonly what: string
  readonly history: readonly string[]
}

export interface StressResult {
  rounds: number
  byLane: Record<string, number>
  kills: number
  attaches: number
  adoptions: number
  detaches: number
  droppedPages: number
  operations: number
  mismatches: Mismatch[]
  /** What was refused or failed loudly, and how often: no wrong byte, but worth a look. */
  oddities: Record<string, number>
}

export type Random = (below: number) => number
export const randomOf = (seed: number): Random => {
  const next = generator(seed)
  return below => next() % below
}

export const sleep: (ms: number) => Promise<void> = ms => new Promise(resolve => setTimeout(resolve, ms))

/** What all lanes share. */
export class Stress {
  readonly options: StressOptions
  readonly lab: Lab = new Lab()
  readonly result: StressResult = {
    rounds: 0,
    byLane: {},
    kills: 0,
    attaches: 0,
    adoptions: 0,
    detaches: 0,
    droppedPages: 0,
    operations: 0,
    mismatches: [],
    oddities: {},
  }
  readonly #end: number

  constructor(options: StressOptions) {
    this.options = options
    this.#end = performance.now() + (options.seconds ?? 1e9) * 1000
  }

  get over(): boolean {
    return (
      this.result.rounds >= this.options.rounds ||
      performance.now() > this.#end ||
      this.result.mismatches.length > 3
    )
  }

  odd(what: string): void {
    const key = what.replaceAll(/\d+/g, '#').slice(0, 160)
    this.result.oddities[key] = (this.result.oddities[key] ?? 0) + 1
  }

  differs(mismatch: Mismatch): void {
    this.result.mismatches.push(mismatch)
    const { lane, round, what, history } = mismatch
    this.options.say?.(
      `MISMATCH seed ${this.options.seed} lane ${lane} round ${round}: ${what}\n  ${history.join('\n  ')}\n`,
    )
  }

  slow(lane: string, ms: number, history: readonly string[]): void {
    this.odd('a round took more than 5 s')
    this.options.say?.(`${lane}: a round took ${ms.toFixed(0)} ms\n    ${history.slice(-12).join('\n    ')}`)
  }

  done(lane: string): void {
    this.result.rounds++
    this.result.byLane[lane] = (this.result.byLane[lane] ?? 0) + 1
    if (this.result.rounds % (this.options.rounds > 2000 ? 500 : 50) === 0)
      this.options.say?.(
        `${this.result.rounds} rounds, ${this.result.kills} kills, ${this.result.mismatches.length} mismatches`,
      )
  }
}
