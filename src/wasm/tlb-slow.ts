// The rare cases of the software TLB (tlb.ts): pages that are absent, accesses over the edge of a page, and whole pieces of memory.
import { WasmError } from './errors.ts'
import type { Code } from './code.ts'
import type { Cursor } from './instructions.ts'
import { I32, I64, type ValueType } from './module.ts'
import { isLoad, isStore, OP, widths } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

export interface TlbContext {
  readonly rewriter: Rewriter
  readonly memory: number
  readonly table: number
  /** (address as i64, write: 0 or 1) -> the place of one byte in the frames. Traps from 2^32 on. */
  readonly translate: number
}

/** Adds the function that asks `fault` until the page of an address is there. */
export function addTranslate(
  rewriter: Rewriter,
  { table, writes, fault }: { readonly table: number; readonly writes: number; readonly fault: number },
): number {
  return rewriter.addFunction({
    name: 'lethe.translate',
    type: { params: [I64, I32], results: [I32] },
    locals: [I32],
    body(out) {
      // The same trap as that of an access behind the memory: it is one.
      out.get(0).i64(32n).op(OP['i64.shr_u']).op(OP['i64.eqz']).op(OP['i32.eqz'])
      out.block(OP.if).i32(-1).access(OP['i32.load'], 0xffff_ffff, table).op(OP.drop).end()
      out.block(OP.block).block(OP.loop)
      out.get(0).i64(10n).op(OP['i64.shr_u']).op(OP['i32.wrap_i64']).i32(-4).op(OP['i32.and'])
      out.get(1).i32(writes).op(OP['i32.mul']).op(OP['i32.add']).access(OP['i32.load'], 0, table)
      out.get(0).op(OP['i32.wrap_i64']).op(OP['i32.add']).tee(2).i32(0).op(OP['i32.ge_s']).brIf(1)
      out.get(0).op(OP['i32.wrap_i64']).get(1).call(fault).br(0)
      out.end().end().get(2)
    },
  })
}

/** Functions for accesses, one for each opcode (and lane) that the guest uses. */
export class SlowAccesses {
  readonly #context: TlbContext
  readonly #scratch: number
  readonly #functions = new Map<number, number>()

  /** `scratch`: where in the table's memory 16 bytes are free. */
  constructor(context: TlbContext, scratch: number) {
    this.#context = context
    this.#scratch = scratch
  }

  /** The function (address, operands, offset) -> result. */
  of(
    op: number,
    lane: number | undefined,
    operands: readonly ValueType[],
    result: ValueType | undefined,
  ): number {
    const key = op * 32 + (lane ?? 31)
    let func = this.#functions.get(key)
    if (func === undefined) {
      func = this.#add(op, lane, operands, result)
      this.#functions.set(key, func)
    }
    return func
  }

  #add(
    op: number,
    lane: number | undefined,
    operands: readonly ValueType[],
    result: ValueType | undefined,
  ): number {
    const { rewriter, memory, table, translate } = this.#context
    const width = widths[op] as number
    const write = isStore(op) ? 1 : 0
    const offset = 1 + operands.length
    const k = offset + 1
    const at = k + 1
    const scratch = this.#scratch
    const perform = (out: Code, into: number): void => {
      for (const n of operands.keys()) out.get(1 + n)
      out.access(op, 0, into, op >= 0x400 ? undefined : 0)
      if (lane !== undefined) out.byte(lane)
    }
    return rewriter.addFunction({
      type: { params: [I32, ...operands, I32], results: result === undefined ? [] : [result] },
      locals: [I32, I64],
      body(out) {
        out.get(0).op(OP['i64.extend_i32_u']).get(offset).op(OP['i64.extend_i32_u']).op(OP['i64.add']).set(at)
        // An atomic access is never over an edge: it traps if it is not aligned.
        if (width > 1 && op < 0x400) {
          out
            .get(at)
            .op(OP['i32.wrap_i64'])
            .i32(4095)
            .op(OP['i32.and'])
            .i32(4096 - width)
            .op(OP['i32.gt_u'])
            .block(OP.if)
          // If the last byte can't be had nothing is written.
          out
            .get(at)
            .i64(BigInt(width - 1))
            .op(OP['i64.add'])
            .i32(write)
            .call(translate)
            .op(OP.drop)
          if (write === 1) {
            out.i32(scratch)
            perform(out, table)
          }
          const bytePlace = (): Code =>
            out.get(at).get(k).op(OP['i64.extend_i32_u']).op(OP['i64.add']).i32(write).call(translate)
          const byteScratch = (): Code => out.get(k).i32(scratch).op(OP['i32.add'])
          out.block(OP.loop)
          if (write === 1) {
            bytePlace()
            byteScratch().access(OP['i32.load8_u'], 0, table).access(OP['i32.store8'], 0, memory)
          } else {
            byteScratch()
            bytePlace().access(OP['i32.load8_u'], 0, memory).access(OP['i32.store8'], 0, table)
          }
          out.get(k).i32(1).op(OP['i32.add']).tee(k).i32(width).op(OP['i32.lt_u']).brIf(0).end()
          if (isLoad(op)) {
            out.i32(scratch)
            perform(out, table)
          }
          out.op(OP.return).end()
        }
        out.get(at).i32(write).call(translate)
        perform(out, memory)
      },
    })
  }
}

