import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exactSingle } from '../src/lens/exact-float.ts'
import { applyEdits } from '../src/lens/lens.ts'
import { scanfLens, type ScanfOptions } from '../src/lens/scanf.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

function read(options: ScanfOptions, text: string): Buffer {
  const lens = scanfLens(options)
  const backing = bytesBacking(bytes(text))
  const out = Buffer.alloc(lens.size(backing))
  lens.get(backing, 0, out)
  return out
}

const pair: ScanfOptions = { format: '%d=%f;\n', fields: { key: 'i32', value: 'f32' } }

const pairs = fc
  .array(fc.tuple(fc.integer(), fc.float({ noNaN: true }), fc.constantFrom('', ' ', '\n')), {
    minLength: 1,
    maxLength: 12,
  })
  .map(list => bytes(list.map(([key, value, gap]) => `${gap}${key}=${gap}${value};\n`).join('')))
const records = fc
  .array(fc.tuple(fc.integer(), fc.float({ noNaN: true, noDefaultInfinity: true })), { maxLength: 6 })
  .map(list => {
    const made = Buffer.alloc(list.length * 8)
    for (const [i, [key, value]] of list.entries()) {
      made.writeInt32LE(key, i * 8)
      made.writeFloatLE(value, i * 8 + 4)
    }
    return new Uint8Array(made)
  })
describe(pair.format, () =>
  lensContract(scanfLens(pair), { backings: pairs, put: { bytes: records, step: 8 } }),
)

