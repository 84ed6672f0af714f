// Putting memory back: everything, or what one backing makes.
import * as uffd from '../sys/uffd.ts'
import { blockBytes, pageBytes, type Place, state } from './journal.ts'
import { maxCluster, type Served, type Space } from './space.ts'

/** What the server does meanwhile. */
export interface Hands {
  /** Does something that may have to wait for an event to be read first. */
  serve(space: Space, action: () => Served): Served
  /** Reads and handles what is pending. */
  drain(space: Space): unknown
}

/**
 * Refills every virtual page of the spaces, or those of one backing. What is clean or being verified becomes physical: it may be
 * written by the backing's writer's consent only. The number of pages that could not be brought back.
 */
export function refillAll(spaces: readonly Space[], backing: number | undefined, hands: Hands): number {
  const place: Place = { backing: 0, offset: 0, pages: 0 }
  let left = 0
  for (const space of spaces) {
    let sinceDrain = 0
    space.virtualRuns((start, end) => {
      for (let at = start; at < end; ) {
        if (!space.journal.place(at, place)) {
          left++
          at += pageBytes
          continue
        }
        const stop = Math.min(end, at + Math.min(place.pages, maxCluster) * pageBytes)
        if (backing === undefined || place.backing === backing) {
          const served = hands.serve(space, () => space.refill(at, stop, false))
          if (served === 'gone') return
          if (served !== 'done') left++
          if (++sinceDrain >= 16) {
            sinceDrain = 0
            for (const other of spaces) hands.drain(other)
          }
        }
        at = stop
      }
    })
    for (const block of space.journal.blocks())
      space.journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
        if (s !== state.clean && s !== state.verifying) return
        for (let at = start; at < end; at += pageBytes)
          if (backing === undefined || (space.journal.place(at, place) && place.backing === backing))
            if (!space.journal.exchange(at, state.clean, state.present))
              space.journal.exchange(at, state.verifying, state.present)
      })
  }
  return left
}

/** Pages of the spaces that can only be had from a backing. */
export function dependents(spaces: readonly Space[], backing: number): number {
  const place: Place = { backing: 0, offset: 0, pages: 0 }
  let pages = 0
  for (const { journal } of spaces)
    for (const block of journal.blocks())
      journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
        if (s === state.virtual || s === state.dropping)
          for (let at = start; at < end; at += pageBytes)
            if (journal.place(at, place) && place.backing === backing) pages++
      })
  return pages
}

/** Pages of the spaces that are virtual or about to be. */
export function missing(spaces: readonly Space[]): number {
  let still = 0
  for (const { journal } of spaces)
    for (const block of journal.blocks())
      journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
        if (s === state.virtual || s === state.dropping) still += (end - start) / pageBytes
      })
  return still
}

/** Takes all ranges of the spaces out of the kernel's hands: a missing page is zeros from then on. */
export function unregisterAll(spaces: readonly Space[]): void {
  for (const space of spaces) {
    // Whole mappings at a time: a range that ends inside one would split it.
    let from = 0
    let to = 0
    for (const block of [...space.journal.blocks(), Number.MAX_SAFE_INTEGER / blockBytes].sort(
      (a, b) => a - b,
    ))
      space.journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
        if (s !== state.none && start === to) to = end
        else {
          if (to > from) uffd.unregister(space.fd, from, to - from)
          from = start
          to = s === state.none ? start : end
        }
      })
  }
}
