/** Dumps of Redis, with every type of value, strings compressed or not. What is made is known by construction; the server's own files too. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { members } from '../src/lens/members.ts'
import { rdb } from '../src/lens/rdb.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { has, readWhole } from './stream-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-rdb-'))
afterAll(() => removeFolder(folder))

/** A dump while it is written, and what the lens makes of it. */
class Dump {
  readonly file: number[] = []
  readonly view: number[] = []

  raw(...bytes: number[]): this {
    return this.bytes(bytes)
  }

  bytes(bytes: Iterable<number>): this {
    for (const byte of bytes) {
      this.file.push(byte)
      this.view.push(byte)
    }
    return this
  }

  length(n: number): this {
    if (n < 64) return this.raw(n)
    if (n < 16_384) return this.raw(0x40 | (n >> 8), n & 255)
    return this.raw(0x80, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255)
  }

  string(bytes: Uint8Array, how: Form): this {
    if (how === 'int') return this.raw(0xc1, bytes[0] ?? 0, 7)
    if (how === 'plain') return this.length(bytes.length).bytes(bytes)
    const packed = lzf(bytes)
    const file = new Dump().raw(0xc3).length(packed.length).length(bytes.length).bytes(packed).file
    for (const byte of file) this.file.push(byte)
    for (const byte of bytes) this.view.push(byte)
    return this
  }
}

type Form = 'plain' | 'packed' | 'int'

/** Compresses as liblzf does: copies of what was seen up to 8 KiB back, and literals. */
function lzf(bytes: Uint8Array): number[] {
  const out: number[] = []
  const seen = new Map<number, number>()
  let literals: number[] = []
  const flush = (): void => {
    for (let i = 0; i < literals.length; i += 32) {
      const part = literals.slice(i, i + 32)
      out.push(part.length - 1, ...part)
    }
    literals = []
  }
  for (let i = 0; i < bytes.length; ) {
    const key = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    const from = i + 2 < bytes.length ? seen.get(key) : undefined
    seen.set(key, i)
    if (from === undefined || i - from > 8192) {
      literals.push(bytes[i++] as number)
      continue
    }
    let length = 3
    while (length < 264 && i + length < bytes.length && bytes[from + length] === bytes[i + length]) length++
    flush()
    const back = i - from - 1
    const code = length - 2
    if (code < 7) out.push((code << 5) | (back >> 8), back & 255)
    else out.push((7 << 5) | (back >> 8), code - 7, back & 255)
    i += length
  }
  flush()
  return out
}

const content = fc.oneof(
  fc.uint8Array({ maxLength: 60, size: 'max' }),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 120 }))
    .map(([part, times]) =>
      Uint8Array.from({ length: part.length * times }, (_, i) => part[i % part.length] ?? 0),
    ),
)
const text = fc.tuple(content, fc.constantFrom<Form>('plain', 'packed', 'packed', 'int'))
type Text = readonly [Uint8Array, Form]

/** Writes a value of each type: `strings` are what it may use. */
const writers: Readonly<Record<number, (dump: Dump, strings: readonly Text[]) => void>> = {
  0: (dump, [one]) => one && dump.string(...one),
  1: (dump, all) => list(dump, all, one => dump.string(...one)),
  2: (dump, all) => list(dump, all, one => dump.string(...one)),
  3: (dump, all) =>
    list(dump, all, (one, i) => dump.string(...one).raw(...(i % 3 === 0 ? [254] : [3, 0x31, 0x2e, 0x35]))),
  4: (dump, all) => list(dump, all, one => dump.string(...one).string(...one)),
  5: (dump, all) => list(dump, all, one => dump.string(...one).raw(1, 2, 3, 4, 5, 6, 7, 8)),
  7: (dump, all) => {
    dump.raw(0x81, 9, 8, 7, 6, 5, 4, 3, 2)
    for (const one of all)
      dump
        .raw(2, 9)
        .raw(5)
        .string(...one)
        .raw(4, 1, 2, 3, 4, 5, 6, 7, 8)
        .raw(3, 1, 2, 3, 4)
    dump.raw(0)
  },
  14: (dump, all) => list(dump, all, one => dump.string(...one)),
  15: (dump, all) => stream(dump, all, 15),
  17: (dump, [one]) => one && dump.string(...one),
  18: (dump, all) => list(dump, all, one => dump.raw(2).string(...one)),
  19: (dump, all) => stream(dump, all, 19),
  21: (dump, all) => stream(dump, all, 21),
  24: (dump, all) => {
    list(dump, all, one =>
      dump
        .length(77)
        .string(...one)
        .string(...one),
    )
  },
  25: (dump, [one]) => one && dump.string(...one),
}

