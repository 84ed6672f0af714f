import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { type CsvOptions, csvDefaults, csvName } from '../src/lens/csv-syntax.ts'
import { csvLens } from '../src/lens/csv.ts'
import { LensError } from '../src/lens/errors.ts'
import { gunzip } from '../src/lens/gunzip.ts'
import { FolderIndexStore, type IndexStore, MemoryIndexStore } from '../src/lens/index-store.ts'
import { applyEdits } from '../src/lens/lens.ts'
import { Spool } from '../src/lens/spool.ts'
import { prepareBelow, through, type View } from '../src/lens/through.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const seed = 20_262
const { NaN: nan, POSITIVE_INFINITY: inf } = Number
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const csv = (options: Partial<CsvOptions>): string =>
  csvName({ ...csvDefaults(options.as ?? 'f64'), ...options })

function values(name: string, text: string | Uint8Array): (number | bigint)[] {
  const lens = lensNamed(name)
  const backing = bytesBacking(typeof text === 'string' ? bytes(text) : text)
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  const arrays = { f64: Float64Array, f32: Float32Array, i64: BigInt64Array, i32: Int32Array }
  const element = lens.element as keyof typeof arrays
  return [...new arrays[element](out.buffer)]
}

const column = (column: string | number, text: string, more: Partial<CsvOptions> = {}): (number | bigint)[] =>
  values(csv({ columns: [column], ...more }), text)

