/**
 * Where lenses keep their indexes: seek points of a compressed stream, checkpoints of a text, rows of a table.
 *
 *   maker = store.make(key) → append(bytes)… → commit() → StoredIndex → read(offset, into)… → close()
 *   store.find(key) → StoredIndex, if one is there that is whole
 *
 * An index is named by the identity of its backing, the name of its lens and the version of its layout. Nothing that
 * is damaged is ever believed: a file is checked whole when it is found, and every block again when it is read. What
 * fails the first check counts as absent and is removed; what fails the second is a LensError ('io'), and the
 * lens makes the index again. Files are written beside their place and renamed into it; where nothing can
 * be written, an index is kept in memory instead.
 *
 * <folder>/v1/<hash of key>.lix: 64 bytes of header, the bytes, then a u32 crc for each block of 4096 bytes.
 *   0 "LETHELIX" · 8 u32 version · 12 u32 crc of bytes 16 to 63 · 16 f64 length · 24 u32 crc of the crcs · 28 zeros · 32 hash of key
 * The least recently found are removed when the folder has grown beyond its limit.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Identity } from '../backing/backing.ts'
import { LensError } from './errors.ts'

const VERSION = 1
const HEADER = 64
const MAGIC = 'LETHELIX'
const BLOCK = 4096
const LIMIT = 512 * 2 ** 20

export interface IndexKey {
  readonly identity: Identity
  /** The lens's name. */
  readonly lens: string
  /** Of the lens's own layout; 0 for what `save` keeps. */
  readonly version: number
}

/** A whole index. Reads fail with a LensError ('io') when the bytes are no longer what was written. */
export interface StoredIndex {
  /** In bytes. */
  readonly size: number
  /** Fills `into` with the bytes from `offset` on; all of them must be there. */
  read(offset: number, into: Uint8Array): void
  close(): void
}

/** Takes an index while it is made. */
export interface IndexMaker {
  /** Bytes appended so far. */
  readonly size: number
  append(bytes: Uint8Array): void
  /** Makes it findable. */
  commit(): StoredIndex
  abandon(): void
}

export interface IndexStore {
  /** What was saved, whole and undamaged, or undefined: for indexes that are small. */
  load(identity: Identity, lens: string): Uint8Array | undefined
  save(identity: Identity, lens: string, index: Uint8Array): void
  find(key: IndexKey): StoredIndex | undefined
  make(key: IndexKey): IndexMaker
  /** Removes what is kept under a key, because it turned out to be useless. */
  forget(key: IndexKey): void
}

/** The name of a key: 32 bytes. */
export function keyHash({ identity, lens, version }: IndexKey): Buffer {
  const { device, inode, size, mtime, ctime } = identity
  return createHash('sha256')
    .update(JSON.stringify([device, inode, size, mtime, ctime, lens, version]))
    .digest()
}

function outOfRange(size: number, offset: number, length: number): RangeError {
  return new RangeError(`Invalid read of ${length} bytes at ${offset} in an index of ${size} bytes`)
}

class MemoryIndex implements StoredIndex {
  readonly size: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.size = bytes.length
  }

  read(offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > this.size) throw outOfRange(this.size, offset, into.length)
    into.set(this.#bytes.subarray(offset, offset + into.length))
  }

  close(): void {
    // Nothing is open.
  }
}

function loadFrom(store: IndexStore, identity: Identity, lens: string): Uint8Array | undefined {
  const index = store.find({ identity, lens, version: 0 })
  if (!index) return undefined
  const bytes = new Uint8Array(index.size)
  index.read(0, bytes)
  index.close()
  return bytes
}

function saveTo(store: IndexStore, identity: Identity, lens: string, bytes: Uint8Array): void {
  const maker = store.make({ identity, lens, version: 0 })
  maker.append(bytes)
  maker.commit().close()
}

/** Keeps indexes in memory: for tests, and for views that are looked at once. */
export class MemoryIndexStore implements IndexStore {
  readonly #limit: number
  readonly #kept = new Map<string, MemoryIndex>()

  /** `limit` bytes at most; the least recently found go first. */
  constructor(limit: number = 64 * 2 ** 20) {
    this.#limit = limit
  }

  load(identity: Identity, lens: string): Uint8Array | undefined {
    return loadFrom(this, identity, lens)
  }

  save(identity: Identity, lens: string, index: Uint8Array): void {
    saveTo(this, identity, lens, index)
  }

  find(key: IndexKey): StoredIndex | undefined {
    const name = keyHash(key).toString('hex')
    const index = this.#kept.get(name)
    if (!index) return undefined
    this.#kept.delete(name)
    this.#kept.set(name, index)
    return index
  }

