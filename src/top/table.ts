/** The table of `lethe top`: rows in an order, filtered, as lines of a given width. Knows no terminal. */
import type { ProcessRow } from './processes.ts'

/** A process as it is shown. Bytes. */
export interface TopRow extends ProcessRow {
  /** Share of the anonymous memory, virtual memory included, that files explain; undefined: not sampled yet. */
  readonly explained: number | undefined
  readonly sampledPages: number
  readonly attached: boolean
  readonly virtual: number
  readonly refillsPerSecond: number
}

export const sorts = ['anonymous', 'explained', 'rss', 'virtual', 'refills', 'pid', 'command'] as const
export type Sort = (typeof sorts)[number]

export interface View {
  readonly sort: Sort
  readonly reverse: boolean
  /** Part of the command, the user or the number; '' for all. */
  readonly filter: string
}

const by: Readonly<Record<Sort, (a: TopRow, b: TopRow) => number>> = {
  anonymous: (a, b) => b.anonymous - a.anonymous,
  // Bytes, not shares: a small process of which all is explained is of no interest.
  explained: (a, b) => explainedBytes(b) - explainedBytes(a),
  rss: (a, b) => b.rss - a.rss,
  virtual: (a, b) => b.virtual - a.virtual,
  refills: (a, b) => b.refillsPerSecond - a.refillsPerSecond,
  pid: (a, b) => a.pid - b.pid,
  command: (a, b) => a.command.localeCompare(b.command),
}

const explainedBytes = (row: TopRow): number => (row.explained ?? 0) * (row.anonymous + row.virtual)

export function arrange(rows: readonly TopRow[], { sort, reverse, filter }: View): TopRow[] {
  const wanted = filter.toLowerCase()
  const shown = rows.filter(
    row =>
      wanted === '' ||
      row.command.toLowerCase().includes(wanted) ||
      row.user.toLowerCase().includes(wanted) ||
      String(row.pid) === wanted,
  )
  shown.sort((a, b) => by[sort](a, b) || a.pid - b.pid)
  return reverse ? shown.reverse() : shown
}

/** Five characters at most: 1.2G. */
export function size(bytes: number): string {
  const names = ['B', 'K', 'M', 'G', 'T']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < names.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)}${names[unit]}`
}

interface Column {
  readonly title: string
  readonly width: number
  readonly sort: Sort | undefined
  readonly text: (row: TopRow) => string
}

const columns: readonly Column[] = [
  { title: 'PID', width: 7, sort: 'pid', text: row => String(row.pid) },
  { title: 'USER', width: -9, sort: undefined, text: row => row.user },
  { title: 'RES', width: 6, sort: 'rss', text: row => size(row.rss) },
  { title: 'ANON', width: 6, sort: 'anonymous', text: row => size(row.anonymous) },
  {
    title: 'EXPL',
    width: 6,
    sort: 'explained',
    text: row => (row.explained === undefined ? '·' : `${Math.round(row.explained * 100)}%`),
  },
  { title: 'VIRT', width: 6, sort: 'virtual', text: row => (row.attached ? size(row.virtual) : '') },
  {
    title: 'REF/s',
    width: 7,
    sort: 'refills',
    text: row => (row.attached ? rate(row.refillsPerSecond) : ''),
  },
]

const rate = (number: number): string =>
  (number >= 9.95 || number === 0 ? Math.round(number) : number.toFixed(1)).toString()

function cell(text: string, width: number): string {
  const wide = Math.abs(width)
  const cut = text.length > wide ? `${text.slice(0, wide - 1)}+` : text
  return width < 0 ? cut.padEnd(wide) : cut.padStart(wide)
}

/** What a terminal would take for a command to itself is shown as '?'. */
const plain = (text: string): string => text.replaceAll(/\p{C}/gu, '?')

/** The head line; the column that is sorted by is marked. */
export function headLine({ sort, reverse }: View, width: number): string {
  const titles = columns.map(({ title, width: wide, sort: own }) =>
    cell(own === sort ? `${title}${reverse ? '▴' : '▾'}` : title, wide),
  )
  return [...titles, sort === 'command' ? `COMMAND${reverse ? '▴' : '▾'}` : 'COMMAND']
    .join(' ')
    .slice(0, width)
    .padEnd(width)
}

export function rowLine(row: TopRow, width: number): string {
  const cells = columns.map(({ width: wide, text }) => cell(plain(text(row)), wide))
  return [...cells, plain(row.command)].join(' ').slice(0, width)
}

/** What all of them are together. */
export function summaryLine(rows: readonly TopRow[], hidden: number, waiting: number): string {
  const sum = (of: (row: TopRow) => number): number => rows.reduce((total, row) => total + of(row), 0)
  const attached = rows.filter(row => row.attached)
  const parts = [
    `${rows.length} processes`,
    `${size(sum(row => row.anonymous))} anonymous`,
    `${size(sum(explainedBytes))} of it explained`,
  ]
  if (waiting > 0) parts.push(`${waiting} not sampled yet`)
  if (attached.length > 0) parts.push(`${attached.length} attached, ${size(sum(row => row.virtual))} virtual`)
  if (hidden > 0) parts.push(`${hidden} not ours to read`)
  return parts.join(' · ')
}
