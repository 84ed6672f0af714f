// What each function does by itself: which memory it reads and writes, which globals, what it calls and with which arguments. Passes
// over its instructions with an abstract stack (flow.ts): a value is a constant, a parameter, an address in the function's own frame,
// what lies at one of these in memory, or unknown. That is enough to follow function pointers from `qsort(…, compare)` to where
// they are called.
import { Cursor } from '../wasm/instructions.ts'
import {
  type ConstExpr,
  type Data,
  type Func,
  type FuncType,
  I32,
  importCount,
  indexSpaces,
  type Module,
} from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { effects, isAccess, isLoad, isStore, OP, opName } from '../wasm/opcode-table.ts'
import { Flow } from './flow.ts'
import { localTypes } from './shape.ts'
import { aligned, isConstantData, join, type Range, sum, unknown, type Value } from './values.ts'

/** Where something is: the instruction's name and its byte in the module. */
export interface Place {
  readonly instruction: string
  readonly at: number
}

export interface Call {
  /** The function, or for a call through a table the pointer. */
  readonly target: number | Value
  /** Index of the type, of calls through a table. */
  readonly type: number
  readonly args: readonly Value[]
  readonly place: Place
}

export interface Facts {
  readonly calls: readonly Call[]
  /** The first of each kind. Own frames do not count, nor reads of constant data, nor what is reached through a parameter. */
  reads: Place | undefined
  writes: Place | undefined
  /** What is reached through parameters, by their index. */
  readonly readsParam: Map<number, Place>
  readonly writesParam: Map<number, Place>
  /** What it gives back, if it has one result. */
  result: Value
  /** Whether it can come back to its caller. */
  returns: boolean
  globals: Place | undefined
  grows: Place | undefined
  /** An instruction whose result is not the machine's to promise, or that other threads see. */
  unrepeatable: Place | undefined
  /** Constants that it stores: function pointers may be among them. */
  readonly stored: Set<number>
  /** Parameters that it stores. */
  readonly storedParams: Set<number>
}

/** The facts of every defined function, in order. */
export function factsOf(module: Module): Facts[] {
  const stackPointer = findStackPointer(module)
  const { functions: functionTypes } = indexSpaces(module)
  const first = importCount(module, 'func')
  const constants = constantData(module)
  // Of callees first, where they do not call back: what they give back may be what they were given.
  const facts: (Facts | 'begun' | undefined)[] = []
  const of = (i: number): Facts | undefined => {
    if (i < 0) return undefined
    const known = facts[i]
    if (known !== undefined) return known === 'begun' ? undefined : known
    facts[i] = 'begun'
    const func = module.functions[i] as Func
    const result = (target: number): Value => of(target - first)?.result ?? unknown
    const made = new Reader(module, func, first + i, functionTypes, stackPointer, constants, result).read()
    facts[i] = made
    return made
  }
  return module.functions.map((_, i) => of(i) as Facts)
}

/** Where the module's constant data lies: the segment that is called so, else the first of several, as linkers order them. */
function constantData(module: Module): Range {
  const names = readNames(module).datas
  const at = (segment: Data): number =>
    segment.offset === undefined ? -1 : (constantOf(segment.offset) ?? -1)
  const named = module.datas.findIndex((_, i) => names.get(i) === '.rodata')
  const segment = module.datas[named < 0 && module.datas.length > 1 ? 0 : named]
  return segment === undefined
    ? { from: 0, to: 0 }
    : { from: at(segment), to: at(segment) + segment.bytes.length }
}

/** The value of a constant expression that is one i32.const. */
export function constantOf(expression: ConstExpr): number | undefined {
  const c = new Cursor(expression.bytes, expression.offset)
  return c.next() && c.op === OP['i32.const'] ? c.i32 : undefined
}