  make(key: IndexKey): IndexMaker {
    const name = keyHash(key).toString('hex')
    return memoryMaker(index => {
      this.#kept.delete(name)
      this.#kept.set(name, index)
      let total = 0
      for (const each of this.#kept.values()) total += each.size
      for (const [old, each] of this.#kept) {
        if (total <= this.#limit || old === name) break
        this.#kept.delete(old)
        total -= each.size
      }
    })
  }

  forget(key: IndexKey): void {
    this.#kept.delete(keyHash(key).toString('hex'))
  }
}

function memoryMaker(done: (index: MemoryIndex) => void): IndexMaker {
  const pieces: Uint8Array[] = []
  let size = 0
  return {
    get size() {
      return size
    },
    append(bytes) {
      pieces.push(bytes.slice())
      size += bytes.length
    },
    commit() {
      const index = new MemoryIndex(Buffer.concat(pieces))
      done(index)
      return index
    },
    abandon() {
      pieces.length = 0
    },
  }
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

class FileIndex implements StoredIndex {
  readonly size: number
  readonly #lens: string
  readonly #sums: Uint32Array
  readonly #block = new Uint8Array(BLOCK)
  #descriptor: number
  #cached = -1

  constructor(lens: string, descriptor: number, size: number, sums: Uint32Array) {
    this.#lens = lens
    this.#descriptor = descriptor
    this.size = size
    this.#sums = sums
  }

  read(offset: number, into: Uint8Array): void {
    if (offset < 0 || offset + into.length > this.size) throw outOfRange(this.size, offset, into.length)
    for (let done = 0; done < into.length; ) {
      const at = offset + done
      const number = Math.floor(at / BLOCK)
      const from = at - number * BLOCK
      const n = Math.min(into.length - done, BLOCK - from)
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
    const length = Math.min(BLOCK, this.size - number * BLOCK)
    const block = length === BLOCK ? this.#block : this.#block.subarray(0, length)
    if (this.#cached === number) return block
    this.#cached = -1
    let good = false
    let cause: unknown
    try {
      good = readAll(this.#descriptor, block, HEADER + number * BLOCK) && crc32(block) === this.#sums[number]
    } catch (error) {
      cause = error
    }
    if (!good)
      throw new LensError(
        'io',
        this.#lens,
        `the stored index is damaged in block ${number}; it will be made again`,
        undefined,
        cause,
      )
    this.#cached = number
    return block
  }
}

const bytesOf = (words: Uint32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Keeps indexes in a folder, private to the user. */
export class FolderIndexStore implements IndexStore {
  readonly #folder: string
  readonly #limit: number

  /** `limit` bytes at most in `folder`. */
  constructor(folder: string, limit: number = LIMIT) {
    this.#folder = join(folder, `v${VERSION}`)
    this.#limit = limit
  }

  load(identity: Identity, lens: string): Uint8Array | undefined {
    return loadFrom(this, identity, lens)
  }

  save(identity: Identity, lens: string, index: Uint8Array): void {
    saveTo(this, identity, lens, index)
  }

  find(key: IndexKey): StoredIndex | undefined {
    const path = this.#path(key)
    let descriptor: number
    try {
      descriptor = openSync(path, 'r')
    } catch {
      return undefined
    }
    try {
      const index = open(key, descriptor)
      if (index?.isWhole()) {
        const now = new Date()
        utimesSync(path, now, now)
        return index
      }
    } catch {
      // Unreadable is as good as damaged.
    }
    closeSync(descriptor)
    rmSync(path, { force: true })
    return undefined
  }

  forget(key: IndexKey): void {
    rmSync(this.#path(key), { force: true })
  }

  make(key: IndexKey): IndexMaker {
    const path = this.#path(key)
    const part = `${path}.${process.pid}.part`
    let descriptor: number
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      rmSync(part, { force: true })
      descriptor = openSync(part, 'wx+', 0o600)
    } catch {
      return memoryMaker(() => undefined)
    }
    return new FileMaker(key, part, descriptor, () => {
      renameSync(part, path)
      this.#trim(path)
    })
  }

  #path(key: IndexKey): string {
    return join(this.#folder, `${keyHash(key).toString('hex', 0, 16)}.lix`)
  }

  #trim(keep: string): void {
    const files = readdirSync(this.#folder).flatMap(name => {
      const path = join(this.#folder, name)
      const stats = statSync(path, { throwIfNoEntry: false })
      return stats ? [{ path, size: stats.size, time: stats.mtimeMs }] : []
    })
    let total = files.reduce((sum, file) => sum + file.size, 0)
    for (const file of files.toSorted((a, b) => a.time - b.time)) {
      if (total <= this.#limit) break
      if (file.path === keep) continue
      rmSync(file.path, { force: true })
      total -= file.size
    }
  }
}

/** Header and sums of an index file; undefined where they are not what we write. */
function open(key: IndexKey, descriptor: number): FileIndex | undefined {
  const header = Buffer.alloc(HEADER)
  if (!readAll(descriptor, header, 0)) return undefined
  if (header.toString('latin1', 0, 8) !== MAGIC || header.readUInt32LE(8) !== VERSION) return undefined
  if (header.readUInt32LE(12) !== crc32(header.subarray(16))) return undefined
  if (!header.subarray(32).equals(keyHash(key))) return undefined
  const size = header.readDoubleLE(16)
  const sums = new Uint32Array(Math.ceil(size / BLOCK))
  if (fstatSync(descriptor).size !== HEADER + size + sums.byteLength) return undefined
  if (!readAll(descriptor, bytesOf(sums), HEADER + size)) return undefined
  if (crc32(bytesOf(sums)) !== header.readUInt32LE(24)) return undefined
  return new FileIndex(key.lens, descriptor, size, sums)
}

class FileMaker implements IndexMaker {
  readonly #key: IndexKey
  readonly #part: string
  readonly #place: () => void
  readonly #sums: number[] = []
  readonly #block = new Uint8Array(BLOCK)
  #descriptor: number
  #written = 0
  #filled = 0
  /** Takes over when the file can't be written any more. */
  #memory: IndexMaker | undefined

  constructor(key: IndexKey, part: string, descriptor: number, place: () => void) {
    this.#key = key
    this.#part = part
    this.#descriptor = descriptor
    this.#place = place
  }

  get size(): number {
    return this.#memory ? this.#memory.size : this.#written + this.#filled
  }

  append(bytes: Uint8Array): void {
    if (this.#memory) return this.#memory.append(bytes)
    for (let done = 0; done < bytes.length; ) {
      const n = Math.min(bytes.length - done, BLOCK - this.#filled)
      this.#block.set(bytes.subarray(done, done + n), this.#filled)
      this.#filled += n
      done += n
      if (this.#filled === BLOCK && !this.#flush()) {
        this.#toMemory()
        return this.append(bytes.subarray(done))
      }
    }
  }

  commit(): StoredIndex {
    if (this.#memory) return this.#memory.commit()
    if (this.#filled > 0 && !this.#flush()) return this.#toMemory().commit()
    const sums = Uint32Array.from(this.#sums)
    const size = this.#written
    try {
      const header = Buffer.alloc(HEADER)
      header.write(MAGIC, 'latin1')
      header.writeUInt32LE(VERSION, 8)
      header.writeDoubleLE(size, 16)
      header.writeUInt32LE(crc32(bytesOf(sums)), 24)
      keyHash(this.#key).copy(header, 32)
      header.writeUInt32LE(crc32(header.subarray(16)), 12)
      writeAll(this.#descriptor, bytesOf(sums), HEADER + size)
      writeAll(this.#descriptor, header, 0)
      this.#place()
    } catch {
      return this.#toMemory().commit()
    }
    return new FileIndex(this.#key.lens, this.#descriptor, size, sums)
  }

  abandon(): void {
    this.#memory?.abandon()
    this.#close()
  }

  /** Writes the block, whole or the last one; false if the disk won't take it. */
  #flush(): boolean {
    const block = this.#block.subarray(0, this.#filled)
    try {
      writeAll(this.#descriptor, block, HEADER + this.#written)
    } catch {
      return false
    }
    this.#sums.push(crc32(block))
    this.#written += this.#filled
    this.#filled = 0
    return true
  }

  /** The bytes so far, from the file and the unwritten block, go on in memory. */
  #toMemory(): IndexMaker {
    const memory = memoryMaker(() => undefined)
    const written = new Uint8Array(this.#written)
    if (!readAll(this.#descriptor, written, HEADER))
      throw new LensError('io', this.#key.lens, 'cannot read back the index that is being made')
    memory.append(written)
    memory.append(this.#block.subarray(0, this.#filled))
    this.#memory = memory
    this.#close()
    return memory
  }

  #close(): void {
    if (this.#descriptor < 0) return
    closeSync(this.#descriptor)
    this.#descriptor = -1
    rmSync(this.#part, { force: true })
  }
}
