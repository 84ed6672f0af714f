/** Heap, traces, measures and the checked mode. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  allPolicies,
  FootprintMemory,
  ArrayMemory,
  formatTrace,
  Heap,
  HeapError,
  type HeapErrorCode,
  kindOf,
  parsePolicy,
  parseTrace,
  policyName,
  replay,
} from '../../src/heap/index.ts'
import { demandOf, measure } from '../../src/heap/measure.ts'
import { isCalm } from '../../src/heap/code/best-quick.ts'
import { PAGED } from '../../src/heap/code/best-runs.ts'
import { bind } from '../../src/heap/code/words.ts'
import { STATE } from '../../src/heap/memory.ts'
import { linearMemory } from '../../src/heap/wasm.ts'
import { demandWhole, Model } from './model.ts'
import { classics, mixes, random as randomNumbers, randomTrace } from './patterns.ts'

const folder = join(import.meta.dirname, '../data/malloc')
const traces = readdirSync(folder).filter(name => name.endsWith('.trace'))
const load = (name: string) => parseTrace(readFileSync(join(folder, name), 'utf8'))
const long = process.env['LETHE_HEAP_OPS'] !== undefined

describe('utilisation of the default allocator', () => {
  // Exact: a change of placement must be seen here. With growth in 4 KiB and payloads of whole multiples of 8 the mean of the nine real traces
  // can be 98.1 at most, with a 4-byte header on every block 94.7; it is 96.7.
  const golden: Readonly<Record<string, number>> = {
    'cpp-demangle.trace': 98.9,
    'dogfood.trace': 95.6,
    'ffmpeg.trace': 97.0,
    'find.trace': 95.5,
    'gcc-hello.trace': 99.4,
    'grep-random-data.trace': 87.8,
    'grep-recursive.trace': 98.9,
    'ls.trace': 97.6,
    'source-map.trace': 99.2,
    binary: 95.3,
    binary2: 93.1,
    coalescing: 100,
    realloc: 99.4,
    realloc2: 98.1,
  }
  test.each(Object.keys(golden))('%s', name => {
    const trace = name.endsWith('.trace') ? load(name) : (classics[name]?.() ?? load(name))
    const { utilisation } = replay(trace, new Heap(), { verify: true })
    expect(Number((100 * utilisation).toFixed(1))).toBe(golden[name])
  })
})

describe('every policy passes real and known traces with contents and heap checked', () => {
  const some = traces.filter(name => long || load(name).length < 300)
  test.each(allPolicies.map(policyName))('%s', { timeout: long ? 600_000 : 20_000 }, name => {
    const policy = parsePolicy(name)
    for (const file of some) {
      const trace = load(file)
      replay(trace, new Heap(policy), { verify: true, checkEvery: long ? Math.ceil(trace.length / 2000) : 1 })
    }
    const trace = randomTrace(9, long ? 20_000 : 400, r => Math.floor(2 ** (12 * r())), 0.1)
    replay(trace, new Heap(policy), { verify: true, checkEvery: long ? 100 : 4 })
  })
})

describe('a heap larger than caches', () => {
  const paged = ({ memory }: Heap): boolean => memory.load32(memory.base + PAGED) !== 0
  test('lists what is freed in pages, and is whole all the while', () => {
    const heap = new Heap()
    const model = new Model(heap, 11, 6000)
    let first = 0
    for (let k = 1; k <= 150_000; k++) {
      model.step()
      if (k % 3000 === 0) demandWhole(heap)
      if (first === 0 && paged(heap)) first = k
    }
    expect(first).toBeGreaterThan(0)
    model.end()
    demandWhole(heap)
  })
  test('takes a queue of small blocks from runs, and all that was freed again', () => {
    const heap = new Heap()
    const r = randomNumbers(3)
    const live = new Map<number, number>()
    const queue: number[] = []
    const malloc = (): void => {
      const bytes = 8 + Math.floor(256 * r())
      const p = heap.malloc(bytes)
      for (let at = p; at < p + bytes; at += 8) {
        if (live.has(at)) throw new Error(`${at} was given twice`)
        live.set(at, bytes)
      }
      queue.push(p)
    }
    const free = (): void => {
      const p = queue.shift() ?? 0
      const bytes = live.get(p) ?? 0
      for (let at = p; at < p + bytes; at += 8) live.delete(at)
      heap.free(p)
    }
    for (let k = 0; k < 30_000; k++) malloc()
    for (let k = 0; k < 60_000; k++) {
      free()
      malloc()
    }
    expect(paged(heap)).toBe(true)
    demandWhole(heap)
    const { size } = heap
    while (queue.length > 0) free()
    demandWhole(heap)
    for (let k = 0; k < 29_000; k++) malloc()
    expect(heap.size).toBe(size)
    demandWhole(heap)
  })
})

describe('a heap that has found its size', () => {
  const calm = (heap: Heap): boolean => {
    bind(heap.memory)
    return isCalm()
  }
  test('keeps what is freed for the next request, and is whole all the while', () => {
    const heap = new Heap()
    const model = new Model(heap, 7, 60)
    let first = 0
    for (let k = 1; k <= 12_000; k++) {
      model.step()
      if (k % 20 === 0) demandWhole(heap)
      if (first === 0 && calm(heap)) first = k
    }
    expect(first).toBeGreaterThan(0)
    model.end()
    demandWhole(heap)
  })
  test('is not calm any more when it grows', () => {
    const heap = new Heap()
    const blocks = Array.from({ length: 100 }, () => heap.malloc(1000))
    for (let k = 0; k < 2000; k++) {
      heap.free(blocks[k % 100] as number)
      blocks[k % 100] = heap.malloc(1000)
    }
    expect(calm(heap)).toBe(true)
    const { size } = heap
    const p = heap.malloc(30_000)
    expect(heap.size).toBeGreaterThan(size)
    expect(calm(heap)).toBe(false)
    heap.free(p)
    demandWhole(heap)
  })
})

describe('traces', () => {
  test('a .rep trace, as CS:APP writes it', () => {
    const trace = parseTrace('20000\n2\n5\n1\na 0 512\na 1 128\nr 0 640\nf 1\nf 0\n')
    expect([trace.format, trace.length, trace.ids]).toEqual(['csapp', 5, 2])
    expect([0, 1, 2, 3].map(i => kindOf(trace, i))).toEqual(['alloc', 'alloc', 'realloc', 'free'])
    expect(demandOf(trace)).toMatchObject({ peak: 768, peakAt: 2 })
  })
  test('free of NULL, realloc of nothing and to nothing', () => {
    const trace = parseTrace('1\n3\n4\n0\nf -1\nr 0 10\nr 0 0\nr 0 20\n')
    expect(replay(trace, new Heap(), { verify: true, checkEvery: 1 }).peakPayload).toBe(20)
  })
  test('wee_alloc: a second free does nothing', () => {
    expect(parseTrace('Alloc(8),\nFree(0),\nFree(0),\n').length).toBe(2)
  })
  test('our own format survives writing and reading', () => {
    const text =
      '# lethe malloc trace 1\na 0 10 main.c:3\nc 1 20 @0\nm 2 30 64 lib.so+0x10 f\nr 0 40 other.c:9\nf 1\n'
    const trace = parseTrace(text)
    expect(trace.sites).toEqual(['main.c:3', 'lib.so+0x10 f', 'other.c:9'])
    expect(formatTrace(trace)).toBe(text)
    const { utilisation } = replay(trace, new Heap(), { verify: true, checkEvery: 1 })
    expect(utilisation).toBeGreaterThan(0)
  })
  test.each([
    ['', /it is empty/],
    ['hello\n', /line 1: 'hello' begins neither/],
    ['1\n1\n1\n1\n', /no operation/],
    ['1\n1\n1\n1\na 0 x\n', /line 5: 'NaN' is not a number of bytes/],
    ['1\n1\n1\n1\na 0 5\na 0 5\n', /line 6: block 0 is allocated, but it already is/],
    ['1\n1\n1\n1\nf 3\n', /line 5: block 3 is freed, but it is not allocated/],
    ['1\n1\n1\n1\na 0\n', /line 5: 'a 0' ends too early/],
    ['1\n1\n1\n1\nq 0 1\n', /line 5: 'q 0 1' is no operation/],
    ['Alloc(5),\nAlloc 6\n', /line 2: 'Alloc 6' is neither/],
    ['Alloc(5),\nFree(1),\n', /line 2: Free\(1\) before/],
    ['# lethe malloc trace 1\nm 0 5 3\n', /line 2: '3' is not an alignment/],
  ])('%j is refused', (text, message) => {
    expect(() => parseTrace(text)).toThrow(message)
  })
})

describe('a heap in any memory', () => {
  test('in a WebAssembly memory, behind what a program has there', () => {
    const memory = linearMemory()
    new Uint8Array(memory.buffer).fill(9, 0, 4096)
    const heap = new Heap({ memory, base: 4096 })
    const p = heap.malloc(200_000)
    expect(p).toBe(4096 + STATE)
    heap.bytes().fill(1, p, p + 200_000)
    expect(new Uint8Array(memory.buffer, 0, 4096).every(byte => byte === 9)).toBe(true)
    expect(heap.check()).toBeUndefined()
  })
  test('two heaps share a WebAssembly memory', () => {
    const memory = linearMemory()
    const a = new Heap({ memory, limit: 1 << 20 })
    const b = new Heap({ memory, base: 1 << 20, allocator: 'tlsf' })
    const blocks = Array.from({ length: 100 }, (_, i) => [a.malloc(i * 20), b.malloc(i * 20)])
    expect(blocks.every(([p = 0, q = 0]) => p > 0 && p < 1 << 20 && q > 1 << 20)).toBe(true)
    expect([a.check(), b.check()]).toEqual([undefined, undefined])
  })
  test('counts the pages and cache lines that the allocator touches', () => {
    const memory = new FootprintMemory(new ArrayMemory(new ArrayBuffer(1 << 20)))
    const heap = new Heap({ memory })
    memory.reset()
    heap.free(heap.malloc(100))
    // Two of the allocator's variables, one of the heap.
    expect(memory.pages).toBe(3)
    expect(memory.lines).toBeGreaterThan(1)
    expect(memory.lines).toBeLessThan(20)
  })
  test('refuses memory without room, and policies that do not exist', () => {
    expect(() => new Heap({ memory: new ArrayBuffer(64) })).toThrow('Invalid heap from 0 to 64 in 64 bytes')
    expect(() => new Heap({ memory: new ArrayBuffer(1 << 16), base: 8 })).toThrow('Invalid base 8')
    expect(() => new Heap({ allocator: 'buddy', placement: 'first' })).toThrow(
      "Invalid placement 'first' for buddy: it can be best",
    )
    expect(() => parsePolicy('explicit worst')).toThrow("Invalid word 'worst'")
  })
  test('names policies so that they can be read back', () => {
    for (const policy of allPolicies) expect(parsePolicy(policyName(policy))).toEqual(policy)
    expect(policyName(parsePolicy('implicit split=64 align=16'))).toBe('implicit first split=64 align=16')
  })
})

test('a block cut from the end of the zone has a header, if it lies outside', () => {
  const heap = new Heap({ memory: new ArrayBuffer(1 << 20) })
  heap.malloc(60_000)
  const over = heap.malloc(10_000)
  heap.malloc(100_000)
  heap.free(over)
  for (let i = 0; i < 200; i++) heap.malloc(8)
  const p = heap.malloc(240)
  const block = [...heap.blocks()].find(({ at }) => at === p)
  expect(block).toEqual({ at: p, size: 248, allocated: true })
  expect(p).toBeLessThan(over + 10_000)
  expect(heap.check()).toBeUndefined()
  heap.free(p)
  expect(heap.check()).toBeUndefined()
})

describe('runs of best', () => {
  const small = (): Heap => new Heap({ memory: new ArrayBuffer(6 << 20) })
  test('keep many small blocks without headers, and give their memory back for large ones', () => {
    const heap = small()
    const blocks = Array.from({ length: 10_000 }, () => heap.malloc(24))
    expect([...heap.blocks()].filter(block => block.bare && block.allocated).length).toBeGreaterThan(9900)
    expect([...heap.blocks()].filter(block => block.slot && block.allocated).length).toBeGreaterThan(7000)
    expect((10_000 * 24) / heap.size).toBeGreaterThan(0.97)
    for (const p of blocks) heap.free(p)
    expect(heap.check()).toBeUndefined()
    const before = heap.size
    expect(heap.malloc(before - 2048)).not.toBe(0)
    expect(heap.size).toBeLessThanOrEqual(before + 4096)
    expect(heap.check()).toBeUndefined()
  })
  test('may lie on both sides of 2 and 4 MiB, where the map has other leaves', () => {
    const heap = small()
    const blocks = Array.from({ length: 100_000 }, () => heap.malloc(48))
    expect(heap.size).toBeGreaterThan(4.5 * 2 ** 20)
    expect(heap.check()).toBeUndefined()
    for (const p of blocks) if (p % 5 > 1) heap.free(p)
    expect(heap.check()).toBeUndefined()
  })
  test('are left by realloc with the contents', () => {
    const heap = small()
    const blocks = Array.from({ length: 1000 }, () => heap.malloc(16))
    const at = blocks[999] as number
    expect(heap.usableSize(at)).toBe(16)
    heap.bytes().fill(7, at, at + 16)
    const moved = heap.realloc(at, 4000)
    expect(
      heap
        .bytes()
        .subarray(moved, moved + 16)
        .every(byte => byte === 7),
    ).toBe(true)
    expect(heap.check()).toBeUndefined()
  })
})

test('a larger split threshold makes no block below it, and never coalescing shows false fragmentation', () => {
  const heap = new Heap({ allocator: 'explicit', split: 64 })
  replay(
    randomTrace(11, 500, r => Math.floor(300 * r())),
    heap,
    {
      each: () => {
        expect(Math.min(...[...heap.blocks()].map(block => block.size))).toBeGreaterThanOrEqual(16)
      },
    },
  )
  const never = new Heap({ allocator: 'explicit', coalescing: 'never', memory: new ArrayBuffer(3 * 4096) })
  const blocks = Array.from({ length: 7 }, () => never.malloc(1000))
  for (const p of blocks) never.free(p)
  expect(never.malloc(4000)).toBe(0)
  const merged = new Heap({
    allocator: 'explicit',
    coalescing: 'deferred',
    memory: new ArrayBuffer(3 * 4096),
  })
  for (const p of Array.from({ length: 7 }, () => merged.malloc(1000))) merged.free(p)
  expect(merged.malloc(4000)).not.toBe(0)
})

test('measure and replay agree', () => {
  const trace = (mixes['mixed'] as () => ReturnType<typeof randomTrace>)()
  const result = replay(trace, new Heap())
  const measured = measure(trace, () => new Heap(), demandOf(trace))
  expect(measured).toMatchObject({
    peakPayload: result.peakPayload,
    heapSize: result.heapSize,
    utilisation: result.utilisation,
    atPeak: result.atPeak,
  })
})

describe('the checked mode finds', () => {
  const make = () => new Heap({ checked: true, memory: new ArrayBuffer(1 << 18) })
  const mistake = (act: (heap: Heap) => void): HeapErrorCode | 'nothing' => {
    try {
      act(make())
    } catch (error) {
      if (error instanceof HeapError) return error.code
      throw error
    }
    return 'nothing'
  }
  const cases: [HeapErrorCode | 'nothing', string, (heap: Heap) => void][] = [
    [
      'double-free',
      'a second free',
      h => {
        const p = h.malloc(8)
        h.free(p)
        h.free(p)
      },
    ],
    ['invalid-free', 'a free of what never was', h => h.free(h.malloc(8) + 4096)],
    ['invalid-free', "a free of a block's middle", h => h.free(h.malloc(80) + 8)],
    [
      'overrun',
      'a byte behind a block',
      h => {
        const p = h.malloc(10)
        h.bytes()[p + 10] = 1
        h.free(p)
      },
    ],
    [
      'underrun',
      'a byte before a block',
      h => {
        const p = h.malloc(10)
        h.bytes()[p - 1] = 1
        h.free(p)
      },
    ],
    [
      'use-after-free',
      'realloc after free',
      h => {
        const p = h.malloc(8)
        h.free(p)
        h.realloc(p, 9)
      },
    ],
    [
      'use-after-free',
      'a write after free',
      h => {
        const p = h.malloc(8)
        h.free(p)
        h.bytes()[p + 3] = 1
        h.leaks()
      },
    ],
    [
      'corrupt',
      'a header written over',
      h => {
        h.malloc(70_000)
        const p = h.malloc(8)
        h.memory.store32(p - 12, 0)
        h.malloc(1)
      },
    ],
    [
      'corrupt',
      "the allocator's tables written over",
      h => {
        h.malloc(8)
        h.memory.zero(h.memory.base + 2048, 1024)
        h.malloc(1)
      },
    ],
    [
      'nothing',
      'no mistake',
      h => {
        const p = h.realloc(h.calloc(3, 5), 90)
        h.free(h.alignedAlloc(64, 9))
        h.free(p)
        h.leaks()
      },
    ],
  ]
  test.each(cases)('%s: %s', (code, _, act) => {
    expect(mistake(act)).toBe(code)
  })
  test('leaks, with their sites', () => {
    const heap = make()
    const p = heap.malloc(77)
    heap.free(heap.malloc(5))
    expect(heap.leaks()).toEqual([{ pointer: p, bytes: 77, site: expect.stringContaining('heap.test.ts') }])
    expect(() => new Heap().leaks()).toThrow('{ checked: true }')
  })
})

test('the public surface of lethe/heap', async () => {
  expect(Object.keys(await import('../../src/heap/index.ts')).sort()).toEqual([
    'ArrayMemory',
    'Collector',
    'FootprintMemory',
    'Heap',
    'HeapError',
    'ReplayError',
    'STATE',
    'TraceError',
    'allPolicies',
    'allocatorNames',
    'choices',
    'compareWith',
    'dot',
    'formatTrace',
    'kindOf',
    'memoryGraph',
    'parsePolicy',
    'parseTrace',
    'policy',
    'policyName',
    'reachable',
    'replay',
  ])
})
