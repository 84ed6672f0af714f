// malloc as WebAssembly beside wasi-libc's dlmalloc and @thi.ng/malloc; the collector beside V8's.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemPool } from '@thi.ng/malloc'
import { Heap } from '../src/heap/index.ts'
import { demandOf, measure } from '../src/heap/measure.ts'
import { parseTrace, type Trace } from '../src/heap/trace.ts'
import { dlmalloc, type Malloc } from './lib/dlmalloc.ts'
import { collectorTable } from './lib/gcbench.ts'
import {
  ALLOCATE,
  bursts,
  churn,
  even,
  FREE,
  growing,
  type Load,
  mixed,
  queue,
  REALLOCATE,
  rounds,
  stack,
} from './lib/heap-loads.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

const folder = join(import.meta.dirname, '../test/data/malloc')
const trace = (name: string): Trace => parseTrace(readFileSync(join(folder, name), 'utf8'))

function ofTrace(name: string): Load {
  const { id, bytes, kind, ids } = trace(`${name}.trace`)
  const kinds = Uint8Array.from(kind, k => (k === 4 ? FREE : k === 3 ? REALLOCATE : ALLOCATE))
  return { name, slots: ids, kind: kinds, slot: id, bytes }
}

// Operations from `from` on, up to `to`; ms.
function run(
  { malloc, free, realloc }: Malloc,
  { kind, slot, bytes }: Load,
  pointers: Int32Array,
  from: number,
  to: number,
): number {
  const began = performance.now()
  for (let i = from; i < to; i++) {
    const at = slot[i] as number
    const what = kind[i] as number
    if (what === FREE) {
      free(pointers[at] as number)
      pointers[at] = 0
    } else if (what === ALLOCATE) pointers[at] = malloc(bytes[i] as number)
    else pointers[at] = realloc(pointers[at] as number, bytes[i] as number)
  }
  return performance.now() - began
}

function empty({ free }: Malloc, pointers: Int32Array): void {
  for (const pointer of pointers) if (pointer !== 0) free(pointer)
  pointers.fill(0)
}

function pool(): Malloc {
  const inner = new MemPool({ size: 1 << 28, align: 8 })
  return {
    malloc: bytes => inner.malloc(bytes),
    free: pointer => void inner.free(pointer),
    realloc: (pointer, bytes) => inner.realloc(pointer, bytes),
  }
}

type Contestant = readonly [name: string, allocator: Malloc]

// What is timed at once: so short that few are interrupted, and a median knows nothing of those.
const STRETCH = 4096

// Millions of operations a second, in turns: of each stretch the median of all times, summed.
function race(
  load: Load,
  contestants: readonly Contestant[],
  rounds: number,
  least: number,
): Map<string, number> {
  const pointers = new Int32Array(load.slots)
  const operations = load.slot.length
  const begins = Array.from({ length: Math.ceil(operations / STRETCH) }, (_, i) => i * STRETCH)
  const times = new Map(contestants.map(([name]) => [name, begins.map(() => [] as number[])]))
  for (let round = 0; round < rounds; round++)
    for (const [name, allocator] of rotated(contestants, round)) {
      let all = 0
      do {
        for (const [i, from] of begins.entries()) {
          const time = run(allocator, load, pointers, from, Math.min(from + STRETCH, operations))
          if (round > 0) times.get(name)?.[i]?.push(time)
          all += time
        }
        empty(allocator, pointers)
      } while (all < least)
    }
  const sum = (each: readonly number[][]): number => each.reduce((all, some) => all + median(some), 0)
  return new Map([...times].map(([name, each]) => [name, operations / sum(each) / 1000]))
}

const ranges = [
  [1, 128],
  [1, 1024],
  [1, 4096],
] as const

// What programs do, and what a stranger may think of.
function* shapes(): Generator<Load> {
  for (const name of ['dogfood', 'gcc-hello', 'ffmpeg', 'find', 'source-map']) yield ofTrace(name)
  yield churn('1,000 at random, 32', 1000, 50_000, () => 32)
  yield churn('100,000 at random, 8-512 mixed', 100_000, 100_000, mixed)
  yield queue('queue of 1,000, 8-263', 1000, 50_000, even(8, 263))
  yield queue('queue of 10,000, 64 or 96', 10_000, 50_000, r => (r() < 0.5 ? 64 : 96))
  yield queue('queue of 100,000, 8-263', 100_000, 100_000, even(8, 263))
  for (const [low, high] of ranges) {
    const size = even(low, high)
    for (const live of [100, 10_000]) yield queue(`queue of ${live}, ${low}-${high}`, live, 50_000, size)
    for (const live of [1000, 10_000]) yield churn(`${live} at random, ${low}-${high}`, live, 50_000, size)
    yield stack(`stack of up to 1,000, ${low}-${high}`, 1000, 100_000, size)
    yield bursts(`bursts of up to 10,000, ${low}-${high}`, 10_000, 50_000, size)
    yield rounds(`10,000, all freed, ${low}-${high}`, 10_000, 5, size)
  }
  yield growing('1,000 arrays grown by half', 1000, 50_000)
  yield churn('100 at random, 256-65,536', 100, 30_000, even(256, 65_536))
}

