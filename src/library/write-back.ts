/**
 * Edits of a file, all or none.
 *
 * Who is killed at any moment leaves the file as it was or as it is to be. Edits that keep their length and lie in one page of the
 * file are one write, which the kernel does not divide. All others are made in a copy beside the file, which then takes
 * its place: the copy is cheap where the file system shares blocks. What a killed predecessor left beside the file is removed.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Backing, type Identity, sameIdentity } from '../backing/backing.ts'
import { identityOf } from '../backing/file.ts'
import type { Edit } from '../lens/lens.ts'
import { MemoryError } from './errors.ts'

const PAGE = 4096
const COPY = 2 ** 20

const removed = ({ bytes, removes = bytes.length }: Edit): number => removes
const keepsLength = (edit: Edit): boolean => removed(edit) === edit.bytes.length

/** The edits without what they leave as it is, in pieces of one page where they keep their length, in order. */
export function narrowed(origin: Backing, edits: readonly Edit[]): Edit[] {
  const old = new Uint8Array(PAGE)
  const out: Edit[] = []
  for (const edit of edits) {
    if (!keepsLength(edit)) {
      out.push(edit)
      continue
    }
    const { offset, bytes } = edit
    for (let at = 0; at < bytes.length; ) {
      const n = Math.min(bytes.length - at, PAGE - ((offset + at) % PAGE))
      const piece = bytes.subarray(at, at + n)
      const before = old.subarray(0, n)
      origin.read(offset + at, before)
      let from = 0
      let to = n
      while (from < to && piece[from] === before[from]) from++
      while (to > from && piece[to - 1] === before[to - 1]) to--
      if (to > from) out.push({ offset: offset + at + from, bytes: piece.slice(from, to) })
      at += n
    }
  }
  return out.sort((a, b) => a.offset - b.offset)
}

/** Makes the edits in the file at `path`, which must be what `seen` says; what it is then. */
export function writeBack(path: string, seen: Identity, edits: readonly Edit[]): Identity {
  const first = edits[0]
  if (first === undefined) return seen
  try {
    const real = realpathSync(path)
    const last = edits.at(-1) as Edit
    const inOnePage =
      Math.floor(first.offset / PAGE) === Math.floor((last.offset + last.bytes.length - 1) / PAGE)
    return inOnePage && edits.every(keepsLength) ? inPlace(real, seen, edits) : replace(real, seen, edits)
  } catch (error) {
    if (error instanceof MemoryError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new MemoryError('write-back', `${path} can't be written (${code}); it is as it was`, error)
  }
}

function mustBe(path: string, descriptor: number, seen: Identity): void {
  const stats = fstatSync(descriptor, { bigint: true })
  if (!sameIdentity(identityOf(stats), seen))
    throw new MemoryError(
      'changed',
      `${path} was changed by somebody else, and nothing was written back; close the region and map it again`,
    )
}

function inPlace(path: string, seen: Identity, edits: readonly Edit[]): Identity {
  const descriptor = openSync(path, 'r+')
  try {
    mustBe(path, descriptor, seen)
    const from = (edits[0] as Edit).offset
    const { offset, bytes } = edits.at(-1) as Edit
    const piece = new Uint8Array(offset + bytes.length - from)
    readSync(descriptor, piece, 0, piece.length, from)
    for (const edit of edits) piece.set(edit.bytes, edit.offset - from)
    writeSync(descriptor, piece, 0, piece.length, from)
    fsyncSync(descriptor)
    return identityOf(fstatSync(descriptor, { bigint: true }))
  } finally {
    closeSync(descriptor)
  }
}

function replace(path: string, seen: Identity, edits: readonly Edit[]): Identity {
  const folder = dirname(path)
  const prefix = `.${basename(path)}.lethe-`
  removeLeftovers(folder, prefix)
  const part = join(folder, `${prefix}${process.pid}-${Date.now().toString(36)}`)
  const old = openSync(path, 'r')
  try {
    const stats = fstatSync(old)
    if (stats.nlink > 1)
      throw new MemoryError(
        'write-back',
        `${path} has ${stats.nlink} names, and putting an edited copy in its place would part them; map a copy of it`,
      )
    mustBe(path, old, seen)
    const shared = edits.every(keepsLength)
    if (shared) copyFileSync(path, part, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    const into = openSync(part, shared ? 'r+' : 'wx+', 0o600)
    try {
      if (shared) for (const { offset, bytes } of edits) writeAll(into, bytes, offset)
      else rewrite(old, into, seen.size, edits)
      fchmodSync(into, stats.mode & 0o7777)
      if (process.getuid?.() === 0) fchownSync(into, stats.uid, stats.gid)
      fsyncSync(into)
      mustBe(path, old, seen)
      renameSync(part, path)
      syncFolder(folder)
      return identityOf(fstatSync(into, { bigint: true }))
    } finally {
      closeSync(into)
    }
  } finally {
    closeSync(old)
    rmSync(part, { force: true })
  }
}

/** Writes what `old` has, with the edits, to `into`. */
function rewrite(old: number, into: number, size: number, edits: readonly Edit[]): void {
  const buffer = new Uint8Array(COPY)
  let from = 0
  let to = 0
  const copy = (end: number): void => {
    while (from < end) {
      const n = readSync(old, buffer, 0, Math.min(buffer.length, end - from), from)
      if (n === 0) throw new Error('the file is shorter than it was')
      to += writeAll(into, buffer.subarray(0, n), to)
      from += n
    }
  }
  for (const edit of edits) {
    copy(edit.offset)
    to += writeAll(into, edit.bytes, to)
    from = edit.offset + removed(edit)
  }
  copy(size)
}

function writeAll(descriptor: number, bytes: Uint8Array, at: number): number {
  for (let done = 0; done < bytes.length; )
    done += writeSync(descriptor, bytes, done, bytes.length - done, at + done)
  return bytes.length
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r')
  try {
    fsyncSync(descriptor)
  } catch {
    // Some file systems can't; the name is then there when they think it right.
  } finally {
    closeSync(descriptor)
  }
}

function removeLeftovers(folder: string, prefix: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(prefix)) continue
    const owner = Number.parseInt(name.slice(prefix.length), 10)
    try {
      process.kill(owner, 0)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') rmSync(join(folder, name), { force: true })
    }
  }
}
