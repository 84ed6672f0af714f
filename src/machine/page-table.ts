/**
 * A process's page table, as bytes in memory: what the page-table base register points to, and the walk.
 *
 *   virtual page number   [ index of level 1 | index of level 2 | … ]
 *   level 1's entry → frame of a level 2 table → … → frame of the page
 *
 * A table of a level with k bits is 2^k entries; if that is more than a page it lies in frames in a row, if it is less it has a
 * frame of its own all the same. Tables below the first are made when a page needs them, and given back when they are empty.
 */
import type { Entry } from './access.ts'
import type { EntryFormat, MachineConfig } from './config.ts'
import { entryFormat } from './configure.ts'
import { MachineError } from './errors.ts'
import type { Memory } from './memory.ts'

/** A place in the table of one level. */
export interface Slot {
  readonly level: number
  readonly index: number
  /** First frame of the table. */
  readonly table: number
}

const invalid: Entry = {
  valid: false,
  frame: 0,
  read: false,
  write: false,
  execute: false,
  user: false,
  referenced: false,
  dirty: false,
}

export class PageTable {
  readonly root: number
  readonly #memory: Memory
  readonly #format: EntryFormat
  readonly #levels: readonly number[]
  /** Bits of the VPN below each level. */
  readonly #shifts: readonly number[]
  readonly #outside: boolean
  /** Valid entries of each table below the first, by its first frame. */
  readonly #used = new Map<number, number>()

  /** `frame`: where the root is already; else it is made. MachineError 'memory' when no frames are left. */
  constructor(config: MachineConfig, memory: Memory, frame?: number, room?: () => boolean) {
    this.#memory = memory
    this.#format = entryFormat(config)
    this.#levels = config.pageTable.levels
    this.#outside = config.pageTable.placement === 'outside'
    this.#shifts = this.#levels.map((_, i) => this.#levels.slice(i + 1).reduce((a, b) => a + b, 0))
    this.root = frame ?? this.#make(0, room)
  }

