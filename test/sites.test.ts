/** Sites: programs with planted places, built in four ways, and whether the right place owns what it holds. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { Profile } from 'pprof-format'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { AuditReport } from '../src/audit/audit.ts'
import { leavesBySite, leavesOf } from '../src/report/leaves.ts'
import type { Site, SitesReport } from '../src/sites/sites.ts'
import { describe as describeSite } from '../src/sites/print.ts'
import { cannotAttach, Desk, lethe, root } from './cli-helpers.ts'
import { randomBytes } from './explain-helpers.ts'

const source = (name: string): string => join(root, 'test/targets/sites', name)
const has = (command: string): boolean => spawnSync('which', [command]).status === 0
const why = cannotAttach() ?? (has('gcc') && has('g++') ? undefined : 'no gcc and g++')
const size = 6 << 20

vi.setConfig({ testTimeout: 90_000 })

let desk: Desk
let files: string[]

beforeAll(() => {
  desk = new Desk()
  files = [1, 2, 3, 4].map(i => desk.file(`data${i}`, randomBytes(size, 100 + i)))
})
afterAll(() => desk.close())

interface Document {
  readonly type: 'sites'
  readonly processes: readonly SitesReport[]
}

/** Runs a program to its end, without input; the document of its sites. */
function recorded(words: readonly string[], ...flags: string[]): Document {
  const json = join(desk.folder, 'sites.json')
  const done = spawnSync(lethe, ['run', '--sites', '--json', json, ...flags, '--', ...words], {
    env: desk.environment,
    encoding: 'utf8',
    input: '',
    timeout: 60_000,
  })
  expect(done.stdout).toBe('ready\n')
  expect(done.status, done.stderr).toBe(0)
  return JSON.parse(readFileSync(json, 'utf8')) as Document
}

/** Of what explains pages of `file`: the share that belongs to sites that `is` accepts. */
function share({ processes }: Document, file: string, is: (site: Site) => boolean): number {
  let all = 0
  let right = 0
  for (const site of processes.flatMap(({ sites }) => sites))
    for (const { path, bytes } of site.sources)
      if (path === file) {
        all += bytes
        if (is(site)) right += bytes
      }
  // Of blocks of 20 KiB that begin anywhere, four pages in five are whole.
  expect(all).toBeGreaterThan(0.75 * size)
  return right / all
}

const mentions =
  (name: string) =>
  ({ frames }: Site): boolean =>
    frames.some(frame => frame.function.includes(name))

const builds: readonly (readonly [string, readonly string[]])[] = [
  ['with debug symbols', ['-O2', '-g']],
  ['without', ['-O2']],
  ['without frame pointers and position', ['-O2', '-fomit-frame-pointer', '-no-pie', '-fcf-protection=none']],
]

