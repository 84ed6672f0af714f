// One function with its checks. The instructions stay in their order and their operands on the operand stack; the shadow values are
// in locals beside. What is known before the program runs (a constant is defined, a comparison of defined values too) costs nothing:
// the translation assumes that every local and every block's result is always defined and never a pointer, and starts again
// with what turned out otherwise until nothing does.
import { Cursor } from '../wasm/instructions.ts'
import type { Func, FuncType, ValueType } from '../wasm/module.ts'
import { I32, I64 } from '../wasm/module.ts'
import { effects, isAccess, isStore, widths } from '../wasm/opcode-table.ts'
import { type Access, checkLoad, checkStore, pushT, pushV } from './accesses.ts'
import type { Context } from './context.ts'
import { CONTROL, Emitter } from './emitter.ts'
import { combine, type FrameUse, frameUse, type Place, placeAt, places } from './frames.ts'
import { FRAME_VARIABLES, TABLE } from './layout.ts'
import { any, binary, isUndefined, needsOperands, unary } from './operators.ts'
import { effectTypes, Locals, NONE, shadowType, type Symbol, type Value } from './values.ts'

interface Label {
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

/** What turned out not to be always defined (v) or to be a tag at times (t): locals by number, blocks' results by name. */
interface Dirt {
  readonly v: Set<string | number>
  readonly t: Set<string | number>
}

export interface Translated {
  readonly locals: Func['locals']
  readonly body: Uint8Array
  readonly use: FrameUse
}

/** Translates the function with this index in the module as it came. */
export function translate(context: Context, func: Func, index: number): Translated {
  const type = context.module.types[func.type] as FuncType
  const types = [...type.params]
  for (const run of func.locals) for (let i = 0; i < run.count; i++) types.push(run.type)
  const use = frameUse(func, context.stackPointer, type.params.length, types.length)
  const dirt: Dirt = { v: new Set(), t: new Set() }
  type.params.forEach((param, i) => {
    if (shadowType(param) === undefined) return
    dirt.v.add(i)
    dirt.t.add(i)
  })
  for (;;) {
    const before = dirt.v.size + dirt.t.size
    const translation = new Translation(context, func, index, type, types, use, dirt)
    const body = translation.run()
    if (dirt.v.size + dirt.t.size === before)
      return { locals: [...func.locals, ...translation.locals.runs()], body, use }
  }
}

class Translation {
  readonly locals: Locals
  readonly #context: Context
  readonly #index: number
  readonly #type: FuncType
  readonly #types: readonly ValueType[]
  readonly #use: FrameUse
  readonly #dirt: Dirt
  readonly #out = new Emitter(4096)
  readonly #cursor: Cursor
  #stack: Value[] = []
  readonly #labels: Label[] = []
  #blocks = 0
  /** Symbols of locals that are set once. */
  readonly #symbols: (Symbol | undefined)[] = []
  /** The straight code at the start, where the prologue is. */
  #entry = true
  #moved = false
  readonly #places: readonly Place[]
  readonly #plain: boolean
  readonly #tags: boolean
  readonly #allocas: boolean

  constructor(
    context: Context,
    func: Func,
    index: number,
    type: FuncType,
    types: readonly ValueType[],
    use: FrameUse,
    dirt: Dirt,
  ) {
    this.#context = context
    this.#index = index
    this.#type = type
    this.#types = types
    this.#use = use
    this.#dirt = dirt
    this.locals = new Locals(types)
    this.#cursor = new Cursor(func.body, func.offset)
    const info = context.frame(index)
    this.#plain = info.plain
    this.#places = use.size === 0 ? [] : places(use, info.variables, info.plain)
    this.#allocas = context.stackPointer >= 0 && use.calls && !use.leaf
    this.#tags = this.#places.length > 0
  }

