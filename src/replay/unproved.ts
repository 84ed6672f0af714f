// Pages that are to be proved still, and what they hold. When a guest becomes calm the keeper is often behind: proving takes a replay for each epoch. So
// that memory does not wait for it, such pages are packed as they are, at once, and go; each is proved later, from what was packed, and the recipe that is
// found takes the place of what was packed, unless that takes no more.
//
//   physical ── packed for the time being ──> asked ──> virtual <──> clean
//                        └─────── proved from what was packed: another lens, the same state ───────┘
//
// What is packed for the time being is a lens like any other to who makes pages (restorer.ts), and no lens to who asks whether a page is proved: no epoch
// refers to it, and no copy is made of it.
import { crc32 } from 'node:zlib'
import { type Lenses, pageBytes, type Recipe } from './lenses.ts'
import type { Packer } from './pack.ts'
import { packedPage } from './packed.ts'
import { pageState, type Shared, word } from './protocol.ts'

/** So many pages are packed in one go: the guest waits no longer. */
const pagesAtOnce = 2
/** And so many go together. */
const pagesPerDrop = 1024

export interface UnprovedParts {
  readonly shared: Shared
  readonly guest: Uint8Array
  readonly lenses: Lenses
  readonly packer: Packer
  readonly prove: (page: number, recipe: Recipe, before: number) => void
}

export class Unproved {
  readonly #parts: UnprovedParts
  /** 1: the page's lens is what was packed for the time being. */
  readonly #packed: Uint8Array
  readonly #bytes = new Uint8Array(pageBytes)
  /** The next page to look at; where the guest is not calm, none. */
  #next = Infinity
  #going = 0

  constructor(parts: UnprovedParts) {
    this.#parts = parts
    this.#packed = new Uint8Array(parts.shared.states.length)
  }

  /** Whether the page is to be proved. */
  has(page: number): boolean {
    return this.#parts.shared.states[page] === pageState.physical || this.isPacked(page)
  }

  /** Whether its lens is what was packed for the time being. */
  isPacked(page: number): boolean {
    if (this.#packed[page] === 0) return false
    const { states, lastWritten, proved } = this.#parts.shared
    if (states[page] === pageState.asked) return (lastWritten[page] as number) < (proved[page] as number)
    return states[page] !== pageState.physical
  }

  /** What the page holds; valid until the next call. undefined if it is not to be proved. */
  bytes(page: number): Uint8Array | undefined {
    if (this.#parts.shared.states[page] === pageState.physical)
      return this.#parts.guest.subarray(page * pageBytes, (page + 1) * pageBytes)
    if (!this.isPacked(page)) return undefined
    const [part] = this.#parts.lenses.parts(page)
    this.#bytes.fill(0)
    return part !== undefined && this.#parts.lenses.finish(part.recipe, this.#bytes) ? this.#bytes : undefined
  }

  /** The page has another lens, or what was packed is its lens for good. */
  settle(page: number): void {
    this.#packed[page] = 0
  }

  /** The guest has become calm: its pages are to be packed; or it is no more. */
  set calm(calm: boolean) {
    if (!calm) this.#next = Infinity
    else if (this.#next === Infinity) this.#next = 0
  }

  /** Whether pages are left to be packed for the time being. */
  get waits(): boolean {
    const { control } = this.#parts.shared
    return this.#next < (control[word.top] as number) && Atomics.load(control, word.hold) === 0
  }

  /** Packs some of them. Whether enough for them to go. */
  pack(): boolean {
    const { shared, guest, packer, prove } = this.#parts
    const { states, lastWritten, control } = shared
    const top = control[word.top] as number
    const before = Atomics.load(control, word.open)
    for (let left = pagesAtOnce; left > 0 && this.#next < top; this.#next++) {
      const page = this.#next
      const last = lastWritten[page] as number
      if (states[page] !== pageState.physical || last === 0 || last >= before) continue
      left--
      const bytes = guest.subarray(page * pageBytes, (page + 1) * pageBytes)
      const residual = packedPage(bytes, packer, true)
      if (residual === null) continue
      prove(page, { pieces: [], residual, hash: crc32(bytes) }, before)
      if (residual !== undefined) this.#packed[page] = 1
      this.#going++
    }
    if (this.#going < pagesPerDrop && this.waits) return false
    this.#going = 0
    return true
  }
}
