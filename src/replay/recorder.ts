// The guest thread's side: cuts the run into epochs, tells the keeper what each needs, and drops what the keeper has proved.
//
// Two modes. While the guest makes new pages it runs traced, and epochs are replayable. When it only reads and writes a few pages it
// runs plain; what it writes then can only be packed, and a cut is only a moment at which pages can be dropped.
import { openSync } from 'node:fs'
import type { EngineGlobal, EngineMemory, ImportObject } from '../guest/engine.ts'
import type { Observer, Running } from '../guest/instance.ts'
import type { GuestMemory, Provenance } from '../guest/memory.ts'
import { callKinds } from '../guest/wasi.ts'
import { addressOf } from '../sys/ffi.ts'
import { advise, page, protect, scanPages } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { copiesAt, logAt, logEntry } from './assemble.ts'
import { CallLog } from './calls.ts'
import { giveBack, sweep, unmapCode } from './calm.ts'
import { threadTime } from './clock.ts'
import { Dropper } from './dropper.ts'
import { unrepeatableCalls } from './host-calls.ts'
import { goOnPlain, goOnTraced } from './bodies.ts'
import type { GlobalName, Point } from './instrument.ts'
import {
  atStart,
  backlogOf,
  bytesPerReference,
  type Drops,
  type Epoch,
  type HostWrite,
  isTracking,
  leastOfPage,
  nowhere,
  pageState,
  type Shared,
  type SourceMessage,
  type ToKeeper,
  word,
} from './protocol.ts'
import { Tags } from './tags.ts'

const pageBytes = 4096
const logWords = logEntry / 4
const wasmPageBytes = 65_536
/**
 * How long an epoch should take, milliseconds: longer ones cost more at a fault, but share more inputs. It goes up while epochs read more
 * than so many bytes of before for each page that they write, and down else.
 */
const shortestEpoch = 2.5
const longestEpoch = 7
const inputsPerPage = 16
/** Down to this time if replays of them take longer (microseconds): pages that come back wait for one. */
const leastEpoch = 1.8
const longestReplay = 2500
/** And up where they write more than so many pages for each that they make newly: the next one writes in the same ones. */
const mostScattered = 8
/** A page that was written within so many epochs before is not newly made. */
const recently = 8
/** Recording ends when over so much of the guest's time (ms) it made fewer pages newly, a millisecond, than the first, and begins again above the second. */
const lookTime = 60
const quietRate = 0.15
const busyRate = 0.4
const unknownRate = (quietRate + busyRate) / 2
/** Fewer pages are copied as bytes. */
const leastMoved = 8
/** What an allocator may note in a block that is given back, at its ends. */
const margin = 64
/**
 * An epoch is not worth it if it read more bytes of before than this part of the pages that it made newly. After so many of them in a row nothing is recorded
 * for some of the guest's time (ms), every time twice as long.
 */
const mostInputs = 0.2
/** After so many epochs in a row for which too much would have to be kept, nobody hopes for pages that can be made again. */
const mostUnprofitable = 4
/** After so many of them nothing is recorded for some time either. */
const mostRefused = 24
const mostCostly = 6
/** What an epoch is worth at least, bytes, where it is asked how many times as much it read. */
const leastWorth = 16_384
const firstPause = 50
const mostBrought = 8
const longestPause = 5000
/** How far the keeper may be behind (KiB, or an eighth of what was written), and how long (ms) it is waited for at a cut. */
const leastBacklog = 48 << 10
const longestWait = 400
/** After so many cuts an activation goes on in a new one (bodies.ts). */
const renewEvery = 8
/**
 * In a plain phase, after so many cuts, what was in use for a moment is given back; after so much of the guest's time (ms) all that recording so many epochs
 * took: that takes some 40 ms.
 */
const sweepCuts = 16
const calmTime = 1000
const cutsPerCollection = 32
/** Who waits for so long (ms) does nothing for a while; then its epoch is ended; how often it is looked whether pages are to go. */
const idleAfter = 16
const endAfter = 250
const longestIdle = 512
/** Reads of a file shorter than this are kept as bytes. */
const shortRead = 96

