/**
 * Which views of which files are worth a search: memory says which lenses could have made it, files say which lenses
 * could read them.
 *
 *   marks(memory, runs)      looks at some unexplained pages: which lenses can have made them? (Lens.narrow)
 *   viewsOf(file, marks)     inner lenses by the file's content (decompression, line ends), each alone and with every
 *                            marked lens on top that suits what comes out
 *
 * Nothing is decided here: a view is searched like a file, and what is found is compared.
 */
import type { Backing } from '../backing/backing.ts'
import { lensNamed } from '../lens/catalogue.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'

const PAGE = 4096
const SAMPLE = 400
/** A lens is marked when it could have made this share of the pages looked at. */
const SHARE = 0.01

/** Lenses that go on top: known by what they leave in memory. */
export interface Outer {
  readonly name: string
  /** Whether the lens can have made this page. */
  marks(page: Uint8Array): boolean
}

/** Lenses that come first: known by what they find in a file. Gives the names that suit the file, likeliest first. */
export type Inner = (file: Backing) => readonly string[]

const room = new Uint8Array(4 * PAGE + 64)

function narrowing(name: string): Outer {
  const lens = lensNamed(name)
  return { name, marks: page => lens.narrow?.(page, room) !== undefined }
}

const OUTER: readonly Outer[] = [
  'utf8-utf16',
  'utf8-utf32',
  'utf8-latin1',
  'utf16-utf8',
  'utf16-utf32',
  'utf16-latin1',
].map(narrowing)

const suiting =
  (name: string): Inner =>
  file =>
    lensNamed(name).suits?.(file) ? [name] : []

const INNER: readonly Inner[] = ['gunzip', 'crlf-lf'].map(suiting)

/** Names of the outer lenses that could have made some of these pages. */
export function marks(memory: MemorySource, runs: readonly Run[]): string[] {
  const total = runs.reduce((sum, run) => sum + run.pages, 0)
  const step = Math.max(1, total / SAMPLE)
  const page = new Uint8Array(PAGE)
  const counts = new Map<string, number>()
  let looked = 0
  let next = 0
  let before = 0
  for (const run of runs) {
    for (; next < before + run.pages; next += step) {
      if (memory.read(run.start + (Math.floor(next) - before) * PAGE, page) !== PAGE) continue
      looked++
      for (const outer of OUTER)
        if (outer.marks(page)) counts.set(outer.name, (counts.get(outer.name) ?? 0) + 1)
    }
    before += run.pages
  }
  return OUTER.map(outer => outer.name).filter(name => (counts.get(name) ?? 0) > SHARE * looked)
}

/** Names of lenses through which this file should be searched. */
export function viewsOf(file: Backing, marked: readonly string[]): string[] {
  const inner = INNER.flatMap(find => find(file))
  const outer = ['', ...inner].flatMap(first =>
    marked
      .map(name => (first === '' ? name : `${first}|${name}`))
      .filter(name => lensNamed(name).suits?.(file) ?? true),
  )
  return [...inner, ...outer]
}
