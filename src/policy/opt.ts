/**
 * OPT (Belady 1966): the page whose next use is farthest away goes. It must know the whole trace; no policy misses less, which makes it
 * the bound for the others. References must come exactly as in the trace.
 */
import { HIT, NONE, type Policy, type Queue } from './policy.ts'
import { Priorities } from './priorities.ts'

export class Opt implements Policy {
  readonly name = 'opt'
  readonly exactOrder = true
  readonly frames: number
  readonly #trace: Int32Array
  /** For each reference, when the same page is used next. */
  readonly #next: Float64Array
  #now = 0
  /** Resident pages, the farthest next use first. */
  readonly #uses: Priorities

  /** `trace`: the pages in the order in which they will be referenced. */
  constructor(frames: number, trace: Int32Array) {
    this.frames = frames
    this.#trace = trace
    this.#next = nextUses(trace)
    this.#uses = new Priorities(frames)
  }
  get residents(): number {
    return this.#uses.size
  }
  resident(page: number): boolean {
    return this.#uses.has(page)
  }
  access(page: number): number {
    if (!this.#uses.has(page)) return this.admit(page)
    this.touch(page)
    return HIT
  }
  touch(page: number): void {
    this.#uses.set(page, -this.#arrive(page))
  }

  admit(page: number): number {
    const victim = this.residents < this.frames ? NONE : this.evict()
    this.#uses.set(page, -this.#arrive(page))
    return victim
  }

  /** The time of the next use of the page that is referenced now. */
  #arrive(page: number): number {
    if (this.#trace[this.#now] !== page)
      throw new RangeError(
        `OPT expected page ${this.#trace[this.#now] ?? 'none'} as reference ${this.#now} of its trace, not page ${page}`,
      )
    return this.#next[this.#now++] as number
  }

  evict(): number {
    const victim = this.#uses.top()
    if (victim !== NONE) this.#uses.remove(victim)
    return victim
  }

  forget(page: number): void {
    if (this.#uses.has(page)) this.#uses.remove(page)
  }
  queues(): Queue[] {
    const pages = this.#uses.pages().reverse()
    const marks = pages.map(page => -this.#uses.key(page) - this.#now + 1)
    return [{ name: 'next use', pages, ghost: false, marks }]
  }
}

/** For each reference the index of the next one to the same page; Infinity if there is none. */
function nextUses(trace: Int32Array): Float64Array {
  const next = new Float64Array(trace.length)
  let largest = 0
  for (const page of trace) if (page > largest) largest = page
  const seen = new Float64Array(largest + 1).fill(Infinity)
  for (let i = trace.length - 1; i >= 0; i--) {
    const page = trace[i] as number
    next[i] = seen[page] as number
    seen[page] = i
  }
  return next
}
