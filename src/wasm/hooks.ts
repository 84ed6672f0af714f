// Every access reported: to a function, or into a buffer that a function empties.
//
// A report is made before the access. With `kind` from `accessKind`: who watches sees bytes, whether they are read or written, and the
// address. Bulk instructions are reported as pieces.
import { accessOps, addOffset, bulkOps, need32Bits, save } from './access.ts'
import type { Body } from './bodies.ts'
import type { Code } from './code.ts'
import type { Cursor } from './instructions.ts'
import { I32 } from './module.ts'
import { isLoad, isStore, OP, widths } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

export const READ = 0x100
export const WRITE = 0x200

/** Bytes of the access (up to 16), with READ, WRITE or both added. */
function accessKind(op: number): number {
  return (widths[op] as number) | (isLoad(op) ? READ : 0) | (isStore(op) ? WRITE : 0)
}

export interface HookOptions {
  readonly memory?: number
  /** Only these accesses. Default: both. */
  readonly of?: 'loads' | 'stores'
  /**
   * `call`: a function (address, kind) for each access. `buffer`: accesses are pairs of i32 (address, kind) in a memory of the module's own;
   * `flush` is a function (pairs) that is called when there are `pairs` of them.
   */
  readonly report: { readonly call: number } | { readonly flush: number; readonly pairs: number }
  /** A function (address, bytes, READ or WRITE) for the pieces of bulk instructions. With a buffer it is emptied before. */
  readonly piece: number
}

export interface Hooks {
  /** With a buffer: its memory, and the mutable i32 global with the bytes that are in it. The host flushes what is left at the end. */
  readonly buffer: number | undefined
  readonly filled: number | undefined
}

/** Adds hooks before all accesses of a memory. */
export function addHooks(rewriter: Rewriter, { memory = 0, of, report, piece }: HookOptions): Hooks {
  need32Bits(rewriter, memory, 'hooks')
  let buffer: number | undefined
  let filled: number | undefined
  let note: number
  let empty: number | undefined
  if ('call' in report) note = report.call
  else {
    const wasmPages = Math.ceil((report.pairs * 8) / 65_536)
    buffer = rewriter.addMemory({ min: wasmPages, max: wasmPages, shared: false, is64: false })
    filled = rewriter.addGlobal({ type: I32, mutable: true }, 0, 'lethe.filled')
    const at = filled
    empty = rewriter.addFunction({
      name: 'lethe.flush',
      type: { params: [], results: [] },
      body: out => out.getGlobal(at).i32(3).op(OP['i32.shr_u']).i32(0).setGlobal(at).call(report.flush),
    })
    note = addNote(rewriter, buffer, at, report.pairs, empty)
  }
  const instruction = (i: Cursor, out: Code, body: Body): boolean | void => {
    if (bulkOps.includes(i.op)) return pieces(i, out, body, { memory, of, piece, empty })
    if (i.index !== memory) return
    const values = save(i.op, out, body)
    const address = body.scratch(I32)
    out.tee(address)
    addOffset(out, i)
    out.i32(accessKind(i.op)).call(note).get(address)
    for (const value of values) out.get(value)
  }
  const wanted = (op: number): boolean =>
    of === undefined ? isLoad(op) || isStore(op) : of === 'loads' ? isLoad(op) : isStore(op)
  rewriter.rewriteBodies({ ops: [...accessOps.filter(wanted), ...bulkOps], instruction })
  return { buffer, filled }
}

function addNote(rewriter: Rewriter, buffer: number, filled: number, pairs: number, empty: number): number {
  return rewriter.addFunction({
    name: 'lethe.note',
    type: { params: [I32, I32], results: [] },
    locals: [I32],
    body(out) {
      out.getGlobal(filled).tee(2).get(0).access(OP['i32.store'], 0, buffer)
      out.get(2).get(1).access(OP['i32.store'], 4, buffer)
      out.get(2).i32(8).op(OP['i32.add']).tee(2).setGlobal(filled)
      out
        .get(2)
        .i32(pairs * 8)
        .op(OP['i32.ge_u'])
        .block(OP.if)
        .call(empty)
        .end()
    },
  })
}

interface PieceHook {
  readonly memory: number
  readonly of: 'loads' | 'stores' | undefined
  readonly piece: number
  readonly empty: number | undefined
}

function pieces(i: Cursor, out: Code, body: Body, { memory, of, piece, empty }: PieceHook): void {
  const copy = i.op === OP['memory.copy']
  const to = i.op === OP['memory.init'] ? i.index2 : i.index
  const writes = of !== 'loads' && to === memory
  const reads = of !== 'stores' && copy && i.index2 === memory
  if (!writes && !reads) return
  const [address, source, length] = [body.scratch(I32), body.scratch(I32, 1), body.scratch(I32, 2)]
  out.set(length).set(source).set(address)
  if (empty !== undefined) out.call(empty)
  if (reads) out.get(source).get(length).i32(READ).call(piece)
  if (writes) out.get(address).get(length).i32(WRITE).call(piece)
  out.get(address).get(source).get(length)
}
