// Lenses of compressed files against the plain decoders: flat out, at random, and what their indexes cost.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readdirSync, renameSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileBacking } from '../src/backing/file.ts'
import { lensNamed } from '../src/lens/catalogue.ts'
import { FolderIndexStore } from '../src/lens/index-store.ts'
import type { Lens } from '../src/lens/lens.ts'
import { Spool } from '../src/lens/spool.ts'
import type { Bench, BenchOptions } from './main.ts'
import { which } from './lib/cc.ts'
import { atEnd } from './lib/cleanup.ts'
import { dataFile, dataFolder, type Kind, kindNames } from './lib/data.ts'
import { median, quantile } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Goal, type Table } from './lib/table.ts'
import { removeFolder } from '../src/sys/folder.ts'

const MB = 1e6

interface Subject {
  readonly name: string
  readonly lens: string
  readonly pack: readonly string[]
  readonly unpack: readonly string[]
  /** Slow compressors get less data, in MB. */
  readonly most: number
}

const subjects: readonly Subject[] = [
  { name: 'gzip -6', lens: 'gunzip', pack: ['gzip', '-6'], unpack: ['gzip', '-dc'], most: 300 },
  { name: 'bgzip', lens: 'gunzip', pack: ['bgzip'], unpack: ['gzip', '-dc'], most: 300 },
  { name: 'zstd -3', lens: 'unzstd', pack: ['zstd', '-3'], unpack: ['zstd', '-dc'], most: 300 },
  { name: 'xz -1', lens: 'unxz', pack: ['xz', '-1', '-T1'], unpack: ['xz', '-dc', '-T1'], most: 30 },
  {
    name: 'xz -1, blocks of 64 KiB',
    lens: 'unxz',
    pack: ['xz', '-1', '-T1', '--block-size=64KiB'],
    unpack: ['xz', '-dc', '-T1'],
    most: 30,
  },
  { name: 'bzip2', lens: 'bunzip2', pack: ['bzip2'], unpack: ['bzip2', '-dc'], most: 10 },
  { name: 'lz4', lens: 'unlz4', pack: ['lz4', '-B4'], unpack: ['lz4', '-dc'], most: 300 },
]

/** The path of a packed file: made once. */
function packed(subject: Subject, kind: Kind, megabytes: number): string {
  const source = dataFile(kind, megabytes)
  const path = join(dataFolder, `${kind}-${megabytes}.${subject.name.replaceAll(/[^a-z0-9]+/g, '-')}`)
  if (existsSync(path)) return path
  const [command = '', ...args] = subject.pack
  const part = `${path}.${process.pid}`
  const { status } = spawnSync(command, [...args, '-c'], {
    stdio: [openSync(source, 'r'), openSync(part, 'w'), 'inherit'],
  })
  if (status !== 0) throw new Error(`${command} failed`)
  renameSync(part, path)
  return path
}

function seconds(action: () => void): number {
  const began = performance.now()
  action()
  return (performance.now() - began) / 1000
}

/** Milliseconds of gets at random places. */
function randomGets(lens: Lens, backing: FileBacking, size: number, length: number): number[] {
  const out = new Uint8Array(length)
  let state = 12_345
  return Array.from({ length: 300 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const at = Math.floor((state / 2 ** 32) * (size - length))
    return seconds(() => lens.get(backing, at, out)) * 1000
  })
}

function folderBytes(folder: string): number {
  if (!existsSync(folder)) return 0
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

interface Measured {
  readonly row: readonly Cell[]
  readonly ratio: number
  readonly random64: number
  readonly indexShare: number
}

function measure(subject: Subject, kind: Kind, { size: wanted, rounds }: BenchOptions): Measured {
  const path = packed(subject, kind, Math.min(wanted, subject.most))
  const folder = mkdtempSync(join(tmpdir(), 'lethe-streams-'))
  const remove = atEnd(() => removeFolder(folder))
  const lens = lensNamed(subject.lens)
  const [command = '', ...args] = subject.unpack
  const plain: number[] = []
  const first: number[] = []
  const flat: number[] = []
  let size = 0
  let small: number[] = []
  let large: number[] = []
  let indexShare = 0
  let spooled = ''
  for (let round = 0; round < rounds; round++) {
    const backing = new FileBacking(path)
    const store = new FolderIndexStore(
      join(folder, `index${round}`),
      2 ** 30,
      new Spool(join(folder, `spool${round}`)),
    )
    first.push(seconds(() => lens.prepare?.(backing, store)))
    size = lens.size(backing)
    plain.push(seconds(() => execFileSync(command, [...args, path], { stdio: 'ignore' })))
    const out = new Uint8Array(2 ** 20)
    flat.push(
      seconds(() => {
        for (let at = 0; at < size; at += out.length) lens.get(backing, at, out)
      }),
    )
    small = [...small, ...randomGets(lens, backing, size, 4096)]
    large = [...large, ...randomGets(lens, backing, size, 65_536)]
    indexShare = (100 * folderBytes(join(folder, `index${round}`))) / size
    spooled = existsSync(join(folder, `spool${round}`)) ? 'yes' : 'no'
    backing.close()
    removeFolder(join(folder, `spool${round}`))
  }
  remove()
  const speed = (times: readonly number[]): number => size / MB / median(times)
  return {
    row: [
      `${subject.name}, ${kindNames[kind]}`,
      subject.lens,
      size / MB,
      speed(plain),
      speed(first),
      speed(flat),
      median(small),
      quantile(small, 0.99),
      median(large),
      quantile(large, 0.99),
      indexShare,
      spooled,
    ],
    ratio: speed(flat) / speed(plain),
    random64: median(large),
    indexShare,
  }
}

async function run(options: BenchOptions): Promise<readonly Table[]> {
  const rows: (readonly Cell[])[] = []
  const goals: Goal[] = []
  const skipped: string[] = []
  for (const subject of subjects) {
    if (!which(subject.pack[0] ?? '')) {
      skipped.push(subject.name)
      continue
    }
    for (const kind of ['log', 'csv'] as const) {
      const { row, ratio, random64, indexShare } = measure(subject, kind, options)
      rows.push(row)
      const what = String(row[0])
      goals.push(atLeast(`${what}: speed of the plain decoder`, 0.8, ratio, '×'))
      if (subject.lens === 'gunzip' || subject.lens === 'unxz')
        goals.push(atMost(`${what}: median random get of 64 KiB`, 5, random64, 'ms'))
      goals.push(atMost(`${what}: index`, 1, indexShare, '% of the view'))
    }
  }
  return [
    {
      title: 'Lenses of compressed files',
      head: [
        'file',
        'lens',
        'MB',
        'plain MB/s',
        'first pass MB/s',
        'lens MB/s',
        '4 KiB ms',
        'p99',
        '64 KiB ms',
        'p99',
        'index %',
        'spooled',
      ],
      rows,
      notes: [
        'plain: the command (gzip, zstd, xz, bzip2, lz4) to /dev/null, its start included. First pass: checks everything and makes the index',
        'or the spool. Lens: gets of 1 MiB in order; gets of 4 and 64 KiB at random places.',
        ...(skipped.length > 0 ? [`Not here: ${skipped.join(', ')}.`] : []),
      ],
      goals,
    },
  ]
}

export const bench: Bench = {
  about: 'Decompressed views: how fast, flat out and at random, beside the plain decoders.',
  run,
}
