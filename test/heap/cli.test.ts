/** lethe malloc as it is typed. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { inflateSync } from 'node:zlib'
import { parseTrace } from '../../src/heap/index.ts'
import { Desk, ended, lethe, root, until } from '../cli-helpers.ts'

const desk = new Desk()
afterAll(() => desk.close())
const ls = join(root, 'test/data/malloc/ls.trace')
const compiler = spawnSync('cc', ['--version']).status === 0

test('one table, the best marked', () => {
  const { code, out, err } = desk.run('malloc', '--policy', 'best', '--policy', 'buddy', ls)
  expect([code, err]).toEqual([0, ''])
  expect(out).toMatch(/^ls\.trace: 82 operations, largest payload 55989 bytes\n/)
  expect(out).toMatch(/^\* best +97\.6 +57344/m)
  expect(out).toMatch(/^ {2}buddy +27\.9/m)
})

test('all allocators with all policies, and means of several traces, as JSON', { timeout: 30_000 }, () => {
  const tiny = desk.file('tiny.rep', '1\n2\n4\n1\na 0 10\nr 0 5000\na 1 20\nf 0\n')
  const { out } = desk.run('malloc', '--json', ls, tiny)
  const { type, traces, means } = JSON.parse(out) as {
    type: string
    traces: {
      path: string
      policies: { policy: string; best: boolean; utilisation: number; atPeak: object }[]
    }[]
    means: { policy: string; utilisation: number; best: boolean }[]
  }
  expect([type, traces.length, means.length]).toEqual(['malloc', 2, 62])
  const best = traces[0]?.policies.find(({ policy }) => policy === 'best')
  expect(best).toMatchObject({ best: true, heapSize: 57_344, peakPayload: 55_989 })
  expect(best?.atPeak).toMatchObject({ payload: 55_989, heap: 57_344 })
})

test('--check runs every policy under the checker; --searches counts', () => {
  const { code, out } = desk.run('malloc', '--check', '--policy', 'best', '--policy', 'implicit next', ls)
  expect(code).toBe(0)
  expect(out).toContain('searched')
})

describe('says in one sentence what is wrong, and ends with', () => {
  test.each([
    [2, ['malloc', '/none.rep'], /^lethe: \/none\.rep can't be read \(ENOENT\)\n$/],
    [2, ['malloc'], /missing required argument 'trace'/],
    [
      2,
      ['malloc', '--policy', 'worst', ls],
      /^lethe: --policy worst: Invalid allocator 'worst': there are best, /,
    ],
    [2, ['malloc', '--policy', 'best first', ls], /Invalid placement 'first' for best/],
    [2, ['malloc', '--limit', '-1', ls], /'-1' is not a number of seconds/],
    [2, ['malloc', '--plot', 'x.gif', ls], /--plot x\.gif: give a file that ends in \.svg or \.png/],
    [2, ['malloc', '--plot', 'x.svg', ls, ls], /--plot draws one trace; 2 were given/],
    [
      2,
      ['malloc', '--plot', '/none/x.svg', ls],
      /^lethe: --plot \/none\/x\.svg can't be written \(ENOENT\)\n$/,
    ],
    [2, ['malloc', '/dev/null'], /^lethe: \/dev\/null is not a trace that can be run: it is empty\n$/],
    [2, ['malloc', 'record'], /missing required argument 'command'; see lethe malloc record --help/],
    [
      2,
      ['malloc', 'record', '-o', '/none/trace', '--', 'touch', '/tmp'],
      /^lethe: --output \/none\/trace can't be written \(ENOENT\)\n$/,
    ],
  ])('%d: lethe %j', (code, words, message) => {
    const ran = desk.run(...words)
    expect(ran.err).toMatch(message)
    expect(ran.err.trimEnd().split('\n').length).toBe(1)
    expect([ran.code, ran.out]).toEqual([code, ''])
  })
  test('2: a trace that makes no sense', () => {
    const path = desk.file('bad.rep', '1\n1\n1\n1\na 0 5\nf 1\n')
    const ran = desk.run('malloc', path)
    expect([ran.code, ran.err]).toEqual([
      2,
      `lethe: ${path} is not a trace that can be run: line 6: block 1 is freed, but it is not allocated\n`,
    ])
  })
})

test('--plot draws an SVG and a PNG', () => {
  const svg = join(desk.folder, 'a.svg')
  const png = join(desk.folder, 'a.png')
  expect(desk.run('malloc', '--plot', svg, ls).err).toBe(`lethe: ${svg}: best: utilisation 97.6 %\n`)
  expect(desk.run('malloc', '--plot', png, '--policy', 'buddy', '--json', ls).code).toBe(0)
  expect(readFileSync(svg, 'utf8')).toMatch(
    /^<svg [^]*<polyline [^]*<image [^]*best: utilisation 97\.6 %[^]*<\/svg>\n$/,
  )
  const bytes = readFileSync(png)
  expect([bytes.readUInt32BE(16), bytes.readUInt32BE(20)]).toEqual([890, 600])
  const pixels = inflateSync(bytes.subarray(41, bytes.length - 16))
  expect(pixels.length).toBe(600 * (1 + 3 * 890))
})

describe.skipIf(!compiler)('record', () => {
  test('writes what a program allocates, with sites, and ends with its exit code', () => {
    const path = join(desk.folder, 'sh.trace')
    const { code, err } = desk.run(
      'malloc',
      'record',
      '-o',
      path,
      '--',
      'sh',
      '-c',
      'exec sort -r /etc/passwd; exit 7',
    )
    expect(code).toBe(0)
    expect(err).toMatch(/lethe: \d+ operations at \d+ sites\n$/)
    const trace = parseTrace(readFileSync(path, 'utf8'))
    // In the C locale sort asks for some eighteen blocks.
    expect(trace.length).toBeGreaterThan(10)
    expect(trace.sites.some(site => site.includes('sort+0x') || site.includes('libc'))).toBe(true)
    expect(desk.run('malloc', '--policy', 'best', '--check', path).code).toBe(0)
    expect(desk.run('malloc', 'record', '-o', path, '--', 'bash', '-c', 'exit 7').code).toBe(7)
  })
  test.each(['SIGINT', 'SIGTERM'] as const)(
    'writes what there is of a program that %s ends',
    async signal => {
      const path = join(desk.folder, `${signal}.trace`)
      const words = ['malloc', 'record', '-o', path, '--', 'sh', '-c', 'sort /etc/passwd >&2; exec sleep 60']
      const child = spawn(lethe, words, {
        env: desk.environment,
        stdio: ['ignore', 'ignore', 'pipe'],
        detached: true,
      })
      let err = ''
      child.stderr.on('data', data => (err += String(data)))
      await until(() => err.includes('root:'), 'what sort prints')
      // Ctrl-C goes to all in the foreground; what a service manager sends, to one.
      process.kill(signal === 'SIGINT' ? -(child.pid as number) : (child.pid as number), signal)
      expect(await ended(child)).toBe(128 + constants.signals[signal])
      expect(parseTrace(readFileSync(path, 'utf8')).length).toBeGreaterThan(0)
    },
  )
  test('writes the trace to standard output without -o', () => {
    const { out } = desk.run('malloc', 'record', '--', 'sort', '/etc/passwd')
    expect(out).toMatch(/^# lethe malloc trace 1\na 0 /)
  })
  test('knows realloc, calloc and aligned blocks of a program with threads', () => {
    const source = desk.file(
      'p.c',
      `#include <pthread.h>
#include <stdlib.h>
static void *work(void *x) { for (int i = 0; i < 1000; i++) free(realloc(calloc(1, 10), 30)); return x; }
int main(void) {
  pthread_t t[3]; void *p = NULL;
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, work, NULL);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  if (posix_memalign(&p, 256, 100)) return 1;
  free(p);
  return aligned_alloc(64, 128) == NULL;
}`,
    )
    const program = join(desk.folder, 'p')
    expect(spawnSync('cc', ['-O0', '-o', program, source, '-lpthread']).status).toBe(0)
    const { out, code } = desk.run('malloc', 'record', '--', program)
    expect(code).toBe(0)
    const count = (letter: string): number =>
      out.split('\n').filter(line => line.startsWith(`${letter} `)).length
    expect(count('r')).toBe(3000)
    expect(count('c')).toBeGreaterThanOrEqual(3000)
    expect(out).toMatch(/^m \d+ 100 256 /m)
    expect(out).toMatch(/^m \d+ 128 64 /m)
    parseTrace(out)
  })
  test('127 for a command that is not there, 3 for one that cannot be recorded', () => {
    expect(desk.run('malloc', 'record', '--', '/none').code).toBe(127)
    const source = desk.file('s.c', 'int main(void) { return 0; }')
    const program = join(desk.folder, 's')
    if (spawnSync('cc', ['-static', '-o', program, source]).status !== 0) return
    const { code, err } = desk.run('malloc', 'record', '--', program)
    expect([code, err]).toEqual([3, expect.stringContaining('it is statically linked')])
    expect(existsSync(program)).toBe(true)
  })
})
