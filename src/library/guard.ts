/** Whether a backing's bytes are still those that were mapped. */
import { type Backing, type Hold, sameIdentity } from '../backing/backing.ts'
import { FileBacking } from '../backing/file.ts'
import { MemoryError } from './errors.ts'
import { nameOf, type Opened, type Seen, type SourceData } from './source.ts'

export class BackingGuard {
  readonly origin: Backing
  readonly #source: SourceData
  readonly #hold: Hold
  /** While we write the file ourselves. */
  suspended = false
  /** The bytes are a copy that nobody else has. */
  isPrivate = false

  /** Throws where the backing is not what was seen when it was first opened. */
  constructor(opened: Opened, source: SourceData, seen: Seen) {
    this.origin = opened.origin
    this.#source = source
    // The lease first: then nobody can write between the look and the use.
    this.#hold = opened.origin.hold()
    const now = this.origin instanceof FileBacking ? this.origin.current() : this.origin.identity
    if (sameIdentity(now, seen.identity) && opened.view.size === seen.size) return
    this.release()
    throw new MemoryError('changed', `${nameOf(source)} changed while it was being mapped; map it again`)
  }

  /** Whether whoever wants to write waits for us. */
  get leased(): boolean {
    return this.#hold.leased
  }

  /** Why the bytes may be others than those that were mapped; undefined while they are the same. */
  changed(): string | undefined {
    const { origin } = this
    if (this.leased || this.isPrivate || this.suspended || !(origin instanceof FileBacking)) return undefined
    return sameIdentity(origin.current(), origin.identity)
      ? undefined
      : `${nameOf(this.#source)} was changed; close the region and map it again`
  }

  release(): void {
    this.#hold.release()
  }
}
