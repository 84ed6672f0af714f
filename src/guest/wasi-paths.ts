// Calls on paths, all below a directory that the guest has.
import { fdFlag, opened, right } from './descriptors.ts'
import { errno, Refusal } from './errno.ts'
import { fs } from './node.ts'
import { resolveBelow } from './paths.ts'
import { putStat, times } from './wasi-files.ts'
import type { Host, WasiFunction } from './wasi.ts'

const {
  constants,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
} = fs

/** `rights` of paths. */
const pathRight = {
  createDirectory: 0x200n,
  createFile: 0x400n,
  linkSource: 0x800n,
  linkTarget: 0x1000n,
  open: 0x2000n,
  readlink: 0x8000n,
  renameSource: 0x10000n,
  renameTarget: 0x20000n,
  filestatGet: 0x40000n,
  filestatSetTimes: 0x100000n,
  symlink: 0x1000000n,
  removeDirectory: 0x2000000n,
  unlinkFile: 0x4000000n,
} as const

/** `oflags`. */
const openFlag = { create: 1, directory: 2, exclusive: 4, truncate: 8 } as const
const followLinks = 1

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function pathCalls({ memory, descriptors }: Host): Record<string, WasiFunction> {
  const text = (at: number, bytes: number): string => {
    const name = memory().get(at >>> 0, bytes >>> 0)
    try {
      return decoder.decode(name)
    } catch {
      throw new Refusal(errno.ilseq)
    }
  }
  const path = (fd: number, rights: bigint, at: number, bytes: number, follow: boolean): string => {
    const { base } = descriptors.get(fd, rights)
    if (base === undefined) throw new Refusal(errno.notdir)
    return resolveBelow(base, text(at, bytes), follow)
  }
  return {
    path_create_directory: (fd: number, at: number, bytes: number) => {
      mkdirSync(path(fd, pathRight.createDirectory, at, bytes, false))
      return errno.success
    },
    path_filestat_get: (fd: number, flags: number, at: number, bytes: number, out: number) => {
      const found = path(fd, pathRight.filestatGet, at, bytes, (flags & followLinks) !== 0)
      putStat(memory(), out >>> 0, lstatSync(found, { bigint: true }))
      return errno.success
    },
    path_filestat_set_times: (
      fd: number,
      flags: number,
      at: number,
      bytes: number,
      accessed: bigint,
      modified: bigint,
      which: number,
    ) => {
      const found = path(fd, pathRight.filestatSetTimes, at, bytes, (flags & followLinks) !== 0)
      const stat = lstatSync(found, { bigint: true })
      const set = stat.isSymbolicLink() ? lutimesSync : utimesSync
      set(found, ...times(stat, accessed, modified, which))
      return errno.success
    },
    path_link: (
      from: number,
      flags: number,
      at: number,
      bytes: number,
      to: number,
      toAt: number,
      toBytes: number,
    ) => {
      const source = path(from, pathRight.linkSource, at, bytes, (flags & followLinks) !== 0)
      linkSync(source, path(to, pathRight.linkTarget, toAt, toBytes, false))
      return errno.success
    },
    path_open: (
      fd: number,
      lookup: number,
      at: number,
      bytes: number,
      how: number,
      rights: bigint,
      inheriting: bigint,
      flags: number,
      out: number,
    ) => {
      let needed: bigint = pathRight.open
      if ((how & openFlag.create) !== 0) needed |= pathRight.createFile
      const parent = descriptors.get(fd, needed)
      const follow = (lookup & followLinks) !== 0
      const found = path(fd, needed, at, bytes, follow && (how & openFlag.exclusive) === 0)
      const wanted = BigInt.asUintN(64, rights) & parent.inheriting
      const host = openSync(found, hostFlags(how, wanted, flags), 0o666)
      const inherits = BigInt.asUintN(64, inheriting) & parent.inheriting
      memory().setU32(out >>> 0, descriptors.add(opened(host, found, wanted, inherits, flags)))
      return errno.success
    },
    path_readlink: (fd: number, at: number, bytes: number, to: number, room: number, out: number) => {
      const target = Buffer.from(readlinkSync(path(fd, pathRight.readlink, at, bytes, false)))
      const fits = target.subarray(0, room >>> 0)
      memory().set(to >>> 0, fits)
      memory().setU32(out >>> 0, fits.length)
      return errno.success
    },
    path_remove_directory: (fd: number, at: number, bytes: number) => {
      rmdirSync(path(fd, pathRight.removeDirectory, at, bytes, false))
      return errno.success
    },
    path_rename: (from: number, at: number, bytes: number, to: number, toAt: number, toBytes: number) => {
      const source = path(from, pathRight.renameSource, at, bytes, false)
      renameSync(source, path(to, pathRight.renameTarget, toAt, toBytes, false))
      return errno.success
    },
    path_symlink: (at: number, bytes: number, fd: number, linkAt: number, linkBytes: number) => {
      const target = text(at, bytes)
      // One that leads elsewhere would not be followed by us, but by everybody else.
      if (target.startsWith('/')) throw new Refusal(errno.notcapable)
      symlinkSync(target, path(fd, pathRight.symlink, linkAt, linkBytes, false))
      return errno.success
    },
    path_unlink_file: (fd: number, at: number, bytes: number) => {
      const found = path(fd, pathRight.unlinkFile, at, bytes, false)
      if (statSync(found, { throwIfNoEntry: false })?.isDirectory() && !lstatSync(found).isSymbolicLink())
        throw new Refusal(errno.isdir)
      unlinkSync(found)
      return errno.success
    },
  }
}

// We have followed what is to be followed: the kernel follows nothing.
function hostFlags(how: number, rights: bigint, flags: number): number {
  const writing = right.fdWrite | right.fdDatasync | right.fdAllocate | right.fdFilestatSetSize
  const reads = (rights & (right.fdRead | right.fdReaddir)) !== 0n
  const writes = (rights & writing) !== 0n && (how & openFlag.directory) === 0
  let host =
    constants.O_NOFOLLOW | (writes ? (reads ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY)
  if ((how & openFlag.create) !== 0) host |= constants.O_CREAT
  if ((how & openFlag.directory) !== 0) host |= constants.O_DIRECTORY
  if ((how & openFlag.exclusive) !== 0) host |= constants.O_EXCL
  if ((how & openFlag.truncate) !== 0) host |= constants.O_TRUNC
  if ((flags & fdFlag.append) !== 0) host |= constants.O_APPEND
  if ((flags & fdFlag.nonblock) !== 0) host |= constants.O_NONBLOCK
  if ((flags & fdFlag.dsync) !== 0) host |= constants.O_DSYNC
  if ((flags & (fdFlag.sync | fdFlag.rsync)) !== 0) host |= constants.O_SYNC
  return host
}
