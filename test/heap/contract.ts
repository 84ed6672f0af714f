/** C's contract of malloc and the heap's invariants as one suite; every allocator with every policy runs it. */
import { expect, it } from 'vitest'
import { Heap, type HeapOptions, type Policy } from '../../src/heap/index.ts'
import { demandWhole, Model } from './model.ts'

export const seed: number = Number(process.env['LETHE_SEED'] ?? 20_261)
/** Operations of each random run; the long run is LETHE_HEAP_OPS=10000000. */
export const operations: number = Number(process.env['LETHE_HEAP_OPS'] ?? 150)

/** A long run takes some microseconds for each operation. */
const timeout: number = 20_000 + operations / 20

/** Runs the contract on a policy, as TypeScript and as WebAssembly. Call inside describe(). */
export function heapContract(policy: Policy): void {
  const make = (options: HeapOptions = {}): Heap => new Heap({ ...policy, ...options })
  const small: HeapOptions = { memory: new ArrayBuffer(1 << 16) }

  it('keeps contents, alignment and all invariants over random operations', { timeout }, () => {
    for (const align of [8, 16] as const) {
      const heap = make({ memory: new ArrayBuffer(1 << 22), align })
      const model = new Model(heap, seed + align)
      // The whole heap is looked at after every operation of a short run, after one in a thousand of a long one.
      const every = operations > 10_000 ? 1000 : 1
      for (let k = 0; k < operations; k++) {
        model.step()
        if (k % every === 0) demandWhole(heap)
      }
      model.end()
      demandWhole(heap)
    }
  })

  it('is the same code as WebAssembly: same addresses, same memory', { timeout }, () => {
    const script = make({ memory: new ArrayBuffer(1 << 22) })
    const wasm = make()
    const models = [new Model(script, seed), new Model(wasm, seed)] as const
    for (let k = 0; k < operations; k++) {
      models[0].step()
      models[1].step()
    }
    demandWhole(wasm)
    expect(wasm.size).toBe(script.size)
    expect(models[1].live).toEqual(models[0].live)
    const end = script.memory.brk
    expect(Buffer.compare(wasm.bytes().subarray(0, end), script.bytes().subarray(0, end))).toBe(0)
  })

  it('malloc(0) is a block of its own, free(0) nothing, realloc(0, n) malloc', () => {
    const heap = make(small)
    const a = heap.malloc(0)
    const b = heap.malloc(0)
    expect(a).not.toBe(0)
    expect(b).not.toBe(a)
    heap.free(0)
    heap.free(a)
    heap.free(b)
    expect(heap.realloc(0, 10)).not.toBe(0)
    demandWhole(heap)
  })

  it('says ENOMEM and leaves everything as it was when there is no room', () => {
    const heap = make(small)
    const p = heap.malloc(100)
    heap.bytes().fill(7, p, p + 100)
    expect(heap.errno).toBeUndefined()
    for (const bytes of [1 << 17, 2 ** 31, 2 ** 32, 2 ** 40, -1, Number.NaN])
      expect(heap.malloc(bytes)).toBe(0)
    expect(heap.errno).toBe('ENOMEM')
    expect(heap.realloc(p, 1 << 17)).toBe(0)
    expect(heap.calloc(2 ** 20, 2 ** 20)).toBe(0)
    expect(heap.alignedAlloc(64, 1 << 17)).toBe(0)
    expect(heap.alignedAlloc(24, 8)).toBe(0)
    expect(heap.errno).toBe('EINVAL')
    expect(
      heap
        .bytes()
        .subarray(p, p + 100)
        .every(byte => byte === 7),
    ).toBe(true)
    demandWhole(heap)
    let blocks = 0
    while (heap.malloc(1000) !== 0) blocks++
    expect(blocks).toBeGreaterThan(27)
    demandWhole(heap)
  })

  it('grows in steps of 4 KiB, and accounts for every byte', () => {
    const heap = make({ memory: new ArrayBuffer(1 << 22) })
    const model = new Model(heap, seed + 1)
    for (let k = 0; k < 200; k++) {
      model.step()
      expect(heap.size % 4096).toBe(0)
    }
    const asked = new Map(model.live.map(block => [block.pointer, block.bytes]))
    const f = heap.fragmentation(at => asked.get(at))
    expect(f.payload + f.internal + f.external).toBe(f.heap)
    expect(f.tags + f.padding + f.policy + f.frame).toBe(f.internal)
    for (const part of [f.tags, f.padding, f.policy, f.frame, f.external])
      expect(part).toBeGreaterThanOrEqual(0)
  })

  if (policy.coalescing === 'immediate')
    it('is one free block again when everything is freed', () => {
      const heap = make({ memory: new ArrayBuffer(1 << 22) })
      const model = new Model(heap, seed + 2)
      for (let k = 0; k < 300; k++) model.step()
      model.end()
      expect([...heap.blocks()].every(block => !block.allocated)).toBe(true)
      // best merges small blocks no later than when a large one is asked for.
      heap.free(heap.malloc(1000))
      const blocks = [...heap.blocks()]
      expect(blocks.every(block => !block.allocated)).toBe(true)
      if (policy.allocator !== 'buddy') expect(blocks.length).toBe(1)
    })
}
