// Pages that their last epoch alone does not make well, tried again when the guest has left them alone for a while: with older epochs, with copies,
// with the last epoch's bytes put over these; and what nothing makes is packed as it is.
import { crc32 } from 'node:zlib'
import type { KeptEpoch } from './epochs.ts'
import { type Later, mostTrials, type Trial } from './later.ts'
import { onTop, pageBytes, type Piece, putPiece, type Recipe, residualOf, sizeOf, whole } from './lenses.ts'
import type { Packer } from './pack.ts'
import { packedPage } from './packed.ts'
import { type Shared, word } from './protocol.ts'
import type { Replayer } from './replayer.ts'
import type { Requests } from './requests.ts'
import type { Unproved } from './unproved.ts'

/** The guest waits no longer than it takes to look at so many pages. */
const pagesBetween = 16
/** Packed residuals up to here are little enough: nothing else is tried. */
export const littleResidual = 64
/** Epochs make a page together only where one alone would leave more than so many bytes, packed: each is a replay when the page comes back. */
export const worthTogether = 350

/** What trials need of the keeper. */
export interface TrialParts {
  readonly shared: Shared
  readonly unproved: Unproved
  readonly later: Later
  readonly epochs: ReadonlyMap<number, KeptEpoch>
  readonly packer: Packer
  readonly replayer: Replayer
  readonly requests: Requests
  readonly counts: { copiedPages: number; rebasedPages: number; packedPages: number }
  /** Answers the guest. Replays in between. */
  readonly between: () => void
  /** False if it could not be replayed. */
  readonly replay: (kept: KeptEpoch) => boolean
  readonly prove: (page: number, recipe: Recipe, before: number) => void
}

export class Trials {
  readonly #parts: TrialParts
  /** Pages for what epochs make, used again for each batch, and how many of them are in use. */
  readonly #pages: Uint8Array[] = []
  #used = 0

  constructor(parts: TrialParts) {
    this.#parts = parts
  }

  /** Pages that no epoch makes well, as they are. */
  pack(): void {
    const { unproved } = this.#parts
    const before = Atomics.load(this.#parts.shared.control, word.open)
    for (const page of this.#parts.later.takeHopeless()) {
      if (unproved.isPacked(page)) {
        unproved.settle(page)
        this.#parts.counts.packedPages++
        continue
      }
      if (!unproved.has(page)) continue
      this.#parts.between()
      const wanted = unproved.bytes(page)
      if (wanted === undefined) continue
      const residual = packedPage(wanted, this.#parts.packer)
      if (residual === null) continue
      this.#parts.prove(page, { pieces: [], residual, hash: crc32(wanted) }, before)
      this.#parts.counts.packedPages++
    }
    this.#parts.requests.send(false)
  }

  /** The first pages that can be tried: what older epochs make, and with what the last one wrote put over it. */
  again(most: number = mostTrials): void {
    const { lastWritten, control } = this.#parts.shared
    const before = Atomics.load(control, word.open)
    const batch = this.#parts.later.take(id => this.#parts.epochs.has(id), most)
    this.#used = 0
    const images = batch.map(() => this.#page())
    const newest = batch.map((): Uint8Array | undefined => undefined)
    const alone = batch.map((): Uint8Array | undefined => undefined)
    const bad = new Set<number>()
    const jobs: { epoch: number; trial: number; piece: Piece | undefined }[] = []
    batch.forEach(({ page, pieces }, trial) => {
      for (const piece of pieces) jobs.push({ epoch: piece.epoch, trial, piece })
      const last = lastWritten[page] as number
      const other = pieces.length > 1 || pieces[0]?.epoch !== last
      if (other && this.#parts.epochs.has(last)) jobs.push({ epoch: last, trial, piece: undefined })
    })
    jobs.sort((a, b) => a.epoch - b.epoch)
    for (const { epoch, trial, piece } of jobs) {
      if (this.#parts.replayer.holds !== epoch) {
        this.#parts.between()
        if (!this.#parts.replay(this.#parts.epochs.get(epoch) as KeptEpoch)) {
          if (piece !== undefined) bad.add(trial)
          continue
        }
      }
      const at = (batch[trial] as Trial).page * pageBytes
      if (piece === undefined)
        (newest[trial] = this.#page()).set(this.#parts.replayer.bytes.subarray(at, at + pageBytes))
      else {
        putPiece(piece, this.#parts.replayer.bytes, images[trial] as Uint8Array)
        if (lastMaker((batch[trial] as Trial).pieces) === epoch && piece.over === true)
          putPiece(notOver(piece), this.#parts.replayer.bytes, (alone[trial] ??= this.#page()))
      }
    }
    batch.forEach(({ page, pieces }, trial) => {
      if (trial % pagesBetween === 0) this.#parts.between()
      const wanted = this.#parts.unproved.bytes(page)
      if (wanted === undefined) return
      const image = bad.has(trial) ? undefined : (images[trial] as Uint8Array)
      const single = bad.has(trial) ? undefined : alone[trial]
      const found = this.#best(page, pieces, image, single, newest[trial], wanted)
      if (found === undefined) {
        this.#parts.later.failed(page)
        return
      }
      this.#parts.prove(page, found, before)
      if (pieces.length > 1 || pieces[0]?.from !== page * pageBytes) this.#parts.counts.copiedPages++
      else this.#parts.counts.rebasedPages++
    })
    this.#parts.requests.send(false)
  }

  // An empty page, until the next batch.
  #page(): Uint8Array {
    const page = (this.#pages[this.#used++] ??= new Uint8Array(pageBytes))
    return page.fill(0)
  }

  /** Nothing is to be tried for some time. */
  forget(): void {
    this.#pages.length = 0
  }

  // What makes the page with the least to keep, or with one replay and little: what older epochs made, the last one's bytes put over that, or these alone.
  #best(
    page: number,
    pieces: readonly Piece[],
    image: Uint8Array | undefined,
    alone: Uint8Array | undefined,
    newest: Uint8Array | undefined,
    wanted: Uint8Array,
  ): Recipe | undefined {
    let least = Infinity
    let best: Recipe | undefined
    const look = (made: Uint8Array, by: readonly Piece[]): void => {
      const residual = residualOf(made, wanted, this.#parts.packer, false)
      if (residual === null || sizeOf(residual) >= least) return
      least = sizeOf(residual)
      best = { pieces: by, residual, hash: crc32(wanted) }
    }
    if (alone !== undefined) look(alone, pieces.filter(piece => piece.over).map(notOver))
    if (least <= worthTogether) return best
    if (image !== undefined) look(image, pieces)
    const last = this.#parts.shared.lastWritten[page] as number
    if (newest === undefined || least <= littleResidual || !this.#parts.epochs.has(last)) return best
    look(newest, [whole(page, last)])
    if (image === undefined || least <= worthTogether) return best
    const over = onTop(page, last)
    putPiece({ ...over, from: 0 }, newest, image)
    look(image, [...pieces, over])
    return best
  }
}

/** The epoch whose bytes are put over those of others, if it is one; undefined else. */
function lastMaker(pieces: readonly Piece[]): number | undefined {
  const over = new Set(pieces.flatMap(piece => (piece.over === true ? [piece.epoch] : [])))
  const [epoch] = over
  return over.size === 1 ? epoch : undefined
}

const notOver = ({ epoch, from, at, length }: Piece): Piece => ({ epoch, from, at, length })
