// What is kept of an epoch so that it can be replayed: the locals it began with, what it read before it wrote it, what the
// host answered. Inputs are runs of bytes, all of them packed: a gap, a length and a kind, and then
//
//   bytes   themselves
//   image   nothing: they are those of the module's own data segments
//   file    a source and an offset: they are those that the guest has read from a file, and lie there still
//   page    the number of a reference: they are those of a page that other epochs make again (references.ts)
//
// Bytes that are 0 are not kept at all: a replay begins with nothing but zeros. What is kept are the bytes of all runs, and then the runs.
import { CallReader } from './calls.ts'
import { encodeInputs, kind, type Runs } from './inputs.ts'
import { pageBytes } from './lenses.ts'
import type { Packer } from './pack.ts'
import { bytesPerReference, type Epoch, type ReadSource } from './protocol.ts'
import type { Reference, References } from './references.ts'

/** A data segment: where it lies when the guest starts. */
export interface Segment {
  readonly at: number
  readonly bytes: Uint8Array
}

export class KeptEpoch {
  readonly id: number
  readonly point: number
  readonly locals: Uint8Array
  readonly globals: readonly (number | bigint)[]
  readonly size: number
  readonly polls: number
  readonly #calls: Uint8Array
  readonly #inputs: Uint8Array
  readonly #image: Image
  readonly #packer: Packer
  /** Pages whose lens needs this epoch. */
  users = 0
  /** CPU time of its last replay, with those that it needs, and its own. */
  milliseconds = 0
  own = 0
  /** The pages that it needs, and that other epochs make. */
  readonly references: readonly Reference[]
  /** 0 without references, else one more than the deepest epoch that is referred to. */
  readonly depth: number

  /** `runs`: its inputs. With `references`, long ones that other epochs make are not kept. */
  constructor(
    epoch: Epoch,
    runs: Runs,
    image: Image,
    brought: Brought,
    packer: Packer,
    references?: References,
  ) {
    this.id = epoch.id
    this.point = epoch.point
    this.locals = epoch.locals
    this.globals = epoch.globals
    this.size = epoch.size
    this.polls = epoch.polls
    this.#calls = packer.pack(epoch.calls)
    this.#image = image
    this.#packer = packer
    const needed: Reference[] = []
    this.#inputs = packer.pack(encodeInputs(runs, image, brought, references, needed))
    this.references = needed
    this.depth = references === undefined || needed.length === 0 ? 0 : 1 + references.depthOf(needed)
  }

  /** Bytes kept: of inputs with locals and globals, of calls. */
  get inputBytes(): number {
    const tables = this.locals.length + this.globals.length * 8 + 16
    return this.#inputs.length + tables + this.references.length * bytesPerReference
  }
  get callBytes(): number {
    return this.#calls.length
  }

  calls(): CallReader {
    return new CallReader(this.#packer.unpack(this.#calls).slice())
  }

  /** `pages`: the bytes of its references. */
  putInputs(memory: Uint8Array, read: ReadSource, pages: readonly Uint8Array[]): void {
    const runs = this.#packer.unpack(this.#inputs)
    const end = runs.length - 4
    let from = 0
    let i = end - new DataView(runs.buffer, runs.byteOffset + end, 4).getUint32(0, true)
    const next = (): number => {
      let value = 0
      for (let factor = 1; ; factor *= 128) {
        const byte = runs[i++] as number
        value += (byte & 127) * factor
        if (byte < 128) return value
      }
    }
    let at = 0
    while (i < end) {
      at += next()
      const word = next()
      const length = word >>> 2
      if ((word & 3) === kind.image) this.#image.put(memory, at, length)
      else if ((word & 3) === kind.file) {
        const source = next()
        read(source, next(), memory.subarray(at, at + length))
      } else if ((word & 3) === kind.page) {
        const from = at % pageBytes
        memory.set((pages[next()] as Uint8Array).subarray(from, from + length), at)
      } else {
        for (let k = 0; k < length; k++) memory[at + k] = runs[from + k] as number
        from += length
      }
      at += length
    }
  }
}

/** The memory as the module's data segments make it. */
export class Image {
  readonly #segments: readonly Segment[]

  constructor(segments: readonly Segment[]) {
    this.#segments = segments
  }

  /** Whether there is a segment in any part of the range. */
  touches(address: number, length: number): boolean {
    for (const { at, bytes } of this.#segments)
      if (at < address + length && address < at + bytes.length) return true
    return false
  }

  /** How many of the bytes from `from` up to `to`, the first of which is at an address, are those of the image: 0 where no segment is. */
  same(address: number, bytes: Uint8Array, from: number, to: number): number {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { at, bytes: own } = this.#segments[i] as Segment
      if (address < at || address >= at + own.length) continue
      const most = Math.min(to - from, at + own.length - address)
      let n = 0
      while (n < most && own[address - at + n] === bytes[from + n]) n++
      return n
    }
    return 0
  }

  put(memory: Uint8Array, at: number, length: number): void {
    for (const segment of this.#segments) {
      const from = Math.max(at, segment.at)
      const to = Math.min(at + length, segment.at + segment.bytes.length)
      if (from < to) memory.set(segment.bytes.subarray(from - segment.at, to - segment.at), from)
    }
  }
}

/** Large stretches of memory that the host has filled from files, the last ones. */
export class Brought {
  readonly #read: ReadSource
  readonly #ranges: Range[] = []
  readonly #bytes = new Uint8Array(2 ** 16)

  constructor(read: ReadSource) {
    this.#read = read
  }

  add(calls: Uint8Array): void {
    const reader = new CallReader(calls)
    for (let call = reader.next(); call !== undefined; call = reader.next())
      for (const write of call.writes) {
        if ('bytes' in write) continue
        const { at, source, offset, length } = write
        const last = this.#ranges.at(-1)
        if (last?.end === at && last.source === source && last.offset + last.end - last.at === offset)
          last.end += length
        else {
          this.#ranges.push({ at, end: at + length, source, offset })
          if (this.#ranges.length > mostRanges) this.#ranges.shift()
        }
      }
  }

  /** Whether any of the bytes came from a file. */
  touches(at: number, length: number): boolean {
    return this.#ranges.some(range => range.at < at + length && at < range.end)
  }

  /** Where in a file the bytes, which are at an address, came from, and how many of them. */
  find(at: number, bytes: Uint8Array): { source: number; offset: number; length: number } | undefined {
    for (let i = this.#ranges.length - 1; i >= 0; i--) {
      const { at: start, end, source, offset } = this.#ranges[i] as Range
      if (at < start || at >= end) continue
      const length = Math.min(bytes.length, end - at, this.#bytes.length)
      const there = this.#bytes.subarray(0, length)
      try {
        this.#read(source, offset + at - start, there)
      } catch {
        return undefined
      }
      if (Buffer.compare(there, bytes.subarray(0, length)) !== 0) return undefined
      return { source, offset: offset + at - start, length }
    }
    return undefined
  }
}
const mostRanges = 32
interface Range {
  readonly at: number
  end: number
  readonly source: number
  readonly offset: number
}
