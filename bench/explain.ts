// How fast memory is explained: the kernels by themselves, and audits of real python3 processes that hold a file. CPU is
// the auditing process's own; on a busy machine it says more than the wall clock.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BLOCK, PageKernel, SearchKernel } from '../src/kernels/index.ts'
import type { Bench } from './main.ts'
import { Skip, which } from './lib/cc.ts'
import { atEnd } from './lib/cleanup.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Table } from './lib/table.ts'
import { removeFolder } from '../src/sys/folder.ts'

const MIB = 2 ** 20

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

function noise(bytes: Uint8Array, seed: number): void {
  let state = seed
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[i] = state ^ (state >>> 13)
  }
}

/** GB/s of CPU time. */
function speed(bytes: number, action: () => void): number {
  for (let i = 0; i < 200; i++) action()
  const rounds: number[] = []
  for (let r = 0; r < 5; r++) {
    const began = cpuSeconds()
    let n = 0
    while (n < 100 || cpuSeconds() - began < 0.1) {
      action()
      n++
    }
    rounds.push((bytes * n) / (cpuSeconds() - began) / 1e9)
  }
  return median(rounds)
}

function kernels(): Table {
  const search = new SearchKernel()
  noise(search.file, 1)
  noise(search.memory, 2)
  const pages = new PageKernel(64)
  noise(pages.a, 3)
  pages.b.set(pages.a)
  const records = search.sampleFile(BLOCK, 0, 0)
  const hash = new Uint32Array(2)
  const rows: Cell[][] = []
  const row = (name: string, value: number): void => {
    rows.push([name, value])
  }
  row(
    'find anchors',
    speed(BLOCK, () => search.countAnchors(BLOCK)),
  )
  row(
    'find anchors, give records',
    speed(BLOCK, () => search.sampleFile(BLOCK, 0, 0)),
  )
  const copy = records.slice()
  row(
    'insert records',
    speed(BLOCK, () => {
      search.reset(65536, 0)
      search.beginFile()
      search.insert(copy, 0)
    }),
  )
  row(
    'probe pages of no file',
    speed(256 * 4096, () => {
      for (let page = 0; page < 256; page++) search.probe(page)
    }),
  )
  row(
    'hash pages',
    speed(256 * 4096, () => {
      for (let page = 0; page < 256; page++) search.hash(page, 1, hash, 0)
    }),
  )
  row(
    'compare equal pages',
    speed(64 * 4096, () => pages.equalPages(64)),
  )
  pages.a.fill(0)
  row(
    'test zero pages',
    speed(64 * 4096, () => pages.zeroPages(64)),
  )
  return { title: 'Kernels by themselves', head: ['kernel', 'GB per s of CPU time'], rows }
}

interface Measured {
  readonly seconds: number
  readonly cpu: number
  readonly scanned: number
  readonly explained: number
  readonly pages: number
  readonly peak: number
}

const PROGRAM = `
const { audit } = await import(process.argv[1])
const report = await audit(Number(process.argv[2]), { cacheFolder: process.argv[3] === '-' ? false : process.argv[3] })
const { user, system } = process.cpuUsage()
console.log(JSON.stringify({ seconds: report.seconds, cpu: (user + system) / 1e6, scanned: report.bytesScanned,
  explained: report.totals.explained, pages: report.totals.pages, peak: report.ownPeakRss }))
`

function measure(pid: number, cache: string): Measured {
  const module = new URL('../src/audit/audit.ts', import.meta.url).href
  const { stdout, stderr } = spawnSync(process.execPath, [
    '--input-type=module',
    '-e',
    PROGRAM,
    module,
    String(pid),
    cache,
  ])
  if (stdout.length === 0) throw new Error(stderr.toString())
  return JSON.parse(stdout.toString()) as Measured
}

