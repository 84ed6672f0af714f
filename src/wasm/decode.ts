// The binary format -> Module. Sections in their order, each in its exact size; names in UTF-8; bodies are cut out, not read.
import { Reader } from './bytes.ts'
import { WasmError } from './errors.ts'
import { Cursor, valueType } from './instructions.ts'
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
} from './module.ts'
import { FUNCREF, isReference } from './module.ts'
import { OP } from './opcode-table.ts'

const MAGIC = 0x6d736100

/** The ids of sections, and their places in a file (tags come before globals, the data count before the code). */
export const Section = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const
export const sectionOrder: readonly number[] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]
const sectionNames = Object.keys(Section)

const externKinds: readonly ExternKind[] = ['func', 'table', 'memory', 'global', 'tag']

/**
 * The module in `bytes`. The result views them: they have to stay as they are. It checks the format only: validate.ts checks the
 * meaning. WasmError with the byte where the format is broken, or of what we don't read.
 */
export function decode(bytes: Uint8Array): Module {
  // A Buffer is seen as the plain bytes that it is: views of it should be no Buffers (whose `slice` doesn't copy).
  return new Decoder(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)).module()
}

class Decoder {
  readonly #r: Reader
  readonly #cursor: Cursor
  readonly #types: FuncType[] = []
  readonly #imports: Import[] = []
  readonly #functionTypes: number[] = []
  readonly #functions: Func[] = []
  readonly #tables: Table[] = []
  readonly #memories: Limits[] = []
  readonly #tags: Tag[] = []
  readonly #globals: Global[] = []
  readonly #exports: Export[] = []
  #start: number | undefined
  readonly #elements: Element[] = []
  #dataCount: number | undefined
  readonly #datas: Data[] = []
  readonly #customs: Custom[] = []
  #codeOffset = 0
  readonly #places = {
    imports: [] as number[],
    functions: [] as number[],
    tables: [] as number[],
    memories: [] as number[],
    tags: [] as number[],
    exports: [] as number[],
    elements: [] as number[],
    datas: [] as number[],
    start: -1,
  }

  constructor(bytes: Uint8Array) {
    this.#r = new Reader(bytes)
    this.#cursor = new Cursor(bytes, 0)
  }

  module(): Module {
    this.#header()
    const r = this.#r
    const size = r.bytes.length
    let last = -1
    let after = 0
    while (r.at < size) {
      const start = r.at
      const id = r.byte('section id')
      const length = r.u32('size of the section')
      if (length > size - r.at)
        r.fail(`the section should have ${length} bytes, but only ${size - r.at} are left`, start)
      r.end = r.at + length
      if (id === Section.custom) {
        const name = r.name('name of the custom section')
        this.#customs.push({ name, bytes: r.view(r.end - r.at, 'custom section'), after })
      } else {
        const place = sectionOrder.indexOf(id)
        if (place < 0) r.fail(`there is no section of id ${id}`, start)
        if (place <= last)
          r.fail(`the ${sectionNames[id]} section comes ${place === last ? 'twice' : 'too late'}`, start)
        last = place
        after = id
        this.#section(id)
        if (r.at !== r.end) r.fail(`the ${sectionNames[id]} section has ${r.end - r.at} bytes too many`)
      }
      r.end = size
    }
    if (this.#functions.length !== this.#functionTypes.length)
      r.fail(`${this.#functionTypes.length} functions are declared, but ${this.#functions.length} have code`)
    if (this.#dataCount !== undefined && this.#dataCount !== this.#datas.length)
      r.fail(`the data count is ${this.#dataCount}, but there are ${this.#datas.length} data segments`)
    return {
      types: this.#types,
      imports: this.#imports,
      functions: this.#functions,
      tables: this.#tables,
      memories: this.#memories,
      tags: this.#tags,
      globals: this.#globals,
      exports: this.#exports,
      start: this.#start,
      elements: this.#elements,
      dataCount: this.#dataCount !== undefined,
      datas: this.#datas,
      customs: this.#customs,
      codeOffset: this.#codeOffset,
      places: this.#places,
    }
  }

  #header(): void {
    const r = this.#r
    if (r.end < 8 || new DataView(r.bytes.buffer, r.bytes.byteOffset).getUint32(0, true) !== MAGIC)
      r.fail('it does not begin with \\0asm and a version')
    r.at = 4
    const version = new DataView(r.bytes.buffer, r.bytes.byteOffset).getUint32(4, true)
    if (version === 0x1000d)
      throw new WasmError('unsupported', 4, 'components are not supported, only core modules')
    if (version !== 1) r.fail(`version ${version} is not 1`)
    r.at = 8
  }

  /** As many entries as the section says; notes where each one begins. */
  #entries(what: string, atLeast: number, places: number[], read: () => void): void {
    const r = this.#r
    for (let left = r.count(what, atLeast); left > 0; left--) {
      places.push(r.at)
      read()
    }
  }

  #section(id: number): void {
    const r = this.#r
    const places = this.#places
    switch (id) {
      case Section.type:
        for (let left = r.count('types'); left > 0; left--) this.#types.push(this.#functionType())
        return
      case Section.import:
        return this.#entries('imports', 3, places.imports, () => this.#imports.push(this.#import()))
      case Section.function:
        return this.#entries('functions', 1, places.functions, () =>
          this.#functionTypes.push(r.u32('type of the function')),
        )
      case Section.table:
        return this.#entries('tables', 2, places.tables, () => this.#tables.push(this.#table()))
      case Section.memory:
        return this.#entries('memories', 2, places.memories, () => this.#memories.push(this.#limits(true)))
      case Section.tag:
        return this.#entries('tags', 2, places.tags, () => this.#tags.push({ type: this.#tag() }))
      case Section.global:
        for (let left = r.count('globals', 3); left > 0; left--)
          this.#globals.push({ ...this.#globalType(), init: this.#constExpr() })
        return
      case Section.export:
        return this.#entries('exports', 3, places.exports, () => this.#exports.push(this.#export()))
      case Section.start:
        places.start = r.at
        this.#start = r.u32('start function')
        return
      case Section.element:
        return this.#entries('element segments', 1, places.elements, () =>
          this.#elements.push(this.#element()),
        )
      case Section.dataCount:
        this.#dataCount = r.u32('data count')
        return
      case Section.code:
        this.#code()
        return
      default:
        return this.#entries('data segments', 1, places.datas, () => this.#datas.push(this.#data()))
    }
  }

  #functionType(): FuncType {
    const r = this.#r
    const at = r.at
    const form = r.byte('type')
    if (form === 0x4e || form === 0x4f || form === 0x50 || form === 0x5e || form === 0x5f) {
      const what = {
        0x4e: 'a group of recursive types',
        0x4f: 'a subtype',
        0x50: 'a subtype',
        0x5e: 'an array type',
        0x5f: 'a struct type',
      }[form]
      throw new WasmError('unsupported', at, `${what} (of the GC proposal) is not supported`)
    }
    if (form !== 0x60) r.fail(`0x${form.toString(16)} is not the form of a function type`, at)
    const list = (what: string): number[] => {
      const types = []
      for (let left = r.count(what); left > 0; left--) types.push(this.#valueType())
      return types
    }
    return { params: list('parameters'), results: list('results') }
  }

  #valueType(): number {
    const byte = this.#r.byte('value type')
    return valueType(byte, this.#r.at - 1)
  }

  #referenceType(): number {
    const at = this.#r.at
    const type = this.#valueType()
    if (!isReference(type))
      this.#r.fail(`a table or element segment can't hold the type 0x${type.toString(16)}`, at)
    return type
  }

  #import(): Import {
    const r = this.#r
    const module = r.name("import's module name")
    const name = r.name("import's name")
    const at = r.at
    const kind = externKinds[r.byte('kind of import')]
    switch (kind) {
      case 'func':
        return { module, name, kind, type: r.u32('type of the function') }
      case 'table':
        return { module, name, kind, type: this.#tableType() }
      case 'memory':
        return { module, name, kind, type: this.#limits(true) }
      case 'global':
        return { module, name, kind, type: this.#globalType() }
      case 'tag':
        return { module, name, kind, type: this.#tag() }
      default:
        return r.fail('there is no such kind of import', at)
    }
  }

  #tableType(): TableType {
    return { type: this.#referenceType(), limits: this.#limits(false) }
  }

  #table(): Table {
    const r = this.#r
    if (r.bytes[r.at] !== 0x40) return { ...this.#tableType(), init: undefined }
    r.at++
    if (r.byte('reserved byte of the table') !== 0) r.fail('the byte behind 0x40 is not 0', r.at - 1)
    return { ...this.#tableType(), init: this.#constExpr() }
  }

  #limits(memory: boolean): Limits {
    const r = this.#r
    const at = r.at
    const flags = r.byte('limits')
    if (flags & 8 && memory && flags < 16)
      throw new WasmError('unsupported', at, 'custom page sizes are not supported')
    if (flags > 7) r.fail(`0x${flags.toString(16)} are not the flags of limits`, at)
    const shared = (flags & 2) !== 0
    const is64 = (flags & 4) !== 0
    if (shared && !memory) throw new WasmError('unsupported', at, 'shared tables are not supported')
    const number = (what: string): number => {
      const start = r.at
      const value = is64 ? r.u64(what) : r.u32(what)
      if (value > Number.MAX_SAFE_INTEGER)
        throw new WasmError('unsupported', start, `a ${what} of ${value} is not supported`)
      return value
    }
    const min = number(memory ? 'size of the memory' : 'size of the table')
    const max = flags & 1 ? number(memory ? 'maximum of the memory' : 'maximum of the table') : undefined
    return { min, max, shared, is64 }
  }

  #globalType(): GlobalType {
    const r = this.#r
    const type = this.#valueType()
    const mutable = r.byte('mutability of the global')
    if (mutable > 3) r.fail(`0x${mutable.toString(16)} is no mutability`, r.at - 1)
    if (mutable > 1) throw new WasmError('unsupported', r.at - 1, 'shared globals are not supported')
    return { type, mutable: mutable === 1 }
  }

  #tag(): number {
    const r = this.#r
    if (r.byte('attribute of the tag') !== 0) r.fail('the attribute of a tag is not 0', r.at - 1)
    return r.u32('type of the tag')
  }

  #export(): Export {
    const r = this.#r
    const name = r.name("export's name")
    const at = r.at
    const kind = externKinds[r.byte('kind of export')]
    if (kind === undefined) return r.fail('there is no such kind of export', at)
    return { name, kind, index: r.u32('index of the export') }
  }

  /** Up to the `end` that is not a block's. */
  #constExpr(): ConstExpr {
    const r = this.#r
    const cursor = this.#cursor.reset(r.bytes.subarray(0, r.end), r.base)
    cursor.end = r.at
    const start = r.at
    for (;;) {
      if (!cursor.next()) r.fail('a constant expression has no end', start)
      if (cursor.op === OP.end) break
      if (cursor.op <= 0x1f)
        throw new WasmError(
          'invalid',
          cursor.at,
          `the instruction 0x${cursor.op.toString(16)} in a constant expression`,
        )
    }
    r.at = cursor.end
    return { bytes: r.bytes.subarray(start, r.at), offset: start }
  }

  // The flags of an element segment: 1 not active, 2 a table or declared, 4 expressions.
  #element(): Element {
    const r = this.#r
    const at = r.at
    const flags = r.u32('flags of the element segment')
    if (flags > 7) r.fail(`${flags} are not the flags of an element segment`, at)
    const active = (flags & 1) === 0
    const table = active && flags & 2 ? r.u32('table of the element segment') : 0
    const offset = active ? this.#constExpr() : undefined
    const mode = active ? 'active' : flags & 2 ? 'declared' : 'passive'
    let type = FUNCREF
    if (flags & 4) {
      if (flags & 3) type = this.#referenceType()
      const expressions = []
      for (let left = r.count('elements'); left > 0; left--) expressions.push(this.#constExpr())
      return { mode, table, offset, type, functions: undefined, expressions }
    }
    if (flags & 3 && r.byte('kind of the elements') !== 0)
      r.fail('the kind of the elements is not 0 (functions)', r.at - 1)
    const functions = []
    for (let left = r.count('elements'); left > 0; left--) functions.push(r.u32('function'))
    return { mode, table, offset, type, functions, expressions: undefined }
  }

  #code(): void {
    const r = this.#r
    const { end } = r
    const imported = this.#imports.filter(({ kind }) => kind === 'func').length
    this.#codeOffset = r.at
    const at = r.at
    const count = r.count('function bodies', 2)
    if (count !== this.#functionTypes.length)
      r.fail(`${this.#functionTypes.length} functions are declared, but ${count} have code`, at)
    for (let i = 0; i < count; i++) {
      const length = r.u32('size of the function')
      if (length > end - r.at)
        r.fail(`the function should have ${length} bytes, but the section has ${end - r.at} left`)
      r.end = r.at + length
      const locals = this.#locals()
      const body = r.view(r.end - r.at, 'function')
      const offset = r.at - body.length
      if (body[body.length - 1] !== OP.end)
        r.fail('a function does not end with end', Math.max(offset, r.at - 1))
      this.#functions.push({
        type: this.#functionTypes[i] as number,
        locals,
        body,
        offset,
        original: imported + i,
      })
      r.end = end
    }
  }

  #locals(): LocalRun[] {
    const r = this.#r
    const runs: LocalRun[] = []
    let total = 0
    for (let left = r.count('groups of locals', 2); left > 0; left--) {
      const at = r.at
      const count = r.u32('number of locals')
      total += count
      if (total > 0xffff_ffff) r.fail(`a function of ${total} locals`, at)
      runs.push({ count, type: this.#valueType() })
    }
    return runs
  }

  #data(): Data {
    const r = this.#r
    const at = r.at
    const flags = r.u32('flags of the data segment')
    if (flags > 2) r.fail(`${flags} are not the flags of a data segment`, at)
    const memory = flags === 2 ? r.u32('memory of the data segment') : 0
    const offset = flags === 1 ? undefined : this.#constExpr()
    return { memory, offset, bytes: r.view(r.u32('size of the data'), 'data segment') }
  }
}
