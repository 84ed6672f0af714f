// The types of instructions: the specification's validation algorithm (its appendix), one instruction at a time.
//
// A Typer follows a body with a Cursor. Before `step(i)` its stack is what the instruction finds: passes ask for operands there.
// In code that can't be reached an operand may be of any type: 0.
import { WasmError } from './errors.ts'
import { BLOCK_EMPTY, type Cursor } from './instructions.ts'
import {
  EXNREF,
  F32,
  F64,
  FUNCREF,
  type FuncType,
  I32,
  I64,
  type IndexSpaces,
  isReference,
  type LocalRun,
  typeName,
  V128,
  type ValueType,
} from './module.ts'
import { effects, Imm, immediates, OP, OPCODES, opName, widths } from './opcode-table.ts'
import { special } from './typer-special.ts'

/** What bodies may name. */
export interface TypeContext extends IndexSpaces {
  readonly types: readonly FuncType[]
  /** The types of the element segments. */
  readonly elements: readonly ValueType[]
  /** How many data segments there are, `undefined` where no data count says so before the code. */
  readonly dataCount: number | undefined
  /** The functions that ref.func may name; `undefined`: all. */
  readonly declared: ReadonlySet<number> | undefined
}

/** Of any type: an operand in code that can't be reached. */
export const ANY = 0
/** Engines take no function with more locals. */
const MAX_LOCALS = 50_000

const letters: Readonly<Record<string, number>> = { i: I32, I: I64, f: F32, F: F64, v: V128, a: 1 }
/** The operands of an opcode, the last first, and its results; a type 1 is the memory's address type. */
const operandTypes: (Uint8Array | undefined)[] = []
const resultTypes: (Uint8Array | undefined)[] = []
for (let op = 0; op < OPCODES; op++) {
  const effect = effects[op]
  if (effect === undefined || effect === '*') continue
  const [operands, results] = effect
    .split(':')
    .map(side => Uint8Array.from(side, letter => letters[letter] as number))
  operandTypes[op] = operands?.toReversed()
  resultTypes[op] = results
}

/** An open block: what a branch to it carries, what its end leaves. */
export interface Frame {
  /** The opcode that opened it; else, catch and catch_all take the place of their block. OP.block for the function. */
  op: number
  params: readonly ValueType[]
  results: readonly ValueType[]
  /** The height of the stack under it. */
  height: number
  unreachable: boolean
}

export class Typer {
  readonly context: TypeContext
  readonly #frames: Frame[] = []
  #depth = 0
  #stack: Uint8Array = new Uint8Array(256)
  #height = 0
  #locals: Uint8Array = new Uint8Array(256)
  #localCount = 0
  #results: readonly ValueType[] = []
  #i: Cursor | undefined

  constructor(context: TypeContext) {
    this.context = context
  }

