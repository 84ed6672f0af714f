import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { numberLenses } from '../src/lens/numbers.ts'
import { rowOfJson } from '../src/lens/table-sniff.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

const seed = 20_260
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'))

function raw(name: string, text: string): ArrayBuffer {
  const lens = lensNamed(name)
  const backing = bytesBacking(bytes(text))
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  return out.buffer
}

const f64 = (name: string, text: string): number[] => [...new Float64Array(raw(name, text))]
const i64 = (name: string, text: string): bigint[] => [...new BigInt64Array(raw(name, text))]
const { NaN: nan, POSITIVE_INFINITY: inf } = Number

const field = fc.oneof(
  fc.double().map(String),
  fc.integer().map(String),
  fc.integer({ min: 0, max: 9 }).map(String),
  fc.constantFrom('', 'nan', '-inf', 'text', '"12"', '"a,b"', '"a""b"', ' 1.5 ', '1e5', '2020-01-01', '#'),
)
const csv = fc
  .array(fc.array(field, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 20 })
  .map(rows => bytes(rows.map(row => row.join(',')).join('\n')))
const json = fc.json().map(bytes)
const words = fc
  .array(
    fc.constantFrom(' ', '  ', '\t', '\n', '\r\n', '1', '-2.5', 'x', '3e2', '"', ',', '[', ']', '{', '}'),
  )
  .map(parts => bytes(`1 2\n${parts.join('')}`))
const backings = fc.oneof(csv, json, words, fc.uint8Array({ maxLength: 300 }))

for (const name of [
  'numbers-f64',
  'numbers-f32/1',
  'numbers-i64/0,2',
  'numbers-i32',
  'numbers-f64:high/0',
  'numbers-f64:legacy',
])
  describe(name, () => lensContract(lensNamed(name), { backings }))

describe('numbers', () => {
  it('are taken row after row, or by column', () => {
    const text = '1,2.5,3\n-4,5e2,.25\n'
    expect(f64('numbers-f64', text)).toEqual([1, 2.5, 3, -4, 500, 0.25])
    expect(f64('numbers-f64/1', text)).toEqual([2.5, 500])
    expect(f64('numbers-f64/0,2', text)).toEqual([1, 3, -4, 0.25])
    expect(i64('numbers-i64/0', text)).toEqual([1n, -4n])
    expect([...new Float32Array(raw('numbers-f32', '0.1 16777217 1e300'))]).toEqual([
      Math.fround(0.1),
      16777216,
      inf,
    ])
    expect(i64('numbers-i64', '9223372036854775807\n-9223372036854775808')).toEqual([
      2n ** 63n - 1n,
      -(2n ** 63n),
    ])
  })

  it('divide at commas, tabs, semicolons or blanks, with either line end and with none at the end', () => {
    for (const delimiter of [',', '\t', ';', ' ', '   '])
      for (const line of ['\n', '\r\n', ' \n'])
        for (const end of ['', line]) {
          const text = `${['1', '2', '3'].join(delimiter)}${line}${['4', '5', '6'].join(delimiter)}${end}`
          expect(f64('numbers-f64', text)).toEqual([1, 2, 3, 4, 5, 6])
          expect(f64('numbers-f64/2', text)).toEqual([3, 6])
        }
  })

  it('skip a header, comments and empty lines', () => {
    expect(f64('numbers-f64', '# made by hand\na,b\n1,2\n\n# more\n3,4\n\n')).toEqual([1, 2, 3, 4])
    expect(f64('numbers-f64', '"x 1","y"\n1,2\n')).toEqual([1, 2])
    expect(f64('numbers-f64/1', '\ufeffname,v\na,1\nb,2')).toEqual([1, 2])
  })

  it('are NaN where there is no number, and where a row is too short', () => {
    expect(f64('numbers-f64', '1,,3\nx,5,6\n7,8,\n')).toEqual([1, nan, 3, nan, 5, 6, 7, 8, nan])
    expect(f64('numbers-f64/2', '1,2,3\n4\n5,6,7\n')).toEqual([3, nan, 7])
    expect(f64('numbers-f64/0,2', '1,2,3\n4,x\n')).toEqual([1, 3, 4, nan])
    expect(f64('numbers-f64', '1,nan,-inf,Infinity,2020-01-01,1.2.3,NA\n')).toEqual([
      1,
      nan,
      -inf,
      inf,
      nan,
      nan,
      nan,
    ])
    expect(i64('numbers-i64/1', '1,2\n3,x\n5,\n')).toEqual([2n, 0n, 0n])
  })

  it('may be quoted, beside quoted text with delimiters, quotes and lines in it', () => {
    const text = 'n,t,v\n"1","a, ""b""\nc",2\n3,"d",4\n'
    expect(f64('numbers-f64/0', text)).toEqual([1, 3])
    expect(f64('numbers-f64/2', text)).toEqual([2, 4])
  })

  it('come from JSON in the order of the text, or by column of the innermost arrays', () => {
    const text = '{"a\\"1": [[1, -2.5e1], [3, null], ["7", 4]], "b": {"x": 5, "y": true, "z": 6}, "n": 7}'
    expect(f64('numbers-f64', text)).toEqual([1, -25, 3, 4, 5, 6, 7])
    expect(f64('numbers-f64/1', '[[1, -25], [3, null], ["7", 4], [5]]')).toEqual([-25, nan, 4, nan])
    expect(f64('numbers-f64/0', '[{"x": 1, "y": 2}, {"x": 3, "y": 4}]')).toEqual([1, 3])
  })

  it('are none in what is no text', () => {
    expect(f64('numbers-f64', '\0\0\x001,2,3')).toEqual([])
    expect(f64('numbers-f64', '')).toEqual([])
    expect(f64('numbers-f64', 'words and words\nand more\n')).toEqual([])
  })
})

