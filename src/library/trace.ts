/**
 * What the pager does, for whoever listens (node:diagnostics_channel) in the thread that opens a memory, when it does so:
 *
 *   lethe:fault    { region, from, to, write }          a page fault came; `write`: of a store
 *   lethe:refill   { region, from, to, microseconds }   bytes were made by the lenses, or read back
 *   lethe:evict    { region, from, to }                 bytes left memory
 *   lethe:lost     { events }                           so many are not told, because nobody took them
 *
 * `region` is its name, the rest are bytes of it. The pager writes them into a ring and waits for nobody; they are told when the
 * thread comes back to its event loop. Without listeners there is no ring.
 */
import { channel } from 'node:diagnostics_channel'

const channels = {
  fault: channel('lethe:fault'),
  refill: channel('lethe:refill'),
  evict: channel('lethe:evict'),
  lost: channel('lethe:lost'),
}

/** Whether somebody listens. */
export const isTraced = (): boolean => Object.values(channels).some(one => one.hasSubscribers)

export type TraceKind = 'fault' | 'refill' | 'evict'
const kinds: readonly TraceKind[] = ['fault', 'refill', 'evict']

/** Events of the ring, and f64 words of one: kind, region, from, to, write or microseconds. */
const EVENTS = 2 ** 14
const WORDS = 5
/** The oldest of a full ring may be written over while they are read. */
const SLACK = 2 ** 10

/** Int32 words: events so far, and whether the reader has been told of some; then the events. */
export class TraceRing {
  readonly shared: SharedArrayBuffer
  readonly #state: Int32Array
  readonly #events: Float64Array
  #read = 0

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(8 + EVENTS * WORDS * 8)) {
    this.shared = shared
    this.#state = new Int32Array(shared, 0, 2)
    this.#events = new Float64Array(shared, 8)
  }

  /** The pager's side. Whether the reader has to be told that there is something. */
  push(kind: TraceKind, region: number, from: number, to: number, value: number): boolean {
    const count = Atomics.load(this.#state, 0)
    const at = (count & (EVENTS - 1)) * WORDS
    const events = this.#events
    events[at] = kinds.indexOf(kind)
    events[at + 1] = region
    events[at + 2] = from
    events[at + 3] = to
    events[at + 4] = value
    Atomics.store(this.#state, 0, (count + 1) | 0)
    return Atomics.exchange(this.#state, 1, 1) === 0
  }

  /** The reader's side: publishes what has come. */
  publish(nameOf: (region: number) => string): void {
    Atomics.store(this.#state, 1, 0)
    const count = Atomics.load(this.#state, 0)
    const lost = ((count - this.#read) | 0) - (EVENTS - SLACK)
    if (lost > 0) {
      this.#read = (this.#read + lost) | 0
      channels.lost.publish({ events: lost })
    }
    for (; this.#read !== count; this.#read = (this.#read + 1) | 0) {
      const start = (this.#read & (EVENTS - 1)) * WORDS
      const [kind = 0, id = 0, from, to, value = 0] = this.#events.subarray(start, start + WORDS)
      const about = { region: nameOf(id), from, to }
      const name = kinds[kind] as TraceKind
      if (name === 'fault') channels.fault.publish({ ...about, write: value === 1 })
      else if (name === 'refill') channels.refill.publish({ ...about, microseconds: value })
      else channels.evict.publish(about)
    }
  }
}
