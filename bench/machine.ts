// The simulated machine on a real program's trace: beside Dinero IV, all layers at once, as traces grow; and replacement policies alone.
//
// LETHE_DINERO: Dinero IV's program; without it the first table has us alone. LETHE_TRACE: a binary trace (dinb) to use; without it valgrind
// records 23 million references of python3.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { machineConfig } from '../src/machine/configure.ts'
import { TraceEngine } from '../src/machine/engine.ts'
import { readPageTrace } from '../src/machine/page-trace.ts'
import { TraceReader } from '../src/machine/trace.ts'
import { readTrace } from '../src/machine/trace-file.ts'
import { policyNames } from '../src/policy/index.ts'
import { Skip } from './lib/cc.ts'
import { atEnd } from './lib/cleanup.ts'
import type { PolicyRun } from './lib/policy-speed.ts'
import { median } from './lib/stats.ts'
import { atLeast, atMost, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'
import { removeFolder } from '../src/sys/folder.ts'

const length = 23_000_000
// Not by name: that may be a script which starts another program, and valgrind would record the script.
const python = (): string =>
  execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()
const script = 'import json, re, argparse; json.loads(json.dumps(list(range(20000))))'
const lethe = join(import.meta.dirname, '../bin/lethe')
const dinero = process.env['LETHE_DINERO']

// Dinero has addresses of 32 bits: the upper half of each is left out, for both.
async function record(path: string): Promise<void> {
  const args = ['--tool=lackey', '--trace-mem=yes', '--log-fd=3', python(), '-c', script]
  const child = spawn('valgrind', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const failed = new Promise<never>((_, reject) => {
    child.once('error', () => reject(new Skip('valgrind is not here, and LETHE_TRACE names no trace')))
  })
  const out = openSync(path, 'w')
  let left = length
  const reader = new TraceReader('valgrind', 'lackey', (words, count) => {
    const records = new Int32Array(Math.min(count, left) * 2)
    for (let i = 0; i < records.length; i += 2) {
      const high = words[i + 1] as number
      records[i] = words[i] as number
      records[i + 1] = ((high >>> 16) & 0xfff) | ((high >>> 28) << 16)
    }
    writeSync(out, records)
    left -= records.length / 2
  })
  const copied = (async () => {
    for await (const chunk of child.stdio[3] as NodeJS.ReadableStream) {
      reader.push(chunk as unknown as Uint8Array, false)
      if (left === 0) break
    }
  })()
  await Promise.race([copied, failed])
  child.kill('SIGKILL')
  closeSync(out)
}

/** Milliseconds of a processor that this thread takes: on a machine that others use too, the time by the clock says little. */
function cpuMs(of: () => void): number {
  const began = process.threadCpuUsage()
  of()
  const { user, system } = process.threadCpuUsage(began)
  return (user + system) / 1000
}

const options =
  '-l1-isize 32k -l1-ibsize 64 -l1-iassoc 8 -l1-dsize 32k -l1-dbsize 64 -l1-dassoc 8 -l2-usize 256k -l2-ubsize 64 -l2-uassoc 8 -informat b'.split(
    ' ',
  )

/** Rows of counts by cache, whoever has printed them. */
function countsOf(text: string): string[] {
  const wanted = /^\s*(Demand Fetches|Demand Misses|Multi-block refs|Bytes From Memory|Bytes To Memory)\s+/
  return text
    .split('\n')
    .filter(line => wanted.test(line))
    .map(line => line.trim().replace(/\s+/g, ' '))
}

function besideDinero(trace: string, rounds: number): Table {
  const commands: [string, string, string[]][] = [['lethe machine dinero', lethe, ['machine', 'dinero']]]
  if (dinero !== undefined) commands.unshift(['Dinero IV', dinero, []])
  const times = commands.map(() => [] as number[])
  const counts: string[][] = []
  for (let round = 0; round < rounds; round++)
    commands.forEach(([, file, args], i) => {
      const stdin = openSync(trace, 'r')
      const began = performance.now()
      const text = execFileSync(file, [...args, ...options], { stdio: [stdin, 'pipe', 'inherit'] })
      times[i]?.push((performance.now() - began) / 1000)
      closeSync(stdin)
      counts[i] = countsOf(text.toString())
    })
  const references = readFileSync(trace).length / 8
  const seconds = times.map(median)
  const [first = 0, second = first] = seconds
  const differ = counts.length > 1 && counts[0]?.join() !== counts[1]?.join()
  return {
    title: `L1i, L1d and L2 of ${references / 1e6} million references, as programs from start to end`,
    head: ['program', 'seconds', 'million references a second'],
    rows: commands.map(([name], i) => [
      name,
      seconds[i] as number,
      references / 1e6 / (seconds[i] as number),
    ]),
    notes:
      counts.length > 1
        ? [differ ? 'The counts DIFFER.' : `All ${counts[0]?.length} rows of counts are the same.`]
        : ['LETHE_DINERO names no Dinero IV.'],
    goals: counts.length > 1 ? [atLeast('times as fast as Dinero IV', 1.5, first / second, '×')] : [],
  }
}

const caches = [
  {
    instruction: { size: 32_768, line: 64, ways: 8 },
    data: { size: 32_768, line: 64, ways: 8 },
  },
  { unified: { size: 262_144, line: 64, ways: 8 } },
]

async function wholeMachine(trace: string, rounds: number): Promise<Table> {
  const speeds: number[] = []
  let counters: TraceEngine['counters'] | undefined
  for (let round = 0; round <= rounds; round++) {
    const engine = new TraceEngine(machineConfig({ preset: 'x86-64', caches }))
    const began = process.threadCpuUsage()
    await readTrace(
      trace,
      (words, count) => engine.run(words, count),
      'dinb',
      (bytes, isDinero) => engine.runBytes(bytes, isDinero),
    )
    const { user, system } = process.threadCpuUsage(began)
    const time = (user + system) / 1000
    counters = engine.counters
    if (round > 0) speeds.push(engine.records / time / 1000)
  }
  const speed = median(speeds)
  return {
    title: 'TLB, page tables of four levels, L1i, L1d and L2, from a binary trace, by time of one processor',
    head: ['million references a second', 'TLB misses', 'page faults'],
    rows: [[speed, counters?.tlbMisses ?? 0, counters?.pageFaults ?? 0]],
    goals: [atLeast('million references a second', 30, speed, '')],
  }
}

function asTracesGrow(trace: string): Table {
  const bytes = readFileSync(trace)
  const part = new Uint8Array(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 8e6))
  const rows = [1e5, 1e6, 1e7, 1e8, 1e9].map(references => {
    const engine = new TraceEngine(machineConfig({ preset: 'x86-64', caches }))
    const time = cpuMs(() => {
      for (let left = references; left > 0; left -= part.length / 8)
        engine.runBytes(part.subarray(0, Math.min(part.length, left * 8)), true)
    })
    const ns = (time * 1e6) / references
    return [references, ns, engine.footprint, engine.memoryBytes / 2 ** 20]
  })
  const settled = rows.slice(2).map(row => row[1] as number)
  return {
    title: 'The first million references again and again, by time of one processor',
    head: ['references', 'ns each', 'pages', 'memory, MiB'],
    rows,
    notes: ['A short trace has the first touch of every page in it, and what starts a run.'],
    goals: [
      atMost('slowest over fastest, from 10^7 on', 1.5, Math.max(...settled) / Math.min(...settled), ''),
    ],
  }
}

async function policies(trace: string, rounds: number): Promise<Table> {
  const { pages, numbers } = await readPageTrace(trace, 4096, 'dinb')
  const some = new Int32Array(new SharedArrayBuffer(4 * Math.min(pages.length, 5_000_000)))
  some.set(pages.subarray(0, some.length))
  const frames = [0.1, 0.5].map(share => Math.ceil(numbers.count * share))
  const rows: [string, ...number[]][] = []
  for (const name of policyNames) {
    const run: PolicyRun = { name, pages: some, frames, rounds }
    const worker = new Worker(new URL('./lib/policy-speed.ts', import.meta.url), { workerData: run })
    const [speeds] = (await once(worker, 'message')) as [number[]]
    rows.push([name, ...speeds])
  }
  const below = rows.filter(row => Math.min(row[1] as number, row[2] as number) < 50).map(row => row[0])
  return {
    title: `Millions of references a second of one policy, ${numbers.count} pages, by time of one processor`,
    head: ['policy', 'frames for 10 % of the pages', 'for 50 %'],
    rows,
    notes: [below.length === 0 ? 'All reach 50.' : `Below 50: ${below.join(', ')}.`],
    goals: [atLeast('policies that reach 50', rows.length, rows.length - below.length, '')],
  }
}

export const bench: Bench = {
  about: 'The simulated machine and its policies on a trace of python3.',
  async run({ rounds }: BenchOptions): Promise<readonly Table[]> {
    const given = process.env['LETHE_TRACE']
    const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
    atEnd(() => removeFolder(folder))
    const trace = given ?? join(folder, 'python.dinb')
    if (given === undefined) await record(trace)
    return [
      besideDinero(trace, rounds),
      await wholeMachine(trace, rounds),
      asTracesGrow(trace),
      await policies(trace, rounds),
    ]
  },
}
