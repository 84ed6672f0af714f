// Poll points: places that every endless course of the program passes, where it may be asked to stop.
//
// A global counts down; at zero an imported (or added) function is called, which sets the global again. Counted are the entries of functions
// that call (recursion goes through these) and the turns of loops. A loop without a call counts its turns in a local, and takes them off
// the global in lots: the counter in memory is what polls cost. The count depends on nothing but the program's course: the same run stops
// at the same place.
import type { Body, BodyVisitor } from './bodies.ts'
import type { Code } from './code.ts'
import { Cursor } from './instructions.ts'
import { type Func, I32 } from './module.ts'
import { OP } from './opcode-table.ts'
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

const calls: ReadonlySet<number> = new Set([
  OP.call,
  OP.call_indirect,
  OP.return_call,
  OP.return_call_indirect,
])
const opens: ReadonlySet<number> = new Set([OP.block, OP.loop, OP.if, OP.try, OP.try_table])

/** Adds poll points. */
export function addPolls(rewriter: Rewriter, { poll, lot = 256, only }: PollOptions): Polls {
  const budget = rewriter.addGlobal({ type: I32, mutable: true }, 0x7fff_ffff, 'lethe.budget')
  const cursor = new Cursor(new Uint8Array(0), 0)
  let plan: Plan = { calls: false, loops: [] }
  let next = 0

  const count = (out: Code, body: Body, counts: number): void => {
    const left = body.scratch(I32)
    out.getGlobal(budget).i32(counts).op(OP['i32.sub']).tee(left).setGlobal(budget)
    out.get(left).i32(0).op(OP['i32.le_s']).block(OP.if).call(poll).end()
  }
  const visitor: BodyVisitor = {
    ops: [OP.loop],
    enter(body, out) {
      if (only !== undefined && !only.has(body.original)) return false
      plan = planOf(rewriter.function(body.index) as Func, cursor)
      next = 0
      if (plan.calls) count(out, body, 1)
      return plan.calls || plan.loops.length > 0
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
        out.block(OP.if)
        count(out, body, lot)
        out.end()
      }
      return true
    },
  }
  rewriter.rewriteBodies(visitor)
  return { budget }
}

/** Whether the function calls, and whether each of its loops does, in order. */
interface Plan {
  calls: boolean
  loops: boolean[]
}

function planOf(func: Func, cursor: Cursor): Plan {
  const plan: Plan = { calls: false, loops: [] }
  /** The numbers of the loops around, -1 for another block. */
  const open: number[] = []
  cursor.reset(func.body, func.offset)
  while (cursor.next()) {
    const { op } = cursor
    if (opens.has(op)) open.push(op === OP.loop ? plan.loops.push(false) - 1 : -1)
    else if (op === OP.end || op === OP.delegate) open.pop()
    else if (calls.has(op)) {
      plan.calls = true
      for (const loop of open) if (loop >= 0) plan.loops[loop] = true
    }
  }
  return plan
}
