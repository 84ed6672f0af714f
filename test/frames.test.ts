import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { bunzip2 } from '../src/lens/bunzip2.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { FolderIndexStore, type IndexKey, MemoryIndexStore } from '../src/lens/index-store.ts'
import type { Lens } from '../src/lens/lens.ts'
import { Spool } from '../src/lens/spool.ts'
import { unlz4 } from '../src/lens/unlz4.ts'
import { unxz } from '../src/lens/unxz.ts'
import { unzstd } from '../src/lens/unzstd.ts'
import { randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { compressed, has, readWhole, textBytes } from './stream-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lethe-spool-'))
})
afterEach(() => removeFolder(folder))

const data = Buffer.concat([
  textBytes(5_000_000, 1),
  randomBytes(1_000_000, 2),
  new Uint8Array(3_000_000),
  textBytes(300_000, 3),
])
const python = (code: string): readonly string[] => [
  'python3',
  '-c',
  `import sys,lzma,bz2; d=sys.stdin.buffer.read(); sys.stdout.buffer.write(${code})`,
]

interface Maker {
  readonly name: string
  readonly lens: Lens
  readonly command: readonly string[]
  /** Whether random access needs no spool. */
  readonly blocks: boolean
}

const makers: readonly Maker[] = [
  { name: 'zstd', lens: unzstd, command: ['zstd', '-c'], blocks: false },
  { name: 'zstd -19 with checksum', lens: unzstd, command: ['zstd', '-19', '-C', '-c'], blocks: false },
  { name: 'zstd --long=27', lens: unzstd, command: ['zstd', '--long=27', '-c'], blocks: false },
  {
    name: 'zstd in frames',
    lens: unzstd,
    command: ['split', '-b', '700000', '--filter=zstd -q -c', '-'],
    blocks: false,
  },
  { name: 'xz', lens: unxz, command: ['xz', '-0', '-c'], blocks: false },
  {
    name: 'xz -T2 in blocks',
    lens: unxz,
    command: ['xz', '-1', '-T2', '--block-size=60000', '-c'],
    blocks: true,
  },
  { name: 'python lzma', lens: unxz, command: python('lzma.compress(d, preset=0)'), blocks: false },
  {
    name: 'python lzma in streams',
    lens: unxz,
    command: python(
      'b"".join(lzma.compress(d[i:i+60000], preset=0) for i in range(0, len(d), 60000)) + bytes(8)',
    ),
    blocks: true,
  },
  { name: 'bzip2', lens: bunzip2, command: ['bzip2', '-c'], blocks: false },
  {
    name: 'python bz2 in streams',
    lens: bunzip2,
    command: python('b"".join(bz2.compress(d[i:i+900000]) for i in range(0, len(d), 900000))'),
    blocks: false,
  },
  { name: 'lz4', lens: unlz4, command: ['lz4', '-c'], blocks: true },
  { name: 'lz4 of 64 KiB', lens: unlz4, command: ['lz4', '-B4', '-c'], blocks: true },
  {
    name: 'lz4 -9 of 64 KiB, with sums',
    lens: unlz4,
    command: ['lz4', '-9', '-B4', '-BX', '-c'],
    blocks: true,
  },
  {
    name: 'lz4 in frames',
    lens: unlz4,
    command: ['split', '-b', '700000', '--filter=lz4 -q -c', '-'],
    blocks: true,
  },
  { name: 'lz4 of linked blocks', lens: unlz4, command: ['lz4', '-B4', '-BD', '-c'], blocks: false },
]

for (const { name, lens, command, blocks } of makers)
  describe.skipIf(!has(command[0] ?? ''))(name, () => {
    const bytes = has(command[0] ?? '') ? compressed(command, data) : data

    it('any part', { timeout: 60_000 }, () => {
      const store = new FolderIndexStore(join(folder, 'index'), 2 ** 26, new Spool(join(folder, 'spool')))
      const backing = bytesBacking(bytes)
      lens.prepare?.(backing, store)
      expect(lens.suits?.(backing)).toBe(true)
      expect(lens.size(backing)).toBe(data.length)
      const spooled = readdirSync(folder).includes('spool')
      expect(spooled).toBe(!blocks)
      const check = (at: number, length: number): void => {
        const out = new Uint8Array(length).fill(0xdb)
        lens.get(backing, at, out)
        const part = data.subarray(at, at + length)
        expect(Buffer.compare(out.subarray(0, part.length), part)).toBe(0)
        expect(out.subarray(part.length).every(byte => byte === 0)).toBe(true)
      }
      check(0, data.length + 5)
      fc.assert(fc.property(fc.nat(data.length), fc.integer({ min: 1, max: 100_000 }), check), {
        seed: 3,
        numRuns: 40,
      })
      let read = 0
      const again: Backing = {
        ...backing,
        read(offset, into) {
          read += into.length
          return backing.read(offset, into)
        },
      }
      lens.prepare?.(again, store)
      expect(lens.size(again)).toBe(data.length)
      expect(read).toBe(0)
    })

    it('small files need no store', () => {
      const small = data.subarray(4_990_000, 5_020_000)
      expect(Buffer.compare(readWhole(lens, bytesBacking(compressed(command, small))), small)).toBe(0)
      if (/ in (streams|frames)$/.test(name)) return
      expect(readWhole(lens, bytesBacking(compressed(command, new Uint8Array(0))))).toHaveLength(0)
    })
  })

