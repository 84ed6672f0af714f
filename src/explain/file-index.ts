/**
 * Fills the kernel's index from a batch of candidate files.
 *
 * Files lie one after another in the index's positions, with a gap of two pages between, so that no page seems to lie
 * in two files. A *full* batch samples all bytes; a *sparse* one 64 KiB of every MiB: enough to find every long
 * copy, at a sixteenth of the work. Of large programs and libraries a full batch samples 64 KiB of every 256 KiB.
 *
 * How many anchors are kept (the level) follows from the batch's size, so that the table stays below 112 MB; if it fills
 * up, the batch is made again with a larger table, then coarser.
 */
import { BLOCK, OVERLAP, RECORD, type SearchKernel } from '../kernels/index.ts'
import type { Sampling } from './extents.ts'
import type { IndexCache } from './index-cache.ts'
import type { Pool } from './pool.ts'

const PAGE = 4096
const GAP = 2 * PAGE
const MIB = 2 ** 20
const PIECE = 65536
/** What a sparse batch looks at. */
export const SPARSE_SAMPLING: Sampling = { pages: PIECE / PAGE, every: MIB / PAGE }
const MOST_SLOTS = 14 * MIB
const CACHE_FROM = 4 * MIB
const MOST_ANCHORS = 8 * 2 ** 20

/** Whether a sparse batch samples all of a file of so many bytes. */
export function isSampledWhole(bytes: number): boolean {
  return bytes <= 4 * MIB
}

export interface Batch {
  readonly files: readonly number[]
  readonly sparse: boolean
}

export class FileIndex {
  readonly #kernel: SearchKernel
  readonly #pool: Pool
  readonly #cache: IndexCache | undefined
  readonly #pause: () => void
  #files: readonly number[] = []
  #bases: Float64Array = new Float64Array(0)
  /** Bytes of files that were read. */
  bytesRead = 0

  constructor(kernel: SearchKernel, pool: Pool, cache: IndexCache | undefined, pause: () => void) {
    this.#kernel = kernel
    this.#pool = pool
    this.#cache = cache
    this.#pause = pause
  }

  build(batch: Batch): void {
    const { files } = batch
    this.#files = files
    this.#bases = new Float64Array(files.length + 1)
    let position = GAP
    let sampled = 0
    for (const [i, file] of files.entries()) {
      this.#bases[i] = position
      const size = this.#pool.size(file)
      position += size + GAP
      sampled += (size * PIECE) / this.#stride(file, batch.sparse)
    }
    this.#bases[files.length] = position
    let level = levelFor(sampled)
    let slots = Math.min(MOST_SLOTS, Math.max(65536, Math.ceil((sampled / 256 / 2 ** level) * 2)))
    while (!this.#fill(batch, level, slots)) {
      if (slots === MOST_SLOTS) level++
      else slots = Math.min(MOST_SLOTS, slots * 4)
    }
  }

  /** The file (an index of the pool) and the offset in it of a position, where a whole page fits. */
  locate(place: number): { file: number; offset: number } | undefined {
    let low = 0
    let high = this.#files.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#bases[middle + 1] ?? 0) <= place) low = middle + 1
      else high = middle
    }
    const file = this.#files[low]
    if (file === undefined) return undefined
    const offset = place - (this.#bases[low] ?? 0)
    if (offset < 0 || offset + PAGE > this.#pool.size(file)) return undefined
    return { file, offset }
  }

  #fill(batch: Batch, level: number, slots: number): boolean {
    this.#kernel.reset(slots, level)
    for (const [i, file] of batch.files.entries()) {
      const base = this.#bases[i] ?? 0
      const size = this.#pool.size(file)
      const stride = this.#stride(file, batch.sparse)
      if (stride > PIECE) {
        for (let at = 0; at < size; at += stride)
          this.#range(file, at, Math.min(size, at + PIECE), size, base, level)
      } else {
        this.#whole(file, size, base, level)
      }
      if (this.#kernel.full) return false
    }
    return true
  }

  /** A PIECE is sampled every so many bytes. */
  #stride(file: number, sparse: boolean): number {
    if (isSampledWhole(this.#pool.size(file))) return PIECE
    if (sparse) return MIB
    return this.#pool.candidates[file]?.program ? 4 * PIECE : PIECE
  }

  #whole(file: number, size: number, base: number, level: number): void {
    this.#kernel.beginFile()
    const identity = this.#pool.identity(file)
    const cache = size >= CACHE_FROM ? this.#cache : undefined
    if (cache && identity) {
      const most = this.#kernel.mostRecords * RECORD
      const insert = (records: Uint8Array): void => {
        this.#kernel.insert(records, base)
        this.#pause()
      }
      if (cache.load(identity, level, most, insert)) return
    }
    const writer = identity ? cache?.store(identity, level) : undefined
    const whole = this.#range(file, 0, size, size, base, level, records => writer?.append(records))
    if (whole) writer?.commit()
    else writer?.abandon()
  }

  /** Indexes the anchors whose 32 bytes begin in [from, to) and end in the file. False if the file got shorter. */
  #range(
    file: number,
    from: number,
    to: number,
    size: number,
    base: number,
    level: number,
    took?: (records: Uint8Array) => void,
  ): boolean {
    const kernel = this.#kernel
    if (!took) kernel.beginFile()
    for (let at = from; at < to; at += BLOCK) {
      const wanted = Math.min(BLOCK + OVERLAP, size - at)
      const got = this.#pool.read(file, at, kernel.file.subarray(0, wanted))
      this.bytesRead += got
      const positions = Math.min(BLOCK, to - at, got - OVERLAP)
      if (positions > 0 && !kernel.fileIsZero(got)) {
        const records = kernel.sampleFile(positions, at, level)
        took?.(records)
        kernel.insert(records, base)
        if (kernel.full) return false
      }
      if (got < wanted) return false
      this.#pause()
    }
    return true
  }
}

/**
 * At level 1 a page has eight anchors on average and practically always one, at level 2 four. A run of pages is found by
 * any of them, so what a coarser level misses are single pages.
 */
function levelFor(bytes: number): number {
  if (bytes <= 32 * MIB) return 0
  if (bytes <= 1024 * MIB) return 1
  return Math.max(2, Math.ceil(Math.log2(bytes / 256 / MOST_ANCHORS)))
}
