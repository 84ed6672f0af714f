// Time: clocks, and waiting for it or for descriptors.
import type { Descriptors } from './descriptors.ts'
import { fileType, right } from './descriptors.ts'
import { errno, errnoOf, Refusal } from './errno.ts'
import type { GuestMemory } from './memory.ts'
import { waitForDescriptors } from './wait.ts'

/** `clockid`. */
const clock = { realtime: 0, monotonic: 1, processCpu: 2, threadCpu: 3 } as const

/** Nanoseconds between two readings that differ, of a clock. Throws EINVAL. */
export function clockResolution(id: number): bigint {
  if (id === clock.realtime || id === clock.monotonic) return 1n
  if (id === clock.processCpu || id === clock.threadCpu) return 1000n
  throw new Refusal(errno.inval)
}

/** Nanoseconds. Throws EINVAL. */
export function clockTime(id: number): bigint {
  switch (id) {
    case clock.realtime:
      return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n
    case clock.monotonic:
      return process.hrtime.bigint()
    case clock.processCpu:
    case clock.threadCpu: {
      const { user, system } = process.cpuUsage()
      return BigInt(user + system) * 1000n
    }
    default:
      throw new Refusal(errno.inval)
  }
}

const subscriptionBytes = 48
const eventBytes = 32
const tag = { clock: 0, read: 1, write: 2 } as const
const absolute = 1

interface Waiter {
  readonly userdata: bigint
  readonly type: number
  /** host descriptor that is waited for, or -1 */
  readonly fd: number
  readonly error: number
}

/** `poll_oneoff`: how many events were written. */
export function poll(
  memory: GuestMemory,
  descriptors: Descriptors,
  from: number,
  to: number,
  count: number,
): number {
  if (count === 0) throw new Refusal(errno.inval)
  let deadline = Number.POSITIVE_INFINITY
  const timers: { userdata: bigint; at: number }[] = []
  const waiters: Waiter[] = []
  for (let i = 0; i < count; i++) {
    const at = from + i * subscriptionBytes
    const userdata = memory.getU64(at)
    const type = memory.getU8(at + 8)
    if (type === tag.clock) {
      const id = memory.getU32(at + 16)
      const timeout = memory.getU64(at + 24)
      const relative = (memory.getU16(at + 40) & absolute) === 0 ? timeout : max(0n, timeout - clockTime(id))
      const when = performance.now() + Number(relative) / 1e6
      timers.push({ userdata, at: when })
      deadline = Math.min(deadline, when)
    } else waiters.push(waiter(descriptors, userdata, type, memory.getU32(at + 16)))
  }
  const until = (when: number): boolean =>
    waitForDescriptors(waiters, Math.min(deadline, when)).length > 0 || performance.now() >= deadline
  if (memory.observed) memory.waits(ms => until(performance.now() + ms))
  const ready = waitForDescriptors(waiters, deadline)
  let events = 0
  const put = (userdata: bigint, error: number, type: number, bytes: bigint): void => {
    const at = to + events++ * eventBytes
    memory.fill(at, eventBytes)
    memory.setU64(at, userdata)
    memory.setU16(at + 8, error)
    memory.setU8(at + 10, type)
    memory.setU64(at + 16, bytes)
  }
  for (const { userdata, error, type } of ready) put(userdata, error, type, error === errno.success ? 1n : 0n)
  const now = performance.now()
  if (ready.length === 0 || timers.some(timer => timer.at <= now))
    for (const timer of timers) if (timer.at <= Math.max(now, deadline)) put(timer.userdata, 0, tag.clock, 0n)
  return events
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

function waiter(descriptors: Descriptors, userdata: bigint, type: number, fd: number): Waiter {
  if (type !== tag.read && type !== tag.write) throw new Refusal(errno.inval)
  try {
    const found = descriptors.get(fd, right.pollFdReadwrite)
    // Files are always ready, and so is a function of the embedder's.
    const waits = found.fd >= 0 && found.type !== fileType.regular
    return { userdata, type, fd: waits ? found.fd : -1, error: errno.success }
  } catch (error) {
    return { userdata, type, fd: -1, error: errnoOf(error) ?? errno.badf }
  }
}
