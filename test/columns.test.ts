import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { viewsOf } from '../src/explain/views.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { removeFolder } from '../src/sys/folder.ts'

it('the columns of a Parquet file are searched where memory may hold numbers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-columns-'))
  try {
    const path = join(folder, 'a.parquet')
    const duck = await (await DuckDBInstance.create(':memory:')).connect()
    await duck.run(
      `COPY (SELECT i::INTEGER AS id, i / 8 AS part, 'text' AS note, (i / 100)::DECIMAL(9, 2) AS money FROM range(3000) t(i)) TO '${path}' (FORMAT parquet)`,
    )
    duck.closeSync()
    using file = new FileBacking(path)
    const first = viewsOf(file, new Set(['numbers'])).map(view => view.lens)
    expect(first).toEqual([
      'parquet?as=i32&column=id&missing=0',
      'parquet?as=f64&column=id',
      'parquet?as=f64&column=part',
      'parquet?as=f64&column=money',
    ])
    const out = new Float64Array(2)
    lensNamed(first[2] ?? '').get(file, 16, new Uint8Array(out.buffer))
    expect([...out]).toEqual([0.25, 0.375])
    expect(viewsOf(file, new Set())).toEqual([])
  } finally {
    removeFolder(folder)
  }
}, 30_000)
