/** The directory of a zip archive (jar, docx, npz): its members, each as the name of a lens over the file. */
import type { Backing } from '../backing/backing.ts'

export interface ZipMember {
  readonly lens: string
  /** Bytes of the view. */
  readonly size: number
  /** Offset in the file of what is stored. */
  readonly offset: number
  readonly name: string
  /** Whether it lies in the archive as it is. */
  readonly stored: boolean
}

const KiB64 = 2 ** 16

function read(backing: Backing, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, backing.size - at)))
  return bytes.subarray(0, at < 0 ? 0 : backing.read(at, bytes))
}

/** Where the central directory of a zip file is, and how many bytes it has. */
export function zipDirectory(backing: Backing): { readonly at: number; readonly length: number } | undefined {
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

/** The members whose bytes can be had, in the order of the directory. */
export function* zipMembers(backing: Backing): Generator<ZipMember, void> {
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
      yield { lens: `inflate@${start}+${packed}:${checked}`, size, offset: start, name, stored: false }
    } else if (method === 0)
      yield { lens: `range@${start}+${packed}`, size, offset: start, name, stored: true }
    else if (inner)
      yield { lens: `range@${start}+${packed}|${inner}`, size, offset: start, name, stored: false }
  }
}
