/** A thread that reads and writes memory whose faults another thread serves. */
import { parentPort, workerData } from 'node:worker_threads'
import { arenaAt } from '../../src/sys/ffi.ts'

const { address, length } = workerData as { address: number; length: number }
const { bytes } = arenaAt(address, length)

parentPort?.on('message', (wish: { at: number; length: number; data?: Uint8Array }) => {
  if (wish.data !== undefined) bytes.set(wish.data, wish.at)
  parentPort?.postMessage(bytes.slice(wish.at, wish.at + wish.length))
})
