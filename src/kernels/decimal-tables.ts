/** The tables that decimal.ts of the kernels needs: computed once, and written into each kernel's memory. */

/** 128 bits of 5^q, truncated, most significant bit set; for q < 0 those of the reciprocal, rounded up. */
function powerOfFive(q: number): bigint {
  const power = 5n ** BigInt(Math.abs(q))
  const bits = power.toString(2).length
  if (q >= 0) return bits > 128 ? power >> BigInt(bits - 128) : power << BigInt(128 - bits)
  // The smallest power of two that is no less.
  const z = (power & (power - 1n)) === 0n ? bits - 1 : bits
  if (q >= -27) return (1n << BigInt(z + 127)) / power + 1n
  const reciprocal = (1n << BigInt(2 * z + 128)) / power + 1n
  const excess = reciprocal.toString(2).length - 128
  return excess > 0 ? reciprocal >> BigInt(excess) : reciprocal
}

let fives: BigUint64Array | undefined

/** Writes the powers of five and of ten to where a kernel has room for them. */
export function fillDecimalTables(buffer: ArrayBuffer, fivesAt: number, tensAt: number): void {
  if (!fives) {
    fives = new BigUint64Array(2 * 651)
    for (let q = -342; q <= 308; q++) {
      const power = powerOfFive(q)
      fives[2 * (q + 342)] = power >> 64n
      fives[2 * (q + 342) + 1] = power & 0xffff_ffff_ffff_ffffn
    }
  }
  new BigUint64Array(buffer, fivesAt, 2 * 651).set(fives)
  const tens = new Float64Array(buffer, tensAt, 309)
  for (let q = 0; q <= 308; q++) tens[q] = Number(`1e${q}`)
}
