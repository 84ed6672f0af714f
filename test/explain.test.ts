import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { explain } from '../src/explain/explain.ts'
import { IndexCache } from '../src/explain/index-cache.ts'
import {
  candidate,
  FakeMemory,
  Folder,
  generator,
  judge,
  layOut,
  logBytes,
  PAGE,
  randomBytes,
  search,
  templateBytes,
} from './explain-helpers.ts'

const MIB = 2 ** 20

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function repeat(length: number, text: string): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => text.charCodeAt(i % text.length))
}

/** Cuts bytes into pieces of a size, each at a random offset in its page, in random order. */
function shatter(bytes: Uint8Array, size: number, seed: number): { bytes: Uint8Array; offset: number }[] {
  const next = generator(seed)
  const pieces: { bytes: Uint8Array; offset: number; key: number }[] = []
  for (let at = 0; at < bytes.length; at += size) {
    pieces.push({ bytes: bytes.subarray(at, at + size), offset: next() % PAGE, key: next() })
  }
  return pieces.toSorted((a, b) => a.key - b.key)
}

const LINE = 'kernel: connection reset by peer\n'
const CONTENTS: Readonly<Record<string, Uint8Array>> = {
  'random bytes': randomBytes(5 * MIB + 777, 1),
  'a log': logBytes(5 * MIB + 5, 2),
  'two hundred lines in random order': templateBytes(4 * MIB, 200, 3),
  'five lines in random order': templateBytes(3 * MIB, 5, 5),
  'one line repeated': repeat(3 * MIB, LINE),
  'one byte repeated': new Uint8Array(3 * MIB).fill(0xff),
  'seven bytes repeated': repeat(2 * MIB, 'abcdefg'),
  numbers: new Uint8Array(Float64Array.from({ length: 400_000 }, (_, i) => i * 0.5).buffer),
  'runs in a log': concat(
    logBytes(MIB, 8),
    new Uint8Array(20_000).fill(66),
    randomBytes(5000, 9),
    new Uint8Array(2 * MIB).fill(66),
    logBytes(MIB, 10),
    repeat(2 * MIB, LINE),
    randomBytes(MIB, 11),
  ),
}