describe('rounding', () => {
  /** Decimal strings of all kinds: short, long, near the middle between doubles, subnormal, out of range. */
  function decimals(count: number, random: () => number): string[] {
    const view = new DataView(new ArrayBuffer(8))
    const double = (): number => {
      view.setUint32(0, random() * 2 ** 32)
      view.setUint32(4, random() * 2 ** 32)
      return view.getFloat64(0)
    }
    const digits = (n: number): string => Array.from({ length: n }, () => Math.floor(random() * 10)).join('')
    const makers = [
      () => String(double()),
      () => double().toExponential(Math.floor(random() * 20)),
      () => (random() * 1000).toFixed(Math.floor(random() * 12)),
      () => `${digits(1 + random() * 25)}.${digits(random() * 25)}`,
      () => `${digits(1 + random() * 40)}e${Math.floor(random() * 700 - 350)}`,
      () => `0.${'0'.repeat(random() * 330)}${digits(20)}`,
      () =>
        `${BigInt(Math.floor(random() * 2 ** 53)) * 2n + 1n}${random() < 0.5 ? '' : '.000000000000000000001'}`,
      () =>
        ((BigInt(Math.floor(random() * 2 ** 53)) * 2n + 1n) << BigInt(Math.floor(random() * 900))).toString(),
      // Half way between two doubles, exactly or nearly.
      () => {
        const half = ((2n ** 53n + BigInt(Math.floor(random() * 2 ** 30))) * 2n + 1n) * 5n ** 20n
        return `${half + BigInt(Math.floor(random() * 3) - 1)}e-20`
      },
    ]
    return Array.from({ length: count }, (_, i) => makers[i % makers.length]?.() ?? '0').filter(text =>
      Number.isFinite(Number(text)),
    )
  }
  function generator(state: number): () => number {
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      const high = state
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return ((high >>> 6) * 2 ** 27 + (state >>> 5)) / 2 ** 53
    }
  }

  it(`of a million decimal strings is Number()'s (seed ${seed})`, { timeout: 60_000 }, () => {
    const random = generator(seed)
    for (let round = 0; round < 10; round++) {
      const texts = decimals(100_000, random)
      const got = new Float64Array(raw('numbers-f64', texts.join('\n')))
      expect(got.length).toBe(texts.length)
      for (const [i, text] of texts.entries())
        if (!Object.is(got[i], Number(text))) expect([text, got[i]]).toEqual([text, Number(text)])
    }
  })

  /** One number that overflows on the way makes pandas read the whole column in another way. */
  function plain(text: string): boolean {
    const size = Math.abs(Number(text))
    return size > 1e-280 && size < 1e280 && !/e[-+]?3/.test(text)
  }
  const pandas = existsSync('/usr/lib/python3/dist-packages/pandas')
  it.skipIf(!pandas)(
    'of pandas and numpy is theirs bit for bit (needs python3-pandas)',
    { timeout: 60_000 },
    () => {
      const random = generator(7)
      const texts = decimals(60_000, random).filter(plain)
      const text = `v\n${texts.join('\n')}\n`
      const program = `
import sys, io, numpy as np, pandas as pd
t = sys.stdin.read()
w = sys.stdout.buffer.write
for p in [None, 'legacy', 'round_trip']:
    v = pd.read_csv(io.StringIO(t), float_precision=p)['v']
    assert v.dtype == np.float64
    w(v.to_numpy().tobytes())
w(np.loadtxt(io.StringIO(t), skiprows=1).tobytes())
`
      const want = execFileSync('/usr/bin/python3', ['-c', program], { input: text, maxBuffer: 2 ** 26 })
      const names = ['numbers-f64:high', 'numbers-f64:legacy', 'numbers-f64', 'numbers-f64']
      for (const [part, name] of names.entries()) {
        const got = new Float64Array(raw(name, text))
        expect(got.length).toBe(texts.length)
        const different = []
        for (let i = 0; i < got.length; i++) {
          const value = want.readDoubleLE(8 * (part * texts.length + i))
          if (!Object.is(value, got[i])) different.push([texts[i], got[i], value])
        }
        expect({ name, count: different.length, first: different.slice(0, 5) }).toEqual({
          name,
          count: 0,
          first: [],
        })
      }
    },
  )

  it.skipIf(!pandas)('of integers, blanks and columns is as pandas and numpy read them', () => {
    const rows = Array.from(
      { length: 3000 },
      (_, i) => `${i * 7919},name ${i},${i % 5 === 0 ? '' : i / 8},${-i}`,
    )
    const text = `id,name,x,y\n${rows.join('\n')}\n`
    const program = `
import sys, io, numpy as np, pandas as pd
t = sys.stdin.read(); d = pd.read_csv(io.StringIO(t)); w = sys.stdout.buffer.write
w(d['id'].to_numpy().tobytes()); w(d['x'].to_numpy().tobytes()); w(d['y'].to_numpy().tobytes())
w(np.genfromtxt(io.StringIO(t), delimiter=',', skip_header=1).tobytes())
`
    const want = execFileSync('/usr/bin/python3', ['-c', program], { input: text, maxBuffer: 2 ** 26 })
    const got = ['numbers-i64/0', 'numbers-f64:high/2', 'numbers-i64/3', 'numbers-f64'].map(name =>
      Buffer.from(raw(name, text)),
    )
    expect(Buffer.concat(got).equals(want)).toBe(true)
  })
})

