import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { members } from '../src/lens/members.ts'
import { generator, randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { readWhole } from './stream-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

interface Image {
  readonly width: number
  readonly height: number
  readonly samples: number
  readonly bits: number
  readonly photometric: number
  /** Little-endian, samples of a pixel together. */
  readonly pixels: Uint8Array
  readonly palette?: readonly number[]
}

interface Coding {
  readonly compression: 1 | 5 | 8 | 32773
  readonly predictor: 1 | 2 | 3
  readonly bigEndian: boolean
  readonly big: boolean
  readonly planar: boolean
  /** Rows of a strip, or width and height of a tile. */
  readonly strip: number | readonly [number, number]
}

const plain: Coding = {
  compression: 1,
  predictor: 1,
  bigEndian: false,
  big: false,
  planar: false,
  strip: 7,
}

/** TIFF 6.0, section 13, as its pseudo-code has it. */
function lzw(bytes: Uint8Array): Uint8Array {
  const out: number[] = []
  let held = 0
  let have = 0
  const put = (code: number, width: number): void => {
    held = (held << width) | code
    for (have += width; have >= 8; have -= 8) {
      out.push((held >> (have - 8)) & 255)
      held &= (1 << (have - 8)) - 1
    }
  }
  // A string is the code of all but its last byte, and that byte.
  const table = new Map<number, number>()
  let width = 9
  let next = 258
  const clear = (): void => {
    put(256, width)
    table.clear()
    width = 9
    next = 258
  }
  clear()
  let string = -1
  for (const byte of bytes) {
    const longer = string < 0 ? byte : table.get(string * 256 + byte)
    if (longer === undefined) {
      put(string, width)
      table.set(string * 256 + byte, next++)
      if (next === 512 || next === 1024 || next === 2048) width++
      if (next === 4095) clear()
      string = byte
    } else string = longer
  }
  if (string >= 0) {
    put(string, width)
    // The reader has made an entry too.
    if (next === 511 || next === 1023 || next === 2047) width++
  }
  put(257, width)
  if (have > 0) put(0, 8 - have)
  return Uint8Array.from(out)
}

function packBits(bytes: Uint8Array, seed: number): Uint8Array {
  const next = generator(seed)
  const out: number[] = []
  for (let at = 0; at < bytes.length; ) {
    let run = 1
    while (run < 128 && at + run < bytes.length && bytes[at + run] === bytes[at]) run++
    if (next() % 9 === 0) out.push(128)
    if (run > 1) {
      out.push(257 - run, bytes[at] ?? 0)
      at += run
    } else {
      const n = Math.min(1 + (next() % 128), bytes.length - at)
      out.push(n - 1, ...bytes.subarray(at, at + n))
      at += n
    }
  }
  return Uint8Array.from(out)
}

/** One strip or tile: rows of little-endian samples, as the file has them. */
function encodeRows(
  rows: readonly Uint8Array[],
  channels: number,
  width: number,
  coding: Coding,
): Uint8Array {
  const { predictor, bigEndian, compression } = coding
  const coded = rows.map(row => {
    let bytes = Uint8Array.from(row)
    if (predictor === 3) {
      const samples = bytes.length / width
      const planes = new Uint8Array(bytes.length)
      for (let i = 0; i < bytes.length; i++)
        planes[(width - 1 - (i % width)) * samples + Math.floor(i / width)] = bytes[i] ?? 0
      bytes = planes.map((byte, i) => byte - (i < channels ? 0 : (planes[i - channels] ?? 0)))
    } else if (width > 1 || predictor === 2) {
      const from = Buffer.from(row)
      const place = Buffer.from(bytes.buffer)
      for (let at = row.length - width; at >= 0; at -= width) {
        const before =
          predictor === 2 && at >= channels * width ? from.readUIntLE(at - channels * width, width) : 0
        const value = (from.readUIntLE(at, width) - before + 2 ** (8 * width)) % 2 ** (8 * width)
        if (bigEndian) place.writeUIntBE(value, at, width)
        else place.writeUIntLE(value, at, width)
      }
    }
    return bytes
  })
  const all = Uint8Array.from(Buffer.concat(coded))
  if (compression === 5) return lzw(all)
  if (compression === 8) return Uint8Array.from(deflateSync(all))
  if (compression === 32773) return packBits(all, all.length)
  return all
}

function encode(image: Image, coding: Coding): Uint8Array {
  const { width, height, samples, bits, pixels } = image
  const { bigEndian, big, planar, strip } = coding
  const [chunkWidth, chunkHeight] = typeof strip === 'number' ? [width, strip] : strip
  const isTiled = typeof strip !== 'number'
  const size = bits >> 3
  const row = Math.ceil((width * samples * bits) / 8)
  const channels = planar ? 1 : samples
  const chunks: Uint8Array[] = []
  for (let plane = 0; plane < (planar ? samples : 1); plane++)
    for (let top = 0; top < height; top += chunkHeight)
      for (let left = 0; left < width; left += chunkWidth) {
        const rows: Uint8Array[] = []
        for (let y = top; y < top + chunkHeight && (isTiled || y < height); y++) {
          const bytes = new Uint8Array(Math.ceil((chunkWidth * channels * bits) / 8)).fill(0xee)
          const from = y * row
          if (y < height && !planar) {
            const start = (left * samples * bits) / 8
            bytes.set(pixels.subarray(from + start, from + Math.min(row, start + bytes.length)))
          } else if (y < height)
            for (let x = left; x < Math.min(width, left + chunkWidth); x++) {
              const place = from + (x * samples + plane) * size
              bytes.set(pixels.subarray(place, place + size), (x - left) * size)
            }
          rows.push(bytes)
        }
        chunks.push(encodeRows(rows, channels, Math.max(1, size), coding))
      }
  const head = big ? 16 : 8
  const word = big ? 8 : 4
  const body = Buffer.concat([Buffer.alloc(head), ...chunks, Buffer.alloc(8)])
  const place = chunks.map((_, i) => head + chunks.slice(0, i).reduce((sum, chunk) => sum + chunk.length, 0))
  const entries: (readonly [tag: number, type: number, values: readonly number[]])[] = [
    [256, 4, [width]],
    [257, 4, [height]],
    [258, 3, Array.from({ length: samples }, () => bits)],
    [259, 3, [coding.compression]],
    [262, 3, [image.photometric]],
    ...(isTiled ? [] : ([[273, 4, place]] as const)),
    [277, 3, [samples]],
    ...(isTiled
      ? []
      : ([[278, 4, [chunkHeight]] as const, [279, 4, chunks.map(chunk => chunk.length)]] as const)),
    [284, 3, [planar ? 2 : 1]],
    [317, 3, [coding.predictor]],
    ...(image.palette ? ([[320, 3, image.palette]] as const) : []),
    ...(isTiled
      ? ([
          [322, 4, [chunkWidth]],
          [323, 4, [chunkHeight]],
          [324, 4, place],
          [325, 4, chunks.map(chunk => chunk.length)],
        ] as const)
      : []),
  ]
  const at = (body.length + 1) & ~1
  const entry = big ? 20 : 12
  const extra: Buffer[] = []
  let beyond = at + (big ? 8 : 2) + entries.length * entry + word
  const put = (buffer: Buffer, offset: number, value: number, bytes: number): void => {
    if (bytes === 8) {
      if (bigEndian) buffer.writeBigUInt64BE(BigInt(value), offset)
      else buffer.writeBigUInt64LE(BigInt(value), offset)
    } else if (bigEndian) buffer.writeUIntBE(value, offset, bytes)
    else buffer.writeUIntLE(value, offset, bytes)
  }
  const directory = Buffer.alloc((big ? 8 : 2) + entries.length * entry + word)
  put(directory, 0, entries.length, big ? 8 : 2)
  for (const [i, [tag, type, values]] of entries.entries()) {
    const from = (big ? 8 : 2) + i * entry
    put(directory, from, tag, 2)
    put(directory, from + 2, type, 2)
    put(directory, from + 4, values.length, word)
    const each = type === 3 ? 2 : 4
    const bytes = Buffer.alloc(Math.max(word, values.length * each))
    for (const [k, value] of values.entries()) put(bytes, k * each, value, each)
    if (values.length * each <= word) directory.set(bytes, from + 4 + word)
    else {
      put(directory, from + 4 + word, beyond, word)
      extra.push(bytes)
      beyond += bytes.length
    }
  }
  body.write(bigEndian ? 'MM' : 'II', 'latin1')
  put(body, 2, big ? 43 : 42, 2)
  if (big) put(body, 4, 8, 2)
  put(body, big ? 8 : 4, at, word)
  return Uint8Array.from(Buffer.concat([body, Buffer.alloc(at - body.length), directory, ...extra]))
}

function image(width: number, height: number, samples: number, bits: number, seed: number): Image {
  const row = Math.ceil((width * samples * bits) / 8)
  // Runs, and bytes that repeat: what the compressions are for.
  const pixels = randomBytes(row * height, seed).map((byte, i) => (i % 40 < 20 ? byte & 3 : byte))
  return { width, height, samples, bits, photometric: samples >= 3 ? 2 : 1, pixels }
}

const codings: fc.Arbitrary<Coding> = fc.record({
  compression: fc.constantFrom(1, 5, 8, 32773),
  predictor: fc.constantFrom(1, 2, 3),
  bigEndian: fc.boolean(),
  big: fc.boolean(),
  planar: fc.boolean(),
  strip: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom([16, 16] as const, [8, 16] as const)),
})

