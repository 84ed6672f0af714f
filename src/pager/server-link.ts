// The controller's end of the server thread: requests and their answers, and `hold`, which does without the event loop.
import { Worker } from 'node:worker_threads'
import * as fds from '../sys/fd.ts'
import { exitNow } from '../sys/ffi.ts'
import { setPriority } from '../sys/memory.ts'
import { PagerError } from './errors.ts'
import { type Reply, type RequestBody, type ServerData, shared } from './protocol.ts'

/** Nice value of the server: whenever it has something to do, a thread of the target waits for it. */
const serverPriority = -18

/** What the server says of its own accord. */
export type News = Exclude<Reply, { kind: 'reply' }>

export class ServerLink {
  readonly #wake: number
  readonly #shared: Int32Array
  readonly #worker: Worker
  readonly #waiting = new Map<number, (reply: { result: number; message?: string }) => void>()
  #nextId = 1

  /** Starts the server. */
  constructor(data: Omit<ServerData, 'wake' | 'shared'>, news: (news: News) => void) {
    this.#wake = fds.eventfd()
    const memory = new SharedArrayBuffer(64)
    this.#shared = new Int32Array(memory)
    const workerData: ServerData = { ...data, wake: this.#wake, shared: memory }
    const extension = import.meta.url.slice(-3)
    // A thread is born with the priority of its maker, and this one may be waited for from the first.
    setPriority(0, serverPriority)
    this.#worker = new Worker(new URL(`./server${extension}`, import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 1 },
    })
    setPriority(0, 0)
    this.#worker.on('message', (reply: Reply) => {
      if (reply.kind !== 'reply') {
        news(reply)
        return
      }
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      waiting?.(reply)
    })
    this.#worker.on('error', error => {
      // A server that dies is a pager that dies: the supervisor starts a successor.
      console.error('lethe: the server thread failed:', error)
      exitNow(70)
    })
  }

  /** Has the server look at the time and at what is asked of it. */
  wake(): void {
    fds.signalEvent(this.#wake)
  }

  /**
   * Ends the server, which leaves its loop by itself: a thread that is terminated while the FFI defines or converts something takes
   * the process with it. What it was asked and has not answered is answered with -1.
   */
  end(): void {
    for (const resolve of this.#waiting.values()) resolve({ result: -1 })
    this.#waiting.clear()
    Atomics.store(this.#shared, shared.end, 1)
    this.wake()
  }

  /** Throws PagerError `journal` when the server could not do it. */
  async ask(request: RequestBody): Promise<number> {
    const id = this.#nextId++
    const answer = new Promise<{ result: number; message?: string }>(resolve =>
      this.#waiting.set(id, resolve),
    )
    this.#worker.postMessage({ ...request, id })
    this.wake()
    const { result, message } = await answer
    if (message !== undefined) throw new PagerError('journal', message)
    return result
  }

  /** The CPU on which the server was when it was last held, and is; and its thread. */
  get place(): { cpu: number; thread: number } {
    return { cpu: Atomics.load(this.#shared, shared.cpu), thread: Atomics.load(this.#shared, shared.thread) }
  }

  /**
   * Waits, without the event loop, until the server has handled all that was pending when we asked, and has it stand
   * still while `action` runs. False, and nothing done, when it did not answer in time.
   */
  hold(ms: number, action: () => void): boolean {
    const asked = (Atomics.load(this.#shared, shared.request) + 1) | 0
    Atomics.store(this.#shared, shared.request, asked)
    this.wake()
    const end = performance.now() + ms
    try {
      for (;;) {
        const seen = Atomics.load(this.#shared, shared.acknowledged)
        if (seen === asked) break
        const left = end - performance.now()
        if (left <= 0) return false
        Atomics.wait(this.#shared, shared.acknowledged, seen, left)
      }
      action()
      return true
    } finally {
      Atomics.store(this.#shared, shared.released, asked)
      Atomics.notify(this.#shared, shared.released)
    }
  }
}
