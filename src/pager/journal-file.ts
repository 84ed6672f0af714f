// The file of a journal: where everything stands in it, and its header. The protocol is in journal.ts.
import { closeSync, ftruncateSync, openSync, readSync } from 'node:fs'
import { errnoName } from '../sys/errno.ts'
import { allocate } from '../sys/fd.ts'
import { type Arena, arenaOfFile } from '../sys/ffi.ts'
import type { Footing } from '../process/agent.ts'
import { PagerError } from './errors.ts'

export const blockPages = 512
export const blockBytes: number = 512 * 4096
export const pageBytes = 4096
/** Pages of one age entry. */
export const agePages = 16
export const agesPerBlock: number = blockPages / agePages
export const pageRecord = 640 // 512 states, 32 × 2 ages, 32 levels, padding
export const maxBlocks = 131072 // 256 GiB
export const maxExtents: number = 1 << 22
const inboxAt = 4096
/** Messages that one read takes at most. */
export const inboxSlots = 64
export const directoryAt = 8192
export const pagesAt: number = directoryAt + maxBlocks * 16
export const extentsAt: number = pagesAt + maxBlocks * pageRecord
const fileBytes: number = extentsAt + maxExtents * 24
const version = 4

/** The backing of pages that hold nothing but zeros: no file. */
export const zeroBacking = 0xffff_fffe

/** 32-bit words of the header that both threads count in. */
export const counter = {
  clean: 64,
  virtual: 65,
  faults: 66,
  refilledPages: 67,
  zeroPages: 68,
  writes: 69,
  stallMicroseconds: 70,
  droppedPages: 71,
  lostPages: 72,
  events: 73,
  waiting: 74,
} as const

/** 32-bit words of the header. */
export const h = {
  magic: 0,
  version: 1,
  pid: 2,
  blocks: 3,
  extents: 4,
  tid: 5,
  uffd: 6,
  parkIn: 7,
  parkOut: 8,
  control: 9,
  generation: 10,
  moving: 11,
}
/** 64-bit words of the header. */
export const hf = {
  startTime: 16,
  area: 17,
  scratch: 18,
  scratchLength: 19,
  park: 20,
  keeper: 21,
  keeperStart: 22,
  own: 23,
  leaving: 26,
}
/** Where the keepers of `started` are, in 64-bit words, and how many there can be. */
const startedAt = 64
const mostStarted = 32
const magic = 0x4548544c

/** A mapped journal, as far as its header goes. */
export class JournalFile {
  path: string
  readonly memory: Arena
  readonly inbox: Uint32Array
  readonly inboxAddress: number
  readonly counters: Int32Array
  readonly #fd: number

