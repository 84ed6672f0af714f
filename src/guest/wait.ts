// Waiting, on a thread that has no event loop while its guest runs.
import type { Arena } from '../sys/ffi.ts'
import { load } from './node.ts'

const mostFds = 1024
const pollIn = 1
const pollOut = 4
const word = new Int32Array(new SharedArrayBuffer(4))

interface Kernel {
  readonly ffi: typeof import('../sys/ffi.ts')
  readonly space: Arena
}

/** What waiting for descriptors takes. Most guests never do, and loading it takes longer than many a run. */
let kernel: Kernel | undefined

function needKernel(): Kernel {
  if (kernel === undefined) {
    // Now, in the middle of a guest's call: nothing can be awaited.
    const ffi = load(import.meta.url, '../sys/ffi') as Kernel['ffi']
    kernel = { ffi, space: ffi.arena(mostFds * 8 + 16) }
  }
  return kernel
}

/** Does nothing for some milliseconds. */
export function sleep(milliseconds: number): void {
  if (milliseconds > 0) Atomics.wait(word, 0, 0, milliseconds)
}

/**
 * Those of `waiters` that are ready by `deadline` (of performance.now): at once where there is none to wait for. `type` is 1 for
 * reading, 2 for writing; `fd` -1 is always ready.
 */
export function waitForDescriptors<T extends { readonly type: number; readonly fd: number }>(
  waiters: readonly T[],
  deadline: number,
): T[] {
  const waiting = waiters.filter(one => one.fd >= 0).slice(0, mostFds)
  const left = (): number => Math.max(0, deadline - performance.now())
  if (waiting.length < waiters.length) return ready(waiters, waiting, 0)
  if (waiting.length === 0) {
    while (left() > 0) sleep(Math.min(left(), 2 ** 30))
    return []
  }
  for (;;) {
    const found = ready(waiters, waiting, Math.min(left(), 2 ** 30))
    if (found.length > 0 || left() === 0) return found
  }
}

function ready<T extends { readonly type: number; readonly fd: number }>(
  waiters: readonly T[],
  waiting: readonly T[],
  milliseconds: number,
): T[] {
  if (waiting.length === 0) return waiters.slice()
  const { ffi, space } = needKernel()
  const { u32, address } = space
  waiting.forEach(({ fd, type }, i) => {
    u32[i * 2] = fd
    u32[i * 2 + 1] = type === 1 ? pollIn : pollOut
  })
  // struct timespec behind the descriptors.
  ffi.putAddress(u32, mostFds * 2, Math.floor(milliseconds / 1000))
  ffi.putAddress(u32, mostFds * 2 + 2, Math.floor((milliseconds % 1000) * 1e6))
  ffi.call(ffi.nr.ppoll, address, waiting.length, address + mostFds * 8, 0, 8)
  const answered = new Set(waiting.filter((_, i) => (u32[i * 2 + 1] as number) >>> 16 !== 0))
  return waiters.filter(one => one.fd < 0 || answered.has(one))
}
