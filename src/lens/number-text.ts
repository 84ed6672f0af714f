/** Numbers as text that means exactly them, where possible as long as the text that they replace. */
import type { TableType } from './table-lens.ts'

/**
 * The shortest text of a number; longer, if `width` asks for that, by zeros that change nothing: '7' as '7.00', '1.5' as
 * '1.500', '12' as '0012' where there is no room for a fraction or the type has none.
 */
export function numberText(value: number | bigint, width: number, as: TableType): string {
  const text = shortest(value, as)
  const missing = width - text.length
  if (missing <= 0) return shorter(text, width)
  if (!/[0-9]/.test(text)) return text.padEnd(width)
  const padded = withFraction(text, width, as)
  if (padded.length === width) return padded
  const sign = text.startsWith('-') ? '-' : ''
  return sign + text.slice(sign.length).padStart(width - sign.length, '0')
}

/** As JSON wants it: no zeros before a number, but blanks may follow; null for what is no number. */
export function jsonText(value: number | bigint, width: number, as: TableType): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return 'null'.padEnd(width)
  const text = shortest(value, as)
  if (text.length <= width) return withFraction(text, width, as).padEnd(width)
  const short = shorter(text, width)
  return short.startsWith('.') || short.startsWith('-.') ? text : short
}

/** An f32's shortest text is that of the shortest double which rounds to it. */
function shortest(value: number | bigint, as: TableType): string {
  if (Object.is(value, -0)) return '-0'
  if (as === 'f32' && typeof value === 'number' && Number.isFinite(value))
    for (let digits = 1; digits <= 9; digits++) {
      const short = Number(value.toPrecision(digits))
      if (Math.fround(short) === value) return String(short)
    }
  return String(value)
}

function withFraction(text: string, width: number, as: TableType): string {
  if (as.startsWith('i') || text.includes('e')) return text
  if (text.includes('.')) return text.padEnd(width, '0')
  return width - text.length >= 2 ? `${text}.`.padEnd(width, '0') : text
}

/** Without the zero before the point, or with an exponent, if that makes it fit. */
function shorter(text: string, width: number): string {
  if (text.length <= width || !/[.e]/.test(text)) return text
  const value = Number(text)
  const candidates = [text.replace(/^(-?)0\./, '$1.'), value.toExponential().replace('e+', 'e')]
  return candidates.find(candidate => candidate.length <= width && Number(candidate) === value) ?? text
}
