// Proof: pages are equal to what their explanation makes, at a moment when nobody can write them.
//
// For each chunk: mark the pages `verifying`, write-protect them, read the memory, read the backing, compare.
// A write in between faults; the server marks the page `present` and lets it through, so a page that is still
// `verifying` when the server is told of the proof has not changed since it was protected. The target runs all
// the while.
import { closeSync, openSync, readSync } from 'node:fs'
import type { Backing } from '../backing/backing.ts'
import { EAGAIN } from '../sys/errno.ts'
import { page, scanPages } from '../sys/memory.ts'
import { pause } from '../sys/ptrace.ts'
import * as uffd from '../sys/uffd.ts'
import { type Journal, pageBytes, state } from './journal.ts'

/** A guess: `pages` pages from `start` hold the bytes of backing `backing` from `offset` on. */
export interface Guess {
  readonly start: number
  readonly pages: number
  readonly backing: number
  readonly offset: number
}

const chunkPages = 512

/** Reads the memory of one process while it runs. Never faults a page in: an absent one ends the read. */
export class Verifier {
  readonly #memory: number
  readonly #pagemap: number
  readonly #fd: number
  readonly #journal: Journal
  readonly #theirs = Buffer.allocUnsafeSlow(chunkPages * pageBytes)
  readonly #ours = Buffer.allocUnsafeSlow(chunkPages * pageBytes)

  constructor(pid: number, fd: number, journal: Journal) {
    this.#memory = openSync(`/proc/${pid}/mem`, 'r')
    this.#pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
    this.#fd = fd
    this.#journal = journal
  }

  close(): void {
    closeSync(this.#memory)
    closeSync(this.#pagemap)
  }

  /**
   * Compares a guess with the memory; `view` is what the guess names. Calls `proved(start, pages, offset)` for runs that
   * are equal and stay `verifying` and protected. Pages of other states than absent and present are left alone.
   */
  verify(
    guess: Guess,
    view: Backing,
    minimumAge: (at: number) => boolean,
    proved: (start: number, pages: number, offset: number) => void,
  ): void {
    for (let done = 0; done < guess.pages; done += chunkPages) {
      const pages = Math.min(chunkPages, guess.pages - done)
      this.#chunk(
        guess.start + done * pageBytes,
        pages,
        guess.offset + done * pageBytes,
        view,
        minimumAge,
        proved,
      )
    }
  }

  #chunk(
    start: number,
    pages: number,
    offset: number,
    view: Backing,
    old: (at: number) => boolean,
    proved: (start: number, pages: number, offset: number) => void,
  ): void {
    const j = this.#journal
    // Pages that were absent and have been touched since, unless they have just been removed and are still there. If we die
    // between the two looks, the successor finds them `verifying` and looks again: see `settle`.
    scanPages(this.#pagemap, start, start + pages * pageBytes, page.present, 0, 0, (from, to) => {
      for (let at = from; at < to; at += pageBytes)
        if (old(at) && j.exchange(at, state.absent, state.verifying))
          j.exchange(at, state.verifying, old(at) ? state.present : state.absent)
    })
    // Only what is marked may be protected: the protection of a clean page is the proof that nobody has written it.
    const end = start + pages * pageBytes
    let marked = 0
    let from = start
    for (let at = start; at <= end; at += pageBytes) {
      if (at < end && j.exchange(at, state.present, state.verifying)) {
        marked++
        continue
      }
      if (at > from && !this.#protect(from, (at - from) / pageBytes, true)) {
        this.#giveBack(start, pages)
        return
      }
      from = at + pageBytes
    }
    if (marked === 0) return
    const theirs = this.#readMemory(pages, start)
    const ours = this.#readView(view, pages, offset)
    const whole = Math.floor(Math.min(theirs, ours) / pageBytes)
    const equal = (first: number, count: number): boolean =>
      this.#theirs.compare(
        this.#ours,
        first * pageBytes,
        (first + count) * pageBytes,
        first * pageBytes,
        (first + count) * pageBytes,
      ) === 0
    const all = whole > 0 && equal(0, whole)
    let open = 0
    for (let p = 0; p <= pages; p++) {
      const good = p < whole && j.stateOf(start + p * pageBytes) === state.verifying && (all || equal(p, 1))
      if (good) continue
      if (p > open) proved(start + open * pageBytes, p - open, offset + open * pageBytes)
      if (p < pages && j.exchange(start + p * pageBytes, state.verifying, state.present))
        this.#protect(start + p * pageBytes, 1, false)
      open = p + 1
    }
  }

  #giveBack(start: number, pages: number): void {
    for (let at = start; at < start + pages * pageBytes; at += pageBytes)
      this.#journal.exchange(at, state.verifying, state.present)
  }

  // An event that the server has not read yet makes the kernel say EAGAIN.
  #protect(start: number, pages: number, on: boolean): boolean {
    for (let tries = 0; tries < 2000; tries++) {
      const result = uffd.writeprotect(this.#fd, start, pages * pageBytes, on)
      if (result === 0) return true
      if (result !== -EAGAIN) return false
      pause(tries)
    }
    return false
  }

  // What can't be had is not equal.
  #readView(view: Backing, pages: number, offset: number): number {
    try {
      return view.read(offset, this.#ours.subarray(0, pages * pageBytes))
    } catch {
      return 0
    }
  }

  #readMemory(pages: number, at: number): number {
    let got = 0
    try {
      while (got < pages * pageBytes) {
        const n = readSync(this.#memory, this.#theirs, got, pages * pageBytes - got, at + got)
        if (n <= 0) break
        got += n
      }
    } catch {
      // EIO: the page at `at + got` is absent
    }
    return got
  }
}
