// How fast lenses make memory: flat out from start to end, and in random refills of a cluster and of a page. Beside
// each, where there is one, what a program would decode the same file with. The files lie in the page cache.
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileBacking } from '../src/backing/file.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import type { Lens } from '../src/lens/lens.ts'
import { atEnd } from './lib/cleanup.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

type Plain = (path: string, bytes: Buffer) => number

interface Subject {
  readonly lens: string
  readonly file: string
  /** Its name, and seconds that it takes for the whole file. */
  readonly plain?: readonly [string, Plain]
}

const texts: Readonly<Record<string, string>> = {
  Cyrillic: 'Съешь же ещё этих мягких французских булок, да выпей чаю. ',
  Chinese: '天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒来暑往，秋收冬藏。',
  emoji: 'the quick brown fox jumps over the lazy dog 😀 and goes on through the forest,\n',
  ASCII: 'the quick brown fox jumps over the lazy dog and goes on through the forest,\r\n',
  accents: 'Voix ambiguë d’un cœur qui préfère les jattes de kiwis'.replace(/[’œ]/g, 'é'),
}

/** Bytes of a kind, as many as asked for. */
function make(kind: string, bytes: number): Buffer {
  const text = texts[kind]
  if (text !== undefined) return Buffer.from(text.repeat(Math.ceil(bytes / Buffer.byteLength(text))))
  let state = 1
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  if (kind === 'CSV') {
    const rows: string[] = []
    for (let length = 0; length < bytes; length += (rows.at(-1) ?? '').length + 1)
      rows.push([next() * 1000, next(), next() * 1e6].map(n => n.toFixed(6)).join(','))
    return Buffer.from(`${rows.join('\n')}\n`)
  }
  if (kind === 'JSON') {
    const rows: string[] = []
    for (let length = 0; length < bytes; length += (rows.at(-1) ?? '').length + 1)
      rows.push(`[${next() * 180},${next() * 90}]`)
    return Buffer.from(`[${rows.join(',')}]`)
  }
  const numbers = Buffer.alloc(bytes & ~63)
  if (kind === 'halves')
    for (let i = 0; i < bytes; i += 2) numbers.writeUInt16LE(0x3000 + next() * 0xc00, i & ~1)
  else if (kind === 'floats') for (let i = 0; i + 4 <= bytes; i += 4) numbers.writeFloatLE(next(), i)
  else for (let i = 0; i < numbers.length; i++) numbers[i] = next() * 256
  if (kind === 'base64') return Buffer.from(numbers.subarray(0, (bytes * 3) >> 2).toString('base64'))
  if (kind === 'hex') return Buffer.from(numbers.subarray(0, bytes >> 1).toString('hex'))
  return numbers
}

/** Seconds of CPU: on a busy machine they say more than the clock on the wall. */
function timed(action: () => unknown): number {
  const began = process.cpuUsage()
  action()
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1e6
}

const inNode =
  (decode: (bytes: Buffer) => unknown): Plain =>
  (_path, bytes) =>
    timed(() => decode(bytes))

/** Seconds that an expression of numpy takes for the file, as its array `a`; NaN without numpy. */
const inNumpy =
  (dtype: string, expression: string): Plain =>
  path => {
    const program = `
import sys, time, numpy as np
a = np.fromfile(sys.argv[1], dtype=${dtype}); best = 9e9
for i in range(5):
    t = time.process_time(); b = ${expression}; best = min(best, time.process_time() - t)
print(best)`
    const { status, stdout } = spawnSync('/usr/bin/python3', ['-c', program, path], { encoding: 'utf8' })
    return status === 0 ? Number(stdout) : Number.NaN
  }

const loadtxt: Plain = path => {
  const program = `
import sys, time, numpy as np
t = time.process_time(); np.loadtxt(sys.argv[1], delimiter=','); print(time.process_time() - t)`
  const { status, stdout } = spawnSync('/usr/bin/python3', ['-c', program, path], { encoding: 'utf8' })
  return status === 0 ? Number(stdout) : Number.NaN
}

const toText = ['Buffer.toString', inNode(bytes => bytes.toString('utf8'))] as const

