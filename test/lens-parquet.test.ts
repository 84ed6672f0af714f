import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import type { ElementType } from '../src/lens/element.ts'
import { LensError } from '../src/lens/errors.ts'
import type { Lens } from '../src/lens/lens.ts'
import { parquetLens } from '../src/lens/parquet.ts'
import { pageHeader } from '../src/lens/parquet-page.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const arrays = {
  u8: Uint8Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  f32: Float32Array,
  f64: Float64Array,
}

function made(lens: Lens, path: string): (number | bigint)[] {
  using backing = new FileBacking(path)
  const out = new Uint8Array(lens.size(backing))
  lens.get(backing, 0, out)
  return [...new arrays[lens.element as keyof typeof arrays](out.buffer)]
}

const alike = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, i) => Object.is(value, b[i]))

/** Columns of every type of numbers, of many and of few values, with nulls and without. */
const TABLE = `SELECT
  (i * 7919 % 100003)::INTEGER AS i32, (i % 5)::INTEGER AS few, (i::BIGINT * 1000003 * 1000003) AS i64, i::BIGINT AS counting,
  sin(i) AS f64, (i / 7)::FLOAT AS f32, i % 3 = 0 AS bool, (i % 200)::UTINYINT AS u8, (i * 3)::UINTEGER AS u32,
  (i::UBIGINT * 9223372036854) AS u64, (i / 100)::DECIMAL(9, 2) AS money, (i / 100)::DECIMAL(16, 3) AS wide,
  CASE WHEN i % 4 = 1 THEN NULL ELSE i * 0.5 END::DOUBLE AS holes, CASE WHEN i % 1000 > 2 THEN NULL ELSE i END AS rare,
  NULL::DOUBLE AS nothing, {'x': i::DOUBLE, 'y': {'z': i}} AS deep, 'text' || i AS name, [i, i] AS list
  FROM range(5000) t(i)`

const types: Readonly<Record<string, ElementType>> = {
  i32: 'i32',
  few: 'i32',
  i64: 'i64',
  counting: 'i64',
  f64: 'f64',
  f32: 'f32',
  bool: 'u8',
  u8: 'i64',
  u32: 'u32',
  u64: 'u64',
  money: 'f64',
  wide: 'f64',
  holes: 'f64',
  nothing: 'f64',
}
const compressors = {
  GZIP: (bytes: Uint8Array) => new Uint8Array(gunzipSync(bytes)),
  ZSTD: (bytes: Uint8Array) => new Uint8Array(zstdDecompressSync(bytes)),
  BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliDecompressSync(bytes)),
}

