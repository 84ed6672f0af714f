// What several commands take, under one name and with one text each.
import { existsSync } from 'node:fs'
import { Option } from 'commander'
import { UsageError } from './errors.ts'
import { parseSize } from './size.ts'

/** A process id. Throws UsageError. */
export function parsePid(text: string): number {
  const pid = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid > 2 ** 22)
    throw new UsageError(`'${text}' is not a process id: give a positive number, as ps shows it`)
  return pid
}

function parsePercent(text: string): number {
  const percent = Number(text.replace(/%$/, ''))
  if (!(percent > 0 && percent <= 100))
    throw new UsageError(`'${text}' is not a share of one CPU: give a number of percent above 0, at most 100`)
  return percent / 100
}

function parseCpus(text: string): number {
  const percent = Number(text.replace(/%$/, ''))
  if (!(percent > 0 && percent <= 6400))
    throw new UsageError(
      `'${text}' is not an amount of CPU: give a number of percent above 0, 100 for a whole CPU`,
    )
  return percent / 100
}

function parseShare(text: string): number {
  const percent = Number(text.replace(/%$/, ''))
  if (!(percent > 0 && percent <= 100))
    throw new UsageError(
      `'${text}' is not a share of time: give --pressure=PERCENT, a number above 0 and at most 100, or --pressure behind the process id`,
    )
  return percent / 100
}

function collectPath(path: string, paths: string[] | undefined): string[] {
  if (!existsSync(path)) throw new UsageError(`--backing ${path}: there is no such file or directory`)
  return [...(paths ?? []), path]
}

/** For options that can be given more than once. */
export const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (!(seconds > 0 && seconds <= 86_400))
    throw new UsageError(`'${text}' is not a number of seconds: give one above 0, at most 86400`)
  return seconds
}

export const options = {
  json: (text = 'print JSON'): Option => new Option('--json', text),
  backing: (): Option =>
    new Option(
      '--backing <path>',
      'a file, or a folder of files, that memory may be a copy of (repeatable)',
    ).argParser(collectPath),
  budget: (): Option =>
    new Option('--budget <size>', 'most explained memory to leave resident, such as 64M or 1.5G').argParser(
      parseSize,
    ),
  pressure: (): Option =>
    new Option(
      '--pressure [percent]',
      'give back all that leaves the process waiting for us at most this part of its time',
    )
      .argParser(parseShare)
      .preset('1'),
  awake: (): Option =>
    new Option(
      '--awake',
      'keep the pager in memory when nothing happens: to wake it takes some 0.3 s, and awake it takes 30 MB',
    ),
  pack: (): Option => new Option('--pack', 'compress cold memory that no file explains'),
  deep: (): Option =>
    new Option('--deep', 'search all of all files through all lenses; the default looks at what is likely'),
  cpus: (): Option =>
    new Option(
      '--cpu <percent>',
      'CPU that the search may use; 100 is one whole CPU (default: 200)',
    ).argParser(parseCpus),
  cpu: (): Option =>
    new Option('--cpu <percent>', 'share of one CPU for looking again later')
      .argParser(parsePercent)
      .default(0.05, '5'),
  state: (): Option =>
    new Option('--state <dir>', 'where journals and sockets are (default: $LETHE_STATE, /run/lethe)'),
  after: (): Option =>
    new Option(
      '--after <seconds>',
      'look at the command after this time instead of when its memory is stable',
    ).argParser(parseSeconds),
  size: (text: string): Option => new Option('--size <size>', text).argParser(parseSize),
} as const

/** Options of commands that start a pager, as commander gives them. */
export interface PagerFlags {
  readonly backing?: string[]
  readonly budget?: number
  readonly pressure?: number
  readonly pack?: boolean
  readonly deep?: boolean
  readonly awake?: boolean
  readonly cpu: number
  readonly state?: string
  readonly json?: boolean
}

/** The part of the flags that the pager gets. */
export function pagerOptions(flags: PagerFlags): {
  backings: string[]
  cpu: number
  budget?: number
  pressure?: number
  pack?: boolean
  deep?: boolean
  calm?: number
  state?: string
} {
  return {
    backings: flags.backing ?? [],
    cpu: flags.cpu,
    ...(flags.budget === undefined ? {} : { budget: flags.budget }),
    ...(flags.awake === true ? { calm: 0 } : {}),
    ...(flags.pressure === undefined ? {} : { pressure: flags.pressure }),
    ...(flags.deep === true ? { deep: true } : {}),
    ...(flags.pack === true ? { pack: true } : {}),
    ...(flags.state === undefined ? {} : { state: flags.state }),
  }
}

/** Text of the examples below a command's help. */
export function examples(lines: readonly (readonly [command: string, what: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length))
  return `\nExamples:\n${lines.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`).join('\n')}\n`
}
