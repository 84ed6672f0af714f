/**
 * A memory: a budget, a pager, and the regions that share them.
 *
 *   open ──> map ──> region … region.close()      files and lenses in, typed arrays out
 *     │       ├── a first scan, if the lenses need one, in a thread of its own
 *     │       └── address space is reserved, the pager opens the source too, and serves it from then on
 *     └──> close                                    all regions, then the pager
 *
 * This thread never serves a fault itself, and never holds anything that the pager waits for.
 */
import { EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'
import { MessageChannel, Worker } from 'node:worker_threads'
import {
  bytesOfElement,
  type Element,
  elementBytes,
  type ElementType,
  type TypedLens,
} from '../lens/element.ts'
import { lensNamed } from '../lens/catalogue.ts'
import type { Lens } from '../lens/lens.ts'
import { defaultPolicy, isPolicyName, type PolicyName, policyNames } from '../policy/index.ts'
import { Counters } from './counters.ts'
import { MemoryError, memoryError, revived } from './errors.ts'
import { BackingGuard } from './guard.ts'
import { LazyRegion } from './lazy-region.ts'
import { type Host, MappedRegion } from './mapped-region.ts'
import type {
  Ask,
  ByteRange,
  Mode,
  PagerData,
  Reply,
  Request,
  ScanData,
  ScanReply,
  WriteData,
} from './protocol.ts'
import { Blocks, ReadRegion } from './read-region.ts'
import type { Region, RegionStats } from './region.ts'
import { AttachedMemory, describe, Lent, type SharedHandle } from './share.ts'
import { bytesOf } from './size.ts'
import { nameOf, needsScan, open, prepare, preview, type Seen, Source, type SourceData } from './source.ts'
import { defaultCacheFolder, storeIn } from './store.ts'
import { isTraced, TraceRing } from './trace.ts'

const PAGE = 4096
/** Less than this and one cluster would push out all the rest. */
const LEAST_BUDGET = 2 ** 20

export interface MemoryOptions {
  /** Bytes of all regions that may be in memory: a number, or a text such as '64MiB'. At least 1 MiB. */
  readonly budget: number | string
  /** Chooses what is dropped when the budget is full: 'lru', '2q', 's3-fifo', 'gdsf', 'reuse', … (src/policy). */
  readonly policy?: PolicyName
  /** 'none': do without page faults even where they can be served. Default 'auto', or $LETHE_MMU. */
  readonly mmu?: 'auto' | 'none'
  /** Folder of the indexes that lenses keep. Default: $XDG_CACHE_HOME/lethe, which `lethe attach` uses too. */
  readonly cache?: string
}

export interface MapOptions {
  /**
   * 'private' (default): writes are the region's own. 'shared': flush and close write them back to the file. 'readonly': writes
   * are undone, and an error event tells of them.
   */
  readonly mode?: Mode
  /** The element type, where the lens does not say it. */
  readonly as?: ElementType
  /** `map` does not wait for the first scan: `at` and small reads work at once, `region.ready()` waits for the rest. */
  readonly lazy?: boolean
  /** Ends the first scan; `map` then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Told now and then how much of the first scan is done, in bytes of the backing. */
  readonly progress?: (done: number, total: number) => void
}

export interface MemoryStats extends RegionStats {
  readonly budget: number
  readonly regions: number
}

export interface MemoryEvents {
  /** Something went wrong in a region that no call could tell. */
  error: [error: MemoryError, region: Region]
}

interface Pending {
  readonly settle: (runs: readonly ByteRange[]) => void
  readonly reject: (error: MemoryError) => void
}

/** What serves faults, where they can be served. */
interface Mmu {
  readonly worker: Worker
  /** Eventfd: a request waits. */
  readonly wake: number
  readonly faults: 'all' | 'user'
  readonly sys: Sys
  readonly trace: TraceRing | undefined
}

/** The part of `sys/` that is needed; loaded only where it works. */
interface Sys {
  signalEvent(fd: number): void
  close(fd: number): number
  reserve(length: number): number
  retire(start: number, length: number): number
  bufferAt(address: number, length: number): ArrayBuffer
  shedAfterThread(): void
}

async function loadSys(): Promise<Sys> {
  const [fd, memory, ffi, shed] = await Promise.all([
    import('../sys/fd.ts'),
    import('../sys/memory.ts'),
    import('../sys/ffi.ts'),
    import('../pager/shed.ts'),
  ])
  const { signalEvent, close } = fd
  const { reserve, retire } = memory
  const { bufferAt } = ffi
  const { shedAfterThread } = shed
  return { signalEvent, close, reserve, retire, bufferAt, shedAfterThread }
}

function sibling(name: string): string {
  const here = fileURLToPath(import.meta.url)
  return fileURLToPath(new URL(`./${name}${here.slice(-3)}`, import.meta.url))
}

/** Threads of ours take none of the program's flags, and little memory. */
const worker = (name: string, data: unknown): Worker =>
  new Worker(sibling(name), {
    workerData: data,
    execArgv: [],
    name: `lethe ${name}`,
    resourceLimits: { maxYoungGenerationSizeMb: 2 },
  })

export class Memory extends EventEmitter<MemoryEvents> implements AsyncDisposable {
  /** In bytes. */
  readonly budget: number
  /** Why page faults can't be served here; undefined where they can. */
  readonly whyNoMmu: string | undefined
  readonly #mmu: Mmu | undefined
  readonly #cache: string
  readonly #blocks: Blocks
  readonly #regions = new Map<number, Region>()
  readonly #pending = new Map<number, Pending>()
  readonly #lent = new Set<Lent>()
  #nextId = 1
  #nextTicket = 1
  #closing: Promise<void> | undefined

  /** Those with a pager, which sleeps in the kernel: the process would wait for it at its end. */
  static readonly #served = new Set<Memory>()
  static readonly #stopAll = (): void => {
    for (const memory of Memory.#served) memory.#stopAtOnce()
  }

  private constructor(budget: number, cache: string, mmu: Mmu | string) {
    super()
    this.budget = budget
    this.#cache = cache
    this.#blocks = new Blocks(budget)
    if (typeof mmu === 'string') {
      this.whyNoMmu = mmu
      return
    }
    this.#mmu = mmu
    mmu.worker.on('message', (reply: Reply) => this.#reply(reply))
    mmu.worker.unref()
    // One listener for all: more than ten would be warned of.
    if (Memory.#served.size === 0) process.once('exit', Memory.#stopAll)
    Memory.#served.add(this)
  }

  /** Where a page fault may come from: 'all', 'user' (system calls on absent elements fail with EFAULT: pin them), or 'none'. */
  get faults(): 'all' | 'user' | 'none' {
    return this.#mmu?.faults ?? 'none'
  }

  static async open(options: MemoryOptions): Promise<Memory> {
    // Who calls it from JavaScript may have forgotten it.
    const size = (options as Partial<MemoryOptions> | undefined)?.budget
    if (size === undefined)
      throw new MemoryError('option', "open: no budget is given; give one, such as { budget: '64MiB' }")
    const budget = bytesOf(size)
    if (budget < LEAST_BUDGET)
      throw new MemoryError(
        'budget',
        `A budget of ${budget} bytes is smaller than a cluster; give at least ${LEAST_BUDGET}`,
      )
    const policy = options.policy ?? defaultPolicy
    if (!isPolicyName(policy))
      throw new MemoryError('option', `policy: '${String(policy)}' is none of ${policyNames.join(', ')}`)
    const cache = options.cache ?? defaultCacheFolder()
    const wanted = options.mmu ?? process.env.LETHE_MMU ?? 'auto'
    if (wanted !== 'auto' && wanted !== 'none')
      throw new MemoryError('option', `mmu: '${wanted}' is neither 'auto' nor 'none'`)
    const mmu = wanted === 'none' ? "mmu is 'none'" : await startPager(budget, policy, cache)
    return new Memory(budget, cache, mmu)
  }

  /**
   * Maps what a lens makes of a source. The source is opened and, if the lenses need it, scanned once; nothing else is read
   * before it is touched. Rejects with MemoryError: the source can't be read, is not what the lens reads, …
   */
  map<T extends ElementType>(
    source: Source,
    lens: Lens | undefined,
    options: MapOptions & { readonly as: T },
  ): Promise<Region<T>>
  map<E extends Element>(source: Source<E>, lens?: undefined, options?: MapOptions): Promise<Region<E>>
  map<E extends Element>(source: Source, lens: TypedLens<E>, options?: MapOptions): Promise<Region<E>>
  map(source: Source, lens: Lens, options?: MapOptions): Promise<Region>
  async map(source: Source, lens?: Lens, options: MapOptions = {}): Promise<Region> {
    this.#mustBeOpen()
    if (!(source instanceof Source))
      throw new MemoryError(
        'option',
        `map: '${String(source)}' is no source; give file(path), bytes(array) or object(url)`,
      )
    const { mode = 'private', signal } = options
    if (!['private', 'shared', 'readonly'].includes(mode))
      throw new MemoryError('option', `mode: '${mode}' is none of 'private', 'shared', 'readonly'`)
    signal?.throwIfAborted()
    const whole = lens === undefined ? source : source.through(lens)
    const element = options.as === undefined ? whole.element : elementNamed(options.as)
    try {
      const noPut = mode === 'shared' ? whyNoPut(whole.data) : undefined
      if (noPut !== undefined)
        throw new MemoryError('no-put', `mode 'shared' is not possible: ${noPut}; map with mode 'private'`)
      return options.lazy === true && needsScan(whole.data) && whole.data.origin.kind !== 'object'
        ? this.#mapLazily(whole.data, element, mode, options)
        : await this.#mapWhole(whole.data, element, mode, options)
    } catch (error) {
      throw signal?.aborted === true ? error : memoryError(error)
    }
  }

  async #mapWhole(
    source: SourceData,
    element: Element,
    mode: Mode,
    { signal, progress }: Pick<MapOptions, 'signal' | 'progress'>,
  ): Promise<Region> {
    const seen = needsScan(source) ? await this.#scan(source, signal, progress) : look(source)
    signal?.throwIfAborted()
    this.#mustBeOpen()
    const length = Math.floor(seen.size / bytesOfElement(element))
    return this.#mmu === undefined
      ? this.#mapReading(source, seen, element, length, mode)
      : this.#mapServed(this.#mmu, source, seen, element, length, mode)
  }

  #mapLazily(source: SourceData, element: Element, mode: Mode, options: MapOptions): Region {
    const stop = new AbortController()
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
    const opened = open(source)
    preview(opened)
    const { view } = opened
    const region: Region = new LazyRegion({
      element,
      mode,
      name: nameOf(source),
      view,
      region: this.#mapWhole(source, element, mode, { ...options, signal }),
      stop: () => stop.abort(new MemoryError('closed', `The region over ${nameOf(source)} was closed`)),
    })
    return region
  }

  /**
   * Regions (all, where none is named) for another thread of this process: post what it gives, with its `port` in the transfer
   * list, and call `Memory.attach` there. One thread each.
   */
  share(...regions: Region[]): SharedHandle {
    this.#mustBeOpen()
    const shared = (regions.length > 0 ? regions : [...this.#regions.values()]).map(region => {
      region.check()
      const served = region instanceof LazyRegion ? region.region : region
      if (served instanceof MappedRegion && this.#regions.get(served.mapping.id) === served) return served
      throw new MemoryError(
        'no-mmu',
        `${region.name} can't be shared: it is not served by this memory's pager`,
      )
    })
    const { port1, port2 } = new MessageChannel()
    this.#lent.add(
      new Lent(
        port1,
        shared,
        ask => this.#ask(ask),
        lent => this.#lent.delete(lent),
      ),
    )
    return { port: port2, regions: describe(shared) }
  }

  /** In another thread: the regions that a memory has shared. */
  static async attach(handle: SharedHandle): Promise<AttachedMemory> {
    const sys = await loadSys()
    return new AttachedMemory(handle, sys.bufferAt)
  }

  stats(): MemoryStats {
    const all = [...this.#regions.values()].map(region => region.stats())
    const sum = (of: (stats: RegionStats) => number): number => all.reduce((total, one) => total + of(one), 0)
    return {
      budget: this.budget,
      regions: all.length,
      resident: this.#mmu === undefined ? this.#blocks.bytes : sum(one => one.resident),
      dirty: sum(one => one.dirty),
      spilled: sum(one => one.spilled),
      pinned: sum(one => one.pinned),
      huge: sum(one => one.huge),
      refilled: sum(one => one.refilled),
      evicted: sum(one => one.evicted),
      faults: sum(one => one.faults),
      writes: sum(one => one.writes),
    }
  }

  /** Closes all regions and ends the pager. Rejects with the first failure that nobody has been told of. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    const closed = await Promise.allSettled([...this.#regions.values()].map(region => region.close()))
    for (const lent of this.#lent) lent.close()
    if (this.#mmu !== undefined) {
      Memory.#served.delete(this)
      if (Memory.#served.size === 0) process.removeListener('exit', Memory.#stopAll)
      const { worker: pager, wake, sys } = this.#mmu
      const ended = new Promise(settle => pager.once('exit', settle))
      await this.#ask({ kind: 'stop' })
      pager.ref()
      await ended
      sys.close(wake)
    }
    const failed = closed.find(one => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #stopAtOnce(): void {
    if (this.#mmu === undefined) return
    this.#mmu.worker.postMessage({ ticket: 0, ask: { kind: 'stop' } } satisfies Request)
    this.#mmu.sys.signalEvent(this.#mmu.wake)
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw new MemoryError('closed', 'The memory is closed; open another')
  }

  async #scan(
    source: SourceData,
    signal: AbortSignal | undefined,
    progress: MapOptions['progress'],
  ): Promise<Seen> {
    const abort = new SharedArrayBuffer(4)
    const stop = (): void => {
      Atomics.store(new Int32Array(abort), 0, 1)
    }
    signal?.addEventListener('abort', stop, { once: true })
    try {
      const data: ScanData = { source, cache: this.#cache, abort }
      return await errand('scanner', data, (done, total) => {
        if (signal?.aborted !== true) progress?.(done, total)
      })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      this.#mmu?.sys.shedAfterThread()
      signal?.removeEventListener('abort', stop)
    }
  }

  async #mapServed(
    { sys }: Mmu,
    source: SourceData,
    seen: Seen,
    element: Element,
    length: number,
    mode: Mode,
  ): Promise<Region> {
    const id = this.#nextId++
    const pages = Math.max(1, Math.ceil(seen.size / PAGE))
    const address = sys.reserve(pages * PAGE)
    const counters = new Counters()
    try {
      await this.#ask({ kind: 'map', id, address, pages, source, seen, mode, counters: counters.shared })
    } catch (error) {
      sys.retire(address, pages * PAGE)
      throw error
    }
    let now = seen
    const host: Host = {
      ask: ask => this.#ask(ask),
      bufferAt: sys.bufferAt,
      writeBack: async () => {
        const runs = await this.#ask({ kind: 'collect', id })
        try {
          if (runs.length === 0) return void (await this.#ask({ kind: 'commit', id }))
          const data: WriteData = { source, seen: now, cache: this.#cache, address, runs }
          const then = await errand('writer', data)
          await this.#ask({ kind: 'commit', id, seen: then })
          now = then
        } catch (error) {
          await this.#ask({ kind: 'commit', id }).catch(() => undefined)
          throw error
        }
      },
      retire: async () => {
        await Promise.all([...this.#lent].map(lent => lent.reclaim(id)))
        this.#regions.delete(id)
        await this.#ask({ kind: 'unmap', id })
        sys.retire(address, pages * PAGE)
      },
    }
    const name = nameOf(source)
    const region = new MappedRegion(host, { id, address, pages, element, length, mode, name, counters })
    this.#regions.set(id, region)
    return region
  }

  #mapReading(source: SourceData, seen: Seen, element: Element, length: number, mode: Mode): Region {
    if (mode === 'shared')
      throw new MemoryError('no-mmu', `mode 'shared' needs page faults (${this.whyNoMmu}); use 'private'`)
    const opened = open(source, { known: seen.identity })
    try {
      prepare(opened, storeIn(this.#cache))
      const guard = new BackingGuard(opened, source, seen)
      const id = this.#nextId++
      const region = new ReadRegion({
        id,
        element,
        length,
        mode,
        name: nameOf(source),
        view: opened.view,
        blocks: this.#blocks,
        changed: () => guard.changed(),
        why: this.whyNoMmu as string,
        gone: () => {
          guard.release()
          this.#regions.delete(id)
        },
      })
      this.#regions.set(id, region)
      return region
    } catch (error) {
      opened.view.close()
      throw error
    }
  }

  #ask(ask: Ask): Promise<readonly ByteRange[]> {
    const { worker: pager, wake, sys } = this.#mmu as Mmu
    const ticket = this.#nextTicket++
    return new Promise((settle, reject) => {
      if (this.#pending.size === 0) pager.ref()
      this.#pending.set(ticket, { settle, reject })
      pager.postMessage({ ticket, ask } satisfies Request)
      sys.signalEvent(wake)
    })
  }

  #reply(reply: Reply): void {
    if (reply.kind === 'trouble') {
      const region = this.#regions.get(reply.id)
      if (!(region instanceof MappedRegion)) return
      region.tell(reply.error, reply.fatal)
      for (const lent of this.#lent) lent.tell(reply.id, reply.error, reply.fatal)
      if (this.listenerCount('error') > 0) this.emit('error', revived(reply.error), region)
      return
    }
    if (reply.kind === 'traced')
      return this.#mmu?.trace?.publish(id => this.#regions.get(id)?.name ?? `region ${id}`)
    if (reply.kind !== 'done' && reply.kind !== 'refused') return
    const pending = this.#pending.get(reply.ticket)
    this.#pending.delete(reply.ticket)
    if (this.#pending.size === 0) this.#mmu?.worker.unref()
    if (reply.kind === 'done') pending?.settle(reply.runs ?? [])
    else pending?.reject(revived(reply.error))
  }
}

/** What a source is whose lenses need no scan. */
function look(source: SourceData): Seen {
  const opened = open(source)
  try {
    return { identity: opened.origin.identity, size: opened.view.size }
  } finally {
    opened.view.close()
  }
}

/** What a thread of its own finds out: a first scan, or a write-back. The thread is gone when this settles. */
function errand(
  name: 'scanner' | 'writer',
  data: ScanData | WriteData,
  progress?: (done: number, total: number) => void,
): Promise<Seen> {
  return new Promise((settle, reject) => {
    const thread = worker(name, data)
    let last: ScanReply | undefined
    thread.on('message', (reply: ScanReply) => {
      if (reply.kind === 'progress') progress?.(reply.done, reply.total)
      else last = reply
    })
    thread.on('error', error => reject(new MemoryError('internal', error.message, error)))
    thread.on('exit', () => {
      if (last?.kind === 'seen') settle(last.seen)
      else if (last?.kind === 'failed') reject(revived(last.error))
      else reject(new MemoryError('internal', `The ${name} ended without a word`))
    })
  })
}

/** Why what is written to memory can't be brought back to the source; undefined where it can. */
function whyNoPut({ origin, lenses }: SourceData): string | undefined {
  if (origin.kind !== 'file') return 'only files can be written back to'
  const name = lenses.join('|')
  return name === '' || lensNamed(name).put !== undefined ? undefined : `${name} has no way back`
}

function elementNamed(as: ElementType): Element {
  if (Object.hasOwn(elementBytes, as)) return as
  throw new MemoryError('option', `as: '${as}' is none of ${Object.keys(elementBytes).join(', ')}`)
}

/** The pager of a new memory; a text says why there can be none. */
async function startPager(budget: number, policy: PolicyName, cache: string): Promise<Mmu | string> {
  const trace = isTraced() ? new TraceRing() : undefined
  const limit = Math.floor(budget / PAGE)
  const data: PagerData = { limit, policy, cache, ...(trace && { trace: trace.shared }) }
  // It starts while this thread loads what it needs itself.
  const pager = worker('pager', data)
  const started = new Promise<Reply>((settle, reject) => {
    pager.once('message', settle)
    pager.once('error', reject)
    pager.once('exit', () => reject(new Error('the pager did not start')))
  })
  const [loaded, first] = await Promise.allSettled([loadSys(), started])
  if (loaded.status === 'fulfilled' && first.status === 'fulfilled') {
    const { value: sys } = loaded
    const { value: reply } = first
    if (reply.kind === 'ready') return { worker: pager, wake: reply.wake, faults: reply.faults, sys, trace }
    return reply.kind === 'unable' ? reply.error.message : 'the pager did not start'
  }
  await pager.terminate()
  const { reason } = (loaded.status === 'rejected' ? loaded : first) as PromiseRejectedResult
  return (reason as Error).message
}
