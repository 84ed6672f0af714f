// Modules that are valid by construction: every instruction is written where its operands are.
import { Code, resultType } from '../../src/wasm/code.ts'
import {
  EXNREF,
  EXTERNREF,
  F32,
  F64,
  FUNCREF,
  type FuncType,
  type GlobalType,
  I32,
  I64,
  type Limits,
  type Module,
  type TableType,
  V128,
  type ValueType,
} from '../../src/wasm/module.ts'
import { effects, Imm, immediates, OP, OPCODES, widths } from '../../src/wasm/opcode-table.ts'
import { constant, Rewriter } from '../../src/wasm/rewrite.ts'

/** What the module may use beyond WebAssembly 2. */
export interface Features {
  readonly exceptions: 'none' | 'legacy' | 'exnref'
}

const numeric: readonly ValueType[] = [I32, I64, F32, F64, V128]
const letters: Readonly<Record<string, ValueType>> = { i: I32, I: I64, f: F32, F: F64, v: V128 }
/** Opcodes of a fixed effect by what they leave; '' for nothing. Wide arithmetic is left out: the judges don't know it. */
const byResult = new Map<ValueType | undefined, number[]>()
for (let op = 0; op < OPCODES; op++) {
  const effect = effects[op]
  const kind = immediates[op]
  if (effect === undefined || effect === '*' || (op >= 0x113 && op <= 0x116)) continue
  if (kind === Imm.data || kind === Imm.dataMemory || kind === Imm.element || kind === Imm.memory) continue
  const result = letters[effect.split(':')[1] as string]
  byResult.set(result, [...(byResult.get(result) ?? []), op])
}

/** A module of nothing. */
export const empty: Module = {
  types: [],
  imports: [],
  functions: [],
  tables: [],
  memories: [],
  tags: [],
  globals: [],
  exports: [],
  start: undefined,
  elements: [],
  dataCount: false,
  datas: [],
  customs: [],
  codeOffset: 0,
}

/** The module of a seed. */
export function generate(seed: number, features: Features): Module {
  return new Generator(seed, features).module()
}

class Generator {
  #state: number
  readonly #features: Features
  readonly #rewriter = new Rewriter(empty)
  readonly #functions: FuncType[] = []
  readonly #memories: Limits[] = []
  readonly #tables: TableType[] = []
  readonly #globals: GlobalType[] = []
  readonly #tags: FuncType[] = []
  #segments = 0

  constructor(seed: number, features: Features) {
    this.#state = seed >>> 0
    this.#features = features
  }

