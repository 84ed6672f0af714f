// A software TLB: every address of the guest is translated, so that its pages can be anywhere in the memory, or nowhere.
//
// The memory becomes the frames. For each page of the guest's 4 GiB a table has one word for reading and one for writing: what has to be
// added (modulo 2^32) to an address to get its place in the frames. Zero, as the tables begin, is a page in its own place: a guest runs
// as before until the host moves something. A page that is absent (or may not be written, in the second table) has the word that makes
// the sum ABSENT or more; frames are below that. So one look-up, one addition and one comparison decide:
//
//     place = address + table[address >> 12]
//     (place & (ABSENT | 0xfff)) > 4096 - width   ->  absent, or the access goes over the edge of its page
//
// The rare cases go through a function, which calls `fault` (address, kind) until the page is there; an access over an edge is put together
// byte by byte. Addresses of 2^32 and more (address + offset) have words behind the table, which are absent for ever: they trap.
import { accessOps, accessTypes, bulkOps, need32Bits, save } from './access.ts'
import type { Body } from './bodies.ts'
import { type Code, resultType } from './code.ts'
import type { Cursor } from './instructions.ts'
import { I32, I64 } from './module.ts'
import { Imm, immediates, isStore, OP, widths } from './opcode-table.ts'
import { constant, type Rewriter } from './rewrite.ts'
import { addPieces, addTranslate, SlowAccesses, type TlbContext } from './tlb-slow.ts'

/** Places in the frames from here on are none: what an absent page's addresses come to. */
export const ABSENT = 0x8000_0000
/** Bytes of a page: the operating system's. */
const PAGE = 4096
/** Words of a table for the 2^20 pages. */
const WORDS = 2 ** 20
/** Offsets up to here are looked up behind the table's end; accesses with larger ones always go through the function. */
const NEAR = 2 ** 20

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

  const access = (i: Cursor, out: Code, body: Body): boolean => {
    if (i.index !== memory) return false
    const kind = immediates[i.op] as number
    const width = widths[i.op] as number
    const values = save(i.op, out, body)
    const { operands, result } = accessTypes(i.op)
    const address = body.scratch(I64)
    const place = body.scratch(I32)
    const rare = (): void => {
      for (const value of values) out.get(value)
      out.call(slow.of(i.op, kind === Imm.memLane ? i.lane : undefined, operands, result))
    }
    out.op(OP['i64.extend_i32_u'])
    if (i.offset > 0) out.i64(BigInt(i.offset)).op(OP['i64.add'])
    if (i.offset > NEAR) {
      rare()
      return true
    }
    // The word: (address >> 12) * 4.
    out.tee(address).i64(10n).op(OP['i64.shr_u']).op(OP['i32.wrap_i64']).i32(-4).op(OP['i32.and'])
    out.access(OP['i32.load'], isStore(i.op) ? writes : 0, table)
    out.get(address).op(OP['i32.wrap_i64']).op(OP['i32.add']).tee(place)
    // One byte never goes over an edge, but it may be absent.
    if (width === 1) out.i32(0).op(OP['i32.lt_s'])
    else
      out
        .i32(ABSENT | (PAGE - 1) | 0)
        .op(OP['i32.and'])
        .i32(PAGE - width)
        .op(OP['i32.gt_u'])
    out.block(OP.if, result === undefined ? undefined : resultType(result))
    out.get(address)
    rare()
    out.else().get(place)
    for (const value of values) out.get(value)
    out.access(i.op, 0, memory, i.align)
    if (kind === Imm.memLane) out.byte(i.lane)
    out.end()
    return true
  }
  rewriter.rewriteBodies({
    ops: [...accessOps, ...bulkOps],
    instruction: (i, out, body) => (bulkOps.includes(i.op) ? pieces(i, out) : access(i, out, body)),
  })
  return { table, reads: 0, writes }
}
