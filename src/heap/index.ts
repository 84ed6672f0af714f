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
