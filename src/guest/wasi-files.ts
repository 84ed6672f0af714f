// Calls on descriptors.
import type { BigIntStats, Dir } from 'node:fs'
import { type Descriptor, type Entry, fdFlag, fileType, hostOffset, right, typeOf } from './descriptors.ts'
import { errno, Refusal } from './errno.ts'
import type { GuestMemory } from './memory.ts'
import { fs } from './node.ts'
import { sleep, waitForDescriptors } from './wait.ts'
import type { Host, WasiFunction } from './wasi.ts'

const {
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  opendirSync,
  readSync,
  writeSync,
} = fs

/** Small writes of several buffers go out as one. */
const gathered = 65_536
const scratch = new Uint8Array(gathered)

export function fileCalls({ memory, descriptors }: Host): Record<string, WasiFunction> {
  const get = (fd: number, rights = 0n): Descriptor => descriptors.get(fd, rights)
  const read = (fd: number, list: number, count: number, position: number | undefined): number => {
    const from = get(fd, position === undefined ? right.fdRead : right.fdRead | right.fdSeek)
    return readVector(memory(), from, list >>> 0, count >>> 0, position)
  }
  const write = (fd: number, list: number, count: number, position: number | undefined): number => {
    const to = get(fd, position === undefined ? right.fdWrite : right.fdWrite | right.fdSeek)
    return writeVector(memory(), to, list >>> 0, count >>> 0, position)
  }
  const answer = (at: number, bytes: number): number => {
    memory().setU32(at >>> 0, bytes)
    return errno.success
  }
  return {
    fd_read: (fd: number, list: number, count: number, out: number) =>
      answer(out, read(fd, list, count, undefined)),
    fd_pread: (fd: number, list: number, count: number, offset: bigint, out: number) =>
      answer(out, read(fd, list, count, length(offset))),
    fd_write: (fd: number, list: number, count: number, out: number) =>
      answer(out, write(fd, list, count, undefined)),
    fd_pwrite: (fd: number, list: number, count: number, offset: bigint, out: number) =>
      answer(out, write(fd, list, count, length(offset))),
    fd_seek: (fd: number, offset: bigint, whence: number, out: number) => {
      // Where one is may be asked for with the lesser right.
      const where = get(fd, offset === 0n && whence === 1 ? right.fdTell : right.fdSeek)
      memory().setU64(out >>> 0, BigInt(seek(where, offset, whence)))
      return errno.success
    },
    fd_tell: (fd: number, out: number) => {
      memory().setU64(out >>> 0, BigInt(seek(get(fd, right.fdTell), 0n, 1)))
      return errno.success
    },
    fd_close: (fd: number) => {
      descriptors.close(fd)
      return errno.success
    },
    fd_renumber: (from: number, to: number) => {
      descriptors.renumber(from, to)
      return errno.success
    },
    fd_advise: (fd: number, _offset: bigint, _length: bigint, advice: number) => {
      get(fd, right.fdAdvise)
      return advice >= 0 && advice <= 5 ? errno.success : errno.inval
    },
    fd_allocate: (fd: number, offset: bigint, bytes: bigint) => {
      const { fd: host } = get(fd, right.fdAllocate)
      const end = length(offset) + length(bytes)
      if (fstatSync(host).size < end) ftruncateSync(host, end)
      return errno.success
    },
    fd_sync: (fd: number) => {
      fsyncSync(get(fd, right.fdSync).fd)
      return errno.success
    },
    fd_datasync: (fd: number) => {
      fdatasyncSync(get(fd, right.fdDatasync).fd)
      return errno.success
    },
    fd_fdstat_get: (fd: number, out: number) => {
      const { type, flags, rights, inheriting } = get(fd)
      const at = out >>> 0
      memory().fill(at, 24)
      memory().setU8(at, type)
      memory().setU16(at + 2, flags)
      memory().setU64(at + 8, rights)
      memory().setU64(at + 16, inheriting)
      return errno.success
    },
    fd_fdstat_set_flags: (fd: number, flags: number) => {
      if ((flags & ~31) !== 0) return errno.inval
      get(fd, right.fdFdstatSetFlags).flags = flags
      return errno.success
    },
    fd_fdstat_set_rights: (fd: number, rights: bigint, inheriting: bigint) => {
      const one = get(fd)
      if ((rights & ~one.rights) !== 0n || (inheriting & ~one.inheriting) !== 0n) return errno.notcapable
      one.rights = BigInt.asUintN(64, rights)
      one.inheriting = BigInt.asUintN(64, inheriting)
      return errno.success
    },
    fd_filestat_get: (fd: number, out: number) => {
      const { fd: host, type } = get(fd, right.fdFilestatGet)
      if (host < 0) {
        memory().fill(out >>> 0, 64)
        memory().setU8((out >>> 0) + 16, type)
      } else putStat(memory(), out >>> 0, fstatSync(host, { bigint: true }))
      return errno.success
    },
    fd_filestat_set_size: (fd: number, size: bigint) => {
      ftruncateSync(get(fd, right.fdFilestatSetSize).fd, length(size))
      return errno.success
    },
    fd_filestat_set_times: (fd: number, accessed: bigint, modified: bigint, flags: number) => {
      const { fd: host } = get(fd, right.fdFilestatSetTimes)
      const [a, m] = times(fstatSync(host, { bigint: true }), accessed, modified, flags)
      futimesSync(host, a, m)
      return errno.success
    },
    fd_prestat_get: (fd: number, out: number) => {
      const { granted } = get(fd)
      if (granted === undefined) return errno.badf
      memory().setU32(out >>> 0, 0)
      memory().setU32((out >>> 0) + 4, Buffer.byteLength(granted))
      return errno.success
    },
    fd_prestat_dir_name: (fd: number, at: number, bytes: number) => {
      const { granted } = get(fd)
      if (granted === undefined) return errno.badf
      const name = Buffer.from(granted)
      if (name.length > bytes >>> 0) return errno.nametoolong
      memory().set(at >>> 0, name)
      return errno.success
    },
    fd_readdir: (fd: number, at: number, bytes: number, cookie: bigint, out: number) =>
      answer(out, readDirectory(memory(), get(fd, right.fdReaddir), at >>> 0, bytes >>> 0, length(cookie))),
  }
}

