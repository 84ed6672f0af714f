/**
 * Which sources could pages be pieced together from? Some unexplained pages are put on trial: the anchors of their own
 * bytes, and of what stands in them at a stride, go into a table; then a part of each candidate view is read, and what
 * it hits is counted. A view that hits next to nothing is not worth an index.
 */
import { PIECE_BLOCK, type PieceKernel } from '../kernels/pieces.ts'
import { JSON_TEXT, rowOfJson, sniff } from '../lens/table-sniff.ts'
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
const ANCHOR = 2 ** BITS
const SLOTS = 2 ** 20
/** A view that hits less than this share of a plane's anchors is left out. */
const SHARE = 0.01
const LEAST_HITS = 6
/** Numbers that lie side by side, as in rows, must be this share of all: to search a page for parts of it takes long. */
const SIDE_BY_SIDE = 0.1
/** A plane of a larger stride must find so much of its anchors, of what one of a smaller stride finds of its own. */
const ENOUGH = 0.9
/** Of a large view this much of every STRIDE bytes is read. */
const PIECE = 65_536
const STRIDE = 8 * PIECE
/** Bytes of files and views that are tried: so many for each byte that is unexplained, and at most. */
const FOR_EACH_BYTE = 16
/** Small files (an interpreter has hundreds) have room of their own, so that they need not be behind what is large. */
const SMALL = 262_144
const SMALL_FOR_EACH_BYTE = 4
const MOST_BYTES = 2 ** 30
const MOST_VIEWED = 50
const MOST_COLUMNS = 32
const MOST_SOURCES = 128
/** Files of fewer bytes are not worth a lease. */
const LEAST_FILE = 4096
const MOST_FILES = 1000
/** A small file can't hit much of all: one of which memory seems to hold this share is a source whatever else there is. */
const HELD = 1 / 8
const LEAST_HELD = 3
/** Blocks of a view that are kept for the sources that are its columns. */
const BLOCK = 262_144
const BLOCKS = 48
/** A view of rows of numbers: bytes of an element, columns if they are not all. */
const ROWS = /(?:^|\|)numbers-[fi](64|32)(?:\/([0-9]+(?:,[0-9]+)+))?$/
/** A view of one column: rows have them all. */
const OWN_COLUMN = /\|?numbers-[^|]*\/[0-9]+$/

/**
 * How elements stand in objects: every `stride` bytes, `width` bytes each. 16 and 32 are CPython's floats and ints (24
 * and 28 bytes in blocks of 16), 24 what other allocators make of them, the larger ones rows of several.
 */
export interface Plane {
  readonly stride: number
  readonly width: 4 | 8
}

export const PLANES: readonly Plane[] = [
  ...[16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320].map((stride): Plane => ({ stride, width: 8 })),
  ...[8, 16, 32, 64, 96, 128].map((stride): Plane => ({ stride, width: 4 })),
]

/** A view that pieces may come from. */
export interface Source {
  readonly candidate: Candidate
  /** Index in the pool. */
  readonly index: number
  /** Bytes of its elements. */
  readonly size: number
  /** Bytes of an element: pieces begin at their multiples. 1: anywhere. */
  readonly align: number
  /** More than 1: the elements of one column of a view that holds `step` of them, row after row. */
  readonly step: number
  readonly column: number
  /** Whether memory holds parts of it as they are. */
  readonly plain: boolean
  /** Indexes of the PLANES in which memory holds its elements. */
  readonly planes: readonly number[]
}

/** Columns at which the elements of a plane can stand. */
export function* columnsOf({ stride, width }: Plane): Generator<number> {
  for (let column = 0; column < stride; column += width) yield column
}

/** Reads elements of a source. */
export class SourceReader {
  readonly #pool: Pool
  readonly #blocks = new Map<string, Uint8Array>()

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** Fills `into` with what the source has from `offset` on, a multiple of its element; the bytes that it had. */
  read({ index, step, column, align, size }: Source, offset: number, into: Uint8Array): number {
    const wanted = Math.min(into.length, size - offset)
    if (step === 1) return this.#pool.read(index, offset, into.subarray(0, wanted))
    // Words, not elements: a float that passes through a variable may come out as another NaN.
    const words = align / 4
    const to = new Uint32Array(into.buffer, into.byteOffset, Math.floor(wanted / 4))
    let done = 0
    for (let element = offset / align; done + words <= to.length; ) {
      const at = (element * step + column) * align
      const number = Math.floor(at / BLOCK)
      const block = this.#block(index, number)
      const from = new Uint32Array(block.buffer, 0, block.length >> 2)
      let word = (at - number * BLOCK) / 4
      if (word + words > from.length) break
      for (; word + words <= from.length && done + words <= to.length; word += step * words, element++)
        for (let k = 0; k < words; k++) to[done++] = from[word + k] ?? 0
    }
    return done * 4
  }

