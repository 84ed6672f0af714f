// A WebAssembly module as plain data: decode.ts makes it, encode.ts writes it, rewrite.ts changes it.
//
// Sections are arrays in the order of the file. An index (of a function, table, memory, global, tag) counts the imports of its kind first,
// then the defined ones: `functions[0]` has the index importCount(module, 'func'). Bodies and constant expressions stay bytes, with
// their final `end`; instructions.ts reads them. Bytes are views of the module's file: nobody writes into them.

/** A value type, as its byte in the binary format. */
export type ValueType = number
export const I32: ValueType = 0x7f
export const I64: ValueType = 0x7e
export const F32: ValueType = 0x7d
export const F64: ValueType = 0x7c
export const V128: ValueType = 0x7b
export const FUNCREF: ValueType = 0x70
export const EXTERNREF: ValueType = 0x6f
export const EXNREF: ValueType = 0x69

export interface FuncType {
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

/** Of a memory in wasm pages of 64 KiB, of a table in elements. */
export interface Limits {
  readonly min: number
  readonly max: number | undefined
  readonly shared: boolean
  /** Addressed with i64 (memory64). */
  readonly is64: boolean
}

export interface TableType {
  readonly type: ValueType
  readonly limits: Limits
}

export interface GlobalType {
  readonly type: ValueType
  readonly mutable: boolean
}

/** The bytes of a constant expression with its `end`, and where in the module they are (-1: they never were in one). */
export interface ConstExpr {
  readonly bytes: Uint8Array
  readonly offset: number
}

export type ExternKind = 'func' | 'table' | 'memory' | 'global' | 'tag'

interface ImportName {
  readonly module: string
  readonly name: string
}
/** `type` of a function or a tag is an index into Module.types. */
export type Import = ImportName &
  (
    | { readonly kind: 'func'; readonly type: number }
    | { readonly kind: 'table'; readonly type: TableType }
    | { readonly kind: 'memory'; readonly type: Limits }
    | { readonly kind: 'global'; readonly type: GlobalType }
    | { readonly kind: 'tag'; readonly type: number }
  )

/** `count` locals of one type, as the format groups them. */
export interface LocalRun {
  readonly count: number
  readonly type: ValueType
}

export interface Func {
  readonly type: number
  readonly locals: readonly LocalRun[]
  /** The instructions, with the final `end`. */
  readonly body: Uint8Array
  /** Where the body is in the module that was decoded; -1 for a function that a pass added. */
  readonly offset: number
  /** The function's index in the module that was decoded; -1 for one that a pass added. */
  readonly original: number
  /**
   * Set by rewriting: pairs (byte in `body`, byte in the decoded module) of every instruction that was kept, ascending. Absent: the body is
   * as it was decoded.
   */
  readonly origins?: Uint32Array
  /** Set by rewriting: where in `body` all indices of functions are, ascending. Absent: who wants to know has to look. */
  readonly functions?: Uint32Array
  /** Set by passes: the branches in `body` that go one way nearly always (hints.ts): 2 * the byte, + 1 if the condition is true then; ascending. */
  readonly hints?: Uint32Array
}

export interface Table extends TableType {
  readonly init: ConstExpr | undefined
}

export interface Global extends GlobalType {
  readonly init: ConstExpr
}

export interface Export {
  readonly name: string
  readonly kind: ExternKind
  readonly index: number
}

export interface Tag {
  readonly type: number
}

/** `functions` are indices; a segment has either these or `expressions`. */
export interface Element {
  readonly mode: 'active' | 'passive' | 'declared'
  readonly table: number
  /** Of an active segment only. */
  readonly offset: ConstExpr | undefined
  readonly type: ValueType
  readonly functions: readonly number[] | undefined
  readonly expressions: readonly ConstExpr[] | undefined
}

export interface Data {
  readonly memory: number
  /** Of an active segment; a passive one has none. */
  readonly offset: ConstExpr | undefined
  readonly bytes: Uint8Array
}

/** A custom section. `after` is the id of the last other section before it, 0 at the start. */
export interface Custom {
  readonly name: string
  readonly bytes: Uint8Array
  readonly after: number
}

export interface Module {
  readonly types: readonly FuncType[]
  readonly imports: readonly Import[]
  readonly functions: readonly Func[]
  readonly tables: readonly Table[]
  readonly memories: readonly Limits[]
  readonly tags: readonly Tag[]
  readonly globals: readonly Global[]
  readonly exports: readonly Export[]
  readonly start: number | undefined
  readonly elements: readonly Element[]
  /** Whether there is a data count section (memory.init and data.drop need it). */
  readonly dataCount: boolean
  readonly datas: readonly Data[]
  readonly customs: readonly Custom[]
  /** Where the content of the code section begins in the decoded module: DWARF counts its addresses from here. 0: there is none. */
  readonly codeOffset: number
  /** Where the entries of the sections are in the decoded module, for errors; a module that was made has none. */
  readonly places?: Places
}

type PlacedSection =
  | 'imports'
  | 'functions'
  | 'tables'
  | 'memories'
  | 'tags'
  | 'exports'
  | 'elements'
  | 'datas'
/** Byte offsets, in the order of the sections' entries. */
export type Places = Readonly<Record<PlacedSection, readonly number[]>> & { readonly start: number }

/** How many of a kind are imported: the index of the first one that is defined. */
export function importCount(module: Module, kind: ExternKind): number {
  let count = 0
  for (const imported of module.imports) if (imported.kind === kind) count++
  return count
}

/** What every index stands for, imports first. Functions and tags as indices into `types`. */
export interface IndexSpaces {
  readonly functions: readonly number[]
  readonly tables: readonly TableType[]
  readonly memories: readonly Limits[]
  readonly globals: readonly GlobalType[]
  readonly tags: readonly number[]
}

/** The index spaces of a module. */
export function indexSpaces(module: Module): IndexSpaces {
  const functions: number[] = []
  const tables: TableType[] = []
  const memories: Limits[] = []
  const globals: GlobalType[] = []
  const tags: number[] = []
  for (const imported of module.imports)
    if (imported.kind === 'func') functions.push(imported.type)
    else if (imported.kind === 'table') tables.push(imported.type)
    else if (imported.kind === 'memory') memories.push(imported.type)
    else if (imported.kind === 'global') globals.push(imported.type)
    else tags.push(imported.type)
  for (const { type } of module.functions) functions.push(type)
  for (const table of module.tables) tables.push(table)
  for (const memory of module.memories) memories.push(memory)
  for (const global of module.globals) globals.push(global)
  for (const { type } of module.tags) tags.push(type)
  return { functions, tables, memories, globals, tags }
}

const typeNames: Readonly<Record<number, string>> = {
  [I32]: 'i32',
  [I64]: 'i64',
  [F32]: 'f32',
  [F64]: 'f64',
  [V128]: 'v128',
  [FUNCREF]: 'funcref',
  [EXTERNREF]: 'externref',
  [EXNREF]: 'exnref',
}

/** `i32`, `funcref`, … */
export function typeName(type: ValueType): string {
  return typeNames[type] ?? `0x${type.toString(16)}`
}

export function isReference(type: ValueType): boolean {
  return type === FUNCREF || type === EXTERNREF || type === EXNREF
}
