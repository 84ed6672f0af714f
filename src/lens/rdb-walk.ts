/**
 * Goes through a dump of Redis (RDB, all versions to 13, https://rdb.fnordig.de and redis's rdb.c), to find the strings in it that are
 * compressed.
 *
 * A dump is a sequence of things, each of which says by its first byte how long it is; nothing tells where one begins but
 * the one before. A walk goes on from a place: what it is in, how many things are left of that, and how many bytes of a
 * string that it is in. That is little enough to be kept for every block of the view.
 *
 * What a walk does not know, such as a type of a later version, and what is damaged, is taken as it is, with all that follows.
 */
import type { Backing } from '../backing/backing.ts'
import { LzfKernel } from '../kernels/lzf.ts'
import { Pool } from '../kernels/pool.ts'

/** Strings that are larger than this, packed or not, stay as they are. */
export const MOST_STRING: number = 2 ** 21

/** What comes next. */
const TOP = 0
const STRINGS = 1
const SCORED = 2
const SCORED_BINARY = 3
const NODES = 4
const EXPIRING = 5
const STREAM = 6
const STREAM_2 = 7
const STREAM_3 = 8
const MODULE = 9
const REST = 10

/** Types of values that are one string. */
const singles: ReadonlySet<number> = new Set([0, 9, 10, 11, 12, 13, 16, 17, 20, 23, 25])
/** What the types of values are that have more than one string, after their number. */
const kinds: ReadonlyMap<number, number> = new Map([
  [1, STRINGS], // list
  [2, STRINGS], // set
  [3, SCORED],
  [4, STRINGS], // hash
  [5, SCORED_BINARY],
  [7, MODULE],
  [14, STRINGS], // list of ziplists
  [15, STREAM],
  [18, NODES],
  [19, STREAM_2],
  [21, STREAM_3],
  [22, EXPIRING],
  [24, EXPIRING],
])

/** Where a walk is. */
export interface Place {
  /** Offset in the file. */
  at: number
  kind: number
  /** Things that are left of it. */
  left: number
  /** Bytes of a string that are passed over first. */
  skip: number
}

/** What a walk finds, in order. */
export interface Sink {
  /** Bytes of the file that are as they are in the view. */
  plain(at: number, length: number): void
  /** What a compressed string holds; good during the call only. */
  unpacked(bytes: Uint8Array): void
}

class Unknown extends Error {}

const kernels = new Pool(() => new LzfKernel(MOST_STRING))

const MAGIC = /^(?:REDIS\d{4}|VALKEY\d{3})/
const HEAD = 9

/** Whether it says that it is a dump. */
export function isDump(backing: Backing): boolean {
  const head = Buffer.alloc(HEAD)
  return backing.read(0, head) === HEAD && MAGIC.test(head.toString('latin1'))
}

const WINDOW = 2 ** 17

export class Walk implements Place {
  at: number
  kind: number
  left: number
  skip: number
  readonly #backing: Backing
  readonly #size: number
  readonly #sink: Sink
  readonly #window = Buffer.alloc(WINDOW)
  #windowAt = 0
  #windowBytes = 0
  /** From here to `at` all is plain, and the sink does not know yet. */
  #from = 0

  constructor(backing: Backing, sink: Sink, { at, kind, left, skip }: Place) {
    this.#backing = backing
    this.#size = backing.size
    this.#sink = sink
    this.at = at
    this.kind = kind
    this.left = left
    this.skip = skip
  }

  /** From the first byte on. */
  static begin(backing: Backing, sink: Sink): Walk {
    return new Walk(backing, sink, { at: 0, kind: TOP, left: 0, skip: HEAD })
  }

  get place(): Place {
    const { at, kind, left, skip } = this
    return { at, kind, left, skip }
  }

  /** Passes over bytes of the string that it is in, `most` at most. */
  pass(most: number): void {
    const bytes = Math.min(this.skip, most)
    this.#sink.plain(this.at, bytes)
    this.at += bytes
    this.skip -= bytes
  }

  /** The next thing, but for the bytes of a plain string at its end, which are to be passed over then. False at the file's end. */
  step(): boolean {
    if (this.at >= this.#size) return false
    this.#from = this.at
    try {
      if (this.kind === REST) this.skip = this.#size - this.at
      else this.#next()
    } catch (error) {
      if (!(error instanceof Unknown)) throw error
      // The compressed strings of this thing that the sink has seen already were good.
      this.at = this.#from
      this.kind = REST
    }
    if (this.at > this.#from) this.#sink.plain(this.#from, this.at - this.#from)
    return true
  }

  #next(): void {
    if (this.kind === TOP) return this.#top()
    if (this.kind === MODULE) return this.#module()
    if (this.left === 0) {
      if (this.kind >= STREAM) this.#streamEnd(this.kind)
      this.kind = TOP
      return
    }
    this.left--
    if (this.kind === STRINGS) return this.#string(true)
    if (this.kind === SCORED) {
      this.#string()
      const length = this.#byte()
      return this.#over(length < 253 ? length : 0)
    }
    if (this.kind === SCORED_BINARY) {
      this.#string()
      return this.#over(8)
    }
    if (this.kind === NODES) {
      this.#length()
      return this.#string(true)
    }
    if (this.kind === EXPIRING) this.#length()
    this.#string()
    this.#string(true)
  }

  #top(): void {
    const code = this.#byte()
    if (code >= 0xf4) return this.#special(code)
    this.#string() // the key
    if (code === 24 || code === 25) this.#over(8)
    if (singles.has(code)) return this.#string(true)
    const kind = kinds.get(code)
    if (kind === undefined) throw new Unknown()
    this.left = this.#length() * (code === 4 ? 2 : 1)
    this.kind = kind
  }

