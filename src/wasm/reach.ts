// Which functions can come to call one of a set: over the graph of calls, where an indirect call may be of any function of its type that is in a
// table or named as a reference.
import { Cursor } from './instructions.ts'
import { type FuncType, importCount, indexSpaces, type Module } from './module.ts'
import { OP } from './opcode-table.ts'

export interface Reach {
  /** Whether a call of a function can come to one of them; the functions themselves are among these. */
  call(func: number): boolean
  /** Whether an indirect call of a type (its index) can. */
  indirect(type: number): boolean
}

const key = ({ params, results }: FuncType): string => `${params.join()}:${results.join()}`

/** What can come to call a function of `goals` (indices, imports first). A table that somebody else fills may hold all functions. */
export function reachOf(module: Module, goals: ReadonlySet<number>): Reach {
  const { functions } = indexSpaces(module)
  const keyOf = (type: number): string => key(module.types[type] as FuncType)
  const named = new Set<number>()
  const callers = new Map<number | string, Set<number>>()
  const calls = (what: number | string, from: number): void => {
    const known = callers.get(what)
    if (known === undefined) callers.set(what, new Set([from]))
    else known.add(from)
  }
  const cursor = new Cursor(new Uint8Array(0), 0)
  const first = importCount(module, 'func')
  for (const [i, { body, offset }] of module.functions.entries()) {
    cursor.reset(body, offset)
    while (cursor.next()) {
      const { op, index } = cursor
      if (op === OP.call || op === OP.return_call) calls(index, first + i)
      else if (op === OP.call_indirect || op === OP.return_call_indirect) calls(keyOf(index), first + i)
      else if (op === OP['ref.func']) named.add(index)
    }
  }
  for (const { functions: listed, expressions } of module.elements) {
    for (const index of listed ?? []) named.add(index)
    for (const { bytes, offset } of expressions ?? []) {
      cursor.reset(bytes, offset)
      while (cursor.next()) if (cursor.op === OP['ref.func']) named.add(cursor.index)
    }
  }
  const foreign =
    module.imports.some(({ kind }) => kind === 'table') || module.exports.some(({ kind }) => kind === 'table')
  const reaching = new Set<number>()
  const types = new Set<string>()
  const left = [...goals]
  for (let func = left.pop(); func !== undefined; func = left.pop()) {
    if (reaching.has(func)) continue
    reaching.add(func)
    left.push(...(callers.get(func) ?? []))
    if (!foreign && !named.has(func)) continue
    const type = keyOf(functions[func] as number)
    if (types.has(type)) continue
    types.add(type)
    left.push(...(callers.get(type) ?? []))
  }
  return { call: func => reaching.has(func), indirect: type => types.has(keyOf(type)) }
}
