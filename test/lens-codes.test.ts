import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

function made(name: string, bytes: Uint8Array): Uint8Array {
  const lens = lensNamed(name)
  const out = new Uint8Array(lens.size(bytesBacking(bytes)))
  lens.get(bytesBacking(bytes), 0, out)
  return out
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))
const any = fc.uint8Array({ maxLength: 400 })

for (const name of [
  'base64-bytes',
  'base64-bytes+3',
  'base64-bytes/76',
  'base64-bytes/64crlf+65',
  'bytes-base64',
  'bytes-base64+2',
  'bytes-base64/76',
  'bytes-base64/64crlf',
  'hex-bytes',
  'hex-bytes+1',
  'bytes-hex',
  'bytes-HEX',
])
  describe(name, () =>
    lensContract(lensNamed(name), {
      step: 2,
      plausible: fc.uint8Array({ minLength: 100, maxLength: 200 }),
    }),
  )

describe('base64', () => {
  it('is what Buffer makes, in lines or not', () => {
    fc.assert(
      fc.property(any, data => {
        const text = Buffer.from(data).toString('base64')
        expect(made('bytes-base64', data)).toEqual(bytes(text))
        const want = text.match(/.{1,76}/g)?.join('\n') ?? ''
        const lines = made('bytes-base64/76', data)
        expect(Buffer.from(lines).toString('latin1').trimEnd()).toBe(want)
      }),
      { seed: 20_260, numRuns: 1000 },
    )
  })

  it('decoded is what it was made of, with or without a line end behind it', () => {
    fc.assert(
      fc.property(any, data => {
        const text = Buffer.from(data).toString('base64')
        expect(made('base64-bytes', bytes(text))).toEqual(data)
        expect(made('base64-bytes', bytes(`${text}\r\n`))).toEqual(data)
        expect(made('base64-bytes/76', bytes(text.replace(/.{76}/g, '$&\n')))).toEqual(data)
        expect(made('base64-bytes/64crlf', bytes(text.replace(/.{64}/g, '$&\r\n')))).toEqual(data)
        expect(made('base64-bytes/76crlf+5', bytes(`head:${text.replace(/.{76}/g, '$&\r\n')}`))).toEqual(data)
      }),
      { seed: 20_260, numRuns: 1000 },
    )
  })
})

describe('hex', () => {
  it('is what Buffer makes, either way', () => {
    fc.assert(
      fc.property(any, data => {
        const text = Buffer.from(data).toString('hex')
        expect(made('bytes-hex', data)).toEqual(bytes(text))
        expect(made('bytes-HEX', data)).toEqual(bytes(text.toUpperCase()))
        expect(made('hex-bytes', bytes(text))).toEqual(data)
        expect(made('hex-bytes', bytes(text.toUpperCase()))).toEqual(data)
      }),
      { seed: 20_260, numRuns: 1000 },
    )
  })
})

describe('names', () => {
  it('that make no sense are refused', () => {
    for (const name of [
      'base64-bytes/75',
      'base64-bytes/0',
      'base64-bytes+4',
      'hex-bytes+2',
      'bytes-hex+1',
      'f16-f32+2',
    ])
      expect(() => lensNamed(name)).toThrow('there is no lens of this name')
  })
})
