// A serving thread follows the CPU of the thread that faults: the hand-off costs 9 µs on one CPU and 50 between two.
import { readFileSync } from 'node:fs'
import { currentCpu, pinTo } from '../sys/memory.ts'

export class CpuFollower {
  readonly #pid: number
  #cpu = -1
  #faults = 0
  /** Faults between two looks at where their thread runs. A look takes 50 µs: they are rarer while it stays there. */
  #every = 64

  constructor(pid: number) {
    this.#pid = pid
  }

  /** Tells of a fault of thread `tid`. */
  fault(tid: number): void {
    if (this.#faults++ >= this.#every || (this.#cpu < 0 && this.#faults > 1)) this.#follow(tid)
  }

  /** Whether this thread is on the CPU of one that has faulted. */
  get near(): boolean {
    return this.#cpu >= 0
  }

  /** Keeps the calling thread where it is until the next fault, which is looked at. The CPU. */
  stay(): number {
    if (this.#cpu < 0) pinTo((this.#cpu = currentCpu()))
    this.#faults = this.#every
    return this.#cpu
  }

  /** Lets the calling thread run anywhere: during a long stream two CPUs are better than one. */
  release(): void {
    if (this.#cpu < 0) return
    pinTo(-1)
    this.#cpu = -1
    this.#faults = -64
  }

  #follow(tid: number): void {
    this.#faults = 0
    try {
      const stat = readFileSync(`/proc/${this.#pid}/task/${tid}/stat`, 'latin1')
      const cpu = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[36])
      if (!Number.isInteger(cpu)) return
      this.#every = cpu === this.#cpu ? Math.min(1024, this.#every * 2) : 64
      if (cpu === this.#cpu) return
      pinTo(cpu)
      this.#cpu = cpu
    } catch {
      // A thread of a child, or one that is gone.
    }
  }
}
