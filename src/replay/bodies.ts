// The three bodies that instrument.ts makes of a function. One pass over the instructions makes any of them: it copies them with
// functions renumbered and labels moved outwards past what was put around them.
import type { Writer } from '../wasm/bytes.ts'
import { BLOCK_EMPTY, Cursor } from '../wasm/instructions.ts'
import { F32, F64, type Func, type FuncType, I32, I64, V128, type ValueType } from '../wasm/module.ts'
import { Imm, immediates, isLoad, isStore, OP, type OpName, widths } from '../wasm/opcode-table.ts'
import {
  access,
  BodyWriter,
  type HelperIndices,
  i32,
  loadLocals,
  opcode,
  open,
  put,
  putTagAddress,
  rarely,
  replayedCopy,
  saveLocals,
  TAGS,
} from './assemble.ts'
import type { GlobalName } from './instrument.ts'
import { type Construct, pointsOf, type Signatures } from './shape.ts'

export interface Plan {
  readonly func: Func
  readonly shape: Construct
  readonly points: number
  /** The number of its first point in the whole module. */
  readonly firstPoint: number
  readonly locals: readonly ValueType[]
  /** It is known to copy memory, like memcpy. */
  readonly copies: boolean
  /** It gives back a block of the heap. */
  readonly frees: boolean
}

/** Where things are in the new module. */
export interface Bodies {
  readonly sig: Signatures
  /** The new index of one of the guest's functions, and of its traced body. */
  readonly map: (f: number) => number
  readonly traced: (f: number) => number
  readonly cut: number
  readonly left: number
  readonly end: number
  readonly move: number
  readonly freed: number
  readonly globals: Readonly<Record<GlobalName, number>>
  readonly helpers: HelperIndices
}

/**
 * What `cut` and `end` answer, beside 0: the activation shall go on in the function's plain or traced body. Also in a new one of the
 * kind that it is in: the engine never replaces the code of an activation, and a long loop would stay in code that was not optimized.
 */
export const goOnPlain = 1
export const goOnTraced = 2

/** The indices of a function's two bodies that are entered at a point. */
export interface Entered {
  readonly plain: number
  readonly traced: number
}

export interface Body {
  /** Added behind the function's own. */
  readonly locals: readonly ValueType[]
  readonly body: BodyWriter
}

type Action = (e: Emitter) => void

/** Copies a body. What a variant does differently is in these fields and in `before`. */
class Emitter {
  readonly w: BodyWriter
  readonly plan: Plan
  readonly b: Bodies
  readonly callee: (f: number) => number
  /** How many blocks we are in, and the block that each of the guest's labels stands for. */
  depth = 0
  readonly labels: number[] = [0]
  readonly before = new Map<number, Action[]>()
  /** Behind the head of the loop that is point n. */
  poll: (e: Emitter, point: number) => void = () => undefined
  memoryAccess: ((e: Emitter, c: Cursor) => void) | undefined
  /** `return` and what leaves in other ways is a branch to the outermost block. */
  wrapped = false

  constructor(plan: Plan, b: Bodies, callee: (f: number) => number) {
    this.w = new BodyWriter(plan.func.body.length * 2 + 64)
    this.plan = plan
    this.b = b
    this.callee = callee
  }

  label(d: number): number {
    return this.depth - (this.labels[this.labels.length - 1 - d] as number)
  }

  on(at: number, action: Action): void {
    const list = this.before.get(at)
    if (list === undefined) this.before.set(at, [action])
    else list.push(action)
  }

  /** Everything but the final `end`. */
  run(): void {
    const { w, plan } = this
    const { body } = plan.func
    const loops = new Map(pointsOf(plan.shape).map(p => [p.at, p.point]))
    const c = new Cursor(body, plan.func.offset)
    while (c.next()) {
      const actions = this.before.get(c.at)
      if (actions !== undefined) for (const action of actions) action(this)
      if (c.end === body.length) return
      this.#instruction(c, w, body)
      const point = c.op === OP.loop && plan.points > 0 ? loops.get(c.at) : undefined
      if (point !== undefined) this.poll(this, point)
    }
  }