/** The global that functions lower to get a frame: the mutable i32 global that is set most often behind a subtraction. */
function findStackPointer(module: Module): number {
  const votes = new Map<number, number>()
  for (const func of module.functions) {
    const cursor = new Cursor(func.body, func.offset)
    let got = -1
    for (let n = 0; n < 12 && cursor.next(); n++) {
      if (cursor.op === OP['global.get']) got = cursor.index
      else if (cursor.op === OP['global.set'] && cursor.index === got) {
        votes.set(got, (votes.get(got) ?? 0) + 1)
        break
      }
    }
  }
  const imported = importCount(module, 'global')
  let best = -1
  for (const [index, count] of votes) {
    const global = module.globals[index - imported]
    if (global?.mutable === true && global.type === I32 && count > (votes.get(best) ?? 0)) best = index
  }
  return best
}

/** What instructions on references and tables take from the stack and put on it, for those whose types it depends on. */
const onTables: ReadonlyMap<number, readonly [number, number]> = new Map([
  [OP['ref.null'], [0, 1]],
  [OP['ref.is_null'], [1, 1]],
  [OP['ref.func'], [0, 1]],
  [OP['table.get'], [1, 1]],
  [OP['table.set'], [2, 0]],
  [OP['table.grow'], [2, 1]],
  [OP['table.size'], [0, 1]],
  [OP['table.init'], [3, 0]],
  [OP['table.copy'], [3, 0]],
  [OP['table.fill'], [3, 0]],
])

/** CPython needs 5, SQLite 6. Locals that are handed on in a ring need one pass for each: then nothing is known in loops. */
const mostPasses = 16

const zero: Value = { kind: 'constant', value: 0 }

class Reader {
  readonly #module: Module
  readonly #func: Func
  readonly #index: number
  readonly #types: readonly number[]
  readonly #sp: number
  readonly #constants: Range
  readonly #resultOf: (target: number) => Value
  readonly #flow: Flow

  constructor(
    module: Module,
    func: Func,
    index: number,
    types: readonly number[],
    sp: number,
    constants: Range,
    resultOf: (target: number) => Value,
  ) {
    this.#module = module
    this.#resultOf = resultOf
    this.#func = func
    this.#index = index
    this.#types = types
    this.#sp = sp
    this.#constants = constants
    const params = (module.types[func.type] as FuncType).params.length
    const locals = localTypes(func, module.types)
    const start = locals.map((_, i): Value => (i < params ? { kind: 'param', index: i } : zero))
    this.#flow = new Flow(module, start, constants)
  }

