import { Heap } from 'lethe/heap'

function mistake(name, act) {
  const heap = new Heap({ checked: true })
  try {
    act(heap)
  } catch ({ code }) {
    console.log(`${name}: ${code}`)
  }
}
mistake('free twice', heap => {
  const p = heap.malloc(10)
  heap.free(p)
  heap.free(p)
})
mistake("free a block's middle", heap => heap.free(heap.malloc(10) + 4))
mistake('write one byte too many', heap => {
  const p = heap.malloc(10)
  heap.bytes()[p + 10] = 0
  heap.free(p)
})
mistake('write after free', heap => {
  const p = heap.malloc(10)
  heap.free(p)
  heap.bytes()[p] = 1
  heap.leaks()
})
const heap = new Heap({ checked: true })
heap.malloc(1000)
for (const { bytes, site } of heap.leaks())
  console.log(`leak of ${bytes} bytes, allocated at …/${site.split('/').pop()}`)
