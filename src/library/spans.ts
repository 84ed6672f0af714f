/**
 * Huge pages. A span (2 MiB of a region) that is all there and in one state is put on one huge page when the pager has had nothing to
 * do for a while: what goes through it then needs one entry of the processor's TLB where it needed 512.
 *
 *   small ──whole, left alone──> huge ──the protection of a part changes──> pieces       (one page still, mapped by 512 entries)
 *     ↑                           │                                           │ whole again, left alone: huge
 *     └──────a part has to go─────┴───────────────────────────────────────────┘
 *
 * The kernel frees a huge page when all of it is unmapped, and not sooner. So nothing is ever dropped from one: if a part has to
 * go, all of it goes, and what stays comes back on small pages. What the budget says is resident is what is resident.
 *
 * A page that is moved into a region (UFFDIO_MOVE) is writable for a moment, until it is protected. What is written in that moment
 * is found by a comparison with what was moved. While its bytes are on their way a span is absent: whoever touches it waits.
 */
import { closeSync, openSync } from 'node:fs'
import { pageBytes } from '../pager/journal.ts'
import { EAGAIN } from '../sys/errno.ts'
import { type Arena, arenaAt } from '../sys/ffi.ts'
import { discard, hugeBytes, page, reserveHuge, scanPages } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'

export const spanPages: number = hugeBytes / pageBytes

/** Milliseconds without a fault before spans are gathered. Doubled when one of them is scattered, halved in idle times. */
const leastWait = 10
const mostWait = 1280
/** So often in a row may the kernel have no huge page. */
const mostFailures = 3

/** What `gather` did. */
export interface Gathered {
  /** The kernel left it in one piece. */
  readonly huge: boolean
  /** Pages of the span that were written before they were protected. */
  readonly written: readonly number[]
}

/** Puts spans of all regions on huge pages and takes them off. For the pager's thread. */
export class HugePages {
  readonly #uffd: number
  #pagemap = -1
  /** Where a huge page is filled, to be moved from; and the bytes of the span that is being gathered or scattered. */
  #stage: Arena | undefined
  #copy: Arena | undefined
  #wait = leastWait
  #failures = 0

  /** `able`: whether a page may be absent for a moment, which a system call notices where only faults of user mode are served. */
  constructor(descriptor: number, able: boolean) {
    this.#uffd = descriptor
    if (!able) this.#failures = mostFailures
  }

  /** Milliseconds that have to be quiet before the next span is gathered; undefined where there are no huge pages. */
  get wait(): number | undefined {
    return this.#failures < mostFailures ? this.#wait : undefined
  }

  /** Nothing has happened for long. */
  relax(): void {
    this.#wait = Math.max(leastWait, this.#wait >> 1)
  }

