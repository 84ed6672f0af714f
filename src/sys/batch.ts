// Several system calls by one call from JavaScript. A call through the FFI costs about as much as a short system call, and
// who serves page faults makes four of them for each: two batches of two.
//
// A batch is a table that a few machine instructions of ours go through, in memory that can be read and executed and no
// longer written:
//
//   call i: 0 number · 8, 16, 24, 32 arguments 1 to 4 · 40 the least result with which the next call is made · 48 result
//
// Only on x86-64, and where the system lets us have such memory; elsewhere `Batch.open` gives undefined, and its user makes
// the calls one by one.
import koffi from 'koffi'
import { type Arena, arena, call, getAddress, nr, putAddress } from './ffi.ts'

/** long batch(struct call *first, int count): how many calls were not made, or gave too little. */
const code = Uint8Array.from(
  [
    [0x53], //                    push rbx
    [0x55], //                    push rbp
    [0x48, 0x89, 0xfb], //        mov rbx, rdi
    [0x89, 0xf5], //              mov ebp, esi
    [0x48, 0x8b, 0x03], //  next: mov rax, [rbx]
    [0x48, 0x8b, 0x7b, 8], //     mov rdi, [rbx + 8]
    [0x48, 0x8b, 0x73, 16], //    mov rsi, [rbx + 16]
    [0x48, 0x8b, 0x53, 24], //    mov rdx, [rbx + 24]
    [0x4c, 0x8b, 0x53, 32], //    mov r10, [rbx + 32]
    [0x0f, 0x05], //              syscall
    [0x48, 0x89, 0x43, 48], //    mov [rbx + 48], rax
    [0x48, 0x3b, 0x43, 40], //    cmp rax, [rbx + 40]
    [0x7c, 8], //                 jl done
    [0x48, 0x83, 0xc3, 56], //    add rbx, 56
    [0xff, 0xcd], //              dec ebp
    [0x75, 0xd9], //              jnz next
    [0x89, 0xe8], //        done: mov eax, ebp
    [0x5d], //                    pop rbp
    [0x5b], //                    pop rbx
    [0xc3], //                    ret
  ].flat(),
)

type Run = (first: number, count: number) => number

let run: Run | null | undefined

/** The instructions, once for each thread; null where they can't be had. */
function instructions(): Run | null {
  if (process.arch !== 'x64') return null
  const page = arena(code.length)
  page.bytes.set(code)
  if (call(nr.mprotect, page.address, 4096, 5 /* read, execute */) < 0) return null
  return koffi.decode(BigInt(page.address), koffi.proto('int batch(long first, int count)')) as Run
}

const words = 14

/** A table of calls. Each result is that of the kernel: minus errno for an error. */
export class Batch {
  readonly #run: Run
  readonly #table: Arena

  private constructor(calls: number, does: Run) {
    this.#run = does
    this.#table = arena(calls * 4 * words)
  }

  /** Room for some calls; undefined where there are no batches. */
  static open(calls: number): Batch | undefined {
    if (run === undefined) run = instructions()
    return run === null ? undefined : new Batch(calls, run)
  }

  /** Call i. `least`: what it must give for the next call to be made, from 0. */
  set(i: number, number: number, a: number, b: number, c: number, d: number, least: number): void {
    const { u32 } = this.#table
    const at = i * words
    u32[at] = number
    putAddress(u32, at + 2, a)
    putAddress(u32, at + 4, b)
    putAddress(u32, at + 6, c)
    putAddress(u32, at + 8, d)
    putAddress(u32, at + 10, least)
  }

  /** Makes the first `count` calls, at least one, in order, up to the first that gives too little. How many gave enough. */
  run(count: number): number {
    return count - this.#run(this.#table.address, count)
  }

  /** What call i gave when it was last made. */
  result(i: number): number {
    const { u32 } = this.#table
    const at = i * words + 12
    return (u32[at + 1] as number) > 0x7fff_ffff ? (u32[at] as number) | 0 : getAddress(u32, at)
  }
}
