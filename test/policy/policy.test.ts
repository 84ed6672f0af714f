/** Replacement policies: exact counts, plain models, what each must keep to, and what the pager does beyond replaying a trace. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createOpt,
  createPolicy,
  defaultPolicy,
  HIT,
  NONE,
  PageNumbers,
  type Policy,
  policyNames,
  simulate,
} from '../../src/policy/index.ts'
import { models } from './models.ts'
import { fractions, mixed } from './traces.ts'

const misses = (name: string, trace: Int32Array, frames: number): number =>
  simulate(name === 'opt' ? createOpt(frames, trace) : make(name, frames), trace).misses
const make = (name: string, frames: number): Policy =>
  createPolicy(policyNames.find(known => known === name) ?? defaultPolicy, frames)

describe("Belady's sequence, worked by hand", () => {
  const belady = Int32Array.of(1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5)
  test.each([
    ['fifo', 3, 9],
    ['fifo', 4, 10],
    ['lru', 3, 10],
    ['lru', 4, 8],
    ['opt', 3, 7],
    ['opt', 4, 6],
    ['clock', 3, 10],
    ['second-chance', 4, 10],
  ])('%s with %i frames misses %i times', (name, frames, expected) => {
    expect(misses(name, belady, frames)).toBe(expected)
  })
})

// Counts of the authors' own programs, lirs.c and clock-pro.c, on mixed(seed, 30,000).
test.each([
  [1, 10, 26227, 26333],
  [1, 25, 23434, 23963],
  [1, 64, 18640, 19715],
  [1, 100, 16421, 17815],
  [1, 150, 13648, 15083],
  [1, 300, 6334, 6285],
  [2, 10, 26154, 26284],
  [2, 25, 23350, 23857],
  [2, 64, 18500, 19472],
  [2, 100, 16258, 17639],
  [2, 150, 13403, 14820],
  [2, 300, 6152, 6097],
  [3, 10, 26171, 26299],
  [3, 25, 23376, 23870],
  [3, 64, 18526, 19539],
  [3, 100, 16310, 17676],
  [3, 150, 13511, 14921],
  [3, 300, 6219, 6176],
])('LIRS and CLOCK-Pro count as their authors do: seed %i, %i frames', (seed, frames, lirs, clockPro) => {
  const trace = mixed(seed, 30_000)
  expect(misses('lirs', trace, frames)).toBe(lirs)
  expect(misses('clock-pro', trace, frames)).toBe(clockPro)
})

// Counts of libCacheSim (its C files, objects of size 1) on mixed(seed, 30,000) with 25, 100 and 300 frames.
test.each<[number, string, number[]]>([
  [1, 'fifo', [25942, 21263, 11307]],
  [1, 'lru', [25568, 20463, 10115]],
  [1, 'clock', [25428, 20161, 9994]],
  [1, '2q', [24346, 18483, 8926]],
  [1, 'arc', [24128, 17990, 6094]],
  [1, 's3-fifo', [23787, 17579, 6358]],
  [1, 'sieve', [23902, 17645, 6274]],
  [2, 'fifo', [25824, 21026, 11134]],
  [2, 'lru', [25465, 20255, 9924]],
  [2, 'clock', [25330, 19962, 9826]],
  [2, '2q', [24232, 18206, 8767]],
  [2, 'arc', [24087, 17832, 5911]],
  [2, 's3-fifo', [23710, 17380, 6192]],
  [2, 'sieve', [23770, 17485, 5925]],
])('trace %i: %s misses as often as in libCacheSim', (seed, name, expected) => {
  const trace = mixed(seed, 30_000)
  expect([25, 100, 300].map(frames => misses(name, trace, frames))).toEqual(expected)
})

// The same with 21, 26, 103 and 302 frames, which neither four nor ten divides: quarters and tenths are rounded as libCacheSim's are.
test.each<[number, string, number[]]>([
  [1, 'slru', [24666, 24031, 17893, 15503]],
  [1, '2q', [24821, 24170, 18300, 8911]],
  [1, 'arc', [24685, 23990, 17872, 6057]],
  [1, 's3-fifo', [24353, 23625, 17504, 6338]],
  [1, 'sieve', [24532, 23800, 17559, 6074]],
  [2, 'slru', [24641, 24015, 17687, 15325]],
  [2, '2q', [24760, 24106, 18044, 8661]],
  [2, 'arc', [24611, 23920, 17692, 5862]],
  [2, 's3-fifo', [24219, 23532, 17298, 6160]],
  [2, 'sieve', [24356, 23691, 17373, 5875]],
])('trace %i, odd numbers of frames: %s misses as often as in libCacheSim', (seed, name, expected) => {
  const trace = mixed(seed, 30_000)
  expect([21, 26, 103, 302].map(frames => misses(name, trace, frames))).toEqual(expected)
})

test('SLRU gives up pages at a hit where libCacheSim evicts: the first to go, and a touch saves them', () => {
  const full = (): Policy => {
    const policy = createPolicy('slru', 5)
    // One page in each segment, and a second one in the lowest.
    for (const page of [1, 2, 3, 4, 5]) policy.access(page)
    // 5 goes up, 2 comes down, and so there is one too many: 1, the oldest.
    expect(policy.access(5)).toBe(HIT)
    return policy
  }
  const given = (policy: Policy): unknown => policy.queues().find(({ name }) => name === 'given up')?.pages
  const replayed = full()
  expect(given(replayed)).toEqual([1])
  expect(replayed.access(1)).toBe(NONE)
  expect(given(replayed)).toEqual([])
  const pager = full()
  expect([pager.resident(1), pager.residents]).toEqual([true, 5])
  pager.touch(1)
  expect(given(pager)).toEqual([])
  expect(full().admit(6)).toBe(1)
  expect(full().evict()).toBe(1)
})

test.each(Object.keys(models))('%s is its plain model, on any trace', name => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 400 }),
      fc.integer({ min: 1, max: 24 }),
      (pages, frames) => {
        const trace = Int32Array.from(pages)
        expect(misses(name, trace, frames)).toBe(models[name]?.(trace, frames))
      },
    ),
    { numRuns: 300 },
  )
  for (const frames of [7, 40, 100]) {
    const trace = mixed(frames, 4000)
    expect(misses(name, trace, frames)).toBe(models[name]?.(trace, frames))
  }
})

test('no policy misses less than OPT, and each page of the trace at least once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 500 }),
      fc.integer({ min: 1, max: 30 }),
      (pages, frames) => {
        const trace = Int32Array.from(pages)
        const least = misses('opt', trace, frames)
        for (const name of policyNames) {
          const count = misses(name, trace, frames)
          expect(count, name).toBeGreaterThanOrEqual(least)
          expect(count, name).toBeGreaterThanOrEqual(new Set(pages).size)
        }
      },
    ),
  )
})

test('what LRU holds in few frames it holds in more', () => {
  const trace = mixed(5, 5000)
  const stacks = [4, 5, 17, 90].map(frames => createPolicy('lru', frames))
  for (const page of trace) {
    for (const stack of stacks) stack.access(page)
    const held = stacks.map(stack => stack.queues()[0]?.pages ?? [])
    // The newest page first: the few are the beginning of the many.
    const most = held.at(-1) ?? []
    if (held.some(pages => pages.some((one, at) => one !== most[at])))
      expect.fail(`after page ${page}: ${JSON.stringify(held)}`)
  }
})

describe.each(policyNames)('%s as a pager uses it', name => {
  test.each([1, 2, 3, 4, 5, 10, 33])(
    '%i frames, random operations: its answers are what is resident',
    frames => {
      const seed = 1000 + frames
      const next = fractions(seed)
      const policy = createPolicy(name, frames)
      const resident = new Set<number>()
      for (let i = 0; i < 6000; i++) {
        const page = Math.floor(next() * 3 * frames + next() * 4)
        const what = next()
        let right = true
        if (what < 0.06) {
          policy.forget(page)
          resident.delete(page)
        } else if (what < 0.1) {
          const out = policy.evict()
          right = out === NONE ? resident.size === 0 : resident.delete(out)
        } else if (resident.has(page)) policy.touch(page)
        else {
          const out = policy.admit(page, 1 + (page % 5))
          right = resident.size === frames ? resident.delete(out) : out === NONE
          resident.add(page)
        }
        if (!right || policy.residents !== resident.size || policy.resident(page) !== resident.has(page))
          expect.fail(`seed ${seed}, step ${i}, page ${page}`)
      }
      const shown = policy
        .queues()
        .flatMap(queue => (queue.ghost ? [] : queue.pages.filter(page => page >= 0 && policy.resident(page))))
      expect(new Set(shown)).toEqual(resident)
    },
  )

  test('the same accesses make the same choices', () => {
    const trace = mixed(9, 3000)
    const run = (): number[] => {
      const policy = createPolicy(name, 50)
      return [...trace].map(page => policy.access(page))
    }
    expect(run()).toEqual(run())
  })
})

const costAware = ['gdsf', 'reuse']

test.each(costAware)('%s spends at least a fifth less on refills than the best cost-blind policy', name => {
  const next = fractions(11)
  const trace = Int32Array.from({ length: 40_000 }, () => Math.floor(600 * next() ** 2.5))
  const costs = Float64Array.from({ length: 600 }, (_, page) => (page % 3 === 0 ? 40 : 1))
  const spent = (one: string): number => simulate(make(one, 120), trace, costs).cost
  const blind = policyNames.filter(one => !costAware.includes(one)).map(spent)
  expect(spent(name)).toBeLessThan(0.8 * Math.min(...blind))
})

test('reuse tells a loop from what is used now and then, and lets go of what has gone out of use', () => {
  const next = fractions(9)
  let loop = 0
  const trace = Int32Array.from({ length: 40_000 }, () =>
    next() < 0.5 ? 300 + (loop++ % 250) : Math.floor(300 * next() ** 3),
  )
  const drift = Int32Array.from({ length: 40_000 }, (_, i) => Math.floor(i / 30 + 120 * next() ** 2))
  const costs = Float64Array.from({ length: 2000 }, (_, page) => 1 + (Math.imul(page, 40503) & 63))
  const spent = (name: string, of: Int32Array, frames: number): number =>
    simulate(make(name, frames), of, costs).cost
  const blind = (of: Int32Array, frames: number): number =>
    Math.min(...policyNames.filter(one => !costAware.includes(one)).map(one => spent(one, of, frames)))
  expect(spent('reuse', trace, 137)).toBeLessThan(0.8 * blind(trace, 137))
  expect(spent('reuse', drift, 145)).toBeLessThan(1.15 * blind(drift, 145))
})

test('the default resists a loop and a scan, and follows recency', () => {
  const loop = Int32Array.from({ length: 20_000 }, (_, i) => i % 120)
  expect(misses(defaultPolicy, loop, 100)).toBeLessThan(0.4 * misses('lru', loop, 100))
  const next = fractions(8)
  const drift = Int32Array.from({ length: 30_000 }, (_, i) => Math.floor(i / 30 + 120 * next() ** 2))
  expect(misses(defaultPolicy, drift, 100)).toBeLessThan(1.1 * misses('lru', drift, 100))
})

test('OPT says so when references come in another order than its trace', () => {
  const opt = createOpt(2, Int32Array.of(1, 2, 3))
  opt.access(1)
  expect(() => opt.access(3)).toThrow('OPT expected page 2 as reference 1 of its trace, not page 3')
})

test.each([0, -1, 2.5, Number.NaN])('%d frames are refused', frames => {
  expect(() => createPolicy('lru', frames)).toThrow('at least 1, a whole number')
})

test('page numbers are dense, in order of first use, and lead back', () => {
  const numbers = new PageNumbers()
  const next = fractions(3)
  const pages = Array.from({ length: 20_000 }, () => Math.floor(next() * 5000) * (next() < 0.5 ? 1 : 2 ** 33))
  const first = [...new Set(pages)]
  for (const page of pages) expect(first[numbers.of(page)]).toBe(page)
  expect(numbers.count).toBe(first.length)
  expect(first.every((page, dense) => numbers.page(dense) === page)).toBe(true)
  expect(createPolicy('lru', 4).access(numbers.of(pages[0] ?? 0))).not.toBe(HIT)
})
