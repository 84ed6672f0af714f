// The agent: a thread of ours inside the target, which makes system calls there on request.
//
// Dropping pages of another process takes a call made *in* that process, and doing it from one of the program's own
// threads would stop that thread for as long as the kernel frees pages. So one thread of the program is
// borrowed for two calls (mmap, clone; some 0.3 ms), and the new thread does the rest:
//
//   borrow → mmap an area, clone → the new thread, held by ptrace, is led through its set-up (code page, control
//   socket; the first time also the userfaultfd and the park) → detached into a loop of 42 instructions:
//   read a packet of calls from the control socket, make them, write the results back.
//
// Life cycle: the agent lives while we hold the other end of its control socket. When we close it, or die, its
// read returns 0 and the thread ends. It blocks all signals, holds no lock of the program's and touches none
// of its memory. Its descriptors sit high, so that the program's next descriptor has the number it would have had.
//
// The *park* is a socket pair whose two ends both stay in the target. Descriptors that must survive our death
// (backings under lease, the userfaultfds of forked children) lie in it as unread messages; who comes
// after us peeks at them.
import { readFileSync, readdirSync } from 'node:fs'
import { errnoName, must } from '../sys/errno.ts'
import * as fds from '../sys/fd.ts'
import { type Arena, arena, call, getAddress, nr, putAddress } from '../sys/ffi.ts'
import { readProcess, setPriority, writeProcess } from '../sys/memory.ts'
import * as ptrace from '../sys/ptrace.ts'
import * as uffd from '../sys/uffd.ts'
import { reg } from '../sys/abi.ts'
import { ProcessError } from './errors.ts'
import { findGadgets, type Gadgets } from './gadgets.ts'
import { exitRegisters, landing, settle, StoppedThread, stopThread } from './inject.ts'

/** What lies in the target for us. Numbers of descriptors are the target's; 0 means none yet. */
export interface Footing {
  /** Address of our area: 4 pages (landing, packets, set-up data, code). */
  area: number
  uffd: number
  /** The end of the park that is written to, and the one that is read. */
  parkIn: number
  parkOut: number
  /** The agent's end of the control socket, and its thread. */
  control: number
  tid: number
}

/** A living agent and our ends of what it made. */
export interface Agent {
  readonly footing: Footing
  /** Our end of the control socket. */
  readonly control: number
  /** Milliseconds for which a thread of the program was held. */
  readonly pause: number
  /** An answer did not come in time. It may come yet, and would be taken for the answer to what is asked next. */
  late: boolean
}

const areaPages = 4
const packets = 4096
const setup = 8192
const code = 12288
/** Where in the area the name of seals stands: see `isSealed`. */
export const sealName: number = setup + 512
const word = 8

// loop: read(r13, r12, 4032) ≤ 0 → exit; for each 56-byte record {rax, rdi, rsi, rdx, r10, r8, r9}: whoever asked still
// there (recvfrom(r13, peek) is EAGAIN)? else exit; syscall, result into its first word; write(r13, r12, length); again.
// So of what we asked for, at most one call is made after our death, when nobody holds the program's threads any more.
const loop = Buffer.from(
  '31c04489ef4c89e6bac00f00000f054885c07e684d89e64d8d3c044d39fe7d47b82d0000004489ef4c89e631d241ba42000000' +
    '4531c04531c90f054883f8f5753b498b06498b7e08498b7610498b56184d8b56204d8b46284d8b4e300f054989064983c638ebb4' +
    'b8010000004489ef4c89e64c89fa4c29e20f05eb84b83c00000031ff0f05',
  'hex',
)

const records: Arena = arena(4096)

/**
 * Puts an agent into a process. `footing` is what an earlier one left there, or all zeros. Must be called
 * by the one thread of ours that traces. Throws ProcessError; the target then is as it was. `note` hears at once of
 * each thing that lies in the target.
 */
