/** The lab's view of a program that has run: the files of real runs, what the view makes of them, and the page with them in a browser. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countStates, Timeline } from '../../src/guest/timeline.ts'
import { readRun } from '../../src/lab/program/document.ts'
import { guest, launcher, lethe, whyNoGuests } from '../guest/guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-program-'))
afterAll(() => removeFolder(folder))
const at = (name: string): string => join(folder, name)
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)

describe('a timeline', () => {
  test('of any length and of memory that grows stays small, and says what was there', () => {
    const timeline = new Timeline()
    const states = new Uint8Array(5000)
    let now = performance.now()
    for (let i = 0; i < 5000; i++) {
      states[i] = 1
      if (i >= 1000) states[i - 1000] = 0
      const top = i + 1
      timeline.sample((now += 4), Math.min(top, 1000), 0, i, (into, pages) =>
        countStates(states, top, s => s === 1, into, pages),
      )
    }
    const { samples, cell } = timeline.record()
    expect(samples.length).toBeGreaterThanOrEqual(128)
    expect(samples.length).toBeLessThanOrEqual(256)
    expect(cell).toBe(64 * 4096)
    for (const { resident, cells } of samples) {
      const sum = Buffer.from(cells, 'base64').reduce((all, value) => all + (value / 255) * cell, 0)
      // A cell is told to the 255th part, and halved downwards when cells are put together.
      expect(Math.abs(sum - resident)).toBeLessThan(0.05 * resident + cell)
    }
  })

  test('that has room for its memory counts each page where it lies', () => {
    const into = new Uint32Array(4)
    expect(countStates(Uint8Array.of(1, 0, 1, 1, 0, 1), 6, s => s === 1, into, 2)).toBe(6)
    expect([...into]).toEqual([1, 2, 1, 0])
    expect(countStates(new Uint8Array(9), 9, () => true, into, 2)).toBe(9)
  })
})

test('a file that is none of ours is one sentence', () => {
  expect(() => readRun('{"a":1}', 'x.json')).toThrow('x.json has nothing that lethe run --json')
  expect(() => readRun('{"a":1}\nno', 'x.json')).toThrow('Line 2 of x.json is not JSON')
  const { status, stderr } = spawnSync(launcher, ['lab', at('none.json')], { encoding: 'utf8' })
  expect(status).toBe(2)
  expect(stderr).toContain("none.json can't be read (ENOENT)")
  for (const text of ['', '\n', 'no\n{}', '"{}"']) {
    writeFileSync(at('text'), text)
    const other = spawnSync(launcher, ['lab', at('text')], { encoding: 'utf8', timeout: 20_000 })
    expect(other).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/text is no JSON of ours; give /),
    })
  }
})

describe.skipIf(whyNoGuests !== undefined)(`runs (${whyNoGuests ?? 'compiled here'})`, () => {
  const run = (name: string, ...flags: string[]): string => {
    const file = at(name)
    const { status, stderr } = lethe([
      ...flags,
      '--json',
      file,
      '--dir',
      folder,
      guest('pages'),
      '--',
      at('bytes'),
      '3',
      '6',
    ])
    expect(status, stderr).toBe(0)
    return file
  }
  const view = (file: string): ReturnType<typeof readRun> => readRun(readFileSync(file, 'utf8'), file)

  beforeAll(() => {
    const bytes = Buffer.alloc(3 << 20)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * i) >> 7
    writeFileSync(at('bytes'), bytes)
  })

  test('under a budget: what each page is, and what was resident when, never more than the budget', () => {
    const { maps, residency } = view(run('budget.json', '--budget', '2M'))
    const stretches = maps[0]?.stretches ?? []
    for (const [i, { from }] of stretches.entries()) expect(from).toBe(stretches[i - 1]?.to ?? 0)
    const bytes = (kind: string): number =>
      stretches.reduce((sum, one) => sum + (one.kind === kind ? one.to - one.from : 0), 0)
    expect(bytes('resident')).toBeLessThanOrEqual(2 << 20)
    // The file was read whole, and nobody wrote to it.
    expect(bytes('file')).toBeGreaterThan(1 << 20)
    expect(bytes('packed')).toBeGreaterThan(1 << 20)
    const samples = residency?.samples ?? []
    expect(samples.length).toBeGreaterThan(2)
    for (const { resident } of samples) expect(resident).toBeLessThanOrEqual(2 << 20)
    expect(samples.at(-1)?.resident).toBe(bytes('resident'))
    expect(samples.at(-1)?.faults).toBeGreaterThan(0)
  })

  test('watched: the pages of the largest block are those of the place that took it', () => {
    const { maps, sites } = view(run('sites.json', '--malloc', 'observe'))
    const [map] = maps
    for (const [n, site] of sites.slice(0, 2).entries()) {
      const own = map?.stretches.filter(({ kind }) => kind === `site${n}`) ?? []
      expect(own.reduce((sum, { from, to }) => sum + to - from, 0)).toBeGreaterThan(0.99 * site.peak - 8192)
    }
  })

  test('replayed: what makes each page', () => {
    const { maps, sums, residency } = view(run('explain.json', '--explain'))
    expect(maps[0]?.stretches.length).toBeGreaterThan(0)
    const most = Math.max(...(residency?.samples ?? []).map(({ resident }) => resident))
    expect(most).toBeGreaterThan(1 << 20)
    expect(residency?.samples.at(-1)?.resident).toBeLessThan(most)
    expect(Object.fromEntries(sums)['Wrong ones']).toBe('0')
  })

  test('checked: an error at its address and its block', () => {
    writeFileSync(
      at('bug.c'),
      '#include <stdlib.h>\nint main(void) {\n  char *p = malloc(20);\n  p[21] = 1;\n  free(p);\n  return 0;\n}\n',
    )
    const flags = ['--target=wasm32-wasi', '-O0', '-g', '-o', at('bug.wasm'), at('bug.c')]
    expect(spawnSync('clang', flags, { encoding: 'utf8' }).stderr).toBe('')
    spawnSync(launcher, ['check', '--json', at('check.json'), at('bug.wasm')])
    const [bug] = view(at('check.json')).bugs ?? []
    expect(bug?.kind).toBe('invalid-write')
    expect(bug?.block?.size).toBe(20)
    expect(bug?.address).toBe((bug?.block?.start ?? 0) + 21)
    expect(bug?.frames[0]).toMatchObject({ line: 4 })
  })

  describe.skipIf(browserPath === undefined)('in chromium (skipped where it is not installed)', () => {
    let browser: Browser
    let server: ChildProcess
    let address: string
    beforeAll(async () => {
      const files = ['budget.json', 'sites.json', 'explain.json', 'check.json'].map(at)
      server = spawn(launcher, ['lab', '--json', ...files], { stdio: ['ignore', 'pipe', 'inherit'] })
      address = await new Promise<string>(resolve =>
        server.stdout?.once('data', (line: Buffer) =>
          resolve((JSON.parse(line.toString()) as { address: string }).address),
        ),
      )
      browser = await chromium.launch({ executablePath: browserPath ?? '', args: ['--no-sandbox'] })
    }, 60_000)
    afterAll(async () => {
      server.kill()
      await browser.close()
    })

    test.each([
      [1024, 'light'],
      [1920, 'dark'],
    ] as const)('all are shown at %i, %s', { timeout: 60_000 }, async (width, colorScheme) => {
      const errors: string[] = []
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
      page.on('pageerror', error => errors.push(error.message))
      page.on('console', message => message.type() === 'error' && errors.push(message.text()))
      await page.goto(address)
      await page.waitForSelector('.residency canvas')
      await page.locator('.memory .stretch.file').first().hover()
      expect(await page.textContent('.told')).toContain('a file makes it again')
      await page.keyboard.press('Home')
      expect(new URL(page.url()).hash).toContain('step=0')
      for (const [tab, what] of [
        ['sites.json', '.sites .bar'],
        ['explain.json', '.memory .stretch'],
        ['check.json', '.places .touched'],
      ] as const) {
        await page.getByRole('tab', { name: tab }).click()
        await page.waitForSelector(what)
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
      }
      expect(errors).toEqual([])
      await page.close()
    })
  })
})
