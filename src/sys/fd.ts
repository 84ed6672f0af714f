// Descriptors: polling, waking another thread, passing them between processes, leases on files.
import { readdirSync } from 'node:fs'
import { Batch } from './batch.ts'
import { arena, call, call3, call4, epollWait, getAddress, nr, putAddress } from './ffi.ts'
import { EAGAIN, EINTR, must } from './errno.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000

const memory = arena(4096 + 8 * 8192)
/** Descriptors that one `poll` looks at; the rest is left out. */
const mostPolled = 8192
const { u32, bytes } = memory

export const close = (fd: number): number => call(nr.close, fd)

/** A counter that makes its descriptor readable: how threads of ours wake each other. */
export const eventfd = (): number => must(call(nr.eventfd2, 0, O_CLOEXEC | O_NONBLOCK), 'eventfd')

export function signalEvent(fd: number): void {
  putAddress(u32, 0, 1)
  call(nr.write, fd, memory.address, 8)
}

export function clearEvent(fd: number): void {
  call(nr.read, fd, memory.address, 8)
}

/** Waits until one of `fds` is readable or hung up. Returns how many are; `ready[i]` holds poll's bits. */
export function poll(fds: ArrayLike<number>, ready: Uint16Array, ms: number): number {
  const n = Math.min(fds.length, mostPolled)
  for (let i = 0; i < n; i++) {
    u32[1024 + 2 * i] = fds[i] as number
    u32[1024 + 2 * i + 1] = 1
  }
  let timeout = 0
  if (ms >= 0) {
    putAddress(u32, 4, Math.floor(ms / 1000))
    putAddress(u32, 6, Math.floor((ms % 1000) * 1e6))
    timeout = memory.address + 16
  }
  const done = call(nr.ppoll, memory.address + 4096, n, timeout, 0, 0)
  for (let i = 0; i < n; i++) ready[i] = done > 0 ? (u32[1024 + 2 * i + 1] as number) >>> 16 : 0
  return done
}

/** Which of many descriptors are readable or hung up: epoll, level-triggered. */
export class Poller {
  readonly #fd: number = must(call(nr.epoll_create1, O_CLOEXEC), 'epoll_create1')
  readonly #events = arena(4096)
  // struct epoll_event: the events, then 64 bits of ours. It is packed on x86-64 only.
  readonly #words = process.arch === 'x64' ? 3 : 4
  readonly #most: number = Math.floor(1024 / this.#words)
  /** What the last `waitAndRead` read, or minus errno; EAGAIN if nothing was ready. */
  got: number = -EAGAIN
  #both: Batch | undefined
  // What `both` is set up for.
  #ms = 0
  #reads = -1
  #to = 0
  #length = 0

