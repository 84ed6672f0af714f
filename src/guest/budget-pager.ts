// The thread that keeps a guest's memory within its budget: it sleeps in epoll over the userfaultfd, the guest's requests and the
// leases that are being broken. It runs no code of the guest's and waits for nobody.
//
// It must not fail silently: without it a page that is not there would be zeros. So what it can't do ends the process.
import { fstatSync, openSync, writeSync } from 'node:fs'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { CpuFollower } from '../pager/follow.ts'
import type { PolicyName } from '../policy/index.ts'
import { EINTR, errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { arena, call3, exitNow, getAddress, nr } from '../sys/ffi.ts'
import { setPriority } from '../sys/memory.ts'
import * as uffd from '../sys/uffd.ts'
import { BudgetPages, BudgetShare } from './budget-pages.ts'
import { type Ask, type BudgetData, type Note, Origins } from './budget-protocol.ts'
import { GuestError } from './errors.ts'
import { Timeline } from './timeline.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
const userModeOnly = 1
const inboxSlots = 16
const idleWait = 500

class BudgetPager {
  readonly #data: BudgetData
  readonly #port: MessagePort
  readonly #uffd: number
  readonly #pagemap = openSync('/proc/self/pagemap', 'r')
  readonly #poller = new fds.Poller()
  readonly #inbox = arena(inboxSlots * uffd.messageSize)
  readonly #follower = new CpuFollower(process.pid)
  readonly #breaks = fds.leaseBreaks()
  readonly #replies: Int32Array
  /** Leased files: their numbers, by identity and by descriptor. */
  readonly #known = new Map<string, number>()
  readonly #leased = new Map<number, number>()
  readonly #share: BudgetShare
  readonly #memories: BudgetPages[] = []
  readonly #timeline: Timeline
  #running = true

  constructor(data: BudgetData, port: MessagePort) {
    this.#data = data
    this.#port = port
    this.#share = new BudgetShare(data.limit, data.policy as PolicyName)
    this.#replies = new Int32Array(data.replies, 0, 2)
    this.#timeline = new Timeline(data.timeline)
    const { fd, faults } = openUserfaultfd()
    this.#uffd = fd
    for (const one of [fd, data.wake, this.#breaks]) this.#poller.add(one)
    this.#post({ kind: 'ready', faults })
  }

  #post(note: Note): void {
    this.#port.postMessage(note)
  }

  run(): void {
    setPriority(0, -18)
    while (this.#running) {
      const ready = this.#poller.wait(idleWait)
      for (let i = 0; i < ready; i++) {
        const fd = this.#poller.ready(i)
        if (fd === this.#uffd) {
          if (this.#drain() && ready === 1) this.#follower.watch(() => this.#drain())
        } else if (fd === this.#breaks) this.#giveUp()
        else {
          fds.clearEvent(fd)
          this.#requests()
        }
      }
      const now = performance.now()
      if (this.#timeline.due(now)) this.#sample(now)
    }
  }

  // Of the first memory, where it lies; of all, how much.
  #sample(now: number): void {
    const [first] = this.#memories
    if (first === undefined) return
    const { resident, packedBytes, faults } = this.#share.count()
    const count = (into: Uint32Array, pages: number): number => first.count(into, pages)
    this.#timeline.sample(now, resident, packedBytes, faults, count)
  }

  // Whether anything had come.
  #drain(): boolean {
    const { u32, address } = this.#inbox
    for (let came = false; ; came = true) {
      const n = call3(nr.read, this.#uffd, address, inboxSlots * uffd.messageSize)
      if (n === -EINTR) continue
      if (n <= 0) return came
      for (let at = 0; at < n / 4; at += 8) {
        if (((u32[at] as number) & 0xff) !== uffd.event.pagefault) continue
        this.#follower.fault(u32[at + 6] as number)
        const where = getAddress(u32, at + 4)
        this.#memories.find(memory => memory.has(where))?.fault(where)
      }
    }
  }

  #giveUp(): void {
    while (fds.readSignal(this.#breaks) !== undefined);
    for (const [fd, number] of this.#leased) if (!fds.leased(fd)) this.#memories[0]?.giveUp(number)
  }

  #requests(): void {
    for (;;) {
      const got = receiveMessageOnPort(this.#port) as { message: Ask } | undefined
      if (got === undefined) return
      const answer = this.#answer(got.message)
      Atomics.store(this.#replies, 1, answer)
      Atomics.add(this.#replies, 0, 1)
      Atomics.notify(this.#replies, 0)
    }
  }

  #answer(ask: Ask): number {
    switch (ask.kind) {
      case 'serve':
        for (const memory of this.#memories) memory.serveAll()
        this.#memories.push(
          new BudgetPages({
            share: this.#share,
            alone: this.#memories.length === 0,
            uffd: this.#uffd,
            pagemap: this.#pagemap,
            address: ask.address,
            bytes: ask.bytes,
            size: ask.size,
            origins: new Origins(ask.origins),
          }),
        )
        return 0
      case 'file':
        return this.#addFile(ask.fd)
      case 'release':
        this.#memories.find(memory => memory.has(ask.address))?.release(ask.address, ask.length)
        return 0
      case 'trim':
        this.#memories.find(memory => memory.has(ask.ranges[0]?.[0] ?? 0))?.trim(ask.ranges)
        return 0
      case 'count':
        this.#sample(performance.now())
        new Float64Array(this.#data.replies, 8).set(Object.values(this.#share.count()))
        return 0
      case 'picture':
        this.#memories[0]?.picture(new Uint8Array(ask.into))
        return 0
      case 'stop':
        for (const memory of this.#memories) memory.close()
        this.#share.store.close()
        this.#running = false
        return 0
    }
  }

  // A file that somebody can write now, or on a file system without leases, is no good.
  #addFile(fd: number): number {
    const { dev, ino, mtimeNs, size } = fstatSync(fd, { bigint: true })
    const identity = `${dev}:${ino}:${mtimeNs}:${size}`
    const known = this.#known.get(identity)
    const [pages] = this.#memories
    if (known !== undefined || pages === undefined || fds.lease(fd) !== 0) {
      fds.close(fd)
      return known ?? 0
    }
    const end = (): void => {
      fds.unlease(fd)
      this.#leased.delete(fd)
      this.#known.delete(identity)
      fds.close(fd)
    }
    const number = pages.addFile(fd, end)
    if (number === 0) end()
    else {
      this.#known.set(identity, number)
      this.#leased.set(fd, number)
    }
    return number
  }
}

function openUserfaultfd(): { fd: number; faults: 'all' | 'user' } {
  const features =
    uffd.feature.pagefaultFlagWp |
    uffd.feature.threadId |
    uffd.feature.exactAddress |
    uffd.feature.wpAsync |
    uffd.feature.wpUnpopulated
  let faults: 'all' | 'user' = 'all'
  let fd = uffd.create(O_CLOEXEC | O_NONBLOCK)
  if (fd < 0) {
    faults = 'user'
    fd = uffd.create(O_CLOEXEC | O_NONBLOCK | userModeOnly)
  }
  if (fd < 0)
    throw new GuestError(
      'impossible',
      `A budget needs userfaultfd, which says ${errnoName(fd)}; see lethe doctor`,
    )
  const done = uffd.api(fd, features)
  if (done >= 0) return { fd, faults }
  fds.close(fd)
  throw new GuestError(
    'impossible',
    `A budget needs a userfaultfd that notes writes (WP_ASYNC), which this kernel has not (${errnoName(done)}); take Linux 6.7 or later`,
  )
}

if (parentPort !== null) {
  let pager: BudgetPager | undefined
  try {
    pager = new BudgetPager(workerData as BudgetData, parentPort)
  } catch (error) {
    parentPort.postMessage({ kind: 'unable', message: (error as Error).message } satisfies Note)
  }
  try {
    pager?.run()
  } catch (error) {
    writeSync(2, `lethe: the budget can't be kept: ${(error as Error).message}\n`)
    exitNow(1)
  }
  parentPort.close()
}
