/**
 * PNG images as the pixels that a decoder has in memory:
 *   png       rows without their filters, samples as the file has them (16 bit: big-endian; under 8 bit: packed)
 *   png-rgb   8-bit RGB · png-rgba, png-bgra: with alpha (255 where the image has none)
 * The last three are of images of 8 bits or less a sample; palettes and transparent colours are resolved. Rows have no
 * padding. Interlaced images are refused.
 *
 * The index holds the row before every BAND bytes of rows, so that a get undoes filters from there on.
 */
import { crc32 } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { PngKernel } from '../kernels/png.ts'
import { LensError } from './errors.ts'
import { zlibAt } from './gunzip.ts'
import type { IndexMaker, IndexStore, StoredIndex } from './index-store.ts'
import { Indexed } from './indexed.ts'
import type { Lens } from './lens.ts'
import { type Piece, pieces } from './range.ts'
import { through, type View } from './through.ts'

const SIGNATURE = '89504e470d0a1a0a'
const BAND = 2 ** 17
const CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

export interface PngHeader {
  readonly width: number
  readonly height: number
  readonly depth: number
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. */
  readonly colour: number
  /** Bytes of a row, and of a pixel (1 at least). */
  readonly row: number
  readonly step: number
  readonly palette: Uint8Array
  readonly transparency: Uint8Array
  readonly data: readonly Piece[]
}

export function isPng(backing: Backing): boolean {
  const head = Buffer.alloc(8)
  return backing.read(0, head) === 8 && head.toString('hex') === SIGNATURE
}

function read(backing: Backing, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (backing.read(at, bytes) !== length) throw new LensError('corrupt', 'png', 'the file is truncated', at)
  return bytes
}

/** Reads all chunks but those of pixels, which are only listed. */
export function pngHeader(backing: Backing): PngHeader {
  if (!isPng(backing)) throw new LensError('corrupt', 'png', 'this is no PNG file', 0)
  let header: Buffer = Buffer.alloc(0)
  let palette: Uint8Array = new Uint8Array(0)
  let transparency: Uint8Array = new Uint8Array(0)
  const data: Piece[] = []
  for (let at = 8; ; ) {
    const head = read(backing, at, 8)
    const length = head.readUInt32BE(0)
    const type = head.toString('latin1', 4)
    if (type === 'IDAT') data.push({ offset: at + 8, length })
    else if (['IHDR', 'PLTE', 'tRNS'].includes(type) && length <= 1024) {
      const chunk = read(backing, at + 4, length + 8)
      if (crc32(chunk.subarray(0, length + 4)) !== chunk.readUInt32BE(length + 4))
        throw new LensError('corrupt', 'png', `the checksum of ${type} is wrong`, at)
      const content = chunk.subarray(4, length + 4)
      if (type === 'IHDR') header = content
      else if (type === 'PLTE') palette = content
      else transparency = content
    }
    if (type === 'IEND') break
    at += length + 12
  }
  if (header.length !== 13) throw new LensError('corrupt', 'png', 'there is no header', 8)
  const [depth = 0, colour = 0, compression, filter, interlaced] = header.subarray(8)
  const channels = CHANNELS[colour]
  if (channels === undefined || ![1, 2, 4, 8, 16].includes(depth) || compression !== 0 || filter !== 0)
    throw new LensError('corrupt', 'png', 'the header makes no sense', 8)
  if (interlaced !== 0) throw new LensError('unsupported', 'png', 'interlaced images are not read')
  const width = header.readUInt32BE(0)
  const bits = channels * depth
  return {
    width,
    height: header.readUInt32BE(4),
    depth,
    colour,
    row: Math.ceil((width * bits) / 8),
    step: Math.max(1, bits >> 3),
    palette,
    transparency,
    data,
  }
}

const filteredData: Lens = pieces('png-idat', backing => pngHeader(backing).data)
const inflated: Lens = zlibAt(0)

