// lethe audit: what of a process's memory is a copy of files. Reads only.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeSync } from 'node:fs'
import { Command } from 'commander'
import type { AuditOptions, AuditReport, AuditSites } from '../audit/audit.ts'
import type { Progress } from '../explain/explain.ts'
import type { ExplainProcessOptions, ProcessExplanations } from '../explain/process.ts'
import { memoryFigures } from '../process/target.ts'
import type { SitesReport } from '../sites/sites.ts'
import { examples, options, parsePid } from './arguments.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { checkWritable, writeResult } from './files.ts'
import { columns, printJson, say } from './output.ts'
import { checkSitesFlags, recordingError, showSites, type SitesFlags, sitesOptions } from './sites.ts'
import { formatSize } from './size.ts'

interface AuditFlags extends SitesFlags {
  readonly backing?: string[]
  readonly after?: number
  readonly json?: boolean
  readonly html?: string
  readonly diff?: string
  readonly state?: string
  readonly deep?: boolean
  readonly cpu?: number
}

export function auditCommand(): Command {
  return new Command('audit')
    .description('say what of the memory of a process, or of a command, is a copy of files; changes nothing')
    .usage('[options] <pid>\n       lethe audit [options] -- <command...>')
    .argument('<what...>', 'a process id; or, after --, a command and its arguments')
    .addOption(options.backing())
    .addOption(options.after())
    .addOption(options.deep())
    .addOption(options.cpus())
    .addOption(sitesOptions.sites())
    .addOption(sitesOptions.folded())
    .addOption(sitesOptions.pprof())
    .addOption(options.json())
    .option('--html <file>', 'write a report too: one page for a browser, which needs no network')
    .option('--diff <file>', "compare with an older audit: what 'lethe audit --json' wrote")
    .addOption(options.state())
    .addHelpText(
      'after',
      `\nA command is started, looked at when its memory has stopped growing, and ended (SIGTERM, after 3 s SIGKILL); its
standard output goes to standard error. One that ends earlier, by itself, can't be looked at.\n${examples([
        ['lethe audit 1234', 'a running process'],
        ['lethe audit --backing /data 1234', 'look in these files too'],
        ['lethe audit -- python3 load.py', 'start it, look, end it'],
        ['lethe audit --deep 1234', 'leave nothing out, however unlikely'],
        ['lethe audit --html report.html 1234', 'the whole picture, to look at in a browser'],
        ['lethe audit --diff before.json 1234', 'what has changed since'],
        ['lethe audit --after 10 -- ./server', 'look after 10 seconds'],
        ['lethe audit --sites -- ./server', 'by who asked for the memory; --html shows it too'],
      ])}`,
    )
    .action(auditWhat)
}

async function auditWhat(words: string[], flags: AuditFlags): Promise<void> {
  const word = words[0] ?? ''
  checkSitesFlags(flags)
  checkWritable('--html', flags.html)
  if (!startsCommand(words)) {
    if (flags.sites)
      throw new UsageError('--sites needs to see a command from its start: lethe audit --sites -- COMMAND')
    if (words.length > 1)
      throw new UsageError(`audit takes one process id, or -- and a command; '${words[1] ?? ''}' is too much`)
    await show(parsePid(word), flags)
    return
  }
  if (flags.sites) {
    if (flags.diff !== undefined) throw new UsageError('--diff is of a whole audit; run it without --sites')
    return await auditSites(words, flags)
  }
  const child = await start(words)
  try {
    await grown(child, flags.after)
    await show(child.pid as number, flags)
  } finally {
    await end(child)
  }
}

async function auditSites(words: string[], flags: AuditFlags): Promise<void> {
  const { openRecording } = await import('../sites/recorder.ts')
  const { findSites, sitesOf } = await import('../sites/sites.ts')
  let recording: ReturnType<typeof openRecording>
  try {
    recording = openRecording(false)
  } catch (error) {
    throw recordingError(error, words[0] ?? '')
  }
  let child: ChildProcess | undefined
  try {
    child = await start(words, recording.environment)
    await grown(child, flags.after)
    const pid = child.pid as number
    const table = recording.tables().get(pid)
    let report: SitesReport | undefined
    if (flags.html !== undefined) {
      const { forAudit } = await import('../sites/print.ts')
      const began = performance.now()
      const owners = (found: ProcessExplanations): AuditSites => {
        report = sitesOf(pid, table, found, began)
        return forAudit(report)
      }
      await writePage(flags.html, await auditProcess(pid, { ...flags, grain: true, owners }))
    }
    report ??= findSites(pid, table, searchOptions(flags))
    await showSites([report], { ...flags, json: flags.json ? '' : undefined, stream: 1 })
  } finally {
    if (child !== undefined) await end(child)
    recording.close()
  }
}

// Only what stands after -- is a command.
function startsCommand(words: readonly string[]): boolean {
  return process.argv[process.argv.length - words.length - 1] === '--'
}

async function show(pid: number, flags: AuditFlags): Promise<void> {
  const terminal = process.stderr.isTTY
  const before = flags.diff === undefined ? undefined : await older(flags.diff)
  const report = await auditProcess(
    pid,
    { ...flags, grain: flags.json === true || flags.html !== undefined },
    terminal ? showProgress : undefined,
  )
  if (terminal) process.stderr.write('\r\x1b[K')
  if (flags.html !== undefined) await writePage(flags.html, report)
  if (before !== undefined) {
    const { diff, formatDiff } = await import('../audit/diff.ts')
    const changed = diff(before, report)
    if (flags.json) printJson({ type: 'audit-diff', ...changed }, 2)
    else process.stdout.write(formatDiff(changed))
  } else if (flags.json) printJson({ type: 'audit', ...report }, 2)
  else await printAudit(report)
}

