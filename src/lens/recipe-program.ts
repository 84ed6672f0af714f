/**
 * The program of a page: which of its bytes come from where. What no step covers are literals, kept beside the program in
 * the order in which they stand in the page.
 *
 *   copy      `length` bytes of a source, as they are
 *   strided   `count` elements of `width` bytes of a source, which lie `step` elements apart there and `stride` bytes apart
 *             here
 *   sequence  `count` words of 8 bytes, `stride` bytes apart: `value`, `value + difference`, …
 *
 * Bytes: a step is its kind and varints; an offset is told from the end of the step before that used the same source.
 * Steps never overlap. A program is read in a page of 4096 bytes and nowhere else.
 */
import { LensError } from './errors.ts'

const PAGE = 4096

export type Step =
  | {
      readonly kind: 'copy'
      readonly at: number
      readonly length: number
      readonly source: number
      readonly offset: number
    }
  | {
      readonly kind: 'strided'
      readonly at: number
      readonly count: number
      readonly stride: number
      readonly width: number
      readonly step: number
      readonly source: number
      readonly offset: number
    }
  | {
      readonly kind: 'sequence'
      readonly at: number
      readonly count: number
      readonly stride: number
      readonly value: bigint
      readonly difference: bigint
    }

/** Fills `into` with a source's bytes from `offset` on; all of them must be there. */
export type ReadSource = (source: number, offset: number, into: Uint8Array) => void

const COPY = 0
const STRIDED = 1
const CONSTANT = 2
const SEQUENCE = 3
/** Bytes that the longest step takes. */
const MOST_STEP = 64
/** Elements apart that a step may read. */
const MOST_APART = 4096

/** Elements from the first to the last of `count` that stand `step` apart, both included. */
const spanOf = (count: number, step: number): number => (count - 1) * step + 1

/** Writes programs. One for many pages: what it gives is valid until the next call. */
export class ProgramWriter {
  readonly #bytes = new Uint8Array(PAGE)
  readonly #words = new DataView(this.#bytes.buffer)
  #length = 0
  readonly #next = new Map<number, number>()

  /** The program of these steps, or undefined if it would be longer than a page. */
  program(steps: readonly Step[]): Uint8Array | undefined {
    this.#length = 0
    this.#next.clear()
    for (const step of steps) {
      if (this.#length + MOST_STEP > PAGE) return undefined
      this.#step(step)
    }
    return this.#bytes.subarray(0, this.#length)
  }

  #step(step: Step): void {
    switch (step.kind) {
      case 'copy':
        this.#byte(COPY)
        this.#number(step.at)
        this.#number(step.length)
        this.#place(step.source, step.offset, step.length)
        return
      case 'strided':
        this.#byte(STRIDED)
        this.#number(step.at)
        this.#number(step.count)
        this.#number(step.stride)
        this.#number(step.width)
        this.#number(step.step)
        this.#place(step.source, step.offset, spanOf(step.count, step.step) * step.width)
        return
      case 'sequence':
        this.#byte(step.difference === 0n ? CONSTANT : SEQUENCE)
        this.#number(step.at)
        this.#number(step.count)
        this.#number(step.stride)
        this.#word(step.value)
        if (step.difference !== 0n) this.#word(step.difference)
    }
  }

  #place(source: number, offset: number, length: number): void {
    this.#number(source)
    const distance = offset - (this.#next.get(source) ?? 0)
    this.#number(distance < 0 ? -distance * 2 - 1 : distance * 2)
    this.#next.set(source, offset + length)
  }

  #byte(value: number): void {
    this.#bytes[this.#length++] = value
  }

  #number(value: number): void {
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#byte(128 + (rest % 128))
    this.#byte(rest)
  }

  #word(value: bigint): void {
    this.#words.setBigUint64(this.#length, value, true)
    this.#length += 8
  }
}

/** Runs programs. Nothing is kept between two runs. */
export class ProgramRunner {
  /** A byte for each of the page's: 1 where a step has made it. */
  readonly #mask = new Uint8Array(PAGE)
  readonly #maskWords = new Uint32Array(this.#mask.buffer)
  /** The page, where words can be written. */
  readonly #page = new Uint8Array(PAGE)
  readonly #words = new Uint32Array(this.#page.buffer)
  #elements = new Uint8Array(PAGE)
  readonly #next = new Map<number, number>()
  #program: Uint8Array = new Uint8Array(0)
  #at = 0
  // The word that was read last.
  #low = 0
  #high = 0

