// The lens of each page, in tables by page: which epochs make it, what is left to add, and the hash of the result.
//
// A piece is a range of bytes of what an epoch left in memory, maybe from another address (the bytes were copied since). Most pages
// have one piece, the whole page of the epoch that wrote it last; it is kept in the table. What the pieces do not make
// right is the residual: runs of bytes to put over them (a gap, a length, the bytes), packed.
import { crc32 } from 'node:zlib'
import { Writer } from '../wasm/bytes.ts'
import type { Packer } from './pack.ts'

export const pageBytes = 4096

/** `length` bytes at `from` in the memory that `epoch` left, to `at` in the page. */
export interface Piece {
  readonly epoch: number
  readonly from: number
  readonly at: number
  readonly length: number
}

export class Lenses {
  readonly #epochs: Uint32Array
  readonly #hashes: Uint32Array
  readonly #pieces = new Map<number, readonly Piece[]>()
  readonly #residuals = new Map<number, Uint8Array>()
  /** Bytes of residuals and of lists of pieces. */
  residualBytes = 0
  pieceBytes = 0
  pages = 0

  readonly #packer: Packer

  constructor(pages: number, packer: Packer) {
    this.#packer = packer
    this.#epochs = new Uint32Array(pages)
    this.#hashes = new Uint32Array(pages)
  }

  has(page: number): boolean {
    return (this.#epochs[page] as number) !== 0
  }

  set(page: number, pieces: readonly Piece[], residual: Uint8Array | undefined, hash: number): void {
    this.delete(page)
    const one = pieces[0] as Piece
    this.#epochs[page] = one.epoch
    this.#hashes[page] = hash
    if (pieces.length > 1 || one.from !== page * pageBytes || one.length !== pageBytes) {
      this.#pieces.set(page, pieces)
      this.pieceBytes += 12 * pieces.length
    }
    if (residual !== undefined) {
      this.#residuals.set(page, residual)
      this.residualBytes += residual.length
    }
    this.pages++
  }

  delete(page: number): void {
    if (!this.has(page)) return
    this.pieceBytes -= 12 * (this.#pieces.get(page)?.length ?? 0)
    this.residualBytes -= this.#residuals.get(page)?.length ?? 0
    this.#pieces.delete(page)
    this.#residuals.delete(page)
    this.#epochs[page] = 0
    this.pages--
  }

  pieces(page: number): readonly Piece[] {
    return this.#pieces.get(page) ?? [whole(page, this.#epochs[page] as number)]
  }

  /** Makes the bytes that the pieces made into the page. Whether it is the page that was proved. */
  finish(page: number, bytes: Uint8Array): boolean {
    const residual = this.#residuals.get(page)
    if (residual !== undefined) putResidual(this.#packer.unpack(residual), bytes)
    return crc32(bytes) === this.#hashes[page]
  }
}

export const whole = (page: number, epoch: number): Piece => ({
  epoch,
  from: page * pageBytes,
  at: 0,
  length: pageBytes,
})

/** A residual that is packed to more than this is not worth it. */
const mostResidual = 1536

/**
 * What turns `made` into `wanted` (both one page): undefined if nothing is missing, null if it would be too much to keep. `quick`: null
 * also where only packing could make it small.
 */
export function residualOf(
  made: Uint8Array,
  wanted: Uint8Array,
  packer: Packer,
  quick: boolean,
): Uint8Array | undefined | null {
  if (Buffer.compare(made, wanted) === 0) return undefined
  const w = new Writer(512)
  let end = 0
  for (let i = 0; i < pageBytes; i++) {
    if (made[i] === wanted[i]) continue
    const start = i
    // A gap of up to three equal bytes costs more than it saves.
    let last = i
    for (i++; i < pageBytes && i - last <= 3; i++) if (made[i] !== wanted[i]) last = i
    i = last
    w.u32(start - end)
    w.u32(last + 1 - start)
    w.bytes(wanted, start, last + 1)
    end = last + 1
    if (quick && w.length > mostResidual) return null
  }
  const packed = packer.pack(w.view())
  return packed.length > mostResidual ? null : packed
}

function putResidual(runs: Uint8Array, bytes: Uint8Array): void {
  let i = 0
  const next = (): number => {
    const low = runs[i++] as number
    return low < 128 ? low : (low & 127) + 128 * (runs[i++] as number)
  }
  for (let at = 0; i < runs.length; ) {
    at += next()
    const length = next()
    bytes.set(runs.subarray(i, i + length), at)
    i += length
    at += length
  }
}