  #instruction(c: Cursor, w: Writer, body: Uint8Array): void {
    switch (c.op) {
      case OP.block:
      case OP.loop:
      case OP.if:
        this.labels.push(++this.depth)
        w.bytes(body, c.at, c.end)
        return
      case OP.end:
        this.labels.pop()
        this.depth--
        w.bytes(body, c.at, c.end)
        return
      case OP.br:
      case OP.br_if:
        opcode(w, c.op)
        w.u32(this.label(c.index))
        return
      case OP.br_table: {
        const labels = c.labels()
        opcode(w, c.op)
        w.u32(labels.length - 1)
        for (const label of labels) w.u32(this.label(label))
        return
      }
      case OP.return:
        if (this.wrapped) put(w, 'br', this.depth - 1)
        else opcode(w, c.op)
        return
      case OP.call:
        put(w, 'call', this.callee(c.index))
        return
      case OP.return_call:
        put(w, this.wrapped ? 'call' : 'return_call', this.callee(c.index))
        if (this.wrapped) put(w, 'br', this.depth - 1)
        return
      case OP.return_call_indirect:
        put(w, this.wrapped ? 'call_indirect' : 'return_call_indirect', c.index, c.index2)
        if (this.wrapped) put(w, 'br', this.depth - 1)
        return
      case OP['ref.func']:
        put(w, 'ref.func', this.b.map(c.index))
        return
      case OP['memory.size']:
        put(w, 'global.get', this.b.globals.size)
        return
      case OP['memory.grow']:
        put(w, 'call', this.b.helpers.grow)
        return
      case OP['data.drop']:
        // A replay of something before needs the segment still.
        return
      default:
        if (bulk.has(c.op)) {
          const { within, bothWithin, copy } = this.b.helpers
          if (c.op === OP['memory.copy'] && this.memoryAccess === undefined) {
            put(w, 'call', copy)
            return
          }
          put(w, 'call', c.op === OP['memory.copy'] ? bothWithin : within)
        }
        if (this.memoryAccess !== undefined && touches(c.op)) this.memoryAccess(this, c)
        else w.bytes(body, c.at, c.end)
    }
  }
}

const bulk: ReadonlySet<number> = new Set([OP['memory.copy'], OP['memory.fill'], OP['memory.init']])
function touches(op: number): boolean {
  const kind = immediates[op] as number
  return kind === Imm.mem || kind === Imm.memLane || bulk.has(op)
}

function count(w: Writer, b: Bodies): void {
  put(w, 'global.get', b.globals.budget)
  i32(w, 1)
  put(w, 'i32.sub')
  put(w, 'global.set', b.globals.budget)
  put(w, 'global.get', b.globals.budget)
}

// At the end of the budget the host may say that the activation shall go on in another body. `answer` is a local that is 0.
function plainPoll(e: Emitter, point: number, own: Entered, answer: number): void {
  const { w, b } = e
  count(w, b)
  i32(w, 0)
  put(w, 'i32.le_s')
  rarely(w)
  put(w, 'call', b.end)
  put(w, 'local.tee', answer)
  open(w, 'if')
  saveLocals(w, e.plan.locals)
  goOn(e, point, answer, own)
  put(w, 'end')
  put(w, 'end')
}

// The activation ends, and one of the function's entered bodies takes its place. The locals are in STATE.
function goOn({ w, b }: Emitter, point: number, answer: number, own: Entered): void {
  i32(w, point)
  put(w, 'global.set', b.globals.resume)
  put(w, 'local.get', answer)
  i32(w, goOnPlain)
  put(w, 'i32.eq')
  open(w, 'if')
  put(w, 'return_call', own.plain)
  put(w, 'end')
  put(w, 'return_call', own.traced)
}

