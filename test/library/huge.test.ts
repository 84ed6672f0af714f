/** Spans of 2 MiB that are left alone stand on huge pages. Nobody can tell but by the time that a loop takes. */
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { file, type Memory, type Region } from '../../src/library/index.ts'
import type { MappedRegion } from '../../src/library/mapped-region.ts'
import { HugePages } from '../../src/library/spans.ts'
import * as fds from '../../src/sys/fd.ts'
import { arena, bufferAt } from '../../src/sys/ffi.ts'
import { hugeBytes, reserve } from '../../src/sys/memory.ts'
import * as uffd from '../../src/sys/uffd.ts'
import { bytesOf, desk, noise, turn, whyNoMmu } from './helpers.ts'

const MiB = 2 ** 20
const why = await whyNoMmu()
const library = fileURLToPath(new URL('../../src/library/index.ts', import.meta.url))
const seed = Number(process.env.LETHE_SEED ?? 20_260)

/** Waits until so many bytes stand on huge pages; false if they don't come. */
async function huge(memory: Memory, bytes: number): Promise<boolean> {
  for (let tries = 0; tries < 250 && memory.stats().huge < bytes; tries++) await turn()
  return memory.stats().huge >= bytes
}

let probed: Promise<string | undefined> | undefined
/** Why nothing stands on huge pages here; undefined where it does. */
const whyNoHugePages = (table: ReturnType<typeof desk>): Promise<string | undefined> =>
  (probed ??= probe(table))

async function probe(table: ReturnType<typeof desk>): Promise<string | undefined> {
  const memory = await table.open({ budget: '16MiB' })
  if (memory.faults !== 'all') return 'only faults of user mode are served'
  const { array } = await memory.map(file(table.file('probe', new Uint8Array(4 * MiB))))
  for (let i = 0; i < array.length; i += 4096) if (array[i] !== 0) throw new Error('not zero')
  return (await huge(memory, 4 * MiB)) ? undefined : 'the kernel has no huge pages to move (Linux 6.8)'
}

/** kB of a line of /proc/self/smaps for the mapping that begins at an address. */
function smaps(address: number, line: string): number {
  const text = readFileSync('/proc/self/smaps', 'latin1')
  const from = text.indexOf(`${address.toString(16)}-`)
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(text.slice(from))?.[1])
}

const addressOf = (region: Region): number => (region as unknown as MappedRegion).mapping.address

/** Whether the kernel holds as much of a region as the counters say; a span that is just being moved is nowhere for a moment. */
async function agrees(region: Region): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    const { resident, huge: onHuge } = region.stats()
    const there = smaps(addressOf(region), 'Rss') * 1024
    if (there === resident && smaps(addressOf(region), 'AnonHugePages') * 1024 === onHuge) return true
    await turn()
  }
  return false
}

/** A thread that writes to a region, in bursts that begin just when the pager thinks that all is quiet; tells what it has written. */
const writer = `
  import { Memory } from ${JSON.stringify(library)}
  import { parentPort, workerData } from 'node:worker_threads'
  const { handle, seed, ms } = workerData
  const memory = await Memory.attach(handle)
  const { array } = memory.regions[0]
  const written = new Map()
  let x = seed
  const next = below => (x = (Math.imul(x, 1664525) + 1013904223) | 0, (x >>> 4) % below)
  const wait = new Int32Array(new SharedArrayBuffer(4))
  for (const end = performance.now() + ms; performance.now() < end; ) {
    Atomics.wait(wait, 0, 0, 8 + next(8))
    for (const stop = performance.now() + 2; performance.now() < stop; ) {
      const at = next(array.length)
      array[at] = x
      written.set(at, x >>> 0)
      if (array[at] !== x >>> 0) throw new Error('lost at once: ' + at)
    }
  }
  parentPort.postMessage(written)
  await memory.close()
`

