/** Metrics that a Prometheus parser reads; the daemon: its policy, what it attaches to and what it never touches. */
import { createServer } from 'node:net'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Ajv2020 } from 'ajv/dist/2020.js'
import parsePrometheus from 'parse-prometheus-text-format'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parsePolicy, PolicyError, ruleFor } from '../src/daemon/policy.ts'
import { Watch, type Wanted } from '../src/daemon/watch.ts'
import { parseAddress } from '../src/metrics/server.ts'
import { cannotAttach, Desk, ended, Holder, lethe, MiB, root, until } from './cli-helpers.ts'

const reason = cannotAttach()

describe('a policy', () => {
  const text = readFileSync(join(root, 'packaging/policy.json'), 'utf8')
  const schema = JSON.parse(readFileSync(join(root, 'docs/schemas/policy.schema.json'), 'utf8')) as object
  const check = new Ajv2020({ strict: false }).compile(schema)

  test('the one that is packaged is right, by the schema and by us', () => {
    expect(check(JSON.parse(text)), JSON.stringify(check.errors)).toBe(true)
    expect(parsePolicy(text).rules.length).toBeGreaterThan(0)
  })

  test.each([
    ['{', /no JSON/],
    ['[]', /no object/],
    ['{"rules": []}', /there is none/],
    ['{"rules": [{"name": "a", "match": {}}]}', /rules\[0\]\.match: it would match every process/],
    ['{"rules": [{"name": "a", "match": {"comand": "x"}}]}', /'comand' is not known here/],
    ['{"rules": [{"name": "a", "match": {"command": 3}}]}', /rules\[0\]\.match\.command: 3 is no text/],
    ['{"rules": [{"name": "a", "match": {"user": "x"}, "budget": "much"}]}', /"much" is no size/],
    [
      '{"rules": [{"name": "a", "match": {"user": "x"}, "pressure": 200}]}',
      /pressure: 200 is no number from/,
    ],
    ['{"every": 0, "rules": [{"name": "a", "match": {"user": "x"}}]}', /every: 0 is no number/],
    ['{"stop": "kill", "rules": [{"name": "a", "match": {"user": "x"}}]}', /neither "detach" nor "leave"/],
  ])('%s is refused, with the place', (wrong, why) => {
    expect(() => parsePolicy(wrong)).toThrow(why)
    expect(() => parsePolicy(wrong)).toThrow(PolicyError)
    let document: unknown
    try {
      document = JSON.parse(wrong)
    } catch {
      return
    }
    // The schema agrees, but for the list that must not be empty, which an editor need not forbid.
    if (wrong !== '{"rules": []}') expect(check(document)).toBe(false)
  })

  test('the first rule that fits counts, never comes before all, and * does not match part of a name', () => {
    const policy = parsePolicy(
      JSON.stringify({
        rules: [
          { name: 'one', match: { command: 'python*', user: 'ana' } },
          { name: 'two', match: { command: 'python3' } },
          { name: 'three', match: { cgroup: '/user.slice/*' } },
        ],
        never: [{ command: 'postgres' }],
      }),
    )
    const rule = (command: string, user: string, cgroup: string): string | undefined => {
      const found = ruleFor(policy, { commands: [command], users: [user, '7'], cgroups: [cgroup] })
      return typeof found === 'object' ? found.name : found
    }
    expect(rule('python3', 'ana', '/')).toBe('one')
    expect(rule('python3', 'bo', '/')).toBe('two')
    expect(rule('xpython3', 'ana', '/user.slice/a')).toBe('three')
    expect(rule('postgres', 'ana', '/user.slice/a')).toBe('never')
    expect(rule('p.thon3', 'ana', '/')).toBeUndefined()
  })
})

test.each([
  ['9464', { host: '127.0.0.1', port: 9464 }],
  [':9464', { host: '127.0.0.1', port: 9464 }],
  ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
  ['[::1]:80', { host: '::1', port: 80 }],
  ['localhost:80', { host: 'localhost', port: 80 }],
  ['::1:80', undefined],
  ['host', undefined],
  ['1.2.3.4:99999', undefined],
  ['', undefined],
])('the address %j', (text, address) => expect(parseAddress(text)).toEqual(address))

