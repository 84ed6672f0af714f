// What an address is, in words: for reports only.
import type { EngineGlobal } from '../guest/engine.ts'
import type { ErrorKind, Note } from './errors.ts'
import { FRAME_TAGS, FRAME_VARIABLES, HEAP_TAGS, TABLE, TAG_LIMIT } from './layout.ts'
import type { Block } from './heap.ts'
import type { GlobalVariable } from './program.ts'
import type { Runtime } from './runtime.ts'
import { ENDED } from './scopes.ts'

export interface Place {
  readonly kind: ErrorKind
  readonly note: readonly Note[]
  readonly block: { readonly start: number; readonly size: number } | undefined
}

/** Where a range lies towards another. */
function relation(at: number, start: number, length: number): string {
  if (at < start) return `${start - at} byte${start - at === 1 ? '' : 's'} before`
  const behind = at - start - length
  if (behind >= 0) return `${behind} byte${behind === 1 ? '' : 's'} behind`
  return at === start ? 'at the start of' : `${at - start} byte${at - start === 1 ? '' : 's'} into`
}

const toGlobal = (at: number, { name, start, length }: GlobalVariable): string =>
  `${relation(at, start, length)} the global variable ${name} (${length} bytes)`

export class Places {
  readonly #runtime: Runtime
  /** Blocks on the stack whose size came at run time, by tag: where. */
  readonly #allocas = new Map<number, number>()
  /** Where the stack pointer was at the start. */
  stackTop = 0
  /** What the stack can't go below: the end of the data that is known to lie there. */
  stackEnd = 0
  tags!: EngineGlobal
  liveTags!: EngineGlobal

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  alloca(tag: number, site: number): void {
    this.#allocas.set(tag, site)
    this.#runtime.control[(FRAME_VARIABLES + tag / 2) >>> 2] = 0xffffffff
  }

  describe(at: number, size: number, t: number, write: boolean): Place {
    const base: ErrorKind = write ? 'invalid-write' : 'invalid-read'
    const runtime = this.#runtime
    const tag = t >>> 0
    if (tag >= HEAP_TAGS && tag < TAG_LIMIT) {
      const block = runtime.heap.ofTag(tag)
      if (block !== undefined) return this.#block(base, block, at, size)
    } else if (tag >= FRAME_TAGS && tag < HEAP_TAGS) return this.#variable(base, at, tag)
    else if (tag >= 8 && tag < FRAME_TAGS) {
      const global = runtime.program.globals[tag / 8 - 1]
      if (global !== undefined)
        return {
          kind: base,
          note: [
            {
              text: toGlobal(at, global),
              frames: [],
            },
          ],
          block: { start: global.start, size: global.length },
        }
    }
    return this.#untagged(base, at, size)
  }

