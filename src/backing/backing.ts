/**
 * A backing: bytes that can be had again.
 *
 * Life cycle: 1. opened by its maker. 2. `identity` says which bytes these are; whoever stored an identity
 * compares it before trusting anything that was derived from the bytes. 3. `hold()` asks that the bytes stay
 * what they are; a hold that could not get a lease says so, and its holder must not depend on the bytes.
 * 4. `close()`; every read after it fails.
 *
 * A read gives the number of bytes that it could give. It is short only at the end of the backing, and 0 at
 * or beyond the end; it fails with a BackingError, never with wrong bytes.
 */

/** Tells one state of a file from any other. Device and inode are decimal numbers; times are nanoseconds. */
export interface Identity {
  readonly device: string
  readonly inode: string
  readonly size: number
  readonly mtime: string
  readonly ctime: string
}

/** A promise that the bytes stay, until `release()`. */
export interface Hold {
  /** Whether a lease protects the bytes; without one they can change at any time. */
  readonly leased: boolean
  release(): void
}

export interface Backing {
  /** In bytes. */
  readonly size: number
  readonly identity: Identity
  /** Whether a read takes many times what one of a file does. */
  readonly costly?: boolean
  /** Fills `into` with the bytes from `offset` on; the number of bytes read. */
  read(offset: number, into: Uint8Array): number
  hold(): Hold
  close(): void
}

export type BackingErrorCode =
  | 'not-found'
  | 'denied'
  | 'not-regular'
  | 'too-many-open'
  | 'closed'
  | 'range'
  | 'io'
  | 'changed'
  | 'network'
  | 'unsupported'

/** What can go wrong with a backing and is nobody's mistake. `code` is stable; `path` names the backing. */
export class BackingError extends Error {
  override readonly name = 'BackingError'
  readonly code: BackingErrorCode
  readonly path: string

  constructor(code: BackingErrorCode, path: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.path = path
  }
}

export function sameIdentity(a: Identity, b: Identity): boolean {
  return (
    a.device === b.device &&
    a.inode === b.inode &&
    a.size === b.size &&
    a.mtime === b.mtime &&
    a.ctime === b.ctime
  )
}
