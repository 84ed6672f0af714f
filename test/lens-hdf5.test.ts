import { execFileSync, execSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileBacking } from '../src/backing/file.ts'
import { columnLenses } from '../src/lens/columns.ts'
import { LensError } from '../src/lens/errors.ts'
import { hdf5Lens } from '../src/lens/hdf5.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

const python = '/usr/bin/python3'
function isThere(): boolean {
  try {
    execSync(`${python} -c 'import h5py'`, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Writes a file with datasets of many layouts, and beside it each as h5py reads it into doubles. */
const MAKE = `
import sys, numpy as np, h5py
d = sys.argv[1] + '/'
r = np.random.default_rng(5)
with h5py.File(d + 'a.h5', 'w') as f:
    f['plain'] = r.normal(size=1000)
    f.create_dataset('deep/er/gzip', data=r.normal(size=(60, 7)), chunks=(16, 3), compression='gzip')
    f.create_dataset('shuffled', data=np.arange(5000, dtype='i4') * 3, chunks=(777,), compression='gzip', shuffle=True, fletcher32=True)
    f.create_dataset('cube', data=r.integers(0, 255, (9, 8, 7)).astype('u1'), chunks=(2, 3, 4))
    f.create_dataset('big', data=r.normal(size=(30, 30)).astype('>f4'), chunks=(7, 30), compression='gzip')
    f.create_dataset('half', data=r.normal(size=300).astype('f2'), chunks=(64,))
    holes = f.create_dataset('holes', shape=(100, 4), dtype='f8', chunks=(10, 4), fillvalue=2.5)
    holes[25:35] = 1
    many = f.create_dataset('many', data=np.arange(100000.0), chunks=(100,), compression='gzip')
    f.create_dataset('lzf', data=np.zeros(1000), chunks=(100,), compression='lzf')
    f['text'] = 'words'
    for i in range(40): f[f'group/{i}'] = np.arange(i)
with h5py.File(d + 'small.h5', 'w') as f:
    f.create_dataset('v', data=r.normal(size=(20, 6)), chunks=(8, 4), compression='gzip', shuffle=True)
with h5py.File(d + 'new.h5', 'w', libver='latest') as f:
    f['plain'] = np.arange(10.0)
    f.create_dataset('chunked', data=np.arange(1000.0), chunks=(100,), compression='gzip')
with h5py.File(d + 'a.h5', 'r') as f:
    for n in ['plain', 'deep/er/gzip', 'shuffled', 'cube', 'big', 'half', 'holes', 'many', 'group/39']:
        np.asarray(f[n], dtype='f8').tofile(d + n.replace('/', '_') + '.ref')
`

describe.skipIf(!isThere())('a dataset of an HDF5 file (apt install python3-h5py)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-hdf5-'))
  const path = join(folder, 'a.h5')
  beforeAll(() => {
    execFileSync(python, ['-c', MAKE, folder])
  }, 30_000)
  afterAll(() => removeFolder(folder))

  function made(dataset: string, file = path): Buffer {
    using backing = new FileBacking(file)
    const lens = hdf5Lens({ as: 'f64', dataset })
    const out = Buffer.alloc(lens.size(backing))
    lens.get(backing, 0, out)
    return out
  }

  it('is what h5py reads, in any layout', () => {
    for (const name of [
      'plain',
      'deep/er/gzip',
      'shuffled',
      'cube',
      'big',
      'half',
      'holes',
      'many',
      'group/39',
    ])
      expect({
        name,
        same: made(name).equals(readFileSync(join(folder, `${name.replaceAll('/', '_')}.ref`))),
      }).toEqual({
        name,
        same: true,
      })
    expect(new Float64Array(new Uint8Array(made('plain', join(folder, 'new.h5'))).buffer)[9]).toBe(9)
  })

  it('that is not there, or is not read, is an error that says so', () => {
    expect(() => made('prise')).toThrow(/there is no dataset "prise"; there are .*"\/deep\/er\/gzip"/)
    expect(() => made('text')).toThrow(/holds no numbers/)
    expect(() => made('lzf')).toThrow(/filter 32000, which is not read/)
    expect(() => made('chunked', join(folder, 'new.h5'))).toThrow(/laid out in a way that is not read/)
    expect(() => made('deep')).toThrow(/deep is no dataset/)
  })

  it('of a damaged file is an error and never a crash', () => {
    const good = new Uint8Array(readFileSync(path))
    fc.assert(
      fc.property(fc.nat(30_000), fc.integer({ min: 1, max: 255 }), (where, change) => {
        const bad = good.slice()
        bad[where] = (bad[where] ?? 0) ^ change
        try {
          hdf5Lens({ as: 'f64', dataset: '/deep/er/gzip' }).get(bytesBacking(bad), 0, new Uint8Array(3360))
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
        }
      }),
      { seed: 20_268, numRuns: 300 },
    )
  }, 20_000)

  it('in chunks is searched for in memory', () => {
    using backing = new FileBacking(path)
    expect(columnLenses(backing)).toContain('hdf5?as=i32&dataset=%2Fshuffled')
    expect(columnLenses(backing)).not.toContain('hdf5?as=f64&dataset=%2Fplain')
  })

  describe('read in any way', () => {
    let bytes: Uint8Array | undefined
    const file = fc.constant(0).map(() => (bytes ??= new Uint8Array(readFileSync(join(folder, 'small.h5')))))
    lensContract(hdf5Lens({ as: 'f64', dataset: '/v' }), { backings: file })
  })
})
