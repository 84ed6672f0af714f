import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { lensNamed } from '../src/lens/catalogue.ts'
import { LensError } from '../src/lens/errors.ts'
import { inflateAt } from '../src/lens/gunzip.ts'
import { members } from '../src/lens/members.ts'
import { range } from '../src/lens/range.ts'
import { randomBytes } from './explain-helpers.ts'
import { bytesBacking, lensContract } from './lens-contract.ts'
import { anyData, compressed, has, readWhole, textBytes } from './stream-helpers.ts'
import { removeFolder } from '../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lethe-members-'))
})
afterAll(() => removeFolder(folder))

const python = (code: string, ...args: string[]): void => {
  execFileSync('python3', ['-c', code, ...args], { cwd: folder })
}

describe('range@2+100', () => {
  lensContract(range(2, 100), {
    backings: fc.uint8Array({ minLength: 102, maxLength: 300 }),
  })
})

describe('zip archives', () => {
  const files: Record<string, Uint8Array> = {
    'text.txt': textBytes(300_000, 1),
    'noise.bin': randomBytes(20_000, 2),
    'zeros.bin': new Uint8Array(1_000_000),
    'small.txt': textBytes(100, 3),
  }

  function check(path: string, names: readonly string[]): void {
    const backing = bytesBacking(readFileSync(path))
    const found = members(backing)
    expect(found.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
    for (const { name = '', lens, size } of found) {
      const wanted = files[name] ?? new Uint8Array(0)
      expect(size).toBe(wanted.length)
      expect(Buffer.compare(readWhole(lensNamed(lens), backing), wanted)).toBe(0)
    }
  }

  it('give their compressed members, of any method that we read', () => {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes)
    python(
      'import zipfile,sys\nz=zipfile.ZipFile("a.zip","w")\nfor n,m in [("text.txt",8),("noise.bin",0),("zeros.bin",12),("small.txt",8)]: z.write(n,compress_type=m)\nz.comment=b"PK\\x05\\x06 is no end"[:3]\nz.close()',
    )
    check(join(folder, 'a.zip'), ['text.txt', 'zeros.bin'])
  })

  it('may use 64-bit fields and data descriptors', () => {
    python(
      'import zipfile,io\nclass S(io.RawIOBase):\n def __init__(s,f): s.f=f\n def writable(s): return True\n def write(s,b): return s.f.write(b)\nz=zipfile.ZipFile(S(open("b.zip","wb")),"w",zipfile.ZIP_DEFLATED)\nwith z.open("text.txt","w",force_zip64=True) as o: o.write(open("text.txt","rb").read())\nz.close()',
    )
    check(join(folder, 'b.zip'), ['text.txt'])
  })

  it('npz: the arrays of numpy', () => {
    python('import numpy as n\nn.savez_compressed("c.npz",a=n.arange(100000,dtype="f4"))')
    const backing = bytesBacking(readFileSync(join(folder, 'c.npz')))
    const [member] = members(backing)
    expect(member?.name).toBe('a.npy')
    const bytes = readWhole(lensNamed(member?.lens ?? ''), backing)
    const floats = new Float32Array(bytes.slice(bytes.length - 400_000).buffer)
    expect(floats[99_999]).toBe(99_999)
  })

  it('a member whose checksum is wrong is refused', () => {
    const data = textBytes(1000, 5)
    const raw = gzipSync(data).subarray(10)
    const good = inflateAt(0, raw.length, crc32(data))
    expect(readWhole(good, bytesBacking(raw))).toEqual(data)
    expect(() => readWhole(inflateAt(0, raw.length, 1), bytesBacking(raw))).toThrow(LensError)
    expect(lensNamed(good.name).name).toBe(good.name)
  })

  it('damaged anywhere, they give names or nothing', { timeout: 60_000 }, () => {
    const bytes = readFileSync(join(folder, 'a.zip'))
    const end = bytes.length
    for (let at = end - 300; at < end; at += 3) {
      const bad = Uint8Array.from(bytes)
      bad[at] = (bad[at] ?? 0) ^ 0xff
      const backing = bytesBacking(bad)
      for (const { lens } of members(backing))
        try {
          const got = readWhole(lensNamed(lens), backing)
          const good = Object.values(files).some(file => Buffer.compare(file, got) === 0)
          expect(good).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
        }
    }
  })
})

describe('PDF files', () => {
  it('give their FlateDecode streams', () => {
    const pages = [textBytes(5000, 1), textBytes(70_000, 2), textBytes(9000, 3)]
    const parts: Uint8Array[] = [Buffer.from('%PDF-1.7\n'), randomBytes(1_048_570, 3).map(byte => byte | 128)]
    for (const [i, page] of pages.entries()) {
      const packed = deflateSync(page)
      parts.push(
        Buffer.from(`${i} 0 obj\n<< /Length ${packed.length} /Filter /FlateDecode >>\nstream\r\n`),
        packed,
        Buffer.from('\nendstream\nendobj\n'),
      )
    }
    parts.push(Buffer.from('9 0 obj\n<< /Length 3 >>\nstream\nx\u0001y\nendstream\n%%EOF'))
    const backing = bytesBacking(Uint8Array.from(Buffer.concat(parts)))
    const found = members(backing)
    expect(found.map(({ lens }) => readWhole(lensNamed(lens), backing))).toEqual(pages)
  })
})

