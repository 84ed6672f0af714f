import { execFileSync } from 'node:child_process'
import { zstdCompressSync } from 'node:zlib'
import {
  compressionRegistry,
  CompressionType,
  makeTable,
  RecordBatchFileWriter,
  RecordBatchStreamWriter,
  Table,
  tableFromIPC,
  vectorFromArray,
  Bool,
  Float64,
  Int64,
  Struct,
  Field,
  Utf8,
} from 'apache-arrow'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { arrowLens } from '../src/lens/arrow.ts'
import type { ElementType } from '../src/lens/element.ts'
import { LensError } from '../src/lens/errors.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'

const arrays = {
  u8: Uint8Array,
  i16: Int16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
}

function made(
  bytes: Uint8Array,
  as: ElementType,
  column: readonly string[],
  missing?: number | bigint,
): (number | bigint)[] {
  const lens = arrowLens({ as, column, ...(missing === undefined ? {} : { missing }) })
  const backing = bytesBacking(bytes)
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  return [...new arrays[as as keyof typeof arrays](out.buffer)]
}

compressionRegistry.set(CompressionType.ZSTD, { encode: bytes => new Uint8Array(zstdCompressSync(bytes)) })
compressionRegistry.set(CompressionType.LZ4_FRAME, {
  encode: bytes => new Uint8Array(execFileSync('lz4', ['-c'], { input: bytes })),
})

function write(
  table: Table,
  { stream = false, codec }: { stream?: boolean; codec?: CompressionType } = {},
): Uint8Array {
  const options = codec === undefined ? {} : { compressionType: codec }
  const writer = stream ? new RecordBatchStreamWriter(options) : new RecordBatchFileWriter(options)
  for (const batch of table.batches) writer.write(batch)
  writer.close()
  return writer.toUint8Array(true)
}

const rows = 3000
const numbers = Array.from({ length: rows }, (_, i) => i)
const table = makeTable({
  i16: Int16Array.from(numbers, i => i - 100),
  f64: Float64Array.from(numbers, i => Math.sin(i)),
  f32: Float32Array.from(numbers, i => i / 3),
  u32: Uint32Array.from(numbers, i => i * 1_000_000),
})
const holes = vectorFromArray(
  numbers.map(i => (i % 3 === 1 ? null : i / 2)),
  new Float64(),
)
const longs = vectorFromArray(
  numbers.map(i => (i % 5 === 1 ? null : BigInt(i))),
  new Int64(),
)
const flags = vectorFromArray(
  numbers.map(i => (i % 7 === 0 ? null : i % 2 === 0)),
  new Bool(),
)
const text = vectorFromArray(
  numbers.map(i => `text ${i}`),
  new Utf8(),
)
const deep = vectorFromArray(
  numbers.map(i => (i % 10 === 0 ? null : { x: i, y: null })),
  new Struct([new Field('x', new Float64(), true), new Field('y', new Float64(), true)]),
)

describe('a column of an Arrow file', () => {
  const columns: Readonly<Record<string, ElementType>> = {
    i16: 'i16',
    f64: 'f64',
    f32: 'f32',
    u32: 'u32',
  }

  it('is what apache-arrow reads, from files and streams, compressed or not', () => {
    const long = table.concat(table)
    for (const stream of [false, true])
      for (const codec of [undefined, CompressionType.ZSTD, CompressionType.LZ4_FRAME]) {
        const bytes = write(long, { stream, ...(codec === undefined ? {} : { codec }) })
        const read: Table = codec === undefined ? tableFromIPC(bytes) : long
        for (const [name, as] of Object.entries(columns))
          expect(made(bytes, as, [name])).toEqual([...(read.getChild(name) ?? [])])
      }
  })

  it('may have nulls, and lie in a struct behind columns of all kinds', () => {
    const mixed = write(new Table({ text, deep, flags, holes, longs }))
    const { NaN: nan } = Number
    expect(made(mixed, 'f64', ['holes']).slice(0, 5)).toEqual([0, nan, 1, 1.5, nan])
    expect(made(mixed, 'i64', ['longs'], -1n).slice(0, 4)).toEqual([0n, -1n, 2n, 3n])
    expect(made(mixed, 'u8', ['flags'], 9).slice(0, 4)).toEqual([9, 0, 1, 0])
    expect(made(mixed, 'f64', ['deep', 'x']).slice(0, 3)).toEqual([nan, 1, 2])
    expect(made(mixed, 'f64', ['deep', 'y'], 7).slice(0, 2)).toEqual([7, 7])
    expect(() => made(mixed, 'i64', ['longs'])).toThrow(/i64 has no NaN/)
    expect(() => made(mixed, 'f64', ['text'])).toThrow(/"text" holds text/)
    expect(() => made(mixed, 'f64', ['deep'])).toThrow(/holds structs; name a field/)
    expect(() => made(mixed, 'f64', ['prise'])).toThrow(/the columns are "text", "deep.x", "deep.y", "flags"/)
  })

  it('of a damaged file is an error and never a crash', { timeout: 20_000 }, () => {
    const good = write(table)
    expect(() => made(good.subarray(0, -1), 'f64', ['f64'])).toThrow(/cut off/)
    expect(() => made(new Uint8Array(5), 'f64', ['f64'])).toThrow(LensError)
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (where, change) => {
        const bad = good.slice()
        bad[where] = (bad[where] ?? 0) ^ change
        try {
          const lens = arrowLens({ as: 'f64', column: ['f64'] })
          lens.get(bytesBacking(bad), 0, new Uint8Array(rows * 8))
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
        }
      }),
      { seed: 20_267, numRuns: 200 },
    )
  })

  const small = fc
    .array(fc.option(fc.double()), { minLength: 1, maxLength: 40 })
    .map(list => write(new Table({ v: vectorFromArray(list, new Float64()) })))
  lensContract(arrowLens({ as: 'f64', column: ['v'] }), { backings: small })
})
