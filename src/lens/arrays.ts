/**
 * Arrays of numbers of one type somewhere in a backing, as numbers of another: the elements that a program wants of what a
 * format holds. Both directions, any place, either byte order.
 *
 *   array?of=f16&as=f32                        all of the backing
 *   array?of=i16&as=f64&order=big&at=44&count=1000
 *   array?of=u8&as=f32&over=255                x × scale / over + add, in double precision, then rounded to the type
 *
 * Conversions: to the same type; integers to wider ones and to f32 and f64 (64 bits: only to f64, rounded); f16 and bf16 to f32
 * and f64; f32 to f64 and back (rounded). `put` refuses a value that the backing's type can't hold exactly.
 *
 * src/lens/elements.ts has the same conversions for the search of memory, where a name has a phase and no end.
 */
import type { Backing } from '../backing/backing.ts'
import {
  type ElementKernel,
  elementKernels,
  ROOM,
  type Source,
  type Step,
  sources,
  type Target,
  targets,
} from '../kernels/elements.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import type { Edit, Lens } from './lens.ts'

/** Types that files hold. */
export type StoredType = ElementType | 'f16' | 'bf16'
export const storedBytes: Readonly<Record<StoredType, number>> = { ...elementBytes, f16: 2, bf16: 2 }

export interface ArrayOptions<T extends ElementType = ElementType> {
  readonly of: StoredType
  readonly as: T
  readonly order?: 'little' | 'big'
  /** Offset of the first element, and how many there are; up to the end of the backing if not given. */
  readonly at?: number
  readonly count?: number
  readonly scale?: number
  readonly over?: number
  readonly add?: number
}

const INTEGERS = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64'] as const
const WIDER: Readonly<Record<string, readonly ElementType[]>> = {
  u8: ['u16', 'i16', 'u32', 'i32', 'u64', 'i64'],
  i8: ['i16', 'i32', 'i64'],
  u16: ['u32', 'i32', 'u64', 'i64'],
  i16: ['i32', 'i64'],
  u32: ['u64', 'i64'],
  i32: ['i64'],
}

/** Types as which numbers of a type can be had. */
export function typesFor(of: StoredType): readonly ElementType[] {
  const wide = of === 'u64' || of === 'i64'
  const same = of === 'f16' || of === 'bf16' ? [] : [of]
  const floats: readonly ElementType[] = wide ? ['f64'] : ['f32', 'f64']
  return [...new Set([...same, ...(WIDER[of] ?? []), ...floats])]
}

/** Elements that are made at once: the steps of the kernel round up to sixteen. */
const MOST = Math.floor((ROOM - 512) / 8)

interface Conversion {
  /** Bytes of an element. */
  readonly from: number
  readonly to: number
  /** Makes `n` elements in the kernel's output of those in its input. */
  readonly forward: (kernel: ElementKernel, n: number) => void
  /** The way back; whether forward then gives the first `n` elements again. */
  readonly back: (kernel: ElementKernel, n: number) => boolean
}

function stepOf(source: Source, target: Target): { readonly forward: Step; readonly back: Step } {
  const [from, to] = [sources[source].number, targets[target].number]
  return {
    forward: (wasm, at, n, out) => wasm.convert(from, to, at, n, out),
    back: (wasm, at, n, out) => wasm.candidates(from, to, at, n, out),
  }
}

/** From one type to another, without order or scale. */
function plain(of: StoredType, as: ElementType): Conversion {
  const from = storedBytes[of]
  const to = elementBytes[as]
  if (of === as)
    return {
      from,
      to,
      forward: (kernel, n) => kernel.output.set(kernel.input.subarray(0, n * from)),
      back(kernel, n) {
        kernel.input.set(kernel.output.subarray(0, n * from))
        return true
      },
    }
  if (of === 'u64' || of === 'i64') return wideIntegers(of === 'i64')
  // Unsigned targets differ from signed ones in nothing that the kernel sees.
  const { forward, back } = stepOf(of, as as Target)
  return {
    from,
    to,
    forward: (kernel, n) => kernel.forward(forward, n),
    back: (kernel, n) => kernel.backward(back, forward, n, n * to),
  }
}

