/**
 * Replacement policies: which resident page must go when another one comes. One policy per file; the pager of a real process, the
 * simulated machine and the trace simulator use the same ones.
 *
 * A policy keeps account of at most `frames` resident pages and holds no page's bytes. Its owner reports what happens:
 *
 *   1. `admit(page, cost)`: a page that was not resident becomes resident. If all frames are taken, the answer is the page that is
 *      no longer resident from now on, which the owner must evict; else NONE. The policy sees the incoming page before it chooses,
 *      because ARC, 2Q, S3-FIFO, LIRS and CLOCK-Pro remember pages that went not long ago (ghosts).
 *   2. `touch(page)`: a resident page was referenced. For a policy that only wants reference bits it is enough to report a page once
 *      between two admissions, in any order; policies with `exactOrder` want every reference, in order, to be what their papers say.
 *   3. `evict()`: one resident page goes without another one coming (the owner's budget shrank, or it reclaims ahead). NONE if empty.
 *   4. `forget(page)`: the page is gone with its contents (unmapped). No ghost stays. Not an error if it is not known.
 *
 * `access(page, cost)` is 1 and 2 in one, for whoever replays a trace: HIT, or what `admit` answers.
 *
 * Pages are small integers from 0, dense: tables grow to the largest one. `PageNumbers` (page-numbers.ts) makes such of sparse ones.
 * Nothing is allocated on these paths except when a table grows. A policy is deterministic; RANDOM has a seed.
 */

/** `access`: the page was resident. */
export const HIT = -2
/** No page has to go. */
export const NONE = -1

export interface Policy {
  readonly name: string
  readonly frames: number
  /** Resident pages, at most `frames`. */
  readonly residents: number
  /** It needs each reference in its order; the others live on reference bits or on nothing. */
  readonly exactOrder: boolean
  resident(page: number): boolean
  touch(page: number): void
  /** `cost`: what a refill of this page costs, in any unit, above 0; only cost-aware policies look at it. */
  admit(page: number, cost?: number): number
  evict(): number
  forget(page: number): void
  access(page: number, cost?: number): number
  /** What the policy knows now, for people to look at; slow. */
  queues(): Queue[]
}

/** One of a policy's own queues, newest page first. */
export interface Queue {
  /** As the policy's paper calls it. */
  readonly name: string
  readonly pages: readonly number[]
  /** Pages that are remembered only. */
  readonly ghost: boolean
  /** Reference bit or counter of each page, where the policy keeps one. */
  readonly marks?: readonly number[]
  /** The hand's place in `pages`, for a clock. More than one hand: their names with places. */
  readonly hands?: Readonly<Record<string, number>>
  /** How many pages the policy wants here now. */
  readonly target?: number
}
