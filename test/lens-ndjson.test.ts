import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { applyEdits } from '../src/lens/lens.ts'
import { ndjsonLens } from '../src/lens/ndjson.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const { NaN: nan } = Number

function column(path: readonly string[], text: string): number[] {
  const lens = ndjsonLens({ as: 'f64', path })
  const backing = bytesBacking(bytes(text))
  const out = new Float64Array(lens.size(backing) / 8)
  lens.get(backing, 0, new Uint8Array(out.buffer))
  return [...out]
}

const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constant(1e300))
const key = fc.constantFrom('a', 'b', 'a"b', 'ä', '', 'x y', 'deep')
const other = fc.constantFrom(null, true, '', 'a": 1', '\\', [], [1, [2]], {}, { a: 1 }, '{"a": 3, ')
const value = fc.oneof({ weight: 3, arbitrary: number }, other)
const record = fc.dictionary(key, fc.oneof(value, fc.dictionary(key, value, { maxKeys: 3 })), { maxKeys: 4 })
const style = fc.constantFrom(0, 1)
const rows = fc.array(fc.tuple(record, style), { maxLength: 5 })
/** Lines as JSON.stringify writes them, tight or with blanks. */
const lines = rows.map(list =>
  list.map(([each, wide]) => {
    const tight = JSON.stringify(each)
    return wide ? JSON.stringify(each, null, 1).replaceAll('\n', ' ') : tight
  }),
)
const backings = lines.map(list => bytes(list.join('\n')))
// What is a string or an object is not written over, so that put is tried on numbers.
const numbers = fc
  .array(fc.tuple(number, other), { maxLength: 5 })
  .map(list => bytes(list.map(([a, b]) => `${JSON.stringify({ b, a })}\n`).join('')))
const finite = fc
  .array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 12 })
  .map(list => new Uint8Array(new Float64Array(list).buffer))

describe('ndjson?as=f64&key=a', () =>
  lensContract(lensNamed('ndjson?as=f64&key=a'), { backings: numbers, put: { bytes: finite, step: 8 } }))
const unwritten = { put: { bytes: fc.constant(new Uint8Array(0)), step: 8 } }
describe('ndjson?as=i32&key=deep&key=b&missing=0', () =>
  lensContract(lensNamed('ndjson?as=i32&key=deep&key=b&missing=0'), { backings, ...unwritten }))

describe('a field of JSON lines', () => {
  it('is what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(
        lines,
        fc.array(key, { minLength: 1, maxLength: 2 }),
        fc.constantFrom('\n', '\r\n', '\n\n'),
        (list, path, line) => {
          const expected = list.map(each => {
            let at: unknown = JSON.parse(each)
            for (const name of path)
              at =
                typeof at === 'object' && at !== null && !Array.isArray(at) && Object.hasOwn(at, name)
                  ? (at as Record<string, unknown>)[name]
                  : undefined
            return typeof at === 'number' ? at : nan
          })
          expect(column(path, list.join(line))).toEqual(expected)
        },
      ),
      { seed: 20_264, numRuns: 1500 },
    )
  })

  it('is not taken from a string, or from deeper down, and the last of two counts', () => {
    expect(column(['a'], '{"b": "\\"a\\": 1", "c": {"a": 2}, "a": 3}')).toEqual([3])
    expect(column(['a'], '{"a": 1, "a": 2}\n[1]\n"a"\n{"a": "7"}\n{"a": null}\n{"a": {"a": 8}}')).toEqual([
      2,
      nan,
      nan,
      nan,
      nan,
      nan,
    ])
    expect(column(['a'], '\ufeff{"a": 1}')).toEqual([1])
  })

  it('that is no integer is an error with the row', () => {
    const lens = ndjsonLens({ as: 'i64', path: ['a'] })
    expect(() => lens.size(bytesBacking(bytes('{"a":1}\n{"a":1.5}')))).toThrow(
      /row 2 has "1.5" in column "a"/,
    )
  })

  it('is written as JSON, in the room that it had where there is any', () => {
    const put = (text: string, to: number): string => {
      const lens = ndjsonLens({ as: 'f64', path: ['a'] })
      const edits = lens.put?.(bytesBacking(bytes(text)), 0, new Uint8Array(Float64Array.of(to).buffer)) ?? []
      return Buffer.from(applyEdits(bytes(text), edits)).toString()
    }
    expect(put('{"a":12,"b":1}', 7)).toBe('{"a":7 ,"b":1}')
    expect(put('{"a":10.500}', 9.25)).toBe('{"a":9.2500}')
    expect(put('{"a":1,"b":2}', 0.25)).toBe('{"a":0.25,"b":2}')
    expect(put('{"a":12345}', nan)).toBe('{"a":null }')
    expect(() => put('{"a":"7"}', 1)).toThrow(/row 1 has no such number/)
  })
})
