// lethe malloc: a trace of allocations on all allocators and policies; and recording one.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import type { Policy } from '../heap/allocator.ts'
import type { Measured } from '../heap/measure.ts'
import type { Trace } from '../heap/trace.ts'
import { examples, options } from './arguments.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { checkWritable, writeResult } from './files.ts'
import { throwing } from './frame.ts'
import { paint, print, printJson, say } from './output.ts'

interface MallocFlags {
  readonly policy?: string[]
  readonly check?: boolean
  readonly searches?: boolean
  readonly limit: number
  readonly plot?: string
  readonly machine?: string
  readonly json?: boolean
}

function parseLimit(text: string): number {
  const seconds = Number(text)
  if (!(seconds > 0 && seconds <= 86_400))
    throw new UsageError(`'${text}' is not a number of seconds: give one above 0, at most 86400`)
  return seconds
}

export function mallocCommand(): Command {
  const command = new Command('malloc')
    .description(
      'run allocation traces on all allocators and policies; say how well each uses memory, and how fast',
    )
    .usage('[options] <trace...>\n       lethe malloc record [options] -- <command...>')
    .argument('<trace...>', 'traces: .rep of CS:APP, wee_alloc, or what lethe malloc record wrote')
    .addOption(
      new Option(
        '--policy <policy>',
        "only this allocator and policy, such as best or 'explicit first address deferred split=32' (repeatable)",
      ).argParser((text: string, all: string[] | undefined) => [...(all ?? []), text]),
    )
    .addOption(
      new Option('--check', 'check the heap after every operation, and the contents of all blocks (slow)'),
    )
    .addOption(new Option('--searches', 'count the blocks that searches look at (slow)'))
    .addOption(
      new Option('--limit <seconds>', 'leave out a policy that takes longer for a trace')
        .argParser(parseLimit)
        .default(1),
    )
    .addOption(
      new Option(
        '--plot <file>',
        'draw payload, heap size and the heap over time, of one trace and policy: .svg or .png',
      ),
    )
    .addOption(
      new Option(
        '--machine <preset>',
        'run the heap in a process of the simulated machine (p6, x86-64, sv39 …): pages, TLB and cache misses',
      ),
    )
    .addOption(options.json())
    .addHelpText(
      'after',
      `\nUtilisation is the largest payload divided by the heap's size at the end; the heap grows in steps of 4 KiB. Of the heap at its largest
payload, internal is what headers, alignment and the policy take inside blocks, external what is free.\n${examples(
        [
          ['lethe malloc app.rep', 'all allocators and policies'],
          ['lethe malloc --policy best --check *.trace', 'one, thoroughly'],
          ["lethe malloc --policy 'implicit next' --plot next.svg app.rep", 'see the heap over time'],
          ['lethe malloc --machine p6 app.rep', 'what each allocator does to TLB and caches'],
          ['lethe malloc record -o ls.trace -- ls -l', 'record a program'],
        ],
      )}`,
    )
    .action(runTraces)
  return command.addCommand(throwing(recordCommand()))
}

function recordCommand(): Command {
  return new Command('record')
    .description('record what a command allocates and frees, with the places that call malloc')
    .usage('[options] -- <command...>')
    .argument('<command...>', 'after --, a command and its arguments')
    .addOption(
      new Option(
        '-o, --output <file>',
        'the trace (default: standard output; what the command prints goes to standard error)',
      ),
    )
    .addHelpText('after', examples([['lethe malloc record -o ls.trace -- ls -l', 'record a program']]))
    .action(recordCommandLine)
}

async function recordCommandLine(words: string[], flags: { output?: string }): Promise<void> {
  checkWritable('--output', flags.output)
  const { record, RecordError } = await import('../heap/record.ts')
  const { formatTrace } = await import('../heap/trace.ts')
  try {
    const { trace, code } = await record(words, flags.output === undefined)
    const text = formatTrace(trace)
    if (flags.output === undefined) process.stdout.write(text)
    else writeResult('--output', flags.output, text)
    say(`${trace.length} operations at ${trace.sites.length} sites`)
    process.exitCode = code
  } catch (error) {
    if (!(error instanceof RecordError)) throw error
    throw new CommandError(error.code === 'no-command' ? 127 : exitCode.impossible, error.message)
  }
}

