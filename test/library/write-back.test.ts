/** Mode 'shared': what is written to memory comes to be in the file, wholly or not at all. */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { csv, file, gunzip, bytes } from '../../src/library/index.ts'
import { gzipSync } from 'node:zlib'
import { bytesOf, desk, noise, whyNoMmu } from './helpers.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const why = await whyNoMmu()
const rows = 30_000
const line = (i: number, v: string): string => `${i},${v},"a, b"`
const table = (v: (i: number) => string): string =>
  `id,v,note\n${Array.from({ length: rows }, (_, i) => line(i, v(i))).join('\n')}\n`

describe.skipIf(why !== undefined)(`a shared region ${why ?? ''}`, { timeout: 60_000 }, () => {
  const at = desk()

  it('edits one number of a CSV in place, and no other byte', async () => {
    const memory = await at.open()
    const path = at.file(
      't.csv',
      table(i => String(1000 + (i % 9000))),
    )
    const { ino } = statSync(path)
    const region = await memory.map(file(path), csv({ column: 'v' }), { mode: 'shared' })
    expect(region.array[20_000]).toBe(1000 + (20_000 % 9000))
    region.array[20_000] = 4321
    await region.flush()
    const expected = table(i => (i === 20_000 ? '4321' : String(1000 + (i % 9000))))
    expect(readFileSync(path, 'latin1')).toBe(expected)
    expect(statSync(path).ino).toBe(ino)
    expect(region.array[20_000]).toBe(4321)
    expect(region.stats().dirty).toBe(0)
    region.array[20_000] = 4322
    region.array[20_001] = 9999
    await region.close()
    expect(readFileSync(path, 'latin1')).toContain(`${line(20_000, '4322')}\n${line(20_001, '9999')}\n`)
  })

  it('puts an edited copy in its place where widths change, and goes on from there', async () => {
    const memory = await at.open({ budget: '1MiB' })
    const path = at.file(
      't.csv',
      table(i => String(i)),
    )
    chmodSync(path, 0o640)
    const link = join(at.folder, 'link')
    symlinkSync(path, link)
    const region = await memory.map(file(link), csv({ column: 'v' }), { mode: 'shared' })
    for (let i = 0; i < rows; i += 2) region.array[i] = i * 1000 + 0.5
    await region.flush()
    const value = (i: number): number => (i % 2 === 0 ? i * 1000 + 0.5 : i)
    expect(readFileSync(path, 'latin1')).toBe(table(i => String(value(i))))
    expect(statSync(path).mode & 0o777).toBe(0o640)
    let right = 0
    for (let i = 0; i < rows; i++) if (region.array[i] === value(i)) right++
    expect(right).toBe(rows)
    region.array[7] = -7
    await region.close()
    expect(readFileSync(path, 'latin1')).toBe(table(i => String(i === 7 ? -7 : value(i))))
    expect(readdirSync(at.folder).filter(name => name.startsWith('.'))).toEqual([])
  })

  it('writes raw bytes back, spilled ones too', async () => {
    const memory = await at.open({ budget: '1MiB' })
    const words = noise(2 ** 20)
    const path = at.file('words', bytesOf(words))
    const region = await memory.map(file(path), undefined, { as: 'u32', mode: 'shared' })
    for (let i = 0; i < words.length; i += 500) region.array[i] = words[i] = i
    expect(region.stats().spilled).toBeGreaterThan(0)
    await region.close()
    expect(readFileSync(path).equals(bytesOf(words))).toBe(true)
  })

  it('refuses what can’t be written back, before anything is mapped or written', async () => {
    const memory = await at.open()
    const gz = at.file('t.csv.gz', gzipSync(table(String)))
    const path = at.file('t.csv', table(String))
    await expect(
      memory.map(file(gz).through(gunzip()), csv({ column: 'v' }), { mode: 'shared' }),
    ).rejects.toMatchObject({ code: 'no-put' })
    await expect(memory.map(bytes(new Uint8Array(9)), undefined, { mode: 'shared' })).rejects.toMatchObject({
      code: 'no-put',
    })
    const other = await memory.map(file(path), csv({ column: 'v' }), { mode: 'shared' })
    other.array[5] = 6
    writeFileSync(
      path,
      table(i => `${i}0`),
    )
    await expect(other.flush()).rejects.toMatchObject({ code: 'changed' })
    expect(readFileSync(path, 'latin1')).toBe(table(i => `${i}0`))
    await other.close().catch(() => undefined)
    linkSync(path, join(at.folder, 'name'))
    const linked = await memory.map(file(path), csv({ column: 'v' }), { mode: 'shared' })
    linked.array[5] = 123_456
    await expect(linked.flush()).rejects.toMatchObject({ code: 'write-back' })
    expect(readFileSync(path, 'latin1')).toBe(table(i => `${i}0`))
    await linked.close().catch(() => undefined)
  })
})

describe.skipIf(why !== undefined)('kill -9 during a write-back', { timeout: 120_000 }, () => {
  it('leaves the file old or new', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-kill-'))
    const path = join(folder, 't.csv')
    const old = table(i => String(1000 + (i % 9000)))
    // The lens keeps the width where it can.
    const renewed = table(i => (i % 2 === 0 ? '77.0' : String(1000 + (i % 9000))))
    const script = `
      import { csv, file, Memory } from ${JSON.stringify(fileURLToPath(new URL('../../src/library/index.ts', import.meta.url)))}
      const memory = await Memory.open({ budget: '1MiB', cache: ${JSON.stringify(join(folder, 'cache'))} })
      const region = await memory.map(file(${JSON.stringify(path)}), csv({ column: 'v' }), { mode: 'shared' })
      for (let i = 0; i < region.length; i += 2) region.array[i] = 77
      console.log('flush')
      await region.flush()
      console.log('done')
      setInterval(() => {}, 1000)
    `
    const seen = { old: 0, renewed: 0 }
    try {
      // The first run says how long a flush takes; the others are killed within it.
      let took = 0
      for (let round = 0; round < 6; round++) {
        writeFileSync(path, old)
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const lines = child.stdout.setEncoding('utf8')
        let text = ''
        const until = async (word: string): Promise<void> => {
          while (!text.includes(word)) {
            if (child.exitCode !== null) throw new Error(`the program ended: ${text}`)
            text += String(await new Promise(r => lines.once('data', r).once('end', () => r(''))))
          }
        }
        await until('flush')
        const began = performance.now()
        if (round === 0) {
          await until('done')
          took = performance.now() - began
        } else await sleep((took * round) / 5)
        child.kill('SIGKILL')
        await new Promise(settle => child.once('close', settle))
        const now = readFileSync(path, 'latin1')
        expect([old, renewed]).toContain(now)
        if (now === old) seen.old++
        else seen.renewed++
      }
      expect(seen.renewed).toBeGreaterThan(0)
    } finally {
      removeFolder(folder)
    }
  })
})
