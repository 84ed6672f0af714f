/** Two audits of a process, or of two versions of a program: what has changed. */
import type { AuditReport, PageTally } from './audit.ts'
import { formatBytes, PAGE } from './words.ts'

/** Bytes before and now, of one thing. */
export interface Change {
  readonly name: string
  readonly before: number
  readonly now: number
}

export interface AuditDiff {
  readonly before: { readonly pid: number; readonly command: string; readonly at: string }
  readonly now: { readonly pid: number; readonly command: string; readonly at: string }
  /** All memory, then what pages are. */
  readonly totals: readonly Change[]
  /** By file and lens, the largest change first; what has not changed is left out. */
  readonly files: readonly Change[]
  /** By name of the mapping; mappings without a name are one. */
  readonly mappings: readonly Change[]
}

const kinds: readonly (keyof PageTally)[] = ['virtual', 'explained', 'zero', 'duplicate', 'unexplained']

/** What of a document a comparison needs; `type` is what `lethe audit --json` writes before it. */
export function isAudit(document: unknown): document is AuditReport {
  if (typeof document !== 'object' || document === null) return false
  const { type, format, totals, files, mappings } = document as Record<string, unknown>
  return (
    type === 'audit' &&
    format === 1 &&
    typeof totals === 'object' &&
    Array.isArray(files) &&
    Array.isArray(mappings)
  )
}

export function diff(before: AuditReport, now: AuditReport): AuditDiff {
  const who = ({ pid, command, at }: AuditReport): AuditDiff['now'] => ({ pid, command, at })
  const pages = (report: AuditReport): Map<string, number> =>
    new Map([
      ['memory', report.totals.pages * PAGE],
      ...kinds.map(kind => [kind, report.totals[kind] * PAGE] as const),
    ])
  const files = (report: AuditReport): Map<string, number> =>
    summed(report.files.map(({ path, lens, bytes }) => [`${path} (${lens})`, bytes]))
  const mappings = (report: AuditReport): Map<string, number> =>
    summed(report.mappings.map(one => [one.name || 'anonymous', one.pages * PAGE]))
  return {
    before: who(before),
    now: who(now),
    totals: changes(pages(before), pages(now)),
    files: largest(changes(files(before), files(now))),
    mappings: largest(changes(mappings(before), mappings(now))),
  }
}

function summed(entries: readonly (readonly [string, number])[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [name, bytes] of entries) sums.set(name, (sums.get(name) ?? 0) + bytes)
  return sums
}

function changes(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): Change[] {
  return [...new Set([...before.keys(), ...now.keys()])].map(name => ({
    name,
    before: before.get(name) ?? 0,
    now: now.get(name) ?? 0,
  }))
}

function largest(all: readonly Change[]): Change[] {
  return all
    .filter(({ before, now }) => before !== now)
    .toSorted((a, b) => Math.abs(b.now - b.before) - Math.abs(a.now - a.before))
}

/** The comparison for people, at most one screen. */
export function formatDiff({ before, now, totals, files, mappings }: AuditDiff): string {
  const lines = [
    `before  ${before.pid}  ${before.command}  ${before.at}`,
    `now     ${now.pid}  ${now.command}  ${now.at}`,
    '',
    `${'before'.padStart(10)} ${'now'.padStart(10)} ${'change'.padStart(10)}`,
  ]
  const row = ({ name, before: b, now: n }: Change): string => {
    const change = n === b ? '=' : `${n > b ? '+' : ''}${formatBytes(n - b)}`
    return `${formatBytes(b).padStart(10)} ${formatBytes(n).padStart(10)} ${change.padStart(10)}  ${name}`
  }
  lines.push(...totals.filter(one => one.before + one.now > 0).map(row))
  for (const [title, all] of [
    ['files', files],
    ['mappings', mappings],
  ] as const) {
    if (all.length === 0) continue
    lines.push('', title, ...all.slice(0, 8).map(row))
    if (all.length > 8) lines.push(`${String(all.length - 8).padStart(10)} more`)
  }
  return `${lines.join('\n')}\n`
}
