// What a function does with the stack pointer, seen before it is translated.
import type { Func } from '../wasm/module.ts'
import type { FrameVariable } from './context.ts'
import { Cursor } from '../wasm/instructions.ts'
import { effects, widths } from '../wasm/opcode-table.ts'
import { effectTypes } from './values.ts'

export interface FrameUse {
  /** Bytes of the frame: what the prologue takes off the stack pointer. 0: no frame. */
  readonly size: number
  /** What the frame's lower end is rounded down to, in bytes: a variable asks for more than the stack pointer's 16. 1: it is not. */
  readonly align: number
  /** The prologue doesn't move the stack pointer: a leaf that uses what is below it. */
  readonly leaf: boolean
  /**
   * Reads words whole of which it may need a part: text, with the masks 0x01010101 (or 0x01010100, minus the word) and 0x80808080; or what is copied to another alignment,
   * a word from two: (0 - 8 * shift) & 24.
   */
  readonly wordwise: boolean
  /** It rounds something up to 16: the length of room on the stack, perhaps. A leaf that takes such room doesn't tell the stack pointer. */
  readonly rounds: boolean
  /** It calls something. */
  readonly calls: boolean
  /** It reads the stack pointer. */
  readonly readsStackPointer: boolean
  /** How often each local is set. */
  readonly sets: Uint32Array
  /** Locals that hold the stack pointer: it is set to them. */
  readonly stackPointers: ReadonlySet<number>
  /** Distances from the frame's lower end whose address is computed (not only accessed). */
  readonly addressed: ReadonlySet<number>
  /** The same, each with where: a place in the module. */
  readonly addresses: readonly { readonly at: number; readonly site: number }[]
  /** Accesses at constant distances from the frame's lower end. */
  readonly accesses: readonly FrameAccess[]
}

/** A load or store of the frame by its own address and a constant. */
export interface FrameAccess {
  readonly site: number
  /** From the frame's lower end. */
  readonly at: number
  readonly width: number
  readonly store: boolean
  /** Compilers keep values of their own in frames, too; what they write there once need not be read: parameters, results. */
  readonly own: boolean
  /** What a store writes, if it is a constant. */
  readonly constant?: number | undefined
}

/** `own`: a value that compilers keep. */
type Known = { readonly frame?: number; readonly constant?: number; readonly own?: true } | undefined

/** `locals` counts parameters too, of which there are `parameters`. `destroys`: it calls destructors. */
export function frameUse(
  func: Func,
  stackPointer: number,
  parameters: number,
  locals: number,
  destroys = false,
): FrameUse {
  const sets = new Uint32Array(locals)
  const cursor = new Cursor(func.body, func.offset)
  let low = false
  let high = false
  let calls = false
  let bytesToBits = false
  let restOfWord = false
  let constant = -1
  let rounds = false
  let readsStackPointer = false
  let last = -1
  const stackPointers = new Set<number>()
  while (cursor.next()) {
    if (cursor.op === 0x24 && cursor.index === stackPointer && last >= 0) stackPointers.add(last)
    last = cursor.op === 0x20 || cursor.op === 0x22 ? cursor.index : -1
    if (cursor.op === 0x23 && cursor.index === stackPointer) readsStackPointer = true
    bytesToBits ||= cursor.op === 0x74 && constant === 3
    restOfWord ||= cursor.op === 0x71 && constant === 24
    constant = cursor.op === 0x41 ? cursor.i32 : -1
    if (cursor.op === 0x21 || cursor.op === 0x22) sets[cursor.index]!++
    else if (cursor.op === 0x41) {
      low ||= cursor.i32 === 0x01010101 || cursor.i32 === -0x01010101 || cursor.i32 === 0x01010100
      high ||= cursor.i32 === -0x7f7f7f80
      rounds ||= cursor.i32 === -16
    } else if (cursor.op === 0x10 || cursor.op === 0x11 || cursor.op === 0x12 || cursor.op === 0x13)
      calls = true
  }
  const use = {
    leaf: false,
    size: 0,
    align: 1,
    wordwise: (low && high) || (bytesToBits && restOfWord && !calls),
    rounds,
    calls,
    readsStackPointer,
    sets,
    stackPointers,
    addressed: new Set<number>(),
    addresses: [],
    accesses: [],
  }
  if (stackPointer < 0) return use
  const found = prologue(func, stackPointer, parameters, sets)
  return { ...use, ...found, accesses: withCleanups(found.accesses, destroys) }
}

