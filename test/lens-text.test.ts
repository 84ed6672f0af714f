import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Backing, Identity } from '../src/backing/backing.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { type IndexStore, MemoryIndexStore } from '../src/lens/index-store.ts'
import type { Lens } from '../src/lens/lens.ts'
import { textLens } from '../src/lens/text.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

const seed = 20_260
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const utf16 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf16le'))
const utf32 = (text: string): Uint8Array =>
  new Uint8Array(Uint32Array.from([...text], c => c.codePointAt(0) ?? 0).buffer)
const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

function made(lens: Lens, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(lens.size(bytesBacking(bytes)))
  lens.get(bytesBacking(bytes), 0, out)
  return out
}

/** Runs of one script each, as in text: long enough to cross the kernel's ways of going 16, 12 and 1 byte at a time. */
function textOf(alphabets: readonly string[], maxLength: number): fc.Arbitrary<string> {
  const runs = alphabets.map(alphabet => {
    const letters = [...alphabet]
    return fc
      .array(fc.nat(letters.length - 1), { maxLength: 40 })
      .map(picks => picks.map(i => letters[i]).join(''))
  })
  return fc.array(fc.oneof(...runs), { maxLength }).map(parts => parts.join(''))
}

const ASCII = 'the quick brown fox, 0123456789.\n'
const LATIN = 'éèàüößñÇåøÿ '
const CYRILLIC = 'съешь же ещё этих мягких французских булок'
const CHINESE = '天地玄黃宇宙洪荒日月盈昃辰宿列張。寒来暑往'
const EMOJI = '😀🎉🚀👍🏽𝒳𐍈'
const EDGES = '\u007f\u0080\u07ff\u0800\ufffd\uffff\u{10000}\u{10ffff}\ufeff'

const texts = textOf([ASCII, LATIN, CYRILLIC, CHINESE, EMOJI, EDGES], 12)
const prose = textOf([ASCII, CYRILLIC, CHINESE, EMOJI], 12)
const narrowTexts = textOf([ASCII, LATIN], 12)
const noise = fc.uint8Array({ maxLength: 300 })
/** Text with bytes put in at random: broken sequences of every kind. */
const broken = fc
  .tuple(texts, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }))
  .map(([text, hits]) => {
    const bytes = utf8(text)
    for (const [at, byte] of hits) if (bytes.length > 0) bytes[at % bytes.length] = byte
    return bytes
  })
const hard = fc.oneof(texts.map(utf8), broken, noise)

describe('utf8-utf16', () => {
  lensContract(textLens('utf8-utf16'), { backings: hard, plausible: prose.map(utf8), step: 2 })

  it('gives what TextDecoder gives, for valid and broken text', () => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    fc.assert(
      fc.property(hard, bytes => {
        expect(made(textLens('utf8-utf16'), bytes)).toEqual(utf16(decoder.decode(bytes)))
      }),
      { seed, numRuns: 5000 },
    )
  })
})

describe('utf8-utf32', () => {
  lensContract(textLens('utf8-utf32'), { backings: hard, plausible: prose.map(utf8), step: 4 })

  it('gives what TextDecoder gives, for valid and broken text', () => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    fc.assert(
      fc.property(hard, bytes => {
        expect(made(textLens('utf8-utf32'), bytes)).toEqual(utf32(decoder.decode(bytes)))
      }),
      { seed, numRuns: 5000 },
    )
  })
})

describe('utf8-latin1', () => {
  lensContract(textLens('utf8-latin1'), {
    backings: fc.oneof(narrowTexts.map(utf8), hard),
    plausible: textOf([LATIN], 12).map(utf8),
  })

  it('ends where the first character above U+00FF begins', () => {
    expect(made(textLens('utf8-latin1'), utf8('é'.repeat(5000)))).toEqual(latin1('é'.repeat(5000)))
    expect(made(textLens('utf8-latin1'), utf8(`${'é'.repeat(5000)}ab€c`))).toEqual(
      latin1(`${'é'.repeat(5000)}ab`),
    )
    expect(made(textLens('utf8-latin1'), new Uint8Array([65, 0xc3, 65]))).toEqual(latin1('A'))
  })

  it('characters of two bytes may begin anywhere', () => {
    for (let before = 0; before < 130; before++) {
      const text = `${'a'.repeat(before)}${'é'.repeat(60)}`
      expect(made(textLens('utf8-latin1'), utf8(text)), String(before)).toEqual(latin1(text))
      expect(made(textLens('utf8-utf16'), utf8(text)), String(before)).toEqual(utf16(text))
    }
  })
})

