/**
 * Threads that search beside the one that asks (`hand.ts` is what each of them runs).
 *
 * The owner is synchronous: it shares out candidates, searches its own share, then waits for the others'. Every hand has its own
 * index and its own look at the memory, so nothing is shared but the store of lens indexes; what two hands find of the same
 * page is settled by who is asked first. A hand that fails, whose thread is gone, or that gives no sign of life for long is given
 * up, and its share is the owner's.
 */
import { existsSync } from 'node:fs'
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { Run } from '../process/pagemap.ts'
import type { Extent } from './extents.ts'
import type { Candidate } from './pool.ts'
import type { Kind } from './search.ts'

/** What a hand works with; all of it can be sent to a thread. */
export interface HandData {
  readonly pid: number
  readonly cacheFolder: string | false | undefined
  readonly deep: boolean
  /** CPUs that all threads together may use, and how many they are. */
  readonly cpuShare: number
  readonly threads: number
  readonly port: MessagePort
  /** Words: 0 tasks done, 1 signs of life, 2 the hand's thread id from when it works. */
  readonly shared: SharedArrayBuffer
}

export interface Task {
  readonly runs: readonly Run[]
  readonly candidates: readonly Candidate[]
  readonly kind: Kind
}

/** What a hand has found; backings are indices of the task's candidates. */
export interface Result {
  readonly extents: readonly Extent[]
  readonly memoryBytesRead: number
  readonly fileBytesIndexed: number
}

export type Answer = { readonly result: Result } | { readonly failed: string }

/** Without a sign of life for so long, milliseconds, a hand is given up. */
const PATIENCE = 120_000
/** How often it is looked whether a hand's thread is still there, milliseconds. */
const LOOK = 500

interface Hand {
  readonly worker: Worker
  readonly port: MessagePort
  readonly state: Int32Array
  done: number
  task: Task | undefined
}

export class Crew {
  readonly #data: Omit<HandData, 'port' | 'shared'>
  #size: number
  #hands: Hand[] = []

  /** So many threads, which start with their first tasks: most searches have none for them. */
  constructor(size: number, data: Omit<HandData, 'port' | 'shared'>) {
    this.#size = size
    this.#data = data
  }

  /** Hands that can be given a task. */
  get size(): number {
    return this.#size
  }

  /** Gives each hand a task, in order; there are no more tasks than hands. */
  begin(tasks: readonly Task[]): void {
    if (tasks.length > this.#size)
      throw new RangeError(`Invalid number of tasks ${tasks.length} for ${this.#size} hands`)
    for (const [i, task] of tasks.entries()) {
      const hand = (this.#hands[i] ??= start(this.#data))
      hand.task = task
      hand.port.postMessage(task)
    }
  }

  /** Waits for all that was begun: the tasks with their results; none for a task that nobody has done. */
  finish(): (readonly [Task, Result | undefined])[] {
    const finished: (readonly [Task, Result | undefined])[] = []
    for (const hand of this.#hands) {
      if (hand.task === undefined) continue
      const answer = wait(hand)
      finished.push([hand.task, answer !== undefined && 'result' in answer ? answer.result : undefined])
      hand.task = undefined
      if (answer !== undefined) continue
      this.#hands = this.#hands.filter(other => other !== hand)
      this.#size--
      void hand.worker.terminate()
    }
    return finished
  }

  /** Every hand that there is has answered, so that none is terminated while it starts: the FFI would take the process with it. */
  close(): void {
    for (const { worker } of this.#hands) void worker.terminate()
    this.#hands = []
    this.#size = 0
  }
}

function start(data: Omit<HandData, 'port' | 'shared'>): Hand {
  const { port1, port2 } = new MessageChannel()
  const shared = new SharedArrayBuffer(12)
  const extension = import.meta.url.slice(-3)
  const workerData: HandData = { ...data, port: port2, shared }
  const worker = new Worker(new URL(`./hand${extension}`, import.meta.url), {
    workerData,
    transferList: [port2],
    // What this process was started with is not for it: with --input-type it would end at once.
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })
  // A hand that dies is noticed by who waits for it; without a listener its error would be ours.
  worker.on('error', () => undefined)
  worker.unref()
  port1.unref()
  return { worker, port: port1, state: new Int32Array(shared), done: 0, task: undefined }
}

function wait(hand: Hand): Answer | undefined {
  const { state } = hand
  let life = -1
  let until = 0
  for (;;) {
    // Before the look for an answer: it may be its last word.
    const thread = Atomics.load(state, 2)
    const gone = thread !== 0 && !existsSync(`/proc/self/task/${thread}`)
    const answer = receiveMessageOnPort(hand.port) as { message: Answer } | undefined
    if (answer !== undefined) return answer.message
    const now = Atomics.load(state, 1)
    if (now !== life) {
      life = now
      until = performance.now() + PATIENCE
    } else if (gone || performance.now() > until) return undefined
    const done = Atomics.load(state, 0)
    if (done === hand.done) Atomics.wait(state, 0, done, LOOK)
    hand.done = Atomics.load(state, 0)
  }
}

/** Shares out things by their costs: the dearest first, each to who has least. In every share the order stays. */
export function shares<T>(things: readonly T[], n: number, cost: (thing: T) => number): T[][] {
  const sums = new Float64Array(n)
  const owner = new Map<T, number>()
  for (const thing of things.toSorted((a, b) => cost(b) - cost(a))) {
    let least = 0
    for (let i = 1; i < n; i++) if ((sums[i] ?? 0) < (sums[least] ?? 0)) least = i
    sums[least] = (sums[least] ?? 0) + cost(thing)
    owner.set(thing, least)
  }
  return Array.from({ length: n }, (_, i) => things.filter(thing => owner.get(thing) === i))
}
