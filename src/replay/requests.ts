// Which pages the guest's thread is asked to drop, and when: not those that the guest reads again and again while it loads.
import { type Drops, pageState, type Shared, word } from './protocol.ts'

/** Drops are asked for in groups. */
const group = 256
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
  #pages: number[] = []
  #before: number[] = []
  #cooling = 0
  /** Whatever is proved may go. */
  eager = false

  /** `wanted` is told of pages that are to be proved again. */
  constructor(shared: Shared, post: (message: Drops) => void, wanted: (page: number) => void) {
    this.#shared = shared
    this.#post = post
    this.#wanted = wanted
  }

  get waiting(): number {
    return this.#pages.length
  }

  /** A page that is proved, and the epoch before which its last write must have been. */
  add(page: number, before: number): void {
    this.#pages.push(page)
    this.#before.push(before)
  }

  /** An epoch has gone by. */
  looked(): void {
    this.#cooling *= coolingFalls
  }

  /** The guest came back for a page here or there while it loads. */
  missed(): void {
    this.#cooling = Math.min(mostCooling, Math.max(firstCooling, this.#cooling * coolingGrows))
  }

  /** Asks for those that are not read again and again; unless for `all`, only when they are many. */
  send(all: boolean): void {
    if (this.#pages.length === 0 || (!all && this.#pages.length < group)) return
    const waiting: number[] = []
    const waitingBefore: number[] = []
    const order: number[] = []
    this.#pages.forEach((page, i) => {
      if (!this.hot(page)) order.push(i)
      else if ((this.#shared.lastWritten[page] as number) < (this.#before[i] as number)) {
        waiting.push(page)
        waitingBefore.push(this.#before[i] as number)
      } else this.#written(page)
    })
    order.sort((a, b) => (this.#pages[a] as number) - (this.#pages[b] as number))
    const pages = Uint32Array.from(order, i => this.#pages[i] as number)
    const before = Uint32Array.from(order, i => this.#before[i] as number)
    this.#pages = waiting
    this.#before = waitingBefore
    if (pages.length === 0) return
    this.#post({ kind: 'drops', pages, before })
    Atomics.add(this.#shared.control, word.asked, 1)
  }

  /** Whether the guest reads the page again and again. */
  hot(page: number): boolean {
    const { control, lastRead } = this.#shared
    if (this.#cooling < firstCooling / 2 || this.eager || control[word.tracking] === 0) return false
    return (lastRead[page] as number) + this.#cooling > (control[word.open] as number)
  }

  // A page was written while it waited for its drop: it is to be proved again.
  #written(page: number): void {
    const { asked, physical } = pageState
    if (Atomics.compareExchange(this.#shared.states, page, asked, physical) === asked) this.#wanted(page)
  }
}
