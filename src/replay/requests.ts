// Which pages the guest's thread is asked to drop, and when. While the guest makes new pages a page that is proved waits: it may be written
// again, or read, or moved to where an array grows. When too many wait, those go that were left alone for longest; all that wait go when the guest is calm.
import { type Drops, isTracking, pageState, type Shared, word } from './protocol.ts'

/** Pages that may wait where nobody said how many; an eighth of what was written if that is more. Over that, a part of so many goes together. */
const leastWaiting = 16384
const partOfWaiting = 8
/** Fewer are not asked for, unless all go. */
const group = 64
/**
 * A page that was read within so many epochs is not dropped yet: none at first, more with each page that the guest comes back for here and there
 * while it loads, and less again with each epoch.
 */
const firstCooling = 8
const coolingGrows = 1.5
const mostCooling = 512
const coolingFalls = 0.99

export class Requests {
  readonly #shared: Shared
  readonly #post: (message: Drops) => void
  readonly #wanted: (page: number) => void
  readonly #budget: number
  /** In the order in which they were proved. */
  readonly #waiting = new Set<number>()
  #cooling = 0
  /** Whatever is proved may go. */
  eager = false

  /** `wanted` is told of pages that are to be proved again. `budget`: pages that may wait; 0: nobody said how many. */
  constructor(
    shared: Shared,
    budget: number,
    post: (message: Drops) => void,
    wanted: (page: number) => void,
  ) {
    this.#budget = budget
    this.#shared = shared
    this.#post = post
    this.#wanted = wanted
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** A page that is proved. */
  add(page: number): void {
    this.#waiting.delete(page)
    this.#waiting.add(page)
  }

  /** Whether a page that waited was written meanwhile: then it waits no more, and is physical. */
  withdraw(page: number): boolean {
    return this.#waiting.has(page) && this.#isWritten(page) && this.#written(page)
  }

  /** An epoch has gone by. */
  looked(): void {
    this.#cooling *= coolingFalls
  }

  /** The guest came back for a page here or there while it loads. */
  missed(): void {
    this.#cooling = Math.min(mostCooling, Math.max(firstCooling, this.#cooling * coolingGrows))
  }

  /** Asks for what is too much; for `all` if the guest is calm. */
  send(all: boolean): void {
    const { lastRead, lastWritten } = this.#shared
    const most = this.eager || all ? 0 : this.#most
    if (this.#waiting.size < most + Math.max(most / partOfWaiting, most > 0 ? group : 1)) return
    const cold: number[] = []
    for (const page of this.#waiting)
      if (this.#shared.states[page] !== pageState.asked) this.#waiting.delete(page)
      else if (this.#isWritten(page)) this.#written(page)
      else if (!this.hot(page)) cold.push(page)
    const count = Math.min(cold.length, this.#waiting.size - most)
    if (count <= 0) return
    if (count < cold.length) {
      const used = (page: number): number => Math.max(lastRead[page] as number, lastWritten[page] as number)
      cold.sort((a, b) => used(a) - used(b))
    }
    const pages = Uint32Array.from(cold.slice(0, count)).sort()
    const before = pages.map(page => this.#shared.proved[page] as number)
    for (const page of pages) this.#waiting.delete(page)
    this.#post({ kind: 'drops', pages, before })
    Atomics.add(this.#shared.control, word.asked, 1)
  }

  get #most(): number {
    if (this.#budget > 0) return this.#budget
    return Math.max(leastWaiting, (this.#shared.control[word.top] as number) >>> 3)
  }

  /** Whether the guest reads the page again and again. */
  hot(page: number): boolean {
    const { control, lastRead } = this.#shared
    const idle = control[word.tracking] !== isTracking.yes || Atomics.load(control, word.waiting) > 0
    if (this.#cooling < firstCooling / 2 || this.eager || idle) return false
    return (lastRead[page] as number) + this.#cooling > (control[word.open] as number)
  }

  #isWritten(page: number): boolean {
    const { lastWritten, proved } = this.#shared
    return (lastWritten[page] as number) >= (proved[page] as number)
  }

  // It is to be proved again.
  #written(page: number): boolean {
    const { asked, physical } = pageState
    this.#waiting.delete(page)
    if (Atomics.compareExchange(this.#shared.states, page, asked, physical) !== asked) return false
    this.#wanted(page)
    return true
  }
}
