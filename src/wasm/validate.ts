// Whether a decoded module makes sense: every index names something, every body type-checks, constants are constant.
import { WasmError } from './errors.ts'
import { Cursor } from './instructions.ts'
import {
  type ConstExpr,
  type FuncType,
  type GlobalType,
  I32,
  I64,
  indexSpaces,
  type Limits,
  type Module,
  typeName,
  type ValueType,
} from './module.ts'
import { OP } from './opcode-table.ts'
import { type TypeContext, Typer } from './typer.ts'

/** The context in which the bodies of a module are typed. */
export function typeContext(module: Module): TypeContext {
  return {
    ...indexSpaces(module),
    types: module.types,
    elements: module.elements.map(({ type }) => type),
    dataCount: module.dataCount ? module.datas.length : undefined,
    declared: declaredFunctions(module),
  }
}

/** Throws a WasmError (`invalid`) at the first thing that doesn't make sense. */
export function validate(module: Module): void {
  const context = typeContext(module)
  new ModuleChecker(module, context).check()
  const typer = new Typer(context)
  const cursor = new Cursor(new Uint8Array(0), 0)
  for (const { type, locals, body, offset } of module.functions) {
    typer.start(context.types[type] as FuncType, locals, offset)
    cursor.reset(body, offset)
    while (cursor.next()) typer.step(cursor)
    if (typer.depth > 0)
      throw new WasmError('malformed', offset + body.length, `${typer.depth} blocks have no end`)
  }
}

/** The functions that something outside of the bodies names: ref.func may name only these. */
function declaredFunctions(module: Module): Set<number> {
  const declared = new Set<number>()
  for (const { kind, index } of module.exports) if (kind === 'func') declared.add(index)
  const cursor = new Cursor(new Uint8Array(0), 0)
  const expression = (code: ConstExpr | undefined): void => {
    if (code === undefined) return
    cursor.reset(code.bytes, code.offset)
    while (cursor.next()) if (cursor.op === OP['ref.func']) declared.add(cursor.index)
  }
  for (const { init } of module.globals) expression(init)
  for (const { init } of module.tables) expression(init)
  for (const { offset } of module.datas) expression(offset)
  for (const { offset, functions, expressions } of module.elements) {
    expression(offset)
    for (const index of functions ?? []) declared.add(index)
    for (const code of expressions ?? []) expression(code)
  }
  return declared
}

/** What a constant expression may do: push constants and references, read globals, add and multiply. */
const constantOps: ReadonlySet<number> = new Set([
  OP['i32.const'],
  OP['i64.const'],
  OP['f32.const'],
  OP['f64.const'],
  OP['v128.const'],
  OP['ref.null'],
  OP['ref.func'],
  OP['global.get'],
  OP['i32.add'],
  OP['i32.sub'],
  OP['i32.mul'],
  OP['i64.add'],
  OP['i64.sub'],
  OP['i64.mul'],
  OP.end,
])

class ModuleChecker {
  readonly #module: Module
  readonly #context: TypeContext
  readonly #typer: Typer

  constructor(module: Module, context: TypeContext) {
    this.#module = module
    this.#context = context
    // Globals can be read as far as they are defined by then.
    this.#typer = new Typer(context)
  }

