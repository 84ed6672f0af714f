// Running system calls inside a stopped thread of another process, so that our own death does no harm.
//
// A thread under ptrace goes on by itself when its tracer dies, with whatever registers it has then. So before
// we change a register we write a *landing* into dead memory below its stack: a signal frame that holds the
// thread's complete original state (general, extended, signal mask). The injected call is made by a
// `syscall; ret` that the target has in its C library, and the stack pointer points at the landing: the `ret`
// goes to the library's `rt_sigreturn`, which puts the thread back where it was. A tracer that lives never lets
// it come to that: it stops the thread at the exit of each call and restores the registers itself,
// `orig_rax` included, so that an interrupted call restarts exactly as the kernel would have restarted it.
//
//   seize, interrupt, wait → registers, extended state, mask → landing written → registers set → signals
//   blocked → [entry stop, exit stop] per call → mask restored → registers restored → detach
//
// Order matters and is the whole protocol: state is first changed by setting the registers to a call whose return
// path restores everything, and last by setting them back.
import { readFileSync } from 'node:fs'
import { reg } from '../sys/abi.ts'
import { errnoName, ESRCH } from '../sys/errno.ts'
import { nr } from '../sys/ffi.ts'
import { writeProcess } from '../sys/memory.ts'
import * as ptrace from '../sys/ptrace.ts'
import { ProcessError } from './errors.ts'
import type { Gadgets } from './gadgets.ts'
import { abandon, isStraggler, releaseStragglers } from './stragglers.ts'

/** Bytes of a landing: return address, ucontext, alignment, extended state of up to 16 KiB. */
const contextBytes = 304
const allSignals = 0xffff_ffff_ffff_ffffn

// ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK
const restarts = new Set([-512n, -513n, -514n, -516n])

/** A thread that we hold stopped, and that makes system calls for us. */
export class StoppedThread {
  readonly tid: number
  readonly #pid: number
  readonly #gadgets: Gadgets
  readonly #landing: number
  readonly #mask: bigint
  #prepared = false
  readonly registers: BigUint64Array<ArrayBuffer>
  /** `performance.now()` at which it was told to stop. */
  readonly since: number
  readonly #patience: number

  /** `tid` must be stopped under ptrace by this thread; `landing` is where `writeLanding` put its way home. `patience`: how long a call may take, milliseconds. */
  constructor(
    pid: number,
    tid: number,
    gadgets: Gadgets,
    landing: number,
    registers: BigUint64Array<ArrayBuffer>,
    mask: bigint,
    since: number = performance.now(),
    patience: number = 2000,
  ) {
    this.tid = tid
    this.#pid = pid
    this.#gadgets = gadgets
    this.#landing = landing
    this.#mask = mask
    this.registers = registers
    this.since = since
    this.#patience = patience
  }

