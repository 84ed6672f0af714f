// What a bench says: tables, each with its notes, and the goals of the project that it measured.

export type Cell = string | number

export interface Table {
  readonly title: string
  /** Column names with their units. */
  readonly head: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
  readonly notes?: readonly string[]
  readonly goals?: readonly Goal[]
}

export interface Goal {
  readonly what: string
  readonly goal: string
  readonly measured: string
  readonly met: boolean
}

/** Three significant digits, never an exponent. */
export function show(cell: Cell): string {
  if (typeof cell === 'string') return cell
  if (!Number.isFinite(cell)) return '-'
  const size = Math.abs(cell)
  return cell.toFixed(Number.isInteger(cell) || size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

/** A goal of the form "at most". */
export function atMost(what: string, limit: number, measured: number, unit: string): Goal {
  return {
    what,
    goal: `≤ ${limit} ${unit}`,
    measured: `${show(measured)} ${unit}`,
    met: measured <= limit,
  }
}

/** A goal of the form "at least". */
export function atLeast(what: string, limit: number, measured: number, unit: string): Goal {
  return {
    what,
    goal: `≥ ${limit} ${unit}`,
    measured: `${show(measured)} ${unit}`,
    met: measured >= limit,
  }
}

/** The table as Markdown that also reads well in a terminal. */
export function markdown(table: Table): string {
  const rows = [table.head, ...table.rows.map(row => row.map(show))]
  const widths = table.head.map((_, i) => Math.max(...rows.map(row => (row[i] ?? '').length), 3))
  const left = table.head.map((_, i) => table.rows.every(row => typeof row[i] === 'string'))
  const line = (row: readonly string[]): string =>
    `| ${widths.map((w, i) => (left[i] ? (row[i] ?? '').padEnd(w) : (row[i] ?? '').padStart(w))).join(' | ')} |`
  const rule = `| ${widths.map((w, i) => (left[i] ? '-'.repeat(w) : `${'-'.repeat(w - 1)}:`)).join(' | ')} |`
  const [head = [], ...body] = rows
  return [
    `### ${table.title}`,
    '',
    line(head),
    rule,
    ...body.map(line),
    ...(table.notes ?? []).flatMap((note, i) => (i === 0 ? ['', note] : [note])),
    ...(table.goals ?? []).flatMap((goal, i) => [
      ...(i === 0 ? [''] : []),
      `- ${goal.met ? 'met' : 'MISSED'}: ${goal.what}: ${goal.measured} (goal ${goal.goal})`,
    ]),
    '',
  ].join('\n')
}
