// The journal of a forked child. Its page table is a copy of the parent's at the fork: what was present in the parent
// is present in the child and the child's own; what was virtual is missing there too, with the same explanation. What was
// `dropping` may be either, for the threads go on before the controller says that a drop is done: it is called virtual,
// and a fill finds out.
// No refill can have changed that meanwhile, because the kernel answers every fill with EAGAIN until
// the fork event has been read.
import { blockBytes, Journal, pageBytes, type Place, state } from './journal.ts'

/** `spare`: a journal that is not needed any more. */
export function forkJournal(parent: Journal, path: string, pid: number, spare?: Journal): Journal {
  spare?.reuse(path, pid)
  const child = spare ?? Journal.create(path, pid, 0)
  const place: Place = { backing: 0, offset: 0, pages: 0 }
  for (const block of parent.blocks()) {
    child.grow(block * blockBytes, (block + 1) * blockBytes)
    parent.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
      if (s === state.none) return
      const missing = s === state.virtual || s === state.dropping
      if (missing)
        for (let at = start; at < end; ) {
          if (!parent.place(at, place)) break
          const pages = Math.min(place.pages, (end - at) / pageBytes)
          child.explain(at, pages, place.backing, place.offset)
          at += pages * pageBytes
        }
      const to = missing ? state.virtual : s === state.absent || s === state.lost ? s : state.present
      for (let at = start; at < end; at += pageBytes) child.set(at, to)
    })
  }
  return child
}
