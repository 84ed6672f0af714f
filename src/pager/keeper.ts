// The keeper: a process that shares our descriptors, costs 16 KiB, and does nothing but be there.
//
// The kernel hands us descriptors that exist nowhere else: reading the event of a fork makes the child's userfaultfd
// in our table, and the child runs on at once. If we were killed before it lies in the park, the child would read zeros.
// The keeper is a fork of us that has our table of descriptors itself (CLONE_FILES) and has unmapped all of our memory but
// its own page. In a session of its own it outlives a kill -9 of us, and the table with it. A successor takes from it what it needs, by the numbers that
// stand in the journal's inbox, and ends it; it ends by itself with the target.
//
//   munmap of all but its own page · setsid · prctl(PR_SET_NAME) · again: poll(pidfd of the target, for ever) < 0 → again · exit_group(0)
import * as fds from '../sys/fd.ts'
import { arenaAt, call, nr, putAddress } from '../sys/ffi.ts'
import { must } from '../sys/errno.ts'
import { startTime } from '../process/target.ts'

const code =
  'b80b000000bf0000010048beLLLLLLLLLLLLLLLL0f05' + // munmap below
  'b80b00000048bfEEEEEEEEEEEEEEEE48beHHHHHHHHHHHHHHHH0f05' + // munmap above
  'b8700000000f05' + // setsid
  'bf0f00000048beNNNNNNNNNNNNNNNNb89d0000000f05' + // prctl
  '48bfPPPPPPPPPPPPPPPPbe01000000baffffffffb8070000000f0585c078e1' + // poll
  '31ffb8e70000000f05' // exit_group

/** A process and when it started: together they name it for ever. */
export interface Named {
  readonly pid: number
  readonly start: number
}

/** Starts a keeper that ends with the process `target`; x86-64. */
export function startKeeper(target: number): Named {
  const size = 16384
  const memory = arenaAt(must(call(nr.mmap, 0, size, 7, 0x22, -1, 0), 'mmap'), size)
  const at = { name: memory.address + 4096, poll: memory.address + 4128, stack: memory.address + size - 64 }
  const hex = (address: number): string => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(address))
    return bytes.toString('hex')
  }
  const end = memory.address + size
  const text = code
    .replace(/L+/, hex(memory.address - 0x10000))
    .replace(/E+(?=48)/, hex(end))
    .replace(/H+/, hex(0x7fff_ffff_f000 - end))
    .replace(/N+/, hex(at.name))
    .replace(/P+/, hex(at.poll))
  memory.bytes.set(Buffer.from(text, 'hex'))
  memory.bytes.set(new TextEncoder().encode('lethe-keeper'), 4096)
  memory.u32[4128 / 4] = must(fds.pidfdOpen(target), 'pidfd_open')
  memory.u32[4128 / 4 + 1] = 1
  putAddress(memory.u32, (size - 64) / 4, memory.address) // where its first return goes
  // It has our signal handlers but must never run one.
  const mask = 8192
  memory.u32.fill(0xffff_ffff, mask / 4, mask / 4 + 2)
  must(call(nr.rt_sigprocmask, 2, memory.address + mask, memory.address + mask + 8, 8), 'sigprocmask')
  const pid = call(nr.clone, 0x400 /* FILES */, at.stack, 0, 0, 0)
  call(nr.rt_sigprocmask, 2, memory.address + mask + 8, 0, 8)
  must(pid, 'clone')
  return { pid, start: startTime(pid) ?? 0 }
}

/** Whether the keeper of a predecessor still is there. */
export const keeps = (keeper: Named): boolean => keeper.pid > 0 && startTime(keeper.pid) === keeper.start

/** Ends a keeper; what it alone had is closed. */
export function endKeeper(keeper: Named): void {
  if (keeps(keeper)) process.kill(keeper.pid, 'SIGKILL')
}