export function createAgent(pid: number, footing: Footing, note: (made: Footing) => void = () => {}): Agent {
  const gadgets = findGadgets(pid)
  // A thread of the program stands still from here on: nobody else's work comes before ours.
  setPriority(0, -18)
  let borrowed: StoppedThread
  try {
    borrowed = borrowThread(pid, gadgets)
  } catch (error) {
    setPriority(0, 0)
    throw error
  }
  const next = { ...footing }
  let tid: number
  try {
    if (next.area === 0) {
      next.area = borrowed.call(nr.mmap, 0, areaPages * 4096, 3, 0x22, -1, 0)
      if (next.area < 0) throw refused(pid, 'mmap', next.area)
      note(next)
    }
    // Where the new thread goes if nobody leads it: it ends itself.
    const home = landing(
      next.area + 64 - 8,
      exitRegisters(borrowed.registers, gadgets),
      undefined,
      ~0n,
      gadgets.sigreturn,
    )
    writeProcess(pid, next.area + 64 - 8, home)
    // VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
    tid = borrowed.call(nr.clone, 0x50f00, next.area + 64 - 8, 0, 0, 0)
    if (tid < 0) throw refused(pid, 'clone', tid)
  } finally {
    borrowed.release()
    setPriority(0, 0)
  }
  const pause = performance.now() - borrowed.since
  next.tid = tid
  note(next)
  const control = setUp(pid, next, gadgets, note)
  return { footing: next, control, pause, late: false }
}

const refused = (pid: number, what: string, errno: number): ProcessError =>
  new ProcessError('refused', `Process ${pid} refused ${what} (${errnoName(errno)}); it is untouched`)

/** Stops some thread that stands on a stack of its own; tries all of them for up to a second. */
export function borrowThread(pid: number, gadgets: Gadgets): StoppedThread {
  const end = performance.now() + 1000
  for (;;) {
    const room = stackRoom(pid)
    for (const tid of threads(pid)) {
      const thread = stopThread(pid, tid, gadgets, 50, room)
      if (thread !== undefined) return thread
    }
    if (performance.now() > end)
      throw new ProcessError(
        'busy',
        `No thread of process ${pid} could be stopped within a second; try again when it is less busy in the kernel`,
      )
    // Whom they wait for may need this processor.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
  }
}

/** Thread ids of a process, main thread first; none when it is gone. */
export function threads(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}

/** Tells of an address whether it lies in dead stack: in [stack], or in a mapping with a guard page below. */
function stackRoom(pid: number): (address: number) => boolean {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
  const ranges = maps.map(line => {
    const [range = '', perms = ''] = line.split(' ', 2)
    const [start = '', end = ''] = range.split('-')
    return { start: parseInt(start, 16), end: parseInt(end, 16), perms, stack: line.endsWith('[stack]') }
  })
  return address => {
    const i = ranges.findIndex(r => address >= r.start && address < r.end)
    const here = ranges[i]
    const below = ranges[i - 1]
    if (here === undefined || !here.perms.startsWith('rw')) return false
    return here.stack || (below !== undefined && below.end === here.start && below.perms.startsWith('---'))
  }
}

