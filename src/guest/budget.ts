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
import type { BudgetCounts } from './budget-pages.ts'
import { type Ask, type BudgetData, type Note, Origins } from './budget-protocol.ts'
import type { EngineMemory } from './engine.ts'
import { GuestError } from './errors.ts'
import type { MemoryObserver, Provenance } from './memory.ts'

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

export class Budget {
  readonly observer: MemoryObserver
  /** System calls can't touch pages that are not there: the host copies instead. */
  readonly bounces: boolean
  readonly #worker: Worker
  readonly #data: BudgetData
  readonly #replies: Int32Array
  readonly #numbers = new WeakMap<object, number>()
  #origins: Origins | undefined
  #counts: BudgetCounts | undefined

  private constructor(worker: Worker, data: BudgetData, bounces: boolean) {
    this.#worker = worker
    this.#data = data
    this.#replies = new Int32Array(data.replies)
    this.bounces = bounces
    // Told before: a read of more than the budget has pages leave while it goes on.
    this.observer = { brings: (at, length, provenance) => this.#brings(at, length, provenance) }
  }

  /** Starts the thread. GuestError 'impossible' where this kernel or these privileges don't allow it. */
  static async open(limit: number, policy: PolicyName = defaultPolicy): Promise<Budget> {
    if (limit < leastBudget)
      throw new GuestError('option', `A budget of ${limit} bytes is too small: give ${leastBudget} or more`)
    const here = import.meta.url
    const data: BudgetData = { limit, policy, wake: fds.eventfd(), replies: new SharedArrayBuffer(8) }
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

  /** Serves this memory from now on. `module` has the file that the guest was read from, and where its data lie in memory. */
  attach(
    memory: EngineMemory,
    module?: { readonly path: string; readonly segments: readonly Segment[] },
  ): void {
    const address = addressOf(memory.buffer)
    const bytes = reservedFrom(address)
    this.#origins = Origins.of(bytes)
    advise(address, bytes, noHugePages)
    this.#ask({
      kind: 'serve',
      address,
      bytes,
      size: memory.buffer.byteLength,
      origins: this.#origins.shared,
    })
    if (module === undefined) return
    const file = this.#ask({ kind: 'file', fd: openSync(module.path, constants.O_RDONLY) })
    if (file > 0)
      for (const { at, length, offset } of module.segments)
        if (length >= leastFile) this.#origins.put(file, at, length, offset)
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

  /** The guest has freed [at, at + length): its whole pages are given back. */
  release(at: number, length: number): void {
    this.#ask({ kind: 'release', at, length })
  }

  #ask(ask: Ask): number {
    const seen = Atomics.load(this.#replies, 0)
    this.#worker.postMessage(ask)
    fds.signalEvent(this.#data.wake)
    Atomics.wait(this.#replies, 0, seen)
    return Atomics.load(this.#replies, 1)
  }

  /** Ends the thread. Pages that are not there are zeros from now on: nobody may look at the memory any more. */
  async close(): Promise<BudgetCounts | undefined> {
    const counts = new Promise<void>(resolve => {
      this.#worker.on('message', (note: Note) => {
        if (note.kind === 'counts') this.#counts = note.counts
      })
      this.#worker.once('exit', () => resolve())
    })
    this.#worker.ref()
    this.#ask({ kind: 'stop' })
    await counts
    fds.close(this.#data.wake)
    return this.#counts
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
