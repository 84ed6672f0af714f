/** What audits say: the document and its schema, the comparison, the page in a browser, and figures below pages. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuditReport } from '../src/audit/audit.ts'
import { patternOf } from '../src/audit/patterns.ts'
import { verdict } from '../src/audit/words.ts'
import { GrainKernel } from '../src/kernels/grain.ts'
import { cannotAttach, Desk, type Holder, MiB, root } from './cli-helpers.ts'
import { randomBytes } from './explain-helpers.ts'

const PAGE = 4096
const schemas = join(root, 'docs/schemas')

// As published a schema lets later versions say more. Here every property must be described, also where parts are put together.
function strict(schema: unknown, part = false): unknown {
  if (Array.isArray(schema)) return schema.map(one => strict(one))
  if (typeof schema !== 'object' || schema === null) return schema
  const { type, allOf } = schema as { type?: string; allOf?: unknown[] }
  const inner = Object.entries(schema).map(([key, value]) => [
    key,
    key === 'allOf' ? (value as unknown[]).map(one => strict(one, true)) : strict(value),
  ])
  const closed = !part && (allOf !== undefined || type === 'object')
  return { ...Object.fromEntries(inner), ...(closed ? { unevaluatedProperties: false } : {}) }
}

function validator(name: string): ValidateFunction {
  const ajv = new Ajv2020({
    allErrors: true,
    strictTypes: false,
    formats: { 'date-time': /^\d{4}-\d\d-\d\dT.*Z$/ },
  })
  // What all that are attached have in common is a part of others only.
  for (const file of new Set([name, 'pager.schema.json'])) {
    const schema = JSON.parse(readFileSync(join(schemas, file), 'utf8')) as object
    ajv.addSchema(strict(schema, file === 'pager.schema.json') as object, file)
  }
  return ajv.getSchema(name) as ValidateFunction
}

/** Throws with what is wrong when `document` is not as the schema says. */
function conforms(name: string, document: unknown): void {
  const check = validator(name)
  if (!check(document)) throw new Error(`${name}: ${JSON.stringify(check.errors?.slice(0, 5), null, 2)}`)
}

const reason = cannotAttach()
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
)

