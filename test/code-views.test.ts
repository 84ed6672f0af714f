// Base64, hex and narrowed doubles are found in memory through lenses that nobody has named.
import { afterAll, describe, expect, test } from 'vitest'
import { FakeMemory, Folder, layOut, logBytes, randomBytes, search } from './explain-helpers.ts'

const folder = new Folder()
afterAll(() => folder[Symbol.dispose]())
const lined = (text: string, width: number, end: string): string =>
  (text.match(new RegExp(`.{1,${width}}`, 'g')) ?? []).join(end) + end
const random = randomBytes(1_500_000, 7)
const base64 = Buffer.from(random).toString('base64')
const hex = Buffer.from(random).toString('hex')

describe('memory that holds', () => {
  test.each([
    ['what a base64 file says', base64, random, 'base64-bytes'],
    ['what one in lines says', lined(base64, 76, '\n'), random, 'base64-bytes/76'],
    [
      'what a PEM file says',
      `-----BEGIN A-----\r\n${lined(base64, 64, '\r\n')}`,
      random,
      'base64-bytes/64crlf+19',
    ],
    ['what stands as base64 in a document', `{"data":"${base64}"}`, random, 'base64-bytes+1'],
    ['what a hex file says', hex, random, 'hex-bytes'],
    ['a file as base64', random, Buffer.from(base64), 'bytes-base64'],
    ['a text as base64, in lines', logBytes(1_500_000, 3), undefined, 'bytes-base64/76'],
    ['a file as hex', random, Buffer.from(hex), 'bytes-hex'],
    ['a file as capital hex', random, Buffer.from(hex.toUpperCase()), 'bytes-HEX'],
  ])('%s', (name, content, held, lens) => {
    const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
    const memory = held ?? Buffer.from(lined(Buffer.from(bytes).toString('base64'), 76, '\n'))
    const path = folder.file(name.replaceAll(' ', '-'), bytes)
    const laid = layOut([{ bytes: memory, offset: 48 }])
    const found = search(new FakeMemory(laid.memory), [path])
    expect(found.candidates[found.extents[0]?.backing ?? -1]?.lens).toBe(lens)
    expect(found.counts.explained).toBeGreaterThan(0.97 * (memory.length / 4096 - 2))
  })

  test.each([
    ['', 'f64-f32'],
    ['of the other byte order', 'swap64|f64-f32'],
  ])('doubles %s that became floats', (other, lens) => {
    const dice = new Uint32Array(randomBytes(1_200_000, 9).buffer)
    const doubles = Float64Array.from({ length: 300_000 }, (_, i) => ((dice[i] ?? 0) - 2 ** 31) / 77_777)
    const file = Buffer.from(doubles.buffer.slice(0))
    if (other !== '') file.swap64()
    const path = folder.file(`doubles${other.length}`, file)
    const floats = new Uint8Array(Float32Array.from(doubles).buffer)
    const found = search(new FakeMemory(layOut([{ bytes: floats, offset: 16 }]).memory), [path])
    expect(found.candidates[found.extents[0]?.backing ?? -1]?.lens).toBe(lens)
    expect(found.counts.explained).toBeGreaterThan(0.97 * (floats.length / 4096 - 2))
  })
})
