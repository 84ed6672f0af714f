// The types of the instructions whose effect depends on more than the opcode: control, references, tables, locals, globals.
import type { Cursor } from './instructions.ts'
import { EXNREF, type FuncType, FUNCREF, I32, I64, isReference, typeName, type ValueType } from './module.ts'
import { OP } from './opcode-table.ts'
import { ANY, type Typer } from './typer.ts'

/** Typer.step for these instructions. */
export function special(t: Typer, i: Cursor): void {
  switch (i.op) {
    case OP['local.get']:
      return t.push(t.local(i.index))
    case OP['local.set']:
      return t.pop(t.local(i.index))
    case OP['local.tee']: {
      const type = t.local(i.index)
      t.pop(type)
      return t.push(type)
    }
    case OP['global.get']:
      return t.push(globalType(t, i.index).type)
    case OP['global.set']: {
      const { type, mutable } = globalType(t, i.index)
      if (!mutable) t.fail(`global ${i.index} is not mutable`)
      return t.pop(type)
    }
    case OP.drop:
      t.popAny()
      return
    case OP.select:
      return select(t)
    case OP.select_typed:
      if (i.index !== 1) t.fail(`a select names one type, not ${i.index}`)
      t.pop(I32)
      t.pop(i.valueType)
      t.pop(i.valueType)
      return t.push(i.valueType)
    case OP['ref.null']:
      return t.push(i.valueType)
    case OP['ref.is_null']:
      t.popReference()
      return t.push(I32)
    case OP['ref.func']:
      t.functionType(i.index)
      if (t.context.declared?.has(i.index) === false)
        t.fail(`function ${i.index} is named in no element segment, export or global`)
      return t.push(FUNCREF)
    case OP['memory.copy']: {
      const to = t.memory(i.index)
      const from = t.memory(i.index2)
      t.pop(smaller(to, from))
      t.pop(from)
      return t.pop(to)
    }
    default:
      if (i.op === OP['table.get'] || i.op === OP['table.set'] || i.op >= 0x100) return table(t, i)
      return control(t, i)
  }
}

function globalType(t: Typer, index: number): { type: ValueType; mutable: boolean } {
  const global = t.context.globals[index]
  if (global === undefined) t.fail(`there is no global ${index}`)
  return global
}

const smaller = (a: ValueType, b: ValueType): ValueType => (a === I64 && b === I64 ? I64 : I32)

function select(t: Typer): void {
  t.pop(I32)
  const first = t.popAny()
  const second = t.popAny()
  if (isReference(first) || isReference(second)) t.fail('a select of references has to name their type')
  if (first !== second && first !== ANY && second !== ANY)
    t.fail(`its values are of the types ${typeName(second)} and ${typeName(first)}`)
  t.push(first === ANY ? second : first)
}

function table(t: Typer, i: Cursor): void {
  if (i.op === OP['table.init']) {
    const { type, address } = t.table(i.index2)
    const element = t.element(i.index)
    if (element !== type)
      t.fail(`segment ${i.index} holds ${typeName(element)}, table ${i.index2} ${typeName(type)}`)
    t.pop(I32)
    t.pop(I32)
    return t.pop(address)
  }
  const { type, address } = t.table(i.index)
  switch (i.op) {
    case OP['table.get']:
      t.pop(address)
      return t.push(type)
    case OP['table.set']:
      t.pop(type)
      return t.pop(address)
    case OP['table.size']:
      return t.push(address)
    case OP['table.grow']:
      t.pop(address)
      t.pop(type)
      return t.push(address)
    case OP['table.fill']:
      t.pop(address)
      t.pop(type)
      return t.pop(address)
    default: {
      const from = t.table(i.index2)
      if (from.type !== type)
        t.fail(`table ${i.index} holds ${typeName(type)}, table ${i.index2} ${typeName(from.type)}`)
      t.pop(smaller(address, from.address))
      t.pop(from.address)
      return t.pop(address)
    }
  }
}

