/** What can be wrong with what the library is given: one clear error with its code, nothing crashed, nothing written. */
import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import {
  bytes,
  csv,
  elements,
  file,
  gunzip,
  lens,
  Memory,
  type MemoryError,
  npy,
  object,
  parquet,
  safetensors,
  slice,
  type Source,
  unzstd,
  zlib,
} from '../../src/library/index.ts'
import { desk, noise, whyNoMmu } from './helpers.ts'

const why = await whyNoMmu()
const table = (rows = 500): string =>
  `id,v\n${Array.from({ length: rows }, (_, i) => `${i},${i / 4}`).join('\n')}\n`

type Case = readonly [
  what: string,
  code: string,
  act: (memory: Memory, at: ReturnType<typeof desk>) => Promise<unknown>,
]

/** Maps it and reads all of it, so that what is found late is found too. */
async function use(memory: Memory, source: Source, ...rest: unknown[]): Promise<void> {
  const region = await memory.map(source, rest[0] as never, rest[1] as never)
  try {
    await region.read()
  } finally {
    await region.close().catch(() => undefined)
  }
}

const everywhere: readonly Case[] = [
  ['no such file', 'not-found', (m, at) => use(m, file(join(at.folder, 'nothing')))],
  ['a folder', 'not-regular', (m, at) => use(m, file(at.folder))],
  [
    'a link that leads nowhere',
    'not-found',
    (m, at) => {
      symlinkSync('/nowhere', join(at.folder, 'dangling'))
      return use(m, file(join(at.folder, 'dangling')))
    },
  ],
  ['a device', 'not-regular', m => use(m, file('/dev/null'))],
  [
    'a gzip file that is cut',
    'corrupt',
    (m, at) => use(m, file(at.file('a.gz', gzipSync(table()).subarray(0, 700))), gunzip()),
  ],
  [
    'a gzip file with a wrong checksum',
    'corrupt',
    (m, at) => {
      const packed = gzipSync(table())
      packed[packed.length - 6] = (packed[packed.length - 6] as number) ^ 1
      return use(m, file(at.file('b.gz', packed)), gunzip())
    },
  ],
  ['what is no gzip file', 'corrupt', (m, at) => use(m, file(at.file('c.gz', table())), gunzip())],
  ['an empty gzip file', 'corrupt', (m, at) => use(m, file(at.file('d.gz', '')), gunzip())],
  ['zlib data that ends early', 'corrupt', m => use(m, bytes(deflateSync(table()).subarray(0, 300)), zlib())],
  ['what is no source', 'option', m => use(m, 5 as never)],
  ['what is no path', 'option', async m => use(m, file(undefined as never))],
  ['what is no zstd file', 'corrupt', (m, at) => use(m, file(at.file('e.zst', table())), unzstd())],
  [
    'a ragged table',
    'corrupt',
    (m, at) => use(m, file(at.file('r.csv', `${table()}7\n8,9\n`)), csv({ column: 'v' })),
  ],
  [
    'a column that is not there',
    'range',
    (m, at) => use(m, file(at.file('w.csv', table())), csv({ column: 'price' })),
  ],
  [
    'text where a number has to be',
    'corrupt',
    (m, at) => use(m, file(at.file('x.csv', `${table()}9,nine\n`)), csv({ column: 'v', missing: 'error' })),
  ],
  ['a part beyond the end', 'corrupt', (m, at) => use(m, file(at.file('s', table())), slice(0, 1e9))],
  ['what is no .npy file', 'corrupt', (m, at) => use(m, file(at.file('a.npy', table())), npy({ as: 'f64' }))],
  [
    'a tensor that is not there',
    'corrupt',
    (m, at) => use(m, file(at.file('a.safetensors', table())), safetensors({ as: 'f32', name: 'w' })),
  ],
  [
    'a lens with a clock in it',
    'impure',
    async (m, at) =>
      use(
        m,
        file(at.file('i', table())),
        lens({ size: s => s.size, get: (_, __, out) => void out.fill(Date.now()) }),
      ),
  ],
  [
    'a lens with a random number in it',
    'impure',
    async (m, at) =>
      use(
        m,
        file(at.file('j', table())),
        lens({ size: s => s.size, get: (_, __, out) => void out.fill(Math.random()) }),
      ),
  ],
  ['a budget smaller than a cluster', 'budget', () => Memory.open({ budget: 4096 })],
  ['a memory without a budget', 'option', () => Memory.open({ policy: 'lru' } as never)],
  ['a budget that is no size', 'option', () => Memory.open({ budget: 'plenty' })],
  ['a policy that nobody knows', 'option', () => Memory.open({ budget: '1MiB', policy: 'magic' as never })],
  [
    'a mode that nobody knows',
    'option',
    (m, at) => use(m, file(at.file('m', table())), undefined, { mode: 'secret' }),
  ],
  [
    'an element type that nobody knows',
    'option',
    (m, at) => use(m, file(at.file('n', table())), undefined, { as: 'f128' }),
  ],
  ['an address that is none', 'option', async m => use(m, object('nonsense'))],
  ['an address of a kind that we don’t know', 'option', async m => use(m, object('ftp://host/key'))],
  ['a lens that is none', 'option', (m, at) => use(m, file(at.file('aa', table())), 'gunzip' as never)],
  ['no column', 'option', async (m, at) => use(m, file(at.file('ab', table())), csv({} as never))],
  ['no options', 'option', async (m, at) => use(m, file(at.file('ac', table())), csv(undefined as never))],
  [
    'elements of a type that nobody knows',
    'option',
    async (m, at) => use(m, file(at.file('ad', table())), elements({ of: 'f31' as never, as: 'f64' })),
  ],
  [
    'a column of a Parquet file, of no type',
    'option',
    async (m, at) => use(m, file(at.file('ae', table())), parquet({ column: 'v' } as never)),
  ],
  [
    'a column by a name that two have',
    'range',
    (m, at) => use(m, file(at.file('af.csv', 'v,v\n1,2\n')), csv({ column: 'v' })),
  ],
  [
    'a range that is none',
    'range',
    async (m, at) => {
      const region = await m.map(file(at.file('o', table())), elements('u8'))
      await region.read(10, 9)
    },
  ],
  [
    'a range beyond the end',
    'range',
    async (m, at) => {
      const region = await m.map(file(at.file('p', table())), elements('u8'))
      await region.prefetch({ from: 0, to: 1e9 })
    },
  ],
  ['a server that is not there', 'network', m => use(m, object('http://127.0.0.1:9/x', { retries: 0 }))],
  [
    'a region that is closed',
    'closed',
    async (m, at) => {
      const region = await m.map(file(at.file('q', table())), elements('u8'))
      await region.close()
      await region.read()
    },
  ],
  [
    'a memory that is closed',
    'closed',
    async (m, at) => {
      await m.close()
      await use(m, file(at.file('t', table())))
    },
  ],
]

