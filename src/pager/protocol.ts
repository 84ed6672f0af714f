// What the two threads of a pager say to each other.
//
// The *server* (a worker thread) reads every userfaultfd and answers every fault. It never waits for the target, for
// the tracer or for the other thread. The *controller* (the main thread) traces, verifies, decides what to
// drop, and talks to the outside. Requests go through a MessagePort after which the wake descriptor is signalled,
// because the server sleeps in ppoll and not in an event loop; answers come back through the port.
// The one exchange that must not go through the event loop is `hold`: while the target stands still the
// controller waits, for a bounded time, until the server has handled everything that was pending, and has it stand still
// for the microseconds in which pages are marked.

/** Requests to the server. Each is answered by a `Reply` with the same id. */
export type Request = { id: number } & (
  | { kind: 'register'; start: number; end: number }
  /** verifying → clean for pages that still are; rows of (start, pages, backing, offset) */
  | { kind: 'explain'; rows: Float64Array }
  | ({ kind: 'backing' } & ServedBacking)
  /** refill every virtual page, of one backing or of all */
  | { kind: 'refill'; backing?: number }
  /** look now which address spaces are no more; answered by the number of living children */
  | { kind: 'bury' }
  /** make this thread's heap small, while there is nothing to do */
  | { kind: 'shed' }
  /** stop serving, if nothing is under way; answered by whether it has, and then with the news `asleep`: the last request */
  | { kind: 'sleep' }
  /** refill everything and stop serving: the last request */
  | { kind: 'leave' }
)

export type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never

/** The server's answers and news. */
export type Reply =
  | { kind: 'reply'; id: number; result: number; message?: string }
  | { kind: 'lost'; index: number; why: string }
  | { kind: 'report'; message: string }
  | { kind: 'children'; count: number }
  /** the limit is reached and a fault waits for room */
  | { kind: 'over' }
  | { kind: 'gone'; children: number }
  /** nobody serves: what is to be watched meanwhile, and the open files whose leases somebody must answer for */
  | { kind: 'asleep'; watched: number[]; leased: number[] }

/** A backing as the server opens it. `sources`: the backings that it depends on besides its own file; they come before it. */
export interface ServedBacking {
  index: number
  path: string
  fd: number
  lens?: string
  sources?: readonly number[]
}

/** What the server starts with. */
export interface ServerData {
  uffd: number
  pid: number
  journal: string
  /** Directory of the journals of forked children. */
  directory: string
  wake: number
  parkIn: number
  /** Milliseconds of a tick of the ages. */
  tickMs: number
  /** Most clean pages, or 0 for no limit. */
  limit: number
  /** Every fault is timed, not only one of several. */
  timed: boolean
  /** Of a `Prices`. */
  prices: SharedArrayBuffer
  parkOut: number
  /** Our keeper, to be put down in the journal when we serve, and that of who served before, if any. */
  keeper: { pid: number; start: number; own: readonly [number, number, number] }
  before: { pid: number; start: number }
  /** 0: requests to hold, 1: acknowledged, 2: let go, 3: the CPU that the server keeps to when it is held, 4: its thread, 5: it ends */
  shared: SharedArrayBuffer
  /** Children of a predecessor: their descriptors and numbers. */
  children: { fd: number; n: number }[]
  /** Backings of a predecessor, out of the park. `lost`: why one can't serve. */
  backings: (ServedBacking & { lost?: string })[]
}

export const shared = { request: 0, acknowledged: 1, released: 2, cpu: 3, thread: 4, end: 5 } as const

/** Milliseconds of the monotonic clock, which all processes share, when performance.now() was 0 in this thread. */
const origin = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** The time `now`, of performance.now(), in ticks of `ms` milliseconds, modulo 2^16: the same in all threads and pagers. */
export const tickAt = (now: number, ms: number): number => Math.floor((origin + now) / ms) & 0xffff
