// The pager dies, at every moment that can be told from outside; a successor takes over. Never a wrong byte.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { generator } from '../explain-helpers.ts'
import { cannotRun, Lab, MiB, PAGE, Pager, run, shape, Target, until } from './lab.ts'
import { chosen, shareOf } from './materials.ts'

vi.setConfig({ testTimeout: chosen === 'verbatim' ? 90_000 : 240_000 })
const reason = cannotRun()
const lab = new Lab()
const size = 16 * MiB
const enough = (size - 256 * 1024) * shareOf(chosen)
const file: string = lab.file(size, 2)
afterAll(() => lab.close())
afterEach(() => lab.endAll())

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

async function dropped(): Promise<{ target: Target; pager: Pager }> {
  const target = await Target.start(lab, file)
  return { target, pager: await Pager.dropped(lab, target.pid(), enough) }
}

/** How long a drop may be in coming: pieces are looked for after all else. */
const patience = chosen === 'verbatim' ? 3000 : 12_000
/** How long a stop may be in coming: the watch takes a processor. */
const soon = chosen === 'verbatim' ? 1500 : 3000

/** Watches without giving the processor away until `seen`, kills, and says whether it was seen. */
function killWhen(pager: Pager, seen: () => boolean, ms = patience): boolean {
  const end = performance.now() + ms
  while (performance.now() < end)
    if (seen()) {
      pager.process.kill('SIGKILL')
      return true
    }
  return false
}

const stateOf = (pid: number): string => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return stat[stat.lastIndexOf(')') + 2] as string
}

