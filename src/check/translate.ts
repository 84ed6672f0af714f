// One function with its checks. The instructions stay in their order and their operands on the operand stack; the shadow values are
// in locals beside. What is known before the program runs (a constant is defined, a comparison of defined values too) costs nothing:
// the translation assumes that every local and every block's result is always defined and never a pointer, and starts again
// with what turned out otherwise until nothing does.
import { type Dirt, Found, type Label } from './blocks.ts'
import { Cursor } from '../wasm/instructions.ts'
import type { Func, FuncType, ValueType } from '../wasm/module.ts'
import { F32, F64, I32 } from '../wasm/module.ts'
import { isAccess } from '../wasm/opcode-table.ts'
import { pushT, pushTag, pushV } from './accesses.ts'
import type { Context } from './context.ts'
import { CONTROL } from './emitter.ts'
import { type FrameUse, frameUse, type Place } from './frames.ts'
import { FRAME_VARIABLES, RETIRED_TAGS, TABLE } from './layout.ts'
import { backFromHost, leaveToHost } from './host-calls.ts'
import { MemoryAccesses } from './memory.ts'
import { isUndefined } from './operators.ts'
import { ENDED, isIn } from './scopes.ts'
import { isPointer, NONE, shadowType, type Symbol, type Value } from './values.ts'

export interface Translated {
  readonly locals: Func['locals']
  readonly body: Uint8Array
  readonly use: FrameUse
  /** Where in the body the branches are that are hardly ever taken. */
  readonly rare: readonly number[]
}

/** Translates the function with this index in the module as it came. */
export function translate(context: Context, func: Func, index: number): Translated {
  const type = context.module.types[func.type] as FuncType
  const types = [...type.params]
  for (const run of func.locals) for (let i = 0; i < run.count; i++) types.push(run.type)
  const { stackPointer } = context
  const use = frameUse(func, stackPointer, type.params.length, types.length, context.destroys(index))
  const dirt: Dirt = { v: new Found(), t: new Found(), p: new Found(), loads: new Found() }
  type.params.forEach((param, i) => {
    if (shadowType(param) === undefined) return
    dirt.v.add(i)
    dirt.t.add(i)
    if (param === I32) dirt.p.add(i)
  })
  const sets = Object.values(dirt) as Found<never>[]
  for (;;) {
    for (const set of sets) set.begin()
    const translation = new Translation(context, func, index, type, types, use, dirt)
    const body = translation.run()
    if (!sets.some(set => set.stale)) {
      const locals = [...func.locals, ...translation.locals.runs()]
      return { locals, body, use, rare: translation.rare }
    }
  }
}

class Translation extends MemoryAccesses {
  get rare(): readonly number[] {
    return this.out.rare
  }

  run(): Uint8Array {
    const out = this.out
    this.prologue()
    if (this.use.calls) out.block()
    out.op(0x02)
    this.blockType(this.type.results)
    this.labels.push(this.label('function', [], this.type.results))
    const cursor = this.cursor
    while (cursor.next()) {
      this.instruction(cursor)
      if (this.labels.length === 0) break
    }
    this.epilogue()
    if (this.use.calls) this.leave()
    out.end()
    return out.take()
  }

  // Where calls come back to when the program has ended: all functions are left, and what their locals hold is a root of the search for leaks.
  protected leave(): void {
    const out = this.out
    out.op(0x0f)
    out.end()
    this.types.forEach((type, local) => {
      if (type !== I32) return
      out.get(local)
      out.call(this.context.hooks.root)
    })
    for (const type of this.type.results) out.zero(type)
  }

  // ---- entering and leaving

  protected prologue(): void {
    const out = this.out
    const { locals } = this
    const context = this.context
    if (context.scans.has(this.index)) {
      for (const i of [0, 1, 2]) out.get(i)
      out.call(context.hooks.scan)
    }
    // JavaScript calls what it finds in the table directly, not by an export's entry.
    if (context.inTable.has(this.index) && this.type.params.length > 0) {
      out.globalGet(context.calls)
      out.globalGet(context.hostCalls)
      out.op(0x46)
      out.if()
      out.call(context.helpers.clear)
      out.end()
    }
    this.type.params.forEach((type, i) => {
      if (shadowType(type) === undefined) return
      out.globalGet(context.parameterV(i, shadowType(type) as number))
      out.set(locals.v(i))
      out.globalGet(context.parameterT(i))
      out.set(locals.t(i))
    })
    if (this.use.calls) {
      out.globalGet(context.calls)
      out.tee(locals.named('calls', I32))
      out.i32(4)
      out.op(0x6a)
      out.globalSet(context.calls)
    }
    if (this.tags || this.allocas) {
      out.globalGet(context.liveTags)
      out.set(locals.named('live', I32))
    }
    if (this.use.leaf) {
      // What lies below the stack pointer is this function's until it returns.
      this.frame()
      out.globalGet(context.stackPointer)
      out.i32(context.stackOrigin(this.index))
      out.call(context.helpers.push)
    }
    if (this.tags) this.tagPlaces()
  }

