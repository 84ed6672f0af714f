/** Several threads of one process see one region; processes share nothing but the page cache. */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { file } from '../../src/library/index.ts'
import { bytesOf, desk, noise, whyNoMmu } from './helpers.ts'

const why = await whyNoMmu()
const library = fileURLToPath(new URL('../../src/library/index.ts', import.meta.url))

/** A thread that attaches, answers questions about its region, and can be told to end. */
const program = `
  import { Memory } from ${JSON.stringify(library)}
  import { parentPort, workerData } from 'node:worker_threads'
  const memory = await Memory.attach(workerData)
  const [region] = memory.regions
  const { array } = region
  let sum = 0
  for (let i = 0; i < array.length; i += 64) sum = (sum + array[i]) >>> 0
  parentPort.postMessage(sum)
  parentPort.on('message', async question => {
    if (question === 'write') array[77] = 78
    if (question === 'prefetch') await region.prefetch({ from: 0, to: 5000 })
    if (question === 'close') await memory.close()
    if (question === 'end') process.exit()
    parentPort.postMessage([array.length, array[77] ?? null, region.closed])
  })
`

describe.skipIf(why !== undefined)(`a shared memory ${why ?? ''}`, { timeout: 60_000 }, () => {
  const table = desk()
  const words = noise(2 ** 19)
  let expected = 0
  for (let i = 0; i < words.length; i += 64) expected = (expected + (words[i] as number)) >>> 0

  it('is one memory in three threads, until its owner ends it', async () => {
    const memory = await table.open({ budget: '1MiB' })
    const region = await memory.map(file(table.file('words', bytesOf(words))), undefined, { as: 'u32' })
    const workers: Worker[] = []
    for (let i = 0; i < 3; i++) {
      const handle = memory.share(region)
      workers.push(
        new Worker(program, { eval: true, workerData: handle, transferList: [handle.port], execArgv: [] }),
      )
    }
    const [one, two, three] = workers as [Worker, Worker, Worker]
    const sums = await Promise.all(workers.map(worker => once(worker, 'message')))
    expect(sums).toEqual([[expected], [expected], [expected]])
    const ask = async (worker: Worker, question: string): Promise<unknown> => {
      worker.postMessage(question)
      return (await once(worker, 'message'))[0]
    }
    expect(await ask(one, 'write')).toEqual([words.length, 78, false])
    expect(region.array[77]).toBe(78)
    expect(await ask(two, 'prefetch')).toEqual([words.length, 78, false])
    expect(await ask(two, 'close')).toEqual([0, null, true])
    // One has let go, one still has it, one ends with it in its hands.
    const ended = once(three, 'exit')
    three.postMessage('end')
    await region.close()
    await ended
    expect(await ask(one, 'look')).toEqual([0, null, true])
    await memory.close()
    for (const worker of workers) await worker.terminate()
  })
})
