// What scanf is asked to write: the targets of a format's conversions. A C library may leave out a null target without a word (musl
// does), so that nothing of the error is to be seen in memory.

/** One target: which conversion it is for, the bytes that are written there at least, and its place among the arguments. */
export interface ScanTarget {
  readonly conversion: string
  readonly size: number
  readonly argument: number
}

const conversions = /%(?:%|(\*?)\d*m?(hh|h|ll|l|j|z|t|L|q)?([diouxXaAeEfFgGpncCsS]|\[\^?\]?[^\]]*\]))/g

/** The targets of a format, on a machine with long and pointers of 4 bytes. Formats with numbered arguments (`%1$d`) have none. */
export function scanTargets(format: string): ScanTarget[] {
  if (format.includes('$')) return []
  const targets: ScanTarget[] = []
  for (const [conversion, star, length, letter] of format.matchAll(conversions)) {
    if (letter === undefined || star === '*') continue
    targets.push({ conversion, size: sizeOf(letter, length ?? ''), argument: targets.length })
  }
  return targets
}

function sizeOf(letter: string, length: string): number {
  if (/[cCsS[]/.test(letter.charAt(0))) return length === 'l' || /[CS]/.test(letter) ? 4 : 1
  if (/[aAeEfFgG]/.test(letter)) return length === 'L' ? 16 : length === 'l' ? 8 : 4
  if (length === 'hh') return 1
  if (length === 'h') return 2
  return /^(ll|j|L|q)$/.test(length) ? 8 : 4
}
