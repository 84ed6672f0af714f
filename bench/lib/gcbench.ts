// Boehm's GCBench (Ellis, Kovac, Boehm), on our collector and on V8's.
import { Collector } from '../../src/heap/index.ts'
import { median } from './stats.ts'
import { atLeast, type Table } from './table.ts'

const STRETCH = 16
const LONG_LIVED = 15
const LEAST = 4
const ARRAY = 100_000
const nodes = (depth: number): number => 2 ** (depth + 1) - 1
const repeats = (depth: number): number => (2 * nodes(STRETCH)) / nodes(depth)

interface Node {
  left: Node | undefined
  right: Node | undefined
  i: number
  j: number
}

const node = (left?: Node, right?: Node): Node => ({ left, right, i: 0, j: 0 })

function native(): number {
  const began = performance.now()
  const make = (depth: number): Node => (depth <= 0 ? node() : node(make(depth - 1), make(depth - 1)))
  const populate = (depth: number, at: Node): void => {
    if (depth <= 0) return
    at.left = node()
    at.right = node()
    populate(depth - 1, at.left)
    populate(depth - 1, at.right)
  }
  make(STRETCH)
  const long = node()
  populate(LONG_LIVED, long)
  const array = new Float64Array(ARRAY)
  for (let i = 1; i < ARRAY / 2; i++) array[i] = 1 / i
  for (let depth = LEAST; depth <= STRETCH; depth += 2)
    for (let i = 0; i < repeats(depth); i++) {
      populate(depth, node())
      make(depth)
    }
  if (long.left === undefined || array[1000] !== 1 / 1000) throw new Error('GCBench failed')
  return performance.now() - began
}

function ours(gc: Collector): number {
  const began = performance.now()
  const type = gc.defineType({ size: 20, pointers: [4, 8] })
  // What a C program would have on its stack, the collector gets as a range of roots.
  const depthLimit = 64
  const stack = gc.allocate(gc.array, 4 + 4 * depthLimit)
  gc.roots.add(stack)
  let top = 4
  const push = (p: number): number => {
    gc.write(stack, top, p)
    top += 4
    return p
  }
  const pop = (): void => {
    top -= 4
    gc.write(stack, top, 0)
  }
  const make = (depth: number): number => {
    if (depth <= 0) return gc.allocate(type)
    const left = push(make(depth - 1))
    const right = push(make(depth - 1))
    const p = gc.allocate(type)
    gc.write(p, 4, left)
    gc.write(p, 8, right)
    pop()
    pop()
    return p
  }
  const populate = (depth: number, at: number): void => {
    if (depth <= 0) return
    gc.write(at, 4, gc.allocate(type))
    gc.write(at, 8, gc.allocate(type))
    populate(depth - 1, gc.read(at, 4))
    populate(depth - 1, gc.read(at, 8))
  }
  make(STRETCH)
  const long = push(gc.allocate(type))
  populate(LONG_LIVED, long)
  for (let depth = LEAST; depth <= STRETCH; depth += 2)
    for (let i = 0; i < repeats(depth); i++) {
      populate(depth, push(gc.allocate(type)))
      pop()
      make(depth)
    }
  if (gc.read(long, 4) === 0) throw new Error('GCBench failed')
  return performance.now() - began
}

// A tree of two million objects, marked again and again.
function marking(rounds: number): number {
  const gc = new Collector({ growth: 1e9 })
  const type = gc.defineType({ size: 12, pointers: [4, 8] })
  const all: number[] = [gc.allocate(type)]
  gc.roots.add(all[0] as number)
  for (let i = 0; all.length < 2_000_000; i++)
    for (const at of [4, 8]) {
      const p = gc.allocate(type)
      gc.write(all[i] as number, at, p)
      all.push(p)
    }
  const speeds: number[] = []
  for (let round = 0; round < rounds + 1; round++) {
    gc.collect()
    if (round > 0) speeds.push(gc.statistics.markedPerSecond / 1e6)
  }
  return median(speeds)
}

export function collectorTable(rounds: number): Table {
  const rows: (string | number)[][] = []
  const times: number[][] = [[], [], []]
  let last: Collector | undefined
  let lazy: Collector | undefined
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    times[0]?.push(native())
    last = new Collector()
    times[1]?.push(ours(last))
    lazy = new Collector({ incremental: 200, lazy: 200 })
    times[2]?.push(ours(lazy))
  }
  const [v8 = 0, whole = 0, stepped = 0] = times.map(median)
  rows.push(['V8', v8, '', ''])
  for (const [name, time, gc] of [
    ['Collector', whole, last],
    ['Collector, incremental and lazy', stepped, lazy],
  ] as const)
    rows.push([name, time, gc?.statistics.collections ?? 0, gc?.statistics.longestPause ?? 0])
  const speed = marking(rounds)
  return {
    title: "Boehm's GCBench, trees of up to 131,071 nodes",
    head: ['collector', 'ms', 'collections', 'longest pause, ms'],
    rows,
    notes: [`Marking a tree of 2,000,000 objects: ${speed.toFixed(1)} million objects a second.`],
    goals: [atLeast('million objects marked a second', 10, speed, 'M/s')],
  }
}
