/** One thread of a crew: takes a task, searches as the owner does, answers with what it found. See crew.ts. */
import { workerData } from 'node:worker_threads'
import { ProcessMemory } from '../process/snapshot.ts'
import type { Answer, HandData, Result, Task } from './crew.ts'
import { IndexCache } from './index-cache.ts'
import { indexStore } from './stores.ts'
import { Search } from './search.ts'
import { ownThread } from '../sys/memory.ts'
import { throttle } from './throttle.ts'

const { pid, cacheFolder, deep, cpuShare, threads, port, shared } = workerData as HandData
const state = new Int32Array(shared)
const slow = throttle(cpuShare, threads)
const pause = (): void => {
  Atomics.add(state, 1, 1)
  slow()
}
const store = indexStore(cacheFolder)
const cache = cacheFolder === false ? undefined : new IndexCache(cacheFolder)

Atomics.store(state, 2, ownThread())

function work({ runs, candidates, kind }: Task): Result {
  using memory = new ProcessMemory(pid, [...runs])
  const search = new Search(memory, 0, { store, pause, deep, ...(cache ? { cache } : {}) })
  try {
    const indices = candidates.map(candidate => search.pool.add(candidate))
    search.through(indices, kind)
    const { memoryBytesRead, fileBytesIndexed } = search
    return { extents: search.findings.extents(), memoryBytesRead, fileBytesIndexed }
  } finally {
    search.close()
  }
}

port.on('message', (task: Task) => {
  let answer: Answer
  try {
    answer = { result: work(task) }
  } catch (error) {
    answer = { failed: error instanceof Error ? error.message : String(error) }
  }
  port.postMessage(answer)
  Atomics.add(state, 0, 1)
  Atomics.notify(state, 0)
})
