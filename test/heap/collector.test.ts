/** The collector against an exact oracle. Seeds: LETHE_SEED; length: LETHE_GC_OPS (10^6 for the long run). */
import { describe, expect, test } from 'vitest'
import {
  Collector,
  type CollectorOptions,
  compareWith,
  dot,
  memoryGraph,
  reachable,
} from '../../src/heap/index.ts'
import { random } from './patterns.ts'

const seed = Number(process.env['LETHE_SEED'] ?? 20_262)
const mutations = Number(process.env['LETHE_GC_OPS'] ?? 30_000)
console.log(`collector: seed ${seed}, ${mutations} random mutations for each mode`)

const FIELDS = 3

/** A program that changes a graph at random and knows it exactly. */
class Oracle {
  readonly gc: Collector
  readonly #type: number
  readonly #precise: boolean
  readonly #fields = new Map<number, number[]>()
  readonly #registers: number[] = Array.from({ length: 40 }, () => 0)
  readonly #r: () => number

  constructor(gc: Collector, precise: boolean) {
    this.gc = gc
    this.#precise = precise
    this.#type = precise ? gc.defineType({ size: 4 + 4 * FIELDS + 8, pointers: [4, 8, 12] }) : 0
    this.#r = random(seed)
  }
  #set(register: number, pointer: number): void {
    const old = this.#registers[register] as number
    this.#registers[register] = pointer
    if (old !== 0 && !this.#registers.includes(old)) this.gc.roots.delete(old)
    if (pointer !== 0) this.gc.roots.add(pointer)
  }
  /** One allocation, write, move or drop. */
  mutate(): void {
    const r = this.#r()
    const pick = (): number => Math.floor(this.#r() * this.#registers.length)
    const object = this.#registers[pick()] as number
    const field = Math.floor(this.#r() * FIELDS)
    if (r < 0.35) {
      const p = this.#precise ? this.gc.allocate(this.#type) : this.gc.allocateBytes(4 + 4 * FIELDS)
      if (p === 0) throw new Error('out of memory')
      this.#fields.set(p, [0, 0, 0])
      this.#set(pick(), p)
    } else if (r < 0.75 && object !== 0) {
      const target = r < 0.65 ? (this.#registers[pick()] as number) : 0
      this.gc.write(object, 4 + 4 * field, target)
      ;(this.#fields.get(object) as number[])[field] = target
    } else if (r < 0.95 && object !== 0)
      this.#set(pick(), (this.#fields.get(object) as number[])[field] as number)
    else this.#set(pick(), 0)
  }
  /** What is reachable, from our own books; the books of the rest are thrown away. */
  reachable(): Set<number> {
    const found = new Set<number>()
    const left = this.#registers.filter(p => p !== 0)
    for (let p = left.pop(); p !== undefined; p = left.pop()) {
      if (found.has(p)) continue
      found.add(p)
      const fields = this.#fields.get(p)
      if (fields === undefined) throw new Error(`${p} is reachable and unknown`)
      fields.forEach((target, i) => {
        if (this.gc.read(p, 4 + 4 * i) !== target) throw new Error(`Field ${i} of ${p} was changed`)
        if (target !== 0) left.push(target)
      })
    }
    for (const p of this.#fields.keys()) if (!found.has(p)) this.#fields.delete(p)
    return found
  }
}

const modes: [string, CollectorOptions][] = [
  ['precise', {}],
  ['precise, as TypeScript', { script: true }],
  ['precise, incremental and lazy', { incremental: 5, lazy: 2 }],
  ['precise, with a mark stack of four objects', { stack: 16 }],
  ['precise, incremental with a tiny stack', { stack: 16, incremental: 3, lazy: 1 }],
  ['conservative', { mode: 'conservative' }],
  ['conservative with interior pointers', { mode: 'conservative', interior: true, lazy: 7 }],
]

describe.each(modes)('%s', (_, options) => {
  test('nothing reachable is freed, and at least 99 % of the rest is', {
    timeout: 20_000 + mutations / 2,
  }, () => {
    const gc = new Collector({ limit: 1 << 24, ...options })
    const oracle = new Oracle(gc, options.mode !== 'conservative')
    let kept = 0
    let garbage = 0
    for (let k = 1; k <= mutations; k++) {
      oracle.mutate()
      if (k % 500 === 0 && (options.incremental ?? 0) > 0) gc.startMarking()
      if (k % Math.max(2000, mutations / 50) !== 0) continue
      const alive = oracle.reachable()
      expect(compareWith(gc, alive).lost).toBe(0)
      // A marking that is under way keeps what died since it began: two collections see all.
      gc.collect()
      gc.collect()
      const { kept: left, lost } = compareWith(gc, alive)
      expect(lost).toBe(0)
      expect(gc.check()).toBeUndefined()
      kept += left
      garbage += gc.statistics.reclaimedInAll
      if (options.mode !== 'conservative') expect(left).toBe(0)
    }
    expect(kept).toBeLessThanOrEqual(garbage / 100)
  })
})

test('an allocation that finds no room collects and succeeds', () => {
  const gc = new Collector({ limit: 1 << 20, growth: 1e9 })
  let failed = 0
  for (let i = 0; i < 100_000; i++) if (gc.allocate(gc.array, 100) === 0) failed++
  expect(failed).toBe(0)
  expect(gc.statistics.collections).toBeGreaterThan(5)
  expect(gc.size).toBeLessThanOrEqual(1 << 20)
})

test('a conservative collector keeps what only looks like a pointer, and the oracle says so', () => {
  const gc = new Collector({ mode: 'conservative' })
  const holder = gc.allocateBytes(16)
  const victim = gc.allocateBytes(16)
  gc.roots.add(holder)
  gc.memory.store32(holder, victim) // a number that happens to be an address
  gc.collect()
  expect(compareWith(gc, new Set([holder]))).toEqual({ kept: 1, lost: 0 })
})

test('interior pointers count only where they are asked for', () => {
  for (const interior of [false, true]) {
    const gc = new Collector({ mode: 'conservative', interior })
    const holder = gc.allocateBytes(8)
    const big = gc.allocateBytes(10_000)
    gc.roots.add(holder)
    gc.write(holder, 0, big + 5000)
    gc.collect()
    expect(gc.isObject(big)).toBe(interior)
  }
})

test('root ranges are looked through for pointers', () => {
  const gc = new Collector()
  const stack = gc.allocate(gc.array, 400)
  gc.roots.add(stack)
  gc.rootRanges.add({ from: stack, to: stack + 400 })
  const leaf = gc.allocate(gc.array, 12)
  gc.memory.store32(stack + 396, leaf)
  gc.collect()
  expect(gc.isObject(leaf)).toBe(true)
})

test('a weak reference becomes 0 with its object, a finaliser sees the object whole, once', () => {
  const gc = new Collector()
  const a = gc.allocate(gc.array, 12)
  const b = gc.allocate(gc.array, 12)
  gc.write(a, 4, b)
  gc.roots.add(a)
  const weak = gc.weak(b)
  const seen: number[] = []
  gc.finalise(a, p => seen.push(p, gc.read(p, 4)))
  gc.collect()
  expect([weak.pointer, seen]).toEqual([b, []])
  gc.roots.delete(a)
  gc.collect()
  expect([weak.pointer, seen]).toEqual([0, [a, b]])
  expect(gc.isObject(b)).toBe(true)
  gc.collect()
  expect([gc.isObject(a), gc.isObject(b), gc.objects]).toEqual([false, false, 0])
  expect(seen.length).toBe(2)
})

test('the memory graph names roots, edges and garbage', () => {
  const gc = new Collector()
  const a = gc.allocate(gc.array, 12)
  const b = gc.allocate(gc.array, 12)
  const lost = gc.allocate(gc.array, 12)
  gc.roots.add(a)
  gc.write(a, 8, b)
  gc.write(lost, 4, a)
  const graph = memoryGraph(gc)
  expect(graph.roots).toEqual([a])
  expect(graph.edges).toEqual([
    { from: a, distance: 8, to: b },
    { from: lost, distance: 4, to: a },
  ])
  expect(graph.nodes.map(({ at, reachable: lives }) => [at, lives])).toEqual([
    [a, true],
    [b, true],
    [lost, false],
  ])
  expect(reachable(gc)).toEqual(new Set([a, b]))
  expect(dot(graph)).toContain(`n${lost} [label="${lost}\\n12 bytes", style=filled, fillcolor=grey];`)
})