describe('a column of a Parquet file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-parquet-'))
  const at = (name: string): string => join(folder, name)
  let duck: Awaited<ReturnType<typeof connect>>
  const connect = async () => (await DuckDBInstance.create(':memory:')).connect()
  beforeAll(async () => {
    duck = await connect()
    await duck.run(`CREATE TABLE t AS ${TABLE}`)
    for (const version of ['V1', 'V2'])
      await duck.run(
        `COPY (SELECT holes FROM t LIMIT 80) TO '${at(`small-${version}.parquet`)}' (FORMAT parquet, PARQUET_VERSION ${version})`,
      )
    for (const codec of ['uncompressed', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4_raw'])
      for (const version of ['V1', 'V2'])
        await duck.run(
          `COPY t TO '${at(`${codec}-${version}.parquet`)}' (FORMAT parquet, COMPRESSION ${codec}, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048)`,
        )
  }, 60_000)
  afterAll(() => {
    duck.closeSync()
    removeFolder(folder)
  })

  const number = (value: unknown): number | bigint =>
    typeof value === 'bigint' ? value : value === null ? Number.NaN : Number(value)

  it('is what hyparquet reads, in each type, encoding and compression', async () => {
    for (const codec of ['uncompressed', 'snappy', 'gzip', 'zstd', 'brotli'])
      for (const version of ['V1', 'V2']) {
        const path = at(`${codec}-${version}.parquet`)
        const file = readFileSync(path)
        const rows = await parquetReadObjects({
          file: file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer,
          compressors,
          columns: Object.keys(types),
        })
        for (const [column, as] of Object.entries(types)) {
          const expected = rows.map(row => number(row[column]))
          const wide = as === 'i64' || as === 'u64'
          expect({
            column,
            path,
            same: alike(
              made(parquetLens({ as, column: [column] }), path),
              wide ? expected.map(BigInt) : expected,
            ),
          }).toEqual({ column, path, same: true })
        }
      }
  }, 60_000)

  it('is what DuckDB wrote, also with LZ4', async () => {
    for (const version of ['V1', 'V2']) {
      const path = at(`lz4_raw-${version}.parquet`)
      for (const column of ['i32', 'f64', 'counting', 'holes', 'deep.y.z']) {
        const rows = await (await duck.runAndReadAll(`SELECT ${column}::DOUBLE FROM '${path}'`)).getRows()
        expect(made(parquetLens({ as: 'f64', column: column.split('.') }), path)).toEqual(
          rows.map(([value]) => number(value)),
        )
      }
    }
  }, 30_000)

  it('has pages whose headers say more than is needed: pyarrow writes the least and greatest value there', () => {
    const header = '1500 1520 1520 2c 1506 1500 1506 1506 1c 18026162 2602 41 00 00 00'.replaceAll(' ', '')
    const bytes = new Uint8Array(Buffer.from(`${header}ffff`, 'hex'))
    expect(pageHeader(bytes)).toMatchObject({
      kind: 'data',
      length: header.length / 2,
      size: 16,
      packed: 16,
      values: 3,
      encoding: 0,
    })
  })

  it('may lack values, for which something else stands', () => {
    const path = at('snappy-V1.parquet')
    expect(made(parquetLens({ as: 'f64', column: ['rare'], missing: -1 }), path).slice(0, 5)).toEqual([
      0, 1, 2, -1, -1,
    ])
    expect(made(parquetLens({ as: 'i64', column: ['rare'], missing: -1n }), path).slice(2, 5)).toEqual([
      2n,
      -1n,
      -1n,
    ])
    expect(() => made(parquetLens({ as: 'i64', column: ['rare'] }), path)).toThrow(
      /i64 has no NaN; say what stands for it/,
    )
  })

  it('that is not there, or holds no numbers, is an error that says so', () => {
    const path = at('snappy-V1.parquet')
    const read =
      (...column: string[]) =>
      (): unknown =>
        made(parquetLens({ as: 'f64', column }), path)
    expect(read('prise')).toThrow(/there is no column "prise"; the columns are "i32", "few".*"deep.y.z"/)
    expect(read('name')).toThrow(/holds BYTE_ARRAY, which are no numbers/)
    expect(read('list', 'list', 'element')).toThrow(/holds lists/)
    expect(read('deep')).toThrow(/several columns/)
    expect(() => made(parquetLens({ as: 'i32', column: ['f64'] }), path)).toThrow(
      /f64 can be had as f64, f32, not as i32/,
    )
  })

  it('of a damaged file is an error and never other bytes', () => {
    const good = new Uint8Array(readFileSync(at('zstd-V1.parquet')))
    const lens = parquetLens({ as: 'f64', column: ['f64'] })
    const whole = new Float64Array(5000)
    lens.get(bytesBacking(good), 0, new Uint8Array(whole.buffer))
    expect(() => lens.size(bytesBacking(good.subarray(0, -1)))).toThrow(/no PAR1 at its end/)
    expect(() => lens.size(bytesBacking(good.slice(0, 3)))).toThrow(LensError)
    let failed = 0
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (where, change) => {
        const bad = good.slice()
        bad[where] = (bad[where] ?? 0) ^ change
        const backing = bytesBacking(bad)
        try {
          const out = new Uint8Array(Math.min(lens.size(backing), 40_000))
          lens.get(backing, 0, out)
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
          failed++
        }
      }),
      { seed: 20_265, numRuns: 200 },
    )
    expect(failed).toBeGreaterThan(0)
  }, 30_000)

  describe('read in any way', () => {
    const files = new Map<string, Uint8Array>()
    const small = fc.constantFrom('V1', 'V2').map(version => {
      const bytes = files.get(version) ?? new Uint8Array(readFileSync(at(`small-${version}.parquet`)))
      files.set(version, bytes)
      return bytes
    })
    lensContract(parquetLens({ as: 'f64', column: ['holes'] }), { backings: small })
  })

  it('read from any byte gives what is there', () => {
    using backing = new FileBacking(at('snappy-V1.parquet'))
    const lens = parquetLens({ as: 'f32', column: ['f64'] })
    const whole = new Uint8Array(lens.size(backing))
    lens.get(backing, 0, whole)
    fc.assert(
      fc.property(fc.nat(whole.length), fc.nat(20_000), (from, length) => {
        const out = new Uint8Array(length)
        lens.get(backing, from, out)
        const expected = new Uint8Array(length)
        expected.set(whole.subarray(from, from + length))
        expect(Buffer.compare(out, expected)).toBe(0)
      }),
      { seed: 20_266, numRuns: 1000 },
    )
  })
})
