/**
 * Dynamic memory: the protocol between a program, an allocator and a memory.
 *
 *   program ── malloc, free, realloc ──> Allocator ── load32, store32, sbrk ──> HeapMemory
 *
 * An *allocator* hands out *blocks* of a memory. A *block* is what the allocator manages: header, *payload* (what the program asked
 * for) and padding. The heap begins behind the allocator's variables and ends at the break, which moves up in steps of 4 KiB.
 * An allocator is the same code whether it runs as TypeScript over any HeapMemory (to look at) or as WebAssembly (to use); all
 * it knows lies in the memory. The allocators themselves are in code/, one file each; this file names them and their policies.
 *
 * As in C: malloc(0) gives a block of its own; out of memory is 0 with errno ENOMEM; realloc keeps the contents up to the smaller
 * size; realloc(0, n) is malloc(n); free(0) does nothing. What was not allocated must not be freed: nobody checks
 * that here, but the checked mode of Heap does.
 */

export type Errno = 'ENOMEM' | 'EINVAL'

/** What every allocator can do. Addresses and sizes are in bytes; 0 is the null pointer. */
export interface Allocator {
  malloc(bytes: number): number
  free(pointer: number): void
  /** 0 leaves the old block as it was. */
  realloc(pointer: number, bytes: number): number
  /** `bytes` zeros. */
  calloc(bytes: number): number
  /** `align` is a power of two. */
  alignedAlloc(align: number, bytes: number): number
  /** Bytes that the program may use of a block: at least what it asked for. */
  usableSize(pointer: number): number
  /** 12 (ENOMEM) once a request has failed for want of memory. */
  errno(): number
}

/** Where a free block comes from: the index of the free blocks, or a design of its own. */
export type AllocatorName = 'implicit' | 'explicit' | 'segregated' | 'tree' | 'tlsf' | 'buddy' | 'best'
export type Placement = 'first' | 'next' | 'best'
/** Lists: last freed first, or by address. */
export type Order = 'lifo' | 'address'
/** When free neighbours are merged: at free; when a search scans them or fails; at a threshold of freed bytes; never. */
export type Coalescing = 'immediate' | 'deferred' | 'threshold' | 'never'

export interface Policy {
  readonly allocator: AllocatorName
  readonly placement: Placement
  readonly order: Order
  readonly coalescing: Coalescing
  /** The smallest remainder, in bytes, that becomes a block of its own; 0: the smallest block. */
  readonly split: number
  /** With coalescing 'threshold': percent of the heap that were freed. */
  readonly threshold: number
  /** 8 or 16. */
  readonly align: 8 | 16
}

interface Choices {
  readonly placement: readonly Placement[]
  readonly order: readonly Order[]
  readonly coalescing: readonly Coalescing[]
}

const allCoalescing: readonly Coalescing[] = ['immediate', 'deferred', 'threshold', 'never']
const fixed: Choices = { placement: ['best'], order: ['lifo'], coalescing: ['immediate'] }

/** What can be chosen for each allocator; the first is the default. */
export const choices: Readonly<Record<AllocatorName, Choices>> = {
  best: fixed,
  implicit: { placement: ['first', 'next', 'best'], order: ['address'], coalescing: allCoalescing },
  explicit: { placement: ['first', 'next', 'best'], order: ['lifo', 'address'], coalescing: allCoalescing },
  segregated: { placement: ['first', 'best'], order: ['lifo', 'address'], coalescing: allCoalescing },
  tree: { placement: ['best'], order: ['lifo'], coalescing: allCoalescing },
  tlsf: { placement: ['best'], order: ['lifo'], coalescing: allCoalescing },
  buddy: fixed,
}

export const allocatorNames: readonly AllocatorName[] = Object.keys(choices) as AllocatorName[]

/** A policy with what is not given chosen. RangeError where the allocator has no such choice. */
export function policy(given: Partial<Policy> = {}): Policy {
  const allocator = given.allocator ?? 'best'
  const can = choices[allocator]
  if (can === undefined)
    throw new RangeError(`Invalid allocator '${String(allocator)}': there are ${allocatorNames.join(', ')}`)
  const pick = <T extends string>(what: string, list: readonly T[], value: T | undefined): T => {
    if (value === undefined) return list[0] as T
    if (!list.includes(value))
      throw new RangeError(`Invalid ${what} '${value}' for ${allocator}: it can be ${list.join(', ')}`)
    return value
  }
  const bounded = (what: string, value: number, most: number): number => {
    if (Number.isInteger(value) && value >= 0 && value <= most) return value
    throw new RangeError(`Invalid ${what} ${value}: a whole number from 0 to ${most}`)
  }
  const align = given.align ?? 8
  if (align !== 8 && align !== 16) throw new RangeError(`Invalid alignment ${String(align)}: 8 or 16`)
  return {
    allocator,
    placement: pick('placement', can.placement, given.placement),
    order: pick('order', can.order, given.order),
    coalescing: pick('coalescing', can.coalescing, given.coalescing),
    split: bounded('split', given.split ?? 0, 65_536),
    threshold: bounded('threshold', given.threshold ?? 25, 100),
    align,
  }
}

/** A policy in words, with only what was a choice: `explicit first address deferred`. */
export function policyName(p: Policy): string {
  const can = choices[p.allocator]
  return [
    p.allocator,
    ...(can.placement.length > 1 ? [p.placement] : []),
    ...(can.order.length > 1 ? [p.order] : []),
    ...(can.coalescing.length > 1 && p.coalescing !== 'immediate' ? [p.coalescing] : []),
    ...(p.coalescing === 'threshold' && p.threshold !== 25 ? [`threshold=${p.threshold}`] : []),
    ...(p.split > 0 ? [`split=${p.split}`] : []),
    ...(p.align === 8 ? [] : [`align=${p.align}`]),
  ].join(' ')
}

/** Reads what policyName writes; words in any order behind the allocator, and what is missing is chosen. RangeError. */
export function parsePolicy(text: string): Policy {
  const [allocator = '', ...words] = text.trim().split(/[\s,/]+/)
  const given: { -readonly [K in keyof Policy]?: Policy[K] } = { allocator: allocator as AllocatorName }
  const can = policy({ allocator: given.allocator as AllocatorName }) && choices[allocator as AllocatorName]
  for (const word of words) {
    const [name = '', value] = word.split('=')
    if (name === 'split') given.split = Number(value)
    else if (name === 'threshold' && value !== undefined) given.threshold = Number(value)
    else if (name === 'align') given.align = Number(value) as 8 | 16
    else if (allCoalescing.includes(word as Coalescing)) given.coalescing = word as Coalescing
    else if (word === 'lifo' || word === 'address') given.order = word
    else if (word === 'first' || word === 'next' || word === 'best') given.placement = word
    else
      throw new RangeError(
        `Invalid word '${word}' in a policy: ${[...can.placement, ...can.order, ...can.coalescing].join(', ')}, split=, threshold= or align=`,
      )
  }
  return policy(given)
}

/** Every combination of allocator, placement, order and coalescing; alignment 8, smallest split. */
export const allPolicies: readonly Policy[] = allocatorNames.flatMap(allocator =>
  choices[allocator].placement.flatMap(placement =>
    choices[allocator].order.flatMap(order =>
      choices[allocator].coalescing.map(coalescing => policy({ allocator, placement, order, coalescing })),
    ),
  ),
)
