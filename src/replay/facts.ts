// What each function does by itself: which memory it reads and writes, which globals, what it calls and with which arguments. One pass
// over its instructions with an abstract stack: a value is a constant, a parameter, an address in the function's own frame, what
// lies at one of these in memory, or unknown. That is enough to follow function pointers from `qsort(…, compare)` to where
// they are called. Locals that are set once have the value that they are set to.
import { BLOCK_EMPTY, Cursor } from '../wasm/instructions.ts'
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

export type Value =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'param'; readonly index: number }
  /** In the frame of the function `owner`. */
  | { readonly kind: 'frame'; readonly owner: number }
  | { readonly kind: 'load'; readonly base: Value; readonly offset: number }
  /** So far from an address that is written in the code: an element of a static array. */
  | { readonly kind: 'static'; readonly value: number }
  | { readonly kind: 'unknown' }
export const unknown: Value = { kind: 'unknown' }

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
  /** Whether it can come back to its caller. */
  returns: boolean
  globals: Place | undefined
  grows: Place | undefined
  /** An instruction whose result is not the machine's to promise, or that other threads see. */
  unrepeatable: Place | undefined
  /** Constants that it stores: function pointers may be among them. */
  readonly stored: Set<number>
}

/** The facts of every defined function, in order. */
export function factsOf(module: Module): Facts[] {
  const stackPointer = findStackPointer(module)
  const { functions: functionTypes } = indexSpaces(module)
  const first = importCount(module, 'func')
  const constants = constantData(module)
  return module.functions.map((func, i) =>
    new Reader(module, func, first + i, functionTypes, stackPointer, constants).read(),
  )
}

