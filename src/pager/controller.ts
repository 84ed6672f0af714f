// The controller: the main thread of a pager. One pager serves one target and its forked children.
//
//   attach: check → agent → handshake → server thread → pass → serving
//   adopt:  journal of a predecessor → its userfaultfd out of the target → wait until its agent has ended
//           → states as the page table has them → backings and children out of the park → server thread → serving
//   pass:   explainer (its own process) → open and lease backings → register mappings → verify → drop
//   tick:   once a second: has the target ended, exec'd, grown? what is over budget, what has gone cold?
//   detach: refill everything, unregister, close our descriptors in the target, unmap our area
//
// All calls that trace or inject are made here, synchronously, by this one thread.
import { mkdirSync, openSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { exitNow, nr } from '../sys/ffi.ts'
import * as uffd from '../sys/uffd.ts'
import {
  type Agent,
  borrowThread,
  createAgent,
  dismiss,
  type Footing,
  remote,
  threads,
} from '../process/agent.ts'
import { ProcessError } from '../process/errors.ts'
import { findGadgets } from '../process/gadgets.ts'
import { heir, parkInode } from '../process/heir.ts'
import { type Mapping, readMaps } from '../process/maps.ts'
import { releaseStragglers } from '../process/stragglers.ts'
import type { SeenFile } from '../process/candidates.ts'
import {
  checkTarget,
  descriptors,
  isStopped,
  type MemoryFigures,
  memoryFigures,
  startTime,
} from '../process/target.ts'
import { drop, type Dropped, nothingDropped, freeScratch, isSealed, type Run, settle } from './drop.ts'
import { PagerError } from './errors.ts'
import { explain, type Explained, type ExplainRequest } from './explainer.ts'
import { endKeeper, keeps, type Named, startKeeper } from './keeper.ts'
import { blockBytes, counter, Journal, pageBytes, parkOf, type Place, state, zeroBacking } from './journal.ts'
import { emptyPark, Holdings, type Kept, worthOpening } from './holdings.ts'
import { type Reply, type RequestBody, type ServerData, shared, tickAt } from './protocol.ts'
import type { ReportOptions } from './report.ts'
import { type Guess, Verifier } from './verify.ts'

export interface PagerOptions {
  /** Most bytes of explained memory that may be resident; undefined: no limit but coldness. */
  readonly budget?: number
  /** Files and directories that the user named. */
  readonly backings: readonly string[]
  /** Pack what no file explains. */
  readonly pack?: boolean
  /** Share of one CPU that later passes may use, 0 to 1. */
  readonly cpu: number
  /** Wait until the target has this much anonymous memory, and note the files that it opens (`lethe run`). */
  readonly waitFor?: number
  readonly report?: ReportOptions
}

/** Totals of the pauses that we caused. */
export interface Pauses {
  stops: number
  longest: number
  total: number
}

const uffdFeatures =
  uffd.feature.pagefaultFlagWp |
  uffd.feature.eventFork |
  uffd.feature.eventRemap |
  uffd.feature.eventRemove |
  uffd.feature.eventUnmap |
  uffd.feature.threadId

/** Bytes of descriptors that may wait in the park: some ten thousand children. */
const parkRoom = 8 << 20

/** Seconds that a refilled cluster stays before it is dropped again, by how often it came back soon. */
const patience = [20, 80, 320, 1280, 3600]

export class Controller {
  readonly pid: number
  readonly directory: string
  readonly options: PagerOptions
  /** The target has ended; its children are served until they end too. */
  orphaned = false
  readonly pauses: Pauses = { stops: 0, longest: 0, total: 0 }
  readonly holdings: Holdings
  readonly reports: string[] = []
  /** Set when the target is gone (`exited`, `exec`) or has been left (`detached`). */
  ended: 'exited' | 'exec' | 'detached' | undefined
  before: MemoryFigures | undefined
  passes = 0
  cpuUsed = 0
  readonly #identity: number
  /** Who has our descriptors: the target, or a child that it left behind. */
  readonly #holder: number
  #journal!: Journal
  #uffd = -1
  #pagemap = -1
  #parkIn = -1
  #agent: Agent | undefined
  #agentUsed = 0
  #server!: Worker
  readonly #wake = fds.eventfd()
  readonly #shared = new Int32Array(new SharedArrayBuffer(64))
  #nextId = 1
  readonly #waiting = new Map<number, (reply: { result: number; message?: string }) => void>()
  // Under a budget the order of refills matters within a second too.
  readonly #tickMs: number
  #nextCold = 0
  /** Runs that could not be dropped because the target could not be stopped. */
  readonly #left: Run[] = []
  readonly #extra = new Map<string, SeenFile>()
  readonly #registered = new Set<string>()
  #onEnd: (() => void) | undefined
  #leaving = false
  #packs = 0
  #keeper: Named | undefined
  #predecessor: Journal['keeper'] | undefined

  constructor(pid: number, directory: string, options: PagerOptions) {
    this.pid = pid
    this.directory = directory
    this.holdings = new Holdings(directory)
    this.options = options
    this.#tickMs = options.budget === undefined ? 1000 : 20
    const identity = startTime(pid)
    const park = identity === undefined ? parkOf(join(directory, 'journal')) : undefined
    const holder = park === undefined ? undefined : heir(park)
    if (identity === undefined && holder === undefined)
      throw new ProcessError('gone', `No process ${pid} is running`)
    this.#identity = identity ?? 0
    this.#holder = holder ?? pid
  }

  get journal(): Journal {
    return this.#journal
  }
  get uffd(): number {
    return this.#uffd
  }
  get tick(): number {
    return tickAt(performance.now(), this.#tickMs)
  }
  /** Bytes of clean pages at which room is made: below the budget by what is dropped and not freed yet. */
  get #limit(): number | undefined {
    return this.options.budget === undefined ? undefined : this.options.budget * 0.9
  }
  /** Resolves when the target is gone or has been left. */
  readonly over: Promise<void> = new Promise((resolve: () => void) => {
    this.#onEnd = resolve
  })

  /** Takes up a process that nobody serves. Throws ProcessError or PagerError; the target is then as it was. */
  attach(): void {
    checkTarget(this.pid, true)
    this.before = memoryFigures(this.pid)
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    const path = join(this.directory, 'journal')
    rmSync(path, { force: true })
    this.#journal = Journal.create(path, this.pid, this.#identity)
    this.#enter()
  }

  // Also for a successor whose predecessor died before it was all there.
  #enter(): void {
    const { path } = this.#journal
    let agent: Agent | undefined
    try {
      agent = createAgent(this.pid, this.#journal.footing, made => {
        if (this.#journal.park === 0 && made.parkIn !== 0)
          this.#journal.park = parkInode(this.pid, made.parkIn)
        this.#journal.footing = made
      })
      this.#noteStop(agent.pause)
      this.#uffd = this.#take(agent.footing.uffd)
      const features = uffd.api(this.#uffd, uffdFeatures)
      if (features < 0)
        throw new ProcessError(
          'refused',
          `The kernel refused the userfaultfd features that lethe needs (${errnoName(features)}); it takes Linux 6.7 or later`,
        )
      // From here on a successor can take over.
      this.#journal.keeper = { ...this.#keep(), own: [this.#uffd, 0, 0] }
    } catch (error) {
      if (agent !== undefined) {
        dismiss(agent)
        this.#withdraw(agent)
      }
      rmSync(path, { force: true })
      throw error
    }
    this.#useAgent(agent)
    this.#begin({ children: [], backings: new Map() })
  }

  /** Takes over from a predecessor that died. */
  adopt(): void {
    const path = join(this.directory, 'journal')
    this.#journal = Journal.open(path)
    const { footing } = this.#journal
    this.orphaned = this.#holder !== this.pid
    if (this.#journal.startTime !== this.#identity && !this.orphaned)
      throw new PagerError('adopt', `The journal in ${this.directory} is of another process ${this.pid}`)
    const { keeper } = this.#journal
    if (keeper.pid === 0 || this.#journal.leaving) {
      // It died before anything was registered, or when nothing was any more.
      for (const one of [keeper, ...this.#journal.started]) endKeeper(one)
      if (footing.area !== 0 && !this.orphaned) this.#withdraw({ footing }, true)
      throw new PagerError('adopt', `Nothing of process ${this.pid} was served any more`)
    }
    this.#predecessor = keeper
    this.#uffd = this.#take(footing.uffd, keeper.own[0])
    this.holdings.read()
    const own = this.#predecessor?.own ?? [0, 0, 0]
    const out = this.#take(footing.parkOut, own[2])
    const back = this.#take(footing.parkIn, own[1])
    this.#begin(emptyPark(out, back))
    fds.close(out)
    fds.close(back)
    if (this.orphaned) return
    this.before = memoryFigures(this.pid)
    this.#settle(footing.tid)
  }

  // After an agent was lost, ours or a predecessor's: it may be in its last call, held up by an event that the server
  // reads. When it has ended the page table tells what it did.
  #settle(tid: number): void {
    this.#dismissAgent()
    if (!this.#agentEnded(tid, 10_000))
      throw new PagerError('adopt', `The agent thread ${tid} in process ${this.pid} does not end`)
    settle({ fd: this.#uffd, pagemap: this.#pagemap, journal: this.#journal })
    if (this.#journal.scratch.length === 0) return
    if (isSealed(this.#journal, readMaps(this.pid))) {
      const hold = (ms: number, action: () => void): boolean => this.#hold(ms, action)
      if (!freeScratch({ agent: this.#withAgent(), journal: this.#journal, hold }))
        throw new PagerError('adopt', `The agent in process ${this.pid} does not answer`)
    } else {
      this.#journal.moving = false
      this.#journal.scratch = { start: 0, length: 0 }
    }
  }

  #begin(kept: Kept): void {
    if (!this.orphaned) this.#pagemap = openSync(`/proc/${this.pid}/pagemap`, 'r')
    const { footing } = this.#journal
    const before = this.#predecessor?.own ?? [0, 0, 0]
    this.#parkIn = this.#take(footing.parkIn, before[1])
    const parkOut = this.#take(footing.parkOut, before[2])
    fds.sendRoom(this.#parkIn, parkRoom)
    const keeper = this.#keep()
    if (this.#predecessor !== undefined) this.#journal.started = [...this.#journal.started, keeper].slice(-32)
    const data: ServerData = {
      uffd: this.#uffd,
      pid: this.pid,
      journal: this.#journal.path,
      directory: this.directory,
      wake: this.#wake,
      parkIn: this.#parkIn,
      tickMs: this.#tickMs,
      limit: Math.floor((this.#limit ?? 0) / pageBytes),
      parkOut,
      keeper: { ...keeper, own: [this.#uffd, this.#parkIn, parkOut] },
      before: this.#predecessor ?? { pid: 0, start: 0 },
      shared: this.#shared.buffer,
      children: kept.children,
      backings: this.holdings.adopt(kept),
    }
    const extension = import.meta.url.slice(-3)
    this.#server = new Worker(new URL(`./server${extension}`, import.meta.url), {
      workerData: data,
      resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64, stackSizeMb: 1 },
    })
    this.#server.on('message', (reply: Reply) => this.#reply(reply))
    this.#server.on('error', error => {
      // A server that dies is a pager that dies: the supervisor starts a successor.
      console.error('lethe: the server thread failed:', error)
      exitNow(70)
    })
  }

  #reply(reply: Reply): void {
    switch (reply.kind) {
      case 'reply': {
        const waiting = this.#waiting.get(reply.id)
        this.#waiting.delete(reply.id)
        waiting?.(reply)
        return
      }
      case 'lost': {
        this.holdings.lose(reply.index, reply.why)
        this.#report(`${reply.why}: its pages are physical again`)
        return
      }
      case 'report':
        this.#report(reply.message)
        return
      case 'children':
        this.children = reply.count
        return
      case 'over':
        if (this.ended === undefined) this.reclaim()
        fds.signalEvent(this.#wake)
        return
      case 'gone':
        this.children = reply.children
        this.#gone()
    }
  }

  #report(message: string): void {
    if (this.reports.length < 1000) this.reports.push(message)
    console.error(`lethe: process ${this.pid}: ${message}`)
  }

  async #ask(request: RequestBody): Promise<number> {
    const id = this.#nextId++
    const answer = new Promise<{ result: number; message?: string }>(resolve =>
      this.#waiting.set(id, resolve),
    )
    this.#server.postMessage({ ...request, id })
    fds.signalEvent(this.#wake)
    const { result, message } = await answer
    if (message !== undefined) throw new PagerError('journal', message)
    return result
  }

  // Waits, without the event loop, until the server has handled all that was pending when we asked, and has it stand
  // still while `action` runs. False, and nothing done, when it did not answer in time.
  #hold(ms: number, action: () => void): boolean {
    const asked = (Atomics.load(this.#shared, shared.request) + 1) | 0
    Atomics.store(this.#shared, shared.request, asked)
    fds.signalEvent(this.#wake)
    const end = performance.now() + ms
    try {
      for (;;) {
        const seen = Atomics.load(this.#shared, shared.acknowledged)
        if (seen === asked) break
        const left = end - performance.now()
        if (left <= 0) return false
        Atomics.wait(this.#shared, shared.acknowledged, seen, left)
      }
      action()
      return true
    } finally {
      Atomics.store(this.#shared, shared.released, asked)
      Atomics.notify(this.#shared, shared.released)
    }
  }

  // Our keeper, started when it is first needed.
  #keep(): Named {
    this.#keeper ??= startKeeper(this.#holder)
    return this.#keeper
  }

  // A descriptor of ours out of the target; if the program has closed it, out of a predecessor's keeper.
  #take(fd: number, kept = 0): number {
    const get = (pid: number, number: number): number => {
      const pidfd = fds.pidfdOpen(pid)
      if (pidfd < 0) return pidfd
      const got = fds.pidfdGetfd(pidfd, number)
      fds.close(pidfd)
      return got
    }
    const keeper = this.#predecessor
    let ours = -1
    if (kept !== 0 && keeper !== undefined && keeps(keeper)) ours = get(keeper.pid, kept)
    if (ours < 0) ours = get(this.#holder, fd)
    if (ours < 0)
      throw new PagerError(
        'adopt',
        `Descriptor ${fd} of process ${this.#holder} can't be had (${errnoName(ours)})`,
      )
    return ours
  }

  // ---- the agent

  #useAgent(agent: Agent): void {
    this.#agent = agent
    this.#agentUsed = performance.now()
    this.#journal.footing = agent.footing
  }

  #withAgent(): Agent {
    if (isStopped(this.pid)) throw new ProcessError('busy', `Process ${this.pid} is stopped`)
    const alive = this.#agent !== undefined && remote(this.#agent, [[nr.gettid]], 2000) !== undefined
    if (!alive) {
      this.#dismissAgent()
      // Two agents at a time would read each other's packets.
      if (!this.#agentEnded(this.#journal.footing.tid, 2000))
        throw new ProcessError('busy', `The agent in process ${this.pid} does not answer`)
      const agent = createAgent(this.pid, this.#journal.footing)
      this.#noteStop(agent.pause)
      this.#useAgent(agent)
    }
    this.#agentUsed = performance.now()
    return this.#agent as Agent
  }

  // Waits until an agent that was dismissed has ended.
  #agentEnded(tid: number, ms: number): boolean {
    const end = performance.now() + ms
    while (tid !== 0 && threads(this.pid).includes(tid)) {
      if (performance.now() > end) return false
      sleep(1)
    }
    return true
  }

  #dismissAgent(): void {
    if (this.#agent === undefined) return
    dismiss(this.#agent)
    this.#agent = undefined
  }

  #noteStop(ms: number): void {
    this.pauses.stops++
    this.pauses.longest = Math.max(this.pauses.longest, ms)
    this.pauses.total += ms
  }

  // Our descriptors and our area out of the target, by a borrowed thread: the agent may stand still with the program.
  // `partial`: who came here died before all was noted. The program had no userfaultfd then, so any is ours.
  #withdraw({ footing: f }: { footing: Footing }, partial = false): void {
    this.#dismissAgent()
    const ended = this.#agentEnded(f.tid, isStopped(this.pid) ? 50 : 2000)
    const thread = borrowThread(this.pid, findGadgets(this.pid))
    try {
      const ours = [f.uffd, f.parkIn, f.parkOut, f.control].filter(fd => isOurs(this.pid, fd))
      const stray = partial ? descriptors(this.pid).filter(fd => isUserfault(this.pid, fd)) : []
      for (const fd of new Set([...ours, ...stray])) thread.call(nr.close, fd)
      // The area is the ground under an agent's feet.
      const there = readMaps(this.pid).some(
        m => m.start === f.area + 12288 && m.name.startsWith('/memfd:lethe'),
      )
      if (ended && there) thread.call(nr.munmap, f.area, 16384)
    } finally {
      thread.release()
    }
    this.#noteStop(performance.now() - thread.since)
    if (!ended) this.#report('its agent thread ends when the process goes on; 16 KiB stay mapped')
  }

  // ---- passes

  /** Adds files to the candidates of later passes, at most 10,000; returns how many are new. */
  addFiles(files: readonly SeenFile[]): number {
    const before = this.#extra.size
    for (const file of files) if (this.#extra.size < 10_000) this.#extra.set(file.path, file)
    return this.#extra.size - before
  }

  /** Looks for what can be explained, proves it and drops it. Resolves to what was dropped. */
  async pass(level: 'quick' | 'second'): Promise<Dropped> {
    if (this.orphaned) return nothingDropped()
    return await this.make(await this.#explain({ level }))
  }

  /** Packs what no file explains. Resolves to what was dropped. */
  async pack(): Promise<Dropped> {
    const figures = memoryFigures(this.pid)
    if (this.orphaned || figures === undefined) return nothingDropped()
    await this.holdings.retirePacks(index => this.#dependents(index))
    const most = figures.anonymous / 2 - this.holdings.packedBytes
    const path = join(this.directory, `${++this.#packs}-${Date.now()}.pack`)
    if (most < 1 << 20) return nothingDropped()
    return await this.#keepOnly(path, await this.#explain({ level: 'quick', pack: { path, most } }))
  }

  // Makes use of what stands in a file of ours, or removes it.
  async #keepOnly(path: string, explained: Explained): Promise<Dropped> {
    const dropped = await this.make(explained)
    if (!this.holdings.records.some(record => record.path === path)) rmSync(path, { force: true })
    return dropped
  }

  /** Looks for what can be put together from pieces. Resolves to what was dropped. */
  async recipes(): Promise<Dropped> {
    const figures = memoryFigures(this.pid)
    if (this.orphaned || figures === undefined) return nothingDropped()
    await this.holdings.retirePacks(index => this.#dependents(index))
    const most = figures.anonymous / 4 - this.holdings.recipeBytes
    const path = join(this.directory, `${++this.#packs}-${Date.now()}.recipe`)
    if (most < 1 << 18) return nothingDropped()
    return await this.#keepOnly(path, await this.#explain({ level: 'quick', recipe: { path, most } }))
  }

  async #explain(what: Pick<ExplainRequest, 'level' | 'pack' | 'recipe'>): Promise<Explained> {
    const skip: [number, number][] = []
    this.#eachRun((start, end, s) => {
      if (s === state.clean || s === state.virtual) skip.push([start, end])
    })
    const explained = await explain({
      pid: this.pid,
      skip,
      backings: this.options.backings,
      files: [...this.#extra.values()],
      ...what,
      ...(this.passes > 0 ? { cpuShare: Math.max(this.options.cpu * 4, 0.25) } : {}),
    })
    this.passes++
    this.cpuUsed += explained.cpu
    return explained
  }

  // Pages that a backing makes, virtual or resident.
  #dependents(backing: number): number {
    const place: Place = { backing: 0, offset: 0, pages: 0 }
    let pages = 0
    this.#eachRun((start, end, s) => {
      if (s === state.virtual || s === state.clean)
        for (let at = start; at < end; at += pageBytes)
          if (this.#journal.place(at, place) && place.backing === backing) pages++
    })
    return pages
  }

  /** Proves what somebody has explained, and drops it. */
  async make(explained: Explained): Promise<Dropped> {
    const indices = new Map<number, number>()
    const { counters } = this.#journal
    const known = (counters[counter.clean] as number) + (counters[counter.virtual] as number)
    const worth = worthOpening(explained.guesses, known)
    for (const { index, sources } of explained.backings)
      if (worth.has(index)) for (const source of sources ?? []) worth.add(source)
    const zeros = explained.zero.map(({ start, pages }) => ({
      start,
      pages,
      backing: zeroBacking,
      offset: 0,
    }))
    for (const found of explained.backings) {
      if (!worth.has(found.index)) continue
      const sources = found.sources?.flatMap(source => indices.get(source) ?? [])
      if (sources?.length !== found.sources?.length) continue
      const index = await this.holdings.open(
        found,
        this.#parkIn,
        (at, fd) =>
          this.#ask({
            kind: 'backing',
            index: at,
            path: found.path,
            fd,
            ...(found.lens === undefined ? {} : { lens: found.lens }),
            ...(sources === undefined ? {} : { sources }),
          }),
        sources,
      )
      if (index !== undefined) indices.set(found.index, index)
    }
    const guesses = explained.guesses.flatMap((g): Guess[] => {
      const backing = indices.get(g.backing)
      return backing === undefined ? [] : [{ start: g.start, pages: g.pages, backing, offset: g.offset }]
    })
    guesses.push(...zeros)
    if (guesses.length === 0 || this.ended !== undefined) return nothingDropped()
    await this.#register(guesses)
    await this.#verify(guesses)
    return this.dropClean(() => true)
  }

  // Registers the whole mappings that hold a guess.
  async #register(guesses: readonly Guess[]): Promise<void> {
    // Block 0 of the journal means none.
    const mappings = readMaps(this.pid).filter(
      m => m.writable && !m.shared && m.inode === 0 && m.start >= blockBytes,
    )
    const wanted = new Set<Mapping>()
    let i = 0
    for (const g of [...guesses].sort((a, b) => a.start - b.start)) {
      while (i < mappings.length && (mappings[i] as Mapping).end <= g.start) i++
      const mapping = mappings[i]
      if (mapping !== undefined && mapping.start <= g.start) wanted.add(mapping)
    }
    for (const { start, end } of wanted) {
      const key = `${start}-${end}`
      if (this.#registered.has(key) && this.#journal.stateOf(start) !== state.none) continue
      const result = await this.#ask({ kind: 'register', start, end })
      if (result === 0) this.#registered.add(key)
    }
    this.#journal.refresh()
  }

  async #verify(guesses: readonly Guess[]): Promise<void> {
    const verifier = new Verifier(this.pid, this.#uffd, this.#journal)
    let rows: number[] = []
    const flush = async (): Promise<void> => {
      if (rows.length === 0) return
      const send = Float64Array.from(rows)
      rows = []
      await this.#ask({ kind: 'explain', rows: send })
    }
    try {
      // A page whose removal the server has read a moment ago may not be gone yet.
      const settled = (at: number): boolean => this.#age(at) * this.#tickMs >= 3000
      for (const guess of guesses) {
        const view = this.holdings.views.get(guess.backing)
        if (view === undefined) continue
        let since = 0
        verifier.verify(guess, view, settled, (start, pages, offset) => {
          rows.push(start, pages, guess.backing, offset)
          since += pages
        })
        if (since > 4096 || rows.length > 4096) await flush()
        if (this.ended !== undefined) return
      }
      await flush()
    } finally {
      verifier.close()
      this.#journal.refresh()
    }
  }

  #eachRun(run: (start: number, end: number, s: number) => void): void {
    this.#journal.refresh()
    for (const block of [...this.#journal.blocks()].sort((a, b) => a - b))
      this.#journal.runs(block * blockBytes, (block + 1) * blockBytes, run)
  }

  // Ticks since the 64 KiB around `at` were last refilled or removed. Ticks wrap; a time a little ahead of ours is now.
  #age(at: number): number {
    const ticks = (this.tick - this.#journal.ageOf(at)) & 0xffff
    return ticks > 0x10000 - 60_000 / this.#tickMs ? 0 : ticks
  }

  /** Drops the clean pages whose 64 KiB cluster `cold` accepts. */
  dropClean(cold: (address: number) => boolean, atMost: number = Number.POSITIVE_INFINITY): Dropped {
    const runs: { start: number; end: number }[] = []
    let bytes = 0
    const cluster = 16 * pageBytes
    this.#eachRun((start, end, s) => {
      if (s !== state.clean) return
      for (let at = start; at < end && bytes < atMost; ) {
        const stop = Math.min(end, (Math.floor(at / cluster) + 1) * cluster)
        if (cold(at)) {
          const last = runs.at(-1)
          if (last?.end === at) last.end = stop
          else runs.push({ start: at, end: stop })
          bytes += stop - at
        }
        at = stop
      }
    })
    return this.#drop(runs)
  }

  #drop(runs: readonly Run[]): Dropped {
    if (
      runs.length === 0 ||
      this.#leaving ||
      this.ended !== undefined ||
      this.orphaned ||
      isStopped(this.pid)
    )
      return nothingDropped()
    const agent = this.#withAgent()
    const dropped = drop(
      {
        pid: this.pid,
        fd: this.#uffd,
        pagemap: this.#pagemap,
        journal: this.#journal,
        agent,
        hold: (ms, action) => this.#hold(ms, action),
      },
      runs,
    )
    this.pauses.stops += dropped.stops
    this.pauses.total += dropped.total
    this.pauses.longest = Math.max(this.pauses.longest, dropped.longest)
    this.#agentUsed = performance.now()
    if (dropped.unsettled === true)
      try {
        this.#settle(agent.footing.tid)
      } catch (error) {
        // What it does when it goes on can only be known by who begins anew.
        console.error(`lethe: process ${this.pid}: ${(error as Error).message}`)
        exitNow(70)
      }
    return dropped
  }

  // ---- time

  /** Forked children that are served. */
  children = 0

  /** Called at intervals: what the target does, what is over budget, what has gone cold. */
  beat(): void {
    fds.signalEvent(this.#wake)
    releaseStragglers()
    if (this.ended !== undefined || this.orphaned) return
    if (startTime(this.pid) !== this.#identity) {
      void this.#ask({ kind: 'bury' }).then(children => {
        this.children = children
        this.#gone()
      })
      return
    }
    if (this.#left.length > 0) this.#drop(this.#left.splice(0))
    this.reclaim()
    // The agent is a thread that the program did not make: it goes when it has nothing to do.
    if (this.#agent !== undefined && performance.now() - this.#agentUsed > 1500) this.#dismissAgent()
  }

  /** Drops what is over the budget, and what has not been touched for as long as its history asks. */
  reclaim(): Dropped {
    const budget = this.#limit
    const clean = (this.#journal.counters[counter.clean] as number) * pageBytes
    const age = (at: number): number => this.#age(at)
    if (budget !== undefined) {
      const over = clean - budget
      if (over < 0) return nothingDropped()
      // Oldest first, down to two thirds of the budget: an episode has its price, whatever it drops.
      const target = over + budget / 3
      const byAge = new Map<number, number>()
      this.#eachRun((start, end, s) => {
        if (s !== state.clean) return
        for (let at = start; at < end; at += pageBytes)
          byAge.set(age(at), (byAge.get(age(at)) ?? 0) + pageBytes)
      })
      let enough = 0
      let sum = 0
      for (const [a, bytes] of [...byAge].sort((x, y) => y[0] - x[0])) {
        enough = a
        sum += bytes
        if (sum >= target) break
      }
      return this.dropClean((at: number) => age(at) >= enough, target)
    }
    if (performance.now() < this.#nextCold || clean < 1 << 20) return nothingDropped()
    this.#nextCold = performance.now() + 5000
    const waitFor = (at: number): number =>
      patience[Math.min(this.#journal.levelOf(at), patience.length - 1)] as number
    return this.dropClean((at: number) => {
      if (age(at) < waitFor(at)) return false
      // It has come back once: it waits longer the next time.
      this.#journal.setLevel(at, Math.min(patience.length - 1, this.#journal.levelOf(at) + 1))
      return true
    })
  }

  /** Refills everything and leaves the target as it would be without us. Throws PagerError when a page can't be rebuilt. */
  async detach(): Promise<void> {
    // The server may take the request while a drop is under way, and would not see what is about to become virtual.
    this.#leaving = true
    const left = await this.#ask({ kind: 'leave' }).finally(() => (this.#leaving = false))
    if (left > 0)
      throw new PagerError(
        'backing',
        `${left} pages of process ${this.pid} can't be rebuilt yet; it stays attached`,
      )
    this.#journal.leaving = true
    try {
      if (!this.orphaned) this.#withdraw(this.#journal)
    } catch (error) {
      // Nothing depends on us any more; what could not be taken out of the target does no harm.
      if (!(error instanceof ProcessError)) throw error
      this.#report(`something of ours stays in it: ${error.message}`)
    }
    this.#finish('detached')
  }

  #gone(): void {
    if (this.ended !== undefined) return
    if (this.children > 0) {
      this.orphaned = true
      this.#dismissAgent()
    } else this.#finish(startTime(this.pid) === this.#identity ? 'exec' : 'exited')
  }

  #finish(how: 'exited' | 'exec' | 'detached'): void {
    this.ended = how
    this.#dismissAgent()
    for (const resolve of this.#waiting.values()) resolve({ result: -1 })
    this.#waiting.clear()
    void this.#server.terminate()
    this.#onEnd?.()
  }
}

function isUserfault(pid: number, fd: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[userfaultfd]'
  } catch {
    return false
  }
}

// By its kind: a high number that has become a file of the program's since is not.
function isOurs(pid: number, fd: number): boolean {
  try {
    return fd !== 0 && /^(socket:|anon_inode:\[userfaultfd\])/.test(readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return false
  }
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
