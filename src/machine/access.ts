/**
 * One access, all layers: the record of what one load, store or instruction fetch went through.
 *
 * The record is plain data: the same object is what `machine.step()` yields, what `--json` prints as a line, and what
 * the page draws. Counters are sums of records (`count` in counters.ts), and nothing else. Addresses, numbers of pages
 * and frames are numbers; a part that an access did not reach is left out.
 *
 *   virtual address ─ split ─> VPN, VPO
 *     ─ tlb? ─> PPN             a hit ends the translation
 *     ─ walk ─> PPN             one step per level, each entry found in a cache or in memory
 *     ─ fault? ─> the kernel acts (zero page, refill from file, lens or swap, copy), perhaps evicting a page first
 *   physical address ─ caches ─> the byte, from the first level that has the line, or from memory
 */

export type AccessKind = 'read' | 'write' | 'fetch'

/** How an access ended. `segmentation fault` and `bus error` end the access without a physical address. */
export type Verdict = 'hit' | 'minor fault' | 'major fault' | 'segmentation fault' | 'bus error'

/** A look into the TLB. `set` and `tag` are the lecture's TLBI and TLBT. */
export interface TlbLook {
  /** Which TLB, such as 'tlb' or 'itlb'. */
  readonly name: string
  readonly set: number
  readonly tag: number
  readonly hit: boolean
  /** Way in which the entry was found, or was put after the walk. */
  way?: number
  /** The page whose entry had to go. */
  evicted?: { readonly process: number; readonly vpn: number }
}

/** A page-table entry as the hardware sees it. */
export interface Entry {
  readonly valid: boolean
  /** Frame of the page, or of the next level's table. Meaningless unless valid. */
  readonly frame: number
  readonly read: boolean
  readonly write: boolean
  readonly execute: boolean
  readonly user: boolean
  readonly referenced: boolean
  readonly dirty: boolean
}

/** One level of a walk. Level 1 is the one that the page-table base register points to. */
export interface WalkStep {
  readonly level: number
  /** The VPN's bits for this level. */
  readonly index: number
  /** Physical address of the entry; left out where tables lie outside of the simulated memory. */
  readonly address?: number
  readonly entry: Entry
  /** Where the entry was found: 'L1', 'L2', 'memory'… */
  readonly from: string
  readonly caches: readonly CacheLook[]
  readonly cycles: number
}

/** A look into one cache. `offset`, `set` and `tag` are the lecture's CO, CI and CT. */
export interface CacheLook {
  /** 'L1d', 'L1i', 'L2', 'L3'. */
  readonly name: string
  readonly kind: AccessKind
  readonly offset: number
  readonly set: number
  readonly tag: number
  readonly hit: boolean
  way?: number
  /** Physical address of the line that had to go. */
  evicted?: number
  /** Whether that line was dirty and went to the next level. */
  writeBack?: boolean
  /** A write that nobody waits for: of a dirty line, or through to the next level. */
  readonly aside?: boolean
}

/** A transfer between disk and memory by DMA. */
export interface Transfer {
  readonly direction: 'read' | 'write'
  /** 'swap', or the file's name. */
  readonly device: string
  /** Swap slot, or byte offset in the file. */
  readonly at: number
  readonly frame: number
  readonly cycles: number
}

/** A page that had to go so that the faulting one could come. */
export interface Eviction {
  /** Every process that had the page, with its number of the page. */
  readonly pages: readonly { readonly process: number; readonly vpn: number }[]
  readonly frame: number
  readonly dirty: boolean
  /** Swap slot that it was written to, or still had from before. */
  readonly slot?: number
  /** What it can be made from again, if that is not swap. */
  readonly from?: string
}

/** What the kernel did about a page fault, in the words of src/pager/decide.ts. */
export interface Fault {
  readonly cause: 'not present' | 'protected' | 'no region' | 'not allowed' | 'not user'
  /** share: the page was in memory already; copy: a page that several processes have became this one's own. */
  readonly action: 'refill' | 'zero' | 'unprotect' | 'copy' | 'share' | 'poison' | 'signal'
  /** Pages that had to go. */
  readonly evictions: readonly Eviction[]
  readonly transfers: readonly Transfer[]
  /** What the page was made from: 'zero', 'swap', a file's or lens's name; and where in it. */
  readonly from?: string
  readonly at?: number
  /** The servicing of the fault, step by step, in words. */
  readonly steps: readonly string[]
  /** Work of the processor and the kernel. */
  readonly cycles: number
  /** Until the disk has done what the process waits for; others can run meanwhile. */
  readonly waits: number
}

export interface Access {
  readonly type: 'access'
  /** 1 for the machine's first access. */
  readonly index: number
  readonly process: number
  readonly kind: AccessKind
  readonly address: number
  readonly size: number
  readonly vpn: number
  readonly vpo: number
  readonly tlb?: TlbLook
  readonly walk: readonly WalkStep[]
  readonly fault?: Fault
  readonly ppn?: number
  readonly physical?: number
  readonly caches: readonly CacheLook[]
  /** The lens that makes the page, if one does. */
  readonly lens?: string
  /** Swap slot that still holds the same bytes. */
  readonly slot?: number
  /** The first byte that was read or written; left out where a state file does not say what memory holds. */
  readonly value?: number
  /** In cycles; what the process waits for the disk is part of it. */
  readonly cycles: number
  readonly verdict: Verdict
}
