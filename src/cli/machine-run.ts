// lethe machine run: a trace through the whole machine.
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import type { MachineConfig } from '../machine/config.ts'
import { accessTime, type Counters } from '../machine/counters.ts'
import type { PolicyName } from '../policy/index.ts'
import { TraceEngine } from '../machine/engine.ts'
import { MachineError } from '../machine/errors.ts'
import { Machine } from '../machine/machine.ts'
import { kinds, type Sink, type TraceFormat, traceFormats } from '../machine/trace.ts'
import { type Direct, readTrace, TraceSource } from '../machine/trace-file.ts'
import { examples, options } from './arguments.ts'
import { UsageError } from './errors.ts'
import { type ComparisonFlags, comparePolicies, comparisonOptions, policiesOf } from './machine-policies.ts'
import { chosenMachine, type MachineFlags, machineOptions } from './machine-options.ts'
import { paint, print, printJson } from './output.ts'

interface RunFlags extends MachineFlags, ComparisonFlags {
  readonly policy?: readonly PolicyName[]
  readonly format?: TraceFormat
  readonly records?: boolean
  readonly quantum: number
  readonly json?: boolean
}

export function runTraceCommand(): Command {
  const command = new Command('run')
    .description('run traces through TLB, page table, caches, memory and disk, and count')
    .argument(
      '<trace...>',
      'traces, plain, .gz or .zst (-: standard input); several are processes that take turns',
    )
  return comparisonOptions(machineOptions(command))
    .addOption(
      new Option(
        '--format <format>',
        'what the traces are; found out from name and contents if not given',
      ).choices(traceFormats),
    )
    .addOption(
      new Option('--quantum <n>', 'references after which another of several traces goes on')
        .argParser(positive)
        .default(10_000),
    )
    .addOption(new Option('--records', 'print a record of every access (slow): all layers, as JSON lines'))
    .addOption(
      new Option(
        '--policy <names>',
        'do not run the machine, compare replacement policies: all, or some (see lethe machine policies)',
      ).argParser(policiesOf),
    )
    .addOption(options.json())
    .addHelpText(
      'after',
      `\nFormats: lackey (valgrind --tool=lackey --trace-mem=yes), din, xdin and dinb (Dinero), pixie32 and pixie64, addresses and hex (one a line), u32, u64 and lethe (binary).\n${examples(
        [
          ['lethe machine run --preset x86-64 ls.lackey.zst', 'a program that valgrind has recorded'],
          ['lethe machine run --set frames=64 --set policy=clock pages.txt', 'little memory, another policy'],
          ['lethe machine run --preset p6 a.din b.din', 'two processes'],
        ],
      )}`,
    )
    .action(run)
}

const nothing = (paths: readonly string[]): MachineError =>
  new MachineError(
    'trace',
    `${paths.join(', ').replace(/^-$/, 'standard input')}: there is no reference in it, so there is nothing to run`,
  )

const some = (n: number, what: string, more = `${what}s`): string => `${n} ${n === 1 ? what : more}`

function positive(text: string): number {
  const n = /^\d+$/.test(text) ? Number(text) : 0
  if (!(n > 0 && Number.isSafeInteger(n))) throw new UsageError(`'${text}' is not a whole number above 0`)
  return n
}

async function run(paths: string[], flags: RunFlags): Promise<void> {
  const { config, given } = chosenMachine(flags, 'x86-64')
  if (flags.policy !== undefined) {
    if (paths.length > 1) throw new UsageError(`--policy compares on one trace; ${paths.length} were given`)
    const pageSize = flags.pageSize ?? config.pageSize
    return comparePolicies(paths[0] as string, flags.policy, { ...flags, pageSize }, config.seed)
  }
  for (const name of ['frames', 'pageSize', 'csv', 'plot'] as const)
    if (flags[name] !== undefined)
      throw new UsageError(
        `--${name === 'pageSize' ? 'page-size' : name} belongs to a comparison: add --policy all, or say --set ${name === 'frames' ? 'frames' : 'pageSize'}=… for the machine`,
      )
  if (flags.records) return records(paths, given, flags)
  const engine = new TraceEngine(config)
  const began = performance.now()
  const format = await feed(
    paths,
    (words, count) => engine.run(words, count),
    flags,
    (bytes, dinero) => engine.runBytes(bytes, dinero),
  )
  const seconds = (performance.now() - began) / 1000
  const { counters } = engine
  if (counters.accesses === 0) throw nothing(paths)
  const time = accessTime(config, counters)
  if (flags.json) {
    printJson(
      {
        type: 'run',
        traces: paths,
        format,
        machine: config,
        seconds,
        references: counters.accesses,
        processes: engine.processes,
        footprint: { pages: engine.footprint, bytes: engine.footprint * config.pageSize },
        pageTables: { frames: engine.tableFrames },
        counters,
        accessTime: time,
      },
      2,
    )
    return
  }
  print(
    paint(
      'bold',
      `${paths.map(path => (path === '-' ? 'standard input' : basename(path))).join(', ')}: ${some(counters.accesses, 'reference')}`,
    ) +
      ` (${some(counters.reads, 'read')}, ${some(counters.writes, 'write')}, ${some(counters.fetches, 'fetch', 'fetches')}) in ${seconds.toFixed(2)} s, ${(counters.accesses / 1e6 / seconds).toFixed(1)} million a second`,
  )
  report(config, counters)
  if (config.translation)
    print(
      `Footprint          ${some(engine.footprint, 'page')} of ${config.pageSize} bytes, ${some(engine.processes, 'process', 'processes')}, ${some(engine.tableFrames, 'frame')} of page tables`,
    )
}

