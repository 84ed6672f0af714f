// The checker's side of a running guest: slow paths of the pass, the library functions that are checked as a whole, calls of the host.
import type { EngineGlobal, EngineInstance, EngineMemory, ImportObject } from '../guest/engine.ts'
import { OP } from '../wasm/opcode-table.ts'
import { effects, isStore, widths } from '../wasm/opcode-table.ts'
import { allocatorCall } from './allocate.ts'
import type { FrameVariable } from './context.ts'
import { allocators } from './allocators.ts'
import { ErrorLog, type ErrorKind, type CheckFinding, type Note } from './errors.ts'
import { CheckedHeap } from './heap.ts'
import {
  CHECK_MODULE,
  DEFINED,
  EXCHANGE_CALLS,
  EXCHANGE_T,
  EXCHANGE_V,
  EXPORTS,
  HEAP_TAGS,
  TABLE,
  TAG_LIMIT,
  UNDEFINED,
} from './layout.ts'
import { preferHuge } from '../sys/memory.ts'
import { Places } from './places.ts'
import type { Program } from './program.ts'
import { Shadow } from './shadow.ts'
import { CallStacks } from './stacks.ts'
import { scanTargets } from './scanf.ts'
import { type StringHost, stringFunctions } from './strings.ts'
import { argumentPlace } from './whole.ts'

export interface RuntimeOptions {
  readonly quarantine: number
  readonly suppress: (finding: CheckFinding) => boolean
  readonly tell: (finding: CheckFinding) => void
  /** A JavaScript program runs the guest, in which the first `base` bytes of memory are the guest's own; then come `room` bytes of heap. */
  readonly host?: { readonly base: number; readonly room: number } | undefined
}

interface SiteInfo {
  readonly width: number
  readonly store: boolean
  /** Bits of V that a sign extends from; 0: no extension. */
  readonly extends: number
  readonly wordwise: boolean
  /** The function has an entry of its own on the call stack. */
  readonly calls: boolean
  /** What it touches up to so far below the stack pointer may be its own. */
  readonly ownBelow: number
  /** The variable that it meets between members. */
  readonly padding: FrameVariable | undefined
}

/** How far below the stack pointer functions go that don't move it, and those that take room there whose length nobody knew before. */
const BELOW = 4096
const FAR_BELOW = 0x10_0000
/** Further from its object a pointer is taken for another's, if that is good. */
const FAR = 0x1_0000

const signed: ReadonlyMap<number, number> = new Map([
  [OP['i32.load8_s'], 8],
  [OP['i32.load16_s'], 16],
  [OP['i64.load8_s'], 8],
  [OP['i64.load16_s'], 16],
  [OP['i64.load32_s'], 32],
])

export class Runtime {
  readonly program: Program
  shadow!: Shadow
  heap!: CheckedHeap
  stacks!: CallStacks
  log!: ErrorLog
  places!: Places
  memory!: EngineMemory
  globals: EngineGlobal[] = []
  stackPointer: EngineGlobal | undefined
  readonly #options: RuntimeOptions
  control!: Uint32Array
  #bytes!: Uint8Array
  #view!: DataView
  /** What the locals of running functions held when the program ended. */
  readonly roots: number[] = []
  #exiting!: EngineGlobal
  #exitCode!: EngineGlobal
  /** The tag of what an allocator answers. */
  answerTag = 0
  readonly #sites = new Map<number, SiteInfo>()
  /** Of the memory, when it was last looked at. */
  #size = 0
  /** The function of the library that is being checked as a whole, and the host's call. */
  #inside: string | undefined
  #call: string | undefined

  constructor(program: Program, options: RuntimeOptions) {
    this.program = program
    this.#options = options
  }

  // ---- the instance

