/**
 * Base64 and hex, either way.
 *
 *   base64-bytes, bytes-base64          one run of characters; the backing's side is what the name begins with
 *   base64-bytes/76, bytes-base64/76    in lines of 76 characters (any multiple of 4 up to 1024) that end with LF
 *   base64-bytes/76crlf                 with CR LF
 *   hex-bytes (either case), bytes-hex (lower), bytes-HEX (upper)
 *
 * '+P' behind a name: the first group or line begins at byte P of the backing, modulo the length of a line. What is
 * no digit, as around a run of base64 in a longer text, counts as the digit zero; '=' at the very end makes nothing.
 */
import { grouped, type Grouping } from './grouped.ts'
import type { Lens } from './lens.ts'

function mostly(bytes: Uint8Array, pattern: RegExp): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  return text.replace(pattern, '').length * 20 <= text.length
}

const saneBase64 = (bytes: Uint8Array): boolean => mostly(bytes, /[A-Za-z0-9+/=\r\n]/g)
/** How many '=' the last group ends with. */
const fillers = (last: Uint8Array): number => (last.at(-1) !== 61 ? 0 : last.at(-2) === 61 ? 2 : 1)
const saneHex = (bytes: Uint8Array): boolean => mostly(bytes, /[0-9A-Fa-f]/g)

function base64(name: string, decode: boolean, width: number, gap: number): Grouping {
  const lines = width > 0
  const groups = lines ? width / 4 : 1
  // Without lines all groups are one line to the kernel.
  const forward: Grouping['forward'] = (wasm, from, n, to) => {
    const run = decode ? wasm.base64ToBytes : wasm.bytesToBase64
    if (lines) run(from, n, groups, gap, to)
    else run(from, 1, n, 0, to)
  }
  const back: Grouping['forward'] = decode
    ? (wasm, from, n, to) => wasm.bytesToBase64(from, 1, n, 0, to)
    : (wasm, from, n, to) => wasm.base64ToBytes(from, 1, n, 0, to)
  return {
    name,
    from: decode ? 4 : 3,
    to: decode ? 3 : 4,
    groups,
    fromGap: decode ? gap : 0,
    toGap: decode ? 0 : gap,
    forward,
    ...(lines ? {} : { back }),
    exact: false, // memory does not say where in a group it begins
    padded: !decode,
    ...(decode ? { sane: saneBase64, lacking: fillers } : {}),
  }
}

function hex(name: string, letter: number): Grouping {
  const decode = name === 'hex-bytes'
  const write: Grouping['forward'] = (wasm, from, n, to) => wasm.bytesToHex(from, n, letter, to)
  const read: Grouping['forward'] = (wasm, from, n, to) => wasm.hexToBytes(from, n, to)
  return {
    name,
    from: decode ? 2 : 1,
    to: decode ? 1 : 2,
    groups: 1,
    fromGap: 0,
    toGap: 0,
    forward: decode ? read : write,
    back: decode ? write : read,
    exact: !decode, // digits have two cases
    padded: false,
    ...(decode ? { sane: saneHex } : {}),
  }
}

function groupingOf(name: string): Grouping | undefined {
  if (name === 'hex-bytes' || name === 'bytes-hex') return hex(name, 97)
  if (name === 'bytes-HEX') return hex(name, 65)
  const match = /^(base64-bytes|bytes-base64)(?:\/([1-9][0-9]{0,3})(crlf)?)?$/.exec(name)
  if (!match) return undefined
  const width = Number(match[2] ?? 0)
  if (width % 4 !== 0 || width > 1024) return undefined
  return base64(name, match[1] === 'base64-bytes', width, width === 0 ? 0 : match[3] ? 2 : 1)
}

/** Any of the names above, with or without a phase. */
export function codesNamed(name: string): Lens | undefined {
  const match = /^(.*?)(?:\+([1-9][0-9]{0,3}))?$/.exec(name)
  const grouping = groupingOf(match?.[1] ?? '')
  const phase = Number(match?.[2] ?? 0)
  return grouping && phase < grouping.groups * grouping.from + grouping.fromGap
    ? grouped(grouping, phase)
    : undefined
}
