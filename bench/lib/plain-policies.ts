// FIFO, LRU, CLOCK and OPT once more, from their definitions and with nothing of src/policy: for exact comparison on long traces.

export type PlainPolicy = (trace: Int32Array, frames: number) => number

// A Map keeps the order of insertion: the oldest page is its first key.
const queue =
  (renews: boolean): PlainPolicy =>
  (trace, frames) => {
    const held = new Map<number, true>()
    let misses = 0
    for (const page of trace) {
      if (held.has(page)) {
        if (!renews) continue
        held.delete(page)
      } else {
        misses++
        if (held.size === frames) held.delete(held.keys().next().value as number)
      }
      held.set(page, true)
    }
    return misses
  }

// A ring of frames and a hand. A new page's bit is clear, a use sets it.
const clock: PlainPolicy = (trace, frames) => {
  const pages: number[] = []
  const bits = new Uint8Array(frames)
  const at = new Map<number, number>()
  let hand = 0
  let misses = 0
  for (const page of trace) {
    const frame = at.get(page)
    if (frame !== undefined) {
      bits[frame] = 1
      continue
    }
    misses++
    if (at.size === frames) {
      for (; bits[hand] === 1; hand = (hand + 1) % frames) bits[hand] = 0
      at.delete(pages[hand] as number)
    }
    pages[hand] = page
    bits[hand] = 0
    at.set(page, hand)
    hand = (hand + 1) % frames
  }
  return misses
}

// What is used again last goes: times of next use in a heap, the latest on top. A page that was used meanwhile has a later time there
// as well, and its old one, which has passed, is never on top while another page has a time to come.
const opt: PlainPolicy = (trace, frames) => {
  const never = trace.length
  const next = new Int32Array(trace.length).fill(never)
  const last = new Map<number, number>()
  trace.forEach((page, i) => {
    const before = last.get(page)
    if (before !== undefined) next[before] = i
    last.set(page, i)
  })
  // Entries are reference numbers; the one whose next use is latest is on top.
  const heap: number[] = []
  const later = (a: number, b: number): boolean => (next[a] as number) > (next[b] as number)
  const push = (entry: number): void => {
    let i = heap.length
    heap.push(entry)
    for (let up = (i - 1) >> 1; i > 0 && later(entry, heap[up] as number); up = (i - 1) >> 1) {
      heap[i] = heap[up] as number
      i = up
    }
    heap[i] = entry
  }
  const pop = (): number => {
    const top = heap[0] as number
    const entry = heap.pop() as number
    if (heap.length === 0) return top
    let i = 0
    for (let down = 1; down < heap.length; down = 2 * i + 1) {
      if (down + 1 < heap.length && later(heap[down + 1] as number, heap[down] as number)) down++
      if (!later(heap[down] as number, entry)) break
      heap[i] = heap[down] as number
      i = down
    }
    heap[i] = entry
    return top
  }
  const held = new Set<number>()
  let misses = 0
  trace.forEach((page, i) => {
    if (!held.has(page)) {
      misses++
      if (held.size === frames) held.delete(trace[pop()] as number)
      held.add(page)
    }
    push(i)
  })
  return misses
}

export const plain: Readonly<Record<string, PlainPolicy>> = {
  fifo: queue(false),
  lru: queue(true),
  clock,
  opt,
}
