/**
 * Which sources could pages be pieced together from? Some unexplained pages are put on trial: the anchors of their own
 * bytes, and of what stands in them at a stride, go into a table; then a part of each candidate view is read, and what
 * it hits is counted. A view that hits next to nothing is not worth an index.
 */
import { PIECE_BLOCK, type PieceKernel } from '../kernels/pieces.ts'
import { numberLenses } from '../lens/numbers.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import type { Candidate, Pool } from './pool.ts'
import { looksParsed, marks, NUMBERS, textLenses, viewsOf } from './views.ts'

const PAGE = 4096
const MIB = 2 ** 20
/** Pages on trial. */
const SAMPLE = 256
/** One anchor in 2^BITS positions. */
const BITS = 4
const SLOTS = 2 ** 20
/** A view that hits less than this share of a plane's anchors is left out. */
const SHARE = 0.01
const LEAST_HITS = 6
/** A plane of a larger stride must hit so many times as much. */
const NEW = 1.15
/** Of a large view this much of every STRIDE bytes is read. */
const PIECE = 65_536
const STRIDE = 8 * PIECE
/** Files and views that are tried, bytes of them all. */
const MOST_BYTES = 2 ** 30
const MOST_VIEWED = 50
const MOST_COLUMNS = 32

/**
 * How elements stand in objects: every `stride` bytes, `width` bytes each. 16 and 32 are CPython's floats and ints (24
 * and 28 bytes in blocks of 16), 24 what other allocators make of them, the larger ones rows of several.
 */
export interface Plane {
  readonly stride: number
  readonly width: 4 | 8
}

export const PLANES: readonly Plane[] = [
  ...[16, 24, 32, 48, 64, 96, 128, 160, 192].map((stride): Plane => ({ stride, width: 8 })),
  ...[8, 16, 32, 64, 96, 128].map((stride): Plane => ({ stride, width: 4 })),
]

/** A view that pieces may come from. */
export interface Source {
  readonly candidate: Candidate
  /** Index in the pool. */
  readonly index: number
  readonly size: number
  /** Bytes of an element: pieces begin at their multiples. 1: anywhere. */
  readonly align: number
  /** Whether memory holds parts of it as they are. */
  readonly plain: boolean
  /** Indexes of the PLANES in which memory holds its elements. */
  readonly planes: readonly number[]
}

/** Columns at which the elements of a plane can stand. */
export function* columnsOf({ stride, width }: Plane): Generator<number> {
  for (let column = 0; column < stride; column += width) yield column
}

/** The views of these files, and the files, that hold parts of the pages in `runs`; at most `most`, the best first. */
export function sourcesOf(
  memory: MemorySource,
  runs: readonly Run[],
  files: readonly Candidate[],
  pool: Pool,
  kernel: PieceKernel,
  pause: () => void,
  most: number,
): Source[] {
  kernel.reset(SLOTS)
  const { totals, numeric } = putOnTrial(memory, runs, kernel)
  const text = marks(memory, runs).filter(name => textLenses.includes(name))
  const marked = numeric ? [...text, NUMBERS] : text
  const found: Hits[] = []
  let left = MOST_BYTES
  let viewed = 0
  const consider = (candidate: Candidate): void => {
    const index = pool.add(candidate)
    const size = pool.size(index)
    if (size < PAGE || size > left) return
    left -= size
    const scale = tryView(pool, index, size, kernel, pause)
    const counts = kernel.counts
    const align = elementOf(candidate.lens)
    const hits = Array.from(totals, (total, plane) => {
      const n = counts[plane] ?? 0
      const wanted = plane === 0 ? align === 1 : align === PLANES[plane - 1]?.width
      return wanted && n >= LEAST_HITS && n * scale >= SHARE * total ? n * scale : 0
    })
    if (hits.some(n => n > 0)) found.push({ candidate, index, size, align, hits })
  }
  const usable = files.filter(file => file.program !== true && file.lens === undefined)
  for (const candidate of usable) consider(candidate)
  for (const candidate of usable) {
    if (marked.length === 0 || viewed >= MOST_VIEWED || candidate.identity.size < PIECE) continue
    const file = pool.open(pool.add(candidate))
    if (!file) continue
    viewed++
    const views = viewsOf(file, marked, pause)
    const integers = numeric ? numberLenses(file, MOST_COLUMNS).filter(name => name.includes('i64')) : []
    const names = [...views.first, ...views.second, ...integers.map(name => name.replace('i64', 'i32'))]
    // Objects hold the nearest double; other roundings differ in few, and would seem as good.
    const nearest = names.toSorted((a, b) => Number(a.includes(':')) - Number(b.includes(':')))
    for (const lens of nearest) consider({ ...candidate, lens })
  }
  const planes = new Set(worthPlanes(found))
  const sources = found.flatMap(({ hits, ...rest }) => {
    const own = PLANES.flatMap((_, i) => (planes.has(i) && (hits[i + 1] ?? 0) > 0 ? [i] : []))
    const plain = (hits[0] ?? 0) > 0
    const sum = (hits[0] ?? 0) + own.reduce((total, i) => total + (hits[i + 1] ?? 0), 0)
    return plain || own.length > 0 ? [{ ...rest, plain, planes: own, sum }] : []
  })
  return sources.toSorted((a, b) => b.sum - a.sum).slice(0, most)
}

