// A column of a CSV and of a gzipped CSV as an array: lethe within 64 MiB beside what reads all of it into memory, and DuckDB,
// each in a process of its own. Then how fast page faults fill arrays, flat out.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { gzipSync } from 'node:zlib'
import { elements, file, gunzip, Memory } from '../src/library/index.ts'
import { atEnd } from './lib/cleanup.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

interface Taken {
  readonly first: number
  readonly one: number
  readonly two: number
  readonly sum: number
  readonly peak: number
}

const ways = ['lethe', 'csv-parse', 'udsv', 'duckdb'] as const

function rows(bytes: number): Buffer {
  const parts: string[] = ['id,time,price,amount,note\n']
  for (let length = 0, i = 0; length < bytes; i++) {
    const row = `${i},2026-01-${10 + (i % 20)}T04:05:06Z,${((i * 7919) % 1_000_003) / 1000},${i % 977},"x, ${i % 97}"\n`
    parts.push(row)
    length += row.length
  }
  return Buffer.from(parts.join(''))
}

function take(how: string, path: string, cache: string): Taken {
  const program = join(import.meta.dirname, 'targets/column.ts')
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [program, how, path, cache], {
    encoding: 'utf8',
    cwd: join(import.meta.dirname, '..'),
  })
  if (status !== 0) throw new Error(`${how} ended with ${signal ?? status}: ${stderr}`)
  return JSON.parse(stdout) as Taken
}

function columns(title: string, path: string, folder: string, rounds: number): Table {
  const all = new Map<string, Taken[]>(ways.map(way => [way, []]))
  for (let round = 0; round < rounds; round++)
    for (const way of rotated([...ways], round)) {
      // The first scan is part of what is measured.
      const cache = join(folder, `cache-${round}`)
      all.get(way)?.push(take(way, path, cache))
      rmSync(cache, { recursive: true, force: true })
    }
  const of = (way: string, what: keyof Taken): number => median((all.get(way) ?? []).map(one => one[what]))
  const fastest = Math.min(of('csv-parse', 'one'), of('udsv', 'one'))
  return {
    title,
    head: ['read with', 'first value s', 'first sum s', 'second sum s', 'peak Pss MB'],
    rows: ways.map((way): Cell[] => [way, of(way, 'first'), of(way, 'one'), of(way, 'two'), of(way, 'peak')]),
    goals: [
      atMost(
        'first value, of csv-parse’s whole',
        0.01,
        of('lethe', 'first') / of('csv-parse', 'one'),
        'times',
      ),
      atMost('first sum, of the faster reader’s', 1.5, of('lethe', 'one') / fastest, 'times'),
      atMost('memory over the budget of 67 MB', 90, of('lethe', 'peak') - 67.1, 'MB'),
    ],
  }
}

async function fills(folder: string, bytes: number, rounds: number): Promise<Table> {
  const words = new Uint32Array(bytes / 4)
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2_654_435_761) & 0x3fff_ffff
  const plain = new Uint8Array(words.buffer)
  const path = join(folder, 'plain')
  writeFileSync(path, plain)
  writeFileSync(`${path}.gz`, gzipSync(plain.subarray(0, bytes / 4), { level: 1 }))
  const subjects = {
    verbatim: file(path),
    'i16 as f32': file(path).through(elements({ of: 'i16', as: 'f32' })),
    'f32 as f64': file(path).through(elements({ of: 'f32', as: 'f64' })),
    gunzip: file(`${path}.gz`).through(gunzip()),
  }
  const speeds = new Map<string, number[]>()
  for (let round = 0; round < rounds; round++)
    for (const [name, source] of Object.entries(subjects)) {
      const memory = await Memory.open({ budget: '64MiB', cache: join(folder, 'cache') })
      const region = await memory.map(source, undefined, { as: 'u32' })
      const { array } = region
      const began = performance.now()
      let sum = 0
      for (let i = 0; i < array.length; i += 1024) sum += array[i] as number
      const speed = array.byteLength / 1e6 / (performance.now() - began)
      speeds.set(name, [...(speeds.get(name) ?? []), Number.isFinite(sum) ? speed : 0])
      await memory.close()
    }
  const speed = (name: string): number => median(speeds.get(name) ?? [])
  return {
    title: 'Arrays that are gone through for the first time, budget 64 MiB',
    head: ['made by', 'GB/s of array'],
    rows: Object.keys(subjects).map((name): Cell[] => [name, speed(name)]),
    goals: ['verbatim', 'i16 as f32', 'f32 as f64'].map(name => atLeast(name, 1, speed(name), 'GB/s')),
  }
}

export const bench: Bench = {
  about: 'typed arrays over files: a column beside csv-parse, udsv and DuckDB; fill speed',
  async run({ size, rounds }: BenchOptions) {
    const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
    atEnd(() => rmSync(folder, { recursive: true, force: true }))
    const text = rows(size * 1e6)
    const csv = join(folder, 'table.csv')
    writeFileSync(csv, text)
    writeFileSync(`${csv}.gz`, gzipSync(text, { level: 6 }))
    return [
      columns(`A column of ${size} MB of CSV`, csv, folder, rounds),
      columns(`The same, gzipped`, `${csv}.gz`, folder, rounds),
      await fills(folder, 2 ** 28, rounds),
    ]
  },
}