/** Leads the new thread, which ptrace holds, through its set-up and into the loop. Our control socket. */
function setUp(pid: number, footing: Footing, gadgets: Gadgets, note: (made: Footing) => void): number {
  const { tid, area } = footing
  const found = { ...footing }
  if (!settle(tid, 1000)) throw new ProcessError('lost', `The agent in process ${pid} did not start`)
  const registers = ptrace.getRegisters(tid)
  if (typeof registers === 'number') throw new ProcessError('lost', `The agent in process ${pid} vanished`)
  // Nobody waits for this thread. A descriptor that needs a larger table waits for the kernel (RCU), long where it is starved.
  const now = performance.now()
  const agent = new StoppedThread(pid, tid, gadgets, area + 64 - 8, registers, ~0n, now, 20_000)
  const pidfd = must(fds.pidfdOpen(pid), 'pidfd_open')
  const base = highDescriptors(pid)
  const make = (what: string, result: number): number => {
    if (result < 0) throw refused(pid, what, result)
    return result
  }
  const raise = (fd: number): number => {
    const high = agent.call(nr.fcntl, fd, 1030 /* F_DUPFD_CLOEXEC */, base)
    if (high < 0) return fd
    agent.call(nr.close, fd)
    return high
  }
  const take = (fd: number): number => must(fds.pidfdGetfd(pidfd, fd), 'pidfd_getfd')
  const pair = (): [number, number] => {
    make('socketpair', agent.call(nr.socketpair, 1, 0o2000005 /* SEQPACKET | CLOEXEC */, 0, area + setup))
    readProcess(pid, area + setup, records.address, 8)
    return [records.u32[0] as number, records.u32[1] as number]
  }
  let control = -1
  try {
    writeProcess(pid, area + setup, new TextEncoder().encode('lethe\0'))
    agent.call(nr.prctl, 15 /* PR_SET_NAME */, area + setup)
    writeProcess(pid, area + sealName, new TextEncoder().encode('lethe\0'))
    // An earlier agent's end: only ours ever had that number.
    if (footing.control !== 0) agent.call(nr.close, footing.control)
    else {
      const memfd = make('memfd_create', agent.call(nr.memfd_create, area + setup, 1))
      const ours = take(memfd)
      records.bytes.set(loop)
      must(call(nr.write, ours, records.address, loop.length), 'write')
      fds.close(ours)
      make('mmap', agent.call(nr.mmap, area + code, 4096, 5, 0x12, memfd, 0))
      agent.call(nr.close, memfd)
    }
    const [theirs, mine] = pair()
    control = take(mine)
    agent.call(nr.close, mine)
    footing.control = raise(theirs)
    note(footing)
    if (footing.uffd === 0) {
      const fd = openUserfault(pid, agent, area, footing.control, control)
      const [a, b] = pair()
      footing.parkIn = raise(a)
      footing.parkOut = raise(b)
      footing.uffd = raise(fd)
      note(footing)
    }
    const r = new BigUint64Array(registers)
    r[reg.rip] = BigInt(area + code)
    r[reg.rsp] = BigInt(area + 64 - 8)
    r[reg.r12] = BigInt(area + packets)
    r[reg.r13] = BigInt(footing.control)
    r[reg.orig_rax] = ~0n & 0xffff_ffff_ffff_ffffn
    setPriority(tid, -18)
    ptrace.setSignalMask(tid, 0xffff_ffff_ffff_ffffn)
    ptrace.setRegisters(tid, r)
    ptrace.detach(tid)
    return control
  } catch (error) {
    // Let it end itself by its landing; give back what it opened.
    for (const key of ['control', 'parkIn', 'parkOut', 'uffd'] as const)
      if (footing[key] !== found[key]) agent.call(nr.close, footing[key])
    ptrace.setRegisters(tid, withReturn(exitRegisters(registers, gadgets), area))
    ptrace.detach(tid)
    if (control >= 0) fds.close(control)
    throw error
  } finally {
    fds.close(pidfd)
  }
}

function withReturn(registers: BigUint64Array<ArrayBuffer>, area: number): BigUint64Array<ArrayBuffer> {
  registers[reg.rsp] = BigInt(area + 64 - 8)
  return registers
}

/** Where descriptors of ours go in the target: near its limit, away from what its code may assume. */
function highDescriptors(pid: number): number {
  const limit = /Max open files\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))
  const soft = Number(limit?.[1] ?? 1024)
  return Math.max(3, Math.min(soft, 4096) - 40)
}

/**
 * A userfaultfd of the target's, that serves the kernel's own accesses too. A privileged target makes it by
 * itself; to another we hand our open /dev/userfaultfd.
 */
