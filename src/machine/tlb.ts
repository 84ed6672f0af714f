/** A translation look-aside buffer: the page-table entries that were used last, by number of the page. */
import type { Entry, TlbLook } from './access.ts'
import type { TlbConfig } from './config.ts'
import { Sets } from './sets.ts'

/** A key is process × 2^40 + VPN, so that entries of several processes can be there at once. */
const processes = 2 ** 40

/** What an entry of the TLB holds. */
export interface TlbEntry {
  readonly process: number
  readonly vpn: number
  entry: Entry
}

export class Tlb {
  readonly name: string
  readonly config: TlbConfig
  readonly sets: number
  readonly #ways: Sets
  readonly #entries: (TlbEntry | undefined)[]

  constructor(name: string, config: TlbConfig) {
    this.name = name
    this.config = config
    this.sets = config.entries / config.ways
    this.#ways = new Sets(this.sets, config.ways, config.policy, config.seed)
    this.#entries = Array.from({ length: config.entries }, () => undefined)
  }

  /** TLBI and TLBT of a page. */
  split(vpn: number): { set: number; tag: number } {
    const set = vpn % this.sets
    return { set, tag: (vpn - set) / this.sets }
  }

  /** Looks a page up. The entry's own object: who writes through it changes what the TLB holds. */
  look(process: number, vpn: number): { look: TlbLook; found: TlbEntry | undefined } {
    const { set, tag } = this.split(vpn)
    const way = this.#ways.find(set, process * processes + vpn)
    if (way < 0) return { look: { name: this.name, set, tag, hit: false }, found: undefined }
    this.#ways.touch(set, way)
    return { look: { name: this.name, set, tag, hit: true, way }, found: this.#entries[this.#at(set, way)] }
  }

  /** The entry of a page, without using it. */
  peek(process: number, vpn: number): TlbEntry | undefined {
    const { set } = this.split(vpn)
    const way = this.#ways.find(set, process * processes + vpn)
    return way < 0 ? undefined : this.#entries[this.#at(set, way)]
  }

  #at(set: number, way: number): number {
    return set * this.config.ways + way
  }

  /** Puts an entry in; `look`, the miss that it follows, learns the way and who had to go. */
  fill(process: number, vpn: number, entry: Entry, look?: TlbLook): void {
    const { set } = this.split(vpn)
    const key = process * processes + vpn
    const there = this.#ways.find(set, key)
    const way = there >= 0 ? there : this.#ways.victim(set)
    const old = this.#entries[this.#at(set, way)]
    if (look !== undefined) {
      look.way = way
      if (old !== undefined && there < 0) look.evicted = { process: old.process, vpn: old.vpn }
    }
    this.#ways.put(set, way, key)
    this.#entries[this.#at(set, way)] = { process, vpn, entry }
  }

  /** One entry of a state file, at the place where it stands there. */
  place(way: number, process: number, vpn: number, entry: Entry): void {
    const { set } = this.split(vpn)
    this.#ways.put(set, way, process * processes + vpn)
    this.#entries[this.#at(set, way)] = { process, vpn, entry }
  }

  /** Forgets a page: its entry in the page table has changed. */
  drop(process: number, vpn: number): void {
    const { set } = this.split(vpn)
    const way = this.#ways.find(set, process * processes + vpn)
    if (way < 0) return
    this.#ways.drop(set, way)
    this.#entries[this.#at(set, way)] = undefined
  }

  /** Forgets everything, or everything of one process. */
  flush(process?: number): void {
    this.#entries.forEach((held, i) => {
      if (held === undefined || (process !== undefined && held.process !== process)) return
      this.#ways.drop(Math.floor(i / this.config.ways), i % this.config.ways)
      this.#entries[i] = undefined
    })
  }

  /** Every entry, set by set and way by way; undefined where a way is empty. */
  contents(): readonly (TlbEntry | undefined)[] {
    return this.#entries
  }
}
