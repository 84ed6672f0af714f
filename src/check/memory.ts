// Loads, stores and the other instructions that touch memory, while a function is translated: what is known of an address before its check
// (accesses.ts) is written.
import { Arithmetic } from './arithmetic.ts'
import type { Cursor } from '../wasm/instructions.ts'
import { I32, I64 } from '../wasm/module.ts'
import { effects, isStore, OP, widths } from '../wasm/opcode-table.ts'
import { type Access, checkLoad, checkStore, pushPointerTag, pushTag, pushV } from './accesses.ts'
import { effectTypes, NONE, type Value } from './values.ts'

/** So many loads in a row keep their shadow words. */
const MOST_WORDS = 4

export class MemoryAccesses extends Arithmetic {
  protected access(cursor: Cursor): void {
    const { op } = cursor
    const out = this.out
    const { params, results } = effectTypes(effects[op] as string)
    const width = widths[op] as number
    const values = params.map(() => this.pop()).reverse()
    const stray = this.stray(values[0] as Value, cursor, width)
    const base = this.scratch('base', I32)
    const xs = params.slice(1).map((type, i) => this.scratch(`x${i}`, type))
    for (const x of [...xs].reverse()) out.set(x)
    out.set(base)
    const indexed = stray === undefined ? this.indexed(values[0] as Value, cursor.offset, base) : undefined
    const address = stray ?? indexed ?? (values[0] as Value)
    const at = address.symbol?.kind === 'frame' ? address.symbol.offset + cursor.offset : -1
    const framed = stray === undefined && this.framed(address, at, width)
    const access: Access = {
      opcode: op,
      width,
      offset: cursor.offset,
      site: cursor.place,
      base,
      address,
      stray: stray !== undefined,
      indexed: indexed !== undefined,
      inFrame: framed ? at : undefined,
      ...this.useOf(stray ?? (values[0] as Value), cursor.offset, width),
      ...(indexed === undefined ? {} : { inside: false }),
      // Words of the own frame that are written whole are not looked at.
      word: this.wordAt(framed && width === 4 ? undefined : address.local, cursor, width, params.length > 1),
    }
    const result = results[0]
    if (result === undefined && op < 0x400) {
      checkStore(out, this.context, this.locals, access, values[1] as Value)
    } else if (op >= 0x400 || isStore(op)) {
      // Atomic: the bytes have to be addressable, what comes back counts as defined.
      const v = this.scratch('rv', result === I64 ? I64 : I32)
      if (width > 0)
        checkLoad(out, this.context, this.locals, access, result ?? I32, v, this.scratch('rt', I32))
    }
    let v = NONE
    let t = NONE
    if (result !== undefined && op < 0x400) {
      v = this.locals.slotV(this.stack.length, result)
      t = this.locals.slotT(this.stack.length)
      checkLoad(out, this.context, this.locals, access, result, v, t)
    }
    out.get(base)
    for (const x of xs) out.get(x)
    this.raw(cursor)
    if (result !== undefined) this.push(result, v, t, undefined, undefined, op !== OP['i32.load'])
  }

  // A local for the shadow word of what is accessed: x += y looks at it once. A load has one if a store needs it, which the translation
  // before this one has told.
  protected wordAt(
    local: number | undefined,
    cursor: Cursor,
    width: number,
    store: boolean,
  ): number | undefined {
    const { op, offset, place } = cursor
    if (op >= 0x100 || width > 4) {
      if (store) this.written()
      return undefined
    }
    const key = 8 * offset + width
    const found = local === undefined ? undefined : this.loaded.get(local)
    if (store) {
      const load = found?.get(key)
      this.written()
      if (load !== undefined) this.dirt.loads.add(load.site)
      return load?.word
    }
    if (local === undefined) return undefined
    const word =
      this.words < MOST_WORDS && this.dirt.loads.has(place)
        ? this.scratch(`word${this.words++}`, I32)
        : undefined
    if (found === undefined) this.loaded.set(local, new Map([[key, { site: place, word }]]))
    else found.set(key, { site: place, word })
    return word
  }