  /** Gives back what was needed meanwhile. */
  rest(): void {
    if (this.#copy !== undefined) discard(this.#copy.address, hugeBytes)
  }

  close(): void {
    if (this.#pagemap >= 0) closeSync(this.#pagemap)
  }

  /**
   * Puts the span at `at`, which is all there and protected, on a huge page; `bytes` is our sight of it. `protect`: it is protected
   * afterwards, too. Undefined if no huge page was to be had: then nothing has changed. A test says by `moved` what happens in
   * the moment before the protection.
   */
  gather(at: number, bytes: Uint8Array, protect: boolean, moved?: () => void): Gathered | undefined {
    const { stage, copy } = this.#arenas()
    copy.bytes.set(bytes)
    stage.bytes.set(copy.bytes)
    if (!this.#isHuge(stage.address)) {
      discard(stage.address, hugeBytes)
      this.#failures++
      return undefined
    }
    discard(at, hugeBytes)
    const done = this.#move(at, stage.address)
    moved?.()
    if (protect) this.#protect(at)
    if (done < hugeBytes) {
      this.#fill(at, done / pageBytes, spanPages, protect)
      discard(stage.address, hugeBytes)
    }
    const huge = this.#isHuge(at)
    this.#failures = huge ? 0 : this.#failures + 1
    const written: number[] = []
    if (protect && Buffer.compare(bytes, copy.bytes) !== 0)
      for (let n = 0, from = 0; n < spanPages; n++, from += pageBytes)
        if (
          Buffer.compare(bytes.subarray(from, from + pageBytes), copy.bytes.subarray(from, from + pageBytes))
        )
          written.push(n)
    return { huge, written }
  }

  /**
   * Puts the pages of the span at `at` on small pages again, but for [from, to), which are gone then. `isProtected` says which
   * of them are to be protected. False if the kernel had no memory for all of them.
   */
  scatter(
    at: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    isProtected: (page: number) => boolean,
  ): boolean {
    this.#protect(at)
    this.#arenas().copy.bytes.set(bytes)
    discard(at, hugeBytes)
    this.#wait = Math.min(mostWait, this.#wait * 2)
    for (let n = 0; n < spanPages; ) {
      if (n === from && to > from) {
        n = to
        continue
      }
      const end = n < from ? from : spanPages
      const protect = isProtected(n)
      let stop = n + 1
      while (stop < end && isProtected(stop) === protect) stop++
      if (!this.#fill(at, n, stop, protect)) return false
      n = stop
    }
    return true
  }

  #arenas(): { stage: Arena; copy: Arena } {
    if (this.#stage === undefined || this.#copy === undefined) {
      const start = reserveHuge(2 * hugeBytes)
      this.#stage = arenaAt(start, hugeBytes)
      this.#copy = arenaAt(start + hugeBytes, hugeBytes)
    }
    return { stage: this.#stage, copy: this.#copy }
  }

  // Bytes that were moved: all of them, if the kernel can.
  #move(at: number, from: number): number {
    for (let done = 0, tries = 0; ; tries++) {
      const result = uffd.move(this.#uffd, at + done, from + done, hugeBytes - done)
      done += uffd.completed
      if (done >= hugeBytes || result !== -EAGAIN || tries > 100) return done
    }
  }

  #protect(at: number): void {
    while (uffd.writeprotect(this.#uffd, at, hugeBytes, true) === -EAGAIN);
  }

  // Pages [from, to) of the span, from the copy.
  #fill(at: number, from: number, to: number, protect: boolean): boolean {
    const { address } = this.#copy as Arena
    const end = to * pageBytes
    for (let done = from * pageBytes, tries = 0; done < end; ) {
      const result = uffd.copy(this.#uffd, at + done, address + done, end - done, protect)
      done += uffd.completed
      if (done < end && (result !== -EAGAIN || ++tries > 1000)) {
        uffd.poison(this.#uffd, at + done, end - done)
        return false
      }
    }
    return true
  }

  #isHuge(at: number): boolean {
    if (this.#pagemap < 0) this.#pagemap = openSync('/proc/self/pagemap', 'r')
    let bytes = 0
    scanPages(this.#pagemap, at, at + hugeBytes, page.huge, 0, 0, (start, end) => {
      bytes += end - start
    })
    return bytes === hugeBytes
  }
}

const kind = { small: 0, huge: 1, pieces: 2 } as const

/** What the spans of one region are; the last one only if it is whole. */
export class Spans {
  /** Pages of each span that are there. */
  readonly #present: Uint16Array
  readonly #kinds: Uint8Array
  /** Spans that may be gathered. */
  readonly #ready = new Set<number>()
  /** How many are in one piece. */
  huge = 0

  constructor(pages: number) {
    const spans = Math.floor(pages / spanPages)
    this.#present = new Uint16Array(spans)
    this.#kinds = new Uint8Array(spans)
  }

  /** Whether there may be one to be gathered. */
  get waiting(): boolean {
    return this.#ready.size > 0
  }

  /** The next that may be gathered. */
  take(): number | undefined {
    for (const span of this.#ready) {
      this.#ready.delete(span)
      return span
    }
    return undefined
  }

  /** `by` pages from `from` on, which lie in one span, have come (or gone, if it is negative). */
  count(from: number, by: number): void {
    const span = Math.floor(from / spanPages)
    if (span >= this.#present.length) return
    const present = (this.#present[span] as number) + by
    this.#present[span] = present
    if (present === spanPages) this.#ready.add(span)
    else this.#ready.delete(span)
  }

  gathered(span: number): void {
    this.#become(span, kind.huge)
  }

  scattered(span: number): void {
    this.#become(span, kind.small)
  }

  /** Whether the span is on a huge page, in one piece or not. */
  onHuge(span: number): boolean {
    return (this.#kinds[span] ?? kind.small) !== kind.small
  }

  /** The protection of pages [from, to) changes. */
  protect(from: number, to: number): void {
    for (
      let span = Math.floor(from / spanPages);
      span * spanPages < to && span < this.#kinds.length;
      span++
    ) {
      const part = from > span * spanPages || to < (span + 1) * spanPages
      if (part && this.#kinds[span] === kind.huge) this.#become(span, kind.pieces)
      // All of it may be in one state now.
      if (this.#present[span] === spanPages && this.#kinds[span] !== kind.huge) this.#ready.add(span)
    }
  }

  #become(span: number, now: number): void {
    this.huge += (now === kind.huge ? 1 : 0) - (this.#kinds[span] === kind.huge ? 1 : 0)
    this.#kinds[span] = now
  }
}
