// malloc as WebAssembly beside wasi-libc's dlmalloc and @thi.ng/malloc; the collector beside V8's.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemPool } from '@thi.ng/malloc'
import { Heap } from '../src/heap/index.ts'
import { demandOf, measure } from '../src/heap/measure.ts'
import { parseTrace, type Trace } from '../src/heap/trace.ts'
import { random } from '../test/heap/patterns.ts'
import { dlmalloc, type Malloc } from './lib/dlmalloc.ts'
import { collectorTable } from './lib/gcbench.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

/** Operations made beforehand: slot k is allocated, or freed where bytes is -1. */
interface Load {
  readonly name: string
  readonly slots: number
  readonly slot: Int32Array
  readonly bytes: Int32Array
}

const folder = join(import.meta.dirname, '../test/data/malloc')
const trace = (name: string): Trace => parseTrace(readFileSync(join(folder, name), 'utf8'))

function ofTrace(name: string): Load {
  const { id, bytes, kind, ids, length } = trace(`${name}.trace`)
  const column = Int32Array.from({ length }, (_, i) => (kind[i] === 4 ? -1 : (bytes[i] as number)))
  return { name, slots: ids, slot: id, bytes: column }
}

// `live` blocks of `size`; then one is freed and one allocated, at random places.
function churn(name: string, live: number, steps: number, size: (r: () => number) => number): Load {
  const r = random(1)
  const length = live + 2 * steps
  const slot = new Int32Array(length)
  const bytes = new Int32Array(length)
  for (let i = 0; i < live; i++) {
    slot[i] = i
    bytes[i] = size(r)
  }
  for (let i = live; i < length; i += 2) {
    const at = Math.floor(r() * live)
    slot[i] = at
    bytes[i] = -1
    slot[i + 1] = at
    bytes[i + 1] = size(r)
  }
  return { name, slots: live, slot, bytes }
}

// A queue of `live` blocks: the oldest is freed, then one allocated.
function queue(name: string, live: number, steps: number, size: (r: () => number) => number): Load {
  const load = churn(name, live, steps, size)
  for (let i = 0; i < 2 * steps; i++) load.slot[live + i] = (i >> 1) % live
  return load
}

const mixed = (r: () => number): number => Math.floor(2 ** (3 + 6 * r()))

// Operations from `from` on; ms.
function run(
  { malloc, free }: Pick<Malloc, 'malloc' | 'free'>,
  load: Load,
  pointers: Int32Array,
  from: number,
): number {
  const { slot, bytes } = load
  const began = performance.now()
  for (let i = from; i < slot.length; i++) {
    const at = slot[i] as number
    const size = bytes[i] as number
    if (size < 0) {
      free(pointers[at] as number)
      pointers[at] = 0
    } else pointers[at] = malloc(size)
  }
  return performance.now() - began
}

function empty({ free }: Pick<Malloc, 'free'>, pointers: Int32Array): void {
  for (const pointer of pointers) if (pointer !== 0) free(pointer)
  pointers.fill(0)
}

function pool(): Pick<Malloc, 'malloc' | 'free'> {
  const inner = new MemPool({ size: 1 << 28, align: 8 })
  return { malloc: bytes => inner.malloc(bytes), free: pointer => void inner.free(pointer) }
}

type Contestant = readonly [name: string, allocator: Pick<Malloc, 'malloc' | 'free'>]

// Millions of operations a second, medians of rounds in turns.
function race(
  load: Load,
  contestants: readonly Contestant[],
  rounds: number,
  least: number,
): Map<string, number> {
  const pointers = new Int32Array(load.slots)
  const times = new Map(contestants.map(([name]) => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++)
    for (const [name, allocator] of rotated(contestants, round)) {
      let time = 0
      let operations = 0
      do {
        time += run(allocator, load, pointers, 0)
        operations += load.slot.length
        empty(allocator, pointers)
      } while (time < least)
      if (round > 0) times.get(name)?.push(operations / time / 1000)
    }
  return new Map([...times].map(([name, all]) => [name, median(all)]))
}

function speed(rounds: number): Table {
  const loads = [
    ofTrace('dogfood'),
    ofTrace('gcc-hello'),
    ofTrace('ffmpeg'),
    ofTrace('find'),
    ofTrace('source-map'),
    churn('1,000 blocks of 32 bytes', 1000, 50_000, () => 32),
    churn('1,000 blocks of 8 to 512', 1000, 50_000, mixed),
    churn('100,000 blocks of 8 to 512', 100_000, 100_000, mixed),
    queue('queue of 1,000, 8 to 263', 1000, 50_000, r => 8 + Math.floor(256 * r())),
  ]
  const ratios: number[] = []
  const rows = loads.map(load => {
    const contestants: Contestant[] = [
      ['dlmalloc', dlmalloc()],
      ['best', new Heap().functions],
      ['tlsf', new Heap({ allocator: 'tlsf' }).functions],
    ]
    const result = race(load, contestants, rounds + 2, 20)
    const of = (name: string): number => result.get(name) ?? Number.NaN
    ratios.push(of('best') / of('dlmalloc'))
    return [load.name, of('dlmalloc'), of('best'), of('tlsf'), of('best') / of('dlmalloc')]
  })
  return {
    title: 'Millions of operations a second, called from JavaScript',
    head: ['load', 'dlmalloc (wasi-libc)', 'best', 'tlsf', 'best / dlmalloc'],
    rows,
    notes: ['Both are WebAssembly with -O2 or -O3; the loop that calls them is the same.'],
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
    const dl = dlmalloc()
    const times = [heap.functions, dl].map(allocator => {
      const pointers = new Int32Array(live)
      run(allocator, { ...load, slot: load.slot.subarray(0, live) }, pointers, 0)
      const time = run(allocator, load, pointers, live)
      return (time / 400_000) * 1e6
    })
    rows.push([live, ...(times as number[]), heap.size / 2 ** 20])
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
