// Instructions as TypeScript: `put(w, 'local.get', 0)`, and the helper functions that every instrumented module gets.
import { Writer } from '../wasm/bytes.ts'
import { BLOCK_EMPTY } from '../wasm/instructions.ts'
import { F32, F64, I32, I64, V128, type ValueType } from '../wasm/module.ts'
import { OP, type OpName } from '../wasm/opcode-table.ts'

/** The memories of an instrumented module: the guest's, a byte of tag per byte of it, saved locals and the log. */
export const GUEST = 0
export const TAGS = 1
export const STATE = 2

/**
 * Where in TAGS the tag of the guest's first byte is. A processor that looks for a store on which a load depends compares the last twelve bits of their
 * addresses first: were these the same for a byte and its tag, each load of a tag would wait for the store of a byte.
 */
export const tagsAt = 2112

/** Writes an opcode by our number. */
export function opcode(w: Writer, op: number): void {
  if (op < 0x100) w.byte(op)
  else {
    const prefix = op < 0x200 ? 0xfc : op < 0x400 ? 0xfd : 0xfe
    w.byte(prefix)
    w.u32(op - (prefix === 0xfc ? 0x100 : prefix === 0xfd ? 0x200 : 0x400))
  }
}

/** Writes an instruction whose immediates are unsigned numbers (indices, labels). */
export function put(w: Writer, name: OpName, ...immediates: number[]): void {
  opcode(w, OP[name])
  for (const n of immediates) w.u32(n)
}

export function i32(w: Writer, value: number): void {
  opcode(w, OP['i32.const'])
  w.s32(value)
}

/** The body of a function, and which of its branches are hardly ever taken: 2 * their byte, as in Func.hints. */
export class BodyWriter extends Writer {
  readonly hints: number[] = []
}

/** `if` for what is hardly ever so. */
export function rarely(w: BodyWriter): void {
  w.hints.push(2 * w.length)
  open(w, 'if')
}

/** `block`, `loop` or `if` of no type, or of one result. */
export function open(
  w: Writer,
  name: 'block' | 'loop' | 'if',
  result: ValueType | typeof BLOCK_EMPTY = BLOCK_EMPTY,
): void {
  opcode(w, OP[name])
  w.byte(result & 0x7f)
}

/** An access of memory `memory`, said to be unaligned: that is always right. */
export function access(w: Writer, op: number | OpName, memory: number, offset = 0): void {
  opcode(w, typeof op === 'number' ? op : OP[op])
  w.byte(memory === 0 ? 0 : 0x40)
  if (memory !== 0) w.u32(memory)
  w.u64(memory === TAGS ? offset + tagsAt : offset)
}

/** Puts the address of the tag of the byte at the address that a local has. */
export function putTagAddress(w: Writer, local: number): void {
  put(w, 'local.get', local)
  i32(w, tagsAt)
  put(w, 'i32.add')
}

const loads: Readonly<Record<number, OpName>> = {
  [I32]: 'i32.load',
  [I64]: 'i64.load',
  [F32]: 'f32.load',
  [F64]: 'f64.load',
  [V128]: 'v128.load',
}
const stores: Readonly<Record<number, OpName>> = {
  [I32]: 'i32.store',
  [I64]: 'i64.store',
  [F32]: 'f32.store',
  [F64]: 'f64.store',
  [V128]: 'v128.store',
}

export function saveLocals(w: Writer, types: readonly ValueType[]): void {
  let at = 0
  types.forEach((type, i) => {
    i32(w, 0)
    put(w, 'local.get', i)
    access(w, stores[type] as OpName, STATE, at)
    at += type === V128 ? 16 : 8
  })
}

export function loadLocals(w: Writer, types: readonly ValueType[]): void {
  let at = 0
  types.forEach((type, i) => {
    i32(w, 0)
    access(w, loads[type] as OpName, STATE, at)
    put(w, 'local.set', i)
    at += type === V128 ? 16 : 8
  })
}

/** Where in STATE the table of large copies and the log begin. */
export const copiesAt = 57344
export const mostCopies = 680
export const logAt = 65536
/** Bytes of an entry of the log: an address, how many bytes (1, 2, 4 or 8; four bytes each), and in eight bytes these. */
export const logEntry = 16
/** An epoch that has logged so many entries ends: one that goes over everything would touch the tags of everything. */
const mostLogged = 2 ** 14
/** Copies below this many bytes have their unknown bytes logged instead. */
const largeCopy = 1024
/** The host is asked to make copies from here on. */
const hugeCopy = 65536