/** A size or an offset as a number. */
export function length(value: bigint): number {
  const number = Number(BigInt.asUintN(64, value))
  if (number > Number.MAX_SAFE_INTEGER) throw new Refusal(errno.inval)
  return number
}

// A descriptor that does not block is made to here: a guest that does not poll would spin.
function patiently<T>(one: Descriptor, transfer: () => T): T {
  for (let wait = 0.1; ; wait = Math.min(wait * 2, 10)) {
    try {
      return transfer()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || (one.flags & fdFlag.nonblock) !== 0)
        throw error
      sleep(wait)
    }
  }
}

function readVector(
  memory: GuestMemory,
  from: Descriptor,
  list: number,
  count: number,
  position: number | undefined,
): number {
  let total = 0
  for (let i = 0; i < count; i++) {
    const at = memory.getU32(list + i * 8)
    const wanted = memory.getU32(list + i * 8 + 4)
    if (wanted === 0) continue
    memory.check(at, wanted)
    const { bytes } = memory
    const offset = position === undefined ? from.position : position + total
    const regular = offset >= 0 && from.type === fileType.regular
    const provenance = regular ? { fd: from.fd, opened: from, offset } : undefined
    if (provenance !== undefined) memory.brings(at, wanted, provenance)
    else if (memory.observed) awaited(memory, from)
    let got = 0
    try {
      if (from.reader !== undefined) got = from.reader(bytes.subarray(at, at + wanted))
      else if (memory.bounces) got = bounce(from, bytes, at, wanted, offset)
      else
        got = patiently(from, () =>
          readSync(from.fd, bytes, at, Math.min(wanted, 0x7ffff000), offset < 0 ? null : offset),
        )
    } catch (error) {
      if (total > 0) break
      throw error
    }
    if (got > 0) memory.wrote(at, got, provenance)
    total += got
    if (position === undefined && from.position >= 0) from.position += got
    if (got < wanted) break
  }
  return total
}

