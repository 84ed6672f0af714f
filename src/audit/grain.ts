/**
 * Is page granularity a problem? The share of memory that files would explain if memory came in blocks of 16 bytes,
 * 32, … 64 KiB instead of pages of 4 KiB: the *coverage curve* of a process.
 *
 * From a page up it follows from what the pages are. Below, a random sample of the unexplained pages is looked for in the files
 * (and what lenses make of them) that explain something, and in the likeliest others: an aligned block counts when it
 * stands somewhere in one of them as a whole. Chance counts too: sixteen bytes of a text are easily found in another. What finds a block again must be
 * kept for it, so `net` takes off REFERENCE bytes a block.
 */
import { EXPLAINED, UNEXPLAINED, ZERO } from '../explain/extents.ts'
import type { ProcessExplanations } from '../explain/process.ts'
import { Pool } from '../explain/pool.ts'
import { GrainKernel } from '../kernels/grain.ts'
import type { IndexStore } from '../lens/lens.ts'
import { ProcessMemory } from '../process/snapshot.ts'
import type { VirtualRun } from './audit.ts'

const PAGE = 4096
/** Unexplained pages that are looked at below a page: 4 MiB. An error of 1.6 points at most, one in three times. */
const MOST_SAMPLED = 1024
/**
 * Bytes of files that they are looked for in: so many times what is unexplained, and so many times its share of the most, for the
 * curve can't be wrong by more than that share.
 */
const SEARCHED_TIMES = 16
const SHARE_TIMES = 4
const LEAST_SEARCHED = 2 ** 25
const MOST_SEARCHED = 2 ** 29
const SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const
/** Bytes that say where a block is made from, one for each block: what a page table entry takes. */
const REFERENCE = 8

/** How much of the memory is explained when it comes in blocks of so many bytes. All shares are of all bytes, 0 to 1. */
export interface GrainPoint {
  readonly bytes: number
  /** In blocks that a file holds as a whole. */
  readonly files: number
  /** In blocks of one byte repeated, zero mostly, which need no file. */
  readonly constant: number
  /** `files` and `constant`, less 8 bytes a block for where it is made from. */
  readonly net: number
}

export interface Grain {
  readonly points: readonly GrainPoint[]
  /** Unexplained pages that were looked at, and all of them. */
  readonly sampled: number
  readonly unexplained: number
  /** Bytes of files, through lenses, that they were looked for in. */
  readonly searched: number
}

export interface GrainInput {
  readonly pid: number
  readonly found: ProcessExplanations
  readonly virtual: readonly VirtualRun[]
  readonly store: IndexStore
  readonly pause?: () => void
}

export function grain({ pid, found, virtual, store, pause }: GrainInput): Grain {
  const { findings } = found
  const virtualPages = virtual.reduce((sum, run) => sum + run.pages, 0)
  const all = findings.pages + virtualPages
  const explained = findings.count(EXPLAINED) + virtualPages
  const zero = findings.count(ZERO)
  const unexplained: number[] = []
  for (const [r, run] of findings.runs.entries())
    for (let i = 0; i < run.pages; i++)
      if (findings.state[(findings.firsts[r] ?? 0) + i] === UNEXPLAINED)
        unexplained.push(run.start + i * PAGE)
  const below = new Map<number, { files: number; constant: number }>()
  const sample = choose(unexplained, MOST_SAMPLED)
  let searched = 0
  if (sample.length > 0) {
    const kernel = new GrainKernel(sample.length)
    using memory = new ProcessMemory(pid, [])
    // A page that is gone by now stays zero here, which would count as explained: it is left out by being like no other.
    for (const [i, at] of sample.entries()) {
      const into = kernel.pages.subarray(i * PAGE, (i + 1) * PAGE)
      if (memory.read(at, into) < PAGE) crypto.getRandomValues(into)
    }
    kernel.enter()
    const share = Math.min(1, (SHARE_TIMES * unexplained.length) / all) * MOST_SEARCHED
    const most = Math.max(LEAST_SEARCHED, Math.min(share, SEARCHED_TIMES * unexplained.length * PAGE))
    searched = search(kernel, found, store, most, pause)
    const scale = unexplained.length / sample.length / PAGE
    for (const bytes of SIZES.filter(size => size < PAGE))
      below.set(bytes, { files: kernel.covered(bytes) * scale, constant: kernel.constant(bytes) * scale })
  }
  const points = SIZES.map((bytes): GrainPoint => {
    const above = bytes > PAGE ? whole(found, virtual, bytes) : { files: explained, constant: zero }
    const part = below.get(bytes) ?? { files: 0, constant: 0 }
    const files = (above.files + part.files) / (all || 1)
    const constant = (above.constant + part.constant) / (all || 1)
    return { bytes, files, constant, net: files * Math.max(0, 1 - REFERENCE / bytes) + constant }
  })
  return { points, sampled: sample.length, unexplained: unexplained.length, searched }
}

