/**
 * bench/explain.ts: how fast memory is explained. Prints two tables: the kernels by themselves, and audits of real
 * python3 processes that hold a file (LETHE_BENCH_MB, default 1024). Medians of ROUNDS interleaved rounds. CPU is
 * the auditing process's own; on a busy machine it says more than the wall clock.
 */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BLOCK, PageKernel, SearchKernel } from '../src/kernels/index.ts'

const ROUNDS = 3
const MIB = 2 ** 20
const megabytes = Number(process.env['LETHE_BENCH_MB'] ?? 1024)

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

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

function kernels(): void {
  const search = new SearchKernel()
  noise(search.file, 1)
  noise(search.memory, 2)
  const pages = new PageKernel(64)
  noise(pages.a, 3)
  pages.b.set(pages.a)
  const records = search.sampleFile(BLOCK, 0, 0)
  const hash = new Uint32Array(2)
  console.log('kernel                        GB/s (CPU time)')
  const row = (name: string, value: number): void =>
    console.log(`${name.padEnd(28)} ${value.toFixed(2).padStart(6)}`)
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
  await new Promise(resolve => child.stdout.once('data', resolve))
  return { pid: child.pid ?? 0, end: () => child.kill('SIGKILL') }
}

async function audits(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-bench-'))
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
  const targets: readonly (readonly [string, string])[] = [
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
  console.log(`\naudit of python3, ${megabytes} MiB       explained  seconds   GB/s  GB/s CPU  own peak MB`)
  try {
    for (const [name, code] of targets) {
      const target = await hold(code)
      const cache = join(folder, 'cache')
      for (const [kind, where] of [
        ['', '-'],
        [', index cached', cache],
      ] as const) {
        if (where !== '-') measure(target.pid, where)
        const rounds = Array.from({ length: ROUNDS }, () => measure(target.pid, where))
        const of = (pick: (one: Measured) => number): number => median(rounds.map(pick))
        console.log(
          [
            `  ${name}${kind}`.padEnd(38),
            `${of(one => (100 * one.explained) / one.pages).toFixed(1)} %`.padStart(8),
            of(one => one.seconds)
              .toFixed(2)
              .padStart(8),
            of(one => one.scanned / one.seconds / 1e9)
              .toFixed(2)
              .padStart(6),
            of(one => one.scanned / one.cpu / 1e9)
              .toFixed(2)
              .padStart(9),
            (of(one => one.peak) / 1e6).toFixed(0).padStart(12),
          ].join(' '),
        )
      }
      target.end()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

kernels()
await audits()
