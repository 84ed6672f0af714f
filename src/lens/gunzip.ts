/**
 * Inflated data: 'gunzip' (a gzip file, of any number of members: bgzip and pigz too), 'zlib@OFFSET' (a zlib stream that
 * begins at a byte of the backing) and 'inflate@OFFSET' or 'inflate@OFFSET+LENGTH' (deflated data without anything around it;
 * with ':' and eight hexadecimal digits its CRC-32, where that is known, as in a zip file).
 *
 * What follows the last gzip member and is none itself is not part of the view, as with gunzip. A checksum that is
 * wrong, a stream that is cut: LensError 'corrupt'. Data without a checksum (inflate@) is only checked for being decodable.
 */
import type { Backing } from '../backing/backing.ts'
import { type FramingKind, headerLength } from './deflate-framing.ts'
import { deflateLens } from './deflate.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'

function looksLike(kind: FramingKind, offset: number): (backing: Backing) => boolean {
  return backing => {
    if (kind === 'raw') return offset < backing.size
    const head = new Uint8Array(1024)
    const length = headerLength(kind, head.subarray(0, backing.read(offset, head)))
    return typeof length === 'number'
  }
}

export const gunzip: Lens = deflateLens(
  'gunzip',
  backing => ({ lens: 'gunzip', kind: 'gzip', start: 0, end: backing.size }),
  looksLike('gzip', 0),
)

function at(kind: FramingKind, name: string, offset: number, length?: number, sum?: number): Lens {
  return deflateLens(
    name,
    backing => {
      const end = length === undefined ? backing.size : offset + length
      if (offset > backing.size || end > backing.size)
        throw new LensError('range', name, `the backing has ${backing.size} bytes`)
      return { lens: name, kind, start: offset, end, ...(sum === undefined ? {} : { sum }) }
    },
    looksLike(kind, offset),
  )
}

export function zlibAt(offset: number): Lens {
  return at('zlib', `zlib@${offset}`, offset)
}

/** `length`: compressed bytes; `sum`: the CRC-32 of what they make. */
export function inflateAt(offset: number, length?: number, sum?: number): Lens {
  const name = `inflate@${offset}${length === undefined ? '' : `+${length}`}${sum === undefined ? '' : `:${sum.toString(16).padStart(8, '0')}`}`
  return at('raw', name, offset, length, sum)
}

const NUMBER = '(0|[1-9][0-9]{0,14})'
const ZLIB = new RegExp(`^zlib@${NUMBER}$`)
const INFLATE = new RegExp(`^inflate@${NUMBER}(?:\\+${NUMBER})?(?::([0-9a-f]{8}))?$`)

export function inflatedNamed(name: string): Lens | undefined {
  if (name === 'gunzip') return gunzip
  const zlib = ZLIB.exec(name)
  if (zlib) return zlibAt(Number(zlib[1]))
  const raw = INFLATE.exec(name)
  if (!raw) return undefined
  const [, offset, length, sum] = raw
  return inflateAt(
    Number(offset),
    length === undefined ? undefined : Number(length),
    sum === undefined ? undefined : Number.parseInt(sum, 16),
  )
}
