// Accesses of a function that have the same base: a pass does for the first of them what would be the same for all.
//
//     p->a = p->b + 1; if (p->c) …        local.get $p … three times, with the offsets of a, b and c
//
// Accesses make a group if their addresses come from the same value, if their offsets are in the same window, if the first of them has
// run before each other one on every way, and if nothing in between calls out of the code (whoever is called may move pages, or begin a
// new epoch). Found in one pass over the body: each value on the stack and in a local has a number, equal numbers are equal values. What
// a block does to a local or learns about a value before the first branch to its end still holds behind it; what comes later does not.
// Behind the head of a loop nothing is known.
import { Row } from './bytes.ts'
import type { Cursor } from './instructions.ts'
import type { FuncType } from './module.ts'
import { effects, Imm, immediates, isAccess, isStore, OP, OPCODES, widths } from './opcode-table.ts'
import type { Rewriter } from './rewrite.ts'

/** What `#step` does with an opcode: an access, something of its own, or only pops and pushes. */
const SIMPLE = 0
const ACCESS = 1
const OTHER = 2
const kinds = new Uint8Array(OPCODES).fill(OTHER)
const pops = new Uint8Array(OPCODES)
const pushes = new Uint8Array(OPCODES)
const stores = new Uint8Array(OPCODES)
for (let op = 0; op < OPCODES; op++) {
  if (isStore(op)) stores[op] = 1
  const effect = effects[op]
  if (effect === undefined || effect === '*') continue
  const kind = immediates[op] as number
  const calls = kind === Imm.memory || kind === Imm.dataMemory
  kinds[op] = isAccess(op) ? ACCESS : calls || op === OP['i32.const'] ? OTHER : SIMPLE
  pops[op] = effect.indexOf(':')
  pushes[op] = effect.length - 1 - effect.indexOf(':')
}

/** The number of a value that nothing else has. Constants are ~index in a list. */
const UNKNOWN = 0
/** The base of accesses at constant addresses. */
const ZERO = 1
/** A block that no branch goes to the end of, yet. */
const NEVER = 0x7fff_ffff
/** So many facts are looked through, the last ones. */
const NEAREST = 24

export interface BasesOptions {
  readonly memory: number
  /**
   * Loads are accesses, too, and share a group with stores. Without: only stores are; the bytes of a group are all surely touched when its
   * first access runs.
   */
  readonly loads: boolean
  /** log2 of the bytes of a window. Windows begin at multiples of their size from the base. */
  readonly window: number
}

/** Accesses that one look at their window is enough for. Numbers of accesses count those of the memory, in the order of the body. */
export class Group {
  first = 0
  last = 0
  /** Where the window begins: bytes behind the base. */
  window = 0
  /** The bytes that are touched: [low, high) of the window. */
  low = 0
  high = 0
  /** The base is 0: addresses are constants. */
  constant = false
  /** A store is in it that surely runs once the first access has. */
  writes = false
  /** For the pass: a local of the function. */
  local = -1
  /** How many branches there were before the first access: still so many, and what comes now surely runs. */
  turn = 0

  start(access: number, turn: number): void {
    this.first = this.last = access
    this.turn = turn
    this.constant = this.writes = false
  }
}

/** The groups of one function after the other. */
export class Bases {
  readonly #rewriter: Rewriter
  readonly #options: BasesOptions
  /** Where the instructions of the function are that a pass has to see: accesses to the memory, and those over pieces of any. */
  readonly places: Row = new Row()
  /** Where function indices are. */
  readonly functions: Row = new Row()
  readonly #groups: Group[] = []
  #used = 0
  readonly #groupOf = new Row()
  readonly #inWindow = new Row()
  /** Facts, the last one last: a value, a window, the group that has looked at it. */
  readonly #factValue = new Row()
  readonly #factGroup = new Row()
  /** Locals that were set, in order. */
  readonly #set = new Row()
  #locals: Int32Array<ArrayBuffer> = new Int32Array(64)
  readonly #constants: number[] = []
  #count = 0
  #values = ZERO
  #branches = 0
  #catches = false
  /** Operands: their values' numbers. */
  readonly #stack = new Row()
  /** Open blocks: operands below, results, facts and set locals at the first branch to the end; 1 for a loop. */
  readonly #below = new Row()
  /** Operands below the innermost block. */
  #floor = 0
  readonly #results = new Row()
  readonly #factCut = new Row()
  readonly #setCut = new Row()
  readonly #isLoop = new Row()

  constructor(rewriter: Rewriter, options: BasesOptions) {
    this.#rewriter = rewriter
    this.#options = options
  }

  /** The group of an access of the function that was analysed. */
  group(access: number): Group {
    return this.#groups[this.#groupOf.at[access] as number] as Group
  }

  /** How many bytes behind its window an access begins. */
  inWindow(access: number): number {
    return this.#inWindow.at[access] as number
  }

