/**
 * A process: its regions, its pages, its page table.
 *
 *   0        text  data  bss  heap →        shared libraries, mmap →              ← stack | kernel
 *            V/32                           V/4                                      3V/4 |  to V
 *
 * V is the size of the virtual address space; with 32 bits that are the places of the lecture: 0x08000000, 0x40000000, 0xc0000000.
 */
import { state } from '../pager/decide.ts'
import type { AccessKind } from './access.ts'
import type { Source } from './disk.ts'
import { hex, MachineError } from './errors.ts'
import type { PageTable } from './page-table.ts'

export interface Protection {
  readonly read: boolean
  readonly write: boolean
  readonly execute: boolean
}

/** A range of an address space that is one thing. Bounds are multiples of the page size. */
export interface Region extends Protection {
  readonly start: number
  readonly end: number
  readonly name: string
  /** What its pages are made from; without one they are zeros. */
  readonly source?: Source
  /** Where in the source `start` is. */
  readonly offset: number
  readonly shared: boolean
  /** The kernel's: the process may not touch it. */
  readonly kernel?: boolean
  /** Lowest address down to which it grows by itself. */
  readonly growsTo?: number
}

/** A page of a process that has been touched or has a meaning of its own. */
export class Page {
  readonly process: Process
  readonly vpn: number
  state: number
  /** -1: not in memory. */
  frame = -1
  /** Swap slot that is this page's; -1 if none. */
  slot = -1
  /** The unit of zeros that went without having been written; -1 else. */
  unit = -1
  /** It has been written: what it holds is no longer what the region's source says. */
  own = false
  /** The machine's count of accesses when it was last touched. */
  lastUse = 0

  constructor(process: Process, vpn: number, explained: boolean) {
    this.process = process
    this.vpn = vpn
    this.state = explained ? state.virtual : state.absent
  }
}

/** Whether this kind of access may be made at all. */
export function allows(region: Protection, kind: AccessKind): boolean {
  return kind === 'write' ? region.write : kind === 'fetch' ? region.execute : region.read
}

export class Process {
  readonly pid: number
  readonly name: string
  readonly parent: number
  readonly table: PageTable
  readonly pages: Map<number, Page> = new Map()
  readonly pageSize: number
  /** By start. */
  regions: Region[] = []
  /** Start of the heap, and its end: `brk`. */
  heap: { readonly start: number; end: number } = { start: 0, end: 0 }
  /** The time from which it can run again: it waits for the disk until then. */
  readyAt = 0
  /** Why it ended, if it did. */
  ended: string | undefined
  /** Pages in memory. */
  resident = 0

  constructor(pid: number, name: string, parent: number, table: PageTable, pageSize: number) {
    this.pid = pid
    this.name = name
    this.parent = parent
    this.table = table
    this.pageSize = pageSize
  }

  regionAt(address: number): Region | undefined {
    let low = 0
    let high = this.regions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.regions[middle] as Region).end <= address) low = middle + 1
      else high = middle
    }
    const found = this.regions[low]
    return found !== undefined && found.start <= address ? found : undefined
  }

  /** The region of an address, if need be after a stack has grown down to it. */
  reach(address: number): Region | undefined {
    const there = this.regionAt(address)
    if (there !== undefined) return there
    const i = this.regions.findIndex(region => region.start > address)
    const above = this.regions[i]
    if (above?.growsTo === undefined || address < above.growsTo) return undefined
    const start = address - (address % this.pageSize)
    if ((this.regions[i - 1]?.end ?? 0) > start) return undefined
    const grown = { ...above, start }
    this.regions[i] = grown
    return grown
  }

  /** Adds a region. MachineError 'process' where something is already. */
  add(region: Region): void {
    const i = this.regions.findIndex(other => other.end > region.start)
    const next = i < 0 ? undefined : this.regions[i]
    if (next !== undefined && next.start < region.end)
      throw new MachineError(
        'process',
        `Process ${this.pid} can't map ${hex(region.start)} to ${hex(region.end)}: ${next.name} lies at ${hex(next.start)}; choose another address`,
      )
    this.regions.splice(i < 0 ? this.regions.length : i, 0, region)
  }

  /** Takes [start, end) out of all regions; the parts that were cut out. */
  cut(start: number, end: number): Region[] {
    const out: Region[] = []
    this.regions = this.regions.flatMap(region => {
      if (region.end <= start || region.start >= end) return [region]
      const from = Math.max(start, region.start)
      const to = Math.min(end, region.end)
      out.push({ ...region, start: from, end: to, offset: region.offset + from - region.start })
      const rest: Region[] = []
      if (region.start < from) rest.push({ ...region, end: from })
      if (region.end > to) rest.push({ ...region, start: to, offset: region.offset + to - region.start })
      return rest
    })
    return out
  }

  /** The lowest gap of `length` bytes from `from` on, below `limit`; undefined if there is none. */
  gap(from: number, length: number, limit: number): number | undefined {
    let at = from
    for (const region of this.regions) {
      if (region.end <= at) continue
      const reserved = region.growsTo ?? region.start
      if (reserved >= at + length) break
      at = region.end
    }
    return at + length <= limit ? at : undefined
  }
}
