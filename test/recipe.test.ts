/** Recipes: what they make is what they were made of, and what is found in memory is made again byte for byte. */
import fc from 'fast-check'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { FileBacking } from '../src/backing/file.ts'
import { findRecipes, type Recipes } from '../src/explain/recipe.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { compressCell, type KeptPage, recipe, RecipeWriter } from '../src/lens/recipe.ts'
import { ProgramRunner, ProgramWriter, type Step } from '../src/lens/recipe-program.ts'
import { through } from '../src/lens/through.ts'
import { candidate, FakeMemory, Folder, generator, logBytes, PAGE, randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const SOURCE = randomBytes(40_000, 3)

/** The bytes of a recipe file with these pages. */
function fileOf(pages: readonly KeptPage[], sources: number): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-recipe-'))
  try {
    const writer = new RecipeWriter(join(folder, 'r'))
    for (let i = 0; i < pages.length; i += 16) writer.add(compressCell(pages.slice(i, i + 16)))
    writer.commit(sources)
    return readFileSync(writer.path)
  } finally {
    removeFolder(folder)
  }
}

/** Steps that do not overlap, in any order; what is left of the page, and the page. */
const pages = fc
  .array(
    fc.record({
      kind: fc.constantFrom('copy', 'strided', 'sequence'),
      length: fc.integer({ min: 1, max: 300 }),
      stride: fc.integer({ min: 8, max: 40 }),
      apart: fc.integer({ min: 1, max: 9 }),
      offset: fc.nat(30_000),
      value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      difference: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      gap: fc.nat(90),
    }),
    { maxLength: 20 },
  )
  .map(wanted => {
    const page = randomBytes(PAGE, wanted.length)
    const covered = new Uint8Array(PAGE)
    const steps: Step[] = []
    let at = 0
    for (const { kind, length, stride, apart, offset, value, difference, gap } of wanted) {
      at += gap
      const count = Math.max(1, Math.floor(length / stride))
      const end = kind === 'copy' ? at + length : at + (count - 1) * stride + 8
      if (end > PAGE) break
      const put = (to: number, bytes: Uint8Array): void => {
        page.set(bytes, to)
        covered.fill(1, to, to + bytes.length)
      }
      if (kind === 'copy') {
        steps.push({ kind, at, length, source: 0, offset })
        put(at, SOURCE.subarray(offset, offset + length))
      } else if (kind === 'strided') {
        steps.push({ kind, at, count, stride, width: 8, step: apart, source: 0, offset })
        for (let i = 0; i < count; i++)
          put(at + i * stride, SOURCE.subarray(offset + i * apart * 8, offset + i * apart * 8 + 8))
      } else {
        steps.push({ kind: 'sequence', at, count, stride, value, difference })
        for (let i = 0; i < count; i++) {
          const word = Buffer.alloc(8)
          word.writeBigUInt64LE(BigInt.asUintN(64, value + BigInt(i) * difference))
          put(at + i * stride, word)
        }
      }
      at = end
    }
    const program = new ProgramWriter().program(steps) ?? new Uint8Array(0)
    const literals = page.filter((_, i) => covered[i] === 0)
    return { page, kept: { program: program.slice(), literals } }
  })

describe('recipes', { timeout: 60_000 }, () => {
  test('a program makes the page that it was written for', () => {
    const source = bytesBacking(SOURCE)
    const runner = new ProgramRunner()
    fc.assert(
      fc.property(pages, ({ page, kept }) => {
        const out = new Uint8Array(PAGE)
        const read = (_: number, offset: number, into: Uint8Array): void => {
          source.read(offset, into)
        }
        runner.run(kept.program, kept.literals, read, out)
        expect(Buffer.compare(out, page)).toBe(0)
      }),
      { seed: 20_261, numRuns: 500 },
    )
  })

  describe('the contract', () => {
    const files = fc.array(pages, { minLength: 1, maxLength: 3 }).map(all =>
      fileOf(
        all.map(one => one.kept),
        1,
      ),
    )
    lensContract(recipe([bytesBacking(SOURCE)]), {
      backings: files,
      named: () => recipe([bytesBacking(SOURCE)]),
    })
  })

  test('what is damaged is an error, never other bytes', () => {
    const next = generator(9)
    const sample = fc.sample(pages, { seed: 5, numRuns: 40 })
    const whole = fileOf(
      sample.map(one => one.kept),
      1,
    )
    let refused = 0
    for (let i = 0; i < 60; i++) {
      const bytes = whole.slice()
      const at = next() % bytes.length
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (next() & 7))
      const lens = recipe([bytesBacking(SOURCE)])
      const out = new Uint8Array(PAGE)
      for (const [number, { page }] of sample.entries())
        try {
          lens.get(bytesBacking(bytes), number * PAGE, out)
          expect(Buffer.compare(out, page)).toBe(0)
        } catch (error) {
          expect(error).toMatchObject({ name: 'LensError' })
          refused++
        }
    }
    expect(refused).toBeGreaterThan(60)
  })

  test('it wants the sources that it was written for', () => {
    const file = bytesBacking(fileOf([{ program: new Uint8Array(0), literals: new Uint8Array(PAGE) }], 2))
    expect(() => recipe([bytesBacking(SOURCE)]).size(file)).toThrow(/2 sources, not 1/)
  })
})

