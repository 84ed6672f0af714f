// What is kept of an epoch so that it can be replayed: the locals it began with, what it read before it wrote it, what the
// host answered. Inputs are runs of bytes: a gap, a length with a bit that says whether the bytes are those of the
// module's own data segments (which are not stored), and the bytes; all of it packed.
import { Writer } from '../wasm/bytes.ts'
import type { Packer } from './pack.ts'
import type { Epoch, HostCall } from './protocol.ts'

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
  readonly calls: readonly HostCall[]
  readonly #inputs: Uint8Array
  readonly #image: Image
  readonly #packer: Packer
  /** Pages whose lens needs this epoch. */
  users = 0

  constructor(epoch: Epoch, image: Image, packer: Packer) {
    this.id = epoch.id
    this.point = epoch.point
    this.locals = epoch.locals
    this.globals = epoch.globals
    this.size = epoch.size
    this.polls = epoch.polls
    this.calls = epoch.calls
    this.#image = image
    this.#packer = packer
    this.#inputs = packer.pack(encodeInputs(epoch.inputs, image))
  }

  /** Bytes kept: of inputs with locals and globals, of calls. */
  get inputBytes(): number {
    return this.#inputs.length + this.locals.length + this.globals.length * 8 + 16
  }
  get callBytes(): number {
    let sum = 0
    for (const call of this.calls) {
      sum += 4
      for (const write of call.writes) sum += 'bytes' in write ? 6 + write.bytes.length : 14
    }
    return sum
  }

  putInputs(memory: Uint8Array): void {
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
      const length = word >>> 1
      if (word & 1) this.#image.put(memory, at, length)
      else {
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

  /** The byte at an address; 0 where no segment is. */
  at(address: number): number {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const { at, bytes } = this.#segments[i] as Segment
      if (address >= at && address < at + bytes.length) return bytes[address - at] as number
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

function encodeInputs(log: Uint8Array, image: Image): Uint8Array {
  const words = new Uint32Array(log.buffer, log.byteOffset, log.length / 4)
  const entries = new Float64Array(words.length / 2)
  for (let i = 0; i < entries.length; i++)
    entries[i] = (words[2 * i] as number) * 256 + ((words[2 * i + 1] as number) & 255)
  entries.sort()
  const w = new Writer(1024)
  let end = 0
  const bytes: number[] = []
  let start = 0
  let ofImage = false
  const flush = (): void => {
    if (bytes.length === 0) return
    w.u32(start - end)
    w.u32(bytes.length * 2 + (ofImage ? 1 : 0))
    if (!ofImage) for (const byte of bytes) w.byte(byte)
    end = start + bytes.length
    bytes.length = 0
  }
  let before = -1
  for (const entry of entries) {
    const at = Math.floor(entry / 256)
    const value = entry % 256
    if (at === before) continue
    const same = image.at(at) === value
    if (at !== before + 1 || (ofImage && !same && bytes.length > 7)) {
      flush()
      start = at
      ofImage = same
    } else ofImage &&= same
    bytes.push(value)
    before = at
  }
  flush()
  return w.take()
}
