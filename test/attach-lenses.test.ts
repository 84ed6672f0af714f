/**
 * Programs that hold files in other forms: decompressed, in another encoding, as other numbers, parsed. Each gives its
 * memory back, answers the same, survives the death of its pager, and has all of it back after detach.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cannotAttach, Desk, Holder, killLethe, MiB } from './cli-helpers.ts'
import { randomBytes } from './explain-helpers.ts'

const reason = cannotAttach()

interface Status {
  virtual: number
  packs: number
  pager: number
  supervisor: number
  backings: { path: string; lens: string }[]
}

const python = '/usr/bin/python3'
const has = (...command: string[]): boolean =>
  spawnSync(command[0] ?? '', command.slice(1), { stdio: 'ignore' }).status === 0
const missing = (program: string): string | undefined =>
  ['numpy', 'h5py', 'PIL.Image'].includes(program)
    ? has(python, '-c', `import ${program}`)
      ? undefined
      : `no ${program}`
    : has(program, '--version')
      ? undefined
      : `no ${program}`

/** Text of `bytes` bytes or more of UTF-8, no two lines alike. */
function text(bytes: number, first = ''): string {
  const words = ['память', 'страница', 'файл', 'линза', 'данные', 'число', 'строка', 'процесс']
  const numbers = new Uint32Array(randomBytes(bytes / 4, 11).buffer)
  const lines = [first]
  for (let i = 0, length = 0; length < bytes; i += 2) {
    const a = numbers[i % numbers.length] ?? 0
    const b = numbers[(i + 1) % numbers.length] ?? 0
    const line = `${words[a & 7]} ${a} ${words[(a >>> 3) & 7]} ${words[(a >>> 6) & 7]} ${b}\n`
    lines.push(line)
    length += Buffer.byteLength(line)
  }
  return lines.join('')
}

function table(rows: number): string {
  const numbers = new Uint32Array(randomBytes(rows * 16, 5).buffer)
  const value = (i: number): string => (((numbers[i] ?? 0) - 2 ** 31) / 100_003).toFixed(6)
  return Array.from({ length: rows }, (_, i) => [0, 1, 2, 3].map(k => value(4 * i + k)).join(',')).join('\n')
}

/** 16 MiB of doubles in chunks, as h5py writes them. */
function hdf5(): Uint8Array {
  const make = `
import io, sys, h5py, numpy
b = io.BytesIO()
with h5py.File(b, 'w') as f:
  f.create_dataset('deep/v', data=numpy.random.default_rng(1).normal(size=(4096, 512)), chunks=(64, 128), compression='gzip', compression_opts=1, shuffle=True)
sys.stdout.buffer.write(b.getvalue())`
  return spawnSync(python, ['-c', make], { maxBuffer: 64 * MiB }).stdout
}

/** An image of 2400 × 1800 pixels, as libtiff writes it with LZW and differences. */
function tiff(): Uint8Array {
  const make = `
import sys
from PIL import Image
a, b = Image.effect_mandelbrot((2400, 1800), (-2, -1, 1, 1), 90), Image.effect_noise((2400, 1800), 9)
Image.merge('RGB', (a, b, a.transpose(0))).save(sys.argv[1], 'TIFF', compression='tiff_lzw', tiffinfo={317: 2})
sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())`
  const path = join(tmpdir(), `lethe-tiff-${process.pid}`)
  try {
    return spawnSync(python, ['-c', make, path], { maxBuffer: 64 * MiB }).stdout
  } finally {
    rmSync(path, { force: true })
  }
}

/** A python program that makes `d` and answers each line with a checksum of `bytes`. */
const py = (make: string, bytes: string): string[] => [
  '-c',
  `import sys, zlib\npath = sys.argv[1]\n${make}\nfor line in sys.stdin:\n  print(zlib.crc32(${bytes}), flush=True)`,
]

const js = [
  '-e',
  `const d = require('node:fs').readFileSync(process.argv[1], 'utf8')
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  let sum = 0
  for (let i = 0; i < d.length; i++) sum = (sum * 31 + d.charCodeAt(i)) >>> 0
  console.log(sum)
})`,
]