  // The address of what lies at a distance from the frame's lower end, before the stack pointer has moved.
  protected frame(at = 0): void {
    const out = this.out
    const { size, align } = this.use
    out.globalGet(this.context.stackPointer)
    if (align === 1) {
      out.i32(at - size)
      return out.op(0x6a)
    }
    out.i32(-size)
    out.op(0x6a)
    out.i32(-align)
    out.op(0x71)
    if (at === 0) return
    out.i32(at)
    out.op(0x6a)
  }

  // Entries of the object table for the variables of the frame.
  protected tagPlaces(): void {
    const out = this.out
    const context = this.context
    const tags = this.locals.named('tags', I32)
    // Not at once those of a function that has returned: who still has a pointer to its variables is to be seen.
    const live = this.locals.named('live', I32)
    out.get(live)
    out.globalGet(context.tags)
    out.tee(tags)
    out.get(tags)
    out.get(live)
    out.op(0x6b)
    out.i32(RETIRED_TAGS)
    out.op(0x4b, 0x1b)
    out.set(tags)
    this.places.forEach((_, i) => {
      this.tagPlace(i, () => this.frame((this.places[i] as Place).start))
      out.get(tags)
      out.i32(1)
      out.op(0x76)
      out.i32(context.variable(this.index, i))
      out.memory(0x36, CONTROL, FRAME_VARIABLES + 4 * i)
    })
    out.get(tags)
    out.i32(8 * this.places.length)
    out.op(0x6a)
    out.globalSet(context.tags)
    out.globalGet(context.tags)
    out.globalSet(context.liveTags)
  }

  // `start` leaves where the place begins.
  protected tagPlace(i: number, start: () => void): void {
    const out = this.out
    out.get(this.locals.named('tags', I32))
    start()
    out.op(0xad)
    out.i64(BigInt((this.places[i] as Place).length) << 32n)
    out.op(0x84)
    out.memory(0x37, CONTROL, TABLE + 8 * i)
  }

  // Between two instructions of which only one is in the block of a variable. The end of a block of WebAssembly is where jumps lead to, too: what
  // is said there has to stand behind it.
  protected crossScopes({ op, place: site }: Cursor): void {
    if (op === 0x0b || op === 0x05 || op === 0x07 || op === 0x18 || op === 0x19) return
    const out = this.out
    for (const { place, scope } of this.scoped) {
      const inside = isIn(scope, site)
      if (inside === isIn(scope, this.last)) continue
      if (inside) {
        this.tagPlace(place, () => {
          out.get(this.frameBase)
          out.i32((this.places[place] as Place).start)
          out.op(0x6a)
        })
        continue
      }
      out.get(this.locals.named('tags', I32))
      out.i64(BigInt(ENDED))
      out.memory(0x37, CONTROL, TABLE + 8 * place)
    }
    this.last = site
  }

  protected epilogue(): void {
    const out = this.out
    const context = this.context
    const { locals } = this
    this.type.results.forEach((type, i) => {
      const shadow = shadowType(type)
      if (shadow === undefined) return
      const value = this.carried(0, type, i)
      pushV(out, type, value.v)
      out.globalSet(context.resultV(i, shadow))
      pushTag(out, value)
      out.globalSet(context.resultT(i))
    })
    if (this.use.leaf) {
      this.frame()
      out.globalGet(context.stackPointer)
      out.call(context.helpers.pop)
    }
    if (this.tags || this.allocas) {
      const live = locals.named('live', I32)
      const first = this.tags ? locals.named('tags', I32) : live
      out.get(first)
      out.globalGet(context.liveTags)
      out.op(0x47)
      out.if()
      out.get(first)
      out.get(live)
      out.call(context.helpers.dropTags)
      out.end()
    }
    if (this.use.calls) {
      out.get(locals.named('calls', I32))
      out.globalSet(context.calls)
    }
  }

