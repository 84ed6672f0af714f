/**
 * A glance at views before any of them is opened: which could have made some of the memory?
 *
 * To open a view costs a pass over its file (rows are counted, streams decoded), and to search views costs a pass over memory; most
 * views of most files have nothing to do with it. So first only parts are looked at: of a file the lens is put on slices from
 * its start, its middle and its end, of what is compressed only the beginning is decoded; the anchors of what comes out are looked up
 * by pages from all over the unexplained memory. What none of them hits is left out.
 *
 * A slice of a text begins with a line, so that its rows and characters are those of the whole. What a lens can't make of
 * a slice (a JSON text without its start) is no hit. Lenses that need the whole file (tables of columns, members of archives)
 * are not judged: they are worth a search.
 */
import type { Backing } from '../backing/backing.ts'
import { BytesBacking } from '../backing/bytes.ts'
import { BLOCK, OVERLAP, type SearchKernel } from '../kernels/index.ts'
import { lensNamed } from '../lens/catalogue.ts'
import { elementNames } from '../lens/elements.ts'
import { through } from '../lens/through.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import type { Candidate, Pool } from './pool.ts'
import { lookInto } from './views.ts'

const PAGE = 4096
const SLICE = 2 ** 20
/** Pages of memory that look for a view; so many in a row. */
const MOST_PAGES = 32_768
const TOGETHER = 4
/** Bytes of views in one index. */
const MOST_BYTES = 2 ** 28
/** Between views in the index. */
const GAP = 2 * PAGE
/** A line that is longer is none. */
const LONGEST_LINE = 65_536

/** Lenses that can be put on a part of a file. */
const elements: ReadonlySet<string> = new Set(elementNames)
const isSliceable = (name: string): boolean =>
  /^(?:utf|latin1-|crlf-|newlines-|numbers-)/.test(name) || elements.has(name.replace(/\+[0-9]$/, ''))

/** Those of `views` that some of the memory in `runs` may be from. What was in the kernel's index is gone. */
export function promising(
  memory: MemorySource,
  runs: readonly Run[],
  views: readonly Candidate[],
  kernel: SearchKernel,
  pool: Pool,
  pause: () => void,
): Candidate[] {
  const unjudged = views.filter(({ lens = '' }) => !canJudge(lens))
  const left = views.filter(view => !unjudged.includes(view))
  const hits = new Set<Candidate>(unjudged)
  while (left.length > 0) {
    const bases: { readonly base: number; readonly view: Candidate }[] = []
    kernel.reset((MOST_BYTES / 256) * 2, 0)
    let position = GAP
    // The views of a file come together: its slices and what is decoded of it serve them all.
    let parts: { readonly of: string; readonly slices: readonly Backing[] } | undefined
    for (let view = left[0]; view !== undefined && position < MOST_BYTES; view = left[0]) {
      left.shift()
      bases.push({ base: position, view })
      const { inner, outer } = divide(view.lens ?? '')
      const of = `${view.openPath}|${inner}|${outer === '' ? '' : kindOf(outer)}`
      if (parts?.of !== of) parts = { of, slices: slicesOf(pool, view, inner, outer) }
      for (const slice of parts.slices) {
        position += insert(kernel, slice, outer, position) + GAP
        pause()
      }
    }
    for (const place of probe(memory, runs, kernel, pause)) {
      // A page that a slice begins in has its place before it.
      const found = bases.findLast(({ base }) => base <= place + PAGE)
      if (found) hits.add(found.view)
    }
  }
  return views.filter(view => hits.has(view))
}

/** The lens that decompresses, if there is one, and what stands on top of it. */
function divide(lens: string): { inner: string; outer: string } {
  const bar = lens.indexOf('|')
  const first = bar < 0 ? lens : lens.slice(0, bar)
  if (lensNamed(first).head) return { inner: first, outer: bar < 0 ? '' : lens.slice(bar + 1) }
  return { inner: '', outer: lens }
}

function canJudge(lens: string): boolean {
  const { inner, outer } = divide(lens)
  return (inner !== '' && outer === '') || outer.split('|').every(isSliceable)
}

/** How a slice must begin for a lens: with a line, or with an element. */
function kindOf(outer: string): 'line' | 'element' {
  const [first = ''] = outer.split('|')
  return elements.has(first.replace(/\+[0-9]$/, '')) ? 'element' : 'line'
}

let slices = 0

function slicesOf(pool: Pool, view: Candidate, inner: string, outer: string): Backing[] {
  const { path, openPath, identity, how } = view
  const backing = pool.open(pool.add({ path, openPath, identity, how }))
  if (!backing) return []
  try {
    if (inner !== '') return [lookInto(backing, inner)]
    const { size } = backing
    const starts = size <= 3 * SLICE ? [0] : [0, ((size - SLICE) / 2) & ~63, (size - SLICE) & ~63]
    return starts.flatMap(start => {
      const bytes = new Uint8Array(Math.min(size - start, starts.length === 1 ? size : SLICE))
      const got = bytes.subarray(0, backing.read(start, bytes))
      const from = start === 0 || kindOf(outer) === 'element' ? 0 : lineIn(got)
      return from < 0 ? [] : [new BytesBacking(`slice ${slices++}`, got.subarray(from))]
    })
  } catch {
    // A file that is damaged, or changes under us.
    return []
  }
}

/** Where the first line in these bytes begins; where there is none, the first whole character. */
function lineIn(bytes: Uint8Array): number {
  const end = bytes.subarray(0, LONGEST_LINE).indexOf(10)
  if (end >= 0) return bytes[end + 1] === 0 ? (end + 2) & ~1 : end + 1
  let from = 0
  while (from < 4 && ((bytes[from] ?? 0) & 0xc0) === 0x80) from++
  return from
}

/** Puts the anchors of what a lens makes of a slice into the index; the bytes that it makes. */
function insert(kernel: SearchKernel, slice: Backing, outer: string, base: number): number {
  let at = 0
  try {
    const view = outer === '' ? slice : through(slice, lensNamed(outer))
    kernel.beginFile()
    for (; at < view.size; at += BLOCK) {
      const wanted = Math.min(BLOCK + OVERLAP, view.size - at)
      const got = view.read(at, kernel.file.subarray(0, wanted))
      const positions = Math.min(BLOCK, got - OVERLAP)
      if (positions > 0 && !kernel.fileIsZero(got)) kernel.insert(kernel.sampleFile(positions, at, 0), base)
    }
  } catch {
    // Not what the lens takes it for, or not in this part.
  }
  return at
}

/** Looks pages from all over the memory up; a place for each that is found. */
function* probe(
  memory: MemorySource,
  runs: readonly Run[],
  kernel: SearchKernel,
  pause: () => void,
): Generator<number> {
  const all = runs.reduce((sum, run) => sum + run.pages, 0)
  const step = Math.max(TOGETHER, (all / MOST_PAGES) * TOGETHER)
  let next = 0
  let before = 0
  for (const run of runs) {
    for (; next < before + run.pages; next += step) {
      const first = Math.floor(next) - before
      const pages = Math.min(TOGETHER, run.pages - first)
      const got = memory.read(run.start + first * PAGE, kernel.memory.subarray(0, pages * PAGE))
      for (let i = 0; i < Math.floor(got / PAGE); i++)
        if (!kernel.isZero(i) && kernel.probe(i) > 0) yield kernel.places[0] ?? 0
      pause()
    }
    before += run.pages
  }
}
