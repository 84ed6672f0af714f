/** What kind of text holds the numbers: how fields are divided, where the first row begins. A pure function of the start of a backing. */
import type { Backing } from '../backing/backing.ts'

export interface TableKind {
  /** A byte; 32 is any run of blanks, JSON_TEXT is JSON. */
  readonly delimiter: number
  /** Byte at which the first row of values begins, behind a header. */
  readonly start: number
  /** Fields of the first rows; 0 for JSON. */
  readonly columns: number
  /** Columns that hold numbers in all of the first rows, and whether all of them are integers. */
  readonly numeric: readonly { readonly column: number; readonly integer: boolean }[]
}

export const JSON_TEXT = 0

const HEAD = 65_536
const ROWS = 50
const NUMBER = /^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$/
const NO_VALUE = /^(?:|[-+]?nan|[-+]?inf(?:inity)?|n\/?a|null|none)$/i

/** undefined: no table of numbers as far as one can see. */
export function sniff(backing: Backing): TableKind | undefined {
  const bytes = Buffer.alloc(Math.min(HEAD, backing.size))
  const text = bytes.subarray(0, backing.read(0, bytes)).toString('latin1')
  if (text.includes('\0')) return undefined
  const first = /[^\s\u00ef\u00bb\u00bf]/.exec(text)
  if (!first) return undefined
  if (first[0] === '[' || first[0] === '{')
    return /[0-9]/.test(text)
      ? { delimiter: JSON_TEXT, start: first.index, columns: 0, numeric: [] }
      : undefined
  return table(text, first.index, backing.size)
}

/** Brackets, and numbers and strings as a whole. */
const JSON_TOKEN = /[[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][-+.0-9eE]*/g

/**
 * How many numbers the rows of a JSON document have, if all of its numbers are in rows of so many, as far as its start shows: a
 * row is an array or an object with all that is in it, the smallest that will do. Undefined: they are not alike.
 */
export function rowOfJson(backing: Backing): number | undefined {
  const bytes = Buffer.alloc(Math.min(HEAD, backing.size))
  const text = bytes.subarray(0, backing.read(0, bytes)).toString('latin1')
  /** By depth: numbers that stand there; brackets with numbers that have ended, and how many those had in all, NaN: not all as many. */
  const direct = [0]
  const ended: number[] = []
  const rows: number[] = []
  const open: number[] = []
  for (const [token] of text.matchAll(JSON_TOKEN)) {
    const depth = open.length
    if (token === '[' || token === '{') direct[open.push(0)] ??= 0
    else if (token === ']' || token === '}') {
      const count = open.pop()
      if (count === undefined) return undefined
      if (depth > 1) open[depth - 2] = (open[depth - 2] ?? 0) + count
      if (count === 0) continue
      ended[depth] = (ended[depth] ?? 0) + 1
      rows[depth] = (rows[depth] ?? count) === count ? count : Number.NaN
    } else if (!token.startsWith('"')) {
      open[depth - 1] = (open[depth - 1] ?? 0) + 1
      direct[depth] = (direct[depth] ?? 0) + 1
    }
  }
  for (let depth = rows.length - 1; depth > 0; depth--) {
    const count = rows[depth] ?? Number.NaN
    if ((ended[depth] ?? 0) > 1 && count > 0 && direct.slice(0, depth).every(n => n === 0)) return count
  }
  return undefined
}

function table(text: string, from: number, size: number): TableKind | undefined {
  const rows: { readonly at: number; readonly line: string }[] = []
  for (let at = from; at < text.length && rows.length < ROWS; ) {
    const end = endOfRow(text, at)
    if (end < 0 && text.length < size && rows.length > 0) break // cut off
    const line = text.slice(at, end < 0 ? text.length : end)
    if (line.trim() !== '' && !line.startsWith('#')) rows.push({ at, line })
    if (end < 0) break
    at = end + 1
  }
  const [head] = rows
  if (!head) return undefined
  const delimiter = delimiterOf(rows.map(row => row.line))
  const fields = rows.map(row => split(row.line, delimiter))
  const hasHeader = rows.length > 1 && !(fields[0] ?? []).some(field => NUMBER.test(field))
  const start = hasHeader ? (rows[1]?.at ?? 0) : head.at
  const body = hasHeader ? fields.slice(1) : fields
  const columns = body.reduce((most, row) => Math.max(most, row.length), 0)
  const numeric: { column: number; integer: boolean }[] = []
  for (let column = 0; column < columns; column++) {
    const values = body.map(row => row[column] ?? '')
    const numbers = values.filter(value => NUMBER.test(value))
    if (numbers.length === 0 || values.some(value => !NUMBER.test(value) && !NO_VALUE.test(value))) continue
    const integer = numbers.length === values.length && numbers.every(value => /^[-+]?[0-9]+$/.test(value))
    numeric.push({ column, integer })
  }
  return numeric.length === 0 ? undefined : { delimiter, start, columns, numeric }
}

/** The line end behind the row at `at`, not counting those in quotes; -1 if there is none. */
function endOfRow(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  for (let last = end; last >= 0; last = text.indexOf('\n', last + 1)) {
    const quotes = text.slice(at, last).split('"').length - 1
    if (quotes % 2 === 0) return last
    if (last - at > 8192) break // a quote that is no quoting
  }
  return end
}

/** The delimiter that divides the lines into the most alike number of fields. */
function delimiterOf(lines: readonly string[]): number {
  for (const delimiter of [9, 59, 44]) {
    const counts = lines.map(line => split(line, delimiter).length)
    const usual = counts.toSorted((a, b) => a - b)[counts.length >> 1] ?? 1
    if (usual > 1 && counts.filter(count => count === usual).length * 2 >= counts.length) return delimiter
  }
  return 32
}

function split(line: string, delimiter: number): string[] {
  if (delimiter === 32) return line.trim().split(/[ \t]+/)
  const character = String.fromCharCode(delimiter)
  const fields: string[] = []
  let field = ''
  let quoted = false
  for (const c of line) {
    if (c === '"') quoted = !quoted
    else if (c === character && !quoted) {
      fields.push(field.trim())
      field = ''
    } else field += c
  }
  return [...fields, field.trim()]
}
