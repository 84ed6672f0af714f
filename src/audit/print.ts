/** An audit report for people: one screen, as wide as the terminal; colour only if asked for. */
import { styleText } from 'node:util'
import type { AuditReport, PageTally } from './audit.ts'
import type { Rest, Way } from './rest.ts'
import { patternTexts } from './patterns.ts'
import {
  byPattern,
  formatBytes,
  formatMicroseconds,
  type GrainVerdict,
  grainSentence,
  netSentence,
  PAGE,
  pageMicroseconds,
  percent,
  verdict,
} from './words.ts'

const MOST_FILES = 6
const MOST_MAPPINGS = 5

export interface PrintOptions {
  /** Columns; default 80. */
  readonly width?: number
  readonly colour?: boolean
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
  const style = (how: 'bold' | 'green' | 'dim', text: string): string =>
    options.colour ? styleText(how, text, { validateStream: false }) : text
  const { totals } = report
  const lines: string[] = []

  const head = `${report.pid}  ${report.command}`
  lines.push(style('bold', head.length <= width ? head : `${head.slice(0, width - 1)}…`))
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
    lines.push(key === 'explained' || key === 'virtual' ? style('green', line) : line)
  }
  if (report.rest !== undefined) lines.push(...formatRest(report.rest))
  if (totals.unreadable > 0)
    lines.push(`${formatBytes(totals.unreadable * PAGE).padStart(10)}           could not be read`)
  if (totals.swapped > 0)
    lines.push(`${formatBytes(totals.swapped * PAGE).padStart(10)}           swapped out, not looked at`)

  lines.push('', ...savingLines(report, style))

  const copied = byPattern(report.files)
  if (copied.length > 0) {
    lines.push('', style('bold', `${'how'.padStart(10)}`))
    for (const [pattern, bytes] of copied)
      lines.push(
        `${formatBytes(bytes).padStart(10)} ${percent(bytes / PAGE, totals.pages).padStart(8)}  ${patternTexts[pattern]}`,
      )
    lines.push('', style('bold', `${'from'.padStart(10)}   a page  file`))
    for (const file of report.files.slice(0, MOST_FILES)) {
      const cost = file.price === undefined ? '' : formatMicroseconds(pageMicroseconds(file.price))
      const tail = ` (${file.lens}; ${file.how})`
      const path = shorten(file.path === '' ? 'zeros' : file.path, Math.max(20, width - 22 - tail.length))
      lines.push(`${formatBytes(file.bytes).padStart(10)} ${cost.padStart(8)}  ${path}${style('dim', tail)}`)
    }
    const rest = report.files.slice(MOST_FILES)
    const bytes = rest.reduce((sum, file) => sum + file.bytes, 0)
    if (rest.length > 0)
      lines.push(`${formatBytes(bytes).padStart(10)} ${''.padStart(8)}  ${rest.length} more`)
  }

  lines.push('', style('bold', '    memory  explained      zero      left  mapping'))
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
  if (report.grain) lines.push('', `pages too coarse? ${coarse(verdict(report.grain), totals.pages * PAGE)}.`)

  const speed = report.gigabytesPerSecond.toFixed(2)
  lines.push(
    '',
    `${formatBytes(report.bytesScanned)} looked at in ${report.seconds.toFixed(1)} s (${speed} GB/s) against ${report.candidates} files;`,
    `own peak ${formatBytes(report.ownPeakRss)}; the process was never stopped.`,
  )
  return `${lines.join('\n')}\n`
}

const coarse = (answer: GrainVerdict, all: number): string =>
  `${answer.answer}: ${grainSentence(answer, all)}`

function savingLines(
  { saving, attached, totals }: AuditReport,
  style: (how: 'bold' | 'green' | 'dim', text: string) => string,
): string[] {
  const lines: string[] = []
  if (attached) {
    const saved = formatBytes(totals.virtual * PAGE)
    lines.push(
      `${style('bold', 'saves')} ${style('green', saved)} now, ${formatBytes(saving.net)} net of its pager (${formatBytes(saving.own)})`,
    )
  } else if (saving.now === 0) lines.push(`${style('bold', 'saves')} nothing: attaching is of no use here`)
  else {
    lines.push(
      `${style('bold', 'saves')} ${style('green', formatBytes(saving.now))} of ${formatBytes(saving.rss)} resident now;`,
      ...netSentence(saving)
        .split(/(?<=,) /)
        .map(part => `      ${part}`),
    )
  }
  if (saving.dear > 0)
    lines.push(`      ${formatBytes(saving.dear)} stay: too slow to make again, unless a budget presses`)
  if (saving.refillMicroseconds !== undefined && saving.allSeconds !== undefined)
    lines.push(
      `${style('bold', 'costs')} ${formatMicroseconds(saving.refillMicroseconds)} a page that is wanted back, 16 at a time` +
        (saving.worstMicroseconds !== undefined && saving.worstMicroseconds > saving.refillMicroseconds * 1.5
          ? `, at worst ${formatMicroseconds(saving.worstMicroseconds)}`
          : '') +
        `; ${formatMicroseconds(saving.allSeconds * 1e6)} if all of it is`,
    )
  return lines
}
