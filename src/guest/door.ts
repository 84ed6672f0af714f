// The door for guests that a JavaScript program hosts: sql.js, quickjs-wasi and whatever else comes with a host of its own, which imports
// more than WASI and so can't be run by `run`.
//
//   program: WebAssembly.compile, new Module   → the engine's own module, of the program's bytes; the bytes are remembered
//   program: instantiate, new Instance         → visit(guest, imports) → passes rewrite it → compile → instance → ready → the program
//
// The program keeps what it knows: the modules that it holds, and their lists of imports and exports, are those of its own bytes, and an
// instance shows only what these bytes export. A module that the door does not know (it was made before, or posted from another thread) and
// modules of Node's own and of ours are left as they are, and so is one that our codec doesn't read. A visit may refuse: then the program's call throws what the visit threw.
//
// With `room`, memories that the program makes have so many bytes more than it asked for, from the start: a host that keeps views of its
// memory would not see it grow when somebody else does that.
import {
  engine,
  type EngineInstance,
  type EngineMemory,
  type EngineModule,
  type ImportObject,
} from './engine.ts'
import { GuestError } from './errors.ts'
import { guestOf, type Guest, looksLikeWasm, type Pass, rewritten } from './load.ts'

/** What is done with one instance of a guest. */
export interface Visit {
  readonly passes?: readonly Pass[]
  /** What passes import, by module and name. */
  readonly imports?: ImportObject
  /** Its memory, where it has one; called before the program has the instance. */
  ready?(instance: EngineInstance, memory: EngineMemory | undefined): void
  /** Called if the instance stays as it is after all, because its code can't be read. */
  left?(): void
}

/** A memory that the program has made, and the bytes that it asked for. */
export interface MadeMemory {
  readonly memory: EngineMemory
  readonly bytes: number
}

/**
 * Called for each instance, with the first memory that the program gives it to import, if it is one that it has made. Undefined: it is left as
 * it is.
 */
export type Visitor = (guest: Guest, made: MadeMemory | undefined) => Visit | undefined

/** Names that passes add begin with this: the program does not see them. */
const ours = 'lethe:'

/** Part of the key of kept modules. */
const revision = '1'

type Exports = EngineInstance['exports']
type Callable = (...args: never[]) => unknown
interface Names {
  Memory: Callable
  Module: Callable
  Instance: Callable & { readonly prototype: object }
  compile(bytes: unknown): Promise<EngineModule>
  instantiate(source: unknown, imports?: ImportObject): Promise<unknown>
  compileStreaming?: (source: unknown) => Promise<EngineModule>
  instantiateStreaming?: (source: unknown, imports?: ImportObject) => Promise<unknown>
}

/**
 * From now on each instance in this thread goes through the visitor. `left` is told of modules that the engine can read and we can't, which stay as they
 * are, and why.
 */
