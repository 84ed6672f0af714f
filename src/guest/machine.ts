// A guest on the simulated machine: every load and store of its own, and every byte that the host reads or writes for it, goes through TLB,
// page tables, caches and memory with swap (src/machine/engine.ts), and is counted.
//
// The pass puts a record of each access into a buffer, in a second memory of the module; when it is full the machine runs the records, as it
// runs those of a trace file. The bytes themselves stay in the guest's memory: the machine decides what it costs, not what is there. A guest
// can't see its own instructions, so there are no fetches.
import type { MachineConfig } from '../machine/config.ts'
import { TraceEngine } from '../machine/engine.ts'
import { kinds } from '../machine/trace.ts'
import type { Code } from '../wasm/code.ts'
import type { Cursor } from '../wasm/instructions.ts'
import { F32, F64, I32, I64, type Module, V128, type ValueType } from '../wasm/module.ts'
import { effects, isAccess, isLoad, isStore, OP, OPCODES, widths } from '../wasm/opcode-table.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import { engine, type EngineInstance } from './engine.ts'
import { GuestError } from './errors.ts'
import type { RunOptions } from './instance.ts'
import type { Pass } from './load.ts'

const importModule = 'lethe:machine'
const positionName = 'lethe:machine position'
const records = 16_384
const bufferBytes = records * 8
/** Bulk operations are this many bytes an access, as a machine would do them. */
const line = 64

const recorded = Array.from({ length: OPCODES }, (_, op) => op).filter(isAccess)
const bulk = [OP['memory.copy'], OP['memory.fill'], OP['memory.init']]

const valueTypes: Readonly<Record<string, ValueType>> = { i: I32, I: I64, f: F32, F: F64, v: V128 }

/** Every access to the first memory leaves a record. */
export const recordAccesses: Pass = {
  name: 'record-accesses 1',
  apply(module: Module): Module {
    const rewriter = new Rewriter(module)
    if (rewriter.memoryType(0).is64)
      throw new GuestError('option', '--mmu machine takes guests with 32-bit addresses; this one has 64')
    const buffer = rewriter.addImport({
      module: importModule,
      name: 'buffer',
      kind: 'memory',
      type: { min: bufferBytes / 65_536, max: undefined, shared: false, is64: false },
    })
    const flush = rewriter.importFunction(importModule, 'flush', { params: [], results: [] })
    const range = rewriter.importFunction(importModule, 'range', { params: [I32, I32, I32], results: [] })
    const position = rewriter.addGlobal({ type: I32, mutable: true }, 0)
    rewriter.addExport(positionName, 'global', position)
    const put = (code: Code, address: number, offset: number, width: number, kind: number): void => {
      const word = ((BigInt(kind) << 60n) | (BigInt(width) << 48n)) + BigInt(offset)
      code.getGlobal(position).get(address).op(OP['i64.extend_i32_u'])
      code.i64(BigInt.asIntN(64, word)).op(OP['i64.add']).access(OP['i64.store'], 0, buffer)
      code.getGlobal(position).i32(8).op(OP['i32.add']).setGlobal(position)
      code.getGlobal(position).i32(bufferBytes).op(OP['i32.eq'])
      code.block(OP.if).call(flush).end()
    }
    rewriter.rewriteBodies({
      ops: [...recorded, ...bulk],
      instruction: (i, out, body) => {
        if (bulk.includes(i.op)) return bulkAccess(i, out, n => body.scratch(I32, n), range)
        if (i.index !== 0) return false
        const address = body.scratch(I32)
        const operands = (effects[i.op] as string).split(':')[0] as string
        // What lies above the address has to wait.
        const above = operands
          .slice(1)
          .split('')
          .map((letter, n) => body.scratch(valueTypes[letter] ?? I32, letter === 'i' ? n + 1 : n))
        for (const local of above.toReversed()) out.set(local)
        out.tee(address)
        const width = widths[i.op] as number
        if (isLoad(i.op)) put(out, address, i.offset, width, kinds.read)
        if (isStore(i.op)) put(out, address, i.offset, width, kinds.write)
        for (const local of above) out.get(local)
        return false
      },
    })
    return rewriter.finish()
  },
}

// to, from or value, length: told before it is done.
function bulkAccess(i: Cursor, out: Code, scratch: (n: number) => number, range: number): boolean {
  const [to, from, length] = [scratch(0), scratch(1), scratch(2)]
  out.set(length).set(from).set(to)
  if (i.op === OP['memory.copy'] && i.index2 === 0) out.i32(kinds.read).get(from).get(length).call(range)
  if ((i.op === OP['memory.init'] ? i.index2 : i.index) === 0)
    out.i32(kinds.write).get(to).get(length).call(range)
  out.get(to).get(from).get(length)
  return false
}

/** A machine for one run: its options, and what came of it. */
export class MachineRun {
  readonly options: RunOptions
  readonly #engine: TraceEngine
  readonly #buffer = new engine.Memory({ initial: bufferBytes / 65_536 })
  readonly #words = new Uint32Array(this.#buffer.buffer)
  #position: { value: number } = { value: 0 }

  /** MachineError for a machine that there is not. */
  constructor(config: MachineConfig) {
    this.#engine = new TraceEngine(config)
    const host = (kind: number, at: number, length: number): void => this.#range(kind, at, length)
    this.options = {
      passes: [recordAccesses],
      imports: {
        [importModule]: {
          buffer: this.#buffer,
          flush: () => this.#flush(),
          range: (kind: number, at: number, length: number) => this.#range(kind, at >>> 0, length >>> 0),
        },
      },
      observer: {
        wrote: (at, length) => host(kinds.write, at, length),
        reads: (at, length) => host(kinds.read, at, length),
      },
      ready: ({ instance }) => this.attach(instance),
    }
  }

  /** The instance that runs on it. */
  attach({ exports }: EngineInstance): void {
    this.#position = exports[positionName] as { value: number }
  }

  #flush(): void {
    this.#engine.run(this.#words, this.#position.value / 8)
    this.#position.value = 0
  }

  #range(kind: number, at: number, length: number): void {
    for (let from = at; from < at + length; ) {
      const to = Math.min(at + length, from - (from % line) + line)
      const { value } = this.#position
      this.#words[value / 4] = from
      this.#words[value / 4 + 1] = (kind << 28) | ((to - from) << 16)
      this.#position.value = value + 8
      if (value + 8 === bufferBytes) this.#flush()
      from = to
    }
  }

  /** The machine after all that was recorded. */
  end(): TraceEngine {
    this.#flush()
    return this.#engine
  }
}