interface Row {
  readonly policy: string
  readonly measured?: Measured
  readonly searches?: number
  best: boolean
}

interface Sheet {
  readonly path: string
  readonly trace: Trace
  readonly peak: number
  readonly rows: readonly Row[]
}

async function load(path: string): Promise<Trace> {
  const { parseTrace, TraceError } = await import('../heap/trace.ts')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
  }
  try {
    return parseTrace(text)
  } catch (error) {
    if (!(error instanceof TraceError)) throw error
    throw new UsageError(`${path} is not a trace that can be run: ${error.message}`)
  }
}

async function policies(flags: MallocFlags): Promise<readonly Policy[]> {
  const { allPolicies, parsePolicy } = await import('../heap/allocator.ts')
  if (flags.policy === undefined) return allPolicies
  return flags.policy.map(text => {
    try {
      return parsePolicy(text)
    } catch (error) {
      throw new UsageError(`--policy ${text}: ${(error as Error).message}`)
    }
  })
}

async function runTraces(paths: string[], flags: MallocFlags): Promise<void> {
  const chosen = await policies(flags)
  if (flags.plot !== undefined) return plot(paths, chosen, flags)
  if (flags.machine !== undefined) {
    const { mallocOnMachine } = await import('./malloc-machine.ts')
    const traces = await Promise.all(paths.map(async path => ({ path, trace: await load(path) })))
    return mallocOnMachine(traces, flags.policy === undefined ? undefined : chosen, flags.machine, flags.json)
  }
  const sheets: Sheet[] = []
  for (const path of paths) {
    const trace = await load(path)
    sheets.push(await runTrace(path, trace, chosen, flags))
    if (!flags.json) printSheet(sheets[sheets.length - 1] as Sheet)
  }
  if (flags.json) printJson(document(sheets), 2)
  else if (sheets.length > 1) printMeans(sheets)
}

async function runTrace(
  path: string,
  trace: Trace,
  chosen: readonly Policy[],
  flags: MallocFlags,
): Promise<Sheet> {
  const { demandOf, measure } = await import('../heap/measure.ts')
  const { Heap } = await import('../heap/heap.ts')
  const { policyName } = await import('../heap/allocator.ts')
  const { ReplayError, replay } = await import('../heap/replay.ts')
  const demand = demandOf(trace)
  const rows: Row[] = []
  try {
    for (const policy of chosen) {
      const measured = measure(trace, () => new Heap(policy), demand, flags.limit * 1000)
      let searches: number | undefined
      if (measured !== undefined && (flags.check || flags.searches)) {
        const room = measured.heapSize + 65_536
        const result = replay(
          trace,
          new Heap({ ...policy, memory: new ArrayBuffer(room) }),
          flags.check ? { verify: true, checkEvery: 1 } : {},
        )
        searches = result.looked / result.operations
      }
      rows.push({
        policy: policyName(policy),
        ...(measured === undefined ? {} : { measured }),
        ...(searches === undefined ? {} : { searches }),
        best: false,
      })
    }
  } catch (error) {
    if (!(error instanceof ReplayError)) throw error
    throw new CommandError(exitCode.failed, `${path}: ${error.message}`)
  }
  const top = Math.max(...rows.map(row => row.measured?.utilisation ?? 0))
  for (const row of rows) row.best = row.measured !== undefined && row.measured.utilisation === top
  return { path, trace, peak: demand.peak, rows }
}

const percent = (share: number): string => (100 * share).toFixed(1)

