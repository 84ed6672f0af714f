/** Whether a backing's bytes are still those that were mapped. */
import { sameIdentity } from '../backing/backing.ts'
import { FileBacking } from '../backing/file.ts'
import { MemoryError } from './errors.ts'
import { nameOf, type Opened, type Seen, type SourceData } from './source.ts'

export class BackingGuard {
  readonly #opened: Opened
  readonly #source: SourceData
  readonly #leased: boolean
  readonly #release: () => void
  /** While we write the file ourselves. */
  suspended = false

  /** Throws where the backing is not what was seen when it was first opened. */
  constructor(opened: Opened, source: SourceData, seen: Seen) {
    this.#opened = opened
    this.#source = source
    const hold = opened.origin.hold()
    this.#leased = hold.leased
    this.#release = () => hold.release()
    if (!sameIdentity(opened.origin.identity, seen.identity) || opened.view.size !== seen.size)
      throw new MemoryError('changed', `${nameOf(source)} changed while it was being mapped; map it again`)
  }

  /** Why the bytes may be others than those that were mapped; undefined while they are the same. */
  changed(): string | undefined {
    const { origin } = this.#opened
    if (this.#leased || this.suspended || !(origin instanceof FileBacking)) return undefined
    return sameIdentity(origin.current(), origin.identity)
      ? undefined
      : `${nameOf(this.#source)} was changed; close the region and map it again`
  }

  release(): void {
    this.#release()
  }
}
