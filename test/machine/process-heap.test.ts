// A heap in a process of the simulated machine: the same bytes as anywhere else, through swap if need be.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Heap, parseTrace } from '../../src/heap/index.ts'
import { allocatorNames } from '../../src/heap/allocator.ts'
import { Machine } from '../../src/machine/machine.ts'
import { footprint, ProcessMemory } from '../../src/machine/process-heap.ts'
import { generator } from '../explain-helpers.ts'

const path = fileURLToPath(new URL('../data/malloc/find.trace', import.meta.url))
const whole = parseTrace(readFileSync(path, 'utf8'))
const trace = { ...whole, length: 300 }

describe('a heap in a process', () => {
  test.each(allocatorNames)('%s keeps every block, with and without room for all pages', allocator => {
    const roomy = footprint(trace, { allocator }, { preset: 'p6' })
    // Six frames: pages of the heap go to swap and come back, and footprint() looks at every byte.
    const tight = footprint(trace, { allocator }, { preset: 'p6', frames: 6, swapSlots: 4096 })
    expect(tight.pageFaults).toBeGreaterThan(roomy.pageFaults)
    const { pageFaults: _, cycles: __, cacheMisses: ___, tlbMisses: ____, ...same } = roomy
    expect(tight).toMatchObject(same)
    expect(roomy.pageFaults).toBeLessThanOrEqual(roomy.heapSize / 4096 + 16)
    expect(roomy.lines).toBeLessThanOrEqual(roomy.accesses * 2)
  })

  test('the process reads what the allocator and the program have written', () => {
    const machine = new Machine({ preset: 'p6' })
    const { pid } = machine.spawn('program')
    const memory = new ProcessMemory(machine, pid)
    const heap = new Heap({ memory })
    const random = generator(5)
    const held: { at: number; byte: number; size: number }[] = []
    for (let i = 0; i < 300; i++) {
      if (random() % 3 === 0 && held.length > 0) {
        const [gone] = held.splice(random() % held.length, 1)
        heap.free(gone?.at ?? 0)
      } else {
        const size = 1 + (random() % 600)
        const at = heap.malloc(size)
        memory.write(at, new Uint8Array(size).fill(i))
        held.push({ at, byte: i & 255, size })
      }
      expect(heap.check()).toBeUndefined()
    }
    for (const { at, byte, size } of held)
      expect(memory.read(at, size).every(value => value === byte)).toBe(true)
    expect(Buffer.compare(memory.read(0, memory.brk), memory.bytes())).toBe(0)
  })

  test('a machine without room gives no memory', () => {
    // The variables of an allocator alone are half of the lecture's 16 KiB.
    const pageTable = { levels: [9], entry: 'compact', placement: 'outside', cached: false } as const
    const machine = new Machine({ preset: 'lecture', virtualBits: 15, pageTable })
    const heap = new Heap({ memory: new ProcessMemory(machine, machine.spawn('small').pid) })
    expect(heap.malloc(1 << 20)).toBe(0)
    expect(heap.errno).toBe('ENOMEM')
    expect(heap.malloc(64)).toBeGreaterThan(0)
  })
})