export interface HelperGlobals {
  readonly budget: number
  readonly limit: number
  readonly depth: number
  readonly cutDepth: number
  readonly size: number
  readonly live: number
  readonly log: number
  readonly copies: number
  readonly skipped: number
  readonly tag1: number
  readonly tag8: number
}

export interface HelperCode {
  readonly name: keyof HelperIndices
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
  readonly locals: readonly ValueType[]
  readonly body: BodyWriter
}
export interface HelperIndices {
  /** Give back their three operands (to, …, length; to, from, length) if these ranges are in the guest's memory. */
  readonly within: number
  readonly bothWithin: number
  /** memory.copy, of which the host makes a large one in a replay. */
  readonly copy: number
  readonly note: number
  readonly copied: number
  readonly grow: number
  readonly expired: number
  readonly noteByte: number
  readonly log: number
}

/** Functions of the host that helpers call. */
export interface HelperImports {
  readonly move: number
  readonly sized: number
}

export function helpers(
  g: HelperGlobals,
  at: HelperIndices,
  mostPages: number,
  { move, sized }: HelperImports,
): HelperCode[] {
  const three = [I32, I32, I32] as const
  return [
    { name: 'within', params: three, results: three, locals: [], body: within(g, [0]) },
    { name: 'bothWithin', params: three, results: three, locals: [], body: within(g, [0, 1]) },
    { name: 'copy', params: three, results: [], locals: [], body: copy(g, at, move) },
    { name: 'note', params: [I32, I32, I32], results: [], locals: [I32, I64], body: note(g, at) },
    { name: 'copied', params: [I32, I32, I32], results: [I32], locals: [], body: copied(g, at, move) },
    { name: 'grow', params: [I32], results: [I32], locals: [I32, I32, I32], body: grow(g, mostPages, sized) },
    { name: 'expired', params: [], results: [I32], locals: [], body: expired(g) },
    { name: 'noteByte', params: [I32], results: [], locals: [I32, I64], body: noteByte(g, at) },
    { name: 'log', params: [I32, I32, I64], results: [], locals: [], body: log(g) },
  ]
}

// Bulk instructions ask the engine, whose memory may be larger than the guest's: what lies between is not to be touched, and would be.
function within(g: HelperGlobals, starts: readonly number[]): BodyWriter {
  const w = new BodyWriter(64)
  const length = 2
  for (const start of starts) {
    put(w, 'local.get', start)
    put(w, 'i64.extend_i32_u')
    put(w, 'local.get', length)
    put(w, 'i64.extend_i32_u')
    put(w, 'i64.add')
    put(w, 'global.get', g.size)
    put(w, 'i64.extend_i32_u')
    opcode(w, OP['i64.const'])
    w.s64(16n)
    put(w, 'i64.shl')
    put(w, 'i64.gt_u')
    rarely(w)
    // Out of bounds in any memory.
    i32(w, -1)
    access(w, 'i64.load', GUEST, 0xffff_ffff)
    put(w, 'drop')
    put(w, 'end')
  }
  for (const local of [0, 1, length]) put(w, 'local.get', local)
  put(w, 'end')
  return w
}

/**
 * Asks the host to make a large copy if this is a replay: most of what is copied was made by nobody there, and the host knows where nothing is. `then` is
 * for when it did.
 */
export function replayedCopy(w: BodyWriter, live: number, move: number, then: () => void): void {
  put(w, 'local.get', 2)
  i32(w, hugeCopy)
  put(w, 'i32.ge_u')
  rarely(w)
  put(w, 'global.get', live)
  put(w, 'i32.eqz')
  open(w, 'if')
  for (const local of [0, 1, 2]) put(w, 'local.get', local)
  put(w, 'call', move)
  open(w, 'if')
  then()
  put(w, 'return')
  put(w, 'end')
  put(w, 'end')
  put(w, 'end')
}

function copy(g: HelperGlobals, helper: HelperIndices, move: number): BodyWriter {
  const w = new BodyWriter(64)
  for (const local of [0, 1, 2]) put(w, 'local.get', local)
  put(w, 'call', helper.bothWithin)
  for (const local of [2, 1, 0]) put(w, 'local.set', local)
  replayedCopy(w, g.live, move, () => undefined)
  for (const local of [0, 1, 2]) put(w, 'local.get', local)
  put(w, 'memory.copy', GUEST, GUEST)
  put(w, 'end')
  return w
}

