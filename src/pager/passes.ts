// When to look again. The first pass runs at once and at full speed; a second, wider one follows if much stays
// unexplained. Later passes run when the target's memory has grown, at a bounded share of one CPU: a pass that used
// C seconds of it is followed by no other for C / share seconds.
import { setTimeout } from 'node:timers/promises'
import type { Controller } from './controller.ts'
import { counter, pageBytes } from './journal.ts'
import { memoryFigures } from '../process/target.ts'

/** Growth of unexplained memory that is worth a pass. */
const worthwhile = 4 << 20
/** Unexplained memory that is worth a search for pieces: so much, bytes, and this share of what is explained. */
const worthPieces = 2 << 20
const worthShare = 1 / 50
/** And again: this share of what it has looked at in vain. */
const worthMore = 1 / 8
/** How long a pass waits for what could not be dropped at once, milliseconds. */
const patience = 2000
/** Longest time without a pass, seconds: memory can be rewritten without growing. */
const longest = 120

/** What it knows when its pager goes to sleep. */
export interface PassesState {
  readonly leftover: number
  readonly pieced: number
  readonly quiet: number
  /** Seconds since the last pass. */
  readonly since: number
}

export class Passes {
  readonly #controller: Controller
  /** Resolves when the first pass has been made. */
  readonly first: Promise<void>
  settled = false
  #firstDone: () => void = () => {}
  #running: Promise<void> | undefined
  #stopped = false
  #notBefore = 0
  #leftover = 0
  /** What was unexplained when the last look for recipes had found what it could. */
  #pieced = 0
  #previous = 0
  #quiet = 10
  #lastPass = 0

  /** `known`: of a pager that went to sleep; then nothing is done at first. */
  constructor(controller: Controller, adopted: boolean, known: PassesState | undefined) {
    this.#controller = controller
    this.first = new Promise(resolve => {
      this.#firstDone = resolve
    })
    if (adopted) this.#quiet = longest
    if (known === undefined) return
    controller.hurried = false
    this.#leftover = known.leftover
    this.#pieced = known.pieced
    this.#quiet = known.quiet
    this.#lastPass = performance.now() - known.since * 1000
    this.#previous = this.#unexplained()
    this.settled = true
    this.#firstDone()
  }

  begin(): void {
    if (!this.settled) void this.#start()
  }

  /** What a successor has to know; undefined while something is to be done. */
  get state(): PassesState | undefined {
    if (this.#running !== undefined || this.#stopped || !this.settled) return undefined
    if (this.#unexplained() - this.#leftover > worthwhile) return undefined
    const since = (performance.now() - this.#lastPass) / 1000
    return { leftover: this.#leftover, pieced: this.#pieced, quiet: this.#quiet, since }
  }

  /** Bytes of anonymous memory from which on a pass is due at once, or after some time. */
  get limits(): { most: number; some: number } {
    const clean = (this.#controller.journal.counters[counter.clean] as number) * pageBytes
    const most = clean + this.#leftover + worthwhile
    const some = clean + Math.max(worthwhile, this.#leftover + worthwhile / 4)
    return { most, some: Math.min(most, some) }
  }

  get running(): boolean {
    return this.#running !== undefined
  }

  /**
   * Makes a pass, and drops what is clean even if it finds nothing new. One that runs already may have looked before there was
   * what somebody asks for now: another follows it then.
   */
  async now(): Promise<void> {
    await this.#running
    await this.#start()
    await this.#stage(() => {
      this.#controller.dropFresh()
      return this.#left()
    })
  }

  #start(): Promise<void> {
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined
      this.settled = true
      this.#firstDone()
    })
    return this.#running
  }

  /** Ends the pass that runs, whose search may take long, and makes no other until `resume`. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#controller.stopLooking()
    await this.#running
  }

  resume(): void {
    this.#controller.lookAgain()
    this.#stopped = false
  }

  async #pass(): Promise<void> {
    const c = this.#controller
    const used = c.cpuUsed
    const before = this.#explained()
    const deep = c.options.deep === true && c.passes === 0
    await this.#stage(() => c.pass(deep ? 'deep' : 'quick'))
    const quick = this.#explained() - before
    // What is left over may be from files that nobody has open any more.
    const much = Math.max(worthwhile, (quick * pageBytes) / 4)
    if (!deep && this.#unexplained() > much) await this.#stage(() => c.pass('second'))
    this.#pieced = Math.min(this.#pieced, this.#unexplained())
    // That search takes as long as all before it for the same memory: not for next to nothing, nor again for a little more.
    const some = Math.max(worthPieces, this.#explained() * pageBytes * worthShare, this.#pieced * worthMore)
    if (this.#unexplained() - this.#pieced > some)
      await this.#stage(async () => {
        await c.recipes()
        this.#pieced = this.#unexplained()
      })
    if (c.options.pack === true && this.#unexplained() > worthwhile) await this.#stage(() => c.pack())
    await this.#stage(() => this.#left())
    const found = this.#explained() - before
    c.hurried = false
    this.#lastPass = performance.now()
    this.#leftover = this.#unexplained()
    this.#notBefore = performance.now() + ((c.cpuUsed - used) / c.options.cpu) * 1000
    this.#quiet = found > 0 ? 10 : Math.min(longest, this.#quiet * 2)
  }

  // A part of a pass. What goes wrong in it does not keep the others from what they can find.
  async #stage(does: () => Promise<unknown>): Promise<void> {
    const c = this.#controller
    if (!this.#going) return
    try {
      await does()
    } catch (error) {
      if (this.#going) console.error(`lethe: process ${c.pid}: a pass failed:`, error)
    }
  }

  // On a busy machine some stops fail. Who waits for this pass is told when what it found has gone, if it goes soon.
  async #left(): Promise<void> {
    const end = performance.now() + patience
    while (this.#going && !this.#controller.dropLeft() && performance.now() < end) await setTimeout(50)
  }

  get #going(): boolean {
    return this.#controller.ended === undefined && !this.#stopped
  }

  // Pages that are known to be copies, resident or not.
  #explained(): number {
    const { counters } = this.#controller.journal
    return (counters[counter.clean] as number) + (counters[counter.virtual] as number)
  }

  #unexplained(): number {
    const c = this.#controller
    const figures = memoryFigures(c.pid)
    return Math.max(0, (figures?.anonymous ?? 0) - (c.journal.counters[counter.clean] as number) * pageBytes)
  }

  /** Called at intervals: starts a pass if it is time for one. */
  beat(): void {
    if (
      this.#running !== undefined ||
      this.#stopped ||
      this.#controller.ended !== undefined ||
      this.#controller.orphaned
    )
      return
    const now = performance.now()
    const unexplained = this.#unexplained()
    const growing = unexplained - this.#previous > worthwhile / 4
    this.#previous = unexplained
    if (now < this.#notBefore) return
    const grown = unexplained - this.#leftover
    if (grown < 0) this.#leftover = unexplained
    // While it still grows quickly, wait: one pass over the whole is cheaper than many over parts.
    const due = grown > worthwhile && (!growing || grown > this.#leftover)
    if (
      due ||
      (now - this.#lastPass > this.#quiet * 1000 && unexplained > worthwhile && grown > worthwhile / 4)
    )
      void this.#start()
  }
}
