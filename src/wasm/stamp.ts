// Write stamps: a table in a memory of its own has one word for each page of the guest's memory, and every store writes the current
// epoch into the words of the pages it touches. Who wants to know what was written since: reads the table.
//
// Stores behind the same base that surely run together, with no call between them, are stamped at the first of them (bases.ts): who could
// begin a new epoch would have to be called. If one of them traps the stamps of those behind it are there.
//
// The epoch is a global that the host sets. What the host itself writes into the memory it has to stamp itself (`stampRange` does the same
// for the guest's bulk instructions).
import { accessOps, accessTypes, bulkOps, need32Bits, save } from './access.ts'
import { Bases } from './bases.ts'
import type { Body } from './bodies.ts'
import type { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import { type Func, I32, I64 } from './module.ts'
import { isStore, OP } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

export interface StampOptions {
  /** The memory whose stores are stamped. Default 0. */
  readonly memory?: number
  /** log2 of a page's bytes. Default 12. */
  readonly pageBits?: number
}

export interface Stamps {
  /** The memory with the table: a u32 for each page, page 0 first. Its index, as passes count. */
  readonly table: number
  /** The mutable i32 global that stores write into it. It begins as 1, the table as zeros. */
  readonly epoch: number
  /** A function (address, bytes): stamps all pages of a piece. */
  readonly stampRange: number
}

/** log2 of the bytes behind a base that one look is for: less than a page. */
const WINDOW = 11

/** Adds write stamps. The caller exports what the host needs of them. */
export function addStamps(rewriter: Rewriter, { memory = 0, pageBits = 12 }: StampOptions = {}): Stamps {
  need32Bits(rewriter, memory, 'write stamps')
  const tableBytes = 4 * 2 ** (32 - pageBits)
  const wasmPages = Math.ceil(tableBytes / 65_536)
  const table = rewriter.addMemory({ min: wasmPages, max: wasmPages, shared: false, is64: false })
  const epoch = rewriter.addGlobal({ type: I32, mutable: true }, 1, 'lethe.epoch')
  const stampRange = addStampRange(rewriter, table, epoch, pageBits)

  const bases = new Bases(rewriter, { memory, loads: false, window: Math.min(WINDOW, pageBits - 1) })
  const ahead = new Cursor(new Uint8Array(0), 0)
  const pageBytes = 2 ** pageBits
  const values: number[] = []
  let count = 0

  /** With an address on the stack: its page gets the epoch. */
  const stamp = (out: Code): void => {
    out
      .i32(pageBits - 2)
      .op(OP['i32.shr_u'])
      .i32(-4)
      .op(OP['i32.and'])
    out.getGlobal(epoch).access(OP['i32.store'], 0, table)
  }
  const stampConstant = (out: Code, address: number): void => {
    out.i32(0).getGlobal(epoch)
    out.access(OP['i32.store'], Math.floor(address / pageBytes) * 4, table)
  }
  const store = (i: Cursor, out: Code, body: Body): void => {
    if (i.index !== memory) return
    const access = count++
    const group = bases.group(access)
    if (access !== group.first) return
    // The first store stamps for the whole group: from its lowest byte to its highest, on two pages at most.
    const from = group.window + group.low
    const last = group.high - group.low - 1
    if (group.constant) {
      stampConstant(out, from)
      if ((from % pageBytes) + last >= pageBytes) stampConstant(out, from + last)
      return
    }
    save(i.op, out, body, values)
    const address = body.scratch(I32)
    const lowest = (): Code =>
      from > 0
        ? out
            .get(address)
            .i32(from | 0)
            .op(OP['i32.add'])
        : out.get(address)
    out.tee(address)
    if (from > 0) out.i32(from | 0).op(OP['i32.add'])
    stamp(out)
    if (last > 0) {
      lowest()
      // Who keeps to the alignment that its code promises is on one page.
      if (group.first === group.last && 2 ** i.align === last + 1) out.i32(last).op(OP['i32.and'])
      else
        out
          .i32(pageBytes - 1)
          .op(OP['i32.and'])
          .i32(pageBytes - 1 - last)
          .op(OP['i32.gt_u'])
      out
        .hint(false)
        .block(OP.if)
        .get(address)
        .i32((from + last) | 0)
        .op(OP['i32.add'])
      stamp(out)
      out.end()
    }
    out.get(address)
    for (let n = 0; n < accessTypes(i.op).operands.length; n++) out.get(values[n] as number)
  }
  const bulk = (i: Cursor, out: Code, body: Body): void => {
    const to = i.op === OP['memory.init'] ? i.index2 : i.index
    if (to !== memory) return
    const [address, source, length] = [body.scratch(I32), body.scratch(I32, 1), body.scratch(I32, 2)]
    out.set(length).set(source).tee(address).get(length).call(stampRange)
    out.get(address).get(source).get(length)
  }
  rewriter.rewriteBodies({
    ops: [...accessOps.filter(isStore), ...bulkOps],
    enter(body) {
      const { body: code, offset } = rewriter.function(body.index) as Func
      bases.analyse(ahead.reset(code, offset), body.localCount)
      count = 0
      return bases
    },
    instruction: (i, out, body) => (isStore(i.op) ? store(i, out, body) : bulk(i, out, body)),
  })
  return { table, epoch, stampRange }
}

function addStampRange(rewriter: Rewriter, table: number, epoch: number, pageBits: number): number {
  return rewriter.addFunction({
    name: 'lethe.stampRange',
    type: { params: [I32, I32], results: [] },
    locals: [I32, I64],
    // The words from that of the first page to that of the last one; a piece of no bytes has none.
    body(out) {
      out.get(1).op(OP['i32.eqz']).block(OP.if).op(OP.return).end()
      out.get(0).op(OP['i64.extend_i32_u']).get(1).op(OP['i64.extend_i32_u']).op(OP['i64.add'])
      out.i64(1n).op(OP['i64.sub']).i64(BigInt(pageBits)).op(OP['i64.shr_u']).set(3)
      out.get(0).i32(pageBits).op(OP['i32.shr_u']).set(2)
      out.block(OP.block).block(OP.loop)
      // A piece that ends behind the memory traps when it is written; the table has no words for it.
      out.get(2).op(OP['i64.extend_i32_u']).get(3).op(OP['i64.gt_u'])
      out
        .get(2)
        .i32(2 ** (32 - pageBits) - 1)
        .op(OP['i32.gt_u'])
        .op(OP['i32.or'])
        .brIf(1)
      out.get(2).i32(2).op(OP['i32.shl']).getGlobal(epoch).access(OP['i32.store'], 0, table)
      out.get(2).i32(1).op(OP['i32.add']).set(2).br(0).end().end()
    },
  })
}
