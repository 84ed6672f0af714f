// A trace against a heap at full speed: utilisation, where the bytes are at the peak, operations a second.
import type { Heap } from './heap.ts'
import type { Fragmentation } from './inspect.ts'
import { ReplayError } from './replay.ts'
import { kindOf, type Trace } from './trace.ts'

/** P_k of every operation, its largest value, and when that is first reached. */
export interface Demand {
  readonly payload: Float64Array
  readonly peak: number
  readonly peakAt: number
}

/** What a trace asks for; no allocator is needed to know. */
export function demandOf(trace: Trace): Demand {
  const payload = new Float64Array(trace.length)
  const size = new Float64Array(trace.ids)
  let sum = 0
  let peak = 0
  let peakAt = 0
  for (let k = 0; k < trace.length; k++) {
    const id = trace.id[k] as number
    const bytes = trace.bytes[k] as number
    sum += bytes - (size[id] as number)
    size[id] = bytes
    payload[k] = sum
    if (sum <= peak) continue
    peak = sum
    peakAt = k
  }
  return { payload, peak, peakAt }
}

export interface Measured {
  readonly peakPayload: number
  readonly heapSize: number
  /** Peak payload / heap size at the end. */
  readonly utilisation: number
  readonly atPeak: Fragmentation
  /** Operations a second. */
  readonly throughput: number
}

/** Short traces run again, on new heaps, until so many ms have gone: the first run is compiled while it runs. */
const WARM = 10

/** Measures heaps that `make` gives; undefined where that takes more than `limit` ms. Throws ReplayError where memory runs out. */
export function measure(
  trace: Trace,
  make: () => Heap,
  demand: Demand,
  limit: number = Number.POSITIVE_INFINITY,
): Measured | undefined {
  const heap = make()
  const pointers = new Int32Array(trace.ids)
  let time = 0
  const run = (from: number, to: number): boolean => {
    for (let at = from; at < to && time <= limit; at += 1024)
      time += pass(trace, heap, pointers, at, Math.min(at + 1024, to))
    return time <= limit
  }
  if (!run(0, demand.peakAt + 1)) return undefined
  const asked = new Map<number, number>()
  for (let k = 0; k <= demand.peakAt; k++) {
    const id = trace.id[k] as number
    if ((pointers[id] as number) !== 0) asked.set(pointers[id] as number, trace.bytes[k] as number)
  }
  const atPeak = heap.fragmentation(at => asked.get(at))
  if (!run(demand.peakAt + 1, trace.length)) return undefined
  const heapSize = heap.size
  const until = performance.now() + WARM
  if (time < WARM)
    while (performance.now() < until)
      time = Math.min(time, pass(trace, make(), pointers.fill(0), 0, trace.length))
  return {
    peakPayload: demand.peak,
    heapSize,
    utilisation: heapSize === 0 ? 0 : demand.peak / heapSize,
    atPeak,
    throughput: (trace.length / time) * 1000,
  }
}

/** Runs operations `from` up to `to`, with the blocks' addresses in `pointers`; milliseconds. */
export function pass(trace: Trace, heap: Heap, pointers: Int32Array, from: number, to: number): number {
  const { functions } = heap
  const { kind, id, bytes, align } = trace
  const began = performance.now()
  for (let k = from; k < to; k++) {
    const block = id[k] as number
    const size = bytes[k] as number
    const old = pointers[block] as number
    let pointer = 0
    switch (kind[k]) {
      case 0:
        pointer = functions.malloc(size)
        break
      case 1:
        pointer = functions.calloc(size)
        break
      case 2:
        pointer = functions.alignedAlloc(align[k] as number, size)
        break
      case 3:
        if (size !== 0 || old === 0) {
          pointer = functions.realloc(old, size)
          break
        }
        functions.free(old)
        pointers[block] = 0
        continue
      default:
        functions.free(old)
        pointers[block] = 0
        continue
    }
    if (pointer === 0)
      throw new ReplayError(
        k,
        `operation ${k} with ${heap.name}: ${kindOf(trace, k)} of ${size} bytes found no memory; the heap has ${heap.size} bytes`,
      )
    pointers[block] = pointer
  }
  return performance.now() - began
}
