/** Tables that other programs wrote, plain and compressed by other programs, against the libraries that read them. */
import { execFileSync, execSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import type { Lens } from '../src/lens/lens.ts'
import { through } from '../src/lens/through.ts'
import { csv, gunzip, matrix } from '../src/library/lenses.ts'

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
  afterAll(() => rmSync(folder, { recursive: true }))

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
  }
  for (const [name, command] of Object.entries(packers)) {
    const [program = ''] = command.split(' ')
    it.skipIf(!has(`command -v ${program}`))(
      `compressed by ${name} has the same values`,
      { timeout: 30_000 },
      () => {
        const path = at(`${name.replace(' ', '')}.gz`)
        execSync(`${command} -c < ${at('duck.csv')} > ${path}`)
        expect(gunzipSync(readFileSync(path)).equals(readFileSync(at('duck.csv')))).toBe(true)
        const plain = column(at('duck.csv'), csv({ column: 'wave' }))
        expect(column(path, csv({ column: 'wave' }), gunzip())).toEqual(plain)
        expect(column(path, lensNamed(`gunzip|${csv({ column: 'wave' }).name}`))).toEqual(plain)
      },
    )
  }
})