describe('utf16-utf8', () => {
  const backings = fc.oneof(texts.map(utf16), noise)
  lensContract(textLens('utf16-utf8'), { backings, plausible: prose.map(utf16) })

  it('gives what TextDecoder and TextEncoder give, for valid and broken text', () => {
    const decoder = new TextDecoder('utf-16le', { ignoreBOM: true })
    fc.assert(
      fc.property(backings, bytes => {
        expect(made(textLens('utf16-utf8'), bytes)).toEqual(utf8(decoder.decode(bytes)))
        expect(made(textLens('utf16-utf32'), bytes)).toEqual(utf32(decoder.decode(bytes)))
      }),
      { seed, numRuns: 5000 },
    )
  })
})

describe('utf16-utf32', () =>
  lensContract(textLens('utf16-utf32'), {
    backings: fc.oneof(texts.map(utf16), noise),
    plausible: prose.map(utf16),
    step: 4,
  }))

describe('utf16-latin1', () =>
  lensContract(textLens('utf16-latin1'), {
    backings: fc.oneof(narrowTexts.map(utf16), noise),
    plausible: narrowTexts.map(utf16),
  }))

const lines = fc.oneof(
  fc.array(fc.constantFrom('a longer line of text', '\r\n', '\r', '\n', 'x', 'é'), { maxLength: 40 }),
  fc.array(fc.constantFrom('a longer line of text', '\r\n', 'x\r\n', 'é'), { maxLength: 40 }),
)
for (const [name, pattern] of [
  ['crlf-lf', /\r\n/g],
  ['newlines-lf', /\r\n?/g],
] as const)
  describe(name, () => {
    lensContract(textLens(name), {
      backings: lines.map(parts => utf8(parts.join(''))),
      plausible: fc
        .array(fc.constantFrom('a line of text\r\n', 'x\r\n'), { minLength: 20, maxLength: 40 })
        .map(parts => utf8(parts.join(''))),
    })

    it('is what a replacement of line ends gives', () => {
      fc.assert(
        fc.property(lines, parts => {
          const text = parts.join('')
          expect(made(textLens(name), utf8(text))).toEqual(utf8(text.replace(pattern, '\n')))
        }),
        { seed, numRuns: 2000 },
      )
    })
  })

describe('crlf-lf|utf8-utf32', () =>
  lensContract(lensNamed('crlf-lf|utf8-utf32'), {
    backings: lines.map(parts => utf8(parts.join(''))),
    plausible: fc
      .array(fc.constantFrom('a line of text\r\n', 'ёж\r\n'), { minLength: 20, maxLength: 40 })
      .map(parts => utf8(parts.join(''))),
    step: 4,
  }))