  /** Frames of a table of this level (0: the first). */
  #frames(level: number): number {
    return Math.ceil((2 ** (this.#levels[level] as number) * this.#format.bytes) / this.#memory.pageSize)
  }

  #make(level: number, room?: () => boolean): number {
    let frame = this.#memory.takeRun(this.#frames(level), this.#outside)
    while (frame < 0 && room?.()) frame = this.#memory.takeRun(this.#frames(level), this.#outside)
    if (frame < 0)
      throw new MachineError(
        'memory',
        `No ${this.#frames(level)} frames in a row are free for a page table of level ${level + 1}`,
      )
    return frame
  }

  /** Frames that all tables together take. */
  get frames(): number {
    let sum = this.#frames(0)
    for (const level of this.#tableLevels.values()) sum += this.#frames(level)
    return sum
  }

  readonly #tableLevels = new Map<number, number>()
  #low = 0
  #high = 0

  index(vpn: number, level: number): number {
    const shift = this.#shifts[level] as number
    const bits = this.#levels[level] as number
    if (vpn < 2 ** 31 && shift < 31 && bits < 31) return (vpn >> shift) & ((1 << bits) - 1)
    return Math.floor(vpn / 2 ** shift) % 2 ** bits
  }

  /** Bytes of one entry. */
  get entryBytes(): number {
    return this.#format.bytes
  }

  get depth(): number {
    return this.#levels.length
  }

  /** Physical address of an entry; undefined for a table outside of memory. */
  address({ table, index }: Slot): number | undefined {
    if (this.#outside) return undefined
    return table * this.#memory.pageSize + index * this.#format.bytes
  }

  #locate({ table, index }: Slot): [frame: number, offset: number] {
    const at = index * this.#format.bytes
    return [table + Math.floor(at / this.#memory.pageSize), at % this.#memory.pageSize]
  }

  read({ table, index }: Slot): Entry {
    this.#load(table, index)
    return decode(this.#format, this.#low, this.#high)
  }

  // An entry's bits, to #low and #high.
  #load(table: number, index: number): void {
    const { bytes } = this.#format
    const { pageSize } = this.#memory
    const at = index * bytes
    const data = this.#memory.bytes(at < pageSize ? table : table + Math.floor(at / pageSize))
    const offset = at < pageSize ? at : at % pageSize
    this.#low = wordAt(data, offset, bytes < 4 ? bytes : 4)
    this.#high = bytes === 8 ? wordAt(data, offset + 4, 4) : 0
  }

  // The bits of a page's entry; false where a table on the way is missing.
  #find(vpn: number): boolean {
    const { valid, frameShift, frameBits } = this.#format
    let table = this.root
    for (let level = 0; ; level++) {
      this.#load(table, this.index(vpn, level))
      if (level === this.depth - 1) return true
      if (!bit(this.#low, this.#high, valid)) return false
      table = field(this.#low, this.#high, frameShift, frameBits)
    }
  }

  /** Whether a page's entry is valid: `entry(vpn).valid`, for whoever asks of every page. */
  valid(vpn: number): boolean {
    return this.#find(vpn) && bit(this.#low, this.#high, this.#format.valid)
  }

  /** Whether a page's entry is valid and dirty. */
  dirty(vpn: number): boolean {
    const { valid, dirty } = this.#format
    if (dirty === undefined || !this.#find(vpn)) return false
    return bit(this.#low, this.#high, valid) && bit(this.#low, this.#high, dirty)
  }

  write(slot: Slot, entry: Entry, inner: boolean): void {
    const [frame, offset] = this.#locate(slot)
    const { bytes } = this.#format
    const [low, high] = encode(this.#format, entry, inner)
    this.#memory.setWord(frame, offset, Math.min(bytes, 4), low)
    if (bytes === 8) this.#memory.setWord(frame, offset + 4, 4, high)
  }

  first(vpn: number): Slot {
    return { level: 0, index: this.index(vpn, 0), table: this.root }
  }

  next(vpn: number, { level }: Slot, table: number): Slot {
    return { level: level + 1, index: this.index(vpn, level + 1), table }
  }

  /**
   * The place of a page's entry; undefined where a table on the way is missing and `make` is not set. `room` is asked for a free frame when
   * a table needs one and there is none.
   */
  slot(vpn: number, make: boolean, room?: () => boolean): Slot | undefined {
    let slot = this.first(vpn)
    while (slot.level < this.depth - 1) {
      this.#load(slot.table, slot.index)
      const { valid, frameShift, frameBits } = this.#format
      let frame = field(this.#low, this.#high, frameShift, frameBits)
      if (!bit(this.#low, this.#high, valid)) {
        if (!make) return undefined
        frame = this.#make(slot.level + 1, room)
        this.#tableLevels.set(frame, slot.level + 1)
        this.#used.set(frame, 0)
        this.write(slot, { ...invalid, valid: true, frame, write: true, user: true, referenced: true }, true)
        this.#count(slot.table, 1)
      }
      slot = this.next(vpn, slot, frame)
    }
    return slot
  }

  /** The entry of a page; not valid where there is none. */
  entry(vpn: number): Entry {
    return this.#find(vpn) ? decode(this.#format, this.#low, this.#high) : invalid
  }

  #count(table: number, change: number): void {
    const used = this.#used.get(table)
    if (used !== undefined) this.#used.set(table, used + change)
  }

  set(vpn: number, entry: Entry): void {
    const slot = this.slot(vpn, entry.valid)
    if (slot === undefined) return
    const was = this.read(slot).valid
    this.write(slot, entry, false)
    if (was !== entry.valid) this.#count(slot.table, entry.valid ? 1 : -1)
  }

  /** Makes the entry of a page invalid. */
  clear(vpn: number): void {
    this.set(vpn, invalid)
  }

  /** Gives back tables that hold no valid entry any more on the way to `vpn`. */
  trim(vpn: number): void {
    for (let level = this.depth - 1; level > 0; level--) {
      let slot = this.first(vpn)
      while (slot.level < level - 1) {
        const { valid, frame } = this.read(slot)
        if (!valid) return
        slot = this.next(vpn, slot, frame)
      }
      const { valid, frame } = this.read(slot)
      if (!valid) continue
      if (this.#used.get(frame) !== 0) return
      this.write(slot, invalid, true)
      this.#count(slot.table, -1)
      this.#release(frame, level)
    }
  }

  #release(table: number, level: number): void {
    for (let i = 0; i < this.#frames(level); i++) this.#memory.give(table + i)
    this.#used.delete(table)
    this.#tableLevels.delete(table)
  }

  /** Gives back every table. */
  release(): void {
    for (const [table, level] of this.#tableLevels)
      for (let i = 0; i < this.#frames(level); i++) this.#memory.give(table + i)
    for (let i = 0; i < this.#frames(0); i++) this.#memory.give(this.root + i)
    this.#tableLevels.clear()
    this.#used.clear()
  }

  /** First frames of all tables, the root's first. */
  tables(): { frame: number; frames: number }[] {
    return [
      { frame: this.root, frames: this.#frames(0) },
      ...[...this.#tableLevels].map(([frame, level]) => ({ frame, frames: this.#frames(level) })),
    ]
  }
}

/** Little-endian word of 1, 2 or 4 bytes. */
function wordAt(data: Uint8Array, at: number, bytes: number): number {
  let word = data[at] as number
  if (bytes > 1) word |= (data[at + 1] as number) << 8
  if (bytes === 4) word |= ((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 24)
  return word >>> 0
}

const bit = (low: number, high: number, at: number | undefined): boolean =>
  at === undefined || ((at < 32 ? low >>> at : high >>> (at - 32)) & 1) === 1

/** Bits [shift, shift + bits) of high:low. The high word's flags are cut off first, so that the sum is exact. */
function field(low: number, high: number, shift: number, bits: number): number {
  const above = shift + bits - 32
  if (above < 0) return (low >>> shift) & ((1 << bits) - 1)
  const rest = above >= 32 ? high : (high & ((1 << above) - 1)) >>> 0
  // Nearly always: few frames have numbers so great that they reach into the high word.
  if (rest === 0 && shift < 32) return low >>> shift
  return Math.floor((rest * 2 ** 32 + low) / 2 ** shift) % 2 ** bits
}

/** What the hardware makes of an entry's bits. */
export function decode(format: EntryFormat, low: number, high: number): Entry {
  return {
    valid: bit(low, high, format.valid),
    frame: field(low, high, format.frameShift, format.frameBits),
    read: bit(low, high, format.read),
    write: bit(low, high, format.write),
    execute:
      bit(low, high, format.execute) && (format.noExecute === undefined || !bit(low, high, format.noExecute)),
    user: bit(low, high, format.user),
    referenced: format.referenced !== undefined && bit(low, high, format.referenced),
    dirty: format.dirty !== undefined && bit(low, high, format.dirty),
  }
}

/** The bits of an entry. An inner one of a format with read and execute bits has neither: that is how it is told from a leaf. */
export function encode(format: EntryFormat, entry: Entry, inner: boolean): [low: number, high: number] {
  const frame = entry.frame * 2 ** format.frameShift
  let low = entry.valid ? frame % 2 ** 32 : 0
  let high = entry.valid ? Math.floor(frame / 2 ** 32) : 0
  const set = (at: number | undefined, on: boolean): void => {
    if (at === undefined || !on || !entry.valid) return
    if (at < 32) low = (low | (1 << at)) >>> 0
    else high = (high | (1 << (at - 32))) >>> 0
  }
  const pointer = inner && format.read !== undefined
  set(format.valid, true)
  set(format.read, entry.read && !pointer)
  set(format.write, entry.write && !pointer)
  set(format.execute, entry.execute && !pointer)
  set(format.noExecute, !entry.execute && !inner)
  set(format.user, entry.user && !pointer)
  set(format.referenced, entry.referenced && !pointer)
  set(format.dirty, entry.dirty && !pointer)
  return [low >>> 0, high >>> 0]
}
