// The keeper's thread: replays what the recorder sends, proves pages, and answers the faults of the guest.
//
//   fault    → the page is virtual: made by its lens; or was never there: zero
//   epoch    → replayed; pages that came out right are asked for (Drops)
//   idle     → pages that their last epoch alone does not make are tried again with older epochs and copies (later.ts)
import { writeSync } from 'node:fs'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import { bufferAt, arena, call3, exitNow, getAddress, nr, trimHeap } from '../sys/ffi.ts'
import { EEXIST, EINTR } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import * as uffd from '../sys/uffd.ts'
import { Brought, Image, KeptEpoch } from './epochs.ts'
import { Later, mostTrials } from './later.ts'
import { Packer } from './pack.ts'
import { Pressure } from './pressure.ts'
import { Lenses, pageBytes, type Part, type Piece, type Recipe, residualOf, whole } from './lenses.ts'
import {
  backlogOf,
  type Epoch,
  type FromKeeper,
  type KeeperData,
  type KeeperReport,
  type Moved,
  nowhere,
  type PageRun,
  pageState,
  type Shared,
  sharedOf,
  type ToKeeper,
  word,
} from './protocol.ts'
import { Divergence, Replayer } from './replayer.ts'
import { Sources } from './sources.ts'

const inboxSlots = 16
/** Pages behind a faulting one that the same replay makes come too: they cost little beside it. More when faults go on in one direction. */
const leastAhead = 8
const mostAhead = 64
/** Drops are asked for in groups. */
const group = 256
/** A page is tried again when it was not written for so many epochs; many of them together, or when no epoch has come for some time (ms). */
const quietFor = 6
const lullAfter = 150
/** What is kept for an epoch is worth it up to this part of the pages that it makes newly. */
const mostKept = 0.35
/** How often a page that came out wrong is made again before the run is given up. */
const mostAttempts = 3

/** Packed residuals from here on are compared with what an older epoch would leave over; above the second, others are tried later. */
const littleResidual = 64
const muchResidual = 700
/** Words of a page that an epoch must have made so that they are remembered for the next, and how many pages are. */
const leastHalf = 128
const mostHalves = 256

/** Memory that is free is given back to the system when so many epochs were looked at and nothing waits. */
const epochsPerTrim = 32

interface Half {
  readonly epoch: number
  readonly bytes: Uint8Array
}