function openUserfault(
  pid: number,
  agent: StoppedThread,
  area: number,
  theirs: number,
  ours: number,
): number {
  const flags = 0o2004000 // O_CLOEXEC | O_NONBLOCK
  const direct = agent.call(nr.userfaultfd, flags)
  if (direct >= 0) return direct
  const device = openDevice()
  if (device < 0)
    throw new ProcessError(
      'refused',
      `Process ${pid} may not use userfaultfd (${errnoName(direct)}) and /dev/userfaultfd can't be opened (${errnoName(device)}): run lethe as root`,
    )
  must(fds.sendFds(ours, [device], Uint8Array.of(1)), 'sendmsg')
  fds.close(device)
  // msghdr at setup, iovec at +64, control at +128, one byte of payload at +256
  const message = new Uint8Array(64 + 16)
  const view = new DataView(message.buffer)
  const put = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true)
  put(16, area + setup + 64)
  put(24, 1)
  put(32, area + setup + 128)
  put(40, 64)
  put(64, area + setup + 256)
  put(72, 1)
  writeProcess(pid, area + setup, message)
  const got = agent.call(nr.recvmsg, theirs, area + setup, 0x4000_0040)
  if (got < 0) throw refused(pid, 'recvmsg', got)
  readProcess(pid, area + setup + 128, records.address, 24)
  const inTarget = records.u32[4] as number
  const made = agent.call(nr.ioctl, inTarget, uffd.IOC_NEW, flags)
  agent.call(nr.close, inTarget)
  if (made < 0) throw refused(pid, 'userfaultfd', made)
  return made
}

function openDevice(): number {
  const path = new TextEncoder().encode('/dev/userfaultfd\0')
  records.bytes.set(path)
  return call(nr.openat, -100, records.address, 0o2000002, 0)
}

/** One call for the agent to make: number and up to six arguments. */
export type RemoteCall = readonly [number: number, ...args: number[]]

/** Sends calls to the agent without waiting. False when it is gone. */
function post(agent: Agent, calls: readonly RemoteCall[]): boolean {
  const words = records.u32
  calls.forEach((one, i) => {
    for (let k = 0; k < 7; k++) {
      const value = one[k] ?? 0
      const at = i * 14 + k * 2
      if (value < 0) {
        words[at] = value >>> 0
        words[at + 1] = 0xffff_ffff
      } else putAddress(words, at, value)
    }
  })
  const length = calls.length * 7 * word
  return call(nr.write, agent.control, records.address, length) === length
}

/** Waits for the results of `count` posted calls; undefined when the agent is gone or `ms` passed. */
function results(agent: Agent, count: number, ms: number): number[] | undefined {
  const ready = new Uint16Array(1)
  const end = performance.now() + ms
  for (;;) {
    const left = end - performance.now()
    if (left <= 0) return undefined
    if (fds.poll([agent.control], ready, left) > 0) break
  }
  const n = call(nr.read, agent.control, records.address, 4032)
  if (n !== count * 7 * word) return undefined
  const out: number[] = []
  for (let i = 0; i < count; i++) {
    const high = records.u32[i * 14 + 1] as number
    out.push(
      high > 0x7fff_ffff ? (records.u32[i * 14] as number) - 0x1_0000_0000 : getAddress(records.u32, i * 14),
    )
  }
  return out
}

/**
 * Makes calls in the target and returns their results; undefined when the agent is gone or late. One that was late once is
 * never asked again: whoever has to know what it did dismisses it, waits until it has ended, and looks.
 */
export function remote(agent: Agent, calls: readonly RemoteCall[], ms = 10_000): number[] | undefined {
  if (agent.late) return undefined
  const answer = post(agent, calls) ? results(agent, calls.length, ms) : undefined
  if (answer === undefined) agent.late = true
  return answer
}

/** Lets the agent end. */
export function dismiss(agent: Agent): void {
  fds.close(agent.control)
}
