// lethe run script.mjs: a JavaScript program, in this process, whose WebAssembly modules go through the door (src/guest/door.ts).
import type { Budget } from '../guest/budget.ts'
import { type MadeMemory, openDoor, type Visit, type Visitor } from '../guest/door.ts'
import type { EngineMemory } from '../guest/engine.ts'
import { GuestError } from '../guest/errors.ts'
import type { RunOptions } from '../guest/instance.ts'
import type { Guest } from '../guest/load.ts'
import type { MachineRun } from '../guest/machine.ts'
import { findMalloc, mallocOf } from '../guest/malloc-functions.ts'
import { findMallocAndFree } from '../guest/malloc-shape.ts'
import type { MallocWatch } from '../guest/malloc-sites.ts'
import { isShared } from '../guest/run-within.ts'
import { together } from '../guest/together.ts'
import { UsageError } from './errors.ts'
import { beginFile } from './files.ts'
import { type GuestFlags, machineFor } from './guest.ts'
import { commandError } from './guest-parts.ts'
import { tellBudget, tellSites } from './guest-told.ts'
import { say } from './output.ts'
import { startScript } from './script-start.ts'

/** Bytes of heap that an allocator gets in a memory whose host must not see it grow. */
const room = 1 << 30

/** Runs it as node would, when this has returned. */
export async function runScript([path = '', ...rest]: readonly string[], flags: GuestFlags): Promise<void> {
  for (const name of ['dir', 'env', 'invoke', 'explain'] as const)
    if (flags[name] !== undefined && flags[name] !== false)
      throw new UsageError(`--${name} is for programs for WASI: ${path} runs in Node, with what Node has`)
  if (flags.gc === true)
    throw new UsageError(
      `--gc is for programs for WASI: the JavaScript of ${path} keeps pointers where they can't be seen`,
    )
  if (typeof flags.json === 'string') beginFile('--json', flags.json)
  try {
    const visitor = await visitorFor(flags)
    if (visitor !== undefined)
      openDoor(visitor, replaces(flags) ? room : 0, why => say(`left as it is: ${why}`))
  } catch (error) {
    throw commandError(error)
  }
  startScript(path, rest)
}

type Part = (guest: Guest, made: MadeMemory | undefined) => Visit

const replaces = (flags: GuestFlags): flags is GuestFlags & { readonly malloc: string } =>
  flags.malloc !== undefined && flags.malloc !== 'observe'

// What the flags want of each instance; undefined where they want nothing.
async function visitorFor(flags: GuestFlags): Promise<Visitor | undefined> {
  const parts: Part[] = []
  if (flags.malloc === 'observe') parts.push(await observing(flags))
  else if (replaces(flags)) parts.push(await replacing(flags.malloc, flags))
  if (flags.mmu === 'machine') parts.push(await onMachines(flags))
  // First: what calls malloc is told, whoever's malloc that will be.
  else if (flags.budget !== undefined) parts.unshift(await within(flags.budget, flags))
  if (parts.length === 0) return undefined
  return (guest, made) => (hasMemory(guest) ? both(parts.map(part => part(guest, made))) : undefined)
}

function both(visits: readonly Visit[]): Visit {
  let options: RunOptions = {}
  for (const { passes = [], imports = {} } of visits) options = together(options, { passes, imports })
  const { passes = [], imports = {} } = options
  return {
    passes,
    imports,
    ready: (instance, memory) => {
      for (const one of visits) one.ready?.(instance, memory)
    },
    left: () => {
      for (const one of visits) one.left?.()
    },
  }
}

const hasMemory = ({ module }: Guest): boolean =>
  module.memories.length > 0 || module.imports.some(one => one.kind === 'memory')

/** Memories that the program has made, and an instance works on that has its own malloc. */
const taken = new WeakSet<EngineMemory>()

// A part of a program that works on the memory of another instance, with that one's malloc: a library that is linked when it is loaded, or a helper.
const isSide = ({ module }: Guest, made: MadeMemory | undefined): boolean =>
  (made === undefined || taken.has(made.memory)) &&
  module.memories.length === 0 &&
  module.imports.every(one => one.kind !== 'memory' || !one.type.shared) &&
  findMalloc(module).size === 0 &&
  findMallocAndFree(module) === undefined

