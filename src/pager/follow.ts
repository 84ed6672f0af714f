// A serving thread follows the CPU of the thread that faults: the hand-off costs 9 µs on one CPU and 50 between two. The kernel moves that
// thread to a CPU that idles now and then; faults that take long, all of a sudden, tell. If it moves each time that we have followed, the
// two stay apart, and who serves watches for the next fault instead of sleeping: to be woken on another CPU takes most of those 50 µs.
import { closeSync, openSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { readAt } from '../sys/fd.ts'
import { arena } from '../sys/ffi.ts'
import { currentCpu, pinTo } from '../sys/memory.ts'

/** Microseconds of a hand-off: with the faulting thread on our CPU, on another that we watch, and on another. */
const near = 9
const watched = 16
const far = 50
/** Faults between two looks at where their thread runs, at first and at most: they are rarer while it stays there. */
const often = 64
const seldom = 1024
/** Faults between two looks at the clock. */
const timed = 8
/** Milliseconds: such faults, one after the other on one CPU, take less. */
const quick = timed * 0.025
const statBytes = 1024
/** Moves with fewer faults than `calm` between them, from which on it is left alone, and for how many faults. */
const restless = 4
const calm = 256
const rest = 8192
/** How long the next fault is watched for, milliseconds; how many are served so, and for how long, before its server looks what else there is. */
const watchLimit = 0.06
const mostWatched = 16
const longest = 0.5
/** When nothing came so many times, it sleeps again. */
const mostInVain = 4

export class CpuFollower {
  readonly #pid: number
  readonly #stat = arena(statBytes)
  /** The thread that has been looked at, and its `stat`, open. */
  #tid = -1
  #file = -1
  #cpu = -1
  #faults = 0
  #every = often
  /** Faults from one look on that may take long before the next: a program may simply have more to do between them. */
  #doubt = timed
  #since = 0
  /** Moves one soon after the other, and faults since the last. */
  #moves = 0
  #stayed = 0
  #inVain = 0
  /** The thread is left alone on its CPU. */
  #apart = false

  constructor(pid: number) {
    this.#pid = pid
  }

  /** Tells of a fault of thread `tid`. */
  fault(tid: number): void {
    const n = ++this.#faults
    if (this.#apart) {
      if (n < 0) return
      this.#apart = false
    }
    if (n >= this.#every || (this.#cpu < 0 && n > 1)) this.#follow(tid)
    else if (n % timed === 0) {
      const now = performance.now()
      const slow = now - this.#since > quick
      this.#since = now
      if (slow && this.#cpu >= 0 && n >= this.#doubt) this.#follow(tid)
    }
  }

  /** Microseconds that the hand-off of a fault takes, as measured. */
  get handOff(): number {
    return this.#cpu >= 0 ? near : this.#apart ? watched : far
  }

  /**
   * After a fault: while its thread is left alone on another CPU, and comes back at once, calls `look`, which serves what has come and
   * tells whether anything had.
   */
  watch(look: () => boolean): void {
    let now = performance.now()
    const last = now + longest
    for (let faults = 0; faults < mostWatched && now < last && this.#apart; faults++) {
      const end = now + watchLimit
      let came = look()
      while (!came && (now = performance.now()) < end) came = look()
      if (came) now = performance.now()
      this.#inVain = came ? 0 : this.#inVain + 1
      if (this.#inVain === mostInVain) {
        this.#apart = false
        this.#inVain = 0
        this.#faults = -calm
      }
      if (!came) return
    }
  }

  /** Keeps the calling thread where it is until the next fault, which is looked at. The CPU. */
  stay(): number {
    if (this.#cpu < 0) pinTo((this.#cpu = currentCpu()))
    this.#apart = false
    this.#faults = this.#every
    return this.#cpu
  }

  /** Lets the calling thread run anywhere: during a long stream two CPUs are better than one. */
  release(): void {
    if (this.#cpu < 0) return
    pinTo(-1)
    this.#cpu = -1
    this.#faults = -often
  }

  #follow(tid: number): void {
    this.#stayed += Math.max(0, this.#faults)
    this.#faults = 0
    const cpu = this.#cpuOf(tid)
    if (cpu === undefined) return
    const moved = cpu !== this.#cpu
    this.#every = moved ? often : Math.min(seldom, this.#every * 2)
    this.#doubt = moved ? timed : Math.min(seldom, this.#doubt * 2)
    if (!moved) return
    this.#moves = this.#stayed < calm ? this.#moves + 1 : 0
    this.#stayed = 0
    this.#apart = this.#moves >= restless
    if (this.#apart) {
      this.#moves = 0
      this.#faults = -rest
    }
    this.#cpu = this.#apart ? -1 : cpu
    pinTo(this.#cpu)
  }

  // Where a thread runs, or ran last. Undefined for a thread of a child, and for one that is gone.
  #cpuOf(tid: number): number | undefined {
    const { address, bytes } = this.#stat
    if (tid !== this.#tid) {
      if (this.#file >= 0) closeSync(this.#file)
      this.#file = -1
      this.#tid = tid
      try {
        this.#file = openSync(`/proc/${this.#pid}/task/${tid}/stat`, 'r')
      } catch {
        return undefined
      }
    }
    const length = this.#file < 0 ? 0 : readAt(this.#file, address, statBytes, 0)
    if (length <= 0) return undefined
    // Its name is in brackets, and may be anything.
    const fields = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1')
    const cpu = Number(fields.slice(fields.lastIndexOf(')') + 2).split(' ')[36])
    return Number.isInteger(cpu) ? cpu : undefined
  }
}
