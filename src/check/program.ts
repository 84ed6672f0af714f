// What is known of a program before it runs: names, lines, frames, globals, which functions are the library's.
import type { DebugInfo, Extent, Subprogram } from '../wasm/dwarf.ts'
import { readDebugInfo } from '../wasm/dwarf.ts'
import { type Lines, readLines } from '../wasm/dwarf-lines.ts'
import { Cursor } from '../wasm/instructions.ts'
import type { Func, FuncType, Module } from '../wasm/module.ts'
import { I32, importCount, indexSpaces } from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { isAccess, OP } from '../wasm/opcode-table.ts'
import type { MallocFunctions } from '../guest/malloc-functions.ts'
import { findMallocByShape } from '../guest/malloc-shape.ts'
import { allocators } from './allocators.ts'
import type { FrameInfo, FrameVariable } from './context.ts'
import type { CheckFrame } from './errors.ts'
import { type FrameUse, frameUse, paddingOf, type Place, places } from './frames.ts'
import { FRAME_TAGS } from './layout.ts'
import type { Replaced } from './pass.ts'
import { stringFunctions } from './strings.ts'

/** A global variable that has a tag. `before`: bytes of the one that ends where it begins, whose end is the same address. */
export interface GlobalVariable {
  readonly before: number
  readonly name: string
  readonly start: number
  readonly length: number
  readonly tag: number
  readonly type: number
}

/** A global variable that is told from what lies behind it, if that is so near. */
const SMALL = 8
const NEAR = 16

/** Variables per function that have a number of their own. */
const VARIABLES = 1024

/** What the debug information tells. */
interface Debug {
  readonly info: DebugInfo
  /** It is there, and of this code. */
  readonly isThere: boolean
  readonly subprograms: ReadonlyMap<number, Subprogram>
  readonly globals: readonly GlobalVariable[]
  readonly byStart: ReadonlyMap<number, GlobalVariable>
}

export class Program {
  readonly module: Module
  readonly stackPointer: number
  readonly replaced: readonly Replaced[]
  readonly hasAllocator: boolean
  /** What all of scanf's variants call: (stream, format, arguments). */
  readonly scans: ReadonlySet<number>
  readonly importedFunctions: number
  readonly #names: Map<number, string>
  /** By a name section, not only by its exports. */
  readonly #isNamed: boolean
  readonly #types: readonly number[]
  /** Read when the pass or the first report needs them: a run of a module that was rewritten before may do without. */
  #debug: Debug | undefined
  #lines: Lines | undefined
  readonly #uses = new Map<number, FrameUse>()
  #guards: Set<number> | undefined
  #foreign: Set<number> | undefined
  /** Whether all functions of a file are as they were written, not optimised. */
  #plainFiles: Map<string | undefined, boolean> | undefined
  /** Where the last data segment ends. */
  readonly lastData: number
  /** Variables end with their block, not only with their function. */
  scopes = false

