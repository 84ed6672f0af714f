/** All policies by name. `policy.ts` has the protocol. */
import { Arc } from './arc.ts'
import { Clock } from './clock.ts'
import { ClockPro } from './clock-pro.ts'
import { Dlirs } from './dlirs.ts'
import { Fifo } from './fifo.ts'
import { Gdsf } from './gdsf.ts'
import { Lirs } from './lirs.ts'
import { Lru } from './lru.ts'
import { Opt } from './opt.ts'
import type { Policy } from './policy.ts'
import { Random } from './random.ts'
import { Reuse } from './reuse.ts'
import { S3Fifo } from './s3-fifo.ts'
import { Sieve } from './sieve.ts'
import { Slru } from './slru.ts'
import { TwoQ } from './two-q.ts'

export { HIT, NONE, type Policy, type Queue } from './policy.ts'
export { PageNumbers } from './page-numbers.ts'
export { Opt } from './opt.ts'

/** Policies that need not know the future, in the order in which tables show them. */
export const policyNames = [
  'fifo',
  'clock',
  'second-chance',
  'lru',
  'slru',
  '2q',
  'arc',
  'lirs',
  'dlirs',
  'clock-pro',
  's3-fifo',
  'sieve',
  'gdsf',
  'reuse',
  'random',
] as const
export type PolicyName = (typeof policyNames)[number]

/** Best of these over classical traces, and no worse than LRU on programs' address traces: docs/machine.md has the figures. */
export const defaultPolicy: PolicyName = 'dlirs'

export const isPolicyName = (name: string): name is PolicyName =>
  (policyNames as readonly string[]).includes(name)

export interface PolicyOptions {
  /** For RANDOM; an integer, 1 if not given. */
  readonly seed?: number
}

/** A policy for a number of frames, an integer of at least 1. */
export function createPolicy(name: PolicyName, frames: number, options: PolicyOptions = {}): Policy {
  if (!Number.isInteger(frames) || frames < 1)
    throw new RangeError(`${frames} frames are not enough for a policy; it needs at least 1, a whole number`)
  switch (name) {
    case 'fifo':
      return new Fifo(frames)
    case 'clock':
      return new Clock(frames)
    case 'second-chance':
      return new Clock(frames, 1)
    case 'lru':
      return new Lru(frames)
    case 'slru':
      return new Slru(frames)
    case '2q':
      return new TwoQ(frames)
    case 'arc':
      return new Arc(frames)
    case 'lirs':
      return new Lirs(frames)
    case 'dlirs':
      return new Dlirs(frames)
    case 'clock-pro':
      return new ClockPro(frames)
    case 's3-fifo':
      return new S3Fifo(frames)
    case 'sieve':
      return new Sieve(frames)
    case 'reuse':
      return new Reuse(frames)
    case 'gdsf':
      return new Gdsf(frames)
    case 'random':
      return new Random(frames, options.seed)
  }
}

/** OPT for a trace that is known ahead. */
export const createOpt = (frames: number, trace: Int32Array): Policy => new Opt(frames, trace)

/** Misses of a policy on a trace of dense page numbers; what its misses cost, if costs are given by page. */
export function simulate(
  policy: Policy,
  trace: Int32Array,
  costs?: Float64Array,
): { misses: number; cost: number } {
  let misses = 0
  let cost = 0
  if (costs === undefined) {
    for (let i = 0; i < trace.length; i++) if (policy.access(trace[i] as number) !== -2) misses++
    return { misses, cost: misses }
  }
  for (let i = 0; i < trace.length; i++) {
    const page = trace[i] as number
    const price = costs[page] as number
    if (policy.access(page, price) === -2) continue
    misses++
    cost += price
  }
  return { misses, cost }
}
