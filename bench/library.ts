// A column of a CSV and of a gzipped CSV as an array: lethe within 64 MiB beside what reads all of it into memory, and DuckDB,
// each in a process of its own. Then how fast page faults fill arrays, beside what zlib does, a byte anywhere in a gzip file, and
// arrays whose pages are there beside plain ones.
import { spawnSync } from 'node:child_process'
import { closeSync, fsyncSync, mkdtempSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { gunzipSync, gzipSync } from 'node:zlib'
import { elements, file, gunzip, Memory, type Source } from '../src/library/index.ts'
import { atEnd } from './lib/cleanup.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Goal, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'
import { removeFolder } from '../src/sys/folder.ts'

interface Taken {
  /** Until the memory was open; and then until the first value. */
  readonly opened: number
  readonly first: number
  readonly one: number
  readonly two: number
  readonly sum: number
  readonly peak: number
}

type Way = 'lethe' | 'csv-parse' | 'udsv' | 'duckdb'

const LINE = 30_000

/** Rows of any width, with quotes, line ends within them, and holes, some `bytes` of them. */
function writeTable(path: string, bytes: number): void {
  const descriptor = openSync(path, 'w')
  let written = writeSync(descriptor, 'id,who,time,price,amount,note\n')
  let seed = 1
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
    return (seed >>> 8) % below
  }
  const price = (): string =>
    next(20) === 0 ? '' : next(5) === 0 ? `${next(1e6)}e-${next(9)}` : String(next(1e6) / 10 ** next(7))
  const note = (): string =>
    next(9) === 0 ? `"a ""note""\nof, ${next(1e4)}"` : next(3) === 0 ? '' : `n${next(1e5)}`
  for (let id = 0; written < bytes; ) {
    let text = ''
    for (let line = 0; line < LINE; line++, id++)
      text += `${id},"Name, ${next(500)}",2026-01-${10 + next(20)}T04:05:06Z,${price()},${next(1000)},${note()}\n`
    written += writeSync(descriptor, text)
  }
  // What is measured has no writing of it to the disk beside it.
  fsyncSync(descriptor)
  closeSync(descriptor)
}

function take(how: Way, path: string, cache: string): Taken {
  const program = join(import.meta.dirname, 'targets/column.mjs')
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [program, how, path, cache], {
    encoding: 'utf8',
    cwd: join(import.meta.dirname, '..'),
  })
  if (status !== 0) throw new Error(`${how} ended with ${signal ?? status}: ${stderr}`)
  return JSON.parse(stdout) as Taken
}

function columns(title: string, ways: readonly Way[], path: string, folder: string, rounds: number): Table {
  const all = new Map<string, Taken[]>(ways.map(way => [way, []]))
  for (let round = 0; round < rounds; round++)
    for (const way of rotated([...ways], round)) {
      // It takes as long as all others together.
      if (way === 'csv-parse' && round > 0) continue
      // The first scan is part of what is measured.
      const cache = join(folder, `cache-${round}`)
      all.get(way)?.push(take(way, path, cache))
      removeFolder(cache)
    }
  const sums = [...all.values()].flat().map(one => one.sum)
  if (sums.some(sum => Math.abs(sum / (sums[0] as number) - 1) > 1e-9))
    throw new Error(`They do not agree about the sum: ${sums.join(', ')}`)
  const of = (way: Way, what: keyof Taken): number => median((all.get(way) ?? []).map(one => one[what]))
  const readers = ways.filter(way => way !== 'lethe' && way !== 'duckdb')
  const fastest = Math.min(...readers.map(way => of(way, 'one')))
  return {
    title,
    head: ['read with', 'open s', 'first value s', 'first sum s', 'second sum s', 'peak Pss MB'],
    rows: ways.map((way): Cell[] => [
      way,
      of(way, 'opened'),
      of(way, 'first'),
      of(way, 'one'),
      of(way, 'two'),
      of(way, 'peak'),
    ]),
    notes: [
      'lethe: first value and sums from the start of the program on, the first value from when a memory was open.',
    ],
    goals: [
      atMost('first value, of the fastest reader’s whole', 1, (100 * of('lethe', 'first')) / fastest, '%'),
      atMost('first sum, of the fastest reader’s', 1.5, of('lethe', 'one') / fastest, 'times'),
      atLeast('second sum, quicker than the first', 3, of('lethe', 'one') / of('lethe', 'two'), 'times'),
      atMost('memory over the budget of 67 MB', 90, of('lethe', 'peak') - 67.1, 'MB'),
    ],
  }
}

/** GB/s of an array that is gone through, a word of each page. */
async function fillSpeed(source: Source, cache: string): Promise<number> {
  await using memory = await Memory.open({ budget: '64MiB', cache })
  const { array } = await memory.map(source, undefined, { as: 'u32' })
  const began = performance.now()
  let sum = 0
  for (let i = 0; i < array.length; i += 1024) sum += array[i] as number
  const speed = array.byteLength / 1e6 / (performance.now() - began)
  return Number.isFinite(sum) ? speed : 0
}

