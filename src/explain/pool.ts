/**
 * Candidate files, opened when needed and at most MOST_OPEN at a time. A file that is not what it was when it
 * was first seen, or cannot be opened or read, is from then on no candidate; that is never an error.
 */
import { type Identity, sameIdentity } from '../backing/backing.ts'
import { FileBacking } from '../backing/file.ts'

const MOST_OPEN = 128

/** A file that memory may have been copied from. */
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
}

export class Pool {
  readonly candidates: Candidate[] = []
  readonly #open = new Map<number, FileBacking>()
  readonly #broken = new Set<number>()
  readonly #known = new Map<string, number>()

  /** Adds a candidate and gives its index; a file that is known already keeps the index that it has. */
  add(candidate: Candidate): number {
    const key = `${candidate.identity.device}:${candidate.identity.inode}`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const index = this.candidates.push(candidate) - 1
    this.#known.set(key, index)
    return index
  }

  size(index: number): number {
    return this.candidates[index]?.identity.size ?? 0
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

  #get(index: number): FileBacking | undefined {
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
      if (sameIdentity(file.identity, candidate.identity)) return file
    } catch {
      // gone, or no longer ours to read
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
