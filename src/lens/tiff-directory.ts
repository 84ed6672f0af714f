/**
 * The directories of TIFF and BigTIFF files: what an image is, and where its strips or tiles lie. Everything is checked
 * that a reader relies on; what is right but not read here is refused with the reason.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'

export interface TiffImage {
  readonly width: number
  readonly height: number
  /** Bits of a sample, and samples of a pixel. */
  readonly bits: number
  readonly samples: number
  readonly bigEndian: boolean
  readonly compression: Compression
  readonly predictor: 1 | 2 | 3
  /** 0 white is zero, 1 black is zero, 2 RGB, 3 palette; others as in TIFF 6.0. */
  readonly photometric: number
  /** Each sample in strips or tiles of its own. */
  readonly planar: boolean
  /** Pixels of a strip or tile; strips are as wide as the image. */
  readonly chunkWidth: number
  readonly chunkHeight: number
  readonly tiled: boolean
  readonly offsets: Float64Array
  readonly lengths: Float64Array
  /** Of a palette: 16 bits each, all reds, greens, blues. */
  readonly palette: Float64Array
}

export type Compression = 'none' | 'packbits' | 'lzw' | 'deflate'

const compressions: Readonly<Record<number, Compression>> = {
  1: 'none',
  5: 'lzw',
  8: 'deflate',
  32773: 'packbits',
  32946: 'deflate',
}

/** Bytes of a value, by its type: BYTE, SHORT, LONG, and the 64-bit ones of BigTIFF. */
const widths: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8 }
const MOST_ENTRIES = 4096
const MOST_VALUES = 2 ** 22
const MOST_DIRECTORIES = 4096

const tags = {
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  stripOffsets: 273,
  samples: 277,
  rowsPerStrip: 278,
  stripLengths: 279,
  planar: 284,
  predictor: 317,
  palette: 320,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileLengths: 325,
} as const

const wanted: ReadonlySet<number> = new Set(Object.values(tags))

interface Layout {
  readonly bigEndian: boolean
  readonly big: boolean
  readonly first: number
}

function layoutOf(backing: Backing): Layout | undefined {
  const head = Buffer.alloc(16)
  if (backing.read(0, head) < 8) return undefined
  const order = head.toString('latin1', 0, 2)
  if (order !== 'II' && order !== 'MM') return undefined
  const bigEndian = order === 'MM'
  const version = bigEndian ? head.readUInt16BE(2) : head.readUInt16LE(2)
  if (version === 42)
    return { bigEndian, big: false, first: bigEndian ? head.readUInt32BE(4) : head.readUInt32LE(4) }
  if (version !== 43) return undefined
  const first = Number(bigEndian ? head.readBigUInt64BE(8) : head.readBigUInt64LE(8))
  return { bigEndian, big: true, first }
}

export function isTiff(backing: Backing): boolean {
  return layoutOf(backing) !== undefined
}

const corrupt = (why: string, at?: number): LensError => new LensError('corrupt', 'tiff', why, at)
const unsupported = (why: string): LensError => new LensError('unsupported', 'tiff', why)

function read(backing: Backing, at: number, length: number): Buffer {
  if (!Number.isSafeInteger(at) || at + length > backing.size) throw corrupt('the file is truncated', at)
  const bytes = Buffer.alloc(length)
  if (backing.read(at, bytes) !== length)
    throw new LensError('io', 'tiff', 'the file is shorter than it was', at)
  return bytes
}

function numberAt(bytes: Buffer, at: number, width: number, bigEndian: boolean): number {
  if (width === 8) return Number(bigEndian ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at))
  return bigEndian ? bytes.readUIntBE(at, width) : bytes.readUIntLE(at, width)
}

interface Directory {
  readonly values: ReadonlyMap<number, Float64Array>
  /** Of the next one; 0: there is none. */
  readonly next: number
}

/** What one directory says, of the tags that are known. */
function directory(backing: Backing, { bigEndian, big }: Layout, at: number, only?: 'next'): Directory {
  const entry = big ? 20 : 12
  const word = big ? 8 : 4
  const head = big ? 8 : 2
  const count = numberAt(read(backing, at, head), 0, head, bigEndian)
  if (count === 0 || count > MOST_ENTRIES) throw corrupt(`a directory of ${count} entries`, at)
  const bytes = read(backing, at + head, count * entry + word)
  const values = new Map<number, Float64Array>()
  for (let i = 0; i < count && only === undefined; i++) {
    const place = i * entry
    const tag = numberAt(bytes, place, 2, bigEndian)
    const width = widths[numberAt(bytes, place + 2, 2, bigEndian)]
    if (width === undefined || !wanted.has(tag)) continue
    const n = numberAt(bytes, place + 4, word, bigEndian)
    if (n > MOST_VALUES) throw corrupt(`${n} values of tag ${tag}`, at)
    const inside = n * width <= word
    const from = inside
      ? bytes.subarray(place + 4 + word)
      : read(backing, numberAt(bytes, place + 4 + word, word, bigEndian), n * width)
    values.set(
      tag,
      Float64Array.from({ length: n }, (_, k) => numberAt(from, k * width, width, bigEndian)),
    )
  }
  return { values, next: numberAt(bytes, count * entry, word, bigEndian) }
}

