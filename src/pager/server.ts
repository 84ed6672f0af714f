// The server thread: one loop that sleeps in epoll over the userfaultfds of the target and its forked children,
// the wake descriptor and the signals of leases, and handles what is ready. Everything here is synchronous.
//
//   message  → faults to Space.fault; events to the space's table (and, for a fork, to a new space)
//   wake     → requests of the controller
//   SIGRTMIN → somebody wants to write a backing: refill what depends on it, then let go of the lease
//
// Messages are read into the journal's inbox. A slot is zeroed once its message has been handled; what a
// predecessor left there is handled first of all.
import { openSync } from 'node:fs'
// Not the global: that one is looked up, by a getter, at every use, which takes as long as a short system call.
import { performance } from 'node:perf_hooks'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { EAGAIN, EINTR } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { arena, call, call3, getAddress, nr } from '../sys/ffi.ts'
import { ownThread } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { Children } from './children.ts'
import { blockBytes, counter, inboxSlots, Journal, pageBytes, state, zeroBacking } from './journal.ts'
import { CpuFollower } from './follow.ts'
import { endKeeper } from './keeper.ts'
import { adoptBacking, openBacking } from './open-backing.ts'
import { Prices } from './prices.ts'
import { type Reply, type Request, type ServerData, shared, tickAt } from './protocol.ts'
import { dependents, type Hands, missing, refillAll, unregisterAll } from './restore.ts'
import { collect } from './shed.ts'
import { faultAddress, maxCluster, type OpenBacking, type Served, Space } from './space.ts'

