// The custom section 'name': what the compiler called the functions, locals, globals. Only for people: a broken one counts as none.
import { Reader, Writer } from './bytes.ts'
import { WasmError } from './errors.ts'
import type { Custom, ExternKind, Module } from './module.ts'

/** A name for each index. */
export type NameMap = Map<number, string>

export interface Names {
  module: string | undefined
  readonly functions: NameMap
  /** By function, then by local (parameters first). */
  readonly locals: Map<number, NameMap>
  readonly labels: Map<number, NameMap>
  readonly types: NameMap
  readonly tables: NameMap
  readonly memories: NameMap
  readonly globals: NameMap
  readonly elements: NameMap
  readonly datas: NameMap
  readonly tags: NameMap
}

type FlatKind = Exclude<keyof Names, 'module' | 'locals' | 'labels'>
const flat: Readonly<Record<number, FlatKind>> = {
  1: 'functions',
  4: 'types',
  5: 'tables',
  6: 'memories',
  7: 'globals',
  8: 'elements',
  9: 'datas',
  11: 'tags',
}
const nested: Readonly<Record<number, 'locals' | 'labels'>> = { 2: 'locals', 3: 'labels' }

function noNames(): Names {
  const map = (): NameMap => new Map()
  return {
    module: undefined,
    functions: map(),
    locals: new Map(),
    labels: new Map(),
    types: map(),
    tables: map(),
    memories: map(),
    globals: map(),
    elements: map(),
    datas: map(),
    tags: map(),
  }
}

/** The names of a module; those of a broken section as far as it could be read. */
export function readNames(module: Module): Names {
  const names = noNames()
  const custom = module.customs.find(({ name }) => name === 'name')
  if (custom === undefined) return names
  try {
    const r = new Reader(custom.bytes)
    while (r.at < custom.bytes.length) {
      const id = r.byte('subsection')
      const { at } = r
      const size = r.u32('size')
      if (size > custom.bytes.length - r.at) r.fail('a subsection is longer than the section', at)
      r.end = r.at + size
      subsection(r, id, names)
      r.at = r.end
      r.end = custom.bytes.length
    }
  } catch (error) {
    if (!(error instanceof WasmError)) throw error
  }
  return names
}

function subsection(r: Reader, id: number, names: Names): void {
  if (id === 0) names.module = r.name('name of the module')
  const kind = flat[id]
  if (kind !== undefined) nameMap(r, names[kind])
  const outer = nested[id]
  if (outer === undefined) return
  for (let left = r.count('functions with names'); left > 0; left--) {
    const map: NameMap = new Map()
    names[outer].set(r.u32('index'), map)
    nameMap(r, map)
  }
}

function nameMap(r: Reader, map: NameMap): void {
  for (let left = r.count('names', 2); left > 0; left--) map.set(r.u32('index'), r.name('name'))
}

/** The section 'name' with these names. */
export function namesSection(names: Names): Custom {
  const out = new Writer()
  const content = new Writer()
  const flush = (id: number): void => {
    out.byte(id)
    out.u32(content.length)
    out.bytes(content.view())
    content.length = 0
  }
  if (names.module !== undefined) {
    content.name(names.module)
    flush(0)
  }
  for (let id = 1; id <= 11; id++) {
    const kind = flat[id]
    const outer = nested[id]
    if (kind !== undefined && names[kind].size > 0) {
      writeNameMap(content, names[kind])
      flush(id)
    } else if (outer !== undefined && names[outer].size > 0) {
      content.u32(names[outer].size)
      for (const [index, map] of ascending(names[outer])) {
        content.u32(index)
        writeNameMap(content, map)
      }
      flush(id)
    }
  }
  return { name: 'name', bytes: out.take(), after: 11 }
}

function writeNameMap(out: Writer, map: NameMap): void {
  out.u32(map.size)
  for (const [index, name] of ascending(map)) {
    out.u32(index)
    out.name(name)
  }
}

const ascending = <T>(map: ReadonlyMap<number, T>): [number, T][] => [...map].sort(([a], [b]) => a - b)

/** The same names under other indices: `move(kind, index)` says which. */
export function renumberNames(names: Names, move: (kind: ExternKind, index: number) => number): Names {
  const moved = <T>(kind: ExternKind, map: ReadonlyMap<number, T>): Map<number, T> =>
    new Map([...map].map(([index, name]) => [move(kind, index), name]))
  return {
    ...names,
    functions: moved('func', names.functions),
    locals: moved('func', names.locals),
    labels: moved('func', names.labels),
    tables: moved('table', names.tables),
    memories: moved('memory', names.memories),
    globals: moved('global', names.globals),
    tags: moved('tag', names.tags),
  }
}
