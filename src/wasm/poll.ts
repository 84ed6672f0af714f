// Poll points: places that every endless course of the program passes, where it may be asked to stop.
//
// A global counts down; at zero an imported (or added) function is called, which sets the global again. Counted are the entries of functions
// that call (recursion goes through these) and the turns of loops. A loop without a call counts its turns in a local, and takes them off
// the global in lots: the counter in memory is what polls cost. The count depends on nothing but the program's course: the same run stops
// at the same place.
import type { Body, BodyVisitor } from './bodies.ts'
import { Row } from './bytes.ts'
import type { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import { type Func, I32 } from './module.ts'
import { Imm, immediates, OP, OPCODES } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

export interface PollOptions {
  /** The function () -> () that is called when the budget is used up. It has to set the budget again. */
  readonly poll: number
  /** Turns of a loop without a call that are counted at once, a power of two; 0: such loops are left out. Default 256. */
  readonly lot?: number
  /** Which functions, by their index in the decoded module; all if absent. */
  readonly only?: ReadonlySet<number>
}

export interface Polls {
  /** The mutable i32 global: how many more counts until the next poll. It begins as 2^31 - 1. */
  readonly budget: number
}

/** What a function's plan has to know of an opcode: it calls, opens or closes a block, names a function. */
const CALLS = 1
const OPENS = 2
const CLOSES = 4
const NAMES = 8
const kinds = new Uint8Array(OPCODES)
for (const op of [OP.call, OP.call_indirect, OP.return_call, OP.return_call_indirect]) kinds[op] = CALLS
for (const op of [OP.block, OP.loop, OP.if, OP.try, OP.try_table]) kinds[op] = OPENS
for (const op of [OP.end, OP.delegate]) kinds[op] = CLOSES
for (let op = 0; op < OPCODES; op++)
  if (immediates[op] === Imm.func) kinds[op] = (kinds[op] as number) | NAMES

/** Adds poll points. */
export function addPolls(rewriter: Rewriter, { poll, lot = 256, only }: PollOptions): Polls {
  const budget = rewriter.addGlobal({ type: I32, mutable: true }, 0x7fff_ffff, 'lethe.budget')
  const cursor = new Cursor(new Uint8Array(0), 0)
  const plan = new Plan()
  let next = 0

  const count = (out: Code, body: Body, counts: number): void => {
    const left = body.scratch(I32)
    out.getGlobal(budget).i32(counts).op(OP['i32.sub']).tee(left).setGlobal(budget)
    out.get(left).i32(0).op(OP['i32.le_s']).hint(false).block(OP.if).call(poll).end()
  }
  const visitor: BodyVisitor = {
    enter(body, out) {
      if (only !== undefined && !only.has(body.original)) return false
      plan.make(rewriter.function(body.index) as Func, cursor)
      next = 0
      if (plan.calls) count(out, body, 1)
      return plan
    },
    instruction(_, out, body) {
      const loop = plan.loops[next++]
      body.keep()
      if (loop === true) count(out, body, 1)
      else if (lot > 0) {
        const turns = body.scratch(I32, 1)
        out
          .get(turns)
          .i32(1)
          .op(OP['i32.add'])
          .tee(turns)
          .i32(lot - 1)
          .op(OP['i32.and'])
          .op(OP['i32.eqz'])
        out.hint(false).block(OP.if)
        count(out, body, lot)
        out.end()
      }
      return true
    },
  }
  rewriter.rewriteBodies(visitor)
  return { budget }
}

/** Whether a function calls, whether each of its loops does, in order, and where they are. */
class Plan {
  readonly places: Row = new Row()
  readonly functions: Row = new Row()
  readonly loops: boolean[] = []
  calls = false
  /** The numbers of the loops around, -1 for another block. */
  readonly #open: number[] = []

  make(func: Func, cursor: Cursor): void {
    const open = this.#open
    this.places.length = this.functions.length = this.loops.length = open.length = 0
    this.calls = false
    cursor.reset(func.body, func.offset)
    while (cursor.next()) {
      const kind = kinds[cursor.op] as number
      if (kind === 0) continue
      if ((kind & NAMES) !== 0) this.functions.push(cursor.at + 1)
      if ((kind & CALLS) !== 0) {
        this.calls = true
        for (const loop of open) if (loop >= 0) this.loops[loop] = true
      } else if ((kind & OPENS) !== 0) {
        if (cursor.op === OP.loop) this.places.push(cursor.at)
        open.push(cursor.op === OP.loop ? this.loops.push(false) - 1 : -1)
      } else if ((kind & CLOSES) !== 0) open.pop()
    }
  }
}
