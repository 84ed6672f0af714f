/**
 * What a machine is made of. Every parameter is free; `machineConfig` checks that together they make a machine, and says in
 * one sentence what does not fit.
 *
 *   virtual address   [ VPN: the levels' bits, first level first | VPO: log2 pageSize ]     virtualBits
 *   physical address  [ PPN                                      | PPO = VPO ]              physicalBits
 *   VPN               [ TLBT | TLBI: log2 sets ]
 *   physical address  [ CT | CI: log2 sets | CO: log2 line ]
 */

export type Replacement = 'lru' | 'fifo' | 'plru' | 'random'

export interface TlbConfig {
  readonly entries: number
  readonly ways: number
  readonly policy: Replacement
  /** Entries carry the process (address-space identifiers); else a context switch empties the TLB. */
  readonly asid: boolean
  /** Seed of the policy 'random'. */
  readonly seed: number
}

export interface CacheConfig {
  /** Bytes. */
  readonly size: number
  /** Bytes of a line (block). */
  readonly line: number
  readonly ways: number
  readonly policy: Replacement
  readonly seed: number
  readonly write: 'back' | 'through'
  /** Whether a write that misses brings the line. */
  readonly allocate: boolean
}

/** A level is one cache, or one for instructions and one for data. */
export interface CacheLevel {
  readonly unified?: CacheConfig
  readonly instruction?: CacheConfig
  readonly data?: CacheConfig
}

/** Where the bits of a page-table entry are. A flag that is left out always holds. */
export interface EntryFormat {
  readonly bytes: 1 | 2 | 4 | 8
  /** Lowest bit and number of bits of the frame number. */
  readonly frameShift: number
  readonly frameBits: number
  readonly valid: number
  readonly read?: number
  readonly write?: number
  readonly execute?: number
  /** As on x86-64: set means that instructions can't be fetched. */
  readonly noExecute?: number
  readonly user?: number
  readonly referenced?: number
  readonly dirty?: number
}

export type EntryFormatName = 'compact' | 'p6' | 'x86-64' | 'sv39' | 'linear' | 'byte'

export interface PageTableConfig {
  /** Bits of the VPN that each level takes, first level first. */
  readonly levels: readonly number[]
  readonly entry: EntryFormatName | EntryFormat
  /** frames: tables take frames of the simulated memory; outside: they are somewhere else, as on a problem sheet. */
  readonly placement: 'frames' | 'outside'
  /** Whether entries are fetched through the data caches (only with placement frames). */
  readonly cached: boolean
}

/** Cycles. */
export interface CostModel {
  readonly tlbHit: number
  /** A hit in cache level 1, 2, 3. */
  readonly cache: readonly number[]
  readonly memory: number
  /** The processor's and the kernel's work for a fault, without the disk. */
  readonly fault: number
  /** Before the first byte of a transfer comes. */
  readonly diskLatency: number
  /** Per byte of a transfer. */
  readonly diskByte: number
  /** Changing to another process. */
  readonly contextSwitch: number
}

export interface MachineConfig {
  readonly name: string
  /** false: addresses are physical addresses, as in a machine without virtual memory. */
  readonly translation: boolean
  readonly virtualBits: number
  readonly physicalBits: number
  /** Bytes. */
  readonly pageSize: number
  /** Frames of memory that are there; at most 2^physicalBits / pageSize. */
  readonly frames: number
  readonly pageTable: PageTableConfig
  /** null: every access walks. */
  readonly tlb: TlbConfig | null
  /** For instructions alone; then `tlb` is for data. */
  readonly itlb: TlbConfig | null
  readonly caches: readonly CacheLevel[]
  /** Which frame a page gets: the lowest free, any free (seed), or the one with the number of the page. */
  readonly placement: 'lowest' | 'random' | 'identity'
  /** Page replacement: the name of a policy of src/policy. */
  readonly policy: string
  /** Whose pages may be taken: anybody's, or the faulting process's own, which then has `framesPerProcess` at most. */
  readonly allocation: 'global' | 'local'
  readonly framesPerProcess: number
  /** Pages of the disk's swap area. */
  readonly swapSlots: number
  readonly seed: number
  readonly cost: CostModel
}

