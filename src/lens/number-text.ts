/** Numbers as text that means exactly them, where possible as long as the text that they replace. */

/**
 * The shortest text of a number; longer, if `width` asks for that, by zeros that change nothing: '7' as '7.00', '1.5' as
 * '1.500', '12' as '0012' where there is no room for a fraction or `integer` forbids one.
 */
export function numberText(value: number | bigint, width: number, integer: boolean): string {
  const text = Object.is(value, -0) ? '-0' : String(value)
  const missing = width - text.length
  if (missing <= 0) return shorter(value, text, width)
  if (!/[0-9]/.test(text)) return text.padEnd(width)
  if (!integer && !text.includes('e')) {
    if (text.includes('.')) return text.padEnd(width, '0')
    if (missing >= 2) return `${text}.`.padEnd(width, '0')
  }
  const sign = text.startsWith('-') ? '-' : ''
  return sign + text.slice(sign.length).padStart(width - sign.length, '0')
}

/** Without the zero before the point, or with an exponent, if that makes it fit. */
function shorter(value: number | bigint, text: string, width: number): string {
  if (text.length <= width || typeof value === 'bigint') return text
  const candidates = [text.replace(/^(-?)0\./, '$1.'), value.toExponential().replace('e+', 'e')]
  return candidates.find(candidate => candidate.length <= width && Number(candidate) === value) ?? text
}
