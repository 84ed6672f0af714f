/**
 * The long run: node test/heap/long.ts [OPERATIONS] [POLICY…], or npm run stress:heap. Random operations of every policy, compiled, against
 * a model that knows what blocks hold; the whole heap is checked now and then. Prints the seed (LETHE_SEED sets it).
 */
import { allPolicies, Heap, parsePolicy, policyName } from '../../src/heap/index.ts'
import { demandWhole, Model } from './model.ts'

const [count = '10000000', ...names] = process.argv.slice(2)
const operations = Number(count)
const seed = Number(process.env['LETHE_SEED'] ?? Date.now() % 2 ** 31)
const policies = names.length > 0 ? names.map(parsePolicy) : allPolicies
console.log(`seed ${seed}, ${operations} operations for each of ${policies.length} policies`)
for (const policy of policies) {
  // best works otherwise in a heap larger than caches, which 6000 blocks make.
  for (const live of policy.allocator === 'best' ? [100, 6000] : [100]) {
    const began = performance.now()
    const heap = new Heap(policy)
    const model = new Model(heap, seed, live)
    for (let k = 1; k <= operations; k++) {
      model.step()
      if (k % (20 * live) === 0) demandWhole(heap)
    }
    model.end()
    demandWhole(heap)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    console.log(`${policyName(policy)}, ${live} blocks: whole, ${seconds} s`)
  }
}
