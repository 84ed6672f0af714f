// What passes leave as it was, and what they see: programs that clang compiles, run before and after.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Reader } from '../../src/wasm/bytes.ts'
import { decode } from '../../src/wasm/decode.ts'
import { encode, localsLength } from '../../src/wasm/encode.ts'
import { virtualiseSize } from '../../src/wasm/grow.ts'
import { addHooks, READ, WRITE } from '../../src/wasm/hooks.ts'
import { HINTS } from '../../src/wasm/hints.ts'
import { instructions } from '../../src/wasm/instructions.ts'
import { type Func, I32, importCount } from '../../src/wasm/module.ts'
import { OP } from '../../src/wasm/opcode-table.ts'
import { addPolls } from '../../src/wasm/poll.ts'
import { Rewriter } from '../../src/wasm/rewrite.ts'
import { addStamps } from '../../src/wasm/stamp.ts'
import { absentWord, addTlb, tlbWord } from '../../src/wasm/tlb.ts'
import { clangMissing } from './clang.ts'
import { guests } from './guests.ts'
import { binaryenTakes, compiles } from './judges.ts'
import { type Hosts, type Run, run } from './run.ts'
import { removeFolder } from '../../src/sys/folder.ts'

const PAGE = 4096
const hook = (rewriter: Rewriter, name: string, params: number): number =>
  rewriter.importFunction('lethe', name, { params: Array.from({ length: params }, () => I32), results: [] })

/** All passes of this folder, each alone. */
const passes: Readonly<Record<string, (rewriter: Rewriter) => void>> = {
  stamps: rewriter => {
    const { table, epoch } = addStamps(rewriter)
    rewriter.addExport('lethe.table', 'memory', table)
    rewriter.addExport('lethe.epoch', 'global', epoch)
  },
  polls: rewriter => {
    rewriter.addExport(
      'lethe.budget',
      'global',
      addPolls(rewriter, { poll: hook(rewriter, 'poll', 0) }).budget,
    )
  },
  tlb: rewriter => {
    const { table, writes } = addTlb(rewriter, { fault: hook(rewriter, 'fault', 2) })
    rewriter.addExport('lethe.table', 'memory', table)
    rewriter.addExport('lethe.writes', 'global', rewriter.addGlobal({ type: I32, mutable: false }, writes))
  },
  hooks: rewriter => {
    addHooks(rewriter, { report: { call: hook(rewriter, 'access', 2) }, piece: hook(rewriter, 'piece', 3) })
  },
  buffered: rewriter => {
    const report = { flush: hook(rewriter, 'flush', 1), pairs: 1000 }
    const { buffer, filled } = addHooks(rewriter, { report, piece: hook(rewriter, 'piece', 3) })
    rewriter.addExport('lethe.buffer', 'memory', buffer as number)
    rewriter.addExport('lethe.filled', 'global', filled as number)
  },
  size: rewriter => {
    const size = rewriter.importFunction('lethe', 'size', { params: [], results: [I32] })
    virtualiseSize(rewriter, {
      size,
      grow: rewriter.importFunction('lethe', 'grow', { params: [I32], results: [I32] }),
    })
  },
}

function passed(bytes: Uint8Array, ...names: string[]): Uint8Array<ArrayBuffer> {
  const rewriter = new Rewriter(decode(bytes))
  for (const name of names) passes[name]?.(rewriter)
  return encode(rewriter.finish())
}

describe('every pass leaves a module that V8 takes', () => {
  for (const { name, bytes } of guests().filter(({ name }) => !/python|debug/.test(name)))
    test(name, () => {
      for (const pass of Object.keys(passes)) expect(compiles(passed(bytes, pass), true), pass).toBe(true)
      expect(compiles(passed(bytes, 'polls', 'tlb', 'size'), true)).toBe(true)
    }, 60_000)
})

