/**
 * Fields of JSON lines as numbers.
 *
 *   ndjson?as=f64&key=price               one value a line: that of the key of the line's object
 *   ndjson?as=i64&key=user&key=id         of the object in it
 *
 * Every line that is not empty is a row. A field that is not there, null, a string or too large for its integer type is
 * missing: NaN, a value that the lens names, or an error. Only as much of a line is looked at as it takes to find the field,
 * so that what else is wrong with it is not seen. A key is compared as text: one written with escapes (\u0061) is another.
 */
import type { Backing } from '../backing/backing.ts'
import { MOST_PATH } from '../kernels/table.ts'
import type { TypedLens } from './element.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'
import { jsonText } from './number-text.ts'
import { TABLE_TYPES, tableLens, type TableType } from './table-lens.ts'

/** A delimiter that divides nothing. */
const LINES = { delimiter: 257, quote: undefined, comment: undefined, fields: 0 }

export interface NdjsonOptions<T extends TableType = TableType> {
  readonly as: T
  /** Keys from the outermost object inwards. */
  readonly path: readonly string[]
  readonly missing?: number | bigint | 'error'
}

const ends = (byte: number | undefined): boolean =>
  byte === undefined || byte === 44 || byte === 125 || byte === 93 || byte <= 32

function extent(
  input: Uint8Array,
  at: number,
  limit: number,
): { readonly from: number; readonly to: number } | undefined {
  // Over a string, an object or an array no number is written.
  if ([34, 91, 123].includes(input[at] ?? 0)) return undefined
  let to = at
  while (to < limit && !ends(input[to])) to++
  return { from: at, to }
}

/** Bytes of a byte order mark. */
function mark(backing: Backing): number {
  const head = Buffer.alloc(3)
  return backing.read(0, head) === 3 && head.toString('hex') === 'efbbbf' ? 3 : 0
}

export function ndjsonLens<T extends TableType>({ as, path, missing }: NdjsonOptions<T>): TypedLens<T> {
  const usual = as.startsWith('f') ? Number.NaN : 'error'
  const parameters = new URLSearchParams({ as })
  for (const key of path) parameters.append('key', key)
  if (missing !== undefined && !Object.is(missing, usual)) parameters.append('missing', String(missing))
  const name = `ndjson?${parameters}`
  const keys = path.map(key => JSON.stringify(key))
  if (path.length === 0 || Buffer.byteLength(keys.join(' ')) + 2 > MOST_PATH || path.includes('\0'))
    throw new LensError('range', name, 'a field is one key, or a path of several')
  return tableLens({
    name,
    as,
    missing: missing ?? usual,
    extent,
    fields: backing => ({ syntax: LINES, columns: [0], names: [keys.join('.')], start: mark(backing), path }),
    write: (value, room) => jsonText(value, room, as),
  })
}

export function ndjsonNamed(name: string): Lens | undefined {
  if (!name.startsWith('ndjson?')) return undefined
  const parameters = new URLSearchParams(name.slice(7))
  const as = TABLE_TYPES.find(type => type === parameters.get('as'))
  if (!as) throw new LensError('range', name, `as is one of ${TABLE_TYPES.join(', ')}`)
  const missing = parameters.get('missing')
  return ndjsonLens({
    as,
    path: parameters.getAll('key'),
    ...(missing === null
      ? {}
      : { missing: missing === 'error' ? missing : as === 'i64' ? BigInt(missing) : Number(missing) }),
  })
}