const served: readonly Case[] = [
  [
    'a lens without a way back, mode shared',
    'no-put',
    (m, at) => use(m, file(at.file('u.gz', gzipSync(table()))), gunzip(), { mode: 'shared' }),
  ],
  [
    'bytes in memory, mode shared',
    'no-put',
    m => use(m, bytes(new Uint8Array(9)), undefined, { mode: 'shared' }),
  ],
  [
    'a pin larger than the budget',
    'budget',
    async (m, at) => {
      const region = await m.map(file(at.file('v', new Uint8Array(noise(2 ** 20).buffer))), elements('u8'))
      await region.pin()
    },
  ],
  [
    'a flush of what is not shared',
    'option',
    async (m, at) => {
      const region = await m.map(file(at.file('y', table())), elements('u8'))
      await region.flush()
    },
  ],
  [
    'a file of two names, whose copy would part them',
    'write-back',
    async (m, at) => {
      const path = at.file('z.csv', table())
      linkSync(path, join(at.folder, 'z2.csv'))
      const region = await m.map(file(path), csv({ column: 'v' }), { mode: 'shared' })
      region.array[4] = 123_456
      await region.close()
    },
  ],
]

for (const mmu of why === undefined ? (['auto', 'none'] as const) : (['none'] as const))
  describe(`bad inputs, mmu ${mmu}`, { timeout: 60_000 }, () => {
    const at = desk()
    let memory: Memory | undefined

    it.each([...everywhere, ...(mmu === 'auto' ? served : [])])('%s: %s', async (what, code, act) => {
      const files = (): string =>
        JSON.stringify(
          readdirSync(at.folder)
            .filter(name => statSync(join(at.folder, name), { throwIfNoEntry: false })?.isFile() === true)
            .map(name => [name, readFileSync(join(at.folder, name), 'latin1')]),
        )
      mkdirSync(join(at.folder, 'cache'), { recursive: true })
      // One memory for all of them: what went wrong before must not hurt it.
      memory =
        memory === undefined || what.includes('memory that')
          ? await Memory.open({ budget: '1MiB', mmu, cache: join(at.folder, 'cache') })
          : memory
      let before = ''
      const error = await act(memory, {
        ...at,
        get folder() {
          return at.folder
        },
        file(name, content) {
          const path = at.file(name, content)
          before = files()
          return path
        },
      }).then(
        () => undefined,
        (thrown: unknown) => thrown as MemoryError,
      )
      expect(error).toMatchObject({ name: code === 'impure' ? expect.any(String) : 'MemoryError', code })
      expect(error?.message).toMatch(/\w{3}/)
      if (code === 'closed' && what.includes('memory that')) memory = undefined
      if (before !== '' && code !== 'write-back') expect(files()).toBe(before)
    })

    it('and the memory still works', async () => {
      const other = await Memory.open({ budget: '1MiB', mmu, cache: join(at.folder, 'cache') })
      const column = await other.map(file(at.file('good.csv', table())), csv({ column: 'v' }))
      expect(column.at(499)).toBe(499 / 4)
      await other.close()
      await memory?.close()
    })
  })

describe('without page faults', { timeout: 60_000 }, () => {
  const at = desk()

  it('reads, at and iteration work, with the same lenses; array says why it is not there', async () => {
    const memory = await at.open({ mmu: 'none', budget: '1MiB' })
    expect(memory.faults).toBe('none')
    const source = file(at.file('t.csv.gz', gzipSync(table(300_000)))).through(gunzip())
    const column = await memory.map(source, csv({ column: 'v' }))
    expect(column.length).toBe(300_000)
    expect([column.at(0), column.at(299_999), column.at(-2), column.at(300_000)]).toEqual([
      0,
      299_999 / 4,
      299_998 / 4,
      undefined,
    ])
    let sum = 0
    for await (const chunk of column) for (const value of chunk) sum += value
    expect(sum).toBe((299_999 * 300_000) / 8)
    expect([...(await column.read(10, 13))]).toEqual([2.5, 2.75, 3])
    expect(() => column.array).toThrow("page faults can't be served")
    expect(memory.stats().resident).toBeLessThanOrEqual(2 ** 20)
    await expect(memory.map(file(at.file('w', 'abcd')), undefined, { mode: 'shared' })).rejects.toMatchObject(
      {
        code: 'no-mmu',
      },
    )
  })
})