  #block(base: ErrorKind, block: Block, at: number, size: number): Place {
    const { stacks, program } = this.#runtime
    const made = program.describe(stacks.sites(block.stack))
    const where = `${relation(at, block.start, block.size)} a block of ${block.size} bytes`
    const extent = { start: block.start, size: block.size }
    if (block.freed >= 0)
      return {
        kind: 'use-after-free',
        note: [
          { text: `${where} that was freed at`, frames: program.describe(stacks.sites(block.freed)) },
          { text: 'and had been taken at', frames: made },
        ],
        block: extent,
      }
    const inside = at >= block.start && at < block.start + block.size && at + size > block.start + block.size
    return {
      kind: base,
      note: [{ text: inside ? `${where}, over its end, taken at` : `${where}, taken at`, frames: made }],
      block: extent,
    }
  }

  #variable(base: ErrorKind, at: number, tag: number): Place {
    const { control, program } = this.#runtime
    const start = control[(TABLE + tag) >>> 2] as number
    const length = control[((TABLE + tag) >>> 2) + 1] as number
    const number = control[(FRAME_VARIABLES + tag / 2) >>> 2] as number
    const site = number === 0xffffffff ? this.#allocas.get(tag) : undefined
    const known = site === undefined ? program.placeOf(number) : undefined
    const what =
      known?.place.name === undefined ? 'a block of the stack' : `the local variable ${known.place.name}`
    const owner = known === undefined ? '' : ` of ${program.name(known.func)}`
    const frames = site === undefined ? [] : program.describe([site])
    if (length === 0)
      return {
        kind: 'dead-local',
        note: [
          {
            text: `in ${what}${owner}, ${start === ENDED ? 'whose block has ended' : 'which has returned'}`,
            frames,
          },
        ],
        block: undefined,
      }
    const before = known === undefined ? 0 : known.place.base - known.place.start
    const own = length - before
    const where = relation(at, start + before, own)
    return {
      kind: base,
      note: [
        { text: `${where} ${what}${owner} (${own} bytes)${site === undefined ? '' : ', taken at'}`, frames },
      ],
      block: { start: start + before, size: own },
    }
  }

  #untagged(base: ErrorKind, at: number, size: number): Place {
    const runtime = this.#runtime
    const none = { block: undefined }
    const say = (text: string): Note[] => [{ text, frames: [] }]
    if (at < 1024) return { kind: 'null-pointer', note: say('a null pointer, or close to one'), ...none }
    if (at + size > runtime.memory.buffer.byteLength)
      return { kind: 'wild-pointer', note: say('behind the end of memory'), ...none }
    const block = runtime.heap.near(at)
    if (block !== undefined) return this.#block(base, block, at, size)
    const global = runtime.program.globalAt(at)
    if (global !== undefined) return { kind: base, note: say(toGlobal(at, global)), ...none }
    if (at < this.stackEnd)
      return { kind: base, note: say('in the data that the program starts with'), ...none }
    const pointer = runtime.stackPointer === undefined ? 0 : (runtime.stackPointer.value as number) >>> 0
    if (at < pointer && at < this.stackTop)
      return {
        kind: 'dead-local',
        note: say('below the stack pointer: in the frame of a function that has returned'),
        ...none,
      }
    return { kind: 'wild-pointer', note: say('in memory that nobody has taken'), ...none }
  }

  /** Of an error while the stack pointer is where no stack is: that may be why. */
  stackUsedUp(): Note[] {
    const { stackPointer, memory } = this.#runtime
    if (stackPointer === undefined || this.stackTop === 0) return []
    const pointer = stackPointer.value as number
    const isBelow = pointer < 0 && pointer >>> 0 > memory.buffer.byteLength
    if (!isBelow && (pointer < 0 || pointer >= this.stackEnd)) return []
    const text = `the stack is used up: its pointer is ${this.stackEnd - pointer} bytes below the end; clang -Wl,-z,stack-size=BYTES gives more`
    return [{ text, frames: [] }]
  }

  /** The member of a variable that holds a byte, if it is an array of characters: where it is, and of what. `t`: the pointer's. */
  textAt(at: number, t: number): { start: number; length: number; note: string } | undefined {
    const { program, control } = this.#runtime
    const tag = t >>> 0
    if (tag >= HEAP_TAGS) return undefined
    let variable: { name: string; start: number; type: number } | undefined
    if (tag >= FRAME_TAGS) {
      const number = control[(FRAME_VARIABLES + tag / 2) >>> 2] as number
      const place = number === 0xffffffff ? undefined : program.placeOf(number)?.place
      if (place?.name === undefined) return undefined
      const start = (control[(TABLE + tag) >>> 2] as number) + place.base - place.start
      variable = { name: `the local variable ${place.name}`, start, type: place.type }
    } else {
      const global = program.globalAt(at)
      if (global === undefined) return undefined
      variable = { name: `the global variable ${global.name}`, start: global.start, type: global.type }
    }
    const text = program.textAt(variable.type, at - variable.start)
    if (text === undefined) return undefined
    const { name, length } = text
    const start = variable.start + text.start
    return { start, length, note: `${name} (${length} bytes), a member of ${variable.name}` }
  }

  /** Where undefined bits come from. */
  origin(t: number): Note[] {
    const tag = t >>> 0
    if (tag < TAG_LIMIT || (tag & 0x07fffff8) === 0) return []
    const { stacks, program, heap } = this.#runtime
    const stack = stacks.ofOrigin(tag)
    if (stack !== undefined) {
      const size = heap.sizeOf(stack)
      const block = size === undefined ? 'a block' : `a block of ${size} bytes`
      return [
        { text: `it was never set in ${block} taken at`, frames: program.describe(stacks.sites(stack)) },
      ]
    }
    const func = ((tag & 0x07fffff8) >>> 3) - 1 + program.importedFunctions
    return [
      { text: `it was never set in the frame of ${program.name(func)}`, frames: program.declared(func) },
    ]
  }
}
