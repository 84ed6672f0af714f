/**
 * TIFF and BigTIFF images as the pixels that a decoder has in memory, rows from the top down without padding, the samples of a
 * pixel together, numbers little-endian:
 *   tiff       samples as the file has them (1, 2, 4 bits: packed)
 *   tiff-rgb   8-bit RGB · tiff-rgba, tiff-bgra: with alpha (255 where the image has none): of RGB, grey and palettes of 8 bits
 *   …@OFFSET   the image whose directory begins there, of files with several; without it the first
 * Uncompressed, PackBits, LZW and Deflate, with the predictors for integers and floats; strips and tiles, together or each sample
 * by itself. Everything else (JPEG, fax, mixed or odd depths) is refused.
 *
 * A *band* is as many rows as a strip or tile has. It is decoded whole, and the last one is kept; uncompressed rows of strips are read
 * where they are. Nothing has to be known beforehand: the file says where every strip is.
 */
import { inflateSync } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { TiffKernel } from '../kernels/tiff.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'
import { isTiff, type TiffImage, tiffImage } from './tiff-directory.ts'

/** A band of more bytes is too much to be decoded for a page. */
const MOST_BAND = 2 ** 22

interface Open {
  readonly image: TiffImage
  /** Bytes of a row of the image, and of a strip's or tile's. */
  readonly row: number
  readonly chunkRow: number
  readonly kernel: TiffKernel
  /** The rows of one band, and which (-1: none). */
  readonly band: Uint8Array
  held: number
}

const channelsOf = ({ planar, samples }: TiffImage): number => (planar ? 1 : samples)

function open(backing: Backing, directory: number): Open {
  const image = tiffImage(backing, directory)
  const { width, bits, samples, chunkWidth, chunkHeight } = image
  const plain = isPlain(image)
  const row = Math.ceil((width * samples * bits) / 8)
  const chunkRow = Math.ceil((chunkWidth * channelsOf(image) * bits) / 8)
  const band = row * chunkHeight
  const chunk = chunkRow * chunkHeight
  if (Math.max(band, chunk) > MOST_BAND && !plain)
    throw new LensError('unsupported', 'tiff', `strips or rows of tiles of ${band} bytes are not read`)
  // Of what can't be compressed LZW makes half as much again.
  const packed = plain ? 0 : 1.5 * chunk + 4096
  return {
    image,
    row,
    chunkRow,
    kernel: new TiffKernel(Math.ceil(packed), plain ? 0 : chunk, plain ? 0 : chunkRow),
    band: new Uint8Array(plain ? 0 : band),
    held: -1,
  }
}

/** Whether rows can be read from the file as they are. */
function isPlain({ compression, bits, bigEndian, planar, tiled }: TiffImage): boolean {
  return compression === 'none' && !tiled && !planar && !(bigEndian && bits > 8)
}

/** Decodes strip or tile `chunk`, of which `rows` rows are wanted, into the kernel. */
function decode(backing: Backing, opened: Open, chunk: number, rows: number): void {
  const { image, kernel, chunkRow } = opened
  const { compression, predictor, bits, bigEndian } = image
  const length = image.lengths[chunk] as number
  const offset = image.offsets[chunk] as number
  const wanted = rows * chunkRow
  const damaged = (cause?: unknown): LensError =>
    new LensError('corrupt', 'tiff', `strip or tile ${chunk} is damaged`, offset, cause)
  if (offset + length > backing.size || length > kernel.packed.length) throw damaged()
  const packed = kernel.packed.subarray(0, length)
  if (backing.read(offset, packed) !== length)
    throw new LensError('io', 'tiff', 'the file is shorter than it was', offset)
  let made = 0
  if (compression === 'lzw') {
    // Before TIFF 6.0 the lowest bits came first.
    if (packed[0] === 0 && ((packed[1] ?? 0) & 1) === 1)
      throw new LensError('unsupported', 'tiff', 'LZW as it was before TIFF 6.0 is not read')
    made = kernel.unlzw(length, wanted)
  } else if (compression === 'packbits') made = kernel.unpackBits(length, wanted)
  else {
    let bytes = packed
    if (compression === 'deflate')
      try {
        bytes = inflateSync(packed, { maxOutputLength: kernel.made.length + 4096 })
      } catch (error) {
        throw damaged(error)
      }
    kernel.made.set(bytes.subarray(0, wanted))
    made = bytes.length
  }
  if (made < wanted) throw damaged()
  const width = bits >> 3
  // The floating point predictor puts the highest bytes first whatever the file's order.
  if (bigEndian && width > 1 && predictor !== 3) kernel.swap(wanted, width)
  if (predictor !== 1) kernel.undo(predictor, { rows, row: chunkRow, channels: channelsOf(image), width })
}

