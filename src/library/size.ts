/** Sizes as people write them; binary suffixes, as everywhere in Lethe. */
import { MemoryError } from './errors.ts'

const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** Bytes of '64M', '64MiB', '1.5G', '4096' or '512k'; undefined where that is no positive size. */
export function sizeIn(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim())
  if (match === null) return undefined
  const bytes = Math.round(Number(match[1]) * (units[(match[2] ?? '').toUpperCase()] ?? 1))
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined
}

/** The same of a number or a text. MemoryError 'option'. */
export function bytesOf(size: number | string): number {
  const bytes = sizeIn(String(size))
  if (bytes !== undefined) return bytes
  throw new MemoryError(
    'option',
    `'${size}' is not a size: give a positive number of bytes, or a text such as '64MiB'`,
  )
}
