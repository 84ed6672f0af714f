/**
 * Recipes: pages that are made of pieces. A *recipe file* is written once by Lethe, of cells of 16 pages; the lens made by
 * `recipe(sources)` makes the pages again, from the file and from the *sources* that the programs in it name by number.
 *
 *   0 "LETHERCP" · 8 u32 version · 12 u32 cells · 16 f64 position of the table · 24 u32 crc of the table ·
 *   28 u32 sources · 32 zeros · 64 blobs…
 *   table: u32 length of each blob
 *   blob, a zstd frame with a checksum: 16 × (u16 bytes of program · u16 of literals) · programs · literals
 *
 * Page p of cell c stands at (16 c + p) × 4096 of what the lens makes. What the programs mean: src/lens/recipe-program.ts.
 * Whoever depends on a page depends on the file and on every source: the lens says nothing of which are right; who
 * opens them compares their identities, and the pages with memory.
 */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'
import { ProgramRunner } from './recipe-program.ts'

const PAGE = 4096
const MAGIC = 'LETHERCP'
const VERSION = 1
const HEADER = 64
/** Pages of a cell. */
export const CELL_PAGES = 16
const SIZES = CELL_PAGES * 4
/** Pieces are short and lie near each other: sources are read in parts of this many bytes, so many of them kept. */
const PART = 16_384
const MOST_PARTS = 16

const params = { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 }

/** A page as it is kept. */
export interface KeptPage {
  readonly program: Uint8Array
  readonly literals: Uint8Array
}

/** The blob of up to 16 pages. */
export function compressCell(pages: readonly KeptPage[]): Buffer {
  const sizes = Buffer.alloc(SIZES)
  for (const [i, { program, literals }] of pages.entries()) {
    sizes.writeUInt16LE(program.length, 4 * i)
    sizes.writeUInt16LE(literals.length, 4 * i + 2)
  }
  const all = [sizes, ...pages.map(page => page.program), ...pages.map(page => page.literals)]
  return zstdCompressSync(Buffer.concat(all), { params })
}

/** Writes a recipe file. Nothing is at `path` before `commit`. */
export class RecipeWriter {
  readonly path: string
  /** Bytes of blobs so far. */
  bytes = 0
  readonly #part: string
  readonly #lengths: number[] = []
  #descriptor: number

  /** Throws the file system's error if the file can't be made. */
  constructor(path: string) {
    this.path = path
    this.#part = `${path}.part`
    this.#descriptor = openSync(this.#part, 'w', 0o600)
  }

