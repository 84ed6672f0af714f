// A function while it is translated: its operand stack, as values with their shadows, and its blocks, with what branches carry.
import { Cursor } from '../wasm/instructions.ts'
import type { Func, FuncType, ValueType } from '../wasm/module.ts'
import { I32 } from '../wasm/module.ts'
import { pushT, pushTag, pushV } from './accesses.ts'
import type { Context } from './context.ts'
import { Emitter } from './emitter.ts'
import { type FrameUse, type Place, places, strays } from './frames.ts'
import { type ScopedPlace, scopedPlaces } from './scopes.ts'
import { isPointer, Locals, NONE, shadowType, type Symbol, type Value } from './values.ts'

export interface Label {
  readonly kind: 'function' | 'block' | 'loop' | 'if' | 'else' | 'try' | 'catch'
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
  /** Height of the operand stack below the block's parameters. */
  readonly height: number
  /** Counts the blocks of the function: names the locals of its results. */
  readonly number: number
  /** What a branch to it carries. */
  readonly carries: readonly ValueType[]
}

/**
 * What turned out not to be always defined (v), to have a T at times (t), or to be a pointer at times (p): locals by number, blocks'
 * results by name.
 */
export interface Dirt {
  readonly v: Found<string | number>
  readonly t: Found<string | number>
  readonly p: Found<string | number>
  /** Sites of loads whose shadow word a store behind them asks for. */
  readonly loads: Found<number>
}

/** A set that knows whether it was asked for something that came in only later: then what was answered is not what it would answer now. */
export class Found<T> {
  readonly #in = new Set<T>()
  readonly #missed = new Set<T>()
  /** Since `begin`, it has answered something that it would not answer any more. */
  stale = false

  begin(): void {
    this.#missed.clear()
    this.stale = false
  }