function speed(repeats: number): Table {
  const ratios: number[] = []
  const rows = [...shapes()].map(load => {
    const contestants: Contestant[] = [
      ['dlmalloc', dlmalloc()],
      ['best', new Heap().functions],
      ['tlsf', new Heap({ allocator: 'tlsf' }).functions],
    ]
    const result = race(load, contestants, repeats + 2, 20)
    const of = (name: string): number => result.get(name) ?? Number.NaN
    ratios.push(of('best') / of('dlmalloc'))
    return [load.name, of('dlmalloc'), of('best'), of('tlsf'), of('best') / of('dlmalloc')]
  })
  return {
    title: 'Millions of operations a second, called from JavaScript',
    head: ['load', 'dlmalloc (wasi-libc)', 'best', 'tlsf', 'best / dlmalloc'],
    rows,
    notes: [
      'Both are WebAssembly with -O2 or -O3; the loop that calls them is the same, and a part of the time.',
    ],
    goals: [
      atLeast('best / dlmalloc, median of the loads', 0.7, median(ratios), ''),
      atLeast('best / dlmalloc, the worst load', 0.7, Math.min(...ratios), ''),
    ],
  }
}

function againstThing(rounds: number): Table {
  const loads = [
    churn('100 blocks of 8 to 512', 100, 5000, mixed),
    churn('1,000 blocks of 8 to 512', 1000, 5000, mixed),
    churn('5,000 blocks of 8 to 512', 5000, 5000, mixed),
  ]
  const ratios: number[] = []
  const rows = loads.map(load => {
    const heap = new Heap()
    const result = race(
      load,
      [
        ['thing', pool()],
        ['best', heap],
      ],
      rounds + 2,
      5,
    )
    const [thing = 0, best = 0] = ['thing', 'best'].map(name => result.get(name))
    ratios.push(best / thing)
    return [load.name, thing, best, best / thing]
  })
  return {
    title: 'Beside @thi.ng/malloc: millions of operations a second',
    head: ['load', '@thi.ng/malloc', "Heap of 'lethe/heap'", 'times'],
    rows,
    goals: [atLeast('times as fast, median of the loads', 10, median(ratios), '×')],
  }
}

function growth(): Table {
  const rows: (string | number)[][] = []
  for (const live of [1e3, 1e4, 1e5, 1e6, 1e7]) {
    const load = churn('', live, 200_000, r => 8 + Math.floor(40 * r()))
    const heap = new Heap()
    const contestants = [heap.functions, dlmalloc()].map(allocator => {
      const pointers = new Int32Array(live)
      run(allocator, load, pointers, 0, live)
      return { allocator, pointers, times: [] as number[] }
    })
    for (let from = live; from + STRETCH <= load.slot.length; from += STRETCH)
      for (const { allocator, pointers, times } of contestants)
        times.push((run(allocator, load, pointers, from, from + STRETCH) / STRETCH) * 1e6)
    rows.push([live, ...contestants.map(({ times }) => median(times)), heap.size / 2 ** 20])
  }
  return {
    title: 'Time of an operation as the heap grows: one block freed, one allocated, at random',
    head: ['blocks', 'best, ns', 'dlmalloc, ns', 'heap, MiB'],
    rows,
    notes: [
      'No search grows with the heap; what grows is the share of operations that miss the caches and the TLB.',
    ],
  }
}

function utilisation(): Table {
  const names = readdirSync(folder).filter(name => name.endsWith('.trace'))
  const policies = ['best', 'tlsf', 'segregated', 'tree', 'explicit', 'implicit', 'buddy'] as const
  const sums = policies.map(() => 0)
  const rows = names.map(name => {
    const t = trace(name)
    const demand = demandOf(t)
    const shares = policies.map((allocator, i) => {
      const share = 100 * (measure(t, () => new Heap({ allocator }), demand)?.utilisation ?? Number.NaN)
      sums[i] = (sums[i] ?? 0) + share
      return share.toFixed(1)
    })
    return [name, ...shares]
  })
  rows.push(['mean', ...sums.map(sum => (sum / names.length).toFixed(1))])
  return { title: 'Peak utilisation in %, growth in 4 KiB', head: ['trace', ...policies], rows }
}

export const bench: Bench = {
  about: 'Allocators compiled to WebAssembly, and the collector.',
  async run({ rounds }: BenchOptions): Promise<readonly Table[]> {
    return [speed(rounds), againstThing(rounds), growth(), utilisation(), collectorTable(rounds)]
  },
}