describe.skipIf(reason !== undefined)(`a pager that is killed${reason ? ` (${reason})` : ''}`, () => {
  test('before it is ready: the target goes on, and the next one serves', async () => {
    const target = await Target.start(lab, file)
    const random = generator(21)
    let pager = Pager.spawn(lab, target.pid())
    for (let i = 0; i < 12; i++) {
      await sleep(100 + (random() % 300))
      await pager.kill()
      await target.check()
      await target.fill(i * 9 * PAGE, PAGE, i)
      pager = Pager.spawn(lab, target.pid(), {}, pager.directory)
    }
    expect(await pager.first()).toMatchObject({ type: 'serving' })
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('at the very moment of the attach: while the target is held', async () => {
    const target = await Target.start(lab, file)
    let hits = 0
    for (let i = 0; i < 6; i++) {
      const pager = Pager.spawn(lab, target.pid())
      if (killWhen(pager, () => stateOf(target.pid()) === 't', soon)) hits++
      await pager.kill()
      await until('it is let go', () => stateOf(target.pid()) !== 't')
      const next = Pager.spawn(lab, target.pid(), {}, pager.directory)
      expect(await next.first()).toMatchObject({ type: 'serving' })
      await target.check()
      await next.detach()
      await target.check()
    }
    expect(hits).toBeGreaterThan(0)
  })

  test('during its pass', async () => {
    const target = await Target.start(lab, file)
    const random = generator(22)
    let pager = await Pager.start(lab, target.pid())
    for (let i = 0; i < 10; i++) {
      await sleep(random() % 400)
      await pager.kill()
      pager = await pager.again(lab)
      await target.check()
      await target.fill((random() % 2000) * PAGE, 3 * PAGE, i)
    }
    await pager.ask('settled')
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('during a drop: pages are on their way out', async () => {
    const target = await Target.start(lab, file)
    let pager = await Pager.start(lab, target.pid())
    let hits = 0
    for (let i = 0; i < 8; i++) {
      if (i > 0) {
        await target.check()
        void pager.ask('pass').catch(() => {})
        await sleep(1)
      }
      if (killWhen(pager, () => pager.header(19) !== 0)) hits++
      await pager.kill()
      pager = await pager.again(lab)
      await target.check()
      await target.fill(i * 300 * PAGE, PAGE * 2, i)
    }
    expect(hits).toBeGreaterThan(3)
    await pager.ask('settled')
    await pager.detach()
    await target.check()
  })

  test('while all threads stand still for a drop', async () => {
    const target = await Target.start(lab, file)
    // A small budget and a target that reads on make for a stop every tenth of a second.
    let pager = await Pager.start(lab, target.pid(), { budget: MiB })
    await pager.ask('settled')
    let hits = 0
    for (let i = 0; i < 8; i++) {
      await target.ask(`loop 0 ${target.length} ${target.predicted(0, target.length)}`)
      if (killWhen(pager, () => stateOf(target.pid()) === 't', soon)) hits++
      await pager.kill()
      await until('it is let go', () => stateOf(target.pid()) !== 't')
      pager = await pager.again(lab, { budget: MiB })
      expect((await target.ask('x')).split(' ')[0]).toBe('0')
    }
    expect(hits).toBeGreaterThan(0)
    await pager.detach()
    await target.check()
  })

  test('while the target faults in a tight loop', async () => {
    const { target, pager: first } = await dropped()
    const random = generator(23)
    let pager = first
    for (let i = 0; i < 6; i++) {
      expect(await target.ask(`loop 0 ${target.length} ${target.predicted(0, target.length)}`)).toBe(
        'looping',
      )
      void pager.ask('pass').catch(() => {})
      await sleep(random() % 250)
      await pager.kill()
      await sleep(random() % 50)
      pager = await pager.again(lab)
      await until('the loop goes on', async () => (await pager.ask('status')).faults >= 0)
      const [wrong] = (await target.ask('x')).split(' ')
      expect(wrong).toBe('0')
      await target.fill((random() % 4000) * PAGE, 2 * PAGE, i)
    }
    await pager.detach()
    await target.check()
  })

  test('while threads write', async () => {
    const { target, pager: first } = await dropped()
    const random = generator(24)
    let pager = first
    for (let i = 0; i < 4; i++) {
      await target.ask(`race 2 0 ${4 * MiB} ${3 + 2 * i}`)
      void pager.ask('pass').catch(() => {})
      await sleep(random() % 300)
      await pager.kill()
      pager = await pager.again(lab)
      await pager.ask('pass')
      expect(await target.ask('endrace 2')).toMatch(/^0 /)
    }
    await pager.detach()
    expect(await target.ask('endrace 0')).toMatch(/^0 /)
  })

  test('during a detach, then detached by the successor', async () => {
    const target = await Target.start(lab, file)
    const before = shape(target.pid())
    const random = generator(25)
    let pager = await Pager.dropped(lab, target.pid(), enough)
    let cut = 0
    for (let i = 0; i < 10; i++) {
      const answer = pager.ask('detach').then(
        () => true,
        () => false,
      )
      await sleep(random() % 12)
      await pager.kill()
      if (!(await answer)) cut++
      pager = existsSync(join(pager.directory, 'journal'))
        ? await pager.again(lab)
        : await Pager.start(lab, target.pid())
      await pager.ask('settled')
      await target.check()
    }
    expect(cut).toBeGreaterThan(0)
    await pager.detach()
    await target.check()
    expect(shape(target.pid())).toEqual(before)
  })

  test('and the target forks, unmaps, moves and forgets memory while no pager lives', async () => {
    const { target, pager: first } = await dropped()
    let pager = first
    const whileDead = async (command: string): Promise<string> => {
      await pager.kill()
      target.tell(command)
      await sleep(30)
      pager = await pager.again(lab)
      return await target.answer(command)
    }
    const pid = Number(await whileDead('fork'))
    const child = target.children[0]
    if (child === undefined) throw new Error('no child')
    Object.assign(child, { pid: () => pid })
    await target.check(child)
    child.tell('exit 0')
    expect(await whileDead(`advise ${PAGE * 100} ${PAGE * 50} 4`)).toBe('0')
    target.memory.fill(0, PAGE * 100, PAGE * 150)
    await target.check()
    expect(await whileDead(`relocate ${target.length + MiB}`)).toBe('0')
    target.memory = Buffer.concat([target.memory, Buffer.alloc(MiB)])
    await target.check()
    expect(await whileDead(`map ${PAGE * 200} ${PAGE * 50}`)).toBe('0')
    target.memory.fill(0, PAGE * 200, PAGE * 250)
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('and a forked child goes on after parent and pager have ended', async () => {
    const { target, pager } = await dropped()
    const child = await target.fork()
    await target.check(child)
    const grandchild = await target.fork(child, 1)
    target.tell('exit 0')
    await target.ended()
    await pager.kill()
    const next = await pager.again(lab)
    await target.check(grandchild)
    await target.check(child)
    child.tell('exit 0')
    grandchild.tell('exit 0')
    expect(await next.ended()).toBe(0)
  })

  test('while the target forks again and again: every child sees the bytes', async () => {
    const { target, pager: first } = await dropped()
    const random = generator(26)
    let pager = first
    const at = 100 * PAGE
    for (let i = 0; i < 6; i++) {
      target.tell(`forks 60 ${target.predicted(at, 8 * PAGE)} ${at} ${8 * PAGE}`)
      await sleep(random() % 150)
      await pager.kill()
      pager = await pager.again(lab)
      expect(await target.answer('forks', 30_000)).toBe('0')
      void pager.ask('pass').catch(() => {})
    }
    await pager.detach()
    await target.check()
  })

  test('and an interpreter that grows a list of bytes never notices', async () => {
    const { voice } = run(lab, 'python3', [
      '-u',
      join(import.meta.dirname, '../targets/grow.py'),
      lab.plain(size, 27),
    ])
    const ready = await voice.answer()
    expect(ready).toMatch(/^ready/)
    let pager = await Pager.dropped(lab, voice.pid(), enough, { pack: false })
    const random = generator(27)
    for (let i = 0; i < 4; i++) {
      voice.tell(`grow ${i}`)
      await sleep(random() % 60)
      await pager.kill()
      pager = await pager.again(lab)
      expect(await voice.answer()).toBe('same')
      void pager.ask('pass').catch(() => {})
    }
    await pager.detach()
    expect(await voice.ask('check')).toBe('same')
  })

  test('its target is killed while no pager lives: the successor says that it is gone', async () => {
    const { target, pager } = await dropped()
    await pager.kill()
    target.process.kill('SIGKILL')
    await target.ended()
    const next = Pager.spawn(lab, target.pid(), {}, pager.directory)
    expect(await next.first()).toMatchObject({ type: 'refused', code: 'gone' })
  })
})
