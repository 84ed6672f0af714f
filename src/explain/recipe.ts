/**
 * Recipes for what no file explains page by page: parts of files between headers, numbers in objects, pointers that count.
 *
 * Written to a recipe file (src/lens/recipe.ts) that the pages then depend on, with all its sources. A page is taken only if
 * most of it is made of something; a cell of pages only if what has to be kept for it is a quarter of it at most, and
 * clearly less than what compression alone would leave. Like every explanation this is a guess, for the target runs.
 */
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
/** Bytes that a page may leave to be kept, before compression: much of it if pieces of files make the rest. */
const MOST_KEPT = 2304
const MOST_KEPT_ALONE = 1024
const LEAST_COPIED = 1024
/** A cell's blob must be smaller than this share of its pages, and of what zstd makes of them. */
const WORTH = 0.25
const BETTER = 0.75
/** Its quickest level, which leaves a tenth more than the usual one. */
const QUICK = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }
/** Below this share it is taken without asking zstd. */
const SURE = 0.06

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
    for (const run of runs) cook.run(run, pause)
    cook.finish()
    const pages = runs.reduce((sum, run) => sum + run.pages, 0)
    if (cook.extents.length === 0) {
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

  run(run: Run, pause: () => void): void {
    const kernel = this.#kernel
    for (let at = 0; at < run.pages && this.#writer.bytes < this.#most; ) {
      const start = run.start + at * PAGE
      const wanted = Math.min(PIECE_PAGES, run.pages - at)
      const got = Math.floor(this.#memory.read(start, kernel.memory.subarray(0, wanted * PAGE)) / PAGE)
      for (let i = 0; i < got; i++) if (!kernel.isZero(i)) this.#page(i, start + i * PAGE)
      at += Math.max(1, got)
      pause()
    }
  }

  #page(number: number, address: number): void {
    const kernel = this.#kernel
    const steps = this.#finder.steps(number)
    const bytes = kernel.memory.subarray(number * PAGE, (number + 1) * PAGE)
    const program = this.#programs.program(steps)
    if (!program) return
    const { bytes: literals, notZero } = kernel.leftOver(number)
    const kept = program.length + notZero
    let copied = 0
    for (const step of steps)
      copied += step.kind === 'copy' ? step.length : step.kind === 'strided' ? step.count * step.width : 0
    if (kept > (copied >= LEAST_COPIED ? MOST_KEPT : MOST_KEPT_ALONE)) return
    this.#cell.push({
      address,
      bytes: bytes.slice(),
      program: program.slice(),
      literals: literals.slice(),
    })
    if (this.#cell.length === CELL_PAGES) this.finish()
  }

  /** Writes the cell that is not full yet, if it is worth that. */
  finish(): void {
    const cell = this.#cell
    this.#cell = []
    if (cell.length === 0) return
    const blob = compressCell(cell)
    const size = PAGE * cell.length
    if (blob.length > WORTH * size) return
    const bytes = cell.map(page => page.bytes)
    if (
      blob.length > SURE * size &&
      blob.length > BETTER * zstdCompressSync(Buffer.concat(bytes), QUICK).length
    )
      return
    const offset = this.#writer.add(blob)
    for (const [i, { address }] of cell.entries()) {
      const last = this.extents.at(-1)
      const place = offset + i * PAGE
      if (last && last.start + last.pages * PAGE === address && last.offset + last.pages * PAGE === place)
        last.pages++
      else this.extents.push({ start: address, pages: 1, offset: place })
    }
  }
}
