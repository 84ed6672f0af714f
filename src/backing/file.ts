/**
 * A regular file as a backing. Opened once, read-only, without waiting (O_NONBLOCK: a FIFO put in its place
 * must not stop us) and not inherited by children (libuv adds O_CLOEXEC to every open). The open descriptor
 * keeps the bytes through unlink and rename. Size and identity are those at the time of opening;
 * `current()` says what they are now.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { type Backing, BackingError, type BackingErrorCode, type Hold, type Identity } from './backing.ts'

/** Takes a read lease on a descriptor and gives what releases it; undefined if there is none to be had. */
export type TakeLease = (descriptor: number) => (() => void) | undefined

export interface FileOptions {
  readonly lease?: TakeLease
  /** An open descriptor of the file, to be used instead of opening `path` (then only a name); it is closed with this. */
  readonly descriptor?: number
}

const FLAGS: number = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY

export function identityOf(stats: BigIntStats): Identity {
  return {
    device: String(stats.dev),
    inode: String(stats.ino),
    size: Number(stats.size),
    mtime: String(stats.mtimeNs),
    ctime: String(stats.ctimeNs),
  }
}

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

const CODES: Readonly<Record<string, BackingErrorCode>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  ESRCH: 'not-found',
  EACCES: 'denied',
  EPERM: 'denied',
  ENXIO: 'not-regular',
  EISDIR: 'not-regular',
  EMFILE: 'too-many-open',
  ENFILE: 'too-many-open',
}

function failure(path: string, doing: string, error: unknown): BackingError {
  const system = systemCode(error)
  const code = CODES[system] ?? 'io'
  return new BackingError(
    code,
    path,
    `Cannot ${doing} ${path} as a backing: ${system || String(error)}`,
    error,
  )
}

export class FileBacking implements Backing {
  readonly path: string
  readonly size: number
  readonly identity: Identity
  readonly #lease: TakeLease | undefined
  #descriptor: number

  constructor(path: string, options: FileOptions = {}) {
    this.path = path
    this.#lease = options.lease
    let descriptor: number
    try {
      descriptor = options.descriptor ?? openSync(path, FLAGS)
    } catch (error) {
      throw failure(path, 'open', error)
    }
    try {
      const stats = fstatSync(descriptor, { bigint: true })
      if (!stats.isFile()) {
        throw new BackingError(
          'not-regular',
          path,
          `${path} is not a regular file, so it cannot be a backing`,
        )
      }
      this.identity = identityOf(stats)
    } catch (error) {
      closeSync(descriptor)
      throw error instanceof BackingError ? error : failure(path, 'look at', error)
    }
    this.size = this.identity.size
    this.#descriptor = descriptor
  }

  /** The descriptor, for those who lend it to the kernel. It stays this object's. */
  get descriptor(): number {
    if (this.#descriptor < 0)
      throw new BackingError('closed', this.path, `The backing ${this.path} is closed`)
    return this.#descriptor
  }

  read(offset: number, into: Uint8Array): number {
    const { descriptor } = this
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new BackingError(
        'range',
        this.path,
        `Invalid offset ${offset} in a backing of ${this.size} bytes`,
      )
    }
    let done = 0
    while (done < into.length) {
      let n: number
      try {
        n = readSync(descriptor, into, done, into.length - done, offset + done)
      } catch (error) {
        if (systemCode(error) === 'EINTR') continue
        throw failure(this.path, 'read', error)
      }
      if (n === 0) break
      done += n
    }
    return done
  }

  hold(): Hold {
    const release = this.#lease?.(this.descriptor)
    let held = true
    return {
      leased: release !== undefined,
      release() {
        if (held) release?.()
        held = false
      },
    }
  }

  /** What the file is now; differs from `identity` when somebody wrote it. */
  current(): Identity {
    return identityOf(fstatSync(this.descriptor, { bigint: true }))
  }

  close(): void {
    if (this.#descriptor < 0) return
    closeSync(this.#descriptor)
    this.#descriptor = -1
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