/** As the seekable format of zstd's contrib folder has it: frames that know their size, and a table of them at the end, which readers pass over. */
function seekable(bytes: Uint8Array, size: number): Uint8Array {
  const frames: Uint8Array[] = []
  const table: number[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size)
    const frame = zstdCompressSync(part, { pledgedSrcSize: part.length })
    frames.push(frame)
    table.push(frame.length, part.length)
  }
  const entries = Buffer.from(Uint32Array.from(table).buffer)
  const head = Buffer.alloc(8)
  head.writeUInt32LE(0x184d2a5e, 0)
  head.writeUInt32LE(entries.length + 9, 4)
  const foot = Buffer.alloc(9)
  foot.writeUInt32LE(frames.length, 0)
  foot.writeUInt32LE(0x8f92eab1, 5)
  return Buffer.concat([...frames, head, entries, foot])
}

describe('zstd, seekable', () => {
  it('is read at any place without a spool', () => {
    const backing = bytesBacking(seekable(data, 65_536))
    const store = new FolderIndexStore(join(folder, 'index'), 2 ** 26, new Spool(join(folder, 'spool')))
    unzstd.prepare?.(backing, store)
    expect(unzstd.size(backing)).toBe(data.length)
    expect(readdirSync(folder)).not.toContain('spool')
    fc.assert(
      fc.property(fc.nat(data.length), fc.integer({ min: 1, max: 100_000 }), (at, length) => {
        const part = data.subarray(at, at + length)
        const out = new Uint8Array(part.length)
        unzstd.get(backing, at, out)
        expect(Buffer.compare(out, part)).toBe(0)
      }),
      { seed: 3, numRuns: 40 },
    )
  })

  lensContract(unzstd, {
    backings: fc
      .tuple(fc.uint8Array({ maxLength: 500, size: 'max' }), fc.integer({ min: 20, max: 200 }))
      .map(([bytes, size]) => seekable(bytes, size)),
  })
})

const small = textBytes(700, 4)
const contracts: readonly Maker[] = makers.filter(({ name }) => ['zstd', 'xz', 'bzip2', 'lz4'].includes(name))
for (const { name, lens, command } of contracts)
  describe.skipIf(!has(command[0] ?? ''))(`the laws for ${name}`, () => {
    const files = Array.from({ length: has(command[0] ?? '') ? 12 : 0 }, (_, i) =>
      compressed(command, i % 3 === 0 ? randomBytes(i * 30, i) : textBytes(i * 40, i)),
    )
    if (files.length > 0) lensContract(lens, { backings: fc.constantFrom(...files) })

    it('damage is refused or harmless, wherever it is', () => {
      const checked = name === 'zstd' ? ['zstd', '-C', '-c'] : command
      const good = compressed(checked, small)
      let refused = 0
      const check = (bad: Uint8Array): void => {
        try {
          const got = readWhole(lens, bytesBacking(bad))
          expect(Buffer.compare(got, small.subarray(0, got.length))).toBe(0)
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
          refused++
        }
      }
      for (let at = 0; at < good.length; at++) {
        const bad = Uint8Array.from(good)
        bad[at] = (bad[at] ?? 0) ^ (1 << (at & 7))
        check(bad)
        check(good.subarray(0, at))
      }
      expect(refused).toBeGreaterThan(good.length * 1.5)
    })
  })