describe('a copy of a file', () => {
  for (const [name, bytes] of Object.entries(CONTENTS)) {
    for (const size of [bytes.length, 2 * MIB, 60_000]) {
      it(`of ${name} is found in pieces of ${size} bytes`, () => {
        using folder = new Folder()
        const paths = [folder.file('other', logBytes(MIB, 77)), folder.file('file', bytes)]
        const { memory, inside } = layOut(shatter(bytes, size, size))
        const fake = new FakeMemory(memory)
        const { wanted, missed, false: wrong } = judge(fake, inside, search(fake, paths))
        expect(wrong).toBe(0)
        expect(missed.length).toBeLessThanOrEqual(wanted * 0.003)
      })
    }
  }

  it('is found at every offset modulo 64', () => {
    using folder = new Folder()
    const bytes = randomBytes(64 * 16_384, 21)
    const pieces = Array.from({ length: 64 }, (_, i) => ({
      bytes: bytes.subarray(i * 16_384, (i + 1) * 16_384),
      offset: i,
    }))
    const { memory, inside } = layOut(pieces)
    const fake = new FakeMemory(memory)
    const result = judge(fake, inside, search(fake, [folder.file('file', bytes)]))
    expect(result).toEqual({ wanted: 64 * 3 + 1, missed: [], false: 0 })
  })

  it('is found where it begins and ends exactly with a page, and not one byte further', () => {
    using folder = new Folder()
    const bytes = randomBytes(10 * PAGE, 22)
    const memory = concat(randomBytes(PAGE, 1), bytes.subarray(0, 10 * PAGE), randomBytes(PAGE, 2))
    const path = folder.file('file', bytes)
    const start = 0x7f00_0000_1000
    expect(search(new FakeMemory(memory), [path]).extents).toEqual([
      { start, pages: 10, backing: 0, offset: 0 },
    ])
    memory[11 * PAGE - 1] = (memory[11 * PAGE - 1] ?? 0) ^ 1
    memory[PAGE] = (memory[PAGE] ?? 0) ^ 1
    expect(search(new FakeMemory(memory), [path]).extents).toEqual([
      { start: start + PAGE, pages: 8, backing: 0, offset: PAGE },
    ])
  })

  it.each([
    ['two', [0, 1]],
    ['three', [0, 1, 2]],
    ['three halves', [0, 0.5, 1]],
  ])('is found where it holds numbers of %s values, whatever the numbers', (_, values) => {
    using folder = new Folder()
    for (let seed = 40; seed < 52; seed++) {
      const chosen = randomBytes(2 ** 17, seed)
      const column = Float64Array.from(chosen, byte => values[byte % values.length] ?? 0)
      const whole = values.every(Number.isInteger)
      const bytes = new Uint8Array(
        (whole ? BigInt64Array.from(column, value => BigInt(value)) : column).buffer,
      )
      const { memory, inside } = layOut([{ bytes: bytes.subarray(8 * 999), offset: 48 }])
      const fake = new FakeMemory(memory)
      const path = folder.file(`file ${seed}`, concat(randomBytes(12_345, seed), bytes))
      const { missed, false: wrong } = judge(fake, inside, search(fake, [path]))
      expect(wrong).toBe(0)
      expect(missed).toEqual([])
    }
  })

  it('is found around pages that were written, are zero, or cannot be read', () => {
    using folder = new Folder()
    const bytes = randomBytes(100 * PAGE, 23)
    bytes.fill(0, 70 * PAGE, 72 * PAGE)
    const memory = bytes.slice()
    memory.fill(7, 20 * PAGE + 5, 20 * PAGE + 9)
    const fake = new FakeMemory(memory, 0x10000, new Set([50, 51]))
    const { counts, zero, extents } = search(fake, [folder.file('file', bytes)])
    expect(counts).toMatchObject({ pages: 100, explained: 95, zero: 2, absent: 2, unexplained: 1 })
    expect(zero).toEqual([{ start: 0x10000 + 70 * PAGE, pages: 2 }])
    expect(extents.map(extent => extent.pages)).toEqual([20, 29, 18, 28])
  })

  it('is attributed to one of two files that share content, rightly', () => {
    using folder = new Folder()
    const shared = logBytes(200_000, 24)
    const one = concat(randomBytes(5000, 25), shared, randomBytes(50_000, 26))
    const two = concat(randomBytes(7001, 27), shared, randomBytes(50_000, 28))
    const { memory, inside } = layOut([
      { bytes: two, offset: 33 },
      { bytes: one, offset: 48 },
    ])
    const fake = new FakeMemory(memory)
    const found = search(fake, [folder.file('one', one), folder.file('two', two)])
    expect(judge(fake, inside, found)).toMatchObject({ missed: [], false: 0 })
    expect(new Set(found.extents.map(extent => extent.backing))).toEqual(new Set([0, 1]))
  })

  it('is found beyond 4 GiB of a sparse file', { timeout: 60_000 }, () => {
    using folder = new Folder()
    const path = join(folder.path, 'sparse')
    const bytes = logBytes(300_000, 29)
    const at = 4.4 * 2 ** 30 + 4321
    const descriptor = openSync(path, 'w')
    writeSync(descriptor, bytes, 0, bytes.length, Math.floor(at))
    ftruncateSync(descriptor, Math.floor(4.5 * 2 ** 30))
    closeSync(descriptor)
    const { memory, inside } = layOut([{ bytes, offset: 48 }])
    const fake = new FakeMemory(memory)
    const found = search(fake, [path])
    expect(judge(fake, inside, found)).toMatchObject({ missed: [], false: 0 })
    expect(found.extents[0]?.offset).toBeGreaterThan(2 ** 32)
  })

  it('is found among three thousand small files', () => {
    using folder = new Folder()
    const contents = Array.from({ length: 3000 }, (_, i) => logBytes(5000 + (i % 50) * 100, 1000 + i))
    const paths = contents.map((bytes, i) => folder.file(`f${i}`, bytes))
    const chosen = [0, 17, 999, 2500, 2999].map(i => ({ bytes: contents[i] ?? new Uint8Array(0), offset: 0 }))
    const { memory, inside } = layOut(chosen)
    const fake = new FakeMemory(memory)
    expect(judge(fake, inside, search(fake, paths))).toMatchObject({ missed: [], false: 0 })
  }, 30_000)
})

