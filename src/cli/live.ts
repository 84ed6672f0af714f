// What a pager does, as a line: once after the first pass, then again and again.
import type { PagerStatus } from '../pager/main.ts'
import type { Pager } from '../pager/start.ts'
import { columns, paint, print, printJson } from './output.ts'
import { formatSize } from './size.ts'

const everyTerminal = 500
const everyPipe = 5000
/** Files that are named; an interpreter has read hundreds. */
const named = 12

/** Before and after, in a few lines. */
export function summary(status: PagerStatus, found: boolean): string[] {
  const { before, now, pauses } = status
  const how = found ? 'already attached' : status.adopted ? 'taken over from a pager that died' : 'attached'
  const change =
    status.adopted || found
      ? formatSize(now.anonymous)
      : `${formatSize(before.anonymous)} → ${formatSize(now.anonymous)}`
  const lines = [
    `${paint('bold', `${status.pid}`)} ${how}: anonymous memory ${paint('green', change)}, ` +
      `${formatSize(status.virtual)} virtual; ${pauses.stops} pauses, the longest ${pauses.longestMs.toFixed(1)} ms; ` +
      `${status.seconds.toFixed(1)} s`,
  ]
  if (status.packs > 0) lines.push(`  packed into ${formatSize(status.packs)}`)
  const from = status.backings.filter(b => !/^(packed|recipe)$/.test(b.lens))
  for (const { path, lens, copy, lost } of from.slice(0, named))
    lines.push(
      `  from ${copy ? 'a private copy of ' : ''}${path}${lens === 'verbatim' ? '' : ` through ${lens}`}${lost === undefined ? '' : ` (no more: ${lost})`}`,
    )
  if (from.length > named) lines.push(`  and from ${from.length - named} more; lethe status --json names all`)
  if (status.recipes > 0)
    lines.push(`  put together from pieces; ${formatSize(status.recipes)} kept for that`)
  if (status.backings.length === 0)
    lines.push('  nothing in it is a copy of a file that we know of; name files with --backing')
  return lines
}

/** Figures of the time between two looks. */
export interface Rates {
  readonly faultsPerSecond: number
  readonly refilledPerSecond: number
  readonly stalledPercent: number
}

export function rates(before: PagerStatus | undefined, now: PagerStatus): Rates {
  const seconds = before === undefined ? 0 : now.seconds - before.seconds
  // A successor counts its own seconds.
  if (before === undefined || before.pager !== now.pager || seconds <= 0)
    return { faultsPerSecond: 0, refilledPerSecond: 0, stalledPercent: 0 }
  return {
    faultsPerSecond: (now.faults - before.faults) / seconds,
    refilledPerSecond: (now.refilled - before.refilled) / seconds,
    stalledPercent: ((now.stallSeconds - before.stallSeconds) / seconds) * 100,
  }
}

function liveLine(status: PagerStatus, rate: Rates): string {
  const limit = status.pressure === undefined ? '' : ` of ${+(status.pressure.limit * 100).toPrecision(2)} %`
  return (
    `${status.pid} resident ${formatSize(status.now.anonymous)} · virtual ${formatSize(status.virtual)} · ` +
    `${Math.round(rate.faultsPerSecond)} faults/s · refill ${(rate.refilledPerSecond / 1e6).toFixed(1)} MB/s · ` +
    `stalled ${rate.stalledPercent.toFixed(1)} %${limit} · ${status.pauses.stops} pauses, longest ${status.pauses.longestMs.toFixed(1)} ms`
  )
}

/** Shows the pager at work until it or its target has ended. Rejects when the target lives and nobody serves it. */
export async function follow(pager: Pager, json: boolean, isOver: () => boolean): Promise<void> {
  const terminal = process.stdout.isTTY && !json
  let before: PagerStatus | undefined
  let missed = 0
  for (;;) {
    const status = await pager.status().catch(() => undefined)
    if (isOver()) break
    if (status === undefined) {
      const { startTime } = await import('../process/target.ts')
      // A successor may be on its way.
      if (startTime(pager.pid) === undefined || missed++ > 20 || !(await exists(pager.directory))) break
      await sleep(250)
      continue
    }
    missed = 0
    const rate = rates(before, status)
    before = status
    if (json) printJson({ ...status, ...rate, type: 'status' })
    else if (terminal) process.stdout.write(`\r\x1b[K${liveLine(status, rate).slice(0, columns() - 1)}`)
    else print(liveLine(status, rate))
    await sleep(terminal ? everyTerminal : json ? 1000 : everyPipe, pager)
  }
  if (terminal) process.stdout.write('\r\x1b[K')
}

async function exists(path: string): Promise<boolean> {
  const { existsSync } = await import('node:fs')
  return existsSync(path)
}

// With a pager: not longer than it lives, looked at each half second by its socket.
async function sleep(ms: number, pager?: Pager): Promise<void> {
  const end = performance.now() + ms
  while (performance.now() < end) {
    await new Promise(after => setTimeout(after, Math.max(1, Math.min(500, end - performance.now()))))
    if (pager !== undefined && !(await exists(pager.directory))) return
  }
}