  #fail(place: number, message: string): never {
    throw new WasmError('invalid', place, message)
  }

  check(): void {
    this.#imports()
    const { functions, tables, memories, globals, tags, places } = this.#module
    for (const [i, { type }] of functions.entries()) this.#type(type, places?.functions[i])
    for (const [i, { type, limits, init }] of tables.entries()) {
      this.#tableLimits(limits, places?.tables[i])
      if (init !== undefined) this.#constant(init, type, this.#importedGlobals())
    }
    for (const [i, limits] of memories.entries()) this.#memoryLimits(limits, places?.memories[i])
    for (const [i, { type }] of tags.entries()) this.#tag(type, places?.tags[i])
    let before = this.#importedGlobals()
    for (const { type, init } of globals) this.#constant(init, type, before++)
    this.#exports()
    this.#start()
    this.#elements()
    this.#datas()
  }

  #importedGlobals(): number {
    return this.#context.globals.length - this.#module.globals.length
  }

  #imports(): void {
    for (const [i, imported] of this.#module.imports.entries()) {
      const place = this.#module.places?.imports[i]
      if (imported.kind === 'func') this.#type(imported.type, place)
      else if (imported.kind === 'table') this.#tableLimits(imported.type.limits, place)
      else if (imported.kind === 'memory') this.#memoryLimits(imported.type, place)
      else if (imported.kind === 'tag') this.#tag(imported.type, place)
    }
  }

  #type(index: number, place = -1): FuncType {
    const type = this.#context.types[index]
    if (type === undefined) this.#fail(place, `there is no type ${index}`)
    return type
  }

  #tag(index: number, place = -1): void {
    const { results } = this.#type(index, place)
    if (results.length > 0)
      this.#fail(place, `the type of a tag can't have results, type ${index} has ${results.length}`)
  }

  #memoryLimits({ min, max, shared, is64 }: Limits, place = -1): void {
    const most = is64 ? 2 ** 48 : 65_536
    if (min > most || (max ?? 0) > most) this.#fail(place, `a memory can't have more than ${most} wasm pages`)
    if (max !== undefined && max < min)
      this.#fail(place, `the memory's maximum of ${max} is under its size of ${min}`)
    if (shared && max === undefined) this.#fail(place, 'a shared memory has to have a maximum')
  }

  #tableLimits({ min, max }: Limits, place = -1): void {
    if (max !== undefined && max < min)
      this.#fail(place, `the table's maximum of ${max} is under its size of ${min}`)
  }

  /** `globals`: how many may be read. */
  #constant({ bytes, offset }: ConstExpr, type: ValueType, globals: number): void {
    const cursor = new Cursor(bytes, offset)
    const typer = this.#typer
    typer.start({ params: [], results: [type] }, [], offset)
    while (cursor.next()) {
      if (!constantOps.has(cursor.op)) this.#fail(cursor.place, 'this instruction is not constant')
      if (cursor.op === OP['global.get']) this.#constantGlobal(cursor, globals)
      typer.step(cursor)
    }
  }

  #constantGlobal(cursor: Cursor, globals: number): void {
    const global: GlobalType | undefined = this.#context.globals[cursor.index]
    if (global === undefined || cursor.index >= globals)
      this.#fail(cursor.place, `there is no global ${cursor.index} before this one`)
    if (global.mutable)
      this.#fail(cursor.place, `global ${cursor.index} is mutable: its value is not constant`)
  }

  #exports(): void {
    const { functions, tables, memories, globals, tags } = this.#context
    const counts = { func: functions, table: tables, memory: memories, global: globals, tag: tags }
    const names = new Set<string>()
    for (const [i, { name, kind, index }] of this.#module.exports.entries()) {
      const place = this.#module.places?.exports[i] ?? -1
      if (names.has(name)) this.#fail(place, `'${name}' is exported twice`)
      names.add(name)
      if (index >= counts[kind].length)
        this.#fail(place, `the export '${name}' is of ${kind} ${index}, which there is not`)
    }
  }

  #start(): void {
    const { start, places } = this.#module
    if (start === undefined) return
    const place = places?.start ?? -1
    const index = this.#context.functions[start]
    if (index === undefined) this.#fail(place, `the start function ${start} is not there`)
    const { params, results } = this.#type(index, place)
    if (params.length + results.length > 0) this.#fail(place, 'the start function takes or answers something')
  }

  #elements(): void {
    const globals = this.#context.globals.length
    for (const [i, element] of this.#module.elements.entries()) {
      const { mode, table, offset, type, functions, expressions } = element
      const place = this.#module.places?.elements[i] ?? -1
      if (mode === 'active') {
        const to = this.#context.tables[table]
        if (to === undefined) this.#fail(place, `there is no table ${table}`)
        if (to.type !== type)
          this.#fail(place, `the segment holds ${typeName(type)}, table ${table} ${typeName(to.type)}`)
        if (offset !== undefined) this.#constant(offset, to.limits.is64 ? I64 : I32, globals)
      }
      for (const index of functions ?? [])
        if (index >= this.#context.functions.length)
          this.#fail(place, `the segment names function ${index}, which there is not`)
      for (const code of expressions ?? []) this.#constant(code, type, globals)
    }
  }

  #datas(): void {
    for (const [i, { memory, offset }] of this.#module.datas.entries()) {
      if (offset === undefined) continue
      const limits = this.#context.memories[memory]
      if (limits === undefined)
        this.#fail(this.#module.places?.datas[i] ?? -1, `there is no memory ${memory}`)
      this.#constant(offset, limits.is64 ? I64 : I32, this.#context.globals.length)
    }
  }
}
