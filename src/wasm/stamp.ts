// Write stamps: a table in a memory of its own has one word for each page of the guest's memory, and every store writes the current
// epoch into the words of the pages it touches. Who wants to know what was written since: reads the table.
//
// The epoch is a global that the host sets. What the host itself writes into the memory it has to stamp itself (`stampRange` does the same
// for the guest's bulk instructions).
import { accessOps, addOffset, bulkOps, need32Bits, save } from './access.ts'
import type { Body } from './bodies.ts'
import type { Code } from './code.ts'
import type { Cursor } from './instructions.ts'
import { I32, I64 } from './module.ts'
import { isStore, OP, widths } from './opcode-table.ts'
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

/** Adds write stamps. The caller exports what the host needs of them. */
export function addStamps(rewriter: Rewriter, { memory = 0, pageBits = 12 }: StampOptions = {}): Stamps {
  need32Bits(rewriter, memory, 'write stamps')
  const tableBytes = 4 * 2 ** (32 - pageBits)
  const wasmPages = Math.ceil(tableBytes / 65_536)
  const table = rewriter.addMemory({ min: wasmPages, max: wasmPages, shared: false, is64: false })
  const epoch = rewriter.addGlobal({ type: I32, mutable: true }, 1, 'lethe.epoch')
  const stampRange = addStampRange(rewriter, table, epoch, pageBits)

  /** With an address on the stack: its page gets the epoch. */
  const stamp = (out: Code): void => {
    out
      .i32(pageBits)
      .op(OP['i32.shr_u'])
      .i32(2)
      .op(OP['i32.shl'])
      .getGlobal(epoch)
      .access(OP['i32.store'], 0, table)
  }
  const store = (i: Cursor, out: Code, body: Body): boolean | void => {
    if (i.index !== memory) return
    const values = save(i.op, out, body)
    const address = body.scratch(I32)
    out.tee(address)
    addOffset(out, i)
    stamp(out)
    const width = widths[i.op] as number
    if (width > 1) {
      // A store may go over the edge of its page.
      out
        .get(address)
        .i32((i.offset + width - 1) | 0)
        .op(OP['i32.add'])
      stamp(out)
    }
    out.get(address)
    for (const value of values) out.get(value)
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
    instruction: (i, out, body) => (bulkOps.includes(i.op) ? bulk(i, out, body) : store(i, out, body)),
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