// Follows constants and distances from the stack pointer through the straight parts of a function.
function prologue(
  func: Func,
  stackPointer: number,
  parameters: number,
  sets: Uint32Array,
): Pick<FrameUse, 'size' | 'align' | 'leaf' | 'addressed' | 'addresses' | 'accesses'> {
  const known: Known[] = Array.from({ length: parameters }, () => ({ own: true }))
  const accesses: FrameAccess[] = []
  const access = (base: Known, store: boolean, own: boolean, constant?: number): void => {
    if (base?.frame === undefined || base.frame + size !== 0) return
    const width = widths[cursor.op] ?? 0
    accesses.push({ site: cursor.place, at: cursor.offset, width, store, own, constant })
  }
  let stack: Known[] = []
  const distances: { distance: number; site: number }[] = []
  const address = (distance: number): void => void distances.push({ distance, site: cursor.place })
  let size = 0
  let align = 1
  let moved = false
  let entry = true
  const cursor = new Cursor(func.body, func.offset)
  // The frame's own lower end is an address too where it goes somewhere else than into a sum or an access.
  const gone = (...values: Known[]): void => {
    for (const value of values) if (value?.frame !== undefined && value.frame + size === 0) address(-size)
  }
  while (cursor.next()) {
    const { op, index } = cursor
    if (op === 0x23)
      stack.push(index !== stackPointer ? undefined : entry && !moved ? { frame: 0 } : { own: true })
    else if (op === 0x24) {
      stack.pop()
      if (index === stackPointer) moved = true
    } else if (op === 0x41) stack.push({ constant: cursor.i32 })
    else if (op === 0x20) stack.push(known[index])
    else if (op === 0x21 || op === 0x22) {
      const value = op === 0x21 ? stack.pop() : stack.at(-1)
      // One local for the frame's lower end, before it is rounded and after.
      const again = entry && align > 1 && value?.frame === -size && known[index]?.frame === -size
      if (again && sets[index] === 2) sets[index] = 1
      known[index] = entry || (sets[index] === 1 && index >= parameters) ? value : undefined
    } else if (op === 0x6a || op === 0x6b) {
      const b = stack.pop()
      const a = stack.pop()
      const sum = combine(op, a, b)
      if (sum?.frame !== undefined) {
        if (entry && op === 0x6b && size === 0 && a?.frame === 0) size = -sum.frame
        else address(sum.frame)
      }
      stack.push(sum)
    } else if (op === 0x71 && entry && !moved && isRounded(size, stack.at(-2), stack.at(-1))) {
      align = -(stack.pop()!.constant as number)
    } else if ((op >= 0x02 && op <= 0x0f) || op === 0x1f || op === 0x18 || op === 0x19) {
      if (entry)
        for (let local = 0; local < known.length; local++) if (sets[local] !== 1) known[local] = undefined
      entry = false
      gone(...stack)
      stack = []
    } else if (op >= 0x28 && op <= 0x35) {
      access(stack.pop(), false, false)
      stack.push(undefined)
    } else if (op >= 0x36 && op <= 0x3e) {
      const value = stack.pop()
      // The first 0 is that of the function's result.
      const first = value?.constant === 0 && !accesses.some(one => one.store && !one.own)
      gone(value)
      access(stack.pop(), true, first || value?.own === true || value?.frame !== undefined, value?.constant)
    } else if (effects[op] !== undefined && op >= 0x41 && op <= 0xc4) {
      const { params, results } = effectTypes(effects[op])
      for (const _ of params) gone(stack.pop())
      for (const _ of results) stack.push(undefined)
    } else {
      gone(...stack)
      stack = op === 0x10 || op === 0x11 ? [{ own: true }] : []
    }
  }
  const addresses = distances.map(({ distance, site }) => ({ at: distance + size, site }))
  const addressed = new Set(addresses.map(({ at }) => at))
  // A function that ends without its result answers what it never set.
  const last = accesses.at(-1)
  if (last?.store === false) accesses[accesses.length - 1] = { ...last, own: true }
  return { size, align, leaf: size > 0 && !moved, addressed, addresses, accesses }
}

/** Whether `a & b` rounds down the lower end of a frame of `size` bytes. All distances are from what comes out. */
export function isRounded(size: number, a: Known, b: Known): boolean {
  const mask = b?.constant ?? 0
  return size > 0 && a?.frame === -size && mask < 0 && (mask & -mask) === -mask
}