  // What the last pass found holds: it knew all that comes to the heads of loops.
  read(): Facts {
    for (let passes = 1; ; passes++) {
      const facts = this.#pass()
      if (!this.#flow.changed) return facts
      if (passes >= mostPasses) this.#flow.forget()
    }
  }

  #pass(): Facts {
    const facts: Facts & { calls: Call[] } = {
      calls: [],
      reads: undefined,
      writes: undefined,
      globals: undefined,
      grows: undefined,
      unrepeatable: undefined,
      stored: new Set(),
      storedParams: new Set(),
      readsParam: new Map(),
      writesParam: new Map(),
      returns: false,
      result: unknown,
    }
    const flow = this.#flow
    flow.begin()
    const c = new Cursor(this.#func.body, this.#func.offset)
    while (c.next()) if (!flow.take(c) && flow.alive) this.#step(c, facts)
    facts.returns = flow.returns
    facts.result = flow.result ?? unknown
    return facts
  }

  #step(c: Cursor, facts: Facts & { calls: Call[] }): void {
    const { op } = c
    const flow = this.#flow
    const place = (): Place => ({ instruction: opName(op) ?? '?', at: c.place })
    switch (op) {
      case OP['local.get']:
        flow.push(flow.local(c.index))
        return
      case OP['local.set']:
      case OP['local.tee']: {
        const value = flow.pop()
        flow.setLocal(c.index, value)
        if (op === OP['local.tee']) flow.push(value)
        return
      }
      case OP['i32.const']:
        flow.push({ kind: 'constant', value: c.i32 })
        return
      case OP['global.get']:
        flow.push(c.index === this.#sp ? { kind: 'frame', owner: this.#index } : unknown)
        return
      case OP['global.set']:
        flow.pop()
        if (c.index !== this.#sp) facts.globals ??= place()
        return
      case OP['i32.add']:
      case OP['i32.sub']: {
        const [b, a] = [flow.pop(), flow.pop()]
        flow.push(sum(a, b, op === OP['i32.sub']))
        return
      }
      case OP['i32.or']:
      case OP['i32.and']: {
        const [b, a] = [flow.pop(), flow.pop()]
        flow.push(aligned(a, b, op === OP['i32.and']))
        return
      }
      case OP.call:
      case OP.return_call: {
        const type = this.#module.types[this.#types[c.index] as number] as FuncType
        this.#call(c.index, type, -1, place(), facts)
        if (op === OP.return_call) flow.exit()
        return
      }
      case OP.call_indirect:
      case OP.return_call_indirect:
        this.#call(flow.pop(), this.#module.types[c.index] as FuncType, c.index, place(), facts)
        if (op === OP.return_call_indirect) flow.exit()
        return
      case OP['memory.grow']:
        flow.pop()
        flow.push(unknown)
        facts.grows ??= place()
        return
      case OP['memory.size']:
        flow.push(unknown)
        return
      case OP['memory.copy']:
      case OP['memory.fill']:
      case OP['memory.init']: {
        flow.pop()
        const from = flow.pop()
        if (op === OP['memory.copy']) note(facts, 'reads', from, place)
        note(facts, 'writes', flow.pop(), place)
        return
      }
      case OP.drop:
        flow.pop()
        return
      case OP.select:
      case OP.select_typed: {
        flow.pop()
        const b = flow.pop()
        const a = flow.pop()
        flow.push(join(a, b, this.#constants))
        return
      }
      default:
        this.#other(c, facts, place)
    }
  }

  #other(c: Cursor, facts: Facts, place: () => Place): void {
    const { op } = c
    const flow = this.#flow
    if (op >= 0x300) facts.unrepeatable ??= place()
    if (isAccess(op)) {
      const value = isStore(op) || op >= 0x254 ? flow.pop() : unknown
      const base = flow.pop()
      if (isStore(op) && value.kind === 'constant') facts.stored.add(value.value)
      else if (isStore(op) && value.kind === 'param') facts.storedParams.add(value.index)
      if (isLoad(op) && !isConstantData(base, c.offset, this.#constants)) note(facts, 'reads', base, place)
      if (isStore(op)) note(facts, 'writes', base, place)
      if (!isStore(op)) flow.push(op === OP['i32.load'] ? { kind: 'load', base, offset: c.offset } : unknown)
      return
    }
    const effect = effects[op] as string
    const table = onTables.get(op)
    if (table !== undefined) {
      if (opName(op)?.startsWith('table.') === true) facts.unrepeatable ??= place()
      for (let i = 0; i < table[0]; i++) flow.pop()
      for (let i = 0; i < table[1]; i++) flow.push(unknown)
      return
    }
    const colon = effect.indexOf(':')
    for (let i = 0; i < colon; i++) flow.pop()
    for (let i = colon + 1; i < effect.length; i++) flow.push(unknown)
  }

  #call(target: number | Value, type: FuncType, index: number, place: Place, facts: { calls: Call[] }): void {
    const args = type.params.map(() => this.#flow.pop()).reverse()
    facts.calls.push({ target, type: index, args, place })
    const result = typeof target === 'number' && type.results.length === 1 ? this.#resultOf(target) : unknown
    const given = result.kind === 'param' ? (args[result.index] ?? unknown) : unknown
    for (const _ of type.results) this.#flow.push(given)
  }
}

function note(facts: Facts, what: 'reads' | 'writes', base: Value, place: () => Place): void {
  if (base.kind === 'frame') return
  if (base.kind === 'param') {
    const by = what === 'reads' ? facts.readsParam : facts.writesParam
    if (!by.has(base.index)) by.set(base.index, place())
  } else facts[what] ??= place()
}