/** The function as it was, with polls, and with the way to its traced body. */
export function plain(plan: Plan, b: Bodies, index: number, own: Entered | undefined): Body {
  const e = new Emitter(plan, b, b.map)
  if (!plan.copies) {
    put(e.w, 'global.get', b.globals.tracking)
    rarely(e.w)
    const params = (b.sig.types[plan.func.type] as FuncType).params.length
    for (let i = 0; i < params; i++) put(e.w, 'local.get', i)
    put(e.w, 'return_call', b.traced(index))
    put(e.w, 'end')
  }
  if (plan.copies) {
    const results = (b.sig.types[plan.func.type] as FuncType).results.length
    replayedCopy(e.w, b.globals.live, b.move, () => {
      if (results > 0) put(e.w, 'local.get', 0)
    })
  }
  if (own !== undefined) e.poll = (_, point) => plainPoll(e, point, own, plan.locals.length)
  e.run()
  put(e.w, 'end')
  return { locals: own === undefined ? [] : [I32], body: e.w }
}

/** The function that also tells what it reads before it writes it. */
export function traced(plan: Plan, b: Bodies, index: number, own: Entered | undefined): Body {
  return tracedBody(plan, b, index, own, false)
}

/** The same, entered at a point. */
export function enteredTraced(plan: Plan, b: Bodies, index: number, own: Entered | undefined): Body {
  return tracedBody(plan, b, index, own, true)
}

function tracedBody(plan: Plan, b: Bodies, index: number, own: Entered | undefined, enter: boolean): Body {
  const e = new Emitter(plan, b, f => b.traced(f))
  const { w } = e
  const type = b.sig.types[plan.func.type] as FuncType
  if (plan.copies) {
    for (let i = 0; i < 3; i++) put(w, 'local.get', i)
    put(w, 'call', b.helpers.copied)
    open(w, 'if')
    if ((b.sig.types[plan.func.type] as FuncType).results.length > 0) put(w, 'local.get', 0)
    put(w, 'return')
    put(w, 'end')
    for (let i = 0; i < 3; i++) put(w, 'local.get', i)
    put(w, 'call', b.map(index))
    put(w, 'end')
    return { locals: [], body: w }
  }
  if (plan.frees && !enter) {
    put(w, 'local.get', 0)
    put(w, 'global.get', b.globals.copied)
    put(w, 'i32.eq')
    rarely(w)
    put(w, 'local.get', 0)
    put(w, 'call', b.freed)
    put(w, 'end')
  }
  // The point that the way leads to is the first added local.
  const r = plan.locals.length
  const scratch = new Scratch(r + (enter ? 1 : 0))
  e.memoryAccess = (_, c) => tracedAccess(e, c, scratch)
  if (own === undefined) {
    e.run()
    put(w, 'end')
    return { locals: scratch.types, body: w }
  }
  const { depth, low } = b.globals
  const deeper = (by: number): void => {
    put(w, 'global.get', depth)
    i32(w, by)
    put(w, 'i32.add')
    put(w, 'global.set', depth)
  }
  if (enter) enterLocals(e, r)
  deeper(1)
  e.wrapped = true
  e.depth = 1
  e.labels[0] = 1
  // A block of the function's results: a type of its own if there are several.
  opcode(w, OP.block)
  blockType(w, type.results, b)
  const poll = (point: number): void => {
    count(w, b)
    i32(w, 0)
    put(w, 'i32.le_s')
    rarely(w)
    put(w, 'call', b.helpers.expired)
    rarely(w)
    saveLocals(w, plan.locals)
    i32(w, plan.firstPoint + point - 1)
    put(w, 'call', b.cut)
    const answer = scratch.get(I32, 'address')
    put(w, 'local.tee', answer)
    open(w, 'if')
    deeper(-1)
    goOn(e, point, answer, own)
    put(w, 'end')
    put(w, 'end')
    put(w, 'end')
  }
  e.poll = (_, point) => (enter ? enterPoll(e, point, r, () => poll(point)) : poll(point))
  if (enter) guard(e, plan.shape, r)
  e.run()
  put(w, 'end')
  deeper(-1)
  put(w, 'global.get', depth)
  put(w, 'global.get', low)
  put(w, 'i32.lt_s')
  rarely(w)
  put(w, 'call', b.left)
  put(w, 'end')
  put(w, 'end')
  return { locals: enter ? [I32, ...scratch.types] : scratch.types, body: w }
}

