/**
 * Arrays in the files that hold arrays: where the numbers lie, of what type and shape, and then src/lens/arrays.ts.
 *
 *   npy?as=f64                    NumPy's .npy, versions 1 to 3
 *   npz?as=f32&name=weights       a member of a .npz, stored or deflated
 *   safetensors?as=f32&name=w     one tensor
 *
 * `as` is what memory holds: the file's own type, or one to which it converts (typesFor). bool is u8. Elements are in the
 * file's order; arrays of more than one dimension in Fortran order, objects and structures are refused.
 */
import type { Backing } from '../backing/backing.ts'
import { type ArrayCodec, arrayCodec, type StoredType, storedBytes } from './arrays.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import type { Edit, Lens } from './lens.ts'
import { inflatedNamed } from './gunzip.ts'
import { rangeNamed } from './range.ts'
import { through } from './through.ts'
import { zipMembers } from './zip.ts'

export interface Tensor {
  /** What `at` is an offset in. */
  readonly over: Backing
  readonly of: StoredType
  readonly order: 'little' | 'big'
  readonly at: number
  readonly count: number
  readonly shape: readonly number[]
}

const FORMATS = ['npy', 'npz', 'safetensors'] as const
export type TensorFormat = (typeof FORMATS)[number]

const MOST_HEADER = 2 ** 27

function bytesAt(lens: string, backing: Backing, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (backing.read(offset, bytes) !== length)
    throw new LensError('corrupt', lens, 'the file is truncated', backing.size)
  return bytes
}

const NPY_TYPES: Readonly<Record<string, StoredType>> = {
  b1: 'u8',
  u1: 'u8',
  i1: 'i8',
  u2: 'u16',
  i2: 'i16',
  u4: 'u32',
  i4: 'i32',
  u8: 'u64',
  i8: 'i64',
  f2: 'f16',
  f4: 'f32',
  f8: 'f64',
}

/** Reads the header of an .npy file. LensError 'corrupt' if it is none, 'unsupported' for what is no array of numbers. */
export function npyTensor(lens: string, over: Backing): Tensor {
  const magic = bytesAt(lens, over, 0, 12)
  if (magic.toString('latin1', 0, 6) !== '\x93NUMPY')
    throw new LensError('corrupt', lens, 'this is no .npy file', 0)
  const long = (magic[6] ?? 0) > 1
  const start = long ? 12 : 10
  const length = long ? magic.readUInt32LE(8) : magic.readUInt16LE(8)
  if (length > MOST_HEADER) throw new LensError('corrupt', lens, 'the header is too long', 8)
  const header = bytesAt(lens, over, start, length).toString('utf8')
  const at = start + length
  const type = /'descr'\s*:\s*'([<>|=])([a-zA-Z])([0-9]*)'/.exec(header)
  const shape = /'shape'\s*:\s*\(([^)]*)\)/.exec(header)?.[1]
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1]
  if (shape === undefined || fortran === undefined || !header.includes("'descr'"))
    throw new LensError('corrupt', lens, 'the header makes no sense', start)
  // bfloat16 of ml_dtypes is saved as two bytes without meaning.
  const of = type
    ? (NPY_TYPES[`${type[2]}${type[3]}`] ?? (type[2] === 'V' && type[3] === '2' ? 'bf16' : undefined))
    : undefined
  if (of === undefined) {
    const descr = /'descr'\s*:\s*('[^']*'|\[.*\])/.exec(header)?.[1] ?? header
    const what =
      type?.[2] === 'O' ? 'Python objects (pickled), which are no numbers' : `elements of dtype ${descr}`
    throw new LensError('unsupported', lens, `the array holds ${what}; save it as numbers`, start)
  }
  const dimensions = (shape.match(/[0-9]+/g) ?? []).map(Number)
  if (fortran === 'True' && dimensions.filter(n => n > 1).length > 1)
    throw new LensError(
      'unsupported',
      lens,
      `the array ${JSON.stringify(dimensions)} lies in Fortran order; save numpy.ascontiguousarray of it`,
      start,
    )
  return checked(lens, {
    over,
    of,
    order: type?.[1] === '>' ? 'big' : 'little',
    at,
    count: product(dimensions),
    shape: dimensions,
  })
}

const product = (dimensions: readonly number[]): number => dimensions.reduce((all, n) => all * n, 1)

function checked(lens: string, tensor: Tensor): Tensor {
  const { over, at, count, of } = tensor
  if (!Number.isSafeInteger(count) || at + count * storedBytes[of] > over.size)
    throw new LensError('corrupt', lens, `the file ends before the array's ${count} elements do`, over.size)
  return tensor
}

const quoted = (names: readonly string[]): string => {
  const shown = names
    .slice(0, 50)
    .map(name => JSON.stringify(name))
    .join(', ')
  return names.length > 50 ? `${shown} and ${names.length - 50} more` : shown
}

function npzTensor(lens: string, backing: Backing, wanted: string): Tensor {
  const found = [...zipMembers(backing)].filter(member => member.name.endsWith('.npy'))
  const member = found.find(({ name }) => name === `${wanted}.npy`)
  if (!member) {
    const names = found.map(each => each.name.slice(0, -4))
    if (names.length === 0) throw new LensError('corrupt', lens, 'this is no .npz file with arrays in it', 0)
    throw new LensError(
      'range',
      lens,
      `there is no array ${JSON.stringify(wanted)}; there are ${quoted(names)}`,
    )
  }
  const inner = rangeNamed(member.lens) ?? inflatedNamed(member.lens)
  if (!inner)
    throw new LensError('unsupported', lens, `${member.name} is compressed in a way that is not read`)
  return npyTensor(lens, through(backing, inner))
}

