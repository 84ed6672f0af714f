// Changing a module: what passes stand on.
//
// While passes run, everything that was in the module keeps its index, and what is added gets the next index behind all of its kind,
// imports too. The format wants imports first: finish() moves all indices once, in bodies, constant expressions, segments, exports and
// names. So passes can follow one another in any order, and none of them thinks about numbering.
import { type BodyVisitor, rewriteBodies } from './bodies.ts'
import { Code } from './code.ts'
import type {
  ConstExpr,
  Custom,
  Data,
  Element,
  Export,
  ExternKind,
  Func,
  FuncType,
  Global,
  GlobalType,
  Import,
  Limits,
  LocalRun,
  Module,
  Table,
  TableType,
  Tag,
  ValueType,
} from './module.ts'
import { EXTERNREF, F32, F64, I32, I64 } from './module.ts'
import { type Names, namesSection, readNames, renumberNames } from './names.ts'
import { OP } from './opcode-table.ts'
import { renumberBodies, renumberExpression } from './renumber.ts'

/** What stands at an index: an import, or a definition. */
type Entry<T> = { readonly imported: Import } | { readonly imported: undefined; item: T }

interface Spaces {
  func: Entry<Func>[]
  table: Entry<Table>[]
  memory: Entry<Limits>[]
  global: Entry<Global>[]
  tag: Entry<Tag>[]
}

export interface NewFunction {
  readonly type: FuncType
  readonly locals?: readonly ValueType[]
  /** Writes the instructions without the last `end`; locals count from 0, the parameters first. */
  body(code: Code): void
  /** For the name section. */
  readonly name?: string
}

/** Sections that speak of places in the code, which a changed code has elsewhere. */
const bound = /^(\.debug_|reloc\.|linking$|sourceMappingURL$|metadata\.code\.|external_debug_info$)/

export class Rewriter {
  /** The module as it was when rewriting began. */
  readonly source: Module
  readonly types: FuncType[]
  exports: Export[]
  start: number | undefined
  readonly elements: Element[]
  readonly datas: Data[]
  customs: Custom[]
  #dataCount: boolean
  readonly #spaces: Spaces
  readonly #typeIndex = new Map<string, number>()
  #names: Names | undefined
  readonly #hadNames: boolean
  readonly #own = new Set<number>()

  constructor(module: Module) {
    this.source = module
    this.types = [...module.types]
    for (const [i, type] of this.types.entries()) {
      const key = typeKey(type)
      if (!this.#typeIndex.has(key)) this.#typeIndex.set(key, i)
    }
    this.exports = [...module.exports]
    this.start = module.start
    this.elements = [...module.elements]
    this.datas = [...module.datas]
    this.customs = [...module.customs]
    this.#dataCount = module.dataCount
    this.#hadNames = module.customs.some(({ name }) => name === 'name')
    const entries = <T>(kind: ExternKind, items: readonly T[]): Entry<T>[] => [
      ...module.imports.filter(imported => imported.kind === kind).map(imported => ({ imported })),
      ...items.map(item => ({ imported: undefined, item })),
    ]
    this.#spaces = {
      func: entries('func', module.functions),
      table: entries('table', module.tables),
      memory: entries('memory', module.memories),
      global: entries('global', module.globals),
      tag: entries('tag', module.tags),
    }
  }

  /** How many of a kind there are now. */
  count(kind: ExternKind): number {
    return this.#spaces[kind].length
  }

  /** The index in `types` of a type, which is added if it is new. */
  type(type: FuncType): number {
    const key = typeKey(type)
    let index = this.#typeIndex.get(key)
    if (index === undefined) {
      index = this.types.push(type) - 1
      this.#typeIndex.set(key, index)
    }
    return index
  }

  /** The type of the function at an index. */
  functionType(index: number): FuncType {
    const entry = this.#spaces.func[index]
    if (entry === undefined)
      throw new RangeError(`Invalid function ${index}: there are ${this.#spaces.func.length}`)
    const type = entry.imported === undefined ? entry.item.type : (entry.imported as { type: number }).type
    return this.types[type] as FuncType
  }

  memoryType(index: number): Limits {
    const entry = this.#spaces.memory[index]
    if (entry === undefined)
      throw new RangeError(`Invalid memory ${index}: there are ${this.#spaces.memory.length}`)
    return entry.imported === undefined ? entry.item : (entry.imported as { type: Limits }).type
  }

  globalType(index: number): GlobalType {
    const entry = this.#spaces.global[index]
    if (entry === undefined)
      throw new RangeError(`Invalid global ${index}: there are ${this.#spaces.global.length}`)
    return entry.imported === undefined ? entry.item : (entry.imported as { type: GlobalType }).type
  }

