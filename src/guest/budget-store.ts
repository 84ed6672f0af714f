// What pages hold that had to leave memory and that no file has: packed, in an unlinked file of ours. A page takes a slot
// of as many grains as it needs; slots of pages that were written again are used again.
//
// Where the disk is full packed pages stay in our memory instead: over the budget, but never lost.
import { closeSync } from 'node:fs'
import { unlinkedFile } from '../backing/unlinked.ts'
import { type BlockCodec, blockCodec } from '../sys/codecs.ts'
import { arena } from '../sys/ffi.ts'
import { readFully, writeAt } from '../sys/fd.ts'

const pageBytes = 4096
const grain = 128
/** Above this a page is kept as it is: less is not worth the work. */
const worthwhile = pageBytes - grain

export class PageStore {
  readonly #codec: BlockCodec = blockCodec()
  readonly #plain = arena(pageBytes)
  readonly #packed = arena(2 * pageBytes)
  readonly #free: number[][] = Array.from({ length: pageBytes / grain + 1 }, () => [])
  readonly #kept = new Map<number, Uint8Array>()
  #fd = -1
  #end = 0
  /** Bytes of the slots in use. */
  bytes = 0
  pages = 0
  /** Where the last `add` put its page, and how long it is there. */
  at = 0
  length = 0

  /** Keeps a page; `at` and `length` say where. */
  add(page: Uint8Array): void {
    const { address } = this.#plain
    this.#plain.bytes.set(page)
    const packed = this.#codec.compress(address, pageBytes, this.#packed.address, 2 * pageBytes)
    const small = packed > 0 && packed <= worthwhile
    const from = small ? this.#packed : this.#plain
    this.length = small ? packed : pageBytes
    const grains = Math.ceil(this.length / grain)
    this.at = this.#free[grains]?.pop() ?? this.#end
    this.#end = Math.max(this.#end, this.at + grains * grain)
    this.bytes += grains * grain
    this.pages++
    if (writeAt(this.#file(), from.address, this.length, this.at) !== this.length)
      this.#kept.set(this.at, from.bytes.slice(0, this.length))
  }

  #file(): number {
    try {
      if (this.#fd < 0) this.#fd = unlinkedFile()
    } catch {
      // Nowhere to put it: every write fails then.
    }
    return this.#fd
  }

  /** Brings back a page that was kept. Whether that went well. */
  bring(at: number, length: number, into: Uint8Array): boolean {
    const to = length === pageBytes ? this.#plain : this.#packed
    const kept = this.#kept.get(at)
    if (kept !== undefined) to.bytes.set(kept)
    else if (readFully(this.#fd, to.address, length, at) !== length) return false
    if (length < pageBytes) {
      const { address } = this.#plain
      if (this.#codec.decompress(this.#packed.address, length, address, pageBytes) !== pageBytes) return false
    }
    into.set(this.#plain.bytes)
    return true
  }

  /** Forgets a page. */
  drop(at: number, length: number): void {
    const grains = Math.ceil(length / grain)
    this.#kept.delete(at)
    ;(this.#free[grains] as number[]).push(at)
    this.bytes -= grains * grain
    this.pages--
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }
}