function printSheet({ path, trace, peak, rows }: Sheet): void {
  print(paint('bold', `${basename(path)}: ${trace.length} operations, largest payload ${peak} bytes`))
  const width = Math.max(...rows.map(row => row.policy.length), 6)
  const searched = rows.some(row => row.searches !== undefined)
  print(
    `  ${'policy'.padEnd(width)}  util. %  heap bytes  internal %  external %  splinters${searched ? '  searched' : ''}  Mops/s`,
  )
  for (const { policy, measured, searches, best } of rows) {
    if (measured === undefined) {
      print(`  ${policy.padEnd(width)}        -  takes longer than the limit`)
      continue
    }
    const { atPeak, utilisation, heapSize, throughput } = measured
    const line = [
      policy.padEnd(width),
      percent(utilisation).padStart(7),
      String(heapSize).padStart(10),
      percent(atPeak.internal / atPeak.heap).padStart(10),
      percent(atPeak.external / atPeak.heap).padStart(10),
      String(atPeak.splinters).padStart(9),
      ...(searched ? [(searches ?? 0).toFixed(1).padStart(8)] : []),
      (throughput / 1e6).toFixed(1).padStart(6),
    ].join('  ')
    print(best ? paint('green', `* ${line}`) : `  ${line}`)
  }
  print('')
}

// A policy's mean counts only where every trace was measured.
function means(sheets: readonly Sheet[]): { policy: string; utilisation: number; best: boolean }[] {
  const rows = (sheets[0]?.rows ?? []).flatMap(({ policy }, i) => {
    const all = sheets.map(sheet => sheet.rows[i]?.measured?.utilisation)
    if (all.includes(undefined)) return []
    return [
      { policy, utilisation: all.reduce<number>((sum, u) => sum + (u ?? 0), 0) / all.length, best: false },
    ]
  })
  const top = Math.max(...rows.map(row => row.utilisation))
  return rows.map(row => ({ ...row, best: row.utilisation === top }))
}

function printMeans(sheets: readonly Sheet[]): void {
  print(paint('bold', `Mean of ${sheets.length} traces`))
  const rows = means(sheets)
  const width = Math.max(...rows.map(row => row.policy.length), 6)
  print(`  ${'policy'.padEnd(width)}  util. %`)
  for (const { policy, utilisation, best } of rows) {
    const line = `${policy.padEnd(width)}  ${percent(utilisation).padStart(7)}`
    print(best ? paint('green', `* ${line}`) : `  ${line}`)
  }
}

function document(sheets: readonly Sheet[]): object {
  return {
    type: 'malloc',
    traces: sheets.map(({ path, trace, peak, rows }) => ({
      path,
      format: trace.format,
      operations: trace.length,
      peakPayload: peak,
      policies: rows.map(({ policy, measured, searches, best }) => ({
        policy,
        best,
        ...(measured === undefined ? { skipped: 'limit' } : measured),
        ...(searches === undefined ? {} : { searches }),
      })),
    })),
    means: means(sheets),
  }
}

async function plot(paths: readonly string[], chosen: readonly Policy[], flags: MallocFlags): Promise<void> {
  const file = flags.plot ?? ''
  const kind = /\.(svg|png)$/i.exec(file)?.[1]?.toLowerCase()
  if (kind === undefined) throw new UsageError(`--plot ${file}: give a file that ends in .svg or .png`)
  checkWritable('--plot', file)
  if (paths.length > 1) throw new UsageError(`--plot draws one trace; ${paths.length} were given`)
  if (flags.policy !== undefined && flags.policy.length > 1)
    throw new UsageError(`--plot draws one policy; ${flags.policy.length} were given`)
  const { film, png, svg } = await import('../heap/plot.ts')
  const { Heap } = await import('../heap/heap.ts')
  const shot = film(
    await load(paths[0] ?? ''),
    new Heap(flags.policy === undefined ? {} : (chosen[0] as Policy)),
  )
  writeResult('--plot', file, kind === 'svg' ? svg(shot) : png(shot))
  if (flags.json)
    printJson({
      type: 'plot',
      file,
      policy: shot.title.split(':')[0],
      utilisation: shot.utilisation,
      heapSize: shot.heapSize,
    })
  else say(`${file}: ${shot.title}`)
}
