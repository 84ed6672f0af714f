/** malloc's contract on every allocator with every policy. Seeds: LETHE_SEED; length of the random runs: LETHE_HEAP_OPS. */
import { describe } from 'vitest'
import { allPolicies, policyName } from '../../src/heap/index.ts'
import { heapContract, operations, seed } from './contract.ts'

console.log(`heap: seed ${seed}, ${operations} random operations for each policy`)
for (const policy of allPolicies) describe(policyName(policy), () => heapContract(policy))
