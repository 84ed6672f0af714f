// lethe run prog.wasm: a WebAssembly program for WASI, in this process.
import { type Ending, run, type RunOptions } from '../guest/instance.ts'
import type { GuestCollector } from '../guest/gc.ts'
import type { MachineRun } from '../guest/machine.ts'
import type { MallocWatch } from '../guest/malloc-sites.ts'
import { type Guest, load } from '../guest/load.ts'
import { together } from '../guest/together.ts'
import { UsageError } from './errors.ts'
import { beginFile } from './files.ts'
import { commandError, endAs, parseDir, parseEnv } from './guest-parts.ts'
import type { MachineFlags } from './machine-options.ts'

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
  if (typeof flags.json === 'string') beginFile('--json', flags.json)
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
      collector = new GuestCollector(
        guest.module,
        mallocOf(path, guest.module, flags.mallocFunctions, 'collect'),
      )
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
      const functions = mallocOf(path, guest.module, flags.mallocFunctions, 'replace')
      options = together(options, withAllocator(guest.module, functions, allocatorPolicy(flags.malloc)))
    }
    if (flags.mmu === 'machine') {
      ending = await onMachine(guest, options, flags)
    } else if (flags.explain === true)
      ending = (await import('./guest-explained.ts')).explained(guest, options, flags)
    else ending = flags.budget === undefined ? run(guest, options) : await withBudget(guest, options, flags)
    if (watch !== undefined) (await told()).tellSites(watch, flags)
    if (collector !== undefined) (await told()).tellGc(collector.counts(), flags)
  } catch (error) {
    throw commandError(error)
  }
  endAs(ending)
}

// What is told at the end; a plain run has nothing to tell.
const told = (): Promise<typeof import('./guest-told.ts')> => import('./guest-told.ts')

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
  const { ending, counts, picture } = await runWithin(guest, options, flags.budget as number, functions)
  ;(await told()).tellBudget(counts, picture, flags)
  return ending
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
  const { record } = await told()
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
