/**
 * Keeps a machine's processes attached as a policy says.
 *
 *   look:    every few seconds: which processes are large enough, old enough, and matched by a rule?
 *   attach:  one at a time, and the next only when the first pass is over, for a pass reads much
 *   young:   one that ends within a minute was not worth it; others of that program must be twice as old first (`watch.ts`)
 *   refused: is remembered for as long as the process lives; busy or failed is tried again, later each time
 *   dead:    a pager that died with its supervisor is started again
 *   stop:    everything that the daemon serves is put back, or left to its pagers, as the policy says
 *
 * Pagers are processes of their own, so the daemon may die and come back: it finds what is attached, and goes on.
 */
import { ProcessError } from '../process/errors.ts'
import { findPager, listPagers, startPager } from '../pager/start.ts'
import type { PagerStatus } from '../pager/main.ts'
import { readRecord } from '../pager/state-dir.ts'
import { startTime } from '../process/target.ts'
import type { Policy, Rule } from './policy.ts'
import { Watch, type Wanted } from './watch.ts'

/** Looks at the pagers themselves come so many looks apart: each is a question to each pager. */
const LOOKS = 6
/** Seconds until a process that could not be attached to for now is tried again, at first and at most. */
const FIRST = 15
const LAST = 900
/** Milliseconds for which a process has to be served to be worth the attach. */
const WORTH = 60_000
/** Milliseconds that a first pass may take before the next process is begun with. */
const PATIENCE = 120_000

export type Event =
  | {
      readonly type: 'attached'
      readonly pid: number
      readonly rule: string
      readonly virtual: number
      readonly before: number
    }
  | { readonly type: 'refused'; readonly pid: number; readonly rule: string; readonly why: string }
  | {
      readonly type: 'later'
      readonly pid: number
      readonly rule: string
      readonly why: string
      readonly seconds: number
    }
  | { readonly type: 'ended'; readonly pid: number }
  | { readonly type: 'revived'; readonly pid: number }
  | { readonly type: 'detached'; readonly pid: number }
  | { readonly type: 'policy'; readonly rules: number }

export interface DaemonOptions {
  readonly policy: Policy
  readonly state: string | undefined
  readonly tell: (event: Event) => void
}

interface Served {
  readonly start: number
  readonly rule: Rule
  /** Of a process that this daemon has attached: which program, and when. */
  readonly since?: { readonly program: string; readonly at: number }
}

export class Daemon {
  readonly #watch = new Watch()
  readonly #served = new Map<number, Served>()
  readonly #failures = new Map<number, number>()
  readonly #state: string | undefined
  readonly #tell: (event: Event) => void
  #policy: Policy
  #looks = 0
  #stopping = false
  #wake: () => void = () => {}
  refused = 0

  constructor({ policy, state, tell }: DaemonOptions) {
    this.#policy = policy
    this.#state = state
    this.#tell = tell
  }

  get attached(): number {
    return this.#served.size
  }

  set policy(policy: Policy) {
    this.#policy = policy
    this.#watch.forget()
    this.#tell({ type: 'policy', rules: policy.rules.length })
    this.#wake()
  }

  /** What would be attached to now. */
  wanted(): Wanted[] {
    return this.#watch.look(this.#policy, new Set(this.#served.keys()))
  }

  /** Until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      this.#bury()
      if (this.#looks++ % LOOKS === 0) await this.#check()
      for (const wanted of this.wanted()) {
        if (this.#stopping || this.#served.size >= this.#policy.most) break
        if (!this.#watch.stands(wanted)) continue
        await this.#attach(wanted)
        this.#bury()
      }
      if (!this.#stopping) await this.#sleep(this.#policy.every * 1000)
    }
    if (this.#policy.stop === 'detach') await this.#detachAll()
  }

  stop(): void {
    this.#stopping = true
    this.#wake()
  }

  /** Figures of all that the daemon serves. */
  async statuses(): Promise<PagerStatus[]> {
    const all = await Promise.all(
      [...this.#served.keys()].map(async pid => {
        const pager = await findPager(pid, this.#state).catch(() => undefined)
        return pager?.status(2000).catch(() => undefined)
      }),
    )
    return all.filter(one => one !== undefined)
  }

