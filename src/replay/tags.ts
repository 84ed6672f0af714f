// The tags of the guest's bytes, from the host's side: an epoch has a number from 1 to 255, and those of older ones may stay where they are, until
// they take much memory or the numbers are used up.
import type { EngineGlobal, EngineMemory } from '../guest/engine.ts'
import { addressOf } from '../sys/ffi.ts'
import { advise, discard } from '../sys/memory.ts'
import { tagsAt } from './assemble.ts'

/**
 * Huge pages, if there are any: a guest's new pages lie side by side, and with small ones each would be two faults more, for its tags are looked at before
 * they are set, and the second of these interrupts the keeper.
 */
const MADV_HUGEPAGE = 14
const pageBytes = 4096
const blockPages = 512
/**
 * So many blocks of tags may be there, of 512 pages; a quarter of what was written if that is more. Who writes here and there (a hash table) touches as many
 * in a few epochs: each time that they are forgotten before so many epochs, twice as many may be there, up to the second, or half of what was written.
 */
const leastBlocks = 12
const seldom = 24
const mostBlocks = 64
/**
 * Each block is 2 MiB that the kernel clears, some 0.2 ms. Who needs more than so many of them for each epoch, in the mean of about so many epochs, goes here and there over more than there may
 * be tags for (a collector that marks): that takes more time than the program.
 */
const mostFresh = 8
const meanOf = 8
/** Of so many pages every so many bytes. */
const samplePages = 24
const sampleStep = 17

export class Tags {
  readonly #bytes: Uint8Array
  readonly #address: number
  readonly #globals: Readonly<Record<string, EngineGlobal>>
  #tag = 0
  /** How often tags were forgotten, when each block was touched last in these terms, and how many have been since the last time. */
  #forgotten = 1
  readonly #since: Uint32Array
  #blocks = 0
  /** Blocks that were not there before, in this epoch and in the mean of the last ones. */
  #fresh = 0
  #mean = 0
  #least = leastBlocks
  #epochs = 0

  constructor(memory: EngineMemory, globals: Readonly<Record<string, EngineGlobal>>, pages: number) {
    this.#bytes = new Uint8Array(memory.buffer)
    this.#address = addressOf(memory.buffer)
    this.#globals = globals
    this.#since = new Uint32Array(Math.ceil(pages / blockPages))
    advise(this.#address, memory.buffer.byteLength, MADV_HUGEPAGE)
  }

  /** The host wrote. */
  fill(at: number, length: number): void {
    this.#bytes.fill(this.#tag, tagsAt + at, tagsAt + at + length)
  }

  /** The tags of a page are there now. */
  touched(page: number): void {
    const block = Math.floor(page / blockPages)
    if (this.#since[block] === this.#forgotten) return
    this.#since[block] = this.#forgotten
    this.#blocks++
    this.#fresh++
  }

  /** Whether tags take more time than they are worth. */
  get scattered(): boolean {
    return this.#mean > mostFresh
  }

  /** Which part of these pages, from 0 to 1, was written or logged in this epoch: by a sample. */
  partOf(pages: readonly number[]): number {
    const step = Math.max(1, Math.floor(pages.length / samplePages))
    let known = 0
    let looked = 0
    for (let i = 0; i < pages.length; i += step) {
      const at = tagsAt + (pages[i] as number) * pageBytes
      for (let k = sampleStep >> 1; k < pageBytes; k += sampleStep, looked++)
        if (this.#bytes[at + k] === this.#tag) known++
    }
    return looked === 0 ? 0 : known / looked
  }

  /** Another epoch begins, in which nothing is known. `top`: pages that the guest has. `size`: bytes of its memory. */
  next(top: number, size: number): void {
    this.#epochs++
    this.#mean += (this.#fresh - this.#mean) / meanOf
    this.#fresh = 0
    const part = top / blockPages / (this.#least > leastBlocks ? 2 : 4)
    if (this.#blocks > Math.max(this.#least, part)) {
      if (this.#epochs < seldom) this.#least = Math.min(mostBlocks, 2 * this.#least)
      this.forget(size)
    } else if (++this.#tag > 255) this.forget(size)
    const set = (name: string, value: number | bigint): void => {
      ;(this.#globals[`lethe:${name}`] as EngineGlobal).value = value
    }
    const tag = this.#tag
    set('tag1', tag)
    set('tag2', tag * 0x0101)
    set('tag4', (tag * 0x0101_0101) | 0)
    set('tag8', BigInt(tag) * 0x0101_0101_0101_0101n)
  }

  forget(size: number): void {
    this.#tag = 1
    this.#blocks = 0
    this.#epochs = 0
    this.#forgotten++
    discard(this.#address, size + pageBytes)
  }
}
