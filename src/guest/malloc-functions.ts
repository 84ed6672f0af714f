// The functions of a guest that take and give back memory: by the names that its linker left, or as they are told.
import type { Module } from '../wasm/module.ts'
import { I32, importCount } from '../wasm/module.ts'
import { readNames } from '../wasm/names.ts'
import { GuestError } from './errors.ts'
import { findMallocAndFree, findMallocByShape } from './malloc-shape.ts'

/** What a function of the family does. */
export const mallocRoles = [
  'malloc',
  'free',
  'calloc',
  'realloc',
  'aligned_alloc',
  'posix_memalign',
  'malloc_usable_size',
] as const
export type MallocRole = (typeof mallocRoles)[number]

/** Parameters of each, all of them i32; free has no result, the others one. */
export const mallocParameters: Readonly<Record<MallocRole, number>> = {
  malloc: 1,
  free: 1,
  calloc: 2,
  realloc: 2,
  aligned_alloc: 2,
  posix_memalign: 3,
  malloc_usable_size: 1,
}

/** Indices of functions in the guest's module, with what they do. */
export type MallocFunctions = ReadonlyMap<number, MallocRole>

/** The same by their indices in a module that passes may have changed since. */
export function placed(module: Module, functions: MallocFunctions): MallocFunctions {
  const first = importCount(module, 'func')
  const now = new Map<number, MallocRole>()
  module.functions.forEach(({ original }, i) => {
    const role = functions.get(original)
    if (role !== undefined) now.set(first + i, role)
  })
  return now
}

/** For the names of passes. */
export const listed = (functions: MallocFunctions): string =>
  [...functions].map(([index, role]) => `${role}=${index}`).join(',')

const others: Readonly<Record<string, MallocRole>> = { memalign: 'aligned_alloc', cfree: 'free' }

function roleOf(name: string): MallocRole | undefined {
  // wasi-libc's own are named after dlmalloc; some libraries export theirs with underscores.
  const plain = name.replace(/^(__libc_|emscripten_builtin_|dl|_)/, '')
  return others[plain] ?? mallocRoles.find(role => role === plain)
}

function fits(module: Module, index: number, role: MallocRole): boolean {
  const func = module.functions[index - importCount(module, 'func')]
  const type = func === undefined ? undefined : module.types[func.type]
  return (
    type !== undefined &&
    type.params.length === mallocParameters[role] &&
    type.params.every(param => param === I32) &&
    type.results.length === (role === 'free' ? 0 : 1) &&
    type.results.every(result => result === I32)
  )
}

/** All that the module's exports and its name section tell of. */
export function findMalloc(module: Module): MallocFunctions {
  const found = new Map<number, MallocRole>()
  const note = (name: string, index: number): void => {
    const role = roleOf(name)
    if (role !== undefined && fits(module, index, role)) found.set(index, role)
  }
  for (const [index, name] of readNames(module).functions) note(name, index)
  for (const { name, kind, index } of module.exports) if (kind === 'func') note(name, index)
  return found
}

// NaN: no function has this name.
function indexOf(module: Module, name: string): number {
  const exported = module.exports.find(one => one.kind === 'func' && one.name === name)
  if (exported !== undefined) return exported.index
  for (const [index, known] of readNames(module).functions) if (known === name) return index
  return Number.NaN
}

/** Reads `malloc=12,free=f`: indices, or names of exports or of the name section. GuestError 'option'. */
export function parseMalloc(module: Module, text: string): MallocFunctions {
  const found = new Map<number, MallocRole>()
  for (const part of text.split(',')) {
    const [name = '', number = ''] = part.split('=')
    const role = roleOf(name.trim())
    const index = /^\d+$/.test(number.trim()) ? Number(number) : indexOf(module, number.trim())
    if (role === undefined || Number.isNaN(index))
      throw new GuestError(
        'option',
        `'${part}' is not NAME=INDEX or NAME=FUNCTION: the names are ${mallocRoles.join(', ')}, as in malloc=12,free=13`,
      )
    if (!fits(module, index, role))
      throw new GuestError(
        'option',
        `${part}: function ${index} has not the parameters and results of ${role}; wasm-objdump -x shows them`,
      )
    found.set(index, role)
  }
  return found
}

/**
 * What the functions are for: to be told of their calls, to be replaced by an allocator (none of the family may be left then that works on
 * the old heap), or by a collector, which has to see every one of them.
 */
export type MallocUse = 'observe' | 'replace' | 'collect'

// By names if there are enough, else by shape, which costs a look at all code.
function namedOrShaped(module: Module, use: MallocUse): { found: MallocFunctions; whole: boolean } {
  const named = findMalloc(module)
  const roles = new Set(named.values())
  const enough = roles.has('malloc') && roles.has('free')
  if (enough && (use === 'observe' || readNames(module).functions.size > 0))
    return { found: named, whole: true }
  const shaped = findMallocByShape(module)
  if (shaped !== undefined) return { found: new Map([...named, ...shaped]), whole: true }
  // Others that are exported work on what these two make, as they are.
  const two = use === 'collect' ? undefined : findMallocAndFree(module)
  const same = [...named].every(([index, role]) => !/^(malloc|free)$/.test(role) || two?.get(index) === role)
  if (two !== undefined && same) return { found: two, whole: true }
  return { found: named, whole: false }
}

/**
 * The functions to be used, with malloc and free among them. GuestError 'option' where they can't be had.
 */
export function mallocOf(
  path: string,
  module: Module,
  given: string | undefined,
  use: MallocUse = 'observe',
): MallocFunctions {
  const { found, whole } =
    given === undefined ? namedOrShaped(module, use) : { found: parseMalloc(module, given), whole: true }
  const roles = new Set(found.values())
  for (const role of ['malloc', 'free'] as const)
    if (!roles.has(role))
      throw new GuestError(
        'option',
        `${path} has no function named ${role} that we can find: its name section was stripped, and it is not the one of wasi-libc or Emscripten; give --malloc-functions malloc=INDEX,free=INDEX,…`,
      )
  const missing = (['calloc', 'realloc'] as const).filter(role => !roles.has(role))
  if (use !== 'observe' && !whole && missing.length > 0)
    throw new GuestError(
      'option',
      `${path} exports malloc and free and has no other names: whether it has ${missing.join(' and ')}, which would have to be replaced with them, can't be told; give --malloc-functions`,
    )
  return found
}