  /** Takes hold of the instance, before its code runs. */
  attach(instance: EngineInstance): void {
    const { exports } = instance
    this.memory = exports[EXPORTS.memory] as EngineMemory
    this.control = new Uint32Array((exports[EXPORTS.control] as EngineMemory).buffer)
    const bits = exports[EXPORTS.bits] as EngineMemory
    this.shadow = new Shadow(exports[EXPORTS.shadow] as EngineMemory, bits)
    this.globals = Object.entries(exports)
      .filter(([name]) => name.startsWith(EXPORTS.global))
      .map(([, global]) => global as EngineGlobal)
    this.#exiting = exports[EXPORTS.exiting] as EngineGlobal
    this.#exitCode = exports[EXPORTS.exitCode] as EngineGlobal
    this.stackPointer = exports[`${EXPORTS.global}${this.program.stackPointer}`] as EngineGlobal | undefined
    const { functions } = this.program.module
    this.stacks = new CallStacks(this.control, exports[EXPORTS.calls] as EngineGlobal, functions.length + 1)
    this.log = new ErrorLog(
      this.stacks,
      sites => this.program.describe(sites),
      this.#options.suppress,
      this.#options.tell,
    )
    this.heap = new CheckedHeap(
      instance,
      this.control,
      new Uint32Array(bits.buffer),
      this.#options.quarantine,
    )
    // What freed blocks wait for comes back cold, in all of these: fewer and larger pages are found faster.
    for (const name of [EXPORTS.memory, EXPORTS.shadow, EXPORTS.control, EXPORTS.bits])
      preferHuge(exports[name] as EngineMemory)
    this.#bytes = new Uint8Array(this.memory.buffer)
    this.#view = new DataView(this.memory.buffer)
    this.#size = this.#bytes.length
    this.places = new Places(this)
    this.places.tags = exports[EXPORTS.tags] as EngineGlobal
    this.places.liveTags = exports[EXPORTS.liveTags] as EngineGlobal
    this.#layOut()
  }

  /** The code that the program has ended with by itself; undefined: it has returned, or trapped. */
  get exitCode(): number | undefined {
    return this.#exiting.value === 0 ? undefined : (this.#exitCode.value as number) >>> 0
  }