interface Case {
  readonly what: string
  readonly program: string
  readonly needs?: string
  readonly words: readonly string[]
  readonly file: () => string | Uint8Array
  readonly lens: RegExp
  /** Bytes that must become virtual. */
  readonly least: number
}

const header = Buffer.from(
  `\x93NUMPY\x01\x00v\x00${"{'descr': '<f2', 'fortran_order': False, 'shape': (4194304,), }".padEnd(117)}\n`,
  'latin1',
)

const cases: readonly Case[] = [
  {
    what: 'python holds text with an emoji as UTF-32',
    program: 'python3',
    words: py("d = open(path, encoding='utf8').read()", 'd.encode()'),
    file: () => text(8 * MiB, '😀'),
    lens: /^utf8-utf32$/,
    least: 16 * MiB,
  },
  {
    what: 'python holds Cyrillic text as UTF-16',
    program: 'python3',
    words: py("d = open(path, encoding='utf8').read()", 'd.encode()'),
    file: () => text(8 * MiB),
    lens: /^utf8-utf16$/,
    least: 8 * MiB,
  },
  {
    what: 'node holds Cyrillic text as UTF-16',
    program: 'node',
    words: js,
    file: () => text(8 * MiB),
    lens: /^utf8-utf16$/,
    least: 8 * MiB,
  },
  {
    what: 'python holds what it has decompressed',
    program: 'python3',
    words: py('import gzip\nd = gzip.open(path).read()', 'd'),
    file: () => gzipSync(text(16 * MiB), { level: 6 }),
    lens: /^gunzip$/,
    least: 15 * MiB,
  },
  {
    what: 'python holds decompressed text as UTF-16',
    program: 'python3',
    words: py("import gzip\nd = gzip.open(path, 'rt', encoding='utf8').read()", 'd.encode()'),
    file: () => gzipSync(text(8 * MiB), { level: 6 }),
    lens: /^gunzip\|utf8-utf16$/,
    least: 8 * MiB,
  },
  {
    what: 'python holds text whose line ends it has changed',
    program: 'python3',
    words: py("d = open(path, encoding='latin1').read()", "d.encode('latin1')"),
    file: () =>
      text(12 * MiB)
        .replaceAll('\n', '\r\n')
        .replaceAll(/[^\x20-\x7e\r\n]/g, ''),
    lens: /-lf$/,
    least: 3 * MiB,
  },
  {
    what: 'numpy holds f16 as f32',
    program: python,
    needs: 'numpy',
    words: py("import numpy\nd = numpy.load(path).astype('f4')", 'd.tobytes()'),
    file: () => {
      const halves = new Uint16Array(randomBytes(8 * MiB, 3).buffer).map(h => (h & 0x83ff) | 0x3800)
      return Buffer.concat([header, new Uint8Array(halves.buffer)])
    },
    lens: /^f16-f32$/,
    least: 15 * MiB,
  },
  {
    what: 'numpy holds numbers whose byte order it has changed',
    program: python,
    needs: 'numpy',
    words: py("import numpy\nd = numpy.fromfile(path, '>f4').astype('f4')", 'd.tobytes()'),
    file: () => {
      const values = new DataView(randomBytes(8 * MiB, 6).buffer)
      for (let at = 0; at < 8 * MiB; at += 4) values.setUint8(at, 0x3f | (values.getUint8(at) & 0x80))
      return new Uint8Array(values.buffer)
    },
    lens: /^swap32$/,
    least: 7 * MiB,
  },
  {
    what: 'numpy holds a table that it has parsed',
    program: python,
    needs: 'numpy',
    words: py("import numpy\nd = numpy.loadtxt(path, delimiter=',')", 'd.tobytes()'),
    file: () => table(250_000),
    lens: /^numbers-f64$/,
    least: 7 * MiB,
  },
  {
    what: 'numpy holds a table as numbers of 32 bits',
    program: python,
    needs: 'numpy',
    words: py("import numpy\nd = numpy.loadtxt(path, delimiter=',', dtype='f4')", 'd.tobytes()'),
    file: () => table(400_000),
    lens: /^numbers-f32$/,
    least: 5 * MiB,
  },
  {
    what: 'Pillow holds the pixels of a TIFF image',
    program: python,
    needs: 'PIL.Image',
    words: py('from PIL import Image\nd = Image.open(path)\nd.load()', 'd.tobytes()'),
    file: tiff,
    lens: /^tiff-rgba@/,
    least: 15 * MiB,
  },
  {
    what: 'h5py holds a dataset that lies in compressed chunks',
    program: python,
    needs: 'h5py',
    words: py("import h5py\nd = h5py.File(path)['deep/v'][:]", 'd.tobytes()'),
    file: hdf5,
    lens: /^hdf5\?as=f64&dataset=%2Fdeep%2Fv$/,
    least: 14 * MiB,
  },
]

