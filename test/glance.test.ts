// Which views are worth a search: told from parts of them. Memory is made by the lenses themselves, over files of several MB.
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { promising } from '../src/explain/glance.ts'
import { Pool } from '../src/explain/pool.ts'
import { SearchKernel } from '../src/kernels/index.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { candidate, FakeMemory, Folder, generator, PAGE, randomBytes } from './explain-helpers.ts'

const MIB = 2 ** 20
const folder = new Folder()
const paths = new Map<string, string>()

function table(rows: number, seed: number): string {
  const next = generator(seed)
  const lines: string[] = []
  for (let i = 0; i < rows; i++) lines.push(`${next() / 1000},${next() % 90},${next() / 7}`)
  return `${lines.join('\n')}\n`
}

function letters(length: number, seed: number): string {
  const next = generator(seed)
  let text = ''
  while (text.length < length)
    text += `${String.fromCodePoint(0x430 + (next() % 32)).repeat(1 + (next() % 3))} `
  return text
}

beforeAll(() => {
  const add = (name: string, bytes: Uint8Array | string): void => {
    paths.set(name, folder.file(name, bytes))
  }
  const text = letters(3 * MIB, 1)
  add('text', text)
  add('other text', letters(3 * MIB, 2))
  add('table', table(150_000, 3))
  add('other table', table(150_000, 4))
  add('text.gz', gzipSync(text, { level: 1 }))
  add('text.zst', zstdCompressSync(text))
  add(
    'halves',
    randomBytes(5 * MIB, 5).map((byte, i) => (i % 2 === 1 ? 0x30 + (byte & 7) : byte)),
  )
})
afterAll(() => folder[Symbol.dispose]())

/** Memory that holds `bytes` of a view from `from` on, between noise. */
function memoryOf(file: string, lens: string, from: number, bytes: number): FakeMemory {
  using backing = new FileBacking(paths.get(file) ?? '')
  const made = new Uint8Array(bytes)
  lensNamed(lens).get(backing, from, made)
  return new FakeMemory(Buffer.concat([randomBytes(64 * PAGE + 48, 8), made, randomBytes(64 * PAGE - 48, 9)]))
}

const views: readonly (readonly [file: string, lens: string])[] = [
  ['text', 'utf8-utf16'],
  ['text', 'utf8-utf32'],
  ['other text', 'utf8-utf16'],
  ['table', 'numbers-f64'],
  ['table', 'numbers-f64/2'],
  ['table', 'numbers-i64/1'],
  ['other table', 'numbers-f64/2'],
  ['halves', 'swap32'],
  ['halves', 'swap16|f16-f32'],
  ['text.gz', 'gunzip'],
  ['text.gz', 'gunzip|utf8-utf16'],
  ['text.zst', 'unzstd|utf8-utf32'],
  ['halves', 'f16-f32'],
  ['halves', 'f16-f64'],
  ['halves', 'f16-f32+1'],
]

describe('of all views those that made the memory are worth a search', () => {
  const cases: readonly (readonly [string, string, number, number])[] = [
    ['text', 'utf8-utf16', 0, 6 * MIB],
    ['other text', 'utf8-utf16', 0, 5 * MIB],
    ['table', 'numbers-f64', 0, 3 * MIB],
    ['table', 'numbers-f64/2', 0, MIB],
    ['other table', 'numbers-f64/2', 0, MIB],
    ['text.zst', 'unzstd|utf8-utf32', 0, 8 * MIB],
    ['text.gz', 'gunzip', 0, 4 * MIB],
    ['halves', 'f16-f32', 0, 10 * MIB],
    ['halves', 'swap16|f16-f32', 0, 10 * MIB],
    ['halves', 'swap32', MIB, 4 * MIB],
    // Only the second half of it.
    ['halves', 'f16-f32', 5 * MIB, 5 * MIB],
    ['table', 'numbers-f64', 1_800_000, 1_200_000],
    ['text', 'utf8-utf16', 3 * MIB, 3 * MIB],
  ]
  for (const [file, lens, from, bytes] of cases)
    it(`${lens} of ${file} from byte ${from} on`, () => {
      const pool = new Pool()
      const memory = memoryOf(file, lens, from, bytes)
      const all = views.map(([name, view]) => ({ ...candidate(paths.get(name) ?? ''), lens: view }))
      const found = promising(memory, memory.runs, all, new SearchKernel(), pool, () => undefined)
      pool.close()
      const names = found.map(({ path, lens: name }) => `${path.slice(folder.path.length + 1)} ${name}`)
      expect(names).toContain(`${file} ${lens}`)
      // The same text compressed makes the same; other forms of it do not.
      const last = (name: string): string => name.split(/[ |]/).at(-1) ?? ''
      expect(new Set(names.map(last)), String(names)).toEqual(new Set([last(lens)]))
      expect(names.some(name => name.startsWith('other') !== file.startsWith('other'))).toBe(false)
    })

  it('none, if it is from none of them', () => {
    const pool = new Pool()
    const memory = new FakeMemory(randomBytes(4 * MIB, 10))
    const all = views.map(([name, view]) => ({ ...candidate(paths.get(name) ?? ''), lens: view }))
    expect(promising(memory, memory.runs, all, new SearchKernel(), pool, () => undefined)).toEqual([])
    pool.close()
  })

  it('and those that can only be judged whole', () => {
    const pool = new Pool()
    const memory = new FakeMemory(randomBytes(MIB, 11))
    const view = { ...candidate(paths.get('table') ?? ''), lens: 'png-rgb' }
    const found = promising(memory, memory.runs, [view], new SearchKernel(), pool, () => undefined)
    expect(found).toEqual([view])
    pool.close()
  })
})