// What may take long is waited for before it is read.
function awaited(memory: GuestMemory, { fd, type, flags }: Descriptor): void {
  if (fd < 0 || type === fileType.regular || (flags & fdFlag.nonblock) !== 0) return
  memory.waits(ms => waitForDescriptors([{ fd, type: 1 }], performance.now() + ms).length > 0)
}

// Through a buffer of ours.
function bounce(from: Descriptor, bytes: Uint8Array, at: number, wanted: number, offset: number): number {
  let done = 0
  while (done < wanted) {
    const part = Math.min(gathered, wanted - done)
    const got = patiently(from, () => readSync(from.fd, scratch, 0, part, offset < 0 ? null : offset + done))
    bytes.set(scratch.subarray(0, got), at + done)
    done += got
    // More may not be there yet, and must not be waited for.
    if (got < part || offset < 0) break
  }
  return done
}

function writeVector(
  memory: GuestMemory,
  to: Descriptor,
  list: number,
  count: number,
  position: number | undefined,
): number {
  let parts = 0
  let total = 0
  let at = 0
  for (let i = 0; i < count; i++) {
    const one = memory.getU32(list + i * 8 + 4)
    if (one === 0) continue
    at = memory.getU32(list + i * 8)
    memory.check(at, one)
    memory.reads(at, one)
    parts++
    total += one
  }
  const append = (to.flags & fdFlag.append) !== 0
  const offset = position ?? (append && to.position >= 0 ? fstatSync(to.fd).size : to.position)
  const { bytes } = memory
  let done = 0
  if (parts === 1) done = put(memory, to, at, total, offset)
  else if (total <= gathered) {
    let filled = 0
    for (let i = 0; i < count; i++) {
      const from = memory.getU32(list + i * 8)
      const one = memory.getU32(list + i * 8 + 4)
      scratch.set(bytes.subarray(from, from + one), filled)
      filled += one
    }
    if (total > 0) done = gatheredOut(to, total, offset)
  } else
    for (let i = 0; i < count; i++) {
      const one = memory.getU32(list + i * 8 + 4)
      if (one === 0) continue
      const wrote = put(memory, to, memory.getU32(list + i * 8), one, offset < 0 ? offset : offset + done)
      done += wrote
      if (wrote < one) break
    }
  if (position === undefined && to.position >= 0) to.position = offset + done
  return done
}

function put(memory: GuestMemory, to: Descriptor, at: number, size: number, offset: number): number {
  if (to.writer !== undefined) {
    to.writer(memory.bytes.slice(at, at + size))
    return size
  }
  if (!memory.bounces) return send(to, memory.bytes, at, Math.min(size, 0x7ffff000), offset)
  // Less than all may be written: the guest asks again.
  const part = Math.min(size, gathered)
  scratch.set(memory.bytes.subarray(at, at + part))
  return send(to, scratch, 0, part, offset)
}

// What was gathered.
function gatheredOut(to: Descriptor, size: number, offset: number): number {
  if (to.writer === undefined) return send(to, scratch, 0, size, offset)
  to.writer(scratch.slice(0, size))
  return size
}

function send(to: Descriptor, bytes: Uint8Array, at: number, size: number, offset: number): number {
  const done = patiently(to, () => writeSync(to.fd, bytes, at, size, offset < 0 ? null : offset))
  if ((to.flags & (fdFlag.sync | fdFlag.dsync)) !== 0) fdatasyncSync(to.fd)
  return done
}

