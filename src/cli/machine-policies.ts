// lethe machine policies: one trace under every replacement policy, with OPT as the bound.
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { anomalies, compare, comparisonCsv, missCurves, overOpt, spread } from '../machine/compare.ts'
import { readPageTrace } from '../machine/page-trace.ts'
import { type TraceFormat, traceFormats } from '../machine/trace.ts'
import { linesPng, linesSvg } from '../plot/lines.ts'
import {
  createOpt,
  createPolicy,
  defaultPolicy,
  HIT,
  isPolicyName,
  NONE,
  type PolicyName,
  policyNames,
} from '../policy/index.ts'
import { examples, options } from './arguments.ts'
import { UsageError } from './errors.ts'
import { checkWritable, writeResult } from './files.ts'
import { paint, print, printJson } from './output.ts'

export interface ComparisonFlags {
  readonly frames?: readonly number[]
  readonly pageSize?: number
  readonly format?: TraceFormat
  readonly csv?: boolean
  readonly json?: boolean
  readonly plot?: string
}

function wholeNumber(option: string, text: string): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number) || number < 1)
    throw new UsageError(`${option} ${text}: give whole numbers from 1`)
  return number
}

/** Policies have tables of all their frames; these are 64 GiB of pages of 4096 bytes. */
const mostFrames = 2 ** 24

function framesOf(text: string): number[] {
  const all = text.split(',').flatMap(part => {
    const [low, high] = part.split('-')
    if (low === '' || high === '') throw new UsageError(`--frames ${part}: give a range such as 3-8`)
    if (high === undefined) return [wholeNumber('--frames', part)]
    const from = wholeNumber('--frames', low ?? '')
    const to = wholeNumber('--frames', high)
    if (to < from || to - from > 10_000) throw new UsageError(`--frames ${part}: give a range such as 3-8`)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
  for (const frames of all)
    if (frames > mostFrames) throw new UsageError(`--frames ${frames}: give at most ${mostFrames}`)
  return all
}

/** What a comparison can be asked for, wherever it is. */
export function comparisonOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--frames <list>',
        'numbers of frames, such as 3-8 or 64,256 (default: parts of the pages that the trace uses)',
      ).argParser(framesOf),
    )
    .addOption(
      new Option('--page-size <bytes>', 'default 4096; 1 if the trace has page numbers').argParser(text =>
        wholeNumber('--page-size', text),
      ),
    )
    .addOption(new Option('--csv', 'print CSV').conflicts('json'))
    .addOption(new Option('--plot <file>', 'draw the miss-ratio curves; ends in .svg or .png'))
}

/** all, or names with commas; opt, which is always shown, may be among them. UsageError. */
export function policiesOf(text: string): PolicyName[] {
  if (text === 'all') return [...policyNames]
  return text.split(',').flatMap(name => {
    if (isPolicyName(name)) return name
    if (name === 'opt') return []
    throw new UsageError(`--policy ${name}: there are all, ${policyNames.join(', ')}; opt is always shown`)
  })
}

export function policiesCommand(): Command {
  const command = new Command('policies')
    .description('compare replacement policies on a trace of addresses or pages, with OPT as the bound')
    .argument('<trace>', 'a trace, plain, .gz or .zst (-: standard input)')
    .addOption(new Option('--policy <names>', 'all, or some; opt for --steps').argParser(stepPoliciesOf))
    .addOption(
      new Option(
        '--steps',
        'print every reference: hit or miss, the page that goes, what is in memory; of one policy with one number of frames',
      ).conflicts(['csv', 'plot', 'json']),
    )
  return comparisonOptions(command)
    .addOption(
      new Option(
        '--format <format>',
        'what the trace is; found out from name and contents if not given',
      ).choices(traceFormats),
    )
    .addOption(
      new Option('--seed <number>', 'of the policy random')
        .default(1)
        .argParser(text => wholeNumber('--seed', text)),
    )
    .addOption(options.json())
    .addHelpText(
      'after',
      examples([
        ['lethe machine policies --page-size 1 pages.txt', 'all, with numbers of frames that suit the trace'],
        ['lethe machine policies --policy lru,arc --frames 64,256 ls.lackey.zst', 'two of them'],
        ['lethe machine policies --policy lru --frames 3 --steps --page-size 1 pages.txt', 'step by step'],
      ]),
    )
    .action(async (path: string, flags: PoliciesFlags) => {
      const [name] = flags.policy ?? []
      if (flags.steps === true) {
        const [frames] = flags.frames ?? []
        if (
          name === undefined ||
          flags.policy?.length !== 1 ||
          frames === undefined ||
          flags.frames?.length !== 1
        )
          throw new UsageError(
            '--steps shows one policy with one number of frames: give --policy and --frames',
          )
        return steps(path, name, frames, flags)
      }
      const some = (flags.policy ?? policyNames).filter(one => one !== 'opt')
      return comparePolicies(path, some, flags, flags.seed)
    })
}