describe.skipIf(why !== undefined)(`planted sites${why === undefined ? '' : ` (skipped: ${why})`}`, () => {
  const sites = {
    'planted.c': ['site_whole', 'site_grown', 'site_mapped', 'site_blocks'],
    'planted.cc': ['site_vector', 'site_string', 'site_template', 'site_thread'],
  }
  for (const [name, functions] of Object.entries(sites))
    for (const [how, flags] of builds)
      test(`${name}, ${how}: each file belongs to the function that read it`, () => {
        const program = join(desk.folder, 'planted')
        execFileSync(name.endsWith('.cc') ? 'g++' : 'gcc', [
          ...flags,
          '-pthread',
          '-o',
          program,
          source(name),
        ])
        const document = recorded([program, ...files])
        for (const [i, site] of functions.entries())
          expect(share(document, files[i] ?? '', mentions(site)), site).toBeGreaterThanOrEqual(0.95)
        if (!flags.includes('-g')) return
        const lines = readFileSync(source(name), 'utf8').split('\n')
        for (const site of document.processes[0]?.sites.slice(0, 4) ?? []) {
          const frame = site.frames.find(one => functions.some(f => one.function.includes(f)))
          expect(frame?.file).toBe(source(name))
          expect(lines[(frame?.line ?? 0) - 1]).toMatch(/alloc|mmap|vector|string|make_unique|new/)
        }
      })

  test('a stripped program: each file has one place, and the four are different', () => {
    const program = join(desk.folder, 'stripped')
    execFileSync('gcc', ['-O2', '-s', '-o', program, source('planted.c')])
    const document = recorded([program, ...files])
    const places = files.map(file => {
      const site = document.processes[0]?.sites.find(one => one.sources[0]?.path === file) as Site
      const same = ({ frames }: Site): boolean => describeSite({ ...site, frames }) === describeSite(site)
      expect(share(document, file, same)).toBeGreaterThanOrEqual(0.95)
      return describeSite(site)
    })
    expect(new Set(places).size).toBe(4)
    for (const place of places) expect(place).toMatch(/^stripped\+0x[0-9a-f]+/)
  })

  const versions = join(homedir(), '.pyenv/versions')
  const pythons = [
    '/usr/bin/python3',
    ...(existsSync(versions) ? readdirSync(versions) : [])
      .filter(version => /^3\.([89]|1[0-3])\b/.test(version))
      .map(version => join(versions, version, 'bin/python3')),
  ].filter(path => existsSync(path))
  test('Python: the line of the program, in every version that is here', () => {
    const latin = desk.file(
      'utf8',
      Array.from({ length: 200_000 }, (_, i) => `${(i * 2_654_435_761) % 4_294_967_291} día ${i}\n`).join(''),
    )
    const inputs = [files[0] ?? '', latin, files[2] ?? '', files[3] ?? '']
    expect(pythons.length).toBeGreaterThan(0)
    for (const python of pythons) {
      const document = recorded([python, source('planted.py'), ...inputs])
      const lines = readFileSync(source('planted.py'), 'utf8').split('\n')
      for (const [i, site] of ['site_read', 'site_text', 'site_method', 'site_buffer'].entries()) {
        const bytes = document.processes
          .flatMap(({ sites }) => sites)
          .filter(one => one.sources.some(({ path }) => path === inputs[i]))
        const all = bytes.reduce((sum, one) => sum + one.explained, 0)
        const right = bytes.filter(mentions(site)).reduce((sum, one) => sum + one.explained, 0)
        expect(right / all, `${python}: ${site}`).toBeGreaterThanOrEqual(0.95)
        const frame = bytes.find(mentions(site))?.frames.find(one => one.function.includes(site))
        expect(frame?.file).toBe(source('planted.py'))
        expect(lines[(frame?.line ?? 0) - 1]).toMatch(/read|write/)
      }
    }
  })

  test('Node: the function that read the file', () => {
    const script = desk.file(
      'planted.mjs',
      `import { readFileSync } from 'node:fs'
function siteBuffer(path) { return readFileSync(path) }
const held = siteBuffer(process.argv[2])
console.log('ready')
process.stdin.on('end', () => process.exit(held.length === 0 ? 1 : 0)).resume()
`,
    )
    const document = recorded([process.execPath, script, files[0] ?? ''])
    expect(share(document, files[0] ?? '', mentions('siteBuffer'))).toBeGreaterThanOrEqual(0.95)
  })

  test('the document keeps to its schema; folded stacks and pprof say the same bytes', () => {
    const program = join(desk.folder, 'formats')
    execFileSync('gcc', ['-O2', '-g', '-o', program, source('planted.c')])
    const stacks = join(desk.folder, 'sites.folded')
    const profile = join(desk.folder, 'sites.pb.gz')
    const document = recorded([program, ...files], '--folded', stacks, '--pprof', profile)
    const validate = new Ajv2020().compile(
      JSON.parse(readFileSync(join(root, 'docs/schemas/sites.schema.json'), 'utf8')) as object,
    )
    expect(validate(document), JSON.stringify(validate.errors)).toBe(true)

    const explained = document.processes[0]?.sites.reduce((sum, site) => sum + site.explained, 0) ?? 0
    const folded = readFileSync(stacks, 'utf8').trim().split('\n')
    for (const line of folded) expect(line).toMatch(/^[^;]+(;[^;]+)* \d+$/)
    const named = folded.filter(line => !line.startsWith('[unknown] '))
    expect(named.reduce((sum, line) => sum + Number(/\d+$/.exec(line)?.[0]), 0)).toBe(explained)
    expect(folded.some(line => /main \(planted\.c:\d+\);site_whole \(planted\.c:\d+\)/.test(line))).toBe(true)

    const decoded = Profile.decode(gunzipSync(readFileSync(profile)))
    const bytes = decoded.sample.reduce((sum, { value }) => sum + Number(value[0]), 0)
    expect(bytes).toBe(explained)
    expect(decoded.stringTable.strings).toContain('site_blocks')
  })

  test('a program that frees before it ends is looked at before', () => {
    const script = desk.file(
      'frees.py',
      `import sys
def first(): data = open(sys.argv[1], 'rb').read() * 4; return len(data)
def second(): data = open(sys.argv[2], 'rb').read() * 4; return len(data)
first(); second(); print('ready')
`,
    )
    const document = recorded(['/usr/bin/python3', script, files[0] ?? '', files[1] ?? ''])
    expect(share(document, files[0] ?? '', mentions('first'))).toBeGreaterThanOrEqual(0.95)
    expect(share(document, files[1] ?? '', mentions('second'))).toBeGreaterThanOrEqual(0.95)
  })

  test('audit --sites looks at a command that stays, and ends it', async () => {
    const program = join(desk.folder, 'stays')
    execFileSync('gcc', ['-O2', '-g', '-o', program, source('planted.c')])
    const page = join(desk.folder, 'sites.html')
    const child = desk.start(lethe, 'audit', '--sites', '--html', page, '--', program, ...files)
    const out = await text(child.stdout as Readable)
    expect(out).toMatch(/at site_whole \(planted\.c:\d+\) ← main/)
    expect(out).toMatch(/is data1; map it instead/)
    const document = /id="audit">(.*?)<\/script>/s.exec(readFileSync(page, 'utf8'))?.[1] ?? ''
    const report = JSON.parse(document) as AuditReport
    const [first] = report.sites?.list ?? []
    expect(first?.name).toMatch(/^site_\w+ \(planted\.c:\d+\) ← main/)
    expect(first?.stack.some(frame => frame.startsWith('main (planted.c:'))).toBe(true)
    // The page's two views of the same bytes agree.
    const whole = leavesBySite(report).reduce((sum, leaf) => sum + leaf.bytes, 0)
    expect(Math.abs(whole - leavesOf(report).reduce((sum, leaf) => sum + leaf.bytes, 0))).toBeLessThan(4096)
  })

  test('what is of serving is refused beside --sites', () => {
    const { code, err } = desk.run('run', '--sites', '--budget', '64M', '--', 'true')
    expect([code, err]).toEqual([2, expect.stringMatching(/--budget is of serving/)])
  })

  test('without a compiler it says what to do, with exit code 3', () => {
    const done = spawnSync(
      process.execPath,
      [join(root, 'dist/cli/main.js'), 'audit', '--sites', '--', '/bin/cat'],
      {
        env: { ...desk.environment, PATH: desk.folder, XDG_CACHE_HOME: join(desk.folder, 'empty') },
        encoding: 'utf8',
        timeout: 30_000,
      },
    )
    expect(done.stderr).toContain('install gcc or clang')
    expect(done.status).toBe(3)
  })

  test('the command keeps its exit code', () => {
    const done = spawnSync(lethe, ['run', '--sites', '--', 'sh', '-c', 'exit 7'], {
      env: desk.environment,
      timeout: 30_000,
    })
    expect(done.status).toBe(7)
  })
})
