/** Columns of files of columns, as names of lenses: what programs that read Parquet, Arrow and HDF5 hold in memory. */
import type { Backing } from '../backing/backing.ts'
import { arrowColumns, arrowLens } from './arrow.ts'
import { type StoredType, typesFor } from './arrays.ts'
import type { ElementType } from './element.ts'
import { hdf5Columns, hdf5Lens } from './hdf5.ts'
import { parquetColumns, parquetLens } from './parquet.ts'

interface Column {
  readonly column: readonly string[]
  readonly of: StoredType
  /** Stored integers that mean something else: decimals. */
  readonly scaled?: boolean
}

/**
 * The types that programs give a column: its own; and, as pandas does where integers are null, f64. Floats of 32 bits are
 * computed with as they are.
 */
function typesOf({ of, scaled }: Column): ElementType[] {
  const own = typesFor(of)[0] ?? 'f64'
  if (scaled || of === 'f64') return ['f64']
  return own === 'f32' ? ['f32'] : [own, 'f64']
}

/** Names of lenses over a file, those of its first columns first; `most` columns at most. */
export function columnLenses(backing: Backing, most = 64): string[] {
  const names = (columns: readonly Column[], lens: typeof parquetLens | typeof arrowLens): string[] =>
    columns
      .slice(0, most)
      .flatMap(each =>
        typesOf(each).map(
          as => lens({ as, column: each.column, ...(as.startsWith('f') ? {} : { missing: 0 }) }).name,
        ),
      )
  const chunked = hdf5Columns(backing)
    .slice(0, most)
    .flatMap(({ dataset, of }) =>
      typesFor(of)
        .slice(0, 1)
        .map(as => hdf5Lens({ as, dataset }).name),
    )
  return [
    ...names(parquetColumns(backing), parquetLens),
    ...names(arrowColumns(backing), arrowLens),
    ...chunked,
  ]
}
