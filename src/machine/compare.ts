/** Replacement policies side by side on one trace of pages: misses for several numbers of frames, with OPT as the bound. */
import type { LineChart } from '../plot/lines.ts'
import { createOpt, createPolicy, type PolicyName, policyNames, simulate } from '../policy/index.ts'
import { StackDistances } from '../policy/stack-distance.ts'

export interface Comparison {
  readonly trace: string
  readonly references: number
  /** Different pages. */
  readonly pages: number
  readonly frames: readonly number[]
  /** Misses for each number of frames. OPT is always there, last. */
  readonly policies: readonly { readonly name: string; readonly misses: readonly number[] }[]
}

/** Numbers of frames that show the whole curve: from 1/50 of the pages to all of them. */
export function spread(pages: number): number[] {
  const parts = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
  return [...new Set(parts.map(part => Math.max(1, Math.round(pages * part))))]
}

/** `trace`: dense page numbers. */
export function compare(
  name: string,
  trace: Int32Array,
  frames: readonly number[],
  policies: readonly PolicyName[] = policyNames,
  seed = 1,
): Comparison {
  const distances = new StackDistances()
  for (const page of trace) distances.access(page)
  const rows = policies.map(policy => ({
    name: policy as string,
    // LRU is a stack policy: one pass has all its counts.
    misses:
      policy === 'lru'
        ? distances.misses(frames)
        : frames.map(count => simulate(createPolicy(policy, count, { seed }), trace).misses),
  }))
  rows.push({ name: 'opt', misses: frames.map(count => simulate(createOpt(count, trace), trace).misses) })
  return { trace: name, references: trace.length, pages: distances.footprint, frames, policies: rows }
}

/** Geometric mean of a policy's misses over OPT's. */
export function overOpt(comparison: Comparison, misses: readonly number[]): number {
  const best = comparison.policies.at(-1)?.misses ?? []
  const logs = misses.map((count, i) => Math.log(count / (best[i] as number)))
  return Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length)
}

/** More frames, more misses: where that happens, as pairs of numbers of frames. Belady's anomaly. */
export function anomalies({
  frames,
  policies,
}: Comparison): { policy: string; fewer: number; more: number }[] {
  const order = frames.map((_, i) => i).sort((a, b) => (frames[a] as number) - (frames[b] as number))
  return policies.flatMap(({ name, misses }) =>
    order.slice(1).flatMap((at, k) => {
      const before = order[k] as number
      return (misses[at] as number) > (misses[before] as number)
        ? [{ policy: name, fewer: frames[before] as number, more: frames[at] as number }]
        : []
    }),
  )
}

export const comparisonCsv = ({ frames, policies, references }: Comparison): string =>
  [
    'policy,frames,misses,miss_ratio',
    ...policies.flatMap(({ name, misses }) =>
      frames.map(
        (count, i) => `${name},${count},${misses[i]},${((misses[i] as number) / references).toFixed(6)}`,
      ),
    ),
  ].join('\n')

/** The miss-ratio curves. */
export const missCurves = (comparison: Comparison): LineChart => ({
  title: `${comparison.trace}: ${comparison.references} references to ${comparison.pages} pages`,
  xLabel: 'frames',
  yLabel: 'miss ratio',
  x: comparison.frames,
  lines: comparison.policies.map(({ name, misses }) => ({
    name,
    y: misses.map(count => count / comparison.references),
    bold: name === 'opt',
  })),
})
