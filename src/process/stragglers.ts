// Threads that were told to stop and did not in time: they sleep uninterruptibly (a parent in vfork, a fault that nobody
// serves yet). The order can't be withdrawn, so each is let go as soon as it has stopped after all.
import * as ptrace from '../sys/ptrace.ts'

const stragglers = new Set<number>()
/** Milliseconds between two looks. */
const interval = 2
let timer: NodeJS.Timeout | undefined

/** Gives up waiting for a thread that has been seized and interrupted. */
export function abandon(tid: number): void {
  stragglers.add(tid)
  if (timer !== undefined) return
  timer = setInterval(releaseStragglers, interval)
  timer.unref()
}

export const isStraggler = (tid: number): boolean => stragglers.has(tid)

/** Lets those go that have stopped. How many have not. */
export function releaseStragglers(): number {
  for (const tid of stragglers) {
    const seen = ptrace.poll(tid)
    if (seen.kind === 'gone') stragglers.delete(tid)
    else if (seen.kind === 'stopped') {
      if (seen.event === ptrace.EVENT_STOP) {
        ptrace.letGo(tid)
        stragglers.delete(tid)
      } else ptrace.resume(tid, seen.event === 0 ? seen.signal : 0)
    }
  }
  if (stragglers.size === 0) {
    clearInterval(timer)
    timer = undefined
  }
  return stragglers.size
}