class Keeper {
  readonly #data: KeeperData
  readonly #port: MessagePort
  readonly #shared: Shared
  readonly #guest: Uint8Array
  readonly #poller = new fds.Poller()
  readonly #inbox = arena(inboxSlots * uffd.messageSize)
  /** The page that the guest waits for, another, and the recipe of which the last one holds the outcome. */
  readonly #page = arena(pageBytes)
  readonly #other = arena(pageBytes)
  readonly #made = new Uint8Array(pageBytes)
  #madeOf: Recipe | undefined
  readonly #sources = new Sources()
  readonly #replayer: Replayer
  readonly #image: Image
  readonly #brought = new Brought(this.#sources.read)
  readonly #packer = new Packer()
  readonly #lenses: Lenses
  readonly #later: Later
  readonly #epochs = new Map<number, KeptEpoch>()
  /** What an epoch made of pages that were written after it already. */
  readonly #halves = new Map<number, Half>()
  readonly #queue: Epoch[] = []
  #askPages: number[] = []
  #askBefore: number[] = []
  /** Clean pages in the order in which they came back, and before which epoch each did. */
  readonly #came: number[] = []
  readonly #before: Uint32Array
  readonly #pressure: Pressure
  #lastEpoch = 0
  #trimmed = 0
  #lastFault = -1
  #ahead = leastAhead
  #running = true
  #reportWanted = false
  #deadline = Infinity
  readonly #times: number[] = []
  readonly #counts = {
    epochs: 0,
    replayable: 0,
    failed: 0,
    unprofitable: 0,
    unlooked: 0,
    forbidden: {} as Record<string, number>,
    provedPages: 0,
    copiedPages: 0,
    rebasedPages: 0,
    movedPages: 0,
    rebuilds: 0,
    rebuiltPages: 0,
    mismatches: 0,
    replayMs: 0,
  }

  constructor(data: KeeperData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#shared = sharedOf(data.shared, data.pages)
    this.#guest = new Uint8Array(bufferAt(data.base, data.pages * pageBytes))
    this.#image = new Image(data.image)
    this.#lenses = new Lenses(data.pages, this.#packer)
    this.#before = new Uint32Array(data.pages)
    this.#replayer = new Replayer(data, this.#sources.read)
    this.#later = new Later(data.pages)
    this.#pressure = new Pressure(this.#shared.control, data.budget)
    this.#poller.add(data.uffd)
    this.#poller.add(data.wake)
    this.#poller.add(this.#sources.descriptor)
  }

  run(): void {
    while (this.#running) {
      const busy = this.#queue.length > 0 || this.#again
      const ready = this.#poller.wait(busy ? 0 : this.#reportWanted ? 1 : lullAfter)
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#data.uffd) this.#faults()
        else if (fd === this.#sources.descriptor) this.#sources.look()
        else {
          fds.clearEvent(fd)
          this.#messages()
        }
      }
      this.#pressure.look(performance.now())
      this.#evict()
      if (this.#reportWanted && performance.now() > this.#deadline) {
        this.#counts.unlooked += this.#queue.length
        this.#queue.length = 0
        this.#later.forget()
      }
      const epoch = this.#queue.shift()
      if (epoch !== undefined) {
        this.#take(epoch)
        Atomics.sub(this.#shared.control, word.backlog, backlogOf(epoch))
        Atomics.notify(this.#shared.control, word.backlog)
      } else if (this.#again) this.#tryAgain()
      else {
        this.#ask(true)
        this.#giveBack()
        this.#later.look(this.#shared, quietFor)
        // Pages that are asked for are neither virtual nor physical yet.
        const settled = this.#later.ready === 0 && Atomics.load(this.#shared.control, word.asked) === 0
        if (settled && this.#reportWanted) this.#report()
      }
    }
  }

  /** Each epoch that is replayed for older pages is replayed for all of them: there should be many. */
  get #again(): boolean {
    const { ready } = this.#later
    if (ready === 0 || ready >= mostTrials) return ready > 0
    return this.#reportWanted || performance.now() - this.#lastEpoch > lullAfter
  }

  // What epochs came in lies free in malloc's arenas.
  #giveBack(): void {
    if (this.#counts.epochs < this.#trimmed + epochsPerTrim) return
    this.#trimmed = this.#counts.epochs
    trimHeap()
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
      else if (message.kind === 'report') {
        this.#reportWanted = true
        this.#pressure.release()
        this.#deadline = performance.now() + (message.within ?? 0)
      } else this.#running = false
    }
  }

  // Between two pieces of work that take long.
  #between(): void {
    if (this.#poller.wait(0) > 0) this.#faults()
  }

  #take(epoch: Epoch): void {
    const shared = this.#shared
    this.#counts.epochs++
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
    const kept = new KeptEpoch(epoch, this.#image, this.#brought, this.#packer)
    this.#brought.add(epoch.calls)
    if (kept.inputBytes > mostKept * pageBytes * epoch.fresh) {
      this.#counts.unprofitable++
      this.#later.written(epoch)
      return
    }
    this.#later.copies(epoch)
    // Before anything of the guest's is read: pages written from now on are not those that we compare.
    const before = Atomics.load(shared.control, word.open)
    if (!this.#replay(kept)) {
      this.#later.written(epoch)
      return
    }
    this.#counts.replayable++
    const made = this.#replayer.bytes
    const proofs: { page: number; by: number; residual: Uint8Array | undefined; hash: number }[] = []
    const tryLater: number[] = []
    for (const page of pagesOf(epoch.written)) {
      const state = shared.states[page]
      if (state !== pageState.physical || (shared.lastWritten[page] as number) > epoch.id) continue
      const at = page * pageBytes
      const wanted = this.#guest.subarray(at, at + pageBytes)
      let by = epoch.id
      let residual = residualOf(made.subarray(at, at + pageBytes), wanted, this.#packer, true)
      const half = this.#halves.get(page)
      if (half !== undefined && (residual === null || (residual?.length ?? 0) > littleResidual)) {
        const other = residualOf(half.bytes, wanted, this.#packer, true)
        if (other !== null && (residual === null || (other?.length ?? 0) < (residual?.length ?? 0))) {
          by = half.epoch
          residual = other
        }
      }
      this.#halves.delete(page)
      if (residual === null || (residual !== undefined && residual.length > muchResidual)) tryLater.push(page)
      else proofs.push({ page, by, residual, hash: crc32(wanted) })
    }
    this.#epochs.set(kept.id, kept)
    for (const page of pagesOf(epoch.written)) {
      const much = this.#later.candidate(page, epoch.id, made) > leastHalf
      // It is being filled: what a later epoch leaves over of it may be less with what this one made.
      if (much && (shared.lastWritten[page] as number) > epoch.id) this.#keepHalf(page, epoch.id, made)
    }
    for (const page of tryLater) this.#later.wanted(page)
    for (const { page, by, residual, hash } of proofs) {
      this.#prove(page, { pieces: [whole(page, by)], residual, hash }, before)
      this.#counts.provedPages++
    }
    this.#ask(false)
  }

  #keepHalf(page: number, epoch: number, made: Uint8Array): void {
    let bytes: Uint8Array
    if (this.#halves.size >= mostHalves) {
      const [oldest, half] = this.#halves.entries().next().value as [number, Half]
      this.#halves.delete(oldest)
      bytes = half.bytes
    } else bytes = new Uint8Array(pageBytes)
    bytes.set(made.subarray(page * pageBytes, (page + 1) * pageBytes))
    this.#halves.set(page, { epoch, bytes })
  }

  #replay(kept: KeptEpoch): boolean {
    const start = performance.now()
    try {
      this.#replayer.replay(kept)
      return true
    } catch (error) {
      if (!(error instanceof Divergence) && !(error instanceof RangeError)) throw error
      this.#counts.failed++
      return false
    } finally {
      this.#counts.replayMs += performance.now() - start
    }
  }

  #prove(page: number, recipe: Recipe, before: number): void {
    this.#use(recipe, 1)
    this.#forget(page)
    this.#lenses.set(page, recipe)
    this.#shared.states[page] = pageState.asked
    this.#askPages.push(page)
    this.#askBefore.push(before)
  }

  #use({ pieces }: Recipe, by: number): void {
    for (const { epoch } of pieces) {
      const kept = this.#epochs.get(epoch)
      if (kept !== undefined) kept.users += by
    }
  }

  #forget(page: number): void {
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
      const parts = cut(partsOf(source), offset, pageBytes, 0)
      if (offset > 0) parts.push(...cut(partsOf(source + 1), 0, offset, pageBytes - offset))
      return [page, parts]
    })
    for (const [, parts] of all) for (const { recipe } of parts) this.#use(recipe, 1)
    for (const [page, parts] of all) {
      this.#forget(page)
      this.#lenses.setMoved(page, parts)
    }
    this.#counts.movedPages += pages.length
  }

  #ask(all: boolean): void {
    if (this.#askPages.length === 0 || (!all && this.#askPages.length < group)) return
    const order = this.#askPages
      .map((_, i) => i)
      .sort((a, b) => (this.#askPages[a] as number) - (this.#askPages[b] as number))
    const pages = Uint32Array.from(order, i => this.#askPages[i] as number)
    const before = Uint32Array.from(order, i => this.#askBefore[i] as number)
    this.#askPages = []
    this.#askBefore = []
    this.#post({ kind: 'drops', pages, before })
    Atomics.add(this.#shared.control, word.asked, 1)
  }

  // Pages of older epochs, a batch of pages at a time.
  #tryAgain(): void {
    const before = Atomics.load(this.#shared.control, word.open)
    const batch = this.#later.take(this.#shared, id => this.#epochs.has(id))
    const images = batch.map(() => new Uint8Array(pageBytes))
    const bad = new Set<number>()
    const jobs: { epoch: number; page: number; piece: Piece }[] = []
    batch.forEach(({ pieces }, i) => {
      for (const piece of pieces) jobs.push({ epoch: piece.epoch, page: i, piece })
    })
    jobs.sort((a, b) => a.epoch - b.epoch)
    for (const { epoch, page, piece } of jobs) {
      if (this.#replayer.holds !== epoch) {
        this.#between()
        if (!this.#replay(this.#epochs.get(epoch) as KeptEpoch)) {
          bad.add(page)
          continue
        }
      }
      ;(images[page] as Uint8Array).set(
        this.#replayer.bytes.subarray(piece.from, piece.from + piece.length),
        piece.at,
      )
    }
    batch.forEach(({ page, pieces }, i) => {
      if (bad.has(i) || this.#shared.states[page] !== pageState.physical) return
      const at = page * pageBytes
      const wanted = this.#guest.subarray(at, at + pageBytes)
      const residual = residualOf(images[i] as Uint8Array, wanted, this.#packer, false)
      if (residual === null) return
      this.#prove(page, { pieces, residual, hash: crc32(wanted) }, before)
      if (pieces.length > 1 || pieces[0]?.from !== at) this.#counts.copiedPages++
      else this.#counts.rebasedPages++
    })
    this.#ask(false)
  }

  #faults(): void {
    const { u32, address } = this.#inbox
    for (;;) {
      const n = call3(nr.read, this.#data.uffd, address, inboxSlots * uffd.messageSize)
      if (n === -EINTR) continue
      if (n <= 0) return
      for (let slot = 0; slot < n / uffd.messageSize; slot++) {
        if (((u32[slot * 8] as number) & 0xff) !== uffd.event.pagefault) continue
        this.#fault(Math.floor((getAddress(u32, slot * 8 + 4) - this.#data.base) / pageBytes))
      }
    }
  }

  #fault(page: number): void {
    const start = performance.now()
    const at = this.#data.base + page * pageBytes
    // What is moved was moved before it is touched.
    this.#messages()
    if (this.#shared.states[page] !== pageState.virtual) {
      uffd.zeropage(this.#data.uffd, at, pageBytes)
      uffd.wake(this.#data.uffd, at, pageBytes)
      return
    }
    this.#counts.rebuilds++
    const again = this.#before[page] !== 0
    this.#ahead =
      page > this.#lastFault && page <= this.#lastFault + 1 + this.#ahead
        ? Math.min(mostAhead, this.#ahead * 2)
        : leastAhead
    this.#lastFault = page
    this.#assemble(page, this.#page.bytes)
    if (this.#pressure.high) this.#allOf(this.#replayer.holds, page)
    else this.#next(page)
    this.#install(page, this.#page.address)
    const end = performance.now()
    if (this.#times.length < 1e6) this.#times.push(end - start)
    if (again) this.#pressure.waited(start, end)
  }

  // Pages behind a faulting one that the replay has made too.
  #next(page: number): void {
    for (let i = 1; i <= this.#ahead; i++) {
      const next = page + i
      if (next >= this.#data.pages || this.#shared.states[next] !== pageState.virtual) break
      if (!this.#lenses.madeBy(next, this.#replayer.holds)) break
      this.#assemble(next, this.#other.bytes)
      this.#install(next, this.#other.address)
      this.#lastFault = next
    }
  }

  // Every page that the replay has made: the guest comes back for them all.
  #allOf(epoch: number, but: number): void {
    const { states, control } = this.#shared
    const top = control[word.top] as number
    for (let page = 0; page < top; page++) {
      if (page === but || states[page] !== pageState.virtual || !this.#lenses.madeBy(page, epoch)) continue
      this.#assemble(page, this.#other.bytes)
      this.#install(page, this.#other.address)
    }
  }

  // The bytes of a virtual page.
  #assemble(page: number, into: Uint8Array): void {
    for (const { recipe, from, at, length } of this.#lenses.parts(page)) {
      if (this.#madeOf !== recipe) this.#make(page, recipe)
      into.set(this.#made.subarray(from, from + length), at)
    }
  }

  #make(page: number, recipe: Recipe): void {
    this.#madeOf = undefined
    // Code that was optimized meanwhile may have given a NaN another payload; the next time may not.
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      this.#made.fill(0)
      const done = recipe.pieces.every(piece => {
        if (!this.#replay(this.#epochs.get(piece.epoch) as KeptEpoch)) return false
        this.#made.set(this.#replayer.bytes.subarray(piece.from, piece.from + piece.length), piece.at)
        return true
      })
      if (done && this.#lenses.finish(recipe, this.#made)) {
        this.#madeOf = recipe
        return
      }
      this.#replayer.holds = -1
      this.#counts.mismatches++
    }
    this.#fail(page)
  }

  #install(page: number, from: number): void {
    this.#before[page] = Atomics.load(this.#shared.control, word.open)
    this.#shared.states[page] = pageState.clean
    this.#came.push(page)
    this.#counts.rebuiltPages++
    const at = this.#data.base + page * pageBytes
    const done = uffd.copy(this.#data.uffd, at, from, pageBytes, true)
    if (done < 0) {
      if (done !== -EEXIST) throw new Error(`lethe: UFFDIO_COPY failed (${done})`)
      uffd.wake(this.#data.uffd, at, pageBytes)
    }
  }

  // Never wrong bytes: the guest can't go on without this page.
  #fail(page: number): never {
    throw new Error(
      `the page at ${page * pageBytes} of the guest's memory could not be made again as it was; run the program without --explain`,
    )
  }

  #evict(): void {
    const limit = this.#pressure.pages
    if (this.#came.length <= limit) return
    const going = this.#came.splice(0, Math.max(32, Math.floor(limit / 4)))
    for (const page of going) {
      // The guest may be writing it, or moving another to its place.
      const { clean, asked } = pageState
      if (Atomics.compareExchange(this.#shared.states, page, clean, asked) !== clean) continue
      this.#askPages.push(page)
      this.#askBefore.push(this.#before[page] as number)
    }
    this.#ask(true)
  }

  #runs(): PageRun[] {
    const { states, control, lastWritten } = this.#shared
    const runs: { -readonly [K in keyof PageRun]: PageRun[K] }[] = []
    for (let page = 0; page < (control[word.top] as number); page++) {
      if (lastWritten[page] === 0) continue
      const state = states[page]
      const there = state === pageState.virtual || state === pageState.clean
      const pieces = there ? this.#lenses.pieces(page) : []
      const [one] = pieces
      const why =
        one === undefined
          ? this.#whyPhysical(page)
          : this.#lenses.isMoved(page)
            ? 'moved'
            : pieces.length > 1 || one.from !== page * pageBytes
              ? 'copied'
              : one.epoch === lastWritten[page]
                ? 'last'
                : 'older'
      const kind = state === pageState.virtual ? 'virtual' : there ? 'clean' : 'physical'
      const point = one === undefined ? nowhere : (this.#epochs.get(one.epoch)?.point ?? nowhere)
      const before = runs.at(-1)
      if (
        before !== undefined &&
        before.first + before.count === page &&
        before.kind === kind &&
        before.why === why &&
        before.point === point
      )
        before.count++
      else runs.push({ first: page, count: 1, kind, why, point })
    }
    return runs
  }

  #whyPhysical(page: number): string {
    const last = this.#shared.lastWritten[page] as number
    if (this.#epochs.has(last)) return 'written in the last epochs, or replay made too little of it'
    return 'written last where nothing is recorded: in a phase that made few pages, by an epoch that is not repeatable, or at the end'
  }

  #report(): void {
    this.#reportWanted = false
    let inputs = 0
    let calls = 0
    for (const kept of this.#epochs.values()) {
      if (kept.users === 0) continue
      inputs += kept.inputBytes
      calls += kept.callBytes
    }
    this.#times.sort((a, b) => a - b)
    const micros = (q: number): number =>
      Math.round(1000 * (this.#times[Math.floor(this.#times.length * q)] ?? 0))
    const inState = (state: number): number =>
      this.#shared.states.reduce((sum, s) => sum + (s === state ? 1 : 0), 0)
    const report: KeeperReport = {
      kind: 'report',
      ...this.#counts,
      held: this.#pressure.held,
      off: this.#pressure.off,
      virtual: inState(pageState.virtual),
      clean: inState(pageState.clean),
      kept: {
        inputs,
        calls,
        residuals: this.#lenses.residualBytes,
        tables: this.#lenses.pieceBytes + this.#lenses.pages * 8,
      },
      faultMicros: { median: micros(0.5), p99: micros(0.99) },
      runs: this.#runs(),
    }
    this.#post(report)
    Atomics.add(this.#shared.control, word.asked, 1)
  }
}

/** The parts of what lies in [from, to) of a page, from `at` on. */
function cut(parts: readonly Part[], from: number, to: number, at: number): Part[] {
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

function* pagesOf(runs: Uint32Array): Generator<number> {
  for (let r = 0; r < runs.length; r += 2) {
    const first = runs[r] as number
    for (let page = first; page < first + (runs[r + 1] as number); page++) yield page
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