export const entryFormats: Readonly<Record<EntryFormatName, EntryFormat>> = {
  compact: {
    bytes: 4,
    frameShift: 8,
    frameBits: 24,
    valid: 0,
    read: 1,
    write: 2,
    execute: 3,
    user: 4,
    referenced: 5,
    dirty: 6,
  },
  p6: { bytes: 4, frameShift: 12, frameBits: 20, valid: 0, write: 1, user: 2, referenced: 5, dirty: 6 },
  'x86-64': {
    bytes: 8,
    frameShift: 12,
    frameBits: 40,
    valid: 0,
    write: 1,
    user: 2,
    referenced: 5,
    dirty: 6,
    noExecute: 63,
  },
  sv39: {
    bytes: 8,
    frameShift: 10,
    frameBits: 44,
    valid: 0,
    read: 1,
    write: 2,
    execute: 3,
    user: 4,
    referenced: 6,
    dirty: 7,
  },
  linear: { bytes: 4, frameShift: 0, frameBits: 31, valid: 31 },
  byte: { bytes: 1, frameShift: 0, frameBits: 7, valid: 7 },
}

const KiB = 1024

function tlb(entries: number, ways: number, asid = false, policy: Replacement = 'lru'): TlbConfig {
  return { entries, ways, policy, asid, seed: 1 }
}

function cache(size: number, line: number, ways: number): CacheConfig {
  return { size, line, ways, policy: 'lru', seed: 1, write: 'back', allocate: true }
}

/** Latencies of the lecture: SRAM some cycles, DRAM 100, disk millions. */
export const lectureCost: CostModel = {
  tlbHit: 0,
  cache: [4, 10, 40],
  memory: 100,
  fault: 2_000,
  diskLatency: 8_000_000,
  diskByte: 1,
  contextSwitch: 2_000,
}

const common = {
  translation: true,
  itlb: null,
  placement: 'lowest',
  policy: 'lru',
  allocation: 'global',
  framesPerProcess: 0,
  seed: 1,
  cost: lectureCost,
} as const

/** The machines that have a name. */
export const presets: Readonly<Record<string, MachineConfig>> = {
  lecture: {
    ...common,
    name: 'lecture',
    virtualBits: 14,
    physicalBits: 12,
    pageSize: 64,
    frames: 64,
    pageTable: { levels: [8], entry: 'compact', placement: 'outside', cached: false },
    tlb: tlb(16, 4),
    caches: [{ unified: cache(64, 4, 1) }],
    swapSlots: 256,
  },
  p6: {
    ...common,
    name: 'p6',
    virtualBits: 32,
    physicalBits: 32,
    pageSize: 4 * KiB,
    frames: 16_384,
    pageTable: { levels: [10, 10], entry: 'p6', placement: 'frames', cached: true },
    tlb: tlb(64, 4),
    itlb: tlb(32, 4),
    caches: [
      { instruction: cache(16 * KiB, 32, 4), data: cache(16 * KiB, 32, 4) },
      { unified: cache(512 * KiB, 32, 4) },
    ],
    swapSlots: 65_536,
  },
  'x86-64': {
    ...common,
    name: 'x86-64',
    virtualBits: 48,
    physicalBits: 52,
    pageSize: 4 * KiB,
    frames: 65_536,
    pageTable: { levels: [9, 9, 9, 9], entry: 'x86-64', placement: 'frames', cached: true },
    tlb: tlb(64, 4, true),
    itlb: tlb(128, 4, true),
    caches: [
      { instruction: cache(32 * KiB, 64, 8), data: cache(32 * KiB, 64, 8) },
      { unified: cache(256 * KiB, 64, 8) },
      { unified: cache(8192 * KiB, 64, 16) },
    ],
    swapSlots: 262_144,
  },
  sv39: {
    ...common,
    name: 'sv39',
    virtualBits: 39,
    physicalBits: 56,
    pageSize: 4 * KiB,
    frames: 32_768,
    pageTable: { levels: [9, 9, 9], entry: 'sv39', placement: 'frames', cached: true },
    tlb: tlb(32, 32, true),
    itlb: tlb(32, 32, true),
    caches: [
      { instruction: cache(32 * KiB, 64, 4), data: cache(32 * KiB, 64, 8) },
      { unified: cache(2048 * KiB, 64, 16) },
    ],
    swapSlots: 131_072,
  },
  osc: {
    ...common,
    name: 'osc',
    virtualBits: 16,
    physicalBits: 16,
    pageSize: 256,
    frames: 256,
    pageTable: { levels: [8], entry: 'compact', placement: 'outside', cached: false },
    tlb: tlb(16, 16, false, 'fifo'),
    caches: [],
    swapSlots: 256,
  },
  physical: {
    ...common,
    name: 'physical',
    translation: false,
    virtualBits: 32,
    physicalBits: 32,
    pageSize: 4 * KiB,
    frames: 2 ** 20,
    pageTable: { levels: [20], entry: 'compact', placement: 'outside', cached: false },
    tlb: null,
    caches: [
      { instruction: cache(32 * KiB, 64, 8), data: cache(32 * KiB, 64, 8) },
      { unified: cache(256 * KiB, 64, 8) },
    ],
    swapSlots: 0,
  },
}