  // ---- instructions

  protected instruction(cursor: Cursor): void {
    const { op } = cursor
    if (this.scoped.length > 0) this.crossScopes(cursor)
    if (op >= 0x45 && op <= 0xc4) return this.numeric(cursor)
    if (isAccess(op)) return this.access(cursor)
    const out = this.out
    switch (op) {
      case 0x00:
        this.raw(cursor)
        return this.skip(cursor)
      case 0x01:
        return
      case 0x02:
      case 0x03:
      case 0x06:
      case 0x1f: {
        this.begin(op === 0x03 ? 'loop' : op === 0x02 ? 'block' : 'try', cursor)
        if (op === 0x1f) this.clean(cursor)
        return this.raw(cursor)
      }
      case 0x04: {
        this.decide(this.pop(), cursor.place, true)
        this.begin('if', cursor)
        const label = this.labels.at(-1) as Label
        this.starts.set(
          label,
          this.stack.slice(label.height).map(value => ({ ...value })),
        )
        return this.raw(cursor)
      }
      case 0x05:
        return this.else(cursor, true)
      case 0x07:
      case 0x19:
        return this.handler(cursor, true)
      case 0x18:
        return this.delegate(cursor, true)
      case 0x0b:
        return this.end(true)
      case 0x08:
      case 0x09:
      case 0x0a:
        this.raw(cursor)
        return this.skip(cursor)
      case 0x0c:
        this.carry(this.target(cursor.index))
        this.raw(cursor)
        return this.skip(cursor)
      case 0x0d:
        this.decide(this.pop(), cursor.place, true)
        this.carry(this.target(cursor.index))
        return this.raw(cursor)
      case 0x0e:
        this.decide(this.pop(), cursor.place, false)
        for (const label of new Set(cursor.labels())) this.carry(this.target(label))
        this.raw(cursor)
        return this.skip(cursor)
      case 0x0f:
        this.carry(this.labels[0] as Label)
        out.br(this.labels.length - 1)
        return this.skip(cursor)
      case 0x10:
      case 0x11:
      case 0x12:
      case 0x13:
        return this.call(cursor)
      case 0x1a:
        this.pop()
        return this.raw(cursor)
      case 0x1b:
      case 0x1c:
        return this.select(cursor)
      case 0x20:
        return this.localGet(cursor)
      case 0x21:
      case 0x22:
        return this.localSet(cursor)
      case 0x23:
        return this.globalGet(cursor)
      case 0x24:
        return this.globalSet(cursor)
      case 0x40:
        return this.grow(cursor)
      case 0x41: {
        const tag = this.context.globalTag(cursor.i32 >>> 0, this.plain)
        this.push(I32, NONE, tag === 0 ? NONE : -2 - tag, { kind: 'constant', value: cursor.i32 })
        return this.raw(cursor)
      }
      case 0x43:
      case 0x44:
        this.push(op === 0x43 ? F32 : F64, NONE, NONE, floatSymbol(cursor))
        return this.raw(cursor)
      case 0xd2:
        this.push(0x70)
        out.byte(0xd2)
        return out.u32(this.moveFunction(cursor.index))
      case 0x108:
      case 0x10a:
      case 0x10b:
        return this.bulk(cursor)
      default:
        return this.other(cursor)
    }
  }

  protected moveFunction(index: number): number {
    return index < this.context.importedFunctions ? index : index + this.context.shift
  }

  // What a catch clause carries is defined.
  protected clean(cursor: Cursor): void {
    for (const { label } of cursor.clauses()) {
      const target = this.labels[this.labels.length - 2 - label]
      target?.carries.forEach((type, i) => {
        const { v, t } = this.carried(target.number, type, i)
        if (v >= 0) {
          this.out.zero(shadowType(type) ?? I32)
          this.out.set(v)
        }
        if (t >= 0) {
          this.out.i32(0)
          this.out.set(t)
        }
      })
    }
  }

