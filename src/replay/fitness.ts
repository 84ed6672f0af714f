// Whether a module can be recorded and replayed at all, and if not, which import, section or instruction forbids it. What is
// refused still runs, as it is.
import { instructions } from '../wasm/instructions.ts'
import { importCount, type Module } from '../wasm/module.ts'
import { OP, opName } from '../wasm/opcode-table.ts'

export interface Refusal {
  readonly code:
    | 'threads'
    | 'memory64'
    | 'memories'
    | 'exceptions'
    | 'tables'
    | 'relaxed'
    | 'asyncify'
    | 'longjmp'
    | 'entry'
  /** One sentence with what forbids it. */
  readonly message: string
}

const relaxedFirst = 0x300
const atomicFirst = 0x400
const tableWrites: ReadonlySet<number> = new Set([
  OP['table.set'],
  OP['table.grow'],
  OP['table.fill'],
  OP['table.copy'],
  OP['table.init'],
  OP['elem.drop'],
])
const exceptions: ReadonlySet<number> = new Set([
  OP.try,
  OP.try_table,
  OP.throw,
  OP.rethrow,
  OP.throw_ref,
  OP.delegate,
])

/** Why the module can't be replayed; undefined if it can. */
export function refusal(module: Module): Refusal | undefined {
  for (const { module: from, name, kind, type } of module.imports) {
    if (kind === 'memory')
      return type.shared
        ? { code: 'threads', message: `it shares its memory with other threads (import ${from}.${name})` }
        : { code: 'memories', message: `its memory is somebody else's (import ${from}.${name})` }
    if (kind !== 'func' && kind !== 'tag')
      return { code: 'tables', message: `it imports a ${kind} that others may change (${from}.${name})` }
    if (/^invoke_|^_?emscripten_longjmp|^_?setTempRet0$/.test(name))
      return {
        code: 'longjmp',
        message: `functions of the host are on its stack when it calls itself (import ${from}.${name})`,
      }
    if (/^(thread-spawn|thread_spawn)$/.test(name))
      return { code: 'threads', message: `it starts threads (import ${from}.${name})` }
  }
  const [memory] = module.memories
  if (memory === undefined || module.memories.length > 1)
    return {
      code: 'memories',
      message: `it has ${module.memories.length} memories, and replay knows programs with one`,
    }
  if (memory.shared) return { code: 'threads', message: 'its memory is shared between threads' }
  if (memory.is64) return { code: 'memory64', message: 'its memory has 64-bit addresses' }
  const asyncify = module.exports.find(e => e.name.startsWith('asyncify_'))
  if (asyncify !== undefined)
    return { code: 'asyncify', message: `it unwinds its own stack (export ${asyncify.name})` }
  if (!module.exports.some(e => e.kind === 'func' && e.name === '_start'))
    return { code: 'entry', message: 'it has no function _start that runs it from beginning to end' }
  if (!module.exports.some(e => e.kind === 'memory'))
    return { code: 'memories', message: 'it does not export its memory' }
  return forbiddenInstruction(module)
}

function forbiddenInstruction(module: Module): Refusal | undefined {
  const first = importCount(module, 'func')
  for (const [i, func] of module.functions.entries())
    for (const c of instructions(func)) {
      const where = `${opName(c.op)} in function ${first + i}`
      if (c.op >= atomicFirst)
        return { code: 'threads', message: `it synchronises with other threads (${where})` }
      if (exceptions.has(c.op)) return { code: 'exceptions', message: `it throws exceptions (${where})` }
      if (tableWrites.has(c.op))
        return { code: 'tables', message: `it changes its table of functions (${where})` }
      if (c.op >= relaxedFirst && c.op < atomicFirst)
        return {
          code: 'relaxed',
          message: `it has an instruction whose result depends on the machine (${where})`,
        }
    }
  return undefined
}
