// ptrace, for one thread of ours as the tracer: all calls must come from the thread that seized. We SEIZE
// (never ATTACH: no SIGSTOP is sent) and never set EXITKILL: when we die the kernel lets every thread go on.
import { arena, call, nr, putAddress } from './ffi.ts'
import { ECHILD, EINTR } from './errno.ts'
import { reg, regWords, repeatable } from './abi.ts'

const CONT = 7
const SYSCALL = 24
const GETREGSET = 0x4204
const SETREGSET = 0x4205
const DETACH = 17
const SEIZE = 0x4206
const INTERRUPT = 0x4207
const GETSIGMASK = 0x420a
const SETSIGMASK = 0x420b
const NT_PRSTATUS = 1
const NT_X86_XSTATE = 0x202
/** Mark stops at system calls with bit 7 of the signal. */
export const O_TRACESYSGOOD = 1
/** Report new threads and stop them before their first instruction. */
export const O_TRACECLONE = 8
/** `Wait.event` of a stop that INTERRUPT asked for, or of a new thread's first stop. */
export const EVENT_STOP = 128

// 0: iovec, 64: wait status, 4096: registers, 8192: extended state (up to 20 KiB with AMX tiles)
const memory = arena(8192 + 32768)
const registers = memory.u64.subarray(4096 / 8, 4096 / 8 + regWords)
const iovec = (base: number, length: number): number => {
  putAddress(memory.u32, 0, base)
  putAddress(memory.u32, 2, length)
  return memory.address
}

export const seize = (tid: number, options = 0): number => call(nr.ptrace, SEIZE, tid, 0, options)
export const interrupt = (tid: number): number => call(nr.ptrace, INTERRUPT, tid)
export const resume = (tid: number, signal = 0): number => call(nr.ptrace, CONT, tid, 0, signal)
/** Lets a stopped thread run up to the entry or the exit of its next system call. */
export const toSyscall = (tid: number, signal = 0): number => call(nr.ptrace, SYSCALL, tid, 0, signal)
/** Lets a stopped thread go; `signal` is delivered to it (one that arrived while we held it). */
export const detach = (tid: number, signal = 0): number => call(nr.ptrace, DETACH, tid, 0, signal)

/**
 * An interrupt must not be seen by the program. Most interrupted calls are restarted by the kernel; some return EINTR
 * after any stop, with or without a signal (signal(7), "Interruption of system calls by stop signals"). Nothing was done
 * by such a call, so it can be restarted: the registers are changed to say so. Whether they had to be.
 */
export function restartable(registers: BigUint64Array): boolean {
  if (registers[reg.rax] !== interrupted || !repeatable.has(Number(registers[reg.orig_rax]))) return false
  registers[reg.rax] = restart
  return true
}
const interrupted = BigInt.asUintN(64, -4n)
/** ERESTARTNOHAND: EINTR when a signal handler runs, otherwise once more. */
const restart = BigInt.asUintN(64, -514n)

/** Lets a thread go that INTERRUPT has stopped; its system call goes on as if nothing had been. */
export function letGo(tid: number): number {
  const done = call(nr.ptrace, GETREGSET, tid, NT_PRSTATUS, iovec(memory.address + 4096, regWords * 8))
  if (done === 0 && restartable(registers))
    call(nr.ptrace, SETREGSET, tid, NT_PRSTATUS, iovec(memory.address + 4096, regWords * 8))
  return detach(tid)
}

/** A copy of the general registers of a stopped thread. */
export function getRegisters(tid: number): BigUint64Array<ArrayBuffer> | number {
  const done = call(nr.ptrace, GETREGSET, tid, NT_PRSTATUS, iovec(memory.address + 4096, regWords * 8))
  return done < 0 ? done : new BigUint64Array(registers)
}

export function setRegisters(tid: number, values: BigUint64Array): number {
  registers.set(values)
  return call(nr.ptrace, SETREGSET, tid, NT_PRSTATUS, iovec(memory.address + 4096, regWords * 8))
}

/** The extended state (x87, SSE, AVX, …) in the kernel's XSAVE layout, as the CPU needs it back. */
export function getExtendedState(tid: number): Uint8Array | number {
  const done = call(nr.ptrace, GETREGSET, tid, NT_X86_XSTATE, iovec(memory.address + 8192, 32768))
  return done < 0 ? done : memory.bytes.slice(8192, 8192 + (memory.u32[2] as number))
}

/** The blocked signals of a stopped thread. */
export function getSignalMask(tid: number): bigint | number {
  const done = call(nr.ptrace, GETSIGMASK, tid, 8, memory.address + 128)
  return done < 0 ? done : (memory.u64[16] as bigint)
}

export function setSignalMask(tid: number, mask: bigint): number {
  memory.u64[16] = mask
  return call(nr.ptrace, SETSIGMASK, tid, 8, memory.address + 128)
}

/** What became of a thread: nothing yet, gone, stopped by a signal or an event of ptrace. */
export type Wait = { kind: 'none' } | { kind: 'gone' } | { kind: 'stopped'; signal: number; event: number }

/** Looks, without waiting, whether the thread changed state. */
export function poll(tid: number): Wait {
  for (;;) {
    const done = call(nr.wait4, tid, memory.address + 64, 0x4000_0001 /* __WALL | WNOHANG */)
    if (done === 0) return { kind: 'none' }
    if (done === -EINTR) continue
    if (done === -ECHILD || done < 0) return { kind: 'gone' }
    const status = memory.u32[16] as number
    if ((status & 0xff) !== 0x7f) return { kind: 'gone' }
    return { kind: 'stopped', signal: (status >> 8) & 0xff, event: status >>> 16 }
  }
}

/** Waits until the thread changes state, for at most `ms` milliseconds; `none` when it did not. */
export function wait(tid: number, ms: number): Wait {
  const end = performance.now() + ms
  for (let spins = 0; ; spins++) {
    const seen = poll(tid)
    if (seen.kind !== 'none' || performance.now() > end) return seen
    pause(spins)
  }
}

/** Gives the processor away: at first by yielding, soon by sleeping 30 µs, for whom we wait for may need it. */
export function pause(spins: number): void {
  if (spins < 10) {
    call(nr.sched_yield)
    return
  }
  putAddress(memory.u32, 20, 0)
  putAddress(memory.u32, 22, 30_000)
  call(nr.nanosleep, memory.address + 80)
}
