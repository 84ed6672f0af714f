/**
 * Columns of tables of text: CSV (RFC 4180), TSV, and what blanks divide, as numbers.
 *
 *   csv?as=f64&column=price              one value a row
 *   csv?as=f32&index=0&index=2           rows of values, row after row; without column and index: all columns
 *
 * A field is what csv-parse makes of it, its value what Number() says (correctly rounded; f32 rounds that once more), also inf,
 * infinity and nan in any case. Fields that are empty or no such number are missing: NaN, a value that the lens names,
 * or an error. Integers that don't fit their type are missing too. Empty lines are no rows. src/lens/csv-syntax.ts has the
 * parameters, src/lens/row-index.ts says how a row is found.
 *
 * The first values need no more than the first rows: get and extent go through the table only as far as they must;
 * size goes to the end.
 */
import { type CsvOptions, csvName, csvOptions, readTable } from './csv-syntax.ts'
import type { TypedLens } from './element.ts'
import type { Lens } from './lens.ts'
import { numberText } from './number-text.ts'
import { type Fields, tableLens, type TableType } from './table-lens.ts'

/** Where a field that begins at `at` ends, without its quotes. */
function extent(
  input: Uint8Array,
  at: number,
  limit: number,
  { syntax: { delimiter, quote } }: Fields,
): { readonly from: number; readonly to: number } {
  let from = at
  if (quote !== undefined && input[from] === quote)
    for (let to = ++from; to < limit; to++)
      if (input[to] === quote) {
        if (input[to + 1] !== quote) return { from, to }
        to++
      }
  const ends = (byte: number | undefined): boolean =>
    byte === delimiter || byte === 10 || (delimiter === 32 && byte === 9)
  let to = from
  while (to < limit && !ends(input[to])) to++
  if (to > from && input[to - 1] === 13) to--
  return { from, to }
}

export function csvLens<T extends TableType>(options: CsvOptions & { readonly as: T }): TypedLens<T> {
  const name = csvName(options)
  const { as, missing } = options
  return tableLens({
    name,
    as,
    missing,
    extent,
    fields: backing => readTable(name, options, backing),
    write: (value, room) => numberText(value, room, as),
  })
}

export function csvNamed(name: string): Lens | undefined {
  const options = csvOptions(name)
  return options && csvLens(options)
}
