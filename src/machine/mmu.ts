/**
 * The memory management unit: from a virtual to a physical address, in hardware. It knows entries and bits, not processes
 * or policies; what an invalid entry means is the kernel's business (kernel.ts).
 *
 * One translation: 1. look into the TLB. 2. On a miss walk the table that the base register points to; each entry is fetched through the
 * data caches if the machine does that. 3. Check the permissions. 4. Set the referenced bit, and for a write the dirty bit, in the
 * table and in the TLB. A fault leaves the bits as they are, and puts nothing into the TLB.
 */
import type { AccessKind, CacheLook, Entry, Fault, TlbLook, WalkStep } from './access.ts'
import { Caches } from './cache.ts'
import type { MachineConfig } from './config.ts'
import { MachineError, hex } from './errors.ts'
import type { Memory } from './memory.ts'
import type { PageTable } from './page-table.ts'
import { Tlb } from './tlb.ts'

/** What a translation came to. Without `cause`, `frame` is the page's. */
export interface Translation {
  readonly tlb?: TlbLook
  readonly walk: readonly WalkStep[]
  readonly cycles: number
  readonly frame: number
  readonly cause?: Fault['cause']
}

/** Why an access is not allowed by an entry; undefined when it is. */
export function refusal(entry: Entry, kind: AccessKind): Fault['cause'] | undefined {
  if (!entry.valid) return 'not present'
  if (!entry.user) return 'not user'
  if (kind === 'write') return entry.write ? undefined : 'protected'
  return (kind === 'fetch' ? entry.execute : entry.read) ? undefined : 'not allowed'
}

export class Mmu {
  readonly config: MachineConfig
  readonly memory: Memory
  readonly caches: Caches
  readonly tlb: Tlb | undefined
  readonly itlb: Tlb | undefined
  readonly #pageSize: number
  readonly #space: number

  constructor(config: MachineConfig, memory: Memory) {
    this.config = config
    this.memory = memory
    this.caches = new Caches(config.caches, config.cost)
    if (config.tlb !== null && config.translation) this.tlb = new Tlb('tlb', config.tlb)
    if (config.itlb !== null && config.translation) this.itlb = new Tlb('itlb', config.itlb)
    this.#pageSize = config.pageSize
    this.#space = 2 ** (config.translation ? config.virtualBits : config.physicalBits)
  }

  /** VPN and VPO. MachineError 'range' for an address that the machine does not have. */
  split(address: number): { vpn: number; vpo: number } {
    if (!(address >= 0 && address < this.#space) || !Number.isInteger(address))
      throw new MachineError(
        'range',
        `Address ${Number.isInteger(address) && address >= 0 ? hex(address) : address} does not exist: this machine's are below ${hex(this.#space)} (${Math.log2(this.#space)} bits)`,
      )
    const vpo = address % this.#pageSize
    return { vpn: (address - vpo) / this.#pageSize, vpo }
  }

  /** The TLB that accesses of this kind use. */
  tlbFor(kind: AccessKind): Tlb | undefined {
    return kind === 'fetch' && this.itlb !== undefined ? this.itlb : this.tlb
  }

  /** The walk alone: every level, until an entry is not valid. Fetches through the caches if the machine does. */
  walk(table: PageTable, vpn: number): { steps: WalkStep[]; entry: Entry; cycles: number } {
    const { config, caches } = this
    const steps: WalkStep[] = []
    let cycles = 0
    for (let slot = table.first(vpn); ; ) {
      const entry = table.read(slot)
      const address = table.address(slot)
      let from = 'memory'
      let looks: CacheLook[] = []
      let cost = config.cost.memory
      if (address !== undefined && config.pageTable.cached) {
        const got = caches.access('read', address, table.entryBytes)
        looks = got.looks
        from = got.from
        cost = got.cycles
      }
      cycles += cost
      steps.push({
        level: slot.level + 1,
        index: slot.index,
        ...(address === undefined ? {} : { address }),
        entry,
        from,
        caches: looks,
        cycles: cost,
      })
      if (!entry.valid || slot.level === table.depth - 1) return { steps, entry, cycles }
      slot = table.next(vpn, slot, entry.frame)
    }
  }

  translate(process: number, table: PageTable, kind: AccessKind, vpn: number): Translation {
    const { cost } = this.config
    const tlb = this.tlbFor(kind)
    const looked = tlb?.look(process, vpn)
    let cycles = tlb === undefined ? 0 : cost.tlbHit
    let walk: WalkStep[] = []
    let entry: Entry
    if (looked?.found !== undefined) entry = looked.found.entry
    else {
      const walked = this.walk(table, vpn)
      walk = walked.steps
      cycles += walked.cycles
      entry = walked.entry
    }
    const look = looked === undefined ? {} : { tlb: looked.look }
    const cause = refusal(entry, kind)
    if (cause !== undefined) return { ...look, walk, cycles, frame: 0, cause }
    const marked = this.#mark(table, vpn, entry, kind === 'write')
    if (looked?.found !== undefined) looked.found.entry = marked
    else tlb?.fill(process, vpn, marked, looked?.look)
    return { ...look, walk, cycles, frame: marked.frame }
  }

  /** The end of a translation whose fault has been served: bits and TLB as after any other. The frame. */
  complete(process: number, table: PageTable, kind: AccessKind, vpn: number, look?: TlbLook): number {
    const entry = table.entry(vpn)
    const marked = this.#mark(table, vpn, entry, kind === 'write')
    this.tlbFor(kind)?.fill(process, vpn, marked, look?.hit === false ? look : undefined)
    return marked.frame
  }

  // Referenced and dirty, where they are not set yet. Which bits a format has is its own business: others stay clear.
  #mark(table: PageTable, vpn: number, entry: Entry, write: boolean): Entry {
    if (entry.referenced && (!write || entry.dirty)) return entry
    const marked = { ...entry, referenced: true, dirty: entry.dirty || write }
    const there = table.entry(vpn)
    if (there.valid) table.set(vpn, { ...there, referenced: true, dirty: there.dirty || write })
    return marked
  }

  /** A page's entry has changed: no TLB may know the old one. */
  shootDown(process: number, vpn: number): void {
    this.tlb?.drop(process, vpn)
    this.itlb?.drop(process, vpn)
  }

  /** Another process's turn. */
  switchTo(): void {
    for (const tlb of [this.tlb, this.itlb]) if (tlb !== undefined && !tlb.config.asid) tlb.flush()
  }

  /** A process has gone, with all of its pages. */
  forget(process: number): void {
    this.tlb?.flush(process)
    this.itlb?.flush(process)
  }
}
