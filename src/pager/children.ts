// The forked children of a target: each has an address space, a userfaultfd and a journal of its own, and is served like
// its parent.
//
//   fork event → number n into the message → descriptor into the park → journal child-n → serving
//
// If we die anywhere in this the message still stands in the parent's inbox, and the successor makes the child anew: its
// descriptor lies in the park, or only the keeper has it.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { errnoName } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import * as uffd from '../sys/uffd.ts'
import { forkJournal } from './fork.ts'
import { Journal } from './journal.ts'
import { keeps } from './keeper.ts'
import { Park } from './park.ts'
import type { Reply, ServerData } from './protocol.ts'
import type { Space } from './space.ts'

/** What the children need of the server. */
export interface Nursery {
  /** Makes a space and begins to listen to its descriptor, if it has one. */
  space(fd: number, journal: Journal): Space
  /** Stops listening. */
  forget(fd: number): void
  post(reply: Reply): void
}

export class Children {
  readonly #data: ServerData
  readonly #server: Nursery
  /** The target's own space, then those of its children. */
  readonly #spaces: Space[]
  readonly #park: Park
  #count = 0
  /** Journals of children that are no more. */
  readonly #spares: Journal[] = []
  /** Children whose fork stands in an inbox: their descriptors, out of the park. */
  readonly #unfinished = new Map<number, number>()

  constructor(data: ServerData, spaces: Space[], server: Nursery) {
    this.#data = data
    this.#server = server
    this.#spaces = spaces
    this.#park = new Park(data.parkIn, data.parkOut)
  }

  #path(n: number): string {
    return join(this.#data.directory, `child-${n}.journal`)
  }

  #report(message: string): void {
    this.#server.post({ kind: 'report', message })
  }

  #tellCount(): void {
    this.#server.post({ kind: 'children', count: this.#spaces.length - 1 })
  }

  /**
   * Takes up the children of a predecessor. Parents before their children: a fork that stands in an inbox has to be made
   * anew, see `resume`. The parent may have ended since, and left only its journal.
   */
  adopt(journal: Journal): void {
    const { children, directory } = this.#data
    const descriptors = new Map(children.map(({ fd, n }) => [n, fd]))
    const numbers = new Set(descriptors.keys())
    for (const name of readdirSync(directory)) {
      const n = Number(/^child-(\d+)\.journal$/.exec(name)?.[1] ?? 0)
      if (n > 0) numbers.add(n)
    }
    const unfinished = new Set(forksIn(journal))
    for (const n of [...numbers].sort((a, b) => a - b)) {
      this.#count = Math.max(this.#count, n)
      const fd = descriptors.get(n)
      if (unfinished.has(n)) {
        if (fd !== undefined) this.#unfinished.set(n, fd)
        continue
      }
      const child = this.#journal(n)
      const forks = child === undefined ? [] : forksIn(child)
      for (const m of forks) unfinished.add(m)
      if (child !== undefined && fd !== undefined) this.#spaces.push(this.#server.space(fd, child))
      // Its descriptor stays open: then who touches a page waits, and never reads zeros.
      else if (fd !== undefined) this.#report(`the forked child ${n} has no journal and can’t be served`)
      else if (child !== undefined && forks.length > 0) this.#spaces.push(this.#server.space(-1, child))
      else rmSync(this.#path(n), { force: true })
    }
  }

  #journal(n: number): Journal | undefined {
    try {
      const journal = Journal.open(this.#path(n))
      journal.collect()
      return journal
    } catch {
      // Its maker died before it was whole.
      return undefined
    }
  }

  /** Takes up a fork that a predecessor had read. The journal is made anew, for the parent's has not changed since. */
  resume(space: Space, slot: number): void {
    const { inbox } = space.journal
    const n = inbox[slot * 8 + 1] as number
    const parked = this.#unfinished.get(n)
    const fd = parked ?? this.#fromKeeper(inbox[slot * 8 + 2] as number)
    if (fd === undefined)
      this.#report('a child that was forked in the moment when the last pager died can’t be served')
    else if (parked === undefined) this.serve(space, fd, slot * 8)
    else {
      rmSync(this.#path(n), { force: true })
      const journal = forkJournal(space.journal, this.#path(n), this.#data.pid)
      this.#spaces.push(this.#server.space(fd, journal))
      this.#tellCount()
    }
    inbox[slot * 8] = 0
  }

  #fromKeeper(fd: number): number | undefined {
    if (!keeps(this.#data.before)) return undefined
    const pidfd = fds.pidfdOpen(this.#data.before.pid)
    const ours = fds.pidfdGetfd(pidfd, fd)
    fds.close(pidfd)
    return ours < 0 ? undefined : ours
  }

  /**
   * Begins to serve a forked child. The kernel has made its descriptor in our table; besides us only the keeper has it,
   * until it is parked. `at`: the fork's message. Its second word is reserved by the kernel: ours to note the child's number.
   */
  serve(space: Space, fd: number, at: number): void {
    const n = ++this.#count
    space.journal.inbox[at + 1] = n
    // The dead are not buried here: one of them can be the parent, and its journal would be the child's.
    const parked = this.#park.send(n, fd)
    if (parked < 0) this.#report(`a forked child's descriptor could not be parked (${errnoName(parked)})`)
    const journal = forkJournal(space.journal, this.#path(n), this.#data.pid, this.#spares.pop())
    this.#spaces.push(this.#server.space(fd, journal))
    this.#tellCount()
  }

  /** Looks which address spaces are no more. */
  bury(): void {
    for (let i = this.#spaces.length - 1; i > 0; i--) {
      const child = this.#spaces[i] as Space
      if (child.fd >= 0 && uffd.alive(child.fd)) continue
      if (child.fd >= 0) {
        this.#server.forget(child.fd)
        fds.close(child.fd)
      }
      this.#spares.push(child.journal)
      this.#spaces.splice(i, 1)
      this.#tellCount()
    }
    const [main] = this.#spaces
    if (main !== undefined && !uffd.alive(main.fd))
      this.#server.post({ kind: 'gone', children: this.#spaces.length - 1 })
  }
}

/** Numbers of the children whose fork has been read and not finished. */
function forksIn(journal: Journal): number[] {
  const numbers: number[] = []
  for (let at = 0; at < journal.inbox.length; at += 8)
    if (((journal.inbox[at] as number) & 0xff) === uffd.event.fork)
      numbers.push(journal.inbox[at + 1] as number)
  return numbers
}
