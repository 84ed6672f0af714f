import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decode } from '../../src/wasm/decode.ts'
import { validate } from '../../src/wasm/validate.ts'
import { checkGenerated, checkMutant, generated, verdict } from './claims.ts'
import { guest, guests } from './guests.ts'

describe('generated modules', () => {
  test('300 come back byte for byte, are valid, and V8 and wabt take them; binaryen takes a third', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 - 1 }), seed => checkGenerated(seed, seed % 3 === 0)),
      { numRuns: 300 },
    )
  }, 60_000)

  test('of 1,000 mutants of generated modules we take exactly those that wabt takes', async () => {
    const counts = { taken: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 - 1 }), async seed => {
        counts[await checkMutant(generated(seed), seed)]++
      }),
      { numRuns: 1000 },
    )
    expect(counts.taken).toBeGreaterThan(50)
    expect(counts.refused).toBeGreaterThan(500)
  }, 60_000)
})

describe('real modules', () => {
  for (const { name, bytes } of guests()) test(`${name} is valid`, () => validate(decode(bytes)))

  test('of 1,000 mutants of one we take exactly those that wabt takes', async () => {
    const { bytes } = guest('heap/best.wasm')
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 ** 31 - 1 }), async seed => {
        await checkMutant(bytes, seed)
      }),
      { numRuns: 1000 },
    )
  }, 60_000)
})

describe('what is wrong is said in one sentence, with the byte', () => {
  const module = (...sections: number[]): Uint8Array =>
    Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections)
  for (const [what, bytes, message] of [
    [
      'no module',
      Uint8Array.of(1, 2, 3),
      'Malformed WebAssembly at byte 0: it does not begin with \\0asm and a version',
    ],
    [
      'a component',
      Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0),
      'Unsupported WebAssembly at byte 4: components are not supported, only core modules',
    ],
    [
      'a section that is too long',
      module(1, 9, 0),
      'Malformed WebAssembly at byte 8: the section should have 9 bytes, but only 1 are left',
    ],
    [
      'a struct type',
      module(1, 3, 1, 0x5f, 0),
      'Unsupported WebAssembly at byte 11: a struct type (of the GC proposal) is not supported',
    ],
    [
      'an instruction of the GC proposal',
      module(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 0xfb, 0, 0x0b),
      "Unsupported WebAssembly at byte 23: the GC proposal's instruction 0xfb 0 is not supported",
    ],
    [
      'an operand of another type',
      module(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 0x41, 0, 0x50, 0x1a, 0x0b, 0x0b),
      'Invalid WebAssembly at byte 25: i64.eqz: the operand should be i64, it is i32',
    ],
  ] as const)
    test(what, () => expect(verdict(bytes)?.message).toBe(message))
})
