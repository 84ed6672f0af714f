// Passes over the functions that take and give back memory.
//
// replaceMalloc: their bodies become calls of an allocator of ours, in an instance of its own on the guest's memory. The heap begins where the guest's
//   memory ended at first; when the guest grows its memory itself, it gets a block of this heap. Where only malloc and free are known (in a
//   program without names) the rest is Doug Lea's and works on the heads of blocks (`chunk` below).
// reportMalloc: whoever calls them calls a function of ours instead, which calls them and tells what came of it.
import type { Code } from '../wasm/code.ts'
import { type FuncType, I32, type Module } from '../wasm/module.ts'
import { OP } from '../wasm/opcode-table.ts'
import { readNames } from '../wasm/names.ts'
import { Rewriter } from '../wasm/rewrite.ts'
import { errno } from './errno.ts'
import { GuestError } from './errors.ts'
import type { Pass } from './load.ts'
import {
  listed,
  type MallocFunctions,
  mallocParameters,
  type MallocRole,
  mallocRoles,
  placed,
} from './malloc-functions.ts'

/** Module name of all imports that these passes add. */
export const mallocImports = 'lethe:malloc'

/** Above this an allocator of ours has nothing. */
const most = 0x7ffe0000
const wasmPage = 65_536

const signature = (role: MallocRole): FuncType => ({
  params: Array.from({ length: mallocParameters[role] }, () => I32),
  results: role === 'free' ? [] : [I32],
})

/** The guest's memory is made by us, as large as the heap needs it: name of the import in `mallocImports`. */
export const importedMemory = 'memory'

// The memory that is given has no maximum, so that the heap has room.
function withoutMost(module: Module): Module {
  const imports = module.imports.map(one =>
    one.kind === 'memory' ? { ...one, type: { ...one.type, max: undefined } } : one,
  )
  return { ...module, imports }
}

/**
 * malloc and friends are those of an allocator, imported with the names of `Allocator`; `pages` (bytes) gives a block for memory that the guest
 * grows itself, at a multiple of a wasm page.
 */
export function replaceMalloc(functions: MallocFunctions): Pass {
  return {
    name: `malloc 6 ${listed(functions)}`,
    apply(given: Module): Module {
      const module = withoutMost(given)
      const rewriter = new Rewriter(module)
      const memory = rewriter.memoryType(0)
      if (memory.is64 || memory.shared)
        throw new GuestError('option', 'An allocator of ours needs a memory with 32-bit addresses of its own')
      if (rewriter.importAt('memory', 0) === undefined)
        rewriter.importMemory(0, mallocImports, importedMemory, { ...memory, max: undefined })
      const one: FuncType = { params: [I32], results: [I32] }
      const two: FuncType = { params: [I32, I32], results: [I32] }
      const call = (name: string, type: FuncType): number =>
        rewriter.importFunction(mallocImports, name, type)
      const calls: Calls = {
        malloc: call('malloc', one),
        free: call('free', { params: [I32], results: [] }),
        calloc: call('calloc', one),
        realloc: call('realloc', two),
        alignedAlloc: call('alignedAlloc', two),
        usableSize: call('usableSize', one),
        pages: call('pages', one),
      }
      const family = placed(module, functions)
      const heads = family.size === 2 && readNames(module).functions.size === 0
      for (const [index, role] of family)
        rewriter.defineFunction(index, {
          type: signature(role),
          locals: [I32],
          body: code => {
            foreign[role]?.(code, calls, memory.min * wasmPage)
            const body = (heads ? chunk[role] : undefined) ?? bodies[role]
            body(code, calls)
          },
        })
      const grow = rewriter.addFunction({
        type: one,
        locals: [I32],
        body: code => growBody(code, calls),
        name: 'lethe grow',
      })
      rewriter.rewriteBodies({
        ops: [OP['memory.grow']],
        instruction: (i, out) => {
          if (i.index !== 0) return false
          out.call(grow)
          return true
        },
      })
      return rewriter.finish()
    },
  }
}

