// lethe run prog.wasm: a WebAssembly program for WASI, in this process.
import { statSync, writeFileSync } from 'node:fs'
import { GuestError } from '../guest/errors.ts'
import { type Ending, run, type RunOptions } from '../guest/instance.ts'
import type { GcCounts, GuestCollector } from '../guest/gc.ts'
import type { MachineRun } from '../guest/machine.ts'
import type { Party } from '../guest/malloc-accesses.ts'
import type { MallocWatch } from '../guest/malloc-sites.ts'
import type { BudgetCounts } from '../guest/budget-pages.ts'
import { type Guest, load } from '../guest/load.ts'
import { together } from '../guest/together.ts'
import { frameText } from '../guest/traces.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import type { MachineFlags } from './machine-options.ts'
import { say } from './output.ts'
import { formatSize } from './size.ts'

export interface GuestFlags extends Omit<MachineFlags, 'state'> {
  readonly mmu?: 'kernel' | 'machine'
  readonly dir?: readonly string[]
  readonly env?: readonly string[]
  readonly invoke?: string
  readonly budget?: number
  readonly malloc?: string
  readonly mallocFunctions?: string
  readonly gc?: boolean
  readonly explain?: boolean
  readonly verbose?: boolean
  readonly json?: string | true
}

/** As a shell tells of a program that was aborted. */
const trapped = 134

/** Frames of a trap that are shown. */
const shown = 20

/** Runs it and sets the exit code: the guest's own, or 134 for a trap. */
export async function runGuest([path = '', ...rest]: readonly string[], flags: GuestFlags): Promise<void> {
  const args = rest[0] === '--' ? rest.slice(1) : rest
  if (flags.explain === true && (flags.malloc !== undefined || flags.mmu === 'machine'))
    throw new UsageError(
      `--explain is of the kernel's MMU and the guest's own malloc: leave out ${flags.malloc === undefined ? '--mmu machine' : '--malloc'}`,
    )
  if (flags.gc === true && (flags.malloc !== undefined || flags.explain === true))
    throw new UsageError(
      `--gc has its own malloc: leave out ${flags.malloc === undefined ? '--explain' : '--malloc'}`,
    )
  const dirs = (flags.dir ?? []).map(parseDir)
  const env = Object.fromEntries((flags.env ?? []).map(parseEnv))
  if (typeof flags.json === 'string') writeFileSync(flags.json, '')
  let ending: Ending
  try {
    const guest = load(path)
    let options: RunOptions = {
      args,
      dirs,
      env,
      ...(flags.invoke === undefined ? {} : { invoke: flags.invoke }),
    }
    let watch: MallocWatch | undefined
    let collector: GuestCollector | undefined
    if (flags.gc === true) {
      const { GuestCollector } = await import('../guest/gc.ts')
      const { mallocOf } = await import('../guest/malloc-functions.ts')
      collector = new GuestCollector(guest.module, mallocOf(path, guest.module, flags.mallocFunctions, true))
      options = together(options, collector.options)
    }
    if (flags.malloc === 'observe') {
      const { MallocWatch } = await import('../guest/malloc-sites.ts')
      const { mallocOf } = await import('../guest/malloc-functions.ts')
      const { GuestFiles } = await import('../guest/malloc-explain.ts')
      const files = new GuestFiles()
      const functions = mallocOf(path, guest.module, flags.mallocFunctions)
      watch = new MallocWatch(guest.module, functions, files.explain)
      options = together(options, together({ observer: files.observer }, watch.options))
    } else if (flags.malloc !== undefined) {
      const { allocatorPolicy, withAllocator } = await import('../guest/malloc.ts')
      const { mallocOf } = await import('../guest/malloc-functions.ts')
      const functions = mallocOf(path, guest.module, flags.mallocFunctions, true)
      options = together(options, withAllocator(guest.module, functions, allocatorPolicy(flags.malloc)))
    }
    if (flags.mmu === 'machine') {
      ending = await onMachine(guest, options, flags)
    } else if (flags.explain === true) ending = await explained(guest, options, flags)
    else ending = flags.budget === undefined ? run(guest, options) : await withBudget(guest, options, flags)
    if (watch !== undefined) tellSites(watch, flags)
    if (collector !== undefined) tellGc(collector.counts(), flags)
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    throw new CommandError(error.code === 'impossible' ? exitCode.impossible : exitCode.failed, error.message)
  }
  if (ending.trap === undefined) {
    process.exitCode = ending.exitCode
    return
  }
  const { message, frames } = ending.trap
  say(`the guest trapped: ${message}`)
  for (const frame of frames.slice(0, shown)) process.stderr.write(`    at ${frameText(frame)}\n`)
  if (frames.length > shown) process.stderr.write(`    … and ${frames.length - shown} more\n`)
  process.exitCode = trapped
}

