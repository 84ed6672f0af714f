// Loaders under replay: what of their memory is virtual, what is kept for it, and what time and memory that takes against plain runs.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { launcher, whyNoGuests } from '../test/guest/guests.ts'
import { loaders, type Loader } from '../test/replay/loaders.ts'
import { Skip } from './lib/cc.ts'
import { dataFolder } from './lib/data.ts'
import { max, median } from './lib/stats.ts'
import { atMost, type Goal, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'
import type { Explanation } from '../src/replay/explain.ts'
import { removeFolder } from '../src/sys/folder.ts'

const sampleEvery = 60
/** A run that takes longer is ended. */
const longest = 300_000
/** Of them `jump` at a time go round in a fiftieth of the records. */
const queries = 20_000_000
const jump = 4_000_000

interface Measured {
  readonly out: string
  /** ms: until the guest says that it has loaded, from there to its answer, and from there to the end of the process: the report */
  readonly load: number
  readonly query: number
  readonly report: number
  /** MiB: of all samples the most, and the median of those while it answers */
  readonly most: number
  readonly held: number
  readonly explanation: Explanation | undefined
}

export const bench: Bench = {
  about:
    'Loaders in C that know nothing of Lethe, plain and under `lethe run --explain`, answering 20 million queries, 4 million at a time in one fiftieth of the records. Queries end with the answer: what follows is for the report alone. Pss: of the whole process while it answers; most: at any time.',
  async run({ size, rounds }: BenchOptions): Promise<readonly Table[]> {
    if (whyNoGuests !== undefined) throw new Skip(whyNoGuests)
    mkdirSync(dataFolder, { recursive: true })
    const folder = mkdtempSync(join(dataFolder, 'replay-'))
    const goals: Goal[] = []
    const rows: (string | number)[][] = []
    try {
      for (const loader of loaders(folder, size / 100)) {
        const plain: Measured[] = []
        const replayed: Measured[] = []
        for (let round = 0; round < Math.max(1, Math.ceil(rounds / 2)); round++) {
          plain.push(await measure(folder, loader, []))
          replayed.push(await measure(folder, loader, ['--explain', '--json', join(folder, 'explain.json')]))
        }
        rows.push(row(loader, plain, replayed, goals))
      }
    } finally {
      removeFolder(folder)
    }
    return [
      {
        title: 'Loaders',
        head: [
          'loader',
          'written MiB',
          'resident %',
          'kept %',
          'load s',
          'times plain',
          'queries s',
          'times plain',
          'report s',
          'refill ms',
          'Pss MiB',
          '% of plain',
          'most MiB',
        ],
        rows,
        goals,
      },
    ]
  },
}

function row(
  { name }: Loader,
  plain: readonly Measured[],
  replayed: readonly Measured[],
  goals: Goal[],
): (string | number)[] {
  const [first] = plain as [Measured]
  for (const { out, explanation } of replayed) {
    if (out !== first.out) throw new Error(`${name} gives other output under replay: ${out}`)
    if ((explanation?.epochs?.mismatches ?? 0) > 0) throw new Error(`${name}: pages came out wrong`)
  }
  const of = (all: readonly Measured[], what: (m: Measured) => number): number => median(all.map(what))
  const memory = (m: Measured): NonNullable<Explanation['memory']> => {
    if (m.explanation?.memory === undefined) throw new Error(`${name} was refused`)
    return m.explanation.memory
  }
  const resident = of(replayed, m => 100 * (1 - memory(m).virtual / memory(m).written))
  const kept = of(
    replayed,
    m => (100 * memory(m).kept.all) / Math.max(1, memory(m).virtual + memory(m).clean),
  )
  const load = of(replayed, m => m.load) / of(plain, m => m.load)
  const query = of(replayed, m => m.query) / of(plain, m => m.query)
  const refill = of(replayed, m => (m.explanation?.epochs?.faultMicros.median ?? 0) / 1000)
  const held = (100 * of(replayed, m => m.held)) / of(plain, m => m.held)
  goals.push(
    atMost(`${name}: resident`, 15, resident, '%'),
    atMost(`${name}: kept`, 20, kept, '%'),
    atMost(`${name}: load`, 2, load, 'times plain'),
    atMost(`${name}: queries`, 2, query, 'times plain'),
    atMost(`${name}: refill`, 5, refill, 'ms'),
    atMost(`${name}: Pss`, 40, held, '% of plain'),
  )
  return [
    name,
    of(replayed, m => memory(m).written) / 2 ** 20,
    resident,
    kept,
    of(replayed, m => m.load) / 1000,
    load,
    of(replayed, m => m.query) / 1000,
    query,
    of(replayed, m => m.report) / 1000,
    refill,
    of(replayed, m => m.held),
    held,
    of(replayed, m => m.most),
  ]
}

async function measure(folder: string, loader: Loader, flags: readonly string[]): Promise<Measured> {
  const { wasm, data } = loader
  const start = performance.now()
  const child = spawn(
    launcher,
    ['run', ...flags, '--dir', folder, wasm, '--', data, String(queries), String(jump)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let out = ''
  let loaded = 0
  let answered = 0
  const samples: { at: number; pss: number }[] = []
  child.stdout.on('data', (part: Buffer) => {
    out += part.toString()
    answered = performance.now()
  })
  child.stderr.on('data', (part: Buffer) => {
    if (loaded === 0 && part.toString().includes('loaded')) loaded = performance.now()
  })
  const timer = setInterval(() => {
    samples.push({ at: performance.now(), pss: pssOf(child.pid ?? 0) })
  }, sampleEvery)
  const late = setTimeout(() => child.kill(), longest)
  const status = await new Promise(done => child.on('close', done))
  clearInterval(timer)
  clearTimeout(late)
  const end = performance.now()
  if (status !== 0) throw new Error(`${loader.name} ended with ${String(status)}`)
  const explained = flags.length > 0
  const answering = samples.filter(s => s.at >= loaded && s.at <= answered && s.pss > 0).map(s => s.pss)
  const all = samples.map(s => s.pss)
  return {
    out,
    load: loaded - start,
    query: answered - loaded,
    report: end - answered,
    most: max(all),
    held: answering.length > 0 ? median(answering) : max(all),
    explanation: explained
      ? (JSON.parse(readFileSync(join(folder, 'explain.json'), 'utf8')) as Explanation)
      : undefined,
  }
}

/** MiB of a process and its children; 0 for one that has ended. */
function pssOf(pid: number): number {
  try {
    const own = Number(/Pss:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    return children.reduce((sum, child) => sum + (child === '' ? 0 : pssOf(Number(child))), own / 1024)
  } catch {
    return 0
  }
}
