/**
 * A heap: an allocator on a memory, with C's contract.
 *
 *   const heap = new Heap()                       // lethe's best, compiled to WebAssembly, in a memory of its own
 *   const p = heap.malloc(100)
 *   heap.bytes().fill(7, p, p + 100)
 *   heap.free(p)
 *
 * `memory` says where: a WebAssembly.Memory (a wasm program's own, from `base` on) runs the compiled allocator; bytes or any other
 * HeapMemory run the same allocator as TypeScript. `checked` finds the program's mistakes: see checked.ts.
 */
import { type Allocator, type Errno, type Policy, policy, policyName } from './allocator.ts'
import { check } from './check.ts'
import { Checked, HeapError, type Leak } from './checked.ts'
import { type Block, blocks, type Fragmentation, fragmentation, heapSize } from './inspect.ts'
import { ArrayMemory, type HeapMemory } from './memory.ts'
import { scriptAllocator } from './script.ts'
import { type LinearMemory, linearMemory, wasmAllocator } from './wasm.ts'

export interface HeapOptions extends Partial<Policy> {
  readonly memory?: Uint8Array | ArrayBuffer | LinearMemory | HeapMemory
  /** Where the heap begins in bytes or a WebAssembly.Memory: a multiple of 16. A wasm program's __heap_base, rounded up. Default 0. */
  readonly base?: number
  /** The address that the heap may not reach beyond. Default: the end of the memory, at most 2 GiB. */
  readonly limit?: number
  /** Run as TypeScript though it could run as WebAssembly. */
  readonly script?: boolean
  /** Find double and invalid frees, writes outside of blocks and after free, leaks; check the heap after every operation. */
  readonly checked?: boolean
}

/** The largest request in bytes; everything above is ENOMEM. */
const MOST = 0x7ffe0000

export class Heap {
  readonly policy: Policy
  readonly memory: HeapMemory
  /** The allocator's own functions: no checks of arguments. In a compiled heap these are WebAssembly exports, to import elsewhere. */
  readonly functions: Allocator
  /** `bytes` of memory at a multiple of the alignment, or 0 and errno ENOMEM. */
  readonly malloc: (bytes: number) => number
  /** Gives a block back; 0 is no block. */
  readonly free: (pointer: number) => void
  readonly #checked: Checked | undefined
  #errno: Errno | undefined

  /** RangeError for a policy that does not exist and for a memory without room. */
  constructor(options: HeapOptions = {}) {
    this.policy = policy(options)
    const { memory, functions } = place(options, this.policy)
    this.memory = memory
    this.functions = functions
    const noMemory = (): number => this.#fail('ENOMEM')
    if (options.checked) {
      const checked = new Checked(memory, functions, this.policy)
      this.#checked = checked
      this.malloc = bytes => (bytes >= 0 && bytes <= MOST ? checked.malloc(bytes) || noMemory() : noMemory())
      this.free = pointer => checked.free(pointer)
      return
    }
    const { malloc, free } = functions
    this.malloc = bytes => (bytes >= 0 && bytes <= MOST ? malloc(bytes) || noMemory() : noMemory())
    this.free = free
  }

  /** Why the last request that failed did so, as in C; undefined if none has failed. */
  get errno(): Errno | undefined {
    return this.#errno
  }
  /** `policyName` of the policy. */
  get name(): string {
    return policyName(this.policy)
  }
  /** Bytes of heap, from its begin to the break. */
  get size(): number {
    return heapSize(this.memory)
  }
  /** All of the memory; taken anew after an operation that may have moved the break. */
  bytes(): Uint8Array {
    return this.memory.bytes()
  }

  /** The block with its contents, of another size, perhaps elsewhere; 0 leaves the old one as it was. */
  realloc(pointer: number, bytes: number): number {
    if (!(bytes >= 0 && bytes <= MOST)) return this.#fail('ENOMEM')
    return (this.#checked ?? this.functions).realloc(pointer, bytes) || this.#fail('ENOMEM')
  }
  /** Room for `count` things of `bytes` bytes, all zero. */
  calloc(count: number, bytes = 1): number {
    const all = count * bytes
    if (!(all >= 0 && all <= MOST)) return this.#fail('ENOMEM')
    return (this.#checked ?? this.functions).calloc(all) || this.#fail('ENOMEM')
  }
  /** Memory at a multiple of `align`, which must be a power of two: else 0 and EINVAL. */
  alignedAlloc(align: number, bytes: number): number {
    if (!Number.isInteger(align) || align < 1 || align > 2 ** 30 || (align & (align - 1)) !== 0)
      return this.#fail('EINVAL')
    if (!(bytes >= 0 && bytes <= MOST - align)) return this.#fail('ENOMEM')
    return (this.#checked ?? this.functions).alignedAlloc(align, bytes) || this.#fail('ENOMEM')
  }
  /** Bytes that may be used at `pointer`. */
  usableSize(pointer: number): number {
    return (this.#checked ?? this.functions).usableSize(pointer)
  }

  /** What is broken in the heap, in one sentence; undefined if nothing is. */
  check(): string | undefined {
    return check(this.memory, this.policy)
  }
  blocks(): Generator<Block> {
    return blocks(this.memory, this.policy)
  }
  /** Where the bytes of the heap are; `asked` gives what the program asked for at an address. */
  fragmentation(asked: (pointer: number) => number | undefined): Fragmentation {
    return fragmentation(this.memory, this.policy, asked)
  }
  /** What is allocated and was not freed, with the place in the program that allocated it. HeapError where not checked. */
  leaks(): Leak[] {
    if (this.#checked === undefined)
      throw new HeapError('not-checked', 0, 'Leaks are known of a heap made with { checked: true } only')
    return this.#checked.leaks()
  }

  #fail(errno: Errno): 0 {
    this.#errno = errno
    return 0
  }
}

const isLinear = (memory: object): memory is LinearMemory => 'buffer' in memory && 'grow' in memory

function place(options: HeapOptions, chosen: Policy): { memory: HeapMemory; functions: Allocator } {
  const { memory, base = 0, limit } = options
  if (memory === undefined && options.script !== true) return compiled(linearMemory(), base, limit, chosen)
  if (memory === undefined) {
    const own = new ArrayMemory(new ArrayBuffer(limit ?? 1 << 26), base)
    return { memory: own, functions: scriptAllocator(own, chosen) }
  }
  if (memory instanceof Uint8Array || memory instanceof ArrayBuffer) {
    const own = new ArrayMemory(memory, base, limit)
    return { memory: own, functions: scriptAllocator(own, chosen) }
  }
  if (isLinear(memory)) return compiled(memory, base, limit, chosen)
  return { memory, functions: scriptAllocator(memory, chosen) }
}

function compiled(
  memory: LinearMemory,
  base: number,
  limit: number | undefined,
  chosen: Policy,
): { memory: HeapMemory; functions: Allocator } {
  if (base % 16 !== 0) throw new RangeError(`Invalid base ${base}: not a multiple of 16`)
  const made = wasmAllocator(memory, chosen, base, limit ?? 0x7ffff000)
  return { memory: made.memory, functions: made.allocator }
}
