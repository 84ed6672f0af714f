// What programs give back that hold a file in pieces: between headers, or as numbers in objects.
import { execFileSync } from 'node:child_process'
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach } from './lib/lethe.ts'
import { median, sleep } from './lib/stats.ts'
import { atLeast, type Cell } from './lib/table.ts'
import { Target } from './lib/target.ts'
import { type Zram, zramOrReason } from './lib/zram.ts'

const script = join(import.meta.dirname, 'targets/pieces.py')

interface State {
  readonly name: string
  readonly how: 'sqlite' | 'lines' | 'floats'
  readonly file: (megabytes: number) => string
  /** Share of private memory that is to become virtual, in per cent. */
  readonly goal: number
}

/** A database of the log's lines, made once. */
function database(megabytes: number): string {
  const log = dataFile('log', megabytes)
  const path = `${log}.db`
  if (existsSync(path)) return path
  const part = `${path}.${process.pid}`
  const make = `import sqlite3, sys
db = sqlite3.connect(sys.argv[2])
db.execute('create table t(id integer primary key, body text)')
db.executemany('insert into t(body) values(?)', ((line,) for line in open(sys.argv[1])))
db.commit()`
  execFileSync('python3', ['-c', make, log, part], { timeout: 300_000 })
  renameSync(part, path)
  return path
}

const states: readonly State[] = [
  { name: 'sqlite page cache after a full scan', how: 'sqlite', file: database, goal: 97 },
  { name: 'Python list of lines', how: 'lines', file: size => dataFile('log', size), goal: 45 },
  { name: 'Python list of lists of floats', how: 'floats', file: size => dataFile('csv', size), goal: 60 },
]

interface Round {
  before: number
  after: number
  virtual: number
  kept: number
  own: number
  seconds: number
  refill: number
  zram: number
  same: boolean
}

async function once(state: State, path: string, zram: Zram | string): Promise<Round> {
  const target = await Target.start('python3', [script, state.how, path])
  const first = await target.ask('digest')
  const before = target.figures().rssAnon
  const attached = await attach(target.pid)
  await sleep(2500) // as it is while it serves, not as it begins
  const status = await attached.status()
  const after = target.figures().rssAnon
  const began = performance.now()
  let same = (await target.ask('digest')) === first
  const refill = (performance.now() - began) / 1000
  await target.end()
  attached.forget()
  let left = Number.NaN
  if (typeof zram !== 'string') {
    const swapped = await Target.start('python3', [script, state.how, path])
    await swapped.ask('digest')
    const empty = zram.used()
    zram.pageOut(swapped)
    left = swapped.figures().rssAnon + zram.used() - empty
    same &&= (await swapped.ask('digest')) === first
    await swapped.end()
  }
  const { virtual, recipes: kept, own } = status
  const { seconds } = attached.first
  return { before, after, virtual, kept, own, seconds, refill, zram: left, same }
}

export const bench: Bench = {
  about:
    'A program holds a file in pieces, between headers or as numbers in objects. What is left of its anonymous memory, and what is kept to make the rest; what a swap to zram makes of the same program.',
  async run(options) {
    if (which('python3') === undefined) throw new Skip('python3 is not installed')
    const zram = zramOrReason()
    const rounds = Math.min(options.rounds, 3)
    const results = states.map((): Round[] => [])
    for (let round = 0; round < rounds; round++)
      for (const [i, state] of states.entries())
        results[i]?.push(await once(state, state.file(options.size), zram))
    if (typeof zram !== 'string') zram.close()
    const of = (i: number, what: (r: Round) => number): number => median((results[i] ?? []).map(what))
    const mb = (i: number, what: (r: Round) => number): number => of(i, what) / 1e6
    return [
      {
        title: `Pieces, files of ${options.size} MB`,
        head: [
          'program',
          'anon before MB',
          'after MB',
          '% virtual',
          'recipe MB',
          'pager MB',
          'lethe left MB',
          'zram left MB',
          'attach s',
          'first use s',
          'same output',
        ],
        rows: states.map((state, i): Cell[] => [
          state.name,
          mb(i, r => r.before),
          mb(i, r => r.after),
          of(i, r => (r.virtual / r.before) * 100),
          mb(i, r => r.kept),
          mb(i, r => r.own),
          mb(i, r => r.after + r.own),
          mb(i, r => r.zram),
          of(i, r => r.seconds),
          of(i, r => r.refill),
          results[i]?.every(r => r.same) === true ? 'yes' : 'NO',
        ]),
        notes: [
          `${rounds} rounds. "pager" has the recipe in it.`,
          ...(typeof zram === 'string' ? [zram] : []),
        ],
        goals: states.map((state, i) =>
          atLeast(
            `${state.name}: private memory virtual`,
            state.goal,
            of(i, r => (r.virtual / r.before) * 100),
            '%',
          ),
        ),
      },
    ]
  },
}
