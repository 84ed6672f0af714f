// Module -> the binary format, every number in its shortest form. Sections that would be empty are left out.
import { Writer } from './bytes.ts'
import { Section, sectionOrder } from './decode.ts'
import { hintsSection } from './hints.ts'
import type {
  ConstExpr,
  Custom,
  Element,
  ExternKind,
  Func,
  GlobalType,
  Import,
  Limits,
  LocalRun,
  Module,
  TableType,
} from './module.ts'
import { FUNCREF } from './module.ts'

const kindByte: Readonly<Record<ExternKind, number>> = { func: 0, table: 1, memory: 2, global: 3, tag: 4 }

/** The module's bytes. Custom sections go where they were. */
export function encode(module: Module): Uint8Array<ArrayBuffer> {
  const out = new Writer(estimate(module))
  for (const byte of [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.byte(byte)
  customs(out, module, 0)
  const content = new Writer(4096)
  for (const id of sectionOrder) {
    if (id === Section.code) {
      const hints = hintsSection(module, n => localsLength((module.functions[n] as Func).locals))
      if (hints !== undefined) writeCustom(out, hints)
      if (module.functions.length > 0) code(out, module.functions)
      customs(out, module, id)
      continue
    }
    content.length = 0
    const some = section(content, module, id)
    if (some) {
      out.byte(id)
      out.u32(content.length)
      out.bytes(content.view())
    }
    customs(out, module, id)
  }
  return out.take()
}

function estimate(module: Module): number {
  let size = 4096
  for (const { body, locals } of module.functions) size += body.length + 6 + locals.length * 6
  for (const { bytes } of module.datas) size += bytes.length + 16
  for (const { bytes, name } of module.customs) size += bytes.length + name.length * 3 + 12
  for (const { functions, expressions } of module.elements)
    size += 5 * (functions?.length ?? expressions?.length ?? 0)
  return size
}

function customs(out: Writer, module: Module, after: number): void {
  for (const custom of module.customs) if (custom.after === after) writeCustom(out, custom)
}

function writeCustom(out: Writer, custom: Custom): void {
  const content = new Writer(custom.name.length * 3 + 5)
  content.name(custom.name)
  out.byte(Section.custom)
  out.u32(content.length + custom.bytes.length)
  out.bytes(content.view())
  out.bytes(custom.bytes)
}

function vector<T>(out: Writer, items: readonly T[], write: (item: T) => void): boolean {
  if (items.length > 0) out.u32(items.length)
  for (const item of items) write(item)
  return items.length > 0
}

/** Writes the section's content; false: the section is left out. The code is written by `code`. */
function section(out: Writer, module: Module, id: number): boolean {
  switch (id) {
    case Section.type:
      return vector(out, module.types, ({ params, results }) => {
        out.byte(0x60)
        out.u32(params.length)
        for (const type of params) out.byte(type)
        out.u32(results.length)
        for (const type of results) out.byte(type)
      })
    case Section.import:
      return vector(out, module.imports, imported => writeImport(out, imported))
    case Section.function:
      return vector(out, module.functions, ({ type }) => out.u32(type))
    case Section.table:
      return vector(out, module.tables, table => {
        if (table.init !== undefined) {
          out.byte(0x40)
          out.byte(0)
        }
        writeTableType(out, table)
        if (table.init !== undefined) out.bytes(table.init.bytes)
      })
    case Section.memory:
      return vector(out, module.memories, limits => writeLimits(out, limits))
    case Section.tag:
      return vector(out, module.tags, ({ type }) => {
        out.byte(0)
        out.u32(type)
      })
    case Section.global:
      return vector(out, module.globals, global => {
        writeGlobalType(out, global)
        out.bytes(global.init.bytes)
      })
    case Section.export:
      return vector(out, module.exports, ({ name, kind, index }) => {
        out.name(name)
        out.byte(kindByte[kind])
        out.u32(index)
      })
    case Section.start:
      if (module.start === undefined) return false
      out.u32(module.start)
      return true
    case Section.element:
      return vector(out, module.elements, element => writeElement(out, element))
    case Section.dataCount:
      if (!module.dataCount) return false
      out.u32(module.datas.length)
      return true
    default:
      return vector(out, module.datas, ({ memory, offset, bytes }) => {
        const flags = offset === undefined ? 1 : memory === 0 ? 0 : 2
        out.u32(flags)
        if (flags === 2) out.u32(memory)
        if (offset !== undefined) out.bytes(offset.bytes)
        out.u32(bytes.length)
        out.bytes(bytes)
      })
  }
}

function writeImport(out: Writer, imported: Import): void {
  out.name(imported.module)
  out.name(imported.name)
  out.byte(kindByte[imported.kind])
  if (imported.kind === 'func') out.u32(imported.type)
  else if (imported.kind === 'table') writeTableType(out, imported.type)
  else if (imported.kind === 'memory') writeLimits(out, imported.type)
  else if (imported.kind === 'global') writeGlobalType(out, imported.type)
  else {
    out.byte(0)
    out.u32(imported.type)
  }
}

function writeTableType(out: Writer, { type, limits }: TableType): void {
  out.byte(type)
  writeLimits(out, limits)
}

function writeLimits(out: Writer, { min, max, shared, is64 }: Limits): void {
  out.byte((max === undefined ? 0 : 1) | (shared ? 2 : 0) | (is64 ? 4 : 0))
  out.u64(min)
  if (max !== undefined) out.u64(max)
}

function writeGlobalType(out: Writer, { type, mutable }: GlobalType): void {
  out.byte(type)
  out.byte(mutable ? 1 : 0)
}

function writeElement(out: Writer, element: Element): void {
  const { mode, table, offset, type, functions, expressions } = element
  // A table of index 0 of funcref has a short form, which names neither.
  const named = mode === 'active' && (table !== 0 || (type !== FUNCREF && expressions !== undefined))
  const flags =
    (mode === 'active' ? 0 : 1) | (mode === 'declared' || named ? 2 : 0) | (expressions === undefined ? 0 : 4)
  out.u32(flags)
  if (named) out.u32(table)
  if (offset !== undefined) out.bytes(offset.bytes)
  if (flags & 3) out.byte(expressions === undefined ? 0 : type)
  if (expressions === undefined) {
    out.u32((functions ?? []).length)
    for (const index of functions ?? []) out.u32(index)
  } else {
    out.u32(expressions.length)
    for (const expression of expressions as readonly ConstExpr[]) out.bytes(expression.bytes)
  }
}

/** The code section: its size is known before anything is written, so that bodies are copied once, to their place. */
function code(out: Writer, functions: readonly Func[]): void {
  const sizes = new Uint32Array(functions.length)
  let total = lebLength(functions.length)
  for (let n = 0; n < functions.length; n++) {
    const { locals, body } = functions[n] as Func
    const size = localsLength(locals) + body.length
    sizes[n] = size
    total += lebLength(size) + size
  }
  out.byte(Section.code)
  out.u32(total)
  out.u32(functions.length)
  for (let n = 0; n < functions.length; n++) {
    const { locals, body } = functions[n] as Func
    out.u32(sizes[n] as number)
    out.u32(locals.length)
    for (const { count, type } of locals) {
      out.u32(count)
      out.byte(type)
    }
    out.bytes(body)
  }
}

/** Bytes of a function in front of its instructions. */
export function localsLength(locals: readonly LocalRun[]): number {
  let size = lebLength(locals.length)
  for (const { count } of locals) size += lebLength(count) + 1
  return size
}

/** Bytes of an unsigned number. */
const lebLength = (value: number): number => (value === 0 ? 1 : Math.ceil((32 - Math.clz32(value)) / 7))
