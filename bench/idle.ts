// What being attached costs a program that computes and needs nothing from us.
import { join } from 'node:path'
import type { Bench, BenchOptions } from './main.ts'
import { compile, Skip, which } from './lib/cc.ts'
import { dataFile } from './lib/data.ts'
import { attach, cpuSeconds } from './lib/lethe.ts'
import { median, quantile, sleep } from './lib/stats.ts'
import { atMost, type Cell, type Goal } from './lib/table.ts'
import { Target } from './lib/target.ts'

const workingSet = 16 << 20
const sliceMs = 400

interface Result {
  readonly name: string
  /** Slow-down in percent. */
  readonly wall: number
  readonly cpu: number
  /** Half the width of the 95 % interval of `wall`. */
  readonly doubt: number
  /** What the same measurement says when neither is attached. */
  readonly nobody: number
  readonly pagerShare: number
}

export const bench: Bench = {
  about: `Two equal processes compute in turns, ${sliceMs} ms each, on 16 MiB of the data that they hold; one is attached, then the other, then neither.`,
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
        head: ['target', 'slower, wall %', '±', 'its CPU time %', 'neither attached: %', 'pager’s CPU %'],
        rows: results.map((r): Cell[] => [r.name, r.wall, r.doubt, r.cpu, r.nobody, r.pagerShare]),
        notes: [
          'Medians of the ratios of neighbouring slices, averaged over the two ways round; ± is the 95 % interval of that; the pager’s CPU is its share of one CPU in that time.',
          ...skipped.map(reason => `Skipped: ${reason}.`),
        ],
        goals: results.map((r): Goal => atMost(`${r.name}: slower`, 1.2, r.wall, '%')),
      },
    ]
  },
}

/** Percent by which the first of each pair took longer. */
interface Ratios {
  readonly wall: number[]
  readonly cpu: number[]
}

/** 95 % interval of a median, half its width: from the order statistics. */
function doubt(values: readonly number[]): number {
  const half = 0.98 / Math.sqrt(values.length)
  return (quantile(values, Math.min(1, 0.5 + half)) - quantile(values, Math.max(0, 0.5 - half))) / 2
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
  const inTurns = async (first: Target, second: Target): Promise<Ratios> => {
    const ratios: Ratios = { wall: [], cpu: [] }
    for (let i = 0; i < options.rounds * 12; i++) {
      // A B, B A, A B …: whoever is second has no advantage.
      let a: [number, number]
      let b: [number, number]
      if (i % 2 === 0) {
        a = await slice(first, n)
        b = await slice(second, n)
      } else {
        b = await slice(second, n)
        a = await slice(first, n)
      }
      ratios.wall.push((a[0] / b[0] - 1) * 100)
      ratios.cpu.push((a[1] / b[1] - 1) * 100)
    }
    return ratios
  }
  const served: Ratios[] = []
  const shares: number[] = []
  for (const [target, free] of [pair, [pair[1], pair[0]] as const]) {
    // Asleep it takes nothing, and is another process afterwards.
    const attached = await attach(target.pid, ['--awake'])
    await slice(target, n) // brings the working set back
    await sleep(3000)
    await slice(target, n)
    await slice(free, n)
    const { pager } = await attached.status()
    const used = cpuSeconds(pager)
    const began = performance.now()
    served.push(await inTurns(target, free))
    shares.push(((cpuSeconds(pager) - used) / (performance.now() - began)) * 1e5)
    await attached.detach()
  }
  const nobody = await inTurns(...pair)
  for (const target of pair) await target.end()
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
  return {
    name,
    wall: mean(served.map(r => median(r.wall))),
    cpu: mean(served.map(r => median(r.cpu))),
    doubt: Math.hypot(...served.map(r => doubt(r.wall))) / served.length,
    nobody: median(nobody.wall),
    pagerShare: median(shares),
  }
}
