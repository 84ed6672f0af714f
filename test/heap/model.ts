/** A program that uses a heap at random and knows what it holds. */
import type { Heap } from '../../src/heap/index.ts'
import { random } from './patterns.ts'

interface Living {
  pointer: number
  bytes: number
  mark: number
}

/** A program that allocates, resizes and frees at random, and knows what its blocks hold. Checks each block that it touches. */
export class Model {
  readonly heap: Heap
  readonly live: Living[] = []
  readonly #r: () => number
  readonly #most: number
  #next = 1

  constructor(heap: Heap, randomSeed: number, most = 100) {
    this.heap = heap
    this.#r = random(randomSeed)
    this.#most = most
  }

  #size(): number {
    const r = this.#r()
    return Math.floor(r < 0.02 ? 0 : r < 0.9 ? 2 ** (1 + 9 * this.#r()) : 2 ** (10 + 4 * this.#r()))
  }
  #fill(block: Living): void {
    this.heap.bytes().fill(block.mark & 255, block.pointer, block.pointer + block.bytes)
  }
  #verify({ pointer, mark }: Living, bytes: number): void {
    const view = this.heap.bytes()
    for (let i = pointer; i < pointer + bytes; i++)
      if (view[i] !== (mark & 255))
        throw new Error(`Byte ${i - pointer} of the block at ${pointer} was changed`)
  }

  step(): void {
    const { heap, live } = this
    const r = this.#r()
    const align = heap.policy.align
    if (live.length === 0 || (r < 0.45 && live.length < this.#most)) {
      const bytes = this.#size()
      const wanted = r < 0.03 ? 2 ** Math.floor(12 * this.#r()) : align
      const pointer =
        wanted === align
          ? r < 0.1
            ? heap.calloc(1, bytes)
            : heap.malloc(bytes)
          : heap.alignedAlloc(wanted, bytes)
      if (pointer === 0 || pointer % align !== 0 || pointer % wanted !== 0)
        throw new Error(`${bytes} bytes aligned to ${wanted} came at ${pointer}`)
      if (heap.usableSize(pointer) < bytes)
        throw new Error(`A block of ${bytes} bytes has ${heap.usableSize(pointer)}`)
      const block = { pointer, bytes, mark: wanted === align && r < 0.1 ? 0 : this.#next++ }
      if (block.mark === 0) this.#verify(block, bytes)
      this.#fill(block)
      live.push(block)
      return
    }
    const i = Math.floor(this.#r() * live.length)
    const block = live[i] as Living
    this.#verify(block, block.bytes)
    if (r < 0.65) {
      const bytes = this.#size()
      const pointer = heap.realloc(block.pointer, bytes)
      if (pointer === 0 || pointer % align !== 0)
        throw new Error(`realloc to ${bytes} bytes came at ${pointer}`)
      block.pointer = pointer
      this.#verify(block, Math.min(bytes, block.bytes))
      block.bytes = bytes
      block.mark = this.#next++
      this.#fill(block)
      return
    }
    heap.free(block.pointer)
    live[i] = live[live.length - 1] as Living
    live.pop()
  }

  /** Verifies and frees everything. */
  end(): void {
    for (const block of this.live) {
      this.#verify(block, block.bytes)
      this.heap.free(block.pointer)
    }
    this.live.length = 0
  }
}

/** Throws what is wrong with a heap. */
export function demandWhole(heap: Heap): void {
  const wrong = heap.check()
  if (wrong !== undefined) throw new Error(`${heap.name}: ${wrong}`)
}
