// What a run under replay has to tell: which memory is virtual and which is not, what makes each again, why that is repeatable, what
// it costs and what is kept for it. As a document, and as text for people.
import type { Guest } from '../guest/load.ts'
import type { TimelineRecord } from '../guest/timeline.ts'
import type { Analysis, FunctionReport } from './analysis.ts'
import type { KeeperReport, PageRun } from './protocol.ts'
import type { Verdict } from './purity.ts'
import type { Recorder } from './recorder.ts'

export interface Explanation {
  readonly type: 'replay'
  readonly guest: string
  readonly hash: string
  readonly refused?: string
  /** Milliseconds that the analysis of the code took, and whether it was kept from before. */
  readonly analysis: { readonly milliseconds: number; readonly cached: boolean }
  /** Bytes. */
  readonly memory?: {
    readonly written: number
    readonly virtual: number
    /** What came back and was not written since: it can go again. */
    readonly clean: number
    readonly kept: KeeperReport['kept'] & { readonly all: number }
  }
  readonly runs?: readonly RunReport[]
  readonly epochs?: Omit<KeeperReport, 'kind' | 'kept' | 'runs' | 'timeline'>
  /** What was resident when. */
  readonly timeline?: TimelineRecord
  readonly recorder?: Recorder['counts']
}

/** A run of pages that are what they are for the same reason. */
export interface RunReport {
  readonly from: number
  readonly to: number
  readonly state: 'virtual' | 'clean' | 'physical'
  /** In words. */
  readonly why: string
  /** Bytes kept for the run, and the milliseconds of replay that make a page of it. Not for physical ones. */
  readonly kept?: number
  readonly refill?: number
  readonly function?: string
  /** What the loop calls, with verdicts. */
  readonly calls?: readonly string[]
}

export function explanationOf(
  guest: Guest,
  analysis: Analysis,
  took: Explanation['analysis'],
  report: KeeperReport,
  counts: Recorder['counts'],
): Explanation {
  const { kept, runs, timeline, kind: _, ...epochs } = report
  const all = kept.inputs + kept.residuals + kept.calls + kept.tables
  return {
    type: 'replay',
    guest: guest.path,
    hash: guest.hash,
    analysis: took,
    memory: {
      written: runs.reduce((sum, r) => sum + r.count, 0) * 4096,
      virtual: report.virtual * 4096,
      clean: report.clean * 4096,
      kept: { ...kept, all },
    },
    runs: runs.map(run => runReport(run, analysis)),
    epochs,
    timeline,
    recorder: counts,
  }
}

function runReport(run: PageRun, analysis: Analysis): RunReport {
  const from = run.first * 4096
  const to = from + run.count * 4096
  const point = analysis.points[run.point]
  if (run.kind === 'physical') return { from, to, state: 'physical', why: run.why }
  const state = run.kind === 'clean' ? 'clean' : 'virtual'
  const price = { kept: Math.round(run.kept), refill: Math.round(run.refill * 1000) / 1000 }
  if (run.why === 'zeros')
    return { from, to, state, why: 'zeros: the program gave it back, or never wrote anything else', ...price }
  if (run.why === 'packed')
    return { from, to, state, why: 'packed as it is: no stretch of the run makes it well', ...price }
  const by = point === undefined ? undefined : nameOf(analysis, point.func)
  const how =
    run.why === 'copied'
      ? 'copied there from what it made elsewhere'
      : run.why === 'moved'
        ? 'made elsewhere by it, and copied there without being touched'
        : run.why === 'older'
          ? 'made by it, with some bytes changed since'
          : run.why === 'together'
            ? 'made by it, a part at a time'
            : 'made by it'
  return {
    from,
    to,
    state,
    why:
      point === undefined
        ? 'made by the start of the program'
        : `the program's own code: loop ${point.number} of ${by}; ${how}`,
    ...price,
    ...(by === undefined ? {} : { function: by }),
    calls: (analysis.callees[run.point] ?? []).map(f => callText(analysis, f)),
  }
}

function callText(analysis: Analysis, func: number): string {
  const found = analysis.functions.find(f => f.index === func)
  if (found === undefined) return `import ${func}`
  return `${found.name}: ${verdictText(found.verdict, analysis.functions)}`
}

function nameOf(analysis: Analysis, func: number): string {
  return analysis.functions.find(f => f.index === func)?.name ?? `function ${func}`
}

