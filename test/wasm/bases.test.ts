// Accesses with the same base share a look at their page, or a stamp (src/wasm/bases.ts). Random functions of loads, stores, copied and
// changed pointers, blocks, branches, loops and calls have to do what they do without.
import { describe, expect, test } from 'vitest'
import type { Code } from '../../src/wasm/code.ts'
import { decode } from '../../src/wasm/decode.ts'
import { encode } from '../../src/wasm/encode.ts'
import { addHooks, WRITE } from '../../src/wasm/hooks.ts'
import { I32, I64, type Module } from '../../src/wasm/module.ts'
import { OP } from '../../src/wasm/opcode-table.ts'
import { Rewriter } from '../../src/wasm/rewrite.ts'
import { addStamps } from '../../src/wasm/stamp.ts'
import { absentWord, addTlb, tlbWord } from '../../src/wasm/tlb.ts'
import { empty as nothing } from './generator.ts'

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, unknown>> }
}

const PAGE = 4096
const WASM_PAGES = 4
const PAGES = WASM_PAGES * 16
/** Pointers stay below; with the largest offset they are in the memory. */
const REACH = 0x1ffff
const POINTERS = 3
const SUM = 3
const WIDE = 4
const TURNS = 5

const empty: Module = {
  ...nothing,
  memories: [{ min: WASM_PAGES, max: undefined, shared: false, is64: false }],
}

function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Writes a function (p, q, r) -> sum. `call` is the function that calls out. */
function writeBody(out: Code, next: (below: number) => number, call: number): void {
  const pick = <T>(...values: readonly T[]): T => values[next(values.length)] as T
  const offset = (): number => pick(0, 0, 4, 8, 12, 40, 100, 252, 255, 256, 600, 2040, 4090, 5000, 66_000)
  const pointer = (): void => {
    if (next(6) > 0) out.get(next(POINTERS))
    else out.i32(pick(0, 1024, 4094, 8188, 70_000))
  }
  const loads = [OP['i32.load'], OP['i32.load8_u'], OP['i32.load16_s'], OP['i64.load']]
  const stores = [OP['i32.store'], OP['i32.store8'], OP['i32.store16'], OP['i64.store']]
  const into = (to: number): unknown => out.i32(REACH).op(OP['i32.and']).set(to)
  const load = (): void => {
    pointer()
    const op = pick(...loads)
    out.access(op, offset())
    if (op === OP['i64.load']) out.tee(WIDE).op(OP['i32.wrap_i64'])
    out.get(SUM).i32(31).op(OP['i32.mul']).op(OP['i32.add']).set(SUM)
  }
  const store = (): void => {
    pointer()
    const op = pick(...stores)
    if (op === OP['i64.store']) out.get(WIDE)
    // The value's own accesses run between the address and the store.
    else if (next(4) === 0) {
      pointer()
      out.access(OP['i32.load'], offset())
    } else out.get(SUM)
    out.access(op, offset())
  }
  const statements = (depth: number, labels: number): void => {
    for (let left = 1 + next(6); left > 0; left--) statement(depth, labels)
  }
  const condition = (): unknown =>
    out
      .get(SUM)
      .i32(pick(1, 2, 4))
      .op(OP['i32.and'])
  const statement = (depth: number, labels: number): void => {
    const kind = next(depth > 3 ? 12 : 16)
    if (kind < 4) load()
    else if (kind < 8) store()
    else if (kind === 8) {
      out
        .get(next(POINTERS))
        .i32(pick(4, -4, 64, 4096, 12_345))
        .op(OP['i32.add'])
      into(next(POINTERS))
    } else if (kind === 9) out.get(next(POINTERS)).set(next(POINTERS))
    else if (kind === 10) {
      if (next(2) === 0) out.call(call)
      else {
        pointer()
        out.access(OP['i32.load'], offset())
        into(next(POINTERS))
      }
    } else if (kind === 11) {
      if (labels === 0) return
      condition()
      // Loops turn by their own counter only.
      out.brIf(next(labels))
    } else if (kind < 14) {
      out.block(OP.block)
      statements(depth + 1, labels + 1)
      out.end()
    } else if (kind === 14) {
      condition()
      out.block(OP.if)
      statements(depth + 1, labels + 1)
      if (next(2) === 0) {
        out.else()
        statements(depth + 1, labels + 1)
      }
      out.end()
    } else {
      out.i32(next(4)).set(TURNS).block(OP.loop)
      statements(4, 0)
      out.get(TURNS).i32(1).op(OP['i32.sub']).tee(TURNS).i32(0).op(OP['i32.gt_s']).brIf(0).end()
    }
  }
  for (let left = 12; left > 0; left--) statement(0, 0)
  out.get(SUM)
}

function program(seed: number): Rewriter {
  const rewriter = new Rewriter(empty)
  const call = rewriter.importFunction('host', 'call', { params: [], results: [] })
  const index = rewriter.addFunction({
    type: { params: [I32, I32, I32], results: [I32] },
    locals: [I32, I64, I32],
    body: out => writeBody(out, random(seed), call),
  })
  rewriter.addExport('f', 'func', index)
  rewriter.addExport('memory', 'memory', 0)
  // Passes visit what a decoded module had.
  return new Rewriter(decode(encode(rewriter.finish())))
}

