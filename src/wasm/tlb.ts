// A software TLB: every address of the guest is translated, so that its pages can be anywhere in the memory, or nowhere.
//
// The memory becomes the frames. For each page of the guest's 4 GiB a table has one word for reading and one for writing: what has to be
// added (modulo 2^32) to an address to get its place in the frames. Zero, as the tables begin, is a page in its own place: a guest runs
// as before until the host moves something. A page that is absent (or may not be written, in the second table) has the word that makes
// the sum ABSENT or more; frames are below that. Who may write a page may read it, in the same place. So one look-up, one addition and one comparison decide:
//
//     place = address + table[address >> 12]
//     (place & (ABSENT | 0xfff)) <= 4096 - width   or else absent, or the access goes over the edge of its page
//
// Accesses behind the same base share a look-up (bases.ts): the first one looks for all bytes that they touch, and keeps the place; the
// others only ask whether it is one. The rare cases go through a function, which calls `fault` (address, kind) until the page is there; an
// access over an edge is put together byte by byte. As `fault` may move every page, all places that are kept are none after it.
// Addresses of 2^32 and more (address + offset) have words behind the table, which are absent for ever: they trap.
import { accessOps, accessTypes, bulkOps, need32Bits, save } from './access.ts'
import { Bases, type Group } from './bases.ts'
import type { Body } from './bodies.ts'
import { type Code, resultType } from './code.ts'
import { Cursor } from './instructions.ts'
import { type Func, I32, I64 } from './module.ts'
import { Imm, immediates, isAccess, OP, widths } from './opcode-table.ts'
import { constant, type Rewriter } from './rewrite.ts'
import { addPieces, addTranslate, SlowAccesses, type TlbContext } from './tlb-slow.ts'

/** Places in the frames from here on are none: what an absent page's addresses come to. */
export const ABSENT = 0x8000_0000
/** Bytes of a page: the operating system's. */
const PAGE = 4096
/** Words of a table for the 2^20 pages. */
const WORDS = 2 ** 20
/** Offsets up to here are looked up behind the table's end; larger ones are added and the sum is looked at. */
const NEAR = 2 ** 20
/** log2 of the bytes that one look at a page is for. */
const WINDOW = 8
/** Scratch locals of i32 behind those of save(): the place of an access that is alone, an address with its offset. */
const PLACE = 3
const SUM = 4

export interface TlbOptions {
  readonly memory?: number
  /**
   * A function (address, write: 0 or 1) -> (): has to make the page of the address present (for writing), or throw. It is called again
   * until the page is there.
   */
  readonly fault: number
}

export interface Tlb {
  /** The memory with both tables. Its index, as passes count. */
  readonly table: number
  /** Where in it the word of page 0 is, for reads and for writes. */
  readonly reads: number
  readonly writes: number
}

/** The word for a page (its number) whose bytes are at `frame` in the memory. */
export function tlbWord(page: number, frame: number): number {
  return (frame - page * PAGE) | 0
}
/** The word for a page that is absent. */
export function absentWord(page: number): number {
  return tlbWord(page, ABSENT)
}