  #special(code: number): void {
    if (code === 0xff || code === 0xf6) {
      // The end, with its sum; or functions as only some candidates of version 7 had them.
      this.kind = REST
    } else if (code === 0xfa) {
      this.kind = STRINGS
      this.left = 2
    } else if (code === 0xf5) this.#string(true)
    else if (code === 0xf7) {
      this.#length()
      this.kind = MODULE
    } else if (code === 0xf9) this.#over(1)
    else if (code === 0xfd) this.#over(4)
    else if (code === 0xfc) this.#over(8)
    else for (let lengths = code === 0xfb ? 2 : code === 0xf4 ? 3 : 1; lengths > 0; lengths--) this.#length()
  }

  #module(): void {
    const code = this.#length()
    if (code === 0) this.kind = TOP
    else if (code === 1 || code === 2) this.#length()
    else if (code === 3) this.#over(4)
    else if (code === 4) this.#over(8)
    else if (code === 5) this.#string(true)
    else throw new Unknown()
  }

  // What follows the nodes of a stream: what it knows of itself, and who reads it.
  #streamEnd(kind: number): void {
    for (let n = kind === STREAM ? 3 : 8; n > 0; n--) this.#length()
    for (let groups = this.#length(); groups > 0; groups--) {
      this.#string()
      for (let n = kind === STREAM ? 2 : 3; n > 0; n--) this.#length()
      for (let pending = this.#length(); pending > 0; pending--) {
        this.#over(24)
        this.#length()
      }
      for (let consumers = this.#length(); consumers > 0; consumers--) {
        this.#string()
        this.#over(kind === STREAM_3 ? 16 : 8)
        this.#over(16 * this.#length())
      }
    }
  }

  #byte(): number {
    return this.#bytes(1)[0] as number
  }

  #bytes(count: number): Buffer {
    if (this.at + count > this.#size) throw new Unknown()
    if (count > WINDOW) {
      const bytes = Buffer.alloc(count)
      if (this.#backing.read(this.at, bytes) < count) throw new Unknown()
      this.at += count
      return bytes
    }
    if (this.at < this.#windowAt || this.at + count > this.#windowAt + this.#windowBytes) {
      this.#windowAt = this.at
      this.#windowBytes = this.#backing.read(this.at, this.#window)
      if (this.#windowBytes < count) throw new Unknown()
    }
    const from = this.at - this.#windowAt
    this.at += count
    return this.#window.subarray(from, from + count)
  }

  #over(count: number): void {
    if (this.at + count > this.#size) throw new Unknown()
    this.at += count
  }

  /** A length, or minus (1 + how) of a string that is encoded in some way. */
  #lengthOrCode(): number {
    const first = this.#byte()
    if (first < 0x40) return first
    if (first < 0x80) return ((first & 0x3f) << 8) | this.#byte()
    if (first === 0x80) return this.#bytes(4).readUInt32BE()
    if (first >= 0xc0) return -1 - (first & 0x3f)
    if (first !== 0x81) throw new Unknown()
    const length = this.#bytes(8).readBigUInt64BE()
    // Some are no lengths but numbers that only have their form.
    return Number(length)
  }

  #length(): number {
    const length = this.#lengthOrCode()
    if (length < 0) throw new Unknown()
    return length
  }

  /** A string. `last`: nothing of the thing follows it, so that it can be skipped in parts. */
  #string(last = false): void {
    const before = this.at
    const length = this.#lengthOrCode()
    if (length >= 0) {
      if (last && this.at + length <= this.#size) this.skip = length
      else if (length > MOST_STRING) throw new Unknown()
      else this.#over(length)
    } else if (length > -4) this.#over(1 << (-1 - length))
    else if (length === -4) this.#packed(before, last)
    else throw new Unknown()
  }

  #packed(before: number, last: boolean): void {
    const packed = this.#length()
    const size = this.#length()
    if (packed > MOST_STRING || size > MOST_STRING) {
      if (!last || this.at + packed > this.#size) throw new Unknown()
      this.skip = packed
      return
    }
    const bytes = this.#bytes(packed)
    const kernel = kernels.take()
    try {
      const unpacked = kernel.decode(bytes, size)
      if (unpacked === undefined) throw new Unknown()
      if (before > this.#from) this.#sink.plain(this.#from, before - this.#from)
      this.#from = this.at
      this.#sink.unpacked(unpacked)
    } finally {
      kernels.give(kernel)
    }
  }
}
