/**
 * The recorder's table (shim/table.h), read from its file while the program runs. What is read is of slightly different moments:
 * a block that comes or goes meanwhile may be missing. Addresses and sizes are numbers (user addresses fit 47 bits).
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'

/** The bytes "HSITES1" and 0. */
const MAGIC = 0x31534554495348n
const HEADER_BYTES = 96
const HEADS = 2 ** 19
const STACK_HEADS = 2 ** 16
const FREED = 2 ** 12
const RANGES = 2 ** 16
const BLOCKS = 2 ** 24
const STACKS = 2 ** 20
const FRAMES = 2 ** 24
const PYTHON_FRAMES = 2 ** 18

const AT_FREED = 4096 + 4 * HEADS + 4 * STACK_HEADS
const AT_RANGES = AT_FREED + 24 * FREED
const AT_BLOCKS = AT_RANGES + 24 * RANGES
const AT_STACKS = AT_BLOCKS + 24 * BLOCKS
const AT_FRAMES = AT_STACKS + 24 * STACKS
const AT_PYTHON_FRAMES = AT_FRAMES + 8 * FRAMES
const AT_TEXT = AT_PYTHON_FRAMES + 32 * PYTHON_FRAMES

/** Offsets in the header that we write. */
const LOOKED = 24
const ANSWERED = 40
const UNSEEN = 80
const EPOCH = 88

export interface Header {
  readonly pid: number
  /** Something had no more room: not everything is recorded. */
  readonly full: boolean
  /** Bytes of live blocks and ranges. */
  readonly live: number
  /** What `live` was when it was last looked at. */
  readonly looked: number
  /** The program waits to be looked at. */
  readonly waits: boolean
  /** Blocks of so many bytes and more are all recorded; of smaller ones, one for every `every` bytes. */
  readonly exact: number
  readonly every: number
}

/** A run of bytes that came about by one stack. */
export interface Block {
  readonly address: number
  readonly bytes: number
  /** Number of its stack. */
  readonly stack: number
  /** Bytes that it stands for: its own, or more for a small one that was chosen among others. */
  readonly weight: number
}

export interface PythonFrame {
  readonly name: string
  readonly file: string
  /** 0: not known. */
  readonly line: number
}

/** Innermost first. */
export interface Stack {
  readonly native: readonly number[]
  readonly python: readonly PythonFrame[]
}

export class Table {
  readonly #file: number

  /** Throws if there is no such file. */
  constructor(path: string) {
    this.#file = openSync(path, 'r+')
  }

  #read(at: number, bytes: number): Buffer {
    const into = Buffer.alloc(bytes)
    for (let got = 0; got < bytes; ) {
      const n = readSync(this.#file, into, got, bytes - got, at + got)
      if (n === 0) break
      got += n
    }
    return into
  }