  /** Makes a page (4096 bytes of `out`). LensError 'corrupt' where the program is none, or leaves a literal too many. */
  run(program: Uint8Array, literals: Uint8Array, read: ReadSource, out: Uint8Array): void {
    this.#program = program
    this.#at = 0
    this.#next.clear()
    this.#mask.fill(0)
    while (this.#at < program.length) this.#step(read)
    const page = this.#page
    const mask = this.#mask
    let n = 0
    for (let i = 0; i < PAGE; i++) if (mask[i] === 0) page[i] = literals[n++] ?? 0
    if (n !== literals.length) throw corrupt(`it has ${literals.length} literals for ${n} bytes`)
    out.set(page)
  }

  #step(read: ReadSource): void {
    const kind = this.#byte()
    const at = this.#number()
    if (kind === COPY) {
      const length = this.#number()
      if (at + length > PAGE) throw corrupt(`a step ends at ${at + length}`)
      this.#mask.fill(1, at, at + length)
      this.#read(read, this.#page.subarray(at, at + length))
      return
    }
    const count = this.#number()
    const stride = this.#number()
    const width = kind === STRIDED ? this.#number() : 8
    const step = kind === STRIDED ? this.#number() : 1
    const end = at + (count - 1) * stride + width
    if (
      kind > SEQUENCE ||
      count < 1 ||
      width < 1 ||
      width > stride ||
      end > PAGE ||
      step < 1 ||
      step > MOST_APART
    )
      throw corrupt(`a step of kind ${kind} ends at ${end}`)
    if (kind === STRIDED) {
      const bytes = spanOf(count, step) * width
      if (bytes > this.#elements.length) this.#elements = new Uint8Array(Math.ceil(bytes / 4) * 4)
      this.#read(read, this.#elements.subarray(0, bytes))
    } else this.#count(count, kind)
    if (((at | stride | width) & 3) === 0) this.#putWords(at >> 2, count, stride >> 2, width >> 2, step)
    else this.#putBytes(at, count, stride, width, step)
  }

  /** At most 512 words that count up, or stay the same, as elements. Two halves and a carry: a bigint for each word costs more than the page. */
  #count(count: number, kind: number): void {
    this.#word()
    let low = this.#low
    let high = this.#high
    if (kind === CONSTANT) this.#low = this.#high = 0
    else this.#word()
    const words = new Uint32Array(this.#elements.buffer, 0, 2 * count)
    for (let i = 0; i < words.length; i += 2) {
      words[i] = low
      words[i + 1] = high
      const sum = low + this.#low
      low = sum >>> 0
      high = (high + this.#high + (sum > low ? 1 : 0)) >>> 0
    }
  }

  #putWords(at: number, count: number, stride: number, width: number, step: number): void {
    const page = this.#words
    const mask = this.#maskWords
    const elements = new Uint32Array(this.#elements.buffer)
    for (let i = 0, from = 0, here = at; i < count; i++, here += stride, from += step * width)
      for (let k = 0; k < width; k++) {
        page[here + k] = elements[from + k] ?? 0
        mask[here + k] = 0x0101_0101
      }
  }

  #putBytes(at: number, count: number, stride: number, width: number, step: number): void {
    const page = this.#page
    const mask = this.#mask
    const elements = this.#elements
    for (let i = 0, from = 0, here = at; i < count; i++, here += stride, from += step * width)
      for (let k = 0; k < width; k++) {
        page[here + k] = elements[from + k] ?? 0
        mask[here + k] = 1
      }
  }

  #read(read: ReadSource, into: Uint8Array): void {
    const source = this.#number()
    const coded = this.#number()
    const distance = coded % 2 === 1 ? -(coded + 1) / 2 : coded / 2
    const offset = (this.#next.get(source) ?? 0) + distance
    this.#next.set(source, offset + into.length)
    if (offset < 0) throw corrupt(`a step reads at ${offset}`)
    read(source, offset, into)
  }

  #byte(): number {
    const value = this.#program[this.#at++]
    if (value === undefined) throw corrupt('it ends within a step')
    return value
  }

  #number(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte()
      value += (byte & 127) * factor
      if (byte < 128) return value
      if (factor > 2 ** 46) throw corrupt('a number is too long')
    }
  }

  #word(): void {
    const half = (): number =>
      (this.#byte() | (this.#byte() << 8) | (this.#byte() << 16) | (this.#byte() << 24)) >>> 0
    this.#low = half()
    this.#high = half()
  }
}

const corrupt = (why: string): LensError =>
  new LensError('corrupt', 'recipe', `a page's program is damaged: ${why}`)