  run(): Uint8Array {
    const out = this.#out
    this.#prologue()
    out.op(0x02)
    this.#blockType(this.#type.results)
    this.#labels.push(this.#label('function', [], this.#type.results))
    const cursor = this.#cursor
    while (cursor.next()) {
      this.#instruction(cursor)
      if (this.#labels.length === 0) break
    }
    this.#epilogue()
    out.end()
    return out.take()
  }

  // ---- entering and leaving

  #prologue(): void {
    const out = this.#out
    const { locals } = this
    const context = this.#context
    this.#type.params.forEach((type, i) => {
      if (shadowType(type) === undefined) return
      out.globalGet(context.parameterV(i, shadowType(type) as number))
      out.set(locals.v(i))
      out.globalGet(context.parameterT(i))
      out.set(locals.t(i))
    })
    if (this.#use.calls) {
      out.globalGet(context.calls)
      out.tee(locals.named('calls', I32))
      out.i32(4)
      out.op(0x6a)
      out.globalSet(context.calls)
    }
    if (this.#tags || this.#allocas) {
      out.globalGet(context.tags)
      out.set(locals.named('tags', I32))
    }
    if (this.#use.leaf) {
      // What lies below the stack pointer is this function's until it returns.
      out.globalGet(context.stackPointer)
      out.i32(this.#use.size)
      out.op(0x6b)
      out.globalGet(context.stackPointer)
      out.i32(context.stackOrigin(this.#index))
      out.call(context.helpers.push)
    }
    if (this.#tags) this.#tagPlaces()
  }

  // Entries of the object table for the variables of the frame.
  #tagPlaces(): void {
    const out = this.#out
    const context = this.#context
    const tags = this.locals.named('tags', I32)
    this.#places.forEach((place, i) => {
      out.get(tags)
      out.globalGet(context.stackPointer)
      out.i32(place.start - this.#use.size)
      out.op(0x6a, 0xad)
      out.i64(BigInt(place.length) << 32n)
      out.op(0x84)
      out.memory(0x37, CONTROL, TABLE + 8 * i)
      out.get(tags)
      out.i32(1)
      out.op(0x76)
      out.i32(context.variable(this.#index, i))
      out.memory(0x36, CONTROL, FRAME_VARIABLES + 4 * i)
    })
    out.get(tags)
    out.i32(8 * this.#places.length)
    out.op(0x6a)
    out.globalSet(context.tags)
  }

  #epilogue(): void {
    const out = this.#out
    const context = this.#context
    const { locals } = this
    this.#type.results.forEach((type, i) => {
      const shadow = shadowType(type)
      if (shadow === undefined) return
      const value = this.#carried(0, type, i)
      pushV(out, type, value.v)
      out.globalSet(context.resultV(i, shadow))
      pushT(out, value.t)
      out.globalSet(context.resultT(i))
    })
    if (this.#use.leaf) {
      out.globalGet(context.stackPointer)
      out.i32(this.#use.size)
      out.op(0x6b)
      out.globalGet(context.stackPointer)
      out.call(context.helpers.pop)
    }
    if (this.#tags || this.#allocas) {
      out.get(locals.named('tags', I32))
      out.globalGet(context.tags)
      out.op(0x47)
      out.if()
      out.get(locals.named('tags', I32))
      out.call(context.helpers.dropTags)
      out.end()
    }
    if (this.#use.calls) {
      out.get(locals.named('calls', I32))
      out.globalSet(context.calls)
    }
  }

  // ---- the operand stack

  #scratch = (name: string, type: ValueType): number => this.locals.named(name, type)

  #pop(): Value {
    return this.#stack.pop() as Value
  }

  #push(type: ValueType, v = NONE, t = NONE, symbol?: Symbol): void {
    this.#stack.push({ type, v, t, symbol })
  }

  /** V of the result that comes next, to be set from the top of the machine's stack. */
  #setV(type: ValueType): number {
    const v = this.locals.slotV(this.#stack.length, type)
    this.#out.set(v)
    return v
  }

  #setT(): number {
    const t = this.locals.slotT(this.#stack.length)
    this.#out.set(t)
    return t
  }

  /** Values on the stack that have their shadow in this local get it for themselves. */
  #keep(v: number | undefined, t: number | undefined): void {
    const out = this.#out
    this.#stack.forEach((value, depth) => {
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
  #keepAll(): void {
    const out = this.#out
    this.#stack.forEach((value, depth) => {
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

