/**
 * One pass over the pages of an audit, in order of address: what each one is, added up by mapping, by file and mapping, and
 * by *cell* of the page map.
 *
 * A page map has a bounded number of cells, whatever the size of the process: a cell is a number of consecutive pages (the
 * same for all) of one mapping; pages that are not there are left out.
 */
import { EXPLAINED, UNEXPLAINED, ZERO } from '../explain/extents.ts'
import type { ProcessExplanations } from '../explain/process.ts'
import type { Mapping } from '../process/maps.ts'
import type { PageCounts, Pagemap } from '../process/pagemap.ts'
import type { AuditMapping, PageTally, VirtualRun } from './audit.ts'

const PAGE = 4096
/** Cells of a page map; each mapping may add one that is not full. */
const MOST_CELLS = 4096

/** A number of consecutive pages of one mapping, those that are there. */
export interface MapCell extends PageTally {
  readonly start: number
  /** Index of the file that most of its explained and virtual pages come from; -1: none. */
  readonly file: number
}

export interface PageMap {
  /** Pages of a full cell. */
  readonly cellPages: number
  readonly cells: readonly MapCell[]
}

/** Bytes of a mapping that come from a file; both are indices. */
export interface Part {
  readonly mapping: number
  readonly file: number
  readonly bytes: number
}

export interface Walked {
  /** Those that have pages of interest, in order of address. */
  readonly mappings: readonly AuditMapping[]
  readonly parts: readonly Part[]
  readonly map: PageMap
}

export interface WalkInput {
  readonly mappings: readonly Mapping[]
  readonly found: ProcessExplanations
  readonly pagemap: Pagemap
  readonly virtualOf: (start: number, end: number) => Iterable<VirtualRun>
  /** Index of the file that an extent's candidate is. */
  readonly fileOf: (backing: number) => number
  readonly fileOfVirtual: (run: VirtualRun) => number
}

type Tally = { -readonly [K in keyof PageTally]: number }
const empty = (): Tally => ({ virtual: 0, explained: 0, zero: 0, duplicate: 0, unexplained: 0 })

/** Whose pages a walk sees: one segment is pages of one run, present or virtual. */
interface Segment {
  readonly start: number
  readonly pages: number
  /** Ordinal of the first page; -1: virtual. */
  readonly first: number
  readonly file: number
}

export function walk(input: WalkInput): Walked {
  const { mappings, found, pagemap } = input
  const { findings } = found
  const duplicates = findings.duplicateFlags()
  const files = filesOfPages(input)
  const all = mappings.map(mapping => segmentsOf(mapping, input))
  const pages = all.reduce((sum, segments) => sum + segments.reduce((n, one) => n + one.pages, 0), 0)
  const cellPages = 2 ** Math.max(0, Math.ceil(Math.log2(pages / MOST_CELLS)))
  const cells: MapCell[] = []
  const kept: AuditMapping[] = []
  const parts: Part[] = []
  for (const [m, { start, end, name }] of mappings.entries()) {
    const counts: PageCounts = { present: 0, swapped: 0, file: 0, protected: 0 }
    pagemap.present(start, end, counts)
    const tally = empty()
    const bytesOf = new Map<number, number>()
    let cell = { start, tally: empty(), files: new Map<number, number>(), pages: 0 }
    const close = (): void => {
      if (cell.pages === 0) return
      const [file = -1] = [...cell.files].reduce((a, b) => (b[1] > a[1] ? b : a), [-1, 0])
      cells.push({ start: cell.start, ...cell.tally, file })
    }
    const take = (at: number, kind: keyof PageTally | undefined, file: number): void => {
      if (cell.pages === cellPages) close()
      if (cell.pages === cellPages || cell.pages === 0)
        cell = { start: at, tally: empty(), files: new Map(), pages: 0 }
      cell.pages++
      if (kind === undefined) return
      tally[kind]++
      cell.tally[kind]++
      if (file < 0) return
      bytesOf.set(file, (bytesOf.get(file) ?? 0) + PAGE)
      cell.files.set(file, (cell.files.get(file) ?? 0) + 1)
    }
    let total = 0
    for (const segment of all[m] ?? []) {
      total += segment.pages
      for (let i = 0; i < segment.pages; i++) {
        const at = segment.start + i * PAGE
        if (segment.first < 0) take(at, 'virtual', segment.file)
        else {
          const ordinal = segment.first + i
          const state = findings.state[ordinal]
          if (state === EXPLAINED) take(at, 'explained', files[ordinal] ?? -1)
          else if (state === ZERO) take(at, 'zero', -1)
          else if (state === UNEXPLAINED)
            take(at, duplicates[ordinal] === 1 ? 'duplicate' : 'unexplained', -1)
          else take(at, undefined, -1)
        }
      }
    }
    close()
    if (total === 0) continue
    for (const [file, bytes] of bytesOf) parts.push({ mapping: kept.length, file, bytes })
    kept.push({ start, end, name, rss: counts.present * PAGE, pages: total, ...tally })
  }
  return { mappings: kept, parts, map: { cellPages, cells } }
}

// The file of each explained page, by ordinal.
function filesOfPages({ found, fileOf }: WalkInput): Int32Array {
  const { findings, extents } = found
  const files = new Int32Array(findings.pages).fill(-1)
  let r = 0
  for (const extent of extents) {
    const file = fileOf(extent.backing)
    let at = extent.start
    const end = extent.start + extent.pages * PAGE
    // Extents and runs are in order of address; an extent may go on over several runs that touch.
    while (at < end) {
      const run = findings.runs[r]
      if (run === undefined) break
      const last = run.start + run.pages * PAGE
      if (last <= at) {
        r++
        continue
      }
      const to = Math.min(end, last)
      const first = (findings.firsts[r] ?? 0) + (at - run.start) / PAGE
      files.fill(file, first, first + (to - at) / PAGE)
      at = to
    }
  }
  return files
}

function segmentsOf(
  { start, end }: Mapping,
  { found, virtualOf, fileOfVirtual }: WalkInput,
): readonly Segment[] {
  const { runs, firsts } = found.findings
  const segments: Segment[] = []
  for (let r = firstRunFrom(runs, start); r < runs.length; r++) {
    const run = runs[r]
    if (run === undefined || run.start >= end) break
    segments.push({ start: run.start, pages: run.pages, first: firsts[r] ?? 0, file: -1 })
  }
  for (const run of virtualOf(start, end))
    segments.push({ start: run.start, pages: run.pages, first: -1, file: fileOfVirtual(run) })
  return segments.sort((a, b) => a.start - b.start)
}

function firstRunFrom(runs: readonly { readonly start: number }[], address: number): number {
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((runs[middle]?.start ?? 0) < address) low = middle + 1
    else high = middle
  }
  return low
}