  /** Makes one system call in the thread; its result, or minus errno. Throws ProcessError when the thread dies. */
  call(number: number, ...args: number[]): number {
    const r = new BigUint64Array(this.registers)
    const values = args.map(v => BigInt.asUintN(64, BigInt(v)))
    r[reg.rax] = BigInt(number)
    r[reg.orig_rax] = allSignals // -1: not in a system call
    r[reg.rip] = BigInt(this.#gadgets.syscallReturn)
    r[reg.rsp] = BigInt(this.#landing)
    r[reg.rdi] = values[0] ?? 0n
    r[reg.rsi] = values[1] ?? 0n
    r[reg.rdx] = values[2] ?? 0n
    r[reg.r10] = values[3] ?? 0n
    r[reg.r8] = values[4] ?? 0n
    r[reg.r9] = values[5] ?? 0n
    this.#must(ptrace.setRegisters(this.tid, r), 'set registers')
    if (!this.#prepared) {
      this.#must(ptrace.setSignalMask(this.tid, allSignals), 'block signals')
      this.#prepared = true
    }
    this.#run('entry')
    this.#run('exit')
    const after = ptrace.getRegisters(this.tid)
    if (typeof after === 'number') throw this.#lost('get registers', after)
    return Number(BigInt.asIntN(64, after[reg.rax] as bigint))
  }

  /** A thread that the last `call` (a clone) made; it is stopped before its first instruction. */
  newThread = 0

  #run(what: string): void {
    for (;;) {
      this.#must(ptrace.toSyscall(this.tid), what)
      const seen = ptrace.wait(this.tid, this.#patience)
      if (seen.kind === 'none') throw this.#lost(`wait for ${what}`, 0)
      if (seen.kind === 'gone') throw this.#lost(what, -3)
      if (seen.signal === 0x85) return // SIGTRAP | 0x80: a stop at a system call
      // Other stops (the clone event, a stop of the whole group): run on to the next.
    }
  }

  /** Puts everything back and lets the thread go. */
  release(): void {
    this.restore()
    ptrace.detach(this.tid)
  }

  /** Puts everything back, the thread stays stopped. */
  restore(): void {
    if (!this.#prepared) return
    ptrace.setSignalMask(this.tid, this.#mask)
    ptrace.setRegisters(this.tid, this.registers)
    this.#prepared = false
  }

  #must(result: number, what: string): void {
    if (result < 0) throw this.#lost(what, result)
  }

  #lost(what: string, errno: number): ProcessError {
    const reason = errno === 0 ? `it did not answer within ${this.#patience / 1000} s` : errnoName(errno)
    return new ProcessError('lost', `Lost thread ${this.tid} of process ${this.#pid} (${what}: ${reason})`)
  }
}

/** Builds a signal frame for `registers` at `address` (its `pretcode` goes to rt_sigreturn). */
export function landing(
  address: number,
  registers: BigUint64Array,
  extended: Uint8Array | undefined,
  mask: bigint,
  sigreturn: number,
): Uint8Array {
  const fp = extended === undefined ? 0 : Math.ceil((address + 8 + contextBytes) / 64) * 64
  const size = extended === undefined ? 8 + contextBytes : fp - address + extended.length + 4
  const frame = new Uint8Array(size)
  const view = new DataView(frame.buffer)
  const put = (at: number, value: bigint): void => view.setBigUint64(at, BigInt.asUintN(64, value), true)
  const r = (index: number): bigint => registers[index] as bigint
  put(0, BigInt(sigreturn))
  const c = 8
  put(c, extended === undefined ? 6n : 7n) // UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
  // An invalid alternate stack: the kernel refuses it silently and so leaves the thread's own in place.
  view.setUint32(c + 24, 0x7777, true)
  const order: number[] = [
    reg.r8,
    reg.r9,
    reg.r10,
    reg.r11,
    reg.r12,
    reg.r13,
    reg.r14,
    reg.r15,
    reg.rdi,
    reg.rsi,
    reg.rbp,
  ]
  order.push(reg.rbx, reg.rdx, reg.rax, reg.rcx, reg.rsp, reg.rip, reg.eflags)
  order.forEach((index, i) => put(c + 40 + 8 * i, r(index)))
  const inCall = BigInt.asIntN(64, r(reg.orig_rax)) >= 0n
  if (inCall && restarts.has(BigInt.asIntN(64, r(reg.rax)))) {
    put(c + 144, r(reg.orig_rax))
    put(c + 168, r(reg.rip) - 2n)
  }
  view.setUint16(c + 184, Number(r(reg.cs)), true)
  view.setUint16(c + 190, Number(r(reg.ss)), true)
  put(c + 224, BigInt(fp))
  put(c + 296, mask)
  if (extended !== undefined) {
    const at = fp - address
    frame.set(extended, at)
    // struct _fpx_sw_bytes at 464: magic1, extended size, features, size; magic2 behind the state
    const features = view.getBigUint64(at + 464, true)
    view.setUint32(at + 464, 0x46505853, true)
    view.setUint32(at + 468, extended.length + 4, true)
    view.setBigUint64(at + 472, features, true)
    view.setUint32(at + 480, extended.length, true)
    view.setUint32(at + extended.length, 0x46505845, true)
  }
  return frame
}

/** Registers of a thread that ends itself: what a landing of a thread of ours leads to. */
export function exitRegisters(like: BigUint64Array, gadgets: Gadgets): BigUint64Array<ArrayBuffer> {
  const r = new BigUint64Array(like)
  r[reg.rax] = BigInt(nr.exit)
  r[reg.rdi] = 0n
  r[reg.orig_rax] = allSignals
  r[reg.rip] = BigInt(gadgets.syscallReturn)
  return r
}

/**
 * Stops a thread and prepares it for calls. Returns undefined when it can't be stopped within `ms` (it sleeps
 * uninterruptibly), or stands on no stack of its own, whose dead part could hold the landing.
 */
export function stopThread(
  pid: number,
  tid: number,
  gadgets: Gadgets,
  ms: number,
  stackRoom: (pointer: number) => boolean,
): StoppedThread | undefined {
  releaseStragglers()
  const seized = ptrace.seize(tid, ptrace.O_TRACESYSGOOD | ptrace.O_TRACECLONE)
  if (seized < 0) {
    if (seized === -ESRCH || isStraggler(tid) || isDead(pid, tid)) return undefined
    throw new ProcessError(
      'traced',
      `Process ${pid} can't be traced (${errnoName(seized)}): a debugger or another lethe holds it, or you may not trace it`,
    )
  }
  const since = performance.now()
  ptrace.interrupt(tid)
  if (!settle(tid, ms)) {
    abandon(tid)
    return undefined
  }
  const registers = ptrace.getRegisters(tid)
  const extended = ptrace.getExtendedState(tid)
  const mask = ptrace.getSignalMask(tid)
  if (typeof registers === 'number' || typeof extended === 'number' || typeof mask === 'number') {
    ptrace.letGo(tid)
    return undefined
  }
  ptrace.restartable(registers)
  const stack = Number(registers[reg.rsp])
  const room = 128 + 8 + contextBytes + 64 + extended.length + 64
  const at = Math.floor((stack - room) / 64) * 64 - 8
  if (!stackRoom(at)) {
    ptrace.letGo(tid)
    return undefined
  }
  const frame = landing(at, registers, extended, mask, gadgets.sigreturn)
  if (writeProcess(pid, at, frame) !== frame.length) {
    ptrace.letGo(tid)
    return undefined
  }
  return new StoppedThread(pid, tid, gadgets, at, registers, mask, since)
}

/** Whether a thread has ended (a main thread's entry stays until the others have ended too). */
export function isDead(pid: number, tid: number): boolean {
  try {
    const line = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1')
    return /^[ZX]/.test(line.slice(line.lastIndexOf(')') + 2))
  } catch {
    return true
  }
}

/** Waits for the stop that INTERRUPT asked for, handing on signals that arrive before it. */
export function settle(tid: number, ms: number): boolean {
  const end = performance.now() + ms
  for (;;) {
    const seen = ptrace.wait(tid, Math.max(0, end - performance.now()))
    if (seen.kind !== 'stopped') return false
    if (seen.event === ptrace.EVENT_STOP) return true
    ptrace.resume(tid, seen.event === 0 ? seen.signal : 0)
  }
}
