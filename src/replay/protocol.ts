// Replay as a lens: what a page holds is what the program's own code made of what it read.
//
//   guest thread (recorder.ts)                                keeper thread (keeper.ts)
//   runs traced code; at a poll: `cut`
//     scan written pages, take the log  ── Epoch ──>          replays it in an instance of its own, from nothing
//     begin the next epoch                                    but its inputs; compares the pages it wrote with the guest's
//     drop what is asked for  <── Drops ──                    asks for the pages that came out right
//   touches a dropped page: fault ─────────────>              replays, checks the page's hash, UFFDIO_COPY
//
// Rules
//  - A page is dropped by the guest's own thread, at a cut or while it waits for input, when none of its code runs. So there is no race: it first scans what was
//    written (userfaultfd with WP_ASYNC, PAGEMAP_SCAN) and drops only pages that were not written since the keeper read them to
//    compare. `lastWritten[page]` is the epoch of the last write; a drop names the epoch that was open before the keeper looked.
//  - Whatever the recorder believes is a guess: of the inputs, of what a function does, of which bytes a copy moved. Only the
//    comparison makes it a proof, and every page that is dropped has been made once, from what is kept, before. What a calm guest has that is not proved
//    yet is packed for the time being, unpacked once to see, and proved from that later (unproved.ts).
//  - The keeper touches no page of the guest's that may be absent, takes no lock and waits for nobody.
//  - Files that epochs read are held under a lease; who wants to write one waits until the keeper has a copy (sources.ts).
//  - Pages that come back are write-tracked; a page that is written again is the guest's until it is proved again.
//  - A large copy of proved pages (a growing array) moves their lenses, and touches nothing: `Moved`. The guest's thread does that for
//    places that the keeper reads never: pages that were not written yet, or are proved themselves.
//  - Within a budget, a block that the guest gives back right after it has copied all of it (`realloc`, a vector that grows) holds nothing that anybody may read: `Freed`. Its
//    pages become zeros, so that who uses the memory again does not wait for what was there.
//  - A guest that is too far ahead of its keeper waits for it, at a cut.
//  - The keeper is done with pages that it brings of its own accord before it wakes the guest.
import type { TimelineRecord } from '../guest/timeline.ts'

/** States of a page, in `Shared.states`. */
export const pageState = {
  /** The guest's: never proved, or written since. */
  physical: 0,
  /** Proved: the keeper has asked for its drop, or will. */
  asked: 1,
  /** Dropped. */
  virtual: 2,
  /** Came back by a replay and is as it was made, as far as is known. */
  clean: 3,
} as const

/** Words of `Shared.control`. */
export const word = {
  /** The number of the open epoch. */
  open: 0,
  /** Drops wait for the guest. */
  asked: 1,
  /** Highest page written, plus one. */
  top: 2,
  /** Not 0: the guest comes back for too much of what was dropped, nothing more is to be dropped now. */
  hold: 3,
  /** KiB of inputs and new pages of epochs that the keeper has not looked at. */
  backlog: 4,
  /** One of `isTracking`. */
  tracking: 5,
  /** CPU time that replays take, microseconds. */
  replay: 6,
  /** Epochs one after the other for which too much would have to be kept. */
  unprofitable: 7,
  /** Not 0: the guest waits for input or for time, and runs nothing meanwhile. */
  waiting: 8,
  /** The keeper's thread, by its number in /proc; 0 before it runs. */
  keeper: 9,
} as const

/** Whether the guest runs traced, and `lastRead` is kept. Paused: it makes new pages, but too much would have to be kept for them. */
export const isTracking = { no: 0, yes: 1, paused: 2 } as const

/** What both threads see. */
export interface Shared {
  readonly control: Int32Array
  readonly states: Uint8Array
  readonly lastWritten: Uint32Array
  /** The last traced epoch that read what was in the page before. */
  readonly lastRead: Uint32Array
  /** Of a page that is asked for: the epoch before which its last write must have been. If it was, the page is what its lens makes. */
  readonly proved: Uint32Array
}

export function sharedOf(buffer: SharedArrayBuffer, pages: number): Shared {
  return {
    control: new Int32Array(buffer, 0, 64),
    states: new Uint8Array(buffer, 256, pages),
    lastWritten: new Uint32Array(buffer, 256 + pages, pages),
    lastRead: new Uint32Array(buffer, 256 + pages * 5, pages),
    proved: new Uint32Array(buffer, 256 + pages * 9, pages),
  }
}
export const sharedBytes = (pages: number): number => 256 + pages * 13

/** Bytes that the host wrote for the guest: themselves, or where in a file they are. */
export type HostWrite =
  | { readonly at: number; readonly bytes: Uint8Array }
  | { readonly at: number; readonly source: number; readonly offset: number; readonly length: number }

/** Reads bytes of a source, all of them or it throws. */
export type ReadSource = (source: number, offset: number, into: Uint8Array) => void

/** A call of an import: what it answered and wrote. */
export interface HostCall {
  readonly name: string
  readonly result: number | undefined
  readonly writes: readonly HostWrite[]
}