  // What of the memory may be touched at the start: data, and the stack from the stack pointer on. What is between them is
  // not known exactly (variables that start as zeros are in no segment), so it may be touched until a frame has been there.
  #layOut(): void {
    const { program } = this
    const size = this.memory.buffer.byteLength
    const top = this.stackPointer === undefined ? 0 : (this.stackPointer.value as number) >>> 0
    const first = program.firstData
    const { host } = this.#options
    if (host !== undefined) return this.#layOutWithin(host.base, host.room, first, top)
    // Data above the stack: that lies first, or the program was stored after it had run for a while, with what its heap and its stack held.
    const stackFirst = top > 0 && program.lastData > top
    const heap = stackFirst || !program.hasAllocator || top === 0 ? size : top
    this.shadow.setDefined(Math.min(first, 1024), heap - Math.min(first, 1024))
    if (stackFirst) this.shadow.setDefined(1024, size - 1024)
    else if (first >= 1024) this.shadow.setUnaddressable(0, 1024)
    this.places.stackTop = stackFirst || top > 0 ? top : 0
    this.places.stackEnd = stackFirst ? 0 : Math.min(top, program.lastData)
  }

  // What JavaScript takes of the memory nobody sees: all of it but the heap's room may be touched.
  #layOutWithin(base: number, room: number, first: number, top: number): void {
    this.places.stackTop = top
    const start = first >= 1024 ? 1024 : 0
    if (room > 0) this.heap.use(base, base + room)
    this.shadow.setDefined(start, (room > 0 ? base : this.#size) - start)
  }

  #setObject(tag: number, start: number, length: number): void {
    const at = (TABLE + tag) >>> 2
    this.control[at] = start
    this.control[at + 1] = length
  }

  /** The guest's memory. */
  get bytes(): Uint8Array {
    if (this.#bytes.length === 0) this.#look()
    return this.#bytes
  }
  get view(): DataView {
    if (this.#bytes.length === 0) this.#look()
    return this.#view
  }

  // The memory has grown: its views are made again.
  #look(): void {
    this.#bytes = new Uint8Array(this.memory.buffer)
    this.#view = new DataView(this.memory.buffer)
    const { length } = this.#bytes
    // By JavaScript, for the heap is as large as it gets.
    if (this.#options.host !== undefined && length > this.#size)
      this.shadow.setDefined(this.#size, length - this.#size)
    this.#size = length
  }

  /** What the pass imports. */
  imports(): ImportObject {
    const own: Record<string, unknown> = {
      load: (at: number, t: number, v: number, site: number) => this.#load(at >>> 0, t, v, site),
      store: (at: number, t: number, v: number, site: number) => this.#store(at >>> 0, t, v, site),
      decided: (t: number, site: number) => this.#decided(t, site),
      argument: (which: number, t: number, site: number) => this.#argument(which, t, site),
      // 0: of realloc's.
      copy: (to: number, from: number, length: number, toT: number, fromT: number, site: number) =>
        this.#copy(to >>> 0, from >>> 0, length >>> 0, toT, fromT, site === 0 ? undefined : site),
      fill: (to: number, _value: number, length: number, t: number, v: number, site: number) =>
        this.#fill(to >>> 0, length >>> 0, t, v, site),
      init: (to: number, length: number, t: number, site: number) =>
        this.#fill(to >>> 0, length >>> 0, t, 0, site),
      grown: (before: number, more: number) => {
        this.#look()
        if (before !== -1) this.shadow.setDefined((before >>> 0) * 65536, (more >>> 0) * 65536)
      },
      alloca: (start: number, length: number, site: number) => this.#alloca(start >>> 0, length >>> 0, site),
      root: (value: number) => this.roots.push(value),
      stack: (top: number, slot: number) => this.stacks.captureRecent(top, slot),
      scan: (_stream: number, format: number, args: number) => this.#scan(format >>> 0, args >>> 0),
    }
    for (const { func, name } of this.program.replaced) own[`${name}#${func}`] = this.#whole(name)
    return { [CHECK_MODULE]: own }
  }

  // ---- reports

  site(site: number): SiteInfo {
    let info = this.#sites.get(site)
    if (info === undefined) {
      const { op, func } = this.program.accessAt(site)
      const use = this.program.use(func)
      info = {
        width: widths[op] ?? 0,
        store: effects[op] !== undefined && isStore(op),
        extends: signed.get(op) ?? 0,
        wordwise: use.wordwise,
        calls: use.calls,
        ownBelow: use.leaf
          ? use.rounds
            ? FAR_BELOW
            : 0
          : use.readsStackPointer && !this.program.frame(func).plain
            ? BELOW
            : 0,
        padding: this.program.paddingAt(site),
      }
      this.#sites.set(site, info)
    }
    return info
  }

  /** The call stack now; `site` is where the guest's code is, undefined inside of a call. */
  capture(site?: number): number {
    if (site !== undefined) return this.stacks.capture(site, this.site(site).calls)
    if (this.#inside === undefined) return this.stacks.capture()
    return this.stacks.capture(undefined, false, this.control[EXCHANGE_CALLS >>> 2] as number)
  }

  /** A finding that is about an address. */
  addressError(at: number, size: number, t: number, write: boolean, site: number | undefined): void {
    const stack = this.capture(site)
    const inside = this.#inside ?? this.#call
    this.log.add(write ? 'write' : 'read', stack, inside, () => {
      const { kind, note, block } = this.places.describe(at, size, t, write)
      return {
        kind,
        message: `invalid ${write ? 'write' : 'read'} of ${size} byte${size === 1 ? '' : 's'} at 0x${at.toString(16)}`,
        size,
        address: at,
        block,
        notes: [...note, ...this.places.stackUsedUp()],
      }
    })
  }

  error(
    kind: ErrorKind,
    message: string,
    notes: readonly Note[],
    site?: number,
    more: { address?: number; size?: number; block?: { start: number; size: number } | undefined } = {},
  ): void {
    this.log.add(kind, this.capture(site), this.#inside ?? this.#call, () => ({
      kind,
      message,
      notes: [...notes, ...this.places.stackUsedUp()],
      ...more,
    }))
  }

  // ---- slow paths

  /**
   * Whether [at, at + length) leaves the object of a tag. A tag of something that lives far away, on an address that is good without
   * it, is none: it stuck to a number, as to the distance of two pointers of which one was copied as half of eight bytes. Nor is that of a block
   * that was freed and had no such bytes: after a realloc programs move pointers by the distance of both blocks.
   */
  outside(at: number, length: number, t: number): boolean {
    const tag = t >>> 0
    if (tag < 8 || tag >= TAG_LIMIT) return false
    const { control } = this
    const place = (TABLE + tag) >>> 2
    const start = control[place] as number
    const size = control[place + 1] as number
    if (at >= start && at + length <= start + size) return false
    const freed = size === 0 ? this.heap.ofTag(tag) : undefined
    const isElsewhere =
      freed === undefined
        ? size > 0 && (at + length + FAR < start || at > start + size + FAR)
        : at + length <= freed.start || at >= freed.start + freed.size
    return !isElsewhere || at + length > this.bytes.length || this.shadow.findUnaddressable(at, length) >= 0
  }

  // A function that calls nothing doesn't move the stack pointer for its variables. An optimiser that puts such code into other functions
  // has them use what is below their stack pointer, too: that is nobody's, so it becomes theirs.
  #isOwnBelow(at: number, width: number, info: SiteInfo): boolean {
    if (info.ownBelow === 0 || this.stackPointer === undefined) return false
    const pointer = (this.stackPointer.value as number) >>> 0
    if (at + width > pointer || at < pointer - info.ownBelow || pointer > this.places.stackTop) return false
    this.shadow.setDefined(at - (at % 4), Math.ceil((at + width) / 4) * 4 - at + (at % 4))
    return true
  }

  #undefinedAddress(t: number, site: number): void {
    this.error(
      'uninitialised-address',
      'an address depends on uninitialised memory',
      this.places.origin(t),
      site,
    )
  }

  // JavaScript may have made the memory larger.
  #refresh(): void {
    if (this.#bytes.length === 0) this.#look()
  }

  #load(at: number, t: number, v: number, site: number): void {
    this.#refresh()
    const { control } = this
    const info = this.site(site)
    const { width } = info
    const word = EXCHANGE_V >>> 2
    control[word] = control[word + 1] = control[word + 2] = control[word + 3] = 0
    control[EXCHANGE_T >>> 2] = 0
    if (v !== 0) this.#undefinedAddress(t, site)
    const { shadow } = this
    const partial = info.wordwise && width >= 4 && at % width === 0
    if (info.padding !== undefined) this.#padding(at, info.padding, info, site)
    if (!partial && this.outside(at, width, t)) return this.addressError(at, width, t, false, site)
    const bad = shadow.findUnaddressable(at, width)
    if (bad >= 0 && !(partial && anyAddressable(shadow, at, width)) && !this.#isOwnBelow(at, width, info))
      return this.addressError(at, width, t, false, site)
    if (width === 4 && at % 4 === 0) {
      const whole = shadow.word(at)
      if (whole < UNDEFINED) {
        control[EXCHANGE_T >>> 2] = whole & ~7
        return
      }
    }
    let origin = 0
    for (let i = 0; i < width; i++) {
      const bits = shadow.bits(at + i)
      if (bits === 0) continue
      control[word + (i >> 2)]! |= bits << (8 * (i & 3))
      if (origin === 0) origin = shadow.origin(at + i)
    }
    control[EXCHANGE_T >>> 2] = origin
    if (info.extends > 0) extend(control, word, info.extends)
  }

  #store(at: number, t: number, v: number, site: number): void {
    this.#refresh()
    const { control, shadow } = this
    const info = this.site(site)
    const { width } = info
    if (v !== 0) this.#undefinedAddress(t, site)
    if (info.padding !== undefined) this.#padding(at, info.padding, info, site)
    const astray = this.outside(at, width, t)
    if (astray || (shadow.findUnaddressable(at, width) >= 0 && !this.#isOwnBelow(at, width, info))) {
      this.addressError(at, width, t, true, site)
      // It is written all the same: who reads it makes no error of his own.
      return shadow.settle(at, width)
    }
    const word = EXCHANGE_V >>> 2
    const valueT = control[EXCHANGE_T >>> 2] as number
    if (width === 4 && at % 4 === 0) {
      const bits = control[word]
      if (bits === 0) {
        shadow.setPointer(at, valueT)
        return
      }
      if (bits === 0xffffffff) {
        shadow.set(at, UNDEFINED | (valueT & 0x07fffff8))
        return
      }
    }
    if (width === 8 && at % 4 === 0 && control[word] === 0 && control[word + 1] === 0) {
      shadow.set(at, DEFINED)
      shadow.set(at + 4, DEFINED)
      return
    }
    const low = control[word] as number
    if (width <= 2 && (low & (width === 1 ? 0xff : 0xffff)) === 0) {
      shadow.defineByte(at)
      if (width === 2) shadow.defineByte(at + 1)
      return
    }
    for (let i = 0; i < width; i++) {
      const bits = ((control[word + (i >> 2)] as number) >>> (8 * (i & 3))) & 0xff
      shadow.setByte(at + i, true, bits, valueT)
    }
  }

  // An index that has left a member for what lies between it and the next one.
  #padding(at: number, { name }: FrameVariable, { width, store }: SiteInfo, site: number): void {
    const what = `invalid ${store ? 'write' : 'read'} of ${width} byte${width === 1 ? '' : 's'}`
    const text = `between the members of the local variable ${name ?? ''}, or behind the last`
    this.error(
      store ? 'invalid-write' : 'invalid-read',
      `${what} at 0x${at.toString(16)}`,
      [{ text, frames: [] }],
      site,
      { address: at, size: width },
    )
  }

  #decided(t: number, site: number): void {
    this.error(
      'uninitialised-branch',
      'a decision depends on uninitialised memory',
      this.places.origin(t),
      site,
    )
  }

  #argument(which: number, t: number, site: number): void {
    this.error(
      'uninitialised-argument',
      `argument ${which + 1} of a call of the host depends on uninitialised memory`,
      this.places.origin(t),
      site,
    )
  }

  #check(at: number, length: number, t: number, write: boolean, site?: number): boolean {
    if (length === 0) return true
    if (this.outside(at, length, t) || at + length > this.bytes.length) {
      this.addressError(at, length, t, write, site)
      return false
    }
    if (this.shadow.findUnaddressable(at, length) < 0) return true
    if (site !== undefined && this.#isOwnBelow(at, length, this.site(site))) return true
    this.addressError(at, length, t, write, site)
    return false
  }

  #copy(
    to: number,
    from: number,
    length: number,
    toT: number,
    fromT: number,
    site: number | undefined,
  ): void {
    if (length === 0) return
    this.#check(from, length, fromT, false, site)
    this.#check(to, length, toT, true, site)
    if (to + length <= this.bytes.length && from + length <= this.bytes.length)
      this.shadow.copy(to, from, length)
  }

  #fill(to: number, length: number, t: number, v: number, site: number): void {
    this.#check(to, length, t, true, site)
    if (to + length > this.bytes.length) return
    this.shadow.settle(to, length)
    if ((v & 0xff) === 0) return
    for (let i = 0; i < length; i++)
      if (this.shadow.addressable(to + i)) this.shadow.setByte(to + i, true, v & 0xff, 0)
  }

  #alloca(start: number, length: number, site: number): number {
    const tags = this.places.tags
    const tag = tags.value as number
    if (tag + 8 >= HEAP_TAGS || length === 0) return 0
    this.#setObject(tag, start, length)
    this.places.alloca(tag, site)
    tags.value = this.places.liveTags.value = tag + 8
    return tag
  }

  #scan(format: number, args: number): void {
    const end = this.bytes.indexOf(0, format)
    const text = Buffer.from(this.bytes.subarray(format, end < 0 ? format : end)).toString('latin1')
    for (const { conversion, size, argument } of scanTargets(text)) {
      const at = args + 4 * argument
      if (at + 4 > this.bytes.length || this.shadow.findUndefined(at, 4) >= 0) return
      if (this.view.getUint32(at, true) !== 0) continue
      const message = `scanf is to write ${size} byte${size === 1 ? '' : 's'} for ${conversion} through a null pointer`
      this.error('null-pointer', message, [], undefined, { address: 0, size })
    }
  }

  // ---- functions that are checked as a whole

  #whole(name: string): (...args: number[]) => number | undefined {
    const allocator = allocators[name]
    const string = Object.hasOwn(stringFunctions, name) ? stringFunctions[name] : undefined
    const exchangeT = EXCHANGE_T >>> 2
    if (allocator !== undefined) {
      const call = allocatorCall(this, name, allocator)
      return (a = 0, b = 0, c = 0) => {
        this.#inside = name
        this.answerTag = 0
        const value = call(a, b, c)
        this.#inside = undefined
        this.control[EXCHANGE_V >>> 2] = 0
        this.control[exchangeT] = this.answerTag
        return value
      }
    }
    if (string === undefined) throw new RangeError(`no function ${name} is checked as a whole`)
    const host = this.#stringHost()
    return (...args) => {
      const { control } = this
      control[EXCHANGE_V >>> 2] = 0
      control[exchangeT] = 0
      this.#inside = name
      args.forEach((arg, i) => {
        args[i] = arg >>> 0
        if (control[argumentPlace(i) >>> 2] !== 0) this.#undefinedWhole(i)
      })
      const value = string(host, ...args)
      this.#inside = undefined
      return value
    }
  }

  argumentT(i: number): number {
    return this.control[(argumentPlace(i) + 8) >>> 2] as number
  }

  #undefinedWhole(i: number): void {
    this.error(
      'uninitialised-argument',
      `argument ${i + 1} of ${this.#inside} depends on uninitialised memory`,
      this.places.origin(this.argumentT(i)),
    )
  }

  #stringHost(): StringHost {
    return {
      memory: () => this.bytes,
      shadow: () => this.shadow,
      read: (at, length, argument) => this.#check(at, length, this.argumentT(argument), false),
      readDefined: (at, length, argument) => {
        if (!this.#check(at, length, this.argumentT(argument), false)) return false
        const bad = this.shadow.findUndefined(at, length)
        if (bad < 0) return true
        this.error(
          'uninitialised-branch',
          `${this.#inside} depends on uninitialised memory at 0x${bad.toString(16)}`,
          this.places.origin(this.shadow.origin(bad)),
        )
        return false
      },
      write: (at, length, argument) => this.#check(at, length, this.argumentT(argument), true),
      writeText: (at, length, argument, from = 0) => {
        const t = this.argumentT(argument)
        return this.#check(at + from, length - from, t, true) && this.#insideMember(at, length, t)
      },
      overlap: (to, from, length) =>
        this.error(
          'overlap',
          `${this.#inside} copies ${length} bytes from 0x${from.toString(16)} to 0x${to.toString(16)}, which overlap`,
          [],
        ),
      keep: argument => {
        this.control[EXCHANGE_T >>> 2] = this.argumentT(argument)
      },
    }
  }

  // A string that runs from an array of characters into a member of a struct that is none. Of memcpy it may be meant.
  #insideMember(at: number, length: number, t: number): boolean {
    const text = this.places.textAt(at, t)
    if (text === undefined || at + length <= text.start + text.length) return true
    const end = text.start + text.length
    const size = at + length - end
    this.error(
      'invalid-write',
      `invalid write of ${length} bytes at 0x${at.toString(16)}`,
      [{ text: `the last ${size === 1 ? 'byte is' : `${size} are`} behind ${text.note}`, frames: [] }],
      undefined,
      { address: at, size: length, block: { start: text.start, size: text.length } },
    )
    return false
  }

  // ---- the host

  /** The host is in this call (undefined: not any more). */
  hostCall(name: string | undefined): void {
    this.#call = name
  }

  hostReads(at: number, length: number): void {
    if (length === 0 || !this.#check(at, length, 0, false)) return
    const bad = this.shadow.findUndefined(at, length)
    if (bad < 0) return
    this.error(
      'uninitialised-argument',
      `${this.#call ?? 'the host'} is given uninitialised memory at 0x${bad.toString(16)} (byte ${bad - at} of ${length})`,
      this.places.origin(this.shadow.origin(bad)),
      undefined,
      { address: bad },
    )
  }

  hostWrote(at: number, length: number): void {
    if (length === 0) return
    this.#check(at, length, 0, true)
    this.shadow.settle(at, length)
  }
}

function anyAddressable(shadow: Shadow, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (shadow.addressable(at + i)) return true
  return false
}

/** V of a value that is extended by its sign, which is at bit `from` - 1. */
function extend(words: Uint32Array, at: number, from: number): void {
  const undefined_ = ((words[at] as number) >>> (from - 1)) & 1
  if (undefined_ === 0) return
  if (from < 32) words[at]! |= -1 << from
  words[at + 1] = 0xffffffff
}
