// The pass: a module in, a module out that carries the checks of layout.ts. Imports of ours come behind the module's own, so that
// defined functions move by as many; memories, globals, types and helper functions of ours come last.
import type { Data, Func, FuncType, Limits, Module, ValueType } from '../wasm/module.ts'
import { I32, importCount, indexSpaces } from '../wasm/module.ts'
import { Cursor } from '../wasm/instructions.ts'
import { Writer } from '../wasm/bytes.ts'
import type { Context, FrameInfo, Helper, HelperIndices, HelperName, HookName } from './context.ts'
import { hookTypes } from './context.ts'
import { Emitter } from './emitter.ts'
import { helperBodies } from './helpers.ts'
import { wholeFunction } from './whole.ts'
import { CALLS, CHECK_MODULE, CONTROL_PAGES, EXPORTS, FRAME_TAGS, FRAME_VARIABLES, TABLE } from './layout.ts'
import { translate } from './translate.ts'

const wasmPage = 65_536
/** Half of what there is for calls. */
const MOST_CALLS = FRAME_VARIABLES / 2

/** A function whose body is given to the host: by its index, under a name. */
export interface Replaced {
  readonly func: number
  readonly name: string
}

export interface PassOptions {
  readonly stackPointer: number
  readonly scans: ReadonlySet<number>
  readonly replaced: readonly Replaced[]
  /** Of the variables with tags, in the order of these: where they are. */
  readonly globals: readonly { readonly start: number; readonly before: number; readonly length: number }[]
  frame(func: number): FrameInfo
  destroys(func: number): boolean
  variable(func: number, place: number): number
  globalTag(address: number, plain: boolean): number
  offsetTag(address: number): number
  readonly firstData: number
  strayGlobal(address: number, width: number, store: boolean): number
  stackOrigin(func: number): number
  /** A JavaScript program runs the module (Context.hosted). Of the memory `room` bytes more are the heap's, from the start. */
  readonly host?: { readonly room: number } | undefined
}

/** Thrown for a module that can't be checked, with the reason. */
export class CheckError extends Error {
  override readonly name = 'CheckError'
  readonly code: 'unsupported'
  constructor(message: string) {
    super(message)
    this.code = 'unsupported'
  }
}

/** Throws CheckError for a module that can't be checked. */
export function refuse(module: Module): void {
  const memories = [
    ...module.memories,
    ...module.imports.flatMap(one => (one.kind === 'memory' ? [one.type] : [])),
  ]
  if (memories.length !== 1)
    throw new CheckError(`the module has ${memories.length} memories; the checker follows exactly one`)
  if (memories[0]?.is64)
    throw new CheckError('the module has a 64-bit memory; the checker follows 32-bit addresses')
  if (memories[0]?.shared)
    throw new CheckError('the module shares its memory between threads; the checker follows one thread')
}

// The object table as it is at the start: what holds all of memory, then the global variables.
function objectTable(memory: number, globals: PassOptions['globals']): Data {
  const words = new Uint32Array(2 + 2 * globals.length)
  words[1] = 0xffff_ffff
  globals.forEach(({ start, before, length }, i) => {
    words[2 + 2 * i] = start - before
    words[3 + 2 * i] = before + length
  })
  const offset = new Emitter(8)
  offset.i32(TABLE)
  offset.end()
  return { memory, offset: { bytes: offset.take(), offset: -1 }, bytes: new Uint8Array(words.buffer) }
}

// All that the heap gets: JavaScript keeps views of the memory, and would not see it grow.
function withRoom(limits: Limits, room: number): Limits {
  if (room === 0) return limits
  return { ...limits, min: Math.min(65536, limits.min + room / wasmPage), max: undefined }
}

// Calls that were left by what JavaScript has thrown stay on the call stack: it begins again before it is full.
function entryBody(context: Context, params: number, inner: number): Uint8Array {
  const out = new Emitter(24)
  out.globalGet(context.calls)
  out.i32(MOST_CALLS)
  out.op(0x4b)
  out.if()
  out.i32(CALLS)
  out.globalSet(context.calls)
  out.i32(CALLS)
  out.globalSet(context.hostCalls)
  out.end()
  out.call(context.helpers.clear)
  for (let i = 0; i < params; i++) out.get(i)
  out.call(inner)
  out.call(context.helpers.clear)
  out.end()
  return out.take()
}