  protected localGet(cursor: Cursor): void {
    const { index } = cursor
    const type = this.types[index] as ValueType
    const dirty = this.dirt
    this.raw(cursor)
    if (this.plain && this.use.stackPointers.has(index) && this.symbols[index]?.kind !== 'frame')
      return this.push(I32, NONE, NONE, { kind: 'stack pointer' })
    // What was an address counts as defined from then on: that it was not has been told.
    this.push(
      type,
      dirty.v.has(index) && !this.used.has(index) ? this.locals.v(index) : NONE,
      dirty.t.has(index) ? this.locals.t(index) : NONE,
      this.symbols[index],
      index,
      !dirty.p.has(index),
    )
  }

  protected localSet(cursor: Cursor): void {
    const { index, op } = cursor
    const out = this.out
    const { locals } = this
    const value = this.pop()
    this.used.delete(index)
    this.loaded.delete(index)
    for (const one of this.stack) if (one.local === index) one.local = undefined
    if (this.isSharedBase(value, index)) value.t = NONE
    if (value.v !== NONE) this.dirt.v.add(index)
    if (value.t !== NONE) this.dirt.t.add(index)
    const v = this.dirt.v.has(index) ? locals.v(index) : undefined
    const t = this.dirt.t.has(index) ? locals.t(index) : undefined
    if (isPointer(value)) this.dirt.p.add(index)
    const number = !this.dirt.p.has(index)
    // A number that was made from the local's own pointer has its T.
    const sameT = t === value.t && (number || value.number !== true)
    if (v !== value.v || !sameT) this.keep(v === value.v ? undefined : v, sameT ? undefined : t)
    if (v !== undefined && v !== value.v) {
      pushV(out, value.type, value.v)
      out.set(v)
    }
    if (t !== undefined && !sameT) {
      if (number) pushT(out, value.t)
      else pushTag(out, value)
      out.set(t)
    }
    const params = this.type.params.length
    const known = this.entry || (this.use.sets[index] === 1 && index >= params)
    this.symbols[index] = known ? this.assigned(value, index) : undefined
    if (op === 0x22) this.push(value.type, v ?? NONE, t ?? NONE, value.symbol, index, number)
    this.raw(cursor)
  }

  // In optimised code the frame's own address is where all of its variables are counted from, and that of the one which lies first. In a
  // local that holds something else, too, it will not be known for what it is.
  protected isSharedBase({ symbol }: Value, index: number): boolean {
    if (this.plain || symbol?.kind !== 'frame' || symbol.offset !== 0) return false
    return this.use.sets[index] !== 1 || index < this.type.params.length
  }

  // Without optimisation, a copy of the frame's own address is that of the variable that lies there. A copy that the prologue makes,
  // before it sets the stack pointer, is not; nor is that of a leaf which takes room below its frame, nor what variables are counted from.
  protected assigned({ symbol, local }: Value, to: number): Symbol | undefined {
    const whole = (this.moved || (this.use.leaf && !this.use.rounds)) && to !== this.frameBase
    const copied = this.plain && local !== undefined && whole
    const variable = copied && symbol?.kind === 'frame' && symbol.offset === 0
    return variable ? { ...symbol, of: 0 } : symbol
  }

  protected globalGet(cursor: Cursor): void {
    const { index } = cursor
    const context = this.context
    this.raw(cursor)
    const type = this.globalType(index)
    if (index === context.stackPointer)
      return this.push(
        I32,
        NONE,
        NONE,
        this.entry && !this.moved
          ? { kind: 'frame', offset: this.use.size, of: undefined }
          : { kind: 'stack pointer' },
      )
    if (!type.mutable || context.hosted || shadowType(type.type) === undefined) return this.push(type.type)
    this.out.globalGet(context.globalV(index, shadowType(type.type) as number))
    const v = this.setV(type.type)
    this.out.globalGet(context.globalT(index))
    this.push(type.type, v, this.setT())
  }

  protected globalType(index: number): { type: ValueType; mutable: boolean } {
    const { module } = this.context
    const imported = module.imports.filter(one => one.kind === 'global')
    const global = index < imported.length ? imported[index]?.type : module.globals[index - imported.length]
    return global ?? { type: I32, mutable: true }
  }

  protected globalSet(cursor: Cursor): void {
    const out = this.out
    const context = this.context
    const { index } = cursor
    const value = this.pop()
    if (index === context.stackPointer) {
      this.moved = true
      this.written()
      out.i32(context.stackOrigin(this.index))
      return out.call(context.helpers.setStack)
    }
    const shadow = shadowType(value.type)
    if (shadow !== undefined) {
      pushV(out, value.type, value.v)
      out.globalSet(context.globalV(index, shadow))
      pushTag(out, value)
      out.globalSet(context.globalT(index))
    }
    this.raw(cursor)
  }

