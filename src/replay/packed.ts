// A page that no epoch makes well, packed as it is. Most such pages are records next to each other: pointers, counts, hashes, short strings. Their bytes are
// put column by column before zstd looks at them, if that makes it smaller: the high bytes of pointers, and what is 0 in each record, become long runs.
//
// The first byte is the length of a record in words of four bytes, 0 where the bytes are in their order; then the page.
import type { Packer } from './pack.ts'

const pageBytes = 4096
const pageWords = pageBytes / 4
/** Records of up to so many words are looked for, in every so many words of the page. */
const mostWords = 32
const sampleStep = 5
/** A longer record must be better by so many of the words that were looked at. */
const leastBetter = 8
/** Packed to more than this a page is not worth it. */
const mostPacked = 2560

const columns = new Uint8Array(1 + pageBytes)
const rows = new Uint8Array(1 + pageBytes)
const again = new Uint8Array(pageBytes)

/** undefined if the page is all zeros, null if it is not worth it. `quick`: in one of the two ways, whichever is better as a rule. */
export function packedPage(page: Uint8Array, packer: Packer, quick = false): Uint8Array | undefined | null {
  const words = new Uint32Array(page.buffer, page.byteOffset, pageWords)
  if (isZero(words)) return undefined
  const record = recordOf(words)
  let packed: Uint8Array | undefined
  if (record > 0) {
    columns[0] = record
    let to = 1
    for (let column = 0; column < record * 4; column++)
      for (let at = column; at < pageBytes; at += record * 4) columns[to++] = page[at] as number
    packed = packer.pack(columns)
  }
  if (packed === undefined || !quick) {
    rows[0] = 0
    rows.set(page, 1)
    const other = packer.pack(rows)
    if (packed === undefined || other.length <= packed.length) packed = other
  }
  if (packed.length > mostPacked) return null
  // Nothing is dropped that was not made again once.
  putPacked(packer.unpack(packed), again)
  return Buffer.compare(again, page) === 0 ? packed : null
}

function isZero(words: Uint32Array): boolean {
  for (const word of words) if (word !== 0) return false
  return true
}

/** Makes the page again of what was packed. */
export function putPacked(bytes: Uint8Array, page: Uint8Array): void {
  const step = (bytes[0] as number) * 4
  if (step === 0) {
    page.set(bytes.subarray(1, 1 + pageBytes))
    return
  }
  let from = 1
  for (let column = 0; column < step; column++)
    for (let at = column; at < pageBytes; at += step) page[at] = bytes[from++] as number
}

// How many words lie between words that have their upper halves in common most often; 0: none do.
function recordOf(words: Uint32Array): number {
  let record = 0
  let most = leastBetter
  for (let step = 1; step <= mostWords; step++) {
    let same = 0
    for (let i = mostWords; i < pageWords; i += sampleStep)
      if ((((words[i] as number) ^ (words[i - step] as number)) & 0xffff_0000) === 0) same++
    if (same <= most) continue
    most = same + leastBetter
    record = step
  }
  return record
}
