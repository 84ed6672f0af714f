// A guest's run: the one way in which a guest is run here, plain, with a budget, on the machine, checked or recorded.
//
//   load(path) → Guest → passes rewrite it → compile → instance with our WASI → ready(running) → _start → ending
//
// `run` goes on in the calling thread until the guest has ended. Whoever gives passes gives the imports that they add, and
// an observer hears of every call to the host and of what the host does with the memory.
import { basename } from 'node:path'
import type { Grant, Reader, Writer } from './descriptors.ts'
import {
  engine,
  type EngineInstance,
  type EngineMemory,
  type EngineModule,
  type ImportEntry,
  type ImportObject,
} from './engine.ts'
import { keepCode, keptCode } from './code.ts'
import { GuestError } from './errors.ts'
import { compile, type Guest, type Pass, rewritten } from './load.ts'
import { GuestMemory, type MemoryObserver } from './memory.ts'
import { type Frame, trapFrames } from './traces.ts'
import { type CallObserver, GuestExit, Wasi } from './wasi.ts'

/** All may be left out. Times: before and after each call, `wrote` and `reads` within it. */
export interface Observer extends CallObserver, MemoryObserver {
  /** It has ended by returning or by proc_exit. */
  exit?(exitCode: number): void
  trap?(trap: Trap): void
}

/** A guest about to run. */
export interface Running {
  readonly instance: EngineInstance
  readonly memory: GuestMemory
  readonly wasi: Wasi
  readonly module: EngineModule
}

export interface RunOptions {
  /** What follows the program's name. */
  readonly args?: readonly string[]
  /** The program's name as it is told. Default: the file's. */
  readonly name?: string
  readonly env?: Readonly<Record<string, string>>
  readonly dirs?: readonly Grant[]
  /** A descriptor of the host's, or a function. Default: 0, 1, 2. */
  readonly stdin?: number | Reader
  readonly stdout?: number | Writer
  readonly stderr?: number | Writer
  readonly passes?: readonly Pass[]
  /** What passes import, by module and name. */
  readonly imports?: ImportObject
  readonly observer?: Observer
  /** Called when there is an instance, before any of its code but its start function has run. */
  readonly ready?: (running: Running) => void
  /** System calls can't write to the guest's memory themselves: what they bring is copied. */
  readonly bounces?: boolean
  /** The memory that the guest imports, for one that does. */
  readonly memory?: EngineMemory
  /** An export to call instead of `_start`. */
  readonly invoke?: string
  /** What the engine has compiled is kept for the next run. */
  readonly keepCode?: boolean
}

/** A run that the guest did not end. */
export interface Trap {
  /** the engine's words: 'unreachable', 'memory access out of bounds' */
  readonly message: string
  /** innermost first */
  readonly frames: readonly Frame[]
}

export type Ending = { readonly exitCode: number; readonly trap?: undefined } | { readonly trap: Trap }

const wasiModules: readonly string[] = ['wasi_snapshot_preview1']

/** Runs a guest to its end. GuestError for one that can't be started. */
export function run(guest: Guest, options: RunOptions = {}): Ending {
  const { observer } = options
  const bytes = rewritten(guest, options.passes ?? [], revision)
  const kept = options.keepCode === true ? keptCode(bytes) : undefined
  const module = kept ?? compile(guest.path, bytes)
  let started: EngineInstance | undefined
  const wasi = new Wasi({
    args: [options.name ?? basename(guest.path), ...(options.args ?? [])],
    env: options.env ?? {},
    dirs: options.dirs ?? [],
    stdin: options.stdin ?? 0,
    stdout: options.stdout ?? 1,
    stderr: options.stderr ?? 2,
  })
  try {
    const imports = collect(guest, engine.Module.imports(module), options, wasi)
    const ending = attempt(() => {
      const instance = new engine.Instance(module, imports)
      started = instance
      const memory = memoryOf(guest, instance, options)
      memory.bounces = options.bounces === true
      wasi.attach(memory)
      options.ready?.({ instance, memory, wasi, module })
      start(guest, instance, options.invoke)
    })
    if (ending.trap === undefined) observer?.exit?.(ending.exitCode)
    else observer?.trap?.(ending.trap)
    if (options.keepCode === true) keepCode(bytes, module, started?.exports['_start'])
    return ending
  } finally {
    wasi.descriptors.end()
  }
}

/** Part of the key of kept modules: what an older Lethe has rewritten is not used. */
const revision = '1'

function collect(
  guest: Guest,
  wanted: readonly ImportEntry[],
  options: RunOptions,
  wasi: Wasi,
): ImportObject {
  const given: ImportObject = { ...options.imports }
  const calls = wasi.imports(options.observer)
  for (const name of wasiModules) given[name] = calls
  const missing: string[] = []
  for (const { module, name, kind } of wanted) {
    if (given[module]?.[name] !== undefined) continue
    if (kind === 'memory' && options.memory !== undefined)
      given[module] = { ...given[module], [name]: options.memory }
    else missing.push(`${module}.${name}`)
  }
  if (missing.length > 0) {
    const some = missing.slice(0, 5).join(', ')
    throw new GuestError(
      'imports',
      `${guest.path} needs ${missing.length === 1 ? 'an import that nobody gives' : `${missing.length} imports that nobody gives`}: ${some}${missing.length > 5 ? ', …' : ''}; Lethe runs programs for WASI preview 1`,
    )
  }
  return given
}

function memoryOf(guest: Guest, instance: EngineInstance, options: RunOptions): GuestMemory {
  const memory = (instance.exports['memory'] ?? options.memory) as EngineMemory | undefined
  if (memory?.buffer === undefined)
    throw new GuestError('module', `${guest.path} has no memory named "memory", which WASI asks for`)
  return new GuestMemory(memory, options.observer)
}

function start(guest: Guest, instance: EngineInstance, invoke: string | undefined): void {
  const { _start, _initialize } = instance.exports
  if (invoke === undefined && typeof _start !== 'function')
    throw new GuestError(
      'module',
      `${guest.path} has no function "_start": it is a library, not a program; name an export with --invoke`,
    )
  if (invoke !== undefined && typeof _initialize === 'function') _initialize()
  const main = instance.exports[invoke ?? '_start']
  if (typeof main !== 'function')
    throw new GuestError('module', `${guest.path} exports no function "${invoke}"`)
  main()
}

function attempt(body: () => void): Ending {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 100
  try {
    body()
    return { exitCode: 0 }
  } catch (error) {
    if (error instanceof GuestExit) return { exitCode: error.exitCode }
    const overflow = error instanceof RangeError && error.message.includes('call stack')
    if (error instanceof engine.RuntimeError || overflow)
      return { trap: { message: overflow ? 'stack overflow' : error.message, frames: trapFrames(error) } }
    throw error
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
