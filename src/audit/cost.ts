/**
 * What giving back would save, and what bringing back would cost: refills are tried, four reads for each backing as the pager does
 * after its proof, and priced as its governor prices them (src/pager/prices.ts). Of an attached process the pager's own prices count.
 */
import { FileBacking } from '../backing/file.ts'
import type { Candidate } from '../explain/pool.ts'
import { lensNamed } from '../lens/catalogue.ts'
import type { IndexStore } from '../lens/lens.ts'
import { through } from '../lens/through.ts'
import { Prices, priced } from '../pager/prices.ts'
import type { AuditFile, AuditReport } from './audit.ts'
import { PAGE, pageMicroseconds } from './words.ts'

const trials = 4
/** Files beyond so many have no price; they hold little. */
const most = 64
/** Seconds for 64 KiB: what the pager leaves resident if nothing presses (src/pager/reclaim.ts). */
const dear = 250e-3
/** What a pager with its supervisor takes, in bytes, while it is awake, and once it sleeps: `npm run bench -- pager-size`. */
export const pagerBytes = 35e6
const sleeperBytes = 0.5e6

/** Where explained memory comes from: a candidate and some offsets in it. */
export interface Origin {
  readonly candidate: Candidate
  readonly offsets: readonly number[]
}

/** Seconds that a refill of 64 KiB takes, for each origin; undefined where it can't be read any more. */
export function priceOf({ candidate, offsets }: Origin, store: IndexStore): number | undefined {
  const prices = new Prices()
  try {
    const file = new FileBacking(candidate.openPath)
    try {
      const lens = candidate.lens === undefined ? undefined : lensNamed(candidate.lens)
      lens?.prepare?.(file, store)
      const view = lens === undefined ? file : through(file, lens)
      const into = new Uint8Array(priced)
      // The best: what is slow the first time, or while the machine is busy, is not the lens.
      let best = Number.POSITIVE_INFINITY
      for (let i = 0; i < trials; i++) {
        const offset = offsets[Math.floor(Math.random() * offsets.length)] ?? 0
        const began = performance.now()
        view.read(offset, into)
        best = Math.min(best, (performance.now() - began) / 1000)
      }
      prices.note(0, priced, best)
      return prices.of(0)
    } finally {
      file.close()
    }
  } catch {
    return undefined
  }
}

export const mostPriced: number = most

/** What attaching would do now. Bytes and seconds. */
export interface Saving {
  /** Explained and zero memory that a first pass gives back. */
  readonly now: number
  /** Explained, but so slow to make again (over 250 ms for 64 KiB) that it stays unless a budget presses. */
  readonly dear: number
  /** What the pager takes itself: as it is when the process is attached; else about what one takes that is awake. */
  readonly own: number
  /** What it takes once nothing has been wanted of it for some seconds; missing when the process is attached. */
  readonly asleep?: number
  /** `now` less `own` (or all that is virtual less `own`, when attached). Negative: not worth it. */
  readonly net: number
  /** Of the process's resident memory, before. */
  readonly rss: number
  /** Microseconds that the process waits for a page when it wants memory back at random; the mean over what is given back. */
  readonly refillMicroseconds?: number
  /** The same for the dearest file. */
  readonly worstMicroseconds?: number
  /** Seconds that it waits in all if it wants everything back. */
  readonly allSeconds?: number
}

export function savingOf(
  files: readonly AuditFile[],
  totals: AuditReport['totals'],
  rss: number,
  attachedOwn?: number,
): Saving {
  let dearBytes = 0
  let seconds = 0
  let bytes = 0
  let worst = 0
  for (const file of files) {
    if (file.price === undefined) continue
    if (file.price >= dear) {
      dearBytes += file.bytes
      continue
    }
    bytes += file.bytes
    seconds += (file.bytes / priced) * file.price
    worst = Math.max(worst, file.price)
  }
  const now = (totals.explained + totals.zero) * PAGE - Math.min(dearBytes, totals.explained * PAGE)
  const own = attachedOwn ?? pagerBytes
  return {
    now,
    dear: dearBytes,
    own,
    ...(attachedOwn === undefined ? { asleep: sleeperBytes } : {}),
    net: now - own + (attachedOwn === undefined ? 0 : totals.virtual * PAGE),
    rss,
    ...(bytes === 0
      ? {}
      : {
          refillMicroseconds: pageMicroseconds((seconds / bytes) * priced),
          worstMicroseconds: pageMicroseconds(worst),
          allSeconds: seconds,
        }),
  }
}