function blockType(w: Writer, results: readonly ValueType[], b: Bodies): void {
  if (results.length === 0) w.byte(BLOCK_EMPTY & 0x7f)
  else if (results.length === 1) w.byte(results[0] as number)
  else
    w.s32(
      b.sig.types.findIndex(
        t =>
          t.params.length === 0 &&
          t.results.length === results.length &&
          t.results.every((r, i) => r === results[i]),
      ),
    )
}

/** Scratch locals of a traced body: made when first asked for. */
class Scratch {
  readonly #first: number
  readonly types: ValueType[] = []
  readonly #of = new Map<string, number>()

  constructor(first: number) {
    this.#first = first
  }

  get(type: ValueType, use = ''): number {
    const key = `${type}${use}`
    let index = this.#of.get(key)
    if (index === undefined) {
      index = this.#first + this.types.push(type) - 1
      this.#of.set(key, index)
    }
    return index
  }
}

const tagLoads: Readonly<Record<number, OpName>> = {
  1: 'i32.load8_u',
  2: 'i32.load16_u',
  4: 'i32.load',
  8: 'i64.load',
}
const tagStores: Readonly<Record<number, OpName>> = {
  1: 'i32.store8',
  2: 'i32.store16',
  4: 'i32.store',
  8: 'i64.store',
}

const tags: Readonly<Record<number, GlobalName>> = { 1: 'tag1', 2: 'tag2', 4: 'tag4', 8: 'tag8' }

function known({ w, b }: Emitter, width: number): void {
  put(w, 'global.get', b.globals[tags[width] as GlobalName])
}

function storedType(op: number): ValueType {
  if (op === OP['f32.store']) return F32
  if (op === OP['f64.store']) return F64
  if (op === OP['i64.store'] || (op >= OP['i64.store8'] && op <= OP['i64.store32'])) return I64
  return op >= 0x200 ? V128 : I32
}

function tracedAccess(e: Emitter, c: Cursor, scratch: Scratch): void {
  const { w, b } = e
  const { body } = e.plan.func
  const width = widths[c.op] as number
  const address = scratch.get(I32, 'address')
  if (isStore(c.op)) {
    const value = scratch.get(storedType(c.op))
    put(w, 'local.set', value)
    put(w, 'local.tee', address)
    put(w, 'local.get', value)
    w.bytes(body, c.at, c.end)
    for (let at = 0; at < width; at += 8) {
      const part = Math.min(8, width)
      put(w, 'local.get', address)
      known(e, part)
      access(w, tagStores[part] as OpName, TAGS, c.offset + at)
    }
  } else if (isLoad(c.op)) {
    const lane = (immediates[c.op] as number) === Imm.memLane
    const vector = lane ? scratch.get(V128) : 0
    if (lane) put(w, 'local.set', vector)
    put(w, 'local.set', address)
    for (let at = 0; at < width; at += 8) {
      const part = Math.min(8, width)
      put(w, 'local.get', address)
      access(w, tagLoads[part] as OpName, TAGS, c.offset + at)
      known(e, part)
      // For a comparison V8 loads the tag twice.
      put(w, part === 8 ? 'i64.ne' : 'i32.xor')
      rarely(w)
      put(w, 'local.get', address)
      i32(w, c.offset + at)
      i32(w, part)
      put(w, 'call', b.helpers.note)
      put(w, 'end')
    }
    put(w, 'local.get', address)
    if (lane) put(w, 'local.get', vector)
    w.bytes(body, c.at, c.end)
  } else {
    const [to, from, length] = [
      scratch.get(I32, 'address'),
      scratch.get(I32, 'from'),
      scratch.get(I32, 'length'),
    ]
    put(w, 'local.set', length)
    put(w, 'local.set', from)
    put(w, 'local.set', to)
    const all = (): void => {
      for (const local of [to, from, length]) put(w, 'local.get', local)
    }
    if (c.op === OP['memory.copy']) {
      all()
      put(w, 'call', b.helpers.copied)
      put(w, 'i32.eqz')
      open(w, 'if')
      all()
      w.bytes(body, c.at, c.end)
      put(w, 'end')
      return
    }
    all()
    w.bytes(body, c.at, c.end)
    putTagAddress(w, to)
    known(e, 1)
    put(w, 'local.get', length)
    put(w, 'memory.fill', TAGS)
  }
}

