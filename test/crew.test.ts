/** Threads that search beside their owner: one that is gone costs its share, not two minutes. */
import type { Worker } from 'node:worker_threads'
import { afterEach, expect, it, vi } from 'vitest'
import { Crew } from '../src/explain/crew.ts'

const workers: Worker[] = vi.hoisted(() => [])
vi.mock('node:worker_threads', async original => {
  const real = await original<typeof import('node:worker_threads')>()
  class Seen extends real.Worker {
    constructor(...words: ConstructorParameters<typeof Worker>) {
      super(...words)
      workers.push(this)
    }
  }
  return { ...real, default: { ...real, Worker: Seen }, Worker: Seen }
})

const task = { runs: [], candidates: [], kind: 'files' } as never
let crew: Crew
afterEach(() => crew.close())

it('does without a thread that has ended', { timeout: 60_000 }, async () => {
  crew = new Crew(2, { pid: process.pid, cacheFolder: false, deep: false, cpuShare: 2, threads: 2 })
  crew.begin([task, task])
  expect(crew.finish().map(([, result]) => result?.extents)).toEqual([[], []])
  expect(workers.length).toBe(2)
  await workers[0]?.terminate()
  const began = performance.now()
  crew.begin([task, task])
  expect(crew.finish().map(([, result]) => result?.extents)).toEqual([undefined, []])
  expect(performance.now() - began).toBeLessThan(20_000)
  expect(crew.size).toBe(1)
  crew.begin([task])
  expect(crew.finish().map(([, result]) => result?.extents)).toEqual([[]])
})