export interface RecorderParts {
  readonly shared: Shared
  readonly points: readonly Point[]
  readonly mutable: number
  /** A userfaultfd with write protection that resolves itself. */
  readonly uffd: number
  /** /proc/self/pagemap */
  readonly pagemap: number
  readonly post: (message: ToKeeper) => void
  readonly takeDrops: () => Drops | undefined
}

interface Begun {
  id: number
  point: number
  locals: Uint8Array
  globals: (number | bigint)[]
  size: number
  budget: number
}

export class Recorder {
  readonly #parts: RecorderParts
  #globals: Record<string, EngineGlobal> = {}
  #guestMemory: GuestMemory | undefined
  #memory: EngineMemory | undefined
  /** Bytes of it that the guest may touch. */
  #open = 0
  #state: EngineMemory | undefined
  #tags: Tags | undefined
  #dropper: Dropper | undefined
  /** Bytes on a page that the epoch needs. */
  readonly #onPage: Uint16Array
  base = 0
  #begun: Begun = { id: 0, point: nowhere, locals: new Uint8Array(0), globals: [], size: 0, budget: 0 }
  readonly #calls = new CallLog()
  #writes: HostWrite[] = []
  #forbidden: string | undefined
  /** Runs of pages that scans within the epoch have found; of these, how many it made newly, and those that were written long before. */
  #scanned: number[] = []
  #fresh = 0
  #reused: number[] = []
  #since = 0
  #budget = 20000
  #epochTime = shortestEpoch
  #tracking = true
  /** Where the host has brought bytes of files, lately. */
  readonly #brought: { at: number; end: number }[] = []
  #costly = 0
  #pause = firstPause
  /** The guest's time that is left until recording is tried again. */
  #paused = 0
  /** Since the rate of writing was last looked at. */
  #pages = 0
  #time = 0
  /** Cuts when memory was last given back, and the guest's time in the plain phase, and its cuts. */
  #collected = 0
  #plainTime = 0
  #plainCuts = 0
  readonly #sources = new WeakMap<object, number>()
  #nextSource = 0
  /** The large copy that the guest made last, in the open epoch. */
  #copied = { from: 0, length: 0 }
  /** Counts for the report. */
  readonly counts = {
    cuts: 0,
    left: 0,
    plainCuts: 0,
    dropped: 0,
    refused: 0,
    plainPhases: 0,
    scanMs: 0,
    moved: 0,
    costly: 0,
    pauses: 0,
    waitedMs: 0,
  }

  constructor(parts: RecorderParts) {
    this.#parts = parts
    this.#onPage = new Uint16Array(parts.shared.states.length)
  }

  /** What the instrumented module imports. */
  get imports(): ImportObject {
    return {
      lethe: {
        cut: (point: number) => this.#cut(point),
        move: (to: number, from: number, length: number) => this.#move(to, from, length),
        sized: () => this.#sized(),
        freed: (at: number) => this.#freed(at >>> 0),
        left: () => this.#left(),
        end: () => this.#plainCut(),
      },
    }
  }

  /** To be called when there is an instance; `served` gets the address of its memory before anything is dropped. */
  ready({ instance, memory }: Running): void {
    this.#globals = instance.exports as unknown as Record<string, EngineGlobal>
    this.#guestMemory = memory
    this.#memory = memory.memory as unknown as EngineMemory
    this.#open = this.#memory.buffer.byteLength
    this.#state = instance.exports['lethe:state'] as EngineMemory
    const tags = instance.exports['lethe:tags'] as EngineMemory
    this.#tags = new Tags(tags, this.#globals, this.#parts.shared.states.length)
    this.base = addressOf(this.#memory.buffer)
    const most = this.#parts.shared.states.length * pageBytes
    advise(this.base, most, 15 /* MADV_NOHUGEPAGE */)
    const done = uffd.register(this.#parts.uffd, this.base, most, uffd.mode.wp)
    if (done < 0) throw new Error(`lethe: userfaultfd refuses the guest's memory (${done})`)
    const { shared, takeDrops } = this.#parts
    this.#dropper = new Dropper({
      shared,
      uffd: this.#parts.uffd,
      base: this.base,
      takeDrops,
      counts: this.counts,
    })
    this.#set('live', 1)
    this.#set('cutDepth', 1)
    this.#track(true)
    this.#since = threadTime()
    this.#begin(atStart)
    this.#set('low', 0)
  }

