// npm run bench [-- NAME… --size MB --rounds N --json]
//
// Each bench is a file here that exports a Bench. It runs what it compares in turns (A B C B C A …) and shows the medians.
// `--size` is the size of the data that targets hold (default 300 MB), `--rounds` how often each measurement is made.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { parseArgs } from 'node:util'
import { Skip } from './lib/cc.ts'
import { cleanUp } from './lib/cleanup.ts'
import { markdown, type Table } from './lib/table.ts'

export interface BenchOptions {
  /** 10^6 bytes. */
  readonly size: number
  readonly rounds: number
}

export interface Bench {
  readonly about: string
  run(options: BenchOptions): Promise<readonly Table[]>
}

const benches = [
  'sequential',
  'random',
  'pause',
  'idle',
  'savings',
  'pieces',
  'explain',
  'pager-size',
  'agent',
  'lens',
  'streams',
  'states',
  'heap',
  'policies',
  'machine',
  'dinero',
  'points',
  'library',
  'wasm',
  'guests',
  'codec',
  'sites',
  'replay',
] as const

function positive(text: string, name: string): number {
  const n = Number(text)
  if (Number.isSafeInteger(n) && n > 0) return n
  console.error(`--${name} takes a whole number above 0, not '${text}'`)
  process.exit(2)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
for (const name of positionals)
  if (!(benches as readonly string[]).includes(name)) {
    console.error(`There is no bench '${name}'; there are ${benches.join(', ')}`)
    process.exit(2)
  }
if (values.help) {
  console.log(`npm run bench -- [NAME…] [--size MB] [--rounds N] [--json]\nNAME: ${benches.join(', ')}`)
  process.exit(0)
}
const options: BenchOptions = {
  size: positive(values.size, 'size'),
  rounds: positive(values.rounds, 'rounds'),
}

function head(): string {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' })
  const memory = Number(/MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) / 2 ** 20
  const load = readFileSync('/proc/loadavg', 'latin1').split(' ').slice(0, 3).join(' ')
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${commit.trim()}: ${cpus().length} × ${cpus()[0]?.model}, ${memory.toFixed(0)} GiB, Linux ${release()}, Node ${process.version}; load when it began ${load}`,
    '',
    `\`${['npm run bench', ...(process.argv.length > 2 ? ['--'] : []), ...process.argv.slice(2)].join(' ')}\` (${options.size} MB, ${options.rounds} rounds, medians)`,
    '',
  ].join('\n')
}

if (!values.json) console.log(head())
const all: Record<string, readonly Table[] | { skipped: string } | { failed: string }> = {}
for (const name of benches) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  const { bench } = (await import(`./${name}.ts`)) as { bench: Bench }
  if (!values.json) console.log(`## ${name}\n\n${bench.about}\n`)
  try {
    const tables = await bench.run(options)
    all[name] = tables
    if (!values.json) for (const table of tables) console.log(markdown(table))
  } catch (error) {
    const message = (error as Error).message
    if (error instanceof Skip) all[name] = { skipped: message }
    else {
      all[name] = { failed: message }
      process.exitCode = 1
      console.error(error)
    }
    if (!values.json) console.log(`${error instanceof Skip ? 'Skipped' : 'FAILED'}: ${message}\n`)
  } finally {
    cleanUp()
  }
}
if (values.json) console.log(JSON.stringify({ type: 'bench', options, benches: all }))
process.exit()
