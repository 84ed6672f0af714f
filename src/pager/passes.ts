// When to look again. The first pass runs at once and at full speed; a second, wider one follows if much stays
// unexplained. Later passes run when the target's memory has grown, at a bounded share of one CPU: a pass that used
// C seconds of it is followed by no other for C / share seconds.
import type { Controller } from './controller.ts'
import { counter, pageBytes } from './journal.ts'
import { memoryFigures } from '../process/target.ts'

/** Growth of unexplained memory that is worth a pass. */
const worthwhile = 4 << 20
/** Longest time without a pass, seconds: memory can be rewritten without growing. */
const longest = 120

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
  #previous = 0
  #quiet = 10
  #lastPass = 0

  constructor(controller: Controller, adopted: boolean) {
    this.#controller = controller
    this.first = new Promise(resolve => {
      this.#firstDone = resolve
    })
    if (adopted) this.#quiet = longest
  }

  begin(): void {
    void this.now()
  }

  get running(): boolean {
    return this.#running !== undefined
  }

  /** Makes a pass now, or waits for the one that runs. */
  now(): Promise<void> {
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined
      this.settled = true
      this.#firstDone()
    })
    return this.#running
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #pass(): Promise<void> {
    const c = this.#controller
    const used = c.cpuUsed
    let found = 0
    try {
      const quick = await c.pass('quick')
      found = quick.pages
      // What is left over may be from files that nobody has open any more.
      if (
        this.#unexplained() > Math.max(worthwhile, (quick.pages * pageBytes) / 4) &&
        c.ended === undefined
      ) {
        const second = await c.pass('second')
        found += second.pages
      }
      if (this.#unexplained() > worthwhile && c.ended === undefined) {
        const pieces = await c.recipes()
        found += pieces.pages
      }
      if (c.options.pack === true && this.#unexplained() > worthwhile && c.ended === undefined) {
        const packed = await c.pack()
        found += packed.pages
      }
    } catch (error) {
      if (c.ended === undefined) console.error(`lethe: process ${c.pid}: a pass failed:`, error)
    }
    this.#lastPass = performance.now()
    this.#leftover = this.#unexplained()
    this.#notBefore = performance.now() + ((c.cpuUsed - used) / c.options.cpu) * 1000
    this.#quiet = found > 0 ? 10 : Math.min(longest, this.#quiet * 2)
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
      void this.now()
  }
}