/** Where the directories of a file are, one an image, as far as they can be followed. */
export function tiffDirectories(backing: Backing): number[] {
  const layout = layoutOf(backing)
  const found: number[] = []
  try {
    let at = layout?.first ?? 0
    while (layout && at !== 0 && !found.includes(at) && found.length < MOST_DIRECTORIES) {
      const { next } = directory(backing, layout, at, 'next')
      found.push(at)
      at = next
    }
  } catch (error) {
    // What comes before the damage is good.
    if (!(error instanceof LensError)) throw error
  }
  return found
}

/** The image of the directory at this offset; 0: the first one. */
export function tiffImage(backing: Backing, at: number): TiffImage {
  const layout = layoutOf(backing)
  if (!layout) throw corrupt('this is no TIFF file', 0)
  const { values } = directory(backing, layout, at === 0 ? layout.first : at)
  const one = (tag: number, otherwise?: number): number => {
    const value = values.get(tag)?.[0] ?? otherwise
    if (value === undefined) throw corrupt(`tag ${tag} is missing`, at)
    return value
  }
  const width = one(tags.width)
  const height = one(tags.height)
  const samples = one(tags.samples, 1)
  // Colours of which there are fewer than pixels lie in blocks of their own.
  if (one(tags.photometric, 1) === 6) throw unsupported('YCbCr is not read')
  const depths = values.get(tags.bits) ?? Float64Array.of(1)
  const bits = depths[0] ?? 1
  const compression = compressions[one(tags.compression, 1)]
  if (compression === undefined)
    throw unsupported(`images of compression ${one(tags.compression)} are not read`)
  if (one(tags.fillOrder, 1) !== 1) throw unsupported('images of fill order 2 are not read')
  if (depths.some(depth => depth !== bits) || ![1, 2, 4, 8, 16, 32, 64].includes(bits))
    throw unsupported(`samples of ${depths.join(', ')} bits are not read`)
  const predictor = compression === 'none' || compression === 'packbits' ? 1 : one(tags.predictor, 1)
  if (predictor !== 1 && predictor !== 2 && predictor !== 3) throw corrupt(`predictor ${predictor}`, at)
  if (predictor !== 1 && (bits < 8 || (predictor === 3 && bits < 16)))
    throw unsupported(`predictor ${predictor} of samples of ${bits} bits is not read`)
  const planar = samples > 1 && one(tags.planar, 1) === 2
  if (planar && bits < 8) throw unsupported(`planes of samples of ${bits} bits are not read`)
  const tiled = values.has(tags.tileWidth)
  const chunkWidth = tiled ? one(tags.tileWidth) : width
  const chunkHeight = tiled ? one(tags.tileHeight) : Math.min(height, one(tags.rowsPerStrip, height))
  const sizes = [width, height, samples, chunkWidth, chunkHeight]
  const pixels = Math.max(width, chunkWidth) * Math.max(height, chunkHeight)
  if (sizes.some(size => size < 1) || samples > 4096 || pixels * samples * bits > 2 ** 52)
    throw corrupt(`an image of ${width} × ${height} × ${samples}`, at)
  if (tiled && (chunkWidth * (planar ? 1 : samples) * bits) % 8 !== 0)
    throw unsupported(`tiles of ${chunkWidth} pixels of ${bits} bits are not read`)
  const offsets = values.get(tiled ? tags.tileOffsets : tags.stripOffsets) ?? new Float64Array(0)
  const known = values.get(tiled ? tags.tileLengths : tags.stripLengths)
  const chunks = Math.ceil(width / chunkWidth) * Math.ceil(height / chunkHeight) * (planar ? samples : 1)
  if (offsets.length < chunks || (known?.length ?? 0) < chunks)
    throw corrupt(`${offsets.length} strips or tiles of ${chunks}`, at)
  return {
    width,
    height,
    bits,
    samples,
    bigEndian: layout.bigEndian,
    compression,
    predictor,
    photometric: one(tags.photometric, 1),
    planar,
    chunkWidth,
    chunkHeight,
    tiled,
    offsets,
    lengths: known ?? new Float64Array(0),
    palette: values.get(tags.palette) ?? new Float64Array(0),
  }
}