function failure(action: () => unknown): LensError {
  try {
    action()
  } catch (error) {
    if (error instanceof LensError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** What csv-parse and Number() make of a field. */
function oracle(field: string | undefined): number {
  const text = (field ?? '').trim()
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? -inf : inf
  return text === '' ? nan : Number(text)
}

const number = fc.oneof(
  fc.double().map(String),
  fc.integer().map(String),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  fc.tuple(fc.nat(1e6), fc.nat(1e6)).map(([a, b]) => `${a}.${b}`),
  fc.integer({ min: 0, max: 9 }).map(String),
)
const field = fc.oneof(
  { weight: 4, arbitrary: number },
  fc.constantFrom(
    '',
    'nan',
    'NaN',
    '-inf',
    'Infinity',
    'x',
    ' 1.5 ',
    '1e5',
    '0x1F',
    '1_000',
    '2020-01-01',
    '-',
    '1e',
    '.',
    '+.5',
  ),
  fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r\n', ' ', 'ü', '1') }),
)
const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`

/** A table as RFC 4180 wants it: what must be quoted is, and some that need not be. */
const table = (cell: fc.Arbitrary<string>): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      fc.constantFrom(2, 2, 3, 5, 70).chain(width =>
        fc.array(fc.array(fc.tuple(cell, fc.nat(5)), { minLength: width, maxLength: width }), {
          minLength: 1,
          maxLength: 6,
        }),
      ),
      fc.constantFrom('\n', '\r\n'),
      fc.boolean(),
      fc.boolean(),
    )
    .map(([rows, line, ends, bom]) => {
      const lines = rows.map(row =>
        row.map(([text, n]) => (n === 0 || /[",\r\n]/.test(text) ? quoted(text) : text)).join(','),
      )
      return bytes((bom ? '\ufeff' : '') + lines.join(line) + (ends ? line : ''))
    })

const doubles = fc
  .array(fc.double({ noNaN: true }), { maxLength: 12 })
  .map(list => new Uint8Array(new Float64Array(list).buffer))
const integers = fc
  .array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 12 })
  .map(list => new Uint8Array(new BigInt64Array(list).buffer))
const singles = fc
  .array(fc.float({ noNaN: true }), { maxLength: 12 })
  .map(list => new Uint8Array(new Float32Array(list).buffer))
const words = fc
  .array(fc.integer(), { maxLength: 12 })
  .map(list => new Uint8Array(new Int32Array(list).buffer))

const laws: readonly (readonly [Partial<CsvOptions>, { bytes: fc.Arbitrary<Uint8Array>; step: number }])[] = [
  [
    { columns: [1], header: false },
    { bytes: doubles, step: 8 },
  ],
  [
    { columns: [1, 0], header: false },
    { bytes: doubles, step: 8 },
  ],
  [
    { as: 'f32', columns: [0], header: false },
    { bytes: singles, step: 4 },
  ],
  [
    { as: 'i64', columns: [1], missing: -1n, header: false },
    { bytes: integers, step: 8 },
  ],
  [
    { as: 'i32', columns: [], missing: 0, header: false },
    { bytes: words, step: 4 },
  ],
]
for (const [options, put] of laws)
  describe(csv(options), () => lensContract(lensNamed(csv(options)), { backings: table(field), put }))

const blanks = fc
  .tuple(
    fc.array(fc.tuple(number, number, number), { minLength: 1, maxLength: 12 }),
    fc.constantFrom(' ', '   ', '\t', ' \t'),
  )
  .map(([rows, gap]) => bytes(rows.map(row => ` ${row.join(gap)} `).join('\n')))
describe('blanks between fields', () =>
  lensContract(lensNamed(csv({ columns: [2], delimiter: ' ', quote: '', header: false })), {
    backings: blanks,
    put: { bytes: doubles, step: 8 },
  }))

describe('a column', () => {
  it('is what csv-parse and Number() make of it', () => {
    fc.assert(
      fc.property(table(field), fc.nat(70), fc.boolean(), (text, n, header) => {
        const rows = parse(Buffer.from(text), {
          skip_empty_lines: true,
          bom: true,
          relax_column_count: false,
        }) as string[][]
        const which = n % (rows[0]?.length ?? 1)
        const expected = rows.slice(header ? 1 : 0).map(row => oracle(row[which]))
        expect(values(csv({ columns: [which], header }), text)).toEqual(expected)
        expect(values(csv({ as: 'f32', columns: [which], header }), text)).toEqual(expected.map(Math.fround))
        const whole = expected.map(value =>
          Number.isSafeInteger(value) && value === (value | 0) ? value | 0 : -7,
        )
        expect(values(csv({ as: 'i32', columns: [which], header, missing: -7 }), text)).toEqual(whole)
      }),
      { seed, numRuns: 1000 },
    )
  }, 20_000)

  it('is found by name, and by number behind a header that is seen to be one', () => {
    const text = 'time,"the price",Größe\n1,2.5,3\n2,3.5,4\n'
    expect(column('the price', text)).toEqual([2.5, 3.5])
    expect(column('Größe', text)).toEqual([3, 4])
    expect(column(0, text)).toEqual([1, 2])
    expect(column(0, '7,8\n9,10\n')).toEqual([7, 9])
    expect(values(csv({ columns: ['Größe', 'time'] }), text)).toEqual([3, 1, 4, 2])
    expect(values(csv({}), text)).toEqual([1, 2.5, 3, 2, 3.5, 4])
  })

  it('may be divided by tabs, semicolons or blanks, with comments between', () => {
    expect(column('b', 'a\tb\n1\t2\n', { delimiter: '\t' })).toEqual([2])
    expect(column('b', 'a;b\n1;2\n', { delimiter: ';' })).toEqual([2])
    expect(column('b', '  a  b\n 1\t 2 \n\n3 4', { delimiter: ' ', quote: '' })).toEqual([2, 4])
    expect(column(1, '# it\'s "so\n1,2\n#\n# "\n3,4', { comment: '#' })).toEqual([2, 4])
    expect(column(0, '5" nail,1\n6,2\n', { quote: '', header: false })).toEqual([nan, 6])
  })

  it('holds integers of 64 bits exactly', () => {
    expect(column(0, '9223372036854775807\n-9223372036854775808\n+1\n12.0\n', { as: 'i64' })).toEqual([
      2n ** 63n - 1n,
      -(2n ** 63n),
      1n,
      12n,
    ])
    expect(failure(() => column(0, '1\n9223372036854775808\n', { as: 'i64' })).message).toContain('row 2')
    expect(failure(() => column(0, '1\n2147483648\n', { as: 'i32' })).message).toContain('row 2')
  })

  it('has NaN, a value or an error where there is none', () => {
    expect(column('b', 'a,b\n1,\n2,x\n3,4\n')).toEqual([nan, nan, 4])
    expect(column('b', 'a,b\n1,\n2,x\n3,4\n', { missing: -1 })).toEqual([-1, -1, 4])
    expect(column('b', 'a,b\n1,\n3,4\n', { as: 'i64', missing: -1n })).toEqual([-1n, 4n])
    const error = failure(() => column('b', 'a,b\n1,5\n2,x\n', { missing: 'error' }))
    expect(error.code).toBe('corrupt')
    expect(error.message).toContain('row 2 has "x" in column "b"')
  })

  it('is not there: the error names those that are', () => {
    const error = failure(() => column('prise', 'time,price\n1,2\n'))
    expect(error.code).toBe('range')
    expect(error.message).toContain('there is no column "prise"; the columns are "time", "price"')
    expect(failure(() => column(2, '1,2\n')).message).toContain('there are 2, from 0 on')
  })

  it('of a ragged table is an error with the row, unless it may be', () => {
    const text = 'a,b,c\n1,2,3\n4,5\n6,7,8,9\n'
    const error = failure(() => column('c', text))
    expect(error).toMatchObject({ code: 'corrupt', offset: 12 })
    expect(error.message).toContain('row 2 has 2 fields')
    expect(column('c', text, { ragged: 'missing' })).toEqual([3, nan, 8])
  })

  it('of a table with bad quotes is an error with the row', () => {
    expect(failure(() => column('a', 'a,b\n1,2\n3,x"y"\n')).message).toContain(
      'in row 2 a quote opens within',
    )
    expect(failure(() => column('a', 'a,b\n1,2\n3,"y\n')).message).toContain('row 2 has no end')
  })

  it('needs no more of the table than its first rows for the first values', () => {
    const rows = Array.from({ length: 200_000 }, (_, i) => `${i},${i / 8}`).join('\n')
    let read = 0
    const inner = bytesBacking(bytes(`a,b\n${rows}\n4,5,6`))
    const backing = {
      ...inner,
      read(offset: number, into: Uint8Array) {
        const n = inner.read(offset, into)
        read += n
        return n
      },
    }
    const lens = lensNamed(csv({ columns: ['b'] }))
    const out = new Float64Array(4)
    lens.get(backing, 80, new Uint8Array(out.buffer))
    expect([...out]).toEqual([1.25, 1.375, 1.5, 1.625])
    expect(read).toBeLessThan(inner.size / 4)
    expect(failure(() => lens.size(backing)).message).toContain('row 200001 has 3 fields')
  })

  it('is read with an index that was kept', () => {
    const rows = Array.from({ length: 50_000 }, (_, i) => `${i},${i / 8}`).join('\n')
    const backing = bytesBacking(bytes(`a,b\n${rows}\n`))
    const store = new MemoryIndexStore()
    const options = { ...csvDefaults('f64'), columns: ['b'] }
    csvLens(options).prepare?.(backing, store)
    let saved = false
    const again = bytesBacking(bytes(`a,b\n${rows}\n`))
    const same = { ...again, identity: backing.identity }
    const lens = csvLens(options)
    lens.prepare?.(same, {
      load: (...key) => store.load(...key),
      save: (...key) => store.save(...key),
      find: key => store.find(key),
      forget: key => store.forget(key),
      make(key) {
        saved = true
        return store.make(key)
      },
    })
    expect(saved).toBe(false)
    const out = new Float64Array(2)
    lens.get(same, 49_998 * 8, new Uint8Array(out.buffer))
    expect([...out, lens.size(same)]).toEqual([49_998 / 8, 49_999 / 8, 400_000])
  })
})

describe('a column of a compressed table', () => {
  it('that is wanted later is kept by a pass of its own, where there is time for one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-csv-'))
    try {
      const rows = Array.from({ length: 30_000 }, (_, i) => [i, i * 3 + 1])
      const packed = gzipSync(`a,b\n${rows.map(row => row.join(',')).join('\n')}\n`)
      const spool = new Spool(join(folder, 'spool'))
      const storeFor = (thorough: boolean): IndexStore =>
        new FolderIndexStore(join(folder, 'index'), 2 ** 26, spool, thorough)
      let read = 0
      const origin = bytesBacking(packed)
      const file: Backing = {
        ...origin,
        read: (offset, into) => {
          read += into.length
          return origin.read(offset, into)
        },
      }
      const reading = (column: string, thorough: boolean): { kept: boolean; values: Float64Array } => {
        const view = through(through(file, gunzip), lensNamed(csv({ columns: [column] })))
        prepareBelow(view.backing as View, view.lens, storeFor(thorough))
        const bytes = new Uint8Array(view.size)
        read = 0
        view.read(0, bytes)
        const kept = read === 0
        view.close()
        return { kept, values: new Float64Array(bytes.buffer) }
      }
      const a = Float64Array.from(rows, ([first]) => first ?? nan)
      const b = Float64Array.from(rows, ([, second]) => second ?? nan)
      expect(reading('a', false)).toEqual({ kept: true, values: a })
      expect(reading('b', false)).toEqual({ kept: false, values: b })
      expect(reading('b', true)).toEqual({ kept: true, values: b })
      expect(reading('b', false)).toEqual({ kept: true, values: b })
      expect(readdirSync(join(folder, 'spool', 'v1'))).toHaveLength(2)
    } finally {
      removeFolder(folder)
    }
  })
})

describe('a column of many of a plain table', () => {
  it('is kept where there is time for a pass, and one that is most of the text is not', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-csv-'))
    try {
      const rows = Array.from({ length: 20_000 }, (_, i) => [i, `"name,\n${i}"`, 'x'.repeat(60), i / 8])
      const values = (n: number): Float64Array => Float64Array.from(rows, row => Number(row[n]))
      const wide = bytesBacking(bytes(`a,b,c,d\n${rows.map(row => row.join(',')).join('\n')}\n`))
      const narrow = bytesBacking(bytes(`a,d\n${rows.map(row => `${row[0]},${row[3]}`).join('\n')}\n`))
      const spool = new Spool(join(folder, 'spool'))
      let read = 0
      const reading = (origin: Backing, column: string, thorough: boolean): [boolean, Float64Array] => {
        const file: Backing = {
          ...origin,
          identity: { ...origin.identity, size: origin.size, inode: String(origin.size) },
          read: (offset, into) => {
            read += into.length
            return origin.read(offset, into)
          },
        }
        const view = through(file, lensNamed(csv({ columns: [column] })))
        view.lens.prepare?.(
          view.backing,
          new FolderIndexStore(join(folder, 'index'), 2 ** 26, spool, thorough),
        )
        const out = new Uint8Array(view.size)
        read = 0
        view.read(0, out)
        const kept = read === 0
        view.close()
        return [kept, new Float64Array(out.buffer)]
      }
      expect(reading(wide, 'a', false)).toEqual([false, values(0)])
      expect(reading(wide, 'a', true)).toEqual([true, values(0)])
      expect(reading(wide, 'd', true)).toEqual([true, values(3)])
      expect(reading(wide, 'd', false)).toEqual([true, values(3)])
      expect(reading(narrow, 'a', true)).toEqual([false, values(0)])
      expect(readdirSync(join(folder, 'spool', 'v1'))).toHaveLength(2)
    } finally {
      removeFolder(folder)
    }
  })
})

describe('put', () => {
  function edited(text: string, name: string, index: number, value: number): string {
    const lens = lensNamed(name)
    const put = new Uint8Array(new Float64Array([value]).buffer)
    return Buffer.from(
      applyEdits(bytes(text), lens.put?.(bytesBacking(bytes(text)), index * 8, put) ?? []),
    ).toString()
  }
  const price = csv({ columns: ['price'] })

  it('writes a text of the same length where there is one', () => {
    const text = 'id,price,note\n1,10.500,"a, b"\n2,7,x\r\n3,"42.25",y\n'
    expect(edited(text, price, 0, 9.25)).toBe(text.replace('10.500', '9.2500'))
    expect(edited(text, price, 1, 3)).toBe(text.replace('2,7,x', '2,3,x'))
    expect(edited(text, price, 2, -0.5)).toBe(text.replace('42.25', '-0.50'))
    expect(edited(text, price, 2, 1e21)).toBe(text.replace('42.25', '1e+21'))
    expect(edited(text, price, 0, 10.5)).toBe(text)
  })

  it('makes room where there is none', () => {
    const text = 'id,price,note\n1,10.500,"a, b"\n2,7,x\r\n'
    expect(edited(text, price, 1, 1234.5)).toBe(text.replace('2,7,x', '2,1234.5,x'))
    expect(edited(text, price, 1, nan)).toBe(text.replace('2,7,x', '2,NaN,x'))
  })
})
