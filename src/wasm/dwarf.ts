// DWARF's description of a program: functions with their frames, variables and their types' sizes, inlined calls.
//
// Addresses of code are bytes of the decoded module, as everywhere; addresses of data are the guest's own. What is broken is left out.
import { programFiles } from './dwarf-lines.ts'
import {
  type AttributeValue,
  DebugSections,
  isRemoved,
  type SectionReader,
  type UnitTables,
} from './dwarf-reader.ts'
import { type Location, readLocation } from './dwarf-location.ts'
import type { Module } from './module.ts'

/** Code from `low` up to `high` (exclusive). */
export interface CodeRange {
  readonly low: number
  readonly high: number
}

export interface Variable {
  readonly name: string
  /** In bytes; `undefined` for a type without a size. */
  readonly size: number | undefined
  readonly type: string
  /** Names the type to `DebugInfo.textAt`; -1: it has none. */
  readonly typeEntry: number
  readonly parameter: boolean
  readonly file: string | undefined
  readonly line: number | undefined
  /** Where it lives. A location without a range holds wherever the variable is in scope. */
  readonly locations: readonly Location[]
  /** The block that it belongs to; empty: the whole function, or the whole program. */
  readonly scope: readonly CodeRange[]
}

/** A call that the compiler put into the caller's code. */
export interface InlinedCall {
  readonly name: string
  readonly ranges: readonly CodeRange[]
  readonly callFile: string | undefined
  readonly callLine: number
  readonly callColumn: number
  /** 1: directly in the function. */
  readonly depth: number
}

export interface Subprogram {
  /** In the source's words; `linkageName` is the mangled one, if there is one. */
  readonly name: string
  readonly linkageName: string | undefined
  readonly file: string | undefined
  readonly line: number | undefined
  readonly ranges: readonly CodeRange[]
  /** What DW_OP_fbreg counts from. */
  readonly frameBase: Location | undefined
  readonly variables: readonly Variable[]
  readonly inlined: readonly InlinedCall[]
}

export interface DebugInfo {
  /** Ascending by their first code. */
  readonly subprograms: readonly Subprogram[]
  /** Variables of files, static ones of functions too, that have an address. */
  readonly globals: readonly Variable[]
  /**
   * The array of characters that is a member of a struct, or of an array's element, and holds the byte at `offset` of a variable of this
   * type, with those that follow it directly; counted from the variable's start. Not what may be one of several (unions), nor a last
   * member, which may go on behind its end.
   */
  readonly textAt: (typeEntry: number, offset: number) => Extent | undefined
  /** What `width` bytes at `offset` of a variable of this type are. */
  readonly partAt: (typeEntry: number, offset: number, width: number) => Part
  /** Whether a type is a vector (`vector_size`): compilers take it to pieces and keep these anywhere in the frame. */
  readonly isVector: (typeEntry: number) => boolean
}

/** whole: a member, an element, or not known. part: some bytes of a variable that is one number or pointer. padding: between members. */
export type Part = 'whole' | 'part' | 'padding'

/** A part of a variable. */
export interface Extent {
  readonly name: string
  readonly start: number
  readonly length: number
}

const Tag = {
  array: 0x01,
  formal: 0x05,
  block: 0x0b,
  member: 0x0d,
  pointer: 0x0f,
  compileUnit: 0x11,
  struct: 0x13,
  typedef: 0x16,
  union: 0x17,
  inheritance: 0x1c,
  subrange: 0x21,
  inlined: 0x1d,
  base: 0x24,
  const: 0x26,
  subprogram: 0x2e,
  variable: 0x34,
  volatile: 0x35,
} as const
const At = {
  location: 0x02,
  name: 0x03,
  byteSize: 0x0b,
  bitSize: 0x0d,
  stmtList: 0x10,
  lowPc: 0x11,
  highPc: 0x12,
  upperBound: 0x2f,
  abstractOrigin: 0x31,
  count: 0x37,
  memberLocation: 0x38,
  gnuVector: 0x2107,
  declFile: 0x3a,
  declLine: 0x3b,
  declaration: 0x3c,
  frameBase: 0x40,
  specification: 0x47,
  type: 0x49,
  ranges: 0x55,
  callColumn: 0x57,
  callFile: 0x58,
  callLine: 0x59,
  linkageName: 0x6e,
  stringBase: 0x72,
  addressBase: 0x73,
  rangesBase: 0x74,
  loclistsBase: 0x8c,
} as const