/** Pages that recipes make again, each compared. */
function made(memory: FakeMemory, found: Recipes): number {
  const views = found.candidates.slice(0, -1).map((one): Backing => {
    const file = new FileBacking(one.openPath)
    return one.lens === undefined ? file : through(file, lensNamed(one.lens))
  })
  const file = found.candidates.at(-1)
  if (!file) return 0
  const view = through(new FileBacking(file.openPath), recipe(views))
  const out = new Uint8Array(PAGE)
  let pages = 0
  for (const { start, pages: n, offset } of found.extents)
    for (let i = 0; i < n; i++, pages++) {
      expect(view.read(offset + i * PAGE, out)).toBe(PAGE)
      const from = start - memory.base + i * PAGE
      expect(Buffer.compare(out, memory.bytes.subarray(from, from + PAGE))).toBe(0)
    }
  return pages
}

/** Memory of `blocks`, each behind a header of 48 bytes that counts, in blocks of 16 bytes. */
function objects(blocks: readonly Uint8Array[]): Uint8Array {
  const size = blocks.reduce((sum, block) => sum + 48 + Math.ceil(block.length / 16) * 16, 0)
  const memory = Buffer.alloc(Math.ceil(size / PAGE) * PAGE)
  let at = 0
  for (const block of blocks) {
    memory.writeBigUInt64LE(1n, at)
    memory.writeBigUInt64LE(0x7f12_3456_7890n, at + 8)
    memory.writeBigUInt64LE(BigInt(block.length), at + 16)
    memory.writeBigInt64LE(-1n, at + 24)
    memory.set(block, at + 48)
    at += 48 + Math.ceil(block.length / 16) * 16
  }
  return memory
}

