// Sizes as people write and read them. Suffixes are binary, as in `ulimit`, `dd` and `docker -m`: 64M is 64 MiB.
import { sizeIn } from '../library/size.ts'
import { UsageError } from './errors.ts'

/** Bytes of `64M`, `64MiB`, `1.5G`, `4096`, `512k`. Throws UsageError. */
export function parseSize(text: string): number {
  const bytes = sizeIn(text)
  if (bytes === undefined)
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
