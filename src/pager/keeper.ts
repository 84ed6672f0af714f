// The keeper: a process that shares our descriptors, costs a few KiB, and does nothing but be there.
//
// The kernel hands us descriptors that exist nowhere else: reading the event of a fork makes the child's userfaultfd
// in our table, and the child runs on at once. If we were killed before it lies in the park, the child would read zeros.
// The keeper is a fork of us that has our table of descriptors itself (CLONE_FILES) and has unmapped all of our memory but
// its own page. In a session of its own it outlives a kill -9 of us, and the table with it. A successor takes from it what it needs, by the numbers that
// stand in the journal's inbox, and ends it; it ends by itself with the target.
//
//   munmap of all but its own page · setsid · prctl(PR_SET_NAME) · again: poll(pidfd of the target, for ever) < 0 → again · exit_group(0)
import * as fds from '../sys/fd.ts'
import { readFileSync } from 'node:fs'
import { type Arena, arena, arenaAt, call, getAddress, nr, putAddress } from '../sys/ffi.ts'
import { PagerError } from './errors.ts'
import { must } from '../sys/errno.ts'
import { startTime } from '../process/target.ts'

const munmap = (from: number, to: number): string => `b80b00000048bf${hex(from)}48be${hex(to - from)}0f05`

const begin =
  'b8700000000f05' + // setsid
  'bf0f00000048beNNNNNNNNNNNNNNNNb89d0000000f05' // prctl
const code =
  '48bfPPPPPPPPPPPPPPPPbe01000000baffffffffb8070000000f0585c078e1' + // poll
  '31ffb8e70000000f05' // exit_group

/** A process and when it started: together they name it for ever. */
export interface Named {
  readonly pid: number
  readonly start: number
}

interface Range {
  start: number
  end: number
}

export function hex(address: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(address))
  return bytes.toString('hex')
}

/** The mapping that holds the thread-local storage of the calling thread. */
function threadArea(memory: Arena): Range {
  must(call(nr.arch_prctl, 0x1003 /* ARCH_GET_FS */, memory.address), 'arch_prctl')
  const pointer = getAddress(memory.u32, 0)
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const [start = 0, end = 0] = (line.split(' ', 1)[0] ?? '').split('-').map(n => Number.parseInt(n, 16))
    if (pointer >= start && pointer < end) return { start, end }
  }
  throw new PagerError('invariant', 'the thread pointer lies in no mapping')
}

let own: Named | undefined

/** Ends the keeper of this process. To be called by who exits for good; who exits for a successor leaves it. */
export function endOwnKeeper(): void {
  if (own !== undefined) endKeeper(own)
}

/** Memory for a process of `startBare`: code from 0, its name at 4096, ours to use from `bareData` on, its stack at the end. */
export function bareMemory(bytes: number): Arena {
  const size = Math.ceil((bareData + bytes) / 4096) * 4096 + 4096
  return arenaAt(must(call(nr.mmap, 0, size, 7, 0x22, -1, 0), 'mmap'), size)
}
export const bareData = 4128

/**
 * Starts a process that shares our descriptors and has nothing of our memory but `memory`. It runs `code`, in hexadecimal, in a session
 * of its own, with all signals blocked.
 */
export function startBare(memory: Arena, name: string, code: string): Named {
  const size = memory.bytes.length
  const scratch = arena(4096)
  // All but its page, and the thread's own area, where the kernel keeps writing (restartable sequences).
  const page = { start: memory.address, end: memory.address + size }
  const [low, high] = [page, threadArea(scratch)].sort((a, b) => a.start - b.start) as [Range, Range]
  const text =
    munmap(0x10000, low.start) +
    munmap(low.end, high.start) +
    munmap(high.end, 0x7fff_ffff_f000) +
    begin.replace(/N+/, hex(memory.address + 4096)) +
    code
  memory.bytes.set(Buffer.from(text, 'hex'))
  memory.bytes.set(new TextEncoder().encode(name), 4096)
  const stack = size - 64
  putAddress(memory.u32, stack / 4, memory.address) // where its first return goes
  // It has our signal handlers but must never run one.
  scratch.u32.fill(0xffff_ffff, 0, 2)
  must(call(nr.rt_sigprocmask, 2, scratch.address, scratch.address + 8, 8), 'sigprocmask')
  const pid = call(nr.clone, 0x400 /* FILES */, memory.address + stack, 0, 0, 0)
  call(nr.rt_sigprocmask, 2, scratch.address + 8, 0, 8)
  must(pid, 'clone')
  return { pid, start: startTime(pid) ?? 0 }
}

/** Starts a keeper that ends with the process `target`; x86-64. */
export function startKeeper(target: number): Named {
  const memory = bareMemory(8)
  memory.u32[bareData / 4] = must(fds.pidfdOpen(target), 'pidfd_open')
  memory.u32[bareData / 4 + 1] = 1
  own = startBare(memory, 'lethe-keeper', code.replace(/P+/, hex(memory.address + bareData)))
  return own
}

/** Whether the keeper of a predecessor still is there. */
export const keeps = (keeper: Named): boolean => keeper.pid > 0 && startTime(keeper.pid) === keeper.start

/** Ends a keeper; what it alone had is closed. */
export function endKeeper(keeper: Named): void {
  if (keeps(keeper)) process.kill(keeper.pid, 'SIGKILL')
}
