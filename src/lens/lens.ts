/**
 * A lens: a pure function from a backing's bytes to memory's bytes, where possible with its way back.
 *
 * Laws, tested on every lens by test/lens-contract.ts:
 *   1. any split of `get` equals the whole `get`
 *   2. get after put gives what was put
 *   3. put of what get gave changes nothing (its edits, applied, leave the backing as it is)
 *   4. get(invert(memory)) = memory, wherever invert answers
 *   5. beyond `size` get gives zeros: the tail of a page at the end of a file
 *   6. wherever the bytes that narrow gave lie in a backing, and locate says where that is in the view, get from
 *      there gives the memory that was narrowed
 *
 * Backwards search: `narrow` a page of memory, look for the narrow bytes in the backing, ask `locate` where in the
 * view that is. Forwards search: read the whole view (src/lens/through.ts) once and search it like a file.
 */
import type { Backing } from '../backing/backing.ts'
import type { Element } from './element.ts'
import type { IndexStore } from './index-store.ts'

export type { IndexStore } from './index-store.ts'

/**
 * Bytes to be written at `offset` of a backing, in the place of `removes` bytes; of as many as they are, if it does not say.
 * An edit of another length moves all that follows. The edits of one put do not overlap, are in the order of
 * their offsets, and these are those before any of them is made.
 */
export interface Edit {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly removes?: number
}

/** `into` holds `bytes` bytes, which make the memory from `from` on. */
export interface Narrowed {
  readonly from: number
  readonly bytes: number
}

/** A pass over a view in order, from its first byte on (src/lens/pass.ts). */
export interface Pass {
  /** As Backing.read; undefined where the bytes lie further back than what is kept. */
  read(offset: number, into: Uint8Array): number | undefined
  /** Goes on to the end, and keeps the index. */
  finish(): void
  /** Gives it up, and the index with it. */
  abandon(): void
}

export interface Lens {
  /** Canonical and complete: lensNamed(name) is the same lens in another process. */
  readonly name: string
  /** What the bytes are elements of, where the name does not tell (src/lens/element.ts). */
  readonly element?: Element
  /** Bytes of memory that the lens makes of a backing. */
  size(backing: Backing): number
  /**
   * Bytes of memory from `at` on that there are, up to `most`, found without looking at more of the backing than that
   * takes; for lenses whose size costs a pass over all of it.
   */
  extent?(backing: Backing, at: number, most: number): number
  /**
   * Fills `out` with the first bytes of the view, as far as there are some, and gives their number, without an index: a look
   * into what is compressed. For lenses that can only decode from the start.
   */
  head?(backing: Backing, out: Uint8Array): number
  /** Fills `out` with the memory's bytes from `at` on. Pure: same backing, same bytes. */
  get(backing: Backing, at: number, out: Uint8Array): void
  /** The edits after which get(at) gives `bytes`. RangeError where that is beyond the lens's size. */
  put?(backing: Backing, at: number, bytes: Uint8Array): Edit[]
  /** What a backing must hold for this memory. */
  invert?(memory: Uint8Array): Uint8Array | undefined
  /**
   * Writes the bytes that a backing must hold for this memory to `into` (which has at least 4 × memory.length + 64
   * bytes), leaving out what is incomplete at both edges. undefined where the lens cannot have made the memory, or
   * where that is so unlikely (by a cheap look at a few values) that a search is not worth its time.
   */
  narrow?(memory: Uint8Array, into: Uint8Array): Narrowed | undefined
  /** Position in the view of what byte `offset` of the backing begins to make; undefined if nothing begins there. */
  locate?(backing: Backing, offset: number): number | undefined
  /** Whether the lens makes sense for this backing at all; may read a few KiB at its start, middle and end. */
  suits?(backing: Backing): boolean
  /**
   * Builds the index that size, get and locate need (else the first of them does), or takes it from the store.
   * `pause` is called every few milliseconds of work.
   */
  prepare?(backing: Backing, store: IndexStore, pause?: () => void): void
  /**
   * What `prepare` does, in a pass that gives the view's bytes to whoever needs them too. undefined where the index is there. For
   * lenses whose index is made by decoding the view in order.
   */
  begin?(backing: Backing, store: IndexStore, pause?: () => void): Pass | undefined
  /** Lets go of the files that it holds open for a backing, which is about to be closed. */
  close?(backing: Backing): void
  /** Whether making bytes takes many times what reading them from a file does, so that what is made of them is worth keeping. */
  readonly costly?: boolean
}

/** The bytes of a backing after edits, in a new array: the meaning of an Edit. */
export function applyEdits(before: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const parts: Uint8Array[] = []
  let at = 0
  for (const { offset, bytes, removes = bytes.length } of edits) {
    if (offset < at || offset + removes > before.length) {
      throw new RangeError(`Invalid edit of ${removes} bytes at ${offset} in ${before.length} bytes`)
    }
    parts.push(before.subarray(at, offset), bytes)
    at = offset + removes
  }
  parts.push(before.subarray(at))
  const after = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let end = 0
  for (const part of parts) {
    after.set(part, end)
    end += part.length
  }
  return after
}
