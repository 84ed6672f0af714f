// Control flow over one function's code: what the locals and the stack hold at each instruction, joined over all ways that lead there.
// Passes go over the code in the order of its bytes; the heads of loops remember what came to them from below, and passes
// are made until none learns more.
import { BLOCK_EMPTY, type Cursor } from '../wasm/instructions.ts'
import type { FuncType, Module } from '../wasm/module.ts'
import { OP } from '../wasm/opcode-table.ts'
import { join, type Range, unknown, type Value } from './values.ts'

/** A block that is open, and what is known where its label leads to. */
interface Block {
  readonly loop: boolean
  /** The byte at which it begins. */
  readonly at: number
  /** How high the stack was below its parameters. */
  readonly height: number
  readonly params: number
  readonly results: number
  /** Locals at its end, of all ways to there; nothing while there is none. */
  env: Value[] | undefined
  values: readonly Value[]
  /** Of an `if` that had no `else` yet: the locals where it began. */
  otherwise: readonly Value[] | undefined
  /** Exceptions lead out of it from anywhere. */
  readonly catches: boolean
}

const ends: ReadonlySet<number> = new Set([OP.unreachable, OP.throw, OP.rethrow, OP.throw_ref])

export class Flow {
  readonly #module: Module
  readonly #start: readonly Value[]
  readonly #constants: Range
  readonly #heads = new Map<number, Value[]>()
  /** Whether this pass learnt something that instructions before did not know. */
  changed = false
  /** Whether the function can come to its end. */
  returns = false
  /** What it gives back, if it is one value. */
  result: Value | undefined
  #stack: Value[] = []
  #blocks: Block[] = []
  #env: Value[] | undefined

  /** `start`: what all locals hold when the function begins. */
  constructor(module: Module, start: readonly Value[], constants: Range) {
    this.#module = module
    this.#start = start
    this.#constants = constants
  }

  /** Begins a pass. */
  begin(): void {
    this.changed = false
    this.returns = false
    this.result = undefined
    this.#stack = []
    this.#blocks = []
    this.#env = this.#start.slice()
  }

