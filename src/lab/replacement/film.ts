/** Policies on a short trace of pages, access by access, with their queues after each. */
import { createOpt, createPolicy, HIT, type PolicyName, type Queue, simulate } from '../../policy/index.ts'

export type Shown = PolicyName | 'opt'

export interface PolicyShot {
  readonly hit: boolean
  readonly evicted: number
  readonly misses: number
  readonly queues: readonly Queue[]
}

export interface PolicyFilm {
  readonly name: Shown
  /** First the state before the first access. */
  readonly shots: readonly PolicyShot[]
}

const make = (name: Shown, frames: number, trace: Int32Array) =>
  name === 'opt' ? createOpt(frames, trace) : createPolicy(name, frames)

export function film(name: Shown, frames: number, trace: Int32Array): PolicyFilm {
  const policy = make(name, frames, trace)
  let misses = 0
  const shots: PolicyShot[] = [{ hit: false, evicted: -1, misses: 0, queues: policy.queues() }]
  for (const page of trace) {
    const answer = policy.access(page)
    if (answer !== HIT) misses++
    shots.push({
      hit: answer === HIT,
      evicted: answer >= 0 ? answer : -1,
      misses,
      queues: policy.queues().map(queue => ({ ...queue, pages: [...queue.pages] })),
    })
  }
  return { name, shots }
}

/** Miss ratio for each number of frames from 1 to all pages. */
export function curve(name: Shown, trace: Int32Array): number[] {
  const pages = new Set(trace).size
  return Array.from(
    { length: pages },
    (_, i) => simulate(make(name, i + 1, trace), trace).misses / trace.length,
  )
}

export interface TraceChoice {
  readonly id: string
  readonly name: string
  readonly say: string
  readonly pages: readonly number[]
  readonly frames: number
}

const range = (length: number, of: (i: number) => number): number[] => Array.from({ length }, (_, i) => of(i))
/** Numbers that look random and are always the same. */
function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

const hot = chance(7)
const mixed = chance(3)
const drift = chance(5)
export const traces: readonly TraceChoice[] = [
  {
    id: 'belady',
    name: 'Belady’s anomaly',
    say: 'FIFO misses 9 times with 3 frames and 10 times with 4: more memory, more faults. A stack policy such as LRU can’t do that.',
    pages: [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5],
    frames: 3,
  },
  {
    id: 'loop',
    name: 'A loop that does not fit',
    say: 'Ten pages round and round. LRU throws each away just before its turn; LIRS, CLOCK-Pro and OPT keep most of the loop.',
    pages: range(80, i => i % 10),
    frames: 8,
  },
  {
    id: 'scan',
    name: 'A scan through a hot set',
    say: 'Four hot pages, and now and then a walk over many that come once. What resists the scan keeps the hot ones.',
    pages: range(90, i => (i % 18 > 8 ? 10 + Math.floor(i / 18) * 9 + (i % 18) - 9 : Math.floor(hot() * 4))),
    frames: 6,
  },
  {
    id: 'drift',
    name: 'A working set that moves',
    say: 'The pages of now are near those of a moment ago. Recency is right here, and policies that trust the past are late.',
    pages: range(100, i => Math.floor(i / 6 + 6 * drift() ** 2)),
    frames: 6,
  },
  {
    id: 'mixed',
    name: 'Some often, most seldom',
    say: 'A few pages make most of the references, as in most programs.',
    pages: range(120, () => Math.floor(24 * mixed() ** 2.5)),
    frames: 7,
  },
]
