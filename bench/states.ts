// The states that programs are in when they have read a file: how much of their memory is given back, and what is left,
// with what no file explains packed, beside a swap to zram. Every state is made by a program as it is.
import { execFileSync } from 'node:child_process'
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
  { name: 'pandas read_csv', file: 'named.csv', command: python('pandas'), virtual: 60 },
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
  readonly virtual: number
  /** Target and pager, packs included. */
  readonly left: number
  readonly pager: number
  readonly same: boolean
}

async function underLethe(state: State, path: string, pack: boolean): Promise<Outcome> {
  const [command = '', ...words] = state.command
  const target = await Target.start(which(command) ?? command, [...words, path])
  const right = await target.ask('digest')
  const before = target.figures().rssAnon
  const attached = await attach(target.pid, ['--backing', path, ...(pack ? ['--pack'] : [])])
  await sleep(2500)
  const status = await attached.status()
  const left = target.figures().rssAnon + status.own
  const same = (await target.ask('digest')) === right
  await target.end()
  attached.forget()
  return { before, virtual: status.virtual, left, pager: status.own - status.packs, same }
}

async function underZram(state: State, path: string, algorithm: string): Promise<number> {
  let zram: Zram
  try {
    zram = Zram.open(algorithm)
  } catch (error) {
    if (error instanceof Skip) return Number.NaN
    throw error
  }
  const [command = '', ...words] = state.command
  const target = await Target.start(which(command) ?? command, [...words, path])
  await target.ask('digest')
  const empty = zram.used()
  zram.pageOut(target)
  const left = target.figures().rssAnon + zram.used() - empty
  await target.end()
  zram.close()
  return left
}

export const bench: Bench = {
  about:
    'States that programs are in when they have read a file. Virtual: the share of private memory that holds none after lethe attach. Left: of target and pager together, with --pack; beside it what a swap of the same program to zram leaves.',
  async run(options: BenchOptions): Promise<readonly Table[]> {
    const folder = makeFiles(options.size)
    const rows: Cell[][] = []
    const goals: Goal[] = []
    const missing: string[] = []
    for (const state of states) {
      if (which(state.command[0] ?? '') === undefined) {
        missing.push(state.name)
        continue
      }
      const path = join(folder, state.file)
      const plain = await underLethe(state, path, false)
      const packed = await underLethe(state, path, true)
      const lzo = await underZram(state, path, 'lzo-rle')
      const lz4 = await underZram(state, path, 'lz4')
      const share = (100 * plain.virtual) / plain.before
      const percent = (bytes: number): number => (100 * bytes) / plain.before
      const same = plain.same && packed.same
      rows.push([
        state.name,
        plain.before / 1e6,
        share,
        percent(packed.left),
        packed.pager / 1e6,
        percent(lzo),
        percent(lz4),
        same ? 'yes' : 'NO',
      ])
      if (state.virtual !== undefined)
        goals.push(atLeast(`${state.name}: virtual`, state.virtual, share, '%'))
      if (state.left !== undefined)
        goals.push(atMost(`${state.name}: left`, state.left, percent(packed.left), '%'))
      const least = Math.min(...[lzo, lz4].filter(Number.isFinite))
      if (Number.isFinite(least))
        goals.push(
          atMost(`${state.name}: left, beside the better zram`, percent(least), percent(packed.left), '%'),
        )
      if (!same) goals.push({ what: state.name, goal: 'the same output', measured: 'another', met: false })
    }
    return [
      {
        title: `States, files of ${options.size} MB`,
        head: [
          'state',
          'private MB',
          'virtual %',
          'left %',
          'of it pager MB',
          'zram lzo-rle %',
          'zram lz4 %',
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
