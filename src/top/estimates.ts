/** What has been sampled of which process, and whose turn is next. The largest first; again when it has changed, or after some time. */
import { Worker } from 'node:worker_threads'
import type { ProcessRow } from './processes.ts'
import { HURRY, type Order, type Sampled } from './sampler.ts'

/** Anonymous memory below which nobody would attach: not sampled. */
export const LEAST: number = 8 * 2 ** 20
/** Milliseconds after which a sample is taken again, and how much larger or smaller a process may have become until then. */
const STALE = 10 * 60_000
const CHANGED = 0.15

export interface Known {
  /** Share of the anonymous memory, 0 to 1; undefined: could not be sampled. */
  readonly explained: number | undefined
  readonly sampled: number
  readonly anonymous: number
  readonly at: number
}

export interface EstimatesOptions {
  /** CPUs that this whole process may use in the long run; undefined: no limit. */
  readonly share: number | undefined
  readonly changed: () => void
}

export class Estimates {
  readonly #known = new Map<number, Known>()
  readonly #flags = new Int32Array(new SharedArrayBuffer(4))
  readonly #options: EstimatesOptions
  #worker: Worker | undefined
  #busy: number | undefined
  #wanted: number | undefined
  #all = false
  #rows: readonly ProcessRow[] = []

  constructor(options: EstimatesOptions) {
    this.#options = options
    if (options.share === undefined) Atomics.store(this.#flags, HURRY, 1)
  }

  of(pid: number): Known | undefined {
    return this.#known.get(pid)
  }

  /** The process that is being sampled. */
  get busy(): number | undefined {
    return this.#busy
  }

  /** Whether every process that is large enough has been sampled. */
  get complete(): boolean {
    return this.#busy === undefined && this.#next() === undefined
  }

  /** The processes as they are now. */
  update(rows: readonly ProcessRow[]): void {
    this.#rows = rows
    const alive = new Set(rows.map(({ pid }) => pid))
    for (const pid of this.#known.keys()) if (!alive.has(pid)) this.#known.delete(pid)
    this.#start()
  }

  /** Samples this one now, whatever it costs. */
  hurry(pid: number): void {
    this.#wanted = pid
    Atomics.store(this.#flags, HURRY, 1)
    this.#start()
  }

  /** Samples all, whatever it costs, and then keeps within its limit again. */
  hurryAll(): void {
    if (this.complete) return
    this.#all = true
    Atomics.store(this.#flags, HURRY, 1)
    this.#start()
  }

  async close(): Promise<void> {
    await this.#worker?.terminate()
  }

  #next(): number | undefined {
    if (this.#wanted !== undefined) return this.#wanted
    const now = performance.now()
    let best: ProcessRow | undefined
    for (const row of this.#rows) {
      if (row.anonymous < LEAST || (best !== undefined && row.anonymous <= best.anonymous)) continue
      const known = this.#known.get(row.pid)
      const good =
        known !== undefined &&
        now - known.at < STALE &&
        Math.abs(row.anonymous - known.anonymous) < CHANGED * Math.max(known.anonymous, LEAST)
      if (!good) best = row
    }
    return best?.pid
  }

  #start(): void {
    if (this.#busy !== undefined) return
    const pid = this.#next()
    if (pid === undefined) return
    this.#worker ??= this.#open()
    this.#busy = pid
    this.#worker.postMessage({ pid, now: pid === this.#wanted } satisfies Order)
  }

  #open(): Worker {
    const here = import.meta.url
    const worker = new Worker(new URL(`./sampler${here.slice(-3)}`, here), {
      workerData: { share: this.#options.share ?? 1, shared: this.#flags.buffer },
      execArgv: [],
    })
    worker.on('message', (result: Sampled) => this.#take(result))
    worker.unref()
    return worker
  }

  #take(result: Sampled): void {
    const { pid } = result
    const anonymous = this.#rows.find(row => row.pid === pid)?.anonymous ?? 0
    const at = performance.now()
    this.#known.set(
      pid,
      'failed' in result
        ? { explained: undefined, sampled: 0, anonymous, at }
        : { explained: result.explained, sampled: result.sampled, anonymous, at },
    )
    this.#busy = undefined
    if (this.#wanted === pid) this.#wanted = undefined
    if (this.#next() === undefined) this.#all = false
    const hurried = this.#all || this.#wanted !== undefined || this.#options.share === undefined
    Atomics.store(this.#flags, HURRY, hurried ? 1 : 0)
    this.#start()
    this.#options.changed()
  }
}
