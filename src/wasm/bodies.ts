// Rewriting bodies: a visitor sees the instructions that it asked for and writes code before, behind or instead of them.
//
// All else is copied in large pieces. A pass writes indices as they are when it runs; Rewriter.finish moves them once, at the end.
import { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import type { Func, FuncType, LocalRun, ValueType } from './module.ts'
import { OP, OPCODES } from './opcode-table.ts'
import { OriginNotes } from './origins.ts'
import type { Rewriter } from './rewrite.ts'

export interface BodyVisitor {
  /** The opcodes that `instruction` is called for; all of them if absent. */
  readonly ops?: Iterable<number>
  /** Whether functions that passes added are visited too. Default: they are not. */
  readonly added?: boolean
  /** At the start of each function; what it writes runs first. `false`: the function stays as it is. */
  enter?(body: Body, out: Code): boolean | void
  /**
   * Before each instruction. What it writes comes before the instruction, which is copied then, unless the answer is `true`: then the
   * visitor has written all that stands for it, with body.keep() where it wants the instruction itself.
   */
  instruction?(i: Cursor, out: Code, body: Body): boolean | void
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
    this.#out.bytes(this.#cursor.bytes, this.#cursor.at, this.#cursor.end)
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
  const out = new Code(65_536)
  // What the visitor writes for one instruction; it goes into `out` behind all that was copied up to there.
  const written = new Code(4096)
  const notes = new OriginNotes()
  const body = new Body(cursor, written, notes)
  for (const { index, func } of rewriter.definedFunctions()) {
    if (func.original < 0 && visitor.added !== true) continue
    out.length = 0
    cursor.reset(func.body, func.offset)
    notes.start(func)
    body.start(index, func, rewriter.types[func.type] as FuncType)
    written.length = 0
    if (visitor.enter?.(body, written) === false) continue
    out.append(written)
    let copied = 0
    while (cursor.next()) {
      const { op, at } = cursor
      if (op < 256 && closes[op] === 1 && cursor.end < func.body.length) body.depth--
      if (wanted[op] === 1) {
        written.length = 0
        const replaced = visitor.instruction?.(cursor, written, body) === true
        if (replaced || written.length > 0) {
          notes.copied(out.length, copied, at)
          out.bytes(func.body, copied, at)
          notes.written(out.length, at)
          out.append(written)
          copied = replaced ? cursor.end : at
        }
      }
      if (op < 256 && opens[op] === 1) body.depth++
    }
    // Nothing was written: the body stays the file's.
    if (copied === 0 && out.length === 0 && body.locals.length === func.locals.length) continue
    notes.copied(out.length, copied, func.body.length)
    out.bytes(func.body, copied)
    const origins = notes.take()
    const { type, offset, original } = func
    const changed: Func = { type, locals: [...body.locals], body: out.take(), offset, original }
    rewriter.setFunction(index, origins === undefined ? changed : { ...changed, origins })
  }
}