async function hold(code: string): Promise<{ pid: number; end: () => void }> {
  const child = spawn('python3', ['-c', `${code}\nprint(1,flush=True)\nimport sys\nsys.stdin.read()`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const end = atEnd(() => child.kill('SIGKILL'))
  await new Promise(resolve => child.stdout.once('data', resolve))
  return { pid: child.pid ?? 0, end }
}

async function audits(megabytes: number, rounds: number): Promise<Table> {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
  const remove = atEnd(() => removeFolder(folder))
  const random = join(folder, 'random.bin')
  const text = join(folder, 'log.txt')
  const block = new Uint8Array(MIB)
  const [first, second] = [openSync(random, 'w'), openSync(text, 'w')]
  for (let i = 0; i < megabytes; i++) {
    noise(block, i + 1)
    writeSync(first, block)
    let lines = ''
    for (let n = 0; lines.length < MIB; n++) {
      const word = block[n % MIB] ?? 0
      lines += `2024-01-${10 + (n % 20)} ${i * 20_000 + n} user ${word} session ${block[(n * 7) % MIB]} ${word % 3 ? 'GET' : 'POST'} /index/${word}\n`
    }
    writeSync(second, lines.slice(0, MIB))
  }
  closeSync(first)
  closeSync(second)
  const mib = `(1<<20)`
  const programs: readonly (readonly [string, string])[] = [
    ['random bytes, one block', `x=open('${random}','rb').read()`],
    ['log, one block', `x=open('${text}','rb').read()`],
    [
      'log, blocks of 2 MB',
      `f=open('${text}','rb')\nx=[f.read(2*${mib}-i%999) for i in range(${megabytes}//2)]`,
    ],
    [
      'log, half of it twice',
      `f=open('${text}','rb')\nx=f.read(${megabytes}*${mib}//2)\ny=[x[i:i+300000] for i in range(0,len(x),300000)]`,
    ],
    ['in no file', `import os\nx=os.urandom(${megabytes}*${mib})`],
  ]
  const cache = join(folder, 'cache')
  const cases: { name: string; pid: number; cache: string; end: () => void; measured: Measured[] }[] = []
  for (const [name, code] of programs) {
    const target = await hold(code)
    measure(target.pid, cache)
    cases.push({ ...target, name, cache: '-', measured: [] })
    cases.push({ ...target, name: `${name}, index cached`, cache, measured: [] })
  }
  for (let round = 0; round < rounds; round++)
    for (const one of rotated(cases, round)) one.measured.push(measure(one.pid, one.cache))
  for (const one of cases) one.end()
  remove()
  const of = (one: { measured: Measured[] }, pick: (m: Measured) => number): number =>
    median(one.measured.map(pick))
  const speedOf = (one: { measured: Measured[] }): number => of(one, m => m.scanned / m.seconds / 1e9)
  const bulk = cases.filter(one => one.name.includes('one block'))
  return {
    title: `Audit of python3, ${megabytes} MiB`,
    head: ['memory', 'explained %', 's', 'GB/s', 'GB per s of CPU time', 'own peak MB'],
    rows: cases.map((one): Cell[] => [
      one.name,
      of(one, m => (100 * m.explained) / m.pages),
      of(one, m => m.seconds),
      speedOf(one),
      of(one, m => m.scanned / m.cpu / 1e9),
      of(one, m => m.peak) / 1e6,
    ]),
    notes: [`${rounds} rounds. The goal for own memory is for a target of 2 GB.`],
    goals: [
      atLeast('bulk copies, the slowest of them', 0.5, Math.min(...bulk.map(speedOf)), 'GB/s'),
      atMost('own peak memory', 300, Math.max(...cases.map(one => of(one, m => m.peak) / 1e6)), 'MB'),
    ],
  }
}

export const bench: Bench = {
  about: 'How fast `lethe audit` explains memory.',
  async run(options) {
    if (which('python3') === undefined) throw new Skip('no python3')
    return [kernels(), await audits(options.size * 3, Math.min(options.rounds, 3))]
  },
}