export function openDoor(visitor: Visitor, room = 0, left: (why: string) => void = () => {}): void {
  const names = engine as unknown as Names
  const own: Names = { ...pick(names) }
  const guests = new WeakMap<EngineModule, Guest>()
  const made = new WeakMap<EngineModule, Map<string, EngineModule>>()
  const memories = new MadeMemories()
  let count = 0

  const remember = (module: EngineModule, bytes: Uint8Array): EngineModule => {
    guests.set(module, guestOf(`wasm module ${++count}`, bytes))
    return module
  }
  // The module with its passes, compiled once for each list of them; a promise only where the program waits for one.
  const kept = (module: EngineModule, key: string): EngineModule | undefined =>
    key === '' ? module : made.get(module)?.get(key)
  const keep = (module: EngineModule, key: string, ready: EngineModule): EngineModule => {
    const all = made.get(module) ?? new Map<string, EngineModule>()
    made.set(module, all.set(key, ready))
    return ready
  }
  const visit = (module: EngineModule, given: ImportObject | undefined): Found | undefined => {
    const guest = guests.get(module)
    if (guest === undefined) return undefined
    let found: Visit | undefined
    try {
      found = visitor(guest, memories.find(importedMemories(guest, given)))
      if (found === undefined) return undefined
      const passes = found.passes ?? []
      const key = passes.map(pass => pass.name).join('+')
      const before = kept(module, key)
      const bytes = before === undefined ? rewritten(guest, passes, revision) : new Uint8Array(0)
      return { visit: found, guest, key, before, bytes }
    } catch (error) {
      const why = unreadable(error)
      if (why === undefined) throw error
      found?.left?.()
      left(`${guest.path}: ${why}`)
      return undefined
    }
  }
  const allExports = hideOurs(own.Instance.prototype)
  const finish = (found: Visit, guest: Guest, instance: EngineInstance, imports: ImportObject): void => {
    const exports = allExports(instance)
    found.ready?.({ exports }, memoryOf(exports, importedMemories(guest, imports)))
  }

  const instanceNow = (
    target: Callable,
    module: EngineModule,
    given: ImportObject | undefined,
    newTarget: Callable,
  ): object => {
    const found = visit(module, given)
    if (found === undefined) return Reflect.construct(target, [module, given], newTarget) as object
    const { visit: one, guest, key, before, bytes } = found
    const ready = before ?? keep(module, key, new engineModule(bytes) as EngineModule)
    const imports = merged(given, one.imports)
    const instance = Reflect.construct(target, [ready, imports], newTarget) as EngineInstance
    finish(one, guest, instance, imports)
    return instance
  }
  const instanceLater = async (
    module: EngineModule,
    given: ImportObject | undefined,
  ): Promise<EngineInstance> => {
    const found = visit(module, given)
    if (found === undefined) return (await own.instantiate.call(engine, module, given)) as EngineInstance
    const { visit: one, guest, key, before, bytes } = found
    const ready = before ?? keep(module, key, await own.compile.call(engine, bytes))
    const imports = merged(given, one.imports)
    const instance = (await own.instantiate.call(engine, ready, imports)) as EngineInstance
    finish(one, guest, instance, imports)
    return instance
  }

  const engineModule = own.Module as unknown as new (bytes: Uint8Array) => object
  names.Module = new Proxy(own.Module, {
    construct(target, args: [unknown], newTarget) {
      const bytes = copyOf(args[0])
      const module = Reflect.construct(target, args, newTarget as Callable) as EngineModule
      return bytes === undefined || notOfProgram() ? module : remember(module, bytes)
    },
  })
  names.Instance = new Proxy(own.Instance, {
    construct: (target, [module, given]: [EngineModule, ImportObject?], newTarget) =>
      instanceNow(target, module, given, newTarget as Callable),
  })
  if (room > 0)
    names.Memory = new Proxy(names.Memory, {
      construct: (target, [size]: [MemorySize], newTarget) =>
        memories.make(target, size, room, newTarget as Callable),
    })
  names.compile = async (source: unknown, ...more: unknown[]) => {
    const [bytes, left] = [copyOf(source), notOfProgram()]
    const module = await (own.compile as (...args: unknown[]) => Promise<EngineModule>)(source, ...more)
    return bytes === undefined || left ? module : remember(module, bytes)
  }
  names.instantiate = async (source: unknown, given?: ImportObject, ...more: unknown[]) => {
    const [bytes, left] = [copyOf(source), notOfProgram()]
    if (left) return own.instantiate.call(engine, source, given)
    if (bytes === undefined)
      return guests.has(source as EngineModule)
        ? instanceLater(source as EngineModule, given)
        : own.instantiate.call(engine, source, given)
    let module: EngineModule
    try {
      module = await (own.compile as (...args: unknown[]) => Promise<EngineModule>)(bytes, ...more)
    } catch {
      // Refused in the words of the call that the program made.
      return own.instantiate.call(engine, bytes, given)
    }
    return { module, instance: await instanceLater(remember(module, bytes), given) }
  }
  if (own.compileStreaming !== undefined) {
    const { compileStreaming } = own
    const streamed = async (source: unknown): Promise<EngineModule> => {
      const response = (await source) as Response
      const copy = response.clone()
      const module = await compileStreaming.call(engine, response)
      return remember(module, new Uint8Array(await copy.arrayBuffer()))
    }
    names.compileStreaming = streamed
    names.instantiateStreaming = async (source, given) => {
      const module = await streamed(source)
      return { module, instance: await instanceLater(module, given) }
    }
  }
}

interface Found {
  readonly visit: Visit
  readonly guest: Guest
  /** The names of its passes. */
  readonly key: string
  /** What they have made before, or else their bytes. */
  readonly before: EngineModule | undefined
  readonly bytes: Uint8Array
}

// What an error of our codec says.
function unreadable(error: unknown): string | undefined {
  const { cause } = error as { cause?: unknown }
  const found = [error, cause].find(one => one instanceof Error && one.name === 'WasmError')
  return found instanceof Error ? found.message : undefined
}

