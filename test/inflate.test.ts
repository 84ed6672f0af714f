import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, deflateRawSync, deflateSync, gunzipSync, gzipSync, inflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { InflateKernel } from '../src/kernels/inflate.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { gunzip, inflateAt, zlibAt } from '../src/lens/gunzip.ts'
import { FolderIndexStore, MemoryIndexStore } from '../src/lens/index-store.ts'
import type { Lens } from '../src/lens/lens.ts'
import { randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { anyData, compressed, has, readWhole, textBytes } from './stream-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

describe('the inflate kernel', () => {
  /** Decodes with room for `step` bytes and input in pieces of `piece` bytes. */
  function decode(raw: Uint8Array, step: number, piece: number): Uint8Array {
    const kernel = new InflateKernel(4096, 32768 + 4096)
    const made: Uint8Array[] = []
    let source = 0
    let filled = 0
    let at = 0
    let bit = 0
    let to = 0
    kernel.begin()
    for (;;) {
      if (filled - at < 1500 && source < raw.length) {
        kernel.input.copyWithin(0, at, filled)
        filled -= at
        at = 0
        const n = Math.min(piece, raw.length - source, 4096 - filled)
        kernel.input.set(raw.subarray(source, source + n), filled)
        filled += n
        source += n
      }
      if (to + step > 32768 + 4096) {
        kernel.output.copyWithin(0, to - 32768, to)
        to = 32768
      }
      const got = kernel.run(at, bit, filled, source < raw.length, to, to + step, 0)
      made.push(kernel.output.slice(to, kernel.made))
      at = kernel.position
      bit = kernel.bit
      to = kernel.made
      if (got === 'end') return Buffer.concat(made)
      if (got !== 'room' && (got !== 'input' || source === raw.length)) throw new Error(got)
    }
  }

  const strategies = [
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FILTERED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ]

  it('decodes what zlib makes, however it is cut', () => {
    fc.assert(
      fc.property(
        anyData(60_000),
        fc.integer({ min: 0, max: 9 }),
        fc.constantFrom(...strategies),
        fc.integer({ min: 1, max: 4096 }),
        fc.integer({ min: 700, max: 4096 }),
        (data, level, strategy, step, piece) => {
          const raw = deflateRawSync(data, { level, strategy, memLevel: 1 + (step % 9) })
          expect(Buffer.compare(decode(raw, step, piece), data)).toBe(0)
        },
      ),
      { seed: 20_261, numRuns: 400 },
    )
  })

  it('accepts and refuses just what zlib does', () => {
    const kernel = new InflateKernel(4096, 1 << 17)
    const ours = (raw: Uint8Array): Uint8Array | undefined => {
      kernel.begin()
      kernel.input.set(raw)
      const got = kernel.run(0, 0, raw.length, false, 0, 1 << 17, 0)
      return got === 'end' ? kernel.output.slice(0, kernel.made) : undefined
    }
    const theirs = (raw: Uint8Array): Uint8Array | undefined => {
      try {
        return inflateRawSync(raw, { maxOutputLength: 1 << 17 })
      } catch {
        return undefined
      }
    }
    const check = (raw: Uint8Array): void => {
      const [a, b] = [ours(raw), theirs(raw)]
      expect(a === undefined).toBe(b === undefined)
      if (a && b) expect(Buffer.compare(a, b)).toBe(0)
    }
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), check), {
      seed: 1,
      numRuns: 20_000,
    })
    const good = deflateRawSync(textBytes(1500, 3))
    for (let at = 0; at < good.length * 8; at++) {
      const bad = Uint8Array.from(good)
      bad[at >> 3] = (bad[at >> 3] ?? 0) ^ (1 << (at & 7))
      check(bad)
    }
  })

  it('computes Adler-32', () => {
    const kernel = new InflateKernel(16, 1 << 17)
    for (const length of [0, 1, 15, 16, 17, 5551, 5552, 5553, 100_000]) {
      const bytes = length === 100_000 ? new Uint8Array(length).fill(255) : randomBytes(length, length)
      kernel.output.set(bytes)
      const zlib = deflateSync(bytes)
      expect(kernel.adler(1, 0, length)).toBe(zlib.readUInt32BE(zlib.length - 4))
    }
  })
})

const gzips: Record<string, (data: Uint8Array) => Uint8Array> = {
  'node gzip': data => gzipSync(data),
  'node gzip, stored': data => gzipSync(data, { level: 0 }),
  'members of 1000 bytes': data => {
    const parts: Uint8Array[] = [gzipSync('')]
    for (let at = 0; at < data.length; at += 1000) parts.push(gzipSync(data.subarray(at, at + 1000)))
    return Buffer.concat(parts)
  },
}

describe('gunzip', () => {
  lensContract(gunzip, {
    backings: anyData(3000).chain(data => fc.constantFrom(...Object.values(gzips)).map(make => make(data))),
  })
})
describe('zlib@3', () => {
  lensContract(zlibAt(3), {
    backings: anyData(3000).map(data => Buffer.concat([Buffer.from('abc'), deflateSync(data), data])),
  })
})
describe('inflate@3', () => {
  lensContract(inflateAt(3), {
    backings: anyData(3000).map(data => Buffer.concat([Buffer.from('abc'), deflateRawSync(data)])),
  })
})

