/** One look: processes, what has been sampled of them, and what their pagers say. */
import type { Attached } from '../pager/start.ts'
import { type Estimates, LEAST } from './estimates.ts'
import type { Processes } from './processes.ts'
import type { TopRow } from './table.ts'

export interface Look {
  readonly rows: readonly TopRow[]
  readonly hidden: number
  /** Processes that are large enough to be sampled and have not been. */
  readonly waiting: number
}

/** What was seen of a pager before: for its rates. */
interface Before {
  readonly at: number
  readonly refilled: number
  readonly rate: number
}

const PAGE = 4096

export class Looker {
  readonly #processes: Processes
  readonly #estimates: Estimates
  readonly #pagers: () => Promise<readonly Attached[]>
  readonly #sample: boolean
  readonly #before = new Map<number, Before>()

  constructor(
    processes: Processes,
    estimates: Estimates,
    pagers: () => Promise<readonly Attached[]>,
    sample: boolean,
  ) {
    this.#sample = sample
    this.#processes = processes
    this.#estimates = estimates
    this.#pagers = pagers
  }

  async look(): Promise<Look> {
    const attached = new Map((await this.#pagers()).map(one => [one.pid, one]))
    const { rows, hidden } = this.#processes.look()
    for (const pid of this.#before.keys()) if (!attached.has(pid)) this.#before.delete(pid)
    if (this.#sample) this.#estimates.update(rows)
    let waiting = 0
    const shown = rows.map((row): TopRow => {
      const known = this.#estimates.of(row.pid)
      if (known === undefined && row.anonymous >= LEAST) waiting++
      const answer = attached.get(row.pid)?.answer
      const status = answer?.type === 'status' ? answer : undefined
      const virtual = status?.virtual ?? 0
      const share = known?.explained
      return {
        ...row,
        // What is virtual is explained, all of it.
        explained:
          share === undefined
            ? undefined
            : virtual === 0
              ? share
              : (share * row.anonymous + virtual) / (row.anonymous + virtual || 1),
        sampledPages: known?.sampled ?? 0,
        attached: status !== undefined,
        virtual,
        refillsPerSecond: status === undefined ? 0 : this.#rate(row.pid, status.refilled / PAGE),
      }
    })
    return { rows: shown, hidden, waiting }
  }

  // Pages a second since the look before.
  #rate(pid: number, refilled: number): number {
    const at = performance.now()
    const before = this.#before.get(pid)
    const seconds = before === undefined ? 0 : (at - before.at) / 1000
    if (before !== undefined && seconds < 0.2) return before.rate
    // A successor counts from its predecessor's journal: never backwards, but a new process with the same number may.
    const rate = before === undefined ? 0 : Math.max(0, (refilled - before.refilled) / seconds)
    this.#before.set(pid, { at, refilled, rate })
    return rate
  }
}

/** The document of one look. */
export function lookDocument({ rows, hidden }: Look): object {
  return {
    type: 'top',
    at: new Date().toISOString(),
    processes: rows
      .toSorted((a, b) => b.anonymous - a.anonymous || a.pid - b.pid)
      .map(({ explained, sampledPages, ...row }) => ({
        ...row,
        ...(explained === undefined ? {} : { explained, sampledPages }),
      })),
    hidden,
  }
}
