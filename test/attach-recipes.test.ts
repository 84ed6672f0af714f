/**
 * Programs that hold files in pieces: page caches, lines, numbers in objects, values of a database. Each gives its memory
 * back, answers the same, and in a forked child too, survives the death of its pager, and what is done to its file.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cannotAttach, Desk, Holder, killLethe, MiB, until } from './cli-helpers.ts'
import { generator } from './explain-helpers.ts'

const reason = cannotAttach()

interface Status {
  virtual: number
  recipes: number
  pager: number
  supervisor: number
  backings: { path: string; lens: string; copy?: true; lost?: string }[]
}

interface Audit {
  rest?: { pieces: { pages: number; kept: number }; files: string[] }
}

const has = (...command: string[]): boolean =>
  spawnSync(command[0] ?? '', command.slice(1), { stdio: 'ignore' }).status === 0

const words = Array.from({ length: 5000 }, (_, i) => {
  const next = generator(i)
  return Array.from({ length: 3 + (next() % 8) }, () => String.fromCharCode(97 + (next() % 26))).join('')
})

/** `count` of our words, the same for the same seed. */
function sentence(next: () => number, count: number): string {
  return Array.from({ length: count }, () => words[next() % words.length]).join(' ')
}

/** Says a checksum of `answer` for each line; for one that says `fork`, a child says it. */
const py = (make: string, answer: string): string => `
import sys, os, zlib
path = sys.argv[1]
${make}
def say():
  print(${answer}, flush=True)
for line in sys.stdin:
  if line == 'fork\\n':
    child = os.fork()
    if child == 0:
      say()
      os._exit(0)
    os.waitpid(child, 0)
  else:
    say()
`

interface Case {
  readonly what: string
  readonly needs?: readonly string[]
  readonly script: string
  readonly make: (path: string) => void
  /** Share of the private memory that the program has more than before it read anything, at least. */
  readonly share: number
  readonly copy?: true
}

const cases: readonly Case[] = [
  {
    what: 'a sqlite page cache, the database open for writing',
    needs: ['sqlite3', '--version'],
    script: py(
      `import sqlite3
db = sqlite3.connect(path)
db.execute('pragma cache_size=-400000')
db.execute('select count(body) from t').fetchone()`,
      "zlib.crc32(repr(db.execute('select sum(length(body)), max(body), sum(v) from t').fetchone()).encode())",
    ),
    make: path => {
      const next = generator(1)
      const rows = Array.from(
        { length: 60_000 },
        (_, i) => `insert into t values(${i}, '${sentence(next, 5 + (next() % 80))}', ${next() / 1e4});`,
      )
      const input = `begin; create table t(id integer primary key, body text, v real);\n${rows.join('\n')}\ncommit;`
      expect(spawnSync('sqlite3', [path], { input }).status).toBe(0)
    },
    share: 0.97,
    copy: true,
  },
  {
    what: 'a list of lines',
    script: py('d = open(path).readlines()', "zlib.crc32(''.join(d).encode())"),
    make: path => {
      const next = generator(2)
      const line = (i: number): string => `${i} ${next() % 1000} ${sentence(next, 6 + (next() % 9))}\n`
      writeFileSync(path, Array.from({ length: 150_000 }, (_, i) => line(i)).join(''))
    },
    share: 0.7,
  },
  {
    what: 'rows of floats',
    script: py(
      "d = [[float(x) for x in line.split(',')] for line in open(path)]",
      'zlib.crc32(repr(d[::7]).encode())',
    ),
    make: path => {
      const next = generator(3)
      const row = (): string =>
        Array.from({ length: 5 }, () => ((next() - 2 ** 31) / 1e5).toFixed(5)).join(',')
      writeFileSync(path, Array.from({ length: 120_000 }, row).join('\n'))
    },
    share: 0.6,
  },
  {
    // The quick pass finds the whole pages, which are too few for a copy; the others need one.
    what: 'pages of a file that is open for writing, few of them whole',
    script: py(
      `import mmap
f = open(path, 'r+b')
raw = f.read()
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
whole = mmap.mmap(-1, 128 * 4096, private)
whole[:] = raw[: 128 * 4096]
n = len(raw) // 4096 - 128
d = mmap.mmap(-1, n * 4368, private)
for i in range(n): d[i * 4368 + 8 : i * 4368 + 4104] = raw[(128 + i) * 4096 : (129 + i) * 4096]
del raw`,
      'zlib.crc32(d, zlib.crc32(whole))',
    ),
    make: path => {
      const next = generator(5)
      writeFileSync(
        path,
        Uint32Array.from({ length: 6 << 20 }, () => next()),
      )
    },
    share: 0.9,
    copy: true,
  },
]

