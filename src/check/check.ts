// A checked run: a guest is rewritten (pass.ts), run with our runtime behind it, and searched for leaks when it has ended.
import { optimizeLater } from '../guest/code.ts'
import type { Guest } from '../guest/load.ts'
import type { EngineInstance } from '../guest/engine.ts'
import { listed, type MallocFunctions } from '../guest/malloc-functions.ts'
import { type Ending, type Observer, run, type RunOptions } from '../guest/instance.ts'
import { heedHints } from '../wasm/hints.ts'
import type { Module } from '../wasm/module.ts'
import { isNothing } from './suppressions.ts'
import type { CheckFinding, ErrorKind } from './errors.ts'
import { findLeaks, type LeakKind } from './leaks.ts'
import { EXPORTS } from './layout.ts'
import { checkPass } from './pass.ts'
import { Program } from './program.ts'
import { Runtime } from './runtime.ts'

/** How much of the leaks is told. */
export type LeakCheck = 'no' | 'summary' | 'full' | 'all'

export interface CheckOptions extends Omit<RunOptions, 'passes' | 'imports' | 'observer' | 'ready'> {
  /** no, summary: only sums; full (default): each place that lost blocks; all: what is still reachable too. */
  readonly leaks?: LeakCheck
  /** Which leaks count as errors. Default: those that are definite or possible. */
  readonly leakErrors?: ReadonlySet<LeakKind>
  /** Functions that are malloc, free and so on, beside those that are named so. */
  readonly mallocFunctions?: MallocFunctions
  /** Bytes of freed blocks that are not used again at once. Default: 16 MiB. */
  readonly quarantine?: number
  /** Also tells of pointers to variables whose block has ended, while their function runs. Default: false. */
  readonly useAfterScope?: boolean
  /** Findings for which it answers true are only counted. */
  readonly suppress?: (finding: CheckFinding) => boolean
  /** Called for each finding when it is found. */
  readonly tell?: (finding: CheckFinding) => void
}

export interface LeakSum {
  blocks: number
  bytes: number
}

export interface CheckResult {
  /** The guest's exit code; undefined: it trapped. */
  readonly exitCode: number | undefined
  readonly findings: readonly CheckFinding[]
  /** Occurrences of errors; leaks that count as such once for each place. */
  readonly errors: number
  readonly suppressed: number
  readonly heap: { readonly allocations: number; readonly frees: number; readonly bytes: number }
  readonly leaks: Readonly<Record<LeakKind, LeakSum>> | undefined
  /** The guest has no allocator that we know by name: blocks of its heap are not told apart. */
  readonly hasAllocator: boolean
  /** It has line tables. */
  readonly functions: number
}

const MEBI = 1024 * 1024
/** Bytes of freed blocks that are kept unless said otherwise. */
export const usualQuarantine: number = 16 * MEBI
const usual: ReadonlySet<LeakKind> = new Set(['definite', 'possible'])

/** Runs a guest to its end and tells what is wrong with its use of memory. */
export function check(guest: Guest, options: CheckOptions = {}): CheckResult {
  const functions = options.mallocFunctions ?? new Map()
  const scopes = options.useAfterScope === true
  const program = new Program(guest.module, functions)
  program.scopes = scopes
  const runtime = new Runtime(program, {
    quarantine: options.quarantine ?? usualQuarantine,
    suppress: options.suppress ?? isNothing,
    tell: options.tell ?? (() => {}),
  })
  const observer: Observer = {
    before: name => runtime.hostCall(name),
    after: () => runtime.hostCall(undefined),
    wrote: (at, length) => runtime.hostWrote(at, length),
    reads: (at, length) => runtime.hostReads(at, length),
  }
  heedHints()
  optimizeLater()
  let attached = false
  const ending = run(guest, {
    ...options,
    passes: [
      {
        name: passName(functions, scopes),
        apply: module => instrumented(program, module),
      },
    ],
    imports: runtime.imports(),
    observer,
    ready: ({ instance }) => {
      runtime.attach(instance)
      attached = true
      start(instance)
    },
  })
  if (!attached) throw new Error('the run has ended before it began')
  runtime.hostCall(undefined)
  if (ending.trap !== undefined) trapped(runtime, ending)
  // The locals of a program that has trapped are gone: what they held would be told as lost.
  const told = ending.trap === undefined ? (options.leaks ?? 'full') : 'summary'
  const leaks = options.leaks === 'no' ? undefined : searchLeaks(runtime, told, options.leakErrors ?? usual)
  const { heap, log } = runtime
  return {
    exitCode: ending.trap === undefined ? (runtime.exitCode ?? ending.exitCode) : undefined,
    findings: log.findings,
    errors: log.errors,
    suppressed: log.suppressed,
    heap: { allocations: heap.allocations, frees: heap.frees, bytes: heap.bytes },
    leaks,
    hasAllocator: program.hasAllocator,
    functions: program.module.functions.length,
  }
}

