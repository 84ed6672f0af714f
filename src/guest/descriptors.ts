// The guest's file descriptors. Each stands on one of the host's, or on a function of the embedder's.
//
// Node can't move a descriptor's offset, so a regular file that the guest opened has its offset here and is read with
// pread. Standard streams are shared with others, so they use the host's offset until the guest seeks.
import type { Dir } from 'node:fs'
import { errno, Refusal } from './errno.ts'
import { fs, tty } from './node.ts'

const { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } = fs

/** `filetype`. */
export const fileType = {
  unknown: 0,
  block: 1,
  character: 2,
  directory: 3,
  regular: 4,
  stream: 6,
  symlink: 7,
} as const

/** `rights`: which calls a descriptor allows. */
export const right = {
  fdDatasync: 0x1n,
  fdRead: 0x2n,
  fdSeek: 0x4n,
  fdFdstatSetFlags: 0x8n,
  fdSync: 0x10n,
  fdTell: 0x20n,
  fdWrite: 0x40n,
  fdAdvise: 0x80n,
  fdAllocate: 0x100n,
  fdReaddir: 0x4000n,
  fdFilestatGet: 0x200000n,
  fdFilestatSetSize: 0x400000n,
  fdFilestatSetTimes: 0x800000n,
  pollFdReadwrite: 0x8000000n,
} as const

export const allRights = 0x1fffffffn
const onlyDirectory = 0x71ffe00n
const onlyFile =
  right.fdRead | right.fdWrite | right.fdSeek | right.fdTell | right.fdAllocate | right.fdFilestatSetSize
const regularRights = allRights & ~onlyDirectory
const directoryRights = allRights & ~onlyFile
const streamRights = regularRights & ~(right.fdSeek | right.fdTell)

/** `fdflags`. */
export const fdFlag = { append: 1, dsync: 2, nonblock: 4, rsync: 8, sync: 16 } as const

/** Bytes from or to the embedder instead of a descriptor. A reader answers how many it put there, 0 at the end. */
export type Reader = (into: Uint8Array) => number
export type Writer = (bytes: Uint8Array) => void

export interface Descriptor {
  /** the host's, or -1 where `reader` or `writer` stands for it */
  fd: number
  readonly type: number
  /** closed with the guest's; the standard streams are somebody else's */
  readonly owned?: boolean
  rights: bigint
  inheriting: bigint
  flags: number
  /** where the next read or write goes; -1: the host knows */
  position: number
  /** name under which a directory was granted */
  readonly granted?: string
  /** path below which the directory's paths are resolved */
  readonly base?: string
  readonly reader?: Reader
  readonly writer?: Writer
  /** opened when the guest lists it */
  listing?: { dir: Dir; entries: Entry[]; done: boolean }
}

export interface Entry {
  readonly name: Uint8Array
  readonly inode: bigint
  readonly type: number
}

/** A host directory that the guest may use, and by which name. */
export interface Grant {
  readonly host: string
  readonly guest: string
}

export function typeOf(stat: {
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
  isCharacterDevice(): boolean
  isBlockDevice(): boolean
  isSocket(): boolean
}): number {
  if (stat.isFile()) return fileType.regular
  if (stat.isDirectory()) return fileType.directory
  if (stat.isSymbolicLink()) return fileType.symlink
  if (stat.isCharacterDevice()) return fileType.character
  if (stat.isBlockDevice()) return fileType.block
  if (stat.isSocket()) return fileType.stream
  return fileType.unknown
}

/** What a standard stream of the guest is. */
export function standard(stream: number | Reader | Writer, which: 0 | 1 | 2): Descriptor {
  if (typeof stream === 'function') {
    const rights = streamRights & ~(which === 0 ? right.fdWrite : right.fdRead)
    return {
      fd: -1,
      type: fileType.unknown,
      rights,
      inheriting: 0n,
      flags: 0,
      position: -1,
      ...(which === 0 ? { reader: stream as Reader } : { writer: stream as Writer }),
    }
  }
  const type = typeOf(fstatSync(stream))
  // A terminal is what has no offset: so the C library tells it from other devices.
  const seekable = type === fileType.regular || (type === fileType.character && !tty().isatty(stream))
  return {
    fd: stream,
    type,
    rights: seekable ? regularRights : streamRights,
    inheriting: 0n,
    flags: 0,
    position: -1,
  }
}

/** A granted directory. */
export function granted({ host, guest }: Grant): Descriptor {
  const fd = openSync(host, constants.O_RDONLY | constants.O_DIRECTORY)
  return {
    fd,
    type: fileType.directory,
    rights: directoryRights,
    inheriting: allRights,
    flags: 0,
    position: -1,
    owned: true,
    granted: guest,
    base: realpathSync(host),
  }
}

/** A file or directory that the guest has opened. */
export function opened(
  fd: number,
  path: string,
  rights: bigint,
  inheriting: bigint,
  flags: number,
): Descriptor {
  const type = typeOf(fstatSync(fd))
  const allowed =
    type === fileType.directory ? directoryRights : type === fileType.regular ? regularRights : streamRights
  return {
    fd,
    type,
    owned: true,
    rights: rights & allowed,
    inheriting: type === fileType.directory ? inheriting : 0n,
    flags,
    position: type === fileType.regular ? 0 : -1,
    ...(type === fileType.directory ? { base: path } : {}),
  }
}

/** The offset that the host has for a descriptor. */
export function hostOffset(fd: number): number {
  const found = /^pos:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))
  if (found === null) throw new Refusal(errno.spipe)
  return Number(found[1])
}

export class Descriptors {
  readonly #slots: (Descriptor | undefined)[] = []

  /** Puts it at the lowest free number. */
  add(descriptor: Descriptor): number {
    let at = this.#slots.indexOf(undefined)
    if (at < 0) at = this.#slots.length
    this.#slots[at] = descriptor
    return at
  }

  /** Throws EBADF, and ENOTCAPABLE where it does not have all the rights asked for. */
  get(fd: number, rights = 0n): Descriptor {
    const found = this.#slots[fd]
    if (found === undefined) throw new Refusal(errno.badf)
    if ((found.rights & rights) !== rights) throw new Refusal(errno.notcapable)
    return found
  }

  close(fd: number): void {
    const found = this.get(fd)
    this.#slots[fd] = undefined
    release(found)
  }

  /** Makes `to` what `from` was; `from` is gone. */
  renumber(from: number, to: number): void {
    const moved = this.get(from)
    const old = this.get(to)
    if (from === to) return
    this.#slots[to] = moved
    this.#slots[from] = undefined
    release(old)
  }

  /** Closes all but the standard streams. */
  end(): void {
    for (const one of this.#slots) if (one !== undefined) release(one)
    this.#slots.length = 0
  }
}

function release(descriptor: Descriptor): void {
  descriptor.listing?.dir.closeSync()
  if (descriptor.owned === true) closeSync(descriptor.fd)
}