/** `repeatable (i32.store at 0x1f3 in vsscanf)` */
export function verdictText(verdict: Verdict, functions: readonly FunctionReport[]): string {
  const { by, level, path, assumes } = verdict
  const last = path.at(-1)
  const name = functions.find(f => f.index === last)?.name ?? (last === undefined ? '' : `function ${last}`)
  const decided =
    by === undefined
      ? ''
      : 'import' in by
        ? ` (${by.import})`
        : ` (${by.instruction} at 0x${by.at.toString(16)} in ${name})`
  return `${level}${decided}${assumes === undefined ? '' : `, as far as its ${assumes.instruction} at 0x${assumes.at.toString(16)} is`}`
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`
const hex = (n: number): string => `0x${n.toString(16).padStart(8, '0')}`
const percent = (a: number, b: number): string => `${((100 * a) / Math.max(1, b)).toFixed(0)} %`

export function explanationText(e: Explanation): string {
  const lines: string[] = []
  if (e.refused !== undefined || e.memory === undefined || e.epochs === undefined) {
    lines.push(`${e.guest} can't be replayed: ${e.refused ?? 'unknown'}. It ran as it is.`)
    return `${lines.join('\n')}\n`
  }
  const { memory, epochs } = e
  lines.push(
    `${e.guest}: ${mib(memory.virtual)} of the ${mib(memory.written)} that it wrote are virtual (${percent(memory.virtual, memory.written)}), ${mib(memory.clean)} more came back and can go again; kept for both: ${mib(memory.kept.all)} (${percent(memory.kept.all, memory.virtual + memory.clean)})`,
    `  inputs ${mib(memory.kept.inputs)}, what replays leave over ${mib(memory.kept.residuals)}, answers of the host ${mib(memory.kept.calls)}, tables ${mib(memory.kept.tables)}`,
    `  ${epochs.replayable} of ${epochs.epochs} epochs were replayed and came out right; ${epochs.rebuiltPages} pages came back in ${epochs.rebuilds} faults, in the median after ${epochs.faultMicros.median} µs; wrong ones: ${epochs.mismatches}`,
  )
  for (const [name, count] of Object.entries(epochs.forbidden))
    if (name !== 'the end of the run')
      lines.push(`  not repeatable: ${name}, called in ${count} epochs; what they wrote stays physical`)
  const costly = epochs.unprofitable + (e.recorder?.costly ?? 0)
  if (costly > 0)
    lines.push(
      `  not worth it: ${costly} epochs read too much of what was there before for what they made; what they wrote last stays physical`,
    )
  if (epochs.off)
    lines.push(
      '  replay has switched itself off: the program came back for all of its memory again and again, so nothing more was dropped',
    )
  else if (epochs.held > 0)
    lines.push(
      `  the program came back for so much of its memory that nothing was dropped for a while, ${epochs.held === 1 ? 'once' : `${epochs.held} times`}`,
    )
  lines.push(...groups(e.runs ?? []))
  lines.push(
    `the analysis of the code took ${e.analysis.milliseconds.toFixed(0)} ms${e.analysis.cached ? ' (kept from before)' : ''}`,
  )
  return `${lines.join('\n')}\n`
}

/** What is kept for runs, and what a page of them takes to come back. */
function priceText(group: readonly RunReport[]): string {
  let bytes = 0
  let kept = 0
  let time = 0
  for (const run of group) {
    bytes += run.to - run.from
    kept += run.kept ?? 0
    time += (run.refill ?? 0) * (run.to - run.from)
  }
  return `${percent(kept, bytes)} of it kept, ${(time / bytes).toFixed(1)} ms of replay for a page`
}

/** Runs that are alike together, the most memory first, and below each loop once what it calls. */
function groups(runs: readonly RunReport[]): string[] {
  const alike = new Map<string, RunReport[]>()
  for (const run of runs) {
    const key = `${run.state}: ${run.why}`
    const group = alike.get(key)
    if (group === undefined) alike.set(key, [run])
    else group.push(run)
  }
  const size = (group: readonly RunReport[]): number =>
    group.reduce((sum, { from, to }) => sum + to - from, 0)
  const lines: string[] = []
  const told = new Set<string>()
  for (const [key, group] of [...alike].sort((a, b) => size(b[1]) - size(a[1]))) {
    const first = group[0] as RunReport
    const last = group.at(-1) as RunReport
    lines.push(
      `${mib(size(group)).padStart(9)} in ${group.length} runs, ${hex(first.from)}–${hex(last.to)}  ${key}${first.state === 'physical' ? '' : `; ${priceText(group)}`}`,
    )
    const calls = first.calls ?? []
    if (calls.length === 0 || told.has(calls.join())) continue
    told.add(calls.join())
    for (const call of calls) lines.push(`            calls ${call}`)
  }
  return lines
}