describe.skipIf(reason !== undefined)(
  `attach through lenses${reason === undefined ? '' : ` (skipped: ${reason})`}`,
  { timeout: 120_000 },
  () => {
    let desk: Desk
    beforeEach(() => {
      desk = new Desk()
    })
    afterEach(() => desk.close())

    const status = (pid: number): Status =>
      (
        JSON.parse(desk.run('status', '--json').out) as { processes: (Status & { pid: number })[] }
      ).processes.find(p => p.pid === pid) as Status

    async function start(program: string, words: readonly string[], path: string): Promise<Holder> {
      const child = desk.start(program, ...words, path)
      const first = new Holder(child, 0)
      const said = await first.ask()
      return new Holder(child, said, first)
    }

    test.each(cases)('$what', async ({ program, needs, words, file, lens, least }) => {
      const why = missing(needs ?? program)
      if (why !== undefined) return console.log(`skipped: ${why}`)
      const holder = await start(program, words, desk.file('data', file()))
      const before = holder.anonymous
      expect(desk.run('attach', String(holder.pid), '--once')).toMatchObject({ code: 0 })
      const attached = status(holder.pid)
      expect(attached.backings.map(b => b.lens)).toContainEqual(expect.stringMatching(lens))
      expect(attached.virtual).toBeGreaterThan(least)
      expect(holder.anonymous).toBeLessThan(before - least)
      await holder.check()
      desk.run('attach', String(holder.pid), '--once')
      killLethe(status(holder.pid))
      expect(desk.run('attach', String(holder.pid), '--once').code).toBe(0)
      await holder.check()
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      expect(holder.anonymous).toBeGreaterThan(least)
      await holder.check()
    })

    test('--pack compresses what no file explains', async () => {
      // One bit a byte, and nothing in it twice: no recipe can have it before.
      const make =
        'import random\nrandom.seed(1)\nt = bytes(97 + i % 2 for i in range(256))\nd = b"".join(random.randbytes(1 << 16).translate(t) for i in range(400))'
      const holder = await start('python3', py(make, 'd'), desk.file('data', ''))
      const before = holder.anonymous
      expect(desk.run('attach', String(holder.pid), '--once', '--pack').code).toBe(0)
      const attached = status(holder.pid)
      expect(attached.packs, desk.logs).toBeGreaterThan(0)
      expect(holder.anonymous + attached.packs).toBeLessThan(before * 0.35)
      await holder.check()
      killLethe(status(holder.pid))
      expect(desk.run('attach', String(holder.pid), '--once', '--pack').code).toBe(0)
      await holder.check()
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      await holder.check()
    })

    test('zero pages are given back and are zero again', async () => {
      const make = 'd = bytearray(32 << 20)\nfor i in range(0, len(d), 4096): d[i] = 0'
      const holder = await start('python3', py(make, 'd'), desk.file('data', ''))
      expect(desk.run('attach', String(holder.pid), '--once').code).toBe(0)
      expect(holder.anonymous).toBeLessThan(12 * MiB)
      await holder.check()
      expect(desk.run('detach', String(holder.pid)).code).toBe(0)
      await holder.check()
    })
  },
)