  /** Undefined: the recorder has not begun. */
  header(): Header | undefined {
    if (fstatSync(this.#file).size < AT_TEXT) return undefined
    const h = this.#read(0, HEADER_BYTES)
    if (h.readBigUInt64LE(0) !== MAGIC) return undefined
    return {
      pid: h.readUInt32LE(8),
      full: h.readUInt32LE(12) !== 0,
      live: Number(h.readBigInt64LE(16)),
      looked: Number(h.readBigUInt64LE(LOOKED)),
      waits: h.readUInt32LE(36) !== h.readUInt32LE(ANSWERED),
      exact: h.readUInt32LE(72),
      every: h.readUInt32LE(76),
    }
  }

  /** Says that the program has been looked at: it need not wait, and goes on. */
  looked(header: Header): void {
    const words = this.#read(0, HEADER_BYTES)
    const fresh = Buffer.alloc(20)
    fresh.writeBigUInt64LE(BigInt(Math.max(0, header.live)))
    fresh.writeUInt32LE((words.readUInt32LE(EPOCH) + 1) >>> 0, 16)
    writeSync(this.#file, fresh, 16, 4, EPOCH)
    writeSync(this.#file, fresh, 8, 8, UNSEEN)
    writeSync(this.#file, fresh, 0, 8, LOOKED)
    writeSync(this.#file, words, 36, 4, ANSWERED)
  }

  #count(index: number): number {
    return this.#read(44 + 4 * index, 4).readUInt32LE(0)
  }

  /** Live blocks by address: those that are all recorded, and those that were chosen. */
  blocks(): { exact: Block[]; chosen: Block[] } {
    const { exact: least = 0, every = 1 } = this.header() ?? {}
    const count = Math.min(BLOCKS, this.#count(0))
    const exact: Block[] = []
    const chosen: Block[] = []
    for (let first = 0; first < count; first += 65_536) {
      const n = Math.min(65_536, count - first)
      const part = this.#read(AT_BLOCKS + 24 * first, 24 * n)
      for (let at = 0; at < 24 * n; at += 24) {
        const address = Number(part.readBigUInt64LE(at))
        if (address === 0) continue
        const bytes = part.readUIntLE(at + 8, 6)
        const stack = part.readUInt32LE(at + 16)
        if (bytes >= least) exact.push({ address, bytes, stack, weight: bytes })
        // One of so many bytes is chosen with probability 1 - exp(-bytes / every).
        else chosen.push({ address, bytes, stack, weight: bytes / -Math.expm1(-Math.max(1, bytes) / every) })
      }
    }
    const byAddress = (a: Block, b: Block): number => a.address - b.address
    return { exact: exact.sort(byAddress), chosen: chosen.sort(byAddress) }
  }

  /** What the program mapped itself, by address, disjoint. */
  ranges(): Block[] {
    const count = Math.min(RANGES, this.#count(5))
    const part = this.#read(AT_RANGES, 24 * count)
    return Array.from({ length: count }, (_, i) => {
      const address = Number(part.readBigUInt64LE(24 * i))
      const bytes = Number(part.readBigUInt64LE(24 * i + 8)) - address
      return { address, bytes, stack: part.readUInt32LE(24 * i + 16), weight: bytes }
    })
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => a.address - b.address)
  }

  /** Large blocks that were freed, the last one first. malloc may have kept them, or given them out again. */
  freed(): Block[] {
    const ever = this.#count(6)
    const ring = this.#read(AT_FREED, 24 * FREED)
    return Array.from({ length: Math.min(ever, FREED) }, (_, i) => {
      const at = 24 * ((ever - 1 - i) % FREED)
      const bytes = Number(ring.readBigUInt64LE(at + 8))
      return {
        address: Number(ring.readBigUInt64LE(at)),
        bytes,
        stack: ring.readUInt32LE(at + 16),
        weight: bytes,
      }
    })
  }

  /** A stack by its number. */
  stack(number: number): Stack {
    const entry = this.#read(AT_STACKS + 24 * number, 24)
    const native = entry.readUInt16LE(12)
    const python = entry.readUInt16LE(14)
    const words = this.#read(AT_FRAMES + 8 * entry.readUInt32LE(8), 8 * (native + python))
    const frames = Array.from({ length: native + python }, (_, i) => Number(words.readBigUInt64LE(8 * i)))
    return { native: frames.slice(0, native), python: frames.slice(native).map(n => this.#python(n)) }
  }

  readonly #pythons = new Map<number, PythonFrame>()

  #python(number: number): PythonFrame {
    let frame = this.#pythons.get(number)
    if (frame === undefined) {
      const entry = this.#read(AT_PYTHON_FRAMES + 32 * number, 32)
      const [line = 0, name = 0, file = 0] = [16, 20, 24].map(at => entry.readUInt32LE(at))
      frame = { name: this.#text(name), file: this.#text(file), line }
      this.#pythons.set(number, frame)
    }
    return frame
  }

  #text(at: number): string {
    const bytes = this.#read(AT_TEXT + at, 1024)
    return bytes.toString('utf8', 0, Math.max(0, bytes.indexOf(0)))
  }

  close(): void {
    closeSync(this.#file)
  }
}
