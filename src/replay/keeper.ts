// The keeper's thread: replays what the recorder sends, proves pages, and answers the faults of the guest.
//
//   fault    → the page is virtual: made by its lens (restorer.ts); or was never there: zero
//   epoch    → replayed; pages that came out right are asked for (Drops)
//   idle     → pages that their last epoch alone does not make are tried again with older epochs and copies (later.ts)
import { writeSync } from 'node:fs'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import { Timeline } from '../guest/timeline.ts'
import { bufferAt, exitNow, trimHeap } from '../sys/ffi.ts'
import * as fds from '../sys/fd.ts'
import { ownThread } from '../sys/memory.ts'
import { Backlog } from './backlog.ts'
import { giveBack, sweep, unmapCode } from './calm.ts'
import { Brought, Image, KeptEpoch } from './epochs.ts'
import { type Holdings, keptOf, neededEpochs, runsOf } from './holdings.ts'
import { inputRuns } from './inputs.ts'
import { Later, mostTrials } from './later.ts'
import { FreedBlocks } from './freed-blocks.ts'
import { Packer } from './pack.ts'
import {
  cutParts,
  Lenses,
  onTop,
  pageBytes,
  putPiece,
  type Part,
  type Piece,
  type Recipe,
  residualOf,
  sizeOf,
  whole,
} from './lenses.ts'
import {
  backlogOf,
  type Epoch,
  type Freed,
  type FromKeeper,
  isTracking,
  type KeeperData,
  type KeeperReport,
  type Moved,
  nowhere,
  pagesOf,
  pageState,
  type Shared,
  sharedOf,
  type ToKeeper,
  word,
} from './protocol.ts'
import { threadTime } from './clock.ts'
import { mostTime, pagesRead, References } from './references.ts'
import { Requests } from './requests.ts'
import { Divergence, Replayer } from './replayer.ts'
import { Restorer } from './restorer.ts'
import { Sources } from './sources.ts'
import { littleResidual, Trials, worthTogether } from './trials.ts'
import { Tries } from './tries.ts'
import { Unproved } from './unproved.ts'

/** Packed residuals from here on are compared with what an older epoch would leave over, and others are tried later. */
const muchResidual = 700
/** A page is tried again when it was not written for so many epochs; many of them together, or when no epoch has come for some time (ms). */
const quietFor = 6
const lullAfter = 150
/** What is proved is dropped when no epoch has come for so long (ms), and none is recorded. */
const calmAfter = 80
/** What is kept for an epoch is worth it up to this part of the pages that it makes newly. */
const mostKept = 0.2
/** From this part on, inputs are looked for in pages that other epochs make. */
const worthReferring = 0.16
/** The report may take so many times longer than the keeper works for it, on a busy machine. */
const slowest = 8
/** After that, what is left is packed for so long (ms). */
const mostHurry = 500

/** Words of a page that an epoch must have made so that they are remembered for the next, and how many pages are. */
const leastHalf = 128
const mostHalves = 256
/** So many epochs make one page together. */
const mostTogether = 3

/**
 * Memory that is free is given back to the system when so many epochs were looked at and nothing waits; all that can be, when replays took so long (ms), no
 * epoch has come for some time (ms) and the guest waits for no page, or for longer. Node's own code goes every so often, after faults.
 */
const epochsPerTrim = 32
const workPerCollection = 50
const workPerSweep = 100
const collectAfter = 300
const collectAnyway = 1500
const unmapEvery = 100
/** What replays have made is remembered for so long (ms) when the guest is calm. */
const rememberFor = 150

/** What epochs have made of a page that is written still. */
interface Half {
  readonly pieces: readonly Piece[]
  readonly bytes: Uint8Array
}

/** What makes a page that holds nothing. */
const zeros: Recipe = { pieces: [], residual: undefined, hash: crc32(new Uint8Array(pageBytes)) }

