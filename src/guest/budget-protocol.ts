/**
 * What goes between a guest's thread and the thread that keeps its memory within a budget.
 *
 *   guest ── Ask, then a signal on the eventfd; waits on `replies` ──> pager
 *   guest ── origins: where what a file read brought lies (shared tables, see Origins) ──> pager
 *   guest ── faults, as all threads do: in the kernel, until the pager has filled the page
 *
 * A guest has one thread. While it waits in a fault or for an answer nobody writes its memory, so pages can be looked at, packed and
 * dropped then without being protected first; what it has written since a page came, the kernel notes (WP_ASYNC).
 */
export interface BudgetData {
  readonly limit: number
  readonly policy: string
  /** eventfd that wakes the pager */
  readonly wake: number
  /** Int32: 0 a count of answers, 1 the last answer; behind them, of f64, the counts that were asked for last */
  readonly replies: SharedArrayBuffer
  /** See Timeline. */
  readonly timeline: SharedArrayBuffer
}

/** Bytes of `replies`. */
export const repliesBytes: number = 8 + 16 * 8

export type Ask =
  /** Serve this memory, too: `bytes` of address space, of which `size` are the memory now. */
  | {
      readonly kind: 'serve'
      readonly address: number
      readonly bytes: number
      readonly size: number
      readonly origins: SharedArrayBuffer
    }
  /** Pages of the first memory may come again from the open file `fd`, which is the pager's from now on. Answers its number, or -1. */
  | { readonly kind: 'file'; readonly fd: number }
  /** What is in [address, address + length) is not needed any more. */
  | { readonly kind: 'release'; readonly address: number; readonly length: number }
  /** What is in these ranges of addresses [from, to) will not be needed soon. */
  | { readonly kind: 'trim'; readonly ranges: readonly (readonly [number, number])[] }
  /** Puts the counts, as of now, into `replies`, in the order of BudgetCounts; the timeline has a sample of now. */
  | { readonly kind: 'count' }
  /** Puts what each page of the first memory is, of `pageKind`, into these bytes, one for each. */
  | { readonly kind: 'picture'; readonly into: SharedArrayBuffer }
  | { readonly kind: 'stop' }

/** What the pager posts when it has started. */
export type Note =
  | { readonly kind: 'ready'; readonly faults: 'all' | 'user' }
  | { readonly kind: 'unable'; readonly message: string }

/** What a page of the guest is. */
export const pageKind = {
  /** Zeros that nobody has touched, or that were given back. */
  zeros: 0,
  resident: 1,
  /** Dropped: a file makes it again, a file and packed bytes, packed bytes. */
  file: 2,
  mixed: 3,
  packed: 4,
} as const

const pageBytes = 4096

/**
 * Where the bytes of each page came from, as far as a file read brought them: bytes [from, to) of page p are those of file number
 * file[p] (from 1 on; 0: none known) at offset at[p]. The last read that touched a page is kept, or what it continues. Only a guess by the
 * time it is used: the guest may have written there. Filled by the guest's thread, read by the pager while that one waits.
 */
export class Origins {
  readonly shared: SharedArrayBuffer
  readonly file: Uint16Array
  readonly from: Uint16Array
  readonly to: Uint16Array
  readonly at: Float64Array

  constructor(shared: SharedArrayBuffer) {
    const pages = shared.byteLength / 16
    this.shared = shared
    this.at = new Float64Array(shared, 0, pages)
    this.file = new Uint16Array(shared, pages * 8, pages)
    this.from = new Uint16Array(shared, pages * 10, pages)
    this.to = new Uint16Array(shared, pages * 12, pages)
  }

  /** Tables for memory of so many bytes. */
  static of(bytes: number): Origins {
    return new Origins(new SharedArrayBuffer(Math.ceil(bytes / pageBytes) * 16))
  }

  /** A read has put `length` bytes of a file, from `offset` on, at `at`. */
  put(file: number, at: number, length: number, offset: number): void {
    for (let done = 0; done < length; ) {
      const page = Math.floor((at + done) / pageBytes)
      const from = (at + done) % pageBytes
      const to = Math.min(pageBytes, from + length - done)
      const begin = offset + done
      const old = this.from[page] as number
      const continues =
        this.file[page] === file &&
        this.to[page] === from &&
        (this.at[page] as number) + (from - old) === begin
      if (!continues) {
        this.file[page] = file
        this.from[page] = from
        this.at[page] = begin
      }
      this.to[page] = to
      done += to - from
    }
  }
}
