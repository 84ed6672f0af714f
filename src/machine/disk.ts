/**
 * The disk: files, a swap area, and how long transfers take. One transfer at a time, by DMA: the processor is free meanwhile, and
 * who needs the bytes waits until the disk has done everything that was asked of it before.
 */
import type { Backing, Hold, Identity } from '../backing/backing.ts'
import type { MachineConfig } from './config.ts'
import { MachineError } from './errors.ts'

/** Bytes that pages are made from: a file, or what a lens makes of one. */
export interface Source {
  readonly id: number
  readonly name: string
  readonly kind: 'file' | 'lens'
  readonly backing: Backing
  /** Writes through shared mappings. */
  write?(offset: number, bytes: Uint8Array): void
}

let inodes = 0

/** A file that lies in the host's memory. */
export class MemoryFile implements Backing {
  readonly bytes: Uint8Array
  readonly identity: Identity

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.identity = { device: '0', inode: `m${++inodes}`, size: bytes.length, mtime: '0', ctime: '0' }
  }

  get size(): number {
    return this.bytes.length
  }

  read(offset: number, into: Uint8Array): number {
    const part = this.bytes.subarray(offset, offset + into.length)
    into.set(part)
    return part.length
  }

  write(offset: number, bytes: Uint8Array): void {
    const room = Math.max(0, this.bytes.length - offset)
    this.bytes.set(bytes.length > room ? bytes.subarray(0, room) : bytes, Math.min(offset, this.bytes.length))
  }

  hold(): Hold {
    return { leased: true, release() {} }
  }

  close(): void {}
}

/** A page of the swap area. `pages`: how many processes' pages are this one. */
interface Slot {
  bytes: Uint8Array
  pages: number
  unit: number
}

export class Disk {
  readonly #config: MachineConfig
  readonly #slots: (Slot | undefined)[] = []
  readonly #freed: number[] = []
  #used = 0
  #idleFrom = 0

  constructor(config: MachineConfig) {
    this.#config = config
  }

  /** When the disk has done all that was asked of it. */
  get idleFrom(): number {
    return this.#idleFrom
  }

  /** Slots in use. */
  get used(): number {
    return this.#used
  }

  /** Asks for a transfer of a page at time `now`; the cycles until it is done. */
  transfer(now: number): number {
    const { diskLatency, diskByte } = this.#config.cost
    const start = Math.max(now, this.#idleFrom)
    this.#idleFrom = start + diskLatency + this.#config.pageSize * diskByte
    return this.#idleFrom - now
  }

  /** A new slot with these bytes. MachineError 'memory' when the swap area is full. */
  writeNew(bytes: Uint8Array, unit: number): number {
    if (this.#used >= this.#config.swapSlots)
      throw new MachineError(
        'memory',
        `Memory and swap are full: all ${this.#config.swapSlots} swap slots are taken; give the machine more frames or swapSlots`,
      )
    const slot = this.#freed.pop() ?? this.#slots.length
    this.#slots[slot] = { bytes: bytes.slice(), pages: 0, unit }
    this.#used++
    return slot
  }

  slot(number: number): Slot {
    const slot = this.#slots[number]
    if (slot === undefined) throw new Error(`lethe machine: swap slot ${number} is free`)
    return slot
  }

  /** Another page is this slot's, or (-1) one less. A slot that nobody has is free again: then its unit, else -1. */
  refer(number: number, change: 1 | -1): number {
    const slot = this.slot(number)
    slot.pages += change
    if (slot.pages > 0) return -1
    this.#slots[number] = undefined
    this.#freed.push(number)
    this.#used--
    return slot.unit
  }

  /** Numbers of the slots in use. */
  slots(): number[] {
    return this.#slots.flatMap((slot, i) => (slot === undefined ? [] : [i]))
  }
}
