/** Regions in this very process: page faults of this thread, served by the pager. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { lensNamed } from '../../src/lens/catalogue.ts'
import { bytes, csv, file, type MemoryError } from '../../src/library/index.ts'
import { bytesOf, desk, noise, turn, whyNoMmu } from './helpers.ts'

const why = await whyNoMmu()
const MiB = 2 ** 20

/** Whether two arrays have the same bytes: `toEqual` looks at each element by itself. */
function same(a: object, b: object): boolean {
  const raw = (array: object): Buffer => {
    const { buffer, byteOffset, byteLength } = array as Uint8Array
    return Buffer.from(buffer, byteOffset, byteLength)
  }
  return raw(a).equals(raw(b))
}

describe.skipIf(why !== undefined)(`a region ${why ?? ''}`, { timeout: 60_000 }, () => {
  const table = desk()
  const words = noise(2 * MiB)
  const whole = (): string => table.file('words', bytesOf(words))

  it('reads as the file does, forwards, backwards and at random, within the budget', async () => {
    const memory = await table.open()
    const { array } = await memory.map(file(whole()), undefined, { as: 'u32' })
    expect(array.length).toBe(words.length)
    let same = 0
    for (let i = 0; i < words.length; i += 512) if (array[i] === words[i]) same++
    for (let i = words.length - 1; i >= 0; i -= 512) if (array[i] === words[i]) same++
    const random = noise(2000, 7).map(n => n % words.length)
    for (const i of random) if (array[i] === words[i]) same++
    expect(same).toBe(2 * (words.length / 512) + 2000)
    const { resident, evicted, faults } = memory.stats()
    expect(resident).toBeLessThanOrEqual(2 * MiB)
    expect(evicted).toBeGreaterThan(8 * MiB)
    expect(faults).toBeLessThan(5000)
  })

  it('ends where its file ends, within a page', async () => {
    const memory = await table.open()
    const region = await memory.map(file(table.file('odd', bytesOf(words).subarray(0, 5003))), undefined, {
      as: 'u32',
    })
    expect(region.length).toBe(1250)
    expect([...region.array]).toEqual([...words.subarray(0, 1250)])
    expect(region.at(-1)).toBe(words[1249])
    expect(region.at(1250)).toBe(undefined)
    const empty = await memory.map(file(table.file('empty', '')))
    expect(empty.array.length).toBe(0)
  })

  it('is what lenses make: elements, decompressed bytes, parsed columns', async () => {
    const memory = await table.open()
    const floats = Float32Array.from({ length: 300_000 }, (_, i) => i / 7)
    const wide = await memory.map(
      file(table.file('f32', new Uint8Array(floats.buffer))),
      lensNamed('f32-f64'),
    )
    expect(same(wide.array, Float64Array.from(floats))).toBe(true)
    const rows = Array.from({ length: 50_000 }, (_, i) => `${i},${i / 8},x${i}`)
    const gz = file(table.file('t.csv.gz', gzipSync(`id,v,name\n${rows.join('\n')}\n`)))
    const seen: number[] = []
    const column = await memory.map(gz.through(lensNamed('gunzip')), lensNamed('numbers-f64/1'), {
      progress: (done, total) => seen.push(done / total),
    })
    expect(
      same(
        column.array,
        Float64Array.from(rows, (_, i) => i / 8),
      ),
    ).toBe(true)
    expect(seen.at(-1)).toBe(1)
  })

  it('keeps what is written, in memory and after it had to leave', async () => {
    const memory = await table.open()
    const path = whole()
    const { array, stats, close } = await mapWords(memory, path)
    for (let i = 0; i < words.length; i += 700) array[i] = i
    expect(stats().spilled).toBeGreaterThan(4 * MiB)
    expect(memory.stats().resident).toBeLessThanOrEqual(2 * MiB)
    let wrong = 0
    for (let round = 0; round < 2; round++)
      for (let i = 0; i < words.length; i++) if (array[i] !== (i % 700 === 0 ? i : words[i])) wrong++
    expect(wrong).toBe(0)
    await close()
    expect(readFileSync(path).equals(bytesOf(words))).toBe(true)
  })

  it('is memory for system calls too', async () => {
    const memory = await table.open()
    const { array, close } = await mapWords(memory, whole())
    const copy = openSync(join(table.folder, 'copy'), 'w+')
    writeSync(copy, new Uint8Array(array.buffer, 0, 3 * MiB))
    closeSync(copy)
    expect(readFileSync(join(table.folder, 'copy')).equals(bytesOf(words).subarray(0, 3 * MiB))).toBe(true)
    await close()
  })

  it('says that its table was changed, whatever the lens made of that', async () => {
    const memory = await table.open()
    const path = table.file('cut.csv', `v,w\n${'1.5,2\n'.repeat(200_000)}`)
    const region = await memory.map(file(path), csv({ column: 'v' }), { mode: 'shared' })
    expect(region.at(0)).toBe(1.5)
    truncateSync(path, 1000)
    expect(() => region.at(150_000)).toThrow('was changed')
    await region.close()
  })

  it('tells who listens of faults, refills and evictions', async () => {
    const sums = { fault: 0, refill: 0, evict: 0 }
    const names = ['fault', 'refill', 'evict'] as const
    const listeners = names.map(name => {
      const listen = (message: unknown): void => {
        const { region, from, to } = message as { region: string; from: number; to: number }
        expect(region).toContain('words')
        sums[name] += name === 'fault' ? 1 : to - from
      }
      subscribe(`lethe:${name}`, listen)
      return () => unsubscribe(`lethe:${name}`, listen)
    })
    const memory = await table.open()
    const { array } = await mapWords(memory, whole())
    let sum = 0
    for (let i = 0; i < array.length; i += 1024) sum += array[i] as number
    await turn()
    for (const leave of listeners) leave()
    expect(sum).toBeGreaterThan(0)
    const { faults, refilled, evicted } = memory.stats()
    expect(sums).toEqual({ fault: faults, refill: refilled, evict: evicted })
    expect(evicted).toBeGreaterThan(0)
  })

  it('is empty after it was closed, however it is used', async () => {
    const memory = await table.open()
    const region = await memory.map(file(whole()), undefined, { as: 'u32' })
    const { array } = region
    expect(array[5]).toBe(words[5])
    await region.close()
    await region.close()
    expect(array.length).toBe(0)
    expect(array[5]).toBe(undefined)
    array[5] = 1
    expect(() => region.array).toThrow('is closed')
    expect(() => region.at(0)).toThrow('is closed')
    await expect(region.read()).rejects.toMatchObject({ code: 'closed' })
    const other = await memory.map(file(whole()))
    await memory.close()
    expect(other.closed).toBe(true)
    await expect(memory.map(file(whole()))).rejects.toMatchObject({ code: 'closed' })
  })

  it('is one of many: all of them listen once for the end of the process', async () => {
    const before = process.listenerCount('exit')
    const some = await Promise.all([1, 2, 3].map(() => table.open()))
    expect(process.listenerCount('exit')).toBe(before + 1)
    for (const memory of some) await memory.close()
    expect(process.listenerCount('exit')).toBe(before)
  })

  it('leaves no descriptor behind, however many memories there were', async () => {
    const counts: number[] = []
    for (let n = 0; n < 4; n++) {
      const memory = await table.open()
      const region = await memory.map(file(table.file('few', 'abcdefgh')))
      await region.read()
      await memory.close()
      counts.push(readdirSync('/proc/self/fd').length)
    }
    expect(counts.at(-1), counts.join(' ')).toBe(counts[1])
  })

  it('reads, iterates, prefetches and pins', async () => {
    const memory = await table.open({ budget: '4MiB' })
    const region = await memory.map(file(whole()), undefined, { as: 'u32' })
    expect(same(await region.read(1000, 600_000), words.subarray(1000, 600_000))).toBe(true)
    const chunks: Uint32Array[] = []
    for await (const chunk of region) chunks.push(chunk.slice())
    expect(Buffer.concat(chunks.map(bytesOf)).equals(bytesOf(words))).toBe(true)
    await region.prefetch({ from: 0, to: 1000 })
    {
      using _pin = await region.pin({ from: 0, to: 100_000 }, { writable: true })
      const { writes } = region.stats()
      const { faults } = region.stats()
      let right = 0
      for (let i = 300_000; i < words.length; i += 1024) if (region.array[i] === words[i]) right++
      expect(right).toBe(Math.ceil((words.length - 300_000) / 1024))
      const before = region.stats().faults
      expect(before).toBeGreaterThan(faults)
      for (let i = 0; i < 100_000; i += 1024) region.array[i] = i
      expect(region.stats().faults).toBe(before)
      expect(region.stats().writes).toBe(writes)
    }
    await expect(region.pin()).rejects.toMatchObject({ code: 'budget' })
    await expect(region.read(5, 4)).rejects.toMatchObject({ code: 'range' })
  })

  it('undoes a write in mode readonly, and tells', async () => {
    const memory = await table.open()
    const region = await memory.map(file(whole()), undefined, { as: 'u32', mode: 'readonly' })
    const errors: MemoryError[] = []
    region.on('error', error => errors.push(error))
    const { array } = region
    array[70_000] = 5
    array[1_000_000] = 6
    for (let i = 0; i < 100 && (array[70_000] === 5 || array[1_000_000] === 6); i++) await turn()
    expect(array[70_000]).toBe(words[70_000])
    expect(array[1_000_000]).toBe(words[1_000_000])
    await turn()
    expect(errors.map(error => error.code)).toEqual(['readonly', 'readonly'])
    expect(errors[0]?.message).toContain('byte 280000 ')
  })

  const changes: [string, (path: string) => void][] = [
    ['shrunk', path => truncateSync(path, 4096)],
    ['grown', path => appendFileSync(path, 'more')],
    ['written', path => writeFileSync(path, bytesOf(noise(2 * MiB, 99)))],
    ['removed', path => rmSync(path)],
  ]

  it.each(changes)('keeps its bytes when its file is %s: the writer waits for a copy', async (_, change) => {
    const memory = await table.open()
    const path = whole()
    const one = await memory.map(file(path), undefined, { as: 'u32' })
    const two = await memory.map(file(path), lensNamed('verbatim@4'), { as: 'u32' })
    expect(one.array[9]).toBe(words[9])
    change(path)
    expect(same(await one.read(), words)).toBe(true)
    expect(same(await two.read(), words.subarray(1))).toBe(true)
    await one.close()
    await two.close()
  })

  it.each(changes.slice(0, 3))('never mixes: its file, which somebody has open, is %s', async (_, change) => {
    const memory = await table.open()
    const path = whole()
    const writer = openSync(path, 'r+')
    const region = await memory.map(file(path), undefined, { as: 'u32' })
    const errors: MemoryError[] = []
    region.on('error', error => errors.push(error))
    const { array } = region
    for (let i = 0; i < 1000; i++) expect(array[i]).toBe(words[i])
    change(path)
    let mixed = 0
    for (let i = 0; i < words.length; i += 999) if (array[i] !== words[i] && array[i] !== 0xffff_ffff) mixed++
    expect(mixed).toBe(0)
    expect(array[words.length - 1]).toBe(0xffff_ffff)
    expect(() => region.at(5)).toThrow('was changed')
    await turn()
    expect(errors.map(error => error.code)).toEqual(['changed'])
    expect(array.length).toBe(0)
    closeSync(writer)
  })

  it('of bytes in memory is of those bytes', async () => {
    const memory = await table.open()
    const given = bytesOf(words).slice(0, 100_000)
    const region = await memory.map(bytes(given), lensNamed('u8-f32'))
    given.fill(0)
    expect(same(region.array, Float32Array.from(bytesOf(words).subarray(0, 100_000)))).toBe(true)
  })

  it('that is lazy gives its first elements while the scan goes on', async () => {
    const memory = await table.open()
    const rows = Array.from({ length: 400_000 }, (_, i) => `${i},${i / 4}`)
    const path = table.file('t.csv', `id,v\n${rows.join('\n')}\n`)
    const lazy = await memory.map(file(path), csv({ column: 'v' }), { lazy: true })
    expect(lazy.at(3)).toBe(0.75)
    expect([...(await lazy.read(8, 10))]).toEqual([2, 2.25])
    expect(() => lazy.array).toThrow('await region.ready()')
    await lazy.ready()
    expect(lazy.array.length).toBe(400_000)
    expect(lazy.at(-1)).toBe(399_999 / 4)
    await lazy.close()
    expect(lazy.closed).toBe(true)
    const never = await memory.map(file(table.file('u.csv', `${rows.join('\n')}\n`)), csv({ column: 1 }), {
      lazy: true,
    })
    expect(never.at(4)).toBe(1)
    await never.close()
  })

  it('is served while its first scan is awaited by another', async () => {
    const memory = await table.open()
    const one = await memory.map(file(whole()), undefined, { as: 'u32' })
    const gz = table.file('w.gz', gzipSync(bytesOf(words), { level: 1 }))
    const control = new AbortController()
    const scan = memory.map(file(gz), lensNamed('gunzip'), { signal: control.signal })
    expect(one.array[1_500_000]).toBe(words[1_500_000])
    control.abort(new Error('enough'))
    await expect(scan).rejects.toThrow('enough')
    const again = await memory.map(file(gz), lensNamed('gunzip'))
    expect(same(await again.read(), bytesOf(words))).toBe(true)
  })
})

async function mapWords(
  memory: Awaited<ReturnType<ReturnType<typeof desk>['open']>>,
  path: string,
): Promise<{ array: Uint32Array; stats: () => { spilled: number }; close: () => Promise<void> }> {
  const region = await memory.map(file(path), undefined, { as: 'u32' })
  return { array: region.array, stats: () => region.stats(), close: () => region.close() }
}
