// Moving indices: bodies and constant expressions under new numbers.
import type { BodyVisitor } from './bodies.ts'
import { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import type { ConstExpr, ExternKind } from './module.ts'
import { Imm, immediates, OP, OPCODES } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

/** Where each index goes; `undefined` for a kind that stays. */
export type IndexMaps = Readonly<Record<ExternKind, readonly number[] | undefined>>

/** What the first and the second index of each kind of immediates count. */
const kinds: Readonly<Record<number, readonly [ExternKind | undefined, ExternKind | undefined]>> = {
  [Imm.func]: ['func', undefined],
  [Imm.indirect]: [undefined, 'table'],
  [Imm.global]: ['global', undefined],
  [Imm.table]: ['table', undefined],
  [Imm.memory]: ['memory', undefined],
  [Imm.tag]: ['tag', undefined],
  [Imm.mem]: ['memory', undefined],
  [Imm.memLane]: ['memory', undefined],
  [Imm.atomic]: ['memory', undefined],
  [Imm.dataMemory]: [undefined, 'memory'],
  [Imm.memoryMemory]: ['memory', 'memory'],
  [Imm.elementTable]: [undefined, 'table'],
  [Imm.tableTable]: ['table', 'table'],
  [Imm.catches]: ['tag', undefined],
}

/** The opcodes with an index that moves. */
function movedOps(maps: IndexMaps): number[] {
  const ops = []
  for (let op = 0; op < OPCODES; op++) {
    const [first, second] = kinds[immediates[op] as number] ?? []
    if (
      (first !== undefined && maps[first] !== undefined) ||
      (second !== undefined && maps[second] !== undefined)
    )
      ops.push(op)
  }
  return ops
}

/** Writes the instruction with its indices moved. */
function writeMoved(i: Cursor, out: Code, maps: IndexMaps): void {
  const kind = immediates[i.op] as number
  const [first, second] = kinds[kind] ?? []
  const to = (space: ExternKind | undefined, index: number): number =>
    space === undefined ? index : (maps[space]?.[index] ?? index)
  if (kind === Imm.catches) {
    out.block(i.op, i.blockType).u32(i.index)
    for (const { kind: form, tag, label } of i.clauses()) {
      out.byte(form)
      if (form < 2) out.u32(to('tag', tag))
      out.u32(label)
    }
  } else if (kind === Imm.mem || kind === Imm.memLane || kind === Imm.atomic) {
    out.access(i.op, i.offset, to('memory', i.index), i.align)
    if (kind === Imm.memLane) out.byte(i.lane)
  } else {
    out.with(i.op, to(first, i.index))
    if (kind >= Imm.indirect && i.end > i.at && twoIndices.has(kind)) out.u32(to(second, i.index2))
  }
}
const twoIndices: ReadonlySet<number> = new Set([
  Imm.indirect,
  Imm.dataMemory,
  Imm.memoryMemory,
  Imm.elementTable,
  Imm.tableTable,
])

/** Moves the indices in all bodies. */
export function renumberBodies(rewriter: Rewriter, maps: IndexMaps): void {
  const ops = movedOps(maps)
  if (ops.length === 0) return
  const visitor: BodyVisitor = {
    ops,
    added: true,
    instruction(i, out) {
      writeMoved(i, out, maps)
      return true
    },
  }
  rewriter.rewriteBodies(visitor)
}

/** A constant expression with its indices moved. */
export function renumberExpression(code: ConstExpr, maps: IndexMaps): ConstExpr {
  if (maps.func === undefined && maps.global === undefined) return code
  const cursor = new Cursor(code.bytes, code.offset)
  const out = new Code(code.bytes.length + 8)
  let moved = false
  while (cursor.next()) {
    if (cursor.op === OP['ref.func'] || cursor.op === OP['global.get']) {
      writeMoved(cursor, out, maps)
      moved = true
    } else out.bytes(code.bytes, cursor.at, cursor.end)
  }
  return moved ? { bytes: out.take(), offset: code.offset } : code
}
