// The server thread: one loop that sleeps in epoll over the userfaultfds of the target and its forked children,
// the wake descriptor and the signals of leases, and handles what is ready. Everything here is synchronous.
//
//   message  → faults to Space.fault; events to the space's table (and, for a fork, to a new space)
//   wake     → requests of the controller
//   SIGRTMIN → somebody wants to write a backing: refill what depends on it, then let go of the lease
//
// Messages are read into the journal's inbox. A slot is zeroed once its message has been handled; what a
// predecessor left there is handled first of all.
import { openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { EAGAIN, EINTR, errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { arena, call, call3, getAddress, nr } from '../sys/ffi.ts'
import { pinTo, setPriority } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { PagerError } from './errors.ts'
import { forkJournal } from './fork.ts'
import {
  blockBytes,
  counter,
  inboxSlots,
  Journal,
  pageBytes,
  type Place,
  state,
  zeroBacking,
} from './journal.ts'
import { type Reply, type Request, type ServedBacking, type ServerData, shared, tickAt } from './protocol.ts'
import { endKeeper, keeps } from './keeper.ts'
import { viewOf } from './holdings.ts'
import { breaking } from './lease.ts'
import { faultAddress, maxCluster, type OpenBacking, type Served, Space } from './space.ts'

/** The signal by which the kernel tells that a lease is being broken. */
const leaseSignal = 34
/** The lower half of the inbox is for the loop, the upper for what is read in the middle of a message. */
const drainSlots = inboxSlots / 2

/** How long a fault waits for room under a budget before it is served all the same, milliseconds. */
const waitLimit = 30

/** A fault that waits for room. */
interface WaitingFault {
  address: number
  flags: number
  until: number
}

export class Server {
  readonly #data: ServerData
  readonly #port: MessagePort
  readonly #shared: Int32Array
  readonly #backings = new Map<number, OpenBacking>()
  readonly #buffer = arena(maxCluster * pageBytes)
  readonly #signals: number
  readonly #poller = new fds.Poller()
  readonly #spaces: Space[] = []
  readonly #main: Space
  /** Backings whose lease is being broken. */
  readonly #broken: number[] = []
  #childCount = 0
  #parked = 0
  #marks = 0
  /** Journals of children that are no more. */
  readonly #spares: Journal[] = []
  /** Children whose fork stands in an inbox: their descriptors, out of the park. */
  readonly #unfinished = new Map<number, number>()
  #running = true
  readonly #waiting: WaitingFault[] = []
  #askedForRoom = 0
  #faultsSincePin = 0
  /** Faults between two looks at where their thread runs. A look takes 50 µs: they are rarer while it stays there. */
  #pinEvery = 64
  #cpu = -1
  /** A recent time of performance.now(). */
  #now = 0
  #drains = 0

  constructor(data: ServerData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#shared = new Int32Array(data.shared)
    this.#signals = fds.signalfd([leaseSignal])
    this.#poller.add(data.wake)
    this.#poller.add(this.#signals)
    const journal = Journal.open(data.journal)
    journal.collect()
    journal.recount()
    let pagemap = -1
    try {
      pagemap = openSync(`/proc/${data.pid}/pagemap`, 'r')
    } catch {
      // The target has ended and we serve its children.
    }
    this.#main = this.#space(data.uffd, journal, false, pagemap)
    this.#spaces.push(this.#main)
    for (const one of data.backings) this.#adoptBacking(one)
    this.#adoptChildren(journal)
  }

  // Parents before their children: a fork that stands in an inbox has to be made anew, see `#resumeFork`. The parent may
  // have ended since, and left only its journal.
  #adoptChildren(journal: Journal): void {
    const { children, directory } = this.#data
    const descriptors = new Map(children.map(({ fd, n }) => [n, fd]))
    const numbers = new Set(descriptors.keys())
    for (const name of readdirSync(directory)) {
      const n = Number(/^child-(\d+)\.journal$/.exec(name)?.[1] ?? 0)
      if (n > 0) numbers.add(n)
    }
    const unfinished = new Set(forksIn(journal))
    for (const n of [...numbers].sort((a, b) => a - b)) {
      this.#childCount = Math.max(this.#childCount, n)
      const fd = descriptors.get(n)
      if (unfinished.has(n)) {
        if (fd !== undefined) this.#unfinished.set(n, fd)
        continue
      }
      const child = this.#childJournal(n)
      const forks = child === undefined ? [] : forksIn(child)
      for (const m of forks) unfinished.add(m)
      if (child !== undefined && fd !== undefined) this.#spaces.push(this.#space(fd, child, true, -1))
      // Its descriptor stays open: then who touches a page waits, and never reads zeros.
      else if (fd !== undefined) this.#report(`the forked child ${n} has no journal and can’t be served`)
      else if (child !== undefined && forks.length > 0) this.#spaces.push(this.#space(-1, child, true, -1))
      else rmSync(this.#childPath(n), { force: true })
    }
  }

  #childJournal(n: number): Journal | undefined {
    try {
      const journal = Journal.open(this.#childPath(n))
      journal.collect()
      return journal
    } catch {
      // Its maker died before it was whole.
      return undefined
    }
  }

  // The lease has outlived its holder, because the open file lies in the park. If somebody wants to write, he
  // still waits (the kernel gives us 45 s in all): the bytes are what they were.
  #adoptBacking(one: ServerData['backings'][number]): void {
    const { index, path, fd, lost } = one
    let backing: OpenBacking = { fd, path }
    let why = lost
    if (why === undefined)
      try {
        backing = this.#open(one)
      } catch (error) {
        // Its pages fail loudly when they are touched; all others are served.
        why = `${path} can’t be read (${(error as Error).message})`
      }
    if (why !== undefined) backing.lost = why
    else if (fds.lease(fd, leaseSignal) < 0) {
      if (breaking(fd)) this.#broken.push(index)
      else backing.lost = `${path} was opened for writing while no pager held it`
    }
    this.#backings.set(index, backing)
  }

  #space(fd: number, journal: Journal, child: boolean, pagemap: number): Space {
    if (fd >= 0) this.#poller.add(fd)
    return new Space(fd, journal, child, pagemap, this.#backings, this.#buffer, this.#data.limit, m =>
      this.#report(m),
    )
  }

  #childPath(n: number): string {
    return join(this.#data.directory, `child-${n}.journal`)
  }

  #post(reply: Reply): void {
    this.#port.postMessage(reply)
  }

  #report(message: string): void {
    this.#post({ kind: 'report', message })
  }

  /** Serves until the controller says `leave`. */
  run(): void {
    // Whenever this thread has something to do, a thread of the target waits for it.
    setPriority(0, -18)
    // First the events that a predecessor had read but perhaps not handled, then the threads that wait in vain. Its faults
    // are not served: who is woken faults again. To serve one could mean to read more, over what is still to be handled.
    for (const space of this.#spaces) {
      const { inbox } = space.journal
      for (let slot = 0; slot < inboxSlots; slot++) {
        const kind = (inbox[slot * 8] as number) & 0xff
        if (kind === uffd.event.fork) this.#resumeFork(space, slot)
        else if (kind === uffd.event.pagefault) {
          // Perhaps in a mapping that has grown, of which no block is known yet.
          const address = faultAddress(inbox, slot * 8)
          uffd.wake(space.fd, address - (address % pageBytes), pageBytes)
          inbox[slot * 8] = 0
        } else this.#message(space, slot)
      }
      this.#wakeAll(space)
    }
    this.#buryChildren()
    this.#succeed()
    for (const index of this.#broken) this.#giveUp(index)
    let nextTick = 0
    while (this.#running) {
      // Without a time limit, which would cost a timer for each fault: the controller wakes us once a second.
      const ready = this.#poller.wait(this.#waiting.length > 0 ? 2 : -1)
      let woken = false
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#data.wake) woken = true
        else if (fd === this.#signals) this.#leases()
        else {
          const space = fd === this.#main.fd ? this.#main : this.#spaces.find(s => s.fd === fd)
          if (space !== undefined && this.#drain(space) > 0 && ready === 1) this.#readAhead(space)
        }
      }
      if (woken) {
        fds.clearEvent(this.#data.wake)
        this.#requests()
        this.#now = performance.now()
        for (const space of this.#spaces) space.tick = tickAt(this.#now, this.#data.tickMs)
      }
      if (this.#waiting.length > 0) this.#serveWaiting()
      if (this.#now > nextTick) {
        nextTick = this.#now + 1000
        this.#buryChildren()
      }
    }
  }

  // Whether as much explained memory is resident as the budget allows.
  #full(): boolean {
    const { limit } = this.#data
    return limit > 0 && Atomics.load(this.#main.journal.counters, counter.clean) >= limit
  }

  #askForRoom(): void {
    const now = performance.now()
    if (now - this.#askedForRoom < 2) return
    this.#askedForRoom = now
    this.#post({ kind: 'over' })
  }

  // Faults that wait for room. They wait for a bounded time only: what must be stopped to make room may wait for them.
  #serveWaiting(): void {
    const now = performance.now()
    for (let n = this.#waiting.length; n > 0; n--) {
      const { address, flags, until } = this.#waiting.shift() as WaitingFault
      if (this.#full() && now < until) {
        this.#waiting.push({ address, flags, until })
        this.#askForRoom()
      } else this.#serve(this.#main, () => this.#main.fault(address, flags))
    }
  }

  // While a stream goes on and nothing else waits. Both CPUs work then: ours must not be tied to the reader's.
  #readAhead(space: Space): void {
    for (let steps = 0; steps < 16; steps++) {
      if (!space.streaming || this.#full() || this.#poller.wait(0) > 0 || !space.readAhead()) return
      if (this.#cpu >= 0) {
        pinTo(-1)
        this.#cpu = -1
        this.#faultsSincePin = -64
      }
    }
  }

  /** Reads and handles messages until none is left. How many. */
  #drain(space: Space): number {
    let total = 0
    const { journal } = space
    for (let rounds = 0; rounds < 64; rounds++) {
      const n = call3(nr.read, space.fd, journal.inboxAddress, drainSlots * uffd.messageSize)
      if (n === -EINTR) continue
      if (n <= 0) return total
      total += n
      // A look at the clock costs as much as a tenth of a fault: one in eight is timed, and stands for all.
      const timed = this.#data.limit > 0 || (this.#drains++ & 7) === 0
      const began = timed ? performance.now() : this.#now
      if (timed) space.tick = tickAt(began, this.#data.tickMs)
      const count = n / uffd.messageSize
      // A read takes faults before events, so events stand last; they are handled first, for a fault may
      // otherwise be answered from a table that an event has made old.
      for (let slot = 0; slot < count; slot++)
        if ((journal.inbox[slot * 8] as number) % 256 !== uffd.event.pagefault) this.#message(space, slot)
      for (let slot = 0; slot < count; slot++) this.#message(space, slot)
      if (timed) {
        this.#now = performance.now()
        const weight = this.#data.limit > 0 ? 1 : 8
        this.#main.journal.tally(counter.stallMicroseconds, Math.round((this.#now - began) * 1000 * weight))
      }
      // It had room for more: there was no more.
      if (count < drainSlots) return total
    }
    return total
  }

  /** Handles the message in a slot of the inbox, if there is one, and clears it. */
  #message(space: Space, slot: number): void {
    const { inbox } = space.journal
    const at = slot * 8
    const kind = (inbox[at] as number) & 0xff
    if (kind === 0) return
    if (kind === uffd.event.pagefault) {
      const flags = inbox[at + 2] as number
      const address = faultAddress(inbox, at)
      const tid = inbox[at + 6] as number
      this.#main.journal.tally(counter.faults, 1)
      if (this.#faultsSincePin++ >= this.#pinEvery || (this.#cpu < 0 && this.#faultsSincePin > 0))
        this.#follow(tid)
      if (space === this.#main && this.#full() && space.brings(address, flags)) {
        this.#waiting.push({ address, flags, until: performance.now() + waitLimit })
        this.#askForRoom()
      } else if (space.fault(address, flags) === 'again')
        this.#serve(space, () => space.fault(address, flags))
      inbox[at] = 0
      return
    }
    this.#main.journal.tally(counter.events, 1)
    space.tick = tickAt(performance.now(), this.#data.tickMs)
    const a = getAddress(inbox, at + 2)
    const b = getAddress(inbox, at + 4)
    const c = getAddress(inbox, at + 6)
    if (kind === uffd.event.fork) this.#forked(space, at)
    else if (kind === uffd.event.remove) space.removed(a, b)
    else if (kind === uffd.event.unmap) space.unmapped(a, b)
    else if (kind === uffd.event.remap && !isOurMove(space.journal, b)) {
      // Byte 1 of the message is reserved by the kernel; ours to note that the copy was made.
      space.moved(
        a,
        b,
        c,
        () => ((inbox[at] as number) & 0x100) !== 0,
        () => {
          inbox[at] = (inbox[at] as number) | 0x100
        },
      )
    }
    inbox[at] = 0
  }

  /** Does something that may have to wait for an event to be read first. */
  #serve(space: Space, action: () => Served): Served {
    for (let tries = 0; ; tries++) {
      const served = action()
      if (served !== 'again') return served
      if (this.#events(space) === 0 && tries > 2) {
        // The event is on its way, or the one whose event it is has not finished.
        const ready = new Uint16Array(1)
        fds.poll([space.fd], ready, 1)
        if (tries > 5000) {
          this.#report('the kernel keeps saying EAGAIN without an event; a fault is put off')
          return served
        }
      }
    }
  }

  /** Reads what is pending, without the inbox slots that are in use, and handles it. How many messages. */
  #events(space: Space): number {
    const { inbox, inboxAddress } = space.journal
    const n = call(
      nr.read,
      space.fd,
      inboxAddress + drainSlots * uffd.messageSize,
      drainSlots * uffd.messageSize,
    )
    if (n <= 0) return 0
    space.tick = tickAt(performance.now(), this.#data.tickMs)
    const free = drainSlots
    const count = n / uffd.messageSize
    // Faults read here wait until the message that we are in the middle of is done: they are woken and come again.
    for (let slot = free; slot < free + count; slot++) {
      if (((inbox[slot * 8] as number) & 0xff) !== uffd.event.pagefault) this.#message(space, slot)
    }
    for (let slot = free; slot < free + count; slot++) {
      if (((inbox[slot * 8] as number) & 0xff) !== uffd.event.pagefault) continue
      const address = faultAddress(inbox, slot * 8)
      inbox[slot * 8] = 0
      uffd.wake(space.fd, address - (address % pageBytes), pageBytes)
    }
    return count
  }

  /** Follows the CPU of the faulting thread: the hand-off costs 9 µs on one CPU and 50 between two. */
  #follow(tid: number): void {
    this.#faultsSincePin = 0
    try {
      const stat = readFileSync(`/proc/${this.#data.pid}/task/${tid}/stat`, 'latin1')
      const cpu = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[36])
      if (!Number.isInteger(cpu)) return
      this.#pinEvery = cpu === this.#cpu ? Math.min(1024, this.#pinEvery * 2) : 64
      if (cpu === this.#cpu) return
      pinTo(cpu)
      this.#cpu = cpu
    } catch {
      // a thread of a child, or one that is gone
    }
  }

  #wakeAll(space: Space): void {
    for (const block of space.journal.blocks()) uffd.wake(space.fd, block * blockBytes, blockBytes)
  }

  // A fork that a predecessor had read. The child's descriptor lies in the park, or only the keeper has it. The journal is
  // made anew, for the parent's has not changed since.
  #resumeFork(space: Space, slot: number): void {
    const { inbox } = space.journal
    const n = inbox[slot * 8 + 1] as number
    const parked = this.#unfinished.get(n)
    const fd = parked ?? this.#fromKeeper(inbox[slot * 8 + 2] as number)
    if (fd === undefined)
      this.#report('a child that was forked in the moment when the last pager died can’t be served')
    else if (parked === undefined) this.#serveChild(space, fd, slot * 8)
    else {
      rmSync(this.#childPath(n), { force: true })
      const journal = forkJournal(space.journal, this.#childPath(n), this.#data.pid)
      this.#spaces.push(this.#space(fd, journal, true, -1))
      this.#post({ kind: 'children', count: this.#spaces.length - 1 })
    }
    inbox[slot * 8] = 0
  }

  // Nothing depends on earlier keepers any more: they end, and from now on ours is the one that counts.
  #succeed(): void {
    const { keeper, before } = this.#data
    const { journal } = this.#main
    for (const one of [before, ...journal.started]) if (one.pid !== keeper.pid) endKeeper(one)
    journal.keeper = keeper
    journal.started = []
  }

  #fromKeeper(fd: number): number | undefined {
    if (!keeps(this.#data.before)) return undefined
    const pidfd = fds.pidfdOpen(this.#data.before.pid)
    const ours = fds.pidfdGetfd(pidfd, fd)
    fds.close(pidfd)
    return ours < 0 ? undefined : ours
  }

  // A fork. The kernel has made the child's descriptor in our table; besides us only the keeper has it, until it is parked.
  #forked(space: Space, at: number): void {
    this.#serveChild(space, space.journal.inbox[at + 2] as number, at)
  }

  // `at`: the fork's message. Its second word is reserved by the kernel: ours to note the child's number.
  #serveChild(space: Space, fd: number, at: number): void {
    const n = ++this.#childCount
    space.journal.inbox[at + 1] = n
    const name = new TextEncoder().encode(JSON.stringify({ child: n }))
    // The dead are not buried here: one of them can be the parent, and its journal would be the child's.
    if (++this.#parked % 64 === 0) this.#clearPark()
    let parked = fds.sendFds(this.#data.parkIn, [fd], name)
    if (parked === -EAGAIN) {
      this.#clearPark()
      parked = fds.sendFds(this.#data.parkIn, [fd], name)
    }
    if (parked < 0) this.#report(`a forked child's descriptor could not be parked (${errnoName(parked)})`)
    const journal = forkJournal(space.journal, this.#childPath(n), this.#data.pid, this.#spares.pop())
    const child = this.#space(fd, journal, true, -1)
    this.#spaces.push(child)
    this.#post({ kind: 'children', count: this.#spaces.length - 1 })
  }

  // Takes the descriptors of children that are no more out of the park. Each one that stays is sent anew before it is
  // taken from the front, so that at no time it is held by us alone.
  #clearPark(): void {
    const { parkIn, parkOut } = this.#data
    const mark = new TextEncoder().encode(JSON.stringify({ mark: ++this.#marks }))
    let marked = fds.sendFds(parkIn, [], mark) > 0
    for (let turns = 0; turns < 100_000; turns++) {
      const seen = fds.recvFds(parkOut, true)
      if (seen === undefined) return
      const [fd] = seen.fds
      const text = new TextDecoder().decode(seen.payload)
      const stays = fd !== undefined && (!text.includes('child') || uffd.alive(fd))
      const sent = stays ? fds.sendFds(parkIn, [fd], seen.payload) : 0
      for (const one of fds.recvFds(parkOut)?.fds ?? []) fds.close(one)
      // No room: now there is some.
      if (sent < 0) fds.sendFds(parkIn, [fd as number], seen.payload)
      if (fd !== undefined) fds.close(fd)
      else if (marked && text === new TextDecoder().decode(mark)) return
      if (!marked) marked = fds.sendFds(parkIn, [], mark) > 0
    }
  }

  #buryChildren(): void {
    for (let i = this.#spaces.length - 1; i > 0; i--) {
      const child = this.#spaces[i] as Space
      if (child.fd >= 0 && uffd.alive(child.fd)) continue
      if (child.fd >= 0) {
        this.#poller.remove(child.fd)
        fds.close(child.fd)
      }
      this.#spares.push(child.journal)
      this.#spaces.splice(i, 1)
      this.#post({ kind: 'children', count: this.#spaces.length - 1 })
    }
    if (!uffd.alive(this.#main.fd)) this.#post({ kind: 'gone', children: this.#spaces.length - 1 })
  }

  /** Requests of the controller. */
  #requests(): void {
    const asked = Atomics.load(this.#shared, shared.request)
    if (asked !== Atomics.load(this.#shared, shared.acknowledged)) {
      for (const space of this.#spaces) this.#drain(space)
      Atomics.store(this.#shared, shared.acknowledged, asked)
      Atomics.notify(this.#shared, shared.acknowledged)
      // Whoever asked may have given up meanwhile; then it has let go already.
      for (;;) {
        const released = Atomics.load(this.#shared, shared.released)
        if (((released - asked) | 0) >= 0) break
        Atomics.wait(this.#shared, shared.released, released, 1000)
      }
    }
    for (;;) {
      const got = receiveMessageOnPort(this.#port) as { message: Request } | undefined
      if (got === undefined) return
      const { message } = got
      try {
        const result = this.#request(message)
        this.#post({ kind: 'reply', id: message.id, result })
      } catch (error) {
        this.#post({
          kind: 'reply',
          id: message.id,
          result: -1,
          message: error instanceof Error ? error.message : String(error),
        })
      }
    }
  }

  #request(request: Request): number {
    switch (request.kind) {
      case 'register': {
        let result = -EAGAIN
        this.#serve(this.#main, () => {
          result = this.#main.register(request.start, request.end)
          return result === -EAGAIN ? 'again' : 'done'
        })
        return result
      }
      case 'explain':
        return this.#explain(request.rows)
      case 'backing': {
        // Before the lease: what can't be read must not keep anybody waiting.
        if (request.sources?.some(source => this.#backings.get(source)?.lost !== undefined) === true)
          return -EAGAIN
        const backing = this.#open(request)
        const leased = fds.lease(request.fd, leaseSignal)
        if (leased < 0) return leased
        this.#backings.set(request.index, backing)
        return 0
      }
      case 'refill':
        return this.#refill(request.backing)
      case 'bury':
        this.#buryChildren()
        return this.#spaces.length - 1
      case 'leave':
        return this.#leave()
    }
  }

  // The controller has compared these pages while they were protected; those that are still `verifying` are equal.
  #explain(rows: Float64Array): number {
    const { journal } = this.#main
    let taken = 0
    for (let i = 0; i < rows.length; i += 4) {
      const start = rows[i] as number
      const pages = rows[i + 1] as number
      const backing = rows[i + 2] as number
      const offset = rows[i + 3] as number
      const usable =
        backing === zeroBacking ||
        (this.#backings.get(backing)?.lost === undefined && this.#backings.has(backing))
      let from = 0
      for (let p = 0; p <= pages; p++) {
        const at = start + p * pageBytes
        if (p < pages && usable && journal.stateOf(at) === state.verifying) continue
        if (p > from) {
          const first = start + from * pageBytes
          journal.explain(first, p - from, backing, offset + from * pageBytes)
          for (let q = from; q < p; q++)
            if (journal.exchange(start + q * pageBytes, state.verifying, state.clean)) taken++
        }
        if (p < pages && !usable) journal.exchange(at, state.verifying, state.present)
        from = p + 1
      }
    }
    return taken
  }

  /** Throws when its lens can't read it, or what it is made of can't serve. */
  #open({ fd, path, lens, sources }: ServedBacking): OpenBacking {
    if (lens === undefined) return { fd, path }
    const views = sources?.map(index => {
      const source = this.#backings.get(index)
      if (source === undefined || source.lost !== undefined)
        throw new PagerError('backing', source?.lost ?? `backing ${index} is not open`)
      return source.view ?? viewOf(source.fd, source.path, undefined)
    })
    const view = viewOf(fd, path, lens, views)
    return { fd, path: `${path} (${lens})`, view, ...(sources === undefined ? {} : { sources }) }
  }

  #refill(backing: number | undefined): number {
    const place: Place = { backing: 0, offset: 0, pages: 0 }
    let left = 0
    for (const space of this.#spaces) {
      let sinceDrain = 0
      space.virtualRuns((start, end) => {
        for (let at = start; at < end; ) {
          if (!space.journal.place(at, place)) {
            left++
            at += pageBytes
            continue
          }
          const stop = Math.min(end, at + Math.min(place.pages, maxCluster) * pageBytes)
          if (backing === undefined || place.backing === backing) {
            const served = this.#serve(space, () => space.refill(at, stop, false))
            if (served === 'gone') return
            if (served !== 'done') left++
            if (++sinceDrain >= 16) {
              sinceDrain = 0
              for (const other of this.#spaces) this.#drain(other)
            }
          }
          at = stop
        }
      })
      // What is present and equal may be written by the backing's writer's consent only: it is physical now.
      for (const block of space.journal.blocks())
        space.journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
          if (s !== state.clean && s !== state.verifying) return
          for (let at = start; at < end; at += pageBytes)
            if (backing === undefined || (space.journal.place(at, place) && place.backing === backing))
              if (!space.journal.exchange(at, state.clean, state.present))
                space.journal.exchange(at, state.verifying, state.present)
        })
    }
    return left
  }

  #leases(): void {
    for (;;) {
      const signal = fds.readSignal(this.#signals)
      if (signal === undefined) break
    }
    // One signal can stand for several: look at every lease.
    for (const [index, backing] of this.#backings) {
      if (backing.lost !== undefined || fds.leased(backing.fd)) continue
      this.#giveUp(index)
    }
  }

  // Everything that depends on a backing becomes physical; then its writer may go on.
  #giveUp(index: number): void {
    const backing = this.#backings.get(index) as OpenBacking
    const why = `${backing.path} was opened for writing`
    // What is made of it besides other things first: it needs this one to be as it was.
    for (const [other, { lost, sources }] of this.#backings)
      if (lost === undefined && sources?.includes(index) === true) this.#letGo(other, why)
    this.#letGo(index, why)
  }

  #letGo(index: number, why: string): void {
    const backing = this.#backings.get(index) as OpenBacking
    // Pages that the controller is dropping at this moment become virtual in some milliseconds; on a very busy machine it
    // can take longer. The kernel gives us 45 seconds.
    const end = performance.now() + 30_000
    do {
      this.#refill(index)
      for (const space of this.#spaces) this.#drain(space)
    } while (this.#dependents(index) > 0 && performance.now() < end)
    backing.lost = why
    fds.unlease(backing.fd)
    this.#post({ kind: 'lost', index, why: backing.lost })
  }

  #dependents(backing: number): number {
    const place: Place = { backing: 0, offset: 0, pages: 0 }
    let pages = 0
    for (const { journal } of this.#spaces)
      for (const block of journal.blocks())
        journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
          if (s === state.virtual || s === state.dropping)
            for (let at = start; at < end; at += pageBytes)
              if (journal.place(at, place) && place.backing === backing) pages++
        })
    return pages
  }

  // Everything back, ranges unregistered. The number of pages that could not be brought back.
  #leave(): number {
    const left = this.#refill(undefined)
    if (left > 0) return left
    this.#buryChildren()
    let still = 0
    for (const { journal } of this.#spaces)
      for (const block of journal.blocks())
        journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
          if (s === state.virtual || s === state.dropping) still += (end - start) / pageBytes
        })
    if (still > 0) return still
    for (const space of this.#spaces) {
      // Whole mappings at a time: a range that ends inside one would split it.
      let from = 0
      let to = 0
      for (const block of [...space.journal.blocks(), Number.MAX_SAFE_INTEGER / blockBytes].sort(
        (a, b) => a - b,
      ))
        space.journal.runs(block * blockBytes, (block + 1) * blockBytes, (start, end, s) => {
          if (s !== state.none && start === to) to = end
          else {
            if (to > from) uffd.unregister(space.fd, from, to - from)
            from = start
            to = s === state.none ? start : end
          }
        })
    }
    this.#running = false
    return 0
  }
}

/** Whether pages were moved to `to` by a drop of ours, and not by the program. */
function isOurMove({ moving, scratch }: Journal, to: number): boolean {
  return moving && to >= scratch.start && to < scratch.start + scratch.length
}

/** Numbers of the children whose fork has been read and not finished. */
function forksIn(journal: Journal): number[] {
  const numbers: number[] = []
  for (let at = 0; at < journal.inbox.length; at += 8)
    if (((journal.inbox[at] as number) & 0xff) === uffd.event.fork)
      numbers.push(journal.inbox[at + 1] as number)
  return numbers
}

if (parentPort !== null) new Server(workerData as ServerData, parentPort).run()