describe.skipIf(reason !== undefined)(
  `attach with recipes${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 180_000 },
  () => {
    let desk: Desk
    beforeEach(() => {
      desk = new Desk()
    })
    afterEach(() => desk.close())

    const status = (pid: number): Status =>
      (
        JSON.parse(desk.run('status', '--json').out) as { processes: (Status & { pid: number })[] }
      ).processes.find(p => p.pid === pid) as Status
    const attach = (pid: number, ...more: string[]): void => {
      expect(desk.run('attach', String(pid), '--once', ...more)).toMatchObject({ code: 0 })
    }

    test.each(cases)('$what', async ({ needs, script, make, share, copy }) => {
      if (needs !== undefined && !has(...needs)) return console.log(`skipped: no ${needs[0]}`)
      const path = `${desk.folder}/data`
      make(path)
      const bare = new Holder(
        desk.start('python3', '-c', 'import sys, sqlite3\nfor _ in sys.stdin: print(0, flush=True)'),
        0,
      )
      await bare.check()
      const child: ChildProcess = desk.start('python3', '-c', script, path)
      const first = new Holder(child, 0)
      const holder = new Holder(child, await first.ask(), first)
      const held = holder.anonymous - bare.anonymous
      const left = (): number => holder.anonymous - bare.anonymous
      const inChild = async (): Promise<void> => {
        ;(child.stdin as Writable).write('fork')
        await holder.check()
      }

      const audit = JSON.parse(desk.run('audit', '--json', String(holder.pid)).out) as Audit
      expect((audit.rest?.pieces.pages ?? 0) * 4096).toBeGreaterThan(0.8 * share * held)
      expect(audit.rest?.files).toContain(path)

      attach(holder.pid)
      const attached = status(holder.pid)
      expect(attached.recipes, `${JSON.stringify(attached)} ${desk.logs}`).toBeGreaterThan(0)
      expect(attached.recipes).toBeLessThan(0.25 * attached.virtual)
      expect(left() + attached.recipes).toBeLessThan((1 - share) * held + 4 * MiB)
      expect(left()).toBeLessThan((1 - share) * held + MiB)
      expect(attached.backings.some(b => b.copy)).toBe(copy ?? false)
      await inChild()
      await holder.check()

      attach(holder.pid)
      killLethe(status(holder.pid))
      attach(holder.pid)
      await inChild()
      // What the child has read is there again, and the pass may have been over by then.
      attach(holder.pid)
      // Written over while pages depend on it: whoever writes waits until they are back.
      await until(
        () => status(holder.pid).virtual > 0.5 * share * held,
        'the pages to be dropped again',
      ).catch(error => {
        throw new Error(`${JSON.stringify(status(holder.pid))} ${desk.logs}`, { cause: error })
      })
      if (copy === true) {
        // Behind its first page, by which sqlite would know.
        const file = openSync(path, 'r+')
        writeSync(file, Buffer.alloc(MiB, 'x'), 0, MiB, MiB)
        closeSync(file)
      } else writeFileSync(path, Buffer.alloc(100_000, 'x'))
      await holder.check()
      if (copy === undefined) {
        // Another recipe may have nothing to do with the file; whatever has is physical again.
        const after = await until(() => {
          const now = status(holder.pid)
          return now.backings.every(b => b.path !== path || b.lost !== undefined) && now
        }, 'the file to be lost')
        expect(after.virtual).toBeLessThan(0.1 * held)
      }
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      await holder.check()
    })

    test('redis after it has read its database', async () => {
      if (!has('redis-server', '--version')) return console.log('skipped: no redis-server')
      const next = generator(4)
      const commands = Array.from(
        { length: 60_000 },
        (_, i) => `SET key:${i} "${sentence(next, 2 + (next() % 70))}"\r\n`,
      )
      const socket = `${desk.folder}/redis.sock`
      const server = (): ChildProcess =>
        desk.start(
          'redis-server',
          '--port',
          '0',
          '--unixsocket',
          socket,
          '--dir',
          desk.folder,
          '--save',
          '',
          '--enable-debug-command',
          'yes',
        )
      const cli = (...more: string[]): string =>
        spawnSync('redis-cli', ['-s', socket, ...more], { encoding: 'utf8' }).stdout.trim()
      const ready = async (): Promise<unknown> => until(() => cli('dbsize') === '60000', 'redis to be ready')
      server()
      await until(() => cli('ping') === 'PONG', 'redis to start')
      spawnSync('redis-cli', ['-s', socket, '--pipe'], { input: commands.join('') })
      cli('save')
      cli('shutdown', 'nosave')
      const redis = new Holder(server(), 0)
      await ready()
      const digest = cli('debug', 'digest')
      const held = redis.anonymous
      attach(redis.pid)
      const attached = status(redis.pid)
      expect(attached.recipes).toBeGreaterThan(0)
      expect(redis.anonymous + attached.recipes).toBeLessThan((1 - 0.48) * held)
      killLethe(status(redis.pid))
      attach(redis.pid)
      expect(cli('debug', 'digest')).toBe(digest)
      // Its own child reads all of it, and a new database takes the place of the one that we depend on.
      attach(redis.pid)
      expect(cli('save')).toBe('OK')
      expect(cli('debug', 'digest')).toBe(digest)
      expect(desk.run('detach', String(redis.pid)).code).toBe(0)
      expect(cli('debug', 'digest')).toBe(digest)
      cli('shutdown', 'nosave')
    })
  },
)
