// What replaying a function needs, decided from its code and from what it calls. The levels, each with what decided it:
//
//   pure          its result depends on its arguments alone, and it changes nothing
//   reads         it reads memory, and changes nothing (its own frame aside)
//   repeatable    it writes memory, and what it writes depends on nothing but its arguments and the memory that it reads
//   recorded      it calls the host, whose answers can be kept and given again (reading a file)
//   unrepeatable  it calls what nobody can have again (the clock, random numbers, a host that we do not know), or has an
//                 instruction that promises no result (relaxed vectors, atomics)
//
// Function pointers are followed where facts.ts knows them: constants, parameters that a caller gives constants for, and those that lie
// in the module's data. One that comes out of memory otherwise may be any function of its type whose address is taken; if
// the memory is in the frame of a caller, any whose address that caller stores. A function that calls its own parameter is
// judged without it, and with it for each caller. `assumes` names a call through a pointer of which nothing more was known.
//
// Following values costs much where many functions call many through pointers (an interpreter, a database). What takes too many steps is
// judged coarsely instead: a call through a pointer may be any function of its type whose address is taken.
import { callKinds } from '../guest/wasi.ts'
import { type FuncType, importCount, indexSpaces, type Module } from '../wasm/module.ts'
import { type Call, constantOf, type Facts, factsOf, type Place } from './facts.ts'
import { unrepeatableCalls } from './host-calls.ts'
import { unknown, type Value } from './values.ts'

export const levels = ['pure', 'reads', 'repeatable', 'recorded', 'unrepeatable'] as const
export type Level = (typeof levels)[number]

export interface Verdict {
  readonly level: Level
  /** The functions from the one that is judged to the one that decided, by index. */
  readonly path: readonly number[]
  /** What decided: an instruction of the last of these, or an import. Nothing decides `pure`. */
  readonly by: Place | { readonly import: string } | undefined
  /** A call through a pointer of which nothing is known. */
  readonly assumes: Place | undefined
}

/** Functions that a frame's owner may have stored the address of, and so on: how deep calls are followed with their arguments. */
const deepest = 60

/** Judgements of a call for one function, and for all of the module; what needs more is judged coarsely. */
const mostSteps = 4000
const mostStepsInAll = 150_000

const tooManySteps = new Error('too many steps')

/** Below this no linker puts data. */
const nullPage = 64

type Binding = readonly Value[]

export class Purity {
  readonly #module: Module
  readonly #imported: number
  readonly #types: readonly number[]
  readonly #facts: readonly Facts[]
  /** The function at each place of the first table, and the data segments. */
  readonly #table = new Map<number, number>()
  readonly #segments: { at: number; bytes: Uint8Array }[] = []
  readonly #memo = new Map<string, Verdict>()
  #left = mostStepsInAll
  #allowed = 0
  #all: Verdict[] | undefined

  constructor(module: Module, facts: readonly Facts[] = factsOf(module)) {
    this.#module = module
    this.#facts = facts
    this.#imported = importCount(module, 'func')
    this.#types = indexSpaces(module).functions
    for (const { offset, functions, table } of module.elements) {
      const at = offset === undefined ? undefined : constantOf(offset)
      if (at === undefined || table !== 0 || functions === undefined) continue
      functions.forEach((f, i) => this.#table.set(at + i, f))
    }
    for (const { offset, bytes } of module.datas) {
      const at = offset === undefined ? undefined : constantOf(offset)
      if (at !== undefined) this.#segments.push({ at, bytes })
    }
  }

  /** The verdict on a function of the module by its index (an import too). */
  of(func: number): Verdict {
    const type = this.#module.types[this.#types[func] as number] as FuncType
    this.#allowed = Math.min(mostSteps, this.#left)
    const allowed = this.#allowed
    try {
      return this.#judge(
        func,
        type.params.map((_, index) => ({ kind: 'param', index })),
        [],
      )
    } catch (error) {
      if (error !== tooManySteps) throw error
      this.#all ??= this.#coarse()
      return this.#all[func - this.#imported] as Verdict
    } finally {
      this.#left -= allowed - this.#allowed
    }
  }

