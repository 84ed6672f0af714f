// What the engine keeps for itself, made visible: a guest's pointers in locals and on the operand stack.
//
// A collector outside of the guest sees its memory and its globals. Of the functions that are under way it sees nothing. So before each
// call that can come to malloc, what is still needed behind the call and can hold a pointer goes into a stack of our own, in a second memory:
//
//     own = top                        at the entry of a function that has such calls
//     roots[own …] = live values       before the call
//     top = own + their bytes
//
// A callee's begin is what `top` is when it is called. Nobody takes anything off: who calls next says again where its own ends. So a trap or an
// exception leaves nothing wrong, and what is on the stack at a collection is exactly what the functions under way still need.
//
// Live are: locals by their liveness (wasm/liveness.ts); what lies on the operand stack under the call's arguments; and the same of the blocks around,
// which is put into locals when such a block begins, for it can't be reached from inside.
import type { Body } from '../wasm/bodies.ts'
import type { Code } from '../wasm/code.ts'
import { Cursor } from '../wasm/instructions.ts'
import { Liveness } from '../wasm/liveness.ts'
import { type Func, type FuncType, I32, I64, type Module, V128, type ValueType } from '../wasm/module.ts'
import { OP, type OpName } from '../wasm/opcode-table.ts'
import { type Reach, reachOf } from '../wasm/reach.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import { Typer } from '../wasm/typer.ts'
import { typeContext } from '../wasm/validate.ts'
import type { Pass } from './load.ts'
import { listed, type MallocFunctions, placed } from './malloc-functions.ts'

/** Exports that the pass adds: the stack of roots, the mutable global with the bytes that are on the stack of roots, and the guest's own globals by their number. */
export const rootsName = 'lethe:gc roots'
export const topName = 'lethe:gc top'
export const globalName = (n: number): string => `lethe:gc global ${n}`
/** The engine's own stack is of 1 MiB, and has everything that is here too. */
const rootsPages = 64

const stores: Readonly<Partial<Record<ValueType, { readonly op: number; readonly bytes: number }>>> = {
  [I32]: { op: OP['i32.store'], bytes: 4 },
  // Two pointers that are copied at once.
  [I64]: { op: OP['i64.store'], bytes: 8 },
  [V128]: { op: OP['v128.store'], bytes: 16 },
}

const smallNames: readonly OpName[] = [
  'i32.const',
  'i32.eqz',
  'i64.eqz',
  'i32.load8_s',
  'i32.load8_u',
  'i32.load16_s',
  'i32.load16_u',
  'i64.const',
  'i64.load8_s',
  'i64.load8_u',
  'i64.load16_s',
  'i64.load16_u',
  'i32.clz',
  'i32.ctz',
  'i32.popcnt',
  'i32.extend8_s',
  'i32.extend16_s',
  'memory.size',
]
/** What these give is no pointer into a heap. From i32.eq to f64.ge all are comparisons. */
const small: ReadonlySet<number> = new Set([
  ...smallNames.map(name => OP[name]),
  ...Array.from({ length: OP['f64.ge'] - OP['i32.eq'] + 1 }, (_, n) => OP['i32.eq'] + n),
])

const opens: ReadonlySet<number> = new Set([OP.block, OP.loop, OP.if, OP.try, OP.try_table])

interface Value {
  readonly local: number
  readonly type: ValueType
}

/** What is known of a function before it is rewritten. */
interface Plan {
  /** For each call that can collect, in order: the locals that can hold a pointer and are live behind it. */
  readonly live: readonly (readonly Value[])[]
  /** For each block in order: whether there is such a call in it. */
  readonly calls: readonly boolean[]
}

/** Before each call that can come to one of these functions the roots are put where they can be seen. */
export function spillRoots(functions: MallocFunctions): Pass {
  return {
    name: `spill-roots 1 ${listed(functions)}`,
    apply(module: Module): Module {
      const rewriter = new Rewriter(module)
      const limits = { min: rootsPages, max: rootsPages, shared: false, is64: false }
      const memory = rewriter.addMemory(limits)
      rewriter.addExport(rootsName, 'memory', memory)
      for (let n = rewriter.count('global') - 1; n >= 0; n--) {
        const { type, mutable } = rewriter.globalType(n)
        if (mutable && (type === I32 || type === I64)) rewriter.addExport(globalName(n), 'global', n)
      }
      const top = rewriter.addGlobal({ type: I32, mutable: true }, 0, 'lethe.top')
      rewriter.addExport(topName, 'global', top)
      const family = placed(module, functions)
      const goals = [...family].filter(([, role]) => role !== 'free' && role !== 'malloc_usable_size')
      const reach = reachOf(module, new Set(goals.map(([index]) => index)))
      const spiller = new Spiller(module, rewriter, reach, memory, top)
      rewriter.rewriteBodies({
        enter: (body, out) => !family.has(body.index) && spiller.enter(body, out),
        instruction: (i, out, body) => spiller.instruction(i, out, body),
      })
      return rewriter.finish()
    },
  }
}

