/** Policies on a trace, through the command and beneath it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, expect, test } from 'vitest'
import { compare, overOpt, spread } from '../../src/machine/compare.ts'
import { readPageTrace } from '../../src/machine/page-trace.ts'
import { createPolicy, simulate } from '../../src/policy/index.ts'
import { StackDistances } from '../../src/policy/stack-distance.ts'
import { mixed } from '../policy/traces.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-compare-'))
afterAll(() => removeFolder(folder))
const lethe = (...args: string[]): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } =>
  spawnSync(process.execPath, [join(import.meta.dirname, '../../dist/cli/main.js'), ...args], {
    encoding: 'utf8',
  })
const belady = join(folder, 'belady')
writeFileSync(belady, '1 2 3 4 1 2 5 1 2 3 4 5'.replaceAll(' ', '\n'))

test('one pass over stack distances gives what LRU misses with any number of frames', () => {
  for (const trace of [mixed(1, 30_000), Int32Array.from({ length: 30_000 }, (_, i) => (i * 7919) % 9973)]) {
    const distances = new StackDistances()
    for (const page of trace) distances.access(page)
    const frames = [1, 2, 5, 60, 129, 130, 131, 700, 9972, 9973, 50_000]
    expect(distances.misses(frames)).toEqual(
      frames.map(count => simulate(createPolicy('lru', count), trace).misses),
    )
    expect(distances.footprint).toBe(new Set(trace).size)
  }
})

test('OPT is the bound in every column, and its own ratio is 1', () => {
  const trace = mixed(2, 10_000)
  const result = compare('mixed', trace, spread(new Set(trace).size))
  const best = result.policies.at(-1)
  expect(best?.name).toBe('opt')
  for (const { misses } of result.policies)
    misses.forEach((count, i) => expect(count).toBeGreaterThanOrEqual(best?.misses[i] ?? 0))
  expect(overOpt(result, best?.misses ?? [])).toBe(1)
})

test("the table shows Belady's anomaly", () => {
  const { stdout } = lethe('machine', 'policies', belady, '--page-size', '1', '--frames', '3-4')
  expect(stdout).toMatch(/^fifo +9 +10 /m)
  expect(stdout).toMatch(/^lru +10 +8 /m)
  expect(stdout).toMatch(/^opt +7 +6 /m)
  expect(stdout).toContain("Belady's anomaly: fifo misses more with 4 frames than with 3")
})

test('CSV, JSON and pictures say the same', () => {
  const svg = join(folder, 'curve.svg')
  const png = join(folder, 'curve.png')
  const args = ['machine', 'policies', belady, '--page-size', '1', '--frames', '3,4', '--policy', 'fifo']
  expect(lethe(...args, '--csv', '--plot', svg).stdout).toBe(
    'policy,frames,misses,miss_ratio\nfifo,3,9,0.750000\nfifo,4,10,0.833333\nopt,3,7,0.583333\nopt,4,6,0.500000\n',
  )
  expect(JSON.parse(lethe(...args, '--json', '--plot', png).stdout)).toEqual({
    type: 'comparison',
    trace: 'belady',
    references: 12,
    pages: 5,
    frames: [3, 4],
    policies: [
      { name: 'fifo', misses: [9, 10] },
      { name: 'opt', misses: [7, 6] },
    ],
    anomalies: [{ policy: 'fifo', fewer: 3, more: 4 }],
  })
  expect(readFileSync(svg, 'utf8').match(/<polyline/g)).toHaveLength(2)
  const picture = readFileSync(png)
  const at = picture.indexOf('IDAT')
  expect(inflateSync(picture.subarray(at + 4, at + 4 + picture.readUInt32BE(at - 4))).length).toBe(
    picture.readUInt32BE(20) * (1 + 3 * picture.readUInt32BE(16)),
  )
})

test.each([
  ['addresses', '0x1000\n4097\n# a remark\n0x2fff\n', [1, 1, 2]],
  ['page traces with parts', '4096\n*\n8192\n', [1, 2]],
  ['lackey', '==1== Lackey\nI  0400,4\n L 1ffe,8\n S 2000,4\n M 3000,1\n', [0, 1, 2, 3, 3]],
  ['Dinero', '2 4000\n0 5004\n1 5008 8\n', [4, 5, 5]],
])('%s are read as pages, packed or not', async (name, text, expected) => {
  for (const bytes of [Buffer.from(text), gzipSync(text), zstdCompressSync(text)]) {
    const path = join(folder, name)
    writeFileSync(path, bytes)
    const { pages, numbers } = await readPageTrace(path, 4096)
    expect([...pages].map(page => numbers.page(page))).toEqual(expected)
  }
})

test.each([
  [['policies', '/nowhere'], "/nowhere can't be read (ENOENT)"],
  [['run', belady, '--frames', '3'], '--frames belongs to a comparison: add --policy all'],
  [['policies', belady, '--policy', 'best'], '--policy best: there are all, fifo'],
  [['policies', belady, '--frames', '0'], '--frames 0: give whole numbers from 1'],
  [['policies', belady, '--plot', 'x.gif'], '--plot x.gif: give a file that ends in .svg or .png'],
])('machine %j: one sentence', (args, sentence) => {
  const { status, stderr, stdout } = lethe('machine', ...args)
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain(sentence)
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

test('machine run --policy says what machine policies says', () => {
  const args = [belady, '--page-size', '1', '--frames', '3-5']
  expect(lethe('machine', 'run', ...args, '--policy', 'all').stdout).toBe(
    lethe('machine', 'policies', ...args).stdout,
  )
})

test('two processes have pages of their own', async () => {
  const path = join(folder, 'two')
  writeFileSync(path, '1:0x1000\n2:0x1000\n1:0x1008\n')
  expect([...(await readPageTrace(path, 4096)).pages]).toEqual([0, 1, 0])
})
