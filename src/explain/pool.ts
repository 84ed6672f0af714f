/**
 * Candidates: files, and what lenses make of files. Opened when needed and at most MOST_OPEN at a time. A file that is not what it was when it
 * was first seen, or cannot be opened or read, is from then on no candidate; nor is one that its lens can't read. That
 * is never an error.
 */
import { type Backing, type Identity, sameIdentity } from '../backing/backing.ts'
import { FileBacking } from '../backing/file.ts'
import { lensNamed } from '../lens/catalogue.ts'
import type { IndexStore } from '../lens/lens.ts'
import { through } from '../lens/through.ts'

const MOST_OPEN = 128

/** A file that memory may have been copied from, or what a lens makes of one. */
export interface Candidate {
  /** The name that people know it by. */
  readonly path: string
  /** A path that opens this very file, such as /proc/PID/fd/7 for one that was deleted. */
  readonly openPath: string
  readonly identity: Identity
  /** How it was found, for people: 'open descriptor 7', 'command line'. */
  readonly how: string
  /** A program or library that is mapped to run: rarely copied. A large one is never sampled fully. */
  readonly program?: boolean
  /** Name of the lens that makes the bytes; none: they are the file's own. */
  readonly lens?: string
}

export class Pool {
  readonly candidates: Candidate[] = []
  readonly #open = new Map<number, Backing>()
  readonly #broken = new Set<number>()
  readonly #known = new Map<string, number>()
  readonly #sizes = new Map<number, number>()
  readonly #store: IndexStore | undefined
  readonly #pause: (() => void) | undefined

  /** `store`: where lenses keep their indexes; `pause`: see Lens.prepare. */
  constructor(store?: IndexStore, pause?: () => void) {
    this.#store = store
    this.#pause = pause
  }

  /** Adds a candidate and gives its index; a file that is known already keeps the index that it has. */
  add(candidate: Candidate): number {
    const key = `${candidate.identity.device}:${candidate.identity.inode}|${candidate.lens ?? ''}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const index = this.candidates.push(candidate) - 1
    this.#known.set(key, index)
    return index
  }

  /** Bytes of a candidate; 0 if its lens can't read it. */
  size(index: number): number {
    const candidate = this.candidates[index]
    if (candidate?.lens === undefined) return candidate?.identity.size ?? 0
    let size = this.#sizes.get(index)
    if (size === undefined) {
      size = this.#get(index)?.size ?? 0
      this.#sizes.set(index, size)
    }
    return size
  }

  /** Bytes read; 0 if the file is gone or no longer the same. */
  read(index: number, offset: number, into: Uint8Array): number {
    const file = this.#get(index)
    if (!file) return 0
    try {
      return file.read(offset, into)
    } catch {
      this.#drop(index)
      return 0
    }
  }

  close(): void {
    for (const file of this.#open.values()) file.close()
    this.#open.clear()
  }

  /** Tells the bytes of a candidate from any others: the file's identity, and the lens. */
  identity(index: number): Identity | undefined {
    const candidate = this.candidates[index]
    if (candidate?.lens === undefined) return candidate?.identity
    const { identity, lens } = candidate
    return { ...identity, inode: `${identity.inode}|${lens}` }
  }

  /** The open candidate, until the next call of this or of read. */
  open(index: number): Backing | undefined {
    return this.#get(index)
  }

  #get(index: number): Backing | undefined {
    const open = this.#open.get(index)
    if (open) return open
    const candidate = this.candidates[index]
    if (!candidate || this.#broken.has(index)) return undefined
    if (this.#open.size >= MOST_OPEN) {
      for (const [oldest, file] of this.#open) {
        file.close()
        this.#open.delete(oldest)
        break
      }
    }
    try {
      const file = new FileBacking(candidate.openPath)
      this.#open.set(index, file)
      if (sameIdentity(file.identity, candidate.identity)) {
        if (candidate.lens === undefined) return file
        const lens = lensNamed(candidate.lens)
        if (this.#store) lens.prepare?.(file, this.#store, this.#pause)
        const view = through(file, lens)
        // Asked now, for this is where a lens finds that it can't read the file.
        if (view.size > 0) {
          this.#open.set(index, view)
          return view
        }
      }
    } catch {
      // gone, no longer ours to read, or not what the lens takes it for
    }
    this.#drop(index)
    return undefined
  }

  #drop(index: number): void {
    this.#open.get(index)?.close()
    this.#open.delete(index)
    this.#broken.add(index)
  }
}
