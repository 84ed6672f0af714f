// Sizes as people write and read them. Suffixes are binary, as in `ulimit`, `dd` and `docker -m`: 64M is 64 MiB.
import { UsageError } from './errors.ts'

const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** Bytes of `64M`, `64MiB`, `1.5G`, `4096`, `512k`. Throws UsageError. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim())
  const bytes =
    match === null ? Number.NaN : Math.round(Number(match[1]) * (units[(match[2] ?? '').toUpperCase()] ?? 1))
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new UsageError(
      `'${text}' is not a size: write a positive number of bytes such as 64M, 64MiB or 1.5G`,
    )
  return bytes
}

/** A number of bytes for people, three digits: `7.2 MiB`. */
export function formatSize(bytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < names.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${names[unit]}`
}
