/** Bytes in memory as a backing. They are held as they are: whoever gives them leaves them alone. */
import { type Backing, BackingError, type Hold, type Identity } from './backing.ts'

export class BytesBacking implements Backing {
  readonly identity: Identity
  readonly size: number
  readonly #bytes: Uint8Array

  /** `id` names these bytes and no others. */
  constructor(id: string, bytes: Uint8Array) {
    this.#bytes = bytes
    this.size = bytes.length
    this.identity = { device: 'memory', inode: id, size: bytes.length, mtime: '0', ctime: '0' }
  }

  read(offset: number, into: Uint8Array): number {
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new BackingError(
        'range',
        this.identity.inode,
        `Invalid offset ${offset} in a backing of ${this.size} bytes`,
      )
    const part = this.#bytes.subarray(offset, offset + into.length)
    into.set(part)
    return part.length
  }

  hold(): Hold {
    return { leased: true, release: () => undefined }
  }

  close(): void {
    // Nothing is open.
  }
}
