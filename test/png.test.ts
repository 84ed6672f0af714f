import { crc32, deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { MemoryIndexStore } from '../src/lens/index-store.ts'
import { members } from '../src/lens/members.ts'
import { generator, randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { readWhole } from './stream-helpers.ts'

vi.setConfig({ testTimeout: 60_000 })

interface Image {
  readonly width: number
  readonly height: number
  readonly depth: number
  readonly colour: number
  /** Unfiltered rows, one after the other. */
  readonly rows: Uint8Array
  readonly row: number
  readonly palette?: Uint8Array
  readonly transparency?: Uint8Array
  readonly interlaced?: boolean
}

const channels: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

function chunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(content.length + 12)
  bytes.writeUInt32BE(content.length)
  bytes.write(type, 4, 'latin1')
  bytes.set(content, 8)
  bytes.writeUInt32BE(crc32(bytes.subarray(4, content.length + 8)), content.length + 8)
  return bytes
}

/** What the filter subtracts, straight from the specification. */
function predictor(filter: number, a: number, b: number, c: number): number {
  if (filter === 1) return a
  if (filter === 2) return b
  if (filter === 3) return Math.floor((a + b) / 2)
  if (filter !== 4) return 0
  const p = a + b - c
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)]
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c
}

/** A PNG file with any filter in any row, and its data in pieces of `piece` bytes. */
function encode(image: Image, seed: number, piece = 1000): Uint8Array {
  const { width, height, depth, colour, rows, row } = image
  const step = Math.max(1, ((channels[colour] ?? 1) * depth) >> 3)
  const next = generator(seed)
  const filtered = new Uint8Array(height * (row + 1))
  for (let y = 0; y < height; y++) {
    const filter = next() % 5
    filtered[y * (row + 1)] = filter
    for (let x = 0; x < row; x++) {
      const at = (dx: number, dy: number): number =>
        x - dx < 0 || y - dy < 0 ? 0 : (rows[(y - dy) * row + x - dx] ?? 0)
      filtered[y * (row + 1) + 1 + x] = at(0, 0) - predictor(filter, at(step, 0), at(0, 1), at(step, 1))
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header.set([depth, colour, 0, 0, image.interlaced ? 1 : 0], 8)
  const data = deflateSync(filtered)
  const parts = [Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', header)]
  if (image.palette) parts.push(Buffer.from(chunk('PLTE', image.palette)))
  if (image.transparency) parts.push(Buffer.from(chunk('tRNS', image.transparency)))
  for (let at = 0; at < data.length; at += piece)
    parts.push(Buffer.from(chunk('IDAT', data.subarray(at, at + piece))))
  return Uint8Array.from(Buffer.concat([...parts, chunk('IEND', new Uint8Array(0))]))
}

function image(width: number, height: number, colour: number, depth: number, seed: number): Image {
  const row = Math.ceil((width * (channels[colour] ?? 1) * depth) / 8)
  const rows = randomBytes(row * height, seed).map((byte, i) => (i % 3 ? byte & 0xf0 : byte))
  return { width, height, colour, depth, rows, row }
}

const kinds: readonly (readonly [number, number])[] = [
  [0, 1],
  [0, 2],
  [0, 4],
  [0, 8],
  [0, 16],
  [2, 8],
  [2, 16],
  [4, 8],
  [6, 8],
  [6, 16],
]
const images = fc
  .tuple(
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 1, max: 20 }),
    fc.constantFrom(...kinds),
    fc.nat(1000),
  )
  .map(([width, height, [colour, depth], seed]) => image(width, height, colour, depth, seed))

describe('png', () => {
  lensContract(lensNamed('png'), { backings: images.map(each => encode(each, 1, 100)) })

  it('gives the rows without their filters', () => {
    fc.assert(
      fc.property(images, fc.nat(1000), fc.integer({ min: 1, max: 500 }), (each, seed, piece) => {
        const got = readWhole(lensNamed('png'), bytesBacking(encode(each, seed, piece)))
        expect(got).toEqual(each.rows)
      }),
      { seed: 2, numRuns: 1000 },
    )
  })

  it('any part of a large image, with an index that is used again', () => {
    const large = image(700, 900, 2, 8, 5)
    const backing = bytesBacking(encode(large, 5, 8192))
    const store = new MemoryIndexStore()
    const lens = lensNamed('png')
    lens.prepare?.(backing, store)
    const again = { ...bytesBacking(encode(large, 5, 8192)), identity: backing.identity }
    lens.prepare?.(again, store)
    fc.assert(
      fc.property(fc.nat(large.rows.length), fc.nat(30_000), (at, length) => {
        const out = new Uint8Array(length)
        lens.get(again, at, out)
        const part = large.rows.subarray(at, at + length)
        expect(Buffer.compare(out.subarray(0, part.length), part)).toBe(0)
      }),
      { seed: 1, numRuns: 200 },
    )
    expect(members(backing).map(member => member.lens)).toEqual(['png', 'png-rgb', 'png-rgba', 'png-bgra'])
  })
})

describe('png-rgb, png-rgba, png-bgra', () => {
  const eight = images.filter(({ depth }) => depth <= 8)
  for (const name of ['png-rgb', 'png-rgba', 'png-bgra'])
    describe(name, () => {
      lensContract(lensNamed(name), { backings: eight.map(each => encode(each, 1)) })
    })

  const rgba = (bytes: Uint8Array): number[] => [...readWhole(lensNamed('png-rgba'), bytesBacking(bytes))]

  it('grey, with one that is transparent', () => {
    const grey: Image = { width: 3, height: 1, depth: 8, colour: 0, rows: Uint8Array.of(0, 7, 255), row: 3 }
    expect(rgba(encode({ ...grey, transparency: Uint8Array.of(0, 7) }, 1))).toEqual([
      0, 0, 0, 255, 7, 7, 7, 0, 255, 255, 255, 255,
    ])
    const bits: Image = {
      width: 3,
      height: 1,
      depth: 2,
      colour: 0,
      rows: Uint8Array.of(0b00_01_11_00),
      row: 1,
    }
    expect(rgba(encode(bits, 1))).toEqual([0, 0, 0, 255, 85, 85, 85, 255, 255, 255, 255, 255])
  })

  it('palettes, with some that are transparent', () => {
    const four: Image = {
      width: 4,
      height: 1,
      depth: 4,
      colour: 3,
      rows: Uint8Array.of(0x01, 0x20),
      row: 2,
      palette: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9),
      transparency: Uint8Array.of(10, 20),
    }
    expect(rgba(encode(four, 1))).toEqual([1, 2, 3, 10, 4, 5, 6, 20, 7, 8, 9, 255, 1, 2, 3, 10])
  })

  it('colours, their order, and one that is transparent', () => {
    const two: Image = {
      width: 2,
      height: 1,
      depth: 8,
      colour: 2,
      rows: Uint8Array.of(1, 2, 3, 4, 5, 6),
      row: 6,
    }
    expect(rgba(encode(two, 1))).toEqual([1, 2, 3, 255, 4, 5, 6, 255])
    expect(rgba(encode({ ...two, transparency: Uint8Array.of(0, 4, 0, 5, 0, 6) }, 1))).toEqual([
      1, 2, 3, 255, 4, 5, 6, 0,
    ])
    expect([...readWhole(lensNamed('png-bgra'), bytesBacking(encode(two, 1)))]).toEqual([
      3, 2, 1, 255, 6, 5, 4, 255,
    ])
    const alpha: Image = { width: 1, height: 1, depth: 8, colour: 4, rows: Uint8Array.of(9, 8), row: 2 }
    expect(rgba(encode(alpha, 1))).toEqual([9, 9, 9, 8])
  })
})

describe('what is no such image', () => {
  const good = encode(image(20, 20, 2, 8, 1), 1, 200)

  it('is refused with a reason', () => {
    const lens = lensNamed('png')
    expect(() => lens.size(bytesBacking(good.subarray(0, 300)))).toThrow(LensError)
    expect(() => lens.size(bytesBacking(randomBytes(300, 1)))).toThrow('no PNG file')
    expect(() => lens.size(bytesBacking(encode({ ...image(20, 20, 2, 8, 1), interlaced: true }, 1)))).toThrow(
      'interlaced',
    )
    expect(() => lensNamed('png-rgb').size(bytesBacking(encode(image(3, 3, 2, 16, 1), 1)))).toThrow('16 bits')
  })

  it('damaged anywhere is refused or gives the image', () => {
    const right = readWhole(lensNamed('png'), bytesBacking(good))
    for (let at = 0; at < good.length; at++) {
      const bad = Uint8Array.from(good)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at & 7))
      try {
        expect(Buffer.compare(readWhole(lensNamed('png'), bytesBacking(bad)), right)).toBe(0)
      } catch (error) {
        expect(error).toBeInstanceOf(LensError)
      }
    }
  })
})