  protected constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
    this.memory = arenaOfFile(fd, fileBytes)
    const { buffer } = this.memory.bytes
    this.inbox = new Uint32Array(buffer, inboxAt, inboxSlots * 8)
    this.inboxAddress = this.memory.address + inboxAt
    this.counters = new Int32Array(buffer, 0, 1024)
  }

  /** Makes the file of a new journal. Throws PagerError `journal` when the disk is full. */
  protected static make(path: string): number {
    const fd = openSync(path, 'wx+', 0o600)
    ftruncateSync(fd, fileBytes)
    must(allocate(fd, 0, directoryAt), path)
    return fd
  }

  /** Writes the header of an empty journal; the magic number last. */
  protected begin(pid: number, startTime: number): void {
    const { u32, f64 } = this.memory
    u32[h.version] = version
    u32[h.pid] = pid
    f64[hf.startTime] = startTime
    u32[h.magic] = magic
  }

  /** Empties the header: until `begin` it is no journal. */
  protected blank(): void {
    const { u32 } = this.memory
    u32[h.magic] = 0
    u32.fill(0, 0, directoryAt / 4)
  }

  protected get valid(): boolean {
    const { u32 } = this.memory
    return u32[h.magic] === magic && u32[h.version] === version
  }

  /** Gives a range of the file room on the disk. Throws PagerError `journal` when it is full. */
  reserve(offset: number, length: number): void {
    must(allocate(this.#fd, offset, length), this.path)
  }

  close(): void {
    closeSync(this.#fd)
  }

  get pid(): number {
    return this.memory.u32[h.pid] as number
  }
  get startTime(): number {
    return this.memory.f64[hf.startTime] as number
  }
  get footing(): Footing {
    const { u32, f64 } = this.memory
    const word = (i: number): number => u32[i] as number
    return {
      area: f64[hf.area] as number,
      uffd: word(h.uffd),
      parkIn: word(h.parkIn),
      parkOut: word(h.parkOut),
      control: word(h.control),
      tid: word(h.tid),
    }
  }
  set footing(f: Footing) {
    const { u32, f64 } = this.memory
    f64[hf.area] = f.area
    u32[h.parkIn] = f.parkIn
    u32[h.parkOut] = f.parkOut
    u32[h.control] = f.control
    u32[h.tid] = f.tid
    u32[h.uffd] = f.uffd
  }
  /**
   * Keepers of successors that have not come to serve yet: pid and start. The one that serves, `keeper`, is apart, for
   * only it can have descriptors that a message in the inbox speaks of.
   */
  get started(): { pid: number; start: number }[] {
    const { f64 } = this.memory
    const list: { pid: number; start: number }[] = []
    for (let i = startedAt; i < startedAt + 2 * mostStarted; i += 2)
      if (f64[i] !== 0) list.push({ pid: f64[i] as number, start: f64[i + 1] as number })
    return list
  }
  set started(list: readonly { pid: number; start: number }[]) {
    const { f64 } = this.memory
    for (let i = 0; i < mostStarted; i++) {
      const at = startedAt + 2 * i
      f64[at + 1] = list[i]?.start ?? 0
      f64[at] = list[i]?.pid ?? 0
    }
  }
  /** The keeper of the descriptors of who serves, and their numbers there: userfaultfd, parkIn, parkOut. */
  get keeper(): { pid: number; start: number; own: readonly [number, number, number] } {
    const { f64 } = this.memory
    const word = (i: number): number => f64[i] as number
    return {
      pid: word(hf.keeper),
      start: word(hf.keeperStart),
      own: [word(hf.own), word(hf.own + 1), word(hf.own + 2)],
    }
  }
  set keeper(k: { pid: number; start: number; own: readonly [number, number, number] }) {
    const { f64 } = this.memory
    // Never zero again: that would say that nothing has been served yet.
    f64[hf.keeperStart] = k.start
    k.own.forEach((fd, i) => {
      f64[hf.own + i] = fd
    })
    f64[hf.keeper] = k.pid
  }
  /** Everything has been refilled and nothing is registered any more: what is left is to take our things out. */
  get leaving(): boolean {
    return this.memory.f64[hf.leaving] === 1
  }
  set leaving(yes: boolean) {
    this.memory.f64[hf.leaving] = yes ? 1 : 0
  }
  /** Inode of the park's socket: by it a process is known that has inherited the park. */
  get park(): number {
    return this.memory.f64[hf.park] as number
  }
  set park(inode: number) {
    this.memory.f64[hf.park] = inode
  }
  /** Whether what is moved to the scratch range is moved by us. Never once the range may be the program's. */
  get moving(): boolean {
    return this.memory.u32[h.moving] !== 0
  }
  set moving(yes: boolean) {
    this.memory.u32[h.moving] = yes ? 1 : 0
  }
  /** The range of the target's addresses that a drop in progress moves pages to. */
  get scratch(): { start: number; length: number } {
    const { f64 } = this.memory
    return { start: f64[hf.scratch] as number, length: f64[hf.scratchLength] as number }
  }
  set scratch(range: { start: number; length: number }) {
    const { f64 } = this.memory
    f64[hf.scratchLength] = 0
    f64[hf.scratch] = range.start
    f64[hf.scratchLength] = range.length
  }
}

/** Where to look for the park of a journal, without opening it: descriptor and inode. Undefined: no journal, or no park. */
export function parkOf(path: string): { fd: number; inode: number } | undefined {
  try {
    const fd = openSync(path, 'r')
    const head = Buffer.alloc(256)
    readSync(fd, head, 0, 256, 0)
    closeSync(fd)
    const inode = head.readDoubleLE(hf.park * 8)
    return head.readUInt32LE(h.magic * 4) === magic && inode !== 0
      ? { fd: head.readUInt32LE(h.parkIn * 4), inode }
      : undefined
  } catch {
    return undefined
  }
}
function must(result: number, path: string): void {
  if (result < 0)
    throw new PagerError(
      'journal',
      `The journal ${path} could not grow (${errnoName(result)}): make room on its disk or choose another with --state DIR`,
    )
}