  /** Of [0, n). */
  #below(n: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 2 ** 32) * n)
  }
  #chance(percent: number): boolean {
    return this.#below(100) < percent
  }
  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T
  }
  #some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.#below(most + 1) }, make)
  }
  #valueType(): ValueType {
    return this.#chance(85) ? this.#pick(numeric) : this.#pick([FUNCREF, EXTERNREF])
  }
  #type(): FuncType {
    return { params: this.#some(4, () => this.#valueType()), results: this.#some(2, () => this.#valueType()) }
  }
  #limits(most: number, is64: boolean, shared: boolean): Limits {
    const min = this.#below(most)
    return { min, max: shared || this.#chance(50) ? min + this.#below(most) : undefined, shared, is64 }
  }

  module(): Module {
    const r = this.#rewriter
    for (const type of this.#some(3, () => this.#type())) {
      r.importFunction('host', `f${this.#functions.length}`, type)
      this.#functions.push(type)
    }
    for (let n = this.#below(3); n >= 0; n--) {
      const limits = this.#limits(4, this.#chance(20), this.#chance(15))
      if (this.#chance(30)) r.addImport({ module: 'host', name: `m${n}`, kind: 'memory', type: limits })
      else r.addMemory(limits)
      this.#memories.push(limits)
    }
    for (let n = this.#below(3); n >= 0; n--) {
      const type = {
        type: n === 0 ? FUNCREF : this.#pick([FUNCREF, EXTERNREF]),
        limits: this.#limits(20, false, false),
      }
      r.addTable(type)
      this.#tables.push(type)
    }
    for (let n = this.#below(4); n > 0; n--) {
      const global = { type: this.#pick([I32, I64, F32, F64, FUNCREF]), mutable: this.#chance(60) }
      if (this.#chance(30)) r.addImport({ module: 'host', name: `g${n}`, kind: 'global', type: global })
      else r.addGlobal(global, this.#below(2 ** 31))
      this.#globals.push(global)
    }
    if (this.#features.exceptions !== 'none')
      for (let n = this.#below(3); n >= 0; n--) {
        const params = this.#some(2, () => this.#pick(numeric))
        r.addImport({ module: 'host', name: `t${n}`, kind: 'tag', type: r.type({ params, results: [] }) })
        this.#tags.push({ params, results: [] })
      }
    this.#datas()
    const defined = this.#some(5, () => this.#type())
    const first = this.#functions.length
    this.#functions.push(...defined)
    for (const type of defined) {
      const locals = this.#some(5, () => this.#valueType())
      r.addFunction({ type, locals, body: out => new BodyGenerator(this.#tools(), out, type, locals).body() })
    }
    this.#elements()
    for (const [n] of this.#functions.entries()) if (this.#chance(40)) r.addExport(`e${n}`, 'func', n)
    if (this.#chance(50)) r.addExport('memory', 'memory', this.#below(this.#memories.length))
    const start = this.#functions.findIndex(({ params, results }) => params.length + results.length === 0)
    if (start >= first && this.#chance(30)) r.start = start
    if (this.#chance(30))
      r.customs.push({ name: `c${this.#below(9)}`, bytes: Uint8Array.of(1, 2, 3), after: this.#below(8) })
    return r.finish()
  }

  #datas(): void {
    const r = this.#rewriter
    this.#segments = this.#below(3)
    for (let n = 0; n < this.#segments; n++) {
      const memory = this.#below(this.#memories.length)
      const address = (this.#memories[memory] as Limits).is64 ? I64 : I32
      const bytes = Uint8Array.from(this.#some(20, () => this.#below(256)))
      r.datas.push({ memory: 0, offset: undefined, bytes })
      if (this.#chance(50)) r.datas[n] = { memory, offset: constant(address, this.#below(9)), bytes }
    }
    r.needDataCount()
  }

  #elements(): void {
    const r = this.#rewriter
    const all = this.#functions.map((_, n) => n)
    // ref.func may name all of them.
    r.elements.push({
      mode: 'declared',
      table: 0,
      offset: undefined,
      type: FUNCREF,
      functions: all,
      expressions: undefined,
    })
    if (all.length === 0) return
    const table = this.#tables.findIndex(({ type }) => type === FUNCREF)
    const functions = this.#some(6, () => this.#pick(all))
    const offset = constant(I32, this.#below(5))
    if (this.#chance(50))
      r.elements.push({ mode: 'active', table, offset, type: FUNCREF, functions, expressions: undefined })
    const expressions = this.#some(4, () =>
      constant(FUNCREF, out =>
        this.#chance(50) ? out.with(OP['ref.null'], FUNCREF) : out.with(OP['ref.func'], this.#pick(all)),
      ),
    )
    if (this.#chance(50))
      r.elements.push({
        mode: 'passive',
        table: 0,
        offset: undefined,
        type: FUNCREF,
        functions: undefined,
        expressions,
      })
  }

  #tools(): Tools {
    return {
      below: n => this.#below(n),
      type: type => this.#rewriter.type(type),
      functions: this.#functions,
      memories: this.#memories,
      tables: this.#tables,
      globals: this.#globals,
      tags: this.#tags,
      segments: this.#segments,
      exceptions: this.#features.exceptions,
    }
  }
}

interface Tools {
  below(n: number): number
  type(type: FuncType): number
  readonly functions: readonly FuncType[]
  readonly memories: readonly Limits[]
  readonly tables: readonly TableType[]
  readonly globals: readonly GlobalType[]
  readonly tags: readonly FuncType[]
  readonly segments: number
  readonly exceptions: Features['exceptions']
}

class BodyGenerator {
  readonly #t: Tools
  readonly #out: Code
  readonly #type: FuncType
  readonly #locals: readonly ValueType[]
  /** What a branch to each open block carries, the function first. */
  readonly #labels: (readonly ValueType[])[]
  #fuel = 60

  constructor(tools: Tools, out: Code, type: FuncType, locals: readonly ValueType[]) {
    this.#t = tools
    this.#out = out
    this.#type = type
    this.#locals = [...type.params, ...locals]
    this.#labels = [type.results]
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#t.below(items.length)] as T
  }

  body(): void {
    this.#statements(3)
    this.#values(this.#type.results, 3)
  }

  #statements(depth: number): void {
    for (let n = this.#t.below(5); n > 0 && this.#fuel > 0; n--) this.#statement(depth)
  }

  #values(types: readonly ValueType[], depth: number): void {
    for (const type of types) this.#value(type, depth)
  }

  /** Code that leaves a value of a type. */
  #value(type: ValueType, depth: number): void {
    const t = this.#t
    const out = this.#out
    if (depth <= 0 || this.#fuel-- <= 0) return this.#leaf(type)
    const choice = t.below(10)
    const local = this.#locals.indexOf(type)
    const global = t.globals.findIndex(other => other.type === type)
    const called = t.functions.findIndex(({ results }) => results.length === 1 && results[0] === type)
    if (choice === 0 && local >= 0) {
      this.#value(type, depth - 1)
      out.tee(local)
    } else if (choice === 1 && global >= 0) out.getGlobal(global)
    else if (choice === 2 && called >= 0) {
      this.#values((t.functions[called] as FuncType).params, depth - 1)
      out.call(called)
    } else if (choice === 3) this.#blockValue(type, depth)
    else if (choice === 4) {
      this.#value(type, depth - 1)
      this.#value(type, depth - 1)
      this.#value(I32, depth - 1)
      if (numeric.includes(type)) out.op(OP.select)
      else {
        out.with(OP.select_typed, 1)
        out.byte(type)
      }
    } else if (numeric.includes(type)) this.#operation(this.#pick(byResult.get(type) as number[]), depth)
    else this.#leaf(type)
  }

  #leaf(type: ValueType): void {
    const out = this.#out
    const { below, functions } = this.#t
    const local = this.#locals.lastIndexOf(type)
    if (local >= 0 && below(2) === 0) out.get(local)
    else if (type === I32) out.i32(this.#integer() | 0)
    else if (type === I64) out.i64(BigInt(this.#integer()) * BigInt(this.#integer()))
    else if (type === FUNCREF && functions.length > 0 && below(2) === 0)
      out.with(OP['ref.func'], below(functions.length))
    else if (type === FUNCREF || type === EXTERNREF || type === EXNREF) {
      out.op(OP['ref.null'])
      out.byte(type)
    } else {
      const [op, size] =
        type === F32 ? [OP['f32.const'], 4] : type === F64 ? [OP['f64.const'], 8] : [OP['v128.const'], 16]
      out.op(op)
      for (let n = 0; n < size; n++) out.byte(below(256))
    }
  }

  /** Of all lengths, both signs, often at a power of two. */
  #integer(): number {
    const { below } = this.#t
    const value = 2 ** below(33) - below(3)
    return below(2) === 0 ? value : -value
  }

  /** An instruction of a fixed effect with its operands. */
  #operation(op: number, depth: number): void {
    const { below, memories } = this.#t
    const out = this.#out
    const kind = immediates[op] as number
    const memory = below(memories.length)
    const address = memories[memory]?.is64 ? I64 : I32
    for (const letter of (effects[op] as string).split(':')[0] as string)
      this.#value(letter === 'a' ? address : (letters[letter] as ValueType), depth - 1)
    const width = widths[op] as number
    const natural = 31 - Math.clz32(width)
    if (kind === Imm.mem || kind === Imm.memLane || kind === Imm.atomic) {
      out.access(op, below(2) * 2 ** below(32), memory, kind === Imm.atomic ? natural : below(natural + 1))
      if (kind === Imm.memLane) out.byte(below(16 / width))
      return
    }
    if (kind === Imm.i32) out.i32(this.#integer() | 0)
    else if (kind === Imm.i64) out.i64(BigInt(this.#integer()))
    else out.op(op)
    if (kind === Imm.lane) out.byte(below(width))
    else if (kind === Imm.fence) out.byte(0)
    else if (kind === Imm.shuffle) for (let n = 0; n < 16; n++) out.byte(below(32))
    else if (kind >= Imm.f32 && kind <= Imm.v128)
      for (let n = 4 * 2 ** (kind - Imm.f32); n > 0; n--) out.byte(below(256))
  }

  /** A block, loop or if that leaves a value, sometimes by a branch. */
  #blockValue(type: ValueType, depth: number): void {
    const out = this.#out
    const op = this.#pick([OP.block, OP.loop, OP.if])
    // Half of the blocks take parameters.
    const params = this.#t.below(2) === 0 ? [this.#pick(numeric)] : []
    this.#values(params, depth - 1)
    if (op === OP.if) this.#value(I32, depth - 1)
    out.block(op, params.length > 0 ? this.#t.type({ params, results: [type] }) : resultType(type))
    this.#labels.push(op === OP.loop ? params : [type])
    for (let arm = op === OP.if ? 2 : 1; arm > 0; arm--) {
      for (const _ of params) out.op(OP.drop)
      this.#statements(depth - 1)
      this.#value(type, depth - 1)
      if (op !== OP.loop && this.#t.below(3) === 0) {
        this.#value(I32, depth - 1)
        out.brIf(0)
      }
      if (arm === 2) out.else()
    }
    this.#labels.pop()
    out.end()
  }

  #statement(depth: number): void {
    const { below, globals, functions } = this.#t
    const out = this.#out
    this.#fuel--
    switch (below(12)) {
      case 0: {
        if (this.#locals.length === 0) return
        const local = below(this.#locals.length)
        this.#value(this.#locals[local] as ValueType, depth)
        out.set(local)
        return
      }
      case 1: {
        const global = globals.findIndex(({ mutable }) => mutable)
        if (global < 0) return
        this.#value((globals[global] as GlobalType).type, depth)
        out.setGlobal(global)
        return
      }
      case 2: {
        if (functions.length === 0) return
        const func = below(functions.length)
        const { params, results } = functions[func] as FuncType
        this.#values(params, depth)
        out.call(func)
        for (const _ of results) out.op(OP.drop)
        return
      }
      case 3:
        return this.#blockStatement(depth)
      case 4:
        return this.#branch(depth)
      case 5:
        return this.#table(depth)
      case 6:
        return this.#bulk(depth)
      case 7:
        return this.#exception(depth)
      case 8:
        return this.#indirect(depth)
      case 9: {
        this.#value(this.#pick(numeric), depth)
        out.op(OP.drop)
        return
      }
      default:
        return this.#operation(this.#pick(byResult.get(undefined) as number[]), depth)
    }
  }

  #blockStatement(depth: number): void {
    if (depth <= 0) return
    const out = this.#out
    const op = this.#pick([OP.block, OP.loop, OP.if])
    if (op === OP.if) this.#value(I32, depth - 1)
    out.block(op)
    this.#labels.push([])
    this.#statements(depth - 1)
    this.#labels.pop()
    out.end()
  }

  /** A branch away, in a block of its own: what comes behind it can't be reached. */
  #branch(depth: number): void {
    const { below, functions } = this.#t
    const out = this.#out
    out.block(OP.block)
    this.#labels.push([])
    const label = below(this.#labels.length)
    const carried = this.#labels[this.#labels.length - 1 - label] as readonly ValueType[]
    const choice = below(5)
    if (choice === 0) out.op(OP.unreachable)
    else if (choice === 1) {
      this.#values(this.#type.results, depth)
      out.op(OP.return)
    } else if (choice === 2) {
      const tail = functions.findIndex(({ results }) => results.join() === this.#type.results.join())
      if (tail >= 0) {
        this.#values((functions[tail] as FuncType).params, depth)
        out.with(OP.return_call, tail)
      }
    } else if (choice === 3) {
      this.#values(carried, depth)
      out.br(label)
    } else {
      const same = this.#labels.flatMap((types, n) =>
        types.join() === carried.join() ? [this.#labels.length - 1 - n] : [],
      )
      this.#values(carried, depth)
      this.#value(I32, depth)
      out.with(OP.br_table, same.length)
      for (const other of same) out.u32(other)
      out.u32(label)
    }
    if (below(2) === 0) this.#statements(depth - 1)
    this.#labels.pop()
    out.end()
  }

  #table(depth: number): void {
    const { below, tables } = this.#t
    const out = this.#out
    const table = below(tables.length)
    const { type } = tables[table] as TableType
    const choice = below(4)
    this.#value(I32, depth)
    if (choice === 0) {
      this.#value(type, depth)
      out.with(OP['table.set'], table)
    } else if (choice === 1) {
      this.#value(type, depth)
      this.#value(I32, depth)
      out.with(OP['table.fill'], table)
    } else if (choice === 2) {
      out
        .with(OP['table.get'], table)
        .op(OP['ref.is_null'])
        .with(OP['table.size'], table)
        .op(OP['i32.add'])
        .op(OP.drop)
    } else {
      this.#value(I32, depth)
      this.#value(I32, depth)
      out.with2(OP['table.copy'], table, table)
    }
  }

  #bulk(depth: number): void {
    const { below, memories, segments } = this.#t
    const out = this.#out
    const memory = below(memories.length)
    // binaryen aborts at a copy from a memory of one kind of address to one of the other.
    const from = memories.findLastIndex(({ is64 }) => is64 === memories[memory]?.is64)
    const address = (n: number): ValueType => ((memories[n] as Limits).is64 ? I64 : I32)
    const choice = below(5)
    if (choice === 0 && segments > 0) {
      this.#values([address(memory), I32, I32], depth)
      out.with2(OP['memory.init'], below(segments), memory)
    } else if (choice === 1 && segments > 0) out.with(OP['data.drop'], below(segments))
    else if (choice === 2) {
      this.#values([address(memory), address(from), address(memory)], depth)
      out.with2(OP['memory.copy'], memory, from)
    } else if (choice === 3) {
      this.#values([address(memory), I32, address(memory)], depth)
      out.with(OP['memory.fill'], memory)
    } else {
      this.#value(address(memory), depth)
      out.with(OP['memory.grow'], memory).op(OP.drop).with(OP['memory.size'], memory).op(OP.drop)
    }
  }

  #indirect(depth: number): void {
    const { tables, functions, type } = this.#t
    const table = tables.findIndex(other => other.type === FUNCREF)
    if (table < 0 || functions.length === 0) return
    const called = this.#pick(functions)
    this.#values(called.params, depth)
    this.#value(I32, depth)
    this.#out.with2(OP.call_indirect, type(called), table)
    for (const _ of called.results) this.#out.op(OP.drop)
  }

  #exception(depth: number): void {
    const { below, tags, exceptions } = this.#t
    const out = this.#out
    if (exceptions === 'none' || depth <= 0) return
    const tag = below(tags.length)
    const { params } = tags[tag] as FuncType
    const inside = (): void => {
      this.#labels.push([])
      this.#statements(depth - 1)
      if (below(2) === 0) {
        this.#values(params, depth - 1)
        out.with(OP.throw, tag)
      }
      this.#labels.pop()
    }
    if (exceptions === 'legacy') {
      out.block(OP.try)
      inside()
      if (below(4) === 0) {
        out.with(OP.delegate, below(this.#labels.length))
        return
      }
      out.with(OP.catch, tag)
      for (const _ of params) out.op(OP.drop)
      out.op(OP.catch_all)
      if (below(2) === 0) out.with(OP.rethrow, 0)
      out.end()
      return
    }
    // block (the tag's values and the exception) { block (the exception) { try_table … } }
    out
      .block(OP.block, this.#t.type({ params: [], results: [...params, EXNREF] }))
      .block(OP.block, resultType(EXNREF))
    this.#labels.push([...params, EXNREF], [EXNREF])
    out.block(OP.try_table)
    out.u32(2)
    out.byte(1)
    out.u32(tag)
    out.u32(1)
    out.byte(3)
    out.u32(0)
    inside()
    out.end().op(OP.unreachable).end()
    this.#labels.pop()
    out.op(OP.throw_ref).end()
    this.#labels.pop()
    out.op(OP.drop)
    for (const _ of params) out.op(OP.drop)
  }
}
