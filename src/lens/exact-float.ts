/** Decimal and hexadecimal text to floating point, rounded once. Slow: for what the kernels leave over. */

const bits = new DataView(new ArrayBuffer(8))

/** A finite double as mantissa × 2^exponent. */
function parts(value: number): { readonly mantissa: bigint; readonly exponent: number } {
  bits.setFloat64(0, Math.abs(value))
  const word = bits.getBigUint64(0)
  const biased = Number(word >> 52n)
  const fraction = word & 0xf_ffff_ffff_ffffn
  return biased === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | (1n << 52n), exponent: biased - 1075 }
}

/** Whether the decimal number of a text is larger (1), smaller (-1) than a positive double, or equal to it (0); signs are passed over. */
function compare(text: string, value: number): number {
  const [, whole = '', fraction = '', power = '0'] =
    /^[-+]?([0-9]*)\.?([0-9]*)(?:[eE]([-+]?[0-9]+))?/.exec(text) ?? []
  let decimal = BigInt(`0${whole}${fraction}`)
  const ten = Number(power) - fraction.length
  let { mantissa, exponent } = parts(value)
  if (ten >= 0) decimal *= 10n ** BigInt(ten)
  else mantissa *= 10n ** BigInt(-ten)
  if (exponent >= 0) mantissa <<= BigInt(exponent)
  else decimal <<= BigInt(-exponent)
  exponent = 0
  return decimal > mantissa ? 1 : decimal < mantissa ? -1 : 0
}

/** The f32 that is nearest to a decimal number: what strtof gives. */
export function exactSingle(text: string): number {
  const double = Math.abs(Number(text))
  const single = Math.fround(double)
  if (single === double || !Number.isFinite(single) || !(double > 0)) return Math.fround(Number(text))
  // The single on the other side of the double.
  bits.setFloat32(0, single)
  bits.setUint32(0, bits.getUint32(0) + (single < double ? 1 : -1))
  const other = bits.getFloat32(0)
  const nearest =
    (single + other) / 2 !== double
      ? single
      : [Math.min(single, other), single, Math.max(single, other)][compare(text, double) + 1]
  return text.startsWith('-') ? -(nearest ?? single) : (nearest ?? single)
}

/** The double of C's hexadecimal notation: -0x1.8p3 is -12. */
export function hexFloat(text: string): number {
  const [, sign, whole = '', fraction = '', power = '0'] =
    /^([-+]?)0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([-+]?[0-9]+))?/.exec(text) ?? []
  const mantissa = Number(BigInt(`0x0${whole}${fraction}`))
  const value = mantissa * 2 ** (Number(power) - 4 * fraction.length)
  return sign === '-' ? -value : value
}
