// What programs in different languages give back, who holds a file as it is.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './main.ts'
import { compile, Skip, which } from './lib/cc.ts'
import { dataFile, dataFolder } from './lib/data.ts'
import { profit, scanned, startKsm } from './lib/ksm.ts'
import { attach } from './lib/lethe.ts'
import { median, sleep } from './lib/stats.ts'
import type { Cell, Goal } from './lib/table.ts'
import { Target } from './lib/target.ts'
import { type Zram, zramOrReason } from './lib/zram.ts'

interface Language {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Undefined: its own sum, equal before and after. */
  readonly digest: 'md5' | undefined
}

const script = (name: string): string => join(import.meta.dirname, 'targets', name)

function languages(): { found: Language[]; missing: string[] } {
  const found: Language[] = []
  const missing: string[] = []
  const table: [string, string, readonly string[], 'md5' | undefined][] = [
    ['python3', 'python3', [script('md5.py')], 'md5'],
    ['perl', 'perl', [script('md5.pl')], 'md5'],
    ['node', process.execPath, [script('md5.mjs')], 'md5'],
    ['ruby', 'ruby', [script('md5.rb')], 'md5'],
    ['lua', 'lua', [script('sum.lua')], undefined],
    ['php', 'php', [script('md5.php')], 'md5'],
  ]
  for (const [name, command, args, digest] of table) {
    const path = which(command)
    if (path === undefined) missing.push(name)
    else found.push({ name, command: path, args, digest })
  }
  const java = which('java')
  if (java === undefined || which('javac') === undefined) missing.push('java')
  else {
    execFileSync('javac', ['-d', dataFolder, script('Md5.java')], { timeout: 60_000 })
    found.push({ name: 'java', command: java, args: ['-cp', dataFolder, 'Md5'], digest: 'md5' })
  }
  return { found, missing }
}

interface Round {
  before: number
  after: number
  virtual: number
  own: number
  same: boolean
  zramLeft: number
  zramStore: number
  ksm: number
}

export const bench: Bench = {
  about:
    'A program holds a file as it is on disk. What is left of its anonymous memory; what a swap to zram and KSM make of the same program; whether a digest of all of its data is the same afterwards.',
  async run(options) {
    const file = dataFile('log', options.size)
    const expected = createHash('md5').update(readFileSync(file)).digest('hex')
    const { found, missing } = languages()
    const zram = zramOrReason()
    const rounds = Math.min(options.rounds, 3)
    const results = found.map((): Round[] => [])
    const notes: string[] = []
    let merge: string | undefined
    try {
      merge = compile('merge')
      startKsm()() // only to see whether it can be had
    } catch (error) {
      if (!(error instanceof Skip)) throw error
      merge = undefined
      notes.push(error.message)
    }
    for (let round = 0; round < rounds; round++)
      for (const [i, language] of found.entries())
        results[i]?.push(await once(language, file, expected, zram, merge))
    if (typeof zram === 'string') notes.push(zram)
    else zram.close()
    if (missing.length > 0) notes.push(`Not installed: ${missing.join(', ')}.`)
    const whole = Math.floor((options.size * 1e6) / 4096) * 4096
    const mb = (rows: readonly Round[], of: (r: Round) => number): number => median(rows.map(of)) / 1e6
    return [
      {
        title: `Savings, ${options.size} MB of log text`,
        head: [
          'program',
          'anon before MB',
          'after MB',
          '% of file virtual',
          'pager MB',
          'lethe left MB',
          'zram: target MB',
          'zram: store MB',
          'zram left MB',
          'KSM saves MB',
          'same output',
        ],
        rows: found.map((language, i): Cell[] => {
          const rows = results[i] as Round[]
          const zramLeft = mb(rows, r => r.zramLeft)
          const zramStore = mb(rows, r => r.zramStore)
          return [
            language.name,
            mb(rows, r => r.before),
            mb(rows, r => r.after),
            (median(rows.map(r => r.virtual)) / whole) * 100,
            mb(rows, r => r.own),
            mb(rows, r => r.after + r.own),
            zramLeft,
            zramStore,
            zramLeft + zramStore,
            mb(rows, r => r.ksm),
            rows.every(r => r.same) ? 'yes' : 'NO',
          ]
        }),
        notes: [
          `${rounds} rounds. KSM: \`general_profit\` after three full scans; all programs but Java's hold each page once. Other processes of node's make the pager's Pss smaller than it is alone; see pager-size.`,
          ...notes,
        ],
        goals: found.flatMap((language, i): Goal[] => {
          const rows = results[i] as Round[]
          const share = (median(rows.map(r => r.virtual)) / whole) * 100
          return [
            {
              what: `${language.name}: anonymous memory falls by 97 % of the file's whole pages`,
              goal: '≥ 97 %',
              measured: `${share.toFixed(1)} % virtual, RssAnon fell by ${(((mb(rows, r => r.before) - mb(rows, r => r.after)) / (whole / 1e6)) * 100).toFixed(1)} %`,
              met: share >= 97 && rows.every(r => r.same),
            },
          ]
        }),
      },
    ]
  },
}

async function once(
  language: Language,
  file: string,
  expected: string,
  zram: Zram | string,
  merge: string | undefined,
): Promise<Round> {
  const result: Round = {
    before: 0,
    after: 0,
    virtual: 0,
    own: 0,
    same: true,
    zramLeft: Number.NaN,
    zramStore: Number.NaN,
    ksm: Number.NaN,
  }
  const target = await Target.start(language.command, [...language.args, file])
  const first = await target.ask('digest')
  result.same &&= language.digest === undefined || first === expected
  await sleep(200)
  result.before = target.figures().rssAnon
  const attached = await attach(target.pid)
  await sleep(2500) // as it is while it serves, not as it begins
  const status = await attached.status()
  result.after = target.figures().rssAnon
  result.virtual = status.virtual
  result.own = status.own
  result.same &&= (await target.ask('digest')) === first
  await target.end()
  attached.forget()
  if (typeof zram !== 'string') {
    const swapped = await Target.start(language.command, [...language.args, file])
    await swapped.ask('digest')
    const empty = zram.used()
    zram.pageOut(swapped)
    result.zramLeft = swapped.figures().rssAnon
    result.zramStore = zram.used() - empty
    result.same &&= (await swapped.ask('digest')) === first
    await swapped.end()
  }
  if (merge !== undefined) {
    const merged = await Target.start(merge, [language.command, ...language.args, file])
    await merged.ask('digest')
    const stop = startKsm()
    await scanned(3, 30_000)
    result.ksm = profit()
    await merged.end()
    stop()
  }
  return result
}
