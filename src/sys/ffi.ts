// The one door to the kernel. `call` makes any system call with up to six numbers and returns its result or the
// negative errno; everything that has to lie in memory lies in an Arena, whose address is known.
//
// Rules: no callbacks from C, no asynchronous calls (they hop between threads, and ptrace belongs to one).
// Addresses are JavaScript numbers: user addresses have 47 bits. An Arena is never unmapped, because its
// ArrayBuffer can outlive any use that we know of and a touch would be a crash; make few and keep them.
import koffi from 'koffi'
import { type Calls, machine, x64 } from './abi.ts'
import { must } from './errno.ts'

// Elsewhere this can be loaded too, for who only reads through lenses, but every call says why it can't be made.
export const isHere: boolean = process.platform === 'linux' && process.arch === 'x64'
const refuse = (): never => {
  machine()
  throw new Error('lethe: a system call on a machine that has none')
}
const libc = isHere ? koffi.load('libc.so.6') : { func: () => refuse }

const syscall = libc.func('long syscall(long nr, long a, long b, long c, long d, long e, long f)') as (
  nr: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
) => number

const syscall3 = libc.func('long syscall(int nr, int a, long b, long c)') as (
  nr: number,
  a: number,
  b: number,
  c: number,
) => number

const syscall4 = libc.func('long syscall(int nr, int a, long b, long c, long d)') as (
  nr: number,
  a: number,
  b: number,
  c: number,
  d: number,
) => number

const epoll = libc.func('int epoll_wait(int fd, long events, int most, int ms)') as (
  fd: number,
  events: number,
  most: number,
  ms: number,
) => number

const trim = libc.func('int malloc_trim(size_t pad)') as (pad: number) => number
const setMalloc = libc.func('int mallopt(int what, int value)') as (what: number, value: number) => number
const M_ARENA_MAX = -8
const M_MMAP_THRESHOLD = -3
const largeBlock = 2 ** 17
const memcpy = libc.func('long memcpy(void *to, void *from, long bytes)') as (
  to: Uint8Array,
  from: Uint8Array,
  bytes: number,
) => number

/** Where the bytes of a buffer lie. Only for one that stays there: a WebAssembly memory's, or one that is held and large. */
export function addressOf(buffer: ArrayBuffer): number {
  const bytes = new Uint8Array(buffer)
  return memcpy(bytes, bytes, 0)
}

/** System call numbers of this machine. */
export const nr: Calls = isHere ? machine() : x64

/** Makes a system call; returns its result, or minus errno. Pointers are addresses inside Arenas. */
export function call(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  const result = syscall(number, a, b, c, d, e, f)
  return result === -1 ? -koffi.errno() : result
}

/**
 * Ends this process at once. `process.exit` first joins V8's helper threads, and one of those may wait for a collection
 * that the joining thread will never make (seen: ConcurrentBaselineCompiler in AwaitCollectionBackground).
 */
export function exitNow(code: number): never {
  call(nr.exit_group, code)
  throw new Error('exit_group returned')
}

/** `call` for calls that take a descriptor and two more (read, ioctl): each argument that is converted costs time. */
export function call3(number: number, a: number, b: number, c: number): number {
  const result = syscall3(number, a, b, c)
  return result === -1 ? -koffi.errno() : result
}

/** The same with three more (pread). */
export function call4(number: number, a: number, b: number, c: number, d: number): number {
  const result = syscall4(number, a, b, c, d)
  return result === -1 ? -koffi.errno() : result
}

/** Gives memory that has been freed back to the system: the C library keeps what lies below something that is in use. */
export function trimHeap(): void {
  trim(0)
}

/**
 * From now on threads that begin share one heap of the C library's: what each keeps for itself alone is seldom given back. Large blocks are mappings of their
 * own, which go when they are freed; by itself the C library puts ever larger ones into its heap, where small ones that stay come to lie between.
 */
export function oneHeap(): void {
  setMalloc(M_ARENA_MAX, 1)
  setMalloc(M_MMAP_THRESHOLD, largeBlock)
}

/** epoll_wait, which not every machine has as a system call. */
export function epollWait(fd: number, events: number, most: number, ms: number): number {
  const result = epoll(fd, events, most, ms)
  return result === -1 ? -koffi.errno() : result
}

/** Memory whose address we know, seen as bytes and as 32-bit and 64-bit words. */
export interface Arena {
  readonly address: number
  readonly bytes: Uint8Array
  readonly u32: Uint32Array
  readonly u64: BigUint64Array
  readonly f64: Float64Array
}

/** Sees `length` bytes (a multiple of 8) of our own memory at `address`, which must stay mapped for ever. */
export function arenaAt(address: number, length: number): Arena {
  const buffer = koffi.view(address, length)
  return {
    address,
    bytes: new Uint8Array(buffer),
    u32: new Uint32Array(buffer),
    u64: new BigUint64Array(buffer),
    f64: new Float64Array(buffer),
  }
}

/** Our own memory at `address` as an ArrayBuffer, which does not own it: `transfer(0)` ends the view, never the memory. */
export const bufferAt = (address: number, length: number): ArrayBuffer => koffi.view(address, length)

/** New zeroed memory of `length` bytes, rounded up to whole pages, for as long as the process lives. */
export function arena(length: number): Arena {
  const size = Math.ceil(length / 4096) * 4096
  return arenaAt(must(call(nr.mmap, 0, size, 3, 0x22, -1, 0), 'mmap'), size)
}

/** Maps `length` bytes of a file shared and writable (the caller has allocated the blocks that it will touch). */
export function arenaOfFile(fd: number, length: number): Arena {
  return arenaAt(must(call(nr.mmap, 0, length, 3, 0x01, fd, 0), 'mmap'), length)
}

/** Writes a 64-bit address as two 32-bit words at word index `at`: no bigint on a hot path. */
export function putAddress(words: Uint32Array, at: number, value: number): void {
  words[at] = value >>> 0
  words[at + 1] = Math.floor(value / 0x1_0000_0000)
}

/** Reads a 64-bit address, below 2^53, from two 32-bit words at word index `at`. */
export function getAddress(words: Uint32Array, at: number): number {
  return (words[at] as number) + (words[at + 1] as number) * 0x1_0000_0000
}