/** A stretch of the guest's run. Only one that began at a point (or at the start) can be replayed. */
export interface Epoch {
  readonly kind: 'epoch'
  readonly id: number
  /** Index into the points, `atStart`, or `nowhere`. */
  readonly point: number
  readonly locals: Uint8Array
  readonly globals: readonly (number | bigint)[]
  /** Wasm pages of memory when it began. */
  readonly size: number
  /** Polls from its beginning to its end; 0 if it ended by returning. */
  readonly polls: number
  /** Entries of 16 bytes (assemble.ts): an address, how many bytes, and the bytes that were there. */
  readonly inputs: Uint8Array
  /** Large copies: to, from, length. */
  readonly copies: Uint32Array
  /** See calls.ts. */
  readonly calls: Uint8Array
  /** Runs of pages written: first, count. */
  readonly written: Uint32Array
  /** How many of them were not written shortly before. */
  readonly fresh: number
  /** Why it can't be replayed: the import that forbids it. */
  readonly forbidden: string | undefined
}
export const atStart = -1
export const nowhere = -2

/** A page of which so many bytes are inputs is put as a whole, wherever on it they lie: who inflates reads here and there in what it has made. */
export const leastOfPage = 128
/** Bytes in the tables for a page that an epoch needs and others make. */
export const bytesPerReference = 32

/**
 * What an epoch that waits for the keeper takes, KiB: its inputs, and of the pages that it made newly, and that might go if it were looked at, a quarter:
 * they are what the guest takes without us, too.
 */
export const backlogOf = ({ inputs, fresh }: Epoch): number => (inputs.length >> 10) + fresh

/** Every page of runs (first, count). */
export function* pagesOf(runs: Uint32Array): Generator<number> {
  for (let r = 0; r < runs.length; r += 2) {
    const first = runs[r] as number
    for (let page = first; page < first + (runs[r + 1] as number); page++) yield page
  }
}

/** A file that epochs refer to by `id`. The descriptor is the keeper's from now on. */
export interface SourceMessage {
  readonly kind: 'source'
  readonly id: number
  readonly fd: number
}

/**
 * The guest has copied proved pages, and nothing was touched for it: each of these pages is now what lies at its address plus `delta`.
 * Valid from when it is received: the pages from which it was copied keep their lenses until later epochs are looked at.
 */
export interface Moved {
  readonly kind: 'moved'
  readonly pages: Uint32Array
  readonly delta: number
}

/**
 * The guest has given back a block, all of whose bytes it had copied elsewhere: what these pages hold nobody wants any more. They count as proved to be zeros
 * if they were last written before `epoch`, which is the open one; what is written from now on is written in this epoch or in a later one.
 */
export interface Freed {
  readonly kind: 'freed'
  readonly epoch: number
  readonly first: number
  readonly count: number
}

/** Runs of pages (first, count) that were written while nothing was recorded. */
export interface Written {
  readonly kind: 'written'
  readonly written: Uint32Array
}

/** The report is wanted, after at most so many milliseconds of work that is left. */
export interface AskMessage {
  readonly kind: 'report' | 'stop'
  readonly within?: number
}
export type ToKeeper = Epoch | SourceMessage | Moved | Freed | Written | AskMessage

/** Pages to drop, ascending, and for each the epoch before which its last write must have been. */
export interface Drops {
  readonly kind: 'drops'
  readonly pages: Uint32Array
  readonly before: Uint32Array
}

/** Pages next to each other that are alike. `point`: where the epochs began that make them. */
export interface PageRun {
  readonly first: number
  readonly count: number
  readonly kind: 'virtual' | 'clean' | 'physical'
  readonly why: string
  readonly point: number
  /** Bytes kept for all of them, and what it takes in the mean to make one of them (ms). */
  readonly kept: number
  readonly refill: number
}

/** What the keeper has to tell. Bytes and counts. */
export interface KeeperReport {
  readonly kind: 'report'
  readonly epochs: number
  readonly replayable: number
  readonly failed: number
  /** Epochs for which too much would have to be kept. */
  readonly unprofitable: number
  /** Epochs of which inputs are made by other epochs. */
  readonly referring: number
  /** Epochs that nobody looked at any more, because the run was over. */
  readonly unlooked: number
  readonly forbidden: Readonly<Record<string, number>>
  readonly virtual: number
  /** Pages that came back and were not written since: they can go again. */
  readonly clean: number
  readonly provedPages: number
  readonly copiedPages: number
  readonly rebasedPages: number
  /** Pages that no epoch makes well, packed as they are. */
  readonly packedPages: number
  /** Pages that were moved while they were virtual, and pages of blocks that were given back. */
  readonly movedPages: number
  readonly freedPages: number
  /** How often the guest came back for so much that nothing was dropped for a while, and whether it stayed so. */
  readonly held: number
  readonly off: boolean
  readonly kept: {
    readonly inputs: number
    readonly residuals: number
    readonly calls: number
    readonly tables: number
  }
  readonly rebuilds: number
  readonly rebuiltPages: number
  readonly mismatches: number
  readonly replayMs: number
  readonly faultMicros: { readonly median: number; readonly p99: number }
  readonly runs: readonly PageRun[]
  readonly timeline: TimelineRecord
}
export type FromKeeper =
  | Drops
  | KeeperReport
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }

export interface KeeperData {
  readonly module: object
  readonly shared: SharedArrayBuffer
  readonly pages: number
  readonly uffd: number
  /** Where the guest's memory begins. */
  readonly base: number
  readonly wake: number
  readonly points: readonly { readonly func: number; readonly number: number; readonly saved: number }[]
  readonly mutable: number
  readonly mostPages: number
  readonly memory: string
  readonly image: readonly { readonly at: number; readonly bytes: Uint8Array }[]
  /** Bytes of pages that may be there after they came back; 0: a tenth of what the guest has written. */
  readonly budget: number
}
