// What becomes of the files that memory is made of: Lethe holds them, and lets go only when nothing depends on them.
import { execFileSync, spawn } from 'node:child_process'
import { appendFile, open, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Journal } from '../../src/pager/journal.ts'
import * as fds from '../../src/sys/fd.ts'
import { randomBytes } from '../explain-helpers.ts'
import { cannotRun, Lab, MiB, PAGE, Pager, pattern, Target, until } from './lab.ts'
import { chosen, shareOf } from './materials.ts'

vi.setConfig({ testTimeout: chosen === 'verbatim' ? 60_000 : 180_000 })
const reason = cannotRun()
const lab = new Lab()
const size = 8 * MiB
const enough = (size - 256 * 1024) * shareOf(chosen)
let file: string
let seed = 50
afterAll(() => lab.close())
afterEach(() => lab.endAll())
beforeEach(() => {
  file = lab.file(size, seed++)
})

async function dropped(): Promise<{ target: Target; pager: Pager }> {
  const target = await Target.start(lab, file)
  return { target, pager: await Pager.dropped(lab, target.pid(), enough) }
}

/** Ends the lease that a dead pager's open file has on `path`. */
function takeLeaseAway(directory: string, path: string): void {
  const { pid } = Journal.open(join(directory, 'journal')).keeper
  const fd = readdirSync(`/proc/${pid}/fd`).find(n => readlinkSync(`/proc/${pid}/fd/${n}`) === path)
  const keeper = fds.pidfdOpen(pid)
  const open = fds.pidfdGetfd(keeper, Number(fd))
  expect(fds.unlease(open)).toBe(0)
  fds.close(open)
  fds.close(keeper)
}

/** Nothing depends on the file any more, all bytes are right, and another pass does no harm. */
async function letGo(target: Target, pager: Pager): Promise<void> {
  await target.check()
  await until('the backing is given up', async () => (await pager.ask('status')).backings.some(b => b.lost))
  expect((await pager.ask('status')).lost).toBe(0)
  await pager.ask('pass')
  await target.check()
  await pager.detach()
  await target.check()
}