const ones = 0x0101_0101_0101_0101n
const highs = -0x7f7f_7f7f_7f7f_7f80n

function i64(w: Writer, value: bigint): void {
  opcode(w, OP['i64.const'])
  w.s64(value)
}

const unsignedLoads: Readonly<Record<number, OpName>> = {
  1: 'i64.load8_u',
  2: 'i64.load16_u',
  4: 'i64.load32_u',
  8: 'i64.load',
}
const narrowStores: Readonly<Record<number, OpName>> = {
  1: 'i64.store8',
  2: 'i64.store16',
  4: 'i64.store32',
  8: 'i64.store',
}

// Sets `tags` to the tags of `n` bytes: a byte of 0 for each that is known, and bytes that are not 0 above them.
function putTags(w: Writer, g: HelperGlobals, at: number, tags: number, n: number): void {
  put(w, 'local.get', at)
  access(w, unsignedLoads[n] as OpName, TAGS)
  put(w, 'global.get', g.tag8)
  put(w, 'i64.xor')
  if (n < 8) {
    i64(w, -1n << BigInt(8 * n))
    put(w, 'i64.or')
  }
  put(w, 'local.set', tags)
}

// Whether none of them is known and no large copy was made in the epoch: then they are logged together.
function putNoneKnown(w: Writer, g: HelperGlobals, tags: number): void {
  put(w, 'local.get', tags)
  i64(w, ones)
  put(w, 'i64.sub')
  put(w, 'local.get', tags)
  i64(w, -1n)
  put(w, 'i64.xor')
  put(w, 'i64.and')
  i64(w, highs)
  put(w, 'i64.and')
  put(w, 'i64.eqz')
  put(w, 'global.get', g.copies)
  put(w, 'i32.eqz')
  put(w, 'i32.and')
}

/**
 * note(address, offset, width): logs what is not known yet of the bytes, and makes it known. Who reads one byte will read those beside it: the
 * eight that lie in a word are logged together if none of them is known.
 */
function note(g: HelperGlobals, helper: HelperIndices): BodyWriter {
  const w = new BodyWriter(512)
  const [address, offset, left, at, tags] = [0, 1, 2, 3, 4] as const
  put(w, 'local.get', address)
  put(w, 'local.get', offset)
  put(w, 'i32.add')
  put(w, 'local.set', at)
  put(w, 'local.get', left)
  i32(w, 1)
  put(w, 'i32.eq')
  open(w, 'if')
  put(w, 'local.get', at)
  i32(w, -8)
  put(w, 'i32.and')
  put(w, 'local.set', address)
  putTags(w, g, address, tags, 8)
  putNoneKnown(w, g, tags)
  open(w, 'if')
  put(w, 'local.get', address)
  put(w, 'local.set', at)
  i32(w, 8)
  put(w, 'local.set', left)
  put(w, 'end')
  put(w, 'end')
  for (const n of [8, 4, 2, 1]) {
    open(w, 'block')
    open(w, 'loop')
    put(w, 'local.get', left)
    i32(w, n)
    put(w, 'i32.lt_u')
    put(w, 'br_if', 1)
    putTags(w, g, at, tags, n)
    put(w, 'local.get', tags)
    i64(w, n < 8 ? -1n << BigInt(8 * n) : 0n)
    put(w, 'i64.ne')
    open(w, 'if')
    putNoneKnown(w, g, tags)
    open(w, 'if')
    put(w, 'local.get', at)
    i32(w, n)
    put(w, 'local.get', at)
    access(w, unsignedLoads[n] as OpName, GUEST)
    put(w, 'call', helper.log)
    put(w, 'local.get', at)
    put(w, 'global.get', g.tag8)
    access(w, narrowStores[n] as OpName, TAGS)
    put(w, 'else')
    for (let k = 0; k < n; k++) {
      put(w, 'local.get', at)
      i32(w, k)
      put(w, 'i32.add')
      put(w, 'call', helper.noteByte)
    }
    put(w, 'end')
    put(w, 'end')
    put(w, 'local.get', at)
    i32(w, n)
    put(w, 'i32.add')
    put(w, 'local.set', at)
    put(w, 'local.get', left)
    i32(w, n)
    put(w, 'i32.sub')
    put(w, 'local.set', left)
    put(w, 'br', 0)
    put(w, 'end')
    put(w, 'end')
  }
  put(w, 'end')
  return w
}

