/**
 * Recipes for what no file explains page by page: parts of files between headers, numbers in objects, pointers that count.
 *
 * A page that stands in memory several times needs one recipe; where nothing else makes it, its bytes are kept once.
 *
 * Written to a recipe file (src/lens/recipe.ts) that the pages then depend on, with all its sources. A page is taken only if
 * most of it is made of something; a cell of pages only if what has to be kept for it is a quarter of it at most, and
 * clearly less than what compression alone would leave. Like every explanation this is a guess, for the target runs.
 */
import { randomInt } from 'node:crypto'
import { statSync } from 'node:fs'
import { constants, zstdCompressSync } from 'node:zlib'
import { identityOf } from '../backing/file.ts'
import { PIECE_PAGES, PieceKernel } from '../kernels/pieces.ts'
import { CELL_PAGES, compressCell, type KeptPage, RecipeWriter } from '../lens/recipe.ts'
import { ProgramWriter } from '../lens/recipe-program.ts'
import type { IndexStore } from '../lens/lens.ts'
import type { Run } from '../process/pagemap.ts'
import type { MemorySource } from '../process/snapshot.ts'
import type { Extent } from './extents.ts'
import { PieceFinder } from './pieces.ts'
import { type Candidate, Pool } from './pool.ts'
import { sourcesOf } from './trial.ts'

const PAGE = 4096
/** Bytes that a page may leave to be kept, before compression: the more of it pieces of files make, up to MOST_KEPT. */
const MOST_KEPT = 2304
const MOST_KEPT_ALONE = 1280
const KEPT_FOR_COPIED = 1.25
/** Fewer pages are not worth a file. */
const LEAST_PAGES = 64
/** A cell's blob must be smaller than this share of its pages, and of what zstd makes of them. */
const WORTH = 0.25
const BETTER = 0.75
/** Its quickest level, which leaves a tenth more than the usual one. */
const QUICK = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }
/** Below this share it is taken without asking zstd. */
const SURE = 0.06
/** A page whose recipe is not written, or not yet. */
const NOWHERE = -1

export interface RecipeOptions {
  /** Where the recipe file is to be. */
  readonly path: string
  /** Bytes that it may have. */
  readonly most: number
  readonly store?: IndexStore
  readonly pause?: () => void
}

export interface Recipes {
  /** What the programs read, in the order of their numbers, then the recipe file; nothing if there is no recipe. */
  readonly candidates: readonly Candidate[]
  /** `backing` is the recipe file's index in `candidates`. */
  readonly extents: readonly Extent[]
  /** Pages looked at. */
  readonly pages: number
}

/** A page that waits for its cell to be full. */
interface Waiting extends KeptPage {
  readonly address: number
  readonly bytes: Uint8Array
  /** The hash by which its copies know it, and how often it stands in memory. */
  readonly hash: bigint
  readonly copies: number
}

/** Looks for recipes for the pages of `runs` from these files. */
export function findRecipes(
  memory: MemorySource,
  runs: readonly Run[],
  files: readonly Candidate[],
  options: RecipeOptions,
): Recipes {
  const pause = options.pause ?? ((): void => undefined)
  const pool = new Pool(options.store, pause)
  const writer = new RecipeWriter(options.path)
  try {
    const kernel = new PieceKernel()
    const sources = sourcesOf(memory, runs, files, pool, kernel, pause)
    const views = [...new Set(sources.map(source => source.index))]
    const finder = new PieceFinder(sources, views, pool, kernel, pause)
    const cook = new Cook(memory, kernel, finder, writer, options.most)
    cook.count(runs, pause)
    for (const run of runs) cook.run(run, pause)
    cook.finish()
    const pages = runs.reduce((sum, run) => sum + run.pages, 0)
    if (cook.extents.reduce((sum, extent) => sum + extent.pages, 0) < LEAST_PAGES) {
      writer.abandon()
      return { candidates: [], extents: [], pages }
    }
    writer.commit(views.length)
    const file: Candidate = {
      path: options.path,
      openPath: options.path,
      identity: identityOf(statSync(options.path, { bigint: true })),
      how: 'pieces',
      lens: 'recipe',
    }
    const extents = cook.extents.map(extent => ({ ...extent, backing: views.length }))
    const used = views.flatMap(index => pool.candidates[index] ?? [])
    return { candidates: [...used, file], extents, pages }
  } catch (error) {
    writer.abandon()
    throw error
  } finally {
    pool.close()
  }
}

