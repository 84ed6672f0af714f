import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { run } from '../../src/guest/instance.ts'
import { guestOf, load } from '../../src/guest/load.ts'
import { guest, launcher, lethe, whyNoGuests } from './guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

const folder = mkdtempSync(join(tmpdir(), 'lethe-run-'))
afterAll(() => removeFolder(folder))

describe.skipIf(whyNoGuests !== undefined)(`a guest (${whyNoGuests ?? 'compiled here'})`, () => {
  test('gets its arguments and only the environment that it is given', () => {
    const { stdout, status } = lethe(['--env', 'NAME=value', guest('files'), '--', 'args', '--', 'b c', ''])
    expect(stdout).toBe('1 [args]\n2 [--]\n3 [b c]\n4 []\nNAME=value\n')
    expect(status).toBe(0)
    expect(lethe(['--', guest('files'), 'args']).stdout).toBe('1 [args]\nNAME=(none)\n')
  })

  test('ends with its own exit code', () => {
    expect(lethe([guest('files'), 'exit', '42']).status).toBe(42)
    expect(lethe([guest('files'), 'exit', '0']).status).toBe(0)
  })

  test('that traps is told with its functions, and ends as an aborted program', () => {
    const { stderr, status } = lethe([guest('files'), 'trap'])
    expect(status).toBe(134)
    expect(stderr).toMatch(/^lethe: the guest trapped: unreachable\n {4}at depth \(at 0x[0-9a-f]+\)\n/)
    expect(stderr.match(/at depth/g)).toHaveLength(3)
    expect(stderr).toContain('at main')
  })

  test('reads standard input to its end and writes all of it', () => {
    const text = 'line of text\n'.repeat(20_000)
    expect(lethe([guest('files'), 'copy'], text).stdout).toBe(text)
  })

  test('sees granted directories and nothing outside of them', () => {
    const inside = join(folder, 'inside')
    mkdirSync(join(inside, 'sub'), { recursive: true })
    writeFileSync(join(folder, 'secret'), 'secret\n')
    writeFileSync(join(inside, 'file'), 'content\n')
    symlinkSync('../secret', join(inside, 'out'))
    symlinkSync(join(folder, 'secret'), join(inside, 'absolute'))
    symlinkSync('sub/../file', join(inside, 'in'))
    const cat = (path: string): string =>
      lethe(['--dir', `${inside}::/data`, guest('files'), '--', 'cat', path]).stdout
    expect(cat('/data/file')).toBe('content\n')
    expect(cat('/data/sub/../in')).toBe('content\n')
    for (const path of ['/data/../secret', '/data/out', '/data/absolute', join(folder, 'secret')])
      expect(cat(path), path).not.toBe('secret\n')
    expect(lethe(['--dir', `${inside}::/data`, guest('files'), '--', 'list', '/data']).stdout).toBe(
      'absolute\nfile\nin\nout\nsub/\n',
    )
  })

  test('makes, renames, links, truncates and removes files', () => {
    const work = join(folder, 'work')
    mkdirSync(work)
    const { stdout, status } = lethe(['--dir', `${work}::.`, guest('files'), 'change'])
    expect(stdout).toBe('size 10\nlink: size 11, links 2, regular 1\nreadlink 1 b\n')
    expect(status).toBe(0)
    expect(readFileSync(join(work, 'd/b'), 'utf8')).toBe('012x')
  })

  test('is the process that was started: a signal ends it', async () => {
    const child = spawn(launcher, ['run', guest('files'), 'copy'], { stdio: 'pipe' })
    child.stdin.write('first line\n'.repeat(1000))
    await new Promise(resolve => child.stdout.once('data', resolve))
    child.kill('SIGTERM')
    const signal = await new Promise(resolve => child.on('close', (_code, by) => resolve(by)))
    expect(signal).toBe('SIGTERM')
  })

  test('sleeps as long as it asks', () => {
    expect(lethe([guest('files'), 'sleep']).stdout).toBe('slept long enough\n')
  })

  test('can be run by a program, which hears of every call and of what the host does with the memory', () => {
    const out: Buffer[] = []
    const calls: string[] = []
    let bytes = 0
    const ending = run(load(guest('files')), {
      args: ['cat', 'f'],
      dirs: [{ host: folder, guest: '.' }],
      stdin: () => 0,
      stdout: part => void out.push(Buffer.from(part)),
      observer: {
        before: name => void calls.push(name),
        wrote: (_at, length, provenance) => void (bytes += provenance === undefined ? 0 : length),
      },
    })
    expect(ending).toEqual({ exitCode: 1 })
    expect(Buffer.concat(out).toString()).toBe('f: No such file or directory\n')
    expect(calls).toContain('path_open')
    expect(bytes).toBe(0)
  })
})

test('what is no module is refused in one sentence', () => {
  const file = join(folder, 'bad.wasm')
  writeFileSync(file, Buffer.from('\0asm\x01\0\0\0\x01\x05\x01', 'latin1'))
  const { stderr, status } = lethe([file])
  expect(stderr).toMatch(/^lethe: .*bad\.wasm is not a valid module: [^\n]*\n$/)
  expect(status).toBe(1)
  expect(() => guestOf('s.wasm', Buffer.from('\0asm\x01'))).toThrow(
    's.wasm ends after 5 bytes: it was cut off',
  )
  expect(() => guestOf('c.wasm', Buffer.from('\0asm\x0d\0\x01\0', 'latin1'))).toThrow('is a component')
  const asks = Buffer.from('\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0', 'latin1')
  expect(() => run(guestOf('asks.wasm', asks))).toThrow('asks.wasm needs an import that nobody gives: env.f')
})
