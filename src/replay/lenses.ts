// The lens of each page, in tables by page: which epochs make it, what is left to add, and the hash of the result.
//
// A piece is a range of bytes of what an epoch left in memory, maybe from another address (the bytes were copied since). Most pages
// have one piece, the whole page of the epoch that wrote it last; it is kept in the table. What the pieces do not make
// right is the residual: runs of bytes to put over them (a gap, a length, the bytes), packed. Where memory is used again, an epoch writes some of a
// page and leaves what was there between: then its bytes that are not 0 are put over what an older epoch made.
//
// A page that no epoch makes well is its residual alone: packed as it is (packed.ts).
//
// A page that the guest moved while it was virtual (recorder.ts) was never made at its new place: it is parts of other pages' recipes.
import { crc32 } from 'node:zlib'
import { Writer } from '../wasm/bytes.ts'
import type { Packer } from './pack.ts'
import { putPacked } from './packed.ts'
import { Store } from './store.ts'

export const pageBytes = 4096

/** `length` bytes at `from` in the memory that `epoch` left, to `at` in the page. */
export interface Piece {
  readonly epoch: number
  readonly from: number
  readonly at: number
  readonly length: number
  /** Only bytes that are not 0. */
  readonly over?: boolean
}

/** What makes one page, whichever page it was made for. */
export interface Recipe {
  readonly pieces: readonly Piece[]
  readonly residual: Uint8Array | undefined
  readonly hash: number
}

/** `length` bytes at `from` of the page that a recipe makes, to `at` in this one. */
export interface Part {
  readonly recipe: Recipe
  readonly from: number
  readonly at: number
  readonly length: number
}

const bytesPerPiece = 12
/** In the table of epochs: it has a lens, but no epoch. */
const noEpoch = 0xffff_ffff
const bytesPerPart = 16

export class Lenses {
  readonly #epochs: Uint32Array
  readonly #hashes: Uint32Array
  /** Of pages that are not just the page of one epoch: where their records are, and 0 else. */
  readonly #records: Uint32Array
  #store = new Store()
  /** Recipes that parts of moved pages use: where each is kept, how many use it, and the hash of what it makes. Numbers are not used again. */
  readonly #places: number[] = []
  readonly #uses: number[] = []
  readonly #hashesOf: number[] = []
  readonly #numbers = new WeakMap<Recipe, number>()
  /** Bytes of residuals, and of lists of pieces and parts. */
  residualBytes = 0
  pieceBytes = 0
  pages = 0

  readonly #packer: Packer

  constructor(pages: number, packer: Packer) {
    this.#packer = packer
    this.#epochs = new Uint32Array(pages)
    this.#hashes = new Uint32Array(pages)
    this.#records = new Uint32Array(pages)
  }

