/**
 * What a table of text looks like: the parameters of a `csv` lens, its name, and what is read off the table's first row.
 *
 * 'csv?as=f64&column=price': the parameters are those of a URL, in the order of `csvName`, left out where they have
 * their usual value; so a name holds no '|'. `column` (a name) and `index` (from 0) may come several times.
 */
import type { Backing } from '../backing/backing.ts'
import { MOST_FIELDS } from '../kernels/table.ts'
import { LensError } from './errors.ts'
import { MOST_ROW } from './row-index.ts'
import { type Fields, TABLE_TYPES, type TableType } from './table-lens.ts'

export interface CsvOptions {
  readonly as: TableType
  /** Names or numbers (from 0) of columns, in the order in which a row of memory has them; none: all. */
  readonly columns: readonly (string | number)[]
  /** A character; ' ' is any run of blanks. */
  readonly delimiter: string
  /** '' if there is none. */
  readonly quote: string
  /** Lines that begin with it are not rows; '' if there are none. */
  readonly comment: string
  /** Whether the first row has the names; 'auto': it does if a wanted field of it is no number, or a name is asked for. */
  readonly header: boolean | 'auto'
  /** What stands for a field that is empty or no number of the type. An 'error' is found when the rows are first gone through. */
  readonly missing: number | bigint | 'error'
  /** A row that has another number of fields than the first is an error, or lacks values and has some too many. */
  readonly ragged: 'error' | 'missing'
}

/** NaN, where the type has one. */
export function csvDefaults(as: TableType): CsvOptions {
  return {
    as,
    columns: [],
    delimiter: ',',
    quote: '"',
    comment: '',
    header: 'auto',
    missing: as.startsWith('f') ? Number.NaN : 'error',
    ragged: 'error',
  }
}

const KEYS = ['delimiter', 'quote', 'comment', 'header', 'missing', 'ragged'] as const

export function csvName(options: CsvOptions): string {
  const usual = csvDefaults(options.as)
  const parameters = new URLSearchParams({ as: options.as })
  for (const column of options.columns)
    parameters.append(typeof column === 'number' ? 'index' : 'column', String(column))
  for (const key of KEYS)
    if (!Object.is(options[key], usual[key])) parameters.append(key, String(options[key]))
  return `csv?${parameters}`
}

function refuse(name: string, message: string): never {
  throw new LensError('range', name, message)
}

function missingOf(name: string, as: TableType, text: string): number | bigint | 'error' {
  if (text === 'error') return text
  if (as.startsWith('f')) return Number(text)
  if (!/^-?[0-9]{1,19}$/.test(text)) refuse(name, `${text} can't stand for a missing ${as}`)
  const value = BigInt(text)
  const bits = as === 'i64' ? 64 : 32
  if (BigInt.asIntN(bits, value) !== value) refuse(name, `${text} is no ${as}`)
  return as === 'i64' ? value : Number(value)
}

/** LensError 'range' for parameters that make no sense. undefined: not the name of such a lens. */
export function csvOptions(name: string): CsvOptions | undefined {
  if (!name.startsWith('csv?')) return undefined
  const parameters = new URLSearchParams(name.slice(4))
  const as = TABLE_TYPES.find(type => type === parameters.get('as'))
  if (!as) return refuse(name, `as is one of ${TABLE_TYPES.join(', ')}`)
  const usual = csvDefaults(as)
  const columns: (string | number)[] = []
  for (const [key, value] of parameters) {
    if (key === 'column') columns.push(value)
    else if (key === 'index') columns.push(Number(value))
  }
  const header = parameters.get('header') ?? 'auto'
  const missing = parameters.get('missing')
  const options: CsvOptions = {
    as,
    columns,
    delimiter: parameters.get('delimiter') ?? usual.delimiter,
    quote: parameters.get('quote') ?? usual.quote,
    comment: parameters.get('comment') ?? usual.comment,
    header: header === 'auto' ? header : header === 'true',
    missing: missing === null ? usual.missing : missingOf(name, as, missing),
    ragged: parameters.get('ragged') === 'missing' ? 'missing' : 'error',
  }
  check(name, options)
  return options
}

function check(name: string, { columns, delimiter, quote, comment }: CsvOptions): void {
  const signs = [delimiter, quote, comment].filter(sign => sign !== '')
  if (delimiter === '' || signs.some(sign => !/^[\t -~]$/.test(sign)) || new Set(signs).size < signs.length)
    refuse(name, 'delimiter, quote and comment are different ASCII characters')
  if (/[0-9.eE+-]/.test(signs.join(''))) refuse(name, 'what numbers are made of divides no fields')
  if (columns.some(column => typeof column === 'number' && !(column >= 0 && column < MOST_FIELDS)))
    refuse(name, `columns are numbered from 0 to ${MOST_FIELDS - 1}`)
  if (new Set(columns).size < columns.length) refuse(name, 'a column is named twice')
}

