/** The command line where nothing is attached: sizes, wrong uses, help, completion, the manual page, run's transparency. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatSize, parseSize } from '../src/cli/size.ts'
import { Desk, ended, lethe, root, until } from './cli-helpers.ts'

let desk: Desk
beforeAll(() => {
  desk = new Desk()
})
afterAll(() => desk.close())

describe('sizes', () => {
  test.each([
    ['4096', 4096],
    ['64M', 64 << 20],
    ['64MiB', 64 << 20],
    ['64mb', 64 << 20],
    ['1.5G', 1.5 * 2 ** 30],
    ['512k', 512 * 1024],
    ['2 T', 2 ** 41],
  ])('%s is %i bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes))
  test.each(['', '0', '-1', 'M', '1X', '1.2.3M', '64 apples', '1e400', '9999999T'])('%j is no size', text =>
    expect(() => parseSize(text)).toThrow(/is not a size: write/),
  )
  test.each([
    [0, '0 B'],
    [1023, '1.0 KiB'],
    [7_000_000, '6.7 MiB'],
    [314_572_800, '300 MiB'],
  ])('%i bytes print as %s', (bytes, text) => expect(formatSize(bytes)).toBe(text))
})

describe('a wrong use is one sentence and exit code 2', () => {
  test.each<[string, string[], RegExp]>([
    ['no command', [], /^$/],
    ['an unknown command', ['atach'], /unknown command 'atach'/],
    [
      'an unknown option',
      ['status', '--jsn'],
      /unknown option '--jsn' \(Did you .*\); see lethe status --help$/m,
    ],
    [
      'an unknown choice',
      ['machine', 'run', '--format', 'x', '-'],
      /Allowed choices are lackey, .*, lethe; see lethe machine run --help$/m,
    ],
    ['attach without a pid', ['attach'], /missing required argument 'pid'/],
    ['a pid that is a word', ['attach', 'firefox'], /'firefox' is not a process id: give a positive number/],
    ['a pid of 0', ['detach', '0'], /'0' is not a process id/],
    ['a pid beyond all pids', ['attach', '99999999999'], /'99999999999' is not a process id/],
    ['two pids', ['attach', '1', '2'], /too many arguments/],
    ['audit of a word', ['audit', 'firefox'], /'firefox' is not a process id/],
    ['a bad budget', ['attach', '1', '--budget', 'lots'], /'lots' is not a size/],
    ['a bad share', ['attach', '1', '--cpu', '0'], /'0' is not a share of one CPU/],
    [
      'a backing that is not there',
      ['attach', '1', '--backing', '/no/such'],
      /\/no\/such: there is no such file/,
    ],
    ['run without a command', ['run'], /missing required argument 'command'/],
    ['an unknown shell', ['completion', 'tcsh'], /'tcsh' is not a shell/],
    [
      'a report in no folder',
      ['audit', '--html', '/no/x', '--', 'true'],
      /--html \/no\/x can't be written \(ENOENT\)/,
    ],
    [
      'a record that is a folder',
      ['run', '--json', '/', '--', 'true'],
      /--json \/ can't be written \(EISDIR\)/,
    ],
    [
      'a demo larger than the machine',
      ['demo', '--size', '900T'],
      /--size 900 TiB: .*; here is room for [\d.]+ /,
    ],
  ])('%s', (_, words, message) => {
    const { code, out, err } = desk.run(...words)
    expect(code).toBe(2)
    expect(out).toBe('')
    if (words.length > 0) expect(err.trim().split('\n')).toHaveLength(1)
    expect(err).toMatch(words.length === 0 ? /Usage: lethe/ : message)
  })
})

describe('what can not be done', () => {
  test('a process that is not there is a failure', () => {
    const { code, err } = desk.run('attach', '4194301')
    expect(code).toBe(1)
    expect(err).toMatch(/^lethe: No process 4194301 is running; see ps/)
  })
  test('a process that is not attached can not be detached', () => {
    const { code, err } = desk.run('detach', String(process.pid))
    expect(code).toBe(1)
    expect(err).toMatch(/is not attached; 'lethe status' lists/)
  })
  test('a kernel thread is not possible', () => {
    if (readFileSync('/proc/2/comm', 'utf8') !== 'kthreadd\n') return
    const { code, err } = desk.run('audit', '2')
    expect(code).toBe(3)
    expect(err).toMatch(/Process 2 can't be served/)
  })
  test('a state directory too deep for a socket is said to be', () => {
    const { code, err } = desk.run(
      'attach',
      String(process.pid),
      '--once',
      '--state',
      `/tmp/${'x'.repeat(120)}`,
    )
    expect(code).toBe(1)
    expect(err).toMatch(/a socket's path can have 107; give a shorter --state/)
  })
})

describe('what is said', () => {
  test('is one line that can not steer a terminal', () => {
    const path = desk.file('\x1b[31m\n.txt', '\x1b]0;title\x07 1')
    expect(desk.run('machine', 'translate', path).err).toBe(
      `lethe: ${join(desk.folder, '\\x1b[31m .txt')}, line 1: '\\x1b]0;title\\x07' is not an address\n`,
    )
  })
  test('to nobody changes nothing', () => {
    const words = ['-c', `"${lethe}" nope 2> >(:); echo $?`]
    expect(spawnSync('bash', words, { encoding: 'utf8' }).stdout).toBe('2\n')
  })
  test('is that standard output can not be written', () => {
    const words = ['-c', `"${lethe}" man > /dev/full; echo $?`]
    expect(spawnSync('bash', words, { encoding: 'utf8' })).toMatchObject({
      stderr: "lethe: Standard output can't be written (ENOSPC)\n",
      stdout: '1\n',
    })
  })
})

describe('help', () => {
  const commands = ['audit', 'attach', 'detach', 'status', 'run', 'doctor', 'demo', 'completion', 'man']
  test('lists every command', () => {
    const { code, out } = desk.run('--help')
    expect(code).toBe(0)
    for (const name of commands) expect(out).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  })
  test.each(commands)('of %s goes to standard output', name => {
    const { code, out, err } = desk.run(name, '--help')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(new RegExp(`^Usage: lethe ${name}`))
    if (name !== 'man') expect(out).toMatch(/^Examples:\n {2}\S/m)
  })
  test.each([[['machine', 'run']], [['malloc', 'record']], [['status']]])(
    'help %j is what --help prints there',
    words => {
      expect(desk.run('help', ...words)).toEqual(desk.run(...words, '--help'))
      expect(desk.run('help', ...words).out).toMatch(new RegExp(`^Usage: lethe ${words.join(' ')} `))
    },
  )
  test('the version is the package.json one', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(desk.run('--version').out).toBe(`${version}\n`)
  })
})

describe('made from the same definitions', () => {
  test('man/lethe.1 is current (else: npm run man)', () => {
    expect(desk.run('man').out).toBe(readFileSync(join(root, 'man/lethe.1'), 'utf8'))
  })
  test('the completion for bash is a script that completes', () => {
    const script = desk.run('completion', 'bash').out
    const ask = `${script}\nCOMP_WORDS=(lethe attach --b); COMP_CWORD=2; _lethe; echo "\${COMPREPLY[@]}"`
    expect(spawnSync('bash', ['-c', ask], { encoding: 'utf8' }).stdout).toBe('--backing --budget\n')
  })
  test.each(['zsh', 'fish'])('the completion for %s names all commands and options', shell => {
    const script = desk.run('completion', shell).out
    for (const word of ['audit', 'detach', 'doctor', 'budget', 'once']) expect(script).toContain(word)
    const check = spawnSync(shell, ['-n'], { input: script })
    if (check.error === undefined) expect(check.status).toBe(0)
  })
})

describe('the launcher', () => {
  test('finds its folder through links', () => {
    const link = join(desk.folder, 'lethe')
    symlinkSync(lethe, link)
    symlinkSync('lethe', join(desk.folder, 'again'))
    expect(spawnSync(join(desk.folder, 'again'), ['--version'], { encoding: 'utf8' }).status).toBe(0)
  })
  test('ends quietly when its reader has gone', () => {
    const words = ['-c', `"${lethe}" man | head -1; echo "\${PIPESTATUS[0]}"`]
    expect(spawnSync('bash', words, { encoding: 'utf8' })).toMatchObject({
      stderr: '',
      stdout: expect.stringMatching(/\n0\n$/),
    })
  })
})

test('a supervisor whose pager has ended ends, also where nobody waits for that', async () => {
  // `sleep` has a child that it knows nothing of.
  const parent = desk.start('sh', '-c', 'sleep 0 & echo $!; exec sleep 300')
  let pager = ''
  parent.stdout?.on('data', data => (pager += String(data)))
  const isZombie = (): boolean =>
    pager.endsWith('\n') && readFileSync(`/proc/${pager.trim()}/stat`, 'utf8').includes(') Z')
  await until(isZombie, 'a zombie')
  const program = join(root, 'bin/lethe-supervisor')
  const child = desk.start(program, '--after', pager.trim(), join(desk.folder, 'none'), '1', '{}', 'false')
  expect(await ended(child)).toBe(0)
})

describe('run is transparent', () => {
  test.each([0, 1, 7, 255])('exit code %i is passed on', code => {
    expect(desk.run('run', '--', 'sh', '-c', `exit ${code}`)).toMatchObject({ code, out: '', err: '' })
  })
  test.each(['TERM', 'KILL', 'INT', 'SEGV'])('a death by SIG%s is passed on', name => {
    expect(desk.run('run', '--', 'sh', '-c', `kill -${name} $$`).signal).toBe(`SIG${name}`)
    const shell = spawnSync('sh', ['-c', `"${lethe}" run -- sh -c 'kill -${name} $$'; exit $?`], {
      env: desk.environment,
    })
    expect(shell.status).toBe(128 + { TERM: 15, KILL: 9, INT: 2, SEGV: 11 }[name as 'TERM'])
  })
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const)(
    '%s reaches the command',
    async signal => {
      const script = `trap 'echo got; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`
      const child = desk.start(lethe, 'run', '--', 'sh', '-c', script)
      let out = ''
      child.stdout?.on('data', data => (out += String(data)))
      await until(() => out.includes('ready'), 'ready')
      child.kill(signal)
      expect(await ended(child)).toBe(9)
      expect(out).toBe('ready\ngot\n')
    },
  )
  test('standard streams are the own ones, and nothing is added', () => {
    const { stdout, stderr } = spawnSync(lethe, ['run', '--', 'sh', '-c', 'cat; echo e >&2'], {
      env: desk.environment,
      input: 'abc',
      encoding: 'utf8',
    })
    expect([stdout, stderr]).toEqual(['abc', 'e\n'])
  })
  test('the command has the signals, limits and descriptors that it has without lethe', () => {
    const probe = `grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status; ulimit -n; ls /proc/self/fd`
    const bare = spawnSync('sh', ['-c', probe], { env: desk.environment, encoding: 'utf8' }).stdout
    expect(desk.run('run', '--', 'sh', '-c', probe).out).toBe(bare)
  })
  test("words after the command are the command's", () => {
    expect(desk.run('run', 'echo', '--help', '--', '-v').out).toBe('--help -- -v\n')
    expect(desk.run('run', '--budget', '1G', '--', 'echo', '--', 'x').out).toBe('-- x\n')
  })
  test('a command that is not there is 127, one that can not be executed 126', () => {
    expect(desk.run('run', '--', 'no-such-command')).toMatchObject({
      code: 127,
      err: "lethe: There is no command 'no-such-command'; check its name and PATH\n",
    })
    expect(desk.run('run', '--', '/etc/passwd')).toMatchObject({
      code: 126,
      err: "lethe: /etc/passwd can't be executed\n",
    })
    expect(desk.run('run', '--', '/etc')).toMatchObject({
      code: 126,
      err: 'lethe: /etc is a directory, not a command\n',
    })
  })
  test('nor is a WebAssembly program', () => {
    expect(desk.run('run', 'no-such.wasm')).toMatchObject({
      code: 127,
      err: "lethe: There is no file 'no-such.wasm'; check its name\n",
    })
    const text = desk.file('text.wasm', 'text')
    expect(desk.run('run', text)).toMatchObject({
      code: 126,
      err: `lethe: ${text} is not a WebAssembly module: it does not start with \\0asm\n`,
    })
  })
})

test('audit of a command that ends at once says so', () => {
  const { code, err } = desk.run('audit', '--', 'true')
  expect(code).toBe(1)
  expect(err).toMatch(/The command ended \(exit code 0\) before its memory could be looked at/)
})

test('a demo that is ended leaves no file behind', async () => {
  const folder = join(desk.folder, 'demo')
  mkdirSync(folder)
  const child = spawn(lethe, ['demo'], { env: { ...desk.environment, TMPDIR: folder }, stdio: 'ignore' })
  await until(() => readdirSync(folder).length > 0, "the demo's folder")
  child.kill('SIGTERM')
  expect(await ended(child)).toBe('SIGTERM')
  expect(readdirSync(folder)).toEqual([])
})

test('doctor gives one line for each capability, and the same as JSON', () => {
  const text = desk.run('doctor')
  const { code, out } = desk.run('doctor', '--json')
  const { attach, capabilities } = JSON.parse(out) as { attach: boolean; capabilities: { name: string }[] }
  expect(code).toBe(attach ? 0 : 3)
  expect(text.code).toBe(code)
  expect(text.out.trim().split('\n')).toHaveLength(capabilities.length + 1)
  for (const { name } of capabilities) expect(text.out).toContain(name)
})