interface PoliciesFlags extends ComparisonFlags {
  readonly policy?: readonly (PolicyName | 'opt')[]
  readonly steps?: boolean
  readonly seed: number
}

const stepPoliciesOf = (text: string): (PolicyName | 'opt')[] => (text === 'opt' ? ['opt'] : policiesOf(text))

/** Every reference of a trace, as people work it out by hand. */
async function steps(
  path: string,
  name: PolicyName | 'opt',
  frames: number,
  flags: PoliciesFlags,
): Promise<void> {
  const { pages, numbers } = await readPageTrace(path, flags.pageSize ?? 4096, flags.format)
  const policy = name === 'opt' ? createOpt(frames, pages) : createPolicy(name, frames, { seed: flags.seed })
  let hits = 0
  for (const page of pages) {
    const result = policy.access(page)
    if (result === HIT) hits++
    const held = policy.queues().flatMap(queue => (queue.ghost ? [] : queue.pages))
    const gone = result === HIT || result === NONE ? '' : `, ${numbers.page(result)} goes`
    const inMemory = held.map(one => numbers.page(one)).join(' ')
    print(`${numbers.page(page)}: ${result === HIT ? 'hit' : 'miss'}${gone}; in memory ${inMemory}`)
  }
  print(`${hits} hits, ${pages.length - hits} misses`)
}

/** Prints, and draws if asked, what each policy misses on a trace. */
export async function comparePolicies(
  path: string,
  policies: readonly PolicyName[],
  flags: ComparisonFlags,
  seed: number,
): Promise<void> {
  const kind = flags.plot === undefined ? undefined : /\.(svg|png)$/.exec(flags.plot)?.[1]
  if (flags.plot !== undefined && kind === undefined)
    throw new UsageError(`--plot ${flags.plot}: give a file that ends in .svg or .png`)
  checkWritable('--plot', flags.plot)
  const { pages, numbers } = await readPageTrace(path, flags.pageSize ?? 4096, flags.format)
  const result = compare(
    path === '-' ? 'standard input' : basename(path),
    pages,
    flags.frames ?? spread(numbers.count),
    policies,
    seed,
  )
  if (flags.plot !== undefined) {
    const chart = missCurves(result)
    writeResult('--plot', flags.plot, kind === 'svg' ? linesSvg(chart) : linesPng(chart))
  }
  if (flags.json === true) return printJson({ type: 'comparison', ...result, anomalies: anomalies(result) })
  if (flags.csv === true) return print(comparisonCsv(result))
  const rows = result.policies.map(({ name, misses }) => [
    name,
    ...misses.map(String),
    overOpt(result, misses).toFixed(3),
  ])
  const head = ['frames', ...result.frames.map(String), 'over OPT']
  const widths = head.map((word, i) => Math.max(word.length, ...rows.map(row => (row[i] as string).length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join('  ')
  print(`${result.trace}: ${result.references} references to ${result.pages} pages; misses`)
  print(paint('bold', line(head)))
  for (const row of rows) print(row[0] === defaultPolicy ? paint('bold', line(row)) : line(row))
  for (const { policy, fewer, more } of anomalies(result))
    print(`Belady's anomaly: ${policy} misses more with ${more} frames than with ${fewer}`)
}