const byteOf = (sign: string): number | undefined => (sign === '' ? undefined : sign.charCodeAt(0))

/** The fields of the row at `at`, and what is behind it; undefined if it goes on behind the text. */
function firstRow(
  text: string,
  from: number,
  whole: boolean,
  { delimiter, quote, comment }: CsvOptions,
): { readonly fields: string[]; readonly end: number } | undefined {
  let at = from
  // Empty lines and comments.
  for (;;) {
    const line = text.indexOf('\n', at)
    const empty =
      /^\r?\n/.test(text.slice(at, at + 2)) ||
      (delimiter === ' ' && /^[ \t\r]*\n/.test(text.slice(at, line + 1)))
    if (!empty && !(comment !== '' && text[at] === comment)) break
    if (line < 0) return whole ? { fields: [], end: text.length } : undefined
    at = line + 1
  }
  const fields: string[] = []
  let field = ''
  let quoted = false
  for (; at < text.length; at++) {
    const c = text[at]
    if (quoted) {
      if (c !== quote) field += c
      else if (text[at + 1] === quote) field += text[++at]
      else quoted = false
    } else if (c === quote && quote !== '') quoted = true
    else if (c === delimiter || (delimiter === ' ' && c === '\t')) {
      fields.push(field)
      field = ''
    } else if (c === '\n') break
    else field += c
  }
  if (at >= text.length && !whole) return undefined
  fields.push(field.replace(/\r$/, ''))
  return {
    fields: delimiter === ' ' ? fields.filter(each => each !== '') : fields,
    end: Math.min(at + 1, text.length),
  }
}

const isNumber = (field: string): boolean =>
  field.trim() !== '' && (!Number.isNaN(Number(field)) || /^\s*[-+]?(?:nan|inf(?:inity)?)\s*$/i.test(field))

/** Reads the first row. LensError: no such column (with those that there are), no rows, a row without end. */
export function readTable(name: string, options: CsvOptions, backing: Backing): Fields {
  for (let most = 2 ** 16; ; most *= 4) {
    const bytes = Buffer.alloc(most)
    const got = backing.read(0, bytes)
    // In Latin-1 a character is a byte, so that positions are offsets.
    const text = bytes.toString('latin1', 0, got)
    const bom = text.startsWith('\u00ef\u00bb\u00bf') ? 3 : 0
    const row = firstRow(text, bom, got < most, options)
    if (row) return tableOf(name, options, row, bom)
    if (most >= MOST_ROW)
      throw new LensError('corrupt', name, 'the first row has no end; is this a table of text?', 0)
  }
}

function tableOf(
  name: string,
  options: CsvOptions,
  { fields, end }: { readonly fields: string[]; readonly end: number },
  bom: number,
): Fields {
  const { columns, header, delimiter, quote, comment } = options
  const titles = fields.map(field => Buffer.from(field, 'latin1').toString('utf8'))
  const byName = columns.some(column => typeof column === 'string')
  const numbered = columns.filter(column => typeof column === 'number')
  const looked = columns.length === 0 ? fields : numbered.map(column => fields[column] ?? '')
  const isHeader =
    header === 'auto' ? byName || looked.some(field => field.trim() !== '' && !isNumber(field)) : header
  if (byName && !isHeader) refuse(name, 'without a header columns have no names; give their numbers, from 0')
  if (fields.length > MOST_FIELDS)
    refuse(name, `the table has ${fields.length} columns, more than ${MOST_FIELDS}`)
  const found = columns.map(column => {
    const number = typeof column === 'number' ? column : titles.indexOf(column)
    if (typeof column === 'string' && number >= 0 && titles.includes(column, number + 1))
      refuse(name, `several columns are called ${JSON.stringify(column)}; give the number of the one, from 0`)
    if (number >= 0 && number < Math.max(fields.length, 1)) return number
    return refuse(name, `there is no column ${JSON.stringify(column)}; ${describe(titles, isHeader)}`)
  })
  const wanted = columns.length === 0 ? fields.map((_, i) => i) : found
  return {
    syntax: {
      delimiter: delimiter.charCodeAt(0),
      quote: byteOf(quote),
      comment: byteOf(comment),
      fields: options.ragged === 'error' ? fields.length : 0,
    },
    columns: wanted,
    names: wanted.map(i => (isHeader && titles[i] ? JSON.stringify(titles[i]) : String(i))),
    start: isHeader ? end : bom,
  }
}

function describe(titles: readonly string[], isHeader: boolean): string {
  if (!isHeader) return `there are ${titles.length}, from 0 on`
  const shown = titles
    .slice(0, 50)
    .map(title => JSON.stringify(title))
    .join(', ')
  return `the columns are ${shown}${titles.length > 50 ? ` and ${titles.length - 50} more` : ''}`
}
