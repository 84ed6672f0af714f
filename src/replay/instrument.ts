// A guest's module made recordable and replayable. Every function f of the module becomes
//
//   plain  (index f)     as it was, with a poll at each point, for replays and for phases in which nothing is recorded.
//                        While `tracking` is set, it hands over to
//   traced (added)       which also keeps a tag for every byte of memory: the epoch's own number from 1 to 255 for bytes that were
//                        written, or logged, in this epoch.
//                        A load of a byte without one logs the byte: it is an input of the epoch. At a point at which
//                        the budget of polls is used up and the stack is shallow it saves its locals and calls `cut`.
//   entered (two added)  of functions with points: takes its locals from STATE and goes on behind the poll of point `resume`, plain or
//                        traced. Replays begin so, and an activation goes over from plain to traced and back so.
//
// So nothing is ever unwound: the guest goes on where it is, and a replay is a call of an `entered` function. What an epoch needs is
// the locals of the one activation that it began in; when that one returns, the epoch ends (`left`). Polls are counted alike in
// all of them, so a replay ends at the very poll at which the epoch did.
//
// memory.size and memory.grow work on a global, because a replay's memory is always as large as can be.
import type { Writer } from '../wasm/bytes.ts'
import { Writer as ByteWriter } from '../wasm/bytes.ts'
import { Cursor } from '../wasm/instructions.ts'
import {
  type ConstExpr,
  type Export,
  type Func,
  type FuncType,
  type Global,
  I32,
  I64,
  type Import,
  importCount,
  type Module,
  V128,
  type ValueType,
} from '../wasm/module.ts'
import { OP } from '../wasm/opcode-table.ts'
import { type BodyWriter, type HelperGlobals, type HelperIndices, helpers, i32, opcode } from './assemble.ts'
import {
  type Bodies,
  type Body,
  entered,
  type Entered,
  enteredTraced,
  plain,
  type Plan,
  traced,
} from './bodies.ts'
import { localTypes, pointsOf, shapeOf, signatures } from './shape.ts'

/** A loop head at which a replay may begin. */
export interface Point {
  /** The function's index in the guest's own module. */
  readonly func: number
  /** Which of the function's points, from 1. */
  readonly number: number
  /** Bytes of STATE that its locals take. */
  readonly saved: number
}

export interface Instrumented {
  readonly module: Module
  readonly points: readonly Point[]
  /** How many of the guest's globals are mutable; they are exported as `lethe:m0`, … */
  readonly mutable: number
  /** The guest's largest memory in wasm pages. */
  readonly mostPages: number
  /** The export that is the memory. */
  readonly memory: string
}

/** What the added globals are exported as. */
export const globalNames = [
  'tracking',
  'budget',
  'limit',
  'depth',
  'low',
  'cutDepth',
  'resume',
  'size',
  'live',
  'log',
  'copies',
  'skipped',
  // Where the last large copy of the epoch was made from, or -1.
  'copied',
  // The tag of the epoch, as often as an access is wide.
  'tag1',
  'tag2',
  'tag4',
  'tag8',
] as const
export type GlobalName = (typeof globalNames)[number]

const hostImports = ['cut', 'left', 'end', 'move', 'sized', 'freed'] as const

/**
 * Instruments a module. `copies` are functions (by index) that are known to copy memory like memcpy or memmove, `frees` those that give back a block of
 * the heap like free. The module must have been found fit by `refusals` (fitness.ts).
 */
