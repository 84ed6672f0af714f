/**
 * Physical memory: frames of bytes, and which of them are free.
 *
 * Frames are made when somebody first uses them, so that a machine with much memory costs what it uses. Frames from `frames` on do not
 * belong to the simulated memory: page tables lie there if they are to lie outside (as on a problem sheet).
 */
import type { MachineConfig } from './config.ts'
import { MachineError } from './errors.ts'
import { Random } from './sets.ts'

/** What a freed frame is filled with, so that a stale read shows. */
export const poison = 0xa5

export class Memory {
  readonly frames: number
  readonly pageSize: number
  readonly #data: (Uint8Array | undefined)[] = []
  /** 1: taken. */
  readonly #taken: Uint8Array
  readonly #placement: MachineConfig['placement']
  readonly #random: Random
  #free: number
  #lowest = 0
  #outside: number

  constructor(config: MachineConfig) {
    this.frames = config.frames
    this.pageSize = config.pageSize
    this.#taken = new Uint8Array(config.frames)
    this.#free = config.frames
    this.#placement = config.placement
    this.#random = new Random(config.seed)
    this.#outside = config.frames
  }

  get free(): number {
    return this.#free
  }

  isFree(frame: number): boolean {
    return frame < this.frames && this.#taken[frame] === 0
  }

  bytes(frame: number): Uint8Array {
    let data = this.#data[frame]
    if (data === undefined) {
      data = new Uint8Array(this.pageSize)
      this.#data[frame] = data
    }
    return data
  }

  /** A free frame for page `vpn`, or -1. */
  take(vpn: number): number {
    if (this.#free === 0) return -1
    if (this.#placement === 'identity') {
      if (vpn >= this.frames)
        throw new MachineError(
          'memory',
          `Page ${vpn} has no frame of its own number: there are ${this.frames} frames; take another placement than identity`,
        )
      return this.#taken[vpn] === 0 ? this.claim(vpn) : -1
    }
    if (this.#placement === 'random') {
      let frame = this.#random.below(this.frames)
      while (this.#taken[frame] === 1) frame = (frame + 1) % this.frames
      return this.claim(frame)
    }
    while (this.#taken[this.#lowest] === 1) this.#lowest++
    return this.claim(this.#lowest)
  }

  /** Takes this very frame. */
  claim(frame: number): number {
    this.#taken[frame] = 1
    this.#free--
    return frame
  }

  /** `count` frames in a row for a page table, from the end of memory; or outside of it. -1 if there are none. */
  takeRun(count: number, outside: boolean): number {
    if (outside) {
      this.#outside += count
      return this.#outside - count
    }
    for (let last = this.frames - 1, run = 0; last >= 0; last--) {
      run = this.#taken[last] === 0 ? run + 1 : 0
      if (run < count) continue
      for (let i = 0; i < count; i++) {
        this.claim(last + i)
        this.bytes(last + i).fill(0)
      }
      return last
    }
    return -1
  }

  give(frame: number): void {
    if (frame >= this.frames) {
      this.#data[frame] = undefined
      return
    }
    this.#taken[frame] = 0
    this.#free++
    this.#data[frame]?.fill(poison)
    if (frame < this.#lowest) this.#lowest = frame
  }

  /** Stores a little-endian word of 1, 2 or 4 bytes at a physical address; it lies in one frame. */
  setWord(frame: number, offset: number, bytes: number, value: number): void {
    const data = this.bytes(frame)
    for (let i = 0; i < bytes; i++) data[offset + i] = (value >>> (8 * i)) & 0xff
  }
}
