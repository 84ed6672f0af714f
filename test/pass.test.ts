/** A column of a compressed table: the text is decompressed once, whoever needs it. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import type { Backing } from '../src/backing/backing.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { FolderIndexStore, type IndexStore } from '../src/lens/index-store.ts'
import { Spool, type SpoolOptions } from '../src/lens/spool.ts'
import { type View, through } from '../src/lens/through.ts'
import { bytesBacking } from './lens-contract.ts'
import { removeFolder } from '../src/sys/folder.ts'

/** Incompressible enough that the compressed text has several pieces, with a row that is longer than a piece. */
const rows = Array.from({ length: 150_000 }, (_, i) => Math.imul(i, 2_654_435_761) / 1000)
const text = `v,w\n${rows.map((v, i) => (i === 70_000 ? `${v},${'x'.repeat(300_000)}` : `${v},${i}`)).join('\n')}\n`
const packed = new Uint8Array(gzipSync(text))
const wanted = Float64Array.from(rows)

const folder = mkdtempSync(join(tmpdir(), 'lethe-pass-'))
const spooled = (): string[] =>
  readdirSync(join(folder, 'spool/v1')).flatMap(name =>
    name.endsWith('.view') ? [join(folder, 'spool/v1', name)] : [],
  )
afterEach(() => removeFolder(folder))
const storeOf = (options?: SpoolOptions): IndexStore =>
  new FolderIndexStore(join(folder, 'lens'), undefined, new Spool(join(folder, 'spool'), options))

/** The same backing, each time it is opened; how many bytes were read of it. */
const one = bytesBacking(packed)
function opened(): { readonly backing: Backing; read: number } {
  const seen = {
    read: 0,
    backing: {
      ...one,
      read(offset: number, into: Uint8Array): number {
        const n = one.read(offset, into)
        seen.read += n
        return n
      },
    },
  }
  return seen
}

const column = lensNamed('gunzip|csv?as=f64&column=v')
function all(view: View): Float64Array {
  const out = new Uint8Array(view.size)
  for (let at = 0; at < out.length; at += 65_536) view.read(at, out.subarray(at, at + 65_536))
  return new Float64Array(out.buffer)
}

describe('a column of a compressed table', () => {
  it('is indexed and parsed in one pass, and then read from the spool', () => {
    const first = opened()
    const view = through(first.backing, column)
    column.prepare?.(first.backing, storeOf())
    expect(all(view)).toEqual(wanted)
    expect(first.read).toBeLessThan(packed.length * 1.1)
    const again = opened()
    column.prepare?.(again.backing, storeOf())
    expect(all(through(again.backing, column))).toEqual(wanted)
    // Only the beginning, for the names of the columns.
    expect(again.read).toBeLessThan(2 ** 20)
    view.close()
  })

  it('is made of the text where the spool has no room, or is damaged', () => {
    const tight = opened()
    column.prepare?.(tight.backing, storeOf({ limit: 1 }))
    expect(spooled()).toEqual([])
    expect(all(through(tight.backing, column))).toEqual(wanted)
    removeFolder(folder)

    column.prepare?.(opened().backing, storeOf())
    const [path = ''] = spooled()
    const bytes = readFileSync(path)
    bytes[70_000] = (bytes[70_000] as number) ^ 1
    writeFileSync(path, bytes)
    const after = opened()
    column.prepare?.(after.backing, storeOf())
    expect(all(through(after.backing, column))).toEqual(wanted)
  })

  it('fails as the text does, each time it is asked', () => {
    const cut = bytesBacking(packed.subarray(0, packed.length - 3000))
    for (let i = 0; i < 2; i++) expect(() => column.prepare?.(cut, storeOf())).toThrow('gunzip')
    expect(spooled()).toEqual([])
  })

  it('can be looked at before: as far as somebody looks, and back', () => {
    const seen = opened()
    const lens = lensNamed('gunzip')
    const inside = through(seen.backing, lens)
    inside.share(() => lens.begin?.(seen.backing, storeOf()), { restarting: true })
    const view = through(inside, lensNamed('csv?as=f64&column=v'))
    const at = (i: number): number => {
      const out = new Float64Array(1)
      view.read(i * 8, new Uint8Array(out.buffer))
      return out[0] as number
    }
    expect(at(0)).toBe(rows[0])
    expect(seen.read).toBeLessThan(packed.length / 3)
    for (const i of [1, 120_000, 3, 69_999, 70_001, 0]) expect(at(i)).toBe(rows[i])
    view.close()
  })
})
