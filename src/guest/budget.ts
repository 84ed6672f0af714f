// A budget for a guest's memory: what is over it is dropped, and made again when the guest touches it.
//
//   Budget.open(limit) → a thread of ours (budget-pager.ts) → attach(memory) before the guest's first instruction
//   → observer: what file reads bring is noted → the guest runs → close() → counts
import { constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { defaultPolicy, type PolicyName } from '../policy/index.ts'
import * as fds from '../sys/fd.ts'
import { addressOf } from '../sys/ffi.ts'
import { advise } from '../sys/memory.ts'
import { type BudgetCounts, noCounts } from './budget-pages.ts'
import { type Ask, type BudgetData, type Note, Origins, pageKind, repliesBytes } from './budget-protocol.ts'
import type { EngineMemory } from './engine.ts'
import { GuestError } from './errors.ts'
import type { MemoryObserver, Provenance } from './memory.ts'
import { Timeline, timelineBytes, type TimelineRecord } from './timeline.ts'

export type { BudgetCounts } from './budget-pages.ts'

/** Below this nothing runs well. */
export const leastBudget: number = 256 << 10
/** A smaller file is not worth being held open, nor a smaller segment being noted. */
const leastFile = 4096
const mostBytes = 2 ** 32
const noHugePages = 15

/** A range of the memory that is a range of the module's file. */
export interface Segment {
  readonly at: number
  readonly length: number
  readonly offset: number
}

/** Pages [from, to), in bytes, that are alike. */
export interface PageRun {
  readonly from: number
  readonly to: number
  readonly kind: keyof typeof pageKind
}

/** How the first memory under a budget was used, and what it is now, as --json has it. */
export interface BudgetPicture {
  readonly runs: readonly PageRun[]
  readonly timeline: TimelineRecord
}

export class Budget {
  readonly observer: MemoryObserver
  /** System calls can't touch pages that are not there: the host copies instead. */
  readonly bounces: boolean
  readonly #worker: Worker
  readonly #data: BudgetData
  readonly #replies: Int32Array
  readonly #numbers = new WeakMap<object, number>()
  #origins: Origins | undefined
  readonly #served = new Map<EngineMemory, number>()

  private constructor(worker: Worker, data: BudgetData, bounces: boolean) {
    this.#worker = worker
    this.#data = data
    this.#replies = new Int32Array(data.replies, 0, 2)
    this.bounces = bounces
    // Told before: a read of more than the budget has pages leave while it goes on.
    this.observer = { brings: (at, length, provenance) => this.#brings(at, length, provenance) }
  }

  /** Starts the thread. GuestError 'impossible' where this kernel or these privileges don't allow it. */
  static async open(limit: number, policy: PolicyName = defaultPolicy): Promise<Budget> {
    if (limit < leastBudget)
      throw new GuestError('option', `A budget of ${limit} bytes is too small: give ${leastBudget} or more`)
    const here = import.meta.url
    const data: BudgetData = {
      limit,
      policy,
      wake: fds.eventfd(),
      replies: new SharedArrayBuffer(repliesBytes),
      timeline: new SharedArrayBuffer(timelineBytes),
    }
    const worker = new Worker(fileURLToPath(new URL(`./budget-pager${here.slice(-3)}`, here)), {
      workerData: data,
      execArgv: [],
      name: 'lethe budget',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    })
    const note = await new Promise<Note>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    if (note.kind !== 'ready') {
      fds.close(data.wake)
      throw new GuestError('impossible', note.kind === 'unable' ? note.message : 'The pager did not start')
    }
    worker.unref()
    return new Budget(worker, data, note.faults === 'user')
  }

  /**
   * Serves this memory from now on, with those before it. `module` has the file that the guest was read from, and where its data lie in
   * memory; it and the observer are of the first memory.
   */
  attach(
    memory: EngineMemory,
    module?: { readonly path: string; readonly segments: readonly Segment[] },
  ): void {
    const address = addressOf(memory.buffer)
    const bytes = reservedFrom(address)
    const origins = Origins.of(bytes)
    this.#origins ??= origins
    this.#served.set(memory, address)
    advise(address, bytes, noHugePages)
    this.#ask({
      kind: 'serve',
      address,
      bytes,
      size: memory.buffer.byteLength,
      origins: origins.shared,
    })
    if (module === undefined) return
    const file = this.#ask({ kind: 'file', fd: openSync(module.path, constants.O_RDONLY) })
    if (file > 0)
      for (const { at, length, offset } of module.segments)
        if (length >= leastFile) origins.put(file, at, length, offset)
  }

  /** Whether this memory is served. */
  serves(memory: EngineMemory): boolean {
    return this.#served.has(memory)
  }

  #brings(at: number, length: number, provenance: Provenance): void {
    if (this.#origins === undefined) return
    let file = this.#numbers.get(provenance.opened)
    if (file === undefined) {
      if (fstatSync(provenance.fd).size < leastFile) return
      file = this.#ask({ kind: 'file', fd: openSync(`/proc/self/fd/${provenance.fd}`, constants.O_RDONLY) })
      this.#numbers.set(provenance.opened, file)
    }
    if (file > 0) this.#origins.put(file, at, length, provenance.offset)
  }

  /** The guest has freed [at, at + length) of this memory: its whole pages are given back. */
  release(memory: EngineMemory, at: number, length: number): void {
    const address = this.#served.get(memory)
    if (address !== undefined) this.#ask({ kind: 'release', address: address + at, length })
  }

  /** The guest will not need these ranges [from, to) of this memory soon: they leave memory. */
  trim(memory: EngineMemory, ranges: readonly (readonly [number, number])[]): void {
    const address = this.#served.get(memory)
    if (address === undefined) return
    this.#ask({ kind: 'trim', ranges: ranges.map(([from, to]) => [address + from, address + to] as const) })
  }

  /** As of now. */
  counts(): BudgetCounts {
    this.#ask({ kind: 'count' })
    const values = new Float64Array(this.#data.replies, 8)
    const names = Object.keys(noCounts()) as (keyof BudgetCounts)[]
    return Object.fromEntries(names.map((name, i) => [name, values[i]])) as unknown as BudgetCounts
  }

  /** As of now. */
  picture(): BudgetPicture {
    this.#ask({ kind: 'count' })
    const [memory] = this.#served.keys()
    const into = new SharedArrayBuffer((memory?.buffer.byteLength ?? 0) / 4096)
    this.#ask({ kind: 'picture', into })
    return { runs: runsOf(new Uint8Array(into)), timeline: new Timeline(this.#data.timeline).record() }
  }

  #ask(ask: Ask): number {
    const seen = Atomics.load(this.#replies, 0)
    this.#worker.postMessage(ask)
    fds.signalEvent(this.#data.wake)
    Atomics.wait(this.#replies, 0, seen)
    return Atomics.load(this.#replies, 1)
  }

  /** Ends the thread. Pages that are not there are zeros from now on: nobody may look at the memory any more. */
  async close(): Promise<BudgetCounts> {
    const counts = this.counts()
    const ended = new Promise<void>(resolve => this.#worker.once('exit', () => resolve()))
    this.#worker.ref()
    this.#ask({ kind: 'stop' })
    await ended
    fds.close(this.#data.wake)
    return counts
  }
}

// How much address space from there on is one reservation: the engine's guard pages behind the memory count, up to 4 GiB.
function reservedFrom(address: number): number {
  let end = address
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const [from = '', to = ''] = line.slice(0, line.indexOf(' ')).split('-')
    if (Number.parseInt(from, 16) <= end && Number.parseInt(to, 16) > end) end = Number.parseInt(to, 16)
  }
  return Math.min(end - address, mostBytes)
}

function runsOf(kinds: Uint8Array): PageRun[] {
  const names = Object.keys(pageKind) as (keyof typeof pageKind)[]
  const runs: PageRun[] = []
  for (let from = 0, to = 0; to < kinds.length; from = to) {
    while (to < kinds.length && kinds[to] === kinds[from]) to++
    runs.push({ from: from * 4096, to: to * 4096, kind: names[kinds[from] as number] ?? 'zeros' })
  }
  return runs
}
