// Where in a function a replay may begin: the heads of those loops at which nothing lies on the operand stack of the
// function or of any block around them. There the function's state is its locals, and instrument.ts can make a copy
// of the function that is entered at the loop. A loop that doesn't fit is no point, and that is all that happens.
import { BLOCK_EMPTY, Cursor } from '../wasm/instructions.ts'
import {
  type Func,
  type FuncType,
  importCount,
  indexSpaces,
  isReference,
  type Module,
  type ValueType,
} from '../wasm/module.ts'
import { effects, OP } from '../wasm/opcode-table.ts'

/** The function itself, a block, a loop, or an if. `from` and `to` are the points inside (from ≤ p < to), 1 is the first. */
export interface Construct {
  readonly kind: 'function' | 'block' | 'loop' | 'if'
  /** Bytes of the body: the opening instruction, what follows it, the `else` (or -1), the `end`, what follows that. */
  readonly at: number
  readonly inside: number
  else: number
  end: number
  after: number
  readonly results: number
  /** Whether a replay may go through its start: nothing on the stack, no parameters, reachable. */
  passable: boolean
  readonly children: Construct[]
  /** Of a loop that is a point: its number. */
  point: number
  from: number
  to: number
}

/** What a call of a type takes and gives. */
export interface Signatures {
  readonly types: readonly FuncType[]
  /** The type of every function, imports first. */
  readonly functions: readonly number[]
  readonly imported: number
}

export function signatures(module: Module): Signatures {
  return {
    types: module.types,
    functions: indexSpaces(module).functions,
    imported: importCount(module, 'func'),
  }
}

/** The types of a function's parameters and locals, by index. */
export function localTypes(func: Func, types: readonly FuncType[]): ValueType[] {
  const all = [...(types[func.type] as FuncType).params]
  for (const { count, type } of func.locals) for (let i = 0; i < count; i++) all.push(type)
  return all
}

const mostLocals = 3500

/** A function's constructs, with its points numbered in the order of the code. */
export function shapeOf(func: Func, sig: Signatures): Construct {
  const root = read(func, sig)
  const types = localTypes(func, sig.types)
  const fits = types.length <= mostLocals && !types.some(isReference)
  if (!fits) root.passable = false
  prune(root, fits)
  number(root, 1)
  return root
}

interface Open {
  readonly construct: Construct
  readonly base: number
  readonly params: number
  dead: boolean
}

function read(func: Func, sig: Signatures): Construct {
  const length = func.body.length
  const root = construct('function', 0, 0, (sig.types[func.type] as FuncType).results.length, true)
  const stack: Open[] = [{ construct: root, base: 0, params: 0, dead: false }]
  let height = 0
  const cursor = new Cursor(func.body, func.offset)
  while (cursor.next()) {
    const { op } = cursor
    const top = stack[stack.length - 1] as Open
    if (op === OP.block || op === OP.loop || op === OP.if || op === OP.try || op === OP.try_table) {
      if (op === OP.if) height--
      const type = cursor.blockType >= 0 ? (sig.types[cursor.blockType] as FuncType) : undefined
      const params = type?.params.length ?? 0
      const results = type?.results.length ?? (cursor.blockType === BLOCK_EMPTY ? 0 : 1)
      const kind = op === OP.loop ? 'loop' : op === OP.if ? 'if' : 'block'
      const plain = op !== OP.try && op !== OP.try_table
      const passable = top.construct.passable && plain && !top.dead && params === 0 && height === top.base
      const next = construct(kind, cursor.at, cursor.end, results, passable)
      top.construct.children.push(next)
      stack.push({ construct: next, base: height - params, params, dead: false })
    } else if (op === OP.else || op === OP.catch || op === OP.catch_all) {
      if (op === OP.else) top.construct.else = cursor.at
      height = top.base + top.params
      top.dead = false
      if (op !== OP.else) top.construct.passable = false
    } else if (op === OP.end || op === OP.delegate) {
      top.construct.end = cursor.at
      top.construct.after = cursor.end
      height = top.base + top.construct.results
      stack.pop()
    } else if (endsFlow(op)) {
      height = top.base
      top.dead = true
    } else if (!top.dead) height += change(cursor, sig)
  }
  root.after = length
  return root
}

function construct(
  kind: Construct['kind'],
  at: number,
  inside: number,
  results: number,
  passable: boolean,
): Construct {
  return {
    kind,
    at,
    inside,
    else: -1,
    end: 0,
    after: 0,
    results,
    passable,
    children: [],
    point: 0,
    from: 0,
    to: 0,
  }
}

function endsFlow(op: number): boolean {
  switch (op) {
    case OP.unreachable:
    case OP.br:
    case OP.br_table:
    case OP.return:
    case OP.return_call:
    case OP.return_call_indirect:
    case OP.throw:
    case OP.rethrow:
    case OP.throw_ref:
      return true
    default:
      return false
  }
}

/** By how much an instruction that is no control instruction changes the height of the stack. */
function change(cursor: Cursor, sig: Signatures): number {
  const effect = effects[cursor.op] as string
  if (effect !== '*') return effect.length - 1 - 2 * effect.indexOf(':')
  switch (cursor.op) {
    case OP['local.get']:
    case OP['global.get']:
    case OP['ref.null']:
    case OP['ref.func']:
    case OP['table.size']:
      return 1
    case OP['local.set']:
    case OP['global.set']:
    case OP.drop:
    case OP.br_if:
    case OP['table.grow']:
      return -1
    case OP.select:
    case OP.select_typed:
    case OP['table.set']:
      return -2
    case OP['memory.copy']:
    case OP['table.copy']:
    case OP['table.init']:
    case OP['table.fill']:
      return -3
    case OP.call:
      return called(sig.types[sig.functions[cursor.index] as number] as FuncType)
    case OP.call_indirect:
      return called(sig.types[cursor.index] as FuncType) - 1
    default:
      return 0
  }
}

const called = (type: FuncType): number => type.results.length - type.params.length

// A construct whose results somebody takes can't be jumped over: it may only be the last one on the way in its sequence.
function prune(node: Construct, fits: boolean): number {
  if (!fits) node.passable = false
  let points = node.kind === 'loop' && node.passable ? 1 : 0
  const arms =
    node.else < 0
      ? [node.children]
      : [node.children.filter(c => c.at < node.else), node.children.filter(c => c.at > node.else)]
  for (const arm of arms) {
    let later = false
    for (const child of arm.slice().reverse()) {
      const on = prune(child, node.passable && (child.results === 0 || !later) && child.passable)
      later ||= on > 0
      points += on
    }
  }
  return points
}

function number(node: Construct, next: number): number {
  node.from = next
  let at = next
  if (node.kind === 'loop' && node.passable) node.point = at++
  for (const child of node.children) at = number(child, at)
  node.to = at
  return at
}

/** Every point of a function: the loops in the order of the code. */
export function pointsOf(root: Construct): Construct[] {
  const found: Construct[] = []
  const visit = (node: Construct): void => {
    if (node.point > 0) found.push(node)
    node.children.forEach(visit)
  }
  visit(root)
  return found
}
