// The guest thread's side of a drop: at a cut, when none of the guest's code runs, pages that the keeper has proved and asked for go, if they were not
// written since it read them. `lastWritten` knows, because the recorder has just asked the kernel.
import { discard } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { type Drops, pageState, type Shared, word } from './protocol.ts'

const pageBytes = 4096
/** Pages for which missing ones are made faults at once: fewer would split the mapping too often. */
const chunkPages = 256

export interface DropperParts {
  readonly shared: Shared
  /** A userfaultfd with write protection that resolves itself. */
  readonly uffd: number
  /** Where the guest's memory begins. */
  readonly base: number
  readonly takeDrops: () => Drops | undefined
  readonly counts: { dropped: number; refused: number }
}

export class Dropper {
  readonly #parts: DropperParts
  /** By their number: the pages of each of which missing ones are faults. */
  readonly #chunks = new Map<number, { first: number; end: number }>()

  constructor(parts: DropperParts) {
    this.#parts = parts
  }

  /** Drops what the keeper has asked for, and was not written since. Right after a scan, in the guest's own thread: nobody writes meanwhile. */
  drop(): void {
    const { shared, takeDrops } = this.#parts
    const { control, states, lastWritten } = shared
    while (Atomics.load(control, word.asked) > 0 && Atomics.load(control, word.hold) === 0) {
      const drops = takeDrops()
      if (drops === undefined) return
      Atomics.sub(control, word.asked, 1)
      const { pages, before } = drops
      let first = -1
      let next = -1
      const flush = (): void => {
        if (first >= 0) this.forget(first, next)
        first = -1
      }
      for (let i = 0; i < pages.length; i++) {
        const p = pages[i] as number
        if ((lastWritten[p] as number) >= (before[i] as number)) {
          if (states[p] === pageState.asked) states[p] = pageState.physical
          this.#parts.counts.refused++
          continue
        }
        // Before it is gone: the keeper may be asked for it at once.
        states[p] = pageState.virtual
        this.#parts.counts.dropped++
        if (p !== next) flush()
        if (first < 0) first = p
        next = p + 1
      }
      flush()
    }
  }

  /** Pages from `first` up to `end` go; a touch is a fault from now on. */
  forget(first: number, end: number): void {
    for (let chunk = Math.floor(first / chunkPages); chunk * chunkPages < end; chunk++) {
      const start = chunk * chunkPages
      this.#makeFaults(chunk, Math.max(first, start), Math.min(end, start + chunkPages))
    }
    discard(this.#parts.base + first * pageBytes, (end - first) * pageBytes)
  }

  // Missing pages of a chunk become faults. Not those behind and before all that was ever written: there the guest's new pages will be, and would be asked for.
  #makeFaults(chunk: number, first: number, end: number): void {
    const known = this.#chunks.get(chunk)
    if (known !== undefined && known.first <= first && known.end >= end) return
    const { lastWritten } = this.#parts.shared
    const range = { first: chunk * chunkPages, end: (chunk + 1) * chunkPages }
    while (range.first < first && lastWritten[range.first] === 0) range.first++
    while (range.end > end && lastWritten[range.end - 1] === 0) range.end--
    this.#chunks.set(chunk, range)
    const at = this.#parts.base + range.first * pageBytes
    const done = uffd.register(this.#parts.uffd, at, (range.end - range.first) * pageBytes)
    if (done < 0) throw new Error(`lethe: userfaultfd refuses ${at.toString(16)} (${done})`)
  }
}
