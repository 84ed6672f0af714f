/** Dinero IV's caches: the fast machine counts what the plain model counts. */
import { expect, test } from 'vitest'
import { type DineroCache, DineroSimulator, results } from '../../src/machine/dinero.ts'
import { DineroEngine } from '../../src/machine/dinero-engine.ts'
import { randomSource } from '../../src/machine/dinero-random.ts'
import { Random } from '../../src/machine/sets.ts'

function randomLevels(random: Random): DineroCache[][] {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const cache = (level: number, type: DineroCache['type']): DineroCache => {
    const block = pick([4, 16, 32, 64])
    const ways = pick([1, 2, 3, 4])
    return {
      name: `l${level}-${type}cache`,
      type,
      size: block * ways * pick([1, 4, 16]),
      block,
      subBlock: block,
      ways,
      replacement: pick(ways === 3 ? ['l', 'f'] : ['l', 'f', 'p']),
      prefetch: 'd',
      distance: 1,
      abort: 0,
      allocate: pick(['a', 'a', 'n']),
      writeBack: pick(['a', 'a', 'n']),
      classify: false,
    }
  }
  let unified = false
  return Array.from({ length: 1 + random.below(3) }, (_, i) => {
    unified ||= random.below(2) === 0
    const types: DineroCache['type'][] = unified ? ['u'] : ['i', 'd']
    return types.map(type => cache(i + 1, type))
  })
}

/** Streams of each kind that go on where they were, and jump now and then. */
function randomRecords(random: Random, count: number): Uint32Array {
  const next = [0, 5000, 9000, 0]
  const words: number[] = []
  for (let i = 0; i < count; i++) {
    const kind = [0, 0, 1, 2, 2, 2, 3][random.below(7)] as number
    if (random.below(12) === 0) next[kind] = random.below(4096)
    const size = 1 + random.below([4, 8, 40][random.below(3)] as number)
    words.push(next[kind] as number, (size << 16) | (kind << 28))
    if (random.below(3) > 0) (next[kind] as number) += size
  }
  return Uint32Array.from(words)
}

test('on 100 random hierarchies of caches', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed * 7919)
    const levels = randomLevels(random)
    const records = randomRecords(random, 2000)
    const simulators = [DineroEngine.for(levels), new DineroSimulator(levels)]
    const [fast, plain] = simulators.map(simulator => {
      simulator?.run(records, records.length / 2)
      simulator?.finish()
      return simulator?.levels.map(level => ({ name: level.cache.name, ...results(level) }))
    })
    expect({ seed, fast }).toEqual({ seed, fast: plain })
  }
})

test('caches with what only Dinero has are not for the fast machine', () => {
  const cache = randomLevels(new Random(3))[0]?.[0] as DineroCache
  for (const own of [
    { subBlock: cache.block / 2 },
    { prefetch: 'a' },
    { replacement: 'r' },
    { allocate: 'f' },
    { writeBack: 'f' },
    { classify: true },
  ] as const)
    expect(DineroEngine.for([[{ ...cache, ...own }]]), JSON.stringify(own)).toBeUndefined()
})

const plainCache: DineroCache = {
  name: 'l1-dcache',
  type: 'd',
  size: 32_768,
  block: 64,
  subBlock: 64,
  ways: 8,
  replacement: 'l',
  prefetch: 'd',
  distance: 1,
  abort: 0,
  allocate: 'a',
  writeBack: 'a',
  classify: false,
}

// Nine lines of one set of eight ways; counts of Dinero IV (the version of atos-tools, which has PLRU).
test.each([
  ['l', 11],
  ['p', 10],
] as const)('replacement %s misses %i times', (replacement, misses) => {
  const simulator = new DineroSimulator([[{ ...plainCache, replacement }]])
  for (const line of [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 1, 2, 4]) simulator.reference(0, line * 4096, 4)
  // There is no cache for instructions: they go to memory, and nobody counts them.
  simulator.reference(2, 4096, 4)
  expect(simulator.levels[0]?.fetches.reduce((a, b) => a + b)).toBe(13)
  expect(simulator.levels[0]?.misses[0]).toBe(misses)
})

test('a level may have a number of sets that is no power of two', () => {
  const simulator = new DineroSimulator([[{ ...plainCache, size: 13 * 11 * 64, ways: 11 }]])
  // Every 13th line shares a set of 11: twelve of them push each other out, eleven do not.
  for (const [lines, misses] of [
    [11, 11],
    [12, 24],
  ] as const) {
    const before = simulator.levels[0]?.misses[0] ?? 0
    for (let round = 0; round < 2; round++)
      for (let i = 0; i < lines; i++) simulator.reference(0, (i * 13 + lines) * 64, 4)
    expect((simulator.levels[0]?.misses[0] ?? 0) - before).toBe(misses)
  }
})

test('random numbers are those of Dinero IV', () => {
  const first = (name: 'minstd' | 'libc'): number[] => {
    const source = randomSource(name)
    return Array.from({ length: 4 }, () => source.next())
  }
  // What C says: state * 48271 % 2147483647 from 1 on, and random() of the GNU C library.
  expect(first('minstd')).toEqual([48271, 182605794, 1291394886, 1914720637])
  expect(first('libc')).toEqual([1804289383, 846930886, 1681692777, 1714636915])
})