function list(dump: Dump, all: readonly Text[], each: (one: Text, i: number) => void): void {
  dump.length(all.length)
  all.forEach(each)
}

function stream(dump: Dump, all: readonly Text[], type: number): void {
  list(dump, all, one => dump.string(...one).string(...one))
  for (let n = type === 15 ? 3 : 8; n > 0; n--) dump.length(100 * n)
  list(dump, all.slice(0, 2), one => {
    dump.string(...one)
    for (let n = type === 15 ? 2 : 3; n > 0; n--) dump.length(n)
    dump.length(2)
    for (let pending = 0; pending < 2; pending++) dump.raw(...Buffer.alloc(24, 5)).length(1)
    list(dump, all.slice(0, 1), reader => {
      dump.string(...reader).raw(...Buffer.alloc(type === 21 ? 16 : 8, 9))
      dump.length(1).raw(...Buffer.alloc(16, 6))
    })
  })
}

const types = Object.keys(writers).map(Number)
const entry = fc.record({
  type: fc.constantFrom(...types),
  key: text,
  strings: fc.array(text, { minLength: 1, maxLength: 5 }),
  expires: fc.boolean(),
})
const dumps = fc
  .record({ entries: fc.array(entry, { maxLength: 12 }), unknown: fc.boolean() })
  .map(({ entries, unknown }) => {
    const dump = new Dump().raw(...Buffer.from('REDIS0011'))
    dump.raw(0xfa).string(Buffer.from('redis-ver'), 'plain').string(Buffer.from('7.2.4'), 'plain')
    dump.raw(0xf5).string(Buffer.from('#!lua name=x'.repeat(9)), 'packed')
    dump.raw(0xfe, 0).raw(0xfb).length(entries.length).length(0)
    for (const { type, key, strings, expires } of entries) {
      if (expires) dump.raw(0xfc, 1, 2, 3, 4, 5, 6, 7, 8).raw(0xf8).length(300)
      dump.raw(type)
      dump.string(...key)
      if (type === 24 || type === 25) dump.raw(1, 2, 3, 4, 5, 6, 7, 8)
      writers[type]?.(dump, strings)
    }
    // What is of a later version is as it is, with all behind it.
    if (unknown) dump.raw(99, 0xc3, 3, 4, 1, 2, 3)
    else dump.raw(0xff, 1, 2, 3, 4, 5, 6, 7, 8)
    return { file: Uint8Array.from(dump.file), view: Uint8Array.from(dump.view) }
  })