function functionsOf({ functions, expressions }: Module['elements'][number]): number[] {
  if (functions !== undefined) return [...functions]
  const found: number[] = []
  for (const { bytes } of expressions ?? []) {
    const cursor = new Cursor(bytes, 0)
    while (cursor.next()) if (cursor.op === 0xd2) found.push(cursor.index)
  }
  return found
}

/** The module with its checks. */
export function checkPass(module: Module, options: PassOptions): Module {
  refuse(module)
  const { host } = options
  const spaces = indexSpaces(module)
  const importedFunctions = importCount(module, 'func')
  const types: FuncType[] = [...module.types]
  const typeIndex = (type: FuncType): number => {
    const found = types.findIndex(
      one => one.params.join() === type.params.join() && one.results.join() === type.results.join(),
    )
    return found >= 0 ? found : types.push(type) - 1
  }
  for (const type of module.types)
    if (type.results.length > 1) typeIndex({ params: [], results: type.results })

  const hookNames = Object.keys(hookTypes) as HookName[]
  const hooks = Object.fromEntries(hookNames.map((name, i) => [name, importedFunctions + i])) as Record<
    HookName,
    number
  >
  const shift = hookNames.length + options.replaced.length
  const ownImports = [
    ...hookNames.map(name => ({
      module: CHECK_MODULE,
      name,
      kind: 'func' as const,
      type: typeIndex(hookTypes[name]),
    })),
    ...options.replaced.map(({ func, name }) => ({
      module: CHECK_MODULE,
      name: `${name}#${func}`,
      kind: 'func' as const,
      type: spaces.functions[func] as number,
    })),
  ]

  // Globals.
  const globals = [...module.globals]
  const firstGlobal = importCount(module, 'global')
  const named = new Map<string, number>()
  const global = (name: string, type: ValueType, value = 0): number => {
    let index = named.get(name)
    if (index === undefined) {
      const init = new Emitter(24)
      if (type === I32) init.i32(value)
      else init.zero(type)
      init.end()
      index =
        firstGlobal + globals.push({ type, mutable: true, init: { bytes: init.take(), offset: -1 } }) - 1
      named.set(name, index)
    }
    return index
  }
  const calls = global('calls', I32, CALLS)
  const hostCalls = global('host-calls', I32, CALLS)
  const tags = global('tags', I32, FRAME_TAGS)
  const liveTags = global('live-tags', I32, FRAME_TAGS)
  const exiting = global('exiting', I32)
  const exitCode = global('exit-code', I32)

  const helperNames = Object.keys(helperBodies) as HelperName[]
  const helperBase = importedFunctions + shift + module.functions.length
  const helpers = Object.fromEntries(
    helperNames.map((name, i) => [name, helperBase + i]),
  ) as unknown as HelperIndices
  const context: Context = {
    module: { ...module, types },
    functionTypes: spaces.functions,
    importedFunctions,
    shift,
    hooks,
    helpers,
    calls,
    hostCalls,
    inTable: new Set(host === undefined ? [] : module.elements.flatMap(functionsOf)),
    tags,
    liveTags,
    exiting,
    exitCode,
    hosted: host !== undefined,
    parameterTags: () => [...named].flatMap(([name, index]) => (/^pt\d/.test(name) ? [index] : [])),
    // In a JavaScript program it throws.
    procExit:
      host !== undefined
        ? -1
        : module.imports
            .filter(one => one.kind === 'func')
            .findIndex(one => one.module === 'wasi_snapshot_preview1' && one.name === 'proc_exit'),
    parameterV: (i, type) => global(`pv${i}.${type}`, type),
    parameterT: i => global(`pt${i}`, I32),
    resultV: (i, type) => global(`rv${i}.${type}`, type),
    resultT: i => global(`rt${i}`, I32),
    globalV: (i, type) => global(`gv${i}.${type}`, type),
    globalT: i => global(`gt${i}`, I32),
    ...options,
  }

  const replacedImport = new Map(
    options.replaced.map(({ func, name }, i) => [
      func,
      { name, index: importedFunctions + hookNames.length + i },
    ]),
  )
  // Branches of which the condition is hardly ever true (src/wasm/hints.ts).
  const hinted = (rare: readonly number[]): Pick<Func, 'hints'> =>
    rare.length === 0 ? {} : { hints: Uint32Array.from(rare, place => 2 * place) }
  const functions: Func[] = module.functions.map((func, i) => {
    const index = importedFunctions + i
    const to = replacedImport.get(index)
    if (to !== undefined)
      return { ...func, ...wholeFunction(context, types[func.type] as FuncType, to.name, to.index) }
    const { locals, body, rare } = translate(context, func, index)
    return { ...func, locals, body, ...hinted(rare) }
  })
  for (const name of helperNames) {
    const { type, locals, emit } = helperBodies[name] as Helper
    const out = new Emitter(128)
    emit(out, context)
    out.end()
    const body = { locals, body: out.take(), offset: -1, original: -1 }
    functions.push({ type: typeIndex(type), ...body, ...hinted(out.rare) })
  }

  const move = (index: number): number => (index < importedFunctions ? index : index + shift)
  // What a JavaScript program calls begins and ends with clean parameters.
  const entries = new Map<number, number>()
  const entry = (index: number): number => {
    if (host === undefined || index < importedFunctions) return move(index)
    let made = entries.get(index)
    if (made === undefined) {
      made = importedFunctions + shift + functions.length
      const type = spaces.functions[index] as number
      const body = entryBody(context, (types[type] as FuncType).params.length, move(index))
      functions.push({ type, locals: [], body, offset: -1, original: -1 })
      entries.set(index, made)
    }
    return made
  }
  const exports = module.exports.map(one => (one.kind === 'func' ? { ...one, index: entry(one.index) } : one))
  const moveExpression = (bytes: Uint8Array): Uint8Array => {
    const out = new Writer(bytes.length + 4)
    const cursor = new Cursor(bytes, 0)
    while (cursor.next())
      if (cursor.op === 0xd2) {
        out.byte(0xd2)
        out.u32(move(cursor.index))
      } else out.bytes(bytes, cursor.at, cursor.end)
    return out.take()
  }
  // Shared, though no other thread has them: V8 counts what is not as memory that its collector could give back, and collects all it has each
  // time that gigabytes come.
  const limits = (pages: number): Limits => ({ min: pages, max: pages, shared: true, is64: false })
  const memoryCount = spaces.memories.length
  return {
    ...module,
    types,
    imports: [
      ...module.imports.map(one =>
        one.kind === 'memory' && host !== undefined ? { ...one, type: { ...one.type, max: undefined } } : one,
      ),
      ...ownImports,
    ],
    functions,
    memories: [
      ...module.memories.map(one => (host === undefined ? one : withRoom(one, host.room))),
      limits(65536),
      limits(CONTROL_PAGES),
      limits(65536),
    ],
    globals: globals.map(one => ({
      ...one,
      init: { ...one.init, bytes: moveExpression(one.init.bytes) },
    })),
    exports: [
      ...exports,
      ...(module.start === undefined
        ? []
        : [{ name: EXPORTS.start, kind: 'func' as const, index: move(module.start) }]),
      { name: EXPORTS.memory, kind: 'memory', index: 0 },
      { name: EXPORTS.shadow, kind: 'memory', index: memoryCount },
      { name: EXPORTS.control, kind: 'memory', index: memoryCount + 1 },
      { name: EXPORTS.bits, kind: 'memory', index: memoryCount + 2 },
      { name: EXPORTS.calls, kind: 'global', index: calls },
      { name: EXPORTS.tags, kind: 'global', index: tags },
      { name: EXPORTS.liveTags, kind: 'global', index: liveTags },
      { name: EXPORTS.exiting, kind: 'global', index: exiting },
      { name: EXPORTS.exitCode, kind: 'global', index: exitCode },
      { name: EXPORTS.take, kind: 'func', index: helpers.take },
      { name: EXPORTS.give, kind: 'func', index: helpers.give },
      { name: EXPORTS.blockAt, kind: 'func', index: helpers.blockAt },
      ...spaces.globals.flatMap((one, index) =>
        one.type === I32 && one.mutable
          ? [{ name: `${EXPORTS.global}${index}`, kind: 'global' as const, index }]
          : [],
      ),
    ],
    datas: [...module.datas, objectTable(memoryCount + 1, options.globals)],
    // Called when the checker has hold of the instance.
    start: undefined,
    elements: module.elements.map(one => ({
      ...one,
      functions: one.functions?.map(move),
      expressions: one.expressions?.map(each => ({ ...each, bytes: moveExpression(each.bytes) })),
    })),
    // Names and debug information are of the module as it came: reports read them there.
    customs: [],
  }
}
