// What the target does with its own memory while it is served.
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { cannotRun, figure, Lab, MiB, type Mode, PAGE, Pager, pattern, Target } from './lab.ts'
import { chosen, shareOf } from './materials.ts'

vi.setConfig({ testTimeout: chosen === 'verbatim' ? 60_000 : 180_000 })
const reason = cannotRun()
const lab = new Lab()
const size = 8 * MiB
const enough = (size - 256 * 1024) * shareOf(chosen)
const file: string = lab.file(size)
/** What is read and mapped while it is served. */
const other: string = chosen === 'verbatim' ? file : lab.plain(size)
afterAll(() => lab.close())

afterEach(() => lab.endAll())

/** A target whose memory is virtual. */
async function dropped(mode: Mode = 'mmap'): Promise<{ target: Target; pager: Pager }> {
  const target = await Target.start(lab, file, mode)
  const pager = await Pager.dropped(lab, target.pid(), enough)
  return { target, pager }
}

/** Checks the memory, detaches, checks again. */
async function intact(target: Target, pager: Pager): Promise<void> {
  await target.check()
  await pager.detach()
  await target.check()
}

const MADV_DONTNEED = 4
const MADV_FREE = 8

describe.skipIf(reason !== undefined)(`a target's own memory calls${reason ? ` (${reason})` : ''}`, () => {
  test.each<Mode>(['mmap', 'malloc', 'brk', 'huge', 'locked'])(
    'memory held by %s is dropped and comes back the same',
    async mode => {
      const target = await Target.start(lab, file, mode)
      const pager = await Pager.start(lab, target.pid())
      const before = figure(target.pid(), 'RssAnon')
      const status = await pager.ask('settled')
      if (mode !== 'locked') {
        expect(status.virtual).toBeGreaterThan(enough)
        expect(figure(target.pid(), 'RssAnon')).toBeLessThan(before - enough)
      }
      await intact(target, pager)
    },
  )

  test('memory read from the last page to the first comes back the same', async () => {
    const { target, pager } = await dropped()
    const again = await target.number(`back 0 ${target.length}`)
    await pager.detach()
    expect(again).toBe(await target.number(`back 0 ${target.length}`))
    await target.check()
  })

  test('a fork before the drop: parent and child keep their bytes', async () => {
    const target = await Target.start(lab, file)
    const child = await target.fork()
    const before = target.predicted(target.shift, size)
    const pager = await Pager.dropped(lab, target.pid(), enough)
    await target.fill(3 * PAGE + 100, 9 * PAGE, 5)
    await target.check()
    expect(await child.number(`sum ${target.shift} ${size}`)).toBe(before)
    await intact(target, pager)
    child.tell('exit 0')
  })

  test('a fork after the drop: parent and child see the same bytes, and write apart', async () => {
    const { target, pager } = await dropped()
    const child = await target.fork()
    await target.check(child)
    await child.ask(`fill ${64 * PAGE} ${PAGE * 4} 77`)
    await target.check()
    const mirror = Buffer.from(target.memory)
    pattern(mirror.subarray(64 * PAGE, 68 * PAGE), 77)
    expect(await child.number(`sum ${64 * PAGE} ${4 * PAGE}`)).toBe(
      crc32(mirror.subarray(64 * PAGE, 68 * PAGE)),
    )
    expect(await child.number(`sum ${68 * PAGE} ${200 * PAGE}`)).toBe(target.predicted(68 * PAGE, 200 * PAGE))
    child.tell('exit 3')
    expect(await target.number(`wait ${child.pid()}`)).toBe(3)
    await intact(target, pager)
  })

  test('a child lives on after its parent has ended, and so does a grandchild', async () => {
    const { target, pager } = await dropped()
    const child = await target.fork()
    const grandchild = await target.fork(child, 1)
    await target.check(grandchild)
    target.tell('exit 0')
    expect(await target.ended()).toBe(0)
    await target.check(child)
    child.tell('exit 0')
    await target.check(grandchild)
    await grandchild.ask(`advise ${PAGE} ${PAGE} ${MADV_DONTNEED}`)
    expect(await grandchild.number(`sum ${PAGE} ${PAGE}`)).toBe(crc32(Buffer.alloc(PAGE)))
    grandchild.tell('exit 0')
    expect(await pager.ended()).toBe(0)
  })

  test('a child that has touched nothing when its parent ends still gets its bytes', async () => {
    const { target } = await dropped()
    const child = await target.fork()
    target.tell('exit 0')
    await target.ended()
    // Long enough for the pager to notice that its target has gone.
    await new Promise(resolve => setTimeout(resolve, 1500))
    await target.check(child)
    child.tell('exit 0')
  })

  test('a thousand forks in a row: every child sees the bytes', async () => {
    const { target, pager } = await dropped()
    const at = 700 * PAGE
    expect(await target.number(`forks 1000 ${target.predicted(at, PAGE)} ${at} ${PAGE}`)).toBe(0)
    expect((await pager.ask('status')).reports).toEqual([])
    await intact(target, pager)
  })

  test('vfork and exec', async () => {
    const { target, pager } = await dropped()
    expect(await target.ask(`vfork 0 ${2 * MiB}`)).toBe(`7 ${target.predicted(0, 2 * MiB)}`)
    await intact(target, pager)
  })

  test('posix_spawn', async () => {
    const { target, pager } = await dropped()
    expect(await target.number('spawn')).toBe(9)
    await intact(target, pager)
  })

  test('mremap grows the block: the old bytes, then zeros', async () => {
    const { target, pager } = await dropped()
    const grown = target.length + 4 * MiB
    expect(await target.number(`grow ${grown}`)).toBeGreaterThanOrEqual(0)
    target.memory = Buffer.concat([target.memory, Buffer.alloc(4 * MiB)])
    await target.check()
    await target.fill(target.length - 3 * PAGE, 2 * PAGE, 9)
    await intact(target, pager)
  })

  test('mremap moves the block', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`relocate ${target.length}`)).toBe(0)
    await intact(target, pager)
  })

  test('mremap moves and grows the block, twice, and a new pass drops it again', async () => {
    const { target, pager } = await dropped()
    for (const more of [MiB, 2 * MiB]) {
      expect(await target.number(`relocate ${target.length + more}`)).toBe(0)
      target.memory = Buffer.concat([target.memory, Buffer.alloc(more)])
      await target.check()
    }
    await pager.ask('pass')
    await intact(target, pager)
  })

  test('mremap shrinks the block and grows it again: zeros behind', async () => {
    const { target, pager } = await dropped()
    const half = 4 * MiB
    expect(await target.number(`shrink ${half}`)).toBe(0)
    const all = target.length
    expect(await target.number(`grow ${all}`)).toBeGreaterThanOrEqual(0)
    target.memory.fill(0, half)
    await intact(target, pager)
  })

  test('realloc of a big block keeps the bytes', async () => {
    const { target, pager } = await dropped('malloc')
    expect(await target.number(`realloc ${size + 6 * MiB}`)).toBe(target.shift)
    const [got, want] = await target.sums(target.from, size)
    expect(got).toBe(want)
    await pager.detach()
    const [again] = await target.sums(target.from, size)
    expect(again).toBe(want)
  })

  test('madvise(DONTNEED) on virtual pages: zeros from then on', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`advise ${16 * PAGE} ${500 * PAGE} ${MADV_DONTNEED}`)).toBe(0)
    target.memory.fill(0, 16 * PAGE, 516 * PAGE)
    await intact(target, pager)
  })

  test('madvise(DONTNEED) on pages that have come back: zeros from then on', async () => {
    const { target, pager } = await dropped()
    await target.check()
    expect(await target.number(`advise ${16 * PAGE} ${500 * PAGE} ${MADV_DONTNEED}`)).toBe(0)
    target.memory.fill(0, 16 * PAGE, 516 * PAGE)
    await intact(target, pager)
  })

  test('madvise(FREE): each page keeps its bytes or is zeros', async () => {
    const { target, pager } = await dropped()
    await target.check()
    expect(await target.number(`advise ${32 * PAGE} ${64 * PAGE} ${MADV_FREE}`)).toBe(0)
    const zero = crc32(Buffer.alloc(PAGE))
    for (let p = 32; p < 96; p++)
      expect([zero, target.predicted(p * PAGE, PAGE)]).toContain(
        await target.number(`sum ${p * PAGE} ${PAGE}`),
      )
    await target.fill(32 * PAGE, 64 * PAGE, 1)
    await intact(target, pager)
  })

  test('munmap and reuse of the address: zeros, then what is written', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`unmap ${100 * PAGE} ${300 * PAGE}`)).toBe(0)
    expect(await target.number(`map ${100 * PAGE} ${300 * PAGE}`)).toBe(0)
    target.memory.fill(0, 100 * PAGE, 400 * PAGE)
    await target.check()
    await target.fill(120 * PAGE, 50 * PAGE, 3)
    await intact(target, pager)
  })

  test('one thread unmaps a page, another moves a page to just there: it keeps its bytes', async () => {
    const { target, pager } = await dropped()
    const pages = 900
    expect(await target.number(`juggle ${PAGE} ${pages}`)).toBe(target.predicted(PAGE, pages * PAGE))
    expect((await pager.ask('status')).lost).toBe(0)
    await pager.detach()
  })

  test('mmap(MAP_FIXED) over part of the block: zeros there, the bytes around it', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`map ${100 * PAGE} ${300 * PAGE}`)).toBe(0)
    target.memory.fill(0, 100 * PAGE, 400 * PAGE)
    await target.check()
    await pager.ask('pass')
    await intact(target, pager)
  })

  test('mmap(MAP_FIXED) over part, then the same file is read there: it can be dropped again', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`map ${PAGE * 512} ${PAGE * 512}`)).toBe(0)
    target.memory.fill(0, PAGE * 512, PAGE * 1024)
    expect(await target.number(`load ${other} ${PAGE * 512} ${PAGE * 512}`)).toBe(0)
    readFileSync(other).copy(target.memory, PAGE * 512, 0, PAGE * 512)
    await pager.ask('pass')
    await intact(target, pager)
  })

  test('a file mapped over part of the block', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`mapfile ${other} ${64 * PAGE} ${64 * PAGE} ${4 * PAGE}`)).toBe(0)
    readFileSync(other).copy(target.memory, 64 * PAGE, 4 * PAGE, 68 * PAGE)
    await target.check()
    await target.fill(70 * PAGE, PAGE, 8)
    await pager.ask('pass')
    await intact(target, pager)
  })

  test('brk shrinks and grows: zeros behind', async () => {
    const { target, pager } = await dropped('brk')
    const half = target.length / 2 - ((target.length / 2) % PAGE)
    expect(await target.number(`brk ${half}`)).toBe(0)
    expect(await target.number(`brk ${target.length}`)).toBe(0)
    target.memory.fill(0, half)
    await target.check()
    await target.fill(half - PAGE, 5 * PAGE, 4)
    await intact(target, pager)
  })

  test('mprotect: read-only and back, none and back', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`protect ${10 * PAGE} ${200 * PAGE} 1`)).toBe(0)
    expect(await target.number(`protect ${300 * PAGE} ${200 * PAGE} 0`)).toBe(0)
    expect(await target.number(`sum ${10 * PAGE} ${200 * PAGE}`)).toBe(
      target.predicted(10 * PAGE, 200 * PAGE),
    )
    await pager.ask('pass')
    expect(await target.number(`protect 0 ${target.length} 3`)).toBe(0)
    await intact(target, pager)
  })

  test('a block that mprotect has split is dropped in its parts', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`protect ${100 * PAGE} ${200 * PAGE} 1`)).toBe(0)
    await target.check()
    expect((await pager.ask('status')).virtual).toBeLessThan(MiB)
    expect((await pager.ask('drop')).virtual).toBeGreaterThan(enough)
    expect(await target.number(`protect ${100 * PAGE} ${200 * PAGE} 3`)).toBe(0)
    await intact(target, pager)
  })

  test('detach while part of the block is inaccessible', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`protect ${300 * PAGE} ${200 * PAGE} 0`)).toBe(0)
    await pager.detach()
    expect(await target.number(`protect ${300 * PAGE} ${200 * PAGE} 3`)).toBe(0)
    await target.check()
  })

  test('mlock of virtual pages brings them back', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`lock ${16 * PAGE} ${256 * PAGE}`)).toBe(0)
    await pager.ask('pass')
    await intact(target, pager)
  })

  test('a write to virtual pages, then detach, keeps the write', async () => {
    const { target, pager } = await dropped()
    await target.fill(5, 1, 200)
    await target.fill(100 * PAGE + 1, 3 * PAGE, 17)
    await target.fill(target.length - 3 * PAGE, PAGE, 33)
    await pager.detach()
    await target.check()
  })

  test('a page that is written after a refill keeps the write through the next drop', async () => {
    const { target, pager } = await dropped()
    for (let round = 0; round < 3; round++) {
      await target.check()
      await target.fill((50 + 100 * round) * PAGE + 7, 4 * PAGE, round)
      await pager.ask('pass')
    }
    await intact(target, pager)
  })

  test('memmove inside the block, up and down', async () => {
    const { target, pager } = await dropped()
    for (const [to, from, n] of [
      [0, 100_000, 3 * MiB],
      [3 * MiB + 5, 2 * MiB, 4 * MiB],
    ] as const) {
      await target.ask(`move ${to} ${from} ${n}`)
      target.memory.copyWithin(to, from, from + n)
    }
    await intact(target, pager)
  })

  test('read(2), write(2) and O_DIRECT on virtual pages', async () => {
    const { target, pager } = await dropped()
    const out = lab.path('out')
    expect(await target.number(`writefile ${out} ${7 * PAGE + 3} ${2 * MiB} 0 0`)).toBe(2 * MiB)
    expect(readFileSync(out).equals(target.memory.subarray(7 * PAGE + 3, 7 * PAGE + 3 + 2 * MiB))).toBe(true)
    expect(await target.number(`readfile ${other} ${600 * PAGE + 11} ${MiB} 12345 0`)).toBe(MiB)
    readFileSync(other).copy(target.memory, 600 * PAGE + 11, 12345, 12345 + MiB)
    await target.check()
    await pager.ask('pass')
    const direct = lab.path('direct')
    expect(await target.number(`writefile ${direct} ${1100 * PAGE} ${2 * MiB} 0 1`)).toBe(2 * MiB)
    expect(readFileSync(direct).equals(target.memory.subarray(1100 * PAGE, 1100 * PAGE + 2 * MiB))).toBe(true)
    expect(await target.number(`readfile ${other} ${1500 * PAGE} ${MiB} ${MiB} 1`)).toBe(MiB)
    readFileSync(other).copy(target.memory, 1500 * PAGE, MiB, 2 * MiB)
    await intact(target, pager)
  })

  test('O_DIRECT into virtual pages that nobody has touched', async () => {
    const { target, pager } = await dropped()
    expect(await target.number(`readfile ${other} ${512 * PAGE} ${2 * MiB} ${3 * MiB} 1`)).toBe(2 * MiB)
    readFileSync(other).copy(target.memory, 512 * PAGE, 3 * MiB, 5 * MiB)
    await intact(target, pager)
  })

  test('eight threads fault the same pages at once and see the same bytes', async () => {
    const { target, pager } = await dropped()
    for (let i = 0; i < 20; i++) {
      const at = i * 90 * PAGE
      expect(await target.ask(`same 8 ${at} ${PAGE}`)).toBe(`0 ${target.predicted(at, PAGE)}`)
    }
    expect(await target.ask(`same 8 0 ${target.length}`)).toBe(`0 ${target.predicted(0, target.length)}`)
    await intact(target, pager)
  })

  test.each([1, 2, 3])('threads write while pages are verified and dropped: seed %i', async seed => {
    const target = await Target.start(lab, file)
    await target.ask(`race 3 0 ${4 * MiB} ${seed}`)
    const pager = await Pager.start(lab, target.pid())
    const end = performance.now() + 4000
    let passes = 0
    do {
      await pager.ask('pass')
      passes++
    } while (performance.now() < end || passes < 2)
    expect((await pager.ask('status')).dropped).toBeGreaterThan(2 * MiB)
    const [wrong, writes] = (await target.ask('endrace 3')).split(' ').map(Number)
    expect({ wrong, enoughWrites: (writes as number) > 1000, passes: passes > 1 }).toEqual({
      wrong: 0,
      enoughWrites: true,
      passes: true,
    })
    await pager.detach()
    expect(await target.ask('endrace 0')).toMatch(/^0 /)
  })

  test('a budget bounds the resident explained memory', async () => {
    const target = await Target.start(lab, file)
    const budget = 2 * MiB
    const pager = await Pager.start(lab, target.pid(), { budget })
    await pager.ask('settled')
    for (let i = 0; i < 4; i++) {
      await target.check()
      const before = (await pager.ask('status')).clean
      expect(before).toBeGreaterThan(0)
      let clean = before
      const end = performance.now() + 5000
      while (clean > budget && performance.now() < end) clean = (await pager.ask('status')).clean
      expect(clean).toBeLessThanOrEqual(budget)
    }
    await intact(target, pager)
  })

  test('threads write while a budget drops pages all the time', async () => {
    const target = await Target.start(lab, file)
    const pager = await Pager.start(lab, target.pid(), { budget: MiB })
    await pager.ask('settled')
    await target.ask(`race 2 0 ${PAGE * 64} 7`)
    for (let i = 0; i < 12; i++)
      expect(await target.number(`sum ${2 * MiB} ${5 * MiB}`)).toBe(target.predicted(2 * MiB, 5 * MiB))
    expect(await target.ask('endrace 2')).toMatch(/^0 /)
    await pager.detach()
    expect(await target.ask('endrace 0')).toMatch(/^0 /)
  })
})
