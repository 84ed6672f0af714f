// The guest's heap, watched: which places in the program take memory, how much, for how long, who reads and writes it, how much of it is in files.
//
// A place is a stack of calls. To look at the stack for every malloc would cost 25 µs each; so the guest keeps a number for it, as in
// probabilistic calling context (Bond and McKinley, OOPSLA 2007): each function makes its own number out of its caller's and the place of
// the call, before each call. Equal stacks have equal numbers; the stack itself is looked at when a number is seen first.
import { I32, type Module } from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { OP } from '../wasm/opcode-table.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import type { EngineInstance } from './engine.ts'
import type { RunOptions } from './instance.ts'
import type { Pass } from './load.ts'
import { Accesses, countAccesses, type PlaceAccesses } from './malloc-accesses.ts'
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
interface Site {
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

/** A place with what was done with its blocks. */
export interface MallocSite extends Readonly<Site>, PlaceAccesses {
  /** Bytes of its blocks that lived when the heap was near its largest, and how many of them files have, too; undefined: nobody looked. */
  readonly looked: number | undefined
  readonly explained: number | undefined
}

interface Place {
  readonly site: Site
  readonly number: number
}

interface Block {
  readonly place: Place
  readonly bytes: number
  readonly since: number
}

/** Pages [from, to), in bytes, most of which one site had: its number in `sites()`, or -1 where no block was. */
export interface SiteRun {
  readonly from: number
  readonly to: number
  readonly site: number
}

/** Finds out how many bytes of each block, of [address, bytes], files have, too. */
export type ExplainBlocks = (
  memory: Uint8Array,
  blocks: readonly (readonly [number, number])[],
) => readonly number[]

/** In a large module the engine needs 0.1 ms for each frame to say where it is. */
const mostFrames = 32

function framesNow(): Frame[] {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = mostFrames
  const frames = trapFrames(new Error('stack'))
  Error.stackTraceLimit = stackTraceLimit
  return frames
}

/** A heap of so many bytes is looked at; then again when it is so many times as large. */
const firstLook = 1 << 20
const nextLook = 1.25

/** The heap of one run: its options, and afterwards its places, those with most bytes first. */
export class MallocWatch {
  readonly options: RunOptions
  readonly #places = new Map<number, Place>()
  readonly #blocks = new Map<number, Block>()
  readonly #accesses = new Accesses()
  readonly #nameOf: (index: number) => string | undefined
  readonly #explain: ExplainBlocks | undefined
  #memory: () => Uint8Array = () => new Uint8Array(0)
  #context: { value: number } = { value: 0 }
  #now = 0
  #live = 0
  /** Live bytes when files were last searched, and what came of it, by place. */
  #lookedAt = 0
  #looked = new Map<Place, { bytes: number; explained: number }>()
  /** Whose each page was then: the place that had most of it. */
  #owners: (Place | undefined)[] = []
  /** Most bytes that were live at a time. */
  peak = 0
  /** Frees of what was not a block. */
  strange = 0

  constructor(module: Module, functions: MallocFunctions, explain?: ExplainBlocks) {
    const note: MallocHook = (role, a, b, c, result) =>
      this.#note(role, a >>> 0, b >>> 0, c >>> 0, result >>> 0)
    const { functions: names } = readNames(module)
    this.#nameOf = index => names.get(index)
    this.#explain = explain
    this.options = {
      passes: [reportMalloc(functions), numberStacks, countAccesses(functions)],
      imports: { [mallocImports]: { note }, ...this.#accesses.imports },
      observer: this.#accesses.observer,
      ready: ({ instance, memory }) => this.attach(instance, () => memory.bytes),
    }
  }

  /** The instance that is watched, and its memory as it is now. */
  attach(instance: EngineInstance, memory: () => Uint8Array): void {
    this.#context = instance.exports[contextName] as { value: number }
    this.#memory = memory
    this.#accesses.attach(instance)
  }

  #word(at: number): number {
    const { buffer, byteOffset } = this.#memory()
    return new DataView(buffer, byteOffset).getUint32(at, true)
  }

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
    const place = this.#place()
    const { site } = place
    site.blocks++
    site.bytes += bytes
    site.peakBytes = Math.max(site.peakBytes, site.bytes - site.freedBytes)
    this.#live += bytes
    this.peak = Math.max(this.peak, this.#live)
    this.#blocks.set(at, { place, bytes, since: this.#now })
    this.#accesses.mark(at, bytes, place.number)
  }