describe.skipIf(why !== undefined)(`huge pages ${why ?? ''}`, { timeout: 60_000 }, () => {
  const table = desk()
  const words = noise(4 * MiB)
  const whole = (): string => table.file('words', bytesOf(words))
  const sees = (array: Uint32Array, from = 0, to = array.length): boolean =>
    Buffer.compare(bytesOf(array.subarray(from, to)), bytesOf(words.subarray(from, to))) === 0

  it('hold what is left alone, with the same bytes, and nothing of it twice', async ({ skip }) => {
    const none = await whyNoHugePages(table)
    skip(none !== undefined, none)
    const memory = await table.open({ budget: '16MiB' })
    const region = await memory.map(file(whole()), undefined, { as: 'u32' })
    expect(sees(region.array, 0, 2 * MiB)).toBe(true)
    expect(await huge(memory, 8 * MiB)).toBe(true)
    const { resident } = memory.stats()
    expect(await agrees(region)).toBe(true)
    expect(sees(region.array, 0, 2 * MiB)).toBe(true)
    expect(memory.stats().resident).toBe(resident)
  })

  it('are left when a part has to go: what stays, stays, and the budget holds', async ({ skip }) => {
    const none = await whyNoHugePages(table)
    skip(none !== undefined, none)
    const memory = await table.open({ budget: '8MiB' })
    const region = await memory.map(file(whole()), undefined, { as: 'u32' })
    const { array } = region
    const places = noise(3000, seed).map(n => n % words.length)
    let wrong = 0
    let most = 0
    for (let round = 0; round < 6; round++) {
      expect(sees(array, round * 65_536, round * 65_536 + 3 * 2 ** 19)).toBe(true)
      await huge(memory, 4 * MiB)
      most = Math.max(most, memory.stats().huge)
      for (const place of places.subarray(round * 500, round * 500 + 500))
        if (array[place] !== words[place]) wrong++
      expect(memory.stats().resident).toBeLessThanOrEqual(8 * MiB)
      expect(await agrees(region)).toBe(true)
    }
    expect(most).toBeGreaterThanOrEqual(4 * MiB)
    expect(wrong, `seed ${seed}`).toBe(0)
  })

  it('take written spans too, which come back from the spill file', async ({ skip }) => {
    const none = await whyNoHugePages(table)
    skip(none !== undefined, none)
    const memory = await table.open({ budget: '8MiB' })
    const { array } = await memory.map(file(whole()), undefined, { as: 'u32' })
    for (let i = 0; i < MiB; i++) array[i] = i
    expect(await huge(memory, 2 * MiB)).toBe(true)
    for (let i = 0; i < MiB; i += 700) array[i] = ~i
    expect(sees(array, 2 * MiB, 4 * MiB)).toBe(true)
    await turn(50)
    let wrong = 0
    for (let i = 0; i < MiB; i++) if (array[i] !== (i % 700 === 0 ? ~i >>> 0 : i)) wrong++
    expect(wrong).toBe(0)
  })

  it('are told of what is written in the moment before they are protected', async ({ skip }) => {
    const none = await whyNoHugePages(table)
    skip(none !== undefined, none)
    const fd = uffd.create(0o2004000)
    expect(uffd.api(fd, uffd.feature.pagefaultFlagWp)).toBeGreaterThan(0)
    const at = reserve(hugeBytes)
    expect(uffd.register(fd, at, hugeBytes)).toBe(0)
    const from = arena(hugeBytes)
    from.u32.set(words.subarray(0, hugeBytes / 4))
    expect(uffd.copy(fd, at, from.address, hugeBytes, true)).toBe(0)
    const span = new Uint8Array(bufferAt(at, hugeBytes))
    const pages = new HugePages(fd, true)
    const gathered = pages.gather(at, span, true, () => {
      span[3 * 4096 + 5] = ~(span[3 * 4096 + 5] as number)
      span[511 * 4096] = span[511 * 4096] as number
      span[hugeBytes - 1] = ~(span[hugeBytes - 1] as number)
    })
    expect(gathered).toEqual({ huge: true, written: [3, 511] })
    const wanted = Buffer.from(from.bytes)
    for (const i of [3 * 4096 + 5, hugeBytes - 1]) wanted[i] = ~(wanted[i] as number)
    expect(wanted.equals(span)).toBe(true)
    expect(pages.scatter(at, span, 100, 200, n => n > 3)).toBe(true)
    expect(Buffer.from(span.subarray(0, 100 * 4096)).equals(wanted.subarray(0, 100 * 4096))).toBe(true)
    // Pages 0 to 3 were asked for without protection: a write is no fault, for which nobody would be there.
    span[4096] = 1
    pages.close()
    fds.close(fd)
  })

  it('lose nothing that is written at the moment of a move', async () => {
    const memory = await table.open({ budget: '8MiB' })
    const region = await memory.map(
      file(table.file('few', bytesOf(words).subarray(0, 12 * MiB))),
      undefined,
      {
        as: 'u32',
      },
    )
    const { array } = region
    const handle = memory.share(region)
    const worker = new Worker(writer, {
      eval: true,
      workerData: { handle, seed, ms: 4000 },
      transferList: [handle.port],
      execArgv: [],
    })
    const message = once(worker, 'message') as Promise<[Map<number, number>]>
    let ended = false
    void message.then(() => (ended = true))
    // What is there changes all the time, so that spans are gathered, and scattered again.
    let most = 0
    for (let round = 0; !ended; round++) {
      const from = (round % 3) * MiB
      for (let i = from; i < from + MiB; i += 1024) if (array[i] === -1) throw new Error('no word is -1')
      for (let k = 0; k < 6 && !ended; k++) {
        await turn(13)
        most = Math.max(most, memory.stats().huge)
      }
    }
    const [written] = await message
    let wrong = 0
    for (let i = 0; i < array.length; i++) if (array[i] !== (written.get(i) ?? words[i])) wrong++
    expect(written.size).toBeGreaterThan(1000)
    expect(wrong, `seed ${seed}, up to ${most} bytes on huge pages`).toBe(0)
    await worker.terminate()
  })

  it('do not let a write pass in mode readonly', async () => {
    const memory = await table.open({ budget: '8MiB' })
    const region = await memory.map(file(whole()), undefined, { as: 'u32', mode: 'readonly' })
    let told = 0
    region.on('error', ({ code }) => void (told += code === 'readonly' ? 1 : 0))
    expect(sees(region.array, 0, MiB)).toBe(true)
    await huge(memory, 4 * MiB)
    for (const i of [5, 70_000, 600_000]) region.array[i] = 1
    for (let tries = 0; tries < 200 && !sees(region.array, 0, MiB); tries++) await turn()
    expect(sees(region.array, 0, MiB)).toBe(true)
    await turn()
    expect(told).toBe(3)
  })

  it('are left by what is pinned, before the pin is held', async () => {
    const memory = await table.open({ budget: '16MiB' })
    const region = await memory.map(file(whole()), undefined, { as: 'u32' })
    expect(sees(region.array, 0, MiB)).toBe(true)
    await huge(memory, 4 * MiB)
    const before = memory.stats().huge
    using _pin = await region.pin({ from: 0, to: 1000 })
    expect(memory.stats().huge).toBe(Math.max(0, before - 2 * MiB))
    await turn(100)
    expect(memory.stats().huge).toBe(Math.max(0, before - 2 * MiB))
  })
})
