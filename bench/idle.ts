// What being attached costs a program that computes and needs nothing from us.
import { join } from 'node:path'
import type { Bench, BenchOptions } from './main.ts'
import { compile, Skip, which } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach, cpuSeconds } from './lib/lethe.ts'
import { median, sleep } from './lib/stats.ts'
import { atMost, type Cell, type Goal } from './lib/table.ts'
import { Target } from './lib/target.ts'

const workingSet = 16 << 20
const sliceMs = 400

interface Result {
  readonly name: string
  readonly wall: number
  readonly cpu: number
  readonly low: number
  readonly high: number
  readonly pagerShare: number
}

export const bench: Bench = {
  about: `Two equal processes compute in turns, ${sliceMs} ms each, on 16 MiB of the data that they hold; one is attached, then the other.`,
  async run(options) {
    const file = dataFile('log', options.size)
    const results: Result[] = []
    const skipped: string[] = []
    try {
      results.push(await measure('C', compile('work'), [file, workingSet], options))
    } catch (error) {
      if (!(error instanceof Skip)) throw error
      skipped.push(error.message)
    }
    const python = which('python3')
    if (python === undefined) skipped.push('no python3')
    else {
      const script = join(import.meta.dirname, 'targets/work.py')
      results.push(await measure('python3', python, [script, file, workingSet], options))
    }
    return [
      {
        title: 'Attached and idle',
        head: ['target', 'slower, wall %', 'slower, its CPU time %', 'quartiles of wall %', 'pager’s CPU %'],
        rows: results.map((r): Cell[] => [
          r.name,
          r.wall,
          r.cpu,
          `${r.low.toFixed(1)} to ${r.high.toFixed(1)}`,
          r.pagerShare,
        ]),
        notes: [
          'Medians of the ratios of neighbouring slices; the pager’s CPU is its share of one CPU in that time.',
          ...skipped.map(reason => `Skipped: ${reason}.`),
        ],
        goals: results.map((r): Goal => atMost(`${r.name}: slower`, 1.2, r.wall, '%')),
      },
    ]
  },
}

async function measure(
  name: string,
  command: string,
  args: readonly (string | number)[],
  options: BenchOptions,
): Promise<Result> {
  const pair = [await Target.start(command, args), await Target.start(command, args)] as const
  const slice = async (target: Target, n: number): Promise<[number, number]> => {
    const [wall = 0, cpu = 0] = await target.numbers(`work ${n}`)
    return [wall, cpu]
  }
  let n = 1
  for (;;) {
    const [wall] = await slice(pair[0], n)
    if (wall > (sliceMs / 4) * 1e6) {
      n = Math.max(1, Math.round((n * sliceMs * 1e6) / wall))
      break
    }
    n *= 4
  }
  const wall: number[] = []
  const cpu: number[] = []
  const shares: number[] = []
  for (const [served, free] of [pair, [...pair].reverse() as [Target, Target]] as const) {
    const attached = await attach(served.pid)
    await slice(served, n) // brings the working set back
    await slice(free, n)
    await sleep(3000)
    await slice(served, n)
    const { pager } = await attached.status()
    const used = cpuSeconds(pager)
    const began = performance.now()
    for (let i = 0; i < options.rounds * 8; i++) {
      const a = await slice(served, n)
      const b = await slice(free, n)
      wall.push((a[0] / b[0] - 1) * 100)
      cpu.push((a[1] / b[1] - 1) * 100)
    }
    shares.push(((cpuSeconds(pager) - used) / (performance.now() - began)) * 1e5)
    await attached.detach()
  }
  for (const target of pair) await target.end()
  const sorted = [...wall].sort((a, b) => a - b)
  return {
    name,
    wall: median(wall),
    cpu: median(cpu),
    low: sorted[Math.floor(sorted.length / 4)] as number,
    high: sorted[Math.floor((sorted.length * 3) / 4)] as number,
    pagerShare: median(shares),
  }
}
