import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LensError } from '../src/lens/errors.ts'
import {
  FolderIndexStore,
  type IndexKey,
  type IndexStore,
  MemoryIndexStore,
  type StoredIndex,
} from '../src/lens/index-store.ts'
import { randomBytes } from './explain-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

const key = (n: number, lens = 'gunzip', version = 1): IndexKey => ({
  identity: { device: '1', inode: String(n), size: 10, mtime: '5', ctime: '6' },
  lens,
  version,
})

function keep(store: IndexStore, at: IndexKey, bytes: Uint8Array, pieces = 1): StoredIndex {
  const maker = store.make(at)
  const step = Math.ceil(bytes.length / pieces)
  for (let from = 0; from < bytes.length; from += step) maker.append(bytes.subarray(from, from + step))
  expect(maker.size).toBe(bytes.length)
  return maker.commit()
}

function whole(index: StoredIndex | undefined): Uint8Array | undefined {
  if (!index) return undefined
  const bytes = new Uint8Array(index.size)
  index.read(0, bytes)
  return bytes
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lethe-index-'))
})
afterEach(() => removeFolder(folder))

const stores: Record<string, (limit?: number) => IndexStore> = {
  memory: limit => new MemoryIndexStore(limit),
  folder: limit => new FolderIndexStore(folder, limit),
}

for (const [name, make] of Object.entries(stores))
  describe(`the ${name} store`, () => {
    it('gives back what was kept, whole and in parts', () => {
      const store = make()
      for (const [i, length] of [0, 1, 4095, 4096, 4097, 50_000].entries()) {
        const bytes = randomBytes(length, i)
        expect(whole(keep(store, key(i), bytes, 7))).toEqual(bytes)
        const index = store.find(key(i))
        expect(whole(index)).toEqual(bytes)
        const part = new Uint8Array(Math.min(length, 5000))
        index?.read(length - part.length, part)
        expect(part).toEqual(bytes.subarray(length - part.length))
        index?.close()
      }
    })

    it('tells identities, lenses and versions apart', () => {
      const store = make()
      keep(store, key(1), randomBytes(100, 1))
      for (const other of [key(2), key(1, 'zlib@0'), key(1, 'gunzip', 2)])
        expect(store.find(other)).toBeUndefined()
    })

    it('replaces, forgets, and abandons', () => {
      const store = make()
      keep(store, key(1), randomBytes(100, 1))
      keep(store, key(1), randomBytes(200, 2))
      expect(whole(store.find(key(1)))).toEqual(randomBytes(200, 2))
      store.forget(key(1))
      expect(store.find(key(1))).toBeUndefined()
      const maker = store.make(key(3))
      maker.append(randomBytes(10_000, 3))
      maker.abandon()
      expect(store.find(key(3))).toBeUndefined()
    })

    it('saves and loads in one go', () => {
      const store = make()
      expect(store.load(key(1).identity, 'a')).toBeUndefined()
      store.save(key(1).identity, 'a', randomBytes(5000, 1))
      expect(store.load(key(1).identity, 'a')).toEqual(randomBytes(5000, 1))
      expect(store.load(key(1).identity, 'b')).toBeUndefined()
    })

    it('fails a read beyond the end', () => {
      const index = keep(make(), key(1), randomBytes(100, 1))
      expect(() => index.read(90, new Uint8Array(11))).toThrow('Invalid read of 11 bytes at 90')
    })

    it('stays within its limit', () => {
      const store = make(50_000)
      for (let i = 0; i < 20; i++) keep(store, key(i), randomBytes(8000, i)).close()
      const there = Array.from({ length: 20 }, (_, i) => store.find(key(i)) !== undefined)
      expect(there.filter(Boolean).length).toBeLessThanOrEqual(6)
      expect(there[19]).toBe(true)
    })
  })

describe('the folder store', () => {
  const file = (): string => {
    const [name] = readdirSync(join(folder, 'v1'))
    return join(folder, 'v1', name ?? '')
  }

  it('is private, and leaves nothing half written', () => {
    const store = new FolderIndexStore(folder)
    keep(store, key(1), randomBytes(10_000, 1))
    store.make(key(2)).abandon()
    expect(readdirSync(join(folder, 'v1'))).toHaveLength(1)
    expect(statSync(file()).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'v1')).mode & 0o777).toBe(0o700)
  })

  it('refuses and removes a file with any byte flipped, cut, or grown', () => {
    const bytes = randomBytes(4300, 1)
    const store = new FolderIndexStore(folder)
    keep(store, key(1), bytes).close()
    const path = file()
    const good = readFileSync(path)
    const damage = (bad: Uint8Array): void => {
      writeFileSync(path, bad)
      expect(store.find(key(1))).toBeUndefined()
      expect(readdirSync(join(folder, 'v1'))).toEqual([])
    }
    for (let at = 0; at < good.length; at++) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at & 7))
      damage(bad)
    }
    for (const length of [0, 1, 63, 64, 4000, good.length - 1]) damage(good.subarray(0, length))
    damage(Buffer.concat([good, Buffer.from([0])]))
    keep(store, key(1), bytes).close()
    expect(whole(store.find(key(1)))).toEqual(bytes)
  })

  it('refuses another index put in its place', () => {
    const store = new FolderIndexStore(folder)
    keep(store, key(1), randomBytes(10, 1)).close()
    const path = file()
    const first = readFileSync(path)
    rmSync(path)
    keep(store, key(2), randomBytes(10, 2)).close()
    writeFileSync(file(), first)
    expect(store.find(key(2))).toBeUndefined()
  })

  it('says so when the bytes are damaged after the index was found', () => {
    const store = new FolderIndexStore(folder)
    keep(store, key(1), randomBytes(20_000, 1)).close()
    const index = store.find(key(1))
    const bad = readFileSync(file())
    bad[64 + 9000] = (bad[64 + 9000] ?? 0) ^ 1
    writeFileSync(file(), bad)
    const part = new Uint8Array(100)
    index?.read(0, part)
    expect(part).toEqual(randomBytes(20_000, 1).subarray(0, 100))
    expect(() => index?.read(8900, part)).toThrow(LensError)
    truncateSync(file(), 5000)
    expect(() => index?.read(15_000, part)).toThrow('it will be made again')
  })

  it('removes the least recently found first', () => {
    const store = new FolderIndexStore(folder, 30_000)
    for (let i = 0; i < 3; i++) {
      keep(store, key(i), randomBytes(8000, i)).close()
      const old = new Date(1_000_000 + i * 1000)
      for (const name of readdirSync(join(folder, 'v1')))
        if (statSync(join(folder, 'v1', name)).mtimeMs > 2e9) utimesSync(join(folder, 'v1', name), old, old)
    }
    store.find(key(0))?.close()
    keep(store, key(3), randomBytes(8000, 3)).close()
    expect([0, 1, 2, 3].map(i => store.find(key(i)) !== undefined)).toEqual([true, false, true, true])
  })

  it('keeps an index in memory where nothing can be written', () => {
    writeFileSync(join(folder, 'file'), '')
    const store = new FolderIndexStore(join(folder, 'file'))
    const bytes = randomBytes(9000, 1)
    expect(whole(keep(store, key(1), bytes, 3))).toEqual(bytes)
    expect(store.find(key(1))).toBeUndefined()
  })
})