async function withBudget(guest: Guest, options: RunOptions, flags: GuestFlags): Promise<Ending> {
  const { runWithin } = await import('../guest/run-within.ts')
  const { findMalloc, mallocOf } = await import('../guest/malloc-functions.ts')
  // Where there is no name nothing is given back, nor where another listens to malloc, nor where nothing is freed.
  const functions =
    flags.malloc === 'observe' || flags.gc === true
      ? undefined
      : flags.mallocFunctions === undefined
        ? findMalloc(guest.module)
        : mallocOf(guest.path, guest.module, flags.mallocFunctions)
  const { ending, counts } = await runWithin(guest, options, flags.budget as number, functions)
  tellBudget(counts, flags)
  return ending
}

async function explained(guest: Guest, options: RunOptions, flags: GuestFlags): Promise<Ending> {
  const { runReplayed } = await import('../replay/session.ts')
  const { explanationText } = await import('../replay/explain.ts')
  const { ending, explanation } = runReplayed(guest, {
    ...options,
    ...(flags.budget === undefined ? {} : { budget: flags.budget }),
  })
  if (flags.json === undefined) process.stderr.write(explanationText(explanation))
  record(flags, explanation)
  return ending
}

const size = (pages: number): string => formatSize(pages * 4096)

export function tellBudget(counts: BudgetCounts, flags: GuestFlags): void {
  if (flags.verbose === true) say(budgetText(counts))
  record(flags, { type: 'budget', budget: flags.budget, ...counts })
}

function budgetText(c: BudgetCounts): string {
  const dropped = c.droppedZero + c.droppedFile + c.droppedPacked + c.droppedClean
  return (
    `most resident ${size(c.peak)}; dropped ${size(dropped)} (${size(c.droppedFile)} to be had from files, ${size(c.droppedPacked)} packed, ` +
    `${size(c.droppedZero)} zeros, ${size(c.droppedClean)} unchanged), ${size(c.released)} given back by free, ${size(c.trimmed)} without a living block; ` +
    `${c.faults} faults brought ${size(c.fromFile)} from files, ${size(c.unpacked)} unpacked, ${size(c.zeros)} zeros; ` +
    `kept on the side at the end: ${formatSize(c.packedBytes)} for ${size(c.packedPages)}`
  )
}

async function onMachine(guest: Guest, options: RunOptions, flags: GuestFlags): Promise<Ending> {
  const { machine, tell } = await machineFor(flags)
  const made = machine()
  const began = performance.now()
  const ending = run(guest, together(options, made.options))
  tell(made, (performance.now() - began) / 1000)
  return ending
}