  // Every function at once: the worst of itself and of what it may call, until nothing changes.
  #coarse(): Verdict[] {
    const found = this.#facts.map((facts, i) => this.#own(this.#imported + i, facts, []))
    const callers: number[][] = this.#facts.map(() => [])
    const work: number[] = []
    const spread = (caller: number, target: number): void => {
      const from = found[caller] as Verdict
      const to =
        target < this.#imported ? this.#ofImport(target) : (found[target - this.#imported] as Verdict)
      if (rank(to.level) <= rank(from.level)) return
      found[caller] = { ...from, level: to.level, by: to.by, path: [this.#imported + caller, ...to.path] }
      work.push(caller)
    }
    this.#facts.forEach(({ calls }, caller) => {
      for (const call of calls) {
        const direct = typeof call.target === 'number'
        if (!direct) found[caller] = { ...(found[caller] as Verdict), assumes: call.place }
        for (const target of direct ? [call.target as number] : this.#ofType(call.type)) {
          if (target >= this.#imported) {
            const facts = this.#facts[target - this.#imported] as Facts
            if (!facts.returns) continue
            callers[target - this.#imported]?.push(caller)
          }
          spread(caller, target)
        }
      }
    })
    for (let next = work.pop(); next !== undefined; next = work.pop())
      for (const caller of callers[next] as number[]) spread(caller, this.#imported + next)
    return found
  }

  readonly #byType = new Map<number, readonly number[]>()
  /** Functions of a type whose address is taken. */
  #ofType(type: number): readonly number[] {
    let found = this.#byType.get(type)
    if (found === undefined) {
      const wanted = this.#module.types[type]
      found = [...new Set(this.#table.values())].filter(f =>
        sameType(this.#module.types[this.#types[f] as number], wanted),
      )
      this.#byType.set(type, found)
    }
    return found
  }

  #judge(func: number, binding: Binding, way: readonly string[]): Verdict {
    if (func < this.#imported) return this.#ofImport(func)
    const key = `${func}:${binding.map(text).join()}`
    const known = this.#memo.get(key)
    if (known !== undefined) return known
    // In a cycle the other members say what it does.
    if (way.includes(key) || way.length > deepest) return verdict('pure', [func], undefined)
    if (this.#allowed-- <= 0) throw tooManySteps
    const facts = this.#facts[func - this.#imported] as Facts
    let worst = this.#own(func, facts, binding)
    let assumes: Place | undefined
    const next = [...way, key]
    for (const call of facts.calls) {
      if (worst.level === 'unrepeatable') break
      const { targets, assumed } = this.#targets(func, call, binding)
      if (assumed) assumes ??= call.place
      const args = call.args.map(value => this.#resolve(value, binding))
      for (const target of targets) {
        // What comes only before the end of the program is nobody's input.
        if (target >= this.#imported && !(this.#facts[target - this.#imported] as Facts).returns) continue
        const found = this.#judge(target, this.#useful(args), next)
        assumes ??= found.assumes
        if (rank(found.level) > rank(worst.level)) worst = { ...found, path: [func, ...found.path] }
      }
    }
    const result = { ...worst, assumes }
    // A verdict from inside a cycle is only final for the function that the cycle was entered by.
    if (way.length === 0 || !this.#inCycle(func)) this.#memo.set(key, result)
    return result
  }

  #cyclic: Set<number> | undefined
  #inCycle(func: number): boolean {
    this.#cyclic ??= cyclicFunctions(this.#facts, this.#imported)
    return this.#cyclic.has(func)
  }

  #ofImport(func: number): Verdict {
    const imports = this.#module.imports.filter(i => i.kind === 'func')
    const { module, name } = imports[func] as { module: string; name: string }
    const by = { import: `${module}.${name}` }
    const kind = module === 'wasi_snapshot_preview1' ? callKinds.get(name) : undefined
    const level: Level =
      kind === undefined || unrepeatableCalls.has(name)
        ? 'unrepeatable'
        : kind === 'not'
          ? 'unrepeatable'
          : 'recorded'
    return { level, path: [], by, assumes: undefined }
  }

  #own(func: number, f: Facts, binding: Binding): Verdict {
    // What is in the frame of a caller that is judged with this is no effect of it.
    const outside = (by: ReadonlyMap<number, Place>): Place | undefined => {
      for (const [param, place] of by) if (binding[param]?.kind !== 'frame') return place
      return undefined
    }
    if (f.unrepeatable !== undefined) return verdict('unrepeatable', [func], f.unrepeatable)
    const changed = f.writes ?? outside(f.writesParam) ?? f.grows ?? f.globals
    if (changed !== undefined) return verdict('repeatable', [func], changed)
    const read = f.reads ?? outside(f.readsParam)
    if (read !== undefined) return verdict('reads', [func], read)
    return verdict('pure', [func], undefined)
  }

  #resolve(value: Value, binding: Binding): Value {
    if (value.kind === 'param') return binding[value.index] ?? unknown
    if (value.kind === 'load') {
      const base = this.#resolve(value.base, binding)
      if (base.kind === 'constant') {
        const at = base.value + value.offset
        // Nobody calls what lies behind a null pointer.
        if (at < nullPage) return { kind: 'constant', value: 0 }
        const word = this.#word(at)
        return word === undefined ? unknown : { kind: 'constant', value: word }
      }
      return base.kind === 'frame' || base.kind === 'param'
        ? { kind: 'load', base, offset: value.offset }
        : unknown
    }
    return value
  }

  // Arguments that can matter: the others are alike for every caller.
  #useful(args: readonly Value[]): Binding {
    return args.map(v => {
      if (v.kind === 'frame' || v.kind === 'param') return v
      if (v.kind !== 'constant') return unknown
      if (v.value === 0) return v
      // A pointer to a function, or to data in which there may be one.
      return this.#table.has(v.value) ||
        this.#segments.some(s => v.value >= s.at && v.value < s.at + s.bytes.length)
        ? v
        : unknown
    })
  }

  #targets(func: number, call: Call, binding: Binding): { targets: readonly number[]; assumed: boolean } {
    if (typeof call.target === 'number') return { targets: [call.target], assumed: false }
    const value = this.#resolve(call.target, binding)
    const fits = (f: number | undefined): f is number =>
      f !== undefined && sameType(this.#module.types[this.#types[f] as number], this.#module.types[call.type])
    if (value.kind === 'constant') {
      const target = this.#table.get(value.value)
      return { targets: fits(target) ? [target] : [], assumed: false }
    }
    // Of a parameter whoever calls decides.
    if (value.kind === 'param') return { targets: [], assumed: true }
    if (value.kind === 'load' && value.base.kind === 'frame') {
      const { owner: maker } = value.base
      const owner = this.#facts[maker - this.#imported] as Facts
      const given = [...owner.storedParams].map(i => (maker === func ? binding[i] : unknown))
      const stored = [...owner.stored, ...given.flatMap(v => (v?.kind === 'constant' ? [v.value] : []))]
      const targets = [...new Set(stored.map(v => this.#table.get(v)))].filter(fits)
      return { targets, assumed: targets.length === 0 }
    }
    return { targets: this.#ofType(call.type), assumed: true }
  }

  #word(at: number): number | undefined {
    for (const s of this.#segments)
      if (at >= s.at && at + 4 <= s.at + s.bytes.length)
        return new DataView(s.bytes.buffer, s.bytes.byteOffset).getInt32(at - s.at, true)
    return undefined
  }
}

const rank = (level: Level): number => levels.indexOf(level)
const verdict = (level: Level, path: readonly number[], by: Place | undefined): Verdict => ({
  level,
  path,
  by,
  assumes: undefined,
})

function text(v: Value): string {
  return v.kind === 'constant'
    ? `c${v.value}`
    : v.kind === 'frame'
      ? `f${v.owner}`
      : v.kind === 'param'
        ? 'p'
        : '-'
}

function sameType(a: FuncType | undefined, b: FuncType | undefined): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.params.join() === b.params.join() &&
    a.results.join() === b.results.join()
  )
}

/** Functions that can come to call themselves by direct calls. */
function cyclicFunctions(facts: readonly Facts[], imported: number): Set<number> {
  // Tarjan's strongly connected components, without recursion.
  const n = facts.length
  const index = new Int32Array(n).fill(-1)
  const low = new Int32Array(n)
  const on = new Uint8Array(n)
  const stack: number[] = []
  const cyclic = new Set<number>()
  let count = 0
  const calls = facts.map(f =>
    f.calls.flatMap(c => (typeof c.target === 'number' && c.target >= imported ? [c.target - imported] : [])),
  )
  for (let root = 0; root < n; root++) {
    if (index[root] !== -1) continue
    const work: { v: number; i: number }[] = [{ v: root, i: 0 }]
    while (work.length > 0) {
      const top = work[work.length - 1] as { v: number; i: number }
      const { v } = top
      if (top.i === 0) {
        index[v] = low[v] = count++
        stack.push(v)
        on[v] = 1
      }
      const next = (calls[v] as number[])[top.i++]
      if (next !== undefined) {
        if (next === v) cyclic.add(v + imported)
        if (index[next] === -1) work.push({ v: next, i: 0 })
        else if (on[next]) low[v] = Math.min(low[v] as number, index[next] as number)
        continue
      }
      work.pop()
      const parent = work[work.length - 1]
      if (parent !== undefined) low[parent.v] = Math.min(low[parent.v] as number, low[v] as number)
      if (low[v] !== index[v]) continue
      const members: number[] = []
      for (let w = -1; w !== v; ) {
        w = stack.pop() as number
        on[w] = 0
        members.push(w)
      }
      if (members.length > 1) for (const m of members) cyclic.add(m + imported)
    }
  }
  return cyclic
}