describe.skipIf(reason !== undefined)(
  `served${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 120_000 },
  () => {
    let desk: Desk
    let holder: Holder
    beforeEach(async () => {
      desk = new Desk()
      holder = await desk.holder(24 * MiB)
    })
    afterEach(() => desk.close())

    /** What a stream has said so far. */
    function heard(stream: Readable): () => string {
      let text = ''
      stream.on('data', (data: Buffer) => {
        text += data.toString()
      })
      return () => text
    }
    type Family = {
      name: string
      type: string
      help: string
      metrics: { value: string; labels?: Record<string, string> }[]
    }
    const scrape = async (url: string): Promise<Map<string, Family>> => {
      const answer = await fetch(url)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
      const families = parsePrometheus(await answer.text()) as Family[]
      return new Map(families.map(family => [family.name, family]))
    }
    const address = (text: string): string | undefined => /metrics at (\S+)/.exec(text)?.[1]

    test('attach --metrics says what status says, and ends with attach', async () => {
      const attach = desk.start(lethe, 'attach', String(holder.pid), '--metrics', '0')
      const [out, err] = [heard(attach.stdout as Readable), heard(attach.stderr as Readable)]
      const url = await until(() => address(err()), 'the address')
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
      await until(() => out().includes('attached'), 'the first pass')
      await holder.check()
      const families = await scrape(url)
      for (const [name, family] of families) {
        expect(family.type, name).toBe(name.endsWith('_total') ? 'COUNTER' : 'GAUGE')
        expect(family.help.length).toBeGreaterThan(10)
      }
      const value = (name: string): number => Number(families.get(name)?.metrics[0]?.value)
      expect(families.get('lethe_virtual_bytes')?.metrics[0]?.labels).toMatchObject({
        pid: String(holder.pid),
      })
      expect(value('lethe_dropped_bytes_total')).toBeGreaterThan(22 * MiB)
      expect(value('lethe_refilled_bytes_total')).toBeGreaterThan(22 * MiB)
      expect(value('lethe_lost_bytes')).toBe(0)
      expect(families.get('lethe_refill_seconds')?.metrics[0]?.labels).toMatchObject({ lens: 'verbatim' })
      expect((await fetch(url.replace('/metrics', '/'))).status).toBe(404)
      attach.kill('SIGINT')
      await ended(attach)
      await expect(fetch(url)).rejects.toThrow()
      await holder.check()
    })

    test('a wrong address is a wrong use; a port that is taken is said before anything is touched', async () => {
      const taken = createServer().listen(0, '127.0.0.1')
      await new Promise(resolve => taken.once('listening', resolve))
      const { port } = taken.address() as { port: number }
      const pid = String(holder.pid)
      expect(desk.run('attach', pid, '--metrics', 'nowhere').code).toBe(2)
      expect(desk.run('attach', pid, '--metrics', '0', '--once').code).toBe(2)
      const { code, err } = desk.run('attach', pid, '--metrics', String(port))
      expect([code, err]).toEqual([1, expect.stringMatching(/EADDRINUSE/)])
      expect(JSON.parse(desk.run('status', '--json').out)).toMatchObject({ processes: [] })
      taken.close()
    })

    test('the daemon attaches to what a rule is about, leaves the rest, and puts everything back', async () => {
      // What tells them apart is the name under which each was started.
      const named = async (name: string): Promise<Holder> => {
        const path = join(desk.folder, name)
        symlinkSync(process.execPath, path)
        const child = desk.start(path, join(desk.folder, 'hold.cjs'), join(desk.folder, 'data'))
        const started = new Holder(child, holder.expected)
        await started.check()
        return started
      }
      const [wanted, never, other] = [
        await named('lethe-yes'),
        await named('lethe-never'),
        await named('lethe-other'),
      ]
      const policy = desk.file(
        'policy.json',
        JSON.stringify({
          every: 1,
          settle: 1,
          minimum: '16M',
          rules: [
            { name: 'all ours', match: { command: 'lethe-yes' }, budget: '64M' },
            { name: 'and never', match: { command: 'lethe-never' } },
          ],
          never: [{ command: 'lethe-n*' }],
        }),
      )
      await until(
        () => desk.run('daemon', '--policy', policy, '--dry-run').out.includes('all ours'),
        'a match',
      )
      const dry = desk.run('daemon', '--policy', policy, '--dry-run')
      expect(
        dry.out
          .trim()
          .split('\n')
          .map(line => line.split(' ')[0]),
      ).toEqual([String(wanted.pid)])
      const daemon = desk.start(lethe, 'daemon', '--policy', policy, '--json', '--metrics', '0')
      const [out, err] = [heard(daemon.stdout as Readable), heard(daemon.stderr as Readable)]
      await until(() => out().includes('"attached"'), 'a process that is attached')
      expect(wanted.anonymous).toBeLessThan(20 * MiB)
      await wanted.check()
      const families = await scrape((await until(() => address(err()), 'the address')) as string)
      expect(families.get('lethe_daemon_attached')?.metrics[0]?.value).toBe('1')
      const { processes } = JSON.parse(desk.run('status', '--json').out) as { processes: { pid: number }[] }
      expect(processes.map(one => one.pid)).toEqual([wanted.pid])
      desk.file('policy.json', '{"rules": 7}')
      daemon.kill('SIGHUP')
      await until(() => err().includes('stays as it was'), 'the refusal of a wrong policy')
      daemon.kill('SIGTERM')
      expect(await ended(daemon)).toBe(0)
      expect(out()).toMatch(/"detached"/)
      expect(JSON.parse(desk.run('status', '--json').out)).toMatchObject({ processes: [] })
      for (const one of [holder, wanted, other, never]) await one.check()
    })

    test('of a program whose process has ended young, only those twice as old are wanted', async () => {
      const path = join(desk.folder, 'lethe-young')
      symlinkSync(process.execPath, path)
      const child = desk.start(path, join(desk.folder, 'hold.cjs'), join(desk.folder, 'data'))
      await new Holder(child, holder.expected).check()
      const watch = new Watch()
      const policy = parsePolicy(
        '{"settle": 0, "minimum": "16M", "rules": [{"name": "all", "match": {"command": "lethe-y*"}}]}',
      )
      const wanted = (): Wanted[] => watch.look(policy, new Set())
      const [one] = wanted()
      expect(one).toMatchObject({ pid: child.pid, program: 'lethe-young' })
      // As if it were one like this that has just ended.
      watch.endedYoung('lethe-young', one?.start ?? 0)
      expect(wanted()).toEqual([])
      await until(() => wanted().length === 1, 'twice its age')
      watch.endedYoung('lethe-young', one?.start ?? 0)
      expect(wanted()).toEqual([])
      watch.forget()
      expect(wanted()).toHaveLength(1)
    })

    test('a wrong policy is a wrong use', () => {
      const policy = desk.file('policy.json', '{"rules": []}')
      const { code, err } = desk.run('daemon', '--policy', policy)
      expect([code, err]).toEqual([2, expect.stringMatching(/policy\.json: rules: there is none/)])
    })
  },
)