/** Where the module's constant data lies: the segment that is called so, else the first of several, as linkers order them. */
function constantData(module: Module): { from: number; to: number } {
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

interface Block {
  readonly results: number
  /** What the locals that it sets are set to, all places together, and what all held when it began. */
  readonly set: Map<number, Value>
  readonly env: readonly Value[]
}

class Reader {
  readonly #module: Module
  readonly #func: Func
  readonly #index: number
  readonly #types: readonly number[]
  readonly #sp: number
  readonly #params: number
  readonly #constants: { readonly from: number; readonly to: number }
  /** How often each local is set, and what the only set gave it. */
  readonly #sets: number[] = []
  #values: Value[] = []
  #known: readonly Value[] = []
  #stack: Value[] = []
  #blocks: Block[] = []
  /** What each local holds here. */
  #env: Value[] = []
  /** The locals that each loop sets, by the byte at which it begins. */
  readonly #inLoop = new Map<number, Set<number>>()

  constructor(
    module: Module,
    func: Func,
    index: number,
    types: readonly number[],
    sp: number,
    constants: { from: number; to: number },
  ) {
    this.#module = module
    this.#func = func
    this.#index = index
    this.#types = types
    this.#sp = sp
    this.#constants = constants
    this.#params = (module.types[func.type] as FuncType).params.length
  }

  read(): Facts {
    const open: { at: number; loop: boolean }[] = []
    const c = new Cursor(this.#func.body, this.#func.offset)
    while (c.next()) {
      if (c.op === OP.loop || c.op === OP.block || c.op === OP.if) {
        open.push({ at: c.at, loop: c.op === OP.loop })
        if (c.op === OP.loop) this.#inLoop.set(c.at, new Set())
      } else if (c.op === OP.end) open.pop()
      else if (c.op === OP['local.set'] || c.op === OP['local.tee']) {
        this.#sets[c.index] = (this.#sets[c.index] ?? 0) + 1
        for (const { at, loop } of open) if (loop) this.#inLoop.get(at)?.add(c.index)
      }
    }
    // Twice: a local may be read, in the order of the bytes, before the one place that sets it.
    this.#pass()
    this.#known = this.#values
    this.#values = []
    return this.#pass()
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
      readsParam: new Map(),
      writesParam: new Map(),
      returns: false,
    }
    const c = new Cursor(this.#func.body, this.#func.offset)
    this.#stack = []
    this.#blocks = []
    this.#env = []
    let last = -1
    while (c.next()) {
      if (c.op === OP.return || ((c.op === OP.br || c.op === OP.br_if) && c.index === this.#blocks.length))
        facts.returns = true
      else if (c.op === OP.br_table && c.labels().includes(this.#blocks.length)) facts.returns = true
      else if (c.end === this.#func.body.length && last !== OP.unreachable) facts.returns = true
      last = c.op
      this.#step(c, facts)
    }
    return facts
  }

  #pop(): Value {
    return this.#stack.pop() ?? unknown
  }

  #local(index: number): Value {
    const sets = this.#sets[index] ?? 0
    if (sets === 0) return this.#first(index)
    // Set in one place: elsewhere it is of no use.
    if (sets === 1 && index >= this.#params) return this.#known[index] ?? this.#env[index] ?? unknown
    return this.#env[index] ?? this.#first(index)
  }

  #first(index: number): Value {
    return index < this.#params ? { kind: 'param', index } : { kind: 'constant', value: 0 }
  }

  #set(index: number, value: Value): void {
    this.#env[index] = value
    this.#values[index] = join(this.#values[index], value)
    for (const { set } of this.#blocks) set.set(index, join(set.get(index), value))
  }

  #enter(c: Cursor): void {
    const results =
      c.blockType >= 0
        ? (this.#module.types[c.blockType] as FuncType).results.length
        : c.blockType === BLOCK_EMPTY
          ? 0
          : 1
    // A pointer that walks through the frame stays there; what else a loop sets may be anything at its head.
    for (const index of this.#inLoop.get(c.at) ?? []) {
      const known = this.#known[index] ?? this.#env[index]
      if (known?.kind !== 'frame' || this.#env[index]?.kind !== 'frame') this.#env[index] = unknown
    }
    this.#blocks.push({ results, set: new Map(), env: this.#env.slice() })
  }

  #leave(): void {
    const block = this.#blocks.pop()
    if (block === undefined) return
    for (const [index, value] of block.set)
      this.#env[index] = join(block.env[index] ?? this.#first(index), value)
    for (let i = 0; i < block.results; i++) this.#pop()
    for (let i = 0; i < block.results; i++) this.#stack.push(unknown)
  }

  #step(c: Cursor, facts: Facts & { calls: Call[] }): void {
    const { op } = c
    const stack = this.#stack
    const place = (): Place => ({ instruction: opName(op) ?? '?', at: c.place })
    switch (op) {
      case OP['local.get']:
        stack.push(this.#local(c.index))
        return
      case OP['local.set']:
      case OP['local.tee']: {
        const value = this.#pop()
        this.#set(c.index, value)
        if (op === OP['local.tee']) stack.push(value)
        return
      }
      case OP['i32.const']:
        stack.push({ kind: 'constant', value: c.i32 })
        return
      case OP['global.get']:
        stack.push(c.index === this.#sp ? { kind: 'frame', owner: this.#index } : unknown)
        return
      case OP['global.set']:
        this.#pop()
        if (c.index !== this.#sp) facts.globals ??= place()
        return
      case OP['i32.add']:
      case OP['i32.sub']: {
        const [b, a] = [this.#pop(), this.#pop()]
        stack.push(sum(a, b, op === OP['i32.sub']))
        return
      }
      case OP.call:
        this.#call(
          c.index,
          this.#module.types[this.#types[c.index] as number] as FuncType,
          -1,
          place(),
          facts,
        )
        return
      case OP.return_call:
        this.#call(
          c.index,
          this.#module.types[this.#types[c.index] as number] as FuncType,
          -1,
          place(),
          facts,
        )
        stack.length = 0
        return
      case OP.call_indirect:
      case OP.return_call_indirect:
        this.#call(this.#pop(), this.#module.types[c.index] as FuncType, c.index, place(), facts)
        return
      case OP['memory.grow']:
        this.#pop()
        stack.push(unknown)
        facts.grows ??= place()
        return
      case OP['memory.size']:
        stack.push(unknown)
        return
      case OP['memory.copy']:
      case OP['memory.fill']:
      case OP['memory.init']: {
        this.#pop()
        const from = this.#pop()
        if (op === OP['memory.copy']) note(facts, 'reads', from, place)
        note(facts, 'writes', this.#pop(), place)
        return
      }
      case OP.drop:
        this.#pop()
        return
      case OP.br_if:
        this.#pop()
        return
      case OP.select: {
        this.#pop()
        const b = this.#pop()
        const a = this.#pop()
        stack.push(same(a, b) ? a : unknown)
        return
      }
      case OP.if:
      case OP.block:
      case OP.loop:
        if (op === OP.if) this.#pop()
        this.#enter(c)
        return
      case OP.else: {
        const block = this.#blocks.at(-1)
        for (let i = 0; i < (block?.results ?? 0); i++) this.#pop()
        if (block !== undefined) this.#env = block.env.slice()
        return
      }
      case OP.end:
        this.#leave()
        return
      default:
        this.#other(c, facts, place)
    }
  }

  #other(c: Cursor, facts: Facts, place: () => Place): void {
    const { op } = c
    const stack = this.#stack
    if (op >= 0x300) facts.unrepeatable ??= place()
    if (isAccess(op)) {
      const value = isStore(op) || op >= 0x254 ? this.#pop() : unknown
      const base = this.#pop()
      if (isStore(op) && value.kind === 'constant') facts.stored.add(value.value)
      if (isLoad(op) && !this.#constant(base, c.offset)) note(facts, 'reads', base, place)
      if (isStore(op)) note(facts, 'writes', base, place)
      if (!isStore(op)) stack.push(op === OP['i32.load'] ? { kind: 'load', base, offset: c.offset } : unknown)
      return
    }
    const effect = effects[op] as string
    if (effect === '*') {
      if (opName(op)?.startsWith('table.') === true) facts.unrepeatable ??= place()
      stack.length = 0
      return
    }
    const colon = effect.indexOf(':')
    for (let i = 0; i < colon; i++) this.#pop()
    for (let i = colon + 1; i < effect.length; i++) stack.push(unknown)
  }

  #constant(base: Value, offset: number): boolean {
    const { from, to } = this.#constants
    const at = base.kind === 'static' || base.kind === 'constant' ? base.value + offset : offset
    return at >= from && at < to && at >= 64
  }

  #call(target: number | Value, type: FuncType, index: number, place: Place, facts: { calls: Call[] }): void {
    const args = type.params.map(() => this.#pop()).reverse()
    facts.calls.push({ target, type: index, args, place })
    for (const _ of type.results) this.#stack.push(unknown)
  }
}

function note(facts: Facts, what: 'reads' | 'writes', base: Value, place: () => Place): void {
  if (base.kind === 'frame') return
  if (base.kind === 'param') {
    const by = what === 'reads' ? facts.readsParam : facts.writesParam
    if (!by.has(base.index)) by.set(base.index, place())
  } else facts[what] ??= place()
}

const join = (a: Value | undefined, b: Value): Value => (a === undefined || same(a, b) ? b : unknown)

function same(a: Value, b: Value): boolean {
  return (
    a.kind === b.kind &&
    (a.kind === 'frame' ||
      (a.kind === 'constant' && a.value === (b as typeof a).value) ||
      (a.kind === 'param' && a.index === (b as typeof a).index))
  )
}

function sum(a: Value, b: Value, minus: boolean): Value {
  if (a.kind === 'constant' && b.kind === 'constant')
    return { kind: 'constant', value: (minus ? a.value - b.value : a.value + b.value) | 0 }
  if (a.kind === 'frame') return a
  if (b.kind === 'frame' && !minus) return b
  // Where a parameter points to, more or less.
  if (a.kind === 'param') return a
  if (b.kind === 'param' && !minus && a.kind === 'unknown') return b
  if (b.kind === 'constant' && !minus) return { kind: 'static', value: b.value }
  if (a.kind === 'constant' && !minus) return { kind: 'static', value: a.value }
  return unknown
}