  /** What an import is called, `undefined` for what is defined. */
  importAt(kind: ExternKind, index: number): Import | undefined {
    return this.#spaces[kind][index]?.imported
  }

  /** Adds an import; answers its index. */
  addImport(imported: Import): number {
    return (this.#spaces[imported.kind] as { imported: Import }[]).push({ imported }) - 1
  }

  /** Adds an imported function; answers its index. */
  importFunction(module: string, name: string, type: FuncType): number {
    return this.addImport({ module, name, kind: 'func', type: this.type(type) })
  }

  /** Adds a function; answers its index. */
  addFunction(added: NewFunction): number {
    const code = new Code(256)
    added.body(code)
    code.end()
    const locals = runs(added.locals ?? [])
    const item: Func = {
      type: this.type(added.type),
      locals,
      body: code.take(),
      offset: -1,
      original: -1,
      functions: code.functions.take(),
      ...(code.hints.length === 0 ? {} : { hints: code.hints.take() }),
    }
    const index = this.#spaces.func.push({ imported: undefined, item }) - 1
    if (added.name !== undefined) this.names.functions.set(index, added.name)
    return index
  }

  /** Adds a global whose first value is `init`: a number, or an expression's writer without the `end`. */
  addGlobal(type: GlobalType, init: number | bigint | ((code: Code) => void), name?: string): number {
    const item: Global = { ...type, init: constant(type.type, init) }
    const index = this.#spaces.global.push({ imported: undefined, item }) - 1
    if (name !== undefined) this.names.globals.set(index, name)
    return index
  }

  /** Adds a memory of the module's own. A module that imports it instead: addImport. */
  addMemory(limits: Limits): number {
    return this.#spaces.memory.push({ imported: undefined, item: limits }) - 1
  }

  addTable(type: TableType): number {
    return this.#spaces.table.push({ imported: undefined, item: { ...type, init: undefined } }) - 1
  }

  /** Exports something under a name that no other export has (RangeError). */
  addExport(name: string, kind: ExternKind, index: number): void {
    if (this.exports.some(other => other.name === name))
      throw new RangeError(`Invalid export: '${name}' is one already`)
    this.exports.push({ name, kind, index })
  }

  /** The index of an export of a kind, `undefined` if there is none. */
  exported(name: string, kind: ExternKind): number | undefined {
    return this.exports.find(other => other.name === name && other.kind === kind)?.index
  }

  /** Makes a defined memory, with the size that it had or `limits`, an import: the host makes it. Its index stays. */
  importMemory(index: number, module: string, name: string, limits: Limits = this.memoryType(index)): void {
    this.#spaces.memory[index] = { imported: { module, name, kind: 'memory', type: limits } }
  }

  /** Makes an import a function of the module: all that called the import calls the function. */
  defineFunction(index: number, added: NewFunction): void {
    const made = this.addFunction(added)
    const entry = this.#spaces.func.pop() as Entry<Func>
    this.#spaces.func[index] = entry
    this.#own.delete(index)
    if (added.name !== undefined) {
      this.names.functions.delete(made)
      this.names.functions.set(index, added.name)
    }
  }

  /** The defined functions with their indices. */
  *definedFunctions(): Generator<{ index: number; func: Func }, void, void> {
    const { func } = this.#spaces
    const { length } = func
    for (let index = 0; index < length; index++) {
      const entry = func[index] as Entry<Func>
      if (entry.imported === undefined) yield { index, func: entry.item }
    }
  }

  /** The function at an index, `undefined` for an import. */
  function(index: number): Func | undefined {
    const entry = this.#spaces.func[index]
    return entry?.imported === undefined ? entry?.item : undefined
  }

  /** Puts another function at the index of a defined one or an import. `own`: nobody else has its body's bytes. */
  setFunction(index: number, item: Func, own = false): void {
    this.#spaces.func[index] = { imported: undefined, item }
    if (own) this.#own.add(index)
    else this.#own.delete(index)
  }
  /** Whether nobody else has the bytes of the function's body. */
  owns(index: number): boolean {
    return this.#own.has(index)
  }

  /** memory.init and data.drop may be used. */
  needDataCount(): void {
    this.#dataCount = true
  }

  /** The names, to be read and added to. */
  get names(): Names {
    this.#names ??= readNames(this.source)
    return this.#names
  }

  rewriteBodies(visitor: BodyVisitor): void {
    rewriteBodies(this, visitor)
  }

  /** The module as it is now, with all indices in the order of the format. The Rewriter is not to be used afterwards. */
  finish(): Module {
    const maps = {
      func: order(this.#spaces.func),
      table: order(this.#spaces.table),
      memory: order(this.#spaces.memory),
      global: order(this.#spaces.global),
      tag: order(this.#spaces.tag),
    }
    renumberBodies(this, maps)
    const move = (kind: ExternKind, index: number): number => maps[kind]?.[index] ?? index
    const expression = (code: ConstExpr): ConstExpr => renumberExpression(code, maps)
    const imports: Import[] = []
    const order0: ExternKind[] = ['func', 'table', 'memory', 'global', 'tag']
    for (const imported of this.source.imports) imports.push(imported)
    const had = new Set(imports)
    for (const kind of order0)
      for (const { imported } of this.#spaces[kind])
        if (imported !== undefined && !had.has(imported)) imports.push(imported)
    const present = new Set(order0.flatMap(kind => this.#spaces[kind].map(({ imported }) => imported)))
    return {
      types: this.types,
      imports: imports.filter(imported => present.has(imported)),
      functions: defined(this.#spaces.func),
      tables: defined(this.#spaces.table).map(table => ({
        ...table,
        init: table.init && expression(table.init),
      })),
      memories: defined(this.#spaces.memory),
      tags: defined(this.#spaces.tag),
      globals: defined(this.#spaces.global).map(global => ({ ...global, init: expression(global.init) })),
      exports: this.exports.map(({ name, kind, index }) => ({ name, kind, index: move(kind, index) })),
      start: this.start === undefined ? undefined : move('func', this.start),
      elements: this.elements.map(element => ({
        ...element,
        table: move('table', element.table),
        offset: element.offset && expression(element.offset),
        functions: element.functions?.map(index => move('func', index)),
        expressions: element.expressions?.map(expression),
      })),
      dataCount: this.#dataCount,
      datas: this.datas.map(data => ({
        ...data,
        memory: move('memory', data.memory),
        offset: data.offset && expression(data.offset),
      })),
      customs: this.#customs(Object.values(maps).some(map => map !== undefined) ? move : undefined),
      codeOffset: this.source.codeOffset,
    }
  }

  /** The code may stand elsewhere now: what names places in it goes. */
  #customs(move: ((kind: ExternKind, index: number) => number) | undefined): Custom[] {
    const kept = this.customs.filter(({ name }) => !bound.test(name))
    if (this.#names === undefined && (move === undefined || !this.#hadNames)) return kept
    const at = kept.findIndex(({ name }) => name === 'name')
    const section = namesSection(move === undefined ? this.names : renumberNames(this.names, move))
    if (at < 0) return [...kept, section]
    return kept.with(at, { ...section, after: (kept[at] as Custom).after })
  }
}

const typeKey = ({ params, results }: FuncType): string => `${params.join()}:${results.join()}`

/** The place of every index with the imports first; `undefined` where nothing moves. */
function order(entries: readonly Entry<unknown>[]): readonly number[] | undefined {
  const imported = entries.reduce((count, entry) => count + (entry.imported === undefined ? 0 : 1), 0)
  let nextImport = 0
  let nextDefined = imported
  const map = entries.map(entry => (entry.imported === undefined ? nextDefined++ : nextImport++))
  return map.every((to, from) => to === from) ? undefined : map
}

function defined<T>(entries: readonly Entry<T>[]): T[] {
  const items: T[] = []
  for (const entry of entries) if (entry.imported === undefined) items.push(entry.item)
  return items
}

function runs(types: readonly ValueType[]): LocalRun[] {
  const locals: LocalRun[] = []
  for (const type of types) {
    const last = locals.at(-1)
    if (last?.type === type) locals[locals.length - 1] = { count: last.count + 1, type }
    else locals.push({ count: 1, type })
  }
  return locals
}

/** A constant expression: a number of a type, or what a writer writes. */
export function constant(type: ValueType, init: number | bigint | ((code: Code) => void)): ConstExpr {
  const code = new Code(16)
  if (typeof init === 'function') init(code)
  else if (type === I32) code.i32(Number(init))
  else if (type === I64) code.i64(BigInt(init))
  else if (type === F32 || type === F64) {
    const bytes = type === F32 ? new Float32Array([Number(init)]) : new Float64Array([Number(init)])
    code.op(type === F32 ? OP['f32.const'] : OP['f64.const']).bytes(new Uint8Array(bytes.buffer))
  } else code.with(OP['ref.null'], type === EXTERNREF ? EXTERNREF : type)
  code.end()
  return { bytes: code.take(), offset: -1 }
}