class Keeper {
  readonly #data: KeeperData
  readonly #port: MessagePort
  readonly #shared: Shared
  readonly #guest: Uint8Array
  readonly #poller = new fds.Poller()
  readonly #sources = new Sources()
  readonly #replayer: Replayer
  readonly #image: Image
  readonly #brought = new Brought(this.#sources.read)
  readonly #packer = new Packer()
  readonly #lenses: Lenses
  readonly #later: Later
  readonly #trials: Trials
  readonly #references: References
  readonly #restorer: Restorer
  readonly #epochs = new Map<number, KeptEpoch>()
  /** What an epoch made of pages that were written after it already. */
  readonly #halves = new Map<number, Half>()
  readonly #queue = new Backlog()
  /** Pages that were given back. */
  readonly #freed = new FreedBlocks()
  readonly #unproved: Unproved
  readonly #requests: Requests
  /** What replays take, in the mean: with those that they need, and without. */
  #replayTime = 0
  #ownTime = 0
  readonly #timeline = new Timeline()
  #lastEpoch = 0
  #trimmed = 0
  #collected = 0
  #unmapped = 0
  #replayed = 0
  #swept = 0
  #calmed = 0
  readonly #tries = new Tries()
  #running = true
  #reportWanted = false
  /** For the report: in the thread's own time, and by the clock. */
  #deadline = Infinity
  #latest = Infinity
  #hurried = Infinity
  readonly #counts = {
    epochs: 0,
    replayable: 0,
    failed: 0,
    unprofitable: 0,
    referring: 0,
    unlooked: 0,
    forbidden: {} as Record<string, number>,
    provedPages: 0,
    copiedPages: 0,
    rebasedPages: 0,
    packedPages: 0,
    movedPages: 0,
    freedPages: 0,
    rebuilds: 0,
    rebuiltPages: 0,
    mismatches: 0,
    replayMs: 0,
  }

  constructor(data: KeeperData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#shared = sharedOf(data.shared, data.pages)
    Atomics.store(this.#shared.control, word.keeper, ownThread())
    this.#guest = new Uint8Array(bufferAt(data.base, data.pages * pageBytes))
    this.#image = new Image(data.image)
    this.#lenses = new Lenses(data.pages, this.#packer)
    this.#replayer = new Replayer(data, this.#sources.read)
    this.#unproved = new Unproved({
      shared: this.#shared,
      guest: this.#guest,
      lenses: this.#lenses,
      packer: this.#packer,
      prove: (page, recipe, before) => this.#prove(page, recipe, before),
    })
    this.#later = new Later(
      data.pages,
      page => this.#freed.before(page) ?? this.#piecesOf(page),
      page => this.#unproved.has(page),
    )
    this.#requests = new Requests(
      this.#shared,
      Math.ceil(data.budget / pageBytes),
      message => this.#post(message),
      page => this.#later.wanted(page),
    )
    this.#trials = new Trials({
      shared: this.#shared,
      unproved: this.#unproved,
      later: this.#later,
      epochs: this.#epochs,
      packer: this.#packer,
      replayer: this.#replayer,
      requests: this.#requests,
      counts: this.#counts,
      between: () => this.#between(),
      replay: kept => this.#replay(kept),
      prove: (page, recipe, before) => this.#prove(page, recipe, before),
    })
    this.#restorer = new Restorer({
      data,
      shared: this.#shared,
      lenses: this.#lenses,
      epochs: this.#epochs,
      replayer: this.#replayer,
      requests: this.#requests,
      counts: this.#counts,
      messages: () => this.#messages(),
      holdsNothing: page => this.#holdsNothing(page),
      replay: kept => this.#replay(kept),
      calm: () => this.#calm,
    })
    this.#references = new References({
      partsOf: page => this.#partsOf(page),
      epoch: id => this.#epochs.get(id),
      copy: (piece, into) => this.#restorer.copy(piece, into),
      finish: (recipe, bytes) => this.#lenses.finish(recipe, bytes),
      holds: () => this.#replayer.holds,
    })
    this.#poller.add(data.uffd)
    this.#poller.add(data.wake)
    this.#poller.add(this.#sources.descriptor)
  }

  run(): void {
    while (this.#running) {
      // Not for a guest that comes back for it at once.
      const packs = this.#unproved.waits && !this.#restorer.pressure.high
      const busy = this.#queue.length > 0 || this.#again || packs
      const ready = this.#poller.wait(busy ? 0 : this.#reportWanted ? 1 : lullAfter)
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#data.uffd) this.#restorer.faults()
        else if (fd === this.#sources.descriptor) this.#sources.look()
        else {
          fds.clearEvent(fd)
          this.#messages()
        }
      }
      const now = performance.now()
      this.#replayer.calm = this.#calm
      // Faults come in clusters.
      if (this.#calm && !busy && now > this.#replayed + rememberFor) {
        this.#replayer.forget()
        this.#restorer.forget()
      }
      this.#restorer.pressure.look(now)
      if (this.#timeline.due(now)) this.#sample(now)
      this.#restorer.evict()
      if (this.#reportWanted && (threadTime() > this.#deadline || performance.now() > this.#latest)) {
        this.#counts.unlooked += this.#queue.length
        for (const epoch of this.#queue.clear()) this.#later.written(epoch)
        this.#hurry()
      }
      this.#trim()
      this.#unproved.calm = this.#calm && !this.#reportWanted
      if (packs) {
        if (this.#unproved.pack()) this.#requests.send(true)
        continue
      }
      if (this.#calm && this.#queue.waits) {
        this.#queue.pack()
        continue
      }
      // What waits for nothing goes first.
      const first = this.#later.hopeless > 0 && this.#calm && !this.#reportWanted
      const epoch = first ? undefined : this.#queue.shift()
      if (first) this.#trials.pack()
      else if (epoch !== undefined) {
        this.#take(epoch)
        this.#freed.looked(epoch.id, (page, id) => this.#goes(page, id))
        Atomics.sub(this.#shared.control, word.backlog, backlogOf(epoch))
        Atomics.notify(this.#shared.control, word.backlog)
      } else if (this.#again) this.#trials.again()
      else if (this.#later.hopeless > 0 && this.#lull) this.#trials.pack()
      else {
        this.#requests.send(this.#calm)
        this.#giveBack()
        this.#later.look(this.#shared, quietFor)
        // Pages that are asked for are neither virtual nor physical yet.
        const asked = this.#requests.waiting > 0 || Atomics.load(this.#shared.control, word.asked) > 0
        const settled = this.#later.ready === 0 && this.#later.hopeless === 0 && !asked
        if (settled && this.#reportWanted) this.#report()
      }
    }
  }

  // There is no time to prove what is left. It is packed, which takes a hundredth of that; and what there is no time for either stays as it is.
  #hurry(): void {
    if (this.#hurried === Infinity) this.#hurried = threadTime()
    if (threadTime() - this.#hurried > mostHurry) this.#later.forget()
    else this.#later.giveUp()
  }

  /** Each epoch that is replayed for older pages is replayed for all of them: there should be many. */
  get #again(): boolean {
    const { ready } = this.#later
    if (ready === 0 || ready >= mostTrials) return ready > 0
    return this.#lull
  }

  // Whether what is proved is of no use where it is: the guest makes no new pages.
  get #calm(): boolean {
    const { control } = this.#shared
    const idle = control[word.tracking] === isTracking.no || Atomics.load(control, word.waiting) > 0
    return idle && performance.now() - this.#lastEpoch > calmAfter
  }

  get #lull(): boolean {
    return this.#reportWanted || performance.now() - this.#lastEpoch > lullAfter
  }

  // What epochs came in lies free in malloc's arenas, and what was made of them in V8's heap: there is a lot of it when a guest has become calm, and the
  // keeper may still have work for long.
  #trim(): void {
    const { epochs, replayMs } = this.#counts
    if (epochs >= this.#trimmed + epochsPerTrim && this.#queue.length === 0) {
      this.#trimmed = epochs
      trimHeap()
    }
    if (replayMs > this.#swept + workPerSweep && this.#calm) {
      this.#swept = replayMs
      sweep()
    }
    if (epochs < this.#calmed + epochsPerTrim || this.#reportWanted || !this.#calm) return
    this.#calmed = epochs
    giveBack()
  }

  // All that is not needed any more.
  #giveBack(): void {
    const now = performance.now()
    const quiet = Math.min(now - this.#lastEpoch, now - this.#restorer.faultedAt)
    if (this.#reportWanted) return
    if (this.#calm && this.#unmapped < this.#restorer.faultedAt && now > this.#unmapped + unmapEvery) {
      this.#unmapped = now
      unmapCode()
    }
    const { replayMs } = this.#counts
    if (replayMs < this.#collected + workPerCollection) return
    if (quiet < collectAfter && now - this.#lastEpoch < collectAnyway) return
    this.#collected = replayMs
    this.#references.forget()
    this.#replayer.forget()
    this.#restorer.forget()
    this.#trials.forget()
    this.#halves.clear()
    this.#forgetEpochs()
    giveBack()
  }

  // Those that no page needs, when none is to be tried with them still.
  #forgetEpochs(): void {
    if (!this.#later.idle) return
    const needed = neededEpochs(this.#holdings)
    for (const [id, epoch] of this.#epochs) if (!needed.has(epoch)) this.#epochs.delete(id)
  }

  #post(message: FromKeeper): void {
    this.#port.postMessage(message)
  }

  #messages(): void {
    for (;;) {
      const got = receiveMessageOnPort(this.#port) as { message: ToKeeper } | undefined
      if (got === undefined) return
      const { message } = got
      if (message.kind === 'epoch') {
        this.#lastEpoch = performance.now()
        this.#queue.push(message)
      } else if (message.kind === 'source') this.#sources.add(message.id, message.fd)
      else if (message.kind === 'moved') this.#move(message)
      else if (message.kind === 'freed') this.#free(message)
      else if (message.kind === 'written') this.#later.written(message)
      else if (message.kind === 'report') {
        this.#reportWanted = true
        this.#requests.eager = true
        this.#restorer.pressure.release()
        this.#deadline = threadTime() + (message.within ?? 0)
        this.#latest = performance.now() + slowest * (message.within ?? 0)
      } else this.#running = false
    }
  }

  // Between two pieces of work that take long.
  #between(): void {
    if (this.#poller.wait(0) > 0) this.#restorer.faults()
  }

  #take(epoch: Epoch): void {
    const shared = this.#shared
    this.#counts.epochs++
    this.#requests.looked()
    if (epoch.forbidden !== undefined && epoch.point !== nowhere) {
      const { forbidden } = this.#counts
      forbidden[epoch.forbidden] = (forbidden[epoch.forbidden] ?? 0) + 1
    }
    const replayable = epoch.point !== nowhere && epoch.forbidden === undefined
    if (!replayable) {
      this.#brought.add(epoch.calls)
      this.#later.written(epoch)
      return
    }
    const most = mostKept * pageBytes * epoch.fresh
    let kept = this.#keep(epoch)
    // What it reads may be made by epochs, and nobody has tried yet.
    if (kept.inputBytes > most && this.#tryRead(epoch, kept, 1 - most / kept.inputBytes)) {
      kept = this.#keep(epoch)
      this.#tries.was(kept.inputBytes <= most)
    }
    this.#brought.add(epoch.calls)
    if (kept.inputBytes > most) {
      this.#counts.unprofitable++
      Atomics.add(shared.control, word.unprofitable, 1)
      this.#later.written(epoch)
      return
    }
    Atomics.store(shared.control, word.unprofitable, 0)
    this.#later.copies(epoch)
    // Before anything of the guest's is read: pages written from now on are not those that we compare.
    const before = Atomics.load(shared.control, word.open)
    if (!this.#replay(kept)) {
      this.#later.written(epoch)
      return
    }
    this.#counts.replayable++
    this.#replayTime += (kept.milliseconds - this.#replayTime) / 8
    this.#ownTime += (kept.own - this.#ownTime) / 8
    Atomics.store(shared.control, word.replay, Math.round(this.#replayTime * 1000))
    const made = this.#replayer.bytes
    const proofs: { page: number; recipe: Recipe }[] = []
    const tryLater: number[] = []
    for (const page of pagesOf(epoch.written)) {
      if ((shared.lastWritten[page] as number) > epoch.id) continue
      if (!this.#unproved.has(page)) this.#requests.withdraw(page)
      const wanted = this.#unproved.bytes(page)
      if (wanted === undefined) continue
      const at = page * pageBytes
      let pieces: readonly Piece[] = [whole(page, epoch.id)]
      let residual: Uint8Array | undefined | null = null
      const look = (image: Uint8Array, by: readonly Piece[]): void => {
        const left = residualOf(image, wanted, this.#packer, true)
        if (left === null || (residual !== null && sizeOf(left) >= sizeOf(residual))) return
        residual = left
        pieces = by
      }
      look(made.subarray(at, at + pageBytes), pieces)
      const half = this.#halves.get(page)
      if (half !== undefined) {
        if (sizeOf(residual) > littleResidual) look(half.bytes, half.pieces)
        if (sizeOf(residual) > worthTogether) {
          const over = onTop(page, epoch.id)
          putPiece(over, made, half.bytes)
          look(half.bytes, [...half.pieces, over])
        }
      }
      this.#halves.delete(page)
      if (residual === null || sizeOf(residual) > muchResidual) tryLater.push(page)
      else proofs.push({ page, recipe: { pieces, residual, hash: crc32(wanted) } })
    }
    this.#epochs.set(kept.id, kept)
    for (const page of pagesOf(epoch.written)) {
      const much = this.#later.candidate(page, epoch.id, made) > leastHalf
      // It is being filled: what a later epoch leaves over of it may be less with what this one made.
      if (much && (shared.lastWritten[page] as number) > epoch.id) this.#keepHalf(page, epoch.id, made)
    }
    for (const page of tryLater) this.#later.wanted(page)
    for (const { page, recipe } of proofs) {
      this.#prove(page, recipe, before)
      this.#counts.provedPages++
    }
    this.#requests.send(this.#calm)
  }

  // Pages that the epoch has read, and that nobody has tried yet: where so few epochs make them that it might refer to them, and enough of what it has read
  // lies there. Who reads here and there in memory that many epochs have made would have all of it tried for nothing. Whether there were any.
  #tryRead({ inputs }: Epoch, { references }: KeptEpoch, enough: number): boolean {
    this.#later.look(this.#shared, quietFor, this.#queue.next)
    if (this.#later.ready === 0) return false
    const { pages, all } = pagesRead(inputs, references, page => this.#partsOf(page) !== undefined)
    const epochs = [...this.#later.worth(pages)].sort(([, a], [, b]) => b - a)
    const most = Math.max(1, Math.floor(mostTime / Math.max(this.#ownTime, 1)))
    const best = epochs.slice(0, most)
    const worth = best.reduce((sum, [, count]) => sum + count, 0)
    if (worth < enough * all || !this.#tries.next()) return false
    let left = this.#later.first(new Set(best.map(([id]) => id)))
    for (; left > 0; left -= mostTrials) {
      this.#between()
      this.#trials.again(Math.min(left, mostTrials))
    }
    return true
  }

  #keep(epoch: Epoch): KeptEpoch {
    const runs = inputRuns(epoch.inputs)
    const kept = new KeptEpoch(epoch, runs, this.#image, this.#brought, this.#packer)
    if (kept.inputBytes <= worthReferring * pageBytes * epoch.fresh) return kept
    // Who refers only to keep less leaves it to others to refer to it.
    this.#references.begin(kept.inputBytes > mostKept * pageBytes * epoch.fresh)
    const other = new KeptEpoch(epoch, runs, this.#image, this.#brought, this.#packer, this.#references)
    if (other.inputBytes > kept.inputBytes / 2) return kept
    this.#counts.referring++
    return other
  }

  #partsOf(page: number): readonly Part[] | undefined {
    const there = !this.#unproved.has(page) && this.#lenses.has(page)
    return there ? this.#lenses.parts(page) : undefined
  }

  #piecesOf(page: number): readonly Piece[] | undefined {
    return this.#partsOf(page)?.flatMap(part =>
      part.recipe.pieces.flatMap(piece => {
        const from = Math.max(part.from, piece.at)
        const to = Math.min(part.from + part.length, piece.at + piece.length)
        const shift = part.at - part.from
        return from < to
          ? [{ ...piece, from: piece.from + from - piece.at, at: from + shift, length: to - from }]
          : []
      }),
    )
  }

  #keepHalf(page: number, epoch: number, made: Uint8Array): void {
    const before = this.#halves.get(page)
    this.#halves.delete(page)
    let bytes = before?.bytes
    if (bytes === undefined && this.#halves.size >= mostHalves) {
      const [oldest, half] = this.#halves.entries().next().value as [number, Half]
      this.#halves.delete(oldest)
      bytes = half.bytes
    }
    bytes ??= new Uint8Array(pageBytes)
    const more = before !== undefined && before.pieces.length < mostTogether - 1
    const piece = more ? onTop(page, epoch) : whole(page, epoch)
    putPiece(piece, made, bytes)
    this.#halves.set(page, { pieces: more ? [...before.pieces, piece] : [piece], bytes })
  }

  #replay(kept: KeptEpoch): boolean {
    if (this.#replayer.holds === kept.id) return true
    const start = threadTime()
    try {
      const pages = kept.references.map(reference => this.#references.bytesOf(reference))
      const made = threadTime()
      this.#replayer.replay(kept, pages)
      const now = threadTime()
      kept.own = now - made
      kept.milliseconds = now - start
      return true
    } catch (error) {
      if (!(error instanceof Divergence) && !(error instanceof RangeError)) throw error
      this.#counts.failed++
      return false
    } finally {
      this.#replayed = performance.now()
      this.#counts.replayMs += threadTime() - start
    }
  }

  #prove(page: number, recipe: Recipe, before: number): void {
    const there = this.#unproved.isPacked(page)
    if (there && this.#lenses.residualOf(page) <= sizeOf(recipe.residual)) {
      this.#unproved.settle(page)
      return
    }
    this.#use(recipe, 1)
    this.#forget(page)
    this.#lenses.set(page, recipe)
    // It was asked for already.
    if (there) return
    this.#shared.proved[page] = before
    this.#shared.states[page] = pageState.asked
    this.#requests.add(page)
  }

  #use({ pieces }: Recipe, by: number): void {
    for (const { epoch } of pieces) {
      const kept = this.#epochs.get(epoch)
      if (kept !== undefined) kept.users += by
    }
  }

  #forget(page: number): void {
    this.#unproved.settle(page)
    if (!this.#lenses.has(page)) return
    for (const { recipe } of this.#lenses.parts(page)) this.#use(recipe, -1)
    this.#lenses.delete(page)
  }

  #move({ pages, delta }: Moved): void {
    // One recipe for all that is made of a page.
    const sources = new Map<number, readonly Part[]>()
    const partsOf = (page: number): readonly Part[] => {
      let parts = sources.get(page)
      if (parts === undefined) sources.set(page, (parts = this.#lenses.parts(page)))
      return parts
    }
    const all = [...pages].map((page): readonly [number, readonly Part[]] => {
      const source = Math.floor((page * pageBytes + delta) / pageBytes)
      const offset = page * pageBytes + delta - source * pageBytes
      const parts = cutParts(partsOf(source), offset, pageBytes, 0)
      if (offset > 0) parts.push(...cutParts(partsOf(source + 1), 0, offset, pageBytes - offset))
      return [page, parts]
    })
    for (const [, parts] of all) for (const { recipe } of parts) this.#use(recipe, 1)
    for (const [page, parts] of all) {
      this.#forget(page)
      this.#lenses.setMoved(page, parts)
    }
    this.#counts.movedPages += pages.length
  }

  // Whether a virtual page holds nothing, as far as is known: it was given back after it was last written, or proved to be zeros.
  #holdsNothing(page: number): boolean {
    if (this.#freed.has(page, this.#shared.lastWritten[page] as number)) {
      this.#freed.emptied(page, this.#piecesOf(page))
      this.#empty(page)
    }
    return this.#lenses.isZero(page)
  }

  #free({ epoch, first, count }: Freed): void {
    this.#freed.add(epoch, first, count)
    this.#counts.freedPages += count
    for (let page = first; page < first + count; page++)
      if (this.#shared.states[page] === pageState.virtual) this.#holdsNothing(page)
  }

  // All that could have been made of what a page held, or copied from there, was. Nothing is compared: whatever it holds is nobody's.
  #goes(page: number, epoch: number): void {
    const { states, lastWritten, proved } = this.#shared
    const { physical, asked, clean } = pageState
    const last = lastWritten[page] as number
    // It was never written, or is written again already.
    if (last === 0 || last >= epoch) return
    if (states[page] === pageState.virtual) return
    this.#empty(page)
    proved[page] = epoch
    for (const state of [physical, clean])
      if (Atomics.compareExchange(states, page, state, asked) === state) this.#requests.add(page)
  }

  #empty(page: number): void {
    this.#forget(page)
    this.#lenses.set(page, zeros)
  }

  // What was dropped lies in nobody's memory; what was never written, neither.
  #sample(now: number): void {
    const { states, lastWritten, control } = this.#shared
    const top = control[word.top] as number
    this.#timeline.sample(now, 0, 0, this.#counts.rebuilds, (into, pages) => {
      for (let page = 0; page < top && top <= into.length * pages; page++)
        if (states[page] !== pageState.virtual && lastWritten[page] !== 0) {
          const cell = Math.floor(page / pages)
          into[cell] = (into[cell] as number) + 1
        }
      return top
    })
  }

  get #holdings(): Holdings {
    return { shared: this.#shared, lenses: this.#lenses, epochs: this.#epochs }
  }

  #report(): void {
    this.#reportWanted = false
    this.#sample(performance.now())
    const holdings = this.#holdings
    const times = this.#restorer.times.sort((a, b) => a - b)
    const micros = (q: number): number => Math.round(1000 * (times[Math.floor(times.length * q)] ?? 0))
    const inState = (state: number): number =>
      this.#shared.states.reduce((sum, s) => sum + (s === state ? 1 : 0), 0)
    const report: KeeperReport = {
      kind: 'report',
      ...this.#counts,
      held: this.#restorer.pressure.held,
      off: this.#restorer.pressure.off,
      virtual: inState(pageState.virtual),
      clean: inState(pageState.clean),
      kept: keptOf(holdings),
      faultMicros: { median: micros(0.5), p99: micros(0.99) },
      runs: runsOf(holdings),
      timeline: this.#timeline.record(),
    }
    this.#post(report)
    Atomics.add(this.#shared.control, word.asked, 1)
  }
}

if (parentPort !== null) {
  const { data, port } = workerData as { data: KeeperData; port: MessagePort }
  try {
    new Keeper(data, port).run()
  } catch (error) {
    // The guest may wait for a page that will never come.
    writeSync(2, `lethe: ${(error as Error).stack ?? String(error)}\n`)
    exitNow(1)
  }
}
