// Stopping all threads of a process for a moment.
//
//   seize every thread (they run on) → interrupt all → wait for all; new threads are looked for until there are none
//   → … → detach all
//
// A thread that sleeps uninterruptibly can't be stopped; then nobody stays stopped, and the caller tries later.
// Such a thread stays seized until it wakes; see stragglers.ts.
import { readFileSync } from 'node:fs'
import { EPERM, ESRCH } from '../sys/errno.ts'
import { runFirst, setPriority } from '../sys/memory.ts'
import * as ptrace from '../sys/ptrace.ts'
import { threads } from './agent.ts'
import { isDead } from './inject.ts'
import { abandon, releaseStragglers } from './stragglers.ts'

/** Nice value while threads of the target stand still. */
const urgent = -18

/** All threads of a process, stopped. */
export class Stop {
  readonly tids: readonly number[]
  /** `performance.now()` at which the first thread was seen to stand still. */
  readonly began: number
  constructor(tids: readonly number[], began: number) {
    this.tids = tids
    this.began = began
  }

  /** Lets all go on; returns for how many milliseconds they stood. */
  release(): number {
    for (const tid of this.tids) ptrace.letGo(tid)
    const stood = performance.now() - this.began
    runFirst(0, false)
    setPriority(0, 0)
    return stood
  }
}

/** How long to wait for the first thread, milliseconds. */
const firstLimit = 100

/** Stops all threads but `except`, the others within `ms` milliseconds of the first; or none: then undefined. */
export function stopAll(pid: number, except: number, ms: number): Stop | undefined {
  if (releaseStragglers() > 0) return undefined
  const stopped: number[] = []
  const seen = new Set<number>([except])
  let began = 0
  let deadline = Number.POSITIVE_INFINITY
  const giveUp = (waiting: readonly number[]): undefined => {
    for (const tid of waiting) abandon(tid)
    for (const tid of stopped) ptrace.letGo(tid)
    setPriority(0, 0)
    releaseStragglers()
    return undefined
  }
  for (;;) {
    const fresh: number[] = []
    for (const tid of threads(pid)) {
      if (seen.has(tid)) continue
      seen.add(tid)
      const result = ptrace.seize(tid)
      if (result === 0) fresh.push(tid)
      else if (result === -ESRCH || (result === -EPERM && isDead(pid, tid)) || isKernelWorker(pid, tid))
        continue
      else return giveUp(fresh)
    }
    if (fresh.length === 0) {
      if (stopped.length === 0) return undefined
      // Others wait for us now: as long as they stand still, nobody else's work comes before ours.
      setPriority(0, urgent)
      runFirst(0, true)
      return new Stop(stopped, began)
    }
    for (const tid of fresh) ptrace.interrupt(tid)
    for (let i = 0; i < fresh.length; i++) {
      const tid = fresh[i] as number
      // Until the first stands still nobody waits for us, and on a busy machine it may be long in getting there.
      const outcome = settleBy(tid, stopped.length === 0 ? performance.now() + firstLimit : deadline)
      if (outcome === 'late') return giveUp(fresh.slice(i))
      if (outcome === 'gone') continue
      stopped.push(tid)
      if (stopped.length === 1) {
        began = performance.now()
        deadline = began + ms
      }
    }
  }
}

function settleBy(tid: number, deadline: number): 'stopped' | 'gone' | 'late' {
  for (;;) {
    const seen = ptrace.wait(tid, deadline - performance.now())
    if (seen.kind === 'none') return 'late'
    if (seen.kind === 'gone') return 'gone'
    if (seen.event === ptrace.EVENT_STOP) return 'stopped'
    ptrace.resume(tid, seen.event === 0 ? seen.signal : 0)
  }
}

function stat(pid: number, tid: number): string {
  try {
    return readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1')
  } catch {
    return ''
  }
}

// Threads of io_uring run in the kernel only and can't be traced.
const isKernelWorker = (pid: number, tid: number): boolean => /\(iou-(wrk|sqp)/.test(stat(pid, tid))
