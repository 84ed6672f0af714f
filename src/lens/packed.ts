/**
 * Packed memory: the last resort for cold pages that no file explains. A *pack* is a file that Lethe writes once, of
 * compressed cells; the lens 'packed' makes the pages of it again.
 *
 *   0 "LETHEPCK" · 8 u32 version · 12 u32 cells · 16 f64 position of the table · 24 u32 crc of the table · 28 zeros · 64 blobs…
 *   table: u32 length of each blob
 *
 * A cell is 16 KiB of memory: four pages compress a fifth better than one, and take no longer to make again than a
 * page fault does. Its blob is a zstd frame with a checksum, so what is damaged is an error, never wrong bytes.
 * Tried on what Python's json.load and csv.reader and Node's JSON.parse hold (12.2, 13.5, 17.5 % at level 3), and not worth it: a dictionary of
 * 16 to 110 KiB of the memory (11.5, 13.6, 17.9 %, and slower), cells of 64 KiB (11.1, 13.6, 18.1 %), level 9 (11.3, 12.1, 17.8 %, five times the CPU).
 */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Backing } from '../backing/backing.ts'
import { LensError } from './errors.ts'
import type { Lens } from './lens.ts'

const MAGIC = 'LETHEPCK'
const VERSION = 1
const HEADER = 64
/** Bytes of memory in a cell. */
export const CELL = 16384
const LEVEL = 3
/** A blob must be smaller than this share of its cell: else it is not worth its faults. */
const WORTH = 0.6

const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 }

/** Writes a pack. Nothing is at `path` before `commit`. */
export class PackWriter {
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

  /**
   * Adds a cell of 1 to 4 pages; its position in what the lens makes, or undefined if they compress poorly. Throws the
   * file system's error.
   */
  add(pages: Uint8Array): number | undefined {
    const blob = zstdCompressSync(pages, { params })
    if (blob.length > WORTH * pages.length) return undefined
    for (let done = 0; done < blob.length; )
      done += writeSync(this.#descriptor, blob, done, blob.length - done, HEADER + this.bytes + done)
    this.bytes += blob.length
    return CELL * (this.#lengths.push(blob.length) - 1)
  }

  /** Puts the pack in its place. */
  commit(): void {
    const table = new Uint8Array(Uint32Array.from(this.#lengths).buffer)
    writeSync(this.#descriptor, table, 0, table.length, HEADER + this.bytes)
    const header = Buffer.alloc(HEADER)
    header.write(MAGIC, 'latin1')
    header.writeUInt32LE(VERSION, 8)
    header.writeUInt32LE(this.#lengths.length, 12)
    header.writeDoubleLE(HEADER + this.bytes, 16)
    header.writeUInt32LE(crc32(table), 24)
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

/** What is known of an open pack: where each blob begins (and the last one ends), and the cell that was made last. */
interface Pack {
  readonly positions: Float64Array
  cell: number
  bytes: Uint8Array
}

const packs = new WeakMap<Backing, Pack>()

function packOf(backing: Backing): Pack {
  let pack = packs.get(backing)
  if (!pack) {
    pack = { positions: readTable(backing), cell: -1, bytes: new Uint8Array(0) }
    packs.set(backing, pack)
  }
  return pack
}

function readTable(backing: Backing): Float64Array {
  const corrupt = (why: string): LensError => new LensError('corrupt', 'packed', why)
  const header = Buffer.alloc(HEADER)
  if (backing.read(0, header) !== HEADER || header.toString('latin1', 0, 8) !== MAGIC)
    throw corrupt('this is not a pack')
  if (header.readUInt32LE(8) !== VERSION)
    throw new LensError('unsupported', 'packed', 'a pack of another version')
  const cells = header.readUInt32LE(12)
  const at = header.readDoubleLE(16)
  const table = new Uint8Array(cells * 4)
  if (at + table.length !== backing.size || backing.read(at, table) !== table.length)
    throw corrupt('the pack is cut short')
  if (crc32(table) !== header.readUInt32LE(24)) throw corrupt('the table of the pack is damaged')
  const lengths = new Uint32Array(table.buffer)
  const positions = new Float64Array(cells + 1)
  positions[0] = HEADER
  for (let i = 0; i < cells; i++) positions[i + 1] = (positions[i] ?? 0) + (lengths[i] ?? 0)
  if (positions[cells] !== at) throw corrupt('the table of the pack is damaged')
  return positions
}

function cellOf(backing: Backing, pack: Pack, cell: number): Uint8Array {
  if (pack.cell === cell) return pack.bytes
  const from = pack.positions[cell] ?? 0
  const blob = new Uint8Array((pack.positions[cell + 1] ?? 0) - from)
  if (backing.read(from, blob) !== blob.length)
    throw new LensError('io', 'packed', 'the pack could not be read', from)
  try {
    pack.bytes = zstdDecompressSync(blob)
  } catch (error) {
    pack.cell = -1
    throw new LensError('corrupt', 'packed', 'a cell of the pack is damaged', from, error)
  }
  pack.cell = cell
  return pack.bytes
}

function size(backing: Backing): number {
  return (packOf(backing).positions.length - 1) * CELL
}

function get(backing: Backing, at: number, out: Uint8Array): void {
  if (at < 0) throw new LensError('range', 'packed', `invalid position ${at}`)
  const pack = packOf(backing)
  const cells = pack.positions.length - 1
  for (let done = 0; done < out.length; ) {
    const cell = Math.floor((at + done) / CELL)
    if (cell >= cells) {
      out.fill(0, done)
      return
    }
    const inside = (at + done) % CELL
    const length = Math.min(out.length - done, CELL - inside)
    const bytes = cellOf(backing, pack, cell).subarray(inside, inside + length)
    out.set(bytes, done)
    out.fill(0, done + bytes.length, done + length)
    done += length
  }
}

/** Makes memory of a pack. */
export const packed: Lens = { name: 'packed', size, get }

export function packedNamed(name: string): Lens | undefined {
  return name === 'packed' ? packed : undefined
}
