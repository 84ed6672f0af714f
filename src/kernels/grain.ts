/** Which blocks of a sample of pages stand in files, for blocks of 16 bytes and up. See assembly/grain.ts. */
import { instantiate, PAGE, reserve, START, type WasmMemory } from './index.ts'

interface GrainExports {
  readonly memory: WasmMemory
  layout(base: number, pages: number): number
  enter(): void
  scan(from: number, to: number, start: number, end: number): void
  covered(size: number): number
  constant(size: number): number
}

/** Bytes of a file that are looked up in one go. */
const WINDOW = 1 << 20

export class GrainKernel {
  /** The sample; fill it, then call `enter`. */
  readonly pages: Uint8Array<ArrayBuffer>
  readonly #wasm: GrainExports
  readonly #file: Uint8Array

  constructor(pages: number) {
    this.#wasm = instantiate('grain') as GrainExports
    // Asked twice: the place does not depend on the memory being there.
    const at = this.#wasm.layout(START, pages)
    const file = at + pages * PAGE
    reserve(this.#wasm.memory, file + PAGE + WINDOW + PAGE + 64)
    const { buffer } = this.#wasm.memory
    this.pages = new Uint8Array(buffer, at, pages * PAGE)
    this.#file = new Uint8Array(buffer, file, PAGE + WINDOW + PAGE)
  }

  enter(): void {
    this.#wasm.enter()
  }

  /** Looks for the sample in all that `read` gives, which is less than asked for only at the end. The bytes read. */
  scan(read: (offset: number, into: Uint8Array) => number, pause?: () => void): number {
    const file = this.#file
    const base = file.byteOffset
    // A page of what came before, the window, a page of what comes after: matches end at a page at most.
    let start = PAGE
    let held = read(0, file.subarray(PAGE))
    for (let at = 0; held > 0; at += WINDOW) {
      const end = PAGE + held
      this.#wasm.scan(base + PAGE, base + PAGE + Math.min(WINDOW, held), base + start, base + end)
      if (held <= WINDOW) return at + held
      file.copyWithin(0, WINDOW, PAGE + WINDOW + PAGE)
      start = 0
      held = held - WINDOW + read(at + WINDOW + PAGE, file.subarray(2 * PAGE))
      pause?.()
    }
    return 0
  }

  /** Bytes of the sample in aligned blocks of `size` bytes that some file holds. */
  covered(size: number): number {
    return this.#wasm.covered(size) * size
  }

  /** Bytes of the sample in aligned blocks of `size` bytes that hold one byte over and over, and that `covered` does not count. */
  constant(size: number): number {
    return this.#wasm.constant(size) * size
  }
}