describe.skipIf(!has('git'))('git', () => {
  const git = (...args: string[]): Buffer =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
      cwd: join(folder, 'repo'),
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'ignore'],
    })

  it('every object of a pack, deltas applied', () => {
    execFileSync('git', ['init', '-q', join(folder, 'repo')])
    let text = Buffer.from(textBytes(60_000, 1)).toString()
    for (let i = 0; i < 12; i++) {
      text = `${text.slice(0, 3000 * i)}line ${i}\n${text.slice(3000 * i)}`
      writeFileSync(join(folder, 'repo/file.txt'), text)
      writeFileSync(join(folder, 'repo/noise.bin'), randomBytes(5000, i))
      git('add', '.')
      git('commit', '-q', '-m', `change ${i}`)
    }
    git('repack', '-adq', '--depth=50')
    const packs = join(folder, 'repo/.git/objects/pack')
    const pack = readdirSync(packs).find(name => name.endsWith('.pack')) ?? ''
    const backing = bytesBacking(readFileSync(join(packs, pack)))
    const listed = git('verify-pack', '-v', join(packs, pack)).toString().split('\n')
    const expected = new Map<number, { id: string; kind: string }>()
    let deltas = 0
    for (const line of listed) {
      const match = /^([0-9a-f]{40}) (\w+)\s+\d+ \d+ (\d+)( \d+ )?/.exec(line)
      if (match) expected.set(Number(match[3]), { id: match[1] ?? '', kind: match[2] ?? '' })
      if (match?.[4]) deltas++
    }
    expect(deltas).toBeGreaterThan(8)
    const found = members(backing, { least: 0 })
    expect(found.map(({ offset }) => offset)).toEqual([...expected.keys()].toSorted((a, b) => a - b))
    for (const { lens, offset, size } of found) {
      const object = expected.get(offset)
      const bytes = readWhole(lensNamed(lens), backing)
      expect(bytes.length).toBe(size)
      expect(Buffer.compare(bytes, git('cat-file', object?.kind ?? '', object?.id ?? ''))).toBe(0)
      const out = new Uint8Array(50).fill(1)
      lensNamed(lens).get(backing, Math.max(0, bytes.length - 20), out)
      expect(out.subarray(20).every(byte => byte === 0)).toBe(true)
    }
  })

  it('a loose object is a zlib stream', () => {
    const object = deflateSync(Buffer.from(`blob 5000\0${Buffer.from(textBytes(5000, 1)).toString()}`))
    expect(members(bytesBacking(object)).map(({ lens }) => lens)).toEqual(['zlib@0'])
  })

  it('damage of a pack is refused', () => {
    const packs = join(folder, 'repo/.git/objects/pack')
    const pack = readdirSync(packs).find(name => name.endsWith('.pack')) ?? ''
    const good = readFileSync(join(packs, pack))
    const backing = bytesBacking(good)
    const largest = members(backing)
      .toSorted((a, b) => (b.size ?? 0) - (a.size ?? 0))
      .slice(0, 4)
    for (const { lens, offset } of largest) {
      const right = readWhole(lensNamed(lens), backing)
      for (let at = offset; at < offset + 300; at += 7) {
        const bad = Uint8Array.from(good)
        bad[at] = (bad[at] ?? 0) ^ 0x55
        try {
          expect(Buffer.compare(readWhole(lensNamed(lens), bytesBacking(bad)), right)).toBe(0)
        } catch (error) {
          expect(error).toBeInstanceOf(LensError)
        }
      }
    }
  })
})

describe('whole files', () => {
  const data = textBytes(20_000, 1)
  const files: Record<string, readonly string[]> = {
    gunzip: ['gzip', '-c'],
    unzstd: ['zstd', '-c'],
    unxz: ['xz', '-c'],
    bunzip2: ['bzip2', '-c'],
    unlz4: ['lz4', '-c'],
  }
  for (const [lens, command] of Object.entries(files))
    it.skipIf(!has(command[0] ?? ''))(lens, () => {
      const backing = bytesBacking(compressed(command, data))
      expect(members(backing).map(member => member.lens)).toEqual([lens])
      expect(readWhole(lensNamed(lens), backing)).toEqual(data)
    })

  it('plain ones have no members, whatever they hold', () => {
    fc.assert(
      fc.property(anyData(3000), bytes => {
        const found = members(bytesBacking(Buffer.concat([Buffer.from('plain'), bytes])))
        expect(found).toEqual([])
      }),
      { seed: 5, numRuns: 500 },
    )
  })
})
