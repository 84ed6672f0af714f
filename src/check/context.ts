// What the translation of a function has to know about the rest of the module, and what it may call.
import type { CodeRange, Part } from '../wasm/dwarf.ts'
import type { Func, FuncType, Module } from '../wasm/module.ts'
import type { Emitter } from './emitter.ts'

/** Slow paths in JavaScript, imported from here under these names. `site` is a byte offset in the module as it came. */
export const hookTypes: Readonly<Record<HookName, FuncType>> = {
  // (address, tag of the address, V of the address, site): V and T of what is read come by the exchange
  load: type('iiii:'),
  // the same: V and T of what is written go by the exchange
  store: type('iiii:'),
  // (T, site): a branch was decided by undefined bits
  decided: type('ii:'),
  // (which, T, site): an argument of a call of the host has undefined bits
  argument: type('iii:'),
  // (to, from, length, T of to, T of from, site), (to, value, length, T of to, V of value, site)
  copy: type('iiiiii:'),
  fill: type('iiiiii:'),
  // (to, length, T of to, site): memory.init
  init: type('iiii:'),
  // (pages before, pages more)
  grown: type('ii:'),
  // (start, length, site) -> tag: a block on the stack whose size was not known before
  alloca: type('iii:i'),
  // (value): of a local of a function that is left because the program ends
  root: type('i:'),
  // (stream, format, arguments): scanf begins
  scan: type('iii:'),
  // (where the call stack ends, its slot among the recent ones) -> its number
  stack: type('ii:i'),
}
export type HookName =
  | 'load'
  | 'store'
  | 'decided'
  | 'argument'
  | 'copy'
  | 'fill'
  | 'init'
  | 'grown'
  | 'alloca'
  | 'scan'
  | 'root'
  | 'stack'

/**
 * Functions that are added to the module. Those with the opcode of a load, store or comparison are its way with undefined bits; judge: of a comparison
 * that decides.
 */
export type HelperName =
  | `load ${number}`
  | `store ${number}`
  | `compare ${number}`
  | `judge ${number}`
  | 'push'
  | 'pop'
  | 'addTags'
  | 'subTags'
  | 'setStack'
  | 'dropTags'
  | 'define'
  | 'storeWord'
  | 'inObject'
  | 'copyWords'
  | 'isDefined'
  | 'isPartDefined'
  | 'settle'
  | 'copyBytes'
  | 'fillBytes'
  | 'textLength'
  | 'difference'
  | 'capture'
  | 'runLength'
  | 'binOf'
  | 'putRun'
  | 'growHeap'
  | 'takeRun'
  | 'cutRun'
  | 'stretchRun'
  | 'stretch'
  | 'take'
  | 'blank'
  | 'blockAt'
  | 'give'
  | 'runOf'
  | 'release'
  | 'thin'
  | 'clear'

/** A function that is added. */
export interface Helper {
  readonly type: FuncType
  readonly locals: Func['locals']
  emit(out: Emitter, context: Context): void
}

/** Where the helpers are. */
export type HelperIndices = Readonly<Record<Exclude<HelperName, `${string} ${number}`>, number>> &
  Readonly<Record<`${'load' | 'store' | 'compare' | 'judge'} ${number}`, number | undefined>>

function type(effect: string): FuncType {
  const [params = '', results = ''] = effect.split(':')
  return { params: [...params].map(() => 0x7f), results: [...results].map(() => 0x7f) }
}

/** A variable in a frame. */
export interface FrameVariable {
  readonly name: string | undefined
  /** From the frame's lower end (where the stack pointer is while the function runs). */
  readonly start: number
  readonly length: number
  /** Its type, for `Program.textAt`. */
  readonly type: number
  /** The code of its block, as places in the module; none: it lives as long as the function. */
  readonly scope: readonly CodeRange[]
  /** It is one number, pointer or vector, not an array or a struct. */
  readonly single: boolean
  /** What bytes of it are, counted from its start. */
  partAt(offset: number, width: number): Part
}

/** What debug information tells of a function's frame. */
export interface FrameInfo {
  /** Compiled without optimisation: all variables have a place in the frame, addresses are not computed ahead. */
  readonly plain: boolean
  /** All that it names has a place and a size. */
  readonly complete: boolean
  /** The local that variables are counted from; -1: not known. */
  readonly base: number
  readonly variables: readonly FrameVariable[]
}

export interface Context {
  readonly module: Module
  readonly functionTypes: readonly number[]
  readonly importedFunctions: number
  /** How far the indices of defined functions move. */
  readonly shift: number
  readonly hooks: Readonly<Record<HookName, number>>
  readonly helpers: HelperIndices
  /** Indices of the globals that are added. */
  readonly calls: number
  /** In a JavaScript program: `calls` as it was when JavaScript was entered last, the outermost too. */
  readonly hostCalls: number
  /** Functions that JavaScript may find in a table. */
  readonly inTable: ReadonlySet<number>
  /** The next tag for a variable, and where those of running functions end (layout.ts: RETIRED_TAGS). */
  readonly tags: number
  readonly liveTags: number
  readonly exiting: number
  readonly exitCode: number
  /**
   * JavaScript that nobody sees shares the memory: all of it counts as defined, what is loaded has no tag, and what a host may do in a call is undone.
   */
  readonly hosted: boolean
  /** The globals in which tags of parameters are passed: those that there are when helpers are written. */
  parameterTags(): readonly number[]
  /** The host's function that ends the program, or -1. */
  readonly procExit: number
  parameterV(index: number, type: number): number
  parameterT(index: number): number
  resultV(index: number, type: number): number
  resultT(index: number): number
  globalV(index: number, type: number): number
  globalT(index: number): number
  /** Functions that are scanf. */
  readonly scans: ReadonlySet<number>
  /** The stack pointer's index, or -1. */
  readonly stackPointer: number
  frame(func: number): FrameInfo
  /** Whether it calls a destructor. */
  destroys(func: number): boolean
  /** The number of a place of a function's frame, for the control memory. */
  variable(func: number, place: number): number
  /** The tag of the global variable that begins at this address, or 0. */
  globalTag(address: number, plain: boolean): number
  /** The tag of the global variable that this address is in, or 0. */
  offsetTag(address: number): number
  /** Where the program's data begin, in bytes: below there is nothing that a pointer leads to. */
  readonly firstData: number
  /** The tag of the global variable that an access of constant bytes has left for certain, or 0. */
  strayGlobal(address: number, width: number, store: boolean): number
  /** The origin of what a function's frame holds: number << 3. */
  stackOrigin(func: number): number
}