/**
 * noteByte(at). A byte that a large copy brought is logged where it was copied from: a replay makes the copy again, which would
 * overwrite it where it is now.
 */
function noteByte(g: HelperGlobals, helper: HelperIndices): BodyWriter {
  const w = new BodyWriter(128)
  const [at, copy, value] = [0, 1, 2] as const
  put(w, 'local.get', at)
  access(w, 'i32.load8_u', TAGS)
  put(w, 'global.get', g.tag1)
  put(w, 'i32.eq')
  open(w, 'if')
  put(w, 'return')
  put(w, 'end')
  put(w, 'local.get', at)
  access(w, 'i64.load8_u', GUEST)
  put(w, 'local.set', value)
  put(w, 'local.get', at)
  put(w, 'global.get', g.tag1)
  access(w, 'i32.store8', TAGS)
  put(w, 'global.get', g.copies)
  put(w, 'local.set', copy)
  open(w, 'block')
  open(w, 'loop')
  put(w, 'local.get', copy)
  put(w, 'i32.eqz')
  put(w, 'br_if', 1)
  put(w, 'local.get', copy)
  i32(w, 12)
  put(w, 'i32.sub')
  put(w, 'local.set', copy)
  // at - to <u length: at += from - to
  put(w, 'local.get', at)
  put(w, 'local.get', copy)
  access(w, 'i32.load', STATE, copiesAt)
  put(w, 'i32.sub')
  put(w, 'local.get', copy)
  access(w, 'i32.load', STATE, copiesAt + 8)
  put(w, 'i32.lt_u')
  open(w, 'if')
  put(w, 'local.get', at)
  put(w, 'local.get', copy)
  access(w, 'i32.load', STATE, copiesAt)
  put(w, 'i32.sub')
  put(w, 'local.get', copy)
  access(w, 'i32.load', STATE, copiesAt + 4)
  put(w, 'i32.add')
  put(w, 'local.set', at)
  put(w, 'end')
  put(w, 'br', 0)
  put(w, 'end')
  put(w, 'end')
  put(w, 'local.get', at)
  i32(w, 1)
  put(w, 'local.get', value)
  put(w, 'call', helper.log)
  put(w, 'end')
  return w
}

/** log(at, width, value): one more entry. */
function log(g: HelperGlobals): BodyWriter {
  const w = new BodyWriter(128)
  const [at, width, value] = [0, 1, 2] as const
  put(w, 'global.get', g.log)
  i32(w, logEntry)
  put(w, 'i32.add')
  put(w, 'memory.size', STATE)
  i32(w, 16)
  put(w, 'i32.shl')
  put(w, 'i32.gt_u')
  rarely(w)
  i32(w, 16)
  put(w, 'memory.grow', STATE)
  put(w, 'drop')
  put(w, 'end')
  put(w, 'global.get', g.log)
  put(w, 'local.get', at)
  access(w, 'i32.store', STATE)
  put(w, 'global.get', g.log)
  put(w, 'local.get', width)
  access(w, 'i32.store', STATE, 4)
  put(w, 'global.get', g.log)
  put(w, 'local.get', value)
  access(w, 'i64.store', STATE, 8)
  put(w, 'global.get', g.log)
  i32(w, logEntry)
  put(w, 'i32.add')
  put(w, 'global.set', g.log)
  // The next poll is the last one, and what was left of the budget is remembered.
  put(w, 'global.get', g.log)
  i32(w, logAt + mostLogged * logEntry)
  put(w, 'i32.ge_u')
  rarely(w)
  put(w, 'global.get', g.budget)
  i32(w, 0)
  put(w, 'i32.gt_s')
  open(w, 'if')
  put(w, 'global.get', g.budget)
  put(w, 'global.set', g.skipped)
  i32(w, 0)
  put(w, 'global.set', g.budget)
  put(w, 'end')
  put(w, 'end')
  put(w, 'end')
  return w
}

/**
 * copied(to, from, length), before memory is copied: what is known of the source is known of the copy. 1: the host has copied, by
 * moving lenses where the source is virtual.
 */
