/**
 * Your own lens: pure functions in TypeScript.
 *
 *   lens({
 *     size: source => source.size,
 *     get(source, at, out, { key }) {
 *       out.set(source.read(at, out.length))
 *       for (let i = 0; i < out.length; i++) out[i] ^= key
 *     },
 *     constants: { key: 42 },
 *   })
 *
 * The functions travel as source, in the lens's name, to the thread that serves page faults. So they see nothing but their
 * arguments and the language; src/lens/purity.ts checks that before anything is made, here and where they arrive.
 */
import { createHash } from 'node:crypto'
import type { Backing } from '../backing/backing.ts'
import { type ElementType, elementBytes, type TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import type { Edit, Lens } from './lens.ts'
import { expressionOf, impurityOf } from './purity.ts'
import type { Kind } from './scopes.ts'

/** The bytes below a lens of your own. */
export interface LensSource {
  /** In bytes. */
  readonly size: number
  /** A copy of the bytes from `offset` on; fewer than `length` at the end. */
  read(offset: number, length: number): Uint8Array
}

/** JSON: it travels as text. */
export type Constant =
  | string
  | number
  | boolean
  | null
  | readonly Constant[]
  | { readonly [key: string]: Constant }
export type Constants = Readonly<Record<string, Constant>>

export interface OwnLens<T extends ElementType = ElementType, C extends Constants = Constants> {
  /** What the bytes are; bytes if not given. */
  readonly as?: T
  /** What the functions need besides their arguments; their last argument, frozen. */
  readonly constants?: C
  /** Bytes of memory that the lens makes. */
  size(source: LensSource, constants: C): number
  /** Fills `out`, which holds zeros and lies within the size, with the bytes from `at` on. */
  get(source: LensSource, at: number, out: Uint8Array, constants: C): void
  /** The edits after which get(at) gives `bytes`. */
  put?(source: LensSource, at: number, bytes: Uint8Array, constants: C): readonly Edit[]
}

const PARAMETERS: Readonly<Record<'size' | 'get' | 'put', readonly Kind[]>> = {
  size: ['source', 'constants'],
  get: ['source', 'number', 'bytes', 'constants'],
  put: ['source', 'number', 'bytes', 'constants'],
}

interface Sources {
  readonly as: ElementType
  readonly constants: Constants
  readonly size: string
  readonly get: string
  readonly put?: string
}

/** Makes a function of checked source. */
function compile(source: string): unknown {
  // oxlint-disable-next-line no-implied-eval, no-new-func -- this is what the check of purity is for
  return new Function(`"use strict"; const __name = each => each; return ${expressionOf(source)}`)()
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) freeze(each)
  return Object.freeze(value)
}

function check(label: string, role: keyof typeof PARAMETERS, source: string): void {
  const impurity = impurityOf(source, PARAMETERS[role])
  if (!impurity) return
  const { line, reason, code } = impurity
  throw new LensError('impure', label, `${role}, line ${line}: ${reason} (${code})`)
}

/** LensError 'impure' if a function could give something else another time: with the line and the reason. */
export function ownLens<T extends ElementType = 'u8', C extends Constants = Constants>(
  own: OwnLens<T, C>,
): TypedLens<T> {
  const sources: Sources = {
    as: own.as ?? 'u8',
    constants: own.constants ?? {},
    size: String(own.size),
    get: String(own.get),
    ...(own.put ? { put: String(own.put) } : {}),
  }
  return assembled(`own?${encodeURIComponent(JSON.stringify(sources))}`, sources) as TypedLens<T>
}

function assembled(name: string, sources: Sources): Lens {
  const label = `own lens ${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
  for (const role of ['size', 'get', 'put'] as const)
    if (sources[role] !== undefined) check(label, role, sources[role])
  const constants = freeze(structuredClone(sources.constants))
  const size = compile(sources.size) as OwnLens['size']
  const get = compile(sources.get) as OwnLens['get']
  const put = sources.put === undefined ? undefined : (compile(sources.put) as NonNullable<OwnLens['put']>)
  const known = new WeakMap<Backing, { readonly source: LensSource; readonly size: number }>()

  function attempt<R>(what: string, action: () => R): R {
    try {
      return action()
    } catch (error) {
      if (error instanceof LensError) throw error
      const message = error instanceof Error ? error.message : String(error)
      throw new LensError('corrupt', label, `${what} failed: ${message}`, undefined, error)
    }
  }

  function sourceOf(backing: Backing): LensSource {
    return Object.freeze({
      size: backing.size,
      read(offset: number, length: number): Uint8Array {
        if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0)
          throw new LensError('range', label, `it reads ${length} bytes at ${offset}`)
        const bytes = new Uint8Array(Math.max(0, Math.min(length, backing.size - offset)))
        return bytes.length === 0 ? bytes : bytes.subarray(0, backing.read(offset, bytes))
      },
    })
  }

  function of(backing: Backing): { readonly source: LensSource; readonly size: number } {
    let found = known.get(backing)
    if (!found) {
      const source = sourceOf(backing)
      const bytes = attempt('size', () => size(source, constants))
      if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes % elementBytes[sources.as] !== 0)
        throw new LensError(
          'range',
          label,
          `size gave ${bytes}, which is no number of bytes of ${sources.as}`,
        )
      found = { source, size: bytes }
      known.set(backing, found)
    }
    return found
  }

  function doPut(backing: Backing, at: number, bytes: Uint8Array): Edit[] {
    const { source, size: total } = of(backing)
    if (at < 0 || at + bytes.length > total)
      throw new RangeError(`Invalid put of ${bytes.length} bytes at ${at} in memory of ${total} bytes`)
    return attempt('put', () => [...(put?.(source, at, bytes.slice(), constants) ?? [])])
  }

  return {
    name,
    element: sources.as,
    size: backing => of(backing).size,
    get(backing, at, out) {
      const { source, size: total } = of(backing)
      const wanted = Math.max(0, Math.min(out.length, total - at))
      out.fill(0)
      if (wanted > 0)
        attempt('get', () =>
          get(source, at, wanted === out.length ? out : out.subarray(0, wanted), constants),
        )
    },
    ...(put ? { put: doPut } : {}),
  }
}

export function ownNamed(name: string): Lens | undefined {
  if (!name.startsWith('own?')) return undefined
  let sources: Partial<Sources>
  try {
    sources = JSON.parse(decodeURIComponent(name.slice(4))) as Partial<Sources>
  } catch (error) {
    throw new LensError('unsupported', 'own lens', 'its name is damaged', undefined, error)
  }
  const { as, constants, size, get, put } = sources
  if (as === undefined || !constants || typeof size !== 'string' || typeof get !== 'string')
    throw new LensError('unsupported', 'own lens', 'its name is damaged')
  return assembled(name, { as, constants, size, get, ...(put === undefined ? {} : { put }) })
}