test('branch hints stay at their branches when other passes come and indices move', async () => {
  const { bytes } = guests().find(({ name }) => name.includes('quickjs')) as { bytes: Uint8Array }
  const counts: number[] = []
  for (const names of [['tlb'], ['tlb', 'polls', 'size'], ['polls', 'tlb']]) {
    const made = passed(bytes, ...names)
    const module = decode(made)
    const section = module.customs.find(({ name }) => name === HINTS)
    const r = new Reader(section?.bytes ?? new Uint8Array())
    let hints = 0
    for (let functions = r.u32('count'); functions > 0; functions--) {
      const func = module.functions[r.u32('function') - importCount(module, 'func')] as Func
      const start = func.offset - localsLength(func.locals)
      const branches = new Set<number>()
      for (const i of instructions(func))
        if (i.op === OP.if || i.op === OP.br_if) branches.add(func.offset + i.at - start)
      for (let left = r.u32('count'), last = 0; left > 0; left--, hints++) {
        const at = r.u32('place')
        expect(branches.has(at) && at > last, `${names.join()}: ${start + at} is no branch`).toBe(true)
        expect(r.byte('size')).toBe(1)
        expect(r.byte('direction')).toBeLessThan(2)
        last = at
      }
    }
    expect(r.at).toBe(r.end)
    counts.push(hints)
  }
  expect(counts[0]).toBeGreaterThan(10_000)
  expect(counts[1]).toBeGreaterThan(counts[0] as number)
  expect(await binaryenTakes(passed(bytes, 'polls'))).toBe(true)
}, 60_000)

