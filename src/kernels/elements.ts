/** Element kernel: arrays of numbers to another element type, base64 and hex, from one buffer to another. */
import { instantiate, reserve, START, type WasmMemory } from './index.ts'
import { Pool } from './pool.ts'

/** Bytes that `input` and `output` hold: a refill of 64 KiB, and the groups at its edges. */
export const ROOM: number = 65_536 + 512
/** Kernels read and write up to this many bytes too many. */
const SLACK = 256

/** The kernel's number of an element type, and its bytes. */
export const sources = {
  u8: { number: 0, bytes: 1 },
  i8: { number: 1, bytes: 1 },
  u16: { number: 2, bytes: 2 },
  i16: { number: 3, bytes: 2 },
  i32: { number: 4, bytes: 4 },
  u32: { number: 5, bytes: 4 },
  f16: { number: 6, bytes: 2 },
  bf16: { number: 7, bytes: 2 },
  f32: { number: 8, bytes: 4 },
  f64: { number: 9, bytes: 8 },
  'u8/255': { number: 10, bytes: 1 },
  'u8*1/255': { number: 11, bytes: 1 },
  rgb: { number: 12, bytes: 3 },
  i64: { number: 13, bytes: 8 },
  'i16/32768': { number: 17, bytes: 2 },
  'i16/32767': { number: 18, bytes: 2 },
  'u16/65535': { number: 19, bytes: 2 },
  'u8/256': { number: 20, bytes: 1 },
  'u8/127.5-1': { number: 21, bytes: 1 },
  'i8/128': { number: 22, bytes: 1 },
  'i8/127': { number: 23, bytes: 1 },
} as const

export const targets = {
  u16: { number: 2, bytes: 2 },
  i16: { number: 2, bytes: 2 },
  u32: { number: 4, bytes: 4 },
  i32: { number: 4, bytes: 4 },
  f32: { number: 8, bytes: 4 },
  f64: { number: 9, bytes: 8 },
  i64: { number: 13, bytes: 8 },
  u64: { number: 13, bytes: 8 },
  rgba: { number: 14, bytes: 4 },
  bgra: { number: 15, bytes: 4 },
  swapped: { number: 16, bytes: 0 },
} as const

export type Source = keyof typeof sources
export type Target = keyof typeof targets

interface ElementExports {
  readonly memory: WasmMemory
  convert(source: number, target: number, at: number, n: number, out: number): void
  candidates(source: number, target: number, at: number, n: number, out: number): void
  equal(a: number, b: number, n: number): number
  bytesToBase64(at: number, lines: number, groups: number, gap: number, out: number): void
  base64ToBytes(at: number, lines: number, groups: number, gap: number, out: number): void
  bytesToHex(at: number, n: number, letter: number, out: number): void
  hexToBytes(at: number, n: number, out: number): void
}

/** What a step of a kernel does to whole groups: from one address to another. */
export type Step = (wasm: ElementExports, from: number, lines: number, to: number) => void

export class ElementKernel {
  readonly input: Uint8Array
  readonly output: Uint8Array
  readonly #again: number
  readonly #wasm: ElementExports

  constructor() {
    this.#wasm = instantiate('elements') as ElementExports
    const room = ROOM + SLACK
    this.#again = START + 2 * room
    reserve(this.#wasm.memory, START + 3 * room)
    this.input = new Uint8Array(this.#wasm.memory.buffer, START, room)
    this.output = new Uint8Array(this.#wasm.memory.buffer, START + room, room)
  }

  /** `lines` lines (or elements) of the input to the output. */
  forward(step: Step, lines: number): void {
    step(this.#wasm, START, lines, this.output.byteOffset)
  }

  /**
   * The way back, from the output to the input, then forward again: whether that gives the first `bytes` bytes of
   * the output as they are.
   */
  backward(back: Step, step: Step, lines: number, bytes: number): boolean {
    back(this.#wasm, this.output.byteOffset, lines, START)
    step(this.#wasm, START, lines, this.#again)
    return this.#wasm.equal(this.output.byteOffset, this.#again, bytes) !== 0
  }
}

export const elementKernels: Pool<ElementKernel> = new Pool(() => new ElementKernel())