describe('blocks smaller than a page', () => {
  const size = 8 * PAGE
  const memory = randomBytes(size, 11)
  // Of page 0 all, of page 1 half, of page 2 blocks of 64 bytes at odd places, of page 3 nothing; page 4 is zero.
  memory.fill(0, 4 * PAGE, 5 * PAGE)
  const pieces = [
    randomBytes(33, 1),
    memory.subarray(0, PAGE),
    randomBytes(7, 2),
    memory.subarray(PAGE, PAGE + 2048),
    ...Array.from({ length: 64 }, (_, i) =>
      i % 2 === 0 ? memory.subarray(2 * PAGE + 64 * i, 2 * PAGE + 64 * (i + 1)) : randomBytes(61, 100 + i),
    ),
  ]
  // The last piece lies over the border of what is looked at in one go.
  const border = Buffer.concat([...pieces, randomBytes(2 * MiB, 5)])
  border.set(memory.subarray(5 * PAGE, 6 * PAGE), MiB - 1000)
  border.set(memory.subarray(6 * PAGE, 7 * PAGE), 2 * MiB + 16)

  function kernelOver(file: Uint8Array): GrainKernel {
    const kernel = new GrainKernel(8)
    kernel.pages.set(memory)
    kernel.enter()
    const read = (offset: number, into: Uint8Array): number => {
      const part = file.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    }
    expect(kernel.scan(read)).toBe(file.length)
    return kernel
  }

  test.each([
    [16, PAGE + 2048 + 2048 + 2 * PAGE],
    [64, PAGE + 2048 + 2048 + 2 * PAGE],
    [128, PAGE + 2048 + 2 * PAGE],
    [2048, PAGE + 2048 + 2 * PAGE],
    [4096, 3 * PAGE],
  ])('of %i bytes: what stands in a file is counted to the byte', (bytes, covered) => {
    expect(kernelOver(border).covered(bytes)).toBe(covered)
    expect(kernelOver(border).constant(bytes)).toBe(PAGE)
  })

  test('the plain definition agrees, on random cuttings of memory', () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    let state = seed
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const parts: Uint8Array[] = []
    for (let i = 0; i < 60; i++) {
      const from = random(size - 16)
      parts.push(
        memory.subarray(from, Math.min(size, from + 16 + random(3000))),
        randomBytes(1 + random(40), i + 1),
      )
    }
    const file = Buffer.concat(parts)
    const kernel = kernelOver(file)
    for (let bytes = 16; bytes <= PAGE; bytes *= 2) {
      let covered = 0
      for (let at = 0; at < size; at += bytes) {
        const block = memory.subarray(at, at + bytes)
        const inFile = file.includes(Buffer.from(block)) && block.some(byte => byte !== block[0])
        if (inFile) covered += bytes
      }
      expect(kernel.covered(bytes), `blocks of ${bytes} bytes, seed ${seed}`).toBe(covered)
    }
  })

  test('smaller blocks are worth it only if they add more than their bookkeeping', () => {
    const point = (
      bytes: number,
      files: number,
    ): AuditReport['grain'] extends infer G | undefined
      ? G extends { points: readonly (infer P)[] }
        ? P
        : never
      : never => ({ bytes, files, constant: 0, net: files * (1 - 8 / bytes) })
    const curve = (...points: ReturnType<typeof point>[]) => ({
      points,
      sampled: 1,
      unexplained: 1,
      searched: 0,
    })
    expect(verdict(curve(point(16, 0.9), point(4096, 0.5)))).toMatchObject({ answer: 'no', bytes: 4096 })
    expect(verdict(curve(point(64, 0.9), point(4096, 0.5)))).toMatchObject({ answer: 'yes', bytes: 64 })
  })
})

test.each([
  ['verbatim', true, 'aligned'],
  ['verbatim', false, 'shifted'],
  ['gunzip', false, 'decompressed'],
  ['gunzip|utf8-utf16', false, 'widened'],
  ['inflate@66+100', false, 'decompressed'],
  ['unzstd', false, 'decompressed'],
  ['u8/255-f32', false, 'converted'],
  ['numbers-f64:high/3', false, 'parsed'],
  ['parquet?column=a', false, 'columns'],
  ['recipe', false, 'pieces'],
  ['packed', false, 'packed'],
] as const)('the pattern of %s (aligned: %s) is %s', (lens, aligned, pattern) =>
  expect(patternOf(lens, aligned)).toBe(pattern),
)

