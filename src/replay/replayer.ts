// An instance in which epochs are replayed: its memory is empty but for the epoch's inputs, its imports answer what they answered.
import { openSync } from 'node:fs'
import {
  engine,
  type EngineGlobal,
  type EngineInstance,
  type EngineMemory,
  type ImportObject,
} from '../guest/engine.ts'
import { addressOf } from '../sys/ffi.ts'
import { discard, page, scanPages } from '../sys/memory.ts'
import { CallReader } from './calls.ts'
import type { KeptEpoch } from './epochs.ts'
import { atStart, type KeeperData, type ReadSource } from './protocol.ts'

/** Up to so many pages that replays have touched are cleared, not given back: another replay touches many of them, and a fault takes longer. */
const mostCleared = 2048
/** While the guest is calm, as many may stay: nobody replays one epoch after the other. */
const mostClearedCalm = 512

/** Thrown by the last poll of an epoch. */
const ended = { replay: 'ended' }

/** The replay did something that the guest did not: what was recorded is wrong or incomplete. */
export class Divergence extends Error {
  override readonly name = 'Divergence'
}

export class Replayer {
  readonly #data: KeeperData
  readonly #instance: EngineInstance
  readonly #memory: EngineMemory
  readonly #state: EngineMemory
  readonly #address: number
  readonly #read: ReadSource
  readonly #globals: Record<string, EngineGlobal>
  #calls = new CallReader(new Uint8Array(0))
  /** Bytes of memory that replays may have touched. */
  #touched = 0
  readonly #pagemap = openSync('/proc/self/pagemap', 'r')
  /** The epoch whose outcome is in memory. */
  holds = -1
  /** The guest makes no new pages. */
  calm = false
  bytes: Uint8Array
  words: BigUint64Array

  constructor(data: KeeperData, read: ReadSource) {
    this.#data = data
    this.#read = read
    this.#instance = new engine.Instance(data.module, this.#imports())
    const { exports } = this.#instance
    this.#memory = exports[data.memory] as EngineMemory
    this.#state = exports['lethe:state'] as EngineMemory
    this.#globals = exports as unknown as Record<string, EngineGlobal>
    this.#memory.grow(data.mostPages - this.#memory.buffer.byteLength / 65536)
    this.bytes = new Uint8Array(this.#memory.buffer)
    this.words = new BigUint64Array(this.#memory.buffer)
    this.#address = addressOf(this.#memory.buffer)
    this.#touched = this.bytes.length
  }

  /** Makes memory what it was at the end of the epoch, as far as the epoch made it. `pages`: the bytes of its references. */
  replay(epoch: KeptEpoch, pages: readonly Uint8Array[]): void {
    if (this.holds === epoch.id) return
    this.#clear()
    this.#touched = Math.min(this.bytes.length, epoch.size * 65536 + 2 ** 26)
    epoch.putInputs(this.bytes, this.#read, pages)
    new Uint8Array(this.#state.buffer).set(epoch.locals, 0)
    const set = (name: string, value: number | bigint): void => {
      ;(this.#globals[`lethe:${name}`] as EngineGlobal).value = value
    }
    epoch.globals.forEach((value, i) => set(`m${i}`, value))
    set('size', epoch.size)
    set('budget', epoch.polls > 0 ? epoch.polls : 0x7fff_ffff)
    set('tracking', 0)
    set('live', 0)
    this.#calls = epoch.calls()
    let name = '_start'
    if (epoch.point !== atStart) {
      const { func, number } = this.#data.points[epoch.point] as { func: number; number: number }
      name = `lethe:f${func}`
      set('resume', number)
    }
    let polled = false
    try {
      ;(this.#instance.exports[name] as () => void)()
    } catch (error) {
      if (error !== ended)
        throw new Divergence(`the replay ended otherwise: ${String(error)}`, { cause: error })
      polled = true
    }
    if (polled !== epoch.polls > 0) throw new Divergence('the replay returned where the guest did not')
    if (this.#calls.next() !== undefined) throw new Divergence('the replay made fewer calls of the host')
    this.holds = epoch.id
  }

  /** What the last replays have made is given back. */
  forget(): void {
    this.holds = -1
    if (this.#touched > 0) discard(this.#address, this.bytes.length)
    this.#touched = 0
  }

  #clear(): void {
    this.holds = -1
    const runs: number[] = []
    let count = 0
    const done = this.#filled(0, this.#touched, (start, end) => {
      runs.push(start, end)
      count += (end - start) / 4096
    })
    if (done < 0 || count > (this.calm ? mostClearedCalm : mostCleared)) discard(this.#address, this.#touched)
    else for (let i = 0; i < runs.length; i += 2) this.bytes.fill(0, runs[i], runs[i + 1])
  }

  // Runs of pages that are not just zeros. `start`, `end`: whole pages. 0, or a negative errno.
  #filled(start: number, end: number, found: (start: number, end: number) => void): number {
    const base = this.#address
    const there = page.present | page.swapped
    return scanPages(this.#pagemap, base + start, base + end, 0, page.zero, there, (from, to) =>
      found(from - base, to - base),
    )
  }

  // A large copy in a replay: most of its source was made by nobody here. Only what there is, is copied. 0: the replay copies itself.
  #copy(to: number, from: number, length: number): number {
    if (Math.abs(to - from) < length || Math.max(to, from) + length > this.bytes.length) return 0
    const inRange = (at: number, visit: (start: number, end: number) => void): number =>
      this.#filled(Math.floor(at / 4096) * 4096, Math.ceil((at + length) / 4096) * 4096, (start, end) =>
        visit(Math.max(start, at), Math.min(end, at + length)),
      )
    if (inRange(to, (start, end) => this.bytes.fill(0, start, end)) < 0) return 0
    const shift = to - from
    return inRange(from, (start, end) => this.bytes.copyWithin(start + shift, start, end)) < 0 ? 0 : 1
  }

  #imports(): ImportObject {
    const imports: ImportObject = {
      lethe: {
        cut: () => 0,
        move: (to: number, from: number, length: number) => this.#copy(to >>> 0, from >>> 0, length >>> 0),
        sized: () => undefined,
        freed: () => undefined,
        left: () => undefined,
        end: () => {
          throw ended
        },
      },
    }
    for (const { module, name, kind } of engine.Module.imports(this.#data.module)) {
      if (module === 'lethe' || kind !== 'function') continue
      imports[module] ??= {}
      ;(imports[module] as Record<string, unknown>)[name] = () => this.#answer(name)
    }
    return imports
  }

  #answer(name: string): number | undefined {
    const call = this.#calls.next()
    if (call?.name !== name)
      throw new Divergence(`the replay calls ${name}, the guest called ${call?.name ?? 'nothing'}`)
    for (const write of call.writes)
      if ('bytes' in write) this.bytes.set(write.bytes, write.at)
      else this.#read(write.source, write.offset, this.bytes.subarray(write.at, write.at + write.length))
    return call.result
  }
}