const mixed: ScanfOptions = {
  format: ' %c%3u %*s "%15[^"]" %lx',
  fields: { kind: 'char', age: 'u8', name: 'char[16]', flags: 'u64' },
}
const people = fc
  .array(
    fc.tuple(
      fc.constantFrom('a', '#', 'z'),
      fc.nat(255),
      fc.string({ unit: fc.constantFrom('x', ' ', 'ü', ','), minLength: 1, maxLength: 7 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    ),
    { maxLength: 10 },
  )
  .map(list => bytes(list.map(([a, b, c, d]) => `${a}${b} skip "${c}" ${d.toString(16)}\n`).join('')))
describe(mixed.format, () =>
  lensContract(scanfLens(mixed), {
    backings: people,
    put: { bytes: fc.constant(new Uint8Array(0)), step: 32 },
  }),
)

/** A C program of the same struct, which writes what it reads. */
function program({ format, fields, packed }: ScanfOptions): string {
  const types: Readonly<Record<string, string>> = {
    i8: 'signed char',
    u8: 'unsigned char',
    i16: 'short',
    u16: 'unsigned short',
    i32: 'int',
    u32: 'unsigned',
    i64: 'long',
    u64: 'unsigned long',
    f32: 'float',
    f64: 'double',
    char: 'char',
  }
  const list = Object.entries(fields)
  const declared = list.map(([name, type]) => {
    const array = /^char(\[.*)$/.exec(type)?.[1]
    return array ? `char ${name}${array};` : `${types[type]} ${name};`
  })
  const targets = list.map(([name, type]) => (type.startsWith('char[') ? `r.${name}` : `&r.${name}`))
  return `#include <stdio.h>\n#include <string.h>\nstruct ${packed ? '__attribute__((packed))' : ''} r { ${declared.join(' ')} };
int main(void) { static struct r r;
  for (;;) { memset(&r, 0, sizeof r); if (scanf(${JSON.stringify(format)}, ${targets.join(', ')}) != ${list.length - (format.match(/%n/g) ?? []).length}) break; fwrite(&r, sizeof r, 1, stdout); } return 0; }`
}

const cases: readonly (readonly [ScanfOptions, readonly string[]])[] = [
  [
    { format: '%d=%f;\n', fields: { key: 'i32', value: 'f32' } },
    [
      '1=2.5;\n-7=1e-3;\n',
      '2147483648=0.1;99999999999999999999= 16777217;',
      ' +3=-inf;4=0x1.8p3;5=1e-42;6=7.0064923216240853e-46',
    ],
  ],
  [
    { format: '%hhd %hu %ld %lf', fields: { a: 'i8', b: 'u16', c: 'i64', d: 'f64' } },
    ['1 2 3 4.5\n300 70000 -9223372036854775809 1e400\n-1 -1 -1 -.5e1', ''],
  ],
  [
    { format: '%hhd %hu %ld %lf', fields: { a: 'i8', b: 'u16', c: 'i64', d: 'f64' }, packed: true },
    ['1 2 3 4.5\n5 6 7 8'],
  ],
  [
    { format: '%i,%x,%o\n', fields: { a: 'i32', b: 'u32', c: 'i32' } },
    ['0x1F,ff,17\n010,0xFF,7\n-0x10,-1,777777777777\n'],
  ],
  [
    { format: '%4s|%3c|%[a-c]%*[ ]%d%%', fields: { a: 'char[8]', b: 'char[3]', c: 'char[9]', d: 'i32' } },
    ['word|x y|abcab  12%\n  more|123|a -5 %'],
  ],
  [{ format: '%3d%2d%4f', fields: { a: 'i32', b: 'i16', c: 'f32' } }, ['123451.25-12 712e1 ', '0010020.5']],
  [
    { format: '%d %n%*s %lu', fields: { a: 'i32', n: 'i32', b: 'u64' } },
    ['5 abc 18446744073709551616\n 6   x -2'],
  ],
]

describe('records', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lethe-scanf-'))
  })
  afterAll(() => removeFolder(folder))

  it('are what a C program reads with the same format into the same struct', () => {
    for (const [options, texts] of cases) {
      const source = join(folder, 'a.c')
      writeFileSync(source, program(options))
      execFileSync('cc', ['-w', '-o', join(folder, 'a'), source])
      for (const text of texts) {
        const expected = execFileSync(join(folder, 'a'), { input: text })
        expect({ ...options, text, made: read(options, text).toString('hex') }).toEqual({
          ...options,
          text,
          made: expected.toString('hex'),
        })
      }
    }
  }, 20_000)

  it('hold floats that are rounded once', () => {
    expect(exactSingle('1.00000005960464477539062500000000000000000000001')).toBe(1 + 2 ** -23)
    expect(exactSingle('-1.000000059604644775390625')).toBe(-1)
    expect(exactSingle('1.00000017881393432617187499999999999999999999999')).toBe(1 + 2 ** -23)
    const text = '1=1.00000005960464477539062500000000000000000000001;\n'
    expect(read(pair, text).readFloatLE(4)).toBe(1 + 2 ** -23)
  })

  it('that are not as the format says are an error with record and byte', () => {
    expect(() => read(pair, '1=2;\n2=3;\nx=4;\n')).toThrow(/at byte 10: record 3 is not as the format/)
    expect(() => read(pair, '1=2;\n2=')).toThrow(/record 2 is not as/)
    expect(() => read({ format: '%s', fields: { a: 'char[4]' } }, 'abc abcd')).toThrow(/record 2/)
  })

  it('need fields that go with the format', () => {
    const bad =
      (format: string, fields: ScanfOptions['fields']): (() => unknown) =>
      () =>
        scanfLens({ format, fields })
    expect(bad('%d', { a: 'f32' })).toThrow(/%d can't be read into the field a, which is f32/)
    expect(bad('%d %d', { a: 'i32' })).toThrow(/a conversion %d for which there is no field/)
    expect(bad('%d', { a: 'i32', b: 'i32' })).toThrow(/no conversion for the field b/)
    expect(bad('%8s', { a: 'char[8]' })).toThrow(/needs room for a zero/)
    expect(bad('%q!', { a: 'i32' })).toThrow(/is no conversion/)
  })

  it('are found in a text of many', () => {
    const text = Array.from({ length: 60_000 }, (_, i) => `${i}=${i / 4};\n`).join('')
    const lens = scanfLens(pair)
    const backing = bytesBacking(bytes(text))
    const out = Buffer.alloc(16)
    lens.get(backing, 50_001 * 8 + 4, out)
    expect([out.readFloatLE(0), out.readInt32LE(4), out.readFloatLE(8), out.readInt32LE(12)]).toEqual([
      12_500.25, 50_002, 12_500.5, 50_003,
    ])
    expect(lens.size(backing)).toBe(480_000)
    expect(lens.put?.(backing, 59_999 * 8, new Uint8Array(Int32Array.of(7).buffer))).toEqual([
      { offset: text.length - 16, bytes: bytes('00007') },
    ])
  })

  it('are written in the room that they have, and longer where they must be', () => {
    const put = (text: string, index: number, key: number, value: number): string => {
      const made = Buffer.alloc(8)
      made.writeInt32LE(key)
      made.writeFloatLE(value, 4)
      return Buffer.from(
        applyEdits(bytes(text), scanfLens(pair).put?.(bytesBacking(bytes(text)), index * 8, made) ?? []),
      ).toString()
    }
    expect(put('1=2.5;\n20=0.25;\n', 1, 3, 0.25)).toBe('1=2.5;\n03=0.25;\n')
    expect(put('1=2.5;\n20=0.25;\n', 0, 1, 1234.5)).toBe('1=1234.5;\n20=0.25;\n')
    const fixed = scanfLens({ format: '%2d', fields: { a: 'i32' } })
    expect(() =>
      fixed.put?.(bytesBacking(bytes('1234')), 0, new Uint8Array(Int32Array.of(123).buffer)),
    ).toThrow(/record 1 can't be written/)
  })
})