const missing = clangMissing()
describe.skipIf(missing !== undefined)(
  `a program after a pass${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let folder = ''
    let bytes: Uint8Array = new Uint8Array(0)
    let plain: Run
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'lethe-passes-'))
      const source = fileURLToPath(new URL('../guests/accesses.c', import.meta.url))
      const path = join(folder, 'accesses.wasm')
      execFileSync('clang', [
        '--target=wasm32-wasi',
        '-O1',
        '-msimd128',
        '-mbulk-memory',
        '-c',
        source,
        '-o',
        `${path}.o`,
      ])
      execFileSync('clang', ['--target=wasm32-wasi', `${path}.o`, '-o', path])
      bytes = readFileSync(path)
      plain = run(bytes, () => ({}))
    })
    afterAll(() => removeFolder(folder))
    const after = (hosts: Hosts, ...names: string[]): Run => run(passed(bytes, ...names), hosts)

    test('prints the same with stamps, and every page that differs from before has one', () => {
      let before: Uint8Array | undefined
      const { output, exports } = after(() => ({}), 'stamps')
      expect(output).toBe(plain.output)
      const words = new Uint32Array((exports['lethe.table'] as { buffer: ArrayBuffer }).buffer)
      // The memory as instantiation left it: data segments only.
      run(bytes, ({ memory }) => {
        before ??= new Uint8Array(memory.buffer).slice()
        return {}
      })
      const now = new Uint8Array((exports.memory as { buffer: ArrayBuffer }).buffer)
      const changed: number[] = []
      const old = new Uint8Array(now.length)
      old.set(before ?? [])
      for (let at = 0; at < now.length; at += PAGE)
        if (Buffer.compare(now.subarray(at, at + PAGE), old.subarray(at, at + PAGE)) !== 0)
          changed.push(at / PAGE)
      expect(changed.length).toBeGreaterThan(5)
      expect(changed.filter(page => words[page] !== 1)).toEqual([])
    })

    test('is asked to stop at the same places in every run', () => {
      const places = (): string[] => {
        const at: string[] = []
        const { output } = after(({ global }) => {
          const budget = global('lethe.budget')
          budget.value = 100
          return {
            poll: () => {
              at.push(
                [...(new Error().stack ?? '').matchAll(/wasm-function\[\d+\]:0x[0-9a-f]+/g)].join(' < '),
              )
              budget.value = 100 + (at.length % 7)
            },
          }
        }, 'polls')
        expect(output).toBe(plain.output)
        return at
      }
      const first = places()
      expect(first.length).toBeGreaterThan(100)
      expect(new Set(first).size).toBeGreaterThan(10)
      expect(places()).toEqual(first)
    })

    test('runs with its pages scattered, absent and write-protected at first, and taken away again and again', () => {
      let faults = 0
      const { output } = after(
        ({ memory, export: of, limit }) => {
          // The guest may get four wasm pages more, and its pages are in the other half of the memory, in turned order.
          const words = new Int32Array((of('lethe.table') as { buffer: ArrayBuffer }).buffer)
          const writes = (of('lethe.writes') as { value: number }).value / 4
          let size = memory.buffer.byteLength / 65_536
          const pages = (size + 4) * 16
          memory.grow(size + 8)
          const bytesNow = new Uint8Array(memory.buffer)
          const frameOf = (page: number): number => (2 * pages - 1 - page) * PAGE
          for (let page = 0; page < pages; page++)
            bytesNow.copyWithin(frameOf(page), page * PAGE, (page + 1) * PAGE)
          for (let page = 0; page < 2 ** 20; page++) words[page] = words[writes + page] = absentWord(page)
          bytesNow.fill(0xaa, 0, pages * PAGE)
          let present: number[] = []
          limit(address => frameOf(Math.floor(address / PAGE)) + (address % PAGE))
          return {
            size: () => size,
            grow: more => {
              if (16 * (size + more) > pages) return -1
              size += more
              return size - more
            },
            fault: (address, write) => {
              faults++
              const page = address >>> 12
              if (page >= 16 * size) throw new Error(`a fault at ${address >>> 0}`)
              words[page] = tlbWord(page, frameOf(page))
              if (write === 1) words[writes + page] = words[page] as number
              present = [...present.filter(other => other !== page), page]
              // The pages of the two last faults stay.
              const away = present.length > 6 ? (present.shift() as number) : -1
              if (away >= 0) words[away] = words[writes + away] = absentWord(away)
            },
          }
        },
        'size',
        'tlb',
      )
      expect(output).toBe(plain.output)
      expect(faults).toBeGreaterThan(100)
    })

    test('an access behind 2^32 traps with the TLB as without', () => {
      for (const names of [[], ['tlb']])
        expect(() => run(passed(bytes, ...names), () => ({ fault: () => {} }), ['wild'])).toThrow(
          /out of bounds/,
        )
    })

    test('tells of the same accesses one by one and in lots', () => {
      const single = new Map<string, number>()
      const lots = new Map<string, number>()
      const note = (into: Map<string, number>, key: string): unknown =>
        into.set(key, (into.get(key) ?? 0) + 1)
      const one = after(
        () => ({
          access: (address, kind) => note(single, `${address} ${kind}`),
          piece: (address, length, kind) => note(single, `${address} ${length} ${kind}`),
        }),
        'hooks',
      )
      const many = after(({ export: of }) => {
        return {
          flush: pairs => {
            const words = new Int32Array((of('lethe.buffer') as { buffer: ArrayBuffer }).buffer)
            for (let n = 0; n < pairs; n++) note(lots, `${words[2 * n]} ${words[2 * n + 1]}`)
          },
          piece: (address, length, kind) => note(lots, `${address} ${length} ${kind}`),
        }
      }, 'buffered')
      const left = (many.exports['lethe.filled'] as { value: number }).value / 8
      const words = new Int32Array((many.exports['lethe.buffer'] as { buffer: ArrayBuffer }).buffer)
      for (let n = 0; n < left; n++) note(lots, `${words[2 * n]} ${words[2 * n + 1]}`)
      expect(one.output).toBe(plain.output)
      expect(many.output).toBe(plain.output)
      expect(single.size).toBeGreaterThan(1000)
      expect(lots).toEqual(single)
      const kinds = new Set([...single.keys()].map(key => Number(key.split(' ').at(-1))))
      for (const kind of [
        1 | READ,
        2 | READ,
        4 | READ,
        8 | READ,
        16 | READ,
        1 | WRITE,
        4 | WRITE,
        8 | WRITE,
        16 | WRITE,
        READ,
        WRITE,
      ])
        expect(kinds, `kind ${kind}`).toContain(kind)
    })
  },
)
