/**
 * The checked mode: an allocator that finds its program's mistakes.
 *
 *   | fence | payload, filled with 0xcd | fence |        fences: 0xfd, as many bytes as the alignment, behind at least that
 *
 * A freed block is filled with 0xdd and kept for a while (the quarantine), so that a write after free shows as a byte that is not 0xdd,
 * and a second free is told from a free of what never was. Every operation checks the block it is about and the whole heap; leaks() and
 * verify() look at all blocks.
 */
import type { Allocator, Policy } from './allocator.ts'
import { check } from './check.ts'
import type { HeapMemory } from './memory.ts'

export type HeapErrorCode =
  | 'double-free'
  | 'invalid-free'
  | 'overrun'
  | 'underrun'
  | 'use-after-free'
  | 'corrupt'
  | 'not-checked'

/** A mistake of the program that uses a heap. `code` is stable; `pointer` is the block's address. */
export class HeapError extends Error {
  override readonly name = 'HeapError'
  readonly code: HeapErrorCode
  readonly pointer: number
  constructor(code: HeapErrorCode, pointer: number, message: string) {
    super(message)
    this.code = code
    this.pointer = pointer
  }
}

export interface Leak {
  readonly pointer: number
  readonly bytes: number
  /** Where it was allocated: the first line of the stack that is not the heap's. */
  readonly site: string
}

interface Record {
  readonly bytes: number
  /** The allocator's own pointer. */
  readonly block: number
  readonly site: string
}

const FENCE = 0xfd
const NEW = 0xcd
const DEAD = 0xdd
/** Blocks in the quarantine, and records of freed blocks beyond it. */
const KEPT = 64
const REMEMBERED = 4096

/** The line of the caller's code that led here. */
function callSite(): string {
  const lines = (new Error().stack ?? '').split('\n').slice(1)
  const outside = lines.find(line => !/\/heap\/(checked|heap)\.[jt]s/.test(line)) ?? ''
  return outside.trim().replace(/^at /, '') || 'unknown'
}

export class Checked implements Allocator {
  readonly #memory: HeapMemory
  readonly #inner: Allocator
  readonly #policy: Policy
  readonly #fence: number
  readonly #live = new Map<number, Record>()
  readonly #dead = new Map<number, Record & { readonly freed: string }>()
  readonly #quarantine: number[] = []

  constructor(memory: HeapMemory, inner: Allocator, policy: Policy) {
    this.#memory = memory
    this.#inner = inner
    this.#policy = policy
    this.#fence = policy.align
  }

  errno(): number {
    return this.#inner.errno()
  }

