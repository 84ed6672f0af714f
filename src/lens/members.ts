/**
 * The streams inside a file, each as the name of a lens over the file: what `explain` decompresses forwards.
 *
 * Whole-file formats (gzip, zstd, xz, bzip2, lz4, a loose git object) give one; PNG and BMP images one for each order of
 * colours; zip archives (jar, docx, npz, …) one a compressed member; PDF files one a FlateDecode stream; git packs one an
 * object. What is stored as it is needs no lens: the file itself is searched. Finding reads directories and headers only,
 * except in PDF files and packs, which are read through once. A damaged directory gives what could be read of it, never
 * an error: a name is a guess.
 */
import type { Backing } from '../backing/backing.ts'
import { isBmp } from './bmp.ts'
import { headerLength } from './deflate-framing.ts'
import { framesNamed } from './frames-named.ts'
import { gitObjects, isPack } from './git-object.ts'
import { gunzip } from './gunzip.ts'
import { isPng } from './png.ts'

export interface Member {
  /** For lensNamed. */
  readonly lens: string
  /** Bytes of the view; undefined where only decompressing tells. */
  readonly size: number | undefined
  /** Offset in the file. */
  readonly offset: number
  /** What the archive calls it. */
  readonly name?: string
}

export interface MemberOptions {
  /** Views of fewer bytes are left out. */
  readonly least?: number
  /** Members at most. */
  readonly most?: number
  readonly pause?: () => void
}

const KiB64 = 2 ** 16

function read(backing: Backing, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, backing.size - at)))
  return bytes.subarray(0, at < 0 ? 0 : backing.read(at, bytes))
}

/** Where the central directory of a zip file is, and how many bytes it has. */
function zipDirectory(backing: Backing): { readonly at: number; readonly length: number } | undefined {
  const tailAt = Math.max(0, backing.size - KiB64 - 22)
  const tail = read(backing, tailAt, KiB64 + 22)
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  if (end < 0 || end + 22 > tail.length) return undefined
  const length = tail.readUInt32LE(end + 12)
  const at = tail.readUInt32LE(end + 16)
  if (at !== 0xffffffff && length !== 0xffffffff) return { at, length }
  const locator = end - 20
  if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) return undefined
  const end64 = read(backing, Number(tail.readBigUInt64LE(locator + 8)), 56)
  if (end64.length < 56 || end64.readUInt32LE(0) !== 0x06064b50) return undefined
  return { at: Number(end64.readBigUInt64LE(48)), length: Number(end64.readBigUInt64LE(40)) }
}

/** The 64-bit numbers of an extra field, in the order in which the 32-bit ones are all ones. */
function zip64(extra: Buffer): bigint[] {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    const end = Math.min(at + 4 + extra.readUInt16LE(at + 2), extra.length)
    const numbers: bigint[] = []
    for (let n = at + 4; n + 8 <= end; n += 8) numbers.push(extra.readBigUInt64LE(n))
    return numbers
  }
  return []
}

/** By the number of the method: the lens over the compressed bytes. */
const methods: Readonly<Record<number, string>> = { 12: 'bunzip2', 93: 'unzstd', 95: 'unxz' }

