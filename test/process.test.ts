import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { audit } from '../src/audit/audit.ts'
import { formatAudit } from '../src/audit/print.ts'
import { formatBytes } from '../src/audit/words.ts'
import type { Message } from '../src/explain/child.ts'
import { explainProcess } from '../src/explain/process.ts'
import { firstCandidates, pathStrings } from '../src/process/candidates.ts'
import { isPrivateAnonymous, parseMaps, parseSmaps, readMaps } from '../src/process/maps.ts'
import { commandLine } from '../src/process/target.ts'
import { Pagemap } from '../src/process/pagemap.ts'
import { explainable, presentRuns, ProcessMemory, subtract } from '../src/process/snapshot.ts'
import { Folder, logBytes, PAGE, randomBytes } from './explain-helpers.ts'

const MIB = 2 ** 20
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function has(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
}

/** Starts a program that prints a line when it holds its data; gives its pid then. */
async function start(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<number> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options })
  children.push(child)
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`${command} ended early`)))
    child.stdout?.once('data', () => resolve())
  })
  return child.pid ?? 0
}

const WAIT_PY = 'print(1,flush=True)\nimport sys\nsys.stdin.read()'

it("a program's words can not steer the terminal that lists it", async () => {
  const pid = await start('sh', ['-c', 'echo\nread x # \x1b[2J'])
  expect(commandLine(pid)).toBe('sh -c echo read x # ?[2J')
  const report = await audit(pid, { cacheFolder: false })
  expect(formatAudit(report).split('\n')[0]).toBe(`${pid}  sh -c echo read x # ?[2J`)
  const long = { ...report, command: `first ${'word '.repeat(30)}last` }
  expect(formatAudit(long).split('\n')[0]).toMatch(/^\d+ {2}first (word )+(w|wo|wor|word)?…$/)
})

/** Explained extents of a live process compared again with the file, page by page. */
function falseExtents(
  pid: number,
  found: ReturnType<typeof explainProcess>,
  path: string,
  bytes: Uint8Array,
): number {
  using memory = new ProcessMemory(pid, [])
  let wrong = 0
  for (const { start: address, pages, backing, offset } of found.extents) {
    if (found.candidates[backing]?.path !== path) continue
    const held = new Uint8Array(pages * PAGE)
    memory.read(address, held)
    if (Buffer.compare(held, bytes.subarray(offset, offset + held.length)) !== 0) wrong++
  }
  return wrong
}

describe('what a real program read from a file is explained:', () => {
  const size = 8 * MIB + 123
  const contents = { random: randomBytes(size, 1), log: logBytes(size, 2) }
  const programs: Readonly<Record<string, (path: string) => readonly [string, readonly string[]]>> = {
    python3: path => ['python3', ['-c', `x=open('${path}','rb').read()\n${WAIT_PY}`]],
    perl: path => ['perl', ['-e', `local $/; open F,'<','${path}'; $x=<F>; close F; $|=1; print 1; <STDIN>`]],
    node: path => [
      process.execPath,
      [
        '-e',
        `globalThis.x=require('fs').readFileSync(${JSON.stringify(path)});console.log(1);process.stdin.resume()`,
      ],
    ],
  }
  for (const [program, command] of Object.entries(programs)) {
    for (const [kind, bytes] of Object.entries(contents)) {
      it.skipIf(program !== 'node' && !has(program))(`${program} and ${kind}`, async () => {
        using folder = new Folder()
        const path = folder.file('data.bin', bytes)
        const pid = await start(...command(path))
        const found = explainProcess(pid, { cacheFolder: false, level: 'quick' })
        const pages = found.extents
          .filter(extent => found.candidates[extent.backing]?.path === path)
          .reduce((sum, extent) => sum + extent.pages, 0)
        expect(pages).toBeGreaterThanOrEqual(Math.floor(size / PAGE) - 1)
        expect(falseExtents(pid, found, path, bytes)).toBe(0)
      })
    }
  }
})