describe.skipIf(reason !== undefined)(
  `documents${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 120_000 },
  () => {
    let desk: Desk
    let holder: Holder
    beforeAll(async () => {
      desk = new Desk()
      holder = await desk.holder(24 * MiB)
    })
    afterAll(() => desk.close())
    const json = (...words: string[]): unknown => {
      const { code, out, err } = desk.run(...words)
      expect(code, err).toBe(0)
      return JSON.parse(out)
    }

    test('audit, status, attach and doctor say what their schemas promise', () => {
      const pid = String(holder.pid)
      const before = json('audit', '--json', pid) as AuditReport
      conforms('audit.schema.json', before)
      expect(before.saving.now).toBeGreaterThan(23 * MiB)
      expect(before.files[0]).toMatchObject({ lens: 'verbatim', pattern: 'shifted' })
      expect(before.files[0]?.price).toBeGreaterThan(0)
      agrees(before)
      const path = desk.file('before.json', JSON.stringify(before))
      conforms('status.schema.json', json('status', '--json'))
      const attached = json('attach', pid, '--once', '--json')
      conforms('attach.schema.json', attached)
      conforms('status.schema.json', json('status', '--json'))
      const now = json('audit', '--json', pid) as AuditReport
      conforms('audit.schema.json', now)
      agrees(now)
      expect(now).toMatchObject({ attached: true })
      expect(now.totals.virtual * PAGE).toBeGreaterThan(23 * MiB)
      const changed = json('audit', '--json', '--diff', path, pid)
      conforms('audit.schema.json', changed)
      expect(desk.run('audit', '--diff', path, pid).out).toMatch(/\+\d+.* MB {2}virtual\n/)
      expect(json('detach', '--json', pid)).toMatchObject({ type: 'detached' })
      const { out } = desk.run('doctor', '--json')
      conforms('doctor.schema.json', JSON.parse(out))
    })

    test('a schema finds what is wrong', () => {
      const document = json('audit', '--json', String(holder.pid)) as object
      expect(() => conforms('audit.schema.json', { ...document, unheard: 1 })).toThrow(/unheard/)
      expect(() => conforms('audit.schema.json', { ...document, pid: -1 })).toThrow(/minimum/)
    })

    test('--diff with anything else is a wrong use, said before any work', () => {
      const other = desk.file('other.json', '{"type":"status"}')
      const { code, err } = desk.run('audit', '--diff', other, String(holder.pid))
      expect([code, err]).toEqual([2, expect.stringMatching(/no audit of format 1/)])
      expect(desk.run('audit', '--diff', '/nowhere', '1').code).toBe(2)
    })

    test.skipIf(browserPath === undefined)(
      'the page opens without a network, shows its figures, and fits 1024 and 1920, dark and light',
      async () => {
        const path = join(desk.folder, 'report.html')
        const { code, err } = desk.run('audit', '--html', path, String(holder.pid))
        expect([code, err]).toEqual([0, expect.stringMatching(/the report is in/)])
        expect(gzipSync(readFileSync(path)).length).toBeLessThan(MiB)
        const browser: Browser = await chromium.launch({
          executablePath: browserPath as string,
          args: ['--no-sandbox'],
        })
        try {
          for (const [width, colorScheme] of [
            [1024, 'light'],
            [1920, 'dark'],
          ] as const) {
            const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme })
            const wrong: string[] = []
            page.on('pageerror', error => wrong.push(error.message))
            page.on('console', message => message.type() === 'error' && wrong.push(message.text()))
            page.on('request', request => {
              if (!/^(file|data):/.test(request.url())) wrong.push(request.url())
            })
            await page.goto(`file://${path}`)
            await page.waitForSelector('footer')
            // Drawn when its room has been measured.
            await page.waitForSelector('.treemap .leaf')
            expect(await page.textContent('.lead')).toMatch(/^2[0-9.]+ MB of .* can be given back now/)
            expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
            expect(await page.locator('.treemap .leaf').count()).toBeGreaterThan(1)
            await page.click('text=Lens')
            await page.waitForSelector('.treemap :text("Plain copy, shifted")')
            expect(await page.locator('canvas').count()).toBeGreaterThan(0)
            expect(wrong).toEqual([])
            await page.close()
          }
        } finally {
          await browser.close()
        }
      },
    )
  },
)

// The document's parts add up: mappings, files, parts and cells are views of the same pages.
function agrees({ mappings, files, parts, map, totals, grain }: AuditReport): void {
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
  for (const kind of ['virtual', 'explained', 'zero', 'duplicate', 'unexplained'] as const) {
    expect(sum(mappings.map(one => one[kind])), kind).toBe(totals[kind])
    expect(sum(map.cells.map(one => one[kind])), kind).toBe(totals[kind])
  }
  const explained = (totals.explained + totals.virtual) * PAGE
  expect(sum(files.map(one => one.bytes))).toBe(explained)
  expect(sum(parts.map(one => one.bytes))).toBe(explained)
  for (const [i, file] of files.entries())
    expect(sum(parts.filter(one => one.file === i).map(one => one.bytes))).toBe(file.bytes)
  expect(map.cells.every(cell => files[cell.file] !== undefined || cell.explained + cell.virtual === 0)).toBe(
    true,
  )
  const page = grain?.points.find(({ bytes }) => bytes === PAGE)
  expect((page?.files ?? 0) * totals.pages * PAGE).toBeCloseTo(explained, -4)
}