  add(fd: number): void {
    u32[0] = 1
    u32[this.#words - 2] = fd
    u32[this.#words - 1] = 0
    must(call(nr.epoll_ctl, this.#fd, 1, fd, memory.address), 'epoll_ctl')
  }

  /** Ends it. */
  close(): void {
    close(this.#fd)
  }

  /** Before `fd` is closed: a duplicate of it elsewhere would keep it here. */
  remove(fd: number): void {
    must(call(nr.epoll_ctl, this.#fd, 2, fd, memory.address), 'epoll_ctl')
  }

  /** Waits until a descriptor is ready, `ms` at most (-1: for ever); how many are. None after an interruption. */
  wait(ms: number): number {
    return Math.max(0, epollWait(this.#fd, this.#events.address, this.#most, ms))
  }

  /**
   * Waits as `wait` does, and if a descriptor is ready then reads up to `length` bytes of `fd`, whichever is: `got` says what
   * that gave. One call where it can be, for who waits for `fd` nearly always.
   */
  waitAndRead(ms: number, fd: number, address: number, length: number): number {
    this.got = -EAGAIN
    this.#both ??= Batch.open(2)
    if (this.#both === undefined) {
      const ready = this.wait(ms)
      if (ready > 0) this.got = call3(nr.read, fd, address, length)
      return ready
    }
    if (ms !== this.#ms || fd !== this.#reads || address !== this.#to || length !== this.#length) {
      this.#both.set(0, nr.epoll_wait, this.#fd, this.#events.address, this.#most, ms, 1)
      this.#both.set(1, nr.read, fd, address, length, 0, 0)
      this.#ms = ms
      this.#reads = fd
      this.#to = address
      this.#length = length
    }
    this.#both.run(2)
    const ready = this.#both.result(0)
    if (ready > 0) this.got = this.#both.result(1)
    return Math.max(0, ready)
  }

  /** The i-th descriptor that the last `wait` found ready. */
  ready(i: number): number {
    return this.#events.u32[(i + 1) * this.#words - 2] as number
  }
}

/** A descriptor of a process (it becomes readable when the process ends), or a negative errno. */
export const pidfdOpen = (pid: number): number => call(nr.pidfd_open, pid)

/** A duplicate of another process's descriptor `fd`, or a negative errno. Needs the right to trace it. */
export const pidfdGetfd = (pidfd: number, fd: number): number => call(nr.pidfd_getfd, pidfd, fd)

/** Reads up to `length` bytes at `offset` of a file to an address; bytes read or a negative errno. */
export const readAt = (fd: number, address: number, length: number, offset: number): number =>
  call4(nr.pread64, fd, address, length, offset)

/** Reads a range of a file to an address, whole if the file has it; bytes read, or a negative errno. */
export function readFully(fd: number, address: number, length: number, offset: number): number {
  let got = 0
  while (got < length) {
    const n = readAt(fd, address + got, length - got, offset + got)
    if (n === -EINTR) continue
    if (n < 0) return n
    if (n === 0) break
    got += n
  }
  return got
}

/** Writes `length` bytes at an address to `offset` of a file; bytes written or a negative errno. */
export const writeAt = (fd: number, address: number, length: number, offset: number): number =>
  call4(nr.pwrite64, fd, address, length, offset)

/** Blocks `signals` in the calling thread and returns a descriptor that reads them. */
function signalfd(signals: readonly number[]): number {
  let mask = 0n
  for (const s of signals) mask |= 1n << BigInt(s - 1)
  memory.u64[8] = mask
  must(call(nr.rt_sigprocmask, 0, memory.address + 64, 0, 8), 'sigprocmask')
  return must(call(nr.signalfd4, -1, memory.address + 64, 8, O_CLOEXEC | O_NONBLOCK), 'signalfd')
}

/** Reads one signal: its number and the descriptor that it speaks of, or undefined. */
export function readSignal(fd: number): { signal: number; fd: number } | undefined {
  const n = call(nr.read, fd, memory.address + 128, 128)
  if (n !== 128) return undefined
  // struct signalfd_siginfo: ssi_signo at 0, ssi_fd at 20
  return { signal: u32[32] as number, fd: u32[37] as number }
}

const F_GETLK_LEASE = 1025
const F_SETLEASE = 1024
const F_SETSIG = 10
const F_SETOWN_EX = 15

/** The signal by which the kernel tells that a lease is being broken, and the one that it takes when too many are queued. */
const leaseSignal = 34
const SIGIO = 29

/** A descriptor that is readable when a lease of the calling thread is being broken. Either signal would end a process that does not block it. */
export const leaseBreaks = (): number => signalfd([leaseSignal, SIGIO])

/**
 * Takes a read lease on an open file: whoever opens it for writing, or truncates it, then waits until we let
 * go, and this thread, which has called `leaseBreaks` before, is told. 0, or a negative errno (EAGAIN: somebody has it open for writing).
 */
export function lease(fd: number): number {
  u32[16] = 0 // F_OWNER_TID
  u32[17] = call(nr.gettid)
  let done = call(nr.fcntl, fd, F_SETOWN_EX, memory.address + 64)
  if (done === 0) done = call(nr.fcntl, fd, F_SETSIG, leaseSignal)
  if (done === 0) done = call(nr.fcntl, fd, F_SETLEASE, 0)
  return done
}

/** Has another process be told when the lease that we hold on an open file is being broken. 0, or a negative errno. */
export function leaseFor(fd: number, pid: number): number {
  u32[16] = 1 // F_OWNER_PID
  u32[17] = pid
  return call(nr.fcntl, fd, F_SETOWN_EX, memory.address + 64)
}

/** Lets the writer go on. */
export const unlease = (fd: number): number => call(nr.fcntl, fd, F_SETLEASE, 2)

/** Whether the file is under our read lease and nobody waits for it. */
export const leased = (fd: number): boolean => call(nr.fcntl, fd, F_GETLK_LEASE) === 0

/** Makes descriptor `to` another one of what `from` is; what it was is closed. */
export const replace = (from: number, to: number): number => must(call(nr.dup3, from, to, O_CLOEXEC), 'dup3')

/** Keeps descriptors that we were started with, above the standard ones, from what we start. */
export function keepFromChildren(): void {
  for (const name of readdirSync('/proc/self/fd'))
    if (Number(name) > 2) call(nr.fcntl, Number(name), 2 /* F_SETFD */, 1 /* FD_CLOEXEC */)
}

/** Leaves descriptors open in what this process executes. */
export function leaveOpen(list: readonly number[]): void {
  for (const fd of list) call(nr.fcntl, fd, 2 /* F_SETFD */, 0)
}

/** Locks one byte of an open file for as long as the descriptor lives; 0, or -EAGAIN when somebody else has it. */
export const lockByte = (fd: number, at: number): number => setLock(fd, at, 1 /* F_WRLCK */)
export const unlockByte = (fd: number, at: number): number => setLock(fd, at, 2 /* F_UNLCK */)

function setLock(fd: number, at: number, type: number): number {
  // struct flock: l_type, l_whence SEEK_SET, l_start at 8, l_len at 16, l_pid at 24
  u32.fill(0, 16, 24)
  u32[16] = type
  putAddress(u32, 18, at)
  putAddress(u32, 20, 1)
  return call(nr.fcntl, fd, 37 /* F_OFD_SETLK */, memory.address + 64)
}

/** Lets up to `bytes` wait in a socket unread; a privileged process may exceed the system's limit. */
export function sendRoom(socket: number, bytes: number): void {
  u32[16] = bytes
  if (call(nr.setsockopt, socket, 1, 32 /* SO_SNDBUFFORCE */, memory.address + 64, 4) < 0)
    call(nr.setsockopt, socket, 1, 7 /* SO_SNDBUF */, memory.address + 64, 4)
}

/** Sends descriptors and a few bytes through a unix socket; bytes sent or a negative errno. */
export function sendFds(socket: number, fds: readonly number[], payload: Uint8Array): number {
  message(payload.length, fds.length === 0 ? 0 : 16 + fds.length * 4)
  bytes.set(payload, 1024)
  putAddress(u32, 512 / 4, 16 + fds.length * 4)
  u32[130] = 1 // SOL_SOCKET
  u32[131] = 1 // SCM_RIGHTS
  fds.forEach((fd, i) => {
    u32[132 + i] = fd
  })
  return call(nr.sendmsg, socket, memory.address + 256, 0x4040 /* DONTWAIT | NOSIGNAL */)
}

/** Receives what `sendFds` sent (at most 2 KiB and 64 descriptors), or undefined when nothing is there. */
export function recvFds(socket: number, peek = false): { fds: number[]; payload: Uint8Array } | undefined {
  message(2048, 512)
  const n = call(
    nr.recvmsg,
    socket,
    memory.address + 256,
    0x4000_0040 | (peek ? 2 : 0) /* CMSG_CLOEXEC | DONTWAIT */,
  )
  if (n < 0) return undefined
  const fds: number[] = []
  if (getAddress(u32, 74) >= 16 && u32[131] === 1) {
    const length = (getAddress(u32, 512 / 4) - 16) / 4
    for (let i = 0; i < length; i++) fds.push(u32[132 + i] as number)
  }
  return { fds, payload: bytes.slice(1024, 1024 + n) }
}

// struct msghdr at 256, iovec at 320, control at 512, payload at 1024
function message(payload: number, control: number): void {
  u32.fill(0, 64, 86)
  putAddress(u32, 68, memory.address + 320) // msg_iov
  putAddress(u32, 70, 1)
  putAddress(u32, 72, control === 0 ? 0 : memory.address + 512)
  putAddress(u32, 74, control)
  putAddress(u32, 80, memory.address + 1024)
  putAddress(u32, 82, payload)
  u32.fill(0, 128, 256)
}

/** Allocates blocks for a range of a file, so that touching it through a mapping can't fail later. */
export const allocate = (fd: number, offset: number, length: number): number =>
  call(nr.fallocate, fd, 0, offset, length)