function* zipMembers(backing: Backing): Generator<Member, void> {
  const place = zipDirectory(backing)
  if (!place || place.length > 2 ** 28) return
  const directory = read(backing, place.at, place.length)
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === 0x02014b50; ) {
    const flags = directory.readUInt16LE(at + 8)
    const method = directory.readUInt16LE(at + 10)
    const sum = directory.readUInt32LE(at + 16)
    const nameLength = directory.readUInt16LE(at + 28)
    const extraLength = directory.readUInt16LE(at + 30)
    const nameAt = at + 46
    const wide = zip64(directory.subarray(nameAt + nameLength, nameAt + nameLength + extraLength))
    const number = (field: number): number => {
      const value = directory.readUInt32LE(at + field)
      return value === 0xffffffff ? Number(wide.shift() ?? value) : value
    }
    const size = number(24)
    const packed = number(20)
    const offset = number(42)
    const name = directory.toString('utf8', nameAt, nameAt + nameLength)
    at = nameAt + nameLength + extraLength + directory.readUInt16LE(at + 32)
    if (flags & 1 || packed === 0) continue
    const local = read(backing, offset, 30)
    if (local.length < 30 || local.readUInt32LE(0) !== 0x04034b50) continue
    const start = offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
    if (start + packed > backing.size) continue
    const inner = methods[method]
    if (method === 8) {
      const checked = sum.toString(16).padStart(8, '0')
      yield { lens: `inflate@${start}+${packed}:${checked}`, size, offset: start, name }
    } else if (inner) yield { lens: `range@${start}+${packed}|${inner}`, size, offset: start, name }
  }
}

/** Streams of a PDF file that begin with a zlib header, where the dictionary before them says FlateDecode. */
function* pdfStreams(backing: Backing, pause: () => void): Generator<Member, void> {
  const STEP = 2 ** 20
  const OVERLAP = 2048
  const keyword = Buffer.from('stream')
  for (let at = 0; at < backing.size; at += STEP) {
    pause()
    const from = Math.max(0, at - OVERLAP)
    const bytes = read(backing, from, STEP + at - from + 16)
    for (let found = bytes.indexOf(keyword); found >= 0; found = bytes.indexOf(keyword, found + 6)) {
      const offset = from + found
      if (offset < at || offset >= at + STEP) continue
      let start = found + 6
      if (bytes[start] === 13) start++
      if (bytes[start] !== 10) continue
      start++
      if (typeof headerLength('zlib', bytes.subarray(start, start + 2)) !== 'number') continue
      const dictionary = bytes.toString('latin1', Math.max(0, found - OVERLAP), found)
      const own = dictionary.slice(Math.max(0, dictionary.lastIndexOf(' obj')))
      if (own.includes('/FlateDecode') || own.includes('/Fl '))
        yield { lens: `zlib@${from + start}`, size: undefined, offset: from + start }
    }
  }
}

/** A loose object: a zlib stream that is the whole file. What it makes begins with its kind and size. */
function isLoose(backing: Backing): boolean {
  const head = read(backing, 0, 2)
  return typeof headerLength('zlib', head) === 'number' && backing.size > 8 && backing.size < 2 ** 28
}

function* all(backing: Backing, pause: () => void): Generator<Member, void> {
  const whole = (lens: string, size?: number): Member => ({ lens, size, offset: 0 })
  if (gunzip.suits?.(backing)) return yield whole('gunzip')
  for (const name of ['unzstd', 'unxz', 'bunzip2', 'unlz4'])
    if (framesNamed(name)?.suits?.(backing)) return yield whole(name)
  if (isPng(backing)) {
    for (const name of ['png', 'png-rgb', 'png-rgba', 'png-bgra']) yield whole(name)
    return
  }
  if (isBmp(backing)) {
    for (const name of ['bmp', 'bmp-rgba', 'bmp-bgra']) yield whole(name)
    return
  }
  if (isPack(backing)) return yield* gitObjects(backing, pause)
  const head = read(backing, 0, 1024)
  if (head.includes('%PDF-')) return yield* pdfStreams(backing, pause)
  if (zipDirectory(backing)) return yield* zipMembers(backing)
  if (isLoose(backing)) yield whole('zlib@0')
}

/** The members of a file, in the order of the file. */
export function members(
  backing: Backing,
  { least = 4096, most = 100_000, pause = () => undefined }: MemberOptions = {},
): Member[] {
  const found: Member[] = []
  try {
    for (const member of all(backing, pause)) {
      if (member.size !== undefined && member.size < least) continue
      if (found.length >= most) break
      found.push(member)
    }
  } catch (error) {
    // What was found before the damage may still be right; whoever reads it sees.
    if (!(error instanceof Error)) throw error
  }
  return found
}
