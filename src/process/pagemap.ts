/**
 * /proc/PID/pagemap: 8 bytes a page. Read in blocks of 64 Ki pages; only the high halves are looked at.
 *   bit 63 present · bit 62 swapped · bit 61 file page or shared · bit 57 write-protected through userfaultfd
 */
import { closeSync, openSync, readSync } from 'node:fs'

const PAGE = 4096
const BLOCK_PAGES = 65536
const PRESENT = 0x80000000
const SWAPPED = 0x40000000
const FILE = 0x20000000
const PROTECTED = 0x02000000

/** Consecutive pages. */
export interface Run {
  readonly start: number
  readonly pages: number
}

export interface PageCounts {
  present: number
  swapped: number
  /** Present pages that belong to a file or are shared. */
  file: number
  protected: number
}

export class Pagemap {
  readonly #descriptor: number
  readonly #block: Uint8Array = new Uint8Array(BLOCK_PAGES * 8)
  readonly #words: Uint32Array = new Uint32Array(this.#block.buffer)

  constructor(pid: number) {
    this.#descriptor = openSync(`/proc/${pid}/pagemap`, 'r')
  }

  /** The runs of present private pages in [start, end), ascending. `counts`, if given, is added to. */
  present(start: number, end: number, counts?: PageCounts): Run[] {
    const runs: Run[] = []
    let open = -1
    for (let at = start; at < end; at += BLOCK_PAGES * PAGE) {
      const pages = this.#fill(at, end)
      for (let i = 0; i < pages; i++) {
        const word = this.#words[2 * i + 1] ?? 0
        const wanted = (word & PRESENT) !== 0 && (word & FILE) === 0
        if (counts) count(counts, word)
        if (wanted) {
          if (open < 0) open = at + i * PAGE
        } else if (open >= 0) {
          runs.push({ start: open, pages: (at + i * PAGE - open) / PAGE })
          open = -1
        }
      }
    }
    if (open >= 0) runs.push({ start: open, pages: (end - open) / PAGE })
    return runs
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #fill(at: number, end: number): number {
    const pages = Math.min(BLOCK_PAGES, (end - at) / PAGE)
    let done = 0
    while (done < pages * 8) {
      const n = readSync(this.#descriptor, this.#block, done, pages * 8 - done, (at / PAGE) * 8 + done)
      if (n <= 0) break
      done += n
    }
    this.#block.fill(0, done, pages * 8)
    return pages
  }
}

function count(counts: PageCounts, word: number): void {
  if (word & PRESENT) {
    counts.present++
    if (word & FILE) counts.file++
  }
  if (word & SWAPPED) counts.swapped++
  if (word & PROTECTED) counts.protected++
}
