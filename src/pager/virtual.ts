// What is virtual in an attached process, read out of its journal by another process. Only looks: a run that is being
// changed at this moment may be told as it was or as it will be.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BackingRecord } from './holdings.ts'
import { Journal, pageBytes, type Place, state, zeroBacking } from './journal.ts'

/** A run of virtual pages; `offset` is the byte at `start` of what the lens makes. */
export interface VirtualRun {
  readonly start: number
  readonly pages: number
  readonly path: string
  /** Name of the lens that makes the bytes. */
  readonly lens: string
  readonly offset: number
}

/** Gives the virtual runs in [start, end), or undefined when the directory is of no attached process. */
export function virtualRuns(directory: string): ((start: number, end: number) => VirtualRun[]) | undefined {
  const path = join(directory, 'journal')
  if (!existsSync(path)) return undefined
  const journal = Journal.open(path)
  const names = readNames(join(directory, 'backings.json'))
  return (start, end) => {
    const found: VirtualRun[] = []
    const place: Place = { backing: 0, offset: 0, pages: 0 }
    journal.runs(start, end, (from, to, s) => {
      if (s !== state.virtual) return
      for (let at = from; at < to; ) {
        const known = journal.place(at, place)
        const pages = known ? Math.min(place.pages, (to - at) / pageBytes) : 1
        if (known)
          found.push({
            start: at,
            pages,
            ...(names.get(place.backing) ?? { path: '?', lens: 'verbatim' }),
            offset: place.offset,
          })
        at += pages * pageBytes
      }
    })
    return found
  }
}

function readNames(path: string): Map<number, { path: string; lens: string }> {
  try {
    const records = JSON.parse(readFileSync(path, 'utf8')) as BackingRecord[]
    const zeros: [number, { path: string; lens: string }] = [zeroBacking, { path: '', lens: 'zeros' }]
    return new Map([
      zeros,
      ...records.map(r => [r.index, { path: r.path, lens: r.lens ?? 'verbatim' }] as const),
    ])
  } catch {
    return new Map()
  }
}
