// Inputs that need not be kept, because other epochs make them again: a parser reads the text that an inflate has made.
//
// A reference is a page as it was when an epoch read it: the recipe, or the parts of recipes, that it had then. Epochs that are referred to may refer to
// others: who inflates reads what it made in the epoch before. Such chains are short: then an epoch keeps its bytes.
import { logEntry } from './assemble.ts'
import type { KeptEpoch } from './epochs.ts'
import { pageBytes, type Part, type Piece, type Recipe } from './lenses.ts'
import { leastOfPage } from './protocol.ts'
import { Divergence } from './replayer.ts'

export interface Reference {
  readonly page: number
  readonly parts: readonly Part[]
  /** The page, while it is remembered. */
  bytes: Uint8Array | undefined
}

/** Pages of which the bytes are remembered: the next epoch often reads on in the same ones. */
const mostRemembered = 2048
/** So many pages behind one that a replay was made for, and that the same replay has made, are remembered too: who reads goes on there. */
const mostBehind = 64
/** The replays for the references of one epoch may take so much time together (ms). */
export const mostTime = 15
/** How deep what is referred to may be, for an epoch that can be kept without, and for one that can't. */
const mostDepth = 1
const mostDepthNeeded = 2

export interface ReferenceParts {
  /** The parts of a page that has a lens and was not written since; else undefined. */
  readonly partsOf: (page: number) => readonly Part[] | undefined
  readonly epoch: (id: number) => KeptEpoch | undefined
  /** Copies what an epoch makes. False if it could not be replayed. */
  readonly copy: (piece: Piece, into: Uint8Array) => boolean
  readonly finish: (recipe: Recipe, bytes: Uint8Array) => boolean
  /** The epoch that was replayed last. */
  readonly holds: () => number
}

/** Finds and makes the pages that epochs refer to. */
export class References {
  readonly #parts: ReferenceParts
  /** The last reference to each page, those with bytes in the order of their use. */
  readonly #last = new Map<number, Reference>()
  readonly #remembered = new Set<Reference>()
  #time = 0
  #depth = mostDepth
  readonly #needed = new Set<KeptEpoch>()

  constructor(parts: ReferenceParts) {
    this.#parts = parts
  }

  /** From here on for another epoch, which can be kept only so, or also without. */
  begin(needed: boolean): void {
    this.#depth = needed ? mostDepthNeeded : mostDepth
    this.#time = 0
    this.#needed.clear()
  }

  /** How many of the bytes, which were at an address, a page has that can be made again. */
  find(
    at: number,
    bytes: Uint8Array,
  ): { readonly reference: Reference; readonly length: number } | undefined {
    const page = Math.floor(at / pageBytes)
    const reference = this.page(page)
    const made = reference?.bytes
    if (reference === undefined || made === undefined) return undefined
    const from = at - page * pageBytes
    const most = Math.min(bytes.length, pageBytes - from)
    let length = 0
    while (length < most && made[from + length] === bytes[length]) length++
    return length === 0 ? undefined : { reference, length }
  }

  /** A page that can be made again, with its bytes. They are there until another is asked for. */
  page(page: number): Reference | undefined {
    const parts = this.#parts.partsOf(page)
    if (parts === undefined || !this.#cheap(parts)) return undefined
    const reference = this.#referenceOf(page, parts)
    if (reference.bytes !== undefined) return this.#touch(reference)
    try {
      this.bytesOf(reference)
      this.#behind(page)
    } catch (error) {
      if (!(error instanceof Divergence)) throw error
      return undefined
    }
    return reference
  }

  #referenceOf(page: number, parts: readonly Part[]): Reference {
    const last = this.#last.get(page)
    if (last !== undefined && sameParts(last.parts, parts)) return last
    const reference = { page, parts, bytes: undefined }
    this.#last.set(page, reference)
    return reference
  }

  #behind(page: number): void {
    const holds = this.#parts.holds()
    for (let next = page + 1; next <= page + mostBehind; next++) {
      const parts = this.#parts.partsOf(next)
      if (parts === undefined) return
      for (const { recipe } of parts) for (const piece of recipe.pieces) if (piece.epoch !== holds) return
      this.bytesOf(this.#referenceOf(next, parts))
    }
  }