  #give(at: number): void {
    const block = this.#blocks.get(at)
    if (block === undefined) {
      this.strange++
      return
    }
    // The last moment at which all that lived is there.
    if (this.#live === this.peak) this.#look()
    this.#blocks.delete(at)
    const { place, bytes, since } = block
    const { site } = place
    site.freed++
    site.freedBytes += bytes
    site.lived += this.#now - since
    this.#live -= bytes
    this.#accesses.mark(at, bytes, 0)
  }

  #look(): void {
    if (this.#live < Math.max(firstLook, this.#lookedAt * nextLook)) return
    this.#lookedAt = this.#live
    this.#owners = ownersOf(this.#blocks)
    if (this.#explain === undefined) return
    const blocks = [...this.#blocks]
    const explained = this.#explain(
      this.#memory(),
      blocks.map(([at, { bytes }]) => [at, bytes]),
    )
    this.#looked = new Map()
    for (const [n, [, { place, bytes }]] of blocks.entries()) {
      const sum = this.#looked.get(place) ?? { bytes: 0, explained: 0 }
      this.#looked.set(place, {
        bytes: sum.bytes + bytes,
        explained: sum.explained + (explained[n] as number),
      })
    }
  }

  #place(): Place {
    const number = this.#context.value
    let place = this.#places.get(number)
    if (place === undefined) {
      // The first is the function that tells us.
      const stack = framesNow().slice(1)
      const site = { stack, blocks: 0, bytes: 0, freed: 0, freedBytes: 0, lived: 0, peakBytes: 0 }
      place = { site, number: this.#places.size + 1 }
      this.#places.set(number, place)
    }
    return place
  }

  /** Those with most bytes first. Called once, at the end. */
  sites(): MallocSite[] {
    if (this.#live === this.peak) this.#look()
    const accesses = this.#accesses.byPlace(this.#places.size, this.#nameOf)
    return this.#sorted().map(place => {
      const looked = this.#looked.get(place)
      const who = accesses[Math.min(place.number, accesses.length - 1)] as PlaceAccesses
      return { ...place.site, ...who, looked: looked?.bytes, explained: looked?.explained }
    })
  }

  #sorted(): Place[] {
    return [...this.#places.values()].sort((a, b) => b.site.bytes - a.site.bytes)
  }

  /** Whose which pages were when the heap was near its largest. After `sites()`. */
  map(): SiteRun[] {
    const numbers = new Map(this.#sorted().map((place, n) => [place, n]))
    const runs: SiteRun[] = []
    const owners = this.#owners
    for (let from = 0, to = 0; to < owners.length; from = to) {
      const owner = owners[from]
      while (to < owners.length && owners[to] === owner) to++
      const site = owner === undefined ? -1 : (numbers.get(owner) ?? -1)
      runs.push({ from: from * pageBytes, to: to * pageBytes, site })
    }
    return runs
  }
}

const pageBytes = 4096

// Blocks come in no order; a page is known to be somebody's once all were seen.
function ownersOf(blocks: ReadonlyMap<number, Block>): (Place | undefined)[] {
  const owners: (Place | undefined)[] = []
  const most: number[] = []
  let bytes = new Map<Place, number>()
  let page = -1
  const settle = (): void => {
    for (const [place, sum] of bytes)
      if (sum > (most[page] ?? 0)) {
        most[page] = sum
        owners[page] = place
      }
    bytes = new Map()
  }
  for (const [at, block] of [...blocks].sort((a, b) => a[0] - b[0]))
    for (let from = at; from < at + block.bytes; ) {
      const here = Math.floor(from / pageBytes)
      if (here !== page) settle()
      page = here
      const to = Math.min(at + block.bytes, (page + 1) * pageBytes)
      bytes.set(block.place, (bytes.get(block.place) ?? 0) + to - from)
      from = to
    }
  settle()
  return Array.from(owners)
}
