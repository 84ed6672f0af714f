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
 * <folder>/v1/<hash of key>.lix: a checked file (src/lens/checked-file.ts).
 * The least recently found are removed when the folder has grown beyond its limit.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, renameSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { Identity } from '../backing/backing.ts'
import {
  CheckedFile,
  type CheckedKind,
  type CheckedName,
  CheckedWriter,
  discard,
  uniquePart,
} from './checked-file.ts'
import type { Spool } from './spool.ts'

const VERSION = 1
const KIND: CheckedKind = { magic: 'LETHELIX', version: VERSION, block: 4096 }
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
  /** Where whole views are kept that have no random access; without it only small ones can be had. */
  readonly spool?: Spool
  /**
   * Whether `prepare` may take another pass, though the index is there, to keep in the spool what would be costly to make again
   * and again. Whoever serves faults has no time for it.
   */
  readonly thorough?: boolean
}

/** The name of a key: 32 bytes. */
export function keyHash({ identity, lens, version }: IndexKey): Buffer {
  const { device, inode, size, mtime, ctime } = identity
  return createHash('sha256')
    .update(JSON.stringify([device, inode, size, mtime, ctime, lens, version]))
    .digest()
}

const named = (key: IndexKey): CheckedName => ({ kind: KIND, name: keyHash(key), about: key.lens })

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
  readonly spool?: Spool
  readonly #limit: number
  readonly #kept = new Map<string, MemoryIndex>()

  /** `limit` bytes at most; the least recently found go first. */
  constructor(limit: number = 64 * 2 ** 20, spool?: Spool) {
    this.#limit = limit
    if (spool) this.spool = spool
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

/** Small indexes are read at once: thousands of them must not be thousands of open files. */
const SMALL = 16_384

function detached(index: StoredIndex): StoredIndex {
  if (index.size > SMALL) return index
  const bytes = new Uint8Array(index.size)
  index.read(0, bytes)
  index.close()
  return new MemoryIndex(bytes)
}

/** Keeps indexes in a folder, private to the user. */
export class FolderIndexStore implements IndexStore {
  readonly spool?: Spool
  readonly thorough: boolean
  readonly #folder: string
  readonly #limit: number
  /** Bytes put into the folder since we last looked how full it is. */
  #untrimmed = Number.POSITIVE_INFINITY

  /** `limit` bytes at most in `folder`. */
  constructor(folder: string, limit: number = LIMIT, spool?: Spool, thorough = false) {
    this.thorough = thorough
    if (spool) this.spool = spool

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
    const index = CheckedFile.open(path, named(key))
    if (index?.isWhole()) {
      const now = new Date()
      utimesSync(path, now, now)
      return detached(index)
    }
    index?.close()
    discard(path)
    return undefined
  }

  forget(key: IndexKey): void {
    discard(this.#path(key))
  }

  make(key: IndexKey): IndexMaker {
    const path = this.#path(key)
    const part = `${path}.${process.pid}-${uniquePart()}.part`
    let writer: CheckedWriter
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      writer = new CheckedWriter(part, named(key))
    } catch {
      return memoryMaker(() => undefined)
    }
    return fileMaker(writer, () => {
      renameSync(part, path)
      this.#untrimmed += writer.size + KIND.block
      if (this.#untrimmed > this.#limit / 64) this.#trim(path)
    })
  }

  #path(key: IndexKey): string {
    return join(this.#folder, `${keyHash(key).toString('hex', 0, 16)}.lix`)
  }

  #trim(keep: string): void {
    this.#untrimmed = 0
    const files = readdirSync(this.#folder).flatMap(name => {
      const path = join(this.#folder, name)
      const stats = statSync(path, { throwIfNoEntry: false })
      return stats ? [{ path, size: stats.size, time: stats.mtimeMs }] : []
    })
    let total = files.reduce((sum, file) => sum + file.size, 0)
    for (const file of files.toSorted((a, b) => a.time - b.time)) {
      if (total <= this.#limit) break
      if (file.path === keep) continue
      discard(file.path)
      total -= file.size
    }
  }
}

/** Writes an index file; goes on in memory when the disk takes no more. */
function fileMaker(writer: CheckedWriter, place: () => void): IndexMaker {
  let memory: IndexMaker | undefined
  const toMemory = (): IndexMaker => {
    const fallback = memoryMaker(() => undefined)
    fallback.append(writer.contents())
    writer.abandon()
    memory = fallback
    return fallback
  }
  return {
    get size() {
      return (memory ?? writer).size
    },
    append(bytes) {
      if (memory) return memory.append(bytes)
      const before = writer.size
      try {
        writer.append(bytes)
      } catch {
        const taken = writer.size - before
        toMemory().append(bytes.subarray(taken))
      }
    },
    commit() {
      if (memory) return memory.commit()
      try {
        const index = writer.finish()
        place()
        return detached(index)
      } catch {
        return toMemory().commit()
      }
    },
    abandon() {
      memory?.abandon()
      writer.abandon()
    },
  }
}