async function writePage(path: string, report: AuditReport): Promise<void> {
  const { auditPage } = await import('../audit/html.ts')
  const page = auditPage(report)
  if (page === undefined)
    throw new CommandError(exitCode.impossible, 'The page of the report is not built; run npm run build')
  writeResult('--html', path, page)
  say(`the report is in ${path} (${formatSize(Buffer.byteLength(page))}); open it in a browser`)
}

// Read before the work begins: a wrong file is said at once.
async function older(path: string): Promise<AuditReport> {
  const { isAudit } = await import('../audit/diff.ts')
  let document: unknown
  try {
    document = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'no JSON'
    throw new UsageError(`--diff ${path}: it can't be read (${why}); give what 'lethe audit --json' wrote`)
  }
  if (!isAudit(document))
    throw new UsageError(`--diff ${path}: this is no audit of format 1; give what 'lethe audit --json' wrote`)
  return document
}

// On a terminal, one line that is written anew. The search is synchronous, so it is written at once.
function showProgress({ stage, done, secondsLeft, explained, pages }: Progress): void {
  const about = secondsLeft === undefined ? '' : `, about ${Math.ceil(secondsLeft)} s more`
  const what = stage === 'files' ? 'files' : 'what lenses make of files'
  const share = pages === 0 ? 0 : (100 * explained) / pages
  writeSync(
    2,
    `\r\x1b[Klooking through ${what}: ${Math.round(done * 100)} %, ${share.toFixed(0)} % explained${about}`,
  )
}

/** Audits a process, attached or not. Throws ProcessError. */
export async function auditProcess(
  pid: number,
  flags: Pick<AuditFlags, 'backing' | 'state' | 'deep' | 'cpu'> & Pick<AuditOptions, 'grain' | 'owners'>,
  progress?: (progress: Progress) => void,
): Promise<AuditReport> {
  const { checkTarget } = await import('../process/target.ts')
  checkTarget(pid, false)
  const { audit } = await import('../audit/audit.ts')
  const { virtualRuns } = await import('../pager/virtual.ts')
  const { stateDirectory, targetDirectory } = await import('../pager/state-dir.ts')
  const { ask } = await import('../pager/client.ts')
  const directory = targetDirectory(stateDirectory(flags.state), pid)
  const virtual = virtualRuns(directory)
  const status = virtual && (await ask(directory, { ask: 'status' }, 10_000).catch(() => undefined))
  return audit(pid, {
    ...searchOptions(flags),
    ...(status?.type === 'status' ? { pager: status } : {}),
    ...(flags.grain ? { grain: true } : {}),
    ...(flags.owners === undefined ? {} : { owners: flags.owners }),
    ...(progress === undefined ? {} : { progress }),
    ...(virtual === undefined ? {} : { virtual }),
  })
}

function searchOptions(flags: Pick<AuditFlags, 'backing' | 'deep' | 'cpu'>): ExplainProcessOptions {
  return {
    backings: flags.backing ?? [],
    ...(flags.deep ? { level: 'deep' } : {}),
    ...(flags.cpu === undefined ? {} : { cpuShare: flags.cpu }),
  }
}

/** Writes an audit for people. */
export async function printAudit(report: AuditReport): Promise<void> {
  const { formatAudit } = await import('../audit/print.ts')
  const colour = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
  process.stdout.write(formatAudit(report, { width: columns(), colour }))
}

async function start(words: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<ChildProcess> {
  const child = spawn(words[0] ?? '', words.slice(1), { stdio: ['inherit', 2, 'inherit'], env })
  await new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new CommandError(
          error.code === 'ENOENT' ? 127 : 126,
          `'${words[0] ?? ''}' can't be started (${error.code}); check its name and PATH`,
        ),
      ),
    )
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      child.kill(signal)
      process.kill(process.pid, signal) // no longer caught: we end by it, at once
    })
  return child
}

const period = 200
/** Periods of the same size that count as stable, and the longest wait. */
const stable = 5
const longest = 60_000

// Waits until the memory has stopped growing, or for `seconds`.
async function grown(child: ChildProcess, seconds: number | undefined): Promise<void> {
  let same = 0
  let before = -1
  const began = performance.now()
  for (;;) {
    await new Promise(after => setTimeout(after, period))
    if (child.exitCode !== null || child.signalCode !== null)
      throw new CommandError(
        1,
        `The command ended (${child.signalCode ?? `exit code ${child.exitCode}`}) before its memory could be looked at; let it wait, or give a shorter --after`,
      )
    const elapsed = performance.now() - began
    if (seconds !== undefined) {
      if (elapsed >= seconds * 1000) return
      continue
    }
    const now = memoryFigures(child.pid as number)?.anonymous ?? 0
    same = Math.abs(now - before) < 1 << 20 ? same + 1 : 0
    before = now
    if (same >= stable) return
    if (elapsed > longest) {
      say('its memory still grows after a minute; looking at it as it is')
      return
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000)
  await ended
  clearTimeout(timer)
}