/** Replaces memory.copy, memory.fill and memory.init of the memory by functions that go from page to page. */
export function addPieces(context: TlbContext): (i: Cursor, out: Code) => boolean {
  const { memory } = context
  const known = new Map<string, number>()
  const once = (key: string, make: () => number): number => {
    let func = known.get(key)
    if (func === undefined) {
      func = make()
      known.set(key, func)
    }
    return func
  }
  return (i, out) => {
    if (i.op === OP['memory.copy']) {
      if (i.index !== memory && i.index2 !== memory) return false
      if (i.index !== i.index2)
        throw new WasmError(
          'unsupported',
          i.place,
          'a copy from one memory to another is not supported by a software TLB',
        )
      out.call(once('copy', () => addCopy(context)))
      return true
    }
    const to = i.op === OP['memory.fill'] ? i.index : i.index2
    if (to !== memory) return false
    const data = i.index
    const func =
      i.op === OP['memory.fill']
        ? once('fill', () => addRun(context, run => run.get(1).get(LENGTH).with(OP['memory.fill'], memory)))
        : once(`init ${data}`, () => addInit(context, data))
    out.call(func)
    return true
  }
}

/** Locals of the functions over pieces: the parameters, then the bytes that the next page takes. */
const LENGTH = 3

/** With i32 `at` on top: the bytes from there to the end of its page. */
const toEdge = (out: Code, at: number): Code =>
  out.i32(4096).get(at).i32(4095).op(OP['i32.and']).op(OP['i32.sub'])
/** The smaller of local `a` and the value on top, into local `a`. */
const atMost = (out: Code, a: number, scratch: number): Code =>
  out.tee(scratch).get(a).get(scratch).get(a).op(OP['i32.lt_u']).op(OP.select).set(a)

/** Checks the last byte of local `at`, bytes in local 2, none: returns. */
function checkLast(out: Code, { translate }: TlbContext, at: number, write: number): void {
  out
    .get(at)
    .op(OP['i64.extend_i32_u'])
    .get(2)
    .op(OP['i64.extend_i32_u'])
    .op(OP['i64.add'])
    .i64(1n)
    .op(OP['i64.sub'])
  out.i32(write).call(translate).op(OP.drop)
}

/** A function (address, source, bytes) that does `run` for each page: it finds the place on the stack. */
function addRun(
  context: TlbContext,
  run: (out: Code) => Code,
  source = false,
  before?: (out: Code) => void,
): number {
  const { rewriter, translate } = context
  return rewriter.addFunction({
    type: { params: [I32, I32, I32], results: [] },
    locals: [I32, I32],
    body(out) {
      before?.(out)
      out.get(2).op(OP['i32.eqz']).block(OP.if).op(OP.return).end()
      checkLast(out, context, 0, 1)
      out.block(OP.loop).get(2).set(LENGTH)
      atMost(toEdge(out, 0), LENGTH, 4)
      out.get(0).op(OP['i64.extend_i32_u']).i32(1).call(translate)
      run(out)
      out.get(0).get(LENGTH).op(OP['i32.add']).set(0)
      if (source) out.get(1).get(LENGTH).op(OP['i32.add']).set(1)
      out.get(2).get(LENGTH).op(OP['i32.sub']).tee(2).brIf(0).end()
    },
  })
}

function addInit(context: TlbContext, data: number): number {
  const init = (out: Code): Code => out.get(1).get(LENGTH).with2(OP['memory.init'], data, context.memory)
  // No bytes behind the end of the segment: traps if the piece is not in it.
  const before = (out: Code): void => {
    out.i32(0).get(1).get(2).op(OP['i32.add']).i32(0).with2(OP['memory.init'], data, context.memory)
  }
  return addRun(context, init, true, before)
}

/** memmove: from the front if the target is before the source, else from the back. */
function addCopy(context: TlbContext): number {
  const { rewriter, memory, translate } = context
  const fromEdge = (out: Code, at: number): Code =>
    out
      .get(at)
      .get(2)
      .op(OP['i32.add'])
      .i32(1)
      .op(OP['i32.sub'])
      .i32(4095)
      .op(OP['i32.and'])
      .i32(1)
      .op(OP['i32.add'])
  return rewriter.addFunction({
    name: 'lethe.copy',
    type: { params: [I32, I32, I32], results: [] },
    locals: [I32, I32, I32],
    body(out) {
      const backward = 5
      /** The place of local `at`; backwards that of the last LENGTH bytes. */
      const place = (at: number, write: number): void => {
        out.get(at).get(2).get(LENGTH).op(OP['i32.sub']).i32(0).get(backward).op(OP.select).op(OP['i32.add'])
        out.op(OP['i64.extend_i32_u']).i32(write).call(translate)
      }
      out.get(2).op(OP['i32.eqz']).block(OP.if).op(OP.return).end()
      checkLast(out, context, 1, 0)
      checkLast(out, context, 0, 1)
      out.get(0).get(1).op(OP['i32.gt_u']).set(backward)
      out.block(OP.loop).get(2).set(LENGTH)
      out.get(backward).block(OP.if)
      for (const at of [0, 1]) atMost(fromEdge(out, at), LENGTH, 4)
      out.else()
      for (const at of [0, 1]) atMost(toEdge(out, at), LENGTH, 4)
      out.end()
      place(0, 1)
      place(1, 0)
      out.get(LENGTH).with2(OP['memory.copy'], memory, memory)
      out.get(backward).op(OP['i32.eqz']).block(OP.if)
      for (const at of [0, 1]) out.get(at).get(LENGTH).op(OP['i32.add']).set(at)
      out.end()
      out.get(2).get(LENGTH).op(OP['i32.sub']).tee(2).brIf(0).end()
    },
  })
}
