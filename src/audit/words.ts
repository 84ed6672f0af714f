/** Figures of an audit as people say them: for the terminal and for the page alike, so nothing here needs Node. */
import type { AuditFile } from './audit.ts'
import type { Saving } from './cost.ts'
import type { Grain } from './grain.ts'
import { type Pattern, patterns } from './patterns.ts'

export const PAGE = 4096

/** Bytes as people say them: 1.3 MB, in powers of ten. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = Math.abs(bytes)
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${bytes < 0 ? '-' : ''}${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** Microseconds as people say them: 4.2 µs, 12 ms. */
export function formatMicroseconds(microseconds: number): string {
  const [value, unit] =
    microseconds < 1000
      ? [microseconds, 'µs']
      : microseconds < 1e6
        ? [microseconds / 1000, 'ms']
        : [microseconds / 1e6, 's']
  return `${value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${unit}`
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

/** Microseconds a page of a price, which is in seconds for 64 KiB. */
export const pageMicroseconds = (price: number): number => (price / 16) * 1e6

/** Bytes by how they were copied, the largest first. */
export function byPattern(
  files: readonly Pick<AuditFile, 'pattern' | 'bytes'>[],
): readonly (readonly [Pattern, number])[] {
  return patterns
    .map(pattern => {
      const bytes = files
        .filter(file => file.pattern === pattern)
        .reduce((total, file) => total + file.bytes, 0)
      return [pattern, bytes] as const
    })
    .filter(([, bytes]) => bytes > 0)
    .toSorted((a, b) => b[1] - a[1])
}

/** Whether pages are too coarse for a process, in a word and a figure. */
export interface GrainVerdict {
  readonly answer: 'no' | 'a little' | 'yes'
  /** Size at which most is explained net, and what that adds to what pages explain, as a share of all bytes. */
  readonly bytes: number
  readonly gain: number
  /** What pages explain, net. */
  readonly page: number
}

/** Whether smaller blocks than pages would explain more, after what it takes to keep track of them. */
export function verdict({ points }: Grain): GrainVerdict {
  const page = points.find(({ bytes }) => bytes === PAGE)?.net ?? 0
  const best = points
    .filter(({ bytes }) => bytes <= PAGE)
    .reduce((a, b) => (b.net > a.net + 1e-9 ? b : a), { bytes: PAGE, net: page })
  const gain = best.net - page
  return { answer: gain < 0.03 ? 'no' : gain < 0.12 ? 'a little' : 'yes', bytes: best.bytes, gain, page }
}

/** `all`: bytes of memory that the shares are of. */
export function grainSentence({ bytes, gain, page }: GrainVerdict, all: number): string {
  const pages = `pages of 4 KiB reach ${(page * 100).toFixed(1)} %`
  if (gain < 0.0005) return `${pages}, and no smaller block is worth its bookkeeping`
  const figure = `${(gain * 100).toFixed(1)} points (${formatBytes(gain * all)})`
  return `${pages}; blocks of ${bytes} B would add ${figure}, after 8 B of bookkeeping a block`
}

/** What is left of a saving beside its pager, of a process that is not attached. */
export function netSentence({ now, own, asleep = own }: Saving): string {
  const awake = now > own ? `${formatBytes(now - own)} net of its pager` : 'less than its pager takes'
  const later = now > asleep ? `${formatBytes(now - asleep)} net` : 'less than that'
  return `${awake} while that is awake (${formatBytes(own)}), ${later} while it sleeps (${formatBytes(asleep)})`
}