/** Compilers number the ways that leave a scope with something to clean up. */
const WAYS = 64

/**
 * A function that destroys its variables, or ends the scope of an array of variable length, keeps in its frame where it goes then: a small number,
 * which nobody reads where all ways go the same. There are two at least, which is how they are told where nothing else tells.
 */
function withCleanups(accesses: readonly FrameAccess[], destroys: boolean): readonly FrameAccess[] {
  const isWay = ({ at, width, store, constant = -1 }: FrameAccess): boolean =>
    store && width === 4 && at % 4 === 0 && constant >= 0 && constant < WAYS
  return accesses.map(one => {
    if (one.own || !isWay(one)) return one
    const same = accesses.filter(({ at, width }) => at < one.at + 4 && at + width > one.at)
    return same.length >= (destroys ? 1 : 2) && same.every(isWay) ? { ...one, own: true } : one
  })
}

/** A sum or difference of what is known. */
export function combine(op: number, a: Known, b: Known): Known {
  const sign = op === 0x6a ? 1 : -1
  if (a?.frame !== undefined && b?.constant !== undefined) return { frame: (a.frame + sign * b.constant) | 0 }
  if (op === 0x6a && a?.constant !== undefined && b?.frame !== undefined)
    return { frame: (b.frame + a.constant) | 0 }
  if (a?.constant !== undefined && b?.constant !== undefined)
    return { constant: (a.constant + sign * b.constant) | 0 }
  return undefined
}

const isPlace = (distance: number, size: number): boolean => distance >= 0 && distance < size

/** A part of a frame that pointers are made to: a variable, or an unnamed block. */
export interface Place {
  readonly name: string | undefined
  /** The address that stands for it, from the frame's lower end. */
  readonly base: number
  /** Where its pointers may lead: [start, start + length). Before `base` where the address is the end of the variable before, too. */
  readonly start: number
  readonly length: number
  readonly type: number
}

/** Below this a variable is hardly an array whose end somebody computes. */
const SMALL = 8

/** The variable that an access meets between two of its members, where nobody has anything to do. Copies of structs begin at members. */
export function paddingOf(
  { at, width }: FrameAccess,
  variables: readonly FrameVariable[],
): FrameVariable | undefined {
  if (width > 4) return undefined
  const found = variables.find(one => at >= one.start && at < one.start + one.length)
  return found?.partAt(at - found.start, width) === 'padding' ? found : undefined
}

/** Further than this nobody is told to have left an array for a part of another variable. */
const FAR = 64

// The array or struct that a store has left which writes one part of a number or pointer: `array[constant]`. Who takes a number to pieces on
// purpose writes more than one.
function leftOf(
  { at, width, store }: FrameAccess,
  use: FrameUse,
  variables: readonly FrameVariable[],
): FrameVariable | undefined {
  if (!store || width > 2) return undefined
  const met = variables.find(one => at >= one.start && at < one.start + one.length)
  if (met === undefined || !met.single || met.partAt(at - met.start, width) !== 'part') return undefined
  const pieces = use.accesses.some(
    one => one.at !== at && one.at >= met.start && one.at < met.start + met.length && one.width < met.length,
  )
  if (pieces) return undefined
  const from = (one: FrameVariable): number =>
    at >= one.start + one.length ? at - one.start - one.length : one.start - at - width
  const near = variables.filter(one => !one.single && from(one) >= 0 && from(one) < FAR)
  return near.sort((a, b) => from(a) - from(b))[0]
}

// The array or struct of which an access meets a part and goes on where it is not, as the last word of a short memcpy does that a compiler has made
// of loads and stores.
function crossed(
  { at, width, own }: FrameAccess,
  variables: readonly FrameVariable[],
): FrameVariable | undefined {
  if (own || width === 1) return undefined
  const end = at + width
  const met = variables.filter(one => at < one.start + one.length && one.start < end)
  const isWhole = met.some(({ start, length }) => start <= at && end <= start + length)
  return isWhole ? undefined : met.find(one => !one.single)
}

/**
 * Accesses of a frame that leave a variable for certain, with the variable: to bytes that are no variable's, and no value of the
 * compiler's either, since such a value is written and read. Compilers without optimisation fold `array[constant]` into an address.
 */
