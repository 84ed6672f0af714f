/** lethe machine as it is typed. */
import { spawnSync } from 'node:child_process'
import { afterAll, describe, expect, test } from 'vitest'
import { Random } from '../../src/machine/sets.ts'
import { Desk, lethe } from '../cli-helpers.ts'

const desk = new Desk()
afterAll(() => desk.close())

const yi = ' L 10,1\n M 20,1\n L 22,1\n S 18,1\n L 110,1\n L 210,1\n M 12,1\n'

/** A plain cache with LRU: for each set the lines, the last used first. */
function naive(addresses: readonly number[], s: number, E: number, b: number): string {
  const sets = new Map<number, number[]>()
  let [hits, misses, evictions] = [0, 0, 0]
  for (const address of addresses) {
    const line = Math.floor(address / 2 ** b)
    const set = sets.get(line % 2 ** s) ?? []
    const at = set.indexOf(line)
    if (at >= 0) {
      hits++
      set.splice(at, 1)
    } else {
      misses++
      if (set.length === E) {
        evictions++
        set.pop()
      }
    }
    sets.set(line % 2 ** s, [line, ...set])
  }
  return `hits:${hits} misses:${misses} evictions:${evictions}\n`
}

test('translate prints every blank of the sheet', () => {
  const { code, out, err } = desk.run('machine', 'translate', '0x03a9', '0x0040')
  expect([code, err]).toEqual([0, ''])
  expect(out).toContain('VPN 0x0e   VPO 0x29   TLBI 0x2   TLBT 0x03   TLB hit? N   Page fault? N   PPN 0x11')
  expect(out).toContain('PPN 0x11   PPO 0x29   CO 0x1   CI 0xa   CT 0x11   Cache hit? N   Byte -')
  expect(out).toContain('VPN 0x01   VPO 0x00   TLBI 0x1   TLBT 0x00   TLB hit? N   Page fault? Y   PPN -')
})

test('translate --quiz makes problems; without answers they are the same', { timeout: 30_000 }, () => {
  const all = desk.run('machine', 'translate', '--quiz', '5')
  const blank = desk.run('machine', 'translate', '--quiz', '5', '--no-answers')
  const asked = /^Virtual address (0x[0-9a-f]+)$/gm
  expect([...blank.out.matchAll(asked)].length).toBe(4)
  for (const [, address] of blank.out.matchAll(asked)) expect(Number(address)).toBeLessThan(2 ** 14)
  expect(all.out).toContain('Cache hit?')
  expect(blank.out).not.toContain('Cache hit?')
})

test('translate --disk runs the addresses on a machine whose pages come from a file', () => {
  const random = new Random(3)
  const disk = desk.file('disk.bin', String.fromCharCode(...Array.from({ length: 512 }, (_, i) => i % 127)))
  const list = desk.file('addresses.txt', Array.from({ length: 50 }, () => random.below(512)).join('\n'))
  const { code, out } = desk.run('machine', 'translate', '--preset', 'osc', '--disk', disk, list)
  expect(code).toBe(0)
  expect(out).toMatch(/^Virtual address: \d+ Physical address: \d+ Value: \d+\n/)
  expect(out).toContain(
    'Number of Translated Addresses = 50\nPage Faults = 2\nPage Fault Rate = 0.040\nTLB Hits = 48\n',
  )
})

test('cache counts as csim does', { timeout: 30_000 }, () => {
  const trace = desk.file('yi.trace', yi)
  const run = (...options: string[]): string => desk.run('machine', 'cache', ...options, '-t', trace).out
  expect(run('-s', '4', '-E', '1', '-b', '4')).toBe('hits:4 misses:5 evictions:3\n')
  const addresses = [0x10, 0x20, 0x20, 0x22, 0x18, 0x110, 0x210, 0x12, 0x12]
  expect(run('-s', '0', '-E', '3', '-b', '3')).toBe(naive(addresses, 0, 3, 3))
  const random = new Random(11)
  const many = Array.from({ length: 3000 }, () => random.below(random.below(3) === 0 ? 65_536 : 2048))
  const long = desk.file(
    'long.trace',
    many.map(at => ` ${random.below(2) ? 'L' : 'S'} ${at.toString(16)},1`).join('\n'),
  )
  for (const [s, E, b] of [
    [2, 4, 3],
    [5, 1, 5],
    [0, 16, 6],
    [3, 3, 4],
  ] as const)
    expect(
      desk.run('machine', 'cache', '-s', String(s), '-E', String(E), '-b', String(b), '-t', long).out,
    ).toBe(naive(many, s, E, b))
})