function control(t: Typer, i: Cursor): void {
  switch (i.op) {
    case OP.unreachable:
      return t.unreachable()
    case OP.block:
    case OP.loop:
    case OP.try: {
      const { params, results } = t.block(i.blockType)
      t.popAll(params)
      return t.open(i.op, params, results)
    }
    case OP.if: {
      const { params, results } = t.block(i.blockType)
      t.pop(I32)
      t.popAll(params)
      return t.open(i.op, params, results)
    }
    case OP.try_table:
      return tryTable(t, i)
    case OP.else: {
      if (t.top.op !== OP.if) t.fail('there is no if')
      const { params, results } = t.close()
      return t.open(OP.else, params, results)
    }
    case OP.catch:
    case OP.catch_all: {
      if (t.top.op !== OP.try && t.top.op !== OP.catch) t.fail('there is no try')
      const carried = i.op === OP.catch ? t.tag(i.index).params : []
      const { results } = t.close()
      return t.open(i.op, carried, results)
    }
    case OP.delegate: {
      if (t.top.op !== OP.try) t.fail('there is no try')
      const { results } = t.close()
      t.frame(i.index)
      return t.pushAll(results)
    }
    case OP.end:
      return end(t)
    case OP.throw:
      t.popAll(t.tag(i.index).params)
      return t.unreachable()
    case OP.throw_ref:
      t.pop(EXNREF)
      return t.unreachable()
    case OP.rethrow: {
      const { op } = t.frame(i.index)
      if (op !== OP.catch && op !== OP.catch_all) t.fail(`label ${i.index} is no catch`)
      return t.unreachable()
    }
    case OP.return:
      t.popAll(t.results)
      return t.unreachable()
    default:
      return branchOrCall(t, i)
  }
}

function end(t: Typer): void {
  const { op, params, results } = t.close()
  // An if without an else passes its parameters on.
  if (op === OP.if && !same(params, results)) t.fail('an if without an else has to leave what it takes')
  if (t.depth > 0) t.pushAll(results)
}

function branchOrCall(t: Typer, i: Cursor): void {
  switch (i.op) {
    case OP.br:
      t.popAll(t.label(i.index))
      return t.unreachable()
    case OP.br_if: {
      t.pop(I32)
      const carried = t.label(i.index)
      t.popAll(carried)
      return t.pushAll(carried)
    }
    case OP.br_table:
      return branchTable(t, i)
    case OP.call: {
      const type = t.functionType(i.index)
      t.popAll(type.params)
      return t.pushAll(type.results)
    }
    case OP.return_call:
      return tailCall(t, t.functionType(i.index))
    case OP.call_indirect:
    case OP.return_call_indirect: {
      const { type, address } = t.table(i.index2)
      if (type !== FUNCREF) t.fail(`table ${i.index2} holds ${typeName(type)}`)
      const called = t.type(i.index)
      t.pop(address)
      if (i.op === OP.return_call_indirect) return tailCall(t, called)
      t.popAll(called.params)
      return t.pushAll(called.results)
    }
    default:
      return t.fail('it is not checked')
  }
}

function tailCall(t: Typer, called: FuncType): void {
  t.popAll(called.params)
  if (!same(called.results, t.results))
    t.fail('the function that is called answers another type than this one')
  t.unreachable()
}

function branchTable(t: Typer, i: Cursor): void {
  t.pop(I32)
  const labels = i.labels()
  const last = t.label(labels.at(-1) as number)
  const seen = new Set<number>()
  for (const label of labels) {
    if (seen.has(label)) continue
    seen.add(label)
    const carried = t.label(label)
    if (carried.length !== last.length)
      t.fail(`label ${label} carries ${carried.length} values, the default ${last.length}`)
    // In code that can't be reached, labels of several types can be met by one operand of any type.
    for (let n = 0; n < carried.length; n++) {
      const found = t.operand(n)
      const wanted = carried[carried.length - 1 - n] as number
      if (n >= t.height && !t.top.unreachable) t.fail('an operand is missing')
      if (found !== ANY && found !== wanted)
        t.fail(`label ${label} carries ${typeName(wanted)}, the operand is ${typeName(found)}`)
    }
  }
  t.popAll(last)
  t.unreachable()
}

function tryTable(t: Typer, i: Cursor): void {
  const { params, results } = t.block(i.blockType)
  t.popAll(params)
  for (const { kind, tag, label } of i.clauses()) {
    const carried: ValueType[] = kind < 2 ? [...t.tag(tag).params] : []
    if (kind & 1) carried.push(EXNREF)
    if (!same(carried, t.label(label)))
      t.fail(`the catch clause for label ${label} carries other types than the label`)
  }
  t.open(i.op, params, results)
}

const same = (a: readonly ValueType[], b: readonly ValueType[]): boolean =>
  a.length === b.length && a.every((type, n) => type === b[n])