  #blockType(results: readonly ValueType[]): void {
    if (results.length === 0) this.#out.byte(0x40)
    else if (results.length === 1) this.#out.byte(results[0] as number)
    else {
      // Only functions with several results come here: their type has an index, but not one without parameters.
      const index = this.#context.module.types.findIndex(
        type => type.params.length === 0 && type.results.join() === results.join(),
      )
      this.#out.s32(index)
    }
  }

  #label(kind: Label['kind'], params: readonly ValueType[], results: readonly ValueType[]): Label {
    return {
      kind,
      params,
      results,
      height: this.#stack.length - params.length,
      number: this.#blocks++,
      carries: kind === 'loop' ? params : results,
    }
  }

  /** The value that arrives at block `number` as the i-th that branches to it carry. */
  #carried(number: number, type: ValueType, i: number): Value {
    const key = `b${number}.${i}`
    if (shadowType(type) === undefined) return { type, v: NONE, t: NONE }
    return {
      type,
      v: this.#dirt.v.has(key) ? this.locals.named(`v${key}`, shadowType(type) as number) : NONE,
      t: this.#dirt.t.has(key) ? this.locals.named(`t${key}`, I32) : NONE,
    }
  }

  /** Copies the shadow of the topmost values to where a label's are. */
  #carry(label: Label): void {
    const out = this.#out
    const { carries, number } = label
    const from = this.#stack.length - carries.length
    carries.forEach((type, i) => {
      const value = this.#stack[from + i]
      if (value === undefined) return
      const key = `b${number}.${i}`
      if (value.v !== NONE) this.#dirt.v.add(key)
      if (value.t !== NONE) this.#dirt.t.add(key)
      const to = this.#carried(number, type, i)
      if (to.v >= 0 && to.v !== value.v) {
        pushV(out, type, value.v)
        out.set(to.v)
      }
      if (to.t >= 0 && to.t !== value.t) {
        pushT(out, value.t)
        out.set(to.t)
      }
    })
  }

  #target(depth: number): Label {
    return this.#labels[this.#labels.length - 1 - depth] as Label
  }

  #begin(kind: Label['kind'], cursor: Cursor): void {
    const { types } = this.#context.module
    const type: FuncType =
      cursor.blockType >= 0
        ? (types[cursor.blockType] as FuncType)
        : { params: [], results: cursor.blockType === -64 ? [] : [cursor.blockType & 0x7f] }
    this.#keepAll()
    const label = this.#label(kind, type.params, type.results)
    if (type.params.length > 0) {
      if (kind === 'loop') {
        this.#carry(label)
        this.#replaceTop(label.number, type.params)
      }
    }
    this.#labels.push(label)
    if (this.#entry)
      this.#symbols.forEach((_, local) => {
        if (this.#use.sets[local] !== 1) this.#symbols[local] = undefined
      })
    this.#entry = false
  }

  #replaceTop(number: number, types: readonly ValueType[]): void {
    this.#stack.length -= types.length
    types.forEach((type, i) => this.#stack.push(this.#carried(number, type, i)))
  }

  /** What the arms of an if or the handlers of a try start with. */
  readonly #starts = new Map<Label, Value[]>()

  #else(cursor: Cursor, reachable: boolean): void {
    const label = this.#labels.pop() as Label
    if (reachable) this.#carry(label)
    this.#stack.length = label.height
    for (const value of this.#starts.get(label) ?? []) this.#stack.push({ ...value })
    this.#raw(cursor)
    this.#labels.push({ ...label, kind: 'else' })
  }

  #handler(cursor: Cursor, reachable: boolean): void {
    const label = this.#labels.pop() as Label
    if (reachable) this.#carry(label)
    this.#stack.length = label.height
    this.#raw(cursor)
    if (cursor.op === 0x07) for (const type of this.#tagParams(cursor.index)) this.#push(type)
    this.#labels.push({ ...label, kind: 'catch' })
    // The frames that were left by the exception are gone.
    if (this.#use.calls) {
      this.#out.get(this.locals.named('calls', I32))
      this.#out.i32(4)
      this.#out.op(0x6a)
      this.#out.globalSet(this.#context.calls)
    }
  }

  #tagParams(tag: number): readonly ValueType[] {
    const { module } = this.#context
    const imported = module.imports.filter(one => one.kind === 'tag')
    const type = tag < imported.length ? imported[tag]?.type : module.tags[tag - imported.length]?.type
    return module.types[type ?? 0]?.params ?? []
  }

  #end(reachable: boolean): void {
    const label = this.#labels.pop() as Label
    if (label.kind === 'loop') {
      // Only the end of its body leads out: the values stay where they are.
      this.#out.end()
      if (reachable) return
      this.#stack.length = label.height
      for (const type of label.results) this.#push(type)
      return
    }
    if (reachable) this.#carry({ ...label, carries: label.results })
    if (label.kind === 'if' && label.results.length > 0 && label.params.length === label.results.length) {
      // An `if` without `else` hands its parameters on.
      const values = this.#starts.get(label) ?? []
      this.#out.byte(0x05)
      this.#stack.length = label.height
      this.#stack.push(...values.map(value => ({ ...value })))
      this.#carry({ ...label, carries: label.results })
    }
    this.#out.end()
    this.#stack.length = label.height
    if (label.kind === 'function') return
    label.results.forEach((type, i) => this.#stack.push(this.#carried(label.number, type, i)))
  }

  /** Skips what can't be reached, to the end of the block. */
  #skip(cursor: Cursor): void {
    let depth = 0
    while (cursor.next()) {
      const { op } = cursor
      if (op === 0x02 || op === 0x03 || op === 0x04 || op === 0x06 || op === 0x1f) depth++
      else if (op === 0x0b) {
        if (depth-- === 0) return this.#end(false)
      } else if (op === 0x18) {
        if (depth-- === 0) return this.#delegate(cursor, false)
      } else if (depth === 0 && op === 0x05) return this.#else(cursor, false)
      else if (depth === 0 && (op === 0x07 || op === 0x19)) return this.#handler(cursor, false)
    }
  }

  #delegate(cursor: Cursor, reachable: boolean): void {
    const label = this.#labels.pop() as Label
    if (reachable) this.#carry(label)
    this.#raw(cursor)
    this.#stack.length = label.height
    label.results.forEach((type, i) => this.#stack.push(this.#carried(label.number, type, i)))
  }

  // ---- instructions

  #raw(cursor: Cursor): void {
    this.#out.bytes(cursor.bytes, cursor.at, cursor.end)
  }

  #instruction(cursor: Cursor): void {
    const { op } = cursor
    if (op >= 0x45 && op <= 0xc4) return this.#numeric(cursor)
    if (isAccess(op)) return this.#access(cursor)
    const out = this.#out
    switch (op) {
      case 0x00:
        this.#raw(cursor)
        return this.#skip(cursor)
      case 0x01:
        return
      case 0x02:
      case 0x03:
      case 0x06:
      case 0x1f: {
        this.#begin(op === 0x03 ? 'loop' : op === 0x02 ? 'block' : 'try', cursor)
        if (op === 0x1f) this.#clean(cursor)
        return this.#raw(cursor)
      }
      case 0x04: {
        this.#decide(this.#pop(), cursor.place, true)
        this.#begin('if', cursor)
        const label = this.#labels.at(-1) as Label
        this.#starts.set(
          label,
          this.#stack.slice(label.height).map(value => ({ ...value })),
        )
        return this.#raw(cursor)
      }
      case 0x05:
        return this.#else(cursor, true)
      case 0x07:
      case 0x19:
        return this.#handler(cursor, true)
      case 0x18:
        return this.#delegate(cursor, true)
      case 0x0b:
        return this.#end(true)
      case 0x08:
      case 0x09:
      case 0x0a:
        this.#raw(cursor)
        return this.#skip(cursor)
      case 0x0c:
        this.#carry(this.#target(cursor.index))
        this.#raw(cursor)
        return this.#skip(cursor)
      case 0x0d:
        this.#decide(this.#pop(), cursor.place, true)
        this.#carry(this.#target(cursor.index))
        return this.#raw(cursor)
      case 0x0e:
        this.#decide(this.#pop(), cursor.place, false)
        for (const label of new Set(cursor.labels())) this.#carry(this.#target(label))
        this.#raw(cursor)
        return this.#skip(cursor)
      case 0x0f:
        this.#carry(this.#labels[0] as Label)
        out.br(this.#labels.length - 1)
        return this.#skip(cursor)
      case 0x10:
      case 0x11:
      case 0x12:
      case 0x13:
        return this.#call(cursor)
      case 0x1a:
        this.#pop()
        return this.#raw(cursor)
      case 0x1b:
      case 0x1c:
        return this.#select(cursor)
      case 0x20:
        return this.#localGet(cursor)
      case 0x21:
      case 0x22:
        return this.#localSet(cursor)
      case 0x23:
        return this.#globalGet(cursor)
      case 0x24:
        return this.#globalSet(cursor)
      case 0x40:
        return this.#grow(cursor)
      case 0x41: {
        const tag = this.#context.globalTag(cursor.i32 >>> 0, this.#plain)
        this.#push(I32, NONE, tag === 0 ? NONE : -2 - tag, { kind: 'constant', value: cursor.i32 })
        return this.#raw(cursor)
      }
      case 0xd2:
        this.#push(0x70)
        out.byte(0xd2)
        return out.u32(this.#moveFunction(cursor.index))
      case 0x108:
      case 0x10a:
      case 0x10b:
        return this.#bulk(cursor)
      default:
        return this.#other(cursor)
    }
  }

  #moveFunction(index: number): number {
    return index < this.#context.importedFunctions ? index : index + this.#context.shift
  }

  // What a catch clause carries is defined.
  #clean(cursor: Cursor): void {
    for (const { label } of cursor.clauses()) {
      const target = this.#labels[this.#labels.length - 2 - label]
      target?.carries.forEach((type, i) => {
        const { v, t } = this.#carried(target.number, type, i)
        if (v >= 0) {
          this.#out.zero(shadowType(type) ?? I32)
          this.#out.set(v)
        }
        if (t >= 0) {
          this.#out.i32(0)
          this.#out.set(t)
        }
      })
    }
  }

  /** Reports a decision by the value on the machine's stack. `truth`: it is taken as true or false, not as a number. */
  #decide(value: Value, site: number, truth: boolean): void {
    if (value.v < 0) return
    const out = this.#out
    const c = this.#scratch('c', I32)
    if (truth) out.tee(c)
    if (truth) this.#truth(c, value.v)
    else out.get(value.v)
    out.if()
    pushT(out, value.t)
    out.i32(site)
    out.call(this.#context.hooks.decided)
    out.end()
  }

  /** Leaves whether the truth of an i32 is not defined: it has undefined bits, and none that is set for certain. */
  #truth(c: number, v: number): void {
    const out = this.#out
    out.get(v)
    out.if(I32)
    out.get(c)
    out.get(v)
    out.i32(-1)
    out.op(0x73, 0x71, 0x45)
    out.else()
    out.i32(0)
    out.end()
  }

  #localGet(cursor: Cursor): void {
    const { index } = cursor
    const type = this.#types[index] as ValueType
    const dirty = this.#dirt
    this.#raw(cursor)
    if (this.#plain && this.#use.stackPointers.has(index) && this.#symbols[index]?.kind !== 'frame')
      return this.#push(I32, NONE, NONE, { kind: 'stack pointer' })
    this.#push(
      type,
      dirty.v.has(index) ? this.locals.v(index) : NONE,
      dirty.t.has(index) ? this.locals.t(index) : NONE,
      this.#symbols[index],
    )
  }

  #localSet(cursor: Cursor): void {
    const { index, op } = cursor
    const out = this.#out
    const { locals } = this
    const value = this.#pop()
    if (value.v !== NONE) this.#dirt.v.add(index)
    if (value.t !== NONE) this.#dirt.t.add(index)
    const v = this.#dirt.v.has(index) ? locals.v(index) : undefined
    const t = this.#dirt.t.has(index) ? locals.t(index) : undefined
    if (v !== value.v || t !== value.t)
      this.#keep(v === value.v ? undefined : v, t === value.t ? undefined : t)
    if (v !== undefined && v !== value.v) {
      pushV(out, value.type, value.v)
      out.set(v)
    }
    if (t !== undefined && t !== value.t) {
      pushT(out, value.t)
      out.set(t)
    }
    const params = this.#type.params.length
    const known = this.#entry || (this.#use.sets[index] === 1 && index >= params)
    this.#symbols[index] = known ? value.symbol : undefined
    if (op === 0x22) this.#push(value.type, v ?? NONE, t ?? NONE, value.symbol)
    this.#raw(cursor)
  }

  #globalGet(cursor: Cursor): void {
    const { index } = cursor
    const context = this.#context
    this.#raw(cursor)
    const type = this.#globalType(index)
    if (index === context.stackPointer)
      return this.#push(
        I32,
        NONE,
        NONE,
        this.#entry && !this.#moved ? { kind: 'frame', offset: this.#use.size } : { kind: 'stack pointer' },
      )
    if (!type.mutable || shadowType(type.type) === undefined) return this.#push(type.type)
    this.#out.globalGet(context.globalV(index, shadowType(type.type) as number))
    const v = this.#setV(type.type)
    this.#out.globalGet(context.globalT(index))
    this.#push(type.type, v, this.#setT())
  }

  #globalType(index: number): { type: ValueType; mutable: boolean } {
    const { module } = this.#context
    const imported = module.imports.filter(one => one.kind === 'global')
    const global = index < imported.length ? imported[index]?.type : module.globals[index - imported.length]
    return global ?? { type: I32, mutable: true }
  }

  #globalSet(cursor: Cursor): void {
    const out = this.#out
    const context = this.#context
    const { index } = cursor
    const value = this.#pop()
    if (index === context.stackPointer) {
      this.#moved = true
      out.i32(context.stackOrigin(this.#index))
      return out.call(context.helpers.setStack)
    }
    const shadow = shadowType(value.type)
    if (shadow !== undefined) {
      pushV(out, value.type, value.v)
      out.globalSet(context.globalV(index, shadow))
      pushT(out, value.t)
      out.globalSet(context.globalT(index))
    }
    this.#raw(cursor)
  }

  // ---- calls

  #call(cursor: Cursor): void {
    const out = this.#out
    const context = this.#context
    const { module } = context
    const { op } = cursor
    const indirect = op === 0x11 || op === 0x13
    if (indirect) this.#decide(this.#pop(), cursor.place, false)
    const type = module.types[
      indirect ? cursor.index : (context.functionTypes[cursor.index] as number)
    ] as FuncType
    const host = !indirect && cursor.index < context.importedFunctions
    const from = this.#stack.length - type.params.length
    type.params.forEach((param, i) => {
      const value = this.#stack[from + i] as Value
      const shadow = shadowType(param)
      if (shadow === undefined) return
      if (host) return this.#argument(value, i, cursor.place)
      pushV(out, param, value.v)
      out.globalSet(context.parameterV(i, shadow))
      pushT(out, value.t)
      out.globalSet(context.parameterT(i))
    })
    this.#stack.length = from
    if (indirect) this.#clearResults(type)
    out.get(this.locals.named('calls', I32))
    out.i32(cursor.place)
    out.memory(0x36, CONTROL, 0)
    if (op === 0x10) {
      out.byte(0x10)
      out.u32(this.#moveFunction(cursor.index))
    } else if (op === 0x12) {
      out.call(this.#moveFunction(cursor.index))
    } else {
      out.byte(0x11)
      out.u32(cursor.index)
      out.u32(cursor.index2)
    }
    type.results.forEach((result, i) => {
      const shadow = shadowType(result)
      if (shadow === undefined || host) return this.#push(result)
      out.globalGet(context.resultV(i, shadow))
      const v = this.#setV(result)
      out.globalGet(context.resultT(i))
      this.#push(result, v, this.#setT())
    })
    if (op === 0x12 || op === 0x13) {
      this.#carry(this.#labels[0] as Label)
      out.br(this.#labels.length - 1)
      this.#skip(cursor)
    }
  }

  // A function of the host's behind the table doesn't set them.
  #clearResults(type: FuncType): void {
    type.results.forEach((result, i) => {
      const shadow = shadowType(result)
      if (shadow === undefined) return
      this.#out.zero(shadow)
      this.#out.globalSet(this.#context.resultV(i, shadow))
      this.#out.i32(0)
      this.#out.globalSet(this.#context.resultT(i))
    })
  }

  #argument(value: Value, i: number, site: number): void {
    if (value.v < 0) return
    const out = this.#out
    isUndefined(out, value.type, value.v)
    out.if()
    out.i32(i)
    pushT(out, value.t)
    out.i32(site)
    out.call(this.#context.hooks.argument)
    out.end()
  }

  // ---- memory

  #access(cursor: Cursor): void {
    const { op } = cursor
    const out = this.#out
    const { params, results } = effectTypes(effects[op] as string)
    const width = widths[op] as number
    const values = params.map(() => this.#pop()).reverse()
    const address = values[0] as Value
    const base = this.#scratch('base', I32)
    const xs = params.slice(1).map((type, i) => this.#scratch(`x${i}`, type))
    for (const x of [...xs].reverse()) out.set(x)
    out.set(base)
    const at = address.symbol?.kind === 'frame' ? address.symbol.offset + cursor.offset : -1
    const access: Access = {
      opcode: op,
      width,
      signed: extending.has(op),
      offset: cursor.offset,
      site: cursor.place,
      base,
      address,
      inFrame: this.#framed(address, at, width) ? at : undefined,
    }
    const result = results[0]
    if (result === undefined && op < 0x400) {
      checkStore(out, this.#context, this.locals, access, values[1] as Value)
    } else if (op >= 0x400 || isStore(op)) {
      // Atomic: the bytes have to be addressable, what comes back counts as defined.
      const v = this.#scratch('rv', result === I64 ? I64 : I32)
      if (width > 0)
        checkLoad(out, this.#context, this.locals, access, result ?? I32, v, this.#scratch('rt', I32))
    }
    let v = NONE
    let t = NONE
    if (result !== undefined && op < 0x400) {
      v = this.locals.slotV(this.#stack.length, result)
      t = this.locals.slotT(this.#stack.length)
      checkLoad(out, this.#context, this.locals, access, result, v, t)
    }
    out.get(base)
    for (const x of xs) out.get(x)
    this.#raw(cursor)
    if (result !== undefined) this.#push(result, v, t)
  }

  // In the own frame for certain. An address that is a variable's has to stay in it (that of the first variable is the frame's own).
  #framed(address: Value, at: number, width: number): boolean {
    if (at < 0 || at + width > this.#use.size) return false
    if (address.symbol?.kind !== 'frame' || address.symbol.offset === 0 || address.t === NONE) return true
    const place = this.#places[this.#placeAt(address.symbol.offset)]
    return place === undefined || (at >= place.start && at + width <= place.start + place.length)
  }

  #grow(cursor: Cursor): void {
    const out = this.#out
    this.#pop()
    const more = this.#scratch('x0', I32)
    const before = this.#scratch('base', I32)
    out.tee(more)
    this.#raw(cursor)
    out.tee(before)
    out.get(before)
    out.get(more)
    out.call(this.#context.hooks.grown)
    this.#push(I32)
  }

  #bulk(cursor: Cursor): void {
    const out = this.#out
    const { hooks } = this.#context
    const [to, from, length] = [this.#stack.at(-3), this.#stack.at(-2), this.#stack.at(-1)] as Value[]
    this.#stack.length -= 3
    const names = ['base', 'x0', 'x1'].map(name => this.#scratch(name, I32))
    for (const name of [...names].reverse()) out.set(name)
    this.#undefinedLength(length as Value, names[2] as number, cursor.place)
    const [a, b, n] = names as [number, number, number]
    out.get(a)
    if (cursor.op !== 0x108) out.get(b)
    out.get(n)
    pushT(out, (to as Value).t)
    if (cursor.op === 0x10a) pushT(out, (from as Value).t)
    else if (cursor.op === 0x10b) pushV(out, I32, (from as Value).v)
    out.i32(cursor.place)
    out.call(cursor.op === 0x10a ? hooks.copy : cursor.op === 0x10b ? hooks.fill : hooks.init)
    for (const name of names) out.get(name)
    this.#raw(cursor)
  }

  #undefinedLength(length: Value, local: number, site: number): void {
    this.#out.get(local)
    this.#decide(length, site, false)
    this.#out.op(0x1a)
  }

  // ---- operations on values

  #operandV(value: Value, x: number): { v: number; x: number; constant: number | undefined } {
    return { v: value.v, x, constant: value.symbol?.kind === 'constant' ? value.symbol.value : undefined }
  }

  #numeric(cursor: Cursor): void {
    const { op } = cursor
    const { params, results } = effectTypes(effects[op] as string)
    const result = results[0] as ValueType
    const out = this.#out
    const b = params.length === 2 ? this.#pop() : undefined
    const a = this.#pop()
    const pure = a.v < 0 && (b === undefined || b.v < 0)
    const symbol = this.#symbol(op, a, b)
    if (op === 0x6b && this.#plain && symbol === undefined && isStackPointer(a)) return this.#alloca(cursor)
    if (symbol?.kind === 'frame') {
      this.#raw(cursor)
      return this.#push(I32, NONE, this.#placeT(symbol.offset), symbol)
    }
    const tagged = a.t !== NONE || (b !== undefined && b.t !== NONE)
    if (pure && !(op >= 0x6a && op <= 0x73 && tagged)) {
      this.#raw(cursor)
      return this.#push(result, NONE, NONE, symbol)
    }
    const x = this.#scratch('xa', a.type)
    const y = b === undefined ? -1 : this.#scratch('xb', b.type)
    if (!pure && needsOperands(op)) {
      if (b !== undefined) out.set(y)
      out.tee(x)
      if (b !== undefined) out.get(y)
    }
    this.#raw(cursor)
    let v = NONE
    if (!pure) {
      if (b === undefined) unary(out, op, a.type, a.v, x, result, this.#scratch)
      else if (a.type === I32 || a.type === I64)
        binary(out, op, this.#operandV(a, x), this.#operandV(b, y), this.#scratch)
      else any(out, [a, b], op, result, this.#scratch)
      v = this.locals.named('rv', shadowType(result) as number)
      out.set(v)
    }
    const t = this.#numericT(cursor, a, b, v, result)
    if (v !== NONE) {
      out.get(v)
      v = this.#setV(result)
    }
    this.#push(result, v, t, symbol)
  }

  /** The tag of the place in the frame that an address is in, in a local, or NONE. */
  #placeT(at: number): number {
    const i = this.#placeAt(at)
    if (i < 0) return NONE
    const out = this.#out
    out.get(this.locals.named('tags', I32))
    out.i32(8 * i)
    out.op(0x6a)
    return this.#setT()
  }

  #placeAt(at: number): number {
    return placeAt(this.#places, at, this.#plain)
  }

  // Room is taken on the stack whose size is known only now. Its two operands are popped, but still on the machine's stack.
  #alloca(cursor: Cursor): void {
    const out = this.#out
    const length = this.#scratch('x0', I32)
    const start = this.#scratch('base', I32)
    out.tee(length)
    this.#raw(cursor)
    out.tee(start)
    out.get(start)
    out.get(length)
    out.i32(cursor.place)
    out.call(this.#context.hooks.alloca)
    this.#push(I32, NONE, this.#setT())
  }

  #symbol(op: number, a: Value, b: Value | undefined): Symbol | undefined {
    if ((op !== 0x6a && op !== 0x6b) || b === undefined) return undefined
    const known = (value: Value): { frame?: number; constant?: number } | undefined =>
      value.symbol?.kind === 'frame'
        ? { frame: value.symbol.offset }
        : value.symbol?.kind === 'constant'
          ? { constant: value.symbol.value }
          : undefined
    const sum = combine(op, known(a), known(b))
    if (sum?.frame !== undefined) return { kind: 'frame', offset: sum.frame }
    return sum?.constant === undefined ? undefined : { kind: 'constant', value: sum.constant }
  }

  /** T of a result, in a local (or NONE). `v` is the local with its V, or NONE. */
  #numericT(cursor: Cursor, a: Value, b: Value | undefined, v: number, result: ValueType): number {
    const out = this.#out
    const { op } = cursor
    const ta = a.t
    const tb = b?.t ?? NONE
    if (ta === NONE && tb === NONE) return NONE
    if (b !== undefined && result === I32 && (op === 0x6a || op === 0x6b)) return this.#sumT(op, a, b)
    // Alignment keeps the object: p & -16, p | 1.
    const constant = b?.symbol?.kind === 'constant' ? b.symbol.value : undefined
    if (constant !== undefined && ((op === 0x71 && constant < 0) || (op === 0x72 && constant > 0))) return ta
    if (op === 0x73 && b !== undefined) return this.#mixT(a, b)
    if (v === NONE) return NONE
    // Otherwise only the origin of undefined bits goes on.
    if (b === undefined || tb === NONE || b.v < 0) pushT(out, ta)
    else if (ta === NONE || a.v < 0) pushT(out, tb)
    else {
      pushT(out, ta)
      pushT(out, tb)
      isUndefined(out, a.type, a.v)
      out.op(0x1b)
    }
    if (result === I32) this.#originOnly()
    return this.#setT()
  }

  // The T on the machine's stack, or 0 if it is a tag: t & -(t >> 30).
  #originOnly(): void {
    const out = this.#out
    const t = this.#scratch('ot', I32)
    out.tee(t)
    out.i32(0)
    out.get(t)
    out.i32(30)
    out.op(0x76, 0x6b, 0x71)
  }

  #sumT(op: number, a: Value, b: Value): number {
    const out = this.#out
    if (b.t === NONE || (a.t >= 0 && b.t < NONE)) return a.t
    if (a.t === NONE && op === 0x6a) return b.t
    if (op === 0x6a && b.t >= 0 && a.t < NONE) {
      // A constant that may be the address of a global, and something with a T of its own if it is a pointer.
      out.get(b.t)
      out.op(0x45)
      out.if(I32)
      pushT(out, a.t)
      out.else()
      pushT(out, a.t)
      out.get(b.t)
      out.call(this.#context.helpers.addTags)
      out.end()
      return this.#setT()
    }
    pushT(out, b.t)
    out.op(0x45)
    out.if(I32)
    pushT(out, a.t)
    out.else()
    pushT(out, a.t)
    pushT(out, b.t)
    out.call(op === 0x6a ? this.#context.helpers.addTags : this.#context.helpers.subTags)
    out.end()
    return this.#setT()
  }

  // Pointers mixed bit by bit: not checked any more.
  #mixT(a: Value, b: Value): number {
    const out = this.#out
    pushT(out, a.t)
    pushT(out, b.t)
    out.call(this.#context.helpers.addTags)
    return this.#setT()
  }

  #select(cursor: Cursor): void {
    const out = this.#out
    const condition = this.#pop()
    const b = this.#pop()
    const a = this.#pop()
    const shadow = shadowType(a.type)
    const dirty = shadow !== undefined && (a.v >= 0 || b.v >= 0 || condition.v >= 0)
    const tagged = a.t !== NONE || b.t !== NONE || (dirty && condition.t !== NONE)
    const c = this.#scratch('c', I32)
    if (dirty || tagged) out.tee(c)
    this.#raw(cursor)
    let v = NONE
    if (dirty) {
      const rv = this.locals.named('rv', shadow)
      pushV(out, a.type, a.v)
      pushV(out, b.type, b.v)
      out.get(c)
      out.op(0x1b)
      if (condition.v >= 0) {
        this.#truth(c, condition.v)
        const w = this.#scratch('w', I32)
        out.set(w)
        if (shadow === I32 || shadow === I64) {
          out.i32(0)
          out.get(w)
          out.op(0x6b)
          if (shadow === I64) out.op(0xac, 0x84)
          else out.op(0x72)
        }
      }
      out.set(rv)
      v = rv
    }
    let t = NONE
    if (tagged) {
      pushT(out, a.t)
      pushT(out, b.t)
      out.get(c)
      out.op(0x1b)
      if (condition.v >= 0 && condition.t !== NONE) {
        const st = this.#scratch('ot', I32)
        out.set(st)
        pushT(out, condition.t)
        out.get(st)
        this.#truth(c, condition.v)
        out.op(0x1b)
      }
      t = this.#setT()
    }
    if (v !== NONE) {
      out.get(v)
      v = this.#setV(a.type)
    }
    this.#push(a.type, v, t)
  }

  /** Constants, conversions, vectors, tables: undefined altogether if any operand is. */
  #other(cursor: Cursor): void {
    const { op } = cursor
    const out = this.#out
    const special = specialTypes(op)
    const effect = effects[op] as string
    const { params, results } = special ?? effectTypes(effect)
    const values = params.map(() => this.#pop()).reverse()
    this.#raw(cursor)
    if (results.length !== 1 || values.every(value => value.v < 0))
      return results.forEach(type => this.#push(type))
    const type = results[0] as ValueType
    if (shadowType(type) === undefined) return this.#push(type)
    const vectors = values.filter(value => value.type === 0x7b && value.v >= 0)
    if (type === 0x7b && vectors.length === values.length) {
      // Lanes stay lanes: the union.
      vectors.forEach((value, i) => {
        out.get(value.v)
        if (i > 0) out.op(0xfd, 0x50)
      })
    } else any(out, values, op, type, this.#scratch)
    const v = this.locals.named('rv', shadowType(type) as number)
    out.set(v)
    const from = values.find(value => value.v >= 0 && value.t !== NONE)
    let t = NONE
    if (from !== undefined) {
      pushT(out, from.t)
      if (type === I32) this.#originOnly()
      t = this.#setT()
    }
    out.get(v)
    this.#push(type, this.#setV(type), t)
  }
}

/** The loads that extend by the sign. */
const extending: ReadonlySet<number> = new Set([0x2c, 0x2e, 0x30, 0x32, 0x34])

/** The stack pointer as it is: the frame's lower end, or what was taken from it later. */
const isStackPointer = ({ symbol }: Value): boolean =>
  symbol?.kind === 'stack pointer' || (symbol?.kind === 'frame' && symbol.offset === 0)

/** The stack effect of what opcode-table.ts leaves to the validator. */
function specialTypes(op: number): { params: ValueType[]; results: ValueType[] } | undefined {
  switch (op) {
    case 0x25:
      return { params: [I32], results: [0x70] }
    case 0x26:
      return { params: [I32, 0x70], results: [] }
    case 0xd0:
      return { params: [], results: [0x70] }
    case 0xd1:
      return { params: [0x70], results: [I32] }
    case 0x10c:
    case 0x10e:
      return { params: [I32, I32, I32], results: [] }
    case 0x10f:
      return { params: [0x70, I32], results: [I32] }
    case 0x110:
      return { params: [], results: [I32] }
    case 0x111:
      return { params: [I32, 0x70, I32], results: [] }
    default:
      return undefined
  }
}
