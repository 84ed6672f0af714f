// The states that programs are in when they have read a file: how much of their memory is given back, and what is left,
// with what no file explains packed, beside a swap to zram. Every state is made by a program as it is.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench, BenchOptions } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { dataFolder } from './lib/data.ts'
import { attach } from './lib/lethe.ts'
import { sleep } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Goal, type Table } from './lib/table.ts'
import { Target } from './lib/target.ts'
import { Zram } from './lib/zram.ts'

interface State {
  readonly name: string
  readonly file: string
  /** The program and the first of its arguments; the file is the last one. */
  readonly command: readonly string[]
  /** A module that python3 may lack. */
  readonly needs?: string
  /** Least share of the private memory that is to be virtual, per cent; packed memory is not counted. */
  readonly virtual?: number
  /** Most that is to be left in target and pager, per cent, with what nothing explains packed. */
  readonly left?: number
}

const python = (kind: string): readonly string[] => [
  'python3',
  join(import.meta.dirname, 'targets/state.py'),
  kind,
]
const node = (kind: string): readonly string[] => [
  process.execPath,
  '--expose-gc',
  join(import.meta.dirname, 'targets/state.mjs'),
  kind,
]

const states: readonly State[] = [
  { name: 'Python str, UTF-32', file: 'emoji.txt', command: python('text'), virtual: 97 },
  { name: 'Python str, UTF-16', file: 'cyrillic.txt', command: python('text'), virtual: 94 },
  { name: 'Node string, UTF-16', file: 'cyrillic.txt', command: node('text'), virtual: 94 },
  { name: 'numpy f16→f32', file: 'f16.npy', command: python('half'), virtual: 92 },
  { name: 'numpy u8/255→f32', file: 'u8.npy', command: python('image'), virtual: 94 },
  { name: 'numpy .npy f64', file: 'f64.npy', command: python('npy'), virtual: 92 },
  { name: 'numpy bf16→f32', file: 'bf16.bin', command: python('bf16'), virtual: 92 },
  { name: 'numpy loadtxt', file: 'numbers.csv', command: python('loadtxt'), virtual: 78 },
  { name: 'pandas read_csv', file: 'named.csv', command: python('pandas'), needs: 'pandas', virtual: 60 },
  { name: 'Python lists of floats', file: 'numbers.csv', command: python('floats'), virtual: 60 },
  { name: 'gzip.open().read()', file: 'log.gz', command: python('gzip'), virtual: 95 },
  { name: 'lzma.open().read()', file: 'log.xz', command: python('lzma'), virtual: 95 },
  { name: 'zstd -dc, read', file: 'log.zst', command: python('zstd'), virtual: 95 },
  { name: 'sqlite page cache', file: 'data.db', command: python('sqlite'), virtual: 97 },
  { name: 'Python json.load', file: 'records.json', command: python('json'), left: 35 },
  { name: 'Python csv.reader', file: 'records.csv', command: python('csv'), left: 35 },
  { name: 'Node JSON.parse', file: 'records.json', command: node('json'), left: 35 },
  {
    name: 'PHP json_decode',
    file: 'records.json',
    command: ['php', join(import.meta.dirname, 'targets/state.php')],
    left: 35,
  },
]

function makeFiles(megabytes: number): string {
  const folder = join(dataFolder, `states-${megabytes}`)
  const whole = join(folder, 'whole')
  if (existsSync(whole)) return folder
  const script = join(import.meta.dirname, 'targets/files.py')
  try {
    execFileSync('python3', [script, folder, String(megabytes * 1_000_000)], {
      timeout: 1_800_000,
      stdio: 'pipe',
    })
  } catch (error) {
    throw new Skip(`python3 with numpy can't make the files: ${String(error).slice(0, 300)}`)
  }
  writeFileSync(whole, '')
  return folder
}

interface Outcome {
  readonly before: number
  /** Of it, what the program had before it read the file. */
  readonly bare: number
  readonly virtual: number
  /** Target and pager, packs and recipes included. */
  readonly left: number
  readonly pager: number
  /** What zram leaves, by algorithm; NaN where there is none. */
  readonly zram: readonly number[]
  /** Seconds until the passes were made. */
  readonly seconds: number
  readonly same: boolean
}