describe.skipIf(!has('python3'))('candidates', () => {
  it('are found through descriptors, deleted or not, arguments, scripts and the environment', async () => {
    using folder = new Folder()
    const files = Object.fromEntries(
      ['open', 'deleted', 'word', 'inside', 'relative', 'script', 'variable'].map(name => [
        name,
        folder.file(`${name}.bin`, randomBytes(10_000, name.length)),
      ]),
    )
    const script = folder.file(
      'main.py',
      `a=open('${files['open']}','rb'); b=open('${files['deleted']}','rb')\nc='script.bin'\n${WAIT_PY}`,
    )
    const args = [script, files['word'] ?? '', `--data=${files['inside']}`, 'relative.bin']
    const pid = await start('python3', args, {
      cwd: folder.path,
      env: { ...process.env, DATA: files['variable'] },
    })
    rmSync(files['deleted'] ?? '')
    const found = firstCandidates(pid)
    const how = (name: string): string | undefined => found.find(file => file.path === files[name])?.how
    expect(how('open')).toMatch(/^open descriptor \d+$/)
    expect(how('deleted')).toMatch(/^open descriptor \d+, deleted$/)
    expect(found.find(file => file.path === files['deleted'])?.openPath).toMatch(/^\/proc\/\d+\/fd\/\d+$/)
    expect(how('word')).toBe('command line')
    expect(how('inside')).toBe('in an argument')
    expect(how('relative')).toBe('command line')
    expect(how('script')).toBe(`in ${script}`)
    expect(how('variable')).toBe('environment DATA')
    const keys = found.map(file => `${file.identity.device}:${file.identity.inode}`)
    expect(new Set(keys).size).toBe(keys.length)
    expect(found.some(file => /^\/(proc|sys|dev)\//.test(file.path))).toBe(false)
  })

  it('come from a folder that the user names, all files below it', async () => {
    using folder = new Folder()
    mkdirSync(join(folder.path, 'a/b'), { recursive: true })
    const deep = folder.file('a/b/deep.bin', randomBytes(10_000, 1))
    const pid = await start('python3', ['-c', WAIT_PY])
    const found = firstCandidates(pid, {
      backings: [folder.path],
      seen: [{ path: '/etc/services', via: 'opened' }],
    })
    expect(found[0]).toMatchObject({ path: deep, how: `--backing ${folder.path}` })
    expect(found.find(file => file.path === '/etc/services')?.how ?? 'opened').toBe('opened')
  })

  it('of the second tier come from paths in memory and from the working directory', async () => {
    using folder = new Folder()
    const first = randomBytes(MIB, 3)
    const second = randomBytes(MIB, 4)
    mkdirSync(join(folder.path, 'cwd'))
    const path = folder.file('first.bin', first)
    folder.file('cwd/second.bin', second)
    const core = Buffer.alloc(4096)
    core.write('\x7fELF')
    core.writeUInt16LE(4, 16) // ET_CORE
    folder.file('cwd/core.1', Buffer.concat([core, second, first]))
    const code = `p=sys.argv[1][::-1]; x=open(p,'rb').read(); y=open('sec'+'ond.bin','rb').read()`
    const reversed = [...path].toReversed().join('')
    const pid = await start('python3', ['-c', `import sys\n${code}\n${WAIT_PY}`, reversed], {
      cwd: join(folder.path, 'cwd'),
    })
    const quick = explainProcess(pid, { cacheFolder: false, level: 'quick' })
    const found = explainProcess(pid, { cacheFolder: false })
    const ways = new Map(
      found.extents.map(extent => [
        found.candidates[extent.backing]?.path,
        found.candidates[extent.backing]?.how,
      ]),
    )
    expect(quick.candidates.some(file => file.path === path)).toBe(false)
    expect(ways.get(path)).toBe('path in memory')
    expect(ways.get(join(folder.path, 'cwd/second.bin'))).toBe('working directory')
    expect(found.candidates.map(file => file.path)).not.toContain(join(folder.path, 'cwd/core.1'))
  })
})

describe('paths in text', () => {
  it('are quoted strings, words with a slash or dot, and values', () => {
    const found = pathStrings(`open('/tmp/a b.txt'); x = "data.csv"; cat /etc/passwd --in=rel/x.bin`)
    expect(found).toEqual(expect.arrayContaining(['/tmp/a b.txt', 'data.csv', '/etc/passwd', 'rel/x.bin']))
  })
})

describe('mappings', () => {
  it('are parsed with names, deleted files and flags', () => {
    const text = [
      '55d0-66e0 rw-p 00000000 00:00 0                          [heap]',
      '7f00-8f00 r-xp 00001000 08:01 1234                       /usr/lib/a b.so (deleted)',
    ].join('\n')
    const [heap, library] = parseMaps(text)
    expect(heap).toMatchObject({ start: 0x55d0, end: 0x66e0, name: '[heap]', writable: true, shared: false })
    expect(library).toMatchObject({ name: '/usr/lib/a b.so', deleted: true, offset: 4096, inode: 1234 })
    const [locked] = parseSmaps(`${text.split('\n')[0]}\nRss: 4 kB\nVmFlags: rd wr mr mw me lo ac sd\n`)
    expect(locked?.flags.has('lo')).toBe(true)
    expect(heap && isPrivateAnonymous(heap)).toBe(true)
    expect(locked && isPrivateAnonymous(locked)).toBe(false)
    expect(library && isPrivateAnonymous(library)).toBe(false)
  })

  it('of this process have no stack among the explainable', () => {
    const mappings = readMaps(process.pid, { flags: true })
    const stack = mappings.find(mapping => mapping.name === '[stack]')
    expect(stack).toBeDefined()
    expect(explainable(mappings).some(([start]) => start === stack?.start)).toBe(false)
  })

  it('minus ranges leave what is between', () => {
    expect(
      subtract(
        [
          [0, 100],
          [200, 300],
        ],
        [
          [50, 60],
          [0, 10],
          [90, 210],
          [290, 400],
        ],
      ),
    ).toEqual([
      [10, 50],
      [60, 90],
      [210, 290],
    ])
    expect(subtract([[0, 10]], [])).toEqual([[0, 10]])
  })
})

describe.skipIf(!has('python3'))('a snapshot', () => {
  it('reads present pages and ends early, without failing, at pages that are gone', async () => {
    const code = `import mmap\nm=mmap.mmap(-1,1<<24,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\nfor i in range(0,1<<24,1<<14): m[i]=7`
    const pid = await start('python3', ['-c', `${code}\n${WAIT_PY}`])
    const mapping = readMaps(pid).find(one => one.end - one.start >= 1 << 24 && isPrivateAnonymous(one))
    expect(mapping).toBeDefined()
    if (!mapping) return
    using pagemap = new Pagemap(pid)
    const counts = { present: 0, swapped: 0, file: 0, protected: 0 }
    const runs = pagemap.present(mapping.start, mapping.end, counts)
    expect(counts.present).toBeGreaterThanOrEqual(1024)
    expect(runs.reduce((sum, run) => sum + run.pages, 0)).toBe(counts.present - counts.file)
    expect(presentRuns(pid, [[mapping.start, mapping.end]])).toEqual(runs)
    using memory = new ProcessMemory(pid, runs)
    const page = new Uint8Array(PAGE)
    expect(runs.filter(run => memory.read(run.start, page) !== PAGE)).toEqual([])
    expect(memory.read(0x1000, page)).toBe(0)
    expect(memory.read(mapping.end - PAGE, new Uint8Array(1 << 26))).toBeGreaterThanOrEqual(0)
  })
})

describe.skipIf(!has('python3'))('the search as a program', () => {
  function run(request: object): Message[] {
    const child = join(import.meta.dirname, '../src/explain/child.ts')
    const { stdout } = spawnSync(process.execPath, [child], {
      input: JSON.stringify(request),
      maxBuffer: 2 ** 28,
    })
    return stdout
      .toString()
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Message)
  }

  it('writes backings before extents, and done last', async () => {
    using folder = new Folder()
    const path = folder.file('data.bin', randomBytes(4 * MIB, 5))
    const pid = await start('python3', ['-c', `x=open('${path}','rb').read()\n${WAIT_PY}`])
    const messages = run({ pid, backings: [], level: 'quick', cacheDir: join(folder.path, 'cache') })
    const types = messages.map(message => message.type)
    expect(types.indexOf('backing')).toBe(0)
    expect(types.lastIndexOf('backing')).toBeLessThan(types.indexOf('extents'))
    expect(types.at(-1)).toBe('done')
    const backing = messages.find(message => message.type === 'backing')
    expect(backing).toMatchObject({ path, openPath: path, identity: { size: 4 * MIB } })
    const pages = messages.flatMap(message =>
      message.type === 'extents' ? message.extents.map(([, n]) => n) : [],
    )
    expect(pages.reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(1023)
  })

  it('looks only at the ranges asked for, without what is to be skipped', async () => {
    using folder = new Folder()
    const path = folder.file('data.bin', randomBytes(4 * MIB, 6))
    const pid = await start('python3', ['-c', `x=open('${path}','rb').read()\n${WAIT_PY}`])
    const mapping = readMaps(pid).find(one => one.end - one.start >= 4 * MIB && isPrivateAnonymous(one))
    const { start: from = 0 } = mapping ?? {}
    const ranges = [[from, from + 2 * MIB]]
    const done = run({
      pid,
      ranges,
      skip: [[from + MIB, from + 2 * MIB]],
      backings: [path],
      level: 'quick',
    }).at(-1)
    expect(done).toMatchObject({ type: 'done', pages: 256, bytesScanned: MIB })
  })

  it('says what went wrong for a process that is not there', () => {
    expect(run({ pid: 2 ** 22 + 1, backings: [], level: 'quick' })[0]).toMatchObject({ type: 'error' })
  })
})

describe.skipIf(!has('python3'))('an audit', () => {
  it('accounts for every page once and prints within the width', async () => {
    using folder = new Folder()
    const path = folder.file('data.bin', logBytes(8 * MIB, 7))
    const pid = await start('python3', ['-c', `x=open('${path}').read()\ny=bytearray(1<<20)\n${WAIT_PY}`])
    const report = await audit(pid, { cacheFolder: join(folder.path, 'cache') })
    const { totals } = report
    expect(totals.explained + totals.zero + totals.duplicate + totals.unexplained + totals.unreadable).toBe(
      totals.pages,
    )
    for (const key of ['explained', 'zero', 'duplicate', 'unexplained', 'pages'] as const) {
      expect(report.mappings.reduce((sum, mapping) => sum + mapping[key], 0)).toBe(totals[key])
    }
    expect(report.files[0]).toMatchObject({ path, lens: 'verbatim', how: 'in an argument' })
    expect(report.files[0]?.bytes).toBeGreaterThan(8 * MIB - 2 * PAGE)
    expect(report.stoppedMilliseconds).toBe(0)
    for (const width of [60, 80, 200]) {
      const text = formatAudit(report, { width })
      expect(text).toContain('data.bin')
      expect(Math.max(...text.split('\n').map(line => line.length))).toBeLessThanOrEqual(Math.max(width, 92))
    }
    expect(formatAudit(report, { colour: true })).toContain('\u001b[')
    expect(formatAudit(report)).not.toContain('\u001b[')
  })

  it('counts the virtual pages of an attached process', async () => {
    const pid = await start('python3', ['-c', WAIT_PY])
    let first = true
    const report = await audit(pid, {
      cacheFolder: false,
      level: 'quick',
      virtual: from => {
        const runs = first ? [{ start: from, pages: 100, path: '/data', lens: 'verbatim', offset: 0 }] : []
        first = false
        return runs
      },
    })
    expect(report.totals.virtual).toBe(100)
    expect(report.files.find(file => file.path === '/data')?.bytes).toBe(100 * PAGE)
  })
})

describe('sizes for people', () => {
  it('have three digits at most', () => {
    expect([0, 999, 1000, 12_345, 999_499, 999_500, 1.5e9].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '12.3 kB',
      '999 kB',
      '1.0 MB',
      '1.5 GB',
    ])
  })
})