test('run counts; --records prints the accesses whose sums these are', { timeout: 30_000 }, () => {
  const trace = desk.file('run.trace', yi)
  const { code, out } = desk.run('machine', 'run', '--json', '--preset', 'p6', trace)
  const { type, counters, format } = JSON.parse(out) as { type: string; format: string; counters: object }
  expect([code, type, format]).toEqual([0, 'run', 'lackey'])
  const lines = desk
    .run('machine', 'run', '--records', '--preset', 'p6', trace)
    .out.trim()
    .split('\n')
    .map(line => JSON.parse(line) as { type: string })
  const { type: last, ...sums } = lines.pop() as { type: string }
  expect(last).toBe('counters')
  expect(lines.map(line => line.type)).toEqual(Array.from({ length: 9 }, () => 'access'))
  expect(counters).toMatchObject(JSON.parse(JSON.stringify({ ...sums, caches: undefined })) as object)
})

test('several traces are several processes', () => {
  const trace = desk.file('twice.trace', yi)
  const { out } = desk.run('machine', 'run', '--json', trace, trace, '--quantum', '2')
  expect(JSON.parse(out)).toMatchObject({ processes: 2, references: 18, footprint: { pages: 2 } })
})

test('policies --steps says of each reference what became of it', () => {
  const pages = desk.file('pages.txt', [8, 7, 4, 2, 7].join('\n'))
  const of = (policy: string): string =>
    desk.run('machine', 'policies', pages, '--page-size', '1', '--policy', policy, '--frames', '3', '--steps')
      .out
  expect(of('lru')).toBe(
    '8: miss; in memory 8\n7: miss; in memory 7 8\n4: miss; in memory 4 7 8\n2: miss, 8 goes; in memory 2 4 7\n7: hit; in memory 7 2 4\n1 hits, 4 misses\n',
  )
  expect(of('opt')).toMatch(/7: hit; in memory .*\n1 hits, 4 misses\n$/)
})

test('dinero has Dinero IV’s options and counts', () => {
  const trace = '2 0\n0 1000\n0 1004\n1 1008\n0 2000\n2 4\n0 1000\n1 2000\n'
  const options = '-l1-isize 64 -l1-ibsize 16 -l1-dsize 64 -l1-dbsize 16 -informat d --json'.split(' ')
  const { stdout } = spawnSync(lethe, ['machine', 'dinero', ...options], { input: trace, encoding: 'utf8' })
  const { caches } = JSON.parse(stdout) as {
    caches: { name: string; rows: (string | number)[][]; bytesWritten: number }[]
  }
  expect(caches.map(({ name }) => name)).toEqual(['l1-icache', 'l1-dcache'])
  expect(caches[0]?.rows).toEqual([
    ['Demand Fetches', 2, 2, 0, 0, 0, 0],
    ['Demand Misses', 1, 1, 0, 0, 0, 0],
  ])
  // 1000 and 2000 are in the same set: 1000 misses, 2000, 1000 again, and the write of 2000.
  expect(caches[1]?.rows).toEqual([
    ['Demand Fetches', 6, 0, 6, 4, 2, 0],
    ['Demand Misses', 4, 0, 4, 3, 1, 0],
  ])
  expect(caches[1]?.bytesWritten).toBe(32)
})

