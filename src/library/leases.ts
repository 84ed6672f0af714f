/**
 * Copy on destructive write. A file that serves a region is held under a read lease: whoever opens it for writing, or truncates
 * it, waits until we let go (the kernel lets him wait 45 s at most). Meanwhile we copy the file, a slice at a time between
 * faults, to an unlinked file of ours, which then takes the descriptor's place; the writer goes on, and the region
 * keeps the bytes that it was mapped on. When that can't be done in time the regions fail: never a silent mix.
 */
import { closeSync, readSync, writeSync } from 'node:fs'
import { FileBacking } from '../backing/file.ts'
import { sameIdentity } from '../backing/backing.ts'
import { unlinkedFile } from '../backing/unlinked.ts'
import * as fds from '../sys/fd.ts'
import { MemoryError } from './errors.ts'
import type { BackingGuard } from './guard.ts'
import type { RegionPages } from './region-pages.ts'

const SLICE = 2 ** 22
/** Less than the kernel's 45 s, milliseconds. */
const mostTime = 40_000

/** Takes a lease for the calling thread, which must be the pager's. */
export const takeLease = (descriptor: number): (() => void) | undefined =>
  fds.lease(descriptor) === 0 ? () => void fds.unlease(descriptor) : undefined

interface Held {
  readonly region: RegionPages
  readonly guard: BackingGuard
  readonly file: FileBacking
}

/** A file that is being copied for all who hold it. */
interface Copy {
  readonly held: readonly Held[]
  readonly into: number
  readonly until: number
  at: number
}

export class Leases {
  /** Readable when a lease is being broken. */
  readonly descriptor: number = fds.leaseBreaks()
  readonly #held: Held[] = []
  readonly #copies: Copy[] = []
  #buffer: Uint8Array | undefined

  add(region: RegionPages, guard: BackingGuard): void {
    const { origin } = guard
    if (guard.leased && origin instanceof FileBacking) this.#held.push({ region, guard, file: origin })
  }

  remove(guard: BackingGuard): void {
    const i = this.#held.findIndex(one => one.guard === guard)
    if (i >= 0) this.#held.splice(i, 1)
    for (const copy of this.#copies.slice())
      if (copy.held.every(one => !this.#held.includes(one))) this.#end(copy)
  }

  /** The descriptor was readable: finds out whose lease it is. */
  look(): void {
    // One signal can stand for several.
    while (fds.readSignal(this.descriptor) !== undefined);
    for (const one of this.#held) {
      if (one.guard.isPrivate || fds.leased(one.file.descriptor)) continue
      if (this.#copies.some(copy => copy.held.includes(one))) continue
      const held = this.#held.filter(
        other => !other.guard.isPrivate && sameIdentity(other.file.identity, one.file.identity),
      )
      try {
        this.#copies.push({ held, into: unlinkedFile(), until: performance.now() + mostTime, at: 0 })
      } catch (error) {
        this.#fail(held, error)
      }
    }
  }

  get busy(): boolean {
    return this.#copies.length > 0
  }

  /** Ends it, when nothing is held any more. */
  close(): void {
    fds.close(this.descriptor)
  }

  /** Copies a slice. */
  work(): void {
    const copy = this.#copies[0] as Copy
    const { file } = copy.held[0] as Held
    this.#buffer ??= new Uint8Array(SLICE)
    try {
      const n = readSync(file.descriptor, this.#buffer, 0, SLICE, copy.at)
      for (let done = 0; done < n; )
        done += writeSync(copy.into, this.#buffer, done, n - done, copy.at + done)
      copy.at += n
      if (n === 0 || copy.at >= file.size) this.#takeOver(copy)
      else if (performance.now() > copy.until) throw new Error('there was not enough time')
    } catch (error) {
      this.#fail(copy.held, error)
      this.#end(copy)
    }
  }

  #takeOver(copy: Copy): void {
    if (copy.at < (copy.held[0] as Held).file.size) throw new Error('the file is shorter than it was')
    for (const one of copy.held) {
      if (!this.#held.includes(one)) continue
      // The last descriptor of the leased file goes, and the lease with it.
      fds.replace(copy.into, one.file.descriptor)
      one.guard.isPrivate = true
    }
    this.#end(copy)
  }

  #fail(held: readonly Held[], error: unknown): void {
    for (const { region, guard, file } of held) {
      region.fail(
        new MemoryError(
          'changed',
          `${file.path} is being written, and no copy of it could be made in time (${(error as Error).message}); close the region and map it again`,
        ),
      )
      guard.release()
    }
  }

  #end(copy: Copy): void {
    closeSync(copy.into)
    this.#copies.splice(this.#copies.indexOf(copy), 1)
    if (this.#copies.length === 0) this.#buffer = undefined
  }
}