const percent = (part: number, whole: number): string =>
  whole === 0 ? '-' : `${((100 * part) / whole).toFixed(3)} %`

/** The counters as a table by lines, and the effective access time. */
export function report(config: MachineConfig, sums: Counters, line: (text: string) => void = print): void {
  if (config.translation) {
    const looks = sums.tlbHits + sums.tlbMisses
    if (looks > 0)
      line(`TLB                ${sums.tlbMisses} misses of ${looks}, ${percent(sums.tlbMisses, looks)}`)
    line(`Walks              ${sums.walks}, ${sums.walkSteps} entries read`)
    line(
      `Page faults        ${sums.pageFaults} (${sums.minorFaults} minor, ${sums.majorFaults} major), ${percent(sums.pageFaults, sums.accesses)}`,
    )
    line(
      `Replacement        ${sums.evictions} evictions, ${sums.pagesWritten} pages written, ${sums.pagesRead} read (${config.policy}, ${config.frames} frames)`,
    )
  }
  // L1 before L2.
  for (const [name, cache] of Object.entries(sums.caches).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const all = cache.reads + cache.writes + cache.fetches
    const misses = cache.readMisses + cache.writeMisses + cache.fetchMisses
    line(
      `${name.padEnd(18)} ${misses} misses of ${all}, ${percent(misses, all)} (reads ${cache.readMisses}, writes ${cache.writeMisses}, fetches ${cache.fetchMisses}), ${cache.evictions} evictions, ${cache.writeBacks} written back`,
    )
  }
  const time = accessTime(config, sums)
  line(
    `Access time        ${time.measured.toFixed(2)} cycles measured, ${time.predicted.toFixed(2)} by the formula:`,
  )
  for (const { name, formula, cycles } of time.terms)
    line(`  ${name.padEnd(16)} ${cycles.toFixed(2)} = ${formula}`)
}

/** All traces into one sink; several in turns, each as the process of its place. */
async function feed(
  paths: readonly string[],
  sink: Sink,
  flags: RunFlags,
  direct?: Direct,
): Promise<TraceFormat> {
  if (paths.length === 1) return readTrace(paths[0] as string, sink, flags.format, direct)
  const sources = paths.map(path => new TraceSource(path, flags.format))
  const turn = new Uint32Array(flags.quantum * 2 + 2)
  const live = new Map(sources.map((source, i) => [i + 1, source]))
  while (live.size > 0)
    for (const [process, source] of live) {
      turn[0] = process
      turn[1] = (kinds.process << 28) | (1 << 16)
      const end = await source.take(turn, 2)
      if (end > 2) sink(turn, end / 2)
      if (end < turn.length) live.delete(process)
    }
  return (sources[0] as TraceSource).format
}

async function records(paths: readonly string[], given: object, flags: RunFlags): Promise<void> {
  const machine = new Machine(given)
  machine.signalsEnd = false
  const pids = new Map<number, number>()
  let process = 1
  const sink: Sink = (words, count) => {
    for (let i = 0; i < count; i++) {
      const low = words[i * 2] as number
      const high = words[i * 2 + 1] as number
      const kind = high >>> 28
      if (kind === kinds.process) {
        process = low
        continue
      }
      const pid = pids.get(process) ?? machine.open(`process ${process}`).pid
      pids.set(process, pid)
      const accesses = machine.access(pid, {
        kind: kind === kinds.fetch ? 'fetch' : kind === kinds.write ? 'write' : 'read',
        address: (high & 0xffff) * 2 ** 32 + low,
        size: (high >>> 16) & 0xfff,
      })
      machine.waitFor(pid)
      for (const access of accesses) printJson(access)
    }
  }
  await feed(paths, sink, flags)
  if (machine.counters.accesses === 0) throw nothing(paths)
  printJson({ type: 'counters', ...machine.counters })
}