// Blocks of the program's own malloc, from before it was ours: a program may have been stored while it ran (Wizer). They lie below our
// heap. Freed, they stay; resized, they are copied, with what lies behind, for nobody knows how long they are.
const foreign: Readonly<Partial<Record<MallocRole, (code: Code, calls: Calls, base: number) => void>>> = {
  free: (code, _calls, base) =>
    void code.get(0).i32(base).op(OP['i32.lt_u']).block(OP.if).op(OP.return).end(),
  realloc(code, calls, base) {
    const made = mallocParameters.realloc
    const least = (): Code =>
      code
        .get(1)
        .i32(base)
        .get(0)
        .op(OP['i32.sub'])
        .get(1)
        .i32(base)
        .get(0)
        .op(OP['i32.sub'])
        .op(OP['i32.lt_u'])
    code
      .get(0)
      .i32(1)
      .op(OP['i32.sub'])
      .i32(base - 1)
      .op(OP['i32.lt_u'])
      .block(OP.if)
    bounded(code, 1).get(1).call(calls.malloc).tee(made).block(OP.if).get(made).get(0)
    least().op(OP.select).with2(OP['memory.copy'], 0, 0).end()
    code.get(made).op(OP.return).end()
  },
  malloc_usable_size: (code, _calls, base) =>
    void code.get(0).i32(base).op(OP['i32.lt_u']).block(OP.if).i32(0).op(OP.return).end(),
}

interface Calls {
  readonly malloc: number
  readonly free: number
  readonly calloc: number
  readonly realloc: number
  readonly alignedAlloc: number
  readonly usableSize: number
  readonly pages: number
}

// `if (unsigned parameter > most) return 0`
const bounded = (code: Code, parameter: number): Code =>
  code.get(parameter).i32(most).op(OP['i32.gt_u']).block(OP.if).i32(0).op(OP.return).end()

const bodies: Readonly<Record<MallocRole, (code: Code, calls: Calls) => void>> = {
  malloc: (code, calls) => bounded(code, 0).get(0).call(calls.malloc),
  free: (code, calls) => code.get(0).call(calls.free),
  calloc(code, calls) {
    const product = (): Code =>
      code.get(0).op(OP['i64.extend_i32_u']).get(1).op(OP['i64.extend_i32_u']).op(OP['i64.mul'])
    product().i64(BigInt(most)).op(OP['i64.gt_u']).block(OP.if).i32(0).op(OP.return).end()
    code.get(0).get(1).op(OP['i32.mul']).call(calls.calloc)
  },
  realloc: (code, calls) => bounded(code, 1).get(0).get(1).call(calls.realloc),
  aligned_alloc: (code, calls) => aligned(code, 0, 1, calls),
  posix_memalign(code, calls) {
    // Not a power of two, or less than a pointer.
    code.get(1).op(OP['i32.popcnt']).i32(1).op(OP['i32.ne'])
    code.get(1).i32(4).op(OP['i32.lt_u']).op(OP['i32.or'])
    code.block(OP.if).i32(errno.inval).op(OP.return).end()
    code.get(2).i32(most).op(OP['i32.gt_u']).block(OP.if).i32(errno.nomem).op(OP.return).end()
    aligned(code, 1, 2, calls)
    code.tee(2).op(OP['i32.eqz']).block(OP.if).i32(errno.nomem).op(OP.return).end()
    code.get(0).get(2).access(OP['i32.store'], 0).i32(0)
  },
  malloc_usable_size: (code, calls) => code.get(0).call(calls.usableSize),
}

/**
 * Blocks with a head as Doug Lea's malloc has it for blocks that were mapped: none of its free lists knows them, so realloc takes another block,
 * copies and frees, memalign only moves the head, calloc takes the bytes for zero. In the 16 bytes before the block:
 *
 *     8: how far the block is from where a mapped one begins (memalign adds to it)   12: size with 8 more, both flags 0
 */
const chunk: Readonly<Partial<Record<MallocRole, (code: Code, calls: Calls) => void>>> = {
  malloc(code, calls) {
    const made = mallocParameters.malloc
    bounded(code, 0)
    // A multiple of 8, and at least that.
    code.get(0).i32(7).op(OP['i32.add']).i32(-8).op(OP['i32.and']).i32(8)
    code.get(0).i32(8).op(OP['i32.gt_u']).op(OP.select).set(0)
    code.get(0).i32(16).op(OP['i32.add']).call(calls.malloc).tee(made)
    code.op(OP['i32.eqz']).block(OP.if).i32(0).op(OP.return).end()
    code.get(made).i32(0).get(0).i32(16).op(OP['i32.add']).with(OP['memory.fill'], 0)
    code.get(made).get(0).i32(8).op(OP['i32.add']).access(OP['i32.store'], 12)
    code.get(made).i32(16).op(OP['i32.add'])
  },
  free(code, calls) {
    code.get(0).i32(16).op(OP['i32.sub'])
    code.get(0).i32(8).op(OP['i32.sub']).access(OP['i32.load'], 0).op(OP['i32.sub']).call(calls.free)
  },
}

