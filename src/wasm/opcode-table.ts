// All opcodes by our number (opcodes.ts says which): what follows them and what they do to the stack.
import { atomicOpcodes } from './opcodes-atomic.ts'
import { vectorOpcodes } from './opcodes-vector.ts'
import { coreOpcodes } from './opcodes.ts'

type Row = (typeof coreOpcodes)[number] | (typeof vectorOpcodes)[number] | (typeof atomicOpcodes)[number]

/** An instruction's name in the text format (`select_typed` is the `select` that names its type). */
export type OpName = Row[1]

/** The columns' words for immediates; a number at the end is the width of an access or the count of lanes. */
type ImmediateWord = Row[2]

/** What follows an opcode. The Cursor reads them into the fields that are named here. */
export const Imm = {
  none: 0,
  /** A block type: `blockType`. */
  block: 1,
  /** `index` is a label: how many blocks out. */
  label: 2,
  /** br_table: `index` labels and a default; Cursor.labels() lists them. */
  labels: 3,
  /** `index` is a function. */
  func: 4,
  /** `index` is a type, `index2` a table. */
  indirect: 5,
  /** `index` is a local. */
  local: 6,
  global: 7,
  table: 8,
  /** `index` is a memory, as everywhere that a memory is named alone. */
  memory: 9,
  tag: 10,
  /** A memory access: `index` is the memory, `align` log2 of bytes, `offset` in bytes. */
  mem: 11,
  /** The same, with `lane`. */
  memLane: 12,
  /** The same as mem; the alignment has to be the natural one. */
  atomic: 13,
  lane: 14,
  /** `i32`. */
  i32: 15,
  /** Cursor.i64(). */
  i64: 16,
  f32: 17,
  f64: 18,
  v128: 19,
  /** Sixteen lanes of 0 to 31. */
  shuffle: 20,
  /** `valueType`: a heap type. */
  heap: 21,
  /** A select's types: `index` of them, the first in `valueType`. */
  types: 22,
  /** try_table: a block type and `index` catch clauses; Cursor.clauses() lists them. */
  catches: 23,
  data: 24,
  /** memory.init: `index` is a data segment, `index2` the memory. */
  dataMemory: 25,
  /** memory.copy: `index` is the memory it writes, `index2` the one that it reads. */
  memoryMemory: 26,
  element: 27,
  /** table.init: `index` is an element segment, `index2` the table. */
  elementTable: 28,
  /** table.copy: `index` is the table it writes, `index2` the one that it reads. */
  tableTable: 29,
  fence: 30,
} as const
type ImmKind = keyof typeof Imm

export const OPCODES = 0x480

/** Immediates by opcode; 255 where there is no such opcode. */
export const immediates: Uint8Array = new Uint8Array(OPCODES).fill(255)
/** Bytes that an access touches, or the number of lanes; 0 where there is neither. */
export const widths: Uint8Array = new Uint8Array(OPCODES)
/** `operands:results`, or `*`. */
export const effects: string[] = []
const names: string[] = []

const opByName: [string, number][] = []
for (const [code, name, word, effect] of [
  ...coreOpcodes,
  ...vectorOpcodes,
  ...atomicOpcodes,
] as readonly Row[]) {
  const { kind, width } = immediateOf(word)
  immediates[code] = Imm[kind]
  widths[code] = width
  effects[code] = effect
  names[code] = name
  opByName.push([name, code])
}

function immediateOf(word: ImmediateWord): { kind: ImmKind; width: number } {
  const digits = /^(mem|memLane|atomic|lane)(\d+)$/.exec(word)
  if (digits === null) return { kind: word as ImmKind, width: 0 }
  return { kind: digits[1] as ImmKind, width: Number(digits[2]) }
}

/** Our number of each opcode: `OP['i32.load']`. Made at once, so that V8 keeps fields, not a hash table: passes live on these look-ups. */
export const OP: Readonly<Record<OpName, number>> = Object.fromEntries(opByName) as Record<OpName, number>

/** The name of an opcode by our number, `undefined` where there is none. */
export function opName(op: number): OpName | undefined {
  return names[op] as OpName | undefined
}

/** Whether the opcode reads or writes memory at an address with an immediate offset (mem, memLane, atomic). */
export function isAccess(op: number): boolean {
  const kind = immediates[op] as number
  return kind >= Imm.mem && kind <= Imm.atomic
}

/** Whether an access writes: stores, lane stores, atomic stores and read-modify-writes. */
export function isStore(op: number): boolean {
  return stores[op] === 1
}
const stores = Uint8Array.from(effects, (effect, op) =>
  isAccess(op) && (op < 0x400 ? effect.endsWith(':') : op >= 0x417) ? 1 : 0,
)

/** Whether an access reads: loads, lane loads, atomic loads, read-modify-writes and waits. */
export function isLoad(op: number): boolean {
  if (op < 0x400) return isAccess(op) && !(effects[op] as string).endsWith(':')
  return isAccess(op) && op !== OP['memory.atomic.notify'] && (op < 0x417 || op >= 0x41e)
}