/** An image and a coding that there is for it. */
function suited(of: Image, wanted: Coding): Coding {
  const isPredicted = wanted.compression === 5 || wanted.compression === 8
  const { bits, samples } = of
  const predictor =
    !isPredicted || bits < 8 || bits > 32 || (wanted.predictor === 3 && bits < 16) ? 1 : wanted.predictor
  return { ...wanted, predictor, planar: wanted.planar && bits >= 8 && samples > 1 }
}

const kinds = [
  [1, 1],
  [1, 4],
  [1, 8],
  [3, 8],
  [4, 8],
  [2, 16],
  [3, 16],
  [1, 32],
] as const

const files = fc
  .tuple(
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 20 }),
    fc.constantFrom(...kinds),
    fc.nat(1000),
    codings,
  )
  .map(([width, height, [samples, bits], seed, coding]) => {
    const made = image(width, height, samples, bits, seed)
    return { image: made, bytes: encode(made, suited(made, coding)) }
  })

const bytesOf = files.map(({ bytes }) => bytes)
const colours = files.filter(({ image: { samples, bits } }) => bits === 8 && samples !== 2)

describe('tiff', () => {
  lensContract(lensNamed('tiff'), { backings: bytesOf })

  it('gives the samples whatever the coding', () => {
    fc.assert(
      fc.property(files, ({ image: { pixels }, bytes }) => {
        expect(readWhole(lensNamed('tiff'), bytesBacking(bytes))).toEqual(pixels)
      }),
      { seed: 4, numRuns: 1000 },
    )
  })

  it('gives any part of a large image of strings that fill the table', () => {
    const large = image(700, 300, 3, 8, 5)
    for (const coding of [
      { ...plain, compression: 5, predictor: 2, strip: 64 } as const,
      { ...plain, compression: 5, strip: [128, 128] } as const,
      { ...plain, compression: 8, bigEndian: true, strip: 50 } as const,
    ]) {
      const backing = bytesBacking(encode(large, coding))
      fc.assert(
        fc.property(fc.nat(large.pixels.length), fc.nat(30_000), (at, length) => {
          const out = new Uint8Array(length)
          lensNamed('tiff').get(backing, at, out)
          const part = large.pixels.subarray(at, at + length)
          expect(Buffer.compare(out.subarray(0, part.length), part)).toBe(0)
        }),
        { seed: 1, numRuns: 50 },
      )
    }
  })
})

