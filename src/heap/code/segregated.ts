/**
 * Segregated free lists: a list for each size class, so a search begins among blocks of about the right size and goes
 * on to larger classes. Classes: sizes 16, 24, … 128 have one each; above, each power of two has two.
 * Own variables: 64 list heads.
 */
import { BEST_FIT, OWN, PLACEMENT, sizeOf, variable } from './blocks.ts'
import { bestInList, firstInList, insertIntoList, removeFromList } from './list.ts'
import { clz32, load32, look, state } from './words.ts'

const CLASSES: i32 = 64

/** The address of the head of the list for blocks of `size` bytes. */
export function headOfClass(size: i32): i32 {
  return state() + OWN + classOf(size) * 4
}

function classOf(size: i32): i32 {
  if (size <= 128) return (size >> 3) - 2
  const power = 31 - clz32(size)
  return 15 + (power - 7) * 2 + ((size >> (power - 1)) & 1)
}

// Insert

export function insertSegregated(p: i32): void {
  insertIntoList(headOfClass(sizeOf(p)), p)
}

// Remove

export function removeSegregated(p: i32): void {
  removeFromList(headOfClass(sizeOf(p)), p)
}

// Search

export function findSegregated(size: i32): i32 {
  const best = variable(PLACEMENT) === BEST_FIT
  for (let i = classOf(size); i < CLASSES; i++) {
    const head = load32(state() + OWN + i * 4)
    if (head === 0) continue
    look()
    const p = best ? bestInList(head, size) : firstInList(head, 0, size)
    if (p !== 0) return p
  }
  return 0
}
