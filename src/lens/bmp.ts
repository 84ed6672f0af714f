/**
 * Uncompressed images as the pixels that a decoder has in memory, rows from the top down without padding:
 *   bmp       BMP of 24 or 32 bits a pixel: BGR or BGRA as the file has them
 *   bmp-rgba  the same as RGBA, alpha 255 for 24 bits
 *   bmp-bgra  the same as BGRA, alpha 255 for 24 bits
 * The rows of a BMP file begin at the bottom (unless its height is negative) and end on multiples of four bytes. (PPM and PGM files
 * hold their pixels as they are in memory: 'verbatim' finds those.) Palettes, 16 bits, masks that are not the usual
 * ones and compression are refused.
 */
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'

interface BmpHeader {
  readonly width: number
  readonly height: number
  /** Bytes of a pixel: 3 or 4. */
  readonly step: number
  readonly topDown: boolean
  /** Where the rows begin, and bytes from one to the next. */
  readonly start: number
  readonly stride: number
}

export function isBmp(backing: Backing): boolean {
  const head = Buffer.alloc(18)
  return (
    backing.read(0, head) === 18 &&
    head.toString('latin1', 0, 2) === 'BM' &&
    [40, 52, 56, 108, 124].includes(head.readUInt32LE(14))
  )
}

/** The masks of the usual order of bytes: blue, green, red. */
const MASKS = [0xff0000, 0xff00, 0xff]

function bmpHeader(backing: Backing, name: string): BmpHeader {
  if (!isBmp(backing)) throw new LensError('corrupt', name, 'this is no BMP file', 0)
  const head = Buffer.alloc(66)
  if (backing.read(0, head) < 54) throw new LensError('corrupt', name, 'the header is truncated', 0)
  const width = head.readInt32LE(18)
  const signed = head.readInt32LE(22)
  const bits = head.readUInt16LE(28)
  const compression = head.readUInt32LE(30)
  const usual = MASKS.every((mask, i) => head.readUInt32LE(54 + 4 * i) === mask)
  if ((bits !== 24 && bits !== 32) || !(compression === 0 || (compression === 3 && bits === 32 && usual)))
    throw new LensError('unsupported', name, `BMP of ${bits} bits, compression ${compression}, is not read`)
  const step = bits >> 3
  const stride = Math.ceil((width * step) / 4) * 4
  const start = head.readUInt32LE(10)
  const height = Math.abs(signed)
  if (width <= 0 || height === 0) throw new LensError('corrupt', name, 'the header makes no sense', 18)
  if (start + stride * height > backing.size)
    throw new LensError('corrupt', name, 'the file is shorter than its rows', backing.size)
  return { width, height, step, topDown: signed < 0, start, stride }
}

/** Room for one row as the file has it; grows to the longest. */
let rowRoom = new Uint8Array(0)

/** `order`: which byte of the file's pixel (3: alpha) goes where; undefined: all as they are. */
function bmpLens(name: string, order?: readonly number[]): Lens {
  const known = new WeakMap<Backing, BmpHeader>()

  function headerOf(backing: Backing): BmpHeader {
    let header = known.get(backing)
    if (!header) {
      header = bmpHeader(backing, name)
      known.set(backing, header)
    }
    return header
  }

  const rowBytes = ({ width, step }: BmpHeader): number => width * (order?.length ?? step)

  function readRow(backing: Backing, offset: number, into: Uint8Array): void {
    if (backing.read(offset, into) !== into.length)
      throw new LensError('io', name, 'the backing is shorter than it was', offset)
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const header = headerOf(backing)
    const length = rowBytes(header)
    const wanted = Math.max(0, Math.min(out.length, length * header.height - at))
    for (let done = 0; done < wanted; ) {
      const row = Math.floor((at + done) / length)
      const from = at + done - row * length
      const n = Math.min(wanted - done, length - from)
      const offset = header.start + header.stride * (header.topDown ? row : header.height - 1 - row)
      if (!order) readRow(backing, offset + from, out.subarray(done, done + n))
      else {
        const { step } = header
        const first = Math.floor(from / 4)
        const pixels = Math.ceil((from + n) / 4) - first
        if (rowRoom.length < pixels * step) rowRoom = new Uint8Array(pixels * step)
        const source = rowRoom.subarray(0, pixels * step)
        readRow(backing, offset + first * step, source)
        for (let i = 0; i < n; i++) {
          const channel = order[(from + i) & 3] as number
          const pixel = ((from + i) >> 2) - first
          out[done + i] = channel >= step ? 255 : (source[pixel * step + channel] as number)
        }
      }
      done += n
    }
    out.fill(0, wanted)
  }

  return {
    name,
    size(backing) {
      const header = headerOf(backing)
      return rowBytes(header) * header.height
    },
    get,
    suits: isBmp,
  }
}

const lenses: readonly Lens[] = [
  bmpLens('bmp'),
  bmpLens('bmp-rgba', [2, 1, 0, 3]),
  bmpLens('bmp-bgra', [0, 1, 2, 3]),
]

export function bmpNamed(name: string): Lens | undefined {
  return lenses.find(lens => lens.name === name)
}
