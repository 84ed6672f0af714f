// Who is refused, untouched; and that a detach leaves nothing behind.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { cannotRun, Lab, Lines, MiB, node, PAGE, Pager, root, run, shape, Target, until } from './lab.ts'
import { chosen, shareOf } from './materials.ts'

vi.setConfig({ testTimeout: chosen === 'verbatim' ? 60_000 : 180_000 })
const reason = cannotRun()
const lab = new Lab()
const size = 8 * MiB
const enough = (size - 256 * 1024) * shareOf(chosen)
const file: string = lab.file(size, 3)
afterAll(() => lab.close())
afterEach(() => lab.endAll())
const has = (command: string, ...words: string[]): boolean => spawnSync(command, words).status === 0

/** Starts a pager and expects that it refuses with this code and word, and that the process is as it was. */
async function refused(pid: number, code: string, word: RegExp): Promise<void> {
  const before = shape(pid)
  const pager = Pager.spawn(lab, pid)
  const first = await pager.first()
  expect(first).toMatchObject({ type: 'refused', code })
  expect(first.message).toMatch(word)
  expect(await pager.ended()).toBe(3)
  expect(shape(pid)).toEqual(before)
  expect(existsSync(pager.directory)).toBe(false)
}

describe.skipIf(reason !== undefined)(`refusals${reason ? ` (${reason})` : ''}`, () => {
  test('attach twice, in the same directory: the second is refused, the first serves on', async () => {
    const target = await Target.start(lab, file)
    const pager = await Pager.dropped(lab, target.pid(), enough)
    const second = Pager.spawn(lab, target.pid(), {}, pager.directory)
    expect(await second.first()).toMatchObject({ type: 'refused', code: 'busy' })
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('attach twice, in another directory: the second is refused, the first serves on', async () => {
    const target = await Target.start(lab, file)
    const pager = await Pager.dropped(lab, target.pid(), enough)
    mkdirSync(join(lab.directory, 'elsewhere'))
    const second = Pager.spawn(lab, target.pid(), {}, join(lab.directory, 'elsewhere', String(target.pid())))
    expect(await second.first()).toMatchObject({ type: 'refused' })
    await target.check()
    await pager.detach()
    await target.check()
  })

  test('detach with everything virtual leaves maps, descriptors and threads as before', async () => {
    const target = await Target.start(lab, file)
    await target.check()
    const before = shape(target.pid())
    for (let i = 0; i < 3; i++) {
      const pager = await Pager.dropped(lab, target.pid(), enough)
      await pager.detach()
      expect(shape(target.pid())).toEqual(before)
      expect(existsSync(pager.directory)).toBe(false)
    }
    await target.check()
  })

  test('the target exits, execs, is killed', async () => {
    const ways: [(t: Target) => void, number][] = [
      [t => t.tell('exit 5'), 0],
      [t => t.process.kill('SIGKILL'), 0],
      [t => t.process.kill('SIGSEGV'), 0],
      [t => t.tell('exec'), 75],
    ]
    for (const [end, code] of ways) {
      const target = await Target.start(lab, file)
      const pager = await Pager.dropped(lab, target.pid(), enough)
      // One that execs loads its file anew.
      const forget = code === 75 ? lab.reload(file, target) : () => {}
      end(target)
      expect(await pager.ended()).toBe(code)
      expect(existsSync(pager.directory)).toBe(false)
      if (code === 75) {
        expect(await target.answer()).toMatch(/^ready/)
        forget()
        const again = await Pager.dropped(lab, target.pid(), enough)
        await target.check()
        await again.detach()
        await target.check()
      }
    }
  })

  test('a process that is traced already', async () => {
    const target = await Target.start(lab, file)
    const tracer = spawn(
      node,
      [
        '-e',
        `import('${root}/src/sys/ptrace.ts').then(p => { console.log(p.seize(${target.pid()})); setInterval(() => {}, 1000) })`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    lab.defer(() => tracer.kill('SIGKILL'))
    expect(await new Lines(tracer.stdout).next()).toBe('0')
    await refused(target.pid(), 'traced', /traced/)
    await target.check()
    tracer.kill('SIGKILL')
  })

  test.skipIf(!has('gdb', '--version'))('a process under gdb, and gdb on an attached one', async () => {
    const target = await Target.start(lab, file)
    const gdb = spawn('gdb', ['-q', '-nx', '-p', String(target.pid())], { stdio: ['pipe', 'pipe', 'ignore'] })
    lab.defer(() => gdb.kill('SIGKILL'))
    await until('gdb holds it', () =>
      /TracerPid:\s*[1-9]/.test(readFileSync(`/proc/${target.pid()}/status`, 'utf8')),
    )
    const pager = Pager.spawn(lab, target.pid())
    expect(await pager.first()).toMatchObject({ type: 'refused', code: 'traced' })
    gdb.stdin.end('detach\nquit\n')
    await new Promise(resolve => gdb.once('exit', resolve))
    await target.check()
    const serving = await Pager.dropped(lab, target.pid(), enough)
    const at = target.base + 40 * PAGE
    const out = spawnSync('gdb', [
      '-q',
      '-nx',
      '-batch',
      '-p',
      String(target.pid()),
      '-ex',
      `x/4xb 0x${at.toString(16)}`,
    ])
    const want = [...target.memory.subarray(40 * PAGE, 40 * PAGE + 4)]
      .map(b => `0x${b.toString(16).padStart(2, '0')}`)
      .join('\t')
    const text = out.stdout.toString() + out.stderr.toString()
    // The right bytes, or a word that they can't be had: never others.
    expect(text.includes(want) || /Cannot access memory/.test(text)).toBe(true)
    await target.check()
    await serving.detach()
    await target.check()
  })

  test('a 32-bit program', async ({ skip }) => {
    const path = lab.path('i386')
    writeFileSync(
      `${path}.c`,
      'void _start(void) { for (;;) __asm__ volatile("int $0x80" : : "a"(29)); }', // pause
    )
    const made = spawnSync('cc', [
      '-m32',
      '-nostdlib',
      '-static',
      '-ffreestanding',
      '-fno-pic',
      '-o',
      path,
      `${path}.c`,
    ])
    skip(made.status !== 0, 'cc makes no 32-bit programs')
    const child = spawn(path, { stdio: 'ignore' })
    lab.defer(() => child.kill('SIGKILL'))
    await new Promise(resolve => child.once('spawn', resolve))
    await refused(child.pid as number, 'refused', /64-bit/)
  })

  test('a process in another mount namespace', async ({ skip }) => {
    skip(!has('unshare', '-m', 'true'), 'unshare -m is not allowed')
    const target = await Target.start(lab, file, 'mmap', ['unshare', '-m'])
    await refused(target.pid(), 'refused', /namespace/)
    await target.check()
  })

  test('a process under seccomp', async () => {
    const { voice } = run(lab, 'python3', [
      '-c',
      [
        'import ctypes,sys',
        'libc=ctypes.CDLL(None)',
        'class F(ctypes.Structure): _fields_=[("c",ctypes.c_ushort),("t",ctypes.c_ubyte),("f",ctypes.c_ubyte),("k",ctypes.c_uint)]',
        'class P(ctypes.Structure): _fields_=[("n",ctypes.c_ushort),("p",ctypes.POINTER(F))]',
        'libc.prctl(38,1,0,0,0)',
        'f=F(6,0,0,0x7fff0000)',
        'print(libc.prctl(22,2,ctypes.byref(P(1,ctypes.pointer(f))),0,0),flush=True)',
        'sys.stdin.readline()',
      ].join('\n'),
    ])
    expect(await voice.answer()).toBe('0')
    await refused(voice.pid(), 'refused', /seccomp/)
  })

  test('a kernel thread, a thread’s id, no process, itself', async () => {
    for (const [pid, word] of [
      [2, /kernel thread/],
      [4194303, /No process/],
    ] as const) {
      const first = await Pager.spawn(lab, pid).first()
      expect(first.type).toBe('refused')
      expect(first.message).toMatch(word)
    }
    const target = await Target.start(lab, file)
    await target.ask('threads 1')
    const tid = Number(shape(target.pid()).tasks.find(t => Number(t) !== target.pid()))
    expect((await Pager.spawn(lab, tid).first()).message).toMatch(/thread of process/)
  })

  test('a target of another user is served', async ({ skip }) => {
    skip(!has('setpriv', '--version'), 'no setpriv')
    chmodSync(lab.directory, 0o755)
    chmodSync(file, 0o644)
    lab.program('target')
    const target = await Target.start(lab, file, 'mmap', [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
    ])
    const pager = await Pager.dropped(lab, target.pid(), enough)
    await target.check()
    const out = join('/tmp', `lethe-nobody-${target.pid()}`)
    expect(await target.number(`writefile ${out} ${9 * PAGE} ${MiB} 0 0`)).toBe(MiB)
    expect(readFileSync(out).equals(target.memory.subarray(9 * PAGE, 9 * PAGE + MiB))).toBe(true)
    execFileSync('rm', [out])
    await pager.ask('pass')
    await pager.kill()
    const next = await pager.again(lab)
    await target.check()
    await next.detach()
    await target.check()
  })

  test('no room for the journal: refused or left alone, and the target is intact', async ({ skip }) => {
    const folder = lab.path('tiny')
    mkdirSync(folder)
    skip(!has('mount', '-t', 'tmpfs', '-o', 'size=64k', 'lethe-test', folder), 'mount is not allowed')
    try {
      for (const room of ['4k', '12k', '40k', '68k']) {
        execFileSync('mount', ['-o', `remount,size=${room}`, folder])
        const target = await Target.start(lab, file)
        const before = shape(target.pid())
        const pager = Pager.spawn(lab, target.pid(), {}, join(folder, String(target.pid())))
        const first = await pager.first().catch(() => undefined)
        if (first?.type === 'serving') {
          await pager.ask('settled')
          await target.check()
          await pager.detach()
        } else await pager.ended()
        await target.check()
        expect(shape(target.pid())).toEqual(before)
        expect(pager.errors + (first?.message ?? '')).toMatch(/journal|ENOSPC/)
        target.process.kill('SIGKILL')
      }
    } finally {
      lab.endAll()
      await until('nobody uses it', () => has('umount', folder))
    }
  })

  test('a target that closes all its descriptors, then the pager is killed', async () => {
    const target = await Target.start(lab, file)
    const pager = await Pager.dropped(lab, target.pid(), enough)
    expect(await target.number('closefrom 9')).toBe(0)
    expect(await target.number(`sum 0 ${MiB}`)).toBe(target.predicted(0, MiB))
    await pager.kill()
    const next = await pager.again(lab)
    await target.check()
    await next.detach()
    await target.check()
  })

  test('the main thread ends and the others go on', async () => {
    // An interpreter that reads a file holds the file's own bytes, whatever other targets hold.
    const script = join(root, 'test/targets/leaderless.py')
    const { voice } = run(lab, 'python3', ['-u', script, lab.plain(size, 3)])
    expect(await voice.answer()).toBe('ready')
    const pager = await Pager.dropped(lab, voice.pid(), enough, { pack: false })
    voice.tell('leave')
    expect(await voice.answer()).toBe('left')
    await new Promise(resolve => setTimeout(resolve, 2500))
    expect(await voice.ask('check')).toBe('same')
    voice.tell('end')
    expect(await pager.ended()).toBe(0)
  })
})