/** 64-bit integers to f64: the high half is exact, so that adding the low one rounds once. */
function wideIntegers(signed: boolean): Conversion {
  function value(view: DataView, at: number): number {
    const high = signed ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true)
    return high * 2 ** 32 + view.getUint32(at, true)
  }
  return {
    from: 8,
    to: 8,
    forward({ input, output }, n) {
      const [from, to] = [viewOf(input), viewOf(output)]
      for (let i = 0; i < n; i++) to.setFloat64(i * 8, value(from, i * 8), true)
    },
    back({ input, output }, n) {
      const [from, to] = [viewOf(output), viewOf(input)]
      const low = signed ? -(2 ** 63) : 0
      for (let i = 0; i < n; i++) {
        const wanted = from.getFloat64(i * 8, true)
        if (!Number.isInteger(wanted) || Object.is(wanted, -0) || wanted < low || wanted >= low + 2 ** 64)
          return false
        to.setBigUint64(i * 8, BigInt.asUintN(64, BigInt(wanted)), true)
      }
      return true
    },
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** x × scale / over + add of what `inner` makes doubles of. */
function scaled(
  inner: Conversion,
  of: StoredType,
  as: 'f32' | 'f64',
  { scale, over, add }: Factors,
): Conversion {
  const to = elementBytes[as]
  const rounds = INTEGERS.some(type => type === of)
  function forward(kernel: ElementKernel, n: number): void {
    inner.forward(kernel, n)
    const { output } = kernel
    const doubles = new Float64Array(output.buffer, output.byteOffset, n)
    if (as === 'f64') for (let i = 0; i < n; i++) doubles[i] = ((doubles[i] as number) * scale) / over + add
    else {
      // A single lies before the doubles that are still to be read, or in the place of its own.
      const singles = new Float32Array(output.buffer, output.byteOffset, n)
      for (let i = 0; i < n; i++) singles[i] = ((doubles[i] as number) * scale) / over + add
    }
  }
  return {
    from: inner.from,
    to,
    forward,
    back(kernel, n) {
      const wanted = kernel.output.slice(0, n * to)
      const from = viewOf(wanted)
      const doubles = new DataView(kernel.output.buffer, kernel.output.byteOffset)
      for (let i = 0; i < n; i++) {
        const value = as === 'f64' ? from.getFloat64(i * 8, true) : from.getFloat32(i * 4, true)
        const x = ((value - add) * over) / scale
        doubles.setFloat64(i * 8, rounds ? Math.round(x) : x, true)
      }
      if (!inner.back(kernel, n)) return false
      forward(kernel, n)
      return Buffer.compare(kernel.output.subarray(0, n * to), wanted) === 0
    },
  }
}

interface Factors {
  readonly scale: number
  readonly over: number
  readonly add: number
}

function conversion({ of, as, scale = 1, over = 1, add = 0 }: ArrayOptions): Conversion {
  if (scale === 1 && over === 1 && add === 0) return plain(of, as)
  return scaled(plain(of, 'f64'), of, as as 'f32' | 'f64', { scale, over, add })
}

/** A run of elements in a backing. `count` elements from offset `at` on. */
export interface Place {
  readonly at: number
  readonly count: number
}

/** What get, put and size of an array need, wherever it lies. */
export interface ArrayCodec {
  size(place: Place): number
  get(backing: Backing, place: Place, at: number, out: Uint8Array): void
  put(backing: Backing, place: Place, at: number, bytes: Uint8Array): Edit[]
}

/** LensError 'unsupported' if there is no such conversion; `lens` is the name in errors. */
export function arrayCodec(lens: string, options: ArrayOptions): ArrayCodec {
  const { of, as, order = 'little' } = options
  if (!typesFor(of).includes(as))
    throw new LensError('unsupported', lens, `${of} can be had as ${typesFor(of).join(', ')}, not as ${as}`)
  const scales = [options.scale ?? 1, options.over ?? 1, options.add ?? 0].some(
    (n, i) => n !== (i < 2 ? 1 : 0),
  )
  if (scales && as !== 'f32' && as !== 'f64')
    throw new LensError('unsupported', lens, `scaled numbers are f32 or f64, not ${as}`)
  const { from, to, forward, back } = conversion(options)
  const swaps = order === 'big' && from > 1
  const direct = of === as && !swaps && !scales

  function swap(bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    if (from === 2) buffer.swap16()
    else if (from === 4) buffer.swap32()
    else buffer.swap64()
  }

  function read(backing: Backing, offset: number, into: Uint8Array): void {
    const got = backing.read(offset, into)
    if (got < into.length)
      throw new LensError(
        'io',
        lens,
        `the backing gave ${got} of ${into.length} bytes; look at it again`,
        offset,
      )
  }

  const size = ({ count }: Place): number => count * to

  function get(backing: Backing, place: Place, at: number, out: Uint8Array): void {
    if (!Number.isSafeInteger(at) || at < 0) throw new LensError('range', lens, `invalid position ${at}`)
    const wanted = Math.max(0, Math.min(out.length, size(place) - at))
    if (wanted < out.length) out.fill(0, wanted)
    if (wanted === 0) return
    if (direct) return read(backing, place.at + at, wanted === out.length ? out : out.subarray(0, wanted))
    let index = Math.floor(at / to)
    let skip = at - index * to
    const kernel = elementKernels.take()
    try {
      for (let done = 0; done < wanted; skip = 0) {
        const n = Math.min(MOST, Math.ceil((skip + wanted - done) / to))
        const bytes = kernel.input.subarray(0, n * from)
        read(backing, place.at + index * from, bytes)
        if (swaps) swap(bytes)
        forward(kernel, n)
        const part = Math.min(wanted - done, n * to - skip)
        out.set(kernel.output.subarray(skip, skip + part), done)
        done += part
        index += n
      }
    } finally {
      elementKernels.give(kernel)
    }
  }

  /** What the backing must hold for n elements, from `first` on for errors. */
  function encode(elements: Uint8Array, first: number): Uint8Array {
    const n = elements.length / to
    const made = new Uint8Array(n * from)
    const kernel = elementKernels.take()
    try {
      for (let done = 0; done < n; ) {
        const part = Math.min(MOST, n - done)
        kernel.output.set(elements.subarray(done * to, (done + part) * to))
        if (!back(kernel, part)) {
          if (part === 1)
            throw new LensError(
              'range',
              lens,
              `element ${first + done} can't be written: no ${of} makes exactly this ${as}`,
            )
          // Which one it is.
          const half = part >> 1
          encode(elements.subarray(done * to, (done + half) * to), first + done)
          encode(elements.subarray((done + half) * to, (done + part) * to), first + done + half)
        }
        made.set(kernel.input.subarray(0, part * from), done * from)
        done += part
      }
    } finally {
      elementKernels.give(kernel)
    }
    if (swaps) swap(made)
    return made
  }

  function put(backing: Backing, place: Place, at: number, bytes: Uint8Array): Edit[] {
    if (at < 0 || at + bytes.length > size(place))
      throw new RangeError(`Invalid put of ${bytes.length} bytes at ${at} in memory of ${size(place)} bytes`)
    if (bytes.length === 0) return []
    if (direct) return [{ offset: place.at + at, bytes }]
    const first = Math.floor(at / to)
    const n = Math.ceil((at + bytes.length) / to) - first
    const before = new Uint8Array(n * to)
    get(backing, place, first * to, before)
    const after = before.slice()
    after.set(bytes, at - first * to)
    const same = (i: number): boolean =>
      Buffer.compare(before.subarray(i * to, (i + 1) * to), after.subarray(i * to, (i + 1) * to)) === 0
    const edits: Edit[] = []
    for (let i = 0; i < n; ) {
      if (same(i)) i++
      else {
        let end = i + 1
        while (end < n && !same(end)) end++
        const made = encode(after.subarray(i * to, end * to), first + i)
        edits.push({ offset: place.at + (first + i) * from, bytes: made })
        i = end
      }
    }
    return edits
  }

  return { size, get, put }
}

const KEYS = ['of', 'as', 'order', 'at', 'count', 'scale', 'over', 'add'] as const
const USUAL: Readonly<Record<string, string>> = { order: 'little', at: '0', scale: '1', over: '1', add: '0' }

export function arrayLens<T extends ElementType>(options: ArrayOptions<T>): TypedLens<T> {
  const parameters = new URLSearchParams()
  for (const key of KEYS) {
    const value = options[key]
    if (value !== undefined && String(value) !== USUAL[key]) parameters.append(key, String(value))
  }
  const name = `array?${parameters}`
  const { at = 0, count } = options
  for (const number of [at, count ?? 0])
    if (!Number.isSafeInteger(number) || number < 0)
      throw new LensError('range', name, `${number} is no offset and no count of elements`)
  const codec = arrayCodec(name, options)
  const width = storedBytes[options.of]

  function place(backing: Backing): Place {
    const there = Math.max(0, Math.floor((backing.size - at) / width))
    if (count !== undefined && count > there)
      throw new LensError('range', name, `the backing has ${there} elements from byte ${at} on, not ${count}`)
    return { at, count: count ?? there }
  }

  return {
    name,
    element: options.as,
    size: backing => codec.size(place(backing)),
    get: (backing, position, out) => codec.get(backing, place(backing), position, out),
    put: (backing, position, bytes) => codec.put(backing, place(backing), position, bytes),
  }
}

const isStored = (type: string | null): type is StoredType =>
  type !== null && Object.hasOwn(storedBytes, type)
const isElement = (type: string | null): type is ElementType =>
  type !== null && Object.hasOwn(elementBytes, type)

export function arrayNamed(name: string): Lens | undefined {
  if (!name.startsWith('array?')) return undefined
  const parameters = new URLSearchParams(name.slice(6))
  const of = parameters.get('of')
  const as = parameters.get('as')
  if (!isStored(of) || !isElement(as)) throw new LensError('unsupported', name, 'there are no such numbers')
  const numbers: Partial<Record<'at' | 'count' | 'scale' | 'over' | 'add', number>> = {}
  for (const key of ['at', 'count', 'scale', 'over', 'add'] as const) {
    const value = parameters.get(key)
    if (value !== null) numbers[key] = Number(value)
  }
  return arrayLens({ of, as, order: parameters.get('order') === 'big' ? 'big' : 'little', ...numbers })
}
