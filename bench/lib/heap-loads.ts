// Loads for allocators: operations that are made beforehand, so that only malloc, free and realloc are measured.
import { random } from '../../test/heap/patterns.ts'

/** Slot k is allocated with so many bytes, reallocated to them, or freed. */
export interface Load {
  readonly name: string
  readonly slots: number
  readonly kind: Uint8Array
  readonly slot: Int32Array
  readonly bytes: Int32Array
}

export const ALLOCATE = 0
export const FREE = 1
export const REALLOCATE = 2

type Size = (random: () => number) => number

/** Bytes from `low` to `high`, each as likely as the other. */
export const even =
  (low: number, high: number): Size =>
  r =>
    low + Math.floor((high - low + 1) * r())
/** From 8 to 512, half as many of twice the size. */
export const mixed: Size = r => Math.floor(2 ** (3 + 6 * r()))

class Maker {
  readonly #kind: number[] = []
  readonly #slot: number[] = []
  readonly #bytes: number[] = []
  add(kind: number, slot: number, bytes = 0): void {
    this.#kind.push(kind)
    this.#slot.push(slot)
    this.#bytes.push(bytes)
  }
  load(name: string, slots: number): Load {
    return {
      name,
      slots,
      kind: Uint8Array.from(this.#kind),
      slot: Int32Array.from(this.#slot),
      bytes: Int32Array.from(this.#bytes),
    }
  }
}

// `live` blocks; then in each step the block in the slot that `which` names is freed and another allocated.
function steady(
  name: string,
  live: number,
  steps: number,
  size: Size,
  which: (step: number, r: () => number) => number,
): Load {
  const r = random(1)
  const maker = new Maker()
  for (let i = 0; i < live; i++) maker.add(ALLOCATE, i, size(r))
  for (let step = 0; step < steps; step++) {
    const at = which(step, r)
    maker.add(FREE, at)
    maker.add(ALLOCATE, at, size(r))
  }
  return maker.load(name, live)
}

/** A block at a random place is freed, then one allocated (as in the larson benchmark). */
export function churn(name: string, live: number, steps: number, size: Size): Load {
  return steady(name, live, steps, size, (_, r) => Math.floor(r() * live))
}

/** The oldest block is freed, then one allocated. */
export function queue(name: string, live: number, steps: number, size: Size): Load {
  return steady(name, live, steps, size, step => step % live)
}

/** A producer and a consumer, by turns ahead by up to `live` blocks: bursts are allocated, bursts of the oldest freed. */
export function bursts(name: string, live: number, steps: number, size: Size): Load {
  const r = random(1)
  const maker = new Maker()
  let oldest = 0
  let next = 0
  while (next < steps) {
    for (let n = Math.ceil(r() * (live - next + oldest)); n > 0; n--)
      maker.add(ALLOCATE, next++ % live, size(r))
    for (let n = Math.ceil(r() * (next - oldest)); n > 0; n--) maker.add(FREE, oldest++ % live)
  }
  return maker.load(name, live)
}

/** Blocks pile up and go again, the last first: to random depths between none and `live`. */
export function stack(name: string, live: number, steps: number, size: Size): Load {
  const r = random(1)
  const maker = new Maker()
  for (let depth = 0; steps > 0; ) {
    const to = Math.floor(r() * (live + 1))
    for (; depth < to; steps--) maker.add(ALLOCATE, depth++, size(r))
    for (; depth > to; steps--) maker.add(FREE, --depth)
  }
  return maker.load(name, live)
}

/** All are allocated, then all freed in a random order. */
export function rounds(name: string, live: number, count: number, size: Size): Load {
  const r = random(1)
  const maker = new Maker()
  const order = Int32Array.from({ length: live }, (_, i) => i)
  for (let round = 0; round < count; round++) {
    for (let i = 0; i < live; i++) maker.add(ALLOCATE, i, size(r))
    for (let i = live - 1; i > 0; i--) {
      const j = Math.floor(r() * (i + 1))
      const other = order[j] as number
      order[j] = order[i] as number
      order[i] = other
    }
    for (const i of order) maker.add(FREE, i)
  }
  return maker.load(name, live)
}

/** Arrays that grow by half each time that a random one is full, to about 16 KiB; then they are freed, and begin anew. */
export function growing(name: string, live: number, steps: number): Load {
  const r = random(1)
  const maker = new Maker()
  const sizes = new Int32Array(live)
  for (let step = 0; step < steps; step++) {
    const at = Math.floor(r() * live)
    const old = sizes[at] as number
    if (old > 16_384) {
      maker.add(FREE, at)
      sizes[at] = 0
    } else if (old === 0) maker.add(ALLOCATE, at, (sizes[at] = 16 + Math.floor(r() * 16)))
    else maker.add(REALLOCATE, at, (sizes[at] = old + (old >> 1)))
  }
  return maker.load(name, live)
}
