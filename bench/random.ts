// Random faults of one page, timed by the thread that has them.
import { cpus } from 'node:os'
import type { Bench, BenchOptions } from './main.ts'
import { compile } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach } from './lib/lethe.ts'
import { median, rotated } from './lib/stats.ts'
import { atMost, type Cell, type Table } from './lib/table.ts'
import { Target } from './lib/target.ts'
import { pageCluster, type Zram, zramOrReason } from './lib/zram.ts'

const touches = 8192

interface Way {
  readonly name: string
  readonly target: Target
  giveBack(): Promise<void>
  readonly median: number[]
  readonly mean: number[]
  readonly p99: number[]
}

export const bench: Bench = {
  about: `A C program touches ${touches} random pages of 256 MiB that it has read from a file, and times each touch.`,
  async run(options) {
    const program = compile('touch', 'c-pager')
    const file = dataFile('log', Math.max(options.size, 269))
    const zram = zramOrReason()
    const tables: Table[] = []
    for (const cpu of [cpus().length - 1, -1]) tables.push(await one(program, file, cpu, zram, options))
    if (typeof zram !== 'string') zram.close()
    return tables
  },
}

async function one(
  program: string,
  file: string,
  cpu: number,
  zram: Zram | string,
  options: BenchOptions,
): Promise<Table> {
  const start = (mode: string): Promise<Target> => Target.start(program, [file, 256 << 20, cpu, mode])
  const way = (name: string, target: Target, giveBack: () => Promise<void>): Way => ({
    name,
    target,
    giveBack,
    median: [],
    mean: [],
    p99: [],
  })
  // The C pager's target empties its memory itself.
  const ways: Way[] = [way('C pager', await start('uffd'), async () => {})]
  const plain = await start('plain')
  const attached = await attach(plain.pid)
  ways.push(
    way('lethe', plain, async () => {
      await attached.drop()
    }),
  )
  if (typeof zram !== 'string') {
    const target = await start('plain')
    ways.push(way('zram (lzo-rle)', target, async () => zram.pageOut(target)))
  }
  for (let round = 0; round < options.rounds; round++) {
    const sums = new Set<number>()
    for (const w of rotated(ways, round)) {
      await w.giveBack()
      const [p50 = 0, mean = 0, p99 = 0, sum = 0] = await w.target.numbers(`touch ${round + 1} ${touches}`)
      w.median.push(p50 / 1000)
      w.mean.push(mean / 1000)
      w.p99.push(p99 / 1000)
      sums.add(sum)
    }
    if (sums.size !== 1) throw new Error(`different bytes were read: ${[...sums].join(', ')}`)
  }
  for (const w of ways) await w.target.end()
  attached.forget()
  const [c, lethe] = ways as [Way, Way]
  const ratio = median(lethe.median) / median(c.median)
  const rows = ways.map((w): Cell[] => [
    w.name,
    median(w.median),
    median(w.mean),
    median(w.p99),
    median(w.median) / median(c.median),
  ])
  if (typeof zram === 'string') rows.push([zram, '-', '-', '-', '-'])
  return {
    title:
      cpu < 0
        ? 'Random faults, nothing tied to a CPU'
        : 'Random faults, target on one CPU (the C pager with it; lethe follows by itself)',
    head: ['served by', 'median µs', 'mean µs', 'p99 µs', 'median / C'],
    rows,
    notes: [
      `The C pager is a process that blocks in read, preads the page and copies it in. zram with vm.page-cluster=${pageCluster()}: one fault brings up to ${2 ** Number(pageCluster())} pages.`,
    ],
    goals: [atMost('median against the C pager', 1.5, ratio, 'times')],
  }
}