  /**
   * `given`: functions that are malloc and so on, beside those that have such names. `fixed`: there is no room for a heap of ours, and functions
   * stay as they are.
   */
  constructor(module: Module, given: MallocFunctions = new Map(), fixed = false) {
    this.module = module
    this.importedFunctions = importCount(module, 'func')
    this.#types = indexSpaces(module).functions
    const names = readNames(module)
    this.#names = new Map([
      ...module.exports.flatMap(one => (one.kind === 'func' ? [[one.index, one.name] as const] : [])),
      ...names.functions,
    ])
    this.#isNamed = names.functions.size > 0
    // A stack that Asyncify has left and comes back to is not entered again by its functions.
    const leaves = module.exports.some(({ name }) => name === 'asyncify_start_unwind')
    this.stackPointer = leaves ? -1 : this.#findStackPointer(names.globals)
    // A module without names may still have those of its debug information.
    if (module.functions.some((_, i) => !this.#names.has(this.importedFunctions + i)))
      for (const [func, { name }] of this.#read().subprograms)
        if (!this.#names.has(func)) this.#names.set(func, name)
    this.replaced = fixed ? [] : this.#findReplaced(given)
    this.scans = this.#findScans()
    this.hasAllocator = this.replaced.some(({ name }) => name === 'malloc' || name === 'dlmalloc')
    this.lastData = Math.max(0, ...this.#segments().map(({ end }) => end))
  }

  #read(): Debug {
    if (this.#debug !== undefined) return this.#debug
    const info = readDebugInfo(this.module)
    const subprograms = this.#findSubprograms(info)
    const globals = subprograms === undefined ? [] : findGlobals(info)
    const byStart = new Map(globals.map(one => [one.start, one]))
    const isThere = subprograms !== undefined
    this.#debug = { info, isThere, subprograms: subprograms ?? new Map(), globals, byStart }
    return this.#debug
  }

  /** The variables with tags, in the order of their tags and addresses. */
  get globals(): readonly GlobalVariable[] {
    return this.#read().globals
  }

  // An optimiser that runs after the compiler (clang calls wasm-opt) may leave debug information behind that is of the code before: then
  // functions don't begin and end where it says, and nothing of it is believed.
  #findSubprograms(info: DebugInfo): Map<number, Subprogram> | undefined {
    const found = new Map<number, Subprogram>()
    let wrong = 0
    for (const subprogram of info.subprograms) {
      const range = subprogram.ranges[0]
      const index = this.functionAt(range?.low ?? -1)
      const func = this.module.functions[index - this.importedFunctions]
      if (func === undefined || range?.high !== func.offset + func.body.length) wrong++
      else found.set(index, subprogram)
    }
    return wrong * 4 <= info.subprograms.length ? found : undefined
  }

  // By name, else the first mutable i32 that a function starts by taking something off.
  #findStackPointer(names: ReadonlyMap<number, string>): number {
    for (const [index, name] of names) if (name === '__stack_pointer') return index
    const { globals } = indexSpaces(this.module)
    const counts = globals.map(() => 0)
    for (const { body, offset } of this.module.functions) {
      const ops: number[] = []
      let index = 0
      const cursor = new Cursor(body, offset)
      for (let i = 0; i < 6 && cursor.next(); i++) {
        if (i === 0) index = cursor.index
        ops.push(cursor.op)
      }
      if (ops[0] === 0x23 && ops.includes(0x6b)) counts[index] = (counts[index] ?? 0) + 1
    }
    const best = counts.indexOf(Math.max(...counts, 1))
    return best >= 0 && globals[best]?.mutable && globals[best]?.type === I32 ? best : -1
  }

  #findScans(): ReadonlySet<number> {
    const scans = [...this.#names].filter(
      ([func, name]) =>
        name === 'vfscanf' &&
        func >= this.importedFunctions &&
        this.typeOf(func).params.join() === [I32, I32, I32].join(),
    )
    return new Set(scans.map(([func]) => func))
  }

  #findReplaced(given: MallocFunctions): Replaced[] {
    const replaced: Replaced[] = [...given].map(([func, name]) => ({ func, name }))
    this.module.functions.forEach((_, i) => {
      const func = this.importedFunctions + i
      const name = this.#names.get(func)
      if (name === undefined || given.has(func)) return
      const key =
        name.includes(' ') || name.includes('(')
          ? name
          : name.replace(/^(__wrap_|__libc_|emscripten_builtin_)/, '')
      const known =
        allocators[key]?.params ?? (Object.hasOwn(stringFunctions, key) ? stringParams(key) : undefined)
      if (known === undefined) return
      const type = this.module.types[this.#types[func] as number] as FuncType
      if (type.params.length === known && type.params.every(one => one === I32) && type.results.length <= 1)
        replaced.push({ func, name: key })
    })
    // Without the functions that take memory there is nothing to give back.
    const takes = replaced.some(({ name }) => name === 'malloc' || name === 'dlmalloc')
    if (takes && (this.#isNamed || given.size > 0)) return replaced
    // Names of exports don't tell whether there is a realloc, too, or a part of memalign that others call.
    const shaped = [...(findMallocByShape(this.module) ?? [])].map(([func, name]) => ({ func, name }))
    const all = ['malloc', 'free', 'calloc', 'realloc'].every(name => replaced.some(one => one.name === name))
    if (takes && all)
      return [...replaced, ...shaped.filter(one => !replaced.some(has => has.func === one.func))]
    return [...replaced.filter(({ name }) => allocators[name] === undefined), ...shaped]
  }

  /** The tag for a constant that may be a global's address. `plain`: in code that was not optimised. */
  globalTag(address: number, plain: boolean): number {
    const found = this.#read().byStart.get(address)
    if (found === undefined) return 0
    if (!plain && (found.length < 16 || found.before > 0)) return 0
    return found.tag
  }

  /** The tag of the global variable that an address is in, or 0. */
  offsetTag(address: number): number {
    return address < this.firstData ? 0 : (this.globalAt(address)?.tag ?? 0)
  }

  /**
   * The tag of the global variable that code which was not optimised has left: it touches bytes right behind one that are none of
   * any other. What is only read may be a constant of the compiler's, unless it is no data.
   */
  strayGlobal(address: number, width: number, store: boolean): number {
    if (!store && address < this.lastData) return 0
    if (width === 1 && this.#isGuard(address)) return 0
    const i = this.globals.findLastIndex(one => one.start <= address)
    const found = this.globals[i]
    const next = this.globals[i + 1]
    if (found === undefined || found.length < SMALL || (next !== undefined && next.start < address + width))
      return 0
    const behind = address - found.start - found.length
    return behind >= 0 && behind < NEAR && !this.#isForeign(address) ? found.tag : 0
  }

  // Whether code that was optimised touches that very address: a variable of a library without debug information, as errno.
  #isForeign(address: number): boolean {
    if (this.#foreign === undefined) {
      this.#foreign = new Set()
      for (const [i, { body, offset }] of this.module.functions.entries()) {
        if (this.frame(this.importedFunctions + i).plain) continue
        const cursor = new Cursor(body, offset)
        while (cursor.next())
          if (cursor.op === OP['i32.const']) this.#foreign.add(cursor.i32 >>> 0)
          else if (isAccess(cursor.op) && cursor.offset > 0) this.#foreign.add(cursor.offset)
      }
    }
    return this.#foreign.has(address)
  }

  // Whether a byte that has no name tells if a static variable of a function has been constructed: functions of C++ that look at it and set
  // it. It often lies right behind that variable.
  #isGuard(address: number): boolean {
    if (this.#guards === undefined) {
      this.#guards = new Set()
      for (const [func, { linkageName }] of this.#read().subprograms) {
        const body = this.module.functions[func - this.importedFunctions]
        if (linkageName === undefined || body === undefined) continue
        const seen = new Set<number>()
        const cursor = new Cursor(body.body, body.offset)
        while (cursor.next())
          if (cursor.op === OP['i32.load8_u']) seen.add(cursor.offset)
          else if (cursor.op === OP['i32.store8'] && cursor.offset % 4 === 0 && seen.has(cursor.offset))
            this.#guards.add(cursor.offset)
      }
    }
    return this.#guards.has(address)
  }

  /** Where the first data segment begins; 1024, where linkers begin, if there is none. */
  get firstData(): number {
    const first = Math.min(...this.#segments().map(({ start }) => start))
    return first === Number.POSITIVE_INFINITY ? 1024 : first
  }

  #segments(): { start: number; end: number }[] {
    return this.module.datas.flatMap(({ offset, bytes }) => {
      if (offset === undefined) return []
      const cursor = new Cursor(offset.bytes, offset.offset)
      if (!cursor.next() || cursor.op !== 0x41) return []
      const start = cursor.i32 >>> 0
      return [{ start, end: start + bytes.length }]
    })
  }

  /** Where a function is written, as a frame. */
  declared(func: number): CheckFrame[] {
    const subprogram = this.#read().subprograms.get(func)
    const { file, line } = subprogram ?? {}
    return [{ func, name: this.name(func), file, line, offset: -1 }]
  }

  /** Whether a site is in the code that runs main: it asks for main's arguments. */
  isStartUp(site: number): boolean {
    if (site < 0) return false
    const func = this.functionAt(site)
    return this.name(func) === '__main_void' || this.#asksArguments(func, 1)
  }

  // Itself, or by a function around the host's.
  #asksArguments(func: number, around: number): boolean {
    const body = this.module.functions[func - this.importedFunctions]
    const host = this.module.imports.filter(({ kind }) => kind === 'func')
    if (body === undefined) return false
    const cursor = new Cursor(body.body, body.offset)
    while (cursor.next())
      if (cursor.op === 0x10) {
        if (host[cursor.index]?.name === 'args_get') return true
        if (around > 0 && this.#asksArguments(cursor.index, around - 1)) return true
      }
    return false
  }

  typeOf(func: number): FuncType {
    return this.module.types[this.#types[func] as number] as FuncType
  }

  name(func: number): string {
    return this.#names.get(func) ?? `function ${func}`
  }

  /** The function whose body a byte of the module is in, or -1. */
  functionAt(offset: number): number {
    const { functions } = this.module
    let low = 0
    let high = functions.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const func = functions[middle] as Func
      if (func.offset + func.body.length <= offset) low = middle + 1
      else high = middle
    }
    // DWARF counts a function from its locals on, a few bytes before its body.
    return low < functions.length ? this.importedFunctions + low : -1
  }

  use(func: number): FrameUse {
    let use = this.#uses.get(func)
    if (use === undefined) {
      const body = this.module.functions[func - this.importedFunctions] as Func
      const { params } = this.typeOf(func)
      const locals = body.locals.reduce((sum, run) => sum + run.count, params.length)
      use = frameUse(body, this.stackPointer, params.length, locals, this.destroys(func))
      this.#uses.set(func, use)
    }
    return use
  }

  /** Whether it calls a destructor. */
  destroys(func: number): boolean {
    const { body, offset } = this.module.functions[func - this.importedFunctions] as Func
    const cursor = new Cursor(body, offset)
    while (cursor.next())
      if (cursor.op === 0x10 && /::~|D[0-2]Ev$/.test(this.#names.get(cursor.index) ?? '')) return true
    return false
  }

  frame(func: number): FrameInfo {
    const { info, subprograms } = this.#read()
    const subprogram = subprograms.get(func)
    if (subprogram === undefined) return { plain: false, complete: false, base: -1, variables: [] }
    let plain = subprogram.variables.length > 0 || subprogram.frameBase !== undefined
    // What a call that was put into this function answers has a place, but no name.
    let complete = subprogram.inlined.length === 0
    const variables: FrameVariable[] = []
    for (const { name, size, locations, scope, typeEntry: type } of subprogram.variables) {
      const [location] = locations
      // An array of a length that is known only at run time lies below the frame. Where it begins is in a local, for its scope.
      if (size === undefined && location?.kind === 'local' && location.range !== undefined) continue
      if (location?.kind !== 'frame' || location.range !== undefined || locations.length !== 1) {
        if (location === undefined || location.kind !== 'memory') plain = false
      } else if (size === undefined) complete = false
      else
        variables.push({
          name,
          start: location.value,
          length: size,
          type,
          scope: this.scopes ? scope : [],
          single: info.partAt(type, 0, 0) === 'part' || info.isVector(type),
          partAt: (offset, width) => info.partAt(type, offset, width),
        })
    }
    if (subprogram.variables.length === 0) plain = this.#isPlainFile(subprogram.file)
    else plain &&= variables.length > 0
    const { frameBase } = subprogram
    return { plain, complete, base: frameBase?.kind === 'local' ? frameBase.index : -1, variables }
  }

  // Of a function without variables nothing tells how it was compiled, but the others of its file do.
  #isPlainFile(file: string | undefined): boolean {
    if (this.#plainFiles === undefined) {
      this.#plainFiles = new Map()
      for (const [func, one] of this.#read().subprograms) {
        if (one.variables.length === 0 || one.variables.every(({ locations: [at] }) => at?.kind === 'memory'))
          continue
        const others = this.#plainFiles.get(one.file) ?? true
        this.#plainFiles.set(one.file, others && this.frame(func).plain)
      }
    }
    return this.#plainFiles.get(file) ?? false
  }

  /** The member that holds a byte of a variable of this type, if it is an array of characters: from the variable's start. */
  textAt(type: number, offset: number): Extent | undefined {
    return this.#read().info.textAt(type, offset)
  }

  /** The global variable that holds a byte. */
  globalAt(address: number): GlobalVariable | undefined {
    const found = this.globals.findLast(one => one.start <= address)
    return found !== undefined && address < found.start + found.length ? found : undefined
  }

  /** The number of a place of a frame in the control memory, and back. */
  variableNumber(func: number, place: number): number {
    return func * VARIABLES + Math.min(place, VARIABLES - 1)
  }
  placeOf(number: number): { func: number; place: Place } | undefined {
    const func = Math.floor(number / VARIABLES)
    if (func < this.importedFunctions || func >= this.#types.length) return undefined
    const { variables, plain } = this.frame(func)
    const place = places(this.use(func), variables, plain)[number % VARIABLES]
    return place === undefined ? undefined : { func, place }
  }

  /** Origins of frames: number << 3, by function. */
  stackOrigin(func: number): number {
    return (func - this.importedFunctions + 1) << 3
  }

  /** The opcode of the instruction at a byte of the module. */
  accessAt(site: number): { op: number; func: number } {
    const func = this.functionAt(site)
    const body = this.module.functions[func - this.importedFunctions] as Func
    const cursor = new Cursor(body.body, body.offset)
    cursor.end = site - body.offset
    cursor.next()
    return { op: cursor.op, func }
  }

  /** The variable of the frame that an access of constant bytes meets between its members, for certain. */
  paddingAt(site: number): FrameVariable | undefined {
    const func = this.functionAt(site)
    const { plain, variables } = this.frame(func)
    const access = plain ? this.use(func).accesses.find(one => one.site === site) : undefined
    return access === undefined ? undefined : paddingOf(access, variables)
  }

  /** Frames of sites, innermost first, with the calls that the compiler has put into their callers. */
  describe(sites: Iterable<number>): CheckFrame[] {
    const frames: CheckFrame[] = []
    for (const offset of sites) {
      const func = this.functionAt(offset)
      if (this.#read().isThere) this.#lines ??= readLines(this.module)
      const place = this.#lines?.at(offset)
      const inlined = (this.#read().subprograms.get(func)?.inlined ?? [])
        .filter(one => one.ranges.some(({ low, high }) => offset >= low && offset < high))
        .sort((a, b) => b.depth - a.depth)
      let file = place?.file
      let line = place?.line
      for (const call of inlined) {
        frames.push({ func, name: call.name, file, line, offset })
        file = call.callFile
        line = call.callLine
      }
      frames.push({ func, name: this.name(func), file, line, offset })
    }
    return frames
  }
}

function findGlobals(info: DebugInfo): GlobalVariable[] {
  const byStart = new Map<number, { name: string; start: number; length: number; type: number }>()
  for (const { name, size, locations, typeEntry: type } of info.globals) {
    const location = locations.find(one => one.kind === 'memory')
    if (location === undefined || size === undefined || size === 0 || location.value === 0) continue
    const known = byStart.get(location.value)
    if (known === undefined || known.length < size)
      byStart.set(location.value, { name, start: location.value, length: size, type })
  }
  const ends = new Map([...byStart.values()].map(one => [one.start + one.length, one.length]))
  return [...byStart.values()]
    .map(one => ({ ...one, before: ends.get(one.start) ?? 0 }))
    .sort((a, b) => a.start - b.start)
    .slice(0, FRAME_TAGS / 8 - 1)
    .map((one, i) => ({ ...one, tag: 8 * (i + 1) }))
}

function stringParams(name: string): number {
  if (/^(strlen|wcslen)$/.test(name)) return 1
  if (
    /^(strcpy|strcat|strcmp|strchr|strrchr|strchrnul|__strchrnul|index|stpcpy|__stpcpy|wcscpy|wcscat|strnlen|wcsnlen)$/.test(
      name,
    )
  )
    return 2
  return 3
}