  /** What comes to the heads of loops is unknown from now on: the next pass learns nothing. */
  forget(): void {
    for (const head of this.#heads.values()) head.fill(unknown)
  }

  /** Whether any way leads to here. */
  get alive(): boolean {
    return this.#env !== undefined
  }

  push(value: Value): void {
    this.#stack.push(value)
  }

  pop(): Value {
    return this.#stack.length > (this.#blocks.at(-1)?.height ?? 0) ? (this.#stack.pop() as Value) : unknown
  }

  local(index: number): Value {
    return this.#env?.[index] ?? unknown
  }

  setLocal(index: number, value: Value): void {
    if (this.#env !== undefined) this.#env[index] = value
  }

  /** The rest of the block is never reached. */
  leave(): void {
    this.#stack.length = this.#blocks.at(-1)?.height ?? 0
    this.#env = undefined
  }

  /** The function returns here. */
  exit(): void {
    this.#return(this.#top(1)[0] as Value)
    this.leave()
  }

  #return(value: Value): void {
    this.returns = true
    this.result = this.result === undefined ? value : join(this.result, value, this.#constants)
  }

  /** Takes an instruction if it is one of control flow, and says whether it was. */
  take(c: Cursor): boolean {
    const { op } = c
    switch (op) {
      case OP.block:
      case OP.loop:
      case OP.if:
      case OP.try:
      case OP.try_table:
        if (op === OP.if) this.pop()
        this.#enter(c)
        return true
      case OP.else:
      case OP.catch:
      case OP.catch_all:
        this.#other(op === OP.else)
        return true
      case OP.end:
      case OP.delegate:
        this.#end()
        return true
      case OP.br:
      case OP.br_if:
        if (op === OP.br_if) this.pop()
        this.#branch(c.index)
        if (op === OP.br) this.leave()
        return true
      case OP.br_table:
        this.pop()
        for (const label of new Set(c.labels())) this.#branch(label)
        this.leave()
        return true
      case OP.return:
        this.exit()
        return true
      default:
        if (!ends.has(op)) return false
        this.leave()
        return true
    }
  }

  #enter(c: Cursor): void {
    const type = c.blockType >= 0 ? (this.#module.types[c.blockType] as FuncType) : undefined
    const params = type?.params.length ?? 0
    const results = type?.results.length ?? (c.blockType === BLOCK_EMPTY ? 0 : 1)
    const loop = c.op === OP.loop
    this.#blocks.push({
      loop,
      at: c.at,
      height: Math.max(this.#blocks.at(-1)?.height ?? 0, this.#stack.length - params),
      params,
      results,
      env: undefined,
      values: [],
      otherwise: c.op === OP.if ? this.#env?.slice() : undefined,
      catches: c.op === OP.try || c.op === OP.try_table,
    })
    if (!loop || this.#env === undefined) return
    this.#meetHead(c.at, this.#env)
    this.#env = this.#heads.get(c.at)?.slice()
    // What branches bring to a loop on the stack is not followed.
    for (let i = 0; i < params; i++) this.#stack[this.#stack.length - 1 - i] = unknown
  }

  // Whether the head learnt something.
  #meetHead(at: number, env: readonly Value[]): boolean {
    const head = this.#heads.get(at)
    if (head === undefined) {
      this.#heads.set(at, env.slice())
      return false
    }
    let learnt = false
    env.forEach((value, i) => {
      const before = head[i] as Value
      const after = join(before, value, this.#constants)
      if (after === before) return
      head[i] = after
      learnt = true
    })
    return learnt
  }

  #branch(label: number): void {
    if (this.#env === undefined) return
    const block = this.#blocks[this.#blocks.length - 1 - label]
    if (block === undefined) {
      this.#return(this.#top(1)[0] as Value)
      return
    }
    if (block.loop) {
      if (this.#meetHead(block.at, this.#env)) this.changed = true
      return
    }
    this.#arrive(block, this.#env, this.#top(block.results))
  }

  #arrive(block: Block, env: readonly Value[], values: readonly Value[]): void {
    const { env: known } = block
    if (known === undefined) {
      block.env = env.slice()
      block.values = values
      return
    }
    for (let i = 0; i < known.length; i++)
      known[i] = join(known[i] as Value, env[i] as Value, this.#constants)
    block.values = block.values.map((value, i) => join(value, values[i] ?? unknown, this.#constants))
  }

  #top(count: number): Value[] {
    const from = Math.max(this.#blocks.at(-1)?.height ?? 0, this.#stack.length - count)
    const values = this.#stack.slice(from)
    while (values.length < count) values.unshift(unknown)
    return values
  }

  #other(isElse: boolean): void {
    const block = this.#blocks.at(-1)
    if (block === undefined) return
    if (this.#env !== undefined) this.#arrive(block, this.#env, this.#top(block.results))
    this.#stack.length = block.height
    for (let i = 0; i < block.params; i++) this.#stack.push(unknown)
    this.#env = isElse ? block.otherwise?.slice() : this.#start.map(() => unknown)
    block.otherwise = undefined
  }

  #end(): void {
    const block = this.#blocks.at(-1)
    if (block === undefined) {
      // The function's own.
      if (this.#env !== undefined) this.#return(this.#top(1)[0] as Value)
      return
    }
    if (this.#env !== undefined) this.#arrive(block, this.#env, this.#top(block.results))
    // An `if` without an `else` gives back what it took.
    if (block.otherwise !== undefined)
      this.#arrive(
        block,
        block.otherwise,
        Array.from({ length: block.results }, () => unknown),
      )
    this.#blocks.pop()
    this.#stack.length = block.height
    if (block.catches) {
      this.#env = this.#start.map(() => unknown)
      for (let i = 0; i < block.results; i++) this.#stack.push(unknown)
      return
    }
    this.#env = block.env
    if (block.env !== undefined) this.#stack.push(...block.values)
  }
}