describe('the rows of a JSON document', () => {
  it.each([
    [
      2,
      [
        [1, 2],
        [-3, 4e5],
      ],
    ],
    [
      2,
      [
        { a: 1, b: '7, ] \\" 8', c: { d: 3 } },
        { a: 1, b: '', c: { d: 4 } },
      ],
    ],
    [
      3,
      {
        name: 'x',
        rows: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      },
    ],
    [
      3,
      [
        { id: 1, at: [1, 2] },
        { id: 2, at: [1, 2] },
      ],
    ],
    [
      undefined,
      [
        { id: 1, at: [1, 2] },
        { id: 2, at: [1] },
      ],
    ],
    [undefined, [1, 2, 3]],
    [undefined, 'none'],
  ])('have %s numbers each', (count, document) => {
    expect(rowOfJson(bytesBacking(bytes(JSON.stringify(document))))).toBe(count)
  })

  it('have two, and the start of the document ends in one', () => {
    const text = JSON.stringify(Array.from({ length: 20_000 }, (_, i) => [i, i / 7]))
    expect(rowOfJson(bytesBacking(bytes(text)))).toBe(2)
  })
})

describe('a large table', () => {
  const rows = Array.from(
    { length: 20_000 },
    (_, i) => `${i},${(i * 0.37).toFixed(3)},"text, ${i}",${-i / 7}`,
  )
  const text = bytes(`a,b,c,d\r\n${rows.join('\r\n')}`)

  it('is the same from any position, at any length', () => {
    const want = Buffer.from(
      Float64Array.from(rows.flatMap((_, i) => [i, Number((i * 0.37).toFixed(3)), Number(`${-i / 7}`)]))
        .buffer,
    )
    const lens = lensNamed('numbers-f64/0,1,3')
    const backing = bytesBacking(text)
    expect(lens.size(backing)).toBe(want.length)
    fc.assert(
      fc.property(fc.nat(want.length), fc.constantFrom(1, 7, 4096, 65_536), (at, length) => {
        const out = Buffer.alloc(length, 0xdb)
        lens.get(backing, at, out)
        const part = Buffer.alloc(length)
        want.copy(part, 0, at, at + length)
        expect(out.equals(part)).toBe(true)
      }),
      { seed, numRuns: 200 },
    )
  })

  it('parses at most one chunk too many for a page', () => {
    let read = 0
    const inner = bytesBacking(text)
    const backing: Backing = {
      ...inner,
      read(offset, into) {
        read += into.length
        return inner.read(offset, into)
      },
    }
    const lens = lensNamed('numbers-f64/0,1,3')
    const size = lens.size(backing)
    for (const at of [0, 4096 * 20, size - 4096]) {
      read = 0
      lens.get(backing, at, new Uint8Array(4096))
      expect(read).toBeLessThan(4 * 17_000)
    }
  })

  it('is located where its fields begin', () => {
    const lens = lensNamed('numbers-f64/1')
    const backing = bytesBacking(text)
    const all = Buffer.from(text).toString('latin1')
    for (let i = 1; i < rows.length; i += 997) {
      const line = all.indexOf(`\n${i},`) + 1
      const offset = all.indexOf(',', line) + 1
      expect(lens.locate?.(backing, offset)).toBe(8 * i)
      expect(lens.locate?.(backing, offset + 1)).toBeUndefined()
      expect(lens.locate?.(backing, line)).toBeUndefined()
    }
  })

  it('suggests the lenses that fit its columns', () => {
    expect(numberLenses(bytesBacking(text))).toEqual([
      'numbers-f64',
      'numbers-f64/0,1,3',
      'numbers-i64/0',
      'numbers-f64/0',
      'numbers-f64:high/1',
      'numbers-f64/1',
      'numbers-f64:high/3',
      'numbers-f64/3',
    ])
    expect(numberLenses(bytesBacking(text), 1, 32)).toEqual([
      'numbers-f32',
      'numbers-f32/0,1,3',
      'numbers-i32/0',
      'numbers-f32/0',
    ])
    expect(numberLenses(bytesBacking(new Uint8Array(1000)))).toEqual([])
  })
})