// A pack is the pager's own: nothing happens to it.
describe.skipIf(reason !== undefined || chosen === 'packed')(
  `a backing${reason ? ` (${reason})` : ''}`,
  () => {
    test('after a detach nobody holds it: a writer does not wait', async () => {
      const { target, pager } = await dropped()
      await pager.detach()
      expect(readFileSync('/proc/locks', 'latin1')).not.toContain(`:${statSync(file).ino} `)
      await writeFile(file, 'new')
      await target.check()
    })

    test('after the target has ended nobody holds it', async () => {
      const { target, pager } = await dropped()
      target.process.kill('SIGKILL')
      await pager.ended()
      expect(readFileSync('/proc/locks', 'latin1')).not.toContain(`:${statSync(file).ino} `)
    })

    test('unlinked: its bytes still come', async () => {
      const { target, pager } = await dropped()
      await rm(file)
      await target.check()
      await pager.ask('pass')
      await target.check()
      await pager.detach()
      await target.check()
    })

    test('unlinked, then the pager is killed: its bytes still come', async () => {
      const { target, pager } = await dropped()
      await rm(file)
      await pager.kill()
      const next = await pager.again(lab)
      await target.check()
      await next.detach()
      await target.check()
    })

    test('another file is renamed over it: its bytes still come', async () => {
      const { target, pager } = await dropped()
      const other = lab.file(size, 99)
      await rename(other, file)
      await target.check()
      await pager.ask('pass')
      await target.check()
      await pager.detach()
      await target.check()
    })

    test('truncated by another process', async () => {
      const { target, pager } = await dropped()
      const length = Math.floor(statSync(file).size * 0.6)
      await truncate(file, length)
      expect(statSync(file).size).toBe(length)
      await letGo(target, pager)
    })

    test('truncated to nothing with O_TRUNC and written anew', async () => {
      const { target, pager } = await dropped()
      await writeFile(file, 'short')
      expect(readFileSync(file, 'utf8')).toBe('short')
      await letGo(target, pager)
    })

    test('appended to', async () => {
      const { target, pager } = await dropped()
      const { size: before } = statSync(file)
      await appendFile(file, 'more')
      expect(statSync(file).size).toBe(before + 4)
      await letGo(target, pager)
    })

    test('rewritten in place', async () => {
      const { target, pager } = await dropped()
      const handle = await open(file, 'r+')
      await handle.write(Buffer.alloc(4 * MiB, 7), 0, 4 * MiB, MiB)
      await handle.close()
      await letGo(target, pager)
    })

    test('rewritten in place while a forked child depends on it too', async () => {
      const { target, pager } = await dropped()
      const child = await target.fork()
      await writeFile(file, Buffer.alloc(size, 9))
      await target.check(child)
      child.tell('exit 0')
      await letGo(target, pager)
    })

    test('rewritten in place while pages are being dropped and faulted in', async () => {
      const target = await Target.start(lab, file)
      const pager = await Pager.start(lab, target.pid(), { budget: MiB })
      await pager.ask('settled')
      await target.ask(`loop 0 ${target.length} ${target.predicted(0, target.length)}`)
      await new Promise(resolve => setTimeout(resolve, 300))
      await writeFile(file, Buffer.alloc(size, 3))
      await until('the backing is given up', async () =>
        (await pager.ask('status')).backings.some(b => b.lost),
      )
      expect((await target.ask('x')).split(' ')[0]).toBe('0')
      await letGo(target, pager)
    })

    test('written by the target itself, which waits in its own open()', async () => {
      const { target, pager } = await dropped()
      const fd = await target.number(`open ${file} ${0o2}`)
      expect(fd).toBeGreaterThan(2)
      expect(await target.number(`patch ${fd} ${3 * PAGE} ${PAGE * 5} 1`)).toBe(3 * PAGE)
      const bytes = Buffer.alloc(3 * PAGE)
      pattern(bytes, 1)
      expect(
        readFileSync(file)
          .subarray(PAGE * 5, PAGE * 8)
          .equals(bytes),
      ).toBe(true)
      await letGo(target, pager)
    })

    test('truncated by the target itself', async () => {
      const { target, pager } = await dropped()
      expect(await target.number(`truncate ${file} 100`)).toBe(0)
      await letGo(target, pager)
    })

    test('opened with O_TRUNC by the target itself', async () => {
      const { target, pager } = await dropped()
      expect(await target.number(`open ${file} ${0o1001}`)).toBeGreaterThan(2)
      expect(statSync(file).size).toBe(0)
      await letGo(target, pager)
    })

    test('rewritten while no pager lives: the writer waits until the next one has let go', async () => {
      const { target, pager } = await dropped()
      await pager.kill()
      let written = false
      const writing = writeFile(file, Buffer.alloc(size, 5)).then(() => {
        written = true
      })
      await new Promise(resolve => setTimeout(resolve, 500))
      expect(written).toBe(false)
      const next = await pager.again(lab)
      await writing
      await letGo(target, next)
    })

    // As after 45 s without an answer, when the kernel lets the writer through: the lease is taken away behind the dead pager.
    test.skipIf(chosen !== 'verbatim')(
      'compressed, and overwritten while nobody holds it: its pages are SIGBUS, all others go on',
      async () => {
        const target = await Target.start(lab, file)
        const half = size / 2
        const other = Buffer.from(Buffer.from(randomBytes(half / 2, 77)).toString('hex'))
        const plain = lab.path('plain')
        const packed = `${plain}.gz`
        await writeFile(plain, other)
        await writeFile(packed, gzipSync(other))
        expect(await target.ask(`load ${plain} ${half} ${half}`)).toBe('0')
        target.memory.set(other, half)
        await rm(plain)
        const options = { backings: [packed] }
        const first = await Pager.dropped(lab, target.pid(), enough, options)
        expect((await first.ask('status')).backings.map(b => b.lens).sort()).toEqual(['gunzip', 'verbatim'])
        await first.kill()
        takeLeaseAway(first.directory, packed)
        await writeFile(packed, randomBytes(statSync(packed).size, 78))
        const second = await first.again(lab, options)
        const [got, want] = await target.sums(0, half)
        expect(got).toBe(want)
        for (const at of [half, size - PAGE]) {
          const child = await target.fork(target, at === half ? 0 : 1)
          child.tell(`sum ${at} ${PAGE}`)
          expect(await target.ask(`wait ${child.pid()}`)).toBe(String(1000 + constants.signals.SIGBUS))
        }
        const status = await second.ask('status')
        expect(status.backings.filter(b => b.lost !== undefined).map(b => b.path)).toEqual([packed])
        target.tell(`back ${half} ${half}`)
        expect(await target.ended()).toBe('SIGBUS')
      },
    )

    test('copied back by a rename that a program makes when it saves', async () => {
      const { target, pager } = await dropped()
      for (let i = 0; i < 5; i++) {
        await target.fill(i * 100 * PAGE, 5 * PAGE, i)
        const temporary = lab.path('save')
        expect(await target.number(`writefile ${temporary} ${target.shift} ${size} 0 0`)).toBe(size)
        await rename(temporary, file)
        const saved = readFileSync(file)
        const wanted = target.memory.subarray(target.shift, target.shift + size)
        const wrong = []
        for (let at = 0; at < size; at += 512)
          if (!saved.subarray(at, at + 512).equals(wanted.subarray(at, at + 512)))
            wrong.push(`${at + target.shift}: ${saved.subarray(at, at + 16).toString('hex')}`)
        expect({ i, length: saved.length, wrong: wrong.slice(0, 20), count: wrong.length }).toEqual({
          i,
          length: size,
          wrong: [],
          count: 0,
        })
        await pager.ask('pass')
      }
      await target.check()
      await pager.detach()
      await target.check()
    })

    test('open for writing somewhere: a private copy serves, and what is written does no harm', async () => {
      const target = await Target.start(lab, file)
      const writer = await open(file, 'r+')
      const pager = await Pager.dropped(lab, target.pid(), enough)
      const { backings } = await pager.ask('status')
      expect(backings).toContainEqual(expect.objectContaining({ path: file, copy: true }))
      await writer.write(Buffer.alloc(MiB, 1), 0, MiB, 0)
      await target.check()
      await writer.write(Buffer.alloc(MiB, 1), 0, MiB, 0)
      await writer.close()
      await target.check()
      await pager.detach()
    })

    test('open for writing by the target: a private copy serves', async () => {
      const target = await Target.start(lab, file)
      await target.ask(`open ${file} ${0o2}`)
      const pager = await Pager.dropped(lab, target.pid(), enough)
      await target.check()
      await pager.detach()
      await target.check()
    })

    test('unreadable, missing, a pipe, a folder, named by the user: no harm', async () => {
      const target = await Target.start(lab, file)
      const pipe = lab.path('pipe')
      execFileSync('mkfifo', [pipe])
      const folder = lab.path('folder')
      mkdirSync(folder)
      execFileSync('ln', ['-s', folder, join(folder, 'round')])
      const pager = await Pager.dropped(lab, target.pid(), enough, {
        backings: [file, pipe, folder, '/nonexistent', '/proc/self/mem', '/dev/zero'],
      })
      await target.check()
      await pager.detach()
      await target.check()
    })

    test('gone when the first pass comes: nothing is explained by it', async () => {
      const target = await Target.start(lab, file)
      await rm(file)
      const pager = await Pager.start(lab, target.pid())
      expect((await pager.ask('settled')).virtual).toBe(0)
      await target.check()
      await pager.detach()
    })

    test.skipIf(chosen !== 'verbatim')(
      'changed before the first pass: only what still is equal is explained',
      async () => {
        const target = await Target.start(lab, file)
        const changed = readFileSync(file)
        changed.set(randomBytes(2 * MiB, 123), 3 * MiB)
        await writeFile(file, changed)
        const pager = await Pager.start(lab, target.pid())
        const { virtual } = await pager.ask('settled')
        expect(virtual).toBeGreaterThan(5 * MiB)
        expect(virtual).toBeLessThanOrEqual(6 * MiB)
        await target.check()
        await pager.detach()
        await target.check()
      },
    )

    test('mapped shared and written by somebody who opened it long ago', async () => {
      const target = await Target.start(lab, file)
      const writer = spawn('python3', [
        '-c',
        'import mmap,os,sys\nf=os.open(sys.argv[1],os.O_RDWR)\nm=mmap.mmap(f,0)\nos.close(f)\nprint("mapped",flush=True)\nsys.stdin.readline()\nm[0:1000000]=b"x"*1000000\nprint("written",flush=True)\nsys.stdin.readline()',
        file,
      ])
      lab.defer(() => writer.kill('SIGKILL'))
      await new Promise(resolve => writer.stdout.once('data', resolve))
      const pager = await Pager.start(lab, target.pid())
      await pager.ask('settled')
      writer.stdin.write('\n')
      await new Promise(resolve => writer.stdout.once('data', resolve))
      await target.check()
      await pager.detach()
      await target.check()
    })
  },
)
