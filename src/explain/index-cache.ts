/**
 * Indexes of files, kept on disk by the file's identity. What comes from here is only ever a guess: bytes are
 * compared before anything is said, so a wrong index can cost finds, never cause a false one. A file of the cache
 * that is damaged in any way counts as absent and is removed.
 *
 * <folder>/v2/<hash of identity>.idx: 64 bytes of header, then the records.
 *   0 "LETHEIDX" · 8 u32 version · 12 u32 level · 16 u32 crc of the records · 20 f64 bytes of records · 28 zeros
 * Written beside its place and renamed into it. The least recently used are removed when the folder has grown
 * beyond its limit; a hit refreshes the file's time.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Identity } from '../backing/backing.ts'
import { trimFolder } from '../sys/folder.ts'

const VERSION = 2
const HEADER = 64
const MAGIC = 'LETHEIDX'
const LIMIT = 256 * 2 ** 20

export function defaultCacheFolder(): string {
  const { XDG_CACHE_HOME } = process.env
  return join(XDG_CACHE_HOME?.startsWith('/') ? XDG_CACHE_HOME : join(homedir(), '.cache'), 'lethe')
}

/** Takes the records of one file while it is indexed. `commit` makes them findable; without it they are forgotten. */
export interface IndexWriter {
  append(records: Uint8Array): void
  commit(): void
  abandon(): void
}

export class IndexCache {
  readonly #folder: string
  readonly #limit: number

  constructor(folder: string = defaultCacheFolder(), limit: number = LIMIT) {
    this.#folder = join(folder, `v${VERSION}`)
    this.#limit = limit
  }

  /**
   * Calls `take` with the records of a file, in pieces of at most `block` bytes, if an index of `level` is there and
   * whole. The whole index is checked before the first piece is given.
   */
  load(identity: Identity, level: number, block: number, take: (records: Uint8Array) => void): boolean {
    const path = this.#path(identity)
    let descriptor: number
    try {
      descriptor = openSync(path, 'r')
    } catch {
      return false
    }
    try {
      const header = Buffer.alloc(HEADER)
      if (readSync(descriptor, header, 0, HEADER, 0) !== HEADER) throw new Error('short header')
      if (header.toString('latin1', 0, 8) !== MAGIC || header.readUInt32LE(8) !== VERSION)
        throw new Error('not an index')
      const length = header.readDoubleLE(20)
      if (header.readUInt32LE(12) !== level) return false
      if (statSync(path).size !== HEADER + length) throw new Error('wrong length')
      const buffer = new Uint8Array(Math.min(block, Math.max(length, 1)))
      let sum = 0
      for (let pass = 0; pass < 2; pass++) {
        for (let at = 0; at < length; at += buffer.length) {
          const wanted = Math.min(buffer.length, length - at)
          if (readSync(descriptor, buffer, 0, wanted, HEADER + at) !== wanted) throw new Error('short read')
          const piece = buffer.subarray(0, wanted)
          if (pass === 0) sum = crc32(piece, sum)
          else take(piece)
        }
        if (pass === 0 && sum !== header.readUInt32LE(16)) throw new Error('wrong checksum')
      }
      const now = new Date()
      utimesSync(path, now, now)
      return true
    } catch {
      rmSync(path, { force: true })
      return false
    } finally {
      closeSync(descriptor)
    }
  }

  /** Begins the index of a file; undefined where nothing can be written. */
  store(identity: Identity, level: number): IndexWriter | undefined {
    const path = this.#path(identity)
    const part = `${path}.${process.pid}.part`
    let descriptor: number
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      descriptor = openSync(part, 'w', 0o600)
    } catch {
      return undefined
    }
    let length = 0
    let sum = 0
    let good = true
    const abandon = (): void => {
      if (descriptor >= 0) closeSync(descriptor)
      descriptor = -1
      rmSync(part, { force: true })
    }
    const append = (records: Uint8Array): void => {
      if (!good) return
      try {
        for (let done = 0; done < records.length; ) {
          done += writeSync(descriptor, records, done, records.length - done, HEADER + length + done)
        }
        sum = crc32(records, sum)
        length += records.length
        good = length <= this.#limit / 2
      } catch {
        good = false
      }
    }
    const commit = (): void => {
      if (!good) return abandon()
      try {
        const header = Buffer.alloc(HEADER)
        header.write(MAGIC, 'latin1')
        header.writeUInt32LE(VERSION, 8)
        header.writeUInt32LE(level, 12)
        header.writeUInt32LE(sum, 16)
        header.writeDoubleLE(length, 20)
        writeSync(descriptor, header, 0, HEADER, 0)
        closeSync(descriptor)
        descriptor = -1
        renameSync(part, path)
        trimFolder(this.#folder, this.#limit)
      } catch {
        abandon()
      }
    }
    return { append, commit, abandon }
  }

  #path(identity: Identity): string {
    const { device, inode, size, mtime, ctime } = identity
    const key = createHash('sha256').update([device, inode, size, mtime, ctime].join(' ')).digest('hex')
    return join(this.#folder, `${key.slice(0, 32)}.idx`)
  }
}
