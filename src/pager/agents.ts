// The agent of one target as the controller has it: made when it is needed, let go when it has nothing to do, and at the end
// all that is ours taken out of the target.
import { readlinkSync } from 'node:fs'
import { nr } from '../sys/ffi.ts'
import {
  type Agent,
  borrowThread,
  createAgent,
  dismiss,
  type Footing,
  remote,
  threads,
} from '../process/agent.ts'
import { ProcessError } from '../process/errors.ts'
import { findGadgets } from '../process/gadgets.ts'
import { readMaps } from '../process/maps.ts'
import { descriptors, isStopped } from '../process/target.ts'
import type { Journal } from './journal.ts'

/** Totals of the pauses that we caused, milliseconds. */
export interface Pauses {
  stops: number
  longest: number
  total: number
}

/** Milliseconds after which an agent that was not used is let go. */
const idle = 1500

export class Agents {
  readonly #pid: number
  readonly #report: (message: string) => void
  readonly pauses: Pauses = { stops: 0, longest: 0, total: 0 }
  #agent: Agent | undefined
  #used = 0

  constructor(pid: number, report: (message: string) => void) {
    this.#pid = pid
    this.#report = report
  }

  noteStop(ms: number): void {
    this.pauses.stops++
    this.pauses.longest = Math.max(this.pauses.longest, ms)
    this.pauses.total += ms
  }

  /** The agent was used just now. */
  touch(): void {
    this.#used = performance.now()
  }

  /** Takes up an agent that has been made. */
  use(agent: Agent, journal: Journal): void {
    this.#agent = agent
    this.touch()
    journal.footing = agent.footing
  }

  /** An agent that answers. Throws ProcessError `busy` when none can be had now. */
  get(journal: Journal): Agent {
    if (isStopped(this.#pid)) throw new ProcessError('busy', `Process ${this.#pid} is stopped`)
    const alive = this.#agent !== undefined && remote(this.#agent, [[nr.gettid]], 2000) !== undefined
    if (!alive) {
      this.dismiss()
      // Two agents at a time would read each other's packets.
      if (!this.ended(journal.footing.tid, 2000))
        throw new ProcessError('busy', `The agent in process ${this.#pid} does not answer`)
      const agent = createAgent(this.#pid, journal.footing)
      this.noteStop(agent.pause)
      this.use(agent, journal)
    }
    this.touch()
    return this.#agent as Agent
  }

  /** Waits until an agent that was dismissed has ended. */
  ended(tid: number, ms: number): boolean {
    const end = performance.now() + ms
    while (tid !== 0 && threads(this.#pid).includes(tid)) {
      if (performance.now() > end) return false
      sleep(1)
    }
    return true
  }

  dismiss(): void {
    if (this.#agent === undefined) return
    dismiss(this.#agent)
    this.#agent = undefined
  }

  /** It is a thread that the program did not make: it goes when it has nothing to do. */
  dismissIdle(): void {
    if (this.#agent !== undefined && performance.now() - this.#used > idle) this.dismiss()
  }

  /**
   * Our descriptors and our area out of the target, by a borrowed thread: the agent may stand still with the program.
   * `partial`: who came here died before all was noted. The program had no userfaultfd then, so any is ours.
   */
  withdraw({ footing: f }: { footing: Footing }, partial = false): void {
    this.dismiss()
    const ended = this.ended(f.tid, isStopped(this.#pid) ? 50 : 2000)
    const thread = borrowThread(this.#pid, findGadgets(this.#pid))
    try {
      const ours = [f.uffd, f.parkIn, f.parkOut, f.control].filter(fd => isOurs(this.#pid, fd))
      const stray = partial ? descriptors(this.#pid).filter(fd => isUserfault(this.#pid, fd)) : []
      for (const fd of new Set([...ours, ...stray])) thread.call(nr.close, fd)
      // The area is the ground under an agent's feet.
      const there = readMaps(this.#pid).some(
        m => m.start === f.area + 12288 && m.name.startsWith('/memfd:lethe'),
      )
      if (ended && there) thread.call(nr.munmap, f.area, 16384)
    } finally {
      thread.release()
    }
    this.noteStop(performance.now() - thread.since)
    if (!ended) this.#report('its agent thread ends when the process goes on; 16 KiB stay mapped')
  }
}

function isUserfault(pid: number, fd: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[userfaultfd]'
  } catch {
    return false
  }
}

// By its kind: a high number that has become a file of the program's since is not.
function isOurs(pid: number, fd: number): boolean {
  try {
    return fd !== 0 && /^(socket:|anon_inode:\[userfaultfd\])/.test(readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return false
  }
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
