// The guest's heap, watched: which places in the program take memory, how much, for how long.
//
// A place is a stack of calls. To look at the stack for every malloc would cost 25 µs each; so the guest keeps a number for it, as in
// probabilistic calling context (Bond and McKinley, OOPSLA 2007): each function makes its own number out of its caller's and the place of
// the call, before each call. Equal stacks have equal numbers; the stack itself is looked at when a number is seen first.
import { I32, type Module } from '../wasm/module.ts'
import { OP } from '../wasm/opcode-table.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import type { EngineInstance } from './engine.ts'
import type { RunOptions } from './instance.ts'
import type { Pass } from './load.ts'
import { type MallocFunctions, mallocRoles } from './malloc-functions.ts'
import { type MallocHook, mallocImports, reportMalloc } from './malloc-passes.ts'
import { type Frame, trapFrames } from './traces.ts'

const contextName = 'lethe:malloc context'

/** A global has a number of the stack of calls. */
export const numberStacks: Pass = {
  name: 'number-stacks 2',
  apply(module: Module): Module {
    const rewriter = new Rewriter(module)
    const context = rewriter.addGlobal({ type: I32, mutable: true }, 1)
    rewriter.addExport(contextName, 'global', context)
    let own = 0
    rewriter.rewriteBodies({
      ops: [OP.call, OP.call_indirect, OP.return_call, OP.return_call_indirect],
      // The functions that tell us count too: what the allocator itself calls must leave no trace in the number.
      added: true,
      enter(body, out) {
        own = body.addLocal(I32)
        out.getGlobal(context).set(own)
      },
      instruction(i, out, body) {
        const place = Math.imul(body.index + 1, 0x9e3779b1) ^ i.at
        out.get(own).i32(3).op(OP['i32.mul']).i32(place).op(OP['i32.add']).setGlobal(context)
        return false
      },
    })
    return rewriter.finish()
  },
}

/** What one place of the program did with the heap. Times are counted in mallocs: how many there were meanwhile. */
export interface MallocSite {
  /** innermost first, without the allocator's own functions */
  readonly stack: readonly Frame[]
  blocks: number
  bytes: number
  freed: number
  freedBytes: number
  /** sum over the freed blocks of how long they lived */
  lived: number
  /** most bytes that were live at a time */
  peakBytes: number
}

interface Block {
  readonly site: MallocSite
  readonly bytes: number
  readonly since: number
}

/** The heap of one run: its options, and afterwards its places, those with most bytes first. */
export class MallocWatch {
  readonly options: RunOptions
  readonly #sites = new Map<number, MallocSite>()
  readonly #blocks = new Map<number, Block>()
  #context: { value: number } = { value: 0 }
  #now = 0
  #live = 0
  /** Most bytes that were live at a time. */
  peak = 0
  /** Frees of what was not a block. */
  strange = 0

  constructor(functions: MallocFunctions) {
    const note: MallocHook = (role, a, b, c, result) =>
      this.#note(role, a >>> 0, b >>> 0, c >>> 0, result >>> 0)
    this.options = {
      passes: [reportMalloc(functions), numberStacks],
      imports: { [mallocImports]: { note } },
      ready: ({ instance, memory }) => this.attach(instance, at => memory.getU32(at)),
    }
  }

  /** The instance that is watched, and how words of its memory are read. */
  attach({ exports }: EngineInstance, word: (at: number) => number): void {
    this.#context = exports[contextName] as { value: number }
    this.#word = word
  }

  #word: (at: number) => number = () => 0

  #note(role: number, a: number, b: number, c: number, result: number): void {
    switch (mallocRoles[role]) {
      case 'malloc':
        return this.#take(result, a)
      case 'calloc':
        return this.#take(result, a * b)
      case 'aligned_alloc':
        return this.#take(result, b)
      case 'posix_memalign':
        return result === 0 ? this.#take(this.#word(a), c) : undefined
      case 'realloc':
        if (result === 0) return
        if (a !== 0) this.#give(a)
        return this.#take(result, b)
      case 'free':
        return a === 0 ? undefined : this.#give(a)
      default:
    }
  }

  #take(at: number, bytes: number): void {
    if (at === 0) return
    this.#now++
    const site = this.#site()
    site.blocks++
    site.bytes += bytes
    site.peakBytes = Math.max(site.peakBytes, site.bytes - site.freedBytes)
    this.#live += bytes
    this.peak = Math.max(this.peak, this.#live)
    this.#blocks.set(at, { site, bytes, since: this.#now })
  }

  #give(at: number): void {
    const block = this.#blocks.get(at)
    if (block === undefined) {
      this.strange++
      return
    }
    this.#blocks.delete(at)
    const { site, bytes, since } = block
    site.freed++
    site.freedBytes += bytes
    site.lived += this.#now - since
    this.#live -= bytes
  }

  #site(): MallocSite {
    const number = this.#context.value
    let site = this.#sites.get(number)
    if (site === undefined) {
      const frames = trapFrames(new Error('stack'))
      // The first is the function that tells us.
      const stack = frames.slice(1)
      site = { stack, blocks: 0, bytes: 0, freed: 0, freedBytes: 0, lived: 0, peakBytes: 0 }
      this.#sites.set(number, site)
    }
    return site
  }

  /** Those with most bytes first. */
  sites(): MallocSite[] {
    return [...this.#sites.values()].sort((a, b) => b.bytes - a.bytes)
  }
}
