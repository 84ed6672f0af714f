// The allocators as TypeScript, over any memory: to look at, to step through, to count what they do.
import type { Allocator, Policy } from './allocator.ts'
import * as best from './code/best.ts'
import * as buddy from './code/buddy.ts'
import * as lists from './code/lists.ts'
import { bind } from './code/words.ts'
import type { HeapMemory } from './memory.ts'

const indexes = { implicit: 0, explicit: 1, segregated: 2, tree: 3, tlsf: 4 } as const
const placements = { first: 0, next: 1, best: 2 } as const
const orders = { lifo: 0, address: 1 } as const
const coalescings = { immediate: 0, deferred: 1, threshold: 2, never: 3 } as const

export interface Setups {
  readonly lists: (
    index: number,
    placement: number,
    order: number,
    coalescing: number,
    split: number,
    threshold: number,
    align: number,
  ) => boolean | number
  readonly other: (align: number) => boolean | number
}

/** Lays out the heap that a policy wants; whether there was room. */
export function setUp(setups: Setups, policy: Policy): boolean {
  const { allocator, align } = policy
  if (allocator === 'best' || allocator === 'buddy') return Boolean(setups.other(align))
  return Boolean(
    setups.lists(
      indexes[allocator],
      placements[policy.placement],
      orders[policy.order],
      coalescings[policy.coalescing],
      policy.split,
      policy.threshold,
      align,
    ),
  )
}

/** The code that serves a policy. */
export const moduleOf = (policy: Policy): 'best' | 'buddy' | 'lists' =>
  policy.allocator === 'best' || policy.allocator === 'buddy' ? policy.allocator : 'lists'

/** An empty heap in `memory`, run as TypeScript. RangeError where the memory has no room for one page. */
export function scriptAllocator(memory: HeapMemory, policy: Policy): Allocator {
  const code = { best, buddy, lists }[moduleOf(policy)]
  bind(memory)
  if (!setUp({ lists: lists.setup, other: policy.allocator === 'best' ? best.setup : buddy.setup }, policy))
    throw new RangeError(`Invalid memory: no room for a heap of one page behind ${memory.brk}`)
  return {
    malloc(bytes) {
      bind(memory)
      return code.malloc(bytes)
    },
    free(pointer) {
      bind(memory)
      code.free(pointer)
    },
    realloc(pointer, bytes) {
      bind(memory)
      return code.realloc(pointer, bytes)
    },
    calloc(bytes) {
      bind(memory)
      return code.calloc(bytes)
    },
    alignedAlloc(align, bytes) {
      bind(memory)
      return code.alignedAlloc(align, bytes)
    },
    usableSize(pointer) {
      bind(memory)
      return code.usableSize(pointer)
    },
    errno() {
      bind(memory)
      return code.errno()
    },
  }
}
