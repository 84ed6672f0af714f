// Moving indices: bodies and constant expressions under new numbers.
import type { BodyVisitor } from './bodies.ts'
import { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import type { ConstExpr, ExternKind, Func } from './module.ts'
import { Imm, immediates, OP, OPCODES } from './opcode-table.ts'
import { moveHints } from './hints.ts'
import { moveOrigins } from './origins.ts'
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
  const { func: to, ...others } = maps
  if (Object.values(others).every(map => map === undefined)) {
    if (to !== undefined) moveFunctions(rewriter, to)
    return
  }
  const ops = movedOps(maps)
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

/** Moves function indices only, mostly in bodies that were written a moment ago: where they are was noted then. */
function moveFunctions(rewriter: Rewriter, to: readonly number[]): void {
  const cursor = new Cursor(new Uint8Array(0), 0)
  let made = new Uint8Array(65_536)
  for (const { index, func } of rewriter.definedFunctions()) {
    const places = func.functions ?? functionsIn(func, cursor)
    if (places.length === 0) continue
    const { body } = func
    if (sameLengths(body, places, to)) {
      // Mostly so. A body that was written a moment ago nobody else has seen.
      const patched = rewriter.owns(index) ? body : body.slice()
      for (let p = 0; p < places.length; p++) patch(patched, places[p] as number, to)
      const { functions: _, ...rest } = func
      rewriter.setFunction(index, { ...rest, body: patched })
      continue
    }
    // An index gets four bytes more at most.
    if (made.length < body.length + 4 * places.length)
      made = new Uint8Array(2 * body.length + 4 * places.length)
    /** The old places behind indices that became longer or shorter, and by how much all is moved from there on. */
    const moved: number[] = []
    let read = 0
    let wrote = 0
    let by = 0
    for (let p = 0; p < places.length; p++) {
      const at = places[p] as number
      if (at - read < 96) while (read < at) made[wrote++] = body[read++] as number
      else {
        made.set(body.subarray(read, at), wrote)
        wrote += at - read
        read = at
      }
      let value = 0
      for (let shift = 0, byte = 0x80; byte >= 0x80; shift += 7) {
        byte = body[read++] as number
        value |= (byte & 0x7f) << shift
      }
      let left = to[value] ?? value
      for (; left >= 0x80; left >>>= 7) made[wrote++] = (left & 0x7f) | 0x80
      made[wrote++] = left
      if (wrote - read !== by) moved.push(read, (by = wrote - read))
    }
    made.set(body.subarray(read), wrote)
    wrote += body.length - read
    const { functions: _, ...rest } = func
    const origins = moveOrigins(func, moved)
    const hints = moveHints(func.hints, moved)
    rewriter.setFunction(index, {
      ...rest,
      body: made.slice(0, wrote),
      ...(origins === undefined ? {} : { origins }),
      ...(hints === undefined ? {} : { hints }),
    })
  }
}

/** The bytes of a number in its shortest form. */
const shortest = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5

/** Whether the indices at these places take as many bytes when they are moved. */
function sameLengths(body: Uint8Array, places: ArrayLike<number>, to: readonly number[]): boolean {
  for (let p = 0; p < places.length; p++) {
    let at = places[p] as number
    let byte = body[at++] as number
    let value = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) {
      byte = body[at++] as number
      value |= (byte & 0x7f) << shift
    }
    if (shortest(to[value] ?? value) !== at - (places[p] as number)) return false
  }
  return true
}

function patch(body: Uint8Array, place: number, to: readonly number[]): void {
  let at = place
  let value = 0
  for (let shift = 0, byte = 0x80; byte >= 0x80; shift += 7) {
    byte = body[at++] as number
    value |= (byte & 0x7f) << shift
  }
  let left = to[value] ?? value
  at = place
  for (; left >= 0x80; left >>>= 7) body[at++] = (left & 0x7f) | 0x80
  body[at] = left
}

function functionsIn(func: Func, cursor: Cursor): number[] {
  const places: number[] = []
  cursor.reset(func.body, func.offset)
  while (cursor.next()) if (immediates[cursor.op] === Imm.func) places.push(cursor.at + 1)
  return places
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