function seek(one: Descriptor, offset: bigint, whence: number): number {
  if (one.fd < 0 || (one.type !== fileType.regular && one.position < 0 && one.type !== fileType.character))
    throw new Refusal(one.type === fileType.directory ? errno.badf : errno.spipe)
  if (one.type === fileType.character) return 0
  const here = one.position < 0 ? hostOffset(one.fd) : one.position
  if (whence === 1 && offset === 0n) return here
  const from = whence === 0 ? 0 : whence === 1 ? here : whence === 2 ? fstatSync(one.fd).size : undefined
  if (from === undefined) throw new Refusal(errno.inval)
  const to = from + Number(offset)
  if (to < 0 || !Number.isSafeInteger(to)) throw new Refusal(errno.inval)
  one.position = to
  return to
}

/** Writes a `filestat`. */
export function putStat(memory: GuestMemory, at: number, stat: BigIntStats): void {
  memory.fill(at, 64)
  memory.setU64(at, stat.dev)
  memory.setU64(at + 8, stat.ino)
  memory.setU8(at + 16, typeOf(stat))
  memory.setU64(at + 24, stat.nlink)
  memory.setU64(at + 32, stat.size)
  memory.setU64(at + 40, stat.atimeNs)
  memory.setU64(at + 48, stat.mtimeNs)
  memory.setU64(at + 56, stat.ctimeNs)
}

const setAccessed = 1
const accessedNow = 2
const setModified = 4
const modifiedNow = 8

/** Seconds for utimes: what `flags` say, or what they were. */
export function times(
  stat: BigIntStats,
  accessed: bigint,
  modified: bigint,
  flags: number,
): [number, number] {
  const pick = (given: bigint, set: number, now: number, was: bigint): number => {
    if ((flags & set) !== 0 && (flags & now) !== 0) throw new Refusal(errno.inval)
    if ((flags & now) !== 0) return Date.now() / 1000
    return Number((flags & set) === 0 ? was : given) / 1e9
  }
  return [
    pick(accessed, setAccessed, accessedNow, stat.atimeNs),
    pick(modified, setModified, modifiedNow, stat.mtimeNs),
  ]
}

function readDirectory(
  memory: GuestMemory,
  one: Descriptor,
  at: number,
  bytes: number,
  cookie: number,
): number {
  if (one.base === undefined) throw new Refusal(errno.notdir)
  memory.check(at, bytes)
  if (cookie === 0) {
    one.listing?.dir.closeSync()
    one.listing = { dir: opendirSync(one.base), entries: [], done: false }
  }
  const listing = one.listing
  if (listing === undefined) throw new Refusal(errno.inval)
  let used = 0
  for (let next = cookie; used < bytes; next++) {
    const entry = listing.entries[next] ?? nextEntry(listing, one.base)
    if (entry === undefined) break
    const header = Buffer.alloc(24)
    header.writeBigUInt64LE(BigInt(next + 1), 0)
    header.writeBigUInt64LE(entry.inode, 8)
    header.writeUInt32LE(entry.name.length, 16)
    header.writeUInt8(entry.type, 20)
    // What does not fit is cut: so the guest knows that there is more.
    for (const part of [header, entry.name]) {
      const fits = part.subarray(0, bytes - used)
      memory.set(at + used, fits)
      used += fits.length
    }
  }
  return used
}

function nextEntry(listing: { dir: Dir; entries: Entry[]; done: boolean }, base: string): Entry | undefined {
  const found = listing.done ? null : listing.dir.readSync()
  if (found === null) {
    listing.done = true
    return undefined
  }
  const stat = lstatSync(`${base}/${found.name}`, { bigint: true, throwIfNoEntry: false })
  const entry = { name: Buffer.from(found.name), inode: stat?.ino ?? 0n, type: typeOf(stat ?? found) }
  listing.entries.push(entry)
  return entry
}