/** The lower half of the inbox is for the loop, the upper for what is read in the middle of a message. */
const drainSlots = inboxSlots / 2
const inboxBytes = drainSlots * uffd.messageSize

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
  readonly #prices: Prices
  readonly #poller = new fds.Poller()
  readonly #spaces: Space[] = []
  readonly #main: Space
  /** Backings whose lease is being broken. */
  readonly #broken: number[] = []
  readonly #children: Children
  readonly #hands: Hands = {
    serve: (space, action) => this.#serve(space, action),
    drain: space => this.#drain(space),
  }
  #running = true
  readonly #waiting: WaitingFault[] = []
  readonly #look = (): boolean => this.#waiting.length === 0 && this.#drain(this.#main) > 0
  #askedForRoom = 0
  readonly #follower: CpuFollower
  /** A recent time of performance.now(). */
  #now = 0
  #drains = 0

  constructor(data: ServerData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#shared = new Int32Array(data.shared)
    this.#prices = new Prices(data.prices)
    this.#follower = new CpuFollower(data.pid)
    this.#signals = fds.leaseBreaks()
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
    for (const one of data.backings) {
      const { backing, wanted } = adoptBacking(one, this.#backings)
      this.#backings.set(one.index, backing)
      if (wanted) this.#broken.push(one.index)
    }
    this.#children = new Children(data, this.#spaces, {
      space: (fd, child) => this.#space(fd, child, true, -1),
      forget: fd => this.#poller.remove(fd),
      post: reply => this.#post(reply),
    })
    this.#children.adopt(journal)
  }

  #space(fd: number, journal: Journal, child: boolean, pagemap: number): Space {
    if (fd >= 0) this.#poller.add(fd)
    const { limit } = this.#data
    const report = (message: string): void => this.#report(message)
    return new Space(fd, journal, child, pagemap, this.#backings, this.#buffer, limit, this.#prices, report)
  }

  #post(reply: Reply): void {
    this.#port.postMessage(reply)
  }

  #report(message: string): void {
    this.#post({ kind: 'report', message })
  }

  /** Serves until the controller says `leave`. */
  run(): void {
    // First the events that a predecessor had read but perhaps not handled, then the threads that wait in vain. Its faults
    // are not served: who is woken faults again. To serve one could mean to read more, over what is still to be handled.
    for (const space of this.#spaces) {
      const { inbox } = space.journal
      for (let slot = 0; slot < inboxSlots; slot++) {
        const kind = (inbox[slot * 8] as number) & 0xff
        if (kind === uffd.event.fork) this.#children.resume(space, slot)
        else if (kind === uffd.event.pagefault) {
          // Perhaps in a mapping that has grown, of which no block is known yet.
          const address = faultAddress(inbox, slot * 8)
          uffd.wake(space.fd, address - (address % pageBytes), pageBytes)
          inbox[slot * 8] = 0
        } else this.#message(space, slot)
      }
      this.#wakeAll(space)
    }
    this.#children.bury()
    this.#succeed()
    for (const index of this.#broken) this.#giveUp(index)
    let nextTick = 0
    while (this.#running) {
      // Without a time limit, which would cost a timer for each fault: the controller wakes us once a second.
      const ms = this.#waiting.length > 0 ? 2 : -1
      const { fd: main, journal } = this.#main
      const ready =
        main < 0
          ? this.#poller.wait(ms)
          : this.#poller.waitAndRead(ms, main, journal.inboxAddress, inboxBytes)
      const got = main < 0 ? 0 : this.#poller.got
      let woken = false
      if (got > 0 && this.#drain(this.#main, got) > 0 && ready === 1) {
        this.#readAhead(this.#main)
        this.#follower.watch(this.#look)
      }
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#data.wake) woken = true
        else if (fd === this.#signals) this.#leases()
        else if (fd !== main) {
          const space = this.#spaces.find(s => s.fd === fd)
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
        this.#children.bury()
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
      } else this.#fault(this.#main, address, flags)
    }
  }

  // While a stream goes on and nothing else waits. Both CPUs work then: ours must not be tied to the reader's.
  #readAhead(space: Space): void {
    for (let steps = 0; steps < 16; steps++) {
      if (!space.streaming || this.#full() || this.#poller.wait(0) > 0 || !space.readAhead()) return
      this.#follower.release()
    }
  }

  /** Reads and handles messages until none is left; `got` bytes of them have just been read. How many bytes there were. */
  #drain(space: Space, got?: number): number {
    let total = 0
    const { journal } = space
    for (let rounds = 0; rounds < 64; rounds++) {
      const n =
        rounds === 0 && got !== undefined ? got : call3(nr.read, space.fd, journal.inboxAddress, inboxBytes)
      if (n === -EINTR) continue
      if (n <= 0) return total
      total += n
      // A look at the clock costs as much as a tenth of a fault: one in eight is timed, and stands for all.
      const { limit, timed: always } = this.#data
      const timed = limit > 0 || always || (this.#drains++ & 7) === 0
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
        const weight = limit > 0 || always ? 1 : 8
        // What passes before we see the message, and after we have woken who waits, can't be seen from here.
        const handOff = count * this.#follower.handOff
        const stalled = ((this.#now - began) * 1000 + handOff) * weight
        this.#main.journal.tally(counter.stallMicroseconds, Math.round(stalled))
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
      this.#follower.fault(tid)
      if (space === this.#main && this.#full() && space.brings(address, flags)) {
        this.#waiting.push({ address, flags, until: performance.now() + waitLimit })
        this.#askForRoom()
      } else if (space.fault(address, flags) === 'again') this.#fault(space, address, flags)
      inbox[at] = 0
      return
    }
    this.#main.journal.tally(counter.events, 1)
    space.tick = tickAt(performance.now(), this.#data.tickMs)
    const a = getAddress(inbox, at + 2)
    const b = getAddress(inbox, at + 4)
    const c = getAddress(inbox, at + 6)
    if (kind === uffd.event.fork) this.#children.serve(space, inbox[at + 2] as number, at)
    else if (kind === uffd.event.remove) space.removed(a, b)
    else if (kind === uffd.event.unmap) space.late.gone(a, b)
    else if (kind === uffd.event.remap && !isOurMove(space.journal, b)) {
      // Byte 1 of the message is reserved by the kernel; ours to note how far we have come.
      space.moved(a, b, c, ((inbox[at] as number) >> 8) & 0xff, progress => {
        inbox[at] = kind | (progress << 8)
      })
    }
    inbox[at] = 0
  }

  // A fault that may have to wait for an event. Who could not be served in all that time asks again.
  #fault(space: Space, address: number, flags: number): void {
    if (this.#serve(space, () => space.fault(address, flags)) === 'again')
      uffd.wake(space.fd, address - (address % pageBytes), pageBytes)
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
          this.#report('the kernel keeps saying EAGAIN without an event')
          return served
        }
      }
    }
  }

  /** Reads what is pending, without the inbox slots that are in use, and handles it. How many messages. */
  #events(space: Space): number {
    const { inbox, inboxAddress } = space.journal
    const n = call(nr.read, space.fd, inboxAddress + inboxBytes, inboxBytes)
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

  #wakeAll(space: Space): void {
    for (const block of space.journal.blocks()) uffd.wake(space.fd, block * blockBytes, blockBytes)
  }

  // Nothing depends on earlier keepers any more: they end, and from now on ours is the one that counts.
  #succeed(): void {
    const { keeper, before } = this.#data
    const { journal } = this.#main
    for (const one of [before, ...journal.started]) if (one.pid !== keeper.pid) endKeeper(one)
    journal.keeper = keeper
    journal.started = []
  }

  /** Requests of the controller. */
  #requests(): void {
    if (Atomics.load(this.#shared, shared.end) !== 0) {
      this.#running = false
      return
    }
    const asked = Atomics.load(this.#shared, shared.request)
    if (asked !== Atomics.load(this.#shared, shared.acknowledged)) {
      for (const space of this.#spaces) this.#drain(space)
      Atomics.store(this.#shared, shared.cpu, this.#follower.stay())
      Atomics.store(this.#shared, shared.thread, ownThread())
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
        const backing = openBacking(request, this.#backings)
        const leased = fds.lease(request.fd)
        if (leased < 0) return leased
        this.#backings.set(request.index, backing)
        return 0
      }
      case 'refill':
        return refillAll(this.#spaces, request.backing, this.#hands)
      case 'bury':
        this.#children.bury()
        return this.#spaces.length - 1
      case 'shed':
        collect(true)
        return 0
      case 'sleep':
        return this.#sleep()
      case 'leave':
        return this.#leave()
    }
  }

  // What comes from now on waits in the kernel for whoever serves next.
  #sleep(): number {
    if (this.#waiting.length > 0) return 0
    for (const space of this.#spaces) if (this.#drain(space) > 0) return 0
    if (this.#main.fd < 0) return 0
    const watched = [...this.#spaces.map(space => space.fd).filter(fd => fd >= 0), this.#signals]
    const leased = [...this.#backings.values()].filter(b => b.lost === undefined).map(b => b.fd)
    this.#post({ kind: 'asleep', watched, leased })
    this.#running = false
    return 1
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
    const why = `${this.#backings.get(index)?.path ?? ''} was opened for writing`
    // Pages that the controller is dropping at this moment become virtual in some milliseconds; on a very busy machine it
    // can take longer. The kernel gives us 45 seconds.
    const end = performance.now() + 30_000
    // What is made of it and of other things first: it needs this one to be as it was.
    for (const [other, { lost, sources }] of this.#backings)
      if (lost === undefined && sources?.includes(index) === true) this.#letGo(other, why, end)
    this.#letGo(index, why, end)
  }

  #letGo(index: number, why: string, end: number): void {
    const backing = this.#backings.get(index) as OpenBacking
    do {
      refillAll(this.#spaces, index, this.#hands)
      for (const space of this.#spaces) this.#drain(space)
      // A child that has ended needs nothing any more.
      this.#children.bury()
    } while (dependents(this.#spaces, index) > 0 && performance.now() < end)
    backing.lost = why
    fds.unlease(backing.fd)
    this.#post({ kind: 'lost', index, why })
  }

  // Everything back, ranges unregistered. The number of pages that could not be brought back.
  #leave(): number {
    const left = refillAll(this.#spaces, undefined, this.#hands)
    if (left > 0) return left
    this.#children.bury()
    const still = missing(this.#spaces)
    if (still > 0) return still
    unregisterAll(this.#spaces)
    this.#children.leave()
    this.#running = false
    return 0
  }
}

/** Whether pages were moved to `to` by a drop of ours, and not by the program. */
function isOurMove({ moving, scratch }: Journal, to: number): boolean {
  return moving && to >= scratch.start && to < scratch.start + scratch.length
}

if (parentPort !== null) new Server(workerData as ServerData, parentPort).run()