describe('the search', () => {
  it('explains nothing of memory that is in no file', () => {
    using folder = new Folder()
    const { memory } = layOut([{ bytes: logBytes(MIB, 30), offset: 16 }])
    const { extents, counts } = search(new FakeMemory(memory), [folder.file('file', logBytes(MIB, 31))])
    expect(extents).toEqual([])
    expect(counts.explained).toBe(0)
  })

  it('counts all but one of equal unexplained pages as duplicates', () => {
    const page = randomBytes(PAGE, 32)
    const memory = concat(page, randomBytes(PAGE, 33), page, page, new Uint8Array(PAGE))
    expect(search(new FakeMemory(memory), []).counts).toMatchObject({ duplicate: 2, unexplained: 4, zero: 1 })
  })

  it('says nothing false of memory that changes while it is read', () => {
    using folder = new Folder()
    const bytes = randomBytes(2 * MIB, 34)
    const path = folder.file('file', bytes)
    const fake = new FakeMemory(bytes.slice())
    const next = generator(35)
    const touched = new Set<number>()
    fake.onRead = () => {
      const at = next() % fake.bytes.length
      fake.bytes[at] = (fake.bytes[at] ?? 0) ^ 0xff
      touched.add(Math.floor(at / PAGE))
    }
    const { extents, counts } = search(fake, [path])
    // An extent says what a page held when it was read; only pages that nobody touched still hold it.
    const wrong = extents.flatMap(({ start, pages, offset }) =>
      Array.from({ length: pages }, (_, i) => i).filter(i => {
        const page = (start - fake.base) / PAGE + i
        const now = fake.bytes.subarray(page * PAGE, (page + 1) * PAGE)
        return (
          !touched.has(page) &&
          Buffer.compare(now, bytes.subarray(offset + i * PAGE, offset + (i + 1) * PAGE)) !== 0
        )
      }),
    )
    expect(wrong).toEqual([])
    expect(counts.explained).toBeGreaterThan(500 - touched.size)
  })

  it('asks for the second tier only when the first leaves something', () => {
    using folder = new Folder()
    const bytes = randomBytes(100 * PAGE, 36)
    const path = folder.file('file', bytes)
    let asked = 0
    const second = (): [] => {
      asked++
      return []
    }
    explain(new FakeMemory(bytes), [() => [candidate(path)], second])
    expect(asked).toBe(0)
    explain(new FakeMemory(randomBytes(100 * PAGE, 37)), [() => [candidate(path)], second])
    expect(asked).toBe(1)
  })

  it('does without a candidate that is gone or was replaced', () => {
    using folder = new Folder()
    const bytes = randomBytes(100 * PAGE, 38)
    const path = folder.file('file', bytes)
    const stale = candidate(path)
    writeFileSync(path, randomBytes(100 * PAGE, 39))
    utimesSync(path, 1, 1)
    const gone = {
      ...stale,
      openPath: join(folder.path, 'none'),
      identity: { ...stale.identity, inode: '1' },
    }
    expect(explain(new FakeMemory(bytes), [() => [stale, gone]]).extents).toEqual([])
  })
})