interface Rows {
  readonly header: PngHeader
  readonly data: View
  readonly index: StoredIndex
  readonly kernel: PngKernel
  /** Rows of a band; and which one the kernel holds (-1: none). */
  readonly band: number
  held: number
}

const bandOf = ({ row, height }: PngHeader): number =>
  Math.max(1, Math.min(height, Math.floor(BAND / Math.max(1, row))))

/** Has the kernel undo the filters of one band, whose row before is in place. */
function unfilterBand(rows: Omit<Rows, 'index'>, number: number): number {
  const { header, data, kernel, band } = rows
  const first = number * band
  const count = Math.min(band, header.height - first)
  const length = header.row + 1
  inflated.get(data, first * length, kernel.filtered.subarray(0, count * length))
  if (kernel.unfilter(count) !== count)
    throw new LensError('corrupt', 'png', `unknown filter in rows ${first} to ${first + count - 1}`)
  return count
}

const indexed = new Indexed<Rows>({
  lens: 'png',
  version: 1,
  make(backing: Backing, maker: IndexMaker, tick: () => void, store: IndexStore) {
    const header = pngHeader(backing)
    const data = through(backing, filteredData)
    inflated.prepare?.(data, store)
    const wanted = header.height * (header.row + 1)
    if (inflated.size(data) < wanted)
      throw new LensError('corrupt', 'png', 'there are fewer rows than it says')
    const band = bandOf(header)
    const kernel = new PngKernel(header.row, header.step, band)
    kernel.made.fill(0, 0, header.row)
    for (let number = 0; number * band < header.height; number++) {
      maker.append(kernel.made.subarray(0, header.row))
      const count = unfilterBand({ header, data, kernel, band, held: -1 }, number)
      kernel.made.copyWithin(0, count * header.row, (count + 1) * header.row)
      tick()
    }
  },
  open(backing, index, store) {
    const header = pngHeader(backing)
    const data = through(backing, filteredData)
    inflated.prepare?.(data, store)
    const band = bandOf(header)
    if (index.size !== Math.ceil(header.height / band) * header.row) throw new Error('not an index of rows')
    return { header, data, index, kernel: new PngKernel(header.row, header.step, band), band, held: -1 }
  },
})

/** The unfiltered bytes of the band that holds row `row`. */
function bandRows(rows: Rows, row: number): { readonly first: number; readonly bytes: Uint8Array } {
  const number = Math.floor(row / rows.band)
  const { kernel, header } = rows
  if (rows.held !== number) {
    rows.held = -1
    rows.index.read(number * header.row, kernel.made.subarray(0, header.row))
    unfilterBand(rows, number)
    rows.held = number
  }
  return { first: number * rows.band, bytes: kernel.made.subarray(header.row) }
}

/** Writes the pixels of one row from `from` on (bytes of the row made) to `out`. */
type Expand = (header: PngHeader, row: Uint8Array, from: number, out: Uint8Array) => void

interface Layout {
  readonly name: string
  /** Bytes of a pixel made; 0: as the file has them. */
  readonly pixel: number
  readonly expand: Expand
}

function sample(header: PngHeader, row: Uint8Array, index: number): number {
  const { depth } = header
  if (depth === 8) return row[index] ?? 0
  const bit = index * depth
  return ((row[bit >> 3] ?? 0) >> (8 - depth - (bit & 7))) & ((1 << depth) - 1)
}

/** Red, green, blue, alpha of a pixel, by `channel`. */
function channelOf(header: PngHeader, row: Uint8Array, x: number, channel: number): number {
  const { colour, depth, palette, transparency } = header
  const key = (at: number): number => transparency[2 * at + 1] ?? -1
  if (colour === 3) {
    const entry = sample(header, row, x)
    return channel === 3 ? (transparency[entry] ?? 255) : (palette[3 * entry + channel] ?? 0)
  }
  if (colour === 0) {
    const value = sample(header, row, x)
    if (channel === 3) return value === key(0) ? 0 : 255
    return depth === 8 ? value : (value * 255) / ((1 << depth) - 1)
  }
  if (colour === 4) return row[2 * x + (channel === 3 ? 1 : 0)] ?? 0
  if (colour === 6) return row[4 * x + channel] ?? 0
  if (channel < 3) return row[3 * x + channel] ?? 0
  return row[3 * x] === key(0) && row[3 * x + 1] === key(1) && row[3 * x + 2] === key(2) ? 0 : 255
}

