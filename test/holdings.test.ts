import { appendFileSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { PackWriter } from '../src/lens/packed.ts'
import { Holdings } from '../src/pager/holdings.ts'
import { removeFolder } from '../src/sys/folder.ts'

const folder = mkdtempSync(join(tmpdir(), 'lethe-holdings-'))
afterAll(() => removeFolder(folder))

describe.skipIf(process.platform !== 'linux')('a file (needs Linux)', () => {
  test('that is changed between the first look and the lease does not serve: views of it would differ', async () => {
    const path = join(folder, 'pack')
    const writer = new PackWriter(path)
    writer.add(new Uint8Array(16384))
    writer.commit()
    const holdings = new Holdings(folder)
    const found = { index: 0, path, openPath: path, how: 'open', lens: 'packed' }
    const index = await holdings.open(found, -1, async () => (appendFileSync(path, 'more'), 0), 16384)
    expect(index).toBeUndefined()
    expect(holdings.records).toEqual([])
    expect(holdings.refused.get(path)?.why).toBe(`${path} was changed while it was opened`)
  })
})