const subjects: readonly Subject[] = [
  { lens: 'verbatim', file: 'bytes', plain: ['copy', inNode(bytes => Buffer.from(bytes))] },
  { lens: 'utf8-utf16', file: 'Cyrillic', plain: toText },
  { lens: 'utf8-utf32', file: 'Cyrillic' },
  { lens: 'utf8-utf16', file: 'Chinese', plain: toText },
  { lens: 'utf8-utf32', file: 'Chinese' },
  { lens: 'utf8-utf16', file: 'emoji', plain: toText },
  { lens: 'utf8-utf32', file: 'emoji' },
  { lens: 'utf8-latin1', file: 'accents', plain: toText },
  { lens: 'crlf-lf', file: 'ASCII' },
  { lens: 'crlf-lf|utf8-utf32', file: 'ASCII' },
  { lens: 'latin1-utf16', file: 'ASCII', plain: ['Buffer.toString', inNode(b => b.toString('latin1'))] },
  { lens: 'f16-f32', file: 'halves', plain: ['numpy astype', inNumpy('np.float16', 'a.astype(np.float32)')] },
  { lens: 'bf16-f32', file: 'halves' },
  { lens: 'u8/255-f32', file: 'bytes', plain: ['numpy', inNumpy('np.uint8', 'a.astype(np.float32) / 255')] },
  { lens: 'u8/255-f64', file: 'bytes', plain: ['numpy', inNumpy('np.uint8', 'a / 255')] },
  { lens: 'f32-f64', file: 'floats', plain: ['numpy astype', inNumpy('np.float32', 'a.astype(np.float64)')] },
  { lens: 'swap32|f32-f64', file: 'floats' },
  { lens: 'i16-f32', file: 'bytes', plain: ['numpy astype', inNumpy('np.int16', 'a.astype(np.float32)')] },
  { lens: 'i32-i64', file: 'bytes', plain: ['numpy astype', inNumpy('np.int32', 'a.astype(np.int64)')] },
  { lens: 'rgb-rgba', file: 'bytes' },
  {
    lens: 'base64-bytes',
    file: 'base64',
    plain: ['Buffer.from', inNode(b => Buffer.from(b.toString('latin1'), 'base64'))],
  },
  { lens: 'bytes-base64/76', file: 'bytes', plain: ['Buffer.toString', inNode(b => b.toString('base64'))] },
  {
    lens: 'hex-bytes',
    file: 'hex',
    plain: ['Buffer.from', inNode(b => Buffer.from(b.toString('latin1'), 'hex'))],
  },
  { lens: 'bytes-hex', file: 'bytes', plain: ['Buffer.toString', inNode(b => b.toString('hex'))] },
  { lens: 'numbers-f64', file: 'CSV', plain: ['numpy loadtxt', loadtxt] },
  { lens: 'numbers-f64:high', file: 'CSV' },
  { lens: 'numbers-f64/1', file: 'CSV' },
  { lens: 'numbers-f64', file: 'JSON', plain: ['JSON.parse', inNode(bytes => JSON.parse(bytes.toString()))] },
]

interface Run {
  readonly subject: Subject
  readonly lens: Lens
  readonly backing: FileBacking
  readonly size: number
  readonly index: number
  readonly flat: number[]
  readonly plain: number[]
  readonly cluster: number[]
  readonly page: number[]
}

const out = new Uint8Array(1 << 20)

function flatOut(run: Run): number {
  return timed(() => {
    for (let at = 0; at < run.size; at += out.length) run.lens.get(run.backing, at, out)
  })
}

/** Microseconds of refills of `bytes` at random pages. */
function refills(run: Run, bytes: number, into: number[]): void {
  const cluster = out.subarray(0, bytes)
  let state = 7
  for (let i = 0; i < 300; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const at = Math.floor(((state / 2 ** 32) * Math.max(1, run.size - bytes)) / 4096) * 4096
    const began = performance.now()
    run.lens.get(run.backing, at, cluster)
    into.push((performance.now() - began) * 1000)
  }
}

export const bench: Bench = {
  about:
    'Lenses over files in the page cache: MB/s (10^6, of CPU time) of memory made, and the median time of a random refill.',
  run(options: BenchOptions): Promise<readonly Table[]> {
    const bytes = Math.min(options.size, 32) * 1e6
    const paths = new Map<string, string>()
    for (const { file } of subjects)
      if (!paths.has(file)) {
        const path = join(tmpdir(), `lethe-lens-${process.pid}-${file}`)
        atEnd(() => rmSync(path, { force: true }))
        writeFileSync(path, make(file, bytes))
        paths.set(file, path)
      }
    const runs = subjects.map((subject): Run => {
      const backing = new FileBacking(paths.get(subject.file) ?? '')
      const lens = lensNamed(subject.lens)
      let size = 0
      const index = timed(() => (size = lens.size(backing)))
      return { subject, lens, backing, size, index, flat: [], plain: [], cluster: [], page: [] }
    })
    for (const run of runs) flatOut(run) // until the kernels are compiled
    for (let round = 0; round < options.rounds; round++)
      for (const run of rotated(runs, round)) {
        const path = paths.get(run.subject.file) ?? ''
        run.flat.push(flatOut(run))
        refills(run, 65_536, run.cluster)
        refills(run, 4096, run.page)
        const plain = run.subject.plain?.[1](path, readFileSync(path))
        if (plain !== undefined) run.plain.push(plain)
      }
    const parsed = (run: Run): boolean => run.subject.lens.startsWith('numbers')
    const rows = runs.map((run): Cell[] => {
      const mine = run.size / 1e6 / median(run.flat)
      const plain = run.size / 1e6 / median(run.plain)
      const { subject, backing } = run
      return [
        subject.lens,
        subject.file,
        mine,
        subject.plain?.[0] ?? '',
        plain,
        mine / plain,
        median(run.cluster),
        median(run.page),
        parsed(run) ? backing.size / 1e6 / median(run.flat) : Number.NaN,
        run.index > 0.002 ? backing.size / 1e6 / run.index : Number.NaN,
      ]
    })
    for (const run of runs) run.backing.close()
    const ratios = rows.map(row => Number(row[5])).filter(Number.isFinite)
    const clusters = runs.filter(run => !parsed(run)).map(run => median(run.cluster))
    return Promise.resolve([
      {
        title: 'Lenses',
        head: [
          'lens',
          'file',
          'MB/s',
          'beside',
          'MB/s of it',
          'times it',
          '64 KiB µs',
          '4 KiB µs',
          'text MB/s',
          'index MB/s',
        ],
        rows,
        notes: [
          'MB/s of memory made, by CPU time; refills by the wall clock. text MB/s: of parsed text. index MB/s: of the file, in the one pass before the first refill; the first such pass of a kind runs while V8 still compiles.',
        ],
        goals: [
          atLeast('slowest lens against its plain decoder', 0.8, Math.min(...ratios), 'times'),
          atMost('slowest 64 KiB refill but for parsed numbers', 100, Math.max(...clusters), 'µs'),
        ],
      },
    ])
  },
}
