/** Dinero IV's caches: the fast machine counts what the plain model counts. */
import { expect, test } from 'vitest'
import { type DineroCache, DineroSimulator, results } from '../../src/machine/dinero.ts'
import { DineroEngine } from '../../src/machine/dinero-engine.ts'
import { Random } from '../../src/machine/sets.ts'

function randomLevels(random: Random): DineroCache[][] {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)] as T
  const cache = (name: string): DineroCache => {
    const block = pick([4, 16, 32, 64])
    const ways = pick([1, 2, 3, 4])
    return {
      name,
      size: block * ways * pick([1, 4, 16]),
      block,
      subBlock: block,
      ways,
      replacement: pick(['l', 'f']),
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
    return (unified ? ['u'] : ['i', 'd']).map(type => cache(`l${i + 1}-${type}cache`))
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
