// Module -> the binary format, every number in its shortest form. Sections that would be empty are left out.
import { Writer } from './bytes.ts'
import { Section, sectionOrder } from './decode.ts'
import type {
  ConstExpr,
  Element,
  ExternKind,
  Func,
  GlobalType,
  Import,
  Limits,
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
    content.length = 0
    const parts = section(content, module, id)
    if (parts !== undefined) {
      out.byte(id)
      out.u32(content.length + sum(parts))
      out.bytes(content.view())
      for (const part of parts) out.bytes(part)
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

const sum = (parts: readonly Uint8Array[]): number => parts.reduce((length, part) => length + part.length, 0)

function customs(out: Writer, module: Module, after: number): void {
  for (const custom of module.customs) {
    if (custom.after !== after) continue
    const content = new Writer(custom.name.length * 3 + 5)
    content.name(custom.name)
    out.byte(Section.custom)
    out.u32(content.length + custom.bytes.length)
    out.bytes(content.view())
    out.bytes(custom.bytes)
  }
}

function vector<T>(
  out: Writer,
  items: readonly T[],
  write: (item: T) => void,
): readonly Uint8Array[] | undefined {
  if (items.length === 0) return undefined
  out.u32(items.length)
  for (const item of items) write(item)
  return []
}

/** Writes the section's content and tells what goes behind it; undefined: the section is left out. */
function section(out: Writer, module: Module, id: number): readonly Uint8Array[] | undefined {
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
      if (module.start === undefined) return undefined
      out.u32(module.start)
      return []
    case Section.element:
      return vector(out, module.elements, element => writeElement(out, element))
    case Section.dataCount:
      if (!module.dataCount) return undefined
      out.u32(module.datas.length)
      return []
    case Section.code:
      return code(out, module.functions)
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

/** The bodies are parts, so that they are copied once. */
function code(out: Writer, functions: readonly Func[]): readonly Uint8Array[] | undefined {
  if (functions.length === 0) return undefined
  out.u32(functions.length)
  const heads = new Writer(functions.length * 16)
  const parts: Uint8Array[] = []
  const locals = new Writer(64)
  const cuts: number[] = []
  for (const func of functions) {
    locals.length = 0
    locals.u32(func.locals.length)
    for (const { count, type } of func.locals) {
      locals.u32(count)
      locals.byte(type)
    }
    heads.u32(locals.length + func.body.length)
    heads.bytes(locals.view())
    cuts.push(heads.length)
  }
  const all = heads.view()
  let from = 0
  for (const [i, to] of cuts.entries()) {
    parts.push(all.subarray(from, to), (functions[i] as Func).body)
    from = to
  }
  return parts
}
