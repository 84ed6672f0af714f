/** An audit report for people: one screen, as wide as the terminal; colour only if asked for. */
import { styleText } from 'node:util'
import type { AuditReport, PageTally } from './audit.ts'
import type { Rest, Way } from './rest.ts'

const PAGE = 4096
const MOST_FILES = 8
const MOST_MAPPINGS = 10

export interface PrintOptions {
  /** Columns; default 80. */
  readonly width?: number
  readonly colour?: boolean
}

/** Bytes as people say them: 1.3 MB, in powers of ten. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

/** Keeps the end of a path: the file's name says most. */
function shorten(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(text.length - width + 1)}`
}

/** Beneath what is unexplained: what attach could still do with it. */
function formatRest({ pieces, packed }: Rest): string[] {
  const line = ({ pages, kept }: Way, text: string): string[] =>
    pages === 0
      ? []
      : [
          `${formatBytes(pages * PAGE).padStart(10)}           ${text}; about ${formatBytes(kept)} kept for it`,
        ]
  return [...line(pieces, 'of that from pieces of files'), ...line(packed, 'of that can be packed (--pack)')]
}

export function formatAudit(report: AuditReport, options: PrintOptions = {}): string {
  const width = Math.max(60, options.width ?? 80)
  const bold = (text: string): string =>
    options.colour ? styleText('bold', text, { validateStream: false }) : text
  const green = (text: string): string =>
    options.colour ? styleText('green', text, { validateStream: false }) : text
  const { totals } = report
  const lines: string[] = []

  lines.push(bold(shorten(`${report.pid}  ${report.command}`, width)))
  lines.push(`${formatBytes(totals.pages * PAGE)} of private anonymous memory:`)
  const parts: readonly (readonly [keyof PageTally, string])[] = [
    ['virtual', 'virtual: given back, made again on demand'],
    ['explained', 'explained: bytes of files, can be given back'],
    ['zero', 'zero: can be given back'],
    ['duplicate', 'duplicate: same as another page'],
    ['unexplained', 'unexplained'],
  ]
  for (const [key, text] of parts) {
    if (totals[key] === 0) continue
    const line = `${formatBytes(totals[key] * PAGE).padStart(10)} ${percent(totals[key], totals.pages).padStart(8)}  ${text}`
    lines.push(key === 'explained' || key === 'virtual' ? green(line) : line)
  }
  if (report.rest !== undefined) lines.push(...formatRest(report.rest))
  if (totals.unreadable > 0)
    lines.push(`${formatBytes(totals.unreadable * PAGE).padStart(10)}           could not be read`)
  if (totals.swapped > 0)
    lines.push(`${formatBytes(totals.swapped * PAGE).padStart(10)}           swapped out, not looked at`)

  if (report.files.length > 0) {
    lines.push('', bold(`${'from'.padStart(10)}  file`))
    for (const file of report.files.slice(0, MOST_FILES)) {
      const tail = ` (${file.lens}; ${file.how})`
      lines.push(
        `${formatBytes(file.bytes).padStart(10)}  ${shorten(file.path, Math.max(20, width - 12 - tail.length))}${tail}`,
      )
    }
    const rest = report.files.slice(MOST_FILES)
    const bytes = rest.reduce((sum, file) => sum + file.bytes, 0)
    if (rest.length > 0) lines.push(`${formatBytes(bytes).padStart(10)}  ${rest.length} more`)
  }

  lines.push('', bold('    memory  explained      zero      left  mapping'))
  const largest = report.mappings.toSorted((a, b) => b.pages - a.pages)
  for (const mapping of largest.slice(0, MOST_MAPPINGS)) {
    const left = mapping.unexplained + mapping.duplicate
    const columns = [
      formatBytes(mapping.pages * PAGE).padStart(10),
      formatBytes((mapping.explained + mapping.virtual) * PAGE).padStart(10),
      formatBytes(mapping.zero * PAGE).padStart(9),
      formatBytes(left * PAGE).padStart(9),
    ]
    const name = `${mapping.start.toString(16)} ${mapping.name}`
    lines.push(`${columns.join(' ')}  ${shorten(name.trim(), width - 44)}`)
  }
  if (largest.length > MOST_MAPPINGS)
    lines.push(`${String(largest.length - MOST_MAPPINGS).padStart(10)} more mappings`)

  const speed = report.gigabytesPerSecond.toFixed(2)
  lines.push(
    '',
    `${formatBytes(report.bytesScanned)} looked at in ${report.seconds.toFixed(1)} s (${speed} GB/s) against ${report.candidates} files;`,
    `own peak ${formatBytes(report.ownPeakRss)}; the process was never stopped.`,
  )
  return `${lines.join('\n')}\n`
}