  // Notes that a local is used as an address, and tells what was known of it. What has failed a check was told there.
  protected useOf({ local }: Value, offset: number, width: number): { seen: boolean; inside: boolean } {
    if (local === undefined) return { seen: false, inside: false }
    const end = offset + width
    const use = this.used.get(local)
    if (use === undefined) {
      this.used.set(local, { low: offset, high: end })
      return { seen: false, inside: false }
    }
    const inside = offset >= use.low && end <= use.high
    use.low = Math.min(use.low, offset)
    use.high = Math.max(use.high, end)
    return { seen: true, inside }
  }

  // The address of an access that has left a variable for certain, with the variable's tag.
  protected stray(address: Value, cursor: Cursor, width: number): Value | undefined {
    const { type, symbol } = address
    const place = this.strays.get(cursor.place)
    if (place !== undefined) {
      const out = this.out
      const t = this.scratch('stray', I32)
      out.get(this.locals.named('tags', I32))
      out.i32(8 * place)
      out.op(0x6a)
      out.set(t)
      return { type, v: NONE, t }
    }
    if (!this.plain || symbol?.kind !== 'constant' || address.t !== NONE) return undefined
    const at = (symbol.value >>> 0) + cursor.offset
    const tag = this.context.strayGlobal(at, width, isStore(cursor.op))
    return tag === 0 ? undefined : { type, v: NONE, t: -2 - tag }
  }

  // Code that was not optimised leaves an array's address in the access, too: `load offset=array (index)`. What is added is no pointer, if it
  // lies before all data; then the access has to stay in the array.
  protected indexed(address: Value, offset: number, base: number): Value | undefined {
    const { type, v, t, symbol, number } = address
    if (!this.plain || symbol?.kind === 'constant' || symbol?.kind === 'frame') return undefined
    const tag = this.context.offsetTag(offset)
    if (tag === 0) return undefined
    const out = this.out
    out.i32(tag)
    if (t === NONE || number === true) pushTag(out, address)
    else pushPointerTag(out, t)
    out.get(base)
    out.i32(this.context.firstData)
    out.op(0x49, 0x1b)
    const found = this.scratch('indexed', I32)
    out.set(found)
    return { type, v, t: found }
  }

  // In the own frame for certain. An address that is a variable's has to stay in it.
  protected framed(address: Value, at: number, width: number): boolean {
    if (at < 0 || at + width > this.use.size) return false
    const { symbol } = address
    if (symbol?.kind !== 'frame' || symbol.of === undefined || address.t === NONE) return true
    const place = this.places[this.placeAt(symbol.of)]
    return place === undefined || (at >= place.start && at + width <= place.start + place.length)
  }

  protected grow(cursor: Cursor): void {
    const out = this.out
    this.pop()
    const more = this.scratch('x0', I32)
    const before = this.scratch('base', I32)
    out.tee(more)
    this.raw(cursor)
    out.tee(before)
    out.get(before)
    out.get(more)
    out.call(this.context.hooks.grown)
    this.push(I32)
  }

  protected bulk(cursor: Cursor): void {
    const out = this.out
    this.written()
    const { hooks } = this.context
    const [to, from, length] = [this.stack.at(-3), this.stack.at(-2), this.stack.at(-1)] as Value[]
    this.stack.length -= 3
    const names = ['base', 'x0', 'x1'].map(name => this.scratch(name, I32))
    for (const name of [...names].reverse()) out.set(name)
    this.undefinedLength(length as Value, names[2] as number, cursor.place)
    const [a, b, n] = names as [number, number, number]
    out.get(a)
    if (cursor.op !== 0x108) out.get(b)
    out.get(n)
    pushTag(out, to as Value)
    if (cursor.op === 0x10a) pushTag(out, from as Value)
    else if (cursor.op === 0x10b) pushV(out, I32, (from as Value).v)
    out.i32(cursor.place)
    out.call(cursor.op === 0x10a ? hooks.copy : cursor.op === 0x10b ? hooks.fill : hooks.init)
    for (const name of names) out.get(name)
    this.raw(cursor)
  }

  protected undefinedLength(length: Value, local: number, site: number): void {
    this.out.get(local)
    this.decide(length, site, false)
    this.out.op(0x1a)
  }
}
