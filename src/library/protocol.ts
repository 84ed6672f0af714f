/**
 * What goes between a Memory and its threads.
 *
 *   memory ── Request, then a signal on the eventfd ──> pager     (it sleeps in epoll and has no event loop)
 *   memory <── Reply ── pager                                     (an ordinary port)
 *   memory <── Counters ── pager                                  (shared words; nobody waits for anybody)
 *   memory ── ScanData ──> scanner ── ScanReply ──> memory        (one thread for each first scan)
 *
 * The pager answers faults whatever the other threads do: it takes no lock, touches no virtual memory and waits for no
 * message. A thread blocked in a fault is therefore always served.
 */
import type { PolicyName } from '../policy/index.ts'
import type { PlainError } from './errors.ts'
import type { Seen, SourceData } from './source.ts'

export type Mode = 'private' | 'shared' | 'readonly'

export interface PagerData {
  /** Pages that may be resident. */
  readonly limit: number
  readonly policy: PolicyName
  /** Folder of the indexes that lenses keep. */
  readonly cache: string
  /** Where what it does is told (trace.ts), if somebody listens. */
  readonly trace?: SharedArrayBuffer
}

export interface MapRequest {
  readonly kind: 'map'
  readonly id: number
  readonly address: number
  readonly pages: number
  readonly source: SourceData
  readonly seen: Seen
  readonly mode: Mode
  readonly counters: SharedArrayBuffer
}

/** Requests that speak of the pages [from, to) of a region. */
export interface RangeRequest {
  readonly kind: 'prefetch' | 'pin' | 'unpin'
  readonly id: number
  readonly from: number
  readonly to: number
  /** pin: the pages are made writable too. */
  readonly writable?: boolean
}

export type Ask =
  | MapRequest
  | RangeRequest
  | { readonly kind: 'unmap'; readonly id: number }
  /** Protects the written pages and tells which they are. */
  | { readonly kind: 'collect'; readonly id: number }
  /** What was collected is in the backing, which is what `seen` says now; or, without it, the write-back has failed. */
  | { readonly kind: 'commit'; readonly id: number; readonly seen?: Seen }
  | { readonly kind: 'stop' }

export interface Request {
  readonly ticket: number
  readonly ask: Ask
}

export type Reply =
  /** `faults`: where a fault may come from. `wake`: an eventfd that says that a request waits. */
  | { readonly kind: 'ready'; readonly faults: 'all' | 'user'; readonly wake: number }
  | { readonly kind: 'unable'; readonly error: PlainError }
  | { readonly kind: 'done'; readonly ticket: number; readonly runs?: readonly ByteRange[] }
  | { readonly kind: 'refused'; readonly ticket: number; readonly error: PlainError }
  /** There are events in the trace. */
  | { readonly kind: 'traced' }
  /** Something happened to a region. `fatal`: nothing more can be made of its backing. */
  | { readonly kind: 'trouble'; readonly id: number; readonly error: PlainError; readonly fatal: boolean }

/** Bytes [from, to) of a region's memory. */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

export interface WriteData {
  readonly source: SourceData
  readonly seen: Seen
  readonly cache: string
  readonly address: number
  readonly runs: readonly ByteRange[]
}

export interface ScanData {
  readonly source: SourceData
  readonly cache: string
  /** One word: not 0 asks the scan to end. */
  readonly abort: SharedArrayBuffer
}

export type ScanReply =
  | { readonly kind: 'progress'; readonly done: number; readonly total: number }
  | { readonly kind: 'seen'; readonly seen: Seen }
  | { readonly kind: 'failed'; readonly error: PlainError }
