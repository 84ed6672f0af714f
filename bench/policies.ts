// Replacement where refills differ in cost: the cost-aware policies beside the best that is blind to cost.
import { createPolicy, policyNames } from '../src/policy/index.ts'
import { simulate } from '../src/policy/index.ts'
import { fractions, mixed } from '../test/policy/traces.ts'
import type { Bench } from './main.ts'
import type { Table } from './lib/table.ts'

const length = 40_000
const aware = ['gdsf', 'reuse'] as const
const blind = policyNames.filter(name => !(aware as readonly string[]).includes(name))

function traces(): Record<string, Int32Array> {
  const skew = fractions(11)
  const slide = fractions(5)
  const both = fractions(9)
  let loop = 0
  return {
    skewed: Int32Array.from({ length }, () => Math.floor(600 * skew() ** 2.5)),
    'a window that moves on': Int32Array.from({ length }, (_, i) => Math.floor(i / 30 + 120 * slide() ** 2)),
    'skewed, and a loop': Int32Array.from({ length }, () =>
      both() < 0.5 ? 300 + (loop++ % 250) : Math.floor(300 * both() ** 3),
    ),
    'hot set, scans, loop': mixed(3, length),
  }
}

/** What a refill of a page costs, 1 to 100. */
const costs: Record<string, (page: number) => number> = {
  'one in three 40': page => (page % 3 === 0 ? 40 : 1),
  'half 10': page => (page % 2 === 0 ? 1 : 10),
  'by regions of 16 pages': page => [1, 4, 20, 100][Math.imul(page >> 4, 2654435761) >>> 30] ?? 1,
  'anything to 100': page => 1 + ((Math.imul(page, 2654435761) >>> 0) % 100),
}

export const bench: Bench = {
  about: 'replacement policies where refills differ in cost',
  async run(): Promise<readonly Table[]> {
    const rows: string[][] = []
    const ratios = new Map<string, number[]>(aware.map(name => [name, []]))
    for (const [what, pages] of Object.entries(traces())) {
      const distinct = new Set(pages).size
      const most = pages.reduce((a, b) => Math.max(a, b), 0) + 1
      for (const [spread, cost] of Object.entries(costs)) {
        const table = Float64Array.from({ length: most }, (_, page) => cost(page))
        const cells: Record<string, number[]> = {}
        for (const share of [0.1, 0.25, 0.5]) {
          const frames = Math.max(4, Math.floor(distinct * share))
          const spent = (name: (typeof policyNames)[number]): number =>
            simulate(createPolicy(name, frames), pages, table).cost
          const best = Math.min(...blind.map(spent))
          for (const name of aware) {
            const ratio = spent(name) / best
            ratios.get(name)?.push(ratio)
            ;(cells[name] ??= []).push(ratio)
          }
        }
        rows.push([
          what,
          spread,
          ...aware.map(name => (cells[name] ?? []).map(r => r.toFixed(2)).join(' · ')),
        ])
      }
    }
    const mean = (of: readonly number[]): number =>
      Math.exp(of.reduce((a, b) => a + Math.log(b), 0) / of.length)
    rows.push([
      'geometric mean (worst)',
      '',
      ...aware.map(name => {
        const all = ratios.get(name) ?? []
        return `${mean(all).toFixed(2)} (${Math.max(...all).toFixed(2)})`
      }),
    ])
    return [
      {
        title:
          'Spent on refills, against the best policy that does not know what they cost; memory for 10 %, 25 %, 50 % of the pages',
        head: ['trace', 'costs', ...aware],
        rows,
      },
    ]
  },
}