describe('the index cache', () => {
  const bytes = logBytes(6 * MIB, 40)

  function only(folder: Folder): string {
    const inside = join(folder.path, 'cache', 'v2')
    const names = readdirSync(inside)
    expect(names).toHaveLength(1)
    return join(inside, names[0] ?? '')
  }

  it('saves reading the file again and gives the same result', () => {
    using folder = new Folder()
    const path = folder.file('file', bytes)
    const cache = new IndexCache(join(folder.path, 'cache'))
    const fake = new FakeMemory(layOut([{ bytes, offset: 16 }]).memory)
    const first = search(fake, [path], cache)
    const second = search(fake, [path], cache)
    expect(second.extents).toEqual(first.extents)
    expect(first.counts.fileBytesIndexed).toBeGreaterThan(bytes.length)
    expect(second.counts.fileBytesIndexed).toBe(0)
  })

  it('that is damaged anywhere is not believed, and made again', () => {
    using folder = new Folder()
    const path = folder.file('file', bytes)
    const cache = new IndexCache(join(folder.path, 'cache'))
    const { memory, inside } = layOut([{ bytes, offset: 16 }])
    const fake = new FakeMemory(memory)
    search(fake, [path], cache)
    const stored = only(folder)
    const good = readFileSync(stored)
    const damages: ((index: Buffer) => Buffer)[] = [
      index => index.subarray(0, 10),
      index => index.subarray(0, index.length - 5),
      index => Buffer.concat([index, Buffer.alloc(12)]),
      index => index.fill(0, 0, 4),
      index => index.fill(0xee, 1000, 1012),
      () => Buffer.alloc(0),
    ]
    for (const damage of damages) {
      writeFileSync(stored, damage(Buffer.from(good)))
      const found = search(fake, [path], cache)
      expect(judge(fake, inside, found)).toMatchObject({ missed: [], false: 0 })
      expect(readFileSync(only(folder)).equals(good)).toBe(true)
    }
  })

  it('that is whole but wrong costs finds, never causes a false one', () => {
    using folder = new Folder()
    const path = folder.file('file', bytes)
    const other = folder.file('other', logBytes(6 * MIB, 41))
    const cache = new IndexCache(join(folder.path, 'cache'))
    const { memory, inside } = layOut([{ bytes, offset: 16 }])
    const fake = new FakeMemory(memory)
    search(fake, [path], cache)
    const right = only(folder)
    search(fake, [other], cache)
    const wrong = readdirSync(join(folder.path, 'cache', 'v2')).map(name =>
      join(folder.path, 'cache', 'v2', name),
    )
    writeFileSync(right, readFileSync(wrong.find(name => name !== right) ?? right))
    expect(judge(fake, inside, search(fake, [path], cache)).false).toBe(0)
  })

  it('of a file that was changed since is not used', () => {
    using folder = new Folder()
    const path = folder.file('file', bytes)
    const cache = new IndexCache(join(folder.path, 'cache'))
    search(new FakeMemory(bytes.slice(0, 100 * PAGE)), [path], cache)
    const changed = concat(randomBytes(999, 42), bytes.subarray(0, bytes.length - 999))
    writeFileSync(path, changed)
    const { memory, inside } = layOut([{ bytes: changed, offset: 32 }])
    const fake = new FakeMemory(memory)
    expect(judge(fake, inside, search(fake, [path], cache))).toMatchObject({ missed: [], false: 0 })
  })

  it('stays below its limit by forgetting what was used least recently', () => {
    using folder = new Folder()
    const cache = new IndexCache(join(folder.path, 'cache'), 700_000)
    const memory = new FakeMemory(randomBytes(PAGE, 43))
    for (let i = 0; i < 4; i++) search(memory, [folder.file(`f${i}`, logBytes(6 * MIB, 50 + i))], cache)
    const inside = join(folder.path, 'cache', 'v2')
    const total = readdirSync(inside).reduce((sum, name) => sum + statSync(join(inside, name)).size, 0)
    expect(total).toBeLessThanOrEqual(700_000)
    expect(total).toBeGreaterThan(100_000)
  })

  it('that cannot be written is done without', () => {
    using folder = new Folder()
    const cache = new IndexCache(join(folder.file('a file', 'x'), 'cache'))
    const fake = new FakeMemory(bytes.slice(0, 100 * PAGE))
    expect(search(fake, [folder.file('file', bytes)], cache).counts.explained).toBe(100)
  })
})
