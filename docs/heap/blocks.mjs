import { Heap } from 'lethe/heap'

const heap = new Heap({ allocator: 'implicit', memory: new ArrayBuffer(1 << 16) })
const [, middle] = [5, 24, 100].map(bytes => heap.malloc(bytes))
heap.free(middle)
console.log('three blocks of 5, 24 and 100 bytes, the middle one freed:')
for (const { at, size, allocated } of heap.blocks())
  console.log(`${String(at).padStart(6)} ${String(size).padStart(5)}  ${allocated ? 'allocated' : 'free'}`)
