// Rewriting bodies: a visitor sees the instructions that it asked for and writes code before, behind or instead of them.
//
// All else is copied in large pieces, once. A pass writes indices as they are when it runs; Rewriter.finish moves them once, at the end.
import { Row } from './bytes.ts'
import { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import type { Func, FuncType, LocalRun, ValueType } from './module.ts'
import { Imm, immediates, OP, OPCODES } from './opcode-table.ts'
import { OriginNotes } from './origins.ts'
import type { Rewriter } from './rewrite.ts'

export interface BodyVisitor {
  /** The opcodes that `instruction` is called for; all of them if absent. */
  readonly ops?: Iterable<number>
  /** Whether functions that passes added are visited too. Default: they are not. */
  readonly added?: boolean
  /**
   * At the start of each function; what it writes runs first. `false`: the function stays as it is. Who has gone over the body already may say
   * what it has found: then `instruction` is called at these places only, and Body.depth stays 0.
   */
  enter?(body: Body, out: Code): Found | boolean | void
  /**
   * Before each instruction. What it writes comes before the instruction, which is copied then, unless the answer is `true`: then the
   * visitor has written all that stands for it, with body.keep() where it wants the instruction itself.
   */
  instruction?(i: Cursor, out: Code, body: Body): boolean | void
}

/** What a visitor has found in a body: byte offsets in it, ascending. */
export interface Found {
  readonly places: Row
  /** All function indices. */
  readonly functions: Row
}

const opens = new Uint8Array(256)
for (const op of [OP.block, OP.loop, OP.if, OP.try, OP.try_table]) opens[op] = 1
const closes = new Uint8Array(256)
for (const op of [OP.end, OP.delegate]) closes[op] = 1

/** The function that is being rewritten. The same object for all functions of a pass. */
export class Body {
  /** The function's index, as passes count (Rewriter), and its index in the decoded module (-1: a pass added it). */
  index = 0
  original = 0
  type: FuncType
  /** How many blocks are open at the instruction: 0 at the level of the function, also at its last `end`. */
  depth = 0
  readonly #cursor: Cursor
  readonly #out: Code
  readonly #notes: OriginNotes
  #locals: LocalRun[] = []
  #localCount = 0
  #scratch: { type: ValueType; local: number }[] = []

  constructor(cursor: Cursor, out: Code, notes: OriginNotes) {
    this.#cursor = cursor
    this.#out = out
    this.#notes = notes
    this.type = { params: [], results: [] }
  }

  /** For rewriteBodies. */
  start(index: number, func: Func, type: FuncType): void {
    this.index = index
    this.original = func.original
    this.type = type
    this.depth = 0
    this.#locals = [...func.locals]
    this.#localCount = type.params.length
    for (const { count } of func.locals) this.#localCount += count
    this.#scratch = []
  }

  /** How many locals there are with the parameters, scratch locals included. */
  get localCount(): number {
    return this.#localCount
  }
  get locals(): readonly LocalRun[] {
    return this.#locals
  }

  /** A new local of this function. */
  addLocal(type: ValueType): number {
    const last = this.#locals.at(-1)
    if (last?.type === type) this.#locals[this.#locals.length - 1] = { count: last.count + 1, type }
    else this.#locals.push({ count: 1, type })
    return this.#localCount++
  }

  /** The n-th scratch local of a type: the same one for every instruction of the function. */
  scratch(type: ValueType, n = 0): number {
    let left = n
    for (const entry of this.#scratch) if (entry.type === type && left-- === 0) return entry.local
    const local = this.addLocal(type)
    this.#scratch.push({ type, local })
    return left === 0 ? local : this.scratch(type, n)
  }

  /** Writes the instruction itself here. */
  keep(): void {
    const { op, bytes, at, end } = this.#cursor
    // The opcodes with a function have one byte.
    if (immediates[op] === Imm.func) this.#out.functions.push(this.#out.length + 1)
    this.#out.bytes(bytes, at, end)
  }

  /** Where the instruction was in the module that was decoded: a byte offset; -1 if it never was there. */
  get place(): number {
    return this.#notes.place(this.#cursor.at)
  }
}

/** Runs a visitor over the bodies of all functions. */
export function rewriteBodies(rewriter: Rewriter, visitor: BodyVisitor): void {
  const wanted = new Uint8Array(OPCODES)
  if (visitor.instruction === undefined) wanted.fill(0)
  else if (visitor.ops === undefined) wanted.fill(1)
  else for (const op of visitor.ops) wanted[op] = 1
  const cursor = new Cursor(new Uint8Array(0), 0)
  const notes = new OriginNotes()
  const out = new Code(65_536)
  const body = new Body(cursor, out, notes)
  const copied = new Copier(out, notes)
  const visit = (): void => {
    const { at } = cursor
    copied.upTo(at)
    const { length } = out
    const replaced = visitor.instruction?.(cursor, out, body) === true
    if (replaced || out.length > length) copied.wrote(length, at, replaced ? cursor.end : at)
  }
  const functions = new Row()
  for (const { index, func } of rewriter.definedFunctions()) {
    if (func.original < 0 && visitor.added !== true) continue
    out.clear()
    functions.length = 0
    cursor.reset(func.body, func.offset)
    notes.start(func)
    body.start(index, func, rewriter.types[func.type] as FuncType)
    const found = visitor.enter?.(body, out)
    if (found === false) continue
    if (typeof found === 'object') {
      copied.start(func, found.functions)
      for (let n = 0; n < found.places.length; n++) {
        cursor.end = found.places.at[n] as number
        cursor.next()
        visit()
      }
    } else {
      copied.start(func, functions)
      while (cursor.next()) {
        const { op } = cursor
        if (op < 256) {
          if (closes[op] === 1 && cursor.end < func.body.length) body.depth--
          else if (immediates[op] === Imm.func) functions.push(cursor.at + 1)
        }
        if (wanted[op] === 1) visit()
        if (op < 256 && opens[op] === 1) body.depth++
      }
    }
    // Nothing was written: the body stays the file's.
    if (!copied.changed && body.locals.length === func.locals.length) {
      rewriter.setFunction(index, {
        ...func,
        functions: (typeof found === 'object' ? found.functions : functions).take(),
      })
      continue
    }
    copied.upTo(func.body.length)
    const origins = copied.origins()
    const { type, offset, original } = func
    const changed: Func = {
      type,
      locals: [...body.locals],
      body: out.take(),
      offset,
      original,
      functions: out.functions.take(),
      ...(origins === undefined ? {} : { origins }),
      ...(out.hints.length === 0 ? {} : { hints: out.hints.take() }),
    }
    rewriter.setFunction(index, changed, true)
  }
}

/** Copies the old body's code to the new one, with what is noted of it. */
class Copier {
  readonly #out: Code
  readonly #notes: OriginNotes
  #func: Func | undefined
  /** Where function indices are in the old body, of which so many were copied or left out; the same of branches with a hint. */
  #functions: Row = new Row()
  #function = 0
  #hint = 0
  /** All before is copied or left out. */
  #from = 0
  /** Where the last piece that nobody wrote into begins, in the old and the new body. */
  #piece = 0
  #pieceAt = 0
  changed = false

  constructor(out: Code, notes: OriginNotes) {
    this.#out = out
    this.#notes = notes
  }

  /** Begins the next body. What is in `out` already runs before it. `functions` may grow meanwhile. */
  start(func: Func, functions: Row): void {
    this.#func = func
    this.#functions = functions
    this.#function = this.#hint = this.#from = this.#piece = 0
    this.#pieceAt = this.#out.length
    this.changed = this.#out.length > 0
  }

  /** Copies up to a byte of the old body. */
  upTo(to: number): void {
    const { body, hints } = this.#func as Func
    const out = this.#out
    const by = out.length - this.#from
    const functions = this.#functions
    for (; this.#function < functions.length; this.#function++) {
      const at = functions.at[this.#function] as number
      if (at >= to) break
      if (at >= this.#from) out.functions.push(at + by)
    }
    if (hints !== undefined)
      for (; this.#hint < hints.length; this.#hint++) {
        const hint = hints[this.#hint] as number
        if (hint >= 2 * to) break
        if (hint >= 2 * this.#from) out.hints.push(hint + 2 * by)
      }
    out.bytes(body, this.#from, to)
    this.#from = to
  }

  /** For the instruction at `from` something was written, at `at` of the new body; copying goes on behind `next` of the old one. */
  wrote(at: number, from: number, next: number): void {
    this.changed = true
    this.#notes.copied(this.#pieceAt, this.#piece, from)
    this.#notes.written(at, from)
    this.#from = this.#piece = next
    this.#pieceAt = this.#out.length
  }

  /** The new body's origins, when all is copied. */
  origins(): Uint32Array | undefined {
    this.#notes.copied(this.#pieceAt, this.#piece, this.#from)
    return this.#notes.take()
  }
}
