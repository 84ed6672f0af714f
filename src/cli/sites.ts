// --sites of run and audit: which places in a command own the memory that files explain.
import { Option } from 'commander'
import type { SitesReport } from '../sites/sites.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { checkWritable, writeResult } from './files.ts'
import { printJson, say } from './output.ts'

export interface SitesFlags {
  readonly sites?: boolean
  readonly folded?: string
  readonly pprof?: string
}

export const sitesOptions = {
  sites: (): Option =>
    new Option('--sites', 'say which places in the command own the memory that files explain'),
  folded: (): Option =>
    new Option('--folded <file>', 'write the sites as folded stacks, for flame graph viewers'),
  pprof: (): Option => new Option('--pprof <file>', 'write the sites as a pprof profile'),
} as const

/** Throws UsageError when files are asked for, but not sites, or can't be written. */
export function checkSitesFlags(flags: SitesFlags): void {
  checkWritable('--folded', flags.folded)
  checkWritable('--pprof', flags.pprof)
  if (flags.sites) return
  if (flags.folded !== undefined) throw new UsageError('--folded writes sites; give --sites too')
  if (flags.pprof !== undefined) throw new UsageError('--pprof writes sites; give --sites too')
}

/** The error that a failed start of a recording is for users. */
export function recordingError(error: unknown, command: string): unknown {
  const { name, code, message } = error as NodeJS.ErrnoException
  if (name === 'PreloadError') return new CommandError(exitCode.impossible, message)
  if (code !== 'ENOENT' && code !== 'EACCES') return error
  return new CommandError(
    code === 'ENOENT' ? 127 : 126,
    `'${command}' can't be started (${code}); check its name and PATH`,
  )
}

export interface ShowOptions extends SitesFlags {
  /** A file, '' for `stream`; undefined: for people. */
  readonly json: string | undefined
  /** 1 where nobody else writes to it. */
  readonly stream: 1 | 2
}

/** Writes reports, the first of which is the one that matters. */
export async function showSites(reports: readonly SitesReport[], options: ShowOptions): Promise<void> {
  const [first] = reports
  const { json, stream } = options
  const document = { type: 'sites', processes: reports }
  if (json === '' && stream === 1) printJson(document, 2)
  else if (json === '') process.stderr.write(`${JSON.stringify(document)}\n`)
  else if (json !== undefined) writeResult('--json', json, `${JSON.stringify(document, null, 2)}\n`)
  else if (first === undefined) say('the command never had enough memory to look at (8 MiB)')
  else {
    const { formatSites } = await import('../sites/print.ts')
    const to = stream === 1 ? process.stdout : process.stderr
    const colour = to.isTTY && process.env['NO_COLOR'] === undefined
    to.write(reports.map(report => formatSites(report, { colour })).join('\n'))
  }
  if (options.folded === undefined && options.pprof === undefined) return
  if (first === undefined) return
  const { folded, pprof } = await import('../sites/formats.ts')
  if (options.folded !== undefined) writeResult('--folded', options.folded, folded(first))
  if (options.pprof !== undefined) writeResult('--pprof', options.pprof, pprof(first))
}
