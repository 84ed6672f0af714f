/**
 * Columns of numbers that lie in a file as pages, each decoded as a whole: what Parquet, Arrow and HDF5 have in common. A format says
 * where its pages are and decodes one; this makes of them one array of the wanted type, in which what is missing is
 * NaN or a value that the lens names, and keeps the pages that were last in use.
 */
import type { Backing } from '../backing/backing.ts'
import { type ArrayCodec, arrayCodec, type StoredType } from './arrays.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'

/** Bytes of pages that are kept, of all columns together. */
const KEPT = 2 ** 24

export interface DecodedPage {
  /** Elements as the file has them, little endian, without those that are missing. */
  readonly values: Uint8Array
  /** 1 for each element that is there; undefined if all are. */
  readonly there: Uint8Array | undefined
}

export interface PagedColumn {
  readonly of: StoredType
  /** Number of the first element of each page, and behind the last of all. */
  readonly starts: Float64Array
  /** Every value is multiplied by it. */
  readonly scale?: number
  page(number: number): DecodedPage
}

export interface PagedOptions<T extends ElementType> {
  readonly name: string
  readonly as: T
  /** What stands for what is missing; NaN for floats if not given, an error for integers. */
  readonly missing?: number | bigint
  open(backing: Backing): PagedColumn
  readonly suits?: (backing: Backing) => boolean
}

interface Kept {
  readonly column: PagedColumn
  readonly as: string
  readonly number: number
  readonly bytes: Uint8Array
}

/** Most recently used last. */
const kept: Kept[] = []

function bytesBacking(bytes: Uint8Array): Backing {
  return {
    size: bytes.length,
    identity: { device: '', inode: '', size: bytes.length, mtime: '', ctime: '' },
    read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length)
      into.set(part)
      return part.length
    },
    hold: () => ({ leased: false, release: () => undefined }),
    close: () => undefined,
  }
}

export function pagedLens<T extends ElementType>(options: PagedOptions<T>): TypedLens<T> {
  const { name, missing } = options
  const type: ElementType = options.as
  const width = elementBytes[type]
  const known = new WeakMap<Backing, { readonly column: PagedColumn; readonly codec: ArrayCodec }>()
  const lack = new Uint8Array(width)
  const view = new DataView(lack.buffer)
  if (type === 'f64') view.setFloat64(0, Number(missing ?? Number.NaN), true)
  else if (type === 'f32') view.setFloat32(0, Number(missing ?? Number.NaN), true)
  else if (missing !== undefined)
    for (let i = 0, rest = BigInt.asUintN(64, BigInt(missing)); i < width; i++, rest >>= 8n)
      lack[i] = Number(rest & 255n)
  const mayLack = missing !== undefined || type === 'f32' || type === 'f64'

  function of(backing: Backing): { readonly column: PagedColumn; readonly codec: ArrayCodec } {
    let found = known.get(backing)
    if (!found) {
      const column = options.open(backing)
      const scale = column.scale === undefined ? {} : { scale: column.scale }
      found = { column, codec: arrayCodec(name, { of: column.of, as: type, ...scale }) }
      known.set(backing, found)
    }
    return found
  }

  function pageOf(column: PagedColumn, codec: ArrayCodec, number: number): Uint8Array {
    const at = kept.findIndex(each => each.column === column && each.number === number && each.as === name)
    const [page] = at < 0 ? [] : kept.splice(at, 1)
    const bytes = page?.bytes ?? make(column, codec, number)
    kept.push({ column, as: name, number, bytes })
    let total = kept.reduce((sum, each) => sum + each.bytes.length, 0)
    while (total > KEPT && kept.length > 1) total -= kept.shift()?.bytes.length ?? 0
    return bytes
  }

  function make(column: PagedColumn, codec: ArrayCodec, number: number): Uint8Array {
    const { values, there } = column.page(number)
    const count = (column.starts[number + 1] ?? 0) - (column.starts[number] ?? 0)
    const present = there ? there.reduce((sum, each) => sum + each, 0) : count
    const made = new Uint8Array(present * width)
    codec.get(bytesBacking(values), { at: 0, count: present }, 0, made)
    if (!there) return made
    if (!mayLack)
      throw new LensError(
        'unsupported',
        name,
        `a value is missing, and ${type} has no NaN; say what stands for it (missing)`,
      )
    const out = new Uint8Array(count * width)
    let from = 0
    for (let i = 0; i < count; i++)
      if (there[i] === 0) out.set(lack, i * width)
      else {
        out.set(made.subarray(from, from + width), i * width)
        from += width
      }
    return out
  }

  const total = ({ starts }: PagedColumn): number => (starts.at(-1) ?? 0) * width

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', name, `invalid position ${at}`)
    const { column, codec } = of(backing)
    const { starts } = column
    const wanted = Math.max(0, Math.min(out.length, total(column) - at))
    if (wanted < out.length) out.fill(0, wanted)
    let low = 0
    let high = starts.length - 1
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((starts[middle] as number) * width <= at) low = middle
      else high = middle
    }
    for (let done = 0; done < wanted; low++) {
      const skip = at + done - (starts[low] as number) * width
      const page = pageOf(column, codec, low)
      const part = page.subarray(skip, skip + wanted - done)
      out.set(part, done)
      done += part.length
    }
  }

  return {
    name,
    element: options.as,
    size: backing => total(of(backing).column),
    get,
    ...(options.suits ? { suits: options.suits } : {}),
  }
}