  has(page: number): boolean {
    return (this.#epochs[page] as number) !== 0
  }

  set(page: number, { pieces, residual, hash }: Recipe): void {
    this.delete(page)
    const [one] = pieces
    this.#epochs[page] = one?.epoch ?? noEpoch
    this.#hashes[page] = hash
    this.pages++
    const simple = pieces.length === 1 && one !== undefined && isWhole(one, page)
    if ((simple || one === undefined) && residual === undefined) return
    if (!simple) this.pieceBytes += bytesPerPiece * pieces.length
    this.residualBytes += residual?.length ?? 0
    this.#records[page] = this.#store.put(recordOf(simple ? undefined : pieces, residual))
    if (this.#store.wasteful) this.#compact()
  }

  // What is needed still, in a new store.
  #compact(): void {
    const store = new Store()
    for (let page = 0; page < this.#records.length; page++) {
      const place = this.#records[page] as number
      if (place === 0) continue
      const record = this.#store.at(place)
      this.#records[page] = store.put(record.subarray(0, lengthOf(record)))
    }
    for (let number = 0; number < this.#places.length; number++) {
      if (this.#uses[number] === 0) continue
      const record = this.#store.at(this.#places[number] as number)
      this.#places[number] = store.put(record.subarray(0, lengthOf(record)))
    }
    this.#store.release()
    this.#store = store
  }

  /** The page is made of parts of others, as they were when the guest moved them. */
  setMoved(page: number, parts: readonly Part[]): void {
    this.delete(page)
    this.#epochs[page] = parts[0]?.recipe.pieces[0]?.epoch ?? noEpoch
    const record = new Uint8Array(headBytes + partRecord * parts.length)
    const view = new DataView(record.buffer)
    view.setUint8(0, justParts)
    view.setUint16(1, partRecord * parts.length)
    parts.forEach(({ recipe, from, at, length }, i) => {
      const to = headBytes + partRecord * i
      view.setUint32(to, this.#use(recipe))
      view.setUint16(to + 4, from)
      view.setUint16(to + 6, at)
      view.setUint16(to + 8, length)
    })
    this.#records[page] = this.#store.put(record)
    this.pieceBytes += bytesPerPart * parts.length
    this.pages++
    if (this.#store.wasteful) this.#compact()
  }

  // The number of a recipe that is used once more.
  #use(recipe: Recipe): number {
    let number = this.#numbers.get(recipe)
    if (number === undefined || this.#uses[number] === 0) {
      const { pieces, residual, hash } = recipe
      this.residualBytes += residual?.length ?? 0
      this.pieceBytes += 4 + bytesPerPiece * pieces.length
      number = this.#places.push(this.#store.put(recordOf(pieces, residual))) - 1
      this.#uses.push(0)
      this.#hashesOf.push(hash)
      this.#numbers.set(recipe, number)
    }
    ;(this.#uses[number] as number)++
    return number
  }

  #unuse(number: number): void {
    const left = (this.#uses[number] as number) - 1
    this.#uses[number] = left
    if (left > 0) return
    const record = this.#store.at(this.#places[number] as number)
    this.residualBytes -= residualLength(record)
    this.pieceBytes -= 4 + bytesPerPiece * (record[0] as number)
    this.#store.free(lengthOf(record))
  }

  delete(page: number): void {
    if (!this.has(page)) return
    const place = this.#records[page] as number
    if (place !== 0) {
      const record = this.#store.at(place)
      if (record[0] === justParts) {
        const parts = numbersIn(record)
        this.pieceBytes -= bytesPerPart * parts.length
        for (const { number } of parts) this.#unuse(number)
      } else {
        if (record[0] !== justWhole) this.pieceBytes -= bytesPerPiece * (record[0] as number)
        this.residualBytes -= residualLength(record)
      }
      this.#store.free(lengthOf(record))
      this.#records[page] = 0
    }
    this.#epochs[page] = 0
    this.pages--
  }

  isMoved(page: number): boolean {
    return this.#record(page)?.[0] === justParts
  }

  /** Whether it is all zeros, and nothing is kept for it. */
  isZero(page: number): boolean {
    return this.#epochs[page] === noEpoch && this.#records[page] === 0
  }

  #record(page: number): Uint8Array | undefined {
    const place = this.#records[page] as number
    return place === 0 ? undefined : this.#store.at(place)
  }

  /** What the page is made of: one whole recipe, or parts of several. */
  parts(page: number): readonly Part[] {
    const record = this.#record(page)
    if (record?.[0] === justParts) return this.#partsIn(record)
    const recipe: Recipe = {
      pieces: this.pieces(page),
      residual: record === undefined ? undefined : residualIn(record),
      hash: this.#hashes[page] as number,
    }
    return [{ recipe, from: 0, at: 0, length: pageBytes }]
  }

  #partsIn(record: Uint8Array): Part[] {
    const recipes = new Map<number, Recipe>()
    return numbersIn(record).map(({ number, from, at, length }) => {
      let recipe = recipes.get(number)
      if (recipe === undefined) {
        const own = this.#store.at(this.#places[number] as number)
        const hash = this.#hashesOf[number] as number
        recipes.set(number, (recipe = { pieces: piecesIn(own), residual: residualIn(own), hash }))
        this.#numbers.set(recipe, number)
      }
      return { recipe, from, at, length }
    })
  }

  /** Bytes of the page's residual. */
  residualOf(page: number): number {
    const record = this.#record(page)
    return record === undefined ? 0 : residualLength(record)
  }

  /** Whether epoch `id` alone makes the page. */
  madeBy(page: number, id: number): boolean {
    if (this.#epochs[page] !== id) return false
    return this.pieces(page).every(p => p.epoch === id)
  }

  /** Pages below `top` that have to do with an epoch more than with others, `most` of them. */
  pagesOf(id: number, top: number, most: number): number[] {
    const pages: number[] = []
    for (let page = 0; page < top && pages.length < most; page++)
      if (this.#epochs[page] === id) pages.push(page)
    return pages
  }

  /** The epoch that makes the page, or the first of them; undefined for one that is packed as it is. */
  epochOf(page: number): number | undefined {
    const epoch = this.#epochs[page] as number
    return epoch === noEpoch ? undefined : epoch
  }

  /** Every piece that the page needs. */
  pieces(page: number): readonly Piece[] {
    const record = this.#record(page)
    if (this.isZero(page)) return []
    if (record === undefined || record[0] === justWhole) return [whole(page, this.#epochs[page] as number)]
    return record[0] === justParts
      ? numbersIn(record).flatMap(({ number }) => piecesIn(this.#store.at(this.#places[number] as number)))
      : piecesIn(record)
  }

  /** Makes the bytes that the pieces of a recipe made into its page. Whether it is the page that was proved. */
  finish({ pieces, residual, hash }: Recipe, bytes: Uint8Array): boolean {
    if (residual !== undefined)
      (pieces.length === 0 ? putPacked : putResidual)(this.#packer.unpack(residual), bytes)
    return crc32(bytes) === hash
  }
}

// A record: how many pieces (or one of two marks), the residual's length, the pieces (an epoch, where from, where to, how long, and whether over), the residual.
// Of a moved page the parts stand for the residual: the recipe's number, where from, where to, how long.
const headBytes = 3
const pieceRecord = 13
/** The only piece is the whole page of the epoch in the table. */
const justWhole = 255
const justParts = 254
const partRecord = 10

function recordOf(pieces: readonly Piece[] | undefined, residual: Uint8Array | undefined): Uint8Array {
  const count = pieces?.length ?? 0
  if (count >= justParts) throw new RangeError(`a page of ${count} pieces`)
  const start = headBytes + pieceRecord * count
  const record = new Uint8Array(start + (residual?.length ?? 0))
  const view = new DataView(record.buffer)
  view.setUint8(0, pieces === undefined ? justWhole : count)
  view.setUint16(1, residual?.length ?? 0)
  pieces?.forEach(({ epoch, from, at, length, over }, i) => {
    const to = headBytes + pieceRecord * i
    view.setUint32(to, epoch)
    view.setUint32(to + 4, from)
    view.setUint16(to + 8, at)
    view.setUint16(to + 10, length)
    view.setUint8(to + 12, over === true ? 1 : 0)
  })
  if (residual !== undefined) record.set(residual, start)
  return record
}

const residualLength = (record: Uint8Array): number => (record[1] as number) * 256 + (record[2] as number)
const residualAt = (record: Uint8Array): number =>
  headBytes + ((record[0] as number) >= justParts ? 0 : pieceRecord * (record[0] as number))
const lengthOf = (record: Uint8Array): number => residualAt(record) + residualLength(record)

// A copy: it may be kept for long.
function residualIn(record: Uint8Array): Uint8Array | undefined {
  const length = residualLength(record)
  return length === 0 ? undefined : record.slice(residualAt(record), residualAt(record) + length)
}

interface NumberedPart {
  readonly number: number
  readonly from: number
  readonly at: number
  readonly length: number
}

function numbersIn(record: Uint8Array): NumberedPart[] {
  const view = new DataView(record.buffer, record.byteOffset)
  const parts: NumberedPart[] = []
  for (let to = headBytes; to < lengthOf(record); to += partRecord)
    parts.push({
      number: view.getUint32(to),
      from: view.getUint16(to + 4),
      at: view.getUint16(to + 6),
      length: view.getUint16(to + 8),
    })
  return parts
}

function piecesIn(record: Uint8Array): Piece[] {
  const view = new DataView(record.buffer, record.byteOffset)
  const pieces: Piece[] = []
  for (let i = 0, at = headBytes; i < (record[0] as number); i++, at += pieceRecord) {
    const piece = {
      epoch: view.getUint32(at),
      from: view.getUint32(at + 4),
      at: view.getUint16(at + 8),
      length: view.getUint16(at + 10),
    }
    pieces.push(view.getUint8(at + 12) === 1 ? { ...piece, over: true } : piece)
  }
  return pieces
}

const isWhole = ({ from, length, over }: Piece, page: number): boolean =>
  from === page * pageBytes && length === pageBytes && over !== true

export const whole = (page: number, epoch: number): Piece => ({
  epoch,
  from: page * pageBytes,
  at: 0,
  length: pageBytes,
})

/** An epoch's bytes of the page that are not 0. */
export const onTop = (page: number, epoch: number): Piece => ({ ...whole(page, epoch), over: true })

/** What is to be kept for a residual; infinite for one that is too large. */
export const sizeOf = (residual: Uint8Array | undefined | null): number =>
  residual === null ? Infinity : (residual?.length ?? 0)

/** Puts what an epoch left in memory where a piece wants it. */
export function putPiece({ from, at, length, over }: Piece, memory: Uint8Array, page: Uint8Array): void {
  if (over !== true) {
    page.set(memory.subarray(from, from + length), at)
    return
  }
  for (let i = 0; i < length; i++) {
    const byte = memory[from + i] as number
    if (byte !== 0) page[at + i] = byte
  }
}

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

/** The parts of what lies in [from, to) of a page, from `at` on. */
export function cutParts(parts: readonly Part[], from: number, to: number, at: number): Part[] {
  const found: Part[] = []
  for (const part of parts) {
    const start = Math.max(from, part.at)
    const end = Math.min(to, part.at + part.length)
    if (start < end)
      found.push({
        recipe: part.recipe,
        from: part.from + start - part.at,
        at: at + start - from,
        length: end - start,
      })
  }
  return found
}