describe('says in one sentence what is wrong, and ends with', () => {
  test.each<[number, string[], RegExp]>([
    [
      2,
      ['run', '--set', 'frames=0', '/dev/null'],
      /^lethe: frames is 0: a machine without frames has no memory/,
    ],
    [
      2,
      ['run', '--set', 'nonsense', '/dev/null'],
      /^lethe: --set nonsense: write parameter=value, such as tlb\.ways=2\n$/,
    ],
    [2, ['run', '--set', 'tlb.ways=3', '/dev/null'], /^lethe: tlb\.ways is 3: 64 entries in sets of 3/],
    [
      2,
      ['run', '--set', 'caches.7.unified.line=4', '/dev/null'],
      /^lethe: caches is .{80}: give a list of none to three levels, not 8\n$/,
    ],
    [2, ['policies', '--frames', '3-', '/dev/null'], /^lethe: --frames 3-: give a range such as 3-8\n$/],
    [2, ['policies', '--frames', '9e9', '/dev/null'], /^lethe: --frames 9e9: give whole numbers from 1\n$/],
    [
      2,
      ['policies', '--frames', '9999999999', '/dev/null'],
      /^lethe: --frames 9999999999: give at most 16777216\n$/,
    ],
    [
      2,
      ['dinero', '-l1-usize', '4000000000k', '-l1-ubsize', '4'],
      /^lethe: -l1-usize 4096000000000: these are 1024000000000 blocks; give at most 16777216\n$/,
    ],
    [2, ['run', '--format', 'dinb', '/dev/null'], /^lethe: \/dev\/null: there is no reference in it/],
    [2, ['run', '/none'], /^lethe: \/none can't be read \(ENOENT\)\n$/],
    [2, ['run', '--preset', 'vax', '/dev/null'], /^lethe: preset is "vax": there is no such machine/],
    [2, ['translate'], /^lethe: Give addresses to translate, such as 0x3a9, or --quiz SEED\n$/],
    [
      2,
      ['translate', '0x4000'],
      /^lethe: Address 0x4000 does not exist: this machine's are below 0x4000 \(14 bits\)\n$/,
    ],
    [2, ['translate', 'xyz'], /^lethe: 'xyz' is not an address: write it like 0x3a9 or 937\n$/],
    [2, ['translate', '--config', '/none.json', '1'], /^lethe: \/none\.json can't be read \(ENOENT\)\n$/],
    [2, ['cache', '-s', '4', '-E', '0', '-b', '4', '-t', 'x'], /'0' is not a whole number from 1 to 65536/],
    [
      2,
      ['dinero', '-l1-usize', '48', '-l1-ubsize', '16', '-l1-uassoc', '3', '-l1-urepl', 'p'],
      /^lethe: -l1-urepl p: the tree needs a power of two of ways, 3 is none\n$/,
    ],
    [2, ['dinero', '-l1-usize', '8k'], /^lethe: -l1-ubsize is missing: give a whole number such as 8k\n$/],
    [2, ['dinero', '-l1-whatever', '8k'], /^lethe: -l1-whatever is no option of Dinero IV's that we know/],
  ])('%i: %j', (code, words, message) => {
    const { code: ended, err, out } = desk.run('machine', ...words)
    expect(err).toMatch(message)
    expect([ended, out]).toEqual([code, ''])
  })

  test('an address out of range, with the record', () => {
    const trace = desk.file('far.txt', '0x10\n0x123456789\n')
    expect(desk.run('machine', 'run', '--preset', 'p6', trace).err).toBe(
      "lethe: Record 2 of the trace: address 0x123456789 does not exist, this machine's have 32 bits; take a machine with more, such as --preset x86-64\n",
    )
    const last = desk.file('last.xdin', 'r fffffffffffe 4\n')
    expect(desk.run('machine', 'run', '--preset', 'x86-64', last).err).toBe(
      "lethe: Record 1 of the trace: 4 bytes at 0xfffffffffffe go beyond the last address, this machine's have 48 bits\n",
    )
  })
})
