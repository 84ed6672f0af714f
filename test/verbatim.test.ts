import { describe, expect, it } from 'vitest'
import { verbatim } from '../src/lens/verbatim.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

for (const offset of [0, 1, 33, 1000]) {
  describe(`verbatim at offset ${offset}`, () => lensContract(verbatim(offset)))
}

describe('verbatim', () => {
  it('refuses a put beyond its size and an offset that is no byte offset', () => {
    const backing = bytesBacking(new Uint8Array(10))
    expect(() => verbatim(4).put?.(backing, 3, new Uint8Array(4))).toThrow(
      'Invalid put of 4 bytes at 3 in memory of 6 bytes',
    )
    expect(() => verbatim(-1)).toThrow(RangeError)
    expect(() => verbatim(0.5)).toThrow(RangeError)
  })

  it('zeroes the tail when a backing gives less than its size', () => {
    const backing = { ...bytesBacking(new Uint8Array([1, 2, 3])), size: 6 }
    const out = new Uint8Array(6).fill(9)
    verbatim().get(backing, 0, out)
    expect([...out]).toEqual([1, 2, 3, 0, 0, 0])
  })
})
