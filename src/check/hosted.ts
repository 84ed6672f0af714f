// Checks for a guest that a JavaScript program runs, which shares its memory: who writes what there, or keeps which pointer, nobody sees.
//
//   door.ts: instance → HostedCheck: passes, imports → ready(instance) → the program → result()
//
// So all of the memory counts as defined, what is loaded from it has no tag, nothing is lost, and all but the heap's room may be touched. What is
// left: the heap (bounds, freed blocks, what free is given), the stack, variables, null pointers. Its malloc is exchanged only if all of the
// family is found, and blocks lie in `room` bytes behind the memory that the guest asks for, because JavaScript keeps views of it.
import type { EngineInstance, EngineMemory, ImportObject } from '../guest/engine.ts'
import type { Guest, Pass } from '../guest/load.ts'
import type { MallocFunctions } from '../guest/malloc-functions.ts'
import { type CheckResult, instrumented, passName, start, usualQuarantine } from './check.ts'
import { isNothing } from './suppressions.ts'
import { CheckError, refuse } from './pass.ts'
import { Program } from './program.ts'
import { Runtime, type RuntimeOptions } from './runtime.ts'

export interface HostedOptions extends Partial<Omit<RuntimeOptions, 'host'>> {
  /** Functions that are malloc, free and so on, beside those that are named so. */
  readonly mallocFunctions?: MallocFunctions
  /** As CheckOptions. */
  readonly useAfterScope?: boolean
}

/** The bytes that a heap gets: what memories that the program makes have to have more than it asks for. */
export const heapRoom: number = 1 << 30

const wasmPage = 65_536

/** Why a module can't be checked; undefined: it can. */
export function whyUnchecked({ module }: Guest): string | undefined {
  try {
    refuse(module)
    return undefined
  } catch (error) {
    if (error instanceof CheckError) return error.message
    throw error
  }
}

/** One instance of a guest. */
export class HostedCheck {
  readonly passes: readonly Pass[]
  readonly imports: ImportObject
  readonly #program: Program
  readonly #runtime: Runtime
  #attached = false

  /** `made`: the memory that it imports, if that has room for a heap behind the `bytes` that the program has asked for. */
  constructor(
    guest: Guest,
    options: HostedOptions,
    made?: { readonly memory: EngineMemory; readonly bytes: number },
  ) {
    const { module } = guest
    const functions = options.mallocFunctions ?? new Map()
    const [own] = module.memories
    const program = new Program(module, functions, own === undefined && made === undefined)
    const scopes = options.useAfterScope === true
    program.scopes = scopes
    const base = made?.bytes ?? (own?.min ?? 0) * wasmPage
    // The last page of all addresses stays out of it.
    const room = program.hasAllocator ? Math.max(0, Math.min(heapRoom, 0xffff_0000 - base)) : 0
    this.#program = program
    this.#runtime = new Runtime(program, {
      quarantine: options.quarantine ?? usualQuarantine,
      suppress: options.suppress ?? isNothing,
      tell: options.tell ?? (() => {}),
      host: { base, room },
    })
    this.imports = this.#runtime.imports()
    this.passes = [
      {
        name: `hosted 4 ${passName(functions, scopes)} ${room}`,
        apply: it => instrumented(program, it, { room }),
      },
    ]
  }

  /** Called with the instance, before the program has it. */
  ready(instance: EngineInstance): void {
    this.#runtime.attach(instance)
    this.#attached = true
    start(instance)
  }

  /** What has been found so far; undefined: there was no instance. */
  result(exitCode: number | undefined): CheckResult | undefined {
    if (!this.#attached) return undefined
    const { heap, log } = this.#runtime
    return {
      exitCode,
      findings: log.findings,
      errors: log.errors,
      suppressed: log.suppressed,
      heap: { allocations: heap.allocations, frees: heap.frees, bytes: heap.bytes },
      leaks: undefined,
      hasAllocator: this.#program.hasAllocator,
      functions: this.#program.module.functions.length,
    }
  }
}

/** One result of several instances of a program. */
export function joined(results: readonly CheckResult[], exitCode: number | undefined): CheckResult {
  const sum = (of: (one: CheckResult) => number): number => results.reduce((all, one) => all + of(one), 0)
  return {
    exitCode,
    findings: results.flatMap(one => one.findings),
    errors: sum(one => one.errors),
    suppressed: sum(one => one.suppressed),
    heap: {
      allocations: sum(one => one.heap.allocations),
      frees: sum(one => one.heap.frees),
      bytes: sum(one => one.heap.bytes),
    },
    leaks: undefined,
    hasAllocator: results.length === 0 || results.some(one => one.hasAllocator),
    functions: sum(one => one.functions),
  }
}