const algorithms = ['lzo-rle', 'lz4'] as const

/** What is left when all of a target is swapped out to a zram; it is back in memory afterwards. */
function underZram(target: Target, algorithm: string): number {
  let zram: Zram
  try {
    zram = Zram.open(algorithm)
  } catch (error) {
    if (error instanceof Skip) return Number.NaN
    throw error
  }
  const empty = zram.used()
  zram.pageOut(target)
  const left = target.figures().rssAnon + zram.used() - empty
  zram.close()
  return left
}

/** One program: swapped to each zram, then attached. */
async function measure(state: State, path: string): Promise<Outcome> {
  const [command = '', ...words] = state.command
  const target = await Target.start(which(command) ?? command, [...words, path])
  const bare = Number(target.ready.split(' ')[1]) * 1024
  const right = await target.ask('digest')
  const before = target.figures().rssAnon
  const zram = algorithms.map(algorithm => underZram(target, algorithm))
  const pack = state.left === undefined ? [] : ['--pack']
  const began = performance.now()
  const attached = await attach(target.pid, ['--backing', path, ...pack])
  const seconds = (performance.now() - began) / 1000
  await sleep(4000)
  const status = await attached.status()
  const left = target.figures().rssAnon + status.own
  const same = (await target.ask('digest')) === right
  await target.end()
  attached.forget()
  const pager = status.own - status.packs - status.recipes
  return { before, bare, virtual: status.virtual, left, pager, zram, seconds, same }
}

/** Files of more than this would make the run longer than ten minutes. */
const mostMegabytes = 100

export const bench: Bench = {
  about:
    'States that programs are in when they have read a file. Virtual: the share of private memory that holds none after lethe attach, of all of it and of what came with the file; in rows with a goal for what is left, packs are part of it. Left: of target and pager together; beside it what a swap of the same process to zram left before.',
  async run(options: BenchOptions): Promise<readonly Table[]> {
    const megabytes = Math.min(options.size, mostMegabytes)
    const folder = makeFiles(megabytes)
    const rows: Cell[][] = []
    const goals: Goal[] = []
    const missing: string[] = []
    for (const state of states) {
      if (which(state.command[0] ?? '') === undefined || (state.needs && !hasModule(state.needs))) {
        missing.push(state.name)
        continue
      }
      const one = await measure(state, join(folder, state.file))
      const share = (100 * one.virtual) / one.before
      const percent = (bytes: number): number => (100 * bytes) / one.before
      rows.push([
        state.name,
        one.before / 1e6,
        share,
        Math.min(100, (100 * one.virtual) / (one.before - one.bare)),
        percent(one.left),
        one.pager / 1e6,
        ...one.zram.map(percent),
        one.seconds,
        one.same ? 'yes' : 'NO',
      ])
      if (state.virtual !== undefined)
        goals.push(atLeast(`${state.name}: virtual`, state.virtual, share, '%'))
      if (state.left !== undefined)
        goals.push(atMost(`${state.name}: left`, state.left, percent(one.left), '%'))
      const least = Math.min(...one.zram.filter(Number.isFinite))
      if (Number.isFinite(least))
        goals.push(
          atMost(`${state.name}: left, beside the better zram`, percent(least), percent(one.left), '%'),
        )
      if (!one.same)
        goals.push({ what: state.name, goal: 'the same output', measured: 'another', met: false })
    }
    return [
      {
        title: `States, files of ${megabytes} MB`,
        head: [
          'state',
          'private MB',
          'virtual %',
          'of the data %',
          'left %',
          'of it pager MB',
          ...algorithms.map(name => `zram ${name} %`),
          'attach s',
          'same output',
        ],
        rows,
        notes: [
          `One run of each. The pager's own size does not grow with the target, so small targets show it.${missing.length > 0 ? ` Not installed: ${missing.join(', ')}.` : ''}`,
        ],
        goals,
      },
    ]
  },
}

function hasModule(name: string): boolean {
  return spawnSync('python3', ['-c', `import ${name}`], { stdio: 'ignore' }).status === 0
}