function pick(names: Names): Names {
  const { Memory, Module, Instance, compile, instantiate, compileStreaming, instantiateStreaming } = names
  return {
    Memory,
    Module,
    Instance,
    compile: compile.bind(engine),
    instantiate: instantiate.bind(engine),
    ...(compileStreaming === undefined ? {} : { compileStreaming }),
    ...(instantiateStreaming === undefined ? {} : { instantiateStreaming }),
  }
}

// The bytes of a module as they are now: the program may use the buffer for something else. Undefined for what is no bytes.
function copyOf(source: unknown): Uint8Array | undefined {
  let bytes: Uint8Array
  if (ArrayBuffer.isView(source)) bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
  else if (source instanceof ArrayBuffer) bytes = new Uint8Array(source)
  else return undefined
  const known = looksLikeWasm(bytes.subarray(0, 4)) && bytes[4] === 1
  return known ? bytes.slice() : undefined
}

const lethe = new URL('..', import.meta.url).href

// Whether the call comes from Node, whose parsers are WebAssembly too, or from us. Calls of the engine's own stand between, in no file; the
// outermost code of a CommonJS module is called Object.<anonymous>, and has one.
function notOfProgram(): boolean {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 6
  const lines = (new Error('where').stack ?? '').split('\n').slice(1)
  Error.stackTraceLimit = stackTraceLimit
  const caller = lines.find(line => !line.includes(import.meta.url) && !line.endsWith('(<anonymous>)'))
  return caller !== undefined && (/\bnode:internal\/deps\//.test(caller) || caller.includes(lethe))
}

interface MemorySize {
  readonly initial: number
  readonly maximum?: number
  readonly shared?: boolean
}

const wasmPage = 65_536

class MadeMemories {
  readonly #asked = new WeakMap<EngineMemory, number>()

  make(target: Callable, size: MemorySize, room: number, newTarget: Callable): object {
    if (size.shared === true || notOfProgram()) return Reflect.construct(target, [size], newTarget) as object
    const larger: { -readonly [K in keyof MemorySize]: MemorySize[K] } = {
      ...size,
      initial: size.initial + room / wasmPage,
    }
    delete larger.maximum
    const memory = Reflect.construct(target, [larger], newTarget) as EngineMemory
    this.#asked.set(memory, size.initial * wasmPage)
    return memory
  }

  find(memories: readonly EngineMemory[]): MadeMemory | undefined {
    for (const memory of memories) {
      const bytes = this.#asked.get(memory)
      if (bytes !== undefined) return { memory, bytes }
    }
    return undefined
  }
}

const merged = (given: ImportObject | undefined, added: ImportObject | undefined): ImportObject =>
  added === undefined ? (given as ImportObject) : { ...given, ...added }

const isMemory = (value: unknown): value is EngineMemory => value instanceof engine.Memory

// Looked up by name, as the engine does: a host's object may make what it is asked for (Emscripten's GOT).
function importedMemories({ module }: Guest, imports: ImportObject | undefined): EngineMemory[] {
  return module.imports
    .filter(one => one.kind === 'memory')
    .map(one => imports?.[one.module]?.[one.name])
    .filter(isMemory)
}

// The first memory: what it exports, or else what it imports.
function memoryOf(exports: Exports, imported: readonly EngineMemory[]): EngineMemory | undefined {
  return Object.values(exports).find(isMemory) ?? imported[0]
}

// Exports that passes add are not shown. What is returned shows all.
function hideOurs(prototype: object): (instance: object) => Exports {
  const { get } = Object.getOwnPropertyDescriptor(prototype, 'exports') ?? {}
  if (get === undefined) throw new GuestError('impossible', 'This engine has no WebAssembly.Instance.exports')
  const all = get as (this: object) => Exports
  const shown = new WeakMap<Exports, Exports>()
  Object.defineProperty(prototype, 'exports', {
    configurable: true,
    enumerable: true,
    get(this: object): Exports {
      const exports = all.call(this)
      if (!Object.keys(exports).some(name => name.startsWith(ours))) return exports
      let some = shown.get(exports)
      if (some === undefined) {
        const left = Object.entries(exports).filter(([name]) => !name.startsWith(ours))
        some = Object.freeze(Object.assign(Object.create(null), Object.fromEntries(left)) as Exports)
        shown.set(exports, some)
      }
      return some
    },
  })
  return instance => all.call(instance)
}
