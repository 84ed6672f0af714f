// What `lethe run` was asked to say about the command: on standard error, or as NDJSON in a file.
import { appendFileSync, writeSync } from 'node:fs'
import type { PagerStatus } from './main.ts'

/** Where and how to report; `path` '' is standard error. */
export interface ReportOptions {
  readonly json: boolean
  readonly path: string
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** Reports that the first pass is over (`attached`) or that the command has ended (`ended`; undefined: it was never attached). */
export function report(
  options: ReportOptions | undefined,
  pid: number,
  what: 'attached' | 'ended',
  status: PagerStatus | undefined,
): void {
  if (options === undefined) return
  const line = options.json
    ? JSON.stringify({ ...(status ?? { pid }), type: what })
    : sentence(pid, what, status)
  try {
    if (options.path === '') writeSync(2, `${line}\n`)
    else appendFileSync(options.path, `${line}\n`)
  } catch {
    // Whoever wanted to know is gone.
  }
}

function sentence(pid: number, what: 'attached' | 'ended', status: PagerStatus | undefined): string {
  if (status === undefined) return `lethe: process ${pid} ended before it had memory worth attaching to`
  const { before, now, virtual, dropped, refilled, faults, pauses } = status
  if (what === 'attached')
    return `lethe: process ${pid}: anonymous memory ${mib(before.anonymous)} → ${mib(now.anonymous)}, ${mib(virtual)} virtual; longest pause ${pauses.longestMs.toFixed(1)} ms`
  return `lethe: process ${pid} has ended: ${mib(dropped)} dropped, ${mib(refilled)} refilled by ${faults} faults; longest pause ${pauses.longestMs.toFixed(1)} ms`
}