class Cook {
  readonly extents: { start: number; pages: number; offset: number }[] = []
  readonly #memory: MemorySource
  readonly #kernel: PieceKernel
  readonly #finder: PieceFinder
  readonly #writer: RecipeWriter
  readonly #most: number
  readonly #programs = new ProgramWriter()
  readonly #key = randomInt(2 ** 32)
  /** How often pages stand in memory that do so more than once, by their hashes. */
  readonly #counts = new Map<bigint, number>()
  /** Where the pages that stand there more than once have been written. */
  readonly #places = new Map<bigint, number>()
  readonly #others: { readonly address: number; readonly hash: bigint }[] = []
  #cell: Waiting[] = []

  constructor(
    memory: MemorySource,
    kernel: PieceKernel,
    finder: PieceFinder,
    writer: RecipeWriter,
    most: number,
  ) {
    this.#memory = memory
    this.#kernel = kernel
    this.#finder = finder
    this.#writer = writer
    this.#most = most
  }

  /** Counts the pages that stand in memory more than once. */
  count(runs: readonly Run[], pause: () => void): void {
    const hashes = new BigUint64Array(runs.reduce((sum, run) => sum + run.pages, 0))
    let n = 0
    for (const run of runs)
      this.#each(run, pause, page => {
        hashes[n++] = this.#kernel.hash(page, this.#key)
      })
    const sorted = hashes.subarray(0, n).sort()
    for (let i = 1; i < n; i++) {
      const hash = sorted[i] ?? 0n
      if (hash === sorted[i - 1]) this.#counts.set(hash, (this.#counts.get(hash) ?? 1) + 1)
    }
  }

  /** Looks for recipes for the pages of a run. */
  run(run: Run, pause: () => void): void {
    this.#each(run, pause, (page, address) => {
      if (this.#writer.bytes < this.#most) this.#page(page, address)
    })
  }

  #each(run: Run, pause: () => void, look: (page: number, address: number) => void): void {
    const kernel = this.#kernel
    for (let at = 0; at < run.pages; ) {
      const start = run.start + at * PAGE
      const wanted = Math.min(PIECE_PAGES, run.pages - at)
      const got = Math.floor(this.#memory.read(start, kernel.memory.subarray(0, wanted * PAGE)) / PAGE)
      for (let i = 0; i < got; i++) if (!kernel.isZero(i)) look(i, start + i * PAGE)
      at += Math.max(1, got)
      pause()
    }
  }

  #page(number: number, address: number): void {
    const kernel = this.#kernel
    const hash = kernel.hash(number, this.#key)
    const copies = this.#counts.get(hash) ?? 1
    if (copies > 1) {
      // The first one stands for all.
      if (this.#places.has(hash)) {
        this.#others.push({ address, hash })
        return
      }
      this.#places.set(hash, NOWHERE)
    }
    const bytes = kernel.memory.subarray(number * PAGE, (number + 1) * PAGE)
    const steps = this.#finder.steps(number)
    const program = this.#programs.program(steps)
    const { bytes: literals, notZero } = kernel.leftOver(number)
    let copied = 0
    for (const step of steps)
      copied += step.kind === 'copy' ? step.length : step.kind === 'strided' ? step.count * step.width : 0
    const most = Math.min(MOST_KEPT, MOST_KEPT_ALONE + KEPT_FOR_COPIED * copied)
    const kept = program && program.length + notZero <= most * copies
    if (!kept && copies === 1) return
    this.#cell.push({
      address,
      hash,
      copies,
      bytes: bytes.slice(),
      program: kept ? program.slice() : new Uint8Array(0),
      literals: kept ? literals.slice() : bytes.slice(),
    })
    if (this.#cell.length === CELL_PAGES) this.#write()
  }

  /** Writes the cell that waits, if it is worth that. */
  #write(): void {
    const cell = this.#cell
    this.#cell = []
    if (cell.length === 0) return
    const blob = compressCell(cell)
    const size = PAGE * cell.reduce((sum, page) => sum + page.copies, 0)
    if (blob.length > WORTH * size) return
    if (blob.length > SURE * size) {
      const alone = zstdCompressSync(Buffer.concat(cell.map(page => page.bytes)), QUICK).length
      if (blob.length > BETTER * alone * (size / (PAGE * cell.length))) return
    }
    const offset = this.#writer.add(blob)
    for (const [i, { address, hash, copies }] of cell.entries()) {
      this.#add(address, offset + i * PAGE)
      if (copies > 1) this.#places.set(hash, offset + i * PAGE)
    }
  }

  /** Writes what waits still, and says where the other copies of pages are. */
  finish(): void {
    this.#write()
    for (const { address, hash } of this.#others) {
      const place = this.#places.get(hash) ?? NOWHERE
      if (place !== NOWHERE) this.#add(address, place)
    }
  }

  #add(address: number, place: number): void {
    const last = this.extents.at(-1)
    if (last && last.start + last.pages * PAGE === address && last.offset + last.pages * PAGE === place)
      last.pages++
    else this.extents.push({ start: address, pages: 1, offset: place })
  }
}
