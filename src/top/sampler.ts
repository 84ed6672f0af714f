/**
 * The thread of `lethe top` that samples, one process at a time. All of the program, drawing included, keeps below a share of one CPU: the
 * thread sleeps until what has been used since the beginning is paid for by the time that has passed.
 *
 *   in:  { pid, now }          now: somebody waits, don't sleep
 *   out: { pid, explained, sampled } or { pid, failed }
 */
import { parentPort, workerData } from 'node:worker_threads'
import { sampleProcess } from '../explain/sample.ts'

export interface Order {
  readonly pid: number
  readonly now: boolean
}

export type Sampled =
  | { readonly pid: number; readonly explained: number; readonly sampled: number }
  | { readonly pid: number; readonly failed: string }

/** What is in the memory shared with the main thread: whether to hurry. */
export const HURRY = 0
/** At most so long at a time, so that a hurry is seen. */
const NAP = 250

if (parentPort !== null) {
  const port = parentPort
  const { share, shared } = workerData as { share: number; shared: SharedArrayBuffer }
  const flags = new Int32Array(shared)
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  const pause = (): void => {
    for (;;) {
      if (Atomics.load(flags, HURRY) !== 0) return
      const { user, system } = process.cpuUsage()
      const rest = (user + system) / 1000 / share - process.uptime() * 1000
      if (rest <= 0) return
      Atomics.wait(nobody, 0, 0, Math.min(rest, NAP))
    }
  }
  port.on('message', ({ pid }: Order) => {
    pause()
    let result: Sampled
    try {
      const { explained, sampled } = sampleProcess(pid, { pause })
      result = { pid, explained, sampled }
    } catch (error) {
      result = { pid, failed: (error as NodeJS.ErrnoException).code ?? (error as Error).message }
    }
    port.postMessage(result)
  })
}
