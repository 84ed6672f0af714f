/**
 * The explicit free list: free blocks are linked through their payloads, so a search looks at free blocks only.
 * Order: last freed first (free takes constant time) or by address (less fragmentation, free walks the list).
 * Own variables: the list's head. With next fit ROVER is where the last search ended.
 */
import { BEST_FIT, NEXT_FIT, OWN, PLACEMENT, ROVER, setVariable, variable } from './blocks.ts'
import { bestInList, firstInList, insertIntoList, removeFromList } from './list.ts'
import { load32, state } from './words.ts'

// Insert

export function insertExplicit(p: i32): void {
  insertIntoList(state() + OWN, p)
}

// Remove

export function removeExplicit(p: i32): void {
  if (variable(ROVER) === p) setVariable(ROVER, load32(p))
  removeFromList(state() + OWN, p)
}

// Search

export function findExplicit(size: i32): i32 {
  const placement = variable(PLACEMENT)
  const head = variable(OWN)
  if (placement === BEST_FIT) return bestInList(head, size)
  if (placement !== NEXT_FIT) return firstInList(head, 0, size)
  let rover = variable(ROVER)
  if (rover === 0) rover = head
  let p = firstInList(rover, 0, size)
  if (p === 0) p = firstInList(head, rover, size)
  setVariable(ROVER, p)
  return p
}