for (const name of ['tiff-rgb', 'tiff-rgba', 'tiff-bgra'])
  describe(name, () => {
    lensContract(lensNamed(name), { backings: colours.map(({ bytes }) => bytes) })
  })

describe('TIFF colours', () => {
  const rgba = (of: Image): number[] => [
    ...readWhole(lensNamed('tiff-rgba'), bytesBacking(encode(of, plain))),
  ]
  const grey: Image = {
    width: 2,
    height: 1,
    samples: 1,
    bits: 8,
    photometric: 1,
    pixels: Uint8Array.of(1, 200),
  }

  it('of grey, either way round, and of palettes', () => {
    expect(rgba(grey)).toEqual([1, 1, 1, 255, 200, 200, 200, 255])
    expect(rgba({ ...grey, photometric: 0 })).toEqual([254, 254, 254, 255, 55, 55, 55, 255])
    const palette = Array.from({ length: 768 }, (_, i) => (i % 256) * 257 + (i === 712 ? -201 : 0))
    palette[513] = 0
    expect(rgba({ ...grey, photometric: 3, palette })).toEqual([1, 1, 0, 255, 200, 200, 199, 255])
  })

  it('in any order, with alpha or without', () => {
    const two = { ...grey, samples: 3, photometric: 2, pixels: Uint8Array.of(1, 2, 3, 4, 5, 6) }
    expect(rgba(two)).toEqual([1, 2, 3, 255, 4, 5, 6, 255])
    expect([...readWhole(lensNamed('tiff-bgra'), bytesBacking(encode(two, plain)))]).toEqual([
      3, 2, 1, 255, 6, 5, 4, 255,
    ])
    const alpha = { ...two, samples: 4, width: 1, pixels: Uint8Array.of(1, 2, 3, 4) }
    expect(rgba(alpha)).toEqual([1, 2, 3, 4])
  })
})