class Spiller {
  readonly #rewriter: Rewriter
  readonly #reach: Reach
  readonly #memory: number
  readonly #top: number
  readonly #typer: Typer
  readonly #cursor = new Cursor(new Uint8Array(0), 0)
  readonly #liveness = new Liveness()
  #plan: Plan = { live: [], calls: [] }
  #call = 0
  #block = 0
  #own = 0
  /** For each open block: what lies under it, and how many scratch locals of each type that took. */
  #homes: { readonly values: readonly Value[]; readonly taken: readonly ValueType[] }[] = []

  constructor(module: Module, rewriter: Rewriter, reach: Reach, memory: number, top: number) {
    this.#typer = new Typer(typeContext(module))
    this.#rewriter = rewriter
    this.#reach = reach
    this.#memory = memory
    this.#top = top
  }

  #collects({ op, index }: Cursor): boolean {
    if (op === OP.call || op === OP.return_call) return this.#reach.call(index)
    return (op === OP.call_indirect || op === OP.return_call_indirect) && this.#reach.indirect(index)
  }

  enter(body: Body, out: Code): boolean {
    const func = this.#rewriter.function(body.index) as Func
    this.#typer.start(body.type, func.locals, func.offset)
    this.#plan = this.#planOf(func, body)
    if (this.#plan.live.length === 0) return false
    this.#call = this.#block = 0
    this.#homes = []
    this.#own = body.addLocal(I32)
    out.getGlobal(this.#top).set(this.#own)
    return true
  }

  #planOf(func: Func, { localCount, type }: Body): Plan {
    const calls: boolean[] = []
    const open: number[] = []
    const cursor = this.#cursor.reset(func.body, func.offset)
    const pointers = new Uint8Array(localCount).fill(1, 0, type.params.length)
    let before = -1
    let any = false
    while (cursor.next()) {
      const { op } = cursor
      if (opens.has(op)) open.push(calls.push(false) - 1)
      else if (op === OP.end || op === OP.delegate) open.pop()
      else if (op === OP['local.set'] || op === OP['local.tee']) {
        if (!small.has(before)) pointers[cursor.index] = 1
      } else if (this.#collects(cursor)) {
        any = true
        for (const n of open) calls[n] = true
      }
      before = op
    }
    if (!any) return { live: [], calls }
    const typed = Array.from({ length: localCount }, (_, local) => ({
      local,
      type: this.#typer.local(local),
    }))
    const live = this.#liveness
      .analyse(cursor.reset(func.body, func.offset), localCount, i => this.#collects(i))
      .map(locals =>
        locals.flatMap(n => {
          const value = typed[n] as Value
          return pointers[n] === 1 && stores[value.type] !== undefined ? [value] : []
        }),
      )
    return { live, calls }
  }

  instruction(i: Cursor, out: Code, body: Body): boolean {
    const { op } = i
    if (opens.has(op)) this.#open(i, out, body)
    else if (this.#collects(i)) this.#spill(i, out, body)
    this.#typer.step(i)
    if ((op === OP.end || op === OP.delegate) && this.#typer.depth > 0) this.#homes.pop()
    return false
  }

  #open(i: Cursor, out: Code, body: Body): void {
    const { params } = this.#typer.block(i.blockType)
    const above = params.length + (i.op === OP.if ? 1 : 0)
    const inside = this.#plan.calls[this.#block++] === true && this.#typer.reachable
    this.#homes.push(inside ? this.#home(above, out, body) : { values: [], taken: [] })
  }

  // Puts what lies under the first `above` operands into locals, and leaves it where it is.
  #home(above: number, out: Code, body: Body): { values: Value[]; taken: ValueType[] } {
    const typer = this.#typer
    let deepest = typer.height - 1
    while (deepest >= above && stores[typer.operand(deepest)] === undefined) deepest--
    const taken: ValueType[] = []
    const values: Value[] = []
    if (deepest < above) return { values, taken }
    const used = this.#homes.flatMap(home => home.taken)
    const locals: number[] = []
    for (let n = 0; n <= deepest; n++) {
      const type = typer.operand(n)
      const same = (other: ValueType): boolean => other === type
      const local = body.scratch(type, used.filter(same).length + taken.filter(same).length)
      taken.push(type)
      locals.push(local)
      out.set(local)
      if (n >= above && stores[type] !== undefined) values.push({ local, type })
    }
    for (const local of locals.toReversed()) out.get(local)
    return { values, taken }
  }

  #spill(i: Cursor, out: Code, body: Body): void {
    const live = this.#plan.live[this.#call++] as readonly Value[]
    if (!this.#typer.reachable) return
    const direct = i.op === OP.call || i.op === OP.return_call
    const type = direct ? this.#rewriter.functionType(i.index) : (this.#rewriter.types[i.index] as FuncType)
    const leaves = i.op === OP.return_call || i.op === OP.return_call_indirect
    const under = leaves ? [] : this.#home(type.params.length + (direct ? 0 : 1), out, body).values
    const around = leaves ? [] : this.#homes.flatMap(home => home.values)
    let bytes = 0
    for (const { local, type: of } of [...around, ...under, ...live]) {
      const store = stores[of] as { readonly op: number; readonly bytes: number }
      out.get(this.#own).get(local).access(store.op, bytes, this.#memory, 2)
      bytes += store.bytes
    }
    out.get(this.#own)
    if (bytes > 0) out.i32(bytes).op(OP['i32.add'])
    out.setGlobal(this.#top)
  }
}
