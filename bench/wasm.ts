// WebAssembly programs: time and process memory under Node's WASI, under ours, and with a budget.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { guest, whyNoGuests } from '../test/guest/guests.ts'
import { Skip } from './lib/cc.ts'
import { dataFolder } from './lib/data.ts'
import { median } from './lib/stats.ts'
import { atMost, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

const megabyte = 2 ** 20
const lethe = join(import.meta.dirname, '../bin/lethe')
const nodeWasi = join(import.meta.dirname, 'targets/node-wasi.mjs')

interface Measured {
  /** seconds of CPU until it has freed all */
  readonly cpu: number
  /** MiB of the process: most, and when all is freed */
  readonly most: number
  readonly after: number
  readonly out: string
}

export const bench: Bench = {
  about:
    'A program that reads a file of half the size whole, makes as much of its own, goes over it three times, and frees all. Process memory is the whole process: Node, engine, our threads.',
  async run({ size, rounds }: BenchOptions): Promise<readonly Table[]> {
    if (whyNoGuests !== undefined) throw new Skip(whyNoGuests)
    mkdirSync(dataFolder, { recursive: true })
    const half = Math.max(8, Math.floor(size / 4))
    const data = join(dataFolder, 'wasm-data')
    const bytes = Buffer.alloc(half * megabyte)
    for (let i = 0, state = 1; i < bytes.length; i += 4) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      bytes.writeUInt32LE(state, i)
    }
    writeFileSync(data, bytes)
    const program = guest('pages')
    const args = [data, String(half), String(half), 'hold']
    const budget = `${Math.ceil(half / 2)}M`
    const run = ['run', '--dir', dataFolder]
    const ways: Record<string, readonly string[]> = {
      'node:wasi': [process.execPath, '--no-warnings', nodeWasi, program, dataFolder, ...args],
      'lethe run': [lethe, ...run, program, '--', ...args],
      [`lethe run --budget ${budget}`]: [lethe, ...run, '--budget', budget, program, '--', ...args],
    }
    const all = new Map<string, Measured[]>(Object.keys(ways).map(way => [way, []]))
    for (let round = 0; round < rounds; round++)
      for (const [way, command] of Object.entries(ways)) all.get(way)?.push(await measure(command))
    const [reference] = all.get('node:wasi') as [Measured]
    for (const [way, results] of all)
      for (const { out } of results)
        if (out !== reference.out) throw new Error(`${way} gives other output:\n${out}`)
    const of = (way: string, what: 'cpu' | 'most' | 'after'): number =>
      median((all.get(way) as Measured[]).map(one => one[what]))
    return [
      {
        title: `${2 * half} MiB of memory, budget ${budget}`,
        head: ['', 'CPU s', 'process memory, most MiB', 'when all is freed MiB'],
        rows: [...all.keys()].map(way => [way, of(way, 'cpu'), of(way, 'most'), of(way, 'after')]),
        goals: [
          atMost(
            'CPU of lethe run',
            1.05,
            of('lethe run', 'cpu') / of('node:wasi', 'cpu'),
            'times node:wasi',
          ),
        ],
      },
    ]
  },
}

async function measure([command = '', ...args]: readonly string[]): Promise<Measured> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  let out = ''
  const freed = new Promise<void>(resolve =>
    child.stdout.on('data', (part: Buffer) => {
      out += part.toString()
      if (out.endsWith('freed\n')) resolve()
    }),
  )
  const ended = new Promise<void>(resolve => child.on('close', () => resolve()))
  await Promise.race([freed, ended])
  const pid = lastChild(child)
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024
  const times = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  const measured = {
    cpu: (Number(times[11]) + Number(times[12])) / 100,
    most: field('VmHWM'),
    after: field('VmRSS'),
    out,
  }
  child.stdin.end('\n')
  await ended
  return measured
}

/** bin/lethe waits for the node that it has started. */
function lastChild(child: ChildProcess): number {
  for (let pid = child.pid as number; ; ) {
    const [next = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ')
    if (next === '') return pid
    pid = Number(next)
  }
}