  /** What the guest's run is observed with. */
  get observer(): Observer {
    return {
      before: () => {
        this.#writes = []
      },
      after: (name, _args, result) => {
        this.#calls.add({ name, result, writes: this.#writes })
        this.#writes = []
        if (unrepeatableCalls.has(name) || !callKinds.has(name)) this.#forbidden ??= name
      },
      wrote: (at, length, provenance) => this.#hostWrote(at, length, provenance),
      waits: ready => this.#wait(ready),
    }
  }

  /** The guest has ended. */
  finish(): void {
    this.#post(0, true)
    Atomics.add(this.#parts.shared.control, word.open, 100)
    this.#begun.id += 100
  }

  // The guest waits: none of its code runs, so pages can go now. Those that the open epoch has written can when it is over: after a while it is ended here, where
  // no replay ends.
  #wait(ready: (milliseconds: number) => boolean): void {
    if (ready(idleAfter)) return
    const { control } = this.#parts.shared
    const since = performance.now()
    let wait = idleAfter
    let ended = !this.#tracking
    Atomics.store(control, word.waiting, 1)
    try {
      while (!ready(wait)) {
        wait = Math.min(longestIdle, wait * 2)
        if (Atomics.load(control, word.asked) > 0 && Atomics.load(control, word.hold) === 0) {
          this.dropNow()
          wait = idleAfter
        }
        const time = performance.now() - since
        if (!ended && time > endAfter) {
          ended = true
          this.#endHere()
        }
        if (time > calmTime && this.counts.cuts >= this.#collected + cutsPerCollection) {
          this.#collected = this.counts.cuts
          giveBack()
        } else if (wait === longestIdle) unmapCode()
      }
    } finally {
      Atomics.store(control, word.waiting, 0)
      this.#since = threadTime()
    }
  }

