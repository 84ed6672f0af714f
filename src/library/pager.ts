// The pager thread: one loop that sleeps in epoll over our own userfaultfd and the eventfd of requests.
//
//   fault    → the region's RegionPages.fault
//   request  → mapped, unmapped, pages brought or pinned: in slices, with faults served between them
//
// It touches no virtual memory (only pages that it knows to be there) and waits for nobody, so that a thread which
// is blocked in a fault is always served. A failure that we did not foresee ends the region that it happened in, never the loop.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Pages, RegionPages } from './region-pages.ts'
import { EINTR, errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { arena, call3, getAddress, nr } from '../sys/ffi.ts'
import { discard, setPriority } from '../sys/memory.ts'
import { pageBytes } from '../pager/journal.ts'
import { CpuFollower } from '../pager/follow.ts'
import * as uffd from '../sys/uffd.ts'
import { isPending, ObjectBacking } from '../backing/object.ts'
import { MemoryError, plain } from './errors.ts'
import { Drops } from './drops.ts'
import { Frames, mostPages, unitPages } from './frames.ts'
import { Leases, takeLease } from './leases.ts'
import type { MapRequest, Mode, PagerData, RangeRequest, Reply, Request } from './protocol.ts'
import { BackingGuard } from './guard.ts'
import { HugePages } from './spans.ts'
import { open, type Opened, prepare, type Seen, type SourceData } from './source.ts'
import { storeIn } from './store.ts'
import { TraceRing } from './trace.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
const USER_MODE_ONLY = 1
const inboxSlots = 64

/** How long the loop sleeps at most, milliseconds: a thread that is being ended notices it then. */
const idleWait = 500

/** Pages that are brought for somebody who does not fault, a slice at a time. */
interface Job {
  readonly ticket: number
  readonly region: RegionPages
  at: number
  readonly to: number
  readonly after: (() => void) | undefined
}

class Pager {
  readonly #data: PagerData
  readonly #port: MessagePort
  readonly #uffd: number
  readonly #poller = new fds.Poller()
  readonly #frames: Frames
  readonly #drops = new Drops()
  readonly #huge: HugePages
  readonly #leases = new Leases()
  readonly #regions: RegionPages[] = []
  readonly #served = new Map<number, { source: SourceData; guard: BackingGuard }>()
  readonly #buffer = arena(mostPages * pageBytes)
  readonly #inbox = arena(inboxSlots * uffd.messageSize)
  readonly #jobs: Job[] = []
  readonly #follower = new CpuFollower(process.pid)
  #last: RegionPages | undefined
  /** Backings whose bytes come over the network, and faults that wait for some. */
  readonly #objects = new Set<ObjectBacking>()
  readonly #deferred: { address: number; flags: number }[] = []
  /** Regions that can be mapped when more of their object has come. */
  readonly #maps: { ticket: number; ask: MapRequest; opened: Opened }[] = []
  /** The first job waits for such bytes too. */
  #jobsWait = false
  #undoing = false
  /** It was quiet, and whole spans are being put on huge pages. */
  #settling = false
  readonly #trace: Pages['trace']
  #running = true

  constructor(data: PagerData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#frames = new Frames(data.limit, data.policy)
    const ring = data.trace && new TraceRing(data.trace)
    this.#trace = ring && ((...event) => void (ring.push(...event) && this.#post({ kind: 'traced' })))
    const { fd, faults } = openUserfaultfd()
    this.#uffd = fd
    this.#huge = new HugePages(fd, faults === 'all')
    this.#poller.add(fd)
    const wake = fds.eventfd()
    this.#poller.add(wake)
    this.#poller.add(this.#leases.descriptor)
    this.#post({ kind: 'ready', faults, wake })
  }

  #post(reply: Reply): void {
    this.#port.postMessage(reply)
  }

  run(): void {
    // Whenever this thread has something to do, another waits for it. Without the privilege it stays as it is.
    setPriority(0, -18)
    while (this.#running) {
      const busy = (this.#jobs.length > 0 && !this.#jobsWait) || this.#leases.busy
      const waiting = this.#undoing || this.#awaits()
      const ready = this.#poller.wait(busy ? 0 : waiting ? 1 : this.#patience())
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#uffd) {
          if (this.#drain() > 0 && ready === 1) {
            this.#readAhead()
            if (!busy && !waiting) this.#follower.watch(() => this.#drain() > 0)
          }
        } else if (fd === this.#leases.descriptor) this.#leases.look()
        else {
          fds.clearEvent(fd)
          this.#requests()
        }
      }
      this.#settling = ready === 0 && !busy && !waiting && this.#settle()
      if (this.#awaits()) this.#serveDeferred()
      if (this.#undoing) {
        this.#undoing = false
        for (const region of this.#regions) if (region.undoWrites()) this.#undoing = true
      }
      if (this.#running && this.#leases.busy) this.#leases.work()
      else if (this.#running && this.#jobs.length > 0 && !this.#jobsWait) this.#work()
    }
    // Threads that still wait go on, and find what the kernel finds.
    fds.close(this.#uffd)
    this.#huge.close()
    this.#leases.close()
    this.#poller.close()
    // The addresses stay ours, and what lies there goes: a program may open many memories, one after the other.
    discard(this.#buffer.address, this.#buffer.bytes.length)
  }

  // How long it may sleep when there is nothing else to do, milliseconds.
  #patience(): number {
    if (this.#settling) return 0
    const { wait } = this.#huge
    return wait !== undefined && this.#regions.some(region => region.unsettled) ? wait : idleWait
  }

  // Nothing has happened for a while: puts a span on a huge page. Whether there may be more.
  #settle(): boolean {
    const region = this.#huge.wait === undefined ? undefined : this.#regions.find(one => one.unsettled)
    if (region === undefined) {
      this.#huge.relax()
      return false
    }
    this.#follower.release()
    if (region.settle() && this.#regions.some(one => one.unsettled)) return true
    this.#huge.rest()
    return false
  }

  /** Reads and handles messages until none is left. How many. */
  #drain(): number {
    const { u32, address } = this.#inbox
    for (let total = 0; ; ) {
      const n = call3(nr.read, this.#uffd, address, inboxSlots * uffd.messageSize)
      if (n === -EINTR) continue
      if (n <= 0) return total
      const count = n / uffd.messageSize
      for (let slot = 0; slot < count; slot++) {
        const at = slot * 8
        if (((u32[at] as number) & 0xff) !== uffd.event.pagefault) continue
        this.#follower.fault(u32[at + 6] as number)
        this.#fault(getAddress(u32, at + 4), u32[at + 2] as number)
      }
      total += count
      if (count < inboxSlots) return total
    }
  }

  #fault(address: number, flags: number): void {
    const region = this.#regionAt(address)
    if (region === undefined) {
      // Unmapped meanwhile: who waits looks again.
      uffd.wake(this.#uffd, address - (address % pageBytes), pageBytes)
      return
    }
    this.#last = region
    try {
      region.fault(address, flags)
    } catch (error) {
      if (isPending(error)) {
        this.#deferred.push({ address, flags })
        return
      }
      region.fail(error)
      // Served again, as a page of a region that has failed.
      uffd.wake(this.#uffd, address - (address % pageBytes), pageBytes)
    }
  }

  /** Whether something can go on when bytes of objects come. */
  #awaits(): boolean {
    return this.#deferred.length > 0 || this.#jobsWait || this.#maps.length > 0
  }

  // Bytes of objects have come, or nothing is on its way any more.
  #serveDeferred(): void {
    const arrived = [...this.#objects].filter(one => one.arrived()).length
    if (arrived === 0) return
    for (let n = this.#deferred.length; n > 0; n--) {
      const { address, flags } = this.#deferred.shift() as { address: number; flags: number }
      this.#fault(address, flags)
    }
    for (const { ticket, ask, opened } of this.#maps.splice(0)) this.#map(ticket, ask, opened)
    this.#jobsWait = false
  }

  #regionAt(address: number): RegionPages | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.start && address < last.end) return last
    for (const region of this.#regions) if (address >= region.start && address < region.end) return region
    return undefined
  }

  // While a stream goes on and nothing else waits. Both CPUs work then: ours must not be tied to the reader's.
  #readAhead(): void {
    const region = this.#last
    for (let steps = 0; region?.streaming === true && steps < 8; steps++) {
      if (this.#deferred.length > 0 || this.#poller.wait(0) > 0 || !this.#readMore(region)) return
      this.#follower.release()
    }
  }

  #readMore(region: RegionPages): boolean {
    try {
      return region.readAhead()
    } catch (error) {
      if (!isPending(error)) region.fail(error)
      return false
    }
  }

  #requests(): void {
    for (;;) {
      const got = receiveMessageOnPort(this.#port) as { message: Request } | undefined
      if (got === undefined) return
      const { ticket, ask } = got.message
      try {
        switch (ask.kind) {
          case 'map':
            this.#map(ticket, ask)
            continue
          case 'unmap':
            this.#unmap(ask.id)
            break
          case 'prefetch':
          case 'pin':
            this.#begin(ticket, ask)
            continue
          case 'unpin':
            this.#region(ask.id).unpin(ask.from, ask.to)
            break
          case 'collect':
            this.#guard(ask.id).suspended = true
            this.#post({ kind: 'done', ticket, runs: this.#region(ask.id).collect() })
            continue
          case 'commit':
            this.#commit(ask.id, ask.seen)
            break
          case 'stop':
            for (const region of this.#regions.slice()) this.#unmap(region.id)
            this.#running = false
        }
        this.#post({ kind: 'done', ticket })
      } catch (error) {
        this.#post({ kind: 'refused', ticket, error: plain(error) })
      }
    }
  }

  #region(id: number): RegionPages {
    const region = this.#regions.find(r => r.id === id)
    if (region === undefined) throw new MemoryError('closed', `Region ${id} is closed`)
    return region
  }

  // A file that we write ourselves is looked at before each use instead: a lease would keep us waiting for us.
  #open(source: SourceData, mode: Mode, { identity }: Seen): Opened {
    const opened = open(source, { known: identity, ...(mode === 'shared' ? {} : { lease: takeLease }) })
    if (opened.origin instanceof ObjectBacking) {
      opened.origin.patient = false
      this.#objects.add(opened.origin)
    }
    return opened
  }

  #guard(id: number): BackingGuard {
    return (this.#served.get(id) as { guard: BackingGuard }).guard
  }

  // The source is opened anew: it may be another file by the same name.
  #commit(id: number, seen: Seen | undefined): void {
    const region = this.#region(id)
    const served = this.#served.get(id) as { source: SourceData; guard: BackingGuard }
    if (seen === undefined) {
      served.guard.suspended = false
      return
    }
    const opened = this.#open(served.source, region.mode, seen)
    try {
      prepare(opened, storeIn(this.#data.cache))
      const guard = new BackingGuard(opened, served.source, seen)
      region.commit(opened.view, () => guard.changed())
      served.guard.release()
      served.guard = guard
    } catch (error) {
      opened.view.close()
      region.fail(error)
      throw error
    }
  }

  #map(ticket: number, ask: MapRequest, begun?: Opened): void {
    const opened = begun ?? this.#open(ask.source, ask.mode, ask.seen)
    try {
      this.#serve(ask, opened)
      this.#post({ kind: 'done', ticket })
    } catch (error) {
      if (isPending(error)) {
        this.#maps.push({ ticket, ask, opened })
        return
      }
      if (opened.origin instanceof ObjectBacking) this.#objects.delete(opened.origin)
      opened.view.close()
      this.#post({ kind: 'refused', ticket, error: plain(error) })
    }
  }

  #serve(ask: MapRequest, opened: Opened): void {
    prepare(opened, storeIn(this.#data.cache))
    const guard = new BackingGuard(opened, ask.source, ask.seen)
    const region = new RegionPages(
      {
        uffd: this.#uffd,
        frames: this.#frames,
        drops: this.#drops,
        huge: this.#huge,
        buffer: this.#buffer,
        trace: this.#trace,
        trouble: ({ id }, error, fatal) => {
          this.#undoing ||= error.code === 'readonly'
          this.#post({ kind: 'trouble', id, error, fatal })
        },
      },
      {
        id: ask.id,
        address: ask.address,
        pages: ask.pages,
        size: ask.seen.size,
        view: opened.view,
        mode: ask.mode,
        counters: ask.counters,
        changed: () => guard.changed(),
        firstUnit: this.#frames.number(Math.ceil(ask.pages / unitPages)),
      },
    )
    const done = uffd.register(this.#uffd, ask.address, ask.pages * pageBytes)
    if (done < 0) throw new MemoryError('internal', `userfaultfd refuses the region: ${errnoName(done)}`)
    this.#frames.add(region)
    this.#regions.push(region)
    this.#served.set(ask.id, { source: ask.source, guard })
    this.#leases.add(region, guard)
  }

  // The memory itself is the caller's to retire, which ends the registration.
  #unmap(id: number): void {
    const region = this.#region(id)
    for (let i = this.#jobs.length - 1; i >= 0; i--) {
      const job = this.#jobs[i] as Job
      if (job.region !== region) continue
      this.#jobs.splice(i, 1)
      this.#post({
        kind: 'refused',
        ticket: job.ticket,
        error: { code: 'closed', message: 'The region was closed' },
      })
    }
    this.#regions.splice(this.#regions.indexOf(region), 1)
    const { guard } = this.#served.get(id) as { guard: BackingGuard }
    this.#leases.remove(guard)
    if (guard.origin instanceof ObjectBacking) this.#objects.delete(guard.origin)
    guard.release()
    this.#served.delete(id)
    if (this.#last === region) this.#last = undefined
    region.close()
    this.#frames.remove(region)
  }

  #begin(ticket: number, { kind, id, from, to, writable }: RangeRequest): void {
    const region = this.#region(id)
    // Held first, so that what is brought stays.
    if (kind === 'pin') {
      if (!this.#frames.mayPin(to - from))
        throw new MemoryError(
          'budget',
          `${(to - from) * pageBytes} bytes can't be pinned besides what is: a quarter of the budget of ${this.#frames.limit * pageBytes} bytes stays free; open the memory with a larger one`,
        )
      region.pin(from, to)
    }
    const after = writable === true ? () => region.makeWritable(from, to) : undefined
    this.#jobs.push({ ticket, region, at: from, to, after })
  }

  /** Does a slice of the first job. */
  #work(): void {
    const job = this.#jobs[0] as Job
    try {
      job.at = job.region.ensure(job.at, job.to)
    } catch (error) {
      if (!isPending(error)) throw error
      this.#jobsWait = true
      return
    }
    if (job.at < job.to) return
    job.after?.()
    this.#jobs.shift()
    this.#post({ kind: 'done', ticket: job.ticket })
  }
}

function openUserfaultfd(): { fd: number; faults: 'all' | 'user' } {
  const features = uffd.feature.pagefaultFlagWp | uffd.feature.threadId | uffd.feature.exactAddress
  let faults: 'all' | 'user' = 'all'
  let fd = uffd.create(O_CLOEXEC | O_NONBLOCK)
  if (fd < 0) {
    faults = 'user'
    fd = uffd.create(O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY)
  }
  if (fd < 0) throw new MemoryError('no-mmu', `userfaultfd: ${errnoName(fd)}`)
  const done = uffd.api(fd, features)
  if (done < 0) {
    fds.close(fd)
    throw new MemoryError('no-mmu', `userfaultfd has no write protection or thread ids (${errnoName(done)})`)
  }
  return { fd, faults }
}

if (parentPort !== null) {
  let pager: Pager | undefined
  try {
    pager = new Pager(workerData as PagerData, parentPort)
  } catch (error) {
    parentPort.postMessage({ kind: 'unable', error: plain(error) } satisfies Reply)
  }
  pager?.run()
  parentPort.close()
}
