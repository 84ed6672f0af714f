// Stopping threads and borrowing one: no call of the program's, no signal and no register may show it.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { cannotRun, Lab, Lines, MiB, node, Pager, root, run, Target, until } from './lab.ts'
import { generator } from '../explain-helpers.ts'

vi.setConfig({ testTimeout: 60_000 })
const reason = cannotRun()
const lab = new Lab()
afterAll(() => lab.close())
afterEach(() => lab.endAll())

interface Seen {
  wrong: number
  rounds: number
  signals: number
  outOfOrder: number
  alarms: number
  received: number
  broken: number
}

const look = async (voice: { ask(line: string): Promise<string> }): Promise<Seen & { kinds: string }> => {
  const [figures = '', kinds = ''] = (await voice.ask('')).split(' kinds ')
  const [wrong = 0, rounds = 0, signals = 0, outOfOrder = 0, alarms = 0, received = 0, broken = 0] = figures
    .split(' ')
    .map(Number)
  return { wrong, rounds, signals, outOfOrder, alarms, received, broken, kinds }
}

/** A process that borrows and stops threads of `pid` without a pause, until it is killed. */
function harass(pid: number, what: 'borrow' | 'stop'): ReturnType<typeof spawn> {
  const child = spawn(node, [join(root, 'test/safety/harass.ts'), String(pid), what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  lab.defer(() => child.kill('SIGKILL'))
  return child
}

/** Its next line, of those that say that it has borrowed or stopped: on a busy machine a stop is given up after 20 ms, and the first ones may say 0. */
async function atWork(lines: Lines): Promise<void> {
  for (let i = 0; i < 100; i++) if (Number(await lines.next()) > 0) return
  throw new Error('It has neither borrowed nor stopped a thread in ten seconds')
}

describe.skipIf(reason !== undefined)(`stops and borrowed threads${reason ? ` (${reason})` : ''}`, () => {
  test('sleeps, reads, polls, futexes, waits for signals: none is cut short, none says EINTR', async () => {
    // This program holds the file's own bytes, whatever other targets hold.
    const { voice } = run(lab, lab.program('signals'), [lab.plain(8 * MiB), '8'])
    expect(await voice.answer()).toBe('ready')
    const pager = await Pager.dropped(lab, voice.pid(), 7 * MiB, { pack: false })
    voice.tell('go 1000')
    for (let i = 0; i < 8; i++) await pager.ask('pass')
    const during = await look(voice)
    expect(during).toMatchObject({ wrong: 0, signals: 1000, outOfOrder: 0, broken: 0 })
    await pager.detach()
    const after = await look(voice)
    expect(after).toMatchObject({ wrong: 0, signals: 1000, outOfOrder: 0, broken: 0 })
    expect(after.alarms).toBeGreaterThan(during.alarms)
    expect(after.received).toBeGreaterThan(during.received)
  })

  test.each(['borrow', 'stop'] as const)('a %s after the other, without a pause', async what => {
    const { voice } = run(lab, lab.program('signals'), [])
    expect(await voice.answer()).toBe('ready')
    const harasser = harass(voice.pid(), what)
    const lines = new Lines(harasser.stdout as NonNullable<typeof harasser.stdout>)
    voice.tell('go 2000')
    for (let i = 0; i < 4; i++) await atWork(lines)
    await until('all signals are there', async () => (await look(voice)).signals >= 2000)
    const seen = await look(voice)
    harasser.kill('SIGKILL')
    expect(seen).toMatchObject({ wrong: 0, signals: 2000, outOfOrder: 0, broken: 0 })
    // Meanwhile some get nowhere: the kernel begins a timed recv anew after each stop.
    await until('alarms and all calls go on', async () => {
      const now = await look(voice)
      return now.alarms > seen.alarms && now.rounds > seen.rounds + 5
    })
  })

  test.each(['borrow', 'stop'] as const)(
    'killed during a %s, again and again: registers, vectors, red zone and mask are what they were',
    async what => {
      const { voice } = run(lab, lab.program('registers'), [])
      expect(await voice.answer()).toMatch(/^ready/)
      const random = generator(what === 'borrow' ? 11 : 12)
      for (let i = 0; i < 12; i++) {
        const before = Number((await voice.ask('')).split(' ')[1])
        const harasser = harass(voice.pid(), what)
        const lines = new Lines(harasser.stdout as NonNullable<typeof harasser.stdout>)
        await atWork(lines)
        await new Promise(resolve => setTimeout(resolve, random() % 8))
        harasser.kill('SIGKILL')
        await new Promise(resolve => harasser.once('exit', resolve))
        await until('it runs on', async () => Number((await voice.ask('')).split(' ')[1]) > before)
        expect((await voice.ask('')).split(' ')[0]).toBe('0')
      }
    },
  )

  test('killed during a borrow: sleeping calls go on too', async () => {
    const { voice } = run(lab, lab.program('signals'), [])
    expect(await voice.answer()).toBe('ready')
    const random = generator(13)
    for (let i = 0; i < 8; i++) {
      const harasser = harass(voice.pid(), 'borrow')
      const lines = new Lines(harasser.stdout as NonNullable<typeof harasser.stdout>)
      voice.tell('go 100')
      expect(Number(await lines.next())).toBeGreaterThan(0)
      await new Promise(resolve => setTimeout(resolve, random() % 8))
      harasser.kill('SIGKILL')
      await new Promise(resolve => harasser.once('exit', resolve))
    }
    const seen = await look(voice)
    // The kernel ends a sleep early for no one; a wait that a death cut short may say EINTR once.
    expect(seen).toMatchObject({ signals: 800, outOfOrder: 0, broken: 0 })
    expect(seen.wrong).toBe(0)
    await until('alarms go on', async () => (await look(voice)).alarms > seen.alarms)
  })

  test('a parent that waits in vfork does not stay stopped afterwards', async () => {
    const { voice, process: child } = run(lab, 'python3', [
      '-c',
      'import subprocess,sys\nprint("ready",flush=True)\nfor l in sys.stdin: print(subprocess.run(["sh","-c",l]).returncode,flush=True)',
    ])
    expect(await voice.answer()).toBe('ready')
    const harasser = harass(child.pid as number, 'stop')
    const lines = new Lines(harasser.stdout as NonNullable<typeof harasser.stdout>)
    for (let i = 0; i < 40; i++) expect(await voice.ask(`exit ${i}`)).toBe(String(i))
    expect(Number(await lines.next())).toBeGreaterThan(0)
    harasser.kill('SIGKILL')
  })

  test('what can not be dropped while it waits in vfork goes afterwards', async () => {
    const target = await Target.start(lab, lab.file(8 * MiB, 6))
    const pager = await Pager.dropped(lab, target.pid(), 7 * MiB)
    await target.check()
    const virtual = async (): Promise<number> => (await pager.ask('status')).virtual
    expect(await virtual()).toBeLessThan(MiB)
    const waited = target.ask('vwait 4000000')
    await until('it waits', async () =>
      /^State:\s*D/m.test(readFileSync(`/proc/${target.pid()}/status`, 'utf8')),
    )
    await pager.ask('pass')
    expect(await virtual()).toBeLessThan(MiB)
    expect(await waited).toBe('5')
    await until('it is dropped', async () => (await virtual()) > 7 * MiB, 3500)
    await target.check()
    await pager.detach()
  })

  test('a target with 200 threads', async () => {
    const target = await Target.start(lab, lab.file(8 * MiB, 4))
    await target.ask('threads 200')
    const pager = await Pager.dropped(lab, target.pid(), 7 * MiB)
    await target.check()
    await target.fill(1000, 10_000, 3)
    await pager.ask('pass')
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('SIGSTOP and SIGCONT while attached; a stopped target stays stopped', async () => {
    const target = await Target.start(lab, lab.file(8 * MiB, 5))
    const state = async (): Promise<string> => {
      return /^State:\s*(\S)/m.exec(readFileSync(`/proc/${target.pid()}/status`, 'utf8'))?.[1] ?? ''
    }
    const stop = async (): Promise<void> => {
      target.process.kill('SIGSTOP')
      await until('it is stopped', async () => (await state()) === 'T')
    }
    await stop()
    expect(await Pager.spawn(lab, target.pid()).first()).toMatchObject({ type: 'refused', code: 'busy' })
    expect(await state()).toBe('T')
    target.process.kill('SIGCONT')
    const pager = await Pager.dropped(lab, target.pid(), 7 * MiB)
    await target.check()
    await stop()
    await pager.ask('pass')
    expect(await state()).toBe('T')
    target.process.kill('SIGCONT')
    for (let i = 0; i < 10; i++) {
      const passing = pager.ask('pass')
      await stop()
      target.process.kill('SIGCONT')
      await target.check()
      await passing
    }
    await stop()
    await pager.detach()
    expect(await state()).toBe('T')
    target.process.kill('SIGCONT')
    await target.check()
  })
})