  /** Finds the groups of a function's accesses. `locals`: how many it has with its parameters. */
  analyse(cursor: Cursor, locals: number): void {
    this.#used = 0
    this.#groupOf.length = this.#inWindow.length = this.places.length = this.functions.length = 0
    this.#count = locals
    this.#values = ZERO
    this.#branches = 0
    this.#catches = false
    this.#constants.length = 0
    for (const row of [this.#stack, this.#below, this.#results, this.#factCut, this.#setCut, this.#isLoop])
      row.length = 0
    this.#factValue.length = this.#factGroup.length = this.#set.length = 0
    if (locals > this.#locals.length) this.#locals = new Int32Array(locals * 2)
    else this.#locals.fill(UNKNOWN, 0, locals)
    this.#floor = 0
    this.#open(0, 0, false)
    while (cursor.next()) {
      const { op } = cursor
      const kind = kinds[op] as number
      if (kind === SIMPLE) this.#plain(op)
      else if (kind === ACCESS) this.#access(cursor)
      else this.#other(cursor)
    }
  }

  #plain(op: number): void {
    const stack = this.#stack
    const left = stack.length - (pops[op] as number)
    stack.length = left > this.#floor ? left : this.#floor
    if (pushes[op] === 1) stack.push(UNKNOWN)
  }

  /** Takes operands away; behind a branch there may be none. */
  #pop(count: number): void {
    this.#stack.length = Math.max(this.#floor, this.#stack.length - count)
  }

  #popValue(): number {
    const { length } = this.#stack
    this.#pop(1)
    return this.#stack.length < length ? (this.#stack.at[this.#stack.length] as number) : UNKNOWN
  }

  #access(i: Cursor): void {
    const { op } = i
    // The address is below what is stored.
    const under = this.#stack.length - (pops[op] as number)
    const base = under >= this.#floor ? (this.#stack.at[under] as number) : UNKNOWN
    this.#plain(op)
    const store = stores[op] === 1
    if (i.index !== this.#options.memory || !(store || this.#options.loads)) return
    this.places.push(i.at)
    const access = this.#groupOf.length
    let value = base
    let { offset } = i
    if (base < 0) {
      value = ZERO
      offset += this.#constants[~base] as number
    }
    const low = offset % 2 ** this.#options.window
    const start = offset - low
    const high = low + (widths[op] as number)
    // Behind an atomic access other threads may have come.
    if (op >= 0x400) this.#forget(0)
    const known = value !== UNKNOWN && offset < 2 ** 31 && op < 0x400 && !this.#catches
    let found = known ? this.#find(value, start, low, high, store) : -1
    if (found < 0) {
      found = this.#used++
      if (found === this.#groups.length) this.#groups.push(new Group())
      const group = this.#groups[found] as Group
      group.start(access, this.#branches)
      group.writes = store
      group.constant = known && base < 0
      group.window = start
      group.low = low
      group.high = high
      if (known) {
        this.#factValue.push(value)
        this.#factGroup.push(found)
      }
    }
    ;(this.#groups[found] as Group).last = access
    this.#groupOf.push(found)
    this.#inWindow.push(low)
  }

  /** A group that the access can join, -1: there is none. */
  #find(value: number, start: number, low: number, high: number, store: boolean): number {
    const { loads } = this.#options
    const facts = this.#factValue
    const end = Math.max(0, facts.length - NEAREST)
    for (let f = facts.length - 1; f >= end; f--) {
      if (facts.at[f] !== value) continue
      const number = this.#factGroup.at[f] as number
      const group = this.#groups[number] as Group
      if (group.window !== start) continue
      const sure = group.turn === this.#branches
      if (loads ? store && !group.writes && !sure : !sure && (low < group.low || high > group.high)) continue
      if (store) group.writes = true
      if (low < group.low) group.low = low
      if (high > group.high) group.high = high
      return number
    }
    return -1
  }

  #open(operands: number, results: number, loop: boolean): void {
    const height = Math.max(this.#floor, this.#stack.length - operands)
    this.#floor = height
    this.#stack.at.fill(UNKNOWN, height, loop ? this.#stack.length : height)
    this.#below.push(height)
    this.#results.push(results)
    this.#factCut.push(NEVER)
    this.#setCut.push(NEVER)
    this.#isLoop.push(loop ? 1 : 0)
  }

  /** A branch to the end of the block that is `label` further out: what is learnt from now on does not hold there. */
  #cut(label: number): void {
    const at = this.#below.length - 1 - label
    if (at < 0 || this.#isLoop.at[at] === 1) return
    this.#factCut.at[at] = Math.min(this.#factCut.at[at] as number, this.#factValue.length)
    this.#setCut.at[at] = Math.min(this.#setCut.at[at] as number, this.#set.length)
  }

  /** Forgets facts from a number on, for all blocks around too. */
  #forget(from: number): void {
    if (from >= this.#factValue.length) return
    this.#factValue.length = this.#factGroup.length = from
    const cuts = this.#factCut
    for (let n = 0; n < cuts.length; n++)
      if ((cuts.at[n] as number) !== NEVER && (cuts.at[n] as number) > from) cuts.at[n] = from
  }

  /** What was set since the cut of the innermost block has another value now, which depends on the way. */
  #merge(keep: boolean): void {
    const at = this.#below.length - 1
    this.#forget(this.#factCut.at[at] as number)
    for (let n = this.#setCut.at[at] as number; n < this.#set.length; n++)
      this.#locals[this.#set.at[n] as number] = UNKNOWN
    if (!keep)
      this.#below.length =
        this.#results.length =
        this.#factCut.length =
        this.#setCut.length =
        this.#isLoop.length =
          at
    this.#floor = at === 0 ? 0 : (this.#below.at[this.#below.length - 1] as number)
  }

  #endless(): void {
    this.#branches++
    this.#stack.length = this.#floor
  }

  #call(type: FuncType | undefined): void {
    this.#pop(type?.params.length ?? 0)
    for (let left = type?.results.length ?? 0; left > 0; left--) this.#stack.push(UNKNOWN)
    this.#forget(0)
  }

