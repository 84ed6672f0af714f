// How long the target stands still while it is attached to.
import type { Bench } from './main.ts'
import { compile } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach } from './lib/lethe.ts'
import { max, median, sleep } from './lib/stats.ts'
import { atMost, type Cell, type Goal } from './lib/table.ts'
import { Target } from './lib/target.ts'

const sizes = [100, 300, 1000, 2000]
const threadCounts = [1, 8, 200]

interface Case {
  readonly size: number
  readonly threads: number
  readonly told: { stops: number; total: number; longest: number }[]
  readonly seen: { gaps: number; total: number; longest: number }[]
  readonly quiet: { total: number; longest: number }[]
}

export const bench: Bench = {
  about:
    'All threads stand still while a C program is attached to, by the pager’s own account and as a real-time thread of the program sees it: gaps of more than 0.4 ms in a loop that looks at the clock every 50 µs. Beside it the same loop for as long without lethe.',
  async run(options) {
    const program = compile('spin')
    const cases: Case[] = sizes.flatMap(size =>
      threadCounts.map((threads): Case => ({ size, threads, told: [], seen: [], quiet: [] })),
    )
    const rounds = Math.min(options.rounds, 5)
    let privileged = true
    for (let round = 0; round < rounds; round++)
      for (const one of cases) {
        // The watching thread is one of them; the main thread another, so one thread means two.
        const target = await Target.start(program, [dataFile('log', one.size), one.threads])
        privileged &&= target.ready === 'ready 1'
        await target.ask('since')
        const began = performance.now()
        const attached = await attach(target.pid)
        await sleep(300)
        const spent = performance.now() - began
        const [gaps = 0, total = 0, longest = 0] = await target.numbers('since')
        one.seen.push({ gaps, total: total / 1e6, longest: longest / 1e6 })
        const { pauses } = await attached.status()
        one.told.push({ stops: pauses.stops, total: pauses.totalMs, longest: pauses.longestMs })
        await target.ask('since')
        await sleep(spent)
        const [, idle = 0, idleLongest = 0] = await target.numbers('since')
        one.quiet.push({ total: idle / 1e6, longest: idleLongest / 1e6 })
        await target.end()
        attached.forget()
      }
    const of = (size: number, threads: number): Case =>
      cases.find(c => c.size === size && c.threads === threads) as Case
    const total = (c: Case): number => median(c.told.map(t => t.total))
    const goals: Goal[] = threadCounts.flatMap(threads => [
      atMost(`300 MB, ${threads} threads: stopped in all`, 20, total(of(300, threads)), 'ms'),
      atMost(
        `${threads} threads: growth from 300 to 2000 MB`,
        10,
        (total(of(2000, threads)) - total(of(300, threads))) / ((1700e6 / 2 ** 30) as number),
        'ms per GiB',
      ),
    ])
    goals.push(
      atMost('longest single stop of all', 20, max(cases.flatMap(c => c.told.map(t => t.longest))), 'ms'),
    )
    return [
      {
        title: 'Pauses of an attach',
        head: [
          'MB',
          'threads',
          'stops',
          'stopped in all ms',
          'longest ms',
          'worst round ms',
          'seen: in all ms',
          'seen: longest ms',
          'without lethe: in all ms',
          'longest ms',
        ],
        rows: cases.map((c): Cell[] => [
          c.size,
          c.threads,
          median(c.told.map(t => t.stops)),
          total(c),
          median(c.told.map(t => t.longest)),
          max(c.told.map(t => t.longest)),
          median(c.seen.map(s => s.total)),
          median(c.seen.map(s => s.longest)),
          median(c.quiet.map(q => q.total)),
          median(c.quiet.map(q => q.longest)),
        ]),
        notes: [
          privileged
            ? `${rounds} rounds.`
            : `${rounds} rounds. No real-time priority was to be had: what the target saw includes its waiting for a CPU.`,
        ],
        goals,
      },
    ]
  },
}
