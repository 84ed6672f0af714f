/** Objects behind HTTP and S3: ranges, retries, a pinned ETag. */
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { AwsClient } from 'aws4fetch'
import { afterEach, describe, expect, it } from 'vitest'
import { csv, gunzip, type MemoryError, object } from '../../src/library/index.ts'
import { bytesOf, desk, noise, turn, whyNoMmu } from './helpers.ts'
import { faulty, type Server, s3 } from './servers.ts'

const why = await whyNoMmu()

describe.each(why === undefined ? (['auto', 'none'] as const) : (['none'] as const))(
  'an object, mmu %s',
  { timeout: 60_000 },
  mmu => {
    const table = desk()
    const servers: Server[] = []
    const words = noise(2 ** 20)
    const small = { block: 65_536, cache: 2 ** 20 }

    afterEach(async () => {
      for (const server of servers.splice(0)) await server.close()
    })
    async function serve(bytes: Uint8Array): Promise<Server> {
      const server = await faulty(bytes)
      servers.push(server)
      return server
    }

    it('is made of ranges, as they are touched, and fetched again when they had to leave', async () => {
      const server = await serve(bytesOf(words))
      const memory = await table.open({ mmu, budget: '1MiB' })
      const region = await memory.map(object(`${server.url}/object`, small), undefined, { as: 'u32' })
      expect(region.length).toBe(words.length)
      let right = 0
      const places = noise(300, 3).map(n => n % words.length)
      for (const i of places) if (region.at(i) === words[i]) right++
      expect(right).toBe(300)
      expect(Buffer.compare(Buffer.from((await region.read()).buffer), bytesOf(words))).toBe(0)
    })

    it('is tried again when a server fails for the moment', async () => {
      const server = await serve(bytesOf(words))
      const memory = await table.open({ mmu })
      const region = await memory.map(object(`${server.url}/object`, small), undefined, { as: 'u32' })
      await server.tell({ faults: [503, 'cut', 'reset', 'wrong'] })
      expect(Buffer.compare(Buffer.from((await region.read()).buffer), bytesOf(words))).toBe(0)
    })

    it('that was replaced is an error, never a mix', async () => {
      const server = await serve(bytesOf(words))
      const memory = await table.open({ mmu, budget: '1MiB' })
      const region = await memory.map(object(`${server.url}/object`, small), undefined, { as: 'u32' })
      const errors: MemoryError[] = []
      region.on('error', error => errors.push(error))
      expect(region.at(0)).toBe(words[0])
      await server.tell({ bytes: bytesOf(noise(2 ** 20, 77)), tag: '"two"' })
      expect(() => region.at(900_000)).toThrow('was replaced')
      await turn()
      expect(() => region.at(900_000)).toThrow('was replaced')
      if (mmu === 'auto') expect(errors.map(error => error.code)).toEqual(['changed'])
      await region.close()
    })

    it('goes through lenses like a file', async () => {
      const rows = Array.from({ length: 60_000 }, (_, i) => `${i},${i / 4}`)
      const server = await serve(gzipSync(`id,v\n${rows.join('\n')}\n`))
      const memory = await table.open({ mmu, budget: '1MiB' })
      const source = object(`${server.url}/object`, small).through(gunzip())
      const column = await memory.map(source, csv({ column: 'v' }))
      expect(await column.read()).toEqual(Float64Array.from(rows, (_, i) => i / 4))
      expect(column.at(31_000)).toBe(7750)
    })

    it('refuses with a code what it can’t read', async () => {
      const server = await serve(bytesOf(words))
      const memory = await table.open({ mmu })
      const codeOf = async (path: string): Promise<unknown> =>
        memory.map(object(`${server.url}${path}`, { retries: 1 })).then(
          () => 'mapped',
          (error: MemoryError) => error.code,
        )
      expect(await codeOf('/nothing')).toBe('not-found')
      expect(await codeOf('/secret')).toBe('denied')
      await server.tell({ faults: [500, 500] })
      expect(await codeOf('/object')).toBe('network')
      await server.tell({ no: 'tags' })
      expect(await codeOf('/object')).toBe('unsupported')
      await server.tell({ no: 'ranges' })
      expect(await codeOf('/object')).toBe('unsupported')
      await server.close()
      expect(await codeOf('/object')).toBe('network')
    })

    it('comes from S3, with signed requests', async () => {
      const server = await s3(join(table.folder, 's3'), 'data')
      servers.push(server)
      const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }
      const client = new AwsClient({ ...credentials, service: 's3', region: 'us-east-1' })
      const put = await client.fetch(`${server.url}/data/some/words.bin`, {
        method: 'PUT',
        body: Buffer.from(bytesOf(words).subarray(0, 300_000)),
      })
      expect(put.status).toBe(200)
      const memory = await table.open({ mmu })
      const options = { credentials, endpoint: server.url, block: 65_536 }
      const region = await memory.map(object('s3://data/some/words.bin', options), undefined, { as: 'u32' })
      expect(await region.read()).toEqual(words.slice(0, 75_000))
      const wrong = { ...options, credentials: { ...credentials, accessKeyId: 'nobody' } }
      await expect(memory.map(object('s3://data/some/words.bin', wrong))).rejects.toMatchObject({
        code: 'denied',
      })
    })
  },
)