  #other(i: Cursor): void {
    const { op } = i
    switch (op) {
      case OP['local.get']: {
        let value = this.#locals[i.index] as number
        if (value === UNKNOWN) this.#locals[i.index] = value = ++this.#values
        return this.#stack.push(value)
      }
      case OP['local.set']:
        this.#set.push(i.index)
        this.#locals[i.index] = this.#popValue()
        return
      case OP['local.tee']: {
        const value = this.#popValue() || ++this.#values
        this.#set.push(i.index)
        this.#locals[i.index] = value
        return this.#stack.push(value)
      }
      case OP['i32.const']:
        return this.#stack.push(~(this.#constants.push(i.i32 >>> 0) - 1))
      case OP['global.get']:
      case OP['ref.null']:
      case OP['table.size']:
        return this.#stack.push(UNKNOWN)
      case OP['global.set']:
      case OP.drop:
        return this.#pop(1)
      case OP.select:
      case OP.select_typed:
        this.#pop(3)
        return this.#stack.push(UNKNOWN)
      case OP['table.get']:
      case OP['ref.is_null']:
        this.#pop(1)
        return this.#stack.push(UNKNOWN)
      case OP['table.set']:
        return this.#pop(2)
      case OP['table.grow']:
        this.#pop(2)
        return this.#stack.push(UNKNOWN)
      case OP['table.fill']:
      case OP['table.init']:
      case OP['table.copy']:
        return this.#pop(3)
      case OP['ref.func']:
        this.functions.push(i.at + 1)
        return this.#stack.push(UNKNOWN)
      case OP.call:
        this.functions.push(i.at + 1)
        return this.#call(this.#rewriter.functionType(i.index))
      case OP.call_indirect:
        this.#pop(1)
        return this.#call(this.#rewriter.types[i.index])
      case OP['memory.copy']:
      case OP['memory.fill']:
      case OP['memory.init']:
        this.places.push(i.at)
        this.#pop(3)
        return this.#forget(0)
      default:
        if (effects[op] === '*') return this.#control(i)
        // memory.grow and what waits or notifies: a pass may make calls of them.
        this.#plain(op)
        return this.#forget(0)
    }
  }

  #control(i: Cursor): void {
    switch (i.op) {
      case OP.try:
      case OP.try_table:
        this.#catches = true
        return this.#block(i, false)
      case OP.block:
        return this.#block(i, false)
      case OP.loop:
        this.#block(i, true)
        this.#forget(0)
        this.#branches++
        return void this.#locals.fill(UNKNOWN, 0, this.#count)
      case OP.if:
        this.#pop(1)
        this.#block(i, false)
        this.#branches++
        return this.#cut(0)
      case OP.else:
      case OP.catch:
      case OP.catch_all:
        this.#branches++
        this.#cut(0)
        this.#merge(true)
        this.#stack.length = this.#floor
        return
      case OP.end:
      case OP.delegate: {
        const at = this.#below.length - 1
        this.#stack.length = this.#below.at[at] as number
        for (let left = this.#results.at[at] as number; left > 0; left--) this.#stack.push(UNKNOWN)
        if (at > 0) this.#merge(false)
        return
      }
      case OP.br:
        this.#cut(i.index)
        return this.#endless()
      case OP.br_if:
        this.#pop(1)
        this.#branches++
        return this.#cut(i.index)
      case OP.br_table:
        for (const label of i.labels()) this.#cut(label)
        return this.#endless()
      case OP.return_call:
        this.functions.push(i.at + 1)
        return this.#endless()
      default:
        // return, unreachable, throw and their like.
        return this.#endless()
    }
  }

  #block({ blockType }: Cursor, loop: boolean): void {
    const type = blockType >= 0 ? this.#rewriter.types[blockType] : undefined
    this.#open(
      type?.params.length ?? 0,
      type?.results.length ?? (blockType > -64 && blockType < 0 ? 1 : 0),
      loop,
    )
  }
}
