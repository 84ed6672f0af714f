/**
 * A dataset of numbers of an HDF5 file, row-major, as h5py reads it into an array.
 *
 *   hdf5?as=f64&dataset=/group/values
 *
 * Chunks may be compressed by gzip, shuffled, and checked by Fletcher-32 (whose sum is not looked at); other filters are refused. A
 * page (column-pages.ts) is a row of chunks: all that share the first dimension.
 */
import type { Backing } from '../backing/backing.ts'
import { storedBytes } from './arrays.ts'
import { decodeUpTo } from './block-codecs.ts'
import { type PagedColumn, pagedLens } from './column-pages.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import { type Chunk, type Dataset, Hdf5File } from './hdf5-file.ts'
import type { Lens } from './lens.ts'

const DEFLATE = 1
const SHUFFLE = 2
const FLETCHER32 = 3
/** Elements that are taken at a time where they lie contiguous. */
const STEP = 2 ** 16

const product = (list: readonly number[]): number => list.reduce((all, n) => all * n, 1)

function unshuffled(bytes: Uint8Array, width: number): Uint8Array {
  const count = Math.floor(bytes.length / width)
  const out = new Uint8Array(bytes)
  for (let part = 0; part < width; part++)
    for (let i = 0; i < count; i++) out[i * width + part] = bytes[part * count + i] as number
  return out
}

function open(lens: string, path: string, backing: Backing): PagedColumn {
  const dataset = new Hdf5File(lens, backing).dataset(path)
  const { of, dimensions, at } = dataset
  const width = storedBytes[of]
  const count = product(dimensions)
  if (!Number.isSafeInteger(count) || count < 0)
    throw new LensError('corrupt', lens, 'the dimensions make no sense')
  const swap = (bytes: Uint8Array): Uint8Array => {
    if (!dataset.bigEndian || width === 1) return bytes
    const buffer = Buffer.from(bytes)
    return width === 2 ? buffer.swap16() : width === 4 ? buffer.swap32() : buffer.swap64()
  }
  function read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(offset >= 0 && offset + length <= backing.size ? length : 0)
    if (bytes.length !== length || backing.read(offset, bytes) !== length)
      throw new LensError('corrupt', lens, 'the file is cut off or damaged', offset)
    return bytes
  }
  const step = at === undefined ? (dataset.chunk[0] ?? 1) * product(dimensions.slice(1)) : STEP
  const pages = count === 0 ? 0 : Math.ceil(count / Math.max(1, step))
  const starts = Float64Array.from({ length: pages + 1 }, (_, i) => Math.min(count, i * step))
  if (at !== undefined)
    return {
      of,
      starts,
      page(number) {
        const [from = 0, to = 0] = starts.subarray(number, number + 2)
        return { values: swap(read(at + from * width, (to - from) * width)), there: undefined }
      },
    }

  const rows = new Map<number, Chunk[]>()
  for (const chunk of dataset.chunks) {
    const row = (chunk.offsets[0] ?? 0) / (dataset.chunk[0] ?? 1)
    rows.set(row, [...(rows.get(row) ?? []), chunk])
  }
  const size = product(dataset.chunk) * width

  function contents(chunk: Chunk): Uint8Array {
    let bytes = read(chunk.at, chunk.bytes)
    for (let i = dataset.filters.length - 1; i >= 0; i--) {
      const filter = dataset.filters[i]
      if ((chunk.mask >> i) & 1) continue
      if (filter === DEFLATE) bytes = decodeUpTo(lens, 'zlib', bytes, size + 4, chunk.at)
      else if (filter === SHUFFLE) bytes = unshuffled(bytes, width)
      else if (filter === FLETCHER32) bytes = bytes.subarray(0, -4)
      else
        throw new LensError(
          'unsupported',
          lens,
          `chunks pass through filter ${filter}, which is not read`,
          chunk.at,
        )
    }
    if (bytes.length !== size)
      throw new LensError('corrupt', lens, `a chunk makes ${bytes.length} bytes and not ${size}`, chunk.at)
    return bytes
  }

  return {
    of,
    starts,
    page(number) {
      const [from = 0, to = 0] = starts.subarray(number, number + 2)
      const band = new Uint8Array((to - from) * width)
      for (let i = 0; i < band.length; i += width) band.set(dataset.fill, i)
      for (const chunk of rows.get(number) ?? []) scatter(dataset, chunk, contents(chunk), band, width)
      return { values: swap(band), there: undefined }
    },
  }
}

/** Copies the rows of a chunk to where they lie in the band of its first dimension. */
function scatter(
  { dimensions, chunk: shape }: Dataset,
  { offsets }: Chunk,
  from: Uint8Array,
  band: Uint8Array,
  width: number,
): void {
  const last = shape.length - 1
  const run = Math.min(shape[last] ?? 1, (dimensions[last] ?? 1) - (offsets[last] ?? 0)) * width
  const index = shape.map(() => 0)
  for (;;) {
    let source = 0
    let target = 0
    let inside = true
    for (const [d, i] of index.entries()) {
      const place = (offsets[d] ?? 0) + i
      source = source * (shape[d] ?? 1) + i
      target = target * (d === 0 ? 1 : (dimensions[d] ?? 1)) + (d === 0 ? i : place)
      inside &&= place < (dimensions[d] ?? 1)
    }
    if (inside) band.set(from.subarray(source * width, source * width + run), target * width)
    let d = last - 1
    while (d >= 0 && ++(index[d] as number) === shape[d]) index[d--] = 0
    if (d < 0) return
  }
}

export function hdf5Lens<T extends ElementType>({
  as,
  dataset,
}: {
  readonly as: T
  readonly dataset: string
}): TypedLens<T> {
  const name = `hdf5?${new URLSearchParams({ as, dataset })}`
  return pagedLens({
    name,
    as,
    open(backing) {
      try {
        return open(name, dataset, backing)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        throw new LensError('corrupt', name, 'the file is damaged', undefined, error)
      }
    },
  })
}

/** Datasets of numbers in chunks (others lie in the file as they are); none if it is no HDF5 file. */
export function hdf5Columns(backing: Backing): { readonly dataset: string; readonly of: Dataset['of'] }[] {
  const head = Buffer.alloc(4)
  if (backing.read(0, head) !== 4 || head.toString('latin1') !== '\x89HDF') return []
  const file = new Hdf5File('hdf5', backing)
  return file.datasets().flatMap(dataset => {
    try {
      const { of, at } = file.dataset(dataset)
      return at === undefined ? [{ dataset, of }] : []
    } catch {
      return []
    }
  })
}

export function hdf5Named(name: string): Lens | undefined {
  if (!name.startsWith('hdf5?')) return undefined
  const parameters = new URLSearchParams(name.slice(5))
  const as = parameters.get('as') ?? ''
  if (!Object.hasOwn(elementBytes, as))
    throw new LensError('unsupported', name, `${as} is no type of numbers`)
  return hdf5Lens({ as: as as ElementType, dataset: parameters.get('dataset') ?? '' })
}
