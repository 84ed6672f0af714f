/**
 * Files of ours that are never believed without a look: indexes and spools.
 *
 * 64 bytes of header, the bytes, then a u32 crc for each block.
 *   0 magic · 8 u32 version · 12 u32 crc of bytes 16 to 63 · 16 f64 length · 24 u32 crc of the crcs · 28 u32 bytes of a block · 32 name
 * The header is written last. Opening checks the header and the crcs; each block is checked when it is read.
 */
import { closeSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import { LensError } from './errors.ts'

const HEADER = 64

let parts = 0
/** Tells parts apart that threads of one process make of the same file at once. */
export const uniquePart = (): string => `${threadId}_${++parts}`

export interface CheckedKind {
  /** 8 characters. */
  readonly magic: string
  readonly version: number
  /** Bytes of a block. */
  readonly block: number
}

/** A file of the kind, whose name inside is 32 bytes, of whom it is about (for errors). */
export interface CheckedName {
  readonly kind: CheckedKind
  readonly name: Buffer
  readonly about: string
}

/** Writes all of `bytes` at `position`. */
function writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done)
}

/** Reads all of `into`; false where the file is too short. */
function readAll(descriptor: number, into: Uint8Array, position: number): boolean {
  for (let done = 0; done < into.length; ) {
    const n = readSync(descriptor, into, done, into.length - done, position + done)
    if (n === 0) return false
    done += n
  }
  return true
}

/** Removes a file, if it is there and can be. */
export function discard(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // A folder on the way is no folder: then there is no file either.
  }
}

const bytesOf = (words: Uint32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

export class CheckedFile {
  /** Bytes, without header and sums. */
  readonly size: number
  readonly #block: Uint8Array
  readonly #about: string
  readonly #sums: Uint32Array
  #descriptor: number
  #cached = -1

  constructor({ kind, about }: CheckedName, descriptor: number, size: number, sums: Uint32Array) {
    this.#about = about
    this.#descriptor = descriptor
    this.size = size
    this.#sums = sums
    this.#block = new Uint8Array(kind.block)
  }

  /** Opens a file; undefined where there is none or header or sums are not as they should be. */
  static open(path: string, expected: CheckedName): CheckedFile | undefined {
    let descriptor: number
    try {
      descriptor = openSync(path, 'r')
    } catch {
      return undefined
    }
    try {
      const { kind, name } = expected
      const header = Buffer.alloc(HEADER)
      if (
        readAll(descriptor, header, 0) &&
        header.toString('latin1', 0, 8) === kind.magic &&
        header.readUInt32LE(8) === kind.version &&
        header.readUInt32LE(12) === crc32(header.subarray(16)) &&
        header.readUInt32LE(28) === kind.block &&
        header.subarray(32).equals(name)
      ) {
        const size = header.readDoubleLE(16)
        const sums = new Uint32Array(Math.ceil(size / kind.block))
        if (
          fstatSync(descriptor).size === HEADER + size + sums.byteLength &&
          readAll(descriptor, bytesOf(sums), HEADER + size) &&
          crc32(bytesOf(sums)) === header.readUInt32LE(24)
        )
          return new CheckedFile(expected, descriptor, size, sums)
      }
    } catch {
      // Unreadable is as good as damaged.
    }
    closeSync(descriptor)
    return undefined
  }

  /** Fills `into` from `offset` on. LensError 'io' where the bytes are not what was written; RangeError beyond the end. */
  read(offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > this.size)
      throw new RangeError(`Invalid read of ${into.length} bytes at ${offset} in ${this.size} bytes`)
    const length = this.#block.length
    for (let done = 0; done < into.length; ) {
      const at = offset + done
      const number = Math.floor(at / length)
      const from = at - number * length
      const n = Math.min(into.length - done, length - from)
      into.set(this.#load(number).subarray(from, from + n), done)
      done += n
    }
  }

  /** Whether every block is what was written. */
  isWhole(): boolean {
    try {
      for (let number = 0; number < this.#sums.length; number++) this.#load(number)
      return true
    } catch {
      return false
    }
  }

  close(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor)
    this.#descriptor = -1
  }

  #load(number: number): Uint8Array {
    const length = Math.min(this.#block.length, this.size - number * this.#block.length)
    const block = length === this.#block.length ? this.#block : this.#block.subarray(0, length)
    if (this.#cached === number) return block
    this.#cached = -1
    let good = false
    let cause: unknown
    try {
      good =
        readAll(this.#descriptor, block, HEADER + number * this.#block.length) &&
        crc32(block) === this.#sums[number]
    } catch (error) {
      cause = error
    }
    if (!good)
      throw new LensError(
        'io',
        this.#about,
        `what was stored of it is damaged in block ${number}; it will be made again`,
        undefined,
        cause,
      )
    this.#cached = number
    return block
  }
}

/** Writes such a file. Errors of the system come through; what was appended before stays readable by `contents`. */
export class CheckedWriter {
  readonly #named: CheckedName
  readonly #path: string
  readonly #sums: number[] = []
  readonly #block: Uint8Array
  #descriptor: number
  #written = 0
  #filled = 0

  /** Makes `path` anew, for the user's eyes only. */
  constructor(path: string, named: CheckedName) {
    this.#named = named
    this.#path = path
    this.#block = new Uint8Array(named.kind.block)
    discard(path)
    this.#descriptor = openSync(path, 'wx+', 0o600)
  }

  /** Bytes appended so far. */
  get size(): number {
    return this.#written + this.#filled
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      if (this.#filled === this.#block.length) this.#flush()
      const n = Math.min(bytes.length - done, this.#block.length - this.#filled)
      this.#block.set(bytes.subarray(done, done + n), this.#filled)
      this.#filled += n
      done += n
    }
  }

  /** Writes what is missing, sums and header, and opens the file; its path is still the one it was made with. */
  finish(): CheckedFile {
    if (this.#filled > 0) this.#flush()
    const sums = Uint32Array.from(this.#sums)
    const { kind, name } = this.#named
    const header = Buffer.alloc(HEADER)
    header.write(kind.magic, 'latin1')
    header.writeUInt32LE(kind.version, 8)
    header.writeDoubleLE(this.#written, 16)
    header.writeUInt32LE(crc32(bytesOf(sums)), 24)
    header.writeUInt32LE(kind.block, 28)
    name.copy(header, 32)
    header.writeUInt32LE(crc32(header.subarray(16)), 12)
    writeAll(this.#descriptor, bytesOf(sums), HEADER + this.#written)
    writeAll(this.#descriptor, header, 0)
    return new CheckedFile(this.#named, this.#descriptor, this.#written, sums)
  }

  /** What was appended so far. */
  contents(): Uint8Array {
    const bytes = new Uint8Array(this.size)
    if (!readAll(this.#descriptor, bytes.subarray(0, this.#written), HEADER))
      throw new LensError('io', this.#named.about, 'cannot read back what was just stored')
    bytes.set(this.#block.subarray(0, this.#filled), this.#written)
    return bytes
  }

  /** Closes and removes the file. */
  abandon(): void {
    if (this.#descriptor < 0) return
    closeSync(this.#descriptor)
    this.#descriptor = -1
    discard(this.#path)
  }

  #flush(): void {
    const block = this.#block.subarray(0, this.#filled)
    writeAll(this.#descriptor, block, HEADER + this.#written)
    this.#sums.push(crc32(block))
    this.#written += this.#filled
    this.#filled = 0
  }
}
