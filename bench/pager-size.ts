// What the pager itself takes.
import { join } from 'node:path'
import type { Bench } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach, rollup } from './lib/lethe.ts'
import { median, sleep } from './lib/stats.ts'
import { atMost, type Cell } from './lib/table.ts'
import { Target } from './lib/target.ts'

const sizes = [300, 1000, 2000]

interface Size {
  readonly virtual: number
  readonly idle: number
  readonly busy: number
  readonly own: number
  readonly resident: number
}

export const bench: Bench = {
  about: 'Memory of pager and supervisor together, with a python3 that holds a file.',
  async run(options) {
    const python = which('python3')
    if (python === undefined) throw new Skip('no python3')
    const rounds = Math.min(options.rounds, 3)
    const results = sizes.map((): Size[] => [])
    for (let round = 0; round < rounds; round++)
      for (const [i, size] of sizes.entries()) {
        const hold = join(import.meta.dirname, 'targets/hold.py')
        const target = await Target.start(python, [hold, dataFile('log', size)])
        const attached = await attach(target.pid)
        await sleep(4000)
        const idle = await attached.status()
        const both = [idle.pager, idle.supervisor].map(rollup)
        const sum = (...names: string[]): number =>
          both.reduce((all, one) => all + names.reduce((n, name) => n + (one.get(name) ?? 0), 0), 0)
        await target.ask('read')
        const busy = await attached.status()
        results[i]?.push({
          virtual: idle.virtual,
          idle: idle.own,
          busy: busy.own,
          own: sum('Private_Clean', 'Private_Dirty'),
          resident: sum('Rss'),
        })
        await target.end()
        attached.forget()
      }
    const mb = (rows: readonly Size[], of: (s: Size) => number): number => median(rows.map(of)) / 1e6
    return [
      {
        title: 'Size of the pager',
        head: [
          'MB held',
          'virtual MB',
          'Pss MB',
          'Pss after a pass over all MB',
          'private MB',
          'Rss MB',
          'goal MB',
        ],
        rows: sizes.map((size, i): Cell[] => {
          const rows = results[i] as Size[]
          return [
            size,
            mb(rows, r => r.virtual),
            mb(rows, r => r.idle),
            mb(rows, r => r.busy),
            mb(rows, r => r.own),
            mb(rows, r => r.resident),
            limit(median(rows.map(r => r.virtual))),
          ]
        }),
        notes: [
          `${rounds} rounds, 4 s after the first pass, when the pager sleeps, and just after it was woken for a pass over all. Pss shares node's code with the bench, which is node too; Rss counts all of it.`,
        ],
        goals: sizes.map((size, i) => {
          const rows = results[i] as Size[]
          return atMost(
            `${size} MB`,
            limit(median(rows.map(r => r.virtual))),
            mb(rows, r => Math.max(r.idle, r.busy)),
            'MB',
          )
        }),
      },
    ]
  },
}

/** 70 MB and 2 MB per GiB made virtual. */
const limit = (virtual: number): number => Math.round(70 + (2 * virtual) / 2 ** 30)