/** What kept modules depend on. */
export const passName = (functions: MallocFunctions, scopes: boolean): string =>
  `check 87${scopes ? ' scopes' : ''} ${listed(functions)}`

/** Calls the start function of an instance that the checker has hold of. */
export function start({ exports }: EngineInstance): void {
  const own = exports[EXPORTS.start]
  if (typeof own === 'function') own()
}

/** The module of a program with its checks. `host`: PassOptions. */
export function instrumented(program: Program, module: Module, host?: { readonly room: number }): Module {
  return checkPass(module, {
    host,
    stackPointer: program.stackPointer,
    replaced: program.replaced,
    scans: program.scans,
    globals: program.globals,
    frame: func => program.frame(func),
    destroys: func => program.destroys(func),
    variable: (func, place) => program.variableNumber(func, place),
    globalTag: (address, plain) => program.globalTag(address, plain),
    offsetTag: address => program.offsetTag(address),
    firstData: program.firstData,
    strayGlobal: (address, width, store) => program.strayGlobal(address, width, store),
    stackOrigin: func => program.stackOrigin(func),
  })
}

function trapped(runtime: Runtime, { trap }: Ending): void {
  runtime.error('trap', `the program was ended by the engine: ${trap?.message ?? ''}`, [])
}

function searchLeaks(
  runtime: Runtime,
  told: LeakCheck,
  errors: ReadonlySet<LeakKind>,
): Record<LeakKind, LeakSum> {
  const { heap, program, stacks, shadow } = runtime
  const top = runtime.memory.buffer.byteLength
  const ranges: { start: number; end: number }[] = []
  let from = 0
  for (const range of heap.ranges) {
    if (range.start > from) ranges.push({ start: from, end: range.start })
    from = range.end
  }
  ranges.push({ start: from, end: top })
  const found = findLeaks(runtime.memory.buffer, shadow, heap.live(), {
    ranges,
    values: [...runtime.globals.map(global => global.value as number), ...runtime.roots],
  })
  const sums: Record<LeakKind, LeakSum> = {
    definite: { blocks: 0, bytes: 0 },
    indirect: { blocks: 0, bytes: 0 },
    possible: { blocks: 0, bytes: 0 },
    reachable: { blocks: 0, bytes: 0 },
  }
  const groups = new Map<
    string,
    {
      kind: LeakKind
      stack: number
      blocks: number
      bytes: number
      indirect: number
      indirectBlocks: number
      start: number
      size: number
    }
  >()
  for (const { block, kind: state, indirect, indirectBlocks } of found) {
    // What the C library's start-up takes for main's arguments is never given back: main gets it.
    const kind = program.isStartUp(stacks.sites(block.stack)[0] ?? -1) ? 'reachable' : state
    sums[kind].blocks++
    sums[kind].bytes += block.size
    const key = `${kind} ${block.stack}`
    const group = groups.get(key)
    if (group === undefined)
      groups.set(key, {
        kind,
        stack: block.stack,
        blocks: 1,
        bytes: block.size,
        indirect,
        indirectBlocks,
        start: block.start,
        size: block.size,
      })
    else {
      group.blocks++
      group.bytes += block.size
      group.indirect += indirect
      group.indirectBlocks += indirectBlocks
    }
  }
  if (told === 'summary') return sums
  const words: Readonly<Record<LeakKind, string>> = {
    definite: 'definitely lost',
    indirect: 'indirectly lost',
    possible: 'possibly lost',
    reachable: 'still reachable',
  }
  for (const { kind, stack, blocks, bytes, indirect, indirectBlocks, start, size } of [
    ...groups.values(),
  ].sort((a, b) => a.bytes - b.bytes)) {
    const more = indirectBlocks === 0 ? '' : ` (and ${indirect} bytes in ${indirectBlocks} blocks with them)`
    const counts = errors.has(kind)
    if (!counts && (kind === 'reachable' || kind === 'indirect') && told !== 'all') continue
    runtime.log.record(`${kind} ${stack}`, counts, {
      kind: `leak-${kind}` as ErrorKind,
      message: `${bytes} bytes in ${blocks} block${blocks === 1 ? '' : 's'} are ${words[kind]}${more}, taken at`,
      size: undefined,
      address: start,
      block: { start, size },
      frames: program.describe(stacks.sites(stack)),
      notes: [],
      count: blocks,
      bytes,
    })
  }
  return sums
}
