// malloc, free and the others of a checked guest.
import type { AllocatorFunction } from './allocators.ts'
import type { Note } from './errors.ts'
import type { Block, HeapKind } from './heap.ts'
import type { Runtime } from './runtime.ts'

/** Answers a call of the guest with a value; its tag is left in `runtime.answerTag`, which is 0 before. */
export type AllocatorCall = (a: number, b: number, c: number) => number

/** The function behind an allocator's name. */
export function allocatorCall(
  runtime: Runtime,
  name: string,
  { role, kind, alignmentLast }: AllocatorFunction,
): AllocatorCall {
  const take = (size: number, alignment: number): number => {
    if (size > 0x7fffffff && kind === 'malloc')
      runtime.error('bad-size', `${name} is asked for ${size | 0} bytes: a negative size`, [])
    const power = (alignment & (alignment - 1)) === 0 ? alignment : 16
    const block = runtime.heap.allocate(size, power, kind, runtime.capture())
    if (block === undefined) return 0
    runtime.answerTag = block.tag
    return block.start
  }
  const zero = (start: number, size: number): void => {
    runtime.bytes.fill(0, start, start + size)
    runtime.shadow.setDefined(start, size)
  }
  switch (role) {
    case 'take':
      return (size, alignment) => take(size >>> 0, alignmentLast === true ? alignment >>> 0 : 16)
    case 'aligned':
      return (alignment, size) => take(size >>> 0, alignment >>> 0)
    case 'zeroed':
      return (count, each) => {
        const size = (count >>> 0) * (each >>> 0)
        if (size > 0xffffffff) return 0
        const start = take(size, 16)
        if (start !== 0) zero(start, size)
        return start
      }
    case 'place':
      return (place, alignment, size) => {
        const start = take(size >>> 0, alignment >>> 0)
        if (start === 0) return 48
        runtime.view.setUint32(place >>> 0, start, true)
        runtime.shadow.setPointer(place >>> 0, runtime.answerTag)
        runtime.answerTag = 0
        return 0
      }
    case 'give':
      return at => {
        if (at !== 0) give(runtime, at >>> 0, name, kind)
        return 0
      }
    case 'resize':
      return (at, size) => resize(at >>> 0, size >>> 0)
    case 'resizeArray':
      return (at, count, each) => {
        const size = (count >>> 0) * (each >>> 0)
        return size > 0xffffffff ? 0 : resize(at >>> 0, size)
      }
    case 'usable':
      return at => runtime.heap.at(at >>> 0)?.size ?? 0
  }

  function resize(at: number, size: number): number {
    if (at === 0) return take(size, 16)
    const block = runtime.heap.at(at)
    if (block === undefined) {
      invalid(runtime, at, name)
      return 0
    }
    if (block.kind !== kind) mismatched(runtime, block, name)
    const start = take(size, 16)
    if (start === 0) return 0
    const kept = Math.min(size, block.size)
    runtime.bytes.copyWithin(start, at, at + kept)
    runtime.shadow.copy(start, at, kept)
    runtime.heap.free(block, runtime.capture())
    return start
  }
}

const partner: Readonly<Record<HeapKind, string>> = { malloc: 'malloc', new: 'new', 'new[]': 'new[]' }

function give(runtime: Runtime, at: number, name: string, kind: HeapKind): void {
  const block = runtime.heap.at(at)
  if (block === undefined) return invalid(runtime, at, name)
  if (block.kind !== kind) mismatched(runtime, block, name)
  runtime.heap.free(block, runtime.capture())
}

function mismatched(runtime: Runtime, block: Block, name: string): void {
  runtime.error(
    'mismatched-free',
    `${name} is given a block that ${partner[block.kind]} has made`,
    taken(runtime, block, 0),
    undefined,
    { address: block.start, block: { start: block.start, size: block.size } },
  )
}

function invalid(runtime: Runtime, at: number, name: string): void {
  const t = runtime.argumentT(0)
  const tagged = runtime.heap.ofTag(t)
  const near = tagged ?? runtime.heap.near(at)
  const hex = `0x${at.toString(16)}`
  if (near !== undefined && near.freed >= 0 && at === near.start) {
    runtime.error(
      'double-free',
      `${name} is given a block that is free already`,
      taken(runtime, near, 0),
      undefined,
      {
        address: at,
        block: { start: near.start, size: near.size },
      },
    )
    return
  }
  runtime.error(
    'invalid-free',
    `${name} is given ${hex}, which is not the start of a block`,
    runtime.places.describe(at, 1, t, false).note,
    undefined,
    { address: at, block: near === undefined ? undefined : { start: near.start, size: near.size } },
  )
}

/** Where a block was made, and given back. */
export function taken(runtime: Runtime, block: Block, offset: number): Note[] {
  const { stacks, program } = runtime
  const at = offset === 0 ? 'the start of' : `${offset} bytes into`
  const words = `${at} a block of ${block.size} bytes`
  const made = { text: `taken at`, frames: program.describe(stacks.sites(block.stack)) }
  if (block.freed < 0) return [{ ...made, text: `${words}, taken at` }]
  return [{ text: `${words} that was freed at`, frames: program.describe(stacks.sites(block.freed)) }, made]
}