  // ---- calls

  protected call(cursor: Cursor): void {
    const out = this.out
    const context = this.context
    const { module } = context
    const { op } = cursor
    const indirect = op === 0x11 || op === 0x13
    this.forget()
    if (indirect) this.decide(this.pop(), cursor.place, false)
    const type = module.types[
      indirect ? cursor.index : (context.functionTypes[cursor.index] as number)
    ] as FuncType
    const host = !indirect && cursor.index < context.importedFunctions
    const from = this.stack.length - type.params.length
    type.params.forEach((param, i) => {
      const value = this.stack[from + i] as Value
      const shadow = shadowType(param)
      if (shadow === undefined) return
      if (host) return this.argument(value, i, cursor.place)
      pushV(out, param, value.v)
      out.globalSet(context.parameterV(i, shadow))
      pushTag(out, value)
      out.globalSet(context.parameterT(i))
    })
    this.stack.length = from
    if (host && cursor.index === context.procExit) {
      out.globalSet(context.exitCode)
      out.i32(1)
      out.globalSet(context.exiting)
      out.br(this.labels.length)
      return this.skip(cursor)
    }
    if (indirect) this.clearResults(type)
    const leaves = host && context.hosted
    if (leaves) leaveToHost(out, context, this.locals)
    out.get(this.locals.named('calls', I32))
    out.i32(cursor.place)
    out.memory(0x36, CONTROL, 0)
    if (op === 0x10) {
      out.byte(0x10)
      out.u32(this.moveFunction(cursor.index))
    } else if (op === 0x12) {
      out.call(this.moveFunction(cursor.index))
    } else {
      out.byte(0x11)
      out.u32(cursor.index)
      out.u32(cursor.index2)
    }
    if (!host && op !== 0x12 && op !== 0x13) {
      out.globalGet(context.exiting)
      out.brIfRarely(this.labels.length)
    }
    if (leaves) backFromHost(out, context, this.locals)
    type.results.forEach((result, i) => {
      const shadow = shadowType(result)
      if (shadow === undefined || host) return this.push(result)
      out.globalGet(context.resultV(i, shadow))
      const v = this.setV(result)
      out.globalGet(context.resultT(i))
      if (this.tags && !this.plain) this.dropOwnTag()
      this.push(result, v, this.setT())
    })
    if (op === 0x12 || op === 0x13) {
      this.carry(this.labels[0] as Label)
      out.br(this.labels.length - 1)
      this.skip(cursor)
    }
  }

  // An optimiser knows which functions return their argument (memset, constructors), and takes such a result for the frame's address
  // from then on, for all of the frame: the T on the machine's stack is no tag if it is one of this frame's.
  protected dropOwnTag(): void {
    const out = this.out
    const t = this.scratch('ot', I32)
    out.set(t)
    out.i32(0)
    out.get(t)
    out.get(t)
    out.get(this.locals.named('tags', I32))
    out.op(0x6b)
    out.i32(8 * this.places.length)
    out.op(0x49, 0x1b)
  }

  // A function of the host's behind the table doesn't set them.
  protected clearResults(type: FuncType): void {
    type.results.forEach((result, i) => {
      const shadow = shadowType(result)
      if (shadow === undefined) return
      this.out.zero(shadow)
      this.out.globalSet(this.context.resultV(i, shadow))
      this.out.i32(0)
      this.out.globalSet(this.context.resultT(i))
    })
  }

  protected argument(value: Value, i: number, site: number): void {
    if (value.v < 0) return
    const out = this.out
    isUndefined(out, value.type, value.v)
    out.ifRarely()
    out.i32(i)
    pushT(out, value.t)
    out.i32(site)
    out.call(this.context.hooks.argument)
    out.end()
  }
}

/** What a float constant is, by its bytes: the powers of 2 have no bits but those of the exponent. */
function floatSymbol(cursor: Cursor): Symbol | undefined {
  const bytes = Buffer.from(cursor.bytes)
  const value = cursor.op === 0x43 ? bytes.readFloatLE(cursor.at + 1) : bytes.readDoubleLE(cursor.at + 1)
  if (value === 0) return { kind: 'float zero' }
  return [31, 32, 63, 64].some(power => value === 2 ** power) ? { kind: 'float limit' } : undefined
}
