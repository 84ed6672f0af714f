/** Base64 and hex, either way: which of their lenses fit a file, and which can have made a page. */
import type { Backing } from '../backing/backing.ts'

const LOOK = 4096
/** Where a run of digits can begin in a file that does not begin with one: all of them. */
const PHASES = { base64: 4, hex: 2 } as const

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const isHex = (text: string): boolean => /^(?:[0-9a-f]+|[0-9A-F]+)$/.test(text)
const isBase64 = (text: string): boolean => /^[A-Za-z0-9+/]+$/.test(text)

function read(file: Backing, at: number, bytes: number): string {
  const into = new Uint8Array(bytes)
  return textOf(into.subarray(0, file.read(at, into)))
}

/** Lenses that decode a file whose middle is nothing but digits, in lines of equal length or in one. */
export function codeLenses(file: Backing): string[] {
  const at = Math.max(0, (file.size - LOOK) >> 1)
  const text = read(file, at, LOOK)
  const lines = text.split('\n')
  if (lines.length === 1) {
    const kind = isHex(text) ? 'hex' : isBase64(text) ? 'base64' : undefined
    if (kind === undefined) return []
    const whole = kind === 'hex' ? isHex(read(file, 0, 512)) : isBase64(read(file, 0, 512))
    const phases = whole ? 1 : PHASES[kind]
    return Array.from({ length: phases }, (_, i) => `${kind}-bytes${i === 0 ? '' : `+${i}`}`)
  }
  // The first one is cut, and so is the last one.
  const [first = '', line = ''] = lines
  const digits = line.endsWith('\r') ? line.slice(0, -1) : line
  const others = lines.slice(1, -1)
  if (others.length < 2 || others.some(other => other !== line && other.length !== line.length)) return []
  if (digits.length % 4 !== 0 || digits.length > 1024) return []
  if (!others.every(other => isBase64(other.slice(0, digits.length)))) return []
  const phase = (at + first.length + 1) % (line.length + 1)
  return [`base64-bytes/${digits.length}${digits === line ? '' : 'crlf'}${phase === 0 ? '' : `+${phase}`}`]
}

/** Lenses that encode, by what they leave in memory. */
export const encoders: readonly { readonly name: string; marks(page: Uint8Array): boolean }[] = [
  { name: 'bytes-hex', marks: page => digits(page) && /^[0-9a-f]+$/.test(textOf(page)) },
  { name: 'bytes-HEX', marks: page => digits(page) && /^[0-9A-F]+$/.test(textOf(page)) },
  {
    name: 'bytes-base64',
    marks: page => digits(page) && isBase64(textOf(page)) && !isHex(textOf(page)),
  },
  // As e-mail and Python's encodebytes() have it.
  {
    name: 'bytes-base64/76',
    marks: page =>
      digits(page) && /^[A-Za-z0-9+/]{0,76}(?:\n[A-Za-z0-9+/]{76})+\n[A-Za-z0-9+/]*$/.test(textOf(page)),
  },
]

// Most pages are no text at all: that is seen soon.
function digits(page: Uint8Array): boolean {
  for (let i = 0; i < page.length; i += 64) {
    const byte = page[i] ?? 0
    if (byte < 43 ? byte !== 10 : byte > 122) return false
  }
  return true
}