interface Abbreviation {
  readonly tag: number
  readonly children: boolean
  /** name, form, implicit constant, in turns. */
  readonly attributes: readonly number[]
}

/** A node of the tree. */
interface Entry {
  readonly tag: number
  readonly unit: Unit
  readonly attributes: ReadonlyMap<number, { readonly form: number; readonly value: AttributeValue }>
  readonly children: Entry[]
}

export interface Unit extends UnitTables {
  readonly start: number
  low: number
  rangesBase: number
  loclistsBase: number
  files: readonly string[]
  firstFile: number
}

/** The debug info of a module; empty for one that has none. */
export function readDebugInfo(module: Module): DebugInfo {
  return new InfoReader(new DebugSections(module)).read()
}

class InfoReader {
  readonly #sections: DebugSections
  readonly #entries = new Map<number, Entry>()
  readonly #abbreviations = new Map<number, Map<number, Abbreviation>>()
  readonly #subprograms: Subprogram[] = []
  readonly #globals: Variable[] = []

  constructor(sections: DebugSections) {
    this.#sections = sections
  }

  read(): DebugInfo {
    const r = this.#sections.reader('info')
    const roots: Entry[] = []
    while (!r.ended)
      try {
        const { at } = r
        const { offsetSize, end } = r.unit()
        this.#unit(r, at, offsetSize, end, roots)
        r.at = end
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        break
      }
    for (const root of roots) for (const child of root.children) this.#top(child)
    this.#subprograms.sort((a, b) => (a.ranges[0]?.low ?? 0) - (b.ranges[0]?.low ?? 0))
    return {
      subprograms: this.#subprograms,
      globals: this.#globals,
      textAt: (typeEntry, offset) => {
        const type = this.#entries.get(typeEntry)
        return type === undefined || offset < 0 ? undefined : this.#textAt(type, offset, 0)
      },
      isVector: typeEntry => {
        const type = this.#entries.get(typeEntry)
        return type !== undefined && number(this.#bare(type) ?? type, At.gnuVector) === 1
      },
      partAt: (typeEntry, offset, width) => {
        const type = this.#entries.get(typeEntry)
        const bare = type === undefined ? undefined : this.#bare(type)
        if (bare === undefined || offset < 0) return 'whole'
        if (bare.tag === Tag.base || bare.tag === Tag.pointer)
          return offset > 0 || width < (this.#size(bare, 0) ?? 0) ? 'part' : 'whole'
        return this.#isPadding(bare, offset, 0) ? 'padding' : 'whole'
      },
    }
  }

  #unit(r: SectionReader, start: number, offsetSize: 4 | 8, end: number, roots: Entry[]): void {
    const version = r.u16()
    if (version < 2 || version > 5) return
    const kind = version >= 5 ? r.u8() : 1
    const newSize = version >= 5 ? r.u8() : 0
    const abbreviations = this.#abbreviationsAt(r.sized(offsetSize))
    const addressSize = version >= 5 ? newSize : r.u8()
    if (kind === 2 || kind === 6) r.at += 8 + offsetSize
    else if (kind === 4 || kind === 5) r.at += 8
    const bases = { stringBase: -1, addressBase: -1, rangesBase: -1, loclistsBase: -1 }
    const unit: Unit = { offsetSize, version, addressSize, start, low: 0, files: [], firstFile: 1, ...bases }
    const stack: Entry[] = []
    while (r.at < end) {
      const { at } = r
      const abbreviation = abbreviations.get(r.uleb())
      if (abbreviation === undefined) {
        stack.pop()
        if (stack.length === 0) return
        continue
      }
      const entry: Entry = {
        tag: abbreviation.tag,
        unit,
        attributes: this.#attributes(r, abbreviation, unit),
        children: [],
      }
      this.#entries.set(at, entry)
      const parent = stack.at(-1)
      if (parent === undefined) {
        this.#root(entry)
        roots.push(entry)
      } else parent.children.push(entry)
      if (abbreviation.children) stack.push(entry)
      else if (stack.length === 0) return
    }
  }

  #abbreviationsAt(offset: number): Map<number, Abbreviation> {
    const known = this.#abbreviations.get(offset)
    if (known !== undefined) return known
    const map = new Map<number, Abbreviation>()
    this.#abbreviations.set(offset, map)
    const r = this.#sections.reader('abbrev', offset)
    for (let code = r.uleb(); code !== 0; code = r.uleb()) {
      const tag = r.uleb()
      const children = r.u8() === 1
      const attributes: number[] = []
      for (;;) {
        const name = r.uleb()
        const form = r.uleb()
        const implicit = form === 0x21 ? r.sleb() : 0
        if (name === 0 && form === 0) break
        attributes.push(name, form, implicit)
      }
      map.set(code, { tag, children, attributes })
    }
    return map
  }

