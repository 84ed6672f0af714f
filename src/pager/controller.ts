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
import { mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { exitNow } from '../sys/ffi.ts'
import * as uffd from '../sys/uffd.ts'
import { type Agent, createAgent, dismiss } from '../process/agent.ts'
import type { SeenFile } from '../process/candidates.ts'
import { ProcessError } from '../process/errors.ts'
import { heir, parkInode } from '../process/heir.ts'
import { readMaps } from '../process/maps.ts'
import { releaseStragglers } from '../process/stragglers.ts'
import {
  checkTarget,
  cpuSeconds,
  isStopped,
  type MemoryFigures,
  memoryFigures,
  startTime,
} from '../process/target.ts'
import { Agents, type Pauses } from './agents.ts'
import {
  drop,
  type Dropped,
  freeScratch,
  isSealed,
  nothingDropped,
  type Run,
  settle,
  unsettle,
} from './drop.ts'
import { PagerError } from './errors.ts'
import type { Level } from '../explain/process.ts'
import { explain, type Explained, type ExplainRequest } from './explainer.ts'
import { Governor } from './governor.ts'
import { Holdings, worthOpening } from './holdings.ts'
import { counter, Journal, pageBytes, type Place, state, zeroBacking } from './journal.ts'
import { parkOf } from './journal-file.ts'
import { endKeeper, keeps, type Named, startKeeper } from './keeper.ts'
import { emptyPark, type Kept } from './park.ts'
import { Proof } from './proof.ts'
import { Prices } from './prices.ts'
import { tickAt } from './protocol.ts'
import { eachRun, Reclaim } from './reclaim.ts'
import type { ReportOptions } from './report.ts'
import { type News, ServerLink } from './server-link.ts'
import type { Guess } from './verify.ts'

export interface PagerOptions {
  /** Most bytes of explained memory that may be resident; undefined: no limit but coldness. */
  readonly budget?: number
  /** Most of its time that the target may wait for refills, 0 to 1: as much is given back as that allows. */
  readonly pressure?: number
  /** Files and directories that the user named. */
  readonly backings: readonly string[]
  /** Pack what no file explains. */
  readonly pack?: boolean
  /** The first pass leaves nothing out. */
  readonly deep?: boolean
  /** Share of one CPU that later passes may use, 0 to 1. */
  readonly cpu: number
  /** Wait until the target has this much anonymous memory, and note the files that it opens (`lethe run`). */
  readonly waitFor?: number
  /** Milliseconds with nothing to do after which it sleeps, 0 for never; undefined: as it was woken before. */
  readonly calm?: number
  readonly report?: ReportOptions
}

const uffdFeatures =
  uffd.feature.pagefaultFlagWp |
  uffd.feature.eventFork |
  uffd.feature.eventRemap |
  uffd.feature.eventRemove |
  uffd.feature.eventUnmap |
  uffd.feature.threadId

/** How long a dismissed agent may take to end, milliseconds: on a busy machine the server takes long to begin. */
const settleLimit = 60_000

/** Between two tries to drop what the target could not be stopped for, milliseconds. */
const leastDelay = 100
const mostDelay = 60_000

/** The exit code after which the supervisor starts a successor at once. */
export const again = 75

/** Bytes of descriptors that may wait in the park: some ten thousand children. */
const parkRoom = 8 << 20

export class Controller {
  readonly pid: number
  readonly directory: string
  readonly options: PagerOptions
  /** The target has ended; its children are served until they end too. */
  orphaned = false
  readonly holdings: Holdings
  readonly prices: Prices = new Prices()
  readonly governor: Governor | undefined
  readonly reports: string[] = []
  /** Set when the target is gone (`exited`, `exec`) or has been left (`detached`). */
  ended: 'exited' | 'exec' | 'detached' | undefined
  before: MemoryFigures | undefined
  passes = 0
  cpuUsed = 0
  /** Until everything has been looked at once: nothing is given back before that. */
  hurried = true
  readonly #identity: number
  /** Who has our descriptors: the target, or a child that it left behind. */
  readonly #holder: number
  #journal!: Journal
  #uffd = -1
  #pagemap = -1
  #parkIn = -1
  // Under a budget the order of refills matters within a second too.
  readonly #tickMs: number
  #server!: ServerLink
  #reclaim!: Reclaim
  #proof!: Proof
  readonly #agents: Agents
  /** Runs that could not be dropped because the target could not be stopped. */
  readonly #left: Run[] = []
  /** When they are tried again, and how long after that once more, milliseconds: each try stops threads of the target. */
  #again = { at: 0, delay: leastDelay }
  /** Seconds of stops in which the target would have run. */
  #stopped = 0
  /** Share of a CPU that the target lately used, at most 1. */
  #busy = 1
  #used = { at: 0, seconds: 0 }
  readonly #extra = new Map<string, SeenFile>()
  #onEnd: (() => void) | undefined
  #leaving = false
  /** Ends the search that is under way. */
  #looking = new AbortController()
  #packs = 0
  #asleep: (news: Extract<News, { kind: 'asleep' }>) => void = () => {}
  #keeper: Named | undefined
  #predecessor: Journal['keeper'] | undefined

  constructor(pid: number, directory: string, options: PagerOptions) {
    this.pid = pid
    this.directory = directory
    this.holdings = new Holdings(directory)
    this.options = options
    this.#tickMs = options.budget !== undefined ? 20 : options.pressure !== undefined ? 100 : 1000
    if (options.pressure !== undefined) this.governor = new Governor(options.pressure)
    const identity = startTime(pid)
    const park = identity === undefined ? parkOf(join(directory, 'journal')) : undefined
    const holder = park === undefined ? undefined : heir(park)
    if (identity === undefined && holder === undefined)
      throw new ProcessError('gone', `No process ${pid} is running`)
    this.#identity = identity ?? 0
    this.#holder = holder ?? pid
    this.#agents = new Agents(pid, message => this.#report(message))
  }

  get pauses(): Pauses {
    return this.#agents.pauses
  }
  /** Seconds that the target has waited for us: for refills, and in stops as far as it would have run. */
  get waited(): number {
    const { counters } = this.#journal
    return ((counters[counter.stallMicroseconds] as number) >>> 0) / 1e6 + this.#stopped
  }
  get journal(): Journal {
    return this.#journal
  }
  get uffd(): number {
    return this.#uffd
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
      this.#agents.noteStop(agent.pause)
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
        this.#agents.withdraw(agent)
      }
      rmSync(path, { force: true })
      throw error
    }
    this.#agents.use(agent, this.#journal)
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
      if (footing.area !== 0 && !this.orphaned) this.#agents.withdraw({ footing }, true)
      throw new PagerError('adopt', `Nothing of process ${this.pid} was served any more`)
    }
    this.#predecessor = keeper
    this.#uffd = this.#take(footing.uffd, keeper.own[0])
    this.holdings.read()
    unsettle(this.#journal, tickAt(performance.now(), this.#tickMs))
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
    this.#agents.dismiss()
    // It ends when its predecessor's keeper does, which the server sees to as soon as it runs.
    if (!this.#agents.ended(tid, settleLimit))
      throw new PagerError('adopt', `The agent thread ${tid} in process ${this.pid} does not end`)
    settle({ fd: this.#uffd, pagemap: this.#pagemap, journal: this.#journal, settled: this.#settled })
    if (this.#journal.scratch.length === 0) return
    if (isSealed(this.#journal, readMaps(this.pid))) {
      const hold = (ms: number, action: () => void): boolean => this.#server.hold(ms, action)
      if (!freeScratch({ agent: this.#agents.get(this.#journal), journal: this.#journal, hold }))
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
    const data = {
      uffd: this.#uffd,
      pid: this.pid,
      journal: this.#journal.path,
      directory: this.directory,
      parkIn: this.#parkIn,
      tickMs: this.#tickMs,
      limit: Math.floor((this.#limit ?? 0) / pageBytes),
      timed: this.governor !== undefined,
      prices: this.prices.memory,
      parkOut,
      keeper: { ...keeper, own: [this.#uffd, this.#parkIn, parkOut] as const },
      before: this.#predecessor ?? { pid: 0, start: 0 },
      children: kept.children,
      backings: this.holdings.adopt(kept),
    }
    this.#reclaim = new Reclaim(this.#journal, this.prices, {
      tickMs: this.#tickMs,
      waited: () => this.waited,
      ...(this.#limit === undefined ? {} : { limit: this.#limit }),
      ...(this.governor === undefined ? {} : { governor: this.governor }),
    })
    this.#server = new ServerLink(data, news => this.#hear(news))
    const { views } = this.holdings
    this.#proof = new Proof(
      this.pid,
      this.#uffd,
      this.#journal,
      this.#server,
      views,
      this.#settled,
      this.prices,
    )
  }

  // A page whose removal the server has read a moment ago may not be gone yet.
  readonly #settled = (at: number): boolean => this.#reclaim.age(at) * this.#tickMs >= 3000

  #hear(news: News): void {
    switch (news.kind) {
      case 'lost': {
        this.holdings.lose(news.index, news.why)
        this.#report(`${news.why}: its pages are physical again`)
        return
      }
      case 'report':
        this.#report(news.message)
        return
      case 'children':
        this.children = news.count
        return
      case 'over':
        if (this.ended === undefined) this.reclaim()
        this.#server.wake()
        return
      case 'asleep':
        this.#asleep(news)
        return
      case 'gone':
        this.children = news.children
        this.#gone()
    }
  }

  #report(message: string): void {
    if (this.reports.length < 1000) this.reports.push(message)
    console.error(`lethe: process ${this.pid}: ${message}`)
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

  /** Makes the server's heap small; it answers no fault for some tens of milliseconds. */
  async shedServer(): Promise<void> {
    if (this.ended === undefined && !this.#leaving) await this.#server.ask({ kind: 'shed' })
  }

  /**
   * Ends the server, if it has nothing to do: what is to be watched now. Undefined: not now, and all is as it was. After that nobody
   * serves here: this process is to become a sleeper.
   */
  async sleep(): Promise<readonly number[] | undefined> {
    const { footing, scratch } = this.#journal
    this.#agents.dismiss()
    if (this.orphaned || this.ended !== undefined || this.#leaving || this.#left.length > 0) return undefined
    if (scratch.length > 0 || !this.#agents.ended(footing.tid, 20)) return undefined
    const asleep = new Promise<Extract<News, { kind: 'asleep' }>>(resolve => {
      this.#asleep = resolve
    })
    // Nothing else may begin meanwhile.
    this.#leaving = true
    if ((await this.#server.ask({ kind: 'sleep' })) !== 1) {
      this.#leaving = false
      return undefined
    }
    const { watched, leased } = await asleep
    // Who wanted to write before we are the ones to be told was heard by nobody.
    const quiet = leased.map(fd => fds.leaseFor(fd, process.pid) === 0 && fds.leased(fd))
    if (quiet.includes(false)) exitNow(again)
    return watched
  }

  // ---- passes

  /** The files that were added. */
  get files(): readonly SeenFile[] {
    return [...this.#extra.values()]
  }

  /** Adds files to the candidates of later passes, at most 10,000; returns how many are new. */
  addFiles(files: readonly SeenFile[]): number {
    const before = this.#extra.size
    for (const file of files) if (this.#extra.size < 10_000) this.#extra.set(file.path, file)
    return this.#extra.size - before
  }

  /** Looks for what can be explained, proves it and drops it. Resolves to what was dropped. */
  async pass(level: Level): Promise<Dropped> {
    if (this.orphaned) return nothingDropped()
    return await this.make(await this.#explain({ level }))
  }

  /** Packs what no file explains. Resolves to what was dropped. */
  async pack(): Promise<Dropped> {
    const figures = memoryFigures(this.pid)
    if (this.orphaned || figures === undefined) return nothingDropped()
    await this.holdings.retire(index => this.#uses(index))
    const most = figures.anonymous / 2 - this.holdings.packedBytes
    const path = join(this.directory, `${++this.#packs}-${Date.now()}.pack`)
    if (most < 1 << 20) return nothingDropped()
    return await this.#keepOnly(path, { level: 'quick', pack: { path, most } })
  }

  /** Looks for what can be put together from pieces. Resolves to what was dropped. */
  async recipes(): Promise<Dropped> {
    const { holdings } = this
    const { refused } = holdings
    await holdings.retire(index => this.#uses(index))
    let without = [...refused].filter(([, { passing }]) => !passing).map(([path]) => path)
    for (;;) {
      const figures = memoryFigures(this.pid)
      if (this.orphaned || figures === undefined) return nothingDropped()
      const most = figures.anonymous / 4 - holdings.recipeBytes
      const path = join(this.directory, `${++this.#packs}-${Date.now()}.recipe`)
      if (most < 1 << 18) return nothingDropped()
      const dropped = await this.#keepOnly(path, { level: 'second', recipe: { path, most, without } })
      // A file of ours that is no more is nobody's loss.
      refused.delete(path)
      if (dropped.pages > 0 || refused.size <= without.length) return dropped
      // One of its files could not serve: once more without it, and no other time.
      for (const refusal of refused.values()) refusal.passing = false
      without = [...refused.keys()]
    }
  }

  // Has an explainer write a file of ours, and makes use of what stands in it, or removes it.
  async #keepOnly(path: string, what: Pick<ExplainRequest, 'level' | 'pack' | 'recipe'>): Promise<Dropped> {
    try {
      return await this.make(await this.#explain(what))
    } finally {
      if (!this.holdings.records.some(record => record.path === path)) rmSync(path, { force: true })
    }
  }

  /** Ends the search that is under way, and begins no other until `lookAgain`; who began it hears an error. */
  stopLooking(): void {
    this.#looking.abort()
  }

  lookAgain(): void {
    this.#looking = new AbortController()
  }

  async #explain(what: Pick<ExplainRequest, 'level' | 'pack' | 'recipe'>): Promise<Explained> {
    const skip: [number, number][] = []
    eachRun(this.#journal, (start, end, s) => {
      if (s === state.clean || s === state.virtual) skip.push([start, end])
    })
    const request: ExplainRequest = {
      pid: this.pid,
      skip,
      backings: this.options.backings,
      files: [...this.#extra.values()],
      ...what,
      ...(this.hurried ? {} : { cpuShare: Math.max(this.options.cpu * 4, 0.25) }),
    }
    const explained = await explain(request, this.#looking.signal)
    this.passes++
    this.cpuUsed += explained.cpu
    return explained
  }

  // Pages that a backing makes, virtual or resident.
  #uses(backing: number): number {
    const place: Place = { backing: 0, offset: 0, pages: 0 }
    let pages = 0
    eachRun(this.#journal, (start, end, s) => {
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
    const dependent = new Map<number, number>()
    const depends = (index: number, bytes: number): void => {
      dependent.set(index, (dependent.get(index) ?? 0) + bytes)
    }
    for (const { backing, pages } of explained.guesses) depends(backing, pages * pageBytes)
    for (const { index, sources } of explained.backings)
      for (const source of worth.has(index) ? (sources ?? []) : []) {
        worth.add(source)
        depends(source, dependent.get(index) ?? 0)
      }
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
          this.#server.ask({
            kind: 'backing',
            index: at,
            path: found.path,
            fd,
            ...(found.lens === undefined ? {} : { lens: found.lens }),
            ...(sources === undefined ? {} : { sources }),
          }),
        dependent.get(found.index) ?? 0,
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
    await this.#proof.register(guesses)
    await this.#proof.verify(guesses, () => this.ended !== undefined)
    return this.dropFresh()
  }

  /** Drops what is clean, as after a pass that has found something. */
  dropFresh(): Dropped {
    return this.#drop(this.#reclaim.fresh())
  }

  /** Drops the clean pages whose 64 KiB cluster `cold` accepts. */
  dropClean(cold: (address: number) => boolean): Dropped {
    return this.#drop(this.#reclaim.clean(cold))
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
    const agent = this.#agents.get(this.#journal)
    const dropped = drop(
      {
        pid: this.pid,
        fd: this.#uffd,
        pagemap: this.#pagemap,
        journal: this.#journal,
        agent,
        hold: (ms, action) => this.#server.hold(ms, action),
        server: () => this.#server.place,
      },
      runs,
    )
    this.#left.push(...dropped.left)
    this.pauses.stops += dropped.stops
    this.pauses.total += dropped.total
    this.pauses.longest = Math.max(this.pauses.longest, dropped.longest)
    const stopped = (dropped.total / 1000) * this.#busy
    this.#stopped += stopped
    this.governor?.stopped(stopped)
    this.#agents.touch()
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
    this.#server.wake()
    releaseStragglers()
    if (this.ended !== undefined || this.orphaned) return
    if (startTime(this.pid) !== this.#identity) {
      void this.#server.ask({ kind: 'bury' }).then(children => {
        this.children = children
        this.#gone()
      })
      return
    }
    this.#lookHowBusy()
    this.dropLeft()
    this.reclaim()
    this.#agents.dismissIdle()
  }

  /** Drops what an earlier drop had no stop for. Whether nothing is left of it. */
  dropLeft(): boolean {
    const now = performance.now()
    if (this.#left.length > 0 && now >= this.#again.at) {
      this.#drop(this.#left.splice(0))
      const { delay } = this.#again
      this.#again = { at: performance.now() + delay, delay: Math.min(mostDelay, 2 * delay) }
    }
    if (this.#left.length > 0) return false
    this.#again.delay = leastDelay
    return true
  }

  #lookHowBusy(): void {
    const at = performance.now()
    if (at - this.#used.at < 1000) return
    const seconds = cpuSeconds(this.pid)
    if (this.#used.at > 0)
      this.#busy = Math.min(1, ((seconds - this.#used.seconds) * 1000) / (at - this.#used.at))
    this.#used = { at, seconds }
  }

  /** Drops what is over the budget, and what has not been touched for as long as its history asks. */
  reclaim(): Dropped {
    return this.#drop(this.#reclaim.due())
  }

  /** Refills everything and leaves the target as it would be without us. Throws PagerError when a page can't be rebuilt. */
  async detach(): Promise<void> {
    // The server may take the request while a drop is under way, and would not see what is about to become virtual.
    this.#leaving = true
    const left = await this.#server.ask({ kind: 'leave' }).finally(() => (this.#leaving = false))
    if (left > 0)
      throw new PagerError(
        'backing',
        `${left} pages of process ${this.pid} can't be rebuilt yet; it stays attached`,
      )
    this.#journal.leaving = true
    try {
      if (!this.orphaned) this.#agents.withdraw(this.#journal)
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
      this.#agents.dismiss()
    } else this.#finish(startTime(this.pid) === this.#identity ? 'exec' : 'exited')
  }

  #finish(how: 'exited' | 'exec' | 'detached'): void {
    this.ended = how
    this.#agents.dismiss()
    this.#server.end()
    this.#onEnd?.()
  }
}