  #endHere(): void {
    const written = this.#scan()
    this.#count()
    this.#touched()
    this.#post(0, false, written, true)
    this.#tags?.forget(this.#size)
    this.#begin(nowhere)
  }

  /** The guest does not run. */
  dropNow(): void {
    this.#scan()
    this.#dropper?.drop()
  }

  /** Bytes of the engine's memory, which may be more than the guest has asked for. */
  get #size(): number {
    return (this.#memory as EngineMemory).buffer.byteLength
  }

  #set(name: Exclude<GlobalName, 'tag8'>, value: number): void {
    ;(this.#globals[`lethe:${name}`] as EngineGlobal).value = value
  }
  #get(name: GlobalName): number {
    return (this.#globals[`lethe:${name}`] as EngineGlobal).value as number
  }

  #hostWrote(at: number, length: number, provenance: Provenance | undefined): void {
    if (!this.#tracking || length === 0) return
    this.#tags?.fill(at, length)
    if (provenance !== undefined && length >= shortRead) {
      const last = this.#brought.at(-1)
      if (last?.end === at) last.end += length
      else if (this.#brought.push({ at, end: at + length }) > mostBrought) this.#brought.shift()
      const source = this.#source(provenance)
      if (source >= 0) {
        this.#writes.push({ at, source, offset: provenance.offset, length })
        return
      }
    }
    const memory = new Uint8Array((this.#memory as EngineMemory).buffer)
    this.#writes.push({ at, bytes: memory.slice(at, at + length) })
  }

  #source(provenance: Provenance): number {
    const { opened } = provenance
    let id = this.#sources.get(opened)
    if (id === undefined) {
      try {
        const fd = openSync(`/proc/self/fd/${provenance.fd}`, 'r')
        id = this.#nextSource++
        this.#parts.post({ kind: 'source', id, fd } satisfies SourceMessage)
      } catch {
        id = -1
      }
      this.#sources.set(opened, id)
    }
    return id
  }

  // The guest's memory has grown. What the engine has more than that is closed: a touch is out of bounds.
  #sized(): void {
    const size = this.#get('size') * wasmPageBytes
    const all = (this.#memory as EngineMemory).buffer.byteLength
    if (size > this.#open) protect(this.base + this.#open, size - this.#open, true)
    if (all > size) protect(this.base + size, all - size, false)
    this.#open = size
    this.#guestMemory?.endsAt(size)
  }

  // A traced activation is at a point, its locals are saved, and the budget is used up. 0, or in which body it shall go on.
  #cut(point: number): number {
    if (!this.#tracking) {
      this.#set('budget', this.#budget)
      return goOnPlain
    }
    this.counts.cuts++
    const time = this.#lap()
    const used = this.#begun.budget - this.#get('budget') - this.#get('skipped')
    const depth = this.#get('depth')
    if (this.#get('budget') < this.#get('limit'))
      this.#set('cutDepth', Math.max(depth, this.#get('cutDepth')))
    const written = this.#scan()
    this.#count()
    const inputs = this.#inputs(this.#touched())
    const many = inputs > inputsPerPage * this.#fresh
    const worth = mostInputs * pageBytes * this.#fresh
    // The keeper has looked closer.
    const refused = Atomics.load(this.#parts.shared.control, word.unprofitable) >= mostRefused
    const costly = this.#begun.point !== nowhere && (refused || inputs > worth)
    const times = refused ? mostCostly : inputs / Math.max(worth, leastWorth)
    const slow = Atomics.load(this.#parts.shared.control, word.replay) > longestReplay
    const shortest = slow ? leastEpoch : shortestEpoch
    const scattered = countOf(written) > mostScattered * this.#fresh
    const factor = scattered || (many && !slow) ? 1.1 : slow ? 0.9 : 0.95
    this.#epochTime = Math.min(longestEpoch, Math.max(shortest, this.#epochTime * factor))
    this.#post(used, false, written, costly)
    if (this.#begun.point !== nowhere && used > 100) this.#adapt(used, time)
    this.#dropper?.drop()
    if (this.#rate(time) < quietRate || this.#tooCostly(costly || this.#tags?.scattered === true, times)) {
      this.#plain()
      return goOnPlain
    }
    this.#begin(point)
    // What cutting takes would make epochs shorter, and more of them.
    this.#since = threadTime()
    return this.counts.cuts % renewEvery === 0 ? goOnTraced : 0
  }

  // Of a page that was written long before, what the epoch wrote of it counts: a hash table is written here and there, and not made newly.
  #count(): void {
    this.#fresh += Math.round((this.#tags as Tags).partOf(this.#reused) * this.#reused.length)
    this.#reused = []
  }

  // Bytes of before that are to be kept for the epoch: not those that a file has, where it matters by a sample of the log.
  #inputs(all: number): number {
    if (all < inputsPerPage * this.#fresh || this.#brought.length === 0) return all
    const log = this.#log()
    const entries = log.length / logWords
    const step = Math.max(1, Math.floor(entries / 512))
    let looked = 0
    let file = 0
    for (let i = 0; i < entries; i += step, looked++) {
      const at = log[logWords * i] as number
      if (this.#brought.some(r => at >= r.at && at < r.end)) file++
    }
    return all * (1 - file / looked)
  }

  #log(): Uint32Array {
    return new Uint32Array((this.#state as EngineMemory).buffer, logAt, (this.#get('log') - logAt) / 4)
  }

  // Notes the pages that the epoch has read: they are not to go soon. How many bytes of before it needs: none for zeros, and few for a page of which it
  // reads much: the keeper will find that it can be made again. Where it has not, they count.
  #touched(): number {
    const { lastRead, control } = this.#parts.shared
    const onPage = this.#onPage
    const { id } = this.#begun
    const log = this.#log()
    const pages: number[] = []
    for (let i = 0; i < log.length; i += logWords) {
      const page = (log[i] as number) >>> 12
      if (lastRead[page] !== id) {
        lastRead[page] = id
        this.#tags?.touched(page)
        pages.push(page)
        onPage[page] = 0
      }
      onPage[page] =
        (onPage[page] as number) + nonZeros(log[i + 2] as number) + nonZeros(log[i + 3] as number)
    }
    const most = Atomics.load(control, word.unprofitable) > mostUnprofitable ? Infinity : leastOfPage
    let inputs = 0
    for (const page of pages) {
      const count = onPage[page] as number
      inputs += count >= most ? bytesPerReference : count
    }
    return inputs
  }

  // Whether recording shall pause: for what its epochs read, or for what the tags of that take. An epoch that read `times` what it was worth counts for so many: who goes over all that there is will go on with that.
  #tooCostly(costly: boolean, times: number): boolean {
    if (!costly) {
      if (this.#begun.point !== nowhere) {
        this.#costly = 0
        this.#pause = Math.max(firstPause, this.#pause * 0.9)
      }
      return false
    }
    this.counts.costly++
    this.#costly += Math.max(1, Math.min(mostCostly, Math.floor(times)))
    if (this.#costly < mostCostly) return false
    this.#costly = mostCostly - 2
    this.#paused = this.#pause
    this.#pause = Math.min(longestPause, this.#pause * 2)
    this.counts.pauses++
    return true
  }

  /** Time of this thread since the last call, milliseconds. */
  #lap(): number {
    const now = threadTime()
    const time = now - this.#since
    this.#since = now
    return time
  }

  // Polls that take the time of an epoch.
  #adapt(used: number, time: number): void {
    // A plain loop may poll a hundred times as often as the next one, and nothing goes before that comes to its next cut.
    const least = this.#tracking ? 0.67 : 0.1
    const factor = Math.min(1.5, Math.max(least, this.#epochTime / Math.max(time, 0.01)))
    this.#budget = Math.max(500, Math.min(2e7, Math.round(used * factor)))
  }

  /** Pages newly made a millisecond, once enough of the guest's time has gone by; until then neither few nor many. */
  #rate(time: number): number {
    this.#pages += this.#fresh
    this.#time += time
    if (this.#time < lookTime) return unknownRate
    const rate = this.#pages / this.#time
    this.#pages = this.#time = 0
    return rate
  }

  // The activation that the epoch began in has returned.
  #left(): void {
    this.counts.left++
    const used = this.#begun.budget - this.#get('budget') - this.#get('skipped')
    const written = this.#scan()
    this.#count()
    this.#touched()
    this.#post(0, false, written)
    this.#rate(this.#lap())
    // Epochs that end long before their budget began too deep.
    if (used < this.#begun.budget / 4) this.#set('cutDepth', Math.max(1, this.#get('depth')))
    this.#begin(nowhere)
  }

  // A plain phase: nothing is recorded. 0, or in which body the activation shall go on.
  #plainCut(): number {
    this.counts.plainCuts++
    const time = this.#lap()
    if (!this.#tracking) this.#adapt(this.#budget, time)
    this.#set('budget', this.#budget)
    if (this.#tracking) return goOnTraced
    const on = this.counts.plainCuts % renewEvery === 0 ? goOnPlain : 0
    this.#paused = Math.max(0, this.#paused - time)
    this.#plainTime += time
    this.#giveBack()
    const { control } = this.#parts.shared
    const asked = Atomics.load(control, word.asked) > 0 && Atomics.load(control, word.hold) === 0
    // Each scan protects what is written again and again, and makes faults so.
    if (!asked && this.#time + time < lookTime) {
      this.#time += time
      return on
    }
    const written = this.#scan()
    if (written.length > 0) this.#parts.post({ kind: 'written', written })
    Atomics.add(control, word.open, 1)
    this.#begun.id++
    this.#dropper?.drop()
    // What it wrote of them nobody knows.
    this.#fresh += this.#reused.length
    const rate = this.#rate(time)
    this.#scanned = []
    this.#fresh = 0
    this.#reused = []
    // When a pause is over the guest is not calm before that is known: all would be dropped.
    if (rate < quietRate || (this.#paused === 0 && rate < busyRate && rate !== unknownRate))
      Atomics.store(control, word.tracking, isTracking.no)
    if (rate < busyRate || this.#paused > 0) return on
    Atomics.store(control, word.unprofitable, 0)
    this.#track(true)
    this.#begin(nowhere)
    return goOnTraced
  }

  #giveBack(): void {
    if (++this.#plainCuts === sweepCuts) sweep()
    if (this.#paused > 0 || this.counts.cuts < this.#collected + cutsPerCollection) return
    if (this.#plainTime < calmTime) return
    this.#collected = this.counts.cuts
    giveBack()
    this.#since = threadTime()
  }

  #plain(): void {
    this.#plainTime = 0
    this.#plainCuts = 0
    this.counts.plainPhases++
    this.#track(false)
    this.#set('low', 0)
    this.#begin(nowhere)
    this.#set('budget', this.#budget)
  }

  #track(on: boolean): void {
    this.#tracking = on
    this.#set('tracking', on ? 1 : 0)
    const { yes, no, paused } = isTracking
    Atomics.store(this.#parts.shared.control, word.tracking, on ? yes : this.#paused > 0 ? paused : no)
    if (!on) this.#tags?.forget(this.#size)
  }

  #begin(point: number): void {
    const { shared, points, mutable } = this.#parts
    const id = Atomics.add(shared.control, word.open, 1) + 1
    const saved = point < 0 ? 0 : (points[point] as Point).saved
    const globals: (number | bigint)[] = []
    for (let i = 0; i < mutable; i++) globals.push((this.#globals[`lethe:m${i}`] as EngineGlobal).value)
    // From nowhere the next point will do, whatever the budget.
    const budget = point === nowhere ? 0 : this.#budget
    this.#begun = {
      id,
      point,
      locals: new Uint8Array((this.#state as EngineMemory).buffer).slice(0, saved),
      globals,
      size: this.#get('size'),
      budget,
    }
    this.#calls.take()
    this.#scanned = []
    this.#fresh = 0
    this.#reused = []
    this.#forbidden = undefined
    this.#set('budget', budget)
    this.#set('limit', point === nowhere ? -this.#budget : -3 * this.#budget)
    this.#set('low', point === nowhere ? 0 : this.#get('depth'))
    this.#set('log', logAt)
    this.#set('copies', 0)
    this.#set('copied', -1)
    this.#set('skipped', 0)
    if (this.#tracking) this.#tags?.next(shared.control[word.top] as number, this.#size)
  }

  #post(polls: number, last: boolean, written = this.#scan(), costly = false): void {
    const begun = this.#begun
    const state = (this.#state as EngineMemory).buffer
    const epoch: Epoch = {
      kind: 'epoch',
      id: begun.id,
      point: costly ? nowhere : begun.point,
      locals: begun.locals,
      globals: begun.globals,
      size: begun.size,
      polls,
      inputs:
        costly || begun.point === nowhere
          ? new Uint8Array(0)
          : new Uint8Array(state).slice(logAt, this.#get('log')),
      copies: new Uint32Array(state).slice(copiesAt / 4, (copiesAt + this.#get('copies')) / 4),
      calls: this.#calls.take(),
      written,
      fresh: this.#fresh,
      forbidden: last ? 'the end of the run' : this.#forbidden,
    }
    Atomics.add(this.#parts.shared.control, word.backlog, backlogOf(epoch))
    this.#parts.post(epoch)
    if (!last) this.#await()
  }

  // What is not looked at yet takes memory.
  #await(): void {
    const { control } = this.#parts.shared
    const most = Math.max(leastBacklog, (control[word.top] as number) / 2)
    const until = performance.now() + longestWait
    for (;;) {
      const now = performance.now()
      const backlog = Atomics.load(control, word.backlog)
      if (backlog <= most || now >= until) return
      Atomics.wait(control, word.backlog, backlog, until - now)
      this.counts.waitedMs += performance.now() - now
    }
  }

  /** Notes which pages were written since the last scan, and protects them again. Gives all that the epoch wrote. */
  #scan(): Uint32Array {
    const t = performance.now()
    const { shared, pagemap } = this.#parts
    const { id } = this.#begun
    const length = (this.#memory as EngineMemory).buffer.byteLength
    const runs = this.#scanned
    const found = (start: number, end: number): void => {
      const first = (start - this.base) / pageBytes
      const count = (end - start) / pageBytes
      runs.push(first, count)
      for (let p = first; p < first + count; p++) {
        this.#tags?.touched(p)
        const before = shared.lastWritten[p] as number
        if (before === 0) this.#fresh++
        else if (before + recently < id) this.#reused.push(p)
        shared.lastWritten[p] = id
        if (shared.states[p] === pageState.clean) shared.states[p] = pageState.physical
      }
      if (first + count > (shared.control[word.top] as number)) shared.control[word.top] = first + count
    }
    const done = scanPages(
      pagemap,
      this.base,
      this.base + length,
      page.present | page.written,
      0,
      0,
      found,
      true,
    )
    if (done < 0) throw new Error(`lethe: PAGEMAP_SCAN failed (${done})`)
    this.counts.scanMs += performance.now() - t
    return Uint32Array.from(runs)
  }

  // The guest is about to copy memory. If most of it is proved, lenses are moved instead of bytes; the rest is copied here. Whether that
  // was done: 1, or the guest copies itself.
  #move(to: number, from: number, length: number): number {
    const { states, lastWritten, proved } = this.#parts.shared
    const memory = (this.#memory as EngineMemory).buffer
    this.#copied = { from, length }
    this.#set('copied', from)
    if (Math.max(to, from) + length > this.#get('size') * wasmPageBytes) return 0
    if (!this.#tracking || Math.abs(to - from) < length) return 0
    const there = (page: number): boolean => {
      const state = states[page]
      if (state === pageState.asked) return (lastWritten[page] as number) < (proved[page] as number)
      return state === pageState.virtual || state === pageState.clean
    }
    const delta = from - to
    const first = Math.ceil(to / pageBytes)
    const end = Math.floor((to + length) / pageBytes)
    const source = (page: number): number => Math.floor((page * pageBytes + delta) / pageBytes)
    const aligned = delta % pageBytes === 0
    const moves = (page: number): boolean =>
      (lastWritten[page] === 0 || there(page)) && there(source(page)) && (aligned || there(source(page) + 1))
    let worth = 0
    for (let page = first; page < end; page++) if (moves(page)) worth++
    if (worth < leastMoved) return 0
    this.#scan()
    const pages: number[] = []
    const bytes = new Uint8Array(memory)
    let copied = to
    for (let page = first; page < end; page++) {
      if (!moves(page)) continue
      pages.push(page)
      const at = page * pageBytes
      if (at > copied) bytes.copyWithin(copied, copied + delta, at + delta)
      copied = at + pageBytes
    }
    if (to + length > copied) bytes.copyWithin(copied, copied + delta, from + length)
    // The keeper hears of it before anybody can touch it.
    this.#parts.post({ kind: 'moved', pages: Uint32Array.from(pages), delta })
    for (let i = 0; i < pages.length; ) {
      const start = pages[i] as number
      let page = start
      for (; pages[i] === page; i++, page++) {
        states[page] = pageState.virtual
        lastWritten[page] = this.#begun.id
      }
      this.#dropper?.forget(start, page)
      if (page > (this.#parts.shared.control[word.top] as number)) this.#parts.shared.control[word.top] = page
    }
    this.counts.moved += pages.length
    return 1
  }

  // A block is given back of which the guest has just copied all: an array has grown.
  #freed(at: number): void {
    const { from, length } = this.#copied
    if (!this.#tracking || at !== from) return
    this.#set('copied', -1)
    const first = Math.ceil((from + margin) / pageBytes)
    const count = Math.floor((from + length - margin) / pageBytes) - first
    if (count >= leastMoved) this.#parts.post({ kind: 'freed', epoch: this.#begun.id, first, count })
  }
}

/** How many pages runs (first, count) have. */
function countOf(runs: Uint32Array): number {
  let count = 0
  for (let r = 1; r < runs.length; r += 2) count += runs[r] as number
  return count
}

/** How many of the four bytes of a word are not 0. */
function nonZeros(word: number): number {
  let bits = word | (word >>> 4)
  bits |= bits >>> 2
  bits |= bits >>> 1
  return Math.imul(bits & 0x0101_0101, 0x0101_0101) >>> 24
}