// Evenly over all, from a random start.
function choose(pages: readonly number[], most: number): number[] {
  const step = Math.max(1, pages.length / most)
  const chosen: number[] = []
  for (let at = Math.random() * step; at < pages.length; at += step) {
    const page = pages[Math.floor(at)]
    if (page !== undefined) chosen.push(page)
  }
  return chosen
}

// Through what explains most first, then data files as they came (the likely ones first), programs last.
function search(
  kernel: GrainKernel,
  { candidates, extents }: ProcessExplanations,
  store: IndexStore,
  most: number,
  pause?: () => void,
): number {
  const pagesOf = new Map<number, number>()
  for (const { backing, pages } of extents) pagesOf.set(backing, (pagesOf.get(backing) ?? 0) + pages)
  const rank = (i: number): number => (pagesOf.has(i) ? 0 : candidates[i]?.program ? 2 : 1)
  const order = candidates
    .map((_, i) => i)
    // What a lens makes of a file that nothing was found in was a guess.
    .filter(i => pagesOf.has(i) || candidates[i]?.lens === undefined)
    .sort((a, b) => rank(a) - rank(b) || (pagesOf.get(b) ?? 0) - (pagesOf.get(a) ?? 0) || a - b)
  const pool = new Pool(store, pause)
  try {
    let searched = 0
    for (const i of order) {
      if (searched >= most) break
      const candidate = candidates[i]
      if (candidate === undefined) continue
      const index = pool.add(candidate)
      const left = most - searched
      searched += kernel.scan((offset, into) => {
        if (offset >= left) return 0
        return pool.read(index, offset, into)
      }, pause)
    }
    return searched
  } finally {
    pool.close()
  }
}

/** Pages in aligned blocks of `bytes`, of which all pages that are there are explained or zero: those are counted apart. */
function whole(
  { findings }: ProcessExplanations,
  virtual: readonly VirtualRun[],
  bytes: number,
): { files: number; constant: number } {
  const blocks = new Map<number, { files: number; zero: number; left: number }>()
  const of = (address: number): { files: number; zero: number; left: number } => {
    const key = Math.floor(address / bytes)
    let block = blocks.get(key)
    if (block === undefined) {
      block = { files: 0, zero: 0, left: 0 }
      blocks.set(key, block)
    }
    return block
  }
  for (const [r, run] of findings.runs.entries())
    for (let i = 0; i < run.pages; i++) {
      const state = findings.state[(findings.firsts[r] ?? 0) + i]
      const block = of(run.start + i * PAGE)
      if (state === EXPLAINED) block.files++
      else if (state === ZERO) block.zero++
      else block.left++
    }
  for (const run of virtual) for (let i = 0; i < run.pages; i++) of(run.start + i * PAGE).files++
  let files = 0
  let constant = 0
  for (const block of blocks.values()) {
    if (block.left > 0) continue
    files += block.files
    constant += block.zero
  }
  return { files, constant }
}
