// Other processes' memory and ours: remote reads and writes, which pages are present or protected, CPU placement.
import { must } from './errno.ts'
import { addressOf, arena, call, getAddress, isHere, nr, putAddress } from './ffi.ts'

const memory = arena(65536)
const { u32 } = memory

function vectors(local: number, remote: number, length: number): void {
  putAddress(u32, 0, local)
  putAddress(u32, 2, length)
  putAddress(u32, 4, remote)
  putAddress(u32, 6, length)
}

/** Reads another process's memory to an address of ours. Faults absent pages in, as a touch would. */
export function readProcess(pid: number, remote: number, local: number, length: number): number {
  vectors(local, remote, length)
  return call(nr.process_vm_readv, pid, memory.address, 1, memory.address + 16, 1, 0)
}

/** Writes to another process's memory. Bytes written, or a negative errno. */
export function writeProcess(pid: number, remote: number, data: Uint8Array): number {
  memory.bytes.set(data, 4096)
  vectors(memory.address + 4096, remote, data.length)
  return call(nr.process_vm_writev, pid, memory.address, 1, memory.address + 16, 1, 0)
}

/** Categories of PAGEMAP_SCAN. `written` means: not write-protected through userfaultfd. */
export const page = {
  wpAllowed: 1,
  written: 2,
  file: 4,
  present: 8,
  swapped: 16,
  zero: 32,
  huge: 64,
} as const

const PAGEMAP_SCAN = ((3 << 30) | (96 << 16) | (0x66 << 8) | 16) >>> 0

/**
 * Runs of pages in [start, end) of the process whose /proc/PID/pagemap is open as `fd`, that have all of
 * `required`, none of `excluded` and, if it is not 0, one of `any`. Calls `found(start, end, categories)` for each. 0, or a negative errno.
 * `protect` write-protects what it finds, at the same time (userfaultfd with WP_ASYNC).
 */
export function scanPages(
  fd: number,
  start: number,
  end: number,
  required: number,
  excluded: number,
  any: number,
  found: (start: number, end: number, categories: number) => void,
  protect = false,
): number {
  const capacity = 2048
  const out = memory.address + 8192
  for (let at = start; at < end; ) {
    u32.fill(0, 16, 16 + 24)
    putAddress(u32, 16, 96)
    u32[18] = protect ? 1 : 0 // PM_SCAN_WP_MATCHING
    putAddress(u32, 20, at)
    putAddress(u32, 22, end)
    putAddress(u32, 26, out)
    putAddress(u32, 28, capacity)
    putAddress(u32, 32, excluded) // category_inverted
    putAddress(u32, 34, required | excluded) // category_mask
    putAddress(u32, 36, any) // category_anyof_mask
    putAddress(u32, 38, required | excluded | any | page.present | page.written) // return_mask
    const n = call(nr.ioctl, fd, PAGEMAP_SCAN, memory.address + 64)
    if (n < 0) return n
    for (let i = 0; i < n; i++) {
      const r = 2048 + i * 6
      found(getAddress(u32, r), getAddress(u32, r + 2), u32[r + 4] as number)
    }
    const walked = getAddress(u32, 24)
    if (walked <= at) break
    at = walked
  }
  return 0
}

/** Ties a thread (0: the calling one) to one CPU, or to all of the first 1024 with -1. 0, or a negative errno. */
export function pinTo(cpu: number, tid = 0): number {
  u32.fill(cpu < 0 ? 0xffff_ffff : 0, 512, 544)
  if (cpu >= 0) u32[512 + (cpu >> 5)] = (1 << (cpu & 31)) >>> 0
  return call(nr.sched_setaffinity, tid, 128, memory.address + 2048)
}

/** The calling thread's id. */
export const ownThread = (): number => call(nr.gettid)

/** The CPU that the calling thread is on. */
export function currentCpu(): number {
  const failed = call(nr.getcpu, memory.address + 2048, 0, 0)
  return failed < 0 ? 0 : (u32[512] as number)
}

const anonymous = 0x4022 // MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
const fixed = 0x10

/** Bytes of a huge page. */
export const hugeBytes: number = 2 ** 21

// Address space, at a multiple of `hugeBytes` if a huge page fits in.
function map(length: number): number {
  if (length < hugeBytes) return must(call(nr.mmap, 0, length, 3, anonymous, -1, 0), 'mmap')
  const size = Math.ceil(length / 4096) * 4096
  const from = must(call(nr.mmap, 0, size + hugeBytes, 3, anonymous, -1, 0), 'mmap')
  const start = Math.ceil(from / hugeBytes) * hugeBytes
  if (start > from) call(nr.munmap, from, start - from)
  if (start < from + hugeBytes) call(nr.munmap, start + size, from + hugeBytes - start)
  return start
}

/**
 * Address space of `length` bytes, rounded up to pages, as ordinary memory of which nothing is there yet: pages of 4 KiB
 * only, unless others are moved there, and none of it in children. From 2 MiB on it begins at a multiple of that. It is never unmapped, see
 * `retire`.
 */
export function reserve(length: number): number {
  const start = map(length)
  advise(start, length, 15 /* MADV_NOHUGEPAGE */)
  advise(start, length, 10 /* MADV_DONTFORK */)
  return start
}

/** The same for huge pages, as far as the kernel has any when it is touched; `length` is a multiple of `hugeBytes`. */
export function reserveHuge(length: number): number {
  const start = map(length)
  advise(start, length, 14 /* MADV_HUGEPAGE */)
  advise(start, length, 10 /* MADV_DONTFORK */)
  return start
}

/**
 * Ends the use of a range from `reserve`: its pages, page tables and userfaultfd registration go; what is left is address
 * space that reads as zeros. It stays mapped, because an asynchronous system call may still know the address.
 */
export const retire = (start: number, length: number): number =>
  must(call(nr.mmap, start, length, 3, anonymous | fixed, -1, 0), 'mmap')

/** Gives the pages of a range back at once; if it is registered, the next touch is a fault. */
export const discard = (start: number, length: number): number => advise(start, length, 4 /* MADV_DONTNEED */)

/** Gives advice on a range of our own memory. */
export const advise = (start: number, length: number, advice: number): number =>
  call(nr.madvise, start, length, advice)

/**
 * Huge pages are welcome in a WebAssembly memory, also where it grows to. It is advice: where nobody can follow it nothing happens.
 */
export function preferHuge(memory: { readonly buffer: ArrayBuffer }): void {
  if (isHere) advise(addressOf(memory.buffer), 2 ** 32, 14 /* MADV_HUGEPAGE */)
}

/** Lets nobody touch a range of our own memory, or reads and writes again. 0, or a negative errno. */
export const protect = (start: number, length: number, open: boolean): number =>
  call(nr.mprotect, start, length, open ? 3 /* PROT_READ | PROT_WRITE */ : 0 /* PROT_NONE */)

/** Nice value of one thread (0: the calling one). 0, or a negative errno (EACCES, EPERM without privilege). */
export const setPriority = (tid: number, nice: number): number => call(nr.setpriority, 0, tid, nice)

/**
 * Lets a thread (0: the calling one) run before all that are not so, whatever their nice values, or ends that. For
 * milliseconds only: nobody else gets the CPU. 0, or a negative errno (EPERM without privilege).
 */
export function runFirst(tid: number, on: boolean): number {
  u32[512] = on ? 1 : 0
  return call(
    nr.sched_setscheduler,
    tid,
    on ? 1 /* SCHED_FIFO */ : 0 /* SCHED_OTHER */,
    memory.address + 2048,
  )
}
