/**
 * A heap in a process of the simulated machine: every word that the allocator reads or writes, and every byte that the program
 * does, is a reference that goes through translation, TLB, caches and frames.
 *
 *   allocator → ProcessMemory → Machine.access
 *
 * Addresses of the heap count from the begin of the process's heap segment, so they fit a word on a machine of any width.
 */
import { Heap } from '../heap/heap.ts'
import { FootprintMemory, type HeapMemory, STATE } from '../heap/memory.ts'
import type { Policy } from '../heap/allocator.ts'
import { ReplayError } from '../heap/replay.ts'
import { kindOf, type Trace } from '../heap/trace.ts'
import { MachineError } from './errors.ts'
import { Machine } from './machine.ts'

/** A process's heap segment as the memory of a heap. */
export class ProcessMemory implements HeapMemory {
  readonly base = 0
  readonly machine: Machine
  readonly pid: number
  readonly #origin: number
  #brk = STATE
  /** What the memory holds, beside the machine's own frames: `bytes` can't be a view of pages that come and go. */
  #mirror = new Uint8Array(1 << 16)
  #words = new Int32Array(this.#mirror.buffer)

  /** Takes the heap segment of a process, which must be empty. Throws MachineError where there is no room. */
  constructor(machine: Machine, pid: number) {
    this.machine = machine
    this.pid = pid
    const { heap } = machine.process(pid)
    if (heap.end !== heap.start)
      throw new MachineError(
        'process',
        `The heap segment of process ${pid} is in use: it has ${heap.end - heap.start} bytes`,
      )
    this.#origin = heap.start
    machine.brk(pid, this.#origin + STATE)
  }

  get brk(): number {
    return this.#brk
  }
  load32(at: number): number {
    const { bytes } = this.machine.load(this.pid, this.#origin + at, 4)
    return new DataView(bytes.buffer).getInt32(0, true)
  }
  store32(at: number, word: number): void {
    this.#words[at >> 2] = word
    this.machine.store(this.pid, this.#origin + at, this.#mirror.slice(at, at + 4))
  }
  sbrk(bytes: number): number {
    const old = this.#brk
    if (old + bytes > 0x7ffff000) return -1
    try {
      this.machine.brk(this.pid, this.#origin + old + bytes)
    } catch (error) {
      if (!(error instanceof MachineError)) throw error
      return -1
    }
    this.#brk = old + bytes
    if (this.#brk > this.#mirror.length) {
      const larger = new Uint8Array(2 * this.#brk)
      larger.set(this.#mirror)
      this.#mirror = larger
      this.#words = new Int32Array(larger.buffer, 0, larger.length >> 2)
    }
    return old
  }
  move(to: number, from: number, bytes: number): void {
    const { machine, pid } = this
    machine.access(pid, { kind: 'read', address: this.#origin + from, size: bytes })
    this.#mirror.copyWithin(to, from, from + bytes)
    machine.store(pid, this.#origin + to, this.#mirror.slice(to, to + bytes))
  }
  zero(at: number, bytes: number): void {
    this.write(at, new Uint8Array(bytes))
  }
  /** A copy of what the memory holds; to write there is to no effect on the process: see `write`. */
  bytes(): Uint8Array {
    return this.#mirror.subarray(0, this.#brk)
  }

  /** The program stores bytes. */
  write(at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#mirror.set(bytes, at)
    this.machine.store(this.pid, this.#origin + at, bytes)
  }
  /** The program reads bytes. */
  read(at: number, bytes: number): Uint8Array {
    return bytes === 0 ? new Uint8Array(0) : this.machine.load(this.pid, this.#origin + at, bytes).bytes
  }
}

/** What a trace came to on a machine. All but the first four are of the allocator and the program together. */
export interface Footprint {
  readonly operations: number
  /** Bytes of heap, its variables included. */
  readonly heapSize: number
  /** Reads and writes of the allocator itself. */
  readonly accesses: number
  /** Different lines of 64 bytes that the allocator touched in an operation, summed over the operations. */
  readonly lines: number
  /** Pages of the machine that the heap came to touch: first touches are page faults. */
  readonly pages: number
  readonly pageFaults: number
  readonly tlbMisses: number
  /** By the cache's name. */
  readonly cacheMisses: Readonly<Record<string, number>>
  readonly cycles: number
}

/**
 * Runs a trace with a heap in a process of a machine. The program writes all of a block when it gets it, and reads all of it
 * before it gives it back. Throws ReplayError where memory runs out or differs, MachineError for a machine that can't be.
 */
export function footprint(trace: Trace, policy: Partial<Policy>, config: object): Footprint {
  const machine = new Machine(config)
  const process = machine.spawn('heap')
  const memory = new ProcessMemory(machine, process.pid)
  const own = new FootprintMemory(memory)
  const heap = new Heap({ ...policy, memory: own })
  const pointers = new Int32Array(trace.ids)
  const sizes = new Int32Array(trace.ids)
  let accesses = 0
  let lines = 0
  const { functions } = heap
  for (let k = 0; k < trace.length; k++) {
    const kind = kindOf(trace, k)
    const block = trace.id[k] as number
    const size = trace.bytes[k] as number
    const old = pointers[block] as number
    const before = sizes[block] as number
    const gives = kind === 'free' || (kind === 'realloc' && size === 0 && old !== 0)
    if (gives && memory.read(old, before).some(byte => byte !== (block & 0xff)))
      throw new ReplayError(
        k,
        `operation ${k} with ${heap.name}: block ${block} is not what was written there`,
      )
    own.reset()
    let pointer = 0
    if (gives) functions.free(old)
    else if (kind === 'alloc') pointer = functions.malloc(size)
    else if (kind === 'calloc') pointer = functions.calloc(size)
    else if (kind === 'aligned') pointer = functions.alignedAlloc(trace.align[k] as number, size)
    else pointer = functions.realloc(old, size)
    accesses += own.accesses
    lines += own.lines
    if (!gives && pointer === 0)
      throw new ReplayError(
        k,
        `operation ${k} with ${heap.name}: ${kind} of ${size} bytes found no memory; the heap has ${heap.size} bytes`,
      )
    const kept = kind === 'realloc' ? Math.min(before, size) : 0
    if (!gives) memory.write(pointer + kept, new Uint8Array(size - kept).fill(block))
    pointers[block] = pointer
    sizes[block] = gives ? 0 : size
  }
  const { counters } = machine
  const misses = Object.entries(counters.caches).map(
    ([name, one]) => [name, one.readMisses + one.writeMisses + one.fetchMisses] as const,
  )
  return {
    operations: trace.length,
    heapSize: STATE + heap.size,
    accesses,
    lines,
    pages: process.pages.size,
    pageFaults: counters.pageFaults,
    tlbMisses: counters.tlbMisses,
    cacheMisses: Object.fromEntries(misses),
    cycles: counters.cycles,
  }
}