function expandTo(order: readonly number[]): Expand {
  const pixel = order.length
  const [red = 0, green = 1, blue = 2, alpha = -1] = [0, 1, 2, 3].map(channel => order.indexOf(channel))

  /** Whole pixels of plain 8-bit RGB or RGBA, the common ones. */
  function plain(row: Uint8Array, from: number, step: number, out: Uint8Array): void {
    for (let at = 0, source = from; at < out.length; at += pixel, source += step) {
      out[at + red] = row[source] as number
      out[at + green] = row[source + 1] as number
      out[at + blue] = row[source + 2] as number
      if (alpha >= 0) out[at + alpha] = step === 4 ? (row[source + 3] as number) : 255
    }
  }

  return (header, row, from, out) => {
    const { colour, transparency } = header
    let x = Math.floor(from / pixel)
    let c = from % pixel
    let i = 0
    const slow = (end: number): void => {
      for (; i < end; i++) {
        out[i] = channelOf(header, row, x, order[c] as number)
        if (++c === pixel) {
          c = 0
          x++
        }
      }
    }
    if (colour === 6 || (colour === 2 && transparency.length === 0)) {
      const step = colour === 6 ? 4 : 3
      slow(Math.min(out.length, c === 0 ? 0 : pixel - c))
      const whole = Math.floor((out.length - i) / pixel)
      plain(row, x * step, step, out.subarray(i, i + whole * pixel))
      i += whole * pixel
      x += whole
    }
    slow(out.length)
  }
}

const layouts: readonly Layout[] = [
  {
    name: 'png',
    pixel: 0,
    expand: (_header, row, from, out) => out.set(row.subarray(from, from + out.length)),
  },
  { name: 'png-rgb', pixel: 3, expand: expandTo([0, 1, 2]) },
  { name: 'png-rgba', pixel: 4, expand: expandTo([0, 1, 2, 3]) },
  { name: 'png-bgra', pixel: 4, expand: expandTo([2, 1, 0, 3]) },
]

function lensOf({ name, pixel, expand }: Layout): Lens {
  function rowBytes(header: PngHeader): number {
    if (pixel > 0 && header.depth === 16)
      throw new LensError('unsupported', name, 'samples of 16 bits have no exact 8; use png')
    return pixel === 0 ? header.row : header.width * pixel
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    indexed.use(backing, rows => {
      const length = rowBytes(rows.header)
      const wanted = Math.max(0, Math.min(out.length, length * rows.header.height - at))
      for (let done = 0; done < wanted; ) {
        const row = Math.floor((at + done) / length)
        const from = at + done - row * length
        const { first, bytes } = bandRows(rows, row)
        const start = (row - first) * rows.header.row
        const n = Math.min(wanted - done, length - from)
        expand(
          rows.header,
          bytes.subarray(start, start + rows.header.row),
          from,
          out.subarray(done, done + n),
        )
        done += n
      }
      out.fill(0, wanted)
    })
  }

  return {
    name,
    size(backing) {
      const { header } = indexed.of(backing)
      return rowBytes(header) * header.height
    },
    get,
    suits: isPng,
    prepare: (backing: Backing, store: IndexStore, pause?: () => void) =>
      indexed.prepare(backing, store, pause),
    close: backing => indexed.close(backing),
  }
}

const lenses: readonly Lens[] = layouts.map(lensOf)

export function pngNamed(name: string): Lens | undefined {
  return lenses.find(lens => lens.name === name)
}