  /** Adds a cell; its position in what the lens makes. Throws the file system's error. */
  add(blob: Uint8Array): number {
    for (let done = 0; done < blob.length; )
      done += writeSync(this.#descriptor, blob, done, blob.length - done, HEADER + this.bytes + done)
    this.bytes += blob.length
    return CELL_PAGES * PAGE * (this.#lengths.push(blob.length) - 1)
  }

  /** Puts the file in its place. */
  commit(sources: number): void {
    const table = new Uint8Array(Uint32Array.from(this.#lengths).buffer)
    writeSync(this.#descriptor, table, 0, table.length, HEADER + this.bytes)
    const header = Buffer.alloc(HEADER)
    header.write(MAGIC, 'latin1')
    header.writeUInt32LE(VERSION, 8)
    header.writeUInt32LE(this.#lengths.length, 12)
    header.writeDoubleLE(HEADER + this.bytes, 16)
    header.writeUInt32LE(crc32(table), 24)
    header.writeUInt32LE(sources, 28)
    writeSync(this.#descriptor, header, 0, HEADER, 0)
    closeSync(this.#descriptor)
    this.#descriptor = -1
    renameSync(this.#part, this.path)
  }

  abandon(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor)
    this.#descriptor = -1
    rmSync(this.#part, { force: true })
  }
}

/** What is known of an open recipe file: where each blob begins (and the last one ends), and the cell read last. */
interface Opened {
  readonly positions: Float64Array
  cell: number
  bytes: Uint8Array
}

function open(backing: Backing, sources: number): Opened {
  const corrupt = (why: string): LensError => new LensError('corrupt', 'recipe', why)
  const header = Buffer.alloc(HEADER)
  if (backing.read(0, header) !== HEADER || header.toString('latin1', 0, 8) !== MAGIC)
    throw corrupt('this is not a recipe file')
  if (header.readUInt32LE(8) !== VERSION)
    throw new LensError('unsupported', 'recipe', 'a recipe file of another version')
  if (header.readUInt32LE(28) !== sources)
    throw corrupt(`the recipe has ${header.readUInt32LE(28)} sources, not ${sources}`)
  const cells = header.readUInt32LE(12)
  const at = header.readDoubleLE(16)
  const table = new Uint8Array(cells * 4)
  if (at + table.length !== backing.size || backing.read(at, table) !== table.length)
    throw corrupt('the recipe file is cut short')
  if (crc32(table) !== header.readUInt32LE(24)) throw corrupt('the table of the recipe file is damaged')
  const lengths = new Uint32Array(table.buffer)
  const positions = new Float64Array(cells + 1)
  positions[0] = HEADER
  for (let i = 0; i < cells; i++) positions[i + 1] = (positions[i] ?? 0) + (lengths[i] ?? 0)
  if (positions[cells] !== at) throw corrupt('the table of the recipe file is damaged')
  return { positions, cell: -1, bytes: new Uint8Array(0) }
}

/** Reads sources in parts, of which the last ones are kept: their bytes stay what they are while somebody depends on them. */
class Parts {
  readonly #sources: readonly Backing[]
  readonly #kept = new Map<number, Uint8Array>()

  constructor(sources: readonly Backing[]) {
    this.#sources = sources
  }

  readonly read = (source: number, offset: number, into: Uint8Array): void => {
    const backing = this.#sources[source]
    if (!backing) throw new LensError('corrupt', 'recipe', `it has no source ${source}`)
    if (offset + into.length > backing.size)
      throw new LensError('corrupt', 'recipe', `source ${source} has ${backing.size} bytes`, offset)
    for (let done = 0; done < into.length; ) {
      const number = Math.floor((offset + done) / PART)
      const part = this.#part(backing, source, number)
      const bytes = part.subarray(offset + done - number * PART).subarray(0, into.length - done)
      if (bytes.length === 0)
        throw new LensError('io', 'recipe', `source ${source} gave too few bytes`, offset + done)
      into.set(bytes, done)
      done += bytes.length
    }
  }

  #part(backing: Backing, source: number, number: number): Uint8Array {
    const key = source * 2 ** 32 + number
    let part = this.#kept.get(key)
    if (part) {
      this.#kept.delete(key)
      this.#kept.set(key, part)
      return part
    }
    // The room of the part that was used longest ago.
    let room: Uint8Array | undefined
    if (this.#kept.size >= MOST_PARTS)
      for (const [oldest, bytes] of this.#kept) {
        this.#kept.delete(oldest)
        room = new Uint8Array(bytes.buffer)
        break
      }
    part = room ?? new Uint8Array(PART)
    part = part.subarray(0, backing.read(number * PART, part))
    this.#kept.set(key, part)
    return part
  }
}

/** Makes memory of a recipe file and these sources, in the order in which its programs number them. */
export function recipe(sources: readonly Backing[]): Lens {
  const known = new WeakMap<Backing, Opened>()
  const runner = new ProgramRunner()
  const parts = new Parts(sources)
  const page = new Uint8Array(PAGE)

  function opened(backing: Backing): Opened {
    let one = known.get(backing)
    if (!one) {
      one = open(backing, sources.length)
      known.set(backing, one)
    }
    return one
  }

  function cellOf(backing: Backing, one: Opened, cell: number): Uint8Array {
    if (one.cell === cell) return one.bytes
    const from = one.positions[cell] ?? 0
    const blob = new Uint8Array((one.positions[cell + 1] ?? 0) - from)
    if (backing.read(from, blob) !== blob.length)
      throw new LensError('io', 'recipe', 'the recipe file could not be read', from)
    one.cell = -1
    try {
      one.bytes = zstdDecompressSync(blob)
    } catch (error) {
      throw new LensError('corrupt', 'recipe', 'a cell of the recipe file is damaged', from, error)
    }
    if (one.bytes.length < SIZES)
      throw new LensError('corrupt', 'recipe', 'a cell of the recipe file is damaged', from)
    one.cell = cell
    return one.bytes
  }

  /** Makes page `number` of a cell; a page that it does not have is zeros. */
  function make(cell: Uint8Array, number: number, out: Uint8Array): void {
    const sizes = new DataView(cell.buffer, cell.byteOffset, SIZES)
    let program = SIZES
    let literals = SIZES
    for (let i = 0; i < CELL_PAGES; i++) {
      if (i < number) program += sizes.getUint16(4 * i, true)
      literals += sizes.getUint16(4 * i, true)
    }
    for (let i = 0; i < number; i++) literals += sizes.getUint16(4 * i + 2, true)
    const length = sizes.getUint16(4 * number, true)
    const rest = sizes.getUint16(4 * number + 2, true)
    if (length + rest === 0) out.fill(0)
    else
      runner.run(
        cell.subarray(program, program + length),
        cell.subarray(literals, literals + rest),
        parts.read,
        out,
      )
  }

  function get(backing: Backing, at: number, out: Uint8Array): void {
    if (at < 0) throw new LensError('range', 'recipe', `invalid position ${at}`)
    const one = opened(backing)
    const cells = one.positions.length - 1
    for (let done = 0; done < out.length; ) {
      const number = Math.floor((at + done) / PAGE)
      const inside = (at + done) % PAGE
      const length = Math.min(out.length - done, PAGE - inside)
      const to = out.subarray(done, done + length)
      const cell = Math.floor(number / CELL_PAGES)
      if (cell >= cells) {
        out.fill(0, done)
        return
      }
      const bytes = cellOf(backing, one, cell)
      if (length === PAGE) make(bytes, number % CELL_PAGES, to)
      else {
        make(bytes, number % CELL_PAGES, page)
        to.set(page.subarray(inside, inside + length))
      }
      done += length
    }
  }

  return {
    name: 'recipe',
    size: backing => (opened(backing).positions.length - 1) * CELL_PAGES * PAGE,
    get,
  }
}
