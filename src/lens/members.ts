/**
 * The streams inside a file, each as the name of a lens over the file: what `explain` decompresses forwards.
 *
 * Whole-file formats (gzip, zstd, xz, bzip2, lz4, a dump of Redis, a loose git object) give one; PNG, BMP and TIFF images one for each order of
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
import { tiffViews } from './tiff.ts'
import { isTiff, tiffDirectories } from './tiff-directory.ts'
import { zipDirectory, zipMembers } from './zip.ts'

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

function read(backing: Backing, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, backing.size - at)))
  return bytes.subarray(0, at < 0 ? 0 : backing.read(at, bytes))
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
  for (const name of ['unzstd', 'unxz', 'bunzip2', 'unlz4', 'rdb'])
    if (framesNamed(name)?.suits?.(backing)) return yield whole(name)
  if (isPng(backing)) {
    for (const name of ['png', 'png-rgb', 'png-rgba', 'png-bgra']) yield whole(name)
    return
  }
  if (isBmp(backing)) {
    for (const name of ['bmp', 'bmp-rgba', 'bmp-bgra']) yield whole(name)
    return
  }
  if (isTiff(backing)) {
    for (const offset of tiffDirectories(backing))
      for (const view of tiffViews(backing, offset)) yield { ...view, offset }
    return
  }
  if (isPack(backing)) return yield* gitObjects(backing, pause)
  const head = read(backing, 0, 1024)
  if (head.includes('%PDF-')) return yield* pdfStreams(backing, pause)
  if (zipDirectory(backing)) {
    for (const member of zipMembers(backing)) if (!member.stored) yield member
    return
  }
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