  async #attach({ pid, start, rule, program }: Wanted): Promise<void> {
    const { budget, pressure, pack, deep, backings } = rule
    try {
      const pager = await startPager(pid, {
        backings,
        state: this.#state,
        ...(budget === undefined ? {} : { budget }),
        ...(pressure === undefined ? {} : { pressure }),
        ...(pack === undefined ? {} : { pack }),
        ...(deep === undefined ? {} : { deep }),
      })
      this.#served.set(pid, { start, rule, since: { program, at: performance.now() } })
      this.#failures.delete(pid)
      const status = await this.#settled(pid, () => pager.status())
      if (status !== undefined)
        this.#tell({
          type: 'attached',
          pid,
          rule: rule.name,
          virtual: status.virtual,
          before: status.before.anonymous,
        })
    } catch (error) {
      if (startTime(pid) !== start) {
        this.#watch.endedYoung(program, start)
        return
      }
      const why = (error as Error).message
      const final = error instanceof ProcessError && error.code === 'refused'
      if (final) {
        this.refused++
        this.#watch.decide(pid, start)
        this.#tell({ type: 'refused', pid, rule: rule.name, why })
        return
      }
      const failures = (this.#failures.get(pid) ?? 0) + 1
      this.#failures.set(pid, failures)
      const seconds = Math.min(LAST, FIRST * 2 ** (failures - 1))
      this.#watch.put(pid, seconds)
      this.#tell({ type: 'later', pid, rule: rule.name, why, seconds })
    }
  }

  // Waits for the first pass; a target that ends meanwhile ends the wait.
  async #settled(pid: number, ask: () => Promise<PagerStatus | undefined>): Promise<PagerStatus | undefined> {
    const end = performance.now() + PATIENCE
    for (;;) {
      const status = await ask().catch(() => undefined)
      if (status?.settled === true || performance.now() > end) return status
      if (this.#stopping || startTime(pid) === undefined) return undefined
      await new Promise(after => setTimeout(after, 500))
    }
  }

  // Processes that are no more.
  #bury(): void {
    for (const [pid, { start, since }] of this.#served)
      if (startTime(pid) !== start) {
        if (since !== undefined && performance.now() - since.at < WORTH)
          this.#watch.endedYoung(since.program, start)
        this.#served.delete(pid)
        this.#tell({ type: 'ended', pid })
      }
    for (const pid of this.#failures.keys()) if (startTime(pid) === undefined) this.#failures.delete(pid)
  }

  // What an earlier daemon, or somebody else, has attached, and pagers that died for good.
  async #check(): Promise<void> {
    const known = await listPagers(this.#state)
    const there = new Set(known.map(one => one.pid))
    for (const pid of this.#served.keys()) if (!there.has(pid)) this.#served.delete(pid)
    for (const { pid, directory, answer } of known) {
      const start = startTime(pid)
      if (start === undefined) continue
      const rule = this.#served.get(pid)?.rule ?? this.#watch.ruleOf(this.#policy, pid)
      if (rule === undefined) {
        // Somebody else's.
        this.#watch.decide(pid, start)
        continue
      }
      if (answer === undefined) {
        try {
          await startPager(pid, { ...readRecord(directory)?.options, state: this.#state })
          this.#tell({ type: 'revived', pid })
        } catch (error) {
          const why = (error as Error).message
          this.#watch.put(pid, FIRST)
          this.#tell({ type: 'later', pid, rule: rule.name, why, seconds: FIRST })
          continue
        }
      }
      this.#served.set(pid, { ...this.#served.get(pid), start, rule })
    }
  }

  async #detachAll(): Promise<void> {
    for (const pid of this.#served.keys()) {
      const pager = await findPager(pid, this.#state).catch(() => undefined)
      const answer = await pager?.ask({ ask: 'detach' }, 600_000).catch(() => undefined)
      if (answer?.type === 'detached') this.#tell({ type: 'detached', pid })
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
