// Which functions copy memory like memcpy or memmove. Names may be missing, so it is tried: each leaf function of the right type is run
// alone, on memory of its own, with arguments of many kinds. Believing a wrong one does no harm beyond pages that can't be
// proved: what the guest runs is always its own code.
import { engine, type EngineGlobal, type EngineMemory } from '../guest/engine.ts'
import { encode } from '../wasm/encode.ts'
import { instructions } from '../wasm/instructions.ts'
import { type Func, I32, importCount, type Module } from '../wasm/module.ts'
import { isAccess, isStore, OP } from '../wasm/opcode-table.ts'
import { instrument } from './instrument.ts'

/** Indices of the functions that copy. */
export function copiers(module: Module): Set<number> {
  const found = new Set<number>()
  const first = importCount(module, 'func')
  module.functions.forEach((func, i) => {
    const type = module.types[func.type]
    if (type?.params.length !== 3 || type.results.length > 1) return
    if ([...type.params, ...type.results].some(t => t !== I32)) return
    if (alone(func) && copies(func, module)) found.add(first + i)
  })
  return found
}

/** It stores, loops, and needs nothing but its arguments and memory. */
function alone(func: Func): boolean {
  let stores = false
  let loops = false
  for (const c of instructions(func)) {
    if (isAccess(c.op)) {
      if (c.op >= 0x400 || c.index !== 0) return false
      stores ||= isStore(c.op)
    } else if (c.op === OP.loop) loops = true
    else if (refused.has(c.op)) return false
  }
  return stores && loops
}

const refused: ReadonlySet<number> = new Set([
  OP.call,
  OP.call_indirect,
  OP.return_call,
  OP.return_call_indirect,
  OP['global.get'],
  OP['global.set'],
  OP['memory.grow'],
  OP['memory.size'],
  OP['memory.init'],
  OP['data.drop'],
  OP['memory.copy'],
  OP['memory.fill'],
  OP['table.get'],
  OP['table.set'],
  OP['ref.func'],
  OP.throw,
])

const lengths = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 33, 64, 100, 257, 1000]
const stuck = new Error('too many polls')

function copies(func: Func, module: Module): boolean {
  const small: Module = {
    types: module.types,
    imports: [],
    functions: [func],
    tables: [],
    memories: [{ min: 1, max: 1, shared: false, is64: false }],
    tags: [],
    globals: [],
    exports: [
      { name: 'run', kind: 'func', index: 0 },
      { name: 'memory', kind: 'memory', index: 0 },
    ],
    start: undefined,
    elements: [],
    dataCount: false,
    datas: [],
    customs: [],
    codeOffset: 0,
  }
  try {
    const compiled = new engine.Module(encode(instrument(small).module))
    const { exports } = new engine.Instance(compiled, {
      lethe: {
        cut: () => 0,
        move: () => 0,
        sized: () => undefined,
        freed: () => undefined,
        left: () => undefined,
        end: () => {
          throw stuck
        },
      },
    })
    const bytes = new Uint8Array((exports.memory as EngineMemory).buffer)
    const budget = exports['lethe:budget'] as EngineGlobal
    const run = exports.run as (to: number, from: number, length: number) => number | undefined
    const gives = (module.types[func.type]?.results.length ?? 0) > 0
    for (const length of lengths)
      for (const [to, from] of [
        [4096, 8192],
        [8193, 4099],
        [5002, 9001],
      ] as const) {
        for (let i = 0; i < 16384; i++) bytes[i] = (i * 167 + (i >> 8) * 13 + length) & 255
        const wanted = bytes.slice(0, 16384)
        wanted.copyWithin(to, from, from + length)
        budget.value = 5000
        const result = run(to, from, length)
        if (gives && result !== to) return false
        if (Buffer.compare(bytes.subarray(0, 16384), wanted) !== 0) return false
      }
    return true
  } catch {
    return false
  }
}