function strayed(use: FrameUse, variables: readonly FrameVariable[]): Map<number, FrameVariable> {
  const found = new Map<number, FrameVariable>()
  const covers = (at: number): boolean =>
    variables.some(one => at >= one.start && at < one.start + one.length)
  for (const access of use.accesses) {
    const { site, at, width, store, own } = access
    const typed = paddingOf(access, variables) ?? leftOf(access, use, variables) ?? crossed(access, variables)
    if (typed !== undefined) {
      found.set(site, typed)
      continue
    }
    if (own || covers(at) || covers(at + width - 1)) continue
    const meets = use.accesses.some(
      other => other.at < at + width && at < other.at + other.width && (other.own || other.store !== store),
    )
    // The variables below and above, with nothing between that has an address.
    const below = variables.filter(one => one.start + one.length <= at).at(-1)
    const above = variables.find(one => one.start >= at + width)
    const from = below === undefined ? 0 : below.start + below.length
    const to = above?.start ?? use.size
    if (meets || [...use.addressed].some(one => one >= from && one < to)) continue
    // The value of a statement in an expression is kept in the frame, too, read or not: beside numbers and pointers, which nobody leaves by an index.
    const arrays = [below, above].filter(one => one?.single === false)
    const nearer = arrays.length < 2 || above!.start - at - width >= at - from ? arrays[0] : above
    if (nearer !== undefined) found.set(site, nearer)
  }
  return found
}

/** The places in a frame, by what the debug information and the code's own addresses tell. */
export function places(use: FrameUse, variables: readonly FrameVariable[], plain: boolean): Place[] {
  const inside = variables
    .filter(one => one.length > 0 && isPlace(one.start, use.size) && one.start + one.length <= use.size)
    .sort((a, b) => a.start - b.start)
  const overlaps = (one: FrameVariable, other: FrameVariable): boolean =>
    one !== other && one.start < other.start + other.length && other.start < one.start + one.length
  // Variables of different scopes may share a place: then no extent is certain.
  const apart = inside.filter(one => !inside.some(other => overlaps(one, other)))
  const left = plain ? new Set(strayed(use, inside).values()) : new Set()
  const taken = (one: FrameVariable): boolean =>
    one.start === 0 ||
    use.addressed.has(one.start) ||
    left.has(one) ||
    (plain && [...use.addressed].some(at => at >= one.start && at < one.start + one.length))
  const named = apart.filter(taken)
  if (!plain) {
    // An optimiser folds distances: what ends where another begins can be meant by the same address.
    return named
      .filter(one => one.length >= 16 && !inside.some(other => other.start + other.length === one.start))
      .map(one => ({ ...one, base: one.start }))
  }
  const covered = (at: number): boolean => inside.some(one => at >= one.start && at < one.start + one.length)
  // What the compiler keeps for itself: up to the next variable, since where one such thing ends is not known.
  const unnamed = [...use.addressed].filter(at => isPlace(at, use.size) && at % 16 === 0 && !covered(at))
  const blocks = unnamed.map((start): Omit<FrameVariable, 'single' | 'partAt' | 'scope'> => {
    const later = inside.filter(one => one.start > start).map(one => one.start)
    return { name: undefined, start, length: Math.min(use.size, ...later) - start, type: -1 }
  })
  // `array + 4` may be the address of what lies behind the array: such an address is for both.
  return [...named, ...blocks].map(one => {
    const before = inside.find(other => other.length > SMALL && other.start + other.length === one.start)
    const { name, start, length, type } = one
    return before === undefined
      ? { name, base: start, start, length, type }
      : { name, base: start, start: before.start, length: before.length + length, type }
  })
}

/** Sites of accesses that leave a place for certain, each with the place's index. Of code that was not optimised. */
export function strays(
  use: FrameUse,
  variables: readonly FrameVariable[],
  all: readonly Place[],
): ReadonlyMap<number, number> {
  const found = new Map<number, number>()
  const sorted = [...variables].sort((a, b) => a.start - b.start)
  for (const [site, { start }] of strayed(use, sorted)) {
    const place = all.findIndex(({ base }) => base === start)
    if (place >= 0) found.set(site, place)
  }
  return found
}

/** The place that an address in the frame is of, as an index; -1: none for certain. */
export function placeAt(all: readonly Place[], at: number, plain: boolean): number {
  const exact = all.findIndex(({ base }) => base === at)
  if (exact >= 0 || !plain) return exact
  return all.findIndex(
    ({ name, base, start, length }) => name !== undefined && at >= base && at < start + length,
  )
}