/** Makes band `number`. */
function makeBand(backing: Backing, opened: Open, number: number): void {
  const { image, row, chunkRow, kernel, band } = opened
  const { width, height, bits, samples, planar, chunkWidth, chunkHeight } = image
  const rows = Math.min(chunkHeight, height - number * chunkHeight)
  const across = Math.ceil(width / chunkWidth)
  const chunksOfPlane = across * Math.ceil(height / chunkHeight)
  for (let plane = 0; plane < (planar ? samples : 1); plane++)
    for (let column = 0; column < across; column++) {
      decode(backing, opened, plane * chunksOfPlane + number * across + column, rows)
      const left = column * chunkRow
      if (planar) spread(opened, { plane, column, rows, size: bits >> 3 })
      else
        for (let y = 0; y < rows; y++) {
          const from = y * chunkRow
          const n = Math.min(chunkRow, row - left)
          band.set(kernel.made.subarray(from, from + n), y * row + left)
        }
    }
}

/** Puts the samples of one plane where they belong in the band. */
function spread(
  { image, row, chunkRow, kernel, band }: Open,
  { plane, column, rows, size }: { plane: number; column: number; rows: number; size: number },
): void {
  const { width, samples, chunkWidth } = image
  const pixels = Math.min(chunkWidth, width - column * chunkWidth)
  const step = samples * size
  const { made } = kernel
  for (let y = 0; y < rows; y++) {
    let from = y * chunkRow
    let to = y * row + column * chunkWidth * step + plane * size
    for (let x = 0; x < pixels; x++, to += step)
      for (let byte = 0; byte < size; byte++) band[to + byte] = made[from++] as number
  }
}

/** Bytes [from, from + out.length) of row `y`, as the file's samples. */
function samplesOf(backing: Backing, opened: Open, y: number, from: number, out: Uint8Array): void {
  const { image, row, band } = opened
  const number = Math.floor(y / image.chunkHeight)
  const inside = (y - number * image.chunkHeight) * row + from
  if (isPlain(image)) {
    const offset = (image.offsets[number] as number) + inside
    if (inside + out.length > (image.lengths[number] as number))
      throw new LensError('corrupt', 'tiff', `strip ${number} is too short`, offset)
    if (backing.read(offset, out) !== out.length)
      throw new LensError('corrupt', 'tiff', 'the file is truncated', offset)
    return
  }
  if (opened.held !== number) {
    opened.held = -1
    makeBand(backing, opened, number)
    opened.held = number
  }
  out.set(band.subarray(inside, inside + out.length))
}

/** Red, green, blue, alpha of a pixel whose samples begin at `at`. */
function channelOf(image: TiffImage, row: Uint8Array, at: number, channel: number): number {
  const { photometric, samples, palette } = image
  if (photometric === 2) return channel < samples ? (row[at + channel] as number) : 255
  if (channel === 3) return samples === 2 ? (row[at + 1] as number) : 255
  const value = row[at] as number
  if (photometric === 3) return (palette[256 * channel + value] ?? 0) >> 8
  return photometric === 0 ? 255 - value : value
}

