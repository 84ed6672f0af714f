// Reading everything again after it was given back.
import { crc32 } from 'node:zlib'
import { openSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { call } from '../src/sys/ffi.ts'
import type { Bench, BenchOptions } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { dataFile, type Kind, kindNames, kinds } from './lib/data.ts'
import { attach, type Attachment } from './lib/lethe.ts'
import { median, rotated } from './lib/stats.ts'
import { type Cell, type Goal, type Table } from './lib/table.ts'
import { Target } from './lib/target.ts'
import { pageCluster, type Zram, zramOrReason } from './lib/zram.ts'

const fadvise64 = 221 // x86-64

interface Way {
  readonly name: string
  readonly target: Target
  /** Gives the memory back; bytes that the store or the pager takes then. */
  giveBack(): Promise<number>
  readonly seconds: number[]
  readonly left: number[]
  readonly store: number[]
}

const way = (name: string, target: Target, giveBack: () => Promise<number>): Way => ({
  name,
  target,
  giveBack,
  seconds: [],
  left: [],
  store: [],
})

export const bench: Bench = {
  about: 'python3 holds a file, gives the memory back, and reads all of it again (`zlib.crc32`).',
  async run(options) {
    const python = which('python3')
    if (python === undefined) throw new Skip('no python3')
    const tables: Table[] = []
    const zram = zramOrReason()
    for (const kind of kinds) tables.push(await one(kind, python, zram, options))
    if (typeof zram !== 'string') zram.close()
    return tables
  },
}

async function one(kind: Kind, python: string, zram: Zram | string, options: BenchOptions): Promise<Table> {
  const file = dataFile(kind, options.size)
  const expected = crc32(readFileSync(file))
  const hold = (): Promise<Target> =>
    Target.start(python, [join(import.meta.dirname, 'targets/hold.py'), file])
  const ways: Way[] = [way('nothing', await hold(), async () => 0)]
  if (typeof zram !== 'string') {
    const target = await hold()
    ways.push(
      way('zram (lzo-rle)', target, async () => {
        zram.pageOut(target)
        return zram.used()
      }),
    )
  }
  const target = await hold()
  const attached: Attachment = await attach(target.pid)
  const lethe = async (): Promise<number> => (await attached.drop()).own
  ways.push(
    way('lethe', target, lethe),
    way('lethe, file not in the page cache', target, async () => {
      const own = await lethe()
      const fd = openSync(file, 'r')
      call(fadvise64, fd, 0, 0, 4 /* DONTNEED */)
      closeSync(fd)
      return own
    }),
  )
  for (const w of ways) await w.target.ask('warm')
  for (let round = 0; round < options.rounds; round++)
    for (const w of rotated(ways, round)) {
      const store = await w.giveBack()
      const figures = w.target.figures()
      const [sum, seconds = Number.NaN] = await w.target.numbers('read')
      if (sum !== expected) throw new Error(`${w.name}: checksum ${sum}, not ${expected}`)
      w.seconds.push(seconds)
      w.left.push(figures.rssAnon)
      w.store.push(store)
      readFileSync(file) // back in the page cache
    }
  for (const w of new Set(ways.map(w => w.target))) await w.end()
  attached.forget()
  return table(kind, ways, zram, options)
}

function table(kind: Kind, ways: readonly Way[], zram: Zram | string, options: BenchOptions): Table {
  const anchor = ways.find(w => w.name.startsWith('zram'))
  const total = (w: Way): number => median(w.left) + median(w.store)
  const rows = ways.map((w): Cell[] => [
    w.name,
    median(w.seconds),
    options.size / median(w.seconds),
    anchor === undefined ? '-' : median(w.seconds) / median(anchor.seconds),
    median(w.left) / 1e6,
    median(w.store) / 1e6,
    total(w) / 1e6,
  ])
  if (typeof zram === 'string') rows.splice(1, 0, [zram, '-', '-', '-', '-', '-', '-'])
  const lethe = ways.find(w => w.name === 'lethe') as Way
  const goals: Goal[] =
    anchor === undefined
      ? []
      : [
          {
            what: 'the pass takes no longer than with zram',
            goal: `≤ ${median(anchor.seconds).toFixed(3)} s`,
            measured: `${median(lethe.seconds).toFixed(3)} s`,
            met: median(lethe.seconds) <= median(anchor.seconds),
          },
          {
            what: 'less memory left than with zram',
            goal: `< ${(total(anchor) / 1e6).toFixed(0)} MB`,
            measured: `${(total(lethe) / 1e6).toFixed(0)} MB`,
            met: total(lethe) < total(anchor),
          },
        ]
  return {
    title: `Sequential, ${options.size} MB of ${kindNames[kind]}`,
    head: ['given back by', 's', 'MB/s', 'time / zram', 'target MB', 'store or pager MB', 'left in all MB'],
    rows,
    notes: [
      `zram with vm.page-cluster=${pageCluster()}; the store is \`mem_used_total\`, the pager is Pss of pager and supervisor. The file's page cache is in nobody's sum: the kernel may take it back at any time, and the last row shows what a pass costs then.`,
    ],
    goals,
  }
}
