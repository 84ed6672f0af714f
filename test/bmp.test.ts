import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { members } from '../src/lens/members.ts'
import { randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { readWhole } from './stream-helpers.ts'

vi.setConfig({ testTimeout: 60_000 })

interface Image {
  readonly width: number
  readonly height: number
  readonly step: number
  readonly topDown: boolean
  /** Rows from the top, as the file orders the bytes of a pixel. */
  readonly pixels: Uint8Array
}

function encode({ width, height, step, topDown, pixels }: Image): Uint8Array {
  const stride = Math.ceil((width * step) / 4) * 4
  const bytes = Buffer.alloc(54 + stride * height, 0xee)
  bytes.fill(0, 0, 54)
  bytes.write('BM', 'latin1')
  bytes.writeUInt32LE(54, 10)
  bytes.writeUInt32LE(40, 14)
  bytes.writeInt32LE(width, 18)
  bytes.writeInt32LE(topDown ? -height : height, 22)
  bytes.writeUInt16LE(1, 26)
  bytes.writeUInt16LE(step * 8, 28)
  for (let y = 0; y < height; y++) {
    const row = pixels.subarray(y * width * step, (y + 1) * width * step)
    bytes.set(row, 54 + stride * (topDown ? y : height - 1 - y))
  }
  return Uint8Array.from(bytes)
}

const images = fc
  .record({
    width: fc.integer({ min: 1, max: 30 }),
    height: fc.integer({ min: 1, max: 20 }),
    step: fc.constantFrom(3, 4),
    topDown: fc.boolean(),
    seed: fc.nat(1000),
  })
  .map(
    ({ width, height, step, topDown, seed }): Image => ({
      width,
      height,
      step,
      topDown,
      pixels: randomBytes(width * height * step, seed),
    }),
  )

for (const name of ['bmp', 'bmp-rgba', 'bmp-bgra'])
  describe(name, () => {
    lensContract(lensNamed(name), { backings: images.map(encode) })
  })

describe('BMP files', () => {
  it('give their pixels from the top down, in any order of colours', () => {
    fc.assert(
      fc.property(images, image => {
        const { pixels, step } = image
        const backing = bytesBacking(encode(image))
        expect(readWhole(lensNamed('bmp'), backing)).toEqual(pixels)
        const wide = (order: readonly number[]): Uint8Array =>
          Uint8Array.from({ length: (pixels.length / step) * 4 }, (_, i) => {
            const channel = order[i & 3] ?? 0
            return channel < step ? (pixels[(i >> 2) * step + channel] ?? 0) : 255
          })
        expect(readWhole(lensNamed('bmp-bgra'), backing)).toEqual(wide([0, 1, 2, 3]))
        expect(readWhole(lensNamed('bmp-rgba'), backing)).toEqual(wide([2, 1, 0, 3]))
      }),
      { seed: 3, numRuns: 1000 },
    )
  })

  it('are found, and refused where they are cut or of another kind', () => {
    const good = encode({ width: 40, height: 40, step: 3, topDown: false, pixels: randomBytes(4800, 1) })
    expect(members(bytesBacking(good)).map(({ lens }) => lens)).toEqual(['bmp', 'bmp-rgba', 'bmp-bgra'])
    const palette = Uint8Array.from(good)
    palette[28] = 8
    for (const bad of [good.subarray(0, 3000), palette, randomBytes(100, 1)])
      expect(() => lensNamed('bmp').size(bytesBacking(bad))).toThrow(LensError)
  })
})