/** A view, and the anchors of each plane that it hits; 0: the page's own bytes. */
interface Hits extends Pick<Source, 'candidate' | 'index' | 'size' | 'align'> {
  readonly hits: readonly number[]
}

/** Planes that find something which those of a smaller stride do not: a row's every column is in the rows too. */
function worthPlanes(found: readonly Hits[]): number[] {
  const taken: { readonly plane: number; readonly hits: number }[] = []
  for (const [plane, { stride, width }] of PLANES.entries()) {
    const hits = found.reduce((sum, view) => sum + (view.hits[plane + 1] ?? 0), 0)
    const same = taken.filter(one => {
      const other = PLANES[one.plane]
      return other?.width === width && stride % other.stride === 0
    })
    if (hits > same.reduce((most, one) => Math.max(most, one.hits), 0) * NEW) taken.push({ plane, hits })
  }
  return taken.toSorted((a, b) => b.hits - a.hits).map(one => one.plane)
}

function elementOf(lens: string | undefined): number {
  const type = /(?:^|\|)numbers-[fi](64|32)/.exec(lens ?? '')?.[1]
  return type === undefined ? 1 : Number(type) / 8
}

/** Anchors on trial by plane (0: the page's own bytes), and whether some of the pages hold numbers at a stride. */
function putOnTrial(
  memory: MemorySource,
  runs: readonly Run[],
  kernel: PieceKernel,
): { totals: number[]; numeric: boolean } {
  const totals = Array.from({ length: PLANES.length + 1 }, () => 0)
  const all = runs.reduce((sum, run) => sum + run.pages, 0)
  const step = Math.max(1, all / SAMPLE)
  let next = 0
  let before = 0
  let looked = 0
  let parsed = 0
  for (const run of runs) {
    for (; next < before + run.pages; next += step) {
      const address = run.start + (Math.floor(next) - before) * PAGE
      if (memory.read(address, kernel.memory.subarray(0, PAGE)) !== PAGE || kernel.isZero(0)) continue
      looked++
      totals[0] = (totals[0] ?? 0) + kernel.tryMemory(0, BITS)
      let numbers = false
      for (const [i, plane] of PLANES.entries())
        for (const column of columnsOf(plane)) {
          const bytes = kernel.gather(0, plane.stride, column, plane.width) * plane.width
          const gathered = kernel.gathered.subarray(0, bytes & ~7)
          if (plane.width === 8 ? !numbers && looksParsed(gathered) : !numbers && looksCounted(gathered))
            numbers = true
          totals[i + 1] = (totals[i + 1] ?? 0) + kernel.tryGathered(bytes, i + 1, BITS, plane.width)
        }
      if (numbers) parsed++
    }
    before += run.pages
  }
  return { totals, numeric: parsed > SHARE * looked }
}

/** Whether these could be integers that somebody has read: small ones, and hardly two alike in a row. */
function looksCounted(bytes: Uint8Array): boolean {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  let small = 0
  let changes = 0
  for (let i = 1; i < words.length; i++) {
    if ((words[i] ?? 0) < 2 ** 30) small++
    if (words[i] !== words[i - 1]) changes++
  }
  return small > 0.9 * words.length && changes > 0.7 * words.length
}

/** Counts what a view hits; by how much that has to be multiplied because only a part of it was read. */
function tryView(pool: Pool, index: number, size: number, kernel: PieceKernel, pause: () => void): number {
  kernel.counts.fill(0)
  const sparse = size > 4 * MIB
  const length = sparse ? PIECE : PIECE_BLOCK
  for (let at = 0; at < size; at += sparse ? STRIDE : PIECE_BLOCK) {
    const got = pool.read(index, at, kernel.file.subarray(0, Math.min(length, size - at)))
    kernel.tryFile(got, BITS)
    pause()
  }
  return sparse ? STRIDE / PIECE : 1
}
