/**
 * What processes must see, as plainly as it can be said: for every page of an address space its bytes and its rights. No frames, no swap,
 * no policies, no tables.
 */

/** Rights and kinds of a page. 0: not mapped. */
export const MAPPED = 1
export const READ = 2
export const WRITE = 4
/** Who shares it sees writes. */
const SHARED = 8
/** Its bytes are still those of a file or a lens; a write takes a copy first. */
const BORROWED = 16
/** Of a lens: when the program removes it, nothing makes it again. */
const LENS = 32

export class PlainMemory {
  readonly pages: number
  readonly pageSize: number
  readonly flags: Uint8Array
  /** By page. Shared pages and pages of files are the same array for all who have them. */
  readonly #bytes: Uint8Array[] = []
  /** What a page of a file or a lens was before it was written. */
  readonly #origin: (Uint8Array | undefined)[] = []
  readonly #none = new Uint8Array(0)
  /** Numbers of the mapped pages. */
  #mapped: number[] | undefined = []

  constructor(pages: number, pageSize: number) {
    this.pages = pages
    this.pageSize = pageSize
    this.flags = new Uint8Array(pages)
    for (let i = 0; i < pages; i++) {
      this.#bytes.push(this.#none)
      this.#origin.push(undefined)
    }
  }

  get mapped(): readonly number[] {
    if (this.#mapped === undefined) {
      this.#mapped = []
      for (let vpn = 0; vpn < this.pages; vpn++) if (this.flags[vpn] !== 0) this.#mapped.push(vpn)
    }
    return this.#mapped
  }

  /** Whether nothing of these pages is mapped. */
  isFree(vpn: number, count: number): boolean {
    if (vpn + count > this.pages) return false
    for (let i = vpn; i < vpn + count; i++) if (this.flags[i] !== 0) return false
    return true
  }

  #set(vpn: number, flags: number, bytes: Uint8Array, origin?: Uint8Array): void {
    this.flags[vpn] = MAPPED | flags
    this.#bytes[vpn] = bytes
    this.#origin[vpn] = origin
    this.#mapped = undefined
  }

  /** Zeros, for this process or for all that come from it. */
  mapZeros(vpn: number, rights: number, shared: boolean): void {
    this.#set(vpn, rights | (shared ? SHARED : 0), new Uint8Array(this.pageSize))
  }

  /** A page of these bytes, from `at` on. A whole number of pages. */
  mapFile(vpn: number, rights: number, bytes: Uint8Array, at: number, shared: boolean): void {
    const part = bytes.subarray(at, at + this.pageSize)
    this.#set(vpn, rights | (shared ? SHARED : BORROWED), part, part)
  }

  mapLens(vpn: number, rights: number, bytes: Uint8Array, at: number): void {
    const part = bytes.subarray(at, at + this.pageSize)
    this.#set(vpn, rights | BORROWED | LENS, part, part)
  }

  unmap(vpn: number): void {
    this.flags[vpn] = 0
    this.#bytes[vpn] = this.#none
    this.#origin[vpn] = undefined
    this.#mapped = undefined
  }

  protect(vpn: number, rights: number): void {
    this.flags[vpn] = ((this.flags[vpn] as number) & ~(READ | WRITE)) | rights
  }

  may(vpn: number, right: number): boolean {
    return ((this.flags[vpn] as number) & right) !== 0
  }

  /** The page's bytes now. */
  at(vpn: number): Uint8Array {
    return this.#bytes[vpn] as Uint8Array
  }

  write(vpn: number, offset: number, data: Uint8Array): void {
    const flags = this.flags[vpn] as number
    if ((flags & BORROWED) !== 0) {
      this.#bytes[vpn] = this.at(vpn).slice()
      this.flags[vpn] = flags & ~BORROWED
    }
    this.at(vpn).set(data, offset)
  }

  /** The program does not need the page any more (MADV_DONTNEED). */
  remove(vpn: number): void {
    const flags = this.flags[vpn] as number
    if (flags === 0 || (flags & SHARED) !== 0) return
    const origin = this.#origin[vpn]
    if (origin !== undefined && (flags & LENS) === 0) {
      this.#bytes[vpn] = origin
      this.flags[vpn] = flags | BORROWED
    } else {
      this.#bytes[vpn] = new Uint8Array(this.pageSize)
      this.flags[vpn] = flags & ~BORROWED
    }
  }

  fork(): PlainMemory {
    const child = new PlainMemory(this.pages, this.pageSize)
    for (const vpn of this.mapped) {
      const flags = this.flags[vpn] as number
      const own = (flags & (SHARED | BORROWED)) === 0
      child.#set(vpn, flags, own ? this.at(vpn).slice() : this.at(vpn), this.#origin[vpn])
    }
    return child
  }
}
