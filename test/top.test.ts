/** lethe top: what it shows of real processes, how near its samples are, its table, its screen. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clustersOf } from '../src/explain/sample.ts'
import type { AuditReport } from '../src/audit/audit.ts'
import { arrange, headLine, rowLine, size, type TopRow } from '../src/top/table.ts'
import { cannotAttach, Desk, holderScript, Holder, lethe, MiB, root } from './cli-helpers.ts'
import { randomBytes } from './explain-helpers.ts'

const PAGE = 4096
const reason = cannotAttach()

interface Document {
  readonly processes: readonly (Omit<TopRow, 'explained'> & { readonly explained?: number })[]
}

test('clusters are of the runs, do not overlap, and are spread over all of them', () => {
  for (const phase of [0, 0.31, 0.999]) {
    const runs = [
      { start: 0x1000_0000, pages: 3 },
      ...Array.from({ length: 40 }, (_, i) => ({ start: 0x2000_0000 + i * 0x100_0000, pages: 1 + i * 31 })),
    ]
    const chosen = clustersOf(runs, phase)
    const pages = chosen.reduce((sum, run) => sum + run.pages, 0)
    expect(pages).toBeGreaterThan(2900)
    expect(pages).toBeLessThanOrEqual(192 * 16)
    let end = 0
    for (const { start, pages: n } of chosen) {
      expect(start).toBeGreaterThanOrEqual(end)
      end = start + n * PAGE
      const inside = runs.some(run => start >= run.start && end <= run.start + run.pages * PAGE)
      expect(inside).toBe(true)
    }
    // The last twentieth of the pages has its share of the sample.
    const tail = chosen.filter(run => run.start >= (runs.at(-2)?.start ?? 0))
    expect(tail.reduce((sum, run) => sum + run.pages, 0)).toBeGreaterThan(200)
  }
  expect(clustersOf([{ start: 0, pages: 5 }], 0.5)).toEqual([{ start: 0, pages: 5 }])
})

describe('the table', () => {
  const row = (pid: number, over: Partial<TopRow> = {}): TopRow => ({
    pid,
    user: 'ana',
    command: `program ${pid}`,
    rss: pid * MiB,
    anonymous: pid * MiB,
    explained: undefined,
    sampledPages: 0,
    attached: false,
    virtual: 0,
    refillsPerSecond: 0,
    ...over,
  })
  const rows = [row(1), row(3, { explained: 0.1 }), row(2, { explained: 0.9, user: 'bo' })]
  const view = { sort: 'anonymous', reverse: false, filter: '' } as const
  test('is sorted by any column, by explained bytes and not shares, and backwards', () => {
    expect(arrange(rows, view).map(one => one.pid)).toEqual([3, 2, 1])
    expect(arrange(rows, { ...view, sort: 'explained' }).map(one => one.pid)).toEqual([2, 3, 1])
    expect(arrange(rows, { ...view, sort: 'pid', reverse: true }).map(one => one.pid)).toEqual([3, 2, 1])
  })
  test('is filtered by command, user or number', () => {
    const pids = (filter: string): number[] => arrange(rows, { ...view, filter }).map(one => one.pid)
    expect([pids('BO'), pids('gram 1'), pids('2'), pids('none')]).toEqual([[2], [1], [2], []])
  })
  test('has lines of one width, and nothing in a command reaches the terminal', () => {
    expect(headLine(view, 70)).toHaveLength(70)
    const line = rowLine(row(7, { command: 'a\x1b[2Jb\nc' }), 200)
    expect(line).toMatch(/a\?\[2Jb\?c$/)
    expect(rowLine(row(7), 40)).toHaveLength(40)
    expect([size(0), size(1023), size(10 * MiB), size(1.25 * 2 ** 30)]).toEqual(['0B', '1.0K', '10M', '1.3G'])
  })
})

describe.skipIf(reason !== undefined)(
  `live${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 180_000 },
  () => {
    let desk: Desk
    let mixed: Holder
    beforeAll(async () => {
      desk = new Desk()
      // Half of its memory is in a file, half is its own.
      const path = desk.file('data', randomBytes(30 * MiB, 3))
      const script = desk.file(
        'mixed.cjs',
        `const own = require('node:crypto').randomBytes(${30 * MiB}); globalThis.own = own\n${holderScript}`,
      )
      mixed = new Holder(desk.start(process.execPath, script, path), 0)
      await mixed.ask()
    })
    afterAll(() => desk.close())
    const look = (...words: string[]): Document =>
      JSON.parse(desk.run('top', '--once', '--json', '--filter', String(mixed.pid), ...words).out) as Document

    test('its estimate is within five points of a full audit; what is given back shows', () => {
      const audited = JSON.parse(desk.run('audit', '--json', String(mixed.pid)).out) as AuditReport
      const full = audited.totals.explained / audited.totals.pages
      // One process: top samples others only while it looks at all. The filter is for what is shown.
      const { code, out, err } = spawnSample(mixed.pid)
      expect(code, err).toBe(0)
      const { explained, sampled, pages } = JSON.parse(out) as Record<string, number>
      // A page that is gone when its turn comes is no sample.
      expect(sampled).toBeGreaterThan(190 * 16)
      expect(sampled).toBeLessThanOrEqual(192 * 16)
      expect(pages).toBeGreaterThan((60 * MiB) / PAGE)
      expect(Math.abs((explained ?? 0) - full)).toBeLessThan(0.05)
      expect(desk.run('attach', String(mixed.pid), '--once').code).toBe(0)
      const [row] = look('--no-sample').processes
      expect(row).toMatchObject({ pid: mixed.pid, attached: true, user: 'root' })
      expect(row?.virtual).toBeGreaterThan(29 * MiB)
      expect(row?.explained).toBeUndefined()
      const anonymous = Number(
        /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${mixed.pid}/status`, 'utf8'))?.[1],
      )
      expect(Math.abs((row?.anonymous ?? 0) - anonymous * 1024)).toBeLessThan(2 * MiB)
    })

    test('the screen opens, sorts, filters, and leaves the terminal as it was', () => {
      const script = desk.file('keys.py', keys)
      const { status, stdout, stderr } = spawnSync('python3', [script, lethe, String(mixed.pid)], {
        env: desk.environment,
        encoding: 'utf8',
        timeout: 60_000,
      })
      expect(status, stderr).toBe(0)
      expect(stdout).toContain('\x1b[?1049h')
      expect(stdout.trimEnd().endsWith('\x1b[?1049l')).toBe(true)
      expect(stdout).toContain('EXPL▾')
      // Its pager and its supervisor name the pid too, if it has them; most processes do not.
      const counts = [...stdout.matchAll(/(\d+) processes/g)].map(([, count]) => Number(count))
      expect(counts.at(-1)).toBeGreaterThan(0)
      expect(counts.at(-1)).toBeLessThan(Math.max(...counts) - 1)
      expect(stdout).toMatch(new RegExp(` ${mixed.pid} root`))
    })

    // In a process of its own, as top does it in a thread of its own.
    function spawnSample(pid: number): { code: number | null; out: string; err: string } {
      const module = join(root, 'dist/explain/sample.js')
      const code = `import('${module}').then(m => console.log(JSON.stringify(m.sampleProcess(${pid}))))`
      const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' })
      return { code: status, out: stdout, err: stderr }
    }
  },
)

// A terminal of its own for top: keys go in when what they change is on the screen.
const keys = `
import fcntl, os, pty, re, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execv(sys.argv[1], ['lethe', 'top', '--every', '0.5', '--no-sample'])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 110, 0, 0))
def until(what):
    global out
    end = time.time() + 20
    while what not in out and time.time() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try: out += os.read(fd, 65536)
            except OSError: break
out = b''
until(b'ANON')
os.write(fd, b's')
until('EXPL\\u25be'.encode())
end = time.time() + 20
def counts(): return [0] + [int(n) for n in re.findall(rb'(\\d+) processes', out)]
def more(going):
    global out
    while going() and time.time() < end:
        if select.select([fd], [], [], 0.2)[0]: out += os.read(fd, 65536)
# All are on the screen before any of them are left out: this one, its pager and supervisor, and us at least.
more(lambda: max(counts()) < 5)
os.write(fd, b'/' + sys.argv[2].encode() + b'\\r')
more(lambda: counts()[-1] > max(counts()) - 2)
os.write(fd, b'q')
until(b'?1049l')
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`
