// The guest's heap from outside: an allocator of ours in the place of its own, or word of every call.
import { parsePolicy, type Policy } from '../heap/allocator.ts'
import { wasmAllocator } from '../heap/wasm.ts'
import type { Limits, Module } from '../wasm/module.ts'
import { engine, type EngineMemory, type ImportObject } from './engine.ts'
import { GuestError } from './errors.ts'
import { type Freed, FreedPages } from './freed.ts'
import type { RunOptions } from './instance.ts'
import type { Pass } from './load.ts'
import { type MallocFunctions, mallocRoles } from './malloc-functions.ts'
import {
  importedMemory,
  type MallocHook,
  mallocImports,
  replaceMalloc,
  reportMalloc,
} from './malloc-passes.ts'
import type { CallObserver } from './wasi.ts'

/**
 * Reads the name of an allocator, with its policy: `best`, `explicit first`. What C promises is 16: so blocks are aligned. The implicit list by
 * its name alone is searched from where the last search ended: from the front, each malloc would go over all blocks that live.
 */
export function allocatorPolicy(text: string): Policy {
  const whole = text.trim() === 'implicit' ? 'implicit next' : text
  try {
    return parsePolicy(/align/.test(whole) ? whole : `${whole} align=16`)
  } catch (error) {
    throw new GuestError('option', `--malloc ${text}: ${(error as Error).message}`, error)
  }
}

/** What a run takes so that the guest's heap is an allocator of ours. */
export function withAllocator(module: Module, functions: MallocFunctions, policy: Policy): RunOptions {
  const { min, max } = limitsOf(module)
  const maximum = module.memories.length > 0 || max === undefined ? {} : { maximum: max }
  const memory = new engine.Memory({ initial: min, ...maximum })
  return { ...withHeap(memory, min * wasmPage, most, functions, policy), memory }
}

/**
 * The same for a guest in a JavaScript program, which keeps views of the memory and would not see it grow: the heap is the `room` bytes behind what
 * the guest has of its own. `made`: the memory that it imports, which has them already.
 */
export function withAllocatorWithin(
  module: Module,
  functions: MallocFunctions,
  policy: Policy,
  room: number,
  made?: { readonly memory: EngineMemory; readonly bytes: number },
): Heap {
  const { min } = limitsOf(module)
  const memory = made?.memory ?? new engine.Memory({ initial: min + room / wasmPage })
  const base = made?.bytes ?? min * wasmPage
  return withHeap(memory, base, Math.min(most, base + room), functions, policy)
}

interface Heap {
  readonly passes: readonly Pass[]
  readonly imports: ImportObject
}

function withHeap(
  memory: EngineMemory,
  base: number,
  end: number,
  functions: MallocFunctions,
  policy: Policy,
): Heap {
  const { allocator } = wasmAllocator(memory, policy, base, end)
  return {
    passes: [replaceMalloc(functions)],
    imports: {
      [mallocImports]: {
        ...allocator,
        pages: (bytes: number) => allocator.alignedAlloc(wasmPage, bytes),
        [importedMemory]: memory,
      },
    },
  }
}

/** Of the module's first memory. */
export function limitsOf(module: Module): Limits {
  const imported = module.imports.find(one => one.kind === 'memory')
  const limits = imported?.kind === 'memory' ? imported.type : module.memories[0]
  if (limits === undefined) throw new GuestError('module', 'The module has no memory')
  return limits
}

export const wasmPage = 65_536
/** The allocators refuse what is above 2 GiB: their addresses are signed. */
export const most = 0x7fff0000

/** What a run takes so that pages without a living block are given back: `freed` gets ranges of its memory. `word` reads its memory. */
export function withRelease(
  functions: MallocFunctions,
  freed: Freed,
  word: (at: number) => number,
): Heap & { readonly observer: CallObserver } {
  const pages = new FreedPages(freed)
  const handlers: Readonly<Record<(typeof mallocRoles)[number], (...values: number[]) => void>> = {
    malloc: (bytes = 0, _b, _c, result = 0) => pages.taken(result, bytes),
    calloc: (count = 0, bytes = 0, _c, result = 0) => pages.taken(result, count * bytes),
    aligned_alloc: (_align, bytes = 0, _c, result = 0) => pages.taken(result, bytes),
    posix_memalign: (at = 0, _align, bytes = 0, result = 0) => {
      if (result === 0) pages.taken(word(at), bytes)
    },
    malloc_usable_size: () => {},
    free: (at = 0) => pages.given(at),
    realloc: (at = 0, bytes = 0, _c, result = 0) => {
      if (result === 0) return
      pages.given(at, result, bytes)
      pages.taken(result, bytes)
    },
  }
  const byNumber = mallocRoles.map(role => handlers[role])
  const note: MallocHook = (role, a, b, c, result) =>
    byNumber[role]?.(a >>> 0, b >>> 0, c >>> 0, result >>> 0)
  return {
    passes: [reportMalloc(functions)],
    imports: { [mallocImports]: { note } },
    observer: {
      before: name => {
        if (name === 'fd_read' || name === 'poll_oneoff') pages.waits()
      },
    },
  }
}