describe('a large text', () => {
  // 300 KiB of all scripts, then damage, then text again: many blocks, careful and not.
  const parts = [ASCII, CYRILLIC, CHINESE, EMOJI, LATIN].map(part => part.repeat(400))
  const bytes = utf8(parts.join('').repeat(2))
  bytes.fill(0xff, 100_000, 100_007)
  bytes[200_001] = 0xe4
  const decoded = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)

  it('is the same from any position, at any length', () => {
    for (const [lens, all] of [
      [textLens('utf8-utf16'), utf16(decoded)],
      [textLens('utf8-utf32'), utf32(decoded)],
    ] as const) {
      const backing = bytesBacking(bytes)
      expect(lens.size(backing)).toBe(all.length)
      fc.assert(
        fc.property(fc.nat(all.length), fc.constantFrom(1, 7, 4096, 65_536, 300_000), (at, length) => {
          const out = new Uint8Array(length).fill(0xdb)
          lens.get(backing, at, out)
          const want = new Uint8Array(length)
          want.set(all.subarray(at, at + length))
          expect(Buffer.compare(out, want)).toBe(0)
        }),
        { seed, numRuns: 300 },
      )
    }
  })

  it('is located from every boundary, and from nowhere else', () => {
    const lens = textLens('utf8-utf32')
    const backing = bytesBacking(bytes)
    let at = 0
    let units = 0
    for (const character of decoded) {
      if (character === '\ufffd') break
      const length = utf8(character).length
      if (units % 7 === 0) {
        expect(lens.locate?.(backing, at)).toBe(4 * units)
        for (let i = 1; i < length; i++) expect(lens.locate?.(backing, at + i)).toBeUndefined()
      }
      at += length
      units++
      if (at > 60_000) break
    }
  })

  it('reads one block too many at most for a page', () => {
    let read = 0
    const inner = bytesBacking(bytes)
    const backing: Backing = {
      ...inner,
      read(offset, into) {
        read += into.length
        return inner.read(offset, into)
      },
    }
    const lens = textLens('utf8-utf16')
    lens.size(backing)
    read = 0
    lens.get(backing, 123_456, new Uint8Array(4096))
    expect(read).toBeLessThan(13_000)
  })

  it('is indexed once: the store gives the index to the next process', () => {
    const kept = new Map<string, Uint8Array>()
    const store: IndexStore = Object.assign(new MemoryIndexStore(), {
      load: (identity: Identity, lens: string) => kept.get(identity.inode + lens),
      save: (identity: Identity, lens: string, index: Uint8Array) =>
        void kept.set(identity.inode + lens, index.slice()),
    })
    let read = 0
    const inner = bytesBacking(bytes)
    const backing = (): Backing => ({
      ...inner,
      read(offset, into) {
        read += into.length
        return inner.read(offset, into)
      },
    })
    textLens('utf8-utf16').prepare?.(backing(), store)
    expect(kept.size).toBe(1)
    read = 0
    const again = textLens('utf8-utf16')
    const second = backing()
    again.prepare?.(second, store)
    expect(again.size(second)).toBe(utf16(decoded).length)
    expect(read).toBe(0)
  })

  it('says so when the backing has become shorter', () => {
    const lens = textLens('utf8-utf16')
    const inner = bytesBacking(bytes)
    let gone = false
    const backing: Backing = {
      ...inner,
      read: (offset, into) => (gone ? 0 : inner.read(offset, into)),
    }
    lens.size(backing)
    gone = true
    expect(() => lens.get(backing, 0, new Uint8Array(10))).toThrow('the backing gave 0 of')
  })
})

describe('memory that is not text', () => {
  it('is not narrowed', () => {
    const pointers = new BigUint64Array(512).map((_, i) => 0x7f12_3456_0000n + BigInt(i * 48))
    const floats = new Float64Array(512).map((_, i) => Math.sin(i))
    const random = new Uint32Array(1024).map((_, i) => Math.imul(i + 1, 0x9e3779b1) ^ (i << 7))
    const into = new Uint8Array(4 * 4096 + 64)
    for (const array of [pointers, floats, random, new Uint8Array(4096)]) {
      const memory = new Uint8Array(array.buffer)
      for (const name of ['utf8-utf16', 'utf8-utf32', 'utf16-utf8', 'crlf-lf'] as const)
        expect(textLens(name).narrow?.(memory, into)).toBeUndefined()
    }
  })

  it('does not suit', () => {
    const zeros = bytesBacking(new Uint8Array(100_000))
    for (const name of ['utf8-utf16', 'utf8-utf32', 'utf8-latin1', 'utf16-utf8', 'crlf-lf'] as const)
      expect(textLens(name).suits?.(zeros)).toBe(false)
    expect(textLens('utf8-utf16').suits?.(bytesBacking(utf8(CHINESE.repeat(1000))))).toBe(true)
    expect(textLens('utf16-utf8').suits?.(bytesBacking(utf16(CHINESE.repeat(1000))))).toBe(true)
  })
})