  /** The depth of the deepest epoch that makes one of these pages. */
  depthOf(references: readonly Reference[]): number {
    const epochs = references.flatMap(({ parts }) => this.#epochsOf(parts))
    return Math.max(0, ...epochs.map(epoch => epoch?.depth ?? 0))
  }

  #epochsOf(parts: readonly Part[]): (KeptEpoch | undefined)[] {
    return parts.flatMap(({ recipe }) => recipe.pieces.map(piece => this.#parts.epoch(piece.epoch)))
  }

  // Whether the page is few replays away, and there is time for them.
  #cheap(parts: readonly Part[]): boolean {
    const all = new Set<KeptEpoch>()
    for (const epoch of this.#epochsOf(parts)) {
      if (epoch === undefined || epoch.depth > this.#depth) return false
      all.add(epoch)
    }
    // The set grows while it is gone through.
    let more = 0
    for (const epoch of all) {
      if (this.#needed.has(epoch)) continue
      more += epoch.own
      for (const { parts } of epoch.references)
        for (const other of this.#epochsOf(parts)) if (other !== undefined) all.add(other)
    }
    if (this.#time + more > mostTime) return false
    this.#time += more
    for (const epoch of all) this.#needed.add(epoch)
    return true
  }

  /** The bytes of the page that is referred to. Divergence if they can't be made. */
  bytesOf(reference: Reference): Uint8Array {
    this.#touch(reference)
    const { parts, bytes: there } = reference
    if (there !== undefined) return there
    const bytes = new Uint8Array(pageBytes)
    for (const { recipe, from, at, length } of parts)
      bytes.set(this.#make(recipe).subarray(from, from + length), at)
    reference.bytes = bytes
    for (const oldest of this.#remembered) {
      if (this.#remembered.size <= mostRemembered) break
      this.#remembered.delete(oldest)
      oldest.bytes = undefined
      if (this.#last.get(oldest.page) === oldest) this.#last.delete(oldest.page)
    }
    return bytes
  }

  // It was used last.
  #touch(reference: Reference): Reference {
    this.#remembered.delete(reference)
    this.#remembered.add(reference)
    return reference
  }

  /** No pages are remembered any more. */
  forget(): void {
    for (const reference of this.#remembered) reference.bytes = undefined
    this.#remembered.clear()
    this.#last.clear()
  }

  #make(recipe: Recipe): Uint8Array {
    const bytes = new Uint8Array(pageBytes)
    for (const piece of recipe.pieces)
      if (!this.#parts.copy(piece, bytes))
        throw new Divergence('an epoch that is referred to was not replayed')
    if (!this.#parts.finish(recipe, bytes))
      throw new Divergence('a page that is referred to came out otherwise')
    return bytes
  }
}

/**
 * Of what an epoch has read, without what it refers to already and what is `proved`: pages with so much of it that they may be referred to, and how many bytes
 * all of it has.
 */
export function pagesRead(
  log: Uint8Array,
  known: readonly Reference[],
  proved: (page: number) => boolean,
): { readonly pages: Map<number, number>; readonly all: number } {
  const words = new Uint32Array(log.buffer, log.byteOffset, log.length / 4)
  const pages = new Map<number, number>()
  for (let i = 0; i < words.length; i += logEntry / 4) {
    const page = (words[i] as number) >>> 12
    pages.set(page, (pages.get(page) ?? 0) + (words[i + 1] as number))
  }
  for (const { page } of known) pages.delete(page)
  let all = 0
  for (const [page, count] of pages) {
    const few = count < leastOfPage
    if (few || !proved(page)) all += count
    if (few || proved(page)) pages.delete(page)
  }
  return { pages, all }
}

function sameParts(a: readonly Part[], b: readonly Part[]): boolean {
  return (
    a === b ||
    (a.length === b.length &&
      a.every((part, i) => {
        const other = b[i] as Part
        return part.from === other.from && part.at === other.at && part.recipe.hash === other.recipe.hash
      }))
  )
}