/** Translates every access to a memory. Before virtualiseSize, or after it: they don't touch each other's instructions. */
export function addTlb(rewriter: Rewriter, { memory = 0, fault }: TlbOptions): Tlb {
  need32Bits(rewriter, memory, 'a software TLB')
  const extra = Math.ceil(NEAR / PAGE) + 2
  const writes = (WORDS + extra) * 4
  const scratch = 2 * writes
  const wasmPages = Math.ceil((scratch + 64) / 65_536)
  const table = rewriter.addMemory({ min: wasmPages, max: wasmPages, shared: false, is64: false })
  const behind = new Uint8Array(new Uint32Array(extra).fill(ABSENT).buffer)
  for (const at of [WORDS * 4, writes + WORDS * 4])
    rewriter.datas.push({ memory: table, offset: constant(I32, at), bytes: behind })
  const context: TlbContext = {
    rewriter,
    memory,
    table,
    translate: addTranslate(rewriter, { table, writes, fault }),
  }
  const slow = new SlowAccesses(context, scratch)
  const pieces = addPieces(context)

  const bases = new Bases(rewriter, { memory, loads: true, window: WINDOW })
  const ahead = new Cursor(new Uint8Array(0), 0)
  const open: Group[] = []
  const free: number[] = []
  const values: number[] = []
  let count = 0

  /**
   * With the address on the stack, which goes into scratch 0: leaves there whether the place of the window, which goes into `place`, is good
   * for all accesses of the group.
   */
  const look = (
    out: Code,
    body: Body,
    group: Group,
    from: number,
    high: number,
    place: number,
    aligned: boolean,
  ): void => {
    const base = body.scratch(I32)
    const word = group.writes ? writes : 0
    const entry = (): Code => out.i32(-4).op(OP['i32.and']).access(OP['i32.load'], word, table)
    const far = !group.constant && from > NEAR
    if (group.constant) {
      out
        .set(base)
        .i32(0)
        .access(OP['i32.load'], word + Math.floor(from / PAGE) * 4, table)
      out.i32(from | 0)
    } else if (from === 0 || far) {
      const sum = from === 0 ? base : body.scratch(I32, SUM)
      out.tee(base)
      if (far)
        out
          .i32(from | 0)
          .op(OP['i32.add'])
          .tee(sum)
      out.i32(10).op(OP['i32.shr_u'])
      entry().get(sum)
    } else {
      const sum = body.scratch(I64)
      out.tee(base).op(OP['i64.extend_i32_u']).i64(BigInt(from)).op(OP['i64.add']).tee(sum)
      out.i64(10n).op(OP['i64.shr_u']).op(OP['i32.wrap_i64'])
      entry().get(sum).op(OP['i32.wrap_i64'])
    }
    out.op(OP['i32.add']).tee(place)
    if (high === 1 || (group.constant && (from % PAGE) + high <= PAGE)) out.i32(0).op(OP['i32.ge_s'])
    else if (aligned)
      out
        .i32(ABSENT | (high - 1) | 0)
        .op(OP['i32.and'])
        .op(OP['i32.eqz'])
    else
      out
        .i32(ABSENT | (PAGE - 1) | 0)
        .op(OP['i32.and'])
        .i32(PAGE - high)
        .op(OP['i32.le_u'])
    // A sum that went over 2^32 is smaller than what was added.
    if (far)
      out
        .get(body.scratch(I32, SUM))
        .i32(from | 0)
        .op(OP['i32.ge_u'])
        .op(OP['i32.and'])
  }

  const access = (i: Cursor, out: Code, body: Body): boolean => {
    if (i.index !== memory) return false
    const access = count++
    const group = bases.group(access)
    save(i.op, out, body, values)
    const { operands, result } = accessTypes(i.op)
    const lane = immediates[i.op] === Imm.memLane ? i.lane : undefined
    const base = body.scratch(I32)
    const alone = group.first === group.last
    // Who is alone may have a window where it begins, which is in fewer pages.
    const exact = alone && group.window > 0 ? bases.inWindow(access) : 0
    const offset = bases.inWindow(access) - exact
    let place = group.local
    if (access === group.first) {
      place = alone ? body.scratch(I32, PLACE) : (free.pop() ?? body.addLocal(I32))
      group.local = place
      look(
        out,
        body,
        group,
        group.window + exact,
        group.high - exact,
        place,
        alone && 2 ** i.align === widths[i.op] && offset === 0,
      )
      if (!alone) open.push(group)
    } else out.set(base).get(place).i32(0).op(OP['i32.ge_s'])
    if (!alone && access === group.last) {
      open.splice(open.indexOf(group), 1)
      free.push(place)
    }
    out.hint(true).block(OP.if, result === undefined ? undefined : resultType(result))
    out.get(place)
    for (let n = 0; n < operands.length; n++) out.get(values[n] as number)
    out.access(i.op, offset, memory, i.align)
    if (lane !== undefined) out.byte(lane)
    out.else().get(base)
    for (let n = 0; n < operands.length; n++) out.get(values[n] as number)
    out.i32(i.offset | 0).call(slow.of(i.op, lane, operands, result))
    // `fault` may have moved any page.
    for (let n = 0; n < open.length; n++) out.i32(-1).set((open[n] as Group).local)
    out.end()
    return true
  }
  rewriter.rewriteBodies({
    ops: [...accessOps, ...bulkOps],
    enter(body) {
      const { body: code, offset } = rewriter.function(body.index) as Func
      bases.analyse(ahead.reset(code, offset), body.localCount)
      count = 0
      free.length = open.length = 0
      return bases
    },
    instruction: (i, out, body) => (isAccess(i.op) ? access(i, out, body) : pieces(i, out)),
  })
  return { table, reads: 0, writes }
}
