/**
 * An audit as one page that needs nothing else: the page of src/report, built to dist/report/index.html with its script and style
 * inside, whose empty document is filled in.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { AuditReport } from './audit.ts'

const template = new URL('../report/index.html', import.meta.url)
const place = '<script type="application/json" id="audit"></script>'

/** The page, or undefined when the template has not been built. */
export function auditPage(report: AuditReport): string | undefined {
  if (!existsSync(template)) return undefined
  // In a script nothing but these ends it or begins a comment.
  const json = JSON.stringify({ type: 'audit', ...report })
    .replaceAll('<', '\\u003c')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029')
  return readFileSync(template, 'utf8').replace(place, () => place.replace('></', () => `>${json}</`))
}
