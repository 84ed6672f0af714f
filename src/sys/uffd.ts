// userfaultfd: registration, write protection, filling pages, and the layout of its messages.
// Every ioctl returns 0, or a negative errno for the caller to decide on: EEXIST (page is there already), ENOENT
// (not registered any more), EAGAIN (an event waits to be read first), ESRCH (the process is gone), ENOSPC are
// normal answers. `copy` and `zeropage` also report how many bytes were done before an error.
// Source: include/uapi/linux/userfaultfd.h, Documentation/admin-guide/mm/userfaultfd.rst.
import { ESRCH } from './errno.ts'
import { Batch } from './batch.ts'
import { type Arena, arena, call, call3, call4, nr, putAddress } from './ffi.ts'

export const feature = {
  pagefaultFlagWp: 1,
  eventFork: 2,
  eventRemap: 4,
  eventRemove: 8,
  eventUnmap: 64,
  sigbus: 128,
  threadId: 256,
  exactAddress: 2048,
  wpUnpopulated: 8192,
  poison: 16384,
  wpAsync: 32768,
  move: 65536,
} as const

/** `enum uffd_event`: the first byte of a message. */
export const event = { pagefault: 0x12, fork: 0x13, remap: 0x14, remove: 0x15, unmap: 0x16 } as const

/** Flags of a page fault message. */
export const fault = { write: 1, wp: 2, minor: 4 } as const

/** Bytes of one `struct uffd_msg`. Words of 32 bits: 0 event, 2-3 flags or from or start, 4-5 address or to or end, 6-7 thread or length. */
export const messageSize = 32

const io = (direction: number, n: number, size: number): number =>
  ((direction << 30) | (size << 16) | (0xaa << 8) | n) >>> 0
const API = io(3, 0x3f, 24)
const REGISTER = io(3, 0x00, 32)
const UNREGISTER = io(2, 0x01, 16)
const WAKE = io(2, 0x02, 16)
const COPY = io(3, 0x03, 40)
const ZEROPAGE = io(3, 0x04, 32)
const MOVE = io(3, 0x05, 40)
const WRITEPROTECT = io(3, 0x06, 24)
const POISON = io(3, 0x08, 32)
/** `USERFAULTFD_IOC_NEW`, on a descriptor of /dev/userfaultfd: a new userfaultfd for the calling process. */
export const IOC_NEW: number = io(0, 0x00, 0)

const argument: Arena = arena(4096)
const w = argument.u32

const range = (start: number, length: number): void => {
  putAddress(w, 0, start)
  putAddress(w, 2, length)
}

/** Bytes that the last `copy` or `zeropage` of this thread completed, whatever it returned. */
export let completed = 0

// The result field is a signed 64-bit number: bytes done, or a negative errno (then the high word is all ones).
const result = (at: number): number => ((w[at + 1] as number) > 0x7fff_ffff ? 0 : (w[at] as number))

/** Opens a userfaultfd of our own process. */
export function create(flags: number): number {
  return call(nr.userfaultfd, flags)
}

/** The handshake. Returns the features that the kernel has, or a negative errno. */
export function api(fd: number, features: number): number {
  putAddress(w, 0, 0xaa)
  putAddress(w, 2, features)
  putAddress(w, 4, 0)
  const done = call3(nr.ioctl, fd, API, argument.address)
  return done < 0 ? done : (w[2] as number)
}

/** What a range is registered for: missing pages are faults, writes to protected pages are. */
export const mode = { missing: 1, wp: 2 } as const

/** Registers whole mappings, for missing pages and write protection if nothing else is said. Again: with the new modes. */
export function register(
  fd: number,
  start: number,
  length: number,
  modes: number = mode.missing | mode.wp,
): number {
  range(start, length)
  putAddress(w, 4, modes)
  return call3(nr.ioctl, fd, REGISTER, argument.address)
}

export function unregister(fd: number, start: number, length: number): number {
  range(start, length)
  return call3(nr.ioctl, fd, UNREGISTER, argument.address)
}

/** Wakes the threads that wait in the range; they fault again. */
export function wake(fd: number, start: number, length: number): number {
  range(start, length)
  return call3(nr.ioctl, fd, WAKE, argument.address)
}

function copyArgument(target: number, source: number, length: number, protect: boolean): void {
  putAddress(w, 0, target)
  putAddress(w, 2, source)
  putAddress(w, 4, length)
  putAddress(w, 6, protect ? 2 : 0)
  putAddress(w, 8, 0)
}

/** Fills missing pages from our memory at `source` and wakes who waits; `protect` leaves them write-protected. */
export function copy(fd: number, target: number, source: number, length: number, protect: boolean): number {
  copyArgument(target, source, length, protect)
  const done = call3(nr.ioctl, fd, COPY, argument.address)
  completed = result(8)
  return done
}

let both: Batch | undefined

/**
 * `copy` of what is first read, whole, at `offset` of a file to `source`. Undefined if the file did not give all of it at once:
 * then nothing was copied.
 */
export function copyFromFile(
  fd: number,
  target: number,
  file: number,
  offset: number,
  source: number,
  length: number,
  protect: boolean,
): number | undefined {
  both ??= Batch.open(2)
  if (both === undefined)
    return call4(nr.pread64, file, source, length, offset) === length
      ? copy(fd, target, source, length, protect)
      : undefined
  copyArgument(target, source, length, protect)
  both.set(0, nr.pread64, file, source, length, offset, length)
  both.set(1, nr.ioctl, fd, COPY, argument.address, 0, 0)
  if (both.run(2) === 0) return undefined
  completed = result(8)
  return both.result(1)
}

/** Maps the shared zero page on missing pages and wakes who waits. */
export function zeropage(fd: number, start: number, length: number): number {
  range(start, length)
  putAddress(w, 4, 0)
  putAddress(w, 6, 0)
  const done = call3(nr.ioctl, fd, ZEROPAGE, argument.address)
  completed = result(6)
  return done
}

/** Moves pages of one process from a range to a missing one without a copy (only for the calling process). */
export function move(fd: number, target: number, source: number, length: number): number {
  putAddress(w, 0, target)
  putAddress(w, 2, source)
  putAddress(w, 4, length)
  putAddress(w, 6, 0)
  putAddress(w, 8, 0)
  const done = call3(nr.ioctl, fd, MOVE, argument.address)
  completed = result(8)
  return done
}

/** Write-protects present pages, or takes the protection away and wakes the writers that wait. */
export function writeprotect(fd: number, start: number, length: number, protect: boolean): number {
  range(start, length)
  putAddress(w, 4, protect ? 1 : 0)
  return call3(nr.ioctl, fd, WRITEPROTECT, argument.address)
}

/** Makes a missing page raise SIGBUS on touch: the loud failure. */
export function poison(fd: number, start: number, length: number): number {
  range(start, length)
  putAddress(w, 4, 0)
  putAddress(w, 6, 0)
  return call3(nr.ioctl, fd, POISON, argument.address)
}

/** Whether the memory that this descriptor serves still exists (its process has neither exited nor exec'd). */
export function alive(fd: number): boolean {
  // A range that nobody registers: ENOENT or EINVAL from a living address space, ESRCH from a dead one.
  range(0x10000, 4096)
  putAddress(w, 4, 0)
  putAddress(w, 6, 0)
  return call3(nr.ioctl, fd, ZEROPAGE, argument.address) !== -ESRCH
}