  malloc(bytes: number): number {
    const size = Math.ceil((bytes + 2 * this.#fence) / 4) * 4
    return this.#adopt(
      this.#outOfQuarantine(() => this.#inner.malloc(size)),
      this.#fence,
      bytes,
    )
  }
  calloc(bytes: number): number {
    const pointer = this.malloc(bytes)
    if (pointer !== 0) this.#memory.zero(pointer, bytes)
    return pointer
  }
  alignedAlloc(align: number, bytes: number): number {
    const front = Math.max(align, this.#fence)
    const size = front + bytes + this.#fence
    return this.#adopt(
      this.#outOfQuarantine(() => this.#inner.alignedAlloc(align, size)),
      front,
      bytes,
    )
  }

  realloc(pointer: number, bytes: number): number {
    if (pointer === 0) return this.malloc(bytes)
    const old = this.#find(pointer, 'realloc')
    const moved = this.malloc(bytes)
    if (moved === 0) return 0
    this.#memory.move(moved, pointer, Math.min(bytes, old.bytes))
    this.free(pointer)
    return moved
  }

  free(pointer: number): void {
    if (pointer === 0) return
    const record = this.#find(pointer, 'free')
    this.#live.delete(pointer)
    this.#dead.set(pointer, { ...record, freed: callSite() })
    this.#memory.bytes().fill(DEAD, pointer, pointer + record.bytes)
    this.#quarantine.push(pointer)
    if (this.#quarantine.length > KEPT) this.#release()
    if (this.#dead.size > REMEMBERED)
      for (const [key] of this.#dead) {
        if (this.#quarantine.includes(key)) continue
        this.#dead.delete(key)
        break
      }
    this.#checkHeap()
  }

  usableSize(pointer: number): number {
    return this.#find(pointer, 'usable_size').bytes
  }

  /** Looks at all blocks, alive and in quarantine. Throws HeapError. */
  verify(): void {
    for (const [pointer, record] of this.#live) this.#fences(pointer, record)
    for (const pointer of this.#quarantine) this.#untouched(pointer)
    this.#checkHeap()
  }

  leaks(): Leak[] {
    this.verify()
    return [...this.#live].map(([pointer, { bytes, site }]) => ({ pointer, bytes, site }))
  }

  #adopt(block: number, front: number, bytes: number): number {
    if (block === 0) return 0
    const pointer = block + front
    const view = this.#memory.bytes()
    view.fill(FENCE, block, pointer)
    view.fill(NEW, pointer, pointer + bytes)
    view.fill(FENCE, pointer + bytes, block + this.#inner.usableSize(block))
    this.#dead.delete(pointer)
    this.#live.set(pointer, { bytes, block, site: callSite() })
    this.#checkHeap()
    return pointer
  }

  // When there is no room otherwise, the quarantine ends.
  #outOfQuarantine(allocate: () => number): number {
    let block = allocate()
    while (block === 0 && this.#quarantine.length > 0) {
      this.#release()
      block = allocate()
    }
    return block
  }

  #find(pointer: number, call: string): Record {
    const record = this.#live.get(pointer)
    if (record !== undefined) {
      this.#fences(pointer, record)
      return record
    }
    const dead = this.#dead.get(pointer)
    if (dead !== undefined)
      throw new HeapError(
        call === 'free' ? 'double-free' : 'use-after-free',
        pointer,
        `${call}(${pointer}): the block of ${dead.bytes} bytes, allocated at ${dead.site}, was freed at ${dead.freed}`,
      )
    for (const [start, { bytes, site }] of this.#live)
      if (pointer > start && pointer < start + bytes)
        throw new HeapError(
          'invalid-free',
          pointer,
          `${call}(${pointer}): that is byte ${pointer - start} of a block of ${bytes} bytes, allocated at ${site}; only its begin, ${start}, can be given`,
        )
    throw new HeapError('invalid-free', pointer, `${call}(${pointer}): malloc never gave this address`)
  }

  #fences(pointer: number, { bytes, block, site }: Record): void {
    const view = this.#memory.bytes()
    for (let at = pointer - 1; at >= block; at--)
      if (view[at] !== FENCE)
        throw new HeapError(
          'underrun',
          pointer,
          `Byte ${at - pointer} of the block of ${bytes} bytes at ${pointer}, allocated at ${site}, was written: it lies before the block`,
        )
    // The header's word is whole while the heap's check says so; without it the size can't be trusted.
    const end = Math.min(block + this.#inner.usableSize(block), this.#memory.brk)
    for (let at = pointer + bytes; at < end; at++)
      if (view[at] !== FENCE)
        throw new HeapError(
          'overrun',
          pointer,
          `Byte ${at - pointer} of the block of ${bytes} bytes at ${pointer}, allocated at ${site}, was written: it lies behind the block`,
        )
  }

  #untouched(pointer: number): void {
    const record = this.#dead.get(pointer)
    if (record === undefined) return
    const view = this.#memory.bytes()
    for (let at = pointer; at < pointer + record.bytes; at++)
      if (view[at] !== DEAD)
        throw new HeapError(
          'use-after-free',
          pointer,
          `Byte ${at - pointer} of the block of ${record.bytes} bytes at ${pointer} was written after it was freed at ${record.freed}; it was allocated at ${record.site}`,
        )
  }

  #release(): void {
    const pointer = this.#quarantine.shift()
    const record = pointer === undefined ? undefined : this.#dead.get(pointer)
    if (pointer === undefined || record === undefined) return
    this.#untouched(pointer)
    this.#inner.free(record.block)
  }

  #checkHeap(): void {
    const wrong = check(this.#memory, this.#policy)
    if (wrong !== undefined)
      throw new HeapError('corrupt', 0, `The heap is corrupt: ${wrong}; something wrote outside of its block`)
  }
}
