// Pages that are packed as they are come out as they were, whatever lies on them.
import { expect, test } from 'vitest'
import { Packer } from '../../src/replay/pack.ts'
import { packedPage, putPacked } from '../../src/replay/packed.ts'
import { randomOf } from './loaders.ts'

const pageBytes = 4096
const packer = new Packer()

/** Records of some words: a pointer that grows, a count, a random word, zeros. */
function records(words: number, seed: number): Uint8Array {
  const random = randomOf(seed)
  const page = new Uint8Array(pageBytes)
  const view = new DataView(page.buffer)
  const shift = random(words)
  for (let i = 0; i + shift < pageBytes / 4; i++) {
    const column = i % words
    const value =
      column === 0 ? 0x30_0000 + i * 4 : column === 1 ? random(4) : column === 2 ? random(2 ** 24) : 0
    view.setUint32((i + shift) * 4, value, true)
  }
  return page
}

function again(packed: Uint8Array): Uint8Array {
  const page = new Uint8Array(pageBytes).fill(0xa5)
  putPacked(packer.unpack(packed), page)
  return page
}

test('pages of records of any length come out of it as they were', () => {
  for (let words = 3; words <= 40; words++)
    for (let seed = 1; seed <= 8; seed++) {
      const page = records(words, seed * 100 + words)
      const packed = packedPage(page, packer)
      if (packed === undefined || packed === null) expect.fail(`records of ${words} words are not worth it`)
      const same = Buffer.compare(again(packed), page) === 0
      expect(same, `records of ${words} words, seed ${seed}`).toBe(true)
    }
})

test('records take less than their bytes in order would', () => {
  const page = records(12, 7)
  const packed = packedPage(page, packer)
  expect(packed?.length).toBeLessThan(packer.pack(page).length * 0.9)
})

test('nothing is kept for a page of zeros, and a page of noise is not worth it', () => {
  expect(packedPage(new Uint8Array(pageBytes), packer)).toBeUndefined()
  const random = randomOf(5)
  expect(
    packedPage(
      Uint8Array.from({ length: pageBytes }, () => random(256)),
      packer,
    ),
  ).toBeNull()
})
