// What is kept of an epoch so that it can be replayed: the locals it began with, what it read before it wrote it, what the
// host answered. Inputs are runs of bytes, all of them packed: a gap, a length and a kind, and then
//
//   bytes   themselves
//   image   nothing: they are those of the module's own data segments
//   file    a source and an offset: they are those that the guest has read from a file, and lie there still
import { Writer } from '../wasm/bytes.ts'
import { CallReader } from './calls.ts'
import type { Packer } from './pack.ts'
import type { Epoch, ReadSource } from './protocol.ts'

/** A data segment: where it lies when the guest starts. */
export interface Segment {
  readonly at: number
  readonly bytes: Uint8Array
}

const kind = { bytes: 0, image: 1, file: 2 } as const
/** Shorter runs are kept as bytes. */
const leastFileRun = 24

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

  constructor(epoch: Epoch, image: Image, brought: Brought, packer: Packer) {
    this.id = epoch.id
    this.point = epoch.point
    this.locals = epoch.locals
    this.globals = epoch.globals
    this.size = epoch.size
    this.polls = epoch.polls
    this.#calls = packer.pack(epoch.calls)
    this.#image = image
    this.#packer = packer
    this.#inputs = packer.pack(encodeInputs(epoch.inputs, image, brought))
  }

  /** Bytes kept: of inputs with locals and globals, of calls. */
  get inputBytes(): number {
    return this.#inputs.length + this.locals.length + this.globals.length * 8 + 16
  }
  get callBytes(): number {
    return this.#calls.length
  }

  calls(): CallReader {
    return new CallReader(this.#packer.unpack(this.#calls).slice())
  }

  putInputs(memory: Uint8Array, read: ReadSource): void {
    const runs = this.#packer.unpack(this.#inputs)
    let i = 0
    const next = (): number => {
      let value = 0
      for (let factor = 1; ; factor *= 128) {
        const byte = runs[i++] as number
        value += (byte & 127) * factor
        if (byte < 128) return value
      }
    }
    let at = 0
    while (i < runs.length) {
      at += next()
      const word = next()
      const length = word >>> 2
      if ((word & 3) === kind.image) this.#image.put(memory, at, length)
      else if ((word & 3) === kind.file) {
        const source = next()
        read(source, next(), memory.subarray(at, at + length))
      } else {
        for (let k = 0; k < length; k++) memory[at + k] = runs[i + k] as number
        i += length
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

  /** How many of the bytes that are at an address are those of the image: 0 where no segment is. */
  same(address: number, bytes: Uint8Array): number {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { at, bytes: own } = this.#segments[i] as Segment
      if (address < at || address >= at + own.length) continue
      let n = 0
      while (n < bytes.length && address - at + n < own.length && own[address - at + n] === bytes[n]) n++
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

function encodeInputs(log: Uint8Array, image: Image, brought: Brought): Uint8Array {
  const words = new Uint32Array(log.buffer, log.byteOffset, log.length / 4)
  const entries = new Float64Array(words.length / 2)
  for (let i = 0; i < entries.length; i++)
    entries[i] = (words[2 * i] as number) * 256 + ((words[2 * i + 1] as number) & 255)
  entries.sort()
  const bytes = new Uint8Array(entries.length)
  const w = new Writer(1024)
  let end = 0
  const put = (start: number, run: Uint8Array, what: number): void => {
    w.u32(start - end)
    w.u32(run.length * 4 + what)
    end = start + run.length
  }
  const plain = (start: number, run: Uint8Array): void => {
    for (let from = 0; from < run.length; ) {
      const same = image.same(start + from, run.subarray(from))
      if (same > 7 || same === run.length - from) {
        put(start + from, run.subarray(from, from + same), kind.image)
        from += same
        continue
      }
      let to = from + Math.max(same, 1)
      while (to < run.length && image.same(start + to, run.subarray(to)) < 8) to++
      put(start + from, run.subarray(from, to), kind.bytes)
      w.bytes(run, from, to)
      from = to
    }
  }
  for (let i = 0; i < entries.length; ) {
    const start = Math.floor((entries[i] as number) / 256)
    let n = 0
    // The bytes from here on without a gap; one that was logged twice was the same.
    for (; i < entries.length; i++) {
      const entry = entries[i] as number
      const at = Math.floor(entry / 256)
      if (at === start + n - 1) continue
      if (at !== start + n) break
      bytes[n++] = entry % 256
    }
    for (let from = 0; from < n; ) {
      const rest = bytes.subarray(from, n)
      const file = rest.length >= leastFileRun ? brought.find(start + from, rest) : undefined
      if (file === undefined || file.length < leastFileRun) {
        plain(start + from, rest)
        break
      }
      put(start + from, rest.subarray(0, file.length), kind.file)
      w.u32(file.source)
      w.u64(file.offset)
      from += file.length
    }
  }
  return w.take()
}