const SAFE_TYPES: Readonly<Record<string, StoredType>> = {
  BOOL: 'u8',
  U8: 'u8',
  I8: 'i8',
  U16: 'u16',
  I16: 'i16',
  U32: 'u32',
  I32: 'i32',
  U64: 'u64',
  I64: 'i64',
  F16: 'f16',
  BF16: 'bf16',
  F32: 'f32',
  F64: 'f64',
}

interface SafeEntry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [number, number]
}

function isEntry(value: unknown): value is SafeEntry {
  if (typeof value !== 'object' || value === null) return false
  const { dtype, shape, data_offsets } = value as Partial<Record<keyof SafeEntry, unknown>>
  const counts = (list: unknown): boolean =>
    Array.isArray(list) && list.every(n => Number.isSafeInteger(n) && n >= 0)
  return (
    typeof dtype === 'string' &&
    counts(shape) &&
    counts(data_offsets) &&
    (data_offsets as readonly number[]).length === 2
  )
}

function safeTensor(lens: string, over: Backing, wanted: string): Tensor {
  const length = Number(bytesAt(lens, over, 0, 8).readBigUInt64LE())
  if (length > MOST_HEADER || length + 8 > over.size)
    throw new LensError('corrupt', lens, 'this is no safetensors file: its header is too long', 0)
  let header: unknown
  try {
    header = JSON.parse(bytesAt(lens, over, 8, length).toString('utf8'))
  } catch (error) {
    throw new LensError('corrupt', lens, 'this is no safetensors file: its header is no JSON', 8, error)
  }
  const entries = new Map<string, unknown>(Object.entries(header as object))
  entries.delete('__metadata__')
  const entry = entries.get(wanted)
  if (entry === undefined)
    throw new LensError(
      'range',
      lens,
      `there is no tensor ${JSON.stringify(wanted)}; there are ${quoted([...entries.keys()])}`,
    )
  if (!isEntry(entry))
    throw new LensError('corrupt', lens, `the header says nothing good of ${JSON.stringify(wanted)}`, 8)
  const of = SAFE_TYPES[entry.dtype]
  if (!of)
    throw new LensError(
      'unsupported',
      lens,
      `${JSON.stringify(wanted)} holds ${entry.dtype}, which is not read`,
    )
  const [from, to] = entry.data_offsets
  const count = product(entry.shape)
  if (to - from !== count * storedBytes[of])
    throw new LensError(
      'corrupt',
      lens,
      `${JSON.stringify(wanted)} has ${to - from} bytes for ${count} elements`,
      8,
    )
  return checked(lens, { over, of, order: 'little', at: 8 + length + from, count, shape: entry.shape })
}

export interface TensorOptions<T extends ElementType = ElementType> {
  readonly as: T
  /** Which array of the file; not for npy. */
  readonly name?: string
}

/** Where the array of a lens 'npy?…', 'npz?…' or 'safetensors?…' lies. */
export function findTensor(lens: string, format: TensorFormat, backing: Backing, name: string): Tensor {
  if (format === 'npy') return npyTensor(lens, backing)
  return format === 'npz' ? npzTensor(lens, backing, name) : safeTensor(lens, backing, name)
}

export function tensorLens<T extends ElementType>(
  format: TensorFormat,
  { as, name: member = '' }: TensorOptions<T>,
): TypedLens<T> {
  const name = `${format}?${new URLSearchParams({ as, ...(format === 'npy' ? {} : { name: member }) })}`
  const known = new WeakMap<Backing, { readonly tensor: Tensor; readonly codec: ArrayCodec }>()

  function of(backing: Backing): { readonly tensor: Tensor; readonly codec: ArrayCodec } {
    let found = known.get(backing)
    if (!found) {
      const tensor = findTensor(name, format, backing, member)
      found = { tensor, codec: arrayCodec(name, { of: tensor.of, as, order: tensor.order }) }
      known.set(backing, found)
    }
    return found
  }

  function put(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    const { tensor, codec } = of(backing)
    return codec.put(backing, tensor, at, bytes)
  }

  return {
    name,
    element: as,
    size(backing) {
      const { tensor, codec } = of(backing)
      return codec.size(tensor)
    },
    get(backing, at, out) {
      const { tensor, codec } = of(backing)
      codec.get(tensor.over, tensor, at, out)
    },
    // An archive holds a checksum of each member, which an edit would belie.
    ...(format === 'npz' ? {} : { put }),
    suits: backing => format === 'npy' && isNpy(backing),
  }
}

function isNpy(backing: Backing): boolean {
  const head = Buffer.alloc(6)
  return backing.read(0, head) === 6 && head.toString('latin1') === '\x93NUMPY'
}

export function tensorsNamed(name: string): Lens | undefined {
  const format = FORMATS.find(each => name.startsWith(`${each}?`))
  if (!format) return undefined
  const parameters = new URLSearchParams(name.slice(format.length + 1))
  const as = parameters.get('as') ?? ''
  if (!Object.hasOwn(elementBytes, as))
    throw new LensError('unsupported', name, `${as} is no type of numbers`)
  return tensorLens(format, { as: as as ElementType, name: parameters.get('name') ?? '' })
}