describe('gzip files of real compressors', () => {
  const commands: Record<string, readonly string[]> = {
    'gzip -1': ['gzip', '-1'],
    'gzip -9': ['gzip', '-9'],
    'pigz -p4': ['pigz', '-p4', '-b128'],
    bgzip: ['bgzip', '-c'],
    'gzip in members': ['split', '-b', '700000', '--filter=gzip -6', '-'],
    'gzip, then pigz': ['sh', '-c', 'head -c 5000000 | gzip -1; pigz -9'],
    'python gzip': [
      'python3',
      '-c',
      'import sys,gzip; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))',
    ],
  }
  const data = Buffer.concat([
    textBytes(3_000_000, 1),
    randomBytes(2_000_000, 2),
    new Uint8Array(3_000_000),
    textBytes(1_000_000, 3),
  ])
  for (const [name, [command = '', ...args]] of Object.entries(commands)) {
    const why = has(command) ? '' : ` (${command} is not installed)`
    it.skipIf(why !== '')(`${name}: any part, in any order${why}`, () => {
      const backing = bytesBacking(compressed([command, ...args], data))
      const store = new MemoryIndexStore()
      let pauses = 0
      gunzip.prepare?.(backing, store, () => pauses++)
      expect(pauses).toBeGreaterThan(0)
      expect(gunzip.size(backing)).toBe(data.length)
      const check = (at: number, length: number): void => {
        const out = new Uint8Array(length).fill(0xdb)
        gunzip.get(backing, at, out)
        const part = data.subarray(at, at + length)
        expect(Buffer.compare(out.subarray(0, part.length), part)).toBe(0)
        expect(out.subarray(part.length).every(byte => byte === 0)).toBe(true)
      }
      for (let at = 0; at < data.length; at += 262_144) check(at, 262_144)
      for (let at = data.length - 65_536; at >= 0; at -= 65_536) check(at, 65_536)
      fc.assert(fc.property(fc.nat(data.length), fc.integer({ min: 1, max: 200_000 }), check), {
        seed: 7,
        numRuns: 300,
      })
      check(0, data.length + 100)
    })
  }
})

/** Every byte flipped: the same error or bytes that are right as far as they go; never others. */
function damage(lens: Lens, good: Uint8Array, data: Uint8Array): number {
  let refused = 0
  for (let at = 0; at < good.length; at++)
    for (const flip of [1 << (at & 7), 0xff]) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ flip
      try {
        const got = readWhole(lens, bytesBacking(bad))
        expect(Buffer.compare(got, data.subarray(0, got.length))).toBe(0)
      } catch (error) {
        expect(error).toBeInstanceOf(LensError)
        refused++
      }
    }
  for (let length = 0; length < good.length; length++)
    try {
      const got = readWhole(lens, bytesBacking(good.subarray(0, length)))
      expect(Buffer.compare(got, data.subarray(0, got.length))).toBe(0)
    } catch (error) {
      expect(error).toBeInstanceOf(LensError)
    }
  return refused
}

describe('damage', () => {
  const data = textBytes(2000, 4)

  it('of a gzip file is refused or harmless', () => {
    const good = Buffer.concat([gzipSync(data.subarray(0, 1200)), gzipSync(data.subarray(1200))])
    expect(damage(gunzip, good, data)).toBeGreaterThan(good.length)
  })

  it('of a zlib stream is refused or harmless', () => {
    const good = deflateSync(data)
    expect(damage(zlibAt(0), good, data)).toBeGreaterThan(good.length)
  })

  it('of raw deflated data gives what zlib gives, or is refused', () => {
    const good = deflateRawSync(data)
    for (let at = 0; at < good.length; at++) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at & 7))
      let theirs: Uint8Array | undefined
      try {
        theirs = inflateRawSync(bad)
      } catch {
        theirs = undefined
      }
      if (theirs) expect(Buffer.compare(readWhole(inflateAt(0), bytesBacking(bad)), theirs)).toBe(0)
      else expect(() => readWhole(inflateAt(0), bytesBacking(bad))).toThrow(LensError)
    }
  })

  it('that appears after the index was made is refused', () => {
    const noise = randomBytes(3_000_000, 9).map(byte => byte & 15)
    const bytes = Uint8Array.from(gzipSync(noise))
    const backing = bytesBacking(bytes)
    expect(gunzip.size(backing)).toBe(noise.length)
    bytes.fill(0xff, 1_000_000, 1_100_000)
    expect(() => readWhole(gunzip, backing)).toThrow(LensError)
  })
})