/** Machines as the flags want them, and how one is told of. */
export async function machineFor(
  flags: GuestFlags,
): Promise<{ machine: () => MachineRun; tell: (machine: MachineRun, seconds: number) => void }> {
  if (flags.budget !== undefined)
    throw new UsageError('--budget is for the kernel: a machine has frames; say --set frames=N')
  const { MachineRun } = await import('../guest/machine.ts')
  const { chosenMachine } = await import('./machine-options.ts')
  const { report } = await import('./machine-run.ts')
  const { preset, config: file, set } = flags
  const { config } = chosenMachine(
    {
      ...(preset === undefined ? {} : { preset }),
      ...(file === undefined ? {} : { config: file }),
      ...(set === undefined ? {} : { set }),
    },
    'x86-64',
  )
  const tell = (machine: MachineRun, seconds: number): void => {
    const { counters, footprint } = machine.end()
    if (flags.json !== undefined)
      return record(flags, { type: 'machine', machine: config, seconds, footprint, counters })
    const line = (text: string): void => void process.stderr.write(`${text}\n`)
    line(
      `${counters.accesses} accesses (${counters.reads} reads, ${counters.writes} writes) to ${footprint} pages in ${seconds.toFixed(2)} s`,
    )
    report(config, counters, line)
  }
  return { machine: () => new MachineRun(config), tell }
}

function tellGc(c: GcCounts, flags: GuestFlags): void {
  record(flags, { type: 'gc', ...c })
  if (flags.json !== undefined) return
  say(
    `${c.collections} collections freed ${c.reclaimed} of ${c.mallocs} blocks (${formatSize(c.reclaimedBytes)}); ${c.frees} calls of free did nothing; ` +
      `heap of ${formatSize(c.heap)} at most, ${formatSize(c.bytes)} in ${c.objects} blocks at the end; ` +
      `pauses of ${c.pauses.toFixed(1)} ms, the longest ${c.longestPause.toFixed(1)} ms`,
  )
}

/** Sites that are told without --json. */
const mostSites = 20

export function tellSites(watch: MallocWatch, flags: GuestFlags): void {
  const sites = watch.sites()
  if (flags.json !== undefined) {
    record(flags, { type: 'heap', peak: watch.peak, strangeFrees: watch.strange, sites: sites.length })
    for (const site of sites) record(flags, { ...site, type: 'site' })
    return
  }
  const line = (text: string): void => void process.stderr.write(`${text}\n`)
  line(`${sites.length} places took memory; at most ${formatSize(watch.peak)} of blocks lived at a time`)
  for (const site of sites.slice(0, mostSites)) {
    const { blocks, bytes, freed, lived, peakBytes, looked, explained } = site
    const life = freed === 0 ? 'none freed' : `${freed} freed after ${Math.round(lived / freed)} mallocs`
    line(`${formatSize(bytes)} in ${blocks} blocks, at most ${formatSize(peakBytes)} at a time, ${life}`)
    if (looked !== undefined && explained !== undefined && explained > 0)
      line(`  ${Math.round((explained / looked) * 100)} % of it in files that the program has read`)
    line(`  written ${byWhom(site.written, site.writers)}; read ${byWhom(site.read, site.readers)}`)
    for (const frame of site.stack.slice(0, 8)) line(`    ${frameText(frame)}`)
  }
  if (sites.length > mostSites) line(`… and ${sites.length - mostSites} more; --json has all`)
}

/** Functions that are told of as readers or writers. */
const mostParties = 3

function byWhom(bytes: number, parties: readonly Party[]): string {
  if (parties.length === 0) return 'by nobody'
  const some = parties
    .slice(0, mostParties)
    .map(party => `${party.name ?? `function ${party.index}`} (${Math.round((party.bytes / bytes) * 100)} %)`)
  const more = parties.length - some.length
  return `${formatSize(bytes)} by ${some.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** A line for --json: to the file, or to standard error. */
function record(flags: GuestFlags, line: object): void {
  if (flags.json === undefined) return
  if (flags.json === true) process.stderr.write(`${JSON.stringify(line)}\n`)
  else writeFileSync(flags.json, `${JSON.stringify(line)}\n`, { flag: 'a' })
}

export function parseDir(text: string): { host: string; guest: string } {
  const [host = '', guest = host] = text.split('::')
  if (!statSync(host, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`--dir ${text}: ${host} is not a directory`)
  return { host, guest }
}

export function parseEnv(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  const value = process.env[text]
  if (value === undefined || at === 0)
    throw new UsageError(`--env ${text}: there is no such variable; give NAME=VALUE`)
  return [text, value]
}