describe('the search for recipes', { timeout: 60_000 }, () => {
  const search = (folder: Folder, memory: FakeMemory, path: string): Recipes =>
    findRecipes(memory, memory.runs, [candidate(path)], { path: join(folder.path, 'recipe'), most: 2 ** 30 })

  test('lines of a file between headers', () => {
    using folder = new Folder()
    const text = Buffer.from(logBytes(2 ** 20, 4))
      .toString('latin1')
      .split('\n')
    const path = folder.file('log', text.join('\n'))
    const memory = new FakeMemory(objects(text.map(line => Buffer.from(`${line}\n`))))
    const found = search(folder, memory, path)
    expect(made(memory, found)).toBeGreaterThan(0.95 * (memory.bytes.length / PAGE))
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(0.2 * memory.bytes.length)
  })

  // As an interpreter holds the code of its modules: each file makes less than a hundredth.
  test('parts of hundreds of small files', () => {
    using folder = new Folder()
    const files = Array.from({ length: 240 }, (_, i) => randomBytes(8192 + 37 * i, i + 1))
    const paths = files.map((bytes, i) => folder.file(`m${i}`, bytes))
    const blocks = files.flatMap(bytes => {
      const parts: Uint8Array[] = []
      for (let at = 5; at + 300 < bytes.length; at += 340) parts.push(bytes.subarray(at, at + 300))
      return parts
    })
    const memory = new FakeMemory(objects(blocks))
    const found = findRecipes(memory, memory.runs, paths.map(candidate), {
      path: join(folder.path, 'recipe'),
      most: 2 ** 30,
    })
    // 128 files can serve, the ones that make most.
    expect(made(memory, found)).toBeGreaterThan(0.4 * (memory.bytes.length / PAGE))
  })

  test('pages of a file with something between, in any order', () => {
    using folder = new Folder()
    const bytes = randomBytes(2 ** 22, 8)
    const path = folder.file('db', bytes)
    const order = Array.from({ length: 1024 }, (_, i) => (i * 389) % 1024)
    const memory = new FakeMemory(objects(order.map(i => bytes.subarray(i * PAGE, (i + 1) * PAGE))))
    const found = search(folder, memory, path)
    expect(made(memory, found)).toBeGreaterThan(0.98 * (memory.bytes.length / PAGE))
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(0.02 * memory.bytes.length)
  })

  test('numbers of a table in objects, the columns of a row in another order', () => {
    using folder = new Folder()
    const next = generator(6)
    const rows = Array.from({ length: 30_000 }, () => [0, 1, 2, 3].map(() => (next() - 2 ** 31) / 1e5))
    const path = folder.file('t.csv', rows.map(row => row.join(',')).join('\n'))
    const memory = Buffer.alloc(Math.ceil((rows.length * 4 * 32) / PAGE) * PAGE)
    for (const [r, row] of rows.entries())
      for (const [k, column] of [0, 3, 1, 2].entries()) {
        const at = (r * 4 + k) * 32
        memory.writeBigUInt64LE(1n, at)
        memory.writeBigUInt64LE(0x7f12_3456_7890n, at + 8)
        memory.writeDoubleLE(row[column] ?? 0, at + 16)
      }
    const fake = new FakeMemory(memory)
    const found = search(folder, fake, path)
    expect(made(fake, found)).toBeGreaterThan(0.95 * (memory.length / PAGE))
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(0.05 * memory.length)
  })

  // A list of floats grows at the fifth: the block that it frees is the sixth's.
  test.each(['csv', 'json'])('numbers of a %s that stand nearly in its order', kind => {
    using folder = new Folder()
    const next = generator(16)
    const rows = Array.from({ length: 12_000 }, () => Array.from({ length: 8 }, () => (next() % 1e9) / 1e6))
    const text = kind === 'csv' ? rows.map(row => row.join(',')).join('\n') : JSON.stringify(rows)
    const path = folder.file(`t.${kind}`, text)
    const memory = Buffer.alloc(Math.ceil((rows.length * 8 * 32) / PAGE) * PAGE)
    for (const [r, row] of rows.entries())
      for (const [k, column] of [0, 5, 1, 2, 3, 4, 6, 7].entries()) {
        const at = (r * 8 + k) * 32
        memory.writeBigUInt64LE(1n, at)
        memory.writeBigUInt64LE(0x7f12_3456_7890n, at + 8)
        memory.writeDoubleLE(row[column] ?? 0, at + 16)
      }
    const fake = new FakeMemory(memory)
    const found = search(folder, fake, path)
    expect(made(fake, found)).toBeGreaterThan(0.95 * (memory.length / PAGE))
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(0.035 * memory.length)
  })

  // As V8 keeps an array of numbers, and malloc numpy's.
  test('rows of numbers, each side by side behind a header', () => {
    using folder = new Folder()
    const next = generator(17)
    const rows = Array.from({ length: 20_000 }, () => Array.from({ length: 11 }, () => (next() % 1e9) / 1e6))
    const path = folder.file('t.json', JSON.stringify(rows))
    const memory = new FakeMemory(objects(rows.map(row => Buffer.from(Float64Array.from(row).buffer))))
    const found = search(folder, memory, path)
    expect(made(memory, found)).toBeGreaterThan(0.95 * (memory.bytes.length / PAGE))
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(0.2 * memory.bytes.length)
  })

  test('pointers that count need no file', () => {
    using folder = new Folder()
    const path = folder.file('other', randomBytes(2 ** 20, 2))
    const words = new BigUint64Array(2 ** 17)
    for (let i = 0; i < words.length; i++) words[i] = 0x7f00_0000_1000n + BigInt(i) * 48n
    const memory = new FakeMemory(new Uint8Array(words.buffer))
    const found = search(folder, memory, path)
    expect(made(memory, found)).toBe(memory.bytes.length / PAGE)
  })

  test('pages that stand in memory more than once are kept once', () => {
    using folder = new Folder()
    const path = folder.file('other', randomBytes(2 ** 20, 2))
    const some = randomBytes(64 * PAGE, 12)
    const bytes = new Uint8Array(5 * 64 * PAGE)
    for (let i = 0; i < 5 * 64; i++) {
      const from = ((i * 7) % 64) * PAGE
      bytes.set(some.subarray(from, from + PAGE), i * PAGE)
    }
    const memory = new FakeMemory(bytes)
    expect(made(memory, search(folder, memory, path))).toBe(5 * 64)
    expect(readFileSync(join(folder.path, 'recipe')).length).toBeLessThan(1.1 * some.length)
  })

  test('what has nothing to do with a file gets no recipe, and leaves none behind', () => {
    using folder = new Folder()
    const path = folder.file('other', randomBytes(2 ** 20, 2))
    const memory = new FakeMemory(randomBytes(2 ** 20, 77))
    const found = search(folder, memory, path)
    expect(found).toMatchObject({ candidates: [], extents: [] })
    expect(() => readFileSync(join(folder.path, 'recipe'))).toThrow(/ENOENT/)
  })

  test('a source that changes under the search is no false explanation', () => {
    using folder = new Folder()
    const bytes = randomBytes(2 ** 21, 8)
    const path = folder.file('db', bytes)
    const blocks = Array.from({ length: 512 }, (_, i) => bytes.subarray(i * PAGE, (i + 1) * PAGE))
    const memory = new FakeMemory(objects(blocks))
    let reads = 0
    memory.onRead = () => {
      if (++reads === 300) writeFileSync(path, randomBytes(2 ** 21, 9))
    }
    const found = search(folder, memory, path)
    const file = found.candidates.at(-1)
    if (!file) return
    const view = through(new FileBacking(file.openPath), recipe([new FileBacking(path)]))
    const out = Buffer.alloc(PAGE)
    // What comes out differs from memory, and so the proof refuses it: nothing that was taken from the file remains.
    for (const { offset } of found.extents) {
      view.read(offset, out)
      expect(Buffer.from(memory.bytes).includes(out)).toBe(false)
    }
  })
})