describe('gzip headers', () => {
  const data = textBytes(100, 5)
  const body = gzipSync(data).subarray(10)
  const file = (flags: number, ...fields: Uint8Array[]): Uint8Array =>
    Buffer.concat([Buffer.from([31, 139, 8, flags, 1, 2, 3, 4, 0, 3]), ...fields, body])

  it('may hold names, comments and extra fields', () => {
    const extra = Buffer.from([3, 0, 9, 9, 9])
    const name = Buffer.from('name\0')
    for (const bytes of [file(4, extra), file(8, name), file(16, name), file(28, extra, name, name), file(1)])
      expect(Buffer.from(readWhole(gunzip, bytesBacking(bytes)))).toEqual(gunzipSync(bytes))
  })

  it('with a wrong checksum, unknown flags or without end are refused', () => {
    for (const bytes of [
      file(2, Buffer.from([1, 2])),
      file(0x20),
      file(8).subarray(0, 15),
      Buffer.from('no gzip'),
    ])
      expect(() => gunzip.size(bytesBacking(bytes))).toThrow(LensError)
  })

  it('end the view where none follows', () => {
    const good = file(0)
    for (const after of ['\0\0\0\0', 'rubbish'])
      expect(readWhole(gunzip, bytesBacking(Buffer.concat([good, Buffer.from(after)])))).toEqual(data)
  })
})

describe('an index of gunzip', () => {
  const data = textBytes(6_000_000, 6)
  const bytes = gzipSync(data, { level: 9 })

  it('is small, and used instead of another pass', () => {
    const store = new MemoryIndexStore()
    gunzip.prepare?.(bytesBacking(bytes), store)
    const backing = bytesBacking(bytes)
    const key = { identity: backing.identity, lens: 'gunzip', version: 1 }
    const kept = new MemoryIndexStore()
    const first: Backing = { ...bytesBacking(bytes), identity: backing.identity }
    gunzip.prepare?.(first, kept)
    expect(kept.find(key)?.size).toBeLessThan(data.length / 100)
    let read = 0
    const counted: Backing = {
      ...backing,
      read(offset, into) {
        read += into.length
        return backing.read(offset, into)
      },
    }
    gunzip.prepare?.(counted, kept)
    expect(read).toBe(0)
    const out = new Uint8Array(65_536)
    gunzip.get(counted, 5_000_000, out)
    expect(Buffer.compare(out, data.subarray(5_000_000, 5_065_536))).toBe(0)
    expect(read).toBeLessThan(bytes.length / 2)
  })

  it('that is damaged in the store is made again', () => {
    const backing = bytesBacking(bytes)
    const store = new MemoryIndexStore()
    const maker = store.make({ identity: backing.identity, lens: 'gunzip', version: 1 })
    maker.append(randomBytes(5000, 1))
    maker.commit()
    gunzip.prepare?.(backing, store)
    expect(Buffer.compare(readWhole(gunzip, backing), data)).toBe(0)
  })
})

describe('an index on disk', () => {
  const data = textBytes(9_000_000, 7)
  const bytes = gzipSync(data, { level: 1 })

  it('that is damaged anywhere, before or while it is used, is made again', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-points-'))
    try {
      const store = new FolderIndexStore(folder)
      const { identity } = bytesBacking(bytes)
      gunzip.prepare?.({ ...bytesBacking(bytes), identity }, store)
      const path = join(folder, 'v1', readdirSync(join(folder, 'v1'))[0] ?? '')
      const good = readFileSync(path)
      expect(good.length).toBeGreaterThan(20_000)
      const out = new Uint8Array(100_000)
      const check = (backing: Backing, at: number): void => {
        gunzip.get(backing, at, out)
        expect(Buffer.compare(out, data.subarray(at, at + out.length))).toBe(0)
      }
      for (let i = 0; i < 20; i++) {
        const bad = Uint8Array.from(good)
        const at = Math.floor((i / 20) * good.length)
        for (let n = at; n < Math.min(at + 500, bad.length); n++) bad[n] = (bad[n] ?? 0) ^ 0x5a
        writeFileSync(path, bad)
        const before: Backing = { ...bytesBacking(bytes), identity }
        gunzip.prepare?.(before, store)
        expect(readFileSync(path).equals(good)).toBe(true)
        check(before, 5_000_000)
        writeFileSync(path, bad)
        for (let part = 8_500_000; part > 0; part -= 1_700_000) check(before, part)
        writeFileSync(path, good)
      }
    } finally {
      removeFolder(folder)
    }
  })
})

describe('lenses in lenses', () => {
  it('gzip in gzip in gzip in gzip', () => {
    const data = textBytes(3_000_000, 8)
    let bytes: Uint8Array = data
    for (let i = 0; i < 4; i++) bytes = gzipSync(bytes, { level: 1 })
    const lens = lensNamed('gunzip|gunzip|gunzip|gunzip')
    const backing = bytesBacking(bytes)
    expect(lens.size(backing)).toBe(data.length)
    expect(Buffer.compare(readWhole(lens, backing), data)).toBe(0)
  })

  it('have names with offsets', () => {
    for (const name of ['gunzip', 'zlib@0', 'zlib@77', 'inflate@5', 'inflate@5+100'])
      expect(lensNamed(name).name).toBe(name)
    for (const name of ['zlib', 'zlib@-1', 'zlib@01', 'inflate@5+', 'inflate@1e3'])
      expect(() => lensNamed(name)).toThrow(LensError)
  })
})