  /** Begins a function; `place` is for the error of too many locals. */
  start(type: FuncType, locals: readonly LocalRun[], place = -1): void {
    let count = type.params.length
    for (const run of locals) count += run.count
    if (count > MAX_LOCALS)
      throw new WasmError(
        'unsupported',
        place,
        `a function of ${count} locals (engines take ${MAX_LOCALS}) is not supported`,
      )
    if (count > this.#locals.length) this.#locals = new Uint8Array(count * 2)
    this.#locals.set(type.params)
    let at = type.params.length
    for (const run of locals) {
      this.#locals.fill(run.type, at, at + run.count)
      at += run.count
    }
    this.#localCount = count
    this.#results = type.results
    this.#height = 0
    this.#depth = 0
    this.open(OP.block, [], type.results)
  }

  /** The type of a local. */
  local(index: number): ValueType {
    if (index >= this.#localCount)
      this.fail(`there is no local ${index}: the function has ${this.#localCount}`)
    return this.#locals[index] as number
  }
  /** What the function answers. */
  get results(): readonly ValueType[] {
    return this.#results
  }
  /** How many blocks are open, the function included; 0 behind its last `end`. */
  get depth(): number {
    return this.#depth
  }
  /** Whether the next instruction can be reached. */
  get reachable(): boolean {
    return this.#depth > 0 && !this.top.unreachable
  }
  /** How many values the innermost block has on the stack. */
  get height(): number {
    return this.#height - (this.#depth > 0 ? this.top.height : 0)
  }

  /** The type of the n-th operand from the top (0: the last one); ANY in code that can't be reached, or if there is none. */
  operand(n: number): ValueType {
    return n < this.height ? (this.#stack[this.#height - 1 - n] as number) : ANY
  }

  get top(): Frame {
    return this.#frames[this.#depth - 1] as Frame
  }

  fail(message: string): never {
    const name = this.#i === undefined ? '' : `${opName(this.#i.op) ?? 'instruction'}: `
    throw new WasmError('invalid', this.#i?.place ?? 0, name + message)
  }

  /** Checks an instruction and does to the stack what it does. */
  step(i: Cursor): void {
    this.#i = i
    const { op } = i
    if (this.#depth === 0) this.fail('the function has ended')
    const operands = operandTypes[op]
    if (operands === undefined) return special(this, i)
    const address = immediates[op] === Imm.none ? I32 : this.#immediates(i)
    for (const type of operands) this.pop(type === 1 ? address : type)
    for (const type of resultTypes[op] as Uint8Array) this.push(type === 1 ? address : type)
  }

  /** Checks what an instruction of a fixed effect names; answers the address type of its memory. */
  #immediates(i: Cursor): ValueType {
    const { op } = i
    switch (immediates[op]) {
      case Imm.memory:
        return this.memory(i.index)
      case Imm.mem:
      case Imm.memLane:
      case Imm.atomic: {
        const width = widths[op] as number
        const natural = 31 - Math.clz32(width)
        if (i.align > natural)
          this.fail(`an alignment of 2^${i.align} is more than the access's ${width} bytes`)
        if (immediates[op] === Imm.atomic && i.align !== natural)
          this.fail(`the alignment of an atomic access has to be ${width} bytes`)
        const address = this.memory(i.index)
        if (address === I32 && i.offset > 0xffff_ffff)
          this.fail(`an offset of ${i.offset} does not fit into 32 bits`)
        if (immediates[op] === Imm.memLane && i.lane >= 16 / width) this.fail(`there is no lane ${i.lane}`)
        return address
      }
      case Imm.lane:
        if (i.lane >= (widths[op] as number)) this.fail(`there is no lane ${i.lane}`)
        return I32
      case Imm.shuffle:
        for (const lane of i.constant()) if (lane >= 32) this.fail(`there is no lane ${lane}`)
        return I32
      case Imm.data:
        this.data(i.index)
        return I32
      case Imm.dataMemory:
        this.data(i.index)
        return this.memory(i.index2)
      case Imm.element:
        this.element(i.index)
        return I32
      default:
        return I32
    }
  }

  /** The address type of a memory. */
  memory(index: number): ValueType {
    const memory = this.context.memories[index]
    if (memory === undefined) this.fail(`there is no memory ${index}`)
    return memory.is64 ? I64 : I32
  }
  data(index: number): void {
    const { dataCount } = this.context
    if (dataCount === undefined) this.fail('it needs a data count section')
    if (index >= dataCount) this.fail(`there is no data segment ${index}`)
  }
  element(index: number): ValueType {
    const type = this.context.elements[index]
    if (type === undefined) this.fail(`there is no element segment ${index}`)
    return type
  }
  table(index: number): { type: ValueType; address: ValueType } {
    const table = this.context.tables[index]
    if (table === undefined) this.fail(`there is no table ${index}`)
    return { type: table.type, address: table.limits.is64 ? I64 : I32 }
  }
  /** The type of a function, or the type of an index of `types`. */
  functionType(index: number): FuncType {
    const type = this.context.functions[index]
    if (type === undefined) this.fail(`there is no function ${index}`)
    return this.type(type)
  }
  type(index: number): FuncType {
    const type = this.context.types[index]
    if (type === undefined) this.fail(`there is no type ${index}`)
    return type
  }
  tag(index: number): FuncType {
    const type = this.context.tags[index]
    if (type === undefined) this.fail(`there is no tag ${index}`)
    return this.type(type)
  }

  push(type: ValueType): void {
    if (this.#height === this.#stack.length) {
      const grown = new Uint8Array(this.#stack.length * 2)
      grown.set(this.#stack)
      this.#stack = grown
    }
    this.#stack[this.#height++] = type
  }

  /** Takes a value of any type. */
  popAny(): ValueType {
    const top = this.top
    if (this.#height === top.height) {
      if (top.unreachable) return ANY
      this.fail('an operand is missing')
    }
    return this.#stack[--this.#height] as number
  }

  /** Takes a value of a type. */
  pop(type: ValueType): void {
    const found = this.popAny()
    if (found !== type && found !== ANY && type !== ANY)
      this.fail(`the operand should be ${typeName(type)}, it is ${typeName(found)}`)
  }

  popAll(types: readonly ValueType[]): void {
    for (let n = types.length - 1; n >= 0; n--) this.pop(types[n] as number)
  }
  pushAll(types: readonly ValueType[]): void {
    for (const type of types) this.push(type)
  }

  /** A reference, or ANY. */
  popReference(): void {
    const found = this.popAny()
    if (found !== ANY && !isReference(found))
      this.fail(`the operand should be a reference, it is ${typeName(found)}`)
  }

  /** Opens a block whose parameters were taken from the stack. */
  open(op: number, params: readonly ValueType[], results: readonly ValueType[]): void {
    const frame = this.#frames[this.#depth]
    if (frame === undefined) {
      this.#frames[this.#depth] = { op, params, results, height: this.#height, unreachable: false }
    } else {
      frame.op = op
      frame.params = params
      frame.results = results
      frame.height = this.#height
      frame.unreachable = false
    }
    this.#depth++
    this.pushAll(params)
  }

  /** Closes the innermost block: its results have to be there and nothing else. They are not pushed. */
  close(): Frame {
    const frame = this.top
    this.popAll(frame.results)
    if (this.#height !== frame.height)
      this.fail(`${this.#height - frame.height} values too many at the end of the block`)
    this.#depth--
    return frame
  }

  /** What a branch to a label carries. */
  label(label: number): readonly ValueType[] {
    const frame = this.frame(label)
    return frame.op === OP.loop ? frame.params : frame.results
  }
  frame(label: number): Frame {
    if (label >= this.#depth) this.fail(`there is no label ${label}: ${this.#depth} blocks are open`)
    return this.#frames[this.#depth - 1 - label] as Frame
  }

  /** The rest of the block can't be reached. */
  unreachable(): void {
    const frame = this.top
    this.#height = frame.height
    frame.unreachable = true
  }

  /** The types of a block. */
  block(blockType: number): FuncType {
    if (blockType >= 0) return this.type(blockType)
    return blockType === BLOCK_EMPTY ? nothing : (oneResult[blockType & 0x7f] as FuncType)
  }
}

const nothing: FuncType = { params: [], results: [] }
const oneResult: Record<number, FuncType> = {}
for (const type of [I32, I64, F32, F64, V128, FUNCREF, 0x6f, EXNREF])
  oneResult[type] = { params: [], results: [type] }