/** Which channels a lens gives, in its order; none: the samples. */
const orders: Readonly<Record<string, readonly number[]>> = {
  tiff: [],
  'tiff-rgb': [0, 1, 2],
  'tiff-rgba': [0, 1, 2, 3],
  'tiff-bgra': [2, 1, 0, 3],
}

/** Whether an image's samples are colours of 8 bits. */
function hasColours({ bits, photometric, samples }: TiffImage): boolean {
  if (bits !== 8) return false
  return photometric === 2 ? samples === 3 || samples === 4 : photometric < 2 ? samples <= 2 : samples === 1
}

let rowRoom = new Uint8Array(0)

function lensOf(name: string, order: readonly number[], directory: number): Lens {
  const known = new WeakMap<Backing, Open>()
  const pixel = order.length

  function of(backing: Backing): Open {
    let opened = known.get(backing)
    if (!opened) {
      opened = open(backing, directory)
      if (pixel > 0 && (opened.image.photometric > 3 || !hasColours(opened.image)))
        throw new LensError('unsupported', name, 'its samples are no colours of 8 bits; use tiff')
      known.set(backing, opened)
    }
    return opened
  }

  const lengthOf = ({ image, row }: Open): number => (pixel === 0 ? row : image.width * pixel)

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const opened = of(backing)
    const { image } = opened
    const length = lengthOf(opened)
    const wanted = Math.max(0, Math.min(out.length, length * image.height - at))
    for (let done = 0; done < wanted; ) {
      const y = Math.floor((at + done) / length)
      const from = at + done - y * length
      const n = Math.min(wanted - done, length - from)
      const part = out.subarray(done, done + n)
      if (pixel === 0) samplesOf(backing, opened, y, from, part)
      else {
        const first = Math.floor(from / pixel)
        const bytes = (Math.ceil((from + n) / pixel) - first) * image.samples
        if (rowRoom.length < bytes) rowRoom = new Uint8Array(bytes)
        samplesOf(backing, opened, y, first * image.samples, rowRoom.subarray(0, bytes))
        let channel = from % pixel
        for (let i = 0, source = 0; i < n; i++) {
          part[i] = channelOf(image, rowRoom, source, order[channel] as number)
          if (++channel < pixel) continue
          channel = 0
          source += image.samples
        }
      }
      done += n
    }
    out.fill(0, wanted)
  }

  return {
    name,
    size: backing => {
      const opened = of(backing)
      return lengthOf(opened) * opened.image.height
    },
    get,
    suits: isTiff,
    close: backing => {
      known.delete(backing)
    },
  }
}

/** Names of the lenses that a file's image is worth a search through: not what stands in the file as it is. */
export function tiffViews(backing: Backing, directory: number): { lens: string; size: number }[] {
  let image: TiffImage
  try {
    image = open(backing, directory).image
  } catch (error) {
    // Other images of the file may be read all the same.
    if (error instanceof LensError && error.code === 'unsupported') return []
    throw error
  }
  const { width, height, samples, bits, photometric } = image
  const kinds: [string, number][] = [['tiff', Math.ceil((width * samples * bits) / 8)]]
  if (photometric <= 3 && hasColours(image)) {
    // RGBA is in the file as it is.
    if (photometric !== 2) kinds.push(['tiff-rgb', 3 * width])
    if (samples !== 4) kinds.push(['tiff-rgba', 4 * width])
    kinds.push(['tiff-bgra', 4 * width])
  }
  return kinds.map(([kind, row]) => ({ lens: `${kind}@${directory}`, size: row * height }))
}

const NAME = /^(tiff(?:-rgb|-rgba|-bgra)?)(?:@([1-9][0-9]{0,15}))?$/

export function tiffNamed(name: string): Lens | undefined {
  const [, kind = '', directory = '0'] = NAME.exec(name) ?? []
  const order = orders[kind]
  return order === undefined ? undefined : lensOf(name, order, Number(directory))
}