  /** Bytes of a source that can be read of each column in turn before a block is made twice. */
  static reach({ step }: Source): number {
    return Math.max(BLOCK / 8, Math.floor((BLOCKS / 2 / step) * BLOCK) & ~7)
  }

  #block(index: number, number: number): Uint8Array {
    const key = `${index}:${number}`
    let block = this.#blocks.get(key)
    if (block) return block
    if (this.#blocks.size >= BLOCKS)
      for (const oldest of this.#blocks.keys()) {
        this.#blocks.delete(oldest)
        break
      }
    block = new Uint8Array(BLOCK)
    block = block.subarray(0, this.#pool.read(index, number * BLOCK, block))
    this.#blocks.set(key, block)
    return block
  }
}

/** A view, and the anchors of each plane that it hits; 0: the page's own bytes. */
interface Hits extends Omit<Source, 'plain' | 'planes'> {
  readonly hits: readonly number[]
}

/** The views of these files, and the files, that hold parts of the pages in `runs`; at most MOST_SOURCES, the best first. */
export function sourcesOf(
  memory: MemorySource,
  runs: readonly Run[],
  files: readonly Candidate[],
  pool: Pool,
  kernel: PieceKernel,
  pause: () => void,
): Source[] {
  kernel.reset(SLOTS)
  const { totals, numeric } = putOnTrial(memory, runs, kernel)
  const reader = new SourceReader(pool)
  const text = [...marks(memory, runs)].filter(name => textLenses.includes(name))
  const marked = new Set(numeric ? [...text, NUMBERS] : text)
  const found: Hits[] = []
  const unexplained = runs.reduce((sum, run) => sum + run.pages * PAGE, 0)
  const standsFor = Math.max(1, unexplained / PAGE / SAMPLE)
  let left = Math.min(MOST_BYTES, FOR_EACH_BYTE * unexplained)
  let leftForSmall = Math.min(MOST_BYTES, SMALL_FOR_EACH_BYTE * unexplained)
  let viewed = 0
  const consider = (candidate: Candidate, columns = 1): void => {
    const index = pool.add(candidate)
    const size = pool.size(index)
    const small = size <= SMALL
    if (size < PAGE || size > (small ? leftForSmall : left)) return
    if (small) leftForSmall -= size
    else left -= size
    const align = elementOf(candidate.lens)
    const whole = { candidate, index, size, align, step: 1, column: 0 }
    const rows = Math.floor(size / align / columns)
    const sources = [whole]
    for (let column = 0; columns > 1 && column < columns; column++)
      sources.push({ ...whole, size: rows * align, step: columns, column })
    for (const source of sources) {
      const scale = tryView({ ...source, plain: false, planes: [] }, reader, kernel, pause)
      const { counts } = kernel
      const held = (counts[0] ?? 0) * scale * ANCHOR * standsFor
      const dense = align === 1 && (counts[0] ?? 0) >= LEAST_HELD && held >= HELD * size
      const hits = Array.from(totals, (total, plane) => {
        const n = counts[plane] ?? 0
        // Only one in `align` of the page's own bytes can be where an element begins.
        const side = plane === 0 && align > 1
        const wanted = plane === 0 ? source.step === 1 : align === PLANES[plane - 1]?.width
        const least = side ? (SIDE_BY_SIDE * total) / align : (SHARE * total) / source.step
        const enough = (n >= LEAST_HITS && n * scale >= least) || (plane === 0 && dense)
        return wanted && enough ? n * scale : 0
      })
      if (hits.some(n => n > 0)) found.push({ ...source, hits })
    }
  }
  const usable = files
    .filter(file => file.program !== true && file.identity.size >= LEAST_FILE && !isProgram(pool, file))
    .slice(0, MOST_FILES)
  for (const candidate of usable) consider(candidate)
  for (const candidate of usable) {
    if (marked.size === 0 || viewed >= MOST_VIEWED) continue
    const file = pool.open(pool.add(candidate))
    if (!file) continue
    viewed++
    const lenses = viewsOf(file, marked, { pause }).map(view => view.lens)
    for (const lens of lenses.filter(name => !OWN_COLUMN.test(name)))
      consider({ ...candidate, lens }, columnsIn(pool, candidate, lens))
    for (const lens of lenses.filter(name => ROWS.test(name))) {
      const integers = lens.replace('-f64', '-i32')
      consider({ ...candidate, lens: integers }, columnsIn(pool, candidate, lens))
    }
  }
  const planes = new Set(worthPlanes(found, totals))
  const sources = found.flatMap(({ hits, ...rest }) => {
    const own = PLANES.flatMap((_, i) => (planes.has(i) && (hits[i + 1] ?? 0) > 0 ? [i] : []))
    const plain = (hits[0] ?? 0) > 0
    const sum = (hits[0] ?? 0) + own.reduce((total, i) => total + (hits[i + 1] ?? 0), 0)
    return plain || own.length > 0 ? [{ ...rest, plain, planes: own, sum }] : []
  })
  return sources.toSorted((a, b) => b.sum - a.sum).slice(0, MOST_SOURCES)
}

/** Whether a file is a program or a library: what memory has in common with those is mostly headers of objects. */
function isProgram(pool: Pool, candidate: Candidate): boolean {
  const head = new Uint8Array(4)
  pool.read(pool.add(candidate), 0, head)
  return head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46
}

/**
 * Planes that are worth their time. Of two whose strides are multiples of each other one is enough, for a row's every
 * column is in the rows too; the larger stride, if it finds nearly as much. A program often puts a row's elements in another order
 * than the file has them (a list that grows frees a block meanwhile, and the next element takes it): then the smaller one has
 * short pieces, and finds an anchor in nearly all of them. A page has fewer anchors of a larger stride, so shares are compared.
 */
function worthPlanes(found: readonly Hits[], totals: readonly number[]): number[] {
  const shares = PLANES.map((_, plane) => {
    const hits = found.reduce((sum, view) => sum + (view.hits[plane + 1] ?? 0), 0)
    return hits / Math.max(1, totals[plane + 1] ?? 0)
  })
  return PLANES.flatMap((one, plane) => {
    const own = shares[plane] ?? 0
    const beaten = PLANES.some((other, i) => {
      if (i === plane || other.width !== one.width) return false
      const theirs = shares[i] ?? 0
      return one.stride % other.stride === 0
        ? own < theirs * ENOUGH
        : other.stride % one.stride === 0 && theirs > 0 && theirs >= own * ENOUGH
    })
    return own > 0 && !beaten ? [plane] : []
  })
}

function elementOf(lens: string | undefined): 1 | 4 | 8 {
  const type = ROWS.exec(lens ?? '')?.[1]
  return type === '64' ? 8 : type === '32' ? 4 : 1
}

/** Columns of a view of rows of numbers; 1 if that is not known, or too many. */
function columnsIn(pool: Pool, candidate: Candidate, lens: string): number {
  const [, , list] = ROWS.exec(lens) ?? []
  if (list !== undefined) return list.split(',').length
  if (!ROWS.test(lens)) return 1
  const bar = lens.lastIndexOf('|')
  const below = bar < 0 ? candidate : { ...candidate, lens: lens.slice(0, bar) }
  const source = pool.open(pool.add(below))
  const kind = source && sniff(source)
  const columns = kind && (kind.delimiter === JSON_TEXT ? rowOfJson(source) : kind.columns)
  return columns !== undefined && columns > 1 && columns <= MOST_COLUMNS ? columns : 1
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

/** Counts what a source hits; by how much that has to be multiplied because only a part of it was read. */
function tryView(source: Source, reader: SourceReader, kernel: PieceKernel, pause: () => void): number {
  kernel.counts.fill(0)
  const { size, align } = source
  const sparse = size > (4 * MIB) / source.step
  const length = sparse ? PIECE : PIECE_BLOCK
  for (let at = 0; at < size; at += sparse ? STRIDE : PIECE_BLOCK) {
    const got = reader.read(source, at, kernel.file.subarray(0, Math.min(length, size - at)))
    kernel.tryFile(got, BITS, align)
    pause()
  }
  return sparse ? STRIDE / PIECE : 1
}
