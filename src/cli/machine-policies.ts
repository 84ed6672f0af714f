// lethe machine policies: one trace under every replacement policy, with OPT as the bound.
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { anomalies, compare, comparisonCsv, missCurves, overOpt, spread } from '../machine/compare.ts'
import { readPageTrace } from '../machine/page-trace.ts'
import { linesPng, linesSvg } from '../plot/lines.ts'
import { defaultPolicy, isPolicyName, type PolicyName, policyNames } from '../policy/index.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { paint, print, printJson } from './output.ts'

interface Flags {
  readonly frames?: readonly number[]
  readonly policy?: readonly PolicyName[]
  readonly pageSize: number
  readonly seed: number
  readonly csv?: true
  readonly json?: true
  readonly plot?: string
}

function wholeNumber(option: string, text: string): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number) || number < 1)
    throw new UsageError(`${option} ${text}: give whole numbers from 1`)
  return number
}

function framesOf(text: string): number[] {
  return text.split(',').flatMap(part => {
    const [low, high] = part.split('-')
    if (high === undefined) return [wholeNumber('--frames', part)]
    const from = wholeNumber('--frames', low ?? '')
    const to = wholeNumber('--frames', high)
    if (to < from || to - from > 10_000) throw new UsageError(`--frames ${part}: give a range such as 3-8`)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
}

function policiesOf(text: string): PolicyName[] {
  if (text === 'all') return [...policyNames]
  return text.split(',').map(name => {
    if (isPolicyName(name)) return name
    throw new UsageError(`--policy ${name}: there are all, ${policyNames.join(', ')}; opt is always shown`)
  })
}

export function policiesCommand(): Command {
  return new Command('policies')
    .description('compare replacement policies on a trace of addresses or pages, with OPT as the bound')
    .argument(
      '<trace>',
      'addresses, one a line, or lackey or Dinero lines; gzip and zstd too; - is standard input',
    )
    .addOption(
      new Option(
        '--frames <list>',
        'numbers of frames, such as 3-8 or 64,256 (default: parts of the pages that the trace uses)',
      ).argParser(framesOf),
    )
    .addOption(new Option('--policy <names>', 'all, or some').argParser(policiesOf))
    .addOption(
      new Option('--page-size <bytes>', '1 if the trace has page numbers')
        .default(4096)
        .argParser(text => wholeNumber('--page-size', text)),
    )
    .addOption(
      new Option('--seed <number>', 'of the policy random')
        .default(1)
        .argParser(text => wholeNumber('--seed', text)),
    )
    .addOption(new Option('--csv', 'print CSV').conflicts('json'))
    .addOption(new Option('--json', 'print one JSON document'))
    .addOption(new Option('--plot <file>', 'draw the miss-ratio curves; ends in .svg or .png'))
    .action(async (path: string, flags: Flags) => policies(path, flags))
}

async function policies(path: string, flags: Flags): Promise<void> {
  const kind = flags.plot === undefined ? undefined : /\.(svg|png)$/.exec(flags.plot)?.[1]
  if (flags.plot !== undefined && kind === undefined)
    throw new UsageError(`--plot ${flags.plot}: give a file that ends in .svg or .png`)
  const { pages, numbers } = await readPageTrace(path, flags.pageSize).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.syscall === undefined) throw error
      throw new CommandError(exitCode.usage, `${path} can't be read (${error.code})`)
    },
  )
  const result = compare(
    path === '-' ? 'standard input' : basename(path),
    pages,
    flags.frames ?? spread(numbers.count),
    flags.policy,
    flags.seed,
  )
  if (flags.plot !== undefined) {
    const chart = missCurves(result)
    writeFileSync(flags.plot, kind === 'svg' ? linesSvg(chart) : linesPng(chart))
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