  add(one: T): void {
    this.#in.add(one)
    if (this.#missed.has(one)) this.stale = true
  }

  has(one: T): boolean {
    if (this.#in.has(one)) return true
    this.#missed.add(one)
    return false
  }
}

/** A load: its site, and the local with the shadow word that it has found, if it keeps it. */
export interface Loaded {
  readonly site: number
  readonly word: number | undefined
}

/** What the parts of a translation share. Each further part is a class on top. */
export class Blocks {
  readonly locals: Locals
  protected readonly context: Context
  protected readonly index: number
  protected readonly type: FuncType
  protected readonly types: readonly ValueType[]
  protected readonly use: FrameUse
  protected readonly dirt: Dirt
  protected readonly out: Emitter = new Emitter(4096)
  protected readonly cursor: Cursor
  protected stack: Value[] = []
  protected readonly labels: Label[] = []
  protected blocks = 0
  /**
   * Locals that were used as addresses, by all ways to here and since the last call, with the bytes from there that were seen to be in
   * the object: between two such bytes all are.
   */
  protected readonly used: Map<number, { low: number; high: number }> = new Map()
  /** Loads behind such locals, in this straight piece of code and with no store since, by what they load: a store there may take over what they have found. */
  protected readonly loaded: Map<number, Map<number, Loaded>> = new Map()
  /** How many of them have a local. */
  protected words = 0
  /** Symbols of locals that are set once. */
  protected readonly symbols: (Symbol | undefined)[] = []
  /** The straight code at the start, where the prologue is. */
  protected entry = true
  protected moved = false
  /** The place of the instruction before. */
  protected last = -1
  protected readonly places: readonly Place[]
  /** Sites of accesses that leave a variable of the frame for certain: its index among the places. */
  protected readonly strays: ReadonlyMap<number, number>
  protected readonly plain: boolean
  protected readonly frameBase: number
  protected readonly scoped: readonly ScopedPlace[]
  protected readonly tags: boolean
  protected readonly allocas: boolean

  constructor(
    context: Context,
    func: Func,
    index: number,
    type: FuncType,
    types: readonly ValueType[],
    use: FrameUse,
    dirt: Dirt,
  ) {
    this.context = context
    this.index = index
    this.type = type
    this.types = types
    this.use = use
    this.dirt = dirt
    this.locals = new Locals(types)
    this.cursor = new Cursor(func.body, func.offset)
    const info = context.frame(index)
    this.plain = info.plain
    this.frameBase = info.base
    this.places = use.size === 0 ? [] : places(use, info.variables, info.plain)
    this.allocas = info.plain && context.stackPointer >= 0 && (use.leaf ? use.rounds : use.calls)
    this.tags = this.places.length > 0
    this.scoped =
      info.plain && this.tags && info.base >= 0 ? scopedPlaces(func, use, info.variables, this.places) : []
    this.strays = info.plain && info.complete ? strays(use, info.variables, this.places) : new Map()
  }

  /** Calls may do anything; and where ways meet, only one of them may have been by here. */
  protected forget(): void {
    this.used.clear()
    this.written()
  }

  /** Shadow words may have changed. */
  protected written(): void {
    this.loaded.clear()
    this.words = 0
  }

  // ---- the operand stack

  protected scratch = (name: string, type: ValueType): number => this.locals.named(name, type)

  protected pop(): Value {
    return this.stack.pop() as Value
  }

  protected push(
    type: ValueType,
    v: number = NONE,
    t: number = NONE,
    symbol?: Symbol,
    local?: number,
    number = false,
  ): void {
    this.stack.push({ type, v, t, symbol, local, number })
  }

  /** V of the result that comes next, to be set from the top of the machine's stack. */
  protected setV(type: ValueType): number {
    const v = this.locals.slotV(this.stack.length, type)
    this.out.set(v)
    return v
  }

  protected setT(): number {
    const t = this.locals.slotT(this.stack.length)
    this.out.set(t)
    return t
  }

  /** Values on the stack that have their shadow in this local get it for themselves. */
  protected keep(v: number | undefined, t: number | undefined): void {
    const out = this.out
    this.stack.forEach((value, depth) => {
      if (v !== undefined && value.v === v) {
        out.get(value.v)
        value.v = this.locals.slotV(depth, value.type)
        out.set(value.v)
      }
      if (t !== undefined && value.t === t) {
        out.get(value.t)
        value.t = this.locals.slotT(depth)
        out.set(value.t)
      }
    })
  }

  /** Before code that may not be executed: nothing on the stack shares a shadow with a local. */
  protected keepAll(): void {
    const out = this.out
    this.stack.forEach((value, depth) => {
      const v = this.locals.slotV(depth, value.type)
      if (value.v >= 0 && value.v !== v) {
        out.get(value.v)
        out.set(v)
        value.v = v
      }
      const t = value.t === NONE ? NONE : this.locals.slotT(depth)
      if (value.t !== NONE && value.t !== t) {
        pushT(out, value.t)
        out.set(t)
        value.t = t
      }
    })
  }

  // ---- blocks

  protected blockType(results: readonly ValueType[]): void {
    if (results.length === 0) this.out.byte(0x40)
    else if (results.length === 1) this.out.byte(results[0] as number)
    else {
      // Only functions with several results come here: their type has an index, but not one without parameters.
      const index = this.context.module.types.findIndex(
        type => type.params.length === 0 && type.results.join() === results.join(),
      )
      this.out.s32(index)
    }
  }

  protected label(kind: Label['kind'], params: readonly ValueType[], results: readonly ValueType[]): Label {
    return {
      kind,
      params,
      results,
      height: this.stack.length - params.length,
      number: this.blocks++,
      carries: kind === 'loop' ? params : results,
    }
  }

  /** The value that arrives at block `number` as the i-th that branches to it carry. */
  protected carried(number: number, type: ValueType, i: number): Value {
    const key = `b${number}.${i}`
    if (shadowType(type) === undefined) return { type, v: NONE, t: NONE }
    return {
      type,
      v: this.dirt.v.has(key) ? this.locals.named(`v${key}`, shadowType(type) as number) : NONE,
      t: this.dirt.t.has(key) ? this.locals.named(`t${key}`, I32) : NONE,
      number: !this.dirt.p.has(key),
    }
  }

  /** Copies the shadow of the topmost values to where a label's are. */
  protected carry(label: Label): void {
    const out = this.out
    const { carries, number } = label
    const from = this.stack.length - carries.length
    carries.forEach((type, i) => {
      const value = this.stack[from + i]
      if (value === undefined) return
      const key = `b${number}.${i}`
      if (value.v !== NONE) this.dirt.v.add(key)
      if (value.t !== NONE) this.dirt.t.add(key)
      if (isPointer(value)) this.dirt.p.add(key)
      const to = this.carried(number, type, i)
      if (to.v >= 0 && to.v !== value.v) {
        pushV(out, type, value.v)
        out.set(to.v)
      }
      if (to.t >= 0 && to.t !== value.t) {
        if (to.number === true) pushT(out, value.t)
        else pushTag(out, value)
        out.set(to.t)
      }
    })
  }

  protected target(depth: number): Label {
    return this.labels[this.labels.length - 1 - depth] as Label
  }

  protected begin(kind: Label['kind'], cursor: Cursor): void {
    const { types } = this.context.module
    const type: FuncType =
      cursor.blockType >= 0
        ? (types[cursor.blockType] as FuncType)
        : { params: [], results: cursor.blockType === -64 ? [] : [cursor.blockType & 0x7f] }
    this.keepAll()
    if (kind === 'loop') this.forget()
    const label = this.label(kind, type.params, type.results)
    if (type.params.length > 0) {
      if (kind === 'loop') {
        this.carry(label)
        this.replaceTop(label.number, type.params)
      }
    }
    this.labels.push(label)
    if (this.entry)
      this.symbols.forEach((_, local) => {
        if (this.use.sets[local] !== 1) this.symbols[local] = undefined
      })
    this.entry = false
  }

  protected replaceTop(number: number, types: readonly ValueType[]): void {
    this.stack.length -= types.length
    types.forEach((type, i) => this.stack.push(this.carried(number, type, i)))
  }

  /** What the arms of an if or the handlers of a try start with. */
  protected readonly starts: Map<Label, Value[]> = new Map()

  protected else(cursor: Cursor, reachable: boolean): void {
    const label = this.labels.pop() as Label
    this.forget()
    if (reachable) this.carry(label)
    this.stack.length = label.height
    for (const value of this.starts.get(label) ?? []) this.stack.push({ ...value, local: undefined })
    this.raw(cursor)
    this.labels.push({ ...label, kind: 'else' })
  }

  protected handler(cursor: Cursor, reachable: boolean): void {
    const label = this.labels.pop() as Label
    this.forget()
    if (reachable) this.carry(label)
    this.stack.length = label.height
    this.raw(cursor)
    if (cursor.op === 0x07) for (const type of this.tagParams(cursor.index)) this.push(type)
    this.labels.push({ ...label, kind: 'catch' })
    // The frames that were left by the exception are gone.
    if (this.use.calls) {
      this.out.get(this.locals.named('calls', I32))
      this.out.i32(4)
      this.out.op(0x6a)
      this.out.globalSet(this.context.calls)
    }
  }

  protected tagParams(tag: number): readonly ValueType[] {
    const { module } = this.context
    const imported = module.imports.filter(one => one.kind === 'tag')
    const type = tag < imported.length ? imported[tag]?.type : module.tags[tag - imported.length]?.type
    return module.types[type ?? 0]?.params ?? []
  }

  protected end(reachable: boolean): void {
    const label = this.labels.pop() as Label
    this.forget()
    if (label.kind === 'loop') {
      // Only the end of its body leads out: the values stay where they are.
      this.out.end()
      if (reachable) return
      this.stack.length = label.height
      for (const type of label.results) this.push(type)
      return
    }
    if (reachable) this.carry({ ...label, carries: label.results })
    if (label.kind === 'if' && label.results.length > 0 && label.params.length === label.results.length) {
      // An `if` without `else` hands its parameters on.
      const values = this.starts.get(label) ?? []
      this.out.byte(0x05)
      this.stack.length = label.height
      this.stack.push(...values.map(value => ({ ...value })))
      this.carry({ ...label, carries: label.results })
    }
    this.out.end()
    this.stack.length = label.height
    if (label.kind === 'function') return
    label.results.forEach((type, i) => this.stack.push(this.carried(label.number, type, i)))
  }

  /** Skips what can't be reached, to the end of the block. */
  protected skip(cursor: Cursor): void {
    let depth = 0
    while (cursor.next()) {
      const { op } = cursor
      if (op === 0x02 || op === 0x03 || op === 0x04 || op === 0x06 || op === 0x1f) depth++
      else if (op === 0x0b) {
        if (depth-- === 0) return this.end(false)
      } else if (op === 0x18) {
        if (depth-- === 0) return this.delegate(cursor, false)
      } else if (depth === 0 && op === 0x05) return this.else(cursor, false)
      else if (depth === 0 && (op === 0x07 || op === 0x19)) return this.handler(cursor, false)
    }
  }

  protected delegate(cursor: Cursor, reachable: boolean): void {
    const label = this.labels.pop() as Label
    this.forget()
    if (reachable) this.carry(label)
    this.raw(cursor)
    this.stack.length = label.height
    label.results.forEach((type, i) => this.stack.push(this.carried(label.number, type, i)))
  }

  protected raw(cursor: Cursor): void {
    this.out.bytes(cursor.bytes, cursor.at, cursor.end)
  }
}
