// A pager that has nothing to do sleeps: it ends, and what stays wakes another when the target or anybody else wants something.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { type Answer, ask } from '../../src/pager/client.ts'
import type { Nap } from '../../src/pager/nap.ts'
import type { PagerStatus, Question } from '../../src/pager/main.ts'
import { hasUserfaultfd, startTime } from '../../src/process/target.ts'
import { generator } from '../explain-helpers.ts'
import { cannotRun, figure, Lab, MiB, node, PAGE, root, run, shape, Target, until } from './lab.ts'
import { chosen, lensOf, shareOf } from './materials.ts'

vi.setConfig({ testTimeout: 180_000 })
const reason = cannotRun()
const lab = new Lab()
const size = 16 * MiB
const enough = (size - 256 * 1024) * shareOf(chosen)
const file: string = lab.file(size, 4)
afterAll(() => lab.close())
afterEach(() => lab.endAll())

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8')

/** A pager under its supervisor, as `lethe attach` starts it. */
class Sleepy {
  readonly directory: string
  readonly supervisor: ChildProcess
  readonly #log: string

  constructor(target: number, calm: number, more: object = {}) {
    this.directory = lab.path(`state-${target}`)
    this.#log = `${this.directory}.log`
    const options = JSON.stringify({
      ...(chosen === 'packed' ? { backings: [], pack: true } : { backings: [file] }),
      cpu: 0.05,
      calm,
      ...more,
    })
    const command = [node, '--expose-gc', join(root, 'src/pager/main.ts')]
    this.supervisor = spawn(
      join(root, 'bin/lethe-supervisor'),
      [this.directory, String(target), options, ...command],
      {
        stdio: ['ignore', 'ignore', openSync(this.#log, 'a')],
        env: { ...process.env, XDG_CACHE_HOME: join(lab.directory, 'cache') },
        detached: true,
      },
    )
    lab.defer(() => this.end())
  }

  /** Asks it, whether it sleeps or not; if it has been killed, its successor. */
  async ask(question: Question['ask']): Promise<PagerStatus> {
    let answer: Answer | undefined
    await until(`an answer to '${question}': ${this.log}`, async () => {
      answer = await ask(this.directory, { ask: question } as Question, 30_000)
      return answer !== undefined
    })
    return answer as PagerStatus
  }

  get log(): string {
    return readFileSync(this.#log, 'utf8')
  }

  /** Waits until it serves, has dropped the target's memory, and sleeps. */
  async asleep(least = enough): Promise<PagerStatus> {
    await until('it serves', () => existsSync(join(this.directory, 'pager.json')))
    let status = await this.ask('settled')
    for (let i = 0; i < 5 && status.virtual < least; i++) status = await this.ask('pass')
    await until(`it sleeps: ${this.log}`, async () => {
      const before = await this.ask('status')
      // A question that came just when it fell asleep has woken it again.
      await sleep(100)
      const { asleep, pager } = await this.ask('status')
      return asleep === true && pager === before.pager
    })
    return await this.ask('status')
  }

  end(): void {
    const ends = [this.supervisor.pid ?? 0]
    try {
      const { pager, supervisor } = JSON.parse(
        readFileSync(join(this.directory, 'pager.json'), 'utf8'),
      ) as PagerStatus
      ends.push(supervisor, pager)
    } catch {
      // it is gone already, or awake
    }
    for (const pid of ends) if (pid > 1 && startTime(pid) !== undefined) process.kill(pid, 'SIGKILL')
  }
}

async function asleep(calm = 50): Promise<{ target: Target; pager: Sleepy; status: PagerStatus }> {
  const target = await Target.start(lab, file)
  const pager = new Sleepy(target.pid(), calm)
  return { target, pager, status: await pager.asleep() }
}

describe.skipIf(reason !== undefined)(`a pager that sleeps${reason ? ` (${reason})` : ''}`, () => {
  test('takes next to nothing, says how things are, and serves what is touched', async () => {
    const { target, pager, status } = await asleep()
    expect(status).toMatchObject({ asleep: true, settled: true, adopted: false })
    expect(status.virtual).toBeGreaterThanOrEqual(enough)
    await until('it is small', () => figure(status.pager, 'VmRSS') < 256 * 1024)
    const { own, packs, recipes } = await pager.ask('status')
    expect(own - packs - recipes).toBeLessThan(2 * MiB)
    await target.check()
    await target.fill(5 * PAGE, 3 * PAGE, 1)
    await target.check()
    const later = await pager.asleep(0)
    expect(later).toMatchObject({ adopted: false })
    expect(later.faults).toBeGreaterThan(status.faults)
    expect(later.supervisor).toBe(status.supervisor)
  })

  test('is woken by a question, and detaches', async () => {
    const target = await Target.start(lab, file)
    const before = shape(target.pid())
    const pager = new Sleepy(target.pid(), 50)
    const { supervisor } = await pager.asleep()
    await pager.ask('detach')
    expect(figure(target.pid(), 'RssAnon')).toBeGreaterThan(enough)
    expect(shape(target.pid())).toEqual(before)
    await target.check()
    await until('nothing of it is left', () => !existsSync(pager.directory))
    await until('nor its supervisor', () => startTime(supervisor) === undefined)
    // Nobody takes that for a death.
    await sleep(2500)
    expect(existsSync(pager.directory)).toBe(false)
    expect(hasUserfaultfd(target.pid())).toBe(false)
    expect(shape(target.pid())).toEqual(before)
  })

  test('and whose sleeper is killed has a successor', async () => {
    const { target, pager, status } = await asleep()
    process.kill(status.pager, 'SIGKILL')
    await target.check()
    await until('a successor', async () => (await pager.ask('status')).adopted)
    await target.check()
    // Which looks anew: nobody knows what has happened meanwhile.
    expect((await pager.ask('settled')).passes).toBeGreaterThan(status.passes)
  })

  test('and whose supervisor is killed wakes all the same', async () => {
    const { target, pager, status } = await asleep()
    process.kill(status.supervisor, 'SIGKILL')
    await target.check()
    const { supervisor } = await pager.ask('status')
    expect(supervisor).not.toBe(status.supervisor)
    expect(startTime(supervisor)).toBeDefined()
  })

  test('and whose supervisor dies just when it is to start a successor has one all the same', async () => {
    const { target, pager, status } = await asleep()
    // It hears that the sleeper has ended, and can do nothing about it any more.
    process.kill(status.supervisor, 'SIGSTOP')
    await until('the supervisor stands still', () => /^State:\s+T/m.test(stateOf(status.supervisor)))
    const checked = target.check()
    await until('the sleeper has ended', () => /^State:\s+[ZX]/m.test(stateOf(status.pager)))
    process.kill(status.supervisor, 'SIGKILL')
    await checked
    const { supervisor } = await pager.ask('status')
    expect(supervisor).not.toBe(status.supervisor)
    expect(startTime(supervisor)).toBeDefined()
  })

  // A pack is in nobody's way.
  test.skipIf(chosen === 'packed')('lets nobody write to a backing before its pages are back', async () => {
    const stuff = lab.file(size, 9)
    const target = await Target.start(lab, stuff)
    const pager = new Sleepy(target.pid(), 50, { backings: [stuff] })
    await pager.asleep()
    const writer = run(lab, 'dd', [
      'if=/dev/zero',
      `of=${stuff}`,
      'bs=1M',
      'count=4',
      'conv=notrunc',
      'status=none',
    ])
    await new Promise(resolve => writer.process.once('exit', resolve))
    expect(
      readFileSync(stuff)
        .subarray(0, 4 * MiB)
        .every(byte => byte === 0),
    ).toBe(true)
    await target.check()
    expect((await pager.ask('status')).virtual).toBe(0)
  })

  test('serves forks, unmappings and what is given back, and ends with its target', async () => {
    const { target, pager } = await asleep()
    await target.fill(77 * PAGE, 9 * PAGE, 3)
    await target.check()
    await pager.asleep(0)
    const child = await target.fork()
    await target.check(child)
    await pager.asleep(0)
    await target.check(child)
    await target.check()
    await pager.asleep(0)
    target.process.kill('SIGKILL')
    await target.ended()
    // The child is served until it ends, too.
    await target.check(child)
    process.kill(child.pid(), 'SIGKILL')
    await until('its end', () => !existsSync(pager.directory), 30_000)
  })

  test('looks again when the target has grown', async () => {
    // An interpreter that reads a file holds the file's own bytes, whatever other targets hold.
    const some = lab.plain(size, 4)
    const more = lab.plain(24 * MiB, 11)
    const script = lab.path('grow')
    writeFileSync(
      script,
      "import sys\na=open(sys.argv[1],'rb').read()\nprint('r',flush=True)\nfor l in sys.stdin:\n a=(a,open(l.strip(),'rb').read())\n print('m',flush=True)\n",
    )
    const { process: child, voice } = run(lab, 'python3', [script, some])
    await voice.answer()
    const pager = new Sleepy(child.pid as number, 200, { backings: [some, more], pack: false })
    const before = await pager.asleep()
    await voice.ask(more)
    await until(
      'more is virtual',
      async () => (await pager.ask('status')).virtual > before.virtual + 20 * MiB,
      30_000,
    )
  })

  test('knows when it wakes what it had learned of prices', async () => {
    const { target, pager, status } = await asleep()
    const price = (one: PagerStatus): number =>
      one.backings.find(({ lens }) => lens === lensOf[chosen])?.price ?? 0
    expect(price(status)).toBeGreaterThan(0)
    // As no refill of it would ever be: so it can only be what was written down.
    const path = join(pager.directory, 'asleep.json')
    const nap = JSON.parse(readFileSync(path, 'utf8')) as Nap
    expect(nap.prices?.length).toBeGreaterThan(0)
    writeFileSync(path, JSON.stringify({ ...nap, prices: nap.prices?.map(([index]) => [index, 7, 65_536]) }))
    await pager.ask('drop')
    const woken = await pager.ask('status')
    // On a busy machine it sleeps again by now.
    expect(woken.pager).not.toBe(status.pager)
    expect(price(woken)).toBeCloseTo(7, 1)
    await target.check()
  })

  test('stays awake, and says so once, where what it knows can not be written down', async () => {
    const target = await Target.start(lab, file)
    const pager = new Sleepy(target.pid(), 1500)
    await until('it serves', () => existsSync(join(pager.directory, 'pager.json')))
    mkdirSync(join(pager.directory, 'asleep.json.new'))
    let status = await pager.ask('settled')
    for (let i = 0; i < 5 && status.virtual < enough; i++) status = await pager.ask('pass')
    await until('it has tried', () => pager.log.includes('stays awake'))
    await sleep(3000)
    expect(pager.log.split('stays awake').length).toBe(2)
    expect(await pager.ask('status')).toMatchObject({ pager: status.pager, adopted: false })
    expect((await pager.ask('status')).asleep).toBeUndefined()
    expect((await pager.ask('status')).reports.join()).toContain('stays awake')
    await target.check()
  })

  test('and is killed with whatever stands for it at any moment, never gives a wrong byte', async () => {
    const { target, pager } = await asleep(150)
    const random = generator(31)
    let killed = 0
    for (let i = 0; i < 10; i++) {
      await sleep(random() % 400)
      await target.fill((random() % 4000) * PAGE, 2 * PAGE, i)
      await sleep(random() % 200)
      if (i % 2 === 1) {
        const { pager: one, supervisor } = await pager.ask('status')
        const victim = random() % 2 === 0 ? one : supervisor
        if (startTime(victim) !== undefined) {
          process.kill(victim, 'SIGKILL')
          killed++
        }
      }
      await target.check()
      if (i % 3 === 2) await pager.ask('drop')
    }
    expect(killed).toBeGreaterThan(2)
    await pager.ask('detach')
    await target.check()
  })
})