describe.skipIf(!has('xz') || !has('bzip2'))('a spool', () => {
  const key = (n: number): IndexKey => ({
    identity: { device: '1', inode: String(n), size: 10, mtime: '5', ctime: '6' },
    lens: 'unxz',
    version: 1,
  })
  const views = (): string[] => readdirSync(join(folder, 'v1')).filter(name => name.endsWith('.view'))
  const put = (spool: Spool, n: number, length: number): void => {
    const maker = spool.make(key(n))
    maker.append(randomBytes(length, n))
    maker.commit().close()
  }

  it('keeps views, for the user only, and shares them', () => {
    put(new Spool(folder), 1, 100_000)
    const [file = ''] = views()
    expect(statSync(join(folder, 'v1', file)).mode & 0o777).toBe(0o600)
    const view = new Spool(folder).find(key(1))
    const out = new Uint8Array(50_000)
    view?.read(30_000, out)
    expect(out).toEqual(randomBytes(100_000, 1).subarray(30_000, 80_000))
    view?.close()
    expect(new Spool(folder).find(key(2))).toBeUndefined()
  })

  it('evicts the longest unused, but none in use, and refuses what does not fit', () => {
    const spool = new Spool(folder, { limit: 1_000_000 })
    for (let n = 1; n <= 3; n++) put(spool, n, 300_000)
    const one = spool.find(key(1))
    put(spool, 4, 300_000)
    expect(one).toBeDefined()
    expect(views()).toHaveLength(3)
    const again = spool.find(key(1))
    expect(again?.size).toBe(300_000)
    const maker = spool.make(key(5))
    expect(() => maker.append(new Uint8Array(900_000))).toThrow('raise its limit')
    maker.abandon()
    one?.close()
    again?.close()
    put(spool, 6, 900_000)
    expect(views()).toHaveLength(1)
  })

  it('leaves the disk its free space', () => {
    const spool = new Spool(folder, { keepFree: 2 ** 60 })
    expect(() => spool.make(key(1)).append(new Uint8Array(10))).toThrow('free some')
  })

  it('is not believed when it is damaged: the view is made again', () => {
    const bytes = compressed(['xz', '-0', '-c'], data.subarray(0, 2_000_000))
    const store = new MemoryIndexStore(2 ** 26, new Spool(folder))
    const backing = bytesBacking(bytes)
    unxz.prepare?.(backing, store)
    const [file = ''] = views()
    const path = join(folder, 'v1', file)
    const bad = readFileSync(path)
    bad[1_000_000] = (bad[1_000_000] ?? 0) ^ 4
    writeFileSync(path, bad)
    const out = new Uint8Array(100_000)
    unxz.get(backing, 950_000, out)
    expect(Buffer.compare(out, data.subarray(950_000, 1_050_000))).toBe(0)
    const fresh: Backing = { ...bytesBacking(bytes), identity: backing.identity }
    rmSync(path)
    unxz.prepare?.(fresh, store)
    unxz.get(fresh, 950_000, out)
    expect(Buffer.compare(out, data.subarray(950_000, 1_050_000))).toBe(0)
  })

  it('without room, slow blocks are used', () => {
    const part = data.subarray(4_500_000, 5_300_000)
    const spool = new Spool(folder, { limit: 1000 })
    const store = new MemoryIndexStore(2 ** 26, spool)
    for (const [lens, bytes] of [
      [unxz, compressed(['xz', '-0', '--block-size=300000', '-c'], part)],
      [
        bunzip2,
        Buffer.concat(
          [0, 1, 2, 3].map(i => compressed(['bzip2', '-c'], part.subarray(i * 200_000, (i + 1) * 200_000))),
        ),
      ],
    ] as const) {
      const backing = bytesBacking(bytes)
      lens.prepare?.(backing, store)
      expect(Buffer.compare(readWhole(lens, backing), part)).toBe(0)
      const out = new Uint8Array(300_000)
      lens.get(backing, 250_000, out)
      expect(Buffer.compare(out, part.subarray(250_000, 550_000))).toBe(0)
    }
    expect(views()).toEqual([])
    const single = bytesBacking(compressed(['xz', '-0', '-c'], new Uint8Array(5_000_000)))
    expect(() => unxz.prepare?.(single, store)).toThrow('raise its limit')
  })

  it('is asked for where a view is too large without', () => {
    const bytes = compressed(['xz', '-0', '-c'], new Uint8Array(2 ** 26 + 1))
    expect(() => unxz.size(bytesBacking(bytes))).toThrow('a store that has a spool')
  })
})

it.skipIf(!has('xz') || !has('zstd'))('the lenses have names, and compose', () => {
  for (const name of ['unzstd', 'unxz', 'bunzip2', 'unlz4']) expect(lensNamed(name).name).toBe(name)
  const bytes = compressed(['xz', '-c'], compressed(['zstd', '-c'], small))
  expect(readWhole(lensNamed('unxz|unzstd'), bytesBacking(bytes))).toEqual(small)
})
