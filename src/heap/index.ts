export {
  type Allocator,
  type AllocatorName,
  allocatorNames,
  allPolicies,
  choices,
  type Coalescing,
  type Errno,
  type Order,
  parsePolicy,
  type Placement,
  type Policy,
  policy,
  policyName,
} from './allocator.ts'
export { HeapError, type HeapErrorCode, type Leak } from './checked.ts'
export { Heap, type HeapOptions } from './heap.ts'
export type { Block, Fragmentation } from './inspect.ts'
export { ArrayMemory, FootprintMemory, type HeapMemory, STATE } from './memory.ts'
export type { LinearMemory } from './wasm.ts'
export {
  Collector,
  type CollectorOptions,
  type CollectorStatistics,
  type ObjectType,
  type WeakReference,
} from './collector.ts'
export { compareWith, dot, type MemoryGraph, memoryGraph, reachable } from './graph.ts'
export { formatTrace, type Kind, kindOf, parseTrace, type Trace, TraceError } from './trace.ts'
export { type Replay, type ReplayOptions, replay, ReplayError } from './replay.ts'