/** The function from one of its points on: point `resume`, with the locals that are in STATE. */
export function entered(plan: Plan, b: Bodies, _index: number, own: Entered | undefined): Body {
  const e = new Emitter(plan, b, b.map)
  const r = plan.locals.length
  enterLocals(e, r)
  e.poll = (_, point) => enterPoll(e, point, r, () => plainPoll(e, point, own as Entered, r))
  guard(e, plan.shape, r)
  e.run()
  put(e.w, 'end')
  return { locals: [I32], body: e.w }
}

function enterLocals(e: Emitter, r: number): void {
  loadLocals(e.w, e.plan.locals)
  put(e.w, 'global.get', e.b.globals.resume)
  put(e.w, 'local.set', r)
}

// At a point: it is the one that was looked for, or not yet, or there is an ordinary poll.
function enterPoll({ w }: Emitter, point: number, r: number, poll: () => void): void {
  put(w, 'local.get', r)
  rarely(w)
  put(w, 'local.get', r)
  i32(w, point)
  put(w, 'i32.eq')
  open(w, 'if')
  i32(w, 0)
  put(w, 'local.set', r)
  put(w, 'end')
  put(w, 'else')
  poll()
  put(w, 'end')
}

// While r is not 0 the way leads to point r, and what lies before it is jumped over: in each sequence of instructions, those
// between the constructs that have points, and constructs whose points are all before r.
function guard(e: Emitter, node: Construct, r: number): void {
  const arms =
    node.else < 0
      ? [node.children]
      : [node.children.filter(c => c.at < node.else), node.children.filter(c => c.at > node.else)]
  arms.forEach((children, arm) => {
    const on = children.filter(c => c.to > c.from)
    let from = arm === 0 ? node.inside : node.else + 1
    on.forEach((child, i) => {
      const last = i === on.length - 1
      const start = from
      if (!last)
        e.on(start, () => {
          open(e.w, 'block')
          e.depth++
          put(e.w, 'local.get', r)
          i32(e.w, child.to)
          put(e.w, 'i32.ge_u')
          put(e.w, 'br_if', 0)
        })
      if (child.at > start) {
        const condition = child.kind === 'if'
        e.on(start, () => {
          put(e.w, 'local.get', r)
          put(e.w, 'i32.eqz')
          open(e.w, 'if', condition ? I32 : BLOCK_EMPTY)
          e.depth++
        })
        e.on(child.at, () => {
          if (condition) {
            // The way goes into the first arm, or into the second.
            const inFirst = child.children.filter(c => child.else < 0 || c.at < child.else)
            put(e.w, 'else')
            put(e.w, 'local.get', r)
            i32(e.w, Math.max(child.from, ...inFirst.map(c => c.to)))
            put(e.w, 'i32.lt_u')
          }
          put(e.w, 'end')
          e.depth--
        })
      }
      if (!last)
        e.on(child.after, () => {
          put(e.w, 'end')
          e.depth--
        })
      guard(e, child, r)
      from = child.after
    })
  })
}