describe('a dump', () => {
  it('of every type gives its strings decompressed, in one piece and in parts', () => {
    fc.assert(
      fc.property(dumps, fc.nat(), fc.nat(3000), ({ file, view }, from, length) => {
        const backing = bytesBacking(file)
        expect(rdb.size(backing)).toBe(view.length)
        expect(Buffer.compare(readWhole(rdb, backing), view)).toBe(0)
        const at = from % (view.length + 1)
        const part = new Uint8Array(Math.min(length, view.length - at))
        rdb.get(backing, at, part)
        expect(Buffer.compare(part, view.subarray(at, at + part.length))).toBe(0)
      }),
      { seed: 20_261_122, numRuns: 1000 },
    )
  })

  it('with one value of millions of parts, and one of a megabyte, is read at any place', () => {
    const dump = new Dump()
      .raw(...Buffer.from('REDIS0011'))
      .raw(4)
      .string(Buffer.from('hash'), 'plain')
      .length(30_000)
    for (let i = 0; i < 30_000; i++)
      dump
        .string(Buffer.from(`field ${i}`), 'plain')
        .string(Buffer.from(`value ${i % 7} `.repeat(6)), 'packed')
    dump.raw(0).string(Buffer.from('plain'), 'plain')
    const large = Uint8Array.from({ length: 700_000 }, (_, i) => (i * i) >> 7)
    dump
      .string(large, 'plain')
      .raw(0)
      .string(Buffer.from('packed'), 'plain')
      .string(large, 'packed')
      .raw(0xff)
    const backing = bytesBacking(Uint8Array.from(dump.file))
    const view = Uint8Array.from(dump.view)
    expect(rdb.size(backing)).toBe(view.length)
    fc.assert(
      fc.property(fc.nat(view.length), fc.integer({ min: 1, max: 200_000 }), (at, length) => {
        const want = view.subarray(at, at + length)
        const got = new Uint8Array(want.length)
        rdb.get(backing, at, got)
        expect(Buffer.compare(got, want)).toBe(0)
      }),
      { seed: 5, numRuns: 100 },
    )
  })

  it('that is damaged or cut anywhere is refused or harmless', () => {
    fc.assert(
      fc.property(dumps, fc.nat(), fc.nat(255), fc.boolean(), ({ file }, where, byte, cut) => {
        const damaged = cut ? file.slice(0, where % file.length) : Uint8Array.from(file)
        if (!cut) damaged[where % file.length] = byte
        const backing = bytesBacking(damaged)
        try {
          const whole = readWhole(rdb, backing)
          const middle = new Uint8Array(100)
          const at = Math.floor(whole.length / 2)
          rdb.get(backing, at, middle)
          const same = new Uint8Array(100)
          same.set(whole.subarray(at, at + 100))
          expect(middle).toEqual(same)
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
        }
      }),
      { seed: 7, numRuns: 1000 },
    )
  })

  it('has the lens as its member if something in it is compressed', () => {
    const packed = new Dump()
      .raw(...Buffer.from('REDIS0011'))
      .raw(0)
      .string(Buffer.from('k'), 'plain')
    const plain = new Dump()
      .raw(...Buffer.from('REDIS0011'))
      .raw(0)
      .string(Buffer.from('k'), 'plain')
    packed.string(Buffer.from('abc'.repeat(99)), 'packed')
    plain.string(Buffer.from('abc'.repeat(99)), 'plain')
    const lensesOf = (dump: Dump): string[] =>
      members(bytesBacking(Uint8Array.from(dump.file))).map(m => m.lens)
    expect(lensesOf(packed)).toEqual(['rdb'])
    expect(lensesOf(plain)).toEqual([])
    expect(() => rdb.size(bytesBacking(Buffer.from('no dump at all')))).toThrow(/no dump of Redis/)
    expect(lensNamed('rdb').name).toBe('rdb')
  })
})

lensContract(rdb, { backings: dumps.map(({ file }) => file) })

const server = ['redis-server', 'valkey-server'].find(has)
const client = server?.replace('server', 'cli') ?? ''

describe.skipIf(server === undefined || !has(client))(
  'the server (redis-server and redis-cli, or valkey)',
  () => {
    it('writes its dump; every value is in the view', { timeout: 60_000 }, async () => {
      const socket = join(folder, 's')
      const words = [
        '--port',
        '0',
        '--unixsocket',
        socket,
        '--dir',
        folder,
        '--save',
        '',
        '--rdbcompression',
        'yes',
      ]
      const child = spawn(server as string, words, { stdio: 'ignore' })
      try {
        const ask = (...args: string[]): string =>
          execFileSync(client, ['-s', socket, ...args], {
            encoding: 'utf8',
            stdio: ['ignore', 'pipe', 'ignore'],
          })
        for (let tries = 0; ; tries++)
          try {
            ask('ping')
            break
          } catch (error) {
            if (tries > 100) throw error
            await new Promise(resolve => setTimeout(resolve, 50))
          }
        const value = (i: number): string =>
          `{"name":"user ${i}","mail":"user${i}@example.org","tags":["user","user ${i}"]}`
        const commands: string[] = []
        for (let i = 0; i < 2000; i++)
          commands.push(
            `SET s:${i} '${value(i)}'`,
            `HSET h:${i % 40} f${i} '${value(i + 10_000)}'`,
            `RPUSH l:${i % 40} '${value(i + 20_000)}'`,
            `SADD a:${i % 40} '${value(i + 30_000)}'`,
            `ZADD z:${i % 40} ${i} '${value(i + 40_000)}'`,
            `XADD x:${i % 40} * f '${value(i + 50_000)}'`,
          )
        execFileSync(client, ['-s', socket], {
          input: commands.join('\n'),
          stdio: ['pipe', 'ignore', 'ignore'],
        })
        expect(ask('save').trim()).toBe('OK')
        const file = new FileBacking(join(folder, 'dump.rdb'))
        try {
          const view = Buffer.from(readWhole(rdb, file))
          expect(view.length).toBeGreaterThan(file.size)
          for (let i = 0; i < 2000; i++)
            for (let kind = 0; kind < 6; kind++) expect(view.includes(value(kind * 10_000 + i))).toBe(true)
        } finally {
          file.close()
        }
      } finally {
        child.kill()
      }
    })
  },
)
