/** The command line at work on real programs: attach, status, detach, run, audit, demo; and what dies is taken over. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cannotAttach, Desk, ended, type Holder, holderScript, lethe, MiB, until } from './cli-helpers.ts'
import { lockTarget } from '../src/pager/state-dir.ts'

const reason = cannotAttach()
interface Status {
  type: string
  pid: number
  pager: number
  supervisor: number
  virtual: number
  adopted: boolean
  remedy?: string
}

let desk: Desk
let holder: Holder
const statuses = (): Status[] =>
  (JSON.parse(desk.run('status', '--json').out) as { processes: Status[] }).processes
const state = (name: string): string => join(desk.folder, 'state', name)
const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))

describe.skipIf(reason !== undefined)(
  `attach${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 90_000 },
  () => {
    beforeEach(async () => {
      desk = new Desk()
      holder = await desk.holder()
    })
    afterEach(() => desk.close())

    test('--once returns, the memory is gone, the answer stays; detach puts it back', async () => {
      const before = holder.anonymous
      const attach = desk.run('attach', String(holder.pid), '--once')
      expect(attach).toMatchObject({ code: 0, err: '' })
      expect(attach.out).toMatch(
        /attached: anonymous memory .* → .*\n {2}from .*\/data\n( {2}put together from pieces.*\n)?$/,
      )
      expect(holder.anonymous).toBeLessThan(before - 38 * MiB)
      await holder.check()
      const [one] = statuses()
      expect(one).toMatchObject({ type: 'status', pid: holder.pid, adopted: false })
      expect(desk.run('status').out.split('\n')).toHaveLength(3)
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      expect(holder.anonymous).toBeGreaterThan(38 * MiB)
      await holder.check()
      expect(statuses()).toEqual([])
      await until(
        () => !isAlive(one?.pager ?? 0) && !isAlive(one?.supervisor ?? 0),
        'the end of pager and supervisor',
      )
      expect(readdirSync(join(desk.folder, 'state'))).toEqual(['lock'])
    })

    test("a descriptor of the caller's does not stay open with the pager", () => {
      const words = ['-c', '"$0" attach "$1" --once 7>&1 >/dev/null', lethe, String(holder.pid)]
      expect(spawnSync('sh', words, { env: desk.environment, timeout: 20_000 }).error).toBeUndefined()
      expect(statuses()).toHaveLength(1)
    })

    test('a second attach joins the first', () => {
      desk.run('attach', String(holder.pid), '--once')
      const again = desk.run('attach', String(holder.pid), '--once', '--json')
      expect(again.code).toBe(0)
      expect(JSON.parse(again.out)).toMatchObject({ type: 'attached', found: true, pid: holder.pid })
      expect(statuses()).toHaveLength(1)
    })

    test('two attaches at once make one pager', async () => {
      const both = [1, 2].map(() => desk.start(lethe, 'attach', String(holder.pid), '--once'))
      expect(await Promise.all(both.map(ended))).toEqual([0, 0])
      expect(statuses()).toHaveLength(1)
      await holder.check()
    })

    test('an attach waits for the pager that another has begun to make, whatever the process looks like meanwhile', async () => {
      const folder = state(String(holder.pid))
      // In our hands: we hold the lock, the process is stopped, and nobody answers yet.
      expect(lockTarget(state(''), holder.pid)).toBe(true)
      process.kill(holder.pid, 'SIGSTOP')
      const attach = desk.start(lethe, 'attach', String(holder.pid), '--once', '--json')
      await new Promise(after => setTimeout(after, 1500))
      expect(attach.exitCode).toBe(null)
      mkdirSync(folder)
      const server = createServer(socket => {
        socket.on('data', () => socket.write(`${JSON.stringify({ type: 'status', pid: holder.pid })}\n`))
      })
      try {
        await new Promise<void>(listening => server.listen(join(folder, 'control.sock'), listening))
        expect(await ended(attach)).toBe(0)
      } finally {
        server.close()
        process.kill(holder.pid, 'SIGCONT')
      }
    })

    test('the supervisor replaces a pager that was killed', async () => {
      desk.run('attach', String(holder.pid), '--once', '--awake')
      const [first] = statuses()
      process.kill(first?.pager ?? 0, 'SIGKILL')
      await holder.check()
      const next = await until(() => statuses().find(one => one.type === 'status'), 'a successor')
      expect(next.pager).not.toBe(first?.pager)
      expect(next.adopted).toBe(true)
    })

    test('a pager that meets a bug of ours ends, and is replaced', async () => {
      const bug = desk.file('bug.mjs', "process.on('SIGUSR2', () => { throw new Error('a bug') })")
      desk.environment['NODE_OPTIONS'] = `--import=${bug}`
      desk.run('attach', String(holder.pid), '--once', '--awake')
      const [first] = statuses()
      process.kill(first?.pager ?? 0, 'SIGUSR2')
      // By itself: its server's thread waits for a fault, and none comes.
      await until(() => !isAlive(first?.pager ?? 0), 'its end')
      await holder.check()
      const next = await until(() => statuses().find(one => one.type === 'status'), 'a successor')
      expect(next.pager).not.toBe(first?.pager)
      expect(next.adopted).toBe(true)
      expect(desk.logs).toContain('Error: a bug')
    })

    test('the pager replaces a supervisor that was killed, and has a successor then', async () => {
      desk.run('attach', String(holder.pid), '--once', '--awake')
      const [first] = statuses()
      process.kill(first?.supervisor ?? 0, 'SIGKILL')
      const other = await until(
        () =>
          statuses().find(one => (one.supervisor ?? 0) > 1 && one.supervisor !== first?.supervisor)
            ?.supervisor,
        'another supervisor',
      )
      process.kill(first?.pager ?? 0, 'SIGKILL')
      await holder.check()
      const next = await until(() => statuses().find(one => one.type === 'status'), 'a successor')
      expect(next).toMatchObject({ supervisor: other, adopted: true })
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      await until(() => !existsSync(`/proc/${other}`), 'its end')
    })

    test('when all of lethe was killed, status names the remedy, and attach takes over', async () => {
      desk.run('attach', String(holder.pid), '--once', '--awake')
      const [first] = statuses()
      process.kill(first?.supervisor ?? 0, 'SIGKILL')
      process.kill(first?.pager ?? 0, 'SIGKILL')
      const answer = holder.check() // waits for a successor
      expect(statuses()).toMatchObject([
        { type: 'dead', pid: holder.pid, remedy: `lethe attach ${holder.pid}` },
      ])
      expect(desk.run('status').err).toContain(
        `the pager of process ${holder.pid} is dead: 'lethe attach ${holder.pid}'`,
      )
      const attach = desk.run('attach', String(holder.pid), '--once')
      expect(attach.code).toBe(0)
      expect(attach.out).toContain('taken over from a pager that died')
      await answer
    })

    test('detach of a process whose pager was killed puts everything back', async () => {
      desk.run('attach', String(holder.pid), '--once')
      const [first] = statuses()
      process.kill(first?.supervisor ?? 0, 'SIGKILL')
      process.kill(first?.pager ?? 0, 'SIGKILL')
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      expect(holder.anonymous).toBeGreaterThan(38 * MiB)
      await holder.check()
    })

    test.each(['SIGINT', 'SIGTERM'] as const)('%s ends the view and detaches', async signal => {
      const view = desk.start(lethe, 'attach', String(holder.pid), '--json')
      let out = ''
      view.stdout?.on('data', data => (out += String(data)))
      await until(() => out.includes('"type":"status"'), 'a status line')
      view.kill(signal)
      expect(await ended(view)).toBe(0)
      expect(out.trim().split('\n').at(-1)).toBe(JSON.stringify({ type: 'detached', pid: holder.pid }))
      expect(holder.anonymous).toBeGreaterThan(38 * MiB)
      await holder.check()
    })

    test('the view ends with the target, with code 0', async () => {
      const view = desk.start(lethe, 'attach', String(holder.pid))
      let out = ''
      view.stdout?.on('data', data => (out += String(data)))
      await until(() => out.includes('faults/s'), 'a live line')
      holder.child.stdin?.end()
      expect(await ended(view)).toBe(0)
      expect(out).toMatch(/has ended\n$/)
      expect(statuses()).toEqual([])
    })

    test('audit explains the file, before and after attach', () => {
      const audit = (): { totals: { virtual: number; explained: number } } =>
        JSON.parse(desk.run('audit', String(holder.pid), '--json').out)
      expect(audit().totals.explained).toBeGreaterThan(10_000)
      desk.run('attach', String(holder.pid), '--once')
      expect(audit().totals.virtual).toBeGreaterThan(10_000)
      expect(desk.run('audit', String(holder.pid)).out).toMatch(/virtual: given back/)
    })

    test('audit starts a command, looks, and ends it', () => {
      const script = desk.file('sleep.cjs', `${holderScript}; setInterval(() => {}, 1000)`)
      const { code, out } = desk.run(
        'audit',
        '--json',
        '--',
        process.execPath,
        script,
        join(desk.folder, 'data'),
      )
      expect(code).toBe(0)
      const { pid, totals } = JSON.parse(out) as { pid: number; totals: { explained: number } }
      expect(totals.explained).toBeGreaterThan(10_000)
      expect(isAlive(pid)).toBe(false)
    })

    test('run attaches by itself, keeps a record, and ends with its command', async () => {
      const record = join(desk.folder, 'record')
      const words = [
        'run',
        '--json',
        record,
        '--',
        process.execPath,
        join(desk.folder, 'hold.cjs'),
        join(desk.folder, 'data'),
      ]
      const child = desk.start(lethe, ...words)
      await until(
        () => existsSync(record) && readFileSync(record, 'utf8').includes('"attached"'),
        'the record',
      )
      const attached = JSON.parse(readFileSync(record, 'utf8').split('\n')[0] ?? '') as Status
      expect(attached.pid).toBe(child.pid)
      expect(attached.virtual).toBeGreaterThan(38 * MiB)
      child.stdin?.end()
      expect(await ended(child)).toBe(0)
      await until(() => readFileSync(record, 'utf8').includes('"ended"'), 'the last record')
    })

    test('run finds a file that was opened and closed again, whatever its name', async () => {
      const record = join(desk.folder, 'record')
      const script = desk.file(
        'hidden.cjs',
        `process.chdir('/'); const fs = require('node:fs')
       const name = Buffer.from('${Buffer.from(join(desk.folder, 'data')).toString('hex')}', 'hex').toString()
       const data = fs.readFileSync(name); setInterval(() => data[0], 1000)`,
      )
      const child = desk.start(lethe, 'run', '--json', record, '--', process.execPath, script)
      await until(
        () => existsSync(record) && readFileSync(record, 'utf8').includes('"attached"'),
        'the record',
      )
      expect((JSON.parse(readFileSync(record, 'utf8')) as Status).virtual).toBeGreaterThan(38 * MiB)
      child.kill()
      await ended(child)
    })

    test('run follows exec', async () => {
      const record = join(desk.folder, 'record')
      const inner = `${process.execPath} ${join(desk.folder, 'hold.cjs')} ${join(desk.folder, 'data')}`
      const first = `const data = require('node:fs').readFileSync(process.argv[1]); setTimeout(() => process.execve('/bin/sh', ['sh', '-c', 'exec ' + process.argv[2]], process.env), 4000)`
      const child = desk.start(
        lethe,
        'run',
        '--json',
        record,
        '--',
        process.execPath,
        '-e',
        first,
        join(desk.folder, 'data'),
        inner,
      )
      const times = (): number =>
        existsSync(record) ? readFileSync(record, 'utf8').split('"attached"').length - 1 : 0
      await until(() => times() === 2, 'the second attach')
      child.stdin?.end()
      expect(await ended(child)).toBe(0)
    })

    test('detach and status know a command that run has started and that is still small', async () => {
      const child = desk.start(lethe, 'run', '--', 'sleep', '30')
      await until(() => statuses().some(one => one.type === 'waiting'), 'a waiting pager')
      expect(desk.run('attach', String(child.pid), '--once')).toMatchObject({
        code: 1,
        err: expect.stringContaining('was started by lethe run'),
      })
      expect(desk.run('detach', String(child.pid)).code).toBe(0)
      expect(statuses()).toEqual([])
      expect(existsSync(state(String(child.pid)))).toBe(false)
      expect(child.exitCode).toBe(null)
    })
  },
)

test.skipIf(reason !== undefined)('demo shows the same answer before and after', { timeout: 90_000 }, () => {
  desk = new Desk()
  try {
    const { code, out } = desk.run('demo', '--size', '50M', '--json')
    expect(code).toBe(0)
    const seen = JSON.parse(out) as { before: number; after: number; same: boolean }
    expect(seen.same).toBe(true)
    expect(seen.after).toBeLessThan(seen.before / 3)
  } finally {
    desk.close()
  }
})
