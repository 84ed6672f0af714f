/** The lab: what its views are made from, the server that gives the page, and the page itself in a browser. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collect, graphs } from '../../src/lab/heap/graphs.ts'
import { programs, run } from '../../src/lab/heap/film.ts'
import { formatPlace, parsePlace } from '../../src/lab/link.ts'
import { scenarios } from '../../src/lab/machine/scenarios.ts'
import { film, traces } from '../../src/lab/replacement/film.ts'

const dist = join(import.meta.dirname, '../../dist')
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)

describe('what the views show', () => {
  test.each(scenarios.map(one => [one.id, one] as const))(
    'machine, %s: it runs, and says what happens',
    (_, one) => {
      const { shots } = one.film('r 0x10\nw 0x50 b\nr 0x10')
      expect(shots.length).toBeGreaterThan(3)
      for (const { access, processes, frames } of shots) {
        if (access?.ppn === undefined) continue
        const page = processes
          .find(({ pid }) => pid === access.process)
          ?.pages.find(({ vpn }) => vpn === access.vpn)
        expect(page?.entry).toMatchObject({ valid: true, frame: access.ppn })
        expect(frames[access.ppn]?.pages).toContainEqual({ pid: access.process, vpn: access.vpn })
      }
    },
  )

  test('a loop larger than memory faults at every access, and only written pages are written', () => {
    const shots =
      scenarios
        .find(({ id }) => id === 'swap')
        ?.film('')
        .shots.slice(1) ?? []
    expect(shots.every(({ access }) => access?.fault !== undefined)).toBe(true)
    const lens =
      scenarios
        .find(({ id }) => id === 'lens')
        ?.film('')
        .shots.slice(1) ?? []
    expect(lens.flatMap(({ swap }) => swap)).toEqual([])
    expect(lens.some(({ access }) => (access?.fault?.evictions.length ?? 0) > 0)).toBe(true)
  })

  test("replacement: Belady's trace has the textbook's counts", () => {
    const pages = Int32Array.from(traces[0]?.pages ?? [])
    const misses = (frames: number): number | undefined => film('fifo', frames, pages).shots.at(-1)?.misses
    expect([misses(3), misses(4)]).toEqual([9, 10])
  })

  test('heap: each of the four cases of coalescing comes up, and blocks fill the heap', () => {
    const { shots } = run('explicit first lifo', programs[0]?.program ?? '')
    const cases = new Set(shots.flatMap(({ effect }) => /^Case \d/.exec(effect)?.[0] ?? []))
    expect([...cases].sort()).toEqual(['Case 1', 'Case 2', 'Case 3', 'Case 4'])
    for (const { blocks } of shots)
      for (let i = 1; i < blocks.length; i++)
        expect(blocks[i]?.at).toBe((blocks[i - 1]?.at ?? 0) + (blocks[i - 1]?.size ?? 0))
  })

  test('heap: first fit looks at free blocks from the head of the list up to the one it takes', () => {
    const { shots } = run('explicit first lifo', programs[1]?.program ?? '')
    const searches = shots.filter(({ operation, path }) => operation.startsWith('a') && path.length > 1)
    expect(searches.length).toBeGreaterThan(0)
    for (const shot of searches) {
      const before = shots[shots.indexOf(shot) - 1]
      expect(before?.list.slice(0, shot.path.length)).toEqual(shot.path)
    }
  })

  test.each(graphs.map(one => [one.id, one] as const))(
    'collector, %s: what is left is what the roots reach',
    (_, one) => {
      const reached = new Set<string>()
      for (const left = [...one.roots]; left.length > 0; ) {
        const next = left.pop() ?? ''
        if (reached.has(next)) continue
        reached.add(next)
        left.push(...(one.edges[next] ?? ''))
      }
      const { shots } = collect(one)
      expect(new Set(shots.findLast(({ phase }) => phase === 'mark')?.marked)).toEqual(reached)
      expect(new Set(shots.at(-1)?.alive)).toEqual(reached)
    },
  )

  test('a place and its link are the same', () => {
    const place = { view: 'machine', values: { scenario: 'own', trace: 'r 0x10\nw 0x20 b' } }
    expect(parsePlace(formatPlace(place))).toEqual(place)
  })
})

describe('the server', () => {
  let server: ChildProcess
  let address: URL
  beforeAll(async () => {
    server = spawn(process.execPath, [join(dist, 'cli/main.js'), 'lab', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    address = new URL(
      await new Promise<string>(resolve =>
        server.stdout?.once('data', (line: Buffer) =>
          resolve((JSON.parse(line.toString()) as { address: string }).address),
        ),
      ),
    )
  })
  afterAll(() => server.kill())
  const status = async (path: string, host = address.host): Promise<number | undefined> =>
    new Promise((resolve, reject) =>
      request({ host: '127.0.0.1', port: address.port, path, headers: { host } }, response => {
        response.resume()
        resolve(response.statusCode)
      })
        .on('error', reject)
        .end(),
    )

  test('gives the page to who has the token, on this machine, and nothing else', async () => {
    expect(await status(address.pathname)).toBe(200)
    expect(await status('/')).toBe(403)
    expect(await status(`/${'0'.repeat(32)}/`)).toBe(403)
    expect(await status(address.pathname, 'evil.example')).toBe(403)
    expect(await status(`${address.pathname}..%2fcli%2fmain.js`)).toBe(404)
    expect(await status(`${address.pathname}.built`)).toBe(404)
    expect(address.hostname).toBe('127.0.0.1')
  })

  test('a port in use is one sentence', () => {
    const { stderr, status: code } = spawnSync(
      process.execPath,
      [join(dist, 'cli/main.js'), 'lab', '--port', address.port],
      { encoding: 'utf8' },
    )
    expect([code, stderr.trim()]).toEqual([
      1,
      `lethe: Port ${address.port} is in use; leave --port out to take a free one`,
    ])
  })

  describe.skipIf(browserPath === undefined)('in chromium (skipped where it is not installed)', () => {
    let browser: Browser
    const errors: string[] = []
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: browserPath ?? '', args: ['--no-sandbox'] })
    }, 60_000)
    afterAll(async () => browser.close())
    const open = async (
      hash: string,
      width = 1920,
      colorScheme: 'light' | 'dark' = 'light',
    ): Promise<Page> => {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
      page.on('pageerror', error => errors.push(error.message))
      page.on('console', message => message.type() === 'error' && errors.push(message.text()))
      await page.goto(`${address.href}#${hash}`)
      await page.waitForSelector('.player')
      return page
    }

    test.each([
      ['machine', 1024, 'light'],
      ['machine?scenario=swap&step=12', 1024, 'dark'],
      ['machine?scenario=levels&step=4', 1920, 'light'],
      ['replacement?trace=scan&step=50&policies=clock,clock-pro,arc,dlirs', 1024, 'light'],
      ['heap?program=mix&step=60', 1024, 'dark'],
      ['collector?graph=cycle&step=4', 1920, 'dark'],
    ] as const)(
      '%s at %i, %s: nothing wider than the window, no error',
      { timeout: 60_000 },
      async (hash, width, scheme) => {
        const page = await open(hash, width, scheme)
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
        expect(errors).toEqual([])
        await page.close()
      },
    )

    test('keys step, change the view and the theme; the address says where we are', {
      timeout: 60_000,
    }, async () => {
      const page = await open('machine?scenario=locality')
      await page.keyboard.press('ArrowRight')
      await page.keyboard.press('ArrowRight')
      await page.keyboard.press('ArrowLeft')
      expect(await page.textContent('.count')).toBe('1 of 32')
      expect(new URL(page.url()).hash).toBe('#machine?scenario=locality&step=1')
      expect(await page.locator('.arrows > path').count()).toBeGreaterThan(2)
      await page.keyboard.press('End')
      expect(await page.textContent('.count')).toBe('32 of 32')
      await page.keyboard.press('t')
      expect(await page.getAttribute('html', 'data-theme')).toBe('dark')
      await page.keyboard.press('3')
      await page.waitForSelector('.blocks')
      expect(new URL(page.url()).hash).toBe('#heap')
      await page.close()
    })

    test("the lecture's 0x03a9 and 0x0040 are one click away, and their blanks right", {
      timeout: 60_000,
    }, async () => {
      const page = await open('machine')
      for (const [example, blanks] of [
        ['0x03a9', ['0xe', '0x2', '0x3', 'no', 'no', '0x11', '0x469', '0x1', '0xa', '0x11', 'no', '–']],
        ['0x0040', ['0x1', '0x1', '0x0', 'no', 'yes', '–', '–', '–', '–', '–', '–', '–']],
      ] as const) {
        await page.getByRole('button', { name: example }).click()
        await page.keyboard.press('End')
        expect(await page.locator('.blanks dd').allTextContents()).toEqual(blanks)
      }
      await page.close()
    })

    test('it works without the server, from the static files', { timeout: 60_000 }, async () => {
      const page = await browser.newPage()
      // Modules can't be loaded from file: URLs, unless the browser is told so; any static server will do.
      await page.route('http://static.example/**', async route => {
        const name = new URL(route.request().url()).pathname.slice(1)
        await route.fulfill({ path: join(dist, 'lab', name === '' ? 'index.html' : name) })
      })
      await page.goto('http://static.example/#replacement')
      await page.waitForSelector('.policies .card')
      await page.close()
    })
  })
})