async function replacing(name: string, flags: GuestFlags): Promise<Part> {
  const { allocatorPolicy, withAllocatorWithin } = await import('../guest/malloc.ts')
  const policy = allocatorPolicy(name)
  return (guest, made) => {
    if (isSide(guest, made)) return {}
    if (guest.module.memories.length === 0 && made === undefined)
      throw new GuestError(
        'option',
        `${guest.path} imports a memory that is shared, or another instance's: run it without --malloc ${name}`,
      )
    const functions = mallocOf(guest.path, guest.module, flags.mallocFunctions, 'replace')
    if (made !== undefined) taken.add(made.memory)
    return withAllocatorWithin(guest.module, functions, policy, room, made)
  }
}

async function observing(flags: GuestFlags): Promise<Part> {
  const { MallocWatch } = await import('../guest/malloc-sites.ts')
  const watches: MallocWatch[] = []
  process.on('exit', () => {
    for (const watch of watches) tellSites(watch, flags)
  })
  return (guest, made) => {
    if (isSide(guest, made)) return {}
    const watch = new MallocWatch(guest.module, mallocOf(guest.path, guest.module, flags.mallocFunctions))
    if (made !== undefined) taken.add(made.memory)
    watches.push(watch)
    const { passes = [], imports = {} } = watch.options
    return {
      passes,
      imports,
      ready: (instance, memory) => watch.attach(instance, bytesOf(memory)),
      left: () => void watches.splice(watches.indexOf(watch), 1),
    }
  }
}

const bytesOf = (memory: EngineMemory | undefined) => (): Uint8Array =>
  new Uint8Array(memory?.buffer ?? new ArrayBuffer(0))

async function onMachines(flags: GuestFlags): Promise<Part> {
  const { machine, tell } = await machineFor(flags)
  const began = performance.now()
  const machines: MachineRun[] = []
  process.on('exit', () => {
    for (const one of machines) tell(one, (performance.now() - began) / 1000)
  })
  return () => {
    const made = machine()
    machines.push(made)
    const { passes = [], imports = {} } = made.options
    return {
      passes,
      imports,
      ready: instance => made.attach(instance),
      left: () => void machines.splice(machines.indexOf(made), 1),
    }
  }
}

async function within(limit: number, flags: GuestFlags): Promise<Part> {
  const { Budget } = await import('../guest/budget.ts')
  const { withRelease } = await import('../guest/malloc.ts')
  const budget: Budget = await Budget.open(limit)
  if (budget.bounces)
    throw new GuestError(
      'impossible',
      "A budget for a script needs the privilege to serve faults of Node's own system calls (see lethe doctor)",
    )
  process.on('exit', () => tellBudget(budget.counts(), budget.picture(), flags))
  return guest => {
    if (isShared(guest.module))
      throw new GuestError(
        'option',
        `${guest.path} has a memory that is shared between threads or has 64-bit addresses: run it without --budget`,
      )
    const functions =
      flags.mallocFunctions === undefined
        ? findMalloc(guest.module)
        : mallocOf(guest.path, guest.module, flags.mallocFunctions)
    let own: EngineMemory | undefined
    const { passes = [], imports = {} } =
      functions.size === 0 || flags.malloc === 'observe'
        ? {}
        : withRelease(
            functions,
            {
              release: (at, length) => own !== undefined && budget.release(own, at, length),
              trim: ranges => own !== undefined && budget.trim(own, ranges),
            },
            at => (own === undefined ? 0 : new DataView(own.buffer).getUint32(at, true)),
          )
    return {
      passes,
      imports,
      ready(_instance, memory) {
        if (memory === undefined)
          throw new GuestError('option', `${guest.path} shows its memory to nobody: run it without --budget`)
        own = memory
        if (!budget.serves(memory)) budget.attach(memory)
      },
    }
  }
}
