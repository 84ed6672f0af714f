// The allocators as WebAssembly: the same sources, compiled by scripts/build.mjs into this folder.
import { readFileSync } from 'node:fs'
import type { Allocator, Policy } from './allocator.ts'
import { type HeapMemory, STATE } from './memory.ts'
import { moduleOf, type Setups, setUp } from './script.ts'

/** What we use of WebAssembly; neither es2024 nor @types/node declares it. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum?: number }) => LinearMemory
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: { env: { memory: LinearMemory; abort(): never } },
  ) => { readonly exports: unknown }
}

/** A WebAssembly.Memory. */
export interface LinearMemory {
  readonly buffer: ArrayBuffer
  grow(wasmPages: number): number
}

interface Exports extends Allocator {
  readonly setup: Setups['lists'] & Setups['other']
  place(base: number, limit: number): void
  currentBreak(): number
}

const modules = new Map<string, object>()

/** The exports of a compiled allocator, on `memory`. */
export function instantiate(name: 'best' | 'buddy' | 'lists' | 'collector', memory: LinearMemory): unknown {
  let module = modules.get(name)
  if (module === undefined) {
    module = new WebAssembly.Module(readFileSync(new URL(`./${name}.wasm`, import.meta.url)))
    modules.set(name, module)
  }
  const abort = (): never => {
    throw new Error(`lethe: the allocator ${name} aborted`)
  }
  return new WebAssembly.Instance(module, { env: { memory, abort } }).exports
}

/** A new memory of one wasm page. */
export function linearMemory(maximum = 32_768): LinearMemory {
  return new WebAssembly.Memory({ initial: 1, maximum })
}

/** The heap in a WebAssembly memory, seen from JavaScript. */
export class WasmMemory implements HeapMemory {
  readonly base: number
  readonly memory: LinearMemory
  readonly #break: () => number
  #buffer: ArrayBuffer | undefined
  #words = new Int32Array(0)
  #bytes = new Uint8Array(0)

  constructor(memory: LinearMemory, base: number, currentBreak: () => number) {
    this.memory = memory
    this.base = base
    this.#break = currentBreak
  }
  #fresh(): void {
    const { buffer } = this.memory
    if (buffer === this.#buffer) return
    this.#buffer = buffer
    this.#words = new Int32Array(buffer)
    this.#bytes = new Uint8Array(buffer)
  }
  get brk(): number {
    return this.#break()
  }
  load32(at: number): number {
    this.#fresh()
    return this.#words[at >> 2] as number
  }
  store32(at: number, word: number): void {
    this.#fresh()
    this.#words[at >> 2] = word
  }
  /** The compiled allocator alone moves the break. */
  sbrk(): number {
    return -1
  }
  move(to: number, from: number, bytes: number): void {
    this.bytes().copyWithin(to, from, from + bytes)
  }
  zero(at: number, bytes: number): void {
    this.bytes().fill(0, at, at + bytes)
  }
  bytes(): Uint8Array {
    this.#fresh()
    return this.#bytes
  }
}

/**
 * An empty heap in `memory` from `base` on, at most up to `limit`, run as WebAssembly. The memory grows with the heap. RangeError
 * where it can't have one page.
 */
export function wasmAllocator(
  memory: LinearMemory,
  policy: Policy,
  base: number,
  limit: number,
): { allocator: Allocator; memory: WasmMemory } {
  const end = base + STATE
  const missing = Math.ceil((end - memory.buffer.byteLength) / 65_536)
  if (missing > 0) memory.grow(missing)
  const wasm = instantiate(moduleOf(policy), memory) as Exports
  wasm.place(base, Math.min(limit, 0x7ffff000))
  if (!setUp({ lists: wasm.setup, other: wasm.setup }, policy))
    throw new RangeError(`Invalid memory: no room for a heap of one page behind ${end}`)
  return { allocator: wasm, memory: new WasmMemory(memory, base, wasm.currentBreak) }
}