function copied(g: HelperGlobals, at: HelperIndices, move: number): BodyWriter {
  const w = new BodyWriter(128)
  const [to, from, length] = [0, 1, 2] as const
  put(w, 'local.get', length)
  i32(w, largeCopy)
  put(w, 'i32.lt_u')
  put(w, 'global.get', g.copies)
  i32(w, mostCopies * 12)
  put(w, 'i32.ge_u')
  put(w, 'i32.or')
  open(w, 'if')
  put(w, 'local.get', from)
  i32(w, 0)
  put(w, 'local.get', length)
  put(w, 'call', at.note)
  putTagAddress(w, to)
  put(w, 'global.get', g.tag1)
  put(w, 'local.get', length)
  put(w, 'memory.fill', TAGS)
  put(w, 'else')
  putTagAddress(w, to)
  putTagAddress(w, from)
  put(w, 'local.get', length)
  put(w, 'memory.copy', TAGS, TAGS)
  for (const [field, local] of [to, from, length].entries()) {
    put(w, 'global.get', g.copies)
    put(w, 'local.get', local)
    access(w, 'i32.store', STATE, copiesAt + 4 * field)
  }
  put(w, 'global.get', g.copies)
  i32(w, 12)
  put(w, 'i32.add')
  put(w, 'global.set', g.copies)
  put(w, 'local.get', length)
  i32(w, hugeCopy)
  put(w, 'i32.ge_u')
  open(w, 'if')
  for (const local of [to, from, length]) put(w, 'local.get', local)
  put(w, 'call', move)
  put(w, 'return')
  put(w, 'end')
  put(w, 'end')
  i32(w, 0)
  put(w, 'end')
  return w
}

/**
 * memory.grow whose outcome a replay can make again: only `live` asks the engine. The engine's memory grows by half at a time: each time
 * it makes another ArrayBuffer as large as all of the memory, and collects garbage because of it. `sized` closes what the guest has not asked for.
 */
function grow(g: HelperGlobals, mostPages: number, sized: number): BodyWriter {
  const w = new BodyWriter(128)
  const [delta, size, missing, more] = [0, 1, 2, 3] as const
  const failed = (): void => {
    open(w, 'if')
    i32(w, -1)
    put(w, 'return')
    put(w, 'end')
  }
  put(w, 'local.get', delta)
  i32(w, mostPages)
  put(w, 'global.get', g.size)
  put(w, 'local.tee', size)
  put(w, 'i32.sub')
  put(w, 'i32.gt_u')
  failed()
  put(w, 'global.get', g.live)
  open(w, 'if')
  put(w, 'local.get', size)
  put(w, 'local.get', delta)
  put(w, 'i32.add')
  put(w, 'memory.size', GUEST)
  put(w, 'i32.sub')
  put(w, 'local.tee', missing)
  i32(w, 0)
  put(w, 'i32.gt_s')
  open(w, 'if')
  // The larger of what is missing and half of what there is, as far as it goes.
  put(w, 'local.get', missing)
  put(w, 'memory.size', GUEST)
  i32(w, 1)
  put(w, 'i32.shr_u')
  i32(w, mostPages)
  put(w, 'memory.size', GUEST)
  put(w, 'i32.sub')
  put(w, 'local.tee', more)
  put(w, 'memory.size', GUEST)
  i32(w, 1)
  put(w, 'i32.shr_u')
  put(w, 'local.get', more)
  put(w, 'i32.lt_u')
  opcode(w, OP.select)
  put(w, 'local.tee', more)
  put(w, 'local.get', missing)
  put(w, 'local.get', more)
  put(w, 'i32.gt_u')
  opcode(w, OP.select)
  put(w, 'memory.grow', GUEST)
  i32(w, -1)
  put(w, 'i32.eq')
  open(w, 'if')
  put(w, 'local.get', missing)
  put(w, 'memory.grow', GUEST)
  i32(w, -1)
  put(w, 'i32.eq')
  failed()
  put(w, 'end')
  put(w, 'end')
  put(w, 'end')
  put(w, 'local.get', size)
  put(w, 'local.get', delta)
  put(w, 'i32.add')
  put(w, 'global.set', g.size)
  put(w, 'global.get', g.live)
  open(w, 'if')
  put(w, 'call', sized)
  put(w, 'end')
  put(w, 'local.get', size)
  put(w, 'end')
  return w
}

/** Whether an epoch may end at a poll after its budget: where the stack is as shallow as wished, or else much later anywhere. */
function expired(g: HelperGlobals): BodyWriter {
  const w = new BodyWriter(32)
  put(w, 'global.get', g.depth)
  put(w, 'global.get', g.cutDepth)
  put(w, 'i32.le_s')
  put(w, 'global.get', g.budget)
  put(w, 'global.get', g.limit)
  put(w, 'i32.lt_s')
  put(w, 'i32.or')
  put(w, 'end')
  return w
}