type Host = Readonly<Record<string, (...values: number[]) => void>>
interface Made {
  readonly memory: Uint8Array
  words(name: string): Int32Array
  readonly exports: Readonly<Record<string, unknown>>
  run(): number
}

function make(rewriter: Rewriter, seed: number, host: Host): Made {
  const module = new WebAssembly.Module(encode(rewriter.finish()))
  const { exports } = new WebAssembly.Instance(module, { host: { call() {}, ...host } })
  const memory = new Uint8Array((exports['memory'] as { buffer: ArrayBuffer }).buffer)
  const next = random(seed + 1)
  const cells = new Int32Array(memory.buffer, 0, (PAGES * PAGE) / 4)
  for (let n = 0, value = seed; n < cells.length; n++) cells[n] = value = Math.imul(value ^ n, 0x9e37_79b1)
  const pointers = Array.from({ length: POINTERS }, () =>
    next(2) === 0 ? next(REACH) : next(30) * PAGE + 4088 - next(300),
  )
  return {
    memory,
    words: name => new Int32Array((exports[name] as { buffer: ArrayBuffer }).buffer),
    exports,
    run: () => (exports['f'] as (...values: number[]) => number)(...pointers),
  }
}

const first = Date.now() % 2 ** 20
const seeds = Array.from({ length: 100 }, (_, n) => first + n)

describe(`functions of seeds ${first} to ${first + seeds.length - 1}`, () => {
  test('do the same when only the pages of the last fault or two are there', () => {
    let faults = 0
    for (const seed of seeds) {
      const plain = make(program(seed), seed, {})
      const rewriter = program(seed)
      const fault = rewriter.importFunction('host', 'fault', { params: [I32, I32], results: [] })
      const { table, writes } = addTlb(rewriter, { fault })
      rewriter.addExport('table', 'memory', table)
      let present: number[] = []
      const keep = 1 + (seed % 3)
      const frameOf = (page: number): number => page ^ 5
      const host = {
        call() {
          for (const page of present) away(page)
          present = []
        },
        fault(address: number, write: number) {
          faults++
          const page = (address >>> 0) >>> 12
          if (page >= PAGES) throw new Error(`seed ${seed}: a fault at ${address >>> 0}`)
          present = [...present.filter(other => other !== page), page]
          words[page] = tlbWord(page, frameOf(page) * PAGE)
          if (write === 1) words[writes / 4 + page] = words[page] as number
          while (present.length > keep) away(present.shift() as number)
        },
      }
      const away = (page: number): void => {
        words[page] = words[writes / 4 + page] = absentWord(page)
      }
      const scattered = make(rewriter, seed, host)
      const words = scattered.words('table')
      const before = scattered.memory.slice()
      for (let page = 0; page < PAGES; page++) {
        scattered.memory.set(before.subarray(page * PAGE, (page + 1) * PAGE), frameOf(page) * PAGE)
        away(page)
      }
      expect(scattered.run(), `seed ${seed}`).toBe(plain.run())
      for (let page = 0; page < PAGES; page++) {
        const frame = frameOf(page) * PAGE
        const same = Buffer.compare(
          scattered.memory.subarray(frame, frame + PAGE),
          plain.memory.subarray(page * PAGE, (page + 1) * PAGE),
        )
        expect(same, `seed ${seed}, page ${page}`).toBe(0)
      }
    }
    expect(faults).toBeGreaterThan(seeds.length)
  }, 60_000)

  test('stamp exactly the pages that they write, with the epoch of the last write', () => {
    let stamped = 0
    for (const seed of seeds) {
      const wanted = new Int32Array(PAGES)
      let epoch = 1
      const watched = program(seed)
      const access = watched.importFunction('host', 'access', { params: [I32, I32], results: [] })
      const piece = watched.importFunction('host', 'piece', { params: [I32, I32, I32], results: [] })
      addHooks(watched, { report: { call: access }, piece })
      make(watched, seed, {
        call: () => void epoch++,
        access(address, kind) {
          if ((kind & WRITE) === 0) return
          wanted[address >>> 12] = epoch
          wanted[(address + (kind & 0xff) - 1) >>> 12] = epoch
        },
        piece() {},
      }).run()
      const rewriter = program(seed)
      const { table, epoch: global } = addStamps(rewriter)
      rewriter.addExport('table', 'memory', table)
      rewriter.addExport('epoch', 'global', global)
      const made = make(rewriter, seed, {
        call: () => void (made.exports['epoch'] as { value: number }).value++,
      })
      made.run()
      expect([...made.words('table').subarray(0, PAGES)], `seed ${seed}`).toEqual([...wanted])
      stamped += wanted.filter(word => word > 0).length
    }
    expect(stamped).toBeGreaterThan(seeds.length)
  }, 60_000)
})
