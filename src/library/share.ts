/**
 * Regions in several threads of one process. The owner's thread and each thread that attached talk through a port:
 *
 *   attached ── {ticket, ask} ──> owner ── to the pager, or a flush ──> {ticket, error?} ──> attached
 *   owner ── trouble ──> attached                  what the pager tells of a region
 *   owner ── closing ──> attached ── gone ──>       it has let go of the region; the end of the thread says so too
 *
 * All see the same memory, and faults of any thread are served by the one pager. The owner ends a region only when every
 * thread has let go of it.
 */
import type { MessagePort } from 'node:worker_threads'
import type { Element } from '../lens/element.ts'
import { Counters } from './counters.ts'
import { plain, type PlainError, revived } from './errors.ts'
import { type Host, MappedRegion, type Mapping } from './mapped-region.ts'
import type { Mode, RangeRequest } from './protocol.ts'
import type { Region } from './region.ts'

/** What describes a region in another thread. */
interface SharedRegion {
  readonly id: number
  readonly address: number
  readonly pages: number
  readonly element: Element
  readonly length: number
  readonly mode: Mode
  readonly name: string
  readonly counters: SharedArrayBuffer
}

/** What `Memory.share` gives and `Memory.attach` takes. Post it with `port` in the transfer list; it serves one thread. */
export interface SharedHandle {
  readonly port: MessagePort
  readonly regions: readonly SharedRegion[]
}

interface Flush {
  readonly kind: 'flush'
  readonly id: number
}

type ToOwner =
  | { readonly kind: 'ask'; readonly ticket: number; readonly ask: RangeRequest | Flush }
  | { readonly kind: 'gone'; readonly id: number }

type ToAttached =
  | { readonly kind: 'answer'; readonly ticket: number; readonly error?: PlainError }
  | { readonly kind: 'trouble'; readonly id: number; readonly error: PlainError; readonly fatal: boolean }
  | { readonly kind: 'closing'; readonly id: number }

const post = (port: MessagePort, message: ToOwner | ToAttached): void => port.postMessage(message)

/** The owner's end. */
export class Lent {
  readonly #port: MessagePort
  /** Regions that the other thread has, and who waits for it to let go. */
  readonly #regions = new Map<number, (() => void)[]>()

  constructor(
    port: MessagePort,
    regions: readonly MappedRegion[],
    ask: (ask: RangeRequest) => Promise<unknown>,
    done: (lent: Lent) => void,
  ) {
    this.#port = port
    for (const { mapping } of regions) this.#regions.set(mapping.id, [])
    port.on('message', (message: ToOwner) => {
      if (message.kind === 'gone') return this.#gone(message.id)
      const { ticket, ask: wanted } = message
      const region = regions.find(one => one.mapping.id === wanted.id)
      const doing =
        wanted.kind !== 'flush' ? ask(wanted) : region === undefined ? Promise.resolve() : region.flush()
      doing.then(
        () => post(port, { kind: 'answer', ticket }),
        (error: unknown) => post(port, { kind: 'answer', ticket, error: plain(error) }),
      )
    })
    port.on('close', () => {
      for (const id of this.#regions.keys()) this.#gone(id)
      done(this)
    })
    port.unref()
  }

  tell(id: number, error: PlainError, fatal: boolean): void {
    if (this.#regions.has(id)) post(this.#port, { kind: 'trouble', id, error, fatal })
  }

  /** Waits until the other thread has let go of a region. */
  reclaim(id: number): Promise<void> {
    const waiting = this.#regions.get(id)
    if (waiting === undefined) return Promise.resolve()
    this.#port.ref()
    return new Promise(settle => {
      waiting.push(settle)
      post(this.#port, { kind: 'closing', id })
    })
  }

  close(): void {
    this.#port.close()
  }

  #gone(id: number): void {
    for (const settle of this.#regions.get(id) ?? []) settle()
    this.#regions.delete(id)
    if ([...this.#regions.values()].every(waiting => waiting.length === 0)) this.#port.unref()
  }
}

/** The regions of another thread's memory. */
export class AttachedMemory implements AsyncDisposable {
  /** In the order in which they were given to `share`. */
  readonly regions: readonly Region[]
  readonly #port: MessagePort
  readonly #pending = new Map<number, (error: PlainError | undefined) => void>()
  #tickets = 0

  constructor({ port, regions }: SharedHandle, bufferAt: Host['bufferAt']) {
    this.#port = port
    this.regions = regions.map(shared => this.#region(shared, bufferAt))
    port.on('message', (message: ToAttached) => this.#told(message))
    port.on('close', () => {
      for (const settle of this.#pending.values())
        settle({ code: 'closed', message: 'The memory was closed by its owner' })
      this.#pending.clear()
    })
    port.unref()
  }

  /** Lets go of all regions; their owner keeps them. */
  async close(): Promise<void> {
    await Promise.all(this.regions.map(region => region.close()))
    this.#port.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #region(shared: SharedRegion, bufferAt: Host['bufferAt']): Region {
    const { id } = shared
    const host: Host = {
      ask: ask => this.#ask(ask),
      bufferAt,
      writeBack: () => this.#ask({ kind: 'flush', id }),
      retire: async () => post(this.#port, { kind: 'gone', id }),
    }
    const mapping: Mapping<Element> = { ...shared, counters: new Counters(shared.counters) }
    return new MappedRegion(host, mapping)
  }

  #ask(ask: RangeRequest | Flush): Promise<void> {
    const ticket = ++this.#tickets
    return new Promise((settle, reject) => {
      this.#port.ref()
      this.#pending.set(ticket, error => (error === undefined ? settle() : reject(revived(error))))
      post(this.#port, { kind: 'ask', ticket, ask })
    })
  }

  #told(message: ToAttached): void {
    if (message.kind === 'answer') {
      this.#pending.get(message.ticket)?.(message.error)
      this.#pending.delete(message.ticket)
      if (this.#pending.size === 0) this.#port.unref()
      return
    }
    const region = this.regions.find(one => one instanceof MappedRegion && one.mapping.id === message.id)
    if (!(region instanceof MappedRegion)) return
    if (message.kind === 'trouble') region.tell(message.error, message.fatal)
    else region.takenAway()
  }
}

/** Describes regions for another thread. */
export const describe = (regions: readonly MappedRegion[]): SharedRegion[] =>
  regions.map(({ mapping }) => ({ ...mapping, counters: mapping.counters.shared }))