export function instrument(
  module: Module,
  copies: ReadonlySet<number> = new Set(),
  frees: ReadonlySet<number> = new Set(),
): Instrumented {
  const sig = signatures(module)
  const imported = importCount(module, 'func')
  const shift = hostImports.length
  const defined = module.functions.length
  const shapes = module.functions.map(func => shapeOf(func, sig))
  const map = (f: number): number => (f < imported ? f : f + shift)

  const types: FuncType[] = [...module.types]
  const typeOf = (params: readonly ValueType[], results: readonly ValueType[]): number => {
    const found = types.findIndex(t => same(t.params, params) && same(t.results, results))
    return found >= 0 ? found : types.push({ params, results }) - 1
  }
  const imports: Import[] = [
    ...module.imports,
    { module: 'lethe', name: 'cut', kind: 'func', type: typeOf([I32], [I32]) },
    { module: 'lethe', name: 'left', kind: 'func', type: typeOf([], []) },
    { module: 'lethe', name: 'end', kind: 'func', type: typeOf([], [I32]) },
    { module: 'lethe', name: 'move', kind: 'func', type: typeOf([I32, I32, I32], [I32]) },
    { module: 'lethe', name: 'sized', kind: 'func', type: typeOf([], []) },
    { module: 'lethe', name: 'freed', kind: 'func', type: typeOf([I32], []) },
  ]

  // Globals.
  const importedGlobals = importCount(module, 'global')
  const globals: Global[] = [...module.globals]
  const exports: Export[] = module.exports.map(e => (e.kind === 'func' ? { ...e, index: map(e.index) } : e))
  let mutable = 0
  module.globals.forEach((global, i) => {
    if (global.mutable)
      exports.push({ name: `lethe:m${mutable++}`, kind: 'global', index: importedGlobals + i })
  })
  const first = module.memories[0]
  // One page of 65,536 is for where the tags begin.
  const mostPages = Math.min(65_535, first?.max ?? 65_536)
  const g: Record<string, number> = {}
  for (const name of globalNames) {
    g[name] = importedGlobals + globals.length
    exports.push({ name: `lethe:${name}`, kind: 'global', index: g[name] as number })
    if (name === 'tag8') globals.push({ type: I64, mutable: true, init: constant64() })
    else globals.push({ type: I32, mutable: true, init: constant(name === 'size' ? (first?.min ?? 0) : 0) })
  }

  // Functions: plain where they were, then the helpers, the traced ones, the entered ones.
  const firstHelper = imported + shift + defined
  const at: HelperIndices = {
    within: firstHelper,
    bothWithin: firstHelper + 1,
    copy: firstHelper + 2,
    note: firstHelper + 3,
    copied: firstHelper + 4,
    grow: firstHelper + 5,
    expired: firstHelper + 6,
    noteByte: firstHelper + 7,
    log: firstHelper + 8,
  }
  const host = { move: imported + 3, sized: imported + 4 }
  const added = helpers(g as unknown as HelperGlobals, at, mostPages, host)
  const firstTraced = firstHelper + added.length
  const points: Point[] = []
  const enteredIndex = new Map<number, Entered>()
  let nextEntered = firstTraced + defined
  const plans: Plan[] = module.functions.map((func, i) => {
    const shape = shapes[i] as ReturnType<typeof shapeOf>
    const found = copies.has(imported + i) ? [] : pointsOf(shape)
    const locals = localTypes(func, module.types)
    if (found.length > 0) enteredIndex.set(i, { plain: nextEntered++, traced: nextEntered++ })
    const saved = locals.reduce((sum, t) => sum + (t === V128 ? 16 : 8), 0)
    // Blocks of the results, and calls that enter in the middle.
    if (found.length > 0) typeOf([], (module.types[func.type] as FuncType).results)
    const firstPoint = points.length
    for (const { point } of found) points.push({ func: imported + i, number: point, saved })
    return {
      func,
      shape,
      points: found.length,
      firstPoint,
      locals,
      copies: copies.has(imported + i),
      frees: frees.has(imported + i),
    }
  })
  const bodies: Bodies = {
    sig: { ...sig, types },
    map,
    traced: f => (f < imported ? f : firstTraced + f - imported),
    cut: imported,
    left: imported + 1,
    end: imported + 2,
    move: host.move,
    freed: imported + 5,
    globals: g as Record<GlobalName, number>,
    helpers: at,
  }

  const functions: Func[] = []
  const build = (type: number, params: number, locals: readonly ValueType[], body: BodyWriter): void => {
    functions.push({
      type,
      locals: locals.slice(params).map(t => ({ count: 1, type: t })),
      body: body.take(),
      offset: -1,
      original: -1,
      ...(body.hints.length === 0 ? {} : { hints: Uint32Array.from(body.hints) }),
    })
  }
  const emit = (i: number, make: Make, type?: number): void => {
    const plan = plans[i] as Plan
    const made = make(plan, bodies, imported + i, enteredIndex.get(i))
    const params = type === undefined ? (module.types[plan.func.type] as FuncType).params.length : 0
    build(type ?? plan.func.type, params, [...plan.locals, ...made.locals], made.body)
  }
  plans.forEach((_, i) => emit(i, plain))
  for (const { params, results, locals, body } of added)
    build(typeOf(params, results), params.length, [...params, ...locals], body)
  plans.forEach((_, i) => emit(i, traced))
  for (const [i, { plain: index }] of enteredIndex) {
    const type = typeOf([], (module.types[(plans[i] as Plan).func.type] as FuncType).results)
    emit(i, entered, type)
    emit(i, enteredTraced, type)
    exports.push({ name: `lethe:f${imported + i}`, kind: 'func', index })
  }

  exports.push(
    { name: 'lethe:tags', kind: 'memory', index: 1 },
    { name: 'lethe:state', kind: 'memory', index: 2 },
  )
  const out: Module = {
    ...module,
    types,
    imports,
    functions,
    globals,
    exports,
    memories: [
      { ...(first ?? { min: 0, max: undefined, shared: false, is64: false }), max: mostPages },
      { min: mostPages + 1, max: mostPages + 1, shared: false, is64: false },
      { min: 4, max: 16384, shared: false, is64: false },
    ],
    start: module.start === undefined ? undefined : map(module.start),
    elements: module.elements.map(e => ({
      ...e,
      functions: e.functions?.map(map),
      expressions: e.expressions?.map(x => renumber(x, map)),
    })),
    customs: [],
  }
  const memory = module.exports.find(e => e.kind === 'memory')?.name ?? ''
  return { module: out, points, mutable, mostPages, memory }
}

type Make = (plan: Plan, b: Bodies, index: number, own: Entered | undefined) => Body

const same = (a: readonly ValueType[], b: readonly ValueType[]): boolean =>
  a.length === b.length && a.every((t, i) => t === b[i])

function constant(value: number): ConstExpr {
  const w = new ByteWriter(8)
  i32(w, value)
  opcode(w, OP.end)
  return { bytes: w.take(), offset: -1 }
}

function constant64(): ConstExpr {
  const w = new ByteWriter(8)
  opcode(w, OP['i64.const'])
  w.s64(0n)
  opcode(w, OP.end)
  return { bytes: w.take(), offset: -1 }
}

function renumber(expression: ConstExpr, map: (f: number) => number): ConstExpr {
  const w: Writer = new ByteWriter(16)
  const cursor = new Cursor(expression.bytes, expression.offset)
  while (cursor.next()) {
    if (cursor.op === OP['ref.func']) {
      opcode(w, cursor.op)
      w.u32(map(cursor.index))
    } else w.bytes(expression.bytes, cursor.at, cursor.end)
  }
  return { bytes: w.take(), offset: expression.offset }
}