async function fills(folder: string, text: string, bytes: number, rounds: number): Promise<Table> {
  const words = new Uint32Array(bytes / 4)
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2_654_435_761) & 0x3fff_ffff
  const path = join(folder, 'plain')
  writeFileSync(path, new Uint8Array(words.buffer), { flush: true })
  const part = new Uint8Array(bytes / 2)
  const descriptor = openSync(text, 'r')
  const packed = gzipSync(part.subarray(0, readSync(descriptor, part)))
  closeSync(descriptor)
  writeFileSync(`${path}.gz`, packed, { flush: true })
  const subjects = {
    verbatim: file(path),
    'i16 as f32': file(path).through(elements({ of: 'i16', as: 'f32' })),
    'f32 as f64': file(path).through(elements({ of: 'f32', as: 'f64' })),
    'gunzip, of text': file(`${path}.gz`).through(gunzip()),
  }
  const speeds = new Map<string, number[]>()
  const note = (name: string, speed: number): void =>
    void speeds.set(name, [...(speeds.get(name) ?? []), speed])
  const zlib = 'zlib itself, of the same'
  for (let round = 0; round < rounds; round++) {
    for (const [name, source] of Object.entries(subjects))
      note(name, await fillSpeed(source, join(folder, 'cache')))
    const began = performance.now()
    note(zlib, gunzipSync(packed).length / 1e6 / (performance.now() - began))
  }
  const speed = (name: string): number => median(speeds.get(name) ?? [])
  const ofZlib = median(
    (speeds.get('gunzip, of text') ?? []).map((one, i) => one / (speeds.get(zlib)?.[i] as number)),
  )
  return {
    title: 'Arrays that are gone through for the first time, budget 64 MiB',
    head: ['made by', 'GB/s of array'],
    rows: [...speeds.keys()].map((name): Cell[] => [name, speed(name)]),
    goals: [
      ...['verbatim', 'i16 as f32', 'f32 as f64'].map((name): Goal => atLeast(name, 1, speed(name), 'GB/s')),
      atLeast('gunzip, of zlib’s speed', 0.8, ofZlib, 'times'),
    ],
  }
}

async function anywhere(path: string, folder: string, size: number): Promise<Table> {
  await using memory = await Memory.open({ budget: '64MiB', cache: join(folder, 'cache') })
  const { array } = await memory.map(file(path).through(gunzip()))
  const times: number[] = []
  for (let i = 0; i < 400; i++) {
    const at = Math.floor(((i * 0.618_033_988_7) % 1) * array.length)
    const began = performance.now()
    if (array[at] === undefined) throw new Error(`There is no byte ${at}`)
    times.push(performance.now() - began)
  }
  return {
    title: `A byte anywhere in ${size} MB of text that are gzipped`,
    head: ['of 400', 'ms'],
    rows: [
      ['median', median(times)],
      ['slowest', Math.max(...times)],
    ],
    goals: [atMost('median', 5, median(times), 'ms')],
  }
}

/** The same loops over a plain array and over one of ours, by turns; each has functions of its own. */
async function hot(folder: string): Promise<Table> {
  const length = 2 ** 21
  const plain = Float64Array.from({ length }, (_, i) => i / 3)
  const path = join(folder, 'hot')
  writeFileSync(path, new Uint8Array(plain.buffer))
  await using memory = await Memory.open({ budget: '64MiB', cache: join(folder, 'cache') })
  const { array } = await memory.map(file(path), undefined, { as: 'f64' })
  const loops = {
    'sum, in order': 'for (let i = 0; i < a.length; i++) s += a[i]',
    'sum, 1 in 7': 'for (let k = 0; k < 7; k++) for (let i = k; i < a.length; i += 7) s += a[i]',
    'sum of 256 KiB, again and again':
      'for (let k = 0; k < 64; k++) for (let i = 0; i < 32768; i++) s += a[i]',
  }
  const rows: Cell[][] = []
  const goals: Goal[] = []
  for (const [name, loop] of Object.entries(loops)) {
    const make = (): ((a: Float64Array) => number) =>
      new Function('a', `let s = 0; ${loop}; return s`) as (a: Float64Array) => number
    const [ours, theirs] = [make(), make()]
    const time = (sum: (a: Float64Array) => number, over: Float64Array): number => {
      const began = performance.now()
      sum(over)
      return performance.now() - began
    }
    const pairs: [number, number][] = []
    for (let round = 0; round < 120; round++) {
      const first = round % 2 === 0 ? time(ours, array) : 0
      const b = time(theirs, plain)
      pairs.push([first || time(ours, array), b])
    }
    const warm = pairs.slice(20)
    const ratio = median(warm.map(([a, b]) => a / b))
    rows.push([name, median(warm.map(([a]) => a)), median(warm.map(([, b]) => b)), ratio])
    goals.push(atMost(name, 1.02, ratio, 'times'))
  }
  return {
    title: 'Arrays of 16 MiB whose pages are there',
    head: ['loop', 'lethe ms', 'plain ms', 'ratio'],
    rows,
    goals,
  }
}

export const bench: Bench = {
  about: 'typed arrays over files: a column beside csv-parse, udsv and DuckDB; fill speed; hot access',
  async run({ size, rounds: asked }: BenchOptions) {
    const rounds = Math.min(asked, 3)
    const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
    atEnd(() => removeFolder(folder))
    const csv = join(folder, 'table.csv')
    writeTable(csv, size * 1e6)
    const { status } = spawnSync('sh', ['-c', 'gzip -k -4 "$0" && sync "$0.gz"', csv])
    if (status !== 0) throw new Error('gzip failed')
    return [
      columns(`A column of ${size} MB of CSV`, ['lethe', 'csv-parse', 'udsv', 'duckdb'], csv, folder, rounds),
      columns(`The same, gzipped`, ['lethe', 'udsv', 'duckdb'], `${csv}.gz`, folder, rounds),
      await fills(folder, csv, 2 ** 29, rounds + 2),
      await anywhere(`${csv}.gz`, folder, size),
      await hot(folder),
    ]
  },
}