function aligned(code: Code, align: number, bytes: number, calls: Calls): void {
  bounded(code, bytes).get(align).get(bytes).call(calls.alignedAlloc)
}

// The index of the first of so many wasm pages, all zero, or -1: as memory.grow answers.
function growBody(code: Code, calls: Calls): void {
  code.get(0).op(OP['i32.eqz']).block(OP.if).with(OP['memory.size'], 0).op(OP.return).end()
  code
    .get(0)
    .i32(most / wasmPage)
    .op(OP['i32.gt_u'])
    .block(OP.if)
    .i32(-1)
    .op(OP.return)
    .end()
  code.get(0).i32(16).op(OP['i32.shl']).call(calls.pages)
  // The parameter is used again: first the pages, then where they are.
  code.get(0).i32(16).op(OP['i32.shl']).set(0)
  code.set(1).get(1).op(OP['i32.eqz']).block(OP.if).i32(-1).op(OP.return).end()
  code.get(1).i32(0).get(0).with(OP['memory.fill'], 0)
  code.get(1).i32(16).op(OP['i32.shr_u'])
}

/** What reportMalloc calls: role's number, its arguments (0 for those that it has not), what it answered. */
export type MallocHook = (role: number, a: number, b: number, c: number, result: number) => void

export const roleNumber = (role: MallocRole): number => mallocRoles.indexOf(role)

/**
 * Every call of these functions from outside of them is told to the import `note`, a MallocHook, when it has returned. Not what they call
 * themselves by way of other functions: what aligned_alloc gets from malloc, it may give back in parts.
 */
export function reportMalloc(functions: MallocFunctions): Pass {
  return {
    name: `report-malloc 2 ${listed(functions)}`,
    apply(module: Module): Module {
      const rewriter = new Rewriter(module)
      const hook = rewriter.importFunction(mallocImports, 'note', {
        params: [I32, I32, I32, I32, I32],
        results: [],
      })
      const depth = rewriter.addGlobal({ type: I32, mutable: true }, 0, 'lethe.depth')
      const wrapper = new Map<number, number>()
      const family = placed(module, functions)
      for (const [index, role] of family)
        wrapper.set(
          index,
          rewriter.addFunction({
            type: signature(role),
            locals: [I32],
            body: code => reporting(code, index, role, { hook, depth }),
            name: `lethe ${role}`,
          }),
        )
      const wrapped = (index: number): number => wrapper.get(index) ?? index
      rewriter.rewriteBodies({
        ops: [OP.call, OP.return_call, OP['ref.func']],
        enter: body => !family.has(body.index),
        instruction: (i, out) => {
          const to = wrapper.get(i.index)
          if (to === undefined) return false
          out.with(i.op, to)
          return true
        },
      })
      rewriter.exports = rewriter.exports.map(one =>
        one.kind === 'func' ? { ...one, index: wrapped(one.index) } : one,
      )
      rewriter.elements.forEach((element, i) => {
        if (element.functions !== undefined)
          rewriter.elements[i] = { ...element, functions: element.functions.map(wrapped) }
      })
      return rewriter.finish()
    },
  }
}

function reporting(
  code: Code,
  index: number,
  role: MallocRole,
  { hook, depth }: { readonly hook: number; readonly depth: number },
): void {
  const parameters = mallocParameters[role]
  const result = parameters
  const deeper = (by: number): Code => code.getGlobal(depth).i32(by).op(OP['i32.add']).setGlobal(depth)
  deeper(1)
  for (let i = 0; i < parameters; i++) code.get(i)
  code.call(index)
  if (role !== 'free') code.set(result)
  deeper(-1)
  code.getGlobal(depth).op(OP['i32.eqz']).block(OP.if)
  code.i32(roleNumber(role))
  for (let i = 0; i < 3; i++)
    if (i < parameters) code.get(i)
    else code.i32(0)
  code.get(result).call(hook).end()
  if (role !== 'free') code.get(result)
}