describe('TIFF files', () => {
  const good = encode(image(40, 40, 3, 8, 1), { ...plain, compression: 5, predictor: 2 })

  it('name a view for each order of colours', () => {
    const names = members(bytesBacking(good)).map(({ lens }) => lens.replace(/@.*/, ''))
    expect(names).toEqual(['tiff', 'tiff-rgba', 'tiff-bgra'])
    const deep = encode(image(40, 40, 3, 16, 1), plain)
    expect(members(bytesBacking(deep)).map(({ lens }) => lens.replace(/@.*/, ''))).toEqual(['tiff'])
  })

  it('are refused with a reason where they are cut or of another kind', () => {
    const change = (tag: number, value: number): Uint8Array => {
      const bad = Uint8Array.from(good)
      const directory = new DataView(bad.buffer).getUint32(4, true)
      for (let at = directory + 2; at < bad.length - 12; at += 12)
        if (new DataView(bad.buffer).getUint16(at, true) === tag) {
          new DataView(bad.buffer).setUint32(at + 8, value, true)
          break
        }
      return bad
    }
    const size = (bytes: Uint8Array): number => lensNamed('tiff').size(bytesBacking(bytes))
    expect(() => size(randomBytes(300, 1))).toThrow('no TIFF file')
    expect(() => size(good.subarray(0, good.length - 100))).toThrow(LensError)
    expect(() => size(change(259, 7))).toThrow('compression 7')
    expect(() => size(change(262, 6))).toThrow('YCbCr')
    expect(() => size(change(317, 9))).toThrow('predictor 9')
    expect(() => size(change(256, 100_000_000))).toThrow(LensError)
    expect(members(bytesBacking(change(259, 7)))).toEqual([])
    expect(() => lensNamed('tiff-rgb').size(bytesBacking(encode(image(9, 9, 3, 16, 1), plain)))).toThrow(
      'no colours of 8 bits',
    )
  })

  it('damaged anywhere are refused or give as many pixels', () => {
    const size = 12 * 12 * 3
    const small = encode(image(12, 12, 3, 8, 1), { ...plain, compression: 5, predictor: 2 })
    for (let at = 0; at < small.length; at++) {
      const bad = Uint8Array.from(small)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at & 7))
      try {
        // What says how large it is may be damaged, too.
        const lens = lensNamed('tiff')
        const out = new Uint8Array(size)
        expect(lens.size(bytesBacking(bad))).toBeGreaterThan(0)
        lens.get(bytesBacking(bad), 0, out)
      } catch (error) {
        expect(error).toBeInstanceOf(LensError)
      }
    }
  })

  const PROGRAM = `
import sys
from PIL import Image
folder = sys.argv[1]
image = Image.effect_mandelbrot((611, 407), (-3, -2.5, 2, 2.5), 100)
images = {'grey': image, 'rgb': Image.merge('RGB', (image, image.rotate(90), image.rotate(180))),
  'rgba': Image.merge('RGBA', (image, image, image.rotate(90), image)), 'float': image.convert('F')}
for name, each in images.items():
    for kind in ('raw', 'packbits', 'tiff_lzw', 'tiff_adobe_deflate'):
        options = {317: 2} if kind in ('tiff_lzw', 'tiff_adobe_deflate') and name != 'float' else {}
        each.save(f'{folder}/{name}-{kind}', 'TIFF', compression=kind, tiffinfo=options)
    open(f'{folder}/{name}', 'wb').write(Image.open(f'{folder}/{name}-raw').tobytes())
`
  const python = '/usr/bin/python3'
  const has = spawnSync(python, ['-c', 'import PIL.Image'], { stdio: 'ignore' }).status === 0

  it.skipIf(!has)('of libtiff have the pixels that Pillow has (skipped without python3-pil)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-tiff-'))
    try {
      const made = spawnSync(python, ['-c', PROGRAM, folder], { encoding: 'utf8', timeout: 50_000 })
      expect(made.stderr).toBe('')
      for (const name of ['grey', 'rgb', 'rgba', 'float'])
        for (const kind of ['raw', 'packbits', 'tiff_lzw', 'tiff_adobe_deflate']) {
          const backing = bytesBacking(Uint8Array.from(readFileSync(join(folder, `${name}-${kind}`))))
          const right = readFileSync(join(folder, name))
          expect(Buffer.compare(readWhole(lensNamed('tiff'), backing), right), `${name} ${kind}`).toBe(0)
        }
    } finally {
      removeFolder(folder)
    }
  })
})