  #attributes(r: SectionReader, { tag, attributes }: Abbreviation, unit: Unit): Entry['attributes'] {
    const map = new Map<number, { form: number; value: AttributeValue }>()
    // The unit's own entry may name a string by index before the base of the strings: the base is looked for first.
    if (tag === Tag.compileUnit && unit.version >= 5) this.#bases(r, attributes, unit)
    for (let n = 0; n < attributes.length; n += 3) {
      const form = attributes[n + 1] as number
      const value = this.#sections.value(r, form, unit, unit.start, attributes[n + 2])
      map.set(attributes[n] as number, { form, value })
    }
    return map
  }

  #bases(r: SectionReader, attributes: readonly number[], unit: Unit): void {
    const { at } = r
    const indexed = new Set([0x1a, 0x1b, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c])
    const plain: Readonly<Record<number, number>> = {
      0x1a: 0x0f,
      0x1b: 0x0f,
      0x25: 0x0b,
      0x26: 0x05,
      0x28: 0x06,
      0x29: 0x0b,
      0x2a: 0x05,
      0x2c: 0x06,
    }
    for (let n = 0; n < attributes.length; n += 3) {
      const name = attributes[n] as number
      const form = attributes[n + 1] as number
      if (form === 0x27 || form === 0x2b) {
        r.u24()
        continue
      }
      const value = this.#sections.value(
        r,
        indexed.has(form) ? (plain[form] as number) : form,
        unit,
        unit.start,
        attributes[n + 2],
      )
      if (typeof value !== 'number') continue
      if (name === At.stringBase) unit.stringBase = value
      else if (name === At.addressBase) unit.addressBase = value
      else if (name === At.rangesBase) unit.rangesBase = value
      else if (name === At.loclistsBase) unit.loclistsBase = value
    }
    r.at = at
  }

  #root(entry: Entry): void {
    const { unit } = entry
    unit.low = number(entry, At.lowPc) ?? 0
    const lines = number(entry, At.stmtList)
    if (lines === undefined) return
    const { files, firstFile } = programFiles(this.#sections, lines)
    unit.files = files
    unit.firstFile = firstFile
  }

  /** An entry of a file, or inside of a namespace or a class. */
  #top(entry: Entry): void {
    if (entry.tag === Tag.subprogram) this.#subprogram(entry)
    else if (entry.tag === Tag.variable) this.#global(entry)
    else for (const child of entry.children) this.#top(child)
  }

  #global(entry: Entry): void {
    const variable = this.#variable(entry, [])
    if (variable?.locations.some(isStatic) === true) this.#globals.push(variable)
  }

  #subprogram(entry: Entry): void {
    const ranges = this.#ranges(entry)
    if (ranges.length === 0) {
      // An abstract one (it was inlined everywhere) may still own static variables.
      this.#statics(entry)
      return
    }
    const variables: Variable[] = []
    const inlined: InlinedCall[] = []
    this.#scope(entry, [], 0, variables, inlined)
    this.#subprograms.push({
      name: this.#text(entry, At.name) ?? this.#text(entry, At.linkageName) ?? '',
      linkageName: this.#text(entry, At.linkageName),
      file: this.#file(this.#inherited(entry, At.declFile)),
      line: numberOf(this.#inherited(entry, At.declLine)?.value),
      ranges,
      frameBase: this.#locations(entry, At.frameBase)[0],
      variables,
      inlined,
    })
  }

  #statics(entry: Entry): void {
    for (const child of entry.children) {
      if (child.tag === Tag.variable) this.#global(child)
      else if (child.tag === Tag.block) this.#statics(child)
    }
  }

  #scope(
    entry: Entry,
    scope: readonly CodeRange[],
    depth: number,
    variables: Variable[],
    inlined: InlinedCall[],
  ): void {
    for (const child of entry.children) {
      if (child.tag === Tag.variable || child.tag === Tag.formal) {
        const variable = this.#variable(child, scope)
        if (variable === undefined) continue
        if (variable.locations.some(isStatic)) this.#globals.push(variable)
        else variables.push(variable)
      } else if (child.tag === Tag.block) {
        const ranges = this.#ranges(child)
        this.#scope(child, ranges.length > 0 ? ranges : scope, depth, variables, inlined)
      } else if (child.tag === Tag.inlined) {
        const ranges = this.#ranges(child)
        inlined.push({
          name: this.#text(child, At.name) ?? '',
          ranges,
          callFile: this.#fileOf(child.unit, number(child, At.callFile)),
          callLine: number(child, At.callLine) ?? 0,
          callColumn: number(child, At.callColumn) ?? 0,
          depth: depth + 1,
        })
        this.#scope(child, ranges.length > 0 ? ranges : scope, depth + 1, variables, inlined)
      }
    }
  }

  #variable(entry: Entry, scope: readonly CodeRange[]): Variable | undefined {
    const name = this.#text(entry, At.name)
    if (name === undefined || number(entry, At.declaration) === 1) return undefined
    const type = this.#reference(this.#inherited(entry, At.type))
    return {
      name,
      size: type === undefined ? undefined : this.#size(type, 0),
      type: type === undefined ? 'void' : this.#typeName(type, 0),
      typeEntry: type === undefined ? -1 : (numberOf(this.#inherited(entry, At.type)?.value) ?? -1),
      parameter: entry.tag === Tag.formal,
      file: this.#file(this.#inherited(entry, At.declFile)),
      line: numberOf(this.#inherited(entry, At.declLine)?.value),
      locations: this.#locations(entry, At.location),
      scope,
    }
  }

  /** An attribute of the entry or of what it is an instance of. */
  #inherited(entry: Entry, name: number): { form: number; value: AttributeValue; unit: Unit } | undefined {
    let from: Entry | undefined = entry
    for (let steps = 0; from !== undefined && steps < 8; steps++) {
      const found = from.attributes.get(name)
      if (found !== undefined) return { ...found, unit: from.unit }
      from = this.#entries.get(
        (number(from, At.abstractOrigin) ?? number(from, At.specification) ?? -1) as number,
      )
    }
    return undefined
  }
  #text(entry: Entry, name: number): string | undefined {
    const value = this.#inherited(entry, name)?.value
    return typeof value === 'string' ? value : undefined
  }
  #reference(attribute: { value: AttributeValue } | undefined): Entry | undefined {
    return typeof attribute?.value === 'number' ? this.#entries.get(attribute.value) : undefined
  }
  #file(attribute: { value: AttributeValue; unit: Unit } | undefined): string | undefined {
    return attribute === undefined ? undefined : this.#fileOf(attribute.unit, numberOf(attribute.value))
  }
  #fileOf(unit: Unit, file: number | undefined): string | undefined {
    return file === undefined ? undefined : unit.files[file - unit.firstFile]
  }

  /** Bytes of a type. */
  #size(type: Entry, depth: number): number | undefined {
    const size = number(type, At.byteSize)
    if (size !== undefined || depth > 32) return size
    if (type.tag === 0x0f || type.tag === 0x10 || type.tag === 0x42) return type.unit.addressSize
    const inner = this.#reference(this.#inherited(type, At.type))
    const element = inner === undefined ? undefined : this.#size(inner, depth + 1)
    if (type.tag !== Tag.array) return element
    if (element === undefined) return undefined
    let total = element
    for (const child of type.children) {
      if (child.tag !== Tag.subrange) continue
      if (isVariable(child)) return undefined
      total *= elements(child)
    }
    return total
  }

  /** A type without its typedefs, const and volatile. */
  #bare(type: Entry): Entry | undefined {
    let bare: Entry | undefined = type
    for (let steps = 0; bare !== undefined && steps < 32; steps++) {
      if (bare.tag !== Tag.typedef && bare.tag !== Tag.const && bare.tag !== Tag.volatile) return bare
      bare = this.#reference(this.#inherited(bare, At.type))
    }
    return undefined
  }

  // Whether a byte of a struct, union or array is between its members or behind the last. Of classes with bases that is not asked.
  #isPadding(type: Entry, offset: number, depth: number): boolean {
    const bare = this.#bare(type)
    if (bare === undefined || depth > 16) return false
    if (bare.tag === Tag.array) {
      const element = this.#reference(this.#inherited(bare, At.type))
      const size = element === undefined ? undefined : this.#size(element, 0)
      return element !== undefined && !!size && this.#isPadding(element, offset % size, depth + 1)
    }
    if (bare.tag !== Tag.struct && bare.tag !== Tag.union) return false
    if (bare.children.length === 0 || bare.children.some(({ tag }) => tag === Tag.inheritance)) return false
    return bare.children
      .filter(({ tag }) => tag === Tag.member)
      .every(member => {
        const inner = this.#reference(this.#inherited(member, At.type))
        const start = number(member, At.memberLocation) ?? 0
        const length = inner === undefined ? undefined : this.#size(inner, 0)
        // A member of no size may go on behind the end.
        if (inner === undefined || !length || member.attributes.has(At.bitSize)) return false
        if (offset < start || offset >= start + length) return true
        return this.#isPadding(inner, offset - start, depth + 1)
      })
  }

  #textAt(type: Entry, offset: number, depth: number): Extent | undefined {
    const bare = this.#bare(type)
    if (bare === undefined || depth > 16) return undefined
    if (bare.tag === Tag.array) {
      const element = this.#reference(this.#inherited(bare, At.type))
      const size = element === undefined ? undefined : this.#size(element, 0)
      if (element === undefined || size === undefined || size === 0) return undefined
      const first = offset - (offset % size)
      const found = this.#textAt(element, offset - first, depth + 1)
      return found === undefined ? undefined : { ...found, start: first + found.start }
    }
    if (bare.tag !== Tag.struct) return undefined
    const members = bare.children.filter(({ tag }) => tag === Tag.member)
    for (const [i, member] of members.entries()) {
      const inner = this.#reference(this.#inherited(member, At.type))
      const start = number(member, At.memberLocation) ?? 0
      const length = inner === undefined ? undefined : this.#size(inner, 0)
      if (inner === undefined || length === undefined || offset < start || offset >= start + length) continue
      if (this.#isText(inner)) return this.#textRun(members, i, start, length)
      const found = this.#textAt(inner, offset - start, depth + 1)
      return found === undefined ? undefined : { ...found, start: start + found.start }
    }
    return undefined
  }

  #textRun(members: readonly Entry[], first: number, start: number, length: number): Extent | undefined {
    let end = start + length
    for (const member of members.slice(first + 1)) {
      const inner = this.#reference(this.#inherited(member, At.type))
      const size = inner === undefined ? undefined : this.#size(inner, 0)
      if (inner === undefined || number(member, At.memberLocation) !== end || !this.#isText(inner))
        return { name: this.#text(members[first] as Entry, At.name) ?? '', start, length: end - start }
      end += size ?? 0
    }
    return undefined
  }

  #isText(type: Entry): boolean {
    const array = this.#bare(type)
    if (array?.tag !== Tag.array) return false
    const element = this.#reference(this.#inherited(array, At.type))
    const bare = element === undefined ? undefined : this.#bare(element)
    return bare?.tag === Tag.base && number(bare, At.byteSize) === 1
  }

  #typeName(type: Entry, depth: number): string {
    const inner = (): string => {
      const target = depth > 16 ? undefined : this.#reference(this.#inherited(type, At.type))
      return target === undefined ? 'void' : this.#typeName(target, depth + 1)
    }
    switch (type.tag) {
      case 0x0f:
        return `${inner()} *`
      case 0x10:
      case 0x42:
        return `${inner()} &`
      case 0x26:
        return `const ${inner()}`
      case 0x35:
        return `volatile ${inner()}`
      case Tag.array: {
        const bounds = type.children.filter(({ tag }) => tag === Tag.subrange)
        return `${inner()}${bounds.map(one => (isVariable(one) ? '[]' : `[${elements(one)}]`)).join('')}`
      }
      case 0x15:
        return `${inner()} ()`
      default: {
        const name = this.#text(type, At.name) ?? '(unnamed)'
        const word: Readonly<Record<number, string>> = { 0x13: 'struct ', 0x17: 'union ', 0x04: 'enum ' }
        return (word[type.tag] ?? '') + name
      }
    }
  }

  #code(address: number): number {
    return address + this.#sections.codeOffset
  }

  #locations(entry: Entry, name: number): Location[] {
    const attribute = entry.attributes.get(name)
    return attribute === undefined
      ? []
      : readLocation(this.#sections, entry.unit, attribute.form, attribute.value)
  }

  #ranges(entry: Entry): CodeRange[] {
    const low = number(entry, At.lowPc)
    const high = entry.attributes.get(At.highPc)
    if (low !== undefined && high !== undefined) {
      const value = numberOf(high.value) ?? 0
      // An address, or the length.
      const end =
        high.form === 0x01 || high.form === 0x1b || (high.form >= 0x29 && high.form <= 0x2c)
          ? value
          : low + value
      return isRemoved(low) ? [] : [{ low: this.#code(low), high: this.#code(end) }]
    }
    const ranges = entry.attributes.get(At.ranges)
    if (typeof ranges?.value !== 'number') return []
    const list =
      entry.unit.version >= 5
        ? this.#rangeList(entry.unit, ranges.form, ranges.value)
        : this.#oldRanges(entry.unit, ranges.value)
    return list
      .filter(range => range.high > range.low && !isRemoved(range.low))
      .map(range => ({ low: this.#code(range.low), high: this.#code(range.high) }))
  }

  #oldRanges(unit: Unit, at: number): CodeRange[] {
    const r = this.#sections.reader('ranges', at)
    const list: CodeRange[] = []
    let base = unit.low
    const most = unit.addressSize === 8 ? 2 ** 64 : 2 ** 32 - 1
    for (;;) {
      const low = r.sized(unit.addressSize)
      const high = r.sized(unit.addressSize)
      if (low === 0 && high === 0) return list
      if (low >= most) base = high
      else list.push({ low: base + low, high: base + high })
    }
  }

  #rangeList(unit: Unit, form: number, value: number): CodeRange[] {
    let at = value
    if (form === 0x23) {
      const base = unit.rangesBase < 0 ? 12 : unit.rangesBase
      at = base + this.#sections.reader('rnglists', base + value * unit.offsetSize).sized(unit.offsetSize)
    }
    const r = this.#sections.reader('rnglists', at)
    const list: CodeRange[] = []
    let base = unit.low
    const indexed = (): number => this.#sections.value(r, 0x1b, unit, unit.start) as number
    for (;;) {
      const kind = r.u8()
      if (kind === 0) return list
      if (kind === 1) base = indexed()
      else if (kind === 2) list.push({ low: indexed(), high: indexed() })
      else if (kind === 3) {
        const low = indexed()
        list.push({ low, high: low + r.uleb() })
      } else if (kind === 4) list.push({ low: base + r.uleb(), high: base + r.uleb() })
      else if (kind === 5) base = r.sized(unit.addressSize)
      else if (kind === 6) list.push({ low: r.sized(unit.addressSize), high: r.sized(unit.addressSize) })
      else if (kind === 7) {
        const low = r.sized(unit.addressSize)
        list.push({ low, high: low + r.uleb() })
      } else throw new RangeError(`range list entry ${kind}`)
    }
  }
}

/** At an address that the linker has not removed. */
const isStatic = ({ kind, value }: Location): boolean => kind === 'memory' && !isRemoved(value)

const numberOf = (value: AttributeValue): number | undefined =>
  typeof value === 'number' ? value : undefined
const number = (entry: Entry, name: number): number | undefined => numberOf(entry.attributes.get(name)?.value)

/** Elements of an array by one of its subranges. */
const elements = (subrange: Entry): number =>
  number(subrange, At.count) ?? (number(subrange, At.upperBound) ?? -1) + 1

/** Whether the length of an array is what a variable holds or an expression gives: then the entry refers to that. */
const isVariable = (subrange: Entry): boolean =>
  [At.count, At.upperBound].some(name => {
    const one = subrange.attributes.get(name)
    return one !== undefined && ((one.form >= 0x10 && one.form <= 0x15) || typeof one.value !== 'number')
  })
