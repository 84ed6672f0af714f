/** Files that other programs wrote, plain and compressed by other programs, against the libraries that read them. */
import { execFileSync, execSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { arrowLens } from '../src/lens/arrow.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import type { Lens } from '../src/lens/lens.ts'
import { parquetLens } from '../src/lens/parquet.ts'
import { tensorLens } from '../src/lens/tensors.ts'
import { through } from '../src/lens/through.ts'
import { csv, gunzip, matrix } from '../src/library/lenses.ts'
import { removeFolder } from '../src/sys/folder.ts'

const python = '/usr/bin/python3'
const has = (command: string): boolean => {
  try {
    execSync(command, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
const noPandas = has(`${python} -c 'import pandas'`) ? false : 'no pandas: apt install python3-pandas'

/** A Python that has a module: $LETHE_PYTHON, the one in PATH, or the system's. */
const pythonWith = (module: string): string | undefined =>
  [process.env.LETHE_PYTHON ?? 'python3', 'python3', python].find(one => has(`${one} -c 'import ${module}'`))

/** Files of every way in which pyarrow keeps a column, and beside them the column as doubles. */
const PYARROW = `
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as ft
d = sys.argv[1] + '/'
r = np.random.default_rng(5)
n = 20000
columns = {'f8': r.normal(size=n), 'f4': r.random(n).astype('f4'), 'i4': r.integers(-9, 9, n, dtype='i4'), 'i8': np.arange(n) * 10 ** 9,
  'u2': r.integers(0, 65535, n, dtype='u2'), 'hole': np.where(np.arange(n) % 3 == 0, np.nan, r.random(n)), 'few': r.integers(0, 5, n) / 4}
for name, values in columns.items(): values.astype('f8').tofile(d + name + '.f64')
table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()} | {'text': ['t%d' % i for i in range(n)]})
for codec in ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4']:
    for version in ['1.0', '2.0']:
        for dictionary in [True, False]:
            pq.write_table(table, f'{d}{codec}-{version}-{dictionary}.parquet', compression=codec, data_page_version=version, use_dictionary=dictionary,
              row_group_size=7000, data_page_size=16384)
pq.write_table(table, d + 'split.parquet', use_dictionary=False, use_byte_stream_split=['f8', 'f4', 'hole', 'few'])
pq.write_table(table, d + 'delta.parquet', use_dictionary=False, column_encoding={'i4': 'DELTA_BINARY_PACKED', 'i8': 'DELTA_BINARY_PACKED'})
for codec in ['uncompressed', 'lz4', 'zstd']: ft.write_feather(table, f'{d}{codec}.feather', compression=codec, chunksize=6000)
with pa.ipc.new_stream(d + 'stream.arrow', table.schema) as s: s.write_table(table, max_chunksize=5000)
`

const SAFETENSORS = `
import sys, numpy as np
from safetensors.numpy import save_file
r = np.random.default_rng(7)
tensors = {'a.weight': r.normal(size=(64, 33)).astype('f4'), 'half': r.normal(size=(50, 7)).astype('f2'), 'ids': np.arange(77), 'none': np.zeros((0, 3))}
save_file(tensors, sys.argv[1] + '/w.safetensors', metadata={'by': 'numpy'})
for name, values in tensors.items(): values.astype('f8').tofile(sys.argv[1] + '/' + name + '.f64')
`

const PANDAS = `
import sys, numpy as np, pandas as pd
r = np.random.default_rng(3)
n = 3000
pd.DataFrame({'i': np.arange(n), 'f': r.normal(size=n) * 10.0 ** r.integers(-300, 300, n), 'hole': np.where(np.arange(n) % 3 == 0, np.nan, .1),
  'text': ['a, "quoted"\\nline %d' % i for i in range(n)], 'last': r.random(n).astype('f4')}).to_csv(sys.argv[1], index=False)
`

describe('a CSV that another program wrote', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-programs-'))
  const at = (name: string): string => join(folder, name)
  afterAll(() => removeFolder(folder))

  function column(path: string, lens: Lens, under?: Lens): Float64Array {
    using backing = new FileBacking(path)
    const below = under ? through(backing, under) : backing
    const out = new Uint8Array(lens.size(below))
    // In pieces, as page faults ask for it.
    for (let from = 0; from < out.length; from += 65_536)
      lens.get(below, from, out.subarray(from, from + 65_536))
    return new Float64Array(out.buffer)
  }
  const oracle = (bytes: Buffer, name: string): Float64Array =>
    Float64Array.from(
      (parse(bytes, { columns: true }) as Record<string, string>[]).map(row =>
        row[name] === '' ? Number.NaN : Number(row[name]),
      ),
    )

  beforeAll(async () => {
    const duck = await (await DuckDBInstance.create(':memory:')).connect()
    await duck.run(
      `COPY (SELECT i AS id, sin(i) * 1e9 AS wave, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 8 END AS part, 'x;"' || i || '",' AS note FROM range(15000) t(i)) TO '${at('duck.csv')}' (HEADER)`,
    )
    duck.closeSync()
  }, 30_000)

  it.skipIf(noPandas)('as pandas does has the values that csv-parse finds', { timeout: 30_000 }, () => {
    execFileSync(python, ['-c', PANDAS, at('pandas.csv')])
    const bytes = readFileSync(at('pandas.csv'))
    for (const name of ['i', 'f', 'hole', 'last'])
      expect(column(at('pandas.csv'), csv({ column: name }))).toEqual(oracle(bytes, name))
    const two = column(at('pandas.csv'), matrix({ columns: ['last', 'i'] }))
    const [last, i] = [oracle(bytes, 'last'), oracle(bytes, 'i')]
    expect(two).toEqual(Float64Array.from({ length: 6000 }, (_, k) => (k % 2 === 0 ? last : i)[k >> 1] ?? 0))
  })

  it('as DuckDB does has the values that csv-parse finds', { timeout: 30_000 }, () => {
    const bytes = readFileSync(at('duck.csv'))
    for (const name of ['id', 'wave', 'part'])
      expect(column(at('duck.csv'), csv({ column: name }))).toEqual(oracle(bytes, name))
  })

  const packers: Readonly<Record<string, string>> = {
    'gzip -1': 'gzip -1',
    'gzip -9': 'gzip -9',
    pigz: 'pigz -p 2 -b 128',
    bgzip: 'bgzip',
    zopfli: 'zopfli --i1',
    'gzip, in members': 'split -b 100000 --filter=gzip',
  }
  for (const [name, command] of Object.entries(packers)) {
    const [program = ''] = command.split(' ')
    // zopfli wants a file by its name.
    const input = program === 'zopfli' ? '-c' : program === 'split' ? '<' : '-c <'
    it.skipIf(!has(`command -v ${program}`))(
      `compressed by ${name} has the same values${has(`command -v ${program}`) ? '' : ` (${program} is not installed)`}`,
      { timeout: 30_000 },
      () => {
        const path = at(`${name.replaceAll(/\W/g, '')}.gz`)
        execSync(`${command} ${input} ${at('duck.csv')} > ${path}`)
        expect(gunzipSync(readFileSync(path)).equals(readFileSync(at('duck.csv')))).toBe(true)
        const plain = column(at('duck.csv'), csv({ column: 'wave' }))
        expect(column(path, csv({ column: 'wave' }), gunzip())).toEqual(plain)
        expect(column(path, lensNamed(`gunzip|${csv({ column: 'wave' }).name}`))).toEqual(plain)
      },
    )
  }
})

describe('arrays that Python wrote', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-python-'))
  afterAll(() => removeFolder(folder))

  function doubles(path: string, lens: Lens): Buffer {
    using backing = new FileBacking(join(folder, path))
    const out = Buffer.alloc(lens.size(backing))
    for (let from = 0; from < out.length; from += 16_384)
      lens.get(backing, from, out.subarray(from, from + 16_384))
    return out
  }
  const oracle = (name: string): Buffer => readFileSync(join(folder, `${name}.f64`))

  const arrow = pythonWith('pyarrow')
  it.skipIf(arrow === undefined)(
    `by pyarrow are what it had${arrow === undefined ? ' (no pyarrow: pip install pyarrow)' : ''}`,
    { timeout: 60_000 },
    () => {
      execFileSync(arrow ?? '', ['-c', PYARROW, folder])
      const files = readdirSync(folder).filter(name => /parquet$|feather$|arrow$/.test(name))
      expect(files).toHaveLength(30)
      const differs: string[] = []
      for (const path of files)
        for (const name of ['f8', 'f4', 'i4', 'i8', 'u2', 'hole', 'few']) {
          const options = { as: 'f64', column: [name] } as const
          const lens = path.endsWith('parquet') ? parquetLens(options) : arrowLens(options)
          if (!doubles(path, lens).equals(oracle(name))) differs.push(`${name} of ${path}`)
        }
      expect(differs).toEqual([])
    },
  )

  const safe = pythonWith('safetensors')
  it.skipIf(safe === undefined)(
    `by safetensors are what it had${safe === undefined ? ' (no safetensors: pip install safetensors)' : ''}`,
    { timeout: 30_000 },
    () => {
      execFileSync(safe ?? '', ['-c', SAFETENSORS, folder])
      for (const name of ['a.weight', 'half', 'ids', 'none'])
        expect(doubles('w.safetensors', tensorLens('safetensors', { as: 'f64', name }))).toEqual(oracle(name))
    },
  )
})
