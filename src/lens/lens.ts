/**
 * A lens: a pure function from a backing's bytes to memory's bytes, where possible with its way back.
 *
 * Laws, tested on every lens by test/lens-contract.ts:
 *   1. any split of `get` equals the whole `get`
 *   2. get after put gives what was put
 *   3. put of what get gave changes nothing (its edits, applied, leave the backing as it is)
 *   4. get(invert(memory)) = memory, wherever invert answers
 *   5. beyond `size` get gives zeros: the tail of a page at the end of a file
 */
import type { Backing } from '../backing/backing.ts'

/** Bytes to be written at `offset` of a backing. */
export interface Edit {
  readonly offset: number
  readonly bytes: Uint8Array
}

export interface Lens {
  readonly name: string
  /** Bytes of memory that the lens makes of a backing. */
  size(backing: Backing): number
  /** Fills `out` with the memory's bytes from `at` on. Pure: same backing, same bytes. */
  get(backing: Backing, at: number, out: Uint8Array): void
  /** The edits after which get(at) gives `bytes`. RangeError where that is beyond the lens's size. */
  put?(backing: Backing, at: number, bytes: Uint8Array): Edit[]
  /** What a backing must hold for this memory. */
  invert?(memory: Uint8Array): Uint8Array | undefined
}

/** The bytes of a backing after edits, in a new array: the meaning of an Edit. */
export function applyEdits(before: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const after = before.slice()
  for (const { offset, bytes } of edits) {
    if (offset < 0 || offset + bytes.length > after.length) {
      throw new RangeError(`Invalid edit of ${bytes.length} bytes at ${offset} in ${after.length} bytes`)
    }
    after.set(bytes, offset)
  }
  return after
}
