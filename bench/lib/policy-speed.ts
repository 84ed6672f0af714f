// How fast one replacement policy is, in a thread of its own: V8 makes other code of a policy when it has seen many of them.
import { parentPort, workerData } from 'node:worker_threads'
import { createPolicy, type PolicyName, simulate } from '../../src/policy/index.ts'
import { median } from './stats.ts'

export interface PolicyRun {
  readonly name: PolicyName
  readonly pages: Int32Array
  readonly frames: readonly number[]
  readonly rounds: number
}

/** For each number of frames, millions of references a second of a processor's time. */
function speeds({ name, pages, frames, rounds }: PolicyRun): number[] {
  return frames.map(count => {
    const all: number[] = []
    for (let round = 0; round <= rounds; round++) {
      const policy = createPolicy(name, count)
      const began = process.threadCpuUsage()
      simulate(policy, pages)
      const { user, system } = process.threadCpuUsage(began)
      if (round > 0) all.push(pages.length / (user + system))
    }
    return median(all)
  })
}

parentPort?.postMessage(speeds(workerData as PolicyRun))
