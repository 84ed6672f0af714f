/**
 * Fills the kernel's index from a batch of candidate files.
 *
 * Files lie one after another in the index's positions, with a gap of two pages between, so that no page seems to lie
 * in two files. A *full* batch samples all bytes; a *sparse* one 64 KiB of every MiB: enough to find every
 * long copy, at a sixteenth of the work. How many anchors are kept (the level) follows from the batch's
 * size, so that the table stays below TABLE_LIMIT; if it still fills up, the batch is made again, coarser.
 */
import { BLOCK, OVERLAP, RECORD, type SearchKernel } from '../kernels/index.ts'
import type { IndexCache } from './index-cache.ts'
import type { Pool } from './pool.ts'

const PAGE = 4096
const GAP = 2 * PAGE
const MIB = 2 ** 20
const PIECE = 65536
const TABLE_LIMIT = 112 * MIB
const CACHE_FROM = 4 * MIB
/** Up to this many anchors a batch is sampled with the finest rule. */
const FINE_ANCHORS = 2 ** 20
const MOST_ANCHORS = 8 * 2 ** 20

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
      sampled += batch.sparse && size > 4 * MIB ? size / 16 : size
    }
    this.#bases[files.length] = position
    let level = levelFor(sampled)
    while (!this.#fill(batch, level, sampled)) level++
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

  #fill(batch: Batch, level: number, sampled: number): boolean {
    const expected = sampled / 256 / 2 ** level
    const slots = Math.min(TABLE_LIMIT / 8, Math.max(65536, Math.ceil(expected * 2)))
    this.#kernel.reset(slots, level)
    for (const [i, file] of batch.files.entries()) {
      const base = this.#bases[i] ?? 0
      const size = this.#pool.size(file)
      if (batch.sparse && size > 4 * MIB) {
        for (let at = 0; at < size; at += MIB) this.#range(file, at, Math.min(size, at + PIECE), size, base, level)
      } else {
        this.#whole(file, size, base, level)
      }
      if (this.#kernel.full) return false
    }
    return true
  }

  #whole(file: number, size: number, base: number, level: number): void {
    this.#kernel.beginFile()
    const identity = this.#pool.candidates[file]?.identity
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

/** The finest level up to a quarter GiB, then coarser by and by; always few enough anchors for the table. */
function levelFor(bytes: number): number {
  const anchors = bytes / 256
  if (anchors <= FINE_ANCHORS) return 0
  if (anchors <= 4 * FINE_ANCHORS) return 1
  return Math.max(2, Math.ceil(Math.log2(anchors / MOST_ANCHORS)))
}
